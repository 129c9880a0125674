//! How a command is declared: one row with its name, its syntax, its handler, and what differs from the rule.
//!
//! Everything that follows from these is derived here and nowhere else: arity from the syntax line, `write` and
//! `readonly` from the kind of handler, ACL categories from group and flags, key positions from the key specs.

use smallvec::SmallVec;

use super::node::{Ask, NodeContext};
use super::syntax;
use crate::keyspace::{Result, View, WriteTxn};
use crate::resp::{Args, ReplyWriter};
use crate::session::Session;

/// Changes data.
pub type WriteHandler = fn(&mut WriteTxn<'_>, &Args, &mut ReplyWriter<'_>) -> Result<()>;
/// Reads data.
pub type ReadHandler = fn(&View<'_>, &Args, &mut ReplyWriter<'_>) -> Result<()>;
/// Concerns the client that sent it.
pub type SessionHandler = fn(&mut Session, &Args, &mut ReplyWriter<'_>) -> Result<()>;
/// Looks at this node, and may ask something of it.
pub type NodeHandler = fn(&mut NodeContext<'_>, &Args, &mut ReplyWriter<'_>) -> Result<Option<Ask>>;

/// How a command reaches its data: the one place where the write path and the read path part.
///
/// A handler that returns an error has written nothing that stays: whoever calls it cuts the reply back to its mark.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// Run by the leader's executor; its effects go to every node.
    Write(WriteHandler),
    /// Run on this node, on a view that is recent enough, or in the executor behind a write.
    Read(ReadHandler),
    /// Acts at once, on the connection's task; it is given no data.
    Session(SessionHandler),
    /// Ends the message that it is in and runs after it.
    Node(NodeHandler),
    /// Known to dispatch itself.
    Transaction(Transaction),
}

/// The five commands of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// Starts to queue.
    Multi,
    /// Runs what was queued, as one entry.
    Exec,
    /// Forgets what was queued.
    Discard,
    /// Makes the next EXEC depend on keys.
    Watch,
    /// Forgets what was watched.
    Unwatch,
}

/// The documentation group of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Strings.
    String,
    /// Keys of any type.
    Generic,
    /// Hashes.
    Hash,
    /// Transactions.
    Transactions,
    /// The connection and its client.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
}

impl Group {
    /// The word of COMMAND DOCS.
    pub fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Generic => "generic",
            Self::Hash => "hash",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }

    /// The ACL category that all commands of the group have.
    const fn category(self) -> u32 {
        match self {
            Self::String => acl::STRING,
            Self::Generic => acl::KEYSPACE,
            Self::Hash => acl::HASH,
            Self::Transactions => acl::TRANSACTION,
            Self::Connection => acl::CONNECTION,
            Self::Server | Self::Cluster => 0,
        }
    }
}

/// What a command does and where it may run, as bits.
pub mod flag {
    /// Changes data.
    pub const WRITE: u32 = 1 << 0;
    /// Reads data only.
    pub const READONLY: u32 = 1 << 1;
    /// May need memory, and is refused when there is none.
    pub const DENY_OOM: u32 = 1 << 2;
    /// For administrators.
    pub const ADMIN: u32 = 1 << 3;
    /// Publishes or subscribes.
    pub const PUBSUB: u32 = 1 << 4;
    /// Not to be called by a script.
    pub const NOSCRIPT: u32 = 1 << 5;
    /// May wait for a key.
    pub const BLOCKING: u32 = 1 << 6;
    /// Allowed before this node has its data.
    pub const LOADING: u32 = 1 << 7;
    /// Allowed when this node has lost its leader.
    pub const STALE: u32 = 1 << 8;
    /// Left out of the slow log.
    pub const SKIP_SLOWLOG: u32 = 1 << 9;
    /// Takes constant or logarithmic time.
    pub const FAST: u32 = 1 << 10;
    /// Allowed before authentication.
    pub const NO_AUTH: u32 = 1 << 11;
    /// Not while a data set is being loaded beside the old one.
    pub const NO_ASYNC_LOADING: u32 = 1 << 12;
    /// Not inside a transaction.
    pub const NO_MULTI: u32 = 1 << 13;
    /// Its keys cannot be told from first key, last key and step.
    pub const MOVABLE_KEYS: u32 = 1 << 14;
    /// Allowed while a script runs too long.
    pub const ALLOW_BUSY: u32 = 1 << 15;
    /// May take long, whatever its arguments: it runs on a pool.
    pub const LONG: u32 = 1 << 16;
    /// Has subcommands, and does nothing of its own.
    pub const CONTAINER: u32 = 1 << 17;
    /// DEBUG and its subcommands: clients are shown one command, which words its own errors. Refused unless
    /// `enable-debug-command` allows it.
    pub const DEBUG: u32 = 1 << 18;

