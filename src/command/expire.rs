//! Times to live in requests: the options of SET and GETEX, and EXPIRE with its relatives.

use super::spec::{Command, Compare, KEY, access};
use crate::keyspace::key::{self, Condition, Due};
use crate::keyspace::{CommandError, Result, View, WriteTxn};
use crate::resp::{ArgReader, Args, ReplyWriter};

/// A time to live as it stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ttl {
    /// The word that holds the number.
    word: usize,
    unit_ms: i64,
    is_absolute: bool,
}

impl Ttl {
    /// Word `word`, in seconds from now.
    pub(super) fn seconds(word: usize) -> Self {
        Self { word, unit_ms: 1_000, is_absolute: false }
    }

    /// Word `word`, in milliseconds from now.
    pub(super) fn milliseconds(word: usize) -> Self {
        Self { word, unit_ms: 1, is_absolute: false }
    }

    /// Takes EX, PX, EXAT or PXAT with its number, which is looked at later. Of several only the last counts, and they
    /// must all be the same option as the one `before`.
    pub(super) fn parse(args: &mut ArgReader<'_>, before: Option<Self>) -> Result<Option<Self>> {
        for (token, unit_ms, is_absolute) in
            [("EX", 1_000, false), ("PX", 1, false), ("EXAT", 1_000, true), ("PXAT", 1, true)]
        {
            if args.token(token) {
                let ttl = Self { word: args.position(), unit_ms, is_absolute };
                args.bytes()?;
                let is_same = before.is_none_or(|before| Self { word: ttl.word, ..before } == ttl);
                return if is_same { Ok(Some(ttl)) } else { Err(CommandError::Syntax.into()) };
            }
        }
        Ok(None)
    }

    /// The time in ms since 1970, for the command `name` that runs at `now`. It must be positive, and in the calendar.
    pub(super) fn due(&self, args: &Args, now: u64, name: &'static str) -> Result<u64> {
        let number = args.reader(self.word).integer()?;
        let base = if self.is_absolute { 0 } else { signed(now) };
        let due = (number > 0)
            .then(|| number.checked_mul(self.unit_ms)?.checked_add(base)?.try_into().ok())
            .flatten();
        due.ok_or_else(|| CommandError::InvalidExpire(name).into())
    }
}

/// A time as a signed number: the last one, in 292 million years, if it is later still.
pub(super) fn signed(time_ms: u64) -> i64 {
    i64::try_from(time_ms).unwrap_or(i64::MAX)
}

const SYNTAX_RELATIVE: &str = "key seconds [NX | XX | GT | LT]";

/// EXPIRE.
pub(super) const EXPIRE: Command =
    row("EXPIRE", SYNTAX_RELATIVE, expire).doc("1.0.0", "Sets the time to live of a key in seconds.");
/// EXPIREAT.
pub(super) const EXPIREAT: Command = row("EXPIREAT", "key unix-time-seconds [NX | XX | GT | LT]", expire_at)
    .doc("1.2.0", "Sets when a key expires, in seconds since 1970.");
/// PEXPIRE.
pub(super) const PEXPIRE: Command = row("PEXPIRE", "key milliseconds [NX | XX | GT | LT]", pexpire)
    .doc("2.6.0", "Sets the time to live of a key in milliseconds.");
/// PEXPIREAT.
pub(super) const PEXPIREAT: Command =
    row("PEXPIREAT", "key unix-time-milliseconds [NX | XX | GT | LT]", pexpire_at)
        .doc("2.6.0", "Sets when a key expires, in milliseconds since 1970.");

const fn row(
    name: &'static str,
    syntax: &'static str,
    handler: fn(&mut WriteTxn<'_>, &Args, &mut ReplyWriter<'_>) -> Result,
) -> Command {
    Command::write(name, syntax, handler).keys(KEY).access(access::RW | access::UPDATE).fast()
}

