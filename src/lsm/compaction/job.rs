//! Carries out a compaction.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Outputs, Plan,
    graves::{Graves, Holders, dead_in, graves_in},
    pick,
};
use crate::{
    bugs::{self, Bug},
    lsm::{
        Access, Error, Index, Installed, Result,
        memtable::Memtable,
        merge::{Merge, Source},
        store::Store,
        table::{RunIter, Table},
        version::{BOTTOM, Edit, LEVELS, Listed, Placed, Run, Version},
    },
};

/// Bytes of keys and values that are merged between two questions whether to go on.
const PACE_BYTES: u64 = 64 << 10;

/// Looks for the most urgent compaction and carries it out. Readers, the writer and flushes go on meanwhile.
#[must_use = "a tree that is not compacted gets slow"]
pub struct CompactionJob {
    pub(in crate::lsm) store: Arc<Store>,
    pub(in crate::lsm) version: Arc<Version<Table>>,
    /// With the planted bug alone: graves of it are taken too.
    pub(in crate::lsm) memtable: Option<Arc<Memtable>>,
}

/// Why a merge ended early.
enum Stop {
    Asked,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

impl CompactionJob {
    /// Runs the job at full speed.
    ///
    /// # Errors
    /// Any error is fatal for the node; that the disk has no room is none. Whatever went wrong, no table is dropped whose
    /// records are not in another one.
    pub fn run(self) -> Result<Installed> {
        self.run_paced(&mut |_| ControlFlow::Continue(()))
    }

