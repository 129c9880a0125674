//! What clients see of a cluster: three nodes in this process, with their real sockets.

use std::sync::Arc;

use sisyphusdb::cli;
use sisyphusdb::config::Config;
use sisyphusdb::server::{Server, inspect, recover_alone, verify};

use super::client::Client;
use super::nodes::on_three_nodes;

/// Waits until what `server` knows of the leader is so.
async fn leader_is(server: &Server, is_so: impl Fn(Option<u64>) -> bool) {
    let mut members = server.services().shard.core().watch_members();
    members.wait_for(|members| is_so(members.leader)).await.unwrap();
}

/// What people call a node: its entry of the peers, here.
fn name_of(server: &Server) -> String {
    server.services().topology().myself().record.name.clone()
}

/// Runs a verb of the command line against `server`.
async fn shell(server: &Server, words: &[&str]) -> Result<String, String> {
    shell_at(server.resp_addresses()[0].port(), words).await
}

/// Runs a verb of the command line against a port of a server.
async fn shell_at(port: u16, words: &[&str]) -> Result<String, String> {
    let port = port.to_string();
    let words: Vec<String> = words.iter().chain(&["--port", &port]).map(|word| (*word).to_owned()).collect();
    let said = tokio::task::spawn_blocking(move || cli::run(&words, None).expect("it is a verb"));
    said.await.unwrap().map_err(|error| error.to_string())
}

#[test]
fn a_follower_sends_clients_to_the_leader_and_answers_what_it_can() {
    on_three_nodes(&[], async |nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let (leader, follower) = (nodes.server(leader), nodes.server(follower));
        let moved = format!("-MOVED 12182 {}\r\n", leader.resp_addresses()[0]);
        let (mut at_leader, mut at_follower) =
            (Client::connect(leader).await, Client::connect(follower).await);
        at_leader.ok(&["SET", "foo", "1"]).await;
        for command in [&["SET", "foo", "2"][..], &["GET", "foo"], &["WATCH", "foo"]] {
            assert_eq!(at_follower.ask(command).await, moved, "{command:?}");
        }
        assert_eq!(at_follower.ask(&["PING"]).await, "+PONG\r\n");
        assert_eq!(at_follower.ask(&["DBSIZE"]).await, ":1\r\n");
        let read_only = "-READONLY You can't write against a read only replica.\r\n";
        assert_eq!(at_follower.ask(&["FLUSHALL"]).await, read_only);

        at_follower.ok(&["MULTI"]).await;
        assert_eq!(at_follower.ask(&["GET", "foo"]).await, moved);
        let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        assert_eq!(at_follower.ask(&["EXEC"]).await, aborted);

        at_follower.ok(&["CONFIG", "SET", "replica-reads", "linearizable"]).await;
        at_follower.ok(&["READONLY"]).await;
        at_leader.ok(&["SET", "foo", "3"]).await;
        let pipelined = at_follower.pipeline(&[&["GET", "foo"], &["GET", "foo"], &["GET", "bar"]], 19).await;
        assert_eq!(pipelined, "$1\r\n3\r\n$1\r\n3\r\n$-1\r\n");
        at_follower.ok(&["CONFIG", "SET", "replica-reads", "local"]).await;
        assert_eq!(
            at_follower.ask(&["GET", "foo"]).await,
            "$1\r\n3\r\n",
            "what was applied for the read before"
        );
        assert_eq!(at_follower.ask(&["SET", "foo", "4"]).await, moved);
        at_follower.ok(&["READWRITE"]).await;
        assert_eq!(at_follower.ask(&["GET", "foo"]).await, moved);
        nodes.stop_all().await;
    });
}

