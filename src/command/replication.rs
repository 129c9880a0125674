//! The commands by which Redis' clients ask about replicas: ROLE, FAILOVER, WAIT and WAITAOF.
//!
//! Offsets count entries of the log, not bytes: it has no other measure that all nodes share. An acknowledged write is on
//! the disks of a majority already; WAIT says on how many others it is.

use std::time::Duration;

use super::node::{Acknowledged, Ask, NodeContext, Transfer, Wait};
use super::raft::led_here;
use super::spec::{Command, Compare, acl, flag};
use crate::keyspace::{CommandError, Result};
use crate::resp::{ArgReader, Args, ReplyWriter};

/// ROLE.
pub(super) const ROLE: Command = Command::node("ROLE", "", role)
    .fast()
    .always()
    .noscript()
    .acl(acl::ADMIN | acl::DANGEROUS)
    .compare(Compare::Shape)
    .doc("2.8.12", "Returns whether this node leads, and who follows it or whom it follows.");

/// FAILOVER.
pub(super) const FAILOVER: Command =
    Command::node("FAILOVER", "[TO <host port [FORCE]>] [ABORT] [TIMEOUT milliseconds]", fail_over)
        .admin()
        .noscript()
        .flag(flag::STALE)
        .doc("6.2.0", "Hands the leadership to another node, and returns when it has it.");

/// WAIT.
pub(super) const WAIT: Command = Command::node("WAIT", "numreplicas timeout", wait)
    .flag(flag::BLOCKING)
    .acl(acl::CONNECTION)
    .tips(MINIMUM)
    .doc(
        "3.0.0",
        "Waits until writes are on the disks of so many followers, and returns on how many they are.",
    );

/// WAITAOF.
pub(super) const WAITAOF: Command = Command::node("WAITAOF", "numlocal numreplicas timeout", wait_aof)
    .flag(flag::BLOCKING)
    .acl(acl::CONNECTION)
    .tips(MINIMUM)
    .doc("7.2.0", "Waits until writes are on the disk here and on those of so many followers.");

const MINIMUM: &[&str] = &["request_policy:all_shards", "response_policy:agg_min"];

