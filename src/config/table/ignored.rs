//! Directives of Redis that are accepted and have no effect here, each with the reason.

use super::super::directive::Directive;
use super::super::kind::Kind;
use super::{BYTES, COUNT, INT_MAX, LONG, integer};

const DURABLE: &str = "Every acknowledged write is on disk.";
const TABLES: &str = "There are no RDB files: data are kept in checksummed tables.";
const LOG: &str = "There is no append-only file to rewrite: the log is cut when its entries are in tables.";
const DISK: &str = "Data are on disk; memory is bounded by memory-budget, and nothing is evicted.";
const ALLOCATOR: &str = "Nothing has to be defragmented: data are on disk.";
const LAZY: &str = "Deleting a key never takes time in proportion to its size.";
const RAFT: &str = "Replication is Raft's.";
const SLOTS: &str = "Membership and failover are Raft's; one group owns all slots.";
const ENCODING: &str = "The type has one encoding, on disk.";
const SERVICE: &str = "Left to the service manager.";
const KERNEL: &str = "Left to the operating system.";

pub(super) const PERSISTENCE: &[Directive] = &[
    Directive::ignored("save", Kind::SavePoints, "", DURABLE),
    Directive::ignored("appendonly", Kind::Bool, "yes", DURABLE),
    Directive::ignored("appendfsync", Kind::Choice(&["everysec", "always", "no"]), "always", DURABLE),
    Directive::ignored("appendfilename", Kind::Text, "appendonly.aof", LOG).at_start(),
    Directive::ignored("appenddirname", Kind::Text, "appendonlydir", LOG).at_start(),
    Directive::ignored("no-appendfsync-on-rewrite", Kind::Bool, "no", LOG),
    Directive::ignored("auto-aof-rewrite-percentage", COUNT, "100", LOG),
    Directive::ignored("auto-aof-rewrite-min-size", BYTES, "67108864", LOG),
    Directive::ignored("aof-load-truncated", Kind::Bool, "yes", LOG),
    Directive::ignored("aof-use-rdb-preamble", Kind::Bool, "yes", LOG),
    Directive::ignored("aof-timestamp-enabled", Kind::Bool, "no", LOG),
    Directive::ignored("aof-rewrite-incremental-fsync", Kind::Bool, "yes", LOG),
    Directive::ignored("aof-disable-auto-gc", Kind::Bool, "no", LOG),
    Directive::ignored("dbfilename", Kind::Text, "dump.rdb", TABLES).protected(),
    Directive::ignored("rdbcompression", Kind::Bool, "yes", TABLES),
    Directive::ignored("rdbchecksum", Kind::Bool, "yes", TABLES).at_start(),
    Directive::ignored("rdb-del-sync-files", Kind::Bool, "no", TABLES),
    Directive::ignored("rdb-save-incremental-fsync", Kind::Bool, "yes", TABLES),
    Directive::ignored("sanitize-dump-payload", Kind::Choice(&["no", "yes", "clients"]), "no", TABLES),
    Directive::ignored(
        "stop-writes-on-bgsave-error",
        Kind::Bool,
        "yes",
        "A node that cannot write stops: it never answers for what is not on disk.",
    ),
];

pub(super) const MEMORY: &[Directive] = &[
    Directive::ignored("maxmemory", BYTES, "0", DISK),
    Directive::ignored("maxmemory-samples", integer(1, 64), "5", DISK),
    Directive::ignored("maxmemory-eviction-tenacity", integer(0, 100), "10", DISK),
    Directive::ignored(
        "maxmemory-clients",
        Kind::BytesOrPercent,
        "0",
        "Clients are bounded one by one and in all by memory-budget.",
    ),
    Directive::ignored("lfu-log-factor", COUNT, "10", DISK),
    Directive::ignored("lfu-decay-time", COUNT, "1", DISK),
    Directive::ignored("lazyfree-lazy-eviction", Kind::Bool, "no", LAZY),
    Directive::ignored("lazyfree-lazy-expire", Kind::Bool, "no", LAZY),
    Directive::ignored("lazyfree-lazy-server-del", Kind::Bool, "no", LAZY),
    Directive::ignored("lazyfree-lazy-user-del", Kind::Bool, "no", LAZY),
    Directive::ignored("lazyfree-lazy-user-flush", Kind::Bool, "no", LAZY),
    Directive::ignored("activedefrag", Kind::Bool, "no", ALLOCATOR),
    Directive::ignored("active-defrag-ignore-bytes", BYTES, "104857600", ALLOCATOR),
    Directive::ignored("active-defrag-threshold-lower", integer(0, 1000), "10", ALLOCATOR),
    Directive::ignored("active-defrag-threshold-upper", integer(0, 1000), "100", ALLOCATOR),
    Directive::ignored("active-defrag-cycle-min", integer(1, 99), "1", ALLOCATOR),
    Directive::ignored("active-defrag-cycle-max", integer(1, 99), "25", ALLOCATOR),
    Directive::ignored("active-defrag-max-scan-fields", integer(1, INT_MAX), "1000", ALLOCATOR),
    Directive::ignored("jemalloc-bg-thread", Kind::Bool, "yes", ALLOCATOR),
    Directive::ignored("activerehashing", Kind::Bool, "yes", "There is no hash table to rehash."),
    Directive::ignored("disable-thp", Kind::Bool, "yes", KERNEL).at_start(),
    Directive::ignored("tracking-table-max-keys", LONG, "1000000", "Client tracking is not in this version."),
];

