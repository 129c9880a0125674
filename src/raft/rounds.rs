//! Rounds of heartbeats: what their answers prove of the leader. **Rule (permit)** and **rule (promise and lease)** of the
//! design; Raft thesis §6.4.
//!
//! A round that a majority has answered proves that this node led when the round was *sent*. So it serves the reads that
//! had arrived before that; and since whoever answers promises its vote to nobody else for a while, the node leads for that
//! while, less what clocks may differ, and serves reads without asking anyone.

use std::collections::{BTreeMap, VecDeque};

use super::{configuration::Configuration, message::NodeId};
use crate::{
    bugs::{self, Bug},
    log::Index,
};

/// Who waits for a proof of leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Reads of this node, by their number.
    Here(u64),
    /// Reads of a follower, by its number.
    There(NodeId, u64),
}

/// A read that waits. What it has to see is fixed when it arrives (E4 of the list of bugs: never when the answers come).
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) reader: Reader,
    pub(super) index: Index,
}

/// The rounds of one leadership.
///
/// Invariants: rounds are counted up and never used again; `sent` holds those after `confirmed`.
#[derive(Debug)]
pub(super) struct Rounds {
    round: u64,
    sent: VecDeque<(u64, u64)>,
    answered: BTreeMap<NodeId, u64>,
    confirmed: u64,
    /// When the confirmed round was sent; none if no round of this configuration is confirmed.
    lease_from: Option<u64>,
    /// When a majority was last known to listen.
    heard_at: u64,
    /// Reads, with the first round that was sent after they came.
    reads: VecDeque<(u64, Read)>,
}

impl Rounds {
    /// The rounds of a leadership that begins `now`, after `round`, the last one of any before.
    pub(super) fn new(round: u64, now: u64) -> Self {
        Self {
            round,
            sent: VecDeque::new(),
            answered: BTreeMap::new(),
            confirmed: round,
            lease_from: None,
            heard_at: now,
            reads: VecDeque::new(),
        }
    }

    /// The last round that was sent.
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// Begins the next round.
    pub(super) fn send(&mut self, now: u64) -> u64 {
        self.round += 1;
        self.sent.push_back((self.round, now));
        self.round
    }

    /// Lets a read wait for a round that is sent after this. Returns whether one has to be sent for it now; else there will be
    /// one when the round that is under way has ended.
    pub(super) fn wait(&mut self, read: Read) -> bool {
        let first = if bugs::on(Bug::RaftRoundServesLaterReads) { self.round } else { self.round + 1 };
        self.reads.push_back((first, read));
        self.confirmed == self.round
    }

    /// Whether no round is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.confirmed == self.round
    }

    /// Whether reads wait for a round that has not been sent.
    pub(super) fn wants_round(&self) -> bool {
        self.reads.back().is_some_and(|(round, _)| self.round < *round)
    }

    /// Takes the answer of a follower.
    pub(super) fn answer(&mut self, from: NodeId, round: u64) {
        assert!(round <= self.round, "a round was answered that was never sent");
        let answered = self.answered.entry(from).or_default();
        *answered = round.max(*answered);
    }

    /// Counts the answers, with that of `leader` itself. The reads that are proved by them are in `proved` afterwards.
    pub(super) fn count(
        &mut self,
        now: u64,
        configuration: &Configuration,
        leader: NodeId,
        proved: &mut Vec<Read>,
    ) {
        let reached = self.reached(configuration, leader);
        while let Some(&(round, sent_at)) = self.sent.front() {
            if reached < round {
                break;
            }
            self.confirmed = round;
            self.lease_from = Some(if bugs::on(Bug::RaftLeaseFromAnswer) { now } else { sent_at });
            self.heard_at = self.heard_at.max(sent_at);
            self.sent.pop_front();
        }
        while let Some(&(round, read)) = self.reads.front() {
            if self.confirmed < round {
                break;
            }
            proved.push(read);
            self.reads.pop_front();
        }
    }

    /// Forgets what was proved to voters who may decide nothing now.
    pub(super) fn reconfigure(&mut self, configuration: &Configuration, leader: NodeId, now: u64) {
        if self.reached(configuration, leader) < self.confirmed {
            self.lease_from = None;
            self.heard_at = now;
        }
    }

    fn reached(&self, configuration: &Configuration, leader: NodeId) -> u64 {
        configuration.reached(|id| match id == leader {
            true => self.round,
            false => self.answered.get(&id).copied().unwrap_or(0),
        })
    }

    /// When the round was sent that the lease counts from.
    pub(super) fn lease_from(&self) -> Option<u64> {
        self.lease_from
    }

    /// When a majority was last known to listen.
    pub(super) fn heard_at(&self) -> u64 {
        self.heard_at
    }

    /// All reads that wait, to be refused.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = Read> {
        self.reads.drain(..).map(|(_, read)| read)
    }
}
