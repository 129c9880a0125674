//! Who belongs to the cluster, and what a majority of it is.
//!
//! Changes of voters go through a *joint* configuration (Raft thesis §4.3): while it lasts, nothing is decided without a
//! majority of the old voters and a majority of the new ones. It says already what holds when it is left.
//!
//! # Format, version 1
//!
//! The body of a configuration entry, and the membership in manifests and snapshots. Integers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 4 | number of members |
//! | per member: 8 + 1 + 4 + length | id, kind (0 learner, 1 voter), length of its record, its record |
//! | 4 | number of outgoing voters; 0 unless joint |
//! | per outgoing voter: 8 + 4 + length | id, length of its record, its record |

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::message::NodeId;
use crate::bugs::{self, Bug};

const VERSION: u8 = 1;

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whether it votes; a learner only gets the log.
    pub voter: bool,
    /// Its name and addresses; the core does not look into it.
    pub record: Bytes,
}

/// The members of a cluster. A node that has not joined any has the empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The members, as they are when a joint configuration is left.
    pub members: BTreeMap<NodeId, Member>,
    /// The voters of before, with their records, while the configuration is joint.
    ///
    /// Invariant: not empty only if there are voters among `members`.
    pub outgoing: BTreeMap<NodeId, Bytes>,
}

/// One wish of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new learner.
    Add(NodeId, Bytes),
    /// A learner becomes a voter.
    Promote(NodeId),
    /// A voter becomes a learner.
    Demote(NodeId),
    /// A member leaves for ever.
    Remove(NodeId),
    /// A member has another name or other addresses.
    Update(NodeId, Bytes),
}

impl std::fmt::Display for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, id) = match self {
            Self::Add(id, _) => ("add", id),
            Self::Promote(id) => ("promote", id),
            Self::Demote(id) => ("demote", id),
            Self::Remove(id) => ("remove", id),
            Self::Update(id, _) => ("update", id),
        };
        write!(formatter, "{what} {id:016x}")
    }
}

/// Why a change is refused. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefusal {
    /// This node does not lead.
    #[error("this node does not lead")]
    NotLeader,
    /// The leader has not committed an entry of its term yet, or hands over.
    #[error("the leader is not ready, try again")]
    NotReady,
    /// Another change is not complete.
    #[error("another change of the membership is under way")]
    Pending,
    /// There is no such member.
    #[error("node {0:016x} is not a member")]
    Unknown(NodeId),
    /// There is such a member already.
    #[error("node {0:016x} is a member already")]
    Exists(NodeId),
    /// The learner lacks too much of the log to vote.
    #[error("node {0:016x} has not caught up yet")]
    Behind(NodeId),
    /// Nobody would be left who votes.
    #[error("the cluster would have no voter left")]
    NoVoters,
}

impl Configuration {
    /// A cluster of one voter.
    pub fn single(id: NodeId) -> Self {
        Self::of_voters([(id, Bytes::new())])
    }

    /// A cluster of these voters.
    pub fn of_voters(voters: impl IntoIterator<Item = (NodeId, Bytes)>) -> Self {
        let members = voters.into_iter().map(|(id, record)| (id, Member { voter: true, record })).collect();
        Self { members, outgoing: BTreeMap::new() }
    }

