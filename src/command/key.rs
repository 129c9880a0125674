//! The commands on keys of any type.

use super::arguments::int;
use super::expire::{EXPIRE, EXPIREAT, EXPIRETIME, PEXPIRE, PEXPIREAT, PEXPIRETIME, PTTL, TTL};
use super::scan::{self, Of, Options};
use super::spec::{Command, Compare, KEY, KEYS, SECOND_KEY, access, acl};
use crate::glob;
use crate::keyspace::{CommandError, Result, View, WriteTxn, key, scan as keys};
use crate::resp::{Args, ReplyWriter};

/// Each key is looked at alone, and the answers are added up: what a proxy must know.
const PER_KEY: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

/// The commands of this group.
pub(super) const COMMANDS: &[Command] = &[
    Command::write("COPY", "source destination [DB destination-db] [REPLACE]", copy)
        .keys(KEY)
        .access(access::RO | access::ACCESS)
        .keys(SECOND_KEY)
        .access(access::OW | access::UPDATE)
        .deny_oom()
        .doc("6.2.0", "Copies what a key holds to another key.")
        .complexity("O(N) in the elements of a collection"),
    Command::write("DEL", "key [key ...]", del)
        .keys(KEYS)
        .access(access::RM | access::DELETE)
        .tips(PER_KEY)
        .doc("1.0.0", "Deletes keys.")
        .complexity("O(N) in the keys, whatever they hold"),
    Command::read("EXISTS", "key [key ...]", exists)
        .keys(KEYS)
        .access(access::RO)
        .fast()
        .tips(PER_KEY)
        .doc("1.0.0", "Counts the keys that exist.")
        .complexity("O(N) in the keys"),
    EXPIRE,
    EXPIREAT,
    EXPIRETIME,
    Command::read("KEYS", "pattern", all_keys)
        .acl(acl::DANGEROUS)
        .takes_long()
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .compare(Compare::Sorted)
        .doc("1.0.0", "Returns all keys that match a pattern.")
        .complexity("O(N) in the keys of the database"),
    Command::write("MOVE", "key db", move_key)
        .keys(KEY)
        .fast()
        .doc("1.0.0", "Moves a key to another database."),
    OBJECT,
    Command::write("PERSIST", "key", persist)
        .keys(KEY)
        .access(access::RW | access::UPDATE)
        .fast()
        .doc("2.2.0", "Takes the time to live from a key."),
    PEXPIRE,
    PEXPIREAT,
    PEXPIRETIME,
    PTTL,
    Command::read("RANDOMKEY", "", random_key)
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"])
        .compare(Compare::Member)
        .doc("1.0.0", "Returns a key of the database, chosen at random."),
    Command::write("RENAME", "key newkey", rename)
        .keys(KEY)
        .access(access::RW | access::ACCESS | access::DELETE)
        .keys(SECOND_KEY)
        .access(access::OW | access::UPDATE)
        .doc("1.0.0", "Renames a key, over what has the new name."),
    Command::write("RENAMENX", "key newkey", rename_nx)
        .keys(KEY)
        .access(access::RW | access::ACCESS | access::DELETE)
        .keys(SECOND_KEY)
        .access(access::OW | access::INSERT)
        .fast()
        .doc("1.0.0", "Renames a key if nothing has the new name."),
    Command::read("SCAN", "cursor [MATCH pattern] [COUNT count] [TYPE type]", scan_keys)
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .compare(Compare::Scan)
        .doc("2.8.0", "Walks over the keys of the database, a page at a time.")
        .complexity("O(1) a page"),
    Command::read("TOUCH", "key [key ...]", exists)
        .keys(KEYS)
        .access(access::RO)
        .fast()
        .tips(PER_KEY)
        .doc("3.2.1", "Counts the keys that exist; when they were last used is not tracked.")
        .complexity("O(N) in the keys"),
    TTL,
    Command::read("TYPE", "key", type_of)
        .keys(KEY)
        .access(access::RO)
        .fast()
        .doc("1.0.0", "Returns the type of what a key holds."),
    Command::write("UNLINK", "key [key ...]", del)
        .keys(KEYS)
        .access(access::RM | access::DELETE)
        .fast()
        .tips(PER_KEY)
        .doc("4.0.0", "Deletes keys, as DEL does: neither waits for space to be given back.")
        .complexity("O(N) in the keys, whatever they hold"),
    super::replication::WAIT,
    super::replication::WAITAOF,
];

