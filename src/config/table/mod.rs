//! The rows of the table, by what they do.

mod cluster;
mod fixed;
mod ignored;
mod works;

use super::directive::Group;
use super::kind::Kind;

/// The table.
pub(super) const GROUPS: &[Group] = &[
    Group { title: "Network", rows: works::NETWORK },
    Group { title: "Security", rows: works::SECURITY },
    Group { title: "Clients", rows: works::CLIENTS },
    Group { title: "Storage and memory", rows: works::STORAGE },
    Group { title: "Data types and commands", rows: works::DATA },
    Group { title: "Cluster", rows: cluster::CLUSTER },
    Group { title: "Raft", rows: cluster::RAFT },
    Group { title: "Process and logging", rows: works::PROCESS },
    Group { title: "Observability", rows: works::OBSERVABILITY },
    Group { title: "Accepted without effect: persistence", rows: ignored::PERSISTENCE },
    Group { title: "Accepted without effect: memory", rows: ignored::MEMORY },
    Group { title: "Accepted without effect: replication and cluster", rows: ignored::REPLICATION },
    Group { title: "Accepted without effect: process", rows: ignored::PROCESS },
    Group { title: "Accepted without effect: commands", rows: ignored::COMMANDS },
    Group { title: "Only the default is accepted", rows: fixed::ROWS },
    Group { title: "Only the default is accepted: TLS", rows: fixed::TLS },
];

const INT_MAX: i64 = i32::MAX as i64;
/// Any number that is not negative and fits 32 bits, Redis' usual range.
const COUNT: Kind = Kind::Integer { min: 0, max: INT_MAX };
/// Any number that is not negative.
const LONG: Kind = Kind::Integer { min: 0, max: i64::MAX };
/// Any number of bytes that Redis can count.
const BYTES: Kind = Kind::Bytes { min: 0, max: i64::MAX as u64 };

/// What clients may be told to find a node by.
const ENDPOINTS: &[&str] = &["ip", "hostname", "unknown-endpoint"];

const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}
