//! The commands of a client about its own connection; those of CLIENT are in `client.rs`.

use super::arguments::int;
use super::spec::{Command, Compare, flag};
use super::{client, wrong_arity};
use crate::keyspace::{CommandError, Result};
use crate::metrics::info::REDIS_VERSION;
use crate::resp::{Args, Protocol, ReplyWriter};
use crate::session::Session;

/// Whose protocol and behaviour this node has, as HELLO says it. Clients choose what they send by it.
const SERVER: &str = "redis";

/// The commands of this group.
pub(super) const COMMANDS: &[Command] = &[
    Command::session("AUTH", "[username] password", auth)
        .arity(-2)
        .flag(BEFORE_AUTH)
        .fast()
        .always()
        .doc("1.0.0", "Authenticates the connection."),
    client::COMMAND,
    Command::session("ECHO", "message", echo).fast().always().doc("1.0.0", "Returns its argument."),
    Command::session("HELLO", "[protover [AUTH username password] [SETNAME clientname]]", hello)
        .flag(BEFORE_AUTH)
        .fast()
        .always()
        .compare(Compare::Shape)
        .doc(
            "6.0.0",
            "Chooses the protocol, and may authenticate and name the connection; says who answers.",
        ),
    Command::session("PING", "[message]", ping)
        .fast()
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc("1.0.0", "Answers, so that the client sees that the node lives."),
    Command::session("QUIT", "", quit)
        .arity(-1)
        .flag(BEFORE_AUTH)
        .fast()
        .always()
        .deprecated("7.2.0", "just closing the connection")
        .doc("1.0.0", "Closes the connection."),
    Command::session("RESET", "", reset)
        .flag(BEFORE_AUTH)
        .fast()
        .always()
        .doc("6.2.0", "Makes the connection what it was when it was opened."),
    Command::session("SELECT", "index", select).fast().always().doc("1.0.0", "Chooses the database."),
];

/// The flags of what a client may say before it has authenticated.
const BEFORE_AUTH: u32 = flag::NOSCRIPT | flag::NO_AUTH | flag::ALLOW_BUSY;

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

fn auth(session: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let (user, password) = match args.len() {
        2 if session.config().settings().requirepass.is_none() => {
            return Err(CommandError::other(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                 your configuration is correct?",
            )
            .into());
        }
        2 => (&b"default"[..], &args[1]),
        3 => (&args[1], &args[2]),
        _ => return Err(CommandError::Syntax.into()),
    };
    if !session.authenticate(user, password) {
        return Err(CommandError::other(WRONG_PASSWORD).into());
    }
    out.ok();
    Ok(())
}

fn echo(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.bulk_shared(args.bytes(1));
    Ok(())
}

/// What HELLO asks for, apart from authentication.
struct Hello<'a> {
    protocol: Option<Protocol>,
    user_and_password: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a str>,
}

impl<'a> Hello<'a> {
    fn parse(args: &'a Args) -> Result<Self> {
        let mut hello = Self { protocol: None, user_and_password: None, name: None };
        let mut reader = args.reader(1);
        if reader.remaining() == 0 {
            return Ok(hello);
        }
        hello.protocol = match reader.integer() {
            Err(_) => {
                let text = "ERR Protocol version is not an integer or out of range";
                return Err(CommandError::other(text).into());
            }
            Ok(2) => Some(Protocol::Resp2),
            Ok(3) => Some(Protocol::Resp3),
            Ok(_) => return Err(CommandError::other("NOPROTO unsupported protocol version").into()),
        };
        while let Some(option) = reader.peek() {
            if reader.remaining() > 2 && reader.token("AUTH") {
                hello.user_and_password = Some((reader.bytes()?, reader.bytes()?));
            } else if reader.remaining() > 1 && reader.token("SETNAME") {
                hello.name = Some(client::checked_name(reader.bytes()?)?);
            } else {
                let text = "ERR Syntax error in HELLO option '{}'";
                return Err(CommandError::showing(text, &[option]).into());
            }
        }
        Ok(hello)
    }
}

/// The protocol that a queued HELLO chooses for the commands behind it; none if it will be refused.
pub fn protocol_chosen(session: &Session, args: &Args) -> Option<Protocol> {
    let hello = Hello::parse(args).ok()?;
    let is_accepted = hello.user_and_password.is_none_or(|(user, password)| session.accepts(user, password));
    hello.protocol.filter(|_| is_accepted)
}

fn hello(session: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let hello = Hello::parse(args)?;
    if let Some((user, password)) = hello.user_and_password
        && !session.authenticate(user, password)
    {
        return Err(CommandError::other(WRONG_PASSWORD).into());
    }
    if !session.authenticated() {
        return Err(CommandError::other(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        )
        .into());
    }
    if let Some(name) = hello.name {
        session.info().set_name(name);
    }
    if let Some(protocol) = hello.protocol {
        session.protocol = protocol;
    }
    // The answer is in the new protocol already.
    out.set_protocol(session.protocol);
    out.map(7);
    for (name, value) in [("server", SERVER), ("version", REDIS_VERSION)] {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"proto");
    out.integer(session.protocol as i64);
    out.bulk(b"id");
    out.integer(i64::try_from(session.id()).unwrap_or(i64::MAX));
    let mode = if session.config().cluster_enabled { "cluster" } else { "standalone" };
    let role = if session.leads { "master" } else { "replica" };
    for (name, value) in [("mode", mode), ("role", role)] {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"modules");
    out.array(0);
    Ok(())
}

fn ping(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    match args.len() {
        1 => out.simple("PONG"),
        2 => out.bulk_shared(args.bytes(1)),
        _ => return Err(wrong_arity(super::top(b"PING").expect("PING is in the table")).into()),
    }
    Ok(())
}

fn quit(session: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    session.closing = true;
    out.ok();
    Ok(())
}

fn reset(session: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    session.reset();
    out.set_protocol(session.protocol);
    out.simple("RESET");
    Ok(())
}

fn select(session: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let index = int(&mut args.reader(1))?;
    session.db = u32::try_from(index)
        .ok()
        .filter(|&db| db < session.config().databases)
        .ok_or(CommandError::DatabaseOutOfRange)?;
    out.ok();
    Ok(())
}

#[cfg(test)]
mod tests;
