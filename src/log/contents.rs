//! What the log holds: where its entries are, and their terms. Nothing here grows with the number of entries but one
//! offset per 64 KiB of log.

use std::collections::VecDeque;
use std::sync::Arc;

use super::segment::Segment;
use super::{EntryKind, Index, Position, Term};

/// Log bytes between two offsets that are remembered.
const MARK_BYTES: u64 = 64 << 10;

/// A row of entries with consecutive indexes in one segment. Between them stand only records that are no entries.
struct Extent {
    segment: u64,
    /// Invariant: `first` ≤ `last`.
    first: Index,
    last: Index,
    /// Where the last entry ends, or more if entries were truncated.
    end: u64,
    /// Entries were truncated from its end, so no entry may be added.
    closed: bool,
    /// Index and offset of the first entry and then of one about every 64 KiB. Invariant: not empty, ascending.
    marks: Vec<(Index, u64)>,
}

/// A part of an extent, to be read.
pub(super) struct Run {
    pub(super) segment: Arc<Segment>,
    /// Where to start: an entry begins there.
    pub(super) offset: u64,
    /// No entry of the run ends after it.
    pub(super) end: u64,
    pub(super) last: Index,
}

/// The entries of the log, and the segments they are in.
///
/// Invariants:
/// - extents are in the order of the log, without gaps: each starts at the last index of the one before plus one;
/// - every entry after `start` up to `last` is in exactly one extent, and its term in `terms`;
/// - segments have consecutive numbers, and those of extents are among them.
pub(super) struct Contents {
    start: Position,
    last: Position,
    segments: VecDeque<Arc<Segment>>,
    extents: VecDeque<Extent>,
    /// First index of each term, ascending in both.
    terms: VecDeque<Position>,
    /// The entries with a membership, ascending.
    configurations: VecDeque<Index>,
    /// The segment with the latest reset: those before it hold nothing.
    reset_in: u64,
}

impl Contents {
    pub(super) fn new(start: Position) -> Self {
        Self {
            start,
            last: start,
            segments: VecDeque::new(),
            extents: VecDeque::new(),
            terms: VecDeque::new(),
            configurations: VecDeque::new(),
            reset_in: 0,
        }
    }

    pub(super) fn start(&self) -> Position {
        self.start
    }

    pub(super) fn last(&self) -> Position {
        self.last
    }

