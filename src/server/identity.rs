//! Who this node is: minted once, kept in the file `meta`.
//!
//! `meta` is written last, when log and tree are there: with it, what is missing of them is lost (**Rule (boot)**); without
//! it, a node that was starting for the first time has not taken part in anything.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic, `SISYMETA` |
//! | 8 | 1 | version of this file, 1 |
//! | 9 | 1 | data format of the directory, 1 |
//! | 10 | 8 | node id, not 0 |
//! | 18 | 16 | cluster id |
//! | 34 | 4 | CRC32C of the bytes before |
//!
//! Integers are big-endian.

use crate::disk::Disk;

const FILE: &str = "meta";
const MAGIC: &[u8; 8] = b"SISYMETA";
const VERSION: u8 = 1;
const DATA_FORMAT: u8 = 1;
const BODY_BYTES: usize = 34;

/// The ids of a node. A wiped disk is a new node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// This node, never 0.
    pub node_id: u64,
    /// The cluster that it belongs to.
    pub cluster_id: u128,
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
    #[error("the data directory has format {found}, this version reads format {DATA_FORMAT}")]
    Format {
        /// What `meta` says.
        found: u8,
    },
}

impl Identity {
    /// Reads `meta`; `None` if there is none, and so no node has run in this directory.
    pub fn load(disk: &dyn Disk) -> Result<Option<Self>, IdentityError> {
        if !disk.exists(FILE)? {
            return Ok(None);
        }
        let file = disk.open(FILE)?;
        let mut bytes = vec![0; BODY_BYTES + 4];
        if file.len()? != bytes.len() as u64 {
            return Err(IdentityError::Damaged("its length is wrong"));
        }
        file.read_at(&mut bytes, 0)?;
        Self::decode(&bytes).map(Some)
    }

    /// Draws the ids of a new node.
    pub fn mint() -> Self {
        Self { node_id: fastrand::u64(1..), cluster_id: fastrand::u128(1..) }
    }

    /// Writes `meta`, durably. The log and the tree have to be there: whoever finds `meta` demands them.
    pub fn save(self, disk: &dyn Disk) -> Result<(), IdentityError> {
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

    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BODY_BYTES + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, DATA_FORMAT]);
        bytes.extend_from_slice(&self.node_id.to_be_bytes());
        bytes.extend_from_slice(&self.cluster_id.to_be_bytes());
        assert!(bytes.len() == BODY_BYTES, "the table in the module doc tells the length");
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, IdentityError> {
        let (body, crc) = bytes.split_at(BODY_BYTES);
        if &body[..8] != MAGIC {
            return Err(IdentityError::Damaged("it does not begin as it should"));
        }
        if crc32c::crc32c(body).to_be_bytes() != crc {
            return Err(IdentityError::Damaged("its checksum is wrong"));
        }
        if body[8] != VERSION || body[9] != DATA_FORMAT {
            return Err(IdentityError::Format { found: body[9] });
        }
        let node_id = u64::from_be_bytes(body[10..18].try_into().expect("eight bytes"));
        if node_id == 0 {
            return Err(IdentityError::Damaged("the node id is 0"));
        }
        let cluster_id = u128::from_be_bytes(body[18..34].try_into().expect("sixteen bytes"));
        Ok(Self { node_id, cluster_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn an_identity_survives_a_crash_once_it_is_saved() {
        let disk = SimDisk::new(1);
        assert_eq!(Identity::load(&disk).unwrap(), None);
        let identity = Identity::mint();
        identity.save(&disk).unwrap();
        disk.crash();
        assert_eq!(Identity::load(&disk).unwrap(), Some(identity));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = Identity { node_id: 7, cluster_id: 8 }.encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Identity::decode(&flipped).is_err(), "bit {bit}");
        }
    }
}
