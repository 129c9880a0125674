//! Situations written down as scripts (`src/raft/testscripts`), readable without knowing Rust.
//!
//! - `nodes N [message=BYTES] [kept=BYTES] [max=BYTES]`: a new cluster of N voters, how much one message holds, and how much
//!   of what is in tables is kept in the log for any member, and for one that takes entries
//! - `add ID`: a node that knows of nobody
//! - `campaign ID`: it stands for election, if no promise forbids that
//! - `wait MS`: time passes, and what is due happens
//! - `pass MS`: time passes, and nobody notices yet
//! - `empty FROM TO term=TERM after=INDEX`: an [`Append`](Body::Append) without entries arrives
//! - `deliver [from=ID] [to=ID] [kind=WORD]`: such messages arrive, those that wait now, in the order sent
//! - `drop [from=ID] [to=ID] [kind=WORD]`: such messages are lost
//! - `sync [ID] [count=N]`: what is on the way to the disk is there
//! - `snapshot`: the first snapshot that is under way arrives
//! - `complete [ID]`: reads from the log and installations of snapshots are done
//! - `stabilize`: all of that until nothing is under way; no time passes
//! - `propose ID BODY`, `read ID`, `transfer ID [to=ID]`
//! - `pause ID [term=TERM]`: its executor has paused; or says so, as the leader of that term
//! - `change ID [add=ID] [promote=ID] [demote=ID] [remove=ID]`
//! - `flush ID [cut=INDEX] [short=true]`: what is applied survives, and the log may lose its entries up to there; or should,
//!   since the disk is short of room
//! - `crash ID [kept=N]`, `start ID`: of what is on the way to its disk, N operations survive
//! - `unreachable ID peer=ID`: the stream from the peer breaks
//! - `status`: a line for each node
//!
//! What the nodes put out is printed, except for a command in parentheses.

use std::{error::Error, fmt::Write as _, str::FromStr};

use goldenscript::{ArgumentConsumer, Command, Context, Runner};

use super::cluster::Cluster;
use crate::{
    bugs::{self, Bug},
    log::{Entry, Operation, Position},
    raft::{Body, Change, Configuration, Input, Message, NodeId, Output, Reading},
};

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Script(Cluster);

/// Which messages.
#[derive(Default)]
struct Filter {
    from: Option<NodeId>,
    to: Option<NodeId>,
    kind: Option<String>,
}

impl Filter {
    fn take(args: &mut ArgumentConsumer<'_>) -> Outcome<Self> {
        Ok(Self {
            from: id(args, "from")?,
            to: id(args, "to")?,
            kind: args.take_key("kind").map(str::to_owned),
        })
    }

    fn fits(&self, message: &Message) -> bool {
        self.from.is_none_or(|from| from == message.from)
            && self.to.is_none_or(|to| to == message.to)
            && self.kind.as_ref().is_none_or(|kind| body(&message.body).starts_with(kind))
    }
}

fn id(args: &mut ArgumentConsumer<'_>, key: &str) -> Outcome<Option<u64>> {
    number(args, key)
}

fn number<T: FromStr<Err: Error + 'static>>(
    args: &mut ArgumentConsumer<'_>,
    key: &str,
) -> Outcome<Option<T>> {
    Ok(args.take_key(key).map(str::parse).transpose()?)
}

