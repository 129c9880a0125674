//! A disk without room: jobs are given up and tried again, and nothing is lost.

use std::io::ErrorKind;

use super::*;
use crate::disk::sim::{Action, Fault};

/// Bytes of all files.
fn used_bytes(disk: &SimDisk) -> u64 {
    disk.set_capacity(Some(1 << 40));
    let used = (1 << 40) - Disk::free_bytes(disk).unwrap();
    disk.set_capacity(None);
    used
}

/// A tree with a few tables in level 0 and one sealed memtable.
fn filled(disk: &SimDisk) -> (Tree, Map) {
    let mut tree = open(disk, "tree", tiny()).unwrap();
    let mut model = Map::new();
    for round in 0..3_u8 {
        for at in 0..40_u8 {
            let (key, value) = (vec![1, at, round % 2, 7, 7], vec![round; 30]);
            put(&mut tree, &key, &value);
            model.insert(key, value);
        }
        if round < 2 {
            flush(&mut tree);
        }
    }
    tree.seal();
    (tree, model)
}

fn tables(disk: &SimDisk) -> usize {
    let names = Disk::list(disk, "tree/gen-000001").unwrap();
    names.iter().filter(|name| name.ends_with(".table")).count()
}

/// Runs `run` on a full tree at every capacity, in steps, until it has all the room it wants.
fn at_every_capacity(run: impl Fn(&mut Tree) -> Option<Result<Installed>>) {
    let (mut refused, mut extra) = (0, 0);
    loop {
        let disk = SimDisk::new(extra);
        let (mut tree, model) = filled(&disk);
        let (files, used) = (tables(&disk), used_bytes(&disk));
        disk.set_capacity(Some(used + extra));
        let installed = run(&mut tree).expect("there is work").unwrap();
        tree.install(installed);
        assert!(all(&tree.view()).unwrap() == model, "{extra} bytes");
        if !tree.lacks_room() {
            break;
        }
        refused += 1;
        assert_eq!(tables(&disk), files, "{extra} bytes: what was written is removed again");
        assert_eq!(used_bytes(&disk), used, "{extra} bytes");

        // It is not tried again at once, but after a while, and then, with room, it succeeds.
        disk.set_capacity(None);
        tree.retry(5_000);
        tree.retry(5_999);
        assert!(run(&mut tree).is_none(), "{extra} bytes");
        tree.retry(6_000);
        let installed = run(&mut tree).expect("it is tried again").unwrap();
        tree.install(installed);
        assert!(!tree.lacks_room(), "{extra} bytes");
        flush(&mut tree);
        compact(&mut tree);
        drop(tree);
        disk.crash();
        let tree = open(&disk, "tree", tiny()).unwrap();
        assert!(all(&tree.view()).unwrap() == model, "{extra} bytes, after a crash");
        extra += 61;
    }
    assert!(refused > 20, "only {refused} were without room");
}

#[test]
fn a_flush_without_room_keeps_its_memtable() {
    at_every_capacity(|tree| tree.next_flush().map(FlushJob::run));
}

#[test]
fn a_compaction_without_room_keeps_its_tables() {
    at_every_capacity(|tree| tree.next_compaction().map(CompactionJob::run));
}