    /// The bits that clients see, with their names, in the order in which they are shown.
    pub const NAMES: &[(u32, &str)] = &[
        (WRITE, "write"),
        (READONLY, "readonly"),
        (DENY_OOM, "denyoom"),
        (ADMIN, "admin"),
        (PUBSUB, "pubsub"),
        (NOSCRIPT, "noscript"),
        (BLOCKING, "blocking"),
        (LOADING, "loading"),
        (STALE, "stale"),
        (SKIP_SLOWLOG, "skip_slowlog"),
        (FAST, "fast"),
        (NO_AUTH, "no_auth"),
        (NO_ASYNC_LOADING, "no_async_loading"),
        (NO_MULTI, "no_multi"),
        (MOVABLE_KEYS, "movablekeys"),
        (ALLOW_BUSY, "allow_busy"),
    ];
}

/// The ACL categories, as bits.
pub mod acl {
    /// Keys of any type.
    pub const KEYSPACE: u32 = 1 << 0;
    /// Reads data.
    pub const READ: u32 = 1 << 1;
    /// Changes data.
    pub const WRITE: u32 = 1 << 2;
    /// Sets.
    pub const SET: u32 = 1 << 3;
    /// Sorted sets.
    pub const SORTEDSET: u32 = 1 << 4;
    /// Lists.
    pub const LIST: u32 = 1 << 5;
    /// Hashes.
    pub const HASH: u32 = 1 << 6;
    /// Strings.
    pub const STRING: u32 = 1 << 7;
    /// Publishes or subscribes.
    pub const PUBSUB: u32 = 1 << 8;
    /// For administrators.
    pub const ADMIN: u32 = 1 << 9;
    /// Takes constant or logarithmic time.
    pub const FAST: u32 = 1 << 10;
    /// Takes longer.
    pub const SLOW: u32 = 1 << 11;
    /// May wait for a key.
    pub const BLOCKING: u32 = 1 << 12;
    /// To be kept from those who are not trusted.
    pub const DANGEROUS: u32 = 1 << 13;
    /// The connection and its client.
    pub const CONNECTION: u32 = 1 << 14;
    /// Transactions.
    pub const TRANSACTION: u32 = 1 << 15;

    /// The bits with their names, in the order in which they are shown.
    pub const NAMES: &[(u32, &str)] = &[
        (KEYSPACE, "keyspace"),
        (READ, "read"),
        (WRITE, "write"),
        (SET, "set"),
        (SORTEDSET, "sortedset"),
        (LIST, "list"),
        (HASH, "hash"),
        (STRING, "string"),
        (PUBSUB, "pubsub"),
        (ADMIN, "admin"),
        (FAST, "fast"),
        (SLOW, "slow"),
        (BLOCKING, "blocking"),
        (DANGEROUS, "dangerous"),
        (CONNECTION, "connection"),
        (TRANSACTION, "transaction"),
    ];
}

/// What a command does with a key, as bits: `RO | ACCESS`.
pub mod access {
    /// Reads the key.
    pub const RO: u16 = 1 << 0;
    /// Reads and changes the key.
    pub const RW: u16 = 1 << 1;
    /// Overwrites the key without looking at it.
    pub const OW: u16 = 1 << 2;
    /// Removes the key without looking at it.
    pub const RM: u16 = 1 << 3;
    /// Returns what the key holds, or something made of it.
    pub const ACCESS: u16 = 1 << 4;
    /// Changes what the key holds.
    pub const UPDATE: u16 = 1 << 5;
    /// Adds to the key, changing nothing that was there.
    pub const INSERT: u16 = 1 << 6;
    /// Removes something from the key, or the key.
    pub const DELETE: u16 = 1 << 7;
    /// Its options decide which of the others hold.
    pub const VARIABLE_FLAGS: u16 = 1 << 8;

    /// The bits with their names, in the order in which they are shown.
    pub const NAMES: &[(u16, &str)] = &[
        (RO, "RO"),
        (RW, "RW"),
        (OW, "OW"),
        (RM, "RM"),
        (ACCESS, "access"),
        (UPDATE, "update"),
        (INSERT, "insert"),
        (DELETE, "delete"),
        (VARIABLE_FLAGS, "variable_flags"),
    ];
}

