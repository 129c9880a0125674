//! Strings: in META while they are short, in chunks of DATA above [`INLINE_BYTES_MAX`], so that APPEND, SETRANGE and
//! GETRANGE of a long string touch only the chunks that they are about.

use std::ops::Deref;

use bytes::{Bytes, BytesMut};

use super::encoding::{Encoded, Key, Object, read_u32, read_u64};
use super::error::{CommandError, Result};
use super::extended::Extended;
use super::record::{Header, Kind, Origin, Record, Type};
use super::source::Source;
use super::txn::WriteTxn;
use super::view::View;
use crate::lsm::Value;
use crate::number::{Decimal, parse_integer};

/// The longest string that is kept in META.
pub(super) const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 16 * 1024;

const TAG: u8 = b'b';

/// The longest string that is `embstr`.
const SHORT_BYTES_MAX: usize = 44;

/// A string that was read.
pub(crate) enum Text {
    /// The body of this record.
    Inline(Record),
    /// Put together from chunks.
    Assembled(Bytes),
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline(record) => record.body(),
            Self::Assembled(bytes) => bytes,
        }
    }
}

impl Text {
    /// The string, to be kept: without a copy where it is shared already.
    pub(crate) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Inline(record) => record.body_bytes(),
            Self::Assembled(bytes) => bytes.clone(),
        }
    }
}

/// The string at `name`; `None` if there is no key.
pub(crate) fn get(view: &View<'_>, name: &[u8]) -> Result<Option<Text>> {
    let Some(record) = view.record(&view.key(name))? else { return Ok(None) };
    load(view.source(), record).map(Some)
}

/// As [`get`], but no key and a key of another type are alike, as for MGET.
pub(crate) fn get_if_string(view: &View<'_>, name: &[u8]) -> Result<Option<Text>> {
    let Some(record) = view.record(&view.key(name))? else { return Ok(None) };
    match record.header.kind.type_of() {
        Type::String => load(view.source(), record).map(Some),
        Type::Hash => Ok(None),
    }
}

/// Gives the buffer of a string that was read through `view` back.
pub(crate) fn done(view: &View<'_>, text: Text) {
    if let Text::Inline(record) = text {
        view.recycle(record);
    }
}

/// The string at `key` before a change.
pub(crate) fn get_old(txn: &mut WriteTxn<'_>, key: &Key) -> Result<Option<Text>> {
    let Some(record) = txn.record(key)? else { return Ok(None) };
    load(txn.source(), record).map(Some)
}

fn load(source: Source<'_>, record: Record) -> Result<Text> {
    match record.header.kind {
        Kind::String => Ok(Text::Inline(record)),
        Kind::Chunks => {
            let length = read_u64(record.body());
            let bytes = load_chunks(source, object_of(&record.header), 0, length)?;
            Ok(Text::Assembled(bytes))
        }
        Kind::InlineHash | Kind::Hash => Err(CommandError::WrongType.into()),
    }
}

/// The length of the string at `name`; 0 if there is no key.
pub(crate) fn length(view: &View<'_>, name: &[u8]) -> Result<u64> {
    let Some(record) = view.record(&view.key(name))? else { return Ok(0) };
    let length = length_of(&record)?;
    view.recycle(record);
    Ok(length)
}

fn length_of(record: &Record) -> Result<u64> {
    match record.header.kind {
        Kind::String => Ok(record.body().len() as u64),
        Kind::Chunks => Ok(read_u64(record.body())),
        Kind::InlineHash | Kind::Hash => Err(CommandError::WrongType.into()),
    }
}

/// The part of the string at `name` from `start` to `end`, both included; negative ones count from the end.
pub(crate) fn range(view: &View<'_>, name: &[u8], start: i64, end: i64) -> Result<Bytes> {
    let Some(record) = view.record(&view.key(name))? else { return Ok(Bytes::new()) };
    let length = length_of(&record)?;
    let Some((from, to)) = clamp(start, end, length) else { return Ok(Bytes::new()) };
    let part = match record.header.kind {
        Kind::Chunks => load_chunks(view.source(), object_of(&record.header), from, to)?,
        Kind::String | Kind::InlineHash | Kind::Hash => {
            let at =
                |position: u64| usize::try_from(position).expect("a string in memory has a usize of bytes");
            record.body_bytes().slice(at(from)..at(to))
        }
    };
    view.recycle(record);
    Ok(part)
}

/// The half-open range of `start ..= end` in a string of `length` bytes; `None` if it is empty.
fn clamp(start: i64, end: i64, length: u64) -> Option<(u64, u64)> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let from_either_end = |position: i64| match u64::try_from(position) {
        Ok(position) => position,
        Err(_) => length.saturating_sub(position.unsigned_abs()),
    };
    let from = from_either_end(start);
    let to = from_either_end(end).min(length.checked_sub(1)?);
    (from <= to).then_some((from, to + 1))
}

