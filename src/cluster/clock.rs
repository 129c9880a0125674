//! Whose wall clock is wrong.
//!
//! A leader's wall clock decides when keys are due. So a node whose clock is far from that of the majority should not lead
//! (design, rule (time)).

use std::collections::BTreeSet;

use crate::raft::{Configuration, NodeId};

/// How far the clock of a node may be from those of the others, in ms.
pub const CLOCK_APART_MAX_MS: u64 = 5_000;

/// Whether a majority of the voters agree that the clock of `own` is wrong: it is too far ahead of all of theirs, or too far
/// behind. `ahead_ms` says by how much the clock of another node is ahead of that of `own`, if that is known.
pub fn is_clock_wrong(
    configuration: &Configuration,
    own: NodeId,
    ahead_ms: impl Fn(NodeId) -> Option<i64>,
) -> bool {
    let said =
        configuration.voters().into_iter().filter(|id| *id != own).filter_map(|id| Some((id, ahead_ms(id)?)));
    let far: Vec<_> = said.filter(|(_, ahead)| CLOCK_APART_MAX_MS < ahead.unsigned_abs()).collect();
    [true, false].into_iter().any(|is_ahead| {
        let agree: BTreeSet<_> =
            far.iter().filter(|(_, ahead)| ahead.is_positive() == is_ahead).map(|(id, _)| *id).collect();
        configuration.is_majority(|id| agree.contains(&id))
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_majority_knows_what_time_it_is() {
        let three = Configuration::of_voters([1, 2, 3].map(|id| (id, Bytes::new())));
        let wrong = |two: Option<i64>, three_: Option<i64>| {
            is_clock_wrong(&three, 1, |id| if id == 2 { two } else { three_ })
        };
        assert!(wrong(Some(-3_600_000), Some(-3_599_000)), "this node is an hour ahead");
        assert!(wrong(Some(6_000), Some(6_000)), "this node is behind");
        assert!(!wrong(Some(100), Some(-200)));
        assert!(!wrong(Some(6_000), Some(100)), "the other one is wrong");
        assert!(!wrong(Some(-6_000), Some(6_000)), "nobody agrees");
        assert!(!wrong(Some(6_000), None), "one is no majority");
        let one = Configuration::of_voters([(1, Bytes::new())]);
        assert!(!is_clock_wrong(&one, 1, |_| None));
    }
}
