//! Requests that every node takes and the leader answers: those of HTTP. A node that does not lead sends them on, in a
//! tunnel of their own, and while nobody leads they wait.
//!
//! | in a tunnel | bytes |
//! |---|---|
//! | the request | an array of bulk strings |
//! | the answer | one byte: `R`, and a reply in RESP2 follows; `N`, it was not done; `U`, nobody knows; then the end |
//!
//! Only what was definitely not done is tried again: a request that was refused, that did not leave as a whole, or that only
//! reads. Who is sent a request and does not lead refuses it: there is one hop at most.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    local::{LocalClient, LocalReply},
    proxy::another_leads,
};
use crate::{
    command::{self, Handler},
    dispatch::Services,
    driver::Members,
    raft::{NodeId, Role},
    resp::{Args, Limits, RequestCodec},
    transport::{Purpose, Transport, Tunnel},
};

/// How long a request waits for a leader, which is longer than elections take.
const PATIENCE: Duration = Duration::from_secs(5);

/// When to try again, if nothing is heard of another leader.
const RETRY: Duration = Duration::from_millis(50);

/// How long a former leader may still tell what became of a request, from when another one is known. One that is there says so
/// at once.
const LAST_WORD: Duration = Duration::from_millis(250);

/// Shorter pieces of a request are sent together.
const PIECE_BYTES: usize = 16 << 10;

const REPLY: u8 = b'R';
const NOT_DONE: u8 = b'N';
const UNKNOWN: u8 = b'U';

/// Errors that say that nothing was done, and that it may be elsewhere or later.
const ELSEWHERE: [&[u8]; 6] =
    [b"-LOADING ", b"-TRYAGAIN ", b"-CLUSTERDOWN ", b"-READONLY ", b"-MOVED ", b"-MASTERDOWN "];

/// Runs commands where the leader is.
pub(super) struct Forwarder {
    local: LocalClient,
    /// None in a cluster of one.
    transport: Option<Arc<Transport>>,
}

impl Forwarder {
    pub(super) fn new(services: &Arc<Services>, transport: Option<Arc<Transport>>) -> Self {
        Self { local: LocalClient::new(Arc::clone(services)), transport }
    }

    /// Runs one command.
    pub(super) async fn call(&self, words: &[&[u8]]) -> LocalReply {
        let args = Args::from_slices(words);
        let Some(transport) = &self.transport else { return self.local.call(args).await };
        let is_read = command::resolve(&args).is_ok_and(|row| matches!(row.handler, Handler::Read(_)));
        let deadline = Instant::now() + PATIENCE;
        let mut members = self.local.services().shard.core().watch_members();
        loop {
            let (role, leader) = {
                let members = members.borrow_and_update();
                (members.role, members.leader)
            };
            let reply = match leader {
                _ if role == Role::Leader => self.local.call(args.clone()).await,
                Some(leader) if is_read => tokio::select! {
                    reply = forward(transport, leader, &args, members.clone()) => reply,
                    () = another_leads(members.clone(), leader) => continue,
                },
                Some(leader) => forward(transport, leader, &args, members.clone()).await,
                None => LocalReply::NotDone,
            };
            let may_repeat = match &reply {
                LocalReply::NotDone => true,
                // What only reads has done nothing, whatever became of it.
                LocalReply::Unknown => is_read,
                LocalReply::Reply(reply) => ELSEWHERE.iter().any(|error| reply.starts_with(error)),
            };
            if !may_repeat {
                return reply;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return if is_read { LocalReply::NotDone } else { reply };
            }
            tokio::select! {
                changed = members.changed() => {
                    if changed.is_err() {
                        return reply;
                    }
                }
                () = sleep(if leader.is_some() { RETRY.min(left) } else { left }) => {}
            }
        }
    }
}

