//! Metrics with labels: one sample for each thing there is.

use std::collections::BTreeMap;

use super::super::counters::Counter;
use super::super::histogram::Latencies;
use super::super::info::Snapshot;
use super::super::peers::PeerStatus;
use super::super::stats::CommandTotals;
use super::super::status::{DatabaseStatus, LevelStatus, Role};
use super::{Sample, Value};

/// What the node does, as SisyphusDB numbers it.
pub(super) fn role(snapshot: &Snapshot<'_>) -> u64 {
    match snapshot.status.raft.role {
        Role::Follower => 0,
        Role::Candidate => 1,
        Role::Leader => 2,
    }
}

fn node(snapshot: &Snapshot<'_>) -> (&'static str, String) {
    ("node_id", format!("{:016x}", snapshot.status.raft.node_id))
}

pub(super) fn by_node(snapshot: &Snapshot<'_>, value: u64) -> Vec<Sample> {
    vec![Sample { labels: vec![node(snapshot)], value: Value::Count(value) }]
}

/// How many entries each follower lacks.
pub(super) fn by_follower(snapshot: &Snapshot<'_>) -> Vec<Sample> {
    let raft = &snapshot.status.raft;
    let followers = raft.members.iter().filter_map(|member| Some((member, member.progress?)));
    followers
        .map(|(member, progress)| Sample {
            labels: vec![("id", format!("{:016x}", member.id)), ("name", member.name.clone())],
            value: Value::Count(raft.last_index.saturating_sub(progress.match_index)),
        })
        .collect()
}

pub(super) fn by_level(snapshot: &Snapshot<'_>, value: fn(&LevelStatus) -> u64) -> Vec<Sample> {
    let levels = snapshot.status.lsm.levels.iter().enumerate();
    levels
        .map(|(at, level)| Sample {
            labels: vec![node(snapshot), ("level", at.to_string())],
            value: Value::Count(value(level)),
        })
        .collect()
}

pub(super) fn by_peer(snapshot: &Snapshot<'_>, value: fn(&PeerStatus) -> u64) -> Vec<Sample> {
    let sample = |peer: &PeerStatus| Sample {
        labels: vec![("peer", format!("{:016x}", peer.id)), ("address", peer.address.clone())],
        value: Value::Count(value(peer)),
    };
    snapshot.status.peers.links.iter().map(sample).collect()
}

pub(super) fn by_database(snapshot: &Snapshot<'_>, value: fn(&DatabaseStatus) -> f64) -> Vec<Sample> {
    let sample = |database: &DatabaseStatus| Sample {
        labels: vec![("db", format!("db{}", database.number))],
        value: Value::Number(value(database)),
    };
    snapshot.status.databases.iter().map(sample).collect()
}

pub(super) fn by_command(snapshot: &Snapshot<'_>, value: fn(&CommandTotals) -> Value) -> Vec<Sample> {
    let sample = |(name, totals): (&str, &CommandTotals)| Sample {
        labels: vec![("cmd", name.to_string())],
        value: value(totals),
    };
    snapshot.totals.named_commands().map(sample).collect()
}

pub(super) fn command_durations(snapshot: &Snapshot<'_>) -> Vec<Sample> {
    by_command(snapshot, |totals| Value::Latencies(Box::new(totals.latencies.clone())))
}

pub(super) fn errors(snapshot: &Snapshot<'_>) -> Vec<Sample> {
    let errors = snapshot.totals.errors.iter();
    errors
        .map(|(kind, count)| Sample { labels: vec![("err", kind.clone())], value: Value::Count(*count) })
        .collect()
}

pub(super) fn stops(snapshot: &Snapshot<'_>) -> Vec<Sample> {
    [("disk", Counter::StopsDisk), ("long", Counter::StopsLong), ("stamp", Counter::StopsStamp)]
        .map(|(reason, counter)| Sample {
            labels: vec![("reason", reason.to_string())],
            value: Value::Count(snapshot.totals.get(counter)),
        })
        .into()
}

pub(super) fn http_requests(snapshot: &Snapshot<'_>) -> Vec<Sample> {
    let requests = snapshot.totals.http.iter();
    requests
        .map(|(key, latencies)| Sample {
            labels: vec![
                ("method", key.method.to_string()),
                ("endpoint", key.endpoint.to_string()),
                ("status", key.status.to_string()),
            ],
            value: Value::Count(latencies.count()),
        })
        .collect()
}

pub(super) fn http_durations(snapshot: &Snapshot<'_>) -> Vec<Sample> {
    let mut sums: BTreeMap<(&str, &str), Latencies> = BTreeMap::new();
    for (key, latencies) in &snapshot.totals.http {
        sums.entry((key.method, key.endpoint)).or_default().add(latencies);
    }
    sums.into_iter()
        .map(|((method, endpoint), latencies)| Sample {
            labels: vec![("method", method.to_string()), ("endpoint", endpoint.to_string())],
            value: Value::Latencies(Box::new(latencies)),
        })
        .collect()
}

pub(super) fn instance(snapshot: &Snapshot<'_>) -> Vec<Sample> {
    let fields = [
        ("role", if role(snapshot) == 2 { "master" } else { "slave" }.to_string()),
        ("redis_version", super::super::info::REDIS_VERSION.to_string()),
        (
            "redis_mode",
            if snapshot.status.configured.cluster_enabled { "cluster" } else { "standalone" }.to_string(),
        ),
        ("os", snapshot.status.process.os.clone()),
        ("maxmemory_policy", "noeviction".to_string()),
        ("process_id", snapshot.status.process.id.to_string()),
        ("run_id", snapshot.status.process.run_id.clone()),
    ];
    vec![Sample { labels: fields.into(), value: Value::Number(1.0) }]
}

pub(super) fn build(_: &Snapshot<'_>) -> Vec<Sample> {
    let labels = vec![("version", env!("CARGO_PKG_VERSION").to_string())];
    vec![Sample { labels, value: Value::Number(1.0) }]
}
