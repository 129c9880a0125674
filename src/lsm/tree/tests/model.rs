//! Random operations, compared with a map at every step.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::*;
use crate::{
    bugs::{self, Bug},
    lsm::{CompactionJob, FlushJob},
};

/// A tree, the log that feeds it, and what it should hold.
struct Harness {
    /// Decides what is done; the same for all runs of a metamorphic test.
    rng: Rng,
    /// Decides how it is done: options, and when jobs run.
    how: Rng,
    disk: SimDisk,
    options: Options,
    tree: Tree,
    /// Entry n at n − 1; `None` has no effects. All of it survives a crash.
    log: Vec<Option<Batch>>,
    model: Map,
    /// Prefixes that are dead now. Nobody looks there any more.
    dead: BTreeSet<Vec<u8>>,
    /// Groups of keys that may be written: each is a prefix, never used again once it is dead.
    groups: Vec<u8>,
    next_group: u8,
    views: Vec<(View, Map, BTreeSet<Vec<u8>>)>,
    flush: Option<FlushJob>,
    compaction: Option<CompactionJob>,
    membership: Bytes,
    memberships: BTreeMap<u64, Bytes>,
    /// Of all results.
    history: u64,
    checkpoints: u32,
    seen: Seen,
}

/// What the random operations came across: a test that never compacts shows nothing.
#[derive(Debug, Default)]
struct Seen {
    flushes: u64,
    compactions: u64,
    moves: u64,
    dead_tables: u64,
    dead_records: u64,
    filters: u64,
    levels: BTreeSet<usize>,
    reopened: u64,
}

impl Seen {
    fn add(&mut self, stats: &Stats) {
        self.flushes += stats.flushes;
        self.compactions += stats.compactions;
        self.moves += stats.moves;
        self.dead_tables += stats.dead_tables_dropped;
        self.dead_records += stats.dead_records_dropped;
        self.filters += stats.filter_useful;
        self.levels.extend((0..stats.level_tables.len()).filter(|&level| stats.level_tables[level] > 0));
        self.reopened += 1;
    }

    fn assert_all(&self) {
        let counts =
            [self.flushes, self.compactions, self.moves, self.dead_tables, self.dead_records, self.filters];
        assert!(counts.iter().all(|&count| count > 100) && self.levels.len() >= 5, "{self:?}");
        assert!(self.reopened > 50, "{self:?}");
    }
}

fn random_options(how: &mut Rng) -> Options {
    let cache = Arc::new(Cache::new([0, 2 << 10, 1 << 20][how.usize(..3)]));
    let memtable_bytes = how.usize(2 << 10..8 << 10);
    Options {
        graves: Some(GRAVES),
        levels: Levels {
            level0_runs: how.usize(1..4),
            base_bytes: how.u64(1 << 10..8 << 10),
            fan_out: how.u64(2..5),
            table_bytes: how.u64(200..4 << 10),
            compress_from: how.usize(0..8),
        },
        restart_interval: how.usize(1..8),
        index_bytes: how.usize(32..300),
        filter_bits_per_key: how.usize(5..15),
        ..Options::new(FAMILIES, cache, memtable_bytes)
    }
}

