//! Blocks: what of a network one convolution can stand for.

use model::{Conv, Geometry, Model, Op, ValueId};

/// A chain of convolutions with functions between them, inside of which nothing else reads
/// anything: it starts with a convolution that reads the entry and ends with one whose result is
/// not cut off. So it is linear once the functions are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// What the chain reads.
    pub(super) entry: ValueId,
    /// The nodes of the chain, in their order.
    pub(super) nodes: Vec<usize>,
    /// The sum that the chain ends in, and what is added there, where there is one.
    pub(super) sum: Option<(usize, ValueId)>,
}

/// All blocks of a network, in its order.
pub(super) fn blocks(model: &Model) -> Vec<Block> {
    (0..model.nodes.len()).filter_map(|last| block(model, last)).collect()
}

/// The block that ends with a node, if one does.
fn block(model: &Model, last: usize) -> Option<Block> {
    let Op::Conv(end) = &model.nodes[last].op else { return None };
    if model.nodes[last].output == model.output {
        return None;
    }
    let readers = model.consumers(model.nodes[last].output);
    let is_cut_off = readers.iter().any(|&reader| is_function(&model.nodes[reader].op));
    // A classifier is no block: its result is a vector.
    let is_vector = end.geometry.out_h() * end.geometry.out_w() == 1 && end.geometry.in_h > 1;
    if readers.is_empty() || is_cut_off || is_vector {
        return None;
    }
    let nodes = chain(model, last);
    let has_functions = nodes.iter().any(|&node| is_function(&model.nodes[node].op));
    let entry = model.nodes[*nodes.first()?].inputs[0];
    // What several read is a result of its own: of the first inverted residual of a stage, the next
    // one reads it, and adds it.
    let sum = match readers[..] {
        [reader] if matches!(model.nodes[reader].op, Op::Add) => {
            let mut operands = model.nodes[reader].inputs.iter().copied();
            Some((reader, operands.find(|&value| value != model.nodes[last].output)?))
        }
        _ => None,
    };
    has_functions.then_some(Block { entry, nodes, sum })
}

/// The longest chain of convolutions and functions that ends with a convolution.
fn chain(model: &Model, last: usize) -> Vec<usize> {
    let (mut nodes, mut at) = (vec![last], last);
    while let Some(before) = model.nodes[at].inputs[0].producer() {
        let producer = &model.nodes[before];
        // Two convolutions without a function between are the end of a block and the start of
        // another one.
        let joins = matches!(producer.op, Op::Conv(_)) && is_function(&model.nodes[at].op);
        let goes_on = joins || is_function(&producer.op);
        let is_read = producer.output == model.output || model.consumers(producer.output) != [at];
        if !goes_on || is_read {
            break;
        }
        nodes.push(before);
        at = before;
    }
    // What is cut off before the first convolution stays.
    while is_function(&model.nodes[nodes[nodes.len() - 1]].op) {
        nodes.pop();
    }
    nodes.reverse();
    nodes
}

/// Whether an operation changes every element for itself.
const fn is_function(op: &Op) -> bool {
    matches!(op, Op::Relu { .. } | Op::Function(_))
}

impl Block {
    /// The shape of one convolution with a square kernel that reads what the chain reads, writes
    /// what it writes, and is centered as it is; `None` where there is none.
    pub(super) fn geometry(&self, model: &Model, kernel: usize) -> Option<Geometry> {
        let [out_channels, out_h, out_w] = model.shape(model.nodes[self.last()].output);
        let [in_channels, in_h, in_w] = model.shape(self.entry);
        let layers = || self.layers(model).map(|conv| &conv.geometry);
        let vertical = layers().map(|g| [g.kernel_h, g.stride_h, g.dilation_h, g.pad_top]);
        let horizontal = layers().map(|g| [g.kernel_w, g.stride_w, g.dilation_w, g.pad_left]);
        let kernels = [in_h, in_w].map(|size| if size == 1 { 1 } else { kernel });
        let rows = Axis::of(vertical).with(kernels[0], [in_h, out_h])?;
        let columns = Axis::of(horizontal).with(kernels[1], [in_w, out_w])?;
        let geometry = Geometry {
            in_h,
            in_w,
            kernel_h: kernels[0],
            kernel_w: kernels[1],
            stride_h: rows.stride,
            stride_w: columns.stride,
            pad_top: rows.pads[0],
            pad_left: columns.pads[0],
            pad_bottom: rows.pads[1],
            pad_right: columns.pads[1],
            ..Geometry::dense(in_channels, out_channels)
        };
        let fits = [geometry.out_h(), geometry.out_w()] == [out_h, out_w];
        (geometry.check().is_ok() && fits).then_some(geometry)
    }

    /// Whether the network works without it: what is added to its result has that shape.
    pub(super) const fn can_be_dropped(&self) -> bool {
        self.sum.is_some()
    }

    /// What one convolution makes, together with what is added to it.
    pub(super) fn exit(&self, model: &Model) -> ValueId {
        model.nodes[self.sum.map_or(self.last(), |(sum, _)| sum)].output
    }

    pub(super) fn last(&self) -> usize {
        self.nodes[self.nodes.len() - 1]
    }

    fn layers<'m>(&self, model: &'m Model) -> impl Iterator<Item = &'m Conv> {
        self.nodes.iter().filter_map(|&node| model.nodes[node].op.conv())
    }
}

/// One axis of convolutions that follow each other, as one convolution.
struct Axis {
    reach: usize,
    stride: usize,
    pad: usize,
}

/// One axis of the convolution that stands for them.
struct Merged {
    stride: usize,
    /// Before and behind.
    pads: [usize; 2],
}

impl Axis {
    /// Of kernel, stride, dilation and first padding of each.
    fn of(layers: impl Iterator<Item = [usize; 4]>) -> Self {
        let mut axis = Self { reach: 1, stride: 1, pad: 0 };
        for [kernel, stride, dilation, pad] in layers {
            // One step of a later layer is as many pixels as the strides before it say.
            axis.reach += (kernel - 1) * dilation * axis.stride;
            axis.pad += pad * axis.stride;
            axis.stride *= stride;
        }
        axis
    }

    /// A kernel in the middle of what the layers reach: of two layers of 3 taps, which reach 5,
    /// those 3 in the middle, with one pixel of padding less.
    fn with(&self, kernel: usize, [input, output]: [usize; 2]) -> Option<Merged> {
        let more = (self.pad + kernel / 2).checked_sub(self.reach / 2)?;
        let end = (output - 1) * self.stride + kernel;
        // As much behind as before, where that makes no further output.
        let even = (input + 2 * more).saturating_sub(kernel) / self.stride + 1 == output;
        let behind = if even { more } else { end.saturating_sub(input + more) };
        Some(Merged { stride: self.stride, pads: [more, behind] })
    }
}
