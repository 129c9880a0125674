//! What becomes of a request: the gates in one visible list, then the ways it can go.
//!
//! Commands of a connection take effect in the order sent. **Rule (order)**. A [`Batch`] takes what has arrived, in
//! order: commands on the session act at once; reads before the first command that needs the executor run here, on the
//! published view; the first one that needs the executor and everything after it becomes one message. What looks at the
//! node, or must wait for the disk, ends the batch and runs when the message is answered.

mod gates;
mod given_back;
mod in_flight;
mod redirect;
mod services;
mod tally;
mod transaction;

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use arc_swap::Guard;

use self::{gates::GATES, tally::Tally};
pub use self::{
    given_back::{part, send_elsewhere, try_again},
    in_flight::InFlight,
    redirect::refuse_reads,
    services::{Node, Saves, Services},
};
use crate::{
    bugs::{self, Bug},
    command::{self, Command, Handler, ReadHandler, Transaction},
    executor::{Call, Item, Now, Published, Watch},
    keyspace::{Failure, Stop, View},
    lsm::{Access, Value},
    metrics::Counter,
    resp::{Args, Limits, Outbox, ReplyWriter},
    session::{ClientInfo, Session},
};

/// One client's side of the talk, between batches.
pub struct Conversation {
    /// Who it is and what it has chosen.
    pub session: Session,
    /// What it watches since its last EXEC.
    watch: Option<Arc<Watch>>,
    /// The view that all reads of a batch share, and when it was taken; none between batches. **Rule (permit)**.
    published: Option<(Guard<Arc<Published>>, Now)>,
}

impl Conversation {
    /// A conversation in which nothing has been said.
    pub fn new(session: Session) -> Self {
        Self { session, watch: None, published: None }
    }

    /// What was published when a permit was made serves no request that arrives after that.
    fn forget_published(&mut self) {
        if !bugs::on(Bug::PermitKept) {
            self.published = None;
        }
    }
}

/// A command on data that runs on a thread that may wait.
#[derive(Debug)]
pub struct ColdRead(Call);

impl ColdRead {
    /// What it takes in memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.0.args.memory_bytes()
    }

    /// The same command for the executor.
    pub fn into_item(self) -> Item {
        Item::Call(self.0)
    }
}

/// A request that is longer, in bytes, is not worth looking ahead for: its own work hides the wait for memory.
const PREFETCH_BYTES_MAX: usize = 4096;

/// What remains to be done when the message is answered.
pub enum Tail {
    /// Reads that need the disk, or take long, in order.
    Cold(Arc<Published>, VecDeque<ColdRead>),
    /// Reads that wait for a permit, which this node has to ask others for, in order.
    Unpermitted(VecDeque<ColdRead>),
    /// A command that looks at the node.
    Node(&'static Command, Args),
}

/// Buffers that one batch after the other uses, whoever's it is: those of a thread.
#[derive(Default)]
pub struct Workspace {
    /// The replies of a batch that has been finished.
    pub replies: Outbox,
    value: Value,
}

/// What has arrived of one client, in order, as far as it can be taken at once.
pub struct Batch<'a> {
    services: &'a Services,
    conversation: &'a mut Conversation,
    /// Replies that need nobody else; they go first.
    pub replies: Outbox,
    /// What the executor gets: empty, or everything from the first command on that needs it.
    pub items: VecDeque<Item>,
    /// What ends the batch.
    pub tail: Option<Tail>,
    /// Bytes of the transactions among [`Batch::items`], which arrived earlier than their EXEC.
    pub transaction_bytes: usize,
    tally: Tally<'a>,
    /// What reads read into.
    value: Value,
    /// The longest reply of one read.
    reply_bytes_max: usize,
}

impl<'a> Batch<'a> {
    /// An empty batch.
    pub fn new(services: &'a Services, conversation: &'a mut Conversation, workspace: Workspace) -> Self {
        conversation.forget_published();
        let settings = services.config.settings();
        Self {
            services,
            conversation,
            replies: workspace.replies,
            items: VecDeque::new(),
            tail: None,
            transaction_bytes: 0,
            tally: Tally::start(services, &settings),
            value: workspace.value,
            reply_bytes_max: settings.reply_bytes_max,
        }
    }

    /// What the client may send now; an AUTH in the batch has changed it.
    pub fn limits(&self) -> Limits {
        self.conversation.session.limits()
    }

