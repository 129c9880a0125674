//! Hashes: maps from fields to values.
//!
//! A small hash is the body of its META record, its fields in the order in which they came, as in Redis' listpacks: one
//! look-up, one write. Above the limits its fields become records of their own under an object, ordered by the hash of
//! the field, and META keeps their number and size. It never becomes small again, as in Redis.

mod edit;
mod inline;

#[cfg(test)]
mod tests;

pub(crate) use self::edit::Editor;
use self::inline::Fields;
use super::encoding::{Encoded, Object, hash62, read_u64};
use super::error::{CommandError, Failure, Result, Stop};
use super::extended::Extended;
use super::record::{Kind, Record, Type};
use super::source::{LONG_RECORDS, Walk};
use super::view::View;
use crate::lsm::Value;

/// The most bytes of a hash within META: each change writes all of them again.
const INLINE_BYTES_MAX: usize = 2 * 1024;

const TAG: u8 = b'f';

/// How many neighbours a random pick chooses from, in a large hash.
const NEIGHBOURS: usize = 16;

fn field_prefix(object: Object) -> Encoded {
    object.tagged(TAG)
}

fn field_key(object: Object, seed: u64, field: &[u8]) -> Encoded {
    let mut key = field_position(object, hash62(seed, field));
    key.extend_from_slice(field);
    key
}

fn field_position(object: Object, position: u64) -> Encoded {
    let mut key = field_prefix(object);
    key.extend_from_slice(&position.to_be_bytes());
    key
}

/// The position and the field of what follows the prefix in a DATA key.
fn split(suffix: &[u8]) -> (u64, &[u8]) {
    (read_u64(suffix), &suffix[8..])
}

/// How many fields a large hash has, and how many bytes they and their values take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    fields: u64,
    bytes: u64,
}

impl Size {
    fn decode(body: &[u8]) -> Self {
        Self { fields: read_u64(body), bytes: read_u64(&body[8..]) }
    }

    fn encode(self) -> [u8; 16] {
        let mut body = [0; 16];
        body[..8].copy_from_slice(&self.fields.to_be_bytes());
        body[8..].copy_from_slice(&self.bytes.to_be_bytes());
        body
    }
}

/// A hash that is read.
pub(crate) struct Hash<'v, 'a> {
    view: &'v View<'a>,
    record: Record,
}

impl<'v, 'a> Hash<'v, 'a> {
    /// The hash at `name`; `None` if there is no key.
    pub(crate) fn open(view: &'v View<'a>, name: &[u8]) -> Result<Option<Self>> {
        let Some(record) = view.record(&view.key(name))? else { return Ok(None) };
        match record.header.kind.type_of() {
            Type::Hash => Ok(Some(Self { view, record })),
            Type::String => Err(CommandError::WrongType.into()),
        }
    }

    /// The object of the fields, if they are records of their own.
    fn object(&self) -> Option<Object> {
        self.record.header.object
    }

    /// How many fields there are.
    pub(crate) fn len(&self) -> u64 {
        match self.record.header.kind {
            Kind::Hash => Size::decode(self.record.body()).fields,
            Kind::InlineHash | Kind::String | Kind::Chunks => Fields::new(self.record.body()).count() as u64,
        }
    }

    /// What `show` makes of the value of `field`, or of `None`.
    pub(crate) fn get<R>(&self, field: &[u8], show: impl FnOnce(Option<&[u8]>) -> R) -> Result<R> {
        let Some(object) = self.object() else { return Ok(show(inline::find(self.record.body(), field))) };
        let mut value = Value::default();
        let found = self.view.element(&field_key(object, self.view.hash_seed(), field), &mut value)?;
        Ok(show(found.then_some(&value)))
    }

    /// Shows every field and its value.
    pub(crate) fn each(&self, mut show: impl FnMut(&[u8], &[u8]) -> Result) -> Result {
        let Some(object) = self.object() else {
            return Fields::new(self.record.body()).try_for_each(|(field, value)| show(field, value));
        };
        self.expect_long(self.len())?;
        let mut walk = self.walk(object, 0)?;
        while let Some(suffix) = walk.suffix() {
            show(split(suffix).1, walk.value())?;
            walk.next()?;
        }
        Ok(())
    }

