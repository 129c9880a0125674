//! The Raft protocol as a pure core: no clock, disk, socket, thread or randomness of its own.
//!
//! [`Raft::step`] is the only way in, and a list of [`Output`]s the only way out. The driver carries them: it appends
//! what is to be persisted to the log's inbox, in this order, and reports [`Input::Durable`] when the newest token it
//! has been given is on disk.
//!
//! # Persistence
//!
//! Persistence is one ordered queue with a monotone [`Token`]. The core says what to append in which order; whatever
//! must wait for the disk carries the token it waits for. A candidate may not lead before its own {term, vote} is
//! durable, and the leader counts itself towards the majority only when its own log is durable.
//!
//! # The chain of proposals
//!
//! Entry k+1 is evaluated on top of entry k before k is even appended, so a refused k followed by an accepted k+1 would
//! damage acknowledged data identically on all replicas. Proposals therefore carry (term, chain, n): n is accepted only
//! if n-1 of the same chain was the last one accepted, and one refusal ends the chain.
//!
//! # Caveats
//!
//! The configuration is one voter, this node: there are no messages, no elections to lose and no lease to hold. What a
//! majority is, is decided in one place (`Raft::commit`).
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod chain;
mod core;

pub use chain::{Proposal, ProposalId, Refusal, Verdict};
pub use core::{Input, Output, Raft, Role, Token};
