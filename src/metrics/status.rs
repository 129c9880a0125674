//! `NodeStatus`: what is the case now, as plain numbers that the driver gathers when someone asks.

use std::net::SocketAddr;
use std::time::Duration;

use super::peers::PeersStatus;
use super::process::Usage;

/// The state of a node at one moment. INFO, `/status` and `/metrics` are printed from it and the [`super::Totals`].
#[derive(Clone, Debug, Default)]
pub struct NodeStatus {
    /// The process.
    pub process: ProcessStatus,
    /// What the configuration says that is shown.
    pub configured: Configured,
    /// Clients.
    pub clients: ClientsStatus,
    /// Memory, by who uses it.
    pub memory: MemoryStatus,
    /// The databases that hold keys, by number.
    pub databases: Vec<DatabaseStatus>,
    /// Consensus.
    pub raft: RaftStatus,
    /// The log on disk.
    pub log: LogStatus,
    /// The tree.
    pub lsm: LsmStatus,
    /// The executor.
    pub executor: ExecutorStatus,
    /// Checkpoints made by SAVE and BGSAVE.
    pub save: SaveStatus,
    /// The way to the other nodes.
    pub peers: PeersStatus,
}

/// The process, its addresses and its clock.
#[derive(Clone, Debug, Default)]
pub struct ProcessStatus {
    /// The process id.
    pub id: u32,
    /// 40 hexadecimal digits, drawn at start.
    pub run_id: String,
    /// The path of the program.
    pub executable: String,
    /// System, release and machine, as `uname` says.
    pub os: String,
    /// Wall clock, in microseconds since 1970.
    pub now_unix_micros: u64,
    /// Since the node started.
    pub uptime: Duration,
    /// Where RESP is served.
    pub resp_addresses: Vec<SocketAddr>,
    /// Where HTTP is served.
    pub http_addresses: Vec<SocketAddr>,
    /// Memory and processor time, from the system.
    pub usage: Usage,
    /// The log is being replayed, or no read index has been reached since: commands answer `-LOADING`.
    pub loading: bool,
    /// A shutdown is under way.
    pub stopping: bool,
}

/// Directives that are shown beside what they bound.
#[derive(Clone, Debug, Default)]
pub struct Configured {
    /// `maxclients`.
    pub maxclients: usize,
    /// `memory-budget`.
    pub memory_budget_bytes: u64,
    /// `io-threads`.
    pub io_threads: usize,
    /// The configuration file, if there is one.
    pub config_file: String,
    /// `cluster-enabled`.
    pub cluster_enabled: bool,
    /// `latency-tracking`.
    pub latency_tracking: bool,
    /// `latency-tracking-info-percentiles`.
    pub latency_percentiles: Vec<f64>,
}

/// Clients, counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientsStatus {
    /// Connected over RESP.
    pub connected: usize,
    /// Waiting in a blocking command.
    pub blocked: usize,
    /// With keys under WATCH.
    pub watching: usize,
    /// Keys under WATCH, counted once each.
    pub watched_keys: usize,
    /// The largest input buffer of a client, in bytes.
    pub input_buffer_bytes_max: usize,
    /// The largest output buffer of a client, in bytes.
    pub output_buffer_bytes_max: usize,
    /// Bytes in the buffers of all clients.
    pub buffer_bytes: u64,
}

/// Bytes in use, by who uses them. Their sum is what `memory-budget` bounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStatus {
    /// Memtables, sealed and pinned ones included.
    pub memtable_bytes: u64,
    /// Blocks, indexes, filters and rows in the cache.
    pub cache_bytes: u64,
    /// Effects proposed and not yet applied.
    pub overlay_bytes: u64,
    /// Commands and entries in flight.
    pub in_flight_bytes: u64,
}

/// One database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseStatus {
    /// Its number.
    pub number: u32,
    /// Keys.
    pub keys: u64,
    /// Keys with a time to live.
    pub expires: u64,
}

/// What this node does for its shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It follows a leader, or waits for one.
    #[default]
    Follower,
    /// It stands for election.
    Candidate,
    /// It leads.
    Leader,
}

/// Consensus, as this node sees it.
#[derive(Clone, Debug, Default)]
pub struct RaftStatus {
    /// This node's id.
    pub node_id: u64,
    /// The cluster's id.
    pub cluster_id: u128,
    /// What this node does.
    pub role: Role,
    /// The current term.
    pub term: u64,
    /// The leader's id, if one is known.
    pub leader_id: Option<u64>,
    /// Members that vote.
    pub voters: usize,
    /// Members that do not.
    pub learners: usize,
    /// A change of the voters is under way.
    pub is_joint: bool,
    /// This node may answer reads without asking anyone.
    pub has_lease: bool,
    /// Whether it votes: for a moment after a start it may be bound by a promise that it has forgotten.
    pub votes: bool,
    /// The members, by id.
    pub members: Vec<MemberStatus>,
    /// The last entry of the log.
    pub last_index: u64,
    /// The last entry that is committed.
    pub commit_index: u64,
    /// The last entry that is applied and readable.
    pub applied_index: u64,
    /// The last entry that is durable here.
    pub durable_index: u64,
    /// The last entry that is in tables.
    pub flushed_index: u64,
    /// Times a leader was elected, as far as this node saw.
    pub leader_changes: u64,
    /// Proposals that were refused.
    pub proposals_refused: u64,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its id.
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// Where clients find it.
    pub host: String,
    /// The port for clients.
    pub port: u16,
    /// Where other nodes dial it.
    pub peer: String,
    /// Whether it votes.
    pub is_voter: bool,
    /// Whether it leads.
    pub leads: bool,
    /// Whether it is this node.
    pub is_myself: bool,
    /// How far it is. Only the leader knows, of the others.
    pub progress: Option<ProgressStatus>,
}

