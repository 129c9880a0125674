//! The half of a connection that others write to: its socket, what is not sent yet, and whether it is being answered.

use std::{
    collections::VecDeque,
    io::{ErrorKind, IoSlice},
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use super::socket::Writer;
use crate::{
    config::OutputLimit,
    dispatch::{InFlight, Services},
    executor::{Answer, Deferred, Input, Item, Recipient},
    metrics::{Counter, Stats},
    resp::{Args, Outbox},
    session::ClientInfo,
};

/// Pieces of memory handed to one `writev`.
const SLICES_MAX: usize = 16;

/// A connection as the executor's drainer and its own task share it.
pub(super) struct Client {
    info: Arc<ClientInfo>,
    socket: Writer,
    services: Weak<Services>,
    stats: Arc<Stats>,
    in_flight: Arc<InFlight>,
    state: Mutex<State>,
}

/// What is shared under the lock, which is a leaf.
#[derive(Debug, Default)]
struct State {
    outbox: Outbox,
    /// Whether a message of this connection is in the executor.
    busy: bool,
    /// What the message in the executor took of [`InFlight`].
    message_bytes: usize,
    /// Whether the task sleeps until the message is answered.
    awaited: bool,
    /// What the task has to add to the reply of an EXEC.
    deferred: Option<Deferred>,
    /// The message will not be answered, and may be done.
    lost: bool,
    /// What of the message is not done, and is not for this node to do.
    given_back: VecDeque<Item>,
    /// The executor waits until this many bytes or fewer are unsent.
    resume_below: Option<usize>,
    limit: OutputLimit,
    soft_since_ms: Option<u64>,
    broken: bool,
    sent: u64,
}

/// What the task finds when it looks.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// A message is still in the executor.
    pub(super) busy: bool,
    /// Bytes that the socket did not take yet.
    pub(super) unsent: usize,
    /// The connection cannot be written to, or has too much unsent.
    pub(super) broken: bool,
    /// The message will not be answered, and may be done.
    pub(super) lost: bool,
    /// What of the message is not done, and is not for this node to do.
    pub(super) given_back: VecDeque<Item>,
    /// What completes the reply of an EXEC.
    pub(super) deferred: Option<Deferred>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("id", &self.info.id).finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(
        info: Arc<ClientInfo>,
        socket: Writer,
        services: &Arc<Services>,
        limit: OutputLimit,
    ) -> Self {
        let state = State { limit, ..State::default() };
        Self {
            info,
            socket,
            services: Arc::downgrade(services),
            stats: Arc::clone(&services.stats),
            in_flight: Arc::clone(&services.in_flight),
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a panic ends the process")
    }

    /// Marks that a message is being sent to the executor, which has taken `bytes` of [`InFlight`].
    pub(super) fn begin_message(&self, bytes: usize) {
        let mut state = self.lock();
        assert!(!state.busy, "one message of a connection is in the executor at a time");
        state.busy = true;
        state.message_bytes = bytes;
    }

    /// What the message in the executor took of [`InFlight`]; 0 if there is none.
    pub(super) fn message_bytes(&self) -> usize {
        self.lock().message_bytes
    }

    /// Marks that the message has left the executor.
    fn end_message(&self, state: &mut State) {
        state.busy = false;
        self.in_flight.give_back(std::mem::take(&mut state.message_bytes));
    }

    /// Writes what the socket takes of what is unsent and of `replies`, and keeps the rest. `replies` is empty then.
    pub(super) fn send(&self, replies: &mut Outbox) {
        self.send_locked(&mut self.lock(), replies);
    }

    fn send_locked(&self, state: &mut State, replies: &mut Outbox) {
        if state.outbox.is_empty() {
            // Nearly always: then nothing is moved, and the buffer stays where it can be used again.
            self.write(state, replies);
            if replies.is_empty() {
                return;
            }
            state.outbox = std::mem::take(replies);
        } else {
            state.outbox.append(std::mem::take(replies));
            self.write_unsent(state);
        }
    }

    fn write_unsent(&self, state: &mut State) {
        let mut unsent = std::mem::take(&mut state.outbox);
        self.write(state, &mut unsent);
        state.outbox = unsent;
    }

    /// Writes what the socket takes, and tells how things are. With `awaited`, a task that finds itself busy is woken
    /// through its [`ClientInfo`] when that changes.
    pub(super) fn progress(&self, awaited: bool) -> Progress {
        let mut state = self.lock();
        if !state.outbox.is_empty() {
            self.write_unsent(&mut state);
        }
        state.awaited = awaited && state.busy;
        let resumed = state.resume_below.filter(|limit| state.outbox.len() <= *limit);
        if resumed.is_some() {
            state.resume_below = None;
        }
        let progress = Progress {
            busy: state.busy,
            unsent: state.outbox.len(),
            broken: state.broken,
            lost: state.lost,
            given_back: std::mem::take(&mut state.given_back),
            deferred: state.deferred.take(),
        };
        drop(state);
        if resumed.is_some()
            && let Some(services) = self.services.upgrade()
        {
            services.shard.submit(Input::Resume);
        }
        progress
    }

    /// Gives up what is unsent, and what the executor has not done yet: the connection's task has ended.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.broken = true;
        state.outbox.clear();
        let is_awaited = state.resume_below.take().is_some();
        drop(state);
        if is_awaited && let Some(services) = self.services.upgrade() {
            services.shard.submit(Input::Resume);
        }
    }

    /// Waits until the socket may take more.
    pub(super) async fn writable(&self) {
        self.socket.writable().await;
    }

    /// Bytes sent so far, and bytes that wait.
    pub(super) fn sent_and_unsent(&self) -> (u64, usize, usize) {
        let state = self.lock();
        (state.sent, state.outbox.len(), state.outbox.pieces())
    }

    /// Sets how much may be unsent from now on.
    pub(super) fn set_limit(&self, limit: OutputLimit) {
        self.lock().limit = limit;
    }

    /// Whether more than the soft limit has been unsent for too long, by the clock `now_ms`.
    pub(super) fn check_soft_limit(&self, now_ms: u64) {
        let mut state = self.lock();
        let limit = state.limit;
        let over = limit.soft_bytes > 0 && state.outbox.len() as u64 > limit.soft_bytes;
        if !over {
            state.soft_since_ms = None;
            return;
        }
        let since = *state.soft_since_ms.get_or_insert(now_ms);
        if u128::from(now_ms.saturating_sub(since)) > limit.soft.as_millis() && !state.broken {
            self.stats.count(Counter::OutputBufferDisconnections, 1);
            state.broken = true;
        }
    }

    /// Writes what the socket takes of `outbox`, which is all that is unsent.
    fn write(&self, state: &mut State, outbox: &mut Outbox) {
        let (sent, mut writes) = (state.sent, 0);
        while !outbox.is_empty() && !state.broken {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let used = outbox.io_slices(&mut slices);
            match self.socket.try_write(&slices[..used]) {
                Ok(bytes) => {
                    outbox.advance(bytes);
                    state.sent += bytes as u64;
                    writes += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => state.broken = true,
            }
        }
        if writes > 0 {
            self.stats.local(|local| {
                local.count(Counter::Writes, writes);
                local.count(Counter::NetOutputBytes, state.sent - sent);
            });
        }
        let hard = state.limit.hard_bytes;
        if hard > 0 && outbox.len() as u64 > hard {
            self.stats.count(Counter::OutputBufferDisconnections, 1);
            tracing::warn!(client = self.info.id, "closing a client that does not read its replies");
            state.broken = true;
        }
        if state.broken {
            outbox.clear();
        }
    }
}

impl Drop for Client {
    /// The executor names a client as long as it has something of it: a message that it has given up takes nothing.
    fn drop(&mut self) {
        let bytes = self.state.get_mut().map_or(0, |state| state.message_bytes);
        self.in_flight.give_back(bytes);
    }
}

impl Recipient for Client {
    fn deliver(&self, mut answer: Answer) {
        let mut state = self.lock();
        self.send_locked(&mut state, &mut answer.reply);
        if answer.deferred.is_some() {
            state.deferred = answer.deferred;
        }
        if answer.done {
            self.end_message(&mut state);
        }
        let unsent = !state.outbox.is_empty() || state.broken;
        if (answer.done && state.awaited) || unsent {
            state.awaited = false;
            self.info.wake();
        }
    }

    /// Nobody knows what became of the message: the one truth that RESP has for it is a closed connection.
    fn lose(&self) {
        let mut state = self.lock();
        self.end_message(&mut state);
        state.lost = true;
        self.info.wake();
    }

    fn give_back(&self, items: VecDeque<Item>) {
        let mut state = self.lock();
        self.end_message(&mut state);
        state.given_back = items;
        self.info.wake();
    }

    fn backlog(&self, limit: usize) -> Option<usize> {
        let mut state = self.lock();
        if state.broken {
            return None;
        }
        let unsent = state.outbox.len();
        if unsent > limit {
            state.resume_below = Some(limit);
        }
        Some(unsent)
    }

    fn slow(&self, args: &Args, nanos: u64) {
        if let Some(services) = self.services.upgrade() {
            services.note_slow(&self.info, args, nanos);
        }
    }

    fn id(&self) -> u64 {
        self.info.id
    }
}
