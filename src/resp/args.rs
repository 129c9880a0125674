//! The arguments of a request.

use std::ops::Index;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::number::parse_integer;

/// The arguments of one request; the first is the command's name. Never empty.
///
/// They lie in the connection's read buffer and share its allocation: an `Args`, and every [`Bytes`] taken from one, pins
/// that whole buffer (16 KiB as a rule; the request alone if it is longer than 64 KiB) until it is dropped. That is right
/// for what lives as long as a request. What is kept longer is copied out.
#[derive(Clone)]
pub struct Args {
    buffer: Bytes,
    ranges: Ranges,
}

/// Where arguments lie in their buffer. Offsets are 32 bits wide, since the scanner takes no request of 4 GiB.
#[derive(Clone)]
pub(super) struct Ranges(SmallVec<[(u32, u32); 6]>);

impl Ranges {
    #[inline]
    pub(super) fn new() -> Self {
        Self(SmallVec::new())
    }

    pub(super) fn with_capacity(count: usize) -> Self {
        Self(SmallVec::with_capacity(count))
    }

    #[inline]
    pub(super) fn push(&mut self, start: usize, end: usize) {
        self.0.push((offset(start), offset(end)));
    }
}

#[inline]
fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("the scanner takes no request of 4 GiB")
}

impl Args {
    /// The arguments at `ranges` of `buffer`.
    pub(super) fn new(ranges: Ranges, buffer: Bytes) -> Self {
        assert!(!ranges.0.is_empty(), "a request has a command's name");
        Self { buffer, ranges }
    }

    /// The arguments that stand one behind the other in `text` and end at `ends`.
    pub(super) fn from_parts(text: Vec<u8>, ends: &[usize]) -> Self {
        let mut ranges = Ranges::with_capacity(ends.len());
        let mut start = 0;
        for &end in ends {
            ranges.push(start, end);
            start = end;
        }
        Self::new(ranges, Bytes::from(text))
    }

    /// Arguments of this process' own making, copied; there must be at least one.
    pub fn from_slices(slices: &[&[u8]]) -> Self {
        let mut text = Vec::with_capacity(slices.iter().map(|slice| slice.len()).sum());
        let ends: Vec<usize> = slices
            .iter()
            .map(|slice| {
                text.extend_from_slice(slice);
                text.len()
            })
            .collect();
        Self::from_parts(text, &ends)
    }

    /// How many there are, the command's name included; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.ranges.0.len()
    }

    /// The argument at `index`, if there is one.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.ranges.0.get(index).map(|&(start, end)| &self.buffer[start as usize..end as usize])
    }

    /// The argument at `index`, sharing the buffer.
    pub fn bytes(&self, index: usize) -> Bytes {
        let (start, end) = self.ranges.0[index];
        self.buffer.slice(start as usize..end as usize)
    }

    /// The arguments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator {
        self.ranges.0.iter().map(|&(start, end)| &self.buffer[start as usize..end as usize])
    }

    /// What the request took on the wire and takes in memory, in bytes, for accounts of memory.
    pub fn memory_bytes(&self) -> usize {
        self.buffer.len() + self.len() * size_of::<(u32, u32)>()
    }

    /// A cursor that starts at the argument `from`.
    pub fn reader(&self, from: usize) -> ArgReader<'_> {
        ArgReader { args: self, next: from }
    }

    /// The same arguments in a buffer of their own, to be kept for long.
    #[must_use]
    pub fn detached(&self) -> Self {
        let slices: SmallVec<[&[u8]; 8]> = self.iter().collect();
        Self::from_slices(&slices)
    }
}

impl Index<usize> for Args {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        let (start, end) = self.ranges.0[index];
        &self.buffer[start as usize..end as usize]
    }
}

impl PartialEq for Args {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Args {}

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|arg| arg.escape_ascii().to_string())).finish()
    }
}

