//! Which node answers a command: what is done here, and what the client is told to take elsewhere.
//!
//! | this node | a command of `port` | of `proxy-port` or HTTP |
//! |---|---|---|
//! | leads | serve | serve |
//! | follows; the command has keys | `MOVED` to the leader | part |
//! | follows; a read without keys | serve after a read index | the same |
//! | follows; a write without keys | `READONLY` | part |
//! | knows no leader | `CLUSTERDOWN` | part |
//!
//! A session that said READONLY reads on a follower of `port`: what is applied there, or, with `replica-reads
//! linearizable`, after a read index. Its writes and its transactions go on as the table says. Every refusal means that
//! nothing was done and nothing ever will be. To part is to say nothing: a plain client is disconnected, and finds the
//! leader when it comes again; HTTP looks for the leader itself.

use crate::config::ReplicaReads;

/// Where a session came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// `port`: its client understands redirections.
    #[default]
    Port,
    /// `proxy-port`, or HTTP: its client does not. Whoever serves it sees to it that its commands are run by the leader;
    /// what comes to a follower all the same was overtaken by an election.
    Plain,
}

/// What a command does with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: it concerns the session or the node.
    None,
    /// It reads.
    Read,
    /// It writes, or is part of a transaction, which only the leader can run.
    Write,
}

/// What a node that does not lead knows of the cluster, and of the session that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Another node leads, and is known.
    pub has_leader: bool,
    /// Where the session came in.
    pub door: Door,
    /// The session said READONLY.
    pub is_readonly: bool,
    /// What READONLY means.
    pub replica_reads: ReplicaReads,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It needs no leader.
    Serve,
    /// It is run on what is applied here.
    ServeStale,
    /// It is run here when all is applied that the leader had committed when the command arrived.
    ReadIndexThenServe,
    /// The client is sent to the leader, with this slot.
    Moved(u16),
    /// Nobody leads.
    ClusterDown,
    /// It writes, and without a key there is no slot to send the client after.
    ReadOnly,
    /// It is not done, and not answered: the session of a plain client ends, since the leader serves those.
    Part,
}

/// Says what a node that does **not** lead does with a command whose first key, if it has any, is of slot `slot`. One that
/// leads serves everything, and has no need to ask.
pub fn decide(situation: Situation, access: Access, slot: Option<u16>) -> Decision {
    let reads_here = access == Access::Read && situation.is_readonly && situation.door == Door::Port;
    match (access, situation.replica_reads) {
        (Access::None, _) => Decision::Serve,
        (_, ReplicaReads::Local) if reads_here => Decision::ServeStale,
        _ if !situation.has_leader && situation.door == Door::Plain => Decision::Part,
        _ if !situation.has_leader => Decision::ClusterDown,
        (_, ReplicaReads::Linearizable) if reads_here => Decision::ReadIndexThenServe,
        _ => on_behalf_of_the_leader(situation.door, access, slot),
    }
}

fn on_behalf_of_the_leader(door: Door, access: Access, slot: Option<u16>) -> Decision {
    match (door, slot, access) {
        (_, None, Access::Read | Access::None) => Decision::ReadIndexThenServe,
        (Door::Plain, _, _) => Decision::Part,
        (Door::Port, Some(slot), _) => Decision::Moved(slot),
        (Door::Port, None, Access::Write) => Decision::ReadOnly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLLOWER: Situation = Situation {
        has_leader: true,
        door: Door::Port,
        is_readonly: false,
        replica_reads: ReplicaReads::Local,
    };

    #[test]
    fn a_follower_sends_keyed_commands_to_the_leader() {
        for access in [Access::Read, Access::Write] {
            assert_eq!(decide(FOLLOWER, access, Some(7)), Decision::Moved(7));
        }
    }

    #[test]
    fn a_follower_answers_what_has_no_key_if_it_does_not_write() {
        assert_eq!(decide(FOLLOWER, Access::Read, None), Decision::ReadIndexThenServe);
        assert_eq!(decide(FOLLOWER, Access::Write, None), Decision::ReadOnly);
    }

    #[test]
    fn what_needs_no_data_is_served_everywhere() {
        let lost = Situation { has_leader: false, door: Door::Plain, ..FOLLOWER };
        for situation in [FOLLOWER, lost] {
            assert_eq!(decide(situation, Access::None, None), Decision::Serve);
        }
    }

    #[test]
    fn without_a_leader_only_stale_reads_are_served() {
        let lost = Situation { has_leader: false, ..FOLLOWER };
        for (access, slot) in
            [(Access::Read, Some(1)), (Access::Read, None), (Access::Write, Some(1)), (Access::Write, None)]
        {
            assert_eq!(decide(lost, access, slot), Decision::ClusterDown);
        }
        let readonly = Situation { is_readonly: true, ..lost };
        assert_eq!(decide(readonly, Access::Read, Some(1)), Decision::ServeStale);
        assert_eq!(decide(readonly, Access::Write, Some(1)), Decision::ClusterDown);
        let linearizable = Situation { replica_reads: ReplicaReads::Linearizable, ..readonly };
        assert_eq!(decide(linearizable, Access::Read, Some(1)), Decision::ClusterDown);
    }

    #[test]
    fn a_readonly_session_reads_on_the_follower_and_writes_elsewhere() {
        let local = Situation { is_readonly: true, ..FOLLOWER };
        let linearizable = Situation { replica_reads: ReplicaReads::Linearizable, ..local };
        for slot in [Some(1), None] {
            assert_eq!(decide(local, Access::Read, slot), Decision::ServeStale);
            assert_eq!(decide(linearizable, Access::Read, slot), Decision::ReadIndexThenServe);
        }
        assert_eq!(decide(local, Access::Write, Some(1)), Decision::Moved(1));
        assert_eq!(decide(local, Access::Write, None), Decision::ReadOnly);
    }

    #[test]
    fn a_plain_client_is_never_told_of_the_cluster() {
        let plain = Situation { door: Door::Plain, is_readonly: true, ..FOLLOWER };
        for (access, slot) in [(Access::Read, Some(1)), (Access::Write, Some(1)), (Access::Write, None)] {
            assert_eq!(decide(plain, access, slot), Decision::Part);
        }
        assert_eq!(decide(plain, Access::Read, None), Decision::ReadIndexThenServe);
        let lost = Situation { has_leader: false, ..plain };
        assert_eq!(decide(lost, Access::Read, None), Decision::Part);
    }
}
