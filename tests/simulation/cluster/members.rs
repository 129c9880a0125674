//! An operator who adds, promotes, demotes, removes and replaces nodes, and who sometimes loses a disk.

use std::collections::BTreeSet;

use bytes::Bytes;
use sisyphusdb::{
    disk::Disk,
    raft::{self, Change, Configuration, NodeId},
};

use super::{Cluster, machine::Machine};

/// Machines that run at once.
const MACHINES_MAX: usize = 6;

impl Cluster {
    /// The membership as a node sees it.
    pub(super) fn configuration_of(&self, at: usize) -> Configuration {
        let up = self.machines[at].up.as_ref().expect("it is up");
        up.core.with_raft(|raft| raft.configuration().clone())
    }

    fn ask_for(&mut self, leader: usize, changes: Vec<Change>) {
        self.next_change += 1;
        self.step_raft(leader, raft::Input::Change(self.next_change, changes));
    }

    fn one_of(&mut self, ids: &[NodeId]) -> Option<NodeId> {
        (!ids.is_empty()).then(|| ids[self.rng.usize(..ids.len())])
    }

    /// Whether a node will never come back.
    fn is_gone(&self, id: NodeId) -> bool {
        self.machines[self.machine(id)].is_retired
    }

    /// Puts up a new machine, with an empty disk and a new id; it is a member of nothing yet.
    fn add_machine(&mut self) -> NodeId {
        let id = self.machines.iter().map(|machine| machine.id).max().expect("there are machines") + 1;
        let machine = Machine::new(id, Configuration::default(), &mut self.rng);
        self.machines.push(machine);
        self.start(self.machines.len() - 1);
        id
    }

    /// A change that the operator wants, asked of the leader.
    pub(super) fn change_members(&mut self) {
        let Some(leader) = self.leader() else { return };
        let configuration = self.configuration_of(leader);
        let ids: Vec<NodeId> = configuration.ids().into_iter().collect();
        let (gone, live): (Vec<NodeId>, Vec<NodeId>) = ids.into_iter().partition(|id| self.is_gone(*id));
        let (voters, learners): (Vec<NodeId>, Vec<NodeId>) =
            live.into_iter().partition(|id| configuration.is_voter(*id));
        let learner = self.one_of(&learners);
        let voter = self.one_of(&voters).expect("somebody leads");
        let running = self.machines.iter().filter(|machine| !machine.is_retired).count();
        let changes = match (gone.first(), learner) {
            (Some(gone), Some(learner)) if configuration.is_voter(*gone) => {
                self.met.count("replacements asked for");
                vec![Change::Promote(learner), Change::Remove(*gone)]
            }
            (Some(gone), _) if self.rng.u8(..4) == 0 => vec![Change::Remove(*gone)],
            (Some(_), None) => vec![Change::Add(self.spare(), Bytes::from_static(b"instead"))],
            (_, Some(learner)) if self.rng.u8(..4) != 0 => match self.rng.u8(..6) {
                0 => vec![Change::Remove(learner)],
                1 => vec![Change::Promote(learner), Change::Demote(voter)],
                2 => vec![Change::Promote(learner), Change::Remove(voter)],
                _ => vec![Change::Promote(learner)],
            },
            _ => match self.rng.u8(..6) {
                0 => vec![Change::Update(voter, Bytes::from_static(b"elsewhere"))],
                1 if voters.len() > 2 => vec![Change::Demote(voter)],
                2 if voters.len() > 2 => vec![Change::Remove(voter)],
                _ if running < MACHINES_MAX => {
                    vec![Change::Add(self.spare(), Bytes::from_static(b"new"))]
                }
                _ => return,
            },
        };
        self.ask_for(leader, changes);
        // The leader may die in the middle of it, or be alone with it.
        match self.rng.u8(..8) {
            0 => self.crash(leader),
            1 | 2 => self.part(&[self.machines[leader].id]),
            _ => {}
        }
    }

    /// A machine that runs and is no member: one whose joining came to nothing, or a new one.
    fn spare(&mut self) -> NodeId {
        let fresh = |machine: &&Machine| {
            machine.up.as_ref().is_some_and(|up| {
                up.core.with_raft(|raft| raft.configuration().ids().is_empty() && raft.last().index == 0)
            })
        };
        let known = self.machines.iter().filter(fresh).map(|machine| machine.id);
        // An id that was once in a configuration is never used again, whatever became of that.
        match known.into_iter().find(|id| !self.members_ever.contains(id)) {
            Some(id) => id,
            None => self.add_machine(),
        }
    }

