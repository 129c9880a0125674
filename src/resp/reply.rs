//! Replies, encoded while they are made.

use bytes::Bytes;

use super::float::format_double;
use super::outbox::{Outbox, SHARED_BYTES_MIN};
use crate::number::Decimal;

/// The protocol of a connection; `HELLO` changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What every connection starts with.
    #[default]
    Resp2 = 2,
    /// Has maps, sets, doubles, pushes and one null.
    Resp3 = 3,
}

/// A place in the replies to which they can be cut back. It is void once a [`Deferred`] from before it is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// An array whose length is not known yet; see [`ReplyWriter::deferred_array`].
#[derive(Debug)]
#[must_use = "without its length the reply is broken"]
pub struct Deferred(u64);

/// Encodes replies into an [`Outbox`], in the shapes of RESP3 or in their RESP2 forms.
///
/// The caller owes the grammar: one reply a command, and n elements after `array(n)`.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    out: &'a mut Outbox,
    protocol: Protocol,
    /// The length of `out` above which nothing more is written.
    len_max: usize,
}

/// A reply is longer than its writer may make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reply is too long")]
pub struct ReplyTooLong;

impl<'a> ReplyWriter<'a> {
    /// A writer at the end of `out`.
    pub fn new(out: &'a mut Outbox, protocol: Protocol) -> Self {
        Self { out, protocol, len_max: usize::MAX }
    }

    /// As [`ReplyWriter::new`], for a reply of at most `bytes_max`. What is written beyond that, and one element, is
    /// dropped, so that no reply takes more memory than that, whoever writes it: the caller asks
    /// [`ReplyWriter::check`] at the end and takes the reply back.
    pub fn bounded(out: &'a mut Outbox, protocol: Protocol, bytes_max: usize) -> Self {
        let len_max = out.len().saturating_add(bytes_max);
        Self { out, protocol, len_max }
    }

