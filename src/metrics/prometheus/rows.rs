//! The metrics, one row each: name, help, and where the value comes from.
//!
//! Three sets: the names of SisyphusDB's first version, so that its dashboards go on working; the names of
//! redis_exporter that stock Redis dashboards plot; and our own, `sisyphus_*`.

use super::super::counters::Counter;
use super::super::status::Role;
use super::samples;
use super::{Kind, Metric, Value, counter, gauge, many, seconds};

pub(super) const SISYPHUSDB: &[Metric] = &[
    many("raft_current_term", "The current Raft term.", Kind::Gauge, |s| {
        samples::by_node(s, s.status.raft.term)
    }),
    many("raft_commit_index", "The last log entry that is committed.", Kind::Gauge, |s| {
        samples::by_node(s, s.status.raft.commit_index)
    }),
    many("raft_state", "What this node does: 0 follower, 1 candidate, 2 leader.", Kind::Gauge, |s| {
        samples::by_node(s, samples::role(s))
    }),
    many("raft_leader", "1 on the node that leads, 0 on others.", Kind::Gauge, |s| {
        samples::by_node(s, u64::from(s.status.raft.role == Role::Leader))
    }),
    many("kv_level_file_count", "Tables on each level.", Kind::Gauge, |s| {
        samples::by_level(s, |level| level.tables as u64)
    }),
    many("kv_level_size_bytes", "Bytes of the tables on each level.", Kind::Gauge, |s| {
        samples::by_level(s, |level| level.bytes)
    }),
    many("http_requests_total", "HTTP requests answered.", Kind::Counter, samples::http_requests),
    many(
        "http_request_duration_seconds",
        "How long HTTP requests took.",
        Kind::Histogram,
        samples::http_durations,
    ),
];

