//! What a client can do wrong, by mistake or on purpose: each gets a clear error or the right result, costs the node little,
//! and leaves the others alone.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::support::Node;

/// How long an answer may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: usize = 1024 * 1024;

/// A connection that sends and expects bytes.
struct Wire(BufReader<TcpStream>);

impl Wire {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends bytes. The node may have closed already, when it has seen enough: what it said is still to be read.
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.0.get_mut().write_all(bytes.as_ref()) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                panic!("{error}")
            }
            Ok(()) | Err(_) => {}
        }
    }

    #[track_caller]
    fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let expected = bytes.as_ref();
        let mut got = vec![0; expected.len()];
        if let Err(error) = self.0.read_exact(&mut got) {
            panic!("{error} instead of {}", expected[..expected.len().min(200)].escape_ascii());
        }
        assert!(
            got == expected,
            "got {} instead of {}",
            got[..got.len().min(200)].escape_ascii(),
            expected[..expected.len().min(200)].escape_ascii()
        );
    }

    #[track_caller]
    fn ask(&mut self, request: impl AsRef<[u8]>, reply: impl AsRef<[u8]>) {
        self.send(request);
        self.expect(reply);
    }

    /// Reads a line, without its end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    #[track_caller]
    fn expect_closed(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "got {} instead of the end", rest.escape_ascii()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(&bulk(word));
    }
    bytes
}

fn bulk(word: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat()
}

#[track_caller]
fn still_serves(node: &Node) {
    Wire::connect(node.address).ask("PING\r\n", "+PONG\r\n");
}

/// The memory that this process, and the nodes in it, really have, in bytes.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn a_broken_protocol_is_told_and_ends_the_connection() {
    let node = Node::start(&[]);
    let too_long = vec![b'1'; 80_000];
    for (input, error) in [
        (&b"*abc\r\n"[..], "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*1\r\n!4\r\n", "expected '$', got '!'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$abc\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$4\r\nPINGxx", "invalid CRLF in request"),
        (b"ECHO \"a\r\n", "unbalanced quotes in request"),
        (&[b"*", &too_long[..]].concat(), "too big mbulk count string"),
        (&[b"*1\r\n$", &too_long[..]].concat(), "too big bulk count string"),
        (&too_long, "too big inline request"),
        (&b"*1\r\n".repeat(100_000), "expected '$', got '*'"),
    ] {
        let mut wire = Wire::connect(node.address);
        // What stands before it in the same packet is still done, reads that are looked up together too.
        wire.ask(
            [b"PING\r\nGET a\r\nGET b\r\n", input].concat(),
            format!("+PONG\r\n$-1\r\n$-1\r\n-ERR Protocol error: {error}\r\n"),
        );
        wire.expect_closed();
    }
    let mut wire = Wire::connect(node.address);
    wire.send("POST /kv/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wire.expect_closed();
    still_serves(&node);
}

#[test]
fn what_asks_for_nothing_is_passed_over() {
    let node = Node::start(&[]);
    let mut wire = Wire::connect(node.address);
    wire.ask("\r\n\n  \r\n*0\r\n*-1\r\nPING\n", "+PONG\r\n");
    wire.ask(
        "FOO\r\nbar 'a b'\r\n*1\r\n$0\r\n\r\n",
        [
            "-ERR unknown command 'FOO', with args beginning with: \r\n",
            "-ERR unknown command 'bar', with args beginning with: 'a b' \r\n",
            "-ERR unknown command '', with args beginning with: \r\n",
        ]
        .concat(),
    );
    wire.ask("\"a\\r\\n+OK\" x\r\n", "-ERR unknown command 'a  +OK', with args beginning with: 'x' \r\n");
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let node = Node::start(&[]);
    let mut wire = Wire::connect(node.address);
    let requests =
        [request(&[b"SET", b"k", b"a\r\nb"]), b"GET k\r\n".to_vec(), request(&[b"STRLEN", b"k"])].concat();
    for byte in requests {
        wire.send([byte]);
    }
    wire.expect("+OK\r\n$4\r\na\r\nb\r\n:4\r\n");
}

