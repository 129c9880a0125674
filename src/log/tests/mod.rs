//! Tests of the log as a whole, mostly on the simulated disk.

mod crash;
mod damage;
mod full_disk;
mod fuzz;
mod model;
mod use_of_disk;

use std::sync::Arc;

use fastrand::Rng;

use self::model::{Model, SEGMENT_BYTES, entry, open, options};
use super::*;
use crate::disk::{Disk, RealDisk, SimDisk};

#[test]
fn a_new_log_is_empty_and_stays_so() {
    let disk = SimDisk::new(1);
    for epoch in 1..4 {
        let (log, recovered) = open(&disk, epoch).unwrap();
        let nothing = Position::default();
        let empty = Recovered { hard_state: HardState::default(), start: nothing, last: nothing, torn: None };
        assert_eq!(recovered, empty);
        let reader = log.reader();
        assert_eq!((reader.first_index(), reader.last_index()), (1, 0));
        assert_eq!((reader.term(0), reader.term(1)), (Some(0), None));
        assert!(reader.entries(0, 1000).unwrap().is_empty());
        assert!(reader.entries(1, 1000).unwrap().is_empty());
    }
}

#[test]
fn what_was_written_is_read_by_index_and_after_a_start() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    let reader = log.reader();
    let entries: Vec<Entry> =
        (1..=100).map(|index| entry(index, 1 + index / 30, usize::try_from(index * 3).unwrap())).collect();
    for group in entries.chunks(7) {
        let group: Vec<Operation> = group.iter().cloned().map(Operation::Entry).collect();
        log.write(&group).unwrap();
        log.sync().unwrap();
    }
    log.write(&[Operation::HardState(HardState { term: 9, vote: 3 })]).unwrap();
    assert!(log.counters().segments > 5);
    assert_eq!(log.counters().groups, 16);
    for reader in [reader, open(&disk, 2).unwrap().0.reader()] {
        assert_eq!((reader.first_index(), reader.last_index()), (1, 100));
        assert_eq!(reader.entries(1, usize::MAX).unwrap(), entries);
        assert_eq!(reader.entries(40, usize::MAX).unwrap(), entries[39..]);
        assert_eq!(reader.entries(100, 0).unwrap(), entries[99..]);
        assert!(reader.entries(101, 1000).unwrap().is_empty());
        for entry in &entries {
            assert_eq!(reader.term(entry.index), Some(entry.term));
        }
        assert_eq!(reader.term(101), None);
    }
    let (_, recovered) = open(&disk, 3).unwrap();
    assert_eq!(recovered.hard_state, HardState { term: 9, vote: 3 });
    assert_eq!(recovered.last, entries[99].position());
}

#[test]
fn a_read_returns_one_entry_and_then_only_what_fits() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    let group: Vec<Operation> = (1..=50).map(|index| Operation::Entry(entry(index, 1, 100))).collect();
    log.write(&group).unwrap();
    let reader = log.reader();
    for (max_bytes, count) in [(0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (1050, 10), (5000, 50)] {
        let entries = reader.entries(1, max_bytes).unwrap();
        assert_eq!(entries.len(), count, "{max_bytes} bytes");
    }
}

#[test]
fn entries_may_be_longer_than_a_segment_and_than_the_buffer() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    let lens = [10, 5000, 300_000, 10, 256 << 10, 2_000_000, 3_000_000, 0, 1];
    let entries: Vec<Entry> = (1..).zip(lens).map(|(index, len)| entry(index, 1, len)).collect();
    let group: Vec<Operation> = entries.iter().cloned().map(Operation::Entry).collect();
    log.write(&group).unwrap();
    assert_eq!(log.reader().entries(1, usize::MAX).unwrap(), entries);
    log.sync().unwrap();
    disk.crash();
    let (mut log, recovered) = open(&disk, 2).unwrap();
    assert_eq!(recovered.torn, None);
    assert_eq!(log.reader().entries(1, usize::MAX).unwrap(), entries);
    log.cut(9).unwrap();
    let files = disk.list("log").unwrap();
    for name in files.iter().filter(|name| name.starts_with("spare-")) {
        assert_eq!(disk.contents(&format!("log/{name}")).unwrap().len() as u64, SEGMENT_BYTES);
    }
}

