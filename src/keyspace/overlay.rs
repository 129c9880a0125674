//! What entries that are not applied yet have written: the layer above the tree.
//!
//! The drain that is being evaluated writes straight into it, under the number of the entry that it will become, so one
//! look-up sees a command's own writes, those of its drain and those of all entries in flight: the newest per key is
//! the only one that can matter. [`Drain`](super::Drain) keeps what is needed to take its writes back.

use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;

use bytes::{Bytes, BytesMut};

use crate::lsm::Batch;

/// Bytes allocated at once for the keys and values of many commands.
const ARENA_BYTES: usize = 64 * 1024;

/// A piece larger than this is allocated alone, so that it does not keep an arena alive.
const ARENA_PIECE_BYTES_MAX: usize = ARENA_BYTES / 8;

/// The newest effect on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The number of the entry that wrote it, in its chain.
    pub entry: u64,
    /// What it wrote; `None` deletes.
    pub value: Option<Bytes>,
}

/// The effects of all entries that are being built or proposed and are not applied, newest per key, in key order.
#[derive(Debug, Default)]
pub struct Overlay {
    slots: BTreeMap<Bytes, Slot>,
    /// The newest entry that has written. Invariant: no slot has a newer one.
    newest: u64,
    bytes: usize,
    /// Memory for keys and values; what is split off lives until its entry is applied.
    arena: BytesMut,
}

impl Overlay {
    /// An overlay without effects.
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest effect on `key`: `Some(None)` is a deletion, `None` means that the tree decides.
    pub fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.slots.get(key).map(|slot| slot.value.as_ref())
    }

    /// The newest effect on `key`, with the entry that made it.
    pub fn slot(&self, key: &[u8]) -> Option<&Slot> {
        self.slots.get(key)
    }

    /// The effects on keys from `key` on, in key order.
    pub fn range_from(&self, key: &[u8]) -> btree_map::Range<'_, Bytes, Slot> {
        self.slots.range::<[u8], _>((Bound::Included(key), Bound::Unbounded))
    }

    /// All effects, in key order.
    pub fn iter(&self) -> btree_map::Iter<'_, Bytes, Slot> {
        self.slots.iter()
    }

    /// Entry `entry`, whose effects are `batch`, has been applied: what it wrote last is in the tree now.
    pub fn applied(&mut self, entry: u64, batch: &Batch) {
        if self.newest <= entry {
            self.slots.clear();
            self.bytes = 0;
            return;
        }
        for (key, _) in batch.iter() {
            if self.slots.get(key).is_some_and(|slot| slot.entry == entry) {
                self.remove(key);
            }
        }
    }

    /// Bytes of keys and values held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of keys with an effect.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no key has an effect.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Writes an effect of `entry` and returns the slot that it covers.
    pub(super) fn insert(&mut self, key: Bytes, entry: u64, value: Option<Bytes>) -> Option<Slot> {
        assert!(self.newest <= entry, "entry {entry} writes below entry {}", self.newest);
        self.newest = entry;
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        match self.slots.entry(key) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(Slot { entry, value });
                None
            }
            btree_map::Entry::Occupied(mut occupied) => {
                let previous = occupied.insert(Slot { entry, value });
                self.bytes -= occupied.key().len() + previous.value.as_ref().map_or(0, Bytes::len);
                Some(previous)
            }
        }
    }

    /// Puts back what [`Overlay::insert`] covered.
    pub(super) fn restore(&mut self, key: &Bytes, previous: Option<Slot>) {
        match previous {
            Some(slot) => {
                let current = self.slots.get_mut(key).expect("a slot that is undone was written");
                self.bytes -= current.value.as_ref().map_or(0, Bytes::len);
                self.bytes += slot.value.as_ref().map_or(0, Bytes::len);
                *current = slot;
            }
            None => self.remove(key),
        }
    }

    /// A copy of `pieces`, one after the other.
    pub(super) fn copy(&mut self, pieces: &[&[u8]]) -> Bytes {
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if length > ARENA_PIECE_BYTES_MAX {
            let mut alone = BytesMut::with_capacity(length);
            pieces.iter().for_each(|piece| alone.extend_from_slice(piece));
            return alone.freeze();
        }
        if self.arena.capacity() < length {
            self.arena = BytesMut::with_capacity(ARENA_BYTES);
        }
        pieces.iter().for_each(|piece| self.arena.extend_from_slice(piece));
        self.arena.split().freeze()
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some((key, slot)) = self.slots.remove_entry(key) {
            self.bytes -= key.len() + slot.value.as_ref().map_or(0, Bytes::len);
        }
    }
}