#[test]
fn a_million_arguments_are_read_in_half_a_second() {
    let node = Node::start(&[]);
    let input = [b"*1000000\r\n$4\r\nPING\r\n".to_vec(), b"$1\r\nx\r\n".repeat(999_999)].concat();
    // The best of some: other tests run beside this one.
    let best = (0..8).map(|_| {
        let mut wire = Wire::connect(node.address);
        let start = Instant::now();
        for piece in input.chunks(16 * 1024) {
            wire.send(piece);
        }
        wire.expect("-ERR wrong number of arguments for 'ping' command\r\n");
        start.elapsed()
    });
    let best = best.min().unwrap();
    assert!(best < Duration::from_millis(500), "{best:?}");
    let mut wire = Wire::connect(node.address);
    let exists = [b"*1000000\r\n$6\r\nEXISTS\r\n".to_vec(), b"$1\r\nx\r\n".repeat(999_999)].concat();
    wire.ask(exists, ":0\r\n");
}

#[test]
fn a_declared_length_costs_nothing() {
    let node = Node::start(&[("proto-max-bulk-len", "64mb"), ("maxclients", "1000")]);
    let before = resident_bytes();
    let mut wires: Vec<Wire> = (0..200).map(|_| Wire::connect(node.address)).collect();
    for wire in &mut wires {
        wire.send("*100000000\r\n$3\r\nSET\r\n$67108864\r\nabc");
        wire.send("def");
    }
    still_serves(&node);
    // 200 × 64 MiB would be 12 GiB; other tests run beside this one and take some.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 2048 * MIB, "{grown} bytes");
}

#[test]
fn half_a_command_does_nothing() {
    let node = Node::start(&[]);
    let whole = request(&[b"SET", b"half", b"value"]);
    for cut in 0..whole.len() {
        let mut wire = Wire::connect(node.address);
        wire.send(&whole[..cut]);
        wire.0.get_mut().shutdown(Shutdown::Write).unwrap();
        wire.expect_closed();
    }
    Wire::connect(node.address).ask("EXISTS half\r\n", ":0\r\n");
    // Sent whole, it is done, though nobody waits for the answer; and then the node has no client left.
    let mut wire = Wire::connect(node.address);
    wire.send(&whole);
    drop(wire);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut wire = Wire::connect(node.address);
        wire.ask("EXISTS half\r\n", ":");
        let found = wire.line() == "1";
        wire.send("CLIENT LIST\r\n");
        let length: usize = wire.line().trim_start_matches('$').parse().unwrap();
        let mut list = vec![0; length];
        wire.0.read_exact(&mut list).unwrap();
        if found && list.iter().filter(|&&byte| byte == b'\n').count() == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "{}", list.escape_ascii());
    }
}

#[test]
fn more_clients_than_the_limit_are_told_so() {
    let node = Node::start(&[("maxclients", "50")]);
    let mut wires: Vec<Wire> = (0..50).map(|_| Wire::connect(node.address)).collect();
    for wire in &mut wires {
        wire.ask("PING\r\n", "+PONG\r\n");
    }
    for _ in 0..10 {
        let mut refused = Wire::connect(node.address);
        refused.expect("-ERR max number of clients reached\r\n");
        refused.expect_closed();
    }
    for wire in &mut wires {
        wire.ask("PING\r\n", "+PONG\r\n");
    }
    drop(wires.split_off(25));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut wire = Wire::connect(node.address);
        wire.send("PING\r\n");
        if wire.line() == "+PONG" {
            break;
        }
        assert!(Instant::now() < deadline, "no place became free");
    }
}

