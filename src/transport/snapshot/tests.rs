//! The receiver's files, without a network.

use std::{io::ErrorKind, sync::Arc};

use super::{
    SnapshotFile, is_file_name,
    receive::{ReceiveError, Receiving},
};
use crate::disk::{
    SimDisk,
    sim::{Action, Fault},
};

const SIZES: [usize; 5] = [10_000, 0, 70_000, 1, 5_000];

/// The files of a snapshot and their contents.
fn files() -> Vec<(SnapshotFile, Vec<u8>)> {
    let file = |(place, size): (usize, usize)| {
        let contents: Vec<u8> = (0..=250).cycle().skip(place).take(size).collect();
        let hash = xxhash_rust::xxh3::xxh3_128(&contents);
        (SnapshotFile { name: format!("table-{place}"), bytes: size as u64, hash }, contents)
    };
    SIZES.into_iter().enumerate().map(file).collect()
}

/// What has to stay free of the disk.
const KEPT_BYTES: u64 = 1_000;

fn begin(disk: &SimDisk, files: &[(SnapshotFile, Vec<u8>)]) -> Result<Receiving, ReceiveError> {
    let files = files.iter().map(|(file, _)| file.clone()).collect();
    Receiving::begin(Arc::new(disk.clone()), "incoming".to_owned(), files, KEPT_BYTES)
}

/// Sends what is missing in chunks of 999 bytes, at most `chunks` of them.
fn feed(
    receiving: &mut Receiving,
    files: &[(SnapshotFile, Vec<u8>)],
    chunks: usize,
) -> Result<(), ReceiveError> {
    for _ in 0..chunks {
        if receiving.is_whole() {
            break;
        }
        let (file, offset) = receiving.position();
        let rest = &files[file].1[usize::try_from(offset).unwrap()..];
        receiving.write(&rest[..rest.len().min(999)])?;
    }
    Ok(())
}

fn assert_whole(disk: &SimDisk, files: &[(SnapshotFile, Vec<u8>)]) {
    for (file, contents) in files {
        let path = format!("incoming/{}", file.name);
        assert!(disk.is_durable(&path), "{path}");
        assert!(disk.contents(&path).unwrap() == *contents, "{path}");
    }
    assert_eq!(crate::disk::Disk::list(disk, "incoming").unwrap().len(), files.len());
}

fn refused(result: Result<impl Sized, ReceiveError>) -> String {
    match result {
        Err(ReceiveError::Refused(why)) => why,
        Err(ReceiveError::Disk(error)) => panic!("{error}"),
        Ok(_) => panic!("it is not refused"),
    }
}

#[test]
fn bytes_become_files_that_are_durable() {
    let (disk, files) = (SimDisk::new(1), files());
    let mut receiving = begin(&disk, &files).unwrap();
    feed(&mut receiving, &files, usize::MAX).unwrap();
    receiving.finish().unwrap();
    assert_whole(&disk, &files);
    let again = begin(&disk, &files).unwrap();
    assert!(again.is_whole(), "nothing is to be sent twice");
    again.finish().unwrap();
}

#[test]
fn it_goes_on_where_it_broke() {
    let (disk, files) = (SimDisk::new(1), files());
    let mut broken = begin(&disk, &files).unwrap();
    feed(&mut broken, &files, 30).unwrap();
    let position = broken.position();
    assert_eq!(position.0, 2);
    drop(broken);
    let mut receiving = begin(&disk, &files).unwrap();
    assert_eq!(receiving.position(), position);
    feed(&mut receiving, &files, usize::MAX).unwrap();
    receiving.finish().unwrap();
    assert_whole(&disk, &files);
}

#[test]
fn what_is_of_another_snapshot_is_kept_if_it_is_the_same_and_else_removed() {
    let (disk, old) = (SimDisk::new(1), files());
    let mut receiving = begin(&disk, &old).unwrap();
    feed(&mut receiving, &old, usize::MAX).unwrap();
    let mut new = files();
    new[2].1[5] ^= 1;
    new[2].0.hash = xxhash_rust::xxh3::xxh3_128(&new[2].1);
    new[4].0.name = "other".to_owned();
    let mut receiving = begin(&disk, &new).unwrap();
    assert_eq!(receiving.position(), (2, 0));
    feed(&mut receiving, &new, usize::MAX).unwrap();
    receiving.finish().unwrap();
    assert_whole(&disk, &new);
}

