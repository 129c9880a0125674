//! The tree: its one writer, and the hub of its jobs.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, Weak, atomic::Ordering},
};

use bytes::Bytes;

use super::{
    Batch, CheckpointJob, CompactionJob, FlushJob, Options, Position, Result, Stats, VerifyJob, View,
    compaction::pending_bytes,
    error::At,
    generation,
    manifest::{Entry, Manifest},
    memtable::{Memtable, Writer},
    retry::Retry,
    stats::Counters,
    store::Store,
    table::{Table, TableContext, file_id},
    version::{Edit, Flushed, Listed, Placed, Version},
    view::Sources,
};
use crate::{
    bugs::{self, Bug},
    disk::{Disk, parent},
};

/// A view counts as old when it holds, for so long, memtables or tables that the tree has replaced, in milliseconds.
const OLD_VIEW_MS: u64 = 10_000;

/// An ordered map of bytes on disk, with one writer.
///
/// Invariants:
/// - `flushed ≤ after every sealed memtable ≤ applied`, in the order of the entries, without a gap;
/// - an entry is in exactly one of: the tables, one sealed memtable, the active one;
/// - what a view showed once it shows for ever.
pub struct Tree {
    store: Arc<Store>,
    writer: Writer,
    /// The entry before the first one that the active memtable can hold.
    active_after: Position,
    /// Oldest first.
    sealed: VecDeque<Sealed>,
    applied: Position,
    membership: Bytes,
    version: Arc<Version<Table>>,
    sources: Arc<Sources>,
    is_flushing: bool,
    is_compacting: bool,
    flush_retry: Retry,
    compaction_retry: Retry,
    /// Number of the version in which nothing was left to compact.
    idle_version: Option<u64>,
    /// Memtables that left the active place: a view may still hold them.
    left: Vec<Weak<Memtable>>,
    /// Sources that were replaced: a view may still hold them.
    replaced: Vec<Replaced>,
}

/// A memtable that gets no more entries.
struct Sealed {
    /// `None` if only entries without effects were applied.
    memtable: Option<Arc<Memtable>>,
    after: Position,
    last: Position,
    /// The membership at `last`.
    membership: Bytes,
}

struct Replaced {
    sources: Weak<Sources>,
    /// When that was noticed.
    since_ms: Option<u64>,
    is_counted: bool,
}

/// What a job achieved, to be handed to [`Tree::install`].
#[must_use = "the tree goes on with what it had until it is told"]
pub struct Installed {
    version: Option<Arc<Version<Table>>>,
    done: Done,
}

enum Done {
    Flush,
    Compaction,
    /// There was nothing to compact in the version with this number.
    Idle(u64),
    /// The disk has no room.
    FlushWithoutRoom,
    /// The disk has no room.
    CompactionWithoutRoom,
}

impl Installed {
    pub(super) fn flush(version: Arc<Version<Table>>) -> Installed {
        Installed { version: Some(version), done: Done::Flush }
    }

    pub(super) fn compaction(version: Arc<Version<Table>>) -> Installed {
        Installed { version: Some(version), done: Done::Compaction }
    }

    pub(super) fn idle(number: u64) -> Installed {
        Installed { version: None, done: Done::Idle(number) }
    }

    pub(super) fn flush_without_room() -> Installed {
        Installed { version: None, done: Done::FlushWithoutRoom }
    }

    pub(super) fn compaction_without_room() -> Installed {
        Installed { version: None, done: Done::CompactionWithoutRoom }
    }

    pub(super) fn stopped() -> Installed {
        Installed { version: None, done: Done::Compaction }
    }

    /// Whether it was a flush for which the disk had no room.
    pub fn is_flush_without_room(&self) -> bool {
        matches!(self.done, Done::FlushWithoutRoom)
    }
}

/// How far the tree lags behind with its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debt {
    /// Memtables that wait to be flushed.
    pub sealed: usize,
    /// Runs in level 0.
    pub level0_runs: usize,
    /// Bytes that have to be merged until nothing is urgent.
    pub pending_bytes: u64,
    /// Bytes of all memtables, those included that only views hold.
    pub memtable_bytes: u64,
    /// The largest of these as a share of what is allowed, in thousandths. From 500 on whoever admits writes slows them
    /// down; at 1000 a node stops applying until it has caught up.
    pub pressure: u64,
}

