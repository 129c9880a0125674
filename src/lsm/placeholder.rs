//! A view over a map in memory, with the signatures of the tree's, so that the keyspace can be built before the tree
//! is there. The tree's `View` and `Cursor` take its place: then this file goes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::{Access, Index, Result, Value};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The records of a store at one instant.
#[derive(Clone, Debug, Default)]
pub struct View {
    index: Index,
    map: Arc<Map>,
}

impl View {
    /// A view of `map` as it is after entry `index`.
    pub fn of_map(index: Index, map: Arc<Map>) -> Self {
        Self { index, map }
    }

    /// The index of the last entry that the view holds.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Reads `key` into `value`; false if there is none.
    pub fn get(&self, key: &[u8], _access: Access, value: &mut Value) -> Result<bool> {
        let found = self.map.get(key);
        found.iter().for_each(|bytes| value.set_copy(bytes));
        Ok(found.is_some())
    }

    /// A hint, without effect on a map.
    pub fn prefetch(&self, _keys: &[&[u8]]) {}

    /// A cursor over all records.
    pub fn cursor(&self, _access: Access) -> Cursor {
        Cursor { map: Arc::clone(&self.map), at: None }
    }
}

/// A position among the records of a view.
#[derive(Debug)]
pub struct Cursor {
    map: Arc<Map>,
    at: Option<(Vec<u8>, Vec<u8>)>,
}

impl Cursor {
    /// Goes to the first record at or after `key`.
    pub fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.go(Bound::Included(key.to_vec()))
    }

    /// Goes to the next record.
    #[expect(clippy::should_implement_trait, reason = "it can fail, and lends what it shows")]
    pub fn next(&mut self) -> Result<()> {
        self.go(Bound::Excluded(self.key().to_vec()))
    }

    /// Whether there is a current record.
    pub fn valid(&self) -> bool {
        self.at.is_some()
    }

    /// The key of the current record.
    pub fn key(&self) -> &[u8] {
        &self.at.as_ref().expect("a valid cursor").0
    }

    /// The value of the current record.
    pub fn value(&self) -> &[u8] {
        &self.at.as_ref().expect("a valid cursor").1
    }

    fn go(&mut self, from: Bound<Vec<u8>>) -> Result<()> {
        let next = self.map.range((from, Bound::Unbounded)).next();
        self.at = next.map(|(key, value)| (key.clone(), value.clone()));
        Ok(())
    }
}
