//! The real program as a child process: killed under load, on a disk that fails, started twice.
//!
//! It is the program that users run, built without the planted bugs: `cargo test` has them in its own build of it.

mod checkpoint;
mod disk_errors;
#[allow(dead_code, unused_imports, reason = "the tests that need a machine to themselves use the rest")]
mod harness;
mod kill;
mod lifecycle;
