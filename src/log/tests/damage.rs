//! Files that were cut short or have wrong bits: the log opens with a legal prefix, or refuses; it never loses what a
//! later record says was synced, and never shows what was not written.

use super::model::{Model, SEGMENT_BYTES, entry, open};
use crate::bugs::{self, Bug};
use crate::disk::{Disk, SimDisk};
use crate::log::record::{HEADER_BYTES, Header, Kind};
use crate::log::segment::FileName;
use crate::log::{Error, HardState, Operation, Position, record};

/// A log at rest: its files, and what its records are.
#[derive(Clone)]
struct Case {
    files: Vec<(String, Vec<u8>)>,
    /// The records of all segments in order.
    records: Vec<Place>,
    /// The states after the first n operations.
    states: Vec<Model>,
}

/// Where a record is.
#[derive(Clone)]
struct Place {
    file: usize,
    start: u64,
    /// The end of its body; what follows is padding.
    body_end: u64,
    durable_to: u64,
    /// How many operations were written before it.
    operations: usize,
}

impl Case {
    /// Writes `groups`, syncing after each, into a log with a few old segments' bytes in its files.
    fn new(groups: &[Vec<Operation>], synced: bool) -> Self {
        let disk = SimDisk::new(1);
        let (mut log, _) = open(&disk, 1).unwrap();
        let mut model = Model::default();
        let mut states = vec![model.clone()];
        for group in groups {
            log.write(group).unwrap();
            for operation in group {
                model.apply(operation);
                states.push(model.clone());
            }
            if synced {
                log.sync().unwrap();
            }
        }
        drop(log);
        let mut case = Self { files: Vec::new(), records: Vec::new(), states };
        let mut operations = 0;
        for name in disk.list("log").unwrap() {
            if name.starts_with("segment-") {
                let path = format!("log/{name}");
                operations = case.add_file(&name, disk.contents(&path).unwrap(), operations);
            }
        }
        assert_eq!(operations, case.states.len() - 1);
        case
    }

    /// Adds a file whose first operation has this number; returns that of the next file.
    fn add_file(&mut self, name: &str, bytes: Vec<u8>, mut operations: usize) -> usize {
        let Some(FileName::Segment { number, epoch }) = FileName::parse(name) else { panic!("{name}") };
        let mut start = 0;
        while start + 64 <= bytes.len() {
            let header = Header::decode(bytes[start..start + HEADER_BYTES].try_into().unwrap());
            if header.tag != record::tag(epoch, number) {
                break;
            }
            self.records.push(Place {
                file: self.files.len(),
                start: start as u64,
                body_end: (start + HEADER_BYTES) as u64 + u64::from(header.length),
                durable_to: header.durable_to,
                operations,
            });
            if header.kind() != Some(Kind::Head) {
                operations += 1;
            }
            start += usize::try_from(header.record_bytes()).unwrap();
        }
        self.files.push((format!("log/{name}"), bytes));
        operations
    }

    /// The newest segment with a head.
    fn newest(&self) -> usize {
        self.records.last().unwrap().file
    }

    /// Puts the files, one of them changed, on a new disk and opens the log. Returns the number of the state that it has
    /// then, or none if it refuses.
    fn open_changed(&self, changed: usize, bytes: &[u8]) -> Option<usize> {
        let disk = SimDisk::new(1);
        disk.create_dir("log").unwrap();
        for (at, (path, original)) in self.files.iter().enumerate() {
            let file = disk.create(path).unwrap();
            file.write_at(if at == changed { bytes } else { original }, 0).unwrap();
            file.sync().unwrap();
        }
        disk.sync_dir("").unwrap();
        disk.sync_dir("log").unwrap();
        match open(&disk, 7) {
            Err(Error::Corrupt { .. }) => None,
            Err(error) => panic!("{error}"),
            Ok((log, recovered)) => {
                let agrees = |state: &Model| state.agrees(&log, &recovered, 0).is_ok();
                let at = self.states.iter().rposition(agrees);
                Some(at.unwrap_or_else(|| panic!("a state that never was: {recovered:?}")))
            }
        }
    }

    /// What must come of the loss of record `lost`: see the rule (tail).
    fn expected(&self, lost: usize) -> Option<usize> {
        let place = &self.records[lost];
        let later = &self.records[lost + 1..];
        let acknowledged = |later: &Place| later.file != place.file || later.durable_to > place.start;
        if later.iter().any(acknowledged) { None } else { Some(place.operations) }
    }
}

