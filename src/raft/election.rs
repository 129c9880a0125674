//! Terms and votes: who becomes leader (Raft §5.2, thesis §9.6), and what a vote has been promised for.
//!
//! A follower that hears nobody for an election timeout first asks whether it would be elected (*pre-vote*), so that a node
//! that only cannot hear the leader does not end its term. Then it begins a term, votes for itself, and asks for votes when
//! its own is durable: a leader whose own vote was forgotten in a crash could lead the same term twice (A9).
//!
//! **Rule (promise and lease)**: whoever has answered a heartbeat has promised its vote to nobody else for a while, itself
//! included, and nothing ends that early but the leader's own word ([`Body::TimeoutNow`]).

use std::collections::BTreeSet;

use super::{
    core::{Output, Raft, State},
    leader::Leader,
    message::{Body, Message, NodeId},
    persistence::Token,
};
use crate::{
    bugs::{self, Bug},
    log::{HardState, Operation, Position, Term},
};

/// How long a node that has granted a pre-vote leaves the field to the other, in µs: else two split the vote every time.
const GRANTED_PRE_VOTE_US: u64 = 50_000;

/// Where a node stops applying, of [`Raft::lag`]; and for how many election timeouts it leaves the field to others then.
const LAG_MAX: u64 = 1000;
const DEFERENCE_ELECTIONS: u64 = 4;

impl Raft {
    /// When to stand for election if nothing is heard until then: drawn, so that not all stand at once.
    pub(super) fn election_timeout(&mut self, now: u64) -> u64 {
        now + self.deference_us() + self.timing.election_us + self.rng.u64(..self.timing.election_us)
    }

    /// For how long this node leaves the field to others. One that has stopped applying has to apply what it lacks before it
    /// serves anyone, which may take long; but if the others cannot lead, it has to.
    pub(super) fn deference_us(&self) -> u64 {
        if self.lag < LAG_MAX { 0 } else { DEFERENCE_ELECTIONS * self.timing.election_us }
    }

    /// Whether this node's vote is promised to a leader. A leader has promised it to itself while it is heard.
    fn has_promised(&self, now: u64) -> bool {
        let until = match &self.state {
            State::Leader(leader) => leader.rounds.heard_at() + self.timing.promise_us,
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => {
                self.promised_until
            }
        };
        now < until && !bugs::on(Bug::RaftPromiseBroken)
    }

    /// Whether a log that ends at `last` has all that this one has.
    fn is_covered_by(&self, last: Position) -> bool {
        self.tail.is_covered_by(last) || bugs::on(Bug::RaftVoteForOlderLog)
    }

    /// Takes what another node said.
    pub(super) fn receive(&mut self, now: u64, message: Message, outputs: &mut Vec<Output>) {
        assert!(message.to == self.id, "a message for another node was delivered");
        assert!(message.from != self.id, "a message of this node came back");
        match message.body {
            Body::PreVote { last } => return self.pre_vote(now, message.from, message.term, last, outputs),
            Body::PreVoteReply { granted: true } => {
                return self.pre_vote_granted(now, message.from, message.term, outputs);
            }
            Body::Vote { transfer: false, .. } if self.term() < message.term && self.has_promised(now) => {
                return;
            }
            _ => {}
        }
        if message.term < self.term() {
            // Whoever leads an older term must hear that it is over; old answers mean nothing any more (B7).
            if matches!(message.body, Body::Append { .. } | Body::Heartbeat { .. } | Body::Vote { .. }) {
                self.send_durably(message.from, Body::OldTerm, 0, outputs);
            }
            return;
        }
        let of_leader = matches!(message.body, Body::Append { .. } | Body::Heartbeat { .. });
        let leader = of_leader.then_some(message.from);
        if self.term() < message.term {
            self.follow(now, message.term, leader, outputs);
        } else if of_leader && self.leader() != leader {
            assert!(self.leader().is_none(), "two nodes lead one term");
            self.follow(now, message.term, leader, outputs);
        }
        self.act_on(now, message, outputs);
    }

