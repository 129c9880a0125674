//! Nodes that ask who is there.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    super::{
        Belonging, LinkError, connection,
        exchange::{self, Request as _},
        meet,
        opening::Hello,
    },
    *,
};
use crate::{proto, raft::Configuration};

/// What node `id` says of itself, which belongs to no cluster.
pub(super) fn introduction(id: NodeId) -> Introduction {
    Introduction {
        node_id: id,
        address: format!("kv-{id}:5001"),
        peers: (1..=3).map(|id| format!("kv-{id}:5001")).collect(),
        record: Bytes::from(format!("the record of {id}")),
        belonging: None,
    }
}

async fn node(cluster: u128, secret: Option<&str>, introduction: Introduction) -> Node {
    let recorder = Recorder { introduction, ..Recorder::new(Answer::Take) };
    let config = Config { security: security(secret), ..Config::default() };
    Node::with_recorder(2, cluster, config, "127.0.0.1:0", recorder).await
}

fn security(secret: Option<&str>) -> Security {
    Security { secret: secret.map(|secret| Secret::new(secret.as_bytes())), tls: None }
}

async fn ask(node: &Node, secret: Option<&str>, guest: &Introduction) -> Result<Introduction, LinkError> {
    timeout(DEADLINE, meet(&node.address(), &security(secret), guest)).await.expect("it does not end")
}

#[tokio::test]
async fn nodes_without_a_cluster_learn_who_the_others_are() {
    let two = node(NO_CLUSTER, Some("a secret"), introduction(2)).await;
    assert_eq!(ask(&two, Some("a secret"), &introduction(1)).await.unwrap(), introduction(2));
    assert_eq!(two.told.told.borrow().guests, [introduction(1)]);
}

#[tokio::test]
async fn a_member_tells_of_its_cluster() {
    let first = Configuration::of_voters([(2, Bytes::from_static(b"two")), (3, Bytes::new())]);
    let belonging = Some(Belonging { cluster_id: CLUSTER, present: first.clone(), first });
    let member = Introduction { belonging, ..introduction(2) };
    let two = node(CLUSTER, None, member.clone()).await;
    assert_eq!(ask(&two, None, &introduction(1)).await.unwrap(), member);
    // And it hears of another's.
    assert_eq!(ask(&two, None, &Introduction { node_id: 1, ..member.clone() }).await.unwrap(), member);
    assert_eq!(two.told.told.borrow().guests[1].belonging, member.belonging);
}

#[tokio::test]
async fn a_node_may_meet_itself() {
    let two = node(NO_CLUSTER, None, introduction(2)).await;
    assert_eq!(ask(&two, None, &introduction(2)).await.unwrap().node_id, 2);
}

#[tokio::test]
async fn who_has_not_the_secret_learns_nothing_and_is_not_heard() {
    let two = node(NO_CLUSTER, Some("right"), introduction(2)).await;
    for secret in [Some("wrong"), None] {
        let words = ask(&two, secret, &introduction(1)).await.unwrap_err().to_string();
        assert!(words.contains("it has not the same secret"), "{words}");
    }
    let status = two.transport.status();
    assert_eq!((status.refused, status.refusals[&1].to_string()), (2, words_of_refusal()));
    // Nor is a host believed that has none.
    let open = node(NO_CLUSTER, None, introduction(2)).await;
    let words = ask(&open, Some("right"), &introduction(1)).await.unwrap_err().to_string();
    assert!(words.contains("it has not the same secret"), "{words}");
    assert!(two.told.told.borrow().guests.is_empty() && open.told.told.borrow().guests.is_empty());
}

fn words_of_refusal() -> String {
    "it has not the same secret (peer-secret)".to_owned()
}

#[tokio::test]
async fn a_node_without_a_cluster_takes_no_messages_until_it_joins_one() {
    let (one, two) = (Node::start(1).await, node(NO_CLUSTER, None, introduction(2)).await);
    one.speak_to(&[&two]);
    let words = one.refused_by(2).await;
    assert_eq!(words, "refused by the peer: this node does not take part in a cluster yet");
    until(|| two.transport.status().refusals.contains_key(&1)).await;
    two.join(CLUSTER);
    one.connected_to(2).await;
    assert!(one.transport.send(heartbeat(1)));
    two.told(|told| told.messages == [heartbeat(1)]).await;
    assert!(two.transport.status().refusals.is_empty());
}

#[tokio::test]
async fn who_introduces_nobody_or_someone_strange_is_refused() {
    let two = node(NO_CLUSTER, None, introduction(2)).await;
    let strange = Introduction { address: "kv-1:5001\nall is well".to_owned(), ..introduction(1) };
    let words = ask(&two, None, &strange).await.unwrap_err().to_string();
    assert!(words.contains("it names an address that cannot be one"), "{words}");
    let words = ask(&two, None, &introduction(0)).await.unwrap_err().to_string();
    assert!(words.contains("it says that it is node 0000000000000000"), "{words}");
    assert!(two.told.told.borrow().guests.is_empty());
}

#[tokio::test]
async fn nobody_is_met_where_nobody_is() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let met = meet(&free, &Security::default(), &introduction(1)).await;
    assert!(matches!(met, Err(LinkError::Connect(_))), "{met:?}");
}

#[tokio::test]
async fn who_introduces_another_is_refused() {
    let two = node(NO_CLUSTER, None, introduction(2)).await;
    let (packets, sent) = mpsc::channel(2);
    let hello = Hello::to_anybody(1);
    packets.send(proto::MeetPacket::from_hello(hello.to_wire())).await.unwrap();
    let mut client = connection::dial(&two.address(), None).await.unwrap();
    let mut answers = client.meet(ReceiverStream::new(sent)).await.unwrap().into_inner();
    exchange::dialled(&hello, None, &packets, &mut answers).await.unwrap();
    let other = proto::Introduction { node: 3, ..proto::Introduction::default() };
    let kind = Some(proto::meet_packet::Kind::Introduction(other));
    packets.send(proto::MeetPacket { kind }).await.unwrap();
    let ended = timeout(DEADLINE, answers.message()).await.expect("it does not end").unwrap_err();
    assert!(ended.message().contains("it introduces another node"), "{ended}");
    assert!(two.told.told.borrow().guests.is_empty());
}
