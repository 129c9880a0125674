//! Crashes at any operation of the disk: what was acknowledged is there, what was dropped stays away.

use std::io::ErrorKind;

use fastrand::Rng;

use super::model::{Model, open};
use crate::bugs::{self, Bug};
use crate::disk::SimDisk;
use crate::disk::sim::{Action, Fault};
use crate::log::{Error, Log, Result};

/// How often the machine starts in a run.
const LIVES: u64 = 5;

/// One run: the log's possible states since the last start, oldest first, and how many of them are acknowledged.
struct Run {
    disk: SimDisk,
    rng: Rng,
    /// The states after each operation that may have reached the disk; the first is acknowledged.
    states: Vec<Model>,
    /// A failure may come.
    fault: bool,
    /// The largest index that a cut was asked for.
    cut: u64,
}

impl Run {
    /// Returns what is wrong, if anything is.
    fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed),
            rng: Rng::with_seed(!seed),
            states: vec![Model::default()],
            fault: false,
            cut: 0,
        }
    }

    fn run(&mut self) -> std::result::Result<(), String> {
        for life in 0..LIVES {
            // Some crashes come during recovery, most later, some never: then only the process ends.
            if self.rng.u8(..8) > 0 {
                self.disk.stop_at(self.disk.changes() + self.rng.u64(..120));
            }
            if self.rng.u8(..4) == 0 {
                self.order_fault();
            }
            let epoch = self.rng.u64(..);
            let opened = open(&self.disk, epoch);
            let (mut log, recovered) = match opened {
                Ok(opened) => opened,
                Err(Error::Io { .. } | Error::Sync { .. }) if self.fault || self.disk.is_stopped() => {
                    self.end_life();
                    continue;
                }
                Err(error) => return Err(format!("life {life}: {error}")),
            };
            let differences: Vec<String> = (self.states.iter())
                .map(|state| state.agrees(&log, &recovered, self.cut).err())
                .map_while(|difference| difference)
                .collect();
            let Some(found) = self.states.get(differences.len()) else {
                return Err(format!("life {life}: none of the states: {differences:?}"));
            };
            self.states = vec![found.clone()];
            match self.use_log(&mut log) {
                Err(Error::Io { .. } | Error::Sync { .. }) if self.fault || self.disk.is_stopped() => {
                    self.end_life()
                }
                Err(error) => return Err(format!("life {life}: {error}")),
                Ok(()) => self.end_life(),
            }
        }
        Ok(())
    }

    /// The process ends, and the machine too, or it does not.
    fn end_life(&mut self) {
        if self.disk.is_stopped() || self.rng.bool() {
            self.disk.crash();
            self.fault = false;
        }
    }

    /// One operation of the disk will fail, and the machine lives.
    fn order_fault(&mut self) {
        self.fault = true;
        let actions = [Action::Write, Action::Sync, Action::Sync, Action::Rename, Action::SyncDir];
        self.disk.fail(Fault {
            action: self.rng.choice(actions).expect("there are some"),
            path_part: String::new(),
            nth: self.rng.u64(1..30),
            error: ErrorKind::Other,
        });
    }

    fn use_log(&mut self, log: &mut Log) -> Result<()> {
        for _ in 0..self.rng.usize(..60) {
            let newest = self.states.last_mut().expect("there is one");
            // What is committed is durable, and only that is cut.
            let committed = newest.committed;
            let mut next = newest.clone();
            let group = next.random_group(&mut self.rng);
            next.committed = committed;
            let mut drawn = Vec::new();
            for operation in &group {
                next.apply(operation);
                drawn.push(next.clone());
            }
            self.states.extend(drawn);
            log.write(&group)?;
            if self.rng.bool() {
                log.sync()?;
                self.states.drain(..self.states.len() - 1);
                let state = &mut self.states[0];
                state.committed = self.rng.u64(state.committed..=state.last().index);
            }
            if self.rng.u8(..3) == 0 {
                log.idle()?;
            }
            if self.rng.u8(..8) == 0 && self.states.len() == 1 {
                self.cut = self.cut.max(self.states[0].committed);
                log.cut(self.states[0].committed)?;
            }
        }
        Ok(())
    }
}

/// Runs many seeds; returns the first that fails.
fn first_failure(seeds: std::ops::Range<u64>) -> Option<String> {
    seeds.into_iter().find_map(|seed| {
        let mut run = Run::new(seed);
        run.run().err().map(|error| format!("seed {seed}: {error}"))
    })
}

#[test]
fn what_was_acknowledged_survives_and_what_was_dropped_does_not() {
    if let Some(failure) = first_failure(0..2000) {
        panic!("{failure}");
    }
}

#[test]
fn the_same_seed_does_the_same_to_the_disk() {
    for seed in 0..20 {
        let mut traces = [0, 1].map(|_| {
            let mut run = Run::new(seed);
            run.run().unwrap();
            run.disk.trace_hash()
        });
        assert_eq!(traces[0], traces[1], "seed {seed}");
        traces[0] = 0;
    }
}

#[test]
fn bug_a_group_is_acknowledged_before_it_is_synced() {
    assert!(bugs::with(Bug::AcknowledgeBeforeSync, || first_failure(0..300)).is_some());
}

#[test]
fn bug_a_segment_is_begun_before_the_old_one_is_synced() {
    assert!(bugs::with(Bug::LogOldSegmentUnsynced, || first_failure(0..300)).is_some());
}

#[test]
fn bug_what_follows_a_hole_is_taken() {
    assert!(bugs::with(Bug::LogHoleSkipped, || first_failure(0..300)).is_some());
}

#[test]
fn bug_old_records_of_a_recycled_segment_are_taken() {
    assert!(bugs::with(Bug::LogRecycledRecordTaken, || first_failure(0..300)).is_some());
}
