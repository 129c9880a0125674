//! Snapshots between this node and others: made, sent, received, put in place.
//!
//! | path | what |
//! |---|---|
//! | `shard-0/outgoing-<n>/` | hard links to the tables that are being sent, and their manifest; removed afterwards, and at the start |
//! | `shard-0/tree/incoming/` | what is being received; see `lsm` |

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU64,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::oneshot, time::sleep};

use super::{
    Shard,
    checkpoint::remove,
    core::Fatal,
    jobs::die,
    recovery::{SHARD_DIR, TREE_DIR, receive_snapshot},
};
use crate::{
    disk::{Disk, join},
    executor::Input,
    log::{Index, Position, Term},
    lsm::{self, CheckpointFile, CheckpointJob},
    raft::{self, Configuration, NodeId, Offer, SnapshotAnswer},
    transport::{Offered, Snapshot, SnapshotError, SnapshotFile, SnapshotHeader, SnapshotOutcome},
};

/// After a snapshot that was not taken, another is sent after this, then after twice as long each time, up to the longest: each
/// may be all there is, once more, from a node that has clients to serve.
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What the directories of snapshots that are being sent begin with.
const OUTGOING: &str = "outgoing-";

const BUSY: &str = "another snapshot is being put in place";

/// The snapshot that this node was sent whole, and that is being put in place.
pub(super) struct Arriving {
    position: Position,
    ended: oneshot::Sender<SnapshotOutcome>,
}

/// What is known from one snapshot that is sent to the next.
#[derive(Default)]
pub(super) struct Sending {
    /// How many were made.
    made: AtomicU64,
    /// How fast they are sent, in bytes a second; 0: as fast as it goes.
    bytes_per_second: AtomicU64,
    /// How long to wait when the next one fails, for those nodes whose last one did.
    waits: Mutex<BTreeMap<NodeId, Duration>>,
}

impl Sending {
    /// How long to wait before `to` is sent another snapshot, since it has not taken this one: longer each time.
    fn failed(&self, to: NodeId) -> Duration {
        let mut waits = self.waits.lock().expect("a panic ends the process");
        let wait = waits.entry(to).or_insert(WAIT_MIN);
        std::mem::replace(wait, (*wait * 2).min(WAIT_MAX))
    }

    fn succeeded(&self, to: NodeId) {
        self.waits.lock().expect("a panic ends the process").remove(&to);
    }
}

/// Files that are there to be sent; dropped, they go.
struct Outgoing {
    disk: Arc<dyn Disk>,
    dir: String,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Err(error) = remove(&*self.disk, &self.dir) {
            // What is left takes room until the next start, and is in nobody's way.
            tracing::warn!(%error, dir = self.dir, "what was made to be sent cannot be removed");
        }
    }
}

/// Removes what an earlier start has made to send it.
///
/// # Errors
///
/// What the disk says.
pub(super) fn remove_outgoing(disk: &dyn Disk) -> std::io::Result<()> {
    let names = disk.list(SHARD_DIR)?;
    let outgoing = names.iter().filter(|name| name.starts_with(OUTGOING));
    outgoing.map(|name| join(SHARD_DIR, name)).try_for_each(|dir| remove(disk, &dir))
}

impl Shard {
    /// Sends the newest tables to a member, and tells `raft` when that has ended, well or not.
    pub(super) async fn send_snapshot(self: Arc<Self>, to: NodeId, term: Term) {
        let node = format!("{to:016x}");
        tracing::info!(node, term, "sending a snapshot");
        let held = match self.try_to_send_snapshot(to, term).await {
            Ok((position, outcome @ (SnapshotOutcome::Installed | SnapshotOutcome::NotNeeded))) => {
                tracing::info!(node, ?outcome, "a snapshot was sent");
                self.sending.succeeded(to);
                Some(position.index)
            }
            Ok((_, SnapshotOutcome::Refused(why))) => self.snapshot_failed(to, &why).await,
            Err(error) => self.snapshot_failed(to, &error).await,
        };
        self.step(raft::Input::SnapshotEnded(to, held));
    }

    /// Returns what the node has of the snapshot, nothing, when it is time to try again.
    async fn snapshot_failed(&self, to: NodeId, why: &str) -> Option<Index> {
        let wait = self.sending.failed(to);
        tracing::warn!(node = format!("{to:016x}"), why, ?wait, "a snapshot was not taken");
        sleep(wait).await;
        None
    }

    async fn try_to_send_snapshot(
        self: &Arc<Self>,
        to: NodeId,
        term: Term,
    ) -> Result<(Position, SnapshotOutcome), String> {
        let transport = self.transport.as_ref().ok_or_else(|| SnapshotError::NotMember.to_string())?;
        let (job, made) = oneshot::channel();
        self.submit(Input::Checkpoint(job));
        let job = made.await.map_err(|_| "the node is stopping".to_owned())?;
        let (done, prepared) = oneshot::channel();
        let number = self.sending.made.fetch_add(1, Ordering::Relaxed);
        self.reads.run(move || match prepare(job, term, number) {
            Err(error @ lsm::Error::Sync { .. }) => Err(error.into()),
            prepared => {
                super::tell(done, prepared);
                Ok(())
            }
        });
        let prepared = prepared.await.map_err(|_| "the node is stopping".to_owned())?;
        let (outgoing, snapshot) = prepared.map_err(|error| error.to_string())?;
        let bytes_per_second = NonZeroU64::new(self.sending.bytes_per_second.load(Ordering::Relaxed));
        let position = snapshot.position;
        let snapshot = Snapshot { bytes_per_second, ..snapshot };
        let sent = transport.send_snapshot(to, snapshot).await;
        drop(outgoing);
        sent.map(|outcome| (position, outcome)).map_err(|error| error.to_string())
    }

