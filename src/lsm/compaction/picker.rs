//! Decides what is to be compacted: a function of a version.

use std::sync::Arc;

use crate::lsm::{
    Levels,
    version::{BOTTOM, LEVELS, Placed, Run, Version},
};

/// A level may overlap so many tables' worth of bytes in the level after the next, for each table that is moved.
const GRANDPARENT_TABLES_MAX: u64 = 10;
/// A merge that takes in more tables of the upper level than needed stays below so many tables' worth of bytes.
const EXPANDED_TABLES_MAX: u64 = 25;
/// Runs of level 0 are merged with each other, not into the base level, while that has this many times their bytes.
const LEVEL0_SHARE_MIN: u64 = 8;
/// A table with this share (one in …) of dead bytes is compacted for that alone.
const DEAD_SHARE: u64 = 4;
/// So is one with this share of tombstones among its records.
const TOMBSTONE_SHARE: u64 = 2;

/// Why a plan was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lsm) enum Reason {
    /// Too many runs in level 0.
    Runs,
    /// A level is larger than its share.
    Size,
    /// A table holds many dead records or tombstones.
    Garbage,
}

/// What to do. Tables are given by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lsm) enum Plan {
    /// Drops tables without reading them.
    Drop { tables: Vec<u64> },
    /// Makes tables part of another level as they are.
    Move { tables: Vec<u64>, to: usize, reason: Reason },
    /// Merges tables of the levels `from` and `to` into new ones of level `to`. They may be the same level.
    Merge { inputs: Vec<u64>, from: usize, to: usize, reason: Reason },
}

/// Returns the most urgent compaction, or `None` if there is nothing to do.
pub(in crate::lsm) fn pick<T>(version: &Version<T>, levels: &Levels) -> Option<Plan> {
    let dead: Vec<u64> = version.tables().filter(|placed| placed.is_dead()).map(Placed::id).collect();
    if !dead.is_empty() {
        return Some(Plan::Drop { tables: dead });
    }
    let picker = Picker { version, levels, targets: Targets::new(version, levels) };
    let runs = version.level0.len() as u64 * 1000 / levels.level0_runs as u64;
    let mut scores: Vec<(u64, usize)> = (1..BOTTOM).map(|level| (picker.score(level), level)).collect();
    scores.push((runs, 0));
    scores.sort_by_key(|&(score, level)| (std::cmp::Reverse(score), level));
    let urgent = scores.into_iter().take_while(|&(score, _)| score >= 1000);
    let mut plans = urgent.filter_map(|(_, level)| match level {
        0 => picker.level0(),
        _ => picker.deeper(level),
    });
    plans.next().or_else(|| picker.garbage())
}

/// Returns about how many bytes have to be merged until nothing is urgent.
pub(in crate::lsm) fn pending_bytes<T>(version: &Version<T>, levels: &Levels) -> u64 {
    let targets = Targets::new(version, levels);
    let level0 = if version.level0.len() >= levels.level0_runs {
        version.level0.iter().map(|run| run.bytes()).sum()
    } else {
        0
    };
    (1..BOTTOM).map(|level| version.level(level).bytes().saturating_sub(targets.bytes[level])).sum::<u64>()
        + level0
}

/// How large the levels should be.
struct Targets {
    /// The level that level 0 is merged into.
    base: usize,
    /// By level. 0 above the base level; the bottom has no limit.
    bytes: [u64; LEVELS],
}

impl Targets {
    fn new<T>(version: &Version<T>, levels: &Levels) -> Targets {
        let largest = version.deeper.iter().map(|run| run.bytes()).max().unwrap_or(0);
        let mut bytes = [0; LEVELS];
        bytes[BOTTOM] = u64::MAX;
        let mut base = BOTTOM;
        let mut target = largest;
        while base > 1 && target > levels.base_bytes {
            base -= 1;
            target /= levels.fan_out;
            bytes[base] = target.max(levels.base_bytes / levels.fan_out).max(1);
        }
        // What stands above the base level is newer than what is in it: nothing may pass it by.
        let first_used =
            (1..LEVELS).find(|&level| !version.level(level).tables().is_empty()).unwrap_or(BOTTOM);
        Targets { base: base.min(first_used), bytes }
    }
}

