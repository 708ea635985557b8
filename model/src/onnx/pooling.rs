//! Pooling.

use std::rc::Rc;

use protocols::linear::Geometry;

use super::error::Problem;
use super::importer::{Importer, Value};
use super::inputs::Inputs;
use super::layers::{padding, reach, seen};
use super::layout::Layout;
use super::proto::NodeProto;
use super::reshape::{axes, image_axis};
use crate::model::{Conv, Op, Window};

/// The windows of a node.
struct Windows {
    /// As they are computed: whole, with zeros around. Where elements are apart, they span them.
    whole: Window,
    /// Elements along rows and columns.
    taps: [usize; 2],
    /// How far elements are apart.
    dilation: [usize; 2],
    /// The padding that the node names: of partial windows, what is beyond it is nothing.
    named: [usize; 4],
    /// Rows and columns of what is pooled.
    input: [usize; 2],
}

impl Importer {
    pub(super) fn max_pool(&mut self, node: &NodeProto, input: &Value) -> Result<Value, Problem> {
        let (input, line) = (self.image(node, input)?, input.layout.rank() == 2);
        let windows = self.windows(node, &input, line)?;
        if windows.dilation != [1, 1] {
            return Err(Problem::new("its windows are dilated", "use dense windows"));
        }
        self.push_as(node, Op::MaxPool(windows.whole), &input, |shape| seen(shape, line))
    }

    pub(super) fn average_pool(
        &mut self,
        node: &NodeProto,
        input: &Value,
    ) -> Result<Value, Problem> {
        let (input, line) = (self.image(node, input)?, input.layout.rank() == 2);
        let windows = self.windows(node, &input, line)?;
        let padded = node.int_or("count_include_pad", 0)? != 0;
        let op = match windows.dilation {
            [1, 1] => Op::AvgPool(windows.whole),
            _ => self.dilated_average(&input, &windows)?,
        };
        let means = self.push_as(node, op, &input, |shape| seen(shape, line))?;
        let [_, rows, columns] = self.shape(&means);
        let counts = [windows.counts(0, rows, padded), windows.counts(1, columns, padded)];
        self.corrected(node, &means, windows.taps.iter().product(), counts)
    }

    /// An average over elements that are apart: a convolution of equal weights, channel by channel.
    fn dilated_average(&mut self, input: &Value, windows: &Windows) -> Result<Op, Problem> {
        let [channels, in_h, in_w] = self.shape(input);
        let [kernel_h, kernel_w] = windows.taps;
        let area = kernel_h.saturating_mul(kernel_w);
        self.spend(channels.saturating_mul(area.saturating_add(1)))?;
        let Window { pad: [pad_top, pad_left, pad_bottom, pad_right], stride, .. } = windows.whole;
        let geometry = Geometry {
            in_channels: channels,
            in_h,
            in_w,
            out_channels: channels,
            kernel_h,
            kernel_w,
            stride_h: stride[0],
            stride_w: stride[1],
            dilation_h: windows.dilation[0],
            dilation_w: windows.dilation[1],
            pad_top,
            pad_left,
            pad_bottom,
            pad_right,
            groups: channels,
        };
        let (weight, bias) = (vec![1.0 / area as f32; channels * area], vec![0.0; channels]);
        Ok(Op::Conv(Conv { geometry, weight, bias }))
    }

    /// Means over whole windows as those over so many elements along rows and columns: pixels that
    /// lack some are scaled up.
    fn corrected(
        &mut self,
        node: &NodeProto,
        means: &Value,
        whole: usize,
        [rows, columns]: [Vec<usize>; 2],
    ) -> Result<Value, Problem> {
        let counts = rows.iter().flat_map(|row| columns.iter().map(move |column| row * column));
        let factors: Vec<f32> = counts.map(|count| whole as f32 / count as f32).collect();
        if factors.iter().all(|&factor| factor == 1.0) {
            return Ok(means.clone());
        }
        // Pixels as channels: one factor for each, the same for all that were channels. Of windows
        // of 9 that lack a row and a column it is 9 / 4.
        let mut order: Vec<usize> = (1..means.layout.rank()).collect();
        order.push(0);
        let channels = self.shape(means)[0];
        let pixels = self.arranged(node, means, &order, [factors.len(), 1, channels])?;
        let zeros = vec![0.0; factors.len()];
        self.affine(node, &pixels, factors, zeros)
    }

