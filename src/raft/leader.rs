//! What a leader does: it appends, brings the followers' logs in line, and commits what a majority has on disk (Raft §5.3,
//! §5.4).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{
    chain::{Chain, Proposal, Refusal, Verdict},
    change::Pending,
    core::{Output, Raft, Reading, State},
    leaving::Leaving,
    message::{Body, NodeId},
    progress::{Mode, Progress},
    reads::Waiting,
    rounds::Rounds,
    transfer::Transfer,
};
use crate::{
    bugs::{self, Bug},
    log::{Entry, EntryKind, Index, Position, Term},
};

/// How long a leader's disk may take to write something, in µs.
const STALL_US: u64 = 5_000_000;

/// How long a follower that catches up may be silent before nothing is kept for it any more, in µs.
const SILENCE_US: u64 = 60_000_000;

/// What lives for one term of leading.
#[derive(Debug)]
pub(super) struct Leader {
    /// Of all members but this one, and of those who leave.
    pub(super) progress: BTreeMap<NodeId, Progress>,
    /// The first entry of the term: what is before it is committed beneath it only, and no read is served before.
    pub(super) noop: Index,
    pub(super) chain: Chain,
    pub(super) rounds: Rounds,
    pub(super) waiting: Waiting,
    pub(super) heartbeat_at: u64,
    pub(super) transfer: Option<Transfer>,
    /// The leadership was offered to another: from then on nothing is known without asking.
    pub(super) lease_over: bool,
    /// A follower was told from where on it may read: it may have applied, and shown, what is committed and not applied here.
    pub(super) read_elsewhere: bool,
    pub(super) change: Option<Pending>,
    /// What was last said of the followers' lag.
    pub(super) lag_told: u64,
    /// Index and bytes of the bodies that were appended here and are not committed.
    uncommitted: VecDeque<(Index, usize)>,
    uncommitted_bytes: usize,
}

impl Leader {
    /// Tells all who wait for this leader that it leads no more.
    pub(super) fn give_up(leader: &mut Self, outputs: &mut Vec<Output>) {
        leader.give_up_reads(outputs);
        leader.give_up_change(outputs);
    }

    /// Everything up to this index is with all followers that take entries as they come.
    pub(super) fn needed_after(&self) -> Index {
        let replicating = self.progress.values().filter(|progress| progress.mode() == Mode::Replicate);
        replicating.map(Progress::match_index).min().unwrap_or(Index::MAX)
    }

    /// Everything up to this index is in the snapshots of those who catch up. Who is silent for long may be gone for ever.
    pub(super) fn needed_to_catch_up(&self, now: u64) -> Index {
        let heard = self.progress.values().filter(|progress| now < progress.heard_at + SILENCE_US);
        heard.filter_map(Progress::catches_up_from).min().unwrap_or(Index::MAX)
    }
}

impl Raft {
    /// Begins to lead, with an entry of its own term: earlier ones commit only beneath it (B1, B2).
    pub(super) fn lead(&mut self, now: u64, outputs: &mut Vec<Output>) {
        let last = self.tail.last();
        self.state = State::Leader(Box::new(Leader {
            progress: BTreeMap::new(),
            noop: if bugs::on(Bug::RaftReadBeforeNoop) { 0 } else { last.index + 1 },
            chain: Chain::default(),
            rounds: Rounds::new(self.round, now),
            waiting: Waiting::default(),
            heartbeat_at: now,
            transfer: None,
            lease_over: false,
            read_elsewhere: false,
            change: None,
            lag_told: 0,
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
        }));
        self.follow_configuration(now, last.index);
        if self.has_leaving() {
            outputs.push(self.configured());
        }
        self.tell(outputs);
        self.append_own(now, EntryKind::Noop, Bytes::new(), outputs);
        self.beat(now, outputs);
    }

    /// Keeps the progress of those who are members in a log that ends at `last`, and of those who have to be told that they
    /// are none.
    pub(super) fn follow_configuration(&mut self, now: u64, last: Index) {
        let State::Leader(leader) = &mut self.state else { return };
        let configuration = self.history.newest();
        let index = self.history.newest_index();
        for (id, record) in self.history.removed().into_iter().filter(|(id, _)| *id != self.id) {
            let progress = leader.progress.entry(id).or_insert_with(|| Progress::new(last, now));
            progress.leaving.get_or_insert_with(|| Leaving::new(index, now, record));
        }
        for id in configuration.ids() {
            if id != self.id {
                leader.progress.entry(id).or_insert_with(|| Progress::new(last, now)).leaving = None;
            }
        }
        leader.rounds.reconfigure(configuration, self.id, now);
    }

