//! Flush: writes a sealed memtable as one run of level 0.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Index, Installed, Position, Result,
    compaction::{Outputs, dead_in},
    memtable::Memtable,
    store::Store,
    table::Table,
    version::{Edit, Flushed, Listed, Version},
};
use crate::bugs::{self, Bug};

/// Writes one sealed memtable to tables and records, in the edit that adds them, how far it reached. It may take its time:
/// readers and the writer go on.
#[must_use = "a memtable stays in memory until it is flushed"]
pub struct FlushJob {
    pub(super) store: Arc<Store>,
    /// `None` if only entries without effects were applied.
    pub(super) memtable: Option<Arc<Memtable>>,
    /// The entry before the first one that the memtable can hold.
    pub(super) after: Position,
    /// The last entry in the memtable, fixed when it was sealed.
    pub(super) last: Position,
    /// The membership at that entry.
    pub(super) membership: Bytes,
}

impl FlushJob {
    /// Runs the job.
    ///
    /// # Errors
    /// Any error is fatal for the node; that the disk has no room is none, since the log has what the memtable has.
    pub fn run(self) -> Result<Installed> {
        let installed = match self.write() {
            Ok(version) => Installed::flush(version),
            Err(error) if error.is_no_room() => {
                tracing::warn!(%error, "the disk has no room for a memtable, which is kept");
                Installed::flush_without_room()
            }
            Err(error) => return Err(error),
        };
        self.store.empty_trash()?;
        Ok(installed)
    }

    fn write(&self) -> Result<Arc<Version<Table>>> {
        assert!(self.after <= self.last, "a memtable ends after it begins");
        let mut outputs = Outputs::new(&self.store, 0, self.after.index + 1);
        let mut graves = Vec::new();
        if let Some(memtable) = &self.memtable {
            self.store.leaves_room(memtable.used_bytes())?;
            let mut cursor = memtable.cursor(self.last.index);
            cursor.seek_first();
            while cursor.valid() {
                outputs.add(cursor.key(), cursor.index(), cursor.value(), false)?;
                if self.store.options.graves.is_some_and(|family| cursor.key()[0] == family)
                    && cursor.value().is_some()
                {
                    graves.push((Bytes::copy_from_slice(&cursor.key()[1..]), cursor.index()));
                }
                cursor.next();
            }
        }
        let added = outputs.finish()?;
        let written_bytes = added.iter().map(|placed| placed.bytes()).sum();
        let position = self.recorded_position();
        let version = self.store.commit(|latest| {
            assert!(
                latest.flushed.position == self.after,
                "memtables are flushed in the order they were filled"
            );
            let mut edit = Edit {
                flushed: Some(self.flushed(position, latest.flushed.log_reset_pending)),
                ..Edit::default()
            };
            mark_dead(latest.listed(), &graves, &mut edit)?;
            let run = 1 + latest.level0.first().map_or(0, |newest| newest.number);
            edit.added.extend(added.into_iter().map(|placed| Listed { level: 0, run, placed }));
            Ok(edit)
        })?;
        let counters = &self.store.context.counters;
        counters.flushes.add(1);
        counters.flushed_bytes.add(written_bytes);
        Ok(version)
    }

    fn flushed(&self, position: Position, log_reset_pending: bool) -> Flushed {
        Flushed { position, membership: self.membership.clone(), log_reset_pending }
    }

    fn recorded_position(&self) -> Position {
        let mut position = self.last;
        if bugs::on(Bug::FlushIndexTooHigh) {
            position.index += 1;
        }
        position
    }
}

/// Adds to `edit` what `graves` make known of the tables that are there.
fn mark_dead(
    tables: impl Iterator<Item = Listed<Table>>,
    graves: &[(Bytes, Index)],
    edit: &mut Edit<Table>,
) -> Result<()> {
    if graves.is_empty() {
        return Ok(());
    }
    for mut listed in tables {
        if dead_in(&mut listed.placed, graves)? {
            edit.removed.push(listed.placed.id());
            edit.added.push(listed);
        }
    }
    Ok(())
}
