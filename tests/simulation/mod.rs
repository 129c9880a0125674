//! The whole node on a simulated disk: the objects and inboxes of production, one thread, one seed.
//!
//! A run starts the node, lets clients write through it while inboxes are served and jobs complete in random order,
//! lets the machine die at any change of the disk, and starts it again; then every acknowledged write must be there, and
//! nothing that was not asked for. `SISYPHUSDB_SEED=n` runs one seed, `SISYPHUSDB_SEEDS=n` as many as that.

mod client;
mod cluster;
mod copy;
mod full_disk;
mod history;
mod lease;
mod permit;
mod waiting;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use sisyphusdb::{
    bugs::{self, Bug},
    executor::Input,
};

use self::world::{Met, Part, World};

/// Seeds of an ordinary run of the tests.
const SEEDS: u64 = 300;

/// Crashes in one run.
const LIVES: u32 = 5;

/// Runs one seed to its end; returns what it met and the hash of everything that the disk was asked for.
fn run(seed: u64) -> (Met, u64) {
    let mut world = World::new(seed);
    let mut plan = fastrand::Rng::with_seed(seed ^ 0x5eed);
    world.start();
    for _ in 0..LIVES {
        let steps = plan.u32(50..3_000);
        let dies_at = plan.bool().then(|| world.disk.changes() + plan.u64(1..600));
        world.run(steps, dies_at);
    }
    (world.met, world.disk.trace_hash())
}

/// As [`run`], on a disk that becomes full and has room again, again and again.
fn run_on_a_small_disk(seed: u64) -> (Met, u64) {
    let mut world = World::new(seed);
    let mut plan = fastrand::Rng::with_seed(seed ^ 0x5eed);
    world.start();
    for _ in 0..LIVES {
        world.run(plan.u32(50..1_000), None);
        world.set_room(Some(plan.u64(2_000..400_000)));
        for _ in 0..plan.u32(1..5) {
            world.work(plan.u32(50..1_000));
            world.tick();
        }
        let dies_at = plan.bool().then(|| world.disk.changes() + plan.u64(1..300));
        world.run(plan.u32(50..1_000), dies_at);
        world.set_room(None);
        for _ in 0..100 {
            world.tick();
            world.work(20);
        }
        let (acknowledged, without_room) = (world.met.acknowledged, world.met.without_room);
        world.work(2_000);
        assert!(world.met.acknowledged > acknowledged, "there is room again, and nothing is written");
        assert!(world.met.without_room <= without_room + 4, "there is room again, and writes are refused");
    }
    (world.met, world.disk.trace_hash())
}

/// Runs one seed, and says which it was if it fails.
fn run_reported(seed: u64) -> Result<(Met, u64), String> {
    reported(seed, run)
}

