//! A load generator that knows what it may expect: it writes seeded values, remembers which of them the server has
//! acknowledged, and afterwards, when the server was killed or the power cut, says whether one is missing.
//!
//! ```text
//! cargo bench --bench load -- --port 6379 --seconds 120 --keys 20000000 --ledger acknowledged
//! cargo bench --bench load -- --port 6379 --ledger acknowledged --verify 10000
//! ```
//!
//! It uses one thread by default, so that on two cores the server is what is measured.
#![allow(clippy::print_stdout, reason = "a report is what the program is for")]

mod client;
mod histogram;
mod options;
mod report;
mod resp;
mod verify;
mod workload;

use std::process::ExitCode;
use std::sync::Arc;

use crate::options::{Options, USAGE};
use crate::report::Report;
use crate::workload::{Ledger, Workload};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("load: {problem}");
            return ExitCode::FAILURE;
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether everything was as it must be.
fn run(options: &Options) -> std::io::Result<bool> {
    let workload = Workload { seed: options.seed, keys: options.keys, value_bytes: options.value_bytes };
    let ledger = match &options.ledger {
        Some(path) if path.exists() => Ledger::load(path, &workload)?,
        _ => Ledger::new(workload),
    };
    let ledger = Arc::new(ledger);
    if let Some(sample) = options.verify {
        let whole = verify::run(options, &ledger, sample)?;
        // What was read must still be there next time.
        options.ledger.iter().try_for_each(|path| ledger.save(path))?;
        return Ok(whole);
    }
    let workers: Vec<_> = (0..options.threads)
        .map(|thread| {
            let (options, ledger) = (options.clone(), Arc::clone(&ledger));
            std::thread::spawn(move || client::run_thread(&options, thread, &ledger))
        })
        .collect();
    let mut report = Report::default();
    for worker in workers {
        report.merge(&worker.join().expect("a worker that panics has found a bug of this program")?);
    }
    if let Some(path) = &options.ledger {
        ledger.save(path)?;
    }
    report.print(options);
    Ok(report.wrong == 0 && report.lost == 0 && report.errors == 0)
}