impl Tree {
    /// Whether there is a tree in `dir`, be it damaged.
    ///
    /// # Errors
    /// [`Error::Io`](super::Error::Io) if the directory cannot be read.
    pub fn exists(disk: &dyn Disk, dir: &str) -> Result<bool> {
        generation::exists(disk, dir)
    }

    /// Whether the tree in `dir` is a checkpoint of another one, and was not opened since.
    ///
    /// # Errors
    /// If there is a tree that cannot be read.
    pub fn is_copy(disk: &dyn Disk, dir: &str) -> Result<bool> {
        generation::is_copy(disk, dir)
    }

    /// Opens the tree in `dir`, or makes an empty one there. What files a crash left behind is removed.
    ///
    /// # Errors
    /// Any error is fatal: `Error::Corrupt` says which file does not hold what was written.
    pub fn open(disk: Arc<dyn Disk>, dir: &str, options: Options) -> Result<Tree> {
        options.check();
        let generation = generation::open(&*disk, dir)?;
        let manifest = Manifest::read(&*disk, &generation)?;
        let context = Arc::new(TableContext {
            disk: Arc::clone(&disk),
            cache: Arc::clone(&options.cache),
            owner: options.cache.new_owner(),
            counters: Counters::default(),
            trash: Mutex::new(Vec::new()),
        });
        let open = |entry: &Entry| -> Result<Listed<Table>> {
            let properties = Arc::clone(&entry.properties);
            let table = Arc::new(Table::open(&context, &generation, Arc::clone(&properties))?);
            let Entry { level, run, dead_bytes, dead_below, .. } = *entry;
            Ok(Listed { level, run, placed: Placed { properties, dead_bytes, dead_below, table } })
        };
        let tables = manifest.tables.iter().map(open).collect::<Result<Vec<_>>>()?;
        let version = Arc::new(Version::new(manifest.number, manifest.flushed.clone(), tables));
        let next_file_id = clean_up(&*disk, dir, &generation, &manifest)?;
        let applied = manifest.flushed.position;
        options.cache.clear_at(applied.index);
        let (active, writer) = Memtable::new(options.families, options.memtable_bytes);
        let sources = Arc::new(Sources {
            active,
            sealed: Vec::new(),
            version: Arc::clone(&version),
            context: Arc::clone(&context),
            families: options.families,
        });
        let store = Arc::new(Store::new(context, generation, options, next_file_id, Arc::clone(&version)));
        Ok(Tree {
            store,
            writer,
            active_after: applied,
            sealed: VecDeque::new(),
            applied,
            membership: manifest.flushed.membership,
            version,
            sources,
            is_flushing: false,
            is_compacting: false,
            flush_retry: Retry::default(),
            compaction_retry: Retry::default(),
            idle_version: None,
            left: Vec::new(),
            replaced: Vec::new(),
        })
    }

    /// Returns how far the tables reach, as installed. Entries after that have to come from the log.
    pub fn flushed(&self) -> &Flushed {
        &self.version.flushed
    }

    /// Returns the last entry applied.
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// Says that the log was reset to the flushed position, after a tree came from elsewhere, and what the membership is;
    /// durable when it returns.
    ///
    /// # Errors
    /// Any error is fatal.
    pub fn log_was_reset(&mut self, membership: Bytes) -> Result<()> {
        assert!(self.is_idle(), "the log is reset before work begins");
        let position = self.version.flushed.position;
        self.membership = membership.clone();
        let flushed = Flushed { position, membership, log_reset_pending: false };
        let version = self.store.commit(|_| Ok(Edit { flushed: Some(flushed), ..Edit::default() }))?;
        self.set_version(version);
        Ok(())
    }

    /// Whether no job is under way.
    pub fn is_idle(&self) -> bool {
        !self.is_flushing && !self.is_compacting
    }

    /// The membership that is recorded with the entries from here on.
    pub fn membership(&self) -> &Bytes {
        &self.membership
    }

