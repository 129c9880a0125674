//! A data directory that begins as a copy of another node's.

use std::sync::atomic::Ordering;

use sisyphusdb::{
    disk::{Disk, SimDisk},
    driver::{Core, Scratch, is_copy},
    executor::Input,
    raft::{self, Role},
};
use tokio::sync::oneshot;

use super::{full_disk::recover_as, world::SimClock};

/// Whether a node that starts for the first time on `disk` can lead itself.
fn leads(core: &Core) -> bool {
    let clock = SimClock::default();
    core.step_raft(clock.us.load(Ordering::Relaxed), raft::Input::Campaign, &mut Vec::new());
    let log = core.log.take_idle().unwrap();
    if let Some(log) = core.log_turn(log, &clock, &mut Scratch::default()).unwrap() {
        core.log.put_back(log);
    }
    core.with_raft(|raft| raft.role() == Role::Leader)
}

#[test]
fn a_copy_is_a_cluster_of_whoever_starts_with_it_even_after_a_crash_before_it_had_a_name() {
    let original = SimDisk::new(1);
    let core = recover_as(&original, 1);
    assert!(leads(&core));
    let clock = SimClock::default();
    let mut executor = core.executor.take_idle().unwrap();
    let mut scratch = Scratch::default();
    let (job, made) = oneshot::channel();
    core.executor.push_quietly(Input::Checkpoint(job));
    executor = core.next_executor_batch(executor, &mut scratch).unwrap();
    core.executor_turn(&mut executor, &clock, false, &mut scratch, &mut Vec::new()).unwrap();
    made.blocking_recv().unwrap().run("copy").unwrap();

    let disk = SimDisk::new(2);
    for dir in ["shard-0", "shard-0/tree", "shard-0/tree/gen-000001"] {
        disk.create_dir(dir).unwrap();
    }
    for name in ["CURRENT", "gen-000001/MANIFEST"] {
        let contents = original.contents(&format!("copy/{name}")).unwrap();
        let file = disk.create(&format!("shard-0/tree/{name}")).unwrap();
        file.write_at(&contents, 0).unwrap();
        file.sync().unwrap();
    }
    ["", "shard-0", "shard-0/tree", "shard-0/tree/gen-000001"]
        .iter()
        .for_each(|dir| disk.sync_dir(dir).unwrap());
    assert!(is_copy(&disk).unwrap() && !is_copy(&original).unwrap());
    // The name of node 7 never got onto the disk.
    drop(recover_as(&disk, 7));
    disk.crash();
    assert!(leads(&recover_as(&disk, 8)));
}
