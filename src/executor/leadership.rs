//! What lives for one term of leadership and is dropped whole. **Rule (leadership)** of the design.

use std::collections::VecDeque;

use super::{
    clock::{LeaderClock, Now},
    held::HeldAnswers,
    message::Message,
    watch::Watches,
};
use crate::{
    keyspace::{Overlay, State},
    log::Term,
    lsm,
    raft::ProposalId,
};

/// How far the stamps may be ahead of the wall clock without a word.
const AHEAD_MS_MAX: u64 = 5_000;

/// How far a leader is that hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pausing {
    /// It evaluates nothing more.
    Begun,
    /// What it has evaluated is applied and answered, and that was said.
    Done,
}

/// The leader's memory. It is made when the no-op of its term is applied here, and takes every value from the applied
/// state.
#[derive(Debug)]
pub(super) struct Leadership {
    pub(super) term: Term,
    pub(super) overlay: Overlay,
    pub(super) state: State,
    pub(super) clock: LeaderClock,
    pub(super) rng: fastrand::Rng,
    pub(super) held: HeldAnswers,
    pub(super) watches: Watches,
    pub(super) chain: ChainProgress,
    /// Messages whose recipient has too much unsent, each with the drain that must be released first.
    pub(super) stalled: Vec<(u64, Message)>,
    /// The leadership is being handed over.
    pub(super) pausing: Option<Pausing>,
    /// The number of the last permit asked for, and of the last one given. They go on where those of the leadership before
    /// ended: what was asked for then says nothing of what is evaluated now.
    pub(super) permits_asked: u64,
    pub(super) permits_given: u64,
}

impl Leadership {
    /// Begins on the applied state, whose newest stamp is `stamp`; `permits` were asked for by leaderships before.
    pub(super) fn new(
        term: Term,
        view: &lsm::View,
        stamp: u64,
        permits: u64,
        now: Now,
        seed: u64,
    ) -> lsm::Result<Self> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let ahead_ms = stamp.saturating_sub(now.wall_ms);
        if ahead_ms > AHEAD_MS_MAX {
            tracing::warn!(
                ahead_ms,
                "the clock is behind the newest stamp: keys with a time of day expire early"
            );
        }
        Ok(Self {
            term,
            overlay: Overlay::new(),
            state: State::load(view, rng.u64(..))?,
            clock: LeaderClock::new(stamp, now),
            rng,
            held: HeldAnswers::default(),
            watches: Watches::default(),
            chain: ChainProgress::new(1),
            stalled: Vec::new(),
            pausing: None,
            permits_asked: permits,
            permits_given: permits,
        })
    }
}

impl Leadership {
    /// Whether everything that was evaluated is applied and answered.
    pub(super) fn is_settled(&self) -> bool {
        self.chain.applied == self.chain.proposed && self.held.is_empty()
    }
}

/// How far the chain of proposals is. **Rule (chain)** of the design.
///
/// Invariant: `applied <= accepted <= proposed`; after a refusal nothing is proposed.
#[derive(Debug)]
pub(super) struct ChainProgress {
    pub(super) chain: u64,
    pub(super) proposed: u64,
    accepted: u64,
    pub(super) applied: u64,
    refused: Option<u64>,
    /// Bytes of the bodies proposed and not applied, oldest first.
    sizes: VecDeque<usize>,
    pub(super) in_flight_bytes: usize,
}

impl ChainProgress {
    /// A chain in which nothing is proposed.
    pub(super) fn new(chain: u64) -> Self {
        Self {
            chain,
            proposed: 0,
            accepted: 0,
            applied: 0,
            refused: None,
            sizes: VecDeque::new(),
            in_flight_bytes: 0,
        }
    }

    /// Counts a proposal of `bytes` and names it.
    pub(super) fn propose(&mut self, term: Term, bytes: usize) -> ProposalId {
        assert!(self.refused.is_none(), "nothing is proposed on top of what was refused");
        self.proposed += 1;
        self.sizes.push_back(bytes);
        self.in_flight_bytes += bytes;
        ProposalId { term, chain: self.chain, n: self.proposed }
    }

    /// Takes the verdict that `n` was appended.
    pub(super) fn accept(&mut self, n: u64) {
        assert!(n == self.accepted + 1, "verdicts come in the order of the proposals");
        assert!(self.refused.is_none(), "an entry was accepted on top of a refused one");
        self.accepted = n;
    }

    /// Takes the verdict that `n` was not appended. Those behind it are refused with it.
    pub(super) fn refuse(&mut self, n: u64) {
        assert!(n > self.accepted, "an accepted entry was refused");
        if self.refused.is_none() {
            assert!(n == self.accepted + 1, "verdicts come in the order of the proposals");
            self.refused = Some(n);
        }
    }

    /// Counts the apply of entry `n`.
    pub(super) fn apply(&mut self, chain: u64, n: u64) {
        assert!(chain == self.chain, "an entry of another chain was applied");
        assert!(n == self.applied + 1, "entries are applied in the order of their chain");
        self.applied = n;
        let bytes = self.sizes.pop_front().expect("an applied entry was proposed");
        self.in_flight_bytes -= bytes;
    }

    /// Whether an entry was refused, so that nothing may be evaluated.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// The first refused entry, when everything accepted before it is applied.
    pub(super) fn settled(&self) -> Option<u64> {
        self.refused.filter(|&n| self.applied + 1 == n)
    }
}
