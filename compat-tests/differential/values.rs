//! The values that requests are made of: few keys, so that commands meet, and numbers and texts at the limits.

use fastrand::Rng;
use sisyphusdb::command::{Command, Group};

/// Commands and subcommands that no server has. (Those that others have and we have not are no difference worth
/// finding.)
pub(crate) const UNKNOWN: &[&str] = &[
    "NOSUCH",
    "nosuch\0command",
    "",
    "get2",
    "a-name-that-is-longer-than-what-the-error-shows-of-it-a-name-that-is-longer-than-what-the-error-shows-of-it-a-name-that",
    "CONFIG nosuch",
    "config",
    "OBJECT nosuch",
    "client NOSUCH",
    "COMMAND nosuch",
    "memory",
    "MEMORY nosuch",
    "SLOWLOG nosuch",
];

const STRING_KEYS: &[&[u8]] = &[b"a", b"b", b"n", b"{t}s", b"x\x00\r\ny"];
const HASH_KEYS: &[&[u8]] = &[b"h", b"i", b"{t}h"];
const ANY_KEYS: &[&[u8]] =
    &[b"a", b"b", b"n", b"{t}s", b"x\x00\r\ny", b"h", b"i", b"{t}h", b"", b"none", b"\xff\xfe"];

const FIELDS: &[&[u8]] = &[b"f", b"g", b"h", b"i", b"number", b"\x00\xff", b""];

const INTEGERS: &[&[u8]] = &[
    b"0",
    b"1",
    b"-1",
    b"7",
    b"42",
    b"-100",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"007",
    b"+1",
    b"-0",
    b"1.5",
];

const FLOATS: &[&[u8]] = &[
    b"1.5",
    b"0.1",
    b"-0.5",
    b"3",
    b"1e3",
    b"-2.5e-2",
    b"1e400",
    b"1e-400",
    b"inf",
    b"-inf",
    b"+infinity",
    b"nan",
    b"0x10",
    b"1.0 ",
    b"1e17",
    b".5",
    b"5.",
    b"3.14159265358979",
    b"1e300",
];

const JUNK: &[&[u8]] = &[
    b"",
    b"x",
    b"-1",
    b"0",
    b"1e5",
    b"nan",
    b"9223372036854775807",
    b"9223372036854775808",
    b"NX",
    b"*",
    b"\xff\x00",
    b" 1",
    b"1 ",
];

/// Times to live are so long that no key expires while it is compared, or so short that it is gone at once.
const SECONDS: &[&[u8]] = &[
    b"100000",
    b"200000",
    b"300000",
    b"0",
    b"-1",
    b"9223372036854775",
    b"9223372036854775807",
    b"-9223372036854775807",
    b"-9223372036854775808",
];
const MILLISECONDS: &[&[u8]] = &[
    b"100000000",
    b"200000000",
    b"300000000",
    b"0",
    b"-1",
    b"9223370000000000000",
    b"9223372036854775807",
    b"-9223372036854775808",
];
const UNIX_SECONDS: &[&[u8]] = &[b"33177117420", b"33177117421", b"1", b"0", b"-5", b"9223372036854775"];
const UNIX_MILLISECONDS: &[&[u8]] =
    &[b"33177117420000", b"33177117420001", b"1", b"0", b"-5", b"9223372036854775807"];

const PATTERNS: &[&[u8]] = &[
    b"*", b"a*", b"[a-c]", b"[c-a]", b"?", b"h", b"\\*", b"*\x00*", b"[^a]", b"[a", b"*f*", b"\\", b"[\\]]",
    b"**?", b"{t}*",
];

/// A value for the argument called `name`.
pub(crate) fn of(command: &Command, name: &str, rng: &mut Rng) -> Vec<u8> {
    match name {
        "key" | "newkey" | "source" | "destination" | "key1" | "key2" => key(command, rng),
        "field" => pick(FIELDS, rng),
        "seconds" => pick(SECONDS, rng),
        "milliseconds" => pick(MILLISECONDS, rng),
        "unix-time-seconds" => pick(UNIX_SECONDS, rng),
        "unix-time-milliseconds" => pick(UNIX_MILLISECONDS, rng),
        "increment" if command.name.ends_with("FLOAT") => pick(FLOATS, rng),
        "increment" | "decrement" => pick(INTEGERS, rng),
        "cursor" => b"0".to_vec(),
        "count" | "len" => pick(&[b"1", b"2", b"3", b"10", b"1000", b"0", b"-2", b"-10"], rng),
        "start" | "end" => pick(
            &[
                b"0",
                b"1",
                b"2",
                b"5",
                b"-1",
                b"-3",
                b"100",
                b"-100",
                b"9223372036854775807",
                b"-9223372036854775808",
            ],
            rng,
        ),
        "offset" => pick(&[b"0", b"1", b"2", b"5", b"-1", b"100", b"536870912", b"9223372036854775807"], rng),
        "pattern" | "parameter" => pick(PATTERNS, rng),
        "db" | "destination-db" | "index" | "index1" | "index2" => {
            pick(&[b"0", b"0", b"0", b"1", b"2", b"15", b"16", b"-1"], rng)
        }
        "type" if command.group == Group::Server => pick(
            &[
                b"string",
                b"integer",
                b"double",
                b"null",
                b"array",
                b"set",
                b"map",
                b"verbatim",
                b"true",
                b"x",
            ],
            rng,
        ),
        "type" => pick(&[b"string", b"hash", b"list", b"zset", b"Hash"], rng),
        "command-name" | "command" => {
            pick(&[b"get", b"set", b"mset", b"nosuch", b"hset", b"config|get", b"lcs", b"rename"], rng)
        }
        "section" => pick(&[b"server", b"keyspace", b"nosuch", b"replication"], rng),
        "libname" | "libver" | "clientname" => pick(&[b"hello", b"", b"a b", b"1.2.3"], rng),
        "message" | "connection-name" => pick(&[b"hello", b"a\x00b", b"", b"12"], rng),
        "protover" => pick(&[b"2", b"3", b"3", b"4"], rng),
        _ => text(rng),
    }
}

/// A key that probably has the type the command is for.
fn key(command: &Command, rng: &mut Rng) -> Vec<u8> {
    match command.group {
        Group::String if rng.u8(..5) > 0 => pick(STRING_KEYS, rng),
        Group::Hash if rng.u8(..5) > 0 => pick(HASH_KEYS, rng),
        _ => pick(ANY_KEYS, rng),
    }
}

/// Any text.
pub(crate) fn text(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..12) {
        0..4 => pick(&[b"v", b"hello world", b"3.0", b"abcabcabc", b"\x00\x01\xff", b"", b"\r\n"], rng),
        4..7 => pick(INTEGERS, rng),
        7..9 => pick(FLOATS, rng),
        9 => vec![b'x'; rng.usize(40..70)],
        10 => vec![b'y'; rng.usize(500..3_000)],
        _ => (0..rng.usize(..20)).map(|_| rng.u8(..)).collect(),
    }
}

/// What stands where it should not.
pub(crate) fn junk(rng: &mut Rng) -> Vec<u8> {
    pick(JUNK, rng)
}

fn pick(from: &[&[u8]], rng: &mut Rng) -> Vec<u8> {
    from[rng.usize(..from.len())].to_vec()
}
