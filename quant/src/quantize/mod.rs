//! Quantization: from a float network and widths to an integer network and its weights.

mod accumulator_aware;
mod activation_quantizers;
mod adam;
mod alone;
mod calibrate;
mod emit;
mod equalize;
mod error;
mod extent;
mod gram;
mod hessian;
mod least_squares;
mod memory;
mod qdq_import;
mod ranges;
mod reconstruct;
mod round;
mod scales;
mod sequential;
mod thin;
mod triangular;
mod winograd;

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use fusion::Graph;
use model::{Conv, Model, Preprocess, Tensor};
use protocols::weights::Weights;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) use activation_quantizers::is_relu;
pub use activation_quantizers::{
    ActivationQuantizer, ActivationQuantizers, InputQuantizer, LayerQuantizers, QuantizerId, Target,
};
pub use calibrate::{Calibration, first_images};
pub use equalize::equalized;
pub use error::QuantizeError;
pub(crate) use least_squares::Cross;
pub use memory::{Memory, TooLarge};
pub use qdq_import::{QdqChange, QdqChangeKind, QdqImport, QdqImportError, import_qdq};
pub use ranges::Ranges;
pub use reconstruct::Reconstruction;
pub use round::{QuantizedWeights, WeightQuantizer};
pub use scales::Scales;
pub use winograd::{Winograd, requantize};
pub(crate) use winograd::{by_position, transform};

use crate::gradient::{Change, Network, Rounding};

/// Widths of a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BitWidths {
    /// Weights of every layer, 2 to 8.
    pub weight_bits: Vec<u8>,
    /// Values of every activation quantizer, 2 to 8.
    #[serde(rename = "site_bits")]
    pub activation_bits: Vec<u8>,
}

/// Images that rounding in sequence looks at: it holds two values of each.
const SEQUENCE_IMAGES: usize = 256;
/// Rounded weights by layer, width and scale (of which only what is not a power of two matters).
type RoundedKey = (usize, u8, i64);

/// A calibrated network, ready to be quantized at any widths.
pub struct Quantizer<'a> {
    model: &'a Model,
    preprocess: Preprocess,
    activations: ActivationQuantizers,
    batch: &'a Tensor,
    memory: Memory,
    calibration: Calibration,
    /// Of every layer, by the inputs that it has in the float network; made where they are asked
    /// for, since they are large: matrices of a layer's inputs squared.
    weight_quantizers: OnceLock<Vec<WeightQuantizer>>,
    middle: OnceLock<Scales>,
    memo: Mutex<HashMap<RoundedKey, std::sync::Arc<QuantizedWeights>>>,
}

impl<'a> Quantizer<'a> {
    /// Copies of an image's values that a search holds at the most: those of the float network, of
    /// the integers, and of what a layer shall make.
    pub const COPIES: u64 = 3;

    /// Calibrates on a batch of preprocessed images.
    ///
    /// # Errors
    /// The batch is empty or does not fit the model.
    pub fn new(
        model: &'a Model,
        preprocess: &Preprocess,
        batch: &'a Tensor,
        ranges: Ranges,
    ) -> Result<Self, QuantizeError> {
        Self::within(model, preprocess, batch, ranges, Memory::DEFAULT)
    }

    /// As [`Quantizer::new`], holding no more images at a time than fit so many bytes, but one.
    ///
    /// # Errors
    /// The batch is empty or does not fit the model.
    pub fn within(
        model: &'a Model,
        preprocess: &Preprocess,
        batch: &'a Tensor,
        ranges: Ranges,
        max_memory: u64,
    ) -> Result<Self, QuantizeError> {
        if batch.images() == 0 {
            return Err(QuantizeError::NoImages);
        }
        if is_blank(batch) {
            return Err(QuantizeError::Blank { images: batch.images(), value: batch.data[0] });
        }
        let activations = ActivationQuantizers::of(model, input_quantizer(preprocess, batch));
        let memory = Memory::of(model, batch, max_memory);
        let images = memory.some_images(Calibration::IMAGES, calibrate::COPIES);
        let calibration = Calibration::measure(model, &activations, batch, (images, ranges))?;
        let strange = activations
            .quantizers
            .iter()
            .enumerate()
            .find(|(id, _)| !calibration.activation(*id).is_finite());
        if let Some((_, activation)) = strange {
            return Err(QuantizeError::NotFinite {
                node: activation
                    .value
                    .producer()
                    .map_or("input".into(), |node| model.nodes[node].name.clone()),
            });
        }
        let preprocess = preprocess.clone();
        Ok(Self {
            model,
            preprocess,
            activations,
            batch,
            memory,
            calibration,
            weight_quantizers: OnceLock::new(),
            middle: OnceLock::new(),
            memo: Mutex::default(),
        })
    }