/// Makes `key` hold `value` and nothing else, due at `due` in ms since 1970. A string that is due already is no key.
pub(crate) fn set(txn: &mut WriteTxn<'_>, key: &Key, value: &[u8], due: Option<u64>) -> Result {
    let old = txn.header(key)?;
    if due.is_some_and(|at| at <= txn.now()) {
        return old.map_or(Ok(()), |old| txn.remove(key, &old));
    }
    set_made(txn, key, old.as_ref(), value, Header::new(Kind::String).expiring(due))
}

/// As [`set`], of a key that does not exist, for ever.
pub(crate) fn set_new(txn: &mut WriteTxn<'_>, key: &Key, value: &[u8]) -> Result {
    set_made(txn, key, None, value, Header::new(Kind::String))
}

/// Makes `key`, about which META says `old`, hold `value` with the expiry and the origin of `header`.
fn set_made(txn: &mut WriteTxn<'_>, key: &Key, old: Option<&Header>, value: &[u8], header: Header) -> Result {
    if value.len() <= INLINE_BYTES_MAX {
        return txn.put_record(key, old, &Header { kind: Kind::String, object: None, ..header }, &[value]);
    }
    let object = txn.new_object(key);
    patch_chunks(txn, object, 0, value)?;
    let length = (value.len() as u64).to_be_bytes();
    txn.put_record(key, old, &Header { kind: Kind::Chunks, object: Some(object), ..header }, &[&length])
}

/// Adds `by` to the integer at `name`, 0 if there is no key, and returns the sum. The time to live stays.
pub(crate) fn increment(txn: &mut WriteTxn<'_>, name: &[u8], by: i64) -> Result<i64> {
    let key = txn.key(name);
    let Some(record) = txn.record(&key)? else {
        set_new(txn, &key, Decimal::signed(by).as_bytes())?;
        return Ok(by);
    };
    let old = record.header;
    let value = match old.kind.type_of() {
        Type::String => parse_integer(if old.kind == Kind::String { record.body() } else { b"" }),
        Type::Hash => return Err(CommandError::WrongType.into()),
    };
    txn.recycle(record);
    let value = value.ok_or(CommandError::NotInteger)?;
    let sum = value.checked_add(by).ok_or(CommandError::Overflow)?;
    let header = Header::new(Kind::String).expiring(old.expire_ms);
    set_made(txn, &key, Some(&old), Decimal::signed(sum).as_bytes(), header)?;
    Ok(sum)
}

/// Adds the number `by` to the one at `name`, 0 if there is no key, and returns the sum as it is stored.
pub(crate) fn increment_float(txn: &mut WriteTxn<'_>, name: &[u8], by: &[u8]) -> Result<String> {
    let key = txn.key(name);
    let old = get_old(txn, &key)?;
    let value = old
        .as_ref()
        .map_or(Ok(Extended::ZERO), |text| Extended::parse(text).ok_or(CommandError::NotFloat))?;
    let by = Extended::parse(by).ok_or(CommandError::NotFloat)?;
    let sum = value.add(by).filter(Extended::is_finite).ok_or(CommandError::NotFinite)?.to_string();
    let header = txn.header(&key)?;
    let expire_ms = header.and_then(|header| header.expire_ms);
    let made = Header { origin: Origin::Float, ..Header::new(Kind::String) }.expiring(expire_ms);
    set_made(txn, &key, header.as_ref(), sum.as_bytes(), made)?;
    Ok(sum)
}

/// Appends `piece` to the string at `name` and returns the length after it.
pub(crate) fn append(txn: &mut WriteTxn<'_>, name: &[u8], piece: &[u8]) -> Result<u64> {
    let key = txn.key(name);
    let Some(record) = txn.record(&key)? else {
        set_new(txn, &key, piece)?;
        return Ok(piece.len() as u64);
    };
    let length = length_of(&record)?;
    check_length(txn, length, piece.len())?;
    write_at(txn, &key, Some(record), length, piece)
}

/// Writes `piece` over the string at `name` from byte `offset` on, after zeros if it is shorter, and returns the length
/// after it. An empty piece writes nothing.
pub(crate) fn set_range(txn: &mut WriteTxn<'_>, name: &[u8], offset: u64, piece: &[u8]) -> Result<u64> {
    let key = txn.key(name);
    let record = txn.record(&key)?;
    let length = record.as_ref().map_or(Ok(0), length_of)?;
    if piece.is_empty() {
        return Ok(length);
    }
    check_length(txn, offset, piece.len())?;
    write_at(txn, &key, record, offset, piece)
}

fn check_length(txn: &WriteTxn<'_>, offset: u64, piece: usize) -> Result {
    match offset.checked_add(piece as u64) {
        Some(length) if length <= txn.limits().string_bytes_max => Ok(()),
        _ => Err(CommandError::StringTooLong.into()),
    }
}

