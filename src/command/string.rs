//! The commands on strings.

mod lcs;

use super::expire::{self, Ttl};
use super::spec::{Command, KEY, KEY_VALUES, KEYS, access};
use crate::keyspace::string::{self, Text};
use crate::keyspace::{CommandError, Result, View, WriteTxn, key};
use crate::resp::{ArgReader, Args, ReplyWriter};

/// The commands of this group.
pub(super) const COMMANDS: &[Command] = &[
    Command::write("APPEND", "key value", append)
        .keys(KEY)
        .access(access::RW | access::INSERT)
        .deny_oom()
        .fast()
        .doc("2.0.0", "Appends to a string, and makes it if there is none.")
        .complexity("O(N) in the appended bytes, and in the string while it has at most 64 KiB"),
    Command::write("DECR", "key", decr)
        .keys(KEY)
        .deny_oom()
        .fast()
        .doc("1.0.0", "Subtracts one from an integer."),
    Command::write("DECRBY", "key decrement", decr_by)
        .keys(KEY)
        .deny_oom()
        .fast()
        .doc("1.0.0", "Subtracts a number from an integer."),
    Command::read("GET", "key", get).keys(KEY).fast().doc("1.0.0", "Returns a string."),
    Command::write("GETDEL", "key", get_del)
        .keys(KEY)
        .access(access::RW | access::ACCESS | access::DELETE)
        .fast()
        .doc("6.2.0", "Returns a string and deletes its key."),
    Command::write(
        "GETEX",
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        get_ex,
    )
    .keys(KEY)
    .fast()
    .doc("6.2.0", "Returns a string and changes its time to live."),
    Command::read("GETRANGE", "key start end", get_range)
        .keys(KEY)
        .doc("2.4.0", "Returns a part of a string.")
        .complexity("O(N) in the bytes returned, and in the string while it has at most 64 KiB"),
    Command::write("GETSET", "key value", get_set)
        .keys(KEY)
        .deny_oom()
        .fast()
        .doc("1.0.0", "Sets a string and returns the one before it."),
    Command::write("INCR", "key", incr).keys(KEY).deny_oom().fast().doc("1.0.0", "Adds one to an integer."),
    Command::write("INCRBY", "key increment", incr_by)
        .keys(KEY)
        .deny_oom()
        .fast()
        .doc("1.0.0", "Adds a number to an integer."),
    Command::write("INCRBYFLOAT", "key increment", incr_by_float)
        .keys(KEY)
        .deny_oom()
        .fast()
        .doc("2.6.0", "Adds a number to a number with a fraction."),
    lcs::LCS,
    Command::read("MGET", "key [key ...]", mget)
        .keys(KEYS)
        .fast()
        .tips(&["request_policy:multi_shard"])
        .doc("1.0.0", "Returns several strings.")
        .complexity("O(N) in the keys"),
    Command::write("MSET", "key value [key value ...]", mset)
        .keys(KEY_VALUES)
        .access(access::OW | access::UPDATE)
        .deny_oom()
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .doc("1.0.1", "Sets several strings.")
        .complexity("O(N) in the keys"),
    Command::write("MSETNX", "key value [key value ...]", msetnx)
        .keys(KEY_VALUES)
        .access(access::OW | access::INSERT)
        .deny_oom()
        .doc("1.0.1", "Sets several strings if none of the keys exists.")
        .complexity("O(N) in the keys"),
    Command::write("PSETEX", "key milliseconds value", psetex)
        .keys(KEY)
        .access(access::OW | access::UPDATE)
        .deny_oom()
        .doc("2.6.0", "Sets a string and its time to live in milliseconds."),
    Command::write(
        "SET",
        "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        set,
    )
    .keys(KEY)
    .access(access::RW | access::ACCESS | access::UPDATE | access::VARIABLE_FLAGS)
    .deny_oom()
    .doc("1.0.0", "Sets a string, whatever the key held."),
    Command::write("SETEX", "key seconds value", setex)
        .keys(KEY)
        .access(access::OW | access::UPDATE)
        .deny_oom()
        .doc("2.0.0", "Sets a string and its time to live in seconds."),
    Command::write("SETNX", "key value", setnx)
        .keys(KEY)
        .access(access::OW | access::INSERT)
        .deny_oom()
        .fast()
        .doc("1.0.0", "Sets a string if the key does not exist."),
    Command::write("SETRANGE", "key offset value", set_range)
        .keys(KEY)
        .access(access::RW | access::UPDATE)
        .deny_oom()
        .doc("2.2.0", "Writes over a part of a string.")
        .complexity("O(N) in the written bytes, and in the string while it has at most 64 KiB"),
    Command::read("STRLEN", "key", strlen)
        .keys(KEY)
        .access(access::RO)
        .fast()
        .doc("2.2.0", "Returns the length of a string."),
    Command::read("SUBSTR", "key start end", get_range)
        .keys(KEY)
        .doc("1.0.0", "Returns a part of a string: the old name of GETRANGE.")
        .complexity("O(N) in the bytes returned, and in the string while it has at most 64 KiB"),
];

