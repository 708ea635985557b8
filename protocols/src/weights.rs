//! The server's secret: integer weights, and the file that holds them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use rand::TryRng;
use rand::rngs::SysRng;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::bits::hex;
use crate::linear::{Geometry, Layer, winograd};
use crate::plan::{Algorithm, Op, Plan, Reveal, Step, Term, Wire};
use crate::{Bits, Error};

/// The integers that only the server holds, by step. `Debug` prints shapes only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Weights {
    /// Secret random bytes that keep the public digest from confirming a guess of the weights: see
    /// [`fresh_salt`].
    pub salt: Zeroizing<[u8; 32]>,
    /// Every linear step's weights.
    pub layers: BTreeMap<String, LayerWeights>,
}

/// One linear step's integers.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct LayerWeights {
    /// `[out channels][in channels / groups][kernel rows][kernel columns]`; in Winograd's domain
    /// `[position][out channels][in channels / groups]`.
    pub weights: Vec<i8>,
    /// One for each output channel, in units of the shifted accumulator.
    pub bias: Vec<i64>,
}

/// A salt: 32 random bytes of the operating system. Nothing that anybody can guess goes into it,
/// such as the network, its file or a seed; so whoever has the plan cannot tell from the digest
/// whether a guess of the weights is right.
///
/// # Errors
/// [`Error::Invalid`] where the system has no random bytes.
pub fn fresh_salt() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut salt = Zeroizing::new([0; 32]);
    let none =
        |source| Error::invalid("weights: salt", "random bytes of the operating system", source);
    SysRng.try_fill_bytes(&mut salt[..]).map_err(none)?;
    Ok(salt)
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
        let what = |field: &str| format!("weights of step {}: {field}", step.name);
        match &step.op {
            Op::Linear { input, output, .. } => {
                let layer = step.op.layer().expect("invariant: a linear step has a layer");
                let found = self.layer(&step.name)?;
                found.check(&layer, &step.name)?;
                ranges[*output] = found.range(&layer, ranges[*input]);
                written(what("values"), ranges[*output], &plan.wires[*output])?;
            }
            Op::Requant { terms, output, ring, shift, .. } => {
                let sum = requant_sum(terms, *shift, &plan.wires[*output], ranges);
                fits(what("sum"), sum, *ring)?;
            }
            Op::Output { .. } if plan.reveals() == Reveal::Label => {}
            Op::Output { input } => {
                declared(what("logits"), ranges[*input], &plan.wires[*input])?;
                fits(what("logits"), ranges[*input], plan.wires[*input].ring)?;
            }
            // Only so many bits of the values are looked at.
            Op::Lookup { input, .. } | Op::Argmax { input, .. } | Op::MaxPool { input, .. } => {
                declared(what("values"), ranges[*input], &plan.wires[*input])?;
            }
            Op::SumPool { input, output, window } => {
                let (low, high) = ranges[*input];
                let count = window.len() as i128;
                ranges[*output] = (low.min(0) * count, high.max(0) * count);
                written(what("values"), ranges[*output], &plan.wires[*output])?;
            }
            Op::View { input, output, .. } => {
                let (low, high) = ranges[*input];
                ranges[*output] = (low.min(0), high.max(0));
                written(what("values"), ranges[*output], &plan.wires[*output])?;
            }
            Op::Input { output } => {
                fits(what("values"), ranges[*output], plan.wires[*output].ring)?
            }
        }
        // No ring holds more; and so the arithmetic here stays exact, whatever the plan says.
        step.op.output().map_or(Ok(()), |output| fits(what("values"), ranges[output], Bits::of(64)))
    }

    fn layer(&self, step: &str) -> Result<&LayerWeights, Error> {
        let none = || {
            Error::invalid(format!("weights of step {step}: tensors"), "weight and bias", "none")
        };
        self.layers.get(step).ok_or_else(none)
    }

    /// Holds the shapes alone against a plan: what running it relies on.
    pub(crate) fn check_shapes(&self, plan: &Plan) -> Result<(), Error> {
        plan.layers().try_for_each(|(_, name, layer)| self.layer(name)?.check(&layer, name))
    }
}

/// The interval of the sum that a requantization takes, with its rounding constant; where the
/// result is signed, both without and with what makes it unsigned on the way.
fn requant_sum(terms: &[Term], shift: u8, to: &Wire, ranges: &[(i128, i128)]) -> (i128, i128) {
    let rounding = (1i128 << shift) >> 1;
    let offset = if to.signed { 1i128 << (shift + to.bits - 1) } else { 0 };
    let mut sum = Some((rounding, rounding + offset));
    for term in terms {
        let (low, high) = ranges[term.wire];
        let (low, high) = (low << term.shift, high << term.shift);
        sum = sum.and_then(|(a, b)| Some((a.checked_add(low)?, b.checked_add(high)?)));
    }
    sum.unwrap_or((i128::MIN, i128::MAX))
}