/// What is wrong with an argument. `Display` is Redis' text, with its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgError {
    /// An argument is missing, too many, or not what is known here.
    #[error("ERR syntax error")]
    Syntax,
    /// No integer, or none of 64 bits.
    #[error("ERR value is not an integer or out of range")]
    Integer,
    /// An integer, but negative.
    #[error("ERR value is out of range, must be positive")]
    Negative,
    /// No floating-point number.
    #[error("ERR value is not a valid float")]
    Float,
}

/// A cursor over arguments.
#[derive(Clone, Copy, Debug)]
pub struct ArgReader<'a> {
    args: &'a Args,
    next: usize,
}

impl<'a> ArgReader<'a> {
    /// How many arguments are left.
    pub fn remaining(&self) -> usize {
        self.args.len().saturating_sub(self.next)
    }

    /// The position of the next argument.
    pub fn position(&self) -> usize {
        self.next
    }

    /// The next argument, without taking it.
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.args.get(self.next)
    }

    /// Takes a key.
    ///
    /// # Errors
    ///
    /// [`ArgError::Syntax`] if there is no argument left; so for all that follow.
    pub fn key(&mut self) -> Result<&'a [u8], ArgError> {
        self.bytes()
    }

    /// Takes any bytes.
    ///
    /// # Errors
    ///
    /// [`ArgError::Syntax`] if there is no argument left.
    pub fn bytes(&mut self) -> Result<&'a [u8], ArgError> {
        let bytes = self.peek().ok_or(ArgError::Syntax)?;
        self.next += 1;
        Ok(bytes)
    }

    /// Takes any bytes, sharing the request's buffer.
    ///
    /// # Errors
    ///
    /// [`ArgError::Syntax`] if there is no argument left.
    pub fn shared(&mut self) -> Result<Bytes, ArgError> {
        if self.remaining() == 0 {
            return Err(ArgError::Syntax);
        }
        self.next += 1;
        Ok(self.args.bytes(self.next - 1))
    }

    /// Takes an integer.
    ///
    /// # Errors
    ///
    /// [`ArgError::Integer`] if it is none.
    pub fn integer(&mut self) -> Result<i64, ArgError> {
        parse_integer(self.bytes()?).ok_or(ArgError::Integer)
    }

    /// Takes an integer that is not negative.
    ///
    /// # Errors
    ///
    /// [`ArgError::Integer`] if it is none, [`ArgError::Negative`] if it is negative.
    pub fn unsigned(&mut self) -> Result<u64, ArgError> {
        u64::try_from(self.integer()?).map_err(|_| ArgError::Negative)
    }

    /// Takes a floating-point number; infinities are, NaN is not.
    ///
    /// # Errors
    ///
    /// [`ArgError::Float`] if it is none.
    pub fn float(&mut self) -> Result<f64, ArgError> {
        parse_float(self.bytes()?).ok_or(ArgError::Float)
    }

    /// Takes the next argument if it is `token`, in upper or lower case.
    pub fn token(&mut self, token: &str) -> bool {
        let found = self.peek().is_some_and(|next| next.eq_ignore_ascii_case(token.as_bytes()));
        self.next += usize::from(found);
        found
    }

    /// Ends the parse.
    ///
    /// # Errors
    ///
    /// [`ArgError::Syntax`] if something is left.
    pub fn finish(&self) -> Result<(), ArgError> {
        if self.remaining() == 0 { Ok(()) } else { Err(ArgError::Syntax) }
    }
}

/// A decimal floating-point number as C's `strtod` takes it: `1`, `-.5`, `3e8`, `inf`, `+Infinity`. Blanks around it, NaN,
/// and what a double cannot hold (`1e400`, `1e-400`) are refused, as in Redis; so are hexadecimal digits, unlike there.
pub fn parse_float(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let mantissa = text.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    let overflows = number.is_infinite() && mantissa.iter().any(u8::is_ascii_digit);
    let underflows = number == 0.0 && mantissa.iter().any(|digit| matches!(digit, b'1'..=b'9'));
    (!number.is_nan() && !overflows && !underflows).then_some(number)
}
