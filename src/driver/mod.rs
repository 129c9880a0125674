//! The imperative shell: inboxes, drains, threads, the clock. It moves, it decides nothing.
//!
//! The log is written by its own thread, or in place by who drains the executor (`writer`). In the second case a
//! connection's task that pushes a message drains if nobody else does; in the first a task of its own drains, behind all
//! that are ready. What becomes durable is applied and answered by whoever noticed.

mod checkpoint;
mod clock;
mod core;
mod inbox;
mod jobs;
mod peers;
mod permit;
mod reads;
mod recovery;
mod snapshots;
mod writer;

use std::{
    cell::Cell,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::Guard;
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

pub use self::{
    clock::MachineClock,
    core::{CONNECTION_READS, Core, Errand, Fatal, Flushes, LogGauges, LogInput, Members, Scratch, Task},
    inbox::Inbox,
    peers::TransferError,
    permit::ReadPermit,
    recovery::{RecoveryError, Setup, is_copy, receive_snapshot, recover, verify},
};
use self::{
    jobs::{Workers, die},
    peers::{Changes, Courier, Ticks},
    reads::{Appliers, Permits},
    snapshots::{Arriving, Sending},
    writer::{SyncPolicy, Waker},
};
use crate::{
    disk::Disk,
    executor::{Clock, Executor, Input, Next, Now, Published, Ran},
    lsm,
    metrics::{Counter, Local, Stats},
    transport::Transport,
};

/// How long a task drains for others before it hands the executor to a task of its own.
const DRAIN_MAX: Duration = Duration::from_micros(500);

/// Bytes of entries that a task applies at once: some milliseconds, in which nothing else is served where there is one thread
/// for all, heartbeats neither. More is applied on a thread of its own.
const APPLIED_IN_PLACE_MAX: usize = 256 * 1024;

/// Threads for reads that are long or wait for the disk.
const READ_THREADS: usize = 4;

/// Threads for what the executor waits for: its long turns and its loads. Apart from the reads, so that no number of
/// slow reads holds up writes.
const EXECUTOR_THREADS: usize = 4;

/// How often DEBUG SLEEP looks whether the executor is at home.
const HOLD_CHECK: Duration = Duration::from_millis(1);

thread_local! {
    static SCRATCH: Cell<Option<Box<Drainer>>> = const { Cell::new(None) };
}

/// What a thread that drains needs, kept between drains.
#[derive(Default)]
struct Drainer {
    scratch: Scratch,
    tasks: Vec<Task>,
}

/// The disk has no room for what was to be written out.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the disk has no room to write out what is in memory")]
pub struct NoRoom;

/// Why there is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The node takes on nothing new.
    #[error("the node is stopping")]
    Stopping,
    /// What is only in memory and in the log has no room in tables.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// Its files cannot be made.
    #[error(transparent)]
    Files(#[from] lsm::Error),
}

/// One shard on one node, with its threads.
pub struct Shard {
    core: Core,
    clock: MachineClock,
    runtime: Handle,
    stats: Arc<Stats>,
    sync_policy: SyncPolicy,
    /// A task that drains has been spawned and has not begun.
    drain_is_due: AtomicBool,
    log_waker: Waker,
    flush: Workers,
    compaction: Workers,
    reads: Workers,
    executor: Workers,
    wake_at: watch::Sender<u64>,
    /// What this node speaks to others through, if it may have any.
    transport: Option<Arc<Transport>>,
    /// Where snapshots are received.
    disk: Arc<dyn Disk>,
    courier: Mutex<Courier>,
    ticks: Ticks,
    changes: Changes,
    removed: watch::Sender<bool>,
    permits: Permits,
    appliers: Appliers,
    arriving: Mutex<Option<Arriving>>,
    sending: Sending,
}

impl Shard {
    /// Starts the threads of a shard on `disk`, on a runtime with `workers` threads. What others send has to be handed to
    /// [`Shard::received`] and its like; what it sends goes through `transport`.
    pub fn start(
        core: Core,
        disk: Arc<dyn Disk>,
        transport: Option<Arc<Transport>>,
        runtime: Handle,
        workers: usize,
        stats: Arc<Stats>,
    ) -> std::io::Result<Arc<Self>> {
        let (wake_at, wakes) = watch::channel(u64::MAX);
        let shard = Arc::new(Self {
            core,
            clock: MachineClock,
            runtime,
            stats,
            sync_policy: SyncPolicy::new(workers),
            drain_is_due: AtomicBool::new(false),
            log_waker: Waker::default(),
            flush: Workers::for_flush()?,
            compaction: Workers::for_compaction()?,
            reads: Workers::start("read", READ_THREADS, None)?,
            executor: Workers::start("executor", EXECUTOR_THREADS, None)?,
            wake_at,
            transport,
            disk,
            courier: Mutex::default(),
            ticks: Ticks::default(),
            changes: Changes::default(),
            removed: watch::Sender::new(false),
            permits: Permits::default(),
            appliers: Appliers::default(),
            arriving: Mutex::default(),
            sending: Sending::default(),
        });
        let writer = Arc::clone(&shard);
        thread::Builder::new().name("log".to_owned()).spawn(move || writer::run(&writer))?;
        shard.runtime.spawn(wake_when_due(Arc::downgrade(&shard), wakes));
        shard.sync_policy.set_alone(shard.core.members().configuration.ids().len() <= 1);
        shard.runtime.spawn(peers::tick(Arc::downgrade(&shard)));
        Ok(shard)
    }

    /// Stands for election. To be called on a task of the runtime.
    pub fn campaign(self: &Arc<Self>) {
        self.step(crate::raft::Input::Campaign);
    }

    /// The objects, to look at.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The time now.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// A permit for reads that have arrived, if this node can prove now that it leads, without asking anyone.
    pub fn read_permit(&self) -> Option<ReadPermit> {
        let permit = self.core.lease_permit(&self.clock);
        if permit.is_some() {
            self.stats.count(Counter::ReadPermits, 1);
        }
        permit
    }

    /// What may be read with `permit`; none if the term has changed since it was given.
    pub fn published(&self, permit: &ReadPermit) -> Option<Guard<Arc<Published>>> {
        self.core.published(permit)
    }

    /// Hands `input` to the executor and, unless somebody does already, drains. To be called on a runtime's task.
    ///
    /// If the drainer syncs in place, what comes meanwhile is the next drain. If the log's thread does, nothing would
    /// gather: then the drain waits for the tasks that are ready too, so that their commands share it, and an entry.
    pub fn submit(self: &Arc<Self>, input: Input) {
        if self.sync_policy.in_place() {
            if let Some(executor) = self.core.executor.push(input) {
                self.drain(executor, Next::Idle);
            }
            return;
        }
        self.core.executor.push_quietly(input);
        if !self.drain_is_due.swap(true, Ordering::AcqRel) {
            let shard = Arc::clone(self);
            self.runtime.spawn(async move {
                tokio::task::yield_now().await;
                // Before the look into the inbox: what was pushed by those who saw `true` is there, by the exchange; who
                // comes later sees `false`, and spawns the next drain.
                shard.drain_is_due.swap(false, Ordering::AcqRel);
                if let Some(executor) = shard.core.executor.take() {
                    shard.drain(executor, Next::Idle);
                }
            });
        }
    }

    /// Hands `input` to the executor from where draining is not allowed: a thread that serves something else, or a
    /// caller who holds a lock.
    pub fn submit_from_thread(self: &Arc<Self>, input: Input) {
        self.core.executor.push_quietly(input);
        self.spawn_turn();
    }

    /// Sees to it that a task of the runtime drains the executor, if something waits for it and nobody does.
    fn spawn_turn(self: &Arc<Self>) {
        if let Some(executor) = self.core.executor.take() {
            self.spawn_drain(executor, Next::Idle);
        }
    }

    fn spawn_drain(self: &Arc<Self>, executor: Box<Executor>, next: Next) {
        let shard = Arc::clone(self);
        self.runtime.spawn(async move { shard.drain(executor, next) });
    }

    /// Runs a read that is long or waits for the disk.
    pub fn run_blocking(&self, work: impl FnOnce() + Send + 'static) {
        self.reads.run(move || {
            work();
            Ok(())
        });
    }

    /// Drains the executor, and then the log and the executor in turn while syncing in place pays.
    fn drain(self: &Arc<Self>, executor: Box<Executor>, next: Next) {
        let mut drainer = SCRATCH.take().unwrap_or_default();
        let started = Instant::now();
        self.drain_executor(executor, next, started, &mut drainer);
        while self.sync_policy.in_place() {
            let Some(log) = self.core.log.take() else { break };
            if started.elapsed() > DRAIN_MAX {
                self.core.log.put_back(log);
                break;
            }
            let sync_started = Instant::now();
            match self.core.log_turn(log, &self.clock, &mut drainer.scratch) {
                Ok(Some(log)) => self.core.log.put_back(log),
                Ok(None) => {}
                Err(fatal) => die(&fatal),
            }
            self.sync_policy.synced(sync_started.elapsed());
            self.run_errands();
            if let Some(executor) = self.core.executor.take() {
                self.drain_executor(executor, Next::Idle, Instant::now(), &mut drainer);
            }
        }
        if self.core.log.has_work_at_home() {
            self.log_waker.wake();
        }
        SCRATCH.set(Some(drainer));
    }

    fn drain_executor(
        self: &Arc<Self>,
        mut executor: Box<Executor>,
        mut next: Next,
        started: Instant,
        drainer: &mut Drainer,
    ) {
        loop {
            if next == Next::Block {
                self.stats.count(Counter::StopsLong, 1);
                return self.drain_on_thread(executor, Scratch::default());
            }
            if started.elapsed() > DRAIN_MAX {
                return self.spawn_drain(executor, next);
            }
            if next == Next::Idle {
                match self.core.next_executor_batch(executor, &mut drainer.scratch) {
                    Some(taken) => executor = taken,
                    None => return,
                }
                if APPLIED_IN_PLACE_MAX < drainer.scratch.bytes_to_apply() {
                    return self.drain_on_thread(executor, std::mem::take(&mut drainer.scratch));
                }
            }
            next = self.turn(&mut executor, false, drainer);
        }
    }

    /// Lets a thread of its own do what is long or waits for the disk, with the batch that is in `scratch`; a task goes on
    /// after it.
    fn drain_on_thread(self: &Arc<Self>, mut executor: Box<Executor>, scratch: Scratch) {
        let shard = Arc::clone(self);
        self.executor.run(move || {
            let mut drainer = Drainer { scratch, ..Drainer::default() };
            let next = shard.turn(&mut executor, true, &mut drainer);
            shard.spawn_drain(executor, next);
            Ok(())
        });
    }

    fn turn(self: &Arc<Self>, executor: &mut Executor, may_block: bool, drainer: &mut Drainer) -> Next {
        let Drainer { scratch, tasks } = drainer;
        let expired = executor.expired();
        let next = match self.core.executor_turn(executor, &self.clock, may_block, scratch, tasks) {
            Ok(next) => next,
            Err(fatal) => die(&fatal),
        };
        for task in tasks.drain(..) {
            self.carry_out(task);
        }
        let expired = executor.expired() - expired;
        if expired > 0 {
            self.stats.count(Counter::KeysExpired, expired);
        }
        self.appliers.published(&self.core.store().load());
        // What was proposed goes to the peers and to this node's disk at the same time.
        self.run_errands();
        if !self.sync_policy.in_place() && self.core.log.has_work_at_home() {
            self.log_waker.wake();
        }
        next
    }

    fn carry_out(self: &Arc<Self>, task: Task) {
        let shard = Arc::clone(self);
        match task {
            Task::Answer(recipient, answer) => recipient.deliver(answer),
            Task::Lose(recipient) => recipient.lose(),
            Task::GiveBack(message) => message.recipient.give_back(message.items),
            Task::Ran(ran) => self.stats.local(|local| count_run(local, ran)),
            Task::Failed(command, error) => self.stats.local(|local| {
                local.command_failed(usize::from(command.id));
                local.error(&error);
            }),
            Task::Flush(job) => self.flush.run(move || {
                shard.submit_from_thread(Input::Installed(job.run()?));
                Ok(())
            }),
            Task::Compact(job) => self.compaction.run(move || {
                shard.submit_from_thread(Input::Installed(job.run()?));
                Ok(())
            }),
            Task::Load(load) => {
                self.stats.count(Counter::StopsDisk, 1);
                self.executor.run(move || {
                    shard.submit_from_thread(load.run()?);
                    Ok(())
                });
            }
            Task::WakeAt(ms) => {
                self.wake_at.send_replace(ms);
            }
            Task::ResumeAt(boot_us) => {
                let wait = Duration::from_micros(boot_us.saturating_sub(self.now().boot_us));
                self.runtime.spawn(async move {
                    tokio::time::sleep(wait).await;
                    shard.submit(Input::Resume);
                });
            }
        }
    }

    /// Writes everything that is applied now into tables, and returns when that is durable.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: it is in memory and in the log, as before.
    pub async fn flush(self: &Arc<Self>) -> Result<(), NoRoom> {
        let mut flushes = self.core.flushes();
        let without_room = flushes.borrow_and_update().without_room;
        let applied = self.core.store().published().view.index();
        self.submit(Input::Seal);
        let ended =
            flushes.wait_for(|flushes| applied <= flushes.index || without_room < flushes.without_room).await;
        match ended {
            Ok(flushes) if flushes.index < applied => Err(NoRoom),
            // An error means that the shard is gone, and with it what could be flushed.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Makes a checkpoint called `name`, a number, of everything that is applied now. It replaces the one before.
    ///
    /// # Errors
    ///
    /// The node is stopping, or the files cannot be made. The data is as well as before. A sync that fails ends the node,
    /// whatever it was of.
    pub async fn checkpoint(self: &Arc<Self>, name: &str) -> Result<(), CheckpointError> {
        self.flush().await?;
        let (done, complete) = oneshot::channel();
        self.submit(Input::Checkpoint(done));
        let job = complete.await.map_err(|_| CheckpointError::Stopping)?;
        let (done, complete) = oneshot::channel();
        let name = name.to_owned();
        self.reads.run(move || match checkpoint::make(job, &name) {
            Err(error @ lsm::Error::Sync { .. }) => Err(error.into()),
            made => {
                tell(done, made);
                Ok(())
            }
        });
        Ok(complete.await.map_err(|_| CheckpointError::Stopping)??)
    }

    /// Writes everything that is applied now into tables, and forgets what is cached: what is read next comes from the
    /// disk.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: it stays in memory.
    pub async fn reload(self: &Arc<Self>) -> Result<(), NoRoom> {
        self.flush().await?;
        let (done, complete) = oneshot::channel();
        self.submit(Input::DropCaches(done));
        // An error means that the shard is gone.
        drop(complete.await);
        Ok(())
    }

    /// Keeps the executor from everyone else for `duration` (DEBUG SLEEP).
    pub async fn hold_executor(self: &Arc<Self>, duration: Duration) {
        let shard = Arc::clone(self);
        // A task of its own: whoever asked may be gone before the executor is back.
        let held = self.runtime.spawn(async move {
            let executor = loop {
                match shard.core.executor.take_idle() {
                    Some(executor) => break executor,
                    None => tokio::time::sleep(HOLD_CHECK).await,
                }
            };
            tokio::time::sleep(duration).await;
            shard.core.executor.put_back(executor);
            shard.spawn_turn();
        });
        // An error means that the runtime ends, and the node with it.
        drop(held.await);
    }

    /// Ends the log's thread. Whoever calls this has seen to it that nothing is in flight.
    pub fn stop(&self) {
        self.log_waker.stop();
    }
}

/// Tells how something went, if whoever asked for it still wants to know.
fn tell<T>(done: oneshot::Sender<T>, how: T) {
    if done.send(how).is_err() {
        tracing::debug!("nobody waits any more for what has been done");
    }
}

/// Counts commands that the executor ran.
fn count_run(local: &Local, ran: Ran) {
    local.command(usize::from(ran.command.id), ran.calls, Duration::from_nanos(ran.nanos));
    let (hits, misses) = ran.lookups;
    if hits > 0 {
        local.count(Counter::KeyspaceHits, hits);
    }
    if misses > 0 {
        local.count(Counter::KeyspaceMisses, misses);
    }
}

/// Wakes the executor when a key is due.
async fn wake_when_due(shard: std::sync::Weak<Shard>, mut wakes: watch::Receiver<u64>) {
    loop {
        let at = *wakes.borrow_and_update();
        let Some(strong) = shard.upgrade() else { return };
        // Nothing of what is published is kept while this waits: it would keep its memtables and tables.
        let present = strong.core.store().load().clock.map_or(0, |clock| clock.at(strong.now()));
        drop(strong);
        let wait = Duration::from_millis(at.saturating_sub(present).max(1));
        tokio::select! {
            changed = wakes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(wait), if at != u64::MAX => {
                let Some(shard) = shard.upgrade() else { return };
                shard.submit(Input::Wake);
                drop(shard);
                if wakes.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}
