//! What the executor gave back, since this node does not lead, or gets nowhere: it had no effect, and its client is told where
//! to go, or to try again, or is told nothing and disconnected.

use std::collections::VecDeque;

use super::{
    Services,
    redirect::{self, slot},
};
use crate::{
    cluster::Decision,
    command::{self, Handler},
    executor::{Item, Step, Transaction},
    keyspace,
    resp::{Outbox, ReplyWriter},
};

/// What is told of a command that has waited for too long: nothing goes on in the cluster.
const TRY_AGAIN: &str = "TRYAGAIN The cluster gets nowhere at the moment; the command was not done";

/// The replies to commands that are not done and are not for this node to do.
pub fn send_elsewhere(services: &Services, items: VecDeque<Item>) -> Outbox {
    refuse_all(items, |slot, writes| where_to(services, slot, writes))
}

/// The replies that are there already before the first command that is not done. A plain client gets no more of a node that
/// does not lead.
pub fn part(items: VecDeque<Item>) -> Outbox {
    let mut replies = Outbox::new();
    for item in items {
        let Item::Reply(reply) = item else { break };
        replies.append(reply);
    }
    replies
}

/// The replies to commands that are not done although this node leads: they have waited for too long.
pub fn try_again(items: VecDeque<Item>) -> Outbox {
    refuse_all(items, |_, _| TRY_AGAIN.to_owned())
}

/// The replies to `items`: a refusal for each, which is told the slot of its first key and whether it writes.
fn refuse_all(items: VecDeque<Item>, refusal: impl Fn(Option<u16>, bool) -> String) -> Outbox {
    let mut replies = Outbox::new();
    for item in items {
        let (slot, writes, protocol, silent) = match item {
            Item::Reply(reply) => {
                replies.append(reply);
                continue;
            }
            Item::Call(call) => {
                let writes = matches!(call.command.handler, Handler::Write(_));
                (slot(call.command, &call.args), writes, call.protocol, call.silent)
            }
            Item::Transaction(Transaction { steps, protocol, silent, .. }) => {
                (steps.iter().find_map(slot_of_step), true, protocol, silent)
            }
            Item::Watch(watch) => {
                (watch.keys.first().map(|key| keyspace::slot(key)), true, watch.protocol, watch.silent)
            }
        };
        if !silent {
            ReplyWriter::new(&mut replies, protocol).error(refusal(slot, writes));
        }
    }
    replies
}

fn where_to(services: &Services, slot: Option<u16>, writes: bool) -> String {
    let leader = services.leader_elsewhere();
    let decision = match slot {
        _ if leader.is_none() => Decision::ClusterDown,
        Some(slot) => Decision::Moved(slot),
        None if writes => Decision::ReadOnly,
        None => Decision::ClusterDown,
    };
    redirect::refusal(services, decision, leader.as_ref())
}

fn slot_of_step(step: &Step) -> Option<u16> {
    match step {
        Step::Call(call) => slot(call.command, &call.args),
        Step::Deferred(args) => slot(command::resolve(args).ok()?, args),
    }
}
