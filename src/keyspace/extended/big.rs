//! Unsigned integers of any size, as much of them as reading and printing a float takes.

#![expect(clippy::cast_possible_truncation, reason = "a limb is the low half of what is computed")]

use std::cmp::Ordering;
use std::fmt;

/// An unsigned integer: 32-bit limbs, least first, without zeros at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Big(Vec<u32>);

impl From<u128> for Big {
    fn from(value: u128) -> Self {
        let mut big = Self((0..4).map(|limb| (value >> (32 * limb)) as u32).collect());
        big.trim();
        big
    }
}

impl Big {
    /// 10^`exponent`.
    pub(super) fn power_of_ten(exponent: usize) -> Self {
        let mut power = Self::from(1);
        for _ in 0..exponent / 9 {
            power.multiply_add(1_000_000_000, 0);
        }
        for _ in 0..exponent % 9 {
            power.multiply_add(10, 0);
        }
        power
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bits it has.
    pub(super) fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| 32 * self.0.len() - top.leading_zeros() as usize)
    }

    /// Becomes itself × `factor` + `summand`.
    pub(super) fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for limb in &mut self.0 {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// The product with `other`.
    pub(super) fn times(&self, other: &Self) -> Self {
        let mut product = vec![0_u32; self.0.len() + other.0.len()];
        for (start, &left) in self.0.iter().enumerate() {
            let mut carry = 0;
            for (limb, &right) in product[start..].iter_mut().zip(other.0.iter().chain([&0])) {
                let sum = u64::from(left) * u64::from(right) + u64::from(*limb) + carry;
                *limb = sum as u32;
                carry = sum >> 32;
            }
        }
        let mut product = Self(product);
        product.trim();
        product
    }

    /// Itself × 2^`bits`.
    pub(super) fn shifted_left(&self, bits: u32) -> Self {
        let mut shifted = vec![0; bits as usize / 32];
        shifted.extend_from_slice(&self.0);
        let mut big = Self(shifted);
        big.multiply_add(1 << (bits % 32), 0);
        big.trim();
        big
    }

    /// Becomes half of itself; the last bit is lost.
    pub(super) fn halve(&mut self) {
        let mut carry = 0;
        for limb in self.0.iter_mut().rev() {
            let low = *limb & 1;
            *limb = *limb >> 1 | carry << 31;
            carry = low;
        }
        self.trim();
    }

    /// Subtracts `other` if it is not larger, and tells whether it did.
    pub(super) fn subtract(&mut self, other: &Self) -> bool {
        if self.compare(other) == Ordering::Less {
            return false;
        }
        let mut borrow = 0;
        for (at, limb) in self.0.iter_mut().enumerate() {
            let taken = i64::from(other.0.get(at).copied().unwrap_or(0)) + borrow;
            let difference = i64::from(*limb) - taken;
            *limb = difference as u32;
            borrow = i64::from(difference < 0);
        }
        self.trim();
        true
    }

    /// The first 96 to 128 bits, how many bits follow them, and whether any of those is set.
    pub(super) fn leading_bits(&self) -> (u128, u32, bool) {
        let start = self.0.len().saturating_sub(4);
        let bits = self.0[start..].iter().rev().fold(0, |bits, &limb| bits << 32 | u128::from(limb));
        let dropped = u32::try_from(32 * start).expect("a text of a few thousand digits");
        (bits, dropped, self.0[..start].iter().any(|&limb| limb != 0))
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

impl fmt::Display for Big {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.clone();
        let mut groups = Vec::new();
        while !rest.is_empty() {
            let mut carry = 0;
            for limb in rest.iter_mut().rev() {
                let value = carry << 32 | u64::from(*limb);
                *limb = (value / 1_000_000_000) as u32;
                carry = value % 1_000_000_000;
            }
            groups.push(carry);
            while rest.last() == Some(&0) {
                rest.pop();
            }
        }
        let mut groups = groups.iter().rev();
        write!(f, "{}", groups.next().unwrap_or(&0))?;
        groups.try_for_each(|group| write!(f, "{group:09}"))
    }
}
