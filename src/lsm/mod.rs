//! An ordered byte store; knows no Redis and no Raft.
//!
//! A log-structured merge tree without a log of its own: the entries that it is fed are in the Raft log already, and a restart
//! feeds it again what its tables do not hold yet. It knows keys, values, and *families*: the first byte of a key, for
//! which the [`Options`] say how the keys look and how they are to be stored.
//!
//! # The write path
//!
//! The one writer owns the [`Tree`] and hands it each committed entry: [`Tree::apply`] puts its effects into the active
//! [memtable], under the index of the entry, and cannot fail. When an entry does not fit any more, the memtable is sealed
//! and the entry goes to a new one; so a memtable ends between two entries, and which entry was its last one is fixed then.
//! [`FlushJob`] writes the oldest sealed memtable as sorted tables, and in one edit of the manifest adds them and says: all up to
//! this entry, and the membership there, is in tables. After [`Tree::install`] the log may be cut up to it.
//! [`CompactionJob`] keeps the tables in order: see [`compaction`].
//!
//! Jobs are plain values that run wherever the caller likes; nothing here makes a thread, reads a clock or draws a random
//! number. What a job achieved is durable when it returns, and is used once it is installed.
//!
//! # The read path
//!
//! A [`View`] is one pointer to what there was when it was made (memtables, and a version: an immutable set of tables) and the
//! index of the last entry that it may see. It never changes, and nothing that it needs goes away before it does; so
//! there are no locks between readers and the writer, and tables need one version of a key only. [`View::get`] asks the row
//! cache, the memtables from the newest on, and the tables from the newest on, where a bloom filter spares nearly all
//! look-ups in tables that do not have the key. The first answer is the newest, and a tombstone is an answer. A
//! [`Cursor`] merges all of them in both directions.
//!
//! A read that may use memory only ([`Access::Memory`]) takes blocks from the cache or from the system's page cache, and is
//! refused with [`Error::WouldBlock`] when it would have to wait for the disk.
//!
//! # Files
//!
//! ```text
//! CURRENT              which generation counts                     generation.rs
//! gen-000001/MANIFEST  the version: tables, levels, flushed index  manifest.rs
//! gen-000001/*.table   sorted records in blocks                    table/mod.rs, block/mod.rs
//! ```
//!
//! Every file that counts is named by one that counted before, is durable before it is named, and carries checksums of
//! all of its bytes. Numbers of files are not used twice. What a crash left behind is named by nobody and is removed when the tree
//! is opened. Each format has its table in the documentation of its module, and a version.
//!
//! # Failures
//!
//! Apart from [`Error::WouldBlock`] and [`Error::WouldTakeLong`], an error is one of this node: the caller stops it. A
//! sync is never tried again, an edit that failed is followed by none, a compaction that cannot read all of its input
//! leaves it in place.
//!
//! # What this relies on, and what it leaves to others
//!
//! - Entries come in the order of the log, without a gap, and only when they are committed and durable here: nothing
//!   is ever taken back, and no table is ahead of the log.
//! - An entry has at most one effect for a key.
//! - There is no range deletion. What makes many keys obsolete at once writes a *grave*, see [`compaction`].
//! - Memory and tables that views hold are counted ([`Tree::debt`]) but not taken away from them.
//! - Who admits writes is to slow down, and who applies is to wait, when [`Debt::pressure`] says so.

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
mod retry;
mod rows;
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
pub(crate) use error::{At, unsynced};
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
    /// Memory only, and not for long: the caches, and what the system holds of the files. Anything else is
    /// [`Error::WouldBlock`] or [`Error::WouldTakeLong`].
    Memory,
    /// The thread may block on the disk.
    Disk,
}
