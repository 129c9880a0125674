//! Collections that were moved to another database: their elements stay in the keyspace where they were made.
//!
//! MOVE is O(1), so the elements keep their keys; but FLUSHDB kills all elements of a keyspace by one prefix. So every
//! collection that lives elsewhere than its elements is on two lists, and a keyspace that is flushed while elements of
//! moved collections are in it is only *retired*: it is buried when the last of them dies.
//!
//! | system key | |
//! |---|---|
//! | `away` home keyspace (4) slot (2) object (8) | the elements are there, the key is elsewhere |
//! | `guest` keyspace of the key (4) object (14) | the key is there, the elements are elsewhere |
//! | `retired` keyspace (4) | flushed, but elements of moved collections are in it |

use super::encoding::{Encoded, Object, family_prefix};
use super::error::Result;
use super::state::system_key;
use super::txn::WriteTxn;
use super::{DATA, META, TTL};
use crate::lsm::Value;

const AWAY: &[u8] = b"away";
const GUEST: &[u8] = b"guest";
const RETIRED: &[u8] = b"retired";

fn with_keyspace(name: &[u8], keyspace: u32) -> Encoded {
    let mut key = system_key(name);
    key.extend_from_slice(&keyspace.to_be_bytes());
    key
}

fn away_key(object: Object) -> Encoded {
    let mut key = system_key(AWAY);
    key.extend_from_slice(&object.to_bytes());
    key
}

fn guest_key(object: Object, keyspace: u32) -> Encoded {
    let mut key = with_keyspace(GUEST, keyspace);
    key.extend_from_slice(&object.to_bytes());
    key
}

/// The key of `object` was in keyspace `from` and is in `to` now.
pub(super) fn note(txn: &mut WriteTxn<'_>, object: Object, from: u32, to: u32) -> Result {
    if from != object.keyspace {
        txn.delete(&guest_key(object, from));
    }
    if to == object.keyspace {
        txn.delete(&away_key(object));
    } else {
        txn.put(&guest_key(object, to), &[])?;
        txn.put(&away_key(object), &[])?;
    }
    Ok(())
}

/// `object`, whose key was in keyspace `keyspace` and not at home, is dead.
pub(super) fn forget(txn: &mut WriteTxn<'_>, object: Object, keyspace: u32) -> Result {
    txn.delete(&guest_key(object, keyspace));
    txn.delete(&away_key(object));
    let retired = with_keyspace(RETIRED, object.keyspace);
    let is_retired = txn.source().get(&retired, &mut Value::default())?;
    if is_retired && !has_away(txn, object.keyspace)? {
        txn.delete(&retired);
        txn.bury_prefix(&family_prefix(DATA, object.keyspace));
    }
    Ok(())
}

/// Keyspace `keyspace` is given up with everything in it.
pub(super) fn bury_keyspace(txn: &mut WriteTxn<'_>, keyspace: u32) -> Result {
    for guest in guests(txn, keyspace)? {
        txn.bury_prefix(&guest.prefix());
        forget(txn, guest, keyspace)?;
    }
    txn.bury_prefix(&family_prefix(META, keyspace));
    txn.bury_prefix(&family_prefix(TTL, keyspace));
    if has_away(txn, keyspace)? {
        txn.put(&with_keyspace(RETIRED, keyspace), &[])?;
    } else {
        txn.bury_prefix(&family_prefix(DATA, keyspace));
    }
    Ok(())
}

fn has_away(txn: &WriteTxn<'_>, keyspace: u32) -> Result<bool> {
    Ok(txn.source().walk_all(with_keyspace(AWAY, keyspace))?.key().is_some())
}

fn guests(txn: &WriteTxn<'_>, keyspace: u32) -> Result<Vec<Object>> {
    let mut walk = txn.source().walk_all(with_keyspace(GUEST, keyspace))?;
    let mut guests = Vec::new();
    while let Some(object) = walk.suffix() {
        guests.push(Object::from_bytes(object));
        walk.next()?;
    }
    Ok(guests)
}
