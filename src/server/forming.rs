//! How nodes find to a cluster by themselves. **Rule (forming)**: with `peers` of n names nothing is formed until all n have
//! answered "empty", each with its id and the same list. Then the node of the lowest name mints the cluster, with all n as
//! voters; the others adopt what it has written. So a node that lost its disk cannot found a second cluster beside the one
//! that lives, and the first election needs a majority of all n.
//!
//! [`decide`] is the rule, a function of what was heard; the rest asks until it has an answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::JoinSet};

use crate::{
    bugs::{self, Bug},
    cluster::MemberRecord,
    raft::{Configuration, NodeId},
    sync::Mutex,
    transport::{Belonging, Host, Introduction, LinkError, Security, meet},
};

/// How often who is missing is logged.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// How long to wait between two rounds of asking, at first and at most.
const ASK_AGAIN: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Nodes that are remembered to have asked; more are a sign that something is wrong, and wait for the next round.
const GUESTS_MAX: usize = 100;

/// What this node does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It asks again, for this reason.
    Wait(String),
    /// It forms a cluster of these.
    Form(Configuration),
    /// It is one of the first members of a cluster that has been formed.
    Adopt(Belonging),
    /// There is a cluster, and it is a new node of it.
    Join(Belonging),
}

/// Why this node does not start. Asking again would not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormingError {
    /// Nodes of one list belong to different clusters.
    #[error(
        "{0} belongs to cluster {1:032x} and {2} to cluster {3:032x}: one of them is in the wrong list (peers)"
    )]
    TwoClusters(String, u128, String, u128),
    /// Two entries lead to one node.
    #[error("{0} and {1} are the same node: name each node once (peers)")]
    Twice(String, String),
    /// No entry leads to this node.
    #[error(
        "none of the peers is this node: all have answered, and each is another one (is announce-peer, or the entry of this \
         node, right?)"
    )]
    NotListed,
    /// No entry has the port of this node, and it was not told which one is its own.
    #[error(
        "none of the peers is this node: none has its peer-port, {0} (name this node in peers; if its entry leads here from \
         another port, set announce-peer to that entry)"
    )]
    NoEntryOfPort(u16),
    /// `announce-peer` is none of `peers`.
    #[error("announce-peer {0} is none of the peers")]
    UnknownEntry(String),
    /// The cluster knows nothing of this node.
    #[error(
        "{0} belongs to cluster {1:032x}, and neither its list of peers nor its first members have {2}: to make this node a \
         new member, start it with --join {0}"
    )]
    Stranger(String, u128, String),
}

/// Decides what a node without a cluster does that says `own` of itself and has heard `answers` from these entries of its
/// list. `own.address` is its own entry, or empty while that is not known.
///
/// # Errors
///
/// What was heard cannot become a cluster.
pub(super) fn decide(
    own: &Introduction,
    answers: &BTreeMap<String, Introduction>,
) -> Result<Step, FormingError> {
    let members = answers.iter().filter_map(|(entry, said)| Some((entry, said.belonging.as_ref()?)));
    let mut found: Option<(&String, &Belonging)> = None;
    for (entry, belonging) in members {
        match found {
            Some((first, other)) if other.cluster_id != belonging.cluster_id => {
                let (theirs, ours) = (belonging.cluster_id, other.cluster_id);
                return Err(FormingError::TwoClusters(first.clone(), ours, entry.clone(), theirs));
            }
            // A member that joined later knows nothing of the first ones.
            Some((_, other)) if !other.first.members.is_empty() => {}
            _ => found = Some((entry, belonging)),
        }
    }
    if let Some((entry, belonging)) = found {
        return belong(own, answers, entry, belonging);
    }
    form(own, answers)
}

