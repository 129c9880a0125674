//! Writes a table, front to back.

use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

use super::{
    Properties, TableContext, file_name, filter,
    footer::{FOOTER_BYTES, Footer},
};
use crate::{
    bugs::{self, Bug},
    disk::{Disk, File, join},
    lsm::{
        Index, Result,
        block::{BlockBuilder, Handle, Sealer},
        coding::{common_prefix, put_varint},
        error::{At, unsynced},
    },
};

/// Bytes collected before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// How a table is laid out.
#[derive(Clone, Copy, Debug)]
pub(in crate::lsm) struct TableFormat {
    pub(in crate::lsm) family: u8,
    pub(in crate::lsm) block_bytes: usize,
    pub(in crate::lsm) restart_interval: usize,
    /// Size of an index block, which is what ends a partition.
    pub(in crate::lsm) index_bytes: usize,
    /// 0: no filter.
    pub(in crate::lsm) filter_bits_per_key: usize,
    pub(in crate::lsm) compress: bool,
    /// No record is older.
    pub(in crate::lsm) base_index: Index,
}

/// A table that is being written. Dropped before [`TableWriter::finish`], it leaves a file that nobody refers to, which is
/// removed when the tree is opened.
pub(in crate::lsm) struct TableWriter {
    file: Arc<dyn File>,
    path: String,
    format: TableFormat,
    sealer: Sealer,
    data: BlockBuilder,
    /// Records of `data`, and those of them that were in the cache before.
    data_records: u32,
    data_cached: u32,
    /// Whose cache gets the blocks most of whose records were in it.
    context: Option<Arc<TableContext>>,
    index: BlockBuilder,
    top: BlockBuilder,
    /// Of the keys in this partition.
    hashes: Vec<u64>,
    /// The data block that is not in the index yet: its separator depends on the key that comes next.
    unlisted: Option<Handle>,
    last_key: Vec<u8>,
    scratch: Vec<u8>,
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte.
    written_bytes: u64,
    file_hash: Xxh3Default,
    properties: Properties,
}

impl TableWriter {
    /// Makes the file of the table `id` in `dir`.
    pub(in crate::lsm) fn create(
        disk: &dyn Disk,
        dir: &str,
        id: u64,
        format: TableFormat,
    ) -> Result<TableWriter> {
        let path = join(dir, &file_name(id));
        let file = disk.create(&path).at("create", &path)?;
        Ok(TableWriter {
            file,
            path,
            format,
            sealer: Sealer::new(),
            data: BlockBuilder::new(format.restart_interval),
            data_records: 0,
            data_cached: 0,
            context: None,
            index: BlockBuilder::new(1),
            top: BlockBuilder::new(1),
            hashes: Vec::new(),
            unlisted: None,
            last_key: Vec::new(),
            scratch: Vec::new(),
            buffer: Vec::with_capacity(WRITE_BYTES + 2 * format.block_bytes),
            written_bytes: 0,
            file_hash: Xxh3Default::new(),
            properties: Properties {
                id,
                file_bytes: 0,
                file_hash: 0,
                family: format.family,
                min_key: Bytes::new(),
                max_key: Bytes::new(),
                base_index: format.base_index,
                max_index: format.base_index,
                records: 0,
                tombstones: 0,
                raw_bytes: 0,
                data_blocks: 0,
            },
        })
    }

    /// Lets the writer put blocks into the cache, as [`TableWriter::count_cached`] asks for it.
    pub(in crate::lsm) fn with_cache(self, context: Arc<TableContext>) -> TableWriter {
        TableWriter { context: Some(context), ..self }
    }

    /// Says that the record which is added next was in the cache, in the table that it comes from. A block of which this is
    /// said of most records is in the cache from the start, so that readers do not find a cold cache after a compaction.
    pub(in crate::lsm) fn count_cached(&mut self) {
        self.data_cached += 1;
    }

