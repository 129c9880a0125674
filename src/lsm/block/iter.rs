//! Walks the records of a block in both directions.

use std::ops::Range;

use super::{Block, Malformed, Record};

/// A place in a block: at a record, or nowhere.
///
/// Going back costs as much as going forward: the records between a restart point and the current one are read once and
/// kept in `back`.
pub(in crate::lsm) struct BlockIter {
    block: Block,
    key: Vec<u8>,
    at: usize,
    record: Record,
    valid: bool,
    /// Records before the current one, back to a restart point, ascending.
    back: Vec<Back>,
    /// Their keys, one after the other.
    back_keys: Vec<u8>,
}

struct Back {
    at: usize,
    record: Record,
    key: Range<usize>,
}

impl BlockIter {
    pub(in crate::lsm) fn new(block: Block) -> BlockIter {
        BlockIter {
            block,
            key: Vec::new(),
            at: 0,
            record: Record::default(),
            valid: false,
            back: Vec::new(),
            back_keys: Vec::new(),
        }
    }

    /// Goes over to another block, to no record of it; keeps the buffers.
    pub(in crate::lsm) fn reset(&mut self, block: Block) {
        self.block = block;
        self.valid = false;
        self.forget();
    }

    /// Whether there is a current record.
    #[inline]
    pub(in crate::lsm) fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    pub(in crate::lsm) fn key(&self) -> &[u8] {
        debug_assert!(self.valid, "no current record");
        &self.key
    }

    /// Returns the current value; `None` for a tombstone.
    #[inline]
    pub(in crate::lsm) fn value(&self) -> Option<&[u8]> {
        debug_assert!(self.valid, "no current record");
        (!self.record.tombstone).then(|| &self.block.bytes[self.record.value_at..self.record.next])
    }

    /// Returns the current record's index minus the table's base index.
    #[inline]
    pub(in crate::lsm) fn age(&self) -> u64 {
        self.record.age
    }

    /// Goes to the first record.
    pub(in crate::lsm) fn first(&mut self) -> Result<(), Malformed> {
        self.restart_at(0)?;
        self.step()
    }

    /// Goes to the last record.
    pub(in crate::lsm) fn last(&mut self) -> Result<(), Malformed> {
        self.valid = false;
        self.fill_back(self.block.restarts_at)?;
        self.pop_back();
        Ok(())
    }

    /// Goes to the first record whose key is ≥ `key`.
    pub(in crate::lsm) fn seek(&mut self, key: &[u8]) -> Result<(), Malformed> {
        self.restart_at(self.block.as_ref().restart_before(key, true)?)?;
        self.step()?;
        while self.valid && *self.key < *key {
            self.step()?;
        }
        Ok(())
    }

    /// Goes to the last record whose key is < `key`.
    pub(in crate::lsm) fn seek_before(&mut self, key: &[u8]) -> Result<(), Malformed> {
        self.restart_at(self.block.as_ref().restart_before(key, false)?)?;
        self.step()?;
        while self.valid && *self.key < *key {
            self.push_back();
            self.step()?;
        }
        self.valid = false;
        self.pop_back();
        Ok(())
    }

    /// Goes to the next record.
    #[inline]
    pub(in crate::lsm) fn next(&mut self) -> Result<(), Malformed> {
        assert!(self.valid, "next needs a current record");
        if !self.back.is_empty() {
            self.forget();
        }
        self.step()
    }

    /// Goes to the record before.
    pub(in crate::lsm) fn prev(&mut self) -> Result<(), Malformed> {
        assert!(self.valid, "prev needs a current record");
        if self.back.is_empty() {
            self.fill_back(self.at)?;
        }
        self.valid = false;
        self.pop_back();
        Ok(())
    }

    /// Reads the record that follows the current one.
    #[inline]
    fn step(&mut self) -> Result<(), Malformed> {
        let at = self.record.next;
        if at >= self.block.restarts_at {
            self.valid = false;
            return Ok(());
        }
        let record = self.block.as_ref().record(at)?;
        if record.shared > self.key.len() {
            self.valid = false;
            return Err(Malformed("a key shares more bytes than the one before has"));
        }
        self.key.truncate(record.shared);
        self.key.extend_from_slice(&self.block.bytes[record.key_at..record.value_at]);
        (self.at, self.record, self.valid) = (at, record, true);
        Ok(())
    }

    /// Makes the record at restart point `number` the one that [`BlockIter::step`] reads next.
    fn restart_at(&mut self, number: usize) -> Result<(), Malformed> {
        self.valid = false;
        self.forget();
        self.key.clear();
        let next = self.block.as_ref().restart(number);
        if number == 0 && next != 0 {
            return Err(Malformed("the first restart point is not the first record"));
        }
        self.record = Record { next, ..Record::default() };
        Ok(())
    }

    /// Reads into `back` the records from the last restart point before the offset `end` up to `end`.
    fn fill_back(&mut self, end: usize) -> Result<(), Malformed> {
        let (mut low, mut high) = (0, self.block.restarts);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.block.as_ref().restart(middle) < end { low = middle } else { high = middle }
        }
        self.restart_at(low)?;
        while self.record.next < end {
            self.step()?;
            self.push_back();
        }
        Ok(())
    }

    fn push_back(&mut self) {
        let start = self.back_keys.len();
        self.back_keys.extend_from_slice(&self.key);
        self.back.push(Back { at: self.at, record: self.record, key: start..self.back_keys.len() });
    }

    /// Makes the last record of `back` the current one, if there is one.
    fn pop_back(&mut self) {
        if let Some(last) = self.back.pop() {
            self.key.clear();
            self.key.extend_from_slice(&self.back_keys[last.key.clone()]);
            self.back_keys.truncate(last.key.start);
            (self.at, self.record, self.valid) = (last.at, last.record, true);
        }
    }

    fn forget(&mut self) {
        self.back.clear();
        self.back_keys.clear();
    }
}
