//! One drain of the executor: the commands whose effects become one entry, and how to take any of them back.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::META;
use super::error::{CommandError, Result};
use super::overlay::{Overlay, Slot};
use super::state::{self, Changed, Database, Next, State};
use crate::bugs::{self, Bug};
use crate::lsm::Batch;

/// What the header of an entry's effects and all system keys that [`Drain::finish`] adds take at most.
pub const SYSTEM_BYTES_MAX: usize = 4096;

/// One step that can be undone.
#[derive(Debug)]
enum Undo {
    /// A key was written; the slot was this before.
    Slot { key: Bytes, previous: Option<Slot> },
    /// A database's keyspace or counts changed; it was this before.
    Database { index: usize, previous: Database },
}

/// The entry that is being built: its number in the chain, its time, and an undo journal of all that its commands have
/// done so far.
#[derive(Debug)]
pub struct Drain {
    entry: u64,
    stamp: u64,
    journal: Vec<Undo>,
    changed: Changed,
    /// Whether an answer rests on the stamp, so that the entry is needed even if nothing was written.
    is_stamp_used: bool,
    /// What was written so far, in bytes as the entry will have it; what is undone, or written again, stays counted.
    bytes: usize,
    /// What `bytes` may reach before what is evaluated now fails.
    bytes_max: usize,
    /// The earliest time to live that was written, ms since 1970.
    earliest_due: Option<u64>,
}

/// A moment within a drain to which it can return.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    journal_len: usize,
    changed: Changed,
    is_stamp_used: bool,
    next: Next,
}

impl Drain {
    /// A drain that will become entry `entry`, at time `stamp` in ms since 1970.
    pub fn new(entry: u64, stamp: u64) -> Self {
        Self {
            entry,
            stamp,
            journal: Vec::new(),
            changed: Changed::default(),
            is_stamp_used: false,
            bytes: 0,
            bytes_max: usize::MAX,
            earliest_due: None,
        }
    }

    /// The number of the entry in its chain.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// The time of all its commands, ms since 1970.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Whether no entry is needed: nothing was written, and no key was treated as absent because of the stamp.
    pub fn is_empty(&self) -> bool {
        self.journal.is_empty() && !self.is_stamp_used
    }

    /// The present moment, for [`Drain::rollback`] and [`Drain::touched_since`].
    pub fn mark(&self, state: &State) -> Mark {
        Mark {
            journal_len: self.journal.len(),
            changed: self.changed,
            is_stamp_used: self.is_stamp_used,
            next: state.next,
        }
    }

    /// Undoes everything since `mark`: overlay, state and drain are as they were.
    pub fn rollback(&mut self, overlay: &mut Overlay, state: &mut State, mark: Mark) {
        assert!(mark.journal_len <= self.journal.len(), "the mark is of a moment that was undone itself");
        for undo in self.journal.drain(mark.journal_len..).rev() {
            match undo {
                Undo::Slot { key, previous } => overlay.restore(&key, previous),
                Undo::Database { .. } if bugs::on(Bug::RollbackForgetsCounts) => {}
                Undo::Database { index, previous } => state.databases[index] = previous,
            }
        }
        state.next = mark.next;
        state.refresh_map();
        self.changed = mark.changed;
        self.is_stamp_used = mark.is_stamp_used;
    }

    /// Undoes what a command did that ends with an error. Its answer may rest on the absence of a key that is due and
    /// whose deletion is undone with the rest, so the entry will carry the stamp.
    pub fn fail(&mut self, overlay: &mut Overlay, state: &mut State, mark: Mark) {
        let used = self.is_stamp_used || self.journal.len() > mark.journal_len;
        self.rollback(overlay, state, mark);
        self.is_stamp_used = used;
    }

    /// Bytes that what was written so far takes in the entry, and what was undone would take. The entry is no larger, but for
    /// its header and the system keys that come last ([`SYSTEM_BYTES_MAX`]).
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets what follows, a command or a transaction, write `bytes_max` bytes of the entry.
    pub fn allow(&mut self, bytes_max: usize) {
        self.bytes_max = self.bytes.saturating_add(bytes_max);
    }

    /// Whether what was written since [`Drain::allow`] is within the bound. Memory is taken for whatever is written until
    /// the drain ends, so that a command which writes much asks while it does.
    ///
    /// # Errors
    /// [`CommandError::EffectsTooLarge`].
    pub fn check_bytes(&self) -> Result {
        if self.bytes > self.bytes_max {
            return Err(CommandError::EffectsTooLarge.into());
        }
        Ok(())
    }

