//! Between images and the integers of the client: what a plan takes in, and what comes out of it.

use serde::{Deserialize, Serialize};

use super::{Plan, Reveal};
use crate::Error;
use crate::steps::Argmax;

/// How the client turns pixels into the integers of the first wire: `clamp(round(value / scale))`,
/// halves to even.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// What a pixel of 0..255 is turned into first.
    pub preprocess: Preprocess,
    /// The real value of one integer step.
    pub scale: f64,
}

/// What a pixel of 0..255 is turned into.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Preprocess {
    /// `x / 255`.
    #[default]
    Unit,
    /// `x`.
    Raw,
    /// `(x / 255 - mean) / std`, by channel.
    Normalize {
        /// Mean of each channel.
        mean: Vec<f32>,
        /// Standard deviation of each channel.
        std: Vec<f32>,
    },
}

impl Preprocess {
    /// What bytes of 0..255 are divided by first.
    pub const fn byte_divisor(&self) -> f32 {
        match self {
            Self::Raw => 1.0,
            Self::Unit | Self::Normalize { .. } => 255.0,
        }
    }

    /// Applies mean and standard deviation, where there are any, to pixels on the scale 0..1,
    /// `[images][channels][plane]`.
    ///
    /// # Panics
    /// There are fewer numbers than channels: see [`Plan::check`].
    pub fn normalize(&self, pixels: &mut [f32], channels: usize, plane: usize) {
        let Self::Normalize { mean, std } = self else { return };
        for (i, pixels) in pixels.chunks_exact_mut(plane).enumerate() {
            let channel = i % channels;
            pixels.iter_mut().for_each(|x| *x = (*x - mean[channel]) / std[channel]);
        }
    }
}

/// How the client reads the logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// The real value of one integer step.
    pub scale: f64,
}

/// The integer that a preprocessed value becomes, within `low..=high`: rounded in single precision,
/// halves to even, as ONNX's QuantizeLinear rounds.
///
/// For example, 0.26 at a scale of 0.1 within `0..=15` becomes 3.
#[must_use]
pub fn integer(value: f32, scale: f64, (low, high): (i64, i64)) -> i64 {
    ((value / scale as f32).round_ties_even() as i64).clamp(low, high)
}

/// What the client learns of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The class of the largest logit, the first of equals.
    pub label: usize,
    /// The logits, by class; none where the label alone is revealed.
    pub logits: Option<Logits>,
}

/// The logits of one image, by class.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    /// As the parties compute them.
    pub integers: Vec<i64>,
    /// Their real values: the integers times the plan's output scale.
    pub values: Vec<f64>,
}

impl Plan {
    /// Quantizes preprocessed images, `[images][channels][rows][columns]`, to the client's input,
    /// `[channels][images][rows][columns]`.
    ///
    /// # Errors
    /// The values are not those of whole images.
    pub fn encode(&self, values: &[f32]) -> Result<Vec<i64>, Error> {
        let wire = self.input_wire();
        let [channels, rows, columns] = wire.shape;
        let (plane, range) = (rows * columns, wire.range());
        let images = values.len() / wire.elements();
        if values.len() != images * wire.elements() {
            let expected = format!("images of {channels}x{rows}x{columns} values");
            return Err(Error::invalid("input", expected, format!("{} values", values.len())));
        }
        let mut integers = Vec::with_capacity(values.len());
        for channel in 0..channels {
            for image in 0..images {
                let start = (image * channels + channel) * plane;
                let values = values[start..start + plane].iter();
                integers.extend(values.map(|&value| integer(value, self.input.scale, range)));
            }
        }
        Ok(integers)
    }

    /// Preprocesses and quantizes the bytes of images, 0 to 255,
    /// `[images][channels][rows][columns]`, to the client's input, as [`Plan::encode`] does.
    ///
    /// # Errors
    /// They are not those of whole images.
    pub fn encode_bytes(&self, pixels: &[u8]) -> Result<Vec<i64>, Error> {
        let ([channels, rows, columns], preprocess) =
            (self.input_wire().shape, &self.input.preprocess);
        let divisor = preprocess.byte_divisor();
        let mut values: Vec<f32> = pixels.iter().map(|&x| f32::from(x) / divisor).collect();
        preprocess.normalize(&mut values, channels, rows * columns);
        self.encode(&values)
    }

