//! A simulated client: what it has asked for, what was acknowledged, and what its keys may therefore hold.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use sisyphusdb::{
    command::{self, Handler},
    executor::{Answer, Call, Item, Message, Recipient, Step, Transaction, Watch, WatchCall},
    keyspace::{self, Failure},
    resp::{Args, Outbox, Protocol, ReplyWriter},
};

/// What arrived for one client since it last looked.
#[derive(Debug, Default)]
struct Inbox {
    reply: Vec<u8>,
    done: bool,
    lost: Option<Outcome>,
}

/// The address of one client: where answers are put.
#[derive(Debug)]
pub(super) struct Mailbox {
    id: u64,
    inbox: Mutex<Inbox>,
}

/// What became of a message that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It had no effect and never will.
    NotDone,
    /// It may be done.
    Unknown,
}

impl Recipient for Mailbox {
    fn deliver(&self, answer: Answer) {
        let mut inbox = self.inbox.lock().unwrap();
        inbox.reply.extend_from_slice(&answer.reply.into_bytes());
        assert!(!inbox.done, "a message is answered once");
        inbox.done = answer.done;
    }

    fn lose(&self) {
        self.inbox.lock().unwrap().lost = Some(Outcome::Unknown);
    }

    fn give_back(&self, _: VecDeque<Item>) {
        // What is unknown of one part is unknown of the whole.
        self.inbox.lock().unwrap().lost.get_or_insert(Outcome::NotDone);
    }

    fn backlog(&self, _: usize) -> Option<usize> {
        Some(0)
    }

    fn slow(&self, _: &Args, _: u64) {}

    fn id(&self) -> u64 {
        self.id
    }
}

impl Mailbox {
    pub(super) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self { id, inbox: Mutex::default() })
    }

    /// The whole answer, once it is there, or why there is none.
    pub(super) fn take(&self) -> Option<Result<Vec<u8>, Outcome>> {
        let mut inbox = self.inbox.lock().unwrap();
        if let Some(lost) = inbox.lost {
            assert!(!inbox.done, "a message is answered or lost");
            return Some(Err(lost));
        }
        if !inbox.done {
            return None;
        }
        inbox.done = false;
        Some(Ok(std::mem::take(&mut inbox.reply)))
    }
}

impl Mailbox {
    /// The replies that have arrived since this was last called, whether more are to come or not, and why none will.
    pub(super) fn take_parts(&self) -> (Vec<u8>, Option<Outcome>) {
        let mut inbox = self.inbox.lock().unwrap();
        inbox.done = false;
        (std::mem::take(&mut inbox.reply), inbox.lost)
    }
}

/// Where a client is in its work.
#[derive(Debug)]
enum Doing {
    Nothing,
    /// The transaction that makes its keys hold `n`.
    Writing(u64),
    /// Reads the shared counter, watched.
    Reading,
    /// Moves the shared counter on if nobody has changed it.
    Swapping,
    /// Asks what its keys hold, after a transaction of which nobody knows whether it was done.
    Settling,
}

/// A client with keys of its own, and its part in a shared counter.
///
/// Invariant: its keys hold a number from `acknowledged` to `submitted`.
pub(super) struct Client {
    pub(super) mailbox: Arc<Mailbox>,
    doing: Doing,
    /// Nobody knows whether the last transaction was done.
    is_unsettled: bool,
    watch: Arc<Watch>,
    /// What the client's keys hold at least and at most.
    pub(super) acknowledged: u64,
    pub(super) submitted: u64,
    /// How often it certainly moved the shared counter, and how often it may have.
    pub(super) swaps_done: u64,
    pub(super) swaps_unknown: u64,
    /// Transactions for which the disk had no room.
    pub(super) without_room: u64,
}

/// What a transaction is told that the disk has no room for.
const NO_ROOM: &[u8] = b"-EXECABORT Transaction discarded because of: the disk is nearly full\r\n";

