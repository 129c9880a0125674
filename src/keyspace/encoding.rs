//! Keys and integers as bytes whose order is the order of what they mean. The layouts are the tables in `mod.rs`.

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{DATA, META, TTL};

/// Number of hash slots, as in Redis Cluster.
pub const SLOTS: u16 = 16_384;

/// Bytes of a META key before the user's key: family, keyspace, slot, hash.
pub(crate) const META_PREFIX_BYTES: usize = 1 + 4 + 2 + 6;

/// Bytes of a DATA key before its tag: family, keyspace, home slot, object.
pub(crate) const DATA_PREFIX_BYTES: usize = 1 + 4 + 2 + 8;

/// An encoded key on the stack.
pub(crate) type Encoded = SmallVec<[u8; 64]>;

const CRC16: [[u16; 256]; 4] = crc16_tables();

/// CRC-16/XMODEM (polynomial 0x1021), for one to four bytes at a time.
const fn crc16_tables() -> [[u16; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        tables[0][byte as usize] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 4 {
        let mut byte = 0;
        while byte < 256 {
            let previous = tables[table - 1][byte];
            tables[table][byte] = previous << 8 ^ tables[0][(previous >> 8) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut quads = bytes.chunks_exact(4);
    for quad in &mut quads {
        let [high, low] = crc.to_be_bytes();
        crc = CRC16[3][usize::from(quad[0] ^ high)]
            ^ CRC16[2][usize::from(quad[1] ^ low)]
            ^ CRC16[1][usize::from(quad[2])]
            ^ CRC16[0][usize::from(quad[3])];
    }
    for &byte in quads.remainder() {
        let [high, low] = crc.to_be_bytes();
        crc = u16::from(low) << 8 ^ CRC16[0][usize::from(high ^ byte)];
    }
    crc
}

/// The hash slot of a key: of what stands between its first `{` and the next `}`, if anything does, else of all of it.
pub fn slot(key: &[u8]) -> u16 {
    let tagged = memchr::memchr(b'{', key).and_then(|open| {
        let rest = &key[open + 1..];
        memchr::memchr(b'}', rest).filter(|&length| length > 0).map(|length| &rest[..length])
    });
    crc16(tagged.unwrap_or(key)) & (SLOTS - 1)
}

/// The 48 bits that order the keys of a slot.
fn hash48(seed: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, seed) >> 16
}

/// The 62 bits that order the fields of a collection: they leave a cursor, which is one more, below 2^63.
pub(crate) fn hash62(seed: u64, field: &[u8]) -> u64 {
    xxh3_64_with_seed(field, seed) >> 2
}

/// The META key of a user's key in one keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    bytes: Encoded,
}

impl Key {
    /// The key `name` in keyspace `keyspace`, hashed with the tree's `seed`.
    pub fn new(keyspace: u32, seed: u64, name: &[u8]) -> Self {
        let mut bytes = Encoded::new();
        encode_meta_key(keyspace, seed, name, &mut bytes);
        Self { bytes }
    }

    /// The key whose META key is `bytes`.
    pub(crate) fn from_encoded(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= META_PREFIX_BYTES && bytes[0] == META, "not the key of a META record");
        Self { bytes: Encoded::from_slice(bytes) }
    }

    /// The bytes under which the tree holds it.
    pub fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    /// The keyspace that it is in.
    pub(crate) fn keyspace(&self) -> u32 {
        read_u32(&self.bytes[1..])
    }

    /// Its hash slot.
    pub fn slot(&self) -> u16 {
        read_u16(&self.bytes[5..])
    }

    /// What the user calls it.
    pub fn name(&self) -> &[u8] {
        &self.bytes[META_PREFIX_BYTES..]
    }

    /// The key of its record in the TTL index when it is due at `expire_ms`.
    pub(crate) fn ttl_key(&self, expire_ms: u64) -> Encoded {
        let mut bytes = Encoded::with_capacity(self.bytes.len() + 8);
        bytes.push(TTL);
        bytes.extend_from_slice(&self.bytes[1..5]);
        bytes.extend_from_slice(&expire_ms.to_be_bytes());
        bytes.extend_from_slice(&self.bytes[5..]);
        bytes
    }
}

fn encode_meta_key(keyspace: u32, seed: u64, name: &[u8], out: &mut Encoded) {
    let mut head = [0; META_PREFIX_BYTES];
    head[0] = META;
    head[1..5].copy_from_slice(&keyspace.to_be_bytes());
    head[5..].copy_from_slice(&(u64::from(slot(name)) << 48 | hash48(seed, name)).to_be_bytes());
    out.reserve(META_PREFIX_BYTES + name.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(name);
}

/// The position of a META key in the order of SCAN: slot and hash, below 2^62.
pub(crate) fn position(meta_key: &[u8]) -> u64 {
    read_u64(&meta_key[5..])
}

/// The first META key of a keyspace at or after `position`.
pub(crate) fn meta_position(keyspace: u32, position: u64) -> Encoded {
    let mut bytes = family_prefix(META, keyspace);
    bytes.extend_from_slice(&position.to_be_bytes());
    bytes
}

/// The first key of the TTL index of a keyspace that is due at or after `expire_ms`.
pub(crate) fn ttl_position(keyspace: u32, expire_ms: u64) -> Encoded {
    let mut bytes = family_prefix(TTL, keyspace);
    bytes.extend_from_slice(&expire_ms.to_be_bytes());
    bytes
}

/// What all keys of a keyspace in one family begin with.
pub(crate) fn family_prefix(family: u8, keyspace: u32) -> Encoded {
    let mut bytes = Encoded::new();
    bytes.push(family);
    bytes.extend_from_slice(&keyspace.to_be_bytes());
    bytes
}

/// A key of the TTL index, taken apart.
pub(crate) fn decode_ttl_key(key: &[u8]) -> (u64, Key) {
    assert!(key.len() >= META_PREFIX_BYTES + 8 && key[0] == TTL, "not a key of the TTL index");
    let mut bytes = Encoded::with_capacity(key.len() - 8);
    bytes.push(META);
    bytes.extend_from_slice(&key[1..5]);
    bytes.extend_from_slice(&key[13..]);
    (read_u64(&key[5..]), Key { bytes })
}

/// Where the elements of a collection, or the chunks of a long string, lie: fixed when it was made, whatever it is
/// called later and wherever it is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    /// The keyspace in which it was made.
    pub(crate) keyspace: u32,
    /// The slot of the key under which it was made.
    pub(crate) slot: u16,
    /// Its number, never used again.
    pub(crate) id: u64,
}

/// Bytes of an encoded [`Object`].
pub(crate) const OBJECT_BYTES: usize = 4 + 2 + 8;

impl Object {
    /// Keyspace, slot and number, big-endian.
    pub(crate) fn to_bytes(self) -> [u8; OBJECT_BYTES] {
        let mut bytes = [0; OBJECT_BYTES];
        bytes[..4].copy_from_slice(&self.keyspace.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.slot.to_be_bytes());
        bytes[6..].copy_from_slice(&self.id.to_be_bytes());
        bytes
    }

    /// The inverse of [`Object::to_bytes`], of the first bytes of `bytes`.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self { keyspace: read_u32(bytes), slot: read_u16(&bytes[4..]), id: read_u64(&bytes[6..]) }
    }

    /// What all its DATA keys begin with.
    pub(crate) fn prefix(self) -> [u8; DATA_PREFIX_BYTES] {
        let mut bytes = [0; DATA_PREFIX_BYTES];
        bytes[0] = DATA;
        bytes[1..].copy_from_slice(&self.to_bytes());
        bytes
    }

    /// What its DATA keys with one tag begin with.
    pub(crate) fn tagged(self, tag: u8) -> Encoded {
        let mut bytes = Encoded::from_slice(&self.prefix());
        bytes.push(tag);
        bytes
    }
}

pub(crate) fn read_u16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(*bytes.first_chunk().expect("a key or value holds its fixed fields"))
}

pub(crate) fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(*bytes.first_chunk().expect("a key or value holds its fixed fields"))
}

pub(crate) fn read_u64(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(*bytes.first_chunk().expect("a key or value holds its fixed fields"))
}

/// Appends `value` in groups of seven bits, least first; the top bit says that more follow.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Reads a varint from the front of `bytes` and moves them past it.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().expect("a varint ends before its value does");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a varint of more than 64 bits");
}
