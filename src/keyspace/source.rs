//! Where bytes are read: the tree at one instant and, in the executor, the overlay above it.

use std::collections::btree_map;

use bytes::Bytes;

use super::encoding::Encoded;
use super::error::{Failure, Result, Stop};
use super::overlay::{Overlay, Slot};
use crate::lsm::{self, Access, Cursor, Value};

/// How many records a walk may visit where others wait for its end.
pub(super) const LONG_RECORDS: usize = 1_000;

/// The layers that a look-up goes through, top down.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) base: &'a lsm::View,
    pub(super) overlay: Option<&'a Overlay>,
    pub(super) access: Access,
}

impl<'a> Source<'a> {
    /// Reads `key` into `value`; false if there is none.
    pub(super) fn get(&self, key: &[u8], value: &mut Value) -> Result<bool> {
        match self.overlay.and_then(|overlay| overlay.get(key)) {
            Some(Some(bytes)) => {
                value.set_shared(bytes.clone());
                Ok(true)
            }
            Some(None) => Ok(false),
            None => Ok(self.base.get(key, self.access, value)?),
        }
    }

    /// A walk over the keys that begin with `prefix`, at the first of them that is not below `from`.
    pub(super) fn walk(&self, prefix: Encoded, from: &[u8]) -> Result<Walk<'a>> {
        let mut base = self.base.cursor(self.access);
        base.set_bounds(&prefix, end_of(&prefix).as_deref());
        let mut walk = Walk {
            base,
            overlay: self.overlay,
            upper: None,
            upper_rest: None,
            prefix,
            current: Layer::End,
            steps_left: match self.access {
                Access::Memory => LONG_RECORDS,
                Access::Disk => usize::MAX,
            },
        };
        walk.seek(from)?;
        Ok(walk)
    }

    /// A walk over all keys that begin with `prefix`.
    pub(super) fn walk_all(&self, prefix: Encoded) -> Result<Walk<'a>> {
        let from = prefix.clone();
        self.walk(prefix, &from)
    }
}

/// The first key behind all those that begin with `prefix`; `None` if nothing can follow them.
fn end_of(prefix: &[u8]) -> Option<Encoded> {
    let last = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut end = Encoded::from_slice(&prefix[..=last]);
    end[last] += 1;
    Some(end)
}

/// Which layer holds the current record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Base,
    Upper,
    End,
}

/// A walk in key order over the records below one prefix: the overlay's, and the tree's where the overlay has none.
pub(super) struct Walk<'a> {
    base: Cursor,
    overlay: Option<&'a Overlay>,
    upper: Option<(&'a Bytes, &'a Slot)>,
    upper_rest: Option<btree_map::Range<'a, Bytes, Slot>>,
    prefix: Encoded,
    current: Layer,
    steps_left: usize,
}

impl Walk<'_> {
    /// Goes to the first record at or after `key`.
    pub(super) fn seek(&mut self, key: &[u8]) -> Result {
        self.base.seek(key)?;
        self.upper_rest = self.overlay.map(|overlay| overlay.range_from(key));
        self.upper = self.upper_rest.as_mut().and_then(Iterator::next);
        self.settle()
    }

    /// Goes to the next record.
    pub(super) fn next(&mut self) -> Result {
        self.step()?;
        match self.current {
            Layer::Base => self.base.next()?,
            Layer::Upper => self.next_upper(),
            Layer::End => {}
        }
        self.settle()
    }

    /// Counts a record that is passed, be it deleted.
    fn step(&mut self) -> Result {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(Failure::Stop(Stop::Long))?;
        Ok(())
    }

    /// The key of the current record; `None` at the end.
    pub(super) fn key(&self) -> Option<&[u8]> {
        match self.current {
            Layer::Base => Some(self.base.key()),
            Layer::Upper => self.upper.map(|(key, _)| &key[..]),
            Layer::End => None,
        }
    }

    /// The key after the prefix; `None` at the end.
    pub(super) fn suffix(&self) -> Option<&[u8]> {
        self.key().map(|key| &key[self.prefix.len()..])
    }

    /// The value of the current record.
    pub(super) fn value(&self) -> &[u8] {
        match self.current {
            Layer::Base => self.base.value(),
            Layer::Upper => {
                self.upper.and_then(|(_, slot)| slot.value.as_ref()).expect("settled on a slot with a value")
            }
            Layer::End => panic!("a walk that is over has no value"),
        }
    }

    fn next_upper(&mut self) {
        self.upper = self.upper_rest.as_mut().and_then(Iterator::next);
    }

    /// Decides which layer is next, and steps over what the overlay deletes or covers.
    fn settle(&mut self) -> Result {
        loop {
            let base = self.base.valid().then(|| self.base.key());
            let upper = self.upper.filter(|(key, _)| key.starts_with(&self.prefix));
            self.current = match (base, upper) {
                (None, None) => Layer::End,
                (Some(_), None) => Layer::Base,
                (None, Some(_)) => Layer::Upper,
                (Some(base), Some((key, _))) if base < &key[..] => Layer::Base,
                (Some(base), Some((key, _))) => {
                    if base == &key[..] {
                        self.base.next()?;
                    }
                    Layer::Upper
                }
            };
            if self.current == Layer::Upper && upper.is_some_and(|(_, slot)| slot.value.is_none()) {
                self.step()?;
                self.next_upper();
                continue;
            }
            return Ok(());
        }
    }
}
