//! One turn of the executor: inputs in, outputs out.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::oneshot;

use super::{
    admission::Admission,
    backlog::Backlog,
    clock::{Clock, Now},
    entry::EntryError,
    leadership::{ChainProgress, Leadership, Pausing},
    load::Load,
    message::{Answer, Message, Recipient},
    patience::Progress,
    room::{Reserve, Room},
    store::{Published, Store},
};
use crate::{
    bugs::{self, Bug},
    command::Command,
    keyspace::{self, Overlay, State},
    log::{Entry, Index, Position, Term},
    lsm::{self, Tree},
    raft::{Proposal, ProposalId, Role, Verdict},
    resp::Args,
};

/// What the executor is stepped with.
pub enum Input {
    /// A connection sends commands.
    Message(Message),
    /// Committed entries, durable here, in order.
    Committed(Vec<Entry>),
    /// Say when what came before is applied: [`Output::Applied`].
    TellApplied,
    /// So far do the tables of the followers lag behind that this leader needs, in thousandths of what they may.
    Lag(u64),
    /// What became of a proposal.
    Proposed(ProposalId, Verdict),
    /// The role or the term of this node changed.
    Changed {
        /// The new term.
        term: Term,
        /// The new role.
        role: Role,
    },
    /// Evaluate nothing, since the leadership is being handed over, then [`Output::Paused`]; or go on.
    Pause(bool),
    /// The leadership was proven after the permit with this number was asked for.
    Permit(u64),
    /// Go over to the snapshot that was received, which ends here; then [`Output::InstalledSnapshot`].
    Install(Position),
    /// The log was reset to that snapshot, durably.
    LogReset,
    /// A flush or a compaction is durable.
    Installed(lsm::Installed),
    /// What a message stopped for in this term is in memory now.
    Loaded(Message, Term),
    /// What held commands back may have gone: a recipient has sent what it had too much of, or has gone; what the last
    /// drain took is paid for.
    Resume,
    /// A second has passed. What changes without a sign is looked at: the room on the disk, views that are held for long.
    Tick,
    /// A key may be due.
    Wake,
    /// Switches the deletion of due keys on or off (DEBUG SET-ACTIVE-EXPIRE).
    ActiveExpire(bool),
    /// Write the memtable out although it is not full, and although there was no room for the last one.
    Seal,
    /// Forget what is cached, so that what is read next comes from the disk, and tell through the channel (DEBUG
    /// RELOAD).
    DropCaches(oneshot::Sender<()>),
    /// Hand out the job that makes a checkpoint of the tables.
    Checkpoint(oneshot::Sender<lsm::CheckpointJob>),
    /// The directives have changed.
    Tune(Tuning),
}

/// What the executor asks of the driver, in this order.
pub enum Output {
    /// Hand this to `raft`.
    Propose(Proposal),
    /// Ask `raft` to prove the leadership.
    AskPermit(u64),
    /// Give this to its recipient.
    Answer(Arc<dyn Recipient>, Answer),
    /// Tell the recipient that the rest of its message may be done and will not be answered.
    Lose(Arc<dyn Recipient>),
    /// Give this back to its recipient: it is not done.
    GiveBack(Message),
    /// Commands were run; to be counted.
    Ran(Ran),
    /// A command answered with this error; to be counted.
    Failed(&'static Command, Vec<u8>),
    /// A command took longer than [`Tuning::slow_ns`].
    Slow(Slow),
    /// Write a memtable out, then [`Input::Installed`].
    Flush(lsm::FlushJob),
    /// Compact, then [`Input::Installed`].
    Compact(lsm::CompactionJob),
    /// Read from the disk what a message needs, then [`Input::Loaded`].
    Load(Load),
    /// This shard does not need the start of its log.
    Cut {
        /// What is up to here is in tables.
        index: Index,
        /// The disk has too little room for what others may still need of it.
        is_short: bool,
    },
    /// The snapshot that ends here is in place, durably ([`Input::Install`]).
    InstalledSnapshot(Position),
    /// What came before [`Input::TellApplied`] is applied.
    Applied,
    /// So far do the tables of this node lag behind, in thousandths of what they may.
    Lag(u64),
    /// Nothing is evaluated, and everything that was in the leadership of this term is applied and answered ([`Input::Pause`]).
    Paused(Term),
    /// A flush has found no room on the disk. It is tried again after a while, or with the next [`Input::Seal`].
    NoRoom,
    /// [`Input::Wake`] when the present time reaches this, in ms since the Unix epoch.
    WakeAt(u64),
    /// [`Input::Resume`] when CLOCK_BOOTTIME shows this, in µs.
    ResumeAt(u64),
}

/// What the driver does with the executor after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Everything is done that can be done without another input.
    Idle,
    /// There is more to do: call again, soon.
    Again,
    /// There is more to do, which takes long or waits for the disk: call again on a thread that may block.
    Block,
}

