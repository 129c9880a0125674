//! The slow log: the last commands that took long, in memory of this node.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::node::{Ask, NodeContext};
use super::spec::{Command, Compare, flag};
use super::{find, help, wrong_usage};
use crate::keyspace::{CommandError, Result};
use crate::number::parse_integer;
use crate::resp::{Args, ReplyWriter};

/// Words of a request that an entry keeps; the last of them says how many more there were.
const WORDS_MAX: usize = 32;
/// Bytes of a word that an entry keeps.
const WORD_BYTES_MAX: usize = 128;
/// Entries that SLOWLOG GET returns unless it is told.
const GET_DEFAULT: i64 = 10;

/// SLOWLOG and its subcommands.
pub(super) const COMMAND: Command = Command::container(
    "SLOWLOG",
    &[
        Command::node("SLOWLOG|GET", "[count]", get)
            .admin()
            .always()
            .tips(&["request_policy:all_nodes", "nondeterministic_output"])
            .compare(Compare::Shape)
            .doc("2.2.12", "Returns the newest entries of the slow log.")
            .complexity("O(N) where N is the number of entries returned"),
        Command::session("SLOWLOG|HELP", "", help)
            .always()
            .compare(Compare::Shape)
            .doc("6.2.0", "Returns this text."),
        Command::node("SLOWLOG|LEN", "", len)
            .admin()
            .always()
            .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
            .compare(Compare::Shape)
            .doc("2.2.12", "Returns the number of entries in the slow log."),
        Command::node("SLOWLOG|RESET", "", reset)
            .admin()
            .always()
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .doc("2.2.12", "Empties the slow log.")
            .complexity("O(N) where N is the number of entries in the slowlog"),
    ],
)
.doc("2.2.12", "Looks at the slow log.");

/// A command that took long.
#[derive(Clone, Debug)]
struct Entry {
    id: i64,
    at_unix_secs: i64,
    micros: i64,
    words: Vec<Bytes>,
    address: String,
    client: Bytes,
}

/// What dispatch knows of a command that took long.
#[derive(Clone, Copy, Debug)]
pub struct Slow<'a> {
    /// The request.
    pub args: &'a Args,
    /// How long the node worked on it.
    pub micros: u64,
    /// When it was done, in seconds since 1970.
    pub at_unix_secs: u64,
    /// The peer of the connection, `ip:port`.
    pub address: &'a str,
    /// The name the client gave itself, or nothing.
    pub client: &'a [u8],
}

/// The ring of slow commands. Ids grow for as long as the node runs, through RESET too.
#[derive(Debug, Default)]
pub struct Slowlog {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    next_id: i64,
    /// The newest in front.
    entries: VecDeque<Entry>,
}

