//! Walks over the keys of a database, in the order of slot and hash.
//!
//! A cursor is the position behind the last key shown. Keys of one position are shown together, and a key's position
//! never changes: so a key that is there from the beginning of a scan to its end is shown, exactly once, whatever
//! happens to other keys meanwhile, and on whichever node the scan goes on.

use super::META;
use super::encoding::{META_PREFIX_BYTES, family_prefix, meta_position, position};
use super::error::{Failure, Result, Stop};
use super::record::{Header, Type};
use super::source::LONG_RECORDS;
use super::view::View;

/// How many neighbours a random pick chooses from.
const NEIGHBOURS: usize = 16;

/// Shows every key of the selected database that exists at the view's stamp, with its type.
pub(crate) fn each_key(view: &View<'_>, mut show: impl FnMut(&[u8], Type) -> Result) -> Result {
    scan(view, 0, u64::MAX, &mut show).map(drop)
}

/// Shows the keys from `cursor` on until `count` were looked at, and returns the cursor behind them; 0 at the end.
pub(crate) fn scan(
    view: &View<'_>,
    cursor: u64,
    count: u64,
    mut show: impl FnMut(&[u8], Type) -> Result,
) -> Result<u64> {
    if !view.may_block() && count.min(view.counts()?.keys) > LONG_RECORDS as u64 {
        return Err(Failure::Stop(Stop::Long));
    }
    let keyspace = view.keyspace();
    let mut walk = view.walk(family_prefix(META, keyspace), &meta_position(keyspace, cursor))?;
    let (mut looked_at, mut last) = (0, None);
    while let Some(key) = walk.key() {
        let here = position(key);
        if looked_at >= count
            && let Some(last) = last
            && here > last
        {
            return Ok(last + 1);
        }
        let (header, _) = Header::decode(walk.value());
        if view.shows(&header) {
            show(&key[META_PREFIX_BYTES..], header.kind.type_of())?;
        }
        last = Some(here);
        looked_at += 1;
        walk.next()?;
    }
    Ok(0)
}

/// Shows the names of the first `most` keys of the selected database that are in `slot` and exist at the view's stamp.
pub(crate) fn each_key_of_slot(
    view: &View<'_>,
    slot: u16,
    most: u64,
    mut show: impl FnMut(&[u8]) -> Result,
) -> Result {
    let mut prefix = family_prefix(META, view.keyspace());
    prefix.extend_from_slice(&slot.to_be_bytes());
    let mut walk = view.walk(prefix.clone(), &prefix)?;
    let mut shown = 0;
    while let Some(key) = walk.key()
        && shown < most
    {
        if view.shows(&Header::decode(walk.value()).0) {
            show(&key[META_PREFIX_BYTES..])?;
            shown += 1;
        }
        walk.next()?;
    }
    Ok(())
}

/// A key of the selected database, chosen among the neighbours of a random position; `None` if there is none.
pub(crate) fn random_key(view: &View<'_>) -> Result<Option<Vec<u8>>> {
    let keyspace = view.keyspace();
    let start = view.rng().u64(..1 << 62);
    let mut neighbours = Vec::new();
    let mut walk = view.walk(family_prefix(META, keyspace), &meta_position(keyspace, start))?;
    let mut is_behind_end = false;
    while neighbours.len() < NEIGHBOURS {
        match walk.key() {
            Some(key) if is_behind_end && position(key) >= start => break,
            Some(key) => {
                if view.shows(&Header::decode(walk.value()).0) {
                    neighbours.push(key[META_PREFIX_BYTES..].to_vec());
                }
                walk.next()?;
            }
            None if is_behind_end => break,
            None => {
                is_behind_end = true;
                walk.seek(&meta_position(keyspace, 0))?;
            }
        }
    }
    Ok(view.rng().choice(neighbours))
}
