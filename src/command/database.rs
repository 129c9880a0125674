//! The commands on whole databases.

use super::spec::{Command, acl};
use crate::keyspace::{CommandError, Result, View, WriteTxn, database};
use crate::resp::{Args, ReplyWriter};

/// DBSIZE.
pub(super) const DBSIZE: Command = Command::read("DBSIZE", "", dbsize)
    .fast()
    .acl(acl::KEYSPACE)
    .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
    .doc("1.0.0", "Returns the number of keys in the database.");
/// FLUSHALL.
pub(super) const FLUSHALL: Command = flush("FLUSHALL", flush_all)
    .doc("1.0.0", "Deletes the keys of all databases.")
    .complexity("O(1); space is given back by compaction");
/// FLUSHDB.
pub(super) const FLUSHDB: Command = flush("FLUSHDB", flush_db)
    .doc("1.0.0", "Deletes the keys of the database.")
    .complexity("O(1); space is given back by compaction");
/// SWAPDB.
pub(super) const SWAPDB: Command = Command::write("SWAPDB", "index1 index2", swap)
    .fast()
    .acl(acl::KEYSPACE | acl::DANGEROUS)
    .doc("4.0.0", "Exchanges two databases.");

const fn flush(
    name: &'static str,
    handler: fn(&mut WriteTxn<'_>, &Args, &mut ReplyWriter<'_>) -> Result,
) -> Command {
    Command::write(name, "[ASYNC | SYNC]", handler)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
}

fn dbsize(view: &View<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.integer(i64::try_from(view.counts()?.keys).expect("fewer than 2^63 keys"));
    Ok(())
}

/// ASYNC and SYNC are one: the keys are gone at once, and space is given back later.
fn check_options(args: &Args) -> Result {
    let mut options = args.reader(1);
    if !options.token("ASYNC") {
        options.token("SYNC");
    }
    Ok(options.finish()?)
}

fn flush_db(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    check_options(args)?;
    let db = txn.db();
    database::flush(txn, db)?;
    out.ok();
    Ok(())
}

fn flush_all(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    check_options(args)?;
    database::flush_all(txn)?;
    out.ok();
    Ok(())
}

fn swap(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let index = |word: usize, text: &'static str| -> Result<i64> {
        let number = args.reader(word).integer().ok().filter(|number| i32::try_from(*number).is_ok());
        number.ok_or_else(|| CommandError::other(text).into())
    };
    let left = index(1, "ERR invalid first DB index")?;
    let right = index(2, "ERR invalid second DB index")?;
    let (left, right) = (View::checked_db(left)?, View::checked_db(right)?);
    database::swap(txn, left, right);
    out.ok();
    Ok(())
}
