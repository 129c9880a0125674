//! Redis data types as ordered bytes; knows no RESP and no Raft, reads no clock and draws no random number of its own.
//!
//! # Layout
//!
//! The tree below orders bytes. The first byte of a key is its family; all integers in keys are big-endian.
//!
//! | family | key after the family | value |
//! |---|---|---|
//! | 0 system | name | one of the replicated facts beside the users' data: table in `state.rs` |
//! | 1 META | keyspace (4) slot (2) h48 (6) key | what the key holds: table below |
//! | 2 DATA | keyspace (4) home slot (2) object (8) tag (1) … | the parts of what does not fit into META |
//! | 3 TTL | keyspace (4) due at, ms (8) slot (2) h48 (6) key | nothing |
//! | 4 DEAD | a prefix of keys, their family first | nothing: whatever begins so is dead, and compaction drops it |
//!
//! A **keyspace** is what a database is at the moment: a number that is drawn once and never again. A small map, the
//! system key `databases`, says which database is which keyspace. FLUSHDB draws a new keyspace and buries the old one,
//! SWAPDB exchanges two: both are O(1).
//!
//! **slot** is the hash slot of Redis Cluster (CRC16 of the key or of its hash tag, modulo 16,384), so a slot is one
//! range of META per keyspace. **h48** is a hash of the whole key under a seed that was made with the tree. The two
//! together, 62 bits, are the order of SCAN: its cursor is the position after the last key shown, needs no state, and
//! survives restarts and failovers; RANDOMKEY is a seek.
//!
//! A META value:
//!
//! | bytes | |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | kind: 1 string, 2 string in chunks, 3 hash in META, 4 hash in DATA |
//! | 1 | flags: 1 expires; 2 edited in place, 4 made by float arithmetic (OBJECT ENCODING tells it) |
//! | 8 | when it is due, ms since 1970, if it expires |
//! | 14 | object: home keyspace (4), home slot (2), number (8); kinds 2 and 4 |
//! | … | body |
//!
//! | kind | body | DATA, by tag |
//! |---|---|---|
//! | 1 | the string | |
//! | 2 | length (8) | `b` chunk number (4) → 16 KiB of the string; what is missing is zeros |
//! | 3 | per field, in the order of insertion: length, field, length, value (lengths are varints) | |
//! | 4 | fields (8), bytes of fields and values (8) | `f` h62 of the field (8) field → value |
//!
//! An **object** is a number that is drawn once and never again. Whatever a key is renamed to and wherever it is moved,
//! its elements keep their keys: RENAME and MOVE are O(1). DEL of a collection deletes META and digs one grave for the
//! object's prefix, O(1) again; nobody can read dead elements, since nothing names their object.
//!
//! # Reading and writing
//!
//! A command reads through layers: the [`Overlay`] with everything that is written and not yet applied, then the tree.
//! A connection's [`View`] is the same type without the overlay. A [`WriteTxn`] writes into the overlay under the number
//! of the entry that its [`Drain`] will become, and the drain's journal can undo it. [`Drain::finish`] gives the last
//! write of each key, as one batch: applying it reads nothing.
//!
//! # Time
//!
//! Every entry has a stamp, a view carries the stamp of its last entry, and **a key exists if it is not due by that
//! stamp**, whatever any clock says. A command of a drain lives at the drain's stamp; when it treats a key as absent
//! because it is due, the key's deletion becomes one of its effects. A point read on a connection that finds a key due
//! by the present time, but not by the stamp, is stopped and sent to the executor, which makes the entry that says so.
//! Walks over the keyspace (SCAN, KEYS, RANDOMKEY) go by the stamp alone. So a key that one client has seen gone can
//! never be seen again by another.
//!
//! # Caveats
//!
//! - A field is ordered by its hash once a hash is large: HGETALL's order is then arbitrary, as in Redis.
//! - HRANDFIELD and RANDOMKEY pick fairly among the neighbours of a random position, not among all.
//! - COPY and the first write that outgrows META are O(n), in one entry.
//! - What a grave covers takes space until compaction has passed over it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub(crate) mod database;
mod drain;
mod encoding;
mod error;
mod expiry;
mod extended;
pub(crate) mod hash;
pub(crate) mod key;
mod moved;
mod overlay;
mod record;
pub mod scan;
mod source;
mod state;
pub(crate) mod string;
mod txn;
mod view;

#[cfg(test)]
mod tests;

pub use drain::{Drain, Mark, SYSTEM_BYTES_MAX};
pub use encoding::{Key, SLOTS, slot};
pub use error::{CommandError, Failure, Result, Stop};
pub use expiry::{delete_due, next_due};
pub use overlay::{Overlay, Slot};
pub use record::Type;
pub use state::{Counts, DATABASES, Database, DatabaseMap, Limits, Published, State};
pub use txn::WriteTxn;
pub use view::{Seen, View, prefetch};

use crate::lsm::Family;

/// The family of the system keys.
pub const SYSTEM: u8 = 0;
/// The family of the keys.
pub const META: u8 = 1;
/// The family of the elements of collections and the chunks of long strings.
pub const DATA: u8 = 2;
/// The family of the TTL index.
pub const TTL: u8 = 3;
/// The family of the graves: prefixes of which everything is dead.
pub const DEAD: u8 = 4;

/// Bits of a META or DATA key before those of the slot, which are spread evenly: family, keyspace, and the two upper
/// bits of the slot, always 0.
const SKIP_BITS: u32 = 8 + 32 + 2;

/// What the tree is told about the families, in the order of their numbers.
pub const FAMILIES: &[Family] = &[
    Family { name: "system", skip_bits: None, filter: false, rows: false, block_bytes: 4 << 10 },
    Family { name: "meta", skip_bits: Some(SKIP_BITS), filter: true, rows: true, block_bytes: 4 << 10 },
    Family { name: "data", skip_bits: Some(SKIP_BITS), filter: true, rows: false, block_bytes: 8 << 10 },
    Family { name: "ttl", skip_bits: None, filter: false, rows: false, block_bytes: 16 << 10 },
    Family { name: "dead", skip_bits: None, filter: false, rows: false, block_bytes: 4 << 10 },
];
