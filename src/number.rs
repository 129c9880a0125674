//! Integers as decimal text, as Redis reads and writes them.

/// An integer as Redis writes it and takes it: no blank, no plus, no leading zero, no minus zero.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !is_negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude = 0_u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // 19 digits stay below 10^19, which 64 bits hold.
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if is_negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// The most digits of a `u64`, and room for a sign.
const DIGITS_MAX: usize = 20;

/// A decimal integer on the stack: what `itoa` would return, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    text: [u8; DIGITS_MAX],
    start: usize,
}

impl Decimal {
    /// The text of `value`.
    pub fn unsigned(mut value: u64) -> Self {
        let mut text = [0; DIGITS_MAX];
        let mut start = DIGITS_MAX;
        loop {
            start -= 1;
            text[start] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                return Self { text, start };
            }
        }
    }

    /// The text of `value`, with a sign if it is negative.
    pub fn signed(value: i64) -> Self {
        let mut decimal = Self::unsigned(value.unsigned_abs());
        if value < 0 {
            // 19 digits at most, so there is room for the sign.
            decimal.start -= 1;
            decimal.text[decimal.start] = b'-';
        }
        decimal
    }

    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_nothing_else_is_read() {
        for value in [0, 1, -1, 9, 10, -10, 99, 100, i64::MAX, i64::MIN, 1_234_567_890_123] {
            let text = value.to_string();
            assert_eq!(Decimal::signed(value).as_bytes(), text.as_bytes());
            assert_eq!(parse_integer(text.as_bytes()), Some(value));
        }
        assert_eq!(Decimal::unsigned(u64::MAX).as_bytes(), u64::MAX.to_string().as_bytes());
        let refused = ["", "-", "-0", "+1", "01", "-01", " 1", "1 ", "1.0", "1e3", "0x1"];
        let too_large = ["9223372036854775808", "-9223372036854775809", "99999999999999999999"];
        for text in refused.into_iter().chain(too_large) {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }
}
