//! RESP while the node looks for its cluster: every command is answered with `-LOADING`, as Redis does while it reads its
//! data, so that a client tries again instead of waiting for ever.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::listener::{ACCEPT_PAUSE, TOO_MANY_CLIENTS};
use crate::resp::RequestCodec;

/// Told of every command. Clients know it by its first word.
const LOADING: &[u8] = b"-LOADING The node has not found its cluster yet\r\n";

/// Answers the clients of `listeners`, at most `clients_max` at one time, until `work` is done, and returns what came of it.
/// Then they are disconnected: nothing that they asked for was done.
pub(super) async fn while_waiting<T>(
    listeners: impl Iterator<Item = &TcpListener> + Clone,
    clients_max: usize,
    work: impl Future<Output = T>,
) -> T {
    tokio::select! {
        done = work => done,
        never = serve(listeners, clients_max) => match never {},
    }
}

async fn serve<'a>(
    listeners: impl Iterator<Item = &'a TcpListener> + Clone,
    clients_max: usize,
) -> std::convert::Infallible {
    // What is in it ends with it.
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = poll_fn(|context| poll_accept(listeners.clone(), context)) => match accepted {
                Ok(mut stream) if clients_max <= clients.len() => {
                    // Whether the client hears it or not, the connection ends here.
                    drop(stream.write_all(TOO_MANY_CLIENTS).await);
                }
                Ok(stream) => drop(clients.spawn(answer(stream))),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = clients.join_next(), if !clients.is_empty() => {}
        }
    }
}

fn poll_accept<'a>(
    mut listeners: impl Iterator<Item = &'a TcpListener>,
    context: &mut Context<'_>,
) -> Poll<std::io::Result<TcpStream>> {
    let accepted = listeners.find_map(|listener| match listener.poll_accept(context) {
        Poll::Ready(accepted) => Some(accepted.map(|(stream, _)| stream)),
        Poll::Pending => None,
    });
    accepted.map_or(Poll::Pending, Poll::Ready)
}

/// Answers a client until it goes, or sends what is no request.
async fn answer(mut stream: TcpStream) {
    let (mut codec, mut buffer) = (RequestCodec::default(), BytesMut::new());
    loop {
        codec.reserve(&mut buffer);
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let mut replies = Vec::new();
        let refused = loop {
            match codec.next_request(&mut buffer) {
                Ok(Some(_)) => replies.extend_from_slice(LOADING),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = &refused {
            replies.extend(error.reply().unwrap_or_default());
        }
        if stream.write_all(&replies).await.is_err() || refused.is_some() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn every_command_is_answered_until_the_work_is_done() {
        let listeners = [
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        ];
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let (done, work) = oneshot::channel();
        let waiting = tokio::spawn(async move { while_waiting(listeners.iter(), 2, work).await });
        let mut clients = Vec::new();
        for address in addresses {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"PING\r\n*1\r\n$6\r\nDBSIZE\r\n").await.unwrap();
            let mut told = vec![0; 2 * LOADING.len()];
            client.read_exact(&mut told).await.unwrap();
            assert_eq!(told, LOADING.repeat(2));
            clients.push(client);
        }
        let mut told = Vec::new();
        TcpStream::connect(addresses[0]).await.unwrap().read_to_end(&mut told).await.unwrap();
        assert_eq!(told, TOO_MANY_CLIENTS);
        done.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_done, work) = oneshot::channel::<()>();
        tokio::spawn(async move { drop(while_waiting([&listener].into_iter(), 9, work).await) });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"PING\r\n*x\r\n").await.unwrap();
        let mut told = String::new();
        client.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with("-LOADING ") && told.contains("\r\n-ERR Protocol error"), "{told}");
    }
}
