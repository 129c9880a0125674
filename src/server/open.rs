//! From a data directory to a shard that runs: lock, identity, log, tree, boot rule, replay.
//!
//! | path | what |
//! |---|---|
//! | `LOCK` | held by the process that owns the directory |
//! | `meta` | identity and data format (see [`Identity`]) |
//! | `shard-0/log/` | the log's segments |
//! | `shard-0/tree/` | tables and manifest |
//! | `checkpoints/` | what SAVE and BGSAVE make |

use std::{any::Any, sync::Arc, time::Duration};

use super::identity::{Cluster, Identity, IdentityError};
use crate::{
    config::{Config, MEMTABLES_MAX, RaftTimings},
    disk::{CopyDisk, Disk, RealDisk},
    driver::{self, Core, MachineClock, RecoveryError, Setup, recover},
    executor::{Clock, Limits, Reserve, Tuning},
    keyspace, log, lsm,
    raft::{Bounds, Timing},
};

/// Bytes of one client's replies that wait, above which its commands wait too.
const BACKLOG_BYTES_MAX: usize = 1024 * 1024;

/// Free bytes of the disk that are for the log alone: two of its segments.
const LOG_ROOM_BYTES: u64 = 32 << 20;

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
    /// It holds something, but nothing of a node: to begin there would look as if data were lost.
    #[error(
        "{path} holds `{name}` and is not the data directory of a node, which holds `shard-0`: name another one, or an \
         empty one to begin with"
    )]
    Foreign {
        /// Which directory.
        path: String,
        /// What it holds.
        name: String,
    },
    /// Another process has it.
    #[error("the data directory {0} is in use by another process")]
    Locked(String),
    /// `meta` cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The shard cannot be recovered.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Others would know nothing of what the copy holds.
    #[error(
        "{0} is a checkpoint, with which a new cluster begins: start it alone first (with no --peers but itself), and let the \
         other nodes, which are empty, join it (--join)"
    )]
    Copy(String),
    /// The cluster has removed the node.
    #[error(
        "the node of {0} was removed from its cluster, for ever: to make this machine a new member, start it with an empty \
         directory"
    )]
    Removed(String),
    /// There is nothing to verify.
    #[error("the data directory {0} is that of no node: there is no `meta`")]
    NoNode(String),
    /// A table is damaged.
    #[error("the tables are damaged: {0}")]
    Damaged(#[source] lsm::Error),
}

/// A data directory that this process owns.
pub(super) struct DataDirectory {
    /// Who the node is that it is of.
    pub(super) identity: Identity,
    /// The disk.
    pub(super) disk: Arc<dyn Disk>,
    /// The lock on the directory, held as long as the node lives.
    pub(super) lock: Box<dyn Any + Send + Sync>,
}

/// Takes the data directory that `config` names, and finds out whose it is: an empty one is that of a new node.
pub(super) fn open(config: &Config) -> Result<DataDirectory, OpenError> {
    let path = config.dir.display().to_string();
    let directory = |source| OpenError::Directory { path: path.clone(), source };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(config.dir.clone()).map_err(directory)?);
    if let Some(name) = foreign(&*disk).map_err(directory)? {
        return Err(OpenError::Foreign { path, name });
    }
    let lock = take_lock(&*disk, path.clone())?;
    let is_alone = config.peers.len() <= 1 && config.join.is_empty();
    if !is_alone && driver::is_copy(&*disk).map_err(RecoveryError::Tree)? {
        return Err(OpenError::Copy(path));
    }
    let identity = match Identity::load(&*disk)? {
        Some(identity) if identity.is_removed => return Err(OpenError::Removed(path)),
        Some(identity) => identity,
        None => {
            let identity = Identity::mint();
            identity.save(&*disk)?;
            identity
        }
    };
    Ok(DataDirectory { identity, disk, lock })
}

/// Recovers the shard of a node of `cluster`, or makes it, and replays the log. If the node did not belong to the cluster
/// before, it does when this returns.
pub(super) fn recover_shard(
    disk: &Arc<dyn Disk>,
    identity: &Identity,
    cluster: &Cluster,
    config: &Config,
    clock: &dyn Clock,
) -> Result<Core, OpenError> {
    let core = recover(disk, setup(config, identity, cluster), clock)?;
    if identity.cluster.is_none() {
        Identity { cluster: Some(cluster.clone()), ..identity.clone() }.save(&**disk)?;
    }
    Ok(core)
}

/// Checks everything in the data directory that `config` names: identity, log and boot rule by opening it as a start does,
/// which replays the log; then every block of every table. Nothing is written: what a start writes goes to a copy in memory.
///
/// # Errors
/// What would keep the node from starting, or the first damage that is found.
pub fn verify(config: &Config) -> Result<lsm::Verified, OpenError> {
    let (disk, path) = data_directory_of_node(config)?;
    let copy = || -> Arc<dyn Disk> { Arc::new(CopyDisk::new(Arc::clone(&disk))) };
    let (_lock, identity, cluster) = claim(&copy(), path)?;
    drop(recover_shard(&copy(), &identity, &cluster, config, &MachineClock)?);
    driver::verify(&copy(), tree_options(config)).map_err(OpenError::Damaged)
}

