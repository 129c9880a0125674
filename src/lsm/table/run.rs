//! Walks the records of a run, table after table, in both directions.

use std::sync::Arc;

use super::{Table, TableIter};
use crate::lsm::{Access, Index, Result, version::Run};

/// A place in a run: at a record, or nowhere. After an error it is nowhere.
///
/// The bounds that most methods take are hints: beyond them the iterator may end early, and reads nothing.
pub(in crate::lsm) struct RunIter {
    run: Arc<Run<Table>>,
    access: Access,
    fills_max: u32,
    at: usize,
    /// Made at first use: many a run has nothing in the range that a cursor is for.
    table: Option<Box<TableIter>>,
}

impl RunIter {
    pub(in crate::lsm) fn new(run: Arc<Run<Table>>, access: Access, fills_max: u32) -> RunIter {
        RunIter { run, access, fills_max, at: 0, table: None }
    }

    #[inline]
    pub(in crate::lsm) fn valid(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.valid())
    }

    #[inline]
    pub(in crate::lsm) fn key(&self) -> &[u8] {
        self.table.as_ref().map_or(&[], |table| table.key())
    }

    #[inline]
    pub(in crate::lsm) fn value(&self) -> Option<&[u8]> {
        self.table.as_ref().and_then(|table| table.value())
    }

    #[inline]
    pub(in crate::lsm) fn index(&self) -> Index {
        self.table.as_ref().map_or(0, |table| table.index())
    }

    /// Whether the block of the current record came from the cache.
    #[inline]
    pub(in crate::lsm) fn is_cached(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.is_cached())
    }

    /// Goes to the first record whose key is ≥ `key`.
    pub(in crate::lsm) fn seek(&mut self, key: &[u8], upper: Option<&[u8]>) -> Result<()> {
        let position = self.run.position(key);
        let Some(table) = self.open_below(position, upper) else { return Ok(()) };
        table.seek(key, upper)
    }

    /// Goes to the last record whose key is < `key`.
    pub(in crate::lsm) fn seek_before(&mut self, key: &[u8], lower: Option<&[u8]>) -> Result<()> {
        let after = self.run.tables().partition_point(|placed| *placed.properties.min_key < *key);
        let Some(table) = self.open_above(after, lower) else { return Ok(()) };
        table.seek_before(key, lower)
    }

    /// Goes to the next record.
    #[inline]
    pub(in crate::lsm) fn next(&mut self, upper: Option<&[u8]>) -> Result<()> {
        let table = self.table.as_mut().expect("next needs a current record");
        table.next(upper)?;
        if table.valid() { Ok(()) } else { self.next_table(upper) }
    }

    /// Goes to the record before.
    #[inline]
    pub(in crate::lsm) fn prev(&mut self, lower: Option<&[u8]>) -> Result<()> {
        let table = self.table.as_mut().expect("prev needs a current record");
        table.prev(lower)?;
        if table.valid() { Ok(()) } else { self.prev_table(lower) }
    }

    fn next_table(&mut self, upper: Option<&[u8]>) -> Result<()> {
        match self.open_below(self.at + 1, upper) {
            Some(table) => table.first(),
            None => Ok(()),
        }
    }

    fn prev_table(&mut self, lower: Option<&[u8]>) -> Result<()> {
        match self.open_above(self.at, lower) {
            Some(table) => table.last(),
            None => Ok(()),
        }
    }

    /// Turns to the table at `position`, if there is one and it begins below `upper`.
    fn open_below(&mut self, position: usize, upper: Option<&[u8]>) -> Option<&mut TableIter> {
        let placed = self.run.tables().get(position);
        let is_wanted = |min_key: &[u8]| upper.is_none_or(|upper| min_key < upper);
        match placed {
            Some(placed) if is_wanted(&placed.properties.min_key) => self.open(position),
            _ => self.close(),
        }
    }

    /// Turns to the table before `position`, if there is one and it ends at or above `lower`.
    fn open_above(&mut self, position: usize, lower: Option<&[u8]>) -> Option<&mut TableIter> {
        let before = position.checked_sub(1).map(|before| (before, &self.run.tables()[before]));
        let is_wanted = |max_key: &[u8]| lower.is_none_or(|lower| lower <= max_key);
        match before {
            Some((before, placed)) if is_wanted(&placed.properties.max_key) => self.open(before),
            _ => self.close(),
        }
    }

    fn open(&mut self, position: usize) -> Option<&mut TableIter> {
        let table = self.run.tables()[position].table.clone();
        self.at = position;
        match &mut self.table {
            Some(iter) if Arc::ptr_eq(iter.table(), &table) => {}
            Some(iter) => iter.reset(table),
            None => self.table = Some(Box::new(TableIter::new(table, self.access, self.fills_max))),
        }
        self.table.as_deref_mut()
    }

    fn close(&mut self) -> Option<&mut TableIter> {
        if let Some(iter) = &mut self.table {
            iter.leave();
        }
        None
    }
}
