//! The log on disk, which is the write-ahead log.

use bytes::Bytes;

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
