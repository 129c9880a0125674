//! The arithmetic of INCRBYFLOAT: 80-bit extended floats, C's `long double` on x86-64.
//!
//! Redis adds in `long double` and prints with 17 digits after the point, so that 0.1 + 0.2 is 0.3. To give the same
//! digits, text is rounded to a 64-bit mantissa, sums are rounded to it, and printing is exact: half to even everywhere,
//! as the processor and glibc do it. Redis itself differs on machines whose `long double` is another type.

mod big;

use std::cmp::Ordering;
use std::fmt;

use self::big::Big;

/// The longest text of a number that is read.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// The least exponent of a mantissa's last bit: numbers below lose precision.
const EXPONENT_MIN: i32 = -16_382 - 63;

/// The greatest exponent of a mantissa's last bit: what is above is infinite.
const EXPONENT_MAX: i32 = 16_383 - 63;

/// No number that can be represented has its first digit as far from the point.
const DECIMAL_EXPONENT_MAX: i64 = 5_200;

/// A number, or an infinity; never NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extended {
    is_negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magnitude {
    /// `mantissa` × 2^`exponent`. Zero has mantissa 0; the top bit is set unless the exponent is the least.
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
}

const NOTHING: Magnitude = Magnitude::Finite { mantissa: 0, exponent: EXPONENT_MIN };

impl Extended {
    /// The number 0.
    pub(crate) const ZERO: Self = Self { is_negative: false, magnitude: NOTHING };

    /// Reads a number as `strtold` does: decimal or hexadecimal, with an exponent or without, or an infinity. No blanks,
    /// no NaN, and nothing that is too large or, without being zero, rounds to zero.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (is_negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let magnitude = if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") {
            Magnitude::Infinite
        } else {
            let (numeral, radix) = match digits {
                [b'0', b'x' | b'X', rest @ ..] => (Numeral::parse(rest, 16, b'p')?, 16),
                rest => (Numeral::parse(rest, 10, b'e')?, 10),
            };
            let magnitude = if radix == 16 { numeral.binary()? } else { numeral.decimal()? };
            if magnitude == Magnitude::Infinite {
                return None;
            }
            magnitude
        };
        Some(Self { is_negative, magnitude })
    }

    /// The sum; `None` for infinities of different signs.
    pub(crate) fn add(self, other: Self) -> Option<Self> {
        let (
            Magnitude::Finite { mantissa: left, exponent: left_exponent },
            Magnitude::Finite { mantissa: right, exponent: right_exponent },
        ) = (self.magnitude, other.magnitude)
        else {
            return match (self.magnitude, other.magnitude) {
                (Magnitude::Infinite, Magnitude::Infinite) if self.is_negative != other.is_negative => None,
                (Magnitude::Infinite, _) => Some(self),
                (Magnitude::Finite { .. }, _) => Some(other),
            };
        };
        if left == 0 || (right != 0 && left_exponent < right_exponent) {
            return if right == 0 { Some(Self::sum_of_zeros(self, other)) } else { other.add(self) };
        }
        // The smaller one is moved to the grid of the larger, with 62 bits to spare; what is cut off only matters for
        // rounding.
        let distance = (left_exponent - right_exponent).unsigned_abs();
        let shift = if right == 0 { 0 } else { distance.min(62) };
        let large = u128::from(left) << shift;
        let lost = if right == 0 { 0 } else { distance - shift };
        let small = u128::from(right).checked_shr(lost).unwrap_or(0);
        let is_inexact = lost > 0 && (lost >= 64 || right & ((1 << lost) - 1) != 0);
        let shift = i32::try_from(shift).expect("at most 62");
        let exponent = left_exponent - shift;
        if self.is_negative == other.is_negative {
            let magnitude = round(large + small, exponent, is_inexact);
            return Some(Self { is_negative: self.is_negative, magnitude });
        }
        Some(match large.cmp(&small) {
            Ordering::Equal if !is_inexact => Self::ZERO,
            Ordering::Less => {
                assert!(!is_inexact, "bits are cut off only far below the larger number");
                let magnitude = round(small - large, exponent, false);
                Self { is_negative: other.is_negative, magnitude }
            }
            Ordering::Equal | Ordering::Greater => {
                let magnitude = round(large - small - u128::from(is_inexact), exponent, is_inexact);
                Self { is_negative: self.is_negative, magnitude }
            }
        })
    }

    /// Whether it is a number.
    pub(crate) fn is_finite(&self) -> bool {
        self.magnitude != Magnitude::Infinite
    }

    fn sum_of_zeros(left: Self, right: Self) -> Self {
        Self { is_negative: left.is_negative && right.is_negative, magnitude: NOTHING }
    }
}

