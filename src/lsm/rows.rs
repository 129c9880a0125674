//! Rows: the values of single keys, so that a hot key costs one look-up instead of one in each of several blocks.
//!
//! Rows change with every write, so this rule guards them:
//!
//! - A row carries the index of the view that filled it; it is a hit only for views that are not older.
//! - Keys are spread over stripes, each a lock and a *mark*: the index of the newest effect applied to any of its keys.
//! - Who applies an effect sets the mark and removes the row under the stripe, and publishes the index after that.
//! - Who fills inserts under the stripe, and only if the mark is not above the index of its view.
//!
//! So a row that is here is the value that its key has at every index from the row's up to the mark of its stripe, and
//! there is no moment at which a reader of an old view can bring an old value back.
//!
//! Each stripe keeps its rows one behind the other in a ring of bytes, and a table of slots, in buckets of one cache line,
//! that say where they begin: a hit touches two places in memory, and a row costs its bytes and no allocation. A full ring
//! grows while the budget allows it. Then the oldest row goes, or to the front again if it was hit since it was
//! written (CLOCK; F. J. Corbató, "A paging experiment with the Multics system", 1968).
//!
//! | row | bytes | |
//! |---|---|---|
//! | index | 8 | of the view that filled it |
//! | hash | 8 | of the key |
//! | key length | 2 | 65,535: nothing from here to the end of the ring |
//! | value length | 2 | |
//! | hit | 1 | 1 if it was looked up since it was written |
//! | key, value | | |
#![expect(clippy::cast_possible_truncation, reason = "of a hash, the bits that are wanted are kept")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Index, Value};
use crate::bugs::{self, Bug};

/// Locks and marks; a power of two.
const STRIPES: usize = 1024;
const HEADER_BYTES: usize = 21;
/// Larger rows are not kept: for them, finding the block is little beside copying it.
const ROW_BYTES_MAX: usize = 4 << 10;
/// The first size of a ring; it doubles from there.
const RING_BYTES_MIN: usize = 2 << 10;
/// A row may take this share (one in …) of its ring.
const ROW_SHARE: usize = 4;
/// Slots of a bucket.
const WAYS: usize = 8;
/// Bytes of the ring for which there is one slot. Rows of a hundred bytes fill their buckets to a third on average, and
/// hardly one to the brim.
const BYTES_PER_SLOT: usize = 40;
/// Rows that one insertion may put to the front again.
const SECOND_CHANCES: u32 = 4;
/// The key length that says that nothing comes before the end of the ring.
const END: u16 = u16::MAX;
/// Where in the header the hit is marked.
const HIT: usize = HEADER_BYTES - 1;

/// All rows, in stripes.
pub(super) struct Rows {
    stripes: Box<[Mutex<Stripe>]>,
}

/// What became of a row that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// It is there.
    Kept,
    /// There is no room for it.
    NoRoom,
    /// An effect newer than its view may have been applied to its key.
    Refused,
}

#[repr(align(128))]
#[derive(Default)]
struct Stripe {
    mark: Index,
    ring: Ring,
}

