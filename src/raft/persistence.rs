//! One ordered queue towards the disk, and the messages that wait for it.

use std::collections::{BTreeMap, VecDeque};

use super::message::Message;
use crate::{
    bugs::{self, Bug},
    log::Index,
};

/// Counts what was handed out to be persisted; "durable up to token t" covers all tokens up to t.
pub type Token = u64;

/// What is on its way to the disk.
///
/// Invariants: tokens ascend and are never used again; `durable_index` and the indexes of `pending` do not fall from front
/// to back.
#[derive(Debug)]
pub(super) struct Persistence {
    token: Token,
    durable: Token,
    /// The entries of the *present* log that are durable.
    durable_index: Index,
    /// What of the present log each token that is not durable yet makes durable.
    pending: VecDeque<Pending>,
    /// The newest token of a hard state.
    hard_state: Token,
    /// What may not be said before a token is durable.
    messages: BTreeMap<Token, Vec<Message>>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    token: Token,
    index: Index,
    since: u64,
}

impl Persistence {
    /// A log that is durable up to `durable_index`.
    pub(super) fn new(durable_index: Index) -> Self {
        Self {
            token: 0,
            durable: 0,
            durable_index,
            pending: VecDeque::new(),
            hard_state: 0,
            messages: BTreeMap::new(),
        }
    }

    /// The entries of the present log that are durable.
    pub(super) fn durable_index(&self) -> Index {
        self.durable_index
    }

    /// Since when the oldest operation that is not durable is on its way.
    pub(super) fn waiting_since(&self) -> Option<u64> {
        self.pending.front().map(|oldest| oldest.since)
    }

    /// Gives out the token of an operation after which the log ends at `last`.
    pub(super) fn push(&mut self, last: Index, now: u64) -> Token {
        self.token += 1;
        self.pending.push_back(Pending { token: self.token, index: last, since: now });
        self.token
    }

    /// Gives out the token of a hard state.
    pub(super) fn push_hard_state(&mut self, last: Index, now: u64) -> Token {
        self.hard_state = self.push(last, now);
        self.hard_state
    }

    /// The entries from `from` on are not in the log any more. What is still on its way makes none of those durable that
    /// take their place (C4: an acknowledgement of an index says nothing when the entry there is another).
    pub(super) fn truncate(&mut self, from: Index) {
        self.durable_index = self.durable_index.min(from - 1);
        if bugs::on(Bug::RaftDurableAfterTruncation) {
            return;
        }
        for pending in &mut self.pending {
            pending.index = pending.index.min(from - 1);
        }
    }

    /// The log begins after `start`, and what is before is durable elsewhere.
    pub(super) fn reset(&mut self, start: Index) {
        self.durable_index = start;
        for pending in &mut self.pending {
            pending.index = start;
        }
    }

    /// The token that makes the log durable up to `index`.
    pub(super) fn token_of(&self, index: Index) -> Token {
        if index <= self.durable_index {
            return 0;
        }
        let at = self.pending.partition_point(|pending| pending.index < index);
        self.pending.get(at).expect("an entry is durable or on its way").token
    }

    /// The token that makes the term and the vote durable.
    pub(super) fn hard_state_token(&self) -> Token {
        self.hard_state
    }

    /// Keeps a message until `token` is durable; returns it if that is so already.
    pub(super) fn hold(&mut self, message: Message, token: Token) -> Option<Message> {
        if token <= self.durable {
            return Some(message);
        }
        self.messages.entry(token).or_default().push(message);
        None
    }

    /// Everything up to `token` is durable. Returns the messages that waited for it, in the order of their tokens.
    pub(super) fn durable(&mut self, token: Token) -> impl Iterator<Item = Message> {
        assert!(token <= self.token, "a token that was never given out is durable");
        self.durable = self.durable.max(token);
        while let Some(&pending) = self.pending.front() {
            if token < pending.token {
                break;
            }
            assert!(self.durable_index <= pending.index, "durability went back");
            self.durable_index = pending.index;
            self.pending.pop_front();
        }
        let later = self.messages.split_off(&(token + 1));
        std::mem::replace(&mut self.messages, later).into_values().flatten()
    }
}