fn reported(seed: u64, run: fn(u64) -> (Met, u64)) -> Result<(Met, u64), String> {
    catch_unwind(AssertUnwindSafe(|| run(seed))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("seed {seed}: {}", text.unwrap_or_default())
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn a_node_keeps_what_it_acknowledged_through_crashes() {
    if let Some(seed) = number("SISYPHUSDB_SEED") {
        run(seed);
        return;
    }
    let mut met = Met::default();
    for seed in 0..number("SISYPHUSDB_SEEDS").unwrap_or(SEEDS) {
        match run_reported(seed) {
            Ok((one, _)) => met.add(one),
            Err(failure) => panic!("{failure}"),
        }
    }
    let floors = [
        (met.crashes, "crashes"),
        (met.acknowledged, "acknowledged writes"),
        (met.refusals, "refused proposals"),
        (met.loads, "cold reads"),
        (met.flushes, "flushes"),
        (met.compactions, "compactions"),
        (met.expired, "expired keys"),
        (met.swaps, "swaps of the shared counter"),
        (met.reads, "reads beside the executor"),
        (met.elections, "elections"),
    ];
    for (count, what) in floors {
        assert!(count >= 100, "only {count} {what} in {SEEDS} seeds: {met:?}");
    }
}

#[test]
fn a_full_disk_refuses_writes_and_ends_nothing() {
    let mut met = Met::default();
    for seed in 0..SEEDS / 10 {
        match reported(seed, run_on_a_small_disk) {
            Ok((one, _)) => met.add(one),
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(met.without_room >= 30 && met.acknowledged >= 300, "{met:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1_000..1_005 {
        assert_eq!(run(seed).1, run(seed).1, "seed {seed}");
    }
}

/// Asserts that one of the first `seeds` seeds fails while `bug` is switched on.
fn assert_caught(bug: Bug, seeds: u64) {
    let caught = bugs::with(bug, || (0..seeds).any(|seed| run_reported(seed).is_err()));
    assert!(caught, "{bug:?} was not noticed in {seeds} seeds");
}

#[test]
fn an_answer_before_its_entry_is_applied_is_noticed() {
    assert_caught(Bug::ReleaseAtProposal, 100);
}

#[test]
fn an_acknowledgement_before_the_sync_is_noticed() {
    assert_caught(Bug::AcknowledgeBeforeSync, 100);
}

#[test]
fn a_proposal_on_top_of_a_refused_one_is_noticed() {
    // It takes an entry that is refused, and a drain that goes on before the executor hears of it.
    assert_caught(Bug::ChainUnchecked, 1_000);
}

#[test]
fn a_watch_that_is_not_marked_is_noticed() {
    assert_caught(Bug::WatchIgnored, 100);
}

#[test]
fn a_leader_that_begins_before_its_no_op_is_noticed() {
    assert_caught(Bug::LeadershipBeforeNoop, 100);
}

#[test]
fn state_that_is_in_no_entry_is_noticed() {
    assert_caught(Bug::StateOutsideTree, 100);
}

#[test]
fn a_flush_that_records_too_high_an_index_is_noticed() {
    assert_caught(Bug::FlushIndexTooHigh, 100);
}

/// Lets a node work, takes a part of its data away, and asserts that it does not start again; with the rule switched off
/// it does, on a state that lacks acknowledged writes.
fn assert_refused(part: Part, flushed: bool, reason: &str) {
    let lose = || {
        let mut world = World::new(1);
        world.start();
        world.start_without(part, flushed)
    };
    let refused = lose().err().unwrap_or_else(|| panic!("it starts without {part:?}")).to_string();
    assert!(refused.contains(reason), "{part:?}: {refused}");
    let noticed = bugs::with(Bug::BootUnchecked, || {
        catch_unwind(AssertUnwindSafe(lose)).map_or(true, |recovered| recovered.is_err())
    });
    assert!(!noticed, "{part:?} is noticed elsewhere: the test shows nothing");
}

#[test]
fn a_node_that_lost_a_part_of_its_data_does_not_start() {
    assert_refused(Part::Log, false, "its log (shard-0/log) is missing");
    assert_refused(Part::Log, true, "its log (shard-0/log) is missing");
    assert_refused(Part::Tree, false, "its tree (shard-0/tree) is missing");
    assert_refused(Part::Shard, false, "is missing");
    assert_refused(Part::Shard, true, "is missing");
    assert_refused(Part::Meta, false, "`meta` is missing");
    assert_refused(Part::Meta, true, "`meta` is missing");
}

#[test]
fn a_node_whose_tables_are_ahead_of_its_log_does_not_start() {
    assert_refused(Part::Entries, true, "entries are missing");
}

#[test]
fn a_view_that_is_held_for_long_is_noticed_by_the_tick_alone() {
    for (input, is_noticed) in [((|| Input::Resume) as fn() -> Input, false), (|| Input::Tick, true)] {
        let mut world = World::new(7);
        world.start();
        assert_eq!(world.hold_a_view(input) >= 1, is_noticed);
    }
}

#[test]
fn a_row_that_is_older_than_it_says_is_noticed() {
    assert_caught(Bug::RowCacheStale, 300);
}
