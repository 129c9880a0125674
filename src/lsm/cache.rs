//! The cache: one byte budget for the blocks, indexes and filters of tables, and for rows.
//!
//! Indexes and filters are *pinned* while there is room: a table keeps them itself, so that a look-up in many tables does
//! not look each of them up here, and what is left of the budget is for the rest.
//!
//! [Rows](super::rows) have at most a quarter of the budget, what is pinned half of it, and blocks the rest.
//!
//! Blocks never change, and are known by their tree, their table and where they stand in it.
#![expect(clippy::cast_possible_truncation, reason = "of a hash, the bits that are wanted are kept")]

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache as QuickCache, DefaultLifecycle},
};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Index, Value,
    rows::{Filled, Rows},
};

/// Sets of counters, so that threads that look up different keys seldom write to the same line of memory.
const CELLS: usize = 16;
/// What an entry costs besides its bytes: key, links and table of the cache, header of the allocation.
const ENTRY_BYTES: u64 = 128;
/// Expected size of an entry; tells how much is remembered of entries that were dropped.
const EXPECTED_BYTES: u64 = 1 << 10;
/// Parts of the cache with a lock each. Something larger than its part is not kept.
const SHARDS: usize = 16;
/// Trees have 24 bits of a block's name and tables the rest.
const TABLE_BITS: u32 = 40;
/// What is pinned, and rows, have at most these shares (one in …) of the budget.
const PINNED_SHARE: u64 = 2;
const ROWS_SHARE: u64 = 4;

/// Holds blocks and rows up to a number of bytes, and drops what is used least.
pub struct Cache {
    blocks: QuickCache<Name, Bytes, Weight, Mixer>,
    rows: Rows,
    cells: Box<[Cell]>,
    owners: AtomicU64,
    budget: Mutex<Budget>,
}

/// How many bytes there are for all, and who has them; blocks have the rest.
struct Budget {
    bytes_max: u64,
    pinned: u64,
    rows: u64,
}

impl Budget {
    fn blocks(&self) -> u64 {
        self.bytes_max.saturating_sub(self.pinned + self.rows)
    }
}

/// What was found and what was not, since the cache was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Look-ups of blocks that were there.
    pub block_hits: u64,
    /// Look-ups of blocks that were not.
    pub block_misses: u64,
    /// Look-ups of rows that were there, and old enough for the view.
    pub row_hits: u64,
    /// Look-ups of rows that were not.
    pub row_misses: u64,
    /// Rows removed because an effect on their key was applied.
    pub row_removals: u64,
    /// Fills refused because an effect newer than the view had been applied.
    pub row_refusals: u64,
    /// Bytes now, with what the entries cost besides their contents, and what is pinned.
    pub bytes: u64,
}

#[derive(Default)]
#[repr(align(64))]
struct Cell {
    block_hits: AtomicU64,
    block_misses: AtomicU64,
    row_hits: AtomicU64,
    row_misses: AtomicU64,
    row_removals: AtomicU64,
    row_refusals: AtomicU64,
}

/// What a block is known by: its tree and table, and its offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Name(u64, u64);

#[derive(Clone)]
struct Weight;

impl Weighter<Name, Bytes> for Weight {
    fn weight(&self, _: &Name, block: &Bytes) -> u64 {
        ENTRY_BYTES + block.len() as u64
    }
}

/// Hashes names: small numbers, which one multiplication spreads.
#[derive(Clone, Default)]
struct Mixer(u64);

impl BuildHasher for Mixer {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Mixer {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a name is two numbers");
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f;
        let (low, high) = (product & u128::from(u64::MAX), product >> 64);
        // Both halves have 64 bits.
        self.0 = low as u64 ^ high as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Cache {
    /// Makes an empty cache for `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        let expected = usize::try_from(bytes_max / EXPECTED_BYTES).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .weight_capacity(bytes_max)
            .estimated_items_capacity(expected.max(SHARDS * 32))
            .shards(SHARDS)
            .build()
            .expect("the two capacities are set");
        Self {
            blocks: QuickCache::with_options(options, Weight, Mixer::default(), DefaultLifecycle::default()),
            rows: Rows::new(),
            cells: (0..CELLS).map(|_| Cell::default()).collect(),
            owners: AtomicU64::new(0),
            budget: Mutex::new(Budget { bytes_max, pinned: 0, rows: 0 }),
        }
    }

    /// Sets the budget, and drops entries until they keep it. What is pinned stays.
    pub fn set_bytes(&self, bytes_max: u64) {
        let too_many_rows = {
            let mut budget = lock(&self.budget);
            budget.bytes_max = bytes_max;
            self.blocks.set_capacity(budget.blocks());
            budget.rows > bytes_max / ROWS_SHARE
        };
        if too_many_rows {
            self.give_back_rows(self.rows.clear());
        }
    }