/// Where keys stand among the words of a request; the command itself is word 0.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// From word `first` to word `last` (negative: from the end), every `step` words.
    Range {
        /// The first key.
        first: u8,
        /// The last word that may be a key.
        last: i8,
        /// The distance from key to key.
        step: u8,
    },
    /// As many as word `count` says, from the word after it on.
    Counted {
        /// The word that holds the number of keys.
        count: u8,
    },
    /// Those that a function finds.
    Custom(fn(&Args) -> Positions),
}

/// Word 1.
pub const KEY: Keys = Keys::Range { first: 1, last: 1, step: 1 };
/// Word 2: the key of a subcommand, or the second key of two.
pub const SECOND_KEY: Keys = Keys::Range { first: 2, last: 2, step: 1 };
/// Word 1 and word 2, treated alike.
pub const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };
/// Word 1 to the last.
pub const KEYS: Keys = Keys::Range { first: 1, last: -1, step: 1 };
/// Word 1, word 3, … to the end: each key with a value.
pub const KEY_VALUES: Keys = Keys::Range { first: 1, last: -1, step: 2 };

/// Numbers of words that are keys; those of ordinary commands need no allocation.
pub type Positions = SmallVec<[usize; 8]>;

impl Keys {
    /// Adds the words of `args` that are keys to `to`.
    fn positions(self, args: &Args, to: &mut Positions) {
        match self {
            Self::Range { first, last, step } => {
                let last = match usize::try_from(last) {
                    Ok(last) => last.min(args.len() - 1),
                    Err(_) => args.len() - usize::from(last.unsigned_abs()),
                };
                to.extend((usize::from(first)..=last).step_by(usize::from(step)));
            }
            Self::Counted { count } => {
                let first = usize::from(count) + 1;
                let keys = std::str::from_utf8(&args[usize::from(count)])
                    .ok()
                    .and_then(|number| number.parse::<usize>().ok())
                    .filter(|&keys| keys <= args.len() - first);
                to.extend(first..first + keys.unwrap_or(0));
            }
            Self::Custom(find) => to.extend(find(args)),
        }
    }
}

/// Keys of a command that are treated alike.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// Where they stand.
    pub keys: Keys,
    /// What is done with them: bits of [`access`].
    pub access: u16,
}

impl KeySpec {
    /// What this very request does with the keys: SET only reads the key when it is told to GET.
    fn access_in(&self, args: &Args) -> u16 {
        if self.access & access::VARIABLE_FLAGS == 0 {
            return self.access;
        }
        if args.iter().skip(3).any(|word| word.eq_ignore_ascii_case(b"GET")) {
            self.access & !access::VARIABLE_FLAGS
        } else {
            access::OW | access::UPDATE
        }
    }
}

/// How the replies of two servers to this command are compared in the differential test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Byte for byte.
    Exact,
    /// Arrays, sets and maps whose order is free: sorted first.
    Sorted,
    /// A random pick: the same shape, each element one that the key holds, as many of them.
    Member,
    /// Integers that may differ by so much.
    Tolerance(u32),
    /// A cursor and a page: only the union of a whole scan is compared.
    Scan,
    /// The same types and, for errors, the same text.
    Shape,
}

const SPECS_MAX: usize = 3;

/// One row of the command table.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its name in upper case; of a subcommand, `CONTAINER|NAME`.
    pub name: &'static str,
    /// Its arguments, in the grammar of `syntax.rs`.
    pub syntax: &'static str,
    /// What runs it.
    pub handler: Handler,
    /// The number of words of a request, negative when that is a minimum.
    pub arity: i16,
    /// Bits of [`flag`].
    pub flags: u32,
    /// ACL categories beyond those that follow: bits of [`acl`].
    pub more_acl: u32,
    /// Its documentation group.
    pub group: Group,
    /// The version of Redis that has it.
    pub since: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Its cost; constant unless the row says otherwise.
    pub complexity: &'static str,
    /// Hints for proxies and cluster clients.
    pub tips: &'static [&'static str],
    /// Since which version something else is better, and what.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// How its replies are compared with those of another server.
    pub compare: Compare,
    /// Its place in the table, from 0 on; see [`super::COUNT`].
    pub id: u16,
    /// The places of its subcommands: the first, and how many.
    pub(super) children: (u16, u16),
    pub(super) subcommands: &'static [Command],
    specs: [Option<KeySpec>; SPECS_MAX],
}

