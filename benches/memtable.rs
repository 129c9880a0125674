//! What does the memtable cost a key, at half a million of them? Beside the standard library's `BTreeMap`, which copies
//! keys and values into allocations of their own and lets nobody read meanwhile, and beside an append without any order.
//!
//! Keys have the shape of metadata keys: family, keyspace, slot, hash (13 bytes), then 16 bytes of the user's. They
//! arrive in batches of 50, as a drain looks them up, and lie behind one another in memory, as in a request buffer.
//! `cargo bench --bench benches -- memtable`; each line is the time of a whole pass, and its items are keys.

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use divan::{Bencher, counter::ItemsCount};
use sisyphusdb::lsm::{
    Family, Index, Value,
    memtable::{Found, Memtable, Writer},
};

const FAMILIES: &[Family] = &[
    Family { name: "plain", skip_bits: None, filter: true, rows: false, block_bytes: 4096 },
    Family { name: "meta", skip_bits: Some(42), filter: true, rows: true, block_bytes: 4096 },
];
const KEYS: usize = 500_000;
/// Keys that are inserted to measure the cost of a new one, on top of the others.
const NEW_KEYS: usize = 50_000;
const BATCH: usize = 50;
const ARENA_BYTES: usize = 128 << 20;
const VALUE: [u8; 64] = [7; 64];
const AT: Index = Index::MAX;

type Key = [u8; 29];

/// Where the keys go: to a directory, as those of one keyspace do, or all to one list.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Uniform,
    HashTag,
    Plain,
}

const LAYOUTS: [Layout; 3] = [Layout::Uniform, Layout::HashTag, Layout::Plain];

/// Returns the keys `from..to` in an order of their own for each seed.
fn keys(layout: Layout, from: usize, to: usize, seed: u64) -> Vec<Key> {
    let mut keys: Vec<Key> = (from..to).map(|number| key(layout, number as u64)).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut keys);
    keys
}

fn key(layout: Layout, number: u64) -> Key {
    let hash = fastrand::Rng::with_seed(number).u64(..);
    let (family, slot) = match layout {
        Layout::Uniform => (1, (hash >> 48) as u16 & 0x3fff),
        Layout::HashTag => (1, 7),
        Layout::Plain => (0, (hash >> 48) as u16 & 0x3fff),
    };
    let mut key = [family, 0, 0, 0, 1].to_vec();
    key.extend_from_slice(&slot.to_be_bytes());
    key.extend_from_slice(&hash.to_be_bytes()[2..]);
    key.extend_from_slice(format!("key:{number:012}").as_bytes());
    key.try_into().expect("13 bytes and 16")
}

fn insert(writer: &mut Writer, index: &mut Index, keys: &[Key]) {
    for batch in keys.chunks(BATCH) {
        *index += 1;
        touch(writer.memtable(), batch);
        for key in batch {
            writer.insert(*index, key, Some(&VALUE));
        }
    }
}

fn touch(memtable: &Memtable, batch: &[Key]) {
    let mut borrowed: [&[u8]; BATCH] = [&[]; BATCH];
    for (borrowed, key) in borrowed.iter_mut().zip(batch) {
        *borrowed = key;
    }
    memtable.touch(&borrowed[..batch.len()]);
}

fn filled(layout: Layout) -> (Writer, Index) {
    let (_, mut writer) = Memtable::new(FAMILIES, ARENA_BYTES);
    let mut index = 0;
    insert(&mut writer, &mut index, &keys(layout, 0, KEYS, 1));
    (writer, index)
}

#[divan::bench(args = LAYOUTS, sample_count = 5, sample_size = 1)]
fn new_key(bencher: Bencher<'_, '_>, layout: Layout) {
    let keys = keys(layout, KEYS, KEYS + NEW_KEYS, 2);
    bencher
        .counter(ItemsCount::new(NEW_KEYS))
        .with_inputs(|| filled(layout))
        .bench_local_refs(|(writer, index)| insert(writer, index, &keys));
}

#[divan::bench(args = LAYOUTS, sample_count = 5, sample_size = 1)]
fn overwrite(bencher: Bencher<'_, '_>, layout: Layout) {
    let keys = keys(layout, 0, KEYS, 3);
    bencher
        .counter(ItemsCount::new(NEW_KEYS))
        .with_inputs(|| filled(layout))
        .bench_local_refs(|(writer, index)| insert(writer, index, &keys[..NEW_KEYS]));
}

