//! The door to the other nodes: who this node is to them, and what of theirs goes where.

use std::{
    io,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use tokio::net::TcpListener;

use super::{
    StartError,
    forming::{Reception, Step, find_cluster},
    identity::{Cluster, Identity},
    upkeep::{Upkeep, place_of},
};
use crate::{
    cluster::{Bound, MemberRecord},
    config::{Config, PeerTls},
    driver::{MachineClock, Shard},
    executor::Clock,
    raft::{Configuration, Message, NodeId},
    transport::{
        self, Belonging, Handler, Introduction, Offered, Outcome, Secret, Security, SnapshotHeader, Tls,
        Transport, check_protected,
    },
};

/// The shard whose messages are moved.
const SHARD: u32 = 0;

/// What peers say, for the shard. When that has gone, what is said is lost on the way, to `raft`.
struct Ear(Weak<Shard>);

impl Handler for Ear {
    fn received(&self, messages: Vec<Message>) {
        if let Some(shard) = self.0.upgrade() {
            shard.received(messages);
        }
    }

    fn unreachable(&self, peer: NodeId) {
        if let Some(shard) = self.0.upgrade() {
            shard.unreachable(peer);
        }
    }

    fn snapshot_offered(&self, header: &SnapshotHeader) -> Offered {
        match self.0.upgrade() {
            Some(shard) => shard.snapshot_offered(header),
            None => Offered::Refused("the node is stopping".to_owned()),
        }
    }

    fn snapshot_received(&self, header: SnapshotHeader) -> Outcome {
        match self.0.upgrade() {
            Some(shard) => Box::pin(shard.snapshot_received(header)),
            None => {
                Box::pin(async { transport::SnapshotOutcome::Refused("the node is stopping".to_owned()) })
            }
        }
    }

    fn disk_failed(&self, error: &io::Error) {
        match self.0.upgrade() {
            Some(shard) => shard.disk_failed(error),
            None => panic!("a snapshot was received and there is no shard: {error}"),
        }
    }
}

/// What this node speaks to others through, before it belongs to a cluster and after.
pub(super) struct Peers {
    pub(super) transport: Arc<Transport>,
    reception: Arc<Reception>,
    security: Security,
    /// The ports that its record tells.
    bound: Bound,
}

impl Peers {
    /// Listens for other nodes. To who asks, this node is `identity`.
    pub(super) fn start(
        config: &Config,
        identity: &Identity,
        listeners: Vec<TcpListener>,
        bound: Bound,
    ) -> Result<Self, StartError> {
        let security = security(config);
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok());
        check_protected(addresses.map(|address| address.ip()), &security, config.is_protected())?;
        let own = Introduction {
            node_id: identity.node_id,
            address: String::new(),
            peers: config.peers.iter().cloned().collect(),
            record: Bytes::new(),
            belonging: None,
        };
        let reception = Arc::new(Reception::new(own));
        let transport = Transport::start(
            transport::Config {
                security: security.clone(),
                wall_ms: || MachineClock.now().wall_ms,
                ..transport::Config::default()
            },
            identity.node_id,
            SHARD,
            listeners,
            Arc::<Reception>::clone(&reception),
            tokio::runtime::Handle::current(),
        )?;
        Ok(Self { transport: Arc::new(transport), reception, security, bound })
    }

    /// Finds the cluster of a node that belongs to none: forms one with its peers, or joins one that is there.
    pub(super) async fn find_cluster(&self, config: &Config) -> Result<Cluster, StartError> {
        let entries: Vec<String> = config.peers.iter().chain(&config.join).cloned().collect();
        let record = |entry: &str| MemberRecord::new(config, Some(entry), self.bound).encode();
        let announced = config.announce.peer.as_deref();
        let step =
            find_cluster(&self.reception, &entries, &self.security, announced, self.bound.peer_port, record)
                .await?;
        let cluster = match step {
            Step::Form(first) => Cluster { id: fastrand::u128(1..), first },
            Step::Adopt(Belonging { cluster_id, first, .. }) => Cluster { id: cluster_id, first },
            Step::Join(Belonging { cluster_id, present, .. }) => Cluster { id: cluster_id, first: present },
            Step::Wait(_) => unreachable!("it was waited for"),
        };
        // Before it belongs there: who is told what to announce may start anew.
        self.own_record(config, &cluster.first)?;
        Ok(cluster)
    }

    /// The record that this node should have among `members`. It keeps the address by which the others know it, unless another
    /// one is announced.
    ///
    /// # Errors
    ///
    /// No other node could dial this one by it.
    pub(super) fn own_record(&self, config: &Config, members: &Configuration) -> Result<Bytes, StartError> {
        let own = self.reception.own();
        let known = members.record(own.node_id).cloned().and_then(|record| MemberRecord::decode(record).ok());
        let known = known.map(|record| record.peer).filter(|peer| !peer.is_empty());
        let formed = Some(own.address).filter(|entry| !entry.is_empty());
        // A node that has stood alone so far is the only one in its list.
        let only = || (config.peers.len() == 1).then(|| config.peers[0].clone());
        let entry = config.announce.peer.clone().or(known).or(formed).or_else(only);
        if let Some(entry) = &entry
            && !config.peers.is_empty()
            && !config.peers.contains(entry)
        {
            tracing::warn!(
                "the other nodes know this one as {entry}, which is none of its peers (see announce-peer)"
            );
        }
        let record = MemberRecord::new(config, entry.as_deref(), self.bound);
        match record.can_be_dialled() {
            true => Ok(record.encode()),
            false => Err(StartError::NoAddress(record.peer)),
        }
    }

    /// The node belongs to `cluster`, with this record: it says so to who asks, speaks to the members, and looks after its place
    /// among them.
    pub(super) fn belong(&self, cluster: &Cluster, record: Bytes, shard: &Arc<Shard>, config: &Arc<Config>) {
        let was_member = shard.core().with_raft(|raft| raft.was_member());
        let was_place = place_of(&shard.core().members().configuration, self.reception.own().node_id);
        self.transport.join(cluster.id, Arc::new(Ear(Arc::downgrade(shard))));
        shard.connect_members();
        self.reception.take_guests();
        self.reception.update(|own| own.record = record);
        let upkeep = Upkeep {
            shard: Arc::downgrade(shard),
            transport: Arc::clone(&self.transport),
            reception: Arc::clone(&self.reception),
            security: self.security.clone(),
            config: Arc::clone(config),
            was_member,
            was_place,
        };
        tokio::spawn(upkeep.run());
        let reception = Arc::clone(&self.reception);
        let (cluster, mut members) = (cluster.clone(), shard.core().watch_members());
        tokio::spawn(async move {
            loop {
                let present = members.borrow_and_update().configuration.clone();
                reception.update(|own| {
                    // Who joined later knows nothing of the first ones: they are not for others to adopt.
                    let is_first = cluster.first.contains(own.node_id);
                    let first = if is_first { cluster.first.clone() } else { Configuration::default() };
                    own.belonging = Some(Belonging { cluster_id: cluster.id, first, present });
                });
                // An error means that the shard is gone.
                if members.changed().await.is_err() {
                    return;
                }
            }
        });
    }
}

