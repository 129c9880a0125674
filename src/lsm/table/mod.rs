//! Tables: immutable sorted files, each of one family.
//!
//! A table is a row of *partitions* and an index over them. A partition is about as many data blocks as one index block
//! can list; a small table has one. So the index has two levels when the table is large, and reading one key loads one
//! small filter and one small index block, however large the table is.
//!
//! | part | |
//! |---|---|
//! | partitions | each: data blocks, then an index part |
//! | top | index block over the partitions |
//! | properties | see [`Properties`] |
//! | footer | the last 64 bytes |
//!
//! All parts but the footer are sealed as [blocks](super::block) are. An index part is an index block over the data blocks of the
//! partition, a [filter] over the keys in them (if the family wants one), and the length of the index block (4 bytes): one
//! look-up in the cache gives both. A record of an index block is a key that is not below any key of the data block and below all
//! keys after it, and the block's offset and length (both varints). A record of the top is such a key for a partition, and
//! offset and length of its index part.
//!
//! Footer:
//!
//! | field | bytes | |
//! |---|---|---|
//! | magic | 8 | `sisytbl\0` |
//! | version | 4 | 1 |
//! | id | 8 | the table's number, also in its name |
//! | top | 8 + 4 | offset and length |
//! | properties | 8 + 4 | offset and length |
//! | unused | 12 | zeros |
//! | checksum | 8 | XXH3-64 of the 56 bytes before |

pub(super) mod filter;
mod footer;
mod iter;
mod properties;
mod reader;
mod run;
mod writer;

pub(super) use iter::TableIter;
pub(super) use properties::Properties;
pub(super) use reader::{Found, Remains, Table, TableContext, successor};
pub(super) use run::RunIter;
pub(super) use writer::{TableFormat, TableWriter};

/// Returns the name of the table `id`.
pub(super) fn file_name(id: u64) -> String {
    format!("{id:06}.table")
}

/// Returns the id of the table of that name.
pub(super) fn file_id(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".table")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