/// Strings of this length are sent from where they are.
const SHARED_BYTES_MIN: usize = 16 * 1024;

fn reply(text: Option<&Text>, out: &mut ReplyWriter<'_>) {
    match text {
        None => out.null(),
        Some(text) if text.len() >= SHARED_BYTES_MIN => out.bulk_shared(text.to_bytes()),
        Some(text) => out.bulk(text),
    }
}

fn count(length: u64) -> i64 {
    i64::try_from(length).expect("a length fits into memory")
}

fn get(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let text = string::get(view, &args[1])?;
    reply(text.as_ref(), out);
    if let Some(text) = text {
        string::done(view, text);
    }
    Ok(())
}

fn mget(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.array(args.len() - 1);
    for name in args.iter().skip(1) {
        let text = string::get_if_string(view, name)?;
        reply(text.as_ref(), out);
        if let Some(text) = text {
            string::done(view, text);
        }
        out.check()?;
    }
    Ok(())
}

fn strlen(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.integer(count(string::length(view, &args[1])?));
    Ok(())
}

fn get_range(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let mut numbers = args.reader(2);
    let (start, end) = (numbers.integer()?, numbers.integer()?);
    out.bulk_shared(string::range(view, &args[1], start, end)?);
    Ok(())
}

/// When SET writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum If {
    #[default]
    Always,
    Absent,
    Present,
}

/// The options of SET.
#[derive(Debug, Default)]
struct SetOptions {
    condition: If,
    returns_old: bool,
    keeps_ttl: bool,
    ttl: Option<Ttl>,
}

impl SetOptions {
    fn parse(mut args: ArgReader<'_>) -> Result<Self> {
        let mut options = Self::default();
        while args.remaining() > 0 {
            if options.condition != If::Present && args.token("NX") {
                options.condition = If::Absent;
            } else if options.condition != If::Absent && args.token("XX") {
                options.condition = If::Present;
            } else if args.token("GET") {
                options.returns_old = true;
            } else if options.ttl.is_none() && args.token("KEEPTTL") {
                options.keeps_ttl = true;
            } else if !options.keeps_ttl
                && let Some(ttl) = Ttl::parse(&mut args, options.ttl)?
            {
                options.ttl = Some(ttl);
            } else {
                return Err(CommandError::Syntax.into());
            }
        }
        Ok(options)
    }
}

fn set(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let key = txn.key(&args[1]);
    if args.len() == 3 {
        string::set(txn, &key, &args[2], None)?;
        out.ok();
        return Ok(());
    }
    let options = SetOptions::parse(args.reader(3))?;
    let due = options.ttl.as_ref().map(|ttl| ttl.due(args, txn.now(), "set")).transpose()?;
    if options.returns_old {
        let text = string::get_old(txn, &key)?;
        reply(text.as_ref(), out);
    }
    let writes = match options.condition {
        If::Always => true,
        If::Absent => !txn.exists(&key)?,
        If::Present => txn.exists(&key)?,
    };
    if writes {
        let due = if options.keeps_ttl { txn.due(&key)? } else { due };
        string::set(txn, &key, &args[2], due)?;
    }
    match (options.returns_old, writes) {
        (true, _) => {}
        (false, true) => out.ok(),
        (false, false) => out.null(),
    }
    Ok(())
}

