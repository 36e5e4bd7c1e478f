//! Exact quotients: a product of integers divided by a product of integers, rounded once, half to even.
//!
//! A price of 21 digits times hours, bytes and shares of milliseconds outgrows 128 bits, and a decimal that is rounded
//! on the way would make the last digit depend on the order of the factors. So the product is kept whole, in 384 bits,
//! and only the quotient is rounded.

/// Limbs of 64 bits: price (70) + quantity (96) + size (63) + part of the record (48) + hour (22) + scale (64) bits and
/// the doubling fit.
const LIMBS: usize = 6;

/// The largest power of ten that fits into 64 bits.
const MOST_TENS: u32 = 19;

/// A product of factors, with least significant limb first, and the divisors it is still to be divided by.
#[derive(Debug, Clone)]
pub(super) struct Quotient {
    product: [u64; LIMBS],
    /// Whether a division left a rest.
    rest: bool,
    overflow: bool,
}

impl Quotient {
    /// Starts with the factor one.
    ///
    /// The product is kept doubled, so that its last bit after all divisions tells whether half or more was cut off.
    pub(super) const fn one() -> Self {
        Self { product: [2, 0, 0, 0, 0, 0], rest: false, overflow: false }
    }

    /// Times a factor. All factors have to come before the first divisor.
    pub(super) fn times(mut self, factor: u64) -> Self {
        let mut carry = 0_u128;
        for limb in &mut self.product {
            carry += u128::from(*limb) * u128::from(factor);
            *limb = low(carry);
            carry >>= 64;
        }
        self.overflow |= carry != 0;
        self
    }

    /// Times a factor of up to 128 bits.
    pub(super) fn times_wide(self, factor: u128) -> Self {
        let high = low(factor >> 64);
        if high == 0 {
            return self.times(low(factor));
        }
        let lower = self.clone().times(low(factor));
        let mut upper = self.times(high);
        // The upper part weighs 2^64: its limbs move up by one.
        upper.overflow |= lower.overflow | upper.product.last().is_some_and(|top| *top != 0);
        upper.product.rotate_right(1);
        if let Some(lowest) = upper.product.first_mut() {
            *lowest = 0;
        }
        let mut carry = 0_u128;
        for (limb, other) in upper.product.iter_mut().zip(lower.product) {
            carry += u128::from(*limb) + u128::from(other);
            *limb = low(carry);
            carry >>= 64;
        }
        upper.overflow |= carry != 0;
        upper
    }

    /// Divided by a divisor. Cutting at each of several divisors is the same as cutting once at their product.
    ///
    /// A divisor of zero counts as an overflow.
    pub(super) fn over(mut self, divisor: u64) -> Self {
        if divisor == 0 {
            self.overflow = true;
            return self;
        }
        let wide = u128::from(divisor);
        let mut rest = 0_u128;
        for limb in self.product.iter_mut().rev() {
            if rest == 0 && *limb == 0 {
                continue;
            }
            let part = (rest << 64) | u128::from(*limb);
            *limb = low(part / wide);
            rest = part % wide;
        }
        self.rest |= rest != 0;
        self
    }

    /// Divided by ten to the power of `exponent`.
    pub(super) fn over_tens(mut self, mut exponent: u32) -> Self {
        while exponent > 0 {
            let step = exponent.min(MOST_TENS);
            self = self.over(tens(step));
            exponent -= step;
        }
        self
    }

    /// The quotient, rounded half to even; None if it does not fit.
    pub(super) fn round(self) -> Option<i64> {
        let (lowest, others) = self.product.split_first()?;
        if self.overflow || others.iter().any(|limb| *limb != 0) {
            return None;
        }
        let (whole, half) = (lowest >> 1, lowest & 1 == 1);
        let up = half && (self.rest || whole & 1 == 1);
        i64::try_from(whole).ok()?.checked_add(i64::from(up))
    }
}

/// The lowest 64 bits.
fn low(value: u128) -> u64 {
    u64::try_from(value & u128::from(u64::MAX)).unwrap_or(u64::MAX)
}

fn tens(exponent: u32) -> u64 {
    // Zero, for more than 64 bits, would be an overflow in `over`.
    10_u64.checked_pow(exponent).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounds_half_to_even() {
        // 1/2, 3/2, 5/2, and just above one half
        for (top, bottom, expected) in [(1, 2, 0), (3, 2, 2), (5, 2, 2), (501, 1000, 1), (499, 1000, 0), (7, 1, 7)] {
            assert_eq!(Quotient::one().times(top).over(bottom).round(), Some(expected), "{top}/{bottom}");
        }
        // 2.5 in two steps of division, and 2.5000000001
        assert_eq!(Quotient::one().times(25).over(2).over(5).round(), Some(2));
        assert_eq!(Quotient::one().times(25_000_000_001).over_tens(10).round(), Some(3));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(Quotient::one().times(u64::MAX).round(), None);
        let largest = i64::MAX.unsigned_abs();
        assert_eq!(Quotient::one().times(largest).round(), Some(i64::MAX));
        let huge = (0..7).fold(Quotient::one(), |product, _| product.times(u64::MAX));
        assert_eq!(huge.over(u64::MAX).over(u64::MAX).round(), None);
        assert_eq!(Quotient::one().over(0).round(), None);
    }

    #[test]
    fn wide_factors_cancel_out() {
        let factor = 123_456_789_012_345_678_901_234_567_u128;
        let square = Quotient::one().times_wide(factor).times_wide(factor).times(tens(19));
        // 123456789012345678901234567^2 / 10^44 = 152415787.5…
        assert_eq!(square.over_tens(44 + 19).round(), Some(152_415_788));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_128_bits_where_those_suffice(a in 0_u64..1 << 40, b in 0_u64..1 << 40, c in 1_u64..1 << 30, d in 1_u64..1 << 20) {
            let (top, bottom) = (u128::from(a) * u128::from(b), u128::from(c) * u128::from(d));
            let (whole, rest) = (top / bottom, top % bottom);
            let up = rest * 2 > bottom || (rest * 2 == bottom && whole % 2 == 1);
            let expected = i64::try_from(whole + u128::from(up)).ok();
            prop_assert_eq!(Quotient::one().times(a).times(b).over(c).over(d).round(), expected);
            prop_assert_eq!(Quotient::one().times_wide(top).over(d).over(c).round(), expected);
        }
    }
}
