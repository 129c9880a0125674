//! An ordered byte store; knows no Redis and no Raft.

mod batch;
mod cache;
mod coding;
mod error;
mod family;
pub mod memtable;
mod placeholder;
mod value;
pub use placeholder::{Cursor, View};

pub use batch::{Batch, BatchBuilder};
pub use cache::{Cache, CacheStats};
pub use error::{Error, Result};
pub use family::Family;
pub use value::Value;

/// The place of an entry in the log: the engine's sequence number.
pub type Index = u64;

/// An entry of the log, named as Raft does. To the engine the term is a number that it keeps beside the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Index of the entry; 0 is before the first.
    pub index: Index,
    /// Term of the entry.
    pub term: u64,
}

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Memory only: the caches, and what the system holds of the files. Anything else is [`Error::WouldBlock`].
    Memory,
    /// The thread may block on the disk.
    Disk,
}
