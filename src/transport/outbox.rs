//! What waits for a peer, and how it leaves.
//!
//! Messages without entries (heartbeats, acknowledgements, votes) go ahead of appends: they are small, the leader's life
//! hangs on them, and Raft takes messages in any order. Among themselves both kinds keep their order. An append that is
//! larger than [`BATCH_BYTES`] leaves in parts, one a batch, so the former pass between them.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;
use tokio_stream::Stream;

use super::convert;
use crate::{
    log::Entry,
    proto,
    raft::{Body, Message},
    sync::{Mutex, MutexGuard},
};

/// About how many bytes leave at once: what has to pass waits for no more than this.
pub(super) const BATCH_BYTES: usize = 256 << 10;

/// What messages without entries may take together while they wait.
const PROMPT_BYTES_MAX: usize = 1 << 20;

/// About what a message takes beside its entries.
const MESSAGE_BYTES: usize = 64;

/// About what an entry takes beside its body.
pub(super) const ENTRY_BYTES: usize = 32;

/// The messages that wait for one peer. The lock is a leaf.
pub(super) struct Outbox {
    state: Mutex<State>,
    waker: AtomicWaker,
    appends_bytes_max: usize,
}

#[derive(Default)]
struct State {
    /// Counts the streams; what one stream left behind is not for the next.
    stream: u64,
    open: bool,
    prompt: VecDeque<Message>,
    prompt_bytes: usize,
    appends: VecDeque<Message>,
    /// Of `appends` and of what is left of `parting`.
    appends_bytes: usize,
    parting: Option<Parting>,
    /// The next batch tells that it is this time; 0: it does not.
    wall_ms: u64,
}

/// An append that leaves in parts.
struct Parting {
    /// Until the first part has left: the message without entries.
    head: Option<Message>,
    entries: VecDeque<Entry>,
    /// How much of the first of `entries` has left.
    sent: usize,
}

impl Outbox {
    /// An outbox without a stream. `appends_bytes_max` bounds the entries that wait, but one message always may.
    pub(super) fn new(appends_bytes_max: usize) -> Self {
        Self { state: Mutex::default(), waker: AtomicWaker::new(), appends_bytes_max }
    }

    /// Appends `message`, unless there is no stream or too much waits already. Returns whether it did.
    pub(super) fn push(&self, message: Message) -> bool {
        let bytes = weight(&message);
        let mut state = self.lock();
        if !state.open {
            return false;
        }
        if matches!(message.body, Body::Append { .. }) {
            if 0 < state.appends_bytes && self.appends_bytes_max < state.appends_bytes + bytes {
                return false;
            }
            state.appends_bytes += bytes;
            state.appends.push_back(message);
        } else {
            if PROMPT_BYTES_MAX < state.prompt_bytes + bytes {
                return false;
            }
            state.prompt_bytes += bytes;
            state.prompt.push_back(message);
        }
        drop(state);
        self.waker.wake();
        true
    }

    /// Lets the peer know that the wall clock here shows `wall_ms`.
    pub(super) fn tell_time(&self, wall_ms: u64) {
        self.lock().wall_ms = wall_ms;
        self.waker.wake();
    }

    /// A stream is being opened: returns what it will carry. A stream before it ends.
    pub(super) fn reserve(self: &Arc<Self>) -> Batches {
        Batches { outbox: Arc::clone(self), stream: self.renew() }
    }

    /// The stream of the last [`Outbox::reserve`] is open: messages may wait for it.
    pub(super) fn open(&self) {
        self.lock().open = true;
    }

    /// No stream is there any more, and what waits is dropped.
    pub(super) fn close(&self) {
        self.renew();
    }

    fn renew(&self) -> u64 {
        let mut state = self.lock();
        let stream = state.stream + 1;
        *state = State { stream, ..State::default() };
        drop(state);
        self.waker.wake();
        stream
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it has the outbox")
    }
}

