//! Checkpoints: copies of the shard on the disk where it is, each a data directory that a node can be started with.
//!
//! | path | what |
//! |---|---|
//! | `checkpoints/<name>/shard-0/tree/` | hard links to the tables, and a manifest |
//! | `checkpoints/<name>.new/` | one that is being made, or that a crash interrupted |
//!
//! There is neither a log nor an identity: the manifest says that the log begins behind the tables, and whoever is started
//! with the copy is a new node. A checkpoint replaces the one before, as a dump of Redis does, when it is whole. It keeps
//! the space of its tables as long as it is there.

use std::io::{self, ErrorKind};

use super::recovery::{SHARD_DIR, TREE_DIR};
use crate::{
    disk::{Disk, join},
    lsm::{self, At, CheckpointJob, unsynced},
};

/// Where checkpoints are made, each in a directory of its own.
const DIR: &str = "checkpoints";

/// What the name of a checkpoint ends with that is not whole.
const UNFINISHED: &str = ".new";

/// What a node leaves in its data directory. A checkpoint that has it is a node's by now, and is left alone.
const IDENTITY: &str = "meta";

/// Makes the checkpoint `name` out of `job`, and then removes those before it.
///
/// # Errors
///
/// It cannot be made; those before it are there as they were.
pub(super) fn make(job: CheckpointJob, name: &str) -> lsm::Result<()> {
    let disk = job.disk();
    let disk = &*disk;
    let whole = join(DIR, name);
    let path = format!("{whole}{UNFINISHED}");
    disk.create_dir(DIR).at("create", DIR)?;
    disk.sync_dir("").map_err(unsynced(DIR))?;
    remove_unfinished(disk).at("clear", DIR)?;
    if disk.exists(&whole).at("look for", &whole)? {
        return Err(io::Error::from(ErrorKind::AlreadyExists)).at("create", &whole);
    }
    disk.create_dir(&path).at("create", &path)?;
    let shard = join(&path, SHARD_DIR);
    disk.create_dir(&shard).at("create", &shard)?;
    let made = job.run(&join(&path, TREE_DIR)).and_then(|_| {
        for dir in [&*shard, &path] {
            disk.sync_dir(dir).map_err(unsynced(dir))?;
        }
        disk.rename(&path, &whole).at("rename", &whole)?;
        disk.sync_dir(DIR).map_err(unsynced(DIR))
    });
    // What cannot be removed now is in nobody's way, and the next checkpoint tries again.
    let removed = if made.is_ok() { remove_others(disk, name) } else { remove_unfinished(disk) };
    if let Err(error) = removed {
        tracing::warn!(%error, "an old checkpoint cannot be removed");
    }
    made
}

/// Removes what was begun and not ended.
///
/// # Errors
///
/// What the disk says.
pub(super) fn remove_unfinished(disk: &dyn Disk) -> io::Result<()> {
    if !disk.exists(DIR)? {
        return Ok(());
    }
    disk.list(DIR)?
        .iter()
        .filter(|name| name.ends_with(UNFINISHED))
        .try_for_each(|name| remove(disk, &join(DIR, name)))
}

fn remove_others(disk: &dyn Disk, kept: &str) -> io::Result<()> {
    for name in disk.list(DIR)? {
        // Only what was named by a node is removed.
        let is_ours = name.bytes().all(|byte| byte.is_ascii_digit());
        let path = join(DIR, &name);
        if name != kept && is_ours && !disk.exists(&join(&path, IDENTITY))? {
            // First its name goes: what is removed in part is no checkpoint.
            let unfinished = format!("{path}{UNFINISHED}");
            disk.rename(&path, &unfinished)?;
            remove(disk, &unfinished)?;
        }
    }
    Ok(())
}

/// Removes a file, or a directory with all that is in it.
pub(super) fn remove(disk: &dyn Disk, path: &str) -> io::Result<()> {
    match disk.list(path) {
        Ok(names) => {
            names.iter().try_for_each(|name| remove(disk, &join(path, name)))?;
            disk.remove_dir(path)
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => disk.remove(path),
        Err(error) => Err(error),
    }
}