    /// Makes the directory for the files of another tree, which [`Tree::adopt`] then goes over to, unless it is there. Whoever
    /// writes them removes what else is in it, and makes each durable. `dir` is the directory of this tree.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn receive(disk: &dyn Disk, dir: &str) -> Result<String> {
        generation::receive(disk, dir)
    }

    /// Goes over to the tree that was received, which is that after the entry at `position`; durable when it returns. Views
    /// that were made before stay as they are. The log has to be reset then ([`Tree::log_was_reset`]).
    ///
    /// # Errors
    /// Any error is fatal.
    pub fn adopt(&mut self, position: Position) -> Result<()> {
        assert!(self.is_idle(), "no job of the tree before writes into its files");
        assert!(self.applied < position, "a tree from elsewhere would undo what is applied");
        let disk = Arc::clone(&self.store.context.disk);
        let dir = parent(&self.store.dir).to_owned();
        generation::adopt(&*disk, &dir, &self.store.dir, position)?;
        *self = Tree::open(disk, &dir, self.store.options.clone())?;
        Ok(())
    }

    /// Applies the entry at `position`. It is seen by views made from now on, and by no earlier one.
    pub fn apply(&mut self, position: Position, batch: &Batch) {
        self.follow(position);
        let bytes = batch.as_bytes().len();
        let memtable_bytes = self.store.options.memtable_bytes;
        let mut is_large = false;
        if !self.writer.fits(bytes, batch.len()) {
            let arena_bytes = Memtable::arena_bytes_for(bytes, batch.len());
            is_large = arena_bytes > memtable_bytes;
            self.rotate(memtable_bytes.max(arena_bytes));
            assert!(self.writer.fits(bytes, batch.len()), "a new memtable holds at least one entry");
        }
        let families = self.store.options.families;
        let cache = &self.store.context.cache;
        for (key, value) in batch {
            let family = families.get(usize::from(key[0])).expect("a key begins with its family");
            if family.rows {
                cache.row_applied(key, position.index);
            }
            self.writer.insert(position.index, key, value);
        }
        self.applied = position;
        // A memtable made for one entry is full with it. It may be more than all memtables together should be: then
        // nothing would be applied that makes it be sealed, and nothing flushed.
        if is_large {
            self.rotate(memtable_bytes);
        }
    }

    /// Applies an entry without effects.
    pub fn advance(&mut self, position: Position) {
        self.follow(position);
        self.applied = position;
    }

    /// Asserts that `position` is the next entry.
    fn follow(&self, position: Position) {
        assert!(
            position.index == self.applied.index + 1,
            "entry {} is applied after entry {}",
            position.index,
            self.applied.index
        );
        assert!(self.applied.term <= position.term, "terms never go back");
    }

    /// Sets the membership that is recorded with the entries from here on. For the entry that carries it, it is to be
    /// called before [`Tree::advance`].
    pub fn set_membership(&mut self, membership: Bytes) {
        self.membership = membership;
    }

    /// Returns a view at the last entry applied.
    pub fn view(&self) -> View {
        View { sources: Arc::clone(&self.sources), index: self.applied.index, is_for_writes: false }
    }

    /// Ends the active memtable, so that it can be flushed, if anything was applied since the last time. A flush that
    /// found no room is tried again at once.
    pub fn seal(&mut self) {
        self.flush_retry.hurry();
        if self.active_after < self.applied {
            self.rotate(self.store.options.memtable_bytes);
        }
    }

    /// The size of a memtable, in bytes.
    pub fn memtable_bytes(&self) -> usize {
        self.store.options.memtable_bytes
    }

    /// Whether a sealed memtable is not in tables yet.
    pub fn has_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Seals what was applied so far and begins a memtable of `arena_bytes`.
    fn rotate(&mut self, arena_bytes: usize) {
        let memtable = (!self.writer.is_empty()).then(|| Arc::clone(self.writer.memtable()));
        let membership = self.membership.clone();
        if self.active_after < self.applied {
            let (after, last) = (self.active_after, self.applied);
            self.sealed.push_back(Sealed { memtable: memtable.clone(), after, last, membership });
        }
        self.active_after = self.applied;
        if let Some(memtable) = &memtable {
            self.left.push(Arc::downgrade(memtable));
        }
        if memtable.is_some() || self.store.options.memtable_bytes < arena_bytes {
            let (_, writer) = Memtable::new(self.store.options.families, arena_bytes);
            self.writer = writer;
        }
        self.set_sources();
    }

    fn set_sources(&mut self) {
        let sources = Arc::new(Sources {
            active: Arc::clone(self.writer.memtable()),
            sealed: self.sealed.iter().rev().filter_map(|sealed| sealed.memtable.clone()).collect(),
            version: Arc::clone(&self.version),
            context: Arc::clone(&self.store.context),
            families: self.store.options.families,
        });
        let replaced = std::mem::replace(&mut self.sources, sources);
        self.replaced.push(Replaced {
            sources: Arc::downgrade(&replaced),
            since_ms: None,
            is_counted: false,
        });
    }

    /// Returns the job that flushes the oldest sealed memtable, unless one is under way.
    pub fn next_flush(&mut self) -> Option<FlushJob> {
        if self.is_flushing || !self.flush_retry.is_due() {
            return None;
        }
        let sealed = self.sealed.front()?;
        self.is_flushing = true;
        Some(FlushJob {
            store: Arc::clone(&self.store),
            memtable: sealed.memtable.clone(),
            after: sealed.after,
            last: sealed.last,
            membership: sealed.membership.clone(),
        })
    }

    /// Returns a job that looks for something to compact, unless one is under way or has found nothing in this version.
    pub fn next_compaction(&mut self) -> Option<CompactionJob> {
        let is_idle = self.idle_version == Some(self.version.number) && !self.store.has_trash();
        if self.is_compacting || is_idle || !self.compaction_retry.is_due() {
            return None;
        }
        self.is_compacting = true;
        let memtable = bugs::on(Bug::GraveFromMemtable).then(|| Arc::clone(self.writer.memtable()));
        Some(CompactionJob { store: Arc::clone(&self.store), version: Arc::clone(&self.version), memtable })
    }

    /// Goes over to what a job achieved, and returns the flushed position now in force: the log may be cut there.
    pub fn install(&mut self, installed: Installed) -> Position {
        let is_flush = matches!(installed.done, Done::Flush | Done::FlushWithoutRoom);
        let (under_way, retry) = match is_flush {
            true => (&mut self.is_flushing, &mut self.flush_retry),
            false => (&mut self.is_compacting, &mut self.compaction_retry),
        };
        assert!(std::mem::take(under_way), "a job ended that was not begun");
        match installed.done {
            Done::Flush | Done::Compaction => *retry = Retry::default(),
            Done::FlushWithoutRoom | Done::CompactionWithoutRoom => retry.put_off(),
            Done::Idle(number) => {
                *retry = Retry::default();
                self.idle_version = Some(number);
            }
        }
        if let Some(version) = installed.version {
            self.set_version(version);
        }
        self.version.flushed.position
    }

    /// Goes over to `version`, unless a later one came first, and lets go of the memtables that are in its tables.
    fn set_version(&mut self, version: Arc<Version<Table>>) {
        if version.number <= self.version.number {
            return;
        }
        assert!(version.flushed.position <= self.applied, "tables hold entries that were not applied");
        self.version = version;
        let flushed = self.version.flushed.position;
        while self.sealed.front().is_some_and(|sealed| sealed.last <= flushed) {
            self.sealed.pop_front();
        }
        let next = self.sealed.front().map_or(self.active_after, |sealed| sealed.after);
        assert!(
            next == flushed,
            "tables end at entry {}, memtables begin after {}",
            flushed.index,
            next.index
        );
        self.set_sources();
    }

    /// Forgets the blocks and rows that are cached. What is not in memtables is read from the disk again.
    pub fn drop_caches(&self) {
        self.store.context.cache.clear_at(self.applied.index);
    }

    /// Returns a job that copies the tree, as far as it is flushed.
    pub fn checkpoint(&self) -> CheckpointJob {
        CheckpointJob { store: Arc::clone(&self.store), version: Arc::clone(&self.version) }
    }

    /// Says that it is `now_ms`: jobs that found no room are tried again after a while. To be called once a second.
    pub fn retry(&mut self, now_ms: u64) {
        self.flush_retry.tick(now_ms);
        self.compaction_retry.tick(now_ms);
    }

    /// Whether the last flush or compaction has found no room on the disk.
    pub fn lacks_room(&self) -> bool {
        self.flush_retry.lacks_room() || self.compaction_retry.lacks_room()
    }

    /// Returns how many bytes of the disk are neither used nor promised: memtables become tables, and a merge may write
    /// as much as it reads.
    ///
    /// # Errors
    /// The disk does not tell.
    pub fn room_bytes(&self) -> Result<u64> {
        let sealed = self.sealed.iter().filter_map(|sealed| sealed.memtable.as_ref());
        let memtables = self.writer.used_bytes() + sealed.map(|memtable| memtable.used_bytes()).sum::<u64>();
        let merging = self.store.merging_bytes.load(Ordering::Relaxed);
        Ok(self.store.free_bytes()?.saturating_sub(memtables).saturating_sub(merging))
    }

    /// Returns a job that reads all tables and checks everything.
    pub fn verify(&self) -> VerifyJob {
        VerifyJob { store: Arc::clone(&self.store), version: Arc::clone(&self.version) }
    }

    /// Returns how far the tree lags behind with its work.
    pub fn debt(&mut self) -> Debt {
        self.left.retain(|memtable| memtable.strong_count() > 0);
        let left = self.left.iter().filter_map(Weak::upgrade).map(|memtable| memtable.used_bytes());
        let memtable_bytes = self.writer.used_bytes() + left.sum::<u64>();
        let options = &self.store.options;
        let level0_runs = self.version.level0.len();
        let pending_bytes = pending_bytes(&self.version, &options.levels);
        let share = |value: u64, max: u64| value.saturating_mul(1000) / max.max(1);
        let pressure = share(memtable_bytes, options.memtables_bytes_max)
            .max(share(level0_runs as u64, options.level0_runs_max as u64))
            .max(share(pending_bytes, options.pending_bytes_max));
        Debt { sealed: self.sealed.len(), level0_runs, pending_bytes, memtable_bytes, pressure }
    }

    /// Notes which views hold memtables or tables that the tree has replaced, at the time `now_ms`, and returns how many
    /// such states are held for more than ten seconds. Each is logged and counted once. To be called once a second.
    pub fn notice_old_views(&mut self, now_ms: u64) -> usize {
        self.replaced.retain(|replaced| replaced.sources.strong_count() > 0);
        let mut old = 0;
        for replaced in &mut self.replaced {
            let since_ms = *replaced.since_ms.get_or_insert(now_ms);
            if now_ms.saturating_sub(since_ms) > OLD_VIEW_MS {
                old += 1;
                if !replaced.is_counted {
                    replaced.is_counted = true;
                    self.store.context.counters.old_views.add(1);
                    tracing::warn!("a view older than ten seconds holds memory and disk");
                }
            }
        }
        old
    }

    /// Returns what the tree holds and has done.
    pub fn stats(&self) -> Stats {
        self.view().stats()
    }
}

/// Removes what no manifest mentions, and returns an id that no file ever had. The manifest is durable already: else what it
/// does not mention might be needed by the one before.
fn clean_up(disk: &dyn Disk, dir: &str, generation: &str, manifest: &Manifest) -> Result<u64> {
    let mut next_file_id = manifest.next_file_id;
    let listed: BTreeSet<u64> = manifest.tables.iter().map(|entry| entry.properties.id).collect();
    for name in disk.list(generation).at("list", generation)? {
        let id = file_id(&name);
        next_file_id = next_file_id.max(id.map_or(0, |id| id + 1));
        if !Manifest::owns(&name) && id.is_none_or(|id| !listed.contains(&id)) {
            let path = crate::disk::join(generation, &name);
            disk.remove(&path).at("remove", &path)?;
        }
    }
    generation::remove_others(disk, dir, generation)?;
    generation::remove_incoming(disk, dir)?;
    Ok(next_file_id)
}

#[cfg(test)]
mod tests;
