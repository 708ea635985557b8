//! What nodes say of windows and views, for all that writes ONNX.

use protocols::linear::Geometry;

use super::proto::{GraphProto, NodeProto, TensorProto};
use crate::model::{Order, View, Window};

/// The operator set that is written.
pub const OPSET: i64 = 13;

/// Adds the attributes of a Conv.
#[must_use]
pub fn convolution_attributes(node: NodeProto, g: &Geometry) -> NodeProto {
    node.int("group", g.groups as i64)
        .ints("dilations", &long([g.dilation_h, g.dilation_w]))
        .ints("kernel_shape", &long([g.kernel_h, g.kernel_w]))
        .ints("pads", &long([g.pad_top, g.pad_left, g.pad_bottom, g.pad_right]))
        .ints("strides", &long([g.stride_h, g.stride_w]))
}

/// Adds the attributes of a MaxPool or an AveragePool.
#[must_use]
pub fn pool_attributes(node: NodeProto, w: &Window) -> NodeProto {
    node.ints("kernel_shape", &long(w.kernel))
        .ints("pads", &long(w.pad))
        .ints("strides", &long(w.stride))
}

/// A Slice of a value of this shape, put into the graph, and the Pad that follows it.
#[must_use]
pub fn view_nodes(
    graph: &mut GraphProto,
    view: &View,
    lengths: [usize; 3],
    node: &str,
    input: &str,
    output: &str,
) -> NodeProto {
    let starts = long(view.axes.map(|axis| axis.start));
    let ends = std::array::from_fn(|i| {
        let axis = &view.axes[i];
        axis.start
            + axis.length.checked_sub(1).map_or(0, |last| (last * axis.stride + 1).min(lengths[i]))
    });
    let steps = long(view.axes.map(|axis| axis.stride));
    let sliced = format!("{output}.slice");
    let mut names = vec![input.to_owned()];
    for (part, data) in
        [("starts", starts), ("ends", long(ends)), ("axes", [1, 2, 3]), ("steps", steps)]
    {
        let name = format!("{output}.{part}");
        graph.initializer.push(TensorProto::ints(&name, &[3], &data));
        names.push(name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    graph.node.push(NodeProto::new("Slice", &format!("{node}.slice"), &names, &[&sliced]));
    let [c, h, w] = view.axes;
    let pads = long([0, c.before, h.before, w.before, 0, c.after, h.after, w.after]);
    let name = format!("{output}.pads");
    graph.initializer.push(TensorProto::ints(&name, &[8], &pads));
    NodeProto::new("Pad", node, &[&sliced, &name], &[output]).string("mode", "constant")
}

/// The Reshape and Transpose of an order, put into the graph, and the Reshape that follows them.
#[must_use]
pub fn order_nodes(
    graph: &mut GraphProto,
    order: &Order,
    node: &str,
    input: &str,
    output: &str,
) -> NodeProto {
    let Order { rows, columns, inner, shape } = *order;
    let [c, h, w] = long(shape);
    let shape = shape_of(graph, format!("{output}.result"), &[-1, c, h, w]);
    if order.keeps_order() {
        return NodeProto::new("Reshape", node, &[input, &shape], &[output]);
    }
    let outer = c * h * w / (rows * columns * inner) as i64;
    let [rows, columns, inner] = long([rows, columns, inner]);
    let axes = [-1, outer, rows, columns, inner];
    let axes = shape_of(graph, format!("{output}.axes"), &axes);
    let [split, turned] = ["split", "turned"].map(|what| format!("{output}.{what}"));
    graph.node.push(NodeProto::new("Reshape", &split, &[input, &axes], &[&split]));
    let turn = NodeProto::new("Transpose", &turned, &[&split], &[&turned]);
    graph.node.push(turn.ints("perm", &[0, 1, 3, 2, 4]));
    NodeProto::new("Reshape", node, &[&turned, &shape], &[output])
}

/// Puts the shape that a Reshape makes into the graph; its name.
fn shape_of(graph: &mut GraphProto, name: String, dims: &[i64]) -> String {
    graph.initializer.push(TensorProto::ints(&name, &[dims.len() as i64], dims));
    name
}

pub(super) fn long<const N: usize>(sizes: [usize; N]) -> [i64; N] {
    sizes.map(|size| size as i64)
}
