//! A data set many times larger than the memory budget: it works, the budget is kept, and a restart is quick.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::{Launch, Ledger, Server, Workload, verify, write};

const VALUE_BYTES: usize = 4096;
const KEYS: u64 = 512 * 1024;
/// Enough writes in flight that a disk whose syncs are slow is not what takes the time.
const WRITERS: u64 = 16;
const RESIDENT_BYTES_MAX: u64 = 256 << 20;
const RESTART_MAX: Duration = Duration::from_secs(2);

#[test]
fn two_gibibytes_fit_in_a_budget_of_128_mebibytes() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let launch = Launch::new(&dir).arg("--memory-budget", "128mb");
    let ledger = Arc::new(Ledger::new(Workload { seed: 1, keys: KEYS, value_bytes: VALUE_BYTES }));

    let server = launch.start();
    let start = Instant::now();
    fill(&server, &ledger);
    let filled = start.elapsed();
    let keys = verify(&server, &ledger, "after filling");
    assert_eq!(keys, KEYS);
    let resident = resident_bytes_max(&server);
    let read = start.elapsed() - filled;
    assert!(resident < RESIDENT_BYTES_MAX, "{} MiB were resident", resident >> 20);
    server.kill();

    let start = Instant::now();
    let server = launch.start();
    let restarted = start.elapsed();
    assert!(restarted < RESTART_MAX, "the node was ready after {restarted:?}");
    verify(&server, &ledger, "after the restart");
    let resident_after = resident_bytes_max(&server);
    assert!(
        resident_after < RESIDENT_BYTES_MAX,
        "{} MiB were resident after the restart",
        resident_after >> 20
    );
    println!(
        "2 GiB written in {filled:?}, read in {read:?}; at most {} and {} MiB resident; ready again after {restarted:?}",
        resident >> 20,
        resident_after >> 20
    );
}

/// Writes every key once, in an order that is not that of the keys.
fn fill(server: &Server, ledger: &Arc<Ledger>) {
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (mut client, ledger) = (server.client(), Arc::clone(ledger));
            std::thread::spawn(move || {
                let mut numbers: Vec<u64> =
                    (writer..KEYS).step_by(usize::try_from(WRITERS).unwrap()).collect();
                fastrand::Rng::with_seed(writer).shuffle(&mut numbers);
                for batch in numbers.chunks(32) {
                    let done = write(&mut client, &ledger, batch).unwrap();
                    assert_eq!(done, batch.len() as u64, "every write is acknowledged");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
}

/// The most that was ever resident.
fn resident_bytes_max(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}
