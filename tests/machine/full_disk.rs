//! A disk that is really full: what needs room is refused, reads work, a node starts on it, and nothing is lost.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use crate::file_system::FileSystem;
use crate::harness::{Client, Launch, Ledger, Reply, Workload, verify, wait_for, write};

/// Size of the file system: the node keeps 80 MiB of it free.
const IMAGE_BYTES: &str = "256M";
/// More than fit.
const WORKLOAD: Workload = Workload { seed: 1, keys: 200_000, value_bytes: 4096 };

/// The first word of a reply that is an error, or `OK`.
fn outcome(client: &mut Client, words: &[&str]) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    client
        .call(&words, |reply| match reply {
            Reply::Error(error) => {
                String::from_utf8_lossy(error.split(|byte| *byte == b' ').next().unwrap()).into_owned()
            }
            _ => "OK".to_owned(),
        })
        .unwrap()
}

/// Takes all that is left of the disk.
pub(crate) fn take_the_rest(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut piece_bytes = 1 << 20;
    while piece_bytes > 0 {
        match file.write_all(&vec![1; piece_bytes]).and_then(|()| file.sync_data()) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                piece_bytes /= 2;
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_writes_and_loses_none() {
    let system = FileSystem::new(IMAGE_BYTES);
    let base = tempfile::tempdir().unwrap();
    // What the process prints stands beside the directory, so that is reached from elsewhere.
    let (dir, rest) = (base.path().join("data"), system.mount.join("rest"));
    std::fs::create_dir(system.mount.join("data")).unwrap();
    std::os::unix::fs::symlink(system.mount.join("data"), &dir).unwrap();
    let launch = Launch::new(&dir).arg("--memory-budget", "64mb").arg("--replay-bytes-max", "8mb");
    let ledger = Arc::new(Ledger::new(WORKLOAD));
    let server = launch.start();
    let mut client = server.client();

    // The node stops by itself, with a distance.
    let mut numbers = 0..WORKLOAD.keys;
    let mut written = 0;
    loop {
        let batch: Vec<u64> = numbers.by_ref().take(64).collect();
        assert!(!batch.is_empty(), "the disk is larger than this test knows");
        let done = write(&mut client, &ledger, &batch).unwrap();
        written += done;
        if done < batch.len() as u64 {
            break;
        }
    }
    // Somebody else does not.
    take_the_rest(&rest);
    wait_for("no command is accepted that writes", || outcome(&mut client, &["DEL", "none"]) == "MISCONF");
    assert_eq!(outcome(&mut client, &["SET", "key", "value"]), "MISCONF");
    assert_eq!(outcome(&mut client, &["DBSIZE"]), "OK");
    verify(&server, &ledger, "on a full disk");
    server.kill();

    let mut server = launch.start();
    let mut client = server.client();
    assert_eq!(outcome(&mut client, &["SET", "key", "value"]), "MISCONF");
    verify(&server, &ledger, "after a start on a full disk");
    assert_eq!(outcome(&mut client, &["SAVE"]), "ERR", "there is no room for what is in memory");
    assert!(server.terminate().success(), "{}", server.output());

    // Half of the room that the node keeps is enough to delete, and that gives the other half back.
    std::fs::remove_file(&rest).unwrap();
    let server = launch.start();
    let mut client = server.client();
    verify(&server, &ledger, "with room again");
    wait_for("everything is deleted", || outcome(&mut client, &["FLUSHALL"]) == "OK");
    wait_for("a write is accepted", || outcome(&mut client, &["SET", "key", "value"]) == "OK");
    assert_eq!(outcome(&mut client, &["SAVE"]), "OK");
    println!("{written} writes were acknowledged until the disk was full, none lost");
}
