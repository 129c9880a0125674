//! What is the case now, gathered when somebody asks.

use std::{
    sync::atomic::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    cluster::Node,
    dispatch::Services,
    driver::{LogGauges, MachineClock},
    executor::Gauges,
    keyspace::DATABASES,
    lsm::{self, Access},
    metrics::{
        NodeStatus,
        peers::{PeerStatus, PeersStatus},
        process::{Usage, os},
        status::{
            ClientsStatus, Configured, DatabaseStatus, ExecutorStatus, LevelStatus, LogStatus, LsmStatus,
            MemberStatus, MemoryStatus, ProcessStatus, ProgressStatus, RaftStatus, Role,
        },
    },
    raft::{self, NodeId, Raft},
    transport::{LinkState, LinkStatus},
};

/// The state of this node at this moment. For some of it the disk may have to be read: for a thread that may wait.
pub(super) fn status(services: &Services) -> NodeStatus {
    let core = services.shard.core();
    let published = core.store().published();
    let gauges = core.gauges();
    NodeStatus {
        process: process(services),
        configured: configured(services),
        clients: clients(services),
        memory: memory(services, &published.view, &gauges),
        databases: databases(services),
        raft: raft_status(services),
        log: log(core.log_gauges(), gauges.entries),
        lsm: tree(&published.view, &gauges, services),
        executor: ExecutorStatus {
            drains: gauges.drains,
            commands: gauges.commands,
            entries: gauges.entries,
            queued_messages: gauges.queued_messages + core.executor.len(),
            refused: gauges.denied,
            changes_since_save: gauges.changes.saturating_sub(services.saves.changes_at_last()),
        },
        save: services.saves.status(),
        peers: peers(services),
    }
}

/// What [`NodeStatus::memory_used_bytes`] is now; nothing of that is on the disk.
pub(super) fn memory_used_bytes(services: &Services) -> u64 {
    let core = services.shard.core();
    let memory = memory(services, &core.store().published().view, &core.gauges());
    let (clients, peers) = (clients(services), peers(services));
    NodeStatus { memory, clients, peers, ..NodeStatus::default() }.memory_used_bytes()
}

fn memory(services: &Services, view: &lsm::View, gauges: &Gauges) -> MemoryStatus {
    MemoryStatus {
        memtable_bytes: gauges.debt.memtable_bytes.max(view.memtable_bytes()),
        cache_bytes: view.cache().stats().bytes,
        overlay_bytes: gauges.overlay_bytes as u64,
        in_flight_bytes: (gauges.in_flight_bytes + services.in_flight.used()) as u64,
    }
}

/// What the transport knows; nothing on a node that listens for no others.
pub(super) fn peers(services: &Services) -> PeersStatus {
    let Some(transport) = services.shard.transport_status() else { return PeersStatus::default() };
    let link = |(id, link): (_, LinkStatus)| PeerStatus {
        id,
        address: link.address,
        is_connected: link.state == LinkState::Connected,
        sent: link.sent,
        dropped: link.dropped,
        received: link.received,
        opened: link.opened,
    };
    PeersStatus {
        links: transport.links.into_iter().map(link).collect(),
        refused: transport.refused,
        tunnels_open: transport.tunnels.open,
        tunnels_opened: transport.tunnels.opened,
        tunnels_served: transport.tunnels.served,
        tunnel_sent_bytes: transport.tunnels.bytes_sent,
        tunnel_received_bytes: transport.tunnels.bytes_received,
        tunnel_buffer_bytes: transport.tunnels.buffered_bytes,
    }
}

/// What this node knows of the consensus, gathered under one lock of `raft`.
pub(super) fn raft_status(services: &Services) -> RaftStatus {
    let core = services.shard.core();
    let topology = services.topology();
    let gauges = core.gauges();
    let is_joint = core.members().configuration.is_joint();
    let now_us = services.shard.now().boot_us;
    let (durable_index, is_bound, progress) = core.with_raft(|raft| {
        let progress = topology.nodes.iter().map(|node| progress(raft, node.id, now_us));
        (raft.durable_index(), raft.is_bound(now_us), progress.collect::<Vec<_>>())
    });
    let voters = topology.nodes.iter().filter(|node| node.is_voter).count();
    let learners = topology.nodes.len() - voters;
    let leader_id = topology.leader().map(|leader| leader.id);
    let role = match topology.role {
        raft::Role::Leader => Role::Leader,
        raft::Role::Follower => Role::Follower,
        raft::Role::PreCandidate | raft::Role::Candidate => Role::Candidate,
    };
    RaftStatus {
        node_id: services.node.node_id,
        cluster_id: services.node.cluster_id,
        role,
        term: topology.term,
        leader_id,
        voters,
        learners,
        is_joint,
        has_lease: core.lease_permit(&MachineClock).is_some(),
        votes: !is_bound,
        last_index: core.last_index(),
        commit_index: core.commit_index(),
        applied_index: gauges.applied.index,
        durable_index,
        flushed_index: core.store().load().view.flushed().index,
        leader_changes: core.leader_changes(),
        proposals_refused: gauges.refused,
        members: topology.nodes.into_iter().zip(progress).map(member).collect(),
    }
}

