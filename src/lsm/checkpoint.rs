//! Checkpoint: a second tree, at the flushed index, out of hard links.

use std::sync::Arc;

use super::{
    Error, Flushed, Result,
    error::At,
    generation,
    store::Store,
    table::{Table, file_name},
    version::Version,
};
use crate::disk::{join, parent};

/// Links the tables of one version, and writes its manifest, into a directory of their own. It costs as much as there are
/// files, not bytes, and keeps the tables' space until it is removed.
#[must_use = "nothing is copied until the job runs"]
pub struct CheckpointJob {
    pub(super) store: Arc<Store>,
    pub(super) version: Arc<Version<Table>>,
    pub(super) dir: String,
}

/// A tree that was made by a [`CheckpointJob`]; [`Tree::open`](super::Tree::open) opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
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
    /// Runs the job, and makes the directory that `dir` is in if it is not there. The checkpoint is there, whole and
    /// durable, when it returns; after a crash it is there or opens as an error or an empty tree.
    ///
    /// # Errors
    /// [`Error::Io`], with `AlreadyExists` if `dir` exists. The tree itself is as well as before.
    pub fn run(self) -> Result<Checkpoint> {
        let disk = &*self.store.context.disk;
        let above = parent(&self.dir);
        if !above.is_empty() {
            disk.create_dir(above).at("create", above)?;
            disk.sync_dir(parent(above)).at("sync", parent(above))?;
        }
        if disk.exists(&self.dir).at("look for", &self.dir)? {
            let source = std::io::ErrorKind::AlreadyExists.into();
            return Err(Error::Io { operation: "create", path: self.dir, source });
        }
        disk.create_dir(&self.dir).at("create", &self.dir)?;
        disk.sync_dir(above).at("sync", above)?;
        let inside = join(&self.dir, &generation::name(1));
        disk.create_dir(&inside).at("create", &inside)?;
        let mut files = Vec::new();
        for placed in self.version.tables() {
            let path = join(&inside, &file_name(placed.id()));
            disk.link(placed.table.path(), &path).at("link", &path)?;
            let properties = &placed.properties;
            files.push(CheckpointFile { path, bytes: properties.file_bytes, hash: properties.file_hash });
        }
        disk.sync_dir(&inside).at("sync", &inside)?;
        generation::create(disk, &self.dir, 1, &self.version, self.store.next_file_id())?;
        Ok(Checkpoint { flushed: self.version.flushed.clone(), files })
    }
}
