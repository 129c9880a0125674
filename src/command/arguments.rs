//! What is wrong with a request: the errors of the argument cursor and of the table, in Redis' words.

use super::spec::{Command, flag};
use crate::keyspace::{CommandError, Failure};
use crate::resp::{ArgError, ArgReader, Args, ReplyTooLong};

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

/// A number as Redis has it where it reads a C `int`: that of a database.
pub(super) fn int(reader: &mut ArgReader<'_>) -> Result<i64, Failure> {
    let number = reader.integer()?;
    if i32::try_from(number).is_err() {
        let text = "ERR value is out of range, value must between -2147483648 and 2147483647";
        return Err(CommandError::other(text).into());
    }
    Ok(number)
}

/// The error for a name that the table does not have.
pub(super) fn unknown_command(args: &Args) -> CommandError {
    let mut shown = Vec::new();
    for arg in args.iter().skip(1) {
        if shown.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let left = SHOWN_BYTES_MAX - shown.len();
        shown.push(b'\'');
        shown.extend(arg.iter().take_while(|&&byte| byte != 0).take(left));
        shown.extend(b"' ");
    }
    CommandError::showing(
        "ERR unknown command '{}', with args beginning with: {}",
        &[start_of(&args[0]), &shown],
    )
}

/// The error for a subcommand that `container` does not have.
pub(super) fn unknown_subcommand(container: &Command, name: &[u8]) -> CommandError {
    if container.has(flag::DEBUG) {
        return wrong_usage("DEBUG", name);
    }
    let container = container.name.as_bytes();
    CommandError::showing("ERR unknown subcommand '{}'. Try {} HELP.", &[start_of(name), container])
}

/// The error of a subcommand that found too many words for itself.
pub(super) fn wrong_usage(container: &str, name: &[u8]) -> CommandError {
    CommandError::showing(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
        &[start_of(name), container.as_bytes()],
    )
}

/// The error for too few or too many words.
pub(super) fn wrong_arity(command: &Command) -> CommandError {
    CommandError::other(format!("ERR wrong number of arguments for '{}' command", command.full_name()))
}

/// As much of `word` as an error shows of it.
fn start_of(word: &[u8]) -> &[u8] {
    &word[..word.len().min(SHOWN_BYTES_MAX)]
}
