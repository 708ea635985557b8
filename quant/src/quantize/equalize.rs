//! Channels that differ by orders of magnitude, brought together across two layers.
//!
//! One scale serves all channels of a value: one that is 1e5 times smaller than another would be
//! rounded to zero, however much the next layer makes of it. ReLU and pooling are positively
//! homogeneous, so a channel's factor can move from the layer before them into the one behind them
//! (Nagel, van Baalen, Blankevoort, Welling: Data-Free Quantization Through Weight Equalization
//! and Bias Correction, ICCV 2019, section 4.1). Factors are powers of two: the network computes
//! the same floats as before, bit for bit.

use std::borrow::Cow;
use std::collections::HashMap;

use model::float::{FloatError, visit_values};
use model::{Conv, Model, Op, Tensor};

use super::calibrate::first_images;

/// Two layers with nothing but ReLU and pooling between them, by their nodes.
#[derive(Clone, Copy)]
struct Pair {
    first: usize,
    second: usize,
}

/// Images that channels are measured on.
const IMAGES: usize = 32;
/// A channel matters where what the next layer makes of it is so much of the most, or more.
const MATTERS: f32 = 1.0 / 16.0;
/// A channel is hidden where it is so much of the largest one, or less: two of eight bits are left.
const HIDDEN: f32 = 1.0 / 64.0;
/// The most that a channel moves, in powers of two: weights stay far from the ends of floats.
const MOST: f32 = 40.0;

/// The model with its channels brought together, wherever one that matters is hidden by others; as
/// it is, where none is.
///
/// # Errors
/// The images do not fit the model.
pub fn equalized<'a>(model: &'a Model, images: &Tensor) -> Result<Cow<'a, Model>, FloatError> {
    // Rows of weights tell where to look, without evaluating anything.
    let pairs: Vec<Pair> =
        pairs(model).into_iter().filter(|pair| differ(conv(model, pair.first))).collect();
    if pairs.is_empty() {
        return Ok(Cow::Borrowed(model));
    }
    let magnitudes = magnitudes(model, images, &pairs)?;
    let mut found = Cow::Borrowed(model);
    // From the end to the start: of a layer that has one input channel an output, weights then say
    // what all behind it makes of a channel.
    for pair in pairs.iter().rev() {
        let Some(reach) = magnitudes.get(&pair.second) else { continue };
        let weights = columns(conv(&found, pair.second));
        let powers = powers(reach, &weights);
        if powers.iter().any(|&power| power != 0) {
            pair.scale(found.to_mut(), &powers);
        }
    }
    Ok(found)
}

/// Every two layers of which the second is all that reads the first, in order.
fn pairs(model: &Model) -> Vec<Pair> {
    let reader = |first: usize| {
        let mut value = model.nodes[first].output;
        loop {
            let [reader] = model.consumers(value)[..] else { return None };
            if value == model.output {
                return None;
            }
            let node = &model.nodes[reader];
            match &node.op {
                Op::Relu { max: None } | Op::PartRelu(_) => value = node.output,
                Op::MaxPool(_) | Op::AvgPool(_) => value = node.output,
                Op::Conv(_) => return Some(reader),
                Op::Relu { max: Some(_) } | Op::Function(_) | Op::Add | Op::Mul => return None,
                Op::View(_) | Op::Reorder(_) | Op::Concat => return None,
            }
        }
    };
    let layers = model.layers().map(|(first, _)| first);
    layers.filter_map(|first| Some(Pair { first, second: reader(first)? })).collect()
}

/// The convolution of a layer's node.
fn conv(model: &Model, node: usize) -> &Conv {
    super::conv(model, node)
}

/// Whether output channels differ so much that one may be hidden.
fn differ(conv: &Conv) -> bool {
    let rows = conv.weight.chunks_exact(conv.fan_in().max(1)).zip(&conv.bias);
    let sizes = rows.map(|(row, &bias)| row.iter().fold(bias.abs(), |most, w| most.max(w.abs())));
    let live = sizes.filter(|&size| size > 0.0);
    let (least, most) =
        live.fold((f32::INFINITY, 0.0), |(least, most): (f32, f32), v| (least.min(v), most.max(v)));
    least <= most * HIDDEN
}

