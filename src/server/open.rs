//! From a data directory to a shard that runs: lock, identity, log, tree, boot rule, replay.
//!
//! | path | what |
//! |---|---|
//! | `LOCK` | held by the process that owns the directory |
//! | `meta` | identity and data format (see [`Identity`]) |
//! | `shard-0/log/` | the log's segments |
//! | `shard-0/tree/` | tables and manifest |

use std::{any::Any, sync::Arc};

use super::identity::{Identity, IdentityError};
use crate::{
    config::Config,
    disk::{Disk, RealDisk},
    driver::{Core, Fatal},
    executor::{Clock, Executor, Input, Limits, Tuning},
    keyspace,
    log::{self, Index, Log, Position},
    lsm::{self, Tree},
    raft::Raft,
};

const LOG_DIR: &str = "shard-0/log";
const TREE_DIR: &str = "shard-0/tree";

/// Bytes of entries read and applied at a time when the log is replayed.
const REPLAY_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of one client's replies that wait, above which its commands wait too.
const BACKLOG_BYTES_MAX: usize = 1024 * 1024;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or read.
    #[error("cannot use the data directory {path}: {source}")]
    Directory {
        /// Which one.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("the data directory {0} is in use by another process")]
    Locked(String),
    /// `meta` cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log cannot be used.
    #[error("the log cannot be opened: {0}")]
    Log(#[from] log::Error),
    /// The tree cannot be used.
    #[error("the tables cannot be opened: {0}")]
    Tree(#[from] lsm::Error),
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
    /// An entry of the log cannot be applied.
    #[error(transparent)]
    Replay(#[from] Fatal),
}

/// An opened data directory.
pub(super) struct Opened {
    /// The shard, not yet started.
    pub(super) core: Core,
    /// Who this node is.
    pub(super) identity: Identity,
    /// The lock on the directory, held as long as the node lives.
    pub(super) lock: Box<dyn Any + Send + Sync>,
    /// The disk.
    pub(super) disk: Arc<dyn Disk>,
}

/// Opens the data directory that `config` names, recovers what is in it and replays the log.
pub(super) fn open(config: &Config, clock: &dyn Clock) -> Result<Opened, OpenError> {
    let path = config.dir.display().to_string();
    let directory = |source| OpenError::Directory { path: path.clone(), source };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(config.dir.clone()).map_err(directory)?);
    let lock = disk.lock("LOCK").map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => OpenError::Locked(path.clone()),
        _ => directory(source),
    })?;
    let identity = Identity::load_or_make(&*disk)?;
    make_directories(&*disk).map_err(directory)?;
    let core = open_shard(Arc::clone(&disk), config, &identity, clock)?;
    Ok(Opened { core, identity, lock, disk })
}

fn make_directories(disk: &dyn Disk) -> std::io::Result<()> {
    for dir in ["shard-0", LOG_DIR, TREE_DIR] {
        disk.create_dir(dir)?;
    }
    disk.sync_dir("shard-0")?;
    disk.sync_dir("")
}

fn open_shard(
    disk: Arc<dyn Disk>,
    config: &Config,
    identity: &Identity,
    clock: &dyn Clock,
) -> Result<Core, OpenError> {
    let tree = Tree::open(Arc::clone(&disk), TREE_DIR, tree_options(config))?;
    let flushed = tree.flushed();
    let position = Position { index: flushed.position.index, term: flushed.position.term };
    let (mut log, recovered) = Log::open(disk, LOG_DIR, log::Options::default(), fastrand::u64(1..))?;
    let (mut start, mut last) = (recovered.start, recovered.last);
    if flushed.log_reset_pending {
        log.write(&[log::Operation::Reset(position)])?;
        log.sync()?;
        (start, last) = (position, position);
    }
    check_boot(&log, position, start, last)?;
    let limits = Limits {
        in_flight_bytes_max: bytes(config.in_flight_bytes()),
        entry_bytes_max: bytes(config.entry_bytes_max),
        backlog_bytes_max: BACKLOG_BYTES_MAX,
    };
    let mut executor = Executor::new(tree, limits, tuning(config), fastrand::u64(..)).map_err(Fatal::from)?;
    replay(&mut executor, &log, position.index, last, clock)?;
    let in_flight = bytes(config.in_flight_bytes()) + bytes(config.entry_bytes_max);
    let raft = Raft::new(identity.node_id, recovered.hard_state, last, in_flight);
    Ok(Core::new(executor, log, raft))
}

