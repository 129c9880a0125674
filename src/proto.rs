//! The messages between nodes, and the client and server of their service, as generated from `proto/raft.proto`, which
//! documents them.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::match_wildcard_for_single_variants,
    clippy::too_many_lines,
    reason = "generated code"
)]

tonic::include_proto!("sisyphusdb.raft.v1");