#[test]
fn a_file_that_came_damaged_is_sent_again() {
    let (disk, files) = (SimDisk::new(1), files());
    let mut damaged = files.clone();
    damaged[2].1[60_000] ^= 1;
    let mut receiving = begin(&disk, &files).unwrap();
    assert_eq!(refused(feed(&mut receiving, &damaged, usize::MAX)), "table-2 came damaged");
    let mut receiving = begin(&disk, &files).unwrap();
    assert_eq!(receiving.position(), (2, 0));
    feed(&mut receiving, &files, usize::MAX).unwrap();
    receiving.finish().unwrap();
    assert_whole(&disk, &files);
}

#[test]
fn chunks_that_do_not_fit_are_refused() {
    let (disk, files) = (SimDisk::new(1), files());
    let mut receiving = begin(&disk, &files).unwrap();
    assert!(refused(receiving.write(&[0; 10_001])).contains("does not fit table-0"));
    assert!(refused(receiving.write(&[])).contains("does not fit table-0"));
    feed(&mut receiving, &files, usize::MAX).unwrap();
    assert_eq!(refused(receiving.write(&[1])), "more bytes than the files have");
}

#[test]
fn a_full_disk_is_told_and_given_back() {
    let (disk, files) = (SimDisk::new(1), files());
    disk.set_capacity(Some(50_000));
    assert!(refused(begin(&disk, &files)).starts_with("no room: 85001 bytes are missing"));
    let used = 50_000 - crate::disk::Disk::free_bytes(&disk).unwrap();
    disk.set_capacity(Some(used + 86_000));
    assert!(refused(begin(&disk, &files)).ends_with("86000 are free, of which 1000 have to stay so"));
    disk.set_capacity(Some(used + 86_001));
    assert!(begin(&disk, &files).is_ok());
    disk.set_capacity(None);
    let mut receiving = begin(&disk, &files).unwrap();
    disk.set_capacity(Some(50_000));
    assert!(refused(feed(&mut receiving, &files, usize::MAX)).starts_with("no room"));
    assert!(crate::disk::Disk::list(&disk, "incoming").unwrap().is_empty());
}

#[test]
fn a_sync_that_fails_stops_the_node_full_disk_or_not() {
    for action in [Action::Sync, Action::SyncDir] {
        let (disk, files) = (SimDisk::new(1), files());
        let mut receiving = begin(&disk, &files).unwrap();
        let error = ErrorKind::StorageFull;
        disk.fail(Fault { action, path_part: String::new(), nth: 1, error });
        let done = feed(&mut receiving, &files, usize::MAX).and_then(|()| receiving.finish());
        assert!(matches!(done, Err(ReceiveError::Disk(_))));
    }
}

#[test]
fn a_crash_at_any_time_costs_bytes_and_nothing_else() {
    let files = files();
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut tries = 0;
        loop {
            tries += 1;
            assert!(tries < 100, "seed {seed}: it does not come to an end");
            let crash = tries < 5;
            if crash {
                disk.stop_at(disk.changes() + rng.u64(0..60));
            }
            let done = begin(&disk, &files).and_then(|mut receiving| {
                feed(&mut receiving, &files, usize::MAX)?;
                receiving.finish()
            });
            match done {
                Ok(()) if !disk.is_stopped() => break,
                Ok(()) | Err(ReceiveError::Disk(_)) => assert!(crash, "seed {seed}"),
                Err(ReceiveError::Refused(why)) => assert!(why.ends_with("damaged"), "seed {seed}: {why}"),
            }
            disk.crash();
        }
        disk.crash();
        assert_whole(&disk, &files);
    }
}

#[test]
fn names_do_not_lead_out_of_the_directory() {
    for bad in ["", ".", "..", "../x", "a/b", "/a", ".hidden", "a\0b", "ä", &"x".repeat(256)] {
        assert!(!is_file_name(bad), "{bad:?}");
    }
    for good in ["manifest", "table-0000000000000001", "a.b_c"] {
        assert!(is_file_name(good), "{good:?}");
    }
}