impl Script {
    #[expect(clippy::too_many_lines, reason = "one arm per command")]
    fn execute(&mut self, command: &Command) -> Outcome<Option<String>> {
        let mut args = command.consume_args();
        let name = command.name.as_str();
        let node: Option<NodeId> = args.next_pos().map(str::parse).transpose()?;
        let cluster = &mut self.0;
        match (name, node) {
            ("nodes", Some(count)) => {
                *cluster = Cluster::new(1..=count, 0);
                let bounds = &mut cluster.bounds;
                bounds.message_bytes_max = number(&mut args, "message")?.unwrap_or(bounds.message_bytes_max);
                bounds.kept_bytes = number(&mut args, "kept")?.unwrap_or(bounds.kept_bytes);
                bounds.kept_bytes_max = number(&mut args, "max")?.unwrap_or(bounds.kept_bytes_max);
                (1..=count).for_each(|id| {
                    cluster.crash(id, 0);
                    cluster.start(id);
                });
            }
            ("pass", Some(ms)) => cluster.now += ms * 1000,
            ("empty", Some(from)) => {
                let to = args.next_pos().ok_or("to whom?")?.parse()?;
                let term = id(&mut args, "term")?.ok_or("no term")?;
                let index = id(&mut args, "after")?.ok_or("no index")?;
                let previous =
                    Position { index, term: cluster.raft(to).tail().term(index).ok_or("no entry")? };
                let body = Body::Append { previous, commit: 0, entries: Vec::new() };
                cluster.step(to, Input::Message(Message { from, to, term, body }));
            }
            ("add", Some(node)) => cluster.add(node, Configuration::default()),
            ("campaign", Some(node)) => cluster.step(node, Input::Campaign),
            ("wait", Some(ms)) => {
                cluster.now += ms * 1000;
                cluster.tick();
            }
            ("deliver", None) => self.deliver(&Filter::take(&mut args)?),
            ("drop", None) => {
                let filter = Filter::take(&mut args)?;
                cluster.network.retain(|message| !filter.fits(message));
            }
            ("sync", node) => {
                let count = number(&mut args, "count")?.unwrap_or(usize::MAX);
                node.map_or_else(|| cluster.up(), |node| vec![node])
                    .into_iter()
                    .for_each(|node| cluster.sync(node, count));
            }
            ("snapshot", None) => cluster.deliver_snapshot(0),
            ("complete", node) => {
                node.map_or_else(|| cluster.up(), |node| vec![node])
                    .into_iter()
                    .for_each(|node| cluster.complete(node));
            }
            ("stabilize", None) => self.stabilize(),
            ("propose", Some(node)) => {
                let body = args.next_pos().ok_or("no body")?.to_owned();
                cluster.propose(node, &body);
            }
            ("read", Some(node)) => {
                cluster.read(node);
            }
            ("transfer", Some(node)) => cluster.step(node, Input::Transfer(id(&mut args, "to")?)),
            ("pause", Some(node)) => match number(&mut args, "term")? {
                Some(term) => cluster.step(node, Input::Paused(term)),
                None => cluster.pause(node),
            },
            ("change", Some(node)) => cluster.change(node, changes(&mut args)?),
            ("flush", Some(node)) => {
                let cut = id(&mut args, "cut")?.unwrap_or(0);
                let is_short = number(&mut args, "short")?.unwrap_or(false);
                cluster.flush(node, cut, is_short);
            }
            ("crash", Some(node)) => {
                let kept = number(&mut args, "kept")?.unwrap_or(0);
                cluster.crash(node, kept);
            }
            ("start", Some(node)) => cluster.start(node),
            ("unreachable", Some(node)) => {
                let peer = id(&mut args, "peer")?.ok_or("no peer")?;
                cluster.step(node, Input::Unreachable(peer));
            }
            ("status", None) => return Ok(Some(cluster.status())),
            _ => return Err(format!("what is {name}?").into()),
        }
        args.reject_next()?;
        Ok(None)
    }

    fn deliver(&mut self, filter: &Filter) {
        let (now, later) = self.0.network.drain(..).partition(|message| filter.fits(message));
        self.0.network = now;
        for _ in 0..self.0.network.len() {
            self.0.deliver(0);
        }
        let new = std::mem::replace(&mut self.0.network, later);
        self.0.network.extend(new);
    }

    fn stabilize(&mut self) {
        loop {
            let before = self.0.trace.len();
            self.deliver(&Filter::default());
            for id in self.0.up() {
                self.0.sync(id, usize::MAX);
                self.0.complete(id);
                self.0.pause(id);
            }
            while !self.0.snapshots.is_empty() {
                self.0.deliver_snapshot(0);
            }
            if before == self.0.trace.len() {
                return;
            }
        }
    }
}

fn changes(args: &mut ArgumentConsumer<'_>) -> Outcome<Vec<Change>> {
    let mut changes = Vec::new();
    changes.extend(id(args, "add")?.map(|id| Change::Add(id, format!("node {id}").into())));
    changes.extend(id(args, "promote")?.map(Change::Promote));
    changes.extend(id(args, "demote")?.map(Change::Demote));
    changes.extend(id(args, "remove")?.map(Change::Remove));
    Ok(changes)
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Outcome<String> {
        self.0.trace.clear();
        if let Some(text) = self.execute(command)? {
            return Ok(text);
        }
        self.0.check_logs();
        let mut out = String::new();
        for (node, output) in &self.0.trace {
            writeln!(out, "{node} {}", line(output))?;
        }
        Ok(out)
    }
}

