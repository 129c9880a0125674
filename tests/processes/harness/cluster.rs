//! A cluster of processes. Each has an address of its own on the loopback, so that it is what a machine is elsewhere: its
//! ports are the same as everybody's, and it comes back where it was.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::{Client, ClusterClient, Launch, Ledger, Relay, Reply, Server, server::PORTS, wait_for};

const PEER_PORT: u16 = 15001;

/// How long a node that may be stopped is asked for what it is.
const GLANCE: Duration = Duration::from_millis(500);

/// Clockwork five times slower than the default, for tests that are not about failover.
pub(crate) const CALM: [&str; 6] =
    ["--raft-heartbeat-ms", "150", "--raft-promise-ms", "500", "--raft-election-ms", "750"];

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) leads: bool,
    pub(crate) term: u64,
    pub(crate) applied: u64,
    pub(crate) voters: u64,
    /// The membership is being changed.
    pub(crate) is_joint: bool,
}

/// One member, whether it runs or not.
pub(crate) struct Node {
    pub(crate) host: Ipv4Addr,
    pub(crate) dir: PathBuf,
    /// What it is started with beyond what all are.
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) server: Option<Server>,
}

impl Node {
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((self.host, PORTS[0]))
    }

    /// Asks it, if it runs and answers at once.
    pub(crate) fn status(&self) -> Option<Status> {
        let mut client = Client::connect_within(self.address(), GLANCE).ok()?;
        client.call(&[b"INFO", b"raft"], status).ok()?
    }
}

fn status(reply: Reply<'_>) -> Option<Status> {
    let Reply::Bulk(text) = reply else { return None };
    let text = std::str::from_utf8(text).unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Some(Status {
        leads: field("raft_role")? == "leader",
        term: field("raft_current_term")?.parse().ok()?,
        applied: field("raft_applied_index")?.parse().ok()?,
        voters: field("raft_voters")?.parse().ok()?,
        is_joint: field("raft_change_pending")? == "1",
    })
}

/// Processes that end with the test, and their directories.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    args: Vec<String>,
    base: tempfile::TempDir,
    /// Held, so that nobody else uses these addresses.
    _net: TcpListener,
    net: [u8; 2],
}

