//! Tests of the core as a cluster: scripts of single situations, and random runs.

mod cluster;
mod lag;
mod random;
mod script;
