//! How a member that was removed hears of it (Raft thesis §4.2.2): the leader goes on sending it entries and heartbeats until it
//! has answered one that says that the entry without it is committed, or for a while. Who knows that stands for no election.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    core::{Output, Raft, State},
    message::NodeId,
};
use crate::log::Index;

/// How long a member that was removed is told so, in µs: it may be gone for ever.
const TELLING_US: u64 = 10_000_000;

/// A member that was removed, and may not know it.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    /// The entry with the membership without it.
    index: Index,
    /// The first round of heartbeats that said that this is committed.
    told: Option<u64>,
    /// When it is given up.
    until: u64,
    record: Bytes,
}

impl Leaving {
    pub(super) fn new(index: Index, now: u64, record: Bytes) -> Self {
        Self { index, told: None, until: now + TELLING_US, record }
    }

    /// A heartbeat of this round says what is committed.
    pub(super) fn tell(&mut self, round: u64, commit: Index) {
        if self.index <= commit {
            self.told.get_or_insert(round);
        }
    }

    fn knows(&self, round: u64) -> bool {
        self.told.is_some_and(|told| told <= round)
    }
}

impl Raft {
    /// Says who belongs to the cluster, and to whom this node has something to say although they do not.
    pub(super) fn configured(&self) -> Output {
        let leaving = match &self.state {
            State::Leader(leader) => leader
                .progress
                .iter()
                .filter_map(|(id, progress)| Some((*id, progress.leaving.as_ref()?.record.clone())))
                .collect(),
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => BTreeMap::new(),
        };
        Output::Configured { configuration: self.history.newest().clone(), leaving }
    }

    /// Lets go of `from` if it was removed and has answered the round that said so.
    pub(super) fn part_with(&mut self, from: NodeId, round: u64, outputs: &mut Vec<Output>) {
        self.part(|id, leaving| id == from && leaving.knows(round), outputs);
    }

    /// Lets go of those who were removed and have not been heard for long.
    pub(super) fn give_up_leaving(&mut self, now: u64, outputs: &mut Vec<Output>) {
        self.part(|_, leaving| leaving.until <= now, outputs);
    }

    fn part(&mut self, is_over: impl Fn(NodeId, &Leaving) -> bool, outputs: &mut Vec<Output>) {
        let State::Leader(leader) = &mut self.state else { return };
        let before = leader.progress.len();
        leader
            .progress
            .retain(|id, progress| !progress.leaving.as_ref().is_some_and(|leaving| is_over(*id, leaving)));
        if leader.progress.len() < before {
            outputs.push(self.configured());
        }
    }

    /// Whether this node leads and has somebody to tell that they were removed.
    pub(super) fn has_leaving(&self) -> bool {
        match &self.state {
            State::Leader(leader) => leader.progress.values().any(|progress| progress.leaving.is_some()),
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => false,
        }
    }
}
