//! A value that was looked up: copied into a buffer that is used again, or shared with a cached block or row.

use std::ops::Deref;

use bytes::Bytes;

/// Receives the value of a look-up. It keeps its buffer from one look-up to the next, so that a batch of reads
/// allocates once.
///
/// Invariant: when `shared` is set, it is the value and `copied` is empty.
#[derive(Debug, Default)]
pub struct Value {
    copied: Vec<u8>,
    shared: Option<Bytes>,
}

impl Value {
    /// Sets the value to a copy of `bytes`.
    #[inline]
    pub fn set_copy(&mut self, bytes: &[u8]) {
        self.clear();
        self.copied.extend_from_slice(bytes);
    }

    /// Sets the value to `bytes` without a copy.
    #[inline]
    pub fn set_shared(&mut self, bytes: Bytes) {
        self.copied.clear();
        self.shared = Some(bytes);
    }

    /// Makes the value `bytes_len` bytes long and returns it to be written over, in whole, by the caller. What it
    /// holds until then is not defined.
    #[inline]
    pub fn overwrite(&mut self, bytes_len: usize) -> &mut [u8] {
        self.shared = None;
        self.copied.resize(bytes_len, 0);
        &mut self.copied
    }

    /// Makes the value empty and keeps the buffer.
    #[inline]
    pub fn clear(&mut self) {
        self.shared = None;
        self.copied.clear();
    }

    /// Returns the value as shared bytes: without a copy if it is shared already.
    pub fn to_bytes(&self) -> Bytes {
        self.shared.clone().unwrap_or_else(|| Bytes::copy_from_slice(&self.copied))
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.shared {
            Some(shared) => shared,
            None => &self.copied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_set_is_the_one_read() {
        let mut value = Value::default();
        assert_eq!(&*value, b"");
        value.set_copy(b"copied");
        assert_eq!(&*value, b"copied");
        let shared = Bytes::from_static(b"shared");
        value.set_shared(shared.clone());
        assert_eq!(&*value, b"shared");
        assert_eq!(value.to_bytes().as_ptr(), shared.as_ptr());
        value.overwrite(3).copy_from_slice(b"new");
        assert_eq!(&*value, b"new");
        assert_eq!(value.to_bytes(), &b"new"[..]);
        value.clear();
        assert!(value.is_empty());
    }
}
