//! The state machine: `step(now, input) → outputs`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    applying::Unapplied,
    chain::{Proposal, ProposalId, Verdict},
    change::ChangeAnswer,
    configuration::{Change, Configuration, History},
    leader::Leader,
    message::{Body, Message, NodeId},
    persistence::{Persistence, Token},
    progress::Progress,
    sizes::Sizes,
    snapshot::{Installing, Offer},
    tail::Tail,
    timing::{Bounds, Timing},
};
use crate::{
    bugs::{self, Bug},
    log::{Entry, EntryKind, HardState, Index, Operation, Position, Term},
};

/// What a node is in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes entries from a leader, or waits for one.
    Follower,
    /// It asks whether it would be elected.
    PreCandidate,
    /// It has voted for itself and waits until that is durable and a majority has done the same.
    Candidate,
    /// It appends proposals.
    Leader,
}

/// What the core is stepped with.
#[derive(Clone, Debug)]
pub enum Input {
    /// The time of [`Raft::deadline`] has come.
    Tick,
    /// A node said this.
    Message(Message),
    /// Stand for election, unless a promise forbids it.
    Campaign,
    /// Append this if it is this leader's to append and its chain is whole.
    Propose(Proposal),
    /// Everything persisted with a token up to this one is on disk.
    Durable(Token),
    /// Prove that this node leads, or ask the leader from where on reads are linearizable, for reads that have arrived;
    /// answered by [`Output::Permit`] or [`Output::NoPermit`] with the same number.
    Read(u64),
    /// Entries that [`Output::Fetch`] asked for; none if the log does not have the first of them any more.
    Fetched(Reading, Vec<Entry>),
    /// The stream to this node broke: messages may be lost.
    Unreachable(NodeId),
    /// Hand the leadership to this node, or to the one that lacks least.
    Transfer(Option<NodeId>),
    /// The executor evaluates nothing, and what it proposed as the leader of this term is applied ([`Output::Pause`]).
    Paused(Term),
    /// Change the membership; answered by [`Output::Changing`] with the same number.
    Change(u64, Vec<Change>),
    /// This node does not need the start of its log.
    Cut {
        /// The entries up to this one are in tables.
        index: Index,
        /// The disk is short of room: no more is kept for others than they can hardly do without.
        is_short: bool,
    },
    /// A whole snapshot was received.
    Snapshot(Offer),
    /// The snapshot of [`Output::Install`] is in place, durably, and the log may be reset to it.
    Installed(Position),
    /// The sending of a snapshot ([`Output::SendSnapshot`]) has ended. If the node has said that it has all that the snapshot
    /// holds, the last entry of that; none if it has not got it.
    SnapshotEnded(NodeId, Option<Index>),
    /// What was given out before [`Output::TellApplied`] is applied.
    Applied,
    /// How far this node's tables lag behind, in thousandths of what they may.
    Lag(u64),
    /// Whether this node should not lead (its clock is wrong, say). It does not campaign then, and hands over.
    Unfit(bool),
}

/// Who entries are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// This node, to apply them.
    Apply,
    /// A follower, in this term.
    Follower(NodeId, Term),
}

/// What the core asks for, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Append to the log. [`Input::Durable`] with this token says that it is on disk.
    Persist {
        /// The newest token after this operation.
        token: Token,
        /// What to write.
        operation: Operation,
    },
    /// Send this now. Whatever must be durable before it is said is durable.
    Send(Message),
    /// What became of a proposal.
    Proposed(ProposalId, Verdict),
    /// These entries are committed, and durable here: apply them, in this order.
    Committed(Vec<Entry>),
    /// Say when what came before is applied ([`Input::Applied`]): no more is given out than there is room for.
    TellApplied,
    /// So far do the tables of the followers lag behind that this leader needs, in thousandths of what they may.
    Lag(u64),
    /// Read entries from the log, from this one on, of about this many bytes; then [`Input::Fetched`].
    Fetch(Reading, Index, usize),
    /// Nobody needs the entries up to this index: cut the log.
    Cut(Index),
    /// The role, the term or the leader changed.
    Changed {
        /// The new term.
        term: Term,
        /// The new role.
        role: Role,
        /// Who leads, if that is known.
        leader: Option<NodeId>,
    },
    /// Reads with this number may be served from a view that has applied `index`: this node led its term, or its leader
    /// did, at an instant after [`Input::Read`].
    Permit {
        /// Of the input.
        number: u64,
        /// What the view must have applied.
        index: Index,
    },
    /// Nothing is proved for the reads with this number; they may try again, here or elsewhere.
    NoPermit(u64),
    /// The newest configuration is another, or others leave: connect to its members, and to those who leave.
    Configured {
        /// The newest, committed or not.
        configuration: Configuration,
        /// Members that were removed and are told so, with their records.
        leaving: BTreeMap<NodeId, Bytes>,
    },
    /// This node was removed: it belongs to the cluster no more, for ever. That is committed. It is said when it becomes
    /// known, and not at every start; who was away when it was removed may never hear of it.
    Removed,
    /// What became of a change.
    Changing(u64, ChangeAnswer),
    /// Evaluate nothing (or, with false, go on): a transfer of the leadership has begun (or was given up). When what was
    /// proposed is applied, [`Input::Paused`].
    Pause(bool),
    /// Send this node a snapshot, with this leader's term. When the node has it, or will not get it,
    /// [`Input::SnapshotEnded`].
    SendSnapshot(NodeId, Term),
    /// Install the received snapshot that ends here, in the order of what is committed; then [`Input::Installed`].
    Install(Position),
    /// Throw the received snapshot away: it is not needed.
    Discard(Position),
    /// The log is reset to the snapshot, durably.
    LogReset,
}

