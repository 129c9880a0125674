//! SisyphusDB: a Redis-compatible, replicated, disk-backed store.
//!
//! The modules in reading order, from the socket down to the disk; ARCHITECTURE.md tells one write and one read as
//! stories, and `tests/layers.rs` says who may import whom.

pub mod cli;
pub mod server;

pub mod dispatch;
pub mod session;

pub mod cluster;
pub mod command;

pub mod driver;
pub mod executor;
pub mod keyspace;

pub mod raft;
pub mod transport;

pub mod log;
pub mod lsm;

pub mod disk;

pub mod resp;

pub mod bugs;
pub mod config;
pub mod glob;
pub mod metrics;
pub mod number;
pub mod proto;
pub mod sync;
