//! The network between the machines: it loses, doubles and reorders messages, links are cut and streams reset.

use sisyphusdb::raft::{self, NodeId};

use super::Cluster;

impl Cluster {
    /// Delivers a message, or loses it.
    pub(super) fn deliver(&mut self) {
        let waiting = self.network.len();
        if waiting == 0 {
            return;
        }
        let overtakes = self.rng.u8(..100) < self.weather.overtaking;
        let at = if overtakes { self.rng.usize(..waiting) } else { 0 };
        let message = self.network.remove(at).expect("it waits");
        let lost = self.is_lost();
        if lost || self.cut_links.contains(&(message.from, message.to)) {
            return;
        }
        if self.rng.u8(..100) < self.weather.doubling {
            self.network.push_back(message.clone());
        }
        let to = self.machine(message.to);
        if self.is_paused(to) {
            return self.backlogs.entry(message.to).or_default().push(message);
        }
        self.step_raft(to, raft::Input::Message(message));
    }

    /// Whether something that is sent now gets lost.
    pub(super) fn is_lost(&mut self) -> bool {
        self.rng.u8(..100) < self.weather.loss && !self.is_healed
    }

    /// Cuts a link, in one direction or both.
    pub(super) fn cut_link(&mut self, from: NodeId, to: NodeId) {
        self.cut_links.push((from, to));
        match self.rng.bool() {
            true => self.cut_links.push((to, from)),
            false => self.met.count("asymmetric partitions"),
        }
    }

    /// Cuts all links between some machines and the others.
    pub(super) fn part(&mut self, some: &[NodeId]) {
        self.met.count("partitions");
        let others: Vec<NodeId> =
            self.machines.iter().map(|machine| machine.id).filter(|id| !some.contains(id)).collect();
        for id in some {
            self.cut_links.extend(others.iter().flat_map(|other| [(*id, *other), (*other, *id)]));
        }
    }

    /// Cuts all links to a machine, and none that comes from it.
    pub(super) fn deafen(&mut self, at: usize) {
        self.met.count("asymmetric partitions");
        let id = self.machines[at].id;
        self.cut_links.extend(self.machines.iter().map(|machine| (machine.id, id)));
    }

    /// Every stream of a node is reset while it lives: what was under way is lost, and both ends hear of it.
    pub(super) fn reset_streams(&mut self, at: usize) {
        self.met.count("nodes whose streams were reset");
        let id = self.machines[at].id;
        self.network.retain(|message| message.from != id && message.to != id);
        self.backlogs.remove(&id);
        for peer in (0..self.machines.len()).filter(|peer| *peer != at) {
            let peer_id = self.machines[peer].id;
            self.step_raft(peer, raft::Input::Unreachable(id));
            self.step_raft(at, raft::Input::Unreachable(peer_id));
        }
    }

    pub(super) fn is_paused(&self, at: usize) -> bool {
        self.now_us < self.machines[at].paused_until
    }

    pub(super) fn is_stalled(&self, at: usize) -> bool {
        self.now_us < self.machines[at].stalled_until
    }

    /// What was held back for nodes that go on is what arrives next; what they do before is for the seed to say.
    pub(super) fn wake(&mut self) {
        let ids: Vec<NodeId> = self.backlogs.keys().copied().collect();
        for id in ids {
            let at = self.machine(id);
            if !self.is_paused(at) {
                let messages = self.backlogs.remove(&id).unwrap_or_default();
                messages.into_iter().rev().for_each(|message| self.network.push_front(message));
            }
        }
    }
}
