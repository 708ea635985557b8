//! Poolings of the other kind: an average for a maximum, and a maximum for an average.
//!
//! An average is a sum, which moves nothing here, but is finer than what it is of: what reads it
//! has a wider ring. A maximum takes rounds of comparisons. So the one saves bits, and the other
//! seconds, or the other way round, by the network and the link.
//!
//! Values are larger behind a maximum. Where layers alone read the pooling, the nearest line, one
//! a channel, from the new values to the old ones is put into their weights and biases.

use model::float::activations_of;
use model::{Model, Op, Tensor};

use super::surgery::{readers, through};
use crate::reshape::ReshapeError;
use crate::reshape::fit::{bounded, channel};

/// The network with the other kind of pooling at a node, fitted to images.
pub(super) fn changed(model: &Model, at: usize, fitted: &Tensor) -> Result<Model, ReshapeError> {
    let mut changed = model.clone();
    changed.nodes[at].op = other(&model.nodes[at].op);
    // A function behind it would see the line, too: training has to find it there.
    if let Some(readers) = readers(model, at) {
        let lines = lines(model, at, fitted)?;
        through(&mut changed, &readers, &lines);
    }
    Ok(changed)
}

/// The pooling of the other kind.
pub(super) fn other(op: &Op) -> Op {
    if let Op::MaxPool(window) = op {
        Op::AvgPool(*window)
    } else if let Op::AvgPool(window) = op {
        Op::MaxPool(*window)
    } else {
        unreachable!("invariant: the node is a pooling")
    }
}

/// By channel, the nearest line from what the other kind of pooling gives at a node to what it
/// gives, on images.
pub(super) fn lines(
    model: &Model,
    at: usize,
    fitted: &Tensor,
) -> Result<Vec<[f64; 2]>, ReshapeError> {
    let mut changed = model.clone();
    changed.nodes[at].op = other(&model.nodes[at].op);
    let (value, channels) = (model.nodes[at].output, model.nodes[at].shape[0]);
    let images = bounded(fitted, model.nodes[at].elements());
    let [old, new] = [model, &changed].map(|model| activations_of(model, &images, &[value]));
    let (old, new) = (old?, new?);
    let [old, new] = [&old, &new].map(|kept| kept.value(value).expect("invariant: it is kept"));
    let lines = (0..channels).map(|at| {
        let pairs = channel(new, at).zip(channel(old, at));
        line(pairs.map(|(new, old)| (f64::from(new), f64::from(old))))
    });
    Ok(lines.collect())
}

/// The line of least squares through points `(x, y)`, as its slope and what it is at zero. Where
/// x hardly changes, it is flat.
fn line(points: impl Iterator<Item = (f64, f64)>) -> [f64; 2] {
    let [mut count, mut x, mut y, mut xx, mut xy] = [0.0; 5];
    for (at, value) in points {
        count += 1.0;
        x += at;
        y += value;
        xx += at * at;
        xy += at * value;
    }
    let (mean_x, mean_y) = (x / count, y / count);
    // What is left of rounding where all x are the same is no spread.
    let spread = xx - x * mean_x;
    let slope = if spread > 1e-12 * xx { (xy - x * mean_y) / spread } else { 0.0 };
    [slope, mean_y - slope * mean_x]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_points_on_a_line_is_that_and_of_one_value_it_is_flat() {
        let on = [-1.0, 0.0, 2.0, 7.0].map(|x| (x, 3.0 - 0.5 * x));
        let [slope, constant] = line(on.into_iter());
        assert!((slope + 0.5).abs() < 1e-12 && (constant - 3.0).abs() < 1e-12);
        assert_eq!(line([(2.0, 1.0), (2.0, 3.0)].into_iter()), [0.0, 2.0]);
    }
}
