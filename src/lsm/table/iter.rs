//! Walks the records of a table in both directions.

use std::sync::Arc;

use super::Table;
use crate::lsm::{
    Access, Index, Result,
    block::{BlockIter, Handle},
};

/// A place in a table: at a record, or nowhere. After an error it is nowhere.
pub(in crate::lsm) struct TableIter {
    table: Arc<Table>,
    access: Access,
    /// Data blocks that may still be put into the cache: a long scan must not push out what others use.
    fills_left: u32,
    partition: usize,
    index: Option<BlockIter>,
    data: Option<BlockIter>,
    data_at: Handle,
    /// Whether the cache had the current data block.
    is_cached: bool,
    valid: bool,
}

impl TableIter {
    pub(in crate::lsm) fn new(table: Arc<Table>, access: Access, fills_max: u32) -> TableIter {
        TableIter {
            table,
            access,
            fills_left: fills_max,
            partition: 0,
            index: None,
            data: None,
            data_at: Handle::default(),
            is_cached: false,
            valid: false,
        }
    }

    pub(in crate::lsm) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Goes over to another table, to no record of it; keeps the buffers.
    pub(in crate::lsm) fn reset(&mut self, table: Arc<Table>) {
        self.table = table;
        self.valid = false;
    }

    /// Whether the filter of the current partition, if it has one, passes a key with this hash.
    pub(in crate::lsm) fn passes_filter(&self, hash: u64) -> Result<bool> {
        self.table.passes_filter(self.partition, hash)
    }

    /// Goes nowhere.
    pub(in crate::lsm) fn leave(&mut self) {
        self.valid = false;
    }

    #[inline]
    pub(in crate::lsm) fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    pub(in crate::lsm) fn key(&self) -> &[u8] {
        self.data.as_ref().map_or(&[], BlockIter::key)
    }

    #[inline]
    pub(in crate::lsm) fn value(&self) -> Option<&[u8]> {
        self.data.as_ref().and_then(BlockIter::value)
    }

    #[inline]
    pub(in crate::lsm) fn index(&self) -> Index {
        let age = self.data.as_ref().map_or(0, BlockIter::age);
        self.table.properties().base_index.saturating_add(age)
    }

    /// Whether the block of the current record came from the cache.
    #[inline]
    pub(in crate::lsm) fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// Goes to the first record whose key is ≥ `key`. Blocks that hold no key below `upper` are not loaded, but for one.
    pub(in crate::lsm) fn seek(&mut self, key: &[u8], upper: Option<&[u8]>) -> Result<()> {
        self.valid = false;
        let partition = self.table.partition_of(key);
        if partition == self.table.partitions() {
            return Ok(());
        }
        self.load_index(partition)?;
        self.in_index(|index| index.seek(key))?;
        if !self.load_data()? {
            return Ok(());
        }
        self.in_data(|data| data.seek(key))?;
        if self.valid { Ok(()) } else { self.next_block(upper) }
    }

    /// Goes to the last record whose key is < `key`. Blocks that hold no key ≥ `lower` are not loaded, but for one.
    pub(in crate::lsm) fn seek_before(&mut self, key: &[u8], lower: Option<&[u8]>) -> Result<()> {
        self.valid = false;
        let partition = self.table.partition_of(key);
        if partition == self.table.partitions() {
            return self.last();
        }
        self.load_index(partition)?;
        self.in_index(|index| index.seek(key))?;
        if !self.load_data()? {
            return Ok(());
        }
        self.in_data(|data| data.seek_before(key))?;
        if self.valid { Ok(()) } else { self.prev_block(lower) }
    }

    /// Goes to the first record.
    pub(in crate::lsm) fn first(&mut self) -> Result<()> {
        self.valid = false;
        self.load_index(0)?;
        self.in_index(BlockIter::first)?;
        if self.load_data()? { self.in_data(BlockIter::first) } else { Ok(()) }
    }

    /// Goes to the last record.
    pub(in crate::lsm) fn last(&mut self) -> Result<()> {
        self.valid = false;
        self.load_index(self.table.partitions() - 1)?;
        self.in_index(BlockIter::last)?;
        if self.load_data()? { self.in_data(BlockIter::last) } else { Ok(()) }
    }