    /// What the search of this network takes.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Where the network is rounded.
    pub const fn activations(&self) -> &ActivationQuantizers {
        &self.activations
    }

    /// The scales at some widths.
    pub fn scales(&self, bit_widths: &BitWidths) -> Scales {
        let problem = scales::Problem {
            model: self.model,
            activations: &self.activations,
            calibration: &self.calibration,
            bit_widths,
        };
        problem.solve()
    }

    /// A layer's weights at a width and scale.
    pub fn rounded(
        &self,
        layer: usize,
        bits: u8,
        log_scale: f64,
    ) -> std::sync::Arc<QuantizedWeights> {
        // Octaves only move all exponents alike, so the layer is rounded for the fraction and
        // serves all of them: `Rounded::log_scale` is that fraction, whatever was asked for.
        let mantissa = log_scale.rem_euclid(1.0);
        let key = (layer, bits, (mantissa * 1e9).round() as i64);
        let found = self.memo.lock().ok().and_then(|memo| memo.get(&key).cloned());
        found.unwrap_or_else(|| {
            let conv = conv(self.model, self.activations.layers[layer].node);
            let rounded =
                std::sync::Arc::new(self.weight_quantizers()[layer].round(conv, bits, mantissa));
            if let Ok(mut memo) = self.memo.lock() {
                memo.insert(key, std::sync::Arc::clone(&rounded));
            }
            rounded
        })
    }

    /// What rounds every layer for itself.
    fn weight_quantizers(&self) -> &[WeightQuantizer] {
        self.weight_quantizers.get_or_init(|| {
            calibrate::weight_quantizers(self.model, &self.activations, self.batch)
                .expect("invariant: the batch has been measured")
        })
    }

    /// Quantizes at some widths.
    ///
    /// # Errors
    /// The integer network cannot be represented: scales too far apart, or accumulators beyond 60
    /// bits.
    pub fn quantize(&self, bit_widths: &BitWidths) -> Result<(Graph, Weights), QuantizeError> {
        let scales = self.scales(bit_widths);
        let rounded = self.all_rounded(bit_widths, &scales);
        let rounded: Vec<&QuantizedWeights> = rounded.iter().map(AsRef::as_ref).collect();
        self.emit(bit_widths, &scales, &rounded)
    }

    /// Quantizes at some widths in the time that reading the network takes, without care for the
    /// loss: it fails where [`Quantizer::quantize`] would.
    ///
    /// # Errors
    /// As [`Quantizer::quantize`].
    pub fn draft(&self, bit_widths: &BitWidths) -> Result<(Graph, Weights), QuantizeError> {
        let scales = self.scales(bit_widths);
        let layers = self.activations.layers.iter().zip(&self.calibration.layers).enumerate();
        let rounded: Vec<QuantizedWeights> = layers
            .map(|(at, (layer, diagonals))| {
                let conv = conv(self.model, layer.node);
                diagonals.round(conv, bit_widths.weight_bits[at], scales.layers[at])
            })
            .collect();
        self.emit(bit_widths, &scales, &rounded.iter().collect::<Vec<_>>())
    }

    /// Quantizes at some widths with all care: every layer is rounded against what those before it
    /// have become, and what suits the whole best is learned, if asked for. `progress` is told a
    /// phase, parts done, and parts in all.
    ///
    /// # Errors
    /// As [`Quantizer::quantize`]; or the batch does not fit the model.
    pub fn finish(
        &self,
        bit_widths: &BitWidths,
        batch: &Tensor,
        reconstruction: Option<&Reconstruction>,
        progress: &mut dyn FnMut(&'static str, usize, usize),
    ) -> Result<(Graph, Weights), QuantizeError> {
        let mut scales = self.scales(bit_widths);
        let sequence = sequential::Sequence {
            model: self.model,
            activations: &self.activations,
            bit_widths,
            scales: &scales,
        };
        let images = self.memory.some_images(SEQUENCE_IMAGES, Self::COPIES);
        let images = first_images(batch, batch.images().min(images));
        let mut rounded = sequence.run(&images, &mut |done, of| progress("rounding", done, of));
        if let Some(options) = reconstruction {
            let start = reconstruct::Start {
                model: self.model,
                activations: &self.activations,
                bit_widths,
                rounded,
                scales,
                fixed: self.fixed_groups(),
            };
            (scales, rounded) =
                start.run(batch, options, &mut |done, of| progress("reconstruction", done, of))?;
        }
        self.emit(bit_widths, &scales, &rounded.iter().collect::<Vec<_>>())
    }

    /// The quantized network at some widths, in real numbers: weights rounded layer by layer,
    /// activation quantizers rounded on the way.
    pub fn network(&self, bit_widths: &BitWidths) -> Network<'a, f32> {
        let scales = self.scales(bit_widths);
        let mut network = Network::of(self.model);
        for (layer, rounded) in
            self.activations.layers.iter().zip(self.all_rounded(bit_widths, &scales))
        {
            network.layers[layer.node] = Some(rounded.float());
        }
        for id in 0..self.activations.quantizers.len() {
            let rounding = sequential::rounding(&scales, bit_widths, id);
            for value in self.activations.members(id) {
                network.changes[value.0] = Change::Round(rounding);
            }
        }
        network
    }

