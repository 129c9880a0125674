//! redis-py.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::harness::{Cluster, PORTS};
use crate::{Mapped, fail_over};

/// `writes.py` at work.
struct Script {
    child: Child,
    acknowledged: Arc<AtomicU64>,
}

impl Script {
    fn start(kind: &str, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let python = std::env::var_os("CLIENTS_PYTHON").unwrap_or_else(|| "python3".into());
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/writes.py"))
            .arg(kind)
            .args(addresses.into_iter().map(|address| address.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&acknowledged);
        std::thread::spawn(move || {
            for line in lines {
                counter.store(line.unwrap().parse().unwrap(), Ordering::Relaxed);
            }
        });
        Self { child, acknowledged }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// It reads back what it wrote, and is content.
    fn finish(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "writes.py: {status}");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn redis_py_as_a_cluster_client() {
    let mut cluster = Cluster::start(&[]);
    let script = Script::start("cluster", cluster.addresses());
    fail_over(&mut cluster, || script.acknowledged());
    script.finish();
}

#[test]
fn redis_py_that_knows_no_cluster() {
    let mut cluster = Cluster::start(&[]);
    let proxies: Vec<_> = cluster.nodes.iter().map(|node| SocketAddr::from((node.host, PORTS[1]))).collect();
    let script = Script::start("plain", proxies);
    fail_over(&mut cluster, || script.acknowledged());
    script.finish();
}

#[test]
fn redis_py_behind_mapped_ports() {
    let mut mapped = Mapped::start();
    for (kind, addresses) in
        [("cluster", mapped.cluster_ports.clone()), ("plain", mapped.plain_ports.clone())]
    {
        let script = Script::start(kind, addresses);
        fail_over(&mut mapped.cluster, || script.acknowledged());
        script.finish();
    }
}
