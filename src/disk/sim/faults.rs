//! What can go wrong on the simulated disk, and when.

use std::io::ErrorKind;

use fastrand::Rng;

/// What a disk is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// [`Disk::create`](crate::disk::Disk::create)
    Create,
    /// [`Disk::open`](crate::disk::Disk::open)
    Open,
    /// [`Disk::rename`](crate::disk::Disk::rename)
    Rename,
    /// [`Disk::link`](crate::disk::Disk::link)
    Link,
    /// [`Disk::remove`](crate::disk::Disk::remove)
    Remove,
    /// [`Disk::create_dir`](crate::disk::Disk::create_dir)
    CreateDir,
    /// [`Disk::remove_dir`](crate::disk::Disk::remove_dir)
    RemoveDir,
    /// [`Disk::list`](crate::disk::Disk::list)
    List,
    /// [`Disk::sync_dir`](crate::disk::Disk::sync_dir)
    SyncDir,
    /// [`File::read_at`](crate::disk::File::read_at), and the other one that reads
    Read,
    /// [`File::write_at`](crate::disk::File::write_at)
    Write,
    /// [`File::set_len`](crate::disk::File::set_len)
    SetLen,
    /// [`File::sync`](crate::disk::File::sync)
    Sync,
}

impl Action {
    /// Whether it changes what a crash leaves.
    pub fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Read)
    }
}

/// One operation, as the hook sees it before it happens.
#[derive(Clone, Debug)]
pub struct Event {
    /// What is asked.
    pub action: Action,
    /// Of which file or directory, by its present name.
    pub path: String,
    /// The new name, of `Rename` and `Link`; else empty.
    pub to: String,
    /// Where in the file, in bytes; the new length, of `SetLen`.
    pub offset: u64,
    /// How many bytes are read or written.
    pub len: usize,
}

/// A failure to come.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which operations are counted.
    pub action: Action,
    /// Only those whose path contains this are counted.
    pub path_part: String,
    /// Which of them fails, counted from 1.
    pub nth: u64,
    /// How it fails.
    pub error: ErrorKind,
}

/// How much of what was not synced survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// All of it, as after a crash of the process alone.
    All,
    /// Nothing.
    Nothing,
    /// Each page and each entry of a directory as the seed has it: kept, lost or torn.
    Mixed,
}

impl Survival {
    /// Draws how many of `count` changes in order survive.
    pub(super) fn choose(self, count: usize, rng: &mut Rng) -> usize {
        match self {
            Self::All => count,
            Self::Nothing => 0,
            Self::Mixed => rng.usize(0..=count),
        }
    }
}

/// What becomes of an operation.
pub(super) enum Verdict {
    Done,
    /// The machine stops during it.
    Stops,
    Fails(ErrorKind),
}

/// The failures to come and the counters that they wait for.
#[derive(Default)]
pub(super) struct Plan {
    faults: Vec<Fault>,
    stop_at: Option<u64>,
    changes: u64,
    pub(super) stopped: bool,
}

impl Plan {
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn add(&mut self, fault: Fault) {
        assert!(fault.nth > 0, "operations are counted from 1");
        self.faults.push(fault);
    }

    pub(super) fn stop_at(&mut self, change: u64) {
        self.stop_at = Some(change);
    }

    /// Forgets all failures and starts the machine again.
    pub(super) fn clear(&mut self) {
        self.faults.clear();
        self.stop_at = None;
        self.stopped = false;
    }

    pub(super) fn judge(&mut self, event: &Event) -> Verdict {
        if event.action.changes() {
            let number = self.changes;
            self.changes += 1;
            if self.stop_at == Some(number) {
                self.stopped = true;
                return Verdict::Stops;
            }
        }
        let mut verdict = Verdict::Done;
        self.faults.retain_mut(|fault| {
            if fault.action != event.action || !event.path.contains(&fault.path_part) {
                return true;
            }
            fault.nth -= 1;
            if fault.nth == 0 {
                verdict = Verdict::Fails(fault.error);
            }
            fault.nth > 0
        });
        verdict
    }
}