    /// The earliest moment at which a key becomes due by what was written, ms since 1970.
    pub fn earliest_due(&self) -> Option<u64> {
        self.earliest_due
    }

    pub(super) fn note_due(&mut self, at: u64) {
        self.earliest_due = Some(self.earliest_due.map_or(at, |earliest| earliest.min(at)));
    }

    /// The keys written since `mark`, as the tree names them. A key that several commands wrote since then, or one
    /// command more than once, may come several times.
    ///
    /// For WATCH and blocked clients: compare with [`Key::encoded`](super::Key::encoded). A change of the database map
    /// is none of them, ask [`Drain::databases_changed_since`].
    pub fn touched_since(&self, mark: Mark) -> impl Iterator<Item = &Bytes> {
        self.journal[mark.journal_len..].iter().filter_map(|undo| match undo {
            Undo::Slot { key, .. } if key[0] == META => Some(key),
            Undo::Slot { .. } | Undo::Database { .. } => None,
        })
    }

    /// The databases that were emptied or swapped since `mark`, each with the keyspace that it was then: every key in
    /// them may hold something else.
    pub fn databases_changed_since(&self, mark: Mark, state: &State) -> BTreeMap<u32, u32> {
        let mut before = BTreeMap::new();
        for undo in &self.journal[mark.journal_len..] {
            if let Undo::Database { index, previous } = undo {
                let db = u32::try_from(*index).expect("there are few databases");
                before.entry(db).or_insert(previous.keyspace);
            }
        }
        before.retain(|&db, keyspace| *keyspace != state.keyspace(db));
        before
    }

    /// Ends the drain: the last write of each key, and the system keys that go with them, are the effects of the entry.
    /// `None` if no entry is needed. The system keys are in `overlay` then, too.
    pub fn finish(mut self, overlay: &mut Overlay, state: &mut State) -> Option<Batch> {
        if self.is_empty() {
            return None;
        }
        for (key, value) in state::effects(state, self.stamp, self.changed) {
            let key = overlay.copy(&[&key]);
            let value = overlay.copy(&[&value]);
            self.write(overlay, key, Some(value));
        }
        state.is_unformed = false;
        Some(self.encode(overlay))
    }

    fn encode(&self, overlay: &Overlay) -> Batch {
        let mut batch = Batch::builder();
        let mut written = 0;
        let mut add = |key: &[u8], value: Option<&Bytes>| {
            written += 1;
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        };
        let touched = self.touched_first();
        let expected = touched.clone().count();
        if overlay.len() <= 4 * expected {
            for (key, slot) in overlay.iter().filter(|(_, slot)| slot.entry == self.entry) {
                add(key, slot.value.as_ref());
            }
        } else {
            let mut keys: Vec<&Bytes> = touched.collect();
            keys.sort_unstable();
            for key in keys {
                let slot = overlay.slot(key).expect("a key that was written is in the overlay");
                add(key, slot.value.as_ref());
            }
        }
        assert!(written == expected, "{written} effects for {expected} keys written");
        batch.finish()
    }

    /// The keys of this drain, each where it was written first.
    fn touched_first(&self) -> impl Iterator<Item = &Bytes> + Clone {
        self.journal.iter().filter_map(|undo| match undo {
            Undo::Slot { key, previous } => {
                previous.as_ref().is_none_or(|slot| slot.entry != self.entry).then_some(key)
            }
            Undo::Database { .. } => None,
        })
    }

    pub(super) fn write(&mut self, overlay: &mut Overlay, key: Bytes, value: Option<Bytes>) {
        self.bytes += Batch::effect_bytes(&key, value.as_deref());
        let previous = overlay.insert(key.clone(), self.entry, value);
        self.journal.push(Undo::Slot { key, previous });
    }

    /// An answer rests on the stamp: an entry must carry it.
    pub(super) fn use_stamp(&mut self) {
        self.is_stamp_used = true;
    }

    /// Database `index` becomes `database`.
    pub(super) fn set_database(&mut self, state: &mut State, index: usize, database: Database) {
        let previous = std::mem::replace(&mut state.databases[index], database);
        self.changed.counts |= 1 << index;
        if previous.keyspace != database.keyspace {
            self.changed.map = true;
            state.refresh_map();
        }
        self.journal.push(Undo::Database { index, previous });
    }

    pub(super) fn draw_object(&mut self, state: &mut State) -> u64 {
        self.changed.next = true;
        state.next.object += 1;
        state.next.object - 1
    }

    pub(super) fn draw_keyspace(&mut self, state: &mut State) -> u32 {
        self.changed.next = true;
        state.next.keyspace += 1;
        state.next.keyspace - 1
    }
}
