//! Active expiry: the keys that are due, in the order in which they are.
//!
//! Nothing depends on it: a key that is due is absent for everyone who lives at a stamp at or after its time. It gives
//! back the space, and tells those who watch.
//!
//! What was deleted leaves tombstones at the front of the index. [`State`] therefore remembers from which time on the
//! index can hold anything, so that they are not walked over again and again until compaction drops them.

use super::TTL;
use super::encoding::{decode_ttl_key, family_prefix, ttl_position};
use super::error::Result;
use super::overlay::Overlay;
use super::source::Source;
use super::state::State;
use super::txn::WriteTxn;
use crate::lsm::{self, Access};

/// When the next key of any database is due, ms since 1970. One seek per database that has such keys.
pub fn next_due(base: &lsm::View, access: Access, overlay: &Overlay, state: &State) -> Result<Option<u64>> {
    let source = Source { base, overlay: Some(overlay), access };
    let mut earliest = None;
    for database in state.databases().iter().filter(|database| database.counts.expires > 0) {
        let walk = source.walk(
            family_prefix(TTL, database.keyspace),
            &ttl_position(database.keyspace, state.ttl_floor(database.keyspace)),
        )?;
        let at = walk.key().map(|key| decode_ttl_key(key).0);
        assert!(at.is_some(), "keyspace {} counts keys with a time to live", database.keyspace);
        earliest = earliest.into_iter().chain(at).min();
    }
    Ok(earliest)
}

/// Names of due keys, in bytes, after which no further one is deleted by the same drain: an entry is not to become large by
/// what nobody asked for.
const DUE_BYTES_MAX: usize = 64 * 1024;

/// Deletes up to `keys_max` keys of each database that are due at the drain's stamp, fewer if their names are long, and tells
/// how many it deleted.
pub fn delete_due(txn: &mut WriteTxn<'_>, keys_max: usize) -> Result<usize> {
    let mut deleted = 0;
    let mut bytes = 0;
    for database in *txn.databases() {
        if database.counts.expires == 0 || DUE_BYTES_MAX <= bytes {
            continue;
        }
        let mut due = Vec::new();
        let keyspace = database.keyspace;
        let from = ttl_position(keyspace, txn.ttl_floor(keyspace));
        let mut walk = txn.source().walk(family_prefix(TTL, keyspace), &from)?;
        let first = walk.key().map(|record| decode_ttl_key(record).0);
        while let Some(record) = walk.key()
            && due.len() < keys_max
            && bytes < DUE_BYTES_MAX
        {
            let (at, key) = decode_ttl_key(record);
            if at > txn.now() {
                break;
            }
            bytes += record.len();
            due.push(key);
            walk.next()?;
        }
        drop(walk);
        if let Some(at) = first {
            txn.raise_ttl_floor(keyspace, at);
        }
        for key in &due {
            // To look at a key that is due deletes it.
            assert!(txn.header(key)?.is_none(), "the TTL index says that a key is due, and META denies it");
        }
        deleted += due.len();
    }
    Ok(deleted)
}
