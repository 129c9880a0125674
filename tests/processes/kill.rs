//! `kill -9` at any moment loses no acknowledged write.

use std::sync::Arc;
use std::time::Duration;

use super::harness::{Launch, Ledger, Load, Workload, verify, wait_for};

const ROUNDS: u64 = 20;
const WRITERS: u64 = 8;

#[test]
fn twenty_kills_under_load_lose_nothing() {
    let seed = fastrand::u64(..);
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    // Few keys, so that all are overwritten again and again, and a memtable so small that flushes are going on.
    let launch = Launch::new(&dir).arg("--replay-bytes-max", "4mb");
    let ledger = Arc::new(Ledger::new(Workload { seed, keys: 20_000, value_bytes: 100 }));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut total = 0;
    for round in 0..ROUNDS {
        let server = launch.start();
        verify(&server, &ledger, &format!("seed {seed}, after {round} kills"));
        let load = Load::start(&server, &ledger, WRITERS, seed ^ round);
        let enough = random.u64(500..20_000);
        wait_for("enough writes are acknowledged", || load.acknowledged() >= enough);
        std::thread::sleep(Duration::from_micros(random.u64(0..3000)));
        server.kill();
        total += load.join();
    }
    let server = launch.start();
    let keys = verify(&server, &ledger, &format!("seed {seed}, at the end"));
    assert!(keys > 10_000, "the load must have reached most keys, not {keys}");
    assert!(total > ROUNDS * 500, "only {total} writes were acknowledged");
}