impl LayerWeights {
    /// The biases as a file has them.
    fn bias_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(8 * self.bias.len()));
        self.bias.iter().for_each(|bias| bytes.extend(bias.to_le_bytes()));
        bytes
    }

    fn check(&self, layer: &Layer, step: &str) -> Result<(), Error> {
        let what = |field: &str| format!("weights of step {step}: {field}");
        let (weights, channels) = (layer.weights(), layer.geometry.out_channels);
        if self.weights.len() != weights {
            return Err(Error::invalid(
                what("weight"),
                format!("{weights} elements"),
                self.weights.len(),
            ));
        }
        if self.bias.len() != channels {
            return Err(Error::invalid(
                what("bias"),
                format!("{channels} elements"),
                self.bias.len(),
            ));
        }
        let most = 1i16 << (layer.weight_bits - 1);
        if self.weights.iter().any(|&w| !(-most..most).contains(&i16::from(w))) {
            let expected = format!("{} bit two's complement", layer.weight_bits);
            return Err(Error::invalid(what("weight"), expected, "a wider value"));
        }
        let bound = 1u64 << 60;
        if self.bias.iter().any(|b| b.unsigned_abs() >= bound) {
            return Err(Error::invalid(what("bias"), "less than 2^60", "a larger value"));
        }
        Ok(())
    }

    /// The exact interval of the accumulators for inputs within `(low, high)`.
    pub fn range(&self, layer: &Layer, inputs: (i128, i128)) -> (i128, i128) {
        accumulators(&layer.geometry, layer.algorithm, self, &layer.shifts, inputs)
    }
}

/// The exact interval of `(W x)[c] << shifts[c] + bias[c]` over all output channels, for inputs
/// within `(low, high)`, from the sums of positive and of negative weights. Padding adds zero to
/// what an input can be. Of weights in Winograd's domain the kernels count that they amount to at a
/// tile's outputs.
///
/// # Panics
/// Where the weights are not as many as the geometry says.
pub fn accumulators(
    geometry: &Geometry,
    algorithm: Algorithm,
    layer: &LayerWeights,
    shifts: &[u8],
    (low, high): (i128, i128),
) -> (i128, i128) {
    let g = geometry;
    let padded = g.pad_top + g.pad_left + g.pad_bottom + g.pad_right > 0;
    let zero = padded || algorithm == Algorithm::Winograd;
    let (low, high) = if zero { (low.min(0), high.max(0)) } else { (low, high) };
    let interval = |(negative, positive): (i128, i128), bias: i64| {
        let least = positive.saturating_mul(low).saturating_add(negative.saturating_mul(high));
        let most = positive.saturating_mul(high).saturating_add(negative.saturating_mul(low));
        (least.saturating_add(bias.into()), most.saturating_add(bias.into()))
    };
    let shift = |at: usize| shifts.get(at).map_or(0, |&e| u32::from(e).min(64));
    let join = |(a, b): (i128, i128), (c, d): (i128, i128)| (a.min(c), b.max(d));
    let channels = layer.bias.iter().enumerate();
    let intervals = channels.map(|(channel, &bias)| match algorithm {
        Algorithm::Direct | Algorithm::WinogradExact => {
            let weights = &layer.weights[channel * g.fan_in()..(channel + 1) * g.fan_in()];
            let sums = weights.iter().fold((0i128, 0i128), |(negative, positive), &weight| {
                let weight = i128::from(weight);
                (negative + weight.min(0), positive + weight.max(0))
            });
            interval((sums.0 << shift(channel), sums.1 << shift(channel)), bias)
        }
        Algorithm::Winograd => {
            let fan_in = g.in_channels / g.groups;
            let kernels = winograd::effective(fan_in, |position, input| {
                let at = position * g.out_channels + channel;
                i128::from(layer.weights[at * fan_in + input]) << shift(at)
            });
            let [first, others @ ..] = kernels.map(|sums| interval(sums, bias));
            others.into_iter().fold(first, join)
        }
    });
    intervals.reduce(join).unwrap_or((0, 0))
}

fn fits(what: String, (low, high): (i128, i128), ring: Bits) -> Result<(), Error> {
    let half = 1i128 << (ring.get() - 1);
    if -half <= low && high < half {
        return Ok(());
    }
    Err(Error::invalid(what, format!("within the ring of {ring} bits"), format!("{low} to {high}")))
}

/// Whether values are within the width and the sign that their wire declares.
fn declared(what: String, (low, high): (i128, i128), wire: &Wire) -> Result<(), Error> {
    let (least, most) = wire.range();
    if i128::from(least) <= low && high <= i128::from(most) {
        return Ok(());
    }
    let expected = format!("{least} to {most}, the {} bits that its wire declares", wire.bits);
    Err(Error::invalid(what, expected, format!("{low} to {high}")))
}

/// The same of what is written: where a signed wire fills its ring, it stands for values modulo
/// that.
fn written(what: String, range: (i128, i128), wire: &Wire) -> Result<(), Error> {
    let modular = wire.signed && u32::from(wire.bits) == wire.ring.get();
    if modular { Ok(()) } else { declared(what, range, wire) }
}

fn view(dtype: Dtype, len: usize, bytes: &[u8]) -> TensorView<'_> {
    TensorView::new(dtype, vec![len], bytes)
        .expect("invariant: the bytes are as many as the elements")
}

fn typed<'a>(file: &SafeTensors<'a>, name: &str, dtype: Dtype) -> Result<&'a [u8], Error> {
    let what = || format!("weights: tensor {name}");
    let tensor = file.tensor(name).map_err(|source| Error::invalid(what(), "a tensor", source))?;
    if tensor.dtype() == dtype {
        return Ok(tensor.data());
    }
    Err(Error::invalid(what(), format!("{dtype:?}"), format!("{:?}", tensor.dtype())))
}

impl Drop for LayerWeights {
    fn drop(&mut self) {
        self.weights.zeroize();
        self.bias.zeroize();
    }
}

impl ZeroizeOnDrop for LayerWeights {}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.layers).finish()
    }
}

impl fmt::Debug for LayerWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayerWeights({} weights, {} biases)", self.weights.len(), self.bias.len())
    }
}
