//! A table that is open: its top index in memory, indexes and filters too while there is room, all else through the cache.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use super::{
    Properties, file_name, filter,
    footer::{FOOTER_BYTES, Footer},
};
use crate::{
    disk::{Disk, File, join},
    lsm::{
        Access, Cache, Error, Result, Value,
        block::{Block, BlockIter, BlockRef, Handle, Malformed, unseal},
        coding::{Reader, fence},
        error::At,
        stats::Counters,
    },
};

/// What is read at once when a table is opened: enough for top, properties and footer of most.
const TAIL_BYTES: u64 = 16 << 10;
/// Values of at least this size are shared with their block instead of being copied out of it.
const SHARED_BYTES_MIN: usize = 4 << 10;

/// What all tables of a tree share.
pub(in crate::lsm) struct TableContext {
    pub(in crate::lsm) disk: Arc<dyn Disk>,
    pub(in crate::lsm) cache: Arc<Cache>,
    /// Tells this tree's blocks from those of others in the same cache.
    pub(in crate::lsm) owner: u64,
    pub(in crate::lsm) counters: Counters,
    /// Files that no version and no reader holds any more.
    pub(in crate::lsm) trash: Mutex<Vec<Remains>>,
}

/// A file that is to be removed, and what the cache may still hold of the table that it was.
pub(in crate::lsm) struct Remains {
    pub(in crate::lsm) path: String,
    table: Option<(u64, Partitions)>,
}

impl Remains {
    /// The remains of a file that never became a table.
    pub(in crate::lsm) fn of_file(path: String) -> Remains {
        Remains { path, table: None }
    }

    /// Drops what the cache of `context` holds of the table. A cache that kept it would grow with every compaction up
    /// to its budget, by blocks that nobody asks for any more.
    ///
    /// What is in memory of the indexes tells where the blocks are. Those of other indexes stay until they are driven
    /// out: no file is read for their sake.
    pub(in crate::lsm) fn leave_cache(&self, context: &TableContext) {
        let Some((id, partitions)) = &self.table else { return };
        let remove = |offset: u64| context.cache.remove_block(context.owner, *id, offset);
        for partition in &partitions.all {
            let cached = remove(partition.index.offset).and_then(|contents| IndexPart::new(contents).ok());
            let pinned = partition.pinned.get().map(|pinned| &pinned.part);
            let Some(part) = pinned.or(cached.as_ref()) else { continue };
            for handle in part.handles() {
                remove(handle.offset);
            }
        }
    }
}

/// What a look-up in tables came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lsm) enum Found {
    Missing,
    Deleted,
    Value,
}

/// An open table. Its file is given up for removal when the last one who holds the table lets go, if it is obsolete.
pub(in crate::lsm) struct Table {
    properties: Arc<Properties>,
    path: String,
    file: Arc<dyn File>,
    partitions: Partitions,
    context: Arc<TableContext>,
    is_obsolete: AtomicBool,
}

/// The top index. What it pins of the cache is given back with it.
#[derive(Default)]
struct Partitions {
    all: Vec<Partition>,
    /// None as long as nothing can be pinned.
    cache: Option<Arc<Cache>>,
}

impl Drop for Partitions {
    fn drop(&mut self) {
        let Some(cache) = &self.cache else { return };
        let pinned = self.all.iter().filter_map(|partition| partition.pinned.get());
        cache.unpin(pinned.map(Pinned::bytes).sum());
    }
}

/// A record of the top index.
struct Partition {
    /// Orders as the separators do, and is found without following a pointer.
    fence: u64,
    separator: Bytes,
    index: Handle,
    /// Kept from the first use on, if the cache grants the room.
    pinned: OnceLock<Pinned>,
}

/// What is kept of a partition.
struct Pinned {
    part: IndexPart,
    /// Of the keys in its index: most of a search needs nothing else, and these are few lines of memory.
    fences: Box<[u64]>,
}

