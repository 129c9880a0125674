//! Moves Raft messages and snapshots between nodes; it decides nothing of the protocol.
//!
//! [`Transport`] is gRPC (`proto/raft.proto`) over HTTP/2. Every node dials every other one and speaks on the stream that
//! it dialled; what it hears comes on the streams that it accepted, and goes to its [`Handler`].
//!
//! # Sending
//!
//! [`Transport::send`] never waits. It appends to the outbox of the peer (`outbox`), from which the stream takes what is
//! there whenever HTTP/2 has room: what waits leaves in one gRPC message, and nothing lingers. The outbox is bounded in
//! bytes. What goes over the bound, and everything while there is no stream, is **dropped and counted**: Raft takes that
//! for a loss on the network. Nothing of one stream is sent on the next.
//!
//! Messages without entries overtake appends. An append of more than 256 KiB is sent in parts, so that heartbeats and
//! acknowledgements pass between them; the receiver hands on whole messages only (`assembly`), and grows with what has
//! come, whatever was declared. Within these two kinds the order is kept on a stream; between an old stream and its
//! successor there is no order.
//!
//! # Identity
//!
//! A node listens before it belongs to a cluster: it answers who it is ([`meet`], [`Host`]), so that a cluster can be
//! formed, and refuses the rest. [`Transport::join`] makes it a member.
//!
//! A stream opens with an exchange (`opening`) of version, cluster, shard, and both nodes, and of proofs that both have the
//! secret. What does not fit is refused with a status that says why, logged once per change and shown by
//! [`Transport::status`]. After that, every message is held against the opening, and whatever this version does not know
//! ends the stream: kinds of messages, kinds of entries, entries with gaps. [`Security`] says what keeps strangers out.
//!
//! # Breaking and coming back
//!
//! A stream that broke, or a peer that gives no sign of life for 4 s, is told to the handler as unreachable, and dialled
//! again after a wait that doubles from 20 ms to 1 s with jitter, or at once when the peer dials this node. A name that
//! does not resolve (yet) is an address that cannot be reached, and tried again. A peer of which it is said that it may be
//! elsewhere ([`Transport::hint`]) is dialled there as well, in turns.
//!
//! # Snapshots
//!
//! [`Transport::send_snapshot`] sends the files of a directory in a call of their own (`snapshot`): with a hash per file,
//! from where an earlier try ended if the receiver has not been started anew since, and not faster than it was told.
//!
//! # Tunnels
//!
//! [`Transport::tunnel`] opens a way for bytes to the [`Front`] of another node, on which clients and requests of this
//! node are served there (`tunnel`).
//!
//! # Copies
//!
//! The bytes of an entry are copied once into the buffer of the socket and once out of it. A received entry shares the
//! buffer of the batch that it came in, so who keeps a small one keeps about 256 KiB; only entries that came in parts have
//! a buffer of their own.
//!
//! # Caveats
//!
//! - Who can connect and has not shown the secret yet can make this node buffer a window (16 MiB) a connection, for at
//!   most 10 s; there are at most 64 accepted connections to an address, and who has shown nothing gives way to others.
//! - Membership is not looked at: who has the secret and knows the ids may speak, and the core judges what it says.

mod accepting;
mod assembly;
mod backoff;
mod connection;
mod convert;
mod exchange;
mod link;
mod malformed;
mod meeting;
mod opening;
mod outbox;
mod peer;
mod refusals;
mod security;
mod service;
mod snapshot;
#[cfg(test)]
mod tests;
mod tunnel;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;

pub use link::{LinkError, LinkState, LinkStatus};
pub use malformed::Malformed;
pub use meeting::{Belonging, Host, Introduction, meet};
pub use opening::{Refusal, Secret};
pub use security::{Security, Tls, Unprotected, check_protected};
pub use snapshot::{Offered, Snapshot, SnapshotError, SnapshotFile, SnapshotHeader, SnapshotOutcome};
pub use tunnel::{Front, Incoming, Purpose, Tunnel, TunnelReader, TunnelStatus, TunnelWriter};