/// Calls of one command, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Ran {
    /// Which command.
    pub command: &'static Command,
    /// How many calls.
    pub calls: u64,
    /// How long they took together.
    pub nanos: u64,
    /// Keys that reads found, and did not find.
    pub lookups: (u64, u64),
}

/// A command that took long.
#[derive(Clone, Debug)]
pub struct Slow {
    /// Its words.
    pub args: Args,
    /// How long it took.
    pub nanos: u64,
    /// Who sent it.
    pub recipient: Arc<dyn Recipient>,
}

/// What may be changed while the node runs.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Limits of the data types.
    pub limits: keyspace::Limits,
    /// What a command may take before it is slow.
    pub slow_ns: u64,
    /// Bytes of the reply of one command or transaction; more is an error told to the client.
    pub reply_bytes_max: usize,
}

/// Bounds on what is in flight.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of entries proposed and not applied, above which nothing is evaluated.
    pub in_flight_bytes_max: usize,
    /// Effects of one command, in bytes as the entry has them; more is an error told to the client.
    pub entry_bytes_max: usize,
    /// Bytes of one connection's replies held or unsent, above which it has to wait.
    pub backlog_bytes_max: usize,
    /// What of the disk is kept free.
    pub reserve: Reserve,
}

/// What ends the node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree cannot be read or written.
    #[error("the data cannot be read: {0}")]
    Tree(#[from] lsm::Error),
    /// A committed entry cannot be applied; it is never skipped.
    #[error("entry {index} cannot be applied: {source}")]
    Entry {
        /// Which one.
        index: Index,
        /// Why.
        source: EntryError,
    },
}

/// Numbers of one executor, for those who watch it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// The last applied entry.
    pub applied: Position,
    /// Drains that evaluated something.
    pub drains: u64,
    /// Commands evaluated.
    pub commands: u64,
    /// Entries proposed.
    pub entries: u64,
    /// Proposals that were refused.
    pub refused: u64,
    /// Commands refused because the disk is nearly full, or because no entry holds their effects.
    pub denied: u64,
    /// Messages that wait.
    pub queued_messages: usize,
    /// Entries that are committed and wait, since the tree lags behind.
    pub backlog: usize,
    /// Bytes of effects that are not applied.
    pub overlay_bytes: usize,
    /// Bytes of entries proposed and not applied.
    pub in_flight_bytes: usize,
    /// Keys deleted because they were due.
    pub expired: u64,
    /// Effects applied.
    pub changes: u64,
    /// Time in which commands waited because the tree lagged behind, in µs.
    pub slowdown_us: u64,
    /// How far the tree lags behind.
    pub debt: lsm::Debt,
}

/// How far the executor is with a snapshot. Meanwhile no job writes into the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Snapshot {
    /// It is to be gone over to when the jobs under way have ended.
    Received(Position),
    /// It is in place; the log is being reset.
    Adopted,
    /// The log is reset, which the tree has to know when the jobs under way have ended.
    LogReset,
}

/// The state machine of one shard on one node.
pub struct Executor {
    pub(super) tree: Tree,
    pub(super) store: Arc<Store>,
    pub(super) limits: Limits,
    pub(super) tuning: Tuning,
    pub(super) applied: Position,
    /// The stamp and the databases after the last applied entry.
    pub(super) system: keyspace::Published,
    /// What is applied comes from the log of an earlier start: raft has not said yet what this node is.
    pub(super) is_replaying: bool,
    /// What is committed and not applied.
    pub(super) backlog: Backlog,
    /// How far the followers lag behind that this leader needs.
    pub(super) lag_of_others: u64,
    pub(super) progress: Progress,
    /// The term this node leads by raft's word; the leadership begins when its no-op is applied.
    pub(super) leads: Option<Term>,
    /// Another node leads, or none. While this node stands for election, commands wait for the outcome.
    pub(super) follows: bool,
    pub(super) leadership: Option<Leadership>,
    /// How many permits were asked for by the leaderships that have ended.
    pub(super) permits: u64,
    pub(super) queue: VecDeque<Message>,
    /// Messages that are away while their data is read.
    pub(super) loading: usize,
    pub(super) seed: fastrand::Rng,
    pub(super) active_expire: bool,
    pub(super) room: Room,
    /// A snapshot that takes the place of everything here.
    pub(super) snapshot: Option<Snapshot>,
    /// Something was applied or installed since the view was last published.
    pub(super) unpublished: bool,
    /// What [`Output::WakeAt`] was last asked for.
    pub(super) wake_at: Option<u64>,
    pub(super) admission: Admission,
    pub(super) gauges: Gauges,
}

