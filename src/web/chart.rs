//! Cost by day as bars, and added up as a curve: whole numbers in attributes, so that no style and no script is needed.

use crate::{
    money::{Currency, Money, MoneyError},
    rating::tax::TaxRate,
    store::rating::ChargeDay,
    time::Day,
};

/// Height of the tallest bar, in the picture's units.
const HEIGHT: i64 = 100;
/// Width that a day takes.
const STEP: i64 = 20;

/// One day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) day: String,
    pub(super) cost: String,
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) height: i64,
}

/// A bar for each day in `[from, until)`, with tax.
pub(super) fn bars(
    charges: &[ChargeDay],
    (from, until): (Day, Day),
    tax: TaxRate,
    currency: &Currency,
) -> Result<Vec<Bar>, MoneyError> {
    let mut sums = Vec::new();
    for number in from.number()..until.number() {
        let mut sum = Money::ZERO;
        for charge in charges.iter().filter(|charge| charge.day == number) {
            let net = Money::round_from_nanos(charge.net_nanos);
            sum = sum.plus(net)?.plus(tax.of(net)?)?;
        }
        sums.push((Day::from_number(number).to_string(), sum));
    }
    Ok(of_sums(&sums, currency))
}

/// A bar for each sum, under its name.
pub(super) fn of_sums(sums: &[(String, Money)], currency: &Currency) -> Vec<Bar> {
    let most = i128::from(sums.iter().map(|(_, sum)| sum.as_micros()).max().unwrap_or(0).max(1));
    let bar = |(position, (day, sum)): (usize, &(String, Money))| {
        let part = i128::from(sum.as_micros().max(0)) * i128::from(HEIGHT) / most;
        // A day that cost something is seen.
        let height = i64::try_from(part).unwrap_or(HEIGHT).max(i64::from(sum.is_positive()));
        Bar {
            day: day.clone(),
            cost: currency.format(*sum),
            x: i64::try_from(position).unwrap_or(0) * STEP,
            y: HEIGHT - height,
            height,
        }
    };
    sums.iter().enumerate().map(bar).collect()
}

/// How wide a picture of so many bars is.
pub(super) fn width(bars: usize) -> i64 {
    i64::try_from(bars.max(1)).unwrap_or(1).saturating_mul(STEP)
}

/// The tops of bars as a line from middle to middle, for an SVG polyline.
pub(super) fn line(bars: &[Bar]) -> String {
    bars.iter().map(|bar| format!("{},{}", bar.x + STEP / 2, bar.y)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(day: i64, net_nanos: i64) -> ChargeDay {
        ChargeDay { records: 1, net_nanos, ..ChargeDay::empty(1, day, 1, 1) }
    }

    #[test]
    fn the_dearest_day_has_the_tallest_bar_and_the_cheapest_is_still_seen() {
        let charges = [charge(10, 5_000_000_000), charge(10, 5_000_000_000), charge(11, 1_000_000), charge(99, 7)];
        let tax = TaxRate::parse("20").unwrap();
        let days = (Day::from_number(9), Day::from_number(12));
        let bars = bars(&charges, days, tax, &Currency::from_code("EUR").unwrap()).unwrap();
        let seen: Vec<_> = bars.iter().map(|bar| (bar.cost.as_str(), bar.x, bar.y, bar.height)).collect();
        assert_eq!(seen, [("0.00 EUR", 0, 100, 0), ("12.00 EUR", 20, 0, 100), ("0.00 EUR", 40, 99, 1)]);
        assert_eq!((line(&bars).as_str(), width(bars.len())), ("10,100 30,0 50,99", 60));
    }
}
