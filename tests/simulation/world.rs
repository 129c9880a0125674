//! One node on a simulated disk, stepped in one thread: which inbox is served next, when a job completes and where the
//! machine dies is drawn from a seed.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use sisyphusdb::{
    disk::{Disk, SimDisk},
    driver::{Core, Fatal, RecoveryError, Scratch, Setup, Task, recover},
    executor::{
        Clock, Executor, Input, Item, Limits, Message, Next, Now, Published, Recipient, Reserve, Tuning,
    },
    keyspace, log,
    lsm::{self, Access},
    raft,
};

use super::client::{self, Answered, Client, Mailbox, bulk, call};

/// Permits that connections hold at once.
const READERS_MAX: usize = 8;

/// Time that only the simulation moves.
#[derive(Default)]
pub(super) struct SimClock {
    pub(super) us: AtomicU64,
    /// By how many ms somebody has set the wall clock on or back.
    pub(super) wall_ms: AtomicI64,
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let us = self.us.load(Ordering::Relaxed);
        let wall_ms =
            (1_700_000_000_000 + us / 1000).saturating_add_signed(self.wall_ms.load(Ordering::Relaxed));
        Now { boot_us: us, wall_ms }
    }

    fn boot_ns(&self) -> u64 {
        self.us.load(Ordering::Relaxed) * 1000
    }
}

/// What a run met, so that a batch of runs can show that it met everything.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    pub(super) crashes: u64,
    pub(super) acknowledged: u64,
    pub(super) refusals: u64,
    pub(super) loads: u64,
    pub(super) flushes: u64,
    pub(super) compactions: u64,
    pub(super) expired: u64,
    pub(super) swaps: u64,
    pub(super) reads: u64,
    pub(super) elections: u64,
    pub(super) without_room: u64,
}

impl Met {
    pub(super) fn add(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.acknowledged += other.acknowledged;
        self.refusals += other.refusals;
        self.loads += other.loads;
        self.flushes += other.flushes;
        self.compactions += other.compactions;
        self.expired += other.expired;
        self.swaps += other.swaps;
        self.reads += other.reads;
        self.elections += other.elections;
        self.without_room += other.without_room;
    }
}

/// What a data directory can lose.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Log,
    Tree,
    Shard,
    Meta,
    /// All of the log, and an empty one is in its place.
    Entries,
}

/// A node that is up.
struct Up {
    core: Core,
    jobs: Vec<Task>,
    /// What the executor said after its last turn.
    next: Next,
    readers: Vec<Reader>,
}

/// A connection that has a permit, and will read the string of a client with it.
struct Reader {
    published: Arc<Published>,
    /// Whose string, from 0 on.
    client: usize,
    /// What was acknowledged when the permit was made.
    acknowledged: u64,
}

