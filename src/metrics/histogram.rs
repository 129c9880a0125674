//! Latencies in buckets of fixed bounds: eight to an octave, so a bound is at most 12.5 % above what it stands for.
//!
//! The unit is 1/1024 µs. A microsecond is then a power of two, so the buckets fall together with those of
//! LATENCY HISTOGRAM, which are powers of two of a microsecond.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets per octave, as a power of two.
const SUB_BITS: u32 = 3;
const SUB: usize = 1 << SUB_BITS;
/// The highest octave: 2^36 units are 67 seconds. What is longer counts in the last bucket.
const OCTAVES: usize = 36;
/// How many buckets there are.
pub const BUCKETS: usize = (OCTAVES - SUB_BITS as usize + 2) * SUB;

/// Latencies as one thread records them.
#[derive(Debug)]
pub(super) struct LatencyCounters {
    buckets: Box<[AtomicU64; BUCKETS]>,
    nanos: AtomicU64,
}

/// Latencies, summed over the threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    buckets: Box<[u64; BUCKETS]>,
    nanos: u64,
}

impl Default for LatencyCounters {
    fn default() -> Self {
        Self { buckets: Box::new([const { AtomicU64::new(0) }; BUCKETS]), nanos: AtomicU64::new(0) }
    }
}

impl LatencyCounters {
    /// Records `count` events that took `total` together. Only the thread that owns the counters may.
    pub(super) fn record(&self, count: u64, total: Duration) {
        let nanos = u64::try_from(total.as_nanos()).unwrap_or(u64::MAX);
        add(&self.buckets[bucket(nanos / count.max(1))], count);
        add(&self.nanos, nanos);
    }

    pub(super) fn add_to(&self, sum: &mut Latencies) {
        for (sum, bucket) in sum.buckets.iter_mut().zip(self.buckets.iter()) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        sum.nanos = sum.nanos.wrapping_add(self.nanos.load(Ordering::Relaxed));
    }
}

/// Adds to a counter that only this thread writes: a load and a store are enough, and cost no locked instruction.
pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// The bucket of a latency.
fn bucket(nanos: u64) -> usize {
    // 128/125 nanoseconds are one unit.
    let units = nanos.saturating_mul(128) / 125;
    let octave = units.max(1).ilog2();
    if octave < SUB_BITS {
        return usize::try_from(units).expect("less than a whole octave of buckets");
    }
    let shift = octave - SUB_BITS;
    let sub = usize::try_from(units >> shift).expect("less than two octaves of buckets") - SUB;
    ((shift as usize + 1) * SUB + sub).min(BUCKETS - 1)
}

/// The latencies below which a bucket lies, in nanoseconds.
fn bound_nanos(bucket: usize) -> f64 {
    let units = if bucket < SUB { bucket + 1 } else { (SUB + bucket % SUB + 1) << (bucket / SUB - 1) };
    units as f64 * 125.0 / 128.0
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), nanos: 0 }
    }
}

impl Latencies {
    /// How many events were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How long they took together.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// A latency that `percent` of the events did not exceed; zero if there were none.
    ///
    /// It is the upper bound of a bucket, so up to 12.5 % above the true one.
    pub fn percentile(&self, percent: f64) -> Duration {
        let count = self.count();
        if count == 0 {
            return Duration::ZERO;
        }
        let wanted = (percent / 100.0 * count as f64).ceil().max(1.0);
        let mut seen = 0;
        let reached = |events: &u64| {
            seen += events;
            seen as f64 >= wanted
        };
        let at = self.buckets.iter().position(reached).unwrap_or(BUCKETS - 1);
        Duration::from_secs_f64(bound_nanos(at) / 1e9)
    }

