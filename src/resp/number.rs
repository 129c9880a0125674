//! Integers as decimal text.

/// The most digits of a `u64`, and room for a sign.
const DIGITS_MAX: usize = 20;

/// A decimal integer on the stack: what `itoa` would return, without an allocation.
pub(super) struct Decimal {
    text: [u8; DIGITS_MAX],
    start: usize,
}

impl Decimal {
    /// The text of `value`.
    pub(super) fn unsigned(mut value: u64) -> Self {
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
    pub(super) fn signed(value: i64) -> Self {
        let mut decimal = Self::unsigned(value.unsigned_abs());
        if value < 0 {
            // 19 digits at most, so there is room for the sign.
            decimal.start -= 1;
            decimal.text[decimal.start] = b'-';
        }
        decimal
    }

    /// The digits.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_print_as_the_standard_library_prints_them() {
        for value in [0, 1, 9, 10, 99, 100, -1, -10, i64::MAX, i64::MIN] {
            assert_eq!(Decimal::signed(value).as_bytes(), value.to_string().as_bytes());
        }
        assert_eq!(Decimal::unsigned(u64::MAX).as_bytes(), u64::MAX.to_string().as_bytes());
    }
}
