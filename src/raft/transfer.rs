//! The leader hands over (Raft thesis §3.10): it stops, brings the other up to date, and tells it to stand for election.

use super::{
    core::{Output, Raft, State},
    message::{Body, NodeId},
    progress::{Mode, Progress},
};
use crate::{
    bugs::{self, Bug},
    log::Term,
};

/// A transfer that is under way.
#[derive(Debug)]
pub(super) struct Transfer {
    to: NodeId,
    /// When it is given up.
    until: u64,
    /// The executor evaluates nothing, and all that it proposed is applied and answered.
    paused: bool,
    offered: bool,
}

impl Raft {
    /// Begins to hand the leadership to `to`, or to the voter that lacks least of those that keep up. Nothing happens if there is none that is heard,
    /// or if this leadership has not begun for the executor, which could not pause then.
    pub(super) fn begin_transfer(&mut self, now: u64, to: Option<NodeId>, outputs: &mut Vec<Output>) {
        let until = now + self.timing.transfer_us();
        let configuration = self.history.newest();
        let State::Leader(leader) = &self.state else { return };
        if self.handed_out < leader.noop {
            return;
        }
        let voters = leader.progress.iter().filter(|(id, progress)| {
            configuration.is_voter(**id)
                && progress.mode() == Mode::Replicate
                && self.silent_us(**id, now).is_some_and(|silent| silent < self.timing.election_us)
                && to.is_none_or(|to| to == **id)
        });
        // Who lags behind with applying could not serve for a while, however much of the log it has.
        let Some((&to, _)) = voters.max_by_key(|(_, progress)| (progress.lag == 0, progress.match_index()))
        else {
            return;
        };
        let State::Leader(leader) = &mut self.state else { return };
        if leader.transfer.is_none() && leader.change.is_none() {
            leader.transfer = Some(Transfer { to, until, paused: false, offered: false });
            outputs.push(Output::Pause(true));
        }
    }

    /// The executor has paused as the leader of `term`: that of an earlier term says nothing of this one.
    pub(super) fn paused(&mut self, term: Term, outputs: &mut Vec<Output>) {
        if term == self.term()
            && let State::Leader(leader) = &mut self.state
            && let Some(transfer) = &mut leader.transfer
        {
            transfer.paused = true;
            self.offer_leadership(outputs);
        }
    }

    /// Tells the other to stand for election, if it has everything and nothing more will come. The lease ends before that is
    /// said, and does not come back in this term: the other need not wait for what was promised.
    pub(super) fn offer_leadership(&mut self, outputs: &mut Vec<Output>) {
        let (commit_index, last) = (self.commit_index, self.tail.last().index);
        let State::Leader(leader) = &mut self.state else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        let to = transfer.to;
        let has_all =
            leader.progress.get(&to).map(Progress::match_index) == Some(last) && commit_index == last;
        if transfer.paused && !transfer.offered && has_all {
            transfer.offered = true;
            leader.lease_over = !bugs::on(Bug::RaftLeaseAfterTransfer);
            self.send(to, Body::TimeoutNow, outputs);
        }
    }

    /// Gives a transfer up when it takes too long, and begins one when this node should not lead or cannot write.
    pub(super) fn tick_transfer(&mut self, now: u64, outputs: &mut Vec<Output>) {
        let State::Leader(leader) = &mut self.state else { return };
        if leader.transfer.as_ref().is_some_and(|transfer| transfer.until <= now) {
            leader.transfer = None;
            outputs.push(Output::Pause(false));
        } else if leader.transfer.is_none() && self.unfit {
            self.begin_transfer(now, None, outputs);
        }
    }
}
