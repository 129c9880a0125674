//! Nodes that stand still for a while: the whole process, a command, the disk.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::harness::{CALM, Client, Cluster, Fault, Registers, Reply, Shim, wait_for};

const ROUNDS: usize = 5;

/// Keys of one command.
const LONG: usize = 300_000;

#[test]
fn a_leader_that_stood_still_shows_nothing_old_when_it_wakes() {
    let seed = fastrand::u64(..);
    let cluster = Cluster::start(&[]);
    let registers = Registers::start(&cluster, seed);
    for _ in 0..ROUNDS {
        let (leader, term) = cluster.leader_beyond(0);
        cluster.signal(leader, Signal::STOP);
        cluster.leader_beyond(term);
        let before = registers.done();
        cluster.wait_for("the others go on", || registers.done() > before + 200);
        cluster.signal(leader, Signal::CONT);
        let follows =
            || cluster.nodes[leader].status().is_some_and(|status| !status.leads && status.term > term);
        cluster.wait_for("it follows", follows);
    }
    let operations = registers.stop(&format!("seed {seed}"));
    assert!(operations > ROUNDS * 200, "{operations} operations");
    cluster.wait_until_equal();
}

#[test]
fn commands_that_take_long_do_not_cost_the_leader_its_office() {
    let cluster = Cluster::start(&CALM);
    let (leader, term) = cluster.leader_beyond(0);
    let connect = || Client::connect(cluster.nodes[leader].address()).unwrap();
    // One that keeps its session waiting, and one that keeps everybody waiting who writes.
    let (mut sleeping, mut busy) = (connect(), connect());
    let slept = std::thread::spawn(move || {
        let start = Instant::now();
        sleeping.call(&[b"DEBUG", b"SLEEP", b"2"], |reply| assert_eq!(reply, Reply::Status(b"OK"))).unwrap();
        start.elapsed()
    });
    let names: Vec<_> = (0..LONG).map(|number| format!("long:{number}")).collect();
    let mut words = vec![&b"MSET"[..]];
    words.extend(names.iter().flat_map(|name| [name.as_bytes(), name.as_bytes()]));
    busy.call(&words, |reply| assert_eq!(reply, Reply::Status(b"OK"))).unwrap();
    assert!(slept.join().unwrap() >= Duration::from_secs(2));
    assert_eq!(cluster.leader_beyond(0), (leader, term));
    assert_eq!(cluster.term(), term);
    cluster.wait_until_equal();
}

#[test]
fn a_disk_that_stalls_for_two_seconds_does_not_cause_an_election() {
    let shims = [Shim::new(), Shim::new(), Shim::new()];
    let mut cluster = Cluster::new(3, &CALM);
    for (at, shim) in shims.iter().enumerate() {
        cluster.nodes[at].env = shim.env().to_vec();
        cluster.spawn(at);
    }
    let (leader, term) = cluster.leader_beyond(0);
    let mut client = cluster.client();
    for (at, shim) in shims.iter().enumerate() {
        shim.set(Fault::Slow { milliseconds: 2_000 });
        let start = Instant::now();
        wait_for("a write is acknowledged", || client.set(b"key", at.to_string().as_bytes()));
        let took = start.elapsed();
        // The leader applies no more than is durable with it; the others need only one of the two followers.
        assert_eq!(
            took > Duration::from_millis(1_900),
            at == leader,
            "{took:?} with the disk of {at}, {leader} leads"
        );
        // The stalled sync is one that is under way; what comes later is quick again.
        shim.set(Fault::None);
        cluster.wait_until_equal();
        assert_eq!(cluster.leader_beyond(0), (leader, term), "the disk of {at}");
    }
    assert_eq!(cluster.term(), term);
}

#[test]
fn what_no_majority_can_write_is_told_as_unknown_in_time() {
    let shims = [Shim::new(), Shim::new(), Shim::new()];
    let mut cluster = Cluster::new(3, &CALM);
    for (at, shim) in shims.iter().enumerate() {
        cluster.nodes[at].env = shim.env().to_vec();
        cluster.spawn(at);
    }
    let (leader, term) = cluster.leader_beyond(0);
    let mut client = Client::connect(cluster.nodes[leader].address()).unwrap();
    assert!(client.set(b"key", b"1").unwrap());
    // They answer heartbeats, so that the leader stays one.
    for (_, shim) in shims.iter().enumerate().filter(|(at, _)| *at != leader) {
        shim.set(Fault::Slow { milliseconds: 15_000 });
    }
    let start = Instant::now();
    client.set(b"key", b"2").unwrap_err();
    let took = start.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(14)).contains(&took), "{took:?}");
    shims.iter().for_each(|shim| shim.set(Fault::None));
    let mut again = Client::connect(cluster.nodes[leader].address()).unwrap();
    wait_for("a write is acknowledged", || again.set(b"key", b"3").unwrap_or(false));
    cluster.wait_until_equal();
    assert_eq!(cluster.leader_beyond(0), (leader, term));
}
