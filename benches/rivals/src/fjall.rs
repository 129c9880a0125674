//! The `lsm-tree` crate, which like ours has no log and leaves the background threads to its user.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lsm_tree::compaction::Leveled;
use lsm_tree::config::{
    BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
};
use lsm_tree::{AbstractTree, AnyTree, Cache, CompressionType, Config, Guard, SequenceNumberCounter};

use crate::engine::{Engine, Settings, Write};

pub struct Fjall {
    tree: AnyTree,
    next: u64,
    visible: SequenceNumberCounter,
    settings: Settings,
    patience: Duration,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

fn strategy(settings: &Settings) -> Arc<Leveled> {
    let base = settings.level_one_bytes / u64::from(settings.level_zero_tables);
    Arc::new(Leveled::default().with_l0_threshold(settings.level_zero_tables).with_table_target_size(base))
}

/// How long level 0 is waited for. On a few small tables the strategy may prefer to turn others in a circle, for ever: whoever
/// has waited in vain does not wait again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `work` again and again until the engine is dropped.
fn repeat(
    stop: &Arc<AtomicBool>,
    tree: &AnyTree,
    settings: Settings,
    work: fn(&AnyTree, &Settings) -> bool,
) -> JoinHandle<()> {
    let (stop, tree) = (Arc::clone(stop), tree.clone());
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            if !work(&tree, &settings) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    })
}

fn flush_once(tree: &AnyTree, _: &Settings) -> bool {
    let guard = tree.get_flush_lock();
    tree.flush(&guard, 0).expect("lsm-tree flushes").is_some()
}

fn compact_once(tree: &AnyTree, settings: &Settings) -> bool {
    if tree.l0_run_count() < usize::from(settings.level_zero_tables) {
        return false;
    }
    tree.compact(strategy(settings), 0).expect("lsm-tree compacts");
    true
}

impl Fjall {
    fn await_flushes(&self) {
        while self.tree.sealed_memtable_count() > 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn await_level_zero(&mut self, runs_max: usize) {
        let begun = Instant::now();
        while self.tree.l0_run_count() > runs_max {
            if begun.elapsed() >= self.patience {
                self.patience = Duration::ZERO;
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Engine for Fjall {
    fn open(dir: &Path, settings: &Settings) -> Self {
        let visible = SequenceNumberCounter::default();
        let tree = Config::new(dir, SequenceNumberCounter::default(), visible.clone())
            .use_cache(Arc::new(Cache::with_capacity_bytes(settings.cache_bytes as u64)))
            .data_block_size_policy(BlockSizePolicy::all(settings.block_bytes as u32))
            .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(
                settings.filter_bits as f32,
            ))))
            .data_block_compression_policy(CompressionPolicy::new([
                CompressionType::None,
                CompressionType::None,
                CompressionType::Lz4,
            ]))
            .open()
            .expect("lsm-tree opens");
        let stop = Arc::new(AtomicBool::new(false));
        let workers =
            vec![repeat(&stop, &tree, *settings, flush_once), repeat(&stop, &tree, *settings, compact_once)];
        Self { tree, next: 1, visible, settings: *settings, patience: PATIENCE, stop, workers }
    }

    fn write(&mut self, batch: &[Write]) {
        let sequence = self.next;
        self.next += 1;
        let mut bytes = 0;
        for (key, value) in batch {
            (_, bytes) = match value {
                Some(value) => self.tree.insert(key.as_slice(), value.as_slice(), sequence),
                None => self.tree.remove(key.as_slice(), sequence),
            };
        }
        self.visible.fetch_max(self.next);
        if bytes > self.settings.memtable_bytes as u64 {
            self.await_flushes();
            self.await_level_zero(20);
            self.tree.rotate_memtable();
        }
    }

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> bool {
        let found = self.tree.get(key, self.next).expect("lsm-tree reads");
        found.is_some_and(|bytes| {
            value.extend_from_slice(&bytes);
            true
        })
    }

    fn scan(&mut self, from: &[u8], count: usize, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for guard in self.tree.range(from.., self.next, None).take(count) {
            let (key, value) = guard.into_inner().expect("lsm-tree reads");
            visit(&key, &value);
        }
    }

    fn settle(&mut self) {
        self.tree.rotate_memtable();
        self.await_flushes();
        self.await_level_zero(usize::from(self.settings.level_zero_tables) - 1);
        // The strategy may still have levels below to even out: it does nothing when it has not.
        for _ in 0..20 {
            let before = self.tree.get_next_table_id();
            self.tree.compact(strategy(&self.settings), 0).expect("lsm-tree compacts");
            if self.tree.get_next_table_id() == before {
                break;
            }
        }
    }

    fn filters(&self) -> Option<(u64, u64, u64)> {
        None
    }
}

impl Drop for Fjall {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            worker.join().expect("a background thread of the bench");
        }
    }
}
