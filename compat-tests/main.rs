//! What a Redis client sees, one module per group of commands.
//!
//! Each row of the command table has a case of its name: a script of requests and replies (`script.rs`). `table.rs`
//! runs them against a node of our own, and shows that each fails when its handler is replaced. `bad_input.rs` sends
//! what no client should.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod bad_input;
mod case;
mod cluster;
mod connection;
mod hash;
mod key;
mod script;
mod server;
mod string;
mod support;
mod table;
mod transaction;
