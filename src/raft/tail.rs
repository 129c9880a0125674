//! The log as the core sees it: the term of every entry, and those entries that are still needed in memory.

use std::collections::VecDeque;

use crate::log::{Entry, Index, Position, Term};

/// The log's shape, and the entries at its end.
///
/// Invariants: entries stand after `start` up to `last`, without gaps, their terms never fall; `runs` holds the first
/// entry of each term; `entries` holds the newest entries, up to `last`.
#[derive(Debug)]
pub struct Tail {
    start: Position,
    last: Position,
    runs: VecDeque<Position>,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    /// A log whose entries begin after `start` and end with `last`; `runs` are the first entries of each term. None of the
    /// entries is in memory.
    pub fn new(start: Position, last: Position, runs: impl IntoIterator<Item = Position>) -> Self {
        let runs = VecDeque::from_iter(runs);
        assert!(start.index <= last.index, "the log ends before it starts");
        assert!(runs.is_empty() == (start == last), "every entry has a term");
        assert!(
            runs.front().is_none_or(|first| first.index == start.index + 1),
            "the first entry has a term"
        );
        assert!(runs.back().is_none_or(|newest| newest.term == last.term), "the last entry has a term");
        Self { start, last, runs, entries: VecDeque::new(), bytes: 0 }
    }

    /// What the entries begin after.
    pub fn start(&self) -> Position {
        self.start
    }

    /// The last entry.
    pub fn last(&self) -> Position {
        self.last
    }

