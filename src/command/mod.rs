//! The commands, one file per documentation group: the only place that knows their names.

mod arguments;
mod client;
mod cluster;
mod connection;
mod database;
mod debug;
mod digest;
mod expire;
mod hash;
mod introspect;
mod key;
mod latency;
mod memory;
mod node;
mod raft;
mod replication;
mod scan;
mod server;
mod settings;
mod slowlog;
mod spec;
mod string;
mod syntax;
mod transaction;

#[cfg(test)]
mod tests;

use self::arguments::{unknown_command, unknown_subcommand, wrong_arity, wrong_usage};
pub use self::connection::protocol_chosen;
pub use self::latency::Latency;
pub use self::node::{Acknowledged, Ask, NodeContext, Shutdown, Transfer, Wait};
pub use self::slowlog::{Slow, Slowlog};
pub use self::spec::{
    Command, Compare, Group, Handler, KEY, KEY_VALUES, KEYS, KeySpec, Keys, NodeHandler, Positions,
    ReadHandler, SECOND_KEY, SessionHandler, TWO_KEYS, Transaction, WriteHandler, access, acl, flag,
};
pub use self::syntax::{Argument, Kind, parse as parse_syntax};
use crate::bugs;
use crate::keyspace::{CommandError, Result};
use crate::resp::{Args, ReplyWriter};
use crate::session::Session;

/// Every group of commands; a new one is a line here.
const GROUPS: &[(Group, &[Command])] = &[
    (Group::Cluster, cluster::COMMANDS),
    (Group::Connection, connection::COMMANDS),
    (Group::String, string::COMMANDS),
    (Group::Generic, key::COMMANDS),
    (Group::Hash, hash::COMMANDS),
    (Group::Server, server::COMMANDS),
    (Group::Transactions, transaction::COMMANDS),
];

/// How many rows the table has, subcommands included: each has an [`Command::id`] below it.
pub const COUNT: usize = count();

const fn count() -> usize {
    let mut rows = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        let commands = GROUPS[group].1;
        let mut row = 0;
        while row < commands.len() {
            rows += 1 + commands[row].subcommands.len();
            row += 1;
        }
        group += 1;
    }
    rows
}

/// All rows. The subcommands of a row stand behind it.
static TABLE: [Command; COUNT] = flatten();

#[expect(
    clippy::cast_possible_truncation,
    reason = "the table has a few hundred rows; try_from is not const"
)]
const fn flatten() -> [Command; COUNT] {
    assert!(COUNT < u16::MAX as usize, "rows are numbered with 16 bits");
    let mut table = [GROUPS[0].1[0]; COUNT];
    let mut at = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        let (name, commands) = GROUPS[group];
        let mut row = 0;
        while row < commands.len() {
            let subcommands = commands[row].subcommands;
            table[at] = commands[row];
            table[at].group = name;
            table[at].id = at as u16;
            table[at].children = (at as u16 + 1, subcommands.len() as u16);
            at += 1;
            let mut child = 0;
            while child < subcommands.len() {
                table[at] = subcommands[child];
                table[at].group = name;
                table[at].id = at as u16;
                at += 1;
                child += 1;
            }
            row += 1;
        }
        group += 1;
    }
    table
}

/// Slots of the open-addressing index over the names: a power of two, about a quarter full.
const SLOTS: usize = 1024;
const VACANT: u16 = u16::MAX;

/// For each slot the row whose name hashes to it or was pushed on to it; made by the compiler.
static INDEX: [u16; SLOTS] = index();

