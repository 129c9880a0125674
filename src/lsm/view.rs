//! Views: what the tree held after one entry.

use std::sync::Arc;

use super::{
    Access, Cache, Error, Family, Index, Position, Result, Stats, Value,
    memtable::{self, Memtable},
    merge::{Bounds, Merge, Source},
    table::{self, RunIter, Table, TableContext, filter},
    version::{LEVELS, Version},
};

/// Data blocks of each run that a cursor may put into the cache. Longer scans go past it.
const SCAN_FILLS_MAX: u32 = 16;

/// Deleted keys that a cursor may step over where others wait for it.
const DELETED_MAX: usize = 1_000;

/// Where a view looks: memtables and tables, newest first. Made anew when one of them changes.
pub(super) struct Sources {
    pub(super) active: Arc<Memtable>,
    /// Newest first.
    pub(super) sealed: Vec<Arc<Memtable>>,
    pub(super) version: Arc<Version<Table>>,
    pub(super) context: Arc<TableContext>,
    pub(super) families: &'static [Family],
}

/// What the tree held after one entry. It stays that way, and keeps the memtables and tables alive that it needs: a view
/// that is held for long costs memory and disk.
#[derive(Clone)]
pub struct View {
    pub(super) sources: Arc<Sources>,
    pub(super) index: Index,
    pub(super) is_for_writes: bool,
}

impl View {
    /// The same view for whoever is about to write what it looks up: it leaves no rows in the cache, since the write would
    /// drop them at once, and expects the newest values in the memtables.
    #[must_use]
    pub fn for_writes(self) -> View {
        View { is_for_writes: true, ..self }
    }

    /// Returns the index of the last entry that the view holds.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Looks `key` up; `value` is set if it exists, and left with unspecified contents otherwise.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if the disk is needed and `access` forbids it; any other error is
    /// fatal for the node.
    pub fn get(&self, key: &[u8], access: Access, value: &mut Value) -> Result<bool> {
        let sources = &*self.sources;
        // As long as there are no tables, the row cache cannot be of use.
        let has_tables = !sources.version.is_empty();
        let is_row =
            has_tables && sources.families.get(usize::from(key[0])).is_some_and(|family| family.rows);
        let row = |value: &mut Value| is_row && sources.context.cache.row_get(key, self.index, value);
        if !self.is_for_writes && row(value) {
            return Ok(true);
        }
        for memtable in std::iter::once(&sources.active).chain(&sources.sealed) {
            match memtable.get(key, self.index, value) {
                memtable::Found::Missing => {}
                memtable::Found::Deleted => return Ok(false),
                memtable::Found::Value => return Ok(true),
            }
        }
        if !has_tables {
            return Ok(false);
        }
        if self.is_for_writes && row(value) {
            return Ok(true);
        }
        let is_there = get_in_tables(&sources.version, key, access, value)?;
        if is_row && is_there && !self.is_for_writes {
            sources.context.cache.row_fill(key, self.index, value);
        }
        Ok(is_there)
    }

    /// Returns what the tree has done since it was opened, and what the tables of this view hold.
    pub fn stats(&self) -> Stats {
        let version = &*self.sources.version;
        let level = |level: usize| version.runs().filter(move |(at, _)| *at == level).map(|(_, run)| run);
        let levels = 0..LEVELS;
        let mut stats = Stats {
            level_tables: levels
                .clone()
                .map(|at| level(at).map(|run| run.tables().len() as u64).sum())
                .collect(),
            level_bytes: levels.map(|at| level(at).map(|run| run.bytes()).sum()).collect(),
            level0_runs: version.level0.len() as u64,
            table_records: version.tables().map(|placed| placed.properties.records).sum(),
            dead_bytes: version.tables().map(|placed| placed.dead_bytes).sum(),
            ..Stats::default()
        };
        self.sources.context.counters.fill(&mut stats);
        stats
    }

    /// Returns the bytes of the memtables of this view.
    pub fn memtable_bytes(&self) -> u64 {
        std::iter::once(&self.sources.active)
            .chain(&self.sources.sealed)
            .map(|memtable| memtable.used_bytes())
            .sum()
    }

    /// Returns how many memtables of this view wait to be flushed.
    pub fn sealed_memtables(&self) -> usize {
        self.sources.sealed.len()
    }

    /// Returns the position up to which the tables of this view reach.
    pub fn flushed(&self) -> Position {
        self.sources.version.flushed.position
    }

    /// Returns the cache of the tree.
    pub fn cache(&self) -> &Cache {
        &self.sources.context.cache
    }

    /// Touches what a look-up of each of these keys will touch in memory. A hint: the look-ups of a batch then wait for
    /// memory together and not one after the other. Whoever only reads finds what is hot in the memtables or among the
    /// rows, which are behind locks that no waits overlap across; filters are touched for writes alone.
    pub fn prefetch(&self, keys: &[&[u8]]) {
        let sources = &*self.sources;
        for memtable in std::iter::once(&sources.active).chain(&sources.sealed) {
            memtable.touch(keys);
        }
        if sources.version.is_empty() || !self.is_for_writes {
            return;
        }
        let hashes: Vec<u64> = keys.iter().map(|key| filter::hash(key)).collect();
        let mut sum = 0;
        for (_, run) in sources.version.runs() {
            for (key, &hash) in keys.iter().zip(&hashes) {
                sum ^= run.find(key).map_or(0, |placed| placed.table.touch(key, hash));
            }
        }
        std::hint::black_box(sum);
    }

