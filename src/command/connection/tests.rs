//! Every reply of the group, as the reference servers give it.

use std::sync::Arc;

use crate::command::{Handler, Latency, NodeContext, Slowlog, names, resolve};
use crate::config::Config;
use crate::metrics::status::RaftStatus;
use crate::metrics::{NodeStatus, Stats};
use crate::resp::{Args, Outbox, ReplyWriter};
use crate::session::{Clients, Endpoint, Session};

/// A node without data, and the clients on it.
struct Node {
    clients: Arc<Clients>,
    config: Arc<Config>,
    slowlog: Slowlog,
    now_ms: u64,
}

impl Node {
    fn new(password: &str) -> Self {
        let flags: &[_] = if password.is_empty() { &[] } else { &[("requirepass", password)] };
        Self {
            clients: Clients::new(),
            config: Arc::new(Config::from_flags(flags).unwrap()),
            slowlog: Slowlog::default(),
            now_ms: 1_000_000,
        }
    }

    fn connect(&self, port: u16) -> Session {
        let endpoint =
            Endpoint { remote: format!("127.0.0.1:{port}"), local: "127.0.0.1:6379".to_owned(), fd: 9 };
        Session::new(self.clients.connect(endpoint, self.now_ms, 100).unwrap(), Arc::clone(&self.config))
    }

    /// Runs one command as dispatch does; `|` in the answer stands for CR LF.
    fn run(&self, session: &mut Session, words: &str) -> String {
        let words: Vec<&[u8]> =
            words.split(' ').map(|word| if word == "''" { &b""[..] } else { word.as_bytes() }).collect();
        let args = Args::from_slices(&words);
        let mut out = Outbox::new();
        let mut reply = ReplyWriter::new(&mut out, session.protocol);
        let mark = reply.mark();
        let result = resolve(&args).map_err(Into::into).and_then(|command| {
            session.last_command = command.name;
            match command.handler {
                Handler::Session(run) => run(session, &args, &mut reply),
                Handler::Node(run) => {
                    let mut context = NodeContext {
                        session,
                        clients: &self.clients,
                        config: &self.config,
                        stats: &Stats::new(names()),
                        status: Some(&NodeStatus::default()),
                        raft: &RaftStatus::default,
                        topology: &|| unreachable!("not looked at by this group"),
                        peers: &|| unreachable!("not looked at by this group"),
                        slowlog: &self.slowlog,
                        latency: &Latency::default(),
                        now_micros: self.now_ms * 1000,
                    };
                    run(&mut context, &args, &mut reply).map(|ask| assert_eq!(ask, None))
                }
                Handler::Write(_) | Handler::Read(_) | Handler::Transaction(_) => {
                    unreachable!("not of this group")
                }
            }
        });
        if let Err(error) = result {
            reply.truncate(mark);
            reply.error(error.to_string());
        }
        if !session.keeps_reply() {
            reply.truncate(mark);
        }
        String::from_utf8_lossy(out.tail()).replace("\r\n", "|")
    }

    /// Runs commands on a new connection, and compares each answer.
    fn check(&self, script: &[(&str, &str)]) {
        let mut session = self.connect(1);
        for (words, expected) in script {
            assert_eq!(self.run(&mut session, words), *expected, "{words}");
        }
    }
}

const HELLO_NOAUTH: &str = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                            <proto> AUTH <user> <pass> option can be used to authenticate the client and select the \
                            RESP protocol version at the same time|";
const WRONG_PASSWORD: &str = "-WRONGPASS invalid username-password pair or user is disabled.|";
const NAME_ERROR: &str = "-ERR Client names cannot contain spaces, newlines or special characters.|";

