//! The tiles of an input or of an output, into Winograd's domain and out of it.
//!
//! Rows are summed first, each as a line of pixels, then pixels of lines: every loop is over a line
//! of a row of tiles.

use std::ops::Range;

use pulp::{Arch, NullaryFnOnce};

use crate::kernels::{LANES, Number, lanes, lanes_mut};
use crate::layout::{Place, TILE};

/// Rows and columns of a tile's inputs, and of its domain.
pub(super) const INPUTS: usize = TILE + 2;

/// An input or an output, and its tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) place: Place,
    /// Rows above and columns to the left of the first one, where the first tile starts.
    pub(super) pad: [usize; 2],
    /// Rows of tiles of a band, and columns.
    pub(super) tiles: [usize; 2],
    /// What one position of a band is in the domain: every tile a pixel, all in one row.
    pub(super) domain: Place,
}

/// A matrix of ones, minus ones and zeros: `N` numbers of `M`.
pub(super) type Matrix<const N: usize, const M: usize> = [[i8; M]; N];

/// `B^T`.
pub(super) const OF_INPUT: Matrix<4, 4> =
    [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]];
/// `A^T`.
pub(super) const TO_OUTPUT: Matrix<2, 4> = [[1, 1, 1, 0], [0, 1, -1, -1]];

/// The transpose.
pub(super) const fn transposed<const N: usize, const M: usize>(
    matrix: Matrix<N, M>,
) -> Matrix<M, N> {
    let mut found = [[0; N]; M];
    let mut at = 0;
    while at < N * M {
        found[at % M][at / M] = matrix[at / M][at % M];
        at += 1;
    }
    found
}

impl Side {
    /// Takes the tiles of a band into the domain.
    pub(super) fn enter<T: Number, const N: usize>(
        &self,
        matrix: Matrix<INPUTS, N>,
        band: usize,
        (from, to): (&[T], &mut [T]),
        lines: &mut [T],
    ) {
        Arch::new().dispatch(Enter { side: self, band, matrix, from, to, lines });
    }

    /// Takes the tiles of a band out of the domain, or adds them.
    pub(super) fn leave<T: Number, const N: usize>(
        &self,
        matrix: Matrix<N, INPUTS>,
        band: usize,
        (from, to, add): (&[T], &mut [T], bool),
        lines: &mut [T],
    ) {
        Arch::new().dispatch(Leave { side: self, band, matrix, from, to, lines, add });
    }

    /// Elements of the lines between columns and rows: four, and one of pixels. Two pixels are
    /// room beyond the last tile's.
    pub(super) const fn lines(&self) -> usize {
        (INPUTS + 1) * self.line()
    }

    /// Elements of one of them.
    const fn line(&self) -> usize {
        (TILE * self.tiles[1] + INPUTS) * LANES
    }

    /// Where the tiles of a row of a band lie: in the place, and in each position of the domain.
    fn starts(&self, [block, band]: [usize; 2], y: usize) -> (usize, Range<usize>) {
        let [top, left] = [self.place.frame[0] - self.pad[0], self.place.frame[1] - self.pad[1]];
        let row = TILE * (band * self.tiles[0] + y) + top;
        let start = block * self.place.block() + row * self.place.row() + left * LANES;
        let (at, length) = (block * self.domain.block(), self.tiles[1] * LANES);
        (start, at + y * length..at + (y + 1) * length)
    }
}

/// Takes the tiles of a band, of `N` by `N` pixels, into the domain.
struct Enter<'a, T, const N: usize> {
    side: &'a Side,
    band: usize,
    matrix: Matrix<INPUTS, N>,
    from: &'a [T],
    to: &'a mut [T],
    lines: &'a mut [T],
}

impl<T: Number, const N: usize> NullaryFnOnce for Enter<'_, T, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { side, band, matrix, from, to, lines } = self;
        let (row, position) = (side.place.row(), side.domain.len());
        let (length, pixels) = (side.line(), TILE * side.tiles[1] * LANES);
        // What the last tile shares with none behind it.
        let width = pixels + (N - TILE) * LANES;
        for at in 0..side.place.blocks() * side.tiles[0] {
            let (start, at) = side.starts([at / side.tiles[0], band], at % side.tiles[0]);
            // The frame holds what tiles reach beyond the pixels: zeros.
            let mut rows = [from; N];
            for (y, pixels) in rows.iter_mut().enumerate() {
                *pixels = &from[start + y * row..][..width];
            }
            for (y, factors) in matrix.iter().enumerate() {
                let line = &mut lines[y * length..][..length];
                sums::<T, N, LANES, LANES>(&mut line[..width], factors, rows, false);
                // A tile starts every second pixel: each column of all tiles, from its first on.
                let mut columns = [&line[..]; N];
                for (x, column) in columns.iter_mut().enumerate() {
                    *column = &line[x * LANES..][..pixels];
                }
                for (x, factors) in matrix.iter().enumerate() {
                    let to = &mut to[(y * INPUTS + x) * position..][at.clone()];
                    sums::<T, N, LANES, TWO>(to, factors, columns, false);
                }
            }
        }
    }
}

