//! Doubles as Redis prints them in replies: the shortest text that reads back as the same number.

use std::io::Write;

/// The longest text: a sign, 17 digits, the point, and `e-308`.
const TEXT_BYTES_MAX: usize = 32;

/// The text of a double, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct DoubleText {
    text: [u8; TEXT_BYTES_MAX],
    len: usize,
}

impl DoubleText {
    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.text[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.push(b"0");
        }
    }
}

/// Integers up to this magnitude are printed as integers: half of what 64 bits hold.
const INTEGER_MAX: f64 = (1_u64 << 62) as f64;

/// Formats `value` as Valkey 8.1 does: `1`, `1.5`, `1e+100`, `inf`, `-inf`, `nan`.
///
/// Integers up to 2^62 have all their digits. Otherwise plain notation is used for integers with up to seven zeros behind
/// their shortest digits, and for fractions with up to six places or a power of ten below four; all else is `d.ddde±x`.
/// For about one in 500 random numbers Valkey's algorithm misses the shortest digits, and the text differs in its last one.
pub fn format_double(value: f64) -> DoubleText {
    let mut out = DoubleText { text: [0; TEXT_BYTES_MAX], len: 0 };
    if value.is_nan() {
        out.push(b"nan");
        return out;
    }
    if value.fract() == 0.0 && value.abs() <= INTEGER_MAX && (value != 0.0 || value.is_sign_positive()) {
        #[expect(clippy::cast_possible_truncation, reason = "an integer within the range")]
        out.push(crate::number::Decimal::signed(value as i64).as_bytes());
        return out;
    }
    if value.is_sign_negative() {
        out.push(b"-");
    }
    if value.is_infinite() {
        out.push(b"inf");
    } else if value == 0.0 {
        out.push(b"0");
    } else {
        let (digits, len, exponent) = shortest_digits(value.abs());
        push_digits(&mut out, &digits[..len], exponent);
    }
    out
}

/// The shortest digits of a positive number, their count, and the power of ten of the first.
fn shortest_digits(value: f64) -> ([u8; 17], usize, i32) {
    let mut text = [0_u8; TEXT_BYTES_MAX];
    let mut rest = &mut text[..];
    write!(rest, "{value:e}").expect("at most 17 digits, a point and an exponent");
    let unused = rest.len();
    let text = &text[..TEXT_BYTES_MAX - unused];
    let split = text.iter().position(|&byte| byte == b'e').expect("scientific notation has an e");
    let mut digits = [0; 17];
    let mut len = 0;
    for &digit in text[..split].iter().filter(|&&byte| byte != b'.') {
        digits[len] = digit;
        len += 1;
    }
    let exponent = std::str::from_utf8(&text[split + 1..]).ok().and_then(|text| text.parse().ok());
    (digits, len, exponent.expect("scientific notation has an exponent"))
}

/// Writes `digits`, the first of which stands for 10^`exponent`.
fn push_digits(out: &mut DoubleText, digits: &[u8], exponent: i32) {
    let count = i32::try_from(digits.len()).expect("at most 17 digits");
    // The power of ten of the last digit.
    let scale = exponent + 1 - count;
    let size = exponent.unsigned_abs() as usize;
    if scale >= 0 && size < digits.len() + 7 {
        out.push(digits);
        out.zeros(scale.unsigned_abs() as usize);
    } else if scale < 0 && (scale > -7 || size < 4) {
        match usize::try_from(exponent) {
            Ok(exponent) => {
                out.push(&digits[..=exponent]);
                out.push(b".");
                out.push(&digits[exponent + 1..]);
            }
            Err(_) => {
                out.push(b"0.");
                out.zeros(size - 1);
                out.push(digits);
            }
        }
    } else {
        out.push(&digits[..1]);
        if digits.len() > 1 {
            out.push(b".");
            out.push(&digits[1..]);
        }
        out.push(if exponent < 0 { b"e-" } else { b"e+" });
        out.push(crate::number::Decimal::unsigned(size as u64).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: f64) -> String {
        String::from_utf8(format_double(value).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn doubles_print_as_redis_prints_them() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (-2.25, "-2.25"),
            (0.1, "0.1"),
            (1e100, "1e+100"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (100.0, "100"),
            (1e17, "100000000000000000"),
            (-792335430681719936.0, "-792335430681719936"),
            (5e18, "5e+18"),
            (1.5e-7, "1.5e-7"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    proptest! {
        #[test]
        fn every_double_reads_back_as_itself(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(text(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
}
