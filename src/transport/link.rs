//! What became of a stream, in words for the log and for those who ask.

use tonic::Status;

use super::{connection, malformed::Malformed, opening::Refusal};

/// The longest text of another node that is shown.
const TEXT_BYTES_MAX: usize = 300;

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The peer cannot be reached.
    #[error("it cannot be reached: {0}")]
    Connect(String),
    /// The peer, or the connection, ended the stream.
    #[error("{0}")]
    Status(String),
    /// This node refuses the peer.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The peer said what it may not say.
    #[error("it sent {0}")]
    Malformed(#[from] Malformed),
    /// The opening took too long.
    #[error("the opening of the stream took too long")]
    Late,
    /// The peer ended the stream.
    #[error("the stream was closed")]
    Closed,
    /// It is none of the nodes that are spoken to.
    #[error("it is not a member")]
    NotMember,
    /// There is no room for another tunnel.
    #[error("too many tunnels lead to it")]
    TooManyTunnels,
}

impl From<Status> for LinkError {
    fn from(status: Status) -> Self {
        let text = match status.message() {
            "" => match std::error::Error::source(&status) {
                // How tonic shows a status is for developers.
                Some(cause) => connection::with_causes(cause),
                None => status.code().description().to_owned(),
            },
            message => match std::error::Error::source(&status) {
                Some(cause) => format!("{message}: {}", connection::with_causes(cause)),
                None => message.to_owned(),
            },
        };
        // Another node wrote it: it gets no line of its own in the log.
        let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        Self::Status(plain.take(TEXT_BYTES_MAX).collect())
    }
}

impl LinkError {
    /// Returns the status that tells the peer.
    pub(super) fn to_status(&self) -> Status {
        match self {
            Self::Refused(refusal) => refusal.to_status(),
            Self::Late => Status::deadline_exceeded(self.to_string()),
            Self::Closed | Self::Connect(_) | Self::NotMember | Self::TooManyTunnels => {
                Status::unavailable(self.to_string())
            }
            Self::Malformed(_) | Self::Status(_) => {
                Status::invalid_argument(format!("refused by the peer: {self}"))
            }
        }
    }
}

/// The stream to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It was not tried yet.
    New,
    /// It carries messages.
    Connected,
    /// There is none; it is tried again and again.
    Down(LinkError),
}

/// What is known of the way to a peer, and from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// Where it is dialled.
    pub address: String,
    /// The stream to it.
    pub state: LinkState,
    /// Messages given to its stream or its outbox.
    pub sent: u64,
    /// Messages for it that were thrown away, since there was no stream or too much waited.
    pub dropped: u64,
    /// Messages from it.
    pub received: u64,
    /// Streams to it that were opened.
    pub opened: u64,
    /// By how much its wall clock is ahead of that of this node, in ms, less what its last word on it took to come. None if
    /// it has not said.
    pub clock_ahead_ms: Option<i64>,
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::*;

    #[test]
    fn a_broken_stream_is_told_in_words() {
        let mut inner = Status::unknown("error reading a body");
        inner.set_source(Arc::new(io::Error::other("connection reset")));
        let mut outer = Status::unknown("the call failed");
        outer.set_source(Arc::new(inner));
        let told = LinkError::from(outer).to_string();
        assert_eq!(told, "the call failed: error reading a body: connection reset");
        let mut silent = Status::unknown("");
        silent.set_source(Arc::new(io::Error::other("connection reset")));
        assert_eq!(LinkError::from(silent).to_string(), "connection reset");
        assert!(!LinkError::from(Status::unknown("")).to_string().is_empty());
    }
}
