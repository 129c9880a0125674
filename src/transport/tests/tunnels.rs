//! Tunnels between nodes.

use std::io::ErrorKind;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    super::{
        Front, Incoming, LinkError, Purpose, Tunnel, connection,
        exchange::{self, Request as _},
        opening::Hello,
    },
    *,
};
use crate::proto::{self, frame};

/// Hands the tunnels of other nodes to a test.
struct Door(UnboundedSender<Incoming>);

impl Front for Door {
    fn serve(&self, incoming: Incoming) {
        // A test that has ended wants none.
        drop(self.0.send(incoming));
    }
}

fn serve(node: &Node) -> UnboundedReceiver<Incoming> {
    let (sender, incoming) = mpsc::unbounded_channel();
    node.transport.serve(Arc::new(Door(sender)));
    incoming
}

fn session() -> Purpose {
    let address = |text: &str| text.parse().unwrap();
    Purpose::Session { remote: address("10.1.2.3:4567"), local: address("[::1]:6380") }
}

async fn open(from: &Node, to: NodeId) -> Result<Tunnel, LinkError> {
    timeout(DEADLINE, from.transport.tunnel(to, session())).await.expect("it does not end")
}

async fn next(incoming: &mut UnboundedReceiver<Incoming>) -> Incoming {
    timeout(DEADLINE, incoming.recv()).await.expect("no tunnel comes").unwrap()
}

/// A tunnel from the first node to the second.
async fn tunnel(one: &Node, incoming: &mut UnboundedReceiver<Incoming>) -> (Tunnel, Tunnel) {
    let near = open(one, 2).await.unwrap();
    let far = next(incoming).await.accept();
    near.accepted().await.unwrap();
    (near, far)
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..=250).cycle().take(bytes).collect()
}

#[tokio::test]
async fn a_session_goes_both_ways_and_ends() {
    let (one, two) = pair().await;
    let mut incoming = serve(&two);
    let mut near = open(&one, 2).await.unwrap();
    let arrived = next(&mut incoming).await;
    assert_eq!((arrived.from(), arrived.purpose()), (1, session()));
    let mut far = arrived.accept();
    near.accepted().await.unwrap();
    near.write_all(b"a request").await.unwrap();
    near.shutdown().await.unwrap();
    let mut text = String::new();
    timeout(DEADLINE, far.read_to_string(&mut text)).await.unwrap().unwrap();
    assert_eq!(text, "a request");
    far.write_all(b"an answer").await.unwrap();
    far.shutdown().await.unwrap();
    drop(far);
    let mut text = String::new();
    timeout(DEADLINE, near.read_to_string(&mut text)).await.unwrap().unwrap();
    assert_eq!(text, "an answer");
    drop(near);
    let of = |node: &Node| node.transport.status().tunnels;
    until(|| of(&one).open == 0 && of(&two).open == 0).await;
    assert_eq!((of(&one).opened, of(&two).served), (1, 1));
    assert_eq!((of(&one).bytes_sent, of(&one).bytes_received), (9, 9));
    assert_eq!((of(&two).bytes_sent, of(&two).bytes_received), (9, 9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_share_a_stream() {
    let (one, two) = pair().await;
    let mut incoming = serve(&two);
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let (near, mut far) = tunnel(&one, &mut incoming).await;
        tasks.spawn(async move {
            let mut buffer = vec![0; 10_000];
            loop {
                let read = far.read(&mut buffer).await.unwrap();
                if read == 0 {
                    return far.shutdown().await.unwrap();
                }
                far.write_all(&buffer[..read]).await.unwrap();
            }
        });
        let said = pattern(1000 * number);
        let (mut reader, mut writer) = tokio::io::split(near);
        let told = said.clone();
        tasks.spawn(async move {
            writer.write_all(&told).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        tasks.spawn(async move {
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).await.unwrap();
            assert!(heard == said, "tunnel {number}: {} bytes", heard.len());
        });
    }
    let all = timeout(DEADLINE, async { while tasks.join_next().await.transpose().unwrap().is_some() {} });
    all.await.expect("the tunnels stand still");
    let bytes = (0..100).map(|number| 1000 * number).sum::<u64>();
    let status = one.transport.status().tunnels;
    assert_eq!((status.opened, status.bytes_sent, status.bytes_received), (100, bytes, bytes));
}

#[tokio::test]
async fn a_tunnel_that_is_not_read_holds_up_no_other_and_keeps_little() {
    let (one, two) = pair().await;
    let mut incoming = serve(&two);
    let (_unread, mut stuck) = tunnel(&one, &mut incoming).await;
    let endless = tokio::spawn(async move {
        let bytes = pattern(1 << 20);
        while stuck.write_all(&bytes).await.is_ok() {}
    });
    let (mut near, mut far) = tunnel(&one, &mut incoming).await;
    for _ in 0..100 {
        far.write_all(&pattern(100_000)).await.unwrap();
        let mut heard = vec![0; 100_000];
        timeout(DEADLINE, near.read_exact(&mut heard)).await.expect("it is held up").unwrap();
    }
    let sent = two.transport.status().tunnels.bytes_sent;
    assert!(sent <= 10_000_000 + (256 << 10), "{sent} bytes, of which 10 000 000 were read");
    assert!(!endless.is_finished());
    endless.abort();
}

#[tokio::test]
async fn a_tunnel_to_who_serves_none_is_refused() {
    let (one, two) = pair().await;
    let refused = open(&one, 2).await.unwrap();
    let error = timeout(DEADLINE, refused.accepted()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::ConnectionRefused, "the node is starting"));
    let mut incoming = serve(&two);
    let refused = open(&one, 2).await.unwrap();
    next(&mut incoming).await.refuse("it does not lead");
    let error = timeout(DEADLINE, refused.accepted()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::ConnectionRefused, "it does not lead"));
    // The stream has not suffered.
    tunnel(&one, &mut incoming).await;
}

#[tokio::test]
async fn no_tunnel_leads_to_who_is_no_member() {
    let (one, two) = pair().await;
    let mut incoming = serve(&two);
    assert_eq!(open(&one, 3).await.unwrap_err(), LinkError::NotMember);
    let (mut near, _far) = tunnel(&one, &mut incoming).await;
    one.transport.connect(&members(&[(1, &one.address())]));
    let error = timeout(DEADLINE, near.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert_eq!(open(&one, 2).await.unwrap_err(), LinkError::NotMember);
}

#[tokio::test]
async fn who_has_not_the_secret_opens_no_tunnel() {
    let right = Node::with_secret(2, "right").await;
    let mut incoming = serve(&right);
    for stranger in [Node::with_secret(1, "wrong").await, Node::start(1).await] {
        stranger.speak_to(&[&right]);
        stranger.refused_by(2).await;
        let refused = right.transport.status().refused;
        let words = open(&stranger, 2).await.unwrap_err().to_string();
        assert!(words.contains("it has not the same secret"), "{words}");
        let status = right.transport.status();
        assert!(status.refused > refused && status.refusals[&1].to_string().contains("secret"));
        assert_eq!(status.tunnels.served, 0);
    }
    // With it all is well.
    let one = Node::with_secret(1, "right").await;
    one.speak_to(&[&right]);
    tunnel(&one, &mut incoming).await;
}

#[tokio::test]
async fn tunnels_break_with_their_node_and_the_next_finds_it_again() {
    let (one, two) = pair().await;
    let mut incoming = serve(&two);
    let (mut near, mut far) = tunnel(&one, &mut incoming).await;
    let address = two.address();
    far.write_all(b"half an ans").await.unwrap();
    timeout(DEADLINE, near.read_exact(&mut [0; 4])).await.unwrap().unwrap();
    two.transport.stop().await;
    let mut rest = Vec::new();
    let error = timeout(DEADLINE, near.read_to_end(&mut rest)).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), &*rest), (ErrorKind::ConnectionAborted, &b" an ans"[..]));
    assert!(far.write_all(b"wer").await.is_err());
    drop(two);
    assert!(matches!(open(&one, 2).await, Err(LinkError::Connect(_))));
    let two = Node::with(2, CLUSTER, Config::default(), &address).await;
    let mut incoming = serve(&two);
    tunnel(&one, &mut incoming).await;
}

