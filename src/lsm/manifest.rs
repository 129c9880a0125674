//! The manifest: one file with a whole version, replaced at every edit.
//!
//! | field | bytes | |
//! |---|---|---|
//! | magic | 8 | `sisyman\0` |
//! | version | 1 | 1 |
//! | number | varint | counts edits |
//! | next file id | varint | no table had this number or a higher one |
//! | flushed index, term | varint, varint | see [`Flushed`] |
//! | log reset pending | 1 | 0 or 1 |
//! | membership | varint + … | |
//! | tables | varint | how many; of each what follows |
//! | · level | 1 | |
//! | · run | varint | of level 0 |
//! | · dead bytes, dead below | varint, varint | |
//! | · properties | … | see [`Properties`] |
//! | checksum | 8 | XXH3-64 of all before |
//!
//! A new manifest is written beside the old one, synced and renamed over it, and the directory is synced: there is always
//! exactly one, whole. With 100 bytes a table that is cheap up to about 5,000 tables, and there is no tail to repair.

use std::{io, sync::Arc};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Error, Position, Result,
    coding::{Reader, put_bytes, put_varint},
    error::{At, unsynced},
    table::Properties,
    version::{Flushed, LEVELS, Listed, Placed, Version},
};
use crate::disk::{Disk, join};

const MAGIC: &[u8; 8] = b"sisyman\0";
const VERSION: u8 = 1;
const NAME: &str = "MANIFEST";
const NEW_NAME: &str = "MANIFEST.new";
/// Longest manifest that is read, in bytes: a hundred times what was thought of.
const BYTES_MAX: u64 = 64 << 20;

/// What a manifest says.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) number: u64,
    pub(super) next_file_id: u64,
    pub(super) flushed: Flushed,
    pub(super) tables: Vec<Entry>,
}

/// A table in the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) level: usize,
    pub(super) run: u64,
    pub(super) dead_bytes: u64,
    pub(super) dead_below: u64,
    pub(super) properties: Arc<Properties>,
}

