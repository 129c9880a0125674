//! How long the commands of a drain take: one look at the clock a command.

use std::sync::Arc;

use super::{
    clock::Clock,
    message::{Call, Recipient},
    turn::{Output, Ran, Slow},
};
use crate::command::Command;

/// Times the commands of one drain. Calls of the same command, one after the other, are counted together.
pub(super) struct Stopwatch<'a> {
    clock: &'a dyn Clock,
    slow_ns: u64,
    last_ns: u64,
    lookups: (u64, u64),
    runs: Vec<Ran>,
    failed: Vec<(&'static Command, Vec<u8>)>,
    slow: Vec<Slow>,
}

impl<'a> Stopwatch<'a> {
    /// Starts at the present instant.
    pub(super) fn start(clock: &'a dyn Clock, slow_ns: u64) -> Self {
        Self {
            clock,
            slow_ns,
            last_ns: clock.boot_ns(),
            lookups: (0, 0),
            runs: Vec::new(),
            failed: Vec::new(),
            slow: Vec::new(),
        }
    }

    /// The time since the last command ended was this one's.
    pub(super) fn ran(&mut self, call: &Call, recipient: &Arc<dyn Recipient>) {
        let now = self.clock.boot_ns();
        let nanos = now.saturating_sub(self.last_ns);
        self.last_ns = now;
        let (hits, misses) = std::mem::take(&mut self.lookups);
        match self.runs.last_mut() {
            Some(run) if run.command.id == call.command.id => {
                run.calls += 1;
                run.nanos += nanos;
                run.lookups = (run.lookups.0 + hits, run.lookups.1 + misses);
            }
            _ => self.runs.push(Ran { command: call.command, calls: 1, nanos, lookups: (hits, misses) }),
        }
        if nanos >= self.slow_ns {
            self.slow.push(Slow { args: call.args.clone(), nanos, recipient: Arc::clone(recipient) });
        }
    }

    /// The command that runs found so many keys, and did not find so many.
    pub(super) fn looked_up(&mut self, (hits, misses): (u64, u64)) {
        self.lookups = (self.lookups.0 + hits, self.lookups.1 + misses);
    }

    /// The command that ran last answered with an error.
    pub(super) fn failed(&mut self, command: &'static Command, error: Vec<u8>) {
        self.failed.push((command, error));
    }

    /// Hands over what was counted.
    pub(super) fn finish(self, outputs: &mut Vec<Output>) {
        outputs.extend(self.runs.into_iter().map(Output::Ran));
        outputs.extend(self.failed.into_iter().map(|(command, error)| Output::Failed(command, error)));
        outputs.extend(self.slow.into_iter().map(Output::Slow));
    }
}