pub(super) const REDIS: &[Metric] = &[
    gauge("redis_up", "Whether the node answers.", |_| 1.0),
    many("redis_instance_info", "Facts about the node, as labels.", Kind::Gauge, samples::instance),
    gauge("redis_start_time_seconds", "When the node started, since 1970.", |s| {
        (s.status.process.now_unix_micros as f64 / 1e6 - s.status.process.uptime.as_secs_f64()).max(0.0)
    }),
    gauge("redis_uptime_in_seconds", "How long the node runs.", |s| s.status.process.uptime.as_secs_f64()),
    gauge("redis_connected_clients", "Clients connected over RESP.", |s| s.status.clients.connected as f64),
    gauge("redis_blocked_clients", "Clients that wait in a command.", |s| s.status.clients.blocked as f64),
    gauge("redis_config_maxclients", "The most clients that may be connected.", |s| {
        s.status.configured.maxclients as f64
    }),
    gauge(
        "redis_memory_used_bytes",
        "Memory that the memory budget bounds, and the buffers of clients.",
        |s| s.status.memory_used_bytes() as f64,
    ),
    gauge("redis_memory_max_bytes", "The memory budget.", |s| s.status.configured.memory_budget_bytes as f64),
    gauge("redis_memory_used_rss_bytes", "Resident memory of the process.", |s| {
        s.status.process.usage.resident_bytes as f64
    }),
    gauge("redis_memory_used_peak_bytes", "The most memory that was used.", |s| {
        s.totals.memory_peak_bytes.max(s.status.memory_used_bytes()) as f64
    }),
    gauge("redis_total_system_memory_bytes", "Memory of the machine.", |s| {
        s.status.process.usage.system_memory_bytes as f64
    }),
    counter("redis_commands_processed_total", "Commands that ran.", |s| s.totals.calls()),
    many("redis_commands_total", "Commands that ran, by name.", Kind::Counter, |s| {
        samples::by_command(s, |totals| Value::Count(totals.calls))
    }),
    many("redis_commands_duration_seconds_total", "Time in commands, by name.", Kind::Seconds, |s| {
        samples::by_command(s, |totals| Value::Number(totals.latencies.total().as_secs_f64()))
    }),
    many(
        "redis_commands_failed_calls_total",
        "Commands that answered with an error, by name.",
        Kind::Counter,
        |s| samples::by_command(s, |totals| Value::Count(totals.failed)),
    ),
    many(
        "redis_commands_rejected_calls_total",
        "Commands refused before they ran, by name.",
        Kind::Counter,
        |s| samples::by_command(s, |totals| Value::Count(totals.rejected)),
    ),
    many("redis_errors_total", "Error replies, by their first word.", Kind::Counter, samples::errors),
    counter("redis_keyspace_hits_total", "Reads that found their key.", |s| {
        s.totals.get(Counter::KeyspaceHits)
    }),
    counter("redis_keyspace_misses_total", "Reads that found no key.", |s| {
        s.totals.get(Counter::KeyspaceMisses)
    }),
    counter("redis_expired_keys_total", "Keys deleted because their time had come.", |s| {
        s.totals.get(Counter::KeysExpired)
    }),
    counter("redis_evicted_keys_total", "Keys evicted: none ever is.", |_| 0),
    counter("redis_net_input_bytes_total", "Bytes from clients.", |s| s.totals.get(Counter::NetInputBytes)),
    counter("redis_net_output_bytes_total", "Bytes to clients.", |s| s.totals.get(Counter::NetOutputBytes)),
    counter("redis_connections_received_total", "Connections accepted.", |s| {
        s.totals.get(Counter::ConnectionsReceived)
    }),
    counter("redis_rejected_connections_total", "Connections refused because of maxclients.", |s| {
        s.totals.get(Counter::ConnectionsRejected)
    }),
    seconds("redis_cpu_sys_seconds_total", "Processor time in the kernel.", |s| {
        s.status.process.usage.cpu_system
    }),
    seconds("redis_cpu_user_seconds_total", "Processor time in the program.", |s| {
        s.status.process.usage.cpu_user
    }),
    many("redis_db_keys", "Keys, by database.", Kind::Gauge, |s| {
        samples::by_database(s, |database| database.keys as f64)
    }),
    many("redis_db_keys_expiring", "Keys with a time to live, by database.", Kind::Gauge, |s| {
        samples::by_database(s, |database| database.expires as f64)
    }),
    gauge("redis_connected_slaves", "The other members, on the leader.", |s| {
        s.status.raft.members.iter().filter(|member| member.progress.is_some()).count() as f64
    }),
    gauge("redis_master_repl_offset", "The last log entry that is applied.", |s| {
        s.status.raft.applied_index as f64
    }),
    gauge("redis_loading_dump_file", "Whether the log is being replayed.", |s| {
        f64::from(u8::from(s.status.process.loading))
    }),
    gauge("redis_rdb_changes_since_last_save", "Changes since the last checkpoint.", |s| {
        s.status.executor.changes_since_save as f64
    }),
    gauge("redis_rdb_last_save_timestamp_seconds", "When the last checkpoint was done, since 1970.", |s| {
        s.status.save.last_unix_seconds as f64
    }),
];

