//! The writer: one at a time, told by the driver when to write and when to sync.

use std::sync::{Arc, Mutex, MutexGuard};

use super::contents::Contents;
use super::reader::LogReader;
use super::record::{ALIGN, HEAD_BODY_BYTES, HEADER_BYTES, Head, Kind, encode_header, record_bytes};
use super::recovery::{self, Recovered};
use super::segment::Segment;
use super::spares::{FILL_BYTES, Spares};
use super::{
    Entry, EntryKind, Error, HardState, Index, Operation, Options, Position, Result, Term, failed, unsynced,
};
use crate::bugs::{self, Bug};
use crate::disk::Disk;

/// The buffer of a group is written when it has this many bytes, so that it does not grow without bound.
const BUFFER_BYTES_MAX: usize = 1 << 20;
/// A body of this length is written from where it is, not copied into the buffer first.
const BODY_BYTES_COPIED_MAX: usize = 256 << 10;
/// What the head of a segment takes.
const HEAD_RECORD_BYTES: u64 = ((HEADER_BYTES + HEAD_BODY_BYTES) as u64).next_multiple_of(ALIGN);

/// What the log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of records, with their padding.
    pub bytes: u64,
    /// Calls of fdatasync, those that prepare segments included.
    pub syncs: u64,
    /// Groups written.
    pub groups: u64,
    /// Segments begun.
    pub segments: u64,
}

/// A change of the contents that readers see when the bytes are written.
enum Change {
    Entry { position: Position, kind: EntryKind, offset: u64, end: u64 },
    Segment(Arc<Segment>),
    Truncate(Position),
    Reset(Position),
}

/// The log, open for writing.
///
/// Invariants:
/// - `stated` ≤ `durable` ≤ `written` + the buffer's length = `end`;
/// - what lies before `durable` in this segment, and everything in earlier ones, is on the disk;
/// - `last` and `hard_state` are those after all records that are encoded.
pub struct Log {
    options: Options,
    epoch: u64,
    contents: Arc<Mutex<Contents>>,
    spares: Spares,
    segment: Arc<Segment>,
    /// Where the next record goes, in bytes.
    end: u64,
    /// What the file has got.
    written: u64,
    durable: u64,
    /// The largest `durable_to` that a record of this segment says.
    stated: u64,
    /// From this offset on, writing a group also does a step for the next segment.
    prepare_at: u64,
    buffer: Vec<u8>,
    changes: Vec<Change>,
    last: Position,
    hard_state: HardState,
    counters: Counters,
    /// Something failed: nothing may be written any more.
    failed: bool,
}

impl Log {
    /// Whether the directory `dir` holds a log, be it damaged. An opened log leaves a segment there at any moment.
    pub fn exists(disk: &dyn Disk, dir: &str) -> Result<bool> {
        recovery::exists(disk, dir)
    }

    /// Opens the log in the directory `dir`, which is made if it is missing, and starts a new segment in it.
    ///
    /// `epoch` is a random number of this start. Fails with [`Error::Corrupt`] if data that was synced is damaged.
    pub fn open(disk: Arc<dyn Disk>, dir: &str, options: Options, epoch: u64) -> Result<(Self, Recovered)> {
        assert!(options.segment_bytes.is_multiple_of(ALIGN), "records start at multiples of 64");
        assert!(
            (512..super::record::SEGMENT_BYTES_MAX).contains(&options.segment_bytes),
            "a segment holds its head and more"
        );
        let state = recovery::recover(disk, dir, options)?;
        let recovery::State { contents, mut spares, recovered, next_number, end } = state;
        let prepared = spares.take(next_number, epoch)?;
        let segment = Segment::new(next_number, epoch, prepared.path, prepared.file, recovered.last);
        let mut log = Self {
            options,
            epoch,
            contents: Arc::new(Mutex::new(contents)),
            spares,
            segment: Arc::new(segment),
            end: 0,
            written: 0,
            durable: 0,
            stated: 0,
            prepare_at: 0,
            buffer: Vec::new(),
            changes: Vec::new(),
            last: recovered.last,
            hard_state: recovered.hard_state,
            counters: Counters::default(),
            failed: false,
        };
        log.begin_segment(end);
        log.flush()?;
        log.sync_segment()?;
        Ok((log, recovered))
    }

    /// Writes a group of changes, in order, without waiting for the disk. Readers see them when this returns; they are
    /// durable when a later [`Log::sync`] has returned.
    ///
    /// # Panics
    ///
    /// If a change does not fit to what is there: an entry that is not the next one, a term that falls, a second vote in
    /// a term, a truncation of what is not in the log.
    pub fn write(&mut self, group: &[Operation]) -> Result<()> {
        self.guard(|log| {
            if group.is_empty() {
                return Ok(());
            }
            if log.prepare_at <= log.end && log.spares.prepare(log.segment.number + 1, log.epoch)? {
                // Half a step's bytes a step: the next segment is ready before this one is half full.
                log.prepare_at = log.end + FILL_BYTES as u64 / 2;
            }
            for operation in group {
                log.apply(operation)?;
            }
            log.counters.groups += 1;
            log.flush()
        })
    }

