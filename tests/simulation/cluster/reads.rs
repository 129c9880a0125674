//! Reads beside the executor: from the lease, after a permit, and on followers.

use std::sync::Arc;

use sisyphusdb::{
    driver::{Core, ReadPermit},
    executor::{Clock, Published},
    log,
    lsm::Access,
    raft,
};

use super::{
    super::client::{self, Answered, bulk},
    Cluster,
    workload::Read,
};

/// Reads of one node that are under way.
#[derive(Default)]
pub(super) struct Reads {
    /// With the term in which they asked.
    asked: Vec<(u64, Read, log::Term)>,
    /// Those that may be served when this is applied, if that is still the term.
    permitted: Vec<(Read, log::Index, ReadPermit)>,
    /// Those that have their view, and were descheduled before they looked.
    late: Vec<(Read, Arc<Published>)>,
}

impl Reads {
    pub(super) fn permit(&mut self, core: &Core, number: u64, index: log::Index) {
        let asked = self.asked.iter().position(|(asked, ..)| *asked == number).expect("it was asked for");
        let (_, read, term) = self.asked.swap_remove(asked);
        self.permitted.push((read, index, core.index_permit(term, index)));
    }

    pub(super) fn refuse(&mut self, number: u64) {
        self.asked.retain(|(asked, ..)| *asked != number);
    }
}

impl Cluster {
    /// A read arrives at a connection: with a lease it is served at once, else a permit is asked for.
    pub(super) fn begin_to_read(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let Some(up) = &mut machine.up else { return };
        let read = self.workload.begin_read(&mut self.rng);
        if let Some(permit) = up.core.lease_permit(&machine.clock) {
            let published = Arc::clone(&up.core.published(&permit).expect("it was just given"));
            self.met.count("reads from a lease");
            self.met.add("reads from a lease during a partition", u64::from(!self.cut_links.is_empty()));
            match self.rng.u8(..8) {
                0 => up.reads.late.push((read, published)),
                _ => self.serve(at, &published, read),
            }
            return;
        }
        self.next_read += 1;
        up.reads.asked.push((self.next_read, read, up.core.term()));
        self.step_raft(at, raft::Input::Read(self.next_read));
    }

    /// Serves a read that is ready.
    pub(super) fn read(&mut self, at: usize) {
        let Some(up) = &mut self.machines[at].up else { return };
        if let Some((read, published)) = up.reads.late.pop() {
            return self.serve(at, &published, read);
        }
        let applied = up.core.store().published().view.index();
        let ready = up.reads.permitted.iter().position(|(_, index, _)| *index <= applied);
        let Some(ready) = ready else { return };
        let (read, _, permit) = up.reads.permitted.swap_remove(ready);
        // Else the term has changed.
        let Some(published) = up.core.published(&permit) else { return };
        let published = Arc::clone(&published);
        match published.clock {
            Some(_) => self.met.count("reads from a read index"),
            None => self.met.count("reads on followers"),
        }
        self.serve(at, &published, read);
    }

    fn serve(&mut self, at: usize, published: &Published, read: Read) {
        let machine = &self.machines[at];
        let view = published.view(Access::Disk, 0, machine.clock.now(), 0);
        let mut values = Vec::new();
        for name in self.workload.keys_of(read) {
            match client::read(&view, &["GET", &name]) {
                Answered::Reply(reply) => values.push(bulk(&reply)),
                // It goes to the executor, or the disk has died under it.
                Answered::Elsewhere => return self.met.count("reads of keys that are due"),
                Answered::Failed => {
                    return assert!(
                        machine.disk.is_stopped() || machine.is_hurt,
                        "a read failed on a good disk"
                    );
                }
            }
        }
        self.workload.end_read(read, values);
    }
}