impl Command {
    /// A command that changes data.
    pub const fn write(name: &'static str, syntax: &'static str, handler: WriteHandler) -> Self {
        Self::new(name, syntax, Handler::Write(handler)).flag(flag::WRITE)
    }

    /// A command that reads data.
    pub const fn read(name: &'static str, syntax: &'static str, handler: ReadHandler) -> Self {
        Self::new(name, syntax, Handler::Read(handler)).flag(flag::READONLY)
    }

    /// A command that concerns its own client.
    pub const fn session(name: &'static str, syntax: &'static str, handler: SessionHandler) -> Self {
        Self::new(name, syntax, Handler::Session(handler))
    }

    /// A command that looks at the node.
    pub const fn node(name: &'static str, syntax: &'static str, handler: NodeHandler) -> Self {
        Self::new(name, syntax, Handler::Node(handler))
    }

    /// One of the commands of transactions.
    pub const fn transaction(name: &'static str, syntax: &'static str, transaction: Transaction) -> Self {
        Self::new(name, syntax, Handler::Transaction(transaction))
    }

    /// A command that is only a name for its subcommands.
    pub const fn container(name: &'static str, subcommands: &'static [Self]) -> Self {
        Self::new(name, "", Handler::Session(super::bare_container))
            .arity(-2)
            .complexity("depends on the subcommand")
            .flag(flag::CONTAINER)
            .subcommands(subcommands)
    }

    const fn new(name: &'static str, syntax: &'static str, handler: Handler) -> Self {
        Self {
            name,
            syntax,
            handler,
            arity: syntax::arity(syntax, words_of(name)),
            flags: 0,
            more_acl: 0,
            group: Group::Server,
            since: "",
            summary: "",
            complexity: "O(1)",
            tips: &[],
            deprecated: None,
            compare: Compare::Exact,
            id: 0,
            children: (0, 0),
            subcommands: &[],
            specs: [None; SPECS_MAX],
        }
    }

    /// With the first version of Redis that has it, and one sentence about it.
    pub const fn doc(mut self, since: &'static str, summary: &'static str) -> Self {
        self.since = since;
        self.summary = summary;
        self
    }

    /// With its cost.
    pub const fn complexity(mut self, complexity: &'static str) -> Self {
        self.complexity = complexity;
        self
    }

    /// With hints for proxies.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    /// With what is better, and since when.
    pub const fn deprecated(mut self, since: &'static str, instead: &'static str) -> Self {
        self.deprecated = Some((since, instead));
        self
    }

    /// With an arity that the syntax does not tell.
    pub const fn arity(mut self, arity: i16) -> Self {
        self.arity = arity;
        self
    }

    /// With keys; a second call adds others. What is done with them follows from the handler, unless
    /// [`Self::access`] says it.
    pub const fn keys(mut self, keys: Keys) -> Self {
        let access = match self.handler {
            Handler::Write(_) => access::RW | access::ACCESS | access::UPDATE,
            Handler::Read(_) | Handler::Session(_) | Handler::Node(_) => access::RO | access::ACCESS,
            Handler::Transaction(_) => access::RO,
        };
        let mut at = 0;
        while self.specs[at].is_some() {
            at += 1;
        }
        self.specs[at] = Some(KeySpec { keys, access });
        self
    }

    /// What is done with the keys named last: bits of [`access`].
    pub const fn access(mut self, access: u16) -> Self {
        let mut at = SPECS_MAX;
        while self.specs[at - 1].is_none() {
            at -= 1;
        }
        if let Some(spec) = self.specs[at - 1] {
            self.specs[at - 1] = Some(KeySpec { keys: spec.keys, access });
        }
        self
    }

