//! Our engine, with a thread for flushes and one for compactions, as the driver has them.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use sisyphusdb::disk::RealDisk;
use sisyphusdb::lsm::{
    Access, Batch, Cache, CompactionJob, Family, FlushJob, Installed, Levels, Options, Position, Tree, Value,
};

use crate::engine::{Engine, Settings, Write};

pub struct Ours {
    tree: Tree,
    flushes: Sender<FlushJob>,
    compactions: Sender<CompactionJob>,
    results: Receiver<Installed>,
    value: Value,
    /// Jobs whose results are due.
    under_way: usize,
}

/// A thread that runs one job after the other, until the engine is dropped.
fn worker<J: Send + 'static>(results: &Sender<Installed>, run: fn(J) -> Installed) -> Sender<J> {
    let (jobs, queue) = channel();
    let results = results.clone();
    std::thread::spawn(move || {
        for job in queue {
            if results.send(run(job)).is_err() {
                break;
            }
        }
    });
    jobs
}

/// One family, as the keyspace describes its metadata, with blocks of the measured size. Row caching is left out: the
/// others have none.
fn families(block_bytes: usize) -> &'static [Family] {
    let family = |name, skip_bits| Family { name, skip_bits, filter: true, rows: false, block_bytes };
    Box::leak(Box::new([family("system", None), family("meta", Some(40))]))
}

impl Ours {
    /// Takes the results that are there and starts what is due then.
    fn turn(&mut self) {
        while let Ok(installed) = self.results.try_recv() {
            self.under_way -= 1;
            self.tree.install(installed);
        }
        if let Some(job) = self.tree.next_flush() {
            self.under_way += 1;
            self.flushes.send(job).expect("the thread of flushes lives");
        }
        if let Some(job) = self.tree.next_compaction() {
            self.under_way += 1;
            self.compactions.send(job).expect("the thread of compactions lives");
        }
    }

    /// Waits for one result.
    fn wait(&mut self) {
        let installed =
            self.results.recv_timeout(Duration::from_secs(60)).expect("a job ends within a minute");
        self.under_way -= 1;
        self.tree.install(installed);
        self.turn();
    }
}

impl Engine for Ours {
    fn open(dir: &Path, settings: &Settings) -> Self {
        let disk = Arc::new(RealDisk::new(dir.to_owned()).expect("a directory for the tree"));
        let cache = Arc::new(Cache::new(settings.cache_bytes as u64));
        let options = Options {
            levels: Levels {
                level0_runs: usize::from(settings.level_zero_tables),
                base_bytes: settings.level_one_bytes,
                fan_out: 10,
                table_bytes: settings.table_bytes,
                compress_from: 2,
            },
            filter_bits_per_key: settings.filter_bits as usize,
            ..Options::new(families(settings.block_bytes), cache, settings.memtable_bytes)
        };
        let (finished, results) = channel();
        let flushes = worker(&finished, |job: FlushJob| job.run().expect("a flush succeeds"));
        let compactions = worker(&finished, |job: CompactionJob| job.run().expect("a compaction succeeds"));
        let tree = Tree::open(disk, "tree", options).expect("an empty tree opens");
        Self { tree, flushes, compactions, results, value: Value::default(), under_way: 0 }
    }

    fn write(&mut self, batch: &[Write]) {
        let mut builder = Batch::builder();
        for (key, value) in batch {
            match value {
                Some(value) => builder.put(key, value),
                None => builder.delete(key),
            };
        }
        let index = self.tree.applied().index + 1;
        self.tree.apply(Position { index, term: 1 }, &builder.finish());
        self.turn();
        // One memtable may wait while the next one fills, as with the others.
        while self.tree.debt().sealed > 1 || self.tree.debt().pressure >= 1000 {
            self.wait();
        }
    }

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> bool {
        self.value.clear();
        let found = self.tree.view().get(key, Access::Disk, &mut self.value).expect("the tree reads");
        if found {
            value.extend_from_slice(&self.value);
        }
        found
    }

    fn scan(&mut self, from: &[u8], count: usize, visit: &mut dyn FnMut(&[u8], &[u8])) {
        let mut cursor = self.tree.view().cursor(Access::Disk);
        cursor.seek(from).expect("the tree reads");
        for _ in 0..count {
            if !cursor.valid() {
                break;
            }
            visit(cursor.key(), cursor.value());
            cursor.next().expect("the tree reads");
        }
    }

    fn settle(&mut self) {
        self.tree.seal();
        self.turn();
        while self.under_way > 0 || self.tree.debt().sealed > 0 {
            self.wait();
        }
    }

    fn filters(&self) -> Option<(u64, u64, u64)> {
        let stats = self.tree.stats();
        Some((stats.filter_checked, stats.filter_useful, stats.filter_false_positive))
    }
}