    /// Bytes of the bodies in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The term of the entry at `index`, or of the start; none for all others.
    pub fn term(&self, index: Index) -> Option<Term> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        if index < self.start.index || self.last.index < index {
            return None;
        }
        let after = self.runs.partition_point(|first| first.index <= index);
        Some(self.runs[after - 1].term)
    }

    /// Whether the log has this very entry.
    pub fn contains(&self, position: Position) -> bool {
        self.term(position.index) == Some(position.term)
    }

    /// Whether a log that ends at `other` has all that this one has, or is newer (Raft §5.4.1).
    pub fn is_covered_by(&self, other: Position) -> bool {
        (self.last.term, self.last.index) <= (other.term, other.index)
    }

    /// Returns the newest entry that may agree with a log that has `other`: not behind it, and not of a later term.
    pub fn agreement(&self, other: Position) -> Position {
        let index = other.index.min(self.last.index);
        if index <= self.start.index {
            return self.start;
        }
        let at = self.runs.partition_point(|first| first.index <= index && first.term <= other.term);
        let Some(run) = at.checked_sub(1) else { return self.start };
        let end = self.runs.get(at).map_or(index, |next| index.min(next.index - 1));
        Position { index: end, term: self.runs[run].term }
    }

    /// Appends an entry.
    pub fn push(&mut self, entry: Entry) {
        assert!(entry.index == self.last.index + 1, "entries have no gaps");
        assert!(self.last.term <= entry.term, "terms do not fall");
        if self.last.term < entry.term || self.last == self.start {
            self.runs.push_back(entry.position());
        }
        self.last = entry.position();
        self.bytes += entry.body.len();
        self.entries.push_back(entry);
    }

    /// Drops the entries from `from` on.
    pub fn truncate(&mut self, from: Index) {
        assert!(self.start.index < from && from <= self.last.index, "what is dropped was there");
        let term = self.term(from - 1).expect("what stays is there");
        self.last = Position { index: from - 1, term };
        while self.runs.back().is_some_and(|first| from <= first.index) {
            self.runs.pop_back();
        }
        while let Some(entry) = self.entries.back() {
            if entry.index < from {
                break;
            }
            self.bytes -= entry.body.len();
            self.entries.pop_back();
        }
    }

    /// Drops everything; the next entry follows `start`.
    pub fn reset(&mut self, start: Position) {
        *self = Self::new(start, start, []);
    }

    /// Forgets the entries up to `index`: they are not in the log any more.
    pub fn cut(&mut self, index: Index) {
        if index <= self.start.index {
            return;
        }
        let term = self.term(index).expect("what is cut was there");
        self.forget(index);
        self.start = Position { index, term };
        while self.runs.get(1).is_some_and(|second| second.index <= index + 1) {
            self.runs.pop_front();
        }
        match self.runs.front_mut() {
            Some(_) if self.start == self.last => self.runs.clear(),
            Some(first) => first.index = first.index.max(index + 1),
            None => {}
        }
    }

    /// Forgets the bodies of the entries up to `index`; the log still has them.
    pub fn forget(&mut self, index: Index) {
        while let Some(first) = self.entries.front() {
            if index < first.index {
                break;
            }
            self.bytes -= first.body.len();
            self.entries.pop_front();
        }
    }

    /// The oldest entry in memory.
    pub fn oldest(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// Returns entries from `from` up to `to`: at least one, and no more than `bytes_max` of bodies if there are more.
    /// None if the first of them is not in memory.
    pub fn entries(&self, from: Index, to: Index, bytes_max: usize) -> Option<Vec<Entry>> {
        let oldest = self.entries.front().map_or(self.last.index + 1, |entry| entry.index);
        assert!(from <= to && to <= self.last.index, "entries that are not there were asked for");
        let at = usize::try_from(from.checked_sub(oldest)?).expect("entries in memory can be counted");
        let count = usize::try_from(to - from + 1).expect("entries in memory can be counted");
        let mut bytes = 0;
        let wanted = self.entries.range(at..at + count).take_while(|entry| {
            let first = bytes == 0 && entry.index == from;
            bytes += entry.body.len();
            first || bytes <= bytes_max
        });
        Some(wanted.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::log::EntryKind;

    fn entry(index: Index, term: Term) -> Entry {
        Entry { index, term, kind: EntryKind::Effects, body: Bytes::from(vec![0; 10]) }
    }

    /// A tail after entry 10 of term 2, with entries of these terms.
    fn tail(terms: &[Term]) -> Tail {
        let start = Position { index: 10, term: 2 };
        let mut tail = Tail::new(start, start, []);
        terms.iter().enumerate().for_each(|(at, term)| tail.push(entry(11 + at as u64, *term)));
        tail
    }

    #[test]
    fn logs_may_agree_up_to_the_newest_entry_of_no_later_term() {
        let tail = tail(&[2, 3, 3, 5, 5]);
        let at = |index, term| tail.agreement(Position { index, term });
        assert_eq!(at(15, 5), Position { index: 15, term: 5 });
        assert_eq!(at(20, 9), Position { index: 15, term: 5 });
        assert_eq!(at(20, 4), Position { index: 13, term: 3 });
        assert_eq!(at(13, 2), Position { index: 11, term: 2 });
        assert_eq!(at(13, 1), Position { index: 10, term: 2 }, "what was cut agrees");
        assert_eq!(at(9, 2), Position { index: 10, term: 2 });
    }

    #[test]
    fn a_message_holds_one_entry_at_least() {
        let tail = tail(&[2, 3, 3]);
        let count = |bytes_max| tail.entries(11, 13, bytes_max).unwrap().len();
        assert_eq!((count(1), count(19), count(20), count(1000)), (1, 1, 2, 3));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(Term),
        Truncate(u64),
        Cut(u64),
        Forget(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_u64).prop_map(Step::Push),
            1 => any::<u64>().prop_map(Step::Truncate),
            1 => any::<u64>().prop_map(Step::Cut),
            1 => any::<u64>().prop_map(Step::Forget),
        ]
    }

    proptest! {
        /// Against a plain list of positions, the first of which is the start.
        #[test]
        fn it_knows_the_terms_of_its_entries(steps in proptest::collection::vec(step(), 0..60)) {
            let mut tail = tail(&[]);
            let mut model = vec![Position { index: 10, term: 2 }];
            let mut forgotten = 10;
            for step in steps {
                let last = model[model.len() - 1];
                let (start, count) = (model[0].index, model.len() as u64);
                match step {
                    Step::Push(more) => {
                        tail.push(entry(last.index + 1, last.term + more));
                        model.push(Position { index: last.index + 1, term: last.term + more });
                    }
                    Step::Truncate(at) if count > 1 => {
                        let from = start + 1 + at % (count - 1);
                        tail.truncate(from);
                        model.retain(|position| position.index < from);
                    }
                    Step::Truncate(_) => {}
                    Step::Cut(at) => {
                        let to = start + at % count;
                        tail.cut(to);
                        model.retain(|position| position.index >= to);
                        forgotten = forgotten.max(to);
                    }
                    Step::Forget(at) => {
                        let to = start + at % count;
                        tail.forget(to);
                        forgotten = forgotten.max(to);
                    }
                }
                forgotten = forgotten.min(model[model.len() - 1].index);
                prop_assert_eq!(tail.start(), model[0]);
                prop_assert_eq!(tail.last(), model[model.len() - 1]);
                for index in 0..model[model.len() - 1].index + 2 {
                    let expected = model.iter().find(|position| position.index == index).map(|p| p.term);
                    prop_assert_eq!(tail.term(index), expected);
                }
                prop_assert_eq!(tail.oldest().map(|e| e.index), (forgotten < tail.last().index).then_some(forgotten + 1));
                prop_assert_eq!(tail.bytes() as u64, 10 * (tail.last().index - forgotten));
            }
        }
    }
}
