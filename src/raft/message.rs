//! What nodes say to each other. The names are those of the Raft papers.

use crate::log::{Entry, Index, Position, Term};

/// A node of the cluster, for ever: an id is never used again. 0 is nobody.
pub type NodeId = u64;

/// A message from one node to another.
///
/// Messages may be lost, doubled and reordered; none may be forged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The sender's term; of [`Body::PreVote`] and of its granting reply, the term that the candidate would begin.
    pub term: Term,
    /// What is said.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// "Would you vote for me?" It changes nobody's term or vote (Raft thesis §9.6).
    PreVote {
        /// The end of the candidate's log.
        last: Position,
    },
    /// The answer to [`Body::PreVote`].
    PreVoteReply {
        /// Whether it would.
        granted: bool,
    },
    /// "Vote for me" (Raft §5.2).
    Vote {
        /// The end of the candidate's log.
        last: Position,
        /// The leader asked for this election, so promises to it do not stand in the way.
        transfer: bool,
    },
    /// The answer to [`Body::Vote`].
    VoteReply {
        /// Whether the vote was given.
        granted: bool,
    },
    /// "Append these entries after `previous`" (Raft §5.3).
    Append {
        /// What the leader has before the entries.
        previous: Position,
        /// The leader's commit index.
        commit: Index,
        /// May be empty.
        entries: Vec<Entry>,
    },
    /// The receiver's log agrees with the leader's up to here, and is durable up to here.
    Matched {
        /// The end of what the message that is answered covers, never more than is known to agree.
        index: Index,
    },
    /// The receiver has no entry like `previous` of the [`Body::Append`].
    Conflict {
        /// The index of that `previous`.
        rejected: Index,
        /// The newest entry of the receiver that may agree with the leader's log.
        hint: Position,
    },
    /// "I lead."
    Heartbeat {
        /// Counts the leader's rounds of heartbeats.
        round: u64,
        /// For how long, from receipt, who answers gives nobody else a vote, in µs.
        promise_us: u64,
        /// What is committed and known to be in the receiver's log.
        commit: Index,
    },
    /// The answer to [`Body::Heartbeat`]: the promise is given.
    HeartbeatReply {
        /// Of the heartbeat.
        round: u64,
        /// How far the tables of who answers lag behind, in thousandths of what they may: the leader slows down by that.
        lag: u64,
    },
    /// "Stand for election now" (Raft thesis §3.10).
    TimeoutNow,
    /// A follower asks from which index on a read is linearizable (Raft thesis §6.4).
    ReadIndex {
        /// The follower's number of the read.
        read: u64,
    },
    /// The answer to [`Body::ReadIndex`].
    ReadIndexReply {
        /// The follower's number of the read.
        read: u64,
        /// What must be applied before the read is served; none if the node that was asked does not lead.
        index: Option<Index>,
        /// What is committed and known to be in the receiver's log.
        commit: Index,
    },
    /// The answer to a message of an older term, which tells the sender so.
    OldTerm,
}
