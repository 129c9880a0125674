//! Our engine beside others on the same work: how fast, how much is written, what the filters save.
//!
//! ```text
//! cargo run --release --manifest-path benches/rivals/Cargo.toml -- engines
//! apt-get install librocksdb-dev libclang-dev
//! ROCKSDB_LIB_DIR=/usr/lib/x86_64-linux-gnu ROCKSDB_INCLUDE_DIR=/usr/include \
//!   cargo run --release --features rocksdb --manifest-path benches/rivals/Cargo.toml -- engines
//! ```

mod engine;
mod fjall;
mod memtables;
#[cfg(test)]
mod model;
mod ours;
#[cfg(feature = "rocksdb")]
mod rocks;
mod workload;

use crate::workload::Measure;

fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let records = args.next().map_or(2_000_000, |text| text.parse().expect("the number of records"));
    match what.as_str() {
        "engines" => engines(records),
        "memtables" => memtables::run(5),
        _ => println!("usage: sisyphusdb-rivals engines [records] | memtables"),
    }
}

/// Three rounds of each engine in turns; the median of each workload.
fn engines(records: u64) {
    let rounds = 3;
    let mut results: Vec<(&str, Vec<Vec<Measure>>)> = Vec::new();
    let mut enter = |name, run: fn(u64, u64) -> Vec<Measure>, round: u64| {
        let measures = run(records, round);
        match results.iter_mut().find(|(of, _)| *of == name) {
            Some((_, rounds)) => rounds.push(measures),
            None => results.push((name, vec![measures])),
        }
    };
    for round in 0..rounds {
        enter("sisyphusdb", workload::run::<ours::Ours>, round);
        enter("lsm-tree", workload::run::<fjall::Fjall>, round);
        #[cfg(feature = "rocksdb")]
        enter("rocksdb", workload::run::<rocks::Rocks>, round);
    }
    println!("{records} records, {rounds} rounds, medians\n");
    println!(
        "| workload | engine | ns/op | ns/op until at rest | CPU ns/op | write amplification | useful filters |"
    );
    println!("|---|---|---|---|---|---|---|");
    for place in 0..results[0].1[0].len() {
        for (name, rounds) in &results {
            print_row(name, rounds.iter().map(|measures| &measures[place]).collect());
        }
    }
}

fn print_row(engine: &str, mut rounds: Vec<&Measure>) {
    let per = |time: std::time::Duration, measure: &Measure| time.as_nanos() as u64 / measure.operations;
    rounds.sort_by_key(|measure| measure.busy);
    let median = rounds[rounds.len() / 2];
    let amplification = median.write_amplification.map_or("–".to_owned(), |times| format!("{times:.2}"));
    let filters = median.filters.map_or("–".to_owned(), |(_, useful, wrong)| {
        format!("{:.2} %", 100.0 * useful as f64 / (useful + wrong).max(1) as f64)
    });
    let [active, settled, busy] = [median.elapsed, median.settled, median.busy].map(|time| per(time, median));
    println!(
        "| {} | {engine} | {active} | {settled} | {busy} | {amplification} | {filters} |",
        median.workload
    );
}
