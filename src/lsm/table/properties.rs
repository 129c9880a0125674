//! What is known of a table without reading it.

use bytes::Bytes;

use crate::lsm::{
    Index,
    coding::{Reader, put_bytes, put_varint},
};

/// The facts about a table, in the table itself and in the manifest; they have to agree.
///
/// All numbers are varints, in the order of the fields; `id`, `file_bytes` and `file_hash` stand in the manifest only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lsm) struct Properties {
    /// Number of the file, never used again.
    pub(in crate::lsm) id: u64,
    /// Length of the file.
    pub(in crate::lsm) file_bytes: u64,
    /// XXH3-128 of the whole file.
    pub(in crate::lsm) file_hash: u128,
    /// First byte of every key.
    pub(in crate::lsm) family: u8,
    pub(in crate::lsm) min_key: Bytes,
    pub(in crate::lsm) max_key: Bytes,
    /// What the ages of records count from; no record's index is below it.
    pub(in crate::lsm) base_index: Index,
    pub(in crate::lsm) max_index: Index,
    /// Records, tombstones among them.
    pub(in crate::lsm) records: u64,
    pub(in crate::lsm) tombstones: u64,
    /// Bytes of keys and values before prefix sharing and compression.
    pub(in crate::lsm) raw_bytes: u64,
    pub(in crate::lsm) data_blocks: u64,
}

impl Properties {
    /// Encodes what stands in the table.
    pub(in crate::lsm) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.family);
        put_bytes(out, &self.min_key);
        put_bytes(out, &self.max_key);
        for number in
            [self.base_index, self.max_index, self.records, self.tombstones, self.raw_bytes, self.data_blocks]
        {
            put_varint(out, number);
        }
    }

    /// Encodes all of it, for the manifest.
    pub(in crate::lsm) fn encode_whole(&self, out: &mut Vec<u8>) {
        put_varint(out, self.id);
        put_varint(out, self.file_bytes);
        out.extend_from_slice(&self.file_hash.to_le_bytes());
        self.encode(out);
    }

    /// Reads what [`Properties::encode_whole`] wrote.
    pub(in crate::lsm) fn decode_whole(reader: &mut Reader<'_>) -> Option<Properties> {
        let id = reader.varint()?;
        let file_bytes = reader.varint()?;
        let file_hash = reader.u128()?;
        Some(Properties { id, file_bytes, file_hash, ..Self::decode(reader)? })
    }

    /// Reads what [`Properties::encode`] wrote; the fields of the manifest are zero.
    pub(in crate::lsm) fn decode(reader: &mut Reader<'_>) -> Option<Properties> {
        let properties = Properties {
            id: 0,
            file_bytes: 0,
            file_hash: 0,
            family: reader.u8()?,
            min_key: Bytes::copy_from_slice(reader.bytes()?),
            max_key: Bytes::copy_from_slice(reader.bytes()?),
            base_index: reader.varint()?,
            max_index: reader.varint()?,
            records: reader.varint()?,
            tombstones: reader.varint()?,
            raw_bytes: reader.varint()?,
            data_blocks: reader.varint()?,
        };
        properties.hold().then_some(properties)
    }

    /// Whether the fields fit together.
    fn hold(&self) -> bool {
        self.min_key.first() == Some(&self.family)
            && self.max_key.first() == Some(&self.family)
            && self.min_key <= self.max_key
            && self.base_index <= self.max_index
            && 0 < self.records
            && self.tombstones <= self.records
            && 0 < self.data_blocks
    }

    /// Returns the mean size of a record, in bytes on disk.
    pub(in crate::lsm) fn record_bytes(&self) -> u64 {
        self.file_bytes / self.records.max(1)
    }

    /// Whether a key with this prefix could lie in the table.
    pub(in crate::lsm) fn may_hold_prefix(&self, prefix: &[u8]) -> bool {
        *prefix <= *self.max_key && (*self.min_key <= *prefix || self.min_key.starts_with(prefix))
    }

    /// Whether every key of the table has this prefix.
    pub(in crate::lsm) fn is_within_prefix(&self, prefix: &[u8]) -> bool {
        self.min_key.starts_with(prefix) && self.max_key.starts_with(prefix)
    }
}
