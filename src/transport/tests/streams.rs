//! Streams between nodes that keep to the protocol.

use super::{super::Purpose, *};

#[tokio::test]
async fn messages_arrive_in_order() {
    let (one, two) = pair().await;
    for number in 0..1000 {
        assert!(one.transport.send(heartbeat(number)));
        assert!(one.transport.send(append(number, &[10, 20])));
    }
    let told = two.told(|told| told.messages.len() == 2000).await;
    let (appends, heartbeats): (Vec<_>, Vec<_>) = told.messages.into_iter().partition(is_append);
    assert_eq!(heartbeats, (0..1000).map(heartbeat).collect::<Vec<_>>());
    assert_eq!(appends, (0..1000).map(|number| append(number, &[10, 20])).collect::<Vec<_>>());
    assert_eq!(one.transport.status().links[&2].sent, 2000);
}

#[tokio::test]
async fn three_nodes_speak_both_ways() {
    let nodes = [Node::start(1).await, Node::start(2).await, Node::start(3).await];
    for node in &nodes {
        node.speak_to(&nodes.iter().collect::<Vec<_>>());
    }
    for node in &nodes {
        for other in nodes.iter().filter(|other| other.id != node.id) {
            node.connected_to(other.id).await;
            let message = Message { from: node.id, to: other.id, ..heartbeat(node.id) };
            assert!(node.transport.send(message));
        }
    }
    for node in &nodes {
        let told = node.told(|told| told.messages.len() == 2).await;
        let mut from: Vec<NodeId> = told.messages.iter().map(|message| message.from).collect();
        from.sort_unstable();
        let others: Vec<NodeId> = (1..=3).filter(|id| *id != node.id).collect();
        assert_eq!(from, others);
        assert!(told.messages.iter().all(|message| message.to == node.id));
    }
}

#[tokio::test]
async fn a_heartbeat_overtakes_a_large_entry_on_the_network() {
    let (one, two) = pair().await;
    let large = append(0, &[40 << 20]);
    // Nothing moves between these two, since there is one thread.
    assert!(one.transport.send(large.clone()));
    assert!(one.transport.send(heartbeat(1)));
    let told = two.told(|told| told.messages.len() == 2).await;
    assert_eq!(told.messages[0], heartbeat(1));
    assert!(told.messages[1] == large, "the large entry came, but not as it was sent");
}

#[tokio::test]
async fn a_peer_that_restarts_is_found_again() {
    let (one, two) = pair().await;
    let address = two.address();
    two.transport.stop().await;
    drop(two);
    one.told(|told| told.unreachable == [2]).await;
    until(|| !one.transport.send(heartbeat(1))).await;
    assert!(one.transport.status().links[&2].dropped > 0);
    let two = Node::with(2, CLUSTER, Config::default(), &address).await;
    one.connected_to(2).await;
    assert!(one.transport.send(heartbeat(2)));
    let told = two.told(|told| !told.messages.is_empty()).await;
    assert_eq!(told.messages, [heartbeat(2)], "what was dropped does not come back");
    assert_eq!(one.transport.status().links[&2].opened, 2);
}

#[tokio::test]
async fn a_peer_that_moves_is_dialled_where_it_is() {
    let (one, two) = pair().await;
    let elsewhere = Node::start(2).await;
    one.transport.connect(&members(&[(1, "ignored:1"), (2, &elsewhere.address())]));
    one.connected_to(2).await;
    assert!(one.transport.send(heartbeat(1)));
    elsewhere.told(|told| told.messages == [heartbeat(1)]).await;
    assert!(two.told.told.borrow().messages.is_empty());
}

#[tokio::test]
async fn a_peer_is_found_where_it_may_be() {
    let (one, two, three) = (Node::start(1).await, Node::start(2).await, Node::start(3).await);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    one.transport.connect(&members(&[(2, &nobody)]));
    one.refused_by(2).await;
    for wrong in ["no-such-host.invalid:1", "not an address", &three.address()] {
        one.transport.hint(2, wrong);
    }
    one.transport.hint(2, &two.address());
    one.transport.hint(4, &two.address());
    one.connected_to(2).await;
    assert_eq!(one.transport.status().links[&2].address, two.address());
    // It is where it was found, whatever is said of it.
    one.transport.hint(2, "127.0.0.1:1");
    one.transport.tunnel(2, Purpose::Request).await.expect("tunnels go where the stream goes");
    assert!(one.transport.send(heartbeat(1)));
    two.told(|told| told.messages == [heartbeat(1)]).await;
    assert!(three.told.told.borrow().messages.is_empty());
}

