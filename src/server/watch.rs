//! What is done once a second: rates are sampled, the disk is asked for its room, the executor is told.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::watch;

use super::{on_a_thread, status::memory_used_bytes};
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
        services.stats.sample(services.node.started.elapsed(), memory_used_bytes(&services));
        services.shard.submit(Input::Tick);
        let asked = Arc::clone(&disk);
        match on_a_thread(move || asked.free_bytes()).await {
            Ok(free) => services.disk_free_bytes.store(free, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "cannot ask how much room the disk has"),
        }
    }
}
