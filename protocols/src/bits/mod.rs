//! Bit widths, bit strings, the machine words that hold ring elements, and how all of them become
//! bytes.

mod hex;
mod pack;
mod string;
mod width;
mod word;

pub use hex::hex;
pub use string::BitString;
pub(crate) use string::gather;
pub use width::Bits;
pub(crate) use word::{Word, with_word, word_bits};
