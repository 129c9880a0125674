//! The commands of the server group: INFO and what ends or saves the node here, the rest in files of their own.

use super::node::{Ask, NodeContext, Shutdown};
use super::spec::{Command, Compare, acl, flag};
use super::{database, debug, help, introspect, latency, memory, replication, settings, slowlog};
use crate::keyspace::{CommandError, Result};
use crate::metrics::info::{self, Snapshot};
use crate::number::parse_integer;
use crate::resp::{Args, ReplyWriter};
use crate::session::Session;

/// The version of Redis whose behaviour this is.
const REDIS_VERSION: &str = "7.2.4";

/// The commands of this group.
pub(super) const COMMANDS: &[Command] = &[
    Command::node("BGSAVE", "[SCHEDULE]", background_save)
        .admin()
        .noscript()
        .flag(flag::NO_ASYNC_LOADING)
        .compare(Compare::Shape)
        .doc("1.0.0", "Starts to write a checkpoint of the data."),
    introspect::COMMAND,
    settings::COMMAND,
    database::DBSIZE,
    debug::COMMAND,
    replication::FAILOVER,
    database::FLUSHALL,
    database::FLUSHDB,
    Command::node("INFO", "[section [section ...]]", print_info)
        .always()
        .acl(acl::DANGEROUS)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .compare(Compare::Shape)
        .doc("1.0.0", "Returns what this node knows of itself."),
    Command::node("LASTSAVE", "", last_save)
        .fast()
        .always()
        .acl(acl::ADMIN | acl::DANGEROUS)
        .tips(&["nondeterministic_output"])
        .compare(Compare::Shape)
        .doc("1.0.0", "Returns when the last checkpoint was complete, in seconds since 1970."),
    latency::COMMAND,
    Command::session("LOLWUT", "[VERSION version]", lolwut)
        .flag(flag::READONLY)
        .fast()
        .compare(Compare::Shape)
        .doc("5.0.0", "Returns the version, and a small picture."),
    memory::COMMAND,
    Command::container(
        "MODULE",
        &[
            Command::session("MODULE|HELP", "", help)
                .always()
                .compare(Compare::Shape)
                .doc("5.0.0", "Returns this text."),
            Command::session("MODULE|LIST", "", module_list)
                .admin()
                .noscript()
                .tips(&["nondeterministic_output_order"])
                .doc("4.0.0", "Returns the modules that are loaded: there are none.")
                .complexity("O(N) where N is the number of loaded modules."),
        ],
    )
    .doc("4.0.0", "Looks at modules."),
    replication::ROLE,
    Command::node("SAVE", "", save)
        .admin()
        .noscript()
        .flag(flag::NO_ASYNC_LOADING | flag::NO_MULTI)
        .doc("1.0.0", "Writes a checkpoint of the data, and returns when it is complete.")
        .complexity("O(T) where T is the number of tables"),
    Command::node("SHUTDOWN", "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]", shutdown)
        .admin()
        .noscript()
        .always()
        .flag(flag::NO_MULTI | flag::ALLOW_BUSY)
        .doc("1.0.0", "Ends this node."),
    slowlog::COMMAND,
    database::SWAPDB,
    Command::node("TIME", "", time)
        .fast()
        .always()
        .tips(&["nondeterministic_output"])
        .compare(Compare::Shape)
        .doc("2.6.0", "Returns the time of day: seconds since 1970, and microseconds within the second."),
];

fn print_info(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let wanted: Vec<&str> = args.iter().skip(1).filter_map(|name| std::str::from_utf8(name).ok()).collect();
    let text = if wanted.is_empty() && args.len() > 1 {
        // Only names that are no text, so no section's: not what no name means.
        String::new()
    } else {
        let Some(status) = node.status else { return Ok(Some(Ask::Status)) };
        info::text(&wanted, &Snapshot { status, totals: &node.stats.totals() })
    };
    out.verbatim("txt", text);
    Ok(None)
}

fn time(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    out.array(2);
    for part in [node.now_micros / 1_000_000, node.now_micros % 1_000_000] {
        out.bulk(part.to_string().as_bytes());
    }
    Ok(None)
}

fn last_save(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let Some(status) = node.status else { return Ok(Some(Ask::Status)) };
    out.integer(i64::try_from(status.save.last_unix_seconds).unwrap_or(i64::MAX));
    Ok(None)
}

fn save(_: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    out.ok();
    Ok(Some(Ask::Save))
}

fn background_save(
    node: &mut NodeContext<'_>,
    args: &Args,
    out: &mut ReplyWriter<'_>,
) -> Result<Option<Ask>> {
    let scheduled = match args.len() {
        1 => false,
        2 if args[1].eq_ignore_ascii_case(b"SCHEDULE") => true,
        _ => return Err(CommandError::Syntax.into()),
    };
    let Some(status) = node.status else { return Ok(Some(Ask::Status)) };
    if status.save.running_for.is_some() {
        return Err(CommandError::other("ERR Background save already in progress").into());
    }
    out.simple(if scheduled { "Background saving scheduled" } else { "Background saving started" });
    Ok(Some(Ask::BackgroundSave))
}

fn shutdown(_: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let mut how = Shutdown::default();
    for word in args.iter().skip(1) {
        match word.to_ascii_uppercase().as_slice() {
            b"SAVE" if how.save.is_none() => how.save = Some(true),
            b"NOSAVE" if how.save.is_none() => how.save = Some(false),
            b"NOW" => how.now = true,
            b"FORCE" => how.force = true,
            b"ABORT" => how.abort = true,
            _ => return Err(CommandError::Syntax.into()),
        }
    }
    if how.abort && args.len() > 2 {
        return Err(CommandError::Syntax.into());
    }
    if how.abort {
        out.ok();
    }
    Ok(Some(Ask::Shutdown(how)))
}

fn lolwut(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    if let (Some(option), Some(version)) = (args.get(1), args.get(2))
        && option.eq_ignore_ascii_case(b"VERSION")
    {
        // There is one picture for all versions.
        parse_integer(version).ok_or(CommandError::NotInteger)?;
    }
    // He who pushes the stone.
    let picture =
        "          ___\n         (   )\n      o  (___)\n     /|\\_/  ./\n     / \\  ./\n    _____/\n";
    out.verbatim("txt", format!("{picture}\nRedis ver. {REDIS_VERSION}\n"));
    Ok(())
}

fn module_list(_: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.array(0);
    Ok(())
}
