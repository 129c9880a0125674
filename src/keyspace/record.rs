//! META values: what a key holds, when it is due, and the value itself when it is small.

use smallvec::SmallVec;

use super::encoding::{OBJECT_BYTES, Object, read_u64};
use crate::lsm;

/// The version byte of a META value.
const VERSION: u8 = 1;

const FLAG_EXPIRES: u8 = 1;
const FLAG_RAW: u8 = 2;
const FLAG_TEXT: u8 = 4;

/// What a client is told that a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A string of bytes.
    String,
    /// A map from fields to values.
    Hash,
}

impl Type {
    /// The answer of TYPE.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Hash => "hash",
        }
    }
}

/// How a value is laid out; the byte in META, never to be given another meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The string is the body.
    String = 1,
    /// The string is in chunks, under an object.
    Chunks = 2,
    /// The fields are the body.
    InlineHash = 3,
    /// The fields are records of their own, under an object.
    Hash = 4,
}

impl Kind {
    fn decode(byte: u8) -> Self {
        match byte {
            1 => Self::String,
            2 => Self::Chunks,
            3 => Self::InlineHash,
            4 => Self::Hash,
            other => panic!("a META record of the unknown kind {other}: it was written by a newer version"),
        }
    }

    /// What a client is told that it is.
    pub(crate) fn type_of(self) -> Type {
        match self {
            Self::String | Self::Chunks => Type::String,
            Self::InlineHash | Self::Hash => Type::Hash,
        }
    }

    fn has_object(self) -> bool {
        match self {
            Self::Chunks | Self::Hash => true,
            Self::String | Self::InlineHash => false,
        }
    }
}

/// How a string came to be, which OBJECT ENCODING tells: the layout is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Set as a whole: `int` if it reads as one, `embstr` if short.
    #[default]
    Set,
    /// Edited in place: always `raw`.
    Edited,
    /// Made by arithmetic on floats: never `int`.
    Float,
}

/// What META says about a key, without the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
    /// When the key is due, in ms since 1970.
    pub(crate) expire_ms: Option<u64>,
    /// Where the rest of the value lies, if it has one.
    pub(crate) object: Option<Object>,
}

impl Header {
    /// A header without expiry and object.
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, origin: Origin::Set, expire_ms: None, object: None }
    }

    /// The same with another time to die, or none.
    pub(crate) fn expiring(self, expire_ms: Option<u64>) -> Self {
        Self { expire_ms, ..self }
    }

    /// Whether the key is absent for one who lives at `stamp`.
    pub(crate) fn is_due(&self, stamp: u64) -> bool {
        self.expire_ms.is_some_and(|at| at <= stamp)
    }

    /// The bytes before the body.
    pub(crate) fn encode(&self) -> SmallVec<[u8; 32]> {
        assert!(self.kind.has_object() == self.object.is_some(), "an object for a kind without, or none");
        let mut flags = match self.origin {
            Origin::Set => 0,
            Origin::Edited => FLAG_RAW,
            Origin::Float => FLAG_TEXT,
        };
        if self.expire_ms.is_some() {
            flags |= FLAG_EXPIRES;
        }
        let mut bytes = SmallVec::from_slice(&[VERSION, self.kind as u8, flags]);
        if let Some(at) = self.expire_ms {
            bytes.extend_from_slice(&at.to_be_bytes());
        }
        if let Some(object) = self.object {
            bytes.extend_from_slice(&object.to_bytes());
        }
        bytes
    }

    /// The header of a META value, and where its body begins.
    pub(crate) fn decode(value: &[u8]) -> (Self, usize) {
        assert!(value.len() >= 3, "a META record without a header");
        assert!(
            value[0] == VERSION,
            "a META record of version {}: it was written by a newer version",
            value[0]
        );
        let kind = Kind::decode(value[1]);
        let flags = value[2];
        let mut at = 3;
        let expire_ms = (flags & FLAG_EXPIRES != 0).then(|| {
            at += 8;
            read_u64(&value[at - 8..])
        });
        let object = kind.has_object().then(|| {
            at += OBJECT_BYTES;
            Object::from_bytes(&value[at - OBJECT_BYTES..])
        });
        let origin = match flags & (FLAG_RAW | FLAG_TEXT) {
            0 => Origin::Set,
            FLAG_RAW => Origin::Edited,
            FLAG_TEXT => Origin::Float,
            _ => panic!("a META record with contradicting flags {flags}"),
        };
        (Self { kind, origin, expire_ms, object }, at)
    }
}

/// A META value that has been read.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) header: Header,
    body_start: usize,
    value: lsm::Value,
}

impl Record {
    /// Takes a value apart.
    pub(crate) fn new(value: lsm::Value) -> Self {
        let (header, body_start) = Header::decode(&value);
        Self { header, body_start, value }
    }

    /// What follows the header.
    pub(crate) fn body(&self) -> &[u8] {
        &self.value[self.body_start..]
    }

    /// The same, to be kept.
    pub(crate) fn body_bytes(&self) -> bytes::Bytes {
        self.value.to_bytes().slice(self.body_start..)
    }

    /// Bytes of the whole value.
    pub(crate) fn bytes_len(&self) -> usize {
        self.value.len()
    }

    /// The buffer, to be used again.
    pub(crate) fn into_value(self) -> lsm::Value {
        self.value
    }
}
