//! From what is on the disk to a shard that can run: tables, log, boot rule, replay.

use std::{collections::VecDeque, sync::Arc};

use super::{
    checkpoint,
    core::{Core, Fatal},
    snapshots,
};
use crate::{
    bugs::{self, Bug},
    disk::Disk,
    executor::{Clock, Executor, Input, Limits, Output, Tuning},
    log::{self, HardState, Index, Log, LogReader, Operation, Position},
    lsm::{self, Tree},
    raft::{self, Bounds, Configuration, Raft, Tail, Timing},
};

const LOG_DIR: &str = "shard-0/log";
/// Everything of the shard, relative to the data directory.
pub(super) const SHARD_DIR: &str = "shard-0";
/// Its tables.
pub(super) const TREE_DIR: &str = "shard-0/tree";

/// Bytes of entries read and applied at a time when the log is replayed.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;

/// What a shard is told when it is recovered. None of it is kept on disk.
pub struct Setup {
    /// This node.
    pub node_id: u64,
    /// Whether this node has run on this disk before. Then its log and its tables are there, and else nobody's are.
    pub ran_before: bool,
    /// A seed for everything that is random: the log's epoch, the executor's choices.
    pub seed: u64,
    /// Of the tree.
    pub tree: lsm::Options,
    /// Of the log.
    pub log: log::Options,
    /// Of the executor.
    pub limits: Limits,
    /// Of the executor, and may change.
    pub tuning: Tuning,
    /// The members of the cluster when this node joined or formed it; what the tables and the log say of them is newer.
    pub configuration: Configuration,
    /// Of the protocol.
    pub timing: Timing,
    /// Of the protocol.
    pub bounds: Bounds,
}

/// Why a shard cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A directory cannot be made.
    #[error("cannot make the directories of the shard: {0}")]
    Directory(#[source] std::io::Error),
    /// The log cannot be used.
    #[error("the log cannot be opened: {0}")]
    Log(#[from] log::Error),
    /// The tree cannot be used.
    #[error("the tables cannot be opened: {0}")]
    Tree(#[from] lsm::Error),
    /// **Rule (boot)**: a part of the shard is gone, and with it votes and acknowledged writes.
    #[error(
        "this node has run here before, but its {0} is missing: this data directory must not be used (is a volume not \
         mounted? restore a backup, or start with an empty directory)"
    )]
    Missing(&'static str),
    /// **Rule (boot)**: the log is that of a node of which nobody knows who it was.
    #[error(
        "{LOG_DIR} holds the log of a node, but `meta` is missing, which says of which: this data directory must not be \
         used (restore `meta` or a backup, or start with an empty directory)"
    )]
    Nameless,
    /// **Rule (boot)**: tables and log do not fit together, so acknowledged writes are missing.
    #[error(
        "the log covers entries {first} to {last} and the tables end at entry {flushed}: entries are missing, this data \
         directory must not be used (restore a backup, or start with an empty directory)"
    )]
    Gap {
        /// The first entry in the log.
        first: Index,
        /// The last entry in the log.
        last: Index,
        /// The last entry in the tables.
        flushed: Index,
    },
    /// **Rule (boot)**: the log is of another history than the tables.
    #[error(
        "entry {index} has term {log:?} in the log and term {flushed} in the tables: they do not belong together"
    )]
    OtherHistory {
        /// The entry.
        index: Index,
        /// Its term in the log.
        log: Option<u64>,
        /// Its term in the tables.
        flushed: u64,
    },
    /// A membership is of a format that this version does not know.
    #[error("the membership at entry {0} cannot be read: it was written by another version")]
    Membership(Index),
    /// An entry of the log cannot be applied.
    #[error(transparent)]
    Replay(#[from] Fatal),
}