    /// Makes everything that was written durable.
    pub fn sync(&mut self) -> Result<()> {
        self.guard(Self::sync_segment)
    }

    /// Gives up the segments in which only entries up to `up_to` are, which must be durable elsewhere.
    pub fn cut(&mut self, up_to: Index) -> Result<()> {
        assert!(up_to <= self.last.index, "what is durable elsewhere was in the log");
        self.guard(|log| {
            if log.contents().oldest_unneeded(up_to).is_none() {
                return Ok(());
            }
            // What makes a segment unneeded (the head of the next one, a reset) must be durable first.
            log.sync_segment()?;
            while log.contents().oldest_unneeded(up_to).is_some() {
                let retired = log.contents().retire_oldest();
                // Each by itself, so that no crash leaves a gap.
                log.spares.recycle(retired)?;
            }
            Ok(())
        })
    }

    /// Does a short piece of what can be done while nobody waits for the log: says how far it is durable, prepares the
    /// next segment. Returns false if there is nothing to do.
    ///
    /// A piece takes about as long as a sync; a log that is only idle between two groups is better left alone.
    pub fn idle(&mut self) -> Result<bool> {
        self.guard(|log| {
            let is_durable = log.durable == log.end;
            if is_durable && log.stated < log.durable && log.has_place_for_mark()? {
                log.append(Kind::Mark, log.last, &[]);
                log.flush()?;
                return Ok(true);
            }
            log.spares.prepare(log.segment.number + 1, log.epoch)
        })
    }

    /// Whether a mark fits into this segment, and takes no room that is not there: nobody has asked for it.
    fn has_place_for_mark(&self) -> Result<bool> {
        let end = self.end + ALIGN;
        if end > self.options.segment_bytes {
            return Ok(false);
        }
        let written = self.segment.file.len().map_err(failed("measure", &self.segment.path))?;
        Ok(end <= written || self.spares.has_free_bytes()?)
    }

