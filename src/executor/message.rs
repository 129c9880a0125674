//! What a connection sends to the executor, and what comes back.

use std::sync::Arc;

use super::watch::Watch;
use crate::{
    command::Command,
    resp::{Args, Outbox, Protocol},
};

/// One command of a client, with what it needs to know of its session.
#[derive(Debug)]
pub struct Call {
    /// The row of the table.
    pub command: &'static Command,
    /// The command's name and arguments.
    pub args: Args,
    /// The selected database when it was sent.
    pub db: u32,
    /// The protocol of its reply.
    pub protocol: Protocol,
    /// Whether its reply is dropped (`CLIENT REPLY`).
    pub silent: bool,
}

/// MULTI … EXEC: all of it is one entry.
#[derive(Debug)]
pub struct Transaction {
    /// What was queued, in order.
    pub steps: Vec<Step>,
    /// What was watched; EXEC answers nil if it changed.
    pub watch: Option<Arc<Watch>>,
    /// The protocol of the reply.
    pub protocol: Protocol,
    /// Whether the reply is dropped (`CLIENT REPLY`).
    pub silent: bool,
}

/// A queued command.
#[derive(Debug)]
pub enum Step {
    /// Concerns data: the executor runs it.
    Call(Call),
    /// Concerns the session or the node: the connection runs it when the rest is done, and fills its reply in.
    Deferred(Args),
}

/// WATCH: from when it is evaluated on, a change of one of the keys marks the watch.
#[derive(Debug)]
pub struct WatchCall {
    /// The session's watch, to which the keys are added.
    pub watch: Arc<Watch>,
    /// The keys.
    pub keys: Vec<bytes::Bytes>,
    /// The selected database.
    pub db: u32,
    /// The protocol of the reply.
    pub protocol: Protocol,
    /// Whether the reply is dropped (`CLIENT REPLY`).
    pub silent: bool,
}

/// A part of a message, in the order sent.
#[derive(Debug)]
pub enum Item {
    /// A command on data.
    Call(Call),
    /// EXEC.
    Transaction(Transaction),
    /// WATCH.
    Watch(WatchCall),
    /// The finished reply of a command that concerned the session only.
    Reply(Outbox),
}

/// What one connection has in the executor: at most one at a time.
#[derive(Debug)]
pub struct Message {
    /// Who gets the answer.
    pub recipient: Arc<dyn Recipient>,
    /// What to do, in order.
    pub items: std::collections::VecDeque<Item>,
    /// Since when it waits, in µs of CLOCK_BOOTTIME.
    pub(super) since_us: u64,
    /// The random seed of the first item, drawn when it is first evaluated: a rerun draws the same.
    pub(super) seed: Option<u64>,
    /// How often the first item stopped for the disk.
    pub(super) loads: u32,
}

impl Message {
    /// A message that has not been evaluated.
    pub fn new(recipient: Arc<dyn Recipient>, items: std::collections::VecDeque<Item>) -> Self {
        Self { recipient, items, since_us: u64::MAX, seed: None, loads: 0 }
    }
}

/// A part of the answer to a message.
#[derive(Debug)]
pub struct Answer {
    /// Encoded replies.
    pub reply: Outbox,
    /// Whether the message is answered to its end.
    pub done: bool,
    /// What the connection has to run itself to complete the reply of an EXEC that ends the message.
    pub deferred: Option<Deferred>,
}

/// The commands in a transaction that concern the session or the node, and the replies between them.
#[derive(Debug, Default)]
pub struct Deferred {
    /// Each command, and the replies that follow its own.
    pub steps: Vec<(Args, Outbox)>,
}

/// Who sent a message: a connection, or a simulated client.
pub trait Recipient: std::fmt::Debug + Send + Sync {
    /// Takes a part of the answer; parts come in order.
    fn deliver(&self, answer: Answer);
    /// Takes the news that the rest of the message will not be answered: the leadership has ended, and whether it is done
    /// only time will tell.
    fn lose(&self);
    /// Takes the rest of the message back: it had no effect, and will have none here, since this node does not lead. A
    /// recipient that has lost a part of the message may be given back what stood behind it.
    fn give_back(&self, items: std::collections::VecDeque<Item>);
    /// Bytes delivered and not sent yet; `None` if nobody wants the answer any more, nor the rest of the message done.
    /// When it is above `limit`, the recipient resumes the executor (`Input::Resume`) as soon as it is not.
    fn backlog(&self, limit: usize) -> Option<usize>;
    /// Takes note of a command of its message that took long.
    fn slow(&self, args: &Args, nanos: u64);
    /// Distinguishes recipients.
    fn id(&self) -> u64;
}
