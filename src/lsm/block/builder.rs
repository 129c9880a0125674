//! Writes the contents of a block.

use crate::lsm::coding::{common_prefix, put_varint};

/// Collects records, in key order, into the contents of one block after the other.
pub(in crate::lsm) struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    restart_interval: usize,
    since_restart: usize,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    /// Makes a builder that puts a restart point at every `restart_interval`-th record.
    pub(in crate::lsm) fn new(restart_interval: usize) -> BlockBuilder {
        assert!(restart_interval >= 1, "the first record is a restart point");
        BlockBuilder {
            bytes: Vec::new(),
            restarts: vec![0],
            restart_interval,
            since_restart: 0,
            last_key: Vec::new(),
        }
    }

    /// Adds a record; `value` is `None` for a tombstone.
    pub(in crate::lsm) fn add(&mut self, key: &[u8], age: u64, value: Option<&[u8]>) {
        assert!(self.bytes.is_empty() || *self.last_key < *key, "the keys of a block ascend");
        let mut shared = 0;
        if self.since_restart == self.restart_interval {
            self.restarts.push(u32::try_from(self.bytes.len()).expect("a block is below 1 GiB"));
            self.since_restart = 0;
        } else if self.since_restart > 0 {
            shared = common_prefix(&self.last_key, key);
        }
        self.since_restart += 1;
        put_varint(&mut self.bytes, shared as u64);
        put_varint(&mut self.bytes, (key.len() - shared) as u64);
        put_varint(&mut self.bytes, value.map_or(0, |value| value.len() as u64 + 1));
        put_varint(&mut self.bytes, age);
        self.bytes.extend_from_slice(&key[shared..]);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
    }

    /// Returns the size of the contents so far, in bytes.
    pub(in crate::lsm) fn bytes(&self) -> usize {
        self.bytes.len() + 4 * self.restarts.len() + 4
    }

    /// Whether nothing was added.
    pub(in crate::lsm) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the key that was added last.
    pub(in crate::lsm) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Ends the block and returns its contents, to be copied before [`BlockBuilder::reset`].
    pub(in crate::lsm) fn finish(&mut self) -> &[u8] {
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&restart.to_le_bytes());
        }
        let count = u32::try_from(self.restarts.len()).expect("a block is below 1 GiB");
        self.bytes.extend_from_slice(&count.to_le_bytes());
        &self.bytes
    }

    /// Begins the next block.
    pub(in crate::lsm) fn reset(&mut self) {
        self.bytes.clear();
        self.restarts.truncate(1);
        self.since_restart = 0;
        self.last_key.clear();
    }
}
