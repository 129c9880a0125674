//! The start: what of the log is there, and whether it is all that was promised.

use std::sync::Arc;

use super::contents::Contents;
use super::record::{ALIGN, Head, Header, Kind};
use super::scan::{Found, Scanner};
use super::segment::{FileName, Segment};
use super::spares::Spares;
use super::{HardState, Index, Options, Position, Result, corrupt, failed, unsynced};
use crate::bugs::{self, Bug};
use crate::disk::{Disk, parent};

/// What an opened log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The latest hard state; zeros in a new log.
    pub hard_state: HardState,
    /// The entries begin after this; zeros in a log from which nothing was cut.
    pub start: Position,
    /// The last entry, or `start`.
    pub last: Position,
    /// What was dropped from the end, if anything was.
    pub torn: Option<Torn>,
}

/// The torn end of a log: what was written and never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: String,
    /// Where the first bad record is, in bytes.
    pub offset: u64,
    /// How many good records follow it, which were dropped too.
    pub records: u64,
}

/// What the writer goes on from.
pub(super) struct State {
    pub(super) contents: Contents,
    pub(super) spares: Spares,
    pub(super) recovered: Recovered,
    /// The number of the next segment.
    pub(super) next_number: u64,
    /// Where the newest segment ends, in bytes.
    pub(super) end: u64,
}

/// Reads the log and clears away what does not belong to it.
pub(super) fn recover(disk: Arc<dyn Disk>, dir: &str, options: Options) -> Result<State> {
    make_directory(disk.as_ref(), dir)?;
    let names = disk.list(dir).map_err(failed("list", dir))?;
    let names = names.iter().filter_map(|name| FileName::parse(name));
    let mut spares = Spares::new(disk.clone(), dir, options);
    let mut segments = Vec::new();
    for name in names {
        match name {
            FileName::Segment { number, epoch } => {
                let path = name.path(dir);
                let file = disk.open(&path).map_err(failed("open", &path))?;
                segments.push(Segment::new(number, epoch, path, file, Position::default()));
            }
            FileName::Spare(_) | FileName::Filling(_) => spares.adopt(name)?,
        }
    }
    // In a vector: the newest last.
    segments.sort_by_key(|segment| segment.number);
    let headless = split_headless(&mut segments)?;
    let (contents, recovered, next_number, end) = Replay::run(segments, dir, headless.begun)?;
    for segment in headless.segments {
        let len = segment.file.len().map_err(failed("measure", &segment.path))?;
        if len == options.segment_bytes {
            spares.recycle_path(&segment.path)?;
        } else {
            spares.remove(&segment.path)?;
        }
    }
    spares.sync_dir()?;
    if !spares.has_room()? {
        give_back(&contents, end)?;
    }
    Ok(State { contents, spares, recovered, next_number, end })
}

/// Whether there is a segment in the directory, if there is a directory.
pub(super) fn exists(disk: &dyn Disk, dir: &str) -> Result<bool> {
    if !disk.exists(dir).map_err(failed("look for", dir))? {
        return Ok(false);
    }
    let names = disk.list(dir).map_err(failed("list", dir))?;
    Ok(names.iter().any(|name| matches!(FileName::parse(name), Some(FileName::Segment { .. }))))
}

/// Gives back what the newest segment, which ends at `end`, does not use: it will never be written again, and the next
/// one needs a little room. What is there was judged to be nothing, and would be so again.
fn give_back(contents: &Contents, end: u64) -> Result<()> {
    let Some(newest) = contents.segments().last() else { return Ok(()) };
    newest.file.set_len(end).map_err(failed("shorten", &newest.path))
}

/// Makes the log's directory be there, with what it holds, even after a crash.
fn make_directory(disk: &dyn Disk, dir: &str) -> Result<()> {
    disk.create_dir(dir).map_err(failed("make", dir))?;
    disk.sync_dir(parent(dir)).map_err(unsynced(parent(dir)))?;
    // Names that only this machine's memory holds would be believed, and then lost.
    disk.sync_dir(dir).map_err(unsynced(dir))
}

