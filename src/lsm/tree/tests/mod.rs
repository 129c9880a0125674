//! The whole engine against a map in memory, on the simulated disk.

mod damage;
mod full_disk;
mod model;
mod rules;
mod warmth;

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    disk::SimDisk,
    lsm::{Access, Cache, Cursor, Error, Family, Levels, Value},
};

pub(super) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Families of the tests: names, uniform keys, plain keys, graves. Blocks are tiny.
pub(super) const FAMILIES: &[Family] = &[
    Family { name: "system", skip_bits: None, filter: false, rows: false, block_bytes: 64 },
    Family { name: "meta", skip_bits: Some(16), filter: true, rows: true, block_bytes: 64 },
    Family { name: "data", skip_bits: Some(16), filter: true, rows: false, block_bytes: 64 },
    Family { name: "dead", skip_bits: None, filter: true, rows: false, block_bytes: 64 },
];
pub(super) const GRAVES: u8 = 3;

/// Everything small, so that a few hundred entries fill all levels.
pub(super) fn tiny() -> Options {
    Options {
        graves: Some(GRAVES),
        levels: Levels {
            level0_runs: 2,
            base_bytes: 4 << 10,
            fan_out: 2,
            table_bytes: 1 << 10,
            compress_from: 6,
        },
        restart_interval: 3,
        index_bytes: 64,
        ..Options::new(FAMILIES, Arc::new(Cache::new(8 << 10)), 4 << 10)
    }
}

pub(super) fn open(disk: &SimDisk, dir: &str, options: Options) -> Result<Tree> {
    Tree::open(Arc::new(disk.clone()), dir, options)
}

/// Returns the position after `position`, in the same term.
pub(super) fn after(position: Position) -> Position {
    Position { index: position.index + 1, ..position }
}

pub(super) fn put(tree: &mut Tree, key: &[u8], value: &[u8]) {
    let position = after(tree.applied());
    tree.apply(position, &Batch::builder().put(key, value).finish());
}

pub(super) fn delete(tree: &mut Tree, key: &[u8]) {
    let position = after(tree.applied());
    tree.apply(position, &Batch::builder().delete(key).finish());
}

/// Flushes everything that was applied.
pub(super) fn flush(tree: &mut Tree) {
    tree.seal();
    while let Some(job) = tree.next_flush() {
        let installed = job.run().unwrap();
        tree.install(installed);
    }
}

/// Compacts until there is nothing left to do.
pub(super) fn compact(tree: &mut Tree) {
    for _ in 0..10_000 {
        let Some(job) = tree.next_compaction() else { return };
        let installed = job.run().unwrap();
        tree.install(installed);
    }
    panic!("compaction does not come to an end");
}

pub(super) fn get(view: &View, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = Value::default();
    view.get(key, Access::Disk, &mut value).unwrap().then(|| value.to_vec())
}

/// Returns all that a view shows, read forwards.
pub(super) fn all(view: &View) -> Result<Map> {
    let mut cursor = view.cursor(Access::Disk);
    cursor.seek(b"")?;
    let mut map = Map::new();
    while cursor.valid() {
        let before = map.last_key_value().map(|(key, _)| key.clone());
        assert!(before.is_none_or(|before| *before < *cursor.key()), "the keys of a cursor ascend");
        map.insert(cursor.key().to_vec(), cursor.value().to_vec());
        cursor.next()?;
    }
    Ok(map)
}

/// Returns all that a view shows, read backwards.
pub(super) fn all_backwards(view: &View) -> Result<Map> {
    let mut cursor = view.cursor(Access::Disk);
    cursor.seek_before(&[0xff; 8])?;
    let mut map = Map::new();
    while cursor.valid() {
        map.insert(cursor.key().to_vec(), cursor.value().to_vec());
        cursor.prev()?;
    }
    Ok(map)
}

pub(super) fn current(cursor: &Cursor) -> Option<(Vec<u8>, Vec<u8>)> {
    cursor.valid().then(|| (cursor.key().to_vec(), cursor.value().to_vec()))
}

/// Returns the effects of `entries` on an empty map.
pub(super) fn replayed<'a>(entries: impl IntoIterator<Item = &'a Option<Batch>>) -> Map {
    let mut map = Map::new();
    for batch in entries.into_iter().flatten() {
        for (key, value) in batch {
            match value {
                Some(value) => drop(map.insert(key.to_vec(), value.to_vec())),
                None => drop(map.remove(key)),
            }
        }
    }
    map
}