/// Takes the tiles of a band out of the domain, or adds them. Nothing is left of pixels that the
/// place does not have.
struct Leave<'a, T, const N: usize> {
    side: &'a Side,
    band: usize,
    matrix: Matrix<N, INPUTS>,
    from: &'a [T],
    to: &'a mut [T],
    lines: &'a mut [T],
    add: bool,
}

impl<T: Number, const N: usize> NullaryFnOnce for Leave<'_, T, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { side, band, matrix, from, to, lines, add } = self;
        let (row, position) = (side.place.row(), side.domain.len());
        let (length, pixels) = (side.line(), TILE * side.tiles[1] * LANES);
        let (columns, result) = lines.split_at_mut(INPUTS * length);
        let [top, left] = side.pad;
        let [_, height, width] = side.place.shape;
        // Of the pixels of a row of tiles, those that the place has.
        let within = left * LANES..((left + width) * LANES).min(pixels + (N - TILE) * LANES);
        for at in 0..side.place.blocks() * side.tiles[0] {
            let y = band * side.tiles[0] + at % side.tiles[0];
            let (start, at) = side.starts([at / side.tiles[0], band], at % side.tiles[0]);
            for (within_tile, factors) in matrix.iter().enumerate() {
                // Nobody reads what is above the first row or below the last.
                if !(top..top + height).contains(&(TILE * y + within_tile)) {
                    continue;
                }
                for (x, column) in columns.chunks_exact_mut(length).enumerate() {
                    let mut positions = [from; INPUTS];
                    for (y, from_position) in positions.iter_mut().enumerate() {
                        *from_position = &from[(y * INPUTS + x) * position..][at.clone()];
                    }
                    sums::<T, INPUTS, LANES, LANES>(
                        &mut column[..at.len()],
                        factors,
                        positions,
                        false,
                    );
                }
                let mut sources = [&columns[..]; INPUTS];
                for (x, source) in sources.iter_mut().enumerate() {
                    *source = &columns[x * length..][..at.len()];
                }
                // Where tiles overlap, the second has a part in what the first has left.
                result[pixels..].fill(T::zero());
                for (x, factors) in matrix.iter().enumerate() {
                    let to = &mut result[x * LANES..][..pixels];
                    sums::<T, INPUTS, TWO, LANES>(to, factors, sources, x >= TILE);
                }
                let to = &mut to[start + within_tile * row..][within.clone()];
                let result = &result[within.clone()];
                if add {
                    to.iter_mut().zip(result).for_each(|(to, &value)| *to += value);
                } else {
                    to.copy_from_slice(result);
                }
            }
        }
    }
}

/// Lanes from one pixel to the next but one.
const TWO: usize = 2 * LANES;

/// For every pixel, the sum of sources, each times a factor, or what it adds. Pixels are `TO` and
/// `FROM` lanes apart.
#[inline(always)]
fn sums<T: Number, const N: usize, const TO: usize, const FROM: usize>(
    to: &mut [T],
    factors: &[i8; N],
    sources: [&[T]; N],
    mut add: bool,
) {
    let mut waiting = None;
    for (&factor, source) in factors.iter().zip(sources) {
        if factor == 0 {
            continue;
        }
        // Two terms at once: most sums are of no more, and need no other pass.
        let term = (T::of(factor.into()), source);
        if add {
            more::<T, TO, FROM>(to, term);
        } else if let Some(other) = waiting.take() {
            both::<T, TO, FROM>(to, [other, term]);
            add = true;
        } else {
            waiting = Some(term);
        }
    }
    if let Some(alone) = waiting {
        one::<T, TO, FROM>(to, alone);
    }
}

/// A factor, and what it multiplies. Lanes are copied before any is written: where slices might
/// overlap, nothing would be done in vectors.
type Term<'a, T> = (T, &'a [T]);

/// Writes one term.
#[inline(always)]
fn one<T: Number, const TO: usize, const FROM: usize>(to: &mut [T], (f, a): Term<'_, T>) {
    for (to, a) in to.chunks_exact_mut(TO).zip(a.chunks_exact(FROM)) {
        let mut found = *lanes(a);
        found.iter_mut().for_each(|value| *value = f * *value);
        *lanes_mut(to) = found;
    }
}

/// Writes the sum of two terms.
#[inline(always)]
fn both<T: Number, const TO: usize, const FROM: usize>(
    to: &mut [T],
    [(f, a), (g, b)]: [Term<'_, T>; 2],
) {
    for ((to, a), b) in to.chunks_exact_mut(TO).zip(a.chunks_exact(FROM)).zip(b.chunks_exact(FROM))
    {
        let (mut found, b) = (*lanes(a), *lanes(b));
        for at in 0..LANES {
            found[at] = f * found[at] + g * b[at];
        }
        *lanes_mut(to) = found;
    }
}

/// Adds one term.
#[inline(always)]
fn more<T: Number, const TO: usize, const FROM: usize>(to: &mut [T], (f, a): Term<'_, T>) {
    for (to, a) in to.chunks_exact_mut(TO).zip(a.chunks_exact(FROM)) {
        let (mut found, a) = (*lanes_mut(to), *lanes(a));
        for at in 0..LANES {
            found[at] += f * a[at];
        }
        *lanes_mut(to) = found;
    }
}
