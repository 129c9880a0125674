//! `proxy-port`: clients that want to know nothing of a cluster. Whatever node they come to, their whole session, reads
//! too, is served by the leader: here, if this node leads, else there, through a tunnel.
//!
//! A session is one client of the leader from its first byte on: AUTH, SELECT, MULTI and WATCH live there, and nothing is
//! taken for granted because it came through another node. No byte of a client leaves before the leader has accepted the
//! tunnel, and none is sent twice: if the tunnel breaks, or another node leads, the client is disconnected. So what was
//! answered was done, and of what was not the client knows as much as of any connection that breaks.

use std::{future::pending, io, pin::pin, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender},
        oneshot, watch,
    },
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    connection::Connection,
    forward,
    listener::{self, TOO_MANY_CLIENTS},
};
use crate::{
    cluster::Door,
    dispatch::Services,
    driver::Members,
    log::Term,
    metrics::Counter,
    raft::{NodeId, Role},
    session::{ClientInfo, Endpoint, Registration, Session},
    transport::{Front, Incoming, Purpose, Transport, Tunnel},
};

/// How long a client waits for a leader, which is longer than elections take, before it is told that there is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// When to ask again who said that it does not lead, or was not there, if nothing else happens.
const RETRY: Duration = Duration::from_millis(50);

/// How long a client may take for the last replies.
const LAST_REPLIES: Duration = Duration::from_secs(10);

/// What is read from a client at once.
const READ_BYTES: usize = 32 << 10;

const NO_LEADER: &[u8] = b"-CLUSTERDOWN The cluster has no leader that can be reached\r\n";

const DOES_NOT_LEAD: &str = "the node does not lead";

/// Serves the clients of `proxy-port`.
pub(super) struct Proxy {
    services: Arc<Services>,
    transport: Arc<Transport>,
}

/// Who serves a client.
enum Server {
    /// This node, in this term.
    Here(Term),
    /// Another node.
    There(NodeId, Tunnel),
}

impl Proxy {
    pub(super) fn new(services: Arc<Services>, transport: Arc<Transport>) -> Self {
        Self { services, transport }
    }

    /// Serves a client until it goes, or has to.
    pub(super) async fn serve(self: Arc<Self>, mut stream: TcpStream, registration: Registration) {
        let purpose = stream.peer_addr().and_then(|remote| {
            let local = stream.local_addr()?;
            Ok(Purpose::Session { remote, local })
        });
        // A client that has gone already has no address.
        let Ok(purpose) = purpose else { return };
        let info = Arc::clone(registration.info());
        let found = tokio::select! {
            found = self.find_server(purpose) => found,
            () = killed(&info) => return,
        };
        match found {
            Some(Server::Here(term)) => {
                let session = Session::new(registration, Arc::clone(&self.services.config)).by(Door::Plain);
                let connection = Connection::new(Arc::clone(&self.services), stream, session);
                serve_while_leading(&self.services, term, &info, connection).await;
            }
            Some(Server::There(leader, tunnel)) => {
                let members = self.services.shard.core().watch_members();
                let (stop, stopped) = oneshot::channel();
                let cut = async {
                    killed(&info).await;
                    if self.services.is_stopping() {
                        // What has come of the client is still answered; then the leader ends the session.
                        let _ = stop.send(());
                        pending::<()>().await;
                    }
                };
                tokio::select! {
                    () = carry(stream, tunnel, stopped) => {}
                    () = another_leads(members, leader) => {}
                    () = cut => {}
                }
            }
            // Whether the client hears it or not, the connection ends here.
            None => drop(stream.write_all(NO_LEADER).await),
        }
    }

    /// Finds who leads, and waits for that as long as may be.
    async fn find_server(&self, purpose: Purpose) -> Option<Server> {
        let deadline = Instant::now() + PATIENCE;
        let mut members = self.services.shard.core().watch_members();
        loop {
            let (role, term, leader) = {
                let members = members.borrow_and_update();
                (members.role, members.term, members.leader)
            };
            if role == Role::Leader {
                return Some(Server::Here(term));
            }
            if let Some(leader) = leader {
                let opened = tokio::select! {
                    opened = timeout_at(deadline, self.open(leader, purpose)) => opened.ok()?,
                    // Who was the leader may not even say that it is gone.
                    () = another_leads(members.clone(), leader) => continue,
                };
                match opened {
                    Ok(tunnel) => return Some(Server::There(leader, tunnel)),
                    Err(error) => tracing::debug!(leader, %error, "a client is not taken to the leader yet"),
                }
            }
            let retry = if leader.is_some() { RETRY } else { PATIENCE };
            tokio::select! {
                changed = members.changed() => changed.ok()?,
                () = sleep_until(deadline.min(Instant::now() + retry)) => {}
            }
            if deadline <= Instant::now() {
                return None;
            }
        }
    }

