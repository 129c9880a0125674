//! Ordered lists of keys in the arena: a sorted chain while it is short, a skiplist when it is crowded.
//!
//! A list begins at a *slot*, one word of the arena. Every key has one node, every version of it one record:
//!
//! | node word | holds |
//! |---|---|
//! | 0 | newest version (offset, 32 bits) · key length (28) · height h (4) |
//! | 1 … h | links of levels 0 … h−1 |
//! | then | the key, in whole words |
//!
//! | version word | holds |
//! |---|---|
//! | 0 | log index |
//! | 1 | next older version (offset, 32 bits) · value length + 1, or 0 for a deletion (32) |
//! | then | the value, in whole words |
//!
//! | link or slot | holds |
//! |---|---|
//! | bits 0–30 | the next node, 0 at the end; in the slot of a crowded list its tower: a node without key |
//! | bit 31 | whether it is a tower |
//! | bits 32–59 | the tag of the next node: the bits of its key behind those that chose the slot |
//! | bits 60–63 | in a slot: nodes in the chain, or levels of the tower in use |
//!
//! A link carries the tag of the node that it leads to, so most nodes that do not match are never touched.
#![expect(
    clippy::cast_possible_truncation,
    reason = "fields are taken out of words, and are masked or shifted"
)]

use std::cmp::Ordering;

use super::arena::{Arena, Offset, words_of};
use crate::{
    bugs::{self, Bug},
    lsm::Index,
};

/// Levels of a skiplist; with one node in four a level higher, enough for 16 million keys.
pub(super) const LEVELS: usize = 12;
/// A chain of this many nodes becomes a skiplist with the next one.
const CHAIN_NODES_MAX: u64 = 8;
/// Words of a node without its key and its links, and of a version without its value.
const NODE_WORDS: usize = 1;
const VERSION_WORDS: usize = 2;
/// Key lengths have 28 bits.
pub(super) const KEY_BYTES_MAX: usize = (1 << 28) - 1;
/// Value lengths have 32 bits, and one is kept for deletions.
pub(super) const VALUE_BYTES_MAX: usize = u32::MAX as usize - 1;
/// How many bits of a key a link carries.
pub(super) const TAG_BITS: u32 = 28;

const OFFSET: u64 = (1 << 31) - 1;
const TOWER: u64 = 1 << 31;
const COUNT_SHIFT: u32 = 60;
const COUNT: u64 = 0xf << COUNT_SHIFT;

/// The most words that one insertion takes, besides those of key and value: a tower, a node of full height, a version,
/// and what filling up key and value to words may cost.
pub(super) const OVERHEAD_WORDS_MAX: usize =
    (NODE_WORDS + LEVELS) + (NODE_WORDS + LEVELS) + VERSION_WORDS + 2;

/// What a search looks for, and in which list.
#[derive(Clone, Copy)]
pub(super) struct Target<'k> {
    pub(super) slot: Offset,
    pub(super) tag: u32,
    pub(super) key: &'k [u8],
}

/// Where a search ended. Before every node stands the slot itself, as node `slot - 1`: its level 0 is the slot.
pub(super) struct Found {
    /// The last node below the key, or the start of the list.
    pub(super) before: Offset,
    /// The first node not below the key, or 0.
    pub(super) at: Offset,
    /// Whether `at` has this very key.
    pub(super) equal: bool,
}

fn offset(link: u64) -> Offset {
    // The mask leaves 31 bits.
    (link & OFFSET) as Offset
}

fn tag(link: u64) -> u32 {
    ((link & !COUNT) >> 32) as u32
}

fn low(word: u64) -> Offset {
    (word & 0xffff_ffff) as Offset
}

fn link_to(node: Offset, tag: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(node)
}

impl Arena {
    /// Where the link of `node` at `level` stands.
    #[inline]
    fn link_at(node: Offset, level: usize) -> Offset {
        // A level is below 12.
        node + 1 + level as Offset
    }