/// A number as Redis' clients read offsets.
fn offset(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn role(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let (topology, raft) = ((node.topology)(), (node.raft)());
    match topology.leader() {
        Some(leader) if leader.is_myself => {
            out.array(3);
            out.bulk(b"master");
            out.integer(offset(raft.applied_index));
            out.array(topology.followers().count());
            for follower in topology.followers() {
                out.array(3);
                out.bulk(follower.record.host.as_bytes());
                out.bulk(follower.record.port.to_string().as_bytes());
                out.bulk(raft.offset_of(follower.id).to_string().as_bytes());
            }
        }
        leader => {
            out.array(5);
            out.bulk(b"slave");
            out.bulk(leader.map_or("", |leader| &leader.record.host).as_bytes());
            out.integer(leader.map_or(0, |leader| leader.record.port.into()));
            out.bulk(if leader.is_some() { b"connected" } else { b"connect" });
            out.integer(offset(raft.applied_index));
        }
    }
    Ok(None)
}

/// What FAILOVER was told.
#[derive(Default)]
struct Failover<'a> {
    to: Option<(&'a [u8], i64)>,
    timeout: Option<Duration>,
    is_abort: bool,
    is_forced: bool,
}

impl<'a> Failover<'a> {
    fn parse(args: &'a Args) -> Result<Self> {
        let mut failover = Self::default();
        let mut words = args.reader(1);
        while words.remaining() > 0 {
            if failover.timeout.is_none() && words.remaining() > 1 && words.token("TIMEOUT") {
                let millis = words.integer()?;
                if millis <= 0 {
                    return Err(CommandError::other("ERR FAILOVER timeout must be greater than 0").into());
                }
                failover.timeout = Some(Duration::from_millis(millis.unsigned_abs()));
            } else if words.remaining() == args.len() - 1 && args.len() == 2 && words.token("ABORT") {
                failover.is_abort = true;
            } else if failover.to.is_none() && words.remaining() > 2 && words.token("TO") {
                failover.to = Some((words.bytes()?, words.integer()?));
            } else if !failover.is_forced && words.token("FORCE") {
                failover.is_forced = true;
            } else {
                return Err(CommandError::Syntax.into());
            }
        }
        Ok(failover)
    }
}

fn fail_over(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let Failover { to, timeout, is_abort, is_forced } = Failover::parse(args)?;
    let told = |text: &'static str| Err(CommandError::other(text).into());
    if is_abort {
        // One that is under way is complete, or given up, before its client is answered.
        return told("ERR No failover in progress.");
    }
    let topology = led_here(node)?;
    if topology.followers().next().is_none() {
        return told("ERR FAILOVER requires connected replicas.");
    }
    if is_forced && (to.is_none() || timeout.is_none()) {
        return told("ERR FAILOVER with force option requires both a timeout and target HOST and IP.");
    }
    let to = match to {
        None => None,
        Some((host, port)) => {
            let is_meant = |record: &crate::cluster::MemberRecord| {
                let names = [record.host.as_bytes(), record.hostname.as_bytes()];
                i64::from(record.port) == port && names.contains(&host)
            };
            match topology.followers().find(|node| node.is_voter && is_meant(&node.record)) {
                Some(found) => Some(found.id),
                None => return told("ERR FAILOVER target HOST and PORT is not a replica."),
            }
        }
    };
    out.ok();
    Ok(Some(Ask::Transfer(Transfer { to, timeout })))
}

/// The last word of WAIT: none is for ever.
fn timeout(words: &mut ArgReader<'_>) -> Result<Option<Duration>> {
    let millis =
        words.integer().map_err(|_| CommandError::other("ERR timeout is not an integer or out of range"))?;
    let millis = u64::try_from(millis).map_err(|_| CommandError::other("ERR timeout is negative"))?;
    Ok((millis > 0).then(|| Duration::from_millis(millis)))
}

/// A number of nodes; any that is too large is as good as another.
fn nodes(words: &mut ArgReader<'_>) -> Result<usize> {
    let number = words.integer()?;
    usize::try_from(number)
        .map_err(|_| CommandError::other("ERR value is out of range, must be positive").into())
}

fn wait(node: &mut NodeContext<'_>, args: &Args, _: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let mut words = args.reader(1);
    let (replicas, timeout) = (nodes(&mut words)?, timeout(&mut words)?);
    check_leads(node, "WAIT", WRITABLE_SINCE)?;
    Ok(Some(Ask::Wait(Wait { replicas, local: false, timeout, answer: Acknowledged::Followers })))
}

fn wait_aof(node: &mut NodeContext<'_>, args: &Args, _: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let mut words = args.reader(1);
    let local = words.integer()?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::other("ERR value is out of range, value must between 0 and 1").into());
    }
    let (replicas, timeout) = (nodes(&mut words)?, timeout(&mut words)?);
    check_leads(node, "WAITAOF", WRITABLE)?;
    let answer = Acknowledged::HereAndFollowers;
    Ok(Some(Ask::Wait(Wait { replicas, local: local == 1, timeout, answer })))
}

const WRITABLE: &str = "Please also note that writes to replicas are just local and are not propagated.";
const WRITABLE_SINCE: &str = "Please also note that since Redis 4.0 if a replica is configured to be writable (which is \
                              not the default) writes to replicas are just local and are not propagated.";

/// A follower has no followers of its own, so nobody to wait for.
fn check_leads(node: &NodeContext<'_>, name: &str, more: &str) -> Result<()> {
    if (node.topology)().leader().is_some_and(|leader| leader.is_myself) {
        return Ok(());
    }
    Err(CommandError::other(format!("ERR {name} cannot be used with replica instances. {more}")).into())
}
