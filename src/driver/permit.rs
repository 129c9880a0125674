//! Permits to read: the proof that this node led at an instant. **Rule (permit)**.
//!
//! The lease proves it without asking anyone. But `raft` is ahead of the executor: a node that was deposed, and leads again,
//! may hold the lease of its new term while what is published is still that of the old one, without what others have
//! answered in between. So a lease is good only for what has applied the first entry of its own leadership.

use std::sync::{Arc, atomic::Ordering};

use arc_swap::Guard;

use super::core::Core;
use crate::{
    bugs::{self, Bug},
    executor::{Clock, Published},
    log::{Index, Term},
};

/// Proof that this node led its shard, or heard from who does, at the instant the permit was made. It serves reads that had
/// been read from the socket before that, and no others: it cannot be cloned. **Rule (permit)**.
#[derive(Debug)]
pub struct ReadPermit {
    /// The term that this was proved of.
    pub(super) term: Term,
    /// What has to be applied before the reads are served.
    pub(super) index: Index,
}

impl Core {
    /// A permit for reads that have arrived, if this node holds a lease now, and what is published is of its leadership.
    pub fn lease_permit(&self, clock: &dyn Clock) -> Option<ReadPermit> {
        let term = self.term();
        let until = self.lease_until.load(Ordering::Acquire);
        // A single voter needs no clock.
        if until != u64::MAX && until <= clock.boot_ns() / 1000 {
            return None;
        }
        let index = self.lease_index.load(Ordering::Acquire);
        let published = self.store().load();
        // The leadership may have ended since the lease was looked at: it has no index then.
        let has_begun = index != 0 && index <= published.view.index();
        let is_of_leadership = has_begun || bugs::on(Bug::LeaseOnOldView);
        (published.clock.is_some() && is_of_leadership)
            .then(|| ReadPermit { term, index: index.min(published.view.index()) })
    }

    /// The permit that `raft` gave ([`super::Errand::Permit`]) to reads that asked for it in `term`.
    pub fn index_permit(&self, term: Term, index: Index) -> ReadPermit {
        ReadPermit { term, index }
    }

    /// What may be read with `permit`; none if that is not applied yet, or if the term has changed since. In a later term this
    /// node may have applied what its new leader has committed and not applied: who reads there by the lease would then see
    /// less than was seen here before.
    pub fn published(&self, permit: &ReadPermit) -> Option<Guard<Arc<Published>>> {
        let published = self.store().load();
        // After the view: what a later term has committed is applied after the term has changed.
        let is_of_term = permit.term == self.term() || bugs::on(Bug::PermitOfEarlierTerm);
        (is_of_term && permit.index <= published.view.index()).then_some(published)
    }
}
