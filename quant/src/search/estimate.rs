//! Prices of widths before there is a plan: stages of the dynamic program, one for each activation
//! quantizer with the layers that read it.
//!
//! A layer's price depends on its weights' width and on the ring of its accumulators, which its
//! weights and its input decide; a requantization's on its output's width, on the ring of the
//! accumulators before it, and on the rings that the layers behind it work in. What is left out
//! (shortcuts' own rings, framing) the plan's own price corrects.

use protocols::linear::{Hint, Layer, winograd};
use protocols::ops::{Factor, Form, Lookup, Multiply, Requant};
use protocols::ot::OtExtension;
use protocols::plan::{Algorithm, Protocol, Protocols};
use protocols::{Bits, Operator};

use super::dynamic::{Choice, Costs, Problem, Stage};
use super::sensitivity::WIDTHS;
use super::{SearchOptions, Sensitivity};
use crate::quantize::{ActivationQuantizers, BitWidths, Quantizer, Target};

/// The dynamic program's stages, and the widths behind its choices.
pub(super) struct Estimate<'a> {
    activations: &'a ActivationQuantizers,
    pricing: Pricing<'a>,
    stages: Vec<Stage>,
    /// By stage and choice.
    widths: Vec<Vec<Widths>>,
}

/// Widths of an activation quantizer and of the layers that read it.
#[derive(Clone, Debug)]
struct Widths {
    activation_bits: u8,
    weight_bits: Vec<u8>,
    /// The widest ring that a layer behind works in.
    ring: u32,
}

impl<'a> Estimate<'a> {
    pub(super) fn new(
        quantizer: &'a Quantizer<'a>,
        sensitivity: &Sensitivity,
        options: &SearchOptions,
    ) -> Self {
        let activations = quantizer.activations();
        let pricing = Pricing::new(quantizer, options);
        let (stages, widths) = (0..activations.quantizers.len())
            .map(|activation| pricing.stage(activation, sensitivity))
            .unzip();
        Self { activations, pricing, stages, widths }
    }

    /// The widths of the least loss within estimated budgets: of all bits, and of those online.
    pub(super) fn choose(&self, budgets: Costs) -> Option<BitWidths> {
        let arrival = |activation: usize, choice: usize, ring: Option<u8>| {
            let widths = &self.widths[activation][choice];
            self.pricing.rounding_bits(activation, widths.activation_bits, widths.ring, ring)
        };
        let chosen = Problem { stages: &self.stages, arrival: &arrival }.solve(budgets)?;
        let mut bit_widths = BitWidths {
            weight_bits: vec![2; self.activations.layers.len()],
            activation_bits: vec![2; self.activations.quantizers.len()],
        };
        for (activation, (&at, widths)) in chosen.iter().zip(&self.widths).enumerate() {
            bit_widths.activation_bits[activation] = widths[at].activation_bits;
            for (layer, &bits) in self.activations.readers(activation).zip(&widths[at].weight_bits)
            {
                bit_widths.weight_bits[layer] = bits;
            }
        }
        Some(bit_widths)
    }
}

/// Estimated prices, in bits.
struct Pricing<'a> {
    quantizer: &'a Quantizer<'a>,
    activations: &'a ActivationQuantizers,
    /// By layer, weight width and input width: the ring, and the least bits of the products.
    products: Vec<Vec<Vec<(u32, u64)>>>,
    /// Of an OT of the cheapest source.
    ot_bits: f64,
}

impl<'a> Pricing<'a> {
    fn new(quantizer: &'a Quantizer<'a>, options: &SearchOptions) -> Self {
        let SearchOptions { extensions, protocols, .. } = *options;
        let activations = quantizer.activations();
        let products = (0..activations.layers.len())
            .map(|layer| {
                WIDTHS
                    .map(|w| {
                        WIDTHS.map(|a| products_bits(quantizer, protocols, layer, [w, a])).collect()
                    })
                    .collect()
            })
            .collect();
        let ot_bits = extensions.iter().map(OtExtension::bits).fold(f64::INFINITY, f64::min);
        Self { quantizer, activations, products, ot_bits }
    }