impl Pinned {
    fn new(part: IndexPart, records: usize) -> Result<Pinned, Malformed> {
        let mut index = BlockIter::new(Block::new(part.contents.slice(..part.index_bytes))?);
        let mut fences = Vec::with_capacity(records);
        index.first()?;
        while index.valid() {
            fences.push(fence(index.key()));
            index.next()?;
        }
        if fences.len() != records {
            return Err(Malformed("not every record of an index is a restart point"));
        }
        Ok(Pinned { part, fences: fences.into() })
    }

    fn bytes(&self) -> u64 {
        (self.part.contents.len() + size_of_val(&*self.fences)) as u64
    }

    /// Returns which records of the index have to be looked at to find the first that is not below `key`.
    fn candidates(&self, key: &[u8]) -> std::ops::Range<usize> {
        let wanted = fence(key);
        let start = self.fences.partition_point(|&fence| fence < wanted);
        start..start + self.fences[start..].partition_point(|&fence| fence == wanted)
    }
}

/// The index and the filter of a partition.
#[derive(Clone)]
struct IndexPart {
    contents: Bytes,
    index_bytes: usize,
}

impl IndexPart {
    fn new(contents: Bytes) -> Result<IndexPart, Malformed> {
        let (rest, length) =
            contents.split_last_chunk::<4>().ok_or(Malformed("an index part has no length"))?;
        let index_bytes = u32::from_le_bytes(*length) as usize;
        if index_bytes > rest.len() {
            return Err(Malformed("an index is longer than the part it is in"));
        }
        Ok(IndexPart { contents, index_bytes })
    }

    fn index(&self) -> Result<BlockRef<'_>, Malformed> {
        BlockRef::new(&self.contents[..self.index_bytes])
    }

    /// Returns where the data blocks are, up to the first record that is none of an index.
    fn handles(&self) -> impl Iterator<Item = Handle> {
        let mut index = Block::new(self.contents.slice(..self.index_bytes)).map(BlockIter::new);
        let mut is_first = true;
        std::iter::from_fn(move || {
            let index = index.as_mut().ok()?;
            if std::mem::take(&mut is_first) { index.first() } else { index.next() }.ok()?;
            index.valid().then(|| read_handle(&mut Reader::new(index.value()?)))?
        })
    }

    /// Returns the filter; empty if there is none.
    fn filter(&self) -> &[u8] {
        &self.contents[self.index_bytes..self.contents.len() - 4]
    }
}

impl Table {
    /// Opens the table with these properties in `dir`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file is not that table.
    pub(in crate::lsm) fn open(
        context: &Arc<TableContext>,
        dir: &str,
        properties: Arc<Properties>,
    ) -> Result<Table> {
        let path = join(dir, &file_name(properties.id));
        let file = context.disk.open(&path).at("open", &path)?;
        let file_bytes = file.len().at("measure", &path)?;
        let corrupt = |offset: u64, what: &'static str| Error::Corrupt { file: path.clone(), offset, what };
        if file_bytes != properties.file_bytes || file_bytes < FOOTER_BYTES as u64 {
            return Err(corrupt(file_bytes, "its length is not that in the manifest"));
        }
        let tail_bytes = file_bytes.min(TAIL_BYTES);
        let tail_at = file_bytes - tail_bytes;
        let mut tail = vec![0; usize::try_from(tail_bytes).expect("at most 16 KiB")];
        file.read_at(&mut tail, tail_at).at("read", &path)?;
        let footer_at = file_bytes - FOOTER_BYTES as u64;
        let footer = tail.last_chunk().expect("the tail holds the footer");
        let footer = Footer::decode(footer).map_err(|Malformed(what)| corrupt(footer_at, what))?;
        if footer.id != properties.id {
            return Err(corrupt(footer_at, "it is another table"));
        }
        let part = |handle: Handle| -> Result<Bytes> {
            let end = handle.offset.checked_add(handle.bytes.into()).filter(|&end| end <= footer_at);
            if end.is_none() {
                return Err(corrupt(footer_at, "the footer points outside of the file"));
            }
            let mut raw = vec![0; handle.bytes as usize];
            match handle.offset.checked_sub(tail_at).and_then(|at| usize::try_from(at).ok()) {
                Some(at) => raw.copy_from_slice(&tail[at..at + handle.bytes as usize]),
                None => file.read_at(&mut raw, handle.offset).at("read", &path)?,
            }
            unseal(raw, properties.id, handle.offset).map_err(|Malformed(what)| corrupt(handle.offset, what))
        };
        let found = part(footer.properties)?;
        let expected = Properties { id: 0, file_bytes: 0, file_hash: 0, ..(*properties).clone() };
        if Properties::decode(&mut Reader::new(&found)) != Some(expected) {
            return Err(corrupt(footer.properties.offset, "its properties are not those in the manifest"));
        }
        let all = read_top(part(footer.top)?).map_err(|Malformed(what)| corrupt(footer.top.offset, what))?;
        let partitions = Partitions { all, cache: Some(Arc::clone(&context.cache)) };
        let context = Arc::clone(context);
        Ok(Table { properties, path, file, partitions, context, is_obsolete: AtomicBool::new(false) })
    }

