//! What a command that looks at the node sees of it, and what it may ask of it.

use std::time::Duration;

use super::latency::Latency;
use super::slowlog::Slowlog;
use crate::cluster::Topology;
use crate::config::Config;
use crate::metrics::peers::PeersStatus;
use crate::metrics::status::RaftStatus;
use crate::metrics::{NodeStatus, Stats};
use crate::raft::{Change, NodeId};
use crate::session::{Clients, Session};

/// The node, as a command sees it.
pub struct NodeContext<'a> {
    /// The client that asks.
    pub session: &'a mut Session,
    /// All clients.
    pub clients: &'a Clients,
    /// Its configuration.
    pub config: &'a Config,
    /// What it counts.
    pub stats: &'a Stats,
    /// What is the case now, for those who have asked for it ([`Ask::Status`]).
    pub status: Option<&'a NodeStatus>,
    /// The part of it that concerns the consensus, which is quickly gathered.
    pub raft: &'a (dyn Fn() -> RaftStatus + Sync),
    /// The cluster, as this node knows it.
    pub topology: &'a (dyn Fn() -> Topology + Sync),
    /// The streams to the other nodes.
    pub peers: &'a (dyn Fn() -> PeersStatus + Sync),
    /// The commands that took long.
    pub slowlog: &'a Slowlog,
    /// The spikes of latency.
    pub latency: &'a Latency,
    /// The time of day: microseconds since 1970.
    pub now_micros: u64,
}

impl NodeContext<'_> {
    /// The time of day in seconds since 1970.
    pub fn now_secs(&self) -> u64 {
        self.now_micros / 1_000_000
    }

    /// The time of day in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.now_micros / 1_000
    }
}

/// What a command asks of the node beyond its reply. The handler has already written the reply of success; whoever
/// carries the request out replaces it by an error if that fails, and sends it only then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Gathers what is the case now, for which the disk may have to be read; then the command is run again, with it. It has
    /// written nothing yet.
    Status,
    /// Writes a checkpoint; the reply waits until it is complete.
    Save,
    /// Starts to write a checkpoint; the reply does not wait.
    BackgroundSave,
    /// Ends the process. There is no reply unless it is refused.
    Shutdown(Shutdown),
    /// Keeps the executor busy for so long.
    Sleep(Duration),
    /// Makes what is in memory durable, forgets it, and reads it from disk.
    Reload,
    /// Starts or stops the deletion of keys that are due and that nobody asks for.
    SetActiveExpire(bool),
    /// Hands the leadership over; the reply waits until another node has it.
    Transfer(Transfer),
    /// Changes the membership; the reply waits until that is complete.
    Change(Vec<Change>),
    /// Waits for followers. The reply is a number that is not known before, so the handler has written none.
    Wait(Wait),
}

/// To whom the leadership is handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// A voter; none for the one that lacks least.
    pub to: Option<NodeId>,
    /// How long the client waits, at most.
    pub timeout: Option<Duration>,
}

/// Until when WAIT and WAITAOF wait: for what the log held when they arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// On the disks of so many followers, or of all if there are fewer.
    pub replicas: usize,
    /// On the disk of this node.
    pub local: bool,
    /// How long at most. `None`: for ever.
    pub timeout: Option<Duration>,
    /// What is answered.
    pub answer: Acknowledged,
}

/// What the reply of a wait says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// On how many followers it is.
    Followers,
    /// Whether it is on the disk of this node, and on how many followers.
    HereAndFollowers,
}

/// How the process is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// `SAVE` or `NOSAVE`, if either was said. Acknowledged writes are durable in any case.
    pub save: Option<bool>,
    /// `NOW`: without waiting for anyone.
    pub now: bool,
    /// `FORCE`: also when something cannot be completed.
    pub force: bool,
    /// `ABORT`: takes back a shutdown that waits.
    pub abort: bool,
}
