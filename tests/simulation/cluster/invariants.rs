//! What must hold after every step (Raft Figure 3): the ledger is what an onlooker knows who sees all machines at once.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use sisyphusdb::{
    log::{Index, LogReader, Position, Term},
    raft::{Body, Configuration, Message, NodeId, Role, Tail},
};

use super::Cluster;

/// The states of nodes are compared at every so many entries.
const STATES_EVERY: Index = 32;

/// The shape of a log: what it starts after, its last entry, and the first entries of each term.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    start: Index,
    last: Index,
    runs: Vec<Position>,
}

impl Shape {
    fn of(reader: &LogReader) -> Self {
        Self { start: reader.first_index() - 1, last: reader.last_index(), runs: reader.terms() }
    }

    /// Whether the log has the last entry of `other`.
    pub(super) fn has_what_ends(&self, other: &Self) -> bool {
        other.runs.last().is_none_or(|run| self.holds(other.last, run.term))
    }

    /// Whether the log, or the tables below it, have this entry.
    fn holds(&self, index: Index, term: Term) -> bool {
        let run = self.runs.iter().rev().find(|run| run.index <= index);
        index <= self.start || (index <= self.last && run.is_some_and(|run| run.term == term))
    }
}

/// What happened, in all the time and everywhere.
#[derive(Default)]
pub(super) struct Ledger {
    leaders: BTreeMap<Term, NodeId>,
    /// Who got a node's vote in a term.
    votes: BTreeMap<(NodeId, Term), NodeId>,
    /// The contents of each entry that was ever sent, as a hash, and the term of the entry before it.
    entries: HashMap<(Index, Term), (u64, Term)>,
    /// The term of each committed entry, and the term in which it was committed.
    committed: Vec<(Term, Term)>,
    /// The contents of the tables after an entry, as a hash.
    states: BTreeMap<Index, u64>,
}

impl Ledger {
    /// A message is on its way. Whatever it says is durable where it comes from.
    pub(super) fn said(&mut self, message: &Message, told_term: &mut Term) {
        let (from, term) = (message.from, message.term);
        // A question promises nothing, in whatever term it is asked.
        if !matches!(message.body, Body::PreVote { .. } | Body::PreVoteReply { .. } | Body::ReadIndex { .. })
        {
            *told_term = term.max(*told_term);
        }
        match &message.body {
            Body::Vote { .. } => self.votes(from, term, from),
            Body::VoteReply { granted: true } => self.votes(from, term, message.to),
            Body::Append { previous, entries, .. } => {
                let mut before = previous.term;
                for entry in entries {
                    let mut hasher = DefaultHasher::new();
                    (entry.kind as u8, &entry.body[..]).hash(&mut hasher);
                    let seen = (hasher.finish(), before);
                    let known = self.entries.entry((entry.index, entry.term)).or_insert(seen);
                    assert!(*known == seen, "two entries {} of term {}", entry.index, entry.term);
                    before = entry.term;
                }
            }
            _ => {}
        }
    }

    fn votes(&mut self, voter: NodeId, term: Term, candidate: NodeId) {
        let known = *self.votes.entry((voter, term)).or_insert(candidate);
        assert!(known == candidate, "node {voter} voted for {known} and {candidate} in term {term}");
    }

    /// A node leads: nobody else ever did in this term, and it has all that was committed in earlier ones.
    pub(super) fn leads(&mut self, id: NodeId, term: Term, tail: &Tail) {
        let known = *self.leaders.entry(term).or_insert(id);
        assert!(known == id, "nodes {known} and {id} lead term {term}");
        let earlier = self.committed.partition_point(|(_, committed_in)| *committed_in < term);
        if let Some(newest) = earlier.checked_sub(1).map(|at| self.committed[at].0) {
            let has = earlier as Index <= tail.start().index || tail.term(earlier as Index) == Some(newest);
            assert!(has, "node {id} leads term {term} without entry {earlier}, which was committed before");
        }
    }

    /// A node knows that entries after `from` up to `to` are committed; `term_of` is what its log says of them.
    fn committed(
        &mut self,
        (from, to): (Index, Index),
        in_term: Term,
        term_of: impl Fn(Index) -> Option<Term>,
    ) {
        for index in from + 1..=to {
            let Some(term) = term_of(index) else { continue };
            let at = usize::try_from(index - 1).expect("runs are short");
            match self.committed.get(at) {
                Some((known, _)) => {
                    assert!(*known == term, "entries {index} of terms {known} and {term} are committed");
                }
                None => {
                    assert!(
                        at == self.committed.len(),
                        "entry {index} is committed, and not those before it"
                    );
                    let newest = self.committed.last().map_or(0, |(_, in_term)| *in_term);
                    self.committed.push((term, in_term.max(newest)));
                }
            }
        }
    }
}

impl Cluster {
    /// Looks at a node after a step of it.
    pub(super) fn observe(&mut self, at: usize) {
        if let Some((index, term, configuration)) = self.note_committed(at) {
            let stores = |id| {
                self.machines.iter().any(|machine| machine.id == id && machine.stored.holds(index, term))
            };
            assert!(configuration.is_majority(stores), "entry {index} is committed and not on a majority");
        }
    }

    /// Notes what a node has learnt to be committed. Returns the last of it if it was the node that decided it, and who had
    /// to have it.
    pub(super) fn note_committed(&mut self, at: usize) -> Option<(Index, Term, Configuration)> {
        let up = self.machines[at].up.as_mut()?;
        let before = up.commit_index;
        up.core.with_raft(|raft| {
            let commit_index = raft.commit_index();
            if commit_index == before {
                return None;
            }
            up.commit_index = commit_index;
            self.ledger.committed((before, commit_index), raft.term(), |index| raft.tail().term(index));
            let term = raft.tail().term(commit_index)?;
            (raft.role() == Role::Leader).then(|| (commit_index, term, raft.configuration().clone()))
        })
    }

    /// The log of a node is durable as it is.
    pub(super) fn note_stored(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let Some(up) = &machine.up else { return };
        let log = up.core.log.take_idle().expect("nobody else has it");
        machine.stored = Shape::of(&log.reader());
        up.core.log.put_back(log);
        self.observe(at);
    }

    /// What a node has applied is in its log, and makes of its tables what it makes of all others'.
    pub(super) fn note_state(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let Some(up) = &mut machine.up else { return };
        let published = up.core.store().published();
        let index = published.view.index();
        if index == up.applied_index {
            return;
        }
        assert!(up.applied_index < index, "node {} went back in what it has applied", machine.id);
        up.applied_index = index;
        let is_stored = index <= machine.stored.last || index == published.view.flushed().index;
        assert!(is_stored, "node {} has applied entry {index}, which its log does not have", machine.id);
        assert!(index <= up.commit_index, "node {} has applied what is not committed", machine.id);
        if index.is_multiple_of(STATES_EVERY) {
            let mut hasher = DefaultHasher::new();
            self.contents(at).hash(&mut hasher);
            let state = hasher.finish();
            let known = *self.ledger.states.entry(index).or_insert(state);
            assert!(known == state, "the nodes' states after entry {index} differ");
        }
    }
}
