//! Sockets and lifetimes: starts everything in order, stops it in reverse.

mod client;
mod connection;
mod http;
mod identity;
mod listener;
mod local;
mod node;
mod open;
mod status;
mod watch;

use std::{any::Any, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::watch::{Receiver, Sender, channel},
    task::JoinSet,
};

pub use self::{
    identity::{Identity, IdentityError},
    local::{LocalClient, LocalReply},
    open::{OpenError, verify},
};
use crate::{
    command::{self, Command},
    config::Config,
    dispatch::{Node, Services},
    driver::{MachineClock, Shard},
    executor::Input,
    metrics::Stats,
};

/// How long the first election may take; with one voter it is one sync.
const START_PATIENCE: Duration = Duration::from_secs(30);

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
    /// Held as long as the node lives.
    _lock: Box<dyn Any + Send + Sync>,
}

impl Server {
    /// Recovers the data, becomes ready, and listens. To be called on the runtime that will serve.
    pub async fn start(config: Arc<Config>) -> Result<Self, StartError> {
        let opening = Arc::clone(&config);
        let opened = tokio::task::spawn_blocking(move || open::open(&opening, &MachineClock))
            .await
            .expect("a panic ends the process")?;
        let runtime = tokio::runtime::Handle::current();
        let names = command::all().iter().map(Command::full_name).collect();
        let stats = Arc::new(Stats::new(names));
        let shard = Shard::start(opened.core, runtime, config.io_threads, Arc::clone(&stats))
            .map_err(StartError::Thread)?;
        shard.campaign();
        wait_until_ready(&shard).await?;
        let disk = opened.disk;
        let free_bytes = disk.free_bytes().map_err(StartError::Disk)?;
        let identity = opened.identity;
        let node = Node::new(identity.node_id, identity.cluster_id);
        let services = Arc::new(Services::new(shard, config, stats, free_bytes, node));
        let (stopping, stopped) = channel(false);
        let mut server = Self {
            services,
            resp_addresses: Vec::new(),
            http_addresses: Vec::new(),
            tasks: JoinSet::new(),
            stopping,
            _lock: opened.lock,
        };
        server.listen(&stopped).await?;
        server.services.node.set_addresses(server.resp_addresses.clone(), server.http_addresses.clone());
        server.follow_directives();
        server.tasks.spawn(watch::run(Arc::clone(&server.services), disk, stopped.clone()));
        Ok(server)
    }

    async fn listen(&mut self, stopped: &Receiver<bool>) -> Result<(), StartError> {
        let config = Arc::clone(&self.services.config);
        // Without peers there is nobody to stand in for.
        let proxy_port = config.proxy_port.filter(|_| !config.peers.is_empty());
        for port in [config.port, proxy_port].into_iter().flatten() {
            for listener in listener::bind(&config, port)? {
                self.resp_addresses.extend(listener.local_addr());
                let services = Arc::clone(&self.services);
                self.tasks.spawn(listener::serve(services, listener, stopped.clone()));
            }
        }
        if let Some(port) = config.http_port {
            let router = http::router_of_node(&self.services);
            for listener in listener::bind(&config, port)? {
                self.http_addresses.extend(listener.local_addr());
                let connections_max = config.http_connections_max();
                self.tasks.spawn(http::serve(listener, router.clone(), connections_max, stopped.clone()));
            }
        }
        Ok(())
    }

    /// What CONFIG SET changes reaches the executor before its reply the client, so that the next command sees it; and
    /// the connections, of which each may be waiting for its client.
    fn follow_directives(&self) {
        let services = Arc::downgrade(&self.services);
        self.services.config.on_change(move |_| {
            if let Some(services) = services.upgrade() {
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

    /// Stops: accepts nothing new, lets what is in the executor be answered, writes the memtable out, and ends, all
    /// within `shutdown-timeout`. What is acknowledged is safe at any moment, so being late loses nothing.
    pub async fn stop(mut self) {
        let patience = self.services.config.settings().shutdown_timeout;
        self.stopping.send_replace(true);
        let orderly = async {
            for client in self.services.clients.all() {
                client.kill();
            }
            let answered = async { while self.tasks.join_next().await.is_some() {} };
            // Who does not take an answer must not keep what is in memory from being written out.
            if tokio::time::timeout(patience / 2, answered).await.is_err() {
                tracing::warn!("some clients have not taken their answers");
            }
            self.services.shard.flush().await
        };
        let reason = match tokio::time::timeout(patience, orderly).await {
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
        self.services.shard.stop();
    }
}

async fn wait_until_ready(shard: &Arc<Shard>) -> Result<(), StartError> {
    let ready = async {
        while shard.read_permit().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(START_PATIENCE, ready).await.map_err(|_| StartError::NotReady)
}
