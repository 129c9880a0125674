//! Blocks: sorted records with shared key prefixes, the unit of reading, caching and checking.
//!
//! Contents, before compression:
//!
//! | field | bytes | |
//! |---|---|---|
//! | records | … | in key order |
//! | · shared | varint | bytes of the key that it has in common with the record before; 0 at a restart point |
//! | · rest | varint | bytes of the key that follow |
//! | · kind | varint | 0: a tombstone; n > 0: a value of n − 1 bytes |
//! | · age | varint | the record's index minus the table's base index |
//! | · key rest, value | … | |
//! | restarts | 4 each | offsets of the records at which a search may begin, ascending, the first 0 |
//! | count | 4 | number of restarts, ≥ 1 |
//!
//! On disk the contents are followed by a trailer:
//!
//! | field | bytes | |
//! |---|---|---|
//! | compression | 1 | 0 none; 1 LZ4, preceded by 4 bytes with the length of the contents |
//! | checksum | 8 | XXH3-64 of all before, seeded with the table's id and the block's offset: a block that was read from, or written to, the wrong place does not check |
//!
//! Properties, and the filters beside the indexes, are not records but have the same trailer.

mod builder;
mod iter;

use bytes::Bytes;
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(super) use builder::BlockBuilder;
pub(super) use iter::BlockIter;

use super::coding::varint;

const TRAILER_BYTES: usize = 9;
const RAW: u8 = 0;
const LZ4: u8 = 1;
/// LZ4 cannot expand a byte to more than this; a block that declares more is damaged.
const LZ4_RATIO_MAX: usize = 256;
/// Longest contents that are believed, in bytes: far above the largest value a record can have.
const CONTENTS_BYTES_MAX: usize = 1 << 30;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Where a block lies in its table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) offset: u64,
    /// Length on disk, with the trailer.
    pub(super) bytes: u32,
}

/// Blocks in a row that LZ4 did not make smaller, after which only one in [`RETRY_BLOCKS`] is tried: values that are
/// compressed or encrypted already are written at the speed of a copy.
const FAILED_BLOCKS: u32 = 8;
const RETRY_BLOCKS: u32 = 16;

/// Turns contents into what is written, for one table: keeps the buffers of the compressor.
pub(super) struct Sealer {
    table: CompressTable,
    compressed: Vec<u8>,
    /// Blocks since one was made smaller.
    failed: u32,
}

impl Sealer {
    pub(super) fn new() -> Sealer {
        Sealer { table: CompressTable::small(), compressed: Vec::new(), failed: 0 }
    }

    /// Appends `contents` and the trailer of a block at `offset` of the table `id` to `out`. Compresses if asked to and
    /// if that saves at least an eighth (12.5 %).
    pub(super) fn seal(
        &mut self,
        contents: &[u8],
        compress: bool,
        id: u64,
        offset: u64,
        out: &mut Vec<u8>,
    ) -> Handle {
        assert!(contents.len() <= CONTENTS_BYTES_MAX, "a block holds one record or a few KiB");
        let start = out.len();
        match compress.then(|| self.compress(contents)).flatten() {
            Some(compressed_bytes) => {
                let length = u32::try_from(contents.len()).expect("checked above");
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&self.compressed[..compressed_bytes]);
                out.push(LZ4);
            }
            None => {
                out.extend_from_slice(contents);
                out.push(RAW);
            }
        }
        let checksum = xxh3_64_with_seed(&out[start..], seed(id, offset));
        out.extend_from_slice(&checksum.to_le_bytes());
        Handle { offset, bytes: u32::try_from(out.len() - start).expect("contents are below 1 GiB") }
    }

    /// Compresses into `self.compressed`; `None` if that does not pay.
    fn compress(&mut self, contents: &[u8]) -> Option<usize> {
        self.failed += 1;
        if self.failed > FAILED_BLOCKS && !self.failed.is_multiple_of(RETRY_BLOCKS) {
            return None;
        }
        self.compressed.resize(get_maximum_output_size(contents.len()), 0);
        let bytes = compress_into_with_table(contents, &mut self.compressed, &mut self.table).ok()?;
        let pays = bytes + 4 <= contents.len() - contents.len() / 8;
        if pays {
            self.failed = 0;
        }
        pays.then_some(bytes)
    }
}

