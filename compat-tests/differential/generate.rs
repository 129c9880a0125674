//! Random sequences of requests from a seed: every row of the command table, with arguments that follow its syntax line
//! and some that do not, commands that nobody knows, transactions, and pipelines.

use fastrand::Rng;
use sisyphusdb::command::{Argument, Command, Compare, Group, Kind, all, flag, parse_syntax};

use crate::values;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Which of the two connections sends it.
    pub(crate) sender: usize,
    /// Whether it leaves in one packet with the next, if that is of the same connection.
    pub(crate) with_next: bool,
    pub(crate) words: Vec<Vec<u8>>,
}

/// Rows that cannot be compared, or would end the comparison; each has a case of its own, and so have those of DEBUG,
/// which every server words for itself.
const LEFT_OUT: &[(&str, &str)] = &[
    ("BGSAVE", "when it is over is nobody's to say"),
    ("CLIENT|KILL", "closes the connections that are compared"),
    ("CLIENT|REPLY", "there would be no reply"),
    ("CONFIG|REWRITE", "the servers have no file"),
    ("CONFIG|SET", "would change how the servers behave"),
    ("MEMORY|DOCTOR", "wording is each server's own"),
    ("MEMORY|MALLOC-STATS", "the allocator's"),
    ("QUIT", "closes the connection that is compared"),
    ("SAVE", "takes long"),
    ("SHUTDOWN", "ends the server"),
    ("WAIT", "would wait for replicas that there are none of"),
    ("WAITAOF", "would wait for replicas that there are none of"),
];

/// Options that are newer than their commands, with the version of Valkey that has them.
const NEWER_OPTIONS: &[(&str, &str)] = &[("NOVALUES", "8.0.0")];

/// Makes sequences.
pub(crate) struct Generator {
    rng: Rng,
    /// Of the server that we are compared with.
    version: Vec<u32>,
    /// Commands on data, which are most of a sequence.
    data: Vec<&'static Command>,
    other: Vec<&'static Command>,
}

impl Generator {
    /// Sequences of `seed`, with commands that a server of `version` has.
    pub(crate) fn new(seed: u64, version: &str) -> Self {
        let version = number(version);
        let usable = |command: &&Command| {
            !command.has(flag::CONTAINER)
                && !command.has(flag::DEBUG)
                && number(command.since) <= version
                && command.group != Group::Transactions
                // The others are no cluster, and say so.
                && command.group != Group::Cluster
                && !LEFT_OUT.iter().any(|(name, _)| *name == command.name)
        };
        let (data, other) = all()
            .iter()
            .filter(usable)
            .partition(|command| matches!(command.group, Group::String | Group::Generic | Group::Hash));
        Self { rng: Rng::with_seed(seed), version, data, other }
    }

    /// A sequence of `length` requests.
    pub(crate) fn sequence(&mut self, length: usize) -> Vec<Step> {
        let mut queues = [false; 2];
        (0..length)
            .map(|_| {
                let sender = usize::from(self.rng.u8(..3) == 0);
                let (words, joins) = self.request(&mut queues[sender]);
                Step { sender, with_next: joins && self.rng.u8(..3) == 0, words }
            })
            .collect()
    }

    /// A request of a connection that queues or not, and whether others may follow in its packet.
    fn request(&mut self, queues: &mut bool) -> (Vec<Vec<u8>>, bool) {
        let name = match self.rng.u8(..100) {
            0..15 if *queues => "EXEC",
            15..17 if *queues => "DISCARD",
            0..4 if !*queues => "MULTI",
            4..8 if !*queues => "WATCH",
            8..9 if !*queues => "EXEC",
            17..18 => ["MULTI", "WATCH", "UNWATCH", "DISCARD"][self.rng.usize(..4)],
            18..20 => return (self.unknown(), true),
            20..28 => self.other[self.rng.usize(..self.other.len())].name,
            _ => self.data[self.rng.usize(..self.data.len())].name,
        };
        match name {
            "MULTI" => *queues = true,
            "EXEC" | "DISCARD" | "RESET" => *queues = false,
            _ => {}
        }
        let command = all().iter().find(|command| command.name == name).expect("it was taken from the table");
        // A walk, or what a random pick may be, is asked for behind the reply, before anything changes.
        (self.words(command), !matches!(command.compare, Compare::Scan | Compare::Member))
    }

    /// What nobody knows.
    fn unknown(&mut self) -> Vec<Vec<u8>> {
        let mut words: Vec<Vec<u8>> = values::UNKNOWN[self.rng.usize(..values::UNKNOWN.len())]
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        for _ in 0..self.rng.usize(..4) {
            words.push(values::text(&mut self.rng));
        }
        words
    }

