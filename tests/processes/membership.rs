//! Nodes that come, go, and come back with nothing, while clients work.

use std::sync::Arc;

use super::harness::{CALM, Cluster, ClusterLoad, Ledger, Reply, Workload};

const WRITERS: u64 = 4;

#[test]
fn a_node_that_lost_its_disk_takes_its_own_place() {
    let seed = fastrand::u64(..);
    let ledger = Arc::new(Ledger::new(Workload { seed, keys: 1_000, value_bytes: 100 }));
    let mut cluster = Cluster::start(&[&CALM[..], &["--replace-after", "1"]].concat());
    let load = ClusterLoad::start(&cluster, &ledger, WRITERS, seed);
    let (leader, term) = cluster.leader_beyond(0);
    let wiped = (leader + 1) % 3;
    cluster.wait_for("writes are acknowledged", || load.acknowledged() > 500);
    cluster.kill(wiped);
    std::fs::remove_dir_all(&cluster.nodes[wiped].dir).unwrap();
    cluster.spawn(wiped);
    cluster.wait_for("it has taken its place", || {
        cluster.nodes[leader].status().is_some_and(|status| !status.is_joint)
            && cluster.output().contains("promote ")
    });
    cluster.wait_until_caught_up(wiped);
    // It votes again: with it and without the third there is a majority.
    assert_eq!(cluster.leader_beyond(0), (leader, term), "nobody lost the leadership");
    cluster.kill((leader + 2) % 3);
    let before = load.acknowledged();
    cluster.wait_for("writes are acknowledged", || load.acknowledged() > before + 100);
    load.stop();
    cluster.wait_until_equal();
    cluster.kill(leader);
    cluster.spawn((leader + 2) % 3);
    cluster.leader_beyond(term);
    cluster.verify(&ledger, &format!("seed {seed}"));
}

#[test]
fn nodes_join_and_leave_under_load() {
    let seed = fastrand::u64(..);
    let ledger = Arc::new(Ledger::new(Workload { seed, keys: 1_000, value_bytes: 100 }));
    let mut cluster = Cluster::start(&CALM);
    let load = ClusterLoad::start(&cluster, &ledger, WRITERS, seed);
    let (leader, term) = cluster.leader_beyond(0);
    let goes_on = |cluster: &Cluster| {
        let before = load.acknowledged();
        cluster.wait_for("writes are acknowledged", || load.acknowledged() > before + 100);
    };
    goes_on(&cluster);
    let voters = |cluster: &Cluster, count: u64| {
        cluster.wait_for("the voters are as many", || {
            cluster.nodes[leader].status().is_some_and(|status| status.voters == count && !status.is_joint)
        });
    };
    let new = [cluster.add_joining_node(), cluster.add_joining_node()];
    new.into_iter().for_each(|at| cluster.spawn(at));
    voters(&cluster, 5);
    // They do vote: without two of the first three there is a majority.
    let old: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    old.iter().for_each(|at| cluster.kill(*at));
    goes_on(&cluster);
    old.iter().for_each(|at| cluster.spawn(*at));
    old.iter().for_each(|at| cluster.wait_until_caught_up(*at));
    for (at, left) in new.into_iter().zip([4, 3]) {
        let name = format!("{}:15001", cluster.nodes[at].host);
        cluster.ask(leader, &[b"RAFT.MEMBER", b"REMOVE", name.as_bytes()], |reply| {
            assert_eq!(reply, Reply::Status(b"OK"));
        });
        voters(&cluster, left);
        goes_on(&cluster);
    }
    assert_eq!(cluster.term(), term, "who was removed disturbs nobody");
    new.into_iter().for_each(|at| cluster.kill(at));
    load.stop();
    assert_eq!(cluster.leader_beyond(0), (leader, term));
    cluster.wait_until_equal();
    cluster.verify(&ledger, &format!("seed {seed}"));
}

#[test]
fn a_removed_node_that_comes_back_is_not_taken_in_again() {
    let mut cluster = Cluster::new(2, &CALM);
    (0..2).for_each(|at| cluster.spawn(at));
    let leader = cluster.leader();
    let removed = 1 - leader;
    let peer = format!("{}:15001", cluster.nodes[removed].host);
    cluster.ask(leader, &[b"RAFT.MEMBER", b"REMOVE", peer.as_bytes()], |reply| {
        assert_eq!(reply, Reply::Status(b"OK"));
    });
    // It may have the entry that removes it, and not know yet that this is committed.
    cluster.kill(removed);
    cluster.spawn(removed);
    cluster.nodes[removed].server.as_mut().expect("it was started").wait();
    // Whoever has asked before this one is taken in before it, or with it.
    let new = cluster.add_joining_node();
    cluster.spawn(new);
    let host = |at: usize| format!("host={},", cluster.nodes[at].host);
    let members = || {
        cluster.ask(leader, &[b"INFO", b"raft"], |reply| match reply {
            Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("INFO: {other:?}"),
        })
    };
    cluster.wait_for("another is taken in", || members().contains(&host(new)));
    assert!(!members().contains(&host(removed)), "{}", members());
}
