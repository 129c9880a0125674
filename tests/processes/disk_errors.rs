//! A sync that fails: the node stops, and acknowledges nothing that it cannot vouch for.

use std::sync::Arc;

use super::harness::{Fault, Launch, Ledger, Load, Shim, Workload, verify, wait_for};

#[test]
fn a_failed_fdatasync_stops_the_node_and_acknowledges_nothing_more() {
    let seed = fastrand::u64(..);
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let shim = Shim::new();
    let ledger = Arc::new(Ledger::new(Workload { seed, keys: 5_000, value_bytes: 64 }));
    let mut server = Launch::new(&dir).env(shim.env()).start();
    let mut witness = server.client();
    assert!(witness.set(b"before", b"1").unwrap(), "the disk is still good");

    let load = Load::start(&server, &ledger, 4, seed);
    wait_for("the load runs", || load.acknowledged() > 1_000);
    shim.set(Fault::Fails);
    let answer = witness.set(b"after", b"1");
    assert!(!matches!(answer, Ok(true)), "a write was acknowledged after the disk had failed");
    let status = server.wait();
    assert!(!status.success(), "a node whose disk fails must not end as if all were well: {status}");
    load.join();

    let server = Launch::new(&dir).start();
    verify(&server, &ledger, &format!("seed {seed}, after EIO"));
}

#[test]
fn a_disk_that_fails_at_the_start_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let shim = Shim::new();
    shim.set(Fault::Fails);
    let status = Launch::new(&dir).env(shim.env()).spawn().wait();
    assert!(!status.success(), "{status}");
}

#[test]
fn a_slow_disk_delays_writes_and_no_reads() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let shim = Shim::new();
    let server = Launch::new(&dir).env(shim.env()).start();
    let (mut writer, mut reader) = (server.client(), server.client());
    assert!(writer.set(b"key", b"1").unwrap());
    shim.set(Fault::Slow { milliseconds: 1_000 });
    let stalled = std::thread::spawn(move || {
        let start = std::time::Instant::now();
        (writer.set(b"key", b"2").unwrap(), start.elapsed())
    });
    let mut reads = 0;
    while !stalled.is_finished() {
        reader.call(&[b"GET", b"key"], |_| ()).unwrap();
        reads += 1;
    }
    let (acknowledged, took) = stalled.join().unwrap();
    assert!(acknowledged);
    assert!(took.as_millis() >= 1_000, "a write was acknowledged in {took:?}, before its sync was done");
    // One read that waits for the disk would take the whole second.
    assert!(reads > 100, "only {reads} reads were answered while the disk stood still");
}
