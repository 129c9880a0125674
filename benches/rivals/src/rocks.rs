//! RocksDB, with the write-ahead log off.

use std::path::Path;
use std::time::Duration;

use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, WriteBatch, WriteOptions};

use crate::engine::{Engine, Settings, Write};

pub struct Rocks {
    db: DB,
    options: Options,
    unlogged: WriteOptions,
}

impl Engine for Rocks {
    fn open(dir: &Path, settings: &Settings) -> Self {
        let mut table = BlockBasedOptions::default();
        table.set_block_size(settings.block_bytes);
        table.set_bloom_filter(f64::from(settings.filter_bits), false);
        table.set_block_cache(&Cache::new_lru_cache(settings.cache_bytes).expect("a cache"));
        table.set_format_version(5);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_size(settings.memtable_bytes);
        options.set_max_write_buffer_number(2);
        options.set_target_file_size_base(settings.table_bytes);
        options.set_max_bytes_for_level_base(settings.level_one_bytes);
        options.set_level_zero_file_num_compaction_trigger(i32::from(settings.level_zero_tables));
        let mut levels = vec![DBCompressionType::Lz4; 7];
        levels[..2].fill(DBCompressionType::None);
        options.set_compression_per_level(&levels);
        options.set_max_background_jobs(2);
        options.set_allow_concurrent_memtable_write(false);
        options.enable_statistics();
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        let db = DB::open(&options, dir).expect("RocksDB opens");
        Self { db, options, unlogged }
    }

    fn write(&mut self, batch: &[Write]) {
        let mut writes = WriteBatch::default();
        for (key, value) in batch {
            match value {
                Some(value) => writes.put(key, value),
                None => writes.delete(key),
            }
        }
        self.db.write_opt(writes, &self.unlogged).expect("RocksDB writes");
    }

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> bool {
        let found = self.db.get_pinned(key).expect("RocksDB reads");
        found.is_some_and(|bytes| {
            value.extend_from_slice(&bytes);
            true
        })
    }

    fn scan(&mut self, from: &[u8], count: usize, visit: &mut dyn FnMut(&[u8], &[u8])) {
        let mut cursor = self.db.raw_iterator();
        cursor.seek(from);
        for _ in 0..count {
            let Some((key, value)) = cursor.item() else { break };
            visit(key, value);
            cursor.next();
        }
    }

    fn settle(&mut self) {
        self.db.flush().expect("RocksDB flushes");
        let busy = |name: &str| self.db.property_int_value(name).ok().flatten().unwrap_or(0) > 0;
        while busy("rocksdb.num-running-compactions")
            || busy("rocksdb.compaction-pending")
            || busy("rocksdb.num-running-flushes")
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn filters(&self) -> Option<(u64, u64, u64)> {
        let statistics = self.options.get_statistics()?;
        let count = |name: &str| -> Option<u64> {
            let line = statistics.lines().find(|line| line.starts_with(name))?;
            line.rsplit(' ').next()?.parse().ok()
        };
        let useful = count("rocksdb.bloom.filter.useful COUNT")?;
        let positive = count("rocksdb.bloom.filter.full.positive COUNT")?;
        let true_positive = count("rocksdb.bloom.filter.full.true.positive COUNT")?;
        Some((useful + positive, useful, positive - true_positive))
    }
}
