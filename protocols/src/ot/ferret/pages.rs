//! Blocks on huge pages: what is read at random, and is larger than the pages that a processor's
//! buffers of translations know.

use std::ops::{Deref, DerefMut, Range};

use memmap2::MmapMut;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::Block;

/// A huge page of x86-64 and of most others.
const HUGE: usize = 2 << 20;

/// Blocks in memory of their own, wiped where they are dropped.
pub(super) enum Pages {
    /// A mapping, and the bytes of it that are used: they start with a huge page.
    Mapped(MmapMut, Range<usize>),
    /// Where there are no mappings.
    Heap(Vec<Block>),
}

impl Pages {
    /// A copy of some blocks. Huge pages are asked for, not insisted on.
    pub(super) fn copy(blocks: &[Block]) -> Self {
        let mut pages = Self::zeros(blocks.len());
        pages.copy_from_slice(blocks);
        pages
    }

    /// No blocks.
    pub(super) const fn none() -> Self {
        Self::Heap(Vec::new())
    }

    /// Zeros.
    pub(super) fn zeros(len: usize) -> Self {
        let bytes = len * Block::BYTES;
        let Ok(map) = MmapMut::map_anon(bytes + HUGE) else {
            return Self::Heap(vec![Block::ZERO; len]);
        };
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let start = map.as_ptr().align_offset(HUGE).min(HUGE);
        Self::Mapped(map, start..start + bytes)
    }
}

impl Deref for Pages {
    type Target = [Block];

    fn deref(&self) -> &[Block] {
        match self {
            Self::Mapped(map, bytes) => bytemuck::cast_slice(&map[bytes.clone()]),
            Self::Heap(blocks) => blocks,
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [Block] {
        match self {
            Self::Mapped(map, bytes) => bytemuck::cast_slice_mut(&mut map[bytes.clone()]),
            Self::Heap(blocks) => blocks,
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        (**self).zeroize();
    }
}

impl ZeroizeOnDrop for Pages {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_what_was_copied_and_start_with_a_huge_page() {
        for len in [0, 1, 1000, 200_000] {
            let blocks: Vec<Block> = (0..len).map(Block).collect();
            let mut pages = Pages::copy(&blocks);
            assert!(*pages == blocks[..]);
            if let Pages::Mapped(map, bytes) = &pages {
                assert!(map[bytes.start..].as_ptr().cast::<Block>().is_aligned());
                assert_eq!(map[bytes.start..].as_ptr() as usize % HUGE, 0);
            }
            pages.fill(Block(7));
            assert!(pages.iter().all(|block| *block == Block(7)));
        }
    }
}
