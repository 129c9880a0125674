//! `proxy-port`: clients that know nothing of a cluster.

use std::{sync::Arc, time::Duration};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{client::encode, nodes::on_three_nodes};

#[test]
fn every_node_serves_the_whole_session_of_a_plain_client() {
    on_three_nodes(&[], async |nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let mut writer = nodes.proxied(follower).await;
        let mut reader = nodes.proxied(leader).await;
        writer.ok(&["SET", "key", "1"]).await;
        assert_eq!(reader.ask(&["GET", "key"]).await, "$1\r\n1\r\n");
        assert_eq!(writer.ask(&["GET", "key"]).await, "$1\r\n1\r\n");
        // What a session has chosen lives where it is served.
        writer.ok(&["SELECT", "3"]).await;
        assert_eq!(writer.ask(&["GET", "key"]).await, "$-1\r\n");
        writer.ok(&["WATCH", "other"]).await;
        writer.ok(&["MULTI"]).await;
        assert_eq!(writer.ask(&["SET", "other", "2"]).await, "+QUEUED\r\n");
        reader.ok(&["SELECT", "3"]).await;
        reader.ok(&["SET", "other", "1"]).await;
        assert_eq!(writer.ask(&["EXEC"]).await, "*-1\r\n");
        let replies = writer.pipeline(&[&["SET", "a", "x"], &["GET", "a"], &["DEL", "a"]], 16).await;
        assert_eq!(replies, "+OK\r\n$1\r\nx\r\n:1\r\n");
    });
}

#[test]
fn the_leader_shows_the_address_of_the_client() {
    on_three_nodes(&[("enable-debug-command", "local")], async |nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let mut client = nodes.proxied(follower).await;
        let ends = [client.0.local_addr().unwrap(), client.0.peer_addr().unwrap()];
        let shown = client.ask(&["CLIENT", "INFO"]).await;
        assert!(shown.contains(&format!(" addr={} laddr={} fd=-1 ", ends[0], ends[1])), "{shown}");
        // 127.0.0.1 of another node is not here.
        let refused = client.ask(&["DEBUG", "SLEEP", "0"]).await;
        assert!(refused.starts_with("-ERR DEBUG command not allowed"), "{refused}");
        // Both nodes know it, and each can send it away.
        assert_eq!(nodes.server(leader).services().clients.len(), 1);
        let clients = nodes.server(follower).services().clients.all();
        assert_eq!(clients.len(), 1);
        clients[0].kill();
        client.closed().await;
        let mut client = nodes.proxied(follower).await;
        client.ok(&["SET", "key", "1"]).await;
        nodes.server(leader).services().clients.all().iter().for_each(|client| client.kill());
        client.closed().await;
    });
}

#[test]
fn a_tunnel_is_no_way_around_the_password() {
    on_three_nodes(&[("requirepass", "secret")], async |nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        for at in [leader, follower] {
            let mut client = nodes.proxied(at).await;
            assert_eq!(client.ask(&["GET", "key"]).await, "-NOAUTH Authentication required.\r\n");
            assert!(client.ask(&["AUTH", "wrong"]).await.starts_with("-WRONGPASS"));
            client.ok(&["AUTH", "secret"]).await;
            client.ok(&["SET", "key", "1"]).await;
        }
    });
}

#[test]
fn large_values_and_long_pipelines_pass() {
    on_three_nodes(&[("proto-max-bulk-len", "8mb")], async |nodes| {
        let (_, follower) = nodes.leader_and_follower().await;
        let mut client = nodes.proxied(follower).await;
        let large = "v".repeat(5_000_000);
        client.ok(&["SET", "large", &large]).await;
        assert!(client.ask(&["GET", "large"]).await == format!("$5000000\r\n{large}\r\n"));
        let commands: Vec<[&str; 2]> = (0..20_000).map(|_| ["INCR", "counter"]).collect();
        let commands: Vec<&[&str]> = commands.iter().map(|words| &words[..]).collect();
        let bytes = (1..=20_000).map(|number: u32| format!(":{number}\r\n").len()).sum();
        let replies = client.pipeline(&commands, bytes).await;
        assert!(replies.ends_with(":20000\r\n"));
        client.ok(&["QUIT"]).await;
        client.closed().await;
    });
}

