//! Pooling.

use protocols::linear::Geometry;

use super::error::Problem;
use super::importer::{Importer, Inputs, Value};
use super::layers::{padding, reach};
use super::proto::NodeProto;
use crate::model::{Conv, Op, Window};

impl Importer {
    pub(super) fn max_pool(&mut self, node: &NodeProto, input: Value) -> Result<Value, Problem> {
        if node.sizes("dilations", [1, 1])? != [1, 1] {
            return Err(Problem::new("its windows are dilated", "use dense windows"));
        }
        let (window, partial) = self.window(node, input, [1, 1])?;
        self.push(node, Op::MaxPool(partial.unwrap_or(window)), &[input])
    }

    pub(super) fn average_pool(
        &mut self,
        node: &NodeProto,
        input: Value,
    ) -> Result<Value, Problem> {
        let dilation = node.sizes("dilations", [1, 1])?;
        let (window, partial) = self.window(node, input, dilation)?;
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
        if dilation != [1, 1] {
            return self.dilated_average(node, input, &window, dilation);
        }
        self.push(node, Op::AvgPool(window), &[input])
    }

    /// An average over elements that are apart: a convolution of equal weights, channel by channel.
    /// The window spans them.
    fn dilated_average(
        &mut self,
        node: &NodeProto,
        input: Value,
        window: &Window,
        dilation: [usize; 2],
    ) -> Result<Value, Problem> {
        let [channels, in_h, in_w] = self.shape(input);
        let kernel = node.sizes("kernel_shape", [1, 1])?;
        let area = kernel[0].saturating_mul(kernel[1]);
        self.spend(channels.saturating_mul(area.saturating_add(1)))?;
        let ([pad_top, pad_left, pad_bottom, pad_right], [stride_h, stride_w]) =
            (window.pad, window.stride);
        let geometry = Geometry {
            in_channels: channels,
            in_h,
            in_w,
            out_channels: channels,
            kernel_h: kernel[0],
            kernel_w: kernel[1],
            stride_h,
            stride_w,
            dilation_h: dilation[0],
            dilation_w: dilation[1],
            pad_top,
            pad_left,
            pad_bottom,
            pad_right,
            groups: channels,
        };
        let weight = vec![1.0 / area as f32; channels * area];
        let bias = vec![0.0; channels];
        self.push(node, Op::Conv(Conv { geometry, weight, bias }), &[input])
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

    /// The windows without partial ones; and with them, if the node has any. Where elements are
    /// apart, windows are those that span them.
    fn window(
        &self,
        node: &NodeProto,
        input: Value,
        dilation: [usize; 2],
    ) -> Result<(Window, Option<Window>), Problem> {
        let [_, h, w] = self.image(input)?;
        let kernel = node.sizes("kernel_shape", [0, 0])?;
        let stride = node.sizes("strides", [1, 1])?;
        if [kernel, stride, dilation].as_flattened().contains(&0) {
            return Err(Problem::malformed("a kernel, stride or dilation of 0"));
        }
        let kernel = [reach(kernel[0], dilation[0]), reach(kernel[1], dilation[1])];
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