#[test]
fn all_nodes_show_the_same_cluster() {
    on_three_nodes(&[], async |nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let (leader, follower) = (nodes.server(leader), nodes.server(follower));
        let (mut at_leader, mut at_follower) =
            (Client::connect(leader).await, Client::connect(follower).await);
        at_leader.ok(&["SET", "foo", "1"]).await;
        assert_eq!(at_leader.ask(&["WAIT", "2", "60000"]).await, ":2\r\n");
        assert!(
            at_follower.ask(&["WAIT", "1", "1"]).await.starts_with("-ERR WAIT cannot be used with replica")
        );
        // As soon as all have found each other.
        let shown = async |client: &mut Client| loop {
            let lines = client.ask(&["CLUSTER", "NODES"]).await.replace("myself,", "");
            if !lines.contains(" disconnected") {
                break lines;
            }
        };
        let lines = shown(&mut at_leader).await;
        assert_eq!(lines.matches(" slave ").count(), 2, "{lines}");
        assert_eq!(lines.matches(" master ").count(), 1, "{lines}");
        assert!(lines.contains(&format!("{}@", leader.resp_addresses()[0])), "{lines}");
        assert_eq!(shown(&mut at_follower).await, lines);
        let info = at_leader.info().await;
        assert_eq!((info["role"].as_str(), info["connected_slaves"].as_str()), ("master", "2"));
        assert_eq!((info["redis_mode"].as_str(), info["cluster_enabled"].as_str()), ("cluster", "1"));
        assert!(info["slave1"].contains("state=online"), "{}", info["slave1"]);
        let info = at_follower.info().await;
        assert_eq!((info["role"].as_str(), info["master_link_status"].as_str()), ("slave", "up"));
        assert_eq!(info["master_port"], leader.resp_addresses()[0].port().to_string());
        assert_eq!(at_follower.ask(&["RAFT.TRANSFER"]).await.split(' ').next(), Some("-NOTLEADER"));
        nodes.stop_all().await;
    });
}

#[test]
fn no_command_stops_the_writes_of_others_however_large_it_is() {
    // The budget of the nodes is so small that one such entry is five times what may be in flight.
    let limits =
        [("entry-bytes-max", "32mb"), ("proto-max-bulk-len", "16mb"), ("client-query-buffer-limit", "64mb")];
    on_three_nodes(&limits, async |nodes| {
        let (leader, _) = nodes.leader_and_follower().await;
        let leader = nodes.server(leader);
        let (mut large, mut small) = (Client::connect(leader).await, Client::connect(leader).await);
        let half = "v".repeat((16 << 20) - 10);
        let number: Vec<String> = (0..1_040_000).map(|number| number.to_string()).collect();
        let tiny: Vec<&str> = std::iter::once("MSET").chain(number.iter().map(String::as_str)).collect();
        for words in [
            &["MSET", "a", &half, "b", &half][..],
            &["MSET", "a", &half, "b", &half[..half.len() - 200]],
            &tiny,
        ] {
            large.send(words).await;
            // Some of them share an entry with it, and some come behind it.
            for _ in 0..50 {
                small.ok(&["SET", "small", "1"]).await;
            }
            let reply = large.reply().await;
            assert!(reply == "+OK\r\n" || reply.starts_with("-ERR"), "{reply}");
            small.ok(&["SET", "small", "2"]).await;
        }
        assert_eq!(small.ask(&["WAIT", "2", "60000"]).await, ":2\r\n", "all have it");
        nodes.stop_all().await;
    });
}

#[test]
fn a_node_that_is_gone_is_shown_so() {
    on_three_nodes(&[], async |mut nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let mut client = Client::connect(nodes.server(leader)).await;
        let shards = async |client: &mut Client| {
            client.send(&["CLUSTER", "SHARDS"]).await;
            // Behind the reply, which is an array, stands one that is known.
            client.rest_until(&["ECHO", "the end"], "$7\r\nthe end\r\n").await
        };
        let health = |shown: &str, health: &str| shown.matches(&format!("\r\n{health}\r\n")).count();
        while health(&shards(&mut client).await, "online") < 3 {}
        let info = client.ask(&["CLUSTER", "INFO"]).await;
        let messages = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
            value.parse::<u64>().unwrap()
        };
        assert!(messages("cluster_stats_messages_sent") > 0, "{info}");
        assert!(messages("cluster_stats_messages_received") > 0, "{info}");
        nodes.stop(follower).await;
        while health(&shards(&mut client).await, "fail") != 1 {}
        let lines = client.ask(&["CLUSTER", "NODES"]).await;
        assert_eq!(lines.matches(" disconnected").count(), 1, "{lines}");
        assert_eq!(lines.matches(" connected").count(), 2, "{lines}");
        nodes.stop_all().await;
    });
}