fn line(output: &Output) -> String {
    match output {
        Output::Persist { operation: Operation::Entry(of), .. } => format!("writes {}", entry(of)),
        Output::Persist { operation, .. } => format!("writes {operation:?}"),
        Output::Send(message) => {
            format!("→ {} in term {}: {}", message.to, message.term, body(&message.body))
        }
        Output::Committed(entries) => {
            format!("applies {}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Output::Changed { term, role, leader } => format!("is {role:?} in term {term}, leader {leader:?}"),
        Output::Configured { configuration, leaving } => {
            let joint = if configuration.is_joint() { " (joint)" } else { "" };
            let leaving = match leaving.is_empty() {
                true => String::new(),
                false => format!(", leaving {:?}", leaving.keys()),
            };
            format!("has voters {:?} of {:?}{joint}{leaving}", configuration.voters(), configuration.ids())
        }
        other => format!("{other:?}"),
    }
}

fn entry(entry: &Entry) -> String {
    let body = match Configuration::decode(entry.body.clone()) {
        Some(_) => "membership".to_owned(),
        None => String::from_utf8_lossy(&entry.body).into_owned(),
    };
    format!("{}@{} {body}", entry.index, entry.term).trim_end().to_owned()
}

fn body(body: &Body) -> String {
    match body {
        Body::Append { previous, commit, entries } => {
            let entries = entries.iter().map(entry).collect::<Vec<_>>().join(", ");
            format!("Append after {}@{} commit={commit} [{entries}]", previous.index, previous.term)
        }
        Body::HeartbeatReply { round, lag: 0 } => format!("HeartbeatReply {{ round: {round} }}"),
        other => format!("{other:?}"),
    }
}

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/raft/testscripts");

fn path(name: &str) -> String {
    format!("{DIR}/{name}.txt")
}

fn run(name: &str) {
    goldenscript::run(&mut Script(Cluster::new(1..=3, 0)), path(name)).unwrap();
}

fn scripts() -> Vec<String> {
    let files = std::fs::read_dir(DIR).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files.map(|file| file.trim_end_matches(".txt").to_owned()).collect();
    names.sort();
    names
}

#[test]
fn every_situation_ends_as_written() {
    let names = scripts();
    assert!(20 <= names.len(), "the scripts are not there");
    names.iter().for_each(|name| run(name));
}

#[test]
#[should_panic(expected = "the log has what is to be applied")]
fn a_log_that_has_lost_what_is_committed_ends_the_node() {
    let mut script = Script(Cluster::new(1..=3, 0));
    script.0.step(1, Input::Campaign);
    script.stabilize();
    script.0.crash(3, 0);
    script.0.start(3);
    script.0.now += 30_000;
    script.0.tick();
    script.deliver(&Filter::default());
    let (reading, from, _) = script.0.nodes[&3].fetches[0];
    assert_eq!((reading, from), (Reading::Apply, 1));
    script.0.step(3, Input::Fetched(reading, Vec::new()));
}

/// The bugs that a script notices: what needs a rare constellation is written down.
const NOTICED: &[(Bug, &str)] = &[
    (Bug::RaftVoteForgotten, "one_vote_per_term"),
    (Bug::RaftLeadBeforeVoteDurable, "candidate_waits_for_its_own_vote"),
    (Bug::RaftCommitOfEarlierTerm, "figure_8"),
    (Bug::RaftAcknowledgeLast, "acknowledge_what_is_covered"),
    (Bug::RaftSnapshotOverLog, "snapshot_of_what_is_there"),
    (Bug::RaftSnapshotWithoutMembership, "snapshot_carries_the_membership"),
    (Bug::RaftRoundServesLaterReads, "round_serves_earlier_reads"),
    (Bug::RaftPromiseForgotten, "promise_outlives_a_restart"),
    (Bug::RaftPromiseBroken, "promise_keeps_the_vote"),
    (Bug::RaftLeaseFromAnswer, "lease_counts_from_sending"),
    (Bug::RaftLeaseAfterTransfer, "transfer_ends_the_lease"),
    (Bug::RaftChangeUnchecked, "change_waits_for_the_term"),
    (Bug::RaftChangeNotJoint, "joint_consensus"),
];

#[test]
fn each_planted_bug_fails_its_script() {
    for (bug, name) in NOTICED {
        let written = std::fs::read_to_string(path(name)).unwrap();
        let script = || goldenscript::generate(&mut Script(Cluster::new(1..=3, 0)), &written).unwrap();
        let unnoticed = bugs::with(*bug, || std::panic::catch_unwind(script).is_ok_and(|now| now == written));
        assert!(!unnoticed, "{bug:?} is not noticed by {name}");
    }
}
