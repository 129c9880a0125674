//! The nodes of the cluster as clients are shown them.

use super::record::MemberRecord;
use crate::raft::{Configuration, NodeId, Role};

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its name and its addresses.
    pub record: MemberRecord,
    /// Whether it votes. Who does not is new, or leaves, and may lack much.
    pub is_voter: bool,
    /// Whether it leads.
    pub leads: bool,
    /// Cluster clients are told that it has all slots: it leads, or, while nobody is known to, led last.
    pub owns_slots: bool,
    /// Whether it is the one that was asked.
    pub is_myself: bool,
}

/// The cluster, as one node knows it.
///
/// Invariants: at most one node leads; exactly one is the one that was asked; the order is that of the ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The nodes, in the order of their ids.
    pub nodes: Vec<Node>,
    /// The term in which this is so.
    pub term: u64,
    /// What the node that was asked does.
    pub role: Role,
    /// The membership that the nodes are taken from.
    pub configuration: Configuration,
}

impl Topology {
    /// Puts together what a node knows. Of itself it may know more than the configuration, which it may not belong to yet. A
    /// record that cannot be read is as one in which nothing stands.
    pub fn new(
        configuration: &Configuration,
        leader: Option<NodeId>,
        last_leader: Option<NodeId>,
        role: Role,
        term: u64,
        myself: (NodeId, &MemberRecord),
    ) -> Self {
        let mut ids = configuration.ids();
        ids.insert(myself.0);
        let last_leader = last_leader.filter(|last| configuration.is_voter(*last));
        let owner = leader.or(last_leader).or(configuration.voters().first().copied()).unwrap_or(myself.0);
        let node = |id: NodeId| {
            let known = || configuration.record(id).cloned().unwrap_or_default();
            Node {
                id,
                record: match id == myself.0 {
                    true => myself.1.clone(),
                    false => MemberRecord::decode(known()).unwrap_or_else(|error| {
                        tracing::warn!(node = format!("{id:016x}"), %error, "the addresses of a node are not known");
                        MemberRecord::default()
                    }),
                },
                is_voter: configuration.is_voter(id),
                leads: leader == Some(id),
                owns_slots: owner == id,
                is_myself: id == myself.0,
            }
        };
        Self { nodes: ids.into_iter().map(node).collect(), term, role, configuration: configuration.clone() }
    }

    /// The node that was asked.
    pub fn myself(&self) -> &Node {
        self.nodes.iter().find(|node| node.is_myself).expect("it is one of the nodes")
    }

    /// The node that leads, if one is known.
    pub fn leader(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| node.leads)
    }

    /// The node that cluster clients are told to have all slots.
    pub fn owner(&self) -> &Node {
        self.nodes.iter().find(|node| node.owns_slots).unwrap_or_else(|| self.myself())
    }

    /// Those that cluster clients are told to be its replicas, in the order of their ids.
    pub fn replicas(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.owns_slots)
    }

    /// Those that do not lead, in the order of their ids.
    pub fn followers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.leads)
    }

    /// The nodes that a client may mean by `name`: an id in hexadecimal digits, a name for Redis, a name, or where other nodes
    /// dial it. Several have the same if a node came back with an empty disk, and what it was has not been removed yet.
    pub fn called(&self, name: &str) -> Vec<&Node> {
        let is_id = |node: &&Node| name == node_name(node.id) || name == format!("{:016x}", node.id);
        let is_name = |node: &&Node| name == node.record.name || name == node.record.peer;
        match self.nodes.iter().find(is_id) {
            Some(node) => vec![node],
            None => self.nodes.iter().filter(is_name).collect(),
        }
    }
}

/// What Redis' commands call a node: its id as 16 hexadecimal digits, and 24 zeros, since Redis' names have 40.
pub fn node_name(id: NodeId) -> String {
    format!("{id:016x}{:024}", 0)
}

