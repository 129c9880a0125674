//! The counters of one thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::histogram::{LatencyCounters, add};
use super::stats::{CommandTotals, HttpKey, Totals};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What is counted one by one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Counter { $($(#[doc = $doc])+ $name,)+ }

        impl Counter {
            /// All counters, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

counters! {
    /// Connections accepted.
    ConnectionsReceived,
    /// Connections refused because of `maxclients`.
    ConnectionsRejected,
    /// Bytes read from clients.
    NetInputBytes,
    /// Bytes written to clients.
    NetOutputBytes,
    /// Reads from the sockets of clients.
    Reads,
    /// Writes to the sockets of clients.
    Writes,
    /// Look-ups of keys by reading commands that found one.
    KeyspaceHits,
    /// Look-ups of keys by reading commands that found none.
    KeyspaceMisses,
    /// Keys deleted because their time had come.
    KeysExpired,
    /// Error replies sent.
    ErrorReplies,
    /// Clients closed because of `client-query-buffer-limit`.
    QueryBufferDisconnections,
    /// Clients closed because of `client-output-buffer-limit`.
    OutputBufferDisconnections,
    /// Failed attempts to log in.
    AuthFailures,
    /// Commands that stopped because what they need is on disk.
    StopsDisk,
    /// Commands that stopped because they take long.
    StopsLong,
    /// Commands that stopped because a key is due by the present time only.
    StopsStamp,
    /// Read permits handed out.
    ReadPermits,
}

/// The counters that one thread writes and any may read.
#[derive(Debug)]
pub struct Local {
    counters: [AtomicU64; Counter::ALL.len()],
    /// One slot per command, made when the thread first runs it.
    commands: Box<[OnceLock<Box<CommandCounters>>]>,
    /// Error replies by their first word. Errors are rare enough for a lock that no one else wants.
    errors: Mutex<BTreeMap<String, u64>>,
    /// HTTP requests. They cost microseconds anyway, so a lock that no one else wants does not matter.
    http: Mutex<BTreeMap<HttpKey, LatencyCounters>>,
}

/// Kinds of errors that are told apart; what a script makes up beyond them counts as one.
const ERRORS_MAX: usize = 128;
/// The kind they then count as.
const ERRORS_OTHER: &str = "ERRORSTATS_OVERFLOW";

#[derive(Debug, Default)]
struct CommandCounters {
    calls: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    latencies: LatencyCounters,
}

impl Local {
    pub(super) fn new(commands: usize) -> Self {
        Self {
            counters: [const { AtomicU64::new(0) }; Counter::ALL.len()],
            commands: (0..commands).map(|_| OnceLock::new()).collect(),
            errors: Mutex::new(BTreeMap::new()),
            http: Mutex::new(BTreeMap::new()),
        }
    }

    /// Counts `amount` of `counter`.
    pub fn count(&self, counter: Counter, amount: u64) {
        add(&self.counters[counter as usize], amount);
    }

    /// Counts `calls` of a command that took `total` together; the mean stands for each of them. `command` is its
    /// place in the list of names that [`super::Stats::new`] was given.
    pub fn command(&self, command: usize, calls: u64, total: Duration) {
        let counters = self.of_command(command);
        add(&counters.calls, calls);
        counters.latencies.record(calls, total);
    }

    /// Counts `calls` of a command without their latencies (`latency-tracking no`).
    pub fn command_untimed(&self, command: usize, calls: u64) {
        add(&self.of_command(command).calls, calls);
    }

    /// Counts a call that answered with an error, beside [`Local::command`].
    pub fn command_failed(&self, command: usize) {
        add(&self.of_command(command).failed, 1);
    }

    /// Counts a command that was refused before it ran (arity, authentication, no memory …).
    pub fn command_rejected(&self, command: usize) {
        add(&self.of_command(command).rejected, 1);
    }

    /// Counts an error reply: `error` is its text without the `-`, of which the first word names the kind.
    pub fn error(&self, error: &[u8]) {
        self.count(Counter::ErrorReplies, 1);
        let kind = error.split(|&byte| byte == b' ').next().unwrap_or_default();
        let kind = std::str::from_utf8(kind).unwrap_or(ERRORS_OTHER);
        let mut errors = self.errors.lock().expect("no holder panics");
        if let Some(count) = errors.get_mut(kind) {
            *count += 1;
            return;
        }
        let kind = if errors.len() < ERRORS_MAX { kind } else { ERRORS_OTHER };
        *errors.entry(kind.to_string()).or_default() += 1;
    }

    /// Counts an HTTP request that was answered after `elapsed`.
    pub fn http(&self, key: HttpKey, elapsed: Duration) {
        self.http.lock().expect("no holder panics").entry(key).or_default().record(1, elapsed);
    }

    fn of_command(&self, command: usize) -> &CommandCounters {
        self.commands[command].get_or_init(Box::default)
    }

    pub(super) fn add_to(&self, totals: &mut Totals) {
        for (total, counter) in totals.counters.iter_mut().zip(&self.counters) {
            *total += counter.load(Ordering::Relaxed);
        }
        for (command, counters) in self.commands.iter().enumerate() {
            if let Some(counters) = counters.get() {
                counters.add_to(totals.commands.entry(command).or_default());
            }
        }
        for (kind, count) in self.errors.lock().expect("no holder panics").iter() {
            *totals.errors.entry(kind.clone()).or_default() += count;
        }
        for (key, latencies) in self.http.lock().expect("no holder panics").iter() {
            latencies.add_to(totals.http.entry(*key).or_default());
        }
    }
}

impl CommandCounters {
    fn add_to(&self, totals: &mut CommandTotals) {
        totals.calls += self.calls.load(Ordering::Relaxed);
        totals.failed += self.failed.load(Ordering::Relaxed);
        totals.rejected += self.rejected.load(Ordering::Relaxed);
        self.latencies.add_to(&mut totals.latencies);
    }
}