    /// Whether a request, if it is taken next, is a read of few keys that runs here.
    pub fn is_read(&self, args: &Args) -> bool {
        self.items.is_empty()
            && self.tail.is_none()
            && self.conversation.session.queue.is_none()
            && self.conversation.session.authenticated()
            && args.memory_bytes() <= PREFETCH_BYTES_MAX
            && command::resolve(args).is_ok_and(|command| matches!(command.handler, Handler::Read(_)))
    }

    /// Lets the tree bring near what these requests will look up, if they are reads.
    pub fn prefetch<'r>(&mut self, requests: impl Iterator<Item = &'r Args> + Clone) {
        if requests.clone().nth(1).is_none() {
            return;
        }
        let Some((published, now)) = self.take_published() else { return };
        let db = self.conversation.session.db;
        let names = requests.flat_map(|args| {
            let command =
                command::resolve(args).ok().filter(|command| matches!(command.handler, Handler::Read(_)));
            let positions = command.map(|command| command.key_positions(args)).unwrap_or_default();
            positions.into_iter().map(move |position| (db, &args[position]))
        });
        published.view(Access::Memory, db, now, 0).prefetch(names);
        self.conversation.published = Some((published, now));
    }

    /// Takes one request. `Break` gives it back or ends the batch: no other may be taken now.
    pub fn take(&mut self, args: Args) -> ControlFlow<Option<Args>> {
        if let Some(Tail::Cold(..) | Tail::Unpermitted(_)) = &self.tail {
            return self.take_behind_reads(args);
        }
        let command = match command::resolve(&args) {
            Ok(command) => command,
            Err(error) => {
                self.refuse_unresolved(&args, &error.text());
                return ControlFlow::Continue(());
            }
        };
        let session = &mut self.conversation.session;
        session.last_command = command.name;
        session.commands += 1;
        if let Some(refusal) = GATES.iter().find_map(|gate| gate(self.services, session, command, &args)) {
            if let Some(queue) = &mut session.queue {
                queue.refused = true;
            }
            self.reply(|writer| writer.error(&refusal));
            self.tally.rejected(Some(command), refusal.as_bytes());
            return ControlFlow::Continue(());
        }
        if !self.services.shard.core().leads() {
            self.take_as_follower(command, args)?;
        } else {
            self.queue_or_route(command, args)?;
        }
        // What stands behind the last command of a client is never run: it relies on what that was refused.
        if self.conversation.session.closing { ControlFlow::Break(None) } else { ControlFlow::Continue(()) }
    }

    /// Takes a command that is run here.
    fn queue_or_route(&mut self, command: &'static Command, args: Args) -> ControlFlow<Option<Args>> {
        if self.conversation.session.queue.is_some() && !transaction::acts_at_once(command) {
            self.queue(&args);
            return ControlFlow::Continue(());
        }
        self.route(command, args)
    }

    fn route(&mut self, command: &'static Command, args: Args) -> ControlFlow<Option<Args>> {
        match command.handler {
            Handler::Session(run) => {
                let mut reply = Outbox::new();
                let session = &mut self.conversation.session;
                session.leads = self.services.shard.core().leads();
                let mut writer = ReplyWriter::new(&mut reply, session.protocol);
                let result = run(session, &args, &mut writer);
                self.tally.ran(command, &args, reply.len(), (0, 0));
                self.finish_session_command(command, reply, result);
            }
            Handler::Read(run) if self.items.is_empty() || bugs::on(Bug::ReadOvertakesWrite) => {
                return self.read(command, run, args);
            }
            Handler::Read(_) | Handler::Write(_) => {
                let call = self.call(command, args);
                self.push(Item::Call(call));
            }
            Handler::Transaction(kind) => {
                self.transaction(kind, &args);
                if self.ends_with_deferred_steps() {
                    return ControlFlow::Break(None);
                }
            }
            Handler::Node(_) => {
                self.tail = Some(Tail::Node(command, args));
                return ControlFlow::Break(None);
            }
        }
        ControlFlow::Continue(())
    }

    fn finish_session_command(
        &mut self,
        command: &'static Command,
        mut reply: Outbox,
        result: Result<(), Failure>,
    ) {
        let session = &mut self.conversation.session;
        if let Err(failure) = result {
            let error = failure.text();
            if error.starts_with(b"WRONGPASS") {
                self.services.stats.count(Counter::AuthFailures, 1);
            }
            reply.clear();
            ReplyWriter::new(&mut reply, session.protocol).error(&error);
            self.tally.failed(command, &error);
        }
        if session.watched == 0 {
            self.conversation.watch = None;
        }
        if self.conversation.session.keeps_reply() {
            self.append(reply);
        }
    }

    /// Runs a read on the published view, in memory only.
    fn read(&mut self, command: &'static Command, run: ReadHandler, args: Args) -> ControlFlow<Option<Args>> {
        let Some((published, now)) = self.take_published() else {
            return self.read_when_permitted(command, args);
        };
        let session = &self.conversation.session;
        let seed = fastrand::u64(..);
        let bytes_before = self.replies.len();
        let view = published.view(Access::Memory, session.db, now, seed);
        view.set_buffer(std::mem::take(&mut self.value));
        let mut writer = ReplyWriter::bounded(&mut self.replies, session.protocol, self.reply_bytes_max);
        let mark = writer.mark();
        let result = if command.long(&args) {
            Err(Failure::Stop(Stop::Long))
        } else {
            run_read(run, &view, &args, &mut writer)
        };
        let lookups = view.lookups();
        self.value = view.take_buffer();
        drop(view);
        match result {
            Ok(()) => {
                self.tally.ran(command, &args, self.replies.len() - bytes_before, lookups);
                if !self.conversation.session.keeps_reply() {
                    ReplyWriter::new(&mut self.replies, self.conversation.session.protocol).truncate(mark);
                }
            }
            Err(Failure::Client(error)) => {
                let error = error.text();
                writer.truncate(mark);
                writer.error(&error);
                self.tally.ran(command, &args, self.replies.len() - bytes_before, lookups);
                self.tally.failed(command, &error);
                if !self.conversation.session.keeps_reply() {
                    ReplyWriter::new(&mut self.replies, self.conversation.session.protocol).truncate(mark);
                }
            }
            Err(Failure::Stop(stop @ (Stop::Disk | Stop::Long))) => {
                let counter = if stop == Stop::Disk { Counter::StopsDisk } else { Counter::StopsLong };
                self.services.stats.count(counter, 1);
                writer.truncate(mark);
                let cold = ColdRead(self.call(command, args));
                self.tail = Some(Tail::Cold(Arc::clone(&published), VecDeque::from([cold])));
            }
            Err(Failure::Stop(Stop::Stamp)) => {
                self.services.stats.count(Counter::StopsStamp, 1);
                writer.truncate(mark);
                let call = self.call(command, args);
                self.push(Item::Call(call));
            }
            Err(Failure::Local(error)) => panic!("the data cannot be read: {error}"),
        }
        self.conversation.published = Some((published, now));
        ControlFlow::Continue(())
    }

    /// Behind reads that wait only reads join the batch that may run with them, in order.
    fn take_behind_reads(&mut self, args: Args) -> ControlFlow<Option<Args>> {
        let session = &self.conversation.session;
        let read = command::resolve(&args).ok().filter(|command| {
            session.queue.is_none()
                && matches!(command.handler, Handler::Read(_))
                && GATES.iter().all(|gate| gate(self.services, session, command, &args).is_none())
                && self.joins_reads(command, &args)
        });
        let Some(command) = read else { return ControlFlow::Break(Some(args)) };
        self.conversation.session.last_command = command.name;
        self.conversation.session.commands += 1;
        let cold = ColdRead(self.call(command, args));
        if let Some(Tail::Cold(_, reads) | Tail::Unpermitted(reads)) = &mut self.tail {
            reads.push_back(cold);
        }
        ControlFlow::Continue(())
    }

    /// The view that all reads of the batch share: they had all arrived when the permit was made.
    /// Each puts it back.
    fn take_published(&mut self) -> Option<(Guard<Arc<Published>>, Now)> {
        if let Some(published) = self.conversation.published.take() {
            return Some(published);
        }
        let permit = self.services.shard.read_permit()?;
        Some((self.services.shard.published(&permit)?, self.services.shard.now()))
    }

    fn call(&mut self, command: &'static Command, args: Args) -> Call {
        let session = &mut self.conversation.session;
        Call { command, args, db: session.db, protocol: session.protocol, silent: !session.keeps_reply() }
    }

    fn refuse_unresolved(&mut self, args: &Args, error: &[u8]) {
        let session = &mut self.conversation.session;
        session.commands += 1;
        if let Some(queue) = &mut session.queue {
            queue.refused = true;
        }
        self.tally.rejected(None, error);
        let session = &self.conversation.session;
        let command = command::find(&args[0]);
        if command.is_some() && !session.authenticated() {
            self.reply(|writer| writer.error(gates::NOAUTH));
        } else if matches!(
            command.map(|command| command.handler),
            Some(Handler::Transaction(Transaction::Exec))
        ) {
            self.abort(error);
        } else {
            self.reply(|writer| writer.error(error));
        }
    }

    /// A reply that is finished now, in its place.
    fn reply(&mut self, write: impl FnOnce(&mut ReplyWriter<'_>)) {
        let session = &mut self.conversation.session;
        let protocol = session.protocol;
        if !session.keeps_reply() {
            return;
        }
        if self.items.is_empty() {
            write(&mut ReplyWriter::new(&mut self.replies, protocol));
        } else {
            let mut reply = Outbox::new();
            write(&mut ReplyWriter::new(&mut reply, protocol));
            self.append(reply);
        }
    }

    fn append(&mut self, reply: Outbox) {
        if self.items.is_empty() {
            self.replies.append(reply);
        } else if let Some(Item::Reply(last)) = self.items.back_mut() {
            last.append(reply);
        } else {
            self.items.push_back(Item::Reply(reply));
        }
    }

    /// The batch in parts: what is sent at once, what the executor gets, and what is left to do after that.
    pub fn finish(self) -> (Workspace, VecDeque<Item>, Option<Tail>) {
        self.tally.finish(self.services, &self.conversation.session);
        self.conversation.forget_published();
        (Workspace { replies: self.replies, value: self.value }, self.items, self.tail)
    }

    fn push(&mut self, item: Item) {
        self.items.push_back(item);
    }
}

