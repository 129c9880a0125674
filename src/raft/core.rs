//! The state machine: `step(input) → outputs`.

use std::collections::VecDeque;

use bytes::Bytes;

use super::chain::{Chain, Proposal, ProposalId, Refusal, Verdict};
use crate::log::{Entry, EntryKind, HardState, Index, Operation, Position, Term};

/// Counts what was handed out to be persisted; "durable up to token t" covers all tokens up to t.
pub type Token = u64;

/// What a node is in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes entries from a leader, or waits for one.
    Follower,
    /// It has voted for itself and waits until that is durable and a majority has done the same.
    Candidate,
    /// It appends proposals.
    Leader,
}

/// What the core is stepped with.
#[derive(Debug)]
pub enum Input {
    /// Stand for election in a new term.
    Campaign,
    /// Append this if it is this leader's to append and its chain is whole.
    Propose(Proposal),
    /// Everything persisted with a token up to this one is on disk.
    Durable(Token),
    /// Prove that this node leads, for reads that have arrived; answered by [`Output::Permit`] with the same number.
    Read(u64),
}

/// What the core asks for, in this order.
#[derive(Debug)]
pub enum Output {
    /// Append to the log. [`Input::Durable`] with this token says that it is on disk.
    Persist {
        /// The newest token after this operation.
        token: Token,
        /// What to write.
        operation: Operation,
    },
    /// What became of a proposal.
    Proposed(ProposalId, Verdict),
    /// These entries are committed, and durable here: apply them, in this order.
    Committed(Vec<Entry>),
    /// The role or the term changed.
    Changed {
        /// The new term.
        term: Term,
        /// The new role.
        role: Role,
    },
    /// This node led its term at an instant after [`Input::Read`] with this number.
    Permit(u64),
    /// This node does not lead: the reads with this number must be redirected.
    NoPermit(u64),
}

/// The Raft state of one shard on one node.
///
/// Invariants: `commit_index <= durable_index <= last.index`; `uncommitted` holds the entries
/// `commit_index + 1 ..= last.index`.
#[derive(Debug)]
pub struct Raft {
    id: u64,
    hard_state: HardState,
    role: Role,
    last: Position,
    durable_index: Index,
    commit_index: Index,
    uncommitted: VecDeque<Entry>,
    uncommitted_bytes: usize,
    uncommitted_bytes_max: usize,
    chain: Chain,
    token: Token,
    /// Which index each token that is not durable yet makes durable.
    persisting: VecDeque<(Token, Index)>,
    /// The token that makes this candidate's own vote durable.
    vote_token: Option<Token>,
}

