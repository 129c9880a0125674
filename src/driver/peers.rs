//! The shard among other nodes: what `raft` wants done outside (its errands), what peers say, and the time.
//!
//! Errands are run in their order by whoever has stepped `raft`, one at a time: who finds somebody at it leaves them there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, oneshot},
    task::AbortHandle,
};

use super::{Shard, core::Errand};
use crate::{
    cluster::MemberRecord,
    raft::{self, Change, ChangeAnswer, Configuration, Message, NodeId, Role},
    transport::TransportStatus,
};

/// What runs the errands needs between them.
#[derive(Default)]
pub(super) struct Courier {
    /// Snapshots on their way.
    pub(super) sending: BTreeMap<NodeId, AbortHandle>,
}

/// Those who wait for a change of the membership.
#[derive(Default)]
pub(super) struct Changes {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<ChangeAnswer>>>,
}

/// When `raft` is ticked next.
pub(super) struct Ticks {
    /// What the task that ticks sleeps until, in µs of CLOCK_BOOTTIME.
    sleeps_until: AtomicU64,
    earlier: Arc<Notify>,
}

impl Default for Ticks {
    fn default() -> Self {
        Self { sleeps_until: AtomicU64::new(u64::MAX), earlier: Arc::default() }
    }
}

/// Why the leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Only who leads can hand over.
    #[error("this node does not lead")]
    NotLeader,
    /// There is no other voter that has kept up, or it did not take over in time.
    #[error("no other node has taken over in time")]
    NobodyTookOver,
}

impl Shard {
    /// Messages of a peer. To be called on a task of the runtime.
    pub fn received(self: &Arc<Self>, messages: Vec<Message>) {
        let now_us = self.now().boot_us;
        let mut outputs = Vec::new();
        for message in messages {
            self.core.step_raft(now_us, raft::Input::Message(message), &mut outputs);
        }
        self.follow_up();
    }

    /// The stream to a peer broke. To be called on a task of the runtime.
    pub fn unreachable(self: &Arc<Self>, peer: NodeId) {
        self.step(raft::Input::Unreachable(peer));
    }

    /// Steps `raft` and serves what follows from it. To be called on a task of the runtime.
    pub(super) fn step(self: &Arc<Self>, input: raft::Input) {
        self.core.step_raft(self.now().boot_us, input, &mut Vec::new());
        self.follow_up();
    }

    /// Serves what `raft` has put into the inboxes: peers first, then the log, then the executor, in place.
    fn follow_up(self: &Arc<Self>) {
        self.run_errands();
        if self.core.log.has_work_at_home() {
            self.log_waker.wake();
        }
        if let Some(executor) = self.core.executor.take() {
            self.drain(executor, crate::executor::Next::Idle);
        }
    }

    /// Does what `raft` wants done outside the shard.
    pub(super) fn run_errands(self: &Arc<Self>) {
        if self.core.deadline() < self.ticks.sleeps_until.load(Ordering::SeqCst) {
            self.ticks.earlier.notify_one();
        }
        // Who comes while somebody is at it leaves its errands to them: they look again when they have let go.
        while self.core.has_errands() {
            let Ok(mut courier) = self.courier.try_lock() else { return };
            for errand in self.core.take_errands() {
                self.run_errand(&mut courier, errand);
            }
        }
    }

    fn run_errand(self: &Arc<Self>, courier: &mut Courier, errand: Errand) {
        match errand {
            Errand::Send(message) => {
                if let Some(transport) = &self.transport {
                    // What is dropped is counted there, and is to `raft` a loss on the network.
                    transport.send(message);
                }
            }
            Errand::Fetch(reading, from, bytes_max) => self.fetch(reading, from, bytes_max),
            Errand::Permit(number, index) => self.permits.answer(number, Some(index)),
            Errand::NoPermit(number) => self.permits.answer(number, None),
            Errand::Changed(role, term, leader) => {
                tracing::info!(
                    ?role,
                    term,
                    leader = leader.map(|id| format!("{id:016x}")),
                    "the role has changed"
                );
                if role != Role::Leader {
                    std::mem::take(&mut courier.sending).into_values().for_each(|sending| sending.abort());
                }
            }
            Errand::Configured(configuration, leaving) => self.connect(&configuration, &leaving),
            Errand::Removed => drop(self.removed.send_replace(true)),
            Errand::Changing(number, answer) => {
                let waiting = self.changes.waiting.lock().expect("a panic ends the process").remove(&number);
                if let Some(waiting) = waiting {
                    super::tell(waiting, answer);
                }
            }
            Errand::SendSnapshot(to, term) => {
                let sending = self.runtime.spawn(Arc::clone(self).send_snapshot(to, term));
                if let Some(before) = courier.sending.insert(to, sending.abort_handle()) {
                    before.abort();
                }
            }
            Errand::Installed(position) => self.snapshot_installed(position),
            Errand::Discard(position) => self.snapshot_discarded(position),
        }
    }

