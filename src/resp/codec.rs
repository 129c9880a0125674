//! Requests out of a connection's read buffer; the only place that names the `redis-protocol` crate.
//!
//! The crate's own decoder recurses into nested arrays (a 32 KB request overflows the stack), starts again at the first
//! byte at every read, and knows no inline commands. So the crate sees one bulk string of a request at a time, which takes
//! no recursion and no allocation; and unless a request is short and all there, the scanner goes first.

use bytes::{Buf, Bytes, BytesMut};
use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;
use tokio_util::codec::Decoder;

use super::args::Ranges;
use super::{Args, Limits, ProtocolError, Scanned, Scanner, inline};

/// A request longer than this takes its allocation with it, in bytes: the connection keeps a buffer of ordinary size.
const OWN_BUFFER_BYTES_MIN: usize = 64 * 1024;
/// What a connection reserves for a read, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// With less room than this a read is not worth its system call, in bytes.
const READ_BYTES_MIN: usize = 4 * 1024;

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The connection failed.
    #[error("reading from the connection failed")]
    Io(#[from] std::io::Error),
    /// The client broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// Decodes requests: arrays of bulk strings and inline lines. What asks for nothing (`*0`, blank lines) is skipped.
#[derive(Debug, Default)]
pub struct RequestCodec {
    scanner: Scanner,
    limits: Limits,
}

impl RequestCodec {
    /// A codec with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { scanner: Scanner::default(), limits }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes the limits from the next request on (and for the rest of one that is half read).
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Makes room for the next read: an ordinary one, or, inside a long request, what that is known to lack, but never
    /// more than the client has really sent of it. So a buffer at most doubles, and a declared length alone costs nothing.
    ///
    /// Requests that are still alive share the buffer's allocation; when none is, it is used again from its start.
    pub fn reserve(&self, buffer: &mut BytesMut) {
        let missing = self.scanner.missing(buffer.len()).min(buffer.len());
        if missing > READ_BYTES {
            buffer.reserve(missing);
        } else if buffer.capacity() - buffer.len() < READ_BYTES_MIN {
            buffer.reserve(READ_BYTES);
        }
    }

    /// Decodes the next request at the start of `buffer`, if it is complete.
    ///
    /// # Errors
    ///
    /// The connection must be closed, after [`ProtocolError::reply`].
    pub fn next_request(&mut self, buffer: &mut BytesMut) -> Result<Option<Args>, ProtocolError> {
        loop {
            if self.scanner.is_idle()
                && let Some((ranges, consumed)) = short_request(buffer, &self.limits)
            {
                return not_http(Args::new(ranges, buffer.split_to(consumed).freeze())).map(Some);
            }
            let args = match self.scanner.scan(buffer, &self.limits)? {
                Scanned::NeedMore => return Ok(None),
                Scanned::Empty { consumed } => {
                    buffer.advance(consumed);
                    continue;
                }
                Scanned::Array { consumed, first, count } => {
                    Args::new(ranges(&buffer[..consumed], first, count)?, split(buffer, consumed))
                }
                Scanned::Inline { consumed } => {
                    let line = &buffer[..consumed - 1];
                    let args = inline::split(line.strip_suffix(b"\r").unwrap_or(line));
                    buffer.advance(consumed);
                    match args? {
                        Some(args) => args,
                        None => continue,
                    }
                }
            };
            return not_http(args).map(Some);
        }
    }
}

impl Decoder for RequestCodec {
    type Item = Args;
    type Error = RequestError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Args>, RequestError> {
        Ok(self.next_request(buffer)?)
    }

    /// Half a request before the end of the stream is not an error: the client hung up, nothing was asked.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Args>, RequestError> {
        Ok(self.next_request(buffer)?)
    }
}

/// Lets a request pass unless it is the first line of an HTTP POST: some web page tries to reach a store behind a
/// firewall through a browser.
#[inline]
fn not_http(args: Args) -> Result<Args, ProtocolError> {
    if args[0].eq_ignore_ascii_case(b"post") || args[0].eq_ignore_ascii_case(b"host:") {
        return Err(ProtocolError::Http);
    }
    Ok(args)
}

/// The way of nearly all requests: at most nine short arguments, all there. The crate decodes them without a scan before
/// it; for whatever is unusual or wrong, `None`, the scanner has the word.
#[inline]
fn short_request(buffer: &[u8], limits: &Limits) -> Option<(Ranges, usize)> {
    let [b'*', count @ b'1'..=b'9', b'\r', b'\n', ..] = *buffer else { return None };
    if !limits.authenticated {
        return None;
    }
    let mut ranges = Ranges::new();
    let mut at = 4;
    for _ in 0..count - b'0' {
        let bulk = &buffer[at..];
        // What the crate takes as a number and Redis does not: a plus, leading zeros. A minus would be a null.
        if !matches!(bulk, [b'$', b'1'..=b'9', ..] | [b'$', b'0', b'\r', ..]) {
            return None;
        }
        let Ok(Some((RangeFrame::BulkString((start, end)), bytes))) = decode_range(bulk) else { return None };
        if end - start > limits.bulk_bytes_max.min(OWN_BUFFER_BYTES_MIN) || bulk[end..bytes] != *b"\r\n" {
            return None;
        }
        ranges.push(at + start, at + end);
        at += bytes;
    }
    (at <= limits.request_bytes_max.min(OWN_BUFFER_BYTES_MIN)).then_some((ranges, at))
}

/// Where the arguments of a complete request lie in it.
fn ranges(request: &[u8], first: usize, count: usize) -> Result<Ranges, ProtocolError> {
    // The request has arrived, so `count` arguments have too: this is not a declared length.
    let mut ranges = Ranges::with_capacity(count);
    let mut at = first;
    for _ in 0..count {
        let Ok(Some((RangeFrame::BulkString((start, end)), bytes))) = decode_range(&request[at..]) else {
            // The scanner has let something through that the crate does not take: nothing known, so refuse.
            return Err(ProtocolError::InvalidBulkLength);
        };
        ranges.push(at + start, at + end);
        at += bytes;
    }
    Ok(ranges)
}

/// Takes the first `bytes` from `buffer`, without a copy.
fn split(buffer: &mut BytesMut, bytes: usize) -> Bytes {
    let request = buffer.split_to(bytes).freeze();
    // A long request has grown the buffer. What is left is moved to a new one, so that the allocation goes when the
    // request does. Only if that is little: copying the rest behind each request would be quadratic.
    if bytes > OWN_BUFFER_BYTES_MIN && buffer.len() <= bytes {
        let mut rest = BytesMut::with_capacity(buffer.len().max(READ_BYTES));
        rest.extend_from_slice(buffer);
        *buffer = rest;
    }
    request
}