    /// Returns a reader of this log.
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.contents.clone())
    }

    /// Returns the bytes on the disk that a cut can free, and those of the newest segment that are used.
    pub fn bytes(&self) -> u64 {
        let older = self.contents().segments().count().saturating_sub(1) as u64;
        older * self.options.segment_bytes + self.end
    }

    /// Returns what the log has done since it was opened.
    pub fn counters(&self) -> Counters {
        Counters { syncs: self.counters.syncs + self.spares.syncs, ..self.counters }
    }

    #[cfg(test)]
    pub(super) fn contents_for_tests(&self) -> Arc<Mutex<Contents>> {
        self.contents.clone()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no user of the contents panics")
    }

    /// Runs `action`; after one that failed, none runs.
    fn guard<R>(&mut self, action: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        if self.failed {
            let source = std::io::Error::other("an earlier write or sync of the log failed");
            return Err(Error::Io { what: "write", file: self.segment.path.clone(), source });
        }
        let result = action(self);
        self.failed = result.is_err();
        result
    }

    fn apply(&mut self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Entry(entry) => self.append_entry(entry),
            Operation::HardState(new) => {
                let old = self.hard_state;
                assert!(old.term <= new.term, "a term falls");
                assert!(
                    old.term < new.term || old.vote == 0 || old.vote == new.vote,
                    "a second vote in a term"
                );
                self.make_room(0)?;
                self.append(Kind::HardState, Position { index: new.vote, term: new.term }, &[]);
                self.hard_state = *new;
                Ok(())
            }
            Operation::Truncate { from } => {
                assert!(*from <= self.last.index + 1, "what is truncated was in the log");
                if *from == self.last.index + 1 {
                    return Ok(());
                }
                self.make_room(0)?;
                self.flush()?;
                let index = from.checked_sub(1).expect("entries are counted from 1");
                let term: Option<Term> = self.contents().term(index);
                let last = Position { index, term: term.expect("what stays is in the log") };
                self.append(Kind::Truncate, last, &[]);
                self.changes.push(Change::Truncate(last));
                self.last = last;
                Ok(())
            }
            Operation::Reset(start) => {
                self.make_room(0)?;
                self.append(Kind::Reset, *start, &[]);
                self.changes.push(Change::Reset(*start));
                self.last = *start;
                Ok(())
            }
        }
    }

    fn append_entry(&mut self, entry: &Entry) -> Result<()> {
        assert_eq!(entry.index, self.last.index + 1, "an entry is the next one");
        assert!(self.last.term <= entry.term, "terms do not fall");
        self.make_room(entry.body.len())?;
        let offset = self.end;
        let position = entry.position();
        if entry.body.len() <= BODY_BYTES_COPIED_MAX {
            self.append(Kind::Entry(entry.kind), position, &entry.body);
        } else {
            self.append_uncopied(Kind::Entry(entry.kind), position, &entry.body)?;
        }
        self.changes.push(Change::Entry { position, kind: entry.kind, offset, end: self.end });
        self.last = position;
        if self.buffer.len() < BUFFER_BYTES_MAX { Ok(()) } else { self.flush() }
    }

    /// Encodes a record at the end of the buffer; there must be room for it in the segment.
    fn append(&mut self, kind: Kind, position: Position, body: &[u8]) {
        let bytes = self.append_header(kind, position, body);
        self.buffer.extend_from_slice(body);
        self.pad(bytes - HEADER_BYTES as u64 - body.len() as u64);
    }

    fn append_uncopied(&mut self, kind: Kind, position: Position, body: &[u8]) -> Result<()> {
        let bytes = self.append_header(kind, position, body);
        self.write_buffer()?;
        let path = &self.segment.path;
        self.segment.file.write_at(body, self.written).map_err(failed("write", path))?;
        self.written += body.len() as u64;
        self.pad(bytes - HEADER_BYTES as u64 - body.len() as u64);
        Ok(())
    }

    /// Encodes a header and returns the bytes of the whole record.
    fn append_header(&mut self, kind: Kind, position: Position, body: &[u8]) -> u64 {
        let bytes = record_bytes(body.len() as u64);
        encode_header(&mut self.buffer, self.segment.tag, self.end, self.durable, kind, position, body);
        self.stated = self.durable;
        self.end += bytes;
        self.counters.bytes += bytes;
        bytes
    }

    fn pad(&mut self, bytes: u64) {
        let bytes = usize::try_from(bytes).expect("less than 64");
        self.buffer.resize(self.buffer.len() + bytes, 0);
    }

    /// Makes room for a record with a body of `length` bytes, in a new segment if this one is full. A record that is
    /// longer than a segment gets one to itself.
    fn make_room(&mut self, length: usize) -> Result<()> {
        let bytes = record_bytes(length as u64);
        if self.end + bytes <= self.options.segment_bytes || self.end == HEAD_RECORD_BYTES {
            return Ok(());
        }
        self.flush()?;
        // The old segment is durable before the first byte of the new one.
        if !bugs::on(Bug::LogOldSegmentUnsynced) {
            self.sync_segment()?;
        }
        let number = self.segment.number + 1;
        let prepared = self.spares.take(number, self.epoch)?;
        let segment = Segment::new(number, self.epoch, prepared.path, prepared.file, self.last);
        self.segment = Arc::new(segment);
        let previous_end = self.end;
        self.begin_segment(previous_end);
        Ok(())
    }

    /// Starts to write `self.segment`, with its head.
    fn begin_segment(&mut self, previous_end: u64) {
        assert!(self.buffer.is_empty(), "a buffer belongs to one segment");
        (self.end, self.written, self.durable, self.stated) = (0, 0, 0, 0);
        self.prepare_at = 0;
        let head = Head { number: self.segment.number, hard_state: self.hard_state, previous_end };
        self.append(Kind::Head, self.last, &head.encode());
        self.changes.push(Change::Segment(self.segment.clone()));
        self.counters.segments += 1;
    }

    fn write_buffer(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            let path = &self.segment.path;
            self.segment.file.write_at(&self.buffer, self.written).map_err(failed("write", path))?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes the buffer and shows readers what is new.
    fn flush(&mut self) -> Result<()> {
        self.write_buffer()?;
        assert_eq!(self.written, self.end, "what is encoded is written");
        let mut contents = self.contents.lock().expect("no user of the contents panics");
        for change in self.changes.drain(..) {
            match change {
                Change::Entry { position, kind, offset, end } => contents.push(position, kind, offset, end),
                Change::Segment(segment) => contents.open_segment(segment),
                Change::Truncate(last) => contents.truncate(last),
                Change::Reset(start) => contents.reset(start),
            }
        }
        assert_eq!(contents.last(), self.last, "readers see the last entry");
        Ok(())
    }

    fn sync_segment(&mut self) -> Result<()> {
        assert_eq!(self.written, self.end, "a sync follows a whole group");
        if self.durable == self.end {
            return Ok(());
        }
        if !bugs::on(Bug::AcknowledgeBeforeSync) {
            let synced = match self.segment.file.sync() {
                Err(_) if bugs::on(Bug::LogSyncRetried) => self.segment.file.sync(),
                synced => synced,
            };
            synced.map_err(unsynced(&self.segment.path))?;
            self.counters.syncs += 1;
        }
        self.durable = self.end;
        Ok(())
    }
}
