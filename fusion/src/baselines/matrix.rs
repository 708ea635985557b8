//! Matrix products by OTs.

use protocols::linear::Geometry;

use super::Traffic;

/// Bits of its centers.
const CENTER: u64 = 6;
/// The base-two logarithm of the centers of an output, at most: what most of its layers have.
const MAX_CLUSTERS: u64 = 3;

/// Matrix products, `count` of `rows x inner` weights with `inner x columns` activations.
pub(super) struct Matrix {
    pub(super) count: u64,
    pub(super) rows: u64,
    pub(super) inner: u64,
    pub(super) columns: u64,
}

impl Matrix {
    /// One product a group, of the windows side by side.
    pub(super) const fn direct(geometry: &Geometry) -> Self {
        Self {
            count: geometry.groups as u64,
            rows: (geometry.out_channels / geometry.groups) as u64,
            inner: geometry.fan_in() as u64,
            columns: geometry.positions() as u64,
        }
    }

    /// Winograd's products, for 3x3 convolutions of one of these strides: 16 for tiles of 2x2
    /// outputs at stride 1; at stride 2 the four phases of the kernel (2x2, 2x1, 1x2, 1x1) take 25
    /// where 36 multiplications were.
    pub(super) fn winograd(geometry: &Geometry, strides: &[usize]) -> Option<Self> {
        let g = geometry;
        let fits = g.groups == 1
            && [g.kernel_h, g.kernel_w] == [3, 3]
            && [g.dilation_h, g.dilation_w] == [1, 1]
            && g.stride_h == g.stride_w
            && strides.contains(&g.stride_h);
        fits.then(|| Self {
            count: if g.stride_h == 1 { 16 } else { 25 },
            rows: g.out_channels as u64,
            inner: g.in_channels as u64,
            columns: (g.out_h().div_ceil(2) * g.out_w().div_ceil(2)) as u64,
        })
    }

    pub(super) const fn macs(&self) -> u64 {
        self.count * self.rows * self.inner * self.columns
    }

    /// An OT for every bit b of every weight, with `ring - b` bits for every column.
    pub(super) fn by_weights(&self, bits: u64, ring: u64) -> Traffic {
        // Bit `b` weighs `2^b`: of its product only `ring - b` bits count. Of 4 bits in a ring of
        // 18: 18 + 17 + 16 + 15 = 66 bits a product.
        let messages: u64 = (0..bits).map(|b| ring - b).sum();
        Traffic {
            lambdas: self.count * self.rows * self.inner * bits,
            bits: self.macs() * messages,
        }
    }

    /// Weights of so many bits as indices of centers, or as they are at the ring's width: the
    /// fewer bytes.
    pub(super) fn by_centers(&self, bits: u64, ring: u64) -> Traffic {
        let clusters = 1 << bits.min(MAX_CLUSTERS);
        // What belongs to the last center is all that is left of the sum of all activations, which
        // is local.
        let chosen = self.count * self.rows * self.inner * (clusters - 1);
        let sums = Traffic { lambdas: chosen, bits: chosen * self.columns * ring };
        let products = Self { inner: clusters, ..*self }.by_weights(CENTER, ring);
        let plain = self.by_weights(ring, ring);
        let factored = sums + products;
        if factored.iknp_bytes() <= plain.iknp_bytes() { factored } else { plain }
    }

    /// Where weights and activations are of the ring's width alike, the bits of the fewer of them
    /// choose.
    pub(super) fn by_the_fewer(&self, ring: u64) -> Traffic {
        let by_weights = self.by_weights(ring, ring);
        let activations = self.count * self.inner * self.columns * ring;
        Traffic { lambdas: by_weights.lambdas.min(activations), ..by_weights }
    }
}
