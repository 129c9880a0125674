//! A node of our own in this process, on free ports and a directory that goes with it.

use std::{net::SocketAddr, sync::Arc};

use sisyphusdb::{config::Config, server::Server};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// A node that runs until it is dropped.
pub(crate) struct Node {
    runtime: Runtime,
    server: Option<Server>,
    /// Where the node serves RESP.
    pub(crate) address: SocketAddr,
    _directory: TempDir,
}

impl Node {
    /// Starts a node with these directives beside those that a test needs: free ports and little memory.
    pub(crate) fn start(directives: &[(&str, &str)]) -> Self {
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
        Self { runtime, server: Some(server), address, _directory: directory }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}