    /// Whether a change of the voters is under way.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether `id` votes, before or after the change that is under way.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.members.get(&id).is_some_and(|member| member.voter) || self.outgoing.contains_key(&id)
    }

    /// Whether `id` gets the log.
    pub fn contains(&self, id: NodeId) -> bool {
        self.members.contains_key(&id) || self.outgoing.contains_key(&id)
    }

    /// All who get the log, in the order of their ids.
    pub fn ids(&self) -> BTreeSet<NodeId> {
        self.members.keys().chain(self.outgoing.keys()).copied().collect()
    }

    /// All who vote, before or after the change that is under way, in the order of their ids.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.ids().into_iter().filter(|id| self.is_voter(*id)).collect()
    }

    /// The record of a member.
    pub fn record(&self, id: NodeId) -> Option<&Bytes> {
        self.members.get(&id).map(|member| &member.record).or_else(|| self.outgoing.get(&id))
    }

    /// Returns the greatest value that a majority has reached (of both sets of voters, if it is joint). Without voters
    /// nothing is ever reached.
    pub fn reached(&self, value: impl Fn(NodeId) -> u64) -> u64 {
        let voters = self.members.iter().filter(|(_, member)| member.voter).map(|(id, _)| *id);
        let incoming = reached_by_majority(voters.map(&value).collect());
        match self.is_joint() {
            true => incoming.min(reached_by_majority(self.outgoing.keys().map(|id| value(*id)).collect())),
            false => incoming,
        }
    }

    /// Whether those for whom `said` holds are a majority (of both sets of voters, if it is joint).
    pub fn is_majority(&self, said: impl Fn(NodeId) -> bool) -> bool {
        self.reached(|id| said(id).into()) == 1
    }

    /// Returns the configuration that begins these changes: joint if other nodes vote afterwards, else final.
    ///
    /// # Errors
    ///
    /// The changes do not fit this configuration.
    pub fn changed(&self, changes: &[Change]) -> Result<Self, ChangeRefusal> {
        if self.is_joint() {
            return Err(ChangeRefusal::Pending);
        }
        let mut members = self.members.clone();
        for change in changes {
            apply(&mut members, change)?;
        }
        let next = Self { members, outgoing: BTreeMap::new() };
        let (old, new) = (self.voters(), next.voters());
        if new.is_empty() {
            return Err(ChangeRefusal::NoVoters);
        }
        if old == new || bugs::on(Bug::RaftChangeNotJoint) {
            return Ok(next);
        }
        let outgoing = old.into_iter().map(|id| (id, self.members[&id].record.clone())).collect();
        Ok(Self { outgoing, ..next })
    }

    /// Returns the configuration that ends a joint one.
    pub fn left(&self) -> Self {
        assert!(self.is_joint(), "only a joint configuration is left");
        Self { members: self.members.clone(), outgoing: BTreeMap::new() }
    }

    /// Returns the body of an entry with this configuration.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        put_count(&mut out, self.members.len());
        for (id, member) in &self.members {
            out.put_u64(*id);
            out.put_u8(member.voter.into());
            put_record(&mut out, &member.record);
        }
        put_count(&mut out, self.outgoing.len());
        for (id, record) in &self.outgoing {
            out.put_u64(*id);
            put_record(&mut out, record);
        }
        out.freeze()
    }

    /// Reads what [`Configuration::encode`] wrote; none if it is anything else.
    pub fn decode(mut body: Bytes) -> Option<Self> {
        if body.try_get_u8().ok()? != VERSION {
            return None;
        }
        let mut configuration = Self::default();
        for _ in 0..body.try_get_u32().ok()? {
            let id = body.try_get_u64().ok()?;
            let voter = match body.try_get_u8().ok()? {
                0 => false,
                1 => true,
                _ => return None,
            };
            let member = Member { voter, record: take_record(&mut body)? };
            if id == 0 || configuration.members.insert(id, member).is_some() {
                return None;
            }
        }
        for _ in 0..body.try_get_u32().ok()? {
            let id = body.try_get_u64().ok()?;
            let record = take_record(&mut body)?;
            if id == 0 || configuration.outgoing.insert(id, record).is_some() {
                return None;
            }
        }
        let has_voters = configuration.members.values().any(|member| member.voter);
        (body.is_empty() && (has_voters || !configuration.is_joint())).then_some(configuration)
    }
}

fn apply(members: &mut BTreeMap<NodeId, Member>, change: &Change) -> Result<(), ChangeRefusal> {
    match change {
        Change::Add(id, record) => {
            assert!(*id != 0, "0 is nobody");
            if members.contains_key(id) {
                return Err(ChangeRefusal::Exists(*id));
            }
            members.insert(*id, Member { voter: false, record: record.clone() });
        }
        Change::Remove(id) => {
            members.remove(id).ok_or(ChangeRefusal::Unknown(*id))?;
        }
        Change::Promote(id) => member(members, *id)?.voter = true,
        Change::Demote(id) => member(members, *id)?.voter = false,
        Change::Update(id, record) => member(members, *id)?.record = record.clone(),
    }
    Ok(())
}

fn member(members: &mut BTreeMap<NodeId, Member>, id: NodeId) -> Result<&mut Member, ChangeRefusal> {
    members.get_mut(&id).ok_or(ChangeRefusal::Unknown(id))
}

