//! Clients of which every operation is recorded: registers, texts, counters, pairs of keys that change together, a key that
//! is changed only by who watched it, and keys that expire. At the end the history of each object must be explained.

use std::{collections::VecDeque, sync::Arc};

use sisyphusdb::executor::{Item, Message, Recipient, Watch};

use super::super::{
    client::{Mailbox, Outcome, call, step, transaction, watch},
    history::{self, Command, Operation, Reply},
};

/// Operations after which an object is left alone and another takes its place: so each history is short.
const OPERATIONS: usize = 50;

/// The most that may be added by those that were under way then.
const OPERATIONS_MAX: usize = 120;

/// The session that only reads: nothing that it waits for keeps it from reading on at a leader that is none any more.
const READER: usize = 2;

/// What an object is, and so what is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Register,
    Text,
    Counter,
    Pair,
    Watched,
    Fleeting,
}

const KINDS: [Kind; 6] =
    [Kind::Register, Kind::Text, Kind::Counter, Kind::Pair, Kind::Watched, Kind::Fleeting];

impl Kind {
    fn keys(self) -> usize {
        if self == Self::Pair { 2 } else { 1 }
    }
}

struct Object {
    kind: Kind,
    /// Those that had no effect are none.
    operations: Vec<Option<Operation>>,
}

/// An operation of an object.
#[derive(Clone, Copy, Debug)]
struct Place {
    object: usize,
    operation: usize,
}

/// What a session waits for: the replies of its message, in order.
#[derive(Debug)]
enum Asked {
    Command(Place),
    Exec(Place),
    /// The OK of WATCH.
    Watch,
}

/// A connection, and what it has asked for.
struct Session {
    mailbox: Arc<Mailbox>,
    /// The machine that it is connected to.
    pub(super) with: Option<usize>,
    asked: VecDeque<Asked>,
    /// A watch that is set, of an object, since it was read there.
    watched: Option<(usize, Arc<Watch>, Place)>,
}

/// A read beside the executor that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    object: usize,
    called: u64,
}

/// The sessions, and what they did.
pub(super) struct Workload {
    objects: Vec<Object>,
    /// The objects that are used now, one of each kind.
    current: [usize; KINDS.len()],
    sessions: Vec<Session>,
    /// Counts calls and answers.
    time: u64,
    next_connection: u64,
    next_value: u64,
    pub(super) operations: u64,
    pub(super) unknown: u64,
}

/// The name of a key of an object.
pub(super) fn key_name(object: usize, key: usize) -> String {
    format!("object:{object}:{key}")
}

impl Workload {
    pub(super) fn new(sessions: usize) -> Self {
        let mut workload = Self {
            objects: Vec::new(),
            current: [0; KINDS.len()],
            sessions: Vec::new(),
            time: 0,
            next_connection: 100,
            next_value: 0,
            operations: 0,
            unknown: 0,
        };
        for (at, kind) in KINDS.into_iter().enumerate() {
            workload.current[at] = at;
            workload.objects.push(Object { kind, operations: Vec::new() });
        }
        for _ in 0..sessions {
            let mailbox = workload.connect();
            let session = Session { mailbox, with: None, asked: VecDeque::new(), watched: None };
            workload.sessions.push(session);
        }
        workload
    }

