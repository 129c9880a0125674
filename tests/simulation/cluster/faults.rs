//! What goes wrong.

use std::{io::ErrorKind, sync::atomic::Ordering};

use sisyphusdb::{
    disk::{
        Disk,
        sim::{Action, Fault},
    },
    executor::Input,
    raft,
};

use super::{Cluster, PLENTY_BYTES};

impl Cluster {
    /// One thing goes wrong, or is mended.
    pub(super) fn fault(&mut self) {
        let at = match self.leader() {
            Some(leader) if self.rng.bool() => leader,
            _ => self.rng.usize(..self.machines.len()),
        };
        let other = self.rng.usize(..self.machines.len());
        let (id, other_id) = (self.machines[at].id, self.machines[other].id);
        match self.rng.u8(..32) {
            0 => self.crash(at),
            1 => self.die_in_the_middle(at),
            2..=6 => (0..self.machines.len()).for_each(|at| self.start(at)),
            7 => self.cut_link(id, other_id),
            8 => self.part(&[id]),
            9 => self.part(&[id, other_id]),
            10..=13 => self.cut_links.clear(),
            14 => self.reset_streams(at),
            15 => {
                let to = self.rng.bool().then_some(other_id);
                self.transfer(at, to);
            }
            16 if self.rng.bool() => self.usurp(at, other),
            16 => self.step_raft(at, raft::Input::Campaign),
            17 | 18 => self.stall(at),
            19 | 20 => self.pause(at),
            21 => self.fail_a_sync(at),
            22 => self.fill_disk(at),
            23 | 24 => (0..self.machines.len()).for_each(|at| self.give_room(at)),
            25 => self.set_wall_clock(at),
            26 => {
                let unfit = self.rng.u8(..3) == 0;
                self.step_raft(at, raft::Input::Unfit(unfit));
            }
            27 => self.submit(at, Input::Seal),
            28 if self.weather.churn && self.rng.bool() => self.wipe(at),
            28 if self.weather.churn => self.damage(at),
            _ if self.weather.churn => self.change_members(),
            _ => self.transfer(at, None),
        }
    }

    /// The machine dies in the middle of something that it does with its disk.
    fn die_in_the_middle(&mut self, at: usize) {
        if self.machines[at].up.is_some() {
            let disk = &self.machines[at].disk;
            disk.stop_at(disk.changes() + self.rng.u64(1..60));
        }
    }

    fn transfer(&mut self, at: usize, to: Option<raft::NodeId>) {
        self.met.count("transfers");
        self.step_raft(at, raft::Input::Transfer(to));
    }

    /// A node speaks and hears nothing, and another does not wait for it any longer.
    fn usurp(&mut self, at: usize, other: usize) {
        self.deafen(at);
        self.step_raft(other, raft::Input::Campaign);
    }

    /// The disk does nothing for a while; the node goes on. Some leaders wait for it so long that they resign.
    fn stall(&mut self, at: usize) {
        let election_us = self.weather.timing.election_us;
        let us = match self.rng.u8(..12) {
            0 => self.rng.u64(5_000_000..8_000_000),
            _ => self.rng.u64(..4 * election_us),
        };
        self.machines[at].stalled_until = self.now_us + us;
        self.met.add("stalls longer than an election", u64::from(us > 2 * election_us));
        self.met.add("stalls longer than five seconds", u64::from(us >= 5_000_000));
    }

    /// The node does nothing for a while, though its clock goes on, and then everything at once.
    fn pause(&mut self, at: usize) {
        let election_us = self.weather.timing.election_us;
        let us = self.rng.u64(..4 * election_us);
        self.machines[at].paused_until = self.now_us + us;
        self.met.add("pauses longer than an election", u64::from(us > 2 * election_us));
    }

    /// A sync to come fails, once: a node that tried again would be told that all is well.
    fn fail_a_sync(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if machine.up.is_some() {
            machine.is_hurt = true;
            let path_part = if self.rng.u8(..4) == 0 { "tree" } else { "log" }.to_owned();
            let nth = self.rng.u64(1..10);
            machine.disk.fail(Fault { action: Action::Sync, path_part, nth, error: ErrorKind::Other });
        }
    }

    fn fill_disk(&mut self, at: usize) {
        self.met.count("full disks");
        let machine = &mut self.machines[at];
        machine.is_hurt = true;
        machine.disk.set_capacity(Some(1 << 40));
        let used = (1 << 40) - machine.disk.free_bytes().expect("it says so always");
        machine.disk.set_capacity(Some(used + self.rng.u64(..PLENTY_BYTES)));
        self.submit(at, Input::Tick);
    }

    pub(super) fn give_room(&mut self, at: usize) {
        self.machines[at].disk.set_capacity(None);
        self.submit(at, Input::Tick);
    }

    fn set_wall_clock(&mut self, at: usize) {
        self.met.count("wall clocks set");
        let ms = self.rng.i64(-3_600_000..3_600_000);
        self.machines[at].clock.wall_ms.store(ms, Ordering::Relaxed);
    }
}
