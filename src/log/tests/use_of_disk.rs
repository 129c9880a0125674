//! What the log asks of the disk: how often, in which order, and what it does when the disk refuses.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use super::model::{SEGMENT_BYTES, entry, open};
use crate::bugs::{self, Bug};
use crate::disk::sim::{Action, Event, Fault, Hook};
use crate::disk::{Disk, SimDisk};
use crate::log::{Error, Log, Operation};

/// Notes the operations that a filter lets pass.
fn watch(disk: &SimDisk, filter: fn(&Event) -> bool) -> Arc<Mutex<Vec<Event>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hook: Hook = {
        let seen = seen.clone();
        Arc::new(move |_, event| {
            if filter(event) {
                seen.lock().unwrap().push(event.clone());
            }
        })
    };
    disk.set_hook(Some(hook));
    seen
}

fn append(log: &mut Log, count: u64, len: usize) {
    let first = log.reader().last_index() + 1;
    let group: Vec<Operation> =
        (first..first + count).map(|index| Operation::Entry(entry(index, 1, len))).collect();
    log.write(&group).unwrap();
}

#[test]
fn a_group_is_one_write_and_one_sync() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    while log.idle().unwrap() {}
    let seen = watch(&disk, |event| event.action.changes());
    append(&mut log, 5, 20);
    log.sync().unwrap();
    log.sync().unwrap();
    let actions: Vec<Action> = seen.lock().unwrap().iter().map(|event| event.action).collect();
    assert_eq!(actions, [Action::Write, Action::Sync]);
    assert_eq!(seen.lock().unwrap()[0].len, 5 * 64);
}

#[test]
fn segments_are_written_before_they_are_used_and_used_again_when_cut() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    let grown = |event: &Event| {
        event.action == Action::Create
            || event.action == Action::SetLen
            || (event.action == Action::Write && event.offset + event.len as u64 > SEGMENT_BYTES)
    };
    for _ in 0..100 {
        append(&mut log, 1, 100);
        log.sync().unwrap();
        log.cut(log.reader().last_index()).unwrap();
    }
    let seen = watch(&disk, grown);
    let before = disk.list("log").unwrap().len();
    for _ in 0..1000 {
        append(&mut log, 1, 100);
        log.sync().unwrap();
        log.cut(log.reader().last_index()).unwrap();
    }
    assert!(log.counters().segments > 90);
    assert_eq!(seen.lock().unwrap().len(), 0, "what was cut is enough");
    assert_eq!(disk.list("log").unwrap().len(), before);
    assert!(log.bytes() <= 2 * SEGMENT_BYTES);
}

#[test]
fn without_cuts_the_next_segment_is_ready_in_time_too() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    let late = Arc::new(Mutex::new(0));
    let hook: Hook = {
        let late = late.clone();
        Arc::new(move |disk, event| {
            // A segment begins: its file must have had its durable name and its size before.
            if event.action == Action::Write && event.offset == 0 && event.path.contains("segment-") {
                let ready = disk.is_durable(&event.path)
                    && disk.contents(&event.path).unwrap().len() as u64 == SEGMENT_BYTES;
                *late.lock().unwrap() += u32::from(!ready);
            }
        })
    };
    disk.set_hook(Some(hook));
    for _ in 0..200 {
        append(&mut log, 1, 100);
    }
    assert!(log.counters().segments > 10);
    assert_eq!(*late.lock().unwrap(), 0);
}

#[test]
fn an_idle_log_marks_how_far_it_is_durable_once() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    while log.idle().unwrap() {}
    append(&mut log, 1, 100);
    assert!(!log.idle().unwrap(), "nothing is known to be durable");
    log.sync().unwrap();
    let seen = watch(&disk, |event| event.action.changes());
    assert!(log.idle().unwrap());
    assert!(!log.idle().unwrap());
    assert_eq!(seen.lock().unwrap().len(), 1, "the mark is not synced by itself");
    drop(log);
    let (_, recovered) = open(&disk, 2).unwrap();
    assert_eq!((recovered.last.index, recovered.torn), (1, None));
}