/// Asks for a transfer until there is one: on a machine that is slow for a moment it may be given up.
async fn hand_over(mut ask: impl AsyncFnMut() -> String) {
    loop {
        match ask().await.trim_end() {
            "+OK" => return,
            given_up => assert_eq!(given_up, "-ERR no other node has taken over in time"),
        }
    }
}

#[test]
fn the_leadership_is_handed_over_on_request() {
    on_three_nodes(&[], async |nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let (leader, follower) = (nodes.server(leader), nodes.server(follower));
        let id = follower.services().node.node_id;
        let address = follower.resp_addresses()[0];
        let mut client = Client::connect(leader).await;
        let before = client.info().await;
        client.ok(&["SET", "foo", "1"]).await;
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        hand_over(async || client.ask(&["FAILOVER", "TO", &host, &port]).await).await;
        leader_is(leader, |leader| leader == Some(id)).await;
        leader_is(follower, |leader| leader == Some(id)).await;
        assert_eq!(client.ask(&["GET", "foo"]).await, format!("-MOVED 12182 {address}\r\n"));
        let after = client.info().await;
        for field in [
            "role",
            "connected_slaves",
            "raft_role",
            "raft_leader_id",
            "raft_current_term",
            "raft_leader_changes",
        ] {
            assert_ne!(before[field], after[field], "{field}");
        }
        let mut client = Client::connect(follower).await;
        assert_eq!(client.ask(&["GET", "foo"]).await, "$1\r\n1\r\n");
        let other = leader.services().node.node_id;
        let name = format!("{other:016x}");
        hand_over(async || client.ask(&["RAFT.TRANSFER", &name]).await).await;
        leader_is(follower, |leader| leader == Some(other)).await;

        // From the shell, by way of a node that does not lead.
        let name = format!("{id:016x}");
        hand_over(async || match shell(follower, &["transfer", &name]).await {
            Ok(said) => format!("+{said}"),
            Err(said) => format!("-ERR {said}"),
        })
        .await;
        leader_is(leader, |leader| leader == Some(id)).await;
        leader_is(follower, |leader| leader == Some(id)).await;
        let status = shell(leader, &["status"]).await.unwrap();
        assert!(status.contains(&format!("\nleader   {}", name_of(follower))), "{status}");
        assert!(status.contains("\nmembers  3 voters, 0 learners\n"), "{status}");
        let mut client = Client::connect(follower).await;
        assert_eq!(client.ask(&["WAIT", "2", "60000"]).await, ":2\r\n");
        let members = shell(follower, &["member", "list"]).await.unwrap();
        assert_eq!(members.matches(" voter ").count(), 3, "{members}");
        assert_eq!(members.matches(" replicate ").count(), 2, "{members}");
        let refused = shell(leader, &["member", "remove", "nobody"]).await.unwrap_err();
        assert_eq!(refused, "there is no member 'nobody'");
        nodes.stop_all().await;
    });
}

/// Changes the membership, as soon as the leader is ready and does not change it itself.
async fn change(leader: &Server, words: &[&str]) {
    while let Err(refused) = shell(leader, words).await {
        assert!(refused.ends_with("try again") || refused.contains("under way"), "{refused}");
    }
}

#[test]
fn who_means_one_of_several_members_has_to_say_which() {
    on_three_nodes(&[], async |nodes| {
        let (leader, _) = nodes.leader_and_follower().await;
        let leader = nodes.server(leader);
        // As a node that was wiped has the name and the address of the one that it was.
        let ids = ["00000000000000a1", "00000000000000a2"];
        for (id, peer) in ids.iter().zip(["127.0.0.1:8", "127.0.0.1:9"]) {
            change(leader, &["member", "add", id, peer, "twin"]).await;
        }
        for words in
            [&["member", "remove", "twin"][..], &["member", "replace", ids[0], "twin"], &["transfer", "twin"]]
        {
            let refused = shell(leader, words).await.unwrap_err();
            assert_eq!(
                refused,
                format!("several members are called 'twin', give the id: {}", ids.join(", "))
            );
        }
        change(leader, &["member", "remove", ids[0]]).await;
        change(leader, &["member", "remove", "twin"]).await;
        nodes.stop_all().await;
    });
}

