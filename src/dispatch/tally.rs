//! What a batch ran on the connection's own task: counted here, and handed to the thread's counters once a run.
//!
//! Calls of one command, one after the other, are timed together, so that a pipeline costs two looks at the clock. A call
//! that may have taken long, since it has many arguments or answered much, ends its run: the time of the run is then its
//! own, but for the few small calls before it. Only if a command is slow sooner than such a run usually takes is each timed
//! by itself. So a small call that takes long because its thread had to wait counts in the latencies of its command, and
//! enters the slow log only if it is alone in its run: which of the others it was, nobody knows.

use std::time::{Duration, Instant};

use super::Services;
use crate::{
    command::Command,
    config::Settings,
    executor::Call,
    keyspace::{self, Failure},
    metrics::{Counter, Local, Stats},
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

/// Counts a call that was refused before it ran.
pub(super) fn count_refused(local: &Local, call: &Call, error: &str) {
    local.command_rejected(usize::from(call.command.id));
    local.error(error.as_bytes());
}

/// A threshold of slowness from which on calls are timed one by one.
const SLOW_SOON: Duration = Duration::from_millis(2);

/// Calls timed together at most, so that none is taken for slow because of all that ran before it.
const RUN_CALLS_MAX: u64 = 64;

/// Arguments, and bytes of a reply, from which on a call may have taken long.
const HEAVY_ARGS: usize = 32;
const HEAVY_REPLY_BYTES: usize = 4096;

/// Calls of one command, one after the other.
struct Run {
    command: &'static Command,
    calls: u64,
    /// The words of the call that is slow, if the run is.
    args: Option<Args>,
}

/// The counts of one batch.
pub(super) struct Tally<'a> {
    stats: &'a Stats,
    last: Instant,
    slow: Duration,
    run: Option<Run>,
    /// Calls that were slow.
    slow_calls: Vec<(Args, Duration)>,
    hits: u64,
    misses: u64,
}

impl<'a> Tally<'a> {
    /// Starts to count.
    pub(super) fn start(services: &'a Services, settings: &Settings) -> Self {
        let slow = [settings.slowlog_log_slower_than, settings.latency_monitor_threshold];
        Self::slower_than(&services.stats, slow.into_iter().flatten().min().unwrap_or(Duration::MAX))
    }

    fn slower_than(stats: &'a Stats, slow: Duration) -> Self {
        Self { stats, last: Instant::now(), slow, run: None, slow_calls: Vec::new(), hits: 0, misses: 0 }
    }

    /// Counts a command that has run and answered with so many bytes.
    pub(super) fn ran(
        &mut self,
        command: &'static Command,
        args: &Args,
        reply_bytes: usize,
        (hits, misses): (u64, u64),
    ) {
        self.hits += hits;
        self.misses += misses;
        let is_timed_alone = self.slow < SLOW_SOON;
        let is_heavy = args.len() >= HEAVY_ARGS || reply_bytes >= HEAVY_REPLY_BYTES;
        match &mut self.run {
            Some(run) if run.command.id == command.id && run.calls < RUN_CALLS_MAX => {
                run.calls += 1;
                // A clone shares the request's buffer.
                run.args = is_heavy.then(|| args.clone());
            }
            _ => {
                self.close();
                self.run = Some(Run { command, calls: 1, args: Some(args.clone()) });
            }
        }
        if is_heavy || is_timed_alone {
            self.close();
        }
    }

    /// Counts that the last command answered with an error.
    pub(super) fn failed(&mut self, command: &'static Command, error: &[u8]) {
        self.stats.local(|local| {
            local.command_failed(usize::from(command.id));
            local.error(error);
        });
    }

    /// Counts a command that was refused before it ran.
    pub(super) fn rejected(&mut self, command: Option<&'static Command>, error: &[u8]) {
        self.stats.local(|local| {
            if let Some(command) = command {
                local.command_rejected(usize::from(command.id));
            }
            local.error(error);
        });
    }

    fn close(&mut self) {
        let Some(run) = self.run.take() else { return };
        let now = Instant::now();
        let took = now - self.last;
        self.last = now;
        self.stats.local(|local| {
            local.command(usize::from(run.command.id), run.calls, took);
            for (counter, found) in
                [(Counter::KeyspaceHits, &mut self.hits), (Counter::KeyspaceMisses, &mut self.misses)]
            {
                local.count(counter, std::mem::take(found));
            }
        });
        if took >= self.slow
            && let Some(args) = run.args
        {
            self.slow_calls.push((args, took));
        }
    }

    /// Hands the last counts to the counters of this thread, and what was slow to the slow log.
    pub(super) fn finish(mut self, services: &Services, session: &Session) {
        self.close();
        for (args, took) in &self.slow_calls {
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            services.note_slow(session.info(), args, nanos);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command;

    /// Longer than a machine that does something else may hold these tests up.
    const SLOW: Duration = Duration::from_secs(10);

    /// Counts one call of GET that began so long ago.
    fn get(tally: &mut Tally<'_>, key: &str, reply_bytes: usize, took: Duration) {
        let args = Args::from_slices(&[b"GET", key.as_bytes()]);
        tally.last = tally.last.checked_sub(took).unwrap();
        tally.ran(command::resolve(&args).unwrap(), &args, reply_bytes, (1, 0));
    }

    fn slow_keys(mut tally: Tally<'_>) -> Vec<String> {
        tally.close();
        tally.slow_calls.iter().map(|(args, _)| String::from_utf8_lossy(&args[1]).into_owned()).collect()
    }

    fn stats() -> Stats {
        Stats::new(command::names())
    }

    #[test]
    fn a_slow_call_in_a_run_of_equal_ones_is_known() {
        let stats = stats();
        let mut tally = Tally::slower_than(&stats, SLOW);
        for small in ["a", "b", "c"] {
            get(&mut tally, small, 10, Duration::ZERO);
        }
        get(&mut tally, "large", 1 << 20, SLOW);
        get(&mut tally, "d", 10, Duration::ZERO);
        assert_eq!(slow_keys(tally), ["large"]);
    }

    #[test]
    fn many_quick_calls_are_no_slow_one() {
        let stats = stats();
        let mut tally = Tally::slower_than(&stats, SLOW);
        for _ in 0..10_000 {
            get(&mut tally, "small", 10, Duration::from_micros(2));
        }
        get(&mut tally, "large", 1 << 20, Duration::ZERO);
        assert!(slow_keys(tally).is_empty());
    }

    #[test]
    fn each_call_is_timed_alone_where_little_is_slow() {
        let stats = stats();
        let mut tally = Tally::slower_than(&stats, Duration::from_micros(500));
        get(&mut tally, "a", 10, Duration::ZERO);
        get(&mut tally, "b", 10, Duration::from_millis(1));
        assert!(slow_keys(tally).contains(&"b".to_owned()));
    }
}