    pub(super) fn propose(&mut self, now: u64, proposal: Proposal, outputs: &mut Vec<Output>) {
        let verdict = self.judge(&proposal);
        outputs.push(Output::Proposed(proposal.id, verdict));
        if verdict == Verdict::Accepted {
            self.append_own(now, EntryKind::Effects, proposal.body, outputs);
        }
    }

    fn judge(&mut self, proposal: &Proposal) -> Verdict {
        let (id, bytes) = (proposal.id, proposal.body.len());
        let term = self.term();
        let State::Leader(leader) = &mut self.state else { return Verdict::Refused(Refusal::NotLeader) };
        let refusal = if id.term != term {
            Refusal::NotLeader
        } else if 0 < leader.uncommitted_bytes
            && self.bounds.uncommitted_bytes_max < leader.uncommitted_bytes + bytes
        {
            Refusal::Busy
        } else if !leader.chain.accepts(id) {
            Refusal::BrokenChain
        } else {
            return Verdict::Accepted;
        };
        leader.chain.end(id);
        Verdict::Refused(refusal)
    }

    /// Appends an entry of this leader and sends it to all who are ready for it, while the disk writes it here.
    pub(super) fn append_own(&mut self, now: u64, kind: EntryKind, body: Bytes, outputs: &mut Vec<Output>) {
        let entry = Entry { index: self.tail.last().index + 1, term: self.term(), kind, body };
        if let State::Leader(leader) = &mut self.state {
            leader.uncommitted.push_back((entry.index, entry.body.len()));
            leader.uncommitted_bytes += entry.body.len();
        }
        self.append(now, entry, outputs);
        self.replicate_to_all(outputs);
    }

    fn replicate_to_all(&mut self, outputs: &mut Vec<Output>) {
        let State::Leader(leader) = &self.state else { return };
        let ids: Vec<NodeId> = leader.progress.keys().copied().collect();
        ids.into_iter().for_each(|id| self.replicate(id, false, outputs));
    }

    /// Sends a follower what it lacks, as far as it is ready for it; a message without entries only if `anyway`.
    pub(super) fn replicate(&mut self, to: NodeId, mut anyway: bool, outputs: &mut Vec<Output>) {
        let (id, term, last) = (self.id, self.term(), self.tail.last().index);
        let State::Leader(leader) = &mut self.state else { return };
        let Some(progress) = leader.progress.get_mut(&to) else { return };
        loop {
            let ready = progress.is_ready(self.bounds.inflight_bytes_max);
            // What fills the window may be lost: an empty message shows it.
            let asks = anyway && progress.mode() == Mode::Replicate;
            if !ready && !asks {
                return;
            }
            let next = progress.next_index();
            let Some(previous_term) = self.tail.term(next - 1) else {
                if progress.leaving.is_some() {
                    return;
                }
                progress.await_snapshot(self.flushed);
                return outputs.push(Output::SendSnapshot(to, term));
            };
            let entries = match next <= last {
                _ if !ready => Some(Vec::new()),
                true => self.tail.entries(next, last, self.bounds.message_bytes_max),
                false if anyway || matches!(progress.mode(), Mode::Probe { .. }) => Some(Vec::new()),
                false => return,
            };
            let Some(entries) = entries else {
                progress.fetching = true;
                let bytes_max = self.bounds.message_bytes_max;
                return outputs.push(Output::Fetch(Reading::Follower(to, term), next, bytes_max));
            };
            anyway = false;
            let bytes = entries.iter().map(|entry| entry.body.len()).sum();
            progress.sent(entries.last().map(|entry| entry.index), bytes);
            let previous = Position { index: next - 1, term: previous_term };
            let body = Body::Append { previous, commit: self.commit_index, entries };
            outputs.push(Output::Send(super::message::Message { from: id, to, term, body }));
        }
    }

    /// Entries for a follower were read from the log. Only this leader's term makes them still what they were.
    pub(super) fn fetched_for(
        &mut self,
        to: NodeId,
        term: Term,
        entries: Vec<Entry>,
        outputs: &mut Vec<Output>,
    ) {
        if term != self.term() {
            return;
        }
        let State::Leader(leader) = &mut self.state else { return };
        let Some(progress) = leader.progress.get_mut(&to) else { return };
        progress.fetching = false;
        let next = progress.next_index();
        let fits = entries.first().is_some_and(|first| first.index == next);
        let previous = self.tail.term(next - 1).map(|term| Position { index: next - 1, term });
        if let (true, Some(previous), true) =
            (fits, previous, progress.is_ready(self.bounds.inflight_bytes_max))
        {
            let bytes = entries.iter().map(|entry| entry.body.len()).sum();
            progress.sent(entries.last().map(|entry| entry.index), bytes);
            self.send(to, Body::Append { previous, commit: self.commit_index, entries }, outputs);
        }
        self.replicate(to, false, outputs);
    }

