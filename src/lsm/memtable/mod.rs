//! The memtable: what was applied and is not in a table yet, in memory and in key order.
//!
//! One [`Writer`] inserts, any number of readers look up, iterate and are never waited for. All of it is one arena,
//! written front to back and never freed in part. Every key has one node, and every version of it, newest first, one
//! record with its log index; a reader takes the newest version that is not above the index of its view. A key without
//! such a version is missing *here*: older sources decide.
//!
//! Keys of a family with uniform bits behind a prefix are found through one directory per prefix, an array of short
//! lists; all others are in one plain list. The directories stand behind the data in the same allocation. The first of
//! a family has about one slot for every key that fits, each further one half as many as the one before; when no room
//! is left, further prefixes go to the plain list. (A hash index in front of one list would find a key as fast, but a
//! new key would still be searched for in the whole list, which costs many times as much as all the rest.)
//!
//! How a view's index reaches a reader is the caller's affair, and must be an acquire of a release that follows the
//! insertions. Entries above that index may be inserted meanwhile; readers step over them. The model of that is in
//! `publication.rs`, run with `RUSTFLAGS="--cfg sisyphus_loom" cargo test --lib lsm::memtable::publication`.

mod arena;
mod cursor;
mod directory;
mod list;
#[cfg(all(test, sisyphus_loom))]
mod publication;
#[cfg(all(test, not(sisyphus_loom)))]
mod tests;

use std::sync::{Arc, OnceLock};

pub use self::cursor::Cursor;
use self::{
    arena::{Arena, Offset, prefix_word, words_of},
    directory::{Directory, directory_words},
    list::{Bump, OVERHEAD_WORDS_MAX, Target, VALUE_BYTES_MAX},
};
use super::{Family, Value};
use crate::{
    lsm::Index,
    sync::{AtomicU64, Ordering},
};

/// Directories of one memtable. A look-up goes through them one by one.
const DIRECTORIES_MAX: usize = 32;
/// A directory has at least `1 << BITS_MIN` slots and at most `1 << BITS_MAX`.
const BITS_MIN: u32 = 3;
const BITS_MAX: u32 = 22;
/// The first directory of a family takes one word of 16 of the data's.
const DIRECTORY_SHARE: usize = 16;
/// Keys that are touched in one go.
const TOUCH_KEYS: usize = 64;
/// Slot of the plain list. The word before it is never given out either: it stands for the start of that list.
const PLAIN: Offset = 1;
/// First word of the data.
const DATA: Offset = 2;

/// What a look-up in one memtable came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This memtable knows nothing of the key at that index: older sources decide.
    Missing,
    /// The key was deleted: there is no value, whatever older sources say.
    Deleted,
    /// The key has this value.
    Value,
}

/// The reading side; shared by all readers.
pub struct Memtable {
    arena: Arena,
    families: &'static [Family],
    /// Filled from the front.
    directories: Box<[OnceLock<Directory>]>,
    used_words: AtomicU64,
}

/// The writing side: there is one for a memtable, and it cannot be cloned.
pub struct Writer {
    memtable: Arc<Memtable>,
    data: Bump,
    directory_space: Bump,
    /// By family: how many directories it has, and whether it will get no more.
    uniform: Vec<Uniform>,
    first_bits: u32,
    directories: usize,
    last_index: Index,
    keys: u64,
    versions: u64,
}

#[derive(Clone, Copy, Default)]
struct Uniform {
    directories: u32,
    is_closed: bool,
}