impl Client {
    pub(super) fn new(id: u64) -> Self {
        Self {
            mailbox: Mailbox::new(id),
            doing: Doing::Nothing,
            is_unsettled: false,
            watch: Arc::default(),
            acknowledged: 0,
            submitted: 0,
            swaps_done: 0,
            swaps_unknown: 0,
            without_room: 0,
        }
    }

    fn id(&self) -> u64 {
        self.mailbox.id
    }

    /// The next message, if the client waits for nothing.
    pub(super) fn next(&mut self, rng: &mut fastrand::Rng) -> Option<Message> {
        if !matches!(self.doing, Doing::Nothing) {
            return None;
        }
        let items = match rng.u8(..3) {
            _ if self.is_unsettled => {
                self.doing = Doing::Settling;
                vec![call(&["GET", &format!("string:{}", self.id())])]
            }
            0 => {
                self.doing = Doing::Reading;
                self.watch = Arc::default();
                vec![watch(&self.watch, "shared"), call(&["GET", "shared"])]
            }
            _ => {
                self.submitted += 1;
                self.doing = Doing::Writing(self.submitted);
                vec![self.write(rng)]
            }
        };
        Some(self.message(items))
    }

    /// One transaction that moves the counter of all and every key of this client, through several types.
    fn write(&self, rng: &mut fastrand::Rng) -> Item {
        let (id, n) = (self.id(), self.submitted.to_string());
        let (string, hash, fleeting) =
            (format!("string:{id}"), format!("hash:{id}"), format!("fleeting:{id}"));
        let field = format!("field:{}", rng.u8(..));
        let filler = "x".repeat(rng.usize(..300));
        let steps = [
            vec!["INCR", "sequence"],
            vec!["SET", &string, &n],
            vec!["HSET", &hash, "n", &n, &field, &filler],
            vec!["SET", &fleeting, &filler, "PX", "5"],
            vec!["HDEL", &hash, "field:1", "field:2", "field:3"],
        ];
        transaction(steps.iter().map(|words| step(words)).collect(), None)
    }

    fn message(&self, items: Vec<Item>) -> Message {
        let recipient: Arc<dyn Recipient> = Arc::<Mailbox>::clone(&self.mailbox);
        Message::new(recipient, VecDeque::from(items))
    }

    /// Looks whether it has been answered; a client in the middle of something goes on with the returned message.
    pub(super) fn look(&mut self) -> Option<Message> {
        let reply = match self.mailbox.take()? {
            Ok(reply) => reply,
            Err(Outcome::Unknown) => {
                self.lose_touch();
                return None;
            }
            Err(Outcome::NotDone) => {
                if matches!(self.doing, Doing::Writing(_)) {
                    // It had no effect and never will: the next transaction takes its number.
                    self.submitted -= 1;
                }
                self.mailbox = Mailbox::new(self.id());
                self.doing = Doing::Nothing;
                return None;
            }
        };
        let was_writing = matches!(self.doing, Doing::Writing(_));
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing => panic!("client {} was answered and had not asked", self.id()),
            Doing::Writing(_) | Doing::Swapping if reply == NO_ROOM => {
                self.without_room += 1;
                self.submitted -= u64::from(was_writing);
                None
            }
            Doing::Writing(n) => {
                assert!(reply.starts_with(b"*5\r\n:"), "{}", String::from_utf8_lossy(&reply));
                self.acknowledged = n;
                None
            }
            Doing::Settling => {
                // The leader that answers has applied everything of its predecessors, and nothing else will follow.
                let n = bulk(&reply).map_or(0, |text| text.parse().unwrap());
                assert!(self.acknowledged <= n && n <= self.submitted, "{n} of {}", self.submitted);
                (self.acknowledged, self.submitted, self.is_unsettled) = (n, n, false);
                None
            }
            Doing::Reading => {
                let value = bulk(reply.strip_prefix(b"+OK\r\n").unwrap());
                let next = value.map_or(0, |value| value.parse::<u64>().unwrap()) + 1;
                self.doing = Doing::Swapping;
                let next = next.to_string();
                let steps = vec![step(&["SET", "shared", &next])];
                Some(self.message(vec![transaction(steps, Some(Arc::clone(&self.watch)))]))
            }
            Doing::Swapping => {
                match &reply[..] {
                    b"*1\r\n+OK\r\n" => self.swaps_done += 1,
                    b"*-1\r\n" => {}
                    other => panic!("EXEC answered {}", String::from_utf8_lossy(other)),
                }
                None
            }
        }
    }

    /// Nobody will answer any more, while the cluster lives on: finds out what became of the last transaction.
    pub(super) fn lose_touch(&mut self) {
        let is_unsettled = self.is_unsettled || matches!(self.doing, Doing::Writing(_) | Doing::Settling);
        self.forget();
        self.is_unsettled = is_unsettled;
    }

    /// Whether it has asked and was not answered.
    pub(super) fn waits(&self) -> bool {
        !matches!(self.doing, Doing::Nothing)
    }

    /// The node or its leadership is gone: what was asked and not answered may have been done or not.
    pub(super) fn forget(&mut self) {
        if matches!(self.doing, Doing::Swapping) {
            self.swaps_unknown += 1;
        }
        self.doing = Doing::Nothing;
        self.is_unsettled = false;
        self.mailbox = Mailbox::new(self.id());
    }
}

