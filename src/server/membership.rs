//! What commands ask of the consensus, carried out: hand over, change the membership, wait for followers.

use std::{sync::Arc, time::Duration};

use crate::{
    command::{Acknowledged, Transfer, Wait},
    dispatch::Services,
    raft::{Change, ChangeAnswer},
    resp::ReplyWriter,
    session::{Session, Unblocked},
};

/// How long a wait goes without looking how far the followers are: at first, and at most. What they acknowledge wakes nobody,
/// since hardly anybody waits; who waits long waits for a node that is away.
const WAIT_CHECKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(64));

/// Hands the leadership over.
pub(super) async fn transfer(services: &Services, transfer: Transfer) -> Result<(), String> {
    let handed_over = services.shard.transfer(transfer.to);
    let ended = match transfer.timeout {
        None => handed_over.await,
        Some(patience) => match tokio::time::timeout(patience, handed_over).await {
            Ok(ended) => ended,
            Err(_) => return Err("ERR nobody has taken over in that time; one may still".to_owned()),
        },
    };
    ended.map_err(|error| format!("ERR {error}"))
}

/// Changes the membership.
pub(super) async fn change(services: &Services, changes: Vec<Change>) -> Result<(), String> {
    match services.shard.change(changes).await {
        ChangeAnswer::Done => Ok(()),
        ChangeAnswer::Refused(refusal) => Err(format!("ERR {refusal}")),
        ChangeAnswer::Unknown => {
            Err("TIMEOUT the leadership ended before the change was complete: RAFT.MEMBER LIST says whether it is".to_owned())
        }
    }
}

/// Waits for followers, unless the command stands in a transaction, and writes the reply of WAIT or WAITAOF.
pub(super) async fn wait(
    services: &Arc<Services>,
    session: &Session,
    wait: Wait,
    may_wait: bool,
    out: &mut ReplyWriter<'_>,
) -> Result<(), String> {
    let index = services.shard.core().last_index();
    let until = wait.timeout.map(|timeout| tokio::time::Instant::now() + timeout);
    let client = session.info();
    let (mut unblocked, mut pause) = (None, WAIT_CHECKS.0);
    client.start_waiting();
    let (local, followers) = loop {
        let (local, followers, others) = durable_at(services, index);
        let is_enough = (local || !wait.local) && wait.replicas.min(others) <= followers;
        let is_over = until.is_some_and(|until| until <= tokio::time::Instant::now());
        let leads = services.shard.core().leads();
        if is_enough || is_over || !may_wait || !leads || client.is_killed() || services.is_stopping() {
            break (local, followers);
        }
        if !client.is_waiting() {
            unblocked = client.take_unblocked();
            break (local, followers);
        }
        let left = until.map_or(pause, |until| until - tokio::time::Instant::now());
        tokio::time::sleep(pause.min(left)).await;
        pause = (2 * pause).min(WAIT_CHECKS.1);
    };
    client.take_unblocked();
    if unblocked == Some(Unblocked::Error) {
        return Err("UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned());
    }
    let followers = i64::try_from(followers).expect("a cluster has few members");
    match wait.answer {
        Acknowledged::Followers => out.integer(followers),
        Acknowledged::HereAndFollowers => {
            out.array(2);
            out.integer(local.into());
            out.integer(followers);
        }
    }
    Ok(())
}

/// Whether the log up to `index` is on the disk of this node, on those of how many others, and how many others there are.
fn durable_at(services: &Services, index: u64) -> (bool, usize, usize) {
    services.shard.core().with_raft(|raft| {
        let others = raft.configuration().ids().into_iter().filter(|id| *id != raft.id());
        let progress: Vec<_> = others.map(|id| raft.progress(id)).collect();
        let durable = progress.iter().flatten().filter(|progress| index <= progress.match_index()).count();
        (index <= raft.durable_index(), durable, progress.len())
    })
}
