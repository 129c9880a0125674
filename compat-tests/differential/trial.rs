//! Servers that get the same requests, each over two connections: one speaks RESP2 and one RESP3.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use sisyphusdb::command::{self, Compare};
use sisyphusdb::resp::Args;

use crate::compare::{near, same};
use crate::generate::Step;
use crate::wire::{Reply, Wire};

/// Databases that requests may select.
const DATABASES: [&str; 4] = ["0", "1", "2", "15"];
/// Times to live start when a request arrives, which is not at the same time everywhere.
const EXPIRY_TOLERANCE_MS: u64 = 5_000;
/// Pages after which a walk is one that never ends.
const PAGES_MAX: usize = 10_000;
/// Characters of a reply that are shown, to people and in `differences.tsv`.
const SHOWN_MAX: usize = 300;

/// The connections to one server.
struct Server {
    wires: [Wire; 2],
}

impl Server {
    fn connect(address: SocketAddr) -> Self {
        Self { wires: [(); 2].map(|()| Wire::connect(address).unwrap()) }
    }

    fn ask(&mut self, words: &[impl AsRef<[u8]>]) -> Reply {
        self.wires[0].ask(words).unwrap()
    }

    /// Ends what the connections have begun: transactions, watches, names, protocols.
    fn reset(&mut self) {
        for (wire, protocol) in self.wires.iter_mut().zip(["2", "3"]) {
            assert_eq!(wire.ask(&["RESET"]).unwrap(), Reply::Status(b"RESET".to_vec()));
            assert!(!matches!(wire.ask(&["HELLO", protocol]).unwrap(), Reply::Error(_)));
        }
    }

    /// All that a walk yields, from its first page to its last, in order; `at` is the word of its cursor.
    fn walk(&mut self, step: &Step, at: usize, mut page: Reply) -> Reply {
        let alone = at == 1 || step.words.iter().any(|word| word.eq_ignore_ascii_case(b"NOVALUES"));
        let mut found = BTreeSet::new();
        for _ in 0..PAGES_MAX {
            let [cursor, elements] = page.elements() else { return page };
            found.extend(elements.elements().chunks(if alone { 1 } else { 2 }).map(<[Reply]>::to_vec));
            let cursor = cursor.text().unwrap_or_default().to_vec();
            if cursor == b"0" {
                return Reply::Array(found.into_iter().flatten().collect());
            }
            let mut next = step.words.clone();
            next[at] = cursor;
            page = self.wires[step.sender].ask(&next).unwrap();
        }
        panic!("a walk that does not end: {step:?}");
    }

    /// Everything that is stored: for each key its type, its value, and when it expires.
    fn contents(&mut self) -> BTreeMap<String, [Reply; 3]> {
        let mut all = BTreeMap::new();
        for db in DATABASES {
            self.ask(&["SELECT", db]);
            for name in self.ask(&["KEYS", "*"]).elements() {
                let name = name.text().unwrap();
                let kind = self.ask(&[b"TYPE", name]);
                let value = match kind.text() {
                    Some(b"hash") => {
                        let fields = self.ask(&[b"HGETALL", name]);
                        let pairs: BTreeSet<&[Reply]> = fields.elements().chunks(2).collect();
                        Reply::Array(pairs.into_iter().flatten().cloned().collect())
                    }
                    _ => self.ask(&[b"GET", name]),
                };
                let expiry = self.ask(&[b"PEXPIRETIME", name]);
                all.insert(format!("{db}:{}", name.escape_ascii()), [kind, value, expiry]);
            }
        }
        all
    }
}

/// What a request is called, and how its replies are compared.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    compare: Compare,
}

impl Row {
    fn of(step: &Step) -> Self {
        let words: Vec<&[u8]> = step.words.iter().map(Vec::as_slice).collect();
        match command::resolve(&Args::from_slices(&words)) {
            Ok(command) => Self { name: command.name.to_owned(), compare: command.compare },
            Err(_) => Self {
                name: words[0].escape_ascii().to_string().to_ascii_uppercase(),
                compare: Compare::Exact,
            },
        }
    }
}

