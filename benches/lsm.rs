//! How fast is the engine, how much does it write for a byte it is given, and what do its filters save?
//!
//! `cargo bench --bench benches -- lsm [records]` runs, one after the other, on a fresh tree on the disk of the machine:
//! fillrandom, overwrite, readrandom, readmissing (absent keys between present ones) and scan, with incompressible
//! values. One thread writes and reads, one flushes, one compacts, as in a node. The same work beside other engines is in
//! `benches/rivals`.

#![allow(
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "shared with the rivals by path; nanoseconds of a benchmark fit"
)]

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use sisyphusdb::{
    disk::RealDisk,
    lsm::{
        Access, Batch, Cache, CompactionJob, Family, FlushJob, Installed, Options, Position, Stats, Tree,
        Value,
    },
};

/// What is written and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// Distinct keys.
    pub(crate) records: u64,
    /// Bytes of a value; random.
    pub(crate) value_bytes: usize,
    /// Effects of one entry.
    pub(crate) batch: usize,
    /// Bytes of the cache.
    pub(crate) cache_bytes: u64,
    /// Bytes of a memtable.
    pub(crate) memtable_bytes: usize,
    /// Seed of all that is random.
    pub(crate) seed: u64,
}

impl Default for Workload {
    fn default() -> Workload {
        Workload {
            records: 2_000_000,
            value_bytes: 100,
            batch: 64,
            cache_bytes: 512 << 20,
            memtable_bytes: 32 << 20,
            seed: 1,
        }
    }
}

impl Workload {
    /// Returns the key with this number: family, keyspace, 8 uniform bytes, the user's key. Keys with even numbers are
    /// written, those with odd ones lie between them and are absent.
    pub(crate) fn key(number: u64) -> [u8; 29] {
        let mut key = [0; 29];
        key[0] = 1;
        key[4] = 7;
        key[5..13].copy_from_slice(&mix(number).to_be_bytes());
        let mut user = String::with_capacity(16);
        write!(user, "key:{number:012}").expect("a string takes all");
        key[13..].copy_from_slice(user.as_bytes());
        key
    }
}

/// The finalizer of SplitMix64: a bijection.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

static FAMILIES: [Family; 2] = [
    Family { name: "system", skip_bits: None, filter: false, rows: false, block_bytes: 4 << 10 },
    Family { name: "meta", skip_bits: Some(40), filter: true, rows: false, block_bytes: 4 << 10 },
];

/// A tree with its two background threads.
struct Node {
    tree: Tree,
    flushes: Sender<FlushJob>,
    compactions: Sender<CompactionJob>,
    results: Receiver<Installed>,
    running: usize,
    _dir: tempfile::TempDir,
}

fn thread<J: Send + 'static>(results: Sender<Installed>, run: fn(J) -> Installed) -> Sender<J> {
    let (jobs, queue) = channel();
    std::thread::spawn(move || queue.into_iter().for_each(|job| drop(results.send(run(job)))));
    jobs
}

impl Node {
    /// `level0_runs` is how many runs level 0 has when it is merged; `None`: as the options say.
    fn new(workload: &Workload, level0_runs: Option<usize>) -> Node {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Arc::new(RealDisk::new(dir.path().to_owned()).expect("a directory"));
        let cache = Arc::new(Cache::new(workload.cache_bytes));
        let mut options = Options::new(&FAMILIES, cache, workload.memtable_bytes);
        options.levels.level0_runs = level0_runs.unwrap_or(options.levels.level0_runs);
        let (done, results) = channel();
        Node {
            tree: Tree::open(disk, "tree", options).expect("an empty tree"),
            flushes: thread(done.clone(), |job: FlushJob| job.run().expect("a flush")),
            compactions: thread(done, |job: CompactionJob| job.run().expect("a compaction")),
            results,
            running: 0,
            _dir: dir,
        }
    }

    /// Hands out jobs and takes results; waits for one if `wait`.
    fn turn(&mut self, wait: bool) {
        if wait && self.running > 0 {
            let installed = self.results.recv().expect("the threads live");
            self.tree.install(installed);
            self.running -= 1;
        }
        while let Ok(installed) = self.results.try_recv() {
            self.tree.install(installed);
            self.running -= 1;
        }
        if let Some(job) = self.tree.next_flush() {
            self.flushes.send(job).expect("the thread lives");
            self.running += 1;
        }
        if let Some(job) = self.tree.next_compaction() {
            self.compactions.send(job).expect("the thread lives");
            self.running += 1;
        }
    }

    fn write(&mut self, workload: &Workload, numbers: &[u64], rng: &mut fastrand::Rng) {
        let mut value = vec![0; workload.value_bytes];
        for chunk in numbers.chunks(workload.batch) {
            let mut batch = Batch::builder();
            for &number in chunk {
                rng.fill(&mut value);
                batch.put(&Workload::key(number), &value);
            }
            let index = self.tree.applied().index + 1;
            self.tree.apply(Position { index, term: 1 }, &batch.finish());
            self.turn(false);
            while self.tree.debt().sealed > 1 || self.tree.debt().pressure >= 1000 {
                self.turn(true);
            }
        }
    }

    fn settle(&mut self) {
        self.tree.seal();
        self.turn(false);
        while self.running > 0 {
            self.turn(true);
        }
    }

