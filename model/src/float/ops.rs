//! Everything but convolution, on one image.

use crate::kernels::Element;
use crate::model::{Function, Mask, Window};

/// `min(max(x, 0), max)`, without the upper bound if there is none.
pub fn relu<T: Element>(input: &[T], max: Option<f32>) -> Vec<T> {
    let max = max.map_or(T::infinity(), |max| T::of(f64::from(max)));
    input.iter().map(|x| x.max(T::zero()).min(max)).collect()
}

/// `max(x, 0)` of the elements that the mask holds.
pub fn part_relu<T: Element>(input: &[T], mask: &Mask) -> Vec<T> {
    let each = input.iter().zip(mask.iter());
    each.map(|(&x, held)| if held { x.max(T::zero()) } else { x }).collect()
}

/// The function of every element.
pub fn function<T: Element>(input: &[T], function: &Function) -> Vec<T> {
    input.iter().map(|x| T::of(function.at(x.wide()))).collect()
}

/// The sum of two values, element by element.
pub fn add<T: Element>(a: &[T], b: &[T]) -> Vec<T> {
    a.iter().zip(b).map(|(&a, &b)| a + b).collect()
}

/// The product of a value and another of its shape, or of one number for each of its channels.
pub fn multiply<T: Element>(input: &[T], gates: &[T]) -> Vec<T> {
    let each = input.len() / gates.len().max(1);
    let channels = input.chunks(each.max(1)).zip(gates);
    channels.flat_map(|(input, &gate)| input.iter().map(move |&x| x * gate)).collect()
}

/// The largest element of each window of a `[C, H, W]`.
pub fn max_pool<T: Element>(window: &Window, shape: [usize; 3], input: &[T]) -> Vec<T> {
    let windows = window.elements(shape);
    windows.map(|at| at.map(|i| input[i]).fold(T::neg_infinity(), T::max)).collect()
}

/// The mean of each window of a `[C, H, W]`, padding counted as zeros.
pub fn avg_pool<T: Element>(window: &Window, shape: [usize; 3], input: &[T]) -> Vec<T> {
    let area = T::of(window.len() as f64);
    window.elements(shape).map(|at| at.map(|i| input[i]).sum::<T>() / area).collect()
}
