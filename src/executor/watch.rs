//! WATCH: which sessions want to know that a key changed. **Rule (WATCH)** of the design.
//!
//! A watch lives as long as its session holds it: dropping it is UNWATCH. It is valid in the term it was made in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    bugs::{self, Bug},
    keyspace::{Key, State},
    log::Term,
};

/// What one session watches since its last EXEC.
#[derive(Debug, Default)]
pub struct Watch {
    dirty: AtomicBool,
    asked: Mutex<Asked>,
    keys: Mutex<BTreeSet<Watched>>,
}

/// What the session has asked to watch, so that naming a key again costs nothing.
#[derive(Debug, Default)]
struct Asked {
    keys: BTreeSet<(u32, Bytes)>,
    bytes: usize,
}

/// One key that a session watches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Watched {
    /// The term of the leadership that knows of it.
    pub(super) term: Term,
    /// The database the client named it in.
    pub(super) db: u32,
    /// The client's key.
    pub(super) key: Bytes,
}

impl Watch {
    /// Marks the watch: its EXEC will answer nil.
    pub fn mark(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Whether something watched has changed.
    pub fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Notes that the session asks to watch key `name` of database `db`; false if it does already.
    pub fn ask(&self, db: u32, name: &[u8]) -> bool {
        let mut asked = self.asked.lock().expect("a panic ends the process");
        let is_new = asked.keys.insert((db, Bytes::copy_from_slice(name)));
        if is_new {
            asked.bytes += name.len() + WATCHED_BYTES;
        }
        is_new
    }

    /// How many keys the session has asked to watch, and the memory that this takes in bytes, about.
    pub fn size(&self) -> (usize, usize) {
        let asked = self.asked.lock().expect("a panic ends the process");
        (asked.keys.len(), asked.bytes)
    }

    /// What is watched.
    pub(super) fn keys(&self) -> BTreeSet<Watched> {
        self.keys.lock().expect("a panic ends the process").clone()
    }
}

/// What a watched key costs besides its own bytes, here and in the leadership, about.
const WATCHED_BYTES: usize = 300;

/// Registrations that are kept before the first sweep for watches that were dropped.
const SWEEP_MIN: usize = 1024;

/// A watch, and the database in which its session named the key.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    watch: Weak<Watch>,
    db: u32,
}

impl Watcher {
    /// The database in which the key was named.
    pub(super) fn db(&self) -> u32 {
        self.db
    }

    /// Marks the watch, if its session still holds it.
    pub(super) fn mark(&self) {
        if let Some(watch) = self.watch.upgrade() {
            watch.mark();
        }
    }
}

/// Who watches what, by the encoded metadata key.
///
/// A watcher may stand under several keys, since its database may have been several keyspaces; the one of now counts.
#[derive(Debug)]
pub(super) struct Watches {
    by_key: BTreeMap<Bytes, Vec<Watcher>>,
    registered: usize,
    sweep_at: usize,
}

impl Default for Watches {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), registered: 0, sweep_at: SWEEP_MIN }
    }
}

impl Watches {
    /// Whether nobody watches anything: then no command need look.
    pub(super) fn is_empty(&self) -> bool {
        self.registered == 0
    }

    /// Registers `watch` for `watched`, whose metadata is at `key`.
    pub(super) fn register(&mut self, watch: &Arc<Watch>, watched: Watched, key: &Key) {
        let watcher = Watcher { watch: Arc::downgrade(watch), db: watched.db };
        watch.keys.lock().expect("a panic ends the process").insert(watched);
        self.follow(watcher, key);
    }

    /// Registers `watcher` for the key whose metadata is at `key`, unless it is already.
    pub(super) fn follow(&mut self, watcher: Watcher, key: &Key) {
        if self.registered >= self.sweep_at {
            self.sweep();
        }
        let watchers = self.by_key.entry(Bytes::copy_from_slice(key.encoded())).or_default();
        let same = |other: &Watcher| other.db == watcher.db && other.watch.ptr_eq(&watcher.watch);
        if !watchers.iter().any(same) {
            watchers.push(watcher);
            self.registered += 1;
        }
    }

    /// Marks all who watch the key at `meta_key`, which is in the keyspace that their database is in `state`.
    pub(super) fn touched(&mut self, meta_key: &[u8], state: &State) {
        if bugs::on(Bug::WatchIgnored) {
            return;
        }
        let Some(watchers) = self.by_key.get_mut(meta_key) else { return };
        let keyspace = Key::from_encoded(meta_key).keyspace();
        let before = watchers.len();
        watchers.retain(|watcher| {
            let is_its_key = state.keyspace(watcher.db) == keyspace;
            if is_its_key {
                watcher.mark();
            }
            !is_its_key
        });
        self.registered -= before - watchers.len();
        if watchers.is_empty() {
            self.by_key.remove(meta_key);
        }
    }

    /// Who watches a key in one of the databases `changed`, with the name of the key. The databases come with the
    /// keyspace that each was when its watchers were registered.
    pub(super) fn in_databases(&self, changed: &BTreeMap<u32, u32>) -> Vec<(Bytes, Watcher)> {
        let mut found = Vec::new();
        for (meta_key, watchers) in &self.by_key {
            let key = Key::from_encoded(meta_key);
            let concerned = |watcher: &&Watcher| {
                changed.get(&watcher.db) == Some(&key.keyspace()) && watcher.watch.strong_count() > 0
            };
            let name = Bytes::copy_from_slice(key.name());
            found.extend(watchers.iter().filter(concerned).map(|watcher| (name.clone(), watcher.clone())));
        }
        found
    }

    /// Forgets the watches that their sessions have dropped.
    fn sweep(&mut self) {
        self.by_key.retain(|_, watchers| {
            watchers.retain(|watcher| watcher.watch.strong_count() > 0);
            !watchers.is_empty()
        });
        self.registered = self.by_key.values().map(Vec::len).sum();
        self.sweep_at = SWEEP_MIN.max(2 * self.registered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> Watched {
        Watched { term: 1, db: 0, key: Bytes::from_static(b"k") }
    }

    #[test]
    fn dropped_watches_are_forgotten() {
        let mut watches = Watches::default();
        let key = Key::new(1, 7, b"k");
        for _ in 0..3 * SWEEP_MIN {
            watches.register(&Arc::new(Watch::default()), watched(), &key);
            assert!(watches.registered <= SWEEP_MIN + 1);
        }
        assert!(watches.in_databases(&BTreeMap::from([(0, 1)])).is_empty());
    }

    #[test]
    fn a_key_is_watched_once_however_often_it_is_named() {
        let (mut watches, watch) = (Watches::default(), Arc::new(Watch::default()));
        let key = Key::new(1, 7, b"k");
        for _ in 0..3 {
            watches.register(&watch, watched(), &key);
        }
        assert_eq!((watches.registered, watch.keys().len()), (1, 1));
        assert!(watch.ask(0, b"k"));
        assert!(!watch.ask(0, b"k"));
        assert!(watch.ask(1, b"k"));
        assert_eq!(watch.size().0, 2);
    }
}
