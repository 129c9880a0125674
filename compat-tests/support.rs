//! A node of our own in this process, on free ports and a directory that goes with it.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use sisyphusdb::{config::Config, server::Server};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// All nodes of this process share the table of commands, so the one test that replaces handlers has no other node
/// beside its own.
static HANDLERS: RwLock<()> = RwLock::new(());

/// Who else may have a node meanwhile. A test that failed has let go of its node, so poison means nothing.
enum Handlers {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

/// A node that runs until it is dropped.
pub(crate) struct Node {
    runtime: Runtime,
    server: Option<Server>,
    /// Where the node serves RESP.
    pub(crate) address: SocketAddr,
    _directory: TempDir,
    _handlers: Handlers,
}

impl Node {
    /// Starts a node with these directives beside those that a test needs: free ports and little memory.
    pub(crate) fn start(directives: &[(&str, &str)]) -> Self {
        let guard = HANDLERS.read().unwrap_or_else(PoisonError::into_inner);
        Self::start_with(directives, Handlers::Shared { _guard: guard })
    }

    /// The same, while no other node runs in this process.
    pub(crate) fn start_alone(directives: &[(&str, &str)]) -> Self {
        let guard = HANDLERS.write().unwrap_or_else(PoisonError::into_inner);
        Self::start_with(directives, Handlers::Alone { _guard: guard })
    }

    fn start_with(directives: &[(&str, &str)], handlers: Handlers) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut all = vec![
            ("port", "auto"),
            ("http-port", "auto"),
            ("dir", directory.path().to_str().unwrap()),
            ("memory-budget", "64mb"),
            ("io-threads", "2"),
        ];
        all.extend(directives);
        let config = Arc::new(Config::from_flags(&all).unwrap_or_else(|error| panic!("{error}")));
        let runtime =
            Builder::new_multi_thread().worker_threads(config.io_threads).enable_all().build().unwrap();
        let server = runtime.block_on(Server::start(config)).unwrap_or_else(|error| panic!("{error}"));
        let address = server.resp_addresses()[0];
        Self { runtime, server: Some(server), address, _directory: directory, _handlers: handlers }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}