    #[inline]
    pub(super) fn key_bytes(&self, node: Offset) -> usize {
        ((self.read(node) & !COUNT) >> 32) as usize
    }

    #[inline]
    fn key_at(&self, node: Offset) -> Offset {
        let height = self.read(node) >> COUNT_SHIFT;
        node + 1 + height as Offset
    }

    #[inline]
    pub(super) fn compare_key(&self, node: Offset, key: &[u8]) -> Ordering {
        self.compare(self.key_at(node), self.key_bytes(node), key)
    }

    /// Compares the keys of two nodes.
    pub(super) fn compare_nodes(&self, a: Offset, b: Offset) -> Ordering {
        let (a_bytes, b_bytes) = (self.key_bytes(a), self.key_bytes(b));
        self.compare_words(self.key_at(a), self.key_at(b), words_of(a_bytes.min(b_bytes)))
            .then(a_bytes.cmp(&b_bytes))
    }

    /// Sets `key` to the key of `node`.
    pub(super) fn read_key(&self, node: Offset, key: &mut Vec<u8>) {
        key.resize(self.key_bytes(node), 0);
        self.read_bytes(self.key_at(node), key);
    }

    /// Looks for a key; `leave` learns, level by level, the last node below it.
    #[inline]
    pub(super) fn search(&self, target: Target<'_>, mut leave: impl FnMut(usize, Offset)) -> Found {
        let mut node = target.slot - 1;
        let mut level = 0;
        let mut above = 0;
        loop {
            let link = self.follow(Self::link_at(node, level));
            if link & TOWER != 0 {
                node = offset(link);
                level = (link >> COUNT_SHIFT) as usize - 1;
                continue;
            }
            let next = offset(link);
            let order = if next == 0 || next == above {
                Ordering::Greater
            } else {
                tag(link).cmp(&target.tag).then_with(|| self.compare_key(next, target.key))
            };
            match order {
                Ordering::Less => node = next,
                Ordering::Equal => return Found { before: node, at: next, equal: true },
                Ordering::Greater => {
                    leave(level, node);
                    if level == 0 {
                        return Found { before: node, at: next, equal: false };
                    }
                    level -= 1;
                    above = next;
                }
            }
        }
    }

    /// Returns the node of the key, if it has one.
    #[inline]
    pub(super) fn find(&self, target: Target<'_>) -> Option<Offset> {
        let found = self.search(target, |_, _| {});
        found.equal.then_some(found.at)
    }

    /// Returns the first node whose key is not below the target's.
    pub(super) fn first_from(&self, target: Target<'_>) -> Option<Offset> {
        let found = self.search(target, |_, _| {});
        (found.at != 0).then_some(found.at)
    }

    /// Returns the last node whose key is below the target's.
    pub(super) fn last_before(&self, target: Target<'_>) -> Option<Offset> {
        // An equal key may have been met on an upper level, where the node before it is not its neighbour.
        let mut node = target.slot - 1;
        let mut is_start = true;
        let mut level = 0;
        loop {
            let link = self.follow(Self::link_at(node, level));
            if link & TOWER != 0 {
                node = offset(link);
                level = (link >> COUNT_SHIFT) as usize - 1;
                continue;
            }
            let next = offset(link);
            let below = next != 0
                && tag(link).cmp(&target.tag).then_with(|| self.compare_key(next, target.key)).is_lt();
            if below {
                node = next;
                is_start = false;
            } else if level > 0 {
                level -= 1;
            } else {
                return (!is_start).then_some(node);
            }
        }
    }

    /// Loads the cache lines of the node that a link leads to and of a short value behind it.
    #[inline]
    pub(super) fn touch(&self, link: u64) -> u64 {
        let node = offset(link);
        self.peek(node) ^ self.peek(node + 8) ^ self.peek(node + 15)
    }

