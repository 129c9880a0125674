//! A client of a server in this process.

use std::collections::BTreeMap;

use sisyphusdb::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that speaks RESP2.
pub(super) struct Client(pub(super) TcpStream);

impl Client {
    /// Connects to the port of `server`.
    pub(super) async fn connect(server: &Server) -> Self {
        Self(TcpStream::connect(server.resp_addresses()[0]).await.unwrap())
    }

    /// Sends a command and does not wait for its reply.
    pub(super) async fn send(&mut self, words: &[&str]) {
        self.0.write_all(encode(words).as_bytes()).await.unwrap();
    }

    /// Sends a command and returns the whole of its reply, which is not an array.
    pub(super) async fn ask(&mut self, words: &[&str]) -> String {
        self.send(words).await;
        self.reply().await
    }

    /// Sends a command that answers OK.
    pub(super) async fn ok(&mut self, words: &[&str]) {
        assert_eq!(self.ask(words).await, "+OK\r\n", "{words:?}");
    }

    /// The next reply.
    pub(super) async fn reply(&mut self) -> String {
        let mut reply = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        loop {
            let read = self.0.read(&mut piece).await.unwrap();
            assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&reply));
            reply.extend_from_slice(&piece[..read]);
            let Some(end) = reply.windows(2).position(|pair| pair == b"\r\n") else { continue };
            let whole = match reply[0] {
                b'$' if reply[1] != b'-' => {
                    let length: usize = String::from_utf8_lossy(&reply[1..end]).parse().unwrap();
                    reply.len() >= end + 2 + length + 2
                }
                _ => true,
            };
            if whole {
                return String::from_utf8(reply).unwrap();
            }
        }
    }

    /// Reads a reply of so many bytes, and returns the first of them.
    pub(super) async fn reply_of_bytes(&mut self, bytes: usize) -> u8 {
        let mut reply = vec![0; bytes];
        self.0.read_exact(&mut reply).await.unwrap();
        reply[0]
    }

    /// Reads until the server closes the connection.
    pub(super) async fn closed(mut self) {
        // A connection that is reset is closed, too.
        while self.0.read(&mut vec![0; 64 * 1024]).await.is_ok_and(|read| read > 0) {}
    }

    /// Sends a command that answers `last`, and returns what comes before that.
    pub(super) async fn rest_until(&mut self, words: &[&str], last: &str) -> String {
        self.send(words).await;
        let (mut text, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        while !text.ends_with(last.as_bytes()) {
            let read = self.0.read(&mut piece).await.unwrap();
            assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&piece[..read]);
        }
        text.truncate(text.len() - last.len());
        String::from_utf8(text).unwrap()
    }

    /// What the server says until it closes the connection.
    pub(super) async fn rest(mut self) -> String {
        let mut text = String::new();
        self.0.read_to_string(&mut text).await.unwrap();
        text
    }

    /// The fields of INFO.
    pub(super) async fn info(&mut self) -> BTreeMap<String, String> {
        let text = self.ask(&["INFO", "everything"]).await;
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    /// Sends commands in one piece, and returns the `bytes` bytes of their replies.
    pub(super) async fn pipeline(&mut self, commands: &[&[&str]], bytes: usize) -> String {
        let request: String = commands.iter().map(|words| encode(words)).collect();
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut replies = vec![0; bytes];
        self.0.read_exact(&mut replies).await.unwrap();
        String::from_utf8(replies).unwrap()
    }
}

pub(super) fn encode(words: &[&str]) -> String {
    let arguments: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{arguments}", words.len())
}
