//! Reads the records of a segment at a start, in constant memory: lengths on a damaged disk are never believed.

use crc32c::crc32c_append;

use super::record::{ALIGN, HEAD_BODY_BYTES, HEADER_BYTES, Head, Header, Kind, checksum_seed};
use super::segment::Segment;
use super::{Result, corrupt, failed};
use crate::bugs::{self, Bug};

/// Bytes that are read at once.
const WINDOW_BYTES: usize = 256 << 10;

/// What is at an offset.
pub(super) enum Found {
    Record(Header, Kind),
    /// No good record of this segment.
    Bad {
        /// It carries the segment's tag: one was begun here.
        begun: bool,
    },
}

/// Reads a segment through a window.
pub(super) struct Scanner<'a> {
    segment: &'a Segment,
    len: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// What follows the first bad record.
pub(super) struct Rest {
    /// Good records after it.
    pub(super) records: u64,
    /// One of them, at this offset, says that the log was durable beyond the bad record.
    pub(super) witness: Option<u64>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(segment: &'a Segment) -> Result<Self> {
        let len = segment.file.len().map_err(failed("measure", &segment.path))?;
        Ok(Self { segment, len, window: Vec::new(), window_at: 0 })
    }

    /// Returns what is at `offset`, a multiple of 64.
    pub(super) fn read(&mut self, offset: u64) -> Result<Found> {
        let Some(header) = self.header(offset)? else { return Ok(Found::Bad { begun: false }) };
        if header.tag != self.segment.tag && !bugs::on(Bug::LogRecycledRecordTaken) {
            return Ok(Found::Bad { begun: false });
        }
        if offset.saturating_add(header.record_bytes()) > self.len
            || self.checksum(offset, &header)? != header.crc
        {
            return Ok(Found::Bad { begun: true });
        }
        match header.kind() {
            Some(kind) => Ok(Found::Record(header, kind)),
            None => corrupt(&self.segment.path, offset, "a record of a kind that this version does not know"),
        }
    }

    /// Returns the head of the segment, or none if there is no good one.
    pub(super) fn head(&mut self) -> Result<Option<(Header, Head)>> {
        let Found::Record(header, Kind::Head) = self.read(0)? else { return Ok(None) };
        let mut body = [0; HEAD_BODY_BYTES];
        if header.length as usize == body.len() {
            self.copy(HEADER_BYTES as u64, &mut body)?;
        }
        match Head::decode(&body) {
            Some(head) => Ok(Some((header, head))),
            None => corrupt(&self.segment.path, 0, "a head of a version that this version does not know"),
        }
    }

    /// Looks at everything after the first bad record.
    pub(super) fn rest(&mut self, bad: u64) -> Result<Rest> {
        let mut rest = Rest { records: 0, witness: None };
        let mut offset = bad + ALIGN;
        while offset < self.len {
            let Found::Record(header, _) = self.read(offset)? else {
                offset += ALIGN;
                continue;
            };
            rest.records += 1;
            if header.durable_to > bad && rest.witness.is_none() {
                rest.witness = Some(offset);
            }
            offset += header.record_bytes();
        }
        Ok(rest)
    }

    fn header(&mut self, offset: u64) -> Result<Option<Header>> {
        if offset.saturating_add(HEADER_BYTES as u64) > self.len {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES];
        self.copy(offset, &mut bytes)?;
        Ok(Some(Header::decode(&bytes)))
    }

    /// Computes the checksum that a record at `offset` should have; it must not reach beyond the file.
    fn checksum(&mut self, offset: u64, header: &Header) -> Result<u32> {
        let mut crc = checksum_seed(offset);
        let mut at = offset + 4;
        let end = offset + HEADER_BYTES as u64 + u64::from(header.length);
        assert!(end <= self.len, "the caller has compared");
        while at < end {
            let part = self.window(at, end)?;
            crc = crc32c_append(crc, part);
            at += part.len() as u64;
        }
        Ok(crc)
    }

    fn copy(&mut self, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < out.len() {
            let part = self.window(offset + done as u64, offset + out.len() as u64)?;
            out[done..done + part.len()].copy_from_slice(part);
            done += part.len();
        }
        Ok(())
    }

    /// Returns some bytes from `from` on, at least one and none from `to` on, which lies in the file.
    fn window(&mut self, from: u64, to: u64) -> Result<&[u8]> {
        let window_end = self.window_at + self.window.len() as u64;
        if from < self.window_at || window_end <= from {
            let bytes = (self.len - from).min(WINDOW_BYTES as u64);
            self.window.resize(usize::try_from(bytes).expect("a window is small"), 0);
            self.window_at = from;
            let segment = self.segment;
            segment.file.read_at(&mut self.window, from).map_err(failed("read", &segment.path))?;
        }
        let start = usize::try_from(from - self.window_at).expect("a window is small");
        let bytes = usize::try_from(to - from).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes).min(self.window.len());
        Ok(&self.window[start..end])
    }
}
