//! What a Redis client sees, one module per group of commands.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod bad_input;
mod support;
