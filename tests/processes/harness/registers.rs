//! Clients in the background that read and write a few registers, and write down what they saw.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Cluster, ClusterClient, Reply, history::History, history::NOTHING};

const REGISTERS: usize = 4;

/// How long a client waits for a node that may be stopped.
const ANSWER: Duration = Duration::from_secs(1);

/// Two clients go where they are sent, and one stays with each node, whatever that says. They go on until they are stopped.
pub(crate) struct Registers {
    history: Arc<History>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Registers {
    pub(crate) fn start(cluster: &Cluster, seed: u64) -> Self {
        let (history, stop) = (Arc::new(History::new()), Arc::new(AtomicBool::new(false)));
        let staying = cluster.addresses().into_iter().map(|address: SocketAddr| {
            ClusterClient::new(vec![address]).within(ANSWER, Duration::ZERO).staying()
        });
        let going = (0..2).map(|_| cluster.client().within(ANSWER, Duration::from_secs(60)));
        let workers = staying.chain(going).zip(0..).map(|(client, number)| {
            let random = fastrand::Rng::with_seed(seed.wrapping_add(number));
            let (history, stop) = (Arc::clone(&history), Arc::clone(&stop));
            std::thread::spawn(move || work(client, &history, &stop, random))
        });
        let workers = workers.collect();
        Self { history, stop, workers }
    }

    /// How many operations have a known outcome.
    pub(crate) fn done(&self) -> usize {
        self.history.len()
    }

    /// Stops the clients; panics if what they saw cannot be explained. Returns how many operations it was.
    pub(crate) fn stop(self, context: &str) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.join().unwrap();
        }
        if let Err(error) = self.history.check() {
            panic!("{context}: {error}");
        }
        self.history.len()
    }
}

fn work(mut client: ClusterClient, history: &History, stop: &AtomicBool, mut random: fastrand::Rng) {
    while !stop.load(Ordering::Relaxed) {
        let register = random.usize(0..REGISTERS);
        let name = format!("register:{register}");
        if random.bool() {
            let value = history.next_value();
            let called = history.now();
            let acknowledged = client.set(name.as_bytes(), value.to_string().as_bytes());
            history.wrote(register, value, called, acknowledged);
        } else {
            let called = history.now();
            let value = client.call(&[b"GET", name.as_bytes()], |reply| match reply {
                Reply::Bulk(text) => std::str::from_utf8(text).unwrap().parse().unwrap(),
                Reply::Null => NOTHING,
                other => panic!("GET: {other:?}"),
            });
            if let Some(value) = value {
                history.read(register, value, called);
            }
        }
    }
}