use crate::{
    raft::{Message, NodeId},
    sync::{Mutex, MutexGuard},
};
use accepting::{Places, TRIAL_MAX};
use peer::Peer;
use refusals::Refusals;
use service::Service;
use tunnel::Traffic;

/// The longest body of an entry between nodes. It is no directive: what one node has appended every other one has to take, or
/// nothing is committed behind it. The executor bounds entries by `entry-bytes-max`, to which the encoding, and what else is
/// in the same entry, add.
const ENTRY_BYTES_MAX: usize = 2 << 30;

/// How long a stop waits for peers to close their connections. Nothing that they say is heard meanwhile.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// How the transport works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may be a peer.
    pub security: Security,
    /// The longest body of an entry that is taken from a peer.
    pub entry_bytes_max: usize,
    /// What may wait for one peer, in bytes of entries; one message always may. More than what the core has in flight to
    /// one follower, else it waits for what was dropped.
    pub outbox_bytes_max: usize,
    /// Tells the wall clock, in ms since the Unix epoch, so that nodes can tell each other; 0 if there is none.
    pub wall_ms: fn() -> u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            security: Security::default(),
            entry_bytes_max: ENTRY_BYTES_MAX,
            outbox_bytes_max: 16 << 20,
            wall_ms: || 0,
        }
    }
}

/// Who is told. The calls come from tasks of the runtime, and must not block.
pub trait Handler: Send + Sync + 'static {
    /// Messages of one peer, which came together.
    fn received(&self, messages: Vec<Message>);

    /// The stream to this node broke: what was sent on it may be lost.
    fn unreachable(&self, peer: NodeId);

    /// A leader offers a snapshot.
    fn snapshot_offered(&self, header: &SnapshotHeader) -> Offered;

    /// A snapshot that was taken is whole and durable in its directory; the leader waits for what becomes of it.
    fn snapshot_received(&self, header: SnapshotHeader) -> Outcome;

    /// The disk failed while a snapshot was received, or a sync did: the node must stop. Called on a thread that may
    /// block.
    fn disk_failed(&self, error: &io::Error);
}

/// What becomes of a snapshot, some time.
pub type Outcome = Pin<Box<dyn Future<Output = SnapshotOutcome> + Send>>;

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The certificates or the key are not what they should be.
    #[error("peer-tls-cert-file, peer-tls-key-file or peer-tls-ca-cert-file cannot be used: {0}")]
    Tls(String),
}

/// What there is to know of the transport.
#[derive(Clone, Debug)]
pub struct TransportStatus {
    /// The members that this node speaks to.
    pub links: BTreeMap<NodeId, LinkStatus>,
    /// How often a node was not let in, or was cut off for what it said.
    pub refused: u64,
    /// Who was refused and not let in since, and why; 0 did not say who it is. The newest 64.
    pub refusals: BTreeMap<NodeId, LinkError>,
    /// The tunnels from and to other nodes.
    pub tunnels: TunnelStatus,
}

/// What all tasks know.
struct Shared {
    node_id: NodeId,
    shard: u32,
    config: Config,
    host: Arc<dyn Host>,
    joined: OnceLock<Joined>,
    front: OnceLock<Arc<dyn Front>>,
    tunnels: Arc<Traffic>,
    peers: Mutex<BTreeMap<NodeId, Link>>,
    refusals: Refusals,
    /// A node receives one snapshot at a time.
    receiving: Semaphore,
}

/// What a member of a cluster has, and a node that is none has not.
struct Joined {
    cluster_id: u128,
    handler: Arc<dyn Handler>,
}

/// A peer and the task that keeps its stream.
struct Link {
    peer: Arc<Peer>,
    task: JoinHandle<()>,
}

