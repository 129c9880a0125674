//! The table and what comes from it, as a whole.

mod loading;
mod rewriting;
mod table;
mod updating;

use super::directive::rows;
use super::{Config, ConfigError, Loaded, Machine, Sources};

/// A machine that is the same everywhere: 8 GiB, 4 processors, 20,000 files.
const MACHINE: Machine = Machine { memory_bytes: 8 << 30, processors: 4, descriptors_max: 20_000 };

/// Loads from a command line and an environment, on [`MACHINE`], with `stdin` on standard input.
fn load(arguments: &[&str], environment: &[(&str, &str)], stdin: &str) -> Result<Loaded, ConfigError> {
    Config::load(Sources {
        arguments: arguments.iter().map(|argument| (*argument).to_string()).collect(),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_string(), (*value).to_string()))
            .collect(),
        standard_input: &|| Ok(stdin.to_string()),
        machine: MACHINE,
    })
}

/// Loads from a command line, which asks for a node.
fn run(arguments: &[&str]) -> Config {
    match load(arguments, &[], "") {
        Ok(Loaded::Run(config)) => *config,
        Ok(Loaded::Offline(..)) => panic!("it should run"),
        Ok(Loaded::Print(text)) => panic!("printed {text}"),
        Err(error) => panic!("{error}"),
    }
}

/// The error of a command line.
fn refused(arguments: &[&str]) -> String {
    match load(arguments, &[], "") {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{arguments:?} was accepted"),
    }
}

/// The value of one directive, as CONFIG GET answers it.
fn value(config: &Config, name: &str) -> String {
    config.get(&[name]).remove(name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn the_names_of_all_rows_are_known_to_a_running_node() {
    let config = run(&[]);
    let shown = config.get(&["*"]).len();
    let named = rows().flat_map(|row| row.names()).count();
    let in_files = rows().filter(|row| row.scope == super::directive::Scope::File).count();
    assert_eq!(shown, named - in_files);
}