    fn words(&mut self, command: &Command) -> Vec<Vec<u8>> {
        let mut words: Vec<Vec<u8>> = command.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        let name = words.len();
        let syntax = parse_syntax(command.syntax);
        for argument in &syntax {
            self.argument(command, argument, &mut words);
        }
        if matches!(command.name, "HSET" | "HMSET") && self.rng.u8(..12) == 0 {
            let many = self.rng.usize(100..300);
            words.extend((0..many).flat_map(|at| [format!("field:{at}").into_bytes(), b"v".to_vec()]));
        }
        self.spoil(&syntax, name, &mut words);
        lengthen(&mut words);
        if self.rng.bool() {
            words[..name].iter_mut().for_each(|word| word.make_ascii_lowercase());
        }
        words
    }

    /// Writes an argument as the syntax has it.
    fn argument(&mut self, command: &Command, argument: &Argument, words: &mut Vec<Vec<u8>>) {
        let times = match (argument.optional, argument.multiple) {
            _ if argument.token.as_deref().is_some_and(|token| self.is_newer(token)) => 0,
            (false, false) => 1,
            (true, false) => usize::from(self.rng.u8(..3) == 0),
            (false, true) => self.rng.usize(1..4),
            (true, true) => self.rng.usize(..3),
        };
        for _ in 0..times {
            words.extend(argument.token.as_ref().map(|token| self.cased(token)));
            match argument.kind {
                Kind::PureToken => {}
                Kind::OneOf => {
                    let choice = &argument.inner[self.rng.usize(..argument.inner.len())];
                    self.argument(command, choice, words);
                }
                Kind::Block => {
                    argument.inner.iter().for_each(|inner| self.argument(command, inner, words));
                }
                Kind::String | Kind::Integer | Kind::Double | Kind::Key | Kind::Pattern | Kind::UnixTime => {
                    words.push(values::of(command, &argument.name, &mut self.rng))
                }
            }
        }
    }

    /// Whether the server does not have an option yet.
    fn is_newer(&self, token: &str) -> bool {
        NEWER_OPTIONS.iter().any(|(newer, since)| *newer == token && number(since) > self.version)
    }

    fn cased(&mut self, token: &str) -> Vec<u8> {
        if self.rng.u8(..4) == 0 { token.to_ascii_lowercase() } else { token.to_owned() }.into_bytes()
    }

    /// Makes one request in six wrong, or unusual, behind its first `name` words.
    fn spoil(&mut self, syntax: &[Argument], name: usize, words: &mut Vec<Vec<u8>>) {
        let at = self.rng.usize(name..=words.len());
        let is_word = at < words.len();
        match self.rng.u8(..36) {
            0 if is_word => drop(words.pop()),
            1 => words.push(values::junk(&mut self.rng)),
            2 | 3 if is_word => words[at] = values::junk(&mut self.rng),
            4 if is_word => words[name..].rotate_left(1),
            5 if is_word => words.insert(at, words[at].clone()),
            6 | 7 => {
                let mut tokens = tokens(syntax);
                tokens.retain(|token| !self.is_newer(token));
                if !tokens.is_empty() {
                    let token = tokens[self.rng.usize(..tokens.len())];
                    words.push(self.cased(token));
                }
            }
            _ => {}
        }
    }
}

/// Makes times to live so long that no key expires while it is compared, wherever a small number has come to stand.
fn lengthen(words: &mut [Vec<u8>]) {
    const RELATIVE: [&[u8]; 6] = [b"EX", b"PX", b"EXPIRE", b"PEXPIRE", b"SETEX", b"PSETEX"];
    let is_relative = |word: &Vec<u8>| RELATIVE.iter().any(|name| word.eq_ignore_ascii_case(name));
    if words.iter().any(is_relative) {
        let is_short = |word: &Vec<u8>| {
            let number = std::str::from_utf8(word).ok().and_then(|word| word.parse::<u32>().ok());
            number.is_some_and(|number| 0 < number && number < 100_000)
        };
        words.iter_mut().filter(|word| is_short(word)).for_each(|word| word.extend(b"00000000"));
    }
}

/// All tokens of a syntax line.
fn tokens(syntax: &[Argument]) -> Vec<&str> {
    syntax
        .iter()
        .flat_map(|argument| argument.token.as_deref().into_iter().chain(tokens(&argument.inner)))
        .collect()
}

/// A version as something that can be compared.
fn number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().expect("versions are numbers")).collect()
}
