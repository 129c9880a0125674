//! INFO: its sections, and how they are printed.

mod fields;
mod lists;

use std::fmt::Write;

pub use fields::REDIS_VERSION;

use super::stats::Totals;
use super::status::NodeStatus;

/// What a field is computed from.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    /// What is the case.
    pub status: &'a NodeStatus,
    /// What was counted.
    pub totals: &'a Totals,
}

/// Names of fields and their values.
type Lines = Vec<(String, String)>;

/// One section of INFO.
struct Section {
    /// The heading, as tools look for it.
    title: &'static str,
    /// Whether it is shown when no section is asked for.
    default: bool,
    fields: &'static [Field],
    /// Fields whose names depend on what there is, as names and values.
    list: Option<fn(&Snapshot<'_>) -> Lines>,
}

/// One field of INFO.
struct Field {
    name: &'static str,
    value: fn(&Snapshot<'_>) -> String,
    change: Change,
}

/// When the value of a field changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// When this happens.
    With(&'static str),
    /// Not while the process runs: it is decided at its start, by this.
    AtStart(&'static str),
    /// Never, for this reason. Kept because tools ask for the field.
    Never(&'static str),
}

const SECTIONS: &[Section] = &[
    Section { title: "Server", default: true, fields: fields::SERVER, list: Some(lists::listeners) },
    Section { title: "Clients", default: true, fields: fields::CLIENTS, list: None },
    Section { title: "Memory", default: true, fields: fields::MEMORY, list: None },
    Section { title: "Persistence", default: true, fields: fields::PERSISTENCE, list: None },
    Section { title: "Stats", default: true, fields: fields::STATS, list: None },
    Section {
        title: "Replication",
        default: true,
        fields: fields::REPLICATION,
        list: Some(lists::replication),
    },
    Section { title: "CPU", default: true, fields: fields::CPU, list: None },
    Section { title: "Modules", default: true, fields: &[], list: None },
    Section { title: "Commandstats", default: false, fields: &[], list: Some(lists::commands) },
    Section { title: "Errorstats", default: true, fields: &[], list: Some(lists::errors) },
    Section { title: "Latencystats", default: false, fields: &[], list: Some(lists::latencies) },
    Section { title: "Cluster", default: true, fields: fields::CLUSTER, list: None },
    Section { title: "Keyspace", default: true, fields: &[], list: Some(lists::databases) },
    Section { title: "Raft", default: true, fields: fields::RAFT, list: Some(lists::members) },
    Section { title: "Executor", default: true, fields: fields::EXECUTOR, list: None },
    Section { title: "Lsm", default: true, fields: fields::LSM, list: Some(lists::levels) },
    Section { title: "Peers", default: true, fields: fields::PEERS, list: Some(lists::peers) },
];

/// The text of INFO with these arguments: names of sections in any case, `default`, `all` and `everything`; none means
/// `default`. A name that is not known adds nothing.
pub fn text(wanted: &[&str], snapshot: &Snapshot<'_>) -> String {
    let named = |name: &str| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
    let (all, default) = (named("all") || named("everything"), named("default") || wanted.is_empty());
    let mut text = String::new();
    for section in SECTIONS {
        if !(all || (default && section.default) || named(section.title)) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        section.write(snapshot, &mut text);
    }
    text
}

impl Section {
    fn write(&self, snapshot: &Snapshot<'_>, text: &mut String) {
        let _ = write!(text, "# {}\r\n", self.title);
        for field in self.fields {
            let _ = write!(text, "{}:{}\r\n", field.name, (field.value)(snapshot));
        }
        for (name, value) in self.list.map(|list| list(snapshot)).unwrap_or_default() {
            let _ = write!(text, "{name}:{value}\r\n");
        }
    }
}

/// The table of fields as a page of the documentation.
pub fn markdown() -> String {
    let mut text = String::new();
    for section in SECTIONS.iter().filter(|section| !section.fields.is_empty()) {
        let _ = write!(text, "\n### {}\n\n| field | changes with |\n|---|---|\n", section.title);
        for field in section.fields {
            let change = match field.change {
                Change::With(event) => event.to_string(),
                Change::AtStart(by) => format!("*fixed at start by {by}*"),
                Change::Never(why) => format!("*constant: {why}*"),
            };
            let _ = writeln!(text, "| `{}` | {change} |", field.name);
        }
    }
    text
}

/// A number of bytes for people, with two digits after the point, as Redis prints it.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.2}{}", UNITS[unit])
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