/// What a node starts with.
#[derive(Debug)]
pub struct Start {
    /// This node.
    pub id: NodeId,
    /// As the log has it.
    pub hard_state: HardState,
    /// The log, durable as it is.
    pub tail: Tail,
    /// The bytes of the log up to and with some of its entries, ascending.
    pub sizes: Vec<(Index, u64)>,
    /// What is applied, and so committed.
    pub applied: Index,
    /// The configuration at `applied` or before.
    pub configuration: Configuration,
    /// The configurations in entries of the log behind that, with their indexes.
    pub later: Vec<(Index, Configuration)>,
    /// The times of the protocol.
    pub timing: Timing,
    /// Bounds on memory and messages.
    pub bounds: Bounds,
    /// For what is drawn.
    pub seed: u64,
}

/// The Raft state of one shard on one node.
///
/// Invariants: `start <= handed_out <= min(commit_index, durable) <= last`; the term and the commit index never fall.
#[derive(Debug)]
pub struct Raft {
    pub(super) id: NodeId,
    pub(super) hard_state: HardState,
    pub(super) state: State,
    pub(super) tail: Tail,
    pub(super) sizes: Sizes,
    pub(super) persistence: Persistence,
    pub(super) commit_index: Index,
    /// The last entry that was given out to be applied.
    pub(super) handed_out: Index,
    /// What is known to be in tables, and so in every snapshot that is made from now on.
    pub(super) flushed: Index,
    pub(super) unapplied: Unapplied,
    /// Entries to be applied are being read from the log, from this one on.
    pub(super) fetching: Option<Index>,
    pub(super) history: History,
    pub(super) timing: Timing,
    pub(super) bounds: Bounds,
    pub(super) rng: fastrand::Rng,
    /// Until then nobody else gets this node's vote, itself included.
    pub(super) promised_until: u64,
    /// Until then this node may be bound by a promise that it gave before it started, and does not know of.
    pub(super) bound_until: u64,
    /// When a follower stands for election, or a candidate tries again.
    pub(super) election_at: u64,
    /// The last round of any leadership of this node: rounds are never used again.
    pub(super) round: u64,
    /// Reads that the leader was asked about, with the time.
    pub(super) asked: Vec<(u64, u64)>,
    pub(super) installing: Option<Installing>,
    /// The token of a reset of the log that is not durable yet.
    pub(super) resetting: Option<Token>,
    pub(super) unfit: bool,
    /// How far this node's tables lag behind, in thousandths of what they may.
    pub(super) lag: u64,
    /// It is known since this step that this node was removed.
    pub(super) removed: bool,
}

/// What a node is in its term, with what it needs for that.
#[derive(Debug)]
pub(super) enum State {
    Follower { leader: Option<NodeId> },
    PreCandidate { granted: BTreeSet<NodeId> },
    Candidate { granted: BTreeSet<NodeId>, vote: Token },
    Leader(Box<Leader>),
}

