//! What the node counts, and how it is told: INFO, LATENCY HISTOGRAM and the text Prometheus reads.
//!
//! The hot path touches plain counters of its own thread ([`Stats::local`]): one load and one store each, no lock, no
//! shared cache line, no label to look up. They are summed when someone asks ([`Stats::totals`]). What is not counted
//! but simply is (tables, terms, clients) is gathered then too, as a [`NodeStatus`]. INFO and `/metrics` are two tables
//! of rows over these two values; a test says of every INFO field what moves it, or why it is constant.

mod counters;
pub mod histogram;
pub mod info;
pub mod peers;
pub mod process;
mod prometheus;
mod stats;
pub mod status;

pub use counters::{Counter, Local};
pub use histogram::Latencies;
pub use prometheus::prometheus_text;
pub use stats::{CommandTotals, HttpKey, Rates, Stats, Totals};
pub use status::NodeStatus;

/// The text of docs/metrics.md, printed from the tables.
pub fn markdown() -> String {
    format!(
        "# Metrics\n\n\
         This page is printed from the tables in `src/metrics/`; a test compares them.\n\n\
         ## /metrics\n\n\
         `GET /metrics` on the HTTP port answers in the text format of Prometheus, without authentication.\n\
         {}\n\
         ## INFO\n\n\
         Sections and fields are those of Redis {}, and our own `# Raft`, `# Executor`, `# Lsm` and `# Peers`. Beside\n\
         the fields below there are lines for each listener (`listener0`), peer (`peer0`), command (`cmdstat_get`,\n\
         `latency_percentiles_usec_get`), kind of error (`errorstat_ERR`), database with keys (`db0`) and level of the tree\n\
         (`lsm_level0`).\n\
         {}",
        prometheus::markdown(),
        info::REDIS_VERSION,
        info::markdown()
    )
}
