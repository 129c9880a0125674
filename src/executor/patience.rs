//! How long anything waits for a cluster that gets nowhere. A leader that no majority hears of steps down by itself, and then
//! all who wait are told. But the majority may be heard and not write, or this node's own disk may not: then what was not
//! evaluated is given back, since it is certainly not done, and of what was proposed nobody knows whether it will be.

use std::collections::BTreeSet;

use super::{
    clock::Now,
    message::Message,
    turn::{Executor, Output},
};

/// How long a command waits while nothing goes on, in µs.
const PATIENCE_US: u64 = 10_000_000;

/// When something last went on, in µs of CLOCK_BOOTTIME.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// An entry was applied, or answers were released.
    pub(super) applied_us: u64,
    /// Commands were evaluated.
    pub(super) evaluated_us: u64,
}

impl Progress {
    /// Commands were evaluated until `now`. What `took_long` kept the executor from applying meanwhile, too.
    pub(super) fn evaluated(&mut self, now: Now, took_long: bool) {
        self.evaluated_us = now.boot_us;
        if took_long {
            self.applied_us = now.boot_us;
        }
    }
}

impl Executor {
    /// Ends the waits of those who wait for too long already, while nothing goes on.
    pub(super) fn end_waits(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let Some(since_us) = now.boot_us.checked_sub(PATIENCE_US) else { return };
        let mut held = BTreeSet::new();
        let mut lost = BTreeSet::new();
        if let Some(leadership) = &mut self.leadership {
            if self.progress.applied_us <= since_us {
                for piece in leadership.held.give_up(since_us).flat_map(|held| held.pieces) {
                    lost.insert(piece.recipient.id());
                    outputs.push(Output::Lose(piece.recipient));
                }
            }
            held.extend(leadership.held.recipients());
            // What stands behind something unknown is not evaluated any more.
            let stalled = std::mem::take(&mut leadership.stalled);
            let (of_lost, stalled): (Vec<_>, Vec<_>) =
                stalled.into_iter().partition(|(_, message)| is_of(message, &lost));
            leadership.stalled = stalled;
            outputs.extend(of_lost.into_iter().map(|(_, message)| Output::GiveBack(message)));
        }
        let is_stuck = self.progress.evaluated_us <= since_us;
        for message in std::mem::take(&mut self.queue) {
            // Who waits for the answers of a part of its message gets those first.
            let waits_long = is_stuck && message.since_us <= since_us && !is_of(&message, &held);
            match is_of(&message, &lost) || waits_long {
                true => outputs.push(Output::GiveBack(message)),
                false => self.queue.push_back(message),
            }
        }
    }
}

fn is_of(message: &Message, recipients: &BTreeSet<u64>) -> bool {
    recipients.contains(&message.recipient.id())
}
