//! The memtable against a model, and with keys and values that someone chose to hurt it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use super::*;
use crate::bugs::{self, Bug};

const FAMILIES: &[Family] = &[
    Family { name: "plain", skip_bits: None, filter: true, rows: false, block_bytes: 4096 },
    Family { name: "uniform", skip_bits: Some(42), filter: true, rows: true, block_bytes: 4096 },
    Family { name: "short", skip_bits: Some(8), filter: true, rows: true, block_bytes: 4096 },
];

/// A key, the index of the version that is seen, and its value.
type Row<'a> = (&'a [u8], Index, Option<&'a [u8]>);

/// What a memtable must hold: by key, the versions by index.
#[derive(Default)]
struct Model(BTreeMap<Vec<u8>, BTreeMap<Index, Option<Vec<u8>>>>);

impl Model {
    fn insert(&mut self, writer: &mut Writer, index: Index, key: &[u8], value: Option<&[u8]>) {
        writer.insert(index, key, value);
        self.0.entry(key.to_vec()).or_default().insert(index, value.map(<[u8]>::to_vec));
    }

    /// Returns what a view at `at` sees, with the index of each version.
    fn at(&self, at: Index) -> Vec<Row<'_>> {
        let newest = |versions: &'_ BTreeMap<Index, Option<Vec<u8>>>| {
            versions.range(..=at).next_back().map(|(&index, _)| index)
        };
        self.0
            .iter()
            .filter_map(|(key, versions)| {
                let index = newest(versions)?;
                Some((&key[..], index, versions[&index].as_deref()))
            })
            .collect()
    }

    fn get(&self, key: &[u8], at: Index) -> Option<Option<&[u8]>> {
        Some(self.0.get(key)?.range(..=at).next_back()?.1.as_deref())
    }
}

fn get(memtable: &Memtable, key: &[u8], at: Index) -> Option<Option<Vec<u8>>> {
    let mut value = Value::default();
    let found = memtable.get(key, at, &mut value);
    assert_eq!(found, memtable.find(key, at));
    match found {
        Found::Missing => None,
        Found::Deleted => Some(None),
        Found::Value => Some(Some(value.to_vec())),
    }
}

fn standing(cursor: &Cursor) -> Option<(Vec<u8>, Index, Option<Vec<u8>>)> {
    cursor.valid().then(|| (cursor.key().to_vec(), cursor.index(), cursor.value().map(<[u8]>::to_vec)))
}

/// Compares every way of reading with the model, for a view at `at`.
fn check_view(memtable: &Arc<Memtable>, model: &Model, at: Index, probes: &[Vec<u8>]) {
    // A hint: all that it may do is not to panic.
    memtable.touch(&probes.iter().chain(model.0.keys()).map(Vec::as_slice).collect::<Vec<_>>());
    for key in probes.iter().chain(model.0.keys()) {
        let expected = model.get(key, at).map(|value| value.map(<[u8]>::to_vec));
        assert_eq!(get(memtable, key, at), expected, "get {key:?} at {at}");
    }
    let expected = model.at(at);
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(key, index, value)| (key.to_vec(), index, value.map(<[u8]>::to_vec)))
        .collect();
    let mut cursor = memtable.cursor(at);
    assert!(!cursor.valid());
    let mut seen = Vec::new();
    cursor.seek_first();
    while let Some(row) = standing(&cursor) {
        seen.push(row);
        cursor.next();
    }
    assert_eq!(seen, expected, "forward at {at}");
    seen.clear();
    cursor.seek_last();
    while let Some(row) = standing(&cursor) {
        seen.push(row);
        cursor.prev();
    }
    seen.reverse();
    assert_eq!(seen, expected, "backward at {at}");
}