pub(super) const OWN: &[Metric] = &[
    many("sisyphus_build_info", "The version of the program, as a label.", Kind::Gauge, samples::build),
    gauge("sisyphus_raft_has_leader", "Whether a leader is known.", |s| {
        f64::from(u8::from(s.status.raft.leader_id.is_some()))
    }),
    gauge("sisyphus_raft_is_leader", "Whether this node leads.", |s| {
        f64::from(u8::from(samples::role(s) == 2))
    }),
    gauge("sisyphus_raft_term", "The current term.", |s| s.status.raft.term as f64),
    gauge("sisyphus_raft_voters", "Members that vote.", |s| s.status.raft.voters as f64),
    gauge("sisyphus_raft_learners", "Members that do not vote.", |s| s.status.raft.learners as f64),
    many(
        "sisyphus_raft_follower_lag_entries",
        "Entries of the log that a follower lacks; on the leader.",
        Kind::Gauge,
        samples::by_follower,
    ),
    gauge("sisyphus_raft_last_index", "The last entry of the log.", |s| s.status.raft.last_index as f64),
    gauge("sisyphus_raft_commit_index", "The last entry that is committed.", |s| {
        s.status.raft.commit_index as f64
    }),
    gauge("sisyphus_raft_durable_index", "The last entry that is durable here.", |s| {
        s.status.raft.durable_index as f64
    }),
    gauge("sisyphus_raft_applied_index", "The last entry that is applied.", |s| {
        s.status.raft.applied_index as f64
    }),
    gauge("sisyphus_raft_flushed_index", "The last entry that is in tables.", |s| {
        s.status.raft.flushed_index as f64
    }),
    counter("sisyphus_raft_leader_changes_total", "Leaders elected.", |s| s.status.raft.leader_changes),
    counter("sisyphus_raft_proposals_refused_total", "Proposals refused.", |s| {
        s.status.raft.proposals_refused
    }),
    counter("sisyphus_raft_read_permits_total", "Read permits handed out.", |s| {
        s.totals.get(Counter::ReadPermits)
    }),
    gauge("sisyphus_log_bytes", "Bytes of the log that are not cut.", |s| s.status.log.bytes as f64),
    gauge("sisyphus_log_segments", "Segments of the log.", |s| s.status.log.segments as f64),
    counter("sisyphus_log_groups_total", "Groups of entries written to the log.", |s| s.status.log.groups),
    counter("sisyphus_log_entries_total", "Entries written to the log.", |s| s.status.log.entries),
    counter("sisyphus_log_written_bytes_total", "Bytes written to the log.", |s| s.status.log.written_bytes),
    counter("sisyphus_log_syncs_total", "Calls of fdatasync for the log.", |s| s.status.log.syncs),
    seconds("sisyphus_log_sync_seconds_total", "Time in them.", |s| s.status.log.sync_time),
    gauge("sisyphus_log_sync_seconds_max", "The longest of them.", |s| {
        s.status.log.sync_time_max.as_secs_f64()
    }),
    gauge("sisyphus_lsm_memtable_bytes", "Bytes of the memtables.", |s| {
        s.status.memory.memtable_bytes as f64
    }),
    gauge("sisyphus_lsm_sealed_memtables", "Memtables that wait for their flush.", |s| {
        s.status.lsm.sealed_memtables as f64
    }),
    gauge("sisyphus_lsm_cache_bytes", "Bytes of the caches.", |s| s.status.memory.cache_bytes as f64),
    counter("sisyphus_lsm_flushes_total", "Flushes done.", |s| s.status.lsm.flushes),
    counter("sisyphus_lsm_flushed_bytes_total", "Bytes of the tables they wrote.", |s| {
        s.status.lsm.flushed_bytes
    }),
    counter("sisyphus_lsm_compactions_total", "Compactions done.", |s| s.status.lsm.compactions),
    counter("sisyphus_lsm_compaction_read_bytes_total", "Bytes that compactions read.", |s| {
        s.status.lsm.compaction_read_bytes
    }),
    counter("sisyphus_lsm_compaction_written_bytes_total", "Bytes that compactions wrote.", |s| {
        s.status.lsm.compaction_written_bytes
    }),
    counter("sisyphus_lsm_block_cache_hits_total", "Blocks that were in the cache.", |s| {
        s.status.lsm.block_cache_hits
    }),
    counter("sisyphus_lsm_block_cache_misses_total", "Blocks that were not.", |s| {
        s.status.lsm.block_cache_misses
    }),
    counter("sisyphus_lsm_row_cache_hits_total", "Rows that were in the cache.", |s| {
        s.status.lsm.row_cache_hits
    }),
    counter("sisyphus_lsm_row_cache_misses_total", "Rows that were not.", |s| s.status.lsm.row_cache_misses),
    counter("sisyphus_lsm_filter_checks_total", "Filters asked.", |s| s.status.lsm.filter_checks),
    counter("sisyphus_lsm_filter_useful_total", "Filters that spared a read.", |s| {
        s.status.lsm.filter_useful
    }),
    counter("sisyphus_lsm_filter_false_positives_total", "Filters that did not, in vain.", |s| {
        s.status.lsm.filter_false_positives
    }),
    counter("sisyphus_lsm_old_views_total", "Views older than 10 s.", |s| s.status.lsm.old_views),
    gauge("sisyphus_lsm_compaction_debt_bytes", "Bytes that compaction is behind.", |s| {
        s.status.lsm.compaction_debt_bytes as f64
    }),
    seconds("sisyphus_lsm_slowdown_seconds_total", "Time that writes were slowed down.", |s| {
        s.status.lsm.slowdown_time
    }),
    gauge("sisyphus_disk_free_bytes", "Free bytes of the file system.", |s| {
        s.status.lsm.disk_free_bytes as f64
    }),
    gauge("sisyphus_overlay_bytes", "Effects proposed and not yet applied.", |s| {
        s.status.memory.overlay_bytes as f64
    }),
    gauge("sisyphus_in_flight_bytes", "Commands and entries in flight.", |s| {
        s.status.memory.in_flight_bytes as f64
    }),
    gauge("sisyphus_client_buffer_bytes", "Buffers of all clients.", |s| {
        s.status.clients.buffer_bytes as f64
    }),
    counter("sisyphus_executor_drains_total", "Turns of the executor that evaluated something.", |s| {
        s.status.executor.drains
    }),
    counter("sisyphus_executor_commands_total", "Commands evaluated by the executor.", |s| {
        s.status.executor.commands
    }),
    counter("sisyphus_executor_entries_total", "Entries proposed by the executor.", |s| {
        s.status.executor.entries
    }),
    counter("sisyphus_executor_refused_total", "Writes refused by admission.", |s| s.status.executor.refused),
    gauge("sisyphus_executor_queued_messages", "Messages that wait for the executor.", |s| {
        s.status.executor.queued_messages as f64
    }),
    many(
        "sisyphus_stops_total",
        "Commands that stopped and ran again elsewhere, by reason.",
        Kind::Counter,
        samples::stops,
    ),
    counter("sisyphus_saves_total", "Checkpoints made by SAVE and BGSAVE.", |s| s.status.save.done),
    gauge("sisyphus_open_files", "Open files and sockets.", |s| s.status.process.usage.descriptors as f64),
    many(
        "sisyphus_command_duration_seconds",
        "How long commands took, by name.",
        Kind::Histogram,
        samples::command_durations,
    ),
];