fn member((node, progress): (Node, Option<ProgressStatus>)) -> MemberStatus {
    MemberStatus {
        id: node.id,
        name: node.record.name,
        host: node.record.host,
        port: node.record.port,
        peer: node.record.peer,
        is_voter: node.is_voter,
        leads: node.leads,
        is_myself: node.is_myself,
        progress,
    }
}

fn progress(raft: &Raft, id: NodeId, now_us: u64) -> Option<ProgressStatus> {
    let progress = raft.progress(id)?;
    Some(ProgressStatus {
        match_index: progress.match_index(),
        next_index: progress.next_index(),
        mode: match progress.mode() {
            raft::Mode::Probe { .. } => "probe",
            raft::Mode::Replicate => "replicate",
            raft::Mode::Snapshot => "snapshot",
        },
        inflight_bytes: progress.inflight_bytes() as u64,
        silent: raft.silent_us(id, now_us).map_or(Duration::ZERO, Duration::from_micros),
    })
}

fn process(services: &Services) -> ProcessStatus {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ProcessStatus {
        id: std::process::id(),
        run_id: services.node.run_id.clone(),
        executable: std::env::current_exe().map_or_else(|_| String::new(), |path| path.display().to_string()),
        os: os(),
        now_unix_micros: u64::try_from(now.as_micros()).unwrap_or(u64::MAX),
        uptime: services.node.started.elapsed(),
        resp_addresses: services.node.resp_addresses().to_vec(),
        http_addresses: services.node.http_addresses().to_vec(),
        usage: Usage::now(),
        loading: false,
        stopping: services.is_stopping(),
    }
}

fn configured(services: &Services) -> Configured {
    let settings = services.config.settings();
    Configured {
        maxclients: settings.maxclients,
        memory_budget_bytes: services.config.memory_budget_bytes,
        io_threads: services.config.io_threads,
        config_file: services
            .config
            .config_file
            .as_ref()
            .map_or_else(String::new, |path| path.display().to_string()),
        cluster_enabled: services.config.cluster_enabled,
        latency_tracking: settings.latency_tracking,
        latency_percentiles: settings.latency_percentiles.clone(),
    }
}

fn clients(services: &Services) -> ClientsStatus {
    let mut status = ClientsStatus::default();
    for client in services.clients.all() {
        let activity = client.activity();
        let buffers = activity.buffers;
        let output = buffers.reply + buffers.queued_reply_bytes;
        status.connected += 1;
        status.blocked += usize::from(client.is_waiting());
        status.watching += usize::from(activity.watched > 0);
        status.watched_keys += activity.watched;
        status.input_buffer_bytes_max = status.input_buffer_bytes_max.max(buffers.query);
        status.output_buffer_bytes_max = status.output_buffer_bytes_max.max(output);
        status.buffer_bytes += (buffers.query + buffers.query_free + output) as u64;
    }
    status
}

fn databases(services: &Services) -> Vec<DatabaseStatus> {
    let published = services.shard.core().store().published();
    let now = services.shard.now();
    let mut databases = Vec::new();
    for number in 0..u32::try_from(DATABASES).expect("there are few databases") {
        // The counts are keys of the tree; whoever asks for the status may wait for the disk.
        let counts = match published.view(Access::Disk, number, now, 0).counts() {
            Ok(counts) => counts,
            Err(error) => panic!("the data cannot be read: {error}"),
        };
        if counts.keys > 0 {
            databases.push(DatabaseStatus { number, keys: counts.keys, expires: counts.expires });
        }
    }
    databases
}

fn log(gauges: LogGauges, entries: u64) -> LogStatus {
    LogStatus {
        bytes: gauges.bytes,
        segments: usize::try_from(gauges.counters.segments).unwrap_or(usize::MAX),
        groups: gauges.counters.groups,
        entries,
        written_bytes: gauges.counters.bytes,
        syncs: gauges.counters.syncs,
        sync_time: Duration::from_nanos(gauges.sync_ns),
        sync_time_max: Duration::from_nanos(gauges.sync_ns_max),
    }
}

fn tree(view: &lsm::View, gauges: &Gauges, services: &Services) -> LsmStatus {
    let stats = view.stats();
    let cache = view.cache().stats();
    let levels = stats.level_tables.iter().zip(&stats.level_bytes);
    LsmStatus {
        levels: levels
            .map(|(&tables, &bytes)| LevelStatus {
                tables: usize::try_from(tables).unwrap_or(usize::MAX),
                bytes,
            })
            .collect(),
        sealed_memtables: view.sealed_memtables(),
        flushes: stats.flushes,
        flushed_bytes: stats.flushed_bytes,
        compactions: stats.compactions,
        compaction_read_bytes: stats.compacted_bytes_in,
        compaction_written_bytes: stats.compacted_bytes_out,
        compaction_debt_bytes: gauges.debt.pending_bytes,
        slowdown_time: Duration::from_micros(gauges.slowdown_us),
        block_cache_hits: cache.block_hits,
        block_cache_misses: cache.block_misses,
        row_cache_hits: cache.row_hits,
        row_cache_misses: cache.row_misses,
        filter_checks: stats.filter_checked,
        filter_useful: stats.filter_useful,
        filter_false_positives: stats.filter_false_positive,
        disk_free_bytes: services.disk_free_bytes.load(Ordering::Relaxed),
        old_views: stats.old_views,
    }
}