    /// Shows at least `count` fields from `cursor` on, if there are so many, and returns the cursor behind them; 0 at
    /// the end. A hash within META is shown as a whole, as in Redis.
    pub(crate) fn scan(
        &self,
        cursor: u64,
        count: u64,
        mut show: impl FnMut(&[u8], &[u8]) -> Result,
    ) -> Result<u64> {
        let Some(object) = self.object() else {
            self.each(show)?;
            return Ok(0);
        };
        self.expect_long(count.min(self.len()))?;
        let mut walk = self.walk(object, cursor)?;
        let (mut shown, mut last) = (0, None);
        while let Some(suffix) = walk.suffix() {
            let (position, field) = split(suffix);
            // Fields of one position are shown together: the next page begins behind it.
            if shown >= count
                && let Some(last) = last
                && position > last
            {
                return Ok(last + 1);
            }
            show(field, walk.value())?;
            last = Some(position);
            shown += 1;
            walk.next()?;
        }
        Ok(0)
    }

    /// A field chosen at random: each as likely as any other in a hash within META, and among the neighbours of a
    /// random position otherwise.
    pub(crate) fn random(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let own = |(field, value): (&[u8], &[u8])| (field.to_vec(), value.to_vec());
        let Some(object) = self.object() else {
            let fields = Fields::new(self.record.body());
            let chosen = self.view.rng().usize(..fields.clone().count());
            return Ok(fields.map(own).nth(chosen).expect("chosen among the fields"));
        };
        let position = self.view.rng().u64(..1 << 62);
        let mut walk = self.walk(object, position)?;
        let neighbours = self.len().min(NEIGHBOURS as u64);
        let mut steps_left = self.view.rng().u64(..neighbours);
        loop {
            match walk.suffix() {
                Some(suffix) if steps_left == 0 => return Ok(own((split(suffix).1, walk.value()))),
                Some(_) => {
                    steps_left -= 1;
                    walk.next()?;
                }
                None => walk.seek(&field_position(object, 0))?,
            }
        }
    }

    /// Shows `count` different fields chosen at random, or all if there are fewer.
    pub(crate) fn sample(&self, count: u64, mut show: impl FnMut(&[u8], &[u8]) -> Result) -> Result {
        let len = self.len();
        // With few to choose, draw until enough different ones came; else draw from the whole, as Redis does.
        if self.object().is_some() && count.saturating_mul(3) < len {
            let mut chosen = std::collections::BTreeSet::new();
            self.expect_long(count.saturating_mul(NEIGHBOURS as u64))?;
            while (chosen.len() as u64) < count {
                let (field, value) = self.random()?;
                if !chosen.contains(&field) {
                    show(&field, &value)?;
                    chosen.insert(field);
                }
            }
            return Ok(());
        }
        let mut surplus = len.saturating_sub(count);
        // What is left keeps its order, as in Redis.
        let mut left = len;
        self.each(|field, value| {
            let drop = self.view.rng().u64(..left) < surplus;
            left -= 1;
            if drop {
                surplus -= 1;
                return Ok(());
            }
            show(field, value)
        })?;
        assert!(left == 0, "a hash counts {len} fields and lacks {left}");
        Ok(())
    }

    /// Gives the buffer back.
    pub(crate) fn done(self) {
        self.view.recycle(self.record);
    }

    fn walk(&self, object: Object, position: u64) -> Result<Walk<'a>> {
        self.view.walk(field_prefix(object), &field_position(object, position))
    }

    /// Stops at once what would be stopped later.
    fn expect_long(&self, records: u64) -> Result {
        if records > LONG_RECORDS as u64 && !self.view.may_block() {
            return Err(Failure::Stop(Stop::Long));
        }
        Ok(())
    }
}

/// Reads the increment of HINCRBYFLOAT.
pub(crate) fn parse_increment(text: &[u8]) -> Result<Extended> {
    let number = Extended::parse(text).ok_or(CommandError::NotFloat)?;
    if !number.is_finite() {
        return Err(CommandError::IncrementNotFinite.into());
    }
    Ok(number)
}

/// What OBJECT ENCODING says about a hash.
pub(super) fn encoding(record: &Record) -> &'static str {
    if record.header.kind == Kind::Hash { "hashtable" } else { "listpack" }
}

/// Bytes of the fields and values outside META, with their keys.
pub(super) fn data_bytes(record: &Record) -> u64 {
    let size = Size::decode(record.body());
    size.bytes + size.fields * (super::encoding::DATA_PREFIX_BYTES as u64 + 1 + 8)
}
