//! What a leader knows of its followers: how far they lag behind, where it goes by those that it needs, and how long they are
//! silent.

use super::cluster::Cluster;
use crate::raft::Input;

/// A round of heartbeats and their answers.
fn round(cluster: &mut Cluster) {
    cluster.now += 30_000;
    cluster.tick();
    while !cluster.network.is_empty() {
        cluster.deliver(0);
        cluster.up().into_iter().for_each(|id| cluster.sync(id, usize::MAX));
    }
}

#[test]
fn a_leader_goes_by_the_worst_of_the_best_majority() {
    let mut cluster = Cluster::new(1..=3, 7);
    cluster.step(1, Input::Campaign);
    cluster.sync(1, usize::MAX);
    round(&mut cluster);
    assert_eq!(cluster.leader(), Some(1));
    let lags = [((900, 0), 0), ((900, 300), 300), ((1000, 950), 950), ((0, 950), 0), ((0, 0), 0)];
    for ((second, third), needed) in lags {
        cluster.step(2, Input::Lag(second));
        cluster.step(3, Input::Lag(third));
        round(&mut cluster);
        assert_eq!(cluster.nodes[&1].lag_of_others, needed, "{second} and {third}");
    }
}

#[test]
fn a_leader_hands_over_to_one_that_keeps_up() {
    // Both have all of the log.
    for (lags, takes_over) in [(2, 3), (3, 2)] {
        let mut cluster = Cluster::new(1..=3, 7);
        cluster.step(1, Input::Campaign);
        cluster.sync(1, usize::MAX);
        round(&mut cluster);
        cluster.step(lags, Input::Lag(1000));
        round(&mut cluster);
        cluster.step(1, Input::Transfer(None));
        cluster.pause(1);
        for _ in 0..3 {
            round(&mut cluster);
        }
        assert_eq!(cluster.leader(), Some(takes_over));
    }
}

#[test]
fn who_lags_leaves_the_field_to_others_and_leads_if_they_cannot() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(1..=3, seed);
        cluster.step(1, Input::Campaign);
        cluster.sync(1, usize::MAX);
        round(&mut cluster);
        cluster.step(3, Input::Lag(1000));
        // In half of the runs only the one that lags has the last entry.
        if seed % 2 == 1 {
            cluster.cut_links.push((1, 2));
            cluster.propose(1, "of 3 only");
        }
        cluster.cut_links.push((1, 2));
        round(&mut cluster);
        cluster.cut_links.clear();
        cluster.crash(1, 0);
        for other in [2, 3] {
            cluster.step(other, Input::Unreachable(1));
        }
        while cluster.leader().is_none() {
            cluster.now += 1_000;
            cluster.tick();
            while !cluster.network.is_empty() {
                cluster.deliver(0);
                cluster.up().into_iter().for_each(|id| cluster.sync(id, usize::MAX));
            }
        }
        assert_eq!(cluster.leader(), Some(if seed % 2 == 1 { 3 } else { 2 }), "seed {seed}");
    }
}

#[test]
fn silence_is_time_and_not_rounds() {
    let mut cluster = Cluster::new(1..=3, 7);
    cluster.step(1, Input::Campaign);
    cluster.sync(1, usize::MAX);
    round(&mut cluster);
    let silent = |cluster: &Cluster, id| cluster.raft(1).silent_us(id, cluster.now).unwrap();
    assert_eq!((silent(&cluster, 2), silent(&cluster, 3)), (0, 0));
    cluster.cut_links.push((3, 1));
    // The lease is over each time: the read makes a round of its own.
    for _ in 0..20 {
        cluster.now += 90_000;
        cluster.read(1);
        while !cluster.network.is_empty() {
            cluster.deliver(0);
        }
    }
    assert_eq!((silent(&cluster, 2), silent(&cluster, 3)), (0, 1_800_000));
    assert_eq!(cluster.raft(2).silent_us(3, cluster.now), None, "it does not lead");
}