#[test]
fn the_file_system_of_the_machine_gives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::new(dir.path().to_owned()).unwrap());
    let mut rng = Rng::with_seed(5);
    let mut model = Model::default();
    for epoch in 1..8 {
        let (mut log, recovered) = Log::open(disk.clone(), "log", options(), epoch).unwrap();
        model.check(&log, &recovered, 0);
        for _ in 0..30 {
            let group = model.random_group(&mut rng);
            log.write(&group).unwrap();
            group.iter().for_each(|operation| model.apply(operation));
            log.sync().unwrap();
            log.idle().unwrap();
        }
    }
}

#[test]
fn random_operations_leave_what_the_model_says() {
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let disk = SimDisk::new(seed);
        let mut model = Model::default();
        let mut cut = 0;
        for epoch in 0..4 {
            let (mut log, recovered) = open(&disk, epoch).unwrap();
            model.check(&log, &recovered, cut);
            for _ in 0..rng.usize(1..40) {
                let group = model.random_group(&mut rng);
                log.write(&group).unwrap();
                group.iter().for_each(|operation| model.apply(operation));
                model.check_contents(&log.reader(), cut);
                if rng.u8(..4) == 0 {
                    log.sync().unwrap();
                    log.idle().unwrap();
                }
                if rng.u8(..10) == 0 {
                    cut = cut.max(model.committed);
                    log.cut(model.committed).unwrap();
                    model.check_contents(&log.reader(), cut);
                }
            }
        }
    }
}

#[test]
fn the_log_says_how_many_bytes_stand_where_also_after_a_start() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    let len = |index: u64| if index < 10 { 60 << 10 } else { 10 };
    let entries: Vec<Entry> = (1..=400).map(|index| entry(index, 1, len(index))).collect();
    let group: Vec<Operation> = entries.iter().cloned().map(Operation::Entry).collect();
    log.write(&group).unwrap();
    log.sync().unwrap();
    let check = |log: &Log| {
        let sizes = log.reader().sizes();
        assert!(10 <= sizes.len(), "{sizes:?}");
        assert_eq!(sizes.last().unwrap().0, 400);
        for pair in sizes.windows(2) {
            let ((before, from), (last, to)) = (pair[0], pair[1]);
            let between = entries.iter().filter(|entry| before < entry.index && entry.index <= last);
            assert_eq!(to - from, between.map(Entry::log_bytes).sum::<u64>(), "{before} to {last}");
        }
    };
    check(&log);
    drop(log);
    let (log, _) = open(&disk, 2).unwrap();
    check(&log);
}

#[test]
fn a_reset_keeps_the_hard_state_and_moves_the_start() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk, 1).unwrap();
    let hard_state = HardState { term: 4, vote: 2 };
    log.write(&[Operation::HardState(hard_state), Operation::Entry(entry(1, 1, 10))]).unwrap();
    let start = Position { index: 500, term: 3 };
    log.write(&[Operation::Reset(start), Operation::Entry(entry(501, 4, 10))]).unwrap();
    log.sync().unwrap();
    let (log, recovered) = open(&disk, 2).unwrap();
    assert_eq!((recovered.hard_state, recovered.start), (hard_state, start));
    assert_eq!(recovered.last, Position { index: 501, term: 4 });
    assert_eq!(log.reader().term(500), Some(3));
    assert_eq!(log.reader().term(1), None);
}

#[test]
#[should_panic(expected = "an entry is the next one")]
fn a_gap_between_entries_is_refused() {
    let (mut log, _) = open(&SimDisk::new(1), 1).unwrap();
    let _ = log.write(&[Operation::Entry(entry(2, 1, 0))]);
}

#[test]
#[should_panic(expected = "a second vote in a term")]
fn a_second_vote_in_a_term_is_refused() {
    let (mut log, _) = open(&SimDisk::new(1), 1).unwrap();
    let votes = [1, 2].map(|vote| Operation::HardState(HardState { term: 1, vote }));
    let _ = log.write(&votes);
}

#[test]
#[should_panic(expected = "what is truncated was in the log")]
fn a_truncation_beyond_the_end_is_refused() {
    let (mut log, _) = open(&SimDisk::new(1), 1).unwrap();
    let _ = log.write(&[Operation::Truncate { from: 2 }]);
}
