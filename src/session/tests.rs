//! Sessions and the registry of clients.

use super::*;

fn endpoint(port: u16) -> Endpoint {
    Endpoint { remote: format!("127.0.0.1:{port}"), local: "127.0.0.1:6379".to_owned(), fd: 8 }
}

fn client(clients: &Arc<Clients>, port: u16, now_ms: u64) -> Session {
    let config = Arc::new(Config::from_flags(&[]).unwrap());
    Session::new(clients.connect(endpoint(port), now_ms, 100).unwrap(), config)
}

#[test]
fn a_password_is_asked_for_from_those_who_come_after_it_was_set() {
    let clients = Clients::new();
    let config = Arc::new(Config::from_flags(&[]).unwrap());
    let connect = || Session::new(clients.connect(endpoint(1), 0, 100).unwrap(), Arc::clone(&config));
    let early = connect();
    config.set(&[("requirepass", "sesame")]).unwrap();
    let mut late = connect();
    assert!(early.authenticated());
    assert!(!late.authenticated() && !late.limits().authenticated);
    assert!(!late.authenticate(b"default", b"sesam"));
    assert!(!late.authenticate(b"somebody", b"sesame"));
    assert!(!late.authenticated());
    assert!(late.authenticate(b"default", b"sesame"));
    assert!(!late.authenticate(b"default", b"wrong"));
    assert!(late.authenticated() && late.limits().authenticated, "a wrong password takes nothing back");
    late.reset();
    assert!(!late.authenticated());
    config.set(&[("requirepass", "")]).unwrap();
    assert!(late.authenticated());
}

#[test]
fn a_client_is_listed_from_connect_to_drop_and_numbers_are_not_used_again() {
    let clients = Clients::new();
    let first = client(&clients, 1, 0);
    let second = client(&clients, 2, 0);
    assert_eq!((first.id(), second.id(), clients.len()), (1, 2, 2));
    drop(first);
    assert_eq!(clients.len(), 1);
    assert!(clients.get(1).is_none());
    assert_eq!(client(&clients, 3, 0).id(), 3);
}

#[test]
fn no_more_clients_than_the_limit_are_taken() {
    let clients = Clients::new();
    let _first = clients.connect(endpoint(1), 0, 1).unwrap();
    assert!(clients.connect(endpoint(2), 0, 1).is_none());
}

#[test]
fn filters_must_all_hold() {
    let clients = Clients::new();
    let old = client(&clients, 1, 0);
    let new = client(&clients, 2, 9_000);
    let ids = |filter: ClientFilter| -> Vec<u64> {
        clients.select(&filter, 10_000).iter().map(|client| client.id).collect()
    };
    let (old_id, new_id) = (old.id(), new.id());
    assert_eq!(ids(ClientFilter::default()), [old_id, new_id]);
    assert_eq!(ids(ClientFilter { age_seconds_min: Some(10), ..Default::default() }), [old_id]);
    assert_eq!(ids(ClientFilter { except: Some(old_id), ..Default::default() }), [new_id]);
    assert_eq!(ids(ClientFilter { remote: Some(b"127.0.0.1:2".to_vec()), ..Default::default() }), [new_id]);
    assert!(ids(ClientFilter { local: Some(b"127.0.0.1:2".to_vec()), ..Default::default() }).is_empty());
    assert_eq!(ids(ClientFilter { ids: Some(vec![new_id, 99]), ..Default::default() }), [new_id]);
    assert!(ids(ClientFilter { kind: Some(ClientKind::PubSub), ..Default::default() }).is_empty());
    assert!(ids(ClientFilter { user: Some(b"nobody".to_vec()), ..Default::default() }).is_empty());
    let both = ClientFilter { age_seconds_min: Some(10), except: Some(old_id), ..Default::default() };
    assert!(ids(both).is_empty());
}

#[test]
fn the_line_of_a_client_shows_what_it_has_published() {
    let clients = Clients::new();
    let mut session = client(&clients, 7, 1_000);
    session.db = 3;
    session.protocol = Protocol::Resp3;
    session.queue = Some(Queue::default());
    session.watched = 2;
    session.no_touch = true;
    session.last_command = "CLIENT|LIST";
    session.commands = 5;
    session.info().set_name("me");
    session.info().set_lib_name("lib");
    session.buffers = Buffers { query: 10, query_free: 20, received: 30, sent: 40, ..Default::default() };
    session.publish(4_500);
    let mut line = String::new();
    session.info().describe(6_000, &mut line);
    for field in [
        "id=1 ",
        "addr=127.0.0.1:7 ",
        "laddr=127.0.0.1:6379 ",
        "fd=8 ",
        "name=me ",
        "age=5 ",
        "idle=1 ",
        "flags=xT ",
        "db=3 ",
        "multi=0 ",
        "watch=2 ",
        "qbuf=10 ",
        "qbuf-free=20 ",
        "cmd=client|list ",
        "user=default ",
        "resp=3 ",
        "lib-name=lib ",
        "lib-ver= ",
        "tot-net-in=30 ",
        "tot-net-out=40 ",
        "tot-cmds=5\n",
    ] {
        assert!(line.contains(field), "{field:?} is not in {line:?}");
    }
}

#[tokio::test]
async fn a_killed_client_is_woken_even_if_it_waits_later() {
    let clients = Clients::new();
    let session = client(&clients, 1, 0);
    clients.get(1).unwrap().kill();
    session.info().woken().await;
    assert!(session.info().is_killed());
}

#[test]
fn only_a_client_that_waits_can_be_unblocked() {
    let clients = Clients::new();
    let session = client(&clients, 1, 0);
    let info = session.info();
    assert!(!info.unblock(Unblocked::Error));
    info.start_waiting();
    assert_eq!(clients.waiting(), 1);
    assert!(info.unblock(Unblocked::Timeout));
    assert!(!info.unblock(Unblocked::Error), "it is unblocked once");
    assert_eq!(info.take_unblocked(), Some(Unblocked::Timeout));
    assert_eq!(info.take_unblocked(), None);
}

#[test]
fn skip_holds_for_its_own_command_and_the_next() {
    let clients = Clients::new();
    let mut session = client(&clients, 1, 0);
    assert!(session.keeps_reply());
    session.reply_mode = ReplyMode::Skip;
    assert!(!session.keeps_reply());
    assert!(!session.keeps_reply());
    assert!(session.keeps_reply());
    session.reply_mode = ReplyMode::Off;
    assert!(!session.keeps_reply());
    assert!(!session.keeps_reply());
}

#[test]
fn skip_takes_away_the_reply_of_a_reset_too() {
    let clients = Clients::new();
    let mut session = client(&clients, 1, 0);
    for (mode, is_kept) in [(ReplyMode::Off, true), (ReplyMode::SkipNext, false), (ReplyMode::On, true)] {
        session.reply_mode = mode;
        session.reset();
        assert_eq!(session.keeps_reply(), is_kept, "{mode:?}");
        assert!(session.keeps_reply());
    }
}

#[test]
fn a_queue_counts_the_memory_of_its_commands() {
    let mut queue = Queue::default();
    queue.push(&Args::from_slices(&[b"SET", b"key", b"value"]));
    assert_eq!(queue.len(), 1);
    assert!(queue.memory_bytes() >= 11);
    assert_eq!(queue.requests()[0][2], *b"value");
    assert_eq!(queue.into_requests().len(), 1);
}
