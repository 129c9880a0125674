//! Starting and ending.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
};

use super::harness::{Launch, Reply};

#[test]
fn a_node_sets_its_allocator_once_whatever_became_of_the_settings() {
    let base = tempfile::tempdir().unwrap();
    let settings = |launch: Launch| {
        let server = launch.start();
        let environment = std::fs::read_to_string(format!("/proc/{}/environ", server.pid())).unwrap();
        environment.matches("MALLOC_").count()
    };
    assert_eq!(settings(Launch::new(&base.path().join("one"))), 2);
    // As the loader leaves it to a program with capabilities of its own.
    let erased = [("_SISYPHUSDB_EXECUTED".to_owned(), "1".to_owned())];
    assert_eq!(settings(Launch::new(&base.path().join("two")).env(erased)), 0);
    let own = [("MALLOC_TRIM_THRESHOLD_".to_owned(), "1000000".to_owned())];
    assert_eq!(settings(Launch::new(&base.path().join("three")).env(own)), 1);
}

#[test]
fn sigterm_ends_the_node_in_good_order() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let mut server = Launch::new(&dir).start();
    assert!(server.client().set(b"key", b"value").unwrap());
    let status = server.terminate();
    assert_eq!(status.code(), Some(0), "{status}:\n{}", server.output());

    let server = Launch::new(&dir).start();
    let found = server.client().call(&[b"GET", b"key"], |reply| reply == Reply::Bulk(b"value")).unwrap();
    assert!(found, "what was acknowledged before SIGTERM is there after it");
}

#[test]
fn who_does_not_take_an_answer_keeps_nothing_from_being_written_out() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let mut server = Launch::new(&dir).arg("--shutdown-timeout", "2").start();
    assert!(server.client().set(b"large", &vec![b'x'; 48 << 20]).unwrap());
    // More than the system keeps for a connection, and nobody reads it.
    let mut stuck = TcpStream::connect(("127.0.0.1", server.http_port)).unwrap();
    stuck.write_all(b"GET /get?key=large HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stuck.read_exact(&mut [0; 1]).unwrap();
    let status = server.terminate();
    assert_eq!(status.code(), Some(0), "{status}:\n{}", server.output());
    assert!(!server.output().contains("before everything was in order"), "{}", server.output());
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let first = Launch::new(&dir).start();
    let mut second = Launch::new(&dir).spawn();
    assert_eq!(second.wait().code(), Some(1));
    assert!(second.output().contains("in use"), "the reason must be said:\n{}", second.output());
    assert!(first.client().ping(), "the first is not disturbed");
}

#[test]
fn a_bad_directive_is_one_clear_line_and_exit_code_one() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    for (name, value, word) in
        [("--no-such-thing", "1", "no-such-thing"), ("--maxclients", "many", "maxclients")]
    {
        let mut server = Launch::new(&dir).arg(name, value).spawn();
        assert_eq!(server.wait().code(), Some(1), "{name} {value}");
        let output = server.output();
        let line = output.lines().last().unwrap_or_default();
        assert!(line.contains(word), "the line must name what is wrong: {output}");
    }
    assert!(!dir.exists(), "nothing is made before the configuration is understood");
}

#[test]
fn a_start_that_fails_says_why_and_says_it_once() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    std::fs::write(&dir, "a file").unwrap();
    let mut server = Launch::new(&dir).spawn();
    assert_eq!(server.wait().code(), Some(1));
    let output = server.output();
    let line = output.lines().last().unwrap_or_default();
    assert!(line.contains("cannot use the data directory"), "{output}");
    assert_eq!(line.matches("File exists").count(), 1, "{output}");
}

#[test]
fn a_node_that_lost_a_part_of_its_directory_does_not_start_as_an_empty_one() {
    for part in ["shard-0/log", "shard-0", "meta"] {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("data");
        let server = Launch::new(&dir).start();
        assert!(server.client().set(b"key", b"value").unwrap());
        server.kill();
        let path = dir.join(part);
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.unwrap();
        // It says so as often as it is tried: a refused start leaves nothing behind that looks like a part.
        for _ in 0..2 {
            let mut server = Launch::new(&dir).spawn();
            assert_eq!(server.wait().code(), Some(1), "without {part}");
            let output = server.output();
            let line = output.lines().last().unwrap_or_default();
            assert!(line.contains("missing") && line.contains("must not be used"), "{output}");
        }
    }
}

/// All files in a directory and below, with their bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => BTreeMap::from([(path.clone(), std::fs::read(&path).unwrap())]),
        })
        .collect()
}

#[test]
fn verify_finds_a_damaged_table_and_nothing_else() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let launch = Launch::new(&dir);
    assert_eq!(launch.verify().0, Some(1), "there is no node");
    assert!(!dir.exists(), "and none is made");
    let server = launch.start();
    assert!(server.client().set(b"key", b"value").unwrap());
    assert_eq!(launch.verify().0, Some(1), "the node uses the directory");
    server.kill();
    let before = files(&dir);
    let (status, text) = launch.verify();
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains(" 0 tables"), "what is only in the log is not in tables yet: {text}");
    assert!(files(&dir) == before, "what is verified is changed");
    // What is in memory is written out.
    launch.start().terminate();
    let before = files(&dir);
    let (status, text) = launch.verify();
    assert_eq!(status, Some(0), "{text}");
    assert!(files(&dir) == before, "what is verified is changed");
    assert!(text.starts_with("the log is whole; so are ") && !text.contains(" 0 tables"), "{text}");

    let tables = std::fs::read_dir(dir.join("shard-0/tree/gen-000001")).unwrap();
    let mut tables = tables.map(|entry| entry.unwrap().path());
    let table = tables.find(|path| path.extension().is_some_and(|end| end == "table")).unwrap();
    let mut bytes = std::fs::read(&table).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    let (status, text) = launch.verify();
    assert_eq!(status, Some(1), "{text}");
    let name = table.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(name) && text.lines().count() == 1, "{text}");
}
