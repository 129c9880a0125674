//! Publication under every order of memory operations that the language allows: one writer, one reader, tiny arenas.

use std::sync::Arc;

use loom::thread;

use super::*;
use crate::{
    bugs::{self, Bug},
    sync::{AtomicU64, Ordering},
};

const FAMILIES: &[Family] = &[
    Family { name: "plain", skip_bits: None, filter: true, rows: false, block_bytes: 4096 },
    Family { name: "uniform", skip_bits: Some(8), filter: true, rows: true, block_bytes: 4096 },
];

/// Runs every execution of a reader of the published index beside a writer of entry 2. Entry 1 has these keys.
fn explore(keys: &'static [&'static [u8]], write: fn(&mut Writer), read: fn(&Arc<Memtable>, Index)) {
    loom::model(move || {
        let (memtable, mut writer) = Memtable::new(FAMILIES, 100 * 8);
        for key in keys {
            writer.insert(1, key, Some(b"old"));
        }
        let published = Arc::new(AtomicU64::new(1));
        let writer = thread::spawn({
            let published = Arc::clone(&published);
            move || {
                write(&mut writer);
                published.store(2, Ordering::Release);
            }
        });
        read(&memtable, published.load(Ordering::Acquire));
        writer.join().unwrap();
    });
}

/// Checks that a panic of the model is what `explore` comes to when links are stored Relaxed.
fn assert_relaxed_is_caught(write: fn(&mut Writer), read: fn(&Arc<Memtable>, Index)) {
    let explore = || std::panic::catch_unwind(|| explore(&[b"\0b"], write, read));
    let caught = bugs::with(Bug::MemtablePublishRelaxed, explore);
    assert!(caught.is_err(), "no execution showed the planted bug");
}

fn overwrite(writer: &mut Writer) {
    writer.insert(2, b"\0b", Some(b"new"));
}

fn read_overwritten(memtable: &Arc<Memtable>, at: Index) {
    let mut value = Value::default();
    assert_eq!(memtable.get(b"\0b", at, &mut value), Found::Value);
    assert_eq!(&value[..], if at == 1 { b"old" } else { b"new" });
}

#[test]
fn a_reader_sees_the_version_of_its_view() {
    explore(&[b"\0b"], overwrite, read_overwritten);
}

#[test]
fn a_version_published_relaxed_is_caught() {
    assert_relaxed_is_caught(overwrite, read_overwritten);
}

fn insert_in_front(writer: &mut Writer) {
    writer.insert(2, b"\0a", Some(b"new"));
}

fn read_past_it(memtable: &Arc<Memtable>, at: Index) {
    let mut value = Value::default();
    assert_eq!(memtable.get(b"\0b", at, &mut value), Found::Value);
    assert_eq!(&value[..], b"old");
    let found = memtable.get(b"\0a", at, &mut value);
    assert_eq!(found == Found::Value, at == 2);
}

#[test]
fn a_reader_passes_a_key_that_is_being_inserted() {
    explore(&[b"\0b"], insert_in_front, read_past_it);
}

#[test]
fn a_key_published_relaxed_is_caught() {
    assert_relaxed_is_caught(insert_in_front, read_past_it);
}

fn open_a_directory(writer: &mut Writer) {
    writer.insert(2, b"\x01a", Some(b"new"));
}

fn walk(memtable: &Arc<Memtable>, at: Index) {
    let mut cursor = memtable.cursor(at);
    cursor.seek_first();
    assert_eq!(cursor.key(), b"\0b");
    cursor.next();
    assert_eq!(cursor.valid(), at == 2);
    assert!(at == 1 || cursor.value() == Some(b"new"));
}

#[test]
fn a_walk_meets_a_directory_that_is_being_made() {
    explore(&[b"\0b"], open_a_directory, walk);
}

fn crowd(writer: &mut Writer) {
    writer.insert(2, b"\0dd", Some(b"new"));
}

fn read_behind_it(memtable: &Arc<Memtable>, at: Index) {
    assert_eq!(memtable.find(b"\0h", at), Found::Value);
    assert_eq!(memtable.find(b"\0dd", at) == Found::Value, at == 2);
}

#[test]
fn a_reader_passes_a_chain_that_becomes_a_skiplist() {
    explore(&[b"\0a", b"\0b", b"\0c", b"\0d", b"\0e", b"\0f", b"\0g", b"\0h"], crowd, read_behind_it);
}