    /// A writer into `other` of what will be appended to this reply, and so counts in its bound.
    pub fn beside<'b>(&self, other: &'b mut Outbox) -> ReplyWriter<'b> {
        ReplyWriter::bounded(other, self.protocol, self.len_max.saturating_sub(self.out.len()))
    }

    /// Whether the reply is within its bound. Who writes much asks as it goes, to end early.
    ///
    /// # Errors
    /// [`ReplyTooLong`].
    #[inline]
    pub fn check(&self) -> Result<(), ReplyTooLong> {
        if self.is_over() { Err(ReplyTooLong) } else { Ok(()) }
    }

    #[inline]
    fn is_over(&self) -> bool {
        self.out.len() > self.len_max
    }

    /// The protocol that is written.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the protocol from here on.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// How many bytes wait in the outbox.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether the outbox is empty.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The place where the next reply begins.
    pub fn mark(&self) -> Mark {
        Mark(self.out.end())
    }

    /// Takes back all that was written since `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.out.truncate(mark.0);
    }

    /// Replies that are encoded already.
    pub fn append(&mut self, replies: Outbox) {
        if !self.is_over() {
            self.out.append(replies);
        }
    }

    /// Bytes that are encoded already.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.is_over() {
            return;
        }
        self.out.tail().extend_from_slice(bytes);
    }

    /// A status line, such as `OK`; it must hold no line end.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']), "a status is one line");
        self.line(b'+', text.as_bytes());
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// An error: the whole text with its prefix (`ERR …`), in bytes or as a string. Line ends at its end are dropped,
    /// others become blanks, as in Redis, so that no argument quoted in it can forge a reply.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let mut text = text.as_ref();
        while let [rest @ .., b'\r' | b'\n'] = text {
            text = rest;
        }
        let tail = self.out.tail();
        tail.push(b'-');
        tail.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        tail.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        self.line(b':', Decimal::signed(value).as_bytes());
    }

    /// A bulk string, copied.
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.is_over() {
            return;
        }
        self.counted(b'$', bytes.len());
        let tail = self.out.tail();
        tail.extend_from_slice(bytes);
        tail.extend_from_slice(b"\r\n");
    }

    /// A bulk string; a long one is queued by reference.
    pub fn bulk_shared(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            return self.bulk(&bytes);
        }
        if self.is_over() {
            return;
        }
        self.counted(b'$', bytes.len());
        self.out.push(bytes);
        self.raw(b"\r\n");
    }

    /// An integer as a bulk string.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(Decimal::signed(value).as_bytes());
    }

    /// A double; a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// The absence of a value: `$-1` in RESP2.
    pub fn null(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.raw(b"$-1\r\n"),
            Protocol::Resp3 => self.raw(b"_\r\n"),
        }
    }

    /// The absence of an array: `*-1` in RESP2.
    pub fn null_array(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.raw(b"*-1\r\n"),
            Protocol::Resp3 => self.raw(b"_\r\n"),
        }
    }

    /// True or false; 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.protocol, value) {
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
        });
    }

    /// The head of an array of `count` elements.
    pub fn array(&mut self, count: usize) {
        self.counted(b'*', count);
    }

    /// The head of a map of `pairs` keys and values; an array of twice as many in RESP2.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.counted(b'*', pairs * 2),
            Protocol::Resp3 => self.counted(b'%', pairs),
        }
    }

    /// The head of a set; an array in RESP2.
    pub fn set(&mut self, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.counted(b'*', count),
            Protocol::Resp3 => self.counted(b'~', count),
        }
    }

    /// The head of a push, which answers no request; an array in RESP2.
    pub fn push(&mut self, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.counted(b'*', count),
            Protocol::Resp3 => self.counted(b'>', count),
        }
    }

    /// Text for people, of a `format` of three letters (`txt`); a bulk string in RESP2.
    pub fn verbatim(&mut self, format: &str, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                debug_assert_eq!(format.len(), 3, "the format has three letters");
                self.counted(b'=', format.len() + 1 + text.len());
                self.raw(format.as_bytes());
                self.raw(b":");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// An integer of any size, as decimal digits; a bulk string in RESP2.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_bytes()),
            Protocol::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Begins an array whose length is known only when its elements are written; [`ReplyWriter::finish_array`] ends it.
    /// Several may be open at once; the inner is finished first.
    pub fn deferred_array(&mut self) -> Deferred {
        Deferred(self.out.end())
    }

    /// Gives `deferred` its length.
    pub fn finish_array(&mut self, deferred: Deferred, count: usize) {
        self.finish(deferred, b'*', count);
    }

    /// Gives `deferred` its length, as a map of `pairs`.
    pub fn finish_map(&mut self, deferred: Deferred, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.finish(deferred, b'*', pairs * 2),
            Protocol::Resp3 => self.finish(deferred, b'%', pairs),
        }
    }

    /// Gives `deferred` its length, as a set.
    pub fn finish_set(&mut self, deferred: Deferred, count: usize) {
        match self.protocol {
            Protocol::Resp2 => self.finish(deferred, b'*', count),
            Protocol::Resp3 => self.finish(deferred, b'~', count),
        }
    }

    fn finish(&mut self, deferred: Deferred, kind: u8, count: usize) {
        let digits = Decimal::unsigned(count as u64);
        let digits = digits.as_bytes();
        let mut header = [0; 24];
        header[0] = kind;
        header[1..=digits.len()].copy_from_slice(digits);
        header[digits.len() + 1..digits.len() + 3].copy_from_slice(b"\r\n");
        self.out.insert(deferred.0, &header[..digits.len() + 3]);
    }

    /// `kind`, a count, and the line end.
    #[inline]
    fn counted(&mut self, kind: u8, count: usize) {
        self.line(kind, Decimal::unsigned(count as u64).as_bytes());
    }

    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        if self.is_over() {
            return;
        }
        let tail = self.out.tail();
        tail.push(kind);
        tail.extend_from_slice(text);
        tail.extend_from_slice(b"\r\n");
    }
}