    /// As [`Arena::touch`], for the node behind that one, if a key with this tag may be there.
    #[inline]
    pub(super) fn touch_next(&self, link: u64, target_tag: u32) -> u64 {
        if offset(link) == 0 || link & TOWER != 0 || tag(link) >= target_tag {
            return 0;
        }
        self.touch(self.follow(Self::link_at(offset(link), 0)))
    }

    /// Returns the first node of a list.
    pub(super) fn first(&self, slot: Offset) -> Option<Offset> {
        let mut link = self.follow(slot);
        if link & TOWER != 0 {
            link = self.follow(Self::link_at(offset(link), 0));
        }
        (offset(link) != 0).then_some(offset(link))
    }

    /// Returns the last node of a list.
    pub(super) fn last(&self, slot: Offset) -> Option<Offset> {
        let mut node = slot - 1;
        let mut is_start = true;
        let mut level = 0;
        loop {
            let link = self.follow(Self::link_at(node, level));
            if link & TOWER != 0 {
                node = offset(link);
                level = (link >> COUNT_SHIFT) as usize - 1;
            } else if offset(link) != 0 {
                node = offset(link);
                is_start = false;
            } else if level > 0 {
                level -= 1;
            } else {
                return (!is_start).then_some(node);
            }
        }
    }

    /// Returns the node behind `node` in its list.
    pub(super) fn next(&self, node: Offset) -> Option<Offset> {
        let next = offset(self.follow(Self::link_at(node, 0)));
        (next != 0).then_some(next)
    }

    /// Returns the newest version of a node that a view at `at` may see.
    #[inline]
    pub(super) fn version(&self, node: Offset, at: Index) -> Option<Offset> {
        let mut version = low(self.follow(node));
        while version != 0 {
            if self.read(version) <= at || bugs::on(Bug::MemtableIgnoresView) {
                return Some(version);
            }
            version = low(self.read(version + 1));
        }
        None
    }

    /// Returns the log index of a version.
    #[inline]
    pub(super) fn index(&self, version: Offset) -> Index {
        self.read(version)
    }

    /// Returns where the value of a version stands and how long it is; `None` for a deletion.
    #[inline]
    pub(super) fn value(&self, version: Offset) -> Option<(Offset, usize)> {
        let bytes_len = (self.read(version + 1) >> 32).checked_sub(1)?;
        // The length came from 32 bits.
        Some((version + 2, bytes_len as usize))
    }
}

/// The writing side of an arena's data: a bump pointer over its words.
pub(super) struct Bump {
    next: Offset,
    end: Offset,
    /// State of a xorshift generator that draws heights. It begins with the same value in every memtable: heights
    /// change what a search costs and nothing that it finds.
    draw: u64,
}

impl Bump {
    /// Hands out the words from `next` up to `end`.
    pub(super) fn new(next: Offset, end: Offset) -> Self {
        assert!(next > 0, "word 0 means nothing");
        assert!(next <= end);
        Self { next, end, draw: 0x9e37_79b9_7f4a_7c15 }
    }

    pub(super) fn left(&self) -> usize {
        (self.end - self.next) as usize
    }

    pub(super) fn take(&mut self, words: usize) -> Offset {
        assert!(words <= self.left(), "the memtable was not asked whether the batch fits");
        let at = self.next;
        // It is at most `end`, which is an offset.
        self.next += words as Offset;
        at
    }

    fn height(&mut self) -> usize {
        self.draw ^= self.draw << 13;
        self.draw ^= self.draw >> 7;
        self.draw ^= self.draw << 17;
        (1 + self.draw.trailing_zeros() as usize / 2).min(LEVELS)
    }

    /// Writes a version, which nothing leads to yet.
    #[inline]
    fn write_version(&self, arena: &Arena, at: Offset, index: Index, older: Offset, value: Option<&[u8]>) {
        arena.write(at, index);
        let length = value.map_or(0, |value| value.len() as u64 + 1);
        arena.write(at + 1, length << 32 | u64::from(older));
        if let Some(value) = value {
            arena.write_bytes(at + 2, value);
        }
    }

