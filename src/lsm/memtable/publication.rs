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

/// Runs every execution of a reader at index 1 beside a writer of later entries. The executions are bounded to three
/// switches between the threads at places where neither must wait.
fn explore(write: fn(&mut Writer), read: fn(&Arc<Memtable>, Index)) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let (memtable, mut writer) = Memtable::new(FAMILIES, 50 * 8);
        writer.insert(1, b"\0b", Some(b"old"));
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
    let caught =
        bugs::with(Bug::MemtablePublishRelaxed, || std::panic::catch_unwind(|| explore(write, read)));
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
    explore(overwrite, read_overwritten);
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
    explore(insert_in_front, read_past_it);
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
    explore(open_a_directory, walk);
}