impl Rows {
    pub(super) fn new() -> Rows {
        Rows { stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }

    /// Looks up the row of `key`, whose hash is `hash`, for a view at `view`; sets `value` if it is there.
    pub(super) fn get(&self, hash: u64, key: &[u8], view: Index, value: &mut Value) -> bool {
        self.stripe(hash).ring.get(hash, key, view, value)
    }

    /// Offers the value that a view at `view` has read for `key`. `grant` is asked for the bytes by which a ring grows.
    pub(super) fn fill(
        &self,
        hash: u64,
        key: &[u8],
        view: Index,
        value: &[u8],
        grant: impl FnMut(u64) -> bool,
    ) -> Filled {
        if HEADER_BYTES + key.len() + value.len() > ROW_BYTES_MAX {
            return Filled::NoRoom;
        }
        let mut stripe = self.stripe(hash);
        if stripe.mark > view && !bugs::on(Bug::RowCacheStale) {
            return Filled::Refused;
        }
        let row = Row { index: view, hash, key, value };
        if stripe.ring.make_room(row.bytes(), grant) {
            stripe.ring.push(&row, SECOND_CHANCES);
            Filled::Kept
        } else {
            Filled::NoRoom
        }
    }

    /// Says that the entry at `index` is being applied and has an effect on the key with this hash. Returns whether its
    /// row, or one that looks like it, was there.
    pub(super) fn applied(&self, hash: u64, index: Index) -> bool {
        let mut stripe = self.stripe(hash);
        assert!(stripe.mark <= index, "entries are applied in the order of the log");
        stripe.mark = index;
        stripe.ring.remove(hash)
    }

    /// Removes all rows, and refuses what views below `index` offer from now on. Returns the bytes that were granted.
    pub(super) fn clear_at(&self, index: Index) -> u64 {
        self.take_rings(|stripe| stripe.mark = index)
    }

    /// Removes all rows. Returns the bytes that were granted.
    pub(super) fn clear(&self) -> u64 {
        self.take_rings(|_| {})
    }

    fn take_rings(&self, mut each: impl FnMut(&mut Stripe)) -> u64 {
        let take = |stripe: &Mutex<Stripe>| {
            let mut stripe = lock(stripe);
            each(&mut stripe);
            cost(std::mem::take(&mut stripe.ring).bytes.len())
        };
        self.stripes.iter().map(take).sum()
    }

    fn stripe(&self, hash: u64) -> MutexGuard<'_, Stripe> {
        // Buckets go by the lower half of the hash, tags by its top.
        lock(&self.stripes[(hash >> 32) as usize % STRIPES])
    }
}

fn lock(stripe: &Mutex<Stripe>) -> MutexGuard<'_, Stripe> {
    // A panic ends the process: nobody sees what it left.
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes of a ring of `ring_bytes`, with its slots.
fn cost(ring_bytes: usize) -> u64 {
    (ring_bytes + ring_bytes / BYTES_PER_SLOT * size_of::<u64>()) as u64
}

/// Where a row begins, and 16 bits of the hash of its key above it.
///
/// Places count from the first byte ever written: those before the tail of the ring have been written over. 0 is none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Slot(u64);

impl Slot {
    const PLACE_BITS: u32 = 48;

    fn new(hash: u64, place: u64) -> Slot {
        assert!(place >> Slot::PLACE_BITS == 0, "a stripe is never given 256 TiB of rows");
        Slot(hash >> Slot::PLACE_BITS << Slot::PLACE_BITS | place)
    }

    fn place(self) -> u64 {
        self.0 & ((1 << Slot::PLACE_BITS) - 1)
    }

    fn is_like(self, hash: u64) -> bool {
        (self.0 ^ hash) >> Slot::PLACE_BITS == 0
    }
}

#[repr(align(64))]
#[derive(Clone, Copy, Default)]
struct Bucket([Slot; WAYS]);

struct Row<'a> {
    index: Index,
    hash: u64,
    key: &'a [u8],
    value: &'a [u8],
}

impl Row<'_> {
    fn bytes(&self) -> usize {
        HEADER_BYTES + self.key.len() + self.value.len()
    }

    /// Writes the row to the front of `to`.
    fn write(&self, to: &mut [u8]) {
        let length =
            |bytes: &[u8]| u16::try_from(bytes.len()).expect("a row has at most 4 KiB").to_le_bytes();
        let (header, rest) = to.split_at_mut(HEADER_BYTES);
        header[..8].copy_from_slice(&self.index.to_le_bytes());
        header[8..16].copy_from_slice(&self.hash.to_le_bytes());
        header[16..18].copy_from_slice(&length(self.key));
        header[18..20].copy_from_slice(&length(self.value));
        header[HIT] = 0;
        let (key, rest) = rest.split_at_mut(self.key.len());
        key.copy_from_slice(self.key);
        rest[..self.value.len()].copy_from_slice(self.value);
    }

    /// Reads the row at the front of `from`; `None` if the ring ends here.
    #[inline]
    fn read(from: &[u8]) -> Option<Row<'_>> {
        let (header, rest) = from.split_first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| header[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let length = |at: usize| header[at..].first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
        let (index, hash, key_bytes, value_bytes) = (word(0)?, word(8)?, length(16)?, length(18)?);
        if key_bytes == END {
            return None;
        }
        let (key, rest) = rest.split_at(usize::from(key_bytes));
        Some(Row { index, hash, key, value: &rest[..usize::from(value_bytes)] })
    }
}

