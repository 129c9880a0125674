//! The objects of one shard, their inboxes, and how the outputs of one become the inputs of another.
//!
//! Production and the simulation share this: production decides by threads, the simulation by a seed, which inbox is
//! served next. No protocol decision is taken here.
//!
//! Order of locks: the inboxes are leaves; `raft` is locked for one step, and what it puts out is in the inboxes of log
//! and executor before it is unlocked (else the outputs of two threads could cross).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;

use super::inbox::Inbox;
use crate::{
    command::Command,
    executor::{self, Executor, Input, Next, Output, Store},
    log::{self, Log, LogReader, Operation},
    raft::{self, Raft, Token},
};

/// Something for the log, in order.
#[derive(Debug)]
pub enum LogInput {
    /// Write this; it is durable when `token` is reported.
    Persist {
        /// What to report.
        token: Token,
        /// What to write.
        operation: Operation,
    },
    /// Entries up to this index are in tables.
    Cut(log::Index),
}

/// What `raft` wants done outside the shard, in its order.
#[derive(Debug)]
pub enum Errand {
    /// Send this to another node.
    Send(raft::Message),
    /// Read entries from the log, then [`raft::Input::Fetched`].
    Fetch(raft::Reading, log::Index, usize),
    /// Reads of connections with this number may be served from a view that has applied this.
    Permit(u64, log::Index),
    /// Reads of connections with this number may not be served.
    NoPermit(u64),
    /// These are the members now; and those who have left and have to be told that.
    Configured(raft::Configuration, BTreeMap<raft::NodeId, Bytes>),
    /// This node is no member any more, for ever.
    Removed,
    /// What became of a change of the membership.
    Changing(u64, raft::ChangeAnswer),
    /// The role, the term or the leader changed.
    Changed(raft::Role, log::Term, Option<raft::NodeId>),
    /// Send a snapshot to a node, in this term; then [`raft::Input::SnapshotEnded`].
    SendSnapshot(raft::NodeId, log::Term),
    /// The snapshot that was received is in place: the next may come.
    Installed(log::Position),
    /// The snapshot that was received is not needed: the next may come.
    Discard(log::Position),
}

/// Who belongs to the cluster and who leads it, as far as this node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// The current term.
    pub term: log::Term,
    /// What this node is in it.
    pub role: raft::Role,
    /// Who leads it, if that is known.
    pub leader: Option<raft::NodeId>,
    /// Who led last, as far as this node heard since it started.
    pub last_leader: Option<raft::NodeId>,
    /// The newest membership in the log, committed or not.
    pub configuration: raft::Configuration,
}

/// Reads of connections are numbered from here on; those of the executor, which numbers its own, never get there.
pub const CONNECTION_READS: u64 = 1 << 63;

/// What ends the node.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The log cannot be written or read.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// An entry cannot be applied, or the data cannot be read.
    #[error(transparent)]
    Executor(#[from] executor::Error),
    /// A flush or a compaction failed.
    #[error(transparent)]
    Tree(#[from] crate::lsm::Error),
}

/// What the driver has to do for the executor, beyond carrying inputs.
pub enum Task {
    /// Deliver an answer.
    Answer(Arc<dyn executor::Recipient>, executor::Answer),
    /// Tell a recipient that it will get no answer.
    Lose(Arc<dyn executor::Recipient>),
    /// Give a message back to its recipient.
    GiveBack(executor::Message),
    /// Count commands.
    Ran(executor::Ran),
    /// Count an error reply.
    Failed(&'static Command, Vec<u8>),
    /// Run a flush.
    Flush(crate::lsm::FlushJob),
    /// Run a compaction.
    Compact(crate::lsm::CompactionJob),
    /// Run a cold read.
    Load(executor::Load),
    /// Push [`Input::Wake`] at this time, in ms since the Unix epoch.
    WakeAt(u64),
    /// Push [`Input::Resume`] at this time, in µs of CLOCK_BOOTTIME.
    ResumeAt(u64),
}

/// One shard: the executor, the log and raft, each where whoever serves it finds it.
pub struct Core {
    /// The executor and what waits for it.
    pub executor: Inbox<Input, Executor>,
    /// The log and what waits for it.
    pub log: Inbox<LogInput, Log>,
    raft: Mutex<Raft>,
    store: Arc<Store>,
    log_reader: LogReader,
    reserve: executor::Reserve,
    transfer_patience: Duration,
    /// Numbers for `INFO`: the term, and the newest committed index.
    term: AtomicU64,
    commit_index: AtomicU64,
    last_index: AtomicU64,
    /// Until when this node leads without asking anyone, in µs of CLOCK_BOOTTIME, and the first entry of that leadership.
    pub(super) lease_until: AtomicU64,
    pub(super) lease_index: AtomicU64,
    /// When `raft` wants to be ticked.
    deadline: AtomicU64,
    /// Whether this node leads, for those who ask for each command.
    leads: AtomicBool,
    /// How often this node heard of another leader.
    leader_changes: AtomicU64,
    errands: Mutex<Vec<Errand>>,
    members: watch::Sender<Arc<Members>>,
    gauges: Mutex<executor::Gauges>,
    log_gauges: Mutex<LogGauges>,
    flushes: watch::Sender<Flushes>,
}

/// How far flushes are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flushes {
    /// The last index that is in tables.
    pub index: log::Index,
    /// How many found no room on the disk.
    pub without_room: u64,
}

/// Numbers of the log, for those who watch it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogGauges {
    /// What it has done.
    pub counters: log::Counters,
    /// Bytes that are not cut.
    pub bytes: u64,
    /// Time in groups, write and fdatasync, together.
    pub sync_ns: u64,
    /// The longest of them.
    pub sync_ns_max: u64,
}

