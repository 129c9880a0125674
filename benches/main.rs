//! Micro-benchmarks, one module per question.
fn main() {
    divan::main();
}
