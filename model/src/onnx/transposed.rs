//! ConvTranspose: a convolution over the input with zeros between its elements, its kernel turned
//! around.
//!
//! With strides `s`, element `i` of the input stands at `i s`; a kernel of reach `r` sees it from
//! `r - 1` places before on. Zeros are put there by views of what is stored, which are local on
//! shares: no step of the plan is one of its own.

use std::rc::Rc;

use super::attributes::size;
use super::constant::Constant;
use super::error::Problem;
use super::importer::{Importer, Value};
use super::inputs::Inputs;
use super::layers::{reach, seen};
use super::proto::NodeProto;
use crate::model::{Axis, Conv, Op, Order, View};
use protocols::linear::Geometry;

impl Importer {
    pub(super) fn transposed_convolution(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Value, Problem> {
        let input = inputs.value(0)?;
        let line = input.layout.rank() == 2;
        let input = self.image(node, &input)?;
        let groups = size("group", node.int_or("group", 1)?)?;
        let weight = Rc::clone(inputs.constant(1)?);
        let shape = weights(&weight, groups, self.shape(&input)[0], line)?;
        let [in_channels, per_group, kernel_h, kernel_w] = shape;
        let strides = node.extents("strides", [1, 1], line)?;
        let dilations = node.extents("dilations", [1, 1], line)?;
        let reach = [reach(kernel_h, dilations[0]), reach(kernel_w, dilations[1])];
        let margins = margins(node, reach, strides, line)?;
        let input = self.with_gaps(node, &input, strides)?;
        let (input, pads) = self.with_margins(node, &input, margins)?;
        let [_, in_h, in_w] = self.shape(&input);
        let out_channels = per_group * groups;
        let geometry = Geometry {
            in_channels,
            in_h,
            in_w,
            out_channels,
            kernel_h,
            kernel_w,
            stride_h: 1,
            stride_w: 1,
            dilation_h: dilations[0],
            dilation_w: dilations[1],
            pad_top: pads[0],
            pad_left: pads[1],
            pad_bottom: pads[2],
            pad_right: pads[3],
            groups,
        };
        self.spend(weight.len().saturating_mul(2).saturating_add(out_channels))?;
        let turned = turned(&weight, shape, groups);
        let bias = match inputs.optional(2)? {
            Some(bias) => bias.as_floats()?.to_vec(),
            None => vec![0.0; out_channels],
        };
        let conv = Conv { geometry, weight: turned.as_floats()?.to_vec(), bias };
        let output = self.push_as(node, Op::Conv(conv), &input, |shape| seen(shape, line))?;
        if let Some(grid) = turned.grid() {
            self.grids.insert(output.id, grid.clone());
        }
        Ok(output)
    }

    /// An image with `stride - 1` zeros behind every element, along rows and columns.
    fn with_gaps(
        &mut self,
        node: &NodeProto,
        value: &Value,
        [rows, columns]: [usize; 2],
    ) -> Result<Value, Problem> {
        let [c, h, w] = self.shape(value);
        let mut id = value.id;
        // Every element becomes a line of its own, which zeros are added to; then every row.
        for (stride, apart, along, joined) in [
            (columns, [c, h * w, 1], 2, [c, h, w * columns]),
            (rows, [c * h, 1, w * columns], 1, [c, h * rows, w * columns]),
        ] {
            if stride == 1 {
                continue;
            }
            id = self.append(node, Op::Reorder(Order::reshape(apart)), &[id])?;
            let mut view = View::all(apart);
            view.axes[along].after = stride - 1;
            id = self.append(node, Op::View(view), &[id])?;
            id = self.append(node, Op::Reorder(Order::reshape(joined)), &[id])?;
        }
        Ok(Value { id, ..value.clone() })
    }

    /// An image without what negative margins take away, and the padding that is left: top, left,
    /// bottom, right.
    fn with_margins(
        &mut self,
        node: &NodeProto,
        value: &Value,
        margins: [i64; 4],
    ) -> Result<(Value, [usize; 4]), Problem> {
        let shape = self.shape(value);
        let cuts = margins.map(|margin| margin.min(0).unsigned_abs() as usize);
        let mut view = View::all(shape);
        for (at, axis) in [(0, 1), (1, 2)] {
            // Both ends are cut at once: what is left has to be there.
            let kept = shape[axis].checked_sub(cuts[at] + cuts[at + 2]).filter(|&n| n > 0);
            let length = kept.ok_or_else(|| Problem::malformed("its padding takes all away"))?;
            view.axes[axis] = Axis { start: cuts[at], ..Axis::all(length) };
        }
        let id = self.append(node, Op::View(view), &[value.id])?;
        let pads = margins.map(|margin| margin.max(0).unsigned_abs() as usize);
        Ok((Value { id, ..value.clone() }, pads))
    }
}

/// What is added around the input with its gaps, of which the last ones are there already: top,
/// left, bottom, right; negative where elements are taken away.
fn margins(
    node: &NodeProto,
    reach: [usize; 2],
    strides: [usize; 2],
    line: bool,
) -> Result<[i64; 4], Problem> {
    if strides.contains(&0) {
        return Err(Problem::malformed("a stride is 0"));
    }
    let auto_pad = node.string_or("auto_pad", "NOTSET")?;
    if node.ints_of("output_shape").is_some() || !matches!(auto_pad, "NOTSET" | "VALID") {
        return Err(Problem::new(
            "its padding follows from the size of its output",
            "export it with pads and output_padding, as PyTorch does",
        ));
    }
    let pads = match (auto_pad, line) {
        ("VALID", _) => [0; 4],
        (_, false) => node.sizes("pads", [0; 4])?,
        (_, true) => {
            let [before, after] = node.sizes("pads", [0; 2])?;
            [0, before, 0, after]
        }
    };
    let mut more = node.extents("output_padding", [0, 0], line)?;
    if line {
        more[0] = 0;
    }
    // A kernel of reach `r` begins to see the first element `r - 1` places before it.
    let mut margins = [0; 4];
    for axis in 0..2 {
        // All are within MAX_AXIS but the reach, which is within its square.
        let beyond = reach[axis] as i64 - 1;
        margins[axis] = beyond - pads[axis] as i64;
        // The last gap of `stride - 1` zeros is part of what is behind.
        let gap = strides[axis] as i64 - 1;
        margins[axis + 2] = beyond - pads[axis + 2] as i64 + more[axis] as i64 - gap;
    }
    Ok(margins)
}

/// The shape of the weights, `[C, K / groups, kh, kw]`.
fn weights(
    weight: &Constant,
    groups: usize,
    channels: usize,
    line: bool,
) -> Result<[usize; 4], Problem> {
    let shape = match weight.shape[..] {
        [inputs, outputs, rows, columns] if !line => [inputs, outputs, rows, columns],
        [inputs, outputs, length] if line => [inputs, outputs, 1, length],
        _ => {
            let reason = format!("its weights have {} axes", weight.shape.len());
            return Err(Problem::new(reason, "only one and two dimensions are supported"));
        }
    };
    let empty = shape.contains(&0) || groups == 0;
    if empty || shape[0] != channels || !channels.is_multiple_of(groups) {
        let reason = format!(
            "its weights are {:?} in {groups} groups, its input has {channels} channels",
            weight.shape
        );
        return Err(Problem::malformed(reason));
    }
    Ok(shape)
}

/// Weights `[C, K / groups, kh, kw]` as those of a convolution, `[K, C / groups, kh, kw]`, its
/// kernel turned around.
fn turned(weight: &Constant, shape: [usize; 4], groups: usize) -> Constant {
    let [inputs, outputs, rows, columns] = shape;
    let (area, within) = (rows * columns, inputs / groups);
    let mut places = Vec::with_capacity(weight.len());
    for output in 0..outputs * groups {
        let (group, output) = (output / outputs, output % outputs);
        for input in group * within..(group + 1) * within {
            let first = (input * outputs + output) * area;
            // Backwards is turned around, along both axes.
            places.extend((first..first + area).rev());
        }
    }
    weight.pick(vec![outputs * groups, within, rows, columns], &places)
}
