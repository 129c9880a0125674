//! `Settings`: the values that CONFIG SET may change while the process runs.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use subtle::ConstantTimeEq;

use super::values::Values;

/// The run-time settings of a node. Replaced as a whole, so what a reader holds is always consistent.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The password of the default user. `None`: no password is asked for.
    pub requirepass: Option<Password>,
    /// The most clients that may be connected at one time.
    pub maxclients: usize,
    /// How long a client may be idle before it is closed. `None`: for ever.
    pub timeout: Option<Duration>,
    /// TCP keep-alive of clients. `None`: off.
    pub tcp_keepalive: Option<Duration>,
    /// The longest argument of a command, and the longest value of a string or field.
    pub proto_max_bulk_len: usize,
    /// Bytes that a client may have sent and the node has not yet evaluated.
    pub client_query_buffer_limit: usize,
    /// The longest reply of one command.
    pub reply_bytes_max: usize,
    /// Bytes of replies that a client may leave unread.
    pub client_output_buffer_limit: OutputLimits,
    /// Commands that take at least this long enter the slow log. `None`: none do; zero: all do.
    pub slowlog_log_slower_than: Option<Duration>,
    /// Entries that the slow log keeps.
    pub slowlog_max_len: usize,
    /// Events that take at least this long are kept for LATENCY. `None`: none are.
    pub latency_monitor_threshold: Option<Duration>,
    /// Whether the latencies of each command are shown.
    pub latency_tracking: bool,
    /// The percentiles that INFO shows of them, each in 0..=100.
    pub latency_percentiles: Vec<f64>,
    /// What a follower answers to a session that said READONLY.
    pub replica_reads: ReplicaReads,
    /// What cluster clients are told to find a node by.
    pub endpoint_type: EndpointType,
    /// How long nobody must have heard of a member until a new node of its name takes its place. `None`: for ever.
    pub replace_after: Option<Duration>,
    /// How fast snapshots are sent, in bytes a second. `None`: as fast as it goes.
    pub snapshot_bytes_per_second: Option<NonZeroU64>,
    /// How long a shutdown waits for what is under way.
    pub shutdown_timeout: Duration,
    /// The least severe events that are logged.
    pub loglevel: LogLevel,
    /// A hash with at most so many fields …
    pub hash_inline_fields_max: usize,
    /// … none of which, nor its value, is longer than this, is stored inside its key's metadata.
    pub hash_inline_bytes_max: usize,
}

/// The output limits of the classes of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Clients that send commands.
    pub normal: OutputLimit,
    /// Clients that follow the data.
    pub replica: OutputLimit,
    /// Clients with a subscription.
    pub pubsub: OutputLimit,
}

/// When a client that does not read its replies is closed. Zero: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// At once, when so many bytes wait.
    pub hard_bytes: u64,
    /// When so many bytes wait …
    pub soft_bytes: u64,
    /// … for this long.
    pub soft: Duration,
}

/// What a follower answers to a session that said READONLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaReads {
    /// What it has applied.
    Local,
    /// What the leader would answer.
    Linearizable,
}

/// What cluster clients are told to find a node by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointType {
    /// Its address.
    Ip,
    /// Its announced host name.
    Hostname,
    /// Nothing: they stay with the host that they know.
    Unknown,
}

/// The least severe events that are logged: Redis' levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything, for those who search an error in the server.
    Debug,
    /// Much, without being a mess.
    Verbose,
    /// What an operator wants to see.
    Notice,
    /// What an operator must see.
    Warning,
    /// Nothing.
    Nothing,
}

/// A password. It is never printed, and comparing takes as long for a wrong one as for the right one.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Whether `given` is the password.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Settings {
    /// The typed form of `values`, which passed all checks.
    pub(super) fn from_values(values: &Values) -> Self {
        let nonzero = |duration: Duration| Some(duration).filter(|duration| !duration.is_zero());
        Self {
            requirepass: values.text_option("requirepass").map(Password),
            maxclients: values.number("maxclients"),
            timeout: nonzero(values.seconds("timeout")),
            tcp_keepalive: nonzero(values.seconds("tcp-keepalive")),
            proto_max_bulk_len: values.number("proto-max-bulk-len"),
            client_query_buffer_limit: values.number("client-query-buffer-limit"),
            reply_bytes_max: values.number("reply-bytes-max"),
            client_output_buffer_limit: OutputLimits::from_text(values.text("client-output-buffer-limit")),
            slowlog_log_slower_than: u64::try_from(values.number::<i64>("slowlog-log-slower-than"))
                .ok()
                .map(Duration::from_micros),
            slowlog_max_len: values.number("slowlog-max-len"),
            latency_monitor_threshold: nonzero(values.millis("latency-monitor-threshold")),
            latency_tracking: values.is_yes("latency-tracking"),
            latency_percentiles: values
                .text("latency-tracking-info-percentiles")
                .split_whitespace()
                .map(|percentile| percentile.parse().expect("the row accepts numbers only"))
                .collect(),
            replica_reads: match values.text("replica-reads") {
                "linearizable" => ReplicaReads::Linearizable,
                _ => ReplicaReads::Local,
            },
            endpoint_type: match values.text("cluster-preferred-endpoint-type") {
                "hostname" => EndpointType::Hostname,
                "unknown-endpoint" => EndpointType::Unknown,
                _ => EndpointType::Ip,
            },
            replace_after: nonzero(values.seconds("replace-after")),
            snapshot_bytes_per_second: NonZeroU64::new(values.number("snapshot-bytes-per-second")),
            shutdown_timeout: values.seconds("shutdown-timeout"),
            loglevel: match values.text("loglevel") {
                "debug" => LogLevel::Debug,
                "verbose" => LogLevel::Verbose,
                "warning" => LogLevel::Warning,
                "nothing" => LogLevel::Nothing,
                _ => LogLevel::Notice,
            },
            hash_inline_fields_max: values.number("hash-max-listpack-entries"),
            hash_inline_bytes_max: values.number("hash-max-listpack-value"),
        }
    }
}

impl OutputLimits {
    fn from_text(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let [normal, replica, pubsub] = [1, 5, 9].map(|at| {
            let number = |at: usize| -> u64 { words[at].parse().expect("the row accepts numbers only") };
            OutputLimit {
                hard_bytes: number(at),
                soft_bytes: number(at + 1),
                soft: Duration::from_secs(number(at + 2)),
            }
        });
        Self { normal, replica, pubsub }
    }
}