    /// Takes a message of the present term.
    fn act_on(&mut self, now: u64, message: Message, outputs: &mut Vec<Output>) {
        let from = message.from;
        if let State::Leader(leader) = &mut self.state
            && let Some(progress) = leader.progress.get_mut(&from)
        {
            progress.heard_at = now;
        }
        match message.body {
            Body::Vote { last, transfer } => self.vote(now, from, last, transfer, outputs),
            Body::VoteReply { granted } => self.vote_replied(now, from, granted, outputs),
            Body::Append { previous, commit, entries } => {
                self.appended(now, from, previous, commit, entries, outputs);
            }
            Body::Heartbeat { round, promise_us, commit } => {
                self.heartbeat(now, from, round, promise_us, commit, outputs);
            }
            Body::TimeoutNow => self.stand_for_transfer(now, outputs),
            Body::ReadIndex { read } => self.read_for(now, from, read, outputs),
            Body::ReadIndexReply { read, index, commit } => self.read_answered(read, index, commit, outputs),
            Body::Matched { index } => self.matched(now, from, index, outputs),
            Body::Conflict { rejected, hint } => self.conflicted(from, rejected, hint, outputs),
            Body::HeartbeatReply { round, lag } => self.heartbeat_replied(now, from, round, lag, outputs),
            // Their term has said all.
            Body::PreVote { .. } | Body::PreVoteReply { .. } | Body::OldTerm => {}
        }
    }

    /// Becomes a follower: in a later term, or of a leader of this one, or of nobody.
    pub(super) fn follow(&mut self, now: u64, term: Term, leader: Option<NodeId>, outputs: &mut Vec<Output>) {
        let had_leaving = self.has_leaving();
        self.end_leadership(outputs);
        self.forget_asked(outputs);
        self.state = State::Follower { leader };
        if had_leaving {
            outputs.push(self.configured());
        }
        self.election_at = self.election_timeout(now);
        let forgets = bugs::on(Bug::RaftVoteForgotten) && leader.is_some();
        if self.term() < term || forgets {
            // The vote goes with its term, and only with it (A1).
            self.hard_state = HardState { term, vote: 0 };
            self.persist(now, Operation::HardState(self.hard_state), outputs);
        }
        self.tell(outputs);
    }

    fn pre_vote(&mut self, now: u64, from: NodeId, term: Term, last: Position, outputs: &mut Vec<Output>) {
        let granted = self.term() < term && !self.has_promised(now) && self.is_covered_by(last);
        if granted {
            if !matches!(self.state, State::Leader(_)) {
                self.election_at = self.election_at.max(now + GRANTED_PRE_VOTE_US);
            }
            // Granted in the name of the term that would begin; it reveals nothing that has to be durable.
            let body = Body::PreVoteReply { granted };
            outputs.push(Output::Send(Message { from: self.id, to: from, term, body }));
        } else if term <= self.term() {
            self.send_durably(from, Body::PreVoteReply { granted }, 0, outputs);
        }
    }

    fn pre_vote_granted(&mut self, now: u64, from: NodeId, term: Term, outputs: &mut Vec<Output>) {
        let own_term = self.term();
        let State::PreCandidate { granted } = &mut self.state else { return };
        if term != own_term + 1 {
            return;
        }
        granted.insert(from);
        if self.history.newest().is_majority(|id| granted.contains(&id)) {
            self.campaign(now, false, outputs);
        }
    }

    /// The election timeout has passed.
    pub(super) fn stand(&mut self, now: u64, outputs: &mut Vec<Output>) {
        self.election_at = self.election_timeout(now);
        if self.may_stand() && !self.has_promised(now) {
            self.pre_campaign(now, outputs);
        } else if !matches!(self.state, State::Follower { leader: None }) && !self.has_promised(now) {
            // Whoever led is not heard any more.
            self.follow(now, self.term(), None, outputs);
        }
    }

    /// A voter may stand; so may one whose removal is not known to be committed, since its log may be the only one that has
    /// it (thesis §4.2.2).
    fn may_stand(&self) -> bool {
        self.history.may_vote(self.id) && self.installing.is_none() && !self.unfit
    }

