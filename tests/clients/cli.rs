//! redis-cli.

use std::net::SocketAddr;
use std::process::Command;

use crate::Mapped;
use crate::harness::{Cluster, wait_for};

/// Runs redis-cli on a node; what it printed, and whether it was content.
fn cli(address: SocketAddr, args: &[&str]) -> (String, bool) {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let output = Command::new("redis-cli").args(["-h", &host, "-p", &port]).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap().trim().to_owned(), output.status.success())
}

/// `redis-cli --cluster check`.
fn check(address: SocketAddr) -> (String, bool) {
    let output =
        Command::new("redis-cli").args(["--cluster", "check", &address.to_string()]).output().unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

/// Every node sends redis-cli to the leader, and shows it the same cluster.
fn works_everywhere(addresses: &[SocketAddr], round: &str) {
    for (at, address) in addresses.iter().enumerate() {
        let key = format!("{round}:{at}");
        assert_eq!(cli(*address, &["-c", "SET", &key, "value"]), ("OK".to_owned(), true), "{address}");
        for other in addresses {
            assert_eq!(cli(*other, &["-c", "GET", &key]), ("value".to_owned(), true), "{address}, {other}");
        }
        wait_for("redis-cli finds nothing wrong", || {
            let (text, content) = check(*address);
            content && text.contains("[OK] All 16384 slots covered")
        });
    }
}

#[test]
fn redis_cli_goes_where_it_is_sent() {
    let mut cluster = Cluster::start(&[]);
    works_everywhere(&cluster.addresses(), "before");
    let (leader, term) = cluster.leader_beyond(0);
    cluster.kill(leader);
    cluster.leader_beyond(term);
    cluster.spawn(leader);
    cluster.wait_until_equal();
    works_everywhere(&cluster.addresses(), "after");
}

#[test]
fn redis_cli_behind_mapped_ports() {
    let mapped = Mapped::start();
    works_everywhere(&mapped.cluster_ports, "mapped");
    for address in &mapped.cluster_ports {
        let (text, _) = cli(*address, &["CLUSTER", "SHARDS"]);
        for (node, outside) in mapped.cluster.nodes.iter().zip(&mapped.cluster_ports) {
            assert!(text.contains(&outside.ip().to_string()), "{outside} is not in {text}");
            assert!(!text.lines().any(|line| line == node.host.to_string()), "{} is in {text}", node.host);
        }
    }
}
