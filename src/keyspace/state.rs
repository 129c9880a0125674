//! The system keys: what is replicated beside the users' data, and the state that the executor keeps decoded from it.
//!
//! | system key | value, after the version byte |
//! |---|---|
//! | `count` keyspace (4) | keys (8), keys with expiry (8) |
//! | `databases` | of each database its keyspace (4) |
//! | `next` | next object id (8), next keyspace id (4) |
//! | `seed` | the seed of all hashes (8) |
//! | `stamp` | time of the entry, ms since 1970 (8) |

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SYSTEM;
use super::encoding::{Encoded, Key, read_u32, read_u64};
use crate::bugs::{self, Bug};
use crate::lsm::{self, Access, Batch};

/// The version byte of every system value.
const VERSION: u8 = 1;

/// Number of databases of a node.
pub const DATABASES: usize = 16;

const STAMP: &[u8] = b"stamp";
const SEED: &[u8] = b"seed";
const MAP: &[u8] = b"databases";
const NEXT: &[u8] = b"next";
const COUNT: &[u8] = b"count";

/// The system key of `name`.
pub(super) fn system_key(name: &[u8]) -> Encoded {
    let mut key = Encoded::new();
    key.push(SYSTEM);
    key.extend_from_slice(name);
    key
}

pub(super) fn count_key(keyspace: u32) -> Encoded {
    let mut key = system_key(COUNT);
    key.extend_from_slice(&keyspace.to_be_bytes());
    key
}

fn versioned(pieces: &[&[u8]]) -> Encoded {
    let mut value = Encoded::new();
    value.push(VERSION);
    pieces.iter().for_each(|piece| value.extend_from_slice(piece));
    value
}

/// What follows the version byte.
fn body(value: &[u8]) -> &[u8] {
    let (&version, body) = value.split_first().expect("a system value has a version byte");
    assert!(version == VERSION, "a system value of version {version}: it was written by a newer version");
    body
}

/// How many keys a keyspace holds. Keys that are due and not yet deleted are counted, as in Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All keys.
    pub keys: u64,
    /// Those with a time to live.
    pub expires: u64,
}

impl Counts {
    pub(super) fn decode(value: &[u8]) -> Self {
        let body = body(value);
        Self { keys: read_u64(body), expires: read_u64(&body[8..]) }
    }

    fn encode(self) -> Encoded {
        versioned(&[&self.keys.to_be_bytes(), &self.expires.to_be_bytes()])
    }
}

/// What a database is at the moment: a keyspace, and how full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// The keyspace that its keys are in.
    pub keyspace: u32,
    /// The keys of that keyspace.
    pub counts: Counts,
}

/// What a view must know to find a key: the seed of the hashes and the keyspace of each database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseMap {
    /// The seed of all hashes of keys and fields.
    pub hash_seed: u64,
    /// The keyspace of each database.
    pub keyspaces: [u32; DATABASES],
}

impl DatabaseMap {
    /// The map of a tree that holds nothing yet: no key can be found with it, whatever the seed will be.
    fn unformed() -> Self {
        let mut keyspaces = [0; DATABASES];
        for (keyspace, id) in keyspaces.iter_mut().zip(1..) {
            *keyspace = id;
        }
        Self { hash_seed: 0, keyspaces }
    }

    fn decode_keyspaces(&mut self, value: &[u8]) {
        let body = body(value);
        assert!(body.len() == 4 * DATABASES, "the database map has {} bytes", body.len());
        for (keyspace, bytes) in self.keyspaces.iter_mut().zip(body.chunks_exact(4)) {
            *keyspace = read_u32(bytes);
        }
    }
}

/// What is published with a view of the tree, because reads need it decoded.
#[derive(Clone, Debug)]
pub struct Published {
    /// The stamp of the last entry applied, ms since 1970.
    pub stamp: u64,
    /// The databases after it.
    pub databases: Arc<DatabaseMap>,
}

