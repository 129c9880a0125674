//! What can go wrong in the engine.

use std::io;

use crate::disk::{self, SyncError};

/// A result of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the engine could not answer.
///
/// [`Error::WouldBlock`] and [`Error::WouldTakeLong`] ask for another attempt where blocking is allowed. The others are
/// failures of this node, never of a command: whoever sees one stops the node, and no client is answered with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The answer is on the disk, and the read was allowed memory only.
    #[error("the read would have to wait for the disk")]
    WouldBlock,
    /// The answer is behind many deleted keys, and the read was allowed memory only, where others wait for it.
    #[error("the read would have to step over many deleted keys")]
    WouldTakeLong,
    /// The disk refused an operation. After a failed write nothing is known of the file; it is given up.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried, such as "write".
        operation: &'static str,
        /// The file or directory, relative to the data directory.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A sync failed. It is never tried again.
    #[error("sync {path}: {source}")]
    Sync {
        /// The file or directory, relative to the data directory.
        path: String,
        /// The system's reason.
        source: SyncError,
    },
    /// Bytes on the disk are not what was written there.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Corrupt {
        /// The file, relative to the data directory.
        file: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// What does not hold.
        what: &'static str,
    },
}

impl Error {
    /// Whether the disk is full. What was written is no part of the tree then: a job gives it up, and is tried again later.
    /// A sync that found none is something else: see [`SyncError`].
    pub fn is_no_room(&self) -> bool {
        matches!(self, Error::Io { source, .. } if disk::is_no_room(source))
    }

    /// Whether the node has to stop.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Error::WouldBlock | Error::WouldTakeLong)
    }
}

/// Names the operation and the path of a failed disk operation.
pub(crate) trait At<T> {
    fn at(self, operation: &'static str, path: &str) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &str) -> Result<T> {
        self.map_err(|source| Error::Io { operation, path: path.to_owned(), source })
    }
}

/// Names the path of a sync that failed; used as `.map_err(unsynced(path))`.
pub(crate) fn unsynced(path: &str) -> impl FnOnce(SyncError) -> Error {
    move |source| Error::Sync { path: path.to_owned(), source }
}