/// What became of a read on a view.
pub(super) enum Answered {
    Reply(Vec<u8>),
    /// Only the executor can answer it.
    Elsewhere,
    /// The data cannot be read.
    Failed,
}

/// Runs a command on `view` as a connection does.
pub(super) fn read(view: &keyspace::View<'_>, words: &[&str]) -> Answered {
    let Step::Call(call) = step(words) else { unreachable!("the simulation uses commands on data") };
    let Handler::Read(run) = call.command.handler else { unreachable!("a read") };
    let mut reply = Outbox::new();
    match run(view, &call.args, &mut ReplyWriter::new(&mut reply, call.protocol)) {
        Ok(()) => Answered::Reply(reply.into_bytes().to_vec()),
        Err(Failure::Local(_)) => Answered::Failed,
        Err(Failure::Stop(_)) => Answered::Elsewhere,
        Err(Failure::Client(_)) => panic!("{words:?} is a plain read"),
    }
}

/// A command as an item of a message.
pub(super) fn call(words: &[&str]) -> Item {
    match step(words) {
        Step::Call(call) => Item::Call(call),
        Step::Deferred(_) => unreachable!("the simulation uses commands on data"),
    }
}

pub(super) fn step(words: &[&str]) -> Step {
    let slices: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let args = Args::from_slices(&slices);
    let command = command::resolve(&args).unwrap();
    Step::Call(Call { command, args, db: 0, protocol: Protocol::Resp2, silent: false })
}

pub(super) fn transaction(steps: Vec<Step>, watch: Option<Arc<Watch>>) -> Item {
    Item::Transaction(Transaction { steps, watch, protocol: Protocol::Resp2, silent: false })
}

pub(super) fn watch(watch: &Arc<Watch>, key: &str) -> Item {
    Item::Watch(WatchCall {
        watch: Arc::clone(watch),
        keys: vec![bytes::Bytes::copy_from_slice(key.as_bytes())],
        db: 0,
        protocol: Protocol::Resp2,
        silent: false,
    })
}

/// The text of a bulk string or an integer, `None` for a null.
pub(super) fn bulk(reply: &[u8]) -> Option<String> {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    let (head, rest) = text.split_once("\r\n").unwrap();
    match head {
        "$-1" => None,
        integer if integer.starts_with(':') => Some(integer[1..].to_owned()),
        _ => Some(rest.trim_end_matches("\r\n").to_owned()),
    }
}
