//! The executor alone, told by the test what became of its proposals and permits, as if other nodes had a say in it:
//! above all, a leader that cannot prove that it leads answers nothing.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use sisyphusdb::{
    bugs::{self, Bug},
    disk::{Disk, SimDisk},
    executor::{Executor, Input, Limits, Message, Output, Recipient, Reserve, Tuning},
    keyspace,
    log::{Entry, EntryKind},
    lsm,
    raft::{Role, Verdict},
};
use tokio::sync::oneshot;

use super::{
    client::{Mailbox, call},
    world::SimClock,
};

/// An executor, and what came out of it.
pub(super) struct Node {
    disk: SimDisk,
    pub(super) executor: Executor,
    pub(super) clock: SimClock,
    pub(super) outputs: Vec<Output>,
}

impl Node {
    /// An executor on an empty tree.
    pub(super) fn new() -> Self {
        Self::with_reserve(Reserve::default())
    }

    /// An executor on an empty tree, that keeps `reserve` free of its disk.
    fn with_reserve(reserve: Reserve) -> Self {
        let disk = SimDisk::new(1);
        disk.create_dir("tree").unwrap();
        let cache = Arc::new(lsm::Cache::new(1 << 20));
        let options = lsm::Options::new(keyspace::FAMILIES, cache, 1 << 20);
        let tree = lsm::Tree::open(Arc::new(disk.clone()), "tree", options).unwrap();
        let limits = Limits {
            in_flight_bytes_max: 1 << 20,
            entry_bytes_max: 1 << 20,
            backlog_bytes_max: 1 << 20,
            reserve,
        };
        let tuning =
            Tuning { limits: keyspace::Limits::default(), slow_ns: u64::MAX, reply_bytes_max: usize::MAX };
        let executor = Executor::new(tree, limits, tuning, 1).unwrap();
        Self { disk, executor, clock: SimClock::default(), outputs: Vec::new() }
    }

    /// The leader of term 1, whose no-op is applied.
    pub(super) fn leader() -> Self {
        let mut node = Self::new();
        node.lead(1, 1);
        node
    }

    /// Becomes the leader of a term, and applies its no-op at `index`.
    fn lead(&mut self, term: u64, index: u64) {
        self.turn(Input::Changed { term, role: Role::Leader });
        let noop = Entry { index, term, kind: EntryKind::Noop, body: Bytes::new() };
        self.turn(Input::Committed(vec![noop]));
        assert!(self.executor.is_leading());
    }

    /// Sends a command that writes, and lets its entry be appended and applied at `index`.
    fn write(&mut self, words: &[&str], index: u64) -> Arc<Mailbox> {
        let (written, body) = self.propose(words);
        self.turn(committed(index, EntryKind::Effects, body));
        written
    }

    /// Sends a command that writes, and lets its entry be appended; returns its body.
    pub(super) fn propose(&mut self, words: &[&str]) -> (Arc<Mailbox>, Bytes) {
        let written = self.send(words);
        let at = self.outputs.iter().position(|output| matches!(output, Output::Propose(_)));
        let Output::Propose(proposal) = self.outputs.remove(at.expect("a write is proposed")) else {
            unreachable!("it was just found")
        };
        self.turn(Input::Proposed(proposal.id, Verdict::Accepted));
        assert!(written.take().is_none(), "accepted is not applied");
        (written, proposal.body)
    }

    /// Runs the jobs that were asked for, and returns how many of them were flushes.
    pub(super) fn run_jobs(&mut self) -> usize {
        let flushes = self.flushes();
        let asked = |output: &mut Output| matches!(output, Output::Flush(_) | Output::Compact(_));
        let jobs: Vec<Output> = self.outputs.extract_if(.., asked).collect();
        for job in jobs {
            let installed = match job {
                Output::Flush(job) => job.run(),
                Output::Compact(job) => job.run(),
                _ => unreachable!("only jobs were taken"),
            };
            self.turn(Input::Installed(installed.unwrap()));
        }
        flushes
    }

    /// How many flushes were asked for.
    fn flushes(&self) -> usize {
        self.outputs.iter().filter(|output| matches!(output, Output::Flush(_))).count()
    }

