//! The receiver's files: a plain object that is given the bytes.

use std::{io, sync::Arc};

use xxhash_rust::xxh3::Xxh3Default;

use super::{SnapshotFile, hash_of};
use crate::disk::{self, Disk, File, join, parent};

/// Why no more is taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    /// The disk failed, or a sync: the node must stop.
    #[error("the disk failed while a snapshot was received: {0}")]
    Disk(io::Error),
    /// The sender is told this.
    #[error("{0}")]
    Refused(String),
}

/// A directory that becomes a snapshot.
///
/// Invariant: the first `at` of `files` are whole and durable, of the next the first `offset` bytes are there, and `hash`
/// is theirs; nothing else is in the directory.
pub(super) struct Receiving {
    disk: Arc<dyn Disk>,
    dir: String,
    files: Vec<SnapshotFile>,
    at: usize,
    offset: u64,
    hash: Xxh3Default,
    /// The file of `at`, once it is begun.
    file: Option<Arc<dyn File>>,
}

impl Receiving {
    /// Looks at what is there already. What is missing must leave `kept_bytes` of the disk free.
    pub(super) fn begin(
        disk: Arc<dyn Disk>,
        dir: String,
        files: Vec<SnapshotFile>,
        kept_bytes: u64,
    ) -> Result<Self, ReceiveError> {
        let hash = Xxh3Default::new();
        let mut receiving = Self { disk, dir, files, at: 0, offset: 0, hash, file: None };
        receiving.disk.create_dir(&receiving.dir).map_err(|error| receiving.failed(error))?;
        receiving.look().map_err(ReceiveError::Disk)?;
        let room = receiving.disk.free_bytes().map_err(ReceiveError::Disk)?;
        let missing = receiving.missing();
        if room < missing.saturating_add(kept_bytes) {
            receiving.clear();
            let why = format!(
                "no room: {missing} bytes are missing, {room} are free, of which {kept_bytes} have to stay so"
            );
            return Err(ReceiveError::Refused(why));
        }
        Ok(receiving)
    }

    /// From which byte of which file on it is to be sent.
    pub(super) fn position(&self) -> (usize, u64) {
        (self.at, self.offset)
    }

    /// Whether all files are there; then it is time for [`Receiving::finish`].
    pub(super) fn is_whole(&self) -> bool {
        self.at == self.files.len()
    }

    /// Takes the next bytes.
    pub(super) fn write(&mut self, data: &[u8]) -> Result<(), ReceiveError> {
        let Some(expected) = self.files.get(self.at) else {
            return Err(ReceiveError::Refused("more bytes than the files have".to_owned()));
        };
        let (size, name) = (expected.bytes, &expected.name);
        if size - self.offset < data.len() as u64 || (data.is_empty() && size != 0) {
            return Err(ReceiveError::Refused(format!(
                "a chunk of {} bytes does not fit {name}",
                data.len()
            )));
        }
        if let Err(error) = self.append(data) {
            return Err(self.failed(error));
        }
        if self.offset < size { Ok(()) } else { self.complete() }
    }

    /// Makes the directory durable.
    pub(super) fn finish(&self) -> Result<(), ReceiveError> {
        assert!(self.is_whole(), "only a whole snapshot is finished");
        for dir in [&*self.dir, parent(&self.dir)] {
            self.disk.sync_dir(dir).map_err(|error| ReceiveError::Disk(error.into()))?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        join(&self.dir, name)
    }

    fn missing(&self) -> u64 {
        let left = self.files[self.at..].iter();
        left.fold(0_u64, |sum, file| sum.saturating_add(file.bytes)) - self.offset
    }

    /// Finds the first file that is not whole, and removes what is none of those before it.
    fn look(&mut self) -> io::Result<()> {
        while self.at < self.files.len() && self.look_at_file()? {
            self.at += 1;
        }
        let kept = self.at + usize::from(self.file.is_some());
        for name in self.disk.list(&self.dir)? {
            if !self.files[..kept].iter().any(|file| file.name == name) {
                self.disk.remove(&self.path(&name))?;
            }
        }
        Ok(())
    }

    /// Returns whether the file of `at` is whole. If its beginning is there, it is gone on with.
    fn look_at_file(&mut self) -> io::Result<bool> {
        let expected = &self.files[self.at];
        let path = self.path(&expected.name);
        if !self.disk.exists(&path)? {
            return Ok(false);
        }
        let file = self.disk.open(&path)?;
        // An earlier process may have written it: memory may show what the disk does not have.
        file.sync()?;
        file.refresh()?;
        let bytes = file.len()?;
        if expected.bytes < bytes {
            return Ok(false);
        }
        let hash = hash_of(&*file, bytes)?;
        if bytes == expected.bytes {
            return Ok(hash.digest128() == expected.hash);
        }
        (self.file, self.hash, self.offset) = (Some(file), hash, bytes);
        Ok(false)
    }

    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(self.disk.create(&self.path(&self.files[self.at].name))?),
        };
        file.write_at(data, self.offset)?;
        self.hash.update(data);
        self.offset += data.len() as u64;
        Ok(())
    }

    /// The last byte of a file has come.
    fn complete(&mut self) -> Result<(), ReceiveError> {
        let expected = &self.files[self.at];
        let path = self.path(&expected.name);
        let file = self.file.take().expect("bytes were appended to it");
        if self.hash.digest128() != expected.hash {
            let why = format!("{} came damaged", expected.name);
            self.disk.remove(&path).map_err(ReceiveError::Disk)?;
            return Err(ReceiveError::Refused(why));
        }
        file.sync().map_err(|error| ReceiveError::Disk(error.into()))?;
        self.hash.reset();
        (self.at, self.offset) = (self.at + 1, 0);
        Ok(())
    }

    /// A full disk is no failure, but the room is wanted for the log.
    fn failed(&self, error: io::Error) -> ReceiveError {
        if !disk::is_no_room(&error) {
            return ReceiveError::Disk(error);
        }
        self.clear();
        ReceiveError::Refused(format!("no room: {error}"))
    }

    /// Gives up the files. What cannot be removed is tried again at the next offer.
    fn clear(&self) {
        for name in self.disk.list(&self.dir).unwrap_or_default() {
            if let Err(error) = self.disk.remove(&self.path(&name)) {
                tracing::warn!(name, %error, "a file of a snapshot that was given up stays");
            }
        }
    }
}
