//! The keyspace as the executor drives it, against plain models.

mod bounded;
mod counts;
mod expiring;
mod model;
mod scanning;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::Header;
use super::*;
use crate::disk::SimDisk;
use crate::lsm::{self, Access, Batch};

/// A node without log and network: entries are applied when a test says so.
pub(super) struct Node {
    tree: lsm::Tree,
    /// The same as the tree, to look at.
    base: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) published: Published,
    pub(super) overlay: Overlay,
    pub(super) state: State,
    pub(super) rng: fastrand::Rng,
    /// Entries that are proposed and not applied.
    pub(super) in_flight: Vec<(u64, Batch)>,
    pub(super) entry: u64,
    pub(super) stamp: u64,
}

impl Node {
    pub(super) fn new(seed: u64) -> Self {
        let options = lsm::Options::new(FAMILIES, Arc::new(lsm::Cache::new(1 << 20)), 1 << 20);
        let tree = lsm::Tree::open(Arc::new(SimDisk::new(seed)), "tree", options).unwrap();
        let view = tree.view();
        Self {
            published: Published::load(&view).unwrap(),
            state: State::load(&view, seed ^ 0x9e37_79b9_7f4a_7c15).unwrap(),
            overlay: Overlay::new(),
            rng: fastrand::Rng::with_seed(seed),
            in_flight: Vec::new(),
            entry: 1,
            stamp: 1_000_000,
            base: BTreeMap::new(),
            tree,
        }
    }

    pub(super) fn tree(&self) -> lsm::View {
        self.tree.view()
    }

    /// Runs one command as a drain of its own.
    pub(super) fn run<R>(&mut self, db: u32, command: impl FnOnce(&mut WriteTxn<'_>) -> Result<R>) -> R {
        let mut drain = Drain::new(self.entry, self.stamp);
        let result = self.step(&mut drain, db, command).unwrap();
        self.end(drain);
        result
    }

    /// Runs one command of a drain; an error undoes it.
    pub(super) fn step<R>(
        &mut self,
        drain: &mut Drain,
        db: u32,
        command: impl FnOnce(&mut WriteTxn<'_>) -> Result<R>,
    ) -> Result<R> {
        let base = self.tree();
        let mark = drain.mark(&self.state);
        let mut txn =
            WriteTxn::new(&base, Access::Disk, &mut self.overlay, drain, &mut self.state, &mut self.rng, db);
        let result = command(&mut txn);
        if result.is_err() {
            drain.rollback(&mut self.overlay, &mut self.state, mark);
        }
        result
    }

    /// Ends a drain: its entry is in flight.
    pub(super) fn end(&mut self, drain: Drain) {
        let entry = drain.entry();
        if let Some(batch) = drain.finish(&mut self.overlay, &mut self.state) {
            let keys: Vec<_> = batch.iter().map(|(key, _)| key.to_vec()).collect();
            assert!(keys.is_sorted_by(|left, right| left < right), "one effect per key, in order");
            self.in_flight.push((entry, batch));
            self.entry += 1;
        }
    }

    /// Applies the oldest entry in flight.
    pub(super) fn apply_one(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let (entry, batch) = self.in_flight.remove(0);
        for (key, value) in batch.iter() {
            match value {
                Some(value) => self.base.insert(key.to_vec(), value.to_vec()),
                None => self.base.remove(key),
            };
        }
        self.tree.apply(lsm::Position { index: entry, term: 1 }, &batch);
        self.published.absorb(&batch);
        self.overlay.applied(entry, &batch);
    }

    pub(super) fn apply_all(&mut self) {
        while !self.in_flight.is_empty() {
            self.apply_one();
        }
        assert!(self.overlay.is_empty(), "everything is applied");
        assert_eq!(self.overlay.bytes(), 0);
    }

    /// What a connection reads, of what is applied.
    pub(super) fn read<R>(
        &self,
        db: u32,
        present: u64,
        read: impl FnOnce(&View<'_>) -> Result<R>,
    ) -> Result<R> {
        let base = self.tree();
        let view = View::new(&base, Access::Disk, &self.published, present, db, 1);
        read(&view)
    }

    /// The META keys of a keyspace that no grave covers, with their headers. Only when everything is applied.
    fn live_keys(&self, keyspace: u32) -> Vec<(Key, Header)> {
        let prefix = encoding::family_prefix(META, keyspace);
        self.live(&prefix).map(|(key, value)| (Key::from_encoded(key), Header::decode(value).0)).collect()
    }

    fn live<'s>(&'s self, prefix: &[u8]) -> impl Iterator<Item = (&'s [u8], &'s [u8])> {
        self.base
            .range(prefix.to_vec()..)
            .take_while({
                let prefix = prefix.to_vec();
                move |(key, _)| key.starts_with(&prefix)
            })
            .filter(|(key, _)| !self.is_buried(key))
            .map(|(key, value)| (&key[..], &value[..]))
    }

    fn is_buried(&self, key: &[u8]) -> bool {
        (1..=key.len()).any(|end| {
            let mut grave = vec![DEAD];
            grave.extend_from_slice(&key[..end]);
            self.base.contains_key(&grave)
        })
    }

    /// What must be true of every tree: counts are those of a scan, the TTL index says what META says, and every record
    /// of DATA belongs to a key or is buried.
    pub(super) fn check(&mut self) -> std::result::Result<(), String> {
        self.apply_all();
        let databases = *self.state.databases();
        if State::load(&self.tree(), 0).map_err(|e| e.to_string())?.databases() != &databases {
            return Err("the state in memory is not that of the tree".into());
        }
        let mut objects = Vec::new();
        for database in databases {
            let keys = self.live_keys(database.keyspace);
            let expires: Vec<_> = keys
                .iter()
                .filter_map(|(key, header)| header.expire_ms.map(|at| key.ttl_key(at).to_vec()))
                .collect();
            let counts = Counts { keys: keys.len() as u64, expires: expires.len() as u64 };
            if counts != database.counts {
                return Err(format!("{database:?} holds {counts:?}"));
            }
            let mut indexed: Vec<_> = self
                .live(&encoding::family_prefix(TTL, database.keyspace))
                .map(|(key, _)| key.to_vec())
                .collect();
            let mut expires = expires;
            expires.sort();
            indexed.sort();
            if indexed != expires {
                return Err(format!("keyspace {}: the TTL index differs from META", database.keyspace));
            }
            objects.extend(keys.iter().filter_map(|(_, header)| header.object));
        }
        objects.sort();
        if objects.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("two keys share an object".into());
        }
        for (key, _) in self.live(&[DATA]) {
            let object = encoding::Object::from_bytes(&key[1..]);
            // A keyspace that is retired keeps what is dead until the last moved collection in it dies.
            let is_retired = databases.iter().all(|database| database.keyspace != object.keyspace);
            if objects.binary_search(&object).is_err() && !is_retired {
                return Err(format!("{object:?} belongs to no key and is not buried"));
            }
        }
        match objects.iter().find(|object| self.is_buried(&object.prefix())) {
            Some(object) => Err(format!("{object:?} is buried alive")),
            None => Ok(()),
        }
    }
}
