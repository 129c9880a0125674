//! `/livez` and `/readyz`.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::{Api, PROBE_TIMEOUT, unavailable};

/// The process turns. It says nothing about leader or quorum: to restart a node would not bring them back.
pub(super) async fn livez() -> &'static str {
    "ok"
}

/// Whether clients should be sent here, and the next node may be stopped: the node does not stop or load, knows a leader, votes
/// for another if that one goes, and answers a linearizable read, so what it has applied is as new as any.
pub(super) async fn readyz(State(api): State<Arc<Api>>, uri: Uri) -> Response {
    let status = api.status().await;
    let mut checks = vec![
        ("running", !status.process.stopping, "the node is stopping"),
        ("loaded", !status.process.loading, "the node is loading"),
        ("leader", status.raft.leader_id.is_some(), "no leader is known"),
        ("vote", status.raft.votes, "it does not vote"),
    ];
    if checks.iter().all(|(_, good, _)| *good) {
        checks.push(("read", reads(&api).await, "a read was not answered in time"));
    }
    let ready = checks.iter().all(|(_, good, _)| *good);
    let verbose = uri.query().is_some_and(|query| query.split('&').any(|word| word.starts_with("verbose")));
    let mut text = String::new();
    if verbose {
        for (name, good, _) in &checks {
            let _ = writeln!(text, "[{}] {name}", if *good { '+' } else { '-' });
        }
    } else {
        let failed = checks.iter().find(|(_, good, _)| !good);
        text = failed.map_or("ok".to_string(), |(_, _, otherwise)| format!("not ready: {otherwise}"));
    }
    if ready { (StatusCode::OK, text).into_response() } else { unavailable(text) }
}

async fn reads(api: &Api) -> bool {
    timeout(PROBE_TIMEOUT, (api.probe)()).await.unwrap_or(false)
}
