//! A power cut, as near as one machine comes to it: the file system is shut down under load, without writing out what
//! it holds in memory, and mounted again.
//!
//! A build that skips its syncs must be caught by this, or the test proves nothing: the second test is that one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::harness::{Fault, Launch, Ledger, Load, Shim, Workload, count_lost, wait_for};

const ROUNDS: u64 = 5;
const WRITERS: u64 = 16;
/// Size of the file system.
const IMAGE_BYTES: &str = "1G";

/// `EXT4_IOC_SHUTDOWN` with "do not flush the journal", on the directory that is the argument.
const SHUT_DOWN: &str = "
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))
";

/// An ext4 file system in a file, mounted while it lives.
struct FileSystem {
    image: PathBuf,
    mount: PathBuf,
    _base: tempfile::TempDir,
}

impl FileSystem {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let (image, mount) = (base.path().join("image"), base.path().join("mount"));
        std::fs::create_dir(&mount).unwrap();
        run("truncate", &["-s", IMAGE_BYTES, text(&image)]);
        run("mkfs.ext4", &["-q", "-F", "-m", "0", text(&image)]);
        let this = Self { image, mount, _base: base };
        this.mount();
        this
    }

    fn mount(&self) {
        run("mount", &["-o", "loop", text(&self.image), text(&self.mount)]);
    }

    fn unmount(&self) {
        run("umount", &[text(&self.mount)]);
    }

    /// From this moment nothing reaches the image any more.
    fn cut(&self) {
        run("python3", &["-c", SHUT_DOWN, text(&self.mount)]);
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        // It may be unmounted already when a test fails in between.
        let _ended = Command::new("umount").arg("-q").arg(&self.mount).stderr(Stdio::null()).status();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, args: &[&str]) {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?} must work (as root): {errors}");
}

/// Cuts the power under load, `rounds` times; returns what was lost, and how many writes had been acknowledged.
fn cut_power(seed: u64, rounds: u64, shim: &Shim) -> (Vec<String>, u64) {
    let system = FileSystem::new();
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
