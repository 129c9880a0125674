//! How snapshots get from one machine to another, here in the place of the transport.

use std::io;

use sisyphusdb::{
    disk::{Disk, SimDisk},
    driver::{Fatal, receive_snapshot},
    log, lsm,
    raft::{self, Configuration, NodeId, SnapshotAnswer},
};
use tokio::sync::oneshot;

use super::{Cluster, Transfer, machine::Job};

impl Cluster {
    /// Reads the files of a checkpoint and puts them on their way.
    pub(super) fn ship(
        &mut self,
        at: usize,
        to: NodeId,
        term: log::Term,
        mut made: oneshot::Receiver<lsm::CheckpointJob>,
    ) -> Result<(), Fatal> {
        let from = self.machines[at].id;
        let up = self.machines[at].up.as_mut().expect("it has a job");
        let Ok(job) = made.try_recv() else {
            up.jobs.push(Job::Ship(to, term, made));
            return Ok(());
        };
        let disk = &self.machines[at].disk;
        let dir = format!("shard-0/outgoing-{to}");
        let checkpoint = remove(disk, &dir).map_err(outside).and_then(|()| job.run(&dir))?;
        let files = read_all(disk, &format!("{dir}/gen-000001")).map_err(outside)?;
        remove(disk, &dir).map_err(outside)?;
        let position = checkpoint.flushed.position;
        let configuration =
            Configuration::decode(checkpoint.flushed.membership).expect("a membership is there");
        let offer = raft::Offer { from, term, position, configuration };
        self.transfers.push(Transfer { to, offer, files, is_taken: false });
        Ok(())
    }

    /// A snapshot is offered; or it is on its way, and arrives whole, or does not.
    pub(super) fn receive(&mut self) {
        if self.transfers.is_empty() {
            return;
        }
        let mut transfer = self.transfers.swap_remove(self.rng.usize(..self.transfers.len()));
        let (from, to) = (transfer.offer.from, transfer.to);
        let (sender, at) = (self.machine(from), self.machine(to));
        let is_lost = self.cut_links.contains(&(from, to)) || self.is_lost();
        let Some(up) = self.machines[at].up.as_mut().filter(|_| !is_lost) else {
            if transfer.is_taken
                && let Some(up) = &mut self.machines[at].up
            {
                up.receives_from = None;
            }
            return self.step_raft(sender, raft::Input::SnapshotEnded(to, None));
        };
        if !transfer.is_taken {
            let raft::Offer { term, position, .. } = transfer.offer;
            let held = match up.core.with_raft(|raft| raft.judge_snapshot(term, position)) {
                SnapshotAnswer::Wanted if up.receives_from.is_none() => {
                    up.receives_from = Some(from);
                    transfer.is_taken = true;
                    return self.transfers.push(transfer);
                }
                SnapshotAnswer::Held => Some(position.index),
                SnapshotAnswer::Wanted | SnapshotAnswer::Late | SnapshotAnswer::Busy => None,
            };
            self.met.count(if held.is_some() {
                "snapshots that were held"
            } else {
                "snapshots that were refused"
            });
            return self.step_raft(sender, raft::Input::SnapshotEnded(to, held));
        }
        match write_all(&self.machines[at].disk, &transfer.files) {
            Ok(()) => self.step_raft(at, raft::Input::Snapshot(transfer.offer)),
            Err(error) => self.survive(at, Err(error.into())),
        }
    }
}

/// An error of what is done here in the place of production.
fn outside(source: io::Error) -> lsm::Error {
    lsm::Error::Io { operation: "copy", path: String::new(), source }
}

/// Removes a directory of files and directories, if it is there.
fn remove(disk: &SimDisk, path: &str) -> io::Result<()> {
    if !disk.exists(path)? {
        return Ok(());
    }
    match disk.list(path) {
        Ok(names) => {
            names.iter().try_for_each(|name| remove(disk, &format!("{path}/{name}")))?;
            disk.remove_dir(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => disk.remove(path),
        Err(error) => Err(error),
    }
}

fn read_all(disk: &SimDisk, dir: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let read = |name: String| {
        let file = disk.open(&format!("{dir}/{name}"))?;
        let mut bytes = vec![0; usize::try_from(file.len()?).expect("files here are small")];
        file.read_at(&mut bytes, 0)?;
        Ok((name, bytes))
    };
    disk.list(dir)?.into_iter().map(read).collect()
}

fn write_all(disk: &SimDisk, files: &[(String, Vec<u8>)]) -> Result<(), lsm::Error> {
    let dir = receive_snapshot(disk)?;
    // What an earlier transfer has left.
    let left = disk.list(&dir).map_err(outside)?;
    left.iter().try_for_each(|name| disk.remove(&format!("{dir}/{name}"))).map_err(outside)?;
    let write = |(name, bytes): &(String, Vec<u8>)| {
        let file = disk.create(&format!("{dir}/{name}"))?;
        file.write_at(bytes, 0)?;
        file.sync().map_err(io::Error::from)
    };
    files.iter().try_for_each(write).map_err(outside)
}
