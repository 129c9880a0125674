//! Changes of the membership (Raft thesis §4): one at a time, through a joint configuration if the voters change, which the
//! leader leaves by itself.

use bytes::Bytes;

use super::{
    configuration::{Change, ChangeRefusal, Configuration},
    core::{Output, Raft, State},
    leader::Leader,
};
use crate::{
    bugs::{self, Bug},
    log::{EntryKind, Index},
};

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeAnswer {
    /// It is complete and committed.
    Done,
    /// It was not begun.
    Refused(ChangeRefusal),
    /// The leader is not the leader any more: whether the change is made is for the next to say.
    Unknown,
}

/// The change that somebody waits for.
#[derive(Debug)]
pub(super) struct Pending {
    number: u64,
}

impl Leader {
    pub(super) fn give_up_change(&mut self, outputs: &mut Vec<Output>) {
        if let Some(Pending { number }) = self.change.take() {
            outputs.push(Output::Changing(number, ChangeAnswer::Unknown));
        }
    }
}

impl Raft {
    /// Begins a change, or says why not.
    pub(super) fn change(&mut self, now: u64, number: u64, changes: &[Change], outputs: &mut Vec<Output>) {
        match self.next_configuration(changes) {
            Ok(next) => {
                if let State::Leader(leader) = &mut self.state {
                    leader.change = Some(Pending { number });
                }
                self.configure(now, next.encode(), outputs);
            }
            Err(refusal) => outputs.push(Output::Changing(number, ChangeAnswer::Refused(refusal))),
        }
    }

    fn next_configuration(&self, changes: &[Change]) -> Result<Configuration, ChangeRefusal> {
        let State::Leader(leader) = &self.state else { return Err(ChangeRefusal::NotLeader) };
        // Until an entry of its term is committed the leader does not know which change was committed last (F1).
        let unchecked = bugs::on(Bug::RaftChangeUnchecked);
        if (self.commit_index < leader.noop || leader.transfer.is_some()) && !unchecked {
            return Err(ChangeRefusal::NotReady);
        }
        let configuration = self.history.newest();
        let pending = self.commit_index < self.history.newest_index() || leader.change.is_some();
        if (pending && !unchecked) || configuration.is_joint() {
            return Err(ChangeRefusal::Pending);
        }
        let next = configuration.changed(changes)?;
        let last = self.tail.last().index;
        for change in changes {
            if let Change::Promote(id) = change
                && !leader.progress.get(id).is_some_and(|progress| progress.lacks_little(last))
            {
                return Err(ChangeRefusal::Behind(*id));
            }
        }
        Ok(next)
    }

    /// Appends a configuration, which is in force at once.
    fn configure(&mut self, now: u64, body: Bytes, outputs: &mut Vec<Output>) {
        let index: Index = self.tail.last().index + 1;
        self.append_own(now, EntryKind::Configuration, body, outputs);
        assert!(self.history.newest_index() == index, "a configuration is in force when it is appended");
        self.advance_commit(now, outputs);
    }

    /// The commit index has moved: leaves a joint configuration that is committed, whoever began it (F3), and ends the
    /// leadership of a node that is no voter any more (thesis §4.2.2).
    pub(super) fn continue_change(&mut self, now: u64, outputs: &mut Vec<Output>) {
        if self.commit_index < self.history.newest_index() {
            return;
        }
        let configuration = self.history.newest();
        if configuration.is_joint() {
            let body = configuration.left().encode();
            return self.configure(now, body, outputs);
        }
        let votes = configuration.is_voter(self.id);
        let State::Leader(leader) = &mut self.state else { return };
        if let Some(Pending { number }) = leader.change.take() {
            outputs.push(Output::Changing(number, ChangeAnswer::Done));
        }
        if !votes {
            self.follow(now, self.term(), None, outputs);
        }
    }
}