#[test]
fn wrong_types_and_numbers_are_errors_and_change_nothing() {
    let node = Node::start(&[]);
    let mut wire = Wire::connect(node.address);
    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    const NO_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";
    wire.ask("SET s abc\r\nHSET h f v\r\nSET n 9223372036854775807\r\n", "+OK\r\n:1\r\n+OK\r\n");
    for (ask, reply) in [
        ("GET h", WRONG_TYPE),
        ("INCR h", WRONG_TYPE),
        ("HGET s f", WRONG_TYPE),
        ("HSET s f v", WRONG_TYPE),
        ("APPEND h x", WRONG_TYPE),
        ("INCR s", NO_INTEGER),
        ("INCR n", "-ERR increment or decrement would overflow\r\n"),
        ("DECRBY n -1", "-ERR increment or decrement would overflow\r\n"),
        ("INCRBY n 9223372036854775808", NO_INTEGER),
        ("INCRBY n 1.0", NO_INTEGER),
        ("INCRBY n ' 1'", NO_INTEGER),
        ("INCRBYFLOAT n nan", "-ERR value is not a valid float\r\n"),
        ("INCRBYFLOAT n abc", "-ERR value is not a valid float\r\n"),
        ("HINCRBY h f 1", "-ERR hash value is not an integer\r\n"),
        ("SETRANGE s -1 x", "-ERR offset is out of range\r\n"),
        (
            "SETRANGE s 9223372036854775807 x",
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n",
        ),
        ("SET s v EX 0", "-ERR invalid expire time in 'set' command\r\n"),
        ("SET s v EX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n"),
        ("EXPIRE s 9223372036854775807", "-ERR invalid expire time in 'expire' command\r\n"),
        ("SET s v NX XX", "-ERR syntax error\r\n"),
        ("SCAN abc", "-ERR invalid cursor\r\n"),
        ("SCAN 0 COUNT 0", "-ERR syntax error\r\n"),
        ("GETRANGE s 1 99999999999999999999", NO_INTEGER),
        ("SELECT 99", "-ERR DB index is out of range\r\n"),
        ("GET s", "$3\r\nabc\r\n"),
        ("HGETALL h", "*2\r\n$1\r\nf\r\n$1\r\nv\r\n"),
        ("GET n", "$19\r\n9223372036854775807\r\n"),
        ("TTL s", ":-1\r\n"),
    ] {
        wire.ask(format!("{ask}\r\n"), reply);
    }
}

#[test]
fn keys_and_values_may_hold_any_bytes_and_none() {
    let node = Node::start(&[]);
    let mut wire = Wire::connect(node.address);
    let all: Vec<u8> = (0..=255).collect();
    for key in [&b""[..], b"\0", b"\0\0", b"a\0b", b"\r\n", b"\xff\xfe", &all, &[b'k'; 40_000]] {
        for value in [&b""[..], b"\0", b"*1\r\n$4\r\nPING\r\n", &all] {
            wire.ask(request(&[b"SET", key, value]), "+OK\r\n");
            wire.ask(request(&[b"GET", key]), bulk(value));
            wire.ask(request(&[b"HSET", &[key, b":hash"].concat(), key, value]), ":");
            wire.line();
            wire.ask(request(&[b"HGET", &[key, b":hash"].concat(), key]), bulk(value));
        }
        wire.ask(request(&[b"DEL", key, &[key, b":hash"].concat()]), ":2\r\n");
        wire.ask(request(&[b"GET", key]), "$-1\r\n");
    }
    wire.ask("DBSIZE\r\n", ":0\r\n");
    wire.ask(request(&[b"PING\0"]), "-ERR unknown command 'PING', with args beginning with: \r\n");
}

#[test]
fn values_up_to_the_limit_are_kept_and_longer_ones_refused() {
    let node = Node::start(&[("proto-max-bulk-len", "1mb"), ("entry-bytes-max", "4mb")]);
    let mut wire = Wire::connect(node.address);
    let longest = vec![b'v'; MIB];
    wire.ask(request(&[b"SET", b"k", &longest]), "+OK\r\n");
    wire.ask("GET k\r\n", bulk(&longest));
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
    wire.ask("APPEND k x\r\n", too_long);
    wire.ask("SETRANGE k 1048576 x\r\n", too_long);
    wire.ask("STRLEN k\r\n", ":1048576\r\n");
    let mut other = Wire::connect(node.address);
    other.ask(
        request(&[b"SET", b"k", &[&longest[..], b"x"].concat()]),
        "-ERR Protocol error: invalid bulk length\r\n",
    );
    other.expect_closed();
    // One command that writes more than an entry holds: nothing of it happens.
    let words: Vec<Vec<u8>> =
        (0..5).flat_map(|key| [format!("m{key}").into_bytes(), longest.clone()]).collect();
    let words: Vec<&[u8]> = [&b"MSET"[..]].into_iter().chain(words.iter().map(Vec::as_slice)).collect();
    let too_large = "-ERR the effects of this command are larger than entry-bytes-max\r\n";
    wire.ask(request(&words), too_large);
    wire.ask("EXISTS m0 m1 m2 m3 m4\r\n", ":0\r\n");
    wire.ask(request(&words[..7]), "+OK\r\n");
    wire.ask("EXISTS m0 m1 m2 m3 m4\r\n", ":3\r\n");
    // The same as a transaction.
    wire.ask("MULTI\r\n", "+OK\r\n");
    for key in [b"t0", b"t1", b"t2", b"t3", b"t4"] {
        wire.ask(request(&[b"SET", key, &longest]), "+QUEUED\r\n");
    }
    wire.ask(
        "EXEC\r\n",
        "-EXECABORT Transaction discarded because of: its effects are larger than entry-bytes-max\r\n",
    );
    wire.ask("EXISTS t0 t1 t2 t3 t4\r\n", ":0\r\n");
}

