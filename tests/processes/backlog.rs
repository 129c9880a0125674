//! A follower that receives faster than it writes tables.

use std::time::{Duration, Instant};

use super::harness::{CALM, Client, Cluster, Fault, Reply, Shim};

/// What is written meanwhile: many times what a node may take.
const WRITTEN_BYTES: usize = 320 << 20;
const VALUE_BYTES: usize = 32 << 10;
const AT_ONCE: usize = 16;

/// The budget of each node, and what a process takes beside it: code, stacks, what the allocator has not given back.
const BUDGET_BYTES: u64 = 64 << 20;
const BESIDE_BYTES: u64 = 128 << 20;

/// The most memory that a process ever had.
fn memory_peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_follower_with_a_slow_disk_keeps_its_memory_budget() {
    let budget = BUDGET_BYTES.to_string();
    let shims = [Shim::new(), Shim::new(), Shim::new()];
    let mut cluster = Cluster::new(3, &[&CALM[..], &["--memory-budget", &budget]].concat());
    for (at, shim) in shims.iter().enumerate() {
        cluster.nodes[at].env = shim.env().to_vec();
        cluster.spawn(at);
    }
    let leader = cluster.leader();
    let slow = (leader + 1) % 3;
    // The log is written as quickly as ever, and acknowledged.
    shims[slow].set(Fault::SlowTables { milliseconds: 400 });
    let mut client = Client::connect(cluster.nodes[leader].address()).unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    let value: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(VALUE_BYTES).collect();
    let start = Instant::now();
    for batch in 0..WRITTEN_BYTES / VALUE_BYTES / AT_ONCE {
        for number in 0..AT_ONCE {
            let key = format!("key:{}", batch * AT_ONCE + number);
            let mut request =
                format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${VALUE_BYTES}\r\n", key.len()).into_bytes();
            request.extend_from_slice(&value);
            request.extend_from_slice(b"\r\n");
            client.send(&request).unwrap();
        }
        for _ in 0..AT_ONCE {
            client.receive(|reply| assert_eq!(reply, Reply::Status(b"OK"))).unwrap();
        }
    }
    let took = start.elapsed();
    let behind =
        cluster.nodes[leader].status().unwrap().applied - cluster.nodes[slow].status().unwrap().applied;
    let peaks: Vec<u64> =
        cluster.nodes.iter().map(|node| memory_peak(node.server.as_ref().unwrap().pid())).collect();
    let measured = format!(
        "{took:?}, the follower is {behind} entries behind; the peaks of memory are {peaks:?}, {slow} is slow"
    );
    assert!(took < Duration::from_secs(60), "one slow follower of two slows nobody down: {measured}");
    assert!(peaks[slow] < BUDGET_BYTES + BESIDE_BYTES, "{measured}");
    eprintln!("{measured}");
    shims[slow].set(Fault::None);
    cluster.wait_until_caught_up(slow);
    let peak = memory_peak(cluster.nodes[slow].server.as_ref().unwrap().pid());
    assert!(peak < BUDGET_BYTES + BESIDE_BYTES, "{} MB when it has caught up; {measured}", peak >> 20);
    cluster.wait_until_equal();
}
