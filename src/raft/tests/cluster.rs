//! Nodes in one thread: cores with a disk, a network and a clock of their own, and the invariants of Raft, checked after
//! every step (Raft Figure 3).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    log::{Entry, EntryKind, HardState, Index, Operation, Position, Term},
    raft::{
        Bounds, Change, ChangeAnswer, Configuration, Input, Message, NodeId, Offer, Output, Proposal,
        ProposalId, Raft, Reading, Role, SnapshotAnswer, Start, Tail, Timing, Token, Verdict,
    },
};

/// What a node has on its disk, and what is on its way there.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) hard_state: HardState,
    pub(super) start: Position,
    pub(super) entries: Vec<Entry>,
    pub(super) pending: VecDeque<(Token, Operation)>,
}

impl Disk {
    pub(super) fn last(&self) -> Position {
        self.entries.last().map_or(self.start, Entry::position)
    }

    fn write(&mut self, operation: Operation) {
        match operation {
            Operation::HardState(state) => self.hard_state = state,
            Operation::Entry(entry) => {
                assert_eq!(entry.index, self.last().index + 1, "entries have no gaps");
                self.entries.push(entry);
            }
            Operation::Truncate { from } => self.entries.retain(|entry| entry.index < from),
            Operation::Reset(start) => (self.start, self.entries) = (start, Vec::new()),
        }
    }

    fn term(&self, index: Index) -> Option<Term> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        self.entries.iter().find(|entry| entry.index == index).map(|entry| entry.term)
    }

    /// The bytes up to and with each entry.
    fn sizes(&self) -> Vec<(Index, u64)> {
        let mut bytes = 0;
        let with = |entry: &Entry| {
            bytes += entry.log_bytes();
            (entry.index, bytes)
        };
        self.entries.iter().map(with).collect()
    }

    /// Whether it holds this entry, in the log or below it.
    fn holds(&self, position: Position) -> bool {
        position.index < self.start.index || self.term(position.index) == Some(position.term)
    }

    /// Drops the entries up to `index`, unless the log is about to be reset and does not have them.
    fn cut(&mut self, index: Index) {
        if self.start.index < index
            && let Some(term) = self.term(index)
        {
            self.start = Position { index, term };
            self.entries.retain(|entry| index < entry.index);
        }
    }
}

/// What is applied: the position and the membership there.
pub(super) type Applied = (Position, Configuration);

/// A node, which may be down.
pub(super) struct Node {
    pub(super) raft: Option<Raft>,
    pub(super) disk: Disk,
    pub(super) applied: Applied,
    /// What of it survives.
    pub(super) flushed: Applied,
    pub(super) fetches: Vec<(Reading, Index, usize)>,
    pub(super) install: Option<Position>,
    offer: Option<Offer>,
    pub(super) paused: bool,
    /// It is to say that it has applied what it was given.
    tells_applied: bool,
    /// What it was told of its followers, when it led.
    pub(super) lag_of_others: u64,
    /// How much its clock shows of 1,000 µs.
    pub(super) rate: u64,
    /// The term and the last number of its proposals; the chain is always 1.
    proposed: (Term, u64),
    /// Reads that wait for a permit, with what was acknowledged when they came.
    reads: BTreeMap<u64, Index>,
}

/// The cluster, and what has been seen of it.
pub(super) struct Cluster {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) network: Vec<Message>,
    pub(super) snapshots: Vec<(NodeId, Offer)>,
    /// Links on which nothing arrives.
    pub(super) cut_links: Vec<(NodeId, NodeId)>,
    pub(super) now: u64,
    pub(super) seed: u64,
    pub(super) bounds: Bounds,
    pub(super) timing: Timing,
    /// What was ever committed.
    committed: BTreeMap<Index, Entry>,
    leaders: BTreeMap<Term, NodeId>,
    /// Who was told that it was removed.
    pub(super) removed: BTreeSet<NodeId>,
    /// The last entry that a client was told of.
    acknowledged: Index,
    next_read: u64,
    /// Outputs, for scripts.
    pub(super) trace: Vec<(NodeId, Output)>,
    pub(super) met: Met,
}

