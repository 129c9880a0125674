//! Our tree and `lsm-tree` are given the same writes and asked the same questions: every answer must be the same.
//!
//! `cargo test --release --manifest-path benches/rivals/Cargo.toml`

use std::collections::BTreeMap;

use crate::engine::{Engine, Settings, Write};
use crate::fjall::Fjall;
use crate::ours::Ours;

/// So small that a few thousand writes fill levels.
const TINY: Settings = Settings {
    memtable_bytes: 64 << 10,
    block_bytes: 512,
    filter_bits: 10,
    cache_bytes: 1 << 20,
    table_bytes: 32 << 10,
    level_one_bytes: 128 << 10,
    level_zero_tables: 2,
};

const TURNS: usize = 1_500;
const KEYS: u64 = 3_000;

fn key(number: u64) -> Vec<u8> {
    [&[1, 0, 0, 0, 1][..], format!("{:05}", number * 7919 % 100_003).as_bytes()].concat()
}

fn batch(random: &mut fastrand::Rng) -> Vec<Write> {
    let count = random.usize(1..40);
    let mut writes = BTreeMap::new();
    for _ in 0..count {
        let value = (random.u32(0..10) > 2).then(|| {
            let mut bytes = vec![0; random.usize(0..300)];
            random.fill(&mut bytes);
            bytes
        });
        writes.insert(key(random.u64(0..KEYS)), value);
    }
    writes.into_iter().collect()
}

fn records(engine: &mut dyn Engine, from: &[u8], count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    engine.scan(from, count, &mut |key, value| found.push((key.to_vec(), value.to_vec())));
    found
}

fn value(engine: &mut dyn Engine, key: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    engine.get(key, &mut bytes).then_some(bytes)
}

fn compare(seed: u64) {
    let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    let mut ours = Ours::open(dirs[0].path(), &TINY);
    let mut theirs = Fjall::open(dirs[1].path(), &TINY);
    let mut random = fastrand::Rng::with_seed(seed);
    for turn in 0..TURNS {
        let writes = batch(&mut random);
        ours.write(&writes);
        theirs.write(&writes);
        for _ in 0..5 {
            let key = key(random.u64(0..KEYS));
            assert_eq!(
                value(&mut ours, &key),
                value(&mut theirs, &key),
                "seed {seed}, turn {turn}: GET {key:?}"
            );
        }
        if turn % 50 == 0 {
            let from = key(random.u64(0..KEYS));
            let count = random.usize(1..500);
            let (left, right) = (records(&mut ours, &from, count), records(&mut theirs, &from, count));
            assert_eq!(left, right, "seed {seed}, turn {turn}: {count} records from {from:?}");
        }
        if random.u32(0..200) == 0 {
            ours.settle();
            theirs.settle();
        }
    }
    ours.settle();
    theirs.settle();
    let (left, right) = (records(&mut ours, &[1], usize::MAX), records(&mut theirs, &[1], usize::MAX));
    assert!(left.len() > 1_000, "seed {seed}: the comparison must be about something");
    assert_eq!(left, right, "seed {seed}: all records");
}

#[test]
fn the_tree_answers_as_lsm_tree_does() {
    let first = fastrand::u64(..);
    for round in 0..8 {
        compare(first.wrapping_add(round));
    }
}
