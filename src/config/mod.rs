//! Configuration: one table of directives, and what it is turned into.
//!
//! A directive is one row of `directive::GROUPS`: its name, the kind of its value, its default, what it does and
//! when it may change. From the rows come the grammar of configuration files (that of redis.conf), the flags
//! (`--name value`), the environment (`SISYPHUSDB_CONF_NAME`), `CONFIG GET|SET|REWRITE`, `--help` and
//! docs/configuration.md. A later source wins: default < file < environment < flags < CONFIG SET.
//!
//! Words become values in two steps. `Values` holds the canonical text of every row; [`Config`] (fixed when the
//! process starts) and [`Settings`] (replaced as a whole by CONFIG SET) are the typed form, and nothing outside this
//! module parses a string. A value that needs the machine (a share of its memory, its descriptors) is filled in from
//! [`Machine`], so a test can name one.
//!
//! A directive of Redis that means nothing here stands in the table too: either it is *accepted without effect*
//! (remembered, answered by CONFIG GET, named in the log at start), or *refused* with the reason unless it is set to
//! the one value that is true here.

mod check;
mod directive;
mod document;
mod grammar;
mod kind;
mod load;
mod machine;
mod peering;
mod rewrite;
mod settings;
mod table;
mod typed;
mod update;
mod values;

pub use document::{help, markdown};
pub use load::{ConfigError, Loaded, Offline, Sources};
pub use machine::Machine;
pub use peering::{PeerSecret, PeerTls};
pub use rewrite::RewriteError;
pub use settings::{EndpointType, LogLevel, OutputLimit, OutputLimits, Password, ReplicaReads, Settings};
pub use typed::{Announce, BindAddress, Config, DebugCommand, MEMTABLES_MAX, RaftTimings};
pub use update::SetError;

#[cfg(test)]
mod tests;
