//! Quantities as CloudStack writes them (facts 3.2): at most six decimals, half to even, in the JVM's locale.

/// Milliseconds in a millionth of an hour are 3.6: five eighteenths turn one into the other.
const MILLIONTHS_PER_MS: (i64, i64) = (5, 18);

/// `0.083333` for 300 seconds; with `comma`, `0,083333`.
pub(crate) fn hours(ms: i64, comma: bool) -> String {
    let scaled = ms.saturating_mul(MILLIONTHS_PER_MS.0);
    let (quotient, rest) = (scaled.div_euclid(MILLIONTHS_PER_MS.1), scaled.rem_euclid(MILLIONTHS_PER_MS.1) * 2);
    let up = rest > MILLIONTHS_PER_MS.1 || (rest == MILLIONTHS_PER_MS.1 && quotient % 2 != 0);
    let millionths = quotient + i64::from(up);
    let (whole, fraction) = (millionths / 1_000_000, millionths % 1_000_000);
    let fraction = format!("{fraction:06}");
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole.to_string() } else { format!("{whole}{}{fraction}", if comma { ',' } else { '.' }) }
}

/// `(2.00 GB)` for a person: units of 1024, two decimals from KB on.
pub(crate) fn human_size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("({bytes} bytes)");
    }
    let (unit, divisor) = [("TB", 1_u64 << 40), ("GB", 1 << 30), ("MB", 1 << 20)]
        .into_iter()
        .find(|(_, divisor)| bytes >= *divisor)
        .unwrap_or(("KB", 1024));
    let hundredths = u128::from(bytes) * 100 / u128::from(divisor);
    format!("({}.{:02} {unit})", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_read_as_the_recorded_ones_do() {
        for (ms, text) in [
            (3_600_000, "1"),
            (24 * 3_600_000, "24"),
            (1_231_000, "0.341944"),
            (1_553_000, "0.431389"),
            (873_000, "0.2425"),
            (3_001, "0.000834"),
            (1, "0"),
            (300_000, "0.083333"),
        ] {
            assert_eq!(hours(ms, false), text);
        }
        assert_eq!(hours(300_000, true), "0,083333");
    }

    #[test]
    fn sizes_read_as_the_recorded_ones_do() {
        assert_eq!(human_size(2_147_483_648), "(2.00 GB)");
        assert_eq!(human_size(100), "(100 bytes)");
        assert_eq!(human_size(0), "(0 bytes)");
        assert_eq!(human_size(1536), "(1.50 KB)");
    }
}
