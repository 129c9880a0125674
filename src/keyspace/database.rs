//! Databases as a whole: which keyspace each of them is.

use super::error::Result;
use super::moved;
use super::state::{Counts, DATABASES, Database, count_key};
use super::txn::WriteTxn;

/// Empties database `db`: it becomes a new keyspace, and the old one is buried. O(1), but for collections that were
/// moved there from another database.
pub(crate) fn flush(txn: &mut WriteTxn<'_>, db: u32) -> Result {
    let old = txn.database(db);
    if old.counts.keys == 0 {
        return Ok(());
    }
    txn.delete(&count_key(old.keyspace));
    let keyspace = txn.draw_keyspace(old.keyspace);
    txn.set_database(db, Database { keyspace, counts: Counts::default() });
    moved::bury_keyspace(txn, old.keyspace)
}

/// Empties every database.
pub(crate) fn flush_all(txn: &mut WriteTxn<'_>) -> Result {
    (0..).take(DATABASES).try_for_each(|db| flush(txn, db))
}

/// Exchanges two databases.
pub(crate) fn swap(txn: &mut WriteTxn<'_>, left: u32, right: u32) {
    let (old_left, old_right) = (txn.database(left), txn.database(right));
    txn.set_database(left, old_right);
    txn.set_database(right, old_left);
}