impl Executor {
    /// Begins on the flushed state of `tree`; the entries of the log behind it are applied next.
    pub fn new(tree: Tree, limits: Limits, tuning: Tuning, seed: u64) -> Result<Self, Error> {
        let flushed = tree.flushed().position;
        let flushed = Position { index: flushed.index, term: flushed.term };
        let view = tree.view();
        let system = keyspace::Published::load(&view)?;
        let published = Published { view, system: system.clone(), clock: None };
        Ok(Self {
            store: Arc::new(Store::new(published)),
            limits,
            tuning,
            applied: flushed,
            system,
            is_replaying: true,
            backlog: Backlog::new(tree.memtable_bytes()),
            lag_of_others: 0,
            progress: Progress::default(),
            leads: None,
            follows: false,
            leadership: None,
            permits: 0,
            queue: VecDeque::new(),
            loading: 0,
            seed: fastrand::Rng::with_seed(seed),
            active_expire: true,
            room: Room::new(limits.reserve),
            snapshot: None,
            unpublished: false,
            wake_at: None,
            admission: Admission::default(),
            gauges: Gauges::default(),
            tree,
        })
    }

    /// What connections read.
    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// The last applied entry.
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// What it keeps free of the disk.
    pub fn reserve(&self) -> Reserve {
        self.limits.reserve
    }

    /// The tree, to look at.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Keys deleted because they were due, so far.
    pub fn expired(&self) -> u64 {
        self.gauges.expired
    }

    /// Numbers to look at.
    pub fn gauges(&self) -> Gauges {
        let (overlay_bytes, in_flight_bytes) = self
            .leadership
            .as_ref()
            .map_or((0, 0), |leadership| (leadership.overlay.bytes(), leadership.chain.in_flight_bytes));
        Gauges {
            applied: self.applied,
            queued_messages: self.queue.len() + self.loading,
            backlog: self.backlog.len(),
            overlay_bytes,
            in_flight_bytes,
            slowdown_us: self.admission.waited_us,
            debt: self.admission.debt,
            ..self.gauges
        }
    }

    /// Whether this node evaluates commands.
    pub fn is_leading(&self) -> bool {
        self.leadership.is_some()
    }

    /// Takes `inputs`, in order, and appends what follows from them to `outputs`. With `may_block`, one long command is
    /// evaluated, and reads wait for the disk.
    pub fn turn(
        &mut self,
        inputs: &mut VecDeque<Input>,
        clock: &dyn Clock,
        may_block: bool,
        outputs: &mut Vec<Output>,
    ) -> Result<Next, Error> {
        let now = clock.now();
        for input in inputs.drain(..) {
            self.take(input, now, outputs)?;
        }
        self.go_over_to_snapshot(outputs)?;
        let has_more = self.work_off(now, outputs)?;
        if self.backlog.lags() && self.leadership.is_none() {
            self.look_at_debt(outputs);
        }
        self.publish(now);
        self.release(now, outputs);
        self.pause(outputs);
        self.recover_from_refusal()?;
        let next = self.evaluate(now, clock, may_block, outputs)?;
        self.start_jobs(outputs);
        Ok(if has_more && next == Next::Idle { Next::Again } else { next })
    }