#[expect(clippy::cast_possible_truncation, reason = "flatten() asserts that rows fit; try_from is not const")]
const fn index() -> [u16; SLOTS] {
    let table = flatten();
    let mut slots = [VACANT; SLOTS];
    let mut row = 0;
    while row < COUNT {
        if !table[row].is_subcommand() {
            let mut slot = hash(table[row].name.as_bytes());
            while slots[slot] != VACANT {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = row as u16;
        }
        row += 1;
    }
    slots
}

/// A hash that is the same for both cases of a letter: length, first and last bytes of a name.
const fn hash(name: &[u8]) -> usize {
    let mut word = name.len() as u64;
    let mut at = 0;
    while at < name.len() && at < 16 {
        word = (word ^ (name[at] & 0xdf) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        at += 1;
    }
    (word >> 40) as usize % SLOTS
}

/// The names of all rows by [`Command::id`], as statistics show them.
pub fn names() -> Vec<String> {
    TABLE.iter().map(Command::full_name).collect()
}

/// All rows of the table, containers before their subcommands.
pub fn all() -> &'static [Command] {
    &TABLE
}

/// The command called `name` in any case; of a subcommand, `container|name`.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    if let Some(bar) = memchr::memchr(b'|', name) {
        return top(&name[..bar])?.child(&name[bar + 1..]);
    }
    top(name)
}

fn top(name: &[u8]) -> Option<&'static Command> {
    let mut slot = hash(name);
    while INDEX[slot] != VACANT {
        let command = &TABLE[usize::from(INDEX[slot])];
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

impl Command {
    /// Its subcommands, in the order of the table.
    pub fn children(&self) -> &'static [Self] {
        let (first, count) = self.children;
        &TABLE[usize::from(first)..usize::from(first) + usize::from(count)]
    }

    fn child(&self, name: &[u8]) -> Option<&'static Self> {
        self.children().iter().find(|child| child.short_name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The row for a request: the command, or its subcommand, with the number of words that it takes.
///
/// # Errors
/// As Redis: unknown command, unknown subcommand, wrong number of arguments.
pub fn resolve(args: &Args) -> std::result::Result<&'static Command, CommandError> {
    let mut command = top(&args[0]).ok_or_else(|| unknown_command(args))?;
    if let Some(name) = args.get(1).filter(|_| !command.subcommands.is_empty()) {
        command = command.child(name).ok_or_else(|| unknown_subcommand(command, name))?;
        if command.has(flag::DEBUG) && !command.accepts(args.len()) {
            return Err(unknown_subcommand(command, name));
        }
    }
    if !command.accepts(args.len()) {
        return Err(wrong_arity(command));
    }
    if bugs::handler_answers_ok(command.id) {
        return Ok(command.answering_ok());
    }
    Ok(command)
}

impl Command {
    /// The planted bug: the row with a handler that answers `+OK` and does nothing else. It is made anew for each
    /// request and never freed, which only tests can afford.
    fn answering_ok(&self) -> &'static Self {
        let handler = match self.handler {
            Handler::Write(_) => Handler::Write(|_, _, out| {
                out.ok();
                Ok(())
            }),
            Handler::Read(_) => Handler::Read(|_, _, out| {
                out.ok();
                Ok(())
            }),
            Handler::Node(_) => Handler::Node(|_, _, out| {
                out.ok();
                Ok(None)
            }),
            Handler::Session(_) | Handler::Transaction(_) => Handler::Session(|_, _, out| {
                out.ok();
                Ok(())
            }),
        };
        let mut row = *self;
        row.handler = handler;
        Box::leak(Box::new(row))
    }
}

/// The handler of containers. It never runs: [`resolve`] finds a subcommand or an error.
fn bare_container(_: &mut Session, args: &Args, _: &mut ReplyWriter<'_>) -> Result<()> {
    let container = top(&args[0]).expect("a command that runs is in the table");
    Err(wrong_arity(container).into())
}

/// `… HELP`: the subcommands of the container that was asked, from their rows.
fn help(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let container = top(&args[0]).expect("a command that runs is in the table");
    out.array(1 + 2 * container.children().len());
    out.simple(&format!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container.name));
    for child in container.children() {
        out.simple(format!("{} {}", child.short_name(), child.syntax).trim_end());
        out.simple(&format!("    {}", child.summary));
    }
    Ok(())
}
