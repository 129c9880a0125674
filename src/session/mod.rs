//! One client: who it is, what it has chosen, what it has queued; and the list of all clients.
//!
//! A [`Session`] belongs to the task of its connection and knows no socket. What other clients may see of it (`CLIENT
//! LIST`) or do to it (`CLIENT KILL`) is its [`ClientInfo`] in the registry, [`Clients`]; the session copies its own state
//! there once a batch, not once a command.

mod clients;
mod filter;

use std::sync::Arc;

pub use clients::{Activity, Buffers, ClientInfo, Clients, Endpoint, Registration, Unblocked};
pub use filter::{ClientFilter, ClientKind};

use crate::cluster::Door;
use crate::config::Config;
use crate::resp::{Args, Limits, Protocol};

/// The user that every client acts as.
const DEFAULT_USER: &str = "default";

/// What becomes of replies; `CLIENT REPLY` changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// They are sent.
    #[default]
    On,
    /// They are not.
    Off,
    /// Neither that of `CLIENT REPLY SKIP` itself, nor the next.
    Skip,
    /// Not the next one: what [`ReplyMode::Skip`] turns into when its own command is over.
    SkipNext,
}

/// The commands of a transaction, until `EXEC` or `DISCARD`.
#[derive(Debug, Default)]
pub struct Queue {
    requests: Vec<Args>,
    bytes: usize,
    /// Whether a command was refused when it was to be queued: then `EXEC` refuses the whole.
    pub refused: bool,
}

impl Queue {
    /// Queues a command, in memory of its own: a read buffer is not kept for a transaction that may stay open for long.
    pub fn push(&mut self, args: &Args) {
        let args = args.detached();
        self.bytes += args.memory_bytes();
        self.requests.push(args);
    }

    /// The commands, in order.
    pub fn requests(&self) -> &[Args] {
        &self.requests
    }

    /// The commands, taken.
    pub fn into_requests(self) -> Vec<Args> {
        self.requests
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The memory that they take, in bytes; it counts in `client-query-buffer-limit`.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

/// The state of one client.
pub struct Session {
    registration: Registration,
    config: Arc<Config>,
    /// The number of the database that commands act on.
    pub db: u32,
    /// The protocol of replies.
    pub protocol: Protocol,
    /// What becomes of replies.
    pub reply_mode: ReplyMode,
    /// The transaction that is being queued.
    pub queue: Option<Queue>,
    /// How many keys are watched; the watches themselves live in the leadership.
    pub watched: usize,
    /// `CLIENT NO-EVICT`: not to be closed when clients together take too much memory.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH`: what it reads does not count as used.
    pub no_touch: bool,
    /// Whether the node led its shard when the last command on the session ran.
    pub leads: bool,
    /// READONLY: a follower answers its reads.
    pub is_readonly: bool,
    /// The connection is closed once the replies up to here are written: `QUIT`, a client that killed itself, or a plain
    /// one that another node has to serve.
    pub closing: bool,
    /// The name of the command that ran last, as the command table has it.
    pub last_command: &'static str,
    /// How many commands have run.
    pub commands: u64,
    /// Memory and traffic of the connection, as its task knows them.
    pub buffers: Buffers,
    door: Door,
    /// Whether the client has given the password, or came when there was none.
    authenticated: bool,
}

impl Session {
    /// A session as it is right after the connection was accepted.
    pub fn new(registration: Registration, config: Arc<Config>) -> Self {
        let authenticated = config.settings().requirepass.is_none();
        Self {
            registration,
            config,
            db: 0,
            protocol: Protocol::Resp2,
            reply_mode: ReplyMode::On,
            queue: None,
            watched: 0,
            no_evict: false,
            no_touch: false,
            leads: true,
            is_readonly: false,
            closing: false,
            last_command: "",
            commands: 0,
            buffers: Buffers::default(),
            door: Door::Port,
            authenticated,
        }
    }

    /// A session of this process itself, which has been authenticated where its request came from.
    pub fn trusted(registration: Registration, config: Arc<Config>) -> Self {
        Self { authenticated: true, door: Door::Plain, ..Self::new(registration, config) }
    }

    /// The session of a client that came in by `door`.
    pub fn by(self, door: Door) -> Self {
        Self { door, ..self }
    }

    /// Where the client came in.
    pub fn door(&self) -> Door {
        self.door
    }

    /// The client's number; never used twice.
    pub fn id(&self) -> u64 {
        self.registration.info().id
    }

    /// What others see of this client.
    pub fn info(&self) -> &Arc<ClientInfo> {
        self.registration.info()
    }

    /// The configuration of the node.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Whether the client may do more than authenticate. Who came when there was no password stays in when one is set,
    /// and all are let in when it is taken away, as in Redis.
    pub fn authenticated(&self) -> bool {
        self.authenticated || self.config.settings().requirepass.is_none()
    }

    /// Authenticates the client; false if there is no such user or this is not its password. What it was before then
    /// stays.
    pub fn authenticate(&mut self, user: &[u8], password: &[u8]) -> bool {
        let right = self.accepts(user, password);
        self.authenticated |= right;
        right
    }

    /// Whether [`Session::authenticate`] would succeed now.
    pub fn accepts(&self, user: &[u8], password: &[u8]) -> bool {
        user == DEFAULT_USER.as_bytes()
            && self.config.settings().requirepass.as_ref().is_none_or(|expected| expected.matches(password))
    }

    /// The user that the client acts as.
    pub fn user(&self) -> &'static str {
        DEFAULT_USER
    }

    /// What the client may send now.
    pub fn limits(&self) -> Limits {
        let settings = self.config.settings();
        Limits {
            bulk_bytes_max: settings.proto_max_bulk_len,
            request_bytes_max: settings.client_query_buffer_limit,
            authenticated: self.authenticated || settings.requirepass.is_none(),
        }
    }

    /// Makes the session what it was when the client connected. What it watches is forgotten by dispatch, which holds it.
    pub fn reset(&mut self) {
        self.db = 0;
        self.protocol = Protocol::Resp2;
        // `CLIENT REPLY SKIP` right before still takes away the reply of RESET itself, as in Redis.
        if self.reply_mode != ReplyMode::SkipNext {
            self.reply_mode = ReplyMode::On;
        }
        self.queue = None;
        self.watched = 0;
        self.no_evict = false;
        self.no_touch = false;
        self.is_readonly = false;
        self.authenticated = self.config.settings().requirepass.is_none();
        self.info().set_name("");
    }

    /// Copies what others may see into the registry. Called once a batch, and before `CLIENT LIST` and `CLIENT INFO`;
    /// `now_ms` is milliseconds since 1970, as in [`Clients::connect`].
    pub fn publish(&self, now_ms: u64) {
        self.info().update(Activity {
            last_ms: now_ms,
            db: self.db,
            protocol: self.protocol,
            queued: self.queue.as_ref().map(Queue::len),
            queued_bytes: self.queue.as_ref().map_or(0, Queue::memory_bytes),
            watched: self.watched,
            no_evict: self.no_evict,
            no_touch: self.no_touch,
            is_readonly: self.is_readonly,
            closing: self.closing,
            command: self.last_command,
            commands: self.commands,
            buffers: self.buffers,
        });
    }

    /// Whether the reply of the command that has just run, or has just been handed on, is sent. Called once a command:
    /// it is what ends `CLIENT REPLY SKIP`.
    pub fn keeps_reply(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On => true,
            ReplyMode::Off => false,
            ReplyMode::Skip => {
                self.reply_mode = ReplyMode::SkipNext;
                false
            }
            ReplyMode::SkipNext => {
                self.reply_mode = ReplyMode::On;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
