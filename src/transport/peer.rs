//! The way to one peer: a stream that is dialled again when it breaks.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use super::{
    LinkError, LinkState, LinkStatus, Shared,
    backoff::Backoff,
    connection::{OPENING_MAX, dial},
    exchange::{self, Request as _},
    opening::{Hello, Refusal},
    outbox::Outbox,
    tunnel::{Purpose, Road, Tunnel},
};
use crate::{
    proto,
    raft::{Message, NodeId},
    sync::{Mutex, MutexGuard},
};

/// How often a peer is told what time it is here.
const TIME_TOLD_EVERY: Duration = Duration::from_secs(1);

/// Where a peer may be: more is forgotten.
const WAYS_MAX: usize = 4;

/// Where a peer may be.
struct Way {
    address: String,
    /// Why it was not found there the last time.
    failed: Option<LinkError>,
}

/// A node that is spoken to.
pub(super) struct Peer {
    pub(super) id: NodeId,
    /// Where the membership says that it is.
    pub(super) address: String,
    /// Where it is dialled, in turns: there, and where else it may be. The first is the next, and where it was found last.
    ways: Mutex<VecDeque<Way>>,
    outbox: Arc<Outbox>,
    road: Road,
    state: Mutex<LinkState>,
    sent: AtomicU64,
    dropped: AtomicU64,
    received: AtomicU64,
    opened: AtomicU64,
    clock_ahead_ms: Mutex<Option<i64>>,
    /// It is there: dial at once.
    seen: Notify,
}

impl Peer {
    pub(super) fn new(id: NodeId, address: String, outbox_bytes_max: usize) -> Self {
        Self {
            id,
            ways: Mutex::new(VecDeque::from([Way { address: address.clone(), failed: None }])),
            address,
            outbox: Arc::new(Outbox::new(outbox_bytes_max)),
            road: Road::default(),
            state: Mutex::new(LinkState::New),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            received: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            clock_ahead_ms: Mutex::default(),
            seen: Notify::new(),
        }
    }

    /// Lets `message` wait for the stream; returns whether it does.
    pub(super) fn send(&self, message: Message) -> bool {
        let waits = self.outbox.push(message);
        let counter = if waits { &self.sent } else { &self.dropped };
        counter.fetch_add(1, Ordering::Relaxed);
        waits
    }

    /// Counts messages that came from it.
    pub(super) fn count_received(&self, messages: usize) {
        self.received.fetch_add(messages as u64, Ordering::Relaxed);
    }

    /// It may be at `address`, too.
    pub(super) fn hint(&self, address: &str) {
        let is_connected = *self.state() == LinkState::Connected;
        let mut ways = self.ways();
        if ways.iter().any(|way| way.address == address) {
            return;
        }
        if ways.len() == WAYS_MAX
            && let Some(last) = ways.iter().rposition(|way| way.address != self.address)
        {
            ways.remove(last);
        }
        let way = Way { address: address.to_owned(), failed: None };
        if is_connected {
            // Where it was found it is.
            return ways.push_back(way);
        }
        ways.push_front(way);
        drop(ways);
        self.seen();
    }

    /// Where it is dialled next.
    pub(super) fn way(&self) -> String {
        self.ways().front().expect("there is always one").address.clone()
    }

    /// It was not found at `address`: the others have their turn first. Returns whether that is news.
    fn is_not_at(&self, address: &str, error: &LinkError) -> bool {
        let mut ways = self.ways();
        let way = ways.iter_mut().find(|way| way.address == address);
        let is_news = way.is_none_or(|way| way.failed.replace(error.clone()).as_ref() != Some(error));
        // Unless another was told of meanwhile.
        if ways.front().is_some_and(|way| way.address == address) {
            ways.rotate_left(1);
        }
        is_news
    }

