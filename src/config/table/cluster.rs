//! Directives of a cluster: who belongs to it, how it is reached, and its clockwork.

use super::super::directive::Directive;
use super::super::kind::Kind;
use super::super::machine::Machine;
use super::super::values::Values;
use super::{BYTES, COUNT, ENDPOINTS, integer};

pub(super) const CLUSTER: &[Directive] = &[
    Directive::works(
        "peers",
        Kind::Peers,
        "",
        "The first members of the cluster as host:peer-port, separated by commas, this node among them; the same list on \
         all of them. They form the cluster when all are there. A node whose directory is not empty belongs to its \
         cluster already. Without peers and join: a cluster of this one node.",
    )
    .at_start(),
    Directive::works(
        "join",
        Kind::Peers,
        "",
        "Members of a cluster as host:peer-port, separated by commas: a node with an empty directory asks them to take \
         it in. Not together with peers.",
    )
    .at_start(),
    Directive::works(
        "name",
        Kind::Name,
        "",
        "What people call this node. A new node with the name of a dead one takes its place (see replace-after). Empty: \
         its entry of peers.",
    )
    .at_start(),
    Directive::works(
        "replace-after",
        COUNT,
        "60",
        "Seconds after which a member that no one hears of is replaced by a new node of the same name. 0: only by \
         RAFT.MEMBER REPLACE.",
    ),
    Directive::works(
        "snapshot-bytes-per-second",
        BYTES,
        "134217728",
        "How fast the leader sends its tables to a member that lacks too much of the log. 0: as fast as it goes.",
    ),
    Directive::works(
        "peer-secret",
        Kind::Text,
        "",
        "What all nodes of the cluster know and nobody else: at least 16 bytes, and random. CONFIG does not show it. Off loopback it, or \
         peer-tls-cert-file, is demanded (see protected-mode).",
    )
    .in_files(),
    Directive::works(
        "peer-secret-file",
        Kind::Text,
        "",
        "The file that holds the secret, instead of peer-secret. White space at its end does not count.",
    )
    .at_start(),
    Directive::works(
        "peer-tls-cert-file",
        Kind::Text,
        "",
        "This node's certificate for other nodes, as PEM, with those between it and the authority. It is good for the \
         host that they dial. With it nodes speak TLS, and each shows its certificate.",
    )
    .at_start(),
    Directive::works("peer-tls-key-file", Kind::Text, "", "The key of peer-tls-cert-file, as PEM.").at_start(),
    Directive::works(
        "peer-tls-ca-cert-file",
        Kind::Text,
        "",
        "The authority that has signed the certificates of all nodes, and of nothing else, as PEM.",
    )
    .at_start(),
    Directive::works(
        "replica-reads",
        Kind::Choice(&["local", "linearizable"]),
        "local",
        "What a follower answers to a client of port that said READONLY: what it has applied (local), or what the leader \
         would answer, after asking it how far that is (linearizable).",
    ),
    Directive::works(
        "cluster-enabled",
        Kind::Bool,
        "",
        "What INFO says: clients ask it whether to speak to a cluster. A node is part of one by peers or join.",
    )
    .derived("yes with peers or join", cluster_enabled)
    .at_start(),
    Directive::works(
        "cluster-preferred-endpoint-type",
        Kind::Choice(ENDPOINTS),
        "ip",
        "What MOVED and CLUSTER SLOTS name a node by: its address, its cluster-announce-hostname, or nothing, so that \
         clients stay with the host they know (unknown-endpoint).",
    ),
    Directive::works(
        "announce-peer",
        Kind::Peer,
        "",
        "Where other nodes dial this one, as host:port. With peers it is the entry that is this node; needed only if its \
         addresses do not tell, and with join if bind names none.",
    )
    .at_start(),
    Directive::works(
        "cluster-announce-ip",
        Kind::Text,
        "",
        "The address that clients and nodes should use instead of the one the node listens on (Docker, NAT).",
    )
    .at_start(),
    Directive::works(
        "cluster-announce-hostname",
        Kind::Hostname,
        "",
        "The host name that cluster clients are told along with the address, and by which HTTP answers without \
         requirepass, too.",
    )
    .at_start(),
    Directive::works(
        "cluster-announce-port",
        integer(0, 65535),
        "0",
        "The port that cluster clients should use instead of port. 0: port.",
    )
    .at_start(),
    Directive::works(
        "announce-proxy-port",
        integer(0, 65535),
        "0",
        "The port that others should use instead of proxy-port. 0: proxy-port.",
    )
    .at_start(),
    Directive::works(
        "announce-http-port",
        integer(0, 65535),
        "0",
        "The port that others should use instead of http-port. 0: http-port.",
    )
    .at_start(),
];

pub(super) const RAFT: &[Directive] = &[
    Directive::works(
        "raft-heartbeat-ms",
        integer(1, 60_000),
        "30",
        "Milliseconds between two heartbeats of a leader.",
    )
    .at_start(),
    Directive::works(
        "raft-promise-ms",
        // No more than what a node that starts waits out: the longest promise of any configuration.
        integer(2, 1_000),
        "100",
        "Milliseconds for which a voter that has heard the leader grants no one else a vote. The leader answers reads \
         without asking for 80 % of it. At least twice raft-heartbeat-ms.",
    )
    .at_start(),
    Directive::works(
        "raft-election-ms",
        integer(3, 600_000),
        "150",
        "Milliseconds without a leader after which a follower stands for election; the time is random up to twice \
         this. More than raft-promise-ms.",
    )
    .at_start(),
];

fn cluster_enabled(values: &Values, _: &Machine) -> String {
    if values.is_in_cluster() { "yes" } else { "no" }.to_string()
}
