//! What all connections of a node share.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::InFlight;
use crate::{
    cluster::{Bound, MemberRecord, Topology},
    command::{Latency, Slow, Slowlog, find, flag},
    config::Config,
    driver::{Members, Shard},
    metrics::{Stats, status::SaveStatus},
    raft::Configuration,
    resp::Args,
    session::{ClientInfo, Clients},
};

/// What all connections share.
pub struct Services {
    /// The shard that owns all slots.
    pub shard: Arc<Shard>,
    /// The memory of the messages in the executor.
    pub in_flight: Arc<InFlight>,
    /// The directives.
    pub config: Arc<Config>,
    /// The clients that are connected.
    pub clients: Arc<Clients>,
    /// What has been counted.
    pub stats: Arc<Stats>,
    /// Free bytes on the disk that the data is on, when it was last asked.
    pub disk_free_bytes: AtomicU64,
    /// Who this node is.
    pub node: Node,
    /// The commands that took long.
    pub slowlog: Slowlog,
    /// The spikes of latency.
    pub latency: Latency,
    /// The checkpoints that clients asked for.
    pub saves: Saves,
    stop: Notify,
    stopping: AtomicBool,
}

/// Who this node is, and since when.
#[derive(Debug)]
pub struct Node {
    /// Its id.
    pub node_id: u64,
    /// The id of its cluster.
    pub cluster_id: u128,
    /// 40 hexadecimal digits, drawn at start.
    pub run_id: String,
    /// When the process began to serve.
    pub started: Instant,
    addresses: OnceLock<(Vec<SocketAddr>, Vec<SocketAddr>)>,
}

impl Node {
    /// A node that has just begun.
    pub fn new(node_id: u64, cluster_id: u128) -> Self {
        let run_id = format!("{:032x}{:08x}", fastrand::u128(..), fastrand::u32(..));
        Self { node_id, cluster_id, run_id, started: Instant::now(), addresses: OnceLock::new() }
    }

    /// Sets where RESP and HTTP are served; to be called once.
    pub fn set_addresses(&self, resp: Vec<SocketAddr>, http: Vec<SocketAddr>) {
        self.addresses.set((resp, http)).expect("a node listens once");
    }

    /// Where RESP is served.
    pub fn resp_addresses(&self) -> &[SocketAddr] {
        self.addresses.get().map_or(&[], |(resp, _)| resp)
    }

    /// Where HTTP is served.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        self.addresses.get().map_or(&[], |(_, http)| http)
    }
}

/// The checkpoints that SAVE and BGSAVE made.
#[derive(Debug)]
pub struct Saves {
    state: Mutex<SavesState>,
}

#[derive(Debug)]
struct SavesState {
    last_unix_seconds: u64,
    done: u64,
    last_time: Option<Duration>,
    last_failed: bool,
    began: Option<Instant>,
    changes_at_last: u64,
}

