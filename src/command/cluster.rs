//! CLUSTER and what belongs to it: the cluster as Redis' cluster clients know it, with the leader as the master of all slots
//! and the other nodes as its replicas.

use super::help;
use super::node::{Ask, NodeContext};
use super::spec::{Command, Compare, acl, flag};
use crate::cluster::{Node, Topology, node_name, shard_name};
use crate::config::EndpointType;
use crate::keyspace::{self, CommandError, Result, SLOTS, View, scan};
use crate::metrics::peers::{PeerStatus, PeersStatus};
use crate::resp::{Args, ReplyWriter};
use crate::session::Session;

/// The shard that owns all slots.
const SHARD: u32 = 0;

/// The commands of this group.
pub(super) const COMMANDS: &[Command] = &[
    Command::session("ASKING", "", asking)
        .fast()
        .acl(acl::CONNECTION)
        .doc("3.0.0", "Does nothing: slots are never between two nodes."),
    Command::container("CLUSTER", SUBCOMMANDS).doc("3.0.0", "Shows the cluster."),
    Command::session("READONLY", "", read_only)
        .fast()
        .always()
        .acl(acl::CONNECTION)
        .doc("3.0.0", "Lets a follower answer the reads of the connection."),
    Command::session("READWRITE", "", read_write)
        .fast()
        .always()
        .acl(acl::CONNECTION)
        .doc("3.0.0", "Sends the reads of the connection to the leader again."),
    super::raft::MEMBER,
    super::raft::STATUS,
    super::raft::TRANSFER,
];

const SUBCOMMANDS: &[Command] = &[
    managed("CLUSTER|ADDSLOTS", "slot [slot ...]", "3.0.0"),
    managed("CLUSTER|ADDSLOTSRANGE", "start-slot end-slot [start-slot end-slot ...]", "7.0.0"),
    managed("CLUSTER|BUMPEPOCH", "", "3.0.0").tips(CHANGES),
    Command::node("CLUSTER|COUNT-FAILURE-REPORTS", "node-id", count_failure_reports)
        .admin()
        .flag(flag::STALE)
        .tips(CHANGES)
        .doc("3.0.0", "Returns how many nodes report that one has failed: none do."),
    Command::read("CLUSTER|COUNTKEYSINSLOT", "slot", count_keys_in_slot)
        .flag(flag::STALE)
        .doc("3.0.0", "Returns how many keys of the database are in a slot.")
        .complexity("O(N) where N is the number of keys in the slot"),
    managed("CLUSTER|DELSLOTS", "slot [slot ...]", "3.0.0"),
    managed("CLUSTER|DELSLOTSRANGE", "start-slot end-slot [start-slot end-slot ...]", "7.0.0"),
    Command::node("CLUSTER|FAILOVER", "[FORCE | TAKEOVER]", fail_over)
        .admin()
        .flag(flag::STALE | flag::NO_ASYNC_LOADING)
        .doc("3.0.0", "Says where the leadership is handed over: see FAILOVER."),
    managed("CLUSTER|FLUSHSLOTS", "", "3.0.0"),
    managed("CLUSTER|FORGET", "node-id", "3.0.0"),
    Command::read("CLUSTER|GETKEYSINSLOT", "slot count", get_keys_in_slot)
        .flag(flag::STALE)
        .tips(CHANGES)
        .doc("3.0.0", "Returns some keys of the database that are in a slot.")
        .complexity("O(N) where N is the number of requested keys"),
    Command::session("CLUSTER|HELP", "", help)
        .always()
        .compare(Compare::Shape)
        .doc("5.0.0", "Returns this text."),
    Command::node("CLUSTER|INFO", "", info)
        .always()
        .tips(CHANGES)
        .doc("3.0.0", "Returns the state of the cluster."),
    Command::session("CLUSTER|KEYSLOT", "key", key_slot)
        .flag(flag::STALE)
        .doc("3.0.0", "Returns the slot of a key.")
        .complexity("O(N) where N is the number of bytes in the key"),
    Command::node("CLUSTER|LINKS", "", links)
        .flag(flag::STALE)
        .tips(CHANGES)
        .doc("7.0.0", "Returns the connections to the other nodes.")
        .complexity(OF_NODES),
    managed("CLUSTER|MEET", "ip port [cluster-bus-port]", "3.0.0"),
    Command::node("CLUSTER|MYID", "", my_id).always().doc("3.0.0", "Returns the name of this node."),
    Command::node("CLUSTER|MYSHARDID", "", my_shard_id)
        .always()
        .tips(CHANGES)
        .doc("7.2.0", "Returns the name of the shard, which is that of all nodes."),
    Command::node("CLUSTER|NODES", "", nodes)
        .always()
        .tips(CHANGES)
        .doc("3.0.0", "Returns the nodes, one in a line.")
        .complexity(OF_NODES),
    replicas("CLUSTER|REPLICAS", "5.0.0"),
    managed("CLUSTER|REPLICATE", "node-id", "3.0.0"),
    Command::node("CLUSTER|RESET", "[HARD | SOFT]", refuse)
        .admin()
        .noscript()
        .flag(flag::STALE)
        .doc("3.0.0", MANAGED_DOC),
    managed("CLUSTER|SAVECONFIG", "", "3.0.0"),
    managed("CLUSTER|SET-CONFIG-EPOCH", "config-epoch", "3.0.0"),
    managed(
        "CLUSTER|SETSLOT",
        "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
        "3.0.0",
    ),
    Command::node("CLUSTER|SHARDS", "", shards)
        .always()
        .tips(CHANGES)
        .doc("7.0.0", "Returns the nodes, by the slots that they serve.")
        .complexity(OF_NODES),
    replicas("CLUSTER|SLAVES", "3.0.0").deprecated("5.0.0", "`CLUSTER REPLICAS`"),
    Command::node("CLUSTER|SLOTS", "", slots_of_nodes)
        .always()
        .tips(CHANGES)
        .doc("3.0.0", "Returns which nodes serve which slots, the leader first.")
        .complexity(OF_NODES),
];

