//! The disk: the only trait that the cores know.
//!
//! Paths are relative to the data directory, separated by `/`; the empty path is the data directory itself. [`RealDisk`]
//! is the file system of the machine. [`CopyDisk`] is another disk as it is, and keeps what is written to itself.
//! [`SimDisk`] is a disk in memory, for tests, which loses at a crash what was not synced and fails when it is told to.
//!
//! What survives a crash, on both:
//! - bytes written to a file, when [`File::sync`] has returned `Ok` after the write;
//! - an entry of a directory (made by `create`, `rename`, `link` or `create_dir`, or ended by `remove` and `rename`),
//!   when [`Disk::sync_dir`] of that directory has returned `Ok` after it;
//! - anything else may survive, wholly or in part, in any order.
//!
//! A failed `sync` leaves the file in a state that nobody knows, since the kernel may drop the pages and call them
//! clean: it is never to be retried. So its error is a type of its own, [`SyncError`], which no test for a full disk
//! takes.

mod copy;
mod real;
pub mod sim;

use std::any::Any;
use std::io;
use std::sync::Arc;

pub use copy::CopyDisk;
pub use real::RealDisk;
pub use sim::SimDisk;

/// A directory tree on stable storage.
pub trait Disk: Send + Sync {
    /// Makes the file `path`, open for reading and writing, and fails with `AlreadyExists` if there is one.
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;

    /// Opens the file `path` for reading and writing.
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>>;

    /// Gives the file `from` the name `to`; a file that has that name already is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes `to` a second name of the file `from`, and fails with `AlreadyExists` if the name is taken.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the name `path` of a file.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes the directory `path`; it is no error if there is one.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Removes the directory `path`, which must be empty.
    fn remove_dir(&self, path: &str) -> io::Result<()>;

    /// Returns the names in the directory `dir`, sorted.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Makes the entries of the directory `dir` durable.
    fn sync_dir(&self, dir: &str) -> Result<(), SyncError>;

    /// Whether there is a file or directory `path`.
    fn exists(&self, path: &str) -> io::Result<bool>;

    /// Returns how many bytes can still be written.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Takes the exclusive lock of the file `path`, which is made if it is missing. The lock is held until the result
    /// is dropped; `WouldBlock` says that someone else holds it.
    fn lock(&self, path: &str) -> io::Result<Box<dyn Any + Send + Sync>>;
}

/// An open file. It stays readable and writable when its name is removed.
pub trait File: Send + Sync {
    /// Returns the length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset` on; `UnexpectedEof` if the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// As [`File::read_at`], but from memory only: `false` if that would have to wait for the disk, or if the system
    /// cannot tell. The buffer's contents are then unspecified.
    fn try_read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool>;

    /// Writes all of `bytes` at `offset`. A gap between the end of the file and `offset` reads as zeros.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros, to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes what was written before, and the length, durable (fdatasync).
    fn sync(&self) -> Result<(), SyncError>;

    /// Forgets what the system keeps of the file in memory, as far as it is not waiting to be written, so that the
    /// next read asks the disk. To be called after a `sync` of a file that an earlier process wrote, before what is
    /// read is trusted: if a sync of that process failed, memory may show bytes that the disk never got.
    fn refresh(&self) -> io::Result<()>;
}

/// A sync that failed. Nobody knows what is durable of that which was written before, and no later sync tells: whoever
/// sees one stops the node, be it that the disk was only full.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SyncError(#[from] io::Error);

impl From<SyncError> for io::Error {
    fn from(SyncError(error): SyncError) -> Self {
        error
    }
}

/// Whether an operation failed because the disk is full.
pub fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Joins a directory and a name; the empty directory is the data directory.
pub fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// Returns the directory that holds `path`.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}
