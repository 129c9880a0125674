//! Compaction: merges tables so that reads look into few of them, and drops what no read can reach.
//!
//! `pick` decides and does nothing; [`CompactionJob`] does what was decided. There is one at a time; memtables are
//! flushed meanwhile.
//!
//! **Levels.** Level 0 holds runs as they were flushed. The *base level* is the one that level 0 is merged into: the
//! deepest one as long as that is small, then the one above, and so on, so that each level holds about a tenth of what is
//! below it and nearly all bytes are in the bottom one, which has one version of each key.
//!
//! **The cache.** What is merged goes around the cache, but for this: a block most of whose records were in it, in the
//! tables that they come from, is put there at once, and the blocks of tables that are gone leave it. So readers find it as warm as
//! before, and no fuller.
//!
//! **What is dropped.** Of several records of a key all but the newest: views need no older ones, since each pins the tables
//! and memtables it was made with. A tombstone, once no older record of its key can lie in a deeper level. And what is dead:
//!
//! **Graves.** One family, if the options name it, holds *graves*: a key of that family, without its first byte, is a prefix;
//! every record whose key has that prefix and whose index is below the grave's is garbage, which nobody reads any more. A
//! compaction drops such records wherever they are, and a table of nothing else goes unread. Only graves that are in tables of
//! the version that is compacted count: they are not above its flushed index, and neither is what they kill. A grave that is only
//! in the memtable may be lost in a crash, or replayed on another node from a checkpoint without it, and then the entries
//! before it read what it killed. A grave itself is dropped when no table of the version has a key with its prefix: what is not
//! in tables yet is newer than the grave.

mod graves;
mod job;
mod outputs;
mod picker;

pub(super) use graves::dead_in;
pub use job::CompactionJob;
pub(super) use outputs::Outputs;
pub(super) use picker::{Plan, pending_bytes, pick};

#[cfg(test)]
mod tests;
