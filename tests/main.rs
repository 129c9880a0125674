//! The tests of the whole: one binary, one module per subject.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod client;
mod cluster;
mod connections;
mod dispatch;
mod documents;
mod forwarding;
mod fuzz;
mod layers;
mod nodes;
mod observability;
mod processes;
mod proxy;
mod simulation;
