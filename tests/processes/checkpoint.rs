//! What SAVE makes is a data directory: it is moved away, and a node starts with it.

use std::fs;
use std::path::{Path, PathBuf};

use super::harness::{Client, Launch, Reply, Server};

fn start(dir: &Path) -> Server {
    Launch::new(dir).arg("--enable-debug-command", "local").start()
}

/// A reply as text, to be compared.
fn ask(client: &mut Client, words: &[&str]) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    client.call(&words, |reply| format!("{reply:?}")).unwrap()
}

fn do_it(client: &mut Client, words: &[&str]) {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let done =
        client.call(&words, |reply| reply == Reply::Status(b"OK") || matches!(reply, Reply::Integer(_)));
    assert!(done.unwrap(), "{words:?}");
}

/// Everything that the node holds, in short.
fn contents(client: &mut Client) -> (String, String) {
    (ask(client, &["DBSIZE"]), ask(client, &["DEBUG", "DIGEST"]))
}

/// The checkpoints in a data directory.
fn checkpoints(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn the_checkpoint(dir: &Path) -> PathBuf {
    let [one] = &checkpoints(dir)[..] else { panic!("{:?}", checkpoints(dir)) };
    one.clone()
}

fn fill(client: &mut Client) {
    for at in 0..500 {
        let (key, value) = (format!("string:{at}"), "v".repeat(at));
        do_it(client, &["SET", &key, &value]);
        do_it(client, &["HSET", "large", &key, &value]);
    }
    do_it(client, &["SET", "long", &"v".repeat(200_000)]);
    do_it(client, &["HSET", "small", "field", "value"]);
    do_it(client, &["PEXPIREAT", "small", "4000000000000"]);
    do_it(client, &["DEL", "string:7"]);
    do_it(client, &["SELECT", "3"]);
    do_it(client, &["SET", "elsewhere", "1"]);
    do_it(client, &["SELECT", "0"]);
}

#[test]
fn a_node_starts_with_what_save_has_made() {
    let base = tempfile::tempdir().unwrap();
    let (dir, copy) = (base.path().join("data"), base.path().join("copy"));
    let server = start(&dir);
    let mut client = server.client();
    fill(&mut client);
    let saved = contents(&mut client);
    do_it(&mut client, &["SAVE"]);
    do_it(&mut client, &["SET", "after", "1"]);
    fs::rename(the_checkpoint(&dir), &copy).unwrap();
    let later = contents(&mut client);
    server.kill();

    let server = start(&copy);
    let mut client = server.client();
    assert_eq!(contents(&mut client), saved);
    do_it(&mut client, &["SET", "on the copy", "1"]);
    let on_copy = contents(&mut client);
    assert_ne!(on_copy, saved);
    server.kill();
    let server = start(&copy);
    assert_eq!(contents(&mut server.client()), on_copy, "it is a node like any other");
    do_it(&mut server.client(), &["SAVE"]);

    let server = start(&dir);
    assert_eq!(contents(&mut server.client()), later, "the node that it was made of does not notice");
}

#[test]
fn a_checkpoint_replaces_the_one_before() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let server = start(&dir);
    let mut client = server.client();
    do_it(&mut client, &["SET", "key", "1"]);
    do_it(&mut client, &["SAVE"]);
    let first = the_checkpoint(&dir);
    do_it(&mut client, &["SAVE"]);
    let second = the_checkpoint(&dir);
    assert_ne!(first, second);

    // A node has been started in it: it is not ours any more.
    fs::write(second.join("meta"), "a node's").unwrap();
    do_it(&mut client, &["SAVE"]);
    assert_eq!(checkpoints(&dir).len(), 2);
    assert!(second.exists());

    // What a crash has interrupted goes at the next start.
    server.kill();
    let unfinished = dir.join("checkpoints/00000000000000000001.new/shard-0/tree");
    fs::create_dir_all(&unfinished).unwrap();
    fs::write(unfinished.join("000001.table"), "").unwrap();
    let server = start(&dir);
    assert_eq!(checkpoints(&dir).len(), 2);
    assert!(!unfinished.exists());
    assert!(server.client().ping());
}

#[test]
fn what_is_no_data_directory_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("data");
    let server = start(&dir);
    do_it(&mut server.client(), &["SET", "key", "1"]);
    do_it(&mut server.client(), &["SAVE"]);
    server.kill();
    let redis = base.path().join("redis");
    fs::create_dir(&redis).unwrap();
    fs::write(redis.join("dump.rdb"), "REDIS0011").unwrap();
    for (part, name) in [
        (dir.join("shard-0/tree"), "CURRENT"),
        (dir.join("shard-0/log"), "-0000"),
        (dir.join("checkpoints"), "0000"),
        (the_checkpoint(&dir).join("shard-0"), "tree"),
        (redis, "dump.rdb"),
    ] {
        let before = fs::read_dir(&part).unwrap().count();
        let mut server = Launch::new(&part).spawn();
        assert_eq!(server.wait().code(), Some(1), "{}", server.output());
        let output = server.output();
        assert!(output.contains("is not the data directory of a node") && output.contains(name), "{output}");
        assert_eq!(fs::read_dir(&part).unwrap().count(), before, "nothing is left there");
        fs::remove_file(part.with_extension("log")).unwrap();
    }
}
