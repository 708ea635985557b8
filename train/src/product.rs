//! Products of two values: of one shape, or of a value and a gate for each of its channels.

use crate::kernels::Number;
use crate::layout::Place;

/// Where the two factors and their product lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    factors: [Place; 2],
    result: Place,
}

impl Product {
    pub(crate) const fn new(factors: [Place; 2], result: Place) -> Self {
        Self { factors, result }
    }

    /// The places of an element of the result and of its factors.
    fn places(self) -> impl Iterator<Item = (usize, [usize; 2])> {
        let [channels, rows, columns] = self.result.shape;
        let pixels = rows * columns;
        (0..channels * pixels).map(move |index| {
            let factors = self.factors.map(|place| {
                // A gate has one element for all pixels of its channel.
                let is_gate = place.shape != self.result.shape;
                place.position(if is_gate { index / pixels } else { index })
            });
            (self.result.position(index), factors)
        })
    }

    pub(crate) fn forward<T: Number>(self, factors: [&[T]; 2], result: &mut [T]) {
        for (to, [a, b]) in self.places() {
            result[to] = factors[0][a] * factors[1][b];
        }
    }

    /// Adds the cotangent of factor `at`: that of the result times the other factor, summed over
    /// all that a gate multiplies.
    pub(crate) fn backward<T: Number>(
        self,
        at: usize,
        other: &[T],
        cotangent: &[T],
        back: &mut [T],
    ) {
        for (from, factors) in self.places() {
            let to = factors[at];
            back[to] += cotangent[from] * other[factors[1 - at]];
        }
    }
}
