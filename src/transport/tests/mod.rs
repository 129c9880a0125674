//! Nodes on loopback, and peers that do not keep to the protocol.

mod meeting;
mod misbehaving;
mod outbox;
mod snapshots;
mod streams;
mod tls;
mod tunnels;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{net::TcpListener, runtime::Handle, sync::watch, time::timeout};

use super::{
    Config, Handler, Host, Introduction, LinkState, Offered, Outcome, Secret, Security, SnapshotHeader,
    SnapshotOutcome, Transport,
};
use crate::{
    disk::SimDisk,
    log::{Entry, EntryKind, Position},
    raft::{Body, Message, NodeId},
};

const CLUSTER: u128 = 0xC1;

/// A node that is to belong to this one belongs to none.
const NO_CLUSTER: u128 = 0;

const DEADLINE: Duration = Duration::from_secs(60);

/// What a node was told.
#[derive(Clone, Debug, Default)]
struct Told {
    messages: Vec<Message>,
    unreachable: Vec<NodeId>,
    offered: Vec<SnapshotHeader>,
    snapshots: Vec<SnapshotHeader>,
    disk_failures: Vec<String>,
    guests: Vec<Introduction>,
}

/// What is answered to the offer of a snapshot.
#[derive(Clone, Copy)]
enum Answer {
    Take,
    NotNeeded,
    Refuse,
}

struct Recorder {
    told: watch::Sender<Told>,
    disk: SimDisk,
    answer: Answer,
    introduction: Introduction,
}

impl Recorder {
    fn new(answer: Answer) -> Self {
        let introduction = meeting::introduction(2);
        Self { told: watch::Sender::default(), disk: SimDisk::new(1), answer, introduction }
    }
}

impl Handler for Recorder {
    fn received(&self, messages: Vec<Message>) {
        assert!(!messages.is_empty(), "nothing is no news");
        self.told.send_modify(|told| told.messages.extend(messages));
    }

    fn unreachable(&self, peer: NodeId) {
        self.told.send_modify(|told| told.unreachable.push(peer));
    }

    fn snapshot_offered(&self, header: &SnapshotHeader) -> Offered {
        self.told.send_modify(|told| told.offered.push(header.clone()));
        match self.answer {
            Answer::Take => {
                Offered::Take { disk: Arc::new(self.disk.clone()), dir: "incoming".to_owned(), kept_bytes: 0 }
            }
            Answer::NotNeeded => Offered::NotNeeded,
            Answer::Refuse => Offered::Refused("it does not suit".to_owned()),
        }
    }

    fn snapshot_received(&self, header: SnapshotHeader) -> Outcome {
        self.told.send_modify(|told| told.snapshots.push(header));
        Box::pin(async { SnapshotOutcome::Installed })
    }

    fn disk_failed(&self, error: &std::io::Error) {
        self.told.send_modify(|told| told.disk_failures.push(error.to_string()));
    }
}

impl Host for Recorder {
    fn met(&self, guest: Introduction) -> Introduction {
        self.told.send_modify(|told| told.guests.push(guest));
        self.introduction.clone()
    }
}

/// A node and what it was told.
struct Node {
    id: NodeId,
    transport: Transport,
    told: Arc<Recorder>,
}

impl Node {
    async fn start(id: NodeId) -> Self {
        Self::with(id, CLUSTER, Config::default(), "127.0.0.1:0").await
    }

    async fn with_secret(id: NodeId, secret: &str) -> Self {
        let security = Security { secret: Some(Secret::new(secret.as_bytes())), tls: None };
        Self::with(id, CLUSTER, Config { security, ..Config::default() }, "127.0.0.1:0").await
    }

    async fn with(id: NodeId, cluster_id: u128, config: Config, address: &str) -> Self {
        Self::with_recorder(id, cluster_id, config, address, Recorder::new(Answer::Take)).await
    }

    async fn that_answers(id: NodeId, answer: Answer) -> Self {
        Self::with_recorder(id, CLUSTER, Config::default(), "127.0.0.1:0", Recorder::new(answer)).await
    }

