//! The effects of one entry as bytes: what the log carries and [`Tree::apply`](super::Tree::apply) inserts.
//!
//! | field | bytes | |
//! |---|---|---|
//! | version | 1 | 1 |
//! | count | 4 | number of effects, little-endian |
//! | effects | … | `count` times what follows |
//! | operation | 1 | 0 delete, 1 put |
//! | key length | varint | ≥ 1: the first byte of a key is its family |
//! | value length | varint | only of a put |
//! | key, value | … | |
//!
//! One effect per key: who builds a batch promises it.

use bytes::Bytes;

use super::coding::{Reader, put_varint, varint_bytes};
use super::{Error, Result};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 5;
const DELETE: u8 = 0;
const PUT: u8 = 1;

/// The effects of one entry, checked: iterating cannot fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
    len: usize,
}

impl Batch {
    /// Returns how many bytes one effect takes in the encoded form, beside the header.
    pub fn effect_bytes(key: &[u8], value: Option<&[u8]>) -> usize {
        let of_value = value.map_or(0, |value| varint_bytes(value.len() as u64) + value.len());
        1 + varint_bytes(key.len() as u64) + key.len() + of_value
    }

    /// Starts a batch.
    pub fn builder() -> BatchBuilder {
        BatchBuilder::default()
    }

    /// Takes over the encoded form, after having checked all of it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is not a batch, or one of a format that this build does not know.
    pub fn decode(bytes: Bytes) -> Result<Batch> {
        match check(&bytes) {
            Some(len) => Ok(Batch { bytes, len }),
            None => Err(Error::Corrupt {
                file: "an entry of the log".to_owned(),
                offset: 0,
                what: "its batch of effects is malformed",
            }),
        }
    }

    /// Returns the encoded form.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the number of effects.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no effect.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns each effect as its key and the value put, or `None` for a deletion, in the order they were added.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: Reader::new(&self.bytes[HEADER_BYTES..]) }
    }
}

/// Returns the number of effects, or `None` if `bytes` is not a batch.
fn check(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != VERSION {
        return None;
    }
    let count = reader.u32()?;
    for _ in 0..count {
        let (key, _) = effect(&mut reader)?;
        if key.is_empty() {
            return None;
        }
    }
    reader.is_empty().then_some(count as usize)
}

#[inline]
fn effect<'a>(reader: &mut Reader<'a>) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let operation = reader.u8()?;
    let key_len = usize::try_from(reader.varint()?).ok()?;
    match operation {
        DELETE => Some((reader.take(key_len)?, None)),
        PUT => {
            let value_len = usize::try_from(reader.varint()?).ok()?;
            Some((reader.take(key_len)?, Some(reader.take(value_len)?)))
        }
        _ => None,
    }
}

/// The effects of a [`Batch`], in order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: Reader<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(effect(&mut self.rest).expect("a batch is checked when it is made"))
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Collects effects into a [`Batch`].
#[derive(Debug, Default)]
pub struct BatchBuilder {
    bytes: Vec<u8>,
    count: u32,
}

impl BatchBuilder {
    /// Adds: `key` has the value `value`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> &mut BatchBuilder {
        self.start(PUT, key);
        put_varint(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self
    }

    /// Adds: `key` does not exist.
    pub fn delete(&mut self, key: &[u8]) -> &mut BatchBuilder {
        self.start(DELETE, key);
        self.bytes.extend_from_slice(key);
        self
    }

    fn start(&mut self, operation: u8, key: &[u8]) {
        assert!(!key.is_empty(), "a key begins with its family");
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[VERSION, 0, 0, 0, 0]);
        }
        self.count = self.count.checked_add(1).expect("an entry is bounded in bytes, far below 2^32 effects");
        self.bytes.push(operation);
        put_varint(&mut self.bytes, key.len() as u64);
    }

    /// Returns the number of effects added.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the size of the encoded form so far, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len().max(HEADER_BYTES)
    }

    /// Ends the batch; the builder is empty again.
    pub fn finish(&mut self) -> Batch {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() {
            bytes.extend_from_slice(&[VERSION, 0, 0, 0, 0]);
        }
        let count = std::mem::take(&mut self.count);
        bytes[1..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        Batch { bytes: Bytes::from(bytes), len: count as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_come_back_in_order() {
        let batch = Batch::builder().put(b"\x01a", b"1").delete(b"\x01b").put(b"\x02c", b"").finish();
        let decoded = Batch::decode(batch.as_bytes().clone()).unwrap();
        assert_eq!(decoded, batch);
        let effects: Vec<_> = decoded.iter().collect();
        assert_eq!(effects, [(&b"\x01a"[..], Some(&b"1"[..])), (b"\x01b", None), (b"\x02c", Some(&b""[..]))]);
    }

    #[test]
    fn the_size_of_an_effect_is_known_before_it_is_written() {
        for length in [1, 127, 128, 16_383, 16_384, 70_000] {
            let (key, value) = (vec![1; length], vec![2; length / 2]);
            let mut batch = Batch::builder();
            let before = batch.put(b"k", b"").bytes();
            let put = batch.put(&key, &value).bytes();
            assert_eq!(put - before, Batch::effect_bytes(&key, Some(&value)), "{length}");
            let deleted = batch.delete(&key).bytes();
            assert_eq!(deleted - put, Batch::effect_bytes(&key, None), "{length}");
        }
    }

    #[test]
    fn a_builder_without_effects_makes_an_empty_batch() {
        let batch = Batch::builder().finish();
        assert!(batch.is_empty());
        assert_eq!(Batch::decode(batch.as_bytes().clone()).unwrap().iter().count(), 0);
    }

    #[test]
    fn a_batch_cut_or_lengthened_at_any_byte_is_refused() {
        let batch = Batch::builder().put(b"\x01key", &[7; 300]).delete(b"\x02x").finish();
        let bytes = batch.as_bytes();
        for cut in 0..bytes.len() {
            assert!(Batch::decode(bytes.slice(..cut)).is_err(), "cut to {cut} bytes");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(Batch::decode(Bytes::from(longer)).is_err());
    }

    #[test]
    fn any_bytes_decode_to_a_batch_or_an_error() {
        let mut rng = fastrand::Rng::with_seed(11);
        let good =
            Batch::builder().put(b"\x01key", b"value").delete(b"\x02x").put(b"\x01z", &[1; 40]).finish();
        for _ in 0..20_000 {
            let mut bytes = good.as_bytes().to_vec();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
            if let Ok(batch) = Batch::decode(Bytes::from(bytes)) {
                assert_eq!(batch.iter().count(), batch.len());
            }
        }
    }
}