const CHANGES: &[&str] = &["nondeterministic_output"];
const OF_NODES: &str = "O(N) where N is the number of nodes";
const MANAGED_DOC: &str = "Is refused: the nodes manage slots and members themselves.";

/// One of the commands by which operators of Redis put a cluster together.
const fn managed(name: &'static str, syntax: &'static str, since: &'static str) -> Command {
    Command::node(name, syntax, refuse)
        .admin()
        .flag(flag::STALE | flag::NO_ASYNC_LOADING)
        .doc(since, MANAGED_DOC)
}

const fn replicas(name: &'static str, since: &'static str) -> Command {
    Command::node(name, "node-id", replicas_of)
        .admin()
        .flag(flag::STALE)
        .tips(CHANGES)
        .doc(since, "Returns the nodes that follow one, each as a line.")
        .complexity(OF_NODES)
}

fn refuse(_: &mut NodeContext<'_>, _: &Args, _: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let text = "ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP";
    Err(CommandError::other(text).into())
}

fn asking(_: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.ok();
    Ok(())
}

fn read_only(session: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    session.is_readonly = true;
    out.ok();
    Ok(())
}

fn read_write(session: &mut Session, _: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    session.is_readonly = false;
    out.ok();
    Ok(())
}

fn key_slot(_: &mut Session, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    out.integer(keyspace::slot(&args[2]).into());
    Ok(())
}

/// The slot that word 2 names.
fn slot(args: &Args, invalid: &'static str) -> Result<u16> {
    let number = args.reader(2).integer()?;
    let slot = u16::try_from(number).ok().filter(|slot| *slot < SLOTS);
    slot.ok_or_else(|| CommandError::other(invalid).into())
}

fn count_keys_in_slot(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    let slot = slot(args, "ERR Invalid slot")?;
    let mut count = 0;
    scan::each_key_of_slot(view, slot, u64::MAX, |_| {
        count += 1;
        Ok(())
    })?;
    out.integer(count);
    Ok(())
}

fn get_keys_in_slot(view: &View<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<()> {
    const INVALID: &str = "ERR Invalid slot or number of keys";
    let slot = slot(args, INVALID)?;
    let most = u64::try_from(args.reader(3).integer()?).map_err(|_| CommandError::other(INVALID))?;
    let array = out.deferred_array();
    let mut count = 0;
    scan::each_key_of_slot(view, slot, most, |name| {
        out.bulk(name);
        count += 1;
        Ok(out.check()?)
    })?;
    out.finish_array(array, count);
    Ok(())
}

/// The node that word 2 names.
fn named<'a>(topology: &'a Topology, args: &Args) -> Result<&'a Node> {
    let called = std::str::from_utf8(&args[2]).map_or_else(|_| Vec::new(), |name| topology.called(name));
    // What these commands say of a node that came back with an empty disk is true of what it was as well, unless that leads.
    let found = called.iter().find(|node| node.owns_slots).or(called.first()).copied();
    found.ok_or_else(|| CommandError::showing("ERR Unknown node {}", &[&args[2]]).into())
}

