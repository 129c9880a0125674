//! Thousands of steps in an order drawn from a seed, with every fault there is, then all is healed: safety always, and
//! progress in the end.

use super::cluster::{Cluster, Met};
use crate::bugs::{self, Bug};
use crate::raft::{Bounds, Change, Configuration, Input, NodeId, Role, Timing};

/// Steps of a run before everything is healed.
const STEPS: u32 = 20_000;

/// Nodes there may ever be.
const NODES_MAX: u64 = 8;

/// What kind of world a run takes place in.
struct World {
    /// The longest of most steps of time, in µs.
    pace_us: u64,
    /// How many messages arrive at once, at most.
    batch: usize,
    /// How likely a message is lost, of 100.
    loss: u8,
    /// How likely a message overtakes others, of 100.
    overtaking: u8,
    /// How likely a step is a fault, of 1,000.
    faults: u16,
    /// How likely a step is a proposal, of 1,000.
    proposals: u16,
    /// The node whose disk is slow.
    slow: NodeId,
    /// Whether the membership changes.
    churn: bool,
}

struct Run {
    cluster: Cluster,
    rng: fastrand::Rng,
    world: World,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let voters = if rng.bool() { 3 } else { 5 };
        let mut cluster = Cluster::new(1..=voters, seed);
        if rng.bool() {
            // So little that every bound is met.
            cluster.bounds = Bounds {
                uncommitted_bytes_max: 60,
                inflight_bytes_max: 40,
                message_bytes_max: 20,
                cache_bytes_max: 30,
                unapplied_bytes_max: rng.usize(1..400),
                kept_bytes: rng.u64(0..1_000),
                kept_bytes_max: rng.u64(1_000..3_000),
            };
        }
        cluster.timing = match rng.u8(..4) {
            0 => Timing::default(),
            1 => Timing { promise_us_max: 100_000, ..Timing::default() },
            _ => Timing {
                heartbeat_us: 3_000,
                promise_us: 10_000,
                promise_us_max: 10_000,
                election_us: 15_000,
            },
        };
        for id in cluster.up() {
            cluster.crash(id, 0);
            cluster.nodes.get_mut(&id).unwrap().rate = rng.u64(980..=1020);
            cluster.start(id);
        }
        let world = World {
            pace_us: [1_000, 5_000, 20_000][rng.usize(..3)],
            batch: [1, 3, 10][rng.usize(..3)],
            loss: [0, 2, 20][rng.usize(..3)],
            overtaking: [0, 5, 40][rng.usize(..3)],
            faults: [1, 4, 12][rng.usize(..3)],
            proposals: [5, 20, 100][rng.usize(..3)],
            slow: rng.u64(0..=voters),
            churn: rng.bool(),
        };
        Self { cluster, rng, world }
    }

    fn one_of(&mut self, ids: &[NodeId]) -> Option<NodeId> {
        (!ids.is_empty()).then(|| ids[self.rng.usize(..ids.len())])
    }

    fn step(&mut self) {
        if self.rng.u16(..1000) < self.world.faults {
            return self.fault();
        }
        if self.rng.u16(..1000) < self.world.proposals {
            return self.propose();
        }
        let up = self.cluster.up();
        match self.rng.u8(..100) {
            0..45 => {
                for _ in 0..self.rng.usize(1..=self.world.batch) {
                    self.deliver();
                }
            }
            45..65 => self.sync(),
            65..75 => self.pass_time(),
            75..90 => self.read(),
            90..95 => up.into_iter().for_each(|id| {
                self.cluster.complete(id);
                self.cluster.pause(id);
            }),
            _ => self.flush(),
        }
    }

    fn deliver(&mut self) {
        if !self.cluster.snapshots.is_empty() && self.rng.u8(..10) == 0 {
            let at = self.rng.usize(..self.cluster.snapshots.len());
            self.cluster.deliver_snapshot(at);
        }
        let waiting = self.cluster.network.len();
        if waiting == 0 {
            return;
        }
        let overtakes = self.rng.u8(..100) < self.world.overtaking;
        let at = if overtakes { self.rng.usize(..waiting) } else { 0 };
        if self.rng.u8(..100) < self.world.loss {
            self.cluster.network.remove(at);
            return;
        }
        if self.rng.u8(..100) < self.world.overtaking {
            let again = self.cluster.network[at].clone();
            self.cluster.network.push(again);
        }
        self.cluster.deliver(at);
    }

    fn sync(&mut self) {
        let up = self.cluster.up();
        let Some(id) = self.one_of(&up) else { return };
        if id != self.world.slow || self.rng.u8(..20) == 0 {
            let pending = self.cluster.nodes[&id].disk.pending.len();
            let count = self.rng.usize(..=pending);
            self.cluster.sync(id, count);
        }
    }

    fn pass_time(&mut self) {
        self.cluster.now += match self.rng.u8(..50) {
            0 => self.rng.u64(..self.cluster.timing.election_us * 2),
            _ => self.rng.u64(..self.world.pace_us),
        };
        self.cluster.tick();
    }

    /// The nodes that believe that they lead.
    fn leaders(&self) -> Vec<NodeId> {
        let up = self.cluster.up().into_iter();
        up.filter(|id| self.cluster.raft(*id).role() == Role::Leader).collect()
    }

    fn propose(&mut self) {
        let leaders = self.leaders();
        if let Some(id) = self.one_of(&leaders)
            && !self.cluster.nodes[&id].paused
        {
            let body = "x".repeat(self.rng.usize(..20));
            self.cluster.propose(id, &body);
        }
    }

    fn read(&mut self) {
        let of = if self.rng.u8(..5) == 0 { self.cluster.up() } else { self.leaders() };
        if let Some(id) = self.one_of(&of) {
            self.cluster.read(id);
        }
    }

    fn flush(&mut self) {
        let up = self.cluster.up();
        if let Some(id) = self.one_of(&up) {
            let applied = self.cluster.nodes[&id].applied.0.index;
            let cut = applied.saturating_sub(self.rng.u64(..20));
            let is_short = self.rng.u8(..4) == 0;
            self.cluster.flush(id, cut, is_short);
        }
    }

    fn fault(&mut self) {
        let all: Vec<NodeId> = self.cluster.nodes.keys().copied().collect();
        let leaders = self.leaders();
        let leader = self.one_of(&leaders);
        let any = self.one_of(&all).unwrap();
        let other = self.one_of(&all).unwrap();
        let id = if self.rng.bool() { leader.unwrap_or(any) } else { any };
        match self.rng.u8(..24) {
            0 | 1 => self.crash(id),
            2 => {
                self.crash(id);
                self.cluster.start(id);
            }
            3..=6 => {
                let down: Vec<NodeId> =
                    all.into_iter().filter(|id| self.cluster.nodes[id].raft.is_none()).collect();
                down.into_iter().for_each(|id| self.cluster.start(id));
            }
            7 => {
                self.cluster.cut_links.push((id, other));
                if self.rng.bool() {
                    self.cluster.cut_links.push((other, id));
                }
            }
            8 => {
                // Alone, or with one other.
                for peer in all.into_iter().filter(|peer| *peer != id && *peer != other) {
                    self.cluster.cut_links.extend([(id, peer), (peer, id), (other, peer), (peer, other)]);
                }
            }
            9..=12 => self.cluster.cut_links.clear(),
            13 => {
                self.cluster.network.retain(|message| (message.from, message.to) != (id, other));
                self.cluster.step(other, Input::Unreachable(id));
                self.cluster.step(id, Input::Unreachable(other));
            }
            14 => {
                let input = match self.rng.u8(..3) {
                    0 => Input::Transfer(None),
                    1 => Input::Transfer(Some(other)),
                    _ => Input::Unfit(self.rng.u8(..4) == 0),
                };
                if let Some(leader) = leader {
                    self.cluster.step(leader, input);
                }
            }
            15..=18 => self.change(),
            // Somebody is impatient.
            _ => self.cluster.step(any, Input::Campaign),
        }
    }

    fn crash(&mut self, id: NodeId) {
        let pending = self.cluster.nodes[&id].disk.pending.len();
        let kept = self.rng.usize(..=pending);
        self.cluster.crash(id, kept);
    }

    fn change(&mut self) {
        let leaders = self.leaders();
        let Some(leader) = self.one_of(&leaders) else { return };
        if !self.world.churn {
            return;
        }
        let members: Vec<NodeId> = self.cluster.raft(leader).configuration().ids().into_iter().collect();
        let Some(id) = self.one_of(&members) else { return };
        let next = self.cluster.nodes.len() as u64 + 1;
        let change = match self.rng.u8(..6) {
            0 if next <= NODES_MAX => {
                self.cluster.add(next, Configuration::default());
                Change::Add(next, "new".into())
            }
            0 | 1 => Change::Remove(id),
            2 => Change::Demote(id),
            3 => Change::Update(id, "elsewhere".into()),
            _ => Change::Promote(id),
        };
        self.cluster.change(leader, vec![change]);
    }

    /// Heals everything; then a leader must be found, and everyone must have what it has.
    fn heal(&mut self) {
        self.cluster.cut_links.clear();
        let all: Vec<NodeId> = self.cluster.nodes.keys().copied().collect();
        for id in all {
            if self.cluster.nodes[&id].raft.is_none() {
                self.cluster.start(id);
            }
            self.cluster.step(id, Input::Unfit(false));
        }
        let from = self.cluster.now;
        let mut proposed = None;
        while !self.is_healed(proposed) {
            let late = from + 60_000_000 < self.cluster.now;
            assert!(!late, "no progress within a minute after all was healed\n{}", self.cluster.status());
            self.quiet_round();
            if let Some(leader) = self.cluster.leader()
                && proposed.is_none_or(|(of, _)| of != self.cluster.raft(leader).term())
                && !self.cluster.nodes[&leader].paused
            {
                let term = self.cluster.raft(leader).term();
                self.cluster.propose(leader, "last");
                proposed = Some((term, self.cluster.raft(leader).last().index));
            }
        }
    }

    /// A millisecond in which everything that is under way arrives.
    fn quiet_round(&mut self) {
        self.cluster.now += 1_000;
        self.cluster.tick();
        for _ in 0..self.cluster.network.len() {
            self.cluster.deliver(0);
        }
        for id in self.cluster.up() {
            self.cluster.sync(id, usize::MAX);
            self.cluster.complete(id);
            self.cluster.pause(id);
        }
        while !self.cluster.snapshots.is_empty() {
            self.cluster.deliver_snapshot(0);
        }
    }

    fn is_healed(&self, proposed: Option<(u64, u64)>) -> bool {
        let (Some(leader), Some((term, index))) = (self.cluster.leader(), proposed) else { return false };
        let raft = self.cluster.raft(leader);
        let applied = |id| self.cluster.nodes[&id].applied.0.index;
        raft.role() == Role::Leader
            && raft.term() == term
            && !raft.configuration().is_joint()
            && raft.configuration().ids().into_iter().all(|id| index <= applied(id))
    }
}

