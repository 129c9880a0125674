//! A shard as production runs it, on a disk whose tables find no room: what a client asks to be written out is refused,
//! and not waited for.

use std::{collections::VecDeque, sync::Arc};

use sisyphusdb::{
    disk::{Disk, SimDisk},
    driver::{CheckpointError, Core, MachineClock, Setup, Shard, recover},
    executor::{Input, Limits, Message, Recipient, Reserve, Tuning},
    keyspace, log, lsm,
    metrics::Stats,
};

use super::client::{Mailbox, call};

/// What the tables leave to the log.
const LOG_ROOM_BYTES: u64 = 1 << 20;

/// A new node with this id, alone.
pub(super) fn setup(id: u64) -> Setup {
    let cache = Arc::new(lsm::Cache::new(1 << 20));
    Setup {
        node_id: id,
        ran_before: false,
        seed: 1,
        tree: lsm::Options {
            log_room_bytes: LOG_ROOM_BYTES,
            ..lsm::Options::new(keyspace::FAMILIES, cache, 1 << 20)
        },
        log: log::Options { segment_bytes: 64 << 10, spares: 2 },
        limits: Limits {
            in_flight_bytes_max: 1 << 20,
            entry_bytes_max: 1 << 20,
            backlog_bytes_max: 1 << 20,
            reserve: Reserve::default(),
        },
        tuning: Tuning { limits: keyspace::Limits::default(), slow_ns: u64::MAX, reply_bytes_max: 1 << 20 },
        configuration: sisyphusdb::raft::Configuration::single(id),
        timing: sisyphusdb::raft::Timing::default(),
        bounds: sisyphusdb::raft::Bounds::default(),
    }
}

/// The node `id` as it starts for the first time.
pub(super) fn recover_as(disk: &SimDisk, id: u64) -> Core {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    recover(&disk, setup(id), &MachineClock).unwrap()
}

fn leader(disk: &SimDisk) -> Arc<Shard> {
    let core = recover_as(disk, 1);
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let names = sisyphusdb::command::all().iter().map(|command| command.full_name()).collect();
    let shard =
        Shard::start(core, disk, None, tokio::runtime::Handle::current(), 1, Arc::new(Stats::new(names)))
            .unwrap();
    shard.campaign();
    shard
}

async fn set_a_key(shard: &Arc<Shard>) {
    run(shard, &["SET", "key", "value"]).await;
}

async fn run(shard: &Arc<Shard>, words: &[&str]) {
    let mailbox = Mailbox::new(1);
    let recipient: Arc<dyn Recipient> = Arc::<Mailbox>::clone(&mailbox);
    let items = VecDeque::from([call(words)]);
    shard.submit(Input::Message(Message::new(recipient, items)));
    let reply = loop {
        match mailbox.take() {
            Some(reply) => break reply,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(reply.unwrap(), b"+OK\r\n");
}

#[tokio::test]
async fn what_finds_no_room_to_be_written_out_is_refused_and_not_waited_for() {
    let disk = SimDisk::new(1);
    let shard = leader(&disk);
    while shard.read_permit().is_none() {
        tokio::task::yield_now().await;
    }
    set_a_key(&shard).await;
    disk.set_capacity(Some(1 << 40));
    let used = (1 << 40) - disk.free_bytes().unwrap();
    disk.set_capacity(Some(used + LOG_ROOM_BYTES / 2));
    for name in ["1", "2"] {
        let refused = shard.checkpoint(name).await;
        assert!(matches!(refused, Err(CheckpointError::NoRoom(_))), "{refused:?}");
        shard.reload().await.unwrap_err();
    }
    disk.set_capacity(None);
    shard.checkpoint("3").await.unwrap();
    shard.reload().await.unwrap();
    shard.stop();
}

#[tokio::test]
async fn who_waits_for_a_key_that_becomes_due_keeps_no_view() {
    let shard = leader(&SimDisk::new(1));
    while shard.read_permit().is_none() {
        tokio::task::yield_now().await;
    }
    let mut views = Vec::new();
    for words in [&["SET", "due", "later", "PX", "1000000"][..], &["SET", "a", "1"], &["SET", "b", "2"]] {
        views.push(Arc::downgrade(&shard.core().store().published()));
        run(&shard, words).await;
    }
    let gone = async {
        while views.iter().any(|view| view.upgrade().is_some()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone)
        .await
        .expect("a view that is not read is let go of");
    shard.stop();
}