struct Picker<'a, T> {
    version: &'a Version<T>,
    levels: &'a Levels,
    targets: Targets,
}

impl<T> Picker<'_, T> {
    /// Returns how urgent it is to make `level` smaller: from 1000 on, it is larger than it should be.
    fn score(&self, level: usize) -> u64 {
        let bytes: u64 = self.version.level(level).tables().iter().map(weight).sum();
        bytes.saturating_sub(1).saturating_mul(1000) / self.targets.bytes[level].max(1)
    }

    /// Merges what overlaps in level 0 into the base level. Tables that overlap, directly or through others, go together:
    /// then the order of runs is kept.
    fn level0(&self) -> Option<Plan> {
        let to = self.targets.base;
        let base = self.version.level(to);
        let mut moved = Vec::new();
        let mut largest: Option<(usize, Cluster<'_, T>)> = None;
        for cluster in clusters(&self.version.level0) {
            let below = base.overlapping(cluster.min_key(), &cluster.max_key);
            if let [only] = cluster.tables[..]
                && below.is_empty()
                && self.may_move(only, 0, to)
            {
                moved.push(only.id());
            }
            let tables = cluster.tables.len();
            if largest.as_ref().is_none_or(|(most, _)| *most < tables) {
                largest = Some((tables, cluster));
            }
        }
        if !moved.is_empty() {
            return Some(Plan::Move { tables: moved, to, reason: Reason::Runs });
        }
        let (_, cluster) = largest?;
        let below = base.overlapping(cluster.min_key(), &cluster.max_key);
        let bytes: u64 = cluster.tables.iter().map(|placed| placed.bytes()).sum();
        let below_bytes: u64 = below.iter().map(Placed::bytes).sum();
        let mut inputs: Vec<u64> = cluster.tables.iter().map(|placed| placed.id()).collect();
        if cluster.tables.len() > 1 && bytes.saturating_mul(LEVEL0_SHARE_MIN) <= below_bytes {
            return Some(Plan::Merge { inputs, from: 0, to: 0, reason: Reason::Runs });
        }
        inputs.extend(below.iter().map(Placed::id));
        Some(Plan::Merge { inputs, from: 0, to, reason: Reason::Runs })
    }

    /// Merges the table of `level` that costs least for its size into the next level.
    fn deeper(&self, level: usize) -> Option<Plan> {
        let next = self.version.level(level + 1);
        let cost = |placed: &Placed<T>| {
            let overlap: u64 = below(next, placed).iter().map(Placed::bytes).sum();
            overlap.saturating_mul(1000) / weight(placed).max(1)
        };
        let tables = self.version.level(level).tables();
        let chosen = tables.iter().min_by_key(|placed| (cost(placed), placed.id()))?;
        Some(self.down(level, chosen, Reason::Size))
    }

    /// Compacts a table for the garbage in it alone.
    fn garbage(&self) -> Option<Plan> {
        for level in (1..LEVELS).rev() {
            let has_dead = |placed: &&Placed<T>| placed.dead_bytes > placed.bytes() / DEAD_SHARE;
            let has_tombstones = |placed: &&Placed<T>| {
                level < BOTTOM && placed.properties.tombstones > placed.properties.records / TOMBSTONE_SHARE
            };
            let mut tables = self.version.level(level).tables().iter();
            if let Some(placed) = tables.find(|placed| has_dead(placed) || has_tombstones(placed)) {
                if level == BOTTOM {
                    let inputs = vec![placed.id()];
                    return Some(Plan::Merge { inputs, from: BOTTOM, to: BOTTOM, reason: Reason::Garbage });
                }
                return Some(self.down(level, placed, Reason::Garbage));
            }
        }
        None
    }

    /// Brings a table of `level` to the next one.
    fn down(&self, level: usize, placed: &Placed<T>, reason: Reason) -> Plan {
        let to = level + 1;
        let next = self.version.level(to);
        let lower = below(next, placed);
        if lower.is_empty() && self.may_move(placed, level, to) {
            return Plan::Move { tables: vec![placed.id()], to, reason };
        }
        let upper = self.expanded(level, placed, lower);
        let inputs = upper.iter().chain(lower).map(Placed::id).collect();
        Plan::Merge { inputs, from: level, to, reason }
    }

    /// Returns the tables of `level` that can come along with `placed` without a table of the next level more than the
    /// `lower` ones having to be read.
    fn expanded<'v>(&'v self, level: usize, placed: &'v Placed<T>, lower: &[Placed<T>]) -> &'v [Placed<T>] {
        let alone = std::slice::from_ref(placed);
        let (Some(first), Some(last)) = (lower.first(), lower.last()) else { return alone };
        let min_key = (&first.properties.min_key).min(&placed.properties.min_key);
        let max_key = (&last.properties.max_key).max(&placed.properties.max_key);
        let upper = self.version.level(level).overlapping(min_key, max_key);
        let (Some(leftmost), Some(rightmost)) = (upper.first(), upper.last()) else { return alone };
        let needed = self
            .version
            .level(level + 1)
            .overlapping(&leftmost.properties.min_key, &rightmost.properties.max_key);
        let bytes: u64 = upper.iter().chain(needed).map(Placed::bytes).sum();
        let is_cheap = needed.len() == lower.len() && bytes <= EXPANDED_TABLES_MAX * self.levels.table_bytes;
        if is_cheap { upper } else { alone }
    }

    /// Whether a table that overlaps nothing in `to` may go there as it is: it is stored as that level's tables are, later merges
    /// of it stay small, and its tombstones still have something to hide.
    fn may_move(&self, placed: &Placed<T>, from: usize, to: usize) -> bool {
        let is_compressed = |level: usize| level >= self.levels.compress_from;
        let after = (to + 1..LEVELS).map(|level| below(self.version.level(level), placed));
        let mut after_bytes = after.map(|tables| tables.iter().map(Placed::bytes).sum::<u64>());
        let grandparents = after_bytes.next().unwrap_or(0);
        let hides = grandparents > 0 || after_bytes.any(|bytes| bytes > 0);
        is_compressed(from) == is_compressed(to)
            && grandparents <= GRANDPARENT_TABLES_MAX * self.levels.table_bytes
            && (placed.properties.tombstones == 0 || hides)
            && placed.dead_bytes == 0
    }
}