#[tokio::test]
async fn a_wrong_word_on_where_a_peer_is_keeps_nobody_from_it() {
    let (one, two, three) = (Node::start(1).await, Node::start(2).await, Node::start(3).await);
    let address = two.address();
    drop(two);
    one.transport.connect(&members(&[(2, &address)]));
    one.refused_by(2).await;
    for port in 1..10 {
        one.transport.hint(2, &format!("127.0.0.1:{port}"));
    }
    one.transport.hint(2, &three.address());
    let two = loop {
        // Its port may be kept for a moment.
        if let Ok(listener) = TcpListener::bind(&address).await {
            drop(listener);
            break Node::with(2, CLUSTER, Config::default(), &address).await;
        }
        tokio::task::yield_now().await;
    };
    one.connected_to(2).await;
    assert_eq!(one.transport.status().links[&2].address, two.address());
}

#[tokio::test]
async fn who_is_no_member_gets_nothing() {
    let (one, two) = pair().await;
    one.transport.connect(&members(&[(1, &one.address())]));
    assert!(!one.transport.send(heartbeat(1)));
    assert!(one.transport.status().links.is_empty());
    one.speak_to(&[&two]);
    one.connected_to(2).await;
    assert!(one.transport.send(heartbeat(2)));
    two.told(|told| told.messages == [heartbeat(2)]).await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_tried_again() {
    let one = Node::start(1).await;
    one.transport.connect(&members(&[(2, "no-such-host.invalid:1")]));
    let words = one.refused_by(2).await;
    assert!(words.contains("it cannot be reached"), "{words}");
    assert!(one.told.told.borrow().unreachable.is_empty(), "there was no stream that could break");
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused() {
    let one = Node::start(1).await;
    let two = Node::with(2, CLUSTER + 1, Config::default(), "127.0.0.1:0").await;
    one.speak_to(&[&two]);
    let words = one.refused_by(2).await;
    assert!(words.contains("belongs to cluster") && words.contains("000000c1"), "{words}");
    let status = two.transport.status();
    assert!(status.refused > 0 && status.refusals[&1].to_string().contains("belongs to cluster"));
}

#[tokio::test]
async fn a_new_node_at_an_old_address_is_refused() {
    let one = Node::start(1).await;
    let three = Node::start(3).await;
    one.transport.connect(&members(&[(2, &three.address())]));
    let words = one.refused_by(2).await;
    assert!(words.contains("means node 0000000000000002, this is node 0000000000000003"), "{words}");
    assert!(three.transport.status().refusals.contains_key(&1));
}

#[tokio::test]
async fn a_secret_lets_in_who_has_it() {
    let (one, two) = (Node::with_secret(1, "a secret").await, Node::with_secret(2, "a secret").await);
    one.speak_to(&[&two]);
    one.connected_to(2).await;
    assert!(one.transport.send(heartbeat(1)));
    two.told(|told| told.messages == [heartbeat(1)]).await;
}

#[tokio::test]
async fn a_wrong_secret_or_none_is_refused_by_both_ends() {
    let (right, wrong, none) =
        (Node::with_secret(1, "right").await, Node::with_secret(2, "wrong").await, Node::start(3).await);
    right.speak_to(&[&wrong, &none]);
    wrong.speak_to(&[&right]);
    none.speak_to(&[&right]);
    for (node, other) in [(&right, 2), (&right, 3), (&wrong, 1), (&none, 1)] {
        let words = node.refused_by(other).await;
        assert!(words.contains("it has not the same secret"), "{words}");
    }
    until(|| {
        let refusals = right.transport.status().refusals;
        refusals.contains_key(&2) && refusals.contains_key(&3)
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_comes_back_is_dialled_at_once() {
    let one = Node::start(1).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    one.transport.connect(&members(&[(2, &free)]));
    one.refused_by(2).await;
    let two = Node::with(2, CLUSTER, Config::default(), &free).await;
    two.speak_to(&[&one]);
    one.connected_to(2).await;
    two.connected_to(1).await;
}
