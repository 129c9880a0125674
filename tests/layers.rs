//! The shape of the source: who may import whom, who may touch the outside world, and how long a file may be.
//!
//! [`MODULES`] is the table that ARCHITECTURE.md explains. The scan is textual: it reads code without comments,
//! strings and tests, and finds every path that starts at the crate's root. That is enough to keep the layers, and it
//! needs no parser.

use std::fs;
use std::path::{Path, PathBuf};

/// The longest file that is still one concept.
const FILE_LINES_MAX: usize = 800;

/// A top-level module and what it may use of the others. `"log::Position"` allows that one item alone.
struct Module {
    name: &'static str,
    uses: &'static [&'static str],
}

/// Anyone may use these: they are switches and locks, not layers.
const EVERYWHERE: &[&str] = &["bugs", "sync"];

/// The modules from the socket down to the disk. A module may use only what stands below it.
const MODULES: &[Module] = &[
    Module { name: "cli", uses: &[] },
    Module {
        name: "server",
        uses: &[
            "dispatch",
            "driver",
            "transport",
            "executor",
            "command",
            "session",
            "cluster",
            "keyspace",
            "raft",
            "log",
            "lsm",
            "disk",
            "resp",
            "metrics",
            "config",
        ],
    },
    Module {
        name: "dispatch",
        uses: &[
            "driver",
            "executor",
            "command",
            "session",
            "cluster",
            "keyspace",
            "raft::Configuration",
            "lsm",
            "resp",
            "metrics",
            "config",
            "number",
        ],
    },
    Module {
        name: "driver",
        uses: &[
            "cluster::MemberRecord",
            "transport",
            "executor",
            "command",
            "session",
            "keyspace",
            "raft",
            "log",
            "lsm",
            "disk",
            "resp",
            "metrics",
            "config",
        ],
    },
    Module {
        name: "transport",
        uses: &[
            "proto",
            "raft::Message",
            "raft::Body",
            "raft::NodeId",
            "raft::Configuration",
            "log::Entry",
            "log::EntryKind",
            "log::Position",
            "log::Term",
            "disk",
        ],
    },
    Module {
        name: "executor",
        uses: &[
            "command",
            "session",
            "keyspace",
            "lsm",
            "resp",
            "log::Position",
            "log::Entry",
            "log::EntryKind",
            "log::Index",
            "log::Term",
            "raft::Proposal",
            "raft::ProposalId",
            "raft::Verdict",
            "raft::Role",
        ],
    },
    Module {
        name: "command",
        uses: &[
            "session",
            "cluster",
            "keyspace",
            "raft::NodeId",
            "raft::Change",
            "resp",
            "metrics",
            "config",
            "number",
            "glob",
        ],
    },
    Module { name: "session", uses: &["cluster", "resp", "config"] },
    Module {
        name: "cluster",
        uses: &["raft::NodeId", "raft::Configuration", "raft::Change", "raft::Role", "config"],
    },
    Module { name: "keyspace", uses: &["lsm", "number"] },
    Module {
        name: "raft",
        uses: &[
            "log::Position",
            "log::Entry",
            "log::EntryKind",
            "log::HardState",
            "log::Operation",
            "log::Index",
            "log::Term",
        ],
    },
    Module { name: "lsm", uses: &["disk", "log::Position", "log::Index", "log::Term"] },
    Module { name: "log", uses: &["disk"] },
    Module { name: "disk", uses: &[] },
    Module { name: "resp", uses: &["number"] },
    Module { name: "metrics", uses: &[] },
    Module { name: "config", uses: &["glob"] },
    Module { name: "proto", uses: &[] },
    Module { name: "number", uses: &[] },
    Module { name: "glob", uses: &[] },
    Module { name: "bugs", uses: &[] },
    Module { name: "sync", uses: &[] },
];

