//! Iteration over a memtable, in key order and in both directions.

use std::{
    cell::{Cell, OnceCell},
    sync::{Arc, OnceLock},
};

use super::{
    Memtable, PLAIN,
    arena::{Offset, prefix_word},
    directory::Directory,
    list::Target,
};
use crate::lsm::Index;

/// A position in a directory.
#[derive(Clone, Copy)]
struct Place {
    /// Counted in the order of the keys.
    directory: usize,
    slot: Offset,
    node: Offset,
}

/// Walks over the keys that a view at one index sees, deletions included. It stands on a key or is not valid; it begins
/// not valid.
///
/// Two sources are merged: all directories, which follow one another, and the plain list.
pub struct Cursor {
    memtable: Arc<Memtable>,
    at: Index,
    /// The directories that were there when the cursor was made, in the order of their keys. Later ones hold only what
    /// this view does not see.
    directories: Vec<u8>,
    listed: Option<Place>,
    plain: Option<Offset>,
    is_backward: bool,
    version: Option<Offset>,
    key: Vec<u8>,
    /// Read when it is asked for.
    value: OnceCell<Vec<u8>>,
    spare: Cell<Vec<u8>>,
}

impl Cursor {
    pub(super) fn new(memtable: Arc<Memtable>, at: Index) -> Self {
        let prefixes = memtable.directories.iter().map_while(OnceLock::get).map(Directory::prefix);
        let mut order: Vec<(u64, u8)> = prefixes.zip(0..).collect();
        order.sort_unstable();
        Self {
            memtable,
            at,
            directories: order.into_iter().map(|(_, number)| number).collect(),
            listed: None,
            plain: None,
            is_backward: false,
            version: None,
            key: Vec::new(),
            value: OnceCell::new(),
            spare: Cell::default(),
        }
    }

    /// Goes to the first key that is not below `key`.
    pub fn seek(&mut self, key: &[u8]) {
        self.is_backward = false;
        self.listed = self.listed_from(key);
        self.plain = self.memtable.arena.first_from(Target { slot: PLAIN, tag: 0, key });
        self.settle();
    }

    /// Goes to the last key below `key`.
    pub fn seek_before(&mut self, key: &[u8]) {
        self.is_backward = true;
        self.listed = self.listed_before(key);
        self.plain = self.memtable.arena.last_before(Target { slot: PLAIN, tag: 0, key });
        self.settle();
    }

    /// Goes to the first key.
    pub fn seek_first(&mut self) {
        self.seek(b"");
    }

    /// Goes to the last key.
    pub fn seek_last(&mut self) {
        self.is_backward = true;
        self.listed = self.last_of_directories(self.directories.len());
        self.plain = self.memtable.arena.last(PLAIN);
        self.settle();
    }

    /// Goes to the next key. The cursor is valid.
    pub fn next(&mut self) {
        assert!(self.valid(), "a cursor moves from a key");
        if self.is_backward {
            let key = std::mem::take(&mut self.key);
            self.seek(&key);
            assert!(self.key == key, "a key that was seen stays");
        }
        if self.is_on_listed() {
            self.listed = self.listed.and_then(|place| self.listed_after(place));
        } else {
            self.plain = self.plain.and_then(|node| self.memtable.arena.next(node));
        }
        self.settle();
    }

    /// Goes to the key before. The cursor is valid.
    pub fn prev(&mut self) {
        assert!(self.valid(), "a cursor moves from a key");
        let key = std::mem::take(&mut self.key);
        self.seek_before(&key);
    }

    /// Whether the cursor stands on a key.
    pub fn valid(&self) -> bool {
        self.version.is_some()
    }

    /// Returns the key. The cursor is valid.
    pub fn key(&self) -> &[u8] {
        assert!(self.valid(), "a cursor that stands nowhere has no key");
        &self.key
    }

    /// Returns the value, or `None` if the key was deleted. The cursor is valid.
    pub fn value(&self) -> Option<&[u8]> {
        let version = self.version.expect("a cursor that stands nowhere has no value");
        let (words, bytes_len) = self.memtable.arena.value(version)?;
        Some(self.value.get_or_init(|| {
            let mut value = self.spare.take();
            value.resize(bytes_len, 0);
            self.memtable.arena.read_bytes(words, &mut value);
            value
        }))
    }

    /// Returns the log index of the version. The cursor is valid.
    pub fn index(&self) -> Index {
        self.memtable.arena.index(self.version.expect("a cursor that stands nowhere has no version"))
    }

    fn directory(&self, number: usize) -> &Directory {
        let directory = self.memtable.directories[usize::from(self.directories[number])].get();
        directory.expect("a directory that was there stays")
    }