    fn connect(&mut self) -> Arc<Mailbox> {
        self.next_connection += 1;
        Mailbox::new(self.next_connection)
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The machine that a session is connected to.
    pub(super) fn connected_to(&self, session: usize) -> Option<usize> {
        self.sessions[session].with
    }

    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    /// A session looks at what has arrived, and sends its next message to the machine `to` if it waits for nothing.
    /// While it waits it loses its patience once in `patience` times.
    pub(super) fn act(
        &mut self,
        session: usize,
        to: usize,
        patience: u16,
        rng: &mut fastrand::Rng,
    ) -> Option<Message> {
        self.look(session);
        if !self.sessions[session].asked.is_empty() {
            if rng.u16(..patience) == 0 {
                self.disconnect(session, Outcome::Unknown);
            }
            return None;
        }
        if self.sessions[session].with != Some(to) {
            self.disconnect(session, Outcome::NotDone);
            self.sessions[session].with = Some(to);
        }
        let items = match self.sessions[session].watched.take() {
            Some((object, watch, read)) => self.swap(session, object, watch, read)?,
            None => self.next_items(session, rng),
        };
        let recipient: Arc<dyn Recipient> = Arc::<Mailbox>::clone(&self.sessions[session].mailbox);
        Some(Message::new(recipient, items))
    }

    fn next_items(&mut self, session: usize, rng: &mut fastrand::Rng) -> VecDeque<Item> {
        let mut items = VecDeque::new();
        let at = rng.usize(..KINDS.len());
        let object = self.current_object(at);
        let kind = KINDS[at];
        let reads_only = session == READER;
        if kind == Kind::Watched && rng.u8(..4) != 0 && !reads_only {
            let set = Arc::<Watch>::default();
            items.push_back(watch(&set, &key_name(object, 0)));
            self.sessions[session].asked.push_back(Asked::Watch);
            let read = self.begin(session, object, vec![Command::Get(0)], None);
            items.push_back(call(&["GET", &key_name(object, 0)]));
            self.sessions[session].watched = Some((object, set, read));
            return items;
        }
        let mut before = None;
        for _ in 0..rng.usize(1..4) {
            let commands = self.commands(kind, reads_only || rng.u8(..5) < 2);
            items.push_back(item(object, kind, &commands, rng));
            let place = self.begin(session, object, commands, before);
            before = Some(place.operation);
        }
        items
    }

    /// The object of a kind that is in use; a new one if that has had enough.
    fn current_object(&mut self, at: usize) -> usize {
        if self.objects[self.current[at]].operations.len() >= OPERATIONS {
            self.current[at] = self.objects.len();
            self.objects.push(Object { kind: KINDS[at], operations: Vec::new() });
        }
        self.current[at]
    }

    fn commands(&mut self, kind: Kind, reads: bool) -> Vec<Command> {
        self.next_value += 1;
        let value = self.next_value.to_string();
        match kind {
            Kind::Pair if reads => vec![Command::Get(0), Command::Get(1)],
            Kind::Pair => vec![Command::Set(0, value.clone()), Command::Get(1), Command::Set(1, value)],
            _ if reads => vec![Command::Get(0)],
            Kind::Text => vec![Command::Append(0, format!("{value};"))],
            Kind::Counter => vec![Command::Increment(0)],
            Kind::Register | Kind::Watched | Kind::Fleeting => vec![Command::Set(0, value)],
        }
    }

    /// Records that a session asks for something.
    fn begin(
        &mut self,
        session: usize,
        object: usize,
        commands: Vec<Command>,
        after: Option<usize>,
    ) -> Place {
        let called = self.tick();
        self.operations += 1;
        let Object { kind, operations } = &mut self.objects[object];
        let place = Place { object, operation: operations.len() };
        let blank =
            Operation { guard: None, commands: Vec::new(), replies: None, called, answered: u64::MAX, after };
        let asked = match kind {
            Kind::Pair => Asked::Exec(place),
            _ => Asked::Command(place),
        };
        let expires = match (&commands[..], *kind) {
            ([Command::Set(key, value)], Kind::Fleeting) => Some(Command::Expire(*key, value.clone())),
            _ => None,
        };
        operations.push(Some(Operation { commands, ..blank.clone() }));
        if let Some(expires) = expires {
            operations.push(Some(Operation { commands: vec![expires], after: None, ..blank }));
        }
        self.sessions[session].asked.push_back(asked);
        place
    }

    /// Changes what was read under a watch, if nobody else has changed it.
    fn swap(
        &mut self,
        session: usize,
        object: usize,
        watch: Arc<Watch>,
        read: Place,
    ) -> Option<VecDeque<Item>> {
        let seen = self.objects[object].operations[read.operation].as_ref()?;
        let Some([Reply::Value(seen)]) = seen.replies.as_deref() else { return None };
        let seen = seen.clone();
        self.next_value += 1;
        let value = self.next_value.to_string();
        let place = self.begin(session, object, vec![Command::Set(0, value.clone())], None);
        let operation = self.objects[object].operations[place.operation].as_mut().expect("it was just begun");
        operation.guard = Some((0, seen));
        let asked = self.sessions[session].asked.back_mut().expect("it was just asked");
        *asked = Asked::Exec(place);
        let steps = vec![step(&["SET", &key_name(object, 0), &value])];
        Some(VecDeque::from([transaction(steps, Some(watch))]))
    }

    /// Takes what has arrived for a session.
    pub(super) fn look(&mut self, session: usize) {
        let of = &mut self.sessions[session];
        let (replies, lost) = of.mailbox.take_parts();
        self.take_replies(session, &replies);
        if let Some(outcome) = lost {
            self.disconnect(session, outcome);
        }
    }

    fn take_replies(&mut self, session: usize, replies: &[u8]) {
        let mut rest = replies;
        while !rest.is_empty() {
            let (reply, behind) = parse(rest);
            rest = behind;
            match self.sessions[session].asked.pop_front().expect("there are as many replies as commands") {
                Asked::Watch => assert!(matches!(reply, Resp::Simple), "WATCH answered {reply:?}"),
                Asked::Command(place) => self.end(place, vec![reply]),
                Asked::Exec(place) => match reply {
                    Resp::Array(Some(replies)) => self.end(place, replies),
                    // What was watched has changed, or may have.
                    Resp::Array(None) => self.drop_operation(place),
                    error @ Resp::Error(_) => self.end(place, vec![error]),
                    other => panic!("EXEC answered {other:?}"),
                },
            }
        }
    }

    fn end(&mut self, place: Place, replies: Vec<Resp>) {
        if let [Resp::Error(error)] = &replies[..] {
            // An error of a good command says that it had no effect; what is uncertain has another text.
            assert!(!error.starts_with("TIMEOUT"), "the executor knows what became of it: {error}");
            return self.drop_operation(place);
        }
        let answered = self.tick();
        let operation = self.objects[place.object].operations[place.operation].as_mut();
        let operation = operation.expect("it is answered once");
        let replies = replies.into_iter().map(|reply| match reply {
            Resp::Simple => Reply::Ok,
            Resp::Integer(number) => Reply::Number(number),
            Resp::Bulk(value) => Reply::Value(value),
            other @ (Resp::Error(_) | Resp::Array(_)) => panic!("a command answered {other:?}"),
        });
        operation.replies = Some(replies.collect());
        operation.answered = answered;
    }

    /// It had no effect and never will.
    fn drop_operation(&mut self, place: Place) {
        self.objects[place.object].operations[place.operation] = None;
    }

    /// Nobody will answer what a session has asked for; it connects anew.
    pub(super) fn disconnect(&mut self, session: usize, outcome: Outcome) {
        let asked = std::mem::take(&mut self.sessions[session].asked);
        for asked in asked {
            match (asked, outcome) {
                (Asked::Watch, _) => {}
                (Asked::Command(place) | Asked::Exec(place), Outcome::NotDone) => self.drop_operation(place),
                (Asked::Command(_) | Asked::Exec(_), Outcome::Unknown) => self.unknown += 1,
            }
        }
        let mailbox = self.connect();
        let session = &mut self.sessions[session];
        session.mailbox = mailbox;
        session.with = None;
        session.watched = None;
    }

    /// A machine has died, and all its connections with it.
    pub(super) fn died(&mut self, machine: usize) {
        for session in 0..self.sessions.len() {
            if self.sessions[session].with == Some(machine) {
                self.look(session);
                self.disconnect(session, Outcome::Unknown);
            }
        }
    }

    /// Whether somebody waits for an answer.
    pub(super) fn waits(&mut self) -> bool {
        (0..self.sessions.len()).for_each(|session| self.look(session));
        self.sessions.iter().any(|session| !session.asked.is_empty())
    }

    /// A read beside the executor arrives.
    pub(super) fn begin_read(&mut self, rng: &mut fastrand::Rng) -> Read {
        Read { object: self.current[rng.usize(..KINDS.len())], called: self.tick() }
    }

    /// The keys that a read looks up, all in one view.
    pub(super) fn keys_of(&self, read: Read) -> Vec<String> {
        (0..self.objects[read.object].kind.keys()).map(|key| key_name(read.object, key)).collect()
    }

    /// A read is answered.
    pub(super) fn end_read(&mut self, read: Read, values: Vec<Option<String>>) {
        let answered = self.tick();
        self.operations += 1;
        let operations = &mut self.objects[read.object].operations;
        if operations.len() < OPERATIONS_MAX {
            operations.push(Some(Operation {
                guard: None,
                commands: (0..values.len()).map(Command::Get).collect(),
                replies: Some(values.into_iter().map(Reply::Value).collect()),
                called: read.called,
                answered,
                after: None,
            }));
        }
    }

    /// Every history is explained.
    pub(super) fn check(&self) {
        for (at, object) in self.objects.iter().enumerate() {
            let kept: Vec<usize> =
                (0..object.operations.len()).filter(|at| object.operations[*at].is_some()).collect();
            let operations: Vec<Operation> = object.operations.iter().flatten().cloned().collect();
            let renumber = |mut operation: Operation| {
                operation.after = operation.after.and_then(|before| kept.binary_search(&before).ok());
                operation
            };
            let operations: Vec<Operation> = operations.into_iter().map(renumber).collect();
            if let Err(why) = history::check(object.kind.keys(), &operations) {
                panic!("the history of object {at}, {:?}, is not linearizable: {why}", object.kind);
            }
        }
    }

    /// All that was done, as a text that is the same if the same was done.
    pub(super) fn trace(&self) -> String {
        let operations = self.objects.iter().flat_map(|object| object.operations.iter().flatten());
        operations.map(|operation| format!("{operation:?}")).collect()
    }
}

/// The commands as a client sends them.
fn item(object: usize, kind: Kind, commands: &[Command], rng: &mut fastrand::Rng) -> Item {
    let expires = rng.u8(1..40).to_string();
    let words: Vec<Vec<String>> = commands
        .iter()
        .map(|command| {
            let words = match command {
                Command::Get(key) => vec!["GET".to_owned(), key_name(object, *key)],
                Command::Set(key, value) => vec!["SET".to_owned(), key_name(object, *key), value.clone()],
                Command::Append(key, text) => vec!["APPEND".to_owned(), key_name(object, *key), text.clone()],
                Command::Increment(key) => vec!["INCR".to_owned(), key_name(object, *key)],
                Command::Expire(..) => unreachable!("nobody asks for it"),
            };
            let fleeting = kind == Kind::Fleeting && matches!(command, Command::Set(..));
            let end = if fleeting { vec!["PX".to_owned(), expires.clone()] } else { Vec::new() };
            [words, end].concat()
        })
        .collect();
    let words: Vec<Vec<&str>> =
        words.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
    match kind {
        Kind::Pair => transaction(words.iter().map(|words| step(words)).collect(), None),
        _ => call(&words[0]),
    }
}

/// A reply, as RESP2 has it.
#[derive(Debug)]
enum Resp {
    Simple,
    Error(String),
    Integer(u64),
    Bulk(Option<String>),
    Array(Option<Vec<Resp>>),
}

/// The first reply, and what is behind it.
fn parse(bytes: &[u8]) -> (Resp, &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("replies are whole");
    let line = std::str::from_utf8(&bytes[1..end]).expect("text");
    let mut rest = &bytes[end + 2..];
    let reply = match bytes[0] {
        b'+' => Resp::Simple,
        b'-' => Resp::Error(line.to_owned()),
        b':' => Resp::Integer(line.parse().expect("a number that is not negative")),
        b'$' if line == "-1" => Resp::Bulk(None),
        b'$' => {
            let (value, behind) = rest.split_at(line.parse().expect("a length"));
            rest = behind.strip_prefix(b"\r\n").expect("a bulk string ends");
            Resp::Bulk(Some(String::from_utf8(value.to_vec()).expect("text")))
        }
        b'*' if line == "-1" => Resp::Array(None),
        b'*' => {
            let count: usize = line.parse().expect("a length");
            let mut items = Vec::new();
            for _ in 0..count {
                let (item, behind) = parse(rest);
                items.push(item);
                rest = behind;
            }
            Resp::Array(Some(items))
        }
        other => panic!("no reply begins with {other}"),
    };
    (reply, rest)
}
