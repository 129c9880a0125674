//! A shard as production runs it, on a disk whose tables find no room: what a client asks to be written out is refused,
//! and not waited for.

use std::{collections::VecDeque, sync::Arc};

use sisyphusdb::{
    disk::{Disk, SimDisk},
    driver::{CheckpointError, MachineClock, Setup, Shard, recover},
    executor::{Input, Limits, Message, Recipient, Reserve, Tuning},
    keyspace, log, lsm,
    metrics::Stats,
};

use super::client::{Mailbox, call};

/// What the tables leave to the log.
const LOG_ROOM_BYTES: u64 = 1 << 20;

fn leader(disk: &SimDisk) -> Arc<Shard> {
    let cache = Arc::new(lsm::Cache::new(1 << 20));
    let setup = Setup {
        node_id: 1,
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
        configuration: sisyphusdb::raft::Configuration::single(1),
        timing: sisyphusdb::raft::Timing::default(),
        bounds: sisyphusdb::raft::Bounds::default(),
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let core = recover(&disk, setup, &MachineClock).unwrap();
    let names = sisyphusdb::command::all().iter().map(|command| command.full_name()).collect();
    let shard =
        Shard::start(core, tokio::runtime::Handle::current(), 1, Arc::new(Stats::new(names))).unwrap();
    shard.campaign();
    shard
}

async fn set_a_key(shard: &Arc<Shard>) {
    let mailbox = Mailbox::new(1);
    let recipient: Arc<dyn Recipient> = Arc::<Mailbox>::clone(&mailbox);
    let items = VecDeque::from([call(&["SET", "key", "value"])]);
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
