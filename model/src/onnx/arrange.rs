//! Elements of a value brought into the order and shape that an operator needs.

use std::rc::Rc;

use super::error::Problem;
use super::importer::{Importer, Value};
use super::layout::{Digit, Layout};
use super::proto::NodeProto;
use crate::model::{Op, Order};

impl Importer {
    /// The value stored as an image is seen, `[C, H, W]`, as `[C, H, W]`; a line `[C, L]` as `[C,
    /// 1, L]`.
    pub(super) fn image(&mut self, node: &NodeProto, value: &Value) -> Result<Value, Problem> {
        let shape = match value.layout.lengths()[..] {
            [c, h, w] => [c, h, w],
            [c, length] => [c, 1, length],
            ref other => {
                let reason = format!("it is applied to a value of shape {other:?} per image");
                let advice = "give it an image, [N, C, H, W], or a line, [N, C, L]";
                return Err(Problem::new(reason, advice));
            }
        };
        self.arranged(node, value, &(0..value.layout.rank()).collect::<Vec<_>>(), shape)
    }

    /// The value stored so that its axes come in this order, as a `[C, H, W]` of so many elements.
    pub(super) fn arranged(
        &mut self,
        node: &NodeProto,
        value: &Value,
        order: &[usize],
        shape: [usize; 3],
    ) -> Result<Value, Problem> {
        let wanted = value.layout.transposed(order);
        let digits = wanted.digits();
        let mut stored = self.shape(value);
        let mut id = value.id;
        for step in orders(&digits, shape) {
            if !step.is_identity(stored) {
                id = self.append(node, Op::Reorder(step), &[id])?;
                stored = shape;
            }
        }
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &axis)| back[axis] = at);
        let layout = Layout::natural(&wanted.lengths()).transposed(&back);
        Ok(Value { id, layout: Rc::new(layout) })
    }

    /// The value so that an axis of it is one of those that are stored, and which.
    pub(super) fn along(
        &mut self,
        node: &NodeProto,
        value: &Value,
        axis: usize,
    ) -> Result<(Value, usize), Problem> {
        if let Some(at) = value.layout.stored_axis(axis, self.shape(value)) {
            return Ok((value.clone(), at));
        }
        let lengths = value.layout.lengths();
        let (before, after) = (&lengths[..axis], &lengths[axis + 1..]);
        let shape = [before.iter().product(), lengths[axis], after.iter().product()];
        let all: Vec<usize> = (0..lengths.len()).collect();
        Ok((self.arranged(node, value, &all, shape)?, 1))
    }
}

/// The exchanges of neighboring axes after which digits that are stored in some order come in
/// theirs; the result has this shape.
fn orders(wanted: &[Digit], shape: [usize; 3]) -> Vec<Order> {
    let mut stored = wanted.to_vec();
    stored.sort_by_key(|digit| std::cmp::Reverse(digit.stride));
    let mut orders = Vec::new();
    for at in 0..wanted.len() {
        if stored[at] == wanted[at] {
            continue;
        }
        // Digits `from..end` are those that come next, and go before `at..from`.
        let from = (at..stored.len()).find(|&place| stored[place] == wanted[at]).unwrap_or(at);
        let run = stored[from..].iter().zip(&wanted[at..]).take_while(|(a, b)| a == b).count();
        let end = from + run;
        let (rows, columns) = (elements(&stored[at..from]), elements(&stored[from..end]));
        // Of digits a b c d stored, of which c d come first: `[outer][a b][c d][inner]`.
        orders.push(Order { rows, columns, inner: elements(&stored[end..]), shape });
        stored[at..end].rotate_left(from - at);
    }
    if orders.is_empty() {
        orders.push(Order::reshape(shape));
    }
    orders
}

/// How many elements digits tell apart.
fn elements(digits: &[Digit]) -> usize {
    digits.iter().map(|digit| digit.length).product()
}
