//! Bytes that nobody wrote: no panic, and no allocation by a length that they declare.

use fastrand::Rng;

use super::model::{SEGMENT_BYTES, open};
use crate::disk::{Disk, SimDisk};
use crate::log::record::{self, ALIGN, HEADER_BYTES, Head, Header, Kind, encode_header};
use crate::log::segment::FileName;
use crate::log::{EntryKind, Error, HardState, Position};

/// Opens a log of one segment with these bytes; whatever comes of it is right, if it comes.
fn open_bytes(number: u64, bytes: &[u8]) {
    let disk = SimDisk::new(1);
    disk.create_dir("log").unwrap();
    let path = FileName::Segment { number, epoch: 1 }.path("log");
    disk.create(&path).unwrap().write_at(bytes, 0).unwrap();
    match open(&disk, 2) {
        Ok((log, recovered)) => {
            let entries = log.reader().entries(recovered.start.index + 1, usize::MAX).unwrap();
            assert_eq!(entries.len() as u64, recovered.last.index - recovered.start.index);
        }
        Err(Error::Corrupt { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn random_bytes_are_an_empty_log_or_refused() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let mut bytes = vec![0; rng.usize(..5000)];
        rng.fill(&mut bytes);
        open_bytes(rng.u64(1..3), &bytes);
    }
}

#[test]
fn random_records_with_good_checksums_are_no_danger() {
    for seed in 0..3000 {
        let mut rng = Rng::with_seed(seed);
        let tag = record::tag(1, 1);
        let mut bytes = Vec::new();
        let head = Head { number: 1, hard_state: HardState::default(), previous_end: rng.u64(..2) };
        let body = head.encode();
        encode_header(&mut bytes, tag, 0, 0, Kind::Head, Position::default(), &body);
        bytes.extend_from_slice(&body);
        while (bytes.len() as u64) < SEGMENT_BYTES {
            bytes.resize(bytes.len().next_multiple_of(64), 0);
            let offset = bytes.len() as u64;
            let kinds = [
                Kind::Head,
                Kind::HardState,
                Kind::Mark,
                Kind::Truncate,
                Kind::Reset,
                Kind::Entry(EntryKind::Effects),
                Kind::Entry(EntryKind::Noop),
            ];
            let position = Position {
                index: if rng.u8(..50) == 0 { u64::MAX - rng.u64(..3) } else { rng.u64(..6) },
                term: rng.u64(..3),
            };
            let body = vec![1; rng.usize(..100)];
            let durable_to = rng.u64(..=offset / ALIGN) * ALIGN;
            encode_header(&mut bytes, tag, offset, durable_to, rng.choice(kinds).unwrap(), position, &body);
            bytes.extend_from_slice(&body);
        }
        open_bytes(1, &bytes);
    }
}

#[test]
fn a_declared_length_is_not_believed() {
    for length in [1, 24, 25, 2000, 2009, u32::MAX - 63, u32::MAX] {
        let tag = record::tag(1, 1);
        let mut bytes = Vec::new();
        let head = Head { number: 1, hard_state: HardState::default(), previous_end: 0 };
        encode_header(&mut bytes, tag, 0, 0, Kind::Head, Position::default(), &head.encode());
        bytes.extend_from_slice(&head.encode());
        bytes.resize(128, 0);
        let kind = Kind::Entry(EntryKind::Effects);
        encode_header(&mut bytes, tag, 128, 0, kind, Position { index: 1, term: 1 }, b"");
        bytes[132..136].copy_from_slice(&length.to_le_bytes());
        bytes.resize(usize::try_from(SEGMENT_BYTES).unwrap(), 0);
        open_bytes(1, &bytes);
    }
}

#[test]
fn any_header_can_be_decoded() {
    let mut rng = Rng::with_seed(1);
    for _ in 0..10_000 {
        let mut bytes = [0; HEADER_BYTES];
        rng.fill(&mut bytes);
        let header = Header::decode(&bytes);
        assert!(header.record_bytes() > u64::from(header.length));
        header.kind();
    }
}
