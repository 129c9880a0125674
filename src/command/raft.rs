//! RAFT.*: what operators see of the consensus, and how they change the membership. The names are those of the core, where
//! RedisRaft's would say less.

use super::help;
use super::node::{Ask, NodeContext, Transfer};
use super::spec::{Command, Compare};
use crate::cluster::{MemberRecord, Node, Topology, refuse_removal};
use crate::keyspace::{CommandError, Result};
use crate::metrics::status::{RaftStatus, Role};
use crate::raft::{Change, NodeId};
use crate::resp::{Args, ReplyWriter};

/// RAFT.MEMBER and its subcommands.
pub(super) const MEMBER: Command = Command::container(
    "RAFT.MEMBER",
    &[
        changing("RAFT.MEMBER|ADD", "node-id host:peer-port [NAME name]", add)
            .doc(SINCE, "Adds a node as a learner, which gets the log and does not vote."),
        changing("RAFT.MEMBER|DEMOTE", "node", demote).doc(SINCE, "Makes a voter a learner."),
        Command::session("RAFT.MEMBER|HELP", "", help)
            .always()
            .compare(Compare::Shape)
            .doc(SINCE, "Returns this text."),
        Command::node("RAFT.MEMBER|LIST", "", list)
            .admin()
            .always()
            .noscript()
            .compare(Compare::Shape)
            .doc(SINCE, "Returns the members with their addresses and how far they are."),
        changing("RAFT.MEMBER|PROMOTE", "node", promote)
            .doc(SINCE, "Lets a learner that has caught up vote."),
        changing("RAFT.MEMBER|REMOVE", "node [FORCE]", remove)
            .doc(SINCE, "Removes a member for ever; with FORCE, although too few of the others keep up."),
        changing("RAFT.MEMBER|REPLACE", "old-node new-node", replace)
            .doc(SINCE, "Lets a learner that has caught up vote in the place of a member, which is removed."),
    ],
)
.doc(SINCE, "Shows and changes the membership.");

/// RAFT.STATUS.
pub(super) const STATUS: Command = Command::node("RAFT.STATUS", "", status)
    .admin()
    .always()
    .noscript()
    .compare(Compare::Shape)
    .doc(SINCE, "Returns what this node knows of the consensus.");

/// RAFT.TRANSFER.
pub(super) const TRANSFER: Command = changing("RAFT.TRANSFER", "[node]", transfer)
    .doc(SINCE, "Hands the leadership to a voter, or to the one that lacks least.");

/// A follower that was not heard of for so many election timeouts is not up.
const HEARD_ELECTIONS: u32 = 4;

/// The first version of this program with these commands; Redis has none of them.
const SINCE: &str = "0.1.0";

const fn changing(
    name: &'static str,
    syntax: &'static str,
    handler: fn(&mut NodeContext<'_>, &Args, &mut ReplyWriter<'_>) -> Result<Option<Ask>>,
) -> Command {
    Command::node(name, syntax, handler).admin().always().noscript().compare(Compare::Shape)
}

/// The cluster, if this node leads it.
pub(super) fn led_here(node: &NodeContext<'_>) -> Result<Topology> {
    let topology = (node.topology)();
    let text = match topology.leader() {
        Some(leader) if leader.is_myself => return Ok(topology),
        Some(leader) => format!(
            "NOTLEADER this node does not lead: {} at {}:{} does",
            leader.record.name, leader.record.host, leader.record.port
        ),
        None => "NOTLEADER no leader is known".to_owned(),
    };
    Err(CommandError::other(text).into())
}

/// The member that `word` names: by its id, its name, where others dial it, or its name for Redis. Who names several is told
/// their ids, since what is done to the wrong one may be for ever.
fn named<'a>(topology: &'a Topology, word: &[u8]) -> Result<&'a Node> {
    let called = std::str::from_utf8(word).map_or_else(|_| Vec::new(), |name| topology.called(name));
    match called.as_slice() {
        [node] => Ok(node),
        [] => Err(CommandError::showing("ERR there is no member '{}'", &[word]).into()),
        several => {
            let ids: Vec<_> = several.iter().map(|node| format!("{:016x}", node.id)).collect();
            let template = "ERR several members are called '{}', give the id: {}";
            Err(CommandError::showing(template, &[word, ids.join(", ").as_bytes()]).into())
        }
    }
}

fn change(changes: Vec<Change>, out: &mut ReplyWriter<'_>) -> Option<Ask> {
    out.ok();
    Some(Ask::Change(changes))
}

fn add(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let topology = led_here(node)?;
    let mut words = args.reader(2);
    let word = words.bytes()?;
    let id = std::str::from_utf8(word).ok().and_then(|word| NodeId::from_str_radix(word, 16).ok());
    let Some(id) = id.filter(|id| *id != 0) else {
        return Err(CommandError::showing("ERR '{}' is no node id", &[word]).into());
    };
    let peer = String::from_utf8_lossy(words.bytes()?).into_owned();
    let name = match words.token("NAME") {
        true => String::from_utf8_lossy(words.bytes()?).into_owned(),
        false => peer.clone(),
    };
    words.finish()?;
    let record =
        MemberRecord::of_peer(&peer, name).map_err(|error| CommandError::other(format!("ERR {error}")))?;
    if let Some(taken) = topology.nodes.iter().find(|node| node.record.peer == peer && node.id != id) {
        return Err(CommandError::other(format!("ERR {peer} is the address of {:016x}", taken.id)).into());
    }
    if node.config.peer_port.is_none() {
        let text = "ERR this node listens for no other nodes: start it with --peers that name it alone";
        return Err(CommandError::other(text).into());
    }
    Ok(change(vec![Change::Add(id, record.encode())], out))
}

