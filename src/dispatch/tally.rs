//! What a batch ran on the connection's own task: counted here, and handed to the thread's counters once a batch.
//!
//! Calls of one command, one after the other, are timed together, so that a pipeline costs two looks at the clock. Only
//! if a command is slow sooner than such a run usually takes is each timed by itself.

use std::time::{Duration, Instant};

use super::Services;
use crate::{
    command::Command,
    executor::Call,
    keyspace::{self, Failure},
    metrics::{Counter, Local},
    resp::Args,
    session::Session,
};

/// Counts a call that ran by itself, unless it stopped and will run elsewhere.
pub(super) fn count_one(
    local: &Local,
    call: &Call,
    took: Duration,
    (hits, misses): (u64, u64),
    result: &keyspace::Result,
) {
    match result {
        Ok(()) => {}
        Err(Failure::Client(error)) => {
            local.command_failed(usize::from(call.command.id));
            local.error(&error.text());
        }
        Err(Failure::Stop(_) | Failure::Local(_)) => return,
    }
    local.command(usize::from(call.command.id), 1, took);
    local.count(Counter::KeyspaceHits, hits);
    local.count(Counter::KeyspaceMisses, misses);
}

/// A threshold of slowness from which on calls are timed one by one.
const SLOW_SOON: Duration = Duration::from_millis(2);

/// Calls of one command, one after the other.
struct Run {
    command: &'static Command,
    calls: u64,
    /// The words of the call, if it is the only one.
    args: Option<Args>,
}

/// The counts of one batch.
pub(super) struct Tally {
    last: Instant,
    slow: Duration,
    run: Option<Run>,
    done: Vec<(Run, Duration)>,
    failed: Vec<(&'static Command, Vec<u8>)>,
    rejected: Vec<(Option<&'static Command>, Vec<u8>)>,
    hits: u64,
    misses: u64,
}

impl Tally {
    /// Starts to count.
    pub(super) fn start(services: &Services) -> Self {
        let settings = services.config.settings();
        let slow = [settings.slowlog_log_slower_than, settings.latency_monitor_threshold];
        Self {
            last: Instant::now(),
            slow: slow.into_iter().flatten().min().unwrap_or(Duration::MAX),
            run: None,
            done: Vec::new(),
            failed: Vec::new(),
            rejected: Vec::new(),
            hits: 0,
            misses: 0,
        }
    }

    /// Counts a command that has run.
    pub(super) fn ran(&mut self, command: &'static Command, args: &Args, (hits, misses): (u64, u64)) {
        self.hits += hits;
        self.misses += misses;
        match &mut self.run {
            Some(run) if run.command.id == command.id && self.slow >= SLOW_SOON => {
                run.calls += 1;
                run.args = None;
            }
            _ => {
                self.close();
                // A clone shares the request's buffer.
                self.run = Some(Run { command, calls: 1, args: Some(args.clone()) });
            }
        }
        if self.slow < SLOW_SOON {
            self.close();
        }
    }

    /// Counts that the last command answered with an error.
    pub(super) fn failed(&mut self, command: &'static Command, error: Vec<u8>) {
        self.failed.push((command, error));
    }

    /// Counts a command that was refused before it ran.
    pub(super) fn rejected(&mut self, command: Option<&'static Command>, error: Vec<u8>) {
        self.rejected.push((command, error));
    }

    fn close(&mut self) {
        if let Some(run) = self.run.take() {
            let now = Instant::now();
            self.done.push((run, now - self.last));
            self.last = now;
        }
    }

    /// Hands everything to the counters of this thread and to the slow log.
    pub(super) fn finish(mut self, services: &Services, session: &Session) {
        self.close();
        if self.done.is_empty() && self.rejected.is_empty() {
            return;
        }
        services.stats.local(|local| self.count(local));
        for (run, took) in self.done {
            if took >= self.slow
                && let Some(args) = &run.args
            {
                let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                services.note_slow(session.info(), args, nanos);
            }
        }
    }

    fn count(&self, local: &Local) {
        for (run, took) in &self.done {
            local.command(usize::from(run.command.id), run.calls, *took);
        }
        for (command, error) in &self.failed {
            local.command_failed(usize::from(command.id));
            local.error(error);
        }
        for (command, error) in &self.rejected {
            if let Some(command) = command {
                local.command_rejected(usize::from(command.id));
            }
            local.error(error);
        }
        if self.hits > 0 {
            local.count(Counter::KeyspaceHits, self.hits);
        }
        if self.misses > 0 {
            local.count(Counter::KeyspaceMisses, self.misses);
        }
    }
}
