//! A cold read of the executor: runs a message's next item away from the drain, only to have its blocks in memory when
//! it is evaluated again.

use super::{
    message::{Call, Item, Message, Step},
    turn::{Error, Input},
};
use crate::{
    command::Handler,
    keyspace::{self, Drain, Failure, Overlay, State, WriteTxn},
    log::Term,
    lsm::{self, Access},
    resp::{Outbox, ReplyWriter},
};

/// What a pool thread needs to load the data of one message's next item.
pub struct Load {
    pub(super) message: Message,
    /// What the drain saw, and when it was.
    pub(super) view: lsm::View,
    pub(super) stamp: u64,
    pub(super) limits: keyspace::Limits,
    /// Bytes of effects and of replies that the item may make.
    pub(super) effects_bytes_max: usize,
    pub(super) reply_bytes_max: usize,
    /// The term of the leadership that the drain was of.
    pub(super) term: Term,
}

impl Load {
    /// Runs the item on the view that the drain had, waiting for the disk. Effects and replies are thrown away.
    ///
    /// # Errors
    ///
    /// The data cannot be read: the node must stop.
    pub fn run(self) -> Result<Input, Error> {
        // The state as the view has it: the drain's own has seen effects that the view has not.
        let mut state = State::load(&self.view, 0)?;
        state.limits = self.limits;
        let mut scratch = Scratch {
            overlay: Overlay::new(),
            drain: Drain::new(1, self.stamp),
            reply_bytes_max: self.reply_bytes_max,
        };
        scratch.drain.allow(self.effects_bytes_max);
        let item = self.message.items.front().expect("a message that stopped has a next item");
        let seed = self.message.seed.expect("an item that stopped has its seed");
        let result = match item {
            Item::Call(call) => scratch.run(call, &self.view, &mut state, seed),
            Item::Transaction(transaction) => {
                let mut seeds = fastrand::Rng::with_seed(seed);
                transaction.steps.iter().try_for_each(|step| match step {
                    Step::Call(call) => {
                        scratch.run(call, &self.view, &mut state, seeds.u64(..))?;
                        scratch.drain.check_bytes()
                    }
                    Step::Deferred(_) => Ok(()),
                })
            }
            Item::Watch(watch) => watch.keys.iter().try_for_each(|key| {
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut txn = scratch.txn(&self.view, &mut state, &mut rng, watch.db);
                let key = txn.key(key);
                txn.exists(&key).map(drop)
            }),
            Item::Reply(_) => Ok(()),
        };
        match result {
            Ok(()) | Err(Failure::Stop(_) | Failure::Client(_)) => Ok(Input::Loaded(self.message, self.term)),
            Err(Failure::Local(error)) => Err(Error::Tree(error)),
        }
    }
}

/// What the item writes to, and nobody reads.
struct Scratch {
    overlay: Overlay,
    drain: Drain,
    reply_bytes_max: usize,
}

impl Scratch {
    fn txn<'a>(
        &'a mut self,
        view: &'a lsm::View,
        state: &'a mut State,
        rng: &'a mut fastrand::Rng,
        db: u32,
    ) -> WriteTxn<'a> {
        WriteTxn::new(view, Access::Disk, &mut self.overlay, &mut self.drain, state, rng, db)
    }

    fn run(&mut self, call: &Call, view: &lsm::View, state: &mut State, seed: u64) -> keyspace::Result<()> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut reply = Outbox::new();
        let mut writer = ReplyWriter::bounded(&mut reply, call.protocol, self.reply_bytes_max);
        let mut txn = self.txn(view, state, &mut rng, call.db);
        let result = match call.command.handler {
            Handler::Write(run) => run(&mut txn, &call.args, &mut writer),
            Handler::Read(run) => txn.read(|view| run(view, &call.args, &mut writer)),
            Handler::Session(_) | Handler::Node(_) | Handler::Transaction(_) => Ok(()),
        };
        match result {
            Err(Failure::Client(_)) => Ok(()),
            other => other,
        }
    }
}
