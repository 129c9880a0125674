//! What does the log cost? `cargo bench --bench benches log`
//!
//! - `sync_group`: a group of 6 KiB, written and synced, on the disk under the directory for temporary files; beside it
//!   `sync_raw`, the same bytes by pwrite and fdatasync on a file that was written with zeros and synced before.
//! - `encode_100_bytes`: a group of 64 entries of 100 bytes, on a disk that does nothing: framing, checksum, index.

use std::any::Any;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sisyphusdb::disk::{Disk, File, RealDisk, SyncError};
use sisyphusdb::log::{Entry, EntryKind, Log, Operation, Options};

/// Makes a group of entries that follow the last one.
fn group(last: &mut u64, count: u64, body: &Bytes) -> Vec<Operation> {
    let first = *last + 1;
    *last += count;
    (first..=*last)
        .map(|index| Entry { index, term: 1, kind: EntryKind::Effects, body: body.clone() })
        .map(Operation::Entry)
        .collect()
}

#[divan::bench(sample_count = 2000, sample_size = 1)]
fn sync_group(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let disk = Arc::new(RealDisk::new(dir.path().to_owned()).expect("it is there"));
    let (mut log, _) = Log::open(disk, "log", Options::default(), 1).expect("a new log");
    while log.idle().expect("the disk works") {}
    let body = Bytes::from(vec![7; 200]);
    let mut last = 0;
    bencher.bench_local(|| {
        // 24 records of 256 bytes.
        log.write(&group(&mut last, 24, &body)).expect("the disk works");
        log.sync().expect("the disk works");
    });
}

#[divan::bench(sample_count = 2000, sample_size = 1)]
fn sync_raw(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let disk = RealDisk::new(dir.path().to_owned()).expect("it is there");
    let file = disk.create("file").expect("the disk works");
    let len = Options::default().segment_bytes;
    file.write_at(&vec![0; usize::try_from(len).expect("it fits")], 0).expect("the disk works");
    file.sync().expect("the disk works");
    let bytes = vec![7; 24 * 256];
    let mut offset = 0;
    bencher.bench_local(|| {
        file.write_at(&bytes, offset).expect("the disk works");
        file.sync().expect("the disk works");
        offset = (offset + bytes.len() as u64) % (len - bytes.len() as u64);
    });
}

#[divan::bench(sample_count = 1000)]
fn encode_100_bytes(bencher: Bencher<'_, '_>) {
    const ENTRIES: u64 = 64;
    let (mut log, _) = Log::open(Arc::new(Nothing), "log", Options::default(), 1).expect("nothing can fail");
    let body = Bytes::from(vec![7; 100]);
    let mut last = 0;
    bencher
        .counter(ItemsCount::new(ENTRIES))
        .with_inputs(|| group(&mut last, ENTRIES, &body))
        .bench_local_refs(|group| {
            log.write(black_box(group)).expect("nothing can fail");
            log.sync().expect("nothing can fail");
            log.cut(log.reader().last_index()).expect("nothing can fail");
        });
}

/// A disk that does nothing and holds nothing.
struct Nothing;

impl Disk for Nothing {
    fn create(&self, _: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Self))
    }
    fn open(&self, _: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Self))
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn link(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn create_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn sync_dir(&self, _: &str) -> Result<(), SyncError> {
        Ok(())
    }
    fn exists(&self, _: &str) -> io::Result<bool> {
        Ok(false)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
    fn lock(&self, _: &str) -> io::Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(()))
    }
}

impl File for Nothing {
    fn len(&self) -> io::Result<u64> {
        Ok(Options::default().segment_bytes)
    }
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Ok(())
    }
    fn try_read_at(&self, _: &mut [u8], _: u64) -> io::Result<bool> {
        Ok(true)
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync(&self) -> Result<(), SyncError> {
        Ok(())
    }
    fn refresh(&self) -> io::Result<()> {
        Ok(())
    }
}
