//! Writes a sorted sequence of records as tables.

use std::sync::Arc;

use crate::{
    bugs::{self, Bug},
    disk::join,
    lsm::{
        Index, Result,
        store::Store,
        table::{Properties, Table, TableWriter, file_name},
        version::{Placed, Run},
    },
};

/// A table ends early at a bound of the level after the next once it has this share (one in …) of its size.
const EARLY_SHARE: u64 = 2;
/// A table ends when it overlaps this many tables' worth of bytes in the level after the next.
const GRANDPARENT_TABLES_MAX: u64 = 10;

/// Tables that are being written. They end where families do, at their size, and at the bounds of the tables that they will be
/// merged with next (the *grandparents*), so that such a merge rewrites little that is not concerned.
pub(in crate::lsm) struct Outputs<'s> {
    store: &'s Store,
    level: usize,
    base_index: Index,
    writer: Option<TableWriter>,
    written: Vec<Arc<Properties>>,
    grandparents: Option<Grandparents>,
    records: u64,
}

struct Grandparents {
    /// Last key and bytes of each.
    tables: Vec<(bytes::Bytes, u64)>,
    at: usize,
    /// Bytes of those that the current output has passed.
    passed_bytes: u64,
}

impl<'s> Outputs<'s> {
    /// Writes tables for `level`; no record is older than `base_index`.
    pub(in crate::lsm) fn new(store: &'s Store, level: usize, base_index: Index) -> Outputs<'s> {
        let (writer, written, grandparents) = (None, Vec::new(), None);
        Outputs { store, level, base_index, writer, written, grandparents, records: 0 }
    }

    /// Ends tables at the bounds of those in `run` too.
    pub(in crate::lsm) fn cut_at<T>(&mut self, run: &Run<T>) {
        let bound = |placed: &Placed<T>| (placed.properties.max_key.clone(), placed.bytes());
        let tables = run.tables().iter().map(bound).collect();
        self.grandparents = Some(Grandparents { tables, at: 0, passed_bytes: 0 });
    }

    /// Returns how many records were added.
    pub(in crate::lsm) fn records(&self) -> u64 {
        self.records
    }

    /// Adds a record, above all before it; `value` is `None` for a tombstone. A block most of whose records were cached
    /// is put into the cache at once.
    ///
    /// Compactions fill the cache with nothing else: what they write takes the place of what they have read there.
    pub(in crate::lsm) fn add(
        &mut self,
        key: &[u8],
        index: Index,
        value: Option<&[u8]>,
        was_cached: bool,
    ) -> Result<()> {
        if self.is_cut(key) {
            self.end_table()?;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let format = self.store.format(key[0], self.level, self.base_index);
                let id = self.store.new_file_id();
                let context = &self.store.context;
                let writer = TableWriter::create(&*context.disk, &self.store.dir, id, format)?;
                self.writer.insert(writer.with_cache(Arc::clone(context)))
            }
        };
        self.records += 1;
        if was_cached {
            writer.count_cached();
        }
        writer.add(key, index, value)
    }

    /// Whether the current table is to end before `key`.
    fn is_cut(&mut self, key: &[u8]) -> bool {
        let passed = self.grandparents.as_mut().map(|grandparents| grandparents.pass(key));
        let Some(writer) = &self.writer else { return false };
        let table_bytes = self.store.options.levels.table_bytes;
        if writer.family() != key[0] || writer.bytes() >= table_bytes {
            return true;
        }
        match passed {
            Some((true, passed_bytes)) => {
                writer.bytes() >= table_bytes / EARLY_SHARE
                    || passed_bytes >= GRANDPARENT_TABLES_MAX.saturating_mul(table_bytes)
            }
            _ => false,
        }
    }

    fn end_table(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            let path = writer.path().to_owned();
            let finished = writer.finish().inspect_err(|_| self.store.add_trash([path].into_iter()))?;
            self.written.push(Arc::new(finished));
        }
        if let Some(grandparents) = &mut self.grandparents {
            grandparents.passed_bytes = 0;
        }
        Ok(())
    }

    /// Ends the last table, makes all of them durable and opens them.
    pub(in crate::lsm) fn finish(mut self) -> Result<Vec<Placed<Table>>> {
        self.end_table()?;
        if self.written.is_empty() {
            return Ok(Vec::new());
        }
        let records: u64 = self.written.iter().map(|properties| properties.records).sum();
        assert!(records == self.records, "{} records became {records} in tables", self.records);
        if !bugs::on(Bug::EditBeforeTableSync) {
            self.store.sync_dir()?;
        }
        let place = |properties: Arc<Properties>| -> Result<Placed<Table>> {
            let table = self.store.open_table(Arc::clone(&properties))?;
            Ok(Placed { properties, dead_bytes: 0, dead_below: 0, table })
        };
        std::mem::take(&mut self.written).into_iter().map(place).collect()
    }
}

impl Drop for Outputs<'_> {
    /// Gives up what was written and not finished.
    fn drop(&mut self) {
        let written =
            self.written.drain(..).map(|properties| join(&self.store.dir, &file_name(properties.id)));
        let current = self.writer.take().map(|writer| writer.path().to_owned());
        self.store.add_trash(written.chain(current));
    }
}

impl Grandparents {
    /// Goes on to `key`; returns whether that passed the end of a table, and how many bytes were passed in all.
    fn pass(&mut self, key: &[u8]) -> (bool, u64) {
        let before = self.at;
        while let Some((max_key, bytes)) = self.tables.get(self.at)
            && **max_key < *key
        {
            self.passed_bytes += bytes;
            self.at += 1;
        }
        (self.at > before, self.passed_bytes)
    }
}
