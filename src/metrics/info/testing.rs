//! A node and its counters to which everything has happened, for the tests of the tables.

use std::time::Duration;

use crate::metrics::peers::{PeerStatus, PeersStatus};
use crate::metrics::process::Usage;
use crate::metrics::status::*;
use crate::metrics::{Counter, HttpKey, Stats};

/// A node to which everything has happened that a field can tell.
#[expect(clippy::too_many_lines, reason = "one line per field")]
pub(crate) fn eventful() -> NodeStatus {
    NodeStatus {
        process: ProcessStatus {
            id: 7,
            run_id: "ab".repeat(20),
            executable: "/bin/sisyphusdb".to_string(),
            os: "Linux 6 x86_64".to_string(),
            now_unix_micros: 1_700_000_000_000_001,
            uptime: Duration::from_secs(200_000),
            resp_addresses: vec!["127.0.0.1:6379".parse().unwrap(), "[::1]:6379".parse().unwrap()],
            http_addresses: vec!["127.0.0.1:8001".parse().unwrap()],
            usage: Usage {
                resident_bytes: 5 << 20,
                resident_bytes_peak: 6 << 20,
                cpu_system: Duration::from_millis(1),
                cpu_user: Duration::from_millis(2),
                system_memory_bytes: 1 << 34,
                descriptors: 9,
            },
            loading: true,
            stopping: true,
        },
        configured: Configured {
            maxclients: 10_000,
            memory_budget_bytes: 64 << 20,
            io_threads: 2,
            config_file: "/etc/sisyphusdb.conf".to_string(),
            cluster_enabled: true,
            latency_tracking: true,
            latency_percentiles: vec![50.0, 99.9],
        },
        clients: ClientsStatus {
            connected: 5,
            blocked: 1,
            watching: 2,
            watched_keys: 3,
            input_buffer_bytes_max: 100,
            output_buffer_bytes_max: 200,
            buffer_bytes: 4096,
        },
        memory: MemoryStatus {
            memtable_bytes: 1 << 20,
            cache_bytes: 2 << 20,
            overlay_bytes: 100,
            in_flight_bytes: 50,
        },
        databases: vec![
            DatabaseStatus { number: 0, keys: 10, expires: 4 },
            DatabaseStatus { number: 1, ..DatabaseStatus::default() },
        ],
        raft: RaftStatus {
            node_id: 11,
            cluster_id: 0xbeef,
            role: Role::Leader,
            term: 3,
            leader_id: Some(11),
            voters: 3,
            learners: 1,
            is_joint: true,
            has_lease: true,
            votes: true,
            members: vec![
                MemberStatus { progress: None, leads: true, is_myself: true, ..member(11, "a") },
                member(12, "b"),
                MemberStatus { is_voter: false, ..member(13, "c") },
            ],
            last_index: 105,
            commit_index: 104,
            applied_index: 103,
            durable_index: 102,
            flushed_index: 90,
            leader_changes: 2,
            proposals_refused: 1,
        },
        log: LogStatus {
            bytes: 640,
            segments: 2,
            groups: 30,
            entries: 105,
            written_bytes: 6400,
            syncs: 31,
            sync_time: Duration::from_micros(3100),
            sync_time_max: Duration::from_micros(400),
        },
        lsm: LsmStatus {
            levels: vec![LevelStatus { tables: 2, bytes: 1000 }, LevelStatus { tables: 3, bytes: 9000 }],
            sealed_memtables: 1,
            flushes: 4,
            flushed_bytes: 4000,
            compactions: 2,
            compaction_read_bytes: 3000,
            compaction_written_bytes: 2500,
            compaction_debt_bytes: 12,
            slowdown_time: Duration::from_millis(3),
            block_cache_hits: 8,
            block_cache_misses: 6,
            row_cache_hits: 9,
            row_cache_misses: 5,
            filter_checks: 40,
            filter_useful: 30,
            filter_false_positives: 1,
            disk_free_bytes: 1 << 40,
            old_views: 1,
        },
        executor: ExecutorStatus {
            drains: 50,
            commands: 500,
            entries: 49,
            queued_messages: 2,
            refused: 3,
            changes_since_save: 12,
        },
        save: SaveStatus {
            last_unix_seconds: 1_700_000_000,
            done: 2,
            last_time: Some(Duration::from_secs(3)),
            last_failed: true,
            running_for: Some(Duration::from_secs(1)),
        },
        peers: PeersStatus {
            links: vec![PeerStatus {
                id: 12,
                address: "b.example:5001".to_string(),
                is_connected: true,
                sent: 70,
                dropped: 2,
                received: 60,
                opened: 1,
            }],
            refused: 4,
            tunnels_open: 1,
            tunnels_opened: 3,
            tunnels_served: 2,
            tunnel_sent_bytes: 900,
            tunnel_received_bytes: 800,
            tunnel_buffer_bytes: 64,
        },
    }
}

fn member(id: u64, name: &str) -> MemberStatus {
    MemberStatus {
        id,
        name: name.to_string(),
        host: format!("{name}.example"),
        port: 6379,
        peer: format!("{name}.example:5001"),
        is_voter: true,
        leads: false,
        is_myself: false,
        progress: Some(ProgressStatus {
            match_index: 100,
            next_index: 106,
            mode: "replicate",
            inflight_bytes: 640,
            silent: Duration::from_secs(2),
        }),
    }
}

/// Counters that have all moved.
pub(crate) fn eventful_stats() -> Stats {
    let stats = Stats::new(vec!["get".to_string(), "config|set".to_string()]);
    stats.sample(Duration::ZERO, 0);
    stats.local(|local| {
        for counter in Counter::ALL {
            local.count(*counter, 4096 + *counter as u64);
        }
        local.command(0, 10, Duration::from_micros(40));
        local.command_failed(1);
        local.command_rejected(1);
        local.error(b"ERR no");
        for status in [200, 404] {
            let key = HttpKey { method: "GET", endpoint: "/get", status };
            local.http(key, Duration::from_millis(2));
        }
    });
    stats.sample(Duration::from_secs(2), 9 << 20);
    stats
}