/// The data directory that `config` names, in which a node has run, and what it is called.
pub(super) fn data_directory_of_node(config: &Config) -> Result<(Arc<dyn Disk>, String), OpenError> {
    let path = config.dir.display().to_string();
    if !config.dir.join("meta").exists() {
        return Err(OpenError::NoNode(path));
    }
    match RealDisk::new(config.dir.clone()) {
        Ok(disk) => Ok((Arc::new(disk), path)),
        Err(source) => Err(OpenError::Directory { path, source }),
    }
}

/// Takes the data directory of a node, which is called `path`, and says whose it is, and of which cluster.
pub(super) fn claim(
    disk: &Arc<dyn Disk>,
    path: String,
) -> Result<(Box<dyn Any + Send + Sync>, Identity, Cluster), OpenError> {
    let lock = take_lock(&**disk, path.clone())?;
    let identity = Identity::load(&**disk)?;
    match identity.and_then(|identity| Some((identity.cluster.clone()?, identity))) {
        Some((cluster, identity)) => Ok((lock, identity, cluster)),
        None => Err(OpenError::NoNode(path)),
    }
}

/// Takes the lock on the data directory, which is called `path`.
fn take_lock(disk: &dyn Disk, path: String) -> Result<Box<dyn Any + Send + Sync>, OpenError> {
    disk.lock("LOCK").map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => OpenError::Locked(path),
        _ => OpenError::Directory { path, source },
    })
}

/// Something in the directory that no node has put there, if it is not a node's.
fn foreign(disk: &dyn Disk) -> std::io::Result<Option<String>> {
    let names = disk.list("")?;
    if names.iter().any(|name| name == "meta" || name == "shard-0") {
        return Ok(None);
    }
    // What a start leaves that was interrupted, what file systems and people put into an empty volume, and what other
    // directives name.
    let is_harmless = |name: &str| {
        matches!(name, "LOCK" | "meta.tmp" | "lost+found")
            || name.starts_with('.')
            || [".conf", ".log", ".pid"].iter().any(|end| name.ends_with(end))
    };
    Ok(names.into_iter().find(|name| !is_harmless(name)))
}

fn setup(config: &Config, identity: &Identity, cluster: &Cluster) -> Setup {
    let in_flight_bytes_max = bytes(config.in_flight_bytes());
    let entry_bytes_max = bytes(config.entry_bytes_max);
    Setup {
        node_id: identity.node_id,
        ran_before: identity.cluster.is_some(),
        seed: fastrand::u64(..),
        tree: tree_options(config),
        log: log::Options::default(),
        limits: Limits {
            in_flight_bytes_max,
            entry_bytes_max,
            backlog_bytes_max: BACKLOG_BYTES_MAX,
            reserve: reserve(config),
        },
        tuning: tuning(config),
        configuration: cluster.first.clone(),
        timing: timing(config),
        bounds: Bounds { uncommitted_bytes_max: in_flight_bytes_max + entry_bytes_max, ..Bounds::default() },
    }
}

/// What is kept free of the disk: two segments of the log, as much for deletes, and the longest value twice, since it is
/// written to the log and to a table.
fn reserve(config: &Config) -> Reserve {
    let longest_bytes = config.settings().proto_max_bulk_len as u64;
    Reserve { log_bytes: LOG_ROOM_BYTES, writes_bytes: 2 * (LOG_ROOM_BYTES + longest_bytes) }
}

fn timing(config: &Config) -> Timing {
    let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let RaftTimings { heartbeat, promise, election } = config.raft;
    Timing {
        heartbeat_us: us(heartbeat),
        promise_us: us(promise),
        promise_us_max: us(promise).max(Timing::default().promise_us_max),
        election_us: us(election),
    }
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
    Tuning { limits, slow_ns, reply_bytes_max: settings.reply_bytes_max }
}

fn tree_options(config: &Config) -> lsm::Options {
    let cache = Arc::new(lsm::Cache::new(config.cache_bytes()));
    let memtable_bytes = bytes(config.memtable_bytes());
    lsm::Options {
        graves: Some(keyspace::DEAD),
        log_room_bytes: LOG_ROOM_BYTES / 2,
        memtables_bytes_max: MEMTABLES_MAX * config.memtable_bytes(),
        ..lsm::Options::new(keyspace::FAMILIES, cache, memtable_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn only_a_nodes_directory_or_an_empty_one_is_used() {
        let holds = |names: &[&str]| {
            let disk = SimDisk::new(1);
            for name in names {
                disk.create_dir(name).unwrap();
            }
            foreign(&disk).unwrap()
        };
        assert_eq!(holds(&[]), None);
        assert_eq!(holds(&["LOCK", "lost+found", ".snapshot", "node.conf", "node.log", "meta.tmp"]), None);
        assert_eq!(holds(&["shard-0", "notes"]), None);
        assert_eq!(holds(&["meta", "checkpoints"]), None);
        for other in ["CURRENT", "gen-000001", "dump.rdb", "appendonlydir", "checkpoints", "tree"] {
            assert_eq!(holds(&["LOCK", other]).as_deref(), Some(other));
        }
    }
}
