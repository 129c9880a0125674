//! Nodes that ask each other who they are: before there is a cluster, so that one can be formed, and after, so that
//! a node that lost its disk hears that there is one.
//!
//! Both sides show that they have the secret, as in every opening, but the opening names no cluster and no receiver,
//! since the dialler knows an address only. Then each says who it is. A node may meet itself: so it learns that an
//! address is its own.

use std::collections::BTreeSet;

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    LinkError, Security,
    connection::{OPENING_MAX, dial},
    exchange::{self, Request as _},
    opening::{Hello, Refusal},
};
use crate::{
    proto::{self, meet_packet, meet_reply},
    raft::{Configuration, NodeId},
};

/// The longest `host:port`: names of hosts have at most 253 bytes.
const ADDRESS_BYTES_MAX: usize = 300;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Its id, never 0.
    pub node_id: NodeId,
    /// The entry of `peers` that it is, which is where it is dialled; empty if it has none.
    pub address: String,
    /// All entries of its `peers`.
    pub peers: BTreeSet<String>,
    /// Its record as a member: name and addresses. The transport does not look into it.
    pub record: Bytes,
    /// The cluster that it belongs to; none if it belongs to none yet.
    pub belonging: Option<Belonging>,
}

/// What a member of a cluster knows of it without asking anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belonging {
    /// The cluster, never 0.
    pub cluster_id: u128,
    /// Its first membership: an empty node of the same list adopts it. Without members if the node joined later.
    pub first: Configuration,
    /// Its membership as the node knows it now.
    pub present: Configuration,
}

/// Who answers when another node asks who is there. The calls come from tasks of the runtime, and must not block.
pub trait Host: Send + Sync + 'static {
    /// Returns what this node says of itself to `guest`.
    fn met(&self, guest: Introduction) -> Introduction;
}

/// Asks the node at `address` who it is, and tells it who asks. Both show first that they may know.
///
/// # Errors
///
/// Nobody answers there within some seconds, or one of the two refuses the other.
pub async fn meet(address: &str, security: &Security, own: &Introduction) -> Result<Introduction, LinkError> {
    let deadline = Instant::now() + OPENING_MAX;
    let met = timeout_at(deadline, async {
        let mut client = dial(address, security.tls.as_ref()).await.map_err(LinkError::Connect)?;
        let hello = Hello::to_anybody(own.node_id);
        let (requests, sent) = mpsc::channel(2);
        drop(requests.send(proto::MeetPacket::from_hello(hello.to_wire())).await);
        let mut answers = client.meet(ReceiverStream::new(sent)).await?.into_inner();
        exchange::dialled(&hello, security.secret.as_ref(), &requests, &mut answers).await?;
        let kind = Some(meet_packet::Kind::Introduction(own.to_wire()));
        requests.send(proto::MeetPacket { kind }).await.map_err(|_| LinkError::Closed)?;
        match answers.message().await?.and_then(|answer| answer.kind) {
            Some(meet_reply::Kind::Introduction(host)) => Ok(Introduction::from_wire(host)?),
            _ => Err(Refusal::Malformed("an introduction is answered with one").into()),
        }
    });
    met.await.map_err(|_| LinkError::Late)?
}

/// Hears who node `from` is, after the opening, and says who this node is.
pub(super) async fn receive(
    host: &dyn Host,
    from: NodeId,
    packets: &mut Streaming<proto::MeetPacket>,
    answers: &mpsc::Sender<Result<proto::MeetReply, Status>>,
) -> Result<(), LinkError> {
    let Some(meet_packet::Kind::Introduction(guest)) =
        packets.message().await?.and_then(|packet| packet.kind)
    else {
        return Err(Refusal::Malformed("who asks who is there introduces itself").into());
    };
    let guest = Introduction::from_wire(guest)?;
    if guest.node_id != from {
        return Err(Refusal::Malformed("it introduces another node").into());
    }
    let kind = Some(meet_reply::Kind::Introduction(host.met(guest).to_wire()));
    answers.send(Ok(proto::MeetReply { kind })).await.map_err(|_| LinkError::Closed)
}

/// Another node wrote it, and it is shown in the log.
fn is_plain(address: &str) -> bool {
    address.len() <= ADDRESS_BYTES_MAX && address.bytes().all(|c| c.is_ascii_graphic())
}

impl Introduction {
    fn to_wire(&self) -> proto::Introduction {
        proto::Introduction {
            node: self.node_id,
            address: self.address.clone(),
            peers: self.peers.iter().cloned().collect(),
            record: self.record.clone(),
            belonging: self.belonging.as_ref().map(|belonging| proto::Belonging {
                cluster: Bytes::copy_from_slice(&belonging.cluster_id.to_be_bytes()),
                first: belonging.first.encode(),
                present: belonging.present.encode(),
            }),
        }
    }

    fn from_wire(said: proto::Introduction) -> Result<Self, Refusal> {
        if said.node == 0 {
            return Err(Refusal::Sender(0));
        }
        if !said.peers.iter().chain([&said.address]).all(|address| is_plain(address)) {
            return Err(Refusal::Malformed("it names an address that cannot be one"));
        }
        let belonging = said.belonging.map(|belonging| {
            let cluster = <[u8; 16]>::try_from(&belonging.cluster[..]).map(u128::from_be_bytes);
            let cluster_id = cluster
                .ok()
                .filter(|id| *id != 0)
                .ok_or(Refusal::Malformed("a cluster id has 16 bytes and is not 0"))?;
            let membership = |bytes| {
                Configuration::decode(bytes)
                    .ok_or(Refusal::Malformed("the membership of its cluster cannot be read"))
            };
            let (first, present) = (membership(belonging.first)?, membership(belonging.present)?);
            Ok(Belonging { cluster_id, first, present })
        });
        Ok(Self {
            node_id: said.node,
            address: said.address,
            peers: said.peers.into_iter().collect(),
            record: said.record,
            belonging: belonging.transpose()?,
        })
    }
}
