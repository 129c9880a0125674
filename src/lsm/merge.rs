//! Merges sources into one sequence of keys, in both directions.

use super::{Index, Result, memtable, table::RunIter};

/// Where records come from.
pub(super) enum Source {
    Memtable(memtable::Cursor),
    Run(RunIter),
}

impl Source {
    #[inline]
    fn valid(&self) -> bool {
        match self {
            Source::Memtable(cursor) => cursor.valid(),
            Source::Run(iter) => iter.valid(),
        }
    }

    #[inline]
    fn key(&self) -> &[u8] {
        match self {
            Source::Memtable(cursor) => cursor.key(),
            Source::Run(iter) => iter.key(),
        }
    }

    #[inline]
    fn value(&self) -> Option<&[u8]> {
        match self {
            Source::Memtable(cursor) => cursor.value(),
            Source::Run(iter) => iter.value(),
        }
    }

    fn index(&self) -> Index {
        match self {
            Source::Memtable(cursor) => cursor.index(),
            Source::Run(iter) => iter.index(),
        }
    }

    fn is_cached(&self) -> bool {
        match self {
            Source::Memtable(_) => false,
            Source::Run(iter) => iter.is_cached(),
        }
    }

    fn seek(&mut self, key: &[u8], bounds: &Bounds) -> Result<()> {
        match self {
            Source::Memtable(cursor) => {
                cursor.seek(key);
                Ok(())
            }
            Source::Run(iter) => iter.seek(key, bounds.upper()),
        }
    }

    fn seek_before(&mut self, key: &[u8], bounds: &Bounds) -> Result<()> {
        match self {
            Source::Memtable(cursor) => {
                cursor.seek_before(key);
                Ok(())
            }
            Source::Run(iter) => iter.seek_before(key, bounds.lower()),
        }
    }

    #[inline]
    fn next(&mut self, bounds: &Bounds) -> Result<()> {
        match self {
            Source::Memtable(cursor) => {
                cursor.next();
                Ok(())
            }
            Source::Run(iter) => iter.next(bounds.upper()),
        }
    }

    #[inline]
    fn prev(&mut self, bounds: &Bounds) -> Result<()> {
        match self {
            Source::Memtable(cursor) => {
                cursor.prev();
                Ok(())
            }
            Source::Run(iter) => iter.prev(bounds.lower()),
        }
    }
}

/// The keys that are of interest: from `lower` on, and below `upper`. Sources may end at them.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    lower: Vec<u8>,
    upper: Option<Vec<u8>>,
}

impl Bounds {
    /// An empty `lower`, or an `upper` that is `None`, bounds nothing.
    pub(super) fn new(lower: &[u8], upper: Option<&[u8]>) -> Bounds {
        Bounds { lower: lower.to_vec(), upper: upper.map(<[u8]>::to_vec) }
    }

    #[inline]
    pub(super) fn lower(&self) -> Option<&[u8]> {
        (!self.lower.is_empty()).then_some(&*self.lower)
    }

    #[inline]
    pub(super) fn upper(&self) -> Option<&[u8]> {
        self.upper.as_deref()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// A cursor over several sources. Of records with the same key it shows the one of the first source that has it, so the
/// newest source has to come first. Tombstones are shown.
///
/// After an error it stands nowhere and can be sought again.
pub(super) struct Merge {
    sources: Vec<Source>,
    /// Sources that stand at a record, as a binary heap: the first is the current one.
    heap: Vec<usize>,
    direction: Direction,
    bounds: Bounds,
    key: Vec<u8>,
    /// Records that were passed over because a newer source had the key.
    shadowed: u64,
}

impl Merge {
    /// Makes a cursor that stands nowhere. `sources` are in order, newest first.
    pub(super) fn new(sources: Vec<Source>) -> Merge {
        let heap = Vec::with_capacity(sources.len());
        Merge {
            sources,
            heap,
            direction: Direction::Forward,
            bounds: Bounds::default(),
            key: Vec::new(),
            shadowed: 0,
        }
    }

    /// Sets the bounds; the cursor then stands nowhere.
    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.heap.clear();
        self.bounds = bounds;
    }

    /// Goes nowhere.
    pub(super) fn leave(&mut self) {
        self.heap.clear();
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    #[inline]
    pub(super) fn valid(&self) -> bool {
        !self.heap.is_empty()
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        self.current().key()
    }

    /// Returns the current value; `None` for a tombstone.
    #[inline]
    pub(super) fn value(&self) -> Option<&[u8]> {
        self.current().value()
    }

    pub(super) fn index(&self) -> Index {
        self.current().index()
    }

    /// Whether the current record is one of a block that the cache had.
    pub(super) fn is_cached(&self) -> bool {
        self.current().is_cached()
    }

    /// Returns how many records were passed over because a newer one had their key.
    pub(super) fn shadowed(&self) -> u64 {
        self.shadowed
    }

    #[inline]
    fn current(&self) -> &Source {
        let &first = self.heap.first().expect("the cursor stands at a record");
        &self.sources[first]
    }

    /// Goes to the first key ≥ `key`.
    pub(super) fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.heap.clear();
        for source in &mut self.sources {
            source.seek(key, &self.bounds)?;
        }
        self.order(Direction::Forward);
        Ok(())
    }

    /// Goes to the last key < `key`.
    pub(super) fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.heap.clear();
        for source in &mut self.sources {
            source.seek_before(key, &self.bounds)?;
        }
        self.order(Direction::Backward);
        Ok(())
    }

