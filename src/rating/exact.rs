//! Exact quotients: a product of integers divided by a product of integers, rounded once, half to even.
//!
//! A price of 21 digits times hours, bytes and shares of milliseconds outgrows 128 bits, and a decimal that is rounded
//! on the way would make the last digit depend on the order of the factors. So the product is kept whole and only the
//! quotient is rounded: in 128 bits where it fits, as nearly always, and in 448 bits otherwise.

/// Limbs of 64 bits: price (70) + quantity (63) + size (63) + part of the record (48) + hour (22) + discount (24) + tier (63) +
/// scale (64) bits and the doubling fit.
const LIMBS: usize = 7;

/// The largest power of ten that fits into 64 bits.
const MOST_TENS: u32 = 19;

/// The most factors, and the most divisors, of a [`Fraction`].
const MAX_FACTORS: usize = 8;

/// Powers of ten that fit into 64 bits.
const TENS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut rest = powers.as_mut_slice();
    let mut power = 1_u64;
    while let [first, others @ ..] = rest {
        *first = power;
        power = power.saturating_mul(10);
        rest = others;
    }
    powers
};

/// Some factors; more than fit are noted.
#[derive(Debug, Clone, Copy)]
struct Factors {
    values: [u64; MAX_FACTORS],
    count: usize,
}

impl Factors {
    const NONE: Self = Self { values: [1; MAX_FACTORS], count: 0 };

    #[inline]
    fn push(&mut self, factor: u64) {
        if let Some(place) = self.values.get_mut(self.count) {
            *place = factor;
        }
        self.count += 1;
    }

    #[inline]
    fn all(&self) -> &[u64] {
        self.values.get(..self.count).unwrap_or(&self.values)
    }

    const fn is_too_many(&self) -> bool {
        self.count > MAX_FACTORS
    }

    /// The product with a first factor; None if it does not fit.
    #[inline]
    fn product(&self, first: u128) -> Option<u128> {
        let mut product = first;
        for factor in self.all() {
            product = times(product, *factor)?;
        }
        Some(product)
    }
}

/// A product of 128 by 64 bits; None if it does not fit. Much faster than the general checked product.
#[inline]
fn times(wide: u128, factor: u64) -> Option<u128> {
    let lower = u128::from(low(wide)) * u128::from(factor);
    let upper = (wide >> 64) * u128::from(factor);
    if upper >> 64 != 0 {
        return None;
    }
    lower.checked_add(upper << 64)
}

/// A fraction that is put together factor by factor, in any order.
#[derive(Debug, Clone)]
pub(super) struct Fraction {
    wide: u128,
    times: Factors,
    over: Factors,
    /// The exponent of a power of ten to multiply by.
    tens: i32,
}

impl Fraction {
    /// Starts with a first factor.
    #[inline]
    pub(super) const fn of(wide: u128) -> Self {
        Self { wide, times: Factors::NONE, over: Factors::NONE, tens: 0 }
    }

    /// Times a factor.
    #[inline]
    pub(super) fn times(&mut self, factor: u64) -> &mut Self {
        self.times.push(factor);
        self
    }

    /// Divided by a divisor.
    #[inline]
    pub(super) fn over(&mut self, divisor: u64) -> &mut Self {
        self.over.push(divisor);
        self
    }

    /// Times ten to the power of `exponent`, which may be negative.
    #[inline]
    pub(super) const fn times_tens(&mut self, exponent: i32) -> &mut Self {
        self.tens += exponent;
        self
    }

    /// The fraction as an integer, rounded half to even; None if it does not fit.
    pub(super) fn round(&self) -> Option<i64> {
        if self.times.is_too_many() || self.over.is_too_many() {
            return None;
        }
        self.round_in_128_bits().unwrap_or_else(|| self.round_wide())
    }

    /// None where 128 bits do not suffice; Some(None) where the result does not fit.
    #[inline]
    fn round_in_128_bits(&self) -> Option<Option<i64>> {
        let tens = *usize::try_from(self.tens.unsigned_abs()).ok().and_then(|exponent| TENS.get(exponent))?;
        let (above, below) = if self.tens >= 0 { (tens, 1) } else { (1, tens) };
        let top = times(self.times.product(self.wide)?, above)?;
        let bottom = times(self.over.product(1)?, below)?;
        let whole = match (u64::try_from(top), u64::try_from(bottom)) {
            (_, Ok(1)) => top,
            (Ok(top), Ok(bottom)) => u128::from(top.checked_div(bottom)?),
            _ => top.checked_div(bottom)?,
        };
        let rest = top - whole * bottom;
        let up = match (bottom - rest).cmp(&rest) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => whole & 1 == 1,
            std::cmp::Ordering::Greater => false,
        };
        Some(i64::try_from(whole).ok().and_then(|whole| whole.checked_add(i64::from(up))))
    }

    #[cold]
    fn round_wide(&self) -> Option<i64> {
        let mut quotient = Quotient::one().times_wide(self.wide);
        for factor in self.times.all() {
            quotient = quotient.times(*factor);
        }
        let exponent = self.tens.unsigned_abs();
        if self.tens > 0 {
            quotient = quotient.times(tens(exponent));
        }
        for divisor in self.over.all() {
            quotient = quotient.over(*divisor);
        }
        if self.tens < 0 {
            quotient = quotient.over_tens(exponent);
        }
        quotient.round()
    }
}

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
        Self { product: [2, 0, 0, 0, 0, 0, 0], rest: false, overflow: false }
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
#[inline]
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
        assert_eq!(Fraction::of(1).over(0).round(), None);
        assert_eq!(Fraction::of(u128::MAX).round(), None);
        let mut many = Fraction::of(1);
        (0..8).for_each(|_| _ = many.times(1));
        assert_eq!(many.round(), Some(1));
        assert_eq!(many.times(1).round(), None);
        assert_eq!(Quotient::one().times(u64::MAX).round(), None);
        let largest = i64::MAX.unsigned_abs();
        assert_eq!(Quotient::one().times(largest).round(), Some(i64::MAX));
        let huge = (0..8).fold(Quotient::one(), |product, _| product.times(u64::MAX));
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
            let mut fraction = Fraction::of(u128::from(a));
            fraction.times(b).over(c).over(d);
            prop_assert_eq!((fraction.round(), fraction.round_wide()), (expected, expected));
        }

        #[test]
        fn both_ways_of_reckoning_agree(a in 0_u128..1 << 90, b: u64, c in 1_u64.., d in 1_u64.., tens in -18_i32..9) {
            let mut fraction = Fraction::of(a);
            fraction.times(b).over(c).over(d).times_tens(tens);
            if let Some(narrow) = fraction.round_in_128_bits() {
                prop_assert_eq!(narrow, fraction.round_wide());
            }
        }
    }
}