    pub(in crate::lsm) fn properties(&self) -> &Arc<Properties> {
        &self.properties
    }

    pub(in crate::lsm) fn path(&self) -> &str {
        &self.path
    }

    /// Looks `key` up; `hash` is its [`filter::hash`]. `value` is set if there is one.
    pub(in crate::lsm) fn get(
        &self,
        key: &[u8],
        hash: u64,
        access: Access,
        value: &mut Value,
    ) -> Result<Found> {
        let Some(partition) = self.partitions.all.get(self.partition_of(key)) else {
            return Ok(Found::Missing);
        };
        let counters = &self.context.counters;
        let part = self.part(partition, access)?;
        let is_filtered = !part.filter().is_empty();
        if is_filtered {
            let passes = filter::may_hold(part.filter(), hash);
            let passes =
                passes.ok_or_else(|| self.corrupt(partition.index, Malformed("this is no filter")))?;
            counters.filter_checked.add(1);
            if !passes {
                counters.filter_useful.add(1);
                return Ok(Found::Missing);
            }
        }
        let handle = self.find_data(partition, &part, key)?;
        counters.data_blocks_searched.add(1);
        let contents = self.read(handle, access, true)?;
        let hit = BlockRef::new(&contents).and_then(|block| block.find(key));
        let Some(hit) = hit.map_err(|why| self.corrupt(handle, why))? else {
            counters.filter_false_positive.add(u64::from(is_filtered));
            return Ok(Found::Missing);
        };
        let Some(range) = hit.value else { return Ok(Found::Deleted) };
        if range.len() < SHARED_BYTES_MIN {
            value.set_copy(&contents[range]);
        } else {
            value.set_shared(contents.slice(range));
        }
        Ok(Found::Value)
    }

    /// Returns about how many bytes of the file hold keys with this prefix. Reads index blocks.
    pub(in crate::lsm) fn bytes_of_prefix(&self, prefix: &[u8]) -> Result<u64> {
        if self.properties.is_within_prefix(prefix) {
            return Ok(self.properties.file_bytes);
        }
        if !self.properties.may_hold_prefix(prefix) {
            return Ok(0);
        }
        let start = self.offset_of(prefix)?;
        let end = match successor(prefix) {
            Some(after) => self.offset_of(&after)?,
            None => self.properties.file_bytes,
        };
        Ok(end.saturating_sub(start))
    }

    /// Returns the offset of the data block in which `key` would lie.
    fn offset_of(&self, key: &[u8]) -> Result<u64> {
        let Some(partition) = self.partitions.all.get(self.partition_of(key)) else {
            return Ok(self.properties.file_bytes);
        };
        let part = self.part(partition, Access::Disk)?;
        Ok(self.find_data(partition, &part, key)?.offset)
    }

