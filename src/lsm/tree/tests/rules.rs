//! Single rules of the engine, each with the test that shows it.

use fastrand::Rng;

use super::*;
use crate::{
    bugs::{self, Bug},
    disk::sim::{Action, Event},
};

/// Fails when a manifest comes into force that names a table a crash could take away.
fn watch_barriers(disk: &SimDisk) {
    let check = |disk: &SimDisk, event: &Event| {
        if event.action != Action::Rename || !event.to.ends_with("/MANIFEST") {
            return;
        }
        let dir = event.to.strip_suffix("/MANIFEST").unwrap();
        let manifest = Manifest::decode(&disk.contents(&event.path).unwrap()).unwrap();
        for entry in &manifest.tables {
            let path = format!("{dir}/{:06}.table", entry.properties.id);
            assert!(disk.is_durable(&path), "the manifest names {path}, which is not durable");
        }
    };
    disk.set_hook(Some(Arc::new(check)));
}

fn write_some(tree: &mut Tree, rng: &mut Rng, entries: usize) {
    for _ in 0..entries {
        let key = [1, 0, rng.u8(..), rng.u8(..4)];
        if rng.u8(..5) == 0 {
            delete(tree, &key)
        } else {
            put(tree, &key, &[rng.u8(..); 40])
        }
        if rng.u8(..50) == 0 {
            flush(tree);
            compact(tree);
        }
    }
}

#[test]
fn tables_are_durable_before_the_manifest_names_them() {
    let disk = SimDisk::new(1);
    watch_barriers(&disk);
    let mut tree = open(&disk, "tree", tiny()).unwrap();
    write_some(&mut tree, &mut Rng::with_seed(1), 2000);
    assert!(tree.stats().flushes > 20 && tree.stats().compactions > 10);
    let caught = std::panic::catch_unwind(|| {
        bugs::with(Bug::EditBeforeTableSync, || {
            let disk = SimDisk::new(1);
            watch_barriers(&disk);
            let mut tree = open(&disk, "tree", tiny()).unwrap();
            write_some(&mut tree, &mut Rng::with_seed(1), 2000);
        });
    });
    assert!(caught.is_err(), "a table that was not synced goes unnoticed");
}

#[test]
fn a_flush_records_the_last_entry_of_the_memtable_it_wrote() {
    let disk = SimDisk::new(1);
    let mut tree = open(&disk, "tree", tiny()).unwrap();
    put(&mut tree, b"\x01\0a", b"1");
    tree.set_membership(Bytes::from_static(b"three voters"));
    tree.advance(Position { index: 2, term: 1 });
    tree.seal();
    put(&mut tree, b"\x01\0b", b"2");
    tree.set_membership(Bytes::from_static(b"five voters"));
    tree.advance(Position { index: 4, term: 2 });
    let job = tree.next_flush().unwrap();
    assert!(tree.next_flush().is_none(), "one flush at a time");
    assert_eq!(tree.install(job.run().unwrap()), Position { index: 2, term: 1 });
    assert_eq!(tree.flushed().membership, "three voters");
    flush(&mut tree);
    assert_eq!(tree.flushed().position, Position { index: 4, term: 2 });
    drop(tree);
    let tree = open(&disk, "tree", tiny()).unwrap();
    assert_eq!(tree.flushed().position, Position { index: 4, term: 2 });
    assert_eq!(tree.flushed().membership, "five voters");
    assert_eq!(get(&tree.view(), b"\x01\0b"), Some(b"2".to_vec()));
}

#[test]
fn entries_without_effects_are_flushed_without_tables() {
    let disk = SimDisk::new(1);
    let mut tree = open(&disk, "tree", tiny()).unwrap();
    for index in 1..=5 {
        tree.advance(Position { index, term: 1 });
        flush(&mut tree);
        assert_eq!(tree.flushed().position.index, index);
    }
    assert_eq!(tree.stats().level_tables.iter().sum::<u64>(), 0);
    flush(&mut tree);
    assert_eq!(tree.stats().flushes, 5, "nothing new, nothing to flush");
}

#[test]
#[should_panic(expected = "entry 3 is applied after entry 1")]
fn an_entry_is_never_left_out() {
    let mut tree = open(&SimDisk::new(1), "tree", tiny()).unwrap();
    put(&mut tree, b"\x01\0a", b"1");
    tree.apply(Position { index: 3, term: 1 }, &Batch::builder().finish());
}

