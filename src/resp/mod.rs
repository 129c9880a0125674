//! RESP2 and RESP3 on the wire; knows no command.
//!
//! A request's way in: the socket's bytes gather in a `BytesMut`; [`Scanner`] finds where the request ends, within
//! [`Limits`], without reading any byte twice; [`RequestCodec`] splits it off and lets the `redis-protocol` crate decode
//! its bulk strings, one by one, into [`Args`]. A reply's way out: a handler writes into a [`ReplyWriter`], which encodes
//! at once into an [`Outbox`], bytes in memory that somebody else writes to a socket.
//!
//! Nothing here allocates by a length that a client has only declared.

mod args;
mod codec;
mod float;
mod inline;
mod outbox;
mod reply;
mod scanner;

pub use args::{ArgError, ArgReader, Args, parse_float};
pub use codec::{RequestCodec, RequestError};
pub use float::format_double;
pub use outbox::{Outbox, SHARED_BYTES_MIN};
pub use reply::{Deferred, Mark, Protocol, ReplyTooLong, ReplyWriter};
pub use scanner::{Limits, ProtocolError, Scanned, Scanner};

#[cfg(test)]
mod tests;
