//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: what the session queues, and what it sends on.

use std::sync::Arc;

use super::Batch;
use crate::{
    command::{self, Command, Handler, Transaction as Kind},
    executor::{Call, Item, Step, Transaction, WatchCall},
    number::parse_integer,
    resp::Args,
    session::Queue,
};

/// Whether a command acts at once although a transaction is being queued.
pub(super) fn acts_at_once(command: &Command) -> bool {
    match command.handler {
        Handler::Transaction(kind) => kind != Kind::Unwatch,
        Handler::Session(_) => matches!(command.name, "QUIT" | "RESET"),
        Handler::Write(_) | Handler::Read(_) | Handler::Node(_) => false,
    }
}

impl Batch<'_> {
    /// Queues a command behind MULTI.
    pub(super) fn queue(&mut self, args: &Args) {
        let session = &mut self.conversation.session;
        let limit = self.services.config.settings().client_query_buffer_limit;
        let queue = session.queue.as_mut().expect("a transaction is open");
        queue.push(args);
        if queue.memory_bytes() > limit {
            session.closing = true;
            return;
        }
        self.reply(|writer| writer.simple("QUEUED"));
    }

    /// Runs one of the five commands.
    pub(super) fn transaction(&mut self, kind: Kind, args: &Args) {
        match kind {
            Kind::Multi => self.multi(),
            Kind::Exec => self.exec(),
            Kind::Discard => self.discard(),
            Kind::Watch => self.watch(args),
            Kind::Unwatch => {
                self.unwatch();
                self.reply(|writer| writer.ok());
            }
        }
    }

    fn multi(&mut self) {
        let session = &mut self.conversation.session;
        if session.queue.is_some() {
            self.reply(|writer| writer.error("ERR MULTI calls can not be nested"));
            return;
        }
        session.queue = Some(Queue::default());
        self.reply(|writer| writer.ok());
    }

    fn discard(&mut self) {
        if self.conversation.session.queue.take().is_none() {
            self.reply(|writer| writer.error("ERR DISCARD without MULTI"));
            return;
        }
        self.unwatch();
        self.reply(|writer| writer.ok());
    }

    pub(super) fn unwatch(&mut self) {
        self.conversation.watch = None;
        self.conversation.session.watched = 0;
    }

    fn watch(&mut self, args: &Args) {
        let session = &mut self.conversation.session;
        if session.queue.is_some() {
            self.reply(|writer| writer.error("ERR WATCH inside MULTI is not allowed"));
            return;
        }
        let (db, limit) = (session.db, self.services.config.settings().client_query_buffer_limit);
        let watch = Arc::clone(self.conversation.watch.get_or_insert_default());
        let new = args.iter().skip(1).filter(|name| watch.ask(db, name));
        let keys = new.map(bytes::Bytes::copy_from_slice).collect();
        let (watched, watched_bytes) = watch.size();
        let session = &mut self.conversation.session;
        session.watched = watched;
        if watched_bytes > limit {
            session.closing = true;
            return;
        }
        let call = WatchCall { watch, keys, db, protocol: session.protocol, silent: !session.keeps_reply() };
        self.push(Item::Watch(call));
    }

    fn exec(&mut self) {
        let session = &mut self.conversation.session;
        let Some(queue) = session.queue.take() else {
            self.reply(|writer| writer.error("ERR EXEC without MULTI"));
            return;
        };
        let watch = self.conversation.watch.take();
        self.conversation.session.watched = 0;
        if queue.refused {
            self.reply(|writer| {
                writer.error("EXECABORT Transaction discarded because of previous errors.");
            });
            return;
        }
        self.transaction_bytes += queue.memory_bytes();
        let steps = self.steps(queue);
        let session = &mut self.conversation.session;
        let (protocol, silent) = (session.protocol, !session.keeps_reply());
        self.push(Item::Transaction(Transaction { steps, watch, protocol, silent }));
    }

    /// Answers an EXEC that was refused, and forgets what it should have run.
    pub(super) fn abort(&mut self, error: &[u8]) {
        self.conversation.session.queue = None;
        self.unwatch();
        let reason = error.strip_prefix(b"ERR ").unwrap_or(error);
        let text = [b"EXECABORT Transaction discarded because of: ", reason].concat();
        self.reply(|writer| writer.error(text));
    }

    /// The queued commands, each with the database and the protocol that it finds selected.
    fn steps(&mut self, queue: Queue) -> Vec<Step> {
        let session = &self.conversation.session;
        let (mut db, mut protocol) = (session.db, session.protocol);
        let databases = i64::from(self.services.config.databases);
        queue
            .into_requests()
            .into_iter()
            .map(|args| {
                let command = command::resolve(&args).expect("it was resolved when it was queued");
                match command.handler {
                    Handler::Write(_) | Handler::Read(_) => {
                        Step::Call(Call { command, args, db, protocol, silent: false })
                    }
                    Handler::Session(_) | Handler::Node(_) | Handler::Transaction(_) => {
                        if command.name == "SELECT"
                            && let Some(selected) = parse_integer(&args[1])
                            && (0..databases).contains(&selected)
                        {
                            db = u32::try_from(selected).expect("a database number is small");
                        }
                        if command.name == "HELLO" {
                            protocol = command::protocol_chosen(session, &args).unwrap_or(protocol);
                        }
                        Step::Deferred(args)
                    }
                }
            })
            .collect()
    }

    /// Whether the message ends with an EXEC whose reply this connection must complete.
    pub fn ends_with_deferred_steps(&self) -> bool {
        match self.items.back() {
            Some(Item::Transaction(transaction)) => {
                transaction.steps.iter().any(|step| matches!(step, Step::Deferred(_)))
            }
            Some(Item::Call(_) | Item::Watch(_) | Item::Reply(_)) | None => false,
        }
    }
}
