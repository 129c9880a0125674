//! What is done with a data directory that no node uses: look into it, and make its node a cluster of its own.

use std::{fmt, sync::Arc};

use super::{
    identity::{Cluster, Identity},
    open::{OpenError, claim, data_directory_of_node, recover_shard},
};
use crate::{
    cluster::MemberRecord,
    config::Config,
    disk::{CopyDisk, Disk},
    driver::{Core, MachineClock, RecoveryError},
    log::{Entry, EntryKind, HardState, Operation},
    raft::{Configuration, NodeId},
};

/// What a data directory says of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    node_id: NodeId,
    cluster_id: u128,
    hard_state: HardState,
    /// The entry before the first one in the log, and the last one.
    log: (u64, u64),
    last_term: u64,
    applied: u64,
    flushed: u64,
    configuration: Configuration,
}

impl Inspection {
    fn of(identity: &Identity, cluster: &Cluster, core: &Core) -> Self {
        let view = core.store().published();
        core.with_raft(|raft| Self {
            node_id: identity.node_id,
            cluster_id: cluster.id,
            hard_state: raft.hard_state(),
            log: (raft.tail().start().index, raft.last().index),
            last_term: raft.last().term,
            applied: view.view.index(),
            flushed: view.view.flushed().index,
            configuration: raft.configuration().clone(),
        })
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HardState { term, vote } = self.hard_state;
        writeln!(f, "node     {:016x}", self.node_id)?;
        writeln!(f, "cluster  {:032x}", self.cluster_id)?;
        match vote {
            0 => writeln!(f, "vote     none in term {term}")?,
            vote => writeln!(f, "vote     for {vote:016x} in term {term}")?,
        }
        match self.log {
            (start, last) if start == last => writeln!(f, "log      empty, after entry {last}")?,
            (start, last) => {
                writeln!(f, "log      entries {} to {last}, the last of term {}", start + 1, self.last_term)?
            }
        }
        writeln!(f, "state    in tables to {}, known to be committed to {}", self.flushed, self.applied)?;
        for id in self.configuration.ids() {
            let kind = if self.configuration.is_voter(id) { "voter" } else { "learner" };
            let record = self.configuration.record(id).cloned().unwrap_or_default();
            let known = match MemberRecord::decode(record) {
                Ok(record) => format!("{} at {}", record.name, record.peer),
                Err(error) => error.to_string(),
            };
            writeln!(f, "{kind:<8} {id:016x} {}", if known == " at " { "" } else { &known })?;
        }
        Ok(())
    }
}

/// Says what the data directory that `config` names holds. Nothing is written: what a start writes goes to a copy in
/// memory.
///
/// # Errors
/// What would keep the node from starting.
pub fn inspect(config: &Config) -> Result<Inspection, OpenError> {
    let (disk, path) = data_directory_of_node(config)?;
    let copy: Arc<dyn Disk> = Arc::new(CopyDisk::new(disk));
    let (_lock, identity, cluster) = claim(&copy, path)?;
    let core = recover_shard(&copy, &identity, &cluster, config, &MachineClock)?;
    Ok(Inspection::of(&identity, &cluster, &core))
}

/// Makes the node of the data directory that `config` names the only member of a new cluster, with the data that it has.
/// What only others have is lost. They belong to the old cluster for ever, which this node does not know any more.
///
/// A crash in between leaves a node that finds nobody: its cluster has another id, and its membership names the others. The
/// same again completes it.
///
/// # Errors
/// What keeps the node from starting would keep it from this.
pub fn recover_alone(config: &Config) -> Result<Inspection, OpenError> {
    let (disk, path) = data_directory_of_node(config)?;
    let (_lock, identity, cluster) = claim(&disk, path)?;
    let core = recover_shard(&disk, &identity, &cluster, config, &MachineClock)?;
    let (hard_state, last, record) = core.with_raft(|raft| {
        (
            raft.hard_state(),
            raft.last(),
            raft.configuration().record(identity.node_id).cloned().unwrap_or_default(),
        )
    });
    let alone = Configuration::of_voters([(identity.node_id, record)]);
    let cluster = Cluster { id: fastrand::u128(1..), first: alone.clone() };
    let identity = Identity { cluster: Some(cluster.clone()), ..identity };
    identity.save(&*disk)?;
    let term = hard_state.term + 1;
    let entry = Entry { index: last.index + 1, term, kind: EntryKind::Configuration, body: alone.encode() };
    let vote = HardState { term, vote: identity.node_id };
    let mut log = core.log.take_idle().expect("nobody writes to the log of a node that does not run");
    log.write(&[Operation::HardState(vote), Operation::Entry(entry)]).map_err(RecoveryError::from)?;
    log.sync().map_err(RecoveryError::from)?;
    drop((log, core));
    let core = recover_shard(&disk, &identity, &cluster, config, &MachineClock)?;
    Ok(Inspection::of(&identity, &cluster, &core))
}