/// Runs a seed, with `steps` steps before everything is healed.
pub(super) fn run(seed: u64, steps: u32) -> Met {
    let mut run = Run::new(seed);
    for step in 0..steps {
        run.step();
        if step % 64 == 0 {
            run.cluster.check_logs();
            run.cluster.trace.clear();
        }
    }
    run.heal();
    let leader = run.cluster.leader().expect("it is healed");
    let members = run.cluster.raft(leader).configuration().ids();
    assert!(members.is_disjoint(&run.cluster.removed), "a member was told that it is none");
    run.cluster.met
}

/// The bugs that random runs notice, each within this many seeds. Those that need a rare constellation have a script.
const NOTICED_WITHIN: &[(Bug, u64)] = &[
    (Bug::RaftVoteForOlderLog, 50),
    (Bug::RaftReadBeforeNoop, 50),
    (Bug::RaftTruncateUnchecked, 100),
    (Bug::RaftHeartbeatCommitsUnknown, 200),
    (Bug::RaftAcknowledgeBeforeDurable, 20),
    (Bug::RaftCountSelfBeforeDurable, 20),
    (Bug::RaftDurableAfterTruncation, 100),
];

#[test]
fn each_planted_bug_is_noticed() {
    for (bug, within) in NOTICED_WITHIN {
        let noticed = |seed: &u64| std::panic::catch_unwind(|| run(*seed, STEPS)).is_err();
        let seed = bugs::with(*bug, || (0..*within).find(noticed));
        assert!(seed.is_some(), "{bug:?} is not noticed within {within} seeds");
    }
}