/// Moves one cursor at random, beside a position in the model.
fn check_walk(
    memtable: &Arc<Memtable>,
    model: &Model,
    at: Index,
    probes: &[Vec<u8>],
    rng: &mut fastrand::Rng,
) {
    let rows = model.at(at);
    let mut cursor = memtable.cursor(at);
    let mut position = None;
    for _ in 0..200 {
        let key = &probes[rng.usize(..probes.len())];
        match (rng.u8(..8), position) {
            (0, _) | (2.., None) => {
                cursor.seek(key);
                let from = rows.partition_point(|row| row.0 < &key[..]);
                position = (from < rows.len()).then_some(from);
            }
            (1, _) => {
                cursor.seek_before(key);
                position = rows.partition_point(|row| row.0 < &key[..]).checked_sub(1);
            }
            (2..=4, Some(here)) => {
                cursor.next();
                position = (here + 1 < rows.len()).then_some(here + 1);
            }
            (5.., Some(here)) => {
                cursor.prev();
                position = here.checked_sub(1);
            }
        }
        let expected = position.map(|here| {
            let (key, index, value) = rows[here];
            (key.to_vec(), index, value.map(<[u8]>::to_vec))
        });
        assert_eq!(standing(&cursor), expected);
    }
}

/// Draws keys from few: of all families and of none, short, long, prefixes of one another, crowded and spread.
fn draw_key(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut key = vec![rng.u8(..4)];
    match rng.u8(..8) {
        0 => key.truncate(usize::from(rng.bool())),
        1 => key.extend(std::iter::repeat_n(0, rng.usize(..20))),
        2 => {
            // One slot of one keyspace, as hash tags make it.
            key.extend_from_slice(&[0, 0, 0, 1, 0, 7]);
            key.extend_from_slice(&u32::from(rng.u8(..60)).to_be_bytes());
        }
        3 => {
            key.extend_from_slice(&[0, 0, 0, rng.u8(..3)]);
            key.extend_from_slice(&rng.u64(..200).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            key[5] &= 0x3f;
            key.extend_from_slice(b"user:key");
        }
        4 => key.extend(std::iter::repeat_with(|| rng.u8(..2)).take(9)),
        5 => key.extend_from_slice(&vec![b'x'; rng.usize(..300)]),
        6 => key.extend_from_slice(&u32::from(rng.u8(..)).to_be_bytes()),
        _ => key.extend_from_slice(&[rng.u8(..); 3]),
    }
    key
}

fn run_model(seed: u64, effects: usize, arena_bytes: usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (memtable, mut writer) = Memtable::new(FAMILIES, arena_bytes);
    let mut model = Model::default();
    let mut index = 0;
    for _ in 0..effects {
        let key = draw_key(&mut rng);
        if model.0.get(&key).is_none_or(|versions| !versions.contains_key(&(index + 1))) {
            let mut value = vec![0; rng.usize(..40)];
            rng.fill(&mut value);
            let value = (rng.u8(..4) > 0).then_some(&value[..]);
            model.insert(&mut writer, index + 1, &key, value);
        }
        index += u64::from(rng.u8(..3) == 0);
    }
    let probes: Vec<Vec<u8>> = (0..100).map(|_| draw_key(&mut rng)).collect();
    assert_eq!(writer.keys(), model.0.len() as u64);
    assert_eq!(writer.versions(), model.0.values().map(|versions| versions.len() as u64).sum::<u64>());
    for at in [0, 1, index / 3, index / 2, index, index + 1] {
        check_view(&memtable, &model, at, &probes);
        check_walk(&memtable, &model, at, &probes, &mut rng);
    }
}

#[test]
fn reads_and_walks_agree_with_a_model() {
    for seed in 0..24 {
        eprintln!("seed {seed}");
        run_model(seed, 50 << (seed % 6), 1 << (20 + seed % 2));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn any_effects_read_back(effects in proptest::collection::vec(
        (proptest::collection::vec(0u8..4, 0..12), proptest::option::of(proptest::collection::vec(0u8.., 0..20)), 1u64..3),
        0..200,
    )) {
        let (memtable, mut writer) = Memtable::new(FAMILIES, 1 << 18);
        let mut model = Model::default();
        let mut index = 0;
        for (key, value, step) in &effects {
            index += step;
            model.insert(&mut writer, index, key, value.as_deref());
        }
        for at in 0..=index {
            check_view(&memtable, &model, at, &[]);
        }
    }
}

#[test]
fn a_view_below_every_version_misses_here() {
    let (memtable, mut writer) = Memtable::new(FAMILIES, 1 << 16);
    writer.insert(5, b"\x01key", Some(b"five"));
    writer.insert(7, b"\x01key", None);
    writer.insert(9, b"\x01key", Some(b""));
    assert_eq!(get(&memtable, b"\x01key", 4), None);
    assert_eq!(get(&memtable, b"\x01key", 6), Some(Some(b"five".to_vec())));
    assert_eq!(get(&memtable, b"\x01key", 8), Some(None));
    assert_eq!(get(&memtable, b"\x01key", 9), Some(Some(Vec::new())));
}

#[test]
fn a_look_up_that_ignores_its_view_is_noticed() {
    let (memtable, mut writer) = Memtable::new(FAMILIES, 1 << 16);
    let mut model = Model::default();
    model.insert(&mut writer, 1, b"\x01key", Some(b"one"));
    model.insert(&mut writer, 2, b"\x01key", Some(b"two"));
    check_view(&memtable, &model, 1, &[]);
    let noticed = bugs::with(Bug::MemtableIgnoresView, || get(&memtable, b"\x01key", 1))
        != get(&memtable, b"\x01key", 1);
    assert!(noticed, "the planted bug showed no version of another view");
}

#[test]
fn crowded_slots_stay_ordered_and_complete() {
    let mut rng = fastrand::Rng::with_seed(3);
    let (memtable, mut writer) = Memtable::new(FAMILIES, 4 << 20);
    let mut model = Model::default();
    let mut order: Vec<u32> = (0..3000).collect();
    rng.shuffle(&mut order);
    for (index, number) in (1..).zip(order) {
        // The same slot, and the same tag: every comparison must look at the whole key.
        let key = [b"\x01\0\0\0\0\0\x05hhhhhh".as_slice(), &number.to_be_bytes()].concat();
        model.insert(&mut writer, index, &key, Some(&number.to_le_bytes()));
    }
    check_view(&memtable, &model, 3000, &[]);
    check_view(&memtable, &model, 1500, &[]);
    let probes: Vec<_> = model.0.keys().cloned().collect();
    check_walk(&memtable, &model, 2000, &probes, &mut rng);
}

#[test]
fn ascending_and_descending_keys_fill_one_slot() {
    for descending in [false, true] {
        let (memtable, mut writer) = Memtable::new(FAMILIES, 1 << 20);
        let mut model = Model::default();
        for number in 0..500u16 {
            let suffix = if descending { 500 - number } else { number };
            let key = [b"\x02same".as_slice(), &suffix.to_be_bytes()].concat();
            model.insert(&mut writer, u64::from(number) + 1, &key, None);
        }
        check_view(&memtable, &model, 500, &[]);
    }
}

#[test]
fn more_prefixes_than_directories_go_to_the_plain_list() {
    let (memtable, mut writer) = Memtable::new(FAMILIES, 1 << 20);
    let mut model = Model::default();
    let mut index = 0;
    for round in 0..4u8 {
        for keyspace in 0..200u32 {
            index += 1;
            let mut key = vec![1];
            key.extend_from_slice(&(keyspace * 7 % 200).to_be_bytes());
            key.extend_from_slice(&[round, 1, 2, 3]);
            model.insert(&mut writer, index, &key, Some(b"value"));
        }
    }
    assert!(writer.uniform[1].is_closed);
    check_view(&memtable, &model, index, &[]);
    check_view(&memtable, &model, 100, &[]);
}

#[test]
fn long_keys_and_values_read_back() {
    let (memtable, mut writer) = Memtable::new(FAMILIES, 8 << 20);
    let mut model = Model::default();
    for (index, bytes_len) in (1u8..).zip([0, 1, 7, 8, 9, 64 << 10, (64 << 10) + 3, 1 << 20]) {
        let long = vec![index; bytes_len];
        model.insert(&mut writer, u64::from(index), &[b"\x01k".as_slice(), &long].concat(), Some(&long));
    }
    check_view(&memtable, &model, 8, &[vec![1; 100_000]]);
}

#[test]
fn a_batch_that_fits_is_inserted_whatever_it_holds() {
    let mut rng = fastrand::Rng::with_seed(11);
    for round in 0..200 {
        let effects = rng.usize(1..60);
        let pairs: BTreeMap<Vec<u8>, Vec<u8>> =
            (0..effects).map(|_| (draw_key(&mut rng), vec![1; rng.usize(..30)])).collect();
        let batch_bytes = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        let arena_bytes = Memtable::arena_bytes_for(batch_bytes, pairs.len());
        let (_, mut writer) = Memtable::new(FAMILIES, arena_bytes);
        assert!(writer.fits(batch_bytes, pairs.len()), "round {round}");
        assert!(!writer.fits(batch_bytes + 8, pairs.len()), "round {round}");
        for (key, value) in &pairs {
            writer.insert(1, key, Some(value));
        }
    }
}

#[test]
fn every_word_handed_out_is_counted() {
    let (memtable, mut writer) = Memtable::new(FAMILIES, 1 << 16);
    assert_eq!(writer.used_bytes(), 2 * 8);
    writer.insert(1, b"\0key", Some(b"four words"));
    // A node of one level, a key in one word, a version with a value in two.
    let node = 2 + 1;
    let version = 2 + 2;
    assert_eq!(writer.used_bytes(), (2 + node + version) * 8);
    writer.insert(2, b"\0key", None);
    assert_eq!(writer.used_bytes(), (2 + node + version + 2) * 8);
    assert_eq!(memtable.used_bytes(), writer.used_bytes());
    writer.insert(2, b"\x01key", None);
    let directory = directory_words(writer.first_bits) as u64;
    assert_eq!(writer.used_bytes(), (2 + node + version + 2 + directory + 5) * 8);
    assert!(writer.used_bytes() <= memtable.capacity_bytes());
}

#[test]
#[should_panic(expected = "in the order of the log")]
fn two_effects_of_one_entry_on_one_key_are_refused() {
    let (_, mut writer) = Memtable::new(FAMILIES, 1 << 16);
    writer.insert(1, b"\0key", None);
    writer.insert(1, b"\0key", None);
}

#[test]
#[should_panic(expected = "whether the batch fits")]
fn an_insertion_beyond_the_arena_is_refused() {
    let (_, mut writer) = Memtable::new(FAMILIES, 1 << 10);
    writer.insert(1, b"\0key", Some(&[0; 1024]));
}

#[test]
fn readers_see_whole_entries_while_the_writer_goes_on() {
    const ENTRIES: u64 = 20_000;
    let (memtable, mut writer) = Memtable::new(FAMILIES, 16 << 20);
    let published = AtomicU64::new(0);
    // Entry n writes two keys with the value n: both or neither is seen, and never one above the view.
    let keys = |entry: u64| {
        let number = entry.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48 & 0x3ff;
        [1u8, 0].map(|family| [&[family, 0, 0, 0, 0], &number.to_be_bytes()[6..], b"key"].concat())
    };
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (memtable, published) = (&memtable, &published);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(reader);
                let mut value = Value::default();
                loop {
                    let at = published.load(Ordering::Acquire);
                    let read =
                        keys(rng.u64(1..=at.max(1))).map(|key| match memtable.get(&key, at, &mut value) {
                            Found::Value => u64::from_be_bytes(value[..].try_into().unwrap()),
                            Found::Missing => 0,
                            Found::Deleted => unreachable!("nothing is deleted"),
                        });
                    assert_eq!(read[0], read[1], "half an entry at {at}");
                    assert!(at == 0 || (1..=at).contains(&read[0]), "{} at {at}", read[0]);
                    let mut cursor = memtable.cursor(at);
                    cursor.seek(&keys(rng.u64(1..=ENTRIES))[0]);
                    for _ in 0..20 {
                        if !cursor.valid() {
                            break;
                        }
                        assert!(cursor.index() <= at);
                        assert_eq!(cursor.value().unwrap(), cursor.index().to_be_bytes());
                        cursor.next();
                    }
                    if at == ENTRIES {
                        break;
                    }
                }
            });
        }
        for entry in 1..=ENTRIES {
            for key in keys(entry) {
                writer.insert(entry, &key, Some(&entry.to_be_bytes()));
            }
            published.store(entry, Ordering::Release);
        }
    });
}
