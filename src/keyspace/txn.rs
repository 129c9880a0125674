//! A command in the executor: it reads through the overlay and writes into it.

use bytes::Bytes;

use super::drain::Drain;
use super::encoding::{Encoded, Key, Object};
use super::error::Result;
use super::overlay::Overlay;
use super::record::{Header, Record};
use super::source::Source;
use super::state::{DATABASES, Database, Limits, State};
use super::view::{Seen, View};
use super::{DEAD, moved};
use crate::bugs::{self, Bug};
use crate::lsm::{self, Access, Value};

/// The reads and writes of one command of a drain. Only the executor makes one.
///
/// Whatever a command writes stays only if the executor lets it: a command that fails is rolled back to the mark before
/// it. Time is the drain's stamp, for all its commands the same.
pub struct WriteTxn<'a> {
    base: &'a lsm::View,
    access: Access,
    overlay: &'a mut Overlay,
    drain: &'a mut Drain,
    state: &'a mut State,
    rng: &'a mut fastrand::Rng,
    db: u32,
    scratch: Value,
}

impl<'a> WriteTxn<'a> {
    /// A transaction on top of `base` and `overlay`, whose effects become part of `drain`'s entry.
    pub fn new(
        base: &'a lsm::View,
        access: Access,
        overlay: &'a mut Overlay,
        drain: &'a mut Drain,
        state: &'a mut State,
        rng: &'a mut fastrand::Rng,
        db: u32,
    ) -> Self {
        assert!((db as usize) < DATABASES, "database {db} was never selectable");
        Self { base, access, overlay, drain, state, rng, db, scratch: Value::default() }
    }

    /// Runs a read as part of the drain, and deletes for good what it treated as absent because it is due.
    pub fn read<R>(&mut self, run: impl FnOnce(&View<'_>) -> Result<R>) -> Result<R> {
        let view = self.view();
        let result = run(&view)?;
        let seen = view.into_seen();
        self.settle(seen)?;
        Ok(result)
    }

    /// What a read sees at this point of the drain. What it has relied on must be given to [`WriteTxn::settle`]:
    /// [`WriteTxn::read`] does both.
    pub fn view(&mut self) -> View<'_> {
        let seed = self.rng.u64(..);
        View::of_executor(self.base, self.access, self.overlay, self.state, self.drain.stamp(), self.db, seed)
    }

    /// Makes true for good what a read has relied on: the entry will carry the stamp, and the keys that were treated as
    /// absent because they are due are deleted.
    pub fn settle(&mut self, seen: Seen) -> Result {
        if seen.is_stamp_used {
            self.drain.use_stamp();
        }
        seen.due.iter().try_for_each(|key| self.header(key).map(drop))
    }

    /// The time of this drain, ms since 1970.
    pub fn now(&self) -> u64 {
        self.drain.stamp()
    }

    /// The executor's random numbers.
    pub fn rng(&mut self) -> &mut fastrand::Rng {
        self.rng
    }

    /// The database that is selected.
    pub fn db(&self) -> u32 {
        self.db
    }

    /// The limits that commands obey.
    pub fn limits(&self) -> &Limits {
        &self.state.limits
    }

    /// The key `name` in the selected database.
    pub fn key(&self, name: &[u8]) -> Key {
        self.key_in(self.db, name)
    }

    /// The key `name` in database `db`.
    pub fn key_in(&self, db: u32, name: &[u8]) -> Key {
        Key::new(self.state.databases[db as usize].keyspace, self.state.map.hash_seed, name)
    }

    /// Whether the key exists; if it is due, it is deleted.
    pub fn exists(&mut self, key: &Key) -> Result<bool> {
        Ok(self.header(key)?.is_some())
    }

    /// Whether there is a record of `key`, due or not. Deletes nothing.
    pub(crate) fn is_recorded(&self, key: &Key) -> Result<bool> {
        self.source().get(key.encoded(), &mut Value::default())
    }

    /// Whether `key` exists and is not due. Deletes nothing.
    pub(crate) fn is_alive(&self, key: &Key) -> Result<bool> {
        let mut value = Value::default();
        let is_there = self.source().get(key.encoded(), &mut value)?;
        Ok(is_there && !Header::decode(&value).0.is_due(self.now()))
    }

