//! What a node does for its place in the cluster, each second: it keeps its addresses known, does not lead with a wrong clock,
//! and, while it leads, looks after the others ([`crate::cluster::next_change`]).

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    cluster::{Seen, is_clock_wrong, next_change},
    config::Config,
    driver::{Members, Shard},
    raft::{Change, ChangeAnswer, NodeId, Role},
    transport::Transport,
};

/// How often a node looks whether there is something to be done.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A clock that is wrong so many times in a row is: once, it may be a word that waited on its way.
const WRONG_TIMES: u32 = 3;

/// Looks after the membership as long as the shard lives. `own` is what this node's record should be.
pub(super) async fn run(
    shard: Weak<Shard>,
    transport: Arc<Transport>,
    config: Arc<Config>,
    node_id: NodeId,
    own: Bytes,
) {
    let mut wrong_times = 0;
    loop {
        let Some(strong) = shard.upgrade() else { return };
        let now = strong.core().members();
        let links = transport.status().links;
        let ahead = |id| links.get(&id)?.clock_ahead_ms;
        let was_wrong = WRONG_TIMES <= wrong_times;
        wrong_times = if is_clock_wrong(&now.configuration, node_id, ahead) { wrong_times + 1 } else { 0 };
        let is_wrong = WRONG_TIMES <= wrong_times;
        if is_wrong != was_wrong {
            match is_wrong {
                true => {
                    tracing::warn!("the clock of this node is wrong, as most others say: it will not lead")
                }
                false => tracing::info!("the clock of this node is right again"),
            }
            strong.set_unfit(is_wrong);
        }
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
        tokio::time::sleep(LOOK_EVERY).await;
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
