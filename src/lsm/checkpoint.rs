//! Checkpoint: a second tree, at the flushed index, out of hard links.

use std::sync::Arc;

use super::{
    Error, Flushed, Result,
    error::{At, unsynced},
    generation,
    store::Store,
    table::{Table, file_name},
    version::Version,
};
use crate::disk::{Disk, join, parent};

/// Links the tables of one version, and writes its manifest, into a directory of their own. It costs as much as there are
/// files, not bytes, and keeps the tables' space until it is removed.
#[must_use = "nothing is copied until the job runs"]
pub struct CheckpointJob {
    pub(super) store: Arc<Store>,
    pub(super) version: Arc<Version<Table>>,
}

/// A tree that was made by a [`CheckpointJob`]; [`Tree::open`](super::Tree::open) opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where its files are: the tables and the manifest.
    pub dir: String,
    /// How far it reaches.
    pub flushed: Flushed,
    /// Its tables.
    pub files: Vec<CheckpointFile>,
}

/// A table of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    /// Relative to the data directory.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// XXH3-128 of its contents.
    pub hash: u128,
}

impl CheckpointJob {
    /// Returns the disk that the tree is on.
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.store.context.disk)
    }

    /// Runs the job in the new directory `dir`. The checkpoint is there, whole and durable, when it returns; after a crash
    /// it is there or opens as an error or an empty tree. Whoever opens it has to reset the log: none goes with it.
    ///
    /// # Errors
    /// [`Error::Io`], with `AlreadyExists` if `dir` exists. The tree itself is as well as before.
    pub fn run(self, dir: &str) -> Result<Checkpoint> {
        let disk = &*self.store.context.disk;
        if disk.exists(dir).at("look for", dir)? {
            let source = std::io::ErrorKind::AlreadyExists.into();
            return Err(Error::Io { operation: "create", path: dir.to_owned(), source });
        }
        disk.create_dir(dir).at("create", dir)?;
        disk.sync_dir(parent(dir)).map_err(unsynced(parent(dir)))?;
        let inside = join(dir, &generation::name(1));
        disk.create_dir(&inside).at("create", &inside)?;
        let mut files = Vec::new();
        for placed in self.version.tables() {
            let path = join(&inside, &file_name(placed.id()));
            disk.link(placed.table.path(), &path).at("link", &path)?;
            let properties = &placed.properties;
            files.push(CheckpointFile { path, bytes: properties.file_bytes, hash: properties.file_hash });
        }
        disk.sync_dir(&inside).map_err(unsynced(&inside))?;
        let flushed = self.version.flushed.clone();
        let copied = Version {
            number: self.version.number,
            flushed: Flushed { log_reset_pending: true, ..flushed.clone() },
            level0: self.version.level0.clone(),
            deeper: self.version.deeper.clone(),
        };
        generation::create(disk, dir, 1, &copied, self.store.next_file_id())?;
        Ok(Checkpoint { dir: inside, flushed, files })
    }
}
