//! Commands that look at the node: what they see, and how what they ask is carried out.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{
    membership, on_a_thread,
    status::{peers, raft_status, status},
};
use crate::{
    command::{self, Ask, Command, Handler, NodeContext, Shutdown},
    dispatch::Services,
    executor::Input,
    keyspace::{self, Failure},
    metrics::NodeStatus,
    resp::{Args, Outbox, ReplyWriter},
    session::Session,
};

/// Runs a command of kind `Node` and what it asks for, and returns its reply.
pub(super) async fn run(
    services: &Arc<Services>,
    session: &mut Session,
    command: &'static Command,
    args: &Args,
) -> Outbox {
    run_and_wait(services, session, command, args, true).await
}

/// The same; a command of a transaction may not wait for others.
async fn run_and_wait(
    services: &Arc<Services>,
    session: &mut Session,
    command: &'static Command,
    args: &Args,
    may_wait: bool,
) -> Outbox {
    let mut reply = Outbox::new();
    let protocol = session.protocol;
    let started = Instant::now();
    let mut writer = ReplyWriter::new(&mut reply, protocol);
    let mut asked = handle(services, session, command, args, None, &mut writer);
    if let Ok(Some(Ask::Status)) = asked {
        let observed = Arc::clone(services);
        let status = on_a_thread(move || status(&observed)).await;
        asked = handle(services, session, command, args, Some(&status), &mut writer);
    }
    let refusal = match asked {
        Ok(None) => None,
        Ok(Some(Ask::Wait(wait))) => membership::wait(services, session, wait, may_wait, &mut writer)
            .await
            .err()
            .map(String::into_bytes),
        Ok(Some(ask)) => carry_out(services, session, ask).await.err().map(String::into_bytes),
        Err(failure) => Some(failure.text().into_owned()),
    };
    let took = started.elapsed();
    services.stats.local(|local| {
        local.command(usize::from(command.id), 1, took);
        if let Some(error) = &refusal {
            local.command_failed(usize::from(command.id));
            local.error(error);
        }
    });
    // By the thresholds as they are now: the CONFIG SET that lowers one is the first to be noted.
    services.note_slow(session.info(), args, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    if let Some(refusal) = refusal {
        reply.clear();
        ReplyWriter::new(&mut reply, protocol).error(refusal);
    }
    if !session.keeps_reply() {
        reply.clear();
    }
    reply
}

/// Shows the node to the handler of a command; its state too, if that was asked for.
fn handle(
    services: &Services,
    session: &mut Session,
    command: &'static Command,
    args: &Args,
    status: Option<&NodeStatus>,
    writer: &mut ReplyWriter<'_>,
) -> keyspace::Result<Option<Ask>> {
    let Handler::Node(handler) = command.handler else { unreachable!("dispatch knows what ends a batch") };
    let now_micros = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    let mut context = NodeContext {
        session,
        clients: &services.clients,
        config: &services.config,
        stats: &services.stats,
        status,
        raft: &|| raft_status(services),
        topology: &|| services.topology(),
        peers: &|| peers(services),
        slowlog: &services.slowlog,
        latency: &services.latency,
        now_micros,
    };
    handler(&mut context, args, writer)
}

/// Runs a command of a transaction that concerns the session or the node.
pub(super) async fn run_deferred(services: &Arc<Services>, session: &mut Session, args: &Args) -> Outbox {
    let command = command::resolve(args).expect("it was resolved when it was queued");
    let mut reply = Outbox::new();
    match command.handler {
        Handler::Node(_) => reply = run_and_wait(services, session, command, args, false).await,
        Handler::Session(handler) => {
            let protocol = session.protocol;
            let mut writer = ReplyWriter::new(&mut reply, protocol);
            let mark = writer.mark();
            let result = handler(session, args, &mut writer);
            if let Err(Failure::Client(error)) = result {
                writer.truncate(mark);
                writer.error(error.text());
            }
        }
        // UNWATCH, the only one of its kind that is queued: EXEC has forgotten what was watched.
        Handler::Transaction(_) => ReplyWriter::new(&mut reply, session.protocol).ok(),
        Handler::Write(_) | Handler::Read(_) => unreachable!("the executor has run the commands on data"),
    }
    reply
}

/// Does what a command asks of the node. An error is told instead of the reply.
async fn carry_out(services: &Arc<Services>, session: &mut Session, ask: Ask) -> Result<(), String> {
    match ask {
        Ask::Save => services.save().await,
        Ask::BackgroundSave => {
            let services = Arc::clone(services);
            tokio::spawn(async move {
                if let Err(error) = services.save().await {
                    tracing::warn!(%error, "a checkpoint failed");
                }
            });
            Ok(())
        }
        Ask::Shutdown(Shutdown { abort: true, .. }) => Err("ERR No shutdown in progress.".to_owned()),
        Ask::Shutdown(_) => {
            services.request_stop();
            session.closing = true;
            Ok(())
        }
        Ask::Sleep(duration) => {
            services.shard.hold_executor(duration).await;
            Ok(())
        }
        Ask::Reload => services.shard.reload().await.map_err(|error| format!("ERR {error}")),
        Ask::SetActiveExpire(on) => {
            services.shard.submit(Input::ActiveExpire(on));
            Ok(())
        }
        Ask::Transfer(transfer) => membership::transfer(services, transfer).await,
        Ask::Change(changes) => membership::change(services, changes).await,
        Ask::Wait(_) | Ask::Status => unreachable!("it is answered before"),
    }
}
