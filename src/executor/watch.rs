//! WATCH: which sessions want to know that a key changed. **Rule (WATCH)** of the design.
//!
//! A watch lives as long as its session holds it: dropping it is UNWATCH. It is valid in the term it was made in.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    bugs::{self, Bug},
    log::Term,
};

/// What one session watches since its last EXEC.
#[derive(Debug, Default)]
pub struct Watch {
    dirty: AtomicBool,
    keys: Mutex<Vec<Watched>>,
}

/// One key that a session watches.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// The term of the leadership that knows of it.
    pub(super) term: Term,
    /// The database the client named it in.
    pub(super) db: u32,
    /// The client's key.
    pub(super) key: Bytes,
}

impl Watch {
    /// Marks the watch: its EXEC will answer nil.
    pub fn mark(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Whether something watched has changed.
    pub fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// What is watched.
    pub(super) fn keys(&self) -> Vec<Watched> {
        self.keys.lock().expect("a panic ends the process").clone()
    }
}

/// Registrations that are kept before the first sweep for watches that were dropped.
const SWEEP_MIN: usize = 1024;

/// Who watches what, by the encoded metadata key.
#[derive(Debug)]
pub(super) struct Watches {
    by_key: BTreeMap<Bytes, Vec<Weak<Watch>>>,
    registered: usize,
    sweep_at: usize,
}

impl Default for Watches {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), registered: 0, sweep_at: SWEEP_MIN }
    }
}

impl Watches {
    /// Whether nobody watches anything: then no command need look.
    pub(super) fn is_empty(&self) -> bool {
        self.registered == 0
    }

    /// Registers `watch` for the key whose metadata is at `meta_key`.
    pub(super) fn register(&mut self, watch: &Arc<Watch>, watched: Watched, meta_key: Bytes) {
        if self.registered >= self.sweep_at {
            self.sweep();
        }
        self.registered += 1;
        self.by_key.entry(meta_key).or_default().push(Arc::downgrade(watch));
        watch.keys.lock().expect("a panic ends the process").push(watched);
    }

    /// Marks all who watch the key at `meta_key`.
    pub(super) fn touched(&mut self, meta_key: &[u8]) {
        if bugs::on(Bug::WatchIgnored) {
            return;
        }
        if let Some(watchers) = self.by_key.remove(meta_key) {
            self.registered -= watchers.len();
            for watch in watchers.iter().filter_map(Weak::upgrade) {
                watch.mark();
            }
        }
    }

    /// All living watches, some more than once.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<Watch>> + '_ {
        self.by_key.values().flatten().filter_map(Weak::upgrade)
    }

    /// Forgets the watches that their sessions have dropped.
    fn sweep(&mut self) {
        self.by_key.retain(|_, watchers| {
            watchers.retain(|watch| watch.strong_count() > 0);
            !watchers.is_empty()
        });
        self.registered = self.by_key.values().map(Vec::len).sum();
        self.sweep_at = SWEEP_MIN.max(2 * self.registered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> Watched {
        Watched { term: 1, db: 0, key: Bytes::from_static(b"k") }
    }

    #[test]
    fn a_touched_key_marks_its_watchers_and_no_others() {
        let mut watches = Watches::default();
        let (one, other) = (Arc::new(Watch::default()), Arc::new(Watch::default()));
        watches.register(&one, watched(), Bytes::from_static(b"meta-k"));
        watches.register(&other, watched(), Bytes::from_static(b"meta-l"));
        watches.touched(b"meta-k");
        assert!(one.is_dirty());
        assert!(!other.is_dirty());
    }

    #[test]
    fn dropped_watches_are_forgotten() {
        let mut watches = Watches::default();
        for _ in 0..3 * SWEEP_MIN {
            watches.register(&Arc::new(Watch::default()), watched(), Bytes::from_static(b"meta-k"));
            assert!(watches.registered <= SWEEP_MIN + 1);
        }
        assert_eq!(watches.all().count(), 0);
    }
}
