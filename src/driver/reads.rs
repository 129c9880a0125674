//! Reads that wait: for a permit that `raft` has to ask others for, and for what it says to be applied here.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::Guard;
use tokio::sync::oneshot;

use super::{ReadPermit, Shard, core::CONNECTION_READS};
use crate::{executor::Published, log::Index, raft};

/// How long reads wait for the word of a majority. Elections are shorter.
const PERMIT_PATIENCE: Duration = Duration::from_secs(5);

/// How long reads wait for what has to be applied before them.
const APPLY_PATIENCE: Duration = Duration::from_secs(5);

/// Reads that wait for a permit.
pub(super) struct Permits {
    /// From a number that is drawn: an answer to what an earlier process of this node has asked is none to what this one asks.
    next: AtomicU64,
    asked: Mutex<BTreeMap<u64, oneshot::Sender<Option<Index>>>>,
}

impl Default for Permits {
    fn default() -> Self {
        Self { next: AtomicU64::new(fastrand::u64(..CONNECTION_READS / 2)), asked: Mutex::default() }
    }
}

impl Permits {
    /// Tells the reads with this number from which index on they may be served, or that they may not.
    pub(super) fn answer(&self, number: u64, index: Option<Index>) {
        let asked = self.asked.lock().expect("a panic ends the process").remove(&number);
        if let Some(asked) = asked {
            super::tell(asked, index);
        }
    }
}

/// Those who wait until an index is applied.
pub(super) struct Appliers {
    /// How many there are, for those who have no time to look.
    count: AtomicUsize,
    waiting: Mutex<Vec<(Index, oneshot::Sender<()>)>>,
    /// Nothing was read by permit since the start, or since a snapshot took the place of everything: what is published may
    /// be older than what this node has shown before.
    pub(super) stale: AtomicBool,
}

impl Default for Appliers {
    fn default() -> Self {
        Self { count: AtomicUsize::new(0), waiting: Mutex::default(), stale: AtomicBool::new(true) }
    }
}

impl Appliers {
    /// This is published now.
    pub(super) fn published(&self, published: &Published) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let applied = published.view.index();
        let mut waiting = self.waiting.lock().expect("a panic ends the process");
        // Some have given up.
        waiting.retain(|(_, done)| !done.is_closed());
        for at in (0..waiting.len()).rev() {
            if waiting[at].0 <= applied {
                super::tell(waiting.swap_remove(at).1, ());
            }
        }
        self.count.store(waiting.len(), Ordering::SeqCst);
    }
}

impl Shard {
    /// A permit for reads that have arrived: from the lease, or after a round of heartbeats, of this node's or its
    /// leader's. It is given when what has to be applied for it is. None if nobody who leads could be asked, or could
    /// prove it, or if this node is too far behind: the reads may try again, here or elsewhere.
    pub async fn ask_permit(self: &Arc<Self>) -> Option<ReadPermit> {
        if let Some(permit) = self.read_permit() {
            self.appliers.stale.store(false, Ordering::Release);
            return Some(permit);
        }
        // What the leader of this term says is good in this term.
        let term = self.core.term();
        let (answer, answered) = oneshot::channel();
        let number = CONNECTION_READS + self.permits.next.fetch_add(1, Ordering::Relaxed);
        self.permits.asked.lock().expect("a panic ends the process").insert(number, answer);
        self.step(raft::Input::Read(number));
        // A leader that commits nothing in its term proves nothing. An error means that the shard is gone.
        let Ok(answered) = tokio::time::timeout(PERMIT_PATIENCE, answered).await else {
            self.permits.asked.lock().expect("a panic ends the process").remove(&number);
            return None;
        };
        let index = answered.ok().flatten()?;
        tokio::time::timeout(APPLY_PATIENCE, self.applied(index)).await.ok()??;
        self.appliers.stale.store(false, Ordering::Release);
        Some(self.core.index_permit(term, index))
    }

    /// What reads that have arrived may read, with a permit as [`Shard::ask_permit`] gives it.
    pub async fn ask_published(self: &Arc<Self>) -> Option<Arc<Published>> {
        loop {
            let permit = self.ask_permit().await?;
            // Else the term has just changed: who leads the next one has to be asked.
            if let Some(published) = self.core.published(&permit) {
                return Some(Guard::into_inner(published));
            }
        }
    }

    /// Whether what is published may be shown to those who want no proof that it is the newest: not after a start or an
    /// install, before a first permit has shown from where on this node is not older than what it showed before.
    pub fn may_read_stale(&self) -> bool {
        !self.appliers.stale.load(Ordering::Acquire)
    }

    /// Waits until `index` is applied and published; none if the shard is gone first.
    async fn applied(&self, index: Index) -> Option<()> {
        let (done, applied) = oneshot::channel();
        {
            let mut waiting = self.appliers.waiting.lock().expect("a panic ends the process");
            waiting.push((index, done));
            self.appliers.count.store(waiting.len(), Ordering::SeqCst);
        }
        // Who published before that did not see who waits.
        self.appliers.published(&self.core.store().load());
        applied.await.ok()
    }
}