    /// Runs the job and calls `pace` after each 64 KiB or so with the number of bytes merged since the last call: it may
    /// wait, to limit the rate, or end the job, which then has changed nothing.
    ///
    /// # Errors
    /// See [`CompactionJob::run`].
    pub fn run_paced(self, pace: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<Installed> {
        let Some(plan) = pick(&self.version, &self.store.options.levels) else {
            self.store.empty_trash()?;
            return Ok(Installed::idle(self.version.number));
        };
        tracing::debug!(?plan, "compacting");
        let version = match &plan {
            Plan::Drop { tables } => self.drop_tables(tables).map_err(Stop::Failed),
            Plan::Move { tables, to, .. } => self.move_tables(tables, *to).map_err(Stop::Failed),
            Plan::Merge { inputs, from, to, .. } => self.merge(inputs, *from, *to, pace),
        };
        self.store.merging_bytes.store(0, Ordering::Relaxed);
        let installed = match version {
            Ok(version) => Installed::compaction(version),
            Err(Stop::Asked) => return Ok(Installed::stopped()),
            Err(Stop::Failed(error)) if error.is_no_room() => {
                tracing::warn!(%error, "the disk has no room for a compaction, which is tried again later");
                Installed::compaction_without_room()
            }
            Err(Stop::Failed(error)) => return Err(error),
        };
        self.store.empty_trash()?;
        Ok(installed)
    }

    fn drop_tables(&self, tables: &[u64]) -> Result<Arc<Version<Table>>> {
        self.store.context.counters.dead_tables_dropped.add(tables.len() as u64);
        self.store.commit(|_| Ok(Edit { removed: tables.to_vec(), ..Edit::default() }))
    }

    fn move_tables(&self, tables: &[u64], to: usize) -> Result<Arc<Version<Table>>> {
        self.store.context.counters.moves.add(1);
        self.store.commit(|latest| {
            // A flush may have marked them meanwhile: what is known of them is in the latest version.
            let chosen = latest.listed().filter(|listed| tables.contains(&listed.placed.id()));
            let added = chosen.map(|listed| Listed { level: to, run: 0, placed: listed.placed }).collect();
            Ok(Edit { removed: tables.to_vec(), added, ..Edit::default() })
        })
    }

    fn merge(
        &self,
        inputs: &[u64],
        from: usize,
        to: usize,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> std::result::Result<Arc<Version<Table>>, Stop> {
        let inputs: BTreeSet<u64> = inputs.iter().copied().collect();
        let is_input = |placed: &&Placed<Table>| inputs.contains(&placed.id());
        let chosen = |run: &Run<Table>| -> Vec<Placed<Table>> {
            run.tables().iter().filter(is_input).cloned().collect()
        };
        let runs: Vec<Arc<Run<Table>>> = self
            .version
            .runs()
            .map(|(_, run)| Arc::new(Run::new(run.number, chosen(run))))
            .filter(|run| !run.tables().is_empty())
            .collect();
        let tables = || runs.iter().flat_map(|run| run.tables());
        assert!(tables().count() == inputs.len(), "a plan is made of tables of its version");
        let base_index = tables().map(|placed| placed.properties.base_index).min().unwrap_or(0);
        let expected: u64 = tables().map(|placed| placed.properties.records).sum();
        let read_bytes: u64 = tables().map(Placed::bytes).sum();
        let run_number = if to == 0 { runs.iter().map(|run| run.number).max().unwrap_or(0) } else { 0 };
        let mut outputs = Outputs::new(&self.store, to, base_index);
        if 0 < to && to < BOTTOM {
            outputs.cut_at(self.version.level(to + 1));
        }
        self.store.merging_bytes.store(read_bytes, Ordering::Relaxed);
        self.merge_records(&runs, to, expected, &mut outputs, pace)?;
        let added = outputs.finish()?;
        assert!(from <= to, "records only go down");
        let written_bytes = added.iter().map(Placed::bytes).sum();
        let version = self.store.commit(|latest| self.edit(latest, &inputs, added, to, run_number))?;
        let counters = &self.store.context.counters;
        counters.compactions.add(1);
        counters.compacted_bytes_in.add(read_bytes);
        counters.compacted_bytes_out.add(written_bytes);
        Ok(version)
    }

    /// Writes what is to be kept of the records in `runs`, and checks that every record was seen.
    fn merge_records(
        &self,
        runs: &[Arc<Run<Table>>],
        to: usize,
        expected: u64,
        outputs: &mut Outputs<'_>,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> std::result::Result<(), Stop> {
        let sources = runs.iter().map(|run| Source::Run(RunIter::new(Arc::clone(run), Access::Disk, 0)));
        let mut merge = Merge::new(sources.collect());
        let mut filter = Filter::new(self, to);
        let mut unpaced_bytes = 0;
        merge.seek(b"")?;
        while merge.valid() {
            let (key, index, value) = (merge.key(), merge.index(), merge.value());
            unpaced_bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
            if filter.keeps(key, index, value)? {
                outputs.add(key, index, value, merge.is_cached())?;
            }
            if unpaced_bytes >= PACE_BYTES {
                self.store.leaves_room(2 * self.store.options.memtable_bytes as u64)?;
                let merging = &self.store.merging_bytes;
                merging
                    .store(merging.load(Ordering::Relaxed).saturating_sub(unpaced_bytes), Ordering::Relaxed);
                if pace(std::mem::take(&mut unpaced_bytes)).is_break() {
                    return Err(Stop::Asked);
                }
            }
            merge.next()?;
        }
        let seen = outputs.records() + filter.dropped + merge.shadowed();
        assert!(seen == expected, "a compaction saw {seen} of {expected} records");
        self.store.context.counters.dead_records_dropped.add(filter.dead);
        Ok(())
    }

    /// Returns the edit that replaces the inputs by the outputs. Graves that were flushed meanwhile are applied to these.
    fn edit(
        &self,
        latest: &Version<Table>,
        inputs: &BTreeSet<u64>,
        mut added: Vec<Placed<Table>>,
        level: usize,
        run: u64,
    ) -> Result<Edit<Table>> {
        if let Some(family) = self.store.options.graves {
            let known: BTreeSet<u64> = self.version.tables().map(Placed::id).collect();
            let graves = graves_in(latest, family, |id| !known.contains(&id))?;
            for placed in &mut added {
                dead_in(placed, &graves)?;
            }
        }
        let added = added.into_iter().map(|placed| Listed { level, run, placed }).collect();
        Ok(Edit { removed: inputs.iter().copied().collect(), added, flushed: None })
    }
}

/// Decides which records are kept.
struct Filter<'a> {
    graves: Option<Graves>,
    graves_family: Option<u8>,
    holders: Option<Holders>,
    version: &'a Version<Table>,
    to: usize,
    /// For each level, the first table that does not end below the current key.
    below: [usize; LEVELS],
    dropped: u64,
    dead: u64,
}

impl<'a> Filter<'a> {
    fn new(job: &'a CompactionJob, to: usize) -> Filter<'a> {
        let graves_family = job.store.options.graves;
        let extra = job.memtable.as_ref().map(|memtable| Source::Memtable(memtable.cursor(Index::MAX)));
        let graves = graves_family.map(|family| Graves::new(&job.version, family, extra));
        let below = [0; LEVELS];
        let version = &*job.version;
        Filter { graves, graves_family, holders: None, version, to, below, dropped: 0, dead: 0 }
    }

    fn keeps(&mut self, key: &[u8], index: Index, value: Option<&[u8]>) -> Result<bool> {
        let is_dead = match &mut self.graves {
            Some(graves) => graves.is_dead(key, index)?,
            None => false,
        };
        self.dead += u64::from(is_dead);
        let is_dropped = is_dead
            || match value {
                None => !self.hides(key),
                Some(_) => self.graves_family == Some(key[0]) && !self.kills(&key[1..])?,
            };
        self.dropped += u64::from(is_dropped);
        Ok(!is_dropped)
    }

    /// Whether an older record of `key` may lie below the level that is written. Keys ascend from one call to the next.
    fn hides(&mut self, key: &[u8]) -> bool {
        if bugs::on(Bug::TombstoneDroppedEarly) {
            return false;
        }
        (self.to + 1..LEVELS).any(|level| {
            let tables = self.version.level(level).tables();
            let at = &mut self.below[level];
            while tables.get(*at).is_some_and(|placed| *placed.properties.max_key < *key) {
                *at += 1;
            }
            tables.get(*at).is_some_and(|placed| *placed.properties.min_key <= *key)
        })
    }

    /// Whether a grave with this prefix still has anything to kill.
    fn kills(&mut self, prefix: &[u8]) -> Result<bool> {
        if prefix.is_empty() {
            return Ok(false);
        }
        self.holders.get_or_insert_with(|| Holders::new(self.version)).hold(prefix)
    }
}
