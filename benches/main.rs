//! Micro-benchmarks, one module per question.

mod resp;

fn main() {
    divan::main();
}