    /// For each power of two of a microsecond at which the count grows: the bound in microseconds, and how many events
    /// took no longer: what LATENCY HISTOGRAM shows.
    pub fn by_powers_of_two(&self) -> Vec<(u64, u64)> {
        let mut cumulated = Vec::new();
        let mut seen = 0;
        // The octave that ends at one microsecond is the tenth; all below count in it.
        for (octave, buckets) in self.buckets.chunks_exact(SUB).enumerate() {
            let events: u64 = buckets.iter().sum();
            seen += events;
            let micros = 1_u64 << (octave + SUB_BITS as usize).saturating_sub(10);
            match cumulated.last_mut() {
                Some((last, count)) if *last == micros => *count = seen,
                _ if events > 0 => cumulated.push((micros, seen)),
                _ => {}
            }
        }
        cumulated
    }

    /// How many events took at most about `seconds`, for the buckets of Prometheus.
    pub fn at_most(&self, seconds: f64) -> u64 {
        let nanos = seconds * 1e9;
        let counted = |at: &usize| bound_nanos(*at) <= nanos * 1.000_001;
        (0..BUCKETS).filter(counted).map(|at| self.buckets[at]).sum()
    }

    /// Adds the events of `other`.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *sum += more;
        }
        self.nanos = self.nanos.wrapping_add(other.nanos);
    }

    /// Takes away the events that `base`, an earlier state of the same latencies, already had.
    pub(super) fn subtract(&mut self, base: &Self) {
        for (sum, less) in self.buckets.iter_mut().zip(base.buckets.iter()) {
            *sum -= less;
        }
        self.nanos = self.nanos.wrapping_sub(base.nanos);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recorded(events: &[u64]) -> Latencies {
        let counters = LatencyCounters::default();
        for nanos in events {
            counters.record(1, Duration::from_nanos(*nanos));
        }
        let mut sum = Latencies::default();
        counters.add_to(&mut sum);
        sum
    }

    #[test]
    fn percentiles_are_an_eighth_too_high_at_most() {
        let latencies = recorded(&(1..=1000).map(|micros| micros * 1000).collect::<Vec<_>>());
        for (percent, micros) in [(0.0, 1.0), (50.0, 500.0), (99.0, 990.0), (99.9, 999.0), (100.0, 1000.0)] {
            let found = latencies.percentile(percent).as_secs_f64() * 1e6;
            assert!((micros..=micros * 1.13).contains(&found), "{percent} %: {found}, not {micros}");
        }
        assert_eq!(latencies.count(), 1000);
        assert_eq!(latencies.total(), Duration::from_micros(500_500));
        assert_eq!(recorded(&[]).percentile(99.0), Duration::ZERO);
    }

    #[test]
    fn the_histogram_counts_by_powers_of_two() {
        let latencies = recorded(&[10, 900, 1_500, 3_000, 3_900, 100_000]);
        assert_eq!(latencies.by_powers_of_two(), [(1, 2), (2, 3), (4, 5), (128, 6)]);
    }

    #[test]
    fn a_batch_counts_its_mean() {
        let counters = LatencyCounters::default();
        counters.record(10, Duration::from_micros(20));
        let mut sum = Latencies::default();
        counters.add_to(&mut sum);
        assert_eq!((sum.count(), sum.total()), (10, Duration::from_micros(20)));
        assert_eq!(sum.by_powers_of_two(), [(4, 10)]);
    }

    #[test]
    fn prometheus_buckets_grow() {
        let latencies = recorded(&[1_000, 1_000_000, 1_000_000_000, u64::MAX]);
        assert_eq!(latencies.at_most(1e-7), 0);
        assert_eq!(latencies.at_most(0.000_01), 1);
        assert_eq!(latencies.at_most(0.002), 2);
        assert_eq!(latencies.at_most(2.0), 3);
    }

    proptest! {
        #[test]
        fn every_latency_lies_below_the_bound_of_its_bucket(nanos in 0_u64..60_000_000_000) {
            let at = bucket(nanos);
            prop_assert!(nanos as f64 <= bound_nanos(at) + 1.0, "{nanos} in {at}");
            prop_assert!(at < SUB || nanos as f64 + 1.0 >= bound_nanos(at - 1), "{nanos} in {at}");
        }
    }
}
