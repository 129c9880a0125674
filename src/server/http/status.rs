//! `/status` and `/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Api;
use crate::metrics::info::Snapshot;
use crate::metrics::status::Role;
use crate::metrics::{NodeStatus, Totals, prometheus_text};

pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let (status, totals) = (api.status().await, api.stats.totals());
    let text = prometheus_text(&Snapshot { status: &status, totals: &totals });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

pub(super) async fn status(State(api): State<Arc<Api>>) -> Response {
    let text = format!("{:#}\n", document(&api.status().await, &api.stats.totals()));
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// The state of the node as JSON. Ids are text, in hexadecimal digits as everywhere.
fn document(status: &NodeStatus, totals: &Totals) -> Value {
    let role = match status.raft.role {
        Role::Leader => "leader",
        Role::Candidate => "candidate",
        Role::Follower => "follower",
    };
    json!({
        "node": {
            "id": format!("{:016x}", status.raft.node_id),
            "cluster_id": format!("{:032x}", status.raft.cluster_id),
            "run_id": status.process.run_id,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": status.process.uptime.as_secs(),
            "resp_addresses": status.process.resp_addresses,
            "http_addresses": status.process.http_addresses,
            "loading": status.process.loading,
            "stopping": status.process.stopping,
        },
        "raft": {
            "role": role,
            "leader_id": status.raft.leader_id.map(|id| format!("{id:016x}")),
            "term": status.raft.term,
            "voters": status.raft.voters,
            "last_index": status.raft.last_index,
            "commit_index": status.raft.commit_index,
            "durable_index": status.raft.durable_index,
            "applied_index": status.raft.applied_index,
            "flushed_index": status.raft.flushed_index,
        },
        "clients": { "connected": status.clients.connected, "blocked": status.clients.blocked },
        "commands": { "processed": totals.calls(), "per_second": totals.rates.commands },
        "memory": {
            "used_bytes": status.memory_used_bytes(),
            "budget_bytes": status.configured.memory_budget_bytes,
            "resident_bytes": status.process.usage.resident_bytes,
        },
        "storage": {
            "log_bytes": status.log.bytes,
            "memtable_bytes": status.memory.memtable_bytes,
            "levels": status.lsm.levels.iter().map(|level| json!({
                "tables": level.tables,
                "bytes": level.bytes,
            })).collect::<Vec<_>>(),
            "disk_free_bytes": status.lsm.disk_free_bytes,
        },
        "databases": status.databases.iter().map(|database| json!({
            "number": database.number,
            "keys": database.keys,
            "expires": database.expires,
        })).collect::<Vec<_>>(),
    })
}