    /// Reads the client's result of one inference: logits `[channels][images][rows][columns]`,
    /// whose classes are in the order channels, rows, columns; or labels `[images]`.
    ///
    /// # Panics
    /// The result is not that of so many images.
    pub fn decode(&self, result: &[i64], images: usize) -> Vec<Answer> {
        if self.reveals() == Reveal::Label {
            return result
                .iter()
                .map(|&label| Answer { label: label as usize, logits: None })
                .collect();
        }
        assert_eq!(result.len() % images.max(1), 0, "invariant: every image has as many logits");
        (0..images).map(|image| self.answer(result, image, images)).collect()
    }

    fn answer(&self, logits: &[i64], image: usize, images: usize) -> Answer {
        let [_, rows, columns] = self.output_wire().shape;
        // The planes of all images stand side by side in a channel.
        let planes = logits.chunks_exact(rows * columns).skip(image).step_by(images);
        let integers: Vec<i64> = planes.flatten().copied().collect();
        let values = integers.iter().map(|&v| v as f64 * self.output.scale).collect();
        let largest = integers.iter().copied().max();
        let label = integers.iter().position(|&v| Some(v) == largest).unwrap_or(0);
        Answer { label, logits: Some(Logits { integers, values }) }
    }

    /// The number of classes that the network tells apart.
    pub fn classes(&self) -> usize {
        let label = self.steps.iter().find_map(|step| step.op.get::<Argmax>());
        let logits = label.map_or_else(|| self.output_wire(), |label| &self.wires[label.input]);
        logits.elements()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bits;
    use crate::linear::Geometry;
    use crate::ot::{OtExtension, TreeDepth};
    use crate::plan::{Algorithm, FORMAT, InputSpec, OutputSpec, Preprocess, Protocol, Step, Wire};
    use crate::steps::{Input, Linear, Op, Output};

    /// Two pixels of two channels, and two classes.
    fn plan() -> Plan {
        let (shape, ring) = ([2, 1, 1], Bits::of(8));
        let wire = |bits, low| Wire { shape, bits, low, ring, carry: None };
        let step = |name: &str, op| Step { name: name.into(), op };
        let geometry = Geometry::dense(2, 2);
        let linear = Op::Linear(Linear {
            input: 0,
            output: 1,
            geometry,
            weight_bits: 2,
            shifts: Vec::new(),
            ring: Bits::of(8),
            algorithm: Algorithm::Direct,
            protocol: Protocol::Cot,
        });
        Plan {
            format: FORMAT,
            name: "codec".into(),
            input: InputSpec { preprocess: Preprocess::Unit, scale: 0.25 },
            output: OutputSpec { scale: 0.5 },
            extension: OtExtension::Softspoken(TreeDepth::new(2).unwrap()),
            streamed: false,
            wires: vec![wire(2, 0), wire(8, -128)],
            steps: vec![
                step("input", Op::Input(Input { output: 0 })),
                step("fc", linear),
                step("output", Op::Output(Output { input: 1 })),
            ],
            weights: "0".repeat(64),
            hints: None,
        }
    }

    #[test]
    fn images_lie_side_by_side_in_every_channel_and_are_rounded_and_clamped() {
        let plan = plan();
        // 0.125 is halfway between 0 and 1, and 0.375 between 1 and 2: to even.
        let values = [0.125, 0.375, 1.5, -1.0];
        assert_eq!(plan.encode(&values).unwrap(), [0, 3, 2, 0]);
        assert!(plan.encode(&values[..3]).unwrap_err().to_string().contains("2x1x1"));
    }

    #[test]
    fn logits_of_several_pixels_are_planes_of_images() {
        let mut plan = plan();
        plan.wires[1].shape = [2, 1, 2];
        // Channel by channel both pixels of one image, then both of the other.
        let answers = plan.decode(&[1, 2, 3, 4, 5, 0, 7, 8], 2);
        let logits = answers.iter().map(|answer| &answer.logits.as_ref().unwrap().integers);
        assert_eq!(logits.collect::<Vec<_>>(), [&[1, 2, 5, 0], &[3, 4, 7, 8]]);
        assert_eq!(answers.iter().map(|answer| answer.label).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn logits_are_rows_of_images_and_the_first_of_equals_wins() {
        let plan = plan();
        let answers = plan.decode(&[1, 5, 7, 5, 7, -1], 2);
        assert_eq!(answers.iter().map(|answer| answer.label).collect::<Vec<_>>(), [1, 0]);
        let logits = answers[1].logits.as_ref().unwrap();
        assert_eq!(logits.integers, [5, 5, -1]);
        assert_eq!(logits.values, [2.5, 2.5, -0.5]);
        assert_eq!(plan.classes(), 2);
    }
}