/// Lets the leader run a command.
async fn forward(
    transport: &Transport,
    leader: NodeId,
    args: &Args,
    members: watch::Receiver<Arc<Members>>,
) -> LocalReply {
    let opened = tokio::select! {
        opened = transport.tunnel(leader, Purpose::Request) => opened,
        () = another_leads(members.clone(), leader) => return LocalReply::NotDone,
    };
    let mut tunnel = match opened {
        Ok(tunnel) => tunnel,
        Err(error) => {
            tracing::debug!(leader, %error, "a request does not get to the leader");
            return LocalReply::NotDone;
        }
    };
    // It is run when it is there as a whole.
    let written = tokio::select! {
        written = write(&mut tunnel, args) => written.is_ok(),
        () = another_leads(members.clone(), leader) => false,
    };
    if !written {
        return LocalReply::NotDone;
    }
    // From here on it may be run, whatever else fails.
    let mut answer = Vec::new();
    let answered = async {
        tunnel.shutdown().await?;
        tunnel.read_to_end(&mut answer).await
    };
    let has_gone = async {
        another_leads(members, leader).await;
        sleep(LAST_WORD).await;
    };
    let answered = tokio::select! {
        answered = answered => answered,
        () = has_gone => return LocalReply::Unknown,
    };
    match answered {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return LocalReply::NotDone,
        Err(error) => {
            tracing::debug!(leader, %error, "what became of a request is not known");
            return LocalReply::Unknown;
        }
    }
    let answer = Bytes::from(answer);
    match answer.first() {
        Some(&REPLY) => LocalReply::Reply(answer.slice(1..)),
        Some(&NOT_DONE) => LocalReply::NotDone,
        _ => LocalReply::Unknown,
    }
}

/// Writes a request. An error means that it did not leave as a whole: the last bytes are written at once, and what a tunnel
/// has taken it does not fail for.
async fn write(tunnel: &mut Tunnel, args: &Args) -> std::io::Result<()> {
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    piece.put_slice(format!("*{}\r\n", args.len()).as_bytes());
    for word in args.iter() {
        piece.put_slice(format!("${}\r\n", word.len()).as_bytes());
        if piece.len() + word.len() < PIECE_BYTES {
            piece.put_slice(word);
        } else {
            tunnel.write_all(&piece).await?;
            piece.clear();
            tunnel.write_all(word).await?;
        }
        piece.put_slice(b"\r\n");
    }
    tunnel.write_all(&piece).await
}

/// Runs a command for another node. What did not come as a whole is not run.
pub(super) async fn answer(services: &Arc<Services>, mut tunnel: Tunnel) {
    let answered = async {
        let Some(args) = read(services, &mut tunnel).await? else { return Ok(()) };
        let reply = LocalClient::new(Arc::clone(services)).call(args).await;
        let (kind, reply) = match reply {
            LocalReply::Reply(reply) => (REPLY, reply),
            LocalReply::NotDone => (NOT_DONE, Bytes::new()),
            LocalReply::Unknown => (UNKNOWN, Bytes::new()),
        };
        tunnel.write_all(&[kind]).await?;
        tunnel.write_all(&reply).await?;
        tunnel.shutdown().await
    };
    let answered: std::io::Result<()> = answered.await;
    if let Err(error) = answered {
        tracing::debug!(%error, "a request of another node broke off");
    }
}

/// Reads a request; none if that is not one.
async fn read(services: &Services, tunnel: &mut Tunnel) -> std::io::Result<Option<Args>> {
    let limits = {
        let settings = services.config.settings();
        Limits {
            bulk_bytes_max: settings.proto_max_bulk_len,
            request_bytes_max: settings.client_query_buffer_limit,
            // Who sent the request on has let its sender in.
            authenticated: true,
        }
    };
    let (mut codec, mut buffer) = (RequestCodec::new(limits), BytesMut::new());
    loop {
        match codec.next_request(&mut buffer) {
            Ok(Some(args)) => return Ok(Some(args)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "another node sent a request that is none");
                return Ok(None);
            }
        }
        codec.reserve(&mut buffer);
        if tunnel.read_buf(&mut buffer).await? == 0 {
            return Ok(None);
        }
    }
}
