//! Versions: which tables there are, level by level. A version never changes; an edit makes the next one.
//!
//! Level 0 is a list of *runs*, newest first: a flush adds one. Each of the levels 1 to 6 is one run. The tables of a run
//! are in key order and do not overlap; what stands in an earlier run, or in a lower-numbered level, is newer than what
//! the others hold for the same key. So a look-up that goes from the front finds the newest version first.

use std::sync::Arc;

use bytes::Bytes;

use super::{Index, Position, coding::fence, table::Properties};

/// Levels of a tree, level 0 included.
pub(super) const LEVELS: usize = 7;
/// The level below which there is nothing.
pub(super) const BOTTOM: usize = LEVELS - 1;

/// How far the tables reach: what is above is in memtables and in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// The last entry that the tables hold, with all before it.
    pub position: Position,
    /// The membership at that entry, as [`Tree::set_membership`](super::Tree::set_membership) was told.
    pub membership: Bytes,
    /// The tables came from elsewhere and the log has not been reset to `position` yet.
    pub log_reset_pending: bool,
}

/// A table in its place. The picker needs no open table: `T` is `()` in its tests.
#[derive(Debug)]
pub(super) struct Placed<T> {
    pub(super) properties: Arc<Properties>,
    /// About how many bytes of it are known to belong to dead prefixes.
    pub(super) dead_bytes: u64,
    /// All keys of the table with an index below this are dead; 0 if that is not known of all its keys.
    pub(super) dead_below: Index,
    pub(super) table: Arc<T>,
}

impl<T> Clone for Placed<T> {
    fn clone(&self) -> Self {
        Placed {
            properties: Arc::clone(&self.properties),
            dead_bytes: self.dead_bytes,
            dead_below: self.dead_below,
            table: Arc::clone(&self.table),
        }
    }
}

impl<T> Placed<T> {
    pub(super) fn id(&self) -> u64 {
        self.properties.id
    }

    pub(super) fn bytes(&self) -> u64 {
        self.properties.file_bytes
    }

    /// Whether nothing in the table is of use to anyone.
    pub(super) fn is_dead(&self) -> bool {
        self.properties.max_index < self.dead_below
    }
}

/// Tables in key order that do not overlap.
pub(super) struct Run<T> {
    /// Counts flushes; newer runs have higher numbers.
    pub(super) number: u64,
    tables: Vec<Placed<T>>,
    /// The first bytes of each table's last key: a search reads these and follows one pointer at its end.
    fences: Vec<u64>,
    bytes: u64,
}

impl<T> Run<T> {
    pub(super) fn new(number: u64, mut tables: Vec<Placed<T>>) -> Run<T> {
        tables.sort_by(|a, b| a.properties.min_key.cmp(&b.properties.min_key));
        for pair in tables.windows(2) {
            assert!(
                pair[0].properties.max_key < pair[1].properties.min_key,
                "tables {} and {} of a run overlap",
                pair[0].id(),
                pair[1].id()
            );
        }
        let fences = tables.iter().map(|placed| fence(&placed.properties.max_key)).collect();
        let bytes = tables.iter().map(Placed::bytes).sum();
        Run { number, tables, fences, bytes }
    }

    pub(super) fn tables(&self) -> &[Placed<T>] {
        &self.tables
    }

    /// Returns the position of the first table whose last key is ≥ `key`.
    #[inline]
    pub(super) fn position(&self, key: &[u8]) -> usize {
        let wanted = fence(key);
        let mut at = self.fences.partition_point(|&fence| fence < wanted);
        while at < self.tables.len()
            && self.fences[at] == wanted
            && *self.tables[at].properties.max_key < *key
        {
            at += 1;
        }
        at
    }

