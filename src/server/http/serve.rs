//! The connections of the HTTP port.

use std::sync::Arc;
use std::time::Duration;

use axum::{Router, routing::get};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::{health, patient::Patient, unavailable};

/// A connection that has not sent the head of a request after this time is closed, also between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest head of a request: keys in addresses may be long.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// A client that takes nothing of its answer for so long is closed: it holds a slot that others wait for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// After a failed accept (no descriptors are left) it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `stop` says true, with at most `connections_max` connections at one time; then
/// accepts no more, and returns when the requests that are under way are answered.
pub(in crate::server) async fn serve(
    listener: Arc<TcpListener>,
    router: Router,
    connections_max: usize,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(connections_max.clamp(1, Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        // A connection that cannot be served waits in the kernel's queue, where it costs nothing.
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
            (listener.accept().await, slot)
        };
        tokio::select! {
            (accepted, slot) = accepted => match accepted {
                Ok((stream, _)) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    connections.spawn(async move {
                        connection(stream, router, stop).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an HTTP connection failed");
                }
            }
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves a node that is not ready on `listeners` until `work` is done, and returns what came of it. Probes hear that the
/// process turns, and everyone else that it has to be tried again.
pub(in crate::server) async fn while_waiting<T>(
    listeners: &[Arc<TcpListener>],
    connections_max: usize,
    work: impl Future<Output = T>,
) -> T {
    let router = Router::new()
        .route("/livez", get(health::livez))
        .fallback(|| async { unavailable("not ready: the node has not found its cluster yet".to_owned()) });
    let (stop, stopped) = watch::channel(false);
    let mut served = JoinSet::new();
    for listener in listeners {
        served.spawn(serve(Arc::clone(listener), router.clone(), connections_max, stopped.clone()));
    }
    let done = work.await;
    stop.send_replace(true);
    served.join_all().await;
    done
}

/// Returns when the server is to stop, or no one is left who could say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    // Small answers must not wait for the acknowledgement of others; without it they are only slower.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let served = builder.serve_connection(
        TokioIo::new(Patient::new(stream, WRITE_TIMEOUT)),
        TowerToHyperService::new(router),
    );
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopped(&mut stop) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        // The other side broke off, or did not speak HTTP.
        tracing::debug!(%error, "an HTTP connection broke off");
    }
}