/// A stream of tunnels of node 1 to node 2, of which a test says all.
async fn raw(node: &Node, first: &[proto::TunnelPacket]) -> tonic::Streaming<proto::TunnelReply> {
    let (packets, sent) = mpsc::channel(16);
    let hello = Hello::new(CLUSTER, 0, 1, 2);
    packets.send(proto::TunnelPacket::from_hello(hello.to_wire())).await.unwrap();
    let mut client = connection::dial(&node.address(), None).await.unwrap();
    let mut answers = client.tunnels(ReceiverStream::new(sent)).await.unwrap().into_inner();
    exchange::dialled(&hello, None, &packets, &mut answers).await.unwrap();
    for packet in first {
        packets.send(packet.clone()).await.unwrap();
    }
    answers
}

#[tokio::test]
async fn who_says_what_does_not_fit_is_cut_off() {
    let two = Node::start(2).await;
    let incoming = serve(&two);
    let frame = |kind| proto::Frame { tunnel: 1, kind: Some(kind) };
    let request = frame(frame::Kind::Request(proto::TunnelRequest {}));
    let too_much = frame(frame::Kind::Data(Bytes::from(vec![0; 300 << 10])));
    let frames = proto::Frames { frames: vec![request, too_much] };
    let frames = proto::TunnelPacket { kind: Some(proto::tunnel_packet::Kind::Frames(frames)) };
    for (said, words) in [
        (frames, "it sent more in a tunnel than there is room for"),
        (
            proto::TunnelPacket { kind: None },
            "it does not open a stream as it should: only frames follow the opening",
        ),
    ] {
        let mut answers = raw(&two, &[said]).await;
        let ended = timeout(DEADLINE, async {
            while answers.message().await?.is_some() {}
            Ok(())
        });
        let ended: Result<(), tonic::Status> = ended.await.expect("it does not end");
        assert_eq!(ended.unwrap_err().message(), format!("refused by the peer: {words}"));
        assert_eq!(two.transport.status().refusals[&1].to_string(), words);
    }
    drop(incoming);
    until(|| two.transport.status().tunnels.open == 0).await;
}
