//! What the settings of a running node do to connections that are there already.

use super::{client::Client, dispatch::on_a_node};

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
