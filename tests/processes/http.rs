//! HTTP on every node of a cluster: whoever is asked, the leader answers, and an election is waited for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::harness::{Cluster, PORTS};

/// Longer than a request waits for an election.
const PATIENCE: Duration = Duration::from_secs(30);

/// Less than it takes until a connection to a node that stands still is given up.
const SOON: Duration = Duration::from_secs(2);

/// Between two requests to a node that is not there.
const PAUSE: Duration = Duration::from_millis(2);

/// Status and body; none if nobody is there, or the connection broke.
fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.trim_end().to_owned()))
}

#[test]
fn every_node_serves_http_through_a_failover() {
    let mut cluster = Cluster::start(&[]);
    let (leader, term) = cluster.leader_beyond(0);
    let addresses: Vec<_> =
        cluster.nodes.iter().map(|node| SocketAddr::from((node.host, PORTS[2]))).collect();
    let (stop, written) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 3]);
    let write = |at: usize| {
        let mut acknowledged = Vec::new();
        for number in 0_u64.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            match get(addresses[at], &format!("/put?key=http:{at}:{number}&val={number}")) {
                Some((200..300, _)) => {
                    acknowledged.push(number);
                    written[at].fetch_add(1, Ordering::Relaxed);
                }
                // It was killed, or sent the request to one that was.
                None | Some((504, _)) => std::thread::sleep(PAUSE),
                other => panic!("node {at}: {other:?}"),
            }
        }
        acknowledged
    };
    let acknowledged: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3).map(|at| scope.spawn(move || write(at))).collect();
        let goes_on = |cluster: &Cluster, nodes: &[usize]| {
            for at in nodes {
                let before = written[*at].load(Ordering::Relaxed);
                cluster.wait_for("requests are done", || written[*at].load(Ordering::Relaxed) > before + 20);
            }
        };
        goes_on(&cluster, &[0, 1, 2]);
        cluster.kill(leader);
        cluster.leader_beyond(term);
        let others: Vec<_> = (0..3).filter(|at| *at != leader).collect();
        goes_on(&cluster, &others);
        cluster.spawn(leader);
        goes_on(&cluster, &[0, 1, 2]);
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    for (at, numbers) in acknowledged.iter().enumerate() {
        for number in numbers {
            // Whoever is asked.
            let found =
                get(addresses[usize::try_from(number % 3).unwrap()], &format!("/get?key=http:{at}:{number}"));
            assert_eq!(found, Some((200, number.to_string())), "http:{at}:{number}");
        }
    }
}

#[test]
fn a_write_whose_leader_stands_still_is_answered_when_another_leads() {
    let cluster = Cluster::start(&[]);
    let (leader, term) = cluster.leader_beyond(0);
    let follower = SocketAddr::from((cluster.nodes[(leader + 1) % 3].host, PORTS[2]));
    // So that there is a way to the leader, which the next one takes too.
    cluster.wait_for("a write is passed on", || matches!(get(follower, "/put?key=k&val=1"), Some((200, _))));
    cluster.signal(leader, Signal::STOP);
    let written = std::thread::spawn(move || get(follower, "/put?key=k&val=v"));
    cluster.leader_beyond(term);
    let another_leads = Instant::now();
    let written = written.join().unwrap();
    let waited = another_leads.elapsed();
    cluster.signal(leader, Signal::CONT);
    // On a slow machine it may come to the next leader.
    assert!(matches!(written, Some((504 | 200, _))), "{written:?}");
    assert!(waited < SOON, "{waited:?}");
}
