//! From files, environment and flags to a `Config`.

use std::fs;
use std::path::{Path, PathBuf};

use super::directive::{Effect, Scope, find, rows};
use super::machine::Machine;
use super::peering::Peering;
use super::typed::Config;
use super::values::Values;
use super::{check, document, grammar};
use crate::glob;

/// What the names of environment variables start with; the rest is the directive, in capitals and with `_` for `-`.
pub(super) const ENVIRONMENT_PREFIX: &str = "SISYPHUSDB_CONF_";

/// Files that include files: how deep. More is a file that includes itself.
const INCLUDE_DEPTH_MAX: usize = 16;

/// Where the configuration comes from.
pub struct Sources<'a> {
    /// The command line without the program's name.
    pub arguments: Vec<String>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Reads standard input to its end; called only if the command line says `-`.
    pub standard_input: &'a dyn Fn() -> std::io::Result<String>,
    /// The machine that some defaults are computed from.
    pub machine: Machine,
}

/// What the command line asks for.
pub enum Loaded {
    /// Run a node.
    Run(Box<Config>),
    /// Do this with the data directory, and end.
    Offline(Offline, Box<Config>),
    /// Print this and end.
    Print(String),
}

/// What is done with the data directory of a node that does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offline {
    /// Say what is in it.
    Inspect,
    /// Check everything in it.
    Verify,
    /// Make its node the only member of a new cluster.
    Recover,
}

impl Offline {
    /// The verb at the beginning of the command line, and how many words it takes.
    fn of(arguments: &[String]) -> Result<Option<(Self, usize)>, ConfigError> {
        let word = |at: usize| arguments.get(at).map(String::as_str);
        match word(0) {
            Some("inspect") => Ok(Some((Self::Inspect, 1))),
            Some("verify" | "--verify") => Ok(Some((Self::Verify, 1))),
            Some("recover") if word(1) == Some("--i-accept-data-loss") => Ok(Some((Self::Recover, 2))),
            Some("recover") => Err(ConfigError::at(
                "recover",
                "what only other nodes have would be lost: say recover --i-accept-data-loss, and see docs/cluster.md first",
            )),
            _ => Ok(None),
        }
    }
}

/// Why there is no configuration, in one line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ConfigError(pub(super) String);

impl ConfigError {
    fn at(place: &str, what: impl std::fmt::Display) -> Self {
        Self(format!("{place}: {what}"))
    }
}

/// The command line, sorted out.
#[derive(Debug, Default, PartialEq)]
struct CommandLine {
    file: Option<String>,
    standard_input: bool,
    /// Name and words of each flag, in order.
    flags: Vec<(String, Vec<String>)>,
}

impl Config {
    /// Reads the configuration: default < file < environment < flags.
    ///
    /// # Errors
    /// With one line that names the place, the directive and what is wrong with it.
    pub fn load(sources: Sources<'_>) -> Result<Loaded, ConfigError> {
        match sources.arguments.first().map(String::as_str) {
            Some("-h" | "--help") => return Ok(Loaded::Print(document::help())),
            Some("-v" | "--version") => return Ok(Loaded::Print(document::version())),
            _ => {}
        }
        let offline = Offline::of(&sources.arguments)?;
        let line = command_line(&sources.arguments[offline.map_or(0, |(_, words)| words)..])?;
        let mut values = Values::defaults();
        if let Some(file) = &line.file {
            read_file(Path::new(file), &mut values, 0)?;
        }
        if line.standard_input {
            let text =
                (sources.standard_input)().map_err(|error| ConfigError::at("standard input", error))?;
            read_text("standard input", &text, &mut values, 0)?;
        }
        read_environment(&sources.environment, &mut values)?;
        for (name, words) in &line.flags {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let place = format!("--{name}");
            apply(&place, name, &words, &mut values, 0)?;
        }
        let file = line.file.as_deref().map(Path::new).map(absolute).transpose()?;
        let config = Box::new(Self::new(values, file, sources.machine)?);
        Ok(match offline {
            Some((verb, _)) => Loaded::Offline(verb, config),
            None => Loaded::Run(config),
        })
    }

    /// The configuration of a node started with these flags alone, on this machine: `[("port", "auto"), …]`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_flags(flags: &[(&str, &str)]) -> Result<Self, ConfigError> {
        let mut values = Values::defaults();
        for (name, value) in flags {
            let words = grammar::split(value).map_err(|_| ConfigError::at(name, UNBALANCED))?;
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let words = if words.is_empty() { &[""] } else { words.as_slice() };
            apply(&format!("--{name}"), name, words, &mut values, 0)?;
        }
        Self::new(values, None, Machine::detect())
    }

    fn new(mut values: Values, file: Option<PathBuf>, machine: Machine) -> Result<Self, ConfigError> {
        values.derive(&machine);
        check::consistent(&values, &machine).map_err(|(name, what)| ConfigError::at(name, what))?;
        let peering = Peering::read(&values).map_err(|(name, what)| ConfigError::at(name, what))?;
        Ok(Self::from_values(values, peering, file, machine))
    }

    /// Whether someone has set the directive `name`, as opposed to its default.
    pub fn is_set(&self, name: &str) -> bool {
        let values = self.values.lock().expect("no holder panics");
        find(name).is_some_and(|(at, _)| values.is_set(at))
    }

    /// The directives that were set and have no effect, each with its value and the reason.
    pub fn ignored(&self) -> Vec<(&'static str, String, &'static str)> {
        let values = self.values.lock().expect("no holder panics");
        rows()
            .enumerate()
            .filter(|(at, row)| row.effect == Effect::Ignored && values.is_set(*at))
            .map(|(at, row)| (row.name, values.text_at(at).to_string(), row.doc))
            .collect()
    }
}