/// How far a follower is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressStatus {
    /// Its log is durable up to here.
    pub match_index: u64,
    /// The next entry that it is sent.
    pub next_index: u64,
    /// How it is sent entries: `probe`, `replicate` or `snapshot`.
    pub mode: &'static str,
    /// Bytes sent and not acknowledged.
    pub inflight_bytes: u64,
    /// Since it was last heard of.
    pub silent: Duration,
}

impl RaftStatus {
    /// Up to which index a member has the log, as far as this node knows: of itself what it has applied.
    pub fn offset_of(&self, id: u64) -> u64 {
        let progress = self.members.iter().find(|member| member.id == id).and_then(|member| member.progress);
        match progress {
            Some(progress) => progress.match_index,
            None if id == self.node_id => self.applied_index,
            None => 0,
        }
    }

    /// The member that leads, if one is known.
    pub fn leader(&self) -> Option<&MemberStatus> {
        self.members.iter().find(|member| member.leads)
    }
}

/// The log on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogStatus {
    /// Bytes that are not cut yet.
    pub bytes: u64,
    /// Segment files.
    pub segments: usize,
    /// Groups written.
    pub groups: u64,
    /// Entries written.
    pub entries: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Calls of fdatasync.
    pub syncs: u64,
    /// Time in them, together.
    pub sync_time: Duration,
    /// The longest of them.
    pub sync_time_max: Duration,
}

/// One level of the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelStatus {
    /// Tables.
    pub tables: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// The tree.
#[derive(Clone, Debug, Default)]
pub struct LsmStatus {
    /// The levels, from the newest down.
    pub levels: Vec<LevelStatus>,
    /// Memtables that wait for their flush.
    pub sealed_memtables: usize,
    /// Flushes done.
    pub flushes: u64,
    /// Bytes of the tables they wrote.
    pub flushed_bytes: u64,
    /// Compactions done.
    pub compactions: u64,
    /// Bytes that compactions read.
    pub compaction_read_bytes: u64,
    /// Bytes that compactions wrote.
    pub compaction_written_bytes: u64,
    /// Bytes that compaction is behind.
    pub compaction_debt_bytes: u64,
    /// Time that writes were slowed down.
    pub slowdown_time: Duration,
    /// Look-ups of blocks that the cache had.
    pub block_cache_hits: u64,
    /// Look-ups of blocks that it had not.
    pub block_cache_misses: u64,
    /// Look-ups of rows that the cache had.
    pub row_cache_hits: u64,
    /// Look-ups of rows that it had not.
    pub row_cache_misses: u64,
    /// Filters asked.
    pub filter_checks: u64,
    /// Filters that spared a read.
    pub filter_useful: u64,
    /// Filters that said "maybe" where there was nothing.
    pub filter_false_positives: u64,
    /// Free bytes of the file system.
    pub disk_free_bytes: u64,
    /// Views older than 10 s that were seen.
    pub old_views: u64,
}

/// The executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecutorStatus {
    /// Turns that evaluated something.
    pub drains: u64,
    /// Commands evaluated.
    pub commands: u64,
    /// Entries proposed.
    pub entries: u64,
    /// Messages that wait.
    pub queued_messages: usize,
    /// Writes refused by admission.
    pub refused: u64,
    /// Effects applied since the last checkpoint.
    pub changes_since_save: u64,
}

/// Checkpoints made by SAVE and BGSAVE.
#[derive(Clone, Copy, Debug, Default)]
pub struct SaveStatus {
    /// When the last one was done, in seconds since 1970; the start of the node if there was none.
    pub last_unix_seconds: u64,
    /// How many were done.
    pub done: u64,
    /// How long the last one took.
    pub last_time: Option<Duration>,
    /// The last one failed.
    pub last_failed: bool,
    /// When the one under way began.
    pub running_for: Option<Duration>,
}

impl NodeStatus {
    /// Memory that `memory-budget` bounds, and the buffers of clients and tunnels.
    pub fn memory_used_bytes(&self) -> u64 {
        let memory = &self.memory;
        memory.memtable_bytes
            + memory.cache_bytes
            + memory.overlay_bytes
            + memory.in_flight_bytes
            + self.clients.buffer_bytes
            + self.peers.tunnel_buffer_bytes
    }

    /// All keys of all databases.
    pub fn keys(&self) -> u64 {
        self.databases.iter().map(|database| database.keys).sum()
    }
}