fn bytes(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// What the executor is told of the directives, at start and after CONFIG SET.
pub(super) fn tuning(config: &Config) -> Tuning {
    let settings = config.settings();
    // What neither the slow log nor the latency monitor wants to know of is not told.
    let slow = [settings.slowlog_log_slower_than, settings.latency_monitor_threshold];
    let slow_ns = slow
        .into_iter()
        .flatten()
        .min()
        .map_or(u64::MAX, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
    let limits = keyspace::Limits {
        string_bytes_max: settings.proto_max_bulk_len as u64,
        hash_inline_entries_max: settings.hash_inline_fields_max,
        hash_inline_value_bytes_max: settings.hash_inline_bytes_max,
    };
    Tuning { limits, slow_ns }
}

fn tree_options(config: &Config) -> lsm::Options {
    let cache = Arc::new(lsm::Cache::new(config.cache_bytes()));
    let memtable_bytes = bytes(config.memtable_bytes());
    lsm::Options {
        graves: Some(keyspace::DEAD),
        ..lsm::Options::new(keyspace::FAMILIES, cache, memtable_bytes)
    }
}

/// **Rule (boot)**: start only if the log covers what is behind the tables, and is of the same history.
fn check_boot(log: &Log, flushed: Position, start: Position, last: Position) -> Result<(), OpenError> {
    let covers = start.index <= flushed.index && flushed.index <= last.index;
    if !covers {
        return Err(OpenError::Gap { first: start.index + 1, last: last.index, flushed: flushed.index });
    }
    let term = if flushed.index == start.index { Some(start.term) } else { log.reader().term(flushed.index) };
    if term != Some(flushed.term) {
        return Err(OpenError::OtherHistory { index: flushed.index, log: term, flushed: flushed.term });
    }
    Ok(())
}

/// Applies the entries behind the tables: with one voter, what is in its log is committed.
fn replay(
    executor: &mut Executor,
    log: &Log,
    flushed: Index,
    last: Position,
    clock: &dyn Clock,
) -> Result<(), OpenError> {
    let reader = log.reader();
    let mut next = flushed + 1;
    while next <= last.index {
        let entries = reader.entries(next, REPLAY_BYTES)?;
        assert!(!entries.is_empty(), "the log says that it has entry {next}");
        next += entries.len() as u64;
        let mut inputs = std::collections::VecDeque::from([Input::Committed(entries)]);
        let mut outputs = Vec::new();
        executor.turn(&mut inputs, clock, false, &mut outputs).map_err(Fatal::from)?;
        run_jobs(executor, outputs, clock)?;
    }
    Ok(())
}

/// Runs flushes and compactions in place: while the log is replayed there is nobody to wait.
fn run_jobs(
    executor: &mut Executor,
    outputs: Vec<crate::executor::Output>,
    clock: &dyn Clock,
) -> Result<(), OpenError> {
    use crate::executor::Output;
    let mut pending = std::collections::VecDeque::from(outputs);
    while let Some(output) = pending.pop_front() {
        let installed = match output {
            Output::Flush(job) => job.run()?,
            Output::Compact(job) => job.run()?,
            // The log is cut after the next flush as well.
            Output::Cut(_) => continue,
            _ => unreachable!("nothing is evaluated during replay"),
        };
        let mut more = Vec::new();
        let mut inputs = std::collections::VecDeque::from([Input::Installed(installed)]);
        executor.turn(&mut inputs, clock, false, &mut more).map_err(Fatal::from)?;
        pending.extend(more);
    }
    Ok(())
}
