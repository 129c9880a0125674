//! What a node does for its place in the cluster, each second: it says who it is until the membership says the same, does not
//! lead with a wrong clock, and, while it leads, looks after the others ([`crate::cluster::next_change`]).

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::forming::{Reception, ask_all};
use crate::{
    cluster::{MemberRecord, Seen, is_clock_wrong, next_change, wanted_by},
    config::Config,
    driver::{Members, Shard},
    raft::{Change, ChangeAnswer, Configuration, NodeId, Role},
    transport::{Introduction, LinkError, LinkState, Security, Transport},
};

/// How often a node looks whether there is something to be done.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whom this node cannot introduce itself to is told in the log at one try of so many.
const TRIES_PER_WORD: u32 = 5;

/// A clock that is wrong so many times in a row is: once, it may be a word that waited on its way.
const WRONG_TIMES: u32 = 3;

/// How long a node that starts waits to hear what time it is elsewhere before it may lead, and how often it looks. Who has led
/// or voted before does not stand for election any sooner.
const FIRST_COMPARISON: Duration = Duration::from_secs(1);
const COMPARE_EVERY: Duration = Duration::from_millis(20);

/// A node that has heard of no leader for so long says so.
const LEADERLESS_MAX: Duration = Duration::from_secs(3);

/// Looks after the membership as long as the shard lives.
pub(super) struct Upkeep {
    pub(super) shard: Weak<Shard>,
    pub(super) transport: Arc<Transport>,
    /// What this node says of itself, and who has introduced itself to it.
    pub(super) reception: Arc<Reception>,
    pub(super) security: Security,
    pub(super) config: Arc<Config>,
    /// The node has been a member when it starts. It may hear that it is none before this looks for the first time.
    pub(super) was_member: bool,
    /// What it is then ([`place_of`]).
    pub(super) was_place: &'static str,
}