/// By the second layer of every pair, the largest magnitude of every channel that it reads.
fn magnitudes(
    model: &Model,
    images: &Tensor,
    pairs: &[Pair],
) -> Result<HashMap<usize, Vec<f32>>, FloatError> {
    let mut found = HashMap::new();
    visit_values(model, &first_images(images, images.images().min(IMAGES)), |id, values| {
        let readers = pairs.iter().filter(|pair| model.nodes[pair.second].inputs[0] == id);
        for pair in readers {
            let [channels, rows, columns] = model.shape(id);
            let mut most = vec![0.0_f32; channels];
            for image in values {
                for (most, plane) in most.iter_mut().zip(image.chunks_exact(rows * columns)) {
                    *most = plane.iter().fold(*most, |most, v| most.max(v.abs()));
                }
            }
            found.insert(pair.second, most);
        }
    })?;
    Ok(found)
}

/// The largest weight that a layer has for every input channel.
fn columns(conv: &Conv) -> Vec<f32> {
    let g = &conv.geometry;
    let (inputs, taps) = (g.in_channels / g.groups, g.kernel_h * g.kernel_w);
    let mut most = vec![0.0_f32; g.in_channels];
    for (at, taps) in conv.weight.chunks_exact(taps).enumerate() {
        let most = &mut most[channel(conv, at, inputs)];
        *most = taps.iter().fold(*most, |most, w| most.max(w.abs()));
    }
    most
}

/// The input channel of the kernel at `at` of `[K, C / groups]`.
fn channel(conv: &Conv, at: usize, inputs: usize) -> usize {
    let g = &conv.geometry;
    // Output channels of a group are consecutive, and so are its input channels.
    at / inputs / (g.out_channels / g.groups) * inputs + at % inputs
}

/// By which power of two every channel is divided, of what reaches the second layer and its weights
/// for it: none where no channel that matters is hidden.
fn powers(reach: &[f32], weights: &[f32]) -> Vec<i32> {
    let most = reach.iter().zip(weights).fold(0.0, |most: f32, (a, w)| most.max(a * w));
    let matters = |a: f32, w: f32| a * w > 0.0 && a * w >= MATTERS * most;
    let important: Vec<(f32, f32)> =
        reach.iter().zip(weights).map(|(&a, &w)| (a, w)).filter(|&(a, w)| matters(a, w)).collect();
    let largest = reach.iter().fold(0.0_f32, |most, &a| most.max(a));
    if most.is_nan() || important.iter().all(|&(a, _)| a > HIDDEN * largest) {
        return vec![0; reach.len()];
    }
    // A channel of values `a` that meets weights `w` is best at `sqrt(a w)` on both sides: values
    // of 1e-5 with weights of 1e5 then stand beside values of 1 with weights of 1.
    let level = |a: f32, w: f32| (a.log2() - w.log2()) / 2.0;
    let mut levels: Vec<f32> = important.iter().map(|&(a, w)| level(a, w)).collect();
    levels.sort_by(f32::total_cmp);
    let middle = levels[levels.len() / 2];
    let pairs = reach.iter().zip(weights);
    pairs
        .map(
            |(&a, &w)| {
                if a * w > 0.0 {
                    (level(a, w) - middle).clamp(-MOST, MOST).round() as i32
                } else {
                    0
                }
            },
        )
        .collect()
}

impl Pair {
    /// Divides what the first layer makes of every channel, and multiplies what the second takes.
    fn scale(&self, model: &mut Model, powers: &[i32]) {
        if let Op::Conv(conv) = &mut model.nodes[self.first].op {
            let fan_in = conv.fan_in().max(1);
            let rows = conv.weight.chunks_exact_mut(fan_in).zip(&mut conv.bias);
            for ((row, bias), &power) in rows.zip(powers) {
                let factor = (-power as f32).exp2();
                row.iter_mut().chain([bias]).for_each(|v| *v *= factor);
            }
        }
        if let Op::Conv(conv) = &mut model.nodes[self.second].op {
            let g = conv.geometry;
            let inputs = g.in_channels / g.groups;
            let channels: Vec<usize> = (0..conv.weight.len() / (g.kernel_h * g.kernel_w))
                .map(|at| channel(conv, at, inputs))
                .collect();
            let kernels = conv.weight.chunks_exact_mut(g.kernel_h * g.kernel_w);
            for (kernel, channel) in kernels.zip(channels) {
                let factor = (powers[channel] as f32).exp2();
                kernel.iter_mut().for_each(|w| *w *= factor);
            }
        }
    }
}