/// Recovers the shard in the directory `shard-0`, or makes an empty one.
pub fn recover(disk: &Arc<dyn Disk>, setup: Setup, clock: &dyn Clock) -> Result<Core, RecoveryError> {
    if setup.ran_before {
        check_parts(&**disk)?;
    }
    make_directories(&**disk).map_err(RecoveryError::Directory)?;
    if let Err(error) = checkpoint::remove_unfinished(&**disk) {
        tracing::warn!(%error, "a checkpoint that is not whole cannot be removed");
    }
    if let Err(error) = snapshots::remove_outgoing(&**disk) {
        tracing::warn!(%error, "what was made to be sent cannot be removed");
    }
    let mut tree = Tree::open(Arc::clone(disk), TREE_DIR, setup.tree)?;
    let position = tree.flushed().position;
    let mut seeds = fastrand::Rng::with_seed(setup.seed);
    let (mut log, mut recovered) = Log::open(Arc::clone(disk), LOG_DIR, setup.log, seeds.u64(1..))?;
    let (mut start, mut last) = (recovered.start, recovered.last);
    let took_part = recovered.hard_state.vote != 0 || start != last;
    if took_part && !setup.ran_before && !bugs::on(Bug::BootUnchecked) {
        return Err(RecoveryError::Nameless);
    }
    let is_reset_pending = tree.flushed().log_reset_pending;
    if is_reset_pending {
        // The log may have been reset before the mark was cleared: then it has what came since.
        if check_boot(&log, position, start, last).is_err() {
            // No node is in a term before that of its last entry: what comes without a log comes without a vote.
            if recovered.hard_state.term < position.term {
                recovered.hard_state = HardState { term: position.term, vote: 0 };
            }
            log.write(&[Operation::HardState(recovered.hard_state), Operation::Reset(position)])?;
            log.sync()?;
            (start, last) = (position, position);
        }
    }
    settle_membership(&mut tree, is_reset_pending, setup.ran_before, &setup.configuration)?;
    check_boot(&log, position, start, last)?;
    let configuration = Configuration::decode(tree.membership().clone());
    let configuration = configuration.ok_or(RecoveryError::Membership(position.index))?;
    let later = later_configurations(&log.reader(), position.index)?;
    let newest = later.last().map_or(&configuration, |(_, newest)| newest);
    // What is in the log of the only voter is committed; of what others may have, the leader has to say it.
    let alone = newest.is_majority(|id| id == setup.node_id);
    let applied = if alone { last.index } else { position.index };
    let mut executor = Executor::new(tree, setup.limits, setup.tuning, seeds.u64(..)).map_err(Fatal::from)?;
    replay(&mut executor, &log, position.index, applied, clock)?;
    let start = raft::Start {
        id: setup.node_id,
        hard_state: recovered.hard_state,
        tail: Tail::new(start, last, log.reader().terms()),
        sizes: log.reader().sizes(),
        applied,
        configuration,
        later,
        timing: setup.timing,
        bounds: setup.bounds,
        seed: seeds.u64(..),
    };
    Ok(Core::new(executor, log, Raft::new(start, clock.boot_ns() / 1000)))
}

/// A new node that begins with somebody's copy is a member of no cluster but its own, and says so in the tables: also if it
/// was begun under another id before, which a crash has forgotten.
fn settle_membership(
    tree: &mut Tree,
    is_reset_pending: bool,
    ran_before: bool,
    first: &Configuration,
) -> Result<(), lsm::Error> {
    let written = tree.membership().clone();
    let membership = if ran_before && !written.is_empty() { written.clone() } else { first.encode() };
    if is_reset_pending || (!written.is_empty() && written != membership) {
        return tree.log_was_reset(membership);
    }
    tree.set_membership(membership);
    Ok(())
}

/// **Rule (boot)**: what this node had is there. An empty log and an empty tree would fit together: whether they were ever
/// filled has to be known from elsewhere, and before they are made.
fn check_parts(disk: &dyn Disk) -> Result<(), RecoveryError> {
    if bugs::on(Bug::BootUnchecked) {
        return Ok(());
    }
    if !Log::exists(disk, LOG_DIR)? {
        return Err(RecoveryError::Missing("log (shard-0/log)"));
    }
    if !Tree::exists(disk, TREE_DIR)? {
        return Err(RecoveryError::Missing("tree (shard-0/tree)"));
    }
    Ok(())
}

/// Makes the directory for the files of a snapshot, unless it is there, and returns it. What an earlier try has left in it is
/// kept or removed by whoever writes there; [`raft::Input::Snapshot`] says that all files are there, and no others, each durable.
///
/// # Errors
/// Those of the disk.
pub fn receive_snapshot(disk: &dyn Disk) -> Result<String, lsm::Error> {
    Tree::receive(disk, TREE_DIR)
}