fn count_failure_reports(
    node: &mut NodeContext<'_>,
    args: &Args,
    out: &mut ReplyWriter<'_>,
) -> Result<Option<Ask>> {
    named(&(node.topology)(), args)?;
    out.integer(0);
    Ok(None)
}

fn my_id(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    out.bulk(node_name((node.topology)().myself().id).as_bytes());
    Ok(None)
}

fn my_shard_id(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    out.bulk(shard_name((node.raft)().cluster_id, SHARD).as_bytes());
    Ok(None)
}

fn info(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let topology = (node.topology)();
    let links = (node.peers)().links;
    let sum = |count: fn(&PeerStatus) -> u64| links.iter().map(count).sum::<u64>().to_string();
    let (state, slots_ok) = if topology.leader().is_some() { ("ok", SLOTS) } else { ("fail", 0) };
    let lines = [
        ("cluster_state", state.to_owned()),
        ("cluster_slots_assigned", SLOTS.to_string()),
        ("cluster_slots_ok", slots_ok.to_string()),
        ("cluster_slots_pfail", "0".to_owned()),
        ("cluster_slots_fail", (SLOTS - slots_ok).to_string()),
        ("cluster_known_nodes", topology.nodes.len().to_string()),
        ("cluster_size", "1".to_owned()),
        ("cluster_current_epoch", topology.term.to_string()),
        ("cluster_my_epoch", topology.term.to_string()),
        ("cluster_stats_messages_sent", sum(|link| link.sent)),
        ("cluster_stats_messages_received", sum(|link| link.received)),
        ("total_cluster_links_buffer_limit_exceeded", "0".to_owned()),
    ];
    out.verbatim("txt", lines.map(|(name, value)| format!("{name}:{value}\r\n")).concat());
    Ok(None)
}

/// Whether this node has a stream to `node`, or is that itself.
fn is_connected(node: &Node, peers: &PeersStatus) -> bool {
    node.is_myself || peers.links.iter().any(|link| link.id == node.id && link.is_connected)
}

/// A line of CLUSTER NODES. Who does not vote cannot take over, as a replica of Redis with `nofailover`.
fn line(topology: &Topology, peers: &PeersStatus, node: &Node) -> String {
    let record = &node.record;
    let bus_port = record.peer.rsplit_once(':').map_or("0", |(_, port)| port);
    let hostname = if record.hostname.is_empty() { String::new() } else { format!(",{}", record.hostname) };
    let mut flags = Vec::new();
    if node.is_myself {
        flags.push("myself");
    }
    flags.push(if node.owns_slots { "master" } else { "slave" });
    if !node.is_voter {
        flags.push("nofailover");
    }
    let master = if node.owns_slots { "-".to_owned() } else { node_name(topology.owner().id) };
    let link = if is_connected(node, peers) { "connected" } else { "disconnected" };
    let slots = if node.owns_slots { format!(" 0-{}", SLOTS - 1) } else { String::new() };
    format!(
        "{} {}:{}@{bus_port}{hostname} {} {master} 0 0 {} {link}{slots}",
        node_name(node.id),
        record.host,
        record.port,
        flags.join(","),
        topology.term,
    )
}

fn nodes(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let (topology, peers) = ((node.topology)(), (node.peers)());
    let lines = topology.nodes.iter().map(|node| format!("{}\n", line(&topology, &peers, node)));
    out.verbatim("txt", lines.collect::<String>());
    Ok(None)
}

fn replicas_of(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let (topology, peers) = ((node.topology)(), (node.peers)());
    if !named(&topology, args)?.owns_slots {
        return Err(CommandError::other("ERR The specified node is not a master").into());
    }
    out.array(topology.replicas().count());
    for replica in topology.replicas() {
        out.bulk(line(&topology, &peers, replica).as_bytes());
    }
    Ok(None)
}

/// What a client is told to find a node by, as Redis puts it into arrays.
fn write_endpoint(node: &Node, kind: EndpointType, out: &mut ReplyWriter<'_>) {
    match kind {
        EndpointType::Unknown => out.null(),
        EndpointType::Ip | EndpointType::Hostname => out.bulk(node.record.endpoint(kind).as_bytes()),
    }
}

