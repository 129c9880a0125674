//! What the executor gave back, since this node does not lead: it had no effect, and its client is told where to go.

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
    resp::{Outbox, Protocol, ReplyWriter},
};

/// The replies to commands that are not done and are not for this node to do.
pub fn send_elsewhere(services: &Services, items: VecDeque<Item>) -> Outbox {
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
            refuse(services, slot, writes, protocol, &mut replies);
        }
    }
    replies
}

fn refuse(services: &Services, slot: Option<u16>, writes: bool, protocol: Protocol, replies: &mut Outbox) {
    let leader = services.leader_elsewhere();
    let decision = match slot {
        _ if leader.is_none() => Decision::ClusterDown,
        Some(slot) => Decision::Moved(slot),
        None if writes => Decision::ReadOnly,
        None => Decision::ClusterDown,
    };
    let refusal = redirect::refusal(services, decision, leader.as_ref());
    ReplyWriter::new(replies, protocol).error(refusal);
}

fn slot_of_step(step: &Step) -> Option<u16> {
    match step {
        Step::Call(call) => slot(call.command, &call.args),
        Step::Deferred(args) => slot(command::resolve(args).ok()?, args),
    }
}