/// 17 digits after the point, without the zeros at their end; `-0` is `0`.
impl fmt::Display for Extended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Magnitude::Finite { mantissa, exponent } = self.magnitude else {
            return f.write_str(if self.is_negative { "-inf" } else { "inf" });
        };
        let text = match u32::try_from(exponent) {
            Ok(shift) => Big::from(u128::from(mantissa)).shifted_left(shift).to_string(),
            Err(_) => decimals(mantissa, exponent.unsigned_abs()),
        };
        let sign = if self.is_negative && text != "0" { "-" } else { "" };
        write!(f, "{sign}{text}")
    }
}

/// `mantissa` / 2^`shift` with 17 digits after the point, rounded, without the zeros at their end.
fn decimals(mantissa: u64, shift: u32) -> String {
    const DIGITS: usize = 17;
    const ONE: u128 = 10_u128.pow(17);
    let scaled = u128::from(mantissa) * ONE;
    let rounded = match shift {
        // A scaled mantissa has at most 121 bits.
        1..=127 => {
            let (quotient, rest, half) =
                (scaled >> shift, scaled & ((1 << shift) - 1), 1_u128 << (shift - 1));
            quotient + u128::from(rest > half || (rest == half && quotient & 1 == 1))
        }
        _ => 0,
    };
    let (whole, fraction) = (rounded / ONE, rounded % ONE);
    if fraction == 0 {
        return whole.to_string();
    }
    let fraction = format!("{fraction:0DIGITS$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// The nearest number to `bits` × 2^`exponent`, or slightly more if it `is_inexact`.
fn round(bits: u128, exponent: i32, is_inexact: bool) -> Magnitude {
    let surplus = 64 - i32::try_from(bits.leading_zeros()).expect("at most 128");
    let drop = surplus.max(EXPONENT_MIN - exponent);
    if drop <= 0 {
        let shift = (-drop).min(exponent - EXPONENT_MIN).max(0);
        let mantissa = u64::try_from(bits << shift).expect("bits are dropped until 64 are left");
        return finite(mantissa, exponent - shift);
    }
    let dropped = u32::try_from(drop).expect("positive");
    let (kept, rest) = match dropped {
        1..=127 => (bits >> dropped, bits & ((1 << dropped) - 1)),
        _ => (0, bits),
    };
    let half = 1_u128.checked_shl(dropped - 1).unwrap_or(u128::MAX);
    let up = rest > half || (rest == half && (is_inexact || kept & 1 == 1));
    let kept = kept + u128::from(up);
    match u64::try_from(kept) {
        Ok(mantissa) => finite(mantissa, exponent + drop),
        Err(_) => finite(1 << 63, exponent + drop + 1),
    }
}

fn finite(mantissa: u64, exponent: i32) -> Magnitude {
    match (mantissa, exponent) {
        (0, _) => NOTHING,
        (_, exponent) if exponent > EXPONENT_MAX => Magnitude::Infinite,
        (mantissa, exponent) => Magnitude::Finite { mantissa, exponent },
    }
}

/// The digits of a number and where its point is.
struct Numeral {
    /// All digits as an integer.
    digits: Big,
    /// How many significant digits there are.
    len: i64,
    /// How many of the digits stand behind the point.
    behind_point: i64,
    /// The exponent that was written.
    exponent: i64,
}

impl Numeral {
    /// Reads digits with at most one point and, after `mark`, an exponent.
    fn parse(text: &[u8], radix: u32, mark: u8) -> Option<Self> {
        let mut numeral = Self { digits: Big::from(0), len: 0, behind_point: 0, exponent: 0 };
        let (mut has_digits, mut has_point) = (false, false);
        let mut rest = text;
        while let [byte, after @ ..] = rest {
            match char::from(*byte).to_digit(radix) {
                Some(digit) => {
                    has_digits = true;
                    numeral.digits.multiply_add(radix, digit);
                    numeral.len += i64::from(numeral.len > 0 || digit > 0);
                    numeral.behind_point += i64::from(has_point);
                }
                None if *byte == b'.' && !has_point => has_point = true,
                None => break,
            }
            rest = after;
        }
        if !has_digits {
            return None;
        }
        if let [first, exponent @ ..] = rest {
            if !first.eq_ignore_ascii_case(&mark) {
                return None;
            }
            numeral.exponent = parse_exponent(exponent)?;
        }
        Some(numeral)
    }

    /// The number nearest to digits × 10^exponent; `None` if it is not zero and rounds to zero.
    fn decimal(self) -> Option<Magnitude> {
        if self.digits.is_zero() {
            return Some(NOTHING);
        }
        let scale = self.exponent - self.behind_point;
        let first_digit = self.len + scale;
        if first_digit > DECIMAL_EXPONENT_MAX {
            return Some(Magnitude::Infinite);
        }
        if first_digit < -DECIMAL_EXPONENT_MAX {
            return None;
        }
        let power = Big::power_of_ten(usize::try_from(scale.unsigned_abs()).expect("bounded above"));
        let magnitude = if scale >= 0 {
            quotient(self.digits.times(&power), Big::from(1))
        } else {
            quotient(self.digits, power)
        };
        (magnitude != NOTHING).then_some(magnitude)
    }

    /// The number nearest to digits × 2^exponent, 4 bits per digit behind the point.
    fn binary(self) -> Option<Magnitude> {
        if self.digits.is_zero() {
            return Some(NOTHING);
        }
        let exponent = self.exponent - 4 * self.behind_point;
        let length = i64::try_from(self.digits.bits()).expect("a text of a few thousand digits");
        let top = exponent + length;
        if top > i64::from(EXPONENT_MAX) + 64 {
            return Some(Magnitude::Infinite);
        }
        if top < i64::from(EXPONENT_MIN) - 1 {
            return None;
        }
        let (bits, dropped, is_inexact) = self.digits.leading_bits();
        let exponent = i32::try_from(exponent + i64::from(dropped)).expect("bounded above");
        let magnitude = round(bits, exponent, is_inexact);
        (magnitude != NOTHING).then_some(magnitude)
    }
}

/// An exponent with an optional sign. One that is too large for any number is cut, not refused.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value =
        digits.iter().fold(0_i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1_000_000));
    Some(sign * value)
}

/// The number nearest to `numerator` / `denominator`, both positive.
fn quotient(numerator: Big, denominator: Big) -> Magnitude {
    const BITS: i64 = 66;
    let length = |big: &Big| i64::try_from(big.bits()).expect("a number of a few thousand digits");
    let shift = BITS - (length(&numerator) - length(&denominator));
    let amount = u32::try_from(shift.unsigned_abs()).expect("a number of a few thousand digits");
    let (mut rest, denominator) = match shift {
        0.. => (numerator.shifted_left(amount), denominator),
        _ => (numerator, denominator.shifted_left(amount)),
    };
    // The quotient has 66 or 67 bits now: long division, bit by bit.
    let mut step = denominator.shifted_left(u32::try_from(BITS).expect("positive"));
    let mut bits = 0_u128;
    for _ in 0..=BITS {
        bits <<= 1;
        if rest.subtract(&step) {
            bits |= 1;
        }
        step.halve();
    }
    let exponent = i32::try_from(-shift).expect("a number of a few thousand digits");
    round(bits, exponent, !rest.is_zero())
}

#[cfg(test)]
mod tests;
