//! Damaged files and failing disks: an error or the right answer, never a wrong one.

use std::io::ErrorKind;

use fastrand::Rng;

use super::*;
use crate::disk::sim::{Action, Fault, Survival};

/// Makes a small tree with several tables in several levels, and returns what it holds.
fn small_tree(disk: &SimDisk) -> Map {
    let mut tree = open(disk, "tree", tiny()).unwrap();
    let mut rng = Rng::with_seed(3);
    for round in 0..5 {
        for _ in 0..15 {
            let key = [1 + rng.u8(..2), 0, rng.u8(..40)];
            if rng.u8(..6) == 0 { delete(&mut tree, &key) } else { put(&mut tree, &key, &[round; 20]) }
        }
        flush(&mut tree);
        if round == 2 {
            compact(&mut tree);
        }
    }
    assert!(tree.stats().level0_runs > 1 && tree.stats().level_tables[6] > 0);
    all(&tree.view()).unwrap()
}

fn files(disk: &SimDisk) -> Vec<String> {
    let tables = disk.list("tree/gen-000001").unwrap();
    let tables = tables.iter().map(|name| format!("tree/gen-000001/{name}"));
    tables.chain(["tree/CURRENT".to_owned()]).collect()
}

/// Opens the tree and reads all of it in every way; `Err` is what the damage came to.
fn read_all(disk: &SimDisk, expected: &Map) -> Result<()> {
    let options = Options { cache: Arc::new(Cache::new(0)), ..tiny() };
    let mut tree = open(disk, "tree", options)?;
    let view = tree.view();
    assert_eq!(all(&view)?, *expected);
    assert_eq!(all_backwards(&view)?, *expected);
    let mut value = Value::default();
    for family in 1..3 {
        for number in 0..40 {
            let key = vec![family, 0, number];
            let found = view.get(&key, Access::Disk, &mut value)?.then(|| value.to_vec());
            assert_eq!(found.as_ref(), expected.get(&key));
        }
    }
    tree.verify().run()?;
    while let Some(job) = tree.next_compaction() {
        let installed = job.run()?;
        tree.install(installed);
    }
    assert_eq!(all(&tree.view())?, *expected);
    Ok(())
}

fn restored(files: &[(String, Vec<u8>)]) -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create_dir("tree").unwrap();
    disk.create_dir("tree/gen-000001").unwrap();
    for (path, contents) in files {
        let file = disk.create(path).unwrap();
        file.write_at(contents, 0).unwrap();
        file.sync().unwrap();
    }
    for dir in ["tree/gen-000001", "tree", ""] {
        disk.sync_dir(dir).unwrap();
    }
    disk
}