fn promote(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let topology = led_here(node)?;
    Ok(change(vec![Change::Promote(named(&topology, &args[2])?.id)], out))
}

fn demote(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let topology = led_here(node)?;
    let id = named(&topology, &args[2])?.id;
    if let Some(reason) = refuse(node, &topology, id) {
        return Err(CommandError::other(format!("ERR {reason}")).into());
    }
    Ok(change(vec![Change::Demote(id)], out))
}

fn remove(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let topology = led_here(node)?;
    let mut words = args.reader(2);
    let id = named(&topology, words.bytes()?)?.id;
    let is_forced = words.token("FORCE");
    words.finish()?;
    if !is_forced && let Some(reason) = refuse(node, &topology, id) {
        // The last voter stays whatever is said.
        let is_last = topology.configuration.voters().into_iter().all(|voter| voter == id);
        let advice = if is_last { "" } else { " (FORCE removes it although)" };
        return Err(CommandError::other(format!("ERR {reason}{advice}")).into());
    }
    Ok(change(vec![Change::Remove(id)], out))
}

fn replace(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let topology = led_here(node)?;
    let (old, new) = (named(&topology, &args[2])?, named(&topology, &args[3])?);
    if new.is_voter {
        return Err(CommandError::showing("ERR '{}' votes already", &[&args[3]]).into());
    }
    Ok(change(vec![Change::Promote(new.id), Change::Remove(old.id)], out))
}

/// Says why the cluster cannot go on without the vote of `id`: no majority of the others is heard of, so it would stand still.
fn refuse(node: &NodeContext<'_>, topology: &Topology, id: NodeId) -> Option<String> {
    let raft = (node.raft)();
    let silent_max = HEARD_ELECTIONS * node.config.raft.election;
    let is_heard = |id: NodeId| {
        let progress = raft.members.iter().find(|member| member.id == id).and_then(|member| member.progress);
        progress.is_some_and(|progress| progress.silent < silent_max)
    };
    refuse_removal(&topology.configuration, raft.node_id, id, is_heard)
}

fn transfer(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let topology = led_here(node)?;
    if args.len() > 2 {
        return Err(CommandError::Syntax.into());
    }
    let to = args.get(1).map(|word| named(&topology, word)).transpose()?;
    if to.is_some_and(|to| !to.is_voter) {
        return Err(CommandError::other("ERR only a voter can lead").into());
    }
    if to.is_some_and(|to| to.is_myself) {
        return Err(CommandError::other("ERR that node leads already").into());
    }
    if topology.followers().all(|follower| !follower.is_voter) {
        return Err(CommandError::other("ERR there is no other voter").into());
    }
    out.ok();
    Ok(Some(Ask::Transfer(Transfer { to: to.map(|to| to.id), timeout: None })))
}

/// Values of a map that are written in order.
struct Fields<'a, 'b>(&'a mut ReplyWriter<'b>);

impl Fields<'_, '_> {
    fn text(&mut self, name: &str, value: &str) {
        self.0.bulk(name.as_bytes());
        self.0.bulk(value.as_bytes());
    }

    fn number(&mut self, name: &str, value: u64) {
        self.0.bulk(name.as_bytes());
        self.0.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Candidate => "candidate",
        Role::Follower => "follower",
    }
}

fn status(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let raft = (node.raft)();
    let leader = raft.leader();
    let leader_at = leader.map_or_else(String::new, |leader| format!("{}:{}", leader.host, leader.port));
    let name = raft.members.iter().find(|member| member.is_myself).map_or("", |member| &member.name);
    out.map(18);
    let mut fields = Fields(out);
    fields.text("node_id", &format!("{:016x}", raft.node_id));
    fields.text("name", name);
    fields.text("cluster_id", &format!("{:032x}", raft.cluster_id));
    fields.text("role", role_word(raft.role));
    fields.number("term", raft.term);
    fields.text("leader_id", &raft.leader_id.map_or_else(String::new, |id| format!("{id:016x}")));
    fields.text("leader_name", leader.map_or("", |leader| &leader.name));
    fields.text("leader_address", &leader_at);
    fields.number("voters", raft.voters as u64);
    fields.number("learners", raft.learners as u64);
    fields.text("change", if raft.is_joint { "under way" } else { "none" });
    fields.text("lease", if raft.has_lease { "held" } else { "none" });
    fields.number("last_index", raft.last_index);
    fields.number("durable_index", raft.durable_index);
    fields.number("commit_index", raft.commit_index);
    fields.number("applied_index", raft.applied_index);
    fields.number("flushed_index", raft.flushed_index);
    fields.0.bulk(b"members");
    write_members(&raft, out);
    Ok(None)
}

fn list(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    write_members(&(node.raft)(), out);
    Ok(None)
}

/// The members. How far each is, only the leader knows.
fn write_members(raft: &RaftStatus, out: &mut ReplyWriter<'_>) {
    out.array(raft.members.len());
    for member in &raft.members {
        let (progress, is_leader) = (&member.progress, member.leads);
        out.map(if progress.is_some() { 11 } else { 6 });
        let mut fields = Fields(out);
        fields.text("id", &format!("{:016x}", member.id));
        fields.text("name", &member.name);
        fields.text("kind", if member.is_voter { "voter" } else { "learner" });
        fields.text("role", if is_leader { "leader" } else { "follower" });
        fields.text("peer", &member.peer);
        fields.text("address", &format!("{}:{}", member.host, member.port));
        if let Some(progress) = progress {
            fields.text("mode", progress.mode);
            fields.number("match_index", progress.match_index);
            fields.number("next_index", progress.next_index);
            fields.number("lag", raft.last_index.saturating_sub(progress.match_index));
            fields.number("inflight_bytes", progress.inflight_bytes);
        }
    }
}
