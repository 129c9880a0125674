//! What the leader knows of one follower's log.
//!
//! ```text
//!           rejected, unreachable
//!        ┌─────────────────────────┐
//!        ▼                         │
//!     ┌───────┐   matched    ┌───────────┐
//!     │ Probe ├─────────────►│ Replicate │
//!     └─┬───▲─┘              └───────────┘
//!       │   │ ended                ▲
//!  cut  │   │                      │ matched
//!       ▼   │                      │
//!     ┌─────┴────┐                 │
//!     │ Snapshot ├─────────────────┘
//!     └──────────┘
//! ```
//!
//! *Probe*: the leader does not know where the logs part, and sends one message at a time. *Replicate*: it sends what
//! comes without waiting, up to a bound on bytes. *Snapshot*: what the follower needs is cut from the log, and it gets the
//! state instead.
//!
//! Whoever gets a snapshot *catches up* from then on until it lacks little: what the snapshot does not hold is kept for it in
//! the log for so long, however much that becomes while the snapshot is on its way. Else the follower would need another one
//! when it has this one, again and again for as long as there is load.

use std::collections::VecDeque;

use super::leaving::Leaving;
use crate::log::Index;

/// How many entries a follower may lack that lacks little.
const BEHIND_MAX: u64 = 1_000;

/// How entries are sent to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One message at a time; `paused` while one is under way.
    Probe {
        /// A message was sent and neither answered nor given up.
        paused: bool,
    },
    /// As they come.
    Replicate,
    /// Not at all: the follower gets the state.
    Snapshot,
}

/// The leader's view of a follower.
///
/// Invariants: `match_index < next_index`; what is in flight stands after `match_index`, and is empty unless the mode is
/// [`Mode::Replicate`].
#[derive(Clone, Debug)]
pub struct Progress {
    match_index: Index,
    next_index: Index,
    mode: Mode,
    /// Last index and bytes of each message that is not acknowledged.
    inflight: VecDeque<(Index, usize)>,
    inflight_bytes: usize,
    /// Entries for it are being read from the log.
    pub(super) fetching: bool,
    /// It gets a snapshot that holds at least the entries up to here, or has got it, and lacks much of what is behind it.
    catching_up: Option<Index>,
    /// When it was last heard of, or the leadership began.
    pub(super) heard_at: u64,
    /// How far its tables lag behind, as it said last, in thousandths of what they may.
    pub(super) lag: u64,
    /// It is no member any more.
    pub(super) leaving: Option<Leaving>,
}

impl Progress {
    /// A follower of which nothing is known at `now` but that the leader's log ends at `last`.
    pub(super) fn new(last: Index, now: u64) -> Self {
        Self {
            match_index: 0,
            next_index: last + 1,
            mode: Mode::Probe { paused: false },
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            fetching: false,
            catching_up: None,
            heard_at: now,
            lag: 0,
            leaving: None,
        }
    }

    /// The follower's log agrees with the leader's up to here, and is durable up to here.
    pub fn match_index(&self) -> Index {
        self.match_index
    }

    /// The next entry to be sent.
    pub fn next_index(&self) -> Index {
        self.next_index
    }

    /// How entries are sent.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Bytes sent and not acknowledged.
    pub fn inflight_bytes(&self) -> usize {
        self.inflight_bytes
    }

    /// Whether a message may be sent now.
    pub(super) fn is_ready(&self, inflight_bytes_max: usize) -> bool {
        !self.fetching
            && match self.mode {
                Mode::Probe { paused } => !paused,
                Mode::Replicate => self.inflight_bytes < inflight_bytes_max,
                Mode::Snapshot => false,
            }
    }

    /// Counts a message with entries up to `last`, or without any.
    pub(super) fn sent(&mut self, last: Option<Index>, bytes: usize) {
        match self.mode {
            Mode::Probe { .. } => self.mode = Mode::Probe { paused: true },
            Mode::Replicate => {
                let Some(last) = last else { return };
                assert!(self.next_index <= last, "entries are sent in order");
                self.next_index = last + 1;
                self.inflight.push_back((last, bytes));
                self.inflight_bytes += bytes;
            }
            Mode::Snapshot => unreachable!("a follower that gets a snapshot is sent no entries"),
        }
    }

