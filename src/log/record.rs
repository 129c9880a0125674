//! One record: its header, its checksum, and the body of a head. The format is in the doc of `log`.

use crc32c::crc32c_append;

use super::{EntryKind, HardState, Position};

/// Records start at multiples of this many bytes.
pub(super) const ALIGN: u64 = 64;
/// The bytes before the body.
pub(super) const HEADER_BYTES: usize = 40;
/// The bytes of a head's body.
pub(super) const HEAD_BODY_BYTES: usize = 48;
/// A segment may not be longer: offsets are kept as a `u32` in units of 64 bytes.
pub(super) const SEGMENT_BYTES_MAX: u64 = u32::MAX as u64 * ALIGN;

const MAGIC: [u8; 8] = *b"SISYPLOG";
const VERSION: u8 = 1;
/// Odd, so that the tags of one epoch differ in all segments.
const TAG_STEP: u64 = 0x9E37_79B9_7F4A_7C15;
/// The kind of an entry's record is this plus the entry's kind.
const ENTRY_KINDS: u8 = 16;

const _: () = assert!((HEADER_BYTES as u64) < ALIGN, "a record without a body takes one unit");

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Head,
    HardState,
    Mark,
    Truncate,
    Reset,
    Entry(EntryKind),
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Head => 1,
            Self::HardState => 2,
            Self::Mark => 3,
            Self::Truncate => 4,
            Self::Reset => 5,
            Self::Entry(kind) => ENTRY_KINDS + kind as u8,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Head,
            2 => Self::HardState,
            3 => Self::Mark,
            4 => Self::Truncate,
            5 => Self::Reset,
            17 => Self::Entry(EntryKind::Effects),
            18 => Self::Entry(EntryKind::Noop),
            19 => Self::Entry(EntryKind::Configuration),
            _ => return None,
        })
    }
}

/// A header as it was read; nothing in it can be trusted before its checksum has been compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) crc: u32,
    pub(super) length: u32,
    pub(super) tag: u64,
    pub(super) position: Position,
    /// In bytes.
    pub(super) durable_to: u64,
    kind: u8,
    zeros: [u8; 3],
}

impl Header {
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        Self {
            crc: u32_at(bytes, 0),
            length: u32_at(bytes, 4),
            tag: u64_at(bytes, 8),
            position: Position { index: u64_at(bytes, 16), term: u64_at(bytes, 24) },
            durable_to: u64::from(u32_at(bytes, 32)) * ALIGN,
            kind: bytes[36],
            zeros: [bytes[37], bytes[38], bytes[39]],
        }
    }

    /// What the record is, or none if this version does not know.
    pub(super) fn kind(&self) -> Option<Kind> {
        if self.zeros == [0; 3] { Kind::from_code(self.kind) } else { None }
    }

    /// The bytes of the file that the record takes.
    pub(super) fn record_bytes(&self) -> u64 {
        record_bytes(u64::from(self.length))
    }
}

/// Returns the bytes of the file that a record with a body of `length` bytes takes.
pub(super) fn record_bytes(length: u64) -> u64 {
    (HEADER_BYTES as u64 + length).next_multiple_of(ALIGN)
}

/// Returns what marks the records of a segment.
pub(super) fn tag(epoch: u64, number: u64) -> u64 {
    epoch.wrapping_add(number.wrapping_mul(TAG_STEP))
}

/// Returns the checksum with which that of a record at `offset` starts.
pub(super) fn checksum_seed(offset: u64) -> u32 {
    assert!(offset.is_multiple_of(ALIGN), "records start at multiples of 64");
    u32::try_from(offset / ALIGN).expect("a segment is shorter than 256 GiB")
}

/// Appends the header of a record to `out`, with the checksum of the body that must follow it.
pub(super) fn encode_header(
    out: &mut Vec<u8>,
    tag: u64,
    offset: u64,
    durable_to: u64,
    kind: Kind,
    position: Position,
    body: &[u8],
) {
    assert!(durable_to <= offset, "what is not written is not durable");
    let length = u32::try_from(body.len()).expect("a body is shorter than 4 GiB");
    let mut header = [0; HEADER_BYTES];
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..16].copy_from_slice(&tag.to_le_bytes());
    header[16..24].copy_from_slice(&position.index.to_le_bytes());
    header[24..32].copy_from_slice(&position.term.to_le_bytes());
    header[32..36].copy_from_slice(&checksum_seed(durable_to).to_le_bytes());
    header[36] = kind.code();
    let crc = crc32c_append(crc32c_append(checksum_seed(offset), &header[4..]), body);
    header[..4].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&header);
}

/// The body of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u64,
    pub(super) hard_state: HardState,
    /// Where the segment before ends, in bytes.
    pub(super) previous_end: u64,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD_BODY_BYTES] {
        let mut body = [0; HEAD_BODY_BYTES];
        body[..8].copy_from_slice(&MAGIC);
        body[8] = VERSION;
        body[16..24].copy_from_slice(&self.number.to_le_bytes());
        body[24..32].copy_from_slice(&self.hard_state.term.to_le_bytes());
        body[32..40].copy_from_slice(&self.hard_state.vote.to_le_bytes());
        body[40..48].copy_from_slice(&self.previous_end.to_le_bytes());
        body
    }

    /// Returns none if it is of another version.
    pub(super) fn decode(body: &[u8; HEAD_BODY_BYTES]) -> Option<Self> {
        if body[..8] != MAGIC || body[8] != VERSION || body[9..16] != [0; 7] {
            return None;
        }
        let hard_state = HardState { term: u64_at(body, 24), vote: u64_at(body, 32) };
        Some(Self { number: u64_at(body, 16), hard_state, previous_end: u64_at(body, 40) })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        let position = Position { index: 7, term: 3 };
        let mut out = Vec::new();
        encode_header(&mut out, 99, 640, 128, Kind::Entry(EntryKind::Noop), position, b"body");
        let header = Header::decode(out[..].try_into().unwrap());
        assert_eq!(header.kind(), Some(Kind::Entry(EntryKind::Noop)));
        assert_eq!((header.length, header.tag, header.position, header.durable_to), (4, 99, position, 128));
        assert_eq!(header.record_bytes(), 64);
        assert_eq!(record_bytes(25), 128);
    }

    #[test]
    fn the_checksum_binds_a_record_to_its_offset() {
        let position = Position::default();
        let crcs: Vec<u32> = (0..100)
            .map(|unit| {
                let mut out = Vec::new();
                encode_header(&mut out, 1, unit * ALIGN, 0, Kind::Mark, position, b"");
                Header::decode(out[..].try_into().unwrap()).crc
            })
            .collect();
        for (at, crc) in crcs.iter().enumerate() {
            assert!(!crcs[..at].contains(crc), "offset {at}");
        }
    }

    #[test]
    fn a_head_of_another_version_is_refused() {
        let head = Head { number: 5, hard_state: HardState { term: 2, vote: 1 }, previous_end: 4096 };
        let mut body = head.encode();
        assert_eq!(Head::decode(&body), Some(head));
        body[8] = 2;
        assert_eq!(Head::decode(&body), None);
    }

    #[test]
    fn tags_differ_between_segments_and_epochs() {
        assert_ne!(tag(1, 1), tag(1, 2));
        assert_ne!(tag(1, 1), tag(2, 1));
    }
}