#[test]
fn a_compaction_leaves_room_to_the_others() {
    let disk = SimDisk::new(1);
    let levels = Levels { level0_runs: 2, compress_from: usize::MAX, ..Levels::default() };
    let options = Options { levels, log_room_bytes: 1_000_000, ..tiny() };
    let options = Options { memtable_bytes: 8 << 20, memtables_bytes_max: 1 << 30, ..options };
    let leaves_bytes = 1_000_000 + 2 * options.memtable_bytes as u64;
    let mut tree = open(&disk, "tree", options).unwrap();
    for round in 0..2_u8 {
        for at in 0..2_000_u16 {
            let [high, low] = at.to_be_bytes();
            put(&mut tree, &[1, high, low, 7, 7], &[round; 1_000]);
        }
        flush(&mut tree);
    }
    let used = used_bytes(&disk);
    for (free, has_room) in [(leaves_bytes + 500_000, false), (2 * leaves_bytes, true)] {
        disk.set_capacity(Some(used + free));
        tree.retry(0);
        tree.retry(1_000);
        let least = Arc::new(Mutex::new(u64::MAX));
        let seen = Arc::clone(&least);
        disk.set_hook(Some(Arc::new(move |disk, _| {
            let free = Disk::free_bytes(disk).unwrap();
            let mut least = seen.lock().unwrap();
            *least = free.min(*least);
        })));
        let installed = tree.next_compaction().expect("level 0 is full").run().unwrap();
        tree.install(installed);
        disk.set_hook(None);
        assert_eq!(tree.lacks_room(), !has_room);
        assert!(*least.lock().unwrap() >= leaves_bytes - 600_000, "the compaction took what the log needs");
    }
}

#[test]
fn room_that_is_promised_is_not_there() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(100_000));
    let mut tree = open(&disk, "tree", tiny()).unwrap();
    let before = tree.room_bytes().unwrap();
    put(&mut tree, &[1, 2, 3, 4, 5], &[0; 1_000]);
    let after = tree.room_bytes().unwrap();
    assert!(after + 1_000 <= before, "a memtable becomes a table");
    tree.seal();
    assert!(tree.room_bytes().unwrap() + 1_000 <= before, "a sealed one as well");
    flush(&mut tree);
    assert!(tree.room_bytes().unwrap() > after - 1_000);
}

#[test]
fn a_flush_leaves_room_to_the_log() {
    let disk = SimDisk::new(1);
    let mut tree = open(&disk, "tree", Options { log_room_bytes: 50_000, ..tiny() }).unwrap();
    put(&mut tree, &[1, 2, 3, 4, 5], &[0; 1_000]);
    tree.seal();
    let used = used_bytes(&disk);
    for (free, has_room) in [(50_900, false), (55_000, true)] {
        disk.set_capacity(Some(used + free));
        tree.retry(0);
        tree.retry(1_000);
        let installed = tree.next_flush().expect("a memtable is sealed").run().unwrap();
        tree.install(installed);
        assert_eq!(tree.lacks_room(), !has_room);
    }
}

/// Runs `run` on a filled tree once for each sync that it makes, which says that there is no room.
fn at_every_sync(run: impl Fn(&mut Tree) -> Option<Result<Installed>>) {
    let mut failures = 0;
    for action in [Action::Sync, Action::SyncDir] {
        for nth in 1.. {
            let disk = SimDisk::new(nth);
            let (mut tree, model) = filled(&disk);
            disk.fail(Fault { action, path_part: String::new(), nth, error: ErrorKind::StorageFull });
            let Err(error) = run(&mut tree).expect("there is work") else { break };
            assert!(matches!(error, Error::Sync { .. }), "{action:?} {nth}: {error}");
            failures += 1;
            let edit = |_: &Version<Table>| Ok(Edit::default());
            let manifest_was_synced = tree.store.commit(edit).is_err();
            let is_of_manifest = matches!(&error, Error::Sync { path, .. } if path.ends_with("MANIFEST.new"));
            assert!(manifest_was_synced || !is_of_manifest, "an edit follows one that may not be durable");
            drop(tree);
            disk.crash();
            let tree = open(&disk, "tree", tiny()).unwrap();
            let found = all(&tree.view()).unwrap();
            assert!(found.iter().all(|(key, _)| model.contains_key(key)), "{action:?} {nth}");
        }
    }
    assert!(failures >= 4, "a table, the manifest and twice the directory, not {failures}");
}

#[test]
fn a_flush_whose_sync_fails_for_want_of_room_is_not_tried_again() {
    at_every_sync(|tree| tree.next_flush().map(FlushJob::run));
}

#[test]
fn a_compaction_whose_sync_fails_for_want_of_room_is_not_tried_again() {
    at_every_sync(|tree| tree.next_compaction().map(CompactionJob::run));
}
