//! Files that segments are written into: prepared ahead of need, and taken back when a segment is cut.

use std::sync::Arc;

use super::segment::{FileName, Segment};
use super::{Options, Result, failed, unsynced};
use crate::disk::{Disk, File};

/// Zeros that are written and synced at once: small, since whoever waits for the log waits for this too.
pub(super) const FILL_BYTES: usize = 256 << 10;

static ZEROS: [u8; FILL_BYTES] = [0; FILL_BYTES];

/// A file that has the name of a segment, durably, and no head yet.
pub(super) struct Prepared {
    number: u64,
    epoch: u64,
    pub(super) path: String,
    pub(super) file: Arc<dyn File>,
}

/// A spare that is being written.
struct Filling {
    id: u64,
    file: Arc<dyn File>,
    filled: u64,
}

/// The files that wait to become segments.
pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    dir: String,
    options: Options,
    ready: Vec<FileName>,
    filling: Option<Filling>,
    next: Option<Prepared>,
    next_id: u64,
    /// File syncs so far.
    pub(super) syncs: u64,
}

impl Spares {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &str, options: Options) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            options,
            ready: Vec::new(),
            filling: None,
            next: None,
            next_id: 1,
            syncs: 0,
        }
    }

    /// Takes over what an earlier life of the node left: a spare is used, half of one is removed.
    pub(super) fn adopt(&mut self, name: FileName) -> Result<()> {
        match name {
            FileName::Spare(id) => {
                self.next_id = self.next_id.max(id + 1);
                let path = name.path(&self.dir);
                let file = self.disk.open(&path).map_err(failed("open", &path))?;
                let len = file.len().map_err(failed("measure", &path))?;
                if len != self.options.segment_bytes || self.ready.len() >= self.options.spares {
                    return self.remove(&path);
                }
                self.ready.push(name);
                Ok(())
            }
            FileName::Filling(_) => self.remove(&name.path(&self.dir)),
            FileName::Segment { .. } => panic!("a segment is no spare"),
        }
    }

    /// Does one short step towards the next segment being ready; false if it is, or if the disk has no room for one.
    pub(super) fn prepare(&mut self, number: u64, epoch: u64) -> Result<bool> {
        if self.next.is_some() {
            return Ok(false);
        }
        self.advance(number, epoch, FILL_BYTES as u64)
    }

    /// Returns the file of the segment `number`, made now if it is not ready.
    pub(super) fn take(&mut self, number: u64, epoch: u64) -> Result<Prepared> {
        loop {
            if let Some(next) = self.next.take() {
                assert_eq!((next.number, next.epoch), (number, epoch), "segments are made in order");
                return Ok(next);
            }
            // Now somebody waits for all of it: one sync is enough.
            if !self.advance(number, epoch, u64::MAX)? {
                self.begin_empty(number, epoch)?;
            }
        }
    }

    /// Takes back the file of a segment that was cut and that nobody reads, or removes it.
    pub(super) fn recycle(&mut self, segment: Arc<Segment>) -> Result<()> {
        let path = segment.path.clone();
        let len = segment.file.len().map_err(failed("measure", &path))?;
        // Someone who still reads it keeps the removed file; it must not be written under him.
        let unread = Arc::try_unwrap(segment).is_ok();
        if unread && len == self.options.segment_bytes {
            self.recycle_path(&path)?;
        } else {
            self.remove(&path)?;
        }
        self.sync_dir()
    }

    /// Makes a spare of a file of the right length; the directory is not synced.
    pub(super) fn recycle_path(&mut self, path: &str) -> Result<()> {
        if self.ready.len() >= self.options.spares {
            return self.remove(path);
        }
        let spare = FileName::Spare(self.take_id());
        self.disk.rename(path, &spare.path(&self.dir)).map_err(failed("rename", path))?;
        self.ready.push(spare);
        Ok(())
    }

    pub(super) fn remove(&self, path: &str) -> Result<()> {
        self.disk.remove(path).map_err(failed("remove", path))
    }

    pub(super) fn sync_dir(&self) -> Result<()> {
        self.disk.sync_dir(&self.dir).map_err(unsynced(&self.dir))
    }

    /// Whether the next segment can be had without room, or the disk has enough of it: for a spare, and as much again for
    /// whoever else writes.
    pub(super) fn has_room(&self) -> Result<bool> {
        Ok(!self.ready.is_empty() || self.has_free_bytes()?)
    }

    /// Whether so much of the disk is free that a little more or less does not matter.
    pub(super) fn has_free_bytes(&self) -> Result<bool> {
        let free_bytes = self.disk.free_bytes().map_err(failed("measure the room of", &self.dir))?;
        Ok(free_bytes >= 2 * self.options.segment_bytes)
    }

    /// Does a step; false if the disk has no room for it.
    fn advance(&mut self, number: u64, epoch: u64, fill_bytes: u64) -> Result<bool> {
        if let Some(spare) = self.ready.pop() {
            self.dedicate(spare, number, epoch)?;
            return Ok(true);
        }
        if self.filling.is_none() && !self.has_room()? {
            return Ok(false);
        }
        match self.fill(fill_bytes) {
            // Nothing that was promised depends on a spare.
            Err(error) if error.is_no_room() => {
                if let Some(filling) = self.filling.take() {
                    self.remove(&FileName::Filling(filling.id).path(&self.dir))?;
                }
                Ok(false)
            }
            result => result.map(|()| true),
        }
    }

    /// Makes an empty file the next segment, which grows with what is written.
    fn begin_empty(&mut self, number: u64, epoch: u64) -> Result<()> {
        let path = FileName::Segment { number, epoch }.path(&self.dir);
        let file = self.disk.create(&path).map_err(failed("create", &path))?;
        self.sync_dir()?;
        self.next = Some(Prepared { number, epoch, path, file });
        Ok(())
    }

    /// Gives a spare the name of the next segment.
    fn dedicate(&mut self, spare: FileName, number: u64, epoch: u64) -> Result<()> {
        let from = spare.path(&self.dir);
        let path = FileName::Segment { number, epoch }.path(&self.dir);
        self.disk.rename(&from, &path).map_err(failed("rename", &from))?;
        self.sync_dir()?;
        let file = self.disk.open(&path).map_err(failed("open", &path))?;
        self.next = Some(Prepared { number, epoch, path, file });
        Ok(())
    }

    /// Writes and syncs the next zeros of a new spare, at most `bytes_max`; the last ones make it one.
    fn fill(&mut self, bytes_max: u64) -> Result<()> {
        let Some(filling) = &mut self.filling else {
            let id = self.take_id();
            let path = FileName::Filling(id).path(&self.dir);
            let file = self.disk.create(&path).map_err(failed("create", &path))?;
            self.filling = Some(Filling { id, file, filled: 0 });
            return Ok(());
        };
        let path = FileName::Filling(filling.id).path(&self.dir);
        let end = filling.filled.saturating_add(bytes_max).min(self.options.segment_bytes);
        while filling.filled < end {
            let step = usize::try_from(end - filling.filled).unwrap_or(FILL_BYTES).min(FILL_BYTES);
            filling.file.write_at(&ZEROS[..step], filling.filled).map_err(failed("write", &path))?;
            filling.filled += step as u64;
        }
        filling.file.sync().map_err(unsynced(&path))?;
        self.syncs += 1;
        if filling.filled == self.options.segment_bytes {
            let spare = FileName::Spare(filling.id);
            self.disk.rename(&path, &spare.path(&self.dir)).map_err(failed("rename", &path))?;
            self.sync_dir()?;
            self.filling = None;
            self.ready.push(spare);
        }
        Ok(())
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }
}
