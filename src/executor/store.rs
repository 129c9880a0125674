//! What connections read: everything applied so far, published as one pointer.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::clock::{LeaderClock, Now};
use crate::{
    keyspace::{self, View},
    lsm::{self, Access},
};

/// The state after one applied entry.
pub struct Published {
    /// Memtables and tables, up to the entry's index.
    pub view: lsm::View,
    /// The stamp of the last applied entry, and which keyspace each database is.
    pub system: keyspace::Published,
    /// The leader's time, on the leader.
    pub clock: Option<LeaderClock>,
}

impl Published {
    /// A view for reads of database `db` that began at `now`; `seed` makes their random choices.
    pub fn view(&self, access: Access, db: u32, now: Now, seed: u64) -> View<'_> {
        let present = self.clock.map_or(0, |clock| clock.at(now));
        View::new(&self.view, access, &self.system, present, db, seed)
    }
}

/// The pointer to what is published; the executor replaces it, everyone reads it.
pub struct Store {
    published: ArcSwap<Published>,
}

impl Store {
    pub(super) fn new(published: Published) -> Self {
        Self { published: ArcSwap::from_pointee(published) }
    }

    pub(super) fn publish(&self, published: Published) {
        self.published.store(Arc::new(published));
    }

    /// What is published now, for a short time: it costs nothing that readers share.
    pub fn load(&self) -> Guard<Arc<Published>> {
        self.published.load()
    }

    /// What is published now. Whoever reads data from it must hold a read permit (`driver::ReadPermit`).
    pub fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }
}