    /// Takes the word that the logs agree up to `index`. Returns whether that was news.
    pub(super) fn matched(&mut self, index: Index) -> bool {
        let news = self.match_index < index;
        self.match_index = self.match_index.max(index);
        self.next_index = self.next_index.max(index + 1);
        match self.mode {
            // An old answer says nothing of what is being probed.
            Mode::Probe { .. } if index + 1 < self.next_index => {}
            Mode::Snapshot if !news => {}
            Mode::Probe { .. } | Mode::Snapshot => {
                self.mode = Mode::Replicate;
                self.next_index = self.match_index + 1;
            }
            Mode::Replicate => {
                while let Some(&(last, bytes)) = self.inflight.front() {
                    if index < last {
                        break;
                    }
                    self.inflight.pop_front();
                    self.inflight_bytes -= bytes;
                }
            }
        }
        news
    }

    /// Takes the word that the follower has nothing like the leader's entry `rejected`, and that the logs may agree up to
    /// `hint`. Returns whether there is something else to try.
    pub(super) fn rejected(&mut self, rejected: Index, hint: Index) -> bool {
        match self.mode {
            Mode::Snapshot => false,
            Mode::Replicate if rejected <= self.match_index => false,
            Mode::Replicate => {
                self.probe();
                true
            }
            Mode::Probe { .. } if self.next_index != rejected + 1 => false,
            Mode::Probe { .. } => {
                self.next_index = (hint.min(rejected.saturating_sub(1)) + 1).max(self.match_index + 1);
                self.mode = Mode::Probe { paused: false };
                true
            }
        }
    }

    /// Goes back to what is known, since messages may be lost.
    pub(super) fn probe(&mut self) {
        self.mode = Mode::Probe { paused: false };
        self.next_index = self.match_index + 1;
        self.inflight.clear();
        self.inflight_bytes = 0;
    }

    /// Lets a probe be sent again: the one before it may be lost.
    pub(super) fn resume(&mut self) {
        if let Mode::Probe { paused } = &mut self.mode {
            *paused = false;
        }
    }

    /// Sends no more entries: the follower gets a snapshot of at least the entries up to `flushed`.
    pub(super) fn await_snapshot(&mut self, flushed: Index) {
        self.probe();
        self.mode = Mode::Snapshot;
        self.catching_up = Some(flushed);
    }

    /// The sending of a snapshot has ended. If the follower says that it has all up to `held`, the next probe begins behind that;
    /// its own answer to that is still needed, since what it has said may not be durable there. Nothing is sent before it
    /// answers the next heartbeat.
    pub(super) fn snapshot_ended(&mut self, held: Option<Index>) {
        self.probe();
        self.next_index = self.next_index.max(held.map_or(0, |held| held + 1));
        self.mode = Mode::Probe { paused: true };
    }

    /// What stands behind this in the log is kept for it until it has caught up; none if it has.
    pub(super) fn catches_up_from(&self) -> Option<Index> {
        self.catching_up.map(|from| from.max(self.match_index))
    }

    /// It lacks little: it is treated as all others.
    pub(super) fn caught_up(&mut self) {
        self.catching_up = None;
    }

    /// Whether it takes entries as they come and has nearly all of a log that ends at `last`.
    pub(super) fn lacks_little(&self, last: Index) -> bool {
        self.mode == Mode::Replicate && last <= self.match_index + BEHIND_MAX
    }

