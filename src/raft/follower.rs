//! What a follower does with the leader's messages (Raft §5.3).

use super::{
    core::{Output, Raft},
    message::{Body, NodeId},
};
use crate::{
    bugs::{self, Bug},
    log::{Entry, Index, Operation, Position},
};

impl Raft {
    /// Makes the log agree with the leader's up to the last of `entries`, or says why that cannot be.
    pub(super) fn appended(
        &mut self,
        now: u64,
        from: NodeId,
        mut previous: Position,
        commit: Index,
        mut entries: Vec<Entry>,
        outputs: &mut Vec<Output>,
    ) {
        self.election_at = self.election_timeout(now);
        if self.installing.is_some() {
            return;
        }
        if previous.index < self.commit_index {
            // What is committed agrees, even if it is not in the log any more (B6).
            entries.retain(|entry| self.commit_index < entry.index);
            let term = self.tail.term(self.commit_index).expect("the last committed entry is known");
            previous = Position { index: self.commit_index, term };
        }
        if !self.tail.contains(previous) {
            let hint = self.tail.agreement(previous);
            return self.send_durably(from, Body::Conflict { rejected: previous.index, hint }, 0, outputs);
        }
        // Only what the message covers is acknowledged: what this log has beyond it may be of another leader (B12).
        let mut covered = previous.index + entries.len() as u64;
        self.take_entries(now, previous, entries, outputs);
        self.commit(commit.min(covered));
        if bugs::on(Bug::RaftAcknowledgeLast) {
            covered = self.tail.last().index;
        }
        let token = match bugs::on(Bug::RaftAcknowledgeBeforeDurable) {
            true => 0,
            false => self.persistence.token_of(covered),
        };
        self.send_durably(from, Body::Matched { index: covered }, token, outputs);
    }

    /// Appends what is new. Only an entry that contradicts one here drops that and what follows it: a message that is old
    /// says nothing of what came later (B4).
    fn take_entries(&mut self, now: u64, previous: Position, entries: Vec<Entry>, outputs: &mut Vec<Output>) {
        let mut expected = previous.index;
        let behind = expected + entries.len() as u64 + 1;
        if bugs::on(Bug::RaftTruncateUnchecked) && behind <= self.tail.last().index {
            self.truncate(now, behind.max(self.commit_index + 1), outputs);
        }
        for entry in entries {
            expected += 1;
            assert!(entry.index == expected, "entries have no gaps");
            if self.tail.contains(entry.position()) {
                continue;
            }
            if entry.index <= self.tail.last().index {
                self.truncate(now, entry.index, outputs);
            }
            self.append(now, entry, outputs);
        }
    }

    fn truncate(&mut self, now: u64, from: Index, outputs: &mut Vec<Output>) {
        assert!(self.commit_index < from, "the leader contradicts what is committed");
        let configured = self.history.newest_index();
        self.tail.truncate(from);
        self.sizes.truncate(from);
        self.persistence.truncate(from);
        self.history.truncate(from);
        if from <= configured {
            outputs.push(self.configured());
        }
        self.persist(now, Operation::Truncate { from }, outputs);
    }

    /// Takes the word that entries up to `index` are committed, of which this log is known to have them.
    pub(super) fn commit(&mut self, index: Index) {
        if self.commit_index < index {
            let unknown = bugs::on(Bug::RaftHeartbeatCommitsUnknown);
            assert!(index <= self.tail.last().index || unknown, "told to commit what is not in the log");
            let index = index.min(self.tail.last().index);
            self.commit_index = index;
            self.removed |= self.history.committed(index, self.id);
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        now: u64,
        from: NodeId,
        round: u64,
        promise_us: u64,
        commit: Index,
        outputs: &mut Vec<Output>,
    ) {
        self.election_at = self.election_timeout(now);
        self.promised_until = self.promised_until.max(now + promise_us.min(self.timing.promise_us_max));
        if self.installing.is_none() {
            self.commit(commit);
        }
        self.send_durably(from, Body::HeartbeatReply { round, lag: self.lag }, 0, outputs);
    }
}