#[test]
#[should_panic(expected = "one effect per key and entry")]
fn an_entry_with_two_effects_for_a_key_is_refused() {
    let mut tree = open(&SimDisk::new(1), "tree", tiny()).unwrap();
    let batch = Batch::builder().put(b"\x01\0a", b"1").put(b"\x01\0a", b"2").finish();
    tree.apply(Position { index: 1, term: 1 }, &batch);
}

#[test]
fn an_entry_larger_than_a_memtable_gets_one_of_its_own() {
    let mut tree = open(&SimDisk::new(1), "tree", tiny()).unwrap();
    put(&mut tree, b"\x01\0a", b"1");
    let large = vec![7; 100 << 10];
    put(&mut tree, b"\x01\0b", &large);
    put(&mut tree, b"\x01\0c", b"3");
    let view = tree.view();
    flush(&mut tree);
    for view in [view, tree.view()] {
        assert_eq!(get(&view, b"\x01\0a"), Some(b"1".to_vec()));
        assert_eq!(get(&view, b"\x01\0b"), Some(large.clone()));
        assert_eq!(get(&view, b"\x01\0c"), Some(b"3".to_vec()));
    }
    assert_eq!(tree.verify().run().unwrap().records, 3);
}

#[test]
fn memory_that_only_a_view_holds_is_counted() {
    let mut tree = open(&SimDisk::new(1), "tree", tiny()).unwrap();
    put(&mut tree, b"\x01\0a", &[1; 1000]);
    let view = tree.view();
    flush(&mut tree);
    assert!(tree.debt().memtable_bytes > 1000);
    assert_eq!(tree.debt().sealed, 0);
    drop(view);
    assert!(tree.debt().memtable_bytes < 1000);
}

#[test]
fn pressure_rises_with_what_is_not_flushed() {
    let mut tree = open(&SimDisk::new(1), "tree", tiny()).unwrap();
    let mut entries = 0u32;
    while tree.debt().pressure < 1000 {
        entries += 1;
        put(&mut tree, &[&[1, 0][..], &entries.to_be_bytes()].concat(), &[1; 100]);
        assert!(entries < 1000, "four memtables of 4 KiB are full");
    }
    assert!(tree.debt().sealed >= 3);
    flush(&mut tree);
    compact(&mut tree);
    assert!(tree.debt().pressure < 500);
}

#[test]
fn an_entry_larger_than_all_memtables_is_flushed_without_another() {
    let mut tree = open(&SimDisk::new(1), "tree", tiny()).unwrap();
    put(&mut tree, b"\x01\0a", &[1; 100_000]);
    assert!(tree.debt().pressure >= 1000);
    let job = tree.next_flush().expect("it is sealed without another entry");
    let installed = job.run().unwrap();
    tree.install(installed);
    compact(&mut tree);
    assert!(tree.debt().pressure < 500, "{:?}", tree.debt());
}

#[test]
fn a_view_is_old_when_it_holds_for_ten_seconds_what_the_tree_has_left() {
    let mut tree = open(&SimDisk::new(1), "tree", tiny()).unwrap();
    put(&mut tree, b"\x01\0a", b"1");
    let view = tree.view();
    assert_eq!(tree.notice_old_views(1_000), 0);
    assert_eq!(tree.notice_old_views(60_000), 0, "the tree still has what the view has");
    flush(&mut tree);
    assert_eq!(tree.notice_old_views(61_000), 0);
    assert_eq!(tree.notice_old_views(71_000), 0);
    assert_eq!(tree.notice_old_views(71_001), 1);
    assert_eq!(tree.notice_old_views(90_000), 1);
    assert_eq!(tree.stats().old_views, 1, "counted once");
    drop(view);
    assert_eq!(tree.notice_old_views(90_001), 0);
}

fn tables_on(disk: &SimDisk) -> usize {
    disk.list("tree/gen-000001").unwrap().iter().filter(|name| name.ends_with(".table")).count()
}

