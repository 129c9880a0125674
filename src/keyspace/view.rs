//! What a read sees: the keyspace at one instant, without a way to change it.

use std::cell::{Cell, RefCell, RefMut};

use super::encoding::{Encoded, Key};
use super::error::{CommandError, Failure, Result, Stop};
use super::overlay::Overlay;
use super::record::{Header, Record};
use super::source::{Source, Walk};
use super::state::{Counts, DATABASES, Database, DatabaseMap, Published, State, count_key};
use crate::bugs::{self, Bug};
use crate::lsm::{self, Access, Value};

/// The keyspace at one instant, with one database selected.
///
/// **Time.** The instant carries the stamp of its last entry, and that alone decides which keys exist. A point read that
/// finds a key due by the present time but not by the stamp ends as [`Stop::Stamp`]: the executor will make an entry
/// with a newer stamp. Reads that iterate the keyspace go by the stamp.
pub struct View<'a> {
    source: Source<'a>,
    state: Option<&'a State>,
    databases: &'a DatabaseMap,
    db: u32,
    stamp: u64,
    present: u64,
    rng: RefCell<fastrand::Rng>,
    scratch: Cell<Option<Value>>,
    seen: RefCell<Seen>,
    lookups: Cell<(u64, u64)>,
}

/// What a read in the executor has relied on, which an entry must make true for good.
#[derive(Debug, Default)]
pub struct Seen {
    /// Keys that were treated as absent because they are due.
    pub(super) due: Vec<Key>,
    /// Whether a walk stepped over keys that are due.
    pub(super) is_stamp_used: bool,
}

impl<'a> View<'a> {
    /// The view of a connection: `base` and what was `published` with it, at `present` ms since 1970. `seed` makes the
    /// random choices: a read that is run again must be given the same.
    pub fn new(
        base: &'a lsm::View,
        access: Access,
        published: &'a Published,
        present: u64,
        db: u32,
        seed: u64,
    ) -> Self {
        let source = Source { base, overlay: None, access };
        Self::with(source, None, &published.databases, (published.stamp, present), db, seed)
    }

    /// The view of a command in the executor.
    pub(super) fn of_executor(
        base: &'a lsm::View,
        access: Access,
        overlay: &'a Overlay,
        state: &'a State,
        stamp: u64,
        db: u32,
        seed: u64,
    ) -> Self {
        let source = Source { base, overlay: Some(overlay), access };
        Self::with(source, Some(state), state.map(), (stamp, stamp), db, seed)
    }

    fn with(
        source: Source<'a>,
        state: Option<&'a State>,
        databases: &'a DatabaseMap,
        (stamp, present): (u64, u64),
        db: u32,
        seed: u64,
    ) -> Self {
        assert!((db as usize) < DATABASES, "database {db} was never selectable");
        Self {
            source,
            state,
            databases,
            db,
            stamp,
            present,
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            scratch: Cell::new(Some(Value::default())),
            seen: RefCell::default(),
            lookups: Cell::default(),
        }
    }

    /// The database that is selected.
    pub fn db(&self) -> u32 {
        self.db
    }

    /// Selects another database, for the next command of a pipeline.
    pub fn select(&mut self, db: u32) {
        assert!((db as usize) < DATABASES, "database {db} was never selectable");
        self.db = db;
    }

    /// Runs `read` on the same instant with another database selected.
    pub(crate) fn within<R>(&self, db: u32, read: impl FnOnce(&View<'_>) -> Result<R>) -> Result<R> {
        let seed = self.rng().u64(..);
        let times = (self.stamp, self.present);
        let other = Self::with(self.source, self.state, self.databases, times, db, seed);
        let result = read(&other)?;
        let other = other.into_seen();
        let mut seen = self.seen.borrow_mut();
        seen.due.extend(other.due);
        seen.is_stamp_used |= other.is_stamp_used;
        Ok(result)
    }

    /// The time that decides which keys exist, ms since 1970.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The time against which a time to live is shown, ms since 1970; never before the stamp.
    pub fn now(&self) -> u64 {
        self.present.max(self.stamp)
    }

    /// The random numbers of this read.
    pub fn rng(&self) -> RefMut<'_, fastrand::Rng> {
        self.rng.borrow_mut()
    }

    /// Whether the read may wait for the disk, and so may take long.
    pub fn may_block(&self) -> bool {
        matches!(self.source.access, Access::Disk)
    }

    /// Gives the view a buffer for what it reads; [`View::take_buffer`] takes it back. Without it the first look-up
    /// allocates one.
    pub fn set_buffer(&self, buffer: Value) {
        self.scratch.set(Some(buffer));
    }

    /// The buffer that the view has read into.
    pub fn take_buffer(&self) -> Value {
        self.take_scratch()
    }

