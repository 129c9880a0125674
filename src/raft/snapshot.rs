//! Snapshots, as far as the protocol is concerned (Raft §7): who needs one, and what installing one means. The state itself is
//! moved by others.

use super::{
    configuration::{Configuration, History},
    core::{Output, Raft, State},
    message::{Body, NodeId},
};
use crate::{
    bugs::{self, Bug},
    log::{Operation, Position, Term},
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

/// A snapshot that is being put in place. No entry is taken and none is applied until that is done (D6).
#[derive(Debug)]
pub(super) struct Installing {
    offer: Offer,
}

impl Raft {
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

    /// If the follower has the snapshot, its answer says so, or the next probe finds out.
    pub(super) fn snapshot_ended(&mut self, id: NodeId) {
        if let State::Leader(leader) = &mut self.state
            && let Some(progress) = leader.progress.get_mut(&id)
            && progress.mode() == super::progress::Mode::Snapshot
        {
            // Not before it answers the next heartbeat.
            progress.probe();
            progress.sent(None, 0);
        }
    }
}
