//! What the simulated disk promises to those who test with it.

use super::*;

const SEEDS: std::ops::Range<u64> = 0..200;

fn write_all(disk: &SimDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.create(path).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

fn fault(action: Action, path_part: &str, nth: u64) -> Fault {
    Fault { action, path_part: path_part.to_owned(), nth, error: ErrorKind::Other }
}

#[test]
fn what_was_synced_survives_every_crash() {
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        disk.create_dir("d").unwrap();
        disk.sync_dir("").unwrap();
        let file = write_all(&disk, "d/f", &[1; 10_000]);
        file.sync().unwrap();
        disk.sync_dir("d").unwrap();
        assert!(disk.is_durable("d/f"));
        disk.crash();
        assert_eq!(disk.contents("d/f").unwrap(), vec![1; 10_000], "seed {seed}");
        assert_eq!(disk.durable_contents("d/f").unwrap(), vec![1; 10_000], "seed {seed}");
    }
}

#[test]
fn what_was_made_and_removed_again_may_come_back() {
    let comes_back = |seed: &u64| {
        let disk = SimDisk::new(*seed);
        disk.create_dir("d").unwrap();
        drop(write_all(&disk, "f", &[1]));
        disk.remove_dir("d").unwrap();
        disk.remove("f").unwrap();
        // Another directory is synced, and what nobody needs is forgotten.
        disk.create_dir("other").unwrap();
        disk.sync_dir("other").unwrap();
        disk.crash_with(Survival::Mixed);
        disk.exists("d").unwrap() && disk.list("d").unwrap().is_empty() && disk.exists("f").unwrap()
    };
    assert!(SEEDS.filter(comes_back).count() > 10);
}

#[test]
fn each_page_that_was_not_synced_is_kept_lost_or_torn() {
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = write_all(&disk, "f", &[1; 8192]);
        file.sync().unwrap();
        disk.sync_dir("").unwrap();
        file.write_at(&[2; 8192], 0).unwrap();
        assert!(!disk.is_durable("f"));
        disk.crash_with(Survival::Mixed);
        for page in disk.contents("f").unwrap().chunks(512) {
            match page.iter().filter(|byte| **byte == 2).count() {
                0 => lost += 1,
                512 => kept += 1,
                count => {
                    assert!(
                        page[..count].iter().all(|byte| *byte == 2),
                        "a torn page starts with the new bytes"
                    );
                    torn += 1;
                }
            }
        }
    }
    assert!(kept > 100 && lost > 100 && torn > 10, "{kept} kept, {lost} lost, {torn} torn");
}

#[test]
fn a_page_that_was_written_twice_may_hold_the_first_write() {
    let mut seen = [0; 3];
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = write_all(&disk, "f", &[0]);
        file.sync().unwrap();
        disk.sync_dir("").unwrap();
        file.write_at(&[1], 0).unwrap();
        file.write_at(&[2], 0).unwrap();
        disk.crash_with(Survival::Mixed);
        seen[usize::from(disk.contents("f").unwrap()[0])] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn a_crash_keeps_all_or_nothing_when_told_to() {
    for (survival, expected) in [(Survival::All, vec![2; 600]), (Survival::Nothing, vec![1; 1000])] {
        let disk = SimDisk::new(1);
        let file = write_all(&disk, "f", &[1; 1000]);
        file.sync().unwrap();
        disk.sync_dir("").unwrap();
        file.set_len(600).unwrap();
        file.write_at(&[2; 600], 0).unwrap();
        disk.crash_with(survival);
        assert_eq!(disk.contents("f").unwrap(), expected);
    }
}

#[test]
fn a_length_that_was_not_synced_may_be_lost_and_what_was_cut_reads_as_zeros() {
    let mut lens = BTreeSet::new();
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = write_all(&disk, "f", &[1; 100]);
        file.sync().unwrap();
        disk.sync_dir("").unwrap();
        file.set_len(10).unwrap();
        file.write_at(&[3], 199).unwrap();
        assert_eq!(disk.contents("f").unwrap()[10..199], [0; 189]);
        disk.crash_with(Survival::Mixed);
        lens.insert(disk.contents("f").unwrap().len());
    }
    assert_eq!(lens, BTreeSet::from([10, 100, 200]));
}

