//! The tunnels that share a stream.
//!
//! Order of locks: that of a pipe, then that of the bundle, which is a leaf.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, IoSlice},
    ops::{Deref, DerefMut},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use tokio::io::ReadBuf;
use tokio_stream::Stream;

use super::{
    Incoming, Purpose, Traffic, Tunnel,
    pipe::{Pipe, Turn},
};
use crate::{
    proto,
    raft::NodeId,
    sync::{Mutex, MutexGuard},
    transport::{LinkError, Malformed, outbox::BATCH_BYTES},
};

/// How many tunnels there may be on one stream: as many as a node has ports.
const TUNNELS_MAX: usize = 1 << 16;

/// About what a frame takes beside its data.
const FRAME_BYTES: usize = 32;

/// The tunnels of one stream, on one of its sides.
#[derive(Debug)]
pub(in crate::transport) struct Bundle {
    state: Mutex<State>,
    /// Of the stream.
    waker: AtomicWaker,
    traffic: Arc<Traffic>,
}

#[derive(Debug, Default)]
struct State {
    pipes: BTreeMap<u64, Arc<Line>>,
    /// Those that have something to send, in the order of their turns.
    ready: VecDeque<Arc<Line>>,
    /// The greatest number so far.
    last: u64,
    /// Why the stream ended.
    ended: Option<LinkError>,
}

/// A pipe and its number.
#[derive(Debug)]
struct Line {
    number: u64,
    pipe: Mutex<Pipe>,
    traffic: Arc<Traffic>,
}

/// A pipe that is locked. What it keeps is counted when it is unlocked.
struct Locked<'a> {
    pipe: MutexGuard<'a, Pipe>,
    /// What it kept when it was locked.
    before: usize,
    traffic: &'a Traffic,
}

impl Line {
    fn lock(&self) -> Locked<'_> {
        let pipe = self.pipe.lock().expect("nothing panics while it has a pipe");
        Locked { before: pipe.buffered_bytes(), pipe, traffic: &self.traffic }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let left = self.pipe.get_mut().map_or(0, |pipe| pipe.buffered_bytes());
        self.traffic.buffered_bytes.fetch_sub(left as u64, Ordering::Relaxed);
    }
}

impl Deref for Locked<'_> {
    type Target = Pipe;

    fn deref(&self) -> &Pipe {
        &self.pipe
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Pipe {
        &mut self.pipe
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let now = self.pipe.buffered_bytes();
        if now != self.before {
            // Less than before is more, modulo 2^64.
            let more = (now as u64).wrapping_sub(self.before as u64);
            self.traffic.buffered_bytes.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// What the halves of a [`Tunnel`] share.
#[derive(Debug)]
pub(super) struct End {
    line: Arc<Line>,
    bundle: Arc<Bundle>,
}

impl Bundle {
    /// One side of a new stream, whose traffic is counted there.
    pub(in crate::transport) fn new(traffic: &Arc<Traffic>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), waker: AtomicWaker::new(), traffic: Arc::clone(traffic) })
    }

    /// The side that opens tunnels opens one.
    ///
    /// # Errors
    ///
    /// The stream has ended, or has all the tunnels that it may have.
    pub(in crate::transport) fn open(self: &Arc<Self>, purpose: Purpose) -> Result<Tunnel, LinkError> {
        let line = {
            let mut state = self.lock();
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            if state.pipes.len() >= TUNNELS_MAX {
                return Err(LinkError::TooManyTunnels);
            }
            let number = state.last + 1;
            state.insert(number, Pipe::opening(purpose), &self.traffic)
        };
        self.traffic.opened.fetch_add(1, Ordering::Relaxed);
        let end = Arc::new(End::new(line, self));
        end.bundle.enqueue(&end.line, &mut end.line.lock());
        Ok(Tunnel { end })
    }

    /// Takes what the other side, node `from`, says, and returns the tunnels that it has opened, if it `may_open` any.
    pub(in crate::transport) fn take(
        self: &Arc<Self>,
        from: NodeId,
        frames: proto::Frames,
        may_open: bool,
    ) -> Result<Vec<Incoming>, Malformed> {
        let mut opened = Vec::new();
        for frame in frames.frames {
            let kind = frame.kind.ok_or(Malformed::Frame("an unknown frame of a tunnel"))?;
            if let Some(purpose) = Purpose::from_wire(&kind)? {
                if !may_open {
                    return Err(Malformed::Frame("a tunnel against the direction of its stream"));
                }
                opened.push(self.opened(from, frame.tunnel, purpose)?);
                continue;
            }
            if let proto::frame::Kind::Data(data) = &kind {
                self.traffic.bytes_received.fetch_add(data.len() as u64, Ordering::Relaxed);
            }
            let is_last = matches!(kind, proto::frame::Kind::Refused(_) | proto::frame::Kind::Closed(_));
            let line = match is_last {
                true => self.lock().pipes.remove(&frame.tunnel),
                false => self.lock().pipes.get(&frame.tunnel).cloned(),
            };
            if let Some(line) = line {
                let wakes = line.lock().take(kind)?;
                wakes.wake();
            }
        }
        Ok(opened)
    }

    fn opened(self: &Arc<Self>, from: NodeId, number: u64, purpose: Purpose) -> Result<Incoming, Malformed> {
        let mut state = self.lock();
        if number <= state.last {
            return Err(Malformed::Frame("a tunnel with the number of another"));
        }
        if state.pipes.len() >= TUNNELS_MAX {
            return Err(Malformed::Frame("too many tunnels"));
        }
        let line = state.insert(number, Pipe::opened(), &self.traffic);
        drop(state);
        self.traffic.served.fetch_add(1, Ordering::Relaxed);
        let tunnel = Tunnel { end: Arc::new(End::new(line, self)) };
        Ok(Incoming { from, purpose, tunnel })
    }

    /// The stream has ended, and so have all its tunnels.
    pub(in crate::transport) fn end(&self, error: LinkError) {
        let mut state = self.lock();
        let words = error.to_string();
        state.ended.get_or_insert(error);
        let pipes = std::mem::take(&mut state.pipes);
        state.ready.clear();
        drop(state);
        self.waker.wake();
        for line in pipes.values() {
            let wakes = line.lock().break_off(&words);
            wakes.wake();
        }
    }

    /// Whether the stream has ended.
    pub(in crate::transport) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    #[cfg(test)]
    pub(super) fn buffered_bytes(&self) -> u64 {
        self.traffic.status().buffered_bytes
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().pipes.is_empty()
    }

    /// What the stream carries, until it ends, which is the last item. There is one for each bundle.
    pub(in crate::transport) fn batches(self: &Arc<Self>) -> Batches {
        Batches { bundle: Arc::clone(self), is_over: false }
    }

    /// Lets a pipe have a turn, unless it waits for one.
    fn enqueue(&self, line: &Arc<Line>, pipe: &mut Pipe) {
        if std::mem::replace(&mut pipe.queued, true) {
            return;
        }
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        state.ready.push_back(Arc::clone(line));
        let is_first = state.ready.len() == 1;
        drop(state);
        // Who finds others waiting knows that the stream has been woken for them.
        if is_first {
            self.waker.wake();
        }
    }

    /// Takes what leaves next, if anything waits.
    fn batch(&self) -> Option<proto::Frames> {
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES {
            let Some(line) = self.lock().ready.pop_front() else { break };
            let mut pipe = line.lock();
            let before = frames.len();
            let (data, turn) = pipe.leave(|kind| {
                frames.push(proto::Frame { tunnel: line.number, kind: Some(kind) });
            });
            self.traffic.bytes_sent.fetch_add(data as u64, Ordering::Relaxed);
            bytes += data + FRAME_BYTES * (frames.len() - before);
            match turn {
                Turn::More => self.enqueue(&line, &mut pipe),
                Turn::Empty => {}
                Turn::Last => drop(self.lock().pipes.remove(&line.number)),
            }
        }
        (!frames.is_empty()).then_some(proto::Frames { frames })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it has a bundle")
    }
}

