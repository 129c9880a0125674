//! Bytes on their way to a client, in memory; whoever owns the socket writes them.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// A value of at least this many bytes is queued by reference instead of copied.
pub const SHARED_BYTES_MIN: usize = 16 * 1024;
/// A tail that has grown beyond this many bytes is given back once it is empty.
const TAIL_BYTES_KEPT: usize = 64 * 1024;
/// A header whose place is known late is moved in by copying at most this many bytes; else the bytes are split there.
const INSERT_BYTES_MAX: usize = 4 * 1024;

/// Encoded replies in order: sealed chunks, then a tail that is being written.
///
/// Positions are counted from the first byte ever appended, so that they survive [`Outbox::advance`].
#[derive(Debug, Default)]
pub struct Outbox {
    chunks: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Bytes of `tail` that have been taken. Invariant: 0 while there are chunks.
    taken: usize,
    /// Bytes in `chunks`.
    chunk_bytes: usize,
    /// The position of the first byte that is still here.
    start: u64,
}

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.chunk_bytes + self.tail.len() - self.taken
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many pieces wait: what `CLIENT LIST` calls `oll`.
    pub fn pieces(&self) -> usize {
        self.chunks.len()
    }

    /// What the outbox takes of memory, in bytes, with the room that it keeps.
    pub fn memory_bytes(&self) -> usize {
        self.chunk_bytes + self.tail.capacity() + self.chunks.capacity() * size_of::<Bytes>()
    }

    /// The position behind the last byte.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.start + self.len() as u64
    }

    /// Where replies are written.
    #[inline]
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends bytes that are shared, not copied.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.seal();
        self.chunk_bytes += bytes.len();
        self.chunks.push_back(bytes);
    }

    /// Appends all of `other`: by copy if it is short, else by reference.
    pub fn append(&mut self, mut other: Self) {
        if self.is_empty() {
            other.start = self.end();
            *self = other;
            return;
        }
        if other.chunks.is_empty() && other.len() < SHARED_BYTES_MIN {
            self.tail.extend_from_slice(&other.tail[other.taken..]);
            return;
        }
        other.seal();
        self.seal();
        self.chunk_bytes += other.chunk_bytes;
        self.chunks.append(&mut other.chunks);
    }

    /// Fills `slices` with what is to be written next, in order; returns how many were used.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = &self.tail[self.taken..];
        let parts = self.chunks.iter().map(|chunk| &chunk[..]).chain((!tail.is_empty()).then_some(tail));
        let mut used = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            used += 1;
        }
        used
    }

    /// Drops the first `bytes`, which have been written.
    pub fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.len(), "more was written than there was");
        self.start += bytes as u64;
        let mut left = bytes;
        while let Some(front) = self.chunks.front_mut() {
            if left < front.len() {
                front.advance(left);
                self.chunk_bytes -= left;
                return;
            }
            left -= front.len();
            self.chunk_bytes -= front.len();
            self.chunks.pop_front();
        }
        self.taken += left;
        if self.taken == self.tail.len() {
            self.reset_tail();
        }
    }

    /// The same replies once more; what is shared stays shared.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let mut copy = Self::new();
        self.chunks.iter().for_each(|chunk| copy.push(chunk.clone()));
        copy.tail().extend_from_slice(&self.tail[self.taken..]);
        copy
    }

    /// All of it, in one piece.
    pub fn into_bytes(mut self) -> Bytes {
        self.seal();
        if self.chunks.len() == 1 {
            return self.chunks.pop_front().expect("there is one");
        }
        let mut bytes = BytesMut::with_capacity(self.len());
        self.chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        bytes.freeze()
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.start = self.end();
        self.chunks.clear();
        self.chunk_bytes = 0;
        self.reset_tail();
    }

    /// Drops what was appended at and behind the position `end`.
    pub(super) fn truncate(&mut self, end: u64) {
        assert!(self.start <= end && end <= self.end(), "the mark is not in what waits");
        let mut surplus = usize::try_from(self.end() - end).expect("no longer than what waits");
        let from_tail = surplus.min(self.tail.len() - self.taken);
        self.tail.truncate(self.tail.len() - from_tail);
        surplus -= from_tail;
        self.chunk_bytes -= surplus;
        while surplus > 0 {
            let back = self.chunks.back_mut().expect("the surplus lies in the chunks");
            if surplus < back.len() {
                back.truncate(back.len() - surplus);
                return;
            }
            surplus -= back.len();
            self.chunks.pop_back();
        }
    }

    /// Inserts a short `header` at the position `at`.
    pub(super) fn insert(&mut self, at: u64, header: &[u8]) {
        assert!(self.start <= at && at <= self.end(), "the place is not in what waits");
        let offset = usize::try_from(at - self.start).expect("no longer than what waits");
        if offset >= self.chunk_bytes {
            let place = self.taken + offset - self.chunk_bytes;
            if self.tail.len() - place <= INSERT_BYTES_MAX {
                self.tail.splice(place..place, header.iter().copied());
                return;
            }
        }
        self.seal();
        let (mut index, mut before) = (0, 0);
        while before + self.chunks[index].len() <= offset {
            before += self.chunks[index].len();
            index += 1;
        }
        let behind = self.chunks[index].split_off(offset - before);
        let first = if self.chunks[index].is_empty() { index } else { index + 1 };
        if first == index {
            self.chunks[index] = behind;
        } else {
            self.chunks.insert(first, behind);
        }
        self.chunks.insert(first, Bytes::copy_from_slice(header));
        self.chunk_bytes += header.len();
    }

    /// Turns the tail into a chunk.
    fn seal(&mut self) {
        let mut bytes = Bytes::from(std::mem::take(&mut self.tail));
        bytes.advance(std::mem::take(&mut self.taken));
        if !bytes.is_empty() {
            self.chunk_bytes += bytes.len();
            self.chunks.push_back(bytes);
        }
    }

    fn reset_tail(&mut self) {
        self.taken = 0;
        self.tail.clear();
        if self.tail.capacity() > TAIL_BYTES_KEPT {
            self.tail = Vec::new();
        }
    }
}
