//! The batch of seeds, what it must have met, and the planted bugs that it notices.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use sisyphusdb::bugs::{self, Bug};

use super::{super::number, met::Met, run};

/// Seeds of an ordinary run of the tests.
const SEEDS: u64 = 2_000;

/// What a batch of so many seeds must have met at least.
const FLOORS: &[(&str, u64)] = &[
    ("operations", 500 * SEEDS),
    ("operations of unknown outcome", 10_000),
    ("acknowledged writes", 20_000),
    ("swaps of the shared counter", 5_000),
    ("reads from a lease", 20_000),
    ("reads from a lease during a partition", 5_000),
    ("reads from a read index", 5_000),
    ("reads on followers", 20_000),
    ("reads of keys that are due", 500),
    ("crashes", 3_000),
    ("torn tails", 50),
    ("damaged logs that were refused", 40),
    ("nodes ended by their disk", 500),
    ("full disks", 2_000),
    ("wiped disks", 100),
    ("stalls longer than an election", 2_000),
    ("stalls longer than five seconds", 200),
    ("pauses longer than an election", 2_000),
    ("wall clocks set", 2_000),
    ("nodes whose streams were reset", 2_000),
    ("partitions", 4_000),
    ("asymmetric partitions", 1_000),
    ("elections", 3_000),
    ("answers lost with a leadership", 5_000),
    ("truncations", 100),
    ("fetches", 10_000),
    ("flushes", 3_000),
    ("compactions", 6_000),
    ("snapshots", 300),
    ("snapshots that were not needed", 4),
    ("snapshots that were held", 10),
    ("snapshots that were refused", 10),
    ("transfers", 4_000),
    ("changes of the membership", 500),
    ("joint changes left", 1_000),
    ("joint changes aborted", 40),
    ("leaders that died in a joint change", 60),
    ("replacements asked for", 20),
];

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Runs seeds on all processors, with a bug or none, until one fails or all are done. Returns the first that failed, and
/// why.
fn first_failure(seeds: u64, bug: Option<Bug>, met: &Mutex<Met>) -> Option<(u64, String)> {
    let (next, failures) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let seed = next.fetch_add(1, Ordering::Relaxed)
            && seed < seeds
            && failures.lock().unwrap().is_empty()
        {
            let one = || catch_unwind(AssertUnwindSafe(|| run(seed)));
            match bug.map_or_else(one, |bug| bugs::with(bug, one)) {
                Ok((of, _)) => met.lock().unwrap().merge(&of),
                Err(panic) => failures.lock().unwrap().push((seed, text_of(&*panic))),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    failures.into_iter().next()
}

#[test]
fn a_cluster_keeps_what_it_acknowledged_through_everything() {
    if let Some(seed) = number("SISYPHUSDB_SEED") {
        let (met, trace) = run(seed);
        eprintln!("seed {seed}: trace {trace:016x}, {met:?}");
        return;
    }
    let met = Mutex::default();
    let seeds = number("SISYPHUSDB_SEEDS").unwrap_or(SEEDS);
    if let Some((seed, why)) = first_failure(seeds, None, &met) {
        panic!("seed {seed}: {why}");
    }
    let met = met.into_inner().unwrap();
    eprintln!("{met:?}");
    for (what, floor) in FLOORS {
        let floor = floor * seeds.min(SEEDS) / SEEDS;
        assert!(met.of(what) >= floor, "only {} {what} in {seeds} seeds: {met:?}", met.of(what));
    }
}

/// The bugs that the cluster notices, each within this many seeds. `docs/planted-bugs.md` says what notices the others.
const NOTICED: &[(Bug, u64)] = &[
    (Bug::AcknowledgeBeforeSync, 60),
    (Bug::LogSyncRetried, 60),
    (Bug::FlushIndexTooHigh, 60),
    (Bug::ReleaseAtProposal, 60),
    (Bug::WatchIgnored, 60),
    (Bug::LeadershipBeforeNoop, 60),
    (Bug::StateOutsideTree, 60),
    (Bug::AnswersOutliveLeadership, 60),
    (Bug::UnknownToldAsNotDone, 60),
    (Bug::TimeByWallClock, 300),
    (Bug::LeaseBehindFollowers, 300),
    (Bug::RaftVoteForgotten, 60),
    (Bug::RaftLeadBeforeVoteDurable, 60),
    (Bug::RaftTermToldBeforeDurable, 60),
    (Bug::RaftVoteForOlderLog, 150),
    (Bug::RaftTruncateUnchecked, 60),
    (Bug::RaftHeartbeatCommitsUnknown, 300),
    (Bug::RaftAcknowledgeBeforeDurable, 60),
    (Bug::RaftCountSelfBeforeDurable, 60),
    (Bug::RaftDurableAfterTruncation, 150),
    (Bug::RaftReadIndexForgotten, 60),
    (Bug::RaftReadBeforeNoop, 300),
    (Bug::RaftLeaseAfterTransfer, 300),
    (Bug::RaftSnapshotWithoutMembership, 300),
    (Bug::LeaseOnOldView, 300),
    (Bug::RollbackForgetsCounts, 60),
    (Bug::ExpiryForgetsTtlEntry, 60),
    (Bug::EditBeforeTableSync, 60),
    (Bug::LogOldSegmentUnsynced, 150),
    (Bug::LogRecycledRecordTaken, 150),
];

#[test]
fn a_cluster_notices_planted_bugs() {
    for (bug, within) in NOTICED {
        match first_failure(*within, Some(*bug), &Mutex::default()) {
            Some((seed, why)) => {
                eprintln!("{bug:?}: seed {seed}: {}", why.lines().next().unwrap_or_default());
            }
            None => panic!("{bug:?} is not noticed within {within} seeds"),
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_cluster() {
    for seed in 1_000..1_003 {
        assert_eq!(run(seed).1, run(seed).1, "seed {seed}");
    }
}

#[test]
fn the_page_of_planted_bugs_is_whole() {
    let read = |path: &str| {
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
    };
    let (page, source) = (read("docs/planted-bugs.md"), read("src/bugs.rs"));
    let (_, variants) = source.split_once("pub enum Bug {").unwrap();
    let (variants, _) = variants.split_once("\n}").unwrap();
    let names = variants.lines().map(str::trim).filter(|line| !line.starts_with("///") && !line.is_empty());
    for name in names.map(|line| line.trim_end_matches(" = 1,").trim_end_matches(',')) {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/planted-bugs.md has no row for {name}"));
        let noticed = NOTICED.iter().find(|(bug, _)| format!("{bug:?}") == name);
        let said = noticed.is_none_or(|(_, within)| row.contains(&format!("clusters, {within} seeds")));
        assert!(said, "docs/planted-bugs.md says of {name} what is not so: {row}");
    }
}
