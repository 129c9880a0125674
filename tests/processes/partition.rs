//! A leader that is cut off from the others: it acknowledges nothing that they do not have, and shows nothing that is no
//! longer so.

use std::sync::Arc;
use std::time::Duration;

use super::harness::{Client, Cluster, ClusterLoad, Ledger, Registers, Relay, Reply, Workload};

const ANSWER: Duration = Duration::from_secs(1);

/// Three nodes that reach each other through relays, one in front of each.
fn start() -> (Cluster, Vec<Relay>) {
    let mut cluster = Cluster::new(3, &[]);
    let relays = cluster.put_relays_between();
    for at in 0..3 {
        cluster.spawn(at);
    }
    cluster.leader();
    (cluster, relays)
}

/// Cuts a node off from the others: what they dial, and what it dials.
fn isolate(cluster: &Cluster, relays: &[Relay], at: usize) {
    let pid = cluster.nodes[at].server.as_ref().unwrap().pid();
    for (other, relay) in relays.iter().enumerate() {
        if other == at { relay.cut() } else { relay.cut_from(pid) }
    }
}

/// Asks one node and no other; none if it does not answer, or refuses.
fn ask(cluster: &Cluster, at: usize, words: &[&[u8]]) -> Option<Vec<u8>> {
    let mut client = Client::connect_within(cluster.nodes[at].address(), ANSWER).unwrap();
    let answer = client.call(words, |reply| match reply {
        Reply::Bulk(text) | Reply::Status(text) => Some(text.to_vec()),
        Reply::Error(_) | Reply::Null | Reply::Integer(_) => None,
    });
    answer.ok().flatten()
}

#[test]
fn a_leader_that_is_cut_off_acknowledges_nothing_and_shows_nothing_old() {
    let seed = fastrand::u64(..);
    let ledger = Arc::new(Ledger::new(Workload { seed, keys: 500, value_bytes: 100 }));
    let (cluster, relays) = start();
    let load = ClusterLoad::start(&cluster, &ledger, 4, seed);
    let registers = Registers::start(&cluster, seed);
    for round in 0..3 {
        let (old, term) = cluster.leader_beyond(0);
        let mut client = cluster.client();
        let value = |suffix: &str| format!("{round} {suffix}").into_bytes();
        client.repeat(&[b"SET", b"key", &value("before")], |reply| assert_eq!(reply, Reply::Status(b"OK")));
        let before = load.acknowledged();
        isolate(&cluster, &relays, old);
        let (new, _) = cluster.leader_beyond(term);
        assert_ne!(new, old);
        client.repeat(&[b"SET", b"key", &value("after")], |reply| assert_eq!(reply, Reply::Status(b"OK")));
        for _ in 0..5 {
            assert_eq!(ask(&cluster, old, &[b"SET", b"lost", b"1"]), None, "an acknowledged write is lost");
            assert_eq!(ask(&cluster, old, &[b"GET", b"key"]), None, "a read is stale");
        }
        cluster.wait_for("the others go on", || load.acknowledged() > before + 50);
        for relay in &relays {
            relay.heal();
        }
        cluster.wait_for("it follows", || {
            cluster.nodes[old].status().is_some_and(|s| s.term > term && !s.leads)
        });
        assert_ne!(
            client.get(b"lost").as_deref(),
            Some(&b"1"[..]),
            "what was not acknowledged was not done either"
        );
    }
    load.stop();
    let operations = registers.stop(&format!("seed {seed}"));
    assert!(operations > 100, "{operations} operations");
    cluster.wait_until_equal();
    cluster.verify(&ledger, &format!("seed {seed}"));
}