    pub(super) fn term(&self, index: Index) -> Option<Term> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        if index < self.start.index || self.last.index < index {
            return None;
        }
        let after = self.terms.partition_point(|first| first.index <= index);
        Some(self.terms[after.checked_sub(1).expect("every entry has a term")].term)
    }

    /// The first entry of each term that is still there.
    pub(super) fn terms(&self) -> Vec<Position> {
        let first = self.start.index + 1;
        self.terms.iter().map(|run| Position { index: run.index.max(first), ..*run }).collect()
    }

    pub(super) fn open_segment(&mut self, segment: Arc<Segment>) {
        if let Some(newest) = self.segments.back() {
            assert_eq!(segment.number, newest.number + 1, "segments have no gaps");
        }
        assert_eq!(segment.before, self.last, "a segment states where it begins");
        self.segments.push_back(segment);
    }

    /// The entries with a membership that are still there, ascending.
    pub(super) fn configurations(&self) -> Vec<Index> {
        self.configurations.iter().copied().filter(|index| self.start.index < *index).collect()
    }

    /// Adds an entry at `offset..end` of the newest segment.
    pub(super) fn push(&mut self, entry: Position, kind: EntryKind, offset: u64, end: u64) {
        assert_eq!(entry.index, self.last.index + 1, "entries have no gaps");
        assert!(self.last.term <= entry.term, "terms do not fall");
        let segment = self.segments.back().expect("an entry is in a segment").number;
        if self.terms.back().is_none_or(|latest| latest.term < entry.term) {
            self.terms.push_back(entry);
        }
        if kind == EntryKind::Configuration {
            self.configurations.push_back(entry.index);
        }
        self.last = entry;
        match self.extents.back_mut() {
            Some(extent) if extent.segment == segment && !extent.closed => {
                assert!(extent.end <= offset, "records do not overlap");
                extent.last = entry.index;
                extent.end = end;
                if extent.marks.last().is_some_and(|(_, latest)| offset - latest >= MARK_BYTES) {
                    extent.marks.push((entry.index, offset));
                }
            }
            _ => self.extents.push_back(Extent {
                segment,
                first: entry.index,
                last: entry.index,
                end,
                closed: false,
                marks: vec![(entry.index, offset)],
            }),
        }
    }

    /// Drops the entries after `last`, which must be in the log or its start.
    pub(super) fn truncate(&mut self, last: Position) {
        assert_eq!(self.term(last.index), Some(last.term), "what stays was in the log");
        while self.extents.back().is_some_and(|extent| last.index < extent.first) {
            self.extents.pop_back();
        }
        if let Some(extent) = self.extents.back_mut() {
            extent.last = extent.last.min(last.index);
            extent.closed = true;
            let kept = extent.marks.partition_point(|(index, _)| *index <= last.index);
            extent.marks.truncate(kept);
        }
        while self.terms.back().is_some_and(|first| last.index < first.index) {
            self.terms.pop_back();
        }
        while self.configurations.back().is_some_and(|index| last.index < *index) {
            self.configurations.pop_back();
        }
        self.last = last;
    }

    /// Drops all entries; the next one follows `start`.
    pub(super) fn reset(&mut self, start: Position) {
        self.restart(start);
        self.reset_in = self.segments.back().expect("a reset is in a segment").number;
    }

    /// As `reset`, but earlier segments may still say where the log starts.
    pub(super) fn restart(&mut self, start: Position) {
        self.extents.clear();
        self.terms.clear();
        self.configurations.clear();
        self.start = start;
        self.last = start;
    }

    /// Returns the oldest segment if nothing in it is needed when all entries up to `up_to` are not.
    pub(super) fn oldest_unneeded(&self, up_to: Index) -> Option<&Arc<Segment>> {
        let next = self.segments.get(1)?;
        let unneeded = next.before.index <= up_to || next.number <= self.reset_in;
        if unneeded { self.segments.front() } else { None }
    }

    /// Forgets the oldest segment and returns it.
    pub(super) fn retire_oldest(&mut self) -> Arc<Segment> {
        assert!(self.segments.len() > 1, "the newest segment stays");
        let retired = self.segments.pop_front().expect("there are two");
        let next = self.segments.front().expect("there were two");
        if next.number <= self.reset_in {
            assert!(
                self.extents.front().is_none_or(|extent| retired.number < extent.segment),
                "a reset has dropped what was before"
            );
            return retired;
        }
        let cut = self.extents.partition_point(|extent| extent.segment == retired.number);
        // Not `next.before`, which may be an entry that was truncated later.
        let start = self.extents.get(cut).map_or(self.last.index, |extent| extent.first - 1);
        let term = self.term(start).expect("it is in the log until now");
        self.extents.drain(..cut);
        self.start = Position { index: start, term };
        while self.configurations.front().is_some_and(|index| *index <= start) {
            self.configurations.pop_front();
        }
        while self.terms.get(1).is_some_and(|second| second.index <= self.start.index + 1) {
            self.terms.pop_front();
        }
        if self.last == self.start {
            self.terms.clear();
        }
        retired
    }

    /// The bytes up to and with some of the entries, about one every 64 KiB and the last.
    pub(super) fn sizes(&self) -> Vec<(Index, u64)> {
        let (mut sizes, mut before) = (Vec::new(), 0);
        for extent in &self.extents {
            let (_, begin) = extent.marks[0];
            sizes.extend(extent.marks.iter().map(|(index, offset)| (index - 1, before + offset - begin)));
            before += extent.end - begin;
        }
        sizes.push((self.last.index, before));
        sizes
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.iter()
    }

    /// Returns the runs that hold the entries from `from` on, as many as give `max_bytes` or a little more.
    pub(super) fn runs(&self, from: Index, max_bytes: u64) -> Vec<Run> {
        let mut runs = Vec::new();
        if from <= self.start.index || self.last.index < from {
            return runs;
        }
        let mut bytes = 0;
        let mut from = from;
        let first = self.extents.partition_point(|extent| extent.last < from);
        let oldest = self.segments.front().expect("entries are in segments").number;
        for extent in self.extents.range(first..) {
            let mark = extent.marks.partition_point(|(index, _)| *index <= from);
            let (_, offset) = extent.marks[mark.checked_sub(1).expect("the first mark is the first entry")];
            let at = usize::try_from(extent.segment - oldest).expect("segments fit in memory");
            let segment = self.segments[at].clone();
            assert_eq!(segment.number, extent.segment, "segments have no gaps");
            runs.push(Run { segment, offset, end: extent.end, last: extent.last });
            bytes += extent.end - offset;
            if bytes >= max_bytes.saturating_add(MARK_BYTES) {
                break;
            }
            from = extent.last + 1;
        }
        runs
    }
}
