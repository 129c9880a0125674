//! What a tree and its jobs share: the directory, the ids of files, and the one lock that orders the edits.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Error, Options, Result,
    error::{At, unsynced},
    manifest::Manifest,
    table::{Properties, Remains, Table, TableContext, TableFormat},
    version::{Edit, Placed, Version},
};

pub(super) struct Store {
    pub(super) context: Arc<TableContext>,
    /// The directory of the generation.
    pub(super) dir: String,
    pub(super) options: Options,
    /// No file has this id or a higher one.
    next_file_id: AtomicU64,
    edits: Mutex<Edits>,
    /// Bytes that the merge under way may still write.
    pub(super) merging_bytes: AtomicU64,
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
        let (next_file_id, merging_bytes) = (AtomicU64::new(next_file_id), AtomicU64::new(0));
        Store { context, dir, options, next_file_id, edits, merging_bytes }
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
    /// Any error is fatal, since the disk may have either version, but that there is no room: nothing has changed then,
    /// and the tables that were to be added are given up.
    pub(super) fn commit(
        &self,
        change: impl FnOnce(&Version<Table>) -> Result<Edit<Table>>,
    ) -> Result<Arc<Version<Table>>> {
        let mut edits = self.lock();
        if edits.is_broken {
            let source = io::Error::other("an earlier edit of the manifest failed");
            return Err(Error::Io { operation: "edit", path: self.dir.clone(), source });
        }
        edits.is_broken = true;
        let edit = change(&edits.latest)?;
        let stays = |id: u64| edit.added.iter().any(|listed| listed.placed.id() == id);
        let gone: Vec<u64> = edit.removed.iter().copied().filter(|&id| !stays(id)).collect();
        let next = Arc::new(edits.latest.edited(edit));
        let disk = &*self.context.disk;
        if let Err(error) = Manifest::of(&next, self.next_file_id()).prepare(disk, &self.dir) {
            if error.is_no_room() {
                Manifest::discard(disk, &self.dir);
                let known: BTreeSet<u64> = edits.latest.tables().map(Placed::id).collect();
                for placed in next.tables().filter(|placed| !known.contains(&placed.id())) {
                    placed.table.set_obsolete();
                }
                edits.is_broken = false;
            }
            return Err(error);
        }
        Manifest::publish(disk, &self.dir)?;
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

    /// Returns how many bytes the disk has left.
    pub(super) fn free_bytes(&self) -> Result<u64> {
        self.context.disk.free_bytes().at("measure the room of", &self.dir)
    }

    /// Fails as a full disk does if writing `bytes` would take what is left to the log.
    pub(super) fn leaves_room(&self, bytes: u64) -> Result<()> {
        let left = self.options.log_room_bytes;
        if left > 0 && self.free_bytes()? < left.saturating_add(bytes) {
            return Err(io::Error::from(io::ErrorKind::StorageFull)).at("write tables in", &self.dir);
        }
        Ok(())
    }

    /// Makes the entries of the directory durable.
    pub(super) fn sync_dir(&self) -> Result<()> {
        self.context.disk.sync_dir(&self.dir).map_err(unsynced(&self.dir))
    }

    /// Whether there are files to remove.
    pub(super) fn has_trash(&self) -> bool {
        !self.context.trash.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Gives files up for removal.
    pub(super) fn add_trash(&self, paths: impl Iterator<Item = String>) {
        self.context.trash.lock().unwrap_or_else(PoisonError::into_inner).extend(paths.map(Remains::of_file));
    }

    /// Removes the files that nobody holds any more, and what the cache holds of them.
    pub(super) fn empty_trash(&self) -> Result<()> {
        let trash = std::mem::take(&mut *self.context.trash.lock().unwrap_or_else(PoisonError::into_inner));
        for remains in trash {
            remains.leave_cache(&self.context);
            self.context.disk.remove(&remains.path).at("remove", &remains.path)?;
        }
        Ok(())
    }
}
