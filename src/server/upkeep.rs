//! What a node does for its place in the cluster, each second: it says who it is until the membership says the same, does not
//! lead with a wrong clock, and, while it leads, looks after the others ([`crate::cluster::next_change`]).

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::forming::{Reception, ask_all};
use crate::{
    cluster::{MemberRecord, Seen, is_clock_wrong, next_change},
    config::Config,
    driver::{Members, Shard},
    raft::{Change, ChangeAnswer, NodeId, Role},
    transport::{Introduction, Security, Transport},
};

/// How often a node looks whether there is something to be done.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A clock that is wrong so many times in a row is: once, it may be a word that waited on its way.
const WRONG_TIMES: u32 = 3;

/// Looks after the membership as long as the shard lives.
pub(super) struct Upkeep {
    pub(super) shard: Weak<Shard>,
    pub(super) transport: Arc<Transport>,
    /// What this node says of itself, and who has introduced itself to it.
    pub(super) reception: Arc<Reception>,
    pub(super) security: Security,
    pub(super) config: Arc<Config>,
}

impl Upkeep {
    pub(super) async fn run(self) {
        let (mut wrong_times, mut was_member) = (0, false);
        while let Some(shard) = self.shard.upgrade() {
            let members = shard.core().members();
            let own = self.reception.own();
            self.check_clock(&shard, &members, own.node_id, &mut wrong_times);
            let guests = self.reception.take_guests();
            let known = members.configuration.record(own.node_id);
            if members.role == Role::Leader {
                let changes = self.wanted(&shard, &members, &own, guests.into_values());
                if !changes.is_empty() {
                    change(&shard, changes).await;
                }
            } else if known.map_or(!was_member, |known| *known != own.record) {
                self.introduce(&members, &own).await;
            }
            // Who was removed does not ask to be let in again.
            was_member |= known.is_some();
            drop(shard);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Does not lead, or leads again, by what the clock of this node shows.
    fn check_clock(&self, shard: &Arc<Shard>, members: &Members, own: NodeId, wrong_times: &mut u32) {
        let links = self.transport.status().links;
        let was_wrong = WRONG_TIMES <= *wrong_times;
        let is_wrong = is_clock_wrong(&members.configuration, own, |id| links.get(&id)?.clock_ahead_ms);
        *wrong_times = if is_wrong { wrong_times.saturating_add(1) } else { 0 };
        let is_wrong = WRONG_TIMES <= *wrong_times;
        if is_wrong != was_wrong {
            match is_wrong {
                true => {
                    tracing::warn!("the clock of this node is wrong, as most others say: it will not lead")
                }
                false => tracing::info!("the clock of this node is right again"),
            }
            shard.set_unfit(is_wrong);
        }
    }

    /// What this leader changes now: what members say of themselves, who wants to be one, and what follows from how they are.
    fn wanted(
        &self,
        shard: &Shard,
        members: &Members,
        own: &Introduction,
        guests: impl Iterator<Item = Introduction>,
    ) -> Vec<Change> {
        let said = guests.chain([own.clone()]).filter(|guest| !guest.record.is_empty());
        let changes: Vec<_> = said
            .filter_map(|guest| match members.configuration.record(guest.node_id) {
                None => Some(Change::Add(guest.node_id, guest.record)),
                Some(known) => {
                    (*known != guest.record).then_some(Change::Update(guest.node_id, guest.record))
                }
            })
            .collect();
        if !changes.is_empty() {
            return changes;
        }
        shard.core().with_raft(|raft| {
            let seen = |id| Seen {
                has_caught_up: raft.has_caught_up(id),
                silent: raft.silent_us(id).map_or(Duration::ZERO, Duration::from_micros),
            };
            next_change(raft.configuration(), own.node_id, seen, self.config.settings().replace_after)
        })
    }

    /// Tells the members who this node is. The one that leads has the membership say so.
    async fn introduce(&self, members: &Members, own: &Introduction) {
        let configuration = &members.configuration;
        let others = configuration.ids().into_iter().filter(|id| *id != own.node_id);
        let records = others.filter_map(|id| MemberRecord::decode(configuration.record(id)?.clone()).ok());
        let addresses: Vec<String> =
            records.map(|record| record.peer).filter(|peer| !peer.is_empty()).collect();
        // Who does not answer is asked again in a second.
        drop(ask_all(&addresses, &self.security, own).await);
    }
}

async fn change(shard: &Arc<Shard>, changes: Vec<Change>) {
    let ids: Vec<_> = changes.iter().map(|change| change.to_string()).collect();
    tracing::info!(changes = ids.join(", "), "changing the membership");
    match shard.change(changes).await {
        ChangeAnswer::Done => {}
        // It is looked at again in a second, here or elsewhere.
        answer @ (ChangeAnswer::Refused(_) | ChangeAnswer::Unknown) => {
            tracing::info!(?answer, "the membership was not changed");
        }
    }
}