    pub(super) fn matched(&mut self, now: u64, from: NodeId, index: Index, outputs: &mut Vec<Output>) {
        let State::Leader(leader) = &mut self.state else { return };
        let Some(progress) = leader.progress.get_mut(&from) else { return };
        let news = progress.matched(index);
        if progress.lacks_little(self.tail.last().index) {
            progress.caught_up();
        }
        if news {
            self.advance_commit(now, outputs);
        }
        self.replicate(from, false, outputs);
        self.offer_leadership(outputs);
    }

    pub(super) fn conflicted(
        &mut self,
        from: NodeId,
        rejected: Index,
        hint: Position,
        outputs: &mut Vec<Output>,
    ) {
        let hint = self.tail.agreement(hint).index;
        let State::Leader(leader) = &mut self.state else { return };
        let Some(progress) = leader.progress.get_mut(&from) else { return };
        if progress.rejected(rejected, hint) {
            self.replicate(from, true, outputs);
        }
    }

    /// Commits what a majority has on disk. What is of an earlier term commits only beneath an entry of this one (Raft
    /// §5.4.2, Figure 8).
    pub(super) fn advance_commit(&mut self, now: u64, outputs: &mut Vec<Output>) {
        let State::Leader(leader) = &mut self.state else { return };
        let durable = match bugs::on(Bug::RaftCountSelfBeforeDurable) {
            true => self.tail.last().index,
            false => self.persistence.durable_index(),
        };
        let reached = self.history.newest().reached(|id| match id == self.id {
            true => durable,
            false => leader.progress.get(&id).map_or(0, Progress::match_index),
        });
        let of_this_term = self.tail.term(reached) == Some(self.hard_state.term);
        if reached <= self.commit_index || !(of_this_term || bugs::on(Bug::RaftCommitOfEarlierTerm)) {
            return;
        }
        while let Some(&(index, bytes)) = leader.uncommitted.front() {
            if reached < index {
                break;
            }
            leader.uncommitted.pop_front();
            leader.uncommitted_bytes -= bytes;
        }
        self.commit(reached);
        self.serve_reads_of_term(now, outputs);
        self.offer_leadership(outputs);
        self.continue_change(now, outputs);
    }

    pub(super) fn tick_leader(&mut self, now: u64, outputs: &mut Vec<Output>) {
        let State::Leader(leader) = &self.state else { return };
        // Check-quorum: whoever is heard by no majority makes room for one that is (Raft thesis §6.2). So does a leader that
        // cannot write: it applies nothing, and so answers nothing, however well it is heard.
        let unheard = leader.rounds.heard_at() + self.timing.election_us <= now;
        let stalled = self.persistence.waiting_since().is_some_and(|since| since + STALL_US <= now);
        if (unheard || stalled) && !self.is_alone() {
            return self.follow(now, self.term(), None, outputs);
        }
        if leader.heartbeat_at <= now {
            self.beat(now, outputs);
        }
        self.tick_transfer(now, outputs);
    }

    /// Sends a round of heartbeats.
    pub(super) fn beat(&mut self, now: u64, outputs: &mut Vec<Output>) {
        self.give_up_leaving(now, outputs);
        let (id, term) = (self.id, self.term());
        let State::Leader(leader) = &mut self.state else { return };
        leader.heartbeat_at = now + self.timing.heartbeat_us;
        let round = leader.rounds.send(now);
        for (to, progress) in &mut leader.progress {
            // No more than is known to be in its log: that may still be another leader's (B8).
            let known = match bugs::on(Bug::RaftHeartbeatCommitsUnknown) {
                true => Index::MAX,
                false => progress.match_index(),
            };
            let commit = self.commit_index.min(known);
            if let Some(leaving) = &mut progress.leaving {
                leaving.tell(round, commit);
            }
            let body = Body::Heartbeat { round, promise_us: self.timing.promise_us, commit };
            outputs.push(Output::Send(super::message::Message { from: id, to: *to, term, body }));
        }
        self.count_round(now, outputs);
    }

    pub(super) fn heartbeat_replied(
        &mut self,
        now: u64,
        from: NodeId,
        round: u64,
        lag: u64,
        outputs: &mut Vec<Output>,
    ) {
        let last = self.tail.last().index;
        let State::Leader(leader) = &mut self.state else { return };
        let Some(progress) = leader.progress.get_mut(&from) else { return };
        leader.rounds.answer(from, round);
        progress.lag = lag;
        // It is there, and what was sent to it may be lost.
        progress.resume();
        let behind = progress.match_index() < last && progress.mode() != Mode::Snapshot;
        if behind {
            self.replicate(from, true, outputs);
        }
        self.count_lags(outputs);
        self.part_with(from, round, outputs);
        self.count_round(now, outputs);
        if self.leader_wants_round() {
            self.beat(now, outputs);
        }
    }
}