/// There is a cluster.
fn belong(
    own: &Introduction,
    answers: &BTreeMap<String, Introduction>,
    entry: &str,
    belonging: &Belonging,
) -> Result<Step, FormingError> {
    if belonging.first.contains(own.node_id) {
        return Ok(Step::Adopt(belonging.clone()));
    }
    if own.address.is_empty() && !own.peers.is_empty() {
        return Ok(Step::Wait("it is not known yet which of the peers this node is".to_owned()));
    }
    // By `join`, or as one that is expected: it was a member, and comes back with an empty disk, or is a new one of the list.
    let was_member = |configuration: &Configuration| {
        let records = configuration.ids().into_iter().filter_map(|id| configuration.record(id).cloned());
        records
            .filter_map(|record| MemberRecord::decode(record).ok())
            .any(|record| record.peer == own.address)
    };
    let expected = own.peers.is_empty()
        || answers.values().any(|said| said.belonging.is_some() && said.peers.contains(&own.address))
        || was_member(&belonging.first)
        || was_member(&belonging.present);
    match expected {
        true => Ok(Step::Join(belonging.clone())),
        false => Err(FormingError::Stranger(entry.to_owned(), belonging.cluster_id, own.address.clone())),
    }
}

/// Nobody who has answered belongs to a cluster.
fn form(own: &Introduction, answers: &BTreeMap<String, Introduction>) -> Result<Step, FormingError> {
    if own.peers.is_empty() {
        let reason = match answers.values().any(|said| said.node_id != own.node_id) {
            true => "nobody of join belongs to a cluster yet",
            false if answers.is_empty() => "no answer from anybody of join",
            false => "join leads to this node itself: it has to name members of a cluster",
        };
        return Ok(Step::Wait(reason.to_owned()));
    }
    let unchecked = bugs::on(Bug::FormsWithoutAll);
    let missing: Vec<&str> =
        own.peers.iter().filter(|entry| !answers.contains_key(*entry)).map(String::as_str).collect();
    if !missing.is_empty() && !unchecked {
        return Ok(Step::Wait(format!("no answer from {}", missing.join(", "))));
    }
    let mut ids = BTreeMap::new();
    for (entry, said) in answers {
        if let Some(other) = ids.insert(said.node_id, entry) {
            return Err(FormingError::Twice(other.clone(), entry.clone()));
        }
        if said.peers != own.peers {
            let theirs = said.peers.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            return Ok(Step::Wait(format!("{entry} has another list of peers: {theirs}")));
        }
        if said.record.is_empty() {
            return Ok(Step::Wait(format!("{entry} does not know yet which of the peers it is")));
        }
        // What it says becomes its address for ever. The name may lead elsewhere for a while, so it is asked again.
        if said.address != *entry {
            let theirs = &said.address;
            return Ok(Step::Wait(format!(
                "at {entry} answers a node that says that it is {theirs} (does the name lead to it, and is its announce-peer right?)"
            )));
        }
    }
    if !ids.contains_key(&own.node_id) {
        return Err(FormingError::NotListed);
    }
    let lowest = own.peers.first().expect("the list is not empty");
    if *lowest != own.address && !unchecked {
        return Ok(Step::Wait(format!("{lowest} is to form the cluster")));
    }
    let voters = answers.values().map(|said| (said.node_id, said.record.clone()));
    Ok(Step::Form(Configuration::of_voters(voters)))
}

/// What this node says of itself to those who ask, and the sign that one of them said something new.
pub(super) struct Reception {
    own: Mutex<Introduction>,
    guests: Mutex<BTreeMap<NodeId, Introduction>>,
    met: Notify,
}

impl Reception {
    /// This node, before it has spoken to anyone.
    pub(super) fn new(own: Introduction) -> Self {
        Self { own: Mutex::new(own), guests: Mutex::default(), met: Notify::new() }
    }

    /// What this node says of itself.
    pub(super) fn own(&self) -> Introduction {
        self.own.lock().expect("a panic ends the process").clone()
    }

    /// Those who have introduced themselves since this was last called. A node of this cluster does so until the membership
    /// says of it what it says of itself.
    pub(super) fn take_guests(&self) -> BTreeMap<NodeId, Introduction> {
        std::mem::take(&mut *self.guests.lock().expect("a panic ends the process"))
    }

    /// Says more from now on.
    pub(super) fn update(&self, change: impl FnOnce(&mut Introduction)) {
        change(&mut self.own.lock().expect("a panic ends the process"));
    }
}

