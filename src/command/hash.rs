//! The commands on hashes.

use super::scan::{self, Of, Options};
use super::spec::{Command, Compare, KEY, access};
use crate::keyspace::hash::{self, Editor, Hash};
use crate::keyspace::{CommandError, Failure, Result, Stop, View, WriteTxn};
use crate::resp::{Args, Protocol, ReplyWriter};

/// The commands of this group.
pub(super) const COMMANDS: &[Command] = &[
    Command::write("HDEL", "key field [field ...]", hdel)
        .keys(KEY)
        .access(access::RW | access::DELETE)
        .fast()
        .doc("2.0.0", "Deletes fields of a hash.")
        .complexity("O(N) in the fields"),
    Command::read("HEXISTS", "key field", hexists)
        .keys(KEY)
        .access(access::RO)
        .fast()
        .doc("2.0.0", "Tells whether a hash has a field."),
    Command::read("HGET", "key field", hget).keys(KEY).fast().doc("2.0.0", "Returns a field of a hash."),
    Command::read("HGETALL", "key", hgetall)
        .keys(KEY)
        .tips(&["nondeterministic_output_order"])
        .compare(Compare::Sorted)
        .doc("2.0.0", "Returns the fields of a hash with their values.")
        .complexity("O(N) in the fields of the hash"),
    Command::write("HINCRBY", "key field increment", hincr_by)
        .keys(KEY)
        .deny_oom()
        .fast()
        .doc("2.0.0", "Adds a number to an integer in a hash."),
    Command::write("HINCRBYFLOAT", "key field increment", hincr_by_float)
        .keys(KEY)
        .deny_oom()
        .fast()
        .doc("2.6.0", "Adds a number to a number with a fraction in a hash."),
    Command::read("HKEYS", "key", hkeys)
        .keys(KEY)
        .tips(&["nondeterministic_output_order"])
        .compare(Compare::Sorted)
        .doc("2.0.0", "Returns the fields of a hash.")
        .complexity("O(N) in the fields of the hash"),
    Command::read("HLEN", "key", hlen)
        .keys(KEY)
        .access(access::RO)
        .fast()
        .doc("2.0.0", "Returns the number of fields of a hash."),
    Command::read("HMGET", "key field [field ...]", hmget)
        .keys(KEY)
        .fast()
        .doc("2.0.0", "Returns several fields of a hash.")
        .complexity("O(N) in the fields"),
    Command::write("HMSET", "key field value [field value ...]", hmset)
        .keys(KEY)
        .access(access::RW | access::UPDATE)
        .deny_oom()
        .fast()
        .doc("2.0.0", "Sets several fields of a hash.")
        .complexity("O(N) in the fields"),
    Command::read("HRANDFIELD", "key [count [WITHVALUES]]", hrand_field)
        .keys(KEY)
        .tips(&["nondeterministic_output"])
        .compare(Compare::Member)
        .doc("6.2.0", "Returns fields of a hash, chosen at random.")
        .complexity("O(N) in the fields returned"),
    Command::read("HSCAN", "key cursor [MATCH pattern] [COUNT count] [NOVALUES]", hscan)
        .keys(KEY)
        .tips(&["nondeterministic_output"])
        .compare(Compare::Scan)
        .doc("2.8.0", "Walks over the fields of a hash, a page at a time.")
        .complexity("O(1) a page"),
    Command::write("HSET", "key field value [field value ...]", hset)
        .keys(KEY)
        .access(access::RW | access::UPDATE)
        .deny_oom()
        .fast()
        .doc("2.0.0", "Sets fields of a hash, and makes it if there is none.")
        .complexity("O(N) in the fields"),
    Command::write("HSETNX", "key field value", hsetnx)
        .keys(KEY)
        .access(access::RW | access::INSERT)
        .deny_oom()
        .fast()
        .doc("2.0.0", "Sets a field of a hash if there is none."),
    Command::read("HSTRLEN", "key field", hstrlen)
        .keys(KEY)
        .access(access::RO)
        .fast()
        .doc("3.2.0", "Returns the length of a field of a hash."),
    Command::read("HVALS", "key", hvals)
        .keys(KEY)
        .tips(&["nondeterministic_output_order"])
        .compare(Compare::Sorted)
        .doc("2.0.0", "Returns the values of a hash.")
        .complexity("O(N) in the fields of the hash"),
];

/// The most elements that one reply repeats for a negative count: Redis would go on until its memory ends.
const REPEATED_MAX: u64 = 1 << 24;

/// What HRANDFIELD draws where others wait.
const DRAWN_INLINE_MAX: u64 = 100;

fn set_fields(txn: &mut WriteTxn<'_>, args: &Args, name: &str) -> Result<i64> {
    if args.len() % 2 == 1 {
        let text = format!("ERR wrong number of arguments for '{name}' command");
        return Err(CommandError::other(text).into());
    }
    let mut hash = Editor::open(txn, &args[1])?;
    let mut new = 0;
    for word in (2..args.len()).step_by(2) {
        new += i64::from(hash.set(&args[word], &args[word + 1])?);
    }
    hash.commit()?;
    Ok(new)
}

fn hset(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    out.integer(set_fields(txn, args, "hset")?);
    Ok(())
}

fn hmset(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    set_fields(txn, args, "hmset")?;
    out.ok();
    Ok(())
}

fn hsetnx(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let mut hash = Editor::open(txn, &args[1])?;
    let is_new = hash.get(&args[2])?.is_none();
    if is_new {
        hash.set(&args[2], &args[3])?;
        hash.commit()?;
    }
    out.integer(i64::from(is_new));
    Ok(())
}

