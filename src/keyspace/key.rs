//! What can be done with a key whatever it holds.

use super::encoding::{DATA_PREFIX_BYTES, Encoded, Key, META_PREFIX_BYTES, Object};
use super::error::{CommandError, Failure, Result, Stop};
use super::record::{Header, Kind, Record, Type};
use super::source::LONG_RECORDS;
use super::txn::WriteTxn;
use super::view::View;
use super::{hash, moved, string};

/// How many records are copied between two looks at where they came from.
const COPY_RECORDS: usize = 256;

/// Deletes the key `name`; false if there is none. O(1), whatever it holds.
pub(crate) fn delete(txn: &mut WriteTxn<'_>, name: &[u8]) -> Result<bool> {
    let key = txn.key(name);
    let Some(header) = txn.header(&key)? else { return Ok(false) };
    txn.remove(&key, &header)?;
    Ok(true)
}

/// When a key is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// There is no key.
    Absent,
    /// Never.
    Never,
    /// Then, in ms since 1970.
    At(u64),
}

/// When the key `name` is due.
pub(crate) fn due(view: &View<'_>, name: &[u8]) -> Result<Due> {
    Ok(match view.header(&view.key(name))? {
        None => Due::Absent,
        Some(Header { expire_ms: None, .. }) => Due::Never,
        Some(Header { expire_ms: Some(at), .. }) => Due::At(at),
    })
}

/// What must hold for EXPIRE to set a new time; a key without one is due in infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Only if there is none.
    pub(crate) if_none: bool,
    /// Only if there is one.
    pub(crate) if_some: bool,
    /// Only to a later time.
    pub(crate) if_later: bool,
    /// Only to an earlier time.
    pub(crate) if_earlier: bool,
}

impl Condition {
    fn holds(self, before: Option<u64>, after: u64) -> bool {
        !(self.if_none && before.is_some()
            || self.if_some && before.is_none()
            || self.if_later && before.is_none_or(|before| after <= before)
            || self.if_earlier && before.is_some_and(|before| after >= before))
    }
}

/// Makes the key `name` due at `at` ms since 1970 if `condition` holds, and tells whether it did. A time that is over
/// deletes the key.
pub(crate) fn expire(txn: &mut WriteTxn<'_>, name: &[u8], at: i64, condition: Condition) -> Result<bool> {
    let key = txn.key(name);
    let Some(record) = txn.record(&key)? else { return Ok(false) };
    let old = record.header;
    // Times before 1970 compare as 1970: both are over.
    let at = u64::try_from(at).unwrap_or(0);
    if !condition.holds(old.expire_ms, at) {
        txn.recycle(record);
        return Ok(false);
    }
    if at <= txn.now() {
        txn.remove(&key, &old)?;
    } else {
        txn.put_header(&key, Some(&old), &old.expiring(Some(at)), &[record.body()]);
    }
    txn.recycle(record);
    Ok(true)
}

/// Makes the key `name` live for ever; false if it does already, or if there is none.
pub(crate) fn persist(txn: &mut WriteTxn<'_>, name: &[u8]) -> Result<bool> {
    let key = txn.key(name);
    let Some(record) = txn.record(&key)? else { return Ok(false) };
    let old = record.header;
    if old.expire_ms.is_some() {
        txn.put_header(&key, Some(&old), &old.expiring(None), &[record.body()]);
    }
    txn.recycle(record);
    Ok(old.expire_ms.is_some())
}

/// Gives what `from` holds the name `to`, over what is there. O(1), whatever they hold.
///
/// With `only_new` it is false, and nothing happens, if `to` exists.
pub(crate) fn rename(txn: &mut WriteTxn<'_>, from: &[u8], to: &[u8], only_new: bool) -> Result<bool> {
    let (from, to) = (txn.key(from), txn.key(to));
    let Some(record) = txn.record(&from)? else { return Err(CommandError::NoSuchKey.into()) };
    let header = record.header;
    if from == to {
        txn.recycle(record);
        return Ok(!only_new);
    }
    let replaced = txn.header(&to)?;
    if let Some(replaced) = replaced {
        if only_new {
            txn.recycle(record);
            return Ok(false);
        }
        txn.remove(&to, &replaced)?;
    }
    txn.remove_header(&from, &header);
    txn.put_header(&to, None, &header, &[record.body()]);
    txn.recycle(record);
    Ok(true)
}