/// Runs a read whose reply may not be longer than `out` lets it.
fn run_read(
    run: ReadHandler,
    view: &View<'_>,
    args: &Args,
    out: &mut ReplyWriter<'_>,
) -> Result<(), Failure> {
    run(view, args, out)?;
    Ok(out.check()?)
}

/// What became of cold reads.
#[derive(Debug)]
pub struct ColdReads {
    /// The replies of those that ran.
    pub replies: Outbox,
    /// Those that did not.
    pub rest: VecDeque<ColdRead>,
    /// Whether the first of the rest, and so all of them, must go to the executor.
    pub needs_executor: bool,
}

/// Runs reads of `client` that may wait for the disk, in order, until their replies exceed `replies_bytes_max`.
pub fn run_cold_reads(
    services: &Services,
    client: &ClientInfo,
    published: &Published,
    mut reads: VecDeque<ColdRead>,
    replies_bytes_max: usize,
) -> ColdReads {
    let mut replies = Outbox::new();
    let mut needs_executor = false;
    while let Some(ColdRead(call)) = reads.front()
        && replies.len() <= replies_bytes_max
    {
        let Handler::Read(run) = call.command.handler else { unreachable!("only reads are cold reads") };
        let view = published.view(Access::Disk, call.db, services.shard.now(), fastrand::u64(..));
        let started = std::time::Instant::now();
        let reply_bytes_max = services.config.settings().reply_bytes_max;
        let mut writer = ReplyWriter::bounded(&mut replies, call.protocol, reply_bytes_max);
        let mark = writer.mark();
        let result = run_read(run, &view, &call.args, &mut writer);
        let took = started.elapsed();
        services.stats.local(|local| tally::count_one(local, call, took, view.lookups(), &result));
        match result {
            Ok(()) => {}
            Err(Failure::Client(error)) => {
                writer.truncate(mark);
                writer.error(error.text());
            }
            Err(Failure::Stop(_)) => {
                writer.truncate(mark);
                needs_executor = true;
                break;
            }
            Err(Failure::Local(error)) => panic!("the data cannot be read: {error}"),
        }
        services.note_slow(client, &call.args, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if call.silent {
            writer.truncate(mark);
        }
        reads.pop_front();
    }
    ColdReads { replies, rest: reads, needs_executor }
}
