//! What a tree and its jobs share: the directory, the ids of files, and the one lock that orders the edits.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Error, Options, Result,
    error::At,
    manifest::Manifest,
    table::{Properties, Table, TableContext, TableFormat},
    version::{Edit, Version},
};

pub(super) struct Store {
    pub(super) context: Arc<TableContext>,
    /// The directory of the generation.
    pub(super) dir: String,
    pub(super) options: Options,
    /// No file has this id or a higher one.
    next_file_id: AtomicU64,
    edits: Mutex<Edits>,
}

/// The durable state. Whoever holds its lock is the only one who edits: so edits have one order, and edit n + 1 is never
/// durable before n.
struct Edits {
    latest: Arc<Version<Table>>,
    /// An edit failed: nobody knows what the disk has, and nothing is written any more.
    is_broken: bool,
}

impl Store {
    pub(super) fn new(
        context: Arc<TableContext>,
        dir: String,
        options: Options,
        next_file_id: u64,
        version: Arc<Version<Table>>,
    ) -> Store {
        let edits = Mutex::new(Edits { latest: version, is_broken: false });
        Store { context, dir, options, next_file_id: AtomicU64::new(next_file_id), edits }
    }

    /// Returns an id that no file of this tree ever had. It is in the manifest, as a bound, before any file that has it
    /// counts.
    pub(super) fn new_file_id(&self) -> u64 {
        self.next_file_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn next_file_id(&self) -> u64 {
        self.next_file_id.load(Ordering::Relaxed)
    }

    /// Makes the edit that `change` returns durable, on top of the latest version, and returns the version it leads to.
    ///
    /// The tables it adds have to be durable, with their directory entries: that is the first barrier of the flush rule.
    ///
    /// # Errors
    /// Any error is fatal: the disk may have either version.
    pub(super) fn commit(
        &self,
        change: impl FnOnce(&Version<Table>) -> Result<Edit<Table>>,
    ) -> Result<Arc<Version<Table>>> {
        let mut edits = self.lock();
        if edits.is_broken {
            let source = std::io::Error::other("an earlier edit of the manifest failed");
            return Err(Error::Io { operation: "edit", path: self.dir.clone(), source });
        }
        edits.is_broken = true;
        let edit = change(&edits.latest)?;
        let stays = |id: u64| edit.added.iter().any(|listed| listed.placed.id() == id);
        let gone: Vec<u64> = edit.removed.iter().copied().filter(|&id| !stays(id)).collect();
        let next = Arc::new(edits.latest.edited(edit));
        Manifest::of(&next, self.next_file_id()).write(&*self.context.disk, &self.dir)?;
        for placed in edits.latest.tables().filter(|placed| gone.contains(&placed.id())) {
            placed.table.set_obsolete();
        }
        edits.latest = Arc::clone(&next);
        edits.is_broken = false;
        Ok(next)
    }

    fn lock(&self) -> MutexGuard<'_, Edits> {
        self.edits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a table of `family` in `level` is laid out whose records are not older than `base_index`.
    pub(super) fn format(&self, family: u8, level: usize, base_index: u64) -> TableFormat {
        let options = &self.options;
        let told = &options.families[usize::from(family)];
        TableFormat {
            family,
            block_bytes: told.block_bytes,
            restart_interval: options.restart_interval,
            index_bytes: options.index_bytes,
            filter_bits_per_key: if told.filter { options.filter_bits_per_key } else { 0 },
            compress: level >= options.levels.compress_from,
            base_index,
        }
    }

    /// Opens a table that was written.
    pub(super) fn open_table(&self, properties: Arc<Properties>) -> Result<Arc<Table>> {
        Table::open(&self.context, &self.dir, properties).map(Arc::new)
    }

    /// Makes the entries of the directory durable.
    pub(super) fn sync_dir(&self) -> Result<()> {
        self.context.disk.sync_dir(&self.dir).at("sync", &self.dir)
    }

    /// Whether there are files to remove.
    pub(super) fn has_trash(&self) -> bool {
        !self.context.trash.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Gives files up for removal.
    pub(super) fn add_trash(&self, paths: impl Iterator<Item = String>) {
        self.context.trash.lock().unwrap_or_else(PoisonError::into_inner).extend(paths);
    }

    /// Removes the files that nobody holds any more.
    pub(super) fn empty_trash(&self) -> Result<()> {
        let paths = std::mem::take(&mut *self.context.trash.lock().unwrap_or_else(PoisonError::into_inner));
        for path in paths {
            self.context.disk.remove(&path).at("remove", &path)?;
        }
        Ok(())
    }
}
