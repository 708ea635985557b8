//! Slice and Pad.

use super::error::Problem;
use super::fold::from_start;
use super::importer::{Importer, Inputs, Value};
use super::proto::NodeProto;
use crate::model::{Axis, MAX_AXIS, Op, View};

impl Importer {
    pub(super) fn slice(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let input = inputs.value(0)?;
        let mut parts = [const { None }; 4];
        for (at, name) in ["starts", "ends", "axes", "steps"].into_iter().enumerate() {
            parts[at] = match inputs.optional(at + 1)? {
                Some(constant) => Some(constant.known_ints()?),
                None => node.ints_of(name).map(<[i64]>::to_vec),
            };
        }
        let [Some(starts), Some(ends), axes, steps] = parts else {
            return Err(Problem::malformed("no starts or ends"));
        };
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
        if [&ends, &axes, &steps].iter().any(|part| part.len() != starts.len()) {
            return Err(Problem::malformed("starts, ends, axes and steps differ in length"));
        }
        let mut view = View::all(self.shape(input));
        for (i, &axis) in axes.iter().enumerate() {
            let Some(axis) = self.axis(input, axis)? else {
                if starts[i] == 0 && ends[i] >= i64::from(i32::MAX) && steps[i] == 1 {
                    continue;
                }
                return Err(Problem::new("it slices the batch", "images of a batch must not mix"));
            };
            view.axes[axis] = sliced(view.axes[axis].length, starts[i], ends[i], steps[i])?;
        }
        self.view(node, input, view)
    }

    pub(super) fn pad(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let input = inputs.value(0)?;
        let mode = node.string_or("mode", "constant")?;
        if mode != "constant" {
            return Err(Problem::new(
                format!("its mode is {mode}"),
                "only padding with zeros is supported",
            ));
        }
        let value = match inputs.optional(2)? {
            Some(value) => value.scalar()?,
            None => node.float_or("value", 0.0)?,
        };
        if value != 0.0 {
            return Err(Problem::new(
                format!("it pads with {value}"),
                "only padding with zeros is supported",
            ));
        }
        let pads = match inputs.optional(1)? {
            Some(pads) => pads.known_ints()?,
            None => node.ints_of("pads").unwrap_or_default().to_vec(),
        };
        let axes = match inputs.optional(3)? {
            Some(axes) => axes.known_ints()?,
            None => (0..if input.flat { 2 } else { 4 }).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(Problem::malformed(format!("{} pads for {} axes", pads.len(), axes.len())));
        }
        let mut view = View::all(self.shape(input));
        for (i, &axis) in axes.iter().enumerate() {
            let (before, after) = (pads[i], pads[i + axes.len()]);
            match self.axis(input, axis) {
                Ok(Some(axis)) => view.axes[axis] = padded(view.axes[axis], before, after)?,
                Ok(None) | Err(_) if before == 0 && after == 0 => {}
                Ok(None) => return Err(Problem::new("it pads the batch", "pad images only")),
                Err(problem) => return Err(problem),
            }
        }
        self.view(node, input, view)
    }

    fn view(&mut self, node: &NodeProto, input: Value, view: View) -> Result<Value, Problem> {
        if view.is_identity(self.shape(input)) {
            return Ok(input);
        }
        self.push(node, Op::View(view), &[input])
    }

    /// An axis of the graph's tensor as one of `[C, H, W]`; `None` is the batch.
    fn axis(&self, value: Value, axis: i64) -> Result<Option<usize>, Problem> {
        let rank = if value.flat { 2 } else { 4 };
        let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
        if !(0..rank).contains(&axis) {
            return Err(Problem::malformed(format!("there is no axis {axis}")));
        }
        let [_, h, w] = self.shape(value);
        if value.flat && axis == 1 && h * w != 1 {
            return Err(Problem::new(
                "it cuts or pads a flattened image",
                "do so before the Flatten",
            ));
        }
        Ok(usize::try_from(axis - 1).ok())
    }
}

fn sliced(length: usize, start: i64, end: i64, step: i64) -> Result<Axis, Problem> {
    let stride =
        usize::try_from(step).ok().filter(|step| (1..=MAX_AXIS).contains(step)).ok_or_else(
            || Problem::new(format!("its step is {step}"), "only positive steps are supported"),
        )?;
    let [start, end] = [start, end].map(|i| {
        let i = from_start(i, length as i64).max(0);
        usize::try_from(i).map_or(length, |i| i.min(length))
    });
    let length = end.saturating_sub(start).div_ceil(stride);
    Ok(Axis { start, stride, length, before: 0, after: 0 })
}

/// An axis that is whole so far, with zeros added; a negative number takes elements away.
fn padded(axis: Axis, before: i64, after: i64) -> Result<Axis, Problem> {
    let (zeros_before, zeros_after) = (bounded(before.max(0))?, bounded(after.max(0))?);
    let (cut_before, cut_after) = (bounded(before.min(0))?, bounded(after.min(0))?);
    let length = axis
        .length
        .checked_sub(cut_before + cut_after)
        .ok_or_else(|| Problem::malformed("it takes away more than there is"))?;
    Ok(Axis { start: cut_before, stride: 1, length, before: zeros_before, after: zeros_after })
}

/// The absolute value of a number of elements that are added or taken away.
fn bounded(i: i64) -> Result<usize, Problem> {
    let size = usize::try_from(i.unsigned_abs()).ok().filter(|&size| size <= MAX_AXIS);
    size.ok_or_else(|| {
        Problem::new(format!("it pads by {i}"), format!("pad by at most {MAX_AXIS}"))
    })
}