/// Returns the size of a table as the picker sees it: what it lets be dropped counts twice.
fn weight<T>(placed: &Placed<T>) -> u64 {
    let properties = &placed.properties;
    placed.bytes() + placed.dead_bytes + 2 * properties.tombstones * properties.record_bytes()
}

fn below<'v, T>(run: &'v Run<T>, placed: &Placed<T>) -> &'v [Placed<T>] {
    run.overlapping(&placed.properties.min_key, &placed.properties.max_key)
}

/// Tables of level 0 that overlap each other, directly or through others, by their first keys.
struct Cluster<'v, T> {
    tables: Vec<&'v Placed<T>>,
    max_key: bytes::Bytes,
}

impl<T> Cluster<'_, T> {
    fn min_key(&self) -> &[u8] {
        &self.tables[0].properties.min_key
    }
}

fn clusters<T>(level0: &[Arc<Run<T>>]) -> Vec<Cluster<'_, T>> {
    let mut tables: Vec<&Placed<T>> = level0.iter().flat_map(|run| run.tables()).collect();
    tables.sort_by(|a, b| (&a.properties.min_key, a.id()).cmp(&(&b.properties.min_key, b.id())));
    let mut clusters: Vec<Cluster<'_, T>> = Vec::new();
    for placed in tables {
        let max_key = placed.properties.max_key.clone();
        match clusters.last_mut() {
            Some(last) if placed.properties.min_key <= last.max_key => {
                last.tables.push(placed);
                last.max_key = max_key.max(last.max_key.clone());
            }
            _ => clusters.push(Cluster { tables: vec![placed], max_key }),
        }
    }
    clusters
}
