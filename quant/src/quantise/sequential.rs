//! Rounding in the order of the network, every layer against what the layers before it have become.
//!
//! A layer is given the quantised input `x'` and shall give the float output `y`: its weights are first moved to the
//! least squares `min E|W' x' + b' - y|^2`, held near `W` by the damping, then rounded under the moments of `x'`. Where the
//! output goes into a sum whose other term is known, `y` also makes up for that term's error. (Hubara et al.:
//! AdaQuant, ICML 2021, sections 3 and 4; Frantar et al.: GPTQ, ICLR 2023; for the asymmetric objective Li et al.: GPTAQ,
//! 2025.)

use rayon::prelude::*;

use super::calibrate::Moments;
use super::round::{Rounded, Rounder};
use super::scales::{self, Scales};
use super::sites::Sites;
use super::{Assignment, conv};
use crate::float::conv::fill_columns;
use crate::gradient::{Change, Network, Parameters, Rounding};
use crate::kernels::{Factor, multiply_add, multiply_add_factors};
use crate::model::{Conv, Model, Op, ValueId};
use crate::tensor::Tensor;
use protocols::linear::Geometry;

/// What rounding in sequence looks at.
pub(super) struct Sequence<'a> {
    pub model: &'a Model,
    pub sites: &'a Sites,
    pub assignment: &'a Assignment,
    pub scales: &'a Scales,
}

/// The values of all images.
type Values = Vec<Vec<f32>>;

/// Images whose moments are summed by one core.
const TOGETHER: usize = 16;

impl Sequence<'_> {
    /// All layers, rounded.
    pub(super) fn run(&self, batch: &Tensor, progress: &mut dyn FnMut(usize, usize)) -> Vec<Rounded> {
        let float: Network<'_, f32> = Network::of(self.model);
        let mut network = self.network();
        let count = self.model.nodes.len() + 1;
        let (mut exact, mut found): (Vec<Values>, Vec<Values>) =
            (vec![Vec::new(); count], vec![Vec::new(); count]);
        exact[0] = (0..batch.images()).map(|image| batch.image(image).to_vec()).collect();
        found[0].clone_from(&exact[0]);
        change(&network.changes[0], &mut found[0]);
        let mut rounded = vec![None; self.sites.layers.len()];
        for (index, node) in self.model.nodes.iter().enumerate() {
            progress(index, self.model.nodes.len());
            exact[index + 1] = run(&float, index, &exact);
            if let Some(layer) = self.sites.layers.iter().position(|layer| layer.node == index) {
                let target = self.target(index, &exact, &found);
                let result = self.layer(layer, &found[node.inputs[0].0], &target);
                network.layers[index] = Some(result.float());
                rounded[layer] = Some(result);
            }
            found[index + 1] = run(&network, index, &found);
            change(&network.changes[index + 1], &mut found[index + 1]);
            for input in &node.inputs {
                let over = *input != self.model.output
                    && self.model.consumers(*input).last().is_none_or(|&last| last <= index);
                if over {
                    (exact[input.0], found[input.0]) = (Vec::new(), Vec::new());
                }
            }
        }
        rounded.into_iter().map(|layer| layer.expect("invariant: every layer is a node")).collect()
    }

    /// The float network with the sites rounded.
    fn network(&self) -> Network<'_, f32> {
        let mut network = Network::of(self.model);
        for (id, site) in self.sites.sites.iter().enumerate() {
            network.changes[site.value.0] =
                Change::Round(rounding(self.scales, self.assignment, id, site.signed));
        }
        network
    }

    /// What a layer's output should be: the float output, and what the other term of the sum that it goes into lacks.
    fn target(&self, index: usize, exact: &[Values], found: &[Values]) -> Values {
        let output = ValueId(index + 1);
        let mut target = exact[output.0].clone();
        let consumers = self.model.consumers(output);
        let [consumer] = consumers[..] else { return target };
        let node = &self.model.nodes[consumer];
        if !matches!(node.op, Op::Add) {
            return target;
        }
        for &other in node.inputs.iter().filter(|&&other| other.0 <= index) {
            let pairs = exact[other.0].par_iter().zip(&found[other.0]);
            target.par_iter_mut().zip(pairs).for_each(|(target, (exact, found))| {
                for (target, (exact, found)) in target.iter_mut().zip(exact.iter().zip(found)) {
                    *target += exact - found;
                }
            });
        }
        target
    }

    fn layer(&self, layer: usize, input: &Values, target: &Values) -> Rounded {
        let conv = conv(self.model, self.sites.layers[layer].node);
        let moments: Vec<Cross> = (0..conv.geometry.groups)
            .map(|group| Cross::of_group(&conv.geometry, input, target, group))
            .collect();
        let inputs: Vec<Moments> = moments.iter().map(|cross| cross.input.clone()).collect();
        let rounder = Rounder::new(&inputs);
        let moved = least_squares(conv, &moments, &rounder);
        rounder.round(&moved, self.assignment.weight_bits[layer], self.scales.layers[layer])
    }
}

/// The rounding of a site.
pub(super) fn rounding(scales: &Scales, assignment: &Assignment, site: usize, signed: bool) -> Rounding<f32> {
    let (low, high) = scales::limits(assignment.site_bits[site], signed);
    Rounding { scale: scales.sites[site].exp2() as f32, low: low as f32, high: high as f32 }
}