fn hdel(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let mut hash = Editor::open(txn, &args[1])?;
    let mut deleted = 0;
    for field in args.iter().skip(2) {
        deleted += i64::from(hash.delete(field)?);
    }
    hash.commit()?;
    out.integer(deleted);
    Ok(())
}

fn hincr_by(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let by = args.reader(3).integer()?;
    let mut hash = Editor::open(txn, &args[1])?;
    let sum = hash.increment(&args[2], by)?;
    hash.commit()?;
    out.integer(sum);
    Ok(())
}

fn hincr_by_float(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let by = hash::parse_increment(&args[3])?;
    let mut hash = Editor::open(txn, &args[1])?;
    let sum = hash.increment_float(&args[2], by)?;
    hash.commit()?;
    out.bulk(sum.as_bytes());
    Ok(())
}

fn hget(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let Some(hash) = Hash::open(view, &args[1])? else {
        out.null();
        return Ok(());
    };
    hash.get(&args[2], |value| reply(value, out))?;
    hash.done();
    Ok(())
}

fn reply(value: Option<&[u8]>, out: &mut ReplyWriter<'_>) {
    match value {
        Some(value) => out.bulk(value),
        None => out.null(),
    }
}

fn hmget(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let hash = Hash::open(view, &args[1])?;
    out.array(args.len() - 2);
    for field in args.iter().skip(2) {
        match &hash {
            Some(hash) => hash.get(field, |value| reply(value, out))?,
            None => out.null(),
        }
        out.check()?;
    }
    Ok(())
}

fn hexists(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let hash = Hash::open(view, &args[1])?;
    let exists = hash.map_or(Ok(false), |hash| hash.get(&args[2], |value| value.is_some()))?;
    out.integer(i64::from(exists));
    Ok(())
}

fn hstrlen(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let hash = Hash::open(view, &args[1])?;
    let length = hash.map_or(Ok(0), |hash| hash.get(&args[2], |value| value.map_or(0, <[u8]>::len)))?;
    out.integer(signed(length as u64));
    Ok(())
}

fn hlen(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let hash = Hash::open(view, &args[1])?;
    out.integer(signed(hash.map_or(0, |hash| hash.len())));
    Ok(())
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).expect("fewer than 2^63 of anything")
}

fn length(count: u64) -> usize {
    usize::try_from(count).expect("a reply fits into memory")
}

fn hgetall(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let Some(hash) = Hash::open(view, &args[1])? else {
        out.map(0);
        return Ok(());
    };
    out.map(length(hash.len()));
    hash.each(|field, value| {
        out.bulk(field);
        out.bulk(value);
        Ok(out.check()?)
    })?;
    hash.done();
    Ok(())
}

fn hkeys(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let hash = Hash::open(view, &args[1])?;
    out.array(hash.as_ref().map_or(0, |hash| length(hash.len())));
    hash.map_or(Ok(()), |hash| {
        hash.each(|field, _| {
            out.bulk(field);
            Ok(out.check()?)
        })
    })
}

fn hvals(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let hash = Hash::open(view, &args[1])?;
    out.array(hash.as_ref().map_or(0, |hash| length(hash.len())));
    hash.map_or(Ok(()), |hash| {
        hash.each(|_, value| {
            out.bulk(value);
            Ok(out.check()?)
        })
    })
}

fn hscan(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let cursor = scan::parse_cursor(&args[2])?;
    // No key is an empty page, whatever the options are: as in Redis.
    let Some(hash) = Hash::open(view, &args[1])? else {
        scan::reply_nothing(out);
        return Ok(());
    };
    let options = Options::parse(args.reader(3), Of::Fields)?;
    scan::reply_page(out, |page| {
        hash.scan(cursor, options.count, |field, value| {
            if options.matches(field) {
                page.add(field)?;
                if !options.no_values {
                    page.add(value)?;
                }
            }
            Ok(())
        })
    })
}

fn hrand_field(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    if args.len() == 2 {
        let field = Hash::open(view, &args[1])?.map(|hash| hash.random()).transpose()?;
        reply(field.as_ref().map(|(field, _)| &field[..]), out);
        return Ok(());
    }
    let (count, with_values) = parse_hrand_field(args)?;
    let Some(hash) = Hash::open(view, &args[1])? else {
        out.array(0);
        return Ok(());
    };
    let times = count.unsigned_abs();
    if count < 0 && times > REPEATED_MAX {
        return Err(CommandError::other("ERR value is out of range").into());
    }
    if count < 0 && times > DRAWN_INLINE_MAX && !view.may_block() {
        return Err(Failure::Stop(Stop::Long));
    }
    let picked = length(if count < 0 { times } else { times.min(hash.len()) });
    let is_flat = out.protocol() == Protocol::Resp2;
    out.array(if with_values && is_flat { 2 * picked } else { picked });
    let mut show = |field: &[u8], value: &[u8]| {
        if with_values && !is_flat {
            out.array(2);
        }
        out.bulk(field);
        if with_values {
            out.bulk(value);
        }
        Ok(out.check()?)
    };
    if count >= 0 {
        return hash.sample(times, show);
    }
    (0..times).try_for_each(|_| hash.random().and_then(|(field, value)| show(&field, &value)))
}

/// The count, and whether WITHVALUES follows it.
fn parse_hrand_field(args: &Args) -> Result<(i64, bool)> {
    let mut words = args.reader(2);
    let count = words.integer()?;
    if count == i64::MIN {
        let limit = i64::MAX;
        let text = format!("ERR value is out of range, value must between -{limit} and {limit}");
        return Err(CommandError::other(text).into());
    }
    let with_values = words.token("WITHVALUES");
    words.finish()?;
    if with_values && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(CommandError::other("ERR value is out of range").into());
    }
    Ok((count, with_values))
}
