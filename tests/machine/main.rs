//! What needs a machine to itself: root for a power cut and a full disk, gigabytes for a data set larger than memory, quiet for
//! latencies. `.ci/run` runs these; `cargo test` does not (`cargo test --test machine -- --test-threads 1` does).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![allow(clippy::print_stdout, reason = "what was measured belongs into the record of a run")]

mod file_system;
mod full_disk;
mod full_member;
mod larger_than_memory;
mod power_cut;
mod stalled_disk;

#[path = "../processes/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of processes use the rest")]
mod harness;