fn set_with_ttl(
    txn: &mut WriteTxn<'_>,
    args: &Args,
    out: &mut ReplyWriter<'_>,
    ttl: &Ttl,
    name: &'static str,
) -> Result {
    let due = ttl.due(args, txn.now(), name)?;
    let key = txn.key(&args[1]);
    string::set(txn, &key, &args[3], Some(due))?;
    out.ok();
    Ok(())
}

fn setex(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    set_with_ttl(txn, args, out, &Ttl::seconds(2), "setex")
}

fn psetex(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    set_with_ttl(txn, args, out, &Ttl::milliseconds(2), "psetex")
}

fn setnx(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let key = txn.key(&args[1]);
    let exists = txn.exists(&key)?;
    if !exists {
        string::set_new(txn, &key, &args[2])?;
    }
    out.integer(i64::from(!exists));
    Ok(())
}

fn set_each(txn: &mut WriteTxn<'_>, args: &Args) -> Result {
    for word in (1..args.len()).step_by(2) {
        let key = txn.key(&args[word]);
        string::set(txn, &key, &args[word + 1], None)?;
    }
    Ok(())
}

fn mset(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::other("ERR wrong number of arguments for 'mset' command").into());
    }
    set_each(txn, args)?;
    out.ok();
    Ok(())
}

fn msetnx(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::other("ERR wrong number of arguments for 'msetnx' command").into());
    }
    for word in (1..args.len()).step_by(2) {
        let key = txn.key(&args[word]);
        if txn.exists(&key)? {
            out.integer(0);
            return Ok(());
        }
    }
    set_each(txn, args)?;
    out.integer(1);
    Ok(())
}

fn get_set(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let key = txn.key(&args[1]);
    let text = string::get_old(txn, &key)?;
    reply(text.as_ref(), out);
    string::set(txn, &key, &args[2], None)
}

fn get_del(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let key = txn.key(&args[1]);
    let text = string::get_old(txn, &key)?;
    reply(text.as_ref(), out);
    if text.is_some() {
        key::delete(txn, &args[1])?;
    }
    Ok(())
}

fn get_ex(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let (mut persists, mut ttl) = (false, None);
    let mut options = args.reader(2);
    while options.remaining() > 0 {
        if ttl.is_none() && options.token("PERSIST") {
            persists = true;
        } else if !persists && let Some(parsed) = Ttl::parse(&mut options, ttl)? {
            ttl = Some(parsed);
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    let key = txn.key(&args[1]);
    let text = string::get_old(txn, &key)?;
    reply(text.as_ref(), out);
    if text.is_none() {
        return Ok(());
    }
    if let Some(ttl) = ttl {
        let due = ttl.due(args, txn.now(), "getex")?;
        key::expire(txn, &args[1], expire::signed(due), key::Condition::default())?;
    } else if persists {
        key::persist(txn, &args[1])?;
    }
    Ok(())
}

fn append(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.integer(count(string::append(txn, &args[1], &args[2])?));
    Ok(())
}

fn set_range(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let offset = args.reader(2).integer()?;
    let offset = u64::try_from(offset).map_err(|_| CommandError::OffsetOutOfRange)?;
    out.integer(count(string::set_range(txn, &args[1], offset, &args[3])?));
    Ok(())
}

fn add(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>, by: i64) -> Result {
    out.integer(string::increment(txn, &args[1], by)?);
    Ok(())
}

fn incr(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    add(txn, args, out, 1)
}

fn decr(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    add(txn, args, out, -1)
}

fn incr_by(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let by = args.reader(2).integer()?;
    add(txn, args, out, by)
}

fn decr_by(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let by = args.reader(2).integer()?;
    add(txn, args, out, by.checked_neg().ok_or(CommandError::DecrementOverflow)?)
}

fn incr_by_float(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.bulk(string::increment_float(txn, &args[1], &args[2])?.as_bytes());
    Ok(())
}
