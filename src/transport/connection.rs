//! Connections between nodes: how they are dialled and served, and their limits, which are the same on both ends.

use std::{error::Error, time::Duration};

use tonic::{
    Status,
    transport::{Channel, Endpoint, Server},
};

use super::security::Tls;
use crate::proto::{peer_client::PeerClient, peer_server::PeerServer};

/// How long a connection, and then the opening of a stream, may take.
pub(super) const OPENING_MAX: Duration = Duration::from_secs(5);

/// The longest gRPC message: a batch, the header of a snapshot, a chunk. Tonic makes room for what is declared, up to this.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What may be on its way on a connection. The default of HTTP/2 is 64 KiB a round trip.
const WINDOW_BYTES: u32 = 16 << 20;

/// The longest DATA frame.
const FRAME_BYTES: u32 = 64 << 10;

/// An idle connection is asked for a sign of life this often, and given up when there is none for so long.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Calls on one connection: there is one, and what is left of one that ended.
const CALLS_MAX: u32 = 8;

/// Connects to the node at `address`.
pub(super) async fn dial(address: &str, tls: Option<&Tls>) -> Result<PeerClient<Channel>, String> {
    let channel = endpoint(address, tls).map_err(|error| with_causes(&error))?.connect().await;
    let client = PeerClient::new(channel.map_err(|error| with_causes(&error))?);
    Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// Says how `address` is dialled.
pub(super) fn endpoint(address: &str, tls: Option<&Tls>) -> Result<Endpoint, tonic::transport::Error> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
        .connect_timeout(OPENING_MAX)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    match tls {
        Some(tls) => endpoint.tls_config(tls.client()),
        None => Ok(endpoint),
    }
}

/// Says how connections are served.
pub(super) fn server(tls: Option<&Tls>) -> Result<Server, tonic::transport::Error> {
    let server = Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(CALLS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
    match tls {
        Some(tls) => server.tls_config(tls.server()),
        None => Ok(server),
    }
}

/// Sets the limits of the service.
pub(super) fn limited<S>(service: S) -> PeerServer<S> {
    PeerServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// Returns an error with what it came from: the texts of tonic say little without.
pub(super) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = words(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = words(error);
        if text.is_empty() {
            text = more;
        } else if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// What an error says; of a status, which is shown with all that it was made of, only its message.
fn words(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    }
}
