//! Several nodes, each whole, on simulated disks, clocks and a simulated network: which inbox is served next, which message
//! arrives, when a job completes and who dies is drawn from a seed.

mod reads;
mod snapshots;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use sisyphusdb::{
    disk::{Disk, SimDisk},
    driver::{CONNECTION_READS, Core, Errand, Fatal, Scratch, Setup, Task, recover},
    executor::{Executor, Input, Item, Limits, Message, Next, Recipient, Reserve, Tuning},
    keyspace, log,
    lsm::{self, Access},
    raft::{self, Configuration, NodeId, Reading, Role, Timing},
};

use tokio::sync::oneshot;

use super::{
    client::{Client, Mailbox, bulk, call},
    world::SimClock,
};

/// Something that takes time on a machine.
enum Job {
    Task(Task),
    Fetch(Reading, log::Index, usize),
    /// Sends a snapshot to a node, in a term, when the executor has given out the job that makes it.
    Ship(NodeId, log::Term, oneshot::Receiver<lsm::CheckpointJob>),
}

/// A snapshot under way.
struct Transfer {
    to: NodeId,
    offer: raft::Offer,
    files: Vec<(String, Vec<u8>)>,
}

/// A node that is up.
struct Up {
    core: Core,
    jobs: Vec<Job>,
    next: Next,
    scratch: Scratch,
    /// Reads that may be served when this is applied.
    permitted: Vec<(Read, log::Index)>,
    asked: Vec<(u64, Read)>,
    /// Who sent the snapshot that is being installed.
    receives_from: Option<NodeId>,
}

/// A read of the string of a client, and what was acknowledged when it arrived.
#[derive(Clone, Copy)]
struct Read {
    client: usize,
    acknowledged: u64,
}

/// A read that goes through the executor, and what was acknowledged when it was sent.
struct Question {
    mailbox: Arc<Mailbox>,
    read: Read,
    to: usize,
}

/// A machine and its node, which may be down.
struct Machine {
    id: NodeId,
    disk: SimDisk,
    clock: SimClock,
    /// How much its clock shows of 1,000 µs.
    rate: u64,
    up: Option<Up>,
    ran_before: bool,
}

/// What a run met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    pub(super) crashes: u64,
    pub(super) acknowledged: u64,
    pub(super) elections: u64,
    pub(super) deposed_with_unacknowledged: u64,
    pub(super) truncations: u64,
    pub(super) lease_reads: u64,
    pub(super) index_reads: u64,
    pub(super) follower_reads: u64,
    pub(super) executor_reads: u64,
    pub(super) fetches: u64,
    pub(super) swaps: u64,
    pub(super) transfers: u64,
    pub(super) snapshots: u64,
    pub(super) discarded: u64,
}

impl Met {
    pub(super) fn add(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.acknowledged += other.acknowledged;
        self.elections += other.elections;
        self.deposed_with_unacknowledged += other.deposed_with_unacknowledged;
        self.truncations += other.truncations;
        self.lease_reads += other.lease_reads;
        self.index_reads += other.index_reads;
        self.follower_reads += other.follower_reads;
        self.executor_reads += other.executor_reads;
        self.fetches += other.fetches;
        self.swaps += other.swaps;
        self.transfers += other.transfers;
        self.snapshots += other.snapshots;
        self.discarded += other.discarded;
    }
}

/// The machines, the network between them, and the clients.
pub(super) struct Cluster {
    machines: Vec<Machine>,
    network: VecDeque<raft::Message>,
    transfers: Vec<Transfer>,
    /// Links on which nothing arrives.
    cut_links: Vec<(NodeId, NodeId)>,
    /// Each client, and the machine that has its message.
    clients: Vec<(Client, Option<usize>)>,
    questions: Vec<Question>,
    rng: fastrand::Rng,
    timing: Timing,
    /// How likely a message is lost, of 100.
    loss: u8,
    next_read: u64,
    pub(super) met: Met,
}