impl Published {
    /// Reads it from the tree, at start and after an install.
    pub fn load(view: &lsm::View) -> Result<Self, lsm::Error> {
        let mut value = lsm::Value::default();
        let read = |name: &[u8], value: &mut lsm::Value| view.get(&system_key(name), Access::Disk, value);
        let mut databases = DatabaseMap::unformed();
        let stamp = if read(STAMP, &mut value)? { read_u64(body(&value)) } else { 0 };
        if read(SEED, &mut value)? {
            databases.hash_seed = read_u64(body(&value));
        }
        if read(MAP, &mut value)? {
            databases.decode_keyspaces(&value);
        }
        Ok(Self { stamp, databases: Arc::new(databases) })
    }

    /// Follows the entry whose effects are `batch`. It looks at the system keys only, which come first in a batch.
    pub fn absorb(&mut self, batch: &Batch) {
        for (key, value) in batch.iter() {
            let (&family, name) = key.split_first().expect("a key has a family");
            if family != SYSTEM {
                break;
            }
            match (name, value) {
                (STAMP, Some(value)) => self.stamp = read_u64(body(value)),
                (SEED, Some(value)) => Arc::make_mut(&mut self.databases).hash_seed = read_u64(body(value)),
                (MAP, Some(value)) => Arc::make_mut(&mut self.databases).decode_keyspaces(value),
                _ => {}
            }
        }
    }
}

/// Sizes above which a value is laid out differently, and the longest string. They decide what the leader writes, never
/// how a value is read: nodes may differ.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest string, `proto-max-bulk-len`.
    pub string_bytes_max: u64,
    /// The most fields of a hash within its META record, `hash-max-listpack-entries`.
    pub hash_inline_entries_max: usize,
    /// The longest field or value of a hash within its META record, `hash-max-listpack-value`.
    pub hash_inline_value_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            string_bytes_max: 64 * 1024 * 1024,
            hash_inline_entries_max: 512,
            hash_inline_value_bytes_max: 64,
        }
    }
}

/// The numbers that are drawn from. They are part of a [`Mark`](super::Mark): what is undone was not drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) object: u64,
    pub(super) keyspace: u32,
}

/// The replicated state outside the users' keys as the executor has it while it evaluates: the system keys after
/// everything that it has written. Made anew, from the tree, with each leadership and each chain.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) next: Next,
    pub(super) databases: [Database; DATABASES],
    pub(super) map: Arc<DatabaseMap>,
    /// Whether the tree holds no system keys yet: the first entry writes them all.
    pub(super) is_unformed: bool,
    /// The limits that commands obey; the executor keeps them as they are configured.
    pub limits: Limits,
    stamp: u64,
    /// Of a keyspace, a time before which its TTL index holds nothing; 0 if it is not here. What is undone may leave it
    /// too low, never too high.
    ttl_floors: BTreeMap<u32, u64>,
}

impl State {
    /// Reads the state from the tree. A tree that is empty gets `new_seed`, and with the first entry all its system
    /// keys.
    pub fn load(view: &lsm::View, new_seed: u64) -> Result<Self, lsm::Error> {
        let mut value = lsm::Value::default();
        let Published { stamp, databases: mut map } = Published::load(view)?;
        let is_unformed = !view.get(&system_key(SEED), Access::Disk, &mut value)?;
        if is_unformed {
            Arc::make_mut(&mut map).hash_seed = new_seed;
        }
        let mut next = Next { object: 1, keyspace: map.keyspaces.iter().copied().fold(0, u32::max) + 1 };
        if view.get(&system_key(NEXT), Access::Disk, &mut value)? {
            let body = body(&value);
            next = Next { object: read_u64(body), keyspace: read_u32(&body[8..]) };
        }
        let mut databases = [Database::default(); DATABASES];
        for (database, &keyspace) in databases.iter_mut().zip(&map.keyspaces) {
            database.keyspace = keyspace;
            if view.get(&count_key(keyspace), Access::Disk, &mut value)? {
                database.counts = Counts::decode(&value);
            }
        }
        Ok(Self {
            next,
            databases,
            map,
            is_unformed,
            limits: Limits::default(),
            stamp,
            ttl_floors: BTreeMap::new(),
        })
    }