/// A node of CLUSTER SLOTS.
fn write_node(node: &Node, kind: EndpointType, out: &mut ReplyWriter<'_>) {
    let record = &node.record;
    let mut more = Vec::new();
    if kind != EndpointType::Ip && !record.host.is_empty() {
        more.extend(["ip", record.host.as_str()]);
    }
    if kind != EndpointType::Hostname && !record.hostname.is_empty() {
        more.extend(["hostname", record.hostname.as_str()]);
    }
    out.array(4);
    write_endpoint(node, kind, out);
    out.integer(record.port.into());
    out.bulk(node_name(node.id).as_bytes());
    out.array(more.len());
    for word in more {
        out.bulk(word.as_bytes());
    }
}

/// Learners are left out: clients read from whoever stands here, and a learner may lack much.
fn slots_of_nodes(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let (topology, kind) = ((node.topology)(), node.config.settings().endpoint_type);
    let replicas: Vec<&Node> = topology.replicas().filter(|node| node.is_voter).collect();
    out.array(1);
    out.array(3 + replicas.len());
    out.integer(0);
    out.integer((SLOTS - 1).into());
    write_node(topology.owner(), kind, out);
    for replica in replicas {
        write_node(replica, kind, out);
    }
    Ok(None)
}

fn shards(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let (topology, raft, peers) = ((node.topology)(), (node.raft)(), (node.peers)());
    let kind = node.config.settings().endpoint_type;
    out.array(1);
    out.map(2);
    out.bulk(b"slots");
    out.array(2);
    out.integer(0);
    out.integer((SLOTS - 1).into());
    out.bulk(b"nodes");
    out.array(topology.nodes.len());
    for node in &topology.nodes {
        let record = &node.record;
        out.map(7 + usize::from(!record.hostname.is_empty()));
        let text = |name: &str, value: &str, out: &mut ReplyWriter<'_>| {
            out.bulk(name.as_bytes());
            out.bulk(value.as_bytes());
        };
        text("id", &node_name(node.id), out);
        out.bulk(b"port");
        out.integer(record.port.into());
        text("ip", &record.host, out);
        out.bulk(b"endpoint");
        write_endpoint(node, kind, out);
        if !record.hostname.is_empty() {
            text("hostname", &record.hostname, out);
        }
        text("role", if node.owns_slots { "master" } else { "replica" }, out);
        out.bulk(b"replication-offset");
        out.integer(i64::try_from(raft.offset_of(node.id)).unwrap_or(i64::MAX));
        let health = match node.is_voter {
            _ if !is_connected(node, &peers) => "fail",
            true => "online",
            false => "loading",
        };
        text("health", health, out);
    }
    Ok(None)
}

/// The streams to others that there are. When one was opened is not known here; what is sent and not acknowledged is, to the
/// leader.
fn links(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let raft = (node.raft)();
    let links = (node.peers)().links;
    let is_connected = |id| links.iter().any(|link| link.id == id && link.is_connected);
    let others: Vec<_> = raft.members.iter().filter(|member| is_connected(member.id)).collect();
    out.array(others.len());
    for member in others {
        let sent = member.progress.as_ref().map_or(0, |progress| progress.inflight_bytes);
        let sent = i64::try_from(sent).unwrap_or(i64::MAX);
        out.map(6);
        for (name, value) in [("direction", "to"), ("node", &node_name(member.id)), ("events", "rw")] {
            out.bulk(name.as_bytes());
            out.bulk(value.as_bytes());
        }
        for (name, value) in [("create-time", 0), ("send-buffer-allocated", sent), ("send-buffer-used", sent)]
        {
            out.bulk(name.as_bytes());
            out.integer(value);
        }
    }
    Ok(None)
}

fn fail_over(node: &mut NodeContext<'_>, args: &Args, _: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let mut options = args.reader(2);
    if !options.token("FORCE") {
        options.token("TAKEOVER");
    }
    options.finish()?;
    let topology = (node.topology)();
    let text = match topology.leader() {
        Some(leader) if leader.is_myself => "ERR You should send CLUSTER FAILOVER to a replica".to_owned(),
        Some(leader) => format!(
            "ERR the leadership is handed over by who has it: send FAILOVER to {}:{}",
            leader.record.host, leader.record.port
        ),
        None => {
            "ERR no leader is known: the voters elect one as soon as a majority of them is there".to_owned()
        }
    };
    Err(CommandError::other(text).into())
}