impl Host for Reception {
    fn met(&self, guest: Introduction) -> Introduction {
        let own = self.own();
        let cluster_of = |said: &Introduction| said.belonging.as_ref().map(|belonging| belonging.cluster_id);
        // A member is asked by strangers as well, who have to join first.
        if own.belonging.is_none() || cluster_of(&own) == cluster_of(&guest) {
            let mut guests = self.guests.lock().expect("a panic ends the process");
            if guests.len() < GUESTS_MAX && guests.get(&guest.node_id) != Some(&guest) {
                guests.insert(guest.node_id, guest);
                self.met.notify_one();
            }
        }
        own
    }
}

/// Whether one of `peers` can be a node that listens on `peer_port`, if it was not told which one it is: of the names and
/// addresses nobody knows yet where they lead.
fn check_port(peers: &BTreeSet<String>, peer_port: u16) -> Result<(), FormingError> {
    let port = format!(":{peer_port}");
    match peers.is_empty() || peers.iter().any(|entry| entry.ends_with(&port)) {
        true => Ok(()),
        false => Err(FormingError::NoEntryOfPort(peer_port)),
    }
}

/// Asks `entries` until it is clear to which cluster this node belongs, which listens on `peer_port`. `record` makes its record
/// as a member, once it is known which of `peers` it is.
///
/// # Errors
///
/// What was heard cannot become a cluster.
pub(super) async fn find_cluster(
    reception: &Reception,
    entries: &[String],
    security: &Security,
    announced: Option<&str>,
    peer_port: u16,
    record: impl Fn(&str) -> bytes::Bytes,
) -> Result<Step, FormingError> {
    let peers = reception.own().peers;
    if announced.is_none() {
        check_port(&peers, peer_port)?;
    }
    if let Some(entry) = announced
        && !peers.is_empty()
    {
        if !peers.contains(entry) {
            return Err(FormingError::UnknownEntry(entry.to_owned()));
        }
        reception.update(|own| (own.address, own.record) = (entry.to_owned(), record(entry)));
    }
    let (mut told, mut pause) = (None::<(Instant, String)>, ASK_AGAIN[0]);
    loop {
        let (mut answers, errors) = ask_all(entries, security, &reception.own()).await;
        let own = reception.own();
        if !own.address.is_empty() {
            // It may not reach itself by the name that others know.
            answers.insert(own.address.clone(), own.clone());
        }
        if own.address.is_empty() && !peers.is_empty() {
            let mut own_entries = answers.iter().filter(|(_, said)| said.node_id == own.node_id);
            if let Some((entry, _)) = own_entries.next() {
                if let Some((other, _)) = own_entries.next() {
                    return Err(FormingError::Twice(entry.clone(), other.clone()));
                }
                reception.update(|own| (own.address, own.record) = (entry.clone(), record(entry)));
                continue;
            }
        }
        let reason = match decide(&own, &answers)? {
            Step::Wait(reason) => reason,
            step => return Ok(step),
        };
        if told.as_ref().is_none_or(|(at, before)| TOLD_EVERY <= at.elapsed() || *before != reason) {
            tracing::info!("waiting for a cluster: {reason}");
            for (entry, error) in errors {
                tracing::info!("{entry}: {error}");
            }
            told = Some((Instant::now(), reason));
        }
        let jitter = fastrand::u32(50..100);
        tokio::select! {
            () = tokio::time::sleep(pause * jitter / 100) => pause = (pause * 2).min(ASK_AGAIN[1]),
            () = reception.met.notified() => pause = ASK_AGAIN[0],
        }
    }
}

type Answers = BTreeMap<String, Introduction>;