/// What Redis' commands call a shard: the cluster's id as 32 hexadecimal digits, and the number of the shard as 8.
pub fn shard_name(cluster_id: u128, shard: u32) -> String {
    format!("{cluster_id:032x}{shard:08x}")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::raft::Change;

    fn record(name: &str) -> MemberRecord {
        MemberRecord { name: name.to_owned(), peer: format!("{name}:5001"), ..MemberRecord::default() }
    }

    fn configuration() -> Configuration {
        let voters = [(9, record("c").encode()), (2, record("a").encode())];
        Configuration::of_voters(voters).changed(&[Change::Add(5, record("b").encode())]).unwrap()
    }

    fn called(topology: &Topology, name: &str) -> Vec<NodeId> {
        topology.called(name).iter().map(|node| node.id).collect()
    }

    #[test]
    fn nodes_stand_in_the_order_of_their_ids() {
        let topology = Topology::new(&configuration(), Some(9), None, Role::Follower, 3, (2, &record("a")));
        let shown: Vec<_> =
            topology.nodes.iter().map(|node| (node.id, node.is_voter, node.leads, node.is_myself)).collect();
        assert_eq!(shown, [(2, true, false, true), (5, false, false, false), (9, true, true, false)]);
        assert_eq!(topology.leader().map(|node| node.record.name.as_str()), Some("c"));
        assert_eq!(topology.followers().map(|node| node.id).collect::<Vec<_>>(), [2, 5]);
        assert_eq!(topology.myself().id, 2);
    }

    #[test]
    fn the_slots_have_an_owner_while_nobody_leads() {
        let owner = |leader, last| {
            let topology =
                Topology::new(&configuration(), leader, last, Role::Follower, 3, (2, &record("a")));
            assert_eq!(topology.replicas().count(), 2);
            topology.owner().id
        };
        assert_eq!(owner(Some(9), Some(2)), 9);
        assert_eq!(owner(None, Some(9)), 9, "as at a failover of Redis, the dead one keeps them for a while");
        assert_eq!(owner(None, None), 2);
        assert_eq!(owner(None, Some(5)), 2, "a learner owns nothing");
    }

    #[test]
    fn a_node_that_belongs_to_nothing_knows_itself() {
        let topology =
            Topology::new(&Configuration::default(), None, None, Role::Follower, 0, (7, &record("x")));
        assert_eq!(topology.nodes.len(), 1);
        assert!(topology.leader().is_none() && !topology.myself().is_voter);
    }

    #[test]
    fn a_node_knows_its_own_addresses_best_and_nothing_of_what_it_cannot_read() {
        let unreadable = Configuration::of_voters([(1, Bytes::from_static(&[99])), (2, Bytes::new())]);
        let topology = Topology::new(&unreadable, None, None, Role::Leader, 1, (2, &record("new")));
        assert_eq!(topology.nodes[0].record, MemberRecord::default());
        assert_eq!(topology.nodes[1].record, record("new"));
    }

    #[test]
    fn a_node_is_found_by_all_that_it_is_called() {
        let topology = Topology::new(&configuration(), None, None, Role::Follower, 1, (2, &record("a")));
        for name in ["c", "c:5001", "0000000000000009", &node_name(9)] {
            assert_eq!(called(&topology, name), [9], "{name}");
        }
        assert!(called(&topology, "d").is_empty() && called(&topology, "").is_empty());
    }

    #[test]
    fn a_node_that_came_back_with_an_empty_disk_is_not_the_one_that_it_was() {
        let both = configuration().changed(&[Change::Add(7, record("c").encode())]).unwrap();
        let topology = Topology::new(&both, None, None, Role::Follower, 1, (2, &record("a")));
        assert_eq!(called(&topology, "c"), [7, 9]);
        assert_eq!(called(&topology, "c:5001"), [7, 9]);
        assert_eq!(called(&topology, "0000000000000007"), [7]);
    }

    #[test]
    fn names_for_redis_have_forty_digits() {
        assert_eq!(node_name(0xbeef), "000000000000beef000000000000000000000000");
        assert_eq!(node_name(u64::MAX).len(), 40);
        assert_eq!(shard_name(0xabc, 0), "00000000000000000000000000000abc00000000");
    }
}
