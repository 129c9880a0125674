//! Rule (time): the stamp alone decides which keys exist.

use super::super::string;
use super::*;
use crate::bugs::{self, Bug};

fn node_with_key_due_at(at: u64) -> Node {
    let mut node = Node::new(9);
    node.run(0, |txn| {
        let key = txn.key(b"k");
        string::set(txn, &key, b"v", Some(at))
    });
    node.apply_all();
    node
}

#[test]
fn a_point_read_of_a_key_that_is_due_but_not_by_the_stamp_goes_to_the_executor() {
    let at = 1_000_100;
    let node = node_with_key_due_at(at);
    let exists = |present| node.read(0, present, |view| view.exists(b"k"));
    assert!(exists(at - 1).unwrap());
    let stops = || matches!(exists(at), Err(Failure::Stop(Stop::Stamp)));
    assert!(stops());
    assert!(!bugs::with(Bug::TimeByWallClock, stops), "the planted bug is not found");
    // A walk goes by the stamp and shows it.
    let mut shown = 0;
    node.read(0, at, |view| {
        scan::each_key(view, |_, _| {
            shown += 1;
            Ok(())
        })
    })
    .unwrap();
    assert_eq!(shown, 1);
}

/// What one client saw gone stays gone for another, whose clock is behind: the executor's entry says so.
#[test]
fn a_key_that_was_seen_gone_is_gone_for_good() {
    let at = 1_000_100;
    let gone_for_all = || {
        let mut node = node_with_key_due_at(at);
        node.stamp = at + 5;
        let seen = match node.read(0, at + 5, |view| view.exists(b"k")) {
            Ok(exists) => exists,
            Err(Failure::Stop(Stop::Stamp)) => {
                let exists = node.run(0, |txn| txn.read(|view| view.exists(b"k")));
                node.apply_all();
                exists
            }
            Err(other) => panic!("{other}"),
        };
        assert!(!seen);
        matches!(node.read(0, at - 50, |view| view.exists(b"k")), Ok(false))
    };
    assert!(gone_for_all());
    assert!(!bugs::with(Bug::TimeByWallClock, gone_for_all), "the planted bug is not found");
}

#[test]
fn a_read_in_the_executor_that_rests_on_the_stamp_makes_an_entry() {
    let at = 1_000_100;
    let mut node = node_with_key_due_at(at);
    node.stamp = at;
    let mut drain = Drain::new(node.entry, node.stamp);
    let mut shown = 0;
    node.step(&mut drain, 0, |txn| {
        txn.read(|view| {
            scan::each_key(view, |_, _| {
                shown += 1;
                Ok(())
            })
        })
    })
    .unwrap();
    assert_eq!(shown, 0);
    assert!(!drain.is_empty(), "the stamp that hides the key is not in any entry");
    node.end(drain);
    node.check().unwrap();
    assert_eq!(node.published.stamp, at);

    let mut drain = Drain::new(node.entry, node.stamp);
    assert!(!node.step(&mut drain, 0, |txn| txn.read(|view| view.exists(b"k"))).unwrap());
    node.end(drain);
    node.check().unwrap();
    assert_eq!(node.state.databases()[0].counts, Counts::default(), "the key was not deleted");
}

#[test]
fn a_read_that_needs_nothing_makes_no_entry() {
    let mut node = node_with_key_due_at(2_000_000);
    let mut drain = Drain::new(node.entry, node.stamp);
    assert!(node.step(&mut drain, 0, |txn| txn.read(|view| view.exists(b"k"))).unwrap());
    assert!(drain.is_empty());
    assert!(drain.finish(&mut node.overlay, &mut node.state).is_none());
}

#[test]
fn due_keys_are_deleted_in_order_and_in_batches() {
    let mut node = Node::new(10);
    for number in 0..30 {
        node.run(number % 2, |txn| {
            let key = txn.key(format!("k{number}").as_bytes());
            string::set(txn, &key, b"v", Some(1_000_100 + u64::from(number)))
        });
    }
    node.apply_all();
    let next = |node: &Node| next_due(&node.tree(), Access::Disk, &node.overlay, &node.state).unwrap();
    assert_eq!(next(&node), Some(1_000_100));
    node.stamp = 1_000_119;
    assert_eq!(node.run(0, |txn| delete_due(txn, 4)), 8);
    assert_eq!(next(&node), Some(1_000_108), "the overlay is seen");
    assert_eq!(node.run(0, |txn| delete_due(txn, 100)), 12);
    assert_eq!(next(&node), Some(1_000_120));
    node.check().unwrap();
    assert_eq!(node.state.databases()[0].counts.keys, 5);
}
