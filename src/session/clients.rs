//! The list of connected clients: what each shows of itself, and how it is asked to go.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use atomic_waker::AtomicWaker;

use super::{ClientFilter, ClientKind};
use crate::resp::Protocol;

/// The ends of a connection, as they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The client's address, `host:port`.
    pub remote: String,
    /// The address that it connected to.
    pub local: String,
    /// The descriptor of its socket; -1 if it has none here.
    pub fd: i32,
}

impl Endpoint {
    /// Whether the client connected over a loopback address, or is this process itself. The loopback address of a client
    /// without a socket is that of another node, from which it came by a tunnel.
    pub fn is_local(&self) -> bool {
        match self.remote.parse::<SocketAddr>() {
            Ok(address) => 0 <= self.fd && address.ip().to_canonical().is_loopback(),
            Err(_) => self.fd < 0,
        }
    }
}

/// Memory and traffic of a connection, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffers {
    /// Received and not yet parsed.
    pub query: usize,
    /// Room that is left in the read buffer.
    pub query_free: usize,
    /// Arguments of the commands that are under way.
    pub args: usize,
    /// Room of the buffer that replies are written to.
    pub reply: usize,
    /// Replies in that buffer.
    pub reply_used: usize,
    /// How many replies are queued by reference.
    pub queued_replies: usize,
    /// What those take.
    pub queued_reply_bytes: usize,
    /// Received since the connection was made.
    pub received: u64,
    /// Sent since the connection was made.
    pub sent: u64,
}

/// What a client has been doing, as of its last batch.
#[derive(Clone, Copy, Debug)]
pub struct Activity {
    /// When that was.
    pub last_ms: u64,
    /// The number of its database.
    pub db: u32,
    /// The protocol of its replies.
    pub protocol: Protocol,
    /// The length of its transaction, if one is open.
    pub queued: Option<usize>,
    /// What that takes of memory.
    pub queued_bytes: usize,
    /// How many keys it watches.
    pub watched: usize,
    /// `CLIENT NO-EVICT`.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH`.
    pub no_touch: bool,
    /// `READONLY`.
    pub is_readonly: bool,
    /// Whether it is being closed.
    pub closing: bool,
    /// The last command, as the command table names it.
    pub command: &'static str,
    /// How many commands it has run.
    pub commands: u64,
    /// Memory and traffic.
    pub buffers: Buffers,
}

/// How `CLIENT UNBLOCK` ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblocked {
    /// As if its time were over.
    Timeout,
    /// With `-UNBLOCKED`.
    Error,
}

/// What a client has told about itself.
#[derive(Clone, Debug, Default)]
struct Words {
    name: String,
    lib_name: String,
    lib_ver: String,
}

/// Whether a client waits for a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wait {
    #[default]
    No,
    Yes,
    Over(Unblocked),
}

/// One client as others see it.
#[derive(Debug)]
pub struct ClientInfo {
    /// Its number; never used twice.
    pub id: u64,
    /// The ends of its connection.
    pub endpoint: Endpoint,
    /// When it connected.
    pub connected_ms: u64,
    activity: Mutex<Activity>,
    words: Mutex<Words>,
    wait: Mutex<Wait>,
    killed: AtomicBool,
    /// Somebody has called, and the task has not noticed.
    called: AtomicBool,
    /// The task of the connection, which passes here at every read: it registers without a lock.
    task: AtomicWaker,
}