/// Rows in the order they were written, and where to find them.
#[derive(Default)]
struct Ring {
    /// A power of two of them, or none.
    bytes: Vec<u8>,
    buckets: Vec<Bucket>,
    /// The place of the next row, and of the oldest. Place 0 is never used.
    head: u64,
    tail: u64,
}

impl Ring {
    fn new(ring_bytes: usize) -> Ring {
        assert!(ring_bytes.is_power_of_two() && RING_BYTES_MIN <= ring_bytes, "rings double");
        let buckets = vec![Bucket::default(); ring_bytes / BYTES_PER_SLOT / WAYS];
        Ring { bytes: vec![0; ring_bytes], buckets, head: 1, tail: 1 }
    }

    #[inline]
    fn at(&self, place: u64) -> usize {
        place as usize & (self.bytes.len() - 1)
    }

    #[inline]
    fn bucket_of(&self, hash: u64) -> usize {
        (((hash & u64::from(u32::MAX)) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn get(&mut self, hash: u64, key: &[u8], view: Index, value: &mut Value) -> bool {
        let Some(bucket) = self.buckets.get(self.bucket_of(hash)) else { return false };
        let alike = bucket.0.iter().filter(|slot| slot.is_like(hash) && slot.place() >= self.tail);
        for slot in alike {
            let at = self.at(slot.place());
            let row = Row::read(&self.bytes[at..]).expect("a slot leads to a row");
            if row.hash != hash || row.key != key {
                continue;
            }
            if row.index > view {
                return false;
            }
            value.set_copy(row.value);
            self.bytes[at + HIT] = 1;
            return true;
        }
        false
    }

    /// Removes the row of a key with this hash, and others that look like it.
    fn remove(&mut self, hash: u64) -> bool {
        let (tail, at) = (self.tail, self.bucket_of(hash));
        let Some(bucket) = self.buckets.get_mut(at) else { return false };
        let mut is_found = false;
        for slot in bucket.0.iter_mut().filter(|slot| slot.is_like(hash)) {
            is_found |= slot.place() >= tail;
            *slot = Slot::default();
        }
        is_found
    }

    /// Sees to it that a row of `row_bytes` can be pushed: grows as far as `grant` allows. Returns whether it can.
    fn make_room(&mut self, row_bytes: usize, mut grant: impl FnMut(u64) -> bool) -> bool {
        while self.bytes.len() < ROW_SHARE * row_bytes || self.end_of(row_bytes) > self.bytes.len() as u64 {
            let ring_bytes = (2 * self.bytes.len()).max(RING_BYTES_MIN);
            if !grant(cost(ring_bytes) - cost(self.bytes.len())) {
                break;
            }
            self.grow(ring_bytes);
        }
        self.bytes.len() >= ROW_SHARE * row_bytes
    }

    fn grow(&mut self, ring_bytes: usize) {
        let old = std::mem::replace(self, Ring::new(ring_bytes));
        let mut place = old.tail;
        while place < old.head {
            let rest = &old.bytes[old.at(place)..];
            let Some(row) = Row::read(rest) else {
                place += rest.len() as u64;
                continue;
            };
            if old.leads_to(row.hash, place) {
                self.push(&row, 0);
            }
            place += row.bytes() as u64;
        }
    }

    /// Whether there is a slot for the row at `place`: it was neither removed nor replaced.
    fn leads_to(&self, hash: u64, place: u64) -> bool {
        self.buckets[self.bucket_of(hash)].0.contains(&Slot::new(hash, place))
    }

    /// How many bytes from the tail on are in use after a row of `row_bytes` has been pushed.
    fn end_of(&self, row_bytes: usize) -> u64 {
        if self.bytes.is_empty() {
            return u64::MAX;
        }
        let to_end = self.bytes.len() - self.at(self.head);
        let skipped = if to_end < row_bytes { to_end } else { 0 };
        self.head + (skipped + row_bytes) as u64 - self.tail
    }

    /// Appends a row in one piece. Rows that have to go for it get a second chance if they were hit, up to `chances`.
    fn push(&mut self, row: &Row<'_>, mut chances: u32) {
        let row_bytes = row.bytes();
        assert!(ROW_SHARE * row_bytes <= self.bytes.len(), "a row is small beside its ring");
        while self.end_of(row_bytes) > self.bytes.len() as u64 {
            self.drop_oldest(&mut chances);
        }
        let at = self.at(self.head);
        let to_end = self.bytes.len() - at;
        if to_end < row_bytes {
            if let Some(mark) = self.bytes.get_mut(at + 16..at + 18) {
                mark.copy_from_slice(&END.to_le_bytes());
            }
            self.head += to_end as u64;
        }
        let (place, at) = (self.head, self.at(self.head));
        row.write(&mut self.bytes[at..]);
        self.head += row_bytes as u64;
        self.lead_to(row.hash, place);
    }

    /// Sets a slot: that of the same key, or else that of the oldest row.
    fn lead_to(&mut self, hash: u64, place: u64) {
        let slot = Slot::new(hash, place);
        let bucket = self.bucket_of(hash);
        let slots = &mut self.buckets[bucket].0;
        let chosen = slots.iter_mut().min_by_key(|slot| (!slot.is_like(hash), slot.place()));
        *chosen.expect("a bucket has slots") = slot;
    }

    fn drop_oldest(&mut self, chances: &mut u32) {
        assert!(self.tail < self.head, "an empty ring has room for any row");
        let (place, at) = (self.tail, self.at(self.tail));
        let rest = &self.bytes[at..];
        let Some(row) = Row::read(rest) else {
            self.tail += rest.len() as u64;
            return;
        };
        self.tail += row.bytes() as u64;
        if *chances > 0 && rest[HIT] == 1 && self.leads_to(row.hash, place) {
            *chances -= 1;
            // The room that it leaves may be written over while it is moved.
            let (key, value) = (row.key.to_vec(), row.value.to_vec());
            let row = Row { key: &key, value: &value, ..row };
            self.push(&row, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn hash(key: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64(key)
    }

    fn look_up(ring: &mut Ring, key: &[u8], view: Index) -> Option<Vec<u8>> {
        let mut value = Value::default();
        ring.get(hash(key), key, view, &mut value).then(|| value.to_vec())
    }

    fn insert(ring: &mut Ring, key: &[u8], index: Index, value: &[u8]) {
        let row = Row { index, hash: hash(key), key, value };
        assert!(ring.make_room(row.bytes(), |_| false));
        ring.push(&row, SECOND_CHANCES);
    }

    #[test]
    fn a_ring_agrees_with_a_map_about_all_that_it_still_has() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut ring = Ring::new(RING_BYTES_MIN << rng.u32(..4));
            let mut map: HashMap<Vec<u8>, (Index, Vec<u8>)> = HashMap::new();
            let mut granted = rng.u64(..200_000);
            let (mut hits, mut present) = (0, 0);
            for index in 1..2_000 {
                let key = vec![b'k'; rng.usize(..40)].into_iter().chain([rng.u8(..60)]).collect::<Vec<u8>>();
                match rng.u8(..10) {
                    0 => {
                        let is_like_a_row = ring.remove(hash(&key));
                        assert!(map.remove(&key).is_some() || !is_like_a_row, "seed {seed}");
                    }
                    1..=4 => {
                        let value: Vec<u8> = (0..rng.usize(..300)).map(|_| rng.u8(..)).collect();
                        let row = Row { index, hash: hash(&key), key: &key, value: &value };
                        let grant = |bytes: u64| {
                            let is_granted = bytes <= granted;
                            granted -= if is_granted { bytes } else { 0 };
                            is_granted
                        };
                        if ring.make_room(row.bytes(), grant) {
                            // A value that changes was removed before.
                            ring.remove(row.hash);
                            ring.push(&row, rng.u32(..6));
                            map.insert(key, (index, value));
                        }
                    }
                    _ => {
                        let expected = map.get(&key);
                        present += u32::from(expected.is_some());
                        if let Some(value) = look_up(&mut ring, &key, index) {
                            hits += 1;
                            assert_eq!(Some(&value), expected.map(|(_, value)| value), "seed {seed}");
                        }
                    }
                }
                assert!(ring.head - ring.tail <= ring.bytes.len() as u64, "seed {seed}");
            }
            assert!(hits > 0 && hits <= present, "seed {seed}: {hits} of {present}");
        }
    }

    #[test]
    fn keys_with_one_hash_are_told_apart() {
        let mut ring = Ring::new(RING_BYTES_MIN);
        let hash = 7 << 56;
        let row = |key: &'static [u8]| Row { index: 5, hash, key, value: key };
        let mut value = Value::default();
        ring.push(&row(b"one"), 0);
        assert!(ring.get(hash, b"one", 5, &mut value));
        for other in [&b"two"[..], b"on", b"ones", b""] {
            assert!(!ring.get(hash, other, 5, &mut value));
        }
        ring.push(&row(b"two"), 0);
        assert!(ring.get(hash, b"two", 5, &mut value), "the later of the two drives the other out");
        assert_eq!(&value[..], b"two");
        assert!(!ring.get(hash, b"one", 5, &mut value));
    }

    #[test]
    fn what_is_hit_stays_and_what_is_not_goes() {
        let mut ring = Ring::new(RING_BYTES_MIN);
        insert(&mut ring, b"hot", 1, &[1; 200]);
        insert(&mut ring, b"cold", 1, &[2; 200]);
        for number in 0..200u32 {
            assert!(look_up(&mut ring, b"hot", 1).is_some(), "after {number} others");
            insert(&mut ring, &number.to_be_bytes(), 1, &[3; 200]);
        }
        assert_eq!(look_up(&mut ring, b"cold", 1), None);
        assert!(look_up(&mut ring, &199u32.to_be_bytes(), 1).is_some());
    }

    #[test]
    fn a_ring_grows_while_that_is_granted_and_keeps_its_rows() {
        let rows = Rows::new();
        let mut granted = 0;
        let mut grant = |bytes: u64| {
            granted += bytes;
            granted <= 64 << 20
        };
        for number in 0..100_000u32 {
            let key = number.to_be_bytes();
            assert_eq!(rows.fill(hash(&key), &key, 1, &[7; 60], &mut grant), Filled::Kept);
        }
        let mut value = Value::default();
        let there = (0..100_000u32).filter(|number| {
            let key = number.to_be_bytes();
            rows.get(hash(&key), &key, 1, &mut value)
        });
        let there = there.count();
        // A bucket may be full although the ring is not.
        assert!(there > 99_000, "{there} of 100,000 rows are there");
        assert_eq!(rows.clear(), granted);
        assert!(granted < 32 << 20, "{granted} bytes for 8.5 MB of rows");
    }

    #[test]
    fn rows_that_are_too_large_or_have_no_room_are_not_kept() {
        let rows = Rows::new();
        assert_eq!(rows.fill(1, b"key", 1, &[0; ROW_BYTES_MAX], |_| true), Filled::NoRoom);
        assert_eq!(rows.fill(1, b"key", 1, b"value", |_| false), Filled::NoRoom);
        assert_eq!(rows.fill(1, b"key", 1, &[0; 4000], |_| true), Filled::Kept);
        let mut value = Value::default();
        assert!(rows.get(1, b"key", 1, &mut value));
        assert_eq!(value.len(), 4000);
    }
}