/// Reused between turns, by whoever drains.
#[derive(Default)]
pub struct Scratch {
    inputs: VecDeque<Input>,
    outputs: Vec<Output>,
    log_inputs: VecDeque<LogInput>,
    operations: Vec<Operation>,
    raft_outputs: Vec<raft::Output>,
}

impl Scratch {
    /// Bytes of the entries that are applied in the next turn.
    pub(super) fn bytes_to_apply(&self) -> usize {
        let entries = self.inputs.iter().flat_map(|input| match input {
            Input::Committed(entries) => entries.as_slice(),
            _ => &[],
        });
        entries.map(|entry| entry.body.len()).sum()
    }
}

impl Core {
    /// Puts the objects of a shard together, as they come out of recovery.
    pub fn new(executor: Executor, log: Log, raft: Raft) -> Self {
        let store = executor.store();
        Self {
            log_reader: log.reader(),
            reserve: executor.reserve(),
            // What a transfer may take before it is given up, and an election.
            transfer_patience: Duration::from_micros(4 * raft.timing().election_us),
            log: Inbox::new(Box::new(log)),
            term: AtomicU64::new(raft.term()),
            commit_index: AtomicU64::new(raft.commit_index()),
            last_index: AtomicU64::new(raft.last().index),
            lease_until: AtomicU64::new(raft.lease_until()),
            lease_index: AtomicU64::new(raft.lease_index()),
            deadline: AtomicU64::new(raft.deadline()),
            leads: AtomicBool::new(raft.role() == raft::Role::Leader),
            leader_changes: AtomicU64::new(0),
            errands: Mutex::default(),
            members: watch::Sender::new(Arc::new(Members {
                term: raft.term(),
                role: raft.role(),
                leader: raft.leader(),
                last_leader: raft.leader(),
                configuration: raft.configuration().clone(),
            })),
            gauges: Mutex::new(executor.gauges()),
            log_gauges: Mutex::default(),
            flushes: watch::Sender::new(Flushes {
                index: executor.tree().flushed().position.index,
                without_room: 0,
            }),
            executor: Inbox::new(Box::new(executor)),
            raft: Mutex::new(raft),
            store,
        }
    }

    /// What is published.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is kept free of the disk.
    pub fn reserve(&self) -> executor::Reserve {
        self.reserve
    }

    /// Reads the log beside whoever writes it.
    pub fn log_reader(&self) -> &LogReader {
        &self.log_reader
    }

