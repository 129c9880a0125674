//! DEBUG: what test suites need and nobody else should use; refused unless `enable-debug-command` allows it.
//!
//! Clients are shown one command. The subcommands are rows all the same, so that each has the handler that it needs:
//! DIGEST reads data, SLEEP asks the node, PROTOCOL only answers.

use std::time::Duration;

use super::node::{Ask, NodeContext};
use super::spec::{Command, Compare, Keys, SECOND_KEY, flag};
use super::{digest, help};
use crate::glob;
use crate::keyspace::{CommandError, Result, View, WriteTxn, key, string};
use crate::number::parse_integer;
use crate::resp::{Args, Protocol, ReplyWriter};
use crate::session::Session;

/// DEBUG and its subcommands.
pub(super) const COMMAND: Command = Command::container(
    "DEBUG",
    &[
        session("DEBUG|CHANGE-REPL-ID", "", ignored).doc("3.2.0", "Does nothing: a cluster keeps its id."),
        session("DEBUG|DICT-RESIZING", "<0 | 1>", ignored)
            .doc("7.2.0", "Does nothing: there is no such table."),
        read("DEBUG|DIGEST", "", digest_all)
            .flag(flag::LONG)
            .compare(Compare::Shape)
            .doc("1.0.0", "Returns a hash of all keys with their values and times to live, in any order."),
        read("DEBUG|DIGEST-VALUE", "key [key ...]", digest_values)
            .keys(KEYS)
            .compare(Compare::Shape)
            .doc("5.0.0", "Returns a hash of the value of each key."),
        session("DEBUG|ERROR", "string", error).doc("4.0.0", "Returns an error with this text."),
        session("DEBUG|HELP", "", help).compare(Compare::Shape).doc("5.0.0", "Returns this text."),
        node("DEBUG|LOADAOF", "", reload).compare(Compare::Shape).doc("2.0.0", "Is DEBUG RELOAD."),
        session("DEBUG|LOG", "message", log).doc("5.0.0", "Writes a message to the log of this node."),
        read("DEBUG|OBJECT", "key", object)
            .keys(SECOND_KEY)
            .compare(Compare::Shape)
            .doc("1.0.0", "Returns how a key is stored."),
        session("DEBUG|PAUSE-CRON", "<0 | 1>", ignored).doc("7.2.0", "Does nothing: there is no such job."),
        Command::write("DEBUG|POPULATE", "count [prefix] [size]", populate)
            .flag(FLAGS | flag::LONG | flag::DENY_OOM)
            .doc("1.0.0", "Creates keys that do not exist yet."),
        session("DEBUG|PROTOCOL", "type", protocol).doc("6.0.0", "Returns a reply of this type."),
        session("DEBUG|QUICKLIST-PACKED-THRESHOLD", "size", packed_threshold)
            .doc("7.0.0", "Checks the size and does nothing: there are no such nodes."),
        node("DEBUG|RELOAD", "[option ...]", reload)
            .doc("1.0.0", "Writes what is in memory to disk, and reads from there."),
        session("DEBUG|REPLYBUFFER", "option value", ignored)
            .doc("7.0.0", "Does nothing: buffers have no peak."),
        node("DEBUG|SET-ACTIVE-EXPIRE", "<0 | 1>", set_active_expire)
            .doc("3.2.0", "Switches the deletion of keys that are due and that nobody asks for."),
        session("DEBUG|SET-DISABLE-DENY-SCRIPTS", "<0 | 1>", ignored)
            .doc("7.0.0", "Does nothing: there are no scripts."),
        node("DEBUG|SLEEP", "seconds", sleep)
            .flag(flag::LONG)
            .doc("1.0.0", "Keeps the executor of this node busy for a while."),
        session("DEBUG|STRINGMATCH-LEN", "pattern string", string_match)
            .compare(Compare::Shape)
            .doc("7.0.0", "Returns whether a string matches a pattern."),
    ],
)
.admin()
.noscript()
.always()
.flag(flag::DEBUG)
.doc("1.0.0", "Helps to test servers and clients.");

/// Flags of all subcommands.
const FLAGS: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::DEBUG;

/// Word 2 to the last.
const KEYS: Keys = Keys::Range { first: 2, last: -1, step: 1 };

const fn session(name: &'static str, syntax: &'static str, run: super::spec::SessionHandler) -> Command {
    Command::session(name, syntax, run).flag(FLAGS)
}

const fn node(name: &'static str, syntax: &'static str, run: super::spec::NodeHandler) -> Command {
    Command::node(name, syntax, run).flag(FLAGS)
}

const fn read(name: &'static str, syntax: &'static str, run: super::spec::ReadHandler) -> Command {
    Command::read(name, syntax, run).flag(FLAGS)
}

fn ignored(_: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.ok();
    Ok(())
}