#[test]
fn replies_up_to_the_limit_are_made_and_longer_ones_refused() {
    let node = Node::start(&[("proto-max-bulk-len", "1mb"), ("reply-bytes-max", "2mb")]);
    let mut wire = Wire::connect(node.address);
    let long = vec![b'v'; MIB / 2];
    for key in [&b"a"[..], b"b", b"c", b"d", b"e"] {
        wire.ask(request(&[b"SET", key, &long]), "+OK\r\n");
        wire.ask(request(&[b"HSET", b"hash", key, &long]), ":1\r\n");
    }
    wire.ask("MGET a b c\r\n", [&b"*3\r\n"[..], &bulk(&long), &bulk(&long), &bulk(&long)].concat());
    let too_large = "-ERR the reply to this command is larger than reply-bytes-max\r\n";
    for request in [
        "MGET a b c d e a b c d e\r\n",
        "HGETALL hash\r\n",
        "HVALS hash\r\n",
        "HMGET hash a b c d e\r\n",
        "HSCAN hash 0 COUNT 10\r\n",
        "HRANDFIELD hash 5 WITHVALUES\r\n",
        "HRANDFIELD hash -1000000 WITHVALUES\r\n",
    ] {
        wire.ask(request, too_large);
        wire.ask("PING\r\n", "+PONG\r\n");
        // Behind a write it runs in the executor.
        wire.ask(["SET w 1\r\n", request].concat(), ["+OK\r\n", too_large].concat());
    }
    // A transaction that no client may be sent the replies of has not happened.
    wire.ask("MULTI\r\nSET done 1\r\nMGET a b\r\nPING\r\nMGET c d\r\nMGET a\r\n", "+OK\r\n");
    wire.expect("+QUEUED\r\n".repeat(5));
    wire.ask(
        "EXEC\r\nEXISTS done\r\n",
        "-EXECABORT Transaction discarded because of: its replies are larger than reply-bytes-max\r\n:0\r\n",
    );
}

#[test]
fn little_is_read_before_authentication_and_everything_right_behind_it() {
    let node = Node::start(&[("requirepass", "sesame")]);
    for (input, error) in [
        (&b"*11\r\n"[..], "-ERR Protocol error: unauthenticated multibulk length\r\n"),
        (b"*2\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"),
    ] {
        let mut wire = Wire::connect(node.address);
        wire.ask(input, error);
        wire.expect_closed();
    }
    let mut wire = Wire::connect(node.address);
    wire.ask("GET k\r\n", "-NOAUTH Authentication required.\r\n");
    let value = vec![b'v'; 20_000];
    let pipeline = [&b"AUTH sesame\r\n"[..], &request(&[b"SET", b"k", &value]), b"GET k\r\n"].concat();
    wire.ask(pipeline, [b"+OK\r\n+OK\r\n", &bulk(&value)[..]].concat());
}

#[test]
fn a_client_that_does_not_read_its_replies_is_not_served_on() {
    const GETS: usize = 100;
    let node = Node::start(&[("proto-max-bulk-len", "1mb")]);
    let value = vec![b'v'; MIB];
    Wire::connect(node.address).ask(request(&[b"SET", b"k", &value]), "+OK\r\n");
    let before = resident_bytes();
    let mut wires: Vec<Wire> = (0..30).map(|_| Wire::connect(node.address)).collect();
    for wire in &mut wires {
        wire.send("GET k\r\n".repeat(GETS));
    }
    still_serves(&node);
    // 30 × 100 MiB, if all were answered; other tests run beside this one and take some.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 1024 * MIB, "{grown} bytes");
    let mut patient = wires.pop().unwrap();
    for _ in 0..GETS {
        patient.expect(bulk(&value));
    }
}

