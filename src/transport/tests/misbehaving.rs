//! Peers that send what no node sends.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    super::{
        connection, convert,
        exchange::{self, Request as _},
        opening::Hello,
    },
    *,
};
use crate::proto;

/// A stream of node 1 to node 2, of which a test says all.
struct Stream {
    packets: mpsc::Sender<proto::Packet>,
    answers: Streaming<proto::Reply>,
}

impl Stream {
    async fn to(node: &Node, first: proto::Packet) -> Result<Self, Status> {
        let (packets, sent) = mpsc::channel(16);
        packets.send(first).await.unwrap();
        let client = connection::dial(&node.address(), None).await.unwrap();
        let mut client = client.max_encoding_message_size(usize::MAX);
        let answers = client.messages(ReceiverStream::new(sent)).await?.into_inner();
        Ok(Self { packets, answers })
    }

    /// A stream that was opened as it should be.
    async fn opened(node: &Node) -> Self {
        let hello = Hello::new(CLUSTER, 0, 1, 2);
        let mut stream = Self::to(node, proto::Packet::from_hello(hello.to_wire())).await.unwrap();
        exchange::dialled(&hello, None, &stream.packets, &mut stream.answers).await.unwrap();
        stream
    }

    async fn say(&self, batch: proto::Batch) {
        let packet = proto::Packet { kind: Some(proto::packet::Kind::Batch(batch)) };
        self.packets.send(packet).await.unwrap();
    }

    /// Returns the words with which the node ends the stream.
    async fn end(mut self) -> String {
        timeout(DEADLINE, self.answers.message()).await.unwrap().unwrap_err().message().to_owned()
    }
}

async fn said(batch: proto::Batch) -> (String, Node) {
    let node = Node::start(2).await;
    let stream = Stream::opened(&node).await;
    stream.say(batch).await;
    (stream.end().await, node)
}

fn of_message(message: proto::Message) -> proto::Batch {
    proto::Batch { messages: vec![message], part: None, wall_ms: 0 }
}

#[tokio::test]
async fn a_message_of_an_unknown_kind_ends_the_stream() {
    let (words, node) =
        said(of_message(proto::Message { body: None, ..convert::to_wire(&heartbeat(1)) })).await;
    assert_eq!(words, "refused by the peer: it sent a message of an unknown kind");
    assert_eq!(node.transport.status().refusals[&1].to_string(), "it sent a message of an unknown kind");
    assert!(node.told.told.borrow().messages.is_empty());
}

#[tokio::test]
async fn an_entry_of_an_unknown_kind_ends_the_stream() {
    let entry = proto::Entry { index: 1, term: 1, kind: 99, ..proto::Entry::default() };
    let body = proto::Append { entries: vec![entry], ..proto::Append::default() };
    let body = Some(proto::message::Body::Append(body));
    let (words, _) = said(of_message(proto::Message { body, ..convert::to_wire(&heartbeat(1)) })).await;
    assert_eq!(words, "refused by the peer: it sent an entry of the unknown kind 99");
}

#[tokio::test]
async fn a_message_of_or_for_someone_else_ends_the_stream() {
    let other = |from, to| of_message(convert::to_wire(&Message { from, to, ..heartbeat(1) }));
    let (words, _) = said(other(3, 2)).await;
    assert!(words.ends_with("a message from node 0000000000000003 on another node's stream"), "{words}");
    let (words, _) = said(other(1, 3)).await;
    assert!(words.ends_with("a message for node 0000000000000003 on this node's stream"), "{words}");
}

#[tokio::test]
async fn an_entry_that_is_declared_too_large_is_refused_before_it_comes() {
    let entry = proto::Entry { index: 1, term: 3, kind: 1, missing: u64::MAX, ..proto::Entry::default() };
    let head = Some(convert::to_wire(&append(0, &[])));
    let part = proto::Part { head, entries: vec![entry], ..proto::Part::default() };
    let (words, _) = said(proto::Batch { messages: Vec::new(), part: Some(part), wall_ms: 0 }).await;
    assert!(words.contains("an entry of 18446744073709551615 bytes, more than entry-bytes-max"), "{words}");
}

#[tokio::test]
async fn a_grpc_message_over_the_limit_ends_the_stream() {
    let (_, node) = said(of_message(convert::to_wire(&append(0, &[5 << 20])))).await;
    until(|| node.transport.status().refusals.contains_key(&1)).await;
    let words = node.transport.status().refusals[&1].to_string();
    assert!(words.contains("found 5242") && words.contains("limit is: 1048576 bytes"), "{words}");
    assert!(node.told.told.borrow().messages.is_empty());
}

#[tokio::test]
async fn who_does_not_say_hello_is_refused() {
    let node = Node::start(2).await;
    let batch = proto::packet::Kind::Batch(of_message(convert::to_wire(&heartbeat(1))));
    let stream = Stream::to(&node, proto::Packet { kind: Some(batch) }).await.unwrap();
    assert!(stream.end().await.contains("a stream begins with a hello"));
    assert!(node.told.told.borrow().messages.is_empty());
    assert!(node.transport.status().refusals.contains_key(&0));
}

#[tokio::test]
async fn garbage_ends_its_connection_and_no_other() {
    let (one, two) = pair().await;
    for garbage in [&b"*1\r\n$4\r\nPING\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", &[0xFF; 5000]] {
        let mut stream = TcpStream::connect(two.address()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        // It may be reset, or closed after an error of HTTP/2; it ends.
        drop(timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the connection stays open"));
    }
    assert!(one.transport.send(heartbeat(1)));
    two.told(|told| told.messages == [heartbeat(1)]).await;
    assert!(one.told.told.borrow().unreachable.is_empty());
}

/// More connections than a node takes, which say this and then nothing.
async fn fill_with(node: &Node, words: &[u8]) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(node.address()).await.unwrap();
        // It may be closed already.
        drop(stream.write_all(words).await);
        silent.push(stream);
    }
    silent
}

#[tokio::test]
async fn silent_connections_keep_no_member_out() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    let _silent = fill_with(&two, b"").await;
    // As far as a preface and settings, which are then not followed by a call.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let _silent = fill_with(&two, preface).await;
    one.speak_to(&[&two]);
    one.connected_to(2).await;
    // Nor do they take the place of one that is in.
    let _silent = fill_with(&two, b"").await;
    assert!(one.transport.send(heartbeat(1)));
    two.told(|told| told.messages == [heartbeat(1)]).await;
    assert_eq!(one.transport.status().links[&2].opened, 1);
}

#[tokio::test]
async fn silent_connections_do_not_keep_a_node_from_stopping() {
    let (_one, two) = pair().await;
    let _silent = fill_with(&two, b"").await;
    let _silent = TcpStream::connect(two.address()).await.unwrap();
    timeout(DEADLINE, two.transport.stop()).await.expect("it waits for a peer that says nothing");
}
