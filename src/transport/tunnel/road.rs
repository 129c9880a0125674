//! The stream to one peer that tunnels share: dialled when the first of them is opened, and again when it broke.

use std::sync::Arc;

use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, timeout},
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::Streaming;

use super::Bundle;
use crate::{
    proto::{self, tunnel_packet, tunnel_reply},
    raft::NodeId,
    sync::Mutex,
    transport::{
        LinkError, Shared,
        connection::{OPENING_MAX, dial},
        exchange::{self, Request as _},
        opening::Refusal,
    },
};

/// The way of tunnels to one peer.
#[derive(Default)]
pub(in crate::transport) struct Road {
    /// Held by who dials; others wait for what comes of it. When it failed last, and why.
    dialling: tokio::sync::Mutex<Option<(Instant, LinkError)>>,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    New,
    Open {
        bundle: Arc<Bundle>,
        /// The task that reads from the stream.
        reading: AbortHandle,
    },
    /// The peer is no member any more, or this node stops.
    Closed,
}

impl Road {
    /// Returns the tunnels of the stream to node `to`, which is dialled at `address` if there is none.
    pub(in crate::transport) async fn bundle(
        &self,
        shared: &Shared,
        to: NodeId,
        address: &str,
    ) -> Result<Arc<Bundle>, LinkError> {
        if let Some(bundle) = self.present()? {
            return Ok(bundle);
        }
        let asked = Instant::now();
        let mut failed = self.dialling.lock().await;
        if let Some(bundle) = self.present()? {
            return Ok(bundle);
        }
        // Who waited while another dialled in vain does not dial again.
        if let Some((when, error)) = &*failed
            && *when >= asked
        {
            return Err(error.clone());
        }
        match dial_bundle(shared, to, address).await {
            Ok((bundle, reading)) => self.keep(bundle, reading),
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Ends the stream, for ever.
    pub(in crate::transport) fn close(&self) {
        let state = std::mem::replace(&mut *self.lock(), State::Closed);
        if let State::Open { bundle, reading } = state {
            bundle.end(LinkError::Closed);
            reading.abort();
        }
    }

    fn present(&self) -> Result<Option<Arc<Bundle>>, LinkError> {
        match &*self.lock() {
            State::Open { bundle, .. } if !bundle.has_ended() => Ok(Some(Arc::clone(bundle))),
            State::New | State::Open { .. } => Ok(None),
            State::Closed => Err(LinkError::NotMember),
        }
    }

    fn keep(&self, bundle: Arc<Bundle>, reading: AbortHandle) -> Result<Arc<Bundle>, LinkError> {
        let mut state = self.lock();
        if let State::Closed = *state {
            drop(state);
            bundle.end(LinkError::Closed);
            reading.abort();
            return Err(LinkError::NotMember);
        }
        *state = State::Open { bundle: Arc::clone(&bundle), reading };
        Ok(bundle)
    }

    fn lock(&self) -> crate::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it has the way")
    }
}

async fn dial_bundle(
    shared: &Shared,
    to: NodeId,
    address: &str,
) -> Result<(Arc<Bundle>, AbortHandle), LinkError> {
    let security = &shared.config.security;
    let mut client = dial(address, security.tls.as_ref()).await.map_err(LinkError::Connect)?;
    let hello = shared.hello(to);
    let bundle = Bundle::new(&shared.tunnels);
    let (requests, opening) = mpsc::channel(2);
    // Why it ended is told to those who use the tunnels; the acceptor sees that it did.
    let batches = bundle
        .batches()
        .map_while(Result::ok)
        .map(|frames| proto::TunnelPacket { kind: Some(tunnel_packet::Kind::Frames(frames)) });
    let opened = timeout(OPENING_MAX, async {
        drop(requests.send(proto::TunnelPacket::from_hello(hello.to_wire())).await);
        let call = client.tunnels(ReceiverStream::new(opening).chain(batches));
        let mut answers = call.await?.into_inner();
        exchange::dialled(&hello, security.secret.as_ref(), &requests, &mut answers).await?;
        Ok::<_, LinkError>(answers)
    });
    let mut answers = opened.await.map_err(|_| LinkError::Late)??;
    tracing::info!(peer = format!("{to:016x}"), address, "a stream of tunnels to a peer");
    let (read, address) = (Arc::clone(&bundle), address.to_owned());
    let reading = tokio::spawn(async move {
        let error = receive(&read, to, &mut answers).await;
        tracing::info!(peer = format!("{to:016x}"), address, %error, "the tunnels to a peer ended");
        read.end(error);
    });
    Ok((bundle, reading.abort_handle()))
}

/// Takes what the acceptor sends, until the stream ends.
async fn receive(
    bundle: &Arc<Bundle>,
    from: NodeId,
    answers: &mut Streaming<proto::TunnelReply>,
) -> LinkError {
    loop {
        let frames = match answers.message().await {
            Ok(None) => return LinkError::Closed,
            Err(status) => return status.into(),
            Ok(Some(proto::TunnelReply { kind: Some(tunnel_reply::Kind::Frames(frames)) })) => frames,
            Ok(Some(_)) => return Refusal::Malformed("only frames follow the welcome").into(),
        };
        if let Err(malformed) = bundle.take(from, frames, false) {
            return malformed.into();
        }
    }
}
