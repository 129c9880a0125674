//! A blocking client.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::resp::{self, Reply};

/// A connection that is never waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    taken: usize,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_within(address, PATIENCE)
    }

    /// A client that waits no longer than this for the connection, for an answer, and for room to send.
    pub(crate) fn connect_within(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream, input: Vec::new(), taken: 0 })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads one reply and hands it to `each`.
    pub(crate) fn receive<R>(&mut self, each: impl FnOnce(Reply<'_>) -> R) -> io::Result<R> {
        let mut chunk = [0; 64 * 1024];
        loop {
            if let Some((reply, bytes)) = resp::reply(&self.input[self.taken..]).map_err(io::Error::other)? {
                let result = each(reply);
                self.taken += bytes;
                return Ok(result);
            }
            self.input.drain(..self.taken);
            self.taken = 0;
            let bytes = self.stream.read(&mut chunk)?;
            if bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input.extend_from_slice(&chunk[..bytes]);
        }
    }

    /// Sends a command and hands its reply to `each`.
    pub(crate) fn call<R>(&mut self, parts: &[&[u8]], each: impl FnOnce(Reply<'_>) -> R) -> io::Result<R> {
        let mut request = Vec::new();
        resp::command(parts, &mut request);
        self.send(&request)?;
        self.receive(each)
    }

    pub(crate) fn ping(&mut self) -> bool {
        self.call(&[b"PING"], |reply| reply == Reply::Status(b"PONG")).unwrap_or(false)
    }

    /// Whether the write was acknowledged.
    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<bool> {
        self.call(&[b"SET", key, value], |reply| reply == Reply::Status(b"OK"))
    }
}
