//! Starting and ending.

use super::harness::{Launch, Reply};

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