    fn ways(&self) -> MutexGuard<'_, VecDeque<Way>> {
        self.ways.lock().expect("nothing panics while it has the ways")
    }

    /// It has dialled this node, so it can be dialled.
    pub(super) fn seen(&self) {
        self.seen.notify_one();
    }

    pub(super) fn close(&self) {
        self.outbox.close();
        self.road.close();
    }

    /// Opens a tunnel to it.
    pub(super) async fn tunnel(&self, shared: &Shared, purpose: Purpose) -> Result<Tunnel, LinkError> {
        self.road.bundle(shared, self.id, &self.way()).await?.open(purpose)
    }

    pub(super) fn status(&self) -> LinkStatus {
        LinkStatus {
            address: self.way(),
            state: self.state().clone(),
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            opened: self.opened.load(Ordering::Relaxed),
            clock_ahead_ms: *self.clock_ahead_ms.lock().expect("nothing panics while it has the clock"),
        }
    }

    /// Its wall clock showed `wall_ms`, and that of this node shows `own_ms`.
    pub(super) fn set_clock(&self, wall_ms: u64, own_ms: u64) {
        let difference = i128::from(wall_ms) - i128::from(own_ms);
        let ahead_ms = i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX });
        *self.clock_ahead_ms.lock().expect("nothing panics while it has the clock") = Some(ahead_ms);
    }

    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().expect("nothing panics while it has the state")
    }

    fn set_state(&self, state: LinkState) {
        *self.state() = state;
    }

    /// Keeps a stream to the peer, for ever.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>) -> Infallible {
        let mut backoff = Backoff::new(shared.node_id ^ self.id.rotate_left(32));
        loop {
            let (opened, address) = (self.opened.load(Ordering::Relaxed), self.way());
            let Err(error) = self.stream(&shared, &address).await;
            self.outbox.close();
            self.set_state(LinkState::Down(error.clone()));
            let broke = opened < self.opened.load(Ordering::Relaxed);
            if broke || self.is_not_at(&address, &error) {
                tracing::warn!(peer = format!("{:016x}", self.id), address, %error, "no stream to a peer");
            }
            if broke {
                backoff.reset();
                shared.joined().handler.unreachable(self.id);
            }
            tokio::select! {
                () = sleep(backoff.next()) => {}
                () = self.seen.notified() => {}
            }
        }
    }

    /// Opens a stream and lives as long as it does.
    async fn stream(&self, shared: &Shared, address: &str) -> Result<Infallible, LinkError> {
        let tls = shared.config.security.tls.as_ref();
        let mut client = dial(address, tls).await.map_err(LinkError::Connect)?;
        let hello = shared.hello(self.id);
        let (requests, opening) = mpsc::channel(2);
        let batches = self.outbox.reserve();
        let batches = batches.map(|batch| packet(proto::packet::Kind::Batch(batch)));
        let opened = timeout(OPENING_MAX, async {
            drop(requests.send(proto::Packet::from_hello(hello.to_wire())).await);
            let call = client.messages(ReceiverStream::new(opening).chain(batches));
            let mut answers = call.await?.into_inner();
            let secret = shared.config.security.secret.as_ref();
            exchange::dialled(&hello, secret, &requests, &mut answers).await?;
            Ok::<_, LinkError>(answers)
        });
        let mut answers = opened.await.map_err(|_| LinkError::Late)??;
        // What goes out now is what waits.
        drop(requests);
        self.outbox.open();
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.set_state(LinkState::Connected);
        self.ways().iter_mut().for_each(|way| way.failed = None);
        tracing::info!(peer = format!("{:016x}", self.id), address, "a stream to a peer");
        let answer = answers.message();
        tokio::pin!(answer);
        let answer = loop {
            self.outbox.tell_time((shared.config.wall_ms)());
            tokio::select! {
                answer = &mut answer => break answer?,
                () = sleep(TIME_TOLD_EVERY) => {}
            }
        };
        match answer {
            None => Err(LinkError::Closed),
            Some(_) => Err(Refusal::Malformed("an acceptor says nothing after its welcome").into()),
        }
    }
}

fn packet(kind: proto::packet::Kind) -> proto::Packet {
    proto::Packet { kind: Some(kind) }
}

impl Shared {
    /// Returns a new hello to `to`.
    pub(super) fn hello(&self, to: NodeId) -> Hello {
        Hello::new(self.joined().cluster_id, self.shard, self.node_id, to)
    }
}
