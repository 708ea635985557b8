//! A layer of weights and biases, whichever way it is computed.

use model::Geometry;

use crate::convolution::{Convolution, Cotangent};
use crate::kernels::Number;
use crate::layout::Place;
use crate::winograd::{Scratch, Winograd};

/// A layer, ready to be run at the places of its input and of its output.
#[derive(Clone, Debug)]
pub(crate) enum Layer {
    /// As it is.
    Plain(Box<Convolution>),
    /// By products in Winograd's domain.
    Winograd(Box<Winograd>),
}

/// Weights and biases as the kernels read them.
#[derive(Clone)]
pub(crate) struct Packed<T> {
    /// Forward and backward.
    pub(crate) weights: [Vec<T>; 2],
    /// Of all blocks.
    pub(crate) bias: Vec<T>,
}

impl Layer {
    pub(crate) fn plain(geometry: &Geometry, places: [&Place; 2]) -> Self {
        Self::Plain(Box::new(Convolution::new(geometry, places)))
    }

    pub(crate) fn winograd(geometry: &Geometry, places: [&Place; 2]) -> Self {
        Self::Winograd(Box::new(Winograd::new(geometry, places)))
    }

    /// How many weights and biases it has.
    pub(crate) const fn parameters(&self) -> [usize; 2] {
        match self {
            Self::Plain(layer) => layer.parameters(),
            Self::Winograd(layer) => layer.parameters(),
        }
    }

    /// Zeros in place of weights and biases.
    pub(crate) fn zeros<T: Number>(&self) -> Packed<T> {
        let (lengths, biases) = match self {
            Self::Plain(layer) => (layer.lengths(), layer.biases()),
            Self::Winograd(layer) => (layer.lengths(), layer.biases()),
        };
        Packed {
            weights: lengths.map(|length| vec![T::zero(); length]),
            bias: vec![T::zero(); biases],
        }
    }

    /// Elements of what it needs of a [`Scratch`].
    pub(crate) const fn scratch(&self) -> [usize; 3] {
        match self {
            Self::Plain(_) => [0; 3],
            Self::Winograd(layer) => layer.scratch(),
        }
    }

    /// Puts weights and biases, in the order of [`crate::Parameters`], where the kernels read them.
    pub(crate) fn pack<T: Number>(&self, weight: &[T], bias: &[T], packed: &mut Packed<T>) {
        let [forward, backward] = &mut packed.weights;
        match self {
            Self::Plain(layer) => layer.pack(weight, [forward, backward]),
            Self::Winograd(layer) => layer.pack(weight, [forward, backward]),
        }
        // Behind the last channel, biases stay zero, and so do the outputs there.
        packed.bias[..bias.len()].copy_from_slice(bias);
    }

    /// Gradients of weights in the order of [`crate::Parameters`], from those in the kernels'.
    pub(crate) fn unpack<T: Number>(&self, sums: &[T], weight: &mut [T]) {
        match self {
            Self::Plain(layer) => layer.unpack(sums, weight),
            Self::Winograd(layer) => layer.unpack(sums, weight),
        }
    }

    pub(crate) fn forward<T: Number>(
        &self,
        packed: &Packed<T>,
        input: &[T],
        output: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        let ([weights, _], bias) = (&packed.weights, &packed.bias);
        match self {
            Self::Plain(layer) => layer.forward(weights, Some(bias), input, output),
            Self::Winograd(layer) => layer.forward([weights, bias], input, output, scratch),
        }
    }

    /// Adds the gradients of weights and biases, in the order of the kernels; writes or adds the
    /// cotangent of the input, if it is asked for.
    pub(crate) fn backward<T: Number>(
        &self,
        packed: &Packed<T>,
        [input, cotangent]: [&[T]; 2],
        ([weights, bias], back): ([&mut [T]; 2], Option<Cotangent<'_, T>>),
        scratch: &mut Scratch<T>,
    ) {
        let [_, backward] = &packed.weights;
        match self {
            Self::Plain(layer) => {
                layer.weight_sums(input, cotangent, weights);
                layer.bias_sums(cotangent, bias);
                if let Some(back) = back {
                    layer.backward(backward, cotangent, back);
                }
            }
            Self::Winograd(layer) => {
                layer.backward(backward, [input, cotangent], ([weights, bias], back), scratch);
            }
        }
    }
}

impl<T: Number> Packed<T> {
    /// Zeros in place of the gradients of weights and biases.
    pub(crate) fn sums(&self) -> [Vec<T>; 2] {
        [vec![T::zero(); self.weights[0].len()], vec![T::zero(); self.bias.len()]]
    }
}
