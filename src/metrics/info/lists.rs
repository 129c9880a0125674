//! The fields of INFO that there are as many of as there are listeners, commands, errors, databases or levels.

use super::{Lines, Snapshot};
use crate::metrics::status::{MemberStatus, ProgressStatus, Role};

pub(super) fn listeners(snapshot: &Snapshot<'_>) -> Lines {
    let process = &snapshot.status.process;
    let tcp = process.resp_addresses.iter().map(|address| ("tcp", address));
    let http = process.http_addresses.iter().map(|address| ("http", address));
    let line = |(at, (name, address)): (usize, (&str, &std::net::SocketAddr))| {
        (format!("listener{at}"), format!("name={name},bind={},port={}", address.ip(), address.port()))
    };
    tcp.chain(http).enumerate().map(line).collect()
}

/// Who follows, on the leader; whom it follows, on the others. An offset is an index of the log, and a
/// lag the seconds since a follower was heard of.
pub(super) fn replication(snapshot: &Snapshot<'_>) -> Lines {
    let raft = &snapshot.status.raft;
    if raft.role == Role::Leader {
        let followers = raft.members.iter().filter_map(|member| Some((member, member.progress?))).enumerate();
        let line = |(at, (member, progress)): (usize, (&MemberStatus, ProgressStatus))| {
            let state = match progress.mode {
                "replicate" => "online",
                "snapshot" => "send_bulk",
                _ => "wait_bgsave",
            };
            let (host, port, offset) = (&member.host, member.port, progress.match_index);
            let silent = progress.silent.as_secs();
            (
                format!("slave{at}"),
                format!("ip={host},port={port},state={state},offset={offset},lag={silent}"),
            )
        };
        return followers.map(line).collect();
    }
    let leader = raft.leader();
    let link = if leader.is_some() { "up" } else { "down" };
    let applied = raft.applied_index.to_string();
    let lines = [
        ("master_host", leader.map_or_else(String::new, |leader| leader.host.clone())),
        ("master_port", leader.map_or(0, |leader| leader.port).to_string()),
        ("master_link_status", link.to_string()),
        ("master_sync_in_progress", "0".to_string()),
        ("slave_read_repl_offset", raft.durable_index.to_string()),
        ("slave_repl_offset", applied),
        ("slave_priority", "100".to_string()),
        ("slave_read_only", "1".to_string()),
        ("replica_announced", "1".to_string()),
    ];
    lines.map(|(name, value)| (name.to_string(), value)).into()
}

/// The members; how far the others are, the leader alone knows.
pub(super) fn members(snapshot: &Snapshot<'_>) -> Lines {
    let raft = &snapshot.status.raft;
    let line = |(at, member): (usize, &MemberStatus)| {
        let mut text = format!(
            "id={:016x},name={},host={},port={},voter={},leader={}",
            member.id,
            member.name,
            member.host,
            member.port,
            u8::from(member.is_voter),
            u8::from(member.leads)
        );
        if let Some(progress) = member.progress {
            let lag = raft.last_index.saturating_sub(progress.match_index);
            text.push_str(&format!(",mode={},match_index={},lag={lag}", progress.mode, progress.match_index));
        }
        (format!("raft_member{at}"), text)
    };
    raft.members.iter().enumerate().map(line).collect()
}

pub(super) fn commands(snapshot: &Snapshot<'_>) -> Lines {
    let line = |(name, totals): (&str, &crate::metrics::CommandTotals)| {
        let usec = totals.latencies.total().as_micros();
        let per_call = totals.latencies.total().as_secs_f64() * 1e6 / totals.calls.max(1) as f64;
        (
            format!("cmdstat_{name}"),
            format!(
                "calls={},usec={usec},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
                totals.calls, totals.rejected, totals.failed
            ),
        )
    };
    snapshot.totals.named_commands().map(line).collect()
}

pub(super) fn errors(snapshot: &Snapshot<'_>) -> Lines {
    let errors = snapshot.totals.errors.iter();
    errors.map(|(kind, count)| (format!("errorstat_{kind}"), format!("count={count}"))).collect()
}

pub(super) fn latencies(snapshot: &Snapshot<'_>) -> Lines {
    if !snapshot.status.configured.latency_tracking {
        return Vec::new();
    }
    let percentiles = &snapshot.status.configured.latency_percentiles;
    let commands = snapshot.totals.named_commands().filter(|(_, totals)| totals.latencies.count() > 0);
    commands
        .map(|(name, totals)| {
            let values: Vec<String> = percentiles
                .iter()
                .map(|percent| {
                    format!("p{percent}={:.3}", totals.latencies.percentile(*percent).as_secs_f64() * 1e6)
                })
                .collect();
            (format!("latency_percentiles_usec_{name}"), values.join(","))
        })
        .collect()
}

pub(super) fn databases(snapshot: &Snapshot<'_>) -> Lines {
    let databases = snapshot.status.databases.iter().filter(|database| database.keys > 0);
    databases
        .map(|database| {
            let (keys, expires) = (database.keys, database.expires);
            // Nothing here samples times to live: the mean is not known, for which Redis says 0.
            (format!("db{}", database.number), format!("keys={keys},expires={expires},avg_ttl=0"))
        })
        .collect()
}

pub(super) fn levels(snapshot: &Snapshot<'_>) -> Lines {
    let levels = snapshot.status.lsm.levels.iter().enumerate();
    levels
        .map(|(at, level)| {
            (format!("lsm_level{at}"), format!("tables={},bytes={}", level.tables, level.bytes))
        })
        .collect()
}

pub(super) fn peers(snapshot: &Snapshot<'_>) -> Lines {
    let links = snapshot.status.peers.links.iter().enumerate();
    links
        .map(|(at, peer)| {
            let state = if peer.is_connected { "up" } else { "down" };
            let line = format!(
                "id={:016x},address={},state={state},sent={},dropped={},received={},opened={}",
                peer.id, peer.address, peer.sent, peer.dropped, peer.received, peer.opened
            );
            (format!("peer{at}"), line)
        })
        .collect()
}
