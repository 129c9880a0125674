//! Machines that are not as they should be: a wrong clock, names that nobody knows yet, variables that others have set.

use std::time::Duration;

use super::harness::{CALM, Cluster, Reply, Shim};

/// An hour.
const AHEAD_SECONDS: &str = "3600";

#[test]
fn a_clock_that_is_an_hour_ahead_lets_nothing_expire() {
    let shim = Shim::new();
    let mut cluster = Cluster::new(3, &CALM);
    cluster.nodes[0].env = shim.env().to_vec();
    cluster.nodes[0].env.push(("SHIM_AHEAD".to_owned(), AHEAD_SECONDS.to_owned()));
    for at in 0..3 {
        cluster.spawn(at);
    }
    cluster.wait_for("a node with a right clock leads", || cluster.leader() != 0);
    let mut client = cluster.client();
    client
        .repeat(&[b"SET", b"key", b"value", b"EX", b"1800"], |reply| assert_eq!(reply, Reply::Status(b"OK")));
    let expires_at = client.repeat(&[b"EXPIRETIME", b"key"], |reply| match reply {
        Reply::Integer(seconds) => u64::try_from(seconds).unwrap(),
        other => panic!("EXPIRETIME: {other:?}"),
    });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let left = Duration::from_secs(expires_at).saturating_sub(now);
    assert!(Duration::from_secs(1_700) < left && left <= Duration::from_secs(1_801), "{left:?}");

    // Those who are left are one with a right clock and one with a wrong one.
    let (leader, term) = cluster.leader_beyond(0);
    assert_ne!(leader, 0);
    cluster.kill(leader);
    cluster.leader_beyond(term);
    cluster.spawn(leader);
    cluster.wait_until_equal();
    cluster.wait_for("a node with a right clock leads", || cluster.leader() != 0);
    assert_eq!(client.get(b"key").as_deref(), Some(&b"value"[..]));
}

#[test]
fn nodes_whose_names_do_not_resolve_yet_wait_for_each_other() {
    let shim = Shim::new();
    let mut cluster = Cluster::new(3, &[]);
    let names: Vec<_> = (0..3).map(|at| format!("kv-{at}.kv-raft.test")).collect();
    let peers = names.iter().map(|name| format!("{name}:15001")).collect::<Vec<_>>().join(",");
    let hosts: Vec<_> = names.iter().cloned().zip(cluster.nodes.iter().map(|node| node.host)).collect();
    // Where there is a service of this name, Kubernetes sets these.
    let injected = [("SISYPHUSDB_PORT", "tcp://10.0.0.1:6379"), ("SISYPHUSDB_SERVICE_PORT", "6379")];
    let injected = injected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for node in &mut cluster.nodes {
        // The names are known to the nodes only.
        let host = node.host.to_string();
        node.args = ["--peers", &peers, "--cluster-announce-ip", &host].map(str::to_owned).to_vec();
        node.env = shim.env().into_iter().chain(injected.clone()).collect();
    }
    shim.resolve(&[]);
    for at in 0..3 {
        cluster.spawn(at);
    }
    let waits = |cluster: &Cluster| cluster.output().matches("waiting for a cluster").count();
    cluster.wait_for("all say that they wait", || waits(&cluster) >= 3);
    let told = cluster.ask(0, &[b"PING"], |reply| match reply {
        Reply::Error(told) => String::from_utf8_lossy(told).into_owned(),
        other => panic!("a node that waits answers with {other:?}"),
    });
    assert!(told.starts_with("LOADING "), "{told}");
    shim.resolve(&hosts[..2]);
    let before = waits(&cluster);
    cluster.wait_for("two have found each other, and say whom they miss", || {
        waits(&cluster) > before && cluster.output().contains(&format!("no answer from {}:15001\n", names[2]))
    });
    assert!(cluster.statuses().is_empty(), "no cluster is formed without the third");
    shim.resolve(&hosts);
    cluster.leader();
    assert!(cluster.client().set(b"key", b"value"));
    cluster.wait_until_equal();
}
