//! Graves: which records, and which tables, are dead.

use std::{cmp::Ordering, sync::Arc};

use bytes::Bytes;

use crate::lsm::{
    Access, Index, Result,
    coding::common_prefix,
    merge::{Bounds, Merge, Source},
    table::{RunIter, Table, successor},
    version::{Placed, Version},
};

/// Answers whether records are dead, for keys that ascend. Reads the graves along with them.
pub(super) struct Graves {
    family: u8,
    cursor: Merge,
    /// Graves that are prefixes of the key asked for last, shortest first, with their indexes.
    covering: Vec<(Vec<u8>, Index)>,
    is_started: bool,
    key: Vec<u8>,
}

impl Graves {
    /// Reads the graves that are in the tables of `version`; `extra` are asked before them.
    pub(super) fn new(version: &Version<Table>, family: u8, extra: Option<Source>) -> Graves {
        let tables =
            version.runs().map(|(_, run)| Source::Run(RunIter::new(Arc::clone(run), Access::Disk, 0)));
        let mut cursor = Merge::new(extra.into_iter().chain(tables).collect());
        cursor.set_bounds(Bounds::new(&[family], successor(&[family]).as_deref()));
        Graves { family, cursor, covering: Vec::new(), is_started: false, key: Vec::new() }
    }

    /// Whether the record of `key` with this index is garbage. Keys ascend from one call to the next.
    pub(super) fn is_dead(&mut self, key: &[u8], index: Index) -> Result<bool> {
        if key[0] == self.family {
            return Ok(false);
        }
        if !self.is_started {
            self.start(key)?;
            self.is_started = true;
        }
        while self.covering.last().is_some_and(|(prefix, _)| !key.starts_with(prefix)) {
            self.covering.pop();
        }
        while self.is_at_grave() && self.prefix().cmp(key) != Ordering::Greater {
            self.take(key);
            self.cursor.next()?;
        }
        Ok(self.covering.iter().any(|&(_, grave_index)| index < grave_index))
    }

    /// Collects the graves that are prefixes of the first key: all at or before it. Each step looks for the last grave not above
    /// a prefix of `key`; whether it is one itself or not, what it has in common with `key` bounds the next step.
    fn start(&mut self, key: &[u8]) -> Result<()> {
        let mut bound = key.len();
        while bound > 0 {
            self.set_key(&key[..bound], Some(0));
            self.cursor.seek_before(&self.key)?;
            if !self.is_at_grave() {
                break;
            }
            let common = common_prefix(self.prefix(), key);
            let is_prefix = common == self.prefix().len();
            self.take(key);
            bound = if is_prefix { common.saturating_sub(1) } else { common };
        }
        self.covering.reverse();
        self.set_key(key, Some(0));
        self.cursor.seek(&self.key)
    }

    fn set_key(&mut self, prefix: &[u8], after: Option<u8>) {
        self.key.clear();
        self.key.push(self.family);
        self.key.extend_from_slice(prefix);
        self.key.extend(after);
    }

    fn is_at_grave(&self) -> bool {
        self.cursor.valid() && self.cursor.key()[0] == self.family
    }

    fn prefix(&self) -> &[u8] {
        &self.cursor.key()[1..]
    }

    /// Adds the current grave to the covering ones if it is a prefix of `key`. One that was deleted, or without a prefix, kills
    /// nothing.
    fn take(&mut self, key: &[u8]) {
        let prefix = self.prefix();
        if !prefix.is_empty() && key.starts_with(prefix) && self.cursor.value().is_some() {
            self.covering.push((prefix.to_vec(), self.cursor.index()));
        }
    }
}

/// Answers whether tables hold any key with a prefix.
pub(super) struct Holders {
    cursor: Merge,
}

impl Holders {
    pub(super) fn new(version: &Version<Table>) -> Holders {
        let tables =
            version.runs().map(|(_, run)| Source::Run(RunIter::new(Arc::clone(run), Access::Disk, 0)));
        Holders { cursor: Merge::new(tables.collect()) }
    }

    /// Whether a table holds a record, a tombstone even, whose key has this prefix.
    pub(super) fn hold(&mut self, prefix: &[u8]) -> Result<bool> {
        self.cursor.seek(prefix)?;
        Ok(self.cursor.valid() && self.cursor.key().starts_with(prefix))
    }
}

/// Adds to what is known of a table what `graves` (prefix and index) say. Returns whether that is anything.
pub(in crate::lsm) fn dead_in(placed: &mut Placed<Table>, graves: &[(Bytes, Index)]) -> Result<bool> {
    let properties = Arc::clone(&placed.properties);
    let is_concerned = |&(prefix, index): &(&Bytes, Index)| {
        !prefix.is_empty() && properties.base_index < index && properties.may_hold_prefix(prefix)
    };
    let mut dead_bytes = 0;
    let mut dead_below = 0;
    for (prefix, index) in graves.iter().map(|(prefix, index)| (prefix, *index)).filter(is_concerned) {
        dead_bytes += placed.table.bytes_of_prefix(prefix)?;
        if properties.is_within_prefix(prefix) {
            dead_below = dead_below.max(index);
        }
    }
    if dead_bytes == 0 && dead_below == 0 {
        return Ok(false);
    }
    placed.dead_bytes = (placed.dead_bytes + dead_bytes).min(placed.bytes());
    placed.dead_below = placed.dead_below.max(dead_below);
    Ok(true)
}

/// Returns the graves (prefix and index) in those tables of `version` that `is_new` chooses.
pub(super) fn graves_in(
    version: &Version<Table>,
    family: u8,
    is_new: impl Fn(u64) -> bool,
) -> Result<Vec<(Bytes, Index)>> {
    let mut graves = Vec::new();
    for placed in version.tables().filter(|placed| placed.properties.family == family && is_new(placed.id()))
    {
        let mut iter = crate::lsm::table::TableIter::new(Arc::clone(&placed.table), Access::Disk, 0);
        iter.first()?;
        while iter.valid() {
            if iter.value().is_some() {
                graves.push((Bytes::copy_from_slice(&iter.key()[1..]), iter.index()));
            }
            iter.next(None)?;
        }
    }
    Ok(graves)
}
