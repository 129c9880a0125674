//! The same work for every engine: what `db_bench` calls fillrandom, overwrite, readrandom, readmissing and scan.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::engine::{Engine, MEASURED, Write};

/// Records written as one batch, as one entry of the log would.
const BATCH: usize = 64;
/// Bytes of a value; random, so that LZ4 gains nothing on them.
const VALUE_BYTES: usize = 72;
/// Records of one scan.
const SCAN: usize = 100;

/// How one workload went.
pub struct Measure {
    pub workload: &'static str,
    pub operations: u64,
    pub elapsed: Duration,
    /// From the first operation until the engine has come to rest.
    pub settled: Duration,
    /// Time on a processor until then, of all threads: what a busy machine does not distort.
    pub busy: Duration,
    /// Bytes that this process gave to write calls, for each byte of keys and values written.
    pub write_amplification: Option<f64>,
    pub filters: Option<(u64, u64, u64)>,
}

/// Keys of the real shape: family, keyspace, slot and hash, then 16 bytes of a user's key. Present keys have even
/// numbers, absent ones odd numbers, and the hash mixes them: absent keys lie between present ones.
pub fn key(number: u64) -> Vec<u8> {
    let hash = mix(number);
    let mut key = Vec::with_capacity(29);
    key.push(1);
    key.extend_from_slice(&7_u32.to_be_bytes());
    key.extend_from_slice(&hash.to_be_bytes());
    key.extend_from_slice(format!("key:{number:012}").as_bytes());
    key
}

/// The finalizer of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn value(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = vec![0; VALUE_BYTES];
    random.fill(&mut bytes);
    bytes
}

/// Runs all workloads on a fresh engine over `records` keys.
pub fn run<E: Engine>(records: u64, seed: u64) -> Vec<Measure> {
    let dir = tempfile::tempdir().expect("a directory for the store");
    let mut engine = E::open(dir.path(), &MEASURED);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut order: Vec<u64> = (0..records).map(|number| number * 2).collect();
    random.shuffle(&mut order);
    let mut measures = vec![write(&mut engine, "fillrandom", &order, &mut random)];
    order.fill_with(|| random.u64(0..records) * 2);
    measures.push(write(&mut engine, "overwrite", &order, &mut random));
    let reads = usize::try_from(records.min(1_000_000)).expect("a count in memory");
    let present: Vec<Vec<u8>> = order[..reads].iter().map(|number| key(*number)).collect();
    measures.push(read(&mut engine, "readrandom", &present, true));
    let absent: Vec<Vec<u8>> = order[..reads].iter().map(|number| key(*number + 1)).collect();
    measures.push(read(&mut engine, "readmissing", &absent, false));
    measures.push(scan(&mut engine, &present[..reads / 50]));
    measures
}

fn write<E: Engine>(
    engine: &mut E,
    workload: &'static str,
    order: &[u64],
    random: &mut fastrand::Rng,
) -> Measure {
    let batches: Vec<Vec<Write>> = order
        .chunks(BATCH)
        .map(|chunk| {
            let mut batch: Vec<Write> =
                chunk.iter().map(|number| (key(*number), Some(value(random)))).collect();
            batch.sort();
            batch.dedup_by(|a, b| a.0 == b.0);
            batch
        })
        .collect();
    let operations: u64 = batches.iter().map(|batch| batch.len() as u64).sum();
    let user_bytes = operations * (29 + VALUE_BYTES as u64);
    let (written, busy, start) = (written_bytes(), busy_time(), Instant::now());
    for batch in &batches {
        engine.write(batch);
    }
    let elapsed = start.elapsed();
    engine.settle();
    let settled = start.elapsed();
    let busy = busy_time() - busy;
    let written = written_bytes() - written;
    let write_amplification = Some(written as f64 / user_bytes as f64);
    Measure { workload, operations, elapsed, settled, busy, write_amplification, filters: None }
}

fn read<E: Engine>(engine: &mut E, workload: &'static str, keys: &[Vec<u8>], present: bool) -> Measure {
    let mut buffer = Vec::new();
    // The first pass fills the caches, the second is measured.
    let mut pass = |engine: &mut E| {
        for key in keys {
            buffer.clear();
            assert_eq!(engine.get(key, &mut buffer), present, "{workload} of {key:?}");
        }
    };
    pass(engine);
    let (filters, busy, start) = (engine.filters(), busy_time(), Instant::now());
    pass(engine);
    let (elapsed, busy) = (start.elapsed(), busy_time() - busy);
    let filters =
        engine.filters().zip(filters).map(|(now, then)| (now.0 - then.0, now.1 - then.1, now.2 - then.2));
    let operations = keys.len() as u64;
    Measure { workload, operations, elapsed, settled: elapsed, busy, write_amplification: None, filters }
}

fn scan<E: Engine>(engine: &mut E, from: &[Vec<u8>]) -> Measure {
    let (mut records, mut bytes) = (0, 0);
    let (busy, start) = (busy_time(), Instant::now());
    for key in from {
        engine.scan(key, SCAN, &mut |key, value| {
            records += 1;
            bytes += key.len() + value.len();
        });
    }
    let (elapsed, busy) = (start.elapsed(), busy_time() - busy);
    assert!(bytes > 0, "a scan from a present key finds it");
    Measure {
        workload: "scan",
        operations: records,
        elapsed,
        settled: elapsed,
        busy,
        write_amplification: None,
        filters: None,
    }
}

/// Bytes that this process has given to write calls so far.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("Linux counts what a process writes");
    let line = io.lines().find(|line| line.starts_with("wchar:")).expect("wchar is one of the counters");
    line["wchar:".len()..].trim().parse().expect("a counter is a number")
}

/// Processor time of this process so far.
fn busy_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).expect("less than a second"))
}