#[test]
fn ping_echo_select_and_quit_answer_as_redis() {
    let node = Node::new("");
    node.check(&[
        ("PING", "+PONG|"),
        ("ping hi", "$2|hi|"),
        ("PING ''", "$0||"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command|"),
        ("ECHO hi", "$2|hi|"),
        ("ECHO", "-ERR wrong number of arguments for 'echo' command|"),
        ("ECHO a b", "-ERR wrong number of arguments for 'echo' command|"),
        ("SELECT 15", "+OK|"),
        ("SELECT 16", "-ERR DB index is out of range|"),
        ("SELECT -1", "-ERR DB index is out of range|"),
        ("SELECT abc", "-ERR value is not an integer or out of range|"),
        ("SELECT 99999999999", "-ERR value is out of range, value must between -2147483648 and 2147483647|"),
        ("SELECT 99999999999999999999", "-ERR value is not an integer or out of range|"),
    ]);
    let mut session = node.connect(1);
    node.run(&mut session, "SELECT 15");
    node.run(&mut session, "SELECT 16");
    assert_eq!(session.db, 15);
    assert_eq!(node.run(&mut session, "QUIT now"), "+OK|");
    assert!(session.closing);
}

#[test]
fn without_a_password_only_the_default_user_can_authenticate() {
    Node::new("").check(&[
        (
            "AUTH x",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?|",
        ),
        ("AUTH default x", "+OK|"),
        ("AUTH nobody x", WRONG_PASSWORD),
        ("AUTH a b c", "-ERR syntax error|"),
        ("AUTH", "-ERR wrong number of arguments for 'auth' command|"),
    ]);
}

#[test]
fn a_password_is_checked_by_auth_and_hello() {
    let node = Node::new("sesame");
    node.check(&[
        ("AUTH x", WRONG_PASSWORD),
        ("AUTH default x", WRONG_PASSWORD),
        ("AUTH nobody sesame", WRONG_PASSWORD),
        ("HELLO", HELLO_NOAUTH),
        ("HELLO 3 SETNAME a", HELLO_NOAUTH),
        ("HELLO abc", "-ERR Protocol version is not an integer or out of range|"),
        ("HELLO 5", "-NOPROTO unsupported protocol version|"),
        ("HELLO 3 AUTH default nope", WRONG_PASSWORD),
        ("AUTH sesame", "+OK|"),
        ("AUTH nope", WRONG_PASSWORD),
        ("CLIENT GETNAME", "$-1|"),
    ]);
    let mut session = node.connect(1);
    assert!(!session.authenticated());
    assert!(node.run(&mut session, "HELLO 3 AUTH default sesame").starts_with("%7|"));
    assert!(session.authenticated());
    assert_eq!(node.run(&mut session, "RESET"), "+RESET|");
    assert!(!session.authenticated());
    node.run(&mut session, "HELLO 3 AUTH default sesame SETNAME a\u{1}b");
    assert!(!session.authenticated(), "an option is wrong, so nothing is done");
}

#[test]
fn hello_switches_the_protocol_and_says_who_answers() {
    let map = |head: &str, proto: u8| {
        format!(
            "{head}|$6|server|$5|redis|$7|version|$5|7.2.4|$5|proto|:{proto}|$2|id|:1|$4|mode|$10|standalone|$4|role|\
             $6|master|$7|modules|*0|"
        )
    };
    Node::new("").check(&[
        ("HELLO", &map("*14", 2)),
        ("HELLO 3", &map("%7", 3)),
        ("CLIENT GETNAME", "_|"),
        ("HELLO", &map("%7", 3)),
        ("hello 2 setname abc auth default x", &map("*14", 2)),
        ("CLIENT GETNAME", "$3|abc|"),
        ("HELLO 1", "-NOPROTO unsupported protocol version|"),
        ("HELLO 4", "-NOPROTO unsupported protocol version|"),
        ("HELLO 9223372036854775808", "-ERR Protocol version is not an integer or out of range|"),
        ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'|"),
        ("HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'|"),
        ("HELLO 3 AUTH a", "-ERR Syntax error in HELLO option 'AUTH'|"),
        ("HELLO 3 SETNAME a\tb", NAME_ERROR),
        ("HELLO 3 SETNAME other AUTH nobody x", WRONG_PASSWORD),
        ("CLIENT GETNAME", "$3|abc|"),
    ]);
}

#[test]
fn reset_takes_back_what_the_client_has_chosen() {
    let node = Node::new("");
    let mut session = node.connect(1);
    for words in ["SELECT 3", "CLIENT SETNAME me", "HELLO 3", "CLIENT NO-TOUCH ON", "CLIENT NO-EVICT on"] {
        node.run(&mut session, words);
    }
    session.queue = Some(crate::session::Queue::default());
    assert!(session.no_touch && session.no_evict);
    assert_eq!(node.run(&mut session, "RESET"), "+RESET|");
    assert_eq!((session.db, session.protocol as u8), (0, 2));
    assert!(!session.no_touch && !session.no_evict && session.queue.is_none());
    assert_eq!(node.run(&mut session, "CLIENT GETNAME"), "$-1|");
}

#[test]
fn a_client_tells_about_itself() {
    Node::new("").check(&[
        ("CLIENT ID", ":1|"),
        ("CLIENT SETNAME abc", "+OK|"),
        ("CLIENT GETNAME", "$3|abc|"),
        ("CLIENT SETNAME ''", "+OK|"),
        ("CLIENT GETNAME", "$-1|"),
        ("CLIENT SETNAME a\nb", NAME_ERROR),
        ("CLIENT SETNAME \u{e9}", NAME_ERROR),
        ("CLIENT SETINFO LIB-NAME lib", "+OK|"),
        ("CLIENT SETINFO lib-ver ''", "+OK|"),
        ("CLIENT SETINFO foo bar", "-ERR Unrecognized option 'foo'|"),
        (
            "CLIENT SETINFO lib-name a\tb",
            "-ERR lib-name cannot contain spaces, newlines or special characters.|",
        ),
        ("CLIENT NO-EVICT foo", "-ERR syntax error|"),
        ("CLIENT NO-TOUCH foo", "-ERR syntax error|"),
        ("CLIENT GETREDIR", ":-1|"),
        ("CLIENT TRACKINGINFO", "*6|$5|flags|*1|$3|off|$8|redirect|:-1|$8|prefixes|*0|"),
        ("CLIENT", "-ERR wrong number of arguments for 'client' command|"),
        ("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.|"),
        ("CLIENT ID foo", "-ERR wrong number of arguments for 'client|id' command|"),
        ("CLIENT MAINT_NOTIFICATIONS ON", "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.|"),
    ]);
    let help = Node::new("");
    let text = help.run(&mut help.connect(1), "CLIENT HELP");
    assert!(text.contains("+SETNAME connection-name|+    Names the connection.|"), "{text}");
}

#[test]
fn replies_can_be_switched_off_and_skipped() {
    Node::new("").check(&[
        ("CLIENT REPLY foo", "-ERR syntax error|"),
        ("CLIENT REPLY ON", "+OK|"),
        ("CLIENT REPLY SKIP", ""),
        ("PING", ""),
        ("PING", "+PONG|"),
        ("CLIENT REPLY SKIP", ""),
        ("CLIENT REPLY SKIP", ""),
        ("FOO", ""),
        ("PING", "+PONG|"),
        ("CLIENT REPLY SKIP", ""),
        ("CLIENT REPLY ON", "+OK|"),
        ("CLIENT REPLY OFF", ""),
        ("CLIENT REPLY SKIP", ""),
        ("PING", ""),
        ("PING", ""),
        ("CLIENT REPLY ON", "+OK|"),
        ("PING", "+PONG|"),
    ]);
}

#[test]
fn wrong_conditions_of_list_and_kill_are_worded_as_in_valkey() {
    let node = Node::new("");
    for (words, expected) in [
        ("ID abc", "-ERR syntax error|"),
        ("ID 0", "-ERR client-id should be greater than 0|"),
        ("ID -1", "-ERR client-id should be greater than 0|"),
        ("TYPE foo", "-ERR Unknown client type 'foo'|"),
        ("TYPE normal SKIPME foo", "-ERR syntax error|"),
        ("USER nobody", "-ERR No such user 'nobody'|"),
        ("FOO bar", "-ERR syntax error|"),
        ("ID 1 FOO", "-ERR syntax error|"),
        ("MAXAGE 0", "-ERR maxage should be greater than 0|"),
        ("MAXAGE abc", "-ERR maxage is not an integer or out of range|"),
    ] {
        node.check(&[
            (&format!("CLIENT KILL {words}"), expected),
            (&format!("CLIENT LIST {words}"), expected),
        ]);
    }
    node.check(&[("CLIENT LIST ID", "-ERR syntax error|"), ("CLIENT LIST FOO", "-ERR syntax error|")]);
}

#[test]
fn clients_are_listed_by_condition() {
    let mut node = Node::new("");
    let mut first = node.connect(1001);
    node.now_ms += 5_000;
    let mut second = node.connect(1002);
    let ids = |session: &mut Session, words: &str| -> Vec<String> {
        let text = node.run(session, words);
        let lines = text.lines().map(|line| line.trim_start_matches(|byte: char| byte != 'i'));
        lines.filter_map(|line| Some(line.strip_prefix("id=")?.split(' ').next()?.to_owned())).collect()
    };
    assert_eq!(ids(&mut first, "CLIENT LIST"), ["1", "2"]);
    assert_eq!(ids(&mut first, "CLIENT LIST ID 2 7"), ["2"]);
    assert_eq!(ids(&mut first, "CLIENT LIST SKIPME yes"), ["2"]);
    assert_eq!(ids(&mut second, "CLIENT LIST MAXAGE 5"), ["1"]);
    assert_eq!(ids(&mut second, "CLIENT LIST ADDR 127.0.0.1:1002"), ["2"]);
    assert_eq!(ids(&mut second, "CLIENT LIST LADDR 127.0.0.1:6379 TYPE NORMAL USER default"), ["1", "2"]);
    assert_eq!(ids(&mut second, "CLIENT LIST TYPE pubsub"), Vec::<String>::new());
    assert_eq!(ids(&mut second, "CLIENT INFO"), ["2"]);
    let text = node.run(&mut first, "CLIENT INFO");
    assert!(text.contains(" age=5 idle=0 ") && text.contains(" cmd=client|info "), "{text}");
    node.run(&mut first, "HELLO 3");
    assert!(node.run(&mut first, "CLIENT INFO").contains("txt:id=1 "));
}

#[test]
fn clients_are_killed_by_condition_and_may_kill_themselves() {
    let node = Node::new("");
    let (mut first, mut second, third) = (node.connect(1001), node.connect(1002), node.connect(1003));
    assert_eq!(node.run(&mut first, "CLIENT KILL 1.2.3.4:5"), "-ERR No such client|");
    assert_eq!(node.run(&mut first, "CLIENT KILL ID 99 98"), ":0|");
    assert_eq!(node.run(&mut first, "CLIENT KILL TYPE replica"), ":0|");
    assert_eq!(node.run(&mut first, "CLIENT KILL 127.0.0.1:1003"), "+OK|");
    assert!(third.info().is_killed() && !second.info().is_killed());
    assert_eq!(node.run(&mut first, "CLIENT KILL ID 1 2"), ":1|");
    assert!(second.info().is_killed() && !first.closing);
    assert_eq!(node.run(&mut second, "CLIENT KILL TYPE normal SKIPME no"), ":3|");
    assert!(second.closing && first.info().is_killed());
    assert_eq!(node.run(&mut first, "CLIENT KILL 127.0.0.1:1001"), "+OK|");
    assert!(first.closing);
}

#[test]
fn only_a_client_that_waits_is_unblocked() {
    let node = Node::new("");
    let (mut first, second) = (node.connect(1), node.connect(2));
    for (words, expected) in [
        ("CLIENT UNBLOCK abc", "-ERR value is not an integer or out of range|"),
        ("CLIENT UNBLOCK 999", ":0|"),
        ("CLIENT UNBLOCK 2 FOO", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR|"),
        ("CLIENT UNBLOCK 2 ERROR", ":0|"),
    ] {
        assert_eq!(node.run(&mut first, words), expected, "{words}");
    }
    second.info().start_waiting();
    assert_eq!(node.run(&mut first, "CLIENT UNBLOCK 2 ERROR"), ":1|");
    assert_eq!(second.info().take_unblocked(), Some(crate::session::Unblocked::Error));
}