/// Replies that should be the same, as they are shown.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// The row of the command table, or the word that names none.
    pub(crate) command: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
    /// The second oracle's, if there is one.
    pub(crate) second: Option<String>,
}

/// How a sequence ended, and behind how many of its steps.
pub(crate) enum End {
    /// Nothing differs.
    Same,
    /// We differ from the first oracle.
    Difference(usize, Difference),
    /// The oracles differ, and we are as the first. What follows cannot be compared.
    Disagreement,
}

/// A node of ours and one or two oracles.
pub(crate) struct Trial {
    /// Ours is the first.
    servers: Vec<Server>,
    /// What each connection has queued behind MULTI.
    queued: [Vec<Row>; 2],
    /// Requests sent to each server.
    pub(crate) requests: u64,
}

impl Trial {
    pub(crate) fn new(ours: SocketAddr, oracles: &[SocketAddr]) -> Self {
        let addresses = std::iter::once(ours).chain(oracles.iter().copied());
        Self { servers: addresses.map(Server::connect).collect(), queued: Default::default(), requests: 0 }
    }

    /// Runs a sequence, from nothing, to its end or the first difference.
    pub(crate) fn run(&mut self, steps: &[Step]) -> End {
        self.queued = Default::default();
        for server in &mut self.servers {
            server.reset();
            server.ask(&["FLUSHALL"]);
        }
        let mut at = 0;
        while at < steps.len() {
            let first = at;
            while at + 1 < steps.len() && steps[at].with_next && steps[at + 1].sender == steps[first].sender {
                at += 1;
            }
            at += 1;
            match self.run_packet(&steps[first..at]) {
                End::Same => {}
                End::Difference(within, difference) => return End::Difference(first + within, difference),
                End::Disagreement => return End::Disagreement,
            }
        }
        self.compare_contents(steps.len())
    }

    /// Sends requests of one connection in one packet, to all servers at once, and compares the replies.
    fn run_packet(&mut self, steps: &[Step]) -> End {
        let sender = steps[0].sender;
        let packet: Vec<u8> = steps.iter().flat_map(|step| Wire::request(&step.words)).collect();
        for server in &mut self.servers {
            server.wires[sender].send(&packet).unwrap();
        }
        self.requests += steps.len() as u64;
        // All are read, whatever they are, so that the next packet finds the connections in step.
        let replies: Vec<Vec<Reply>> = steps
            .iter()
            .map(|step| {
                let wires = self.servers.iter_mut().map(|server| &mut server.wires[sender]);
                wires.map(|wire| wire.reply().unwrap_or_else(|error| panic!("{error}: {step:?}"))).collect()
            })
            .collect();
        for (at, (step, replies)) in steps.iter().zip(replies).enumerate() {
            let end = self.compare(step, replies, at + 1 == steps.len());
            match end {
                End::Same => {}
                End::Difference(_, difference) => return End::Difference(at + 1, difference),
                End::Disagreement => return end,
            }
        }
        End::Same
    }

    fn compare(&mut self, step: &Step, replies: Vec<Reply>, is_last: bool) -> End {
        let row = Row::of(step);
        if replies.iter().all(|reply| reply.text() == Some(b"QUEUED")) {
            self.queued[step.sender].push(row);
            return End::Same;
        }
        let queued = match row.name.as_str() {
            "EXEC" | "DISCARD" | "RESET" => std::mem::take(&mut self.queued[step.sender]),
            _ => Vec::new(),
        };
        let is_run = |reply: &Reply| reply.elements().len() == queued.len();
        if row.name == "EXEC" && replies.iter().all(is_run) {
            let inner =
                |at: usize| replies.iter().map(move |reply| &reply.elements()[at]).collect::<Vec<_>>();
            let ends = queued.iter().enumerate().map(|(at, row)| different(row, &inner(at)));
            return ends.into_iter().find(|end| !matches!(end, End::Same)).unwrap_or(End::Same);
        }
        let end = different(&row, &replies.iter().collect::<Vec<_>>());
        match (&end, row.compare) {
            (End::Same, Compare::Scan) if is_last => self.compare_walks(step, &row, replies),
            (End::Same, Compare::Member) if is_last => self.compare_members(step, &row, &replies),
            _ => end,
        }
    }