/// Returns the greatest value that more than half of `values` have reached.
fn reached_by_majority(mut values: Vec<u64>) -> u64 {
    values.sort_unstable_by(|a, b| b.cmp(a));
    values.get(values.len() / 2).copied().unwrap_or(0)
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32(u32::try_from(count).expect("a cluster has few members"));
}

fn put_record(out: &mut BytesMut, record: &Bytes) {
    put_count(out, record.len());
    out.put_slice(record);
}

fn take_record(body: &mut Bytes) -> Option<Bytes> {
    let length = body.try_get_u32().ok()? as usize;
    (length <= body.len()).then(|| body.split_to(length))
}

/// The configurations that may be in force: the newest in the log is, whether it is committed or not (Raft thesis §4.1).
///
/// Invariant: never empty; indexes ascend.
#[derive(Clone, Debug)]
pub(super) struct History(Vec<(u64, Configuration)>);

impl History {
    /// `base` is in force up to `index`; `later` are the configuration entries behind it.
    pub(super) fn new(base: (u64, Configuration), later: Vec<(u64, Configuration)>) -> Self {
        let mut history = Self(vec![base]);
        later.into_iter().for_each(|(index, configuration)| history.push(index, configuration));
        history
    }

    /// The configuration in force.
    pub(super) fn newest(&self) -> &Configuration {
        &self.0.last().expect("there is always one").1
    }

    /// Whether `id` votes in a configuration that is in force or may come back.
    pub(super) fn may_vote(&self, id: NodeId) -> bool {
        self.0.iter().any(|(_, configuration)| configuration.is_voter(id))
    }

    /// The index of its entry.
    pub(super) fn newest_index(&self) -> u64 {
        self.0.last().expect("there is always one").0
    }

    /// Takes the configuration of the entry at `index`.
    pub(super) fn push(&mut self, index: u64, configuration: Configuration) {
        assert!(self.newest_index() < index, "configurations come in the order of the log");
        self.0.push((index, configuration));
    }

    /// Forgets those of the entries from `from` on.
    pub(super) fn truncate(&mut self, from: u64) {
        self.0.retain(|(index, _)| *index < from);
        assert!(!self.0.is_empty(), "a committed configuration was truncated");
    }

    /// Forgets what cannot come back, since `commit` is committed. Returns whether `id` is no member by that, and was one.
    pub(super) fn committed(&mut self, commit: u64, id: NodeId) -> bool {
        let kept = self.0.partition_point(|(index, _)| *index <= commit).saturating_sub(1);
        let was_member = self.0.drain(..kept).any(|(_, configuration)| configuration.contains(id));
        was_member && !self.is_member(id)
    }

    /// Whether `id` is a member in the newest configuration that is known to be committed.
    pub(super) fn is_member(&self, id: NodeId) -> bool {
        self.0.first().expect("there is always one").1.contains(id)
    }

    /// Whether `id` is a member in any configuration that is known.
    pub(super) fn has_known(&self, id: NodeId) -> bool {
        self.0.iter().any(|(_, configuration)| configuration.contains(id))
    }