#[divan::bench(args = LAYOUTS, sample_count = 9, sample_size = 1)]
fn find(bencher: Bencher<'_, '_>, layout: Layout) {
    let (writer, _) = filled(layout);
    let keys = keys(layout, 0, KEYS, 3);
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| {
        for batch in keys.chunks(BATCH) {
            touch(writer.memtable(), batch);
            for key in batch {
                assert_eq!(writer.memtable().find(key, AT), Found::Value);
            }
        }
    });
}

#[divan::bench(args = LAYOUTS, sample_count = 9, sample_size = 1)]
fn find_and_copy(bencher: Bencher<'_, '_>, layout: Layout) {
    let (writer, _) = filled(layout);
    let keys = keys(layout, 0, KEYS, 3);
    let mut value = Value::default();
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| {
        for batch in keys.chunks(BATCH) {
            touch(writer.memtable(), batch);
            for key in batch {
                assert_eq!(writer.memtable().get(key, AT, &mut value), Found::Value);
                black_box(&value[..]);
            }
        }
    });
}

#[divan::bench(args = LAYOUTS, sample_count = 9, sample_size = 1)]
fn find_untouched(bencher: Bencher<'_, '_>, layout: Layout) {
    let (writer, _) = filled(layout);
    let keys = keys(layout, 0, KEYS, 3);
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| {
        for key in &keys {
            assert_eq!(writer.memtable().find(key, AT), Found::Value);
        }
    });
}

#[divan::bench(args = LAYOUTS, sample_count = 9, sample_size = 1)]
fn find_absent(bencher: Bencher<'_, '_>, layout: Layout) {
    let (writer, _) = filled(layout);
    let keys = keys(layout, KEYS, 2 * KEYS, 3);
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| {
        for batch in keys.chunks(BATCH) {
            touch(writer.memtable(), batch);
            for key in batch {
                assert_eq!(writer.memtable().find(key, AT), Found::Missing);
            }
        }
    });
}

#[divan::bench(args = LAYOUTS, sample_count = 9, sample_size = 1)]
fn scan(bencher: Bencher<'_, '_>, layout: Layout) {
    let (writer, _) = filled(layout);
    let memtable = Arc::clone(writer.memtable());
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| {
        let mut cursor = memtable.cursor(AT);
        cursor.seek_first();
        let mut keys = 0;
        while cursor.valid() {
            black_box((cursor.key(), cursor.value()));
            keys += 1;
            cursor.next();
        }
        assert_eq!(keys, KEYS);
    });
}

/// What SisyphusDB in Go timed as its memtable: bytes appended to an arena, without an index.
#[divan::bench(sample_count = 9, sample_size = 1)]
fn append_alone(bencher: Bencher<'_, '_>) {
    let keys = keys(Layout::Uniform, 0, KEYS, 3);
    bencher
        .counter(ItemsCount::new(KEYS))
        .with_inputs(|| Vec::<u8>::with_capacity(KEYS * (29 + 64)))
        .bench_local_refs(|arena| {
            for key in &keys {
                arena.extend_from_slice(key);
                arena.extend_from_slice(&VALUE);
            }
        });
}

type Tree = BTreeMap<Box<[u8]>, Box<[u8]>>;

fn insert_btree(tree: &mut Tree, keys: &[Key]) {
    for key in keys {
        tree.insert(Box::from(&key[..]), Box::from(&VALUE[..]));
    }
}

fn filled_btree() -> Tree {
    let mut tree = Tree::new();
    insert_btree(&mut tree, &keys(Layout::Uniform, 0, KEYS, 1));
    tree
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn btree_new_key(bencher: Bencher<'_, '_>) {
    let keys = keys(Layout::Uniform, KEYS, KEYS + NEW_KEYS, 2);
    bencher
        .counter(ItemsCount::new(NEW_KEYS))
        .with_inputs(filled_btree)
        .bench_local_refs(|tree| insert_btree(tree, &keys));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn btree_overwrite(bencher: Bencher<'_, '_>) {
    let keys = keys(Layout::Uniform, 0, KEYS, 3);
    bencher
        .counter(ItemsCount::new(NEW_KEYS))
        .with_inputs(filled_btree)
        .bench_local_refs(|tree| insert_btree(tree, &keys[..NEW_KEYS]));
}

#[divan::bench(sample_count = 9, sample_size = 1)]
fn btree_find_and_copy(bencher: Bencher<'_, '_>) {
    let tree = filled_btree();
    let keys = keys(Layout::Uniform, 0, KEYS, 3);
    let mut value = Value::default();
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| {
        for key in &keys {
            value.set_copy(tree.get(&key[..]).expect("every key was inserted"));
            black_box(&value[..]);
        }
    });
}
