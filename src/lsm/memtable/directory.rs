//! Directories: for keys that share their first bits and are uniform behind them, an array of lists.
//!
//! The bits behind the shared prefix choose a slot, whose list holds about one key, so that a search starts near its
//! end. Slots are in key order. Which of them are in use is told by bitmaps, one bit a slot, and above that one bit a
//! word until one word is left: what follows an empty stretch is found in a few steps.
#![expect(
    clippy::cast_possible_truncation,
    reason = "the window of a key is shifted to the bits that are kept"
)]

use smallvec::SmallVec;

use super::{
    arena::{Arena, Offset, prefix_word},
    list::TAG_BITS,
};

/// One directory. Its words are in the arena.
pub(super) struct Directory {
    /// The first `skip` bits of every key in it, the rest zero.
    prefix: u64,
    mask: u64,
    skip: u32,
    bits: u32,
    slots: Offset,
    /// The bitmaps, that of the slots first.
    bitmaps: SmallVec<[Offset; 4]>,
}

/// Returns how many words a directory of `1 << bits` slots takes.
pub(super) fn directory_words(bits: u32) -> usize {
    let mut words = 1 << bits;
    let mut used = 1 << bits;
    while used > 1 {
        used = usize::div_ceil(used, 64);
        words += used;
    }
    words
}

impl Directory {
    /// Makes the directory of the keys that begin as `key` does, in the `directory_words(bits)` words at `at`.
    pub(super) fn new(key: &[u8], skip: u32, bits: u32, at: Offset) -> Self {
        assert!((1..=64).contains(&skip), "a prefix is in the first 8 bytes");
        assert!(1 <= bits && bits + TAG_BITS <= 64);
        let mask = u64::MAX << (64 - skip);
        let mut bitmaps = SmallVec::new();
        let mut used: Offset = 1 << bits;
        let mut next = at + used;
        while used > 1 {
            bitmaps.push(next);
            used = used.div_ceil(64);
            next += used;
        }
        Self { prefix: prefix_word(key) & mask, mask, skip, bits, slots: at, bitmaps }
    }

    /// How the first bits of `key` compare with those of this directory.
    #[inline]
    pub(super) fn compare(&self, key: &[u8]) -> std::cmp::Ordering {
        (prefix_word(key) & self.mask).cmp(&self.prefix)
    }

    /// Whether `prefix`, the first word of a key, is that of this directory's keys.
    #[inline]
    pub(super) fn holds(&self, prefix: u64) -> bool {
        prefix & self.mask == self.prefix
    }

    /// Orders directories as their keys.
    pub(super) fn prefix(&self) -> u64 {
        self.prefix
    }

    /// Returns the slot of `key`, which this directory holds, and its tag there.
    #[inline]
    pub(super) fn place(&self, key: &[u8]) -> (Offset, u32) {
        let behind = key.get(8..).map_or(0, prefix_word);
        let window = (u128::from(prefix_word(key)) << 64 | u128::from(behind)) << self.skip;
        // The shifts leave `bits` and `TAG_BITS` bits.
        let slot = (window >> (128 - self.bits)) as Offset;
        let tag = ((window << self.bits) >> (128 - TAG_BITS)) as u32;
        (self.slots + slot, tag)
    }

    /// Remembers that the slot is in use.
    pub(super) fn mark(&self, arena: &Arena, slot: Offset) {
        let mut bit = slot - self.slots;
        for &bitmap in &self.bitmaps {
            let at = bitmap + bit / 64;
            let word = arena.read(at);
            arena.publish(at, word | 1 << (bit % 64));
            if word != 0 {
                return;
            }
            bit /= 64;
        }
    }

    /// Returns the first slot in use at or behind `slot`, which may be one past the last.
    fn used_from(&self, arena: &Arena, slot: Offset) -> Option<Offset> {
        let mut bit = slot - self.slots;
        // Up until a word has a bit at or behind the place, then down along first bits.
        for (level, &bitmap) in self.bitmaps.iter().enumerate() {
            if bit >= (1 << self.bits >> (6 * level)).max(1) {
                return None;
            }
            let rest = arena.follow(bitmap + bit / 64) & (u64::MAX << (bit % 64));
            if rest != 0 {
                bit = bit / 64 * 64 + rest.trailing_zeros();
                for &below in self.bitmaps[..level].iter().rev() {
                    bit = bit * 64 + arena.follow(below + bit).trailing_zeros();
                }
                return Some(self.slots + bit);
            }
            bit = bit / 64 + 1;
        }
        None
    }

    /// Returns the last slot in use before `slot`.
    pub(super) fn used_before(&self, arena: &Arena, slot: Offset) -> Option<Offset> {
        let mut end = slot - self.slots;
        for (level, &bitmap) in self.bitmaps.iter().enumerate() {
            if end == 0 {
                return None;
            }
            let bit = end - 1;
            let rest = arena.follow(bitmap + bit / 64) & (u64::MAX >> (63 - bit % 64));
            if rest != 0 {
                let mut bit = bit / 64 * 64 + 63 - rest.leading_zeros();
                for &below in self.bitmaps[..level].iter().rev() {
                    bit = bit * 64 + 63 - arena.follow(below + bit).leading_zeros();
                }
                return Some(self.slots + bit);
            }
            end = bit / 64;
        }
        None
    }

    /// Returns the first slot in use behind `slot`.
    pub(super) fn used_after(&self, arena: &Arena, slot: Offset) -> Option<Offset> {
        self.used_from(arena, slot + 1)
    }

    /// Returns the first slot in use.
    pub(super) fn first(&self, arena: &Arena) -> Option<Offset> {
        self.used_from(arena, self.slots)
    }

    /// Returns the last slot in use.
    pub(super) fn last(&self, arena: &Arena) -> Option<Offset> {
        self.used_before(arena, self.slots + (1 << self.bits))
    }
}