/// The transport of a node. Dropped, it ends all streams.
pub struct Transport {
    shared: Arc<Shared>,
    runtime: Handle,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    servers: Mutex<Vec<JoinHandle<()>>>,
}

impl Transport {
    /// Serves peers of the node `node_id` on `listeners`. Until [`Transport::join`] they learn who it is, from `host`,
    /// and nothing else.
    ///
    /// # Errors
    ///
    /// The certificates cannot be used.
    pub fn start(
        config: Config,
        node_id: NodeId,
        shard: u32,
        listeners: Vec<TcpListener>,
        host: Arc<dyn Host>,
        runtime: Handle,
    ) -> Result<Self, StartError> {
        assert!(node_id != 0, "0 is nobody");
        let invalid = |error| StartError::Tls(connection::with_causes(&error));
        let tls = config.security.tls.clone();
        connection::endpoint("localhost:1", tls.as_ref()).map_err(invalid)?;
        let shared = Arc::new(Shared {
            node_id,
            shard,
            config,
            host,
            joined: OnceLock::new(),
            front: OnceLock::new(),
            tunnels: Arc::default(),
            peers: Mutex::default(),
            refusals: Refusals::default(),
            receiving: Semaphore::new(1),
        });
        let (stop, stopped) = watch::channel(false);
        let mut transport = Self {
            addresses: listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            shared,
            runtime,
            stop,
            servers: Mutex::default(),
        };
        let mut servers = Vec::new();
        for listener in listeners {
            let mut server = connection::server(tls.as_ref()).map_err(invalid)?;
            let service = Service { shared: Arc::clone(&transport.shared), stopped: stopped.clone() };
            let router = server.add_service(connection::limited(service));
            servers.push(transport.runtime.spawn(serve(router, listener, stopped.clone())));
        }
        transport.servers = Mutex::new(servers);
        Ok(transport)
    }

    /// The node belongs to this cluster from now on, and `handler` hears its peers. [`Transport::connect`] says whom to
    /// speak to. To be called once.
    pub fn join(&self, cluster_id: u128, handler: Arc<dyn Handler>) {
        assert!(cluster_id != 0, "a cluster has an id");
        let joined = self.shared.joined.set(Joined { cluster_id, handler });
        assert!(joined.is_ok(), "a node belongs to one cluster for ever");
    }