pub(super) const REPLICATION: &[Directive] = &[
    Directive::ignored("masterauth", Kind::Text, "", RAFT),
    Directive::ignored("masteruser", Kind::Text, "", RAFT),
    Directive::ignored("replica-serve-stale-data", Kind::Bool, "yes", RAFT)
        .alias(&["slave-serve-stale-data"]),
    Directive::ignored("replica-read-only", Kind::Bool, "yes", RAFT).alias(&["slave-read-only"]),
    Directive::ignored("replica-ignore-maxmemory", Kind::Bool, "yes", RAFT)
        .alias(&["slave-ignore-maxmemory"]),
    Directive::ignored("replica-lazy-flush", Kind::Bool, "no", RAFT).alias(&["slave-lazy-flush"]),
    Directive::ignored("replica-priority", COUNT, "100", RAFT).alias(&["slave-priority"]),
    Directive::ignored("replica-announced", Kind::Bool, "yes", RAFT),
    Directive::ignored("replica-announce-ip", Kind::Text, "", RAFT).alias(&["slave-announce-ip"]),
    Directive::ignored("replica-announce-port", integer(0, 65535), "0", RAFT).alias(&["slave-announce-port"]),
    Directive::ignored("replica-ignore-disk-write-errors", Kind::Bool, "no", RAFT),
    Directive::ignored("propagation-error-behavior", Kind::Choice(PROPAGATION), "ignore", RAFT),
    Directive::ignored("repl-diskless-sync", Kind::Bool, "yes", RAFT),
    Directive::ignored("repl-diskless-sync-delay", COUNT, "5", RAFT),
    Directive::ignored("repl-diskless-sync-max-replicas", COUNT, "0", RAFT),
    Directive::ignored("repl-diskless-load", Kind::Choice(DISKLESS_LOAD), "disabled", RAFT),
    Directive::ignored("repl-disable-tcp-nodelay", Kind::Bool, "no", RAFT),
    Directive::ignored("repl-ping-replica-period", integer(1, INT_MAX), "10", RAFT)
        .alias(&["repl-ping-slave-period"]),
    Directive::ignored("repl-timeout", integer(1, INT_MAX), "60", RAFT),
    Directive::ignored("repl-backlog-size", Kind::Bytes { min: 1, max: i64::MAX as u64 }, "1048576", RAFT),
    Directive::ignored("repl-backlog-ttl", COUNT, "3600", RAFT),
    Directive::ignored("min-replicas-to-write", COUNT, "0", "Every acknowledged write is on a majority.")
        .alias(&["min-slaves-to-write"]),
    Directive::ignored("min-replicas-max-lag", COUNT, "10", "Every acknowledged write is on a majority.")
        .alias(&["min-slaves-max-lag"]),
    Directive::ignored("cluster-config-file", Kind::Text, "nodes.conf", SLOTS).at_start(),
    Directive::ignored("cluster-node-timeout", LONG, "15000", SLOTS),
    Directive::ignored("cluster-port", integer(0, 65535), "0", SLOTS).at_start(),
    Directive::ignored("cluster-announce-bus-port", integer(0, 65535), "0", SLOTS),
    Directive::ignored("cluster-announce-human-nodename", Kind::Text, "", SLOTS),
    Directive::ignored("cluster-allow-pubsubshard-when-down", Kind::Bool, "yes", SLOTS),
    Directive::ignored("cluster-allow-reads-when-down", Kind::Bool, "no", SLOTS),
    Directive::ignored("cluster-allow-replica-migration", Kind::Bool, "yes", SLOTS),
    Directive::ignored("cluster-link-sendbuf-limit", BYTES, "0", SLOTS),
    Directive::ignored("cluster-migration-barrier", COUNT, "1", SLOTS),
    Directive::ignored("cluster-replica-no-failover", Kind::Bool, "no", SLOTS)
        .alias(&["cluster-slave-no-failover"]),
    Directive::ignored("cluster-replica-validity-factor", COUNT, "10", SLOTS)
        .alias(&["cluster-slave-validity-factor"]),
    Directive::ignored("cluster-require-full-coverage", Kind::Bool, "yes", SLOTS),
];

const PROPAGATION: &[&str] = &["ignore", "panic", "panic-on-replicas"];
const DISKLESS_LOAD: &[&str] = &["disabled", "on-empty-db", "swapdb"];

