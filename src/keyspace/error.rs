//! How an operation can end without a result.
//!
//! Three kinds, told apart by type: what the client did wrong is an answer, a stop is a request to run elsewhere, and a
//! local failure ends the node.

use std::borrow::Cow;

use crate::lsm;

/// The result of an operation on the keyspace.
pub type Result<T = ()> = std::result::Result<T, Failure>;

/// Why an operation gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client's mistake: its text is the answer, and the operation had no effect.
    #[error("{0}")]
    Client(#[from] CommandError),
    /// The operation cannot be finished where it runs; it left no trace and is to be run again elsewhere.
    #[error("stopped: {0}")]
    Stop(Stop),
    /// This node cannot read its own data: it must not go on.
    #[error("local failure: {0}")]
    Local(#[source] lsm::Error),
}

impl Failure {
    /// The text of the reply, if this is the client's mistake, or what became of the operation.
    pub fn text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Client(error) => error.text(),
            Self::Stop(_) | Self::Local(_) => Cow::Owned(self.to_string().into_bytes()),
        }
    }
}

/// Where an operation that was stopped must run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Where reads may wait for the disk.
    #[error("it needs the disk")]
    Disk,
    /// Where it may take long: it touches more elements than a turn allows.
    #[error("it takes long")]
    Long,
    /// In the executor: a key is due by the present time, but no entry says so yet.
    #[error("it needs a newer stamp")]
    Stamp,
}

impl From<lsm::Error> for Failure {
    fn from(error: lsm::Error) -> Self {
        match error {
            lsm::Error::WouldBlock => Self::Stop(Stop::Disk),
            lsm::Error::WouldTakeLong => Self::Stop(Stop::Long),
            other => Self::Local(other),
        }
    }
}

/// What the client did wrong. `Display` gives the whole text of the reply, with its prefix, exactly as Redis words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The key holds another type than the command works on.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// The arguments do not follow the command's syntax.
    #[error("ERR syntax error")]
    Syntax,
    /// An argument or a value should be a signed 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// An argument or a value should be a number.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// A field of a hash should hold a signed 64-bit integer.
    #[error("ERR hash value is not an integer")]
    HashNotInteger,
    /// A field of a hash should hold a number.
    #[error("ERR hash value is not a float")]
    HashNotFloat,
    /// The sum does not fit into 64 bits.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// DECRBY of the least integer, which has no opposite.
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    /// The sum is not a number that can be stored.
    #[error("ERR increment would produce NaN or Infinity")]
    NotFinite,
    /// An increment that is infinite (hashes check this before they add).
    #[error("ERR value is NaN or Infinity")]
    IncrementNotFinite,
    /// The command wants a key that exists.
    #[error("ERR no such key")]
    NoSuchKey,
    /// SETRANGE before the start of the string.
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    /// The string would be longer than `proto-max-bulk-len`.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// A time to live that is not positive, or does not fit into the calendar; holds the command's name.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// No database of this number.
    #[error("ERR DB index is out of range")]
    DatabaseOutOfRange,
    /// MOVE or COPY onto itself.
    #[error("ERR source and destination objects are the same")]
    SameObject,
    /// More is written than one entry of the log may hold. It discards a whole transaction.
    #[error("ERR the effects of this command are larger than entry-bytes-max")]
    EffectsTooLarge,
    /// The answer is longer than a client may be sent. It discards a whole transaction.
    #[error("ERR the reply to this command is larger than reply-bytes-max")]
    ReplyTooLarge,
    /// The disk has too little room left. It discards a whole transaction.
    #[error("MISCONF Errors writing to the log: the disk is nearly full")]
    DiskFull,
    /// A cursor that no SCAN has given out.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// Any other text, with its prefix.
    #[error("{}", String::from_utf8_lossy(.0))]
    Other(Cow<'static, [u8]>),
}

impl CommandError {
    /// An error with a text of its own, which starts with its prefix.
    pub fn other(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Other(match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// An error whose text shows words of the request, one in the place of each `{}` of `template`: byte for byte up to
    /// a NUL, which ends a string for Redis.
    ///
    /// # Panics
    /// When there are not as many places as words.
    pub fn showing(template: &'static str, words: &[&[u8]]) -> Self {
        let mut parts = template.split("{}");
        let mut text = parts.next().unwrap_or_default().as_bytes().to_vec();
        for word in words {
            text.extend(word.iter().take_while(|&&byte| byte != 0));
            text.extend(parts.next().expect("a place for each word").bytes());
        }
        assert_eq!(parts.next(), None, "a word for each place of {template}");
        Self::Other(Cow::Owned(text))
    }

    /// The text of the reply, byte for byte: words of the request that it shows need not be UTF-8.
    pub fn text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Other(text) => Cow::Borrowed(text),
            known => Cow::Owned(known.to_string().into_bytes()),
        }
    }
}

#[test]
fn an_error_shows_words_as_they_were_sent_up_to_a_nul() {
    let error = CommandError::showing("ERR Unsupported option {}, not {}", &[b"\xff\x00x", b"NX"]);
    assert_eq!(&*error.text(), b"ERR Unsupported option \xff, not NX");
    assert_eq!(&*CommandError::Syntax.text(), b"ERR syntax error");
}
