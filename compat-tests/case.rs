//! The cases of a command, and how they are run against a server.

use std::net::SocketAddr;
use std::time::Duration;

use redis::{Connection, RedisError, ServerError, Value};

use crate::script::{Got, Sender, parse, words};

/// The name of a row of the command table, and a script that fails when the row's handler does not do its work.
pub(crate) struct Case(pub(crate) &'static str, pub(crate) &'static str);

/// The connections of one case.
pub(crate) struct Clients {
    address: SocketAddr,
    a: Option<Connection>,
    b: Option<Connection>,
    resp3: Option<Connection>,
}

impl Clients {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, a: None, b: None, resp3: None }
    }

    /// Runs a script to its end.
    ///
    /// # Errors
    /// With the first line that was answered otherwise, and how.
    pub(crate) fn run(&mut self, script: &str) -> Result<(), String> {
        for line in parse(script) {
            let got = self.ask(line.sender, &line.request);
            if !line.expected.matches(&got) {
                return Err(format!("{}\n    got {got}", line.text));
            }
        }
        Ok(())
    }

    /// The reply to a request that answers a string.
    pub(crate) fn text(&mut self, request: &str) -> String {
        match self.ask(Sender::A, &words(request)) {
            Got::Status(text) => text,
            Got::Text(text) => String::from_utf8(text).unwrap(),
            other => panic!("{request} answered {other}"),
        }
    }

    fn ask(&mut self, sender: Sender, request: &[Vec<u8>]) -> Got {
        let (slot, protocol) = match sender {
            Sender::A => (&mut self.a, "resp2"),
            Sender::B => (&mut self.b, "resp2"),
            Sender::Resp3 => (&mut self.resp3, "resp3"),
        };
        let connection = match slot {
            Some(connection) => connection,
            None => match connect(self.address, protocol) {
                Ok(connection) => slot.insert(connection),
                Err(error) => return lost(&error),
            },
        };
        let mut command = redis::Cmd::new();
        for word in request {
            command.arg(&word[..]);
        }
        let reply = connection
            .send_packed_command(&command.get_packed_command())
            .and_then(|()| connection.recv_response());
        match reply {
            Ok(value) => got(value),
            Err(error) => lost(&error),
        }
    }
}

fn connect(address: SocketAddr, protocol: &str) -> Result<Connection, RedisError> {
    let url = format!("redis://{address}/?protocol={protocol}");
    let client = redis::Client::open(url)?;
    let connection = client.get_connection_with_timeout(Duration::from_secs(10))?;
    connection.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(connection)
}

/// What an error of the library means: an error of the server, or that there is none any more.
fn lost(error: &RedisError) -> Got {
    match error.code() {
        Some(code) => Got::Error(with_code(code, error.detail())),
        None if error.is_timeout() => panic!("no reply in 20 s"),
        None => Got::Closed,
    }
}

fn with_code(code: &str, details: Option<&str>) -> String {
    details.map_or_else(|| code.to_owned(), |details| format!("{code} {details}"))
}

fn error_text(error: &ServerError) -> String {
    with_code(error.code(), error.details())
}

fn got(value: Value) -> Got {
    let list = |values: Vec<Value>| values.into_iter().map(got).collect();
    match value {
        Value::Nil => Got::Nil,
        Value::Int(number) => Got::Integer(number),
        Value::BulkString(text) => Got::Text(text),
        Value::SimpleString(text) => Got::Status(text),
        Value::Okay => Got::Status("OK".to_owned()),
        Value::Array(inner) => Got::Array(list(inner)),
        Value::Set(inner) => Got::Set(list(inner)),
        Value::Map(pairs) => {
            Got::Map(pairs.into_iter().flat_map(|(key, value)| [got(key), got(value)]).collect())
        }
        Value::Push { data, .. } => Got::Push(list(data)),
        Value::Double(number) => Got::Double(number),
        Value::Boolean(value) => Got::Boolean(value),
        Value::VerbatimString { text, .. } => Got::Text(text.into_bytes()),
        Value::BigNumber(digits) => Got::Text(digits),
        Value::Attribute { data, .. } => got(*data),
        Value::ServerError(error) => Got::Error(error_text(&error)),
        other => panic!("a kind of reply that the library did not have: {other:?}"),
    }
}
