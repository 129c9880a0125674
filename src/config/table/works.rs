//! Directives that do what they say.

use super::super::directive::Directive;
use super::super::kind::Kind;
use super::super::machine::Machine;
use super::super::values::Values;
use super::{COUNT, INT_MAX, LONG, integer};

const MIB: u64 = 1 << 20;

pub(super) const NETWORK: &[Directive] = &[
    Directive::works(
        "port",
        Kind::Port,
        "6379",
        "TCP port for Redis clients, plain ones and cluster clients. 0 turns it off; auto takes any free port.",
    )
    .at_start(),
    Directive::works(
        "proxy-port",
        Kind::Port,
        "6380",
        "TCP port for plain Redis clients of a cluster: every node serves them, whoever leads. Used only with peers or \
         join. 0 turns it off; auto takes any free port.",
    )
    .at_start(),
    Directive::works(
        "http-port",
        Kind::Port,
        "8001",
        "TCP port for HTTP: data, health, status and metrics. 0 turns it off; auto takes any free port.",
    )
    .at_start(),
    Directive::works(
        "peer-port",
        Kind::Port,
        "5001",
        "TCP port for the other nodes of the cluster. Used only with peers or join.",
    )
    .at_start(),
    Directive::works(
        "bind",
        Kind::Addresses,
        "127.0.0.1",
        "Local addresses that all ports listen on: IP addresses, * (all of IPv4) or ::* (all of IPv6). The node starts \
         without an address that begins with - if the machine does not have it.",
    )
    .at_start(),
    Directive::works(
        "tcp-backlog",
        integer(1, INT_MAX),
        "511",
        "Connections that the kernel queues for each port before they are accepted.",
    )
    .at_start(),
    Directive::works(
        "tcp-keepalive",
        COUNT,
        "300",
        "Seconds between the probes that find dead clients. 0 sends none.",
    ),
    Directive::works(
        "timeout",
        COUNT,
        "0",
        "Seconds after which an idle client is closed. 0 closes none.",
    ),
];

pub(super) const SECURITY: &[Directive] = &[
    Directive::works(
        "protected-mode",
        Kind::Bool,
        "yes",
        "With yes, the node does not start when it listens beyond this machine (see bind) and has no requirepass. It \
         covers all ports.",
    ),
    Directive::works(
        "requirepass",
        Kind::Text,
        "",
        "The password of the default user, for AUTH, HELLO and HTTP (Basic or Bearer). Empty asks for none.",
    ),
    Directive::works(
        "enable-debug-command",
        Kind::Choice(&["no", "local", "yes"]),
        "no",
        "Who may use DEBUG: no one, clients on loopback addresses, or all.",
    )
    .at_start(),
];

pub(super) const CLIENTS: &[Directive] = &[
    Directive::works(
        "maxclients",
        integer(1, u32::MAX as i64),
        "",
        "The most clients connected at one time; more get an error and are closed.",
    )
    .derived("10000, or less if the process may not open as many files", maxclients),
    Directive::works(
        "proto-max-bulk-len",
        Kind::Bytes { min: MIB, max: i64::MAX as u64 },
        "",
        "The longest argument of a command, so the longest value; also the longest body of an HTTP request. Not more \
         than entry-bytes-max.",
    )
    .derived("64mb, or an eighth of memory-budget if that is less", bulk_bytes_max),
    Directive::works(
        "client-query-buffer-limit",
        // Where an argument lies in its request is kept in 32 bits (`resp::Args`).
        Kind::Bytes { min: MIB, max: u32::MAX as u64 },
        "",
        "Bytes of commands that one client may have sent and the node has not yet evaluated, so the longest request; \
         less than 4gb.",
    )
    .derived(
        "1gb, or a quarter of memory-budget if that is less, but at least twice proto-max-bulk-len",
        client_bytes_max,
    ),
    Directive::works(
        "reply-bytes-max",
        Kind::Bytes { min: MIB, max: i64::MAX as u64 },
        "",
        "The longest reply of one command or transaction, which is made in memory. A longer one is an error, and a \
         transaction with it has no effect.",
    )
    .derived(
        "1gb, or a quarter of memory-budget if that is less, but at least twice proto-max-bulk-len",
        client_bytes_max,
    ),
    Directive::works(
        "client-output-buffer-limit",
        Kind::OutputLimits,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        "For each class of clients (normal, replica, pubsub): the bytes of unread replies at which a client is closed \
         at once, and those at which it is closed after so many seconds. 0 closes none.",
    ),
    Directive::works(
        "shutdown-timeout",
        COUNT,
        "10",
        "Seconds that a shutdown may take: up to half of them for commands that are under way, the rest to write out what \
         is in memory.",
    ),
];