    /// Takes `bytes` of the budget for something that its owner keeps for as long as it likes. Returns whether that is
    /// granted.
    pub fn pin(&self, bytes: u64) -> bool {
        let mut budget = lock(&self.budget);
        if budget.pinned + bytes > budget.bytes_max / PINNED_SHARE {
            return false;
        }
        budget.pinned += bytes;
        self.blocks.set_capacity(budget.blocks());
        true
    }

    /// Gives back what [`Cache::pin`] has granted.
    pub fn unpin(&self, bytes: u64) {
        let mut budget = lock(&self.budget);
        assert!(bytes <= budget.pinned, "what is given back had been granted");
        budget.pinned -= bytes;
        self.blocks.set_capacity(budget.blocks());
    }

    fn grant_rows(&self, bytes: u64) -> bool {
        let mut budget = lock(&self.budget);
        if budget.rows + bytes > budget.bytes_max / ROWS_SHARE {
            return false;
        }
        budget.rows += bytes;
        self.blocks.set_capacity(budget.blocks());
        true
    }

    fn give_back_rows(&self, bytes: u64) {
        let mut budget = lock(&self.budget);
        assert!(bytes <= budget.rows, "what is given back had been granted");
        budget.rows -= bytes;
        self.blocks.set_capacity(budget.blocks());
    }

    /// Returns a number that tells the blocks of one tree from those of the others.
    pub fn new_owner(&self) -> u64 {
        let owner = self.owners.fetch_add(1, Ordering::Relaxed);
        assert!(owner < u64::MAX >> TABLE_BITS, "a cache serves fewer than 16 million trees");
        owner
    }

    /// Returns the block of `table` at `offset`.
    pub fn block(&self, owner: u64, table: u64, offset: u64) -> Option<Bytes> {
        let block = self.blocks.get(&block_name(owner, table, offset));
        let cell = self.cell(offset >> 12);
        count(if block.is_some() { &cell.block_hits } else { &cell.block_misses });
        block
    }

    /// Keeps the block of `table` at `offset`. Scans do not call this, and compactions only for what takes the place of
    /// blocks that were here: what they read once must not drive out what others read often.
    pub fn insert_block(&self, owner: u64, table: u64, offset: u64, block: Bytes) {
        self.blocks.insert(block_name(owner, table, offset), block);
    }

    /// Drops the block of `table` at `offset` and returns it, if it is there.
    pub fn remove_block(&self, owner: u64, table: u64, offset: u64) -> Option<Bytes> {
        self.blocks.remove(&block_name(owner, table, offset)).map(|(_, block)| block)
    }

    /// Looks up the row of `key` for a view at `view`. `value` is set if there is one, and left alone otherwise.
    pub fn row_get(&self, key: &[u8], view: Index, value: &mut Value) -> bool {
        let hash = xxh3_64(key);
        let is_hit = self.rows.get(hash, key, view, value);
        let cell = self.cell(hash);
        count(if is_hit { &cell.row_hits } else { &cell.row_misses });
        is_hit
    }

    /// Offers the value that a view at `view` has read for `key`. It is kept unless a newer effect may have been
    /// applied to the key.
    pub fn row_fill(&self, key: &[u8], view: Index, value: &[u8]) {
        let hash = xxh3_64(key);
        if self.rows.fill(hash, key, view, value, |bytes| self.grant_rows(bytes)) == Filled::Refused {
            count(&self.cell(hash).row_refusals);
        }
    }

    /// Says that the entry at `index` is being applied and has an effect on `key`. Comes before the index is published.
    pub fn row_applied(&self, key: &[u8], index: Index) {
        let hash = xxh3_64(key);
        if self.rows.applied(hash, index) {
            count(&self.cell(hash).row_removals);
        }
    }

    /// Empties the cache, and refuses what views below `index` offer from now on. Comes before a state at `index` that
    /// is not made of effects, an installed or a reloaded one, is published.
    pub fn clear_at(&self, index: Index) {
        self.give_back_rows(self.rows.clear_at(index));
        self.blocks.clear();
    }

    /// Returns what has been counted.
    pub fn stats(&self) -> CacheStats {
        let sum = |counter: fn(&Cell) -> &AtomicU64| {
            self.cells.iter().map(|cell| counter(cell).load(Ordering::Relaxed)).sum()
        };
        let Budget { pinned, rows, .. } = *lock(&self.budget);
        CacheStats {
            block_hits: sum(|cell| &cell.block_hits),
            block_misses: sum(|cell| &cell.block_misses),
            row_hits: sum(|cell| &cell.row_hits),
            row_misses: sum(|cell| &cell.row_misses),
            row_removals: sum(|cell| &cell.row_removals),
            row_refusals: sum(|cell| &cell.row_refusals),
            bytes: self.blocks.weight() + pinned + rows,
        }
    }

