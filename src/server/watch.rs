//! What is looked at once a second: rates, and whether the disk has room.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::watch;

use super::status::status;
use crate::{disk::Disk, dispatch::Services, executor::Input};

const INTERVAL: Duration = Duration::from_secs(1);

/// Looks once a second, until `stopped`.
pub(super) async fn run(services: Arc<Services>, disk: Arc<dyn Disk>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // Without a sender the server is gone, which is as good.
            _ = stopped.changed() => return,
        }
        let memory_bytes = status(&services).memory_used_bytes();
        services.stats.sample(services.node.started.elapsed(), memory_bytes);
        // A view that pinned memtables may be gone, and with it the reason not to admit what waits; the disk may have room.
        services.shard.submit(Input::Resume);
        match disk.free_bytes() {
            Ok(free) => services.disk_free_bytes.store(free, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "cannot ask how much room the disk has"),
        }
    }
}
