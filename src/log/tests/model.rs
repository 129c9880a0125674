//! The log as a map, to compare with.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use crate::disk::SimDisk;
use crate::log::{
    Entry, EntryKind, HardState, Index, Log, LogReader, Operation, Options, Position, Recovered, Result,
};

pub(super) const SEGMENT_BYTES: u64 = 2048;

pub(super) fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES, spares: 2 }
}

pub(super) fn open(disk: &SimDisk, epoch: u64) -> Result<(Log, Recovered)> {
    // The epoch is random in production.
    let epoch = Rng::with_seed(epoch).u64(..);
    Log::open(Arc::new(disk.clone()), "log", options(), epoch)
}

/// Makes an entry whose body tells it from all others.
pub(super) fn entry(index: Index, term: u64, len: usize) -> Entry {
    let mut rng = Rng::with_seed(index << 20 | term);
    let mut body = vec![0; len];
    rng.fill(&mut body);
    let kind = match index % 3 {
        0 => EntryKind::Configuration,
        1 => EntryKind::Effects,
        _ => EntryKind::Noop,
    };
    Entry { index, term, kind, body: body.into() }
}

/// What a log should hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    hard_state: HardState,
    start: Position,
    pub(super) entries: BTreeMap<Index, Entry>,
    /// Entries up to here are never truncated.
    pub(super) committed: Index,
}

impl Model {
    pub(super) fn last(&self) -> Position {
        self.entries.last_key_value().map_or(self.start, |(_, entry)| entry.position())
    }

    pub(super) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::HardState(hard_state) => self.hard_state = *hard_state,
            Operation::Entry(entry) => {
                self.entries.insert(entry.index, entry.clone());
            }
            Operation::Truncate { from } => {
                self.entries.split_off(from);
            }
            Operation::Reset(start) => {
                self.entries.clear();
                self.start = *start;
                self.committed = start.index;
            }
        }
    }

    /// Draws some operations that fit one after the other; the model stays as it is but for what is committed.
    pub(super) fn random_group(&mut self, rng: &mut Rng) -> Vec<Operation> {
        self.committed = rng.u64(self.committed..=self.last().index);
        let mut after = self.clone();
        let mut group = Vec::new();
        for _ in 0..rng.usize(1..5) {
            let operation = after.random_operation(rng);
            after.apply(&operation);
            group.push(operation);
        }
        group
    }

    fn random_operation(&self, rng: &mut Rng) -> Operation {
        let last = self.last();
        match rng.u8(..100) {
            0..12 => {
                let new = HardState { term: self.hard_state.term + rng.u64(..3), vote: rng.u64(1..4) };
                let again = new.term == self.hard_state.term && self.hard_state.vote != 0;
                Operation::HardState(if again { self.hard_state } else { new })
            }
            12..20 if self.committed < last.index => {
                Operation::Truncate { from: rng.u64(self.committed + 1..=last.index + 1) }
            }
            20..22 => Operation::Reset(Position {
                index: last.index + rng.u64(..10),
                term: last.term + rng.u64(..2),
            }),
            kind => {
                let len = if kind < 25 { rng.usize(1000..5000) } else { rng.usize(..200) };
                Operation::Entry(entry(last.index + 1, last.term + u64::from(rng.u8(..10) == 0), len))
            }
        }
    }

    /// Whether an opened log agrees with the model, if entries up to `cut` may be missing.
    pub(super) fn agrees(
        &self,
        log: &Log,
        recovered: &Recovered,
        cut: Index,
    ) -> std::result::Result<(), String> {
        if recovered.hard_state != self.hard_state {
            return Err(format!("{:?}, not {:?}", recovered.hard_state, self.hard_state));
        }
        let reader = log.reader();
        if (recovered.start.index + 1, recovered.last.index) != (reader.first_index(), reader.last_index()) {
            return Err("the reader does not agree with what was recovered".to_owned());
        }
        self.agrees_with(&reader, cut)
    }

    fn agrees_with(&self, reader: &LogReader, cut: Index) -> std::result::Result<(), String> {
        let first = reader.first_index();
        let last = self.last();
        if (reader.last_index(), reader.term(last.index)) != (last.index, Some(last.term)) {
            return Err(format!("it ends at {}, not {last:?}", reader.last_index()));
        }
        if first < self.start.index + 1 || first > self.start.index.max(cut) + 1 {
            return Err(format!("it starts at {first}, not {:?}, cut {cut}", self.start));
        }
        let mut from = first;
        while from <= last.index {
            let entries = reader.entries(from, 1000).map_err(|error| error.to_string())?;
            if entries.is_empty() {
                return Err(format!("no entry at {from}"));
            }
            for entry in entries {
                if self.entries.get(&from) != Some(&entry) || reader.term(from) != Some(entry.term) {
                    return Err(format!("another entry at {from}"));
                }
                from += 1;
            }
        }
        Ok(())
    }

    pub(super) fn check(&self, log: &Log, recovered: &Recovered, cut: Index) {
        if let Err(difference) = self.agrees(log, recovered, cut) {
            panic!("{difference}");
        }
    }

    pub(super) fn check_contents(&self, reader: &LogReader, cut: Index) {
        if let Err(difference) = self.agrees_with(reader, cut) {
            panic!("{difference}");
        }
    }
}