/// The segments after the newest one with a head: they were prepared, or begun and never acknowledged.
struct Headless {
    segments: Vec<Segment>,
    /// A record was written into one: the segment before them was durable to its end.
    begun: bool,
}

/// Takes the headless segments off the end.
fn split_headless(segments: &mut Vec<Segment>) -> Result<Headless> {
    let mut headless = Headless { segments: Vec::new(), begun: false };
    while let Some(newest) = segments.last() {
        // Here an earlier process may have failed to sync: see `File::refresh`.
        newest.file.sync().map_err(unsynced(&newest.path))?;
        newest.file.refresh().map_err(failed("read", &newest.path))?;
        let mut scanner = Scanner::new(newest)?;
        if scanner.head()?.is_some() {
            return Ok(headless);
        }
        let rest = scanner.rest(0)?;
        if let Some(witness) = rest.witness {
            let what = format!("no head, but the record at {witness} says that it was synced");
            return corrupt(&newest.path, 0, what);
        }
        headless.begun |= rest.records > 0;
        headless.segments.extend(segments.pop());
    }
    // The first segment of all is durable before the second has a name.
    match headless.segments.first() {
        Some(newest) if newest.number > 1 => corrupt(&newest.path, 0, "no segment has a head"),
        _ => Ok(headless),
    }
}

/// The log as far as it has been read.
struct Replay {
    contents: Contents,
    hard_state: HardState,
    /// Where the segment that was read last ends.
    end: u64,
    /// A segment after the newest one with a head was begun.
    next_begun: bool,
}

impl Replay {
    fn run(segments: Vec<Segment>, dir: &str, next_begun: bool) -> Result<(Contents, Recovered, u64, u64)> {
        let mut replay = Self {
            contents: Contents::new(Position::default()),
            hard_state: HardState::default(),
            end: 0,
            next_begun,
        };
        let mut torn = None;
        let heads = read_heads(&segments, dir)?;
        let next_number = segments.last().map_or(1, |newest| newest.number + 1);
        for (at, segment) in segments.into_iter().enumerate() {
            let stated_end = heads.get(at + 1).map(|(_, next)| next.previous_end);
            replay.begin(&segment, &heads[at], at == 0)?;
            let segment = Arc::new(Segment { before: heads[at].0.position, ..segment });
            replay.contents.open_segment(segment.clone());
            torn = replay.read_segment(&segment, stated_end)?;
        }
        let recovered = Recovered {
            hard_state: replay.hard_state,
            start: replay.contents.start(),
            last: replay.contents.last(),
            torn,
        };
        Ok((replay.contents, recovered, next_number, replay.end))
    }

    /// Compares the head of a segment with what was read before it.
    fn begin(&mut self, segment: &Segment, (header, head): &(Header, Head), oldest: bool) -> Result<()> {
        if head.number != segment.number {
            return corrupt(&segment.path, 0, "the head is that of another segment");
        }
        if oldest {
            self.contents = Contents::new(header.position);
            self.hard_state = head.hard_state;
        } else if header.position != self.contents.last() || head.hard_state != self.hard_state {
            return corrupt(&segment.path, 0, "the head does not follow the segment before");
        }
        Ok(())
    }

    /// Reads the records of a segment: to `stated_end` if there is one, else to the first bad record.
    fn read_segment(&mut self, segment: &Segment, stated_end: Option<u64>) -> Result<Option<Torn>> {
        let mut scanner = Scanner::new(segment)?;
        let mut offset = 0;
        while stated_end != Some(offset) {
            match scanner.read(offset)? {
                Found::Record(header, kind) => {
                    self.apply(segment, offset, &header, kind)?;
                    offset += header.record_bytes();
                }
                Found::Bad { begun } => {
                    if stated_end.is_some() {
                        return corrupt(&segment.path, offset, "a bad record before the end of the segment");
                    }
                    self.end = offset;
                    return self.end_newest(&mut scanner, segment, begun);
                }
            }
            if stated_end.is_some_and(|end| end < offset) {
                return corrupt(&segment.path, offset, "a record beyond the end of the segment");
            }
        }
        self.end = offset;
        Ok(None)
    }

