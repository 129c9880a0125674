//! Sockets and lifetimes: starts everything in order, stops it in reverse.

mod client;
mod connection;
mod forming;
mod forward;
mod http;
mod identity;
mod listener;
mod loading;
mod local;
mod membership;
mod node;
mod offline;
mod open;
mod peers;
mod proxy;
mod socket;
mod status;
mod upkeep;
mod watch;

use std::{any::Any, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    net::TcpListener,
    sync::{
        mpsc::unbounded_channel,
        watch::{Receiver, Sender, channel},
    },
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

pub use self::{
    forming::FormingError,
    identity::{Cluster, Identity, IdentityError},
    local::{LocalClient, LocalReply},
    offline::{Inspection, inspect, recover_alone},
    open::{OpenError, verify},
};
use self::{
    open::DataDirectory,
    peers::Peers,
    proxy::{Entrance, Proxy, serve_tunnels},
};
use crate::{
    cluster::Bound,
    command::{self, Command},
    config::Config,
    disk::Disk,
    dispatch::{Node, Services},
    driver::{MachineClock, Shard, TransferError},
    executor::Input,
    metrics::Stats,
    raft::Configuration,
    transport::{self, Transport, Unprotected},
};

/// How long the first election may take; with one voter it is one sync.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// What `shutdown-timeout` comes to at most: a year is as good as no limit.
const STOP_PATIENCE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A client that is at work says something within this time.
const SILENCE: Duration = Duration::from_millis(50);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The file system cannot be asked.
    #[error("cannot ask how much room the disk has: {0}")]
    Disk(#[source] std::io::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The node has others beside it, and was not told how to speak to them.
    #[error(
        "this node belongs to a cluster of {0}: start it with --peers or --join as before, so that it listens for the others"
    )]
    NoPeers(usize),
    /// The others could not dial this node.
    #[error(
        "the other nodes could not dial this one at '{0}': set announce-peer to the host:port by which they reach it, or bind \
         to an address of this machine"
    )]
    NoAddress(String),
    /// The node finds to no cluster.
    #[error(transparent)]
    Forming(#[from] FormingError),
    /// Peers would be let in unseen.
    #[error(transparent)]
    Unprotected(#[from] Unprotected),
    /// There is no way to speak to peers.
    #[error(transparent)]
    Transport(#[from] transport::StartError),
    /// The node did not become ready.
    #[error("the node did not become ready within {} s", START_PATIENCE.as_secs())]
    NotReady,
}

/// A node that serves.
pub struct Server {
    services: Arc<Services>,
    resp_addresses: Vec<SocketAddr>,
    http_addresses: Vec<SocketAddr>,
    tasks: JoinSet<()>,
    stopping: Sender<bool>,
    peers: Option<Peers>,
    identity: Identity,
    disk: Arc<dyn Disk>,
    /// Held as long as the node lives.
    _lock: Box<dyn Any + Send + Sync>,
}

/// The ports of a node, bound.
struct Listeners {
    resp: Vec<TcpListener>,
    proxy: Vec<TcpListener>,
    http: Vec<Arc<TcpListener>>,
    peer: Vec<TcpListener>,
}

impl Listeners {
    fn bind(config: &Config) -> Result<Self, StartError> {
        let bind =
            |port: Option<u16>| port.map_or_else(|| Ok(Vec::new()), |port| listener::bind(config, port));
        Ok(Self {
            resp: bind(config.port)?,
            proxy: bind(config.proxy_port)?,
            http: bind(config.http_port)?.into_iter().map(Arc::new).collect(),
            peer: bind(config.peer_port)?,
        })
    }

    fn bound(&self) -> Bound {
        let port = |listener: Option<&TcpListener>| {
            listener.and_then(|listener| listener.local_addr().ok()).map_or(0, |address| address.port())
        };
        Bound {
            port: port(self.resp.first()),
            proxy_port: port(self.proxy.first()),
            http_port: port(self.http.first().map(|listener| &**listener)),
            peer_port: port(self.peer.first()),
        }
    }
}

impl Server {
    /// Finds the cluster, recovers the data, and listens. A node that stands alone becomes ready first; others may still have
    /// to find a leader. To be called on the runtime that will serve.
    pub async fn start(config: Arc<Config>) -> Result<Self, StartError> {
        let directory = on_a_thread({
            let config = Arc::clone(&config);
            move || open::open(&config)
        });
        let DataDirectory { identity, disk, lock } = directory.await?;
        let mut listeners = Listeners::bind(&config)?;
        let bound = listeners.bound();
        let peers = match std::mem::take(&mut listeners.peer) {
            none if none.is_empty() => None,
            peer => Some(Peers::start(&config, &identity, peer, bound)?),
        };
        let cluster = match (&identity.cluster, &peers) {
            (Some(cluster), _) => cluster.clone(),
            (None, Some(peers)) => {
                let finding = peers.find_cluster(&config);
                let clients = listeners.resp.iter().chain(&listeners.proxy);
                let finding = loading::while_waiting(clients, config.settings().maxclients, finding);
                http::while_waiting(&listeners.http, config.http_connections_max(), finding).await?
            }
            (None, None) => Cluster::of_one(identity.node_id),
        };
        let core = on_a_thread({
            let (config, disk, cluster) = (Arc::clone(&config), Arc::clone(&disk), cluster.clone());
            let identity = identity.clone();
            move || open::recover_shard(&disk, &identity, &cluster, &config, &MachineClock)
        });
        let core = core.await?;
        let members = core.members().configuration.ids().len();
        let own_record = own_record(peers.as_ref(), &config, &core.members().configuration)?;
        let names = command::all().iter().map(Command::full_name).collect();
        let stats = Arc::new(Stats::new(names));
        let transport = peers.as_ref().map(|peers| Arc::clone(&peers.transport));
        let runtime = tokio::runtime::Handle::current();
        let shard =
            Shard::start(core, Arc::clone(&disk), transport, runtime, config.io_threads, Arc::clone(&stats))
                .map_err(StartError::Thread)?;
        if let (Some(peers), Some(record)) = (&peers, own_record) {
            peers.belong(&cluster, record, &shard, &config);
        }
        if members == 1 && shard.core().members().configuration.contains(identity.node_id) {
            shard.campaign();
            wait_until_ready(&shard).await?;
        }
        let free_bytes = disk.free_bytes().map_err(StartError::Disk)?;
        let node = Node::new(identity.node_id, cluster.id);
        let services = Arc::new(Services::new(shard, config, stats, free_bytes, node));
        let (stopping, stopped) = channel(false);
        let mut server = Self {
            services,
            resp_addresses: Vec::new(),
            http_addresses: Vec::new(),
            tasks: JoinSet::new(),
            stopping,
            peers,
            identity: Identity { cluster: Some(cluster), ..identity },
            disk: Arc::clone(&disk),
            _lock: lock,
        };
        let proxy = std::mem::take(&mut listeners.proxy);
        server.serve(listeners, &stopped);
        if let Some(transport) = server.peers.as_ref().map(|peers| Arc::clone(&peers.transport)) {
            server.serve_by_tunnels(&transport, proxy, &stopped);
        }
        server.services.node.set_addresses(server.resp_addresses.clone(), server.http_addresses.clone());
        server.follow_directives();
        server.tasks.spawn(watch::run(Arc::clone(&server.services), disk, stopped.clone()));
        Ok(server)
    }

    /// Serves clients on behalf of others, and lets others serve clients of this node.
    fn serve_by_tunnels(
        &mut self,
        transport: &Arc<Transport>,
        listeners: Vec<TcpListener>,
        stopped: &Receiver<bool>,
    ) {
        let (sender, incoming) = unbounded_channel();
        transport.serve(Arc::new(Entrance(sender)));
        self.tasks.spawn(serve_tunnels(Arc::clone(&self.services), incoming, stopped.clone()));
        let proxy = Arc::new(Proxy::new(Arc::clone(&self.services), Arc::clone(transport)));
        for listener in listeners {
            self.resp_addresses.extend(listener.local_addr());
            let (services, proxy) = (Arc::clone(&self.services), Some(Arc::clone(&proxy)));
            self.tasks.spawn(listener::serve(services, proxy, listener, stopped.clone()));
        }
    }

    fn serve(&mut self, listeners: Listeners, stopped: &Receiver<bool>) {
        for listener in listeners.resp {
            self.resp_addresses.extend(listener.local_addr());
            let services = Arc::clone(&self.services);
            self.tasks.spawn(listener::serve(services, None, listener, stopped.clone()));
        }
        let transport = self.peers.as_ref().map(|peers| Arc::clone(&peers.transport));
        let router = http::router_of_node(&self.services, transport);
        let connections_max = self.services.config.http_connections_max();
        for listener in listeners.http {
            self.http_addresses.extend(listener.local_addr());
            let (router, stopped) = (router.clone(), stopped.clone());
            self.tasks.spawn(http::serve(listener, router, connections_max, stopped));
        }
    }

    /// What CONFIG SET changes reaches the executor before its reply the client, so that the next command sees it; and
    /// the connections, of which each may be waiting for its client.
    fn follow_directives(&self) {
        let services = Arc::downgrade(&self.services);
        self.services.shard.set_snapshot_rate(self.services.config.settings().snapshot_bytes_per_second);
        self.services.config.on_change(move |settings| {
            if let Some(services) = services.upgrade() {
                services.shard.set_snapshot_rate(settings.snapshot_bytes_per_second);
                services.shard.submit_from_thread(Input::Tune(open::tuning(&services.config)));
                services.clients.all().iter().for_each(|client| client.wake());
            }
        });
    }

    /// Where RESP is served.
    pub fn resp_addresses(&self) -> &[SocketAddr] {
        &self.resp_addresses
    }

    /// Where HTTP is served.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.http_addresses
    }

    /// What the connections share.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Returns when a client has asked the node to stop (SHUTDOWN).
    pub async fn stop_requested(&self) {
        self.services.stop_requested().await;
    }

    /// Goes on answering until no client has said anything for a while: who is at work is sent to the leader by the answer to
    /// its next command. A connection that is closed instead would leave it in doubt whether that was done.
    async fn send_clients_on(&self, deadline: Instant) {
        let said = || {
            let clients = self.services.clients.all();
            (clients.len(), clients.iter().map(|client| client.activity().commands).sum::<u64>())
        };
        let (mut before, mut now) = (None, said());
        while before != Some(now) && Instant::now() < deadline {
            tokio::time::sleep(SILENCE).await;
            (before, now) = (Some(now), said());
        }
    }

    /// Returns when the cluster has removed this node, and that is kept: it does not start here again.
    pub async fn removed(&self) {
        self.services.shard.removed().await;
        tracing::warn!("this node was removed from its cluster");
        let (identity, disk) = (self.identity.clone(), Arc::clone(&self.disk));
        let kept = on_a_thread(move || Identity { is_removed: true, ..identity }.save(&*disk)).await;
        if let Err(error) = kept {
            // It may start again, and will hear of it again.
            tracing::error!(%error, "that it was removed could not be kept");
        }
    }

    /// Stops: hands the leadership over, accepts nothing new, lets what is in the executor be answered, writes the memtable
    /// out, and ends, all within `shutdown-timeout`. What is acknowledged is safe at any moment, so being late loses nothing.
    pub async fn stop(mut self) {
        let patience = self.services.config.settings().shutdown_timeout.min(STOP_PATIENCE_MAX);
        let deadline = Instant::now() + patience;
        self.services.request_stop();
        // What waits for the executor is sent on by the next leader, and not lost with this one.
        if 1 < self.services.shard.core().members().configuration.voters().len() {
            let handed_over = timeout_at(deadline, self.services.shard.transfer(None)).await;
            match handed_over.unwrap_or(Err(TransferError::NobodyTookOver)) {
                Ok(()) => tracing::info!("another node leads now"),
                Err(TransferError::NotLeader) => {}
                Err(error @ TransferError::NobodyTookOver) => {
                    tracing::warn!("stopping as the leader: {error}")
                }
            }
            self.send_clients_on(deadline.min(Instant::now() + patience / 4)).await;
        }
        self.stopping.send_replace(true);
        let orderly = async {
            for client in self.services.clients.all() {
                client.kill();
            }
            let answered = async { while self.tasks.join_next().await.is_some() {} };
            // Who does not take an answer must not keep what is in memory from being written out.
            if timeout((deadline - Instant::now()) / 2, answered).await.is_err() {
                tracing::warn!("some clients have not taken their answers");
            }
            self.services.shard.flush().await
        };
        let reason = match timeout_at(deadline, orderly).await {
            Ok(Ok(())) => None,
            Ok(Err(no_room)) => Some(no_room.to_string()),
            Err(late) => Some(late.to_string()),
        };
        if let Some(reason) = reason {
            tracing::warn!(
                reason,
                "stopping before everything was in order: the next start replays more of the log"
            );
        }
        // Nothing comes in any more that the log would have to take.
        if let Some(peers) = &self.peers {
            peers.transport.stop().await;
        }
        self.services.shard.stop();
    }
}

/// The record of a node that speaks to others.
fn own_record(
    peers: Option<&Peers>,
    config: &Config,
    members: &Configuration,
) -> Result<Option<Bytes>, StartError> {
    match (peers, members.ids().len()) {
        (Some(peers), _) => peers.own_record(config, members).map(Some),
        (None, 0 | 1) => Ok(None),
        (None, members) => Err(StartError::NoPeers(members)),
    }
}

/// Does what may block.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("a panic ends the process")
}

async fn wait_until_ready(shard: &Arc<Shard>) -> Result<(), StartError> {
    let ready = async {
        while shard.read_permit().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(START_PATIENCE, ready).await.map_err(|_| StartError::NotReady)
}