    /// Adds a record, above all before it; `value` is `None` for a tombstone.
    pub(in crate::lsm) fn add(&mut self, key: &[u8], index: Index, value: Option<&[u8]>) -> Result<()> {
        assert!(key.first() == Some(&self.format.family), "a table holds one family");
        assert!(*self.last_key < *key, "the keys of a table ascend");
        assert!(self.format.base_index <= index, "a record is older than the table's base index");
        if let Some(handle) = self.unlisted.take() {
            let last_key = std::mem::take(&mut self.last_key);
            self.list(separator(&last_key, key), handle)?;
            self.last_key = last_key;
        }
        if self.properties.records == 0 {
            self.properties.min_key = Bytes::copy_from_slice(key);
        }
        self.data.add(key, index - self.format.base_index, value);
        self.data_records += 1;
        if self.format.filter_bits_per_key > 0 {
            self.hashes.push(filter::hash(key));
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        let properties = &mut self.properties;
        properties.records += 1;
        properties.tombstones += u64::from(value.is_none());
        properties.raw_bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        properties.max_index = properties.max_index.max(index);
        if self.data.bytes() >= self.format.block_bytes {
            self.end_data_block()?;
        }
        Ok(())
    }

    pub(in crate::lsm) fn family(&self) -> u8 {
        self.format.family
    }

    pub(in crate::lsm) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the size of the file so far, in bytes, without index and filter of the current partition.
    pub(in crate::lsm) fn bytes(&self) -> u64 {
        self.offset() + self.data.bytes() as u64
    }

    /// Writes the rest, makes the file durable (its directory entry is the caller's concern) and returns what it holds.
    pub(in crate::lsm) fn finish(mut self) -> Result<Properties> {
        assert!(self.properties.records > 0, "a table has at least one record");
        if !self.data.is_empty() {
            self.end_data_block()?;
        }
        let handle = self.unlisted.take().expect("the last data block waits for its successor");
        let last_key = std::mem::take(&mut self.last_key);
        self.list(&last_key, handle)?;
        if !self.index.is_empty() {
            self.end_partition()?;
        }
        self.properties.max_key = Bytes::from(last_key);
        let at = self.offset();
        let top = self.sealer.seal(self.top.finish(), false, self.properties.id, at, &mut self.buffer);
        self.scratch.clear();
        self.properties.encode(&mut self.scratch);
        let at = self.offset();
        let properties = self.sealer.seal(&self.scratch, false, self.properties.id, at, &mut self.buffer);
        let footer = Footer { id: self.properties.id, top, properties }.encode();
        self.buffer.extend_from_slice(&footer);
        self.flush()?;
        assert!(self.written_bytes > FOOTER_BYTES as u64, "a table is more than its footer");
        self.properties.file_bytes = self.written_bytes;
        self.properties.file_hash = self.file_hash.digest128();
        if !bugs::on(Bug::EditBeforeTableSync) {
            self.file.sync().map_err(unsynced(&self.path))?;
        }
        Ok(self.properties)
    }

    fn offset(&self) -> u64 {
        self.written_bytes + self.buffer.len() as u64
    }

    fn end_data_block(&mut self) -> Result<()> {
        assert!(self.unlisted.is_none(), "a block is listed before the next one ends");
        let compress = self.format.compress;
        let id = self.properties.id;
        let offset = self.offset();
        let contents = self.data.finish();
        if let Some(context) = self.context.as_ref().filter(|_| self.data_cached > self.data_records / 2) {
            context.cache.insert_block(context.owner, id, offset, Bytes::copy_from_slice(contents));
        }
        self.unlisted = Some(self.sealer.seal(contents, compress, id, offset, &mut self.buffer));
        self.data.reset();
        (self.data_records, self.data_cached) = (0, 0);
        self.properties.data_blocks += 1;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Puts a data block into the index, under a key that separates it from the next one, and ends the partition if the
    /// index block is full.
    fn list(&mut self, separator: &[u8], handle: Handle) -> Result<()> {
        self.scratch.clear();
        put_varint(&mut self.scratch, handle.offset);
        put_varint(&mut self.scratch, handle.bytes.into());
        self.index.add(separator, 0, Some(&self.scratch));
        if self.index.bytes() >= self.format.index_bytes { self.end_partition() } else { Ok(()) }
    }

    fn end_partition(&mut self) -> Result<()> {
        let separator = self.index.last_key().to_vec();
        let index = self.index.finish();
        let index_bytes = u32::try_from(index.len()).expect("an index block is a few KiB");
        self.scratch.clear();
        self.scratch.extend_from_slice(index);
        self.index.reset();
        if !self.hashes.is_empty() {
            filter::build(&self.hashes, self.format.filter_bits_per_key, &mut self.scratch);
            self.hashes.clear();
        }
        self.scratch.extend_from_slice(&index_bytes.to_le_bytes());
        let at = self.offset();
        let handle = self.sealer.seal(&self.scratch, false, self.properties.id, at, &mut self.buffer);
        self.scratch.clear();
        put_varint(&mut self.scratch, handle.offset);
        put_varint(&mut self.scratch, handle.bytes.into());
        self.top.add(&separator, 0, Some(&self.scratch));
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_at(&self.buffer, self.written_bytes).at("write", &self.path)?;
        self.file_hash.update(&self.buffer);
        self.written_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Returns a key that is not below `last` and below `next`, and short if that is easy.
fn separator<'a>(last: &'a [u8], next: &'a [u8]) -> &'a [u8] {
    let short = common_prefix(last, next) + 1;
    if short < next.len() { &next[..short] } else { last }
}
