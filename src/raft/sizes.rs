//! How many bytes of the log stand where: what is needed to keep so many of them for members that are behind.

use std::collections::VecDeque;

use crate::log::Index;

/// Bytes of the log, remembered about every so many.
///
/// Invariants: the indexes of `marks` ascend, their bytes do not fall, and none has more than `bytes`.
#[derive(Debug)]
pub(super) struct Sizes {
    step_bytes: u64,
    /// From some beginning to the end of the log. What was truncated is counted: it has taken its room in the file.
    bytes: u64,
    /// Indexes, each with the bytes up to and with its entry.
    marks: VecDeque<(Index, u64)>,
}

impl Sizes {
    /// A log that has so many bytes up to and with the entries of `marks`, of which `kept_bytes` may be looked for.
    pub(super) fn new(kept_bytes: u64, marks: impl IntoIterator<Item = (Index, u64)>) -> Self {
        let mut sizes = Self { step_bytes: kept_bytes / 64, bytes: 0, marks: VecDeque::new() };
        for (index, bytes) in marks {
            sizes.push(index, bytes - sizes.bytes);
        }
        sizes
    }

    /// The entry at `index` was appended.
    pub(super) fn push(&mut self, index: Index, bytes: u64) {
        self.bytes += bytes;
        if self.marks.back().is_none_or(|(_, marked)| marked + self.step_bytes < self.bytes) {
            self.marks.push_back((index, self.bytes));
        }
    }

    /// The entries from `from` on were dropped.
    pub(super) fn truncate(&mut self, from: Index) {
        while self.marks.back().is_some_and(|(index, _)| from <= *index) {
            self.marks.pop_back();
        }
    }

    /// The entries up to `index` were cut.
    pub(super) fn cut(&mut self, index: Index) {
        while self.marks.get(1).is_some_and(|(second, _)| *second <= index) {
            self.marks.pop_front();
        }
    }

    /// All entries were dropped.
    pub(super) fn reset(&mut self) {
        self.marks.clear();
    }

    /// Returns the greatest index known behind which, up to `upto`, at least `bytes` stand; 0 if there are fewer.
    pub(super) fn before(&self, upto: Index, bytes: u64) -> Index {
        if bytes == 0 {
            return upto;
        }
        let upto = self.marks.partition_point(|(index, _)| *index <= upto);
        let Some((_, end)) = upto.checked_sub(1).map(|at| self.marks[at]) else { return 0 };
        let enough = self.marks.partition_point(|(_, marked)| marked.saturating_add(bytes) <= end);
        enough.checked_sub(1).map_or(0, |at| self.marks[at].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_as_many_bytes_are_kept_as_were_asked_for_and_little_more() {
        for kept in [1, 100, 640, 5_000] {
            let mut sizes = Sizes::new(kept, []);
            let mut rng = fastrand::Rng::with_seed(kept);
            let mut ends = vec![0];
            for index in 1..=1_000 {
                let bytes = rng.u64(1..100);
                sizes.push(index, bytes);
                ends.push(ends.last().unwrap() + bytes);
            }
            for upto in 1..=1_000_usize {
                let cut = usize::try_from(sizes.before(upto as u64, kept)).unwrap();
                let behind = ends[upto] - ends[cut];
                assert!(cut == 0 || kept <= behind, "{behind} bytes are left of {kept}");
                // The steps, an entry that ends each, and one more.
                assert!(behind <= kept + 2 * (kept / 64 + 100), "{behind} bytes are left of {kept}");
            }
        }
    }

    #[test]
    fn what_is_not_in_the_log_any_more_keeps_nothing() {
        let mut sizes = Sizes::new(64, [(10, 0), (20, 1_000)]);
        assert_eq!(sizes.before(20, 64), 10);
        sizes.truncate(20);
        assert_eq!(sizes.before(20, 64), 0, "nobody knows how much stands before");
        sizes.push(20, 100);
        assert_eq!(sizes.before(20, 64), 10);
        sizes.cut(20);
        sizes.push(21, 1_000);
        assert_eq!(sizes.before(21, 64), 20);
        sizes.reset();
        assert_eq!(sizes.before(21, 64), 0);
        assert_eq!(sizes.before(21, 0), 21);
    }
}
