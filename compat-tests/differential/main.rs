//! The differential test: random sequences of commands against a node of ours and against real servers.
//!
//! ```text
//! compat-tests/run                              with the servers it needs
//! SEED=7 SEQUENCES=1 compat-tests/run           one sequence, as after a failure
//! SEED=1000 SEQUENCES=100000 compat-tests/run   many more
//! ```
//!
//! All servers get the same requests over RESP2 and RESP3. Replies are compared as the command's row says, and after
//! each sequence everything that is stored. We follow Valkey. Where we do not, it must stand in `differences.tsv`, with
//! the exact replies and a reason, and with `redis` if Debian's Redis answers as we do; a line there that is not needed
//! fails the test too. Behind a reply in which Valkey and Redis differ a sequence is not compared any further.
#![allow(clippy::print_stdout, reason = "a program that reports to a terminal")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod compare;
mod generate;
mod process;
mod trial;
mod values;
mod wire;

use std::{
    collections::BTreeSet, env, net::SocketAddr, ops::Range, path::Path, process::ExitCode, time::Instant,
};

use self::{
    generate::{Generator, Step},
    process::Process,
    trial::{Difference, End, Trial},
};

/// Requests in a sequence.
const SEQUENCE_STEPS: usize = 100;
/// Sequences of each round, unless `SEQUENCES` says otherwise.
const SEQUENCES: u64 = 1_200;
/// Differences shown before a round gives up.
const FAILURES_MAX: usize = 20;
/// Lines of `differences.tsv`: it is for exceptions.
const STATED_MAX: usize = 40;

/// Where the variables of the environment say that the oracles are, and their versions.
const VALKEY: (&str, &str) = ("VALKEY_SERVER", "8.1.0");
const REDIS: (&str, &str) = ("REDIS_SERVER", "7.0.15");

/// A line of `differences.tsv`.
#[derive(Debug)]
struct Stated {
    command: &'static str,
    ours: &'static str,
    valkeys: &'static str,
    /// Whether Redis answers as we do.
    follows_redis: bool,
    is_needed: bool,
}

fn read_stated() -> Vec<Stated> {
    let lines: Vec<&str> =
        include_str!("../differences.tsv").lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() <= STATED_MAX, "differences.tsv has {} lines", lines.len());
    lines
        .into_iter()
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [command, ours, valkeys, follows @ ("redis" | "neither"), reason] if !reason.is_empty() => {
                Stated { command, ours, valkeys, follows_redis: follows == "redis", is_needed: false }
            }
            _ => panic!("not a line of five columns: {line}"),
        })
        .collect()
}

/// Whether a difference is stated, as it is; its line is needed, then.
fn is_stated(stated: &mut [Stated], difference: &Difference) -> bool {
    let line = stated.iter_mut().find(|line| {
        line.command == difference.command
            && line.ours == difference.ours
            && line.valkeys == difference.theirs
            && difference.second.as_ref().is_none_or(|second| (second == line.ours) == line.follows_redis)
    });
    line.map(|line| line.is_needed = true).is_some()
}

/// The shortest sequence that ends in a difference of the same command: leaves out as much as it can, from large parts
/// to single requests.
fn shrink(trial: &mut Trial, mut steps: Vec<Step>, mut difference: Difference) -> (Vec<Step>, Difference) {
    let mut part = steps.len() / 2;
    while part > 0 {
        let mut from = steps.len();
        while from > 0 {
            from = from.saturating_sub(part);
            let mut fewer = steps.clone();
            fewer.drain(from..steps.len().min(from + part));
            if let End::Difference(length, found) = trial.run(&fewer)
                && found.command == difference.command
            {
                fewer.truncate(length);
                from = from.min(length);
                (steps, difference) = (fewer, found);
            }
        }
        part /= 2;
    }
    (steps, difference)
}

fn report(seed: u64, steps: &[Step], difference: &Difference) {
    println!("\nSEED={seed}: {}", difference.command);
    for (at, step) in steps.iter().enumerate() {
        let joined = at > 0 && steps[at - 1].with_next && steps[at - 1].sender == step.sender;
        let words: Vec<String> =
            step.words.iter().map(|word| format!("\"{}\"", word.escape_ascii())).collect();
        println!("  {}{} {}", ["2>", "3>"][step.sender], if joined { "+" } else { " " }, words.join(" "));
    }
    println!("  ours   {}\n  valkey {}", difference.ours, difference.theirs);
    if let Some(second) = &difference.second {
        println!("  redis  {second}");
    }
}

/// Compares a node of ours with `oracles`, asking for what a server of `version` has. Returns how many differences were
/// found that are not stated.
fn round(
    oracles: &[SocketAddr],
    version: &str,
    seeds: Range<u64>,
    stated: &mut [Stated],
) -> Result<usize, String> {
    let program = Path::new(env!("CARGO_BIN_EXE_sisyphusdb"));
    let ours = Process::start(program, &["--http-port", "auto", "--dir", "."])?;
    let mut trial = Trial::new(ours.address, oracles);
    let started = Instant::now();
    let mut disagreements = 0;
    let mut reported = BTreeSet::new();
    for seed in seeds {
        let mut steps = Generator::new(seed, version).sequence(SEQUENCE_STEPS);
        let (length, difference) = match trial.run(&steps) {
            End::Same => continue,
            End::Disagreement => {
                disagreements += 1;
                continue;
            }
            End::Difference(length, difference) => (length, difference),
        };
        // Stated or not, behind a difference the servers may hold different things.
        if is_stated(stated, &difference) {
            continue;
        }
        steps.truncate(length);
        let (steps, difference) = shrink(&mut trial, steps, difference);
        if reported.insert((difference.command.clone(), difference.ours.clone(), difference.theirs.clone())) {
            report(seed, &steps, &difference);
        }
        if reported.len() == FAILURES_MAX {
            println!("… and perhaps more");
            break;
        }
    }
    println!(
        "{} oracle(s): {} requests in {} s, {} differences; the oracles disagreed {disagreements} times",
        oracles.len(),
        trial.requests,
        started.elapsed().as_secs(),
        reported.len(),
    );
    Ok(reported.len())
}

fn start((variable, _): (&str, &str)) -> Result<Process, String> {
    let program = env::var(variable)
        .map_err(|_| format!("{variable} does not name a server: start this with compat-tests/run"))?;
    Process::start(Path::new(&program), &["--save", ""])
}

/// Both rounds; returns how much is wrong.
fn compare_all(seeds: &Range<u64>, all_lines_needed: bool) -> Result<usize, String> {
    let (valkey, redis) = (start(VALKEY)?, start(REDIS)?);
    let mut stated = read_stated();
    // With both oracles: what both have. Then the rest, which is Valkey's alone.
    let mut wrong = round(&[valkey.address, redis.address], REDIS.1, seeds.clone(), &mut stated)?;
    wrong += round(&[valkey.address], VALKEY.1, seeds.clone(), &mut stated)?;
    for line in stated.iter().filter(|line| all_lines_needed && !line.is_needed) {
        wrong += 1;
        println!("differences.tsv states what did not happen: {line:?}");
    }
    Ok(wrong)
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn main() -> ExitCode {
    let (seed, sequences) = (number("SEED"), number("SEQUENCES"));
    let from = seed.unwrap_or(1);
    let seeds = from..from + sequences.unwrap_or(SEQUENCES);
    match compare_all(&seeds, seed.is_none() && sequences.is_none()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(what) => {
            println!("{what}");
            ExitCode::FAILURE
        }
    }
}
