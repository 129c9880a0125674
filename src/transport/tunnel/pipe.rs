//! One side of one tunnel as a plain object: what waits to leave, what has come, and how far the windows are.

use std::{
    io::{self, ErrorKind, IoSlice},
    mem,
    task::{Context, Waker},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::ReadBuf;

use super::{Purpose, WINDOW_BYTES};
use crate::{
    proto::{self, frame::Kind},
    transport::Malformed,
};

/// The most of one tunnel that leaves before the others have their turn.
const CHUNK_BYTES: usize = 64 << 10;

/// What was read is told in steps of this, so that small reads do not cost a frame each.
const CREDIT_BYTES: usize = WINDOW_BYTES / 2;

/// The most memory that an empty buffer keeps.
const KEPT_BYTES: usize = 16 << 10;

/// The longest reason of a refusal.
const REASON_BYTES_MAX: usize = 300;

/// One side of a tunnel.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Goes before all else.
    greeting: Option<Greeting>,
    /// Written and not left yet.
    outbound: BytesMut,
    /// How much more may be written.
    credit: usize,
    end: Ending,
    /// This side is gone: when what it has written has left, the tunnel is closed.
    abandoned: bool,
    /// What has come and is not read.
    inbound: BytesMut,
    /// What was read and not told yet.
    owed: usize,
    /// How much the other side may still send.
    window: usize,
    /// The other side has accepted the tunnel.
    accepted: bool,
    /// This side is to accept or refuse it.
    unanswered: bool,
    /// Nothing more comes.
    ended: bool,
    over: Option<Over>,
    /// It waits for its turn to leave.
    pub(super) queued: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The first that a side says.
#[derive(Debug)]
enum Greeting {
    Open(Purpose),
    Accepted,
    Refused(String),
}

/// Whether this side writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    /// No more, but the other side does not know.
    Due,
    Told,
}

/// Why the tunnel is gone.
#[derive(Clone, Debug)]
enum Over {
    Closed,
    Refused(String),
    Broken(String),
}

/// What a pipe has after its turn to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// More that could leave.
    More,
    /// Nothing.
    Empty,
    /// Nothing for ever: the tunnel is gone.
    Last,
}

/// Who is to be woken, once nothing is locked.
#[derive(Debug, Default)]
#[must_use = "somebody may wait"]
pub(super) struct Wakes([Option<Waker>; 2]);

