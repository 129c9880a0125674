//! CLIENT: what a client says about itself, and what it sees of the others and does to them.

use super::node::{Ask, NodeContext};
use super::spec::{Command, Compare};
use crate::keyspace::{CommandError, Failure, Result};
use crate::number::parse_integer;
use crate::resp::{ArgReader, Args, ReplyWriter};
use crate::session::{ClientFilter, ClientKind, ReplyMode, Session, Unblocked};

/// The command with its subcommands.
pub(super) const COMMAND: Command = Command::container(
    "CLIENT",
    &[
        Command::session("CLIENT|GETNAME", "", get_name)
            .noscript()
            .always()
            .doc("2.6.9", "Returns the name of the connection."),
        Command::session("CLIENT|GETREDIR", "", get_redirection).noscript().always().doc(
            "6.0.0",
            "Returns the number of the client that invalidations go to; -1, since keys are not tracked.",
        ),
        Command::session("CLIENT|HELP", "", super::help)
            .always()
            .compare(Compare::Shape)
            .doc("5.0.0", "Returns this text."),
        Command::session("CLIENT|ID", "", id)
            .noscript()
            .always()
            .compare(Compare::Shape)
            .doc("5.0.0", "Returns the number of the connection."),
        Command::node("CLIENT|INFO", "", info)
            .noscript()
            .always()
            .tips(&["nondeterministic_output"])
            .compare(Compare::Shape)
            .doc("6.2.0", "Returns what is known about the connection."),
        Command::node("CLIENT|KILL", "<ip:port | filter value [filter value ...]>", kill)
            .admin()
            .noscript()
            .always()
            .doc("2.4.0", "Closes connections.")
            .complexity("O(N) where N is the number of client connections"),
        Command::node("CLIENT|LIST", "[filter value [filter value ...]]", list)
            .admin()
            .noscript()
            .always()
            .tips(&["nondeterministic_output"])
            .compare(Compare::Shape)
            .doc("2.4.0", "Returns what is known about connections, one in a line.")
            .complexity("O(N) where N is the number of client connections"),
        Command::session("CLIENT|NO-EVICT", "<ON | OFF>", no_evict)
            .admin()
            .noscript()
            .always()
            .doc("7.0.0", "Keeps the connection when clients take too much memory, or no longer."),
        Command::session("CLIENT|NO-TOUCH", "<ON | OFF>", no_touch)
            .noscript()
            .always()
            .doc("7.2.0", "Does not count what the connection reads as used, or counts it again."),
        Command::session("CLIENT|REPLY", "<ON | OFF | SKIP>", reply)
            .noscript()
            .always()
            .doc("3.2.0", "Sends replies or not."),
        Command::session("CLIENT|SETINFO", "<LIB-NAME libname | LIB-VER libver>", set_info)
            .noscript()
            .always()
            .tips(ALL_NODES)
            .doc("7.2.0", "Says which library the client uses."),
        Command::session("CLIENT|SETNAME", "connection-name", set_name)
            .noscript()
            .always()
            .tips(ALL_NODES)
            .doc("2.6.9", "Names the connection."),
        Command::session("CLIENT|TRACKINGINFO", "", tracking_info)
            .noscript()
            .always()
            .doc("6.2.0", "Returns how keys are tracked for the connection: they are not."),
        Command::node("CLIENT|UNBLOCK", "client-id [TIMEOUT | ERROR]", unblock)
            .admin()
            .noscript()
            .always()
            .doc("5.0.0", "Ends the wait of another client.")
            .complexity("O(log N) where N is the number of client connections"),
    ],
)
.doc("2.4.0", "Looks at connections and changes them.");

const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// The name of a client, if it can be shown in a line of CLIENT LIST.
pub(super) fn checked_name(name: &[u8]) -> Result<&str> {
    printable(name).ok_or_else(|| {
        error("ERR Client names cannot contain spaces, newlines or special characters.".to_owned())
    })
}

/// `text`, if it has only printable characters of ASCII and no blank.
fn printable(text: &[u8]) -> Option<&str> {
    text.iter().all(u8::is_ascii_graphic).then(|| std::str::from_utf8(text).ok())?
}

fn error(text: String) -> Failure {
    Failure::Client(CommandError::other(text))
}

fn get_name(session: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let name = session.info().name();
    if name.is_empty() {
        out.null()
    } else {
        out.bulk(name.as_bytes())
    }
    Ok(())
}

fn get_redirection(_: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.integer(-1);
    Ok(())
}

fn id(session: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.integer(i64::try_from(session.id()).unwrap_or(i64::MAX));
    Ok(())
}

fn no_evict(session: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    session.no_evict = on_or_off(args)?;
    out.ok();
    Ok(())
}

fn no_touch(session: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    session.no_touch = on_or_off(args)?;
    out.ok();
    Ok(())
}

fn on_or_off(args: &Args) -> Result<bool> {
    let mut reader = args.reader(2);
    if reader.token("ON") {
        Ok(true)
    } else if reader.token("OFF") {
        Ok(false)
    } else {
        Err(CommandError::Syntax.into())
    }
}