#[test]
fn a_file_goes_when_its_last_reader_goes() {
    let disk = SimDisk::new(1);
    let mut tree = open(&disk, "tree", tiny()).unwrap();
    let mut views = Vec::new();
    for round in 0..4 {
        for key in 0..50 {
            put(&mut tree, &[1, 0, key], &[round; 50]);
        }
        flush(&mut tree);
        views.push((round, tree.view()));
        compact(&mut tree);
    }
    let held = tables_on(&disk);
    let listed = tree.stats().level_tables.iter().sum::<u64>();
    assert!(held as u64 > listed, "views hold replaced tables");
    for (round, view) in views {
        assert!(
            all(&view).unwrap().values().all(|value| value[0] == round),
            "a view shows what it always showed"
        );
    }
    compact(&mut tree);
    assert_eq!(tables_on(&disk) as u64, listed);
}

#[test]
fn what_a_crash_left_behind_is_removed_and_its_ids_are_not_used_again() {
    let disk = SimDisk::new(1);
    let mut tree = open(&disk, "tree", tiny()).unwrap();
    put(&mut tree, b"\x01\0a", b"1");
    flush(&mut tree);
    drop(tree);
    disk.create("tree/gen-000001/000077.table").unwrap();
    disk.create("tree/gen-000001/MANIFEST.new").unwrap();
    disk.create_dir("tree/gen-000009").unwrap();
    disk.create("tree/gen-000009/000001.table").unwrap();
    let mut tree = open(&disk, "tree", tiny()).unwrap();
    assert_eq!(tables_on(&disk), 1);
    assert_eq!(disk.list("tree").unwrap(), ["CURRENT", "gen-000001"]);
    put(&mut tree, b"\x01\0b", b"2");
    flush(&mut tree);
    assert!(disk.exists("tree/gen-000001/000078.table").unwrap());
}

#[test]
fn a_read_that_may_not_wait_for_the_disk_says_so() {
    let disk = SimDisk::new(1);
    let mut tree = open(&disk, "tree", tiny()).unwrap();
    put(&mut tree, b"\x02\0a", b"1");
    flush(&mut tree);
    disk.set_cold_percent(100);
    let view = tree.view();
    let mut value = Value::default();
    let refused = view.get(b"\x02\0a", Access::Memory, &mut value);
    assert!(matches!(refused, Err(Error::WouldBlock)));
    assert!(!refused.unwrap_err().is_fatal());
    let mut cursor = view.cursor(Access::Memory);
    assert!(matches!(cursor.seek(b""), Err(Error::WouldBlock)));
    assert!(!cursor.valid());
    assert!(view.get(b"\x02\0a", Access::Disk, &mut value).unwrap());
    assert!(view.get(b"\x02\0a", Access::Memory, &mut value).unwrap(), "the cache has it now");
    cursor.seek(b"").unwrap();
    assert_eq!(current(&cursor), Some((b"\x02\0a".to_vec(), b"1".to_vec())));
}

#[test]
fn a_row_is_read_from_the_cache_until_an_entry_writes_it() {
    let disk = SimDisk::new(1);
    let options = Options { cache: Arc::new(Cache::new(1 << 20)), ..tiny() };
    let cache = Arc::clone(&options.cache);
    let mut tree = open(&disk, "tree", options).unwrap();
    put(&mut tree, b"\x01\0a", b"1");
    flush(&mut tree);
    let old = tree.view();
    assert_eq!(get(&old, b"\x01\0a"), Some(b"1".to_vec()));
    assert_eq!(get(&old, b"\x01\0a"), Some(b"1".to_vec()));
    assert_eq!(cache.stats().row_hits, 1);
    put(&mut tree, b"\x01\0a", b"2");
    assert_eq!(get(&old, b"\x01\0a"), Some(b"1".to_vec()));
    assert_eq!(get(&tree.view(), b"\x01\0a"), Some(b"2".to_vec()));
    assert_eq!(cache.stats().row_hits, 1);
}

fn key_of(number: u64) -> Vec<u8> {
    let hash = xxhash_rust::xxh3::xxh3_64(&number.to_be_bytes());
    [&[1, 0][..], &hash.to_be_bytes()].concat()
}

/// Reads 5,000 absent keys that lie between present ones, and returns how many block reads the filters avoided, of 1000.
fn filter_effect(tree: &Tree, records: u64) -> u64 {
    let view = tree.view();
    let before = tree.stats();
    for number in records..records + 5000 {
        assert_eq!(get(&view, &key_of(number)), None);
    }
    let after = tree.stats();
    let avoided = after.filter_useful - before.filter_useful;
    let wasted = after.filter_false_positive - before.filter_false_positive;
    assert_eq!(after.data_blocks_searched - before.data_blocks_searched, wasted);
    assert!(avoided + wasted >= 4900, "the keys lie within the tables");
    avoided * 1000 / (avoided + wasted)
}

