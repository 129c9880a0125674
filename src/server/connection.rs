//! One connection: socket → requests → batches; it goes on reading while it is being answered, but parses nothing.

use std::{cell::Cell, collections::VecDeque, ops::ControlFlow, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{io::AsyncReadExt, net::TcpStream, sync::oneshot};

use super::{
    client::Client,
    node,
    socket::{Reader, Socket},
};
use crate::{
    cluster::Door,
    dispatch::{self, Batch, ColdRead, Conversation, Services, Tail, Workspace},
    driver::Shard,
    executor::{Deferred, Input, Item, Message, Published, Recipient},
    metrics::Counter,
    raft::Role,
    resp::{Args, Outbox, ProtocolError, RequestCodec},
    session::{Buffers, Endpoint, Session},
};

/// Bytes of replies that a client has not taken, above which nothing more is done for it.
const UNSENT_MAX: usize = 1024 * 1024;

/// Bytes that a client may send ahead of its answers while others wait for memory.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// Reads of one client that are parsed before the first of them runs.
const READS_AHEAD_MAX: usize = 32;

/// How long a client whose commands this node cannot run waits to hear who can. Elections are shorter.
const LEADER_PATIENCE: Duration = Duration::from_secs(2);

/// How long a command waits, from one leadership to the next, before its client is to try again.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);

/// [`Connection::unsent_check`], but for tests.
const UNSENT_CHECK: Duration = Duration::from_secs(1);

/// How many checks in a row a client may take none of them and have sent all that it may.
const STUCK_CHECKS_MAX: u32 = 10;

thread_local! {
    /// What the batches of a thread use one after the other, so that an idle connection keeps none of it.
    static WORKSPACE: Cell<Workspace> = Cell::default();
}

/// What a connection's task keeps between batches.
pub(super) struct Connection {
    services: Arc<Services>,
    client: Arc<Client>,
    conversation: Conversation,
    reader: Reader,
    codec: RequestCodec,
    buffer: BytesMut,
    /// What was parsed and is not taken yet; an error is the last.
    ahead: VecDeque<Result<Args, ProtocolError>>,
    received: u64,
    /// When the last batch ended, in µs of CLOCK_BOOTTIME.
    last_batch_us: u64,
    /// The client has sent its last byte.
    ended: bool,
    /// How often a client is looked at that does not take its replies.
    unsent_check: Duration,
    /// Checks in a row at which the client was stuck, and the bytes that it had taken by then.
    stuck: (u32, u64),
}

/// What a batch leaves to be done.
struct Taken {
    /// What the executor is asked.
    items: VecDeque<Item>,
    /// What that takes of memory.
    bytes: usize,
    tail: Option<Tail>,
    /// There may be more requests.
    more: bool,
    /// The client broke the protocol.
    refused: Option<ProtocolError>,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// By the client, or after QUIT: what is unsent is still written.
    Politely,
    /// Broken, killed, too slow, or not to be answered truthfully any more.
    AtOnce,
}

impl Connection {
    /// Prepares the connection of `session`.
    pub(super) fn new(services: Arc<Services>, socket: impl Into<Socket>, session: Session) -> Self {
        let limit = services.config.settings().client_output_buffer_limit.normal;
        let (reader, writer) = socket.into().into_split();
        let client = Arc::new(Client::new(Arc::clone(session.info()), writer, &services, limit));
        let mut connection = Self {
            services,
            client,
            conversation: Conversation::new(session),
            reader,
            codec: RequestCodec::default(),
            buffer: BytesMut::new(),
            ahead: VecDeque::new(),
            received: 0,
            last_batch_us: 0,
            ended: false,
            unsent_check: UNSENT_CHECK,
            stuck: (0, 0),
        };
        connection.refresh_limits();
        connection
    }

    /// Serves the client until it goes, or has to.
    pub(super) async fn run(mut self) {
        let close = match self.serve().await {
            Ok(never) => match never {},
            Err(close) => close,
        };
        if close == Close::Politely {
            self.flush().await;
        }
        self.client.abandon();
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, Close> {
        loop {
            self.run_batch().await?;
            if self.conversation.session.closing {
                return Err(Close::Politely);
            }
            if self.ended {
                return Err(Close::Politely);
            }
            self.read().await?;
        }
    }

    /// Takes what has arrived, until there is no complete request left.
    async fn run_batch(&mut self) -> Result<(), Close> {
        loop {
            let received = self.received;
            let Taken { items, bytes, tail, mut more, refused } = self.take_batch();
            if !items.is_empty() {
                self.ask_executor(items, bytes).await?;
            }
            if let Some(tail) = tail {
                self.run_tail(tail).await?;
            }
            self.refresh_limits();
            self.wait_until_sent().await?;
            if let Some(error) = refused {
                if error == ProtocolError::RequestTooLong {
                    self.services.stats.count(Counter::QueryBufferDisconnections, 1);
                }
                if let Some(reply) = error.reply() {
                    let mut last = Outbox::new();
                    last.tail().extend_from_slice(&reply);
                    self.client.send(&mut last);
                }
                return Err(Close::Politely);
            }
            // What was under way is answered; what else has come is not begun.
            if self.conversation.session.info().is_killed() {
                return Err(Close::Politely);
            }
            // What was read while the executor was asked may hold whole requests.
            more |= self.received != received;
            if !more || self.conversation.session.closing {
                break;
            }
        }
        self.publish();
        Ok(())
    }

    /// Takes as much as one batch can, and sends the replies that need nobody else.
    fn take_batch(&mut self) -> Taken {
        let mut batch = Batch::new(&self.services, &mut self.conversation, WORKSPACE.take());
        let (mut bytes, mut more, mut refused) = (0, true, None);
        loop {
            let next = match self.ahead.pop_front() {
                Some(next) => next.map(Some),
                None => self.codec.next_request(&mut self.buffer),
            };
            match next {
                Ok(Some(args)) => {
                    if self.ahead.is_empty() && !self.buffer.is_empty() && batch.is_read(&args) {
                        look_ahead(&mut self.codec, &mut self.buffer, &mut batch, &args, &mut self.ahead);
                    }
                    let request_bytes = args.memory_bytes();
                    let taken = batch.take(args);
                    if !batch.items.is_empty() {
                        bytes += request_bytes;
                    }
                    if let ControlFlow::Break(back) = taken {
                        if let Some(args) = back {
                            self.ahead.push_front(Ok(args));
                        }
                        break;
                    }
                    // What stands behind an AUTH, in the same packet too, is read with the limits of a user.
                    if !self.codec.limits().authenticated {
                        self.codec.set_limits(batch.limits());
                    }
                    if batch.replies.len() > UNSENT_MAX {
                        break;
                    }
                }
                Ok(None) => {
                    more = false;
                    break;
                }
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        bytes += batch.transaction_bytes;
        let (mut workspace, items, tail) = batch.finish();
        if !workspace.replies.is_empty() {
            self.client.send(&mut workspace.replies);
        }
        WORKSPACE.set(workspace);
        Taken { items, bytes, tail, more, refused }
    }

    /// Sends a message and waits until it is answered; EXEC replies that need this connection are completed.
    async fn ask_executor(&mut self, mut items: VecDeque<Item>, bytes: usize) -> Result<(), Close> {
        let began_us = self.services.shard.now().boot_us;
        loop {
            if !self.services.in_flight.try_take(bytes) {
                self.wait_for_memory(bytes).await?;
                if !self.services.shard.core().leads() {
                    // That took its time, and another may lead by now.
                    self.services.in_flight.give_back(bytes);
                    return self.send_elsewhere(items);
                }
            }
            self.client.begin_message(bytes);
            let recipient: Arc<dyn Recipient> = Arc::<Client>::clone(&self.client);
            self.services.shard.submit(Input::Message(Message::new(recipient, items)));
            items = self.wait_for_answer().await?;
            if items.is_empty() {
                return Ok(());
            }
            // Who leads next is known soon, and may be this node again.
            let mut members = self.services.shard.core().watch_members();
            let known = members.wait_for(|members| members.leader.is_some());
            let leads = match tokio::time::timeout(LEADER_PATIENCE, known).await {
                Ok(Ok(members)) => members.role == Role::Leader,
                Ok(Err(_)) | Err(_) => false,
            };
            let waited = Duration::from_micros(self.services.shard.now().boot_us.saturating_sub(began_us));
            if !leads {
                return self.send_elsewhere(items);
            }
            if COMMAND_PATIENCE <= waited {
                self.client.send(&mut dispatch::try_again(items));
                return Ok(());
            }
        }
    }

    /// Tells the client where to take what is not for this node to do; one that knows of no cluster is disconnected.
    fn send_elsewhere(&self, items: VecDeque<Item>) -> Result<(), Close> {
        if self.is_plain() {
            self.client.send(&mut dispatch::part(items));
            return Err(Close::Politely);
        }
        self.client.send(&mut dispatch::send_elsewhere(&self.services, items));
        Ok(())
    }

    fn is_plain(&self) -> bool {
        self.conversation.session.door() == Door::Plain
    }

    /// Waits until a message is answered, and returns what of it is not done, since this node does not lead or gets nowhere.
    async fn wait_for_answer(&mut self) -> Result<VecDeque<Item>, Close> {
        loop {
            let progress = self.client.progress(true);
            if progress.broken || progress.lost {
                return Err(Close::AtOnce);
            }
            if !progress.busy {
                if let Some(deferred) = progress.deferred {
                    self.complete(deferred).await?;
                }
                return Ok(progress.given_back);
            }
            self.wait(progress.unsent > 0).await?;
        }
    }

    /// Waits until there is memory for a message, and reads nothing meanwhile.
    async fn wait_for_memory(&mut self, bytes: usize) -> Result<(), Close> {
        let in_flight = Arc::clone(&self.services.in_flight);
        let taken = in_flight.take(bytes);
        tokio::pin!(taken);
        loop {
            let progress = self.client.progress(false);
            if progress.broken {
                return Err(Close::AtOnce);
            }
            let info = self.conversation.session.info();
            tokio::select! {
                biased;
                () = &mut taken => return Ok(()),
                () = info.woken() => {
                    if self.must_go() {
                        return Err(Close::AtOnce);
                    }
                }
                () = self.client.writable(), if progress.unsent > 0 => {}
            }
        }
    }

    /// Waits until the client has taken enough of its replies to be given more.
    async fn wait_until_sent(&mut self) -> Result<(), Close> {
        loop {
            let progress = self.client.progress(false);
            if progress.broken {
                return Err(Close::AtOnce);
            }
            if progress.unsent <= UNSENT_MAX {
                return Ok(());
            }
            self.publish();
            self.wait(true).await?;
        }
    }

    /// Waits for news while a message is in the executor, and goes on reading.
    async fn wait(&mut self, unsent: bool) -> Result<(), Close> {
        let limit = self.services.config.settings().client_query_buffer_limit;
        // While others wait for memory, nobody reads ahead.
        let is_short = self.services.in_flight.waiting() > 0;
        let may_read = !self.ended && self.buffer.len() < if is_short { READ_AHEAD_BYTES } else { limit };
        if may_read {
            self.codec.reserve(&mut self.buffer);
        }
        let info = self.conversation.session.info();
        tokio::select! {
            biased;
            () = info.woken() => {
                if self.must_go() {
                    return Err(Close::AtOnce);
                }
                self.follow_config();
            }
            () = self.client.writable(), if unsent => {}
            () = after(self.unsent_check), if unsent => self.check_unsent(may_read)?,
            read = self.reader.read_buf(&mut self.buffer), if may_read => self.has_read(read)?,
        }
        Ok(())
    }

    /// Whether the connection is to be closed though something of it is under way. A node that stops answers that first, and
    /// says how long that may take.
    fn must_go(&self) -> bool {
        self.conversation.session.info().is_killed() && !self.services.is_stopping()
    }

    /// A client that takes too long to read its replies is closed; so is one that waits until all it sends is taken
    /// before it reads a reply, and has sent more than it may, or if others wait for the memory of its message.
    fn check_unsent(&mut self, may_read: bool) -> Result<(), Close> {
        self.client.check_soft_limit(self.services.shard.now().boot_us / 1000);
        let (sent, _, _) = self.client.sent_and_unsent();
        let keeps_memory = self.services.in_flight.waiting() > 0 && self.client.message_bytes() > 0;
        let is_stuck = ((!may_read && !self.ended) || keeps_memory) && sent == self.stuck.1;
        self.stuck = (if is_stuck { self.stuck.0 + 1 } else { 0 }, sent);
        if self.stuck.0 > STUCK_CHECKS_MAX {
            self.services.stats.count(Counter::QueryBufferDisconnections, 1);
            tracing::warn!(
                client = self.conversation.session.info().id,
                bytes = self.buffer.len(),
                "closing a client that reads no replies and has sent more than it may, or keeps memory from others"
            );
            return Err(Close::AtOnce);
        }
        Ok(())
    }

    fn has_read(&mut self, read: std::io::Result<usize>) -> Result<(), Close> {
        match read {
            Ok(0) => self.ended = true,
            Ok(bytes) => {
                self.received += bytes as u64;
                self.services.stats.local(|local| {
                    local.count(Counter::Reads, 1);
                    local.count(Counter::NetInputBytes, bytes as u64);
                });
            }
            Err(_) => return Err(Close::AtOnce),
        }
        Ok(())
    }

    /// Waits for more of the client, with nothing in the executor. It is read from even while it does not take its
    /// replies: many clients send the whole of a pipeline before they read.
    async fn read(&mut self) -> Result<(), Close> {
        loop {
            let progress = self.client.progress(false);
            if progress.broken {
                return Err(Close::AtOnce);
            }
            let (limit, timeout) = {
                let settings = self.services.config.settings();
                (settings.client_query_buffer_limit, settings.timeout)
            };
            if self.buffer.len() > limit {
                self.services.stats.count(Counter::QueryBufferDisconnections, 1);
                return Err(Close::AtOnce);
            }
            self.codec.reserve(&mut self.buffer);
            let unsent = progress.unsent > 0;
            let info = self.conversation.session.info();
            tokio::select! {
                biased;
                read = self.reader.read_buf(&mut self.buffer) => return self.has_read(read),
                () = info.woken() => {
                    if self.must_go() {
                        return Err(Close::AtOnce);
                    }
                    if self.conversation.session.info().is_killed() {
                        return Err(Close::Politely);
                    }
                    self.follow_config();
                }
                () = self.client.writable(), if unsent => {}
                () = after(self.unsent_check), if unsent => self.check_unsent(true)?,
                () = idle(&self.services.shard, self.last_batch_us, timeout) => return Err(Close::AtOnce),
            }
        }
    }

    async fn run_tail(&mut self, tail: Tail) -> Result<(), Close> {
        match tail {
            Tail::Cold(published, reads) => self.run_cold_reads(published, reads).await,
            Tail::Unpermitted(reads) => self.run_unpermitted_reads(reads).await,
            Tail::Node(command, args) => {
                self.publish();
                let mut replies =
                    node::run(&self.services, &mut self.conversation.session, command, &args).await;
                self.client.send(&mut replies);
                Ok(())
            }
        }
    }

    /// Runs reads on the pool, some at a time, as the client takes their replies. While it takes its time no view is held,
    /// which would keep memory from everybody: what is left goes on with a new permit.
    async fn run_cold_reads(
        &mut self,
        mut published: Arc<Published>,
        mut reads: VecDeque<ColdRead>,
    ) -> Result<(), Close> {
        loop {
            let services = Arc::clone(&self.services);
            let info = Arc::clone(self.conversation.session.info());
            let (answer, answered) = oneshot::channel();
            self.services.shard.run_blocking(move || {
                // The connection may be gone; then nobody wants the answer.
                drop(answer.send(dispatch::run_cold_reads(&services, &info, &published, reads, UNSENT_MAX)));
            });
            let mut done = answered.await.map_err(|_| Close::AtOnce)?;
            self.client.send(&mut done.replies);
            if done.needs_executor {
                return self.send_on(done.rest).await;
            }
            reads = done.rest;
            self.wait_until_sent().await?;
            if reads.is_empty() {
                return Ok(());
            }
            let Some(newer) = self.services.shard.ask_published().await else {
                return self.refuse_reads(reads);
            };
            published = newer;
        }
    }

    /// Runs reads that this node needs the word of others for.
    async fn run_unpermitted_reads(&mut self, reads: VecDeque<ColdRead>) -> Result<(), Close> {
        match self.services.shard.ask_published().await {
            Some(published) => self.run_cold_reads(published, reads).await,
            None => self.refuse_reads(reads),
        }
    }

    fn refuse_reads(&self, reads: VecDeque<ColdRead>) -> Result<(), Close> {
        if self.is_plain() {
            return Err(Close::Politely);
        }
        self.client.send(&mut dispatch::refuse_reads(&self.services, reads));
        Ok(())
    }

    /// Sends reads that cannot run here to the executor.
    async fn send_on(&mut self, reads: VecDeque<ColdRead>) -> Result<(), Close> {
        let bytes = reads.iter().map(ColdRead::memory_bytes).sum();
        self.ask_executor(reads.into_iter().map(ColdRead::into_item).collect(), bytes).await
    }

    /// Runs the commands of a transaction that concern the session or the node, and sends their replies in their places.
    async fn complete(&mut self, deferred: Deferred) -> Result<(), Close> {
        let mut replies = Outbox::new();
        for (args, behind) in deferred.steps {
            replies.append(node::run_deferred(&self.services, &mut self.conversation.session, &args).await);
            replies.append(behind);
        }
        self.client.send(&mut replies);
        Ok(())
    }

    /// Writes what is unsent, as far as the client takes it.
    async fn flush(&mut self) {
        let patience = tokio::time::sleep(Duration::from_secs(10));
        tokio::pin!(patience);
        loop {
            let progress = self.client.progress(false);
            if progress.unsent == 0 || progress.broken {
                return;
            }
            tokio::select! {
                () = self.client.writable() => {}
                () = &mut patience => return,
            }
        }
    }

    /// The limits follow CONFIG SET and authentication.
    fn refresh_limits(&mut self) {
        self.codec.set_limits(self.conversation.session.limits());
    }

    /// The limit of what is unsent follows CONFIG SET, which wakes all clients; so does the time that one may be idle.
    fn follow_config(&self) {
        self.client.set_limit(self.services.config.settings().client_output_buffer_limit.normal);
    }

    /// Tells the list of clients how things are.
    fn publish(&mut self) {
        let (sent, unsent, pieces) = self.client.sent_and_unsent();
        let now = self.services.shard.now();
        self.last_batch_us = now.boot_us;
        self.conversation.session.buffers = Buffers {
            query: self.buffer.len(),
            query_free: self.buffer.capacity() - self.buffer.len(),
            args: 0,
            reply: unsent,
            reply_used: unsent,
            queued_replies: pieces,
            queued_reply_bytes: unsent,
            received: self.received,
            sent,
        };
        self.conversation.session.publish(now.wall_ms);
    }
}

/// Parses the reads that have arrived behind `first`, a read too, and what follows them, so that they wait for memory
/// together. No further: what a command does to the limits holds for what stands behind it.
fn look_ahead(
    codec: &mut RequestCodec,
    buffer: &mut BytesMut,
    batch: &mut Batch<'_>,
    first: &Args,
    ahead: &mut VecDeque<Result<Args, ProtocolError>>,
) {
    let mut is_read = true;
    while is_read && ahead.len() < READS_AHEAD_MAX {
        match codec.next_request(buffer) {
            Ok(None) => break,
            Ok(Some(args)) => {
                is_read = batch.is_read(&args);
                ahead.push_back(Ok(args));
            }
            Err(error) => {
                is_read = false;
                ahead.push_back(Err(error));
            }
        }
    }
    batch.prefetch(std::iter::once(first).chain(ahead.iter().flatten()));
}

/// As `sleep`, but looks at the clock when it is polled first: `select!` makes the futures of its closed branches too.
async fn after(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Ends when a client that has said nothing since `since_us`, by the clock of `shard`, has been idle for too long; never
/// without a limit.
async fn idle(shard: &Shard, since_us: u64, timeout: Option<Duration>) {
    let Some(timeout) = timeout else { return std::future::pending().await };
    let idle = Duration::from_micros(shard.now().boot_us.saturating_sub(since_us));
    tokio::time::sleep(timeout.saturating_sub(idle)).await;
}

/// The ends of a connection, as the list of clients shows them.
pub(super) fn endpoint(stream: &TcpStream) -> std::io::Result<Endpoint> {
    use std::os::fd::AsRawFd;
    Ok(Endpoint {
        remote: stream.peer_addr()?.to_string(),
        local: stream.local_addr()?.to_string(),
        fd: stream.as_raw_fd(),
    })
}

#[cfg(test)]
mod tests;
