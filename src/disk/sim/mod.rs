//! A disk in memory, for tests: it loses at a crash what was not synced, and fails when it is told to.
//!
//! - A crash ([`SimDisk::crash`]) keeps, drops or tears each page that no sync has covered, and does so with each entry
//!   of a directory that no sync of the directory has covered. [`SimDisk::stop_at`] puts it at any operation: that
//!   operation is half done and all later ones fail, as if the machine were dead, until `crash` starts it again.
//! - [`SimDisk::fail`] makes the nth write, sync, rename or read fail. A write that fails has written a part, a rename
//!   that fails may have happened, and what a failed sync should have written may be gone although programs still read
//!   it and the next sync succeeds.
//! - It has a size ([`SimDisk::set_capacity`]), flips bits ([`SimDisk::flip`]), answers [`File::try_read_at`] with
//!   "would wait" as often as it is told to, and calls a hook before each operation, which may wait (a disk that
//!   stalls) or assert an order ([`SimDisk::is_durable`]).
//!
//! The same seed and the same calls give the same results and the same [`SimDisk::trace_hash`].

mod faults;
mod image;
#[cfg(test)]
mod tests;
mod tree;

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use faults::{Action, Event, Fault, Survival};
use faults::{Plan, Verdict};
use tree::{Id, Tree};

use super::{Disk, File, SyncError};

/// Operations that [`SimDisk::recent`] remembers.
const RECENT_MAX: usize = 64;

/// Called before each operation, while nothing is locked.
pub type Hook = Arc<dyn Fn(&SimDisk, &Event) + Send + Sync>;

/// A handle of a simulated disk; clones are handles of the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    tree: Tree,
    plan: Plan,
    rng: Rng,
    hook: Option<Hook>,
    capacity_bytes: Option<u64>,
    cold_percent: u8,
    locks: BTreeSet<String>,
    /// Counts crashes; a handle made before the last one is dead.
    life: u64,
    trace_hash: u64,
    recent: VecDeque<Event>,
}

impl SimDisk {
    /// Makes an empty disk whose accidents are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            tree: Tree::new(),
            plan: Plan::default(),
            rng: Rng::with_seed(seed),
            hook: None,
            capacity_bytes: None,
            cold_percent: 0,
            locks: BTreeSet::new(),
            life: 0,
            trace_hash: seed,
            recent: VecDeque::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Crashes the machine, with a survival drawn from the seed, and starts it again: see [`SimDisk::crash_with`].
    pub fn crash(&self) {
        let survival = match self.lock_state().rng.u8(..4) {
            0 => Survival::All,
            1 => Survival::Nothing,
            _ => Survival::Mixed,
        };
        self.crash_with(survival);
    }

    /// Crashes the machine and starts it again: what was not synced survives as `survival` says; files that were open
    /// are dead, locks are free, failures to come are forgotten.
    pub fn crash_with(&self, survival: Survival) {
        let mut state = self.lock_state();
        let state = &mut *state;
        let page_bytes = if state.rng.bool() { 512 } else { 4096 };
        state.tree.crash(survival, page_bytes, &mut state.rng);
        state.plan.clear();
        state.locks.clear();
        state.life += 1;
    }

    /// Makes an operation to come fail.
    pub fn fail(&self, fault: Fault) {
        self.lock_state().plan.add(fault);
    }

    /// Stops the machine during the change with this number (see [`SimDisk::changes`]).
    pub fn stop_at(&self, change: u64) {
        self.lock_state().plan.stop_at(change);
    }

    /// Whether the machine has stopped.
    pub fn is_stopped(&self) -> bool {
        self.lock_state().plan.stopped
    }

    /// Returns how many changes were asked for so far: the number of the next one.
    pub fn changes(&self) -> u64 {
        self.lock_state().plan.changes()
    }