#[test]
fn the_shell_finds_out_what_ended_its_connection() {
    on_three_nodes(&[], async |nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let (leader, follower) = (nodes.server(leader), nodes.server(follower));
        let id = format!("{:016x}", follower.services().node.node_id);
        // Sessions of `proxy-port` end with the leadership.
        let proxy_port = leader.resp_addresses()[1].port();
        hand_over(async || match shell_at(proxy_port, &["transfer", &id]).await {
            Ok(said) => format!("+{said}"),
            Err(said) if said == "that node leads already" => "+OK".to_owned(),
            Err(said) => format!("-ERR {said}"),
        })
        .await;
        // The one that leads now cannot say any more that it was removed.
        change(leader, &["member", "remove", &id]).await;
        let members = shell(leader, &["member", "list"]).await.unwrap();
        assert!(!members.contains(&id), "{members}");
        nodes.stop_all().await;
    });
}

#[test]
fn a_node_that_is_left_alone_says_so() {
    on_three_nodes(&[], async |mut nodes| {
        let (leader, alone) = nodes.leader_and_follower().await;
        let other = (0..3).find(|at| ![leader, alone].contains(at)).unwrap();
        let mut client = Client::connect(nodes.server(alone)).await;
        client.ok(&["READONLY"]).await;
        // Who has read once may read what it has applied.
        client.ok(&["CONFIG", "SET", "replica-reads", "linearizable"]).await;
        assert_eq!(client.ask(&["GET", "foo"]).await, "$-1\r\n");
        client.ok(&["CONFIG", "SET", "replica-reads", "local"]).await;
        nodes.stop(leader).await;
        nodes.stop(other).await;
        nodes.does_not_lead(alone).await;
        let down = "-CLUSTERDOWN The cluster is down\r\n";
        assert_eq!(client.ask(&["SET", "foo", "1"]).await, down);
        assert_eq!(client.ask(&["GET", "foo"]).await, "$-1\r\n");
        client.ok(&["READWRITE"]).await;
        for command in [&["GET", "foo"][..], &["DBSIZE"], &["FLUSHALL"]] {
            assert_eq!(client.ask(command).await, down, "{command:?}");
        }
        assert!(client.ask(&["CLUSTER", "INFO"]).await.contains("cluster_state:fail"));
        drop(client);
        nodes.stop_all().await;
    });
}

#[test]
fn one_survivor_can_be_made_a_cluster_of_its_own() {
    on_three_nodes(&[], async |nodes| {
        let (at, _) = nodes.leader_and_follower().await;
        let node = &nodes.server(at).services().node;
        let (node_id, old_cluster) = (node.node_id, node.cluster_id);
        let mut client = Client::connect(nodes.server(at)).await;
        client.ok(&["SET", "foo", "1"]).await;
        drop(client);
        let directory = nodes.stop_all().await;
        let dir = directory.path().join(at.to_string());
        let flags = [("port", "auto"), ("http-port", "auto"), ("memory-budget", "64mb")];
        let flags = [&flags[..], &[("dir", dir.to_str().unwrap())]].concat();
        let alone = Config::from_flags(&flags).unwrap();
        let before = inspect(&alone).unwrap().to_string();
        assert_eq!(before.matches("\nvoter ").count(), 3, "{before}");
        assert!(
            before.contains(&format!("node     {node_id:016x}\ncluster  {old_cluster:032x}\n")),
            "{before}"
        );
        let after = recover_alone(&alone).unwrap().to_string();
        assert_eq!(after, inspect(&alone).unwrap().to_string());
        assert_eq!(after.matches("\nvoter ").count(), 1, "{after}");
        assert!(!after.contains(&format!("{old_cluster:032x}")), "{after}");
        verify(&alone).unwrap();

        let server = Server::start(Arc::new(alone)).await.unwrap();
        let mut client = Client::connect(&server).await;
        assert_eq!(client.ask(&["GET", "foo"]).await, "$1\r\n1\r\n");
        client.ok(&["SET", "foo", "2"]).await;
        assert_eq!(client.info().await["raft_voters"], "1");
        drop(client);
        server.stop().await;
    });
}