    /// Returns where the data block is in which `key`, which is not above the partition, would lie.
    fn find_data(&self, partition: &Partition, part: &IndexPart, key: &[u8]) -> Result<Handle> {
        let within = partition.pinned.get().map_or(0..usize::MAX, |pinned| pinned.candidates(key));
        let listed = part.index().and_then(|index| index.find_at_or_after(key, within));
        match listed.map_err(|why| self.corrupt(partition.index, why))? {
            Some(listed) => self.handle(listed, partition.index),
            None => Err(self.corrupt(partition.index, Malformed("an index ends below its separator"))),
        }
    }

    /// Returns the number of the first partition that may hold `key` or keys after it; the number of partitions if none.
    pub(super) fn partition_of(&self, key: &[u8]) -> usize {
        let wanted = fence(key);
        self.partitions.all.partition_point(|partition| {
            partition.fence < wanted || (partition.fence == wanted && *partition.separator < *key)
        })
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.all.len()
    }

    /// Returns a key that is not below any key of the partition, and below all keys after it.
    pub(super) fn separator(&self, partition: usize) -> &[u8] {
        &self.partitions.all[partition].separator
    }

    /// Reads the index block of a partition.
    pub(super) fn index_of(&self, partition: usize, access: Access) -> Result<Block> {
        let partition = &self.partitions.all[partition];
        let part = self.part(partition, access)?;
        let index = Block::new(part.contents.slice(..part.index_bytes));
        index.map_err(|why| self.corrupt(partition.index, why))
    }

    /// Whether the filter of a partition, if it has one, passes a key with this hash.
    pub(in crate::lsm) fn passes_filter(&self, partition: usize, hash: u64) -> Result<bool> {
        let part = self.part(&self.partitions.all[partition], Access::Disk)?;
        Ok(part.filter().is_empty() || filter::may_hold(part.filter(), hash) == Some(true))
    }

    /// Loads what a look-up of `key` will look at first, for the sake of its cache line. What it returns may be anything.
    #[inline]
    pub(in crate::lsm) fn touch(&self, key: &[u8], hash: u64) -> u8 {
        let partition = self.partitions.all.get(self.partition_of(key));
        let part = partition.and_then(|partition| partition.pinned.get());
        part.map_or(0, |pinned| filter::touch(pinned.part.filter(), hash))
    }

