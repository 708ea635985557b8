//! Some images of a batch, one after the other on one core, in memory of their own.

use model::Function;

use crate::convolution::Cotangent;
use crate::elements;
use crate::kernels::Number;
use crate::layer::{Layer, Packed};
use crate::layout::Layout;
use crate::steps::{Back, Operand, Step, Work};
use crate::winograd::Scratch;

/// What all strips read.
pub(crate) struct Shared<'a, T> {
    pub(crate) layout: &'a Layout,
    pub(crate) steps: &'a [Step],
    /// By node; `None` for what is no layer.
    pub(crate) packed: &'a [Option<Packed<T>>],
    /// By node: what each element of the result has of its own, as the result lies; or empty.
    pub(crate) numbers: &'a [Vec<T>],
    /// The value that the loss reads.
    pub(crate) output: usize,
}

/// The memory of a strip.
#[derive(Clone)]
pub(crate) struct Strip<T> {
    /// By memory; empty where a value has that of another.
    values: Vec<Vec<T>>,
    cotangents: Vec<Vec<T>>,
    /// By node: sums over the strip, of weights in the order of the kernels and of biases.
    pub(crate) sums: Vec<Option<[Vec<T>; 2]>>,
    /// What layers share.
    scratch: Scratch<T>,
    /// The output of the image at hand, and its cotangent, row-major.
    pub(crate) output: [Vec<T>; 2],
    /// The sum of the losses.
    pub(crate) loss: f64,
}

impl<T: Number> Strip<T> {
    pub(crate) fn new(shared: &Shared<'_, T>) -> Self {
        let Layout { places, memory } = shared.layout;
        // A value that another has taken the memory over of has none of its own.
        let values: Vec<Vec<T>> = (0..places.len())
            .map(|value| {
                let len = if memory[value] == value { places[value].len() } else { 0 };
                vec![T::zero(); len]
            })
            .collect();
        let outputs = places[shared.output].shape.iter().product();
        let scratch = shared.steps.iter().filter_map(Step::layer).map(Layer::scratch);
        let scratch =
            scratch.fold([0; 3], |a, b| [0, 1, 2].map(|part: usize| a[part].max(b[part])));
        Self {
            scratch: scratch.map(|len| vec![T::zero(); len]),
            cotangents: values.clone(),
            values,
            sums: shared
                .steps
                .iter()
                .zip(shared.packed)
                .map(|(step, packed)| {
                    // A PRelu that learns has a sum for each slope, and no biases.
                    let slopes = if step.has_slopes() { step.place.len() } else { 0 };
                    let of_layer = packed.as_ref().map(Packed::sums);
                    let of_slopes = (slopes > 0).then(|| [vec![T::zero(); slopes], Vec::new()]);
                    of_layer.or(of_slopes)
                })
                .collect(),
            output: [vec![T::zero(); outputs], vec![T::zero(); outputs]],
            loss: 0.0,
        }
    }

    /// Sets all sums to zero.
    pub(crate) fn clear(&mut self) {
        self.loss = 0.0;
        self.sums.iter_mut().flatten().flatten().for_each(|sums| sums.fill(T::zero()));
    }

    /// Evaluates an image, `[C, H, W]` row-major; its output is then in `output[0]`.
    pub(crate) fn forward(&mut self, shared: &Shared<'_, T>, image: &[T]) {
        // The frame and the lanes behind the last channel are zero from the start, and stay so.
        shared.layout.places[0].scatter(image, &mut self.values[0]);
        let mut scratch = std::mem::take(&mut self.scratch);
        for (index, step) in shared.steps.iter().enumerate() {
            // The result is taken out while its operands are read.
            let mut result = std::mem::take(&mut self.values[step.memory]);
            let given = (shared.packed[index].as_ref(), &shared.numbers[index][..]);
            self.evaluate(step, given, &mut result, &mut scratch);
            self.values[step.memory] = result;
        }
        self.scratch = scratch;
        let place = shared.layout.places[shared.output];
        let values = &self.values[shared.layout.memory[shared.output]];
        for (index, output) in self.output[0].iter_mut().enumerate() {
            *output = values[place.position(index)];
        }
    }