    /// Limits the disk to `bytes` of contents; a write that needs more fails with `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock_state().capacity_bytes = bytes;
    }

    /// Sets how many of 100 `try_read_at` answer that they would have to wait.
    pub fn set_cold_percent(&self, percent: u8) {
        self.lock_state().cold_percent = percent;
    }

    /// Sets what is called before each operation.
    pub fn set_hook(&self, hook: Option<Hook>) {
        self.lock_state().hook = hook;
    }

    /// Flips one bit of a file, as a bad disk does to data that was synced.
    pub fn flip(&self, path: &str, byte: u64, bit: u32) -> io::Result<()> {
        let mut state = self.lock_state();
        let id = state.tree.find_file(path)?;
        state.tree.file(id).image.flip(to_usize(byte), bit);
        Ok(())
    }

    /// Whether a crash now would leave `path` as it is: its contents, its entry, and those of the directories above.
    pub fn is_durable(&self, path: &str) -> bool {
        self.lock_state().tree.is_durable(path)
    }

    /// Returns the contents of a file as programs see them. Counts as no operation.
    pub fn contents(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut state = self.lock_state();
        let id = state.tree.find_file(path)?;
        Ok(state.tree.file(id).image.live().to_vec())
    }

    /// Returns the contents of a file that would survive any crash. Counts as no operation.
    pub fn durable_contents(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut state = self.lock_state();
        let id = state.tree.find_file(path)?;
        Ok(state.tree.file(id).image.durable().to_vec())
    }

    /// Returns a hash of all operations so far, with their paths and bytes.
    pub fn trace_hash(&self) -> u64 {
        self.lock_state().trace_hash
    }

    /// Returns the latest operations, oldest first, for the message of a test that failed.
    pub fn recent(&self) -> Vec<Event> {
        self.lock_state().recent.iter().cloned().collect()
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no operation on the simulated disk panics")
    }

    /// Lets the hook see the operation, notes it, and judges it; fails if the machine has stopped.
    fn enter(&self, event: Event, bytes: &[u8]) -> io::Result<(MutexGuard<'_, State>, Verdict)> {
        let hook = self.lock_state().hook.clone();
        if let Some(hook) = hook {
            hook(self, &event);
        }
        let mut state = self.lock_state();
        if state.plan.stopped {
            return Err(stopped());
        }
        let verdict = state.plan.judge(&event);
        state.note(event, bytes);
        Ok((state, verdict))
    }

    /// An operation on names, which happens wholly or not at all.
    fn on_names<R>(
        &self,
        action: Action,
        path: &str,
        to: &str,
        run: impl FnOnce(&mut Tree) -> io::Result<R>,
    ) -> io::Result<R> {
        let event = Event { action, path: path.to_owned(), to: to.to_owned(), offset: 0, len: 0 };
        let (mut state, verdict) = self.enter(event, &[])?;
        match verdict {
            Verdict::Done => run(&mut state.tree),
            Verdict::Stops => {
                // Whether it happened is drawn at the crash. A sync that happened would leave nothing to draw.
                if action != Action::SyncDir {
                    let _ = run(&mut state.tree);
                }
                Err(stopped())
            }
            Verdict::Fails(error) => {
                if action != Action::SyncDir && state.rng.bool() {
                    let _ = run(&mut state.tree);
                }
                Err(error.into())
            }
        }
    }
}

impl State {
    fn note(&mut self, event: Event, bytes: &[u8]) {
        let head = [event.action as u64, event.offset, event.len as u64];
        for number in head {
            self.trace_hash = xxh3_64_with_seed(&number.to_le_bytes(), self.trace_hash);
        }
        for part in [event.path.as_bytes(), event.to.as_bytes(), bytes] {
            self.trace_hash = xxh3_64_with_seed(part, self.trace_hash);
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(event);
    }

    /// Returns by how many bytes the contents may still grow.
    fn free_bytes(&self) -> u64 {
        let capacity = self.capacity_bytes.unwrap_or(1 << 40);
        capacity.saturating_sub(self.tree.used_bytes())
    }
}

fn stopped() -> io::Error {
    io::Error::other("the simulated machine has stopped")
}

fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated file fits in memory")
}