/// The seed that ties a block to its place.
fn seed(id: u64, offset: u64) -> u64 {
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ offset.rotate_left(32)
}

/// Checks what was read at `offset` of the table `id` and returns the contents.
pub(super) fn unseal(mut raw: Vec<u8>, id: u64, offset: u64) -> Result<Bytes, Malformed> {
    let Some(body_bytes) = raw.len().checked_sub(TRAILER_BYTES) else {
        return Err(Malformed("a block is shorter than its trailer"));
    };
    let (checked, checksum) = raw.split_at(body_bytes + 1);
    let checksum = u64::from_le_bytes(checksum.try_into().expect("eight bytes are left"));
    if xxh3_64_with_seed(checked, seed(id, offset)) != checksum {
        return Err(Malformed("the checksum of a block does not match"));
    }
    match raw[body_bytes] {
        RAW => {
            raw.truncate(body_bytes);
            Ok(Bytes::from(raw))
        }
        LZ4 => decompress(&raw[..body_bytes]),
        _ => Err(Malformed("a block is compressed in a way that this build does not know")),
    }
}

fn decompress(body: &[u8]) -> Result<Bytes, Malformed> {
    let (length, compressed) =
        body.split_first_chunk::<4>().ok_or(Malformed("a compressed block has no length"))?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > CONTENTS_BYTES_MAX || length / LZ4_RATIO_MAX > compressed.len() {
        return Err(Malformed("a compressed block declares an impossible length"));
    }
    let mut contents = vec![0; length];
    match decompress_into(compressed, &mut contents) {
        Ok(bytes) if bytes == length => Ok(Bytes::from(contents)),
        Ok(_) => Err(Malformed("a compressed block is shorter than it declares")),
        Err(_) => Err(Malformed("a compressed block does not decompress")),
    }
}

/// The contents of a block, kept.
#[derive(Clone, Debug)]
pub(super) struct Block {
    bytes: Bytes,
    restarts_at: usize,
    restarts: usize,
}

/// The contents of a block, to be searched.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockRef<'a> {
    bytes: &'a [u8],
    restarts_at: usize,
    restarts: usize,
}

/// A record's fields; offsets are into the contents.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    shared: usize,
    key_at: usize,
    value_at: usize,
    /// Where the record after this one begins; the end of its value.
    next: usize,
    age: u64,
    tombstone: bool,
}

/// What a look-up in a block found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    /// `None`: a tombstone.
    pub(super) value: Option<std::ops::Range<usize>>,
    pub(super) age: u64,
}

impl Block {
    /// Takes contents that were unsealed; see [`BlockRef::new`].
    pub(super) fn new(bytes: Bytes) -> Result<Block, Malformed> {
        let BlockRef { restarts_at, restarts, .. } = BlockRef::new(&bytes)?;
        Ok(Block { bytes, restarts_at, restarts })
    }

    /// Lends the contents to be searched.
    #[inline]
    pub(super) fn as_ref(&self) -> BlockRef<'_> {
        BlockRef { bytes: &self.bytes, restarts_at: self.restarts_at, restarts: self.restarts }
    }
}

