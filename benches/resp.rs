//! What does a command cost on the wire? The budget of a SET or GET with a 64-byte value, at 16 commands a read: 0.1 µs to
//! decode the request and 0.1 µs to encode its reply, on the machine of docs/BENCHMARKS.md.
//!
//! `cargo bench --bench benches -- resp`; the time per command is that of an iteration divided by 16, or read off the
//! item throughput.

use bytes::BytesMut;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sisyphusdb::resp::{Limits, Outbox, Protocol, ReplyWriter, RequestCodec, Scanned, Scanner};

/// Commands in one read, as `redis-benchmark -P 16` sends them.
const PIPELINE: usize = 16;

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn set() -> Vec<u8> {
    request(&[b"SET", b"key:000000123456", &[b'x'; 64]]).repeat(PIPELINE)
}

fn get() -> Vec<u8> {
    request(&[b"GET", b"key:000000123456"]).repeat(PIPELINE)
}

/// Reads `input` into a buffer that is used again, as a connection does, and decodes it; the copy stands for the read.
fn decode(bencher: Bencher<'_, '_>, input: &[u8]) {
    let mut codec = RequestCodec::default();
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    let mut batch = Vec::with_capacity(PIPELINE);
    bencher.counter(ItemsCount::new(PIPELINE)).bench_local(|| {
        codec.reserve(&mut buffer);
        buffer.extend_from_slice(input);
        while let Some(args) = codec.next_request(&mut buffer).expect("the input is right") {
            batch.push(args);
        }
        assert_eq!(batch.len(), PIPELINE);
        black_box(&batch);
        batch.clear();
    });
}

#[divan::bench]
fn decode_set(bencher: Bencher<'_, '_>) {
    decode(bencher, &set());
}

#[divan::bench]
fn decode_get(bencher: Bencher<'_, '_>) {
    decode(bencher, &get());
}

/// The part of `decode_set` that finds the ends.
#[divan::bench]
fn scan_set(bencher: Bencher<'_, '_>) {
    let (input, limits) = (set(), Limits::default());
    bencher.counter(ItemsCount::new(PIPELINE)).bench_local(|| {
        let (mut scanner, mut at) = (Scanner::default(), 0);
        while let Ok(Scanned::Array { consumed, .. }) = scanner.scan(&input[at..], &limits) {
            at += consumed;
        }
        assert_eq!(at, input.len());
    });
}

fn encode(bencher: Bencher<'_, '_>, write: impl Fn(&mut ReplyWriter<'_>)) {
    let mut out = Outbox::new();
    bencher.counter(ItemsCount::new(PIPELINE)).bench_local(|| {
        let mut reply = ReplyWriter::new(&mut out, Protocol::Resp2);
        for _ in 0..PIPELINE {
            write(&mut reply);
        }
        black_box(&out);
        out.advance(out.len());
    });
}

#[divan::bench]
fn encode_ok(bencher: Bencher<'_, '_>) {
    encode(bencher, |reply| reply.ok());
}

#[divan::bench]
fn encode_integer(bencher: Bencher<'_, '_>) {
    encode(bencher, |reply| reply.integer(black_box(123_456)));
}

#[divan::bench]
fn encode_bulk_64(bencher: Bencher<'_, '_>) {
    let value = [b'x'; 64];
    encode(bencher, |reply| reply.bulk(black_box(&value)));
}

#[divan::bench]
fn encode_double(bencher: Bencher<'_, '_>) {
    encode(bencher, |reply| reply.double(black_box(3.25)));
}

/// One request of a million arguments that arrives in pieces of 16 KiB: to take less than 500 ms.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn decode_a_million_arguments() {
    let input = [b"*1000000\r\n".to_vec(), b"$1\r\nx\r\n".repeat(1_000_000)].concat();
    let mut codec = RequestCodec::default();
    let mut buffer = BytesMut::new();
    let mut found = 0;
    for piece in input.chunks(16 * 1024) {
        codec.reserve(&mut buffer);
        buffer.extend_from_slice(piece);
        while let Some(args) = codec.next_request(&mut buffer).expect("the input is right") {
            found += args.len();
        }
    }
    assert_eq!(found, 1_000_000);
}