impl Saves {
    fn new(unix_seconds: u64) -> Self {
        let state = SavesState {
            last_unix_seconds: unix_seconds,
            done: 0,
            last_time: None,
            last_failed: false,
            began: None,
            changes_at_last: 0,
        };
        Self { state: Mutex::new(state) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SavesState> {
        self.state.lock().expect("a panic ends the process")
    }

    /// How they went.
    pub fn status(&self) -> SaveStatus {
        let state = self.lock();
        SaveStatus {
            last_unix_seconds: state.last_unix_seconds,
            done: state.done,
            last_time: state.last_time,
            last_failed: state.last_failed,
            running_for: state.began.map(|began| began.elapsed()),
        }
    }

    /// How many effects had been applied when the last one was done.
    pub fn changes_at_last(&self) -> u64 {
        self.lock().changes_at_last
    }

    /// Notes that one begins; false if one is under way.
    fn begin(&self) -> bool {
        let mut state = self.lock();
        if state.began.is_some() {
            return false;
        }
        state.began = Some(Instant::now());
        true
    }

    fn end(&self, ok: bool, changes: u64, unix_seconds: u64) {
        let mut state = self.lock();
        state.last_time = state.began.take().map(|began| began.elapsed());
        state.last_failed = !ok;
        if ok {
            state.done += 1;
            state.last_unix_seconds = unix_seconds;
            state.changes_at_last = changes;
        }
    }
}

impl Services {
    /// Everything that a connection needs.
    pub fn new(
        shard: Arc<Shard>,
        config: Arc<Config>,
        stats: Arc<Stats>,
        disk_free_bytes: u64,
        node: Node,
    ) -> Self {
        let unix_seconds = shard.now().wall_ms / 1000;
        let in_flight_bytes = usize::try_from(config.in_flight_bytes()).unwrap_or(usize::MAX);
        Self {
            shard,
            in_flight: Arc::new(InFlight::new(in_flight_bytes)),
            config,
            clients: Clients::new(),
            stats,
            disk_free_bytes: AtomicU64::new(disk_free_bytes),
            node,
            slowlog: Slowlog::default(),
            latency: Latency::default(),
            saves: Saves::new(unix_seconds),
            stop: Notify::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The cluster, as this node knows it.
    pub fn topology(&self) -> Topology {
        let members = self.shard.core().members();
        let myself = (self.node.node_id, &self.record(&members.configuration));
        let Members { term, role, leader, last_leader, configuration } = &*members;
        Topology::new(configuration, *leader, *last_leader, *role, *term, myself)
    }

    /// The name and the addresses of this node, as the cluster knows them. One that stands alone, or is not a member yet, has
    /// told none: its ports speak for it.
    fn record(&self, configuration: &Configuration) -> MemberRecord {
        let told = configuration.record(self.node.node_id).filter(|record| !record.is_empty());
        if let Some(record) = told.and_then(|told| MemberRecord::decode(told.clone()).ok()) {
            return record;
        }
        let port = |addresses: &[SocketAddr]| addresses.first().map_or(0, SocketAddr::port);
        let (port, http_port) = (port(self.node.resp_addresses()), port(self.node.http_addresses()));
        let bound = Bound { port, http_port, ..Bound::default() };
        MemberRecord::new(&self.config, None, bound)
    }

    /// Puts a command of `client` that took `nanos` into the slow log, and among the spikes of latency, if it took
    /// long enough for either.
    pub fn note_slow(&self, client: &ClientInfo, args: &Args, nanos: u64) {
        let settings = self.config.settings();
        let took = Duration::from_nanos(nanos);
        let at_unix_secs = self.shard.now().wall_ms / 1000;
        if settings.slowlog_log_slower_than.is_some_and(|least| took >= least) {
            let name = client.name();
            let slow = Slow {
                args,
                micros: nanos / 1_000,
                at_unix_secs,
                address: &client.endpoint.remote,
                client: name.as_bytes(),
            };
            self.slowlog.record(slow, settings.slowlog_max_len);
        }
        if settings.latency_monitor_threshold.is_some_and(|least| took >= least) {
            let fast = find(&args[0]).is_some_and(|command| command.has(flag::FAST));
            let event = if fast { "fast-command" } else { "command" };
            self.latency.record(event, at_unix_secs, nanos / 1_000_000);
        }
    }

    /// Makes a checkpoint of everything that is applied, in a directory of `checkpoints` that is named after the
    /// present time. It stays until the next one is made.
    ///
    /// # Errors
    ///
    /// The text for the client.
    pub async fn save(&self) -> Result<(), String> {
        if !self.saves.begin() {
            return Err("ERR Background save already in progress".to_owned());
        }
        let changes = self.shard.core().gauges().changes;
        let name = format!("{:020}", self.shard.now().wall_ms);
        let saved = self.shard.checkpoint(&name).await;
        self.saves.end(saved.is_ok(), changes, self.shard.now().wall_ms / 1000);
        saved.map_err(|error| format!("ERR {error}"))
    }

    /// Asks whoever runs the node to stop it.
    pub fn request_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_one();
    }

    /// Whether the node is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Returns when somebody has asked the node to stop.
    pub async fn stop_requested(&self) {
        self.stop.notified().await;
    }
}
