//! How much room the disk has for what would be written, and so what may be.
//!
//! What was promised is taken as used: memtables become tables, a merge may write as much as it reads, an entry in flight
//! is written to the log and again to a table. When [`Reserve::writes_bytes`] are left, only deletes are accepted, which
//! give room back in the end; when [`Reserve::log_bytes`] are left, nothing is that writes. What is accepted can always be
//! written, then, however late compaction makes room, and the log has room for what nobody asks for: entries of a new
//! leader, keys that became due.

use crate::lsm::{self, Tree};

/// The disk is asked again after writing this share (one in …) of the reserve.
const ASK_SHARE: u64 = 64;

/// Bytes of the disk that are kept free.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reserve {
    /// For the log: below, nothing is written.
    pub log_bytes: u64,
    /// For deletes, and the largest command: below, only deletes are.
    pub writes_bytes: u64,
}

/// What the room is enough for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Accepted {
    Reads,
    Deletes,
    #[default]
    Writes,
}

/// The room on the disk: asked for after every so many bytes that were written, and when told to.
#[derive(Debug)]
pub(super) struct Room {
    reserve: Reserve,
    accepted: Accepted,
    /// Bytes of entries applied since the disk was asked.
    unasked_bytes: u64,
}

impl Room {
    pub(super) fn new(reserve: Reserve) -> Self {
        assert!(
            reserve.log_bytes <= reserve.writes_bytes,
            "what is left for the log is part of what is left"
        );
        Self { reserve, accepted: Accepted::default(), unasked_bytes: u64::MAX }
    }

    /// So many bytes of entries were applied.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.unasked_bytes = self.unasked_bytes.saturating_add(bytes as u64);
    }

    /// Whether writes are refused, since there is too little room.
    pub(super) fn is_short(&self) -> bool {
        self.accepted != Accepted::Writes
    }

    /// Something else has changed, or may have: the disk is to be asked.
    pub(super) fn ask(&mut self) {
        self.unasked_bytes = u64::MAX;
    }

    /// Returns what may be written beside `in_flight_bytes` of entries that are on their way.
    ///
    /// # Errors
    /// The disk does not tell: whoever went on would write until it is full.
    pub(super) fn accepted(&mut self, tree: &Tree, in_flight_bytes: usize) -> lsm::Result<Accepted> {
        if self.unasked_bytes < self.reserve.writes_bytes / ASK_SHARE {
            return Ok(self.accepted);
        }
        let room_bytes = tree.room_bytes()?;
        self.unasked_bytes = 0;
        let accepted = self.judge(room_bytes.saturating_sub(2 * in_flight_bytes as u64), tree.lacks_room());
        if (accepted == Accepted::Writes) != (self.accepted == Accepted::Writes) {
            tracing::warn!(room_bytes, ?accepted, "the room on the disk has changed");
        }
        self.accepted = accepted;
        Ok(accepted)
    }

    fn judge(&self, room_bytes: u64, lacks_room: bool) -> Accepted {
        let Reserve { log_bytes, writes_bytes } = self.reserve;
        // More has to be free before writes go on than when they were stopped, so that it does not change all the time.
        let enough_bytes =
            if self.accepted == Accepted::Writes { writes_bytes } else { writes_bytes / 2 * 3 };
        if room_bytes < log_bytes {
            Accepted::Reads
        } else if room_bytes < enough_bytes || lacks_room {
            Accepted::Deletes
        } else {
            Accepted::Writes
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        disk::{Disk, SimDisk},
        keyspace,
    };

    #[test]
    fn a_disk_that_does_not_tell_how_much_is_left_ends_the_node() {
        let disk = SimDisk::new(1);
        let options = lsm::Options::new(keyspace::FAMILIES, Arc::new(lsm::Cache::new(4_000)), 8_000);
        let tree = Tree::open(Arc::new(disk.clone()), "tree", options).unwrap();
        let mut room = Room::new(Reserve { log_bytes: 100, writes_bytes: 200 });
        assert_eq!(room.accepted(&tree, 0).unwrap(), Accepted::Writes);
        disk.stop_at(disk.changes());
        disk.create_dir("any").unwrap_err();
        assert_eq!(room.accepted(&tree, 0).unwrap(), Accepted::Writes, "nothing was written since");
        room.ask();
        room.accepted(&tree, 0).unwrap_err();
    }

    #[test]
    fn writes_stop_before_deletes_and_go_on_with_some_distance() {
        let mut room = Room::new(Reserve { log_bytes: 100, writes_bytes: 200 });
        for (room_bytes, expected) in [
            (201, Accepted::Writes),
            (200, Accepted::Writes),
            (199, Accepted::Deletes),
            (250, Accepted::Deletes),
            (99, Accepted::Reads),
            (100, Accepted::Deletes),
            (299, Accepted::Deletes),
            (300, Accepted::Writes),
            (250, Accepted::Writes),
        ] {
            room.accepted = room.judge(room_bytes, false);
            assert_eq!(room.accepted, expected, "{room_bytes}");
        }
        assert_eq!(room.judge(1 << 40, true), Accepted::Deletes, "a job found no room");
        assert_eq!(room.judge(99, true), Accepted::Reads);
    }
}