    fn evaluate(
        &self,
        step: &Step,
        (packed, numbers): (Option<&Packed<T>>, &[T]),
        result: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let first = &step.inputs[0];
        let input = &self.values[first.memory];
        let places = [step.place, first.place];
        match (&step.work, packed) {
            (Work::Linear(layer), Some(packed)) => {
                layer.forward(packed, input, result, scratch);
            }
            (Work::Linear(_), None) => unreachable!("invariant: a layer has parameters"),
            (Work::Relu(max), _) => {
                if !first.in_place {
                    elements::map(places, result, input, |value| value);
                }
                elements::relu(step.place, result, *max);
            }
            (Work::PRelu(_), _) => {
                elements::map_each(places, result, [input, numbers], elements::inclined);
            }
            (Work::Add(factors), _) => self.add(step, factors, result),
            (Work::Product(product), _) => {
                product.forward([input, &self.values[step.inputs[1].memory]], result);
            }
            (Work::Round(rounding), _) => elements::round(places, result, input, rounding),
            (Work::RoundEach(rounding), _) => {
                elements::round_each(places, result, [input, numbers], rounding);
            }
            (Work::Max(windows), _) => windows.max(input, result),
            (Work::Sum(parts, factor), _) => {
                for (windows, operand) in parts.iter().zip(&step.inputs) {
                    windows.sum(T::of(*factor), &self.values[operand.memory], result);
                }
            }
            // Plain enough for vectors, unlike the others.
            (Work::Function(Function::Square), _) => {
                elements::map(places, result, input, |value| value * value);
            }
            (Work::Function(function), _) => {
                elements::map(places, result, input, |value| T::of(function.at(value.wide())));
            }
            (Work::Table(table), _) => {
                elements::map(places, result, input, |value| T::of(table.at(value.wide())));
            }
        }
    }

    fn add(&self, step: &Step, factors: &[f64], result: &mut [T]) {
        // The term whose memory the sum has is there already.
        let kept = step.inputs.iter().position(|operand| operand.in_place);
        if let Some(kept) = kept {
            elements::scale(step.place, result, T::of(factors[kept]));
        }
        let mut has_terms = kept.is_some();
        for (operand, &factor) in step.inputs.iter().zip(factors) {
            if operand.in_place {
                continue;
            }
            let (places, term) = ([step.place, operand.place], &self.values[operand.memory]);
            elements::add(places, result, term, T::of(factor), has_terms);
            has_terms = true;
        }
    }

    /// Adds the gradients of the image that was evaluated last, whose output has the cotangent
    /// `output[1]`.
    pub(crate) fn backward(&mut self, shared: &Shared<'_, T>) {
        let cotangents = &mut self.cotangents[shared.layout.memory[shared.output]];
        shared.layout.places[shared.output].scatter(&self.output[1], cotangents);
        let mut scratch = std::mem::take(&mut self.scratch);
        for (index, step) in shared.steps.iter().enumerate().rev().filter(|(_, step)| step.is_live)
        {
            // All readers of a value come later in the network, and have had their part in its
            // cotangent.
            let mut cotangent = std::mem::take(&mut self.cotangents[step.memory]);
            if let (Work::Linear(layer), Some(packed), Some([weights, bias])) =
                (&step.work, &shared.packed[index], &mut self.sums[index])
            {
                let operand = &step.inputs[0];
                let mut back = std::mem::take(&mut self.cotangents[operand.memory]);
                let to = (operand.back != Back::No)
                    .then(|| Cotangent { to: &mut back, add: operand.back == Back::Add });
                let sources = [&self.values[operand.memory][..], &cotangent];
                layer.backward(packed, sources, ([weights, bias], to), &mut scratch);
                self.cotangents[operand.memory] = back;
                self.cotangents[step.memory] = cotangent;
                continue;
            }
            if let (Some([sums, _]), Work::PRelu(_)) = (&mut self.sums[index], &step.work) {
                // By the input: where the slope is 0 the result does not tell it.
                let operand = &step.inputs[0];
                let sources = [&self.values[operand.memory][..], &cotangent];
                elements::slope_sums([step.place, operand.place], sums, sources);
            }
            for (at, operand) in step.inputs.iter().enumerate() {
                if operand.in_place || operand.back == Back::No {
                    continue;
                }
                let mut back = std::mem::take(&mut self.cotangents[operand.memory]);
                self.differentiate((step, at), &shared.numbers[index], &cotangent, &mut back);
                self.cotangents[operand.memory] = back;
            }
            // Last, since the others need the cotangent of the result.
            self.differentiate_in_place(step, &mut cotangent);
            self.cotangents[step.memory] = cotangent;
        }
        self.scratch = scratch;
    }

