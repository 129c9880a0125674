//! Evaluates what is queued: commands → replies, held, and one entry of effects a drain.

use std::{collections::VecDeque, sync::Arc};

use super::{
    clock::{Clock, Now},
    entry::EntryBody,
    held::{Held, Piece},
    leadership::Leadership,
    load::Load,
    message::{Call, Deferred, Item, Message, Recipient, Step, Transaction, WatchCall},
    room::Accepted,
    stopwatch::Stopwatch,
    turn::{Error, Executor, Limits, Next, Output},
    watch::Watched,
};
use crate::{
    command::{Handler, flag},
    keyspace::{self, CommandError, Drain, Failure, Stop, WriteTxn},
    lsm::{self, Access},
    raft::Proposal,
    resp::{Outbox, Protocol, ReplyWriter},
};

/// Commands of one drain, so that a turn stays short.
const DRAIN_COMMANDS_MAX: usize = 500;

/// Bytes of effects of one drain after which no further command joins it.
const DRAIN_BYTES_MAX: usize = 256 * 1024;

/// What an entry may have beyond [`Limits::entry_bytes_max`], which bounds each command in it: the effects of the commands
/// before the last, its header, and the system keys.
const ENTRY_SLACK_BYTES: usize = DRAIN_BYTES_MAX + keyspace::SYSTEM_BYTES_MAX;

/// Arguments from this size on, in bytes, take so long to be copied into an entry that heartbeats should not wait for it.
const LONG_ARGS_BYTES: usize = 256 * 1024;

/// Due keys deleted by one drain.
const EXPIRED_KEYS_MAX: usize = 200;

/// How often a command may stop for the disk before it is treated as long.
const LOADS_MAX: u32 = 4;

/// Told to a transaction whose effects do not fit into one entry.
const EFFECTS_TOO_LARGE: &str =
    "EXECABORT Transaction discarded because of: its effects are larger than entry-bytes-max";

/// Told to a transaction whose replies are more than a client may be sent.
const REPLIES_TOO_LARGE: &str =
    "EXECABORT Transaction discarded because of: its replies are larger than reply-bytes-max";

/// Told to a transaction that writes, while the disk has too little room.
const NO_ROOM: &str = "EXECABORT Transaction discarded because of: the disk is nearly full";

impl Executor {
    /// Evaluates what is queued and proposes one entry.
    pub(super) fn evaluate(
        &mut self,
        now: Now,
        clock: &dyn Clock,
        may_block: bool,
        outputs: &mut Vec<Output>,
    ) -> Result<Next, Error> {
        let Some(mut leadership) = self.leadership.take() else { return Ok(Next::Idle) };
        let next = match self.admits(&leadership, now)? {
            Some(accepted) => self.drain(&mut leadership, accepted, now, clock, may_block, outputs),
            None => Ok(Next::Idle),
        };
        self.leadership = Some(leadership);
        next
    }

    /// Which commands may be evaluated now, if any. What is not admitted waits in the queue: nothing has happened.
    fn admits(&mut self, leadership: &Leadership, now: Now) -> Result<Option<Accepted>, Error> {
        let in_flight_bytes = leadership.chain.in_flight_bytes;
        if leadership.pausing.is_some()
            || leadership.chain.is_refused()
            || in_flight_bytes >= self.limits.in_flight_bytes_max
        {
            return Ok(None);
        }
        let mut debt = self.tree.debt();
        debt.pressure = debt.pressure.max(self.lag_of_others);
        if self.admission.admits(debt, now) {
            return Ok(Some(self.room.accepted(&self.tree, in_flight_bytes)?));
        }
        // The tree waits for room on the disk. That may take for ever, so nobody waits for the tree.
        Ok(self.tree.lacks_room().then_some(Accepted::Reads))
    }

