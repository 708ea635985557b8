//! What only chooses, orders or sums elements: pooling, slices, reorderings, concatenations.

use model::{Order, View, Window};

use crate::kernels::Element;
use crate::layout::Place;

/// For every element of a result, the elements of one input that it is made of.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    /// Where the results lie.
    outputs: Vec<u32>,
    /// Where each result's part of `inputs` ends.
    ends: Vec<u32>,
    /// Where its elements lie.
    inputs: Vec<u32>,
}

impl Windows {
    pub(crate) fn pool(window: &Window, input: &Place, output: &Place) -> Self {
        Self::new(window.elements(input.shape), input, output, 0)
    }

    pub(crate) fn view(view: &View, input: &Place, output: &Place) -> Self {
        // Numbers from 1 on, so that what the view fills with zeros has no element.
        let numbers: Vec<usize> = (1..=input.shape.iter().product()).collect();
        let chosen = view.of(input.shape, 1, &numbers);
        Self::new(chosen.into_iter().map(|at| at.checked_sub(1)), input, output, 0)
    }

    pub(crate) fn reorder(order: &Order, input: &Place, output: &Place) -> Self {
        Self::new(order.sources(input.shape, 1).map(Some), input, output, 0)
    }

    /// A part of a concatenation, from an element of the result on.
    pub(crate) fn part(input: &Place, output: &Place, first: usize) -> Self {
        Self::new((0..input.shape.iter().product()).map(Some), input, output, first)
    }

    fn new(
        windows: impl Iterator<Item = impl IntoIterator<Item = usize>>,
        input: &Place,
        output: &Place,
        first: usize,
    ) -> Self {
        let mut found = Self { outputs: Vec::new(), ends: Vec::new(), inputs: Vec::new() };
        for (index, window) in windows.enumerate() {
            found.outputs.push(output.position(first + index) as u32);
            found.inputs.extend(window.into_iter().map(|at| input.position(at) as u32));
            found.ends.push(found.inputs.len() as u32);
        }
        found
    }

    /// Every result's place, with the places of its elements.
    fn each(&self) -> impl Iterator<Item = (usize, &[u32])> {
        // Parts follow each other, so each starts where the one before ends.
        let mut start = 0;
        self.outputs.iter().zip(&self.ends).map(move |(&output, &end)| {
            let window = &self.inputs[start..end as usize];
            start = end as usize;
            (output as usize, window)
        })
    }

    /// Writes the sums times a factor.
    pub(crate) fn sum<T: Element>(&self, factor: T, input: &[T], output: &mut [T]) {
        for (to, window) in self.each() {
            output[to] = window.iter().map(|&at| input[at as usize]).sum::<T>() * factor;
        }
    }

    /// Adds the cotangents of [`Windows::sum`].
    pub(crate) fn sum_back<T: Element>(&self, factor: T, cotangent: &[T], input: &mut [T]) {
        for (from, window) in self.each() {
            for &at in window {
                input[at as usize] += cotangent[from] * factor;
            }
        }
    }

    /// Writes the largest elements.
    pub(crate) fn max<T: Element>(&self, input: &[T], output: &mut [T]) {
        for (to, window) in self.each() {
            output[to] =
                window.iter().map(|&at| input[at as usize]).fold(T::neg_infinity(), T::max);
        }
    }

    /// Adds the cotangents of [`Windows::max`]: the first largest element has all of it.
    pub(crate) fn max_back<T: Element>(
        &self,
        [input, output]: [&[T]; 2],
        cotangent: &[T],
        back: &mut [T],
    ) {
        for (from, window) in self.each() {
            // Padding is no element of a window, so one of them is the largest.
            let largest = window.iter().find(|&&at| input[at as usize] == output[from]);
            if let Some(&at) = largest {
                back[at as usize] += cotangent[from];
            }
        }
    }
}
