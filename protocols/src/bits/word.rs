//! Machine words that hold ring elements inside the linear kernels: the dispatch on word size
//! happens here and nowhere else.

use bytemuck::Pod;
use num_traits::{PrimInt, Unsigned, WrappingAdd, WrappingMul, WrappingSub};

use super::Bits;
use crate::Block;

/// A word of which a block holds [`Word::LANES`].
pub(crate) trait Word:
    PrimInt
    + Unsigned
    + Default
    + WrappingAdd
    + WrappingMul
    + WrappingSub
    + Pod
    + Send
    + Sync
    + Into<u64>
{
    /// Bits of the word.
    const BITS: u32;
    /// Words in a block.
    const LANES: usize = Block::BYTES * 8 / Self::BITS as usize;

    /// The low bits of a ring element.
    fn truncate(value: u64) -> Self;
}

macro_rules! word {
    ($($word:ty),*) => {$(
        impl Word for $word {
            const BITS: u32 = <$word>::BITS;

            fn truncate(value: u64) -> Self {
                value as Self
            }
        }
    )*};
}

word!(u16, u32, u64);

/// Calls a function with the smallest word that holds a ring.
macro_rules! with_word {
    ($ring:expr, $function:ident::<_>($($argument:expr),* $(,)?) $(.$await:tt)?) => {
        match $crate::bits::word_bits($ring) {
            16 => $function::<u16>($($argument),*)$(.$await)?,
            32 => $function::<u32>($($argument),*)$(.$await)?,
            _ => $function::<u64>($($argument),*)$(.$await)?,
        }
    };
}
pub(crate) use with_word;

/// Bits of the smallest word that holds a ring: 16, 32 or 64.
pub(crate) const fn word_bits(ring: Bits) -> u32 {
    match ring.get() {
        0..=16 => 16,
        17..=32 => 32,
        _ => 64,
    }
}