impl State {
    /// Takes what leaves next, if anything waits.
    fn batch(&mut self) -> Option<proto::Batch> {
        let mut bytes = 0;
        let mut messages = Vec::new();
        while let Some(message) = self.prompt.front()
            && bytes < BATCH_BYTES
        {
            bytes += weight(message);
            self.prompt_bytes -= weight(message);
            messages.push(convert::to_wire(message));
            self.prompt.pop_front();
        }
        while self.parting.is_none()
            && bytes < BATCH_BYTES
            && let Some(message) = self.appends.front()
        {
            let more = weight(message);
            if BATCH_BYTES < more {
                self.parting = self.appends.pop_front().map(Parting::new);
            } else if BATCH_BYTES < bytes + more {
                break;
            } else {
                bytes += more;
                self.appends_bytes -= more;
                messages.push(convert::to_wire(message));
                self.appends.pop_front();
            }
        }
        let part = (bytes < BATCH_BYTES).then(|| self.part(BATCH_BYTES - bytes)).flatten();
        let wall_ms = std::mem::take(&mut self.wall_ms);
        let leaves = !messages.is_empty() || part.is_some() || wall_ms != 0;
        leaves.then_some(proto::Batch { messages, part, wall_ms })
    }

    /// Takes about `room` bytes of the append that leaves in parts.
    fn part(&mut self, room: usize) -> Option<proto::Part> {
        let parting = self.parting.as_mut()?;
        let (part, bytes) = parting.next(room);
        self.appends_bytes -= bytes;
        if part.last {
            self.parting = None;
        }
        Some(part)
    }
}

impl Parting {
    fn new(mut message: Message) -> Self {
        let Body::Append { entries, .. } = &mut message.body else {
            unreachable!("only appends have parts");
        };
        let entries = std::mem::take(entries).into();
        Self { head: Some(message), entries, sent: 0 }
    }

    /// Returns the next part and what it takes of the weight of the message.
    fn next(&mut self, room: usize) -> (proto::Part, usize) {
        let mut part = proto::Part::default();
        let mut bytes = 0;
        if let Some(head) = self.head.take() {
            bytes += weight(&head);
            part.head = Some(convert::to_wire(&head));
        }
        while bytes < room
            && let Some(entry) = self.entries.front()
        {
            let end = entry.body.len().min(self.sent + (room - bytes));
            if self.sent == 0 {
                bytes += ENTRY_BYTES;
                part.entries.push(convert::entry_to_wire(entry, end));
            } else {
                part.body = entry.body.slice(self.sent..end);
            }
            bytes += end - self.sent;
            self.sent = end;
            if end == entry.body.len() {
                self.entries.pop_front();
                self.sent = 0;
            }
        }
        part.last = self.entries.is_empty();
        (part, bytes)
    }
}

/// About what a message takes while it waits.
fn weight(message: &Message) -> usize {
    let entries = match &message.body {
        Body::Append { entries, .. } => entries.iter().map(|entry| ENTRY_BYTES + entry.body.len()).sum(),
        Body::PreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::Vote { .. }
        | Body::VoteReply { .. }
        | Body::Matched { .. }
        | Body::Conflict { .. }
        | Body::Heartbeat { .. }
        | Body::HeartbeatReply { .. }
        | Body::TimeoutNow
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. }
        | Body::OldTerm => 0,
    };
    MESSAGE_BYTES + entries
}

/// The batches of one stream: whenever there is room on the way to the peer, all that waits, up to [`BATCH_BYTES`].
pub(super) struct Batches {
    outbox: Arc<Outbox>,
    stream: u64,
}

impl Stream for Batches {
    type Item = proto::Batch;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<proto::Batch>> {
        // Before the look: what is pushed after it wakes.
        self.outbox.waker.register(context.waker());
        let mut state = self.outbox.lock();
        if state.stream != self.stream {
            return Poll::Ready(None);
        }
        state.batch().map_or(Poll::Pending, |batch| Poll::Ready(Some(batch)))
    }
}