/// Writes over many segments and counts where barrier 3 does not hold.
fn early_segments() -> u32 {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    let seen = Arc::new(Mutex::new((String::new(), 0)));
    let hook: Hook = {
        let seen = seen.clone();
        Arc::new(move |disk, event| {
            if event.action == Action::Write && event.path.contains("segment-") {
                let (current, early) = &mut *seen.lock().unwrap();
                if event.offset == 0 && !current.is_empty() && !disk.is_durable(current) {
                    *early += 1;
                }
                current.clone_from(&event.path);
            }
        })
    };
    disk.set_hook(Some(hook));
    for _ in 0..50 {
        append(&mut log, 3, 200);
    }
    assert!(log.counters().segments > 10);
    seen.lock().unwrap().1
}

#[test]
fn a_segment_is_durable_before_the_first_byte_of_the_next() {
    assert_eq!(early_segments(), 0);
}

#[test]
fn bug_the_old_segment_is_not_synced() {
    assert!(bugs::with(Bug::LogOldSegmentUnsynced, early_segments) > 0);
}

#[test]
fn after_a_write_or_sync_that_failed_nothing_is_written() {
    for action in [Action::Write, Action::Sync, Action::Rename, Action::SyncDir] {
        for nth in 1..4 {
            let disk = SimDisk::new(nth);
            let (mut log, _) = open(&disk, 1).unwrap();
            disk.fail(Fault { action, path_part: String::new(), nth, error: ErrorKind::PermissionDenied });
            let mut failed = None;
            for index in 1..100 {
                let result = log.write(&[Operation::Entry(entry(index, 1, 300))]).and_then(|()| log.sync());
                if let Err(error) = result {
                    failed = Some(error);
                    break;
                }
            }
            let is_sync = matches!(action, Action::Sync | Action::SyncDir);
            match failed {
                Some(Error::Sync { .. }) if is_sync => {}
                Some(Error::Io { source, .. }) if !is_sync => {
                    assert_eq!(source.kind(), ErrorKind::PermissionDenied);
                }
                other => panic!("{action:?} {nth}: {other:?}"),
            }
            let changes = disk.changes();
            let next = log.reader().last_index() + 1;
            assert!(log.write(&[Operation::Entry(entry(next, 1, 300))]).is_err());
            assert!(log.sync().is_err() && log.idle().is_err() && log.cut(0).is_err());
            assert_eq!(disk.changes(), changes);
        }
    }
}

#[test]
fn a_full_disk_fails_the_write() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(5 * SEGMENT_BYTES));
    let (mut log, _) = open(&disk, 1).unwrap();
    let error = (1..100)
        .find_map(|index| log.write(&[Operation::Entry(entry(index, 1, 300))]).err())
        .expect("the disk is full");
    let Error::Io { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
}

#[test]
fn a_read_that_fails_is_an_error_and_not_an_end() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    append(&mut log, 50, 100);
    log.sync().unwrap();
    drop(log);
    for nth in 1..20 {
        disk.fail(Fault {
            action: Action::Read,
            path_part: "segment-".to_owned(),
            nth,
            error: ErrorKind::Other,
        });
        match open(&disk, nth) {
            Err(Error::Io { .. }) => {}
            Err(error) => panic!("read {nth}: {error}"),
            Ok((log, _)) => {
                // There are not so many reads at a start; the fault hits this one.
                assert!(log.reader().entries(1, 10_000).is_err() || log.reader().last_index() == 50);
            }
        }
        disk.crash();
    }
}

#[test]
fn who_reads_a_segment_that_is_cut_reads_it_to_its_end() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    append(&mut log, 30, 100);
    log.sync().unwrap();
    let segments =
        |prefix: &str| disk.list("log").unwrap().iter().filter(|name| name.starts_with(prefix)).count();
    let contents = log.contents_for_tests();
    let runs = contents.lock().unwrap().runs(1, 10);
    let spares = segments("spare-");
    log.cut(10).unwrap();
    assert!(log.reader().first_index() > 1);
    assert!(segments("spare-") <= spares + 1, "the one that is read has been removed");
    let mut before = vec![0; 1000];
    runs[0].segment.file.read_at(&mut before, 0).unwrap();
    append(&mut log, 60, 100);
    let mut after = vec![0; 1000];
    runs[0].segment.file.read_at(&mut after, 0).unwrap();
    assert_eq!(before, after);
}
