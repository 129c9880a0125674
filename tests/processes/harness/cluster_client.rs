//! A client of a cluster: it goes where it is sent, and tells apart what was done, what was not, and what nobody knows.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Client, Ledger, Reply, Workload, resp};

/// How long an answer may take before nobody knows what became of the command.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a command that was not done is tried again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause before a command that was not done is tried again elsewhere.
const PAUSE: Duration = Duration::from_millis(5);

/// Errors that say that nothing was done and nothing ever will be, and that another node or a later try may do it.
const NOT_DONE: [&[u8]; 6] =
    [b"CLUSTERDOWN", b"TRYAGAIN", b"LOADING", b"READONLY", b"MISCONF", b"MASTERDOWN"];

pub(crate) struct ClusterClient {
    addresses: Vec<SocketAddr>,
    /// The last of the list that was tried.
    at: usize,
    /// Where it is connected to, or will be; a redirection may name an address that is none of the list.
    target: SocketAddr,
    client: Option<Client>,
    patience: Duration,
    answer: Duration,
    /// It goes where it is sent.
    follows: bool,
    /// How often a command was tried again.
    pub(crate) tried_again: u64,
}

/// What one attempt came to.
enum Attempt<R> {
    Done(R),
    /// Nothing was done; it is to be tried again, there or elsewhere.
    NotDone(Option<SocketAddr>),
    Unknown,
}

impl ClusterClient {
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Self {
        let target = addresses[0];
        Self {
            addresses,
            at: 0,
            target,
            client: None,
            patience: PATIENCE,
            answer: ANSWER,
            follows: true,
            tried_again: 0,
        }
    }

    /// Waits no longer than `answer` for an answer, and tries for no longer than `patience`.
    pub(crate) fn within(mut self, answer: Duration, patience: Duration) -> Self {
        (self.answer, self.patience) = (answer, patience);
        self
    }

    /// Stays with the nodes it was told of, wherever they send it.
    pub(crate) fn staying(mut self) -> Self {
        self.follows = false;
        self
    }

    /// Runs a command, and hands its reply to `each`: at most once, but tried again while it was definitely not done. `None`
    /// if nobody knows whether it was done, or if no node has done it for too long.
    pub(crate) fn call<R>(&mut self, words: &[&[u8]], each: impl Fn(Reply<'_>) -> R) -> Option<R> {
        let start = Instant::now();
        let mut request = Vec::new();
        resp::command(words, &mut request);
        loop {
            match self.attempt(&request, &each) {
                Attempt::Done(result) => return Some(result),
                Attempt::Unknown => {
                    self.go_elsewhere(None);
                    return None;
                }
                Attempt::NotDone(elsewhere) => {
                    let elsewhere = elsewhere.filter(|_| self.follows);
                    if start.elapsed() > self.patience {
                        return None;
                    }
                    self.tried_again += 1;
                    if elsewhere.is_none() {
                        std::thread::sleep(PAUSE);
                    }
                    self.go_elsewhere(elsewhere);
                }
            }
        }
    }

    /// Runs a command that may be run twice until its outcome is known.
    pub(crate) fn repeat<R>(&mut self, words: &[&[u8]], each: impl Fn(Reply<'_>) -> R) -> R {
        let start = Instant::now();
        loop {
            if let Some(result) = self.call(words, &each) {
                return result;
            }
            let text = String::from_utf8_lossy(words[0]).into_owned();
            assert!(start.elapsed() < PATIENCE, "no answer to {text} for {PATIENCE:?}");
        }
    }

    /// Writes a key; whether that was acknowledged.
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.call(&[b"SET", key, value], |reply| reply == Reply::Status(b"OK")).unwrap_or(false)
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.repeat(&[b"GET", key], |reply| match reply {
            Reply::Bulk(value) => Some(value.to_vec()),
            Reply::Null => None,
            other => panic!("GET: {other:?}"),
        })
    }

    /// Writes a key of the ledger; whether that was acknowledged.
    pub(crate) fn write(&mut self, ledger: &Ledger, number: u64) -> bool {
        let (mut name, mut value) = (Vec::new(), Vec::new());
        let sequence = ledger.send(number);
        Workload::key(number, &mut name);
        ledger.workload.value(number, sequence, &mut value);
        let acknowledged = self.set(&name, &value);
        if acknowledged {
            ledger.acknowledge(number, sequence);
        }
        acknowledged
    }

    /// Reads a key of the ledger: an error unless it has a value that it may have.
    pub(crate) fn check(&mut self, ledger: &Ledger, number: u64) -> Result<(), String> {
        let mut name = Vec::new();
        Workload::key(number, &mut name);
        let acknowledged = ledger.bounds(number).0;
        let found = self.get(&name);
        let sequence = match &found {
            None => Some(0),
            Some(value) => ledger.workload.sequence_of(number, value, &mut Vec::new()),
        };
        let sent = ledger.bounds(number).1;
        match sequence {
            Some(sequence) if acknowledged <= sequence && sequence <= sent => {
                ledger.observe(number, sequence);
                Ok(())
            }
            found => Err(format!("key {number} has {found:?}; acknowledged {acknowledged}, sent {sent}")),
        }
    }

    fn attempt<R>(&mut self, request: &[u8], each: &impl Fn(Reply<'_>) -> R) -> Attempt<R> {
        let client = match &mut self.client {
            Some(client) => client,
            none => match Client::connect_within(self.target, self.answer) {
                Ok(client) => none.insert(client),
                Err(_) => return Attempt::NotDone(None),
            },
        };
        let answer: io::Result<_> =
            client.send(request).and_then(|()| client.receive(|reply| judge(reply, each)));
        // Whatever was sent may have been done.
        answer.unwrap_or(Attempt::Unknown)
    }

    fn go_elsewhere(&mut self, elsewhere: Option<SocketAddr>) {
        self.client = None;
        if elsewhere.is_none() {
            self.at = (self.at + 1) % self.addresses.len();
        }
        self.target = elsewhere.unwrap_or(self.addresses[self.at]);
    }
}

fn judge<R>(reply: Reply<'_>, each: &impl Fn(Reply<'_>) -> R) -> Attempt<R> {
    let Reply::Error(error) = reply else { return Attempt::Done(each(reply)) };
    let mut words = error.split(|byte| *byte == b' ');
    match words.next().unwrap_or_default() {
        b"MOVED" => {
            let address = words.nth(1).and_then(|address| std::str::from_utf8(address).ok());
            let address = address.and_then(|address| address.parse().ok());
            Attempt::NotDone(Some(address.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(error)))))
        }
        b"TIMEOUT" => Attempt::Unknown,
        word if NOT_DONE.contains(&word) => Attempt::NotDone(None),
        _ => Attempt::Done(each(reply)),
    }
}
