//! Nodes that go and come back while clients work: in good order, or late and with much to catch up on.

use std::sync::Arc;

use super::harness::{CALM, Cluster, ClusterLoad, Ledger, Workload};

const WRITERS: u64 = 6;

/// More than the log keeps for those who are away.
const FILLER_KEYS: u32 = 1_600;
const FILLER_BYTES: usize = 64 * 1024;

/// Values that are more than the log keeps for anyone but those who get a snapshot.
const LOG_VALUES: u32 = 1_200;

#[test]
fn a_rolling_restart_fails_no_request() {
    let seed = fastrand::u64(..);
    let ledger = Arc::new(Ledger::new(Workload { seed, keys: 2_000, value_bytes: 100 }));
    let mut cluster = Cluster::start(&CALM);
    let first_term = cluster.term();
    let load = ClusterLoad::start(&cluster, &ledger, WRITERS, seed);
    let mut leaders = 0;
    for at in 0..3 {
        let before = load.acknowledged();
        cluster.wait_for("writes are acknowledged", || load.acknowledged() > before + 100);
        let leads = cluster.leader() == at;
        leaders += u64::from(leads);
        let status = cluster.terminate(at);
        assert_eq!(
            status.code(),
            Some(0),
            "node {at}, which {} lead:\n{}",
            if leads { "did" } else { "did not" },
            cluster.output()
        );
        cluster.spawn(at);
        cluster.wait_until_caught_up(at);
    }
    let before = load.acknowledged();
    cluster.wait_for("writes are acknowledged", || load.acknowledged() > before + 100);
    let seen = load.stop();
    assert_eq!(seen.unknown, 0, "a request failed:\n{}", cluster.output());
    assert_eq!(cluster.term() - first_term, leaders, "only leaders that went were replaced");
    eprintln!("rolling restart: {} writes, slowest command {:?}", seen.acknowledged, seen.latency(1000));
    cluster.wait_until_equal();
    cluster.verify(&ledger, &format!("seed {seed}"));
}

#[test]
fn a_node_that_was_away_for_long_gets_a_snapshot_under_load() {
    let seed = fastrand::u64(..);
    let ledger = Arc::new(Ledger::new(Workload { seed, keys: 2_000, value_bytes: 100 }));
    let mut cluster = Cluster::start(&[&CALM[..], &["--replay-bytes-max", "4mb"]].concat());
    let (leader, term) = cluster.leader_beyond(0);
    let away = (leader + 1) % 3;
    cluster.kill(away);
    let mut client = cluster.client();
    let filler = vec![b'x'; FILLER_BYTES];
    for number in 0..FILLER_KEYS {
        client.repeat(&[b"SET", format!("filler:{number}").as_bytes(), &filler], |_| ());
    }
    let load = ClusterLoad::start(&cluster, &ledger, WRITERS, seed);
    cluster.wait_for("writes are acknowledged", || load.acknowledged() > 500);
    let at_rest = load.stop();
    let load = ClusterLoad::start(&cluster, &ledger, WRITERS, seed);
    cluster.spawn(away);
    cluster.wait_until_caught_up(away);
    let catching_up = load.stop();
    assert!(cluster.output().contains("a snapshot was sent"), "the log had everything");
    for (when, seen) in [("before", &at_rest), ("while a snapshot is sent", &catching_up)] {
        eprintln!(
            "{when}: p50 {:?}, p99 {:?}, slowest {:?}",
            seen.latency(500),
            seen.latency(990),
            seen.latency(1000)
        );
    }
    assert_eq!(cluster.leader_beyond(0), (leader, term));
    assert_eq!(cluster.term(), term);
    cluster.wait_until_equal();
    // It has the data, and not only the index: with it, the leader is not needed.
    cluster.kill(leader);
    cluster.leader_beyond(term);
    cluster.verify(&ledger, &format!("seed {seed}"));
    assert_eq!(cluster.client().get(b"filler:0").as_deref(), Some(&filler[..]));
}

#[test]
fn one_snapshot_is_enough_however_much_is_written_meanwhile() {
    let seed = fastrand::u64(..);
    let ledger = Arc::new(Ledger::new(Workload { seed, keys: 2_000, value_bytes: 100 }));
    let slow = ["--replay-bytes-max", "4mb", "--snapshot-bytes-per-second", "1mb"];
    let mut cluster = Cluster::start(&[&CALM[..], &slow].concat());
    let (leader, term) = cluster.leader_beyond(0);
    let away = (leader + 1) % 3;
    cluster.kill(away);
    let mut client = cluster.client();
    let mut filler = vec![0; FILLER_BYTES];
    fastrand::Rng::with_seed(seed).fill(&mut filler);
    // The same few keys again and again: little to send, and much in the log.
    let mut write = |values: u32| {
        for number in 0..values {
            client.repeat(&[b"SET", format!("filler:{}", number % 60).as_bytes(), &filler], |_| ());
        }
    };
    write(LOG_VALUES);
    let sent = |cluster: &Cluster| cluster.output().matches("a snapshot was sent").count();
    cluster.spawn(away);
    let mut written = 0;
    while sent(&cluster) == 0 || written < LOG_VALUES {
        write(100);
        written += 100;
    }
    cluster.wait_until_caught_up(away);
    eprintln!("{} MiB were written until the snapshot was sent", u64::from(written) * 64 / 1024);
    assert_eq!(sent(&cluster), 1, "{}", cluster.output());
    assert_eq!(cluster.leader_beyond(0), (leader, term));
    cluster.wait_until_equal();
    cluster.kill(leader);
    cluster.leader_beyond(term);
    cluster.verify(&ledger, &format!("seed {seed}"));
    assert_eq!(cluster.client().get(b"filler:0").as_deref(), Some(&filler[..]));
}
