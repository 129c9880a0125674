//! The commands, one file per documentation group.
