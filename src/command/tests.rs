//! Tests over the whole table: a row that is badly declared cannot be merged.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The rows of `compat-tests/commands.digest` by name: what a reference server says of its commands.
fn digest() -> BTreeMap<&'static str, Vec<&'static str>> {
    include_str!("../../compat-tests/commands.digest")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            (columns[0], columns)
        })
        .collect()
}

fn names(bits: u32, names: &[(u32, &str)], prefix: &str) -> String {
    let set: BTreeSet<String> =
        names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| format!("{prefix}{name}")).collect();
    if set.is_empty() { "-".to_owned() } else { set.into_iter().collect::<Vec<_>>().join(",") }
}

fn specs(command: &Command) -> String {
    let shown: Vec<String> = command
        .key_specs()
        .map(|spec| {
            let flags: BTreeSet<&str> = access::NAMES
                .iter()
                .filter(|(bit, _)| spec.access & bit != 0)
                .map(|&(_, name)| name)
                .collect();
            let place = match spec.keys {
                Keys::Range { first, last, step } => {
                    let last = if last < 0 { last } else { last - i8::try_from(first).unwrap() };
                    format!("index {first}:range {last} {step} 0")
                }
                Keys::Counted { count } => format!("index {count}:keynum 0 1 1"),
                Keys::Custom(_) => "unknown:unknown".to_owned(),
            };
            format!("{}@{place}", flags.into_iter().collect::<Vec<_>>().join(","))
        })
        .collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(";") }
}

#[test]
fn names_are_unique_and_upper_case() {
    let mut seen = BTreeSet::new();
    for command in all() {
        assert!(seen.insert(command.name), "{} stands twice in the table", command.name);
        assert_eq!(command.name, command.name.to_ascii_uppercase());
        if let Some((container, _)) = command.name.split_once('|') {
            let parent = find(container.as_bytes()).unwrap();
            assert!(
                parent.children().iter().any(|child| child.id == command.id),
                "{} has no parent",
                command.name
            );
        }
    }
}

#[test]
fn every_row_is_found_under_its_name_in_any_case() {
    for command in all() {
        for name in [command.name.to_owned(), command.full_name()] {
            assert_eq!(find(name.as_bytes()).map(|found| found.id), Some(command.id), "{name}");
        }
        assert_eq!(command.id as usize, all().iter().position(|row| row.name == command.name).unwrap());
    }
    for absent in ["", "g", "GETT", "GET ", "CONFIG|", "CONFIG|NOSUCH", "|", "GET|GET", "\0\0\0"] {
        assert!(find(absent.as_bytes()).is_none(), "{absent:?}");
    }
}

#[test]
fn every_row_is_documented_and_its_syntax_can_be_read() {
    for command in all() {
        assert!(!command.since.is_empty(), "{} does not say since when", command.name);
        assert!(command.summary.ends_with('.'), "the summary of {} is no sentence", command.name);
        let arguments = syntax::parse(command.syntax);
        assert_eq!(arguments.is_empty(), command.syntax.is_empty(), "{}", command.name);
    }
}

#[test]
fn keys_lie_within_the_arity() {
    for command in all() {
        let least = i64::from(command.arity.unsigned_abs());
        for spec in command.key_specs() {
            match spec.keys {
                Keys::Range { first, last, .. } => {
                    assert!(i64::from(first) < least, "the first key of {} may be missing", command.name);
                    assert!(i64::from(last) < least, "the last key of {} may be missing", command.name);
                }
                Keys::Counted { count } => {
                    assert!(i64::from(count) < least, "{}", command.name);
                    assert!(command.syntax.contains("numkeys"), "{} counts keys in silence", command.name);
                }
                Keys::Custom(_) => {}
            }
        }
    }
}

#[test]
fn handlers_agree_with_flags() {
    for command in all() {
        let write = matches!(command.handler, Handler::Write(_));
        let read = matches!(command.handler, Handler::Read(_));
        assert_eq!(command.has(flag::WRITE), write, "{}", command.name);
        assert!(!read || command.has(flag::READONLY), "{}", command.name);
        assert!(!(write && read));
        assert!(!command.has(flag::DENY_OOM) || write, "{} needs memory but writes nothing", command.name);
    }
}

