//! What is given out to be applied. A node may receive faster than it applies: what it has not applied waits in the log, and
//! not in memory. So only some bytes are given out before the driver says that what came before is applied; then the rest
//! is read from the log.
//!
//! A node whose tables lag behind says so with each heartbeat that it answers, and the leader slows its writes down by that.

use super::{
    core::{Output, Raft, Reading, State},
    leader::Leader,
};
use crate::log::Entry;

/// About what an entry takes beside its body.
const ENTRY_BYTES: usize = 64;

/// Bytes of entries that are given out and not known to be applied.
#[derive(Debug, Default)]
pub(super) struct Unapplied {
    /// Given out before the driver was last asked to tell ([`Output::TellApplied`]); 0 if it has told.
    asked_bytes: usize,
    /// Given out since.
    bytes: usize,
}

impl Unapplied {
    /// How many bytes may be given out, of `bytes_max`.
    fn room(&self, bytes_max: usize) -> usize {
        bytes_max.saturating_sub(self.asked_bytes + self.bytes)
    }

    /// Returns whether the driver is to be asked when it has applied what was given out so far. It is asked for one thing at
    /// a time, and in time: what it is asked for is never more than half of `bytes_max`, unless one entry is.
    fn asks(&mut self, bytes_max: usize) -> bool {
        let asks = self.asked_bytes == 0 && bytes_max / 2 <= self.bytes && 0 < self.bytes;
        if asks {
            self.asked_bytes = std::mem::take(&mut self.bytes);
        }
        asks
    }
}

impl Raft {
    /// Gives out what can be applied: committed, and durable here, so that no table is ever ahead of the log; and not more
    /// than there is room for.
    pub(super) fn hand_out(&mut self, outputs: &mut Vec<Output>) {
        let upto = self.commit_index.min(self.persistence.durable_index());
        if upto <= self.handed_out || self.fetching.is_some() || self.installing.is_some() {
            return;
        }
        let room = self.unapplied.room(self.bounds.unapplied_bytes_max);
        if room == 0 {
            return;
        }
        let from = self.handed_out + 1;
        match self.tail.entries(from, upto, room) {
            Some(entries) => self.give_out(entries, outputs),
            None => {
                self.fetching = Some(from);
                outputs.push(Output::Fetch(Reading::Apply, from, self.bounds.message_bytes_max.min(room)));
            }
        }
    }

    fn give_out(&mut self, entries: Vec<Entry>, outputs: &mut Vec<Output>) {
        self.handed_out = entries.last().expect("something is given out").index;
        self.unapplied.bytes += entries.iter().map(|entry| ENTRY_BYTES + entry.body.len()).sum::<usize>();
        outputs.push(Output::Committed(entries));
        self.ask_applied(outputs);
    }

    fn ask_applied(&mut self, outputs: &mut Vec<Output>) {
        if self.unapplied.asks(self.bounds.unapplied_bytes_max) {
            outputs.push(Output::TellApplied);
        }
    }

    /// What was given out before the driver was asked is applied, or a snapshot has taken its place.
    pub(super) fn applied(&mut self, outputs: &mut Vec<Output>) {
        assert!(self.unapplied.asked_bytes != 0, "nobody asked what is applied");
        self.unapplied.asked_bytes = 0;
        self.ask_applied(outputs);
    }

    /// Entries that are to be applied were read from the log.
    pub(super) fn fetched_to_apply(&mut self, mut entries: Vec<Entry>, outputs: &mut Vec<Output>) {
        let from = self.fetching.take().expect("only what was asked for is read");
        // An install came between: these are in the snapshot.
        if from != self.handed_out + 1 {
            return;
        }
        let upto = self.commit_index.min(self.persistence.durable_index());
        // What was not committed when it was read may have been replaced since.
        let is_good = |entry: &Entry| entry.index <= upto && self.tail.contains(entry.position());
        entries.truncate(entries.iter().take_while(|entry| is_good(entry)).count());
        let first = entries.first().map(|first| first.index);
        assert!(first == Some(from), "the log has what is to be applied, from entry {from} on");
        if self.installing.is_none() {
            self.give_out(entries, outputs);
        }
    }

    /// Lets go of entries in memory that nobody here needs soon. A follower reads from the log what it is too slow to apply.
    pub(super) fn forget(&mut self) {
        let (needed, kept_after) = match &self.state {
            State::Leader(leader) => (leader.needed_after(), self.handed_out),
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => {
                (self.handed_out, self.persistence.durable_index())
            }
        };
        self.tail.forget(needed.min(self.handed_out));
        while self.tail.bytes() > self.bounds.cache_bytes_max {
            match self.tail.oldest() {
                Some(oldest) if oldest.index <= kept_after => self.tail.forget(oldest.index),
                Some(_) | None => break,
            }
        }
    }