    fn drain(
        &mut self,
        leadership: &mut Leadership,
        accepted: Accepted,
        now: Now,
        clock: &dyn Clock,
        may_block: bool,
        outputs: &mut Vec<Output>,
    ) -> Result<Next, Error> {
        let present = leadership.clock.advance(now).max(self.system.stamp);
        let expire =
            self.active_expire && self.wake_at.is_none_or(|at| at <= present) && accepted != Accepted::Reads;
        if self.queue.is_empty() && !expire {
            return Ok(Next::Idle);
        }
        let view = self.tree.view().for_writes();
        prefetch(&view, &leadership.state, &self.queue);
        let mut evaluation = Evaluation {
            view: &view,
            access: if may_block { Access::Disk } else { Access::Memory },
            drain: Drain::new(leadership.chain.proposed + 1, present),
            leadership,
            limits: self.limits,
            reply_bytes_max: self.tuning.reply_bytes_max,
            accepted,
            commands: 0,
            denied: 0,
            expired: 0,
            stopwatch: Stopwatch::start(clock, self.tuning.slow_ns),
        };
        if expire && !evaluation.expire()? {
            return Ok(Next::Block);
        }
        // A key that is due may be older than a limit that was lowered since.
        let command_bytes_max = self.limits.entry_bytes_max.max(evaluation.drain.bytes());
        let mut pieces = Vec::new();
        let next = evaluation.run_queue(&mut self.queue, &mut pieces, &mut self.loading, outputs)?;
        let next_due = if expire { evaluation.next_due()? } else { evaluation.drain.earliest_due() };
        self.gauges.drains += 1;
        if evaluation.commands > 0 {
            self.progress.evaluated(if may_block { clock.now() } else { now }, may_block);
        }
        self.gauges.commands += evaluation.commands as u64;
        self.gauges.denied += evaluation.denied;
        self.gauges.expired += evaluation.expired;
        let Evaluation { drain, stopwatch, .. } = evaluation;
        stopwatch.finish(outputs);
        if expire {
            self.wake_at = Some(u64::MAX);
        }
        if let Some(due) = next_due
            && self.wake_at.is_none_or(|at| due < at)
        {
            self.wake_at = Some(due);
            outputs.push(Output::WakeAt(due));
        }
        if let Some(boot_us) = self.admission.took(drain.bytes(), now) {
            outputs.push(Output::ResumeAt(boot_us));
        }
        let bytes_max = command_bytes_max.saturating_add(ENTRY_SLACK_BYTES);
        self.gauges.entries += u64::from(propose(leadership, drain, pieces, bytes_max, now, outputs));
        Ok(next)
    }
}

/// Lets the tree bring near what the commands of a drain will look up, all of it at once.
fn prefetch(view: &lsm::View, state: &keyspace::State, queue: &VecDeque<Message>) {
    let calls = queue.iter().flat_map(|message| &message.items).filter_map(|item| match item {
        Item::Call(call) => Some(call),
        Item::Transaction(_) | Item::Watch(_) | Item::Reply(_) => None,
    });
    let names = calls.flat_map(|call| {
        let positions = call.command.key_positions(&call.args);
        positions.into_iter().map(|position| (call.db, &call.args[position]))
    });
    keyspace::prefetch(view, state.map(), names.take(DRAIN_COMMANDS_MAX));
}

/// Ends a drain: its effects become an entry, its answers are held. **Rule (release)**.
///
/// Returns whether there is an entry.
fn propose(
    leadership: &mut Leadership,
    drain: Drain,
    pieces: Vec<Piece>,
    bytes_max: usize,
    now: Now,
    outputs: &mut Vec<Output>,
) -> bool {
    let stamp = drain.stamp();
    let batch = drain.finish(&mut leadership.overlay, &mut leadership.state);
    let permit = match batch {
        Some(effects) => {
            let (chain, n) = (leadership.chain.chain, leadership.chain.proposed + 1);
            let body = EntryBody { chain, n, stamp, effects }.encode();
            // Who proposed it would try so for ever, on every leader: what is too large is refused when it is evaluated.
            assert!(body.len() <= bytes_max, "an entry of {} bytes, and {bytes_max} are allowed", body.len());
            let id = leadership.chain.propose(leadership.term, body.len());
            assert!(id.n == n, "the entry was evaluated as another one than it is proposed as");
            outputs.push(Output::Propose(Proposal { id, body }));
            None
        }
        None if pieces.is_empty() => return false,
        None => {
            leadership.permits_asked += 1;
            outputs.push(Output::AskPermit(leadership.permits_asked));
            Some(leadership.permits_asked)
        }
    };
    if !pieces.is_empty() {
        leadership.held.push(Held { n: leadership.chain.proposed, permit, since_us: now.boot_us, pieces });
    }
    permit.is_none()
}

