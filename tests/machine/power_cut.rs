//! A power cut, as near as one machine comes to it: the file system is shut down under load, without writing out what
//! it holds in memory, and mounted again.
//!
//! A build that skips its syncs must be caught by this, or the test proves nothing: the second test is that one.

use std::sync::Arc;

use crate::file_system::{FileSystem, run, text};
use crate::harness::{Fault, Launch, Ledger, Load, Shim, Workload, count_lost, wait_for};

const ROUNDS: u64 = 5;
const WRITERS: u64 = 16;
/// Size of the file system.
const IMAGE_BYTES: &str = "1G";

/// Cuts the power under load, `rounds` times; returns what was lost, and how many writes had been acknowledged.
fn cut_power(seed: u64, rounds: u64, shim: &Shim) -> (Vec<String>, u64) {
    let system = FileSystem::new(IMAGE_BYTES);
    // The log of the process stands beside the directory, so the directory is one level down.
    let dir = system.mount.join("node/data");
    std::fs::create_dir(system.mount.join("node")).unwrap();
    run("sync", &["-f", text(&system.mount)]);
    let ledger = Arc::new(Ledger::new(Workload { seed, keys: 50_000, value_bytes: 200 }));
    let launch = Launch::new(&dir).arg("--replay-bytes-max", "8mb").env(shim.env());
    let (mut lost, mut acknowledged) = (Vec::new(), 0);
    for round in 0..rounds {
        let mut server = launch.start();
        let load = Load::start(&server, &ledger, WRITERS, seed ^ round);
        wait_for("enough writes are acknowledged", || load.acknowledged() >= 20_000 + round * 7_919);
        system.cut();
        // A node that notices ends by itself; one that does not is stopped.
        if !server.ends_within_a_second() {
            server.kill();
        }
        acknowledged += load.join();
        system.unmount();
        system.mount();
        let server = match launch.try_start() {
            Ok(server) => server,
            Err(output) => {
                lost.push(format!("the node does not start any more: {output}"));
                return (lost, acknowledged);
            }
        };
        let sent: Vec<u64> =
            (0..ledger.workload.keys).filter(|number| ledger.bounds(*number).1 > 0).collect();
        lost.extend(count_lost(&server, &ledger, &sent));
        if !lost.is_empty() {
            break;
        }
    }
    (lost, acknowledged)
}

#[test]
fn a_power_cut_under_load_loses_no_acknowledged_write() {
    let seed = fastrand::u64(..);
    let (lost, acknowledged) = cut_power(seed, ROUNDS, &Shim::new());
    assert!(lost.is_empty(), "seed {seed}: {} lost of {acknowledged}, first: {}", lost.len(), lost[0]);
    println!("{ROUNDS} power cuts, {acknowledged} acknowledged writes, none lost");
}

#[test]
fn a_build_that_skips_its_syncs_is_caught() {
    let seed = fastrand::u64(..);
    let shim = Shim::new();
    shim.set(Fault::Skipped);
    let (lost, acknowledged) = cut_power(seed, ROUNDS, &shim);
    assert!(
        !lost.is_empty(),
        "seed {seed}: syncs were skipped, and a power cut has lost nothing of {acknowledged}"
    );
    println!("without syncs a power cut loses: {}; {} in all", lost[0], lost.len());
}
