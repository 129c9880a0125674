//! Linearizable reads without entries (Raft thesis §6.4): from the lease, or after a round of heartbeats; for this node and
//! for followers that ask. **Rule (permit)** of the design.

use super::{
    core::{Output, Raft, State},
    leader::Leader,
    message::{Body, NodeId},
    rounds::{Read, Reader},
};
use crate::{
    bugs::{self, Bug},
    log::Index,
};

/// Reads that came before the leader had committed anything in its term: what is committed by then is not known yet (E2).
pub(super) type Waiting = Vec<Reader>;

impl Leader {
    pub(super) fn give_up_reads(&mut self, outputs: &mut Vec<Output>) {
        let waiting = self.waiting.drain(..).chain(self.rounds.give_up().map(|read| read.reader));
        outputs.extend(waiting.filter_map(|reader| match reader {
            Reader::Here(number) => Some(Output::NoPermit(number)),
            // The follower hears of the new term, or gives up by itself.
            Reader::There(..) => None,
        }));
    }
}

impl Raft {
    /// Until when `leader` leads by what was promised to it.
    pub(super) fn lease_of(&self, leader: &Leader) -> u64 {
        if leader.lease_over || self.commit_index < leader.noop {
            return 0;
        }
        if self.is_alone() {
            return u64::MAX;
        }
        leader.rounds.lease_from().map_or(0, |sent_at| sent_at + self.timing.lease_us())
    }

    /// Reads of this node have arrived.
    pub(super) fn read(&mut self, now: u64, number: u64, outputs: &mut Vec<Output>) {
        match (&self.state, self.leader()) {
            (State::Leader(_), _) => self.prove(now, Reader::Here(number), outputs),
            (_, Some(leader)) => {
                self.asked.push((number, now));
                self.send(leader, Body::ReadIndex { read: number }, outputs);
            }
            (_, None) => outputs.push(Output::NoPermit(number)),
        }
    }

    /// A follower asks.
    pub(super) fn read_for(&mut self, now: u64, from: NodeId, read: u64, outputs: &mut Vec<Output>) {
        match &self.state {
            State::Leader(_) => self.prove(now, Reader::There(from, read), outputs),
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => {
                self.send_durably(from, Body::ReadIndexReply { read, index: None, commit: 0 }, 0, outputs);
            }
        }
    }

    /// Proves that this node leads, now or after the next round.
    fn prove(&mut self, now: u64, reader: Reader, outputs: &mut Vec<Output>) {
        let lease_until = self.lease_until();
        let State::Leader(leader) = &mut self.state else { return };
        if self.commit_index < leader.noop {
            return leader.waiting.push(reader);
        }
        let index = if bugs::on(Bug::RaftReadIndexForgotten) { 0 } else { self.commit_index };
        let read = Read { reader, index };
        if now < lease_until {
            self.proved(read, outputs);
        } else if leader.rounds.wait(read) {
            self.beat(now, outputs);
        }
    }

    /// The first entry of the term is committed, and so all before: reads that waited for that begin.
    pub(super) fn serve_reads_of_term(&mut self, now: u64, outputs: &mut Vec<Output>) {
        let State::Leader(leader) = &mut self.state else { return };
        if self.commit_index < leader.noop || leader.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut leader.waiting);
        waiting.into_iter().for_each(|reader| self.prove(now, reader, outputs));
    }

    /// Counts the answers to the rounds that were sent.
    pub(super) fn count_round(&mut self, now: u64, outputs: &mut Vec<Output>) {
        let State::Leader(leader) = &mut self.state else { return };
        let mut proved = Vec::new();
        leader.rounds.count(now, self.history.newest(), self.id, &mut proved);
        proved.into_iter().for_each(|read| self.proved(read, outputs));
    }

    /// Whether reads wait for a round that nobody has sent, since another is answered now.
    pub(super) fn leader_wants_round(&self) -> bool {
        match &self.state {
            State::Leader(leader) => leader.rounds.wants_round() && leader.rounds.is_settled(),
            State::Follower { .. } | State::PreCandidate { .. } | State::Candidate { .. } => false,
        }
    }

    fn proved(&mut self, read: Read, outputs: &mut Vec<Output>) {
        let index = read.index;
        match read.reader {
            Reader::Here(number) => outputs.push(Output::Permit { number, index }),
            Reader::There(to, read) => {
                if let State::Leader(leader) = &mut self.state {
                    leader.read_elsewhere = true;
                }
                let known = self.progress(to).map_or(0, super::progress::Progress::match_index);
                let commit = self.commit_index.min(known);
                self.send(to, Body::ReadIndexReply { read, index: Some(index), commit }, outputs);
            }
        }
    }

    /// The leader has answered a read of this node.
    pub(super) fn read_answered(
        &mut self,
        read: u64,
        index: Option<Index>,
        commit: Index,
        outputs: &mut Vec<Output>,
    ) {
        if self.installing.is_none() {
            self.commit(commit);
        }
        let Some(at) = self.asked.iter().position(|(number, _)| *number == read) else { return };
        let (number, _) = self.asked.remove(at);
        outputs.push(match index {
            Some(index) => Output::Permit { number, index },
            None => Output::NoPermit(number),
        });
    }

    /// Whoever was asked may not answer any more.
    pub(super) fn forget_asked(&mut self, outputs: &mut Vec<Output>) {
        outputs.extend(self.asked.drain(..).map(|(number, _)| Output::NoPermit(number)));
    }
}