/// The machine, its node when it is up, and its clients.
pub(super) struct World {
    pub(super) disk: SimDisk,
    clock: SimClock,
    rng: fastrand::Rng,
    up: Option<Up>,
    clients: Vec<Client>,
    scratch: Scratch,
    /// The node was once recovered whole: what a real one writes into `meta`.
    ran_before: bool,
    pub(super) met: Met,
    is_disk_small: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::new(rng.u64(..));
        Self {
            disk,
            clock: SimClock::default(),
            up: None,
            clients: (1..=4).map(Client::new).collect(),
            scratch: Scratch::default(),
            ran_before: false,
            met: Met::default(),
            is_disk_small: false,
            rng,
        }
    }

    fn setup(&mut self) -> Setup {
        let cache = Arc::new(lsm::Cache::new(self.rng.u64(4_000..200_000)));
        let memtable_bytes = self.rng.usize(8_000..60_000);
        let defaults = lsm::Options::new(keyspace::FAMILIES, cache, memtable_bytes);
        let segment_bytes = 64 * self.rng.u64(64..512);
        let log_bytes = 4 * segment_bytes + 4_000;
        let levels = lsm::Levels { base_bytes: 20_000, fan_out: 3, table_bytes: 6_000, ..defaults.levels };
        Setup {
            node_id: 1,
            ran_before: self.ran_before,
            seed: self.rng.u64(..),
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
            configuration: raft::Configuration::single(1),
            timing: raft::Timing::default(),
            bounds: raft::Bounds {
                uncommitted_bytes_max: self.rng.usize(500..4_000),
                ..raft::Bounds::default()
            },
        }
    }

    /// Starts the node and checks everything that was promised. A machine that dies meanwhile is started again.
    pub(super) fn start(&mut self) {
        loop {
            self.disk.set_cold_percent(self.rng.u8(..60));
            let setup = self.setup();
            let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
            match recover(&disk, setup, &self.clock) {
                Ok(core) => {
                    self.ran_before = true;
                    self.up = Some(Up { core, jobs: Vec::new(), next: Next::Idle, readers: Vec::new() });
                    let up = self.up.as_ref().unwrap();
                    up.core.step_raft(self.clock.boot_ns() / 1000, raft::Input::Campaign, &mut Vec::new());
                    if self.check() {
                        return;
                    }
                }
                Err(error) => assert!(self.disk.is_stopped(), "the node does not start: {error}"),
            }
            self.crash();
        }
    }

    /// Lets the machine die now, or where it was told to.
    pub(super) fn crash(&mut self) {
        self.met.crashes += 1;
        if let Some(up) = self.up.take() {
            self.count(&up);
        }
        self.disk.crash();
        self.scratch = Scratch::default();
        for client in &mut self.clients {
            client.forget();
        }
    }

    fn count(&mut self, up: &Up) {
        let gauges = up.core.gauges();
        let stats = up.core.store().published().view.stats();
        self.met.refusals += gauges.refused;
        self.met.expired += gauges.expired;
        self.met.flushes += stats.flushes;
        self.met.compactions += stats.compactions + stats.moves;
    }

    /// Runs `steps` steps, or until the machine dies, which it does at the change `dies_at` of the disk.
    pub(super) fn run(&mut self, steps: u32, dies_at: Option<u64>) {
        if let Some(change) = dies_at {
            self.disk.stop_at(change);
        }
        self.work(steps);
        self.crash();
        self.start();
    }

    /// Runs `steps` steps, or until the machine dies.
    pub(super) fn work(&mut self, steps: u32) {
        for _ in 0..steps {
            if let Err(fatal) = self.step() {
                assert!(self.disk.is_stopped(), "the node ended although its disk was well: {fatal}");
                break;
            }
        }
    }

    fn step(&mut self) -> Result<(), Fatal> {
        match self.rng.u8(..12) {
            0 | 1 => self.client_step(),
            2..=4 => return self.executor_step(),
            5 | 6 => return self.log_step(),
            7 => return self.job_step(),
            8 => {
                let us = self.rng.u64(..3_000);
                self.pass(us);
            }
            9 => self.begin_to_read(),
            10 => self.read(),
            _ if self.rng.u8(..20) == 0 => self.elect(),
            _ => self.submit(Input::Wake),
        }
        Ok(())
    }

    /// Lets time pass, with a tick when a second is full.
    fn pass(&self, us: u64) {
        let before_us = self.clock.us.fetch_add(us, Ordering::Relaxed);
        if before_us / 1_000_000 < (before_us + us) / 1_000_000 {
            self.submit(Input::Tick);
        }
    }

    /// The only voter stands for election again, in a new term: what was in flight may be appended or not.
    fn elect(&mut self) {
        if let Some(up) = &self.up {
            up.core.step_raft(self.clock.boot_ns() / 1000, raft::Input::Campaign, &mut Vec::new());
            self.met.elections += 1;
        }
    }

    fn submit(&self, input: Input) {
        if let Some(up) = &self.up {
            up.core.executor.push_quietly(input);
        }
    }

    fn client_step(&mut self) {
        let at = self.rng.usize(..self.clients.len());
        let client = &mut self.clients[at];
        let before = (client.acknowledged, client.swaps_done, client.without_room);
        let message = client.look().or_else(|| client.next(&mut self.rng));
        self.met.acknowledged += client.acknowledged - before.0;
        self.met.swaps += client.swaps_done - before.1;
        self.met.without_room += client.without_room - before.2;
        if let Some(message) = message {
            self.submit(Input::Message(message));
        }
    }

    fn begin_to_read(&mut self) {
        let Some(up) = &mut self.up else { return };
        let published = up.core.store().published();
        if published.clock.is_some() && up.readers.len() < READERS_MAX {
            let client = self.rng.usize(..self.clients.len());
            let acknowledged = self.clients[client].acknowledged;
            up.readers.push(Reader { published, client, acknowledged });
        }
    }

    /// Reads as a connection does, beside the executor.
    fn read(&mut self) {
        let Some(up) = &mut self.up else { return };
        if up.readers.is_empty() {
            return;
        }
        let reader = up.readers.swap_remove(self.rng.usize(..up.readers.len()));
        let view = reader.published.view(Access::Disk, 0, self.clock.now(), 0);
        let reply = match client::read(&view, &["GET", &format!("string:{}", reader.client + 1)]) {
            Answered::Reply(reply) => reply,
            Answered::Elsewhere => panic!("the key never expires"),
            Answered::Failed => {
                return assert!(self.disk.is_stopped(), "a read failed although the disk was well");
            }
        };
        let n = bulk(&reply).map_or(0, |text| text.parse().unwrap());
        let client = &self.clients[reader.client];
        assert!(reader.acknowledged <= n, "{n} was read after {} was acknowledged", reader.acknowledged);
        assert!(n <= client.submitted, "{n} was read and never asked for");
        self.met.reads += 1;
    }

    fn executor_step(&mut self) -> Result<(), Fatal> {
        let Some(up) = &mut self.up else { return Ok(()) };
        let mut executor: Box<Executor> = up.core.executor.take_idle().expect("nobody else has it");
        if up.next == Next::Idle {
            match up.core.next_executor_batch(executor, &mut self.scratch) {
                Some(taken) => executor = taken,
                None => return Ok(()),
            }
        }
        let may_block = up.next == Next::Block;
        let mut tasks = Vec::new();
        let next =
            up.core.executor_turn(&mut executor, &self.clock, may_block, &mut self.scratch, &mut tasks);
        up.core.executor.put_back(executor);
        up.next = next?;
        for task in tasks {
            match task {
                Task::Answer(recipient, answer) => recipient.deliver(answer),
                Task::Lose(recipient) => recipient.lose(),
                Task::GiveBack(message) => message.recipient.give_back(message.items),
                Task::Ran(_) | Task::Failed(..) | Task::WakeAt(_) => {}
                job @ (Task::Flush(_) | Task::Compact(_) | Task::Load(_) | Task::ResumeAt(_)) => {
                    up.jobs.push(job);
                }
            }
        }
        Ok(())
    }

    fn log_step(&mut self) -> Result<(), Fatal> {
        let Some(up) = &mut self.up else { return Ok(()) };
        let mut log = up.core.log.take_idle().expect("nobody else has it");
        if self.rng.u8(..4) == 0 {
            let idle = log.idle();
            up.core.log.put_back(log);
            idle?;
            return Ok(());
        }
        if let Some(log) = up.core.log_turn(log, &self.clock, &mut self.scratch)? {
            up.core.log.put_back(log);
        }
        Ok(())
    }

    fn job_step(&mut self) -> Result<(), Fatal> {
        let Some(up) = &mut self.up else { return Ok(()) };
        if up.jobs.is_empty() {
            return Ok(());
        }
        let job = up.jobs.swap_remove(self.rng.usize(..up.jobs.len()));
        let input = match job {
            Task::Flush(job) => Input::Installed(job.run()?),
            Task::Compact(job) => Input::Installed(job.run()?),
            Task::Load(load) => {
                self.met.loads += 1;
                load.run()?
            }
            Task::ResumeAt(boot_us) => {
                self.clock.us.fetch_max(boot_us, Ordering::Relaxed);
                Input::Resume
            }
            Task::Answer(..)
            | Task::Lose(_)
            | Task::GiveBack(_)
            | Task::Ran(_)
            | Task::Failed(..)
            | Task::WakeAt(_) => unreachable!("no job"),
        };
        up.core.executor.push_quietly(input);
        Ok(())
    }

    /// Works until something was acknowledged, and `flushed` until something is in tables; then loses `part` and starts
    /// again.
    pub(super) fn start_without(&mut self, part: Part, flushed: bool) -> Result<Core, RecoveryError> {
        loop {
            self.step().expect("the disk is well");
            let up = self.up.as_ref().expect("the node is up");
            let is_flushed = up.core.store().published().view.flushed().index > 0;
            if self.met.acknowledged > 0 && is_flushed >= flushed {
                break;
            }
        }
        self.crash();
        match part {
            Part::Log => self.remove("shard-0/log"),
            Part::Tree => self.remove("shard-0/tree"),
            Part::Shard => self.remove("shard-0"),
            Part::Meta => self.ran_before = false,
            Part::Entries => {
                self.remove("shard-0/log");
                let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
                drop(log::Log::open(disk, "shard-0/log", log::Options::default(), 1).unwrap());
            }
        }
        let setup = self.setup();
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        recover(&disk, setup, &self.clock)
    }

    fn remove(&self, path: &str) {
        match self.disk.list(path) {
            Ok(names) => {
                for name in names {
                    self.remove(&format!("{path}/{name}"));
                }
                self.disk.remove_dir(path).unwrap();
            }
            Err(_) => self.disk.remove(path).unwrap(),
        }
    }

    /// Holds a view of what is in memory for eleven seconds after that has been flushed, and returns how many such
    /// views the node has noticed when it got nothing but `input` meanwhile.
    pub(super) fn hold_a_view(&mut self, input: fn() -> Input) -> u64 {
        while self.met.acknowledged == 0 {
            self.step().expect("the disk is well");
        }
        let published = |world: &Self| world.up.as_ref().expect("the node is up").core.store().published();
        let held = published(self);
        self.submit(Input::Seal);
        while published(self).view.flushed().index < held.view.index() {
            self.step().expect("the disk is well");
        }
        for _ in 0..2 {
            self.submit(input());
            for _ in 0..100 {
                self.executor_step().expect("the disk is well");
            }
            self.clock.us.fetch_add(11_000_000, Ordering::Relaxed);
        }
        published(self).view.stats().old_views
    }

    /// Leaves only `bytes` of the disk free, or, with `None`, as much as anyone wants.
    pub(super) fn set_room(&mut self, bytes: Option<u64>) {
        const CAPACITY: u64 = 1 << 40;
        self.is_disk_small = bytes.is_some();
        self.disk.set_capacity(Some(CAPACITY));
        let used = CAPACITY - self.disk.free_bytes().unwrap();
        self.disk.set_capacity(bytes.map(|bytes| used + bytes));
        self.submit(Input::Tick);
    }

    /// Lets a second pass.
    pub(super) fn tick(&mut self) {
        self.pass(1_000_000);
    }

    /// Asks the node for one string and steps it until it has answered; `None` when the machine died meanwhile.
    fn ask(&mut self, words: &[&str]) -> Option<Option<String>> {
        let mailbox = Mailbox::new(1_000);
        let recipient: Arc<dyn Recipient> = Arc::<Mailbox>::clone(&mailbox);
        let items: VecDeque<Item> = VecDeque::from([call(words)]);
        self.submit(Input::Message(Message::new(recipient, items)));
        for _ in 0..100_000 {
            let done = self.executor_step().and_then(|()| self.log_step()).and_then(|()| self.job_step());
            if done.is_err() {
                assert!(self.disk.is_stopped(), "the node ended although its disk was well");
                return None;
            }
            if let Some(reply) = mailbox.take() {
                return Some(bulk(&reply.expect("nobody stands for election meanwhile")));
            }
        }
        panic!("the node does not answer {words:?}");
    }

    fn ask_number(&mut self, words: &[&str]) -> Option<u64> {
        let answer = self.ask(words)?;
        Some(answer.map_or(0, |text| text.parse().unwrap()))
    }

    /// Every acknowledged write is there, nothing that was not asked for, and transactions are whole. `false` when the
    /// machine died before everything could be looked at.
    fn check(&mut self) -> bool {
        let Some(sequence) = self.ask_number(&["GET", "sequence"]) else { return false };
        let mut sum = 0;
        for at in 0..self.clients.len() {
            let id = at + 1;
            let Some(n) = self.ask_number(&["GET", &format!("string:{id}")]) else { return false };
            let Some(in_hash) = self.ask_number(&["HGET", &format!("hash:{id}"), "n"]) else { return false };
            let client = &mut self.clients[at];
            assert!(
                client.acknowledged <= n,
                "client {id}: {} was acknowledged, {n} is there",
                client.acknowledged
            );
            assert!(n <= client.submitted, "client {id}: {n} is there and was never asked for");
            assert!(n == in_hash, "client {id}: a transaction was torn: {n} and {in_hash}");
            client.acknowledged = n;
            client.submitted = n;
            sum += n;
        }
        assert!(sum == sequence, "{sum} transactions are there, and {sequence} were counted");
        let Some(shared) = self.ask_number(&["GET", "shared"]) else { return false };
        let done: u64 = self.clients.iter().map(|client| client.swaps_done).sum();
        let unknown: u64 = self.clients.iter().map(|client| client.swaps_unknown).sum();
        assert!(
            done <= shared,
            "{done} swaps were acknowledged, the counter is {shared}: an update was lost"
        );
        assert!(shared <= done + unknown, "the counter is {shared}, with at most {done} + {unknown} swaps");
        self.check_count()
    }

    /// As many keys are counted as there are, once those that are due have gone.
    fn check_count(&mut self) -> bool {
        self.clock.us.fetch_add(10_000, Ordering::Relaxed);
        self.submit(Input::Wake);
        let mut names = vec!["EXISTS".to_owned(), "sequence".to_owned(), "shared".to_owned()];
        for id in 1..=self.clients.len() {
            names.extend([format!("string:{id}"), format!("hash:{id}")]);
        }
        let exists: Vec<&str> = names.iter().map(String::as_str).collect();
        let Some(exist) = self.ask_number(&exists) else { return false };
        let Some(counted) = self.ask_number(&["DBSIZE"]) else { return false };
        // Without room nothing is deleted either: what is due is there no more, and is still counted.
        let due = if self.is_disk_small { self.clients.len() as u64 } else { 0 };
        assert!(
            (exist..=exist + due).contains(&counted),
            "{exist} keys are there, {counted} are counted, at most {due} are due"
        );
        true
    }
}