#[test]
fn a_client_whose_request_is_too_long_is_closed() {
    let node = Node::start(&[("client-query-buffer-limit", "2mb"), ("proto-max-bulk-len", "1mb")]);
    let mut wire = Wire::connect(node.address);
    let value = vec![b'v'; MIB];
    wire.ask(
        request(&[b"MSET", b"a", &value, b"b", &value]),
        "-ERR Protocol error: request longer than client-query-buffer-limit\r\n",
    );
    wire.expect_closed();
    Wire::connect(node.address).ask("EXISTS a b\r\n", ":0\r\n");
}

#[test]
fn a_whole_pipeline_may_be_sent_before_a_reply_is_read() {
    let node = Node::start(&[]);
    let mut wire = Wire::connect(node.address);
    let word = vec![b'e'; 10_000];
    let count = 1_500;
    // More than the sockets hold in both directions together, and less than client-query-buffer-limit.
    wire.send(request(&[b"ECHO", &word]).repeat(count));
    let reply = bulk(&word);
    for _ in 0..count {
        wire.expect(&reply);
    }
}

#[test]
fn many_that_sleep_and_long_writes_do_not_wait_for_each_other_for_ever() {
    let node = Node::start(&[("enable-debug-command", "yes")]);
    let keys: Vec<String> = (0..1_500).map(|number| format!("key:{number}")).collect();
    let delete: Vec<&[u8]> = std::iter::once(&b"DEL"[..]).chain(keys.iter().map(String::as_bytes)).collect();
    let mut sleepers: Vec<Wire> = (0..12).map(|_| Wire::connect(node.address)).collect();
    let mut writers: Vec<Wire> = (0..3).map(|_| Wire::connect(node.address)).collect();
    for sleeper in &mut sleepers {
        sleeper.send(request(&[b"DEBUG", b"SLEEP", b"0.01"]));
    }
    for writer in &mut writers {
        writer.send(request(&delete).repeat(10));
    }
    for writer in &mut writers {
        writer.expect(":0\r\n".repeat(10));
    }
    for sleeper in &mut sleepers {
        sleeper.expect("+OK\r\n");
    }
    still_serves(&node);
}

#[test]
fn a_killed_client_is_closed_whatever_it_has_not_read() {
    let node = Node::start(&[]);
    let mut other = Wire::connect(node.address);
    other.ask(request(&[b"SET", b"k", &vec![b'v'; 100_000]]), "+OK\r\n");
    let mut slow = Wire::connect(node.address);
    slow.send("CLIENT ID\r\n");
    let id = slow.line();
    // A write first: then the executor has all of it, and stops when too much is unsent.
    slow.send(["SET z 1\r\n", &"GET k\r\n".repeat(200)].concat());
    other.send(format!("CLIENT KILL ID {}\r\n", &id[1..]));
    other.expect(":1\r\n");
    let mut rest = Vec::new();
    let end = slow.0.read_to_end(&mut rest);
    assert!(end.is_ok_and(|bytes| bytes < 200 * 100_000), "it was served after it was killed");
    still_serves(&node);
}

#[test]
fn clients_that_do_not_read_hold_up_no_writes() {
    let node = Node::start(&[]);
    let mut writer = Wire::connect(node.address);
    let value = vec![b'v'; 1_000];
    for first in (0..5_000).step_by(500) {
        let fields: Vec<String> = (first..first + 500).map(|field| format!("field:{field}")).collect();
        let pairs = fields.iter().flat_map(|field| [field.as_bytes(), &value]);
        let words: Vec<&[u8]> = [&b"HSET"[..], b"big"].into_iter().chain(pairs).collect();
        writer.ask(request(&words), ":500\r\n");
    }
    let large = vec![b'v'; 20_000];
    let mut slow = Vec::new();
    // More than all memtables hold, while views of many moments are asked for.
    for number in 0..4_000 {
        if number % 400 == 0 {
            slow.push(Wire::connect(node.address));
            slow.last_mut().unwrap().send("HGETALL big\r\n".repeat(10));
        }
        writer.ask(request(&[b"SET", format!("key:{number}").as_bytes(), &large]), "+OK\r\n");
    }
    assert_eq!(slow.len(), 10);
}