    /// Returns a cursor over all keys in byte order. It stands nowhere until it is sought.
    pub fn cursor(&self, access: Access) -> Cursor {
        let sources = &*self.sources;
        // What an empty memtable gets later, this view does not see.
        let memtables = std::iter::once(&sources.active).chain(&sources.sealed);
        let memtables = memtables.filter(|memtable| memtable.used_bytes() > 0);
        let memtables = memtables.map(|memtable| Source::Memtable(memtable.cursor(self.index)));
        let runs = sources.version.runs().filter(|(_, run)| !run.tables().is_empty());
        let runs = runs.map(|(_, run)| Source::Run(RunIter::new(Arc::clone(run), access, SCAN_FILLS_MAX)));
        let deleted_left = match access {
            Access::Memory => DELETED_MAX,
            Access::Disk => usize::MAX,
        };
        Cursor { merge: Merge::new(memtables.chain(runs).collect()), deleted_left, _view: self.clone() }
    }
}

/// Looks `key` up in the tables, newest first.
fn get_in_tables(version: &Version<Table>, key: &[u8], access: Access, value: &mut Value) -> Result<bool> {
    let hash = filter::hash(key);
    for (_, run) in version.runs() {
        let Some(placed) = run.find(key) else { continue };
        match placed.table.get(key, hash, access, value)? {
            table::Found::Missing => {}
            table::Found::Deleted => return Ok(false),
            table::Found::Value => return Ok(true),
        }
    }
    Ok(false)
}

/// A place in a view: at a key, or nowhere. Deleted keys are not seen.
///
/// After an error it stands nowhere; it can be sought again.
pub struct Cursor {
    merge: Merge,
    /// How many deleted keys it may still step over.
    deleted_left: usize,
    _view: View,
}

impl Cursor {
    /// Bounds the cursor: keys below `lower` or from `upper` on are not shown, and blocks that hold no others are not
    /// read. An empty `lower`, or no `upper`, is no bound. The cursor then stands nowhere.
    pub fn set_bounds(&mut self, lower: &[u8], upper: Option<&[u8]>) {
        self.merge.set_bounds(Bounds::new(lower, upper));
    }

    /// Goes to the first key ≥ `key`.
    ///
    /// # Errors
    /// As [`View::get`]; so for the other movements.
    pub fn seek(&mut self, key: &[u8]) -> Result<()> {
        let lower = self.merge.bounds().lower().unwrap_or_default();
        if key < lower {
            let lower = lower.to_vec();
            self.merge.seek(&lower)?;
        } else {
            self.merge.seek(key)?;
        }
        self.skip_forward()
    }

    /// Goes to the last key < `key`.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        match self.merge.bounds().upper() {
            Some(upper) if upper < key => {
                let upper = upper.to_vec();
                self.merge.seek_before(&upper)?;
            }
            _ => self.merge.seek_before(key)?,
        }
        self.skip_backward()
    }

    /// Goes to the next key.
    ///
    /// # Errors
    /// As [`View::get`].
    #[expect(clippy::should_implement_trait, reason = "it can fail, and lends what it shows")]
    pub fn next(&mut self) -> Result<()> {
        self.merge.next()?;
        self.skip_forward()
    }

    /// Goes to the key before.
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn prev(&mut self) -> Result<()> {
        self.merge.prev()?;
        self.skip_backward()
    }

    /// Whether the cursor stands at a key.
    #[inline]
    pub fn valid(&self) -> bool {
        self.merge.valid()
    }

    /// Returns the key. The cursor is valid.
    #[inline]
    pub fn key(&self) -> &[u8] {
        self.merge.key()
    }

    /// Returns the value. The cursor is valid.
    #[inline]
    pub fn value(&self) -> &[u8] {
        self.merge.value().expect("a cursor does not stop at a tombstone")
    }

    fn skip_forward(&mut self) -> Result<()> {
        while self.merge.valid() {
            if self.merge.bounds().upper().is_some_and(|upper| upper <= self.merge.key()) {
                self.merge.leave();
            } else if self.merge.value().is_some() {
                break;
            } else {
                self.count_deleted()?;
                self.merge.next()?;
            }
        }
        Ok(())
    }

    fn count_deleted(&mut self) -> Result<()> {
        match self.deleted_left.checked_sub(1) {
            Some(left) => self.deleted_left = left,
            None => {
                self.merge.leave();
                return Err(Error::WouldTakeLong);
            }
        }
        Ok(())
    }

    fn skip_backward(&mut self) -> Result<()> {
        while self.merge.valid() {
            if self.merge.bounds().lower().is_some_and(|lower| self.merge.key() < lower) {
                self.merge.leave();
            } else if self.merge.value().is_some() {
                break;
            } else {
                self.count_deleted()?;
                self.merge.prev()?;
            }
        }
        Ok(())
    }
}
