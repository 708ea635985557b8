//! Gather of constant indices: slices that are joined, and elements that are repeated.

use std::rc::Rc;

use super::error::Problem;
use super::fold::axis_of;
use super::importer::{Importer, Value};
use super::inputs::Inputs;
use super::proto::NodeProto;
use super::reshape::image_axis;
use crate::model::Axis;

/// Slices that one Gather may take: each is a step of the plan.
const MAX_SLICES: usize = 64;
/// Copies of a value that are joined to repeat its elements.
const MAX_REPEATS: usize = 64;

impl Importer {
    /// The elements of these indices along an axis; the axes of the indices stand in its place.
    pub(super) fn gather(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let value = inputs.value(0)?;
        let indices = inputs.constant(1)?;
        let axis = image_axis(node.int_or("axis", 0)?, value.layout.rank() + 1, "gathers along")?;
        let length = value.layout.lengths()[axis];
        let places = indices.known_ints()?;
        let places: Vec<usize> =
            places.iter().map(|&at| axis_of(at, length)).collect::<Result<_, _>>()?;
        if places.is_empty() {
            return Err(Problem::malformed("it gathers nothing"));
        }
        let value = self.picked(node, &value, axis, &places)?;
        match indices.shape[..] {
            [_] => Ok(value),
            [] => Ok(Value { layout: Rc::new(value.layout.without(&[axis])), ..value }),
            ref shape => {
                let mut lengths = value.layout.lengths();
                lengths.splice(axis..=axis, shape.iter().copied());
                self.reshaped(node, &value, &lengths)
            }
        }
    }

    /// Elements along an axis: those that come several times in a row are taken once.
    fn picked(
        &mut self,
        node: &NodeProto,
        value: &Value,
        axis: usize,
        places: &[usize],
    ) -> Result<Value, Problem> {
        // What every element is repeated by is made of copies, which cost one step in all.
        let repeats = repeats(places);
        let distinct: Vec<usize> = places.iter().copied().step_by(repeats).collect();
        let slices = slices(&distinct);
        if slices.len() > MAX_SLICES || repeats > MAX_REPEATS {
            let reason = format!(
                "it gathers {} elements that are {} slices, each repeated {repeats} times",
                places.len(),
                slices.len()
            );
            let advice = format!(
                "gather at most {MAX_SLICES} slices, and repeat at most {MAX_REPEATS} times"
            );
            return Err(Problem::new(reason, advice));
        }
        let parts = slices.into_iter().map(|slice| self.part(node, value, axis, slice));
        let parts: Vec<Value> = parts.collect::<Result<_, _>>()?;
        let value = match &parts[..] {
            [part] => part.clone(),
            _ => self.joined(node, &parts, axis)?,
        };
        if repeats == 1 {
            return Ok(value);
        }
        // Copies lie side by side along an axis of length one, which then becomes one with the
        // axis before it: [a, b] is [[a], [b]], then [[a, a], [b, b]], then [a, a, b, b].
        let mut lengths = value.layout.lengths();
        let layout = Rc::new(value.layout.with(&[axis + 1]));
        let copies = vec![Value { layout, ..value }; repeats];
        let value = self.joined(node, &copies, axis + 1)?;
        lengths[axis] *= repeats;
        self.reshaped(node, &value, &lengths)
    }
}

/// The most often that every element comes in a row: of 0 0 1 1 1 1 it is 2.
fn repeats(places: &[usize]) -> usize {
    let runs = places.chunk_by(|a, b| a == b).map(<[usize]>::len);
    runs.fold(0, greatest_common_divisor).max(1)
}

pub(super) const fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Places as slices of positive strides, each as long as it can be: 0 2 4 1 3 is 0..6 and 1..5 by
/// twos.
fn slices(places: &[usize]) -> Vec<Axis> {
    let mut slices = Vec::new();
    let mut rest = places;
    while let Some((&start, behind)) = rest.split_first() {
        // Places that fall or stay begin a slice of their own.
        let stride = behind.first().and_then(|next| next.checked_sub(start)).unwrap_or(0);
        let steps = rest.windows(2).take_while(|pair| stride > 0 && pair[0] + stride == pair[1]);
        let length = 1 + steps.count();
        slices.push(Axis { start, stride: stride.max(1), length, before: 0, after: 0 });
        rest = &rest[length..];
    }
    slices
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slices_and_repeats_are_the_places(
            base in prop::collection::vec(0..6_usize, 1..12), times in 1..4_usize,
        ) {
            let places: Vec<usize> =
                base.iter().flat_map(|&at| std::iter::repeat_n(at, times)).collect();
            let repeats = repeats(&places);
            prop_assert!(repeats.is_multiple_of(times));
            let distinct: Vec<usize> = places.iter().copied().step_by(repeats).collect();
            let elements = slices(&distinct).into_iter().flat_map(|slice| {
                (0..slice.length).map(move |at| slice.start + at * slice.stride)
            });
            let found: Vec<usize> =
                elements.flat_map(|at| std::iter::repeat_n(at, repeats)).collect();
            prop_assert_eq!(found, places);
        }
    }
}
