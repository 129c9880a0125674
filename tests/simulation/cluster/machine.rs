//! One machine of a cluster: its disk, its clocks, and its node, whose inboxes are served as in production.

use std::sync::{Arc, atomic::Ordering};

use sisyphusdb::{
    disk::{Disk, SimDisk},
    driver::{Core, Errand, Fatal, Scratch, Setup, Task, recover},
    executor::{Executor, Input, Limits, Next, Reserve, Tuning},
    keyspace, log, lsm,
    raft::{self, Configuration, NodeId, Reading, Role},
};
use tokio::sync::oneshot;

use super::{super::world::SimClock, Cluster, invariants::Shape, reads::Reads};

/// Something that takes time on a machine.
pub(super) enum Job {
    Task(Task),
    Fetch(Reading, log::Index, usize),
    /// Sends a snapshot to a node, in a term, when the executor has given out the job that makes it.
    Ship(NodeId, log::Term, oneshot::Receiver<lsm::CheckpointJob>),
}

/// A node that is up.
pub(super) struct Up {
    pub(super) core: Core,
    pub(super) jobs: Vec<Job>,
    next: Next,
    scratch: Scratch,
    pub(super) reads: Reads,
    /// Who sent the snapshot that is being installed.
    pub(super) receives_from: Option<NodeId>,
    /// The joint configuration that is in force.
    pub(super) joint: Option<Configuration>,
    /// What was seen of it in this life.
    pub(super) commit_index: log::Index,
    pub(super) applied_index: log::Index,
}

/// A machine and its node, which may be down.
pub(super) struct Machine {
    pub(super) id: NodeId,
    pub(super) disk: SimDisk,
    pub(super) clock: SimClock,
    /// How much its clock shows of 1,000 µs.
    pub(super) rate: u64,
    pub(super) up: Option<Up>,
    ran_before: bool,
    /// How often it was started.
    pub(super) lives: u64,
    /// The members when it joined or formed the cluster.
    configuration: Configuration,
    /// It was switched off for ever.
    pub(super) is_retired: bool,
    /// It was told that it is no member any more, and will never be.
    pub(super) is_removed: bool,
    /// Its disk was told to fail, or has little room: its node may end.
    pub(super) is_hurt: bool,
    /// Until when its disk does nothing, and until when it does nothing at all.
    pub(super) stalled_until: u64,
    pub(super) paused_until: u64,
    /// What is durable in its log, as the disk said.
    pub(super) stored: Shape,
    /// The greatest term that it has told anyone.
    pub(super) told_term: log::Term,
}

impl Machine {
    pub(super) fn new(id: NodeId, configuration: Configuration, rng: &mut fastrand::Rng) -> Self {
        Self {
            id,
            disk: SimDisk::new(rng.u64(..)),
            clock: SimClock::default(),
            rate: rng.u64(980..=1_020),
            up: None,
            ran_before: false,
            lives: 0,
            configuration,
            is_retired: false,
            is_removed: false,
            is_hurt: false,
            stalled_until: 0,
            paused_until: 0,
            stored: Shape::default(),
            told_term: 0,
        }
    }
}