fn security(config: &Config) -> Security {
    let tls = config.peer_tls.clone().map(|tls| {
        let PeerTls { certificate_pem, key_pem, ca_pem } = tls;
        Tls { certificate_pem, key_pem, ca_pem }
    });
    Security { secret: config.peer_secret.as_ref().map(|secret| Secret::new(secret.as_bytes())), tls }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_nobody_could_dial_does_not_start() {
        let record = |flags: &[(&str, &str)]| {
            let config = Config::from_flags(flags).unwrap();
            let identity = Identity { node_id: 7, cluster: None, is_removed: false };
            let bound = Bound { peer_port: 5001, ..Bound::default() };
            let peers = Peers::start(&config, &identity, Vec::new(), bound)?;
            let record = peers.own_record(&config, &Configuration::default())?;
            Ok::<_, StartError>(MemberRecord::decode(record).unwrap().peer)
        };
        let everywhere = [("bind", "*"), ("protected-mode", "no")];
        for others in [("join", "a:5001"), ("peers", "a:5001,b:5001")] {
            let refused = record(&[&everywhere[..], &[others]].concat());
            assert!(matches!(&refused, Err(StartError::NoAddress(peer)) if peer == ":5001"), "{refused:?}");
        }
        let joins = [&everywhere[..], &[("join", "a:5001")]].concat();
        let with = |more| record(&[&joins[..], &[more]].concat()).unwrap();
        assert_eq!(with(("announce-peer", "b:5001")), "b:5001");
        assert_eq!(with(("cluster-announce-ip", "192.0.2.1")), "192.0.2.1:5001");
        assert_eq!(record(&[("bind", "127.0.0.1"), ("join", "a:5001")]).unwrap(), "127.0.0.1:5001");
        assert_eq!(record(&[&everywhere[..], &[("peers", "b:5001")]].concat()).unwrap(), "b:5001");
    }
}
