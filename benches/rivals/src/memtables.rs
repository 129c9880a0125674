//! Our memtable beside a lock-free skiplist and a B-tree: keys of the real shape, in the batches of a log entry.
//!
//! The others keep one version of a key and no log index, which is less than a memtable must.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_skiplist::SkipMap;
use sisyphusdb::lsm::memtable::{Found, Memtable, Writer};
use sisyphusdb::lsm::{Family, Value};

use crate::workload;

/// Keys that are there when a look-up or an insertion is measured.
const KEYS: u64 = 500_000;
/// Words of an entry besides its key and its value: links, lengths, index.
const LINK_WORDS: usize = 4;
/// Keys of a batch, which the memtable may look up together.
const BATCH: usize = 64;

/// As the keyspace has them: the keys of family 1 are uniform behind five bytes and the slot of the hash.
const FAMILIES: &[Family] = &[
    Family { name: "system", skip_bits: None, filter: true, rows: false, block_bytes: 4096 },
    Family { name: "meta", skip_bits: Some(40), filter: true, rows: true, block_bytes: 4096 },
];

trait Table {
    fn open() -> Self;
    fn insert(&mut self, batch: &[Vec<u8>], value: &[u8]);
    /// Reads all keys, which are there, into `value` one after the other.
    fn read(&self, batch: &[Vec<u8>], value: &mut Value);
    /// Looks all keys up without their values.
    fn find(&self, batch: &[Vec<u8>]) -> usize;
}

struct Ours {
    memtable: Arc<Memtable>,
    writer: Writer,
    index: u64,
}

impl Table for Ours {
    fn open() -> Self {
        let (memtable, writer) = Memtable::new(FAMILIES, 512 << 20);
        Self { memtable, writer, index: 0 }
    }

    fn insert(&mut self, batch: &[Vec<u8>], value: &[u8]) {
        self.index += 1;
        let keys: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        self.memtable.touch(&keys);
        for key in keys {
            self.writer.insert(self.index, key, Some(value));
        }
    }

    fn read(&self, batch: &[Vec<u8>], value: &mut Value) {
        let keys: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        self.memtable.touch(&keys);
        for key in keys {
            assert_eq!(self.memtable.get(key, self.index, value), Found::Value, "the key is there");
            black_box(&**value);
        }
    }

    fn find(&self, batch: &[Vec<u8>]) -> usize {
        let keys: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        self.memtable.touch(&keys);
        keys.iter().filter(|key| self.memtable.find(key, self.index) == Found::Value).count()
    }
}

struct Crossbeam(SkipMap<Box<[u8]>, Box<[u8]>>);

impl Table for Crossbeam {
    fn open() -> Self {
        Self(SkipMap::new())
    }

    fn insert(&mut self, batch: &[Vec<u8>], value: &[u8]) {
        for key in batch {
            self.0.insert(key.as_slice().into(), value.into());
        }
    }

    fn read(&self, batch: &[Vec<u8>], value: &mut Value) {
        for key in batch {
            value.set_copy(self.0.get(key.as_slice()).expect("the key is there").value());
            black_box(&**value);
        }
    }

    fn find(&self, batch: &[Vec<u8>]) -> usize {
        batch.iter().filter(|key| self.0.contains_key(key.as_slice())).count()
    }
}

struct BTree(BTreeMap<Box<[u8]>, Box<[u8]>>);

impl Table for BTree {
    fn open() -> Self {
        Self(BTreeMap::new())
    }

    fn insert(&mut self, batch: &[Vec<u8>], value: &[u8]) {
        for key in batch {
            self.0.insert(key.as_slice().into(), value.into());
        }
    }

    fn read(&self, batch: &[Vec<u8>], value: &mut Value) {
        for key in batch {
            value.set_copy(&self.0[key.as_slice()]);
            black_box(&**value);
        }
    }

    fn find(&self, batch: &[Vec<u8>]) -> usize {
        batch.iter().filter(|key| self.0.contains_key(key.as_slice())).count()
    }
}

/// Prints nanoseconds an operation, the median of `rounds`.
pub fn run(rounds: usize) {
    println!(
        "{KEYS} keys of 29 bytes, 64-byte values, batches of {BATCH}, {rounds} rounds, medians in ns/op\n"
    );
    println!("| table | new key | overwrite | find | find and copy 64 B |\n|---|---|---|---|---|");
    println!("| arena append alone | {} | – | – | – |", median((0..rounds).map(append_alone).collect()));
    row("sisyphusdb", (0..rounds).map(measure::<Ours>).collect());
    row("crossbeam-skiplist", (0..rounds).map(measure::<Crossbeam>).collect());
    row("BTreeMap", (0..rounds).map(measure::<BTree>).collect());
}

fn row(name: &str, rounds: Vec<[u64; 4]>) {
    let [insert, overwrite, find, read] =
        [0, 1, 2, 3].map(|column| median(rounds.iter().map(|round| round[column]).collect()));
    println!("| {name} | {insert} | {overwrite} | {find} | {read} |");
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// What new keys cost at least: the words of key, value and links are stored behind each other, and nothing leads to them.
fn append_alone(round: usize) -> u64 {
    let mut random = fastrand::Rng::with_seed(round as u64);
    let mut keys: Vec<Vec<u8>> = (0..KEYS).map(workload::key).collect();
    random.shuffle(&mut keys);
    let words = (keys[0].len().div_ceil(8) + 64 / 8 + LINK_WORDS) * KEYS as usize;
    let arena: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
    let mut end = 0;
    let value = [5; 64];
    per_key(&keys, |batch| {
        for bytes in batch.iter().flat_map(|key| [key.as_slice(), &value]) {
            for chunk in bytes.chunks(8) {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                arena[end].store(u64::from_be_bytes(word), Ordering::Relaxed);
                end += 1;
            }
            end += LINK_WORDS / 2;
        }
    })
}

fn measure<T: Table>(round: usize) -> [u64; 4] {
    let mut random = fastrand::Rng::with_seed(round as u64);
    let mut keys: Vec<Vec<u8>> = (0..KEYS + KEYS / 2).map(workload::key).collect();
    random.shuffle(&mut keys);
    let (there, new) = keys.split_at(KEYS as usize);
    let mut looked_up = there.to_vec();
    random.shuffle(&mut looked_up);
    let mut table = T::open();
    there.chunks(BATCH).for_each(|batch| table.insert(batch, &[1; 64]));
    let mut value = Value::default();
    let find = per_key(&looked_up, |batch| assert_eq!(table.find(batch), batch.len(), "every key is there"));
    let read = per_key(&looked_up, |batch| table.read(batch, &mut value));
    let overwrite = per_key(&looked_up, |batch| table.insert(batch, &[2; 64]));
    let insert = per_key(new, |batch| table.insert(batch, &[3; 64]));
    [insert, overwrite, find, read]
}

fn per_key(keys: &[Vec<u8>], mut work: impl FnMut(&[Vec<u8>])) -> u64 {
    let mut elapsed = Duration::ZERO;
    for batch in keys.chunks(BATCH) {
        let start = Instant::now();
        work(batch);
        elapsed += start.elapsed();
    }
    elapsed.as_nanos() as u64 / keys.len() as u64
}