impl Raft {
    /// Begins as a follower whose log, durable as it is, ends at `last` and is applied up to there.
    ///
    /// `uncommitted_bytes_max` bounds the bodies that are appended and not committed; one proposal is always admitted.
    pub fn new(id: u64, hard_state: HardState, last: Position, uncommitted_bytes_max: usize) -> Self {
        assert!(id != 0, "0 stands for no vote");
        assert!(hard_state.term >= last.term, "the log is ahead of the node's term");
        Self {
            id,
            hard_state,
            role: Role::Follower,
            last,
            durable_index: last.index,
            commit_index: last.index,
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            uncommitted_bytes_max,
            chain: Chain::default(),
            token: 0,
            persisting: VecDeque::new(),
            vote_token: None,
        }
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// The current role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The last entry that a majority has on disk.
    pub fn commit_index(&self) -> Index {
        self.commit_index
    }

    /// The last entry that was appended.
    pub fn last(&self) -> Position {
        self.last
    }

    /// Takes one input and appends what follows from it to `outputs`.
    pub fn step(&mut self, input: Input, outputs: &mut Vec<Output>) {
        match input {
            Input::Campaign => self.campaign(outputs),
            Input::Propose(proposal) => self.propose(proposal, outputs),
            Input::Durable(token) => self.durable(token, outputs),
            Input::Read(number) => outputs.push(match self.role {
                Role::Leader => Output::Permit(number),
                Role::Follower | Role::Candidate => Output::NoPermit(number),
            }),
        }
        assert!(self.commit_index <= self.durable_index, "committed what is not durable here");
        assert!(self.durable_index <= self.last.index, "durable beyond the end of the log");
    }

    /// Votes for itself in a new term. The vote counts when it is durable, not before.
    fn campaign(&mut self, outputs: &mut Vec<Output>) {
        self.hard_state = HardState { term: self.hard_state.term + 1, vote: self.id };
        self.role = Role::Candidate;
        outputs.push(Output::Changed { term: self.term(), role: self.role });
        let token = self.persist(Operation::HardState(self.hard_state), outputs);
        self.vote_token = Some(token);
    }

    fn propose(&mut self, proposal: Proposal, outputs: &mut Vec<Output>) {
        let verdict = self.judge(&proposal);
        outputs.push(Output::Proposed(proposal.id, verdict));
        if verdict == Verdict::Accepted {
            self.append(EntryKind::Effects, proposal.body, outputs);
        }
    }

    fn judge(&mut self, proposal: &Proposal) -> Verdict {
        let id = proposal.id;
        let refusal = if self.role != Role::Leader || id.term != self.term() {
            Refusal::NotLeader
        } else if self.uncommitted_bytes > 0
            && self.uncommitted_bytes + proposal.body.len() > self.uncommitted_bytes_max
        {
            Refusal::Busy
        } else if !self.chain.accepts(id) {
            Refusal::BrokenChain
        } else {
            return Verdict::Accepted;
        };
        self.chain.end(id);
        Verdict::Refused(refusal)
    }

    fn append(&mut self, kind: EntryKind, body: Bytes, outputs: &mut Vec<Output>) {
        self.last = Position { index: self.last.index + 1, term: self.term() };
        let entry = Entry { index: self.last.index, term: self.last.term, kind, body };
        self.uncommitted_bytes += entry.body.len();
        self.uncommitted.push_back(entry.clone());
        self.persist(Operation::Entry(entry), outputs);
    }

    fn persist(&mut self, operation: Operation, outputs: &mut Vec<Output>) -> Token {
        self.token += 1;
        self.persisting.push_back((self.token, self.last.index));
        outputs.push(Output::Persist { token: self.token, operation });
        self.token
    }

    fn durable(&mut self, token: Token, outputs: &mut Vec<Output>) {
        assert!(token <= self.token, "a token that was never given out is durable");
        while let Some(&(first, index)) = self.persisting.front() {
            if first > token {
                break;
            }
            assert!(index >= self.durable_index, "durability went back");
            self.durable_index = index;
            self.persisting.pop_front();
        }
        if self.vote_token.is_some_and(|vote| vote <= token) {
            self.vote_token = None;
            self.lead(outputs);
        }
        self.commit(outputs);
    }

    /// Begins to lead, with an entry of its own term: earlier ones commit only beneath it.
    fn lead(&mut self, outputs: &mut Vec<Output>) {
        assert!(self.role == Role::Candidate, "only a candidate is elected");
        self.role = Role::Leader;
        self.chain = Chain::default();
        outputs.push(Output::Changed { term: self.term(), role: self.role });
        self.append(EntryKind::Noop, Bytes::new(), outputs);
    }

    /// Commits what a majority of the voters has on disk; the only voter is this node.
    fn commit(&mut self, outputs: &mut Vec<Output>) {
        if self.role != Role::Leader || self.durable_index <= self.commit_index {
            return;
        }
        let count = self.durable_index - self.commit_index;
        let count = usize::try_from(count).expect("entries in memory can be counted");
        let newest = &self.uncommitted[count - 1];
        assert!(newest.index == self.durable_index, "the uncommitted entries have a gap");
        // Entries of an earlier term commit only beneath one of this term (Raft §5.4.2).
        if newest.term != self.term() {
            return;
        }
        let entries: Vec<Entry> = self.uncommitted.drain(..count).collect();
        self.uncommitted_bytes -= entries.iter().map(|entry| entry.body.len()).sum::<usize>();
        self.commit_index = self.durable_index;
        outputs.push(Output::Committed(entries));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader() -> Raft {
        let mut raft = Raft::new(7, HardState { term: 4, vote: 7 }, Position { index: 10, term: 4 }, 1000);
        let mut outputs = Vec::new();
        raft.step(Input::Campaign, &mut outputs);
        raft.step(Input::Durable(1), &mut outputs);
        raft.step(Input::Durable(2), &mut outputs);
        assert_eq!(raft.role(), Role::Leader);
        raft
    }

    fn propose(raft: &mut Raft, n: u64, bytes: usize) -> (Verdict, Vec<Output>) {
        let id = ProposalId { term: 5, chain: 1, n };
        let mut outputs = Vec::new();
        raft.step(Input::Propose(Proposal { id, body: Bytes::from(vec![0; bytes]) }), &mut outputs);
        let Output::Proposed(told, verdict) = outputs.remove(0) else { panic!("a verdict comes first") };
        assert_eq!(told, id);
        (verdict, outputs)
    }

    #[test]
    fn a_candidate_leads_only_when_its_vote_is_durable() {
        let mut raft = Raft::new(7, HardState { term: 4, vote: 7 }, Position { index: 10, term: 4 }, 1000);
        let mut outputs = Vec::new();
        raft.step(Input::Campaign, &mut outputs);
        assert_eq!(raft.role(), Role::Candidate);
        assert!(matches!(
            outputs[..],
            [
                Output::Changed { term: 5, role: Role::Candidate },
                Output::Persist { token: 1, operation: Operation::HardState(HardState { term: 5, vote: 7 }) }
            ]
        ));
        outputs.clear();
        raft.step(Input::Read(1), &mut outputs);
        assert!(matches!(outputs[..], [Output::NoPermit(1)]));
        outputs.clear();
        raft.step(Input::Durable(1), &mut outputs);
        assert!(matches!(outputs[..], [Output::Changed { role: Role::Leader, .. }, Output::Persist { .. }]));
        assert_eq!(raft.commit_index(), 10, "the no-op is not durable yet");
    }

    #[test]
    fn entries_of_an_earlier_term_commit_only_beneath_one_of_this_term() {
        let mut raft = leader();
        propose(&mut raft, 1, 10);
        let mut outputs = Vec::new();
        raft.step(Input::Campaign, &mut outputs);
        raft.step(Input::Durable(4), &mut outputs);
        assert_eq!(raft.role(), Role::Leader, "its vote is durable, and so is the entry of the term before");
        assert_eq!(raft.commit_index(), 11);
        outputs.clear();
        raft.step(Input::Durable(5), &mut outputs);
        let [Output::Committed(entries)] = &outputs[..] else { panic!("one batch") };
        assert_eq!(entries.iter().map(|entry| entry.term).collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn entries_commit_when_durable_and_in_order() {
        let mut raft = leader();
        let (verdict, outputs) = propose(&mut raft, 1, 10);
        assert_eq!(verdict, Verdict::Accepted);
        assert!(matches!(outputs[..], [Output::Persist { token: 3, .. }]));
        propose(&mut raft, 2, 10);
        let mut outputs = Vec::new();
        raft.step(Input::Durable(4), &mut outputs);
        let [Output::Committed(entries)] = &outputs[..] else { panic!("one batch") };
        assert_eq!(entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [12, 13]);
        assert_eq!(raft.commit_index(), 13);
    }

    #[test]
    fn too_many_uncommitted_bytes_are_refused_and_end_the_chain() {
        let mut raft = leader();
        assert_eq!(propose(&mut raft, 1, 900).0, Verdict::Accepted);
        assert_eq!(propose(&mut raft, 2, 200).0, Verdict::Refused(Refusal::Busy));
        raft.step(Input::Durable(3), &mut Vec::new());
        assert_eq!(propose(&mut raft, 3, 1).0, Verdict::Refused(Refusal::BrokenChain));
    }

    #[test]
    fn one_large_proposal_is_admitted_when_nothing_else_is_in_flight() {
        let mut raft = leader();
        assert_eq!(propose(&mut raft, 1, 5000).0, Verdict::Accepted);
    }

    #[test]
    fn a_proposal_of_another_term_is_refused() {
        let mut raft = leader();
        let id = ProposalId { term: 4, chain: 1, n: 1 };
        let mut outputs = Vec::new();
        raft.step(Input::Propose(Proposal { id, body: Bytes::new() }), &mut outputs);
        assert!(matches!(outputs[..], [Output::Proposed(_, Verdict::Refused(Refusal::NotLeader))]));
    }
}
