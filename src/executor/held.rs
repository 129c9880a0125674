//! Answers that wait. **Rule (release)** of the design.
//!
//! An answer waits until the newest entry that it could have seen is applied here. If its drain made an entry, that is
//! the one, and its apply proves the leadership. If not, it is the last entry proposed before, and the answer also
//! needs a permit made after the evaluation; a later entry that is applied is as good.

use std::{collections::VecDeque, sync::Arc};

use super::message::{Deferred, Item, Message, Recipient};
use crate::resp::Outbox;

/// What one drain evaluated of one message.
#[derive(Debug)]
pub(super) struct Piece {
    /// Who sent it.
    pub(super) recipient: Arc<dyn Recipient>,
    /// The items that were evaluated, to be evaluated again if the drain's entry is refused.
    pub(super) items: VecDeque<Item>,
    /// Their replies.
    pub(super) reply: Outbox,
    /// Whether the message ends here.
    pub(super) done: bool,
    /// What the connection adds to an EXEC.
    pub(super) deferred: Option<Deferred>,
}

impl Piece {
    /// The message that evaluates the piece again; it has waited since `since_us`.
    pub(super) fn into_message(self, since_us: u64) -> Message {
        Message { since_us, ..Message::new(self.recipient, self.items) }
    }
}

/// The answers of one drain.
#[derive(Debug)]
pub(super) struct Held {
    /// The entry of the chain that must be applied.
    pub(super) n: u64,
    /// The permit that is needed if the drain made no entry.
    pub(super) permit: Option<u64>,
    /// Since when, in µs of CLOCK_BOOTTIME.
    pub(super) since_us: u64,
    /// What is answered.
    pub(super) pieces: Vec<Piece>,
}

/// The answers of all drains that are not released, oldest first.
#[derive(Debug, Default)]
pub(super) struct HeldAnswers {
    queue: VecDeque<Held>,
    released: u64,
}

impl HeldAnswers {
    /// Appends the answers of a drain.
    pub(super) fn push(&mut self, held: Held) {
        assert!(self.queue.back().is_none_or(|last| last.n <= held.n), "drains are held in their order");
        self.queue.push_back(held);
    }

    /// The number that [`HeldAnswers::released`] reaches when the next drain that is pushed is released.
    pub(super) fn next_number(&self) -> u64 {
        self.released + self.queue.len() as u64 + 1
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many drains have been released since the beginning.
    pub(super) fn released(&self) -> u64 {
        self.released
    }

    /// Takes the oldest drain if entry `applied` of the chain is applied here and permits up to `permits` were made.
    pub(super) fn release(&mut self, applied: u64, permits: u64) -> Option<Held> {
        let oldest = self.queue.front()?;
        let seen = oldest.n <= applied;
        let proven = oldest.permit.is_none_or(|permit| permit <= permits) || oldest.n < applied;
        if !(seen && proven) {
            return None;
        }
        self.released += 1;
        self.queue.pop_front()
    }

    /// Takes the drains that have waited since `since_us` or longer.
    pub(super) fn give_up(&mut self, since_us: u64) -> impl Iterator<Item = Held> {
        let given_up = self.queue.iter().take_while(|held| held.since_us <= since_us).count();
        self.released += given_up as u64;
        self.queue.drain(..given_up)
    }

    /// Who waits.
    pub(super) fn recipients(&self) -> impl Iterator<Item = u64> {
        self.queue.iter().flat_map(|held| &held.pieces).map(|piece| piece.recipient.id())
    }

    /// A new chain begins, and everything of the one before that was not refused is applied: what still waits, waits for a
    /// permit only, or for any entry of the new chain.
    pub(super) fn begin_chain(&mut self) {
        for held in &mut self.queue {
            assert!(held.permit.is_some(), "an answer waits for an entry that is applied");
            held.n = 0;
        }
    }

    /// Takes, in their order, the drains that may have seen entry `refused` of the chain or a later one.
    pub(super) fn split_off(&mut self, refused: u64) -> VecDeque<Held> {
        let kept = self.queue.partition_point(|held| held.n < refused);
        self.queue.split_off(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(n: u64, permit: Option<u64>) -> Held {
        Held { n, permit, since_us: 0, pieces: Vec::new() }
    }

    #[test]
    fn an_entry_of_its_own_is_all_the_proof_a_drain_needs() {
        let mut answers = HeldAnswers::default();
        answers.push(held(1, None));
        assert!(answers.release(0, 0).is_none(), "committed is not applied");
        assert!(answers.release(1, 0).is_some());
        assert_eq!(answers.released(), 1);
    }

    #[test]
    fn a_drain_without_an_entry_needs_a_permit_or_a_later_entry() {
        let mut answers = HeldAnswers::default();
        answers.push(held(3, Some(1)));
        assert!(answers.release(2, 1).is_none(), "what it may have seen is not applied");
        assert!(answers.release(3, 0).is_none(), "nobody proved the leadership since");
        assert!(answers.release(3, 1).is_some());
        answers.push(held(3, Some(2)));
        answers.push(held(4, None));
        assert!(answers.release(4, 1).is_some(), "entry 4 was appended after the evaluation");
    }

    #[test]
    fn what_waits_for_a_permit_outlives_its_chain() {
        let mut answers = HeldAnswers::default();
        answers.push(held(5, Some(1)));
        assert!(answers.split_off(6).is_empty());
        answers.begin_chain();
        answers.push(held(1, None));
        assert!(answers.release(0, 0).is_none());
        assert!(answers.release(1, 0).is_some(), "entry 1 was appended after the evaluation");
        assert!(answers.release(1, 0).is_some());
    }

    #[test]
    fn a_refusal_takes_back_all_that_may_have_seen_it() {
        let mut answers = HeldAnswers::default();
        answers.push(held(1, None));
        answers.push(held(2, None));
        answers.push(held(2, Some(1)));
        assert_eq!(answers.split_off(2).len(), 2);
        assert!(answers.release(1, 0).is_some());
    }
}
