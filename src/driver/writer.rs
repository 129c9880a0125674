//! The log's thread, and who calls fdatasync: the one place where that is decided.
//!
//! Normally the thread does: it takes what came in during the last sync as the next group. The drainer itself does it,
//! in place, when waking a thread would cost more than the sync: with one voter, at least two workers to go on with,
//! and the last syncs quick.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Shard, core::Scratch, jobs::die};

/// Syncs that must have been quick, one after the other, before a drainer syncs in place.
const QUICK_SYNCS: u32 = 16;

/// What a quick sync takes at most.
const QUICK: Duration = Duration::from_millis(1);

/// How long after the last group the thread does what nobody waits for.
const IDLE_AFTER: Duration = Duration::from_millis(20);

/// Whether the last syncs were quick.
pub(super) struct SyncPolicy {
    in_place_possible: bool,
    /// There is no other member: nobody else could write meanwhile.
    alone: AtomicBool,
    quick_missing: AtomicU32,
}

impl SyncPolicy {
    /// `workers` threads serve connections.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            in_place_possible: workers >= 2,
            alone: AtomicBool::new(true),
            quick_missing: AtomicU32::new(QUICK_SYNCS),
        }
    }

    /// Whether this node is the only member.
    pub(super) fn set_alone(&self, alone: bool) {
        self.alone.store(alone, Ordering::Relaxed);
    }

    /// Whether a drainer may sync in place.
    pub(super) fn in_place(&self) -> bool {
        self.in_place_possible
            && self.quick_missing.load(Ordering::Relaxed) == 0
            && self.alone.load(Ordering::Relaxed)
    }

    /// Counts a sync.
    pub(super) fn synced(&self, took: Duration) {
        let missing = self.quick_missing.load(Ordering::Relaxed);
        let missing = if took > QUICK { QUICK_SYNCS } else { missing.saturating_sub(1) };
        self.quick_missing.store(missing, Ordering::Relaxed);
    }
}

/// Wakes the log's thread.
#[derive(Default)]
pub(super) struct Waker {
    state: Mutex<WakerState>,
    changed: Condvar,
}

#[derive(Default)]
struct WakerState {
    awake: bool,
    stop: bool,
}

impl Waker {
    /// Lets the thread look at the inbox.
    pub(super) fn wake(&self) {
        self.state.lock().expect("a panic ends the process").awake = true;
        self.changed.notify_one();
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.state.lock().expect("a panic ends the process").stop = true;
        self.changed.notify_one();
    }

    /// Sleeps until woken, or for `timeout`; `None` when the thread is to end, else whether it was woken.
    fn wait(&self, timeout: Duration) -> Option<bool> {
        let state = self.state.lock().expect("a panic ends the process");
        let asleep = |state: &mut WakerState| !state.awake && !state.stop;
        let (mut state, _) =
            self.changed.wait_timeout_while(state, timeout, asleep).expect("a panic ends the process");
        if state.stop { None } else { Some(std::mem::take(&mut state.awake)) }
    }
}

/// The log's thread: groups while there are any, then what can wait.
pub(super) fn run(shard: &Arc<Shard>) {
    let mut scratch = Scratch::default();
    while let Some(woken) = shard.log_waker.wait(IDLE_AFTER) {
        if woken {
            write_groups(shard, &mut scratch);
        } else if let Some(mut log) = shard.core.log.take_idle() {
            let done = log.idle();
            shard.core.log.put_back(log);
            if let Err(error) = done {
                die(&error.into());
            }
            write_groups(shard, &mut scratch);
        }
    }
}

fn write_groups(shard: &Arc<Shard>, scratch: &mut Scratch) {
    while let Some(mut log) = shard.core.log.take() {
        loop {
            let started = Instant::now();
            match shard.core.log_turn(log, &shard.clock, scratch) {
                Ok(Some(written)) => log = written,
                Ok(None) => break,
                Err(fatal) => die(&fatal),
            }
            shard.sync_policy.synced(started.elapsed());
            // What is durable is told to the peers, then applied.
            shard.run_errands();
            shard.spawn_turn();
        }
    }
}