impl Raft {
    /// Begins as a follower, at the time `now`.
    pub fn new(start: Start, now: u64) -> Self {
        start.timing.check();
        let last = start.tail.last();
        assert!(start.id != 0, "0 stands for no vote");
        assert!(start.hard_state.term >= last.term, "the log is ahead of the node's term");
        assert!(start.tail.start().index <= start.applied, "entries to be applied are cut");
        assert!(start.applied <= last.index, "what is applied is not in the log");
        // What it promised before it stopped is forgotten. A node of no term has promised nothing.
        let took_part = start.hard_state.term > 0 && !bugs::on(Bug::RaftPromiseForgotten);
        let promised_until = if took_part { now + start.timing.promise_us_max } else { 0 };
        let mut raft = Self {
            id: start.id,
            hard_state: start.hard_state,
            state: State::Follower { leader: None },
            persistence: Persistence::new(last.index),
            tail: start.tail,
            sizes: Sizes::new(start.bounds.kept_bytes, start.sizes),
            commit_index: start.applied,
            handed_out: start.applied,
            flushed: start.applied,
            unapplied: Unapplied::default(),
            fetching: None,
            history: History::new((0, start.configuration), start.later),
            timing: start.timing,
            bounds: start.bounds,
            rng: fastrand::Rng::with_seed(start.seed),
            promised_until,
            bound_until: promised_until,
            election_at: 0,
            round: 0,
            asked: Vec::new(),
            installing: None,
            resetting: None,
            unfit: false,
            lag: 0,
            removed: false,
        };
        raft.election_at = raft.election_timeout(now);
        raft
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The times of the protocol.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// The term and the vote.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The current role.
    pub fn role(&self) -> Role {
        match self.state {
            State::Follower { .. } => Role::Follower,
            State::PreCandidate { .. } => Role::PreCandidate,
            State::Candidate { .. } => Role::Candidate,
            State::Leader(_) => Role::Leader,
        }
    }

    /// Who leads the current term, if that is known.
    pub fn leader(&self) -> Option<NodeId> {
        match self.state {
            State::Follower { leader } => leader,
            State::PreCandidate { .. } | State::Candidate { .. } => None,
            State::Leader(_) => Some(self.id),
        }
    }

    /// The last entry that is known to be on the disks of a majority.
    pub fn commit_index(&self) -> Index {
        self.commit_index
    }

    /// The last entry that was appended.
    pub fn last(&self) -> Position {
        self.tail.last()
    }

    /// Whether this node gives nobody its vote, since it may have promised it before it started: for a while, the others cannot
    /// replace a leader with its help. A node that is alone needs nobody's.
    pub fn is_bound(&self, now: u64) -> bool {
        now < self.bound_until && !self.is_alone()
    }

    /// The log's shape.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The entries that are durable here.
    pub fn durable_index(&self) -> Index {
        self.persistence.durable_index()
    }

    /// The configuration in force: the newest in the log.
    pub fn configuration(&self) -> &Configuration {
        self.history.newest()
    }

    /// Whether this node is a member, or was one in a configuration that it has not forgotten: then it was removed since, or is
    /// being removed.
    pub fn was_member(&self) -> bool {
        self.history.has_known(self.id)
    }

    /// What this leader knows of a follower.
    pub fn progress(&self, id: NodeId) -> Option<&Progress> {
        match &self.state {
            State::Leader(leader) => leader.progress.get(&id),
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => None,
        }
    }

    /// For how long this leader has not heard of `id` at `now`, in µs. None if this node does not lead, or `id` is no follower of
    /// it.
    pub fn silent_us(&self, id: NodeId, now: u64) -> Option<u64> {
        Some(now.saturating_sub(self.progress(id)?.heard_at))
    }

    /// Whether the learner `id` has so much of the log that it may become a voter.
    pub fn has_caught_up(&self, id: NodeId) -> bool {
        self.progress(id).is_some_and(|progress| progress.lacks_little(self.tail.last().index))
    }

    /// Until when this node leads without asking anyone: it may serve the reads that have arrived before. 0 if it has to
    /// ask. Only [`Raft::step`] moves it.
    pub fn lease_until(&self) -> u64 {
        match &self.state {
            State::Leader(leader) => self.lease_of(leader),
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => 0,
        }
    }

    /// The first entry of this node's leadership: who reads by the lease reads what has applied it, and so whatever earlier
    /// leaders have answered. When followers read too, it is all that is committed: they may have shown it already, since what
    /// is committed is applied elsewhere while this node's own disk still writes it. 0 if this node does not lead.
    pub fn lease_index(&self) -> Index {
        match &self.state {
            State::Leader(leader) if leader.read_elsewhere && !bugs::on(Bug::LeaseBehindFollowers) => {
                leader.noop.max(self.commit_index)
            }
            State::Leader(leader) => leader.noop,
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => 0,
        }
    }

    /// When [`Input::Tick`] is due. It may come earlier or later.
    pub fn deadline(&self) -> u64 {
        match &self.state {
            // Nobody listens.
            State::Leader(leader) if leader.progress.is_empty() => u64::MAX,
            State::Leader(leader) => leader.heartbeat_at,
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => {
                let asked = self.asked.first().map_or(u64::MAX, |(_, at)| at + self.timing.election_us);
                self.election_at.max(self.promised_until).min(asked)
            }
        }
    }

    /// Whether this node is a majority by itself.
    pub(super) fn is_alone(&self) -> bool {
        self.history.newest().is_majority(|id| id == self.id)
    }

    /// Takes one input at the time `now`, in µs of CLOCK_BOOTTIME, and appends what follows from it to `outputs`.
    pub fn step(&mut self, now: u64, input: Input, outputs: &mut Vec<Output>) {
        let before = (self.term(), self.commit_index);
        match input {
            Input::Tick => self.tick(now, outputs),
            Input::Message(message) => self.receive(now, message, outputs),
            Input::Campaign => self.campaign_on_request(now, outputs),
            Input::Propose(proposal) => self.propose(now, proposal, outputs),
            Input::Durable(token) => self.durable(now, token, outputs),
            Input::Read(number) => self.read(now, number, outputs),
            Input::Fetched(reading, entries) => self.fetched(reading, entries, outputs),
            Input::Unreachable(id) => self.unreachable(now, id, outputs),
            Input::Transfer(to) => self.begin_transfer(now, to, outputs),
            Input::Paused(term) => self.paused(term, outputs),
            Input::Change(number, changes) => self.change(now, number, &changes, outputs),
            Input::Cut { index, is_short } => self.cut(now, index, is_short, outputs),
            Input::Snapshot(offer) => self.offered(now, offer, outputs),
            Input::Installed(position) => self.installed(now, position, outputs),
            Input::SnapshotEnded(id, held) => self.snapshot_ended(id, held),
            Input::Applied => self.applied(outputs),
            Input::Lag(lag) => self.lag = lag,
            Input::Unfit(unfit) => self.unfit = unfit,
        }
        self.hand_out(outputs);
        if std::mem::take(&mut self.removed) {
            outputs.push(Output::Removed);
        }
        self.forget();
        self.check(before);
    }

    /// What must hold after each step.
    fn check(&self, (term, commit_index): (Term, Index)) {
        assert!(term <= self.term(), "the term went back");
        assert!(commit_index <= self.commit_index, "the commit index went back");
        assert!(self.tail.start().index <= self.handed_out, "entries to be applied are cut");
        assert!(self.handed_out <= self.commit_index, "applied what is not committed");
        assert!(self.handed_out <= self.persistence.durable_index(), "applied what is not durable here");
        assert!(self.persistence.durable_index() <= self.tail.last().index, "durable beyond the log's end");
        assert!(self.commit_index <= self.tail.last().index, "committed beyond the log's end");
        assert!(self.tail.last().term <= self.term(), "an entry of a term that has not begun");
        if let State::Leader(leader) = &self.state {
            assert!(self.hard_state.vote == self.id, "a leader has voted for itself");
            leader.progress.values().for_each(|progress| progress.check(self.tail.last().index));
        }
    }

    fn tick(&mut self, now: u64, outputs: &mut Vec<Output>) {
        let asked = self.timing.election_us;
        for at in (0..self.asked.len()).rev() {
            if self.asked[at].1 + asked <= now {
                outputs.push(Output::NoPermit(self.asked.remove(at).0));
            }
        }
        match self.state {
            State::Leader(_) => self.tick_leader(now, outputs),
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => {
                if self.election_at <= now {
                    self.stand(now, outputs);
                }
            }
        }
    }

    /// Writes and hands over what is to be persisted.
    pub(super) fn persist(&mut self, now: u64, operation: Operation, outputs: &mut Vec<Output>) -> Token {
        let last = self.tail.last().index;
        let token = match operation {
            Operation::HardState(_) => self.persistence.push_hard_state(last, now),
            Operation::Entry(_) | Operation::Truncate { .. } | Operation::Reset(_) => {
                self.persistence.push(last, now)
            }
        };
        outputs.push(Output::Persist { token, operation });
        token
    }

    /// Appends to the log; a configuration is in force from now on.
    pub(super) fn append(&mut self, now: u64, entry: Entry, outputs: &mut Vec<Output>) {
        if entry.kind == EntryKind::Configuration {
            // What cannot be read stops the node: it is never skipped.
            let configuration = Configuration::decode(entry.body.clone())
                .expect("a configuration is of a format that this version knows");
            self.history.push(entry.index, configuration);
            self.follow_configuration(now, entry.index);
            outputs.push(self.configured());
        }
        self.sizes.push(entry.index, entry.log_bytes());
        self.tail.push(entry.clone());
        self.persist(now, Operation::Entry(entry), outputs);
    }

    /// Says something whose truth is durable already, or does not matter after a crash.
    pub(super) fn send(&self, to: NodeId, body: Body, outputs: &mut Vec<Output>) {
        outputs.push(Output::Send(Message { from: self.id, to, term: self.term(), body }));
    }

    /// Says something that stands on `token`, when that is durable. Nothing that an answer says of the term is said before
    /// the term is durable (C14).
    pub(super) fn send_durably(&mut self, to: NodeId, body: Body, token: Token, outputs: &mut Vec<Output>) {
        let message = Message { from: self.id, to, term: self.term(), body };
        let token = match bugs::on(Bug::RaftTermToldBeforeDurable) {
            true => token,
            false => token.max(self.persistence.hard_state_token()),
        };
        outputs.extend(self.persistence.hold(message, token).map(Output::Send));
    }

    fn durable(&mut self, now: u64, token: Token, outputs: &mut Vec<Output>) {
        outputs.extend(self.persistence.durable(token).map(Output::Send));
        if self.resetting.is_some_and(|reset| reset <= token) {
            self.resetting = None;
            outputs.push(Output::LogReset);
        }
        self.own_vote_durable(now, token, outputs);
        if matches!(self.state, State::Leader(_)) {
            self.advance_commit(now, outputs);
        }
    }

    fn fetched(&mut self, reading: Reading, entries: Vec<Entry>, outputs: &mut Vec<Output>) {
        match reading {
            Reading::Apply => self.fetched_to_apply(entries, outputs),
            Reading::Follower(id, term) => self.fetched_for(id, term, entries, outputs),
        }
    }

    /// Cuts the log up to `index`, except for what is kept for others. The core forgets the entries before the log does, so
    /// it never asks for what is gone.
    fn cut(&mut self, now: u64, index: Index, is_short: bool, outputs: &mut Vec<Output>) {
        let index = index.min(self.handed_out);
        self.flushed = self.flushed.max(index);
        let index = self.unneeded(now, index, is_short);
        // Said again although it is nothing new: what the log could not let go of then, it may now.
        if self.installing.is_none() && self.tail.start().index <= index {
            self.tail.cut(index);
            self.sizes.cut(index);
            outputs.push(Output::Cut(index));
        }
    }

    /// Of the entries up to `flushed`, those that are kept for nobody: whoever lacks them gets a snapshot.
    fn unneeded(&self, now: u64, flushed: Index, is_short: bool) -> Index {
        if self.history.newest().ids().into_iter().all(|id| id == self.id) {
            return flushed;
        }
        let (for_all, for_replicating) = match is_short {
            true => (0, self.bounds.inflight_bytes_max as u64),
            false => (self.bounds.kept_bytes, self.bounds.kept_bytes_max),
        };
        let (replicated, caught_up) = match &self.state {
            State::Leader(leader) => (leader.needed_after(), leader.needed_to_catch_up(now)),
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => {
                (Index::MAX, Index::MAX)
            }
        };
        let replicated = replicated.max(self.sizes.before(flushed, for_replicating));
        // When that took all the room there was, whoever catches up has to begin anew.
        let caught_up = if is_short { Index::MAX } else { caught_up };
        self.sizes.before(flushed, for_all).min(replicated).min(caught_up).min(flushed)
    }

    fn unreachable(&mut self, now: u64, id: NodeId, outputs: &mut Vec<Output>) {
        if self.leader() == Some(id) {
            // The leader may live and hold its lease: only what was promised to it has an end that is known.
            let soon = self.promised_until.max(now) + self.deference_us() + self.rng.u64(..=30_000);
            self.election_at = self.election_at.min(soon);
            self.forget_asked(outputs);
        }
        if let State::Leader(leader) = &mut self.state
            && let Some(progress) = leader.progress.get_mut(&id)
            && progress.mode() == super::progress::Mode::Replicate
        {
            progress.probe();
        }
    }

    pub(super) fn tell(&self, outputs: &mut Vec<Output>) {
        outputs.push(Output::Changed { term: self.term(), role: self.role(), leader: self.leader() });
    }
}
