//! The bytes of one simulated file: as programs see them, as the platter holds them, and what lies between.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

use fastrand::Rng;

use super::Survival;

/// A change that no sync has covered yet.
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// The contents of a file.
#[derive(Default)]
pub(super) struct Image {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

impl Image {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// Whether a crash now would leave the contents as they are.
    pub(super) fn is_durable(&self) -> bool {
        self.unsynced.is_empty() && self.live == self.durable
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: usize) -> io::Result<()> {
        let part = self.live.get(offset..offset.saturating_add(buffer.len()));
        buffer.copy_from_slice(part.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let change = Change::Write { offset, bytes: bytes.to_vec() };
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let change = Change::SetLen(len);
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync that failed: what it should have written is partly durable, and the rest never will be, though programs
    /// still read it and a second sync succeeds.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        for change in self.unsynced.drain(..) {
            if rng.bool() {
                change.apply(&mut self.durable);
            }
        }
    }

    /// Shows what is durable, unless changes wait for a sync.
    pub(super) fn refresh(&mut self) {
        if self.unsynced.is_empty() {
            self.live.clone_from(&self.durable);
        }
    }

    pub(super) fn flip(&mut self, byte: usize, bit: u32) {
        for image in [&mut self.live, &mut self.durable] {
            if let Some(byte) = image.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Loses what was not synced: each page takes, of the changes that touch it, the first few, and the last of these
    /// may be torn.
    pub(super) fn crash(&mut self, survival: Survival, page_bytes: usize, rng: &mut Rng) {
        let changes = std::mem::take(&mut self.unsynced);
        let lens: Vec<usize> = changes
            .iter()
            .scan(self.durable.len(), |len, change| {
                *len = change.len_after(*len);
                Some(*len)
            })
            .collect();
        let kept_len = match survival.choose(lens.len(), rng) {
            0 => self.durable.len(),
            count => lens[count - 1],
        };
        let longest = lens.iter().copied().max().unwrap_or(0).max(self.durable.len());
        let mut image = self.durable.clone();
        image.resize(longest, 0);
        for page in touched_pages(&changes, longest, page_bytes) {
            let start = page * page_bytes;
            let end = (start + page_bytes).min(longest);
            let touching: Vec<&Change> = changes.iter().filter(|change| change.touches(start, end)).collect();
            let kept = survival.choose(touching.len(), rng);
            for (number, change) in touching[..kept].iter().enumerate() {
                let torn = survival == Survival::Mixed && number + 1 == kept && rng.u8(..4) == 0;
                change.apply_within(&mut image, start, if torn { rng.usize(start..=end) } else { end });
            }
        }
        image.resize(kept_len, 0);
        self.live.clone_from(&image);
        self.durable = image;
    }
}

impl Change {
    fn len_after(&self, len: usize) -> usize {
        match self {
            Self::Write { offset, bytes } => len.max(offset + bytes.len()),
            Self::SetLen(len) => *len,
        }
    }

    fn apply(&self, image: &mut Vec<u8>) {
        image.resize(self.len_after(image.len()), 0);
        if let Self::Write { offset, bytes } = self {
            image[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }

    fn touches(&self, start: usize, end: usize) -> bool {
        match self {
            Self::Write { offset, bytes } => *offset < end && start < offset + bytes.len(),
            Self::SetLen(len) => *len < end,
        }
    }

    /// Applies the part that lies in `start..end`, in an image that is long enough.
    fn apply_within(&self, image: &mut [u8], start: usize, end: usize) {
        match self {
            Self::Write { offset, bytes } => {
                let from = start.max(*offset);
                let to = end.min(offset + bytes.len());
                if from < to {
                    image[from..to].copy_from_slice(&bytes[from - offset..to - offset]);
                }
            }
            Self::SetLen(len) => {
                let from = start.max(*len);
                if from < end {
                    image[from..end].fill(0);
                }
            }
        }
    }
}

fn touched_pages(changes: &[Change], longest: usize, page_bytes: usize) -> BTreeSet<usize> {
    let mut pages = BTreeSet::new();
    for change in changes {
        let (start, end) = match change {
            Change::Write { offset, bytes } => (*offset, offset + bytes.len()),
            Change::SetLen(len) => (*len, longest),
        };
        pages.extend(start / page_bytes..end.div_ceil(page_bytes));
    }
    pages
}
