//! A view of a view becomes one view.
//!
//! Along an axis, element `j` of the outer slice is element `s2 + j t2` of the inner result; those
//! that hit the inner slice, and not its padding, are consecutive. Assumes that each axis hits at
//! least one (a view takes one element or more).

use protocols::plan::View;

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
    let view = compose(&inner, &outer)?;
    Some(Patch::replace(graph, id, vec![(graph.node(id).name.clone(), Op::View { input, view })]))
}

fn compose(inner: &View, outer: &View) -> Option<View> {
    let mut view = *outer;
    for axis in 0..3 {
        let mut places = 0..outer.len[axis];
        let (first, at) = places.find_map(|j| Some((j, hit(inner, outer, axis, j)?)))?;
        // Of a slice `start 0, len 4` of 3 elements behind 2 zeros, elements 2 and 3 hit: `first`
        // is 2, `len` is 2, and the zeros before become 2 more.
        let hits = (first..outer.len[axis]).map(|j| hit(inner, outer, axis, j));
        let len = hits.take_while(Option::is_some).count();
        view.start[axis] = inner.start[axis] + at * inner.stride[axis];
        view.stride[axis] = inner.stride[axis] * outer.stride[axis];
        view.len[axis] = len;
        view.before[axis] = outer.before[axis] + first;
        view.after[axis] = outer.after[axis] + outer.len[axis] - first - len;
    }
    Some(view)
}

/// The element of the inner slice that element `j` of the outer one takes along an axis; `None`
/// where it takes padding.
fn hit(inner: &View, outer: &View, axis: usize, j: usize) -> Option<usize> {
    let at = outer.start[axis] + j * outer.stride[axis];
    at.checked_sub(inner.before[axis]).filter(|&at| at < inner.len[axis])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::eval::view;
    use crate::pass::testing::{after, network};

    #[test]
    fn slice_then_pad_is_one_view() {
        let slice = View {
            start: [0; 3],
            stride: [1, 2, 2],
            len: [2, 2, 2],
            before: [0; 3],
            after: [0; 3],
        };
        let pad = View {
            start: [0; 3],
            stride: [1; 3],
            len: [2, 2, 2],
            before: [1, 0, 0],
            after: [1, 0, 0],
        };
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

    fn slices() -> impl Strategy<Value = View> {
        let axis = || (0usize..2, 1usize..3, 1usize..4, 0usize..3, 0usize..3);
        (axis(), axis()).prop_map(|(y, x)| View {
            start: [0, y.0, x.0],
            stride: [1, y.1, x.1],
            len: [1, y.2, x.2],
            before: [0, y.3, x.3],
            after: [0, y.4, x.4],
        })
    }

    fn shape(view: &View) -> [usize; 3] {
        [0, 1, 2].map(|axis| view.before[axis] + view.len[axis] + view.after[axis])
    }

    proptest! {
        #[test]
        fn the_composition_is_one_after_the_other(inner in slices(), outer in slices()) {
            let image: Vec<i64> = (1..=64).collect();
            let between = shape(&inner);
            let fits =
                (0..3).all(|a| outer.start[a] + (outer.len[a] - 1) * outer.stride[a] < between[a]);
            prop_assume!(fits);
            if let Some(both) = compose(&inner, &outer) {
                let once = view(([1, 8, 8], &image), &inner, between);
                prop_assert_eq!(shape(&both), shape(&outer));
                prop_assert_eq!(
                    view(([1, 8, 8], &image), &both, shape(&both)),
                    view((between, &once), &outer, shape(&outer))
                );
            }
        }
    }
}
