//! Rules that hold between the commands of connections, on a server whose tasks all run on one thread, so that a planted
//! bug is on for all of them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use sisyphusdb::bugs::{self, Bug};
use sisyphusdb::config::Config;
use sisyphusdb::dispatch::{Batch, Conversation, InFlight, Workspace};
use sisyphusdb::executor::Input;
use sisyphusdb::resp::Args;
use sisyphusdb::server::Server;
use sisyphusdb::session::{Endpoint, Session};

use super::client::Client;

/// Runs `scenario` on a node of its own.
pub(super) fn on_a_node<R>(scenario: impl AsyncFnOnce(&Server) -> R) -> R {
    until_it_stops(async |server| {
        let result = scenario(&server).await;
        server.stop().await;
        result
    })
}

/// Runs `scenario` on a node of its own, which it stops.
pub(super) fn until_it_stops<R>(scenario: impl AsyncFnOnce(Server) -> R) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().to_str().unwrap();
        let flags = [("dir", dir), ("port", "auto"), ("http-port", "auto"), ("memory-budget", "64mb")];
        let server = Server::start(Arc::new(Config::from_flags(&flags).unwrap())).await.unwrap();
        scenario(server).await
    })
}

/// Whether a read sees the write that stands before it in one packet, and is answered after it.
fn a_pipeline_is_in_order() -> bool {
    on_a_node(async |server| {
        let mut client = Client::connect(server).await;
        client.ok(&["SET", "key", "1"]).await;
        let replies = client.pipeline(&[&["SET", "key", "2"], &["GET", "key"]], 12).await;
        replies == "+OK\r\n$1\r\n2\r\n"
    })
}

#[test]
fn a_read_never_overtakes_a_write_of_its_connection() {
    assert!(a_pipeline_is_in_order());
    assert!(!bugs::with(Bug::ReadOvertakesWrite, a_pipeline_is_in_order), "the planted bug is not found");
}

/// Whether a connection that has read before sees what another one was told is written.
fn an_acknowledged_write_is_read() -> bool {
    on_a_node(async |server| {
        let (mut reader, mut writer) = (Client::connect(server).await, Client::connect(server).await);
        writer.ok(&["SET", "key", "1"]).await;
        assert_eq!(reader.ask(&["GET", "key"]).await, "$1\r\n1\r\n");
        writer.ok(&["SET", "key", "2"]).await;
        reader.ask(&["GET", "key"]).await == "$1\r\n2\r\n"
    })
}

#[test]
fn a_permit_serves_no_request_that_arrives_after_it() {
    assert!(an_acknowledged_write_is_read());
    assert!(!bugs::with(Bug::PermitKept, an_acknowledged_write_is_read), "the planted bug is not found");
}