    /// All choices of an activation quantizer that none with the same demands beats.
    fn stage(&self, activation: usize, sensitivity: &Sensitivity) -> (Stage, Vec<Widths>) {
        // One choice a width of the activation quantizer, then seven times as many a layer that
        // reads it. What is beaten goes after each layer: with three layers the 7^4 combinations
        // are never there at once.
        let mut choices: Vec<(Choice, Widths)> = WIDTHS
            .map(|a| {
                let loss = sensitivity.activations[activation][usize::from(a - 2)];
                let widths =
                    Widths { activation_bits: a, weight_bits: Vec::new(), ring: u32::from(a) + 1 };
                (Choice { costs: [0, 0], loss, demands: Vec::new() }, widths)
            })
            .collect();
        for layer in self.activations.readers(activation) {
            let mut wider = Vec::new();
            for (choice, widths) in &choices {
                for w in WIDTHS {
                    let (mut choice, mut widths) = (choice.clone(), widths.clone());
                    let (at, a) = (usize::from(w - 2), usize::from(widths.activation_bits - 2));
                    let (ring, bits) = self.products[layer][at][a];
                    // Products are counted in the first budget alone, so the second cost of a
                    // choice stays zero here.
                    choice.costs[0] += bits;
                    choice.loss += sensitivity.weights[layer][at];
                    if let Target::Quantizer(target) = self.activations.layers[layer].target {
                        choice.demands.push((target, ring as u8));
                    }
                    widths.ring = widths.ring.max(ring);
                    widths.weight_bits.push(w);
                    wider.push((choice, widths));
                }
            }
            choices = undominated(wider);
        }
        let (choices, widths) = choices.into_iter().unzip();
        (Stage { choices }, widths)
    }

    /// Bits of requantizing to an activation quantizer, with its OTs and its re-masking: all,
    /// and those online. `out` is the ring that is worked in behind it, `ring` that of the
    /// accumulators before it, if there are any.
    fn rounding_bits(&self, activation: usize, a: u8, out: u32, ring: Option<u8>) -> Costs {
        let elements = self.quantizer.activation_elements(activation);
        // Behind the rounding the value lives in the widest ring that a layer reads it in, with a
        // bit above its own width at least: that top bit is known.
        let out = out.max(u32::from(a) + 1).min(64);
        let masked = elements as u64 * u64::from(out);
        let read = [self.lookup_bits(activation, a), self.multiply_bits(activation, a)];
        let read = [0, 1].map(|at| read[0][at] + read[1][at]);
        if self.activations.quantizers[activation].looked_up
            || self.activations.quantizers[activation].value.producer().is_none()
        {
            return read.map(|bits| bits + masked);
        }
        // Three bits above the result are the least for which the shift below is positive.
        let ring = ring.map_or(UNKNOWN, u32::from).max(u32::from(a) + 3).min(60);
        let requant = Requant {
            len: elements,
            ring: Bits::of(ring),
            // The true shift follows from scales that are not solved yet. It is taken to be what
            // the result leaves of the ring but for two bits, and half of the ring at most.
            shift: (ring - 2 - u32::from(a)).min(ring / 2),
            bits: u32::from(a),
            low: 0,
            out: Bits::of(out),
            and_depth: Requant::MAX_AND_DEPTH,
            form: Form::Narrow,
        };
        let cost = requant.cost();
        let transfers = (cost.server_cots + cost.client_cots) as f64 * self.ot_bits;
        let online = cost.bits() + masked;
        [online + transfers.ceil() as u64 + read[0], online + read[1]]
    }

    /// Bits of looking up the functions that read an activation quantizer, all and online.
    fn lookup_bits(&self, activation: usize, a: u8) -> Costs {
        let (ring, readers) =
            (Bits::of(a.into()), self.activations.quantizers[activation].functions as u64);
        if readers == 0 {
            return [0, 0];
        }
        let out = Bits::of(u32::from(a) + LOOKUP_ROOM);
        let lookup = Lookup {
            len: self.quantizer.activation_elements(activation),
            ring,
            out,
            table: vec![0; 1 << a],
        };
        let cost = lookup.cost();
        let transfers = (cost.server_cots + cost.client_cots) as f64 * self.ot_bits;
        let online = cost.bits() * readers;
        [online + readers * transfers.ceil() as u64, online]
    }

