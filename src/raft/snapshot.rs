//! Snapshots, as far as the protocol is concerned (Raft §7): who needs one, and what installing one means. The state itself is
//! moved by others.

use super::{
    configuration::{Configuration, History},
    core::{Output, Raft, State},
    message::{Body, NodeId},
};
use crate::{
    bugs::{self, Bug},
    log::{Index, Operation, Position, Term},
};

/// A snapshot that was received whole, and not installed yet.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The leader that sent it.
    pub from: NodeId,
    /// Its term.
    pub term: Term,
    /// What the snapshot holds: the state after this entry.
    pub position: Position,
    /// The membership there, whole (D3).
    pub configuration: Configuration,
}

/// What a node says to a snapshot before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotAnswer {
    /// It takes it.
    Wanted,
    /// It has all that the snapshot holds.
    Held,
    /// It is of a leader of the past.
    Late,
    /// Another one is being put in place.
    Busy,
}

/// A snapshot that is being put in place. No entry is taken and none is applied until that is done (D6).
#[derive(Debug)]
pub(super) struct Installing {
    offer: Offer,
}

impl Raft {
    /// What to say to the offer of a snapshot that ends at `position`, by the leader of `term`. [`Input::Snapshot`] judges again.
    ///
    /// [`Input::Snapshot`]: super::Input::Snapshot
    pub fn judge_snapshot(&self, term: Term, position: Position) -> SnapshotAnswer {
        if term < self.term() {
            SnapshotAnswer::Late
        } else if position.index <= self.commit_index {
            SnapshotAnswer::Held
        } else if self.installing.is_some() || self.resetting.is_some() {
            SnapshotAnswer::Busy
        } else {
            SnapshotAnswer::Wanted
        }
    }

    /// A snapshot was received whole: installs it, unless it has nothing new.
    pub(super) fn offered(&mut self, now: u64, offer: Offer, outputs: &mut Vec<Output>) {
        let position = offer.position;
        if offer.term < self.term() || self.installing.is_some() || self.resetting.is_some() {
            return outputs.push(Output::Discard(position));
        }
        if self.term() < offer.term || self.leader() != Some(offer.from) {
            assert!(self.term() < offer.term || self.leader().is_none(), "two nodes lead one term");
            self.follow(now, offer.term, Some(offer.from), outputs);
        }
        self.election_at = self.election_timeout(now);
        let known = position.index <= self.commit_index || self.tail.contains(position);
        if known && !bugs::on(Bug::RaftSnapshotOverLog) {
            // A log that has the entry has all before it, and may have more (D1).
            self.commit(position.index.max(self.commit_index));
            outputs.push(Output::Discard(position));
            let body = Body::Matched { index: position.index };
            return self.send_durably(offer.from, body, self.persistence.token_of(position.index), outputs);
        }
        assert!(self.commit_index < position.index, "a snapshot would undo what is committed");
        outputs.push(Output::Install(position));
        self.installing = Some(Installing { offer });
    }

    /// The snapshot is in place: the log begins after it. Neither the term nor the vote changes (A4).
    pub(super) fn installed(&mut self, now: u64, position: Position, outputs: &mut Vec<Output>) {
        let Installing { offer } =
            self.installing.take().expect("only what was to be installed is installed");
        assert!(offer.position == position, "another snapshot was installed");
        self.tail.reset(position);
        self.sizes.reset();
        self.persistence.reset(position.index);
        self.commit_index = position.index;
        self.handed_out = position.index;
        self.flushed = position.index;
        let configuration = match bugs::on(Bug::RaftSnapshotWithoutMembership) {
            true => self.history.newest().clone(),
            false => offer.configuration,
        };
        self.removed |= self.history.is_member(self.id) && !configuration.contains(self.id);
        self.history = History::new((position.index, configuration), Vec::new());
        outputs.push(self.configured());
        let token = self.persist(now, Operation::Reset(position), outputs);
        self.resetting = Some(token);
        // To whoever leads now: the sender may be deposed, and then this says nothing to it.
        let to = self.leader().unwrap_or(offer.from);
        self.send_durably(to, Body::Matched { index: position.index }, token, outputs);
    }

    /// The follower has all up to `held`, as it says; or it has not got the snapshot.
    pub(super) fn snapshot_ended(&mut self, id: NodeId, held: Option<Index>) {
        if let State::Leader(leader) = &mut self.state
            && let Some(progress) = leader.progress.get_mut(&id)
            && progress.mode() == super::progress::Mode::Snapshot
        {
            assert!(held <= Some(self.tail.last().index), "a snapshot holds what its leader does not");
            progress.snapshot_ended(held);
        }
    }
}