#[test]
fn a_client_that_does_not_read_is_not_buffered_for_without_bound() {
    on_three_nodes(&[("client-output-buffer-limit", "normal 4mb 0 0")], async |nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let mut slow = nodes.proxied(follower).await;
        let mut other = nodes.proxied(follower).await;
        other.ok(&["SET", "key", &"v".repeat(1_000_000)]).await;
        for _ in 0..100 {
            slow.send(&["GET", "key"]).await;
        }
        // The leader stops at what it may keep for one client; others are served meanwhile.
        let held =
            || nodes.server(leader).services().clients.all().iter().map(|c| c.activity().buffers.reply).max();
        while held() == Some(0) {
            other.ok(&["SET", "other", "1"]).await;
        }
        for _ in 0..100 {
            other.ok(&["SET", "other", "1"]).await;
        }
        assert!(held() <= Some(4_000_000), "{:?} bytes", held());
        for _ in 0..100 {
            assert_eq!(slow.reply_of_bytes(1_000_012).await, b'$');
        }
    });
}

#[test]
fn clients_are_closed_when_the_leader_changes_and_find_the_next_one() {
    on_three_nodes(&[], async |mut nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let other = (0..3).find(|at| ![leader, follower].contains(at)).unwrap();
        let mut idle = Vec::new();
        for at in [leader, follower, other] {
            let mut client = nodes.proxied(at).await;
            client.ok(&["SET", "key", &at.to_string()]).await;
            idle.push(client);
        }
        nodes.stop(leader).await;
        for client in idle {
            client.closed().await;
        }
        // Those who come while nobody leads wait for the next leader.
        let mut clients = [nodes.proxied(follower).await, nodes.proxied(other).await];
        for client in &mut clients {
            client.ok(&["SET", "key", "new"]).await;
            assert_eq!(client.ask(&["GET", "key"]).await, "$3\r\nnew\r\n");
        }
    });
}

#[test]
fn without_a_majority_a_client_is_told_that_there_is_no_leader() {
    on_three_nodes(&[], async |mut nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let other = (0..3).find(|at| ![leader, follower].contains(at)).unwrap();
        nodes.stop(leader).await;
        nodes.stop(follower).await;
        nodes.does_not_lead(other).await;
        let mut client = nodes.proxied(other).await;
        let told = client.ask(&["GET", "key"]).await;
        assert!(told.starts_with("-CLUSTERDOWN "), "{told}");
        client.closed().await;
    });
}

#[test]
fn commands_under_way_are_answered_when_the_node_they_came_to_stops() {
    on_three_nodes(&[], async |mut nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let (mut waiting, mut idle) = (nodes.proxied(follower).await, nodes.proxied(follower).await);
        assert_eq!(idle.ask(&["PING"]).await, "+PONG\r\n");
        let services = Arc::clone(nodes.server(leader).services());
        let shard = Arc::clone(&services.shard);
        tokio::spawn(async move { shard.hold_executor(Duration::from_secs(2)).await });
        waiting.send(&["SET", "key", "value"]).await;
        while services.in_flight.used() == 0 {
            tokio::task::yield_now().await;
        }
        nodes.stop(follower).await;
        assert_eq!(waiting.rest().await, "+OK\r\n");
        assert_eq!(idle.rest().await, "");
        nodes.stop_all().await;
    });
}

#[test]
fn a_plain_client_hears_nothing_of_a_handover() {
    on_three_nodes(&[], async |mut nodes| {
        let (leader, _) = nodes.leader_and_follower().await;
        let services = Arc::clone(nodes.server(leader).services());
        let commands: [&[&str]; 4] = [&["SET", "key", "value"], &["GET", "key"], &["DBSIZE"], &["FLUSHALL"]];
        let mut working = tokio::task::JoinSet::new();
        for words in commands.into_iter().cycle().take(16) {
            let mut client = nodes.proxied(leader).await;
            let request = encode(words);
            working.spawn(async move {
                let mut heard = String::new();
                loop {
                    let mut piece = [0; 512];
                    let sent = client.0.write_all(request.repeat(4).as_bytes()).await;
                    match client.0.read(&mut piece).await {
                        Ok(read) if sent.is_ok() && read > 0 => {
                            heard = String::from_utf8_lossy(&piece[..read]).into_owned();
                        }
                        _ => return heard,
                    }
                    for told in ["MOVED", "CLUSTERDOWN", "READONLY"] {
                        assert!(!heard.contains(told), "{words:?}: {heard}");
                    }
                }
            });
        }
        // All are at work.
        while services.clients.all().iter().any(|client| client.activity().commands < 8) {
            tokio::task::yield_now().await;
        }
        nodes.stop(leader).await;
        while let Some(heard) = working.join_next().await {
            assert!(!heard.unwrap().is_empty(), "it was answered until then");
        }
    });
}