impl State {
    fn insert(&mut self, number: u64, pipe: Pipe, traffic: &Arc<Traffic>) -> Arc<Line> {
        self.last = number;
        let line = Arc::new(Line { number, pipe: Mutex::new(pipe), traffic: Arc::clone(traffic) });
        self.pipes.insert(number, Arc::clone(&line));
        line
    }
}

impl End {
    fn new(line: Arc<Line>, bundle: &Arc<Bundle>) -> Self {
        bundle.traffic.open.fetch_add(1, Ordering::Relaxed);
        Self { line, bundle: Arc::clone(bundle) }
    }

    fn lock(&self) -> Locked<'_> {
        self.line.lock()
    }

    pub(super) fn accept(&self) {
        let mut pipe = self.lock();
        pipe.accept();
        self.bundle.enqueue(&self.line, &mut pipe);
    }

    pub(super) fn refuse(&self, why: &str) {
        let mut pipe = self.lock();
        pipe.refuse(why);
        self.bundle.enqueue(&self.line, &mut pipe);
    }

    pub(super) fn poll_accepted(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.lock().is_accepted(context).map_or(Poll::Pending, Poll::Ready)
    }

    pub(super) fn poll_read(&self, context: &Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.lock();
        let Some(read) = pipe.read(context, buffer) else { return Poll::Pending };
        if read? {
            self.bundle.enqueue(&self.line, &mut pipe);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_take(&self, context: &Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut pipe = self.lock();
        let Some(taken) = pipe.take_inbound(context) else { return Poll::Pending };
        let (bytes, tell) = taken?;
        if tell {
            self.bundle.enqueue(&self.line, &mut pipe);
        }
        Poll::Ready(Ok((!bytes.is_empty()).then_some(bytes)))
    }

    pub(super) fn poll_closed(&self, context: &Context<'_>) -> Poll<()> {
        if self.lock().is_closed(context) { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut pipe = self.lock();
        let written = pipe.write(slices)?;
        self.bundle.enqueue(&self.line, &mut pipe);
        Ok(written)
    }

    pub(super) fn poll_writable(&self, context: &Context<'_>) -> Poll<()> {
        if self.lock().is_writable(context) { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn poll_write(&self, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_writable(context));
        Poll::Ready(self.try_write(&[IoSlice::new(bytes)]))
    }

    pub(super) fn shutdown(&self) {
        let mut pipe = self.lock();
        if pipe.shutdown() {
            self.bundle.enqueue(&self.line, &mut pipe);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.bundle.traffic.open.fetch_sub(1, Ordering::Relaxed);
        let mut pipe = self.lock();
        if pipe.abandon() {
            self.bundle.enqueue(&self.line, &mut pipe);
        }
    }
}

/// Whenever there is room on the way to the other side: what waits in all tunnels, up to [`BATCH_BYTES`].
pub(in crate::transport) struct Batches {
    bundle: Arc<Bundle>,
    is_over: bool,
}

impl Stream for Batches {
    type Item = Result<proto::Frames, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // Before the look: what is enqueued after it wakes.
        self.bundle.waker.register(context.waker());
        if let Some(frames) = self.bundle.batch() {
            return Poll::Ready(Some(Ok(frames)));
        }
        let ended = self.bundle.lock().ended.clone();
        self.is_over = ended.is_some();
        ended.map_or(Poll::Pending, |error| Poll::Ready(Some(Err(error))))
    }
}