/// Commands of one client, in order.
type Commands = &'static [&'static [&'static str]];

/// Whether EXEC runs after `commands` of another client, when `key` of database 0 was watched before them.
async fn exec_runs_after(server: &Server, before: Commands, commands: Commands) -> bool {
    let (mut watcher, mut other) = (Client::connect(server).await, Client::connect(server).await);
    other.ok(&["FLUSHALL"]).await;
    // Databases that are empty would not change at all.
    for db in ["0", "1"] {
        other.ok(&["SELECT", db]).await;
        other.ok(&["SET", "bystander", "here"]).await;
    }
    for words in [&[&["SELECT", "0"][..]], before].concat() {
        other.ok(words).await;
    }
    watcher.ok(&["WATCH", "key"]).await;
    for words in commands {
        other.ok(words).await;
    }
    watcher.ok(&["MULTI"]).await;
    match watcher.ask(&["EXEC"]).await.as_str() {
        "*0\r\n" => true,
        "*-1\r\n" => false,
        reply => panic!("EXEC answered {reply}"),
    }
}

#[test]
fn what_befalls_a_database_spoils_a_watch_only_if_its_key_was_or_is_there() {
    const SET: &[&str] = &["SET", "key", "1"];
    const IN_0: &[&str] = &["SELECT", "0"];
    const IN_1: &[&str] = &["SELECT", "1"];
    const FLUSH: &[&str] = &["FLUSHDB"];
    const SWAP: &[&str] = &["SWAPDB", "0", "1"];
    let cases: &[(Commands, Commands, bool)] = &[
        (&[SET], &[FLUSH], false),
        (&[], &[FLUSH], true),
        (&[SET], &[IN_1, FLUSH], true),
        (&[SET], &[&["FLUSHALL"]], false),
        (&[], &[&["FLUSHALL"]], true),
        (&[IN_1, SET], &[&["FLUSHALL"]], true),
        (&[], &[SWAP], true),
        (&[SET], &[SWAP], false),
        (&[IN_1, SET], &[SWAP], false),
        (&[], &[SWAP, SWAP], true),
        // The watch goes with its database, and only there.
        (&[], &[FLUSH, SET], false),
        (&[], &[SWAP, SET], false),
        (&[], &[SWAP, IN_1, SET], true),
        (&[], &[SWAP, SWAP, SET], false),
        (&[], &[SWAP, SWAP, IN_1, SET], true),
        (&[], &[SWAP, FLUSH, SET], false),
        (&[SET], &[IN_1, SET, IN_0], true),
    ];
    on_a_node(async |server| {
        for (before, commands, runs) in cases {
            assert_eq!(exec_runs_after(server, before, commands).await, *runs, "{before:?} {commands:?}");
        }
    });
}

#[test]
fn a_watch_ends_with_reset() {
    on_a_node(async |server| {
        let (mut watcher, mut other) = (Client::connect(server).await, Client::connect(server).await);
        watcher.ok(&["WATCH", "key", "key", "other"]).await;
        watcher.ok(&["WATCH", "key"]).await;
        let watched = async |client: &mut Client| client.info().await["total_watched_keys"].clone();
        assert_eq!(watched(&mut other).await, "2", "a key that is named twice is watched once");
        assert_eq!(watcher.ask(&["RESET"]).await, "+RESET\r\n");
        other.ok(&["SET", "key", "1"]).await;
        watcher.ok(&["MULTI"]).await;
        assert_eq!(watcher.ask(&["EXEC"]).await, "*0\r\n");
    });
}

#[test]
fn nothing_is_run_behind_what_closes_the_connection() {
    // More than `client-query-buffer-limit` of a node with this little memory.
    let long = "k".repeat(17 << 20);
    let cases: [&[&[&str]]; 3] = [&[&["WATCH", &long]], &[&["MULTI"], &["GET", &long]], &[&["QUIT"]]];
    on_a_node(async |server| {
        let services = server.services();
        for commands in cases {
            let endpoint = Endpoint { remote: String::new(), local: String::new(), fd: -1 };
            let registration = services.clients.connect(endpoint, 0, usize::MAX).unwrap();
            let mut conversation =
                Conversation::new(Session::new(registration, Arc::clone(&services.config)));
            let mut batch = Batch::new(services, &mut conversation, Workspace::default());
            let taken: Vec<ControlFlow<Option<Args>>> = commands
                .iter()
                .map(|words| words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>())
                .map(|words| batch.take(Args::from_slices(&words)))
                .collect();
            assert!(matches!(taken.last(), Some(ControlFlow::Break(None))), "{:?}", commands[0][0]);
        }
    });
}

#[test]
fn messages_of_all_connections_keep_a_bound_of_memory_together() {
    const CLIENTS: usize = 30;
    let value = "v".repeat(1_000_000);
    on_a_node(async |server| {
        let services = server.services();
        let (shard, in_flight) = (&services.shard, &services.in_flight);
        let executor = loop {
            match shard.core().executor.take_idle() {
                Some(executor) => break executor,
                None => tokio::task::yield_now().await,
            }
        };
        let mut clients = tokio::task::JoinSet::new();
        for id in 0..CLIENTS {
            let (mut client, value) = (Client::connect(server).await, value.clone());
            clients.spawn(async move { client.ok(&["SET", &format!("key:{id}"), &value]).await });
        }
        // As many as fit are in the executor, which does nothing; all others wait, and their clients with them.
        let fit = in_flight.bytes_max() / value.len();
        assert!((2..CLIENTS / 2).contains(&fit), "{fit}");
        let settled = async {
            while in_flight.waiting() < CLIENTS - fit {
                assert!(in_flight.used() <= in_flight.bytes_max(), "{}", in_flight.used());
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), settled).await.expect("the others wait");
        assert_eq!(in_flight.used() / value.len(), fit);
        assert!(in_flight.used() <= in_flight.bytes_max());
        shard.core().executor.put_back(executor);
        shard.submit(Input::Resume);
        while let Some(answered) = clients.join_next().await {
            answered.unwrap();
            assert!(in_flight.used() <= in_flight.bytes_max());
        }
        let mut client = Client::connect(server).await;
        assert_eq!(client.ask(&["DBSIZE"]).await, format!(":{CLIENTS}\r\n"));
        assert_eq!((in_flight.used(), in_flight.waiting()), (0, 0));
    });
}

#[tokio::test]
async fn memory_goes_to_messages_in_their_order() {
    let in_flight = Arc::new(InFlight::new(100));
    assert!(in_flight.try_take(60));
    assert!(!in_flight.try_take(50), "that is more than is free");
    let large = tokio::spawn({
        let in_flight = Arc::clone(&in_flight);
        async move { in_flight.take(1_000).await }
    });
    while in_flight.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!in_flight.try_take(1), "who comes later does not overtake");
    in_flight.give_back(60);
    large.await.unwrap();
    assert_eq!(in_flight.used(), 1_000, "more than everything is let in alone");
    assert!(!in_flight.try_take(1));
    let given_up = tokio::spawn({
        let in_flight = Arc::clone(&in_flight);
        async move { in_flight.take(1).await }
    });
    while in_flight.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    assert_eq!(in_flight.waiting(), 0, "who gave up waits no more");
    in_flight.give_back(1_000);
    assert!(in_flight.try_take(100));
}
