//! Plans and weights that hold together as JSON and tensors, and are refused all the same: each
//! would have broken a run.

use pq_fuzz_targets::network;
use protocols::plan::{Op, Plan};
use protocols::steps::{Argmax, Linear, Lookup, MaxPool, Output, Requant};
use protocols::weights::Weights;
use protocols::{Bits, Error};

/// The small network's plan with a change, named by steps and wires.
fn changed(change: impl Fn(&mut Plan)) -> Plan {
    let mut plan = network::plan().clone();
    change(&mut plan);
    plan
}

fn step<'a>(plan: &'a mut Plan, name: &str) -> &'a mut Op {
    let found = plan.steps.iter_mut().find(|step| step.name == name);
    &mut found.expect("invariant: the small network has such a step").op
}

fn assert_refused(result: Result<(), Error>, field: &str) {
    match result {
        Err(Error::Invalid { what, .. }) => assert!(what.contains(field), "{what}"),
        other => panic!("expected {field} to be refused, found {other:?}"),
    }
}

#[test]
fn the_maximum_of_accumulators_needs_a_bit_of_room() {
    let plan = changed(|plan| {
        if let Op::MaxPool(MaxPool { input, .. }) = step(plan, "max") {
            *input = 1;
        }
        let [from, to] = [plan.wires[1], plan.wires[3]];
        plan.wires[3].bits = from.bits;
        plan.wires[3].low = from.low;
        plan.wires[3].ring = Bits::of(to.ring.get() + 1);
        plan.wires[4] = plan.wires[3];
        plan.wires[4].shape = [3, 1, 1];
    });
    assert_refused(plan.check(), "step max: ring");
}

#[test]
fn layers_and_plans_have_a_largest_size() {
    let channels = changed(|plan| {
        if let Op::Linear(Linear { geometry, shifts, .. }) = step(plan, "fc") {
            geometry.out_channels = 1 << 20;
            shifts.clear();
        }
    });
    assert_refused(channels.check(), "step fc: layer");
    let elements = changed(|plan| {
        let huge = protocols::plan::Wire { shape: [1 << 14, 1 << 7, 1 << 7], ..plan.wires[0] };
        plan.wires.extend(vec![huge; 17]);
    });
    assert_refused(elements.check(), "plan: wires");
}

#[test]
fn a_signed_sum_must_fit_with_what_makes_it_unsigned_too() {
    let sums_in = |ring: u32| {
        changed(|plan| {
            if let Op::Linear(Linear { ring: of_layer, .. }) = step(plan, "fc") {
                *of_layer = Bits::of(ring);
            }
            if let Op::Requant(Requant { ring: of_sum, shift, .. }) = step(plan, "add") {
                (*of_sum, *shift) = (Bits::of(ring), 3);
            }
            plan.wires[6].ring = Bits::of(ring);
        })
    };
    let (wide, narrow) = (sums_in(9), sums_in(8));
    assert!(wide.check().is_ok() && network::weights().check(&wide).is_ok());
    // Sums lie within -49..=90, and 7 times 8 more does not fit 8 bits.
    assert!(narrow.check().is_ok());
    assert_refused(network::weights().check(&narrow), "step add: sum");
}

#[test]
fn a_table_has_an_entry_for_every_value_and_none_that_is_too_wide() {
    let table = |change: fn(&mut Vec<i64>)| {
        changed(|plan| {
            if let Op::Lookup(Lookup { table, .. }) = step(plan, "function") {
                change(table);
            }
        })
    };
    assert_refused(table(|table| table.truncate(15)).check(), "step function: table");
    assert_refused(table(|table| table.push(0)).check(), "step function: table");
    assert_refused(table(|table| table[3] = 44).check(), "step function: table");
    assert_refused(table(|table| table[3] = -21).check(), "step function: table");
    assert!(table(|table| table[3] = -20).check().is_ok());
    // Accumulators of 10 bits.
    let wide = changed(|plan| {
        if let Op::Lookup(Lookup { input, .. }) = step(plan, "function") {
            *input = 6;
        }
    });
    assert_refused(wide.check(), "step function: input");
}

#[test]
fn values_that_a_lookup_or_a_label_would_cut_are_refused_where_they_are_written() {
    let cut = |name: &'static str| {
        changed(move |plan| {
            // Accumulators of 10 bits, said to have 4.
            (plan.wires[6].bits, plan.wires[6].low) = (4, -8);
            if let Op::Lookup(Lookup { input, .. }) | Op::Argmax(Argmax { input, .. }) =
                step(plan, name)
            {
                *input = 6;
            }
        })
    };
    for reader in ["function", "label"] {
        let plan = cut(reader);
        assert!(plan.check().is_ok(), "{:?}", plan.check());
        assert_refused(network::weights().check(&plan), "step fc: values");
    }
}

#[test]
fn the_label_is_what_is_revealed_next() {
    let between = changed(|plan| plan.steps.swap(8, 9));
    assert!(between.check().is_err());
    let other = changed(|plan| {
        if let Op::Output(Output { input }) = step(plan, "output") {
            *input = 8;
        }
    });
    assert_refused(other.check(), "step label: op");
    let wide = changed(|plan| plan.wires[9].ring = Bits::of(3));
    assert_refused(wide.check(), "step label: output");
}

#[test]
fn intervals_beyond_all_rings_are_refused_before_they_overflow() {
    let mut weights: Weights = network::weights().clone();
    if let Some(layer) = weights.layers.get_mut("fc") {
        layer.bias[0] = (1 << 60) - 1;
    }
    assert_refused(weights.check(network::plan()), "step add: sum");
}
