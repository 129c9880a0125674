//! The table printed: `--help`, `--version` and docs/configuration.md.

use std::fmt::Write;

use super::directive::{Default, Directive, Effect, Scope};
use super::grammar::{size, size_text};
use super::kind::Kind;
use super::load::ENVIRONMENT_PREFIX;
use super::table::GROUPS;

const WIDTH: usize = 100;

/// The text of `--version`.
pub(super) fn version() -> String {
    format!("sisyphusdb {}\n", env!("CARGO_PKG_VERSION"))
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = format!(
        "{}\
         A Redis-compatible, replicated store: acknowledged writes are on the disks of a majority.\n\n\
         Usage: sisyphusdb [file] [--directive value …] [-]          runs a node\n       \
         sisyphusdb verify [file] [--directive value …] [-]   checks all data in `dir` and writes nothing\n       \
         sisyphusdb inspect [file] [--directive value …] [-]  says what is in `dir`\n       \
         sisyphusdb recover --i-accept-data-loss [file] [--directive value …] [-]\n                             \
         makes the node of `dir` a cluster of its own\n       \
         sisyphusdb status|member|transfer --help             asks a node that runs\n       \
         sisyphusdb dev-cluster --help                        runs three nodes on this machine, to try things with\n\n  \
         file            a configuration file in the grammar of redis.conf\n  \
         --directive value\n                         sets a directive; see below\n  \
         -               reads more of the configuration from standard input\n  \
         -h, --help      prints this\n  \
         -v, --version   prints the version\n\n\
         The environment variable {ENVIRONMENT_PREFIX}NAME sets a directive too (capitals, _ for -).\n\
         A later source wins: default, file, environment, flags, CONFIG SET.\n",
        version()
    );
    for group in GROUPS {
        let _ = write!(text, "\n{}\n", group.title);
        for row in group.rows {
            let _ = writeln!(text, "  --{}  [{}]", row.name, default_text(row));
            for line in wrapped(row.doc, WIDTH - 6) {
                let _ = writeln!(text, "      {line}");
            }
        }
    }
    text
}

/// The text of docs/configuration.md.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         This page is printed from the table of directives in `src/config/`; a test compares them.\n\n\
         A directive is set, in rising precedence,\n\n\
         1. in a file in the grammar of redis.conf, the first argument: `sisyphusdb /etc/sisyphusdb.conf`. `include`\n   \
         reads another file; `-` as the last argument reads standard input;\n\
         2. by the environment variable `SISYPHUSDB_CONF_NAME`, in capitals and with `_` for `-`:\n   \
         `SISYPHUSDB_CONF_HTTP_PORT=8080`. Other variables are ignored;\n\
         3. by a flag: `--http-port 8080`;\n\
         4. at run time by `CONFIG SET timeout 60`, if it is not marked *at start*. `CONFIG REWRITE` writes the\n   \
         values in force back to the file.\n\n\
         Sizes take Redis' units: `1k` is 1000 bytes and `1kb` 1024; so `m`, `mb`, `g`, `gb`. A directive that does\n\
         not exist, or a value that is not right, is one line on standard error and exit status 1.\n",
    );
    for group in GROUPS {
        let _ = write!(text, "\n## {}\n\n| directive | default | |\n|---|---|---|\n", group.title);
        for row in group.rows {
            let names: Vec<String> = row.names().map(|name| format!("`{name}`")).collect();
            let _ = writeln!(
                text,
                "| {} | {} | {}{} |",
                names.join(", "),
                markdown_default(row),
                row.doc.replace('|', "\\|"),
                remarks(row)
            );
        }
    }
    text
}

fn markdown_default(row: &Directive) -> String {
    match row.default {
        Default::Text("") => String::new(),
        Default::Text(_) => format!("`{}`", default_text(row)),
        Default::Derived(how, _) => how.to_string(),
    }
}

fn default_text(row: &Directive) -> String {
    match row.default {
        Default::Derived(how, _) => how.to_string(),
        Default::Text(text) => match (row.kind, size(text)) {
            (Kind::Bytes { .. }, Some(bytes)) => size_text(bytes),
            _ => text.to_string(),
        },
    }
}

fn remarks(row: &Directive) -> String {
    let mut remarks = String::new();
    if let Some(values) = values_text(row.kind) {
        let _ = write!(remarks, " {values}");
    }
    match (row.effect, row.scope) {
        (Effect::Works, Scope::Start | Scope::Protected) => remarks.push_str(" *At start.*"),
        (Effect::Works, Scope::File) => remarks.push_str(" *In files.*"),
        _ => {}
    }
    remarks
}

fn values_text(kind: Kind) -> Option<String> {
    match kind {
        Kind::Choice(words) | Kind::Choices(words) => Some(format!("One of `{}`.", words.join("`, `"))),
        _ => None,
    }
}

/// `text` in lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}
