//! HTTP on every node of a cluster: the leader answers, whoever is asked.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::nodes::{Nodes, on_three_nodes};

/// Sends a request to a node, and returns the status, the headers and the body.
async fn ask(nodes: &Nodes, at: usize, request: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(nodes.server(at).http_addresses()[0]).await.unwrap();
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

async fn get(nodes: &Nodes, at: usize, path: &str) -> (u16, String) {
    let (status, _, body) = ask(nodes, at, &format!("GET {path}"), "").await;
    (status, body)
}

#[test]
fn every_node_takes_every_request_and_reads_what_was_written() {
    on_three_nodes(&[("proto-max-bulk-len", "8mb")], async |nodes| {
        nodes.leader_and_follower().await;
        for writer in 0..3 {
            let written = get(&nodes, writer, &format!("/put?key=k&val={writer}")).await;
            assert_eq!(written, (200, "Success".to_owned()));
            for reader in 0..3 {
                assert_eq!(get(&nodes, reader, "/get?key=k").await, (200, writer.to_string()));
            }
        }
        let large = "v".repeat(5_000_000);
        for at in 0..3 {
            assert_eq!(ask(&nodes, at, "PUT /kv/large", &large).await.0, 200);
            assert!(get(&nodes, at, "/kv/large").await == (200, large.clone()));
            assert_eq!(get(&nodes, at, "/delete?key=large").await.0, 200);
            assert_eq!(get(&nodes, at, "/get?key=large").await.0, 404);
            assert_eq!(get(&nodes, at, "/put?key=k&val=v&ttl=0").await.0, 400);
        }
    });
}

#[test]
fn every_node_is_ready_and_tells_of_its_peers() {
    on_three_nodes(&[], async |nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        for at in 0..3 {
            assert_eq!(get(&nodes, at, "/readyz").await, (200, "ok".to_owned()), "node {at}");
        }
        assert_eq!(get(&nodes, follower, "/put?key=k&val=1").await.0, 200);
        let value = |text: &str, name: &str| -> u64 {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        let (_, leading) = get(&nodes, leader, "/metrics").await;
        let (_, following) = get(&nodes, follower, "/metrics").await;
        assert_eq!(value(&leading, "sisyphus_peer_connected{"), 2, "{leading}");
        assert_eq!(value(&following, "sisyphus_tunnels_opened_total "), 1, "{following}");
        assert_eq!(value(&leading, "sisyphus_tunnels_served_total "), 1, "{leading}");
        let sent = value(&following, "sisyphus_tunnel_sent_bytes_total ");
        assert_eq!(sent, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n1\r\n".len() as u64);
        assert_eq!(value(&leading, "sisyphus_tunnel_received_bytes_total "), sent);
    });
}

#[test]
fn requests_wait_for_an_election_and_not_for_ever() {
    on_three_nodes(&[], async |mut nodes| {
        let (leader, follower) = nodes.leader_and_follower().await;
        let other = (0..3).find(|at| ![leader, follower].contains(at)).unwrap();
        assert_eq!(get(&nodes, follower, "/put?key=k&val=1").await.0, 200);
        nodes.stop(leader).await;
        let (read, written) =
            tokio::join!(get(&nodes, follower, "/get?key=k"), get(&nodes, other, "/put?key=l&val=2"));
        assert_eq!((read, written.0), ((200, "1".to_owned()), 200));
        nodes.stop(follower).await;
        nodes.does_not_lead(other).await;
        for request in ["GET /get?key=k", "PUT /kv/k"] {
            let (status, head, _) = ask(&nodes, other, request, "").await;
            assert_eq!(status, 503, "{head}");
            assert!(head.contains("\r\nretry-after: 1"), "{head}");
        }
    });
}