    /// Whether the cluster can do without a machine's data: all agree on who the members are, nobody else is missing, and those
    /// that are left are enough.
    fn may_lose(&self, at: usize) -> bool {
        let mut configurations = BTreeSet::new();
        for machine in self.machines.iter().filter(|machine| !machine.is_retired) {
            let Some(up) = &machine.up else { return false };
            configurations.insert(up.core.with_raft(|raft| raft.configuration().encode()));
        }
        let Some(agreed) = configurations.pop_first().filter(|_| configurations.is_empty()) else {
            return false;
        };
        let agreed = Configuration::decode(agreed).expect("it was just encoded");
        let enough = agreed.voters().len() >= 3 && !agreed.is_joint();
        enough
            && agreed.contains(self.machines[at].id)
            && !agreed.ids().into_iter().any(|id| self.is_gone(id))
    }

    /// The disk of a machine is lost, and an empty one takes its place: the node comes back under a new id, as nobody.
    pub(super) fn wipe(&mut self, at: usize) {
        if self.may_lose(at) {
            self.met.count("wiped disks");
            self.retire(at);
            self.add_machine();
        }
    }

    /// A bit of a log that was synced is damaged while its machine is off. Then the node does not start, and is replaced; or it
    /// has all that it had.
    pub(super) fn damage(&mut self, at: usize) {
        if !self.may_lose(at) || self.machines[at].is_hurt || self.machines[at].disk.is_stopped() {
            return;
        }
        let up = self.machines[at].up.as_ref().expect("all are up");
        let mut log = up.core.log.take_idle().expect("nobody else has it");
        // What comes last and says nothing of itself could be a torn end.
        let marked = log.idle().and_then(|_| log.sync());
        up.core.log.put_back(log);
        if let Err(error) = marked {
            return self.survive(at, Err(error.into()));
        }
        let stored = self.machines[at].stored.clone();
        self.crash(at);
        let machine = &mut self.machines[at];
        let names = machine.disk.list("shard-0/log").expect("the disk is well");
        let segments: Vec<String> = names.into_iter().filter(|name| name.starts_with("segment")).collect();
        let path = format!("shard-0/log/{}", segments[self.rng.usize(..segments.len())]);
        let bytes = machine.disk.durable_contents(&path).expect("it is there");
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
        machine.disk.flip(&path, self.rng.u64(..=used), self.rng.u32(..8)).expect("it is there");
        let was_hurt = std::mem::replace(&mut machine.is_hurt, true);
        self.start(at);
        self.machines[at].is_hurt = was_hurt;
        if self.machines[at].up.is_none() {
            self.met.count("damaged logs that were refused");
            self.retire(at);
            self.add_machine();
        } else {
            let has_all = self.machines[at].stored.has_what_ends(&stored);
            assert!(has_all, "node {} starts without entries that it had", self.machines[at].id);
        }
    }

    /// Switches a machine off for ever.
    pub(super) fn retire(&mut self, at: usize) {
        self.crash(at);
        self.machines[at].is_retired = true;
    }

    /// Whether a machine runs that is no member.
    pub(super) fn has_outsiders(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let configuration = self.configuration_of(leader);
        self.machines.iter().any(|machine| !machine.is_retired && !configuration.contains(machine.id))
    }

    /// After all is healed: who will never come back leaves the membership, a change that was begun is finished, and machines
    /// that belong to nothing are switched off.
    pub(super) fn settle_members(&mut self) {
        loop {
            let settled = |cluster: &mut Self| {
                let leader = cluster.leader()?;
                let up = cluster.machines[leader].up.as_ref().expect("it leads");
                let (configuration, is_committed) = up.core.with_raft(|raft| {
                    (raft.configuration().clone(), raft.commit_index() == raft.last().index)
                });
                (!configuration.is_joint() && is_committed).then_some((leader, configuration))
            };
            self.quiet(|cluster| settled(cluster).is_some());
            let (leader, configuration) = settled(self).expect("it was just so");
            match configuration.ids().into_iter().find(|id| self.is_gone(*id)) {
                Some(gone) => {
                    let was_told = self.machines[self.machine(gone)].is_removed;
                    assert!(!was_told, "node {gone} was told that it was removed, and is a member");
                    self.ask_for(leader, vec![Change::Remove(gone)]);
                    // Whether it was accepted is seen in the next round.
                    self.quiet_rounds(10);
                }
                None => {
                    for at in 0..self.machines.len() {
                        if !configuration.contains(self.machines[at].id) && !self.machines[at].is_retired {
                            self.retire(at);
                        }
                    }
                    return;
                }
            }
        }
    }
}
