//! What a tree is told when it is opened. None of it is kept on disk: it may differ at the next start.

use std::sync::Arc;

use super::{Cache, Family};

/// How a tree is set up.
#[derive(Clone)]
pub struct Options {
    /// By the first byte of a key.
    pub families: &'static [Family],
    /// The family whose keys, without their first byte, are prefixes of keys that are dead: see
    /// [the compaction](super::compaction).
    pub graves: Option<u8>,
    /// Holds blocks, indexes, filters and rows; may be shared with other trees.
    pub cache: Arc<Cache>,
    /// Size of a memtable, in bytes. A larger entry gets a larger one of its own.
    pub memtable_bytes: usize,
    /// Bytes of all memtables, those that only views still hold included, at which the node has to stop applying.
    pub memtables_bytes_max: u64,
    /// The shape of the levels.
    pub levels: Levels,
    /// Runs in level 0 at which the node has to stop applying.
    pub level0_runs_max: usize,
    /// Bytes that wait for compaction at which the node has to stop applying.
    pub pending_bytes_max: u64,
    /// Free bytes of the disk that are left to the log. A flush that would take them gives up, and so does a compaction that
    /// would take them or what memtables need. 0: who writes first has the room.
    pub log_room_bytes: u64,
    /// Records from one restart point of a data block to the next.
    pub restart_interval: usize,
    /// Size of an index block, in bytes; each comes with one filter.
    pub index_bytes: usize,
    /// Bits of a filter for each key.
    pub filter_bits_per_key: usize,
}

/// The shape of the levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Runs in level 0 at which they are merged.
    pub level0_runs: usize,
    /// Largest size of the level that level 0 is merged into, in bytes.
    pub base_bytes: u64,
    /// How many times larger each level is than the one above.
    pub fan_out: u64,
    /// Size at which a table ends, in bytes.
    pub table_bytes: u64,
    /// From this level on, blocks are compressed; `usize::MAX`: nowhere.
    pub compress_from: usize,
}

impl Default for Levels {
    fn default() -> Self {
        Levels { level0_runs: 6, base_bytes: 256 << 20, fan_out: 8, table_bytes: 32 << 20, compress_from: 2 }
    }
}

impl Options {
    /// The defaults, for a memtable of `memtable_bytes`.
    ///
    /// A second level between level 0 and the bottom pays from about six times the bytes of a full level 0 on: merging B bytes into
    /// S costs 1 + S/B, in two steps of equal ratio 2 + 2·√(S/B).
    pub fn new(families: &'static [Family], cache: Arc<Cache>, memtable_bytes: usize) -> Options {
        let mut levels = Levels::default();
        levels.base_bytes = 6 * levels.level0_runs as u64 * memtable_bytes as u64;
        Options {
            families,
            graves: None,
            cache,
            memtable_bytes,
            memtables_bytes_max: 4 * memtable_bytes as u64,
            levels,
            level0_runs_max: 24,
            pending_bytes_max: 16 << 30,
            log_room_bytes: 0,
            restart_interval: 8,
            index_bytes: 4 << 10,
            filter_bits_per_key: 10,
        }
    }

    /// Asserts what the engine relies on.
    pub(super) fn check(&self) {
        assert!(!self.families.is_empty(), "a key begins with its family");
        assert!(self.families.len() <= 256, "a family is one byte");
        assert!(
            self.graves.is_none_or(|family| usize::from(family) < self.families.len()),
            "graves are a family"
        );
        assert!(self.levels.level0_runs >= 1, "level 0 is merged at some time");
        assert!(self.levels.level0_runs < self.level0_runs_max, "merging has to begin before all stops");
        assert!(self.levels.fan_out >= 2, "levels grow");
        assert!(self.levels.table_bytes >= 1, "a table holds something");
        assert!(self.memtable_bytes as u64 <= self.memtables_bytes_max, "one memtable has to be allowed");
    }
}