impl ClientInfo {
    /// The user that the client acts as.
    pub fn user(&self) -> &'static str {
        super::DEFAULT_USER
    }

    /// What kind of client it is.
    pub fn kind(&self) -> ClientKind {
        ClientKind::Normal
    }

    /// The name that the client has given itself; empty if none.
    pub fn name(&self) -> String {
        lock(&self.words).name.clone()
    }

    /// Sets the name; empty to take it back.
    pub fn set_name(&self, name: &str) {
        name.clone_into(&mut lock(&self.words).name);
    }

    /// Sets the name of the client's library.
    pub fn set_lib_name(&self, name: &str) {
        name.clone_into(&mut lock(&self.words).lib_name);
    }

    /// Sets the version of the client's library.
    pub fn set_lib_ver(&self, version: &str) {
        version.clone_into(&mut lock(&self.words).lib_ver);
    }

    /// What the client was doing at its last batch.
    pub fn activity(&self) -> Activity {
        *lock(&self.activity)
    }

    pub(super) fn update(&self, activity: Activity) {
        *lock(&self.activity) = activity;
    }

    /// How long the client has been connected, in whole seconds.
    pub fn age_seconds(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.connected_ms) / 1000
    }

    /// Asks the connection to close; it learns so by [`ClientInfo::woken`].
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the connection is to be closed.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Returns when somebody has asked something of this client: see [`ClientInfo::is_killed`] and
    /// [`ClientInfo::take_unblocked`]. A call made in advance is not lost. Only the connection's task waits here.
    pub async fn woken(&self) {
        poll_fn(|context| {
            if self.take_call() {
                return Poll::Ready(());
            }
            self.task.register(context.waker());
            // Whoever called before the task was registered could not wake it.
            if self.take_call() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn take_call(&self) -> bool {
        self.called.load(Ordering::Acquire) && self.called.swap(false, Ordering::AcqRel)
    }

    /// Wakes the connection's task for a reason of its own: its message is answered, its socket is full.
    pub fn wake(&self) {
        self.called.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Says that the client waits for a key.
    pub fn start_waiting(&self) {
        *lock(&self.wait) = Wait::Yes;
    }

    /// Says that it does no longer; returns how it was unblocked, if it was.
    pub fn take_unblocked(&self) -> Option<Unblocked> {
        match std::mem::take(&mut *lock(&self.wait)) {
            Wait::Over(how) => Some(how),
            Wait::No | Wait::Yes => None,
        }
    }

    /// Whether the client waits for a key.
    pub fn is_waiting(&self) -> bool {
        *lock(&self.wait) == Wait::Yes
    }

    /// Ends the client's wait; false if it does not wait.
    pub fn unblock(&self, how: Unblocked) -> bool {
        let mut wait = lock(&self.wait);
        if *wait != Wait::Yes {
            return false;
        }
        *wait = Wait::Over(how);
        self.wake();
        true
    }

    /// The client's line of `CLIENT LIST`, as Valkey 8.1 prints it, with a line end.
    pub fn describe(&self, now_ms: u64, out: &mut String) {
        let activity = self.activity();
        let words = lock(&self.words).clone();
        let buffers = activity.buffers;
        let queued = activity.queued.map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX));
        let total = size_of::<Self>()
            + buffers.query
            + buffers.query_free
            + buffers.args
            + activity.queued_bytes
            + buffers.reply
            + buffers.queued_reply_bytes;
        writeln!(
            out,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} capa= db={} sub=0 psub=0 ssub=0 multi={} \
             watch={} qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs={} rbp={} obl={} oll={} omem={} tot-mem={} \
             events={} cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={}",
            self.id,
            self.endpoint.remote,
            self.endpoint.local,
            self.endpoint.fd,
            words.name,
            self.age_seconds(now_ms),
            now_ms.saturating_sub(activity.last_ms) / 1000,
            self.flags(&activity),
            activity.db,
            queued,
            activity.watched,
            buffers.query,
            buffers.query_free,
            buffers.args,
            activity.queued_bytes,
            buffers.reply,
            buffers.reply,
            buffers.reply_used,
            buffers.queued_replies,
            buffers.queued_reply_bytes,
            total,
            if buffers.reply_used + buffers.queued_replies > 0 { "rw" } else { "r" },
            if activity.command.is_empty() { "NULL".to_owned() } else { activity.command.to_ascii_lowercase() },
            self.user(),
            activity.protocol as u8,
            words.lib_name,
            words.lib_ver,
            buffers.received,
            buffers.sent,
            activity.commands,
        )
        .expect("a string takes all");
    }

    /// The letters of `flags=`.
    fn flags(&self, activity: &Activity) -> String {
        let letters = [
            (activity.queued.is_some(), 'x'),
            (self.is_waiting(), 'b'),
            (activity.closing, 'c'),
            (self.is_killed(), 'A'),
            (activity.no_evict, 'e'),
            (activity.no_touch, 'T'),
            (activity.is_readonly, 'r'),
        ];
        let flags: String = letters.iter().filter(|(set, _)| *set).map(|&(_, letter)| letter).collect();
        if flags.is_empty() { "N".to_owned() } else { flags }
    }
}

/// All clients that are connected to this node.
#[derive(Debug, Default)]
pub struct Clients {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    by_id: BTreeMap<u64, Arc<ClientInfo>>,
    last_id: u64,
}

impl Clients {
    /// No clients.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds a client, unless there are `clients_max` of them. `now_ms` is milliseconds since 1970.
    pub fn connect(
        self: &Arc<Self>,
        endpoint: Endpoint,
        now_ms: u64,
        clients_max: usize,
    ) -> Option<Registration> {
        let mut list = lock(&self.list);
        if list.by_id.len() >= clients_max {
            return None;
        }
        list.last_id += 1;
        let info = Arc::new(ClientInfo {
            id: list.last_id,
            endpoint,
            connected_ms: now_ms,
            activity: Mutex::new(Activity {
                last_ms: now_ms,
                db: 0,
                protocol: Protocol::Resp2,
                queued: None,
                queued_bytes: 0,
                watched: 0,
                no_evict: false,
                no_touch: false,
                is_readonly: false,
                closing: false,
                command: "",
                commands: 0,
                buffers: Buffers::default(),
            }),
            words: Mutex::default(),
            wait: Mutex::default(),
            killed: AtomicBool::new(false),
            called: AtomicBool::new(false),
            task: AtomicWaker::new(),
        });
        list.by_id.insert(info.id, Arc::clone(&info));
        Some(Registration { clients: Arc::clone(self), info })
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        lock(&self.list).by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many clients wait for a key.
    pub fn waiting(&self) -> usize {
        self.all().iter().filter(|client| client.is_waiting()).count()
    }

    /// All clients, in the order in which they connected.
    pub fn all(&self) -> Vec<Arc<ClientInfo>> {
        lock(&self.list).by_id.values().cloned().collect()
    }

    /// The client with this number.
    pub fn get(&self, id: u64) -> Option<Arc<ClientInfo>> {
        lock(&self.list).by_id.get(&id).cloned()
    }

    /// The clients that `filter` lets through, in the order in which they connected.
    pub fn select(&self, filter: &ClientFilter, now_ms: u64) -> Vec<Arc<ClientInfo>> {
        let mut chosen = self.all();
        chosen.retain(|client| filter.matches(client, now_ms));
        chosen
    }
}

/// A client's place in the list, for as long as this lives.
#[derive(Debug)]
pub struct Registration {
    clients: Arc<Clients>,
    info: Arc<ClientInfo>,
}

impl Registration {
    /// The client.
    pub fn info(&self) -> &Arc<ClientInfo> {
        &self.info
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.clients.list).by_id.remove(&self.info.id);
    }
}

/// Locks a value that is whole at any moment, so that a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
