//! What a node that does not lead does with a command: the table of `cluster::decide`, carried out.

use std::{collections::VecDeque, ops::ControlFlow};

use super::{Batch, ColdRead, Services, Tail, tally};
use crate::{
    cluster::{self, Access, Decision, MemberRecord, Situation},
    command::{self, Command, Handler, Transaction},
    keyspace,
    resp::{Args, Outbox, ReplyWriter},
    session::Session,
};

const CLUSTER_DOWN: &str = "CLUSTERDOWN The cluster is down";
const READ_ONLY: &str = "READONLY You can't write against a read only replica.";
const LOADING: &str = "LOADING Redis is loading the dataset in memory";

impl Services {
    /// The node that leads and to which clients can be sent; none if this node does, or none is known.
    pub fn leader_elsewhere(&self) -> Option<MemberRecord> {
        let members = self.shard.core().members();
        let leader = members.leader.filter(|leader| *leader != self.node.node_id)?;
        let record = MemberRecord::decode(members.configuration.record(leader)?.clone()).ok()?;
        (record.port != 0).then_some(record)
    }
}

impl Batch<'_> {
    /// Takes a command on a node that does not lead.
    pub(super) fn take_as_follower(
        &mut self,
        command: &'static Command,
        args: Args,
    ) -> ControlFlow<Option<Args>> {
        let (decision, leader) = self.decide(command, &args);
        match decision {
            Decision::Serve => return self.queue_or_route(command, args),
            Decision::ServeStale => return self.read_what_is_applied(command, args, leader.is_some()),
            Decision::ReadIndexThenServe => return self.read_when_permitted(command, args),
            Decision::Part => {
                self.conversation.session.closing = true;
                return ControlFlow::Break(None);
            }
            Decision::Moved(_) | Decision::ReadOnly | Decision::ClusterDown => {}
        }
        let refusal = refusal(self.services, decision, leader.as_ref());
        self.refuse_as_follower(command, &refusal);
        ControlFlow::Continue(())
    }

    /// What becomes of a command on a node that does not lead, and who does.
    fn decide(&self, command: &Command, args: &Args) -> (Decision, Option<MemberRecord>) {
        let session = &self.conversation.session;
        let (access, slot) = reach(session, command, args);
        if access == Access::None {
            return (Decision::Serve, None);
        }
        let leader = self.services.leader_elsewhere();
        let situation = Situation {
            has_leader: leader.is_some(),
            door: session.door(),
            is_readonly: session.is_readonly,
            replica_reads: self.services.config.settings().replica_reads,
        };
        (cluster::decide(situation, access, slot), leader)
    }

    /// Whether a read may run with those that wait: with what a leader reads, or with what a follower reads by index.
    pub(super) fn joins_reads(&self, command: &Command, args: &Args) -> bool {
        let leads = self.services.shard.core().leads();
        match &self.tail {
            Some(Tail::Unpermitted(_)) => {
                leads || self.decide(command, args).0 == Decision::ReadIndexThenServe
            }
            Some(Tail::Cold(..)) => leads,
            Some(Tail::Node(..)) | None => false,
        }
    }

    /// Lets a read wait for a permit, and with it for what must be applied here.
    pub(super) fn read_when_permitted(
        &mut self,
        command: &'static Command,
        args: Args,
    ) -> ControlFlow<Option<Args>> {
        let read = ColdRead(self.call(command, args));
        self.tail = Some(Tail::Unpermitted(VecDeque::from([read])));
        ControlFlow::Continue(())
    }

    /// Tells the client that a command is not run here. A transaction that it belongs to will not run; one that it should
    /// have run is forgotten.
    fn refuse_as_follower(&mut self, command: &'static Command, refusal: &str) {
        let session = &mut self.conversation.session;
        if matches!(command.handler, Handler::Transaction(Transaction::Exec)) {
            session.queue = None;
            self.unwatch();
        } else if let Some(queue) = &mut session.queue {
            queue.refused = true;
        }
        self.reply(|writer| writer.error(refusal));
        self.tally.rejected(Some(command), refusal.as_bytes());
    }

    /// Runs a read on what is applied here, however old that is. What a start, or a snapshot, has to catch up with is waited
    /// for first: else a client could be shown less than before.
    fn read_what_is_applied(
        &mut self,
        command: &'static Command,
        args: Args,
        has_leader: bool,
    ) -> ControlFlow<Option<Args>> {
        let shard = &self.services.shard;
        if !shard.may_read_stale() {
            if has_leader {
                return self.read_when_permitted(command, args);
            }
            self.reply(|writer| writer.error(LOADING));
            return ControlFlow::Continue(());
        }
        self.conversation.published = Some((shard.core().store().load(), shard.now()));
        let flow = self.route(command, args);
        // It was taken without a permit, which the next read may need.
        self.conversation.published = None;
        flow
    }
}

/// The error of a decision that refuses; `leader` is who leads.
pub(super) fn refusal(services: &Services, decision: Decision, leader: Option<&MemberRecord>) -> String {
    match (decision, leader) {
        (Decision::Moved(slot), Some(leader)) => {
            let endpoint = leader.endpoint(services.config.settings().endpoint_type);
            format!("MOVED {slot} {endpoint}:{}", leader.port)
        }
        (Decision::ReadOnly, _) => READ_ONLY.to_owned(),
        _ => CLUSTER_DOWN.to_owned(),
    }
}

/// The replies to reads for which there was no permit: nobody who leads could be asked.
pub fn refuse_reads(services: &Services, reads: VecDeque<ColdRead>) -> Outbox {
    let mut replies = Outbox::new();
    for ColdRead(call) in reads {
        services.stats.local(|local| tally::count_refused(local, &call, CLUSTER_DOWN));
        if !call.silent {
            ReplyWriter::new(&mut replies, call.protocol).error(CLUSTER_DOWN);
        }
    }
    replies
}

/// What a command does with data, and the slot of its first key.
fn reach(session: &Session, command: &Command, args: &Args) -> (Access, Option<u16>) {
    match command.handler {
        Handler::Session(_) | Handler::Node(_) => (Access::None, None),
        Handler::Read(_) if session.queue.is_none() => (Access::Read, slot(command, args)),
        Handler::Read(_) | Handler::Write(_) => (Access::Write, slot(command, args)),
        Handler::Transaction(Transaction::Watch) => (Access::Write, slot(command, args)),
        Handler::Transaction(Transaction::Exec) => match &session.queue {
            Some(queue) if !queue.refused => {
                let slot_of = |args: &Args| slot(command::resolve(args).ok()?, args);
                (Access::Write, queue.requests().iter().find_map(slot_of))
            }
            // Its own error says more.
            Some(_) | None => (Access::None, None),
        },
        Handler::Transaction(Transaction::Multi | Transaction::Discard | Transaction::Unwatch) => {
            (Access::None, None)
        }
    }
}

/// The slot of a command's first key; none if it has none.
pub(super) fn slot(command: &Command, args: &Args) -> Option<u16> {
    command.key_positions(args).first().map(|position| keyspace::slot(&args[*position]))
}
