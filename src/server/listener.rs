//! Accepts connections, as many as `maxclients` allows.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{
    StartError,
    connection::{self, Connection},
    proxy::Proxy,
};
use crate::{config::Config, dispatch::Services, metrics::Counter, session::Session};

/// How long to wait when no connection can be accepted because descriptors are short.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Told to a client for which there is no room.
pub(super) const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";

/// Listens on `port` of every address in `bind`.
pub(super) fn bind(config: &Config, port: u16) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    let mut port = port;
    for bind in &config.bind {
        let address = SocketAddr::new(bind.ip, port);
        match listen(address, config.tcp_backlog) {
            Ok(listener) => {
                // With port 0 all addresses share the port that the first one was given.
                port = listener.local_addr().map_or(port, |address| address.port());
                listeners.push(listener);
            }
            Err(error) if bind.optional && error.kind() == std::io::ErrorKind::AddrNotAvailable => {
                tracing::info!(%address, "not listening: this machine does not have the address");
            }
            Err(source) => return Err(StartError::Listen { address, source }),
        }
    }
    Ok(listeners)
}

fn listen(address: SocketAddr, backlog: u32) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

/// Accepts and serves until `stopped`, then waits for the connections to end. With a `proxy`, that serves them.
pub(super) async fn serve(
    services: Arc<Services>,
    proxy: Option<Arc<Proxy>>,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(&services, proxy.as_ref(), stream, &mut connections).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = until(&mut stopped) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Returns when the server is stopping.
pub(super) async fn until(stopped: &mut watch::Receiver<bool>) {
    // Without a sender the server is gone, which is as good.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

async fn admit(
    services: &Arc<Services>,
    proxy: Option<&Arc<Proxy>>,
    mut stream: TcpStream,
    connections: &mut JoinSet<()>,
) {
    // A client that has gone already has no address, and needs no answer.
    let Ok(endpoint) = connection::endpoint(&stream) else { return };
    let (clients_max, keepalive) = {
        let settings = services.config.settings();
        (settings.maxclients, settings.tcp_keepalive)
    };
    services.stats.count(Counter::ConnectionsReceived, 1);
    if let Err(error) = set_options(&stream, keepalive) {
        tracing::debug!(%error, "a connection keeps its default options");
    }
    let now_ms = services.shard.now().wall_ms;
    match services.clients.connect(endpoint, now_ms, clients_max) {
        Some(registration) => {
            match proxy {
                None => {
                    let session = Session::new(registration, Arc::clone(&services.config));
                    connections.spawn(Connection::new(Arc::clone(services), stream, session).run())
                }
                Some(proxy) => connections.spawn(Arc::clone(proxy).serve(stream, registration)),
            };
        }
        None => {
            services.stats.count(Counter::ConnectionsRejected, 1);
            // Whether the client hears it or not, the connection ends here.
            drop(stream.write_all(TOO_MANY_CLIENTS).await);
        }
    }
}

fn set_options(stream: &TcpStream, keepalive: Option<Duration>) -> std::io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    if let Some(idle) = keepalive {
        let third = (idle / 3).max(Duration::from_secs(1));
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, idle)?;
        sockopt::set_tcp_keepintvl(stream, third)?;
        sockopt::set_tcp_keepcnt(stream, 3)?;
    }
    Ok(())
}
