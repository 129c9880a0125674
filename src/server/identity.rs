//! Who this node is, and of which cluster: kept in the file `meta`.
//!
//! The id is minted before the node says anything to anyone. The cluster is added when it is formed or joined, and when log
//! and tree are there: from then on, what is missing of them is lost (**Rule (boot)**); before, the node has not taken part in
//! anything. A wiped disk is a new node.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic, `SISYMETA` |
//! | 8 | 1 | version of this file, 2 |
//! | 9 | 1 | data format of the directory, 1 |
//! | 10 | 8 | node id, not 0 |
//! | 18 | 16 | cluster id; 0 while the node belongs to none |
//! | 34 | 1 | 1 if the cluster has removed the node, which never comes back then; else 0 |
//! | 35 | 4 | length of the first membership, 0 while the node belongs to no cluster |
//! | 39 | length | the first membership (see `raft::Configuration`): what holds before any entry changes it |
//! | 39 + length | 4 | CRC32C of the bytes before |
//!
//! Integers are big-endian.

use bytes::{Buf, BufMut, Bytes};

use crate::{disk::Disk, raft::Configuration};

const FILE: &str = "meta";
const MAGIC: &[u8; 8] = b"SISYMETA";
const VERSION: u8 = 2;
const DATA_FORMAT: u8 = 1;
/// What stands before the membership, and the checksum behind it.
const HEAD_BYTES: usize = 39;
const CRC_BYTES: usize = 4;
/// Longer than any membership is.
const META_BYTES_MAX: usize = 1 << 20;

/// Who a node is, for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// This node, never 0.
    pub node_id: u64,
    /// The cluster that it belongs to; none before one is formed or joined.
    pub cluster: Option<Cluster>,
    /// The cluster has removed it, for ever.
    pub is_removed: bool,
}

/// A cluster, as a node knew it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Minted once, never 0.
    pub id: u128,
    /// The membership that holds before any entry changes it. Without members if the node has joined a cluster that was
    /// there: then it hears of them from the log or a snapshot.
    pub first: Configuration,
}

impl Cluster {
    /// A new cluster of one node, which nobody else knows.
    pub fn of_one(node_id: u64) -> Self {
        Self { id: fastrand::u128(1..), first: Configuration::single(node_id) }
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("cannot read or write the identity of this node (`meta`): {0}")]
    Io(#[from] std::io::Error),
    /// The file is not what it was when it was written.
    #[error("the identity of this node (`meta`) is damaged: {0}")]
    Damaged(&'static str),
    /// The directory was written by another version.
    #[error(
        "the data directory has format {file}.{data}, this version reads format {VERSION}.{DATA_FORMAT}: use the version of \
         sisyphusdb that wrote it"
    )]
    Format {
        /// The version of `meta`.
        file: u8,
        /// Of everything else, as `meta` says.
        data: u8,
    },
}

impl Identity {
    /// Reads `meta`; `None` if there is none, and so no node has run in this directory.
    pub fn load(disk: &dyn Disk) -> Result<Option<Self>, IdentityError> {
        if !disk.exists(FILE)? {
            return Ok(None);
        }
        let file = disk.open(FILE)?;
        let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        if !(HEAD_BYTES + CRC_BYTES..=META_BYTES_MAX).contains(&length) {
            return Err(IdentityError::Damaged("its length is wrong"));
        }
        let mut bytes = vec![0; length];
        file.read_at(&mut bytes, 0)?;
        Self::decode(&bytes).map(Some)
    }

    /// A new node, which belongs to no cluster.
    pub fn mint() -> Self {
        Self { node_id: fastrand::u64(1..), cluster: None, is_removed: false }
    }

    /// Writes `meta`, durably. Once it says of which cluster the node is, log and tree have to be there: whoever finds that
    /// demands them.
    pub fn save(&self, disk: &dyn Disk) -> Result<(), IdentityError> {
        let temporary = format!("{FILE}.tmp");
        if disk.exists(&temporary)? {
            disk.remove(&temporary)?;
        }
        let file = disk.create(&temporary)?;
        file.write_at(&self.encode(), 0)?;
        file.sync().map_err(std::io::Error::from)?;
        disk.rename(&temporary, FILE)?;
        disk.sync_dir("").map_err(std::io::Error::from)?;
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let (id, first) =
            self.cluster.as_ref().map_or((0, Bytes::new()), |cluster| (cluster.id, cluster.first.encode()));
        let mut bytes = Vec::with_capacity(HEAD_BYTES + first.len() + CRC_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, DATA_FORMAT]);
        bytes.put_u64(self.node_id);
        bytes.put_u128(id);
        bytes.put_u8(self.is_removed.into());
        bytes.put_u32(u32::try_from(first.len()).expect("a membership is small"));
        assert!(bytes.len() == HEAD_BYTES, "the table in the module doc tells the length");
        bytes.extend_from_slice(&first);
        bytes.put_u32(crc32c::crc32c(&bytes));
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let (body, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
        if &body[..8] != MAGIC {
            return Err(IdentityError::Damaged("it does not begin as it should"));
        }
        if body[8] != VERSION || body[9] != DATA_FORMAT {
            return Err(IdentityError::Format { file: body[8], data: body[9] });
        }
        if crc32c::crc32c(body).to_be_bytes() != crc {
            return Err(IdentityError::Damaged("its checksum is wrong"));
        }
        let mut rest = &body[10..];
        let (node_id, id, is_removed, length) =
            (rest.get_u64(), rest.get_u128(), rest.get_u8() == 1, rest.get_u32());
        if node_id == 0 {
            return Err(IdentityError::Damaged("the node id is 0"));
        }
        if usize::try_from(length).ok() != Some(rest.len()) {
            return Err(IdentityError::Damaged("its length is wrong"));
        }
        let cluster = match id {
            0 => None,
            id => {
                let first = Configuration::decode(Bytes::copy_from_slice(rest));
                Some(Cluster { id, first: first.ok_or(IdentityError::Damaged("it names no members"))? })
            }
        };
        Ok(Self { node_id, cluster, is_removed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    fn of_a_cluster() -> Identity {
        let first = Configuration::of_voters([(7, Bytes::from_static(b"a record")), (9, Bytes::new())]);
        Identity { node_id: 7, cluster: Some(Cluster { id: 8, first }), is_removed: false }
    }

    #[test]
    fn an_identity_survives_a_crash_once_it_is_saved() {
        let disk = SimDisk::new(1);
        assert_eq!(Identity::load(&disk).unwrap(), None);
        let removed = Identity { is_removed: true, ..of_a_cluster() };
        for identity in [Identity::mint(), of_a_cluster(), removed] {
            identity.save(&disk).unwrap();
            disk.crash();
            assert_eq!(Identity::load(&disk).unwrap(), Some(identity));
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = of_a_cluster().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Identity::decode(&flipped).is_err(), "bit {bit}");
        }
    }
}