/// Groups of one to three operations over a few segments, each a different state.
fn groups() -> Vec<Vec<Operation>> {
    let mut groups = Vec::new();
    let mut index = 0;
    for number in 0..14_u64 {
        let mut group = Vec::new();
        for _ in 0..1 + number % 3 {
            index += 1;
            let len = usize::try_from(index * 37 % 300).unwrap();
            group.push(Operation::Entry(entry(index, 1 + number / 4, len)));
        }
        if number % 4 == 1 {
            group.push(Operation::HardState(HardState { term: number, vote: 1 }));
        }
        if number == 5 {
            group.push(Operation::Truncate { from: index });
            index -= 1;
        }
        if number == 7 {
            index += 5;
            group.push(Operation::Reset(Position { index, term: 2 }));
        }
        groups.push(group);
    }
    groups
}

#[test]
fn a_file_cut_at_any_byte_gives_a_prefix_or_is_refused() {
    for synced in [true, false] {
        let case = Case::new(&groups(), synced);
        assert!(case.newest() >= 2, "a few segments");
        for (at, (path, bytes)) in case.files.iter().enumerate().take(case.newest() + 1) {
            for len in 0..bytes.len() {
                let lost = case.records.iter().position(|place| {
                    let end = place.body_end.next_multiple_of(64);
                    place.file == at && (len as u64) < end
                });
                let expected = match lost {
                    // What follows was cut off too, so that nothing in this file can say anything.
                    Some(lost) if at == case.newest() => Some(case.records[lost].operations),
                    Some(_) => None,
                    None => Some(case.states.len() - 1),
                };
                assert_eq!(case.open_changed(at, &bytes[..len]), expected, "{path} cut at {len}");
            }
        }
    }
}

#[test]
fn a_wrong_bit_anywhere_gives_the_same_log_a_prefix_or_is_refused() {
    for synced in [true, false] {
        let case = Case::new(&groups(), synced);
        for (at, (path, bytes)) in case.files.iter().enumerate() {
            let mut bytes = bytes.clone();
            for byte in 0..bytes.len() {
                let hit = case.records.iter().position(|place| {
                    place.file == at && (place.start..place.body_end).contains(&(byte as u64))
                });
                let expected = match hit {
                    Some(lost) => case.expected(lost),
                    None => Some(case.states.len() - 1),
                };
                let bit = 1 << (byte % 8);
                bytes[byte] ^= bit;
                assert_eq!(case.open_changed(at, &bytes), expected, "{path}, byte {byte}, synced {synced}");
                bytes[byte] ^= bit;
            }
        }
    }
}

#[test]
fn a_segment_before_one_that_was_begun_was_whole() {
    let case = Case::new(&groups(), false);
    let newest = case.newest();
    let last = case.records.iter().rposition(|place| place.file + 1 == newest).unwrap();
    let mut bytes = case.files[newest - 1].1.clone();
    bytes[usize::try_from(case.records[last].start).unwrap() + 20] ^= 1;
    let mut next = case.clone();
    next.files[newest].1[20] ^= 1;
    assert_eq!(next.open_changed(newest - 1, &bytes), None);
    assert_eq!(next.open_changed(newest, &next.files[newest].1), Some(case.records[last].operations + 1));
}

#[test]
fn a_missing_segment_is_refused() {
    let case = Case::new(&groups(), true);
    for missing in 0..case.newest() {
        let disk = SimDisk::new(1);
        disk.create_dir("log").unwrap();
        for (at, (path, bytes)) in case.files.iter().enumerate() {
            if at != missing {
                disk.create(path).unwrap().write_at(bytes, 0).unwrap();
            }
        }
        match open(&disk, 7) {
            Err(Error::Corrupt { .. }) => {}
            // As after a cut: who opened the log compares `start` with what he needs.
            Ok((_, recovered)) => assert!(missing == 0 && recovered.start.index > 0),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn bug_damage_in_the_middle_is_taken_for_a_torn_tail() {
    let case = Case::new(&groups(), true);
    let newest = case.newest();
    let hit = (0..case.records.len())
        .filter(|at| case.records[*at].file == newest && case.records[*at].start > 0)
        .find(|at| case.expected(*at).is_none())
        .expect("the newest segment holds more than one group");
    let mut bytes = case.files[newest].1.clone();
    bytes[usize::try_from(case.records[hit].start).unwrap() + 20] ^= 1;
    assert_eq!(case.open_changed(newest, &bytes), None);
    let taken = bugs::with(Bug::LogDamageTakenForTornTail, || case.open_changed(newest, &bytes));
    assert_eq!(taken, Some(case.records[hit].operations), "synced records are lost without a word");
}

#[test]
fn segments_have_the_size_they_should() {
    let case = Case::new(&groups(), true);
    for (path, bytes) in &case.files {
        assert_eq!(bytes.len() as u64, SEGMENT_BYTES, "{path}");
    }
}