impl<'a> BlockRef<'a> {
    /// Takes contents that were unsealed. Only the frame is looked at: records are checked when they are read.
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Result<BlockRef<'a>, Malformed> {
        let bad = Malformed("the restart points of a block do not fit into it");
        let (rest, count) = bytes.split_last_chunk::<4>().ok_or(bad)?;
        let restarts = u32::from_le_bytes(*count) as usize;
        let restarts_at = restarts.checked_mul(4).and_then(|len| rest.len().checked_sub(len)).ok_or(bad)?;
        if restarts == 0 {
            return Err(bad);
        }
        Ok(BlockRef { bytes, restarts_at, restarts })
    }

    /// Returns the number of restart points: in an index, that of its records.
    pub(super) fn restarts(&self) -> usize {
        self.restarts
    }

    #[inline]
    fn restart(&self, number: usize) -> usize {
        let at = self.restarts_at + 4 * number;
        let bytes: [u8; 4] = self.bytes[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    }

    /// Reads the record at `at`.
    #[inline]
    fn record(&self, at: usize) -> Result<Record, Malformed> {
        read_record(&self.bytes[..self.restarts_at], at)
            .ok_or(Malformed("a record does not fit into its block"))
    }

    /// Returns the last restart point whose key is ≤ `key` (`inclusive`) or < `key`, or the first restart point.
    #[inline]
    fn restart_before(&self, key: &[u8], inclusive: bool) -> Result<usize, Malformed> {
        let (mut low, mut high) = (0, self.restarts);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let record = self.record(self.restart(middle))?;
            let there = &self.bytes[record.key_at..record.value_at];
            if there < key || (inclusive && there == key) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Looks `key` up.
    ///
    /// No key is put together: while the records are below `key`, it is known how many bytes the last of them shares with
    /// it, and how many bytes the next one shares with the last says whether it needs to be compared at all.
    pub(super) fn find(&self, key: &[u8]) -> Result<Option<Hit>, Malformed> {
        let mut at = self.restart(self.restart_before(key, true)?);
        let mut matched = 0;
        while at < self.restarts_at {
            let record = self.record(at)?;
            at = record.next;
            if record.shared > matched {
                continue;
            }
            if record.shared < matched {
                return Ok(None);
            }
            let rest = &self.bytes[record.key_at..record.value_at];
            let wanted = &key[matched..];
            let common = super::coding::common_prefix(rest, wanted);
            if common == wanted.len() {
                if common < rest.len() {
                    return Ok(None);
                }
                let value = (!record.tombstone).then_some(record.value_at..record.next);
                return Ok(Some(Hit { value, age: record.age }));
            }
            if common < rest.len() && rest[common] > wanted[common] {
                return Ok(None);
            }
            matched += common;
        }
        Ok(None)
    }

    /// Returns the value of the first record whose key is ≥ `key`, in a block whose every record is a restart point; `None`
    /// if there is none. This is how an index is read. Those before `within` are known to be below `key`, those behind it
    /// not to be.
    pub(super) fn find_at_or_after(
        &self,
        key: &[u8],
        within: std::ops::Range<usize>,
    ) -> Result<Option<&'a [u8]>, Malformed> {
        let (mut low, mut high) = (within.start, within.end.min(self.restarts));
        while low < high {
            let middle = low + (high - low) / 2;
            let record = self.record(self.restart(middle))?;
            if self.bytes[record.key_at..record.value_at] < *key { low = middle + 1 } else { high = middle }
        }
        if low >= self.restarts {
            return Ok(None);
        }
        let record = self.record(self.restart(low))?;
        Ok(Some(&self.bytes[record.value_at..record.next]))
    }
}

#[inline(always)]
fn read_record(records: &[u8], at: usize) -> Option<Record> {
    let rest = records.get(at..)?;
    let (shared, key_bytes, kind, age, header_bytes);
    match *rest.first_chunk::<4>()? {
        [a, b, c, d] if (a | b | c | d) < 0x80 => {
            (shared, key_bytes, kind, age) = (a.into(), b.into(), c.into(), d.into());
            header_bytes = 4;
        }
        _ => {
            let mut position = 0;
            let mut field = || -> Option<u64> {
                let (value, len) = varint(&rest[position..])?;
                position += len;
                Some(value)
            };
            (shared, key_bytes, kind, age) = (field()?, field()?, field()?, field()?);
            header_bytes = position;
        }
    }
    let key_at = at + header_bytes;
    let value_at = key_at.checked_add(usize::try_from(key_bytes).ok()?)?;
    let next = value_at.checked_add(usize::try_from(kind.saturating_sub(1)).ok()?)?;
    let shared = usize::try_from(shared).ok()?;
    (next <= records.len()).then_some(Record { shared, key_at, value_at, next, age, tombstone: kind == 0 })
}

#[cfg(test)]
mod tests;