    /// The stamp of the last entry in the tree when the state was loaded: a new leadership's time begins no earlier.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The databases, with their counts.
    pub fn databases(&self) -> &[Database; DATABASES] {
        &self.databases
    }

    /// The key `name` of database `db`.
    pub fn key(&self, db: u32, name: &[u8]) -> Key {
        Key::new(self.databases[db as usize].keyspace, self.map.hash_seed, name)
    }

    /// The key `name` of what was database `db` when its keyspace was `keyspace`.
    pub(crate) fn key_in(&self, keyspace: u32, name: &[u8]) -> Key {
        Key::new(keyspace, self.map.hash_seed, name)
    }

    /// The keyspace that database `db` is now.
    pub(crate) fn keyspace(&self, db: u32) -> u32 {
        self.databases[db as usize].keyspace
    }

    /// What views of this state need.
    pub fn map(&self) -> &Arc<DatabaseMap> {
        &self.map
    }

    /// A time before which the TTL index of `keyspace` holds nothing.
    pub(super) fn ttl_floor(&self, keyspace: u32) -> u64 {
        self.ttl_floors.get(&keyspace).copied().unwrap_or(0)
    }

    /// The TTL index of `keyspace` begins with `at`: everything that was before is deleted, by commands that will not be
    /// undone without this state.
    pub(super) fn raise_ttl_floor(&mut self, keyspace: u32, at: u64) {
        self.ttl_floors.insert(keyspace, at);
    }

    /// `keyspace` is no more.
    pub(super) fn forget_ttl_floor(&mut self, keyspace: u32) {
        self.ttl_floors.remove(&keyspace);
    }

    /// Something in `keyspace` becomes due at `at`.
    pub(super) fn lower_ttl_floor(&mut self, keyspace: u32, at: u64) {
        if let Some(floor) = self.ttl_floors.get_mut(&keyspace) {
            *floor = at.min(*floor);
        }
    }

    /// The map follows the databases, after a flush, a swap, or the undoing of one.
    pub(super) fn refresh_map(&mut self) {
        let same =
            self.map.keyspaces.iter().zip(&self.databases).all(|(id, database)| *id == database.keyspace);
        if !same {
            let map = Arc::make_mut(&mut self.map);
            map.keyspaces = self.databases.map(|database| database.keyspace);
        }
    }
}

/// Which system keys an entry must write, beside its stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// A bit per database whose counts changed.
    pub(super) counts: u32,
    pub(super) map: bool,
    pub(super) next: bool,
}

/// The system keys that an entry of `stamp` writes, with their values.
pub(super) fn effects(state: &State, stamp: u64, changed: Changed) -> Vec<(Encoded, Encoded)> {
    let all = state.is_unformed;
    let changed = if bugs::on(Bug::StateOutsideTree) {
        Changed { map: changed.map, ..Changed::default() }
    } else {
        changed
    };
    let mut effects = vec![(system_key(STAMP), versioned(&[&stamp.to_be_bytes()]))];
    if all {
        effects.push((system_key(SEED), versioned(&[&state.map.hash_seed.to_be_bytes()])));
    }
    if all || changed.map {
        let ids = state.databases.map(|database| database.keyspace.to_be_bytes());
        effects.push((system_key(MAP), versioned(&[ids.as_flattened()])));
    }
    if all || changed.next {
        let Next { object, keyspace } = state.next;
        effects.push((system_key(NEXT), versioned(&[&object.to_be_bytes(), &keyspace.to_be_bytes()])));
    }
    for (index, database) in state.databases.iter().enumerate() {
        if changed.counts & 1 << index != 0 {
            effects.push((count_key(database.keyspace), database.counts.encode()));
        }
    }
    effects
}