/// Writes a reply only for ON: the others have none, whatever was in force before.
fn reply(session: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let mut reader = args.reader(2);
    if reader.token("ON") {
        session.reply_mode = ReplyMode::On;
        out.ok();
    } else if reader.token("OFF") {
        session.reply_mode = ReplyMode::Off;
    } else if reader.token("SKIP") {
        if session.reply_mode != ReplyMode::Off {
            session.reply_mode = ReplyMode::Skip;
        }
    } else {
        return Err(CommandError::Syntax.into());
    }
    Ok(())
}

fn set_info(session: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let option = String::from_utf8_lossy(&args[2]);
    let set = match option.to_ascii_lowercase().as_str() {
        "lib-name" => crate::session::ClientInfo::set_lib_name,
        "lib-ver" => crate::session::ClientInfo::set_lib_ver,
        _ => return Err(CommandError::showing("ERR Unrecognized option '{}'", &[&args[2]]).into()),
    };
    let value = printable(&args[3]).ok_or_else(|| {
        error(format!("ERR {option} cannot contain spaces, newlines or special characters."))
    })?;
    set(session.info(), value);
    out.ok();
    Ok(())
}

fn set_name(session: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    session.info().set_name(checked_name(&args[2])?);
    out.ok();
    Ok(())
}

fn tracking_info(_: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.map(3);
    out.bulk(b"flags");
    out.set(1);
    out.bulk(b"off");
    out.bulk(b"redirect");
    out.integer(-1);
    out.bulk(b"prefixes");
    out.array(0);
    Ok(())
}

fn info(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    node.session.publish(node.now_ms());
    let mut text = String::new();
    node.session.info().describe(node.now_ms(), &mut text);
    out.verbatim("txt", text);
    Ok(None)
}

fn list(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let filter = filter(args.reader(2), node.session, false)?;
    node.session.publish(node.now_ms());
    let mut text = String::new();
    for client in node.clients.select(&filter, node.now_ms()) {
        client.describe(node.now_ms(), &mut text);
    }
    out.verbatim("txt", text);
    Ok(None)
}

fn kill(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    // The old form names one address, means this client too, and answers with a status.
    let old = args.len() == 3;
    let filter = if old {
        ClientFilter { remote: Some(args[2].to_vec()), ..ClientFilter::default() }
    } else {
        filter(args.reader(2), node.session, true)?
    };
    let chosen = node.clients.select(&filter, node.now_ms());
    for client in &chosen {
        if client.id == node.session.id() {
            // It still gets its reply.
            node.session.closing = true;
        } else {
            client.kill();
        }
    }
    match (old, chosen.len()) {
        (true, 0) => return Err(error("ERR No such client".to_owned())),
        (true, _) => out.ok(),
        (false, killed) => out.integer(i64::try_from(killed).unwrap_or(i64::MAX)),
    }
    Ok(None)
}

fn unblock(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let mut reader = args.reader(3);
    // As in Valkey, a reason counts only if nothing stands behind it.
    let how = if reader.remaining() != 1 || reader.token("TIMEOUT") {
        Unblocked::Timeout
    } else if reader.token("ERROR") {
        Unblocked::Error
    } else {
        return Err(error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".to_owned()));
    };
    let id = args.reader(2).integer()?;
    let client = u64::try_from(id).ok().and_then(|id| node.clients.get(id));
    out.integer(i64::from(client.is_some_and(|client| client.unblock(how))));
    Ok(None)
}

/// Reads the conditions of LIST and KILL.
fn filter(mut reader: ArgReader<'_>, session: &Session, skip_me: bool) -> Result<ClientFilter> {
    let mut filter = ClientFilter::default();
    let mut skip_me = skip_me;
    while reader.remaining() > 0 {
        if reader.remaining() == 1 {
            return Err(CommandError::Syntax.into());
        } else if reader.token("ID") {
            // All numbers that follow; what is none must be the next condition.
            let ids = filter.ids.get_or_insert_default();
            while let Some(id) = reader.peek().and_then(parse_integer) {
                ids.push(positive(id, "client-id")?);
                reader.bytes()?;
            }
        } else if reader.token("MAXAGE") {
            let age = reader
                .integer()
                .map_err(|_| error("ERR maxage is not an integer or out of range".to_owned()))?;
            filter.age_seconds_min = Some(positive(age, "maxage")?);
        } else if reader.token("TYPE") {
            let word = reader.bytes()?;
            let kind = ClientKind::parse(word)
                .ok_or_else(|| CommandError::showing("ERR Unknown client type '{}'", &[word]))?;
            filter.kind = Some(kind);
        } else if reader.token("ADDR") {
            filter.remote = Some(reader.bytes()?.to_vec());
        } else if reader.token("LADDR") {
            filter.local = Some(reader.bytes()?.to_vec());
        } else if reader.token("USER") {
            let user = reader.bytes()?;
            if user != session.user().as_bytes() {
                return Err(CommandError::showing("ERR No such user '{}'", &[user]).into());
            }
            filter.user = Some(user.to_vec());
        } else if reader.token("SKIPME") {
            skip_me = reader.token("YES");
            if !skip_me && !reader.token("NO") {
                return Err(CommandError::Syntax.into());
            }
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    filter.except = skip_me.then(|| session.id());
    Ok(filter)
}

fn positive(value: i64, name: &str) -> Result<u64> {
    let value = u64::try_from(value).ok().filter(|&value| value > 0);
    value.ok_or_else(|| error(format!("ERR {name} should be greater than 0")))
}
