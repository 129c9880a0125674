//! What the cache holds after a compaction.

use super::*;

const KEYS: u32 = 400;

fn key(number: u32) -> Vec<u8> {
    [&[2, 0, 0][..], &number.wrapping_mul(0x9e37_79b1).to_be_bytes()].concat()
}

/// One index block a table, so that few reads are of indexes.
fn options(cache: &Arc<Cache>) -> Options {
    let cache = Arc::clone(cache);
    Options { index_bytes: 4 << 10, cache, memtable_bytes: 1 << 20, memtables_bytes_max: 8 << 20, ..tiny() }
}

/// Makes a tree of two runs that have every other key each.
fn two_runs(disk: &SimDisk, cache: &Arc<Cache>) -> Tree {
    let mut tree = open(disk, "tree", options(cache)).unwrap();
    for run in 0..2 {
        for number in (run..KEYS).step_by(2) {
            put(&mut tree, &key(number), &number.to_be_bytes());
        }
        flush(&mut tree);
    }
    assert_eq!(tree.stats().level0_runs, 2);
    tree
}

/// Reads all keys and returns how many blocks had to be read from files.
fn read_all(tree: &Tree) -> u64 {
    let before = tree.stats().blocks_read;
    for number in 0..KEYS {
        assert_eq!(get(&tree.view(), &key(number)), Some(number.to_be_bytes().to_vec()));
    }
    tree.stats().blocks_read - before
}

#[test]
fn what_was_cached_before_a_compaction_is_cached_after_it_and_nothing_else() {
    let disk = SimDisk::new(1);
    let cache = Arc::new(Cache::new(1 << 20));
    let mut tree = two_runs(&disk, &cache);
    assert!(read_all(&tree) > 100);
    assert_eq!(read_all(&tree), 0);
    compact(&mut tree);
    let tables: u64 = tree.stats().level_tables.iter().sum();
    assert!(tables > 5 && tree.stats().level0_runs == 0, "all of it was merged");
    assert_eq!(read_all(&tree), tables, "the indexes are read, and no data");
    let bytes = cache.stats().bytes;
    drop(tree);
    let fresh = Arc::new(Cache::new(1 << 20));
    let tree = open(&disk, "tree", options(&fresh)).unwrap();
    read_all(&tree);
    assert_eq!(bytes, fresh.stats().bytes, "blocks of tables that are gone are still there");
}

#[test]
fn a_compaction_of_what_nobody_reads_leaves_nothing_in_the_cache() {
    let cache = Arc::new(Cache::new(1 << 20));
    let mut tree = two_runs(&SimDisk::new(1), &cache);
    compact(&mut tree);
    assert_eq!(cache.stats().bytes, 0);
    assert!(read_all(&tree) > 100);
}

#[test]
fn a_view_from_before_a_compaction_still_reads_from_the_cache() {
    let cache = Arc::new(Cache::new(1 << 20));
    let mut tree = two_runs(&SimDisk::new(1), &cache);
    let view = tree.view();
    read_all(&tree);
    compact(&mut tree);
    let before = tree.stats().blocks_read;
    for number in 0..KEYS {
        assert_eq!(get(&view, &key(number)), Some(number.to_be_bytes().to_vec()));
    }
    assert_eq!(tree.stats().blocks_read, before);
    drop(view);
    compact(&mut tree);
    let most = cache.stats().bytes;
    read_all(&tree);
    let pinned: u64 = cache.stats().bytes - most;
    assert!(pinned < most, "the blocks of the old tables went with the view");
}