    /// Reads entries of the log, on a thread that may block.
    fn fetch(self: &Arc<Self>, reading: raft::Reading, from: crate::log::Index, bytes_max: usize) {
        let shard = Arc::clone(self);
        self.executor.run(move || {
            let entries = shard.core.log_reader().entries(from, bytes_max)?;
            shard.runtime.spawn({
                let shard = Arc::clone(&shard);
                async move { shard.step(raft::Input::Fetched(reading, entries)) }
            });
            Ok(())
        });
    }

    /// Begins to speak to the members. The transport belongs to their cluster by now.
    pub fn connect_members(&self) {
        self.connect(&self.core.members().configuration, &BTreeMap::new());
    }

    /// What the transport knows of the other nodes; none on a node that listens for no others.
    pub fn transport_status(&self) -> Option<TransportStatus> {
        self.transport.as_ref().map(|transport| transport.status())
    }

    /// Speaks to these members from now on, and to those who leave.
    fn connect(&self, configuration: &Configuration, leaving: &BTreeMap<NodeId, Bytes>) {
        self.sync_policy.set_alone(configuration.ids().len() <= 1);
        let Some(transport) = &self.transport else { return };
        let address = |id: NodeId| {
            let record = configuration.record(id).or_else(|| leaving.get(&id))?;
            match MemberRecord::decode(record.clone()) {
                Ok(record) => Some((id, record.peer)),
                Err(error) => {
                    tracing::error!(node = format!("{id:016x}"), %error, "a member cannot be spoken to");
                    None
                }
            }
        };
        transport.connect(
            &configuration.ids().into_iter().chain(leaving.keys().copied()).filter_map(address).collect(),
        );
    }

    /// Returns when the cluster has removed this node, for ever.
    pub async fn removed(&self) {
        // This has the sender.
        drop(self.removed.subscribe().wait_for(|removed| *removed).await);
    }

    /// Changes the membership, and returns what became of that. Nothing is done unless this node leads.
    pub async fn change(self: &Arc<Self>, changes: Vec<Change>) -> ChangeAnswer {
        let (answer, answered) = oneshot::channel();
        let number = self.changes.next.fetch_add(1, Ordering::Relaxed);
        self.changes.waiting.lock().expect("a panic ends the process").insert(number, answer);
        self.step(raft::Input::Change(number, changes));
        // An error means that the shard is gone.
        answered.await.unwrap_or(ChangeAnswer::Unknown)
    }

    /// Says whether this node should not lead: it hands over then, and does not campaign.
    pub fn set_unfit(self: &Arc<Self>, unfit: bool) {
        self.step(raft::Input::Unfit(unfit));
    }

    /// Hands the leadership to `to`, or to the voter that lacks least, and returns when another node leads.
    ///
    /// # Errors
    ///
    /// This node does not lead, or leads as before.
    pub async fn transfer(self: &Arc<Self>, to: Option<NodeId>) -> Result<(), TransferError> {
        let mut members = self.core.watch_members();
        if members.borrow_and_update().role != Role::Leader {
            return Err(TransferError::NotLeader);
        }
        self.step(raft::Input::Transfer(to));
        let taken_over = members.wait_for(|members| members.role != Role::Leader && members.leader.is_some());
        match tokio::time::timeout(self.core.transfer_patience(), taken_over).await {
            Ok(_) => Ok(()),
            Err(_) => Err(TransferError::NobodyTookOver),
        }
    }
}

/// Ticks `raft` when it wants to be.
pub(super) async fn tick(shard: Weak<Shard>) {
    loop {
        let Some(strong) = shard.upgrade() else { return };
        let deadline = strong.core.deadline();
        strong.ticks.sleeps_until.store(deadline, Ordering::SeqCst);
        // Who moved it before that was stored did not see what this sleeps until.
        if strong.core.deadline() < deadline {
            continue;
        }
        let now_us = strong.now().boot_us;
        if deadline <= now_us {
            strong.step(raft::Input::Tick);
            drop(strong);
            tokio::task::yield_now().await;
            continue;
        }
        let earlier = Arc::clone(&strong.ticks.earlier);
        drop(strong);
        tokio::select! {
            () = earlier.notified() => {}
            () = tokio::time::sleep(Duration::from_micros(deadline - now_us)) => {}
        }
    }
}