#[test]
fn a_name_is_safe_only_when_its_directory_was_synced() {
    let (mut there, mut gone) = (0, 0);
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        write_all(&disk, "f", b"x").sync().unwrap();
        assert!(!disk.is_durable("f"));
        disk.crash();
        if disk.exists("f").unwrap() {
            assert_eq!(disk.contents("f").unwrap(), b"x", "its contents were synced");
            there += 1;
        } else {
            gone += 1;
        }
    }
    assert!(there > 20 && gone > 20, "{there} there, {gone} gone");
}

#[test]
fn a_rename_shows_the_old_name_or_the_new_one() {
    let (mut old, mut new) = (0, 0);
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        write_all(&disk, "a", b"new").sync().unwrap();
        write_all(&disk, "b", b"old").sync().unwrap();
        disk.sync_dir("").unwrap();
        disk.rename("a", "b").unwrap();
        assert!(!disk.is_durable("b"));
        disk.crash();
        match (disk.list("").unwrap().as_slice(), disk.contents("b").unwrap().as_slice()) {
            ([a, b], b"old") if a == "a" && b == "b" => old += 1,
            ([b], b"new") if b == "b" => new += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(old > 20 && new > 20, "{old} old, {new} new");
}

#[test]
fn a_removed_or_linked_name_follows_its_directory() {
    let mut seen = BTreeSet::new();
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        write_all(&disk, "a", b"x").sync().unwrap();
        disk.create_dir("d").unwrap();
        disk.sync_dir("").unwrap();
        disk.link("a", "d/b").unwrap();
        disk.remove("a").unwrap();
        disk.crash();
        seen.insert((disk.exists("a").unwrap(), disk.exists("d/b").unwrap()));
        if disk.exists("d/b").unwrap() {
            assert_eq!(disk.contents("d/b").unwrap(), b"x");
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn what_lies_in_a_lost_directory_is_lost() {
    let mut lost = 0;
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        disk.create_dir("d").unwrap();
        write_all(&disk, "d/f", b"x").sync().unwrap();
        disk.sync_dir("d").unwrap();
        assert!(!disk.is_durable("d/f"), "the entry of its directory is not");
        disk.crash();
        lost += u32::from(!disk.exists("d/f").unwrap());
    }
    assert!(lost > 20);
}

#[test]
fn the_nth_operation_fails_and_the_next_does_not() {
    let disk = SimDisk::new(1);
    let file = write_all(&disk, "f", &[1; 64]);
    disk.fail(fault(Action::Write, "f", 2));
    disk.fail(fault(Action::Read, "f", 1));
    disk.fail(fault(Action::Rename, "", 1));
    disk.fail(fault(Action::Create, "other", 1));
    file.write_at(&[2], 0).unwrap();
    file.write_at(&[3], 0).unwrap_err();
    file.write_at(&[4], 0).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, 0).unwrap_err();
    file.read_at(&mut byte, 0).unwrap();
    assert_eq!(byte, [4]);
    disk.rename("f", "g").unwrap_err();
    assert_ne!(disk.exists("f").unwrap(), disk.exists("g").unwrap(), "it happened or it did not");
    disk.create("h").unwrap();
}

#[test]
fn what_a_failed_sync_should_have_written_may_be_gone_after_the_next_one() {
    let mut gone = 0;
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = write_all(&disk, "f", b"old");
        file.sync().unwrap();
        disk.sync_dir("").unwrap();
        file.write_at(b"new", 0).unwrap();
        disk.fail(fault(Action::Sync, "f", 1));
        file.sync().unwrap_err();
        file.sync().unwrap();
        assert_eq!(disk.contents("f").unwrap(), b"new", "programs still read it");
        disk.crash();
        gone += u32::from(disk.contents("f").unwrap() == b"old");
    }
    assert!(gone > 20, "{gone}");
}

#[test]
fn a_refreshed_file_shows_what_a_failed_sync_left() {
    let mut gone = 0;
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = write_all(&disk, "f", b"old");
        file.sync().unwrap();
        file.write_at(b"new", 0).unwrap();
        disk.fail(fault(Action::Sync, "f", 1));
        file.sync().unwrap_err();
        file.refresh().unwrap();
        let seen = disk.contents("f").unwrap();
        assert_eq!(seen, disk.durable_contents("f").unwrap(), "seed {seed}");
        gone += u32::from(seen == b"old");
    }
    assert!(gone > 20, "{gone}");
}

