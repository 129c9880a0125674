//! Inline requests: a line of words, with the quoting that redis-cli knows.
//!
//! | in | means |
//! |---|---|
//! | `"…"` | `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a`; any other `\c` is `c` |
//! | `'…'` | only `\'` |
//!
//! A quote may open inside a word; behind its end must come a blank or the end of the line. NUL is a byte as any other
//! (Redis would wait for the rest of the line for ever).

use super::{Args, ProtocolError};

/// Splits a line, without its line end, into its words; `None` if it has none.
pub(super) fn split(line: &[u8]) -> Result<Option<Args>, ProtocolError> {
    let mut words = Words { rest: line, text: Vec::with_capacity(line.len()) };
    let mut ends = Vec::new();
    while words.next()? {
        ends.push(words.text.len());
    }
    Ok(if ends.is_empty() { None } else { Some(Args::from_parts(words.text, &ends)) })
}

/// The words of a line, gathered in one buffer.
struct Words<'a> {
    rest: &'a [u8],
    text: Vec<u8>,
}

impl Words<'_> {
    /// Appends the next word to `text`; false if there is none.
    fn next(&mut self) -> Result<bool, ProtocolError> {
        while self.rest.first().is_some_and(|&byte| is_blank(byte)) {
            self.take();
        }
        if self.rest.is_empty() {
            return Ok(false);
        }
        loop {
            match self.take() {
                None | Some(b' ' | b'\n' | b'\r' | b'\t') => return Ok(true),
                Some(quote @ (b'"' | b'\'')) => {
                    self.quoted(quote)?;
                    return Ok(true);
                }
                Some(byte) => self.text.push(byte),
            }
        }
    }

    /// Appends what stands up to the closing `quote`, which must end the word.
    fn quoted(&mut self, quote: u8) -> Result<(), ProtocolError> {
        loop {
            match self.take().ok_or(ProtocolError::UnbalancedQuotes)? {
                b'\\' if quote == b'"' => self.escape()?,
                b'\\' if self.rest.first() == Some(&b'\'') => {
                    self.take();
                    self.text.push(b'\'');
                }
                byte if byte == quote => {
                    return match self.rest.first() {
                        Some(&next) if !is_blank(next) => Err(ProtocolError::UnbalancedQuotes),
                        Some(_) | None => Ok(()),
                    };
                }
                byte => self.text.push(byte),
            }
        }
    }

    /// Appends what a backslash in double quotes stands for.
    fn escape(&mut self) -> Result<(), ProtocolError> {
        if let [b'x', high, low, ..] = *self.rest
            && let (Some(high), Some(low)) = (hex_digit(high), hex_digit(low))
        {
            self.rest = &self.rest[3..];
            self.text.push(high << 4 | low);
            return Ok(());
        }
        let byte = match self.take().ok_or(ProtocolError::UnbalancedQuotes)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 0x08,
            b'a' => 0x07,
            other => other,
        };
        self.text.push(byte);
        Ok(())
    }

    fn take(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }
}

/// Whether C's `isspace` holds.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