    pub(super) fn turn(&mut self, input: Input) {
        self.clock.us.fetch_add(1_000, Ordering::Relaxed);
        self.executor.turn(&mut VecDeque::from([input]), &self.clock, false, &mut self.outputs).unwrap();
        let outputs = std::mem::take(&mut self.outputs);
        for output in outputs {
            match output {
                Output::Answer(recipient, answer) => recipient.deliver(answer),
                Output::Lose(recipient) => recipient.lose(),
                Output::GiveBack(message) => message.recipient.give_back(message.items),
                output => self.outputs.push(output),
            }
        }
    }

    pub(super) fn send(&mut self, words: &[&str]) -> Arc<Mailbox> {
        let mailbox = Mailbox::new(1);
        let recipient: Arc<dyn Recipient> = Arc::<Mailbox>::clone(&mailbox);
        self.turn(Input::Message(Message::new(recipient, VecDeque::from([call(words)]))));
        mailbox
    }

    /// The number of the permit that was asked for last.
    fn asked(&self) -> Option<u64> {
        self.outputs.iter().rev().find_map(|output| match output {
            Output::AskPermit(number) => Some(*number),
            _ => None,
        })
    }
}

pub(super) fn committed(index: u64, kind: EntryKind, body: Bytes) -> Input {
    Input::Committed(vec![Entry { index, term: 1, kind, body }])
}

/// A leader with a key that a client was told is written.
fn leader_with_a_key() -> Node {
    let mut node = Node::leader();
    let written = node.write(&["SET", "key", "old"], 2);
    assert_eq!(written.take().unwrap().unwrap(), b"+OK\r\n");
    node
}

#[test]
fn a_read_is_answered_when_a_permit_made_after_it_is_there() {
    let mut node = leader_with_a_key();
    let read = node.send(&["GET", "key"]);
    let asked = node.asked().expect("a drain without an entry needs a permit");
    node.turn(Input::Permit(asked - 1));
    assert!(read.take().is_none(), "that permit was made before the read was evaluated");
    node.turn(Input::Permit(asked));
    assert_eq!(read.take().unwrap().unwrap(), b"$3\r\nold\r\n");
}

#[test]
fn a_permit_of_a_leadership_before_says_nothing_of_this_one() {
    let mut node = leader_with_a_key();
    node.send(&["GET", "key"]);
    let before = node.asked().expect("a drain without an entry needs a permit");
    node.turn(Input::Changed { term: 2, role: Role::Follower });
    node.lead(3, 3);
    let read = node.send(&["GET", "key"]);
    // Asked for in term 1, proved in term 3, but before this read was evaluated.
    node.turn(Input::Permit(before));
    assert!(read.take().is_none(), "nobody has proved the leadership since");
    node.turn(Input::Permit(node.asked().unwrap()));
    assert_eq!(read.take().unwrap().unwrap(), b"$3\r\nold\r\n");
}

/// A leader with two keys, whose disk has room for deletes only, and the bytes that are used of it.
fn leader_with_little_room() -> (Node, u64) {
    let mut node = Node::with_reserve(Reserve { log_bytes: 1_000_000, writes_bytes: 3_000_000 });
    node.lead(1, 1);
    node.write(&["SET", "a", "1"], 2);
    node.write(&["SET", "b", "1"], 3);
    node.turn(Input::Tick);
    assert_eq!(node.flushes(), 0, "with room a memtable is filled first");
    node.disk.set_capacity(Some(1 << 40));
    let used = (1 << 40) - node.disk.free_bytes().unwrap();
    node.disk.set_capacity(Some(used + 2_000_000));
    node.turn(Input::Tick);
    (node, used)
}

#[test]
fn what_is_deleted_is_written_out_when_there_is_too_little_room() {
    let (mut node, _) = leader_with_little_room();
    node.write(&["DEL", "a"], 4);
    node.turn(Input::Tick);
    assert_eq!(node.flushes(), 1, "no write will come to fill it");
    node.write(&["DEL", "b"], 5);
    node.turn(Input::Tick);
    let sealed = node.executor.tree().view().sealed_memtables();
    assert_eq!(sealed, 1, "one is written out at a time");
}

#[test]
fn what_finds_no_room_is_not_tried_again_each_second() {
    let (mut node, used) = leader_with_little_room();
    node.write(&["DEL", "a"], 4);
    node.disk.set_capacity(Some(used));
    let mut tried = 0;
    for _ in 0..10 {
        node.clock.us.fetch_add(1_000_000, Ordering::Relaxed);
        node.turn(Input::Tick);
        tried += node.run_jobs();
    }
    assert!((2..=4).contains(&tried), "it was tried {tried} times in ten seconds");
}

