//! A view of a view becomes one view.
//!
//! A view takes one element or more: two that take none together, but zeros alone, stay two.

use super::{Pass, Patch};
use crate::{Graph, Op, WireId};

pub(super) struct ViewsCompose;

impl Pass for ViewsCompose {
    fn name(&self) -> &'static str {
        "views_compose"
    }

    fn find(&self, graph: &Graph) -> Option<Patch> {
        (0..graph.nodes().len()).find_map(|id| composed(graph, id))
    }
}

fn composed(graph: &Graph, id: WireId) -> Option<Patch> {
    let Op::View { input, view: outer } = graph.node(id).op else { return None };
    let Op::View { input, view: inner } = graph.node(input).op else { return None };
    let view = inner.then(&outer);
    if view.axes.iter().any(|axis| axis.length == 0) {
        return None;
    }
    Some(Patch::replace(graph, id, vec![(graph.node(id).name.clone(), Op::View { input, view })]))
}

#[cfg(test)]
mod tests {
    use protocols::plan::{Axis, View};

    use super::*;
    use crate::pass::testing::{after, network};

    #[test]
    fn slice_then_pad_is_one_view() {
        let every_second = Axis { stride: 2, ..Axis::all(2) };
        let slice = View { axes: [Axis::all(2), every_second, every_second] };
        let around = Axis { before: 1, after: 1, ..Axis::all(2) };
        let pad = View { axes: [around, Axis::all(2), Axis::all(2)] };
        let graph = network(|b, acc| {
            let sliced = b.view("slice", acc, slice)?;
            b.view("pad", sliced, pad)
        });
        let expected = [
            "pad = view acc from [0, 0, 0] step [1, 2, 2] take [2, 2, 2] pad [1, 0, 0] [1, 0, 0]",
            "out = output pad",
        ];
        assert_eq!(after(&graph, ViewsCompose), expected);
    }

    #[test]
    fn views_that_take_zeros_alone_stay_two() {
        let [channels, rows, columns] = [2, 4, 4].map(Axis::all);
        let pad = View { axes: [Axis { before: 1, ..channels }, rows, columns] };
        let zeros = View { axes: [Axis::all(1), rows, columns] };
        let graph = network(|b, acc| {
            let padded = b.view("pad", acc, pad)?;
            b.view("zeros", padded, zeros)
        });
        let expected = [
            "pad = view acc from [0, 0, 0] step [1, 1, 1] take [2, 4, 4] pad [1, 0, 0] [0, 0, 0]",
            "zeros = view pad from [0, 0, 0] step [1, 1, 1] take [1, 4, 4]",
            "out = output zeros",
        ];
        assert_eq!(after(&graph, ViewsCompose), expected);
    }
}
