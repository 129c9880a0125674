//! What the tests of processes share: a server as a child, clients that remember what was acknowledged, a bad disk.

mod client;
mod cluster;
mod cluster_client;
mod cluster_load;
mod history;
mod load;
mod registers;
mod relay;
mod server;
mod shim;

pub(crate) use self::{
    client::Client,
    cluster::{CALM, Cluster},
    cluster_client::ClusterClient,
    cluster_load::ClusterLoad,
    load::{Load, count_lost, verify, write},
    registers::Registers,
    relay::Relay,
    server::{Launch, PORTS, Server, wait_for},
    shim::{Fault, Shim},
};

#[path = "../../../benches/load/resp.rs"]
mod resp;

#[path = "../../../benches/load/workload.rs"]
#[allow(dead_code, reason = "the load generator also keeps the ledger in a file")]
mod workload;

pub(crate) use self::{
    resp::Reply,
    workload::{Ledger, Workload},
};
