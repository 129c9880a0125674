//! COMMAND: the table, printed.

use super::spec::{Command, Compare, KeySpec, Keys, access, acl, flag};
use super::syntax::{Argument, Kind, parse};
use super::{all, find, help};
use crate::glob;
use crate::keyspace::{CommandError, Result};
use crate::resp::{Args, ReplyWriter};
use crate::session::Session;

/// COMMAND and its subcommands.
pub(super) const COMMAND: Command = Command::session("COMMAND", "", command)
    .arity(-1)
    .always()
    .acl(acl::CONNECTION)
    .subcommands(&[
        row("COMMAND|COUNT", "", count)
            .compare(Compare::Shape)
            .doc("2.8.13", "Returns the number of commands."),
        row("COMMAND|DOCS", "[command-name ...]", docs)
            .tips(&["nondeterministic_output_order"])
            .compare(Compare::Shape)
            .doc("7.0.0", "Returns the documentation of commands."),
        row("COMMAND|GETKEYS", "command [arg ...]", get_keys)
            .doc("2.8.13", "Returns the keys in a request.")
            .complexity("O(N) where N is the number of arguments to the command"),
        row("COMMAND|GETKEYSANDFLAGS", "command [arg ...]", get_keys_and_flags)
            .doc("7.0.0", "Returns the keys in a request, and what is done with each.")
            .complexity("O(N) where N is the number of arguments to the command"),
        row("COMMAND|HELP", "", help).compare(Compare::Shape).doc("5.0.0", "Returns this text."),
        row("COMMAND|INFO", "[command-name ...]", info)
            .tips(&["nondeterministic_output_order"])
            .compare(Compare::Shape)
            .doc("2.8.13", "Returns what the server knows of commands.")
            .complexity("O(N) where N is the number of commands to look up"),
        row("COMMAND|LIST", "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]", list)
            .tips(&["nondeterministic_output_order"])
            .compare(Compare::Shape)
            .doc("7.0.0", "Returns the names of commands.")
            .complexity("O(N) where N is the total number of commands"),
    ])
    .tips(&["nondeterministic_output_order"])
    .compare(Compare::Shape)
    .doc("2.8.13", "Returns what the server knows of all commands.")
    .complexity("O(N) where N is the total number of commands");

const fn row(name: &'static str, syntax: &'static str, run: super::spec::SessionHandler) -> Command {
    Command::session(name, syntax, run).always().acl(acl::CONNECTION)
}

fn command(_: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.array(top_level().count());
    top_level().for_each(|command| write_info(command, out));
    Ok(())
}

fn count(_: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.integer(i64::try_from(top_level().count()).expect("a few hundred"));
    Ok(())
}

fn info(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    if args.len() == 2 {
        out.array(top_level().count());
        top_level().for_each(|command| write_info(command, out));
        return Ok(());
    }
    out.array(args.len() - 2);
    for name in args.iter().skip(2) {
        match visible(name) {
            Some(command) => write_info(command, out),
            None => out.null(),
        }
    }
    Ok(())
}

fn docs(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let named: Vec<&Command> = if args.len() == 2 {
        top_level().collect()
    } else {
        args.iter().skip(2).filter_map(visible).collect()
    };
    out.map(named.len());
    for command in named {
        write_docs(command, out);
    }
    Ok(())
}

fn list(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let shown: Vec<String> = match args.len() {
        2 => shown_rows().map(Command::full_name).collect(),
        5 if args[2].eq_ignore_ascii_case(b"FILTERBY") => filtered(&args[3], &args[4])?,
        _ => return Err(CommandError::Syntax.into()),
    };
    out.array(shown.len());
    for name in shown {
        out.bulk(name.as_bytes());
    }
    Ok(())
}

/// The names that COMMAND LIST FILTERBY `what` `value` shows.
fn filtered(what: &[u8], value: &[u8]) -> Result<Vec<String>> {
    if what.eq_ignore_ascii_case(b"PATTERN") {
        return Ok(shown_rows()
            .map(Command::full_name)
            .filter(|name| glob::matches_in_any_case(value, name.as_bytes()))
            .collect());
    }
    if what.eq_ignore_ascii_case(b"ACLCAT") {
        let category = acl::NAMES.iter().find(|(_, name)| name.as_bytes().eq_ignore_ascii_case(value));
        let bit = category.map_or(0, |&(bit, _)| bit);
        return Ok(shown_rows()
            .filter(|command| command.categories() & bit != 0)
            .map(Command::full_name)
            .collect());
    }
    // There are no modules, so no command is of one.
    if what.eq_ignore_ascii_case(b"MODULE") { Ok(Vec::new()) } else { Err(CommandError::Syntax.into()) }
}