/// Whether the data in the directory `shard-0` are somebody's checkpoint, with which no node has been started yet.
///
/// # Errors
/// If there are tables that cannot be read.
pub fn is_copy(disk: &dyn Disk) -> Result<bool, lsm::Error> {
    Tree::is_copy(disk, TREE_DIR)
}

/// Reads the tables of the shard in the directory `shard-0` and checks all that can be checked of them. Nobody else may
/// use them meanwhile.
///
/// # Errors
/// [`lsm::Error::Corrupt`] names the first damage.
pub fn verify(disk: &Arc<dyn Disk>, options: lsm::Options) -> Result<lsm::Verified, lsm::Error> {
    Tree::open(Arc::clone(disk), TREE_DIR, options)?.verify().run()
}

fn make_directories(disk: &dyn Disk) -> std::io::Result<()> {
    for dir in [SHARD_DIR, LOG_DIR, TREE_DIR] {
        disk.create_dir(dir)?;
    }
    disk.sync_dir(SHARD_DIR)?;
    Ok(disk.sync_dir("")?)
}

/// **Rule (boot)**: start only if the log covers what is behind the tables, and is of the same history.
fn check_boot(log: &Log, flushed: Position, start: Position, last: Position) -> Result<(), RecoveryError> {
    if bugs::on(Bug::BootUnchecked) {
        return Ok(());
    }
    let covers = start.index <= flushed.index && flushed.index <= last.index;
    if !covers {
        return Err(RecoveryError::Gap { first: start.index + 1, last: last.index, flushed: flushed.index });
    }
    let term = if flushed.index == start.index { Some(start.term) } else { log.reader().term(flushed.index) };
    if term != Some(flushed.term) {
        return Err(RecoveryError::OtherHistory { index: flushed.index, log: term, flushed: flushed.term });
    }
    Ok(())
}

/// The memberships in entries behind `flushed`.
fn later_configurations(
    reader: &LogReader,
    flushed: Index,
) -> Result<Vec<(Index, Configuration)>, RecoveryError> {
    let behind = reader.configurations().into_iter().filter(|index| flushed < *index);
    let read = behind.map(|index| {
        let entry = reader.entries(index, 0)?.swap_remove(0);
        let configuration = Configuration::decode(entry.body).ok_or(RecoveryError::Membership(index))?;
        Ok((index, configuration))
    });
    read.collect()
}

/// Applies the entries behind the tables, up to `last`.
fn replay(
    executor: &mut Executor,
    log: &Log,
    flushed: Index,
    last: Index,
    clock: &dyn Clock,
) -> Result<(), RecoveryError> {
    let reader = log.reader();
    let mut next = flushed + 1;
    while next <= last {
        let entries = reader.entries(next, REPLAY_BYTES)?;
        assert!(!entries.is_empty(), "the log says that it has entry {next}");
        next += entries.len() as u64;
        let mut inputs = VecDeque::from([Input::Committed(entries)]);
        let mut outputs = Vec::new();
        executor.turn(&mut inputs, clock, false, &mut outputs).map_err(Fatal::from)?;
        run_flushes(executor, outputs, clock)?;
    }
    Ok(())
}

/// Runs flushes in place: while the log is replayed there is nobody to wait.
fn run_flushes(
    executor: &mut Executor,
    outputs: Vec<Output>,
    clock: &dyn Clock,
) -> Result<(), RecoveryError> {
    let mut pending = VecDeque::from(outputs);
    while let Some(output) = pending.pop_front() {
        let installed = match output {
            Output::Flush(job) => job.run()?,
            // The log is cut after the next flush as well; what has no room stays in memory.
            Output::Cut { .. } | Output::NoRoom => continue,
            _ => unreachable!("nothing is evaluated during replay"),
        };
        let mut more = Vec::new();
        let mut inputs = VecDeque::from([Input::Installed(installed)]);
        executor.turn(&mut inputs, clock, false, &mut more).map_err(Fatal::from)?;
        pending.extend(more);
    }
    Ok(())
}