impl Memtable {
    /// Makes an empty memtable for `arena_bytes` of keys, values and what links them, and the side that writes to it.
    ///
    /// Directories come on top: two words of 16 for each family with uniform bits.
    pub fn new(families: &'static [Family], arena_bytes: usize) -> (Arc<Self>, Writer) {
        let data_words = words_of(arena_bytes) + DATA as usize;
        let first_bits = (data_words / DIRECTORY_SHARE).max(1).ilog2().clamp(BITS_MIN, BITS_MAX);
        let uniform = families.iter().filter(|family| family.skip_bits.is_some()).count();
        let directory_space = uniform * 2 * directory_words(first_bits);
        let end = |words: usize| Offset::try_from(words).expect("an arena has at most 16 GiB");
        let memtable = Arc::new(Self {
            arena: Arena::new(data_words + directory_space),
            families,
            directories: (0..DIRECTORIES_MAX).map(|_| OnceLock::new()).collect(),
            used_words: AtomicU64::new(0),
        });
        let writer = Writer {
            memtable: Arc::clone(&memtable),
            data: Bump::new(DATA, end(data_words)),
            directory_space: Bump::new(end(data_words), end(data_words + directory_space)),
            uniform: vec![Uniform::default(); families.len()],
            first_bits,
            directories: 0,
            last_index: 0,
            keys: 0,
            versions: 0,
        };
        (memtable, writer)
    }

    /// Returns the `arena_bytes` that hold one batch of `effects` effects with `batch_bytes` bytes of keys and values,
    /// whatever they are.
    pub fn arena_bytes_for(batch_bytes: usize, effects: usize) -> usize {
        batch_bytes + effects * OVERHEAD_WORDS_MAX * 8
    }

    /// Looks `key` up as a view at index `at` sees it. `value` is set if the answer is [`Found::Value`] and left alone
    /// otherwise.
    #[inline]
    pub fn get(&self, key: &[u8], at: Index, value: &mut Value) -> Found {
        let Some(version) = self.version(key, at) else { return Found::Missing };
        let Some((words, bytes_len)) = self.arena.value(version) else { return Found::Deleted };
        self.arena.read_bytes(words, value.overwrite(bytes_len));
        Found::Value
    }

    /// As [`Memtable::get`], without the value.
    #[inline]
    pub fn find(&self, key: &[u8], at: Index) -> Found {
        match self.version(key, at) {
            None => Found::Missing,
            Some(version) if self.arena.value(version).is_none() => Found::Deleted,
            Some(_) => Found::Value,
        }
    }

    #[inline]
    fn version(&self, key: &[u8], at: Index) -> Option<Offset> {
        let node = self.arena.find(self.target(key))?;
        self.arena.version(node, at)
    }

    /// Loads what look-ups of these keys will need first, so that the waits for memory overlap instead of adding up.
    ///
    /// It goes in steps over all keys, slots, then nodes, then the next nodes of those that stand second: within a
    /// step no load waits for another.
    pub fn touch(&self, keys: &[&[u8]]) {
        let mut sum = 0;
        for keys in keys.chunks(TOUCH_KEYS) {
            let mut steps = [(0, 0); TOUCH_KEYS];
            for (step, key) in steps.iter_mut().zip(keys) {
                let target = self.target(key);
                *step = (self.arena.follow(target.slot), target.tag);
            }
            for (link, _) in &steps[..keys.len()] {
                sum ^= self.arena.touch(*link);
            }
            for (link, tag) in &steps[..keys.len()] {
                sum ^= self.arena.touch_next(*link, *tag);
            }
        }
        std::hint::black_box(sum);
    }

    /// Returns a cursor over what a view at index `at` sees, deletions included.
    pub fn cursor(self: &Arc<Self>, at: Index) -> Cursor {
        Cursor::new(Arc::clone(self), at)
    }

    /// Returns the bytes in use: exactly what has been handed out of the arena, directories included.
    pub fn used_bytes(&self) -> u64 {
        self.used_words.load(Ordering::Relaxed) * 8
    }

    /// Returns the bytes of the whole allocation, the most that `used_bytes` can become.
    pub fn capacity_bytes(&self) -> u64 {
        self.arena.len() as u64 * 8
    }

