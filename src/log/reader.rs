//! Reads entries by index, from any thread, while the writer goes on.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use crc32c::crc32c_append;

use super::contents::{Contents, Run};
use super::record::{ALIGN, HEADER_BYTES, Header, Kind, checksum_seed};
use super::{Entry, Index, Position, Result, Term, corrupt, failed};

/// Bytes that are read at once, unless a record is longer.
const CHUNK_BYTES: u64 = 1 << 20;

/// Reads entries of a log that is open. Clones read the same log.
#[derive(Clone)]
pub struct LogReader {
    contents: Arc<Mutex<Contents>>,
}

impl LogReader {
    pub(super) fn new(contents: Arc<Mutex<Contents>>) -> Self {
        Self { contents }
    }

    /// Returns the index after which the log starts, plus one: that of the first entry, if there is any.
    pub fn first_index(&self) -> Index {
        self.contents().start().index + 1
    }

    /// Returns the index of the last entry that was written, or that which the first will follow.
    pub fn last_index(&self) -> Index {
        self.contents().last().index
    }

    /// Returns the term of the entry at `index`, or of the position that the log starts after; none for all others.
    pub fn term(&self, index: Index) -> Option<Term> {
        self.contents().term(index)
    }

    /// Returns the first entry of each term in the log, in their order.
    pub fn terms(&self) -> Vec<Position> {
        self.contents().terms()
    }

    /// Returns the indexes of the entries with a membership, in their order.
    pub fn configurations(&self) -> Vec<Index> {
        self.contents().configurations()
    }

    /// Returns the bytes up to and with some of the entries, ascending, about one every 64 KiB and the last.
    pub fn sizes(&self) -> Vec<(Index, u64)> {
        self.contents().sizes()
    }

    /// Returns the entries from `from` on: at least one if there is one, and no more than `max_bytes` of bodies if there
    /// are more. Empty if `from` is not in the log.
    ///
    /// Entries that were written are seen before they are durable. The bodies share one allocation of about 1 MiB or
    /// less: an entry that is kept for long should be copied.
    pub fn entries(&self, from: Index, max_bytes: usize) -> Result<Vec<Entry>> {
        let runs = self.contents().runs(from, max_bytes as u64);
        let mut reading = Reading { next: from, left: max_bytes, entries: Vec::new() };
        for run in &runs {
            if !reading.read(run)? {
                break;
            }
        }
        Ok(reading.entries)
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no user of the contents panics")
    }
}

/// What has been read so far.
struct Reading {
    next: Index,
    /// Bytes of bodies that may still be returned.
    left: usize,
    entries: Vec<Entry>,
}

impl Reading {
    /// Reads a run to its end; false if there is no room for more.
    fn read(&mut self, run: &Run) -> Result<bool> {
        let mut chunk = Chunk { run, at: run.offset, bytes: Bytes::new(), left: self.left };
        let mut offset = run.offset;
        while self.next <= run.last {
            let (header, kind, body) = chunk.record(offset)?;
            offset += header.record_bytes();
            let Kind::Entry(kind) = kind else { continue };
            let position = header.position;
            if position.index < self.next {
                continue;
            }
            if position.index != self.next {
                return corrupt(&run.segment.path, offset, format!("an entry {} is missing", self.next));
            }
            if !self.entries.is_empty() && body.len() > self.left {
                return Ok(false);
            }
            self.left = self.left.saturating_sub(body.len());
            self.next += 1;
            self.entries.push(Entry { index: position.index, term: position.term, kind, body });
        }
        Ok(self.left > 0)
    }
}

/// A part of a run in memory.
struct Chunk<'a> {
    run: &'a Run,
    at: u64,
    bytes: Bytes,
    /// About how many bytes of bodies are wanted.
    left: usize,
}

impl Chunk<'_> {
    /// Returns the record at `offset`, checked.
    fn record(&mut self, offset: u64) -> Result<(Header, Kind, Bytes)> {
        let path = &self.run.segment.path;
        self.load(offset, ALIGN)?;
        let start = self.place(offset);
        let header = Header::decode(self.bytes[start..start + HEADER_BYTES].try_into().expect("a header"));
        if header.tag != self.run.segment.tag || self.run.end - offset < header.record_bytes() {
            return corrupt(path, offset, "no record of this segment where one was written");
        }
        self.load(offset, header.record_bytes())?;
        let start = self.place(offset);
        let end = start + HEADER_BYTES + header.length as usize;
        if crc32c_append(checksum_seed(offset), &self.bytes[start + 4..end]) != header.crc {
            return corrupt(path, offset, "the checksum of a record is wrong");
        }
        let Some(kind) = header.kind() else { return corrupt(path, offset, "a record of no known kind") };
        Ok((header, kind, self.bytes.slice(start + HEADER_BYTES..end)))
    }

    fn place(&self, offset: u64) -> usize {
        usize::try_from(offset - self.at).expect("a chunk is in memory")
    }

    /// Makes `offset..offset + bytes` be in memory.
    fn load(&mut self, offset: u64, bytes: u64) -> Result<()> {
        let segment = &self.run.segment;
        if self.run.end < offset + bytes {
            return corrupt(&segment.path, offset, "a record ends after the last one that was written");
        }
        if offset + bytes <= self.at + self.bytes.len() as u64 {
            return Ok(());
        }
        // Records are a little longer than their bodies; what is too little here is read by the next load.
        let wanted = (self.left as u64).saturating_add(self.left as u64 / 4).clamp(64 * ALIGN, CHUNK_BYTES);
        let len = wanted.min(self.run.end - offset).max(bytes);
        let mut buffer = vec![0; usize::try_from(len).expect("what was written at once fits in memory")];
        segment.file.read_at(&mut buffer, offset).map_err(failed("read", &segment.path))?;
        self.at = offset;
        self.bytes = buffer.into();
        Ok(())
    }
}
