//! The counters of all threads: who has them, their sum, and their reset.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::counters::{Counter, Local};
use super::histogram::Latencies;

/// The counters of a node.
pub struct Stats {
    /// Tells the nodes of one process apart (tests run several).
    id: u64,
    commands: Vec<String>,
    shared: Mutex<Shared>,
}

struct Shared {
    /// The counters of every thread that has counted something, also of those that have ended.
    locals: Vec<Arc<Local>>,
    /// The sums at the last reset. The counters themselves are never set back: only their thread writes them.
    base: Totals,
    samples: VecDeque<Sample>,
    memory_peak_bytes: u64,
}

/// The sums of all threads since the last reset.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub(super) counters: [u64; Counter::ALL.len()],
    /// By the place of the command in the list of names; only those that were called or refused.
    pub commands: BTreeMap<usize, CommandTotals>,
    /// Error replies by their first word.
    pub errors: BTreeMap<String, u64>,
    /// HTTP requests.
    pub http: BTreeMap<HttpKey, Latencies>,
    /// The names of the commands.
    pub command_names: Vec<String>,
    /// What was going on when the last samples were taken.
    pub rates: Rates,
    /// The most memory in use at any sample since the node started.
    pub memory_peak_bytes: u64,
}

/// What HTTP requests are told apart by. All of it comes from fixed lists, so no client can make the map grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpKey {
    /// The method, or `other`.
    pub method: &'static str,
    /// The route, not the path: `/kv/{key}`.
    pub endpoint: &'static str,
    /// The status of the answer.
    pub status: u16,
}

/// The sums of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandTotals {
    /// Times it ran.
    pub calls: u64,
    /// Times it answered with an error.
    pub failed: u64,
    /// Times it was refused before it ran.
    pub rejected: u64,
    /// How long it took.
    pub latencies: Latencies,
}

/// What happens per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Commands.
    pub commands: f64,
    /// Bytes from clients.
    pub input_bytes: f64,
    /// Bytes to clients.
    pub output_bytes: f64,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    /// Commands, bytes in, bytes out.
    counts: [u64; 3],
}

/// The rates are taken over at least this time, so that one burst is not shown as a steady load.
const RATE_WINDOW: Duration = Duration::from_millis(1500);

thread_local! {
    /// The counters of this thread, for each node it works for.
    static LOCALS: RefCell<Vec<(u64, Arc<Local>)>> = const { RefCell::new(Vec::new()) };
}

impl Stats {
    /// The counters of a node whose commands have these names (`get`, `config|set`). Commands are counted by their
    /// place in the list.
    pub fn new(commands: Vec<String>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let shared = Shared {
            locals: Vec::new(),
            base: Totals::default(),
            samples: VecDeque::new(),
            memory_peak_bytes: 0,
        };
        Self { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), commands, shared: Mutex::new(shared) }
    }

    /// Gives `body` the counters of this thread. Look them up once a batch, not once a command.
    /// `body` must not count for another node.
    pub fn local<R>(&self, body: impl FnOnce(&Local) -> R) -> R {
        let place = |locals: &[(u64, Arc<Local>)]| locals.iter().position(|(id, _)| *id == self.id);
        if LOCALS.with_borrow(|locals| place(locals).is_none()) {
            let local = self.adopt();
            LOCALS.with_borrow_mut(|locals| {
                // A node that is gone leaves its counters to its threads alone.
                locals.retain(|(_, local)| Arc::strong_count(local) > 1);
                locals.push((self.id, local));
            });
        }
        LOCALS.with_borrow(|locals| body(&locals[place(locals).expect("it was found or added above")].1))
    }

    /// Counts `amount` of `counter` on this thread.
    pub fn count(&self, counter: Counter, amount: u64) {
        self.local(|local| local.count(counter, amount));
    }

    /// Counters for this thread: those of a thread that has ended, if there are any.
    fn adopt(&self) -> Arc<Local> {
        let mut shared = self.shared.lock().expect("no holder panics");
        // `get_mut` succeeds only if no thread has them, and sees all that the last one wrote.
        if let Some(orphan) =
            shared.locals.iter_mut().find_map(|local| Arc::get_mut(local).is_some().then_some(local))
        {
            return Arc::clone(orphan);
        }
        let local = Arc::new(Local::new(self.commands.len()));
        shared.locals.push(Arc::clone(&local));
        local
    }

    /// The sums since the last reset.
    pub fn totals(&self) -> Totals {
        let shared = self.shared.lock().expect("no holder panics");
        let mut totals = shared.sum();
        totals.subtract(&shared.base);
        totals.command_names.clone_from(&self.commands);
        totals.rates = shared.rates();
        totals.memory_peak_bytes = shared.memory_peak_bytes;
        totals
    }

    /// Starts all sums anew: CONFIG RESETSTAT.
    pub fn reset(&self) {
        let mut shared = self.shared.lock().expect("no holder panics");
        shared.base = shared.sum();
    }

    /// Notes how far the sums have come at `now`, a monotonic time, for the rates; and the memory in use. To be called
    /// about once a second.
    pub fn sample(&self, now: Duration, memory_used_bytes: u64) {
        let mut shared = self.shared.lock().expect("no holder panics");
        let sum = shared.sum();
        let counts = [sum.calls(), sum.get(Counter::NetInputBytes), sum.get(Counter::NetOutputBytes)];
        shared.samples.push_back(Sample { at: now, counts });
        // The oldest sample that is kept is the youngest one that is old enough.
        while shared.samples.get(1).is_some_and(|next| now.saturating_sub(next.at) >= RATE_WINDOW) {
            shared.samples.pop_front();
        }
        shared.memory_peak_bytes = shared.memory_peak_bytes.max(memory_used_bytes);
    }
}

