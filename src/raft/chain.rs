//! The chain of proposals: nothing is accepted on top of something that was not.

use bytes::Bytes;

use crate::{
    bugs::{self, Bug},
    log::Term,
};

/// Which proposal: the `n`th of a chain, evaluated in `term`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposalId {
    /// The term it was evaluated in; no other term may append it.
    pub term: Term,
    /// The chain; a new one begins after each refusal, with a greater number.
    pub chain: u64,
    /// The place in the chain: 1, 2, 3 …
    pub n: u64,
}

/// What the executor asks to have appended.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Which one it is.
    pub id: ProposalId,
    /// The body of the entry (`executor::entry`).
    pub body: Bytes,
}

/// Why a proposal was not appended, and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This node does not lead the term that the proposal was evaluated in.
    NotLeader,
    /// The one before it in its chain was not accepted.
    BrokenChain,
    /// Too many bytes are appended and not committed.
    Busy,
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was appended to the leader's log.
    Accepted,
    /// It was not appended and never will be.
    Refused(Refusal),
}

/// The last proposal that was accepted, as the core remembers it.
///
/// Invariant: what `accepts` says yes to follows the last accepted proposal of its chain without a gap.
#[derive(Debug, Default)]
pub(super) struct Chain {
    chain: u64,
    accepted: u64,
    broken: bool,
}

impl Chain {
    /// Whether `id` continues what was accepted, or begins a new chain. A "no" ends the chain.
    pub(super) fn accepts(&mut self, id: ProposalId) -> bool {
        assert!(id.n > 0, "proposals are counted from 1");
        if bugs::on(Bug::ChainUnchecked) {
            *self = Self { chain: id.chain, accepted: id.n, broken: false };
            return true;
        }
        let continues = id.chain == self.chain && !self.broken && id.n == self.accepted + 1;
        let begins = id.chain > self.chain && id.n == 1;
        if continues || begins {
            *self = Self { chain: id.chain, accepted: id.n, broken: false };
            return true;
        }
        self.end(id);
        false
    }

    /// Ends the chain of `id`, since it was refused for another reason.
    pub(super) fn end(&mut self, id: ProposalId) {
        if id.chain >= self.chain {
            *self = Self { chain: id.chain, accepted: 0, broken: true };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(chain: u64, n: u64) -> ProposalId {
        ProposalId { term: 1, chain, n }
    }

    #[test]
    fn a_chain_is_accepted_without_gaps_only() {
        let mut chain = Chain::default();
        assert!(chain.accepts(id(1, 1)));
        assert!(chain.accepts(id(1, 2)));
        assert!(!chain.accepts(id(1, 4)), "3 is missing");
        assert!(!chain.accepts(id(1, 3)), "one refusal ends the chain");
        assert!(!chain.accepts(id(2, 2)), "a chain begins with 1");
        assert!(!chain.accepts(id(2, 1)), "which a refusal of chain 2 forbids for good");
        assert!(chain.accepts(id(3, 1)));
        assert!(!chain.accepts(id(1, 3)), "an old chain is over");
        assert!(chain.accepts(id(3, 2)), "and does not disturb the new one");
    }
}
