//! Prices of widths before there is a plan: sums over sites, each with the layers that read it.
//!
//! A layer's price depends on its weights' width and its input's; a requantisation's on its output's width and, weakly,
//! on the accumulators before it, for which a middle width stands in. The plan's own price corrects the sum.

use fusion::knapsack::{Item, choose};
use protocols::linear::{Layer, products_cost, winograd};
use protocols::ops::{Form, Requant};
use protocols::ot::{Source, Sources};
use protocols::plan::{Algorithm, Protocol};
use protocols::{Bits, Operator};

use super::Sensitivity;
use super::sensitivity::WIDTHS;
use crate::quantise::{Assignment, Quantiser, Sites, Target};

/// The knapsack's groups: one for each site.
pub(super) struct Estimate<'a> {
    sites: &'a Sites,
    groups: Vec<Vec<Widths>>,
}

/// Widths of a site and of the layers that read it.
struct Widths {
    site_bits: u8,
    weight_bits: Vec<u8>,
    item: Item,
}

/// The width of weights and values that stands in where a neighbour's is not known yet.
const MIDDLE: u8 = 4;

impl<'a> Estimate<'a> {
    pub(super) fn new(quantiser: &'a Quantiser<'a>, sensitivity: &Sensitivity, sources: Sources) -> Self {
        let sites = quantiser.sites();
        let pricing = Pricing::new(quantiser, sources);
        let groups = (0..sites.sites.len()).map(|site| pricing.group(site, sensitivity)).collect();
        Self { sites, groups }
    }

    /// The widths of the least loss within an estimated budget.
    pub(super) fn choose(&self, budget: u64) -> Option<Assignment> {
        let items: Vec<Vec<Item>> =
            self.groups.iter().map(|group| group.iter().map(|option| option.item).collect()).collect();
        let chosen = choose(&items, budget)?;
        let mut assignment = Assignment {
            weight_bits: vec![2; self.sites.layers.len()],
            site_bits: vec![2; self.sites.sites.len()],
        };
        for (site, (&at, group)) in chosen.iter().zip(&self.groups).enumerate() {
            let option = &group[at];
            assignment.site_bits[site] = option.site_bits;
            for (layer, &bits) in self.sites.readers(site).zip(&option.weight_bits) {
                assignment.weight_bits[layer] = bits;
            }
        }
        Some(assignment)
    }
}

/// Estimated prices, in bits.
struct Pricing<'a> {
    quantiser: &'a Quantiser<'a>,
    sites: &'a Sites,
    /// By layer, weight width and input width: the least bits of its products.
    products: Vec<Vec<Vec<u64>>>,
    /// By site: the accumulators' ring that stands in.
    rings: Vec<u32>,
    /// Of the cheapest source.
    transfer_bits: f64,
}

impl<'a> Pricing<'a> {
    fn new(quantiser: &'a Quantiser<'a>, sources: Sources) -> Self {
        let sites = quantiser.sites();
        let products = (0..sites.layers.len())
            .map(|layer| {
                let by_input = |w: u8| WIDTHS.map(|a| products_bits(quantiser, layer, w, a)).collect();
                WIDTHS.map(by_input).collect()
            })
            .collect();
        let ring = |site: usize| {
            let before =
                sites.layers.iter().enumerate().filter(|(_, layer)| layer.target == Target::Site(site));
            before.map(|(layer, _)| quantiser.ring(layer, MIDDLE, MIDDLE)).max().unwrap_or(16)
        };
        let rings = (0..sites.sites.len()).map(ring).collect();
        let transfer_bits = sources.iter().map(Source::bits).fold(f64::INFINITY, f64::min);
        Self { quantiser, sites, products, rings, transfer_bits }
    }

    /// All options of a site that no other beats.
    fn group(&self, site: usize, sensitivity: &Sensitivity) -> Vec<Widths> {
        let readers: Vec<usize> = self.sites.readers(site).collect();
        let mut options: Vec<Widths> = WIDTHS
            .map(|a| Widths {
                site_bits: a,
                weight_bits: Vec::new(),
                item: Item {
                    cost: self.rounding_bits(site, a),
                    loss: sensitivity.sites[site][usize::from(a - 2)],
                },
            })
            .collect();
        for &layer in &readers {
            options = options
                .into_iter()
                .flat_map(|option| {
                    WIDTHS.map(move |w| (w, option.weight_bits.clone(), option.site_bits, option.item))
                })
                .map(|(w, mut weight_bits, site_bits, item)| {
                    weight_bits.push(w);
                    let (w, a) = (usize::from(w - 2), usize::from(site_bits - 2));
                    let cost = item.cost + self.products[layer][w][a];
                    let loss = item.loss + sensitivity.weights[layer][w];
                    Widths { site_bits, weight_bits, item: Item { cost, loss } }
                })
                .collect();
        }
        options.sort_by(|a, b| a.item.cost.cmp(&b.item.cost).then(a.item.loss.total_cmp(&b.item.loss)));
        let mut least = f64::INFINITY;
        options.retain(|option| {
            let better = option.item.loss < least;
            least = least.min(option.item.loss);
            better
        });
        options
    }

    /// Bits of requantising to a site, its transfers and its re-masking.
    fn rounding_bits(&self, site: usize, a: u8) -> u64 {
        let elements = self.quantiser.site_elements(site);
        let most =
            self.sites.readers(site).map(|layer| self.quantiser.ring(layer, MIDDLE, a)).max().unwrap_or(0);
        let out = most.max(u32::from(a) + 1).min(64);
        let masked = elements as u64 * u64::from(out);
        if self.sites.sites[site].value.producer().is_none() {
            return masked;
        }
        let ring = self.rings[site].max(u32::from(a) + 3).min(60);
        let requant = Requant {
            len: elements,
            ring: Bits::of(ring),
            shift: (ring - 2 - u32::from(a)).min(ring / 2),
            bits: u32::from(a),
            signed: false,
            out: Bits::of(out),
            digit: 1,
            form: Form::Chain,
        };
        let cost = requant.cost();
        let transfers = (cost.server_cots + cost.client_cots) as f64 * self.transfer_bits;
        cost.bits() + transfers.ceil() as u64 + masked
    }
}

/// The least bits of a layer's products at some widths.
fn products_bits(quantiser: &Quantiser<'_>, layer: usize, w: u8, a: u8) -> u64 {
    let ring = Bits::of(quantiser.ring(layer, w, a).max(u32::from(w) + 4).min(60));
    let geometry = quantiser.geometry(layer);
    let exact = w <= 4 && winograd::applies(&geometry);
    let algorithms = std::iter::once(Algorithm::Direct).chain(exact.then_some(Algorithm::WinogradExact));
    let bits = |(algorithm, k)| {
        let (shifts, protocol) = (quantiser.shifts(layer, w), Protocol::Vole { k });
        let layer = Layer { geometry, weight_bits: u32::from(w), shifts, ring, algorithm, protocol };
        products_cost(&layer, 1).bits()
    };
    let ways = algorithms.flat_map(|algorithm| [w, 8, 6].map(|k| (algorithm, k)));
    ways.map(bits).min().unwrap_or(u64::MAX)
}
