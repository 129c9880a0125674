//! Generations: the directory of a tree holds one complete tree, and while another is being brought in, two.
//!
//! | file | |
//! |---|---|
//! | `CURRENT` | the name of the directory that counts, a space, XXH3-64 of the name in hexadecimal, a line feed |
//! | `gen-000001/` | a tree: `MANIFEST` and its tables |
//! | `incoming/` | the files of a tree that is being brought in; removed when the tree is opened |
//!
//! A tree that comes from elsewhere is written into a directory of its own, made durable, and takes over by the renaming of
//! `CURRENT`: a crash leaves the old one or the new one.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    Error, Result,
    error::{At, unsynced},
    manifest::Manifest,
    version::{Flushed, Version},
};
use crate::disk::{Disk, join, parent};
use crate::log::Position;

const CURRENT: &str = "CURRENT";
const INCOMING: &str = "incoming";
const NEW_CURRENT: &str = "CURRENT.new";
/// Longest `CURRENT` that is read, in bytes.
const CURRENT_BYTES_MAX: u64 = 64;

/// Returns the name of the generation `number`.
pub(super) fn name(number: u64) -> String {
    format!("gen-{number:06}")
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("gen-")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Whether `dir` says which generation counts; [`open`] leaves it so.
pub(super) fn exists(disk: &dyn Disk, dir: &str) -> Result<bool> {
    let path = join(dir, CURRENT);
    disk.exists(&path).at("look for", &path)
}

/// Whether the tree in `dir` came without a log and was not opened since.
///
/// # Errors
/// [`Error::Corrupt`] if it cannot be read.
pub(super) fn is_copy(disk: &dyn Disk, dir: &str) -> Result<bool> {
    if !exists(disk, dir)? {
        return Ok(false);
    }
    let generation = join(dir, &read_current(disk, dir)?);
    Ok(Manifest::read(disk, &generation)?.flushed.log_reset_pending)
}

/// Returns the directory of the tree in `dir`, which is made, empty and durable, if there is none.
///
/// # Errors
/// [`Error::Corrupt`] if the directory holds a tree but does not say which generation counts.
pub(super) fn open(disk: &dyn Disk, dir: &str) -> Result<String> {
    let path = join(dir, CURRENT);
    if disk.exists(&path).at("look for", &path)? {
        let name = read_current(disk, dir)?;
        return Ok(join(dir, &name));
    }
    disk.create_dir(dir).at("create", dir)?;
    disk.sync_dir(parent(dir)).map_err(unsynced(parent(dir)))?;
    for name in generations(disk, dir)? {
        let orphan = join(dir, &name);
        if Manifest::exists(disk, &orphan)? {
            let manifest = Manifest::read(disk, &orphan)?;
            if manifest.flushed != Flushed::default() || !manifest.tables.is_empty() {
                return Err(Error::Corrupt {
                    file: path,
                    offset: 0,
                    what: "it is missing, but there is a tree",
                });
            }
        }
        remove(disk, &orphan)?;
    }
    create(disk, dir, 1, &Version::<()>::new(0, Flushed::default(), Vec::new()), 1)
}

/// Makes the generation `number` of `dir` with the manifest of `version`, whose tables are the caller's concern and have to
/// be in place and durable; then makes it the one that counts. Returns its directory.
pub(super) fn create<T>(
    disk: &dyn Disk,
    dir: &str,
    number: u64,
    version: &Version<T>,
    next_file_id: u64,
) -> Result<String> {
    let generation = join(dir, &name(number));
    disk.create_dir(&generation).at("create", &generation)?;
    Manifest::of(version, next_file_id).write(disk, &generation)?;
    disk.sync_dir(dir).map_err(unsynced(dir))?;
    switch(disk, dir, &name(number))?;
    Ok(generation)
}

/// Makes the directory into which the files of another tree are written, unless it is there, and returns it. What an earlier
/// try has left there is for whoever writes to keep or to remove.
pub(super) fn receive(disk: &dyn Disk, dir: &str) -> Result<String> {
    let incoming = join(dir, INCOMING);
    if !disk.exists(&incoming).at("look for", &incoming)? {
        disk.create_dir(&incoming).at("create", &incoming)?;
    }
    Ok(incoming)
}

/// Makes what was received the generation that counts, after the one in the directory `current`. Its files have to be
/// durable; their entries become so here. Returns its manifest, before which nothing has changed.
///
/// # Errors
/// [`Error::Corrupt`] if it is not the tree at `position`, to which a log has to be reset.
pub(super) fn adopt(disk: &dyn Disk, dir: &str, current: &str, position: Position) -> Result<()> {
    let incoming = join(dir, INCOMING);
    let manifest = Manifest::read(disk, &incoming)?;
    if manifest.flushed.position != position || !manifest.flushed.log_reset_pending {
        let what = "the tree that was received is not the one that was announced";
        return Err(Error::Corrupt { file: incoming, offset: 0, what });
    }
    let current = number(current.rsplit('/').next().unwrap_or(current)).expect("a generation has a number");
    let next = name(current + 1);
    let generation = join(dir, &next);
    disk.rename(&incoming, &generation).at("rename", &incoming)?;
    disk.sync_dir(dir).map_err(unsynced(dir))?;
    switch(disk, dir, &next)
}

/// Removes what was received in part, or never adopted.
pub(super) fn remove_incoming(disk: &dyn Disk, dir: &str) -> Result<()> {
    let incoming = join(dir, INCOMING);
    if disk.exists(&incoming).at("look for", &incoming)? {
        remove(disk, &incoming)?;
    }
    Ok(())
}

/// Makes the generation `name` of `dir` the one that counts, durably.
fn switch(disk: &dyn Disk, dir: &str, name: &str) -> Result<()> {
    let new = join(dir, NEW_CURRENT);
    let path = join(dir, CURRENT);
    if disk.exists(&new).at("look for", &new)? {
        disk.remove(&new).at("remove", &new)?;
    }
    let file = disk.create(&new).at("create", &new)?;
    file.write_at(line(name).as_bytes(), 0).at("write", &new)?;
    file.sync().map_err(unsynced(&new))?;
    disk.rename(&new, &path).at("rename", &path)?;
    disk.sync_dir(dir).map_err(unsynced(dir))
}

fn line(name: &str) -> String {
    format!("{name} {:016x}\n", xxh3_64(name.as_bytes()))
}

fn read_current(disk: &dyn Disk, dir: &str) -> Result<String> {
    let path = join(dir, CURRENT);
    let file = disk.open(&path).at("open", &path)?;
    file.sync().map_err(unsynced(&path))?;
    file.refresh().at("refresh", &path)?;
    disk.sync_dir(dir).map_err(unsynced(dir))?;
    let corrupt = |what| Error::Corrupt { file: path.clone(), offset: 0, what };
    let bytes_len = file.len().at("measure", &path)?;
    if bytes_len > CURRENT_BYTES_MAX {
        return Err(corrupt("it is too long"));
    }
    let mut bytes = vec![0; usize::try_from(bytes_len).expect("at most 64")];
    file.read_at(&mut bytes, 0).at("read", &path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| corrupt("it is not text"))?;
    let (name, _) = text.split_once(' ').ok_or_else(|| corrupt("it names no directory"))?;
    if number(name).is_none() || line(name) != text {
        return Err(corrupt("it does not name a generation, or its checksum does not match"));
    }
    Ok(name.to_owned())
}

fn generations(disk: &dyn Disk, dir: &str) -> Result<Vec<String>> {
    let names = disk.list(dir).at("list", dir)?;
    Ok(names.into_iter().filter(|name| number(name).is_some()).collect())
}

/// Removes all generations of `dir` but the one in the directory `kept`. What a crash leaves of them is removed the next time.
pub(super) fn remove_others(disk: &dyn Disk, dir: &str, kept: &str) -> Result<()> {
    for name in generations(disk, dir)? {
        let generation = join(dir, &name);
        if generation != kept {
            remove(disk, &generation)?;
        }
    }
    Ok(())
}

fn remove(disk: &dyn Disk, generation: &str) -> Result<()> {
    for name in disk.list(generation).at("list", generation)? {
        let path = join(generation, &name);
        disk.remove(&path).at("remove", &path)?;
    }
    disk.remove_dir(generation).at("remove", generation)
}