/// Writes `piece` at `offset` into the string of `record`, and returns the length after it.
fn write_at(
    txn: &mut WriteTxn<'_>,
    key: &Key,
    record: Option<Record>,
    offset: u64,
    piece: &[u8],
) -> Result<u64> {
    let old = record.as_ref().map(|record| record.header);
    let before = record.as_ref().map_or(Ok(0), length_of)?;
    let after = before.max(offset + piece.len() as u64);
    let header = Header { origin: Origin::Edited, ..Header::new(Kind::String) }
        .expiring(old.and_then(|old| old.expire_ms));
    if let Some(Header { kind: Kind::Chunks, object: Some(object), .. }) = old {
        patch_chunks(txn, object, offset, piece)?;
        let header = Header { kind: Kind::Chunks, object: Some(object), ..header };
        txn.put_record(key, old.as_ref(), &header, &[&after.to_be_bytes()])?;
        return Ok(after);
    }
    let body = record.as_ref().map_or(&[][..], Record::body);
    if after <= INLINE_BYTES_MAX as u64 {
        let mut edited = vec![0; to_usize(after)];
        edited[..body.len()].copy_from_slice(body);
        edited[to_usize(offset)..][..piece.len()].copy_from_slice(piece);
        txn.put_record(key, old.as_ref(), &header, &[&edited])?;
    } else {
        let object = txn.new_object(key);
        patch_chunks(txn, object, 0, body)?;
        patch_chunks(txn, object, offset, piece)?;
        let header = Header { kind: Kind::Chunks, object: Some(object), ..header };
        txn.put_record(key, old.as_ref(), &header, &[&after.to_be_bytes()])?;
    }
    if let Some(record) = record {
        txn.recycle(record);
    }
    Ok(after)
}

/// What OBJECT ENCODING says about a string.
pub(super) fn encoding(record: &Record) -> &'static str {
    let body = record.body();
    match (record.header.kind, record.header.origin) {
        (Kind::String, Origin::Set) if parse_integer(body).is_some() => "int",
        (Kind::String, Origin::Set | Origin::Float) if body.len() <= SHORT_BYTES_MAX => "embstr",
        _ => "raw",
    }
}

fn object_of(header: &Header) -> Object {
    header.object.expect("a string in chunks has an object")
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("the limit of a string fits into memory")
}

fn chunk_key(object: Object, chunk: u32) -> Encoded {
    let mut key = object.tagged(TAG);
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// The bytes `from .. to` of a string in chunks. What no chunk holds is zeros.
fn load_chunks(source: Source<'_>, object: Object, from: u64, to: u64) -> Result<Bytes> {
    let (from, to) = (to_usize(from), to_usize(to));
    let mut bytes = BytesMut::zeroed(to - from);
    let first = u32::try_from(from / CHUNK_BYTES).expect("a string has fewer than 2^32 chunks");
    let mut walk = source.walk(object.tagged(TAG), &chunk_key(object, first))?;
    while let Some(suffix) = walk.suffix() {
        let start = read_u32(suffix) as usize * CHUNK_BYTES;
        if start >= to {
            break;
        }
        let chunk = walk.value();
        let (head, tail) = (from.max(start), to.min(start + chunk.len()));
        if head < tail {
            bytes[head - from..tail - from].copy_from_slice(&chunk[head - start..tail - start]);
        }
        walk.next()?;
    }
    Ok(bytes.freeze())
}

/// Writes `piece` at `offset` into the chunks that it touches.
fn patch_chunks(txn: &mut WriteTxn<'_>, object: Object, offset: u64, mut piece: &[u8]) -> Result {
    let mut at = to_usize(offset);
    let mut value = Value::default();
    while !piece.is_empty() {
        let start = at % CHUNK_BYTES;
        let (part, rest) = piece.split_at(piece.len().min(CHUNK_BYTES - start));
        let chunk = u32::try_from(at / CHUNK_BYTES).expect("a string has fewer than 2^32 chunks");
        let key = chunk_key(object, chunk);
        let patched = if part.len() == CHUNK_BYTES {
            Bytes::copy_from_slice(part)
        } else {
            let old = if txn.source().get(&key, &mut value)? { &value[..] } else { &[] };
            let mut patched = BytesMut::zeroed(old.len().max(start + part.len()));
            patched[..old.len()].copy_from_slice(old);
            patched[start..start + part.len()].copy_from_slice(part);
            patched.freeze()
        };
        txn.put_shared(&key, patched)?;
        at += part.len();
        piece = rest;
    }
    Ok(())
}

/// Bytes of the chunks of a long string, with their keys, as if none were missing.
pub(super) fn data_bytes(record: &Record) -> u64 {
    let length = read_u64(record.body());
    let key_bytes = super::encoding::DATA_PREFIX_BYTES as u64 + 1 + 4;
    length + length.div_ceil(CHUNK_BYTES as u64) * key_bytes
}
