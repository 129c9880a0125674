//! The Raft protocol, pure.