    /// Returns the list that holds `key`, if any does.
    #[inline]
    fn target<'k>(&self, key: &'k [u8]) -> Target<'k> {
        let prefix = prefix_word(key);
        for directory in self.directories.iter().map_while(OnceLock::get) {
            if directory.holds(prefix) {
                let (slot, tag) = directory.place(key);
                return Target { slot, tag, key };
            }
        }
        Target { slot: PLAIN, tag: 0, key }
    }
}

impl Writer {
    /// Whether a batch of `effects` effects with `batch_bytes` bytes of keys and values certainly fits.
    pub fn fits(&self, batch_bytes: usize, effects: usize) -> bool {
        Memtable::arena_bytes_for(batch_bytes, effects) <= self.data.left() * 8
    }

    /// Inserts one effect of the entry at `index`: a value, or `None` for a deletion.
    ///
    /// The caller has asked [`Writer::fits`], and inserts at most one effect for a key and index, in the order of the
    /// log; anything else is a bug and ends the process.
    pub fn insert(&mut self, index: Index, key: &[u8], value: Option<&[u8]>) {
        assert!(index >= self.last_index, "entries are applied in the order of the log");
        assert!(value.map_or(0, <[u8]>::len) <= VALUE_BYTES_MAX, "a value is shorter than 4 GiB");
        let memtable = Arc::clone(&self.memtable);
        let arena = &memtable.arena;
        let mut target = memtable.target(key);
        if target.slot == PLAIN && self.make_directory(key) {
            target = memtable.target(key);
        }
        let found = arena.search(target, |_, _| {});
        if found.equal {
            self.data.push_version(arena, found.at, index, value);
        } else {
            let was_empty = self.data.insert(arena, target, index, value, &found);
            if was_empty && target.slot != PLAIN {
                let directory = memtable
                    .directories
                    .iter()
                    .map_while(OnceLock::get)
                    .find(|directory| directory.holds(prefix_word(key)));
                directory.expect("the slot is of a directory").mark(arena, target.slot);
            }
            self.keys += 1;
        }
        self.versions += 1;
        self.last_index = index;
        memtable.used_words.store(self.used_words(), Ordering::Relaxed);
    }

    /// Makes a directory for the keys that begin as `key` does, if there is to be one. A family that was refused one
    /// gets no more: else a prefix could be in the plain list first and in a directory later.
    fn make_directory(&mut self, key: &[u8]) -> bool {
        let family = usize::from(key.first().copied().unwrap_or(0));
        let Some(Family { skip_bits: Some(skip), .. }) = self.memtable.families.get(family) else {
            return false;
        };
        let uniform = &mut self.uniform[family];
        if uniform.is_closed {
            return false;
        }
        let bits = self.first_bits.saturating_sub(uniform.directories).max(BITS_MIN);
        let words = directory_words(bits);
        if self.directories == DIRECTORIES_MAX || words > self.directory_space.left() {
            uniform.is_closed = true;
            return false;
        }
        let at = self.directory_space.take(words);
        let directory = Directory::new(key, *skip, bits, at);
        let is_new = self.memtable.directories[self.directories].set(directory).is_ok();
        assert!(is_new, "there is one writer");
        self.directories += 1;
        uniform.directories += 1;
        true
    }

    fn used_words(&self) -> u64 {
        let capacity = self.memtable.arena.len();
        (capacity - self.data.left() - self.directory_space.left()) as u64
    }

    /// Returns the bytes in use; see [`Memtable::used_bytes`].
    pub fn used_bytes(&self) -> u64 {
        self.used_words() * 8
    }

    /// Returns how many distinct keys were inserted.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Returns how many effects were inserted.
    pub fn versions(&self) -> u64 {
        self.versions
    }

    /// Whether nothing was inserted.
    pub fn is_empty(&self) -> bool {
        self.versions == 0
    }

    /// Returns the reading side.
    pub fn memtable(&self) -> &Arc<Memtable> {
        &self.memtable
    }
}
