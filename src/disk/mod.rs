//! The disk: the only trait the cores know.
