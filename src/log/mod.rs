//! The log on disk, which is the write-ahead log.
