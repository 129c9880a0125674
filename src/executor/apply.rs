//! Committed entry → one blind batch in the tree. It reads nothing, and cannot fail but by stopping the node.

use super::{
    clock::Now,
    entry::EntryBody,
    leadership::Leadership,
    turn::{Error, Executor},
};
use crate::{
    bugs::{self, Bug},
    log::{Entry, EntryKind, Position, Term},
};

impl Executor {
    /// Applies the next committed entry.
    pub(super) fn apply(&mut self, entry: Entry, now: Now) -> Result<(), Error> {
        assert!(entry.index == self.applied.index + 1, "entries are applied without a gap");
        assert!(entry.term >= self.applied.term, "the term of applied entries went back");
        let position = Position { index: entry.index, term: entry.term };
        let entry_bytes = entry.body.len();
        match entry.kind {
            EntryKind::Effects => self.apply_effects(position, &entry)?,
            EntryKind::Noop => {
                self.tree.advance(position);
                self.applied = position;
                if self.leads == Some(entry.term) && !bugs::on(Bug::LeadershipBeforeNoop) {
                    self.begin_to_lead(entry.term, now)?;
                }
            }
            EntryKind::Configuration => {
                self.tree.set_membership(entry.body);
                self.tree.advance(position);
            }
        }
        self.applied = position;
        self.room.wrote(entry_bytes);
        self.unpublished = true;
        Ok(())
    }

    fn apply_effects(&mut self, position: Position, entry: &Entry) -> Result<(), Error> {
        let wrong = |source| Error::Entry { index: entry.index, source };
        let body = EntryBody::decode(&entry.body).map_err(wrong)?;
        assert!(body.stamp >= self.system.stamp, "the stamp of applied entries went back");
        self.tree.apply(position, &body.effects);
        self.gauges.changes += body.effects.len() as u64;
        self.system.absorb(&body.effects);
        assert!(self.system.stamp == body.stamp, "an entry's stamp is one of its effects");
        if let Some(leadership) = self.leadership.as_mut().filter(|leadership| leadership.term == entry.term)
        {
            leadership.chain.apply(body.chain, body.n);
            leadership.overlay.applied(body.n, &body.effects);
        }
        Ok(())
    }

    /// The no-op of the term that this node leads is applied, and so is all that is older: the leadership begins.
    /// **Rule (leadership)**.
    pub(super) fn begin_to_lead(&mut self, term: Term, now: Now) -> Result<(), Error> {
        assert!(self.leadership.is_none(), "a term begins once");
        let seed = self.seed.u64(..);
        let view = self.tree.view();
        let mut leadership = Leadership::new(term, &view, self.system.stamp, self.permits, now, seed)?;
        leadership.state.limits = self.tuning.limits.clone();
        self.leadership = Some(leadership);
        // What is due is looked for anew: the term before may have waited for something that never was.
        self.wake_at = None;
        self.unpublished = true;
        Ok(())
    }
}