impl Shared {
    fn sum(&self) -> Totals {
        let mut totals = Totals::default();
        for local in &self.locals {
            local.add_to(&mut totals);
        }
        totals
    }

    fn rates(&self) -> Rates {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return Rates::default();
        };
        let seconds = last.at.saturating_sub(first.at).as_secs_f64();
        if seconds <= 0.0 {
            return Rates::default();
        }
        let [commands, input_bytes, output_bytes] =
            [0, 1, 2].map(|at| last.counts[at].saturating_sub(first.counts[at]) as f64 / seconds);
        Rates { commands, input_bytes, output_bytes }
    }
}

impl Totals {
    /// The sum of one counter.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// How many commands ran.
    pub fn calls(&self) -> u64 {
        self.commands.values().map(|command| command.calls).sum()
    }

    /// The commands that were called or refused, with their names, in the order of the list.
    pub fn named_commands(&self) -> impl Iterator<Item = (&str, &CommandTotals)> {
        self.commands.iter().map(|(at, totals)| (self.command_names[*at].as_str(), totals))
    }

    fn subtract(&mut self, base: &Self) {
        for (sum, less) in self.counters.iter_mut().zip(base.counters) {
            *sum -= less;
        }
        for (command, base) in &base.commands {
            let totals = self.commands.get_mut(command).expect("no thread forgets a command");
            totals.calls -= base.calls;
            totals.failed -= base.failed;
            totals.rejected -= base.rejected;
            totals.latencies.subtract(&base.latencies);
        }
        for (kind, base) in &base.errors {
            *self.errors.get_mut(kind).expect("no thread forgets an error") -= base;
        }
        for (key, base) in &base.http {
            self.http.get_mut(key).expect("no thread forgets a request").subtract(base);
        }
        self.http.retain(|_, latencies| latencies.count() > 0);
        self.commands.retain(|_, totals| totals.calls + totals.rejected > 0);
        self.errors.retain(|_, count| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> Stats {
        Stats::new(vec!["get".to_string(), "set".to_string()])
    }

    #[test]
    fn the_counters_of_all_threads_are_summed_and_outlive_them() {
        let stats = stats();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        stats.local(|local| {
                            local.count(Counter::KeyspaceHits, 2);
                            local.command(1, 1, Duration::from_micros(3));
                        });
                    }
                });
            }
        });
        let totals = stats.totals();
        assert_eq!(totals.get(Counter::KeyspaceHits), 8000);
        assert_eq!(totals.calls(), 4000);
        let (name, set) = totals.named_commands().next().unwrap();
        assert_eq!((name, set.calls, set.latencies.total()), ("set", 4000, Duration::from_millis(12)));
    }

    #[test]
    fn a_new_thread_takes_over_the_counters_of_one_that_ended() {
        let stats = stats();
        for _ in 0..10 {
            std::thread::scope(|scope| {
                scope.spawn(|| stats.count(Counter::Reads, 1));
            });
        }
        // The scope may return before the thread's locals are gone, so two may be in turns.
        assert!(stats.shared.lock().unwrap().locals.len() <= 3);
        assert_eq!(stats.totals().get(Counter::Reads), 10);
    }

    #[test]
    fn two_nodes_on_one_thread_count_apart() {
        let (one, other) = (stats(), stats());
        one.count(Counter::Reads, 1);
        other.count(Counter::Reads, 5);
        one.count(Counter::Reads, 1);
        assert_eq!((one.totals().get(Counter::Reads), other.totals().get(Counter::Reads)), (2, 5));
    }

    #[test]
    fn a_reset_starts_the_sums_anew() {
        let stats = stats();
        stats.local(|local| {
            local.command(0, 3, Duration::from_micros(3));
            local.command_failed(0);
            local.command_rejected(1);
            local.error(b"WRONGTYPE Operation against a key");
        });
        stats.sample(Duration::from_secs(1), 77);
        assert_eq!(stats.totals().memory_peak_bytes, 77);
        stats.reset();
        let totals = stats.totals();
        assert_eq!((totals.calls(), totals.commands.len(), totals.errors.len()), (0, 0, 0));
        assert_eq!(totals.get(Counter::ErrorReplies), 0);
        assert_eq!(totals.memory_peak_bytes, 77, "the peak is no sum, and stays, as in Redis");
        stats.local(|local| local.command(0, 2, Duration::from_micros(1)));
        assert_eq!(stats.totals().commands[&0].calls, 2);
        assert_eq!(stats.totals().commands[&0].latencies.count(), 2);
    }

    #[test]
    fn errors_count_by_their_first_word_and_never_without_bound() {
        let stats = stats();
        stats.local(|local| {
            local.error(b"ERR syntax error");
            local.error(b"ERR no such key");
            local.error(b"WRONGTYPE Operation");
        });
        let totals = stats.totals();
        assert_eq!(totals.errors, BTreeMap::from([("ERR".to_string(), 2), ("WRONGTYPE".to_string(), 1)]));
        for made_up in 0..1000 {
            stats.local(|local| local.error(format!("E{made_up} x").as_bytes()));
        }
        assert!(stats.totals().errors.len() <= 129);
        assert_eq!(stats.totals().errors.values().sum::<u64>(), 1003);
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let stats = stats();
        assert_eq!(stats.totals().rates, Rates::default());
        for second in 0..10 {
            stats.sample(Duration::from_secs(second), 0);
            let calls = if second < 5 { 1000 } else { 10 };
            stats.local(|local| {
                local.command(0, calls, Duration::from_micros(1));
                local.count(Counter::NetInputBytes, 2048);
            });
        }
        let rates = stats.totals().rates;
        assert_eq!((rates.commands, rates.input_bytes, rates.output_bytes), (10.0, 2048.0, 0.0));
    }
}
