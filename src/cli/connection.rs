//! A client of one node: words out, one reply in.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::Target;

/// How long to wait for a connection, and for a reply: a change of the membership may take as long as a learner needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest reply that is read, in bytes.
const REPLY_BYTES_MAX: u64 = 16 << 20;

/// How deep arrays may stand in each other.
const DEPTH_MAX: usize = 8;

/// Why a verb was not carried out, in one line.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line is wrong.
    #[error("{0} (see sisyphusdb status --help)")]
    Usage(String),
    /// The node cannot be reached.
    #[error("{address}: {source}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The node refuses.
    #[error("{0}")]
    Refused(String),
    /// The node wants a password, and none was given.
    #[error("{0} wants a password: give it with -a or in SISYPHUSDB_PASSWORD")]
    Password(String),
    /// It ended the connection instead of an answer.
    #[error("{0} closed the connection before it answered")]
    Closed(String),
    /// It does not speak RESP.
    #[error("{0} did not answer as a node does")]
    NoNode(String),
    /// There is nobody to carry it out.
    #[error("no leader is known")]
    NoLeader,
}

/// A reply, as far as the verbs need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Any word or number.
    Text(String),
    /// Several.
    Array(Vec<Reply>),
    /// Several, by name.
    Map(Vec<(String, Reply)>),
    /// Nothing.
    Nil,
}

static NIL: Reply = Reply::Nil;

impl Reply {
    /// The element called `name` of a map; nothing if there is none.
    pub(super) fn field(&self, name: &str) -> &Self {
        match self {
            Self::Map(fields) => {
                fields.iter().find(|(field, _)| field == name).map_or(&NIL, |(_, value)| value)
            }
            Self::Text(_) | Self::Array(_) | Self::Nil => &NIL,
        }
    }

    /// The word that it is; empty if it is none.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Array(_) | Self::Map(_) | Self::Nil => String::new(),
        }
    }

    /// What stands in an array.
    pub(super) fn elements(&self) -> &[Self] {
        match self {
            Self::Array(elements) => elements,
            Self::Text(_) | Self::Map(_) | Self::Nil => &[],
        }
    }
}

/// A connection to a node.
pub(super) struct Connection {
    address: String,
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects, and shows the password if there is one.
    pub(super) fn open(target: &Target) -> Result<Self, CliError> {
        let address = format!("{}:{}", target.host, target.port);
        let unreachable = |source| CliError::Unreachable { address: address.clone(), source };
        let stream = connect(target).map_err(unreachable)?;
        let mut connection = Self { address, reader: BufReader::new(stream) };
        if let Some(password) = &target.password {
            connection.ask(&["AUTH", password])?;
        }
        // Maps are told from arrays.
        match connection.ask(&["HELLO", "3"]) {
            Err(CliError::Refused(text)) if text.starts_with("NOAUTH ") => {
                return Err(CliError::Password(connection.address));
            }
            told => told?,
        };
        Ok(connection)
    }

    /// Sends a command and returns its reply.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<Reply, CliError> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        self.reader.get_mut().write_all(&request).map_err(|source| self.unreachable(source))?;
        self.reply(0)
    }

    fn unreachable(&self, source: io::Error) -> CliError {
        CliError::Unreachable { address: self.address.clone(), source }
    }

    fn reply(&mut self, depth: usize) -> Result<Reply, CliError> {
        let line = self.line()?;
        let no_node = || CliError::NoNode(self.address.clone());
        let (kind, rest) = line.split_at_checked(1).ok_or_else(no_node)?;
        let length = || rest.parse::<usize>().map_err(|_| no_node());
        match kind {
            "+" | ":" | "," | "#" => Ok(Reply::Text(rest.to_owned())),
            "-" => Err(CliError::Refused(rest.strip_prefix("ERR ").unwrap_or(rest).to_owned())),
            "_" => Ok(Reply::Nil),
            "$" | "=" => {
                let length = length()?;
                self.bulk(length)
            }
            "*" | "~" if depth < DEPTH_MAX => {
                let length = length()?;
                Ok(Reply::Array((0..length).map(|_| self.reply(depth + 1)).collect::<Result<_, _>>()?))
            }
            "%" if depth < DEPTH_MAX => {
                let length = length()?;
                let pairs = (0..length).map(|_| Ok((self.reply(depth + 1)?.text(), self.reply(depth + 1)?)));
                Ok(Reply::Map(pairs.collect::<Result<_, _>>()?))
            }
            _ => Err(no_node()),
        }
    }

    fn line(&mut self) -> Result<String, CliError> {
        let mut line = String::new();
        let read = self.reader.by_ref().take(REPLY_BYTES_MAX).read_line(&mut line);
        match read {
            Ok(0) => Err(CliError::Closed(self.address.clone())),
            Ok(_) if line.ends_with("\r\n") => Ok(line.trim_end().to_owned()),
            Ok(_) => Err(CliError::NoNode(self.address.clone())),
            Err(source) => Err(self.unreachable(source)),
        }
    }

    fn bulk(&mut self, length: usize) -> Result<Reply, CliError> {
        if length as u64 > REPLY_BYTES_MAX {
            return Err(CliError::NoNode(self.address.clone()));
        }
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes).map_err(|source| self.unreachable(source))?;
        bytes.truncate(length);
        Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Connects to the first address of the host that answers.
fn connect(target: &Target) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
