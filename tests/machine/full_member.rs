//! One node of a cluster has a full disk: the others do its work, or nothing is accepted that would not last.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use crate::file_system::FileSystem;
use crate::full_disk::take_the_rest;
use crate::harness::{CALM, Cluster, ClusterLoad, Ledger, Reply, Workload};

/// Size of the file system: the node keeps 80 MiB of it free.
const IMAGE_BYTES: &str = "256M";
const WRITERS: u64 = 4;

#[test]
fn a_member_with_a_full_disk_stops_nobody_and_loses_nothing() {
    let system = FileSystem::new(IMAGE_BYTES);
    let rest = system.mount.join("rest");
    let seed = fastrand::u64(..);
    let ledger = Arc::new(Ledger::new(Workload { seed, keys: 2_000, value_bytes: 1_000 }));
    let small = ["--memory-budget", "64mb", "--replay-bytes-max", "8mb"];
    let mut cluster = Cluster::new(3, &[&CALM[..], &small].concat());
    fs::create_dir(system.mount.join("data")).unwrap();
    symlink(system.mount.join("data"), &cluster.nodes[0].dir).unwrap();
    for at in 0..3 {
        cluster.spawn(at);
    }
    cluster.leader();

    // As a follower: it may end, and the others go on.
    cluster.make_lead(1);
    take_the_rest(&rest);
    let load = ClusterLoad::start(&cluster, &ledger, WRITERS, seed);
    cluster.wait_for("the others go on", || load.acknowledged() > 20_000);
    load.stop();
    cluster.verify(&ledger, &format!("seed {seed}, with a follower that has no room"));
    fs::remove_file(&rest).unwrap();
    if cluster.has_ended(0) {
        cluster.spawn(0);
    }
    cluster.wait_until_caught_up(0);

    // As the leader: it shows what is there.
    cluster.make_lead(0);
    take_the_rest(&rest);
    let load = ClusterLoad::start(&cluster, &ledger, WRITERS, seed);
    let mut client = cluster.client();
    for _ in 0..100 {
        client.repeat(&[b"DBSIZE"], |reply| assert!(matches!(reply, Reply::Integer(_)), "{reply:?}"));
    }
    fs::remove_file(&rest).unwrap();
    if cluster.has_ended(0) {
        cluster.spawn(0);
    }
    let before = load.acknowledged();
    cluster.wait_for("writes are acknowledged", || load.acknowledged() > before + 1_000);
    load.stop();
    // It may have been about to end when it was looked at.
    if cluster.has_ended(0) {
        cluster.spawn(0);
    }
    cluster.wait_until_equal();
    let keys = cluster.verify(&ledger, &format!("seed {seed}, with room again"));
    println!("{keys} keys, none lost");
}