impl Cluster {
    fn setup(&mut self, at: usize) -> Setup {
        let rng = &mut self.rng;
        let cache = Arc::new(lsm::Cache::new(rng.u64(4_000..200_000)));
        let memtable_bytes = rng.usize(8_000..60_000);
        let defaults = lsm::Options::new(keyspace::FAMILIES, cache, memtable_bytes);
        let segment_bytes = 64 * rng.u64(64..512);
        let log_bytes = 4 * segment_bytes + 4_000;
        let levels = lsm::Levels { base_bytes: 20_000, fan_out: 3, table_bytes: 6_000, ..defaults.levels };
        let machine = &self.machines[at];
        Setup {
            node_id: machine.id,
            ran_before: machine.ran_before,
            configuration: machine.configuration.clone(),
            seed: rng.u64(..),
            tree: lsm::Options {
                graves: Some(keyspace::DEAD),
                levels,
                log_room_bytes: log_bytes / 2,
                ..defaults
            },
            log: log::Options { segment_bytes, spares: 2 },
            limits: Limits {
                in_flight_bytes_max: 20_000,
                entry_bytes_max: 10_000,
                backlog_bytes_max: 1 << 20,
                reserve: Reserve { log_bytes, writes_bytes: 2 * log_bytes + 20_000 },
            },
            tuning: Tuning {
                limits: keyspace::Limits::default(),
                slow_ns: u64::MAX,
                reply_bytes_max: 10_000,
            },
            timing: self.weather.timing,
            bounds: raft::Bounds {
                uncommitted_bytes_max: rng.usize(500..8_000),
                inflight_bytes_max: rng.usize(500..8_000),
                message_bytes_max: rng.usize(300..4_000),
                cache_bytes_max: rng.usize(300..8_000),
                unapplied_bytes_max: memtable_bytes / 20,
                kept_bytes: [0, 0, rng.u64(0..20_000)][rng.usize(..3)],
                kept_bytes_max: rng.u64(20_000..100_000),
            },
        }
    }

    /// Starts the node of a machine that is not switched off for ever.
    pub(super) fn start(&mut self, at: usize) {
        if self.machines[at].is_retired || self.machines[at].up.is_some() {
            return;
        }
        let setup = self.setup(at);
        let cold_percent = self.rng.u8(..60);
        let machine = &mut self.machines[at];
        machine.disk.set_cold_percent(cold_percent);
        let looks = machine.ran_before && !machine.is_hurt && self.rng.bool();
        self.met.add("torn tails", u64::from(looks && has_torn_tail(machine, self.rng.u64(1..))));
        let disk: Arc<dyn Disk> = Arc::new(machine.disk.clone());
        let core = match recover(&disk, setup, &machine.clock) {
            Ok(core) => core,
            Err(error) => {
                assert!(machine.is_hurt, "node {} does not start on a good disk: {error}", machine.id);
                self.met.count("starts without room");
                return machine.disk.crash();
            }
        };
        machine.ran_before = true;
        machine.lives += 1;
        let (term, commit_index, joint) = core.with_raft(|raft| {
            let joint = raft.configuration().is_joint().then(|| raft.configuration().clone());
            (raft.term(), raft.commit_index(), joint)
        });
        assert!(machine.told_term <= term, "node {} has forgotten a term that it told", machine.id);
        let applied_index = core.store().published().view.index();
        machine.up = Some(Up {
            core,
            jobs: Vec::new(),
            next: Next::Idle,
            scratch: Scratch::default(),
            reads: Reads::default(),
            receives_from: None,
            joint,
            commit_index,
            applied_index,
        });
        self.note_stored(at);
    }

    pub(super) fn crash(&mut self, at: usize) {
        self.note_committed(at);
        let machine = &mut self.machines[at];
        let Some(up) = machine.up.take() else { return };
        self.met.count("crashes");
        if up.joint.is_some() && up.core.with_raft(raft::Raft::role) == Role::Leader {
            self.met.count("leaders that died in a joint change");
        }
        machine.disk.crash();
        machine.is_hurt = machine.disk.free_bytes().is_ok_and(|bytes| bytes < super::PLENTY_BYTES);
        machine.stalled_until = 0;
        machine.paused_until = 0;
        self.backlogs.remove(&machine.id);
        for (client, with) in &mut self.clients {
            if *with == Some(at) {
                client.lose_touch();
                *with = None;
            }
        }
        self.workload.died(at);
        let id = machine.id;
        self.transfers.retain(|transfer| !(transfer.is_taken && transfer.to == id));
        if let Some(sender) = up.receives_from {
            let sender = self.machine(sender);
            self.step_raft(sender, raft::Input::SnapshotEnded(id, None));
        }
        let others: Vec<usize> = (0..self.machines.len()).filter(|other| *other != at).collect();
        others.into_iter().for_each(|other| self.step_raft(other, raft::Input::Unreachable(id)));
    }

