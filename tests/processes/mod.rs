//! The real program as a child process, alone and in clusters: killed under load, on a disk that fails, cut off, stopped for a
//! while, started twice.
//!
//! It is the program that users run, built without the planted bugs: `cargo test` has them in its own build of it.

mod backlog;
mod checkpoint;
mod disk_errors;
mod failover;
#[allow(dead_code, unused_imports, reason = "the tests that need a machine to themselves use the rest")]
mod harness;
mod http;
mod kill;
mod lifecycle;
mod membership;
mod moving;
mod partition;
mod pause;
mod restart;
mod surroundings;