    fn compare_walks(&mut self, step: &Step, row: &Row, pages: Vec<Reply>) -> End {
        let cursor = if row.name == "SCAN" { 1 } else { 2 };
        if step.words[cursor] != b"0" {
            // Nobody has given out this cursor.
            return End::Same;
        }
        let walks = self.servers.iter_mut().zip(pages).map(|(server, page)| server.walk(step, cursor, page));
        let walks: Vec<Reply> = walks.collect();
        let row = Row { compare: Compare::Exact, ..row.clone() };
        different(&row, &walks.iter().collect::<Vec<_>>())
    }

    /// Finds what each server picked at random in what it has. That all have the same is compared at the end.
    fn compare_members(&mut self, step: &Step, row: &Row, picks: &[Reply]) -> End {
        for (server, pick) in self.servers.iter_mut().zip(picks) {
            let wire = &mut server.wires[step.sender];
            let all = match step.words.get(1) {
                Some(key) if row.name != "RANDOMKEY" => wire.ask(&[&b"HGETALL"[..], key]).unwrap(),
                _ => wire.ask(&["KEYS", "*"]).unwrap(),
            };
            let known = texts(&all);
            if !texts(pick).is_subset(&known) {
                return differs(&row.name, [pick, &all].into_iter());
            }
        }
        End::Same
    }

    fn compare_contents(&mut self, steps: usize) -> End {
        let contents: Vec<BTreeMap<String, [Reply; 3]>> = self
            .servers
            .iter_mut()
            .map(|server| {
                server.reset();
                server.contents()
            })
            .collect();
        let names: BTreeSet<&String> = contents.iter().flat_map(BTreeMap::keys).collect();
        for name in names {
            let records: Vec<Reply> = contents
                .iter()
                .map(|contents| {
                    contents.get(name).map_or(Reply::Null, |record| Reply::Array(record.to_vec()))
                })
                .collect();
            let mut end = End::Same;
            if !records[2..].iter().all(|record| is_same_record(&records[1], record)) {
                end = End::Disagreement;
            }
            if !is_same_record(&records[0], &records[1]) {
                end = differs(&format!("key {name}"), records.iter());
            }
            match end {
                End::Same => {}
                End::Difference(_, difference) => return End::Difference(steps, difference),
                End::Disagreement => return end,
            }
        }
        End::Same
    }
}

/// Whether two keys have the same type and value and expire at about the same time.
fn is_same_record(left: &Reply, right: &Reply) -> bool {
    match (left.elements(), right.elements()) {
        ([left @ .., left_expiry], [right @ .., right_expiry]) => {
            left == right && near(left_expiry, right_expiry, EXPIRY_TOLERANCE_MS)
        }
        (left, right) => left == right,
    }
}

/// Compares the replies to one request: ours, and those of the oracles.
fn different(row: &Row, replies: &[&Reply]) -> End {
    if !same(row.compare, replies[0], replies[1]) {
        return differs(&row.name, replies.iter().copied());
    }
    let agree = replies[2..].iter().all(|reply| same(row.compare, replies[1], reply));
    if agree { End::Same } else { End::Disagreement }
}

/// A difference of one step.
fn differs<'a>(command: &str, mut replies: impl Iterator<Item = &'a Reply>) -> End {
    let mut next = || replies.next().map(shown);
    let (ours, theirs, second) = (next().unwrap(), next().unwrap(), next());
    End::Difference(1, Difference { command: command.to_owned(), ours, theirs, second })
}

/// The beginning of a reply, for people.
fn shown(reply: &Reply) -> String {
    let mut text = reply.to_string();
    if let Some((cut, _)) = text.char_indices().nth(SHOWN_MAX) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// All strings of a reply.
fn texts(reply: &Reply) -> BTreeSet<Vec<u8>> {
    let own = reply.text().map(<[u8]>::to_vec);
    own.into_iter().chain(reply.elements().iter().flat_map(texts)).collect()
}