impl Cluster {
    /// `count` nodes that are to form a cluster; none is started.
    pub(crate) fn new(count: u8, args: &[&str]) -> Self {
        let (listener, net) = loop {
            let net = [fastrand::u8(1..=254), fastrand::u8(..)];
            // Taken for as long as the cluster lives.
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::new(127, net[0], net[1], 254), PEER_PORT)) {
                break (listener, net);
            }
        };
        let base = tempfile::tempdir().unwrap();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut cluster = Self { nodes: Vec::new(), args, base, _net: listener, net };
        for _ in 0..count {
            cluster.add_node();
        }
        let peers = cluster.peers();
        for node in &mut cluster.nodes {
            node.args = vec!["--peers".to_owned(), peers.clone()];
        }
        cluster
    }

    /// Three nodes that have found to each other and have a leader.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut cluster = Self::new(3, args);
        for at in 0..3 {
            cluster.spawn(at);
        }
        cluster.leader();
        cluster
    }

    /// Where the nodes reach each other.
    pub(crate) fn peers(&self) -> String {
        let peers: Vec<_> = self.nodes.iter().map(|node| format!("{}:{PEER_PORT}", node.host)).collect();
        peers.join(",")
    }

    /// Gives nodes that do not run other addresses, which they tell the others, and the addresses of the others as they are
    /// then.
    pub(crate) fn move_nodes(&mut self, moved: &[usize]) {
        for at in moved {
            let [a, b, c, d] = self.nodes[*at].host.octets();
            self.nodes[*at].host = Ipv4Addr::new(a, b, c, d + 50);
        }
        let peers = self.peers();
        for at in moved {
            let own = format!("{}:{PEER_PORT}", self.nodes[*at].host);
            let args = ["--peers", &peers, "--announce-peer", &own];
            self.nodes[*at].args = args.map(str::to_owned).to_vec();
        }
    }

    /// A node that is to become one more member; it is not started.
    pub(crate) fn add_joining_node(&mut self) -> usize {
        let members = self.peers();
        let at = self.add_node();
        self.nodes[at].args = vec!["--join".to_owned(), members];
        at
    }

    /// A node that is not started, and is told of no other.
    fn add_node(&mut self) -> usize {
        let at = self.nodes.len();
        let host = Ipv4Addr::new(127, self.net[0], self.net[1], u8::try_from(at).unwrap() + 1);
        let dir = self.base.path().join(format!("node-{at}"));
        self.nodes.push(Node { host, dir, args: Vec::new(), env: Vec::new(), server: None });
        at
    }

    /// Puts a relay in front of every node, through which the others reach it. Before any of them is started.
    pub(crate) fn put_relays_between(&mut self) -> Vec<Relay> {
        let behind = |node: &Node| SocketAddr::from((node.host, PEER_PORT));
        let before = |node: &Node| {
            let [a, b, c, d] = node.host.octets();
            SocketAddr::from(([a, b, c, d + 100], PEER_PORT))
        };
        let peers: Vec<_> = self.nodes.iter().map(|node| before(node).to_string()).collect();
        let relays = self.nodes.iter().map(|node| Relay::start(before(node), behind(node))).collect();
        for (node, own) in self.nodes.iter_mut().zip(&peers) {
            let host = node.host.to_string();
            let args = ["--peers", &peers.join(","), "--announce-peer", own, "--cluster-announce-ip", &host];
            node.args = args.map(str::to_owned).to_vec();
        }
        relays
    }

    /// Starts a node and does not wait for it.
    pub(crate) fn spawn(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let mut launch = Launch::new(&node.dir)
            .arg("--peer-port", &PEER_PORT.to_string())
            .arg("--enable-debug-command", "local");
        launch.host = Some(node.host);
        launch.args.extend(self.args.iter().chain(&node.args).cloned());
        node.server = Some(launch.env(node.env.iter().cloned()).spawn());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, at: usize) {
        self.nodes[at].server.take().expect("it runs").kill();
    }

    /// Asks a node to end (SIGTERM), and says how it did.
    pub(crate) fn terminate(&mut self, at: usize) -> ExitStatus {
        self.nodes[at].server.take().expect("it runs").terminate()
    }

    /// Whether a node that was started has ended by itself.
    pub(crate) fn has_ended(&mut self, at: usize) -> bool {
        self.nodes[at].server.as_mut().expect("it was started").has_ended()
    }

    /// Hands the leadership to a node, if it does not have it.
    pub(crate) fn make_lead(&self, at: usize) {
        let node = &self.nodes[at];
        let (host, port) = (node.host.to_string(), PORTS[0].to_string());
        let words = [&b"FAILOVER"[..], b"TO", host.as_bytes(), port.as_bytes()];
        self.wait_for("it leads", || {
            let leader = self.leader();
            // It may be refused, if the node lacks too much of the log, and is tried again.
            leader == at || self.ask(leader, &words, |reply| reply == Reply::Status(b"OK"))
        });
        self.wait_for("it serves", || node.status().is_some_and(|status| status.leads));
    }

    /// Asks one node and no other.
    pub(crate) fn ask<R>(&self, at: usize, words: &[&[u8]], each: impl FnOnce(Reply<'_>) -> R) -> R {
        Client::connect(self.nodes[at].address()).unwrap().call(words, each).unwrap()
    }

    /// Sends a signal to a node that runs.
    pub(crate) fn signal(&self, at: usize, signal: Signal) {
        self.nodes[at].server.as_ref().expect("it runs").signal(signal);
    }

    /// The nodes that run.
    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].server.is_some()).collect()
    }

    /// What each node says that answers.
    pub(crate) fn statuses(&self) -> Vec<(usize, Status)> {
        self.running().into_iter().filter_map(|at| Some((at, self.nodes[at].status()?))).collect()
    }

    /// Waits until a node leads, and says which one: of several that believe to, the one of the latest term.
    pub(crate) fn leader(&self) -> usize {
        self.leader_beyond(0).0
    }

    /// Waits for a leader of a later term than this, and says which one, and its term.
    pub(crate) fn leader_beyond(&self, term: u64) -> (usize, u64) {
        let mut found = None;
        self.wait_for("a node leads", || {
            let leaders =
                self.statuses().into_iter().filter(|(_, status)| status.leads && status.term > term);
            found = leaders.max_by_key(|(_, status)| status.term);
            found.is_some()
        });
        found.map(|(at, status)| (at, status.term)).unwrap()
    }

    /// The latest term that any node knows of: it grows with each election.
    pub(crate) fn term(&self) -> u64 {
        self.statuses().iter().map(|(_, status)| status.term).max().expect("a node runs")
    }

    /// Waits until every node that runs has applied the same, and looks whether all hold the same then. Nobody may write.
    pub(crate) fn wait_until_equal(&self) {
        let running = self.running().len();
        self.wait_for("all nodes have applied the same", || {
            let statuses = self.statuses();
            let leads = statuses.iter().any(|(_, status)| status.leads);
            let same = |(_, status): &(usize, Status)| status.applied == statuses[0].1.applied;
            statuses.len() == running && leads && statuses.iter().all(same)
        });
        let digests: Vec<_> = self.running().into_iter().map(|at| self.digest(at)).collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}\n{}", self.output());
    }

    /// What a node holds, in short.
    fn digest(&self, at: usize) -> Vec<u8> {
        let mut client = Client::connect(self.nodes[at].address()).unwrap();
        client.call(&[b"READONLY"], |reply| assert_eq!(reply, Reply::Status(b"OK"))).unwrap();
        let digest = client.call(&[b"DEBUG", b"DIGEST"], |reply| match reply {
            Reply::Status(digest) | Reply::Bulk(digest) => digest.to_vec(),
            other => panic!("DEBUG DIGEST: {other:?}"),
        });
        digest.unwrap()
    }

    /// Waits until a node has applied all that the others have applied by now.
    pub(crate) fn wait_until_caught_up(&self, at: usize) {
        let goal = self.statuses().iter().map(|(_, status)| status.applied).max().expect("a node runs");
        self.wait_for("it has caught up", || {
            self.nodes[at].status().is_some_and(|status| status.applied >= goal)
        });
    }

    /// As [`wait_for`], and shows what the nodes printed if it was in vain.
    pub(crate) fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        let shown = ShownOnPanic(self);
        wait_for(what, condition);
        std::mem::forget(shown);
    }

    /// The addresses of all nodes, whether they run or not.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::address).collect()
    }

    pub(crate) fn client(&self) -> ClusterClient {
        ClusterClient::new(self.addresses())
    }

    /// Reads every key that was ever sent, and panics unless it has a value that it may have.
    pub(crate) fn verify(&self, ledger: &Ledger, context: &str) -> u64 {
        let shown = ShownOnPanic(self);
        let mut client = self.client();
        let sent: Vec<_> = (0..ledger.workload.keys).filter(|number| ledger.bounds(*number).1 > 0).collect();
        let lost: Vec<_> = sent.iter().filter_map(|number| client.check(ledger, *number).err()).collect();
        assert!(lost.is_empty(), "{context}: {} of {} keys, first: {}", lost.len(), sent.len(), lost[0]);
        std::mem::forget(shown);
        sent.len() as u64
    }

    /// What all nodes have printed.
    pub(crate) fn output(&self) -> String {
        let outputs = self.nodes.iter().map(|node| {
            let text = std::fs::read_to_string(node.dir.with_extension("log")).unwrap_or_default();
            format!("--- {}\n{text}", node.host)
        });
        outputs.collect()
    }
}

/// Prints what the nodes have printed, unless it is forgotten.
struct ShownOnPanic<'a>(&'a Cluster);

impl Drop for ShownOnPanic<'_> {
    fn drop(&mut self) {
        eprintln!("{}", self.0.output());
    }
}
