//! The names of the log's files, and an open segment.

use std::sync::Arc;

use super::{Position, record};
use crate::disk::{File, join};

/// A file in the log's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileName {
    Segment { number: u64, epoch: u64 },
    Spare(u64),
    Filling(u64),
}

impl FileName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix("segment-") {
            let (number, epoch) = rest.split_once('-')?;
            return Some(Self::Segment { number: parse_hex(number)?, epoch: parse_hex(epoch)? });
        }
        if let Some(rest) = name.strip_prefix("spare-") {
            return parse_hex(rest).map(Self::Spare);
        }
        parse_hex(name.strip_prefix("filling-")?).map(Self::Filling)
    }

    pub(super) fn path(self, dir: &str) -> String {
        let name = match self {
            Self::Segment { number, epoch } => format!("segment-{number:016x}-{epoch:016x}"),
            Self::Spare(id) => format!("spare-{id:016x}"),
            Self::Filling(id) => format!("filling-{id:016x}"),
        };
        join(dir, &name)
    }
}

/// Reads 16 digits in the one way that `path` writes them.
fn parse_hex(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits && text.len() == 16 { u64::from_str_radix(text, 16).ok() } else { None }
}

/// A segment that is part of the log.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: String,
    pub(super) file: Arc<dyn File>,
    pub(super) tag: u64,
    /// The last entry of the log before the segment.
    pub(super) before: Position,
}

impl Segment {
    pub(super) fn new(number: u64, epoch: u64, path: String, file: Arc<dyn File>, before: Position) -> Self {
        Self { number, path, file, tag: record::tag(epoch, number), before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not_ours() {
        for name in
            [FileName::Segment { number: 1, epoch: u64::MAX }, FileName::Spare(0), FileName::Filling(0xabc)]
        {
            assert_eq!(FileName::parse(name.path("log").strip_prefix("log/").unwrap()), Some(name));
        }
        for name in
            ["", "segment-1-2", "spare-", "spare-000000000000000A", "filling-00000000000000000", "LOCK"]
        {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