    fn cell(&self, number: u64) -> &Cell {
        &self.cells[number as usize % CELLS]
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the process: nobody sees what it left.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn block_name(owner: u64, table: u64, offset: u64) -> Name {
    assert!(table >> TABLE_BITS == 0, "table numbers are below 2^40");
    Name(owner << TABLE_BITS | table, offset)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::bugs::{self, Bug};

    fn row(cache: &Cache, key: &[u8], view: Index) -> Option<Vec<u8>> {
        let mut value = Value::default();
        cache.row_get(key, view, &mut value).then(|| value.to_vec())
    }

    #[test]
    fn half_of_the_budget_can_be_pinned_and_the_rest_shrinks() {
        let cache = Cache::new(1 << 20);
        assert!(cache.pin(1 << 19));
        assert!(!cache.pin(1));
        for block in 0..1_000 {
            cache.insert_block(0, 0, block << 12, Bytes::from(vec![0; 4096]));
        }
        let full = cache.stats().bytes;
        assert!((1 << 19..=1 << 20).contains(&full), "{full} bytes");
        cache.unpin(1 << 19);
        assert!(cache.pin(1 << 18));
        cache.set_bytes(1 << 18);
        assert_eq!(cache.stats().bytes, 1 << 18, "what is pinned stays, and there is no room for more");
        assert!(!cache.pin(1));
    }

    #[test]
    fn a_row_is_seen_by_views_that_are_not_older() {
        let cache = Cache::new(1 << 20);
        assert_eq!(row(&cache, b"key", 9), None);
        cache.row_fill(b"key", 5, b"five");
        assert_eq!(row(&cache, b"key", 4), None);
        assert_eq!(row(&cache, b"key", 5), Some(b"five".to_vec()));
        assert_eq!(row(&cache, b"key", 9), Some(b"five".to_vec()));
        assert_eq!(row(&cache, b"kex", 9), None);
        let stats = cache.stats();
        assert_eq!((stats.row_hits, stats.row_misses), (2, 3));
    }

    #[test]
    fn an_applied_effect_removes_the_row() {
        let cache = Cache::new(1 << 20);
        cache.row_fill(b"key", 5, b"five");
        cache.row_applied(b"key", 6);
        assert_eq!(row(&cache, b"key", 6), None);
        assert_eq!(cache.stats().row_removals, 1);
        // A reader at 6, after it was published, brings the new value in.
        cache.row_fill(b"key", 6, b"six");
        assert_eq!(row(&cache, b"key", 6), Some(b"six".to_vec()));
    }

    /// A reader has looked the key up in a view at 5; entry 6 is applied; the reader fills; a reader at 6 asks.
    fn fill_after_apply(cache: &Cache) -> Option<Vec<u8>> {
        cache.row_applied(b"key", 6);
        cache.row_fill(b"key", 5, b"five");
        row(cache, b"key", 6)
    }

    #[test]
    fn a_late_fill_does_not_bring_an_old_value_back() {
        let cache = Cache::new(1 << 20);
        assert_eq!(fill_after_apply(&cache), None);
        assert_eq!(cache.stats().row_refusals, 1);
    }

    #[test]
    fn a_late_fill_that_ignores_the_mark_is_noticed() {
        let cache = Cache::new(1 << 20);
        let seen = bugs::with(Bug::RowCacheStale, || fill_after_apply(&cache));
        assert_eq!(seen, Some(b"five".to_vec()), "the planted bug brought no old value back");
    }

    #[test]
    fn a_row_of_a_later_view_is_kept_from_an_earlier_one() {
        let cache = Cache::new(1 << 20);
        // Entry 6 is applied and published; a reader at 6 fills while one at 5 still runs.
        cache.row_applied(b"key", 6);
        cache.row_fill(b"key", 6, b"six");
        assert_eq!(row(&cache, b"key", 5), None);
    }

    #[test]
    fn an_effect_on_one_key_leaves_the_rows_of_others() {
        let cache = Cache::new(16 << 20);
        for number in 0..200u32 {
            cache.row_fill(&number.to_be_bytes(), 5, b"five");
        }
        cache.row_applied(&7u32.to_be_bytes(), 6);
        let gone = (0..200u32).filter(|number| row(&cache, &number.to_be_bytes(), 6).is_none());
        assert_eq!(gone.collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn a_cleared_cache_refuses_what_older_views_offer() {
        let cache = Cache::new(1 << 20);
        cache.row_fill(b"key", 5, b"five");
        cache.clear_at(20);
        assert_eq!(row(&cache, b"key", 20), None);
        for number in 0..2000u32 {
            cache.row_fill(&number.to_be_bytes(), 19, b"old");
            assert_eq!(row(&cache, &number.to_be_bytes(), 20), None);
        }
        cache.row_fill(b"key", 20, b"new");
        assert_eq!(row(&cache, b"key", 20), Some(b"new".to_vec()));
    }

    #[test]
    #[should_panic(expected = "in the order of the log")]
    fn marks_do_not_go_back() {
        let cache = Cache::new(1 << 20);
        cache.row_applied(b"key", 6);
        cache.row_applied(b"key", 5);
    }

    #[test]
    fn blocks_are_known_by_tree_table_and_offset() {
        let cache = Cache::new(1 << 20);
        let (one, two) = (cache.new_owner(), cache.new_owner());
        cache.insert_block(one, 1, 0, Bytes::from_static(b"a"));
        cache.insert_block(one, 2, 0, Bytes::from_static(b"b"));
        cache.insert_block(one, 1, 4096, Bytes::from_static(b"c"));
        cache.insert_block(two, 1, 0, Bytes::from_static(b"d"));
        assert_eq!(cache.block(one, 1, 0).unwrap(), "a");
        assert_eq!(cache.block(one, 2, 0).unwrap(), "b");
        assert_eq!(cache.block(one, 1, 4096).unwrap(), "c");
        assert_eq!(cache.block(two, 1, 0).unwrap(), "d");
        assert_eq!(cache.block(two, 2, 0), None);
        let stats = cache.stats();
        assert_eq!((stats.block_hits, stats.block_misses, stats.row_misses), (4, 1, 0));
    }

    #[test]
    fn the_budget_is_kept_and_can_be_changed() {
        let cache = Cache::new(1 << 20);
        let owner = cache.new_owner();
        for number in 0..1000u32 {
            cache.insert_block(owner, 1, u64::from(number) << 12, Bytes::from(vec![0; 4096]));
            cache.row_fill(&number.to_be_bytes(), 1, &[1; 100]);
            assert!(cache.stats().bytes <= 1 << 20);
        }
        assert!(cache.stats().bytes > 1 << 19, "the budget is used");
        cache.set_bytes(1 << 18);
        assert!(cache.stats().bytes <= 1 << 18);
        cache.set_bytes(0);
        assert_eq!(cache.stats().bytes, 0);
        cache.row_fill(b"key", 1, b"value");
        assert_eq!(row(&cache, b"key", 1), None, "a cache without a budget keeps nothing");
        cache.set_bytes(1 << 20);
        cache.row_fill(b"key", 1, b"value");
        assert_eq!(row(&cache, b"key", 1), Some(b"value".to_vec()));
    }

    #[test]
    fn readers_beside_a_writer_never_see_an_older_row() {
        const ENTRIES_MAX: u64 = 100_000_000;
        let cache = Cache::new(1 << 20);
        let keys: Vec<[u8; 4]> = (0..8u32).map(u32::to_be_bytes).collect();
        // The state that rows are read from: by key, the index of its newest effect.
        let state: Vec<AtomicU64> = keys.iter().map(|_| AtomicU64::new(0)).collect();
        let published = AtomicU64::new(0);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for reader in 0..2 {
                let (cache, keys, state) = (&cache, &keys, &state);
                let (published, is_over) = (&published, &is_over);
                scope.spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(reader);
                    let mut value = Value::default();
                    while !is_over.load(Ordering::Acquire) {
                        let number = rng.usize(..keys.len());
                        let view = published.load(Ordering::Acquire);
                        // What the key is at this view, or is already beyond it.
                        let newest = state[number].load(Ordering::Acquire);
                        if cache.row_get(&keys[number], view, &mut value) {
                            let seen = u64::from_le_bytes(value[..].try_into().unwrap());
                            assert!(seen <= view, "{seen} at {view}");
                            assert!(
                                newest > view || seen >= newest,
                                "{seen} at {view}, and {newest} was applied"
                            );
                        } else if newest <= view {
                            cache.row_fill(&keys[number], view, &newest.to_le_bytes());
                        }
                    }
                });
            }
            let mut rng = fastrand::Rng::with_seed(9);
            for entry in 1..=ENTRIES_MAX {
                let number = rng.usize(..keys.len());
                cache.row_applied(&keys[number], entry);
                state[number].store(entry, Ordering::Release);
                published.store(entry, Ordering::Release);
                let stats = cache.stats();
                if stats.row_hits > 1000 && stats.row_removals > 1000 {
                    break;
                }
            }
            is_over.store(true, Ordering::Release);
        });
        assert!(cache.stats().row_hits > 1000);
    }
}