    /// The first bad record of the newest segment is at `self.end`: was it ever acknowledged?
    fn end_newest(
        &mut self,
        scanner: &mut Scanner<'_>,
        segment: &Segment,
        begun: bool,
    ) -> Result<Option<Torn>> {
        let rest = scanner.rest(self.end)?;
        if let Some(witness) = rest.witness
            && !bugs::on(Bug::LogDamageTakenForTornTail)
        {
            let what = format!("a bad record, and the record at {witness} says that it was synced");
            return corrupt(&segment.path, self.end, what);
        }
        let torn = begun || rest.records > 0;
        if torn && self.next_begun {
            return corrupt(&segment.path, self.end, "a bad record, and the next segment was begun");
        }
        if bugs::on(Bug::LogHoleSkipped) {
            self.skip_hole(scanner, segment)?;
        }
        let (file, offset, records) = (segment.path.clone(), self.end, rest.records);
        Ok(torn.then_some(Torn { file, offset, records }))
    }

    /// The planted bug: takes the good records after a bad one.
    fn skip_hole(&mut self, scanner: &mut Scanner<'_>, segment: &Segment) -> Result<()> {
        let len = segment.file.len().map_err(failed("measure", &segment.path))?;
        let mut offset = self.end;
        while offset < len {
            offset += match scanner.read(offset)? {
                Found::Record(header, Kind::HardState) => {
                    self.apply(segment, offset, &header, Kind::HardState)?;
                    header.record_bytes()
                }
                Found::Record(header, _) => header.record_bytes(),
                Found::Bad { .. } => ALIGN,
            };
        }
        Ok(())
    }

    fn apply(&mut self, segment: &Segment, offset: u64, header: &Header, kind: Kind) -> Result<()> {
        let (start, last) = (self.contents.start(), self.contents.last());
        let position = header.position;
        match kind {
            Kind::Head if offset == 0 => {}
            Kind::Mark if position == last => {}
            Kind::HardState if self.hard_state.term <= position.term => {
                self.hard_state = HardState { term: position.term, vote: position.index };
            }
            Kind::Truncate
                if position.index < last.index
                    && self.contents.term(position.index) == Some(position.term) =>
            {
                self.contents.truncate(position);
            }
            // The entries from there to the start were in segments that are cut, and then written again.
            Kind::Truncate if position.index < start.index && position.term <= start.term => {
                self.contents.restart(position);
            }
            Kind::Reset if position.index < Index::MAX => self.contents.reset(position),
            Kind::Entry(kind)
                if last.index.checked_add(1) == Some(position.index) && last.term <= position.term =>
            {
                self.contents.push(position, kind, offset, offset + header.record_bytes());
            }
            Kind::Head | Kind::Mark | Kind::HardState | Kind::Truncate | Kind::Reset | Kind::Entry(_) => {
                let what = format!("{kind:?} {position:?} cannot follow {last:?}, {:?}", self.hard_state);
                return corrupt(&segment.path, offset, what);
            }
        }
        Ok(())
    }
}

/// Reads the heads of all segments, the last of which has one.
fn read_heads(segments: &[Segment], dir: &str) -> Result<Vec<(Header, Head)>> {
    let mut heads = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        if at > 0 && segments[at - 1].number + 1 != segment.number {
            return corrupt(dir, 0, format!("the segment before {} is missing", segment.path));
        }
        match Scanner::new(segment)?.head()? {
            Some(head) => heads.push(head),
            None => return corrupt(&segment.path, 0, "no head, in a segment that is not the newest"),
        }
    }
    Ok(heads)
}