const UNBALANCED: &str = "the quotes do not match, or it is not UTF-8 text";

fn absolute(path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|error| ConfigError::at(&path.display().to_string(), error))
}

/// `[file] [--name value …] [-]`, as redis-server reads it; `--name=value` is understood too.
fn command_line(arguments: &[String]) -> Result<CommandLine, ConfigError> {
    let mut line = CommandLine::default();
    let last = arguments.len().saturating_sub(1);
    for (at, argument) in arguments.iter().enumerate() {
        if argument == "-" && (at == 0 || at == last) {
            line.standard_input = true;
        } else if let Some(flag) = argument.strip_prefix("--").filter(|flag| !flag.is_empty()) {
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, vec![value.to_string()]),
                None => (flag, Vec::new()),
            };
            line.flags.push((name.to_string(), value));
        } else if let Some((_, words)) = line.flags.last_mut() {
            words.push(argument.clone());
        } else if at == 0 {
            line.file = Some(argument.clone());
        } else {
            return Err(ConfigError::at(argument, "expected --name value (see --help)"));
        }
    }
    Ok(line)
}

/// Reads a file and those it includes, setting `values`.
pub(super) fn read_file(path: &Path, values: &mut Values, depth: usize) -> Result<(), ConfigError> {
    let place = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| ConfigError::at(&place, error))?;
    read_text(&place, &text, values, depth)
}

/// Reads lines, setting `values`. `place` is what errors call the text.
pub(super) fn read_text(
    place: &str,
    text: &str,
    values: &mut Values,
    depth: usize,
) -> Result<(), ConfigError> {
    // Save points of a file replace the default together, then add up; a flag replaces them all.
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("{place}:{}", number + 1);
        let words = grammar::split(line).map_err(|_| ConfigError::at(&place, UNBALANCED))?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let [name, words @ ..] = words.as_slice() {
            apply(&place, name, words, values, depth)?;
        }
    }
    Ok(())
}

fn read_environment(environment: &[(String, String)], values: &mut Values) -> Result<(), ConfigError> {
    for (variable, value) in environment {
        let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX) else {
            continue;
        };
        let known = rows().flat_map(|row| row.names()).find(|known| environment_name(known) == name);
        let Some(name) = known else {
            return Err(ConfigError::at(variable, "there is no such directive"));
        };
        // Nothing but the value stands in a variable, so quotes are part of it, as in CONFIG SET.
        apply(variable, name, &[value], values, 0)?;
    }
    Ok(())
}

/// The directive's part of the name of its environment variable.
pub(super) fn environment_name(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// Carries out one line: a directive and its words.
fn apply(
    place: &str,
    name: &str,
    words: &[&str],
    values: &mut Values,
    depth: usize,
) -> Result<(), ConfigError> {
    let Some((at, row)) = find(name) else {
        return Err(ConfigError::at(place, format!("there is no directive '{name}' (see --help)")));
    };
    if row.name == "include" {
        return words.iter().try_for_each(|path| include(place, path, values, depth + 1));
    }
    let wrong = |what| {
        let said = words.iter().map(|word| format!(" {}", grammar::quote(word))).collect::<String>();
        ConfigError::at(place, format!("{}{said}: {what}", row.name))
    };
    if words.is_empty() {
        return Err(wrong("a value is missing".to_string()));
    }
    let text = row.parse(words, values.text_at(at)).map_err(wrong)?;
    if row.scope == Scope::File && row.effect == Effect::Fixed {
        return Ok(());
    }
    let text = match values.text_at(at) {
        // Save points are the one value that several lines add up to.
        current if row.name == "save" && values.is_set(at) && !current.is_empty() && !text.is_empty() => {
            format!("{current} {text}")
        }
        _ => text,
    };
    values.set(at, text);
    Ok(())
}

fn include(place: &str, path: &str, values: &mut Values, depth: usize) -> Result<(), ConfigError> {
    if depth > INCLUDE_DEPTH_MAX {
        return Err(ConfigError::at(
            place,
            format!("files include each other more than {INCLUDE_DEPTH_MAX} deep"),
        ));
    }
    let path = Path::new(path);
    let pattern = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !pattern.contains(['*', '?', '[']) {
        return read_file(path, values, depth);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(directory)
        .map_err(|error| ConfigError::at(place, format!("{}: {error}", directory.display())))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && glob::matches(pattern.as_bytes(), name.as_bytes()))
        .collect();
    names.sort_unstable();
    names.iter().try_for_each(|name| read_file(&directory.join(name), values, depth))
}