    /// Returns the table in which `key` would be.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<&Placed<T>> {
        self.tables.get(self.position(key)).filter(|placed| *placed.properties.min_key <= *key)
    }

    /// Returns the tables that overlap the closed range.
    pub(super) fn overlapping(&self, min_key: &[u8], max_key: &[u8]) -> &[Placed<T>] {
        let start = self.position(min_key);
        let end = self.tables.partition_point(|placed| *placed.properties.min_key <= *max_key);
        &self.tables[start..end.max(start)]
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// An immutable set of tables, and how far it reaches.
pub(super) struct Version<T> {
    /// Counts edits; the durable order of versions.
    pub(super) number: u64,
    pub(super) flushed: Flushed,
    /// Newest first.
    pub(super) level0: Vec<Arc<Run<T>>>,
    /// Levels 1 to 6, at positions 0 to 5.
    pub(super) deeper: Vec<Arc<Run<T>>>,
}

/// A table and where it stands.
pub(super) struct Listed<T> {
    pub(super) level: usize,
    /// Of level 0; 0 elsewhere.
    pub(super) run: u64,
    pub(super) placed: Placed<T>,
}

/// What an edit changes.
pub(super) struct Edit<T> {
    /// Ids of tables that are dropped.
    pub(super) removed: Vec<u64>,
    /// Tables that come, or that stand elsewhere now (their ids are in `removed` too).
    pub(super) added: Vec<Listed<T>>,
    pub(super) flushed: Option<Flushed>,
}

impl<T> Default for Edit<T> {
    fn default() -> Self {
        Edit { removed: Vec::new(), added: Vec::new(), flushed: None }
    }
}

impl<T> Version<T> {
    /// Makes the version that holds these tables.
    pub(super) fn new(number: u64, flushed: Flushed, tables: Vec<Listed<T>>) -> Version<T> {
        let mut level0: Vec<(u64, Vec<Placed<T>>)> = Vec::new();
        let mut deeper: Vec<Vec<Placed<T>>> = (1..LEVELS).map(|_| Vec::new()).collect();
        for listed in tables {
            let index = listed.placed.properties.max_index;
            assert!(index <= flushed.position.index, "a table holds entry {index}, above what is flushed");
            assert!(listed.level < LEVELS, "there are seven levels");
            if listed.level > 0 {
                deeper[listed.level - 1].push(listed.placed);
            } else if let Some((_, run)) = level0.iter_mut().find(|(number, _)| *number == listed.run) {
                run.push(listed.placed);
            } else {
                level0.push((listed.run, vec![listed.placed]));
            }
        }
        level0.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        let level0 = level0.into_iter().map(|(number, tables)| Arc::new(Run::new(number, tables))).collect();
        let deeper = deeper.into_iter().map(|tables| Arc::new(Run::new(0, tables))).collect();
        Version { number, flushed, level0, deeper }
    }

    /// Returns the version that follows by `edit`.
    pub(super) fn edited(&self, edit: Edit<T>) -> Version<T> {
        let mut left = edit.removed.len();
        let mut tables: Vec<Listed<T>> = self
            .listed()
            .filter(|listed| {
                let is_removed = edit.removed.contains(&listed.placed.id());
                left -= usize::from(is_removed);
                !is_removed
            })
            .collect();
        assert!(left == 0, "an edit removes a table that is not there");
        tables.extend(edit.added);
        let flushed = edit.flushed.unwrap_or_else(|| self.flushed.clone());
        assert!(self.flushed.position <= flushed.position, "what was flushed is flushed for good");
        Version::new(self.number + 1, flushed, tables)
    }

    /// Returns all tables with their places.
    pub(super) fn listed(&self) -> impl Iterator<Item = Listed<T>> + '_ {
        self.runs().flat_map(|(level, run)| {
            run.tables().iter().map(move |placed| Listed { level, run: run.number, placed: placed.clone() })
        })
    }

    /// Returns all runs with their levels, newest first.
    pub(super) fn runs(&self) -> impl Iterator<Item = (usize, &Arc<Run<T>>)> {
        let deeper = self.deeper.iter().enumerate().map(|(above, run)| (above + 1, run));
        self.level0.iter().map(|run| (0, run)).chain(deeper)
    }

    /// Returns all tables, newest first.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Placed<T>> {
        self.runs().flat_map(|(_, run)| run.tables())
    }

    /// Returns level `level`, which is not 0.
    pub(super) fn level(&self, level: usize) -> &Run<T> {
        &self.deeper[level - 1]
    }

    /// Whether there is no table.
    pub(super) fn is_empty(&self) -> bool {
        self.level0.is_empty() && self.deeper.iter().all(|run| run.tables().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a table's facts for tests that need no file.
    fn placed(id: u64, min_key: &[u8], max_key: &[u8], max_index: Index) -> Placed<()> {
        let properties = Properties {
            id,
            file_bytes: 100,
            file_hash: 0,
            family: min_key[0],
            min_key: Bytes::copy_from_slice(min_key),
            max_key: Bytes::copy_from_slice(max_key),
            base_index: 1,
            max_index,
            records: 1,
            tombstones: 0,
            raw_bytes: 100,
            data_blocks: 1,
        };
        Placed { properties: Arc::new(properties), dead_bytes: 0, dead_below: 0, table: Arc::new(()) }
    }

    fn flushed(index: Index) -> Flushed {
        Flushed { position: Position { index, term: 1 }, ..Flushed::default() }
    }

    #[test]
    fn a_run_finds_the_table_of_a_key() {
        let tables = [(1, "ab", "ad"), (2, "af", "afaaaaaaaaz"), (3, "afaaaaaaaazz", "ag")];
        let tables = tables.map(|(id, min, max)| placed(id, min.as_bytes(), max.as_bytes(), 1));
        let run = Run::new(0, tables.into());
        let find = |key: &str| run.find(key.as_bytes()).map(Placed::id);
        assert_eq!(find("aa"), None);
        assert_eq!(find("ab"), Some(1));
        assert_eq!(find("ae"), None);
        assert_eq!(find("afaaaaaaaaz"), Some(2));
        assert_eq!(find("afaaaaaaaazza"), Some(3));
        assert_eq!(find("agz"), None);
        let ids = |min: &str, max: &str| -> Vec<u64> {
            run.overlapping(min.as_bytes(), max.as_bytes()).iter().map(Placed::id).collect()
        };
        assert_eq!(ids("a", "z"), [1, 2, 3]);
        assert_eq!(ids("ad", "af"), [1, 2]);
        assert_eq!(ids("ae", "aea"), [0; 0]);
        assert_eq!(ids("b", "c"), [0; 0]);
    }

    #[test]
    fn newer_runs_come_first() {
        let listed = |run, id| Listed { level: 0, run, placed: placed(id, b"a", b"z", 5) };
        let version = Version::new(1, flushed(5), vec![listed(3, 30), listed(7, 70), listed(5, 50)]);
        let ids: Vec<u64> = version.tables().map(Placed::id).collect();
        assert_eq!(ids, [70, 50, 30]);
    }

    #[test]
    #[should_panic(expected = "of a run overlap")]
    fn tables_of_a_level_must_not_overlap() {
        let listed = |id, min: &[u8]| Listed { level: 2, run: 0, placed: placed(id, min, b"z", 5) };
        Version::new(1, flushed(5), vec![listed(1, b"a"), listed(2, b"b")]);
    }

    #[test]
    #[should_panic(expected = "above what is flushed")]
    fn no_table_holds_more_than_what_is_flushed() {
        Version::new(1, flushed(5), vec![Listed { level: 0, run: 1, placed: placed(1, b"a", b"b", 6) }]);
    }
}