    /// From now on `front` serves the tunnels of other nodes, which are refused before. To be called once.
    pub fn serve(&self, front: Arc<dyn Front>) {
        assert!(self.shared.front.set(front).is_ok(), "one front serves all tunnels");
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Speaks to these nodes from now on, and to no others; this node itself may be among them. A peer with the address of
    /// before keeps its stream. The node has joined them before.
    pub fn connect(&self, members: &BTreeMap<NodeId, String>) {
        assert!(self.shared.joined.get().is_some(), "only a member speaks to members");
        let mut peers = self.shared.lock();
        peers.retain(|id, link| {
            let stays = members.get(id) == Some(&link.peer.address);
            if !stays {
                link.end();
            }
            stays
        });
        for (id, address) in members {
            if *id != self.shared.node_id && !peers.contains_key(id) {
                let outbox_bytes_max = self.shared.config.outbox_bytes_max;
                let peer = Arc::new(Peer::new(*id, address.clone(), outbox_bytes_max));
                let run = Arc::clone(&peer).run(Arc::clone(&self.shared));
                let task = self.runtime.spawn(async { match run.await {} });
                peers.insert(*id, Link { peer, task });
            }
        }
    }

    /// Member `id` may be at `address`, too: it is dialled there and where it was said to be, in turns, until that is said to be
    /// elsewhere. Who is there has to show that it is this member.
    pub fn hint(&self, id: NodeId, address: &str) {
        if let Some(peer) = self.shared.peer(id) {
            peer.hint(address);
        }
    }

    /// Sends `message` as soon as possible, and returns whether it waits for that. If not, it was dropped: the receiver is
    /// no member, there is no stream to it, or too much waits already.
    pub fn send(&self, message: Message) -> bool {
        debug_assert_eq!(message.from, self.shared.node_id, "a node speaks for itself");
        self.shared.peer(message.to).is_some_and(|peer| peer.send(message))
    }

    /// Sends a snapshot to a member, and returns what it says became of it. Dropped, it breaks off. What was received stays
    /// there until that node is started anew, and the next try goes on from it.
    ///
    /// # Errors
    ///
    /// Nobody knows what became of it.
    pub fn send_snapshot(
        &self,
        to: NodeId,
        snapshot: Snapshot,
    ) -> impl Future<Output = Result<SnapshotOutcome, SnapshotError>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            let peer = shared.peer(to).ok_or(SnapshotError::NotMember)?;
            let address = peer.way();
            drop(peer);
            snapshot.send(shared, to, address).await
        }
    }

    /// Opens a tunnel to a member.
    ///
    /// # Errors
    ///
    /// There is no way to it.
    pub fn tunnel(
        &self,
        to: NodeId,
        purpose: Purpose,
    ) -> impl Future<Output = Result<Tunnel, LinkError>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            let peer = shared.peer(to).ok_or(LinkError::NotMember)?;
            peer.tunnel(&shared, purpose).await
        }
    }

    /// What there is to know.
    pub fn status(&self) -> TransportStatus {
        let peers: Vec<Arc<Peer>> = self.shared.lock().values().map(|link| Arc::clone(&link.peer)).collect();
        let (refused, refusals) = self.shared.refusals.status();
        let links = peers.iter().map(|peer| (peer.id, peer.status())).collect();
        TransportStatus { links, refused, refusals, tunnels: self.shared.tunnels.status() }
    }

    /// Ends all streams, and returns when nothing is handed on any more and the ports are free.
    pub async fn stop(&self) {
        self.end();
        let servers =
            std::mem::take(&mut *self.servers.lock().expect("nothing panics while it has the tasks"));
        for server in servers {
            // It cannot be cancelled, and a panic has ended the process.
            drop(server.await);
        }
    }

    fn end(&self) {
        for (_, link) in std::mem::take(&mut *self.shared.lock()) {
            link.end();
        }
        self.stop.send_replace(true);
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.end();
    }
}

impl Link {
    fn end(&self) {
        self.task.abort();
        self.peer.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Link>> {
        self.peers.lock().expect("nothing panics while it has the peers")
    }

    /// What the streams of a member know.
    fn joined(&self) -> &Joined {
        self.joined.get().expect("only a member opens streams, and only to a member they are open")
    }

    fn peer(&self, id: NodeId) -> Option<Arc<Peer>> {
        self.lock().get(&id).map(|link| Arc::clone(&link.peer))
    }
}

/// Accepts and serves until `stopped`, then waits for the streams to end.
async fn serve(
    router: tonic::transport::server::Router,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
) {
    let (sender, accepted) = mpsc::channel(1);
    let places = Places::new(TRIAL_MAX);
    let accepting = tokio::spawn(accepting::accept(listener, Arc::clone(&places), sender));
    let mut late = stopped.clone();
    let end = async {
        // Without a sender the transport is gone, which is as good.
        drop(stopped.wait_for(|stopped| *stopped).await);
        accepting.abort();
        places.close();
    };
    let late = async {
        drop(late.wait_for(|stopped| *stopped).await);
        tokio::time::sleep(GOODBYE_MAX).await;
    };
    tokio::select! {
        served = router.serve_with_incoming_shutdown(ReceiverStream::new(accepted), end) => {
            if let Err(error) = served {
                tracing::error!(error = connection::with_causes(&error), "peers are not served any more");
            }
        }
        () = late => tracing::info!("a peer does not answer to a goodbye"),
    }
}