#[test]
fn who_follows_on_a_disk_short_of_room_keeps_no_log_for_others() {
    let mut node = Node::with_reserve(Reserve { log_bytes: 1_000_000, writes_bytes: 3_000_000 });
    node.turn(Input::Changed { term: 1, role: Role::Follower });
    node.turn(committed(1, EntryKind::Noop, Bytes::new()));
    let cuts = |node: &mut Node| {
        node.turn(Input::Tick);
        node.run_jobs();
        std::mem::take(&mut node.outputs)
            .into_iter()
            .filter_map(|output| match output {
                Output::Cut { index, is_short } => Some((index, is_short)),
                _ => None,
            })
            .max()
    };
    cuts(&mut node);
    assert_eq!(cuts(&mut node), None, "there is room");
    node.disk.set_capacity(Some(1 << 40));
    let used = (1 << 40) - node.disk.free_bytes().unwrap();
    node.disk.set_capacity(Some(used + 2_000_000));
    cuts(&mut node);
    assert_eq!(cuts(&mut node), Some((1, true)));
    assert_eq!(cuts(&mut node), Some((1, true)), "who keeps something may still have to be told");
}

#[test]
fn with_a_snapshot_the_disk_is_asked_how_much_room_is_left() {
    let mut sender = leader_with_a_key();
    sender.turn(Input::Seal);
    assert_eq!(sender.run_jobs(), 1);
    let (wanted, mut made) = oneshot::channel();
    sender.turn(Input::Checkpoint(wanted));
    let checkpoint = made.try_recv().unwrap().run("copy").unwrap();

    let mut node = Node::with_reserve(Reserve { log_bytes: 1_000_000, writes_bytes: 3_000_000 });
    node.lead(1, 1);
    node.run_jobs();
    let refused = node.send(&["SET", "a", "1"]);
    node.turn(Input::Changed { term: 2, role: Role::Follower });
    assert!(refused.take().unwrap().is_err(), "it was not applied");
    let dir = lsm::Tree::receive(&node.disk, "tree").unwrap();
    for name in sender.disk.list("copy/gen-000001").unwrap() {
        let file = node.disk.create(&format!("{dir}/{name}")).unwrap();
        file.write_at(&sender.disk.contents(&format!("copy/gen-000001/{name}")).unwrap(), 0).unwrap();
        file.sync().unwrap();
    }
    node.disk.sync_dir(&dir).unwrap();
    node.disk.set_capacity(Some(1 << 40));
    let used = (1 << 40) - node.disk.free_bytes().unwrap();
    node.disk.set_capacity(Some(used + 2_000_000));
    node.turn(Input::Install(checkpoint.flushed.position));
    node.turn(Input::LogReset);
    node.lead(3, 3);
    let denied = node.send(&["SET", "a", "1"]);
    node.turn(Input::Permit(node.asked().expect("it is answered without an entry")));
    assert!(denied.take().unwrap().unwrap().starts_with(b"-MISCONF"), "the snapshot has taken the room");
}

/// Whether a leader that has been replaced without knowing it keeps an answer back that its successor has made stale.
fn a_deposed_leader_is_silent() -> bool {
    let mut node = leader_with_a_key();
    let read = node.send(&["GET", "key"]);
    // Meanwhile others elect a leader that acknowledges another value; nothing but silence comes from them.
    node.turn(Input::Resume);
    let silent = read.take().is_none();
    node.turn(Input::Changed { term: 2, role: Role::Follower });
    silent
}

#[test]
fn a_leader_that_nobody_confirms_answers_no_read() {
    assert!(a_deposed_leader_is_silent());
    assert!(
        !bugs::with(Bug::AnswerWithoutPermit, a_deposed_leader_is_silent),
        "the planted bug is not found"
    );
}

#[test]
fn a_start_does_not_wait_for_compactions() {
    let mut node = Node::new();
    let compacts = |node: &Node| node.outputs.iter().any(|output| matches!(output, Output::Compact(_)));
    node.turn(committed(1, EntryKind::Noop, Bytes::new()));
    assert!(!compacts(&node), "entries of the log are applied again");
    node.turn(Input::Changed { term: 2, role: Role::Leader });
    assert!(compacts(&node));
}
