//! Requests and replies as bytes: what Redis answers to each, however the bytes are cut.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::number::parse_integer;

/// What a stream of bytes comes to: the requests, then the error reply that ends it, if any. `Some(None)` is an end
/// without a reply.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    requests: Vec<Args>,
    end: Option<Option<String>>,
}

/// Feeds `input` in pieces that end at `cuts`.
fn decode(input: &[u8], cuts: &[usize], limits: Limits) -> Outcome {
    let mut codec = RequestCodec::new(limits);
    let mut buffer = BytesMut::new();
    let mut requests = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([input.len()]) {
        buffer.extend_from_slice(&input[start..end]);
        start = end;
        loop {
            match codec.next_request(&mut buffer) {
                Ok(Some(args)) => requests.push(args),
                Ok(None) => break,
                Err(error) => {
                    let reply = error.reply().map(|reply| reply.iter().copied().map(char::from).collect());
                    return Outcome { requests, end: Some(reply) };
                }
            }
        }
    }
    Outcome { requests, end: None }
}

fn encode(words: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn requests(expected: &[&[&[u8]]]) -> Vec<Args> {
    expected.iter().map(|words| Args::from_slices(words)).collect()
}

fn error(text: &str) -> Option<Option<String>> {
    Some(Some(format!("-ERR Protocol error: {text}\r\n")))
}

/// Inputs, and what they come to.
fn cases() -> Vec<(Vec<u8>, Outcome)> {
    let ping = || requests(&[&[b"PING"]]);
    let digits = |first: u8| [vec![first], vec![b'1'; 70_000]].concat();
    let case = |input: &[u8], requests, end| (input.to_vec(), Outcome { requests, end });
    vec![
        case(b"*1\r\n$4\r\nPING\r\n", ping(), None),
        case(b"PING\r\n", ping(), None),
        case(b"PING\n", ping(), None),
        case(b"\r\n\n   \r\nPING\r\n", ping(), None),
        case(b"*0\r\n*-1\r\n*-99\r\nPING\r\n", ping(), None),
        case(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", requests(&[&[b"GET", b""]]), None),
        case(b"*1\r\n$2\r\n\r\n\r\n", requests(&[&[b"\r\n"]]), None),
        case(b"*2\r\n$1\r\naXY$1\r\nb\r\n", vec![], error("invalid CRLF in request")),
        case(b"*1\r\n$1\r\nab\r\n", vec![], error("invalid CRLF in request")),
        case(b"*1\r\n$1\r\na\rb", vec![], error("invalid CRLF in request")),
        case(b"*1\r\n$1\rxa\r\n", vec![], error("invalid CRLF in request")),
        case(b"SET \"a\\x41\\n b\" 'it\\'s \\n'\r\n", requests(&[&[b"SET", b"aA\n b", b"it's \\n"]]), None),
        case(b"ECHO \"\\r\\t\\b\\a\\q\\\"\\xg1\"\r\n", requests(&[&[b"ECHO", b"\r\t\x08\x07q\"xg1"]]), None),
        case(b"ECHO \"\" ''\r\n", requests(&[&[b"ECHO", b"", b""]]), None),
        case(b"ECHO a\"b c\" d\r\n", requests(&[&[b"ECHO", b"ab c", b"d"]]), None),
        case(b"PING\0 x\r\n", requests(&[&[b"PING\0", b"x"]]), None),
        case(b"ECHO \"a\r\n", vec![], error("unbalanced quotes in request")),
        case(b"ECHO 'a\r\n", vec![], error("unbalanced quotes in request")),
        case(b"ECHO \"a\"b\r\n", vec![], error("unbalanced quotes in request")),
        case(b"ECHO \"a\\\r\n", vec![], error("unbalanced quotes in request")),
        case(b"*\r\n", vec![], error("invalid multibulk length")),
        case(b"*abc\r\n", vec![], error("invalid multibulk length")),
        case(b"*+1\r\n", vec![], error("invalid multibulk length")),
        case(b"*01\r\n", vec![], error("invalid multibulk length")),
        case(b"* 1\r\n", vec![], error("invalid multibulk length")),
        case(b"*1 \r\n", vec![], error("invalid multibulk length")),
        case(b"*-0\r\n", vec![], error("invalid multibulk length")),
        case(b"*1\rx", vec![], error("invalid CRLF in request")),
        case(b"*2147483648\r\n", vec![], error("invalid multibulk length")),
        case(b"*99999999999999999999\r\n", vec![], error("invalid multibulk length")),
        case(b"*2147483647\r\n", vec![], None),
        case(b"*1\r\n!4\r\n", vec![], error("expected '$', got '!'")),
        case(b"*1\r\n\xff", vec![], error("expected '$', got '\u{ff}'")),
        case(b"*1\r\n\n", vec![], error("expected '$', got ' '")),
        case(b"*1\r\n$04\r\nPING\r\n", vec![], error("invalid bulk length")),
        case(b"*1\r\n$+4\r\nPING\r\n", vec![], error("invalid bulk length")),
        case(b"*1\r\n*1\r\n", vec![], error("expected '$', got '*'")),
        case(b"*2\r\n$1\r\na\r\n:1\r\n", vec![], error("expected '$', got ':'")),
        case(b"*1\r\n$-1\r\n", vec![], error("invalid bulk length")),
        case(b"*1\r\n$abc\r\n", vec![], error("invalid bulk length")),
        case(b"*1\r\n$\r\n", vec![], error("invalid bulk length")),
        case(b"*1\r\n$67108865\r\n", vec![], error("invalid bulk length")),
        case(b"*1\r\n$9223372036854775807\r\n", vec![], error("invalid bulk length")),
        case(b"*1\r\n$67108864\r\n", vec![], None),
        case(b"*1\n$4\n", vec![], None),
        case(&digits(b'*'), vec![], error("too big mbulk count string")),
        case(&[b"*1\r\n".to_vec(), digits(b'$')].concat(), vec![], error("too big bulk count string")),
        case(&vec![b'x'; 70_000], vec![], error("too big inline request")),
        case(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", vec![], Some(None)),
        case(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", requests(&[&[b"GET", b"/", b"HTTP/1.1"]]), Some(None)),
    ]
}

#[test]
fn requests_are_read_as_redis_reads_them() {
    for (input, expected) in cases() {
        let outcome = decode(&input, &[], Limits::default());
        assert_eq!(outcome, expected, "{}", input[..input.len().min(60)].escape_ascii());
    }
}

#[test]
fn where_a_request_is_cut_makes_no_difference() {
    for (input, expected) in cases() {
        let all: Vec<usize> = (0..input.len()).collect();
        assert_eq!(decode(&input, &all, Limits::default()), expected, "byte by byte");
        // Long inputs are one line of the same bytes: their ends and limits are enough.
        let cuts = all.iter().filter(|&&cut| cut < 64 || input.len() - cut < 64 || cut.abs_diff(65_536) < 8);
        for &cut in cuts {
            assert_eq!(decode(&input, &[cut], Limits::default()), expected, "cut at {cut}");
        }
    }
}

#[test]
fn a_pipeline_is_decoded_in_order() {
    let input = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\n\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n*1\r\n$3\r\nabc";
    let outcome = decode(input, &[], Limits::default());
    assert_eq!(outcome.requests, requests(&[&[b"GET", b"k"], &[b"PING"], &[b"QUIT"]]));
    assert_eq!(outcome.end, None);
}

#[test]
fn little_is_taken_before_authentication() {
    let limits = Limits { authenticated: false, ..Limits::default() };
    let words = |count: usize, bytes: usize| encode(&vec![vec![b'x'; bytes]; count]);
    assert_eq!(decode(&words(10, 16_384), &[], limits).requests.len(), 1);
    assert_eq!(decode(&words(11, 1), &[], limits).end, error("unauthenticated multibulk length"));
    assert_eq!(decode(&words(1, 16_385), &[], limits).end, error("unauthenticated bulk length"));
}

#[test]
fn a_request_longer_than_the_limit_is_refused_by_what_it_declares() {
    let limits = Limits { request_bytes_max: 1000, ..Limits::default() };
    let outcome = decode(b"*2\r\n$600\r\n", &[], limits);
    assert_eq!(outcome, Outcome { requests: vec![], end: None });
    let input = [b"*2\r\n$600\r\n".to_vec(), vec![b'x'; 600], b"\r\n$400\r\n".to_vec()].concat();
    let text = "request longer than client-query-buffer-limit";
    assert_eq!(decode(&input, &[], limits).end, error(text));
    let many = [b"*2000\r\n".to_vec(), b"$0\r\n\r\n".repeat(300)].concat();
    assert_eq!(decode(&many, &[], limits).end, error(text));
}

#[test]
fn nesting_is_refused_at_its_second_level() {
    let outcome = decode(&b"*1\r\n".repeat(100_000), &[], Limits::default());
    assert_eq!(outcome, Outcome { requests: vec![], end: error("expected '$', got '*'") });
}

#[test]
fn a_declared_length_reserves_nothing() {
    let mut codec = RequestCodec::default();
    let mut buffer = BytesMut::from(&b"*1000000000\r\n$60000000\r\nabc"[..]);
    assert_eq!(codec.next_request(&mut buffer).unwrap(), None);
    codec.reserve(&mut buffer);
    assert!(buffer.capacity() < 64 * 1024, "{} bytes reserved", buffer.capacity());
}

#[test]
fn a_long_request_takes_its_buffer_with_it() {
    let mut codec = RequestCodec::default();
    let mut buffer = BytesMut::from(&encode(&[b"SET".to_vec(), vec![b'x'; 1 << 20]])[..]);
    buffer.extend_from_slice(b"PING\r\n");
    let long = codec.next_request(&mut buffer).unwrap().unwrap();
    drop(long);
    codec.reserve(&mut buffer);
    assert!(buffer.capacity() <= 64 * 1024, "{} bytes kept", buffer.capacity());
    assert_eq!(codec.next_request(&mut buffer).unwrap().unwrap()[0], *b"PING");
}

#[test]
fn a_read_buffer_is_used_again_when_its_requests_are_gone() {
    let mut codec = RequestCodec::default();
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    let first = buffer.as_ptr();
    for _ in 0..10_000 {
        codec.reserve(&mut buffer);
        buffer.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
        drop(codec.next_request(&mut buffer).unwrap().unwrap());
    }
    codec.reserve(&mut buffer);
    let offset = (buffer.as_ptr() as usize).wrapping_sub(first as usize);
    assert!(offset < 16 * 1024, "the buffer has moved");
}

#[test]
fn a_million_arguments_in_pieces_are_scanned_once() {
    let input = [b"*1000000\r\n".to_vec(), b"$1\r\nx\r\n".repeat(1_000_000)].concat();
    let cuts: Vec<usize> = (16_384..input.len()).step_by(16_384).collect();
    let outcome = decode(&input, &cuts, Limits::default());
    assert_eq!(outcome.requests.len(), 1);
    assert_eq!(outcome.requests[0].len(), 1_000_000);
}

#[test]
fn random_bytes_neither_panic_nor_depend_on_their_cuts() {
    let alphabet: [&[u8]; 20] = [
        b"*",
        b"$",
        b"\r\n",
        b"\r",
        b"\n",
        b"0",
        b"1",
        b"2",
        b"3",
        b"9",
        b"-1",
        b"-",
        b"'",
        b"\"",
        b"\\x",
        b" ",
        b"\0",
        b"\xff",
        b"*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$3\r\nGET\r\n$1\r\n",
    ];
    for seed in 0..20_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits = Limits { request_bytes_max: 500, bulk_bytes_max: 100, authenticated: rng.bool() };
        let input: Vec<u8> =
            (0..rng.usize(1..30)).flat_map(|_| alphabet[rng.usize(0..alphabet.len())]).copied().collect();
        let mut cuts: Vec<usize> = (0..rng.usize(0..4)).map(|_| rng.usize(0..=input.len())).collect();
        cuts.sort_unstable();
        let whole = decode(&input, &[], limits);
        assert_eq!(whole, decode(&input, &cuts, limits), "seed {seed}: {}", input.escape_ascii());
    }
}

proptest! {
    #[test]
    fn arguments_arrive_as_they_were_sent(
        words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!words[0].eq_ignore_ascii_case(b"post"));
        let input = encode(&words);
        let outcome = decode(&input, &[cut.index(input.len())], Limits::default());
        prop_assert_eq!(outcome.end, None);
        prop_assert_eq!(outcome.requests.len(), 1);
        let args = &outcome.requests[0];
        prop_assert!(args.iter().eq(words.iter().map(Vec::as_slice)));
        prop_assert_eq!(args.detached(), args.clone());
        for (index, word) in words.iter().enumerate() {
            prop_assert_eq!(&args.bytes(index)[..], &word[..]);
        }
    }

    #[test]
    fn any_word_can_be_quoted(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..6)) {
        let mut line = String::new();
        for word in &words {
            line.push('"');
            for byte in word {
                write!(line, "\\x{byte:02x}").unwrap();
            }
            line.push_str("\" ");
        }
        line.push_str("\r\n");
        let outcome = decode(line.as_bytes(), &[], Limits::default());
        prop_assert!(outcome.requests[0].iter().eq(words.iter().map(Vec::as_slice)));
    }

    #[test]
    fn integers_read_back_as_themselves(value: i64) {
        prop_assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
    }
}

#[test]
fn floats_are_decimal_and_finite_or_say_so() {
    for (text, expected) in
        [("1", 1.0), ("-.5", -0.5), ("3e8", 3e8), ("5.", 5.0), ("+2", 2.0), ("0e500", 0.0)]
    {
        assert_eq!(parse_float(text.as_bytes()), Some(expected), "{text:?}");
    }
    assert_eq!(parse_float(b"inf"), Some(f64::INFINITY));
    assert_eq!(parse_float(b"-Infinity"), Some(f64::NEG_INFINITY));
    for text in ["", " 1", "1 ", "nan", "1e400", "-1e400", "1e-400", "1x", "e5", "\u{e9}"] {
        assert_eq!(parse_float(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn a_reader_takes_arguments_in_order_and_says_what_is_wrong() {
    let args = Args::from_slices(&[b"SET", b"k", b"eX", b"10", b"-1", b"x", b"1.5"]);
    let mut reader = args.reader(1);
    assert_eq!(reader.key(), Ok(&b"k"[..]));
    assert!(!reader.token("PX"));
    assert!(reader.token("EX"));
    assert_eq!(reader.unsigned(), Ok(10));
    assert_eq!(reader.unsigned(), Err(ArgError::Negative));
    assert_eq!(reader.integer(), Err(ArgError::Integer));
    assert_eq!((reader.remaining(), reader.position()), (1, 6));
    assert_eq!(reader.finish(), Err(ArgError::Syntax));
    assert_eq!(reader.float(), Ok(1.5));
    assert_eq!(reader.finish(), Ok(()));
    assert_eq!(reader.shared(), Err(ArgError::Syntax));
    assert_eq!(reader.integer(), Err(ArgError::Syntax));
    assert_eq!(args.reader(9).remaining(), 0);
}

/// What `write` writes in both protocols.
fn both(write: impl Fn(&mut ReplyWriter<'_>)) -> [String; 2] {
    [Protocol::Resp2, Protocol::Resp3].map(|protocol| {
        let mut out = Outbox::new();
        write(&mut ReplyWriter::new(&mut out, protocol));
        String::from_utf8(contents(&out)).unwrap()
    })
}

/// All that waits in an outbox, by way of its slices.
fn contents(out: &Outbox) -> Vec<u8> {
    let mut slices = vec![std::io::IoSlice::new(b""); out.pieces() + 1];
    let used = out.io_slices(&mut slices);
    let bytes = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>();
    assert_eq!(bytes.len(), out.len());
    bytes
}

#[test]
fn every_shape_is_written_as_its_protocol_wants_it() {
    let same =
        |write: fn(&mut ReplyWriter<'_>), expected: &str| assert_eq!(both(write), [expected, expected]);
    same(|reply| reply.ok(), "+OK\r\n");
    same(|reply| reply.simple("PONG"), "+PONG\r\n");
    same(|reply| reply.error("ERR a\r\nb\r\n"), "-ERR a  b\r\n");
    same(|reply| reply.integer(-7), ":-7\r\n");
    same(|reply| reply.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n");
    same(|reply| reply.bulk(b""), "$0\r\n\r\n");
    same(|reply| reply.bulk_integer(i64::MIN), "$20\r\n-9223372036854775808\r\n");
    same(|reply| reply.bulk_shared(Bytes::from_static(b"abc")), "$3\r\nabc\r\n");
    same(|reply| reply.array(12), "*12\r\n");
    let differ =
        |write: fn(&mut ReplyWriter<'_>), resp2: &str, resp3: &str| assert_eq!(both(write), [resp2, resp3]);
    differ(|reply| reply.null(), "$-1\r\n", "_\r\n");
    differ(|reply| reply.null_array(), "*-1\r\n", "_\r\n");
    differ(|reply| reply.boolean(true), ":1\r\n", "#t\r\n");
    differ(|reply| reply.boolean(false), ":0\r\n", "#f\r\n");
    differ(|reply| reply.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
    differ(|reply| reply.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    differ(|reply| reply.map(2), "*4\r\n", "%2\r\n");
    differ(|reply| reply.set(2), "*2\r\n", "~2\r\n");
    differ(|reply| reply.push(3), "*3\r\n", ">3\r\n");
    differ(|reply| reply.verbatim("txt", "hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
    differ(|reply| reply.big_number("123"), "$3\r\n123\r\n", "(123\r\n");
}

#[test]
fn a_length_can_be_given_at_the_end_also_around_shared_values() {
    let value = Bytes::from(vec![b'v'; SHARED_BYTES_MIN]);
    let write = |reply: &mut ReplyWriter<'_>| {
        reply.ok();
        let outer = reply.deferred_array();
        reply.bulk_shared(value.clone());
        let inner = reply.deferred_array();
        reply.integer(1);
        reply.finish_map(inner, 1);
        reply.finish_set(outer, 2);
        let empty = reply.deferred_array();
        reply.finish_array(empty, 0);
    };
    let value = String::from_utf8(value.to_vec()).unwrap();
    let expected =
        |outer: &str, inner: &str| format!("+OK\r\n{outer}2\r\n$16384\r\n{value}\r\n{inner}\r\n:1\r\n*0\r\n");
    assert_eq!(both(write), [expected("*", "*2"), expected("~", "%1")]);
}

#[test]
fn replies_are_cut_back_to_their_mark() {
    let mut out = Outbox::new();
    let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
    reply.ok();
    let mark = reply.mark();
    reply.integer(1);
    reply.bulk_shared(Bytes::from(vec![0; SHARED_BYTES_MIN]));
    reply.integer(2);
    reply.truncate(mark);
    reply.error("ERR x");
    assert_eq!(contents(&out), b"+OK\r\n-ERR x\r\n");
}

#[test]
fn an_outbox_behaves_as_one_vector_of_bytes() {
    for seed in 0..3_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut out, mut model) = (Outbox::new(), Vec::new());
        for _ in 0..rng.usize(1..40) {
            let bytes: Vec<u8> = (0..rng.usize(0..50)).map(|_| rng.u8(..)).collect();
            match rng.u8(0..7) {
                0 | 1 => {
                    out.tail().extend_from_slice(&bytes);
                    model.extend_from_slice(&bytes);
                }
                2 => {
                    out.push(Bytes::from(bytes.clone()));
                    model.extend_from_slice(&bytes);
                }
                3 => {
                    let mut other = Outbox::new();
                    other.push(Bytes::from(bytes.clone()));
                    other.tail().extend_from_slice(b"tail");
                    other.advance(rng.usize(0..=other.len()));
                    model.extend_from_slice(&contents(&other));
                    out.append(other);
                }
                4 => {
                    let at = rng.usize(0..=model.len());
                    out.insert(out.end() - model.len() as u64 + at as u64, b"*12\r\n");
                    model.splice(at..at, *b"*12\r\n");
                }
                5 => {
                    let at = rng.usize(0..=model.len());
                    out.truncate(out.end() - model.len() as u64 + at as u64);
                    model.truncate(at);
                }
                _ => {
                    let written = rng.usize(0..=model.len());
                    out.advance(written);
                    model.drain(..written);
                }
            }
            assert_eq!(contents(&out), model, "seed {seed}");
            assert_eq!(out.is_empty(), model.is_empty());
        }
    }
}

#[test]
fn a_bounded_writer_keeps_its_bound_and_one_element() {
    let mut out = Outbox::new();
    out.tail().extend_from_slice(&[b'x'; 5_000]);
    let mut writer = ReplyWriter::bounded(&mut out, Protocol::Resp2, 1_000);
    let mark = writer.mark();
    writer.array(100);
    for _ in 0..9 {
        writer.bulk(&[b'v'; 100]);
    }
    assert_eq!(writer.check(), Ok(()));
    for _ in 0..90 {
        writer.bulk(&[b'v'; 100]);
        writer.bulk_shared(Bytes::from(vec![b'v'; SHARED_BYTES_MIN]));
        writer.integer(1);
        writer.raw(&[b'v'; 100]);
    }
    assert_eq!(writer.check(), Err(ReplyTooLong));
    assert!(writer.len() < 5_000 + 1_000 + SHARED_BYTES_MIN + 100, "{} bytes", writer.len());
    let mut aside = Outbox::new();
    let mut more = writer.beside(&mut aside);
    more.bulk(b"the room is used up");
    more.bulk(b"nothing more");
    assert_eq!(more.check(), Err(ReplyTooLong));
    assert!(more.len() < 30);
    writer.truncate(mark);
    writer.error("ERR too long");
    assert_eq!(writer.check(), Ok(()));
    assert_eq!(contents(&out)[5_000..], *b"-ERR too long\r\n");
}
