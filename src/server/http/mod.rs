//! HTTP: data, health, metrics.

use std::sync::Arc;

use tokio::{net::TcpListener, sync::watch};

use crate::dispatch::Services;

/// Serves HTTP on `listener` until `stopped`.
pub(super) async fn serve(
    services: Arc<Services>,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
) {
    drop((services, listener));
    drop(stopped.wait_for(|stopped| *stopped).await);
}
