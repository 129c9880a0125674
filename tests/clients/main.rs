//! Real clients of a cluster, each through a failover: redis-cli, redis-py with and without knowledge of clusters, and the
//! cluster client of the crate redis. `.ci/run` runs these, since redis-py and redis-cli are to be installed first;
//! `CLIENTS_PYTHON` names a Python that has redis-py.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod cli;
mod crate_redis;
mod script;

#[path = "../processes/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of processes use the rest")]
mod harness;

use harness::{Cluster, PORTS, Relay, wait_for};
use std::net::SocketAddr;

/// Kills the leader while a client works that has so many writes acknowledged, and starts it again.
fn fail_over(cluster: &mut Cluster, acknowledged: impl Fn() -> u64) {
    wait_for("the client works", || acknowledged() > 200);
    let (leader, term) = cluster.leader_beyond(0);
    cluster.kill(leader);
    cluster.leader_beyond(term);
    let before = acknowledged();
    cluster.wait_for("the client goes on", || acknowledged() > before + 200);
    cluster.spawn(leader);
    cluster.wait_until_caught_up(leader);
}

/// A cluster that clients reach by other addresses than those that the nodes listen on.
struct Mapped {
    cluster: Cluster,
    /// For clients that know clusters, and for those that do not.
    cluster_ports: Vec<SocketAddr>,
    plain_ports: Vec<SocketAddr>,
    _relays: Vec<Relay>,
}

impl Mapped {
    fn start() -> Self {
        let mut cluster = Cluster::new(3, &[]);
        let (mut relays, mut ports) = (Vec::new(), [Vec::new(), Vec::new()]);
        for node in &mut cluster.nodes {
            let [a, b, c, d] = node.host.octets();
            let outside = std::net::Ipv4Addr::new(a, b, c, d + 100);
            for (ports, port) in ports.iter_mut().zip(PORTS) {
                let mapped = SocketAddr::from((outside, port + 10_000));
                relays.push(Relay::start(mapped, SocketAddr::from((node.host, port))));
                ports.push(mapped);
            }
            let announced = [
                ("--cluster-announce-ip", outside.to_string()),
                ("--cluster-announce-port", (PORTS[0] + 10_000).to_string()),
                ("--announce-proxy-port", (PORTS[1] + 10_000).to_string()),
            ];
            node.args.extend(announced.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        }
        for at in 0..3 {
            cluster.spawn(at);
        }
        cluster.leader();
        let [cluster_ports, plain_ports] = ports;
        Self { cluster, cluster_ports, plain_ports, _relays: relays }
    }
}
