//! What a leader does for its membership by itself: learners that have caught up begin to vote, and a node that came back
//! with an empty disk takes the place of the one that it was.
//!
//! A learner is added by itself or by an operator, and gets the log. When it has caught up it is made a voter, in **one**
//! joint change: instead of the dead voter whose name it has, or together with another, so that the voters stay odd
//! in number: an even number needs a greater majority and survives no more failures. A learner that is silent, and whose name
//! a living member has, is one of a disk that was wiped again: it is removed.

use std::time::Duration;

use bytes::Bytes;

use super::MemberRecord;
use crate::raft::{Change, Configuration, NodeId};

/// What a leader sees of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It lacks so little of the log that it may vote.
    pub has_caught_up: bool,
    /// It has not been heard of for so long.
    pub silent: Duration,
}

/// Says what a node changes by what it says of itself: it wants to be added if it is no member, or has another record by now.
/// `was_member` is whether it takes itself for one: who does and is none was removed, and has not heard of it.
pub fn wanted_by(
    configuration: &Configuration,
    node: NodeId,
    record: Bytes,
    was_member: bool,
) -> Option<Change> {
    match configuration.record(node) {
        _ if record.is_empty() => None,
        None => (!was_member).then_some(Change::Add(node, record)),
        Some(known) => (*known != record).then_some(Change::Update(node, record)),
    }
}

/// Says what the leader `leader` changes next: nothing, most of the time. `seen` tells of every other member. A voter whose
/// name another node has by now is replaced when it was silent for `replace_after`.
pub fn next_change(
    configuration: &Configuration,
    leader: NodeId,
    seen: impl Fn(NodeId) -> Seen,
    replace_after: Option<Duration>,
) -> Vec<Change> {
    if configuration.is_joint() {
        return Vec::new();
    }
    let name = |id: NodeId| {
        let record = MemberRecord::decode(configuration.record(id)?.clone()).ok()?;
        (!record.name.is_empty()).then_some(record.name)
    };
    let voters = configuration.voters();
    let learners: Vec<NodeId> = configuration.ids().into_iter().filter(|id| !voters.contains(id)).collect();
    let is_silent = |id| id != leader && replace_after.is_some_and(|after| after <= seen(id).silent);
    let is_replaced = |learner: NodeId| {
        let others = configuration.ids().into_iter().filter(|id| *id != learner);
        let own = name(learner);
        own.is_some() && is_silent(learner) && others.into_iter().any(|id| name(id) == own && !is_silent(id))
    };
    if let Some(learner) = learners.iter().find(|learner| is_replaced(**learner)) {
        return vec![Change::Remove(*learner)];
    }
    let mut ready = Vec::new();
    for learner in learners {
        let own = name(learner);
        let predecessor = voters.iter().copied().find(|voter| own.is_some() && name(*voter) == own);
        match predecessor {
            // It waits: the one before it may live after all, with a name that two nodes claim.
            Some(voter) if is_silent(voter) && seen(learner).has_caught_up => {
                return vec![Change::Promote(learner), Change::Remove(voter)];
            }
            Some(_) => {}
            None if seen(learner).has_caught_up => ready.push(learner),
            None => {}
        }
    }
    // One makes an even number odd, two keep it odd.
    let wanted = if voters.len().is_multiple_of(2) { 1 } else { 2 };
    match ready.len() < wanted {
        true => Vec::new(),
        false => ready.into_iter().take(wanted).map(Change::Promote).collect(),
    }
}

