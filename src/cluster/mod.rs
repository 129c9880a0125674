//! What a client sees of a cluster: its nodes, where each is reached, and which of them answers what.
//!
//! Everything here is pure. Who belongs to the cluster and who leads it is told by `raft`; the name and the addresses of a
//! member are its [`MemberRecord`], which `raft` carries without looking into it. [`Topology`] puts both together as
//! CLUSTER NODES shows them, and [`decide`] says what a node does with a command: serve it, or send the client on.
//!
//! One shard owns all slots, so all keys are the leader's, and keys of different slots may be used together.

mod clock;
mod record;
mod redirect;
mod topology;
mod upkeep;

pub use self::{
    clock::{CLOCK_APART_MAX_MS, is_clock_wrong},
    record::{Bound, MemberRecord, NoAddress, RecordError},
    redirect::{Access, Decision, Door, Situation, decide},
    topology::{Node, Topology, node_name, shard_name},
    upkeep::{Seen, next_change, refuse_removal, wanted_by},
};
