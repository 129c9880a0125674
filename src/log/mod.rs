//! The log on disk, which is the write-ahead log: what is in it and synced survives, what is not was never promised.
//!
//! [`Log`] is the one writer; [`LogReader`]s read entries by index, also while it writes. Both are plain objects: who
//! calls [`Log::sync`], and on which thread, is the driver's choice.
//!
//! # Files
//!
//! | Name in the log's directory | What it is |
//! |---|---|
//! | `segment-NNNNNNNNNNNNNNNN-EEEEEEEEEEEEEEEE` | segment number N of epoch E, both in hexadecimal |
//! | `spare-KKKKKKKKKKKKKKKK` | a file of the size of a segment, written and synced, of no meaning |
//! | `filling-KKKKKKKKKKKKKKKK` | a spare that is being written; removed at the next start |
//!
//! Segments are numbered without gaps. A segment is written once, from its start, into blocks that were written and
//! synced before: in a spare, which is either a file of zeros prepared ahead of need or a segment that was cut. That
//! makes fdatasync cheap, since only data changes. The next segment has its name, and that name is durable, before it is
//! needed. An entry that is longer than a segment gets a segment to itself, which grows; it is not used again. Nor is one
//! that was begun as an empty file, because the disk had no room for zeros: a log that is short of room takes no more of
//! it than its records need.
//!
//! The **epoch** is a random number of each start (each [`Log::open`]). It is never shown to clients, so that no bytes
//! of theirs can be taken for a record; it is in the name of the file, so that records are known for what they are even
//! when the head of their segment is damaged.
//!
//! # Format, version 1
//!
//! A segment is a row of records; each starts at a multiple of 64 bytes. Numbers are little-endian.
//!
//! | Offset | Bytes | Field |
//! |---|---|---|
//! | 0 | 4 | CRC32C of bytes 4 to the end of the body, started with the record's offset / 64 |
//! | 4 | 4 | length of the body in bytes |
//! | 8 | 8 | tag: epoch + number × 0x9E3779B97F4A7C15, wrapping |
//! | 16 | 8 | index |
//! | 24 | 8 | term |
//! | 32 | 4 | `durable_to` / 64: the log is known to be durable up to that offset of this segment, and with it all earlier segments |
//! | 36 | 1 | kind |
//! | 37 | 3 | 0 |
//! | 40 | length | body |
//!
//! | Kind | Record | Index and term | Body |
//! |---|---|---|---|
//! | 1 | head: the first record of a segment | the last entry before the segment | below |
//! | 2 | hard state | index = vote (0 is nobody) | none |
//! | 3 | mark: carries `durable_to` and nothing else | the last entry | none |
//! | 4 | truncate | the entry that is now the last | none |
//! | 5 | reset | the entry that the next one follows | none |
//! | 17 | entry with effects | its own | the entry's |
//! | 18 | entry without | its own | the entry's |
//! | 19 | entry with a membership | its own | the entry's |
//!
//! | Offset in the body of a head | Bytes | Field |
//! |---|---|---|
//! | 0 | 8 | `SISYPLOG` |
//! | 8 | 1 | version: 1 |
//! | 9 | 7 | 0 |
//! | 16 | 8 | segment number |
//! | 24 | 8 | term, and |
//! | 32 | 8 | vote before the segment |
//! | 40 | 8 | where the segment before ends, in bytes |
//!
//! The tag says that a record belongs to this segment of this epoch, the checksum also that it belongs at its place: the
//! old records of a recycled file carry another tag, whatever they say.
//!
//! # Rules
//!
//! - **Durable.** What was written is safe when [`Log::sync`] has returned; a write or sync that fails is never tried
//!   again, and the log refuses everything after it.
//! - **Old before new.** A segment is durable before the first byte of the next is written; the head of the next states
//!   where it ends. A segment is cut only when the head of the next is durable, and segments are cut in order.
//! - **Tail.** Every record states how far the log was durable when it was written; when idle, a mark does. At a start, let
//!   X be the first bad record. If X lies before the stated end of a segment that is not the newest one with a head, or if
//!   a good record of the same segment says `durable_to` > X, or if X was begun and so was the next segment, synced data was damaged: [`Error::Corrupt`]. Otherwise X is
//!   the torn end of what was never acknowledged, and everything from X on is dropped, good or not.
//! - **Start.** The newest segment is synced, forgotten by the page cache and read again, then closed for ever: a new
//!   segment with a new epoch, and {term, vote} at its head, is durable before [`Log::open`] returns. If the disk is full,
//!   it gets the room of what the closed one does not use.
//!
//! # Caveats
//!
//! - Damage to the very last synced records, with no later record that says they were synced, looks like a torn tail. The
//!   mark that [`Log::idle`] writes keeps that window small; it is not synced by itself.
//! - Entries are found by an offset every 64 KiB, so a read by index may skip that much.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod contents;
mod reader;
mod record;
mod recovery;
mod scan;
mod segment;
mod spares;
#[cfg(test)]
mod tests;
mod writer;