    /// Checks what must hold of every follower of a leader whose log ends at `last`.
    pub(super) fn check(&self, last: Index) {
        assert!(self.match_index < self.next_index, "what agrees is sent again");
        assert!(self.match_index <= last, "a follower agrees with what the leader does not have");
        assert!(
            self.mode == Mode::Replicate || self.inflight.is_empty(),
            "only entries that are replicated are in flight"
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW_BYTES: usize = 50;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// The leader appends so many entries.
        Append(u64),
        /// It sends up to so many entries, of 10 bytes each, if it may send anything.
        Send(u64),
        /// So many more entries are durable at the follower and agree with the leader's.
        Receive(u64),
        /// An answer of the follower, new or old, arrives.
        Matched(u64),
        /// It has nothing like this entry, and hints at that one.
        Rejected(u64, u64),
        Heartbeat,
        Unreachable,
        Snapshot(u64),
        SnapshotEnded(Option<u64>),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..20_u64).prop_map(Step::Append),
            (1..5_u64).prop_map(Step::Send),
            (1..5_u64).prop_map(Step::Send),
            (1..10_u64).prop_map(Step::Receive),
            any::<u64>().prop_map(Step::Matched),
            any::<(u64, u64)>().prop_map(|(rejected, hint)| Step::Rejected(rejected, hint)),
            Just(Step::Heartbeat),
            Just(Step::Unreachable),
            any::<u64>().prop_map(Step::Snapshot),
            any::<Option<u64>>().prop_map(Step::SnapshotEnded),
        ]
    }

    /// A follower that has the first `has` entries of a leader's log, which ends at `last`.
    struct Pair {
        progress: Progress,
        last: Index,
        has: Index,
    }

    impl Pair {
        fn run(&mut self, step: Step) {
            let (progress, last, has) = (&mut self.progress, self.last, self.has);
            match step {
                Step::Append(count) => self.last += count,
                Step::Send(count) => {
                    if progress.is_ready(WINDOW_BYTES) {
                        let upto = (progress.next_index() + count - 1).min(last);
                        let sent = (progress.next_index() <= upto).then_some(upto);
                        let bytes = sent.map_or(0, |upto| (upto + 1 - progress.next_index()) * 10);
                        progress.sent(sent, usize::try_from(bytes).unwrap());
                    }
                }
                Step::Receive(count) => self.has = (has + count).min(last),
                Step::Matched(at) => {
                    let before = progress.match_index();
                    let index = at % (has + 1);
                    assert_eq!(progress.matched(index), before < index);
                }
                Step::Rejected(at, hint) if has < last => {
                    progress.rejected(has + 1 + at % (last - has), hint % (last + 1));
                }
                Step::Rejected(..) => {}
                Step::Heartbeat => progress.resume(),
                Step::Unreachable => progress.probe(),
                Step::Snapshot(flushed) => progress.await_snapshot(flushed % (last + 1)),
                Step::SnapshotEnded(held) if progress.mode() == Mode::Snapshot => {
                    progress.snapshot_ended(held.map(|held| held % (last + 1)));
                }
                Step::SnapshotEnded(_) => {}
            }
        }

        fn check(&self) {
            let progress = &self.progress;
            progress.check(self.last);
            assert!(progress.match_index() <= self.has, "it is believed to have what it does not");
            assert!(progress.next_index() <= self.last + 1, "what is to be sent next does not exist");
            let inflight: usize = progress.inflight.iter().map(|(_, bytes)| bytes).sum();
            assert_eq!(progress.inflight_bytes(), inflight);
            assert!(inflight < WINDOW_BYTES + 5 * 10, "the window is exceeded by more than a message");
            assert!(progress.inflight.iter().all(|(last, _)| progress.match_index() < *last));
        }

        /// Nothing is lost any more. Returns how many exchanges it takes until the follower has everything.
        fn settle(&mut self) -> u64 {
            for exchanges in 0.. {
                let progress = &mut self.progress;
                if progress.mode() == Mode::Replicate && progress.match_index() == self.last {
                    return exchanges;
                }
                match progress.mode() {
                    Mode::Snapshot => progress.snapshot_ended(None),
                    Mode::Probe { .. } if self.has < progress.next_index() - 1 => {
                        progress.rejected(progress.next_index() - 1, self.has);
                    }
                    Mode::Probe { .. } => drop(progress.matched(progress.next_index() - 1)),
                    Mode::Replicate if progress.is_ready(WINDOW_BYTES) => self.run(Step::Send(5)),
                    Mode::Replicate => {
                        self.has = self.has.max(progress.next_index() - 1);
                        progress.matched(self.has);
                    }
                }
                let progress = &mut self.progress;
                if progress.mode() == Mode::Replicate && progress.next_index() == self.last + 1 {
                    self.has = self.last;
                    progress.matched(self.last);
                }
                self.check();
            }
            unreachable!("it is endless")
        }
    }

    proptest! {
        #[test]
        fn whatever_is_lost_or_late_a_follower_gets_everything(
            steps in proptest::collection::vec(step(), 0..80),
            last in 0..50_u64,
        ) {
            let mut pair = Pair { progress: Progress::new(last, 0), last, has: 0 };
            for step in steps {
                pair.run(step);
                pair.check();
            }
            let exchanges = pair.settle();
            prop_assert!(exchanges <= 10 + pair.last, "{exchanges} exchanges for {} entries", pair.last);
        }
    }
}
