//! What a ReLU takes in published systems: what a network with fewer of them saves there.
//!
//! Bits in both directions of one element, λ = 128, as in [`crate::baselines`]:
//!
//! - CrypTFlow2: below `λ l + 18 l` in its ring of 37 bits (section 4.2 there).
//! - SiRNN: the same at 16 bits.
//! - Cheetah: Huang, Lu, Hong, Ding, USENIX Security 2022. CrypTFlow2's ReLU over silent OTs, of
//!   which the messages are left: at most `18 l`, l = 37.
//! - Delphi: Mishra, Lehmkuhl, Srinivasan, Zheng, Popa, USENIX Security 2020. A garbled circuit for
//!   each ReLU over a prime of 41 bits: about `18 λ l`, most of it before the input is there.
//!
//! A square, where a network has squares in their place (section 4.1 of Gilboa, Crypto 1999: the
//! product of both shares, once, in a bit less than the ring):
//!
//! - CrypTFlow2 and Cheetah: `λ (l - 1) + (l - 1) + l (l - 1) / 2`. CrypTFlow2 truncates 12 bits
//!   behind it, of a value of known sign: `15 λ + l + 15 · 12 + 2`. Cheetah does so for less,
//!   which is left out.
//! - SiRNN: a product of 16 by 16 bits in 32 bits, an OT for each bit: `16 λ + 32 + 31 + .. + 17`,
//!   and wraps and truncation, which are left out.
//! - Delphi: multiplication triples by homomorphic encryption, whose bits are not modeled.
//!
//! In all of them a linear element takes no ReLU at all. Here its requantization stays, which is
//! where a ReLU is.

/// A published system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReluSystem {
    /// CrypTFlow2, 37 bits.
    CrypTFlow2,
    /// SiRNN, 16 bits.
    Sirnn,
    /// Cheetah, 37 bits.
    Cheetah,
    /// Delphi, 41 bits.
    Delphi,
}

/// λ.
const LAMBDA: u64 = 128;
/// Bits of a square's messages in 37 bits: a choice for each bit but one, and 36 + .. + 1 back.
const PRODUCT: u64 = 36 + 37 * 36 / 2;

impl ReluSystem {
    /// All systems.
    pub const ALL: [Self; 4] = [Self::CrypTFlow2, Self::Sirnn, Self::Cheetah, Self::Delphi];

    /// Its name, with its width.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CrypTFlow2 => "CrypTFlow2 37 bit",
            Self::Sirnn => "SiRNN 16 bit",
            Self::Cheetah => "Cheetah 37 bit",
            Self::Delphi => "Delphi 41 bit",
        }
    }

    /// Bits of one ReLU.
    pub const fn bits(self) -> u64 {
        match self {
            Self::CrypTFlow2 => (LAMBDA + 18) * 37,
            Self::Sirnn => (LAMBDA + 18) * 16,
            Self::Cheetah => 18 * 37,
            Self::Delphi => 18 * LAMBDA * 41,
        }
    }

    /// Bits of one square, or somewhat less; none where it is not modeled.
    pub const fn square_bits(self) -> Option<u64> {
        match self {
            Self::CrypTFlow2 => Some(36 * LAMBDA + PRODUCT + 15 * LAMBDA + 37 + 15 * 12 + 2),
            Self::Sirnn => Some(16 * LAMBDA + (32 + 17) * 16 / 2),
            Self::Cheetah => Some(PRODUCT),
            Self::Delphi => None,
        }
    }

    /// Bytes of so many.
    pub const fn bytes(self, relus: u64) -> u64 {
        (self.bits() * relus).div_ceil(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_garbled_relu_is_far_above_all_others() {
        let kilobytes = |system: ReluSystem| system.bytes(1000) as f64 / 1e6;
        // Delphi's own figure is about 17 KB before and 2 KB after the input is there.
        assert!((kilobytes(ReluSystem::Delphi) - 11.8).abs() < 0.1);
        let [cryptflow2, sirnn, cheetah, delphi] = ReluSystem::ALL.map(kilobytes);
        assert!(cheetah < sirnn && sirnn < cryptflow2 && cryptflow2 < delphi);
    }
}