    async fn open(&self, leader: NodeId, purpose: Purpose) -> io::Result<Tunnel> {
        let tunnel = self.transport.tunnel(leader, purpose).await.map_err(io::Error::other)?;
        tunnel.accepted().await?;
        Ok(tunnel)
    }
}

/// Serves a connection as long as this node leads in `term`. A client whose leader has gone has to look for another.
async fn serve_while_leading(
    services: &Services,
    term: Term,
    info: &Arc<ClientInfo>,
    connection: Connection,
) {
    let mut members = services.shard.core().watch_members();
    let mut serving = pin!(connection.run());
    tokio::select! {
        () = &mut serving => return,
        _ = members.wait_for(|members| members.role != Role::Leader || members.term != term) => info.kill(),
    }
    serving.await;
}

/// Returns when the client is asked to go.
async fn killed(info: &ClientInfo) {
    while !info.is_killed() {
        info.woken().await;
    }
}

/// Returns when another node than `leader` is known to lead. While nobody is, the tunnel says whether `leader` is there.
pub(super) async fn another_leads(mut members: watch::Receiver<Arc<Members>>, leader: NodeId) {
    let other = |members: &Arc<Members>| {
        members.role == Role::Leader || members.leader.is_some_and(|now| now != leader)
    };
    drop(members.wait_for(other).await);
}

/// Carries bytes both ways until the session has ended, or one of the two ways broke. When it is `stopped`, nothing more is
/// taken of the client.
async fn carry(mut stream: TcpStream, tunnel: Tunnel, mut stopped: oneshot::Receiver<()>) {
    let (mut replies, mut requests) = tunnel.into_split();
    let (reader, mut writer) = stream.split();
    let mut down = pin!(async {
        while let Some(bytes) = replies.next().await? {
            writer.write_all(&bytes).await?;
        }
        writer.shutdown().await
    });
    let up = async {
        loop {
            tokio::select! {
                ready = reader.readable() => ready?,
                () = requests.closed() => return Ok(()),
                _ = &mut stopped => {
                    requests.shutdown().await?;
                    break;
                }
            }
            // Idle clients keep no buffer.
            let mut buffer = BytesMut::with_capacity(READ_BYTES);
            match reader.try_read_buf(&mut buffer) {
                Ok(0) => {
                    requests.shutdown().await?;
                    break;
                }
                Ok(_) => requests.write_all(&buffer).await?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        // The client has sent its last byte, and may still be answered.
        requests.closed().await;
        Ok::<_, io::Error>(())
    };
    let ended = tokio::select! {
        ended = &mut down => ended,
        ended = up => match ended {
            // The session has ended: what has come of its replies is still written.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => timeout(LAST_REPLIES, down).await.unwrap_or_else(|late| Err(late.into())),
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a tunnel of a client broke off");
    }
}

/// Takes what other nodes send here to whoever serves it: see [`serve_tunnels`].
pub(super) struct Entrance(pub(super) UnboundedSender<Incoming>);

impl Front for Entrance {
    fn serve(&self, incoming: Incoming) {
        // If nobody takes it, the node is stopping, and what is dropped is refused.
        drop(self.0.send(incoming));
    }
}

/// Serves the tunnels of other nodes until `stopped`, then waits for them to end.
pub(super) async fn serve_tunnels(
    services: Arc<Services>,
    mut incoming: UnboundedReceiver<Incoming>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut tunnels = JoinSet::new();
    loop {
        tokio::select! {
            Some(incoming) = incoming.recv() => {
                tunnels.spawn(serve_tunnel(Arc::clone(&services), incoming));
            }
            Some(_) = tunnels.join_next(), if !tunnels.is_empty() => {}
            () = listener::until(&mut stopped) => break,
        }
    }
    drop(incoming);
    while tunnels.join_next().await.is_some() {}
}

async fn serve_tunnel(services: Arc<Services>, incoming: Incoming) {
    let members = services.shard.core().members();
    if members.role != Role::Leader {
        return incoming.refuse(DOES_NOT_LEAD);
    }
    match incoming.purpose() {
        Purpose::Session { remote, local } => {
            let endpoint = Endpoint { remote: remote.to_string(), local: local.to_string(), fd: -1 };
            let mut tunnel = incoming.accept();
            let clients_max = services.config.settings().maxclients;
            services.stats.count(Counter::ConnectionsReceived, 1);
            let now_ms = services.shard.now().wall_ms;
            let Some(registration) = services.clients.connect(endpoint, now_ms, clients_max) else {
                services.stats.count(Counter::ConnectionsRejected, 1);
                // Whether the client hears it or not, the tunnel ends here.
                return drop(tunnel.write_all(TOO_MANY_CLIENTS).await);
            };
            let info = Arc::clone(registration.info());
            let session = Session::new(registration, Arc::clone(&services.config)).by(Door::Plain);
            let connection = Connection::new(Arc::clone(&services), tunnel, session);
            serve_while_leading(&services, members.term, &info, connection).await;
        }
        Purpose::Request => forward::answer(&services, incoming.accept()).await,
    }
}