pub(super) const STORAGE: &[Directive] = &[
    Directive::works("dir", Kind::Text, "./data", "The directory of the data. It is made if it is not there.")
        .protected(),
    Directive::works(
        "memory-budget",
        Kind::Bytes { min: 64 * MIB, max: i64::MAX as u64 },
        "",
        "Memory for memtables, caches and messages in flight together. Data may be many times larger: they are on disk.",
    )
    .at_start()
    .derived("25 % of the memory of the machine or of its control group, at least 64mb", memory_budget),
    Directive::works(
        "replay-bytes-max",
        Kind::Bytes { min: MIB, max: 64 << 30 },
        "67108864",
        "The most that a restart replays from the log; memtables are half as large, and the four that may be in memory \
         at one time take at most 40 % of memory-budget.",
    )
    .at_start(),
    Directive::works(
        "entry-bytes-max",
        Kind::Bytes { min: MIB, max: ENTRY_BYTES_MAX },
        "",
        "The largest entry of the log, so the most that one command, transaction or script can write.",
    )
    .at_start()
    .derived(
        "80mb, or a quarter of memory-budget if that is less, but at least a quarter more than proto-max-bulk-len",
        entry_bytes_max,
    ),
    Directive::works(
        "io-threads",
        integer(1, 128),
        "",
        "Threads that carry connections, commands and replication.",
    )
    .at_start()
    .derived("half as many as processors, at least 1 and at most 8", io_threads),
];

pub(super) const DATA: &[Directive] = &[
    Directive::works("databases", integer(1, 16), "16", "How many databases SELECT knows.").at_start(),
    Directive::works(
        "hash-max-listpack-entries",
        LONG,
        "512",
        "A hash with at most so many fields is stored in one piece with its key.",
    )
    .alias(&["hash-max-ziplist-entries"]),
    Directive::works(
        "hash-max-listpack-value",
        LONG,
        "64",
        "A hash with a longer field or value than this many bytes is not stored in one piece.",
    )
    .alias(&["hash-max-ziplist-value"]),
];

pub(super) const PROCESS: &[Directive] = &[
    Directive::works(
        "loglevel",
        Kind::Choice(&["debug", "verbose", "notice", "warning", "nothing"]),
        "notice",
        "The least severe events that are logged.",
    ),
    Directive::works(
        "logfile",
        Kind::Text,
        "",
        "The file that log lines are appended to. Empty: standard error.",
    )
    .at_start(),
    Directive::works(
        "pidfile",
        Kind::Text,
        "",
        "A file that holds the process id while the node runs. Empty: none.",
    )
    .at_start(),
    Directive::works(
        "include",
        Kind::Text,
        "",
        "Reads another file at this place. The last part of the path may be a pattern.",
    )
    .in_files(),
];

pub(super) const OBSERVABILITY: &[Directive] = &[
    Directive::works(
        "slowlog-log-slower-than",
        integer(-1, i64::MAX),
        "10000",
        "Commands that take at least so many microseconds enter the slow log. 0: all; -1: none. Equal short reads of one \
         pipeline are timed together, and enter it only if this is below 2000.",
    ),
    Directive::works("slowlog-max-len", LONG, "128", "How many commands the slow log keeps."),
    Directive::works(
        "latency-monitor-threshold",
        LONG,
        "0",
        "Events that take at least so many milliseconds are kept for LATENCY. 0: none.",
    ),
    Directive::works(
        "latency-tracking",
        Kind::Bool,
        "yes",
        "Whether INFO latencystats and LATENCY HISTOGRAM show the latencies of each command.",
    ),
    Directive::works(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        "50 99 99.9",
        "The percentiles that INFO latencystats shows.",
    ),
];

fn maxclients(_: &Values, machine: &Machine) -> String {
    machine.clients_max().min(10_000).to_string()
}

fn memory_budget(_: &Values, machine: &Machine) -> String {
    (machine.memory_bytes / 4).max(64 * MIB).to_string()
}

fn bulk_bytes_max(values: &Values, _: &Machine) -> String {
    (values.number::<u64>("memory-budget") / 8).min(64 * MIB).to_string()
}

/// The largest entry that may be asked for.
const ENTRY_BYTES_MAX: u64 = 1 << 30;

fn entry_bytes_max(values: &Values, _: &Machine) -> String {
    let bulk: u64 = values.number("proto-max-bulk-len");
    let budget: u64 = values.number("memory-budget");
    (budget / 4).min(80 * MIB).max(bulk.saturating_add(bulk / 4)).min(ENTRY_BYTES_MAX).to_string()
}

fn client_bytes_max(values: &Values, _: &Machine) -> String {
    let bulk: u64 = values.number("proto-max-bulk-len");
    let budget: u64 = values.number("memory-budget");
    (budget / 4).min(1 << 30).max(bulk.saturating_mul(2)).to_string()
}

fn io_threads(_: &Values, machine: &Machine) -> String {
    // The others are for the log, flushes, compactions and whoever sends the commands.
    (machine.processors / 2).clamp(1, 8).to_string()
}
