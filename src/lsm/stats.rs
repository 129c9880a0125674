//! Counters of the read path, and what a tree tells about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows; readers add to it without waiting for each other.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the readers and jobs of one tree count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) filter_checked: Counter,
    pub(super) filter_useful: Counter,
    pub(super) filter_false_positive: Counter,
    pub(super) data_blocks_searched: Counter,
    pub(super) blocks_read: Counter,
    pub(super) blocks_cached: Counter,
    pub(super) flushes: Counter,
    pub(super) flushed_bytes: Counter,
    pub(super) compactions: Counter,
    pub(super) moves: Counter,
    pub(super) compacted_bytes_in: Counter,
    pub(super) compacted_bytes_out: Counter,
    pub(super) dead_tables_dropped: Counter,
    pub(super) dead_records_dropped: Counter,
    pub(super) old_views: Counter,
}

/// What a tree has done since it was opened and what it holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Tables of each level, level 0 first.
    pub level_tables: Vec<u64>,
    /// Bytes of the tables of each level, level 0 first.
    pub level_bytes: Vec<u64>,
    /// Sorted runs in level 0.
    pub level0_runs: u64,
    /// Records in all tables, among them older versions and tombstones.
    pub table_records: u64,
    /// Bytes in tables that are known to belong to dead prefixes.
    pub dead_bytes: u64,
    /// Filters that were asked.
    pub filter_checked: u64,
    /// Filters that spared a read.
    pub filter_useful: u64,
    /// Filters that let a key pass which then was not there.
    pub filter_false_positive: u64,
    /// Data blocks that point reads searched.
    pub data_blocks_searched: u64,
    /// Blocks read from files.
    pub blocks_read: u64,
    /// Blocks found in the cache.
    pub blocks_cached: u64,
    /// Memtables flushed.
    pub flushes: u64,
    /// Bytes of the tables that flushes wrote.
    pub flushed_bytes: u64,
    /// Compactions that wrote or dropped tables.
    pub compactions: u64,
    /// Compactions that only moved tables to the next level.
    pub moves: u64,
    /// Bytes of the tables that compactions read.
    pub compacted_bytes_in: u64,
    /// Bytes of the tables that compactions wrote.
    pub compacted_bytes_out: u64,
    /// Tables dropped unread because all their keys were dead.
    pub dead_tables_dropped: u64,
    /// Records dropped because their keys were dead.
    pub dead_records_dropped: u64,
    /// Views that were found to pin a state older than ten seconds.
    pub old_views: u64,
}

impl Counters {
    /// Copies the counters into `stats`.
    pub(super) fn fill(&self, stats: &mut Stats) {
        stats.filter_checked = self.filter_checked.get();
        stats.filter_useful = self.filter_useful.get();
        stats.filter_false_positive = self.filter_false_positive.get();
        stats.data_blocks_searched = self.data_blocks_searched.get();
        stats.blocks_read = self.blocks_read.get();
        stats.blocks_cached = self.blocks_cached.get();
        stats.flushes = self.flushes.get();
        stats.flushed_bytes = self.flushed_bytes.get();
        stats.compactions = self.compactions.get();
        stats.moves = self.moves.get();
        stats.compacted_bytes_in = self.compacted_bytes_in.get();
        stats.compacted_bytes_out = self.compacted_bytes_out.get();
        stats.dead_tables_dropped = self.dead_tables_dropped.get();
        stats.dead_records_dropped = self.dead_records_dropped.get();
        stats.old_views = self.old_views.get();
    }
}