/// Asks all at once who they are.
pub(super) async fn ask_all(
    entries: &[String],
    security: &Security,
    own: &Introduction,
) -> (Answers, BTreeMap<String, LinkError>) {
    let mut asking = JoinSet::new();
    let security = Arc::new(security.clone());
    for entry in entries.iter().collect::<BTreeSet<_>>() {
        let (entry, security, own) = (entry.clone(), Arc::clone(&security), own.clone());
        asking.spawn(async move {
            let answer = meet(&entry, &security, &own).await;
            (entry, answer)
        });
    }
    let (mut answers, mut errors) = (BTreeMap::new(), BTreeMap::new());
    for (entry, answer) in asking.join_all().await {
        match answer {
            Ok(answer) => drop(answers.insert(entry, answer)),
            Err(error) => drop(errors.insert(entry, error)),
        }
    }
    (answers, errors)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const LIST: [&str; 3] = ["a:5001", "b:5001", "c:5001"];

    /// A node of the list, which knows which one it is.
    fn node(at: usize, node_id: NodeId) -> Introduction {
        let record = MemberRecord { peer: LIST[at].to_owned(), ..MemberRecord::default() };
        Introduction {
            node_id,
            address: LIST[at].to_owned(),
            peers: LIST.iter().map(|entry| (*entry).to_owned()).collect(),
            record: record.encode(),
            belonging: None,
        }
    }

    fn answers(said: &[Introduction]) -> BTreeMap<String, Introduction> {
        said.iter().map(|said| (said.address.clone(), said.clone())).collect()
    }

    fn member(at: usize, node_id: NodeId, cluster_id: u128, ids: [NodeId; 3]) -> Introduction {
        let records = ids.iter().enumerate().map(|(at, id)| (*id, node(at, *id).record));
        let first = Configuration::of_voters(records);
        let belonging = Some(Belonging { cluster_id, present: first.clone(), first });
        Introduction { belonging, ..node(at, node_id) }
    }

    #[test]
    fn the_lowest_forms_a_cluster_when_all_have_answered() {
        let all = [node(0, 7), node(1, 5), node(2, 6)];
        let Ok(Step::Form(first)) = decide(&all[0], &answers(&all)) else { panic!("the lowest forms") };
        assert_eq!(first.voters(), BTreeSet::from([5, 6, 7]));
        assert_eq!(first.record(5), Some(&all[1].record));
        let waits = |own: &Introduction, said: &[Introduction]| match decide(own, &answers(said)) {
            Ok(Step::Wait(reason)) => reason,
            other => panic!("it has to wait: {other:?}"),
        };
        assert_eq!(waits(&all[1], &all), "a:5001 is to form the cluster");
        assert_eq!(waits(&all[0], &all[..2]), "no answer from c:5001");
        let other_list = Introduction { peers: BTreeSet::from(["c:5001".to_owned()]), ..all[2].clone() };
        let said = [all[0].clone(), all[1].clone(), other_list];
        assert_eq!(waits(&all[0], &said), "c:5001 has another list of peers: c:5001");
        let unsure = Introduction { record: Bytes::new(), ..all[2].clone() };
        let said = [all[0].clone(), all[1].clone(), unsure];
        assert_eq!(waits(&all[0], &said), "c:5001 does not know yet which of the peers it is");
        let mut said = answers(&all);
        let (b, c) = (said["b:5001"].clone(), said["c:5001"].clone());
        said.extend([("b:5001".to_owned(), c), ("c:5001".to_owned(), b)]);
        let Ok(Step::Wait(reason)) = decide(&all[0], &said) else { panic!("it has to wait") };
        assert!(reason.starts_with("at b:5001 answers a node that says that it is c:5001 "), "{reason}");
    }

    #[test]
    fn who_is_of_the_first_members_adopts_and_who_lost_its_disk_joins() {
        let one = member(0, 7, 99, [7, 5, 6]);
        let said = answers(std::slice::from_ref(&one));
        assert_eq!(decide(&node(1, 5), &said), Ok(Step::Adopt(one.belonging.clone().unwrap())));
        assert_eq!(decide(&node(1, 8), &said), Ok(Step::Join(one.belonging.clone().unwrap())));
        let elsewhere = Introduction {
            address: "d:5001".to_owned(),
            peers: BTreeSet::from(["a:5001".to_owned(), "d:5001".to_owned()]),
            ..node(0, 9)
        };
        let refused = FormingError::Stranger("a:5001".to_owned(), 99, "d:5001".to_owned());
        assert_eq!(decide(&elsewhere, &said), Err(refused));
        let joining = Introduction { peers: BTreeSet::new(), address: String::new(), ..elsewhere };
        assert_eq!(decide(&joining, &said), Ok(Step::Join(one.belonging.unwrap())));
    }

    #[test]
    fn what_cannot_become_a_cluster_is_said() {
        let said = answers(&[member(0, 7, 99, [7, 5, 6]), member(2, 6, 98, [4, 5, 6])]);
        let two = FormingError::TwoClusters("a:5001".to_owned(), 99, "c:5001".to_owned(), 98);
        assert_eq!(decide(&node(1, 5), &said), Err(two));
        let twice = FormingError::Twice("a:5001".to_owned(), "b:5001".to_owned());
        let said = answers(&[node(0, 7), node(1, 7), node(2, 6)]);
        assert_eq!(decide(&node(0, 7), &said), Err(twice));
        let said = answers(&[node(0, 7), node(1, 5), node(2, 6)]);
        assert_eq!(decide(&node(0, 8), &said), Err(FormingError::NotListed));
        assert_eq!(check_port(&node(0, 7).peers, 5001), Ok(()));
        assert_eq!(check_port(&node(0, 7).peers, 5002), Err(FormingError::NoEntryOfPort(5002)));
        assert_eq!(check_port(&node(0, 7).peers, 1), Err(FormingError::NoEntryOfPort(1)));
        assert_eq!(check_port(&BTreeSet::new(), 5001), Ok(()));
    }

    #[test]
    fn who_joins_is_told_why_it_waits() {
        let own = Introduction { peers: BTreeSet::new(), address: String::new(), ..node(0, 7) };
        let waits = |said: &[Introduction]| match decide(&own, &answers(said)) {
            Ok(Step::Wait(reason)) => reason,
            other => panic!("it has to wait: {other:?}"),
        };
        assert_eq!(waits(&[]), "no answer from anybody of join");
        assert_eq!(
            waits(std::slice::from_ref(&own)),
            "join leads to this node itself: it has to name members of a cluster"
        );
        assert_eq!(waits(&[own.clone(), node(1, 5)]), "nobody of join belongs to a cluster yet");
    }

    /// Nodes that start, ask those they can reach, and lose their disks, one at a time. Returns whether there was never
    /// more than one cluster.
    fn one_cluster_is_formed(seed: u64) -> bool {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut next_id = 0;
        let mut mint = || {
            next_id += 1;
            next_id
        };
        let mut nodes: Vec<Introduction> = (0..3).map(|at| node(at, mint())).collect();
        let mut clusters = BTreeSet::new();
        for _ in 0..60 {
            let at = rng.usize(..3);
            let members = nodes.iter().filter(|node| node.belonging.is_some()).count();
            // A cluster whose only member is wiped never was: nobody else knows of it.
            if rng.u8(..10) == 0 && (members == 0 || members == 3) {
                nodes[at] = node(at, mint());
                continue;
            }
            if nodes[at].belonging.is_some() {
                continue;
            }
            let reached = nodes.iter().enumerate().filter(|(other, _)| *other == at || rng.bool());
            let said: Vec<_> = reached.map(|(_, node)| node.clone()).collect();
            let belonging = match decide(&nodes[at], &answers(&said)).expect("there are no two clusters") {
                Step::Wait(_) => continue,
                Step::Form(first) => {
                    let cluster_id = u128::from(mint());
                    clusters.insert(cluster_id);
                    Belonging { cluster_id, present: first.clone(), first }
                }
                Step::Adopt(belonging) => belonging,
                Step::Join(belonging) => Belonging { first: Configuration::default(), ..belonging },
            };
            nodes[at].belonging = Some(belonging);
            if 1 < clusters.len() {
                return false;
            }
        }
        true
    }

    #[test]
    fn a_list_forms_one_cluster() {
        for seed in 0..2_000 {
            assert!(one_cluster_is_formed(seed), "seed {seed}: two clusters");
        }
        let found = bugs::with(Bug::FormsWithoutAll, || (0..50).any(|seed| !one_cluster_is_formed(seed)));
        assert!(found, "the planted bug is not found");
    }
}