    async fn with_recorder(
        id: NodeId,
        cluster_id: u128,
        config: Config,
        address: &str,
        recorder: Recorder,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let told = Arc::new(recorder);
        let host = Arc::<Recorder>::clone(&told);
        let transport = Transport::start(config, id, 0, vec![listener], host, Handle::current()).unwrap();
        let node = Self { id, transport, told };
        node.join(cluster_id);
        node
    }

    fn join(&self, cluster_id: u128) {
        if cluster_id != NO_CLUSTER {
            self.transport.join(cluster_id, Arc::<Recorder>::clone(&self.told));
        }
    }

    fn address(&self) -> String {
        self.transport.addresses()[0].to_string()
    }

    /// Returns what this node was told as soon as it is as `wanted`.
    async fn told(&self, wanted: impl FnMut(&Told) -> bool) -> Told {
        let mut told = self.told.told.subscribe();
        let met = timeout(DEADLINE, told.wait_for(wanted)).await;
        met.unwrap_or_else(|_| panic!("node {} was told only {:?}", self.id, self.told.told.borrow()))
            .unwrap()
            .clone()
    }

    fn speak_to(&self, others: &[&Node]) {
        let members = others.iter().map(|node| (node.id, node.address())).collect();
        self.transport.connect(&members);
    }

    async fn connected_to(&self, other: NodeId) {
        until(|| self.state_of(other) == LinkState::Connected).await;
    }

    fn state_of(&self, other: NodeId) -> LinkState {
        self.transport.status().links[&other].state.clone()
    }

    /// Waits until the way to `other` is refused, and returns the words.
    async fn refused_by(&self, other: NodeId) -> String {
        let mut words = String::new();
        until(|| {
            if let LinkState::Down(error) = self.state_of(other) {
                words = error.to_string();
            }
            !words.is_empty()
        })
        .await;
        words
    }
}

/// Waits until it is so; other tasks run meanwhile.
async fn until(mut so: impl FnMut() -> bool) {
    let waited = timeout(DEADLINE, async {
        while !so() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("it did not come to be");
}

/// Two nodes, of which the first has a stream to the second.
async fn pair() -> (Node, Node) {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.speak_to(&[&two]);
    one.connected_to(2).await;
    (one, two)
}

fn members(of: &[(NodeId, &str)]) -> BTreeMap<NodeId, String> {
    of.iter().map(|(id, address)| (*id, (*address).to_owned())).collect()
}

fn heartbeat(round: u64) -> Message {
    Message { from: 1, to: 2, term: 3, body: Body::Heartbeat { round, promise_us: 100, commit: 7 } }
}

/// An append of entries with bodies of these sizes, behind `index`.
fn append(index: u64, sizes: &[usize]) -> Message {
    let entry = |(place, size): (usize, &usize)| Entry {
        index: index + 1 + place as u64,
        term: 3,
        kind: EntryKind::Effects,
        body: (0..=250).cycle().take(*size).collect::<Bytes>(),
    };
    let entries = sizes.iter().enumerate().map(entry).collect();
    let body = Body::Append { previous: Position { index, term: 3 }, commit: index, entries };
    Message { from: 1, to: 2, term: 3, body }
}

fn is_append(message: &Message) -> bool {
    matches!(message.body, Body::Append { .. })
}

#[tokio::test]
async fn nodes_tell_each_other_what_time_it_is() {
    const HOUR_MS: u64 = 3_600_000;
    let ahead = Config { wall_ms: || 2 * HOUR_MS, ..Config::default() };
    let one = Node::with(1, CLUSTER, ahead, "127.0.0.1:0").await;
    let two =
        Node::with(2, CLUSTER, Config { wall_ms: || HOUR_MS, ..Config::default() }, "127.0.0.1:0").await;
    one.speak_to(&[&two]);
    two.speak_to(&[&one]);
    let ahead_ms = |node: &Node, other| node.transport.status().links[&other].clock_ahead_ms;
    until(|| ahead_ms(&two, 1) == Some(3_600_000) && ahead_ms(&one, 2) == Some(-3_600_000)).await;
}