#[test]
fn whatever_happens_the_logs_agree_and_work_goes_on() {
    let seeds = std::env::var("SISYPHUSDB_SEEDS").map_or(200, |seeds| seeds.parse().unwrap());
    let first = std::env::var("SISYPHUSDB_SEED").map_or(0, |seed| seed.parse().unwrap());
    let mut met = Met::default();
    for seed in first..first + seeds {
        let outcome = std::panic::catch_unwind(|| run(seed, STEPS));
        let Ok(of) = outcome else { panic!("seed {seed} fails") };
        met = Met {
            elections: met.elections + of.elections,
            truncations: met.truncations + of.truncations,
            installs: met.installs + of.installs,
            permits: met.permits + of.permits,
            lease_reads: met.lease_reads + of.lease_reads,
            joint: met.joint + of.joint,
            changes: met.changes + of.changes,
            transfers: met.transfers + of.transfers,
            fetches: met.fetches + of.fetches,
            crashes: met.crashes + of.crashes,
            removed: met.removed + of.removed,
        };
    }
    let floor = seeds.min(200) / 10;
    for count in [
        met.truncations,
        met.installs,
        met.lease_reads,
        met.joint,
        met.changes,
        met.transfers,
        met.fetches,
        met.removed,
    ] {
        assert!(floor <= count, "too little happened: {met:?}");
    }
}