fn parse_condition(args: &Args) -> Result<Condition> {
    let mut condition = Condition::default();
    let mut args = args.reader(3);
    while let Some(option) = args.peek() {
        if args.token("NX") {
            condition.if_none = true;
        } else if args.token("XX") {
            condition.if_some = true;
        } else if args.token("GT") {
            condition.if_later = true;
        } else if args.token("LT") {
            condition.if_earlier = true;
        } else {
            return Err(CommandError::showing("ERR Unsupported option {}", &[option]).into());
        }
    }
    if condition.if_none && (condition.if_some || condition.if_later || condition.if_earlier) {
        let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
        return Err(CommandError::other(text).into());
    }
    if condition.if_later && condition.if_earlier {
        let text = "ERR GT and LT options at the same time are not compatible";
        return Err(CommandError::other(text).into());
    }
    Ok(condition)
}

/// EXPIRE and its relatives: the time of word 2, in units of `unit_ms`, counted from `base`. It may lie in the past.
fn expire_from(
    txn: &mut WriteTxn<'_>,
    args: &Args,
    out: &mut ReplyWriter<'_>,
    (unit_ms, base): (i64, u64),
    name: &'static str,
) -> Result {
    let condition = parse_condition(args)?;
    let number = args.reader(2).integer()?;
    let at = number.checked_mul(unit_ms).and_then(|time| time.checked_add(signed(base)));
    let at = at.ok_or(CommandError::InvalidExpire(name))?;
    out.integer(i64::from(key::expire(txn, &args[1], at, condition)?));
    Ok(())
}

fn expire(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let now = txn.now();
    expire_from(txn, args, out, (1_000, now), "expire")
}

fn expire_at(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    expire_from(txn, args, out, (1_000, 0), "expireat")
}

fn pexpire(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    let now = txn.now();
    expire_from(txn, args, out, (1, now), "pexpire")
}

fn pexpire_at(txn: &mut WriteTxn<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    expire_from(txn, args, out, (1, 0), "pexpireat")
}

/// EXPIRETIME.
pub(super) const EXPIRETIME: Command = Command::read("EXPIRETIME", "key", expire_time)
    .keys(KEY)
    .fast()
    .compare(Compare::Tolerance(2))
    .doc("7.0.0", "Returns when a key expires, in seconds since 1970.");
/// PEXPIRETIME.
pub(super) const PEXPIRETIME: Command = Command::read("PEXPIRETIME", "key", pexpire_time)
    .keys(KEY)
    .fast()
    .compare(Compare::Tolerance(2_000))
    .doc("7.0.0", "Returns when a key expires, in milliseconds since 1970.");
/// PTTL.
pub(super) const PTTL: Command = Command::read("PTTL", "key", pttl)
    .keys(KEY)
    .fast()
    .tips(&["nondeterministic_output"])
    .compare(Compare::Tolerance(2_000))
    .doc("2.6.0", "Returns the time to live of a key in milliseconds.");
/// TTL.
pub(super) const TTL: Command = Command::read("TTL", "key", ttl)
    .keys(KEY)
    .fast()
    .tips(&["nondeterministic_output"])
    .compare(Compare::Tolerance(2))
    .doc("1.0.0", "Returns the time to live of a key in seconds.");

/// Answers with what `show` makes of the time in ms, -1 for a key without, -2 for none.
fn reply_due(
    view: &View<'_>,
    args: &Args,
    out: &mut ReplyWriter<'_>,
    show: impl FnOnce(u64) -> u64,
) -> Result {
    out.integer(match key::due(view, &args[1])? {
        Due::Absent => -2,
        Due::Never => -1,
        Due::At(at) => signed(show(at)),
    });
    Ok(())
}

/// Milliseconds as seconds, to the nearest.
fn in_seconds(time_ms: u64) -> u64 {
    time_ms.saturating_add(500) / 1_000
}

fn ttl(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    reply_due(view, args, out, |at| in_seconds(at.saturating_sub(view.now())))
}

fn pttl(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    reply_due(view, args, out, |at| at.saturating_sub(view.now()))
}

fn expire_time(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    reply_due(view, args, out, in_seconds)
}

fn pexpire_time(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result {
    reply_due(view, args, out, |at| at)
}
