//! The last bytes of a table: where its other parts are.

use crate::lsm::{
    block::{Handle, Malformed},
    coding::Reader,
};

pub(super) const FOOTER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"sisytbl\0";
const VERSION: u32 = 1;
const UNUSED_BYTES: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) id: u64,
    pub(super) top: Handle,
    pub(super) properties: Handle,
}

impl Footer {
    pub(super) fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        for handle in [self.top, self.properties] {
            out.extend_from_slice(&handle.offset.to_le_bytes());
            out.extend_from_slice(&handle.bytes.to_le_bytes());
        }
        out.extend_from_slice(&[0; UNUSED_BYTES]);
        out.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&out).to_le_bytes());
        out.try_into().expect("the fields are 64 bytes")
    }

    pub(super) fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<Footer, Malformed> {
        let (body, checksum) = bytes.split_at(FOOTER_BYTES - 8);
        if !body.starts_with(MAGIC) {
            return Err(Malformed("this is not a table"));
        }
        if checksum != xxhash_rust::xxh3::xxh3_64(body).to_le_bytes() {
            return Err(Malformed("the checksum of a footer does not match"));
        }
        Self::fields(&body[MAGIC.len()..])
            .ok_or(Malformed("a table of a format that this build does not know"))
    }

    fn fields(body: &[u8]) -> Option<Footer> {
        let mut reader = Reader::new(body);
        if reader.u32()? != VERSION {
            return None;
        }
        let id = reader.u64()?;
        let top = Handle { offset: reader.u64()?, bytes: reader.u32()? };
        let properties = Handle { offset: reader.u64()?, bytes: reader.u32()? };
        Some(Footer { id, top, properties })
    }
}
