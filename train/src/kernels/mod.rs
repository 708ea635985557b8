//! Sums of products over blocks of sixteen channels: the one place of this crate with `unsafe`.
//!
//! A [`Sweep`] says which elements meet: pixels of an output, and for each of them the taps of an
//! input. The same sweep describes a convolution forward, its transpose backward (with the weights
//! transposed), and the gradient of its weights. The kernels of AVX-512 and AVX2 have a portable
//! twin, and the choice is made when the program runs.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use model::kernels::Element;

/// Channels of a block, which lie beside each other.
pub const LANES: usize = 16;

/// Where the elements of pixel `(y, x)` start: `start + y * row + x * column`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The first pixel's.
    pub start: usize,
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub column: usize,
}

/// One place of a kernel, of one block of input channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Where the channels of the input lie, beside the pixel.
    pub input: usize,
    /// Where the weights lie: sixteen outputs for each channel.
    pub weights: usize,
    /// Channels of the input, up to sixteen.
    pub channels: usize,
}

/// Which elements of an input, of weights and of one block of an output meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Rows and columns of pixels.
    pub size: [usize; 2],
    /// Pixels of the input.
    pub input: Grid,
    /// Pixels of the output.
    pub output: Grid,
    /// The taps of every pixel.
    pub taps: Vec<Tap>,
}

impl Grid {
    /// Where a pixel starts.
    pub const fn at(&self, y: usize, x: usize) -> usize {
        self.start + y * self.row + x * self.column
    }
}

/// The lanes of a pixel, from its first one on.
#[inline(always)]
pub(crate) fn lanes<T>(pixel: &[T]) -> &[T; LANES] {
    pixel.first_chunk().expect("invariant: a sweep fits")
}

/// The same, to be changed.
#[inline(always)]
pub(crate) fn lanes_mut<T>(pixel: &mut [T]) -> &mut [T; LANES] {
    pixel.first_chunk_mut().expect("invariant: a sweep fits")
}

impl Sweep {
    /// Whether every access of a kernel is within slices of these lengths.
    fn fits(&self, input: usize, weights: usize, output: usize) -> bool {
        let [rows, columns] = self.size;
        if rows == 0 || columns == 0 {
            return true;
        }
        // Offsets only grow with rows and columns, so the last pixel reaches farthest.
        let (last_in, last_out) =
            (self.input.at(rows - 1, columns - 1), self.output.at(rows - 1, columns - 1));
        last_out + LANES <= output
            && self.taps.iter().all(|tap| {
                tap.channels <= LANES
                    && last_in + tap.input + tap.channels <= input
                    && tap.weights + tap.channels * LANES <= weights
            })
    }
}

/// What networks are trained in: `f32`, and `f64` to check gradients with.
pub trait Number: Element {
    /// For every pixel and output channel `k`, the sum over taps and channels `c` of
    /// `input[c] * weights[c][k]`, to which `bias[k]` is added; without biases, it is added to what
    /// the output holds.
    ///
    /// # Panics
    /// Where the sweep leaves a slice.
    fn products(
        sweep: &Sweep,
        input: &[Self],
        weights: &[Self],
        bias: Option<&[Self; LANES]>,
        output: &mut [Self],
    ) {
        assert!(sweep.fits(input.len(), weights.len(), output.len()), "invariant: a sweep fits");
        portable::products(sweep, input, weights, bias, output);
    }

    /// Adds, for every tap, channel `c` and output channel `k`, the sum over pixels of `input[c] *
    /// cotangent[k]` to `sums[c][k]`.
    ///
    /// # Panics
    /// Where the sweep leaves a slice.
    fn weight_sums(sweep: &Sweep, input: &[Self], cotangent: &[Self], sums: &mut [Self]) {
        assert!(sweep.fits(input.len(), sums.len(), cotangent.len()), "invariant: a sweep fits");
        portable::weight_sums(sweep, input, cotangent, sums);
    }
}

impl Number for f64 {}

impl Number for f32 {
    fn products(
        sweep: &Sweep,
        input: &[Self],
        weights: &[Self],
        bias: Option<&[Self; LANES]>,
        output: &mut [Self],
    ) {
        assert!(sweep.fits(input.len(), weights.len(), output.len()), "invariant: a sweep fits");
        #[cfg(target_arch = "x86_64")]
        if let Some(kernels) = x86::Kernels::best() {
            return kernels.products(sweep, input, weights, bias, output);
        }
        portable::products(sweep, input, weights, bias, output);
    }

    fn weight_sums(sweep: &Sweep, input: &[Self], cotangent: &[Self], sums: &mut [Self]) {
        assert!(sweep.fits(input.len(), sums.len(), cotangent.len()), "invariant: a sweep fits");
        #[cfg(target_arch = "x86_64")]
        if let Some(kernels) = x86::Kernels::best() {
            return kernels.weight_sums(sweep, input, cotangent, sums);
        }
        portable::weight_sums(sweep, input, cotangent, sums);
    }
}

#[cfg(test)]
mod tests;
