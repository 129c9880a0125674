//! What the executor gave back, since this node does not lead: it had no effect, and its client is told where to go.

use std::collections::VecDeque;

use super::Services;
use crate::{
    cluster::MemberRecord,
    command::{self, Command, Handler},
    executor::{Item, Step, Transaction},
    keyspace,
    resp::{Args, Outbox, Protocol, ReplyWriter},
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
    let members = services.shard.core().members();
    let record = members.leader.and_then(|leader| members.configuration.record(leader).cloned());
    let leader =
        record.and_then(|record| MemberRecord::decode(record).ok()).filter(|leader| leader.port != 0);
    let refusal = match (leader, slot) {
        (Some(leader), Some(slot)) => format!("MOVED {slot} {}:{}", leader.host, leader.port),
        (Some(_), None) if writes => "READONLY You can't write against a read only replica.".to_owned(),
        _ => "CLUSTERDOWN The cluster is down".to_owned(),
    };
    ReplyWriter::new(replies, protocol).error(refusal);
}

fn slot_of_step(step: &Step) -> Option<u16> {
    match step {
        Step::Call(call) => slot(call.command, &call.args),
        Step::Deferred(args) => slot(command::resolve(args).ok()?, args),
    }
}

fn slot(command: &Command, args: &Args) -> Option<u16> {
    command.key_positions(args).first().map(|position| keyspace::slot(&args[*position]))
}