fn images(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    files(disk).into_iter().map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

#[test]
fn a_file_cut_at_any_length_is_an_error() {
    let disk = SimDisk::new(1);
    let expected = small_tree(&disk);
    let images = images(&disk);
    read_all(&restored(&images), &expected).unwrap();
    let mut cuts = 0;
    for (path, contents) in &images {
        // Of tables, the end is what matters: it holds all that is read at the start; of the data a part will do.
        let from = if path.ends_with(".table") { contents.len().saturating_sub(120) } else { 0 };
        for len in from..contents.len() {
            let disk = restored(&images);
            disk.open(path).unwrap().set_len(len as u64).unwrap();
            let result = read_all(&disk, &expected);
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{path} cut to {len} bytes: {result:?}");
            cuts += 1;
        }
    }
    assert!(cuts > 1000, "{cuts}");
}

#[test]
fn every_damaged_byte_is_noticed() {
    let disk = SimDisk::new(1);
    let expected = small_tree(&disk);
    let images = images(&disk);
    let mut rng = Rng::with_seed(5);
    for (path, contents) in &images {
        for byte in (0..contents.len()).step_by(if path.ends_with(".table") { 3 } else { 1 }) {
            let disk = restored(&images);
            disk.flip(path, byte as u64, rng.u32(..8)).unwrap();
            let result = read_all(&disk, &expected);
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{path}, byte {byte}: {result:?}");
        }
    }
}

#[test]
fn a_table_under_another_tables_name_is_noticed() {
    let disk = SimDisk::new(1);
    let expected = small_tree(&disk);
    let mut images = images(&disk);
    let tables: Vec<usize> = (0..images.len()).filter(|&at| images[at].0.ends_with(".table")).collect();
    for pair in tables.windows(2) {
        let (first, second) = (images[pair[0]].1.clone(), images[pair[1]].1.clone());
        (images[pair[0]].1, images[pair[1]].1) = (second.clone(), first.clone());
        assert!(matches!(read_all(&restored(&images), &expected), Err(Error::Corrupt { .. })));
        (images[pair[0]].1, images[pair[1]].1) = (first, second);
    }
}

#[test]
fn a_tree_without_its_current_file_is_not_taken_for_an_empty_one() {
    let disk = SimDisk::new(1);
    small_tree(&disk);
    disk.remove("tree/CURRENT").unwrap();
    assert!(matches!(open(&disk, "tree", tiny()), Err(Error::Corrupt { .. })));
}

/// A failed read in a compaction ends it: the tables stay, whole.
#[test]
fn a_failed_read_never_shortens_a_table() {
    let disk = SimDisk::new(1);
    let expected = small_tree(&disk);
    let images = images(&disk);
    let mut failures = 0;
    for nth in 1.. {
        let disk = restored(&images);
        let options = Options { cache: Arc::new(Cache::new(0)), ..tiny() };
        let mut tree = open(&disk, "tree", options).unwrap();
        let error = ErrorKind::Other;
        disk.fail(Fault { action: Action::Read, path_part: ".table".to_owned(), nth, error });
        let mut result = Ok(());
        while let Some(job) = tree.next_compaction() {
            match job.run() {
                Ok(installed) => drop(tree.install(installed)),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        if result.is_ok() {
            break;
        }
        assert!(result.unwrap_err().is_fatal());
        failures += 1;
        drop(tree);
        disk.crash_with(Survival::All);
        read_all(&disk, &expected).unwrap();
    }
    assert!(failures > 20, "{failures}");
}

/// Whatever operation fails, and whatever a crash then leaves: what was flushed before is there, or what the job made.
#[test]
fn a_failed_operation_of_a_job_stops_the_tree_and_loses_nothing() {
    let images = {
        let disk = SimDisk::new(1);
        small_tree(&disk);
        images(&disk)
    };
    let mut failures = 0;
    for action in [Action::Create, Action::Write, Action::Sync, Action::SyncDir, Action::Rename] {
        for nth in 1..40 {
            let disk = restored(&images);
            let mut tree = open(&disk, "tree", tiny()).unwrap();
            let before = all(&tree.view()).unwrap();
            for number in 0..30 {
                put(&mut tree, &[2, 0, number], b"new");
            }
            let after = all(&tree.view()).unwrap();
            tree.seal();
            let error = ErrorKind::Other;
            disk.fail(Fault { action, path_part: String::new(), nth, error });
            let result = work(&mut tree);
            if result.is_ok() {
                break;
            }
            failures += 1;
            let again = tree.store.commit(|_| Ok(Edit::default()));
            let is_manifest = matches!(
                &result,
                Err(Error::Io { path, .. } | Error::Sync { path, .. }) if !path.ends_with(".table")
            );
            assert!(
                again.is_err() || !is_manifest || action == Action::SyncDir,
                "an edit follows a failed one"
            );
            drop(tree);
            disk.crash();
            let tree = open(&disk, "tree", tiny()).unwrap();
            let found = all(&tree.view()).unwrap();
            assert!(found == before || found == after, "{action:?} {nth}");
            tree.verify().run().unwrap();
        }
    }
    assert!(failures > 20, "{failures}");
}

fn work(tree: &mut Tree) -> Result<()> {
    while let Some(job) = tree.next_flush() {
        let installed = job.run()?;
        tree.install(installed);
    }
    while let Some(job) = tree.next_compaction() {
        let installed = job.run()?;
        tree.install(installed);
    }
    Ok(())
}

/// Bytes that no tree wrote, under a good checksum: an error or a manifest, never a panic or a huge allocation.
#[test]
fn arbitrary_manifests_are_an_error_or_a_manifest() {
    let disk = SimDisk::new(1);
    small_tree(&disk);
    let good = disk.contents("tree/gen-000001/MANIFEST").unwrap();
    let mut rng = Rng::with_seed(9);
    for _ in 0..20_000 {
        let mut bytes = good[..good.len() - 8].to_vec();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(8..bytes.len());
            bytes[at] = rng.u8(..);
        }
        bytes.truncate(rng.usize(8..=bytes.len()));
        let checksum = xxhash_rust::xxh3::xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        if let Ok(manifest) = Manifest::decode(&bytes) {
            assert_eq!(Manifest::decode(&manifest.encode()).unwrap().tables, manifest.tables);
        }
    }
}