    /// Sends snapshots at this rate from the next one on; none is as fast as it goes.
    pub fn set_snapshot_rate(&self, bytes_per_second: Option<NonZeroU64>) {
        self.sending.bytes_per_second.store(bytes_per_second.map_or(0, NonZeroU64::get), Ordering::Relaxed);
    }

    /// A leader offers a snapshot.
    pub fn snapshot_offered(&self, header: &SnapshotHeader) -> Offered {
        match self.core.with_raft(|raft| raft.judge_snapshot(header.term, header.position)) {
            SnapshotAnswer::Late => return Offered::Refused(format!("term {} is over", header.term)),
            SnapshotAnswer::Held => return Offered::NotNeeded,
            SnapshotAnswer::Busy => return Offered::Refused(BUSY.to_owned()),
            SnapshotAnswer::Wanted if self.arriving().is_some() => return Offered::Refused(BUSY.to_owned()),
            SnapshotAnswer::Wanted => {}
        }
        match receive_snapshot(&*self.disk) {
            Ok(dir) => {
                let kept_bytes = self.core.reserve().writes_bytes;
                Offered::Take { disk: Arc::clone(&self.disk), dir, kept_bytes }
            }
            Err(error @ lsm::Error::Sync { .. }) => die(&Fatal::from(error)),
            Err(error) => Offered::Refused(error.to_string()),
        }
    }

    /// A snapshot is there, whole and durable: puts it in place unless it is not needed any more.
    pub fn snapshot_received(
        self: &Arc<Self>,
        header: SnapshotHeader,
    ) -> impl Future<Output = SnapshotOutcome> + Send + use<> {
        let SnapshotHeader { from, term, position, configuration, .. } = header;
        let (ended, outcome) = oneshot::channel();
        {
            let mut arriving = self.arriving();
            assert!(arriving.is_none(), "a node receives one snapshot at a time");
            *arriving = Some(Arriving { position, ended });
        }
        self.step(raft::Input::Snapshot(Offer { from, term, position, configuration }));
        async move {
            outcome.await.unwrap_or_else(|_| SnapshotOutcome::Refused("the node is stopping".to_owned()))
        }
    }

    /// The snapshot that was received is in place.
    pub(super) fn snapshot_installed(&self, position: Position) {
        self.appliers.stale.store(true, Ordering::Release);
        self.snapshot_ended(position, SnapshotOutcome::Installed);
    }

    /// The snapshot that was received is not put in place.
    pub(super) fn snapshot_discarded(&self, position: Position) {
        let is_held = self.core.with_raft(raft::Raft::commit_index) >= position.index;
        let outcome = match is_held {
            true => SnapshotOutcome::NotNeeded,
            false => SnapshotOutcome::Refused("it came too late".to_owned()),
        };
        self.snapshot_ended(position, outcome);
    }

    fn snapshot_ended(&self, position: Position, outcome: SnapshotOutcome) {
        let arriving = self.arriving().take().expect("one was received");
        assert!(arriving.position == position, "another snapshot was received");
        super::tell(arriving.ended, outcome);
    }

    /// The disk failed while a snapshot was received: ends the node.
    pub fn disk_failed(&self, error: &std::io::Error) -> ! {
        let source = std::io::Error::new(error.kind(), error.to_string());
        die(&Fatal::from(lsm::Error::Io {
            operation: "receive a snapshot into",
            path: TREE_DIR.to_owned(),
            source,
        }))
    }

    fn arriving(&self) -> MutexGuard<'_, Option<Arriving>> {
        self.arriving.lock().expect("a panic ends the process")
    }
}

/// Makes the files of a snapshot, and says what they are.
fn prepare(job: CheckpointJob, term: Term, number: u64) -> lsm::Result<(Outgoing, Snapshot)> {
    let disk = job.disk();
    let outgoing = Outgoing { disk: Arc::clone(&disk), dir: join(SHARD_DIR, &format!("{OUTGOING}{number}")) };
    let checkpoint = job.run(&outgoing.dir)?;
    let dir = checkpoint.dir;
    // The hashes of tables are known; what else is there is small.
    let tables: HashMap<&str, &CheckpointFile> =
        checkpoint.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let described = |name: String| match tables.get(join(&dir, &name).as_str()) {
        Some(table) => Ok(SnapshotFile { name, bytes: table.bytes, hash: table.hash }),
        None => SnapshotFile::of(&*disk, &dir, &name),
    };
    let files = disk.list(&dir).and_then(|names| names.into_iter().map(described).collect());
    let files = files.map_err(|source| lsm::Error::Io { operation: "read", path: dir.clone(), source })?;
    let configuration = Configuration::decode(checkpoint.flushed.membership)
        .expect("this node has read the membership when it started");
    let snapshot = Snapshot {
        term,
        position: checkpoint.flushed.position,
        configuration,
        disk,
        dir,
        files,
        bytes_per_second: None,
    };
    Ok((outgoing, snapshot))
}
