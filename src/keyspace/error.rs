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
    /// A cursor that no SCAN has given out.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// Any other text, with its prefix.
    #[error("{0}")]
    Other(Cow<'static, str>),
}

impl CommandError {
    /// An error with a text of its own, which starts with its prefix.
    pub fn other(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Other(text.into())
    }
}
