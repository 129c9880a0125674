//! Verification: reads everything and checks everything that can be checked.

use std::sync::{Arc, Mutex};

use xxhash_rust::xxh3::Xxh3Default;

use super::{
    Access, Cache, Error, Result,
    error::At,
    stats::Counters,
    store::Store,
    table::{Table, TableContext, TableIter, filter},
    version::{Placed, Version},
};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// Reads all tables of one version from the disk, past all caches, and checks them: the hash of each file, the checksum of
/// each block, the order of the keys, that filters know them, and that the properties are true.
#[must_use = "nothing is verified until the job runs"]
pub struct VerifyJob {
    pub(super) store: Arc<Store>,
    pub(super) version: Arc<Version<Table>>,
}

/// What was verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Tables read.
    pub tables: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
}

impl VerifyJob {
    /// Runs the job.
    ///
    /// # Errors
    /// [`Error::Corrupt`] names the first damage.
    pub fn run(self) -> Result<Verified> {
        let context = Arc::new(TableContext {
            disk: Arc::clone(&self.store.context.disk),
            cache: Arc::new(Cache::new(0)),
            owner: 0,
            counters: Counters::default(),
            trash: Mutex::new(Vec::new()),
        });
        let mut verified = Verified::default();
        for placed in self.version.tables() {
            self.table(&context, placed)?;
            verified.tables += 1;
            verified.bytes += placed.bytes();
            verified.records += placed.properties.records;
        }
        Ok(verified)
    }

    fn table(&self, context: &Arc<TableContext>, placed: &Placed<Table>) -> Result<()> {
        let path = placed.table.path();
        let corrupt = |what| Error::Corrupt { file: path.to_owned(), offset: 0, what };
        if self.file_hash(path)? != placed.properties.file_hash {
            return Err(corrupt("the hash of the file is not that in the manifest"));
        }
        let table = Arc::new(Table::open(context, &self.store.dir, Arc::clone(&placed.properties))?);
        let mut iter = TableIter::new(Arc::clone(&table), Access::Disk, 0);
        let mut found = Found::default();
        iter.first()?;
        while iter.valid() {
            if !found.add(&iter) {
                return Err(corrupt("its keys do not ascend, or are not of its family"));
            }
            if !iter.passes_filter(filter::hash(iter.key()))? {
                return Err(corrupt("a filter does not know a key"));
            }
            iter.next(None)?;
        }
        if found.agrees(placed) {
            Ok(())
        } else {
            Err(corrupt("its records are not what its properties say"))
        }
    }

    fn file_hash(&self, path: &str) -> Result<u128> {
        let file = self.store.context.disk.open(path).at("open", path)?;
        file.refresh().at("refresh", path)?;
        let file_bytes = file.len().at("measure", path)?;
        let mut hash = Xxh3Default::new();
        let mut offset = 0;
        let mut buffer = vec![0; READ_BYTES];
        while offset < file_bytes {
            let bytes = usize::try_from(file_bytes - offset).unwrap_or(READ_BYTES).min(READ_BYTES);
            file.read_at(&mut buffer[..bytes], offset).at("read", path)?;
            hash.update(&buffer[..bytes]);
            offset += bytes as u64;
        }
        Ok(hash.digest128())
    }
}

/// What the records of a table come to.
#[derive(Default)]
struct Found {
    min_key: Vec<u8>,
    last_key: Vec<u8>,
    max_index: u64,
    records: u64,
    tombstones: u64,
    raw_bytes: u64,
}

impl Found {
    /// Adds the current record; false if it does not belong there.
    fn add(&mut self, iter: &TableIter) -> bool {
        let key = iter.key();
        let family = iter.table().properties().family;
        if key.first() != Some(&family) || (self.records > 0 && *key <= *self.last_key) {
            return false;
        }
        if self.records == 0 {
            self.min_key = key.to_vec();
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.max_index = self.max_index.max(iter.index());
        self.records += 1;
        self.tombstones += u64::from(iter.value().is_none());
        self.raw_bytes += (key.len() + iter.value().map_or(0, <[u8]>::len)) as u64;
        true
    }

    fn agrees(&self, placed: &Placed<Table>) -> bool {
        let properties = &placed.properties;
        *self.min_key == *properties.min_key
            && *self.last_key == *properties.max_key
            && self.max_index == properties.max_index
            && self.records == properties.records
            && self.tombstones == properties.tombstones
            && self.raw_bytes == properties.raw_bytes
    }
}
