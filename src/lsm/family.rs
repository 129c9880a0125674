//! Families: what the engine is told about the keys that begin with a given byte.

/// What the engine knows about the keys of one family, which is the first byte of a key and an index into the
/// tree's table of families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Shown in statistics.
    pub name: &'static str,
    /// How many bits of a key, from its first byte on, stand before uniformly distributed ones. `None`: there are
    /// none, and the memtable keeps the family in one plain ordered list.
    pub skip_bits: Option<u32>,
    /// Whether tables carry a bloom filter over these keys.
    pub filter: bool,
    /// Whether values of these keys go to the row cache.
    pub rows: bool,
    /// Aimed size of a table block, before compression.
    pub block_bytes: usize,
}
