//! Committed entries that are not applied yet, since the tree lags behind. Without a bound its memtables would take all memory
//! on a node that receives faster than its disk takes them: so a node that does not lead stops applying while the tree is as
//! far behind as it may be. What it does not apply stays in the log; `raft` gives out no more than there is room for, and tells
//! the leader how far this node lags behind. A leader applies whatever it has proposed, and proposes less.

use std::collections::VecDeque;

use super::{
    admission::{PRESSURE_MAX, PRESSURE_SLOW},
    clock::Now,
    turn::{Error, Executor, Output},
};
use crate::{log::Entry, lsm::Debt};

/// The tree is asked again how far it lags behind after so many bytes were applied, or after this share (one in …) of a
/// memtable.
const LOOK_BYTES: usize = 64 * 1024;
const LOOK_SHARE: usize = 8;

/// Bytes of a backlog that are applied in one turn.
const TURN_BYTES: usize = 256 * 1024;

/// Lags are told in steps of so much.
const LAG_STEP: u64 = 50;

/// What `raft` has given out.
#[derive(Debug)]
enum Given {
    Entry(Entry),
    /// It wants to know when all before is applied.
    Tell,
}

/// What was given out to be applied, and waits.
#[derive(Debug)]
pub(super) struct Backlog {
    given: VecDeque<Given>,
    look_bytes: usize,
    /// Bytes applied since the tree was asked how far it lags behind.
    unlooked_bytes: usize,
    /// What was told of that last.
    lag_told: u64,
}

impl Backlog {
    /// Nothing waits for a tree with memtables of this size.
    pub(super) fn new(memtable_bytes: usize) -> Self {
        let look_bytes = LOOK_BYTES.min(memtable_bytes / LOOK_SHARE);
        Self { given: VecDeque::new(), look_bytes, unlooked_bytes: 0, lag_told: 0 }
    }

    /// How many entries wait.
    pub(super) fn len(&self) -> usize {
        self.given.len()
    }

    /// Whether `raft` was told that the tree lags behind.
    pub(super) fn lags(&self) -> bool {
        self.lag_told > 0
    }
}

impl Executor {
    /// Takes committed entries, in order, and applies those that the tree has room for.
    pub(super) fn take_committed(
        &mut self,
        entries: Vec<Entry>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Error> {
        for entry in entries {
            if self.backlog.given.is_empty() && !self.is_held_up(outputs) {
                self.apply_counted(entry, now)?;
            } else {
                self.backlog.given.push_back(Given::Entry(entry));
            }
        }
        Ok(())
    }

    /// Tells when what came before is applied.
    pub(super) fn tell_applied(&mut self, outputs: &mut Vec<Output>) {
        match self.backlog.given.is_empty() {
            true => outputs.push(Output::Applied),
            false => self.backlog.given.push_back(Given::Tell),
        }
    }

    /// Applies what waits and may be applied now; returns whether there is more of that.
    pub(super) fn work_off(&mut self, now: Now, outputs: &mut Vec<Output>) -> Result<bool, Error> {
        let mut bytes = 0;
        while !self.backlog.given.is_empty() {
            if self.is_held_up(outputs) {
                return Ok(false);
            }
            if TURN_BYTES <= bytes {
                return Ok(true);
            }
            match self.backlog.given.pop_front() {
                Some(Given::Entry(entry)) => {
                    bytes += entry.body.len();
                    self.apply_counted(entry, now)?;
                }
                Some(Given::Tell) => outputs.push(Output::Applied),
                None => {}
            }
        }
        Ok(false)
    }

    /// A snapshot takes the place of what waits.
    pub(super) fn drop_backlog(&mut self, outputs: &mut Vec<Output>) {
        let tells = self.backlog.given.drain(..).filter(|given| matches!(given, Given::Tell));
        outputs.extend(tells.map(|_| Output::Applied));
    }

    /// Looks how far the tree lags behind, and tells `raft` if that is news.
    pub(super) fn look_at_debt(&mut self, outputs: &mut Vec<Output>) -> Debt {
        let debt = self.tree.debt();
        let lag = match debt.pressure {
            // Nobody slows down for less.
            ..=PRESSURE_SLOW => 0,
            more => (more / LAG_STEP * LAG_STEP).min(PRESSURE_MAX),
        };
        if lag != self.backlog.lag_told {
            self.backlog.lag_told = lag;
            outputs.push(Output::Lag(lag));
        }
        self.admission.debt = debt;
        debt
    }

    /// Whether nothing may be applied now.
    fn is_held_up(&mut self, outputs: &mut Vec<Output>) -> bool {
        if self.leadership.is_some() || self.is_replaying {
            return false;
        }
        if self.backlog.given.is_empty() && self.backlog.unlooked_bytes < self.backlog.look_bytes {
            return false;
        }
        let debt = self.look_at_debt(outputs);
        self.backlog.unlooked_bytes = 0;
        PRESSURE_MAX <= debt.pressure
    }

    fn apply_counted(&mut self, entry: Entry, now: Now) -> Result<(), Error> {
        self.backlog.unlooked_bytes += entry.body.len();
        self.progress.applied_us = now.boot_us;
        self.apply(entry, now)
    }
}
