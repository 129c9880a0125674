//! The accepting end: who comes in, and what is handed on.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    LinkError, Shared,
    assembly::Assembly,
    connection::OPENING_MAX,
    exchange::{self, Answer, Door, accepted},
    opening::Refusal,
    snapshot,
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

    async fn messages(
        &self,
        requests: Request<Streaming<proto::Packet>>,
    ) -> Result<Response<Self::MessagesStream>, Status> {
        let (answers, outgoing) = mpsc::channel(2);
        let (service, mut requests) = (self.clone(), requests.into_inner());
        tokio::spawn(async move {
            let Some(from) = service.open(&mut requests, &answers).await else { return };
            let error = service.receive(from, &mut requests).await;
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
        let (service, mut packets) = (self.clone(), packets.into_inner());
        tokio::spawn(async move {
            let Some(from) = service.open(&mut packets, &answers).await else { return };
            let received = snapshot::receive(&service.shared, from, &mut packets, &answers);
            // Stopped, it breaks off, and goes on after the next start.
            service.unless_stopped(received).await;
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

impl Service {
    /// Lets a peer in, or tells it why not.
    async fn open<Q: exchange::Request, A: Answer>(
        &self,
        requests: &mut Streaming<Q>,
        answers: &mpsc::Sender<Result<A, Status>>,
    ) -> Option<NodeId> {
        let shared = &self.shared;
        let door = Door {
            cluster: shared.identity.cluster_id,
            shard: shared.identity.shard,
            node: shared.identity.node_id,
            secret: shared.config.security.secret.as_ref(),
        };
        let opened = timeout(OPENING_MAX, accepted(door, requests, answers));
        let opened = self.unless_stopped(opened).await?;
        match opened.unwrap_or(Err((0, LinkError::Late))) {
            Ok(from) => {
                shared.refusals.forget(from);
                if let Some(peer) = shared.peer(from) {
                    peer.seen();
                }
                Some(from)
            }
            Err((from, error)) => {
                shared.refusals.add(from, &error);
                drop(answers.send(Err(error.to_status())).await);
                None
            }
        }
    }

    /// Hands on what a peer says, until the stream ends.
    async fn receive(&self, from: NodeId, requests: &mut Streaming<proto::Packet>) -> LinkError {
        let shared = &self.shared;
        let mut assembly = Assembly::new(from, shared.identity.node_id, shared.config.entry_bytes_max);
        loop {
            let batch = match self.unless_stopped(requests.message()).await {
                None | Some(Ok(None)) => return LinkError::Closed,
                Some(Err(status)) => {
                    // That is what tonic calls a message that is too long or is none; others broke the connection.
                    let said = matches!(status.code(), Code::OutOfRange | Code::Internal);
                    let error = status.into();
                    if said {
                        shared.refusals.add(from, &error);
                    }
                    return error;
                }
                Some(Ok(Some(proto::Packet { kind: Some(proto::packet::Kind::Batch(batch)) }))) => batch,
                Some(Ok(Some(_))) => {
                    let error = Refusal::Malformed("only batches follow the opening").into();
                    shared.refusals.add(from, &error);
                    return error;
                }
            };
            let mut messages = Vec::new();
            let taken = assembly.take(batch, &mut messages);
            if let Some(peer) = shared.peer(from) {
                peer.count_received(messages.len());
            }
            if !messages.is_empty() {
                shared.handler.received(messages);
            }
            if let Err(malformed) = taken {
                shared.refusals.add(from, &malformed.into());
                return malformed.into();
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
