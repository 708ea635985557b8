//! The server's secret: integer weights, and the file that holds them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use zeroize::Zeroizing;

use crate::bits::hex;
use crate::plan::Plan;
use crate::steps::{Intervals, Step};
use crate::{Bits, Error, entropy};

pub use crate::linear::{LayerWeights, accumulators};

/// The integers that only the server holds, by step. `Debug` prints shapes only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Weights {
    /// Secret random bytes that keep the public digest from confirming a guess of the weights: see
    /// [`fresh_salt`].
    pub salt: Zeroizing<[u8; 32]>,
    /// Every linear step's weights.
    pub layers: BTreeMap<String, LayerWeights>,
}

/// A salt: 32 random bytes of the operating system. Nothing that anybody can guess goes into it,
/// such as the network, its file or a seed; so whoever has the plan cannot tell from the digest
/// whether a guess of the weights is right.
///
/// # Errors
/// [`Error::Invalid`] where the system has no random bytes.
pub fn fresh_salt() -> Result<Zeroizing<[u8; 32]>, Error> {
    entropy::fresh("weights: salt")
}

impl Weights {
    /// The salted digest that a plan names, in hexadecimal.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.salt);
        for (name, layer) in &self.layers {
            for part in [name.len(), layer.weights.len(), layer.bias.len()] {
                hasher.update(&(part as u64).to_le_bytes());
            }
            hasher.update(name.as_bytes());
            hasher.update(bytemuck::cast_slice(&layer.weights));
            for bias in &layer.bias {
                hasher.update(&bias.to_le_bytes());
            }
        }
        hex(hasher.finalize().as_bytes())
    }

    /// The safetensors file: `salt`, and for every step `NAME.weight` and `NAME.bias`.
    pub fn to_safetensors(&self) -> Zeroizing<Vec<u8>> {
        let biases: Vec<Zeroizing<Vec<u8>>> =
            self.layers.values().map(LayerWeights::bias_bytes).collect();
        let mut tensors = vec![("salt".to_owned(), view(Dtype::U8, 32, &self.salt[..]))];
        for ((name, layer), bias) in self.layers.iter().zip(&biases) {
            let weights = bytemuck::cast_slice(&layer.weights);
            tensors.push((format!("{name}.weight"), view(Dtype::I8, layer.weights.len(), weights)));
            tensors.push((format!("{name}.bias"), view(Dtype::I64, layer.bias.len(), bias)));
        }
        let file = safetensors::serialize(tensors, None::<HashMap<String, String>>);
        Zeroizing::new(file.expect("invariant: tensors have the sizes that they say"))
    }

    /// Reads a safetensors file; [`Weights::check`] then holds it against a plan.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the tensor.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|source| Error::invalid("weights", "a safetensors file", source))?;
        let salt = typed(&file, "salt", Dtype::U8)?;
        let found = salt.len();
        let salt: [u8; 32] =
            salt.try_into().map_err(|_| Error::invalid("weights: salt", "32 bytes", found))?;
        let mut layers = BTreeMap::new();
        for name in file.names() {
            let Some(name) = name.strip_suffix(".weight") else { continue };
            let weights = typed(&file, &format!("{name}.weight"), Dtype::I8)?;
            let bias = typed(&file, &format!("{name}.bias"), Dtype::I64)?;
            let bias = bias.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
            let weights = bytemuck::cast_slice(weights).to_vec();
            layers.insert(name.to_owned(), LayerWeights { weights, bias });
        }
        Ok(Self { salt: salt.into(), layers })
    }

    /// Holds the weights against a plan: digest, shapes, widths, and that every value is where what
    /// reads it takes it to be:
    ///
    /// - a linear layer, a view, a sum over windows: relies on nothing, it is exact modulo the
    ///   ring;
    /// - a requantization: the shifted sum of its terms, with the rounding constant, and also with
    ///   what makes a signed result unsigned, lies within the two's complement of its ring;
    /// - a maximum, a label: values within the width and the sign that their wire declares; they
    ///   are read modulo one bit more, so that differences fit and a top bit is known;
    /// - a lookup: the same; no other bits are read;
    /// - the reveal of logits: the same, and within the two's complement of the ring.
    ///
    /// What writes a wire keeps to the width and sign that it declares: the client checks its
    /// input, requantizations clamp, tables are checked with the plan, maxima and slices are values
    /// of their input. Of sums, of layers and over windows, the exact interval is followed here. It
    /// may be wider than declared in one case: a signed wire that is as wide as its ring is read
    /// modulo the ring alone, unless its reader checks.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the step and the field.
    pub fn check(&self, plan: &Plan) -> Result<(), Error> {
        let mut ranges: Vec<(i128, i128)> =
            plan.wires.iter().map(|w| (i128::from(w.range().0), i128::from(w.range().1))).collect();
        for step in &plan.steps {
            self.check_step(plan, step, &mut ranges)?;
        }
        let digest = self.digest();
        if digest == plan.weights {
            return Ok(());
        }
        Err(Error::invalid("weights: digest", format!("{} as the plan says", plan.weights), digest))
    }

    /// Holds them against one step, and follows the interval of the wire that it writes.
    fn check_step(
        &self,
        plan: &Plan,
        step: &Step,
        ranges: &mut [(i128, i128)],
    ) -> Result<(), Error> {
        let mut intervals = Intervals {
            name: &step.name,
            wires: &plan.wires,
            reveals: plan.reveals(),
            weights: &self.layers,
            ranges,
        };
        step.op.step().follow(&mut intervals)?;
        // No ring holds more; and so the arithmetic here stays exact, whatever the plan says.
        let Some(output) = step.op.output() else { return Ok(()) };
        intervals.fits("values", intervals.ranges[output], Bits::of(64))
    }

    /// Holds the shapes alone against a plan: what running it relies on.
    pub(crate) fn check_shapes(&self, plan: &Plan) -> Result<(), Error> {
        plan.layers().try_for_each(|(_, name, layer)| {
            LayerWeights::of_step(&self.layers, name)?.check(&layer, name)
        })
    }
}

fn view(dtype: Dtype, len: usize, bytes: &[u8]) -> TensorView<'_> {
    TensorView::new(dtype, vec![len], bytes)
        .expect("invariant: the bytes are as many as the elements")
}

fn typed<'a>(file: &SafeTensors<'a>, name: &str, dtype: Dtype) -> Result<&'a [u8], Error> {
    let what = format!("weights: tensor {name}");
    let tensor = match file.tensor(name) {
        Ok(tensor) => tensor,
        Err(source) => return Err(Error::invalid(what, "a tensor", source)),
    };
    if tensor.dtype() == dtype {
        return Ok(tensor.data());
    }
    Err(Error::invalid(what, format!("{dtype:?}"), format!("{:?}", tensor.dtype())))
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.layers).finish()
    }
}
