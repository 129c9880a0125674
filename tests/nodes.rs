//! A cluster of three nodes in this process.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sisyphusdb::config::Config;
use sisyphusdb::raft::Role;
use sisyphusdb::server::{Server, StartError};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::Client;

const PATIENCE: Duration = Duration::from_secs(60);

/// The nodes, and where their data are.
pub(super) struct Nodes {
    pub(super) servers: Vec<Option<Server>>,
    directory: tempfile::TempDir,
}

/// Runs `scenario` on a cluster with these directives besides its own.
pub(super) fn on_three_nodes(directives: &[(&str, &str)], scenario: impl AsyncFnOnce(Nodes)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let nodes = loop {
            if let Some(nodes) = Nodes::start(directives).await {
                break nodes;
            }
        };
        tokio::time::timeout(2 * PATIENCE, scenario(nodes)).await.expect("it does not end");
    });
}

impl Nodes {
    /// Starts three nodes; none if somebody has taken one of their ports meanwhile.
    async fn start(directives: &[(&str, &str)]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        // Three at once, so that they are three ports.
        let free = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
        let ports = free.map(|listener| listener.local_addr().unwrap().port());
        let peers: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut starting = JoinSet::new();
        for (at, port) in ports.iter().enumerate() {
            let dir = directory.path().join(at.to_string());
            let config = config(&dir, *port, &peers.join(","), directives);
            starting.spawn(async move { (at, Server::start(config).await) });
        }
        let mut servers: Vec<Option<Server>> = (0..3).map(|_| None).collect();
        while let Some(started) = starting.join_next().await {
            match started.unwrap() {
                (at, Ok(server)) => servers[at] = Some(server),
                (_, Err(StartError::Listen { .. })) => return None,
                (_, Err(error)) => panic!("{error}"),
            }
        }
        Some(Self { servers, directory })
    }

    /// Waits until all nodes agree on a leader, and returns it and another.
    pub(super) async fn leader_and_follower(&self) -> (usize, usize) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let running =
                self.servers.iter().enumerate().filter_map(|(at, server)| Some((at, server.as_ref()?)));
            let members: Vec<_> =
                running.map(|(at, server)| (at, server.services().shard.core().members())).collect();
            let leader = members.iter().find(|(_, members)| members.role == Role::Leader);
            if let Some((leader, leading)) = leader
                && members.iter().all(|(_, members)| members.term == leading.term && members.leader.is_some())
                && let Some((follower, _)) = members.iter().find(|(at, _)| at != leader)
            {
                return (*leader, *follower);
            }
            assert!(tokio::time::Instant::now() < deadline, "no leader: {members:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a node knows that it does not lead. Until then it may answer reads, since no other can lead either.
    pub(super) async fn does_not_lead(&self, at: usize) {
        let mut members = self.server(at).services().shard.core().watch_members();
        members.wait_for(|members| members.role != Role::Leader && members.leader.is_none()).await.unwrap();
    }

    pub(super) fn server(&self, at: usize) -> &Server {
        self.servers[at].as_ref().expect("it runs")
    }

    /// A client of `proxy-port` of a node.
    pub(super) async fn proxied(&self, at: usize) -> Client {
        Client(TcpStream::connect(self.server(at).resp_addresses()[1]).await.unwrap())
    }

    /// Stops all that run, and returns the directory with theirs, `0` to `2`.
    pub(super) async fn stop_all(self) -> tempfile::TempDir {
        for server in self.servers.into_iter().flatten() {
            server.stop().await;
        }
        self.directory
    }

    /// Stops a node.
    pub(super) async fn stop(&mut self, at: usize) {
        self.servers[at].take().expect("it runs").stop().await;
    }
}

fn config(dir: &Path, peer_port: u16, peers: &str, directives: &[(&str, &str)]) -> Arc<Config> {
    let peer_port = peer_port.to_string();
    let mut flags = vec![
        ("dir", dir.to_str().unwrap()),
        ("bind", "127.0.0.1"),
        ("port", "auto"),
        ("proxy-port", "auto"),
        ("http-port", "auto"),
        ("peer-port", &peer_port),
        ("peers", peers),
        ("memory-budget", "64mb"),
        // All nodes share two threads with other tests.
        ("raft-heartbeat-ms", "150"),
        ("raft-promise-ms", "500"),
        ("raft-election-ms", "750"),
    ];
    flags.extend(directives);
    Arc::new(Config::from_flags(&flags).unwrap())
}