/// Moves the key `name` to database `db`; false if there is none, or one of this name there. O(1), whatever it holds.
pub(crate) fn move_to(txn: &mut WriteTxn<'_>, name: &[u8], db: u32) -> Result<bool> {
    if db == txn.db() {
        return Err(CommandError::SameObject.into());
    }
    let (from, to) = (txn.key(name), txn.key_in(db, name));
    let Some(record) = txn.record(&from)? else { return Ok(false) };
    let header = record.header;
    if txn.exists(&to)? {
        txn.recycle(record);
        return Ok(false);
    }
    txn.remove_header(&from, &header);
    txn.put_header(&to, None, &header, &[record.body()]);
    if let Some(object) = header.object {
        moved::note(txn, object, from.keyspace(), to.keyspace())?;
    }
    txn.recycle(record);
    Ok(true)
}

/// Copies what `from` holds to `to` in database `db`, with its time to live. With `replace` over what is there; without,
/// it is false if something is. O(n) in what it holds.
pub(crate) fn copy(txn: &mut WriteTxn<'_>, from: &[u8], to: &[u8], db: u32, replace: bool) -> Result<bool> {
    let (from, to) = (txn.key(from), txn.key_in(db, to));
    if from == to {
        return Err(CommandError::SameObject.into());
    }
    let Some(record) = txn.record(&from)? else { return Ok(false) };
    let replaced = txn.header(&to)?;
    if let Some(replaced) = replaced {
        if !replace {
            txn.recycle(record);
            return Ok(false);
        }
        txn.remove(&to, &replaced)?;
    }
    let mut header = record.header;
    if let Some(object) = header.object {
        let copy = txn.new_object(&to);
        copy_records(txn, object, copy)?;
        header.object = Some(copy);
    }
    txn.put_header(&to, None, &header, &[record.body()]);
    txn.recycle(record);
    Ok(true)
}

fn copy_records(txn: &mut WriteTxn<'_>, from: Object, to: Object) -> Result {
    let prefix = Encoded::from_slice(&from.prefix());
    let mut next = Some(prefix.clone());
    let mut copied = 0;
    while let Some(start) = next.take() {
        if copied >= LONG_RECORDS && !txn.may_block() {
            return Err(Failure::Stop(Stop::Long));
        }
        let mut walk = txn.source().walk(prefix.clone(), &start)?;
        let mut page: Vec<(Encoded, Vec<u8>)> = Vec::with_capacity(COPY_RECORDS);
        while let Some(suffix) = walk.suffix() {
            if page.len() == COPY_RECORDS {
                next = walk.key().map(Encoded::from_slice);
                break;
            }
            let mut key = Encoded::from_slice(&to.prefix());
            key.extend_from_slice(suffix);
            page.push((key, walk.value().to_vec()));
            walk.next()?;
        }
        drop(walk);
        copied += page.len();
        for (key, value) in page {
            txn.put_shared(&key, value.into())?;
        }
    }
    Ok(())
}

/// The type of the key `name`; `None` if there is none.
pub(crate) fn type_of(view: &View<'_>, name: &[u8]) -> Result<Option<Type>> {
    Ok(view.header(&view.key(name))?.map(|header| header.kind.type_of()))
}

/// What OBJECT ENCODING says about the key `name`; `None` if there is none.
pub(crate) fn encoding(view: &View<'_>, name: &[u8]) -> Result<Option<&'static str>> {
    let Some(record) = view.record(&view.key(name))? else { return Ok(None) };
    let encoding = match record.header.kind {
        Kind::String | Kind::Chunks => string::encoding(&record),
        Kind::InlineHash | Kind::Hash => hash::encoding(&record),
    };
    view.recycle(record);
    Ok(Some(encoding))
}

/// Bytes of all records of the key `name`, with their keys; `None` if there is none. O(1).
pub(crate) fn memory_bytes(view: &View<'_>, name: &[u8]) -> Result<Option<u64>> {
    let key: Key = view.key(name);
    let Some(record) = view.record(&key)? else { return Ok(None) };
    let bytes = bytes_of(&key, &record);
    view.recycle(record);
    Ok(Some(bytes))
}

fn bytes_of(key: &Key, record: &Record) -> u64 {
    let meta = (key.encoded().len() + record.bytes_len()) as u64;
    let ttl = record.header.expire_ms.map_or(0, |_| (META_PREFIX_BYTES + 8 + key.name().len()) as u64);
    let data = match record.header.kind {
        Kind::String | Kind::InlineHash => 0,
        Kind::Chunks => string::data_bytes(record),
        Kind::Hash => hash::data_bytes(record),
    };
    debug_assert!(data == 0 || data > DATA_PREFIX_BYTES as u64);
    meta + ttl + data
}