    /// Bits of the products whose gate an activation quantizer is, all and online; what they
    /// multiply is taken to be as wide.
    fn multiply_bits(&self, activation: usize, a: u8) -> Costs {
        let side = Factor { bits: a.into(), low: 0 };
        let gates = self.quantizer.activation_elements(activation);
        let products = self.activations.quantizers[activation].multiplies.iter().map(|elements| {
            let cost = Multiply {
                gates,
                each: (elements / gates.max(1)).max(1),
                factor: side,
                ring: Bits::of(u32::from(a) + 1),
                gate: side,
                out: Bits::of(2 * u32::from(a) + 1),
                digit: 1,
            }
            .cost();
            let transfers = (cost.server_cots + cost.client_cots) as f64 * self.ot_bits;
            [cost.bits() + transfers.ceil() as u64, cost.bits()]
        });
        products.fold([0, 0], |[all, online], [more, own]| [all + more, online + own])
    }
}

/// Bits that the ring of what a function gives has beyond those of what it reads.
const LOOKUP_ROOM: u32 = 8;
/// The ring that stands in where no layer's accumulators are rounded.
const UNKNOWN: u32 = 16;

/// What choices have in common that are compared.
fn class((choice, widths): &(Choice, Widths)) -> (u8, &[(usize, u8)], u32) {
    (widths.activation_bits, &choice.demands, widths.ring)
}

/// Choices that no other with the same width of the activation quantizer and the same demands
/// beats.
fn undominated(mut choices: Vec<(Choice, Widths)>) -> Vec<(Choice, Widths)> {
    // Within a class the second cost is zero throughout (`stage` adds to the first alone), so in
    // order of cost a choice is beaten just where the last one kept loses no more.
    choices.sort_by(|a, b| {
        class(a).cmp(&class(b)).then(a.0.costs.cmp(&b.0.costs)).then(a.0.loss.total_cmp(&b.0.loss))
    });
    let mut kept: Vec<(Choice, Widths)> = Vec::new();
    for choice in choices {
        let beaten = kept
            .last()
            .is_some_and(|last| class(last) == class(&choice) && last.0.loss <= choice.0.loss);
        if !beaten {
            kept.push(choice);
        }
    }
    kept
}

/// A layer's ring, and the least bits of its products, at some widths.
fn products_bits(
    quantizer: &Quantizer<'_>,
    protocols: Protocols,
    layer: usize,
    [w, a]: [u8; 2],
) -> (u32, u64) {
    let ring = quantizer.ring(layer, w, a).max(u32::from(w) + 4).min(60);
    let geometry = quantizer.geometry(layer);
    // Exact Winograd multiplies by sums of up to nine weights: 9 * 8 = 72 of four bits fits in
    // eight, 9 * 16 = 144 of five does not.
    let exact = w <= 4 && winograd::applies(&geometry);
    let algorithms =
        std::iter::once(Algorithm::Direct).chain(exact.then_some(Algorithm::WinogradExact));
    let ways = algorithms.flat_map(|algorithm| [w, 8, 6].map(|k| (algorithm, k)));
    let described = |algorithm, protocol| Layer {
        geometry,
        weight_bits: u32::from(w),
        shifts: quantizer.shifts(layer, w),
        ring: Bits::of(ring),
        algorithm,
        protocol,
        number: 0,
    };
    let trees = ways.map(|(algorithm, k)| described(algorithm, Protocol::Vole { k }));
    // The carry that a hint leaves is a few bits of the requantization: not counted.
    let plain = described(Algorithm::Direct, Protocol::Cot);
    let hint = Hint::least(&plain, f64::from((1u32 << a) - 1)).map(Protocol::Hint);
    let hint = hint.filter(|hint| protocols.contain(*hint));
    let hint = hint.map(|protocol| Layer { protocol, ..plain });
    let bits = trees.chain(hint).map(|layer| layer.cost(1).offline.bits());
    (ring, bits.min().unwrap_or(u64::MAX))
}