    #[cfg(test)]
    pub(super) fn state_mut(&mut self) -> &mut State {
        self.state
    }

    /// When the key is due, ms since 1970; `None` if never, or if there is no key.
    pub fn due(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.header(key)?.and_then(|header| header.expire_ms))
    }

    /// Whether the command may wait for the disk, and so may take long.
    pub(super) fn may_block(&self) -> bool {
        matches!(self.access, Access::Disk)
    }

    pub(super) fn hash_seed(&self) -> u64 {
        self.state.map.hash_seed
    }

    pub(super) fn source(&self) -> Source<'_> {
        Source { base: self.base, overlay: Some(self.overlay), access: self.access }
    }

    /// What META says about `key`; `None` if it does not exist. A key that is due is deleted.
    pub(super) fn header(&mut self, key: &Key) -> Result<Option<Header>> {
        let header = match self.overlay.get(key.encoded()) {
            Some(None) => return Ok(None),
            Some(Some(value)) => Header::decode(value).0,
            None => {
                if !self.base.get(key.encoded(), self.access, &mut self.scratch)? {
                    return Ok(None);
                }
                Header::decode(&self.scratch).0
            }
        };
        if header.is_due(self.now()) {
            self.remove(key, &header)?;
            return Ok(None);
        }
        Ok(Some(header))
    }

    /// The META record of `key`; `None` if it does not exist. A key that is due is deleted.
    pub(super) fn record(&mut self, key: &Key) -> Result<Option<Record>> {
        let mut value = std::mem::take(&mut self.scratch);
        if !self.source().get(key.encoded(), &mut value)? {
            self.scratch = value;
            return Ok(None);
        }
        let record = Record::new(value);
        if record.header.is_due(self.now()) {
            self.remove(key, &record.header)?;
            self.recycle(record);
            return Ok(None);
        }
        Ok(Some(record))
    }

    /// Gives the buffer of a record back.
    pub(super) fn recycle(&mut self, record: Record) {
        self.scratch = record.into_value();
    }

    /// Makes `key` hold what `header` and `body` say. `old` is what META says about it in this transaction.
    pub(super) fn put_record(
        &mut self,
        key: &Key,
        old: Option<&Header>,
        header: &Header,
        body: &[&[u8]],
    ) -> Result {
        if let Some(object) = old.and_then(|old| old.object)
            && header.object != Some(object)
        {
            self.bury(key, object)?;
        }
        self.put_header(key, old, header, body);
        Ok(())
    }

    /// As [`WriteTxn::put_record`], when the object of `old` lives on, here or under another key.
    pub(super) fn put_header(&mut self, key: &Key, old: Option<&Header>, header: &Header, body: &[&[u8]]) {
        let head = header.encode();
        let encoded_key = self.overlay.copy(&[key.encoded()]);
        let value = match body {
            [] => self.overlay.copy(&[&head]),
            [one] => self.overlay.copy(&[&head, one]),
            many => {
                let pieces: Vec<&[u8]> = std::iter::once(&head[..]).chain(many.iter().copied()).collect();
                self.overlay.copy(&pieces)
            }
        };
        self.drain.write(self.overlay, encoded_key, Some(value));
        self.account(key, old, Some(header));
    }

    /// Deletes `key`, about which META says `old`, with everything that belongs to it.
    pub(super) fn remove(&mut self, key: &Key, old: &Header) -> Result {
        if let Some(object) = old.object {
            self.bury(key, object)?;
        }
        self.remove_header(key, old);
        Ok(())
    }

    /// As [`WriteTxn::remove`], when the object of `old` lives on under another key.
    pub(super) fn remove_header(&mut self, key: &Key, old: &Header) {
        self.delete(key.encoded());
        self.account(key, Some(old), None);
    }

    /// Counts and TTL index follow a change of META.
    fn account(&mut self, key: &Key, old: Option<&Header>, new: Option<&Header>) {
        let (due_before, due_after) = (old.and_then(|h| h.expire_ms), new.and_then(|h| h.expire_ms));
        if due_before != due_after {
            if let Some(at) = due_before
                && !(new.is_none() && bugs::on(Bug::ExpiryForgetsTtlEntry))
            {
                self.delete(&key.ttl_key(at));
            }
            if let Some(at) = due_after {
                self.write(&key.ttl_key(at), &[]);
                self.drain.note_due(at);
                self.state.lower_ttl_floor(key.keyspace(), at);
            }
        }
        let keys = i64::from(new.is_some()) - i64::from(old.is_some());
        let expires = i64::from(due_after.is_some()) - i64::from(due_before.is_some());
        if (keys, expires) != (0, 0) {
            let index = self.database_index(key.keyspace());
            let mut database = self.state.databases[index];
            let add =
                |count: u64, by: i64| count.checked_add_signed(by).expect("counts never fall below zero");
            database.counts.keys = add(database.counts.keys, keys);
            database.counts.expires = add(database.counts.expires, expires);
            self.drain.set_database(self.state, index, database);
        }
    }

    fn database_index(&self, keyspace: u32) -> usize {
        let is_it = |&index: &usize| self.state.databases[index].keyspace == keyspace;
        std::iter::once(self.db as usize)
            .chain(0..DATABASES)
            .find(is_it)
            .expect("a key is in the keyspace of a database")
    }

    /// Puts a record of another family than META. A command may put any number of them, so it may fail here with
    /// [`CommandError::EffectsTooLarge`](super::CommandError::EffectsTooLarge).
    pub(super) fn put(&mut self, key: &[u8], value: &[&[u8]]) -> Result {
        self.drain.check_bytes()?;
        self.write(key, value);
        Ok(())
    }

    /// As [`WriteTxn::put`], without a copy of the value.
    pub(super) fn put_shared(&mut self, key: &[u8], value: Bytes) -> Result {
        self.drain.check_bytes()?;
        let key = self.overlay.copy(&[key]);
        self.drain.write(self.overlay, key, Some(value));
        Ok(())
    }

    fn write(&mut self, key: &[u8], value: &[&[u8]]) {
        let key = self.overlay.copy(&[key]);
        let value = self.overlay.copy(value);
        self.drain.write(self.overlay, key, Some(value));
    }

    /// Deletes a record.
    pub(super) fn delete(&mut self, key: &[u8]) {
        let key = self.overlay.copy(&[key]);
        self.drain.write(self.overlay, key, None);
    }

    /// A new object, for what lies under `key`.
    pub(super) fn new_object(&mut self, key: &Key) -> Object {
        let id = self.drain.draw_object(self.state);
        Object { keyspace: key.keyspace(), slot: key.slot(), id }
    }

    /// Everything under `object`, which belonged to `key`, is dead.
    fn bury(&mut self, key: &Key, object: Object) -> Result {
        self.bury_prefix(&object.prefix());
        if object.keyspace != key.keyspace() {
            moved::forget(self, object, key.keyspace())?;
        }
        Ok(())
    }

    /// Everything that begins with `prefix` is dead: compaction will drop it.
    pub(super) fn bury_prefix(&mut self, prefix: &[u8]) {
        let mut grave = Encoded::from_slice(&[DEAD]);
        grave.extend_from_slice(prefix);
        self.write(&grave, &[]);
    }

    pub(super) fn ttl_floor(&self, keyspace: u32) -> u64 {
        self.state.ttl_floor(keyspace)
    }

    pub(super) fn raise_ttl_floor(&mut self, keyspace: u32, at: u64) {
        self.state.raise_ttl_floor(keyspace, at);
    }

    pub(super) fn databases(&self) -> &[Database; DATABASES] {
        &self.state.databases
    }

    pub(super) fn database(&self, db: u32) -> Database {
        self.state.databases[db as usize]
    }

    pub(super) fn set_database(&mut self, db: u32, database: Database) {
        self.drain.set_database(self.state, db as usize, database);
    }

    /// A new keyspace, in the place of `old`.
    pub(super) fn draw_keyspace(&mut self, old: u32) -> u32 {
        self.state.forget_ttl_floor(old);
        self.drain.draw_keyspace(self.state)
    }
}