    fn take(&mut self, input: Input, now: Now, outputs: &mut Vec<Output>) -> Result<(), Error> {
        match input {
            // Whoever leads may have what it asks for.
            Input::Message(message) if self.follows => {
                outputs.push(Output::GiveBack(message));
            }
            Input::Message(mut message) => {
                message.since_us = now.boot_us;
                self.queue.push_back(message);
            }
            Input::Committed(entries) => self.take_committed(entries, now, outputs)?,
            Input::TellApplied => self.tell_applied(outputs),
            Input::Lag(lag) => self.lag_of_others = lag,
            Input::Proposed(id, verdict) => self.judged(id, verdict),
            Input::Changed { term, role } => self.changed(term, role, now, outputs)?,
            Input::Pause(pause) => {
                if let Some(leadership) = &mut self.leadership {
                    leadership.pausing = pause.then_some(Pausing::Begun);
                }
            }
            Input::Permit(number) => {
                if let Some(leadership) = &mut self.leadership {
                    leadership.permits_given = leadership.permits_given.max(number);
                }
            }
            Input::Install(position) => {
                assert!(self.leadership.is_none(), "a leader has what is committed");
                assert!(self.applied.index < position.index, "a snapshot would undo what is applied");
                self.drop_backlog(outputs);
                self.snapshot = Some(Snapshot::Received(position));
            }
            Input::LogReset => self.snapshot = Some(Snapshot::LogReset),
            Input::Installed(installed) => {
                self.room.ask();
                if installed.is_flush_without_room() {
                    outputs.push(Output::NoRoom);
                }
                let flushed = self.tree.install(installed);
                self.unpublished = true;
                outputs.push(Output::Cut { index: flushed.index, is_short: self.room.is_short() });
            }
            Input::Loaded(message, term) => {
                self.loading -= 1;
                // What came before in its message was lost with the leadership of that term, and so is the rest.
                match self.leadership.as_ref().is_some_and(|leadership| leadership.term == term) {
                    true => self.queue.push_back(message),
                    false => outputs.push(Output::GiveBack(message)),
                }
            }
            Input::Resume => {}
            Input::Tick => self.tick(now, outputs)?,
            Input::Wake => self.wake_at = None,
            Input::ActiveExpire(on) => self.active_expire = on,
            Input::Seal => self.tree.seal(),
            Input::DropCaches(done) => {
                self.tree.drop_caches();
                // Whoever asked may be gone.
                let _ = done.send(());
            }
            Input::Checkpoint(wanted) => {
                // Whoever asked may be gone.
                let _ = wanted.send(self.tree.checkpoint());
            }
            Input::Tune(tuning) => {
                if let Some(leadership) = &mut self.leadership {
                    leadership.state.limits = tuning.limits.clone();
                }
                self.tuning = tuning;
            }
        }
        Ok(())
    }

    /// Looks at what changes without a sign.
    fn tick(&mut self, now: Now, outputs: &mut Vec<Output>) -> Result<(), Error> {
        let now_ms = now.boot_us / 1000;
        self.tree.notice_old_views(now_ms);
        self.tree.retry(now_ms);
        if self.room.is_short() {
            // What was deleted gives its room back when that is in tables, and no write comes to fill a memtable. One is
            // enough at a time: if it found no room, there is none for the next.
            if !self.tree.has_sealed() {
                self.tree.seal();
            }
            // So does what the log has kept for others.
            outputs.push(Output::Cut { index: self.tree.flushed().position.index, is_short: true });
        }
        self.end_waits(now, outputs);
        self.room.ask();
        // A leader asks when it evaluates. Who follows refuses nothing, but has to know what it may keep.
        if self.leadership.is_none() {
            self.room.accepted(&self.tree, 0)?;
        }
        Ok(())
    }

    fn judged(&mut self, id: ProposalId, verdict: Verdict) {
        let Some(leadership) = &mut self.leadership else { return };
        if id.term != leadership.term || id.chain != leadership.chain.chain {
            return;
        }
        match verdict {
            Verdict::Accepted => leadership.chain.accept(id.n),
            Verdict::Refused(_) => {
                self.gauges.refused += 1;
                leadership.chain.refuse(id.n);
            }
        }
    }

    /// A leadership ends with its term or role. What was held is unknown to its senders: it may have been appended.
    fn changed(&mut self, term: Term, role: Role, now: Now, outputs: &mut Vec<Output>) -> Result<(), Error> {
        self.is_replaying = false;
        self.leads = (role == Role::Leader).then_some(term);
        self.follows = role == Role::Follower;
        self.lag_of_others = 0;
        if let Some(mut leadership) = self.leadership.take() {
            self.permits = leadership.permits_asked;
            for piece in leadership.held.split_off(0).into_iter().flat_map(|held| held.pieces) {
                outputs.push(match bugs::on(Bug::AnswersOutliveLeadership) {
                    true => Output::Answer(
                        piece.recipient,
                        Answer { reply: piece.reply, done: piece.done, deferred: piece.deferred },
                    ),
                    false if bugs::on(Bug::UnknownToldAsNotDone) => {
                        Output::GiveBack(piece.into_message(now.boot_us))
                    }
                    false => Output::Lose(piece.recipient),
                });
            }
            outputs.extend(leadership.stalled.drain(..).map(|(_, message)| Output::GiveBack(message)));
            self.unpublished = true;
        }
        if self.follows {
            outputs.extend(self.queue.drain(..).map(Output::GiveBack));
        }
        if bugs::on(Bug::LeadershipBeforeNoop) && self.leads.is_some() {
            self.begin_to_lead(term, now)?;
        }
        Ok(())
    }

