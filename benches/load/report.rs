//! The figures of a run.

use crate::histogram::Histogram;
use crate::options::Options;

/// What one thread has counted, or all of them together.
#[derive(Default)]
pub(crate) struct Report {
    /// Replies in each second of the run.
    pub(crate) seconds: Vec<u64>,
    /// Microseconds from the writing of a pipeline (or, at a given rate, from when it was due) to each reply.
    pub(crate) latency: Histogram,
    /// Error replies.
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// Connections that ended before their time.
    pub(crate) broken: u64,
    /// Values that nobody wrote.
    pub(crate) wrong: u64,
    /// Reads that did not see an acknowledged write.
    pub(crate) lost: u64,
    /// GETs that found a value, and that did not.
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl Report {
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.seconds.len() < other.seconds.len() {
            self.seconds.resize(other.seconds.len(), 0);
        }
        for (mine, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            *mine += theirs;
        }
        self.latency.merge(&other.latency);
        self.errors += other.errors;
        self.broken += other.broken;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.hits += other.hits;
        self.misses += other.misses;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    pub(crate) fn count(&mut self, second: u64, replies: u64) {
        let at = usize::try_from(second).expect("a run is shorter than 2^32 seconds");
        if self.seconds.len() <= at {
            self.seconds.resize(at + 1, 0);
        }
        self.seconds[at] += replies;
    }

    pub(crate) fn note_error(&mut self, text: &str) {
        if self.first_error.is_none() {
            self.first_error = Some(text.to_owned());
        }
    }

    pub(crate) fn print(&self, options: &Options) {
        let mut measured: Vec<u64> = self.measured(options).to_vec();
        measured.sort_unstable();
        let total: u64 = measured.iter().sum();
        let median = measured.get(measured.len() / 2).copied().unwrap_or(0);
        let worst = measured.first().copied().unwrap_or(0);
        let mean = total / u64::try_from(measured.len().max(1)).expect("seconds of a run");
        let [p50, p99, p999] = [500, 990, 999].map(|share| self.latency.quantile(share));
        let max = self.latency.max();
        let Self { errors, broken, wrong, lost, hits, misses, .. } = self;
        if options.json {
            println!(
                "{{\"operations\":{total},\"mean\":{mean},\"median\":{median},\"worst\":{worst},\"p50_us\":{p50},\
                 \"p99_us\":{p99},\"p999_us\":{p999},\"max_us\":{max},\"errors\":{errors},\"broken\":{broken},\
                 \"wrong\":{wrong},\"lost\":{lost},\"hits\":{hits},\"misses\":{misses}}}"
            );
        } else {
            println!("operations {total}, a second: mean {mean}, median {median}, worst {worst}");
            println!("latency in µs: p50 {p50}, p99 {p99}, p99.9 {p999}, max {max}");
            println!(
                "errors {errors}, connections broken {broken}, wrong values {wrong}, lost writes {lost}"
            );
            println!("reads: {hits} found a value, {misses} none");
        }
        if let Some(text) = &self.first_error {
            eprintln!("load: the first error: {text}");
        }
    }

    /// The whole seconds after the warm-up; a preload ends in the middle of one, which is kept if it is the only one.
    fn measured(&self, options: &Options) -> &[u64] {
        let whole = if options.preload { self.seconds.len() - 1 } else { index(options.seconds) };
        let end = whole.min(self.seconds.len());
        let start = index(options.warmup).min(end);
        if start == end { &self.seconds } else { &self.seconds[start..end] }
    }
}

fn index(seconds: u64) -> usize {
    usize::try_from(seconds).expect("a run is shorter than 2^32 seconds")
}
