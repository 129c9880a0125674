//! Snapshots between this node and others: made, sent, received, put in place.
//!
//! | path | what |
//! |---|---|
//! | `shard-0/outgoing-<n>/` | hard links to the tables that are being sent, and their manifest; removed afterwards, and at the start |
//! | `shard-0/tree/incoming/` | what is being received; see `lsm` |

use std::num::NonZeroU64;
use std::sync::{Arc, MutexGuard, atomic::Ordering};

use tokio::sync::oneshot;

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
    log::{Position, Term},
    lsm::{self, CheckpointJob},
    raft::{self, Configuration, NodeId, Offer},
    transport::{Offered, Snapshot, SnapshotError, SnapshotFile, SnapshotHeader, SnapshotOutcome},
};

/// What the directories of snapshots that are being sent begin with.
const OUTGOING: &str = "outgoing-";

/// The snapshot that this node was sent whole, and that is being put in place.
pub(super) struct Arriving {
    position: Position,
    ended: oneshot::Sender<SnapshotOutcome>,
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
        match self.try_to_send_snapshot(to, term).await {
            Ok(outcome) => tracing::info!(node, ?outcome, "a snapshot was sent"),
            Err(error) => tracing::warn!(node, error, "a snapshot could not be sent"),
        }
        self.step(raft::Input::SnapshotEnded(to));
    }

    async fn try_to_send_snapshot(
        self: &Arc<Self>,
        to: NodeId,
        term: Term,
    ) -> Result<SnapshotOutcome, String> {
        let transport = self.transport.as_ref().ok_or_else(|| SnapshotError::NotMember.to_string())?;
        let (job, made) = oneshot::channel();
        self.submit(Input::Checkpoint(job));
        let job = made.await.map_err(|_| "the node is stopping".to_owned())?;
        let (done, prepared) = oneshot::channel();
        let number = self.snapshots_sent.fetch_add(1, Ordering::Relaxed);
        self.reads.run(move || match prepare(job, term, number) {
            Err(error @ lsm::Error::Sync { .. }) => Err(error.into()),
            prepared => {
                super::tell(done, prepared);
                Ok(())
            }
        });
        let prepared = prepared.await.map_err(|_| "the node is stopping".to_owned())?;
        let (outgoing, snapshot) = prepared.map_err(|error| error.to_string())?;
        let bytes_per_second = NonZeroU64::new(self.snapshot_rate.load(Ordering::Relaxed));
        let snapshot = Snapshot { bytes_per_second, ..snapshot };
        let sent = transport.send_snapshot(to, snapshot).await;
        drop(outgoing);
        sent.map_err(|error| error.to_string())
    }

    /// Sends snapshots at this rate from the next one on; none is as fast as it goes.
    pub fn set_snapshot_rate(&self, bytes_per_second: Option<NonZeroU64>) {
        self.snapshot_rate.store(bytes_per_second.map_or(0, NonZeroU64::get), Ordering::Relaxed);
    }

    /// A leader offers a snapshot.
    pub fn snapshot_offered(&self, header: &SnapshotHeader) -> Offered {
        let (term, commit_index) = self.core.with_raft(|raft| (raft.term(), raft.commit_index()));
        if header.term < term {
            return Offered::Refused(format!("it is of term {}, and this is term {term}", header.term));
        }
        if header.position.index <= commit_index {
            return Offered::NotNeeded;
        }
        if self.arriving().is_some() {
            return Offered::Refused("another snapshot is being put in place".to_owned());
        }
        match receive_snapshot(&*self.disk) {
            Ok(dir) => Offered::Take { disk: Arc::clone(&self.disk), dir },
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

    /// The snapshot that was received is in place, or is not needed.
    pub(super) fn snapshot_ended(&self, position: Position, installed: bool) {
        let arriving = self.arriving().take().expect("one was received");
        assert!(arriving.position == position, "another snapshot was received");
        if installed {
            self.appliers.stale.store(true, Ordering::Release);
        }
        let outcome = if installed { SnapshotOutcome::Installed } else { SnapshotOutcome::NotNeeded };
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
    let listed = SnapshotFile::list(&*disk, &dir);
    let files = listed.map_err(|source| lsm::Error::Io { operation: "read", path: dir.clone(), source })?;
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