/// Why the evaluation of a message ended before its end.
enum Pause {
    /// Its next item needs the disk.
    Disk,
    /// Its next item takes long.
    Long,
    /// The drain is full.
    Full,
    /// Its recipient has too much unsent.
    Backlog,
}

/// One drain under way.
struct Evaluation<'a> {
    view: &'a lsm::View,
    access: Access,
    drain: Drain,
    leadership: &'a mut Leadership,
    limits: Limits,
    reply_bytes_max: usize,
    accepted: Accepted,
    commands: usize,
    denied: u64,
    expired: u64,
    stopwatch: Stopwatch<'a>,
}

impl Evaluation<'_> {
    /// Evaluates messages until the queue is empty or the drain is full.
    fn run_queue(
        &mut self,
        queue: &mut VecDeque<Message>,
        pieces: &mut Vec<Piece>,
        loading: &mut usize,
        outputs: &mut Vec<Output>,
    ) -> Result<Next, Error> {
        while let Some(mut message) = queue.pop_front() {
            let before = pieces.len();
            let pause = self.run_message(&mut message, pieces)?;
            match pause {
                None => {}
                Some(Pause::Full) => {
                    queue.push_front(message);
                    return Ok(Next::Again);
                }
                Some(Pause::Long) => {
                    queue.push_front(message);
                    return Ok(Next::Block);
                }
                Some(Pause::Backlog) => {
                    let held = &self.leadership.held;
                    let after = if pieces.len() > before { held.next_number() } else { held.released() };
                    self.leadership.stalled.push((after, message));
                }
                Some(Pause::Disk) => {
                    message.loads += 1;
                    *loading += 1;
                    outputs.push(Output::Load(Load {
                        message,
                        view: self.view.clone(),
                        stamp: self.drain.stamp(),
                        limits: self.leadership.state.limits.clone(),
                        effects_bytes_max: self.limits.entry_bytes_max,
                        reply_bytes_max: self.reply_bytes_max,
                        term: self.leadership.term,
                    }));
                }
            }
            if self.access == Access::Disk && self.commands > 0 {
                return Ok(if queue.is_empty() { Next::Idle } else { Next::Again });
            }
        }
        Ok(Next::Idle)
    }

    /// Evaluates items of `message` until it ends or must pause, and appends what was evaluated to `pieces`.
    fn run_message(
        &mut self,
        message: &mut Message,
        pieces: &mut Vec<Piece>,
    ) -> Result<Option<Pause>, Error> {
        let Some(unsent) = message.recipient.backlog(self.limits.backlog_bytes_max) else { return Ok(None) };
        let mut piece = Piece {
            recipient: Arc::clone(&message.recipient),
            items: VecDeque::new(),
            reply: Outbox::new(),
            done: false,
            deferred: None,
        };
        let pause = loop {
            let Some(item) = message.items.front() else { break None };
            if let Some(pause) = self.must_pause(item, message.loads, unsent + piece.reply.len()) {
                break Some(pause);
            }
            let seed = *message.seed.get_or_insert_with(|| self.leadership.rng.u64(..));
            match self.run_item(item, seed, &mut piece)? {
                Ok(()) => {
                    piece.items.extend(message.items.pop_front());
                    message.seed = None;
                    message.loads = 0;
                }
                Err(Stop::Disk) => break Some(Pause::Disk),
                Err(Stop::Long | Stop::Stamp) => break Some(Pause::Long),
            }
        };
        piece.done = message.items.is_empty();
        if !piece.items.is_empty() {
            pieces.push(piece);
        }
        Ok(pause)
    }

    fn must_pause(&self, item: &Item, loads: u32, backlog: usize) -> Option<Pause> {
        if self.commands >= DRAIN_COMMANDS_MAX || self.drain.bytes() >= DRAIN_BYTES_MAX {
            return Some(Pause::Full);
        }
        if backlog > self.limits.backlog_bytes_max {
            return Some(Pause::Backlog);
        }
        if self.access == Access::Disk {
            return (self.commands > 0).then_some(Pause::Full);
        }
        (loads >= LOADS_MAX || item.is_long()).then_some(Pause::Long)
    }

    fn run_item(&mut self, item: &Item, seed: u64, piece: &mut Piece) -> Result<Result<(), Stop>, Error> {
        self.commands += item.commands();
        self.drain.allow(self.limits.entry_bytes_max);
        let before = ReplyWriter::new(&mut piece.reply, Protocol::Resp2).mark();
        let result = match item {
            Item::Call(call) => {
                self.run_call(call, seed, &piece.recipient, &mut piece.reply, self.reply_bytes_max).map(drop)
            }
            Item::Transaction(transaction) => self.run_transaction(transaction, seed, piece),
            Item::Watch(watch) => self.run_watch(watch, &mut piece.reply),
            Item::Reply(reply) => {
                piece.reply.append(reply.duplicate());
                Ok(())
            }
        };
        match result {
            Ok(()) => {
                if item.is_silent() {
                    ReplyWriter::new(&mut piece.reply, Protocol::Resp2).truncate(before);
                    piece.deferred = None;
                }
                Ok(Ok(()))
            }
            Err(Failure::Stop(stop)) => Ok(Err(stop)),
            Err(Failure::Local(error)) => Err(Error::Tree(error)),
            Err(Failure::Client(error)) => unreachable!("a client's error was not answered: {error}"),
        }
    }

    /// Runs one command, with a reply of at most `reply_bytes_max`. What it did is undone if it fails; the error is its
    /// reply, and is returned.
    fn run_call(
        &mut self,
        call: &Call,
        seed: u64,
        recipient: &Arc<dyn Recipient>,
        reply: &mut Outbox,
        reply_bytes_max: usize,
    ) -> keyspace::Result<Option<CommandError>> {
        let mark = self.drain.mark(&self.leadership.state);
        let mut writer = ReplyWriter::bounded(reply, call.protocol, reply_bytes_max);
        let reply_mark = writer.mark();
        let result = self
            .call_handler(call, seed, &mut writer)
            .and_then(|()| self.drain.check_bytes())
            .and_then(|()| Ok(writer.check()?));
        self.stopwatch.ran(call, recipient);
        match result.and_then(|()| self.mark_watches(mark)) {
            Ok(()) => Ok(None),
            Err(Failure::Client(error)) => {
                writer.truncate(reply_mark);
                let denied = matches!(error, CommandError::EffectsTooLarge | CommandError::DiskFull);
                self.denied += u64::from(denied);
                let text = error.text().into_owned();
                writer.error(&text);
                self.stopwatch.failed(call.command, text);
                self.drain.fail(&mut self.leadership.overlay, &mut self.leadership.state, mark);
                Ok(Some(error))
            }
            Err(failure) => {
                writer.truncate(reply_mark);
                self.undo(mark);
                Err(failure)
            }
        }
    }

    fn call_handler(&mut self, call: &Call, seed: u64, reply: &mut ReplyWriter<'_>) -> keyspace::Result<()> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let needed = match call.command.handler {
            Handler::Write(_) if call.command.flags & flag::DENY_OOM != 0 => Accepted::Writes,
            Handler::Write(_) => Accepted::Deletes,
            Handler::Read(_) | Handler::Session(_) | Handler::Node(_) | Handler::Transaction(_) => {
                Accepted::Reads
            }
        };
        if self.accepted < needed {
            return Err(CommandError::DiskFull.into());
        }
        let mut txn = WriteTxn::new(
            self.view,
            self.access,
            &mut self.leadership.overlay,
            &mut self.drain,
            &mut self.leadership.state,
            &mut rng,
            call.db,
        );
        match call.command.handler {
            Handler::Write(run) => run(&mut txn, &call.args, reply),
            Handler::Read(run) => txn.read(|view| {
                let result = run(view, &call.args, reply);
                self.stopwatch.looked_up(view.lookups());
                result
            }),
            Handler::Session(_) | Handler::Node(_) | Handler::Transaction(_) => {
                unreachable!("dispatch sends commands on data only")
            }
        }
    }

    /// Runs EXEC: all or nothing as an entry, each command's error its own.
    fn run_transaction(
        &mut self,
        transaction: &Transaction,
        seed: u64,
        piece: &mut Piece,
    ) -> keyspace::Result<()> {
        let mark = self.drain.mark(&self.leadership.state);
        let mut writer = ReplyWriter::new(&mut piece.reply, transaction.protocol);
        let reply_mark = writer.mark();
        if self.is_spoiled(transaction)? {
            writer.null_array();
            return Ok(());
        }
        writer.array(transaction.steps.len());
        let mut room = self.reply_bytes_max;
        let mut deferred: Option<Deferred> = None;
        let mut seeds = fastrand::Rng::with_seed(seed);
        for step in &transaction.steps {
            match step {
                Step::Deferred(args) => {
                    deferred.get_or_insert_default().steps.push((args.clone(), Outbox::new()));
                }
                Step::Call(call) => {
                    let reply = match deferred.as_mut().and_then(|deferred| deferred.steps.last_mut()) {
                        Some((_, reply)) => reply,
                        None => &mut piece.reply,
                    };
                    let replied = reply.len();
                    let result = self.run_call(call, seeds.u64(..), &piece.recipient, reply, room);
                    room = room.saturating_sub(reply.len() - replied);
                    // All or nothing: what is too large is discarded whole, and as soon as it is too much.
                    let discarded = match result {
                        Err(failure) => Err(failure),
                        Ok(Some(CommandError::EffectsTooLarge)) => Ok(EFFECTS_TOO_LARGE),
                        Ok(Some(CommandError::ReplyTooLarge)) => Ok(REPLIES_TOO_LARGE),
                        Ok(Some(CommandError::DiskFull)) => Ok(NO_ROOM),
                        Ok(_) => continue,
                    };
                    let mut writer = ReplyWriter::new(&mut piece.reply, transaction.protocol);
                    writer.truncate(reply_mark);
                    if discarded.is_ok() {
                        self.drain.fail(&mut self.leadership.overlay, &mut self.leadership.state, mark);
                    } else {
                        self.undo(mark);
                    }
                    return discarded.map(|text| writer.error(text));
                }
            }
        }
        piece.deferred = deferred;
        Ok(())
    }

    /// Whether something watched has changed, is due, or was watched under another leadership. **Rule (WATCH)**.
    fn is_spoiled(&mut self, transaction: &Transaction) -> keyspace::Result<bool> {
        let Some(watch) = &transaction.watch else { return Ok(false) };
        if watch.is_dirty() {
            return Ok(true);
        }
        for watched in watch.keys() {
            if watched.term != self.leadership.term {
                return Ok(true);
            }
            let mark = self.drain.mark(&self.leadership.state);
            self.delete_if_due(watched.db, &watched.key)?;
            if self.drain.touched_since(mark).next().is_some() {
                self.mark_watches_of_keys(mark);
                if self.drain.check_bytes().is_err() {
                    self.drain.fail(&mut self.leadership.overlay, &mut self.leadership.state, mark);
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn run_watch(&mut self, call: &WatchCall, reply: &mut Outbox) -> keyspace::Result<()> {
        let mark = self.drain.mark(&self.leadership.state);
        for key in &call.keys {
            // A key that is due already is absent from now on; one that becomes due later spoils the EXEC.
            match self.delete_if_due(call.db, key).and_then(|()| self.drain.check_bytes()) {
                Ok(()) => {}
                Err(Failure::Client(error)) => {
                    self.drain.fail(&mut self.leadership.overlay, &mut self.leadership.state, mark);
                    ReplyWriter::new(reply, call.protocol).error(error.text());
                    return Ok(());
                }
                Err(failure) => {
                    self.undo(mark);
                    return Err(failure);
                }
            }
        }
        self.mark_watches_of_keys(mark);
        for key in &call.keys {
            let watched = Watched { term: self.leadership.term, db: call.db, key: key.clone() };
            let meta_key = self.leadership.state.key(call.db, key);
            self.leadership.watches.register(&call.watch, watched, &meta_key);
        }
        ReplyWriter::new(reply, call.protocol).ok();
        Ok(())
    }

    fn delete_if_due(&mut self, db: u32, name: &[u8]) -> keyspace::Result<()> {
        let mut rng = fastrand::Rng::with_seed(0);
        let mut txn = self.txn(&mut rng, db);
        let key = txn.key(name);
        txn.exists(&key).map(drop)
    }

    fn txn<'b>(&'b mut self, rng: &'b mut fastrand::Rng, db: u32) -> WriteTxn<'b> {
        WriteTxn::new(
            self.view,
            self.access,
            &mut self.leadership.overlay,
            &mut self.drain,
            &mut self.leadership.state,
            rng,
            db,
        )
    }

    fn undo(&mut self, mark: keyspace::Mark) {
        self.drain.rollback(&mut self.leadership.overlay, &mut self.leadership.state, mark);
    }

    /// Tells the watches of what was done since `mark`.
    fn mark_watches(&mut self, mark: keyspace::Mark) -> keyspace::Result<()> {
        if self.leadership.watches.is_empty() {
            return Ok(());
        }
        self.mark_watches_of_keys(mark);
        self.mark_watches_of_databases(mark)
    }

    /// Tells the watches of the keys written since `mark`.
    fn mark_watches_of_keys(&mut self, mark: keyspace::Mark) {
        let leadership = &mut *self.leadership;
        if leadership.watches.is_empty() {
            return;
        }
        for key in self.drain.touched_since(mark) {
            leadership.watches.touched(key, &leadership.state);
        }
    }

    /// Tells the watches of the databases that were emptied or swapped since `mark`. As in Redis, a watch is marked only
    /// if its key was there before, or is there now; any other goes on with the keyspace that its database has become.
    fn mark_watches_of_databases(&mut self, mark: keyspace::Mark) -> keyspace::Result<()> {
        let changed = self.drain.databases_changed_since(mark, &self.leadership.state);
        if changed.is_empty() {
            return Ok(());
        }
        for (name, watcher) in self.leadership.watches.in_databases(&changed) {
            let db = watcher.db();
            let before = self.leadership.state.key_in(changed[&db], &name);
            let after = self.leadership.state.key(db, &name);
            let mut rng = fastrand::Rng::with_seed(0);
            let txn = self.txn(&mut rng, db);
            if txn.is_recorded(&before)? || txn.is_alive(&after)? {
                watcher.mark();
            } else {
                self.leadership.watches.follow(watcher, &after);
            }
        }
        Ok(())
    }

    /// Deletes keys that are due; `false` if that must wait for the disk.
    fn expire(&mut self) -> Result<bool, Error> {
        let mark = self.drain.mark(&self.leadership.state);
        let mut rng = fastrand::Rng::with_seed(0);
        match keyspace::delete_due(&mut self.txn(&mut rng, 0), EXPIRED_KEYS_MAX) {
            Ok(expired) => {
                self.expired += expired as u64;
                self.mark_watches_of_keys(mark);
                Ok(true)
            }
            Err(Failure::Stop(_)) => {
                self.undo(mark);
                Ok(false)
            }
            Err(Failure::Local(error)) => Err(Error::Tree(error)),
            Err(Failure::Client(error)) => unreachable!("no client deletes due keys: {error}"),
        }
    }

    /// When the next key is due. If only the disk knows, that is at once: then a thread that may wait looks again.
    fn next_due(&self) -> Result<Option<u64>, Error> {
        let Leadership { overlay, state, .. } = &*self.leadership;
        match keyspace::next_due(self.view, self.access, overlay, state) {
            Ok(due) => Ok(due),
            Err(Failure::Stop(_)) => Ok(Some(self.drain.stamp())),
            Err(Failure::Local(error)) => Err(Error::Tree(error)),
            Err(Failure::Client(error)) => unreachable!("no client asks when keys are due: {error}"),
        }
    }
}

impl Item {
    /// How many commands it counts for.
    fn commands(&self) -> usize {
        match self {
            Self::Transaction(transaction) => 1 + transaction.steps.len(),
            Self::Call(_) | Self::Watch(_) | Self::Reply(_) => 1,
        }
    }

    /// Whether its reply is dropped.
    fn is_silent(&self) -> bool {
        match self {
            Self::Call(call) => call.silent,
            Self::Transaction(transaction) => transaction.silent,
            Self::Watch(watch) => watch.silent,
            Self::Reply(_) => false,
        }
    }

    /// Whether it may take so long that others should not wait for it.
    fn is_long(&self) -> bool {
        match self {
            Self::Call(call) => LONG_ARGS_BYTES <= call.args.memory_bytes() || call.command.long(&call.args),
            Self::Transaction(transaction) => {
                let calls = || {
                    transaction.steps.iter().filter_map(|step| match step {
                        Step::Call(call) => Some(call),
                        Step::Deferred(_) => None,
                    })
                };
                transaction.steps.len() > 1000
                    || LONG_ARGS_BYTES <= calls().map(|call| call.args.memory_bytes()).sum()
                    || calls().any(|call| call.command.long(&call.args))
            }
            Self::Watch(watch) => watch.keys.len() > 1000,
            Self::Reply(_) => false,
        }
    }
}