    /// Puts a version in front of those of `node`.
    #[inline]
    pub(super) fn push_version(&mut self, arena: &Arena, node: Offset, index: Index, value: Option<&[u8]>) {
        let head = arena.read(node);
        let newest = low(head);
        assert!(arena.index(newest) < index, "one effect per key and entry, in the order of the log");
        let at = self.take(VERSION_WORDS + words_of(value.map_or(0, <[u8]>::len)));
        self.write_version(arena, at, index, newest, value);
        arena.publish(node, head - u64::from(newest) + u64::from(at));
    }

    /// Writes a node with its first version and its level-0 link, to which nothing leads yet.
    fn write_node(
        &mut self,
        arena: &Arena,
        height: usize,
        key: &[u8],
        index: Index,
        value: Option<&[u8]>,
    ) -> Offset {
        assert!(key.len() <= KEY_BYTES_MAX, "a key is shorter than 256 MiB");
        let node_words = NODE_WORDS + height + words_of(key.len());
        let value_words = words_of(value.map_or(0, <[u8]>::len));
        let node = self.take(node_words + VERSION_WORDS + value_words);
        // Both are at most `end`, which is an offset.
        let version = node + node_words as Offset;
        arena.write(node, (height as u64) << COUNT_SHIFT | (key.len() as u64) << 32 | u64::from(version));
        arena.write_bytes(node + 1 + height as Offset, key);
        self.write_version(arena, version, index, 0, value);
        node
    }

    /// Inserts a key that is not in the list yet; `found` is where the search for it ended. Returns whether the list
    /// was empty.
    pub(super) fn insert(
        &mut self,
        arena: &Arena,
        target: Target<'_>,
        index: Index,
        value: Option<&[u8]>,
        found: &Found,
    ) -> bool {
        let slot = arena.read(target.slot);
        let nodes = slot >> COUNT_SHIFT;
        if slot & TOWER != 0 || nodes == CHAIN_NODES_MAX {
            self.insert_crowded(arena, target, index, value);
            return false;
        }
        let node = self.write_node(arena, 1, target.key, index, value);
        let counted = (nodes + 1) << COUNT_SHIFT;
        if found.before == target.slot - 1 {
            arena.write(Arena::link_at(node, 0), slot & !COUNT);
            arena.publish(target.slot, counted | link_to(node, target.tag));
        } else {
            let link = Arena::link_at(found.before, 0);
            arena.write(Arena::link_at(node, 0), arena.read(link));
            arena.publish(link, link_to(node, target.tag));
            arena.publish(target.slot, counted | slot & !COUNT);
        }
        nodes == 0
    }

    fn insert_crowded(&mut self, arena: &Arena, target: Target<'_>, index: Index, value: Option<&[u8]>) {
        let mut slot = arena.read(target.slot);
        if slot & TOWER == 0 {
            let tower = self.take(NODE_WORDS + LEVELS);
            arena.write(Arena::link_at(tower, 0), slot & !COUNT);
            slot = 1 << COUNT_SHIFT | TOWER | u64::from(tower);
            arena.publish(target.slot, slot);
        }
        let mut before = [offset(slot); LEVELS];
        arena.search(target, |level, node| before[level] = node);
        let height = self.height();
        let node = self.write_node(arena, height, target.key, index, value);
        for (level, &before) in before.iter().enumerate().take(height) {
            let link = Arena::link_at(before, level);
            arena.write(Arena::link_at(node, level), arena.read(link));
            arena.publish(link, link_to(node, target.tag));
        }
        if height as u64 > slot >> COUNT_SHIFT {
            arena.publish(target.slot, (height as u64) << COUNT_SHIFT | slot & !COUNT);
        }
    }
}