    /// Whether the current key is the directories', after `settle` has said that there is one.
    fn is_on_listed(&self) -> bool {
        match (self.listed, self.plain) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(place), Some(plain)) => {
                let arena = &self.memtable.arena;
                let order = arena.compare_nodes(place.node, plain);
                assert!(order.is_ne(), "a key is in one list");
                order.is_lt() != self.is_backward
            }
        }
    }

    /// Steps over keys that the view does not see, and reads the key where that ends.
    fn settle(&mut self) {
        if let Some(mut value) = self.value.take() {
            value.clear();
            self.spare.set(value);
        }
        let memtable = Arc::clone(&self.memtable);
        let arena = &memtable.arena;
        loop {
            let is_listed = self.is_on_listed();
            let node = if is_listed { self.listed.map(|place| place.node) } else { self.plain };
            let Some(node) = node else {
                self.version = None;
                return;
            };
            self.version = arena.version(node, self.at);
            if self.version.is_some() {
                arena.read_key(node, &mut self.key);
                return;
            }
            self.step(is_listed, node);
        }
    }

    /// Moves one source one key on, in the direction of the cursor.
    fn step(&mut self, is_listed: bool, node: Offset) {
        let memtable = Arc::clone(&self.memtable);
        let arena = &memtable.arena;
        if !self.is_backward {
            if is_listed {
                self.listed = self.listed.and_then(|place| self.listed_after(place));
            } else {
                self.plain = arena.next(node);
            }
            return;
        }
        let mut key = Vec::new();
        arena.read_key(node, &mut key);
        if is_listed {
            self.listed = self.listed_before(&key);
        } else {
            self.plain = arena.last_before(Target { slot: PLAIN, tag: 0, key: &key });
        }
    }

    fn listed_from(&self, key: &[u8]) -> Option<Place> {
        let arena = &self.memtable.arena;
        // The first directory that may hold the key or a greater one.
        let number =
            (0..self.directories.len()).find(|&number| self.directory(number).compare(key).is_le())?;
        let directory = self.directory(number);
        if !directory.holds(prefix_word(key)) {
            return self.first_of_directories(number);
        }
        let (slot, tag) = directory.place(key);
        match arena.first_from(Target { slot, tag, key }) {
            Some(node) => Some(Place { directory: number, slot, node }),
            None => self.first_behind(number, slot),
        }
    }

    fn listed_before(&self, key: &[u8]) -> Option<Place> {
        let arena = &self.memtable.arena;
        // The last directory that may hold the key or a lesser one.
        let number =
            (0..self.directories.len()).rfind(|&number| self.directory(number).compare(key).is_ge())?;
        let directory = self.directory(number);
        if !directory.holds(prefix_word(key)) {
            return self.last_of_directories(number + 1);
        }
        let (slot, tag) = directory.place(key);
        if let Some(node) = arena.last_before(Target { slot, tag, key }) {
            return Some(Place { directory: number, slot, node });
        }
        match directory.used_before(arena, slot) {
            Some(slot) => self.last_in(number, slot),
            None => self.last_of_directories(number),
        }
    }

    fn listed_after(&self, place: Place) -> Option<Place> {
        match self.memtable.arena.next(place.node) {
            Some(node) => Some(Place { node, ..place }),
            None => self.first_behind(place.directory, place.slot),
        }
    }

    /// Returns the first key of the directories in the slots behind `slot`.
    fn first_behind(&self, number: usize, slot: Offset) -> Option<Place> {
        match self.directory(number).used_after(&self.memtable.arena, slot) {
            Some(slot) => self.first_in(number, slot),
            None => self.first_of_directories(number + 1),
        }
    }

    fn first_in(&self, directory: usize, slot: Offset) -> Option<Place> {
        let node = self.memtable.arena.first(slot)?;
        Some(Place { directory, slot, node })
    }

    fn last_in(&self, directory: usize, slot: Offset) -> Option<Place> {
        let node = self.memtable.arena.last(slot)?;
        Some(Place { directory, slot, node })
    }

    /// Returns the first key of the directories from `number` on.
    fn first_of_directories(&self, number: usize) -> Option<Place> {
        (number..self.directories.len()).find_map(|number| {
            let slot = self.directory(number).first(&self.memtable.arena)?;
            self.first_in(number, slot)
        })
    }

    /// Returns the last key of the directories before `number`.
    fn last_of_directories(&self, number: usize) -> Option<Place> {
        (0..number).rev().find_map(|number| {
            let slot = self.directory(number).last(&self.memtable.arena)?;
            self.last_in(number, slot)
        })
    }
}
