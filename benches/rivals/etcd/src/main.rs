//! As redis-benchmark, for etcd: keys `key:000000000000` on, drawn at random, values of random bytes, a number of
//! connections, each with a number of requests under way. One thread, so that the servers have the processor.
//!
//! ```text
//! etcd-load ENDPOINT put|get|fill REQUESTS KEYS CONNECTIONS REQUESTS_EACH VALUE_BYTES
//! ```
//!
//! `get` is linearizable, as is etcd's default; `fill` puts every key once. Prints requests a second, p50 and p99 in
//! milliseconds, and the share of the GETs that found a value.

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use etcd_client::{Client, Error};
use tokio::task::LocalSet;

#[derive(Clone, Copy, PartialEq)]
enum Command {
    Put,
    Get,
    Fill,
}

#[derive(Clone)]
struct Plan {
    endpoint: String,
    command: Command,
    requests: u64,
    keys: u64,
    connections: u64,
    requests_each: u64,
    value_bytes: usize,
}

impl Plan {
    fn parse(arguments: &[String]) -> Option<Self> {
        let [endpoint, command, requests, keys, connections, requests_each, value_bytes] = arguments else {
            return None;
        };
        let command = match command.as_str() {
            "put" => Command::Put,
            "get" => Command::Get,
            "fill" => Command::Fill,
            _ => return None,
        };
        let keys = keys.parse().ok()?;
        Some(Self {
            endpoint: endpoint.clone(),
            command,
            requests: if command == Command::Fill { keys } else { requests.parse().ok()? },
            keys,
            connections: connections.parse().ok()?,
            requests_each: requests_each.parse().ok()?,
            value_bytes: value_bytes.parse().ok()?,
        })
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(plan) = Plan::parse(&arguments) else {
        eprintln!("etcd-load ENDPOINT put|get|fill REQUESTS KEYS CONNECTIONS REQUESTS_EACH VALUE_BYTES");
        return ExitCode::FAILURE;
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    match LocalSet::new().block_on(&runtime, run(plan)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("etcd-load: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(plan: Plan) -> Result<(), Error> {
    let mut clients = Vec::new();
    for _ in 0..plan.connections {
        let mut client = Client::connect([&plan.endpoint], None).await?;
        // A connection is made by the first request, which is not measured.
        client.get("key:", None).await?;
        clients.push(client);
    }
    let taken = Rc::new(Cell::new(0));
    let start = Instant::now();
    let mut tasks = Vec::new();
    for client in &clients {
        for _ in 0..plan.requests_each {
            tasks.push(tokio::task::spawn_local(work(client.clone(), plan.clone(), Rc::clone(&taken))));
        }
    }
    let (mut times, mut hits) = (Vec::new(), 0);
    for task in tasks {
        let (some, found) = task.await.expect("a task that panics has found a bug of this program")?;
        times.extend(some);
        hits += found;
    }
    let elapsed = start.elapsed();
    times.sort_unstable();
    let [p50, p99] = [50, 99].map(|percent| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0);
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    println!("{rate:.2} {p50:.3} {p99:.3} {:.4}", hits as f64 / times.len() as f64);
    Ok(())
}

/// One request after the other until all are made. Returns how long each took, and how many GETs found a value.
async fn work(client: Client, plan: Plan, taken: Rc<Cell<u64>>) -> Result<(Vec<Duration>, u64), Error> {
    let mut client = client.kv_client();
    let mut random = fastrand::Rng::new();
    let mut value = vec![0; plan.value_bytes];
    let (mut times, mut hits) = (Vec::new(), 0);
    while taken.get() < plan.requests {
        let place = taken.replace(taken.get() + 1);
        let number = if plan.command == Command::Fill { place } else { random.u64(0..plan.keys) };
        let key = format!("key:{number:012}");
        let sent = Instant::now();
        if plan.command == Command::Get {
            hits += u64::from(!client.get(key, None).await?.kvs().is_empty());
        } else {
            random.fill(&mut value);
            client.put(key, value.clone(), None).await?;
        }
        times.push(sent.elapsed());
    }
    Ok((times, hits))
}
