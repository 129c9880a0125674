//! A client inside the process: what the HTTP API speaks through. Its commands go the way that all commands go.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::node;
use crate::{
    dispatch::{self, Batch, ColdRead, Conversation, Services, Tail, Workspace},
    executor::{Answer, Input, Item, Message, Published, Recipient},
    resp::{Args, Outbox},
    session::{ClientInfo, Endpoint, Session},
};

/// Runs commands on database 0, each on its own.
#[derive(Clone)]
pub struct LocalClient {
    services: Arc<Services>,
}

/// What a command gave.
#[derive(Debug)]
pub enum LocalReply {
    /// Its reply, in RESP2.
    Reply(Bytes),
    /// It had no effect and never will.
    NotDone,
    /// It may have been done.
    Unknown,
}

impl LocalClient {
    /// A client of this node.
    pub fn new(services: Arc<Services>) -> Self {
        Self { services }
    }

    /// What is shared with the connections.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Runs one command here.
    pub async fn call(&self, args: Args) -> LocalReply {
        let endpoint = Endpoint { remote: "http".to_owned(), local: "http".to_owned(), fd: -1 };
        let now_ms = self.services.shard.now().wall_ms;
        let Some(registration) = self.services.clients.connect(endpoint, now_ms, usize::MAX) else {
            return LocalReply::NotDone;
        };
        let id = registration.info().id;
        let mut conversation =
            Conversation::new(Session::trusted(registration, Arc::clone(&self.services.config)));
        let mut batch = Batch::new(&self.services, &mut conversation, Workspace::default());
        if let ControlFlow::Break(Some(_)) = batch.take(args) {
            unreachable!("the first request of a batch is always taken");
        }
        let (Workspace { mut replies, .. }, items, tail) = batch.finish();
        if !items.is_empty() {
            match self.ask_executor(id, items).await {
                Ok(reply) => replies.append(reply),
                Err(outcome) => return outcome,
            }
        }
        match tail {
            None => {}
            Some(Tail::Cold(published, reads)) => {
                match self.run_cold_reads(conversation.session.info(), published, reads).await {
                    Ok(reply) => replies.append(reply),
                    Err(outcome) => return outcome,
                }
            }
            Some(Tail::Unpermitted(reads)) => {
                let Some(published) = self.services.shard.ask_published().await else {
                    return LocalReply::NotDone;
                };
                match self.run_cold_reads(conversation.session.info(), published, reads).await {
                    Ok(reply) => replies.append(reply),
                    Err(outcome) => return outcome,
                }
            }
            Some(Tail::Node(command, args)) => {
                replies.append(node::run(&self.services, &mut conversation.session, command, &args).await);
            }
        }
        // What only the leader can do was not done.
        if conversation.session.closing {
            return LocalReply::NotDone;
        }
        LocalReply::Reply(replies.into_bytes())
    }

    /// Runs reads on a thread that may wait for the disk.
    async fn run_cold_reads(
        &self,
        info: &Arc<ClientInfo>,
        published: Arc<Published>,
        reads: VecDeque<ColdRead>,
    ) -> Result<Outbox, LocalReply> {
        let (services, client) = (Arc::clone(&self.services), Arc::clone(info));
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.services.shard.run_blocking(move || {
            drop(answer.send(dispatch::run_cold_reads(&services, &client, &published, reads, usize::MAX)));
        });
        let Ok(mut done) = answered.await else { return Err(LocalReply::NotDone) };
        if done.needs_executor {
            let items = done.rest.into_iter().map(ColdRead::into_item).collect();
            done.replies.append(self.ask_executor(info.id, items).await?);
        }
        Ok(done.replies)
    }

    async fn ask_executor(&self, id: u64, items: VecDeque<Item>) -> Result<Outbox, LocalReply> {
        let waiter = Arc::new(Waiter { id, state: Mutex::default(), done: Notify::new() });
        let recipient: Arc<dyn Recipient> = Arc::<Waiter>::clone(&waiter);
        self.services.shard.submit(Input::Message(Message::new(recipient, items)));
        waiter.done.notified().await;
        let mut state = waiter.state.lock().expect("a panic ends the process");
        match std::mem::take(&mut *state) {
            WaiterState { is_lost: true, .. } => Err(LocalReply::Unknown),
            WaiterState { is_given_back: true, .. } => Err(LocalReply::NotDone),
            WaiterState { reply, .. } => Ok(reply),
        }
    }
}

/// Who waits for one answer.
#[derive(Debug)]
struct Waiter {
    id: u64,
    state: Mutex<WaiterState>,
    done: Notify,
}

#[derive(Debug, Default)]
struct WaiterState {
    reply: Outbox,
    is_lost: bool,
    is_given_back: bool,
}

impl Recipient for Waiter {
    fn deliver(&self, answer: Answer) {
        self.state.lock().expect("a panic ends the process").reply.append(answer.reply);
        if answer.done {
            self.done.notify_one();
        }
    }

    fn lose(&self) {
        self.state.lock().expect("a panic ends the process").is_lost = true;
        self.done.notify_one();
    }

    fn give_back(&self, _: VecDeque<Item>) {
        self.state.lock().expect("a panic ends the process").is_given_back = true;
        self.done.notify_one();
    }

    fn backlog(&self, _: usize) -> Option<usize> {
        Some(0)
    }

    fn slow(&self, args: &Args, nanos: u64) {
        tracing::debug!(?args, nanos, "a request over HTTP took long");
    }

    fn id(&self) -> u64 {
        self.id
    }
}
