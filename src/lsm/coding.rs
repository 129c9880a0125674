//! Integers and byte strings in files: little-endian, varints of 7 bits a byte, and a reader that checks every length.

/// Longest encoding of a `u64` as a varint, in bytes.
pub(super) const VARINT_BYTES_MAX: usize = 10;

/// Appends `value` as a varint.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// How many bytes [`put_varint`] appends for `value`.
pub(super) fn varint_bytes(value: u64) -> usize {
    (value | 1).ilog2() as usize / 7 + 1
}

/// Appends the length of `bytes` as a varint, and `bytes`.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a varint from the start of `bytes`; returns it and its length. `None`: cut short, or longer than a `u64`.
#[inline]
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    let mut value = u64::from(first & 0x7f);
    for (position, &byte) in bytes.iter().enumerate().take(VARINT_BYTES_MAX).skip(1) {
        if position == VARINT_BYTES_MAX - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte < 0x80 {
            return Some((value, position + 1));
        }
    }
    None
}

/// Reads fields from the front of a byte string. Every method returns `None` when what is left is too short.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let (value, len) = varint(self.rest)?;
        self.rest = &self.rest[len..];
        Some(value)
    }

    /// Reads a length and as many bytes; never more than there are.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }
}

/// How many bytes `a` and `b` have in common at their start.
#[inline]
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let mut at = 0;
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let x = u64::from_le_bytes(x.try_into().expect("a chunk of 8 bytes"));
        let y = u64::from_le_bytes(y.try_into().expect("a chunk of 8 bytes"));
        if x != y {
            return at + ((x ^ y).trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < len && a[at] == b[at] {
        at += 1;
    }
    at
}

/// Returns the first eight bytes of `key` as a number that orders as they do; a shorter key is filled with zeros.
#[inline]
pub(super) fn fence(key: &[u8]) -> u64 {
    match key.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut chunk = [0; 8];
            chunk[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(chunk)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_no_shorter_encoding_of_them_does() {
        let mut rng = fastrand::Rng::with_seed(7);
        let edges = (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit) - 1]).chain([u64::MAX]);
        let random = (0..1000).map(|_| rng.u64(..) >> rng.u32(0..64));
        for value in edges.chain(random).collect::<Vec<_>>() {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert!(out.len() <= VARINT_BYTES_MAX);
            assert_eq!(varint(&out), Some((value, out.len())));
            for cut in 0..out.len() {
                assert_eq!(varint(&out[..cut]), None, "{value} cut to {cut} bytes");
            }
        }
    }

    #[test]
    fn a_varint_beyond_64_bits_is_refused() {
        assert_eq!(varint(&[0xff; 10]), None);
        assert_eq!(varint(&[0x80; 11]), None);
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), None);
    }

    #[test]
    fn a_declared_length_is_never_believed() {
        let mut out = Vec::new();
        put_bytes(&mut out, b"abc");
        assert_eq!(Reader::new(&out).bytes(), Some(&b"abc"[..]));
        assert_eq!(Reader::new(&out[..3]).bytes(), None);
        let mut huge = Vec::new();
        put_varint(&mut huge, u64::MAX);
        assert_eq!(Reader::new(&huge).bytes(), None);
    }

    #[test]
    fn the_common_prefix_is_found_at_every_length() {
        for len in 0..40 {
            let a: Vec<u8> = (0..len).collect();
            assert_eq!(common_prefix(&a, &a), a.len());
            for at in 0..a.len() {
                let mut b = a.clone();
                b[at] ^= 0x40;
                assert_eq!(common_prefix(&a, &b), at);
                assert_eq!(common_prefix(&a, &a[..at]), at);
            }
        }
    }

    #[test]
    fn fences_order_as_the_keys_do() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let key = |rng: &mut fastrand::Rng| -> Vec<u8> {
                (0..rng.usize(0..12)).map(|_| rng.u8(0..3)).collect()
            };
            let (a, b) = (key(&mut rng), key(&mut rng));
            if fence(&a) < fence(&b) {
                assert!(a < b, "{a:?} {b:?}");
            }
        }
    }
}