fn get_keys(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let (request, keys) = keys_of_request(args)?;
    out.array(keys.len());
    for (position, _) in keys {
        out.bulk(&request[position]);
    }
    Ok(())
}

fn get_keys_and_flags(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let (request, keys) = keys_of_request(args)?;
    out.array(keys.len());
    for (position, flags) in keys {
        out.array(2);
        out.bulk(&request[position]);
        write_names(access::NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|&(_, name)| name), out);
    }
    Ok(())
}

/// The request that follows COMMAND GETKEYS: its words, and its keys with their access flags.
fn keys_of_request(args: &Args) -> Result<(Args, Vec<(usize, u16)>)> {
    let words: Vec<&[u8]> = args.iter().skip(2).collect();
    let request = Args::from_slices(&words);
    let named = find(&request[0]).filter(|command| !command.is_subcommand());
    let command = match named {
        None => return Err(CommandError::other("ERR Invalid command specified").into()),
        Some(command) if command.subcommands.is_empty() || request.len() == 1 => command,
        Some(command) => {
            command.child(&request[1]).ok_or_else(|| CommandError::other("ERR Invalid command specified"))?
        }
    };
    if !command.has_keys() {
        return Err(CommandError::other("ERR The command has no key arguments").into());
    }
    if !command.accepts(request.len()) {
        return Err(CommandError::other("ERR Invalid number of arguments specified for command").into());
    }
    let keys = command.keys_with_access(&request);
    if keys.is_empty() {
        return Err(CommandError::other("ERR Invalid arguments specified for command").into());
    }
    Ok((request, keys))
}

/// The rows that are commands of their own.
fn top_level() -> impl Iterator<Item = &'static Command> {
    all().iter().filter(|command| !command.is_subcommand())
}

/// The rows that clients are shown, subcommands included.
fn shown_rows() -> impl Iterator<Item = &'static Command> {
    all().iter().filter(|command| is_shown(command))
}

/// Whether clients are shown the row: the subcommands of DEBUG are its own matter, as in Redis.
fn is_shown(command: &Command) -> bool {
    !command.is_subcommand() || !command.has(flag::DEBUG)
}

fn visible(name: &[u8]) -> Option<&'static Command> {
    find(name).filter(|command| is_shown(command))
}

/// Writes one entry of COMMAND INFO.
fn write_info(command: &Command, out: &mut ReplyWriter<'_>) {
    let (first, last, step) = command.key_triple();
    out.array(10);
    out.bulk(command.full_name().as_bytes());
    out.integer(i64::from(command.arity));
    write_names(
        flag::NAMES.iter().filter(|&&(bit, _)| command.shown_flags() & bit != 0).map(|&(_, name)| name),
        out,
    );
    out.integer(first);
    out.integer(last);
    out.integer(step);
    let categories = command.categories();
    let shown: Vec<String> = acl::NAMES
        .iter()
        .filter(|&&(bit, _)| categories & bit != 0)
        .map(|&(_, name)| format!("@{name}"))
        .collect();
    write_names(shown.iter().map(String::as_str), out);
    out.set(command.tips.len());
    for tip in command.tips {
        out.bulk(tip.as_bytes());
    }
    out.set(command.key_specs().count());
    for spec in command.key_specs() {
        write_key_spec(spec, out);
    }
    let children: Vec<&Command> = command.children().iter().filter(|child| is_shown(child)).collect();
    out.set(children.len());
    for child in children {
        write_info(child, out);
    }
}

/// Writes names as a set of simple strings.
fn write_names<'a>(names: impl Iterator<Item = &'a str> + Clone, out: &mut ReplyWriter<'_>) {
    out.set(names.clone().count());
    for name in names {
        out.simple(name);
    }
}

