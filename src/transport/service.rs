//! The accepting end: who comes in, and what is handed on.

use std::{pin::Pin, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    Joined, LinkError, Shared,
    accepting::Guest,
    assembly::Assembly,
    connection::OPENING_MAX,
    exchange::{self, Answer, Door, accepted},
    meeting,
    opening::Refusal,
    snapshot,
    tunnel::Bundle,
};
use crate::{proto, raft::NodeId};

/// The service of `proto/raft.proto`.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) shared: Arc<Shared>,
    /// Becomes true when the node stops.
    pub(super) stopped: watch::Receiver<bool>,
}

type Answers<A> = ReceiverStream<Result<A, Status>>;

#[tonic::async_trait]
impl proto::peer_server::Peer for Service {
    type MessagesStream = Answers<proto::Reply>;
    type SnapshotStream = Answers<proto::SnapshotReply>;
    type MeetStream = Answers<proto::MeetReply>;
    type TunnelsStream = Pin<Box<dyn Stream<Item = Result<proto::TunnelReply, Status>> + Send>>;

    async fn messages(
        &self,
        requests: Request<Streaming<proto::Packet>>,
    ) -> Result<Response<Self::MessagesStream>, Status> {
        let (answers, outgoing) = mpsc::channel(2);
        let (service, (guest, mut requests)) = (self.clone(), arrived(requests));
        tokio::spawn(async move {
            let Some((from, joined)) = service.open_to_members(&guest, &mut requests, &answers).await else {
                return;
            };
            let error = service.receive(joined, from, &mut requests).await;
            tracing::info!(peer = format!("{from:016x}"), %error, "a stream from a peer ended");
            // The peer may be gone, and then hears nothing.
            drop(answers.send(Err(error.to_status())).await);
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn snapshot(
        &self,
        packets: Request<Streaming<proto::SnapshotPacket>>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let (answers, outgoing) = mpsc::channel(2);
        let (service, (guest, mut packets)) = (self.clone(), arrived(packets));
        tokio::spawn(async move {
            let Some((from, joined)) = service.open_to_members(&guest, &mut packets, &answers).await else {
                return;
            };
            let received = snapshot::receive(&service.shared, &joined.handler, from, &mut packets, &answers);
            // Stopped, it breaks off; what has come is removed at the next start.
            service.unless_stopped(received).await;
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn meet(
        &self,
        packets: Request<Streaming<proto::MeetPacket>>,
    ) -> Result<Response<Self::MeetStream>, Status> {
        let (answers, outgoing) = mpsc::channel(2);
        let (service, (guest, mut packets)) = (self.clone(), arrived(packets));
        tokio::spawn(async move {
            let Some(from) = service.open(&guest, Door::Anybody, &mut packets, &answers).await else {
                return;
            };
            let host = &*service.shared.host;
            let met = timeout(OPENING_MAX, meeting::receive(host, from, &mut packets, &answers));
            let Some(met) = service.unless_stopped(met).await else { return };
            if let Err(error) = met.unwrap_or(Err(LinkError::Late)) {
                service.refuse(&guest, from, &error, &answers).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn tunnels(
        &self,
        packets: Request<Streaming<proto::TunnelPacket>>,
    ) -> Result<Response<Self::TunnelsStream>, Status> {
        let (answers, outgoing) = mpsc::channel(2);
        let bundle = Bundle::new(&self.shared.tunnels);
        let frames = bundle.batches().map(|batch| {
            let frames = batch.map_err(|error| error.to_status())?;
            Ok(proto::TunnelReply { kind: Some(proto::tunnel_reply::Kind::Frames(frames)) })
        });
        let (service, (guest, mut packets)) = (self.clone(), arrived(packets));
        tokio::spawn(async move {
            let Some((from, _)) = service.open_to_members(&guest, &mut packets, &answers).await else {
                return bundle.end(LinkError::Closed);
            };
            // What goes out now is what waits in the tunnels.
            drop(answers);
            let error = service.receive_tunnels(from, &bundle, &mut packets).await;
            tracing::info!(peer = format!("{from:016x}"), %error, "the tunnels of a peer ended");
            bundle.end(error);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing).chain(frames))))
    }
}

/// Returns whose connection a call came on, and what it says.
fn arrived<Q>(call: Request<Q>) -> (Guest, Q) {
    let guest = call.extensions().get::<Guest>().expect("every accepted connection is a guest's").clone();
    (guest, call.into_inner())
}

impl Service {
    /// Lets tunnels of a peer be served, until their stream ends.
    async fn receive_tunnels(
        &self,
        from: NodeId,
        bundle: &Arc<Bundle>,
        packets: &mut Streaming<proto::TunnelPacket>,
    ) -> LinkError {
        loop {
            let frames = match self.unless_stopped(packets.message()).await {
                None | Some(Ok(None)) => return LinkError::Closed,
                Some(Err(status)) => return status.into(),
                Some(Ok(Some(packet))) => match packet.kind {
                    Some(proto::tunnel_packet::Kind::Frames(frames)) => frames,
                    _ => return self.cut_off(from, Refusal::Malformed("only frames follow the opening")),
                },
            };
            match bundle.take(from, frames, true) {
                Ok(opened) => {
                    for incoming in opened {
                        match self.shared.front.get() {
                            Some(front) => front.serve(incoming),
                            None => incoming.refuse("the node is starting"),
                        }
                    }
                }
                Err(malformed) => return self.cut_off(from, malformed),
            }
        }
    }

    /// A peer has said what it may not say.
    fn cut_off(&self, from: NodeId, why: impl Into<LinkError>) -> LinkError {
        let error = why.into();
        self.shared.refusals.add(from, None, &error);
        error
    }

    /// Lets a member of the cluster in, if this node is one, or tells it why not.
    async fn open_to_members<Q: exchange::Request, A: Answer>(
        &self,
        guest: &Guest,
        requests: &mut Streaming<Q>,
        answers: &mpsc::Sender<Result<A, Status>>,
    ) -> Option<(NodeId, &Joined)> {
        let shared = &self.shared;
        let joined = shared.joined.get();
        let cluster = joined.map(|joined| joined.cluster_id);
        let door = Door::Member { cluster, shard: shared.shard, node: shared.node_id };
        let from = self.open(guest, door, requests, answers).await?;
        shared.refusals.forget(from);
        if let Some(peer) = shared.peer(from) {
            peer.seen();
        }
        joined.map(|joined| (from, joined))
    }

    /// Lets a node in, or tells it why not.
    async fn open<Q: exchange::Request, A: Answer>(
        &self,
        guest: &Guest,
        door: Door,
        requests: &mut Streaming<Q>,
        answers: &mpsc::Sender<Result<A, Status>>,
    ) -> Option<NodeId> {
        let secret = self.shared.config.security.secret.as_ref();
        let opened = timeout(OPENING_MAX, accepted(door, secret, requests, answers));
        let opened = self.unless_stopped(opened).await?;
        match opened.unwrap_or(Err((0, LinkError::Late))) {
            Ok(from) => {
                guest.pass();
                Some(from)
            }
            Err((from, error)) => {
                self.refuse(guest, from, &error, answers).await;
                None
            }
        }
    }

    async fn refuse<A>(
        &self,
        guest: &Guest,
        from: NodeId,
        error: &LinkError,
        answers: &mpsc::Sender<Result<A, Status>>,
    ) {
        // A node that lost its disk is where it was before, and dials itself there until the one that it was is removed.
        let is_itself = from == self.shared.node_id;
        if !is_itself || !matches!(error, LinkError::Refused(Refusal::Receiver { .. })) {
            self.shared.refusals.add(from, guest.address, error);
        }
        // The peer may be gone, and then hears nothing.
        drop(answers.send(Err(error.to_status())).await);
    }

    /// Hands on what a peer says, until the stream ends.
    async fn receive(
        &self,
        joined: &Joined,
        from: NodeId,
        requests: &mut Streaming<proto::Packet>,
    ) -> LinkError {
        let shared = &self.shared;
        let mut assembly = Assembly::new(from, shared.node_id, shared.config.entry_bytes_max);
        loop {
            let batch = match self.unless_stopped(requests.message()).await {
                None | Some(Ok(None)) => return LinkError::Closed,
                Some(Err(status)) => {
                    // That is what tonic calls a message that is too long or is none; others broke the connection.
                    let said = matches!(status.code(), Code::OutOfRange | Code::Internal);
                    let error = status.into();
                    if said {
                        shared.refusals.add(from, None, &error);
                    }
                    return error;
                }
                Some(Ok(Some(proto::Packet { kind: Some(proto::packet::Kind::Batch(batch)) }))) => batch,
                Some(Ok(Some(_))) => {
                    return self.cut_off(from, Refusal::Malformed("only batches follow the opening"));
                }
            };
            if batch.wall_ms != 0
                && let Some(peer) = shared.peer(from)
            {
                peer.set_clock(batch.wall_ms, (shared.config.wall_ms)());
            }
            let mut messages = Vec::new();
            let taken = assembly.take(batch, &mut messages);
            if let Some(peer) = shared.peer(from) {
                peer.count_received(messages.len());
            }
            if !messages.is_empty() {
                joined.handler.received(messages);
            }
            if let Err(malformed) = taken {
                return self.cut_off(from, malformed);
            }
        }
    }

    /// Returns what `work` does, or nothing if the node stops first.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            done = work => Some(done),
            // Without a sender the transport is gone, which is as good.
            _ = stopped.wait_for(|stopped| *stopped) => None,
        }
    }
}
