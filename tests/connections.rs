//! What the settings of a running node do to connections that are there already, and to commands wherever they run.

use std::{sync::Arc, time::Duration};

use super::{
    client::Client,
    dispatch::{on_a_node, until_it_stops},
};

#[test]
fn a_client_that_is_idle_already_is_closed_after_a_timeout_that_is_set_now() {
    on_a_node(async |server| {
        let (mut idle, mut other) = (Client::connect(server).await, Client::connect(server).await);
        assert_eq!(idle.ask(&["PING"]).await, "+PONG\r\n");
        other.ok(&["CONFIG", "SET", "timeout", "1"]).await;
        idle.closed().await;
    });
}

#[test]
fn a_limit_of_unread_replies_holds_for_those_who_came_before_it() {
    on_a_node(async |server| {
        let (mut slow, mut other) = (Client::connect(server).await, Client::connect(server).await);
        other.ok(&["SET", "key", &"v".repeat(1_000_000)]).await;
        assert_eq!(slow.ask(&["PING"]).await, "+PONG\r\n");
        other.ok(&["CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0"]).await;
        // More than the sockets of both sides hold.
        for _ in 0..50 {
            slow.send(&["GET", "key"]).await;
        }
        loop {
            let closed = other.info().await["client_output_buffer_limit_disconnections"] == "1";
            if closed {
                break;
            }
        }
        slow.closed().await;
    });
}

#[test]
fn a_slow_command_that_runs_on_the_pool_is_in_the_slow_log() {
    on_a_node(async |server| {
        let mut client = Client::connect(server).await;
        client.ok(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]).await;
        client.ok(&["SLOWLOG", "RESET"]).await;
        assert_eq!(client.ask(&["SLOWLOG", "LEN"]).await, ":1\r\n", "SLOWLOG RESET itself");
        assert_eq!(client.ask(&["KEYS", "*"]).await, "*0\r\n");
        assert_eq!(client.ask(&["SLOWLOG", "LEN"]).await, ":3\r\n", "SLOWLOG LEN and KEYS");
    });
}

#[test]
fn commands_under_way_are_answered_when_the_node_stops() {
    until_it_stops(async |server| {
        let (mut waiting, mut idle) = (Client::connect(&server).await, Client::connect(&server).await);
        let shard = Arc::clone(&server.services().shard);
        tokio::spawn(async move { shard.hold_executor(Duration::from_secs(2)).await });
        assert_eq!(idle.ask(&["PING"]).await, "+PONG\r\n");
        waiting.send(&["SET", "key", "value"]).await;
        while server.services().in_flight.used() == 0 {
            tokio::task::yield_now().await;
        }
        server.stop().await;
        assert_eq!(waiting.rest().await, "+OK\r\n");
        assert_eq!(idle.rest().await, "");
    });
}

#[test]
fn what_is_answered_already_is_sent_before_the_node_stops() {
    const REPLY_BYTES: usize = 100_000 + "$100000\r\n\r\n".len();
    until_it_stops(async |server| {
        let (mut slow, mut observer) = (Client::connect(&server).await, Client::connect(&server).await);
        observer.ok(&["SET", "key", &"v".repeat(100_000)]).await;
        let (mut asked, mut waits) = (0, false);
        while !waits {
            slow.send(&["GET", "key"]).await;
            asked += 1;
            let clients = observer.ask(&["CLIENT", "LIST"]).await;
            waits = clients.lines().any(|client| client.contains(" omem=") && !client.contains(" omem=0 "));
        }
        let (rest, ()) = tokio::join!(slow.rest(), server.stop());
        assert_eq!(rest.len() % REPLY_BYTES, 0, "a reply was cut");
        // The last command may not have been begun.
        assert!(asked <= rest.len() / REPLY_BYTES + 1, "{asked} commands, {} bytes", rest.len());
    });
}

#[test]
fn a_large_value_keeps_no_thread_that_others_need() {
    on_a_node(async |server| {
        let mut client = Client::connect(server).await;
        client.ok(&["SET", "small", &"v".repeat(100_000)]).await;
        assert_eq!(client.info().await["executor_stops_long"], "0");
        client.ok(&["SET", "large", &"v".repeat(300_000)]).await;
        assert_eq!(client.info().await["executor_stops_long"], "1");
        client.ok(&["MULTI"]).await;
        for _ in 0..3 {
            client.ask(&["SET", "large", &"v".repeat(100_000)]).await;
        }
        assert_eq!(client.ask(&["EXEC"]).await, "*3\r\n+OK\r\n+OK\r\n+OK\r\n");
        assert_eq!(client.info().await["executor_stops_long"], "2");
    });
}