pub(super) const PROCESS: &[Directive] = &[
    Directive::ignored("hz", COUNT, "10", "Work is done when it is due, not at a fixed rate."),
    Directive::ignored("dynamic-hz", Kind::Bool, "yes", "Work is done when it is due, not at a fixed rate."),
    Directive::ignored(
        "active-expire-effort",
        integer(1, 10),
        "1",
        "Expired keys are deleted when they are due.",
    ),
    Directive::ignored("io-threads-do-reads", Kind::Bool, "no", "All threads read and write.").at_start(),
    Directive::ignored("always-show-logo", Kind::Bool, "no", "There is no logo.").at_start(),
    Directive::ignored("set-proc-title", Kind::Bool, "yes", SERVICE).at_start(),
    Directive::ignored(
        "proc-title-template",
        Kind::Text,
        "{title} {listen-addr} {server-mode}",
        "The title of the process is its command line.",
    ),
    Directive::ignored("locale-collate", Kind::Text, "", "SORT compares bytes."),
    Directive::ignored("syslog-enabled", Kind::Bool, "no", SERVICE).at_start(),
    Directive::ignored("syslog-ident", Kind::Text, "redis", SERVICE).at_start(),
    Directive::ignored("syslog-facility", Kind::Choice(FACILITIES), "local0", SERVICE).at_start(),
    Directive::ignored(
        "crash-log-enabled",
        Kind::Bool,
        "yes",
        "A crash always logs its reason and where it was.",
    ),
    Directive::ignored(
        "crash-memcheck-enabled",
        Kind::Bool,
        "yes",
        "A crash is no reason to test the memory.",
    ),
    Directive::ignored("shutdown-on-sigint", Kind::Choices(SHUTDOWN), "default", DURABLE),
    Directive::ignored("shutdown-on-sigterm", Kind::Choices(SHUTDOWN), "default", DURABLE),
    Directive::ignored("oom-score-adj", Kind::Choice(&["no", "yes", "relative", "absolute"]), "no", SERVICE),
    Directive::ignored("oom-score-adj-values", Kind::OomScores, "0 200 800", SERVICE),
    Directive::ignored("server-cpulist", Kind::Text, "", SERVICE).alias(&["server_cpulist"]).at_start(),
    Directive::ignored("bio-cpulist", Kind::Text, "", SERVICE).alias(&["bio_cpulist"]).at_start(),
    Directive::ignored("aof-rewrite-cpulist", Kind::Text, "", SERVICE)
        .alias(&["aof_rewrite_cpulist"])
        .at_start(),
    Directive::ignored("bgsave-cpulist", Kind::Text, "", SERVICE).alias(&["bgsave_cpulist"]).at_start(),
    Directive::ignored(
        "ignore-warnings",
        Kind::Text,
        "",
        "The warnings it silences are about Redis on ARM64 kernels.",
    ),
    Directive::ignored("socket-mark-id", integer(0, u32::MAX as i64), "0", KERNEL),
    Directive::ignored("bind-source-addr", Kind::Text, "", KERNEL),
    Directive::ignored("unixsocketperm", Kind::Octal, "0", "There is no Unix socket.").at_start(),
    Directive::ignored(
        "enable-protected-configs",
        Kind::Choice(&["no", "local", "yes"]),
        "no",
        "What writes files is never changed at run time.",
    )
    .at_start(),
];

const SHUTDOWN: &[&str] = &["default", "save", "nosave", "now", "force"];
const FACILITIES: &[&str] =
    &["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];

pub(super) const COMMANDS: &[Directive] = &[
    Directive::ignored("list-max-listpack-size", integer(-(1 << 31), INT_MAX), "-2", ENCODING)
        .alias(&["list-max-ziplist-size"]),
    Directive::ignored("list-compress-depth", COUNT, "0", ENCODING),
    Directive::ignored("set-max-intset-entries", LONG, "512", ENCODING),
    Directive::ignored("set-max-listpack-entries", LONG, "128", ENCODING),
    Directive::ignored("set-max-listpack-value", LONG, "64", ENCODING),
    Directive::ignored("zset-max-listpack-entries", LONG, "128", ENCODING)
        .alias(&["zset-max-ziplist-entries"]),
    Directive::ignored("zset-max-listpack-value", LONG, "64", ENCODING).alias(&["zset-max-ziplist-value"]),
    Directive::ignored("hll-sparse-max-bytes", BYTES, "3000", ENCODING),
    Directive::ignored("stream-node-max-bytes", BYTES, "4096", ENCODING),
    Directive::ignored("stream-node-max-entries", LONG, "100", ENCODING),
    Directive::ignored("busy-reply-threshold", LONG, "5000", "Scripts are not in this version.")
        .alias(&["lua-time-limit"]),
    Directive::ignored(
        "notify-keyspace-events",
        Kind::Events,
        "",
        "Publish and subscribe are not in this version.",
    ),
    Directive::ignored(
        "acl-pubsub-default",
        Kind::Choice(&["allchannels", "resetchannels"]),
        "resetchannels",
        "Access control lists are not in this version.",
    ),
    Directive::ignored("acllog-max-len", LONG, "128", "Access control lists are not in this version."),
];