const OBJECT: Command = Command::container(
    "OBJECT",
    &[
        object("OBJECT|ENCODING", encoding)
            .compare(Compare::Exact)
            .doc("2.2.3", "Returns how the value of a key is laid out."),
        object("OBJECT|FREQ", freq).doc("4.0.0", "Refuses: the frequency of access is not tracked."),
        Command::session("OBJECT|HELP", "", object_help)
            .always()
            .acl(acl::KEYSPACE)
            .compare(Compare::Shape)
            .doc("6.2.0", "Returns a text about the subcommands."),
        object("OBJECT|IDLETIME", idle_time)
            .compare(Compare::Shape)
            .doc("2.2.3", "Returns 0 for a key that exists: the time of the last access is not tracked."),
        object("OBJECT|REFCOUNT", ref_count)
            .compare(Compare::Shape)
            .doc("2.2.3", "Returns 1 for a key that exists: values are not shared between keys."),
    ],
)
.doc("2.2.3", "A container for commands that look into a key.");

const fn object(
    name: &'static str,
    handler: fn(&View<'_>, &Args, &mut ReplyWriter<'_>) -> Result,
) -> Command {
    Command::read(name, "key", handler).keys(SECOND_KEY).access(access::RO).tips(&["nondeterministic_output"])
}

/// The number of words, from word 1 on, for which `test` holds.
fn count_words(args: &Args, mut test: impl FnMut(&[u8]) -> Result<bool>) -> Result<i64> {
    let mut count = 0;
    for name in args.iter().skip(1) {
        count += i64::from(test(name)?);
    }
    Ok(count)
}

fn del(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.integer(count_words(args, |name| key::delete(txn, name))?);
    Ok(())
}

fn exists(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.integer(count_words(args, |name| view.exists(name))?);
    Ok(())
}

fn type_of(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.simple(key::type_of(view, &args[1])?.map_or("none", |found| found.name()));
    Ok(())
}

fn persist(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.integer(i64::from(key::persist(txn, &args[1])?));
    Ok(())
}

fn rename(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    key::rename(txn, &args[1], &args[2], false)?;
    out.ok();
    Ok(())
}

fn rename_nx(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.integer(i64::from(key::rename(txn, &args[1], &args[2], true)?));
    Ok(())
}

fn move_key(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let db = View::checked_db(int(&mut args.reader(2))?)?;
    out.integer(i64::from(key::move_to(txn, &args[1], db)?));
    Ok(())
}

fn copy(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let (mut db, mut replaces) = (txn.db(), false);
    let mut options = args.reader(3);
    while options.remaining() > 0 {
        if options.token("REPLACE") {
            replaces = true;
        } else if options.remaining() > 1 && options.token("DB") {
            db = View::checked_db(int(&mut options)?)?;
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    out.integer(i64::from(key::copy(txn, &args[1], &args[2], db, replaces)?));
    Ok(())
}

fn all_keys(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let mut count = 0;
    let names = out.deferred_array();
    keys::each_key(view, |name, _| {
        if glob::matches(&args[1], name) {
            out.bulk(name);
            count += 1;
        }
        Ok(out.check()?)
    })?;
    out.finish_array(names, count);
    Ok(())
}

fn random_key(view: &View<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result {
    match keys::random_key(view)? {
        Some(name) => out.bulk(&name),
        None => out.null(),
    }
    Ok(())
}

fn scan_keys(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let cursor = scan::parse_cursor(&args[1])?;
    let options = Options::parse(args.reader(2), Of::Keys)?;
    scan::reply_page(out, |page| {
        keys::scan(view, cursor, options.count, |name, kind| {
            let is_wanted =
                options.type_name.is_none_or(|wanted| wanted.eq_ignore_ascii_case(kind.name().as_bytes()));
            if is_wanted && options.matches(name) { page.add(name) } else { Ok(()) }
        })
    })
}

fn encoding(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    match key::encoding(view, &args[2])? {
        Some(encoding) => out.bulk(encoding.as_bytes()),
        None => out.null(),
    }
    Ok(())
}

fn freq(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    if view.exists(&args[2])? {
        let text = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
                    when switching between policies at runtime LRU and LFU data will take some time to adjust.";
        return Err(CommandError::other(text).into());
    }
    out.null();
    Ok(())
}

/// The same number for every key that exists.
fn constant(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>, number: i64) -> Result {
    if view.exists(&args[2])? {
        out.integer(number);
    } else {
        out.null();
    }
    Ok(())
}

fn idle_time(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    constant(view, args, out, 0)
}

fn ref_count(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    constant(view, args, out, 1)
}

const OBJECT_HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return how the value of <key> is laid out.",
    "FREQ <key>",
    "    Refused for a <key> that exists: the frequency of access is not tracked.",
    "IDLETIME <key>",
    "    Return 0 for a <key> that exists: the time of the last access is not tracked.",
    "REFCOUNT <key>",
    "    Return 1 for a <key> that exists: values are not shared between keys.",
    "HELP",
    "    Print this help.",
];

fn object_help(_: &mut crate::session::Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.array(OBJECT_HELP.len());
    OBJECT_HELP.iter().for_each(|line| out.simple(line));
    Ok(())
}