    /// Goes to the next record. Blocks that hold no key below `upper` are not loaded.
    #[inline]
    pub(in crate::lsm) fn next(&mut self, upper: Option<&[u8]>) -> Result<()> {
        assert!(self.valid, "next needs a current record");
        self.in_data(BlockIter::next)?;
        if self.valid { Ok(()) } else { self.next_block(upper) }
    }

    /// Goes to the record before. Blocks that hold no key ≥ `lower` are not loaded.
    #[inline]
    pub(in crate::lsm) fn prev(&mut self, lower: Option<&[u8]>) -> Result<()> {
        assert!(self.valid, "prev needs a current record");
        self.in_data(BlockIter::prev)?;
        if self.valid { Ok(()) } else { self.prev_block(lower) }
    }

    /// Goes to the first record of the block after the current one.
    fn next_block(&mut self, upper: Option<&[u8]>) -> Result<()> {
        self.valid = false;
        let separator = self.index.as_ref().map_or(&[][..], BlockIter::key);
        if upper.is_some_and(|upper| upper <= separator) {
            return Ok(());
        }
        self.in_index(BlockIter::next)?;
        if !self.has_block() {
            if self.partition + 1 == self.table.partitions() {
                return Ok(());
            }
            self.load_index(self.partition + 1)?;
            self.in_index(BlockIter::first)?;
        }
        if self.load_data()? { self.in_data(BlockIter::first) } else { Ok(()) }
    }

    /// Goes to the last record of the block before the current one.
    fn prev_block(&mut self, lower: Option<&[u8]>) -> Result<()> {
        self.valid = false;
        self.in_index(BlockIter::prev)?;
        if !self.has_block() {
            if self.partition == 0 {
                return Ok(());
            }
            let before = self.partition - 1;
            if lower.is_some_and(|lower| self.table.separator(before) < lower) {
                return Ok(());
            }
            self.load_index(before)?;
            self.in_index(BlockIter::last)?;
        }
        let separator = self.index.as_ref().map_or(&[][..], BlockIter::key);
        if self.has_block() && lower.is_some_and(|lower| separator < lower) {
            return Ok(());
        }
        if self.load_data()? { self.in_data(BlockIter::last) } else { Ok(()) }
    }

    fn has_block(&self) -> bool {
        self.index.as_ref().is_some_and(BlockIter::valid)
    }

    fn load_index(&mut self, partition: usize) -> Result<()> {
        let block = self.table.index_of(partition, self.access)?;
        self.partition = partition;
        match &mut self.index {
            Some(index) => index.reset(block),
            None => self.index = Some(BlockIter::new(block)),
        }
        Ok(())
    }

    /// Loads the data block that the index stands on; `false` if it stands on none.
    fn load_data(&mut self) -> Result<bool> {
        let Some(index) = self.index.as_ref().filter(|index| index.valid()) else { return Ok(false) };
        let fill = self.fills_left > 0;
        self.fills_left = self.fills_left.saturating_sub(1);
        let (handle, block, is_cached) = self.table.data_of(index, self.access, fill)?;
        (self.data_at, self.is_cached) = (handle, is_cached);
        match &mut self.data {
            Some(data) => data.reset(block),
            None => self.data = Some(BlockIter::new(block)),
        }
        Ok(true)
    }

    fn in_index(
        &mut self,
        go: impl FnOnce(&mut BlockIter) -> Result<(), crate::lsm::block::Malformed>,
    ) -> Result<()> {
        let Some(index) = &mut self.index else { return Ok(()) };
        go(index).map_err(|why| self.table.corrupt(Handle::default(), why))
    }

    #[inline]
    fn in_data(
        &mut self,
        go: impl FnOnce(&mut BlockIter) -> Result<(), crate::lsm::block::Malformed>,
    ) -> Result<()> {
        self.valid = false;
        let Some(data) = &mut self.data else { return Ok(()) };
        go(data).map_err(|why| self.table.corrupt(self.data_at, why))?;
        self.valid = data.valid();
        Ok(())
    }
}