    /// With subcommands, whose names begin with this one's and `|`.
    pub const fn subcommands(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// With a way to compare its replies.
    pub const fn compare(mut self, compare: Compare) -> Self {
        self.compare = compare;
        self
    }

    /// With further ACL categories: bits of [`acl`].
    pub const fn acl(mut self, categories: u32) -> Self {
        self.more_acl |= categories;
        self
    }

    /// With further flags: bits of [`flag`].
    pub const fn flag(mut self, flags: u32) -> Self {
        self.flags |= flags;
        self
    }

    /// Takes constant or logarithmic time.
    pub const fn fast(self) -> Self {
        self.flag(flag::FAST)
    }

    /// May need memory.
    pub const fn deny_oom(self) -> Self {
        self.flag(flag::DENY_OOM)
    }

    /// Is for administrators.
    pub const fn admin(self) -> Self {
        self.flag(flag::ADMIN)
    }

    /// Is not to be called by a script.
    pub const fn noscript(self) -> Self {
        self.flag(flag::NOSCRIPT)
    }

    /// May run before the data is there, and without a leader: the `loading` and `stale` of Redis.
    pub const fn always(self) -> Self {
        self.flag(flag::LOADING | flag::STALE)
    }

    /// May take long whatever its arguments.
    pub const fn takes_long(self) -> Self {
        self.flag(flag::LONG)
    }

    /// Whether it has all of `flags`.
    pub const fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    /// Whether a request of so many words can be right.
    pub fn accepts(&self, words: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { words >= least } else { words == least }
    }

    /// Its name as errors and statistics show it: lower case, with the container's.
    pub fn full_name(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// Its flags as clients are shown them: bits of [`flag`].
    pub(super) fn shown_flags(&self) -> u32 {
        let movable = self.key_specs().any(|spec| !matches!(spec.keys, Keys::Range { .. }));
        if movable { self.flags | flag::MOVABLE_KEYS } else { self.flags }
    }

    /// Whether it is a subcommand.
    pub const fn is_subcommand(&self) -> bool {
        words_of(self.name) == 2
    }

    /// Its name without the container's.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, name)| name)
    }

    /// Its ACL categories: bits of [`acl`].
    pub fn categories(&self) -> u32 {
        let mut categories = self.more_acl;
        for (flags, implied) in [
            (flag::WRITE, acl::WRITE),
            (flag::READONLY, acl::READ),
            (flag::ADMIN, acl::ADMIN | acl::DANGEROUS),
            (flag::PUBSUB, acl::PUBSUB),
            (flag::FAST, acl::FAST),
            (flag::BLOCKING, acl::BLOCKING),
        ] {
            if self.has(flags) {
                categories |= implied;
            }
        }
        if categories & acl::FAST == 0 {
            categories |= acl::SLOW;
        }
        // WAIT and its like wait for nodes: they have nothing to do with keys.
        let is_of_group = !self.has(flag::CONTAINER) && (!self.has(flag::BLOCKING) || self.has_keys());
        if is_of_group { categories | self.group.category() } else { categories }
    }

    /// Where its keys stand, and what is done with them.
    pub fn key_specs(&self) -> impl Iterator<Item = &KeySpec> {
        self.specs.iter().flatten()
    }

    /// Whether it can have keys at all.
    pub const fn has_keys(&self) -> bool {
        self.specs[0].is_some()
    }

    /// The words of a request that are keys. The arity has been checked.
    pub fn key_positions(&self, args: &Args) -> Positions {
        let mut positions = Positions::new();
        for spec in self.key_specs() {
            spec.keys.positions(args, &mut positions);
        }
        positions
    }

    /// The words of a request that are keys, each with what is done with it. The arity has been checked.
    pub fn keys_with_access(&self, args: &Args) -> Vec<(usize, u16)> {
        let mut keys = Vec::new();
        for spec in self.key_specs() {
            let mut positions = Positions::new();
            spec.keys.positions(args, &mut positions);
            keys.extend(positions.into_iter().map(|position| (position, spec.access_in(args))));
        }
        keys
    }

    /// Whether this request may take so long that it runs on a pool: many arguments, or a command that says so.
    pub fn long(&self, args: &Args) -> bool {
        args.len() > ARGUMENTS_MAX_INLINE || self.has(flag::LONG)
    }

    /// First key, last key and step, as COMMAND INFO shows them: those of the ranges, or zeros.
    pub(super) fn key_triple(&self) -> (i64, i64, i64) {
        let mut triple: Option<(i64, i64, i64)> = None;
        for spec in self.key_specs() {
            let Keys::Range { first, last, step } = spec.keys else { continue };
            let range = (i64::from(first), i64::from(last), i64::from(step));
            triple = Some(match triple {
                None => range,
                // Ranges that touch, as those of RENAME, are shown as one.
                Some(before) if before.1 + 1 == range.0 => (before.0, range.1, before.2),
                Some(before) => before,
            });
        }
        triple.unwrap_or((0, 0, 0))
    }
}

/// Requests with more arguments run on a pool.
const ARGUMENTS_MAX_INLINE: usize = 1_000;

/// How many words of a request are the name.
const fn words_of(name: &str) -> i16 {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'|' {
            return 2;
        }
        at += 1;
    }
    1
}