impl Upkeep {
    pub(super) async fn run(self) {
        let mut wrong_times = self.compare_clocks_first().await;
        let mut was_member = self.was_member;
        let mut tries = 0_u32;
        let mut leaderless = Leaderless::default();
        let mut was_place = self.was_place;
        while let Some(shard) = self.shard.upgrade() {
            // In this order: what a node that was removed says of itself is not newer than what it knows then.
            let own = self.reception.own();
            let members = shard.core().members();
            if let Some(word) = leaderless.look(members.leader.is_some(), Instant::now()) {
                self.tell_leader(word, &members, own.node_id);
            }
            let place = place_of(&members.configuration, own.node_id);
            if place != was_place {
                tracing::info!("this node is {place} the cluster now");
                was_place = place;
            }
            let was_wrong = WRONG_TIMES <= wrong_times;
            let is_wrong = self.is_clock_wrong(&members, own.node_id);
            wrong_times = if is_wrong { wrong_times.saturating_add(1) } else { 0 };
            let is_wrong = WRONG_TIMES <= wrong_times;
            if is_wrong != was_wrong {
                tell_clock(is_wrong);
                shard.set_unfit(is_wrong);
            }
            let mut guests = self.reception.take_guests();
            // It may have met itself.
            guests.remove(&own.node_id);
            for guest in guests.values() {
                self.hint(guest);
            }
            let known = members.configuration.record(own.node_id);
            let is_unknown = known.map_or(!was_member, |known| *known != own.record);
            if members.role == Role::Leader {
                let changes = self.wanted(&shard, &members, &own, guests.into_values());
                if !changes.is_empty() {
                    change(&shard, changes).await;
                }
            } else if is_unknown || (known.is_some() && self.is_lost(&members)) {
                let errors = self.introduce(&members, &own).await;
                if is_unknown && tries.is_multiple_of(TRIES_PER_WORD) {
                    for (address, error) in errors {
                        tracing::warn!(address, %error, "a member cannot be told who this node is");
                    }
                }
                tries += u32::from(is_unknown);
            }
            // Who was removed does not ask to be let in again.
            was_member |= known.is_some();
            drop(shard);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Does not let this node lead before it has heard what time it is elsewhere, for as long as that may take. Returns how often
    /// its clock was wrong.
    async fn compare_clocks_first(&self) -> u32 {
        let started = Instant::now();
        loop {
            let Some(shard) = self.shard.upgrade() else { return 0 };
            let (members, own) = (shard.core().members(), self.reception.own().node_id);
            let links = self.transport.status().links;
            let is_known = |id: &NodeId| links.get(id).is_some_and(|link| link.clock_ahead_ms.is_some());
            let mut others = members.configuration.voters().into_iter().filter(|id| *id != own);
            if others.all(|id| is_known(&id)) || FIRST_COMPARISON <= started.elapsed() {
                let is_wrong = self.is_clock_wrong(&members, own);
                shard.set_unfit(is_wrong);
                if is_wrong {
                    tell_clock(true);
                }
                return if is_wrong { WRONG_TIMES } else { 0 };
            }
            shard.set_unfit(true);
            drop(shard);
            tokio::time::sleep(COMPARE_EVERY).await;
        }
    }

    fn tell_leader(&self, word: LeaderWord, members: &Members, own: NodeId) {
        match word {
            LeaderWord::None => {
                let others = members.configuration.voters().into_iter().filter(|id| *id != own);
                let links = self.transport.status().links;
                let is_connected =
                    |id: &NodeId| links.get(id).is_some_and(|link| link.state == LinkState::Connected);
                let (connected, away): (Vec<_>, Vec<_>) = others.partition(is_connected);
                tracing::warn!(
                    connected = connected.len(),
                    away = away.len(),
                    "there has been no leader for some seconds: nothing is written until a majority of the voters is connected"
                );
            }
            LeaderWord::Again => tracing::info!("there is a leader again"),
        }
    }

    /// Whether most others say so.
    fn is_clock_wrong(&self, members: &Members, own: NodeId) -> bool {
        let links = self.transport.status().links;
        is_clock_wrong(&members.configuration, own, |id| links.get(&id)?.clock_ahead_ms)
    }

    /// What this leader changes now: what members say of themselves, who wants to be one, and what follows from how they are.
    fn wanted(
        &self,
        shard: &Shard,
        members: &Members,
        own: &Introduction,
        guests: impl Iterator<Item = Introduction>,
    ) -> Vec<Change> {
        let changes: Vec<_> = guests
            .chain([own.clone()])
            .filter_map(|Introduction { node_id, record, belonging, .. }| {
                let was_member = belonging.is_some_and(|belonging| belonging.present.contains(node_id));
                wanted_by(&members.configuration, node_id, record, was_member)
            })
            .collect();
        if !changes.is_empty() {
            return changes;
        }
        let now_us = shard.now().boot_us;
        shard.core().with_raft(|raft| {
            let seen = |id| Seen {
                has_caught_up: raft.has_caught_up(id),
                silent: raft.silent_us(id, now_us).map_or(Duration::ZERO, Duration::from_micros),
            };
            next_change(raft.configuration(), own.node_id, seen, self.config.settings().replace_after)
        })
    }

    /// Whether this node cannot speak to the one that leads. That one may have moved.
    fn is_lost(&self, members: &Members) -> bool {
        let links = self.transport.status().links;
        let link = members.leader.and_then(|leader| links.get(&leader));
        link.is_none_or(|link| link.state != LinkState::Connected)
    }

    /// Remembers where members are, as one of them says: the membership of this node says so only when a majority has met and
    /// has told it.
    fn hint(&self, said: &Introduction) {
        let present = said.belonging.as_ref().map(|belonging| &belonging.present);
        let known = present.into_iter().flat_map(|present| &present.members);
        let records = known.map(|(id, member)| (*id, &member.record)).chain([(said.node_id, &said.record)]);
        for (id, record) in records {
            match MemberRecord::decode(record.clone()) {
                Ok(record) if !record.peer.is_empty() => self.transport.hint(id, &record.peer),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Tells the members who this node is, where they are known to be and where the configuration says that they are, and hears
    /// where others are. The one that leads has the membership say so. Returns who did not hear it.
    async fn introduce(&self, members: &Members, own: &Introduction) -> BTreeMap<String, LinkError> {
        let configuration = &members.configuration;
        let others = configuration.ids().into_iter().filter(|id| *id != own.node_id);
        let records = others.filter_map(|id| MemberRecord::decode(configuration.record(id)?.clone()).ok());
        let known = records.map(|record| record.peer).filter(|peer| !peer.is_empty());
        let told = self.config.peers.iter().chain(&self.config.join).cloned();
        let addresses: Vec<String> = known.chain(told).collect();
        // Who does not answer is asked again in a second.
        let (answers, errors) = ask_all(&addresses, &self.security, own).await;
        let cluster = |said: &Introduction| said.belonging.as_ref().map(|belonging| belonging.cluster_id);
        for (address, said) in answers {
            if cluster(&said) == cluster(own) {
                self.hint(&said);
                self.transport.hint(said.node_id, &address);
            }
        }
        errors
    }
}

/// What a node is in the cluster.
pub(super) fn place_of(configuration: &Configuration, id: NodeId) -> &'static str {
    match (configuration.contains(id), configuration.is_voter(id)) {
        (_, true) => "a voter of",
        (true, false) => "a learner of",
        (false, false) => "no member of",
    }
}

/// What the log is told of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeaderWord {
    /// There has been none for long.
    None,
    /// There is one after that.
    Again,
}

/// For how long there has been no leader. Each such time is told once.
#[derive(Debug, Default)]
struct Leaderless {
    since: Option<Instant>,
    is_told: bool,
}

impl Leaderless {
    fn look(&mut self, has_leader: bool, now: Instant) -> Option<LeaderWord> {
        if has_leader {
            self.since = None;
            return std::mem::take(&mut self.is_told).then_some(LeaderWord::Again);
        }
        let is_long = LEADERLESS_MAX <= now - *self.since.get_or_insert(now);
        let is_new = is_long && !self.is_told;
        self.is_told |= is_long;
        is_new.then_some(LeaderWord::None)
    }
}

fn tell_clock(is_wrong: bool) {
    match is_wrong {
        true => tracing::warn!("the clock of this node is wrong, as most others say: it will not lead"),
        false => tracing::info!("the clock of this node is right again"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_nobody_leads_is_told_once() {
        let (start, mut leaderless) = (Instant::now(), Leaderless::default());
        let mut look =
            |has_leader, seconds| leaderless.look(has_leader, start + Duration::from_secs(seconds));
        assert_eq!(look(false, 0), None);
        assert_eq!(look(false, 2), None, "an election takes a while");
        assert_eq!(look(true, 3), None);
        assert_eq!(look(false, 4), None);
        assert_eq!(look(false, 7), Some(LeaderWord::None));
        assert_eq!(look(false, 8), None);
        assert_eq!(look(true, 9), Some(LeaderWord::Again));
        assert_eq!(look(true, 10), None);
    }
}
