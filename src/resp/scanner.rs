//! Finds the end of a request in what has arrived so far.
//!
//! The scanner remembers where it stopped, so a request that arrives byte by byte costs as much as one that arrives whole.
//! It decides everything that a hostile client could abuse: counts, lengths, nesting, and what a client may send before it
//! has authenticated. What it lets through is complete and flat: an array of bulk strings, or one inline line.
//!
//! The rules and texts are those of Valkey 8.1. In one place it is stricter, so that how the bytes were cut never matters: a
//! line that is too long is refused also when its end came with the same read.

use memchr::memchr;

use super::{Outbox, Protocol, ReplyWriter};

/// The longest inline request, and the longest line of a count or length, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The most arguments of one request before authentication.
const UNAUTHENTICATED_COUNT_MAX: i64 = 10;
/// The longest argument before authentication, in bytes.
const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16_384;

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest argument, in bytes (`proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// The longest request, in bytes with its framing (`client-query-buffer-limit`); at most `u32::MAX`.
    pub request_bytes_max: usize,
    /// Whether the client has authenticated; until then only a few, short arguments are taken.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bulk_bytes_max: 64 << 20, request_bytes_max: 1 << 30, authenticated: true }
    }
}

/// Why a connection must be closed. `Display` is the text of the error reply that goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The count of an array is no number, or too big.
    #[error("ERR Protocol error: invalid multibulk length")]
    InvalidCount,
    /// The length of an argument is no number, negative, or too big.
    #[error("ERR Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// The line of a count has no end.
    #[error("ERR Protocol error: too big mbulk count string")]
    CountLineTooLong,
    /// The line of a length has no end.
    #[error("ERR Protocol error: too big bulk count string")]
    BulkLineTooLong,
    /// Something else than CR LF behind a count, a length or an argument.
    #[error("ERR Protocol error: invalid CRLF in request")]
    InvalidLineEnd,
    /// An inline request has no end.
    #[error("ERR Protocol error: too big inline request")]
    InlineTooLong,
    /// Something else stands where an argument must begin; nested arrays end here.
    #[error("ERR Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    /// Too many arguments before authentication.
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    UnauthenticatedCount,
    /// Too long an argument before authentication.
    #[error("ERR Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// An inline request with an open quote, or with text right behind a closing one.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The request is longer than `client-query-buffer-limit`. (Redis closes without a word.)
    #[error("ERR Protocol error: request longer than client-query-buffer-limit")]
    RequestTooLong,
    /// The first word of an HTTP request: a browser was made to talk to this port. Closed without a reply.
    #[error("ERR Protocol error: HTTP request")]
    Http,
}

impl ProtocolError {
    /// The error reply that is sent before the connection is closed, encoded; none for HTTP.
    pub fn reply(&self) -> Option<Vec<u8>> {
        let text = match self {
            Self::Http => return None,
            // The byte itself, not its UTF-8 form.
            Self::ExpectedBulk(got) => {
                [b"ERR Protocol error: expected '$', got '", &[*got][..], b"'"].concat()
            }
            Self::InvalidCount
            | Self::InvalidBulkLength
            | Self::CountLineTooLong
            | Self::BulkLineTooLong
            | Self::InvalidLineEnd
            | Self::InlineTooLong
            | Self::UnauthenticatedCount
            | Self::UnauthenticatedBulkLength
            | Self::UnbalancedQuotes
            | Self::RequestTooLong => self.to_string().into_bytes(),
        };
        let mut out = Outbox::new();
        ReplyWriter::new(&mut out, Protocol::Resp2).error(text);
        Some(std::mem::take(out.tail()))
    }
}

/// What [`Scanner::scan`] found at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// The request is not complete.
    NeedMore,
    /// `consumed` bytes that ask for nothing: `*0`, `*-1`.
    Empty {
        /// The bytes to drop.
        consumed: usize,
    },
    /// An array of `count` bulk strings.
    Array {
        /// The length of the whole request in bytes.
        consumed: usize,
        /// Where its first bulk string begins.
        first: usize,
        /// How many there are; at least 1.
        count: usize,
    },
    /// An inline request; it may be blank.
    Inline {
        /// The length of the whole request in bytes, with its line end.
        consumed: usize,
    },
}

/// Scans one request after another.
///
/// Between two calls the buffer may only grow at its end, until a call returns something else than
/// [`Scanned::NeedMore`]; then the caller drops `consumed` bytes, and the scanner starts afresh at the new first byte.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Where the next line or bulk string begins. It may lie beyond what has arrived.
    at: usize,
    /// Up to here the line at `at` is known to have no end. Invariant: 0 or > at.
    searched: usize,
    /// The array that is being scanned, once its count is known.
    array: Option<Array>,
}

#[derive(Clone, Copy, Debug)]
struct Array {
    first: usize,
    count: usize,
    /// Bulk strings whose length has not been read yet.
    left: usize,
}

impl Scanner {
    /// Looks for the end of the request that begins at the first byte of `buf`.
    ///
    /// # Errors
    ///
    /// What breaks the protocol or a limit; the connection cannot go on.
    pub fn scan(&mut self, buf: &[u8], limits: &Limits) -> Result<Scanned, ProtocolError> {
        let mut array = match self.array {
            Some(array) => array,
            None => match buf.first() {
                None => return Ok(Scanned::NeedMore),
                Some(b'*') => match self.array_start(buf, limits)? {
                    Ok(array) => array,
                    Err(scanned) => return Ok(scanned),
                },
                Some(_) => return self.inline(buf),
            },
        };
        while self.at <= buf.len() {
            // Behind the head of the array, too, stand CR LF: there they are checked twice.
            if buf[self.at - 2..self.at] != *b"\r\n" {
                return Err(ProtocolError::InvalidLineEnd);
            }
            if array.left == 0 {
                let scanned = Scanned::Array { consumed: self.at, first: array.first, count: array.count };
                *self = Self::default();
                return Ok(scanned);
            }
            match buf.get(self.at) {
                None => break,
                Some(b'$') => {}
                Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
            }
            let Some((length, end)) = self.length_line(buf, ProtocolError::BulkLineTooLong)? else { break };
            let bytes = bulk_length(length, limits)?;
            self.at = end.saturating_add(bytes).saturating_add(2);
            if self.at > limits.request_bytes_max {
                return Err(ProtocolError::RequestTooLong);
            }
            array.left -= 1;
        }
        self.array = Some(array);
        Ok(Scanned::NeedMore)
    }

    /// Whether nothing of a request has been scanned yet.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.array.is_none() && self.searched == 0
    }

    /// How many bytes the request is known to lack, given that `buffered` are there: at least 1. It comes from the client,
    /// so it is a hint for the next read and nothing to allocate by.
    pub fn missing(&self, buffered: usize) -> usize {
        self.at.saturating_sub(buffered).max(1)
    }

    /// Reads the count of an array; `Err(scanned)` inside says that there is no array to go on with.
    fn array_start(&mut self, buf: &[u8], limits: &Limits) -> Result<Result<Array, Scanned>, ProtocolError> {
        let Some((count, end)) = self.length_line(buf, ProtocolError::CountLineTooLong)? else {
            return Ok(Err(Scanned::NeedMore));
        };
        let count = count.filter(|&count| count <= i64::from(i32::MAX)).ok_or(ProtocolError::InvalidCount)?;
        if count > UNAUTHENTICATED_COUNT_MAX && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedCount);
        }
        match usize::try_from(count) {
            Err(_) | Ok(0) => {
                *self = Self::default();
                Ok(Err(Scanned::Empty { consumed: end }))
            }
            Ok(count) => {
                self.at = end;
                Ok(Ok(Array { first: end, count, left: count }))
            }
        }
    }

    /// Looks for the end of an inline request.
    fn inline(&mut self, buf: &[u8]) -> Result<Scanned, ProtocolError> {
        match memchr(b'\n', &buf[self.searched..]).map(|found| self.searched + found) {
            Some(end) if end <= LINE_BYTES_MAX => {
                *self = Self::default();
                Ok(Scanned::Inline { consumed: end + 1 })
            }
            None if buf.len() <= LINE_BYTES_MAX => {
                self.searched = buf.len();
                Ok(Scanned::NeedMore)
            }
            Some(_) | None => Err(ProtocolError::InlineTooLong),
        }
    }

    /// The number in the line at `self.at`, behind its first byte, and where the line ends; `None` if its end has not
    /// arrived. The number is `None` if it is not one.
    fn length_line(
        &mut self,
        buf: &[u8],
        too_long: ProtocolError,
    ) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
        if let Some((number, end)) = short_length(&buf[self.at + 1..]) {
            self.searched = 0;
            return Ok(Some((Some(number), self.at + 1 + end)));
        }
        let from = self.searched.max(self.at + 1);
        match memchr(b'\r', &buf[from.min(buf.len())..]).map(|found| from + found) {
            Some(cr) if cr - self.at > LINE_BYTES_MAX => Err(too_long),
            Some(cr) if cr + 1 == buf.len() => {
                self.searched = cr;
                Ok(None)
            }
            Some(cr) => {
                self.searched = 0;
                let text = &buf[self.at + 1..cr];
                if buf[cr + 1] != b'\n' {
                    return Err(ProtocolError::InvalidLineEnd);
                }
                Ok(Some((crate::number::parse_integer(text), cr + 2)))
            }
            None if buf.len() - self.at > LINE_BYTES_MAX => Err(too_long),
            None => {
                self.searched = buf.len();
                Ok(None)
            }
        }
    }
}

/// The ordinary case of a length line: up to nine digits without a leading zero, CR LF. Returns the number and the bytes
/// read.
#[inline]
fn short_length(text: &[u8]) -> Option<(i64, usize)> {
    let mut number = 0_i64;
    for (index, &byte) in text.iter().enumerate().take(10) {
        match byte {
            b'0'..=b'9' if index == 0 || number != 0 => number = number * 10 + i64::from(byte - b'0'),
            b'\r' if index > 0 && text.get(index + 1) == Some(&b'\n') => return Some((number, index + 2)),
            _ => return None,
        }
    }
    None
}

/// Checks the length of a bulk string.
fn bulk_length(length: Option<i64>, limits: &Limits) -> Result<usize, ProtocolError> {
    let length = length.ok_or(ProtocolError::InvalidBulkLength)?;
    let bytes = usize::try_from(length)
        .ok()
        .filter(|&bytes| bytes <= limits.bulk_bytes_max)
        .ok_or(ProtocolError::InvalidBulkLength)?;
    if length > UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    Ok(bytes)
}
