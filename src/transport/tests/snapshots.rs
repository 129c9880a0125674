//! Snapshots between nodes.

use std::{io::ErrorKind, num::NonZeroU64};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    super::{
        LinkError, Snapshot, SnapshotError, SnapshotFile, connection,
        exchange::{self, Request as _},
        opening::Hello,
    },
    *,
};
use crate::{
    disk::{
        Disk as _,
        sim::{Action, Fault},
    },
    proto::{self, snapshot_packet::Kind},
    raft::Configuration,
};

/// A snapshot on a disk of its own: 3 MB in four files.
fn snapshot() -> (SimDisk, Snapshot) {
    let disk = SimDisk::new(2);
    disk.create_dir("checkpoint").unwrap();
    for (place, size) in [1_000_000_usize, 0, 1_500_000, 500_000].into_iter().enumerate() {
        let contents: Vec<u8> = (0..=250).cycle().skip(place).take(size).collect();
        let file = disk.create(&format!("checkpoint/table-{place}")).unwrap();
        file.write_at(&contents, 0).unwrap();
    }
    let snapshot = Snapshot {
        term: 5,
        position: Position { index: 100, term: 4 },
        configuration: Configuration::of_voters([(1, Bytes::from_static(b"one")), (2, Bytes::new())]),
        files: disk
            .list("checkpoint")
            .unwrap()
            .iter()
            .map(|name| SnapshotFile::of(&disk, "checkpoint", name).unwrap())
            .collect(),
        disk: Arc::new(disk.clone()),
        dir: "checkpoint".to_owned(),
        bytes_per_second: None,
    };
    (disk, snapshot)
}

async fn pair_that_answers(answer: Answer) -> (Node, Node) {
    let (one, two) = (Node::start(1).await, Node::that_answers(2, answer).await);
    one.speak_to(&[&two]);
    (one, two)
}

async fn send(from: &Node, snapshot: &Snapshot) -> Result<SnapshotOutcome, SnapshotError> {
    timeout(DEADLINE, from.transport.send_snapshot(2, snapshot.clone())).await.expect("it does not end")
}

#[tokio::test]
async fn a_snapshot_arrives_whole_and_is_installed() {
    let (one, two) = pair_that_answers(Answer::Take).await;
    let (disk, snapshot) = snapshot();
    assert_eq!(send(&one, &snapshot).await.unwrap(), SnapshotOutcome::Installed);
    let told = two.told(|told| !told.snapshots.is_empty()).await;
    let expected = SnapshotHeader {
        from: 1,
        term: 5,
        position: snapshot.position,
        configuration: snapshot.configuration,
        files: snapshot.files,
    };
    assert_eq!(expected.bytes(), 3_000_000);
    assert_eq!(told.snapshots, std::slice::from_ref(&expected));
    assert_eq!(told.offered, told.snapshots);
    for SnapshotFile { name, .. } in &expected.files {
        let (here, there) = (format!("checkpoint/{name}"), format!("incoming/{name}"));
        assert!(two.told.disk.is_durable(&there));
        assert!(disk.contents(&here).unwrap() == two.told.disk.contents(&there).unwrap(), "{name}");
    }
}

#[tokio::test]
async fn a_snapshot_that_is_not_wanted_is_not_sent() {
    let (_, snapshot) = snapshot();
    let (one, _two) = pair_that_answers(Answer::NotNeeded).await;
    assert_eq!(send(&one, &snapshot).await.unwrap(), SnapshotOutcome::NotNeeded);
    let (one, _two) = pair_that_answers(Answer::Refuse).await;
    let refused = SnapshotOutcome::Refused("it does not suit".to_owned());
    assert_eq!(send(&one, &snapshot).await.unwrap(), refused);
    assert!(matches!(one.transport.send_snapshot(9, snapshot).await, Err(SnapshotError::NotMember)));
}

#[tokio::test]
async fn a_transfer_that_broke_goes_on_where_it_was() {
    let (one, two) = pair_that_answers(Answer::Take).await;
    let (disk, snapshot) = snapshot();
    let path_part = "table-2".to_owned();
    disk.fail(Fault { action: Action::Read, path_part, nth: 4, error: ErrorKind::Other });
    assert!(matches!(send(&one, &snapshot).await, Err(SnapshotError::Disk(_))));
    // What it has already, it is not sent again: it could not be.
    disk.remove("checkpoint/table-0").unwrap();
    until(|| two.told.disk.contents("incoming/table-2").is_ok_and(|contents| !contents.is_empty())).await;
    let mut outcome = send(&one, &snapshot).await.unwrap();
    while outcome == SnapshotOutcome::Refused("another snapshot is being received".to_owned()) {
        outcome = send(&one, &snapshot).await.unwrap();
    }
    assert_eq!(outcome, SnapshotOutcome::Installed);
    assert_eq!(two.told.disk.contents("incoming/table-0").unwrap().len(), 1_000_000);
    assert_eq!(two.told.disk.contents("incoming/table-2").unwrap().len(), 1_500_000);
}

