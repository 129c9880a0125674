use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use fastrand::Rng;

use super::*;
use crate::{
    disk::{Disk, SimDisk},
    lsm::{Access, Cache, Error, Result, Value, stats::Counters},
};

type Model = BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>;

const BASE: u64 = 1000;

fn context(disk: &SimDisk) -> Arc<TableContext> {
    Arc::new(TableContext {
        disk: Arc::new(disk.clone()),
        cache: Arc::new(Cache::new(0)),
        owner: 1,
        counters: Counters::default(),
        trash: Mutex::new(Vec::new()),
    })
}

fn format(rng: &mut Rng) -> TableFormat {
    TableFormat {
        family: 1,
        block_bytes: rng.usize(20..300),
        restart_interval: rng.usize(1..8),
        index_bytes: rng.usize(20..400),
        filter_bits_per_key: [0, 10][rng.usize(..2)],
        compress: rng.bool(),
        base_index: BASE,
    }
}

fn random_model(rng: &mut Rng, records: usize) -> Model {
    (0..records)
        .map(|_| {
            let mut key = vec![1];
            key.extend((0..rng.usize(..7)).map(|_| rng.u8(b'a'..b'e')));
            let value = (rng.u8(..4) > 0).then(|| vec![rng.u8(..); rng.usize(..80)]);
            (key, (BASE + rng.u64(..500), value))
        })
        .collect()
}

fn write(disk: &SimDisk, id: u64, format: TableFormat, model: &Model) -> Arc<Properties> {
    let mut writer = TableWriter::create(disk, "", id, format).unwrap();
    for (key, (index, value)) in model {
        writer.add(key, *index, value.as_deref()).unwrap();
    }
    Arc::new(writer.finish().unwrap())
}

fn probe(rng: &mut Rng) -> Vec<u8> {
    let mut key = vec![rng.u8(..3)];
    key.extend((0..rng.usize(..7)).map(|_| rng.u8(b'`'..b'f')));
    key
}

#[test]
fn every_record_is_found_and_nothing_else() {
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let disk = SimDisk::new(seed);
        let size = rng.usize(1..300);
        let model = random_model(&mut rng, size);
        let properties = write(&disk, 7, format(&mut rng), &model);
        assert_eq!(properties.records, model.len() as u64);
        assert_eq!(&properties.min_key[..], model.keys().next().unwrap());
        assert_eq!(&properties.max_key[..], model.keys().next_back().unwrap());
        let table = Table::open(&context(&disk), "", properties).unwrap();
        let mut value = Value::default();
        let mut find = |key: &[u8]| {
            let found = table.get(key, filter::hash(key), Access::Disk, &mut value).unwrap();
            (found, value.to_vec())
        };
        for (key, (_, expected)) in &model {
            match expected {
                Some(expected) => {
                    assert_eq!(find(key), (Found::Value, expected.clone()), "seed {seed}: {key:?}")
                }
                None => assert_eq!(find(key).0, Found::Deleted, "seed {seed}: {key:?}"),
            }
        }
        for _ in 0..200 {
            let key = probe(&mut rng);
            assert_eq!(find(&key).0 == Found::Missing, !model.contains_key(&key), "seed {seed}: {key:?}");
        }
    }
}

/// A key, and the index and value of its record.
type Current = (Vec<u8>, (u64, Option<Vec<u8>>));

fn current(iter: &TableIter) -> Option<Current> {
    iter.valid().then(|| (iter.key().to_vec(), (iter.index(), iter.value().map(<[u8]>::to_vec))))
}

#[test]
fn a_random_walk_in_both_directions_sees_what_a_map_holds() {
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let disk = SimDisk::new(seed);
        let size = rng.usize(1..200);
        let model = random_model(&mut rng, size);
        let properties = write(&disk, 7, format(&mut rng), &model);
        let table = Table::open(&context(&disk), "", properties).unwrap();
        let mut iter = TableIter::new(Arc::new(table), Access::Disk, 4);
        for _ in 0..300 {
            let probe = probe(&mut rng);
            let here = iter.valid().then(|| iter.key().to_vec());
            let expected = match (rng.u8(..6), here) {
                (0, _) => {
                    iter.first().unwrap();
                    model.iter().next()
                }
                (1, _) => {
                    iter.last().unwrap();
                    model.iter().next_back()
                }
                (2, _) | (_, None) => {
                    iter.seek(&probe, None).unwrap();
                    model.range(probe..).next()
                }
                (3, _) => {
                    iter.seek_before(&probe, None).unwrap();
                    model.range(..probe).next_back()
                }
                (4, Some(here)) => {
                    iter.next(None).unwrap();
                    model.range(here..).nth(1)
                }
                (_, Some(here)) => {
                    iter.prev(None).unwrap();
                    model.range(..here).next_back()
                }
            };
            assert_eq!(current(&iter), expected.map(|(k, v)| (k.clone(), v.clone())), "seed {seed}");
        }
    }
}

#[test]
fn the_bytes_of_a_prefix_are_about_those_between_its_keys() {
    let disk = SimDisk::new(1);
    let model: Model =
        (0..1000u16).map(|n| ([&[1][..], &n.to_be_bytes()].concat(), (BASE, Some(vec![7; 20])))).collect();
    let format = TableFormat { block_bytes: 200, compress: false, ..format(&mut Rng::with_seed(1)) };
    let properties = write(&disk, 7, format, &model);
    let file_bytes = properties.file_bytes;
    let table = Table::open(&context(&disk), "", properties).unwrap();
    assert_eq!(table.bytes_of_prefix(&[1]).unwrap(), file_bytes);
    assert_eq!(table.bytes_of_prefix(&[1, 9]).unwrap(), 0);
    assert_eq!(table.bytes_of_prefix(&[2]).unwrap(), 0);
    let quarter = table.bytes_of_prefix(&[1, 1]).unwrap();
    assert!(quarter > file_bytes / 5 && quarter < file_bytes / 3, "{quarter} of {file_bytes}");
}