    /// A node ends when its disk fails or its machine dies, and for no other reason here.
    pub(super) fn survive(&mut self, at: usize, done: Result<(), Fatal>) {
        if let Err(fatal) = done {
            let machine = &self.machines[at];
            let may_end = machine.disk.is_stopped() || machine.is_hurt;
            assert!(may_end, "node {} ended although its disk was well: {fatal}", machine.id);
            if !machine.disk.is_stopped() {
                self.met.count("nodes ended by their disk");
            }
            self.crash(at);
        }
    }

    pub(super) fn step_raft(&mut self, at: usize, input: raft::Input) {
        let machine = &mut self.machines[at];
        if let Some(up) = &mut machine.up {
            up.core.step_raft(machine.clock.us.load(Ordering::Relaxed), input, &mut Vec::new());
            self.run_errands(at);
        }
    }

    pub(super) fn run_errands(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let Some(up) = &mut machine.up else { return };
        let (id, mut ended, mut offered, mut removed) = (machine.id, None, false, false);
        for errand in up.core.take_errands() {
            match errand {
                Errand::Send(message) => {
                    self.ledger.said(&message, &mut machine.told_term);
                    offered |= message.body == raft::Body::TimeoutNow;
                    self.network.push_back(message);
                }
                Errand::Fetch(reading, from, bytes_max) => {
                    self.met.count("fetches");
                    up.jobs.push(Job::Fetch(reading, from, bytes_max));
                }
                Errand::Permit(number, index) => up.reads.permit(&up.core, number, index),
                Errand::NoPermit(number) => up.reads.refuse(number),
                Errand::Changed(Role::Leader, term, _) => {
                    self.met.count("elections");
                    up.core.with_raft(|raft| self.ledger.leads(id, term, raft.tail()));
                }
                Errand::Changed(..) => {}
                Errand::Removed => removed = true,
                Errand::Configured(configuration, ..) => {
                    self.members_ever.extend(configuration.ids());
                    let before = up.joint.take();
                    match before {
                        _ if configuration.is_joint() => up.joint = Some(configuration),
                        Some(before) if before.left() == configuration => {
                            self.met.count("joint changes left")
                        }
                        Some(_) => self.met.count("joint changes aborted"),
                        None => {}
                    }
                }
                Errand::SendSnapshot(to, term) => {
                    let (job, made) = oneshot::channel();
                    up.core.executor.push_quietly(Input::Checkpoint(job));
                    up.jobs.push(Job::Ship(to, term, made));
                }
                Errand::Installed(position) => {
                    self.met.count("snapshots");
                    ended = up.receives_from.take().map(|from| (from, Some(position.index)));
                }
                Errand::Discard(position) => {
                    self.met.count("snapshots that were not needed");
                    let is_held = position.index <= up.core.with_raft(raft::Raft::commit_index);
                    let held = is_held.then_some(position.index);
                    ended = up.receives_from.take().map(|from| (from, held));
                }
                Errand::Changing(_, raft::ChangeAnswer::Done) => self.met.count("changes of the membership"),
                Errand::Changing(_, raft::ChangeAnswer::Refused(_)) => self.met.count("refused changes"),
                Errand::Changing(_, raft::ChangeAnswer::Unknown) => self.met.count("unknown changes"),
            }
        }
        self.observe(at);
        if offered && !self.is_healed && self.rng.u8(..3) == 0 {
            // It does not hear what becomes of the leadership that it has offered.
            self.deafen(at);
        }
        if removed {
            self.met.count("removed nodes that heard of it");
            self.machines[at].is_removed = true;
            self.retire(at);
        }
        if let Some((sender, held)) = ended {
            let sender = self.machine(sender);
            self.step_raft(sender, raft::Input::SnapshotEnded(id, held));
        }
    }