    fn read(&self, numbers: &[u64], is_present: bool) {
        let mut value = Value::default();
        let view = self.tree.view();
        for &number in numbers {
            let found = view.get(&Workload::key(number), Access::Disk, &mut value).expect("a read");
            assert_eq!(found, is_present, "key {number}");
        }
    }
}

/// When something began: by the clock, and by the processor time of this thread, which other work on the machine does not
/// lengthen.
struct Start(Instant, Duration);

impl Start {
    fn now() -> Start {
        Start(Instant::now(), Self::processor())
    }

    fn processor() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).expect("processor time is not negative")
    }
}

fn line(name: &str, operations: u64, start: &Start, more: &str) {
    let each = |time: Duration| time.as_nanos() / u128::from(operations.max(1));
    let (nanos, processor) = (each(start.0.elapsed()), each(Start::processor() - start.1));
    eprintln!(
        "{name:<24} {nanos:>6} ns/op, {processor:>6} of this thread's processor, {:>8} op/s  {more}",
        1_000_000_000 / nanos.max(1)
    );
}

fn amplification(before: &Stats, after: &Stats, user_bytes: u64) -> String {
    let flushed = after.flushed_bytes - before.flushed_bytes;
    let compacted = after.compacted_bytes_out - before.compacted_bytes_out;
    format!("write amplification {:.2}", (flushed + compacted) as f64 / user_bytes as f64)
}

fn filters(before: &Stats, after: &Stats) -> String {
    let checked = after.filter_checked - before.filter_checked;
    let useful = after.filter_useful - before.filter_useful;
    let wrong = after.filter_false_positive - before.filter_false_positive;
    let share = 100.0 * useful as f64 / (useful + wrong).max(1) as f64;
    let (read, cached) = (after.blocks_read - before.blocks_read, after.blocks_cached - before.blocks_cached);
    format!(
        "blocks read {read}, cached {cached}; filters checked {checked}, useful {useful}, false positive {wrong}: {share:.2} % of useless reads avoided"
    )
}

/// Runs all of it and prints what came out.
pub(crate) fn run(workload: &Workload) {
    let mut rng = fastrand::Rng::with_seed(workload.seed);
    let mut node = Node::new(workload, None);
    let mut order: Vec<u64> = (0..workload.records).map(|number| 2 * number).collect();
    let user_bytes = workload.records * (29 + workload.value_bytes as u64);
    for name in ["fillrandom", "overwrite"] {
        rng.shuffle(&mut order);
        let (before, start) = (node.tree.stats(), Start::now());
        node.write(workload, &order, &mut rng);
        line(name, workload.records, &start, "");
        node.settle();
        let after = node.tree.stats();
        line(
            &format!("{name}, settled"),
            workload.records,
            &start,
            &amplification(&before, &after, user_bytes),
        );
    }
    let stats = node.tree.stats();
    eprintln!("level bytes {:?}, tables {:?}", stats.level_bytes, stats.level_tables);
    rng.shuffle(&mut order);
    order.truncate(1_000_000);
    let absent: Vec<u64> = order.iter().map(|number| number + 1).collect();
    for (name, numbers, is_present) in [("readrandom", &order, true), ("readmissing", &absent, false)] {
        node.read(numbers, is_present);
        let (before, start) = (node.tree.stats(), Start::now());
        node.read(numbers, is_present);
        line(name, numbers.len() as u64, &start, &filters(&before, &node.tree.stats()));
    }
    for pass in ["scan", "scan again"] {
        let start = Start::now();
        let mut cursor = node.tree.view().cursor(Access::Disk);
        cursor.seek(b"").expect("a read");
        let mut records = 0;
        while cursor.valid() {
            records += 1;
            cursor.next().expect("a read");
        }
        line(pass, records, &start, "");
    }
    let start = Start::now();
    let mut cursor = node.tree.view().cursor(Access::Disk);
    for &number in order.iter().take(20_000) {
        cursor.seek(&Workload::key(number)).expect("a read");
        for _ in 0..100 {
            if cursor.valid() {
                cursor.next().expect("a read");
            }
        }
    }
    line("scan of 100, per record", 20_000 * 100, &start, "");
    filters_of_level0(workload, &mut rng);
}

/// How many useless reads the filters save while level 0 has eight tables that all span all keys.
fn filters_of_level0(workload: &Workload, rng: &mut fastrand::Rng) {
    const RUNS: usize = 8;
    let mut node = Node::new(workload, Some(RUNS + 1));
    let mut order: Vec<u64> = (0..workload.records / 4).map(|number| 2 * number).collect();
    rng.shuffle(&mut order);
    for part in order.chunks(order.len().div_ceil(RUNS)) {
        node.write(workload, part, rng);
        node.settle();
    }
    let stats = node.tree.stats();
    assert_eq!(stats.level0_runs, RUNS as u64, "each part is a run: {stats:?}");
    let absent: Vec<u64> = order.iter().map(|number| number + 1).collect();
    node.read(&absent, false);
    let (before, start) = (node.tree.stats(), Start::now());
    node.read(&absent, false);
    let saved = filters(&before, &node.tree.stats());
    line("readmissing, 8 tables", absent.len() as u64, &start, &saved);
}
