//! Writers that remember what was acknowledged, and the comparison with what is there afterwards.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::resp::{self, Reply};
use super::{Client, Ledger, Server, Workload};

/// Commands that a writer sends at once.
const PIPELINE: usize = 16;
/// Keys that are read back at once.
const BATCH: usize = 256;

/// Writers in the background. They end when the server goes away, or when they are told to.
pub(crate) struct Load {
    writers: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
}

impl Load {
    /// Starts `count` writers; writer `n` writes the keys `n`, `n + count`, … of the ledger at random.
    pub(crate) fn start(server: &Server, ledger: &Arc<Ledger>, count: u64, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let writers = (0..count)
            .map(|number| {
                let mut client = server.client();
                let (ledger, stop, total) =
                    (Arc::clone(ledger), Arc::clone(&stop), Arc::clone(&acknowledged));
                let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number));
                std::thread::spawn(move || {
                    let own = (ledger.workload.keys - number).div_ceil(count);
                    while !stop.load(Ordering::Relaxed) {
                        let numbers: Vec<u64> =
                            (0..PIPELINE).map(|_| number + random.u64(0..own) * count).collect();
                        // An error is how a writer learns that the server was killed.
                        let Ok(done) = write(&mut client, &ledger, &numbers) else { break };
                        total.fetch_add(done, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Self { writers, stop, acknowledged }
    }

    /// How many writes were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits for the writers, who have nobody to write to any more.
    pub(crate) fn join(self) -> u64 {
        for writer in self.writers {
            writer.join().unwrap();
        }
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Stops the writers when each has got the answers it waits for.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }
}

/// Writes the keys as one pipeline and enters in the ledger what was acknowledged; returns how many were.
pub(crate) fn write(client: &mut Client, ledger: &Ledger, numbers: &[u64]) -> io::Result<u64> {
    let (mut request, mut name, mut value) = (Vec::new(), Vec::new(), Vec::new());
    let mut sequences = Vec::with_capacity(numbers.len());
    for number in numbers {
        let sequence = ledger.send(*number);
        sequences.push(sequence);
        name.clear();
        Workload::key(*number, &mut name);
        value.clear();
        ledger.workload.value(*number, sequence, &mut value);
        resp::command(&[b"SET", &name, &value], &mut request);
    }
    client.send(&request)?;
    let mut done = 0;
    for (number, sequence) in numbers.iter().zip(sequences) {
        let acknowledged = client.receive(|reply| reply == Reply::Status(b"OK"))?;
        if acknowledged {
            ledger.acknowledge(*number, sequence);
            done += 1;
        }
    }
    Ok(done)
}

/// Reads every key that was ever sent and panics unless it has a value that it may have: the last acknowledged one or
/// a later one. What was read counts as acknowledged from then on, since a client has seen it.
pub(crate) fn verify(server: &Server, ledger: &Ledger, context: &str) -> u64 {
    let sent: Vec<u64> = (0..ledger.workload.keys).filter(|number| ledger.bounds(*number).1 > 0).collect();
    let lost = count_lost(server, ledger, &sent);
    assert!(
        lost.is_empty(),
        "{context}: {} of {} keys, first: {}\n{}",
        lost.len(),
        sent.len(),
        lost[0],
        server.output()
    );
    sent.len() as u64
}

/// As [`verify`], but returns what is not as it must be.
pub(crate) fn count_lost(server: &Server, ledger: &Ledger, numbers: &[u64]) -> Vec<String> {
    let mut client = server.client();
    let (mut lost, mut scratch) = (Vec::new(), Vec::new());
    for batch in numbers.chunks(BATCH) {
        let mut request = Vec::new();
        for number in batch {
            let mut name = Vec::new();
            Workload::key(*number, &mut name);
            resp::command(&[b"GET", &name], &mut request);
        }
        client.send(&request).unwrap();
        for number in batch {
            let (acknowledged, sent) = ledger.bounds(*number);
            let found = client.receive(|reply| match reply {
                Reply::Bulk(value) => {
                    ledger.workload.sequence_of(*number, value, &mut scratch).ok_or("a foreign value")
                }
                Reply::Null => Ok(0),
                _ => Err("an error"),
            });
            match found.unwrap() {
                Ok(sequence) if acknowledged <= sequence && sequence <= sent => {
                    ledger.observe(*number, sequence)
                }
                found => {
                    lost.push(format!("key {number} has {found:?}; acknowledged {acknowledged}, sent {sent}"))
                }
            }
        }
    }
    lost
}
