//! A client that keeps what client libraries throw away: every reply exactly as it was on the wire.

use std::fmt;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply may take. Nothing here waits on purpose for more than a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A reply, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reply {
    /// `+`
    Status(Vec<u8>),
    /// `-`
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    /// `,`, as its text: two servers should agree on that too.
    Double(Vec<u8>),
    /// `#`
    Boolean(bool),
    /// `(`
    BigNumber(Vec<u8>),
    /// `=`, with its three letters.
    Verbatim(Vec<u8>),
    /// `*`
    Array(Vec<Reply>),
    /// `%`, keys and values in turn.
    Map(Vec<Reply>),
    /// `~`
    Set(Vec<Reply>),
    /// `>`
    Push(Vec<Reply>),
}

impl Reply {
    /// Its elements, if it has any.
    pub(crate) fn elements(&self) -> &[Self] {
        match self {
            Self::Array(inner) | Self::Map(inner) | Self::Set(inner) | Self::Push(inner) => inner,
            _ => &[],
        }
    }

    /// The bytes of a string of any kind.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Status(text) | Self::Bulk(text) | Self::Verbatim(text) | Self::Double(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, open: &str, inner: &[Self]| {
            write!(f, "{open}")?;
            for (at, element) in inner.iter().enumerate() {
                write!(f, "{}{element}", if at > 0 { ", " } else { "" })?;
            }
            write!(f, "]")
        };
        match self {
            Self::Status(text) => write!(f, "+{}", text.escape_ascii()),
            Self::Error(text) => write!(f, "-{}", text.escape_ascii()),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Bulk(text) => write!(f, "\"{}\"", text.escape_ascii()),
            Self::NullBulk => write!(f, "nil"),
            Self::NullArray => write!(f, "nil-array"),
            Self::Null => write!(f, "null"),
            Self::Double(text) => write!(f, ",{}", text.escape_ascii()),
            Self::Boolean(value) => write!(f, "#{value}"),
            Self::BigNumber(text) => write!(f, "({}", text.escape_ascii()),
            Self::Verbatim(text) => write!(f, "=\"{}\"", text.escape_ascii()),
            Self::Array(inner) => list(f, "[", inner),
            Self::Map(inner) => list(f, "%[", inner),
            Self::Set(inner) => list(f, "~[", inner),
            Self::Push(inner) => list(f, ">[", inner),
        }
    }
}

/// A connection.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Connects to `address`.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// A request as it is sent.
    pub(crate) fn request(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            let word = word.as_ref();
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        request
    }

    /// Sends bytes, which may be several requests.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a request and reads its reply.
    pub(crate) fn ask(&mut self, words: &[impl AsRef<[u8]>]) -> Result<Reply> {
        self.send(&Self::request(words))?;
        self.reply()
    }

    /// Reads a reply.
    pub(crate) fn reply(&mut self) -> Result<Reply> {
        let line = self.line()?;
        let (&kind, rest) = line.split_first().ok_or_else(|| broken("an empty line"))?;
        Ok(match kind {
            b'+' => Reply::Status(rest.to_vec()),
            b'-' => Reply::Error(rest.to_vec()),
            b':' => Reply::Integer(number(rest)?),
            b',' => Reply::Double(rest.to_vec()),
            b'(' => Reply::BigNumber(rest.to_vec()),
            b'#' => Reply::Boolean(rest == b"t"),
            b'_' => Reply::Null,
            b'$' if rest == b"-1" => Reply::NullBulk,
            b'*' if rest == b"-1" => Reply::NullArray,
            b'$' => Reply::Bulk(self.blob(rest)?),
            b'=' => Reply::Verbatim(self.blob(rest)?),
            b'*' => Reply::Array(self.list(rest, 1)?),
            b'~' => Reply::Set(self.list(rest, 1)?),
            b'>' => Reply::Push(self.list(rest, 1)?),
            b'%' => Reply::Map(self.list(rest, 2)?),
            b'|' => {
                self.list(rest, 2)?;
                self.reply()?
            }
            _ => return Err(broken("an unknown type of reply")),
        })
    }

    fn list(&mut self, count: &[u8], each: i64) -> Result<Vec<Reply>> {
        (0..number(count)? * each).map(|_| self.reply()).collect()
    }

    fn blob(&mut self, length: &[u8]) -> Result<Vec<u8>> {
        let length = usize::try_from(number(length)?).map_err(|_| broken("a negative length"))?;
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        if bytes.split_off(length) != b"\r\n" {
            return Err(broken("a string that does not end where it said"));
        }
        Ok(bytes)
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(line.to_vec()),
            None => Err(Error::new(ErrorKind::UnexpectedEof, "the connection was closed")),
        }
    }
}

fn number(text: &[u8]) -> Result<i64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| broken("a number that is none"))
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the server sent {what}"))
}
