//! An ordered byte store; knows no Redis and no Raft.

mod batch;
mod block;
mod cache;
mod checkpoint;
mod coding;
pub mod compaction;
mod error;
mod family;
mod flush;
mod generation;
mod manifest;
pub mod memtable;
mod merge;
mod options;
mod stats;
mod store;
mod table;
mod tree;
mod value;
mod verify;
mod version;
mod view;

pub use batch::{Batch, BatchBuilder};
pub use cache::{Cache, CacheStats};
pub use checkpoint::{Checkpoint, CheckpointFile, CheckpointJob};
pub use compaction::CompactionJob;
pub use error::{Error, Result};
pub use family::Family;
pub use flush::FlushJob;
pub use options::{Levels, Options};
pub use stats::Stats;
pub use tree::{Debt, Installed, Tree};
pub use value::Value;
pub use verify::{Verified, VerifyJob};
pub use version::Flushed;
pub use view::{Cursor, View};

pub use crate::log::{Index, Position};

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Memory only: the caches, and what the system holds of the files. Anything else is [`Error::WouldBlock`].
    Memory,
    /// The thread may block on the disk.
    Disk,
}
