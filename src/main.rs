//! The `sisyphusdb` binary.

fn main() {}