    /// The current term.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::Relaxed)
    }

    /// The newest index that is known to be committed.
    pub fn commit_index(&self) -> u64 {
        self.commit_index.load(Ordering::Relaxed)
    }

    /// The newest index in the log.
    pub fn last_index(&self) -> u64 {
        self.last_index.load(Ordering::Relaxed)
    }

    /// When `raft` wants to be ticked ([`raft::Input::Tick`]), in µs of CLOCK_BOOTTIME.
    pub fn deadline(&self) -> u64 {
        self.deadline.load(Ordering::SeqCst)
    }

    /// How long it may take to hand the leadership over, or to see that it was not.
    pub(super) fn transfer_patience(&self) -> Duration {
        self.transfer_patience
    }

    /// Whether this node leads, as [`Core::members`] says.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// How often a leader was elected since the start, as far as this node heard.
    pub fn leader_changes(&self) -> u64 {
        self.leader_changes.load(Ordering::Relaxed)
    }

    /// Who belongs to the cluster, and who leads it.
    pub fn members(&self) -> Arc<Members> {
        Arc::clone(&self.members.borrow())
    }

    /// The same, to be watched.
    pub fn watch_members(&self) -> watch::Receiver<Arc<Members>> {
        self.members.subscribe()
    }

    /// Whether `raft` wants something done outside the shard.
    pub fn has_errands(&self) -> bool {
        !self.errands.lock().expect("a panic ends the process").is_empty()
    }

    /// What `raft` wants done outside the shard since this was last called.
    pub fn take_errands(&self) -> Vec<Errand> {
        std::mem::take(&mut *self.errands.lock().expect("a panic ends the process"))
    }

    /// Looks at `raft`.
    pub fn with_raft<R>(&self, look: impl FnOnce(&Raft) -> R) -> R {
        look(&self.raft.lock().expect("a panic ends the process"))
    }

    /// Numbers of the executor after its last turn.
    pub fn gauges(&self) -> executor::Gauges {
        *self.gauges.lock().expect("a panic ends the process")
    }

    /// Numbers of the log after its last group.
    pub fn log_gauges(&self) -> LogGauges {
        *self.log_gauges.lock().expect("a panic ends the process")
    }

    /// How far flushes are, to be watched.
    pub fn flushes(&self) -> watch::Receiver<Flushes> {
        self.flushes.subscribe()
    }

    /// Steps `raft` and hands its outputs on, before anyone else can step it.
    pub fn step_raft(&self, now_us: u64, input: raft::Input, scratch: &mut Vec<raft::Output>) {
        let mut raft = self.raft.lock().expect("a panic ends the process");
        raft.step(now_us, input, scratch);
        self.term.store(raft.term(), Ordering::Relaxed);
        self.commit_index.store(raft.commit_index(), Ordering::Relaxed);
        self.last_index.store(raft.last().index, Ordering::Relaxed);
        // The index first: who sees the new lease sees which leadership it is of.
        self.lease_index.store(raft.lease_index(), Ordering::Release);
        self.lease_until.store(raft.lease_until(), Ordering::Release);
        self.deadline.store(raft.deadline(), Ordering::SeqCst);
        for output in scratch.drain(..) {
            self.route(output);
        }
    }

    /// Puts an output of `raft` where it is served, while `raft` is locked: so everything is served in its order.
    fn route(&self, output: raft::Output) {
        let errand = match output {
            raft::Output::Persist { token, operation } => {
                return self.log.push_quietly(LogInput::Persist { token, operation });
            }
            raft::Output::Cut(index) => return self.log.push_quietly(LogInput::Cut(index)),
            raft::Output::Proposed(id, verdict) => {
                return self.executor.push_quietly(Input::Proposed(id, verdict));
            }
            raft::Output::Committed(entries) => return self.executor.push_quietly(Input::Committed(entries)),
            raft::Output::TellApplied => return self.executor.push_quietly(Input::TellApplied),
            raft::Output::Lag(lag) => return self.executor.push_quietly(Input::Lag(lag)),
            raft::Output::Pause(pause) => return self.executor.push_quietly(Input::Pause(pause)),
            raft::Output::Permit { number, .. } if number < CONNECTION_READS => {
                return self.executor.push_quietly(Input::Permit(number));
            }
            raft::Output::Changed { term, role, leader } => {
                self.executor.push_quietly(Input::Changed { term, role });
                self.leads.store(role == raft::Role::Leader, Ordering::Relaxed);
                self.members.send_modify(|members| {
                    let is_known = members.leader == leader && members.term == term;
                    if leader.is_some() && !is_known {
                        self.leader_changes.fetch_add(1, Ordering::Relaxed);
                    }
                    let configuration = members.configuration.clone();
                    let last_leader = leader.or(members.last_leader);
                    *members = Arc::new(Members { term, role, leader, last_leader, configuration });
                });
                Errand::Changed(role, term, leader)
            }
            // The executor hears of the end of its leadership.
            raft::Output::NoPermit(number) if number < CONNECTION_READS => return,
            raft::Output::Permit { number, index } => Errand::Permit(number, index),
            raft::Output::NoPermit(number) => Errand::NoPermit(number),
            raft::Output::Send(message) => Errand::Send(message),
            raft::Output::Fetch(reading, from, bytes_max) => Errand::Fetch(reading, from, bytes_max),
            raft::Output::Configured { configuration, leaving } => {
                self.members
                    .send_modify(|members| Arc::make_mut(members).configuration = configuration.clone());
                Errand::Configured(configuration, leaving)
            }
            raft::Output::Removed => Errand::Removed,
            raft::Output::Changing(number, answer) => Errand::Changing(number, answer),
            raft::Output::SendSnapshot(to, term) => Errand::SendSnapshot(to, term),
            raft::Output::Install(position) => return self.executor.push_quietly(Input::Install(position)),
            raft::Output::LogReset => return self.executor.push_quietly(Input::LogReset),
            raft::Output::Discard(position) => Errand::Discard(position),
        };
        self.errands.lock().expect("a panic ends the process").push(errand);
    }

    /// One turn of the executor on what waits for it. What is left to do outside the shard is appended to `tasks`.
    pub fn executor_turn(
        &self,
        executor: &mut Executor,
        clock: &dyn executor::Clock,
        may_block: bool,
        scratch: &mut Scratch,
        tasks: &mut Vec<Task>,
    ) -> Result<Next, Fatal> {
        let Scratch { inputs, outputs, raft_outputs, .. } = scratch;
        let next = executor.turn(inputs, clock, may_block, outputs)?;
        *self.gauges.lock().expect("a panic ends the process") = executor.gauges();
        for output in outputs.drain(..) {
            match output {
                Output::Propose(proposal) => {
                    self.step_raft(clock.boot_ns() / 1000, raft::Input::Propose(proposal), raft_outputs);
                }
                Output::AskPermit(number) => {
                    self.step_raft(clock.boot_ns() / 1000, raft::Input::Read(number), raft_outputs);
                }
                Output::Answer(recipient, answer) => tasks.push(Task::Answer(recipient, answer)),
                Output::Lose(recipient) => tasks.push(Task::Lose(recipient)),
                Output::GiveBack(message) => tasks.push(Task::GiveBack(message)),
                Output::Ran(ran) => tasks.push(Task::Ran(ran)),
                Output::Failed(command, error) => tasks.push(Task::Failed(command, error)),
                Output::Slow(slow) => slow.recipient.slow(&slow.args, slow.nanos),
                Output::Flush(job) => tasks.push(Task::Flush(job)),
                Output::Compact(job) => tasks.push(Task::Compact(job)),
                Output::Load(load) => tasks.push(Task::Load(load)),
                Output::Cut { index, is_short } => {
                    self.flushes.send_modify(|flushes| flushes.index = index);
                    self.step_raft(
                        clock.boot_ns() / 1000,
                        raft::Input::Cut { index, is_short },
                        raft_outputs,
                    );
                }
                Output::InstalledSnapshot(position) => {
                    self.step_raft(clock.boot_ns() / 1000, raft::Input::Installed(position), raft_outputs);
                    self.errands.lock().expect("a panic ends the process").push(Errand::Installed(position));
                }
                Output::Applied => {
                    self.step_raft(clock.boot_ns() / 1000, raft::Input::Applied, raft_outputs);
                }
                Output::Lag(lag) => {
                    self.step_raft(clock.boot_ns() / 1000, raft::Input::Lag(lag), raft_outputs);
                }
                Output::Paused(term) => {
                    self.step_raft(clock.boot_ns() / 1000, raft::Input::Paused(term), raft_outputs);
                }
                Output::NoRoom => self.flushes.send_modify(|flushes| flushes.without_room += 1),
                Output::WakeAt(ms) => tasks.push(Task::WakeAt(ms)),
                Output::ResumeAt(boot_us) => tasks.push(Task::ResumeAt(boot_us)),
            }
        }
        Ok(next)
    }

    /// Takes what waits for the executor; `None` puts the executor home.
    #[must_use = "the executor must be given a turn, or be put back"]
    pub fn next_executor_batch(
        &self,
        executor: Box<Executor>,
        scratch: &mut Scratch,
    ) -> Option<Box<Executor>> {
        self.executor.next(executor, &mut scratch.inputs)
    }

    fn note_group(&self, log: &Log, took_ns: u64) {
        let mut gauges = self.log_gauges.lock().expect("a panic ends the process");
        *gauges = LogGauges {
            counters: log.counters(),
            bytes: log.bytes(),
            sync_ns: gauges.sync_ns + took_ns,
            sync_ns_max: gauges.sync_ns_max.max(took_ns),
        };
    }

    /// Writes and syncs one group of what waits for the log, and steps `raft` with what became durable. `None` puts the
    /// log home: nothing waited.
    pub fn log_turn(
        &self,
        log: Box<Log>,
        clock: &dyn executor::Clock,
        scratch: &mut Scratch,
    ) -> Result<Option<Box<Log>>, Fatal> {
        let Some(mut log) = self.log.next(log, &mut scratch.log_inputs) else { return Ok(None) };
        let mut durable = None;
        let mut cut = None;
        for input in scratch.log_inputs.drain(..) {
            match input {
                LogInput::Persist { token, operation } => {
                    durable = Some(token);
                    scratch.operations.push(operation);
                }
                LogInput::Cut(index) => cut = Some(index),
            }
        }
        if let Some(token) = durable {
            let started = clock.boot_ns();
            log.write(&scratch.operations)?;
            scratch.operations.clear();
            log.sync()?;
            let ended = clock.boot_ns();
            self.note_group(&log, ended.saturating_sub(started));
            self.step_raft(ended / 1000, raft::Input::Durable(token), &mut scratch.raft_outputs);
        }
        if let Some(index) = cut {
            log.cut(index)?;
        }
        Ok(Some(log))
    }
}
