//! Micro-benchmarks, one module per question.
mod cache;
mod memtable;

fn main() {
    divan::main();
}