#[test]
fn a_full_disk_takes_what_fits_and_rewrites_what_it_has() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(100));
    let file = write_all(&disk, "f", &[1; 60]);
    let other = write_all(&disk, "g", &[1; 30]);
    assert_eq!(disk.free_bytes().unwrap(), 10);
    assert_eq!(file.write_at(&[2; 20], 60).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 70);
    assert_eq!(file.set_len(71).unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_at(&[3; 70], 0).unwrap();
    disk.remove("g").unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 0, "the file is still open");
    drop(other);
    assert_eq!(disk.free_bytes().unwrap(), 30);
}

#[test]
fn bits_flip_and_cold_reads_are_refused() {
    let disk = SimDisk::new(1);
    let file = write_all(&disk, "f", &[0; 10]);
    file.sync().unwrap();
    disk.flip("f", 3, 1).unwrap();
    assert_eq!(disk.durable_contents("f").unwrap()[3], 2);
    assert_eq!(disk.contents("f").unwrap()[3], 2);
    disk.set_cold_percent(50);
    let mut buffer = [0; 10];
    let warm = (0..1000).filter(|_| file.try_read_at(&mut buffer, 0).unwrap()).count();
    assert!((400..600).contains(&warm), "{warm}");
}

#[test]
fn a_machine_that_stopped_does_nothing_more_until_it_has_crashed() {
    let mut halves = BTreeSet::new();
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = write_all(&disk, "f", b"old");
        file.sync().unwrap();
        disk.sync_dir("").unwrap();
        let lock = disk.lock("f").unwrap();
        disk.stop_at(disk.changes() + 1);
        file.write_at(b"new", 0).unwrap();
        file.sync().unwrap_err();
        assert!(disk.is_stopped());
        file.write_at(b"xxx", 0).unwrap_err();
        file.read_at(&mut [0], 0).unwrap_err();
        assert!(disk.open("f").is_err() && disk.exists("f").is_err() && file.len().is_err());
        disk.crash();
        assert!(!disk.is_stopped());
        file.write_at(b"xxx", 0).unwrap_err();
        drop(disk.lock("f").unwrap());
        drop(lock);
        halves.insert(disk.contents("f").unwrap());
    }
    assert!(halves.contains(b"old".as_slice()) && halves.contains(b"new".as_slice()), "{halves:?}");
}

#[test]
fn a_lock_is_held_by_one_at_a_time() {
    let disk = SimDisk::new(1);
    let held = disk.lock("LOCK").unwrap();
    assert_eq!(disk.lock("LOCK").err().unwrap().kind(), ErrorKind::WouldBlock);
    drop(held);
    disk.lock("LOCK").unwrap();
}

#[test]
fn the_hook_sees_each_operation_first_and_can_check_an_order() {
    let disk = SimDisk::new(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hook: Hook = {
        let seen = seen.clone();
        Arc::new(move |disk, event| {
            if event.action == Action::Write && event.path == "second" {
                seen.lock().unwrap().push((event.offset, disk.is_durable("first")));
            }
        })
    };
    disk.set_hook(Some(hook));
    let first = write_all(&disk, "first", b"x");
    let second = disk.create("other").unwrap();
    disk.rename("other", "second").unwrap();
    second.write_at(b"y", 5).unwrap();
    first.sync().unwrap();
    disk.sync_dir("").unwrap();
    second.write_at(b"y", 6).unwrap();
    assert_eq!(*seen.lock().unwrap(), [(5, false), (6, true)]);
    assert_eq!(disk.recent().last().unwrap().offset, 6);
}

/// Random operations and crashes; returns what tells one run from another.
fn run(seed: u64) -> (u64, Vec<Vec<u8>>) {
    let disk = SimDisk::new(seed);
    let mut rng = Rng::with_seed(seed ^ 1);
    let mut contents = Vec::new();
    for _ in 0..100 {
        let path = format!("f{}", rng.u8(..4));
        let file = disk.open(&path).or_else(|_| disk.create(&path)).unwrap();
        match rng.u8(..8) {
            0..4 => file.write_at(&vec![rng.u8(..); rng.usize(..2000)], rng.u64(..5000)).unwrap(),
            4 => file.sync().unwrap(),
            5 => disk.sync_dir("").unwrap(),
            6 => disk.rename(&path, &format!("f{}", rng.u8(..4))).unwrap(),
            _ => disk.crash(),
        }
    }
    for name in disk.list("").unwrap() {
        contents.push(disk.contents(&name).unwrap());
    }
    (disk.trace_hash(), contents)
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let mut traces = BTreeSet::new();
    for seed in 0..50 {
        let first = run(seed);
        assert_eq!(first, run(seed), "seed {seed}");
        traces.insert(first.0);
    }
    assert_eq!(traces.len(), 50);
}