fn packed_threshold(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let digits = args[2].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unit = match args[2][digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => Some(1),
        b"k" => Some(1_000),
        b"kb" => Some(1 << 10),
        b"m" => Some(1_000_000),
        b"mb" => Some(1 << 20),
        b"g" => Some(1_000_000_000),
        b"gb" => Some(1 << 30),
        _ => None,
    };
    let bytes = unit.and_then(|unit: i64| parse_integer(&args[2][..digits])?.checked_mul(unit));
    if bytes.is_none_or(|bytes| bytes > 1 << 32) {
        return Err(CommandError::other(
            "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
        )
        .into());
    }
    out.ok();
    Ok(())
}

fn log(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    tracing::warn!(message = %args[2].escape_ascii(), "DEBUG LOG");
    out.ok();
    Ok(())
}

fn error(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.error(&args[2]);
    Ok(())
}

fn string_match(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.integer(i64::from(glob::matches(&args[2], &args[3])));
    Ok(())
}

fn sleep(_: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    // What is no number is no time, as in Redis.
    let seconds = crate::resp::parse_float(&args[2]).filter(|seconds| *seconds > 0.0).unwrap_or(0.0);
    out.ok();
    Ok(Some(Ask::Sleep(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))))
}

fn set_active_expire(_: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    out.ok();
    Ok(Some(Ask::SetActiveExpire(parse_integer(&args[2]).is_some_and(|on| on != 0))))
}

fn reload(_: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let known = |word: &[u8]| {
        ["MERGE", "NOFLUSH", "NOSAVE"].iter().any(|option| word.eq_ignore_ascii_case(option.as_bytes()))
    };
    if !args.iter().skip(2).all(known) {
        return Err(CommandError::other(
            "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
        )
        .into());
    }
    out.ok();
    Ok(Some(Ask::Reload))
}

fn object(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let encoding = key::encoding(view, &args[2])?.ok_or(CommandError::NoSuchKey)?;
    let bytes = key::memory_bytes(view, &args[2])?.ok_or(CommandError::NoSuchKey)?;
    // Keys have no address, no reference count and no idle time: these say so in the words that tools expect.
    out.simple(&format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{bytes} lru:0 lru_seconds_idle:0"
    ));
    Ok(())
}

fn digest_all(view: &View<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.simple(&digest::of_all(view)?.to_string());
    Ok(())
}

fn digest_values(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.array(args.len() - 2);
    for name in args.iter().skip(2) {
        out.simple(&digest::of_value(view, name)?.to_string());
    }
    Ok(())
}

/// Creates `key:0`, `key:1` … with values `value:0` …, cut or filled with zeros to `size`. What exists stays.
fn populate(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let positive = || CommandError::other("ERR value is out of range, must be positive");
    let count = parse_integer(&args[2]).and_then(|count| u64::try_from(count).ok()).ok_or_else(positive)?;
    let prefix = args.get(3).unwrap_or(b"key");
    let size = match args.get(4) {
        None => None,
        Some(size) => {
            Some(parse_integer(size).and_then(|size| usize::try_from(size).ok()).ok_or_else(positive)?)
        }
    };
    for number in 0..count {
        let name = [prefix, b":", number.to_string().as_bytes()].concat();
        let key = txn.key(&name);
        if txn.exists(&key)? {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        value.resize(size.filter(|&size| size > 0).unwrap_or(value.len()), 0);
        string::set(txn, &key, &value, None)?;
    }
    out.ok();
    Ok(())
}

#[expect(clippy::approx_constant, reason = "the number that Redis replies with is not meant to be pi")]
fn protocol(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    const REPLY: &[u8] = b"Some real reply following the ";
    match args[2].to_ascii_lowercase().as_slice() {
        b"string" => out.bulk(b"Hello World"),
        b"integer" => out.integer(12345),
        b"double" => out.double(3.141),
        b"null" => out.null(),
        b"array" => {
            out.array(3);
            (0..3).for_each(|number| out.integer(number));
        }
        b"set" => {
            out.set(3);
            (0..3).for_each(|number| out.integer(number));
        }
        b"map" => {
            out.map(3);
            for number in 0..3 {
                out.integer(number);
                out.boolean(number == 1);
            }
        }
        b"attrib" => {
            if out.protocol() == Protocol::Resp3 {
                out.raw(b"|1\r\n");
                out.bulk(b"key-popularity");
                out.array(2);
                out.bulk(b"key:123");
                out.integer(90);
            }
            out.bulk(&[REPLY, b"attribute"].concat());
        }
        b"push" => {
            if out.protocol() == Protocol::Resp2 {
                return Err(CommandError::other("ERR RESP2 is not supported by this command").into());
            }
            out.push(2);
            out.bulk(b"server-cpu-usage");
            out.integer(42);
            out.bulk(&[REPLY, b"push reply"].concat());
        }
        b"verbatim" => out.verbatim("txt", "This is a verbatim\nstring"),
        b"true" => out.boolean(true),
        b"false" => out.boolean(false),
        b"bignum" => out.big_number("1234567999999999999999999999999999999"),
        _ => {
            return Err(CommandError::other(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            )
            .into());
        }
    }
    Ok(())
}