use std::io;

use bytes::Bytes;

pub use reader::LogReader;
pub use recovery::{Recovered, Torn};
pub use writer::{Counters, Log};

use crate::disk::{self, SyncError};

/// The place of an entry in the log; the first entry is 1.
pub type Index = u64;

/// A term of Raft.
pub type Term = u64;

/// An index and the term of the entry there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The index; 0 stands before the first entry.
    pub index: Index,
    /// The term of the entry at the index.
    pub term: Term,
}

/// What the body of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Effects on the tree.
    Effects = 1,
    /// Nothing; opens a leadership.
    Noop = 2,
    /// A membership.
    Configuration = 3,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index.
    pub index: Index,
    /// The term of the leader that made it.
    pub term: Term,
    /// What its body is.
    pub kind: EntryKind,
    /// What it says; the log does not look into it.
    pub body: Bytes,
}

impl Entry {
    /// Its index and term.
    pub fn position(&self) -> Position {
        Position { index: self.index, term: self.term }
    }

    /// What it takes in the log, in bytes.
    pub fn log_bytes(&self) -> u64 {
        record::record_bytes(self.body.len() as u64)
    }
}

/// What a voter must never forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term seen.
    pub term: Term,
    /// Who got the vote in that term; 0 is nobody.
    pub vote: u64,
}

/// One change of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Replaces the hard state.
    HardState(HardState),
    /// Appends an entry, whose index is the last plus one.
    Entry(Entry),
    /// Drops the entries from `from` on.
    Truncate {
        /// The first index that is dropped.
        from: Index,
    },
    /// Drops all entries; the next is the one after this position. The hard state stays.
    Reset(Position),
}

/// How the log uses the disk.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The size of a segment; a multiple of 64, at least 512.
    pub segment_bytes: u64,
    /// How many cut segments are kept for use again; the others are removed.
    pub spares: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, spares: 4 }
    }
}

/// Why the log cannot go on. Every one of these ends the node: none is answered to a client and none is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk failed.
    #[error("{what} {file}: {source}")]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// The file or directory.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// A sync failed.
    #[error("sync {file}: {source}")]
    Sync {
        /// The file or directory.
        file: String,
        /// What the disk said.
        source: SyncError,
    },
    /// What was once synced is not there any more.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}

impl Error {
    /// Whether the disk is full. A sync that found no room is something else: see [`SyncError`].
    fn is_no_room(&self) -> bool {
        matches!(self, Error::Io { source, .. } if disk::is_no_room(source))
    }
}

/// The result of what the log does.
pub type Result<T> = std::result::Result<T, Error>;

/// Makes an I/O error of the log; used as `.map_err(failed("write", path))`.
fn failed(what: &'static str, file: &str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what, file: file.to_owned(), source }
}

/// Makes the error of a sync; used as `.map_err(unsynced(path))`.
fn unsynced(file: &str) -> impl FnOnce(SyncError) -> Error {
    move |source| Error::Sync { file: file.to_owned(), source }
}

fn corrupt<T>(file: &str, offset: u64, what: impl Into<String>) -> Result<T> {
    Err(Error::Corrupt { file: file.to_owned(), offset, what: what.into() })
}
