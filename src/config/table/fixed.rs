//! Directives of Redis that would change what is promised here: only their defaults are accepted.

use super::super::directive::Directive;
use super::super::kind::Kind;
use super::{COUNT, integer};

const NO_TLS: &str = "TLS is not in this version.";

pub(super) const ROWS: &[Directive] = &[
    Directive::fixed(
        "maxmemory-policy",
        Kind::Choice(POLICIES),
        "noeviction",
        "data are on disk and never evicted; give keys a time to live instead.",
    ),
    Directive::fixed(
        "replicaof",
        Kind::Words,
        "",
        "a node becomes a replica by being a member of a cluster (see peers), not of a Redis server.",
    )
    .alias(&["slaveof"])
    .at_start(),
    Directive::fixed(
        "daemonize",
        Kind::Bool,
        "no",
        "the node runs in the foreground, under a service manager.",
    )
    .at_start(),
    Directive::fixed(
        "supervised",
        Kind::Choice(&["no", "auto", "upstart", "systemd"]),
        "no",
        "run it as a simple service: readiness is told by /readyz.",
    )
    .at_start(),
    Directive::fixed("unixsocket", Kind::Text, "", "clients connect over TCP.").at_start(),
    Directive::fixed("aclfile", Kind::Text, "", "access control lists are not in this version.").at_start(),
    Directive::fixed(
        "enable-module-command",
        Kind::Choice(&["no", "local", "yes"]),
        "no",
        "there are no modules.",
    )
    .at_start(),
    Directive::fixed("loadmodule", Kind::Words, "", "there are no modules.").in_files(),
    Directive::fixed("rename-command", Kind::Words, "", "commands keep their names.").in_files(),
    Directive::fixed("user", Kind::Words, "", "access control lists are not in this version.").in_files(),
];

const POLICIES: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];

pub(super) const TLS: &[Directive] = &[
    Directive::fixed("tls-port", integer(0, 65535), "0", NO_TLS),
    Directive::fixed("cluster-announce-tls-port", integer(0, 65535), "0", NO_TLS),
    Directive::fixed("tls-cert-file", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-key-file", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-key-file-pass", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-client-cert-file", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-client-key-file", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-client-key-file-pass", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-dh-params-file", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-ca-cert-file", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-ca-cert-dir", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-auth-clients", Kind::Choice(&["no", "yes", "optional"]), "yes", NO_TLS),
    Directive::fixed("tls-replication", Kind::Bool, "no", NO_TLS),
    Directive::fixed("tls-cluster", Kind::Bool, "no", NO_TLS),
    Directive::fixed("tls-protocols", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-ciphers", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-ciphersuites", Kind::Text, "", NO_TLS),
    Directive::fixed("tls-prefer-server-ciphers", Kind::Bool, "no", NO_TLS),
    Directive::fixed("tls-session-caching", Kind::Bool, "yes", NO_TLS),
    Directive::fixed("tls-session-cache-size", COUNT, "20480", NO_TLS),
    Directive::fixed("tls-session-cache-timeout", COUNT, "300", NO_TLS),
];
