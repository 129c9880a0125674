//! Micro-benchmarks, one module per question.

mod log;
mod resp;

fn main() {
    divan::main();
}
