//! A disk that is full, or becomes so.

use std::io::ErrorKind;

use fastrand::Rng;

use super::model::{SEGMENT_BYTES, entry, open};
use crate::disk::sim::{Action, Fault};
use crate::disk::{Disk, SimDisk};
use crate::log::{Error, Log, Operation};

/// What a new segment takes of a disk at least: its head, in one block.
const BLOCK_BYTES: u64 = 512;

fn used_bytes(disk: &SimDisk) -> u64 {
    disk.set_capacity(Some(1 << 40));
    (1 << 40) - disk.free_bytes().unwrap()
}

/// Appends and syncs an entry; whether that worked.
fn append(log: &mut Log, len: usize) -> bool {
    let index = log.reader().last_index() + 1;
    let operation = Operation::Entry(entry(index, 1, len));
    log.write(&[operation]).and_then(|()| log.sync()).is_ok()
}

#[test]
fn a_full_disk_ends_the_log_late_and_it_starts_again() {
    let mut short = 0;
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let mut rng = Rng::with_seed(seed);
        let (mut log, _) = open(&disk, 1).unwrap();
        for _ in 0..rng.usize(0..60) {
            assert!(append(&mut log, rng.usize(0..300)));
        }
        let extra = rng.u64(0..4 * SEGMENT_BYTES);
        disk.set_capacity(Some(used_bytes(&disk) + extra));
        let full = disk.free_bytes().unwrap();
        let before = log.reader().last_index();
        let mut acknowledged = before;
        let mut bytes = 0;
        while append(&mut log, 200) {
            acknowledged = log.reader().last_index();
            bytes += 256;
            if rng.u8(..3) == 0 {
                log.idle().unwrap();
            }
        }
        // All the room was used for records but what cannot be: the end of a segment, heads, a torn record.
        assert!(bytes + 2048 >= full, "seed {seed}: {bytes} bytes of records on a disk with room for {full}");
        drop(log);
        disk.crash();
        for epoch in 2..6 {
            let free = disk.free_bytes().unwrap().max(BLOCK_BYTES);
            disk.set_capacity(Some(used_bytes(&disk) + free));
            let (mut log, recovered) = open(&disk, epoch).unwrap();
            assert!(recovered.last.index >= acknowledged, "seed {seed}, start {epoch}");
            assert_eq!(log.reader().entries(1, usize::MAX).unwrap().len() as u64, recovered.last.index);
            while log.idle().unwrap() {}
            short += u64::from(disk.free_bytes().unwrap() < SEGMENT_BYTES);
            drop(log);
            disk.crash();
        }
        disk.set_capacity(None);
        let (mut log, recovered) = open(&disk, 9).unwrap();
        assert!(recovered.last.index >= acknowledged, "seed {seed}, with room again");
        for _ in 0..60 {
            assert!(append(&mut log, 200), "seed {seed}");
        }
        log.cut(recovered.last.index).unwrap();
    }
    assert!(short > 100, "the disk must have been full at the start, not only {short} times");
}

#[test]
fn a_spare_that_finds_no_room_is_given_up_and_made_later() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    let files = disk.list("log").unwrap();
    for extra in [0, 1, SEGMENT_BYTES / 2, 2 * SEGMENT_BYTES - 1] {
        disk.set_capacity(Some(used_bytes(&disk) + extra));
        while log.idle().unwrap() {}
        assert!(append(&mut log, 10), "the segment has room");
        assert_eq!(disk.list("log").unwrap(), files, "{extra} bytes");
    }
    disk.set_capacity(None);
    while log.idle().unwrap() {}
    assert_eq!(disk.list("log").unwrap().len(), files.len() + 1);
}

#[test]
fn a_spare_whose_sync_fails_for_want_of_room_ends_the_log() {
    for (action, path_part) in [(Action::Sync, "filling-"), (Action::SyncDir, "log")] {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk, 1).unwrap();
        let path_part = path_part.to_owned();
        disk.fail(Fault { action, path_part, nth: 1, error: ErrorKind::StorageFull });
        let ended = loop {
            match log.idle() {
                Ok(true) => {}
                ended => break ended,
            }
        };
        assert!(matches!(ended, Err(Error::Sync { .. })), "{action:?}: {ended:?}");
        assert!(!append(&mut log, 10), "nothing is promised after a sync that failed");
    }
}
