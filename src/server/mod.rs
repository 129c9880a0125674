//! Sockets and lifetimes.