    pub(super) fn executor_step(&mut self, at: usize) -> Result<(), Fatal> {
        let machine = &mut self.machines[at];
        let Some(up) = &mut machine.up else { return Ok(()) };
        let mut executor: Box<Executor> = up.core.executor.take_idle().expect("nobody else has it");
        if up.next == Next::Idle {
            match up.core.next_executor_batch(executor, &mut up.scratch) {
                Some(taken) => executor = taken,
                None => return Ok(()),
            }
        }
        let may_block = up.next == Next::Block;
        let was_leading = executor.is_leading();
        let mut tasks = Vec::new();
        let next =
            up.core.executor_turn(&mut executor, &machine.clock, may_block, &mut up.scratch, &mut tasks);
        let deposed = was_leading && !executor.is_leading();
        up.core.executor.put_back(executor);
        up.next = next?;
        self.met.add("turns with a backlog", u64::from(up.core.gauges().backlog > 0));
        for task in tasks {
            match task {
                Task::Answer(recipient, answer) => recipient.deliver(answer),
                Task::Lose(recipient) => {
                    self.met.add("answers lost with a leadership", u64::from(deposed));
                    recipient.lose();
                }
                Task::GiveBack(message) => message.recipient.give_back(message.items),
                Task::Ran(_) | Task::Failed(..) | Task::WakeAt(_) => {}
                job @ (Task::Flush(_) | Task::Compact(_) | Task::Load(_) | Task::ResumeAt(_)) => {
                    up.jobs.push(Job::Task(job));
                }
            }
        }
        self.run_errands(at);
        self.note_state(at);
        Ok(())
    }

    pub(super) fn log_step(&mut self, at: usize) -> Result<(), Fatal> {
        let machine = &mut self.machines[at];
        let Some(up) = &mut machine.up else { return Ok(()) };
        let mut log = up.core.log.take_idle().expect("nobody else has it");
        if self.rng.u8(..8) == 0 {
            let idle = log.idle();
            up.core.log.put_back(log);
            idle?;
            return Ok(());
        }
        let last = log.reader().last_index();
        if let Some(log) = up.core.log_turn(log, &machine.clock, &mut up.scratch)? {
            self.met.add("truncations", u64::from(log.reader().last_index() < last));
            up.core.log.put_back(log);
            self.note_stored(at);
        }
        self.run_errands(at);
        Ok(())
    }

    pub(super) fn job_step(&mut self, at: usize) -> Result<(), Fatal> {
        let Some(up) = &mut self.machines[at].up else { return Ok(()) };
        let puts_off = !self.is_healed && self.weather.lazy && self.rng.u8(..32) != 0;
        if up.jobs.is_empty() || puts_off {
            return Ok(());
        }
        let job = up.jobs.swap_remove(self.rng.usize(..up.jobs.len()));
        let input = match job {
            Job::Fetch(reading, from, bytes_max) => {
                let log = up.core.log.take_idle().expect("nobody else has it");
                let entries = log.reader().entries(from, bytes_max);
                up.core.log.put_back(log);
                self.step_raft(at, raft::Input::Fetched(reading, entries?));
                return Ok(());
            }
            Job::Ship(to, term, job) => return self.ship(at, to, term, job),
            Job::Task(Task::Flush(job)) => {
                self.met.count("flushes");
                Input::Installed(job.run()?)
            }
            Job::Task(Task::Compact(job)) => {
                self.met.count("compactions");
                Input::Installed(job.run()?)
            }
            Job::Task(Task::Load(load)) => load.run()?,
            Job::Task(_) => Input::Resume,
        };
        self.submit(at, input);
        Ok(())
    }

    pub(super) fn submit(&self, at: usize, input: Input) {
        if let Some(up) = &self.machines[at].up {
            up.core.executor.push_quietly(input);
        }
    }
}

/// Whether the log has a torn tail. To look is to begin a start that goes no further.
fn has_torn_tail(machine: &Machine, epoch: u64) -> bool {
    let disk: Arc<dyn Disk> = Arc::new(machine.disk.clone());
    let opened =
        log::Log::open(disk, "shard-0/log", log::Options { segment_bytes: 64 * 64, spares: 0 }, epoch);
    opened.expect("the disk is well").1.torn.is_some()
}
