//! The executor alone, when others get nowhere, or when its own tree does not keep up: what waits is told, and what is received
//! waits in the log.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use sisyphusdb::{
    executor::{Input, Output},
    log::EntryKind,
    raft::Role,
};

use super::{
    client::Outcome,
    permit::{Node, committed},
};

/// Lets so many seconds pass, with a tick in each.
fn pass(node: &mut Node, seconds: u64) {
    for _ in 0..seconds {
        node.clock.us.fetch_add(1_000_000, Ordering::Relaxed);
        node.turn(Input::Tick);
    }
}

#[test]
fn what_is_not_evaluated_for_long_is_given_back() {
    let mut node = Node::new();
    node.turn(Input::Changed { term: 1, role: Role::Leader });
    let waiting = node.send(&["SET", "key", "1"]);
    pass(&mut node, 9);
    assert!(waiting.take().is_none(), "its no-op may still be committed");
    pass(&mut node, 2);
    assert_eq!(waiting.take(), Some(Err(Outcome::NotDone)));
    node.turn(committed(1, EntryKind::Noop, Bytes::new()));
    assert!(!node.outputs.iter().any(|output| matches!(output, Output::Propose(_))), "it is not done");
}

#[test]
fn what_is_proposed_and_not_applied_for_long_is_unknown() {
    let mut node = Node::leader();
    let (waiting, body) = node.propose(&["SET", "key", "1"]);
    pass(&mut node, 9);
    assert!(waiting.take().is_none(), "it may still be committed");
    pass(&mut node, 2);
    assert_eq!(waiting.take(), Some(Err(Outcome::Unknown)));
    node.turn(committed(2, EntryKind::Effects, body));
    let (later, body) = node.propose(&["SET", "key", "2"]);
    node.turn(committed(3, EntryKind::Effects, body));
    assert_eq!(later.take().unwrap().unwrap(), b"+OK\r\n");
}

#[test]
fn who_waits_while_others_are_served_goes_on_waiting() {
    let mut node = Node::leader();
    let (first, first_body) = node.propose(&["SET", "key", "1"]);
    let (second, second_body) = node.propose(&["SET", "key", "2"]);
    pass(&mut node, 9);
    node.turn(committed(2, EntryKind::Effects, first_body));
    assert!(first.take().is_some());
    pass(&mut node, 9);
    assert!(second.take().is_none(), "something was applied meanwhile");
    node.turn(committed(3, EntryKind::Effects, second_body));
    assert_eq!(second.take().unwrap().unwrap(), b"+OK\r\n");
}

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
