//! The imperative shell: it moves, it decides nothing.