pub(super) const PEERS: &[Metric] = &[
    many("sisyphus_peer_connected", "Whether there is a stream to a peer.", Kind::Gauge, |s| {
        samples::by_peer(s, |peer| u64::from(peer.is_connected))
    }),
    many("sisyphus_peer_messages_sent_total", "Messages sent to a peer.", Kind::Counter, |s| {
        samples::by_peer(s, |peer| peer.sent)
    }),
    many(
        "sisyphus_peer_messages_dropped_total",
        "Messages for a peer that were thrown away.",
        Kind::Counter,
        |s| samples::by_peer(s, |peer| peer.dropped),
    ),
    many("sisyphus_peer_messages_received_total", "Messages from a peer.", Kind::Counter, |s| {
        samples::by_peer(s, |peer| peer.received)
    }),
    many("sisyphus_peer_streams_opened_total", "Streams opened to a peer.", Kind::Counter, |s| {
        samples::by_peer(s, |peer| peer.opened)
    }),
    counter("sisyphus_peers_refused_total", "Nodes not let in, or cut off.", |s| s.status.peers.refused),
    gauge("sisyphus_tunnels_open", "Tunnels from and to other nodes.", |s| {
        s.status.peers.tunnels_open as f64
    }),
    counter("sisyphus_tunnels_opened_total", "Tunnels opened to other nodes.", |s| {
        s.status.peers.tunnels_opened
    }),
    counter("sisyphus_tunnels_served_total", "Tunnels opened by other nodes.", |s| {
        s.status.peers.tunnels_served
    }),
    counter("sisyphus_tunnel_sent_bytes_total", "Bytes sent through tunnels.", |s| {
        s.status.peers.tunnel_sent_bytes
    }),
    counter("sisyphus_tunnel_received_bytes_total", "Bytes received through tunnels.", |s| {
        s.status.peers.tunnel_received_bytes
    }),
    gauge("sisyphus_tunnel_buffer_bytes", "Buffers of all tunnels.", |s| {
        s.status.peers.tunnel_buffer_bytes as f64
    }),
];