impl Disk for SimDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let id = self.on_names(Action::Create, path, "", |tree| {
            let id = tree.create(path)?;
            tree.file(id).opens += 1;
            Ok(id)
        })?;
        let life = self.lock_state().life;
        Ok(Arc::new(SimFile { disk: self.clone(), id, life }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let event =
            Event { action: Action::Open, path: path.to_owned(), to: String::new(), offset: 0, len: 0 };
        let (mut state, verdict) = self.enter(event, &[])?;
        if let Verdict::Fails(error) = verdict {
            return Err(error.into());
        }
        let id = state.tree.find_file(path)?;
        state.tree.file(id).opens += 1;
        Ok(Arc::new(SimFile { disk: self.clone(), id, life: state.life }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.on_names(Action::Rename, from, to, |tree| tree.rename(from, to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.on_names(Action::Link, from, to, |tree| tree.link(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.on_names(Action::Remove, path, "", |tree| tree.remove(path))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.on_names(Action::CreateDir, path, "", |tree| tree.create_dir(path))
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.on_names(Action::RemoveDir, path, "", |tree| tree.remove_dir(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.on_names(Action::List, dir, "", |tree| tree.list(dir))
    }

    fn sync_dir(&self, dir: &str) -> Result<(), SyncError> {
        Ok(self.on_names(Action::SyncDir, dir, "", |tree| tree.sync_dir(dir))?)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        let state = self.lock_state();
        if state.plan.stopped { Err(stopped()) } else { Ok(state.tree.exists(path)) }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.lock_state();
        if state.plan.stopped { Err(stopped()) } else { Ok(state.free_bytes()) }
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Any + Send + Sync>> {
        if !self.exists(path)? {
            self.create(path)?;
        }
        let mut state = self.lock_state();
        if !state.locks.insert(path.to_owned()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { disk: self.clone(), path: path.to_owned(), life: state.life }))
    }
}

/// The lock of a file, free again when this is dropped.
struct Lock {
    disk: SimDisk,
    path: String,
    life: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.disk.lock_state();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

struct SimFile {
    disk: SimDisk,
    id: Id,
    life: u64,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.lock_state();
        if state.life == self.life {
            state.tree.file(self.id).opens -= 1;
        }
    }
}

impl SimFile {
    fn enter(
        &self,
        action: Action,
        offset: u64,
        len: usize,
        bytes: &[u8],
    ) -> io::Result<(MutexGuard<'_, State>, Verdict)> {
        let path = {
            let state = self.disk.lock_state();
            if state.life != self.life {
                return Err(io::Error::other("the file was opened before the machine crashed"));
            }
            state.tree.path_of(self.id)
        };
        self.disk.enter(Event { action, path, to: String::new(), offset, len }, bytes)
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.lock_state();
        if state.plan.stopped || state.life != self.life {
            return Err(stopped());
        }
        Ok(state.tree.file(self.id).image.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (mut state, verdict) = self.enter(Action::Read, offset, buffer.len(), &[])?;
        match verdict {
            Verdict::Fails(error) => Err(error.into()),
            Verdict::Done | Verdict::Stops => state.tree.file(self.id).image.read(buffer, to_usize(offset)),
        }
    }

    fn try_read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        let (mut state, verdict) = self.enter(Action::Read, offset, buffer.len(), &[])?;
        if let Verdict::Fails(error) = verdict {
            return Err(error.into());
        }
        if state.cold_percent > 0 && state.rng.u8(..100) < state.cold_percent {
            return Ok(false);
        }
        state.tree.file(self.id).image.read(buffer, to_usize(offset))?;
        Ok(true)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut state, verdict) = self.enter(Action::Write, offset, bytes.len(), bytes)?;
        let start = to_usize(offset);
        let mut kept = bytes.len();
        let mut result = Ok(());
        match verdict {
            Verdict::Done => {}
            Verdict::Stops => result = Err(stopped()),
            Verdict::Fails(error) => {
                kept = state.rng.usize(0..=bytes.len());
                result = Err(error.into());
            }
        }
        if state.capacity_bytes.is_some() {
            let end = state.tree.file(self.id).image.len().saturating_add(to_usize(state.free_bytes()));
            let room = end.saturating_sub(start);
            if room < kept {
                kept = room;
                result = result.and(Err(ErrorKind::StorageFull.into()));
            }
        }
        state.tree.file(self.id).image.write(&bytes[..kept], start);
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut state, verdict) = self.enter(Action::SetLen, len, 0, &[])?;
        if let Verdict::Fails(error) = verdict {
            return Err(error.into());
        }
        let image_len = state.tree.file(self.id).image.len() as u64;
        if state.capacity_bytes.is_some() && len.saturating_sub(image_len) > state.free_bytes() {
            return Err(ErrorKind::StorageFull.into());
        }
        state.tree.file(self.id).image.set_len(to_usize(len));
        if matches!(verdict, Verdict::Stops) { Err(stopped()) } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), SyncError> {
        let (mut state, verdict) = self.enter(Action::Sync, 0, 0, &[])?;
        let state = &mut *state;
        let image = &mut state.tree.file(self.id).image;
        match verdict {
            Verdict::Done => {
                image.sync();
                Ok(())
            }
            // What of it happened is drawn at the crash, page by page.
            Verdict::Stops => Err(stopped().into()),
            Verdict::Fails(error) => {
                image.fail_sync(&mut state.rng);
                Err(io::Error::from(error).into())
            }
        }
    }

    fn refresh(&self) -> io::Result<()> {
        let (mut state, verdict) = self.enter(Action::Read, 0, 0, &[])?;
        if let Verdict::Fails(error) = verdict {
            return Err(error.into());
        }
        state.tree.file(self.id).image.refresh();
        Ok(())
    }
}