    /// Stands for election on request. A single voter has nobody to have promised anything to.
    pub(super) fn campaign_on_request(&mut self, now: u64, outputs: &mut Vec<Output>) {
        if self.may_stand() && (self.is_alone() || !self.has_promised(now)) {
            self.pre_campaign(now, outputs);
        }
    }

    fn pre_campaign(&mut self, now: u64, outputs: &mut Vec<Output>) {
        self.end_leadership(outputs);
        self.forget_asked(outputs);
        let was_asking = matches!(self.state, State::PreCandidate { .. });
        self.state = State::PreCandidate { granted: BTreeSet::from([self.id]) };
        if !was_asking {
            self.tell(outputs);
        }
        if self.is_alone() {
            return self.campaign(now, false, outputs);
        }
        let (term, last) = (self.term() + 1, self.tail.last());
        for to in self.other_voters() {
            outputs.push(Output::Send(Message { from: self.id, to, term, body: Body::PreVote { last } }));
        }
    }

    fn other_voters(&self) -> impl Iterator<Item = NodeId> + use<> {
        let id = self.id;
        self.history.newest().voters().into_iter().filter(move |voter| *voter != id)
    }

    /// Begins a term with a vote for itself. The vote is asked of others, and counts, when it is durable (A2, A9).
    fn campaign(&mut self, now: u64, transfer: bool, outputs: &mut Vec<Output>) {
        self.hard_state = HardState { term: self.term() + 1, vote: self.id };
        let vote = self.persist(now, Operation::HardState(self.hard_state), outputs);
        self.state = State::Candidate { granted: BTreeSet::new(), vote };
        self.election_at = self.election_timeout(now);
        self.tell(outputs);
        let last = self.tail.last();
        for to in self.other_voters() {
            match bugs::on(Bug::RaftLeadBeforeVoteDurable) {
                true => self.send(to, Body::Vote { last, transfer }, outputs),
                false => self.send_durably(to, Body::Vote { last, transfer }, vote, outputs),
            }
        }
        if bugs::on(Bug::RaftLeadBeforeVoteDurable) {
            self.own_vote_durable(now, vote, outputs);
        }
    }

    /// The leader asks this node to take over.
    fn stand_for_transfer(&mut self, now: u64, outputs: &mut Vec<Output>) {
        if self.may_stand() && matches!(self.state, State::Follower { leader: Some(_) }) {
            self.forget_asked(outputs);
            self.campaign(now, true, outputs);
        }
    }

    fn vote(&mut self, now: u64, from: NodeId, last: Position, transfer: bool, outputs: &mut Vec<Output>) {
        let HardState { vote, .. } = self.hard_state;
        let free = vote == from || (vote == 0 && self.leader().is_none());
        let granted = free && self.is_covered_by(last) && (transfer || !self.has_promised(now));
        if granted {
            self.election_at = self.election_timeout(now);
            if vote == 0 {
                self.hard_state.vote = from;
                self.persist(now, Operation::HardState(self.hard_state), outputs);
            }
        }
        self.send_durably(from, Body::VoteReply { granted }, 0, outputs);
    }

    fn vote_replied(&mut self, now: u64, from: NodeId, granted: bool, outputs: &mut Vec<Output>) {
        if let State::Candidate { granted: votes, .. } = &mut self.state
            && granted
        {
            votes.insert(from);
            self.count_votes(now, outputs);
        }
    }

    pub(super) fn own_vote_durable(&mut self, now: u64, token: Token, outputs: &mut Vec<Output>) {
        let id = self.id;
        if let State::Candidate { granted, vote } = &mut self.state
            && *vote <= token
        {
            granted.insert(id);
            self.count_votes(now, outputs);
        }
    }

    fn count_votes(&mut self, now: u64, outputs: &mut Vec<Output>) {
        let State::Candidate { granted, .. } = &self.state else { return };
        // Its own vote is among them only when it is durable, and without that nobody leads.
        if granted.contains(&self.id) && self.history.newest().is_majority(|id| granted.contains(&id)) {
            self.lead(now, outputs);
        }
    }

    fn end_leadership(&mut self, outputs: &mut Vec<Output>) {
        if let State::Leader(leader) = &mut self.state {
            self.round = leader.rounds.round();
            Leader::give_up(leader, outputs);
        }
    }
}