    /// A follower has said how far its tables lag behind. A majority decides, so the lag that counts is the smallest that is
    /// not exceeded in some majority; the leader's own is known to the executor.
    pub(super) fn count_lags(&mut self, outputs: &mut Vec<Output>) {
        let id = self.id;
        let State::Leader(leader) = &mut self.state else { return };
        let Leader { progress, lag_told, .. } = &mut **leader;
        let lag = |of| if of == id { 0 } else { progress.get(&of).map_or(0, |progress| progress.lag) };
        let lag = u64::MAX - self.history.newest().reached(|of| u64::MAX - lag(of));
        if *lag_told != lag {
            *lag_told = lag;
            outputs.push(Output::Lag(lag));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        log::{EntryKind, HardState, Position},
        raft::{Body, Bounds, Configuration, Input, Message, Start, Tail, Timing},
    };

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, kind: EntryKind::Effects, body: Bytes::from_static(b"0123456789") }
    }

    /// Node 1 of three, whose log has two entries of term 1, not in memory.
    fn node(bounds: Bounds) -> Raft {
        let last = Position { index: 2, term: 1 };
        let start = Start {
            id: 1,
            hard_state: HardState { term: 1, vote: 0 },
            tail: Tail::new(Position::default(), last, [Position { index: 1, term: 1 }]),
            sizes: Vec::new(),
            applied: 0,
            configuration: Configuration::of_voters([1, 2, 3].map(|id| (id, Bytes::new()))),
            later: Vec::new(),
            timing: Timing::default(),
            bounds,
            seed: 1,
        };
        Raft::new(start, 0)
    }

    /// The leader of term 2 appends `entries` after `previous`; all of it becomes durable at once.
    fn append(raft: &mut Raft, previous: Position, commit: u64, entries: Vec<Entry>) -> Vec<Output> {
        let mut outputs = Vec::new();
        let body = Body::Append { previous, commit, entries };
        raft.step(0, Input::Message(Message { from: 2, to: 1, term: 2, body }), &mut outputs);
        let token = outputs.iter().rev().find_map(|output| match output {
            Output::Persist { token, .. } => Some(*token),
            _ => None,
        });
        if let Some(token) = token {
            raft.step(0, Input::Durable(token), &mut outputs);
        }
        outputs
    }

    fn given_out(outputs: &[Output]) -> Vec<Position> {
        let entries = outputs.iter().flat_map(|output| match output {
            Output::Committed(entries) => entries.as_slice(),
            _ => &[],
        });
        entries.map(Entry::position).collect()
    }

    #[test]
    fn what_was_replaced_after_it_was_read_is_not_applied() {
        let mut raft = node(Bounds::default());
        let first = Position { index: 1, term: 1 };
        let outputs = append(&mut raft, first, 1, Vec::new());
        assert!(outputs.iter().any(|output| matches!(output, Output::Fetch(Reading::Apply, 1, _))));
        // The second entry was another leader's, and never committed.
        append(&mut raft, first, 2, vec![entry(2, 2)]);
        let mut outputs = Vec::new();
        raft.step(0, Input::Fetched(Reading::Apply, vec![entry(1, 1), entry(2, 1)]), &mut outputs);
        assert_eq!(given_out(&outputs), [first, Position { index: 2, term: 2 }]);
    }

    #[test]
    fn no_more_is_given_out_and_kept_than_there_is_room_for() {
        let bounds =
            Bounds { unapplied_bytes_max: 4 * (ENTRY_BYTES + 10), cache_bytes_max: 50, ..Bounds::default() };
        let mut raft = node(bounds);
        let before = Position { index: 2, term: 1 };
        let outputs = append(&mut raft, before, 2, Vec::new());
        assert!(outputs.iter().any(|output| matches!(output, Output::Fetch(Reading::Apply, 1, _))));
        let mut outputs = Vec::new();
        raft.step(0, Input::Fetched(Reading::Apply, vec![entry(1, 1), entry(2, 1)]), &mut outputs);
        assert!(outputs.iter().any(|output| matches!(output, Output::TellApplied)));
        let outputs = append(&mut raft, before, 20, (3..=20).map(|index| entry(index, 2)).collect());
        let given: Vec<u64> = given_out(&outputs).iter().map(|position| position.index).collect();
        assert!(given.len() <= 20 && raft.tail().bytes() <= 200, "{given:?} of {}", raft.tail().bytes());
        let mut next = given.last().copied().unwrap_or(2) + 1;
        let mut outputs = Vec::new();
        raft.step(0, Input::Applied, &mut outputs);
        // The rest comes as fast as it is applied, from memory or from the log.
        while next <= 20 {
            let mut more = Vec::new();
            for output in std::mem::take(&mut outputs) {
                match output {
                    Output::Committed(entries) => next = entries.last().unwrap().index + 1,
                    Output::TellApplied => raft.step(0, Input::Applied, &mut more),
                    Output::Fetch(Reading::Apply, from, _) => {
                        let read = vec![entry(from, 2), entry((from + 1).min(20), 2)];
                        let read = if from == 20 { vec![entry(20, 2)] } else { read };
                        raft.step(0, Input::Fetched(Reading::Apply, read), &mut more);
                    }
                    _ => {}
                }
            }
            assert!(!more.is_empty() || 20 < next, "it stopped before entry {next}");
            outputs = more;
        }
    }

    #[test]
    fn who_gives_out_asks_in_time() {
        let mut unapplied = Unapplied { asked_bytes: 0, bytes: 49 };
        assert!(!unapplied.asks(100), "there is room enough");
        unapplied.bytes += 1;
        assert!(unapplied.asks(100));
        unapplied.bytes += 70;
        assert!(!unapplied.asks(100), "it waits for the answer");
        assert_eq!(unapplied.room(100), 0);
        unapplied.asked_bytes = 0;
        assert_eq!(unapplied.room(100), 30);
        assert!(unapplied.asks(100), "it has more to ask for at once");
    }
}