    pub(super) fn global_pool(
        &mut self,
        node: &NodeProto,
        input: &Value,
        op: fn(Window) -> Op,
    ) -> Result<Value, Problem> {
        let (input, line) = (self.image(node, input)?, input.layout.rank() == 2);
        let [_, h, w] = self.shape(&input);
        self.push_as(node, op(Window::global([h, w])), &input, |shape| seen(shape, line))
    }

    /// A mean over rows, columns or both, wherever the graph has them.
    pub(super) fn reduce_mean(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Value, Problem> {
        let input = inputs.value(0)?;
        let (rank, shape) = (input.layout.rank(), self.shape(&input));
        let named = axes(node, inputs)?.unwrap_or_default();
        let gone = named.iter().map(|&axis| image_axis(axis, rank + 1, "reduces"));
        let mut gone: Vec<usize> = gone.collect::<Result<_, _>>()?;
        gone.sort_unstable();
        gone.dedup();
        let stored: Option<Vec<usize>> = gone
            .iter()
            .map(|&axis| input.layout.stored_axis(axis, shape).filter(|&at| at > 0))
            .collect();
        let stored = stored.filter(|stored| !stored.is_empty()).ok_or_else(|| {
            let reason = format!("it reduces the axes {named:?} of {rank} behind the batch");
            Problem::new(reason, "reduce rows and columns")
        })?;
        let window = [1, 2].map(|at| if stored.contains(&at) { shape[at] } else { 1 });
        let window = Window::global(window);
        let id = self.append(node, Op::AvgPool(window), &[input.id])?;
        let (mut layout, mut before) = (Layout::clone(&input.layout), shape);
        for (&axis, &at) in gone.iter().zip(&stored) {
            layout = layout.resized(axis, at, before, 1);
            before[at] = 1;
        }
        if node.int_or("keepdims", 1)? == 0 {
            layout = layout.without(&gone);
        }
        Ok(Value { id, layout: Rc::new(layout) })
    }

    fn windows(&self, node: &NodeProto, input: &Value, line: bool) -> Result<Windows, Problem> {
        let [_, h, w] = self.shape(input);
        let taps = node.extents("kernel_shape", [0, 0], line)?;
        let stride = node.extents("strides", [1, 1], line)?;
        let dilation = node.extents("dilations", [1, 1], line)?;
        if [taps, stride, dilation].as_flattened().contains(&0) {
            return Err(Problem::malformed("a kernel, stride or dilation of 0"));
        }
        let kernel = [reach(taps[0], dilation[0]), reach(taps[1], dilation[1])];
        let named = padding(node, [h, w], kernel, stride, line)?;
        let [top, left, mut bottom, mut right] = named;
        if node.int_or("ceil_mode", 0)? != 0 {
            bottom = ceil_padding(h, kernel[0], stride[0], top, bottom);
            right = ceil_padding(w, kernel[1], stride[1], left, right);
        }
        let whole = Window { kernel, stride, pad: [top, left, bottom, right] };
        Ok(Windows { whole, taps, dilation, named, input: [h, w] })
    }
}

impl Windows {
    /// How many elements count in each window along an axis.
    fn counts(&self, axis: usize, windows: usize, padded: bool) -> Vec<usize> {
        let (taps, apart, stride) = (self.taps[axis], self.dilation[axis], self.whole.stride[axis]);
        let (before, after) = (self.named[axis], self.named[axis + 2]);
        let own = before..before + self.input[axis];
        let counted = if padded { 0..own.end + after } else { own };
        let starts = (0..windows).map(|window| window * stride);
        // A window that lies in the padding as a whole has a sum of zero: any count will do.
        let inside =
            |start| (0..taps).filter(|tap| counted.contains(&(start + tap * apart))).count();
        starts.map(|start| inside(start).max(1)).collect()
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
