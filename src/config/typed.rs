//! `Config`: the values that hold from the start of the process to its end.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use super::machine::Machine;
use super::peering::{PeerSecret, PeerTls, Peering};
use super::settings::Settings;
use super::values::Values;

/// Memtables that may be in memory at one time.
pub const MEMTABLES_MAX: u64 = 4;

/// Called with the new settings after each CONFIG SET.
type Listener = Box<dyn Fn(&Settings) + Send + Sync>;

/// The configuration of one node: typed, checked and complete.
///
/// The public fields never change while the process runs. What CONFIG SET may change is in [`Settings`], read with
/// [`Config::settings`].
///
/// Invariant: every field passed the checks of its row and those between rows (`check.rs`).
pub struct Config {
    /// RESP for plain and cluster clients. `None`: not served; `Some(0)`: any free port.
    pub port: Option<u16>,
    /// RESP for plain clients of a cluster, served by every node. `None`: not served, as outside of a cluster;
    /// `Some(0)`: any free port.
    pub proxy_port: Option<u16>,
    /// HTTP: data, health and metrics. `None`: not served; `Some(0)`: any free port.
    pub http_port: Option<u16>,
    /// gRPC between nodes. `None`: not served, as outside of a cluster; `Some(0)`: any free port.
    pub peer_port: Option<u16>,
    /// The local addresses every port listens on. Never empty.
    pub bind: Vec<BindAddress>,
    /// Connections the kernel queues for a listener before they are accepted.
    pub tcp_backlog: u32,
    /// Where the data are. Relative paths are taken from the working directory at start.
    pub dir: PathBuf,
    /// The first members of the cluster as `host:peer-port`, this node among them. Empty: a cluster of one.
    pub peers: Vec<String>,
    /// Members of a cluster, as `host:peer-port`, that a new node asks to take it in. Empty if [`Config::peers`] is not.
    pub join: Vec<String>,
    /// What people call this node.
    pub name: Option<String>,
    /// What INFO says: whether clients are to speak to a cluster.
    pub cluster_enabled: bool,
    /// `peer-secret`, or what stands in `peer-secret-file`.
    pub peer_secret: Option<PeerSecret>,
    /// Certificates for the other nodes.
    pub peer_tls: Option<PeerTls>,
    /// The addresses others should use to reach this node.
    pub announce: Announce,
    /// Memory that memtables, caches and messages in flight may use together.
    pub memory_budget_bytes: u64,
    /// The most a restart replays from the log; two memtables of half of it are kept.
    pub replay_bytes_max: u64,
    /// The largest log entry, so the largest transaction.
    pub entry_bytes_max: u64,
    /// Threads that carry connections, executor and Raft. At least 1.
    pub io_threads: usize,
    /// Databases that SELECT knows.
    pub databases: u32,
    /// Who may use DEBUG.
    pub enable_debug_command: DebugCommand,
    /// Heartbeats, promises and elections.
    pub raft: RaftTimings,
    /// Where log lines go. `None`: standard error.
    pub logfile: Option<PathBuf>,
    /// Where the process id is written while the process runs.
    pub pidfile: Option<PathBuf>,
    /// The file the configuration was read from, as an absolute path.
    pub config_file: Option<PathBuf>,
    pub(super) settings: ArcSwap<Settings>,
    pub(super) values: Mutex<Values>,
    pub(super) machine: Machine,
    pub(super) listeners: Mutex<Vec<Listener>>,
}

/// A local address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress {
    /// The address.
    pub ip: IpAddr,
    /// Whether the node starts without it where the machine does not have it (`-::1`).
    pub optional: bool,
}

/// How this node is reached from elsewhere, when that differs from what it listens on (Docker, NAT).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announce {
    /// `cluster-announce-ip`.
    pub ip: Option<String>,
    /// `cluster-announce-hostname`.
    pub hostname: Option<String>,
    /// `cluster-announce-port`: instead of `port`.
    pub port: Option<u16>,
    /// `announce-proxy-port`: instead of `proxy-port`.
    pub proxy_port: Option<u16>,
    /// `announce-http-port`: instead of `http-port`.
    pub http_port: Option<u16>,
    /// `announce-peer`: this node's entry of `peers`, as `host:port`.
    pub peer: Option<String>,
}

/// Who may use the DEBUG command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugCommand {
    /// No one.
    No,
    /// Clients connected over a loopback address.
    Local,
    /// Every client.
    Yes,
}

/// The clockwork of Raft (design: promise and lease).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftTimings {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// For how long a voter that acknowledged a heartbeat grants no vote.
    pub promise: Duration,
    /// The shortest election timeout; the longest is twice that.
    pub election: Duration,
}

