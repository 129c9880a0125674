//! Atomics and locks: the standard library's, or loom's under `--cfg sisyphus_loom`.