/// Says why `member` may not be removed although an operator wants it: without it, no majority would be heard of. None if it
/// may. A member that is not heard of itself is never needed.
pub fn refuse_removal(
    configuration: &Configuration,
    leader: NodeId,
    member: NodeId,
    is_heard: impl Fn(NodeId) -> bool,
) -> Option<String> {
    let left: Vec<NodeId> = configuration.voters().into_iter().filter(|id| *id != member).collect();
    let heard = left.iter().filter(|id| **id == leader || is_heard(**id)).count();
    if left.is_empty() {
        return Some("the cluster would have no voter left".to_owned());
    }
    (heard <= left.len() / 2).then(|| {
        format!(
            "only {heard} of the {} voters that would be left are up: no majority could be reached",
            left.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Seen = Seen { has_caught_up: true, silent: Duration::ZERO };
    const BEHIND: Seen = Seen { has_caught_up: false, ..UP };
    const GONE: Seen = Seen { has_caught_up: false, silent: Duration::from_secs(61) };
    const AFTER: Option<Duration> = Some(Duration::from_secs(60));

    fn record(name: &str) -> Bytes {
        MemberRecord { name: name.to_owned(), ..MemberRecord::default() }.encode()
    }

    /// Voters and learners, each with its own name unless it is in `same`.
    fn cluster(voters: &[NodeId], learners: &[NodeId], same: &[(NodeId, NodeId)]) -> Configuration {
        let named = |id: &NodeId| {
            let of = same.iter().find(|(learner, _)| learner == id).map_or(*id, |(_, voter)| *voter);
            record(&format!("node-{of}"))
        };
        let first = Configuration::of_voters(voters.iter().map(|id| (*id, named(id))));
        let added: Vec<_> = learners.iter().map(|id| Change::Add(*id, named(id))).collect();
        first.changed(&added).unwrap()
    }

    #[test]
    fn learners_begin_to_vote_so_that_the_voters_stay_odd() {
        let next = |voters: &[NodeId], learners: &[NodeId]| {
            next_change(&cluster(voters, learners, &[]), 1, |_| UP, AFTER)
        };
        assert_eq!(next(&[1], &[]), []);
        assert_eq!(next(&[1], &[2]), []);
        assert_eq!(next(&[1], &[2, 3]), [Change::Promote(2), Change::Promote(3)]);
        assert_eq!(next(&[1, 2], &[3]), [Change::Promote(3)]);
        assert_eq!(next(&[1, 2, 3], &[4]), []);
        assert_eq!(next(&[1, 2, 3], &[4, 5, 6]), [Change::Promote(4), Change::Promote(5)]);
    }

    #[test]
    fn who_lacks_much_has_to_wait() {
        let seen = |id| if id == 3 { BEHIND } else { UP };
        assert_eq!(next_change(&cluster(&[1], &[2, 3], &[]), 1, seen, AFTER), []);
    }

    #[test]
    fn a_node_with_an_empty_disk_takes_its_own_place() {
        let configuration = cluster(&[1, 2, 3], &[9], &[(9, 3)]);
        let swapped = [Change::Promote(9), Change::Remove(3)];
        let next = |seen: fn(NodeId) -> Seen, after| next_change(&configuration, 1, seen, after);
        assert_eq!(next(|id| if id == 3 { GONE } else { UP }, AFTER), swapped);
        assert_eq!(next(|_| UP, AFTER), [], "the one before it is there");
        assert_eq!(next(|id| if id == 3 || id == 9 { GONE } else { UP }, AFTER), [], "it has not caught up");
        assert_eq!(next(|id| if id == 3 { GONE } else { UP }, None), [], "an operator does that here");
        assert!(configuration.changed(&swapped).unwrap().is_joint());
    }

    #[test]
    fn learners_of_wiped_disks_do_not_pile_up() {
        // Node 3 was wiped twice: 8 and 9 came in its place.
        let configuration = cluster(&[1, 2, 3], &[8, 9], &[(8, 3), (9, 3)]);
        let next = |gone: &[NodeId], after| {
            let seen = |id| if gone.contains(&id) { GONE } else { BEHIND };
            next_change(&configuration, 1, seen, after)
        };
        assert_eq!(next(&[3, 8], AFTER), [Change::Remove(8)]);
        assert_eq!(next(&[3, 8], None), [], "an operator does that here");
        assert_eq!(next(&[3, 8, 9], AFTER), [], "nobody knows which of them comes back");
        assert_eq!(next(&[8, 9], AFTER), [Change::Remove(8)], "one after the other");
        let alone = cluster(&[1, 2, 3], &[4], &[]);
        assert_eq!(
            next_change(&alone, 1, |id| if id == 4 { GONE } else { UP }, AFTER),
            [],
            "it may come back"
        );
    }

    #[test]
    fn who_was_removed_is_not_added_again() {
        let members = cluster(&[1, 2, 3], &[], &[]);
        let other = record("elsewhere");
        assert_eq!(wanted_by(&members, 4, other.clone(), false), Some(Change::Add(4, other.clone())));
        assert_eq!(wanted_by(&members, 4, other.clone(), true), None, "it takes itself for a member");
        assert_eq!(wanted_by(&members, 3, other.clone(), true), Some(Change::Update(3, other)));
        assert_eq!(wanted_by(&members, 3, record("node-3"), true), None);
        assert_eq!(wanted_by(&members, 4, Bytes::new(), false), None, "it has said nothing yet");
    }

    #[test]
    fn nothing_is_begun_while_a_change_is_under_way() {
        let joint = cluster(&[1], &[2, 3], &[]).changed(&[Change::Promote(2), Change::Promote(3)]).unwrap();
        assert_eq!(next_change(&joint, 1, |_| UP, AFTER), []);
    }

    #[test]
    fn no_majority_is_removed() {
        let three = cluster(&[1, 2, 3], &[], &[]);
        assert_eq!(refuse_removal(&three, 1, 3, |id| id == 2), None);
        let refused = refuse_removal(&three, 1, 2, |id| id == 2).expect("3 is not heard of");
        assert!(refused.starts_with("only 1 of the 2 voters"), "{refused}");
        assert!(refuse_removal(&cluster(&[1], &[], &[]), 1, 1, |_| true).is_some());
        let learner = cluster(&[1, 2, 3], &[4], &[]);
        assert_eq!(refuse_removal(&learner, 1, 4, |id| id == 2), None, "it does not vote");
    }
}