impl Config {
    /// The settings in force now. Cheap: one atomic load, no lock. Hold the guard for one batch, not longer.
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Bytes of one memtable. Two of them are at most `replay-bytes-max`, and all that may be in memory at one time, in
    /// wait of a flush or for the sake of a reader, at most 40 % of the memory budget.
    pub fn memtable_bytes(&self) -> u64 {
        (self.replay_bytes_max / 2).min(self.memory_budget_bytes / 5 * 2 / MEMTABLES_MAX)
    }

    /// Bytes of entries and commands that may be on their way through the node at one time: 10 % of the budget.
    pub fn in_flight_bytes(&self) -> u64 {
        self.memory_budget_bytes / 10
    }

    /// Bytes for the caches of blocks and rows: what memtables and messages in flight leave of the budget.
    pub fn cache_bytes(&self) -> u64 {
        let used = MEMTABLES_MAX * self.memtable_bytes() + self.in_flight_bytes();
        assert!(used < self.memory_budget_bytes, "memtables and messages take at most half of the budget");
        self.memory_budget_bytes - used
    }

    /// Whether strangers are kept out by refusing to listen for them (`protected-mode`).
    pub fn is_protected(&self) -> bool {
        self.values.lock().expect("a panic ends the process").is_yes("protected-mode")
    }

    /// Whether the node has others beside it, or is to have: by `peers` or `join`.
    pub fn is_in_cluster(&self) -> bool {
        !self.peers.is_empty() || !self.join.is_empty()
    }

    /// How many connections the HTTP port serves at one time.
    pub fn http_connections_max(&self) -> usize {
        usize::try_from(self.machine.descriptors_max / 16).unwrap_or(usize::MAX).clamp(16, 1024)
    }

    /// Calls `listener` with the new settings after each CONFIG SET that changed something.
    pub fn on_change(&self, listener: impl Fn(&Settings) + Send + Sync + 'static) {
        self.listeners.lock().expect("no listener panics").push(Box::new(listener));
    }
}

impl Config {
    /// The typed form of `values`, which passed all checks.
    pub(super) fn from_values(
        values: Values,
        peering: Peering,
        config_file: Option<PathBuf>,
        machine: Machine,
    ) -> Self {
        // A node that stands alone has no one to serve on these.
        let in_cluster = values.is_in_cluster();
        let list = |name: &str| {
            values.text(name).split(',').filter(|peer| !peer.is_empty()).map(str::to_string).collect()
        };
        Self {
            port: values.port("port"),
            proxy_port: in_cluster.then(|| values.port("proxy-port")).flatten(),
            http_port: values.port("http-port"),
            peer_port: in_cluster.then(|| values.port("peer-port")).flatten(),
            bind: values.addresses("bind"),
            tcp_backlog: values.number("tcp-backlog"),
            dir: PathBuf::from(values.text("dir")),
            peers: list("peers"),
            join: list("join"),
            name: values.text_option("name"),
            cluster_enabled: values.is_yes("cluster-enabled"),
            peer_secret: peering.secret,
            peer_tls: peering.tls,
            announce: Announce::from_values(&values),
            memory_budget_bytes: values.number("memory-budget"),
            replay_bytes_max: values.number("replay-bytes-max"),
            entry_bytes_max: values.number("entry-bytes-max"),
            io_threads: values.number("io-threads"),
            databases: values.number("databases"),
            enable_debug_command: match values.text("enable-debug-command") {
                "yes" => DebugCommand::Yes,
                "local" => DebugCommand::Local,
                _ => DebugCommand::No,
            },
            raft: RaftTimings {
                heartbeat: values.millis("raft-heartbeat-ms"),
                promise: values.millis("raft-promise-ms"),
                election: values.millis("raft-election-ms"),
            },
            logfile: values.path_option("logfile"),
            pidfile: values.path_option("pidfile"),
            config_file,
            settings: ArcSwap::from_pointee(Settings::from_values(&values)),
            values: Mutex::new(values),
            machine,
            listeners: Mutex::new(Vec::new()),
        }
    }
}

impl Announce {
    fn from_values(values: &Values) -> Self {
        Self {
            ip: values.text_option("cluster-announce-ip"),
            hostname: values.text_option("cluster-announce-hostname"),
            port: values.port("cluster-announce-port"),
            proxy_port: values.port("announce-proxy-port"),
            http_port: values.port("announce-http-port"),
            peer: values.text_option("announce-peer"),
        }
    }
}

impl BindAddress {
    /// Whether only programs of this machine can connect to it.
    pub fn is_loopback(&self) -> bool {
        match self.ip {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
        }
    }
}
