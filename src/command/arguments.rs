//! What is wrong with a request: the errors of the argument cursor and of the table, in Redis' words.

use super::spec::{Command, flag};
use crate::keyspace::{CommandError, Failure};
use crate::resp::{ArgError, Args, ReplyTooLong};

/// Bytes of a name or an argument that an error shows.
const SHOWN_BYTES_MAX: usize = 128;

impl From<ArgError> for CommandError {
    fn from(error: ArgError) -> Self {
        match error {
            ArgError::Syntax => Self::Syntax,
            ArgError::Integer => Self::NotInteger,
            ArgError::Float => Self::NotFloat,
            ArgError::Negative => Self::other("ERR value is out of range, must be positive"),
        }
    }
}

impl From<ArgError> for Failure {
    fn from(error: ArgError) -> Self {
        Self::Client(error.into())
    }
}

impl From<ReplyTooLong> for Failure {
    fn from(_: ReplyTooLong) -> Self {
        Self::Client(CommandError::ReplyTooLarge)
    }
}

/// The error for a name that the table does not have.
pub(super) fn unknown_command(args: &Args) -> CommandError {
    let mut shown = String::new();
    for arg in args.iter().skip(1) {
        if shown.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let left = SHOWN_BYTES_MAX - shown.len();
        shown.push('\'');
        shown.push_str(&text(arg, left));
        shown.push_str("' ");
    }
    let name = text(&args[0], SHOWN_BYTES_MAX);
    CommandError::other(format!("ERR unknown command '{name}', with args beginning with: {shown}"))
}

/// The error for a subcommand that `container` does not have.
pub(super) fn unknown_subcommand(container: &Command, name: &[u8]) -> CommandError {
    if container.has(flag::DEBUG) {
        return wrong_usage("DEBUG", name);
    }
    let name = text(name, SHOWN_BYTES_MAX);
    CommandError::other(format!("ERR unknown subcommand '{name}'. Try {} HELP.", container.name))
}

/// The error of a subcommand that found too many words for itself.
pub(super) fn wrong_usage(container: &str, name: &[u8]) -> CommandError {
    let name = text(name, SHOWN_BYTES_MAX);
    CommandError::other(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."
    ))
}

/// The error for too few or too many words.
pub(super) fn wrong_arity(command: &Command) -> CommandError {
    CommandError::other(format!("ERR wrong number of arguments for '{}' command", command.full_name()))
}

/// At most `bytes` of `word`, as an error may show it.
fn text(word: &[u8], bytes: usize) -> String {
    String::from_utf8_lossy(&word[..word.len().min(bytes)]).into_owned()
}