    /// Groups of scales that pixels or ReLUs that are cut off decide.
    fn fixed_groups(&self) -> Vec<bool> {
        let mut fixed = vec![false; self.activations.groups];
        let pixels = self.activations.input.mantissa.is_some();
        for activation in &self.activations.quantizers {
            fixed[activation.group] |=
                activation.max.is_some() || (activation.value.producer().is_none() && pixels);
        }
        fixed
    }

    fn all_rounded(
        &self,
        bit_widths: &BitWidths,
        scales: &Scales,
    ) -> Vec<std::sync::Arc<QuantizedWeights>> {
        // Made on all cores: a task that waited for it could not help.
        self.weight_quantizers();
        (0..self.activations.layers.len())
            .into_par_iter()
            .map(|layer| self.rounded(layer, bit_widths.weight_bits[layer], scales.layers[layer]))
            .collect()
    }

    fn emit(
        &self,
        bit_widths: &BitWidths,
        scales: &Scales,
        rounded: &[&QuantizedWeights],
    ) -> Result<(Graph, Weights), QuantizeError> {
        let emit = emit::Emit {
            model: self.model,
            activations: &self.activations,
            scales,
            rounded,
            bit_widths,
        };
        emit.run(&self.preprocess)
    }
}

/// How the input is rounded, by calibration images. It can be negative where one of theirs is, or
/// where a black pixel is: images without one say nothing about it. Pixels that are not normalized
/// have steps of their own, which are exact; other numbers have none.
fn input_quantizer(preprocess: &Preprocess, batch: &Tensor) -> InputQuantizer {
    let (mantissa, black) = match preprocess {
        Preprocess::Unit => (Some((1.0f64 / 255.0).log2()), false),
        Preprocess::Raw => (Some(0.0), false),
        Preprocess::Normalize { mean, .. } => (None, mean.iter().any(|&mean| mean > 0.0)),
    };
    // Without a sign, values below zero would be cut off, silently.
    let signed = black || batch.data.par_iter().any(|&value| value < 0.0);
    InputQuantizer { signed, mantissa: mantissa.filter(|_| !signed) }
}

/// Whether every channel of images of several pixels has one value throughout; of flat vectors,
/// whether all is one value.
fn is_blank(batch: &Tensor) -> bool {
    let [images, channels, rows, columns] = batch.shape;
    if rows * columns == 1 {
        let mut pairs = batch.data.windows(2);
        return images * channels > 1 && pairs.all(|pair| pair[0].to_bits() == pair[1].to_bits());
    }
    let planes = batch.data.chunks_exact(rows * columns).enumerate();
    let mut uniform =
        planes.map(|(plane, pixels)| (batch.data[plane % channels * rows * columns], pixels));
    uniform.all(|(value, pixels)| pixels.iter().all(|pixel| pixel.to_bits() == value.to_bits()))
}

/// Every layer's name, with the widths of its weights and of the activations that it reads.
pub(crate) fn widths(
    model: &Model,
    activations: &ActivationQuantizers,
    bit_widths: &BitWidths,
) -> impl Iterator<Item = (String, u8, u8)> {
    activations.layers.iter().zip(&bit_widths.weight_bits).map(|(layer, &weight_bits)| {
        (model.nodes[layer.node].name.clone(), weight_bits, bit_widths.activation_bits[layer.input])
    })
}

/// The convolution of a layer's node.
fn conv(model: &Model, node: usize) -> &Conv {
    model.nodes[node].op.conv().expect("invariant: a layer's node is a convolution")
}
