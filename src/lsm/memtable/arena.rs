//! The arena: one allocation of 64-bit words, filled from the front by the one writer.
//!
//! Words that hold keys and values are written once, Relaxed, before anything leads to them. Words that lead somewhere
//! (links) are stored with Release and loaded with Acquire: who follows a link sees what it leads to.

use crate::{
    bugs::{self, Bug},
    sync::{AtomicU64, Ordering, zeroed_words},
};

/// A place in the arena, counted in words. 0 leads nowhere: word 0 is never given out.
pub(super) type Offset = u32;

/// Offsets have 31 bits; the top one is a mark of `list::Link`.
const WORDS_MAX: usize = 1 << 31;

/// Fixed memory for one memtable.
pub(super) struct Arena {
    words: Box<[AtomicU64]>,
}

impl Arena {
    /// Makes an arena of `count` words, all zero.
    pub(super) fn new(count: usize) -> Self {
        assert!(count <= WORDS_MAX, "an arena has at most 16 GiB");
        Self { words: zeroed_words(count) }
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// Loads a word that was written before whatever led the caller here.
    #[inline]
    pub(super) fn read(&self, at: Offset) -> u64 {
        self.words[at as usize].load(Ordering::Relaxed)
    }

    /// Loads a word for the sake of its cache line. It may be any.
    #[inline]
    pub(super) fn peek(&self, at: Offset) -> u64 {
        self.words.get(at as usize).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Stores a word that nothing leads to yet.
    #[inline]
    pub(super) fn write(&self, at: Offset, word: u64) {
        self.words[at as usize].store(word, Ordering::Relaxed);
    }

    /// Loads a link.
    #[inline]
    pub(super) fn follow(&self, at: Offset) -> u64 {
        self.words[at as usize].load(Ordering::Acquire)
    }

    /// Stores a link: all that was written before becomes visible to those who follow it.
    #[inline]
    pub(super) fn publish(&self, at: Offset, word: u64) {
        let order = match bugs::on(Bug::MemtablePublishRelaxed) {
            true => Ordering::Relaxed,
            false => Ordering::Release,
        };
        self.words[at as usize].store(word, order);
    }

    /// Writes bytes into whole words, the first byte on top, so that words compare as the bytes do. The last word is
    /// filled up with zeros.
    #[inline]
    pub(super) fn write_bytes(&self, at: Offset, bytes: &[u8]) {
        let words = &self.words[at as usize..][..words_of(bytes.len())];
        let (whole, tail) = bytes.as_chunks::<8>();
        for (word, chunk) in words.iter().zip(whole) {
            word.store(u64::from_be_bytes(*chunk), Ordering::Relaxed);
        }
        if !tail.is_empty() {
            words[whole.len()].store(tail_word(bytes, tail.len()), Ordering::Relaxed);
        }
    }

    /// Fills `bytes` with what [`Arena::write_bytes`] wrote.
    #[inline]
    pub(super) fn read_bytes(&self, at: Offset, bytes: &mut [u8]) {
        let words = &self.words[at as usize..][..words_of(bytes.len())];
        let (whole, tail) = bytes.as_chunks_mut::<8>();
        for (word, chunk) in words.iter().zip(whole.iter_mut()) {
            *chunk = word.load(Ordering::Relaxed).to_be_bytes();
        }
        if !tail.is_empty() {
            let last = words[whole.len()].load(Ordering::Relaxed).to_be_bytes();
            tail.copy_from_slice(&last[..tail.len()]);
        }
    }

    /// Compares the `key_bytes` bytes that are kept from `at` on with `key`.
    #[inline]
    pub(super) fn compare(&self, at: Offset, key_bytes: usize, key: &[u8]) -> std::cmp::Ordering {
        let words = &self.words[at as usize..][..words_of(key_bytes)];
        let (whole, tail) = key.as_chunks::<8>();
        for (word, chunk) in words.iter().zip(whole) {
            let (mine, other) = (word.load(Ordering::Relaxed), u64::from_be_bytes(*chunk));
            if mine != other {
                return mine.cmp(&other);
            }
        }
        if !tail.is_empty()
            && let Some(word) = words.get(whole.len())
        {
            let (mine, other) = (word.load(Ordering::Relaxed), tail_word(key, tail.len()));
            if mine != other {
                return mine.cmp(&other);
            }
        }
        // Filling up with zeros keeps the order except between a key and the same key with zero bytes behind it.
        key_bytes.cmp(&key.len())
    }

    /// Compares `count` words from `a` on with those from `b` on.
    pub(super) fn compare_words(&self, a: Offset, b: Offset, count: usize) -> std::cmp::Ordering {
        let words = |at: Offset| self.words[at as usize..][..count].iter();
        words(a)
            .map(|word| word.load(Ordering::Relaxed))
            .cmp(words(b).map(|word| word.load(Ordering::Relaxed)))
    }
}

/// How many words hold `bytes_len` bytes.
#[inline]
pub(super) const fn words_of(bytes_len: usize) -> usize {
    bytes_len.div_ceil(8)
}

/// Returns the last `tail_len` (1 to 7) bytes of `bytes` as the top of a word.
#[inline]
fn tail_word(bytes: &[u8], tail_len: usize) -> u64 {
    if let Some(last) = bytes.last_chunk::<8>() {
        return u64::from_be_bytes(*last) << (64 - 8 * tail_len);
    }
    prefix_word(bytes)
}

/// Returns the first 8 bytes as a word, filled up with zeros.
#[inline]
pub(super) fn prefix_word(bytes: &[u8]) -> u64 {
    if let Some(first) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(word)
}