    /// Turns the cotangent of a result into that of the operand whose memory it has.
    fn differentiate_in_place(&self, step: &Step, cotangent: &mut [T]) {
        let Some(at) = step.inputs.iter().position(|operand| operand.in_place) else { return };
        match &step.work {
            Work::Relu(max) => {
                elements::relu_back(step.place, cotangent, &self.values[step.memory], *max);
            }
            Work::Add(factors) => elements::scale(step.place, cotangent, T::of(factors[at])),
            Work::Linear(_)
            | Work::PRelu(_)
            | Work::Product(_)
            | Work::Round(_)
            | Work::RoundEach(_)
            | Work::Max(_)
            | Work::Sum(..)
            | Work::Function(_)
            | Work::Table(_) => unreachable!("invariant: only ReLUs and sums work in place"),
        }
    }

    /// Sets or adds the cotangent of an operand.
    fn differentiate(
        &self,
        (step, at): (&Step, usize),
        numbers: &[T],
        cotangent: &[T],
        back: &mut [T],
    ) {
        let operand = &step.inputs[at];
        let (input, output) = (&self.values[operand.memory], &self.values[step.memory]);
        let (add, places) = (operand.back == Back::Add, [operand.place, step.place]);
        match &step.work {
            Work::Linear(_) => unreachable!("invariant: a layer gives all gradients at once"),
            Work::Add(factors) => {
                elements::add(places, back, cotangent, T::of(factors[at]), add);
            }
            Work::Round(rounding) => {
                elements::round_back(places, back, [input, cotangent], rounding, add);
            }
            Work::RoundEach(rounding) => {
                let sources = [input, cotangent, numbers];
                elements::round_each_back(places, back, sources, rounding, add);
            }
            Work::PRelu(_) => {
                let sources = [input, cotangent, numbers];
                elements::slope_each(places, back, sources, add, |value, slope| {
                    if value > T::zero() { T::one() } else { slope }
                });
            }
            Work::Relu(max) => {
                // Not in place, so that the input is still there.
                elements::slope_back(places, back, [input, cotangent], add, |value| {
                    relu_slope(value, *max)
                });
            }
            Work::Function(Function::Square) => {
                elements::slope_back(places, back, [input, cotangent], add, |value| value + value);
            }
            Work::Function(function) => {
                elements::slope_back(places, back, [input, cotangent], add, |value| {
                    T::of(function.slope(value.wide()))
                });
            }
            Work::Table(table) => {
                elements::slope_back(places, back, [input, cotangent], add, |value| {
                    T::of(table.slope(value.wide()))
                });
            }
            // A gate gathers from all pixels, and windows may overlap and leave elements out: these
            // only ever add.
            Work::Product(product) => {
                clear(operand, back);
                let other = &self.values[step.inputs[1 - at].memory];
                product.backward(at, other, cotangent, back);
            }
            Work::Max(windows) => {
                clear(operand, back);
                windows.max_back([input, output], cotangent, back);
            }
            Work::Sum(parts, factor) => {
                clear(operand, back);
                parts[at].sum_back(T::of(*factor), cotangent, back);
            }
        }
    }
}

/// The slope of a ReLU; at its kinks it is taken to be zero.
fn relu_slope<T: Number>(value: T, max: Option<f32>) -> T {
    let below = max.is_none_or(|max| value < T::of(f64::from(max)));
    if value > T::zero() && below { T::one() } else { T::zero() }
}

/// Zeros where nobody had a part in a cotangent yet.
fn clear<T: Number>(operand: &Operand, back: &mut [T]) {
    if operand.back == Back::Set {
        back.fill(T::zero());
    }
}