    /// Publishes what was applied, so that connections see it.
    pub(super) fn publish(&mut self, now: Now) {
        if !std::mem::take(&mut self.unpublished) {
            return;
        }
        let clock = self.leadership.as_mut().map(|leadership| {
            leadership.clock.advance(now);
            leadership.clock
        });
        self.store.publish(Published { view: self.tree.view(), system: self.system.clone(), clock });
    }

    /// Gives out the answers whose entry is applied.
    fn release(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let Some(leadership) = &mut self.leadership else { return };
        let seen = match bugs::on(Bug::ReleaseAtProposal) {
            true => leadership.chain.proposed,
            false => leadership.chain.applied,
        };
        let permits = match bugs::on(Bug::AnswerWithoutPermit) {
            true => leadership.permits_asked,
            false => leadership.permits_given,
        };
        while let Some(held) = leadership.held.release(seen, permits) {
            self.progress.applied_us = now.boot_us;
            for piece in held.pieces {
                let answer = Answer { reply: piece.reply, done: piece.done, deferred: piece.deferred };
                outputs.push(Output::Answer(piece.recipient, answer));
            }
        }
        let (released, limit) = (leadership.held.released(), self.limits.backlog_bytes_max);
        let mut waiting = Vec::new();
        for (drain, message) in leadership.stalled.drain(..) {
            match message.recipient.backlog(limit) {
                None => {}
                Some(unsent) if drain <= released && unsent <= limit => self.queue.push_back(message),
                Some(_) => waiting.push((drain, message)),
            }
        }
        leadership.stalled = waiting;
    }

    /// Says, once, that the leadership can be handed over.
    fn pause(&mut self, outputs: &mut Vec<Output>) {
        if let Some(leadership) = &mut self.leadership
            && leadership.pausing == Some(Pausing::Begun)
            && leadership.is_settled()
            && self.loading == 0
        {
            leadership.pausing = Some(Pausing::Done);
            outputs.push(Output::Paused(leadership.term));
        }
    }

    /// After a refusal, and when everything accepted before it is applied: forgets what was evaluated on top of it and
    /// puts its commands back at the head of the queue, in their order. **Rule (chain)**.
    fn recover_from_refusal(&mut self) -> Result<(), Error> {
        let Some(leadership) = &mut self.leadership else { return Ok(()) };
        let Some(refused) = leadership.chain.settled() else { return Ok(()) };
        if self.loading > 0 {
            return Ok(());
        }
        let again = leadership.held.split_off(refused);
        leadership.held.begin_chain();
        leadership.overlay = Overlay::new();
        leadership.state = State::load(&self.tree.view(), leadership.rng.u64(..))?;
        leadership.state.limits = self.tuning.limits.clone();
        leadership.chain = ChainProgress::new(leadership.chain.chain + 1);
        let stalled = leadership.stalled.drain(..).map(|(_, message)| message);
        let later: Vec<Message> = stalled.chain(self.queue.drain(..)).collect();
        let first = again.into_iter().flat_map(|held| {
            let since_us = held.since_us;
            held.pieces.into_iter().map(move |piece| piece.into_message(since_us))
        });
        for message in first.chain(later) {
            match self.queue.iter_mut().find(|queued| queued.recipient.id() == message.recipient.id()) {
                Some(queued) => queued.items.extend(message.items),
                None => self.queue.push_back(message),
            }
        }
        Ok(())
    }

    /// Goes on with the snapshot that was received, when no job writes into the tree any more.
    fn go_over_to_snapshot(&mut self, outputs: &mut Vec<Output>) -> Result<(), Error> {
        if self.snapshot.is_none() || !self.tree.is_idle() {
            return Ok(());
        }
        match self.snapshot {
            Some(Snapshot::Received(position)) => {
                self.tree.adopt(position)?;
                self.room.ask();
                self.applied = position;
                self.system = keyspace::Published::load(&self.tree.view())?;
                self.unpublished = true;
                self.snapshot = Some(Snapshot::Adopted);
                outputs.push(Output::InstalledSnapshot(position));
            }
            Some(Snapshot::LogReset) => {
                self.tree.log_was_reset(self.tree.membership().clone())?;
                self.snapshot = None;
            }
            Some(Snapshot::Adopted) | None => {}
        }
        Ok(())
    }

    fn start_jobs(&mut self, outputs: &mut Vec<Output>) {
        if self.snapshot.is_some() {
            return;
        }
        if let Some(job) = self.tree.next_flush() {
            outputs.push(Output::Flush(job));
        }
        // The start of a node waits for its jobs; a compaction may take long, and nothing needs it so soon.
        if !self.is_replaying
            && let Some(job) = self.tree.next_compaction()
        {
            outputs.push(Output::Compact(job));
        }
    }
}
