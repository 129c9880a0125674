//! Clients of a cluster in the background, which remember what was acknowledged and how long that took.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Cluster, ClusterClient, Ledger};

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    faults: Mutex<Vec<String>>,
    latencies: Mutex<Vec<Duration>>,
}

/// Writers, one command at a time each; every fourth command reads what was written. They go on until they are stopped.
pub(crate) struct ClusterLoad {
    workers: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// What a load has seen.
pub(crate) struct Seen {
    pub(crate) acknowledged: u64,
    /// Writes of which nobody knows what became of them.
    pub(crate) unknown: u64,
    /// Of the commands with a known outcome, in order.
    pub(crate) latencies: Vec<Duration>,
}

impl ClusterLoad {
    /// Starts `count` clients; client `n` writes the keys `n`, `n + count`, … of the ledger at random.
    pub(crate) fn start(cluster: &Cluster, ledger: &Arc<Ledger>, count: u64, seed: u64) -> Self {
        Self::with(ledger, count, seed, || cluster.client())
    }

    /// As [`ClusterLoad::start`], with clients made in another way.
    pub(crate) fn with(
        ledger: &Arc<Ledger>,
        count: u64,
        seed: u64,
        client: impl Fn() -> ClusterClient,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let workers = (0..count)
            .map(|number| {
                let (client, ledger, shared) = (client(), Arc::clone(ledger), Arc::clone(&shared));
                let random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number));
                std::thread::spawn(move || work(client, &ledger, &shared, random, (number, count)))
            })
            .collect();
        Self { workers, shared }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Stops the clients when each has got the answer it waits for; panics if one has read what it must not.
    pub(crate) fn stop(self) -> Seen {
        self.shared.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.join().unwrap();
        }
        let faults = self.shared.faults.lock().unwrap();
        assert!(faults.is_empty(), "{} reads were wrong, first: {}", faults.len(), faults[0]);
        let mut latencies = std::mem::take(&mut *self.shared.latencies.lock().unwrap());
        latencies.sort_unstable();
        Seen {
            acknowledged: self.shared.acknowledged.load(Ordering::Relaxed),
            unknown: self.shared.unknown.load(Ordering::Relaxed),
            latencies,
        }
    }
}

impl Seen {
    /// The latency that so many of a thousand commands did not exceed.
    pub(crate) fn latency(&self, per_mille: usize) -> Duration {
        self.latencies[(self.latencies.len() - 1) * per_mille / 1000]
    }
}

fn work(
    mut client: ClusterClient,
    ledger: &Ledger,
    shared: &Shared,
    mut random: fastrand::Rng,
    (number, count): (u64, u64),
) {
    let own = (ledger.workload.keys - number).div_ceil(count);
    let mut latencies = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let key = number + random.u64(0..own) * count;
        let start = Instant::now();
        if random.u8(0..4) == 0 {
            if let Err(fault) = client.check(ledger, key) {
                shared.faults.lock().unwrap().push(fault);
            }
        } else if client.write(ledger, key) {
            shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        } else {
            shared.unknown.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        latencies.push(start.elapsed());
    }
    shared.latencies.lock().unwrap().extend(latencies);
}