/// What a run met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    pub(super) elections: u64,
    pub(super) truncations: u64,
    pub(super) installs: u64,
    pub(super) permits: u64,
    pub(super) lease_reads: u64,
    pub(super) joint: u64,
    pub(super) changes: u64,
    pub(super) transfers: u64,
    pub(super) fetches: u64,
    pub(super) crashes: u64,
    pub(super) removed: u64,
}

impl Cluster {
    pub(super) fn new(ids: impl IntoIterator<Item = NodeId>, seed: u64) -> Self {
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            network: Vec::new(),
            snapshots: Vec::new(),
            cut_links: Vec::new(),
            now: 1_000_000,
            seed,
            bounds: Bounds { kept_bytes: 0, kept_bytes_max: u64::MAX, ..Bounds::default() },
            timing: Timing::default(),
            committed: BTreeMap::new(),
            leaders: BTreeMap::new(),
            removed: BTreeSet::new(),
            acknowledged: 0,
            next_read: 0,
            trace: Vec::new(),
            met: Met::default(),
        };
        let ids: Vec<NodeId> = ids.into_iter().collect();
        let first = Configuration::of_voters(ids.iter().map(|id| (*id, format!("node {id}").into())));
        ids.into_iter().for_each(|id| cluster.add(id, first.clone()));
        cluster
    }

    /// Adds a node with an empty disk that knows of this configuration.
    pub(super) fn add(&mut self, id: NodeId, configuration: Configuration) {
        let applied = (Position::default(), configuration);
        let node = Node {
            raft: None,
            disk: Disk::default(),
            flushed: applied.clone(),
            applied,
            fetches: Vec::new(),
            install: None,
            offer: None,
            paused: false,
            tells_applied: false,
            lag_of_others: 0,
            rate: 1000,
            proposed: (0, 0),
            reads: BTreeMap::new(),
        };
        assert!(self.nodes.insert(id, node).is_none(), "ids are never used again");
        self.start(id);
    }

    /// Starts a node on what its disk holds.
    pub(super) fn start(&mut self, id: NodeId) {
        let now = self.time(id);
        let node = self.nodes.get_mut(&id).unwrap();
        let (flushed, configuration) = node.flushed.clone();
        node.applied = node.flushed.clone();
        let disk = &mut node.disk;
        if !(disk.start.index <= flushed.index && disk.term(flushed.index) == Some(flushed.term)) {
            // A snapshot was installed, and the log not reset to it before the crash.
            disk.hard_state.term = disk.hard_state.term.max(flushed.term);
            (disk.start, disk.entries) = (flushed, Vec::new());
        }
        let mut runs: Vec<Position> = disk.entries.iter().map(Entry::position).collect();
        runs.dedup_by_key(|position| position.term);
        let later = disk.entries.iter().filter(|entry| flushed.index < entry.index);
        let later = later.filter(|entry| entry.kind == EntryKind::Configuration);
        let start = Start {
            id,
            hard_state: disk.hard_state,
            tail: Tail::new(disk.start, disk.last(), runs),
            sizes: disk.sizes(),
            applied: flushed.index,
            configuration,
            later: later
                .map(|entry| (entry.index, Configuration::decode(entry.body.clone()).unwrap()))
                .collect(),
            timing: self.timing,
            bounds: self.bounds,
            seed: self.seed + id,
        };
        node.raft = Some(Raft::new(start, now));
    }

    /// Ends a node; of what is on its way to the disk, the first `kept` operations are there.
    pub(super) fn crash(&mut self, id: NodeId, kept: usize) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.raft.take().is_some() {
            self.met.crashes += 1;
        }
        let pending = std::mem::take(&mut node.disk.pending);
        pending.into_iter().take(kept).for_each(|(_, operation)| node.disk.write(operation));
        node.fetches.clear();
        (node.install, node.paused, node.tells_applied) = (None, false, false);
        let offer = node.offer.take();
        node.proposed = (0, 0);
        node.reads.clear();
        if let Some(offer) = offer {
            self.step(offer.from, Input::SnapshotEnded(id, None));
        }
    }

    pub(super) fn time(&self, id: NodeId) -> u64 {
        let rate = self.nodes.get(&id).map_or(1000, |node| node.rate);
        self.now * rate / 1000
    }

    pub(super) fn raft(&self, id: NodeId) -> &Raft {
        self.nodes[&id].raft.as_ref().unwrap()
    }

    /// The nodes that run.
    pub(super) fn up(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.raft.is_some()).map(|(id, _)| *id).collect()
    }

    /// The leader of the latest term that has one.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let leaders = self.up().into_iter().filter(|id| self.raft(*id).role() == Role::Leader);
        leaders.max_by_key(|id| self.raft(*id).term())
    }

    pub(super) fn step(&mut self, id: NodeId, input: Input) {
        let now = self.time(id);
        let Some(raft) = &mut self.nodes.get_mut(&id).unwrap().raft else { return };
        let commit_index = raft.commit_index();
        let mut outputs = Vec::new();
        raft.step(now, input, &mut outputs);
        if raft.role() == Role::Leader && commit_index < raft.commit_index() {
            self.check_committed_on_quorum(id);
        }
        for output in outputs {
            self.carry_out(id, output);
        }
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        self.trace.push((id, output.clone()));
        let node = self.nodes.get_mut(&id).unwrap();
        match output {
            Output::Persist { token, operation } => {
                self.met.truncations += u64::from(matches!(operation, Operation::Truncate { .. }));
                node.disk.pending.push_back((token, operation));
            }
            Output::Send(message) => self.network.push(message),
            Output::Committed(entries) => entries.into_iter().for_each(|entry| self.apply(id, entry)),
            Output::Fetch(reading, from, bytes_max) => {
                self.met.fetches += 1;
                node.fetches.push((reading, from, bytes_max));
            }
            Output::Changed { term, role, .. } => {
                node.paused = false;
                if role == Role::Leader {
                    self.check_new_leader(id, term);
                }
            }
            Output::Permit { number, index } => {
                let (applied, acknowledged) = (node.applied.0.index, node.reads.remove(&number));
                let acknowledged = acknowledged.expect("a permit that was asked for");
                assert!(acknowledged <= index.max(applied), "node {id} serves a stale read");
                self.met.permits += 1;
            }
            Output::NoPermit(number) => {
                node.reads.remove(&number).expect("a permit that was asked for");
            }
            Output::Pause(pause) => node.paused = pause,
            Output::TellApplied => node.tells_applied = true,
            Output::Lag(lag) => node.lag_of_others = lag,
            Output::SendSnapshot(to, term) => {
                let (position, configuration) = node.flushed.clone();
                self.snapshots.push((to, Offer { from: id, term, position, configuration }));
            }
            // The log is cut in the order of its operations; there is no hurry.
            Output::Cut(index) if node.disk.pending.is_empty() => node.disk.cut(index),
            Output::Cut(_) => {}
            Output::Install(position) => node.install = Some(position),
            Output::Changing(_, ChangeAnswer::Done) => self.met.changes += 1,
            Output::Configured { configuration, .. } => {
                self.met.joint += u64::from(configuration.is_joint());
            }
            Output::Removed => {
                self.met.removed += 1;
                self.removed.insert(id);
            }
            Output::Proposed(..) | Output::Changing(..) | Output::Discard(_) | Output::LogReset => {}
        }
    }

    fn apply(&mut self, id: NodeId, entry: Entry) {
        let node = self.nodes.get_mut(&id).unwrap();
        assert_eq!(entry.index, node.applied.0.index + 1, "entries are applied in order");
        assert!(node.disk.holds(entry.position()), "node {id} applied what is not durable here");
        let first = self.committed.entry(entry.index).or_insert_with(|| entry.clone());
        assert_eq!(*first, entry, "two nodes applied different entries");
        node.applied.0 = entry.position();
        if entry.kind == EntryKind::Configuration {
            node.applied.1 = Configuration::decode(entry.body.clone()).unwrap();
        }
        let raft = node.raft.as_ref().unwrap();
        if raft.role() == Role::Leader && raft.term() == entry.term {
            self.acknowledged = self.acknowledged.max(entry.index);
        }
    }

    /// Election safety and leader completeness.
    fn check_new_leader(&mut self, id: NodeId, term: Term) {
        let before = self.leaders.insert(term, id);
        assert!(before.is_none(), "two leaders of term {term}: {before:?} and {id}");
        self.met.elections += 1;
        let tail = self.raft(id).tail();
        if let Some((_, newest)) = self.committed.last_key_value() {
            let known = newest.index < tail.start().index || tail.contains(newest.position());
            assert!(known, "the leader of term {term} lacks committed entry {}", newest.index);
        }
    }

    /// What is committed is on the disks of a majority.
    fn check_committed_on_quorum(&self, id: NodeId) {
        let raft = self.raft(id);
        let index = raft.commit_index();
        let position = Position { index, term: raft.tail().term(index).unwrap() };
        let holds = |id| self.nodes.get(&id).is_some_and(|node: &Node| node.disk.holds(position));
        assert!(raft.configuration().is_majority(holds), "entry {index} is committed on no majority");
    }

    /// Lets the first `count` operations on the way to a node's disk be durable.
    pub(super) fn sync(&mut self, id: NodeId, count: usize) {
        let disk = &mut self.nodes.get_mut(&id).unwrap().disk;
        let mut durable = None;
        for (token, operation) in disk.pending.drain(..count.min(disk.pending.len())).collect::<Vec<_>>() {
            disk.write(operation);
            durable = Some(token);
        }
        if let Some(token) = durable {
            self.step(id, Input::Durable(token));
        }
    }

    /// Delivers the message at `at`, or loses it if its link is cut or its receiver is down.
    pub(super) fn deliver(&mut self, at: usize) {
        let message = self.network.remove(at);
        let cut = self.cut_links.contains(&(message.from, message.to));
        if !cut && self.nodes.get(&message.to).is_some_and(|node| node.raft.is_some()) {
            self.step(message.to, Input::Message(message));
        }
    }

    /// Delivers the snapshot at `at`, or says that it failed.
    pub(super) fn deliver_snapshot(&mut self, at: usize) {
        let (to, offer) = self.snapshots.remove(at);
        let from = offer.from;
        let up = self.nodes.get(&to).is_some_and(|node| node.raft.is_some());
        if !up || self.cut_links.contains(&(from, to)) || self.nodes[&to].offer.is_some() {
            return self.step(from, Input::SnapshotEnded(to, None));
        }
        match self.raft(to).judge_snapshot(offer.term, offer.position) {
            SnapshotAnswer::Wanted => {}
            SnapshotAnswer::Held => {
                return self.step(from, Input::SnapshotEnded(to, Some(offer.position.index)));
            }
            SnapshotAnswer::Late | SnapshotAnswer::Busy => {
                return self.step(from, Input::SnapshotEnded(to, None));
            }
        }
        self.step(to, Input::Snapshot(offer.clone()));
        let node = self.nodes.get_mut(&to).unwrap();
        match node.install {
            Some(_) => node.offer = Some(offer),
            None => {
                let is_held = offer.position.index <= self.raft(to).commit_index();
                let held = is_held.then_some(offer.position.index);
                self.step(from, Input::SnapshotEnded(to, held));
            }
        }
    }

    /// Completes the first read from the log, or the installation of a snapshot.
    pub(super) fn complete(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if std::mem::take(&mut node.tells_applied) {
            return self.step(id, Input::Applied);
        }
        if let Some(position) = node.install.take() {
            let offer = node.offer.take().unwrap();
            assert!(node.applied.0.index < position.index, "a snapshot undid what was applied");
            node.applied = (offer.position, offer.configuration.clone());
            node.flushed = node.applied.clone();
            self.met.installs += 1;
            self.step(id, Input::Installed(position));
            return self.step(offer.from, Input::SnapshotEnded(id, Some(position.index)));
        }
        if node.fetches.is_empty() {
            return;
        }
        let (reading, from, bytes_max) = node.fetches.remove(0);
        let mut bytes = 0;
        let entries = node.disk.entries.iter().skip_while(|entry| entry.index != from).take_while(|entry| {
            bytes += entry.body.len();
            entry.index == from || bytes <= bytes_max
        });
        let entries = entries.cloned().collect();
        self.step(id, Input::Fetched(reading, entries));
    }

    /// Makes what is applied survive, and cuts the log up to `index`, if that has been applied.
    pub(super) fn flush(&mut self, id: NodeId, cut: Index, is_short: bool) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.install.is_some() {
            return;
        }
        node.flushed = node.applied.clone();
        let index = cut.min(node.flushed.0.index);
        self.step(id, Input::Cut { index, is_short });
    }

    /// Proposes an entry, as the executor of a leader does.
    pub(super) fn propose(&mut self, id: NodeId, body: &str) -> Verdict {
        let (term, role) = (self.raft(id).term(), self.raft(id).role());
        let node = self.nodes.get_mut(&id).unwrap();
        if node.proposed.0 != term {
            node.proposed = (term, 0);
        }
        let n = node.proposed.1 + 1;
        if role == Role::Leader {
            node.proposed.1 = n;
        }
        let id_of = ProposalId { term, chain: 1, n };
        let at = self.trace.len();
        self.step(id, Input::Propose(Proposal { id: id_of, body: body.to_owned().into() }));
        let verdict = self.trace[at..].iter().find_map(|(_, output)| match output {
            Output::Proposed(_, verdict) => Some(*verdict),
            _ => None,
        });
        verdict.expect("every proposal is judged")
    }

    /// Reads arrive at a node. With a lease they are served at once.
    pub(super) fn read(&mut self, id: NodeId) -> u64 {
        let raft = self.raft(id);
        if self.time(id) < raft.lease_until() {
            assert!(self.acknowledged <= raft.commit_index(), "node {id} serves a stale read from its lease");
            self.met.lease_reads += 1;
        }
        self.next_read += 1;
        let number = self.next_read;
        let acknowledged = self.acknowledged;
        self.nodes.get_mut(&id).unwrap().reads.insert(number, acknowledged);
        self.step(id, Input::Read(number));
        number
    }

    pub(super) fn change(&mut self, id: NodeId, changes: Vec<Change>) {
        self.step(id, Input::Change(1, changes));
    }

    /// The executor of a node that hands over has nothing left to do.
    pub(super) fn pause(&mut self, id: NodeId) {
        let node = &self.nodes[&id];
        if node.paused && node.raft.as_ref().is_some_and(|raft| raft.last() == node.applied.0) {
            self.met.transfers += 1;
            self.step(id, Input::Paused(self.raft(id).term()));
        }
    }

    /// Ticks every node whose time has come.
    pub(super) fn tick(&mut self) {
        for id in self.up() {
            if self.raft(id).deadline() <= self.time(id) {
                self.step(id, Input::Tick);
            }
        }
    }

    /// A line for each node.
    pub(super) fn status(&self) -> String {
        let line = |(id, node): (&NodeId, &Node)| {
            let Some(raft) = &node.raft else { return format!("{id}: down") };
            let (last, start) = (raft.last(), raft.tail().start());
            let voters = raft.configuration().voters();
            let mut line = format!(
                "{id}: {:?} term={} vote={} leader={:?} log={}..{}@{} durable={} commit={} applied={} voters={voters:?}",
                raft.role(),
                raft.term(),
                raft.hard_state().vote,
                raft.leader().unwrap_or(0),
                start.index,
                last.index,
                last.term,
                raft.durable_index(),
                raft.commit_index(),
                node.applied.0.index,
            );
            if raft.configuration().is_joint() {
                line += " joint";
            }
            for other in self.nodes.keys() {
                if let Some(progress) = raft.progress(*other) {
                    let (matched, next) = (progress.match_index(), progress.next_index());
                    line += &format!("\n   {other}: {:?} match={matched} next={next}", progress.mode());
                }
            }
            line
        };
        self.nodes.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Log matching, on all logs in memory.
    pub(super) fn check_logs(&self) {
        let mut seen: BTreeMap<Position, Option<Position>> = BTreeMap::new();
        for id in self.up() {
            let tail = self.raft(id).tail();
            for index in tail.start().index + 1..=tail.last().index {
                let at = |index| tail.term(index).map(|term| Position { index, term });
                let before = at(index - 1);
                let same = seen.entry(at(index).unwrap()).or_insert(before);
                assert_eq!(*same, before, "logs that agree at an entry differ before it");
            }
        }
    }
}
