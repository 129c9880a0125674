//! HTTP: data for those without a Redis client, and health, status and metrics for those who run the node.
//!
//! | request | answer |
//! |---|---|
//! | `/put?key=&val=[&ttl=]` | 200 `Success` |
//! | `/get?key=` | 200 the value, 404 `Key not found` |
//! | `/delete?key=` | 200 `Success`, 404 `Key not found` |
//! | `PUT /kv/{key}[?ttl=]` | as `/put`; the body is the value |
//! | `GET /kv/{key}`, `DELETE /kv/{key}` | as `/get` and `/delete` |
//! | `/livez`, `/readyz[?verbose]` | 200 or 503 |
//! | `/metrics`, `/status` | the state of the node, as text for Prometheus and as JSON |
//!
//! Data are those of database 0. Every node takes every request, and the leader answers those for data. What happened is told by the status: 2xx done, 4xx not done, 503 with `Retry-After` not
//! done and worth another try, 504 unknown.

mod access;
mod data;
mod health;
mod limits;
mod patient;
mod query;
mod reply;
mod serve;
mod status;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;

use super::forward::Forwarder;
use super::local::LocalReply;
use crate::config::Config;
use crate::dispatch::Services;
use crate::metrics::{HttpKey, NodeStatus, Stats};
use crate::transport::Transport;
pub(super) use serve::{serve, while_waiting};

/// Runs one command in database 0.
type Call = Box<dyn Fn(Vec<Bytes>) -> Answer + Send + Sync>;

/// Says whether this node can serve a read of its own now that sees all that was written before.
type Probe = Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// An outcome that is on its way.
type Answer = Pin<Box<dyn Future<Output = LocalReply> + Send>>;

/// What the HTTP API needs of the node.
struct Api {
    config: Arc<Config>,
    stats: Arc<Stats>,
    call: Call,
    probe: Probe,
    status: Arc<dyn Fn() -> NodeStatus + Send + Sync>,
    bodies: limits::Bodies,
}

impl Api {
    fn of_node(services: &Arc<Services>, transport: Option<Arc<Transport>>) -> Self {
        let forwarder = Arc::new(Forwarder::new(services, transport));
        let call: Call = Box::new(move |words| {
            let forwarder = Arc::clone(&forwarder);
            Box::pin(async move {
                let words: Vec<&[u8]> = words.iter().map(Bytes::as_ref).collect();
                forwarder.call(&words).await
            })
        });
        let shard = Arc::clone(&services.shard);
        let probe: Probe = Box::new(move || {
            let shard = Arc::clone(&shard);
            Box::pin(async move { shard.ask_permit().await.is_some() })
        });
        let observed = Arc::clone(services);
        let status = move || super::status::status(&observed);
        Self::new(Arc::clone(&services.config), Arc::clone(&services.stats), call, probe, status)
    }

    /// An API in front of whatever runs commands by `call`, is fit by `probe`, and is described by `status`.
    fn new(
        config: Arc<Config>,
        stats: Arc<Stats>,
        call: Call,
        probe: Probe,
        status: impl Fn() -> NodeStatus + Send + Sync + 'static,
    ) -> Self {
        let bodies = limits::Bodies::new(config.in_flight_bytes());
        Self { config, stats, call, probe, status: Arc::new(status), bodies }
    }

    /// The state of the node. Some of it may have to be read from the disk, so a thread that may wait gathers it.
    async fn status(&self) -> NodeStatus {
        let status = Arc::clone(&self.status);
        tokio::task::spawn_blocking(move || status()).await.expect("a panic ends the process")
    }
}

/// The API of the node behind `services`.
pub(super) fn router_of_node(services: &Arc<Services>, transport: Option<Arc<Transport>>) -> Router {
    router(Arc::new(Api::of_node(services, transport)))
}

fn router(api: Arc<Api>) -> Router {
    let guarded = Router::new()
        .route("/put", get(data::put).post(data::put).put(data::put))
        .route("/get", get(data::get))
        .route("/delete", get(data::delete).post(data::delete).delete(data::delete))
        .route("/kv/", any(data::kv))
        .route("/kv/{*key}", any(data::kv))
        .route("/status", get(status::status))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), access::guard));
    let open = Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(status::metrics));
    guarded
        .merge(open)
        .fallback(|| async { (StatusCode::NOT_FOUND, "There is no such page.") })
        .layer(middleware::from_fn_with_state(Arc::clone(&api), counted))
        .with_state(api)
}

/// Counts a request, with the time it took, and marks the answer as nothing to be guessed at or kept.
async fn counted(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, endpoint) = (method_label(request.method()), endpoint_label(request.uri().path()));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    let key = HttpKey { method, endpoint, status: response.status().as_u16() };
    api.stats.local(|local| local.http(key, started.elapsed()));
    response
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn endpoint_label(path: &str) -> &'static str {
    const ENDPOINTS: [&str; 7] = ["/put", "/get", "/delete", "/status", "/livez", "/readyz", "/metrics"];
    match ENDPOINTS.into_iter().find(|endpoint| *endpoint == path) {
        Some(endpoint) => endpoint,
        None if path.starts_with("/kv/") => "/kv/{key}",
        None => "other",
    }
}

/// "Not done; try again": the node cannot serve just now.
fn unavailable(what: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)], what).into_response()
}

const RETRY_AFTER_SECONDS: &str = "1";

/// How long a probe waits for the node to answer a read.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
