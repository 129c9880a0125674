//! What a node does for its own place in the cluster: it asks to be let in, keeps its addresses known, and, while it leads,
//! looks after the others ([`crate::cluster::next_change`]).

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    cluster::{Seen, next_change},
    config::Config,
    driver::{Members, Shard},
    raft::{Change, ChangeAnswer, NodeId, Role},
};

/// How often a node looks whether there is something to be done.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks after the membership as long as the shard lives. `own` is what this node's record should be.
pub(super) async fn run(shard: Weak<Shard>, config: Arc<Config>, node_id: NodeId, own: Bytes) {
    let Some(mut members) = shard.upgrade().map(|shard| shard.core().watch_members()) else { return };
    loop {
        let Some(strong) = shard.upgrade() else { return };
        let now = members.borrow_and_update().clone();
        if now.role == Role::Leader {
            let changes = wanted(&strong, &config, &now, node_id, &own);
            if !changes.is_empty() {
                tracing::info!(?changes, "changing the membership");
                match strong.change(changes).await {
                    ChangeAnswer::Done => {}
                    // It is looked at again in a second, here or elsewhere.
                    answer @ (ChangeAnswer::Refused(_) | ChangeAnswer::Unknown) => {
                        tracing::info!(?answer, "the membership was not changed");
                    }
                }
            }
        }
        drop(strong);
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            changed = members.changed() => {
                // An error means that the shard is gone.
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// What this leader changes now.
fn wanted(shard: &Shard, config: &Config, members: &Members, node_id: NodeId, own: &Bytes) -> Vec<Change> {
    if members.configuration.record(node_id).is_some_and(|record| record != own) {
        return vec![Change::Update(node_id, own.clone())];
    }
    shard.core().with_raft(|raft| {
        let seen = |id| Seen {
            has_caught_up: raft.has_caught_up(id),
            silent: raft.silent_us(id).map_or(Duration::ZERO, Duration::from_micros),
        };
        next_change(raft.configuration(), node_id, seen, config.settings().replace_after)
    })
}
