//! Peers that were not let in, or were cut off.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{LinkError, opening::Refusal};
use crate::{raft::NodeId, sync::Mutex};

/// How many are remembered: anybody may say to be any node.
const REMEMBERED_MAX: usize = 64;

/// Who was refused and why, the last time. A refusal is logged when it is not the one of before.
#[derive(Default)]
pub(super) struct Refusals(Mutex<State>);

#[derive(Default)]
struct State {
    last: BTreeMap<NodeId, LinkError>,
    count: u64,
}

impl Refusals {
    /// `from` (0 if it did not say who it is) was refused, which came from there.
    pub(super) fn add(&self, from: NodeId, address: Option<SocketAddr>, error: &LinkError) {
        let mut state = self.lock();
        state.count += 1;
        if state.last.get(&from) == Some(error) {
            return;
        }
        if state.last.len() == REMEMBERED_MAX && !state.last.contains_key(&from) {
            state.last.pop_first();
        }
        state.last.insert(from, error.clone());
        drop(state);
        let (peer, address) = (format!("{from:016x}"), address.map(tracing::field::display));
        match error {
            // As at every start: the peer is asked to wait.
            LinkError::Refused(Refusal::NoCluster) => {
                tracing::debug!(peer, address, %error, "refused a peer")
            }
            _ => tracing::warn!(peer, address, %error, "refused a peer"),
        }
    }

    /// `from` was let in.
    pub(super) fn forget(&self, from: NodeId) {
        self.lock().last.remove(&from);
    }

    /// How many there were, and the last ones.
    pub(super) fn status(&self) -> (u64, BTreeMap<NodeId, LinkError>) {
        let state = self.lock();
        (state.count, state.last.clone())
    }

    fn lock(&self) -> crate::sync::MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it has the refusals")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_and_remembered_within_bounds() {
        let refusals = Refusals::default();
        for from in 0..200 {
            refusals.add(from, None, &LinkError::Late);
            refusals.add(from, None, &LinkError::Late);
        }
        let (count, last) = refusals.status();
        assert_eq!((count, last.len()), (400, REMEMBERED_MAX));
        refusals.forget(199);
        assert!(!refusals.status().1.contains_key(&199));
    }
}
