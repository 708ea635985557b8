//! Layers that read one wire, put beside each other where one encryption for all of them is worth
//! it: behind the choice of each layer's protocol, since it is a matter of several.

use std::collections::BTreeSet;

use protocols::plan::{Algorithm, Plan, Reveal, WireId};
use protocols::steps::Linear;

/// The plan with layers beside each other wherever a plan is better than the one before.
pub(super) fn together(mut plan: Plan, better: impl Fn(&Plan, &Plan) -> bool) -> Plan {
    for wire in 0..plan.wires.len() {
        if let Some(found) = best(&plan, wire, &better) {
            plan = found;
        }
    }
    plan
}

/// The best plan where readers of a wire are beside one of them; `None` where none is better.
fn best(plan: &Plan, wire: WireId, better: impl Fn(&Plan, &Plan) -> bool) -> Option<Plan> {
    let readers = readers(plan, wire);
    if readers.len() < 2 {
        return None;
    }
    let labeled = plan.revealing(Reveal::Label).is_ok();
    let mut best: Option<Plan> = None;
    for found in ways(plan, &readers) {
        // The label's plan has wider rings, which a host must have room for as well.
        let survives = !labeled || found.revealing(Reveal::Label).is_ok();
        if survives && better(&found, best.as_ref().unwrap_or(plan)) {
            best = Some(found);
        }
    }
    best
}

/// Every reader as a host, with what each of them has of outputs a polynomial: of all others that
/// fit beside it, and of each alone.
fn ways(plan: &Plan, readers: &[(usize, u16)]) -> Vec<Plan> {
    let all: BTreeSet<u16> = readers.iter().map(|reader| reader.1).collect();
    let mut ways = Vec::new();
    for &(host, _) in readers {
        for &outputs in &all {
            let others = readers.iter().map(|reader| reader.0).filter(|at| *at != host);
            let beside = others.filter_map(|at| Some((at, plan.beside(host, &[at], outputs)?)));
            let (fitting, alone): (Vec<usize>, Vec<Plan>) = beside.unzip();
            // One reader may make the others dearer, by its noise or its ring.
            if fitting.len() > 1 {
                ways.extend(plan.beside(host, &fitting, outputs));
            }
            ways.extend(alone);
        }
    }
    ways
}

/// The steps that read a wire by encryptions of their own, and their outputs a polynomial.
fn readers(plan: &Plan, wire: WireId) -> Vec<(usize, u16)> {
    let steps = plan.steps.iter().enumerate();
    let readers = steps.filter_map(|(at, step)| {
        let layer = step.op.get::<Linear>()?;
        let hint = layer.protocol.hint().filter(|hint| hint.beside.is_none())?;
        let reads = layer.input == wire && layer.algorithm == Algorithm::Direct;
        reads.then_some((at, hint.outputs))
    });
    readers.collect()
}