#[test]
fn a_table_has_partitions_when_it_is_large() {
    let disk = SimDisk::new(1);
    let mut rng = Rng::with_seed(1);
    let format = TableFormat { block_bytes: 64, index_bytes: 100, ..format(&mut rng) };
    let small = write(&disk, 1, format, &random_model(&mut rng, 3));
    let large = write(&disk, 2, format, &random_model(&mut rng, 300));
    assert_eq!(Table::open(&context(&disk), "", small).unwrap().partitions(), 1);
    assert!(Table::open(&context(&disk), "", large).unwrap().partitions() > 10);
}

#[test]
fn compression_is_used_where_it_pays() {
    let disk = SimDisk::new(1);
    let format = TableFormat { block_bytes: 4096, ..format(&mut Rng::with_seed(1)) };
    let model: Model =
        (0..1000u16).map(|n| ([&[1][..], &n.to_be_bytes()].concat(), (BASE, Some(vec![7; 100])))).collect();
    let plain = write(&disk, 1, TableFormat { compress: false, ..format }, &model);
    let compressed = write(&disk, 2, TableFormat { compress: true, ..format }, &model);
    assert!(compressed.file_bytes < plain.file_bytes / 4);
}

/// Walks a table and looks keys up in it; what it came to does not matter.
fn use_up(table: Table) -> Result<()> {
    let table = Arc::new(table);
    let mut value = Value::default();
    for key in [&b"\x01a"[..], b"\x01bbb", b"\x01d"] {
        table.get(key, filter::hash(key), Access::Disk, &mut value)?;
    }
    table.bytes_of_prefix(b"\x01a")?;
    let mut iter = TableIter::new(table, Access::Disk, 0);
    let mut steps = 0;
    iter.first()?;
    while iter.valid() && steps < 5000 {
        steps += 1;
        iter.next(None)?;
    }
    iter.seek_before(b"\x01c", None)?;
    while iter.valid() && steps < 10_000 {
        steps += 1;
        iter.prev(None)?;
    }
    Ok(())
}

/// Blocks that no writer made, under good checksums: an error or some records, never a panic or a huge allocation.
#[test]
fn arbitrary_parts_under_good_checksums_are_an_error_or_a_table() {
    let mut opened = 0;
    for seed in 0..3000 {
        let mut rng = Rng::with_seed(seed);
        let disk = SimDisk::new(seed);
        let model = random_model(&mut rng, 40);
        let format = TableFormat { block_bytes: 80, index_bytes: 60, compress: false, ..format(&mut rng) };
        let properties = write(&disk, 7, format, &model);
        let mut contents = disk.contents("000007.table").unwrap();
        let body = contents.len() - 64;
        // Finds the ends of blocks by their checksums, changes a byte of one of them and makes its checksum good again.
        let mut blocks = Vec::new();
        let mut start = 0;
        for end in 10..=body {
            let sealed = contents[start..end].to_vec();
            if crate::lsm::block::unseal(sealed, 7, start as u64).is_ok() {
                blocks.push(start..end);
                start = end;
            }
        }
        assert_eq!(start, body, "a table is a row of blocks");
        let block = blocks[rng.usize(..blocks.len())].clone();
        let inside = block.start..block.end - 9;
        for _ in 0..rng.usize(1..4) {
            contents[rng.usize(inside.clone())] = rng.u8(..);
        }
        let mut sealed = Vec::new();
        crate::lsm::block::Sealer::new().seal(&contents[inside], false, 7, block.start as u64, &mut sealed);
        contents[block].copy_from_slice(&sealed);
        disk.open("000007.table").unwrap().write_at(&contents, 0).unwrap();
        match Table::open(&context(&disk), "", properties) {
            Ok(table) => {
                opened += 1;
                let result = use_up(table);
                assert!(result.is_ok() || matches!(result, Err(Error::Corrupt { .. })), "seed {seed}");
            }
            Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "seed {seed}: {error}"),
        }
    }
    assert!(opened > 1000, "{opened} were good enough to be opened");
}

#[test]
fn arbitrary_footers_are_an_error_or_a_footer() {
    let disk = SimDisk::new(1);
    let mut rng = Rng::with_seed(1);
    let properties = write(&disk, 7, format(&mut rng), &random_model(&mut rng, 40));
    let good = disk.contents("000007.table").unwrap();
    let at = good.len() - 64;
    for _ in 0..3000 {
        let mut footer = good[at..].to_vec();
        for _ in 0..rng.usize(1..4) {
            footer[rng.usize(8..56)] = rng.u8(..);
        }
        let checksum = xxhash_rust::xxh3::xxh3_64(&footer[..56]);
        footer[56..].copy_from_slice(&checksum.to_le_bytes());
        disk.open("000007.table").unwrap().write_at(&footer, at as u64).unwrap();
        if let Ok(table) = Table::open(&context(&disk), "", Arc::clone(&properties)) {
            use_up(table).unwrap();
        }
    }
}

#[test]
fn names_of_tables_are_numbers() {
    assert_eq!(file_name(7), "000007.table");
    assert_eq!(file_id("000007.table"), Some(7));
    assert_eq!(file_id(&file_name(12_345_678)), Some(12_345_678));
    for other in ["MANIFEST", "x.table", ".table", "000007.table.new", "+7.table"] {
        assert_eq!(file_id(other), None, "{other}");
    }
}