/// Words that reach outside the process's memory, and the modules that may write them. `main` is the process itself.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("TcpListener", &["server", "driver", "transport", "main"]),
    ("TcpStream", &["server", "driver", "transport", "cli", "main"]),
    ("UdpSocket", &["server", "driver", "main"]),
    ("tokio::net", &["server", "driver", "transport", "main"]),
    ("thread::spawn", &["server", "driver", "dev_cluster", "main", "sync"]),
    // `cli` is a client: it waits until nodes show what they have done.
    ("thread::sleep", &["server", "driver", "cli", "main", "sync"]),
    ("thread::scope", &["server", "driver", "main", "sync"]),
    ("thread::Builder", &["server", "driver", "main", "sync"]),
    ("tokio::spawn", &["server", "driver", "transport", "main"]),
    ("tokio::time", &["server", "driver", "transport", "main"]),
    ("spawn_blocking", &["server", "driver", "transport", "main"]),
    // `dispatch` times the commands that it runs on the task of a connection.
    ("Instant::now", &["server", "driver", "transport", "dispatch", "cli", "dev_cluster", "main"]),
    ("SystemTime::now", &["server", "driver", "main"]),
    ("std::fs", &["disk", "config", "metrics", "dev_cluster", "main"]),
    ("redis_protocol", &["resp"]),
    ("tonic::", &["transport", "proto"]),
    ("prost::", &["transport", "proto"]),
    ("WriteTxn::new", &["executor"]),
    ("std::process::exit", &["main"]),
];

/// One `.rs` file of the package.
struct Source {
    /// Relative to the package, as it is shown in a failure.
    path: PathBuf,
    text: String,
}

/// A path from the crate's root as a file names it: `["log", "Position"]` on line 3.
#[derive(Debug, PartialEq, Eq)]
struct Use {
    line: usize,
    path: Vec<String>,
}

impl Source {
    /// The modules from the root down to this file: `["lsm", "table"]` for `src/lsm/table/mod.rs`.
    fn module(&self) -> Vec<String> {
        let inner = self.path.strip_prefix("src").unwrap_or(&self.path).with_extension("");
        let mut parts: Vec<String> =
            inner.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        if parts.last().is_some_and(|last| last == "mod") {
            parts.pop();
        }
        parts
    }

    /// The code that ships: comments and strings blanked out, everything in `#[cfg(test)]` too. Lines keep their number.
    fn code(&self) -> String {
        without_tests(&without_comments(&self.text))
    }
}

