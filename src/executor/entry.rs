//! What is in the log: the body of an entry of kind `Effects`.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | format, 1 |
//! | 1 | 8 | chain |
//! | 9 | 8 | n, the place in the chain |
//! | 17 | 8 | stamp: the leader's time in ms since the Unix epoch; never goes back |
//! | 25 | … | effects, an `lsm::Batch` |
//!
//! Integers are big-endian. Checksum, index and term are the log's (`log::record`).

use bytes::{BufMut, Bytes, BytesMut};

use crate::lsm::Batch;

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 25;

/// One entry of effects, decoded.
#[derive(Debug)]
pub struct EntryBody {
    /// The chain of proposals it belongs to.
    pub chain: u64,
    /// Its place in the chain: 1, 2, 3 …
    pub n: u64,
    /// The leader's time when it was evaluated, in ms since the Unix epoch.
    pub stamp: u64,
    /// Absolute puts and deletes, one per key.
    pub effects: Batch,
}

/// Why a body cannot be applied. The node stops: it never skips an entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// A newer version wrote it.
    #[error("an entry has format {0}, this version reads {FORMAT}")]
    Format(u8),
    /// The checksum was right and the content is not.
    #[error("an entry of {0} bytes is too short")]
    Short(usize),
    /// The effects do not decode.
    #[error("the effects of an entry are damaged")]
    Effects(#[source] crate::lsm::Error),
}

impl EntryBody {
    /// The body as bytes.
    pub fn encode(&self) -> Bytes {
        let effects = self.effects.as_bytes();
        let mut body = BytesMut::with_capacity(HEADER_BYTES + effects.len());
        body.put_u8(FORMAT);
        body.put_u64(self.chain);
        body.put_u64(self.n);
        body.put_u64(self.stamp);
        body.put_slice(effects);
        body.freeze()
    }

    /// Reads what [`EntryBody::encode`] wrote; the effects share `body`'s memory.
    pub fn decode(body: &Bytes) -> Result<Self, EntryError> {
        let Some(&format) = body.first() else { return Err(EntryError::Short(0)) };
        if format != FORMAT {
            return Err(EntryError::Format(format));
        }
        if body.len() < HEADER_BYTES {
            return Err(EntryError::Short(body.len()));
        }
        let number = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("eight bytes"));
        Ok(Self {
            chain: number(1),
            n: number(9),
            stamp: number(17),
            effects: Batch::decode(body.slice(HEADER_BYTES..)).map_err(EntryError::Effects)?,
        })
    }
}
