//! Three nodes whose leader dies, or is not heard: writes go on elsewhere, and nothing acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::harness::{Client, Cluster, ClusterLoad, Ledger, Workload, wait_for};

const ROUNDS: u64 = 20;
const WRITERS: u64 = 6;

/// Writes `count` keys of this name, one after the other; each is acknowledged.
fn write_all(cluster: &Cluster, name: &str, count: u32) {
    let mut client = cluster.client();
    for number in 0..count {
        let key = format!("{name}:{number}");
        // A write of which nobody knows what became of it may be done again here: it sets the same value.
        wait_for("the write is acknowledged", || client.set(key.as_bytes(), key.as_bytes()));
    }
}

fn assert_all_there(cluster: &Cluster, name: &str, count: u32) {
    let mut client = cluster.client();
    for number in 0..count {
        let key = format!("{name}:{number}");
        assert_eq!(client.get(key.as_bytes()).as_deref(), Some(key.as_bytes()), "{key}");
    }
}

#[test]
fn what_was_written_before_and_after_a_failover_is_there() {
    let mut cluster = Cluster::start(&[]);
    write_all(&cluster, "before", 50);
    let (leader, term) = cluster.leader_beyond(0);
    cluster.kill(leader);
    write_all(&cluster, "after", 50);
    let (successor, _) = cluster.leader_beyond(term);
    assert_ne!(successor, leader);
    assert_all_there(&cluster, "before", 50);
    assert_all_there(&cluster, "after", 50);
    // Who was away learns what it has missed.
    cluster.spawn(leader);
    cluster.wait_until_equal();
    assert_all_there(&cluster, "before", 50);
    assert_all_there(&cluster, "after", 50);
}

#[test]
fn during_an_election_one_node_accepts_writes() {
    let cluster = Cluster::start(&[]);
    let (leader, term) = cluster.leader_beyond(0);
    let stop = AtomicBool::new(false);
    // Everybody writes to one node, and follows no redirection.
    let hammer = |at: usize| {
        let mut accepted = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut client) = Client::connect_within(cluster.nodes[at].address(), Duration::from_secs(5))
            else {
                continue;
            };
            while !stop.load(Ordering::Relaxed)
                && client.set(b"key", at.to_string().as_bytes()).unwrap_or(false)
            {
                accepted.push((Instant::now(), at));
            }
        }
        accepted
    };
    let mut accepted: Vec<_> = std::thread::scope(|scope| {
        let hammers: Vec<_> = (0..3).map(|at| scope.spawn(move || hammer(at))).collect();
        cluster.signal(leader, Signal::STOP);
        cluster.leader_beyond(term);
        cluster.signal(leader, Signal::CONT);
        cluster.wait_for("it follows", || {
            cluster.nodes[leader].status().is_some_and(|status| !status.leads && status.term > term)
        });
        stop.store(true, Ordering::Relaxed);
        hammers.into_iter().flat_map(|hammer| hammer.join().unwrap()).collect()
    });
    accepted.sort_unstable();
    let leaders = accepted.chunk_by(|(_, one), (_, other)| one == other).count() as u64;
    let elections = cluster.term() - term;
    assert!(leaders <= elections + 1, "{elections} elections, and writes were accepted by {leaders} in turn");
}

#[test]
fn twenty_kills_of_random_nodes_lose_nothing() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let ledger = Arc::new(Ledger::new(Workload { seed, keys: 3_000, value_bytes: 100 }));
    // A memtable so small that flushes are going on, and the log is cut.
    let mut cluster = Cluster::start(&["--replay-bytes-max", "4mb"]);
    let load = ClusterLoad::start(&cluster, &ledger, WRITERS, seed);
    for round in 1..=ROUNDS {
        // Every fifth time it is all of them, together.
        let killed = if round % 5 == 0 { vec![0, 1, 2] } else { vec![random.usize(0..3)] };
        let before = load.acknowledged();
        cluster.wait_for("writes are acknowledged", || load.acknowledged() > before + 20);
        for at in &killed {
            cluster.kill(*at);
        }
        if killed.len() == 1 {
            let before = load.acknowledged();
            cluster.wait_for("the others go on without it", || load.acknowledged() > before + 20);
        }
        for at in killed {
            cluster.spawn(at);
        }
    }
    let seen = load.stop();
    cluster.wait_until_equal();
    let keys = cluster.verify(&ledger, &format!("seed {seed}"));
    assert!(keys > 100 && seen.acknowledged > ROUNDS * 20, "{keys} keys, {} writes", seen.acknowledged);
}
