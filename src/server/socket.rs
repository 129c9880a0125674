//! What a client is connected by: a TCP connection, or a tunnel from the node that it came to.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::transport::{Tunnel, TunnelReader, TunnelWriter};

/// Both ways to a client.
pub(super) enum Socket {
    Tcp(TcpStream),
    Tunnel(Tunnel),
}

/// The way from a client.
pub(super) enum Reader {
    Tcp(OwnedReadHalf),
    Tunnel(TunnelReader),
}

/// The way to a client.
pub(super) enum Writer {
    Tcp(OwnedWriteHalf),
    Tunnel(TunnelWriter),
}

impl Socket {
    pub(super) fn into_split(self) -> (Reader, Writer) {
        match self {
            Self::Tcp(stream) => {
                let (reader, writer) = stream.into_split();
                (Reader::Tcp(reader), Writer::Tcp(writer))
            }
            Self::Tunnel(tunnel) => {
                let (reader, writer) = tunnel.into_split();
                (Reader::Tunnel(reader), Writer::Tunnel(writer))
            }
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<Tunnel> for Socket {
    fn from(tunnel: Tunnel) -> Self {
        Self::Tunnel(tunnel)
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(reader) => Pin::new(reader).poll_read(context, buffer),
            Self::Tunnel(reader) => Pin::new(reader).poll_read(context, buffer),
        }
    }
}

impl Writer {
    /// Writes what there is room for; `WouldBlock` if there is none.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(writer), [one]) => writer.try_write(one),
            (Self::Tcp(writer), many) => writer.try_write_vectored(many),
            (Self::Tunnel(writer), slices) => writer.try_write_vectored(slices),
        }
    }

    /// Waits until there may be room.
    pub(super) async fn writable(&self) {
        match self {
            // An error shows at the next write.
            Self::Tcp(writer) => drop(writer.ready(Interest::WRITABLE).await),
            Self::Tunnel(writer) => writer.writable().await,
        }
    }
}