fn change(change: &Change<f32>, values: &mut Values) {
    values.par_iter_mut().for_each(|value| change.apply(value));
}

fn run(network: &Network<'_, f32>, index: usize, values: &[Values]) -> Values {
    let images = values[network.model().nodes[index].inputs[0].0].len();
    let image = |image: usize| network.node(index, |id| &values[id.0][image], &mut Vec::new());
    (0..images).into_par_iter().map(image).collect()
}

/// Moments of a layer's input and output.
struct Cross {
    input: Moments,
    /// `E[y x^T]`, `[K, N]`.
    both: Vec<f64>,
    /// `E[y]`, `[K]`.
    output: Vec<f64>,
}

impl Cross {
    fn of_group(g: &Geometry, input: &Values, target: &Values, group: usize) -> Self {
        let (channels, outputs) = (g.in_channels / g.groups, g.out_channels / g.groups);
        let (rows, pixels, plane) = (g.fan_in(), g.out_h() * g.out_w(), channels * g.in_h * g.in_w);
        let images: Vec<usize> = (0..input.len()).collect();
        let part = |images: &[usize]| {
            let (mut second, mut both) = (vec![0.0f32; rows * rows], vec![0.0f32; outputs * rows]);
            let (mut first, mut output) = (vec![0.0f64; rows], vec![0.0f64; outputs]);
            let mut columns = Vec::new();
            let sum = |row: &[f32]| row.iter().map(|&v| f64::from(v)).sum::<f64>();
            for &image in images {
                fill_columns(g, channels, &input[image][group * plane..][..plane], &mut columns);
                let y = &target[image][group * outputs * pixels..][..outputs * pixels];
                let transposed = Factor::Columns(&columns);
                multiply_add_factors([rows, pixels, rows], Factor::Rows(&columns), transposed, &mut second);
                multiply_add_factors([outputs, pixels, rows], Factor::Rows(y), transposed, &mut both);
                first.iter_mut().zip(columns.chunks_exact(pixels)).for_each(|(v, row)| *v += sum(row));
                output.iter_mut().zip(y.chunks_exact(pixels)).for_each(|(v, row)| *v += sum(row));
            }
            [
                second.iter().map(|&v| f64::from(v)).collect(),
                both.iter().map(|&v| f64::from(v)).collect(),
                first,
                output,
            ]
        };
        let parts: Vec<[Vec<f64>; 4]> = images.par_chunks(TOGETHER).map(part).collect();
        let count = (input.len() * pixels).max(1) as f64;
        let mean = |which: usize| -> Vec<f64> {
            let mut sum = vec![0.0; parts[0][which].len()];
            for part in &parts {
                sum.iter_mut().zip(&part[which]).for_each(|(sum, v)| *sum += v);
            }
            sum.into_iter().map(|v| v / count).collect()
        };
        let input = Moments { rows, second: mean(0), first: mean(2) };
        Self { input, both: mean(1), output: mean(3) }
    }
}

/// The layer with weights and biases moved to the least squares.
fn least_squares(conv: &Conv, moments: &[Cross], rounder: &Rounder) -> Conv {
    let mut moved = conv.clone();
    let outputs = conv.geometry.out_channels / moments.len();
    for (group, cross) in moments.iter().enumerate() {
        let n = cross.input.rows;
        let covariance = cross.input.covariance();
        let weights = &mut moved.weight[group * outputs * n..][..outputs * n];
        let wide: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        // What is left to explain: E[(y - W x)(x - E x)^T].
        let mut rest = vec![0.0; outputs * n];
        let negative: Vec<f64> = wide.iter().map(|w| -w).collect();
        multiply_add([outputs, n, n], &negative, &covariance, &mut rest);
        for (at, rest) in rest.iter_mut().enumerate() {
            *rest += cross.both[at] - cross.output[at / n] * cross.input.first[at % n];
        }
        let factor = rounder.factor(group);
        // The inverse is U^T U.
        let mut half = vec![0.0; outputs * n];
        multiply_add_factors([outputs, n, n], Factor::Rows(&rest), Factor::Columns(factor), &mut half);
        let mut step = vec![0.0; outputs * n];
        multiply_add([outputs, n, n], &half, factor, &mut step);
        for (output, (row, step)) in weights.chunks_exact_mut(n).zip(step.chunks_exact(n)).enumerate() {
            let mut mean = cross.output[output];
            for (at, (weight, step)) in row.iter_mut().zip(step).enumerate() {
                let value = wide[output * n + at] + step;
                *weight = value as f32;
                mean -= value * cross.input.first[at];
            }
            moved.bias[group * outputs + output] = mean as f32;
        }
    }
    moved
}

impl Rounded {
    /// As real numbers.
    pub(super) fn float(&self) -> Parameters<f32> {
        let fan_in = self.weights.len() / self.exponents.len().max(1);
        let channels = self.weights.chunks_exact(fan_in).zip(&self.exponents);
        let weight = channels.flat_map(|(row, &exponent)| {
            let scale = (self.log_scale - f64::from(exponent)).exp2() as f32;
            row.iter().map(move |&q| f32::from(q) * scale)
        });
        Parameters { weight: weight.collect(), bias: self.bias.iter().map(|&b| b as f32).collect() }
    }
}
