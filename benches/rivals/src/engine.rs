//! What every engine is asked to do, and the settings that all of them share.

use std::path::Path;

/// What is the same for all: buffers, blocks, filters, compression below level 1, no log, one writer.
#[derive(Clone, Copy)]
pub struct Settings {
    /// Bytes of one memtable; two may exist.
    pub memtable_bytes: usize,
    /// Aimed size of a block before compression.
    pub block_bytes: usize,
    /// Bits of bloom filter for each key.
    pub filter_bits: u32,
    /// Bytes for cached blocks.
    pub cache_bytes: usize,
    /// Aimed size of a table.
    pub table_bytes: u64,
    /// Bytes of level 1; each level below holds ten times more.
    pub level_one_bytes: u64,
    /// Tables of level 0 that start a compaction.
    pub level_zero_tables: u8,
}

/// The settings of every measurement: small enough that a run of two million keys has three levels.
pub const MEASURED: Settings = Settings {
    memtable_bytes: 32 << 20,
    block_bytes: 4096,
    filter_bits: 10,
    cache_bytes: 256 << 20,
    table_bytes: 32 << 20,
    level_one_bytes: 128 << 20,
    level_zero_tables: 4,
};

/// One write: a key, and its value or none for a deletion.
pub type Write = (Vec<u8>, Option<Vec<u8>>);

/// An engine under test. All methods act at once; background work goes on in threads of its own.
pub trait Engine {
    /// Opens an empty store in `dir`.
    fn open(dir: &Path, settings: &Settings) -> Self
    where
        Self: Sized;

    /// Applies a batch, in order; waits when the engine has fallen behind.
    fn write(&mut self, batch: &[Write]);

    /// Appends the value of `key` to `value`; false if there is none.
    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> bool;

    /// Visits up to `count` records from `from` on.
    fn scan(&mut self, from: &[u8], count: usize, visit: &mut dyn FnMut(&[u8], &[u8]));

    /// Flushes what is in memory, and waits until no compaction is due.
    fn settle(&mut self);

    /// What its filters say: (checked, useful, false positives), where it counts them.
    fn filters(&self) -> Option<(u64, u64, u64)>;
}
