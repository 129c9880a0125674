//! The fields of a small hash, one after the other: length, field, length, value.

use std::ops::Range;

use super::super::encoding::{put_varint, take_varint};

/// The fields of a body with their values, in the order in which they came.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    fn piece(&mut self) -> &'a [u8] {
        let length = usize::try_from(take_varint(&mut self.rest)).expect("a piece of a body in memory");
        let (piece, rest) = self.rest.split_at(length);
        self.rest = rest;
        piece
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some((self.piece(), self.piece()))
    }
}

/// The value of `field`.
pub(super) fn find<'a>(body: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    Fields::new(body).find(|(name, _)| *name == field).map(|(_, value)| value)
}

/// Where `field` and its value lie, lengths included, and where its value begins, its length included.
pub(super) fn locate(body: &[u8], field: &[u8]) -> Option<(Range<usize>, usize)> {
    let mut fields = Fields::new(body);
    loop {
        let start = body.len() - fields.rest.len();
        if start == body.len() {
            return None;
        }
        let name = fields.piece();
        let value_start = body.len() - fields.rest.len();
        fields.piece();
        if name == field {
            return Some((start..body.len() - fields.rest.len(), value_start));
        }
    }
}

/// Appends a piece with its length.
pub(super) fn push(body: &mut Vec<u8>, piece: &[u8]) {
    put_varint(body, piece.len() as u64);
    body.extend_from_slice(piece);
}
