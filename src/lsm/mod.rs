//! An ordered byte store; knows no Redis and no Raft.