#[test]
fn filters_avoid_the_reads_of_absent_keys_between_present_ones() {
    const RECORDS: u64 = 16_000;
    let levels = Levels { level0_runs: 100, table_bytes: 64 << 10, ..tiny().levels };
    let options = Options { levels, level0_runs_max: 200, filter_bits_per_key: 10, ..tiny() };
    let options = Options { memtable_bytes: 1 << 20, memtables_bytes_max: 1 << 30, ..options };
    let disk = SimDisk::new(1);
    let mut tree = open(&disk, "tree", options.clone()).unwrap();
    for number in 0..RECORDS {
        put(&mut tree, &key_of(number), b"value");
        if (number + 1) % (RECORDS / 8) == 0 {
            flush(&mut tree);
        }
    }
    assert_eq!(tree.stats().level0_runs, 8);
    let of_level0 = filter_effect(&tree, RECORDS);
    drop(tree);
    let levels = Levels { level0_runs: 2, ..options.levels };
    let mut tree = open(&disk, "tree", Options { levels, ..options }).unwrap();
    compact(&mut tree);
    assert_eq!(tree.stats().level0_runs, 0);
    let compacted = filter_effect(&tree, RECORDS);
    assert!(of_level0 >= 950 && compacted >= 950, "{of_level0} and {compacted} of 1000");
}

#[test]
fn steady_overwriting_does_not_need_ever_more_space() {
    let options = Options { memtable_bytes: 16 << 10, memtables_bytes_max: 1 << 30, ..tiny() };
    let levels = Levels { base_bytes: 32 << 10, fan_out: 4, table_bytes: 8 << 10, ..options.levels };
    let mut tree = open(&SimDisk::new(1), "tree", Options { levels, ..options }).unwrap();
    let mut rng = Rng::with_seed(1);
    let bytes = |tree: &Tree| tree.stats().level_bytes.iter().sum::<u64>();
    let mut once = 0;
    let mut most = 0;
    for round in 0..80_000u64 {
        let number = if round < 4000 { round } else { rng.u64(..4000) };
        put(&mut tree, &key_of(number), &[rng.u8(..); 60]);
        if tree.debt().sealed > 0 {
            flush(&mut tree);
            compact(&mut tree);
        }
        if round == 4000 {
            once = bytes(&tree);
        }
        most = most.max(bytes(&tree));
    }
    assert!(most < once * 3 / 2, "{once} bytes once, {most} at most");
    assert!(tree.stats().compacted_bytes_out > 4 * once, "much was rewritten");
}

#[test]
fn a_table_of_dead_keys_is_dropped_unread() {
    let disk = SimDisk::new(1);
    let options = Options { cache: Arc::new(Cache::new(0)), ..tiny() };
    let mut tree = open(&disk, "tree", options).unwrap();
    for key in 0..100 {
        put(&mut tree, &[2, 7, key], &[key; 100]);
    }
    for key in 0..10 {
        put(&mut tree, &[2, 8, key], &[key; 100]);
    }
    flush(&mut tree);
    compact(&mut tree);
    let before = tree.stats();
    put(&mut tree, &[GRAVES, 2, 7], b"");
    flush(&mut tree);
    assert!(tree.stats().dead_bytes > 9_000, "{} bytes are known to be dead", tree.stats().dead_bytes);
    compact(&mut tree);
    let after = tree.stats();
    assert!(after.dead_tables_dropped > 5);
    assert!(
        after.compacted_bytes_in - before.compacted_bytes_in < 5_000,
        "only the table at the border is read"
    );
    assert_eq!(after.dead_bytes, 0);
    assert_eq!(all(&tree.view()).unwrap().len(), 10 + 1, "the rest, and the grave");
}

