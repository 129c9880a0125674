//! Changing a hash: many fields, one write of its META record.

use super::super::encoding::{Key, Object};
use super::super::error::{CommandError, Result};
use super::super::extended::Extended;
use super::super::record::{Header, Kind, Type};
use super::super::txn::WriteTxn;
use super::inline::{self, Fields};
use super::{INLINE_BYTES_MAX, Size, field_key};
use crate::lsm::Value;
use crate::number::{Decimal, parse_integer};

/// A hash that is being changed. What is changed counts when [`Editor::commit`] has written META.
pub(crate) struct Editor<'t, 'a> {
    txn: &'t mut WriteTxn<'a>,
    key: Key,
    old: Option<Header>,
    form: Form,
    is_changed: bool,
    value: Value,
}

/// Where the fields are.
enum Form {
    /// In META; the body as it will be written.
    Inline(Vec<u8>),
    /// Records of their own.
    Expanded { object: Object, size: Size },
}

impl<'t, 'a> Editor<'t, 'a> {
    /// The hash at `name`, empty if there is no key.
    pub(crate) fn open(txn: &'t mut WriteTxn<'a>, name: &[u8]) -> Result<Self> {
        let key = txn.key(name);
        let Some(record) = txn.record(&key)? else {
            let form = Form::Inline(Vec::new());
            return Ok(Self { txn, key, old: None, form, is_changed: false, value: Value::default() });
        };
        if record.header.kind.type_of() != Type::Hash {
            return Err(CommandError::WrongType.into());
        }
        let form = match record.header.object {
            Some(object) => Form::Expanded { object, size: Size::decode(record.body()) },
            None => Form::Inline(record.body().to_vec()),
        };
        let old = Some(record.header);
        txn.recycle(record);
        Ok(Self { txn, key, old, form, is_changed: false, value: Value::default() })
    }

    /// The value of `field`.
    pub(crate) fn get(&mut self, field: &[u8]) -> Result<Option<&[u8]>> {
        match &self.form {
            Form::Inline(body) => Ok(inline::find(body, field)),
            Form::Expanded { object, .. } => {
                let key = field_key(*object, self.txn.hash_seed(), field);
                let found = self.txn.source().get(&key, &mut self.value)?;
                Ok(found.then_some(&self.value))
            }
        }
    }

    /// Sets `field`; true if it is new.
    pub(crate) fn set(&mut self, field: &[u8], value: &[u8]) -> Result<bool> {
        self.is_changed = true;
        let long = self.txn.limits().hash_inline_value_bytes_max;
        if field.len() > long || value.len() > long {
            self.expand()?;
        }
        match &mut self.form {
            Form::Inline(body) => {
                let is_new = set_inline(body, field, value);
                let is_crowded = || Fields::new(body).count() > self.txn.limits().hash_inline_entries_max;
                if body.len() > INLINE_BYTES_MAX || (is_new && is_crowded()) {
                    self.expand()?;
                }
                Ok(is_new)
            }
            Form::Expanded { object, size } => {
                let key = field_key(*object, self.txn.hash_seed(), field);
                let is_old = self.txn.source().get(&key, &mut self.value)?;
                self.txn.put(&key, &[value])?;
                if is_old {
                    size.bytes -= self.value.len() as u64;
                } else {
                    size.fields += 1;
                    size.bytes += field.len() as u64;
                }
                size.bytes += value.len() as u64;
                Ok(!is_old)
            }
        }
    }

    /// Adds `by` to the integer in `field`, 0 if there is none, and returns the sum.
    pub(crate) fn increment(&mut self, field: &[u8], by: i64) -> Result<i64> {
        let value = self.get(field)?.map_or(Some(0), parse_integer).ok_or(CommandError::HashNotInteger)?;
        let sum = value.checked_add(by).ok_or(CommandError::Overflow)?;
        self.set(field, Decimal::signed(sum).as_bytes())?;
        Ok(sum)
    }

    /// Adds `by` to the number in `field`, 0 if there is none, and returns the sum as it is stored.
    pub(crate) fn increment_float(&mut self, field: &[u8], by: Extended) -> Result<String> {
        let value = self.get(field)?.map_or(Some(Extended::ZERO), Extended::parse);
        let sum = value.ok_or(CommandError::HashNotFloat)?.add(by).filter(Extended::is_finite);
        let sum = sum.ok_or(CommandError::NotFinite)?.to_string();
        self.set(field, sum.as_bytes())?;
        Ok(sum)
    }

    /// Deletes `field`; false if there is none.
    pub(crate) fn delete(&mut self, field: &[u8]) -> Result<bool> {
        match &mut self.form {
            Form::Inline(body) => {
                let Some((place, _)) = inline::locate(body, field) else { return Ok(false) };
                body.drain(place);
            }
            Form::Expanded { object, size } => {
                let key = field_key(*object, self.txn.hash_seed(), field);
                if !self.txn.source().get(&key, &mut self.value)? {
                    return Ok(false);
                }
                self.txn.delete(&key);
                size.fields -= 1;
                size.bytes -= (field.len() + self.value.len()) as u64;
            }
        }
        self.is_changed = true;
        Ok(true)
    }

    /// Writes META: a hash without fields is no key.
    pub(crate) fn commit(self) -> Result {
        if !self.is_changed {
            return Ok(());
        }
        let expire_ms = self.old.and_then(|old| old.expire_ms);
        let is_empty = match &self.form {
            Form::Inline(body) => body.is_empty(),
            Form::Expanded { size, .. } => size.fields == 0,
        };
        if is_empty {
            return match self.old {
                Some(old) => self.txn.remove(&self.key, &old),
                None => Ok(()),
            };
        }
        match self.form {
            Form::Inline(body) => {
                let header = Header::new(Kind::InlineHash).expiring(expire_ms);
                self.txn.put_record(&self.key, self.old.as_ref(), &header, &[&body])
            }
            Form::Expanded { object, size } => {
                let header = Header { object: Some(object), ..Header::new(Kind::Hash) }.expiring(expire_ms);
                self.txn.put_record(&self.key, self.old.as_ref(), &header, &[&size.encode()])
            }
        }
    }

    /// Gives every field a record of its own.
    fn expand(&mut self) -> Result {
        let Form::Inline(body) = &self.form else { return Ok(()) };
        let object = self.txn.new_object(&self.key);
        let mut size = Size::default();
        for (field, value) in Fields::new(body) {
            let key = field_key(object, self.txn.hash_seed(), field);
            self.txn.put(&key, &[value])?;
            size.fields += 1;
            size.bytes += (field.len() + value.len()) as u64;
        }
        self.form = Form::Expanded { object, size };
        Ok(())
    }
}

/// Sets `field` where it stands, or at the end; true if it is new.
fn set_inline(body: &mut Vec<u8>, field: &[u8], value: &[u8]) -> bool {
    match inline::locate(body, field) {
        Some((place, value_start)) => {
            let mut piece = Vec::with_capacity(value.len() + 1);
            inline::push(&mut piece, value);
            body.splice(value_start..place.end, piece);
            false
        }
        None => {
            inline::push(body, field);
            inline::push(body, value);
            true
        }
    }
}
