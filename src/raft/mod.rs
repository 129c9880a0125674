//! The Raft protocol as a pure core: no clock, disk, socket, thread or randomness of its own.
//!
//! [`Raft::step`] is the only way in, and a list of [`Output`]s the only way out. The driver carries them: it appends
//! what is to be persisted to the log's inbox, in this order, and reports [`Input::Durable`] when the newest token it
//! has been given is on disk; it sends what is to be sent, applies what is committed, and comes back with
//! [`Input::Tick`] at the [`Raft::deadline`].
//!
//! The papers are D. Ongaro and J. Ousterhout, *In Search of an Understandable Consensus Algorithm* ("Raft"), and
//! D. Ongaro's thesis *Consensus: Bridging Theory and Practice* ("thesis").
//!
//! # Terms, votes and leaders
//!
//! A node is a follower, a pre-candidate, a candidate or a leader (`election`). A follower that hears no leader asks
//! first whether it would be elected, then begins a term and votes for itself. A leader appends an entry of its own term
//! at once: what earlier terms left commits beneath that entry only, and until it is committed the leader neither serves a
//! read nor changes the membership. A leader that no majority answers steps down.
//!
//! # Replication
//!
//! The leader sends entries to its followers while its own disk writes them (`leader`, `progress`). A follower takes
//! them if they continue its log, else says where the logs may part (`follower`, `tail`). What a majority has on disk is
//! committed; what is committed *and durable here* is given out to be applied, as far as the node keeps up (`applying`). A follower that needs what the log does
//! not have any more gets a snapshot (`snapshot`); for one that is away for a while every node keeps some of what it could
//! cut (`sizes`), since it may lead when the other comes back.
//!
//! # Persistence
//!
//! Persistence is one ordered queue with a monotone [`Token`] (`persistence`). The core says what to append in which
//! order; a message that stands on something not durable yet is kept back in the core until it is, so it cannot be sent
//! too early. A candidate may not lead before its own {term, vote} is durable, and the leader counts itself towards the
//! majority only when its own log is durable.
//!
//! # Reads and leases
//!
//! Every round of heartbeats that a majority answers proves that the node led when the round was sent (`rounds`). Who
//! answers promises its vote for a while, so the leader need not ask at all for a little less than that (the lease).
//! Clocks are only compared with themselves, but must run at about the same rate: the lease is a fifth shorter than the
//! promise. A reader gives in its number, and gets a permit (`reads`).
//!
//! # Membership
//!
//! The newest configuration in the log is in force, committed or not (`configuration`). Changes of the voters pass
//! through a joint configuration (`change`), which the leader leaves by itself when it is committed. Who is removed is sent
//! entries until it knows that (`leaving`).
//!
//! # The chain of proposals
//!
//! Entry k+1 is evaluated on top of entry k before k is even appended, so a refused k followed by an accepted k+1 would
//! damage acknowledged data identically on all replicas. Proposals therefore carry (term, chain, n): n is accepted only
//! if n-1 of the same chain was the last one accepted, and one refusal ends the chain (`chain`).
//!
//! # Caveats
//!
//! - A node whose disk was wiped is a new node: it must come with a new id, or it could vote twice.
//! - What is appended and not committed is bounded in bytes, but one entry may exceed the bound when nothing else is
//!   under way.
//! - The commit index is not persisted. After a start it is what the tables have, until a leader says more.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod applying;
mod chain;
mod change;
mod configuration;
mod core;
mod election;
mod follower;
mod leader;
mod leaving;
mod message;
mod persistence;
mod progress;
mod reads;
mod rounds;
mod sizes;
mod snapshot;
mod tail;
#[cfg(test)]
mod tests;
mod timing;
mod transfer;

pub use chain::{Proposal, ProposalId, Refusal, Verdict};
pub use change::ChangeAnswer;
pub use configuration::{Change, ChangeRefusal, Configuration, Member};
pub use core::{Input, Output, Raft, Reading, Role, Start};
pub use message::{Body, Message, NodeId};
pub use persistence::Token;
pub use progress::{Mode, Progress};
pub use snapshot::{Offer, SnapshotAnswer};
pub use tail::Tail;
pub use timing::{Bounds, Timing};
