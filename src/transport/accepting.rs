//! Accepted connections, and how many there may be: who has shown nothing yet gives way, and not for ever a place.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::Sleep,
};
use tonic::transport::server::Connected;

use super::connection::OPENING_MAX;
use crate::sync::{Mutex, MutexGuard};

/// Accepted connections: each may make this node keep a window of bytes before it has shown who it is.
const CONNECTIONS_MAX: usize = 64;

/// How long a connection may last on which no stream was let in: TLS and the opening of a stream each have their time.
pub(super) const TRIAL_MAX: Duration = Duration::from_secs(2 * OPENING_MAX.as_secs());

/// How long to wait when no connection can be accepted because descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until nobody takes them.
pub(super) async fn accept(
    listener: TcpListener,
    places: Arc<Places>,
    accepted: mpsc::Sender<io::Result<Connection>>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let Some(connection) = places.admit(stream) else {
                    tracing::warn!(%address, "too many connections of peers: one is closed");
                    continue;
                };
                if let Err(error) = connection.stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection of a peer keeps its default options");
                }
                if accepted.send(Ok(connection)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of a peer");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The places of the connections to one listener.
pub(super) struct Places {
    /// How long a connection may be on trial.
    trial: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the next connection.
    next: u64,
    /// Those that have shown nothing yet, the oldest first. One that is taken out without a word ends.
    on_trial: BTreeMap<u64, oneshot::Sender<()>>,
    /// Those on which a stream was let in.
    passed: BTreeSet<u64>,
    closed: bool,
}

impl Places {
    /// Places for connections of which each has this long until it must have shown who it is.
    pub(super) fn new(trial: Duration) -> Arc<Self> {
        Arc::new(Self { trial, state: Mutex::default() })
    }

    /// Returns a connection on trial; none if all places are taken by those that have shown who they are.
    fn admit(self: &Arc<Self>, stream: TcpStream) -> Option<Connection> {
        let (proof, proven) = oneshot::channel();
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        if state.on_trial.len() + state.passed.len() >= CONNECTIONS_MAX {
            state.on_trial.pop_first()?;
            tracing::warn!("too many connections of peers: the oldest that has shown nothing is closed");
        }
        let number = state.next;
        state.next += 1;
        state.on_trial.insert(number, proof);
        drop(state);
        let deadline = Box::pin(tokio::time::sleep(self.trial));
        let guest = Guest { places: Arc::clone(self), number, address: stream.peer_addr().ok() };
        Some(Connection { stream, trial: Some(Trial { proven, deadline }), guest })
    }

    /// Ends the connections that have shown nothing, and takes no more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.on_trial.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it has the places")
    }
}

/// Who has a place.
#[derive(Clone)]
pub(super) struct Guest {
    places: Arc<Places>,
    number: u64,
    /// Where it came from; none if it had gone before that could be asked.
    pub(super) address: Option<SocketAddr>,
}

impl Guest {
    /// A stream on the connection was let in: it may stay.
    pub(super) fn pass(&self) {
        let mut state = self.places.lock();
        // None if it passed before, or has ended.
        if let Some(proof) = state.on_trial.remove(&self.number) {
            state.passed.insert(self.number);
            drop(state);
            // If the connection ends meanwhile, nobody hears it.
            let _ = proof.send(());
        }
    }
}

/// An accepted connection.
pub(super) struct Connection {
    stream: TcpStream,
    /// None when it has passed.
    trial: Option<Trial>,
    guest: Guest,
}

struct Trial {
    proven: oneshot::Receiver<()>,
    deadline: Pin<Box<Sleep>>,
}

impl Connection {
    /// Returns whether the connection may go on.
    fn poll_trial(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(trial) = &mut self.trial else { return Ok(()) };
        match Pin::new(&mut trial.proven).poll(context) {
            Poll::Ready(Ok(())) => {
                self.trial = None;
                Ok(())
            }
            Poll::Ready(Err(_)) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => match trial.deadline.as_mut().poll(context) {
                Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
                Poll::Pending => Ok(()),
            },
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.guest.places.lock();
        state.on_trial.remove(&self.guest.number);
        state.passed.remove(&self.guest.number);
    }
}

impl Connected for Connection {
    type ConnectInfo = Guest;

    fn connect_info(&self) -> Guest {
        self.guest.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_trial(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_trial(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_trial(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A connection that was accepted, and its other end.
    async fn connection(places: &Arc<Places>) -> (Connection, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, mut accepted) = mpsc::channel(1);
        let accepting = tokio::spawn(accept(listener, Arc::clone(places), sender));
        let client = TcpStream::connect(address).await.unwrap();
        let connection = accepted.recv().await.unwrap().unwrap();
        accepting.abort();
        (connection, client)
    }

    async fn ends_with(connection: &mut Connection) -> io::ErrorKind {
        connection.read_u8().await.unwrap_err().kind()
    }

    #[tokio::test]
    async fn accepted_sockets_do_not_wait_for_more_bytes() {
        let (connection, _client) = connection(&Places::new(TRIAL_MAX)).await;
        assert!(connection.stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn who_shows_nothing_in_time_is_closed_and_who_passed_is_not() {
        let places = Places::new(Duration::from_millis(1));
        let (mut silent, _client) = connection(&places).await;
        assert_eq!(ends_with(&mut silent).await, io::ErrorKind::TimedOut);

        let (mut passed, client) = connection(&places).await;
        passed.guest.pass();
        let (mut another, _client) = connection(&places).await;
        assert_eq!(ends_with(&mut another).await, io::ErrorKind::TimedOut);
        drop(client);
        assert_eq!(ends_with(&mut passed).await, io::ErrorKind::UnexpectedEof, "its time does not end");
    }

    #[tokio::test]
    async fn the_oldest_on_trial_gives_way_and_who_passed_does_not() {
        let places = Places::new(TRIAL_MAX);
        let (oldest, _client) = connection(&places).await;
        oldest.guest.pass();
        let (mut second, _client) = connection(&places).await;
        let mut others = Vec::new();
        for _ in 2..CONNECTIONS_MAX {
            others.push(connection(&places).await);
        }
        let (newest, _client) = connection(&places).await;
        assert_eq!(ends_with(&mut second).await, io::ErrorKind::ConnectionAborted);
        let state = places.lock();
        assert_eq!((state.on_trial.len(), state.passed.len()), (CONNECTIONS_MAX - 1, 1));
        drop(state);
        drop((oldest, newest, others, second));
        let state = places.lock();
        assert!(state.on_trial.is_empty() && state.passed.is_empty(), "all places are free again");
    }

    #[tokio::test]
    async fn nobody_is_admitted_if_all_have_passed() {
        let places = Places::new(TRIAL_MAX);
        let mut all = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let (connection, client) = connection(&places).await;
            connection.guest.pass();
            all.push((connection, client));
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(places.admit(stream).is_none());
    }
}
