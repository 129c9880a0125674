//! The cluster client of the crate redis.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{Commands, RedisResult};

use crate::fail_over;
use crate::harness::Cluster;

const PATIENCE: Duration = Duration::from_secs(60);

/// The client, and its connections once it has some.
struct Redis {
    client: ClusterClient,
    connection: Option<ClusterConnection>,
}

impl Redis {
    /// Does what may be done twice until it is known to be done. After an error the client asks anew who serves which slot:
    /// by itself it does so only when a node sends it elsewhere, and one that is dead does not.
    fn until_done<R>(&mut self, action: impl Fn(&mut ClusterConnection) -> RedisResult<R>) -> R {
        let start = Instant::now();
        loop {
            let connected = match self.connection.take() {
                Some(connection) => Ok(connection),
                None => self.client.get_connection(),
            };
            let done = connected.and_then(|mut connection| {
                let result = action(&mut connection)?;
                self.connection = Some(connection);
                Ok(result)
            });
            match done {
                Ok(result) => return result,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            }
        }
    }
}

#[test]
fn the_crate_redis_as_a_cluster_client() {
    let mut cluster = Cluster::start(&[]);
    let nodes = cluster.addresses().into_iter().map(|address| format!("redis://{address}"));
    let client = ClusterClient::builder(nodes)
        .connection_timeout(Duration::from_secs(2))
        .response_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    let (stop, acknowledged) = (&AtomicBool::new(false), &AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut redis = Redis { client, connection: None };
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                redis.until_done(|connection| connection.set::<_, _, ()>(number, number));
                number += 1;
                acknowledged.store(number, Ordering::Relaxed);
            }
            for number in 0..number {
                let found: Option<u64> = redis.until_done(|connection| connection.get(number));
                assert_eq!(found, Some(number));
            }
        });
        fail_over(&mut cluster, || acknowledged.load(Ordering::Relaxed));
        stop.store(true, Ordering::Relaxed);
    });
}
