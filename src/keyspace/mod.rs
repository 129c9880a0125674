//! Redis data types as ordered bytes; knows no RESP and no Raft.
