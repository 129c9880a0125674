//! What does the row cache cost: a look-up, and what every applied effect pays whether or not its key has a row?
//!
//! `cargo bench --bench benches -- cache`; each line is the time of a whole pass, and its items are keys.

use std::hint::black_box;

use divan::{Bencher, counter::ItemsCount};
use sisyphusdb::lsm::{Cache, Index, Value};

const PASS: usize = 100_000;
const CACHE_BYTES: u64 = 512 << 20;
const FILLED_AT: Index = 1;
const AT: Index = 2;
const VALUE: [u8; 64] = [7; 64];

type Key = [u8; 29];

fn key(number: u64) -> Key {
    let mut key = [1; 29];
    key[5..13].copy_from_slice(&fastrand::Rng::with_seed(number).u64(..).to_be_bytes());
    key[21..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Returns a cache with that many rows, and as many keys of them as a pass takes, in random order.
fn filled(rows: u64) -> (Cache, Vec<Key>) {
    let cache = Cache::new(CACHE_BYTES);
    for number in 0..rows {
        cache.row_fill(&key(number), FILLED_AT, &VALUE);
    }
    let mut rng = fastrand::Rng::with_seed(1);
    (cache, (0..PASS).map(|_| key(rng.u64(..rows))).collect())
}

#[divan::bench(args = [1_000, 500_000], sample_count = 9, sample_size = 1)]
fn row_hit(bencher: Bencher<'_, '_>, rows: u64) {
    let (cache, keys) = filled(rows);
    let mut value = Value::default();
    bencher.counter(ItemsCount::new(PASS)).bench_local(|| {
        for key in &keys {
            assert!(cache.row_get(key, AT, &mut value));
            black_box(&value[..]);
        }
    });
}

#[divan::bench(args = [1_000, 500_000], sample_count = 9, sample_size = 1)]
fn row_miss(bencher: Bencher<'_, '_>, rows: u64) {
    let (cache, _) = filled(rows);
    let keys: Vec<Key> = (rows..).take(PASS).map(key).collect();
    let mut value = Value::default();
    bencher.counter(ItemsCount::new(PASS)).bench_local(|| {
        for key in &keys {
            assert!(!cache.row_get(key, AT, &mut value));
        }
    });
}

#[divan::bench(args = [1_000, 500_000], sample_count = 9, sample_size = 1)]
fn applied_without_row(bencher: Bencher<'_, '_>, rows: u64) {
    let (cache, _) = filled(rows);
    let keys: Vec<Key> = (rows..).take(PASS).map(key).collect();
    bencher.counter(ItemsCount::new(PASS)).bench_local(|| {
        for key in &keys {
            cache.row_applied(key, AT);
        }
    });
}