    /// Goes to the next key.
    pub(super) fn next(&mut self) -> Result<()> {
        assert!(self.valid(), "next needs a current record");
        match self.direction {
            Direction::Forward => self.leave_key(),
            Direction::Backward => self.turn(Direction::Forward),
        }
    }

    /// Goes to the key before.
    pub(super) fn prev(&mut self) -> Result<()> {
        assert!(self.valid(), "prev needs a current record");
        match self.direction {
            Direction::Backward => self.leave_key(),
            Direction::Forward => self.turn(Direction::Backward),
        }
    }

    /// Moves every source that stands at the current key one on, in the present direction.
    fn leave_key(&mut self) -> Result<()> {
        if self.heap.len() == 1 {
            return self.advance();
        }
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.extend_from_slice(self.key());
        let mut result = self.advance();
        while result.is_ok() && self.valid() && *self.key() == *key {
            self.shadowed += 1;
            result = self.advance();
        }
        self.key = key;
        result
    }

    /// Moves the first source of the heap one on.
    #[inline]
    fn advance(&mut self) -> Result<()> {
        let first = self.heap[0];
        let source = &mut self.sources[first];
        let moved = match self.direction {
            Direction::Forward => source.next(&self.bounds),
            Direction::Backward => source.prev(&self.bounds),
        };
        if let Err(error) = moved {
            self.heap.clear();
            return Err(error);
        }
        if !source.valid() {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        Ok(())
    }

    /// Moves all sources past the current key in the other direction: those that do not stand at it too.
    fn turn(&mut self, direction: Direction) -> Result<()> {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.extend_from_slice(self.key());
        self.heap.clear();
        let result = self.turn_at(&key, direction);
        self.key = key;
        result
    }

    fn turn_at(&mut self, key: &[u8], direction: Direction) -> Result<()> {
        for source in &mut self.sources {
            match direction {
                Direction::Backward => source.seek_before(key, &self.bounds)?,
                Direction::Forward => {
                    source.seek(key, &self.bounds)?;
                    if source.valid() && source.key() == key {
                        source.next(&self.bounds)?;
                    }
                }
            }
        }
        self.order(direction);
        Ok(())
    }

    /// Builds the heap of the sources that stand at a record.
    fn order(&mut self, direction: Direction) {
        self.direction = direction;
        self.heap.clear();
        self.heap.extend((0..self.sources.len()).filter(|&number| self.sources[number].valid()));
        for at in (0..self.heap.len() / 2).rev() {
            self.sift_down(at);
        }
    }

    #[inline]
    fn sift_down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let child = if right < self.heap.len() && self.comes_before(right, left) { right } else { left };
            if !self.comes_before(child, at) {
                return;
            }
            self.heap.swap(child, at);
            at = child;
        }
    }

    /// Whether the source at `a` in the heap is to be shown before the one at `b`.
    #[inline]
    fn comes_before(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.heap[a], self.heap[b]);
        let order = self.sources[a].key().cmp(self.sources[b].key());
        let order = match self.direction {
            Direction::Forward => order,
            Direction::Backward => order.reverse(),
        };
        order.then(a.cmp(&b)).is_lt()
    }
}
