//! What a peer may not say.

use crate::{log::Position, raft::NodeId};

/// Something that no peer of this version says. The stream that it came on is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The message has no kind, or one of another version.
    #[error("a message of an unknown kind")]
    MessageKind,
    /// The entry has a kind of another version.
    #[error("an entry of the unknown kind {0}")]
    EntryKind(u32),
    /// The body of a configuration entry is no configuration.
    #[error("an entry that holds no configuration")]
    Configuration,
    /// Entries have gaps, or terms that cannot be.
    #[error("an entry out of sequence: index {}, term {}", .0.index, .0.term)]
    Sequence(Position),
    /// Parts of a large message do not fit together.
    #[error("{0}")]
    Parts(&'static str),
    /// A frame of a tunnel does not fit.
    #[error("{0}")]
    Frame(&'static str),
    /// The entry is larger than `entry-bytes-max`.
    #[error("an entry of {0} bytes, more than entry-bytes-max")]
    EntryTooLarge(u64),
    /// The entries of one message are more than one message may have.
    #[error("a message of more bytes than a message may have")]
    MessageTooLarge,
    /// The message is not from the node that opened the stream.
    #[error("a message from node {0:016x} on another node's stream")]
    From(NodeId),
    /// The message is for another node.
    #[error("a message for node {0:016x} on this node's stream")]
    To(NodeId),
}