/// Writes where keys stand, in the form that Redis 7 introduced: how to find the first, and how to go on from it.
fn write_key_spec(spec: &KeySpec, out: &mut ReplyWriter<'_>) {
    out.map(3);
    out.bulk(b"flags");
    write_names(access::NAMES.iter().filter(|(bit, _)| spec.access & bit != 0).map(|&(_, name)| name), out);
    out.bulk(b"begin_search");
    match spec.keys {
        Keys::Range { first, last, step } => {
            write_typed("index", &[("index", i64::from(first))], out);
            let last = i64::from(last);
            let relative = if last < 0 { last } else { last - i64::from(first) };
            out.bulk(b"find_keys");
            write_typed("range", &[("lastkey", relative), ("keystep", i64::from(step)), ("limit", 0)], out);
        }
        Keys::Counted { count } => {
            write_typed("index", &[("index", i64::from(count))], out);
            out.bulk(b"find_keys");
            write_typed("keynum", &[("keynumidx", 0), ("firstkey", 1), ("keystep", 1)], out);
        }
        Keys::Custom(_) => {
            write_typed("unknown", &[], out);
            out.bulk(b"find_keys");
            write_typed("unknown", &[], out);
        }
    }
}

fn write_typed(kind: &str, numbers: &[(&str, i64)], out: &mut ReplyWriter<'_>) {
    out.map(2);
    out.bulk(b"type");
    out.bulk(kind.as_bytes());
    out.bulk(b"spec");
    out.map(numbers.len());
    for &(name, number) in numbers {
        out.bulk(name.as_bytes());
        out.integer(number);
    }
}

/// Writes one pair of COMMAND DOCS: the name and its documentation.
fn write_docs(command: &Command, out: &mut ReplyWriter<'_>) {
    let arguments = parse(command.syntax);
    let children: Vec<&Command> = command.children().iter().filter(|child| is_shown(child)).collect();
    let deprecated = command.deprecated;
    let fields = 4
        + if deprecated.is_some() { 3 } else { 0 }
        + usize::from(!arguments.is_empty())
        + usize::from(!children.is_empty());
    out.bulk(command.full_name().as_bytes());
    out.map(fields);
    write_text("summary", command.summary, out);
    write_text("since", command.since, out);
    write_text("group", command.group.word(), out);
    write_text("complexity", command.complexity, out);
    if let Some((since, instead)) = deprecated {
        out.bulk(b"doc_flags");
        write_names(["deprecated"].into_iter(), out);
        write_text("deprecated_since", since, out);
        write_text("replaced_by", instead, out);
    }
    if !arguments.is_empty() {
        out.bulk(b"arguments");
        let mut key_spec = 0;
        write_arguments(&arguments, &mut key_spec, out);
    }
    if !children.is_empty() {
        out.bulk(b"subcommands");
        out.map(children.len());
        for child in children {
            write_docs(child, out);
        }
    }
}

fn write_text(name: &str, text: &str, out: &mut ReplyWriter<'_>) {
    out.bulk(name.as_bytes());
    out.bulk(text.as_bytes());
}

/// Writes a list of arguments; `key_spec` counts the keys seen so far, which number their specs.
fn write_arguments(arguments: &[Argument], key_spec: &mut i64, out: &mut ReplyWriter<'_>) {
    out.array(arguments.len());
    for argument in arguments {
        let group = matches!(argument.kind, Kind::OneOf | Kind::Block);
        let key = argument.kind == Kind::Key;
        let flags: Vec<&str> = [(argument.optional, "optional"), (argument.multiple, "multiple")]
            .into_iter()
            .filter_map(|(is, name)| is.then_some(name))
            .collect();
        let fields = 2
            + usize::from(!group) // display_text
            + usize::from(key)
            + usize::from(argument.token.is_some())
            + usize::from(!flags.is_empty())
            + usize::from(group);
        out.map(fields);
        write_text("name", &argument.name, out);
        write_text("type", argument.kind.word(), out);
        if !group {
            write_text("display_text", &argument.name, out);
        }
        if key {
            out.bulk(b"key_spec_index");
            out.integer(*key_spec);
            *key_spec += 1;
        }
        if let Some(token) = &argument.token {
            write_text("token", token, out);
        }
        if !flags.is_empty() {
            out.bulk(b"flags");
            write_names(flags.iter().copied(), out);
        }
        if group {
            out.bulk(b"arguments");
            write_arguments(&argument.inner, key_spec, out);
        }
    }
}