impl Cluster {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = if rng.u8(..4) == 0 { 5 } else { 3 };
        let machine = |id, rng: &mut fastrand::Rng| Machine {
            id,
            disk: SimDisk::new(rng.u64(..)),
            clock: SimClock::default(),
            rate: rng.u64(980..=1_020),
            up: None,
            ran_before: false,
        };
        let timing = match rng.bool() {
            true => Timing { promise_us_max: 100_000, ..Timing::default() },
            false => Timing {
                heartbeat_us: 6_000,
                promise_us: 20_000,
                promise_us_max: 20_000,
                election_us: 30_000,
            },
        };
        let mut cluster = Self {
            machines: (1..=count).map(|id| machine(id, &mut rng)).collect(),
            network: VecDeque::new(),
            transfers: Vec::new(),
            cut_links: Vec::new(),
            clients: (1..=4).map(|id| (Client::new(id), None)).collect(),
            questions: Vec::new(),
            timing,
            loss: [0, 0, 3, 15][rng.usize(..4)],
            next_read: CONNECTION_READS,
            met: Met::default(),
            rng,
        };
        (0..cluster.machines.len()).for_each(|at| cluster.start(at));
        cluster
    }

    fn setup(&mut self, at: usize) -> Setup {
        let cache = Arc::new(lsm::Cache::new(self.rng.u64(4_000..200_000)));
        let memtable_bytes = self.rng.usize(8_000..60_000);
        let voters = self.machines.iter().map(|machine| (machine.id, bytes::Bytes::new()));
        let machine = &self.machines[at];
        Setup {
            node_id: machine.id,
            ran_before: machine.ran_before,
            configuration: Configuration::of_voters(voters),
            seed: self.rng.u64(..),
            tree: lsm::Options {
                graves: Some(keyspace::DEAD),
                ..lsm::Options::new(keyspace::FAMILIES, cache, memtable_bytes)
            },
            log: log::Options { segment_bytes: 64 * self.rng.u64(64..512), spares: 2 },
            limits: Limits {
                in_flight_bytes_max: 20_000,
                entry_bytes_max: 10_000,
                backlog_bytes_max: 1 << 20,
                reserve: Reserve::default(),
            },
            tuning: Tuning {
                limits: keyspace::Limits::default(),
                slow_ns: u64::MAX,
                reply_bytes_max: 10_000,
            },
            timing: self.timing,
            bounds: raft::Bounds {
                uncommitted_bytes_max: self.rng.usize(500..8_000),
                inflight_bytes_max: self.rng.usize(500..8_000),
                message_bytes_max: self.rng.usize(300..4_000),
                cache_bytes_max: self.rng.usize(300..8_000),
                kept_bytes: [0, 0, self.rng.u64(0..20_000)][self.rng.usize(..3)],
                kept_bytes_max: self.rng.u64(20_000..100_000),
            },
        }
    }

    fn start(&mut self, at: usize) {
        let setup = self.setup(at);
        let cold_percent = self.rng.u8(..60);
        let machine = &mut self.machines[at];
        machine.disk.set_cold_percent(cold_percent);
        let disk: Arc<dyn Disk> = Arc::new(machine.disk.clone());
        let core = recover(&disk, setup, &machine.clock).expect("the node starts on a disk that is well");
        machine.ran_before = true;
        machine.up = Some(Up {
            core,
            jobs: Vec::new(),
            next: Next::Idle,
            scratch: Scratch::default(),
            permitted: Vec::new(),
            asked: Vec::new(),
            receives_from: None,
        });
    }

    fn crash(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let Some(up) = machine.up.take() else { return };
        self.met.crashes += 1;
        machine.disk.crash();
        for (client, with) in &mut self.clients {
            if *with == Some(at) {
                client.lose_touch();
                *with = None;
            }
        }
        self.questions.retain(|question| question.to != at);
        let id = machine.id;
        if let Some(sender) = up.receives_from {
            let sender = self.machine(sender);
            self.step_raft(sender, raft::Input::SnapshotEnded(id));
        }
        let others: Vec<usize> = (0..self.machines.len()).filter(|other| *other != at).collect();
        others.into_iter().for_each(|other| self.step_raft(other, raft::Input::Unreachable(id)));
    }

    fn step_raft(&mut self, at: usize, input: raft::Input) {
        let machine = &mut self.machines[at];
        if let Some(up) = &mut machine.up {
            up.core.step_raft(machine.clock.us.load(Ordering::Relaxed), input, &mut Vec::new());
            self.run_errands(at);
        }
    }

    fn run_errands(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let Some(up) = &mut machine.up else { return };
        let (id, mut ended) = (machine.id, None);
        for errand in up.core.take_errands() {
            match errand {
                Errand::Send(message) => self.network.push_back(message),
                Errand::Fetch(reading, from, bytes_max) => {
                    self.met.fetches += 1;
                    up.jobs.push(Job::Fetch(reading, from, bytes_max));
                }
                Errand::Permit(number, index) => {
                    let asked =
                        up.asked.iter().position(|(asked, _)| *asked == number).expect("it was asked for");
                    up.permitted.push((up.asked.swap_remove(asked).1, index));
                }
                Errand::NoPermit(number) => up.asked.retain(|(asked, _)| *asked != number),
                Errand::Changed(Role::Leader, ..) => self.met.elections += 1,
                Errand::Changed(..) | Errand::Configured(..) | Errand::Removed => {}
                Errand::SendSnapshot(to, term) => {
                    let (job, made) = oneshot::channel();
                    up.core.executor.push_quietly(Input::Checkpoint(job));
                    up.jobs.push(Job::Ship(to, term, made));
                }
                Errand::Installed(_) => {
                    self.met.snapshots += 1;
                    ended = up.receives_from.take();
                }
                Errand::Discard(_) => {
                    self.met.discarded += 1;
                    ended = up.receives_from.take();
                }
                Errand::Changing(..) => panic!("nobody changes the membership"),
            }
        }
        if let Some(sender) = ended {
            let sender = self.machine(sender);
            self.step_raft(sender, raft::Input::SnapshotEnded(id));
        }
    }

    /// Runs `steps` steps in which everything goes wrong that can.
    pub(super) fn run(&mut self, steps: u32, fault_of: u16) {
        for _ in 0..steps {
            if self.rng.u16(..fault_of) == 0 {
                self.fault();
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let at = self.rng.usize(..self.machines.len());
        let done = match self.rng.u8(..25) {
            0..=7 => {
                self.deliver();
                Ok(())
            }
            8..=11 => self.executor_step(at),
            12..=15 => self.log_step(at),
            16 | 17 => self.job_step(at),
            other => {
                self.other_step(at, other);
                Ok(())
            }
        };
        self.survive(at, done);
    }

    /// A node ends when its machine dies, and for no other reason here.
    fn survive(&mut self, at: usize, done: Result<(), Fatal>) {
        if let Err(fatal) = done {
            let died = self.machines[at].disk.is_stopped();
            assert!(died, "node {} ended although its disk was well: {fatal}", self.machines[at].id);
            self.crash(at);
        }
    }

    fn other_step(&mut self, at: usize, which: u8) {
        match which {
            18 => {
                let us = if self.rng.u8(..100) == 0 { self.rng.u64(..60_000) } else { self.rng.u64(..1_000) };
                self.pass(us);
            }
            19 | 20 => self.client_step(),
            21 => self.begin_to_read(at),
            22 => match self.rng.bool() {
                true => self.read(at),
                false => self.ask_executor(at),
            },
            23 => self.receive(),
            _ => self.submit(at, Input::Wake),
        }
    }

    fn pass(&mut self, us: u64) {
        for at in 0..self.machines.len() {
            let machine = &self.machines[at];
            let now = machine.clock.us.fetch_add(us * machine.rate / 1_000, Ordering::Relaxed) + us;
            if machine.up.as_ref().is_some_and(|up| up.core.deadline() <= now) {
                self.step_raft(at, raft::Input::Tick);
            }
        }
    }

    fn deliver(&mut self) {
        let waiting = self.network.len();
        if waiting == 0 {
            return;
        }
        let at = if self.rng.u8(..10) == 0 { self.rng.usize(..waiting) } else { 0 };
        let message = self.network.remove(at).expect("it waits");
        let lost = self.rng.u8(..100) < self.loss || self.cut_links.contains(&(message.from, message.to));
        if lost {
            return;
        }
        if self.rng.u8(..40) == 0 {
            self.network.push_back(message.clone());
        }
        let to = self.machine(message.to);
        self.step_raft(to, raft::Input::Message(message));
    }

    fn machine(&self, id: NodeId) -> usize {
        self.machines.iter().position(|machine| machine.id == id).expect("there is such a machine")
    }

    fn submit(&self, at: usize, input: Input) {
        if let Some(up) = &self.machines[at].up {
            up.core.executor.push_quietly(input);
        }
    }

    /// The machine whose node leads the latest term.
    fn leader(&self) -> Option<usize> {
        let up = |machine: &Machine| {
            machine.up.as_ref().map(|up| up.core.with_raft(|raft| (raft.term(), raft.role() == Role::Leader)))
        };
        let leaders = self.machines.iter().enumerate().filter_map(|(at, machine)| Some((at, up(machine)?)));
        leaders.filter(|(_, (_, leads))| *leads).max_by_key(|(_, (term, _))| *term).map(|(at, _)| at)
    }

    fn client_step(&mut self) {
        let at = self.rng.usize(..self.clients.len());
        let to = match self.rng.u8(..8) {
            0 => self.rng.usize(..self.machines.len()),
            _ => self.leader().unwrap_or(0),
        };
        let (client, with) = &mut self.clients[at];
        let before = (client.acknowledged, client.swaps_done);
        let goes_on = client.look();
        if goes_on.is_none() && !client.waits() {
            *with = None;
        }
        let message = goes_on.or_else(|| client.next(&mut self.rng));
        self.met.acknowledged += client.acknowledged - before.0;
        self.met.swaps += client.swaps_done - before.1;
        let Some(message) = message else { return };
        // Who watches goes on with the same node.
        let to = with.unwrap_or(to);
        match self.machines[to].up {
            Some(_) => {
                *with = Some(to);
                self.submit(to, Input::Message(message));
            }
            None => message.recipient.give_back(message.items),
        }
    }

    fn executor_step(&mut self, at: usize) -> Result<(), Fatal> {
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
        for task in tasks {
            match task {
                Task::Answer(recipient, answer) => recipient.deliver(answer),
                Task::Lose(recipient) => {
                    self.met.deposed_with_unacknowledged += u64::from(deposed);
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
        Ok(())
    }

    fn log_step(&mut self, at: usize) -> Result<(), Fatal> {
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
            self.met.truncations += u64::from(log.reader().last_index() < last);
            up.core.log.put_back(log);
        }
        self.run_errands(at);
        Ok(())
    }

    fn job_step(&mut self, at: usize) -> Result<(), Fatal> {
        let Some(up) = &mut self.machines[at].up else { return Ok(()) };
        if up.jobs.is_empty() {
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
            Job::Task(Task::Flush(job)) => Input::Installed(job.run()?),
            Job::Task(Task::Compact(job)) => Input::Installed(job.run()?),
            Job::Task(Task::Load(load)) => load.run()?,
            Job::Task(_) => Input::Resume,
        };
        self.submit(at, input);
        Ok(())
    }

    fn fault(&mut self) {
        let at = match self.leader() {
            Some(leader) if self.rng.bool() => leader,
            _ => self.rng.usize(..self.machines.len()),
        };
        let other = self.rng.usize(..self.machines.len());
        let (id, other_id) = (self.machines[at].id, self.machines[other].id);
        match self.rng.u8(..14) {
            0 => self.crash(at),
            1 if self.machines[at].up.is_some() => {
                // It dies in the middle of something that it does with its disk.
                let disk = &self.machines[at].disk;
                disk.stop_at(disk.changes() + self.rng.u64(1..60));
            }
            1..=5 => {
                for at in 0..self.machines.len() {
                    if self.machines[at].up.is_none() {
                        self.start(at);
                    }
                }
            }
            6 => {
                self.cut_links.push((id, other_id));
                if self.rng.bool() {
                    self.cut_links.push((other_id, id));
                }
            }
            7 => {
                for peer in (0..self.machines.len()).filter(|peer| *peer != at) {
                    let peer = self.machines[peer].id;
                    self.cut_links.extend([(id, peer), (peer, id)]);
                }
            }
            8..=10 => self.cut_links.clear(),
            11 => {
                // Every stream of this node is reset while it lives.
                self.network.retain(|message| message.from != id && message.to != id);
                for peer in (0..self.machines.len()).filter(|peer| *peer != at) {
                    let peer_id = self.machines[peer].id;
                    self.step_raft(peer, raft::Input::Unreachable(id));
                    self.step_raft(at, raft::Input::Unreachable(peer_id));
                }
            }
            12 => {
                self.met.transfers += 1;
                self.step_raft(at, raft::Input::Transfer(None));
            }
            _ => self.step_raft(at, raft::Input::Campaign),
        }
    }

    /// Heals everything, and works on until all nodes have what the leader has; then compares them, byte by byte.
    pub(super) fn heal(&mut self) {
        self.cut_links.clear();
        self.loss = 0;
        for at in 0..self.machines.len() {
            self.machines[at].disk.stop_at(u64::MAX);
            if self.machines[at].up.is_none() {
                self.start(at);
            }
        }
        self.quiet(|cluster| cluster.clients.iter_mut().all(|(client, _)| !client.waits()));
        self.check();
        self.quiet(|cluster| {
            let ends = cluster
                .machines
                .iter()
                .filter_map(|machine| machine.up.as_ref())
                .map(|up| (up.core.store().published().view.index(), up.core.last_index()));
            let ends: Vec<_> = ends.collect();
            ends.len() == cluster.machines.len() && ends.iter().all(|end| *end == ends[0] && end.0 == end.1)
        });
        let first = self.contents(0);
        for at in 1..self.machines.len() {
            assert!(self.contents(at) == first, "nodes 1 and {} differ", at + 1);
        }
    }

    /// Works, with clients that finish what they have begun, until `done`.
    fn quiet(&mut self, done: impl Fn(&mut Self) -> bool) {
        for _ in 0..20_000 {
            if done(self) {
                return;
            }
            self.pass(500);
            (0..self.network.len()).for_each(|_| self.deliver());
            self.receive();
            for at in 0..self.machines.len() {
                let turns = [Self::executor_step, Self::log_step, Self::job_step];
                for turn in turns {
                    let done = turn(self, at);
                    self.survive(at, done);
                }
                if self.machines[at].up.is_none() {
                    self.start(at);
                }
            }
            for (client, with) in &mut self.clients {
                let message = client.look();
                if let (Some(message), Some(with)) = (message, *with)
                    && let Some(up) = &self.machines[with].up
                {
                    up.core.executor.push_quietly(Input::Message(message));
                }
            }
        }
        let nodes = self.machines.iter().filter_map(|machine| {
            let up = machine.up.as_ref()?;
            Some(up.core.with_raft(|raft| format!("{}: {:?} {:?}", machine.id, raft.role(), raft.last())))
        });
        panic!("no progress after all was healed: {:?}", nodes.collect::<Vec<_>>());
    }

    /// Asks the leader, and again if it is deposed.
    fn ask(&mut self, words: &[&str]) -> u64 {
        loop {
            self.quiet(|cluster| cluster.leader().is_some());
            let leader = self.leader().expect("it was just found");
            let mailbox = Mailbox::new(1_000);
            let recipient: Arc<dyn Recipient> = Arc::<Mailbox>::clone(&mailbox);
            let items: VecDeque<Item> = VecDeque::from([call(words)]);
            self.submit(leader, Input::Message(Message::new(recipient, items)));
            let answer = std::cell::RefCell::new(None);
            self.quiet(|_| {
                let taken = mailbox.take();
                let done = taken.is_some();
                *answer.borrow_mut() = taken;
                done
            });
            if let Some(Ok(reply)) = answer.into_inner() {
                return bulk(&reply).map_or(0, |text| text.parse().unwrap());
            }
        }
    }

    /// Every acknowledged write is there, nothing that was not asked for, and transactions are whole.
    fn check(&mut self) {
        let sequence = self.ask(&["GET", "sequence"]);
        let mut sum = 0;
        for at in 0..self.clients.len() {
            let id = at + 1;
            let n = self.ask(&["GET", &format!("string:{id}")]);
            let in_hash = self.ask(&["HGET", &format!("hash:{id}"), "n"]);
            let client = &self.clients[at].0;
            let (acknowledged, submitted) = (client.acknowledged, client.submitted);
            assert!(acknowledged <= n, "client {id}: {acknowledged} was acknowledged, {n} is there");
            assert!(n <= submitted, "client {id}: {n} is there and was never asked for");
            assert!(n == in_hash, "client {id}: a transaction was torn: {n} and {in_hash}");
            sum += n;
        }
        assert!(sum == sequence, "{sum} transactions are there, and {sequence} were counted");
        let shared = self.ask(&["GET", "shared"]);
        let done: u64 = self.clients.iter().map(|(client, _)| client.swaps_done).sum();
        let unknown: u64 = self.clients.iter().map(|(client, _)| client.swaps_unknown).sum();
        assert!(done <= shared, "{done} swaps were acknowledged, the counter is {shared}");
        assert!(shared <= done + unknown, "the counter is {shared}, with at most {done} + {unknown} swaps");
    }

    /// All keys and values of a node, of all families.
    fn contents(&self, at: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let up = self.machines[at].up.as_ref().expect("all are up");
        let view = &up.core.store().published().view;
        let mut contents = Vec::new();
        for family in 0..u8::try_from(keyspace::FAMILIES.len()).unwrap() {
            let mut cursor = view.cursor(Access::Disk);
            cursor.set_bounds(&[family], Some(&[family + 1]));
            cursor.seek(&[family]).expect("the disk is well");
            while cursor.valid() {
                contents.push((cursor.key().to_vec(), cursor.value().to_vec()));
                cursor.next().expect("the disk is well");
            }
        }
        contents
    }

    /// Hashes of everything that the disks were asked for.
    pub(super) fn trace(&self) -> Vec<u64> {
        self.machines.iter().map(|machine| machine.disk.trace_hash()).collect()
    }
}

/// Runs one seed to its end; returns what it met, and hashes of everything that the disks were asked for.
pub(super) fn run(seed: u64) -> (Met, Vec<u64>) {
    let mut plan = fastrand::Rng::with_seed(seed ^ 0xc105);
    let mut cluster = Cluster::new(seed);
    for _ in 0..plan.u32(1..4) {
        cluster.run(plan.u32(1_000..20_000), [100, 400, 2_000][plan.usize(..3)]);
        cluster.heal();
    }
    (cluster.met, cluster.trace())
}
