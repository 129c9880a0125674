//! What every command must pass before it goes anywhere, in order.

use super::Services;
use crate::{
    command::{Command, flag},
    config::DebugCommand,
    resp::Args,
    session::Session,
};

/// Told to a client that has not shown who it is.
pub(super) const NOAUTH: &str = "NOAUTH Authentication required.";

/// Looks at a command; `Some` is the error that the client gets instead of its reply.
type Gate = fn(&Services, &Session, &Command, &Args) -> Option<String>;

/// All gates. Names, arity and subcommands have been checked before (`command::resolve`).
pub(super) const GATES: &[Gate] = &[authenticated, debugging, in_transaction];

fn authenticated(_: &Services, session: &Session, command: &Command, _: &Args) -> Option<String> {
    let open = session.authenticated() || command.flags & flag::NO_AUTH != 0;
    (!open).then(|| NOAUTH.to_owned())
}

/// DEBUG is off unless `enable-debug-command` says otherwise.
fn debugging(services: &Services, session: &Session, command: &Command, _: &Args) -> Option<String> {
    if !command.name.starts_with("DEBUG") {
        return None;
    }
    let allowed = match services.config.enable_debug_command {
        DebugCommand::No => false,
        DebugCommand::Local => session.info().endpoint.is_local(),
        DebugCommand::Yes => true,
    };
    (!allowed).then(|| {
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
         local connection, otherwise you need to set this option in the configuration file, and then restart the server."
            .to_owned()
    })
}

fn in_transaction(_: &Services, session: &Session, command: &Command, _: &Args) -> Option<String> {
    let refused = session.queue.is_some() && command.flags & flag::NO_MULTI != 0;
    refused.then(|| "ERR Command not allowed inside a transaction".to_owned())
}