impl Wakes {
    pub(super) fn wake(self) {
        self.0.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Pipe {
    /// The side that opens a tunnel.
    pub(super) fn opening(purpose: Purpose) -> Self {
        Self::new(Some(Greeting::Open(purpose)))
    }

    /// The side that is to accept it.
    pub(super) fn opened() -> Self {
        Self::new(None)
    }

    fn new(greeting: Option<Greeting>) -> Self {
        Self {
            unanswered: greeting.is_none(),
            greeting,
            outbound: BytesMut::new(),
            credit: WINDOW_BYTES,
            end: Ending::Open,
            abandoned: false,
            inbound: BytesMut::new(),
            owed: 0,
            window: WINDOW_BYTES,
            accepted: false,
            ended: false,
            over: None,
            queued: false,
            reader: None,
            writer: None,
        }
    }

    /// The memory of what waits in it.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.outbound.capacity() + self.inbound.capacity()
    }

    pub(super) fn accept(&mut self) {
        self.unanswered = false;
        self.greeting = Some(Greeting::Accepted);
    }

    pub(super) fn refuse(&mut self, why: &str) {
        self.unanswered = false;
        let plain = why.chars().map(|c| if c.is_control() { ' ' } else { c });
        self.greeting = Some(Greeting::Refused(plain.take(REASON_BYTES_MAX).collect()));
    }

    /// Takes what there is room for.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.over.is_some() || self.end != Ending::Open {
            return Err(self.error(ErrorKind::BrokenPipe, "nobody reads the tunnel any more"));
        }
        if self.credit == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let before = self.credit;
        for slice in slices {
            let part = &slice[..slice.len().min(self.credit)];
            self.outbound.extend_from_slice(part);
            self.credit -= part.len();
        }
        Ok(before - self.credit)
    }

    /// Nothing more will be written. Returns whether that is news.
    pub(super) fn shutdown(&mut self) -> bool {
        let is_news = self.end == Ending::Open && self.over.is_none();
        if is_news {
            self.end = Ending::Due;
        }
        is_news
    }

    /// Whoever had this side is gone. Returns whether the other side has to hear of it.
    pub(super) fn abandon(&mut self) -> bool {
        if self.unanswered {
            self.refuse("it is not served");
        }
        self.abandoned = true;
        self.inbound = BytesMut::new();
        self.over.is_none()
    }

    /// Whether a write would do something, or fail; if not, `context` is woken when one does.
    pub(super) fn is_writable(&mut self, context: &Context<'_>) -> bool {
        let is_writable = self.credit > 0 || self.over.is_some() || self.end != Ending::Open;
        if !is_writable {
            keep(&mut self.writer, context);
        }
        is_writable
    }

    /// Whether the other side has accepted or refused it; if neither, `context` is woken when it has.
    pub(super) fn is_accepted(&mut self, context: &Context<'_>) -> Option<io::Result<()>> {
        if self.accepted {
            return Some(Ok(()));
        }
        if self.over.is_some() {
            return Some(Err(self.error(ErrorKind::ConnectionReset, CLOSED)));
        }
        keep(&mut self.reader, context);
        None
    }

    /// Reads what has come, and returns whether the other side is to be told so; `None` if nothing has come, and `context`
    /// is woken when it has.
    pub(super) fn read(
        &mut self,
        context: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Option<io::Result<bool>> {
        let bytes = self.inbound.len().min(buffer.remaining());
        if bytes > 0 {
            buffer.put_slice(&self.inbound[..bytes]);
            self.inbound.advance(bytes);
            if self.inbound.is_empty() && self.inbound.capacity() > KEPT_BYTES {
                self.inbound = BytesMut::new();
            }
            return Some(Ok(self.has_read(bytes)));
        }
        if self.ended || buffer.remaining() == 0 {
            return Some(Ok(false));
        }
        if self.over.is_some() {
            return Some(Err(self.error(ErrorKind::ConnectionReset, CLOSED)));
        }
        keep(&mut self.reader, context);
        None
    }

    /// Takes all that has come, as [`Pipe::read`] does; an empty one is the end.
    pub(super) fn take_inbound(&mut self, context: &Context<'_>) -> Option<io::Result<(Bytes, bool)>> {
        if !self.inbound.is_empty() {
            let bytes = mem::take(&mut self.inbound).freeze();
            let tell = self.has_read(bytes.len());
            return Some(Ok((bytes, tell)));
        }
        let mut nothing = [0];
        let read = self.read(context, &mut ReadBuf::new(&mut nothing))?;
        Some(read.map(|_| (Bytes::new(), false)))
    }

    /// Counts what was read, and returns whether the other side is to be told.
    fn has_read(&mut self, bytes: usize) -> bool {
        self.owed += bytes;
        self.owed >= CREDIT_BYTES && !self.ended && self.over.is_none()
    }

    /// Whether nobody reads any more what is written; if not, `context` is woken when that is so.
    pub(super) fn is_closed(&mut self, context: &Context<'_>) -> bool {
        if self.over.is_none() {
            keep(&mut self.writer, context);
        }
        self.over.is_some()
    }

    /// The error that says why the tunnel is gone, if it did not just close.
    fn error(&self, closed: ErrorKind, words: &'static str) -> io::Error {
        match &self.over {
            Some(Over::Refused(why)) => io::Error::new(ErrorKind::ConnectionRefused, why.clone()),
            Some(Over::Broken(why)) => io::Error::new(ErrorKind::ConnectionAborted, why.clone()),
            Some(Over::Closed) | None => io::Error::new(closed, words),
        }
    }

    /// Takes what the other side says. Frames that open a tunnel are not for a pipe.
    pub(super) fn take(&mut self, kind: Kind) -> Result<Wakes, Malformed> {
        match kind {
            Kind::Accepted(_) => self.accepted = true,
            Kind::Refused(why) => self.over = Some(Over::Refused(why)),
            Kind::Data(data) => {
                let window = self.window.checked_sub(data.len()).filter(|_| !self.ended);
                self.window = window.ok_or(Malformed::Frame("more in a tunnel than there is room for"))?;
                if self.abandoned {
                    return Ok(Wakes::default());
                }
                // A copy: the piece would keep the whole batch that it came in.
                self.inbound.extend_from_slice(&data);
            }
            Kind::Credit(bytes) => {
                self.credit += bytes as usize;
                if self.credit > WINDOW_BYTES {
                    return Err(Malformed::Frame("a tunnel of which more was read than was sent"));
                }
                return Ok(Wakes([None, self.writer.take()]));
            }
            Kind::Ended(_) => self.ended = true,
            Kind::Closed(_) => self.over = Some(Over::Closed),
            Kind::Session(_) | Kind::Request(_) => {
                return Err(Malformed::Frame("a tunnel that is open is opened"));
            }
        }
        Ok(self.wakes())
    }

    /// The stream between the nodes is gone.
    pub(super) fn break_off(&mut self, why: &str) -> Wakes {
        if self.over.is_none() {
            self.over = Some(Over::Broken(why.to_owned()));
        }
        self.wakes()
    }

    fn wakes(&mut self) -> Wakes {
        let writer = if self.over.is_some() { self.writer.take() } else { None };
        Wakes([self.reader.take(), writer])
    }

    /// Hands out what leaves next, one chunk at most, and returns about how many bytes that is.
    pub(super) fn leave(&mut self, mut frame: impl FnMut(Kind)) -> (usize, Turn) {
        self.queued = false;
        if self.over.is_some() {
            return (0, Turn::Last);
        }
        match self.greeting.take() {
            None => {}
            Some(Greeting::Open(purpose)) => frame(purpose.to_wire()),
            Some(Greeting::Accepted) => frame(Kind::Accepted(proto::TunnelAccepted {})),
            Some(Greeting::Refused(why)) => {
                frame(Kind::Refused(why));
                self.over = Some(Over::Closed);
                return (REASON_BYTES_MAX, Turn::Last);
            }
        }
        if self.owed >= CREDIT_BYTES && !self.abandoned {
            self.window += self.owed;
            let owed = mem::take(&mut self.owed);
            frame(Kind::Credit(u32::try_from(owed).expect("no more than the window")));
        }
        let bytes = self.outbound.len().min(CHUNK_BYTES);
        if bytes > 0 {
            frame(Kind::Data(self.outbound.split_to(bytes).freeze()));
            if !self.outbound.is_empty() {
                return (bytes, Turn::More);
            }
            if self.outbound.capacity() > KEPT_BYTES {
                self.outbound = BytesMut::new();
            }
        }
        if self.end == Ending::Due {
            self.end = Ending::Told;
            frame(Kind::Ended(proto::TunnelEnded {}));
        }
        if self.abandoned {
            frame(Kind::Closed(proto::TunnelClosed {}));
            self.over = Some(Over::Closed);
            return (bytes, Turn::Last);
        }
        (bytes, Turn::Empty)
    }
}

const CLOSED: &str = "the other side has closed the tunnel";

/// Keeps who is to be woken, without cloning the one who is kept already.
fn keep(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}

impl Purpose {
    fn to_wire(self) -> Kind {
        match self {
            Self::Session { remote, local } => {
                Kind::Session(proto::TunnelSession { remote: remote.to_string(), local: local.to_string() })
            }
            Self::Request => Kind::Request(proto::TunnelRequest {}),
        }
    }

    /// Reads a frame that opens a tunnel; none if it does not.
    pub(super) fn from_wire(kind: &Kind) -> Result<Option<Self>, Malformed> {
        match kind {
            Kind::Session(session) => {
                let address = |text: &str| {
                    text.parse().map_err(|_| Malformed::Frame("a client with an address that is none"))
                };
                let (remote, local) = (address(&session.remote)?, address(&session.local)?);
                Ok(Some(Self::Session { remote, local }))
            }
            Kind::Request(proto::TunnelRequest {}) => Ok(Some(Self::Request)),
            Kind::Accepted(_)
            | Kind::Refused(_)
            | Kind::Data(_)
            | Kind::Credit(_)
            | Kind::Ended(_)
            | Kind::Closed(_) => Ok(None),
        }
    }
}