    /// Asks the tree to bring near what a batch of reads will look up: `names` of keys, each with its database.
    pub fn prefetch<'k>(&self, names: impl Iterator<Item = (u32, &'k [u8])>) {
        prefetch(self.source.base, self.databases, names);
    }

    /// The key `name` in the selected database.
    pub fn key(&self, name: &[u8]) -> Key {
        Key::new(self.keyspace(), self.databases.hash_seed, name)
    }

    /// Whether the key exists.
    pub fn exists(&self, name: &[u8]) -> Result<bool> {
        Ok(self.header(&self.key(name))?.is_some())
    }

    /// How many keys the selected database holds, those that are due and not yet deleted included.
    pub fn counts(&self) -> Result<Counts> {
        self.counts_of(self.db)
    }

    /// How many keys database `db` holds.
    pub fn counts_of(&self, db: u32) -> Result<Counts> {
        match self.state {
            Some(state) => Ok(state.databases()[db as usize].counts),
            None => {
                let mut value = self.take_scratch();
                let found = self.source.get(&count_key(self.databases.keyspaces[db as usize]), &mut value)?;
                let counts = if found { Counts::decode(&value) } else { Counts::default() };
                self.scratch.set(Some(value));
                Ok(counts)
            }
        }
    }

    /// Every database with its counts.
    pub fn databases(&self) -> Result<[Database; DATABASES]> {
        let mut all = [Database::default(); DATABASES];
        for (database, db) in all.iter_mut().zip(0..) {
            *database =
                Database { keyspace: self.databases.keyspaces[db as usize], counts: self.counts_of(db)? };
        }
        Ok(all)
    }

    /// How many keys the read has found, and not found.
    pub fn lookups(&self) -> (u64, u64) {
        self.lookups.get()
    }

    /// What the read relied on; empty for a connection's view.
    pub fn into_seen(self) -> Seen {
        self.seen.into_inner()
    }

    pub(super) fn keyspace(&self) -> u32 {
        self.databases.keyspaces[self.db as usize]
    }

    pub(super) fn hash_seed(&self) -> u64 {
        self.databases.hash_seed
    }

    pub(super) fn source(&self) -> Source<'a> {
        self.source
    }

    /// What META says about `key`; `None` if it does not exist.
    pub(super) fn header(&self, key: &Key) -> Result<Option<Header>> {
        let record = self.record(key)?;
        Ok(record.map(|record| {
            let header = record.header;
            self.recycle(record);
            header
        }))
    }

    /// The META record of `key`; `None` if it does not exist.
    pub(super) fn record(&self, key: &Key) -> Result<Option<Record>> {
        let record = self.find_record(key)?;
        let (hits, misses) = self.lookups.get();
        self.lookups.set(if record.is_some() { (hits + 1, misses) } else { (hits, misses + 1) });
        Ok(record)
    }

    fn find_record(&self, key: &Key) -> Result<Option<Record>> {
        let mut value = self.take_scratch();
        if !self.source.get(key.encoded(), &mut value)? {
            self.scratch.set(Some(value));
            return Ok(None);
        }
        let record = Record::new(value);
        match record.header.expire_ms {
            None => Ok(Some(record)),
            Some(at) => self.record_in_time(key, record, at),
        }
    }

    /// Rule (time) for a record that is due at `at`.
    fn record_in_time(&self, key: &Key, record: Record, at: u64) -> Result<Option<Record>> {
        let stamp = if bugs::on(Bug::TimeByWallClock) { self.present } else { self.stamp };
        if at <= stamp {
            if self.state.is_some() {
                self.seen.borrow_mut().due.push(key.clone());
            }
            self.recycle(record);
            return Ok(None);
        }
        if at <= self.present {
            return Err(Failure::Stop(Stop::Stamp));
        }
        Ok(Some(record))
    }

    /// Gives the buffer of a record back.
    pub(super) fn recycle(&self, record: Record) {
        self.scratch.set(Some(record.into_value()));
    }

    fn take_scratch(&self) -> Value {
        self.scratch.take().unwrap_or_default()
    }

    /// Reads the record of an element, below an object.
    pub(super) fn element(&self, key: &[u8], value: &mut Value) -> Result<bool> {
        self.source.get(key, value)
    }

    pub(super) fn walk(&self, prefix: Encoded, from: &[u8]) -> Result<Walk<'a>> {
        self.source.walk(prefix, from)
    }

    /// Whether a walk over META shows a record with this header. By the stamp alone: a walk is no point read.
    pub(super) fn shows(&self, header: &Header) -> bool {
        let hidden = header.is_due(self.stamp);
        if hidden && self.state.is_some() {
            self.seen.borrow_mut().is_stamp_used = true;
        }
        !hidden
    }

    /// The error of a database number that does not exist, or the number.
    pub fn checked_db(db: i64) -> Result<u32> {
        match u32::try_from(db) {
            Ok(db) if (db as usize) < DATABASES => Ok(db),
            _ => Err(CommandError::DatabaseOutOfRange.into()),
        }
    }
}

/// Asks the tree to bring near what a drain will look up: `names` of keys, each with its database.
pub fn prefetch<'k>(base: &lsm::View, databases: &DatabaseMap, names: impl Iterator<Item = (u32, &'k [u8])>) {
    let keys: Vec<Key> = names
        .filter(|&(db, _)| (db as usize) < DATABASES)
        .map(|(db, name)| Key::new(databases.keyspaces[db as usize], databases.hash_seed, name))
        .collect();
    let encoded: Vec<&[u8]> = keys.iter().map(Key::encoded).collect();
    base.prefetch(&encoded);
}
