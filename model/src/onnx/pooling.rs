//! Pooling.

use super::error::Problem;
use super::importer::{Importer, Inputs, Value};
use super::layers::padding;
use super::proto::NodeProto;
use crate::model::{Op, Window};

impl Importer {
    pub(super) fn max_pool(&mut self, node: &NodeProto, input: Value) -> Result<Value, Problem> {
        if node.sizes("dilations", [1, 1])? != [1, 1] {
            return Err(Problem::new("its windows are dilated", "use dense windows"));
        }
        let (window, partial) = self.window(node, input)?;
        self.push(node, Op::MaxPool(partial.unwrap_or(window)), &[input])
    }

    pub(super) fn average_pool(
        &mut self,
        node: &NodeProto,
        input: Value,
    ) -> Result<Value, Problem> {
        let (window, partial) = self.window(node, input)?;
        if window.pad != [0; 4] && node.int_or("count_include_pad", 0)? == 0 {
            return Err(Problem::new(
                "it averages fewer elements at the borders (padding with count_include_pad = 0)",
                "set count_include_pad, or pool without padding",
            ));
        }
        if partial.is_some() {
            return Err(Problem::new(
                "it averages fewer elements at the borders (ceil_mode)",
                "pool without ceil_mode",
            ));
        }
        self.push(node, Op::AvgPool(window), &[input])
    }

    pub(super) fn global_pool(
        &mut self,
        node: &NodeProto,
        input: Value,
        op: fn(Window) -> Op,
    ) -> Result<Value, Problem> {
        let [_, h, w] = self.image(input)?;
        self.push(node, op(Window::global([h, w])), &[input])
    }

    /// A mean over rows, columns or both.
    pub(super) fn reduce_mean(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Value, Problem> {
        let input = inputs.value(0)?;
        let [_, h, w] = self.image(input)?;
        let axes = match inputs.optional(1)? {
            Some(axes) => axes.known_ints()?,
            None => node.ints_of("axes").unwrap_or_default().to_vec(),
        };
        let rows = axes.iter().any(|axis| [2, -2].contains(axis));
        let columns = axes.iter().any(|axis| [3, -1].contains(axis));
        let only_these = axes.iter().all(|axis| [2, -2, 3, -1].contains(axis));
        let keeps = node.int_or("keepdims", 1)? != 0;
        if !only_these || axes.is_empty() || !(keeps || rows && columns) {
            let reason = format!("it reduces the axes {axes:?}, keepdims {}", i64::from(keeps));
            return Err(Problem::new(reason, "reduce rows and columns (2 and 3)"));
        }
        let window = Window::global([if rows { h } else { 1 }, if columns { w } else { 1 }]);
        let value = self.push(node, Op::AvgPool(window), &[input])?;
        Ok(Value { flat: !keeps, ..value })
    }

    /// The windows without partial ones; and with them, if the node has any.
    fn window(&self, node: &NodeProto, input: Value) -> Result<(Window, Option<Window>), Problem> {
        let [_, h, w] = self.image(input)?;
        let kernel = node.sizes("kernel_shape", [0, 0])?;
        let stride = node.sizes("strides", [1, 1])?;
        if [kernel, stride].as_flattened().contains(&0) {
            return Err(Problem::malformed("a kernel or stride of 0"));
        }
        let pad = padding(node, [h, w], kernel, stride)?;
        let window = Window { kernel, stride, pad };
        if node.int_or("ceil_mode", 0)? == 0 {
            return Ok((window, None));
        }
        let [top, left, bottom, right] = pad;
        let bottom = ceil_padding(h, kernel[0], stride[0], top, bottom);
        let right = ceil_padding(w, kernel[1], stride[1], left, right);
        let more = Window { pad: [top, left, bottom, right], ..window };
        Ok((window, (more != window).then_some(more)))
    }
}

/// The padding at the end that turns a last partial window into a whole one.
fn ceil_padding(input: usize, kernel: usize, stride: usize, before: usize, after: usize) -> usize {
    // The last window starts at the least multiple of the stride that leaves nothing uncovered. Of
    // 6 elements, a kernel of 3 and a stride of 2, windows start at 0, 2 and 4: one is padded.
    let room = (input + before + after).saturating_sub(kernel);
    let last = room.div_ceil(stride) * stride;
    // A window that would start in the padding at the end does not count.
    if last >= input + before {
        after
    } else {
        after.max((last + kernel).saturating_sub(input + before))
    }
}
