//! What the tests of processes share: a server as a child, clients that remember what was acknowledged, a bad disk.

mod client;
mod load;
mod server;
mod shim;

pub(crate) use self::{
    client::Client,
    load::{Load, count_lost, verify, write},
    server::{Launch, Server, wait_for},
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