/// What differs from the reference on purpose, each with its reason.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("MULTI", "flags", "a nested MULTI is an error of Redis that leaves the transaction alive"),
    ("CLUSTER|COUNTKEYSINSLOT", "flags", "it reads data, which the flags say"),
    ("CLUSTER|COUNTKEYSINSLOT", "acl", "it reads data, which the flags say"),
    ("CLUSTER|GETKEYSINSLOT", "flags", "it reads data, which the flags say"),
    ("CLUSTER|GETKEYSINSLOT", "acl", "it reads data, which the flags say"),
    ("WATCH", "flags", "a nested WATCH is an error of Redis that leaves the transaction alive"),
];

#[test]
fn the_table_agrees_with_the_reference() {
    let digest = digest();
    let mut wrong = Vec::new();
    let is_shared = |command: &&Command| {
        (!command.has(flag::DEBUG) || !command.is_subcommand()) && !command.name.starts_with("RAFT.")
    };
    for command in all().iter().filter(is_shared) {
        let name = command.full_name();
        let Some(reference) = digest.get(name.as_str()) else {
            wrong.push(format!("{name} is not known to the reference"));
            continue;
        };
        let shown_flags =
            names(command.shown_flags(), flag::NAMES, "").replace("skip_slowlog", "skip_commandlog");
        let ours = [
            ("arity", command.arity.to_string(), reference[1]),
            ("flags", shown_flags, reference[2]),
            ("acl", names(command.categories(), acl::NAMES, "@"), reference[3]),
            ("keys", specs(command), reference[4]),
            (
                "tips",
                if command.tips.is_empty() { "-".to_owned() } else { command.tips.join(",") },
                reference[5],
            ),
            ("group", command.group.word().to_owned(), reference[6]),
            ("since", command.since.to_owned(), reference[7]),
        ];
        for (what, ours, theirs) in ours {
            let stated = DIFFERENT.iter().any(|&(row, column, _)| row == command.name && column == what);
            if (ours != theirs) != stated {
                wrong.push(format!("{name}: {what} is {ours}, the reference has {theirs}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn request(words: &str) -> Args {
    let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    Args::from_slices(&words)
}

#[test]
fn what_cannot_be_resolved_is_worded_as_in_redis() {
    for (words, text) in [
        ("foo a b", "ERR unknown command 'foo', with args beginning with: 'a' 'b' "),
        ("foo", "ERR unknown command 'foo', with args beginning with: "),
        ("command|count", "ERR unknown command 'command|count', with args beginning with: "),
        ("slowlog", "ERR wrong number of arguments for 'slowlog' command"),
        ("Slowlog Foo", "ERR unknown subcommand 'Foo'. Try SLOWLOG HELP."),
        ("slowlog len x", "ERR wrong number of arguments for 'slowlog|len' command"),
        ("time x", "ERR wrong number of arguments for 'time' command"),
    ] {
        assert_eq!(resolve(&request(words)).unwrap_err().to_string(), text, "{words}");
    }
    assert_eq!(resolve(&request("cOmmAnd")).unwrap().name, "COMMAND");
    assert_eq!(resolve(&request("slowlog GET")).unwrap().name, "SLOWLOG|GET");
}

#[test]
fn long_arguments_are_cut_in_errors() {
    let long = "x".repeat(500);
    let text = resolve(&request(&format!("{long} {long} tail"))).unwrap_err().to_string();
    let cut = "x".repeat(128);
    assert_eq!(text, format!("ERR unknown command '{cut}', with args beginning with: '{cut}' "));
}

#[test]
fn keys_are_found_where_the_row_says() {
    let row = Command::transaction("X", "key [key ...]", Transaction::Multi);
    for (keys, words, expected) in [
        (KEY, "x a b", &[1][..]),
        (KEYS, "x a b c", &[1, 2, 3]),
        (KEY_VALUES, "x a 1 b 2", &[1, 3]),
        (TWO_KEYS, "x a b c", &[1, 2]),
        (SECOND_KEY, "x a b", &[2]),
        (Keys::Counted { count: 1 }, "x 2 a b c", &[2, 3]),
        (Keys::Counted { count: 1 }, "x 9 a b c", &[]),
        (Keys::Counted { count: 1 }, "x -1 a b c", &[]),
        (Keys::Range { first: 1, last: -2, step: 1 }, "x a b 0", &[1, 2]),
    ] {
        assert_eq!(row.keys(keys).key_positions(&request(words)).to_vec(), expected, "{keys:?} {words}");
    }
}