impl Manifest {
    /// Describes `version`.
    pub(super) fn of<T>(version: &Version<T>, next_file_id: u64) -> Manifest {
        let entry = |Listed { level, run, placed }: Listed<T>| {
            let Placed { properties, dead_bytes, dead_below, .. } = placed;
            Entry { level, run, dead_bytes, dead_below, properties }
        };
        Manifest {
            number: version.number,
            next_file_id,
            flushed: version.flushed.clone(),
            tables: version.listed().map(entry).collect(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 128 * self.tables.len());
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        put_varint(&mut out, self.number);
        put_varint(&mut out, self.next_file_id);
        put_varint(&mut out, self.flushed.position.index);
        put_varint(&mut out, self.flushed.position.term);
        out.push(self.flushed.log_reset_pending.into());
        put_bytes(&mut out, &self.flushed.membership);
        put_varint(&mut out, self.tables.len() as u64);
        for entry in &self.tables {
            out.push(u8::try_from(entry.level).expect("there are seven levels"));
            put_varint(&mut out, entry.run);
            put_varint(&mut out, entry.dead_bytes);
            put_varint(&mut out, entry.dead_below);
            entry.properties.encode_whole(&mut out);
        }
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads what [`Manifest::encode`] wrote; the error says what does not hold.
    pub(super) fn decode(bytes: &[u8]) -> std::result::Result<Manifest, &'static str> {
        let (body, checksum) = bytes.split_last_chunk::<8>().ok_or("the manifest is cut short")?;
        if !body.starts_with(MAGIC) {
            return Err("this is no manifest");
        }
        if xxh3_64(body).to_le_bytes() != *checksum {
            return Err("the checksum of the manifest does not match");
        }
        let mut reader = Reader::new(&body[MAGIC.len()..]);
        if reader.u8() != Some(VERSION) {
            return Err("a manifest of a format that this build does not know");
        }
        let manifest = Self::fields(&mut reader).ok_or("the fields of the manifest do not fit together")?;
        if reader.is_empty() { Ok(manifest) } else { Err("the manifest goes on after its end") }
    }

    fn fields(reader: &mut Reader<'_>) -> Option<Manifest> {
        let number = reader.varint()?;
        let next_file_id = reader.varint()?;
        let position = Position { index: reader.varint()?, term: reader.varint()? };
        let log_reset_pending = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let membership = Bytes::copy_from_slice(reader.bytes()?);
        let flushed = Flushed { position, membership, log_reset_pending };
        let count = reader.varint()?;
        let mut tables = Vec::new();
        for _ in 0..count {
            let entry = Entry::decode(reader)?;
            let properties = &entry.properties;
            if properties.id >= next_file_id || properties.max_index > position.index {
                return None;
            }
            tables.push(entry);
        }
        Some(Manifest { number, next_file_id, flushed, tables })
    }

    /// Makes this the manifest of `dir`, durably.
    ///
    /// # Errors
    /// See [`Manifest::publish`].
    pub(super) fn write(&self, disk: &dyn Disk, dir: &str) -> Result<()> {
        self.prepare(disk, dir)?;
        Self::publish(disk, dir)
    }

    /// Writes what is to be the manifest of `dir` beside the one in force, durably.
    pub(super) fn prepare(&self, disk: &dyn Disk, dir: &str) -> Result<()> {
        let new = join(dir, NEW_NAME);
        if disk.exists(&new).at("look for", &new)? {
            disk.remove(&new).at("remove", &new)?;
        }
        let file = disk.create(&new).at("create", &new)?;
        file.write_at(&self.encode(), 0).at("write", &new)?;
        file.sync().map_err(unsynced(&new))
    }

    /// Removes what was prepared, if it can be: else the next one replaces it.
    pub(super) fn discard(disk: &dyn Disk, dir: &str) {
        if let Err(error) = disk.remove(&join(dir, NEW_NAME)) {
            tracing::debug!(%error, "half of a manifest stays");
        }
    }

    /// Puts what was prepared in the place of the manifest in force.
    ///
    /// # Errors
    /// [`Error::Io`]: nobody knows then which of the two manifests the directory has, and the node has to stop.
    pub(super) fn publish(disk: &dyn Disk, dir: &str) -> Result<()> {
        let (new, path) = (join(dir, NEW_NAME), join(dir, NAME));
        // Even if it says that there is no room: it may have happened.
        disk.rename(&new, &path).map_err(io::Error::other).at("rename", &path)?;
        disk.sync_dir(dir).map_err(unsynced(dir))
    }

    /// Reads the manifest of `dir`, and makes sure that what was read is durable.
    pub(super) fn read(disk: &dyn Disk, dir: &str) -> Result<Manifest> {
        let path = join(dir, NAME);
        let file = disk.open(&path).at("open", &path)?;
        file.sync().map_err(unsynced(&path))?;
        disk.sync_dir(dir).map_err(unsynced(dir))?;
        let corrupt = |what| Error::Corrupt { file: path.clone(), offset: 0, what };
        let file_bytes = file.len().at("measure", &path)?;
        if file_bytes > BYTES_MAX {
            return Err(corrupt("the manifest is longer than any that was ever written"));
        }
        let mut bytes = vec![0; usize::try_from(file_bytes).expect("checked above")];
        file.read_at(&mut bytes, 0).at("read", &path)?;
        Manifest::decode(&bytes).map_err(corrupt)
    }

    /// Whether `name` is a file of the manifest's own.
    pub(super) fn owns(name: &str) -> bool {
        name == NAME
    }

    /// Whether `dir` has a manifest.
    pub(super) fn exists(disk: &dyn Disk, dir: &str) -> Result<bool> {
        let path = join(dir, NAME);
        disk.exists(&path).at("look for", &path)
    }
}

impl Entry {
    fn decode(reader: &mut Reader<'_>) -> Option<Entry> {
        let level = usize::from(reader.u8()?);
        let run = reader.varint()?;
        let dead_bytes = reader.varint()?;
        let dead_below = reader.varint()?;
        let properties = Arc::new(Properties::decode_whole(reader)?);
        (level < LEVELS).then_some(Entry { level, run, dead_bytes, dead_below, properties })
    }
}
