//! Several nodes, each whole, on simulated disks, clocks and a simulated network: which inbox is served next, which message
//! arrives, when a job completes, who dies and who joins is drawn from a seed.

mod faults;
mod invariants;
mod machine;
mod members;
mod met;
mod network;
mod reads;
mod snapshots;
mod tests;
mod workload;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, atomic::Ordering},
};

use sisyphusdb::{
    driver::CONNECTION_READS,
    executor::{Input, Item, Message, Recipient},
    keyspace,
    lsm::Access,
    raft::{self, Configuration, NodeId, Role, Timing},
};

use self::{invariants::Ledger, machine::Machine, met::Met, workload::Workload};
use super::client::{Client, Mailbox, bulk, call};

/// Room on a disk that no node here ever needs.
const PLENTY_BYTES: u64 = 600_000;

/// Operations that a run has at least.
const OPERATIONS_MIN: u64 = 500;

/// A snapshot under way.
struct Transfer {
    to: NodeId,
    offer: raft::Offer,
    files: Vec<(String, Vec<u8>)>,
    /// Its receiver has said that it wants it.
    is_taken: bool,
}

/// What kind of world a run takes place in.
struct Weather {
    timing: Timing,
    /// The longest of most steps of time, in µs.
    pace_us: u64,
    /// How likely a message is lost, doubled, and overtakes others, of 100.
    loss: u8,
    doubling: u8,
    overtaking: u8,
    /// Whether the membership changes.
    churn: bool,
    /// Whether jobs take so long that trees do not keep up.
    lazy: bool,
}

