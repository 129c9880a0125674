//! The executor alone, when its own tree does not keep up: what is received waits in the log.

use bytes::Bytes;
use sisyphusdb::{
    executor::{Input, Output},
    log::EntryKind,
    raft::Role,
};

use super::permit::{Node, committed};

/// The newest lag that was told.
fn lag(node: &Node) -> Option<u64> {
    node.outputs.iter().rev().find_map(|output| match output {
        Output::Lag(lag) => Some(*lag),
        _ => None,
    })
}

fn has_told_applied(node: &Node) -> bool {
    node.outputs.iter().any(|output| matches!(output, Output::Applied))
}

#[test]
fn a_follower_whose_tree_does_not_keep_up_stops_applying() {
    const ENTRIES: u64 = 2_000;
    let mut leader = Node::leader();
    let mut follower = Node::new();
    follower.turn(Input::Changed { term: 1, role: Role::Follower });
    follower.turn(committed(1, EntryKind::Noop, Bytes::new()));
    let value = "v".repeat(4_096);
    for index in 2..2 + ENTRIES {
        let (_, body) = leader.propose(&["SET", &index.to_string(), &value]);
        leader.turn(committed(index, EntryKind::Effects, body.clone()));
        leader.run_jobs();
        leader.outputs.clear();
        follower.turn(committed(index, EntryKind::Effects, body));
    }
    follower.turn(Input::TellApplied);
    let gauges = follower.executor.gauges();
    assert!(gauges.backlog > 100, "nothing was written out: {gauges:?}");
    // Four memtables of a MiB are allowed.
    assert!(gauges.debt.memtable_bytes < 5 << 20, "{:?}", gauges.debt);
    assert_eq!(lag(&follower), Some(1000));
    assert!(!has_told_applied(&follower));

    for _ in 0..20 {
        follower.run_jobs();
        follower.turn(Input::Tick);
    }
    assert_eq!(follower.executor.gauges().applied.index, 1 + ENTRIES);
    assert!(has_told_applied(&follower));
    assert_eq!(lag(&follower), Some(0));
}

#[test]
fn a_leader_slows_down_by_the_followers_that_it_needs() {
    let mut node = Node::leader();
    node.turn(Input::Lag(1000));
    let waiting = node.send(&["SET", "key", "1"]);
    assert!(!node.outputs.iter().any(|output| matches!(output, Output::Propose(_))), "they do not keep up");
    node.turn(Input::Lag(0));
    assert!(node.outputs.iter().any(|output| matches!(output, Output::Propose(_))));
    assert!(waiting.take().is_none());
}
