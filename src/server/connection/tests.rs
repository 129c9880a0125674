//! What a connection does with a client that does not follow.

use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::*;
use crate::{config::Config, server::Server};

/// The two ends of a connection over loopback.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn a_client_that_sends_more_than_it_may_and_reads_nothing_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let flags = [
        ("dir", directory.path().to_str().unwrap()),
        ("port", "auto"),
        ("http-port", "0"),
        ("memory-budget", "64mb"),
        ("proto-max-bulk-len", "1mb"),
        ("client-query-buffer-limit", "1mb"),
    ];
    let server = Server::start(Arc::new(Config::from_flags(&flags).unwrap())).await.unwrap();
    let services = Arc::clone(server.services());
    let (mut client, stream) = pair().await;
    let endpoint = endpoint(&stream).unwrap();
    let registration = services.clients.connect(endpoint, 0, usize::MAX).unwrap();
    let session = Session::new(registration, Arc::clone(&services.config));
    let mut connection = Connection::new(Arc::clone(&services), stream, session);
    connection.unsent_check = Duration::from_millis(1);
    let closed = tokio::spawn(connection.run());

    let long = format!("ECHO {}\r\n", "v".repeat(60_000)).repeat(100);
    while client.write_all(long.as_bytes()).await.is_ok() {}
    closed.await.unwrap();
    assert_eq!(services.stats.totals().get(Counter::QueryBufferDisconnections), 1);
    server.stop().await;
}
