//! The fields of INFO, one row each: its name, its value, and what changes it.

use std::time::Duration;

use super::super::counters::Counter;
use super::super::status::Role;
use super::{Change, Field, Snapshot, human};

/// The version of Redis whose behaviour is followed.
pub const REDIS_VERSION: &str = "7.2.4";

const fn moves(name: &'static str, event: &'static str, value: fn(&Snapshot<'_>) -> String) -> Field {
    Field { name, value, change: Change::With(event) }
}

const fn fixed(name: &'static str, by: &'static str, value: fn(&Snapshot<'_>) -> String) -> Field {
    Field { name, value, change: Change::AtStart(by) }
}

const fn constant(name: &'static str, why: &'static str, value: fn(&Snapshot<'_>) -> String) -> Field {
    Field { name, value, change: Change::Never(why) }
}

fn zero(_: &Snapshot<'_>) -> String {
    "0".to_string()
}

fn count(snapshot: &Snapshot<'_>, counter: Counter) -> String {
    snapshot.totals.get(counter).to_string()
}

fn seconds(duration: Option<Duration>) -> String {
    duration.map_or("-1".to_string(), |duration| duration.as_secs().to_string())
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", part as f64 * 100.0 / whole.max(1) as f64)
}

pub(super) const SERVER: &[Field] = &[
    constant("redis_version", "the version of Redis whose behaviour is followed", |_| {
        REDIS_VERSION.to_string()
    }),
    constant("sisyphus_version", "the version of this program", |_| env!("CARGO_PKG_VERSION").to_string()),
    fixed("redis_mode", "`cluster-enabled`", |s| {
        if s.status.configured.cluster_enabled { "cluster" } else { "standalone" }.to_string()
    }),
    fixed("os", "the system", |s| s.status.process.os.clone()),
    constant("arch_bits", "the width of this build", |_| usize::BITS.to_string()),
    fixed("process_id", "the system", |s| s.status.process.id.to_string()),
    constant("process_supervised", "the service manager is not asked", |_| "no".to_string()),
    fixed("run_id", "chance", |s| s.status.process.run_id.clone()),
    fixed("tcp_port", "`port`", |s| {
        s.status.process.resp_addresses.first().map_or(0, |address| address.port()).to_string()
    }),
    moves("server_time_usec", "time", |s| s.status.process.now_unix_micros.to_string()),
    moves("uptime_in_seconds", "time", |s| s.status.process.uptime.as_secs().to_string()),
    moves("uptime_in_days", "time", |s| (s.status.process.uptime.as_secs() / 86_400).to_string()),
    constant("hz", "work is done when it is due", |_| "10".to_string()),
    constant("configured_hz", "work is done when it is due", |_| "10".to_string()),
    moves("lru_clock", "time", |s| (s.status.process.now_unix_micros / 1_000_000 % (1 << 24)).to_string()),
    fixed("executable", "the program", |s| s.status.process.executable.clone()),
    fixed("config_file", "the command line", |s| s.status.configured.config_file.clone()),
    fixed("io_threads_active", "`io-threads`", |s| u8::from(s.status.configured.io_threads > 1).to_string()),
];

pub(super) const CLIENTS: &[Field] = &[
    moves("connected_clients", "a client connects", |s| s.status.clients.connected.to_string()),
    constant("cluster_connections", "nodes have no connections of their own in this version", zero),
    moves("maxclients", "CONFIG SET maxclients", |s| s.status.configured.maxclients.to_string()),
    moves("client_recent_max_input_buffer", "a client sends much", |s| {
        s.status.clients.input_buffer_bytes_max.to_string()
    }),
    moves("client_recent_max_output_buffer", "a client does not read", |s| {
        s.status.clients.output_buffer_bytes_max.to_string()
    }),
    constant("blocked_clients", "no command of this version waits", zero),
    constant("tracking_clients", "client tracking is not in this version", zero),
    constant("pubsub_clients", "publish and subscribe are not in this version", zero),
    moves("watching_clients", "WATCH", |s| s.status.clients.watching.to_string()),
    constant("clients_in_timeout_table", "every waiting client has a timer of its own", zero),
    moves("total_watched_keys", "WATCH", |s| s.status.clients.watched_keys.to_string()),
];

pub(super) const MEMORY: &[Field] = &[
    moves("used_memory", "data are written or read", |s| s.status.memory_used_bytes().to_string()),
    moves("used_memory_human", "data are written or read", |s| human(s.status.memory_used_bytes())),
    moves("used_memory_rss", "the process grows", |s| s.status.process.usage.resident_bytes.to_string()),
    moves("used_memory_rss_human", "the process grows", |s| human(s.status.process.usage.resident_bytes)),
    moves("used_memory_peak", "data are written or read", |s| peak(s).to_string()),
    moves("used_memory_peak_human", "data are written or read", |s| human(peak(s))),
    moves("used_memory_peak_perc", "data are written or read", |s| {
        percent(s.status.memory_used_bytes(), peak(s))
    }),
    moves("used_memory_overhead", "commands are in flight", |s| overhead(s).to_string()),
    moves("used_memory_dataset", "data are written or read", |s| dataset(s).to_string()),
    moves("used_memory_dataset_perc", "data are written or read", |s| {
        percent(dataset(s), s.status.memory_used_bytes())
    }),
    fixed("total_system_memory", "the machine", |s| s.status.process.usage.system_memory_bytes.to_string()),
    fixed("total_system_memory_human", "the machine", |s| human(s.status.process.usage.system_memory_bytes)),
    constant("used_memory_scripts", "scripts are not in this version", zero),
    constant("number_of_cached_scripts", "scripts are not in this version", zero),
    fixed("maxmemory", "`memory-budget`", |s| s.status.configured.memory_budget_bytes.to_string()),
    fixed("maxmemory_human", "`memory-budget`", |s| human(s.status.configured.memory_budget_bytes)),
    constant("maxmemory_policy", "data are on disk and never evicted", |_| "noeviction".to_string()),
    moves("mem_fragmentation_ratio", "the process grows", |s| {
        format!(
            "{:.2}",
            s.status.process.usage.resident_bytes as f64 / s.status.memory_used_bytes().max(1) as f64
        )
    }),
    moves("mem_fragmentation_bytes", "the process grows", |s| {
        (i128::from(s.status.process.usage.resident_bytes) - i128::from(s.status.memory_used_bytes()))
            .to_string()
    }),
    moves("mem_clients_normal", "a client sends or does not read", |s| {
        s.status.clients.buffer_bytes.to_string()
    }),
    constant("mem_allocator", "the allocator of the system", |_| "libc".to_string()),
    constant("active_defrag_running", "nothing has to be defragmented", zero),
    constant("lazyfree_pending_objects", "deleting never takes time in proportion to size", zero),
];

pub(super) const PERSISTENCE: &[Field] = &[
    fixed("loading", "the log, which is replayed before the node listens", |s| {
        u8::from(s.status.process.loading).to_string()
    }),
    constant("async_loading", "a node that loads answers nothing", zero),
    moves("rdb_changes_since_last_save", "a write; SAVE", |s| {
        s.status.executor.changes_since_save.to_string()
    }),
    moves("rdb_bgsave_in_progress", "BGSAVE", |s| u8::from(s.status.save.running_for.is_some()).to_string()),
    moves("rdb_last_save_time", "SAVE", |s| s.status.save.last_unix_seconds.to_string()),
    moves("rdb_last_bgsave_status", "a checkpoint fails", |s| {
        if s.status.save.last_failed { "err" } else { "ok" }.to_string()
    }),
    moves("rdb_last_bgsave_time_sec", "SAVE", |s| seconds(s.status.save.last_time)),
    moves("rdb_current_bgsave_time_sec", "BGSAVE", |s| seconds(s.status.save.running_for)),
    moves("rdb_saves", "SAVE", |s| s.status.save.done.to_string()),
    constant("aof_enabled", "every acknowledged write is in the log on disk", |_| "1".to_string()),
    constant("aof_rewrite_in_progress", "the log is cut, not rewritten", zero),
    constant("aof_rewrite_scheduled", "the log is cut, not rewritten", zero),
    constant("aof_last_bgrewrite_status", "the log is cut, not rewritten", |_| "ok".to_string()),
    constant("aof_last_write_status", "a node whose log cannot be written stops", |_| "ok".to_string()),
    moves("aof_current_size", "a write", |s| s.status.log.bytes.to_string()),
];

pub(super) const STATS: &[Field] = &[
    moves("total_connections_received", "a client connects", |s| count(s, Counter::ConnectionsReceived)),
    moves("total_commands_processed", "a command", |s| s.totals.calls().to_string()),
    moves("instantaneous_ops_per_sec", "commands", |s| format!("{:.0}", s.totals.rates.commands)),
    moves("total_net_input_bytes", "a command", |s| count(s, Counter::NetInputBytes)),
    moves("total_net_output_bytes", "a reply", |s| count(s, Counter::NetOutputBytes)),
    moves("instantaneous_input_kbps", "commands", |s| format!("{:.2}", s.totals.rates.input_bytes / 1024.0)),
    moves("instantaneous_output_kbps", "replies", |s| format!("{:.2}", s.totals.rates.output_bytes / 1024.0)),
    moves("rejected_connections", "maxclients is reached", |s| count(s, Counter::ConnectionsRejected)),
    moves("expired_keys", "a key expires", |s| count(s, Counter::KeysExpired)),
    constant("evicted_keys", "data are on disk and never evicted", zero),
    constant("evicted_clients", "clients are bounded one by one", zero),
    moves("keyspace_hits", "a read finds its key", |s| count(s, Counter::KeyspaceHits)),
    moves("keyspace_misses", "a read finds no key", |s| count(s, Counter::KeyspaceMisses)),
    constant("pubsub_channels", "publish and subscribe are not in this version", zero),
    constant("pubsub_patterns", "publish and subscribe are not in this version", zero),
    constant("latest_fork_usec", "a checkpoint links files and does not fork", zero),
    constant("total_forks", "a checkpoint links files and does not fork", zero),
    constant("tracking_total_keys", "client tracking is not in this version", zero),
    constant("unexpected_error_replies", "there are no replicas that could send one", zero),
    moves("total_error_replies", "an error reply", |s| count(s, Counter::ErrorReplies)),
    moves("total_reads_processed", "a client sends", |s| count(s, Counter::Reads)),
    moves("total_writes_processed", "a client is answered", |s| count(s, Counter::Writes)),
    moves("client_query_buffer_limit_disconnections", "a client sends too much", |s| {
        count(s, Counter::QueryBufferDisconnections)
    }),
    moves("client_output_buffer_limit_disconnections", "a client does not read", |s| {
        count(s, Counter::OutputBufferDisconnections)
    }),
    moves("acl_access_denied_auth", "AUTH with a wrong password", |s| count(s, Counter::AuthFailures)),
];

pub(super) const REPLICATION: &[Field] = &[
    moves("role", "an election", |s| {
        if s.status.raft.role == Role::Leader { "master" } else { "slave" }.to_string()
    }),
    moves("connected_slaves", "an election, and a change of the membership", |s| {
        let followers = s.status.raft.members.iter().filter(|member| member.progress.is_some());
        followers.count().to_string()
    }),
    constant("master_failover_state", "failover is Raft's", |_| "no-failover".to_string()),
    fixed("master_replid", "the data directory", |s| format!("{:040x}", s.status.raft.cluster_id)),
    constant("master_replid2", "a cluster keeps its id", |_| "0".repeat(40)),
    moves("master_repl_offset", "a write", |s| s.status.raft.applied_index.to_string()),
    constant("second_repl_offset", "a cluster keeps its id", |_| "-1".to_string()),
];

pub(super) const CPU: &[Field] = &[
    moves("used_cpu_sys", "work", |s| format!("{:.6}", s.status.process.usage.cpu_system.as_secs_f64())),
    moves("used_cpu_user", "work", |s| format!("{:.6}", s.status.process.usage.cpu_user.as_secs_f64())),
    constant("used_cpu_sys_children", "there are no child processes", |_| "0.000000".to_string()),
    constant("used_cpu_user_children", "there are no child processes", |_| "0.000000".to_string()),
];

pub(super) const CLUSTER: &[Field] = &[fixed("cluster_enabled", "`cluster-enabled`", |s| {
    u8::from(s.status.configured.cluster_enabled).to_string()
})];

pub(super) const RAFT: &[Field] = &[
    fixed("raft_node_id", "the data directory", |s| format!("{:016x}", s.status.raft.node_id)),
    moves("raft_role", "an election", |s| {
        match s.status.raft.role {
            Role::Leader => "leader",
            Role::Candidate => "candidate",
            Role::Follower => "follower",
        }
        .to_string()
    }),
    moves("raft_leader_id", "an election", |s| {
        s.status.raft.leader_id.map_or("-1".to_string(), |id| format!("{id:016x}"))
    }),
    moves("raft_current_term", "an election", |s| s.status.raft.term.to_string()),
    moves("raft_voters", "a change of the membership", |s| s.status.raft.voters.to_string()),
    moves("raft_learners", "a change of the membership", |s| s.status.raft.learners.to_string()),
    moves("raft_change_pending", "a change of the membership", |s| {
        u8::from(s.status.raft.is_joint).to_string()
    }),
    moves("raft_lease", "an election", |s| u8::from(s.status.raft.has_lease).to_string()),
    moves("raft_last_index", "a write", |s| s.status.raft.last_index.to_string()),
    moves("raft_commit_index", "a write", |s| s.status.raft.commit_index.to_string()),
    moves("raft_applied_index", "a write", |s| s.status.raft.applied_index.to_string()),
    moves("raft_durable_index", "a write", |s| s.status.raft.durable_index.to_string()),
    moves("raft_flushed_index", "a flush", |s| s.status.raft.flushed_index.to_string()),
    moves("raft_leader_changes", "an election", |s| s.status.raft.leader_changes.to_string()),
    moves("raft_proposals_refused", "a proposal is refused", |s| s.status.raft.proposals_refused.to_string()),
    moves("raft_read_permits", "a read", |s| count(s, Counter::ReadPermits)),
    moves("raft_log_bytes", "a write", |s| s.status.log.bytes.to_string()),
    moves("raft_log_segments", "writes", |s| s.status.log.segments.to_string()),
    moves("raft_log_groups", "a write", |s| s.status.log.groups.to_string()),
    moves("raft_log_entries_written", "a write", |s| s.status.log.entries.to_string()),
    moves("raft_log_bytes_written", "a write", |s| s.status.log.written_bytes.to_string()),
    moves("raft_log_syncs", "a write", |s| s.status.log.syncs.to_string()),
    moves("raft_log_sync_usec", "a write", |s| s.status.log.sync_time.as_micros().to_string()),
    moves("raft_log_sync_usec_max", "a slow disk", |s| s.status.log.sync_time_max.as_micros().to_string()),
];

pub(super) const EXECUTOR: &[Field] = &[
    moves("executor_drains", "a write", |s| s.status.executor.drains.to_string()),
    moves("executor_commands", "a write", |s| s.status.executor.commands.to_string()),
    moves("executor_entries", "a write", |s| s.status.executor.entries.to_string()),
    moves("executor_queued_messages", "load", |s| s.status.executor.queued_messages.to_string()),
    moves("executor_refused", "admission refuses a write", |s| s.status.executor.refused.to_string()),
    moves("executor_stops_disk", "a command needs the disk", |s| count(s, Counter::StopsDisk)),
    moves("executor_stops_long", "a long command", |s| count(s, Counter::StopsLong)),
    moves("executor_stops_stamp", "a read of a key that is due", |s| count(s, Counter::StopsStamp)),
];

pub(super) const LSM: &[Field] = &[
    moves("lsm_memtable_bytes", "a write", |s| s.status.memory.memtable_bytes.to_string()),
    moves("lsm_sealed_memtables", "a memtable is full", |s| s.status.lsm.sealed_memtables.to_string()),
    moves("lsm_cache_bytes", "a read from a table", |s| s.status.memory.cache_bytes.to_string()),
    moves("lsm_flushes", "a flush", |s| s.status.lsm.flushes.to_string()),
    moves("lsm_flushed_bytes", "a flush", |s| s.status.lsm.flushed_bytes.to_string()),
    moves("lsm_compactions", "a compaction", |s| s.status.lsm.compactions.to_string()),
    moves("lsm_compaction_read_bytes", "a compaction", |s| s.status.lsm.compaction_read_bytes.to_string()),
    moves("lsm_compaction_written_bytes", "a compaction", |s| {
        s.status.lsm.compaction_written_bytes.to_string()
    }),
    moves("lsm_compaction_debt_bytes", "writes", |s| s.status.lsm.compaction_debt_bytes.to_string()),
    moves("lsm_slowdown_usec", "compaction falls behind", |s| {
        s.status.lsm.slowdown_time.as_micros().to_string()
    }),
    moves("lsm_block_cache_hits", "a read from a table", |s| s.status.lsm.block_cache_hits.to_string()),
    moves("lsm_block_cache_misses", "a read from a table", |s| s.status.lsm.block_cache_misses.to_string()),
    moves("lsm_row_cache_hits", "a read", |s| s.status.lsm.row_cache_hits.to_string()),
    moves("lsm_row_cache_misses", "a read", |s| s.status.lsm.row_cache_misses.to_string()),
    moves("lsm_filter_checks", "a read from tables", |s| s.status.lsm.filter_checks.to_string()),
    moves("lsm_filter_useful", "a read of an absent key", |s| s.status.lsm.filter_useful.to_string()),
    moves("lsm_filter_false_positives", "a filter errs", |s| s.status.lsm.filter_false_positives.to_string()),
    moves("lsm_disk_free_bytes", "the disk fills", |s| s.status.lsm.disk_free_bytes.to_string()),
    moves("lsm_old_views", "a read takes more than 10 s", |s| s.status.lsm.old_views.to_string()),
];

/// The most memory in use: what was sampled, or what is in use now.
fn peak(snapshot: &Snapshot<'_>) -> u64 {
    snapshot.totals.memory_peak_bytes.max(snapshot.status.memory_used_bytes())
}

fn dataset(snapshot: &Snapshot<'_>) -> u64 {
    snapshot.status.memory.memtable_bytes + snapshot.status.memory.cache_bytes
}

fn overhead(snapshot: &Snapshot<'_>) -> u64 {
    snapshot.status.memory_used_bytes() - dataset(snapshot)
}

pub(super) const PEERS: &[Field] = &[
    moves("peers_refused", "a node that is not let in", |s| s.status.peers.refused.to_string()),
    moves("tunnels_open", "a client on `proxy-port`", |s| s.status.peers.tunnels_open.to_string()),
    moves("tunnels_opened", "a client that is taken to the leader", |s| {
        s.status.peers.tunnels_opened.to_string()
    }),
    moves("tunnels_served", "a client that another node brings", |s| {
        s.status.peers.tunnels_served.to_string()
    }),
    moves("tunnel_sent_bytes", "a byte in a tunnel", |s| s.status.peers.tunnel_sent_bytes.to_string()),
    moves("tunnel_received_bytes", "a byte in a tunnel", |s| {
        s.status.peers.tunnel_received_bytes.to_string()
    }),
    moves("tunnel_buffer_bytes", "a client that does not read", |s| {
        s.status.peers.tunnel_buffer_bytes.to_string()
    }),
];
