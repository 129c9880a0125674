//! What DEBUG DIGEST computes: a hash of keys with types, values and times to live, in whatever order they are met.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use crate::keyspace::{DATABASES, Result, Type, View, hash, key, scan, string};

/// A hash of a set: the sum of the hashes of its elements. It depends on each of them and not on their order; a sum
/// tells two equal elements from none, which exclusive-or does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    high: u128,
    low: u128,
}

impl Digest {
    /// The hash of `parts`, in their order and with their lengths.
    fn of(parts: &[&[u8]]) -> Self {
        let seeded = |seed| {
            let mut hasher = Xxh3::with_seed(seed);
            for part in parts {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            hasher.digest128()
        };
        Self { high: seeded(1), low: seeded(2) }
    }

    fn add(&mut self, other: Self) {
        self.high = self.high.wrapping_add(other.high);
        self.low = self.low.wrapping_add(other.low);
    }

    fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.high.to_be_bytes());
        bytes[16..].copy_from_slice(&self.low.to_be_bytes());
        bytes
    }
}

/// 40 digits, as many as Redis shows.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes()[..20].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The hash of everything in every database; zeros if there is nothing.
pub(super) fn of_all(view: &View<'_>) -> Result<Digest> {
    let mut all = Digest::default();
    for db in 0..u32::try_from(DATABASES).expect("sixteen") {
        view.within(db, |view| {
            scan::each_key(view, |name, _| {
                let value = of_value(view, name)?.to_bytes();
                all.add(Digest::of(&[&db.to_le_bytes(), name, &value]));
                Ok(())
            })
        })?;
    }
    Ok(all)
}

/// The hash of what the key `name` holds, with its type and the time at which it is due; zeros if there is none.
pub(super) fn of_value(view: &View<'_>, name: &[u8]) -> Result<Digest> {
    let due = match key::due(view, name)? {
        key::Due::Absent => return Ok(Digest::default()),
        key::Due::Never => Vec::new(),
        key::Due::At(at) => at.to_le_bytes().to_vec(),
    };
    let Some(kind) = key::type_of(view, name)? else { return Ok(Digest::default()) };
    let mut value = Digest::default();
    match kind {
        Type::String => {
            if let Some(text) = string::get(view, name)? {
                value = Digest::of(&[&text]);
                string::done(view, text);
            }
        }
        Type::Hash => {
            if let Some(hash) = hash::Hash::open(view, name)? {
                hash.each(|field, content| {
                    value.add(Digest::of(&[field, content]));
                    Ok(())
                })?;
                hash.done();
            }
        }
    }
    Ok(Digest::of(&[kind.name().as_bytes(), &due, &value.to_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_but_every_element_and_every_length_does() {
        let (one, two) = (Digest::of(&[b"a"]), Digest::of(&[b"b"]));
        let mut there = one;
        there.add(two);
        let mut back = two;
        back.add(one);
        assert_eq!(there, back);
        let mut twice = there;
        twice.add(one);
        twice.add(one);
        assert_ne!(twice, there);
        assert_ne!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"a", b"bc"]));
        assert_ne!(one.to_string(), two.to_string());
        assert_eq!(Digest::default().to_string(), "0".repeat(40));
    }
}