/// The machines, the network between them, and the clients.
pub(super) struct Cluster {
    machines: Vec<Machine>,
    network: VecDeque<raft::Message>,
    /// What arrived for nodes that are paused.
    backlogs: BTreeMap<NodeId, Vec<raft::Message>>,
    transfers: Vec<Transfer>,
    /// Links on which nothing arrives.
    cut_links: Vec<(NodeId, NodeId)>,
    /// Nothing goes wrong now.
    is_healed: bool,
    /// Each client, and the machine that has its message.
    clients: Vec<(Client, Option<usize>)>,
    workload: Workload,
    ledger: Ledger,
    rng: fastrand::Rng,
    weather: Weather,
    now_us: u64,
    next_read: u64,
    next_change: u64,
    /// Every node that was in a configuration of anybody's.
    members_ever: BTreeSet<NodeId>,
    met: Met,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let count = if rng.u8(..4) == 0 { 5 } else { 3 };
        let timing = match rng.u8(..4) {
            0 => Timing::default(),
            1 => Timing { promise_us_max: 100_000, ..Timing::default() },
            _ => Timing {
                heartbeat_us: 6_000,
                promise_us: 20_000,
                promise_us_max: 20_000,
                election_us: 30_000,
            },
        };
        let weather = Weather {
            timing,
            pace_us: [300, 1_000, 3_000][rng.usize(..3)],
            loss: [0, 0, 3, 15][rng.usize(..4)],
            doubling: [0, 3, 20][rng.usize(..3)],
            overtaking: [0, 10, 40][rng.usize(..3)],
            churn: rng.u8(..3) != 0,
            lazy: seed % 4 == 3,
        };
        let configuration = Configuration::of_voters((1..=count).map(|id| (id, bytes::Bytes::new())));
        let machines = (1..=count).map(|id| Machine::new(id, configuration.clone(), &mut rng)).collect();
        let mut cluster = Self {
            machines,
            network: VecDeque::new(),
            backlogs: BTreeMap::new(),
            transfers: Vec::new(),
            cut_links: Vec::new(),
            is_healed: false,
            clients: (1..=2).map(|id| (Client::new(id), None)).collect(),
            workload: Workload::new(5),
            ledger: Ledger::default(),
            weather,
            now_us: 0,
            next_read: CONNECTION_READS,
            next_change: 0,
            members_ever: (1..=count).collect(),
            met: Met::default(),
            rng,
        };
        (0..cluster.machines.len()).for_each(|at| cluster.start(at));
        cluster
    }

    /// Runs `steps` steps in which everything goes wrong that can.
    fn run(&mut self, steps: u32, fault_of: u16) {
        self.is_healed = false;
        for _ in 0..steps {
            if self.rng.u16(..fault_of) == 0 {
                self.fault();
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let at = self.rng.usize(..self.machines.len());
        let kind = self.rng.u8(..27);
        // What is under way between machines goes on, whoever is paused.
        if self.is_paused(at) && !matches!(kind, 0..=7 | 18..=21 | 23) {
            return;
        }
        if self.is_stalled(at) && matches!(kind, 12..=17) {
            return;
        }
        let done = match kind {
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

    fn other_step(&mut self, at: usize, kind: u8) {
        match kind {
            0..=7 => self.deliver(),
            18 => {
                let election_us = self.weather.timing.election_us;
                let us = match self.rng.u8(..100) {
                    0 => self.rng.u64(..2 * election_us),
                    _ => self.rng.u64(..self.weather.pace_us),
                };
                self.pass(us);
            }
            19 => self.client_step(),
            20 | 21 => self.session_step(),
            22 => self.begin_to_read(at),
            23 => self.receive(),
            24 => self.read(at),
            25 => self.submit(at, Input::Wake),
            _ if self.rng.u8(..20) == 0 => self.submit(at, Input::Tick),
            _ => self.session_step(),
        }
    }

    fn pass(&mut self, us: u64) {
        self.now_us += us;
        for at in 0..self.machines.len() {
            let machine = &self.machines[at];
            let passed = us * machine.rate / 1_000;
            let now = machine.clock.us.fetch_add(passed, Ordering::Relaxed) + passed;
            let is_due = machine.up.as_ref().is_some_and(|up| up.core.deadline() <= now);
            if is_due && !self.is_paused(at) {
                self.step_raft(at, raft::Input::Tick);
            }
        }
        self.wake();
    }

    fn machine(&self, id: NodeId) -> usize {
        self.machines.iter().position(|machine| machine.id == id).expect("there is such a machine")
    }

    /// The machine whose node leads the latest term.
    fn leader(&self) -> Option<usize> {
        let up = |machine: &Machine| {
            machine.up.as_ref().map(|up| up.core.with_raft(|raft| (raft.term(), raft.role() == Role::Leader)))
        };
        let leaders = self.machines.iter().enumerate().filter_map(|(at, machine)| Some((at, up(machine)?)));
        leaders.filter(|(_, (_, leads))| *leads).max_by_key(|(_, (term, _))| *term).map(|(at, _)| at)
    }

    /// A machine that a client tries: mostly the leader.
    fn target(&mut self) -> usize {
        match self.rng.u8(..8) {
            0 => self.rng.usize(..self.machines.len()),
            _ => self.leader().unwrap_or(0),
        }
    }

    fn session_step(&mut self) {
        let session = self.rng.usize(..self.workload.sessions());
        // Some find the newest leader soon, and others stay where they are.
        let is_clever = session < 2;
        let goes_elsewhere = is_clever || self.rng.u8(..50) == 0;
        let to = match self.workload.connected_to(session) {
            Some(with) if !goes_elsewhere => with,
            Some(_) | None => self.target(),
        };
        let with = self.workload.connected_to(session);
        let is_deposed = with.is_some() && self.leader().is_some_and(|leader| Some(leader) != with);
        let patience = if is_clever && is_deposed { 4 } else { 2_000 };
        if self.machines[to].up.is_some()
            && let Some(message) = self.workload.act(session, to, patience, &mut self.rng)
        {
            self.submit(to, Input::Message(message));
        }
    }

    fn client_step(&mut self) {
        let at = self.rng.usize(..self.clients.len());
        let to = self.target();
        let (client, with) = &mut self.clients[at];
        let before = (client.acknowledged, client.swaps_done);
        let goes_on = client.look();
        if goes_on.is_none() && !client.waits() {
            *with = None;
        }
        let message = goes_on.or_else(|| client.next(&mut self.rng));
        self.met.add("acknowledged writes", client.acknowledged - before.0);
        self.met.add("swaps of the shared counter", client.swaps_done - before.1);
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

    /// Heals everything, and works on until all members have what the leader has; then compares them, byte by byte.
    fn heal(&mut self) {
        self.cut_links.clear();
        self.is_healed = true;
        for at in 0..self.machines.len() {
            self.machines[at].disk.stop_at(u64::MAX);
            self.machines[at].stalled_until = 0;
            self.machines[at].paused_until = 0;
            self.give_room(at);
            self.start(at);
            self.step_raft(at, raft::Input::Unfit(false));
        }
        let members = |cluster: &Self| -> Vec<usize> {
            (0..cluster.machines.len()).filter(|at| !cluster.machines[*at].is_retired).collect()
        };
        loop {
            self.settle_members();
            self.quiet(|cluster| {
                cluster.clients.iter_mut().all(|(client, _)| !client.waits()) && !cluster.workload.waits()
            });
            self.check();
            self.quiet(|cluster| {
                let ends = members(cluster).into_iter().map(|at| {
                    let up = cluster.machines[at].up.as_ref()?;
                    Some((up.core.store().published().view.index(), up.core.last_index()))
                });
                let ends: Vec<_> = ends.collect();
                let same =
                    ends.iter().all(|end| end.is_some_and(|end| Some(end) == ends[0] && end.0 == end.1));
                same || cluster.has_outsiders()
            });
            // A change that somebody had in its log may have come through after all.
            if !self.has_outsiders() {
                break;
            }
        }
        let members = members(self);
        let (data, membership) = (self.contents(members[0]), self.configuration_of(members[0]));
        for at in members {
            let id = self.machines[at].id;
            assert!(self.contents(at) == data, "the data of node {id} differs");
            assert!(self.configuration_of(at) == membership, "node {id} takes others for members");
        }
    }

    /// Works, with clients that finish what they have begun, until `done`.
    fn quiet(&mut self, done: impl Fn(&mut Self) -> bool) {
        for _ in 0..20_000 {
            if done(self) {
                return;
            }
            self.quiet_rounds(1);
        }
        let nodes = self.machines.iter().filter_map(|machine| {
            let up = machine.up.as_ref()?;
            let gauges = up.core.gauges();
            Some(up.core.with_raft(|raft| {
                let (role, term, last) = (raft.role(), raft.term(), raft.last());
                format!(
                    "{}: {role:?} of {term}, {last:?}, {:?}, {gauges:?}",
                    machine.id,
                    raft.configuration()
                )
            }))
        });
        panic!("no progress after all was healed: {:#?}", nodes.collect::<Vec<_>>());
    }

    /// So many half milliseconds in which everything that is under way arrives.
    fn quiet_rounds(&mut self, rounds: u32) {
        for _ in 0..rounds {
            let seconds = self.now_us / 1_000_000;
            self.pass(500);
            if seconds < self.now_us / 1_000_000 {
                (0..self.machines.len()).for_each(|at| self.submit(at, Input::Tick));
            }
            (0..self.network.len()).for_each(|_| self.deliver());
            self.receive();
            for at in 0..self.machines.len() {
                let turns = [Self::executor_step, Self::log_step, Self::job_step];
                for turn in turns {
                    let done = turn(self, at);
                    self.survive(at, done);
                }
                self.start(at);
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
            let lives = self.machines[leader].lives;
            self.quiet(|cluster| {
                let taken = mailbox.take();
                let done = taken.is_some() || cluster.machines[leader].lives != lives;
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
        let up = self.machines[at].up.as_ref().expect("it is up");
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

    /// A hash of everything that the disks were asked for, and of everything that the sessions did.
    fn trace(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.machines.iter().for_each(|machine| machine.disk.trace_hash().hash(&mut hasher));
        self.workload.trace().hash(&mut hasher);
        hasher.finish()
    }
}

/// Runs one seed to its end; returns what it met, and a hash of all that happened.
fn run(seed: u64) -> (Met, u64) {
    let mut plan = fastrand::Rng::with_seed(seed ^ 0xc105);
    let mut cluster = Cluster::new(seed);
    for round in 0_u32.. {
        cluster.run(plan.u32(1_000..20_000), [100, 400, 2_000][plan.usize(..3)]);
        cluster.heal();
        if OPERATIONS_MIN <= cluster.workload.operations && plan.bool() {
            break;
        }
        assert!(round < 100, "the clients do not get far: {} operations", cluster.workload.operations);
    }
    cluster.workload.check();
    cluster.met.add("operations", cluster.workload.operations);
    cluster.met.add("operations of unknown outcome", cluster.workload.unknown);
    let trace = cluster.trace();
    (cluster.met, trace)
}