impl Slowlog {
    /// Keeps `slow`, and of all entries the newest `len_max`. Passwords are left out.
    pub fn record(&self, slow: Slow<'_>, len_max: usize) {
        if find(&slow.args[0]).is_some_and(|command| command.has(flag::SKIP_SLOWLOG)) {
            return;
        }
        let words = shown_words(slow.args);
        let mut ring = self.lock();
        let id = ring.next_id;
        ring.next_id += 1;
        ring.entries.push_front(Entry {
            id,
            at_unix_secs: i64::try_from(slow.at_unix_secs).unwrap_or(i64::MAX),
            micros: i64::try_from(slow.micros).unwrap_or(i64::MAX),
            words,
            address: slow.address.to_owned(),
            client: Bytes::copy_from_slice(slow.client),
        });
        ring.entries.truncate(len_max);
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // A panic elsewhere leaves the ring whole: every change of it is one push or one clear.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The words of a request as the log keeps them: not too many, not too long, no passwords.
fn shown_words(args: &Args) -> Vec<Bytes> {
    let secret = secrets(args);
    let shown = if args.len() > WORDS_MAX { WORDS_MAX - 1 } else { args.len() };
    let mut words: Vec<Bytes> = (0..shown)
        .map(|at| {
            let word = &args[at];
            if secret.contains(&at) {
                Bytes::from_static(b"(redacted)")
            } else if word.len() > WORD_BYTES_MAX {
                let mut cut = word[..WORD_BYTES_MAX].to_vec();
                cut.extend(format!("... ({} more bytes)", word.len() - WORD_BYTES_MAX).bytes());
                Bytes::from(cut)
            } else {
                // Copied, since a word of the request pins the whole buffer it came in.
                Bytes::copy_from_slice(word)
            }
        })
        .collect();
    if shown < args.len() {
        words.push(Bytes::from(format!("... ({} more arguments)", args.len() - shown)));
    }
    words
}

/// The words of a request that hold passwords.
fn secrets(args: &Args) -> Vec<usize> {
    let is =
        |at: usize, token: &str| args.get(at).is_some_and(|word| word.eq_ignore_ascii_case(token.as_bytes()));
    if is(0, "AUTH") {
        return (1..args.len()).collect();
    }
    if is(0, "HELLO") {
        let auth = (2..args.len()).find(|&at| is(at, "AUTH"));
        return auth.map_or_else(Vec::new, |auth| vec![auth + 1, auth + 2]);
    }
    if is(0, "CONFIG") && is(1, "SET") {
        return (2..args.len()).step_by(2).filter(|&at| is(at, "requirepass")).map(|at| at + 1).collect();
    }
    Vec::new()
}

fn get(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    if args.len() > 3 {
        return Err(wrong_usage("SLOWLOG", &args[1]).into());
    }
    let count = match args.get(2) {
        None => Some(GET_DEFAULT),
        Some(word) => parse_integer(word).filter(|&count| count >= -1),
    };
    let Some(count) = count else {
        return Err(CommandError::other("ERR count should be greater than or equal to -1").into());
    };
    let ring = node.slowlog.lock();
    let count = usize::try_from(count).map_or(ring.entries.len(), |count| count.min(ring.entries.len()));
    out.array(count);
    for entry in ring.entries.iter().take(count) {
        out.array(6);
        out.integer(entry.id);
        out.integer(entry.at_unix_secs);
        out.integer(entry.micros);
        out.array(entry.words.len());
        for word in &entry.words {
            out.bulk(word);
        }
        out.bulk(entry.address.as_bytes());
        out.bulk(&entry.client);
    }
    Ok(None)
}

fn len(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    out.integer(i64::try_from(node.slowlog.len()).unwrap_or(i64::MAX));
    Ok(None)
}

fn reset(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    node.slowlog.lock().entries.clear();
    out.ok();
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow<'a>(args: &'a Args) -> Slow<'a> {
        Slow { args, micros: 12_000, at_unix_secs: 1_700_000_000, address: "127.0.0.1:5", client: b"c" }
    }

    #[test]
    fn the_newest_entries_stay_and_ids_grow() {
        let log = Slowlog::default();
        for at in 0..5_u8 {
            log.record(slow(&Args::from_slices(&[b"GET", &[at]])), 3);
        }
        assert_eq!(log.len(), 3);
        let ids: Vec<i64> = log.lock().entries.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [4, 3, 2]);
    }

    #[test]
    fn exec_is_left_out_since_its_commands_are_not() {
        let log = Slowlog::default();
        log.record(slow(&Args::from_slices(&[b"exec"])), 3);
        assert!(log.is_empty());
    }

    #[test]
    fn long_requests_are_cut() {
        let long = vec![b'x'; 200];
        let mut request: Vec<&[u8]> = vec![b"DEL"; 40];
        request[1] = &long;
        let words = shown_words(&Args::from_slices(&request));
        assert_eq!(words.len(), 32);
        assert_eq!(&words[1][128..], b"... (72 more bytes)");
        assert_eq!(&words[31][..], b"... (9 more arguments)");
    }

    #[test]
    fn passwords_are_not_kept() {
        for request in [
            &[b"auth".as_slice(), b"secret"][..],
            &[b"AUTH", b"user", b"secret"],
            &[b"hello", b"3", b"AUTH", b"user", b"secret"],
            &[b"CONFIG", b"set", b"timeout", b"1", b"Requirepass", b"secret"],
        ] {
            let words = shown_words(&Args::from_slices(request));
            assert!(words.iter().all(|word| &word[..] != b"secret"), "{request:?}");
        }
    }
}