    /// Those who are members in none but configurations before the newest, with their records.
    pub(super) fn removed(&self) -> BTreeMap<NodeId, Bytes> {
        let (newest, before) = self.0.split_last().expect("there is always one");
        let members = before.iter().flat_map(|(_, of)| of.ids().into_iter().map(move |id| (id, of)));
        let removed = members.filter(|(id, _)| !newest.1.contains(*id));
        removed.filter_map(|(id, of)| Some((id, of.record(id)?.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn voters(ids: &[NodeId]) -> Configuration {
        Configuration::of_voters(ids.iter().map(|id| (*id, Bytes::from(format!("node {id}")))))
    }

    #[test]
    fn silent_voters_hold_back_what_is_reached() {
        let three = voters(&[1, 2, 3]);
        assert_eq!(three.reached(|id| if id == 1 { 9 } else { 0 }), 0);
        assert_eq!(
            three.reached(|id| match id {
                1 => 9,
                2 => 7,
                _ => 0,
            }),
            7
        );
        assert_eq!(voters(&[1, 2]).reached(|id| id), 1, "two of two");
        assert_eq!(voters(&[1, 2, 3, 4]).reached(|id| id), 2, "three of four");
        assert_eq!(Configuration::default().reached(|_| 9), 0, "nobody decides nothing");
    }

    #[test]
    fn a_change_of_voters_is_joint_and_says_what_follows() {
        let old = voters(&[1, 2, 3]);
        let record = Bytes::from_static(b"node 4");
        let learner = old.changed(&[Change::Add(4, record.clone())]).unwrap();
        assert!(!learner.is_joint());
        assert!(!learner.is_voter(4) && learner.contains(4));
        let joint = learner.changed(&[Change::Promote(4), Change::Remove(1)]).unwrap();
        assert!(joint.is_joint());
        assert_eq!(joint.ids(), BTreeSet::from([1, 2, 3, 4]));
        assert!(joint.is_majority(|id| id == 2 || id == 3));
        assert!(!joint.is_majority(|id| id == 1 || id == 2), "no majority of the new voters");
        assert!(!joint.is_majority(|id| id == 3 || id == 4), "no majority of the old voters");
        assert_eq!(joint.changed(&[Change::Remove(2)]), Err(ChangeRefusal::Pending));
        assert_eq!(joint.left().ids(), BTreeSet::from([2, 3, 4]));
    }

    #[test]
    fn changes_that_do_not_fit_are_refused() {
        let one = voters(&[1]);
        assert_eq!(one.changed(&[Change::Remove(1)]), Err(ChangeRefusal::NoVoters));
        assert_eq!(one.changed(&[Change::Demote(1)]), Err(ChangeRefusal::NoVoters));
        assert_eq!(one.changed(&[Change::Promote(2)]), Err(ChangeRefusal::Unknown(2)));
        assert_eq!(one.changed(&[Change::Add(1, Bytes::new())]), Err(ChangeRefusal::Exists(1)));
    }

    #[test]
    fn truncation_brings_back_the_configuration_before() {
        let mut history =
            History::new((0, voters(&[1])), vec![(4, voters(&[1, 2])), (9, voters(&[1, 2, 3]))]);
        history.truncate(9);
        assert_eq!(history.newest(), &voters(&[1, 2]));
        history.push(12, voters(&[2]));
        assert!(!history.committed(8, 1));
        assert!(history.has_known(1) && !history.has_known(7), "1 leaves");
        assert_eq!(history.0.len(), 2, "that at 4 may come back");
        assert!(history.committed(12, 1), "1 is not among [2]");
        assert_eq!(history.0.len(), 1);
    }

    fn configuration() -> impl Strategy<Value = Configuration> {
        let record = proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        let member = (any::<bool>(), record.clone()).prop_map(|(voter, record)| Member { voter, record });
        let members = proptest::collection::btree_map(1..9_u64, member, 0..7);
        let outgoing = proptest::collection::btree_map(1..9_u64, record, 0..7);
        (members, outgoing).prop_map(|(members, mut outgoing)| {
            if !members.values().any(|member: &Member| member.voter) {
                outgoing.clear();
            }
            Configuration { members, outgoing }
        })
    }

    proptest! {
        #[test]
        fn a_configuration_reads_back_as_it_was_written(written in configuration(), cut in any::<usize>()) {
            let body = written.encode();
            prop_assert_eq!(Configuration::decode(body.slice(..cut % body.len())), None);
            prop_assert_eq!(Configuration::decode(body), Some(written));
        }

        /// Against the definition: counted one by one.
        #[test]
        fn what_is_reached_is_reached_by_majorities(of in configuration(), values in proptest::collection::vec(0..5_u64, 9)) {
            let values: BTreeMap<NodeId, u64> = (0..).zip(values).collect();
            let reached = of.reached(|id| values[&id]);
            let incoming: Vec<NodeId> = of.members.iter().filter(|(_, m)| m.voter).map(|(id, _)| *id).collect();
            let outgoing: Vec<NodeId> = of.outgoing.keys().copied().collect();
            let agree = |set: &[NodeId], value| {
                2 * set.iter().filter(|id| values[*id] >= value).count() > set.len()
            };
            let decided = |value| agree(&incoming, value) && (outgoing.is_empty() || agree(&outgoing, value));
            let expected = if incoming.is_empty() { 0 } else { (0..5).filter(|v| decided(*v)).max().unwrap_or(0) };
            prop_assert_eq!(reached, expected);
        }
    }
}