impl Harness {
    fn new(what: u64, how: u64) -> Harness {
        let mut how = Rng::with_seed(how);
        let disk = SimDisk::new(how.u64(..));
        disk.set_cold_percent(how.u8(..100));
        let options = random_options(&mut how);
        let tree = open(&disk, "tree", options.clone()).unwrap();
        Harness {
            rng: Rng::with_seed(what),
            how,
            disk,
            options,
            tree,
            log: Vec::new(),
            model: Map::new(),
            dead: BTreeSet::new(),
            groups: vec![1, 2, 3],
            next_group: 4,
            views: Vec::new(),
            flush: None,
            compaction: None,
            membership: Bytes::new(),
            memberships: BTreeMap::from([(0, Bytes::new())]),
            history: 0,
            checkpoints: 0,
            seen: Seen::default(),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let group = self.groups[self.rng.usize(..self.groups.len())];
        let mut key = vec![self.rng.u8(0..3), group];
        key.extend((0..self.rng.usize(1..4)).map(|_| self.rng.u8(..5)));
        key
    }

    fn value(&mut self) -> Vec<u8> {
        let bytes = if self.rng.u8(..40) == 0 { self.rng.usize(500..5000) } else { self.rng.usize(..60) };
        (0..bytes).map(|_| self.rng.u8(..)).collect()
    }

    fn log_entry(&mut self, batch: Option<Batch>) {
        let position = Position { index: self.log.len() as u64 + 1, term: 1 + self.log.len() as u64 / 100 };
        self.memberships.insert(position.index, self.membership.clone());
        match &batch {
            Some(batch) => self.tree.apply(position, batch),
            None => {
                self.tree.set_membership(self.membership.clone());
                self.tree.advance(position);
            }
        }
        self.log.push(batch);
    }

    fn write(&mut self) {
        let mut effects = Map::new();
        let mut deletions = BTreeSet::new();
        for _ in 0..self.rng.usize(1..6) {
            let key = self.key();
            if self.rng.u8(..3) == 0 {
                effects.remove(&key);
                deletions.insert(key);
            } else {
                let value = self.value();
                deletions.remove(&key);
                effects.insert(key, value);
            }
        }
        let mut batch = Batch::builder();
        for key in deletions {
            batch.delete(&key);
            self.model.remove(&key);
        }
        for (key, value) in effects {
            batch.put(&key, &value);
            self.model.insert(key, value);
        }
        self.log_entry(Some(batch.finish()));
    }

    /// Declares one group of one family dead, and gives the writers a new one.
    fn bury(&mut self) {
        if self.next_group == u8::MAX {
            return;
        }
        let at = self.rng.usize(..self.groups.len());
        let group = std::mem::replace(&mut self.groups[at], self.next_group);
        self.next_group += 1;
        let mut batch = Batch::builder();
        for family in 0..3 {
            let grave = vec![GRAVES, family, group];
            batch.put(&grave, b"");
            self.dead.insert(vec![family, group]);
            self.model.insert(grave, Vec::new());
        }
        self.log_entry(Some(batch.finish()));
    }

    fn install(&mut self, installed: Installed) {
        let position = self.tree.install(installed);
        assert_eq!(position, self.tree.flushed().position);
        let membership = &self.memberships[&position.index];
        assert_eq!(&self.tree.flushed().membership, membership, "membership at {}", position.index);
    }

    /// Begins or ends a job; `Err` if the machine stopped.
    fn work(&mut self) -> Result<()> {
        match self.how.u8(..6) {
            0 => self.tree.seal(),
            1 => self.flush = self.flush.take().or_else(|| self.tree.next_flush()),
            2 => self.compaction = self.compaction.take().or_else(|| self.tree.next_compaction()),
            3 => {
                if let Some(job) = self.flush.take() {
                    let installed = job.run()?;
                    self.install(installed);
                }
            }
            4 => {
                if let Some(job) = self.compaction.take() {
                    let mut pieces = self.how.u32(1..20);
                    let mut pace = |_| {
                        pieces -= 1;
                        if pieces == 0 {
                            std::ops::ControlFlow::Break(())
                        } else {
                            std::ops::ControlFlow::Continue(())
                        }
                    };
                    let installed = job.run_paced(&mut pace)?;
                    self.install(installed);
                }
            }
            _ => {
                // Both, with the results installed in the other order than they became durable.
                let (flush, compaction) = (self.flush.take(), self.compaction.take());
                let flushed = flush.map(FlushJob::run).transpose()?;
                let compacted = compaction.map(CompactionJob::run).transpose()?;
                for installed in compacted.into_iter().chain(flushed) {
                    self.install(installed);
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, result: &impl std::hash::Hash) {
        use std::hash::Hasher;
        let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
        hasher.write_u64(self.history);
        result.hash(&mut hasher);
        self.history = hasher.finish();
    }

    fn read(&mut self) -> Result<()> {
        let view = self.tree.view();
        assert_eq!(view.index(), self.log.len() as u64);
        let mut value = Value::default();
        for _ in 0..4 {
            let key = self.key();
            let access = if self.how.bool() { Access::Disk } else { Access::Memory };
            let found = match view.get(&key, access, &mut value) {
                Err(Error::WouldBlock) => {
                    assert_eq!(access, Access::Memory);
                    view.get(&key, Access::Disk, &mut value)?
                }
                other => other?,
            };
            let found = found.then(|| value.to_vec());
            assert_eq!(found.as_ref(), self.model.get(&key), "{key:?}");
            self.record(&found);
        }
        Ok(())
    }

    fn visible(map: &Map, dead: &BTreeSet<Vec<u8>>) -> Map {
        let is_live = |key: &Vec<u8>| key[0] != GRAVES && !dead.iter().any(|prefix| key.starts_with(prefix));
        map.iter().filter(|(key, _)| is_live(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn check(view: &View, model: &Map, dead: &BTreeSet<Vec<u8>>) -> Result<()> {
        let expected = Self::visible(model, dead);
        assert_eq!(Self::visible(&all(view)?, dead), expected, "forwards");
        assert_eq!(Self::visible(&all_backwards(view)?, dead), expected, "backwards");
        Ok(())
    }

    /// Walks to and fro inside bounds that no dead key lies in.
    fn walk(&mut self) -> Result<()> {
        let group = self.groups[self.rng.usize(..self.groups.len())];
        let family = self.rng.u8(0..3);
        let (lower, upper) = (vec![family, group], vec![family, group + 1]);
        let model: Map =
            self.model.range(lower.clone()..upper.clone()).map(|(k, v)| (k.clone(), v.clone())).collect();
        let view = self.tree.view();
        let mut cursor = view.cursor(Access::Disk);
        cursor.set_bounds(&lower, Some(&upper));
        for _ in 0..30 {
            let mut probe = if self.rng.u8(..10) == 0 { vec![self.rng.u8(..4)] } else { lower.clone() };
            probe.extend((0..self.rng.usize(..4)).map(|_| self.rng.u8(..5)));
            let here = cursor.valid().then(|| cursor.key().to_vec());
            let expected = match (self.rng.u8(..6), here) {
                (0, _) | (2.., None) => {
                    cursor.seek(&probe)?;
                    model.range(probe..).next()
                }
                (1, _) => {
                    cursor.seek_before(&probe)?;
                    model.range(..probe).next_back()
                }
                (2 | 3, Some(here)) => {
                    cursor.next()?;
                    model.range(here..).nth(1)
                }
                (_, Some(here)) => {
                    cursor.prev()?;
                    model.range(..here).next_back()
                }
            };
            let expected = expected.map(|(key, value)| (key.clone(), value.clone()));
            let shown = current(&cursor);
            assert_eq!(shown, expected);
            self.record(&shown);
        }
        Ok(())
    }

    /// Opens what is on the disk and replays the log, as a node does at its start.
    fn reopen(&mut self) -> Result<()> {
        let dir = "tree";
        (self.flush, self.compaction) = (None, None);
        self.seen.add(&self.tree.stats());
        self.views.clear();
        self.options.cache = Arc::new(Cache::new(1 << 20));
        self.tree = open(&self.disk, dir, self.options.clone())?;
        let flushed = self.tree.flushed().position.index;
        assert!(flushed <= self.log.len() as u64, "flushed {flushed} of {}", self.log.len());
        assert_eq!(self.tree.flushed().membership, self.memberships[&flushed]);
        self.check_at(flushed)?;
        for (at, batch) in self.log.iter().enumerate().skip(usize::try_from(flushed).unwrap()) {
            let position = Position { index: at as u64 + 1, term: 1 + at as u64 / 100 };
            match batch {
                Some(batch) => self.tree.apply(position, batch),
                None => {
                    self.tree.set_membership(self.memberships[&position.index].clone());
                    self.tree.advance(position);
                }
            }
        }
        self.tree.set_membership(self.membership.clone());
        Ok(())
    }

    /// Checks that the tree, just opened, is exactly what the first `index` entries made of it: an entry that is replayed
    /// may read anything that was alive before it.
    fn check_at(&self, index: u64) -> Result<()> {
        let entries = &self.log[..usize::try_from(index).unwrap()];
        let map = replayed(entries);
        let dead = map.keys().filter(|key| key[0] == GRAVES).map(|key| key[1..].to_vec()).collect();
        Self::check(&self.tree.view(), &map, &dead)
    }

    fn crash(&mut self) {
        self.disk.crash();
        self.reopen().unwrap();
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.checkpoints += 1;
        let dir = format!("checkpoint-{}", self.checkpoints);
        let flushed = self.tree.flushed().clone();
        let checkpoint = self.tree.checkpoint().run(&dir)?;
        assert_eq!(checkpoint.flushed, flushed);
        let options = Options { cache: Arc::new(Cache::new(1 << 12)), ..self.options.clone() };
        let main = std::mem::replace(&mut self.tree, open(&self.disk, &dir, options)?);
        assert_eq!(*self.tree.flushed(), Flushed { log_reset_pending: true, ..flushed.clone() });
        self.check_at(flushed.position.index)?;
        assert!(self.tree.verify().run()?.tables == checkpoint.files.len() as u64);
        self.tree = main;
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        match self.rng.u8(..100) {
            0..50 => self.write(),
            50..53 => self.log_entry(None),
            53 => {
                self.membership = Bytes::from(vec![self.rng.u8(..); 3]);
                self.log_entry(None);
            }
            54..56 => self.bury(),
            56..75 => self.read()?,
            75..85 => self.walk()?,
            85..88 => self.views.push((self.tree.view(), self.model.clone(), self.dead.clone())),
            88..90 if !self.views.is_empty() => {
                let at = self.rng.usize(..self.views.len());
                let (view, model, dead) = self.views.swap_remove(at);
                Self::check(&view, &model, &dead)?;
            }
            90..92 => Self::check(&self.tree.view(), &self.model, &self.dead)?,
            92 => self.reopen()?,
            93 => self.checkpoint()?,
            94 => assert!(self.tree.verify().run()?.records >= self.tree.stats().level0_runs),
            _ => {}
        }
        for _ in 0..self.how.usize(..3) {
            self.work()?;
        }
        Ok(())
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step().unwrap();
        }
        Self::check(&self.tree.view(), &self.model, &self.dead).unwrap();
    }

    /// As [`Harness::run`], with the machine dying at random operations of the disk.
    fn run_with_crashes(&mut self, steps: usize) {
        self.disk.stop_at(self.disk.changes() + self.how.u64(1..200));
        for _ in 0..steps {
            let result = self.step();
            if self.disk.is_stopped() {
                self.crash();
                self.disk.stop_at(self.disk.changes() + self.how.u64(1..200));
            } else {
                result.unwrap();
            }
        }
        self.crash();
        Self::check(&self.tree.view(), &self.model, &self.dead).unwrap();
    }
}

#[test]
fn random_operations_agree_with_a_map() {
    let mut seen = Seen::default();
    for seed in 0..30 {
        eprintln!("seed {seed}");
        let mut harness = Harness::new(seed, seed);
        harness.seen = seen;
        harness.run(600);
        seen = harness.seen;
    }
    seen.assert_all();
}

#[test]
fn a_crash_at_any_moment_loses_nothing_that_is_flushed_or_in_the_log() {
    for seed in 0..60 {
        eprintln!("seed {seed}");
        Harness::new(seed, seed).run_with_crashes(300);
    }
}

#[test]
fn the_options_change_nothing_that_is_seen() {
    for seed in 100..106 {
        let histories: Vec<u64> = (0..4)
            .map(|how| {
                eprintln!("seed {seed}, options {how}");
                let mut harness = Harness::new(seed, how);
                harness.run(400);
                harness.history
            })
            .collect();
        assert!(histories.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}: {histories:?}");
    }
}

/// Whether a random run with crashes notices `bug`.
fn is_noticed(bug: Bug) -> bool {
    (0..60).any(|seed| {
        let run = || Harness::new(seed, seed).run_with_crashes(300);
        let caught = std::panic::catch_unwind(|| bugs::with(bug, run));
        caught.is_err()
    })
}

#[test]
fn a_tombstone_that_is_dropped_early_is_noticed() {
    assert!(is_noticed(Bug::TombstoneDroppedEarly));
}

#[test]
fn a_manifest_edit_before_the_tables_are_synced_is_noticed() {
    assert!(is_noticed(Bug::EditBeforeTableSync));
}

#[test]
fn a_flush_that_records_too_high_an_index_is_noticed() {
    assert!(is_noticed(Bug::FlushIndexTooHigh));
}

#[test]
fn a_grave_that_is_taken_from_the_memtable_is_noticed() {
    assert!(is_noticed(Bug::GraveFromMemtable));
}
