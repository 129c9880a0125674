//! What the node counts, and how it is told: INFO, LATENCY HISTOGRAM and the text Prometheus reads.
//!
//! The hot path touches plain counters of its own thread ([`Stats::local`]): one load and one store each, no lock, no
//! shared cache line, no label to look up. They are summed when someone asks ([`Stats::totals`]). What is not counted
//! but simply is (tables, terms, clients) is gathered then too, as a [`NodeStatus`]. INFO and `/metrics` are two tables
//! of rows over these two values; a test says of every INFO field what moves it, or why it is constant.

mod counters;
pub mod histogram;
pub mod process;
mod stats;
pub mod status;

pub use counters::{Counter, Local};
pub use histogram::Latencies;
pub use stats::{CommandTotals, Rates, Stats, Totals};
pub use status::NodeStatus;
