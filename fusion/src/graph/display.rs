//! A graph as text: one line a node.

use std::fmt;

use protocols::linear::Geometry;
use protocols::plan::{self, Order, View, Window};

use super::{Graph, Kernel, Linear, Lookup, Op, Wire, WireId};

impl fmt::Display for Graph {
    /// `name = operation : wire`; a wire is its shape, sign and width, interval and scale.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            write!(f, "{} = ", node.name)?;
            self.write_op(&node.op, f)?;
            writeln!(f, " : {}", node.wire)?;
        }
        Ok(())
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [c, h, w] = self.shape;
        let values = Values { bits: self.bits, low: self.low };
        write!(f, "{c}x{h}x{w} {values} {} x{:.4e}", self.range, self.scale)
    }
}

/// A width: `u8`, `s8` for two's complement, `8 from -3` for anything else.
struct Values {
    bits: u8,
    low: i64,
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bits, low } = *self;
        match [false, true].map(|signed| plan::Wire::least(bits, signed) == low) {
            [true, _] => write!(f, "u{bits}"),
            [_, true] => write!(f, "s{bits}"),
            [false, false] => write!(f, "{bits} from {low}"),
        }
    }
}

impl Graph {
    fn node_name(&self, wire: WireId) -> &str {
        &self.nodes[wire].name
    }

    fn write_op(&self, op: &Op, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match op {
            Op::Input { .. } => write!(f, "input"),
            Op::Linear(linear) => write_linear(self.node_name(linear.input), linear, f),
            Op::Add { terms } => {
                write!(f, "add")?;
                terms.iter().try_for_each(|term| match term.shift {
                    0 => write!(f, " {}", self.node_name(term.wire)),
                    shift => write!(f, " {}<<{shift}", self.node_name(term.wire)),
                })
            }
            Op::Relu { input } => write!(f, "relu {}", self.node_name(*input)),
            Op::Requant { input, shift, bits, low, linearized } => {
                let values = Values { bits: *bits, low: *low };
                write!(f, "requant {} >>{shift} {values}", self.node_name(*input))?;
                match linearized {
                    Some(own) => write!(f, " relu of {:?}, others from -{}", own.kept, own.below),
                    None => Ok(()),
                }
            }
            Op::Lookup(Lookup { input, first, table, bits, low, .. }) => {
                let values = Values { bits: *bits, low: *low };
                let last = first + table.len() as i64 - 1;
                write!(f, "lookup {} of [{first}, {last}] {values}", self.node_name(*input))
            }
            Op::MaxPool { input, window } => {
                write_pool("max_pool", self.node_name(*input), window, f)
            }
            Op::SumPool { input, window } => {
                write_pool("sum_pool", self.node_name(*input), window, f)
            }
            Op::View { input, view } => write_view(self.node_name(*input), view, f),
            Op::Reorder { input, order } => {
                let Order { rows, columns, inner, shape } = order;
                let input = self.node_name(*input);
                write!(f, "reorder {input} {rows}x{columns}x{inner} to {shape:?}")
            }
            Op::Concat { inputs } => {
                write!(f, "concat")?;
                inputs.iter().try_for_each(|input| write!(f, " {}", self.node_name(*input)))
            }
            Op::Product { input, gate } => {
                write!(f, "product {} {}", self.node_name(*input), self.node_name(*gate))
            }
            Op::Output { input } => write!(f, "output {}", self.node_name(*input)),
        }
    }
}

fn write_linear(input: &str, linear: &Linear, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Geometry { kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups, .. } =
        linear.geometry;
    let Geometry { pad_top, pad_left, pad_bottom, pad_right, .. } = linear.geometry;
    write!(f, "linear {input} w{} {kernel_h}x{kernel_w}", linear.weight_bits)?;
    if (stride_h, stride_w) != (1, 1) {
        write!(f, " stride {stride_h},{stride_w}")?;
    }
    if (dilation_h, dilation_w) != (1, 1) {
        write!(f, " dilation {dilation_h},{dilation_w}")?;
    }
    if pad_top + pad_left + pad_bottom + pad_right > 0 {
        write!(f, " pad {pad_top},{pad_left},{pad_bottom},{pad_right}")?;
    }
    if groups != 1 {
        write!(f, " groups {groups}")?;
    }
    if linear.kernel == Kernel::Winograd {
        write!(f, " winograd")?;
    }
    if linear.shifts.iter().any(|&shift| shift != 0) {
        write!(f, " shifts {:?}", linear.shifts)?;
    }
    Ok(())
}

fn write_pool(kind: &str, input: &str, window: &Window, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Window { kernel, stride, pad } = window;
    write!(f, "{kind} {input} {}x{} stride {},{}", kernel[0], kernel[1], stride[0], stride[1])?;
    if *pad == [0; 4] {
        return Ok(());
    }
    write!(f, " pad {},{},{},{}", pad[0], pad[1], pad[2], pad[3])
}

fn write_view(input: &str, view: &View, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let start = view.axes.map(|axis| axis.start);
    let stride = view.axes.map(|axis| axis.stride);
    let length = view.axes.map(|axis| axis.length);
    write!(f, "view {input} from {start:?} step {stride:?} take {length:?}")?;
    let (before, after) = (view.axes.map(|axis| axis.before), view.axes.map(|axis| axis.after));
    if before == [0; 3] && after == [0; 3] {
        return Ok(());
    }
    write!(f, " pad {before:?} {after:?}")
}