#[test]
fn a_grave_goes_when_it_has_nothing_left_to_kill() {
    let disk = SimDisk::new(1);
    let mut tree = open(&disk, "tree", tiny()).unwrap();
    for group in 0..20 {
        for key in 0..20 {
            put(&mut tree, &[2, group, key], &[key; 50]);
        }
    }
    flush(&mut tree);
    compact(&mut tree);
    for group in 0..19 {
        put(&mut tree, &[GRAVES, 2, group], b"");
    }
    flush(&mut tree);
    let graves = |tree: &Tree| all(&tree.view()).unwrap().keys().filter(|key| key[0] == GRAVES).count();
    assert_eq!(graves(&tree), 19);
    for round in 0..10 {
        put(&mut tree, &[GRAVES, 2, 100 + round], b"");
        flush(&mut tree);
        compact(&mut tree);
    }
    assert_eq!(all(&tree.view()).unwrap().keys().filter(|key| key[0] == 2).count(), 20);
    assert!(graves(&tree) < 10, "{} graves are left", graves(&tree));
}

#[test]
fn a_tree_from_elsewhere_says_that_its_log_has_to_be_reset() {
    let disk = SimDisk::new(1);
    let flushed = Flushed {
        position: Position { index: 40, term: 3 },
        membership: Bytes::from_static(b"voters"),
        log_reset_pending: true,
    };
    let version = Version::<()>::new(7, flushed.clone(), Vec::new());
    disk.create_dir("tree").unwrap();
    generation::create(&disk, "tree", 5, &version, 12).unwrap();
    let mut tree = open(&disk, "tree", tiny()).unwrap();
    assert_eq!(*tree.flushed(), flushed);
    assert_eq!(tree.applied().index, 40);
    tree.log_was_reset(Bytes::from_static(b"voters")).unwrap();
    drop(tree);
    disk.crash();
    let tree = open(&disk, "tree", tiny()).unwrap();
    assert_eq!(*tree.flushed(), Flushed { log_reset_pending: false, ..flushed });
}

#[test]
fn a_checkpoint_outlives_the_tree_it_was_made_of() {
    let disk = SimDisk::new(1);
    let mut tree = open(&disk, "tree", tiny()).unwrap();
    for key in 0..100 {
        put(&mut tree, &[1, 0, key], &[key; 50]);
    }
    flush(&mut tree);
    put(&mut tree, b"\x01\0not flushed", b"");
    let checkpoint = tree.checkpoint().run("copy").unwrap();
    assert_eq!(checkpoint.flushed.position.index, 100);
    assert!(matches!(tree.checkpoint().run("copy"), Err(Error::Io { .. })), "it is not overwritten");
    for key in 0..100 {
        delete(&mut tree, &[1, 0, key]);
    }
    flush(&mut tree);
    compact(&mut tree);
    drop(tree);
    disk.crash();
    let copy = open(&disk, "copy", tiny()).unwrap();
    assert!(copy.flushed().log_reset_pending, "no log goes with it");
    let expected: Map = (0..100u8).map(|key| (vec![1, 0, key], vec![key; 50])).collect();
    assert_eq!(all(&copy.view()).unwrap(), expected);
    for file in &checkpoint.files {
        let contents = disk.contents(&file.path).unwrap();
        assert_eq!(contents.len() as u64, file.bytes);
        assert_eq!(xxhash_rust::xxh3::xxh3_128(&contents), file.hash);
    }
}

#[test]
fn who_may_not_take_long_does_not_step_over_many_deleted_keys() {
    let disk = SimDisk::new(1);
    let options = Options { memtable_bytes: 8 << 20, memtables_bytes_max: 1 << 30, ..tiny() };
    let mut tree = open(&disk, "tree", options).unwrap();
    let key = |at: u16| [&[1][..], &at.to_be_bytes(), &[7, 7]].concat();
    for at in [0, 5_000] {
        put(&mut tree, &key(at), b"there");
    }
    for at in 1..5_000 {
        delete(&mut tree, &key(at));
    }
    let view = tree.view();
    let long = |result: Result<()>| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::WouldTakeLong) && !error.is_fatal(), "{error}");
    };
    let mut short = view.cursor(Access::Memory);
    short.seek(&key(0)).unwrap();
    long(short.next());
    assert!(!short.valid());
    let mut short = view.cursor(Access::Memory);
    short.seek_before(&key(5_001)).unwrap();
    long(short.prev());
    let mut patient = view.cursor(Access::Disk);
    patient.seek(&key(1)).unwrap();
    assert_eq!(patient.key(), key(5_000));
    patient.prev().unwrap();
    assert_eq!(patient.key(), key(0));
}
