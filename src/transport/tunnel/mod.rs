//! Tunnels: bytes both ways between two nodes, for clients and requests of one node that another serves.
//!
//! All tunnels from one node to another share one stream (a [`bundle`](bundle::Bundle)), on a connection apart from that
//! of the messages: so a session costs no opening of its own, what waits in many tunnels leaves in one gRPC message, and
//! who opens a tunnel has shown at the opening of the stream that it is a member.
//!
//! A tunnel is like a TCP connection: each direction ends by itself, what was written before the end arrives before it,
//! and who does not read holds up the one that writes: a side may be [`WINDOW_BYTES`] ahead of what the other has read.
//! The windows of HTTP/2 cannot do that, since one tunnel that is not read would hold up all others on the connection.
//! Here the stream is always read, and what is kept for a tunnel is bounded by its window.
//!
//! It differs in one thing: who serves tunnels accepts each one or refuses it, and what was sent through a tunnel that is
//! refused had no effect.

mod bundle;
mod pipe;
mod road;
#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::bundle::End;
pub(super) use self::{bundle::Bundle, road::Road};
use crate::raft::NodeId;

/// How far a side may be ahead of what the other has read.
const WINDOW_BYTES: usize = 256 << 10;

/// What tunnels have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelStatus {
    /// Those that there are, on either side.
    pub open: u64,
    /// Those that were opened by this node.
    pub opened: u64,
    /// Those that were opened by others.
    pub served: u64,
    /// Bytes that have left.
    pub bytes_sent: u64,
    /// Bytes that have come.
    pub bytes_received: u64,
    /// Memory of the buffers on this side: what is written and has not left, and what has come and is not read.
    pub buffered_bytes: u64,
}

/// Counts what tunnels do, of all streams of a node.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    open: AtomicU64,
    opened: AtomicU64,
    served: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    buffered_bytes: AtomicU64,
}

impl Traffic {
    pub(super) fn status(&self) -> TunnelStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TunnelStatus {
            open: read(&self.open),
            opened: read(&self.opened),
            served: read(&self.served),
            bytes_sent: read(&self.bytes_sent),
            bytes_received: read(&self.bytes_received),
            buffered_bytes: read(&self.buffered_bytes),
        }
    }
}

/// What a tunnel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The session of a client, from its first byte on.
    Session {
        /// The address of the client.
        remote: SocketAddr,
        /// The address that it connected to.
        local: SocketAddr,
    },
    /// One request and its answer.
    Request,
}

/// Who serves tunnels of other nodes. The calls come from tasks of the runtime, and must not block.
pub trait Front: Send + Sync + 'static {
    /// Another node has opened a tunnel.
    fn serve(&self, incoming: Incoming);
}

/// A tunnel that is neither accepted nor refused. Dropped, it is refused.
#[derive(Debug)]
pub struct Incoming {
    from: NodeId,
    purpose: Purpose,
    tunnel: Tunnel,
}

impl Incoming {
    /// The node that has opened it.
    pub fn from(&self) -> NodeId {
        self.from
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// It will be served.
    pub fn accept(self) -> Tunnel {
        self.tunnel.end.accept();
        self.tunnel
    }

    /// It will not be served, for this reason.
    pub fn refuse(self, why: &str) {
        self.tunnel.end.refuse(why);
    }
}

/// One side of a tunnel. Dropped, it is closed when what was written has left.
///
/// # Errors of reading and writing
///
/// - [`io::ErrorKind::ConnectionRefused`]: it was refused, and what was written had no effect.
/// - [`io::ErrorKind::ConnectionReset`]: the other side has closed it, and had not ended what it wrote.
/// - [`io::ErrorKind::ConnectionAborted`]: the stream between the nodes broke.
/// - [`io::ErrorKind::BrokenPipe`]: what is written will not be read.
#[derive(Debug)]
pub struct Tunnel {
    end: Arc<End>,
}

/// The reading half of a [`Tunnel`].
#[derive(Debug)]
pub struct TunnelReader {
    end: Arc<End>,
}

/// The writing half of a [`Tunnel`].
#[derive(Debug)]
pub struct TunnelWriter {
    end: Arc<End>,
}

impl Tunnel {
    /// Waits until the other side has accepted the tunnel.
    ///
    /// # Errors
    ///
    /// It was refused, or broke.
    pub async fn accepted(&self) -> io::Result<()> {
        poll_fn(|context| self.end.poll_accepted(context)).await
    }

    /// Its two halves; it is closed when both are dropped.
    pub fn into_split(self) -> (TunnelReader, TunnelWriter) {
        (TunnelReader { end: Arc::clone(&self.end) }, TunnelWriter { end: self.end })
    }
}

impl TunnelReader {
    /// Returns all that has come as soon as something has; none at the end.
    ///
    /// # Errors
    ///
    /// As reading.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|context| self.end.poll_take(context)).await
    }
}

impl TunnelWriter {
    /// Writes as much as the window has room for.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if there is no room, until [`TunnelWriter::writable`] returns.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.end.try_write(slices)
    }

    /// Waits until something can be written, or an error would show. One task at a time.
    pub async fn writable(&self) {
        poll_fn(|context| self.end.poll_writable(context)).await;
    }

    /// Waits until nobody reads any more what is written. By the task that waits for [`TunnelWriter::writable`], if one
    /// does.
    pub async fn closed(&self) {
        poll_fn(|context| self.end.poll_closed(context)).await;
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.end.poll_read(context, buffer)
    }
}

impl AsyncRead for TunnelReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.end.poll_read(context, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.end.poll_write(context, bytes)
    }

    /// What is written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.shutdown();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelWriter {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.end.poll_write(context, bytes)
    }

    /// What is written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.shutdown();
        Poll::Ready(Ok(()))
    }
}