#[tokio::test]
async fn a_file_with_another_hash_is_refused() {
    let (one, two) = pair_that_answers(Answer::Take).await;
    let (disk, snapshot) = snapshot();
    disk.flip("checkpoint/table-2", 1_400_000, 3).unwrap();
    let refused = SnapshotOutcome::Refused("table-2 came damaged".to_owned());
    assert_eq!(send(&one, &snapshot).await.unwrap(), refused);
    assert!(two.told.told.borrow().snapshots.is_empty());
    disk.flip("checkpoint/table-2", 1_400_000, 3).unwrap();
    assert_eq!(send(&one, &snapshot).await.unwrap(), SnapshotOutcome::Installed);
}

#[tokio::test]
async fn a_node_receives_one_snapshot_at_a_time() {
    let (one, two) = pair_that_answers(Answer::Take).await;
    let (_, mut slow) = snapshot();
    slow.bytes_per_second = NonZeroU64::new(1);
    let first = tokio::spawn(one.transport.send_snapshot(2, slow.clone()));
    two.told(|told| told.offered.len() == 1).await;
    let refused = SnapshotOutcome::Refused("another snapshot is being received".to_owned());
    assert_eq!(send(&one, &slow).await.unwrap(), refused);
    // A sender that gives up makes room for the next.
    first.abort();
    slow.bytes_per_second = None;
    let mut outcome = refused.clone();
    while outcome == refused {
        outcome = send(&one, &slow).await.unwrap();
    }
    assert_eq!(outcome, SnapshotOutcome::Installed);
}

#[tokio::test]
async fn a_disk_that_fails_is_told_to_its_node() {
    let (one, two) = pair_that_answers(Answer::Take).await;
    let (_, snapshot) = snapshot();
    let error = ErrorKind::Other;
    two.told.disk.fail(Fault { action: Action::Sync, path_part: String::new(), nth: 1, error });
    let outcome = send(&one, &snapshot).await.unwrap();
    assert!(matches!(outcome, SnapshotOutcome::Refused(why) if why.starts_with("the disk failed")));
    assert_eq!(two.told.told.borrow().disk_failures.len(), 1);
}

#[tokio::test]
async fn a_snapshot_for_another_cluster_is_refused() {
    let one = Node::start(1).await;
    let two = Node::with(2, CLUSTER + 1, Config::default(), "127.0.0.1:0").await;
    one.speak_to(&[&two]);
    let (_, snapshot) = snapshot();
    let words = send(&one, &snapshot).await.unwrap_err().to_string();
    assert!(words.contains("belongs to cluster"), "{words}");
    assert!(two.told.told.borrow().offered.is_empty());
}

/// Says hello to node 2 as node 1, then `kind`; returns the words that end the call.
async fn said(kind: Kind) -> String {
    let node = Node::start(2).await;
    let (packets, sent) = mpsc::channel(4);
    let hello = Hello::new(CLUSTER, 0, 1, 2);
    packets.send(proto::SnapshotPacket::from_hello(hello.to_wire())).await.unwrap();
    let mut client = connection::dial(&node.address(), None).await.unwrap();
    let mut answers = client.snapshot(ReceiverStream::new(sent)).await.unwrap().into_inner();
    exchange::dialled(&hello, None, &packets, &mut answers).await.unwrap();
    packets.send(proto::SnapshotPacket { kind: Some(kind) }).await.unwrap();
    let ended = timeout(DEADLINE, answers.message()).await.unwrap().unwrap_err();
    assert!(node.told.told.borrow().offered.is_empty());
    LinkError::from(ended).to_string()
}

#[tokio::test]
async fn a_snapshot_that_is_none_is_refused() {
    let hash = Bytes::from_static(&[1; 16]);
    let file = |name: &str| proto::SnapshotFile { name: name.to_owned(), size: 1, hash: hash.clone() };
    let with = |names: &[&str]| {
        let files = names.iter().map(|name| file(name)).collect();
        let configuration = Configuration::single(1).encode();
        Kind::Header(proto::SnapshotHeader { files, configuration, ..proto::SnapshotHeader::default() })
    };
    assert!(said(with(&["../meta"])).await.contains("names that no file may have"));
    assert!(said(with(&["a", "a"])).await.contains("names that no file may have"));
    let strange = proto::SnapshotHeader { configuration: Bytes::from_static(b"?"), ..Default::default() };
    assert!(said(Kind::Header(strange)).await.contains("membership of a snapshot cannot be read"));
    let short = proto::SnapshotFile { hash: Bytes::from_static(b"?"), ..file("a") };
    let configuration = Configuration::single(1).encode();
    let hashed = proto::SnapshotHeader { files: vec![short], configuration, ..Default::default() };
    assert!(said(Kind::Header(hashed)).await.contains("the hash of a file has 16 bytes"));
    let later = proto::SnapshotHeader {
        configuration: Configuration::single(1).encode(),
        index_term: 1,
        ..Default::default()
    };
    assert!(said(Kind::Header(later)).await.contains("a later term than its leader"));
    let chunk = proto::SnapshotChunk { data: Bytes::from_static(b"x") };
    assert!(said(Kind::Chunk(chunk)).await.contains("a snapshot begins with its header"));
}