    fn part<'t>(&self, partition: &'t Partition, access: Access) -> Result<Cow<'t, IndexPart>> {
        if let Some(pinned) = partition.pinned.get() {
            return Ok(Cow::Borrowed(&pinned.part));
        }
        let cache = &self.context.cache;
        let contents = self.read(partition.index, access, false)?;
        let part = IndexPart::new(contents.clone()).map_err(|why| self.corrupt(partition.index, why))?;
        let fences = part.index().map_err(|why| self.corrupt(partition.index, why))?.restarts();
        let bytes = (contents.len() + fences * size_of::<u64>()) as u64;
        if !cache.pin(bytes) {
            cache.insert_block(self.context.owner, self.properties.id, partition.index.offset, contents);
            return Ok(Cow::Owned(part));
        }
        let pinned = Pinned::new(part, fences).map_err(|why| self.corrupt(partition.index, why))?;
        // Another thread may have been first: then it is granted once too often.
        if partition.pinned.set(pinned).is_err() {
            cache.unpin(bytes);
        }
        Ok(Cow::Borrowed(&partition.pinned.get().expect("it has just been set").part))
    }

    /// Reads the data block that the current record of an index block lists, and says whether the cache had it.
    pub(super) fn data_of(
        &self,
        index: &BlockIter,
        access: Access,
        fill: bool,
    ) -> Result<(Handle, Block, bool)> {
        let listed = index.value().unwrap_or_default();
        let handle = self.handle(listed, Handle::default())?;
        let (contents, is_cached) = self.load(handle, access, fill)?;
        let block = Block::new(contents);
        Ok((handle, block.map_err(|why| self.corrupt(handle, why))?, is_cached))
    }

    fn handle(&self, listed: &[u8], index: Handle) -> Result<Handle> {
        read_handle(&mut Reader::new(listed))
            .ok_or_else(|| self.corrupt(index, Malformed("an index does not say where a block is")))
    }

    fn read(&self, handle: Handle, access: Access, fill: bool) -> Result<Bytes> {
        self.load(handle, access, fill).map(|(contents, _)| contents)
    }

    /// Returns the contents of a block from the cache (and `true`) or else the file; then puts it into the cache if `fill`.
    fn load(&self, handle: Handle, access: Access, fill: bool) -> Result<(Bytes, bool)> {
        let context = &*self.context;
        let id = self.properties.id;
        if let Some(contents) = context.cache.block(context.owner, id, handle.offset) {
            context.counters.blocks_cached.add(1);
            return Ok((contents, true));
        }
        let end = handle.offset.checked_add(handle.bytes.into());
        if end.is_none_or(|end| end > self.properties.file_bytes) {
            return Err(self.corrupt(handle, Malformed("a block lies outside of the file")));
        }
        let mut raw = vec![0; handle.bytes as usize];
        match access {
            Access::Disk => self.file.read_at(&mut raw, handle.offset).at("read", &self.path)?,
            Access::Memory => {
                if !self.file.try_read_at(&mut raw, handle.offset).at("read", &self.path)? {
                    return Err(Error::WouldBlock);
                }
            }
        }
        context.counters.blocks_read.add(1);
        let contents = unseal(raw, id, handle.offset).map_err(|why| self.corrupt(handle, why))?;
        if fill {
            context.cache.insert_block(context.owner, id, handle.offset, contents.clone());
        }
        Ok((contents, false))
    }

    pub(super) fn corrupt(&self, handle: Handle, Malformed(what): Malformed) -> Error {
        Error::Corrupt { file: self.path.clone(), offset: handle.offset, what }
    }

    /// Says that no later version has this table: its file goes when the last reader does.
    pub(in crate::lsm) fn set_obsolete(&self) {
        self.is_obsolete.store(true, Ordering::Relaxed);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if *self.is_obsolete.get_mut() {
            let table = Some((self.properties.id, std::mem::take(&mut self.partitions)));
            let remains = Remains { path: std::mem::take(&mut self.path), table };
            self.context.trash.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(remains);
        }
    }
}

fn read_handle(reader: &mut Reader<'_>) -> Option<Handle> {
    let offset = reader.varint()?;
    Some(Handle { offset, bytes: u32::try_from(reader.varint()?).ok()? })
}

fn read_top(contents: Bytes) -> Result<Vec<Partition>, Malformed> {
    let mut iter = BlockIter::new(Block::new(contents)?);
    let mut partitions: Vec<Partition> = Vec::new();
    iter.first()?;
    while iter.valid() {
        let mut reader = Reader::new(iter.value().unwrap_or_default());
        let index = read_handle(&mut reader);
        let index = index.ok_or(Malformed("the top index does not say where a partition is"))?;
        let separator = Bytes::copy_from_slice(iter.key());
        if partitions.last().is_some_and(|before| before.separator >= separator) {
            return Err(Malformed("the keys of the top index do not ascend"));
        }
        partitions.push(Partition { fence: fence(&separator), separator, index, pinned: OnceLock::new() });
        iter.next()?;
    }
    if partitions.is_empty() { Err(Malformed("a table without partitions")) } else { Ok(partitions) }
}

/// Returns the first key after all keys with this prefix; `None` if there is none.
pub(in crate::lsm) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut after = prefix.to_vec();
    while let Some(last) = after.pop() {
        if last < u8::MAX {
            after.push(last + 1);
            return Some(after);
        }
    }
    None
}
