//! Snapshots on their way from one node to another: files of a directory, in their order.
//!
//! The sender offers a header with the names, sizes and hashes of the files. The receiver answers that it needs nothing,
//! or does not want it, or from which byte of which file on it is to be sent: it looks at what is in its directory, keeps
//! the files that are whole (each is hashed), goes on with the first that is not, and removes the rest. So a transfer that
//! broke goes on where it was, and also a later snapshot is not sent anew as far as its first files are the same. A file
//! whose hash is wrong when its last byte has come is removed, and the transfer ends.
//!
//! When all files are there and durable, the handler says what became of the snapshot, and the sender hears it. A node
//! receives one snapshot at a time. The sender keeps to a rate, on a connection of its own, so that messages do not wait
//! behind chunks.

mod receive;
mod send;
mod serve;
#[cfg(test)]
mod tests;

use std::{io, num::NonZeroU64, sync::Arc};

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

pub(super) use serve::receive;

use super::{LinkError, connection::MESSAGE_BYTES_MAX, opening::Refusal};
use crate::{
    disk::{Disk, File, join},
    log::{Position, Term},
    proto,
    raft::{Configuration, NodeId},
};

/// How much is read, sent and written at once.
const CHUNK_BYTES: usize = 256 << 10;

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its name, without a directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The XXH3-128 of its bytes.
    pub hash: u128,
}

/// What a leader offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The leader.
    pub from: NodeId,
    /// Its term.
    pub term: Term,
    /// The last entry that the snapshot holds.
    pub position: Position,
    /// The membership there.
    pub configuration: Configuration,
    /// The files, in the order in which they are sent.
    pub files: Vec<SnapshotFile>,
}

/// A snapshot to be sent: the files of a directory, which must not change meanwhile.
#[derive(Clone)]
pub struct Snapshot {
    /// The sender's term.
    pub term: Term,
    /// The last entry that the snapshot holds.
    pub position: Position,
    /// The membership there.
    pub configuration: Configuration,
    /// Where the files are.
    pub disk: Arc<dyn Disk>,
    /// The directory.
    pub dir: String,
    /// The files, in the order in which they are sent.
    pub files: Vec<SnapshotFile>,
    /// How fast they may be sent; none is as fast as it goes.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// What a node does with a snapshot that it is offered.
pub enum Offered {
    /// It takes it, into this directory, which holds nothing else.
    Take {
        /// Where the files go.
        disk: Arc<dyn Disk>,
        /// The directory; it is made if it is missing, in a directory that is there.
        dir: String,
        /// Bytes of the disk that have to stay free.
        kept_bytes: u64,
    },
    /// It has all that the snapshot holds.
    NotNeeded,
    /// It does not want it, for this reason.
    Refused(String),
}

/// What became of a snapshot, as its receiver says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotOutcome {
    /// It is in place.
    Installed,
    /// It was not needed.
    NotNeeded,
    /// It was not taken, for this reason.
    Refused(String),
}

/// Why nobody knows what became of a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The receiver is none of the nodes that are spoken to.
    #[error("the receiver of a snapshot is not a member")]
    NotMember,
    /// The files are too many for one header.
    #[error("a snapshot of {0} files cannot be sent")]
    TooManyFiles(usize),
    /// The stream broke; a later try goes on where this one ended.
    #[error("the stream of a snapshot: {0}")]
    Link(#[from] LinkError),
    /// The files cannot be read.
    #[error("a snapshot cannot be read: {0}")]
    Disk(#[from] io::Error),
}

impl SnapshotFile {
    /// Reads the file `name` of `dir` and says what it is.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn of(disk: &dyn Disk, dir: &str, name: &str) -> io::Result<Self> {
        let file = disk.open(&join(dir, name))?;
        let bytes = file.len()?;
        Ok(Self { name: name.to_owned(), bytes, hash: hash_of(&*file, bytes)?.digest128() })
    }

    fn from_wire(file: proto::SnapshotFile) -> Result<Self, Refusal> {
        let hash = file.hash.as_ref().try_into();
        let hash = hash.map_err(|_| Refusal::Malformed("the hash of a file has 16 bytes"))?;
        Ok(Self { name: file.name, bytes: file.size, hash: u128::from_be_bytes(hash) })
    }
}

/// Hashes the first `bytes` of a file.
fn hash_of(file: &dyn File, bytes: u64) -> io::Result<Xxh3Default> {
    let mut hash = Xxh3Default::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let part = &mut buffer[..chunk(bytes - offset)];
        file.read_at(part, offset)?;
        hash.update(part);
        offset += part.len() as u64;
    }
    Ok(hash)
}

/// How much of `left` is the next chunk.
fn chunk(left: u64) -> usize {
    usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES))
}

impl SnapshotHeader {
    /// The length of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    fn from_wire(from: NodeId, header: proto::SnapshotHeader) -> Result<Self, Refusal> {
        let configuration = Configuration::decode(header.configuration)
            .ok_or(Refusal::Malformed("the membership of a snapshot cannot be read"))?;
        let files = header.files.into_iter().map(SnapshotFile::from_wire);
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<&str> = files.iter().map(|file| &*file.name).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != files.len() || !names.iter().all(|name| is_file_name(name)) {
            return Err(Refusal::Malformed("the files of a snapshot have names that no file may have"));
        }
        let position = Position { index: header.index, term: header.index_term };
        if header.term < position.term {
            return Err(Refusal::Malformed("a snapshot is of a later term than its leader"));
        }
        Ok(Self { from, term: header.term, position, configuration, files })
    }
}

/// Names come from another node: none may lead out of the directory.
fn is_file_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    (1..=255).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}

impl Snapshot {
    fn header(&self) -> Result<proto::SnapshotHeader, SnapshotError> {
        let files = self.files.iter();
        let header = proto::SnapshotHeader {
            term: self.term,
            index: self.position.index,
            index_term: self.position.term,
            configuration: self.configuration.encode(),
            files: files
                .map(|file| proto::SnapshotFile {
                    name: file.name.clone(),
                    size: file.bytes,
                    hash: Bytes::copy_from_slice(&file.hash.to_be_bytes()),
                })
                .collect(),
        };
        // The packet around it takes a few bytes too.
        match prost::Message::encoded_len(&header) < MESSAGE_BYTES_MAX - 100 {
            true => Ok(header),
            false => Err(SnapshotError::TooManyFiles(self.files.len())),
        }
    }
}

impl SnapshotOutcome {
    fn to_wire(&self) -> proto::SnapshotEnd {
        use proto::snapshot_end::Kind;
        let kind = match self {
            Self::Installed => Kind::Installed(proto::Installed {}),
            Self::NotNeeded => Kind::NotNeeded(proto::NotNeeded {}),
            Self::Refused(why) => Kind::Refused(why.clone()),
        };
        proto::SnapshotEnd { kind: Some(kind) }
    }

    fn from_wire(end: proto::SnapshotEnd) -> Result<Self, Refusal> {
        use proto::snapshot_end::Kind;
        match end.kind {
            Some(Kind::Installed(proto::Installed {})) => Ok(Self::Installed),
            Some(Kind::NotNeeded(proto::NotNeeded {})) => Ok(Self::NotNeeded),
            Some(Kind::Refused(why)) => Ok(Self::Refused(why)),
            None => Err(Refusal::Malformed("a snapshot ended in an unknown way")),
        }
    }
}