/// Blanks comments, string literals and character literals, keeping the line breaks.
fn without_comments(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = match rest {
            [b'/', b'/', ..] => memchr::memchr(b'\n', rest).map_or(bytes.len(), |n| at + n),
            [b'/', b'*', ..] => at + comment_end(rest),
            [b'r', b'"' | b'#', ..] if !follows_name(bytes, at) => at + raw_string_end(rest),
            [b'"', ..] => at + quoted_end(rest),
            [b'\'', b'\\', ..] => at + quoted_char_end(rest),
            [b'\'', _, b'\'', ..] => at + 3,
            _ => at,
        };
        if end == at {
            out.push(char::from(bytes[at]));
            at += 1;
            continue;
        }
        out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn follows_name(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn comment_end(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted_end(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The end of a character literal that starts with a backslash: `'\n'`, `'\''`, `'\u{1F600}'`.
fn quoted_char_end(rest: &[u8]) -> usize {
    rest.iter().skip(3).position(|byte| *byte == b'\'').map_or(rest.len(), |n| n + 4)
}

fn raw_string_end(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 1; // A raw identifier such as `r#type`.
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = 2 + hashes;
    memchr::memmem::find(&rest[body..], &close).map_or(rest.len(), |n| body + n + close.len())
}

/// Blanks every item that only tests have: up to its closing brace, or its semicolon if that comes first.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some((start, item)) = test_item(&out) {
        let end = item_end(out.as_bytes(), item);
        let blank: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
    }
    out
}

/// The first attribute that says "tests only", and where it ends.
fn test_item(code: &str) -> Option<(usize, usize)> {
    let start = ["#[cfg(test)]", "#[cfg(all(test,"].iter().filter_map(|mark| code.find(mark)).min()?;
    let end = code[start..].find(")]").map_or(code.len(), |length| start + length + ")]".len());
    Some((start, end))
}

fn item_end(code: &[u8], from: usize) -> usize {
    let mut depth = 0_u32;
    for (at, byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Every path of `code` that starts at the crate's root, whether by `crate::` or by enough `super::`.
fn uses(code: &str, module: &[String]) -> Vec<Use> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").filter(|(at, _)| !follows_name(code.as_bytes(), *at)) {
        collect(code, at + "crate::".len(), &mut found);
    }
    let to_root = "super::".repeat(module.len());
    if !module.is_empty() {
        for (at, _) in code.match_indices(&to_root) {
            if !code[..at].ends_with("super::") {
                let mut escaped = Vec::new();
                collect(code, at + to_root.len(), &mut escaped);
                // Inside an inline module the same words stop at the file's own module.
                found.extend(escaped.into_iter().filter(|used| row(&used.path[0]).is_some()));
            }
        }
    }
    found
}

/// Reads one path, or each of a group in braces, that starts at byte `at`.
fn collect(code: &str, at: usize, found: &mut Vec<Use>) {
    let line = code[..at].matches('\n').count() + 1;
    let mut rest = &code[at..];
    if !rest.starts_with('{') {
        expand(rest, Vec::new(), line, found);
        return;
    }
    rest = &rest[1..];
    for item in split_group(rest) {
        expand(item.trim_start(), Vec::new(), line, found);
    }
}

/// Follows `a::{b, c::d}` down to two names, which is all that the table can ask for.
fn expand(text: &str, mut prefix: Vec<String>, line: usize, found: &mut Vec<Use>) {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() {
        return;
    }
    let rest = &text[name.len()..];
    prefix.push(name);
    match rest.strip_prefix("::") {
        Some(inner) if prefix.len() < 2 => match inner.strip_prefix('{') {
            Some(group) => {
                for item in split_group(group) {
                    expand(item.trim_start(), prefix.clone(), line, found);
                }
            }
            None => expand(inner, prefix, line, found),
        },
        _ => found.push(Use { line, path: prefix }),
    }
}

/// The items of a brace group whose opening brace was taken.
fn split_group(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&text[start..at]);
                return items;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

/// All `.rs` files below `folder`, which is relative to the package.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: path.strip_prefix(root).unwrap().to_owned(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "{folder} holds no source file");
    found
}

/// The sources of the product: without the files that are declared as a module of tests, and all below those.
fn shipped() -> Vec<Source> {
    let mut sources = sources("src");
    let mut tests = Vec::new();
    for source in &sources {
        let mut rest = without_comments(&source.text);
        while let Some((start, item)) = test_item(&rest) {
            let declared = &rest[item..item_end(rest.as_bytes(), item)];
            if let Some(name) = declared.split("mod ").nth(1).and_then(|name| name.strip_suffix(';')) {
                tests.push([source.module(), vec![name.to_owned()]].concat());
            }
            rest = rest.split_off(start + 1);
        }
    }
    sources.retain(|source| !tests.iter().any(|module| source.module().starts_with(module)));
    sources
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

fn row(name: &str) -> Option<&'static Module> {
    MODULES.iter().find(|module| module.name == name)
}

fn allows(module: &Module, used: &Use) -> bool {
    let target = used.path[0].as_str();
    target == module.name
        || EVERYWHERE.contains(&target)
        || module.uses.iter().any(|allowed| match allowed.split_once("::") {
            None => *allowed == target,
            Some((of, item)) => of == target && used.path.get(1).is_some_and(|name| name == item),
        })
}

#[test]
fn modules_use_only_what_stands_below_them() {
    let mut problems = Vec::new();
    for source in shipped() {
        let module = source.module();
        let Some(row) = row(&module[0]) else { continue };
        for used in uses(&source.code(), &module) {
            if !allows(row, &used) {
                let (name, path) = (row.name, used.path.join("::"));
                problems.push(format!(
                    "`{name}` must not use `{path}`: {}:{}",
                    source.path.display(),
                    used.line
                ));
            }
        }
    }
    report(&problems);
}

#[test]
fn every_module_stands_in_the_table() {
    let root = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let declared: Vec<&str> = root
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .map(|name| name.trim_end_matches(';'))
        .collect();
    for name in &declared {
        assert!(
            row(name).is_some(),
            "`{name}` of src/lib.rs has no row in tests/layers.rs: say what it may use"
        );
    }
    for module in MODULES {
        assert!(
            declared.contains(&module.name),
            "`{}` has a row in tests/layers.rs, and is no module",
            module.name
        );
    }
}

#[test]
fn the_table_has_no_cycle() {
    for (place, module) in MODULES.iter().enumerate() {
        for used in module.uses {
            let name = used.split("::").next().unwrap();
            let below = MODULES.iter().position(|other| other.name == name);
            assert!(
                below.is_some_and(|below| place < below),
                "`{}` uses `{used}`, which is not below it",
                module.name
            );
        }
    }
}

#[test]
fn only_the_shells_touch_the_outside() {
    let mut problems = Vec::new();
    for source in shipped() {
        let module = source.module();
        let code = source.code();
        for (word, allowed) in OUTSIDE {
            if allowed.contains(&module[0].as_str()) || module == ["disk", "real"] {
                continue;
            }
            for (at, _) in code.match_indices(word) {
                let line = code[..at].matches('\n').count() + 1;
                let (name, may) = (&module[0], allowed.join("`, `"));
                problems.push(format!(
                    "`{name}` must not use `{word}`, only `{may}` may: {}:{line}",
                    source.path.display()
                ));
            }
        }
    }
    report(&problems);
}

#[test]
fn files_are_short_documented_and_safe() {
    let mut problems = Vec::new();
    for folder in ["src", "tests", "compat-tests", "benches"] {
        for source in sources(folder) {
            let (path, lines) = (source.path.display(), source.text.lines().count());
            if lines > FILE_LINES_MAX {
                problems.push(format!(
                    "{path} has {lines} lines, more than {FILE_LINES_MAX}: find its second concept"
                ));
            }
            if !source.text.starts_with("//!") && !source.module().iter().any(|part| part == "tests") {
                problems.push(format!("{path} must begin with a `//!` doc that says what it is for"));
            }
            let code = without_comments(&source.text);
            for (number, line) in code.lines().enumerate() {
                if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                    problems.push(format!(
                        "{path}:{} has unsafe code; there is none in this package",
                        number + 1
                    ));
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn the_scan_sees_paths_and_groups() {
    let code = "use crate::lsm::{View, batch::Batch};\nuse crate::{disk, log::Position};\nfn f() { crate::raft::go() }";
    let found: Vec<(usize, String)> =
        uses(code, &["x".to_owned()]).into_iter().map(|used| (used.line, used.path.join("::"))).collect();
    let expected = [(1, "lsm::View"), (1, "lsm::batch"), (2, "disk"), (2, "log::Position"), (3, "raft::go")];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn the_scan_follows_super_to_the_root() {
    let module = ["lsm".to_owned(), "table".to_owned()];
    let found = uses("use super::super::raft::Raft;\nuse super::block;", &module);
    assert_eq!(found, [Use { line: 1, path: vec!["raft".to_owned(), "Raft".to_owned()] }]);
}

#[test]
fn the_scan_skips_comments_strings_and_tests() {
    let text = "// crate::a\nlet s = \"crate::b \\\" crate::c\"; let q = '\"'; /* crate::d\n */ let r = r#\"crate::e\"#;\n\
                #[cfg(test)]\nmod tests { use crate::f; fn g() { { } } }\n#[cfg(test)]\nmod more;\nuse crate::h;";
    let found = uses(&without_tests(&without_comments(text)), &["x".to_owned()]);
    assert_eq!(found, [Use { line: 8, path: vec!["h".to_owned()] }]);
}

#[test]
fn files_of_tests_are_not_shipped() {
    let names: Vec<PathBuf> = shipped().into_iter().map(|source| source.path).collect();
    assert!(names.contains(&PathBuf::from("src/lsm/memtable/mod.rs")));
    assert!(!names.contains(&PathBuf::from("src/lsm/memtable/tests.rs")));
    assert!(!names.contains(&PathBuf::from("src/lsm/memtable/publication.rs")), "only loom runs it");
}

#[test]
fn a_use_outside_the_table_is_refused() {
    let raft = row("raft").unwrap();
    let used = |path: &str| Use { line: 1, path: path.split("::").map(str::to_owned).collect() };
    assert!(!allows(raft, &used("driver::Shard")));
    assert!(!allows(raft, &used("log::Log")), "only the entry's types are shared");
    assert!(allows(raft, &used("log::Entry")));
    assert!(allows(raft, &used("bugs::on")));
}
