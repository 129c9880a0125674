//! Nodes that come back with other addresses than those that the membership knows.

use super::harness::{CALM, Cluster, Reply};

fn is_set(cluster: &Cluster) {
    cluster.wait_for("what was acknowledged is there", || {
        cluster.ask(cluster.leader(), &[b"GET", b"key"], |reply| reply == Reply::Bulk(b"value"))
    });
}

/// Waits until all nodes that run show all of these where they are.
fn are_known(cluster: &Cluster, moved: &[usize]) {
    let hosts: Vec<String> = moved.iter().map(|at| format!(" {}:", cluster.nodes[*at].host)).collect();
    for at in cluster.running() {
        cluster.wait_for("the membership says where they are", || {
            // It may just have been started.
            let answers = cluster.nodes[at].status().is_some();
            let is_known = |reply: Reply<'_>| {
                let Reply::Bulk(text) = reply else { panic!("CLUSTER NODES: {reply:?}") };
                let text = std::str::from_utf8(text).unwrap();
                hosts.iter().all(|host| text.contains(host.as_str()))
            };
            answers && cluster.ask(at, &[b"CLUSTER", b"NODES"], is_known)
        });
    }
}

#[test]
fn all_nodes_move_at_once() {
    let mut cluster = Cluster::start(&CALM);
    let leader = cluster.leader();
    cluster.ask(leader, &[b"SET", b"key", b"value"], |reply| assert_eq!(reply, Reply::Status(b"OK")));
    (0..3).for_each(|at| cluster.kill(at));
    cluster.move_nodes(&[0, 1, 2]);
    (0..3).for_each(|at| cluster.spawn(at));
    is_set(&cluster);
    are_known(&cluster, &[0, 1, 2]);
    cluster.wait_until_equal();
}

#[test]
fn a_node_that_moved_makes_a_majority_with_one_that_did_not() {
    let mut cluster = Cluster::start(&CALM);
    let leader = cluster.leader();
    cluster.ask(leader, &[b"SET", b"key", b"value"], |reply| assert_eq!(reply, Reply::Status(b"OK")));
    cluster.wait_until_equal();
    let (moved, stays) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.kill(leader);
    cluster.kill(moved);
    cluster.move_nodes(&[moved]);
    cluster.spawn(moved);
    is_set(&cluster);
    are_known(&cluster, &[moved]);
    // The third hears of it when it comes back.
    cluster.spawn(leader);
    are_known(&cluster, &[moved]);
    cluster.wait_until_caught_up(leader);
    assert!(cluster.nodes[stays].status().is_some(), "it ran all the time");
}
