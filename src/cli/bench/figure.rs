//! What was measured, and how it compares with its aim (design, section 6). Whole numbers only: a ratio is in hundredths.

use std::time::Duration;

use super::memory::Memory;

/// What a figure shall be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Aim {
    /// So many a second.
    PerSecond(u64),
    /// At most this long.
    Within(Duration),
    /// At most this ratio, in hundredths.
    Ratio(u64),
    /// A part of something else, or a preparation.
    None,
}

/// One figure.
#[derive(Debug, serde::Serialize)]
pub(super) struct Figure {
    measure: &'static str,
    database: &'static str,
    count: u64,
    unit: &'static str,
    milliseconds: u64,
    per_second: u64,
    /// To a plain download of the same pages, in hundredths.
    ratio_percent: Option<u64>,
    memory: Option<Memory>,
    aim: String,
    met: Option<bool>,
    /// By how much the aim is met or missed, in hundredths: 200 is half of what was aimed for.
    missed_by_percent: Option<u64>,
}

impl Figure {
    pub(super) fn new(
        measure: &'static str,
        database: &'static str,
        (count, unit): (u64, &'static str),
        elapsed: Duration,
        aim: Aim,
    ) -> Self {
        let per_second = u128::from(count).saturating_mul(1_000_000) / elapsed.as_micros().max(1);
        let mut figure = Self {
            measure,
            database,
            count,
            unit,
            milliseconds: whole(elapsed.as_millis()),
            per_second: whole(per_second),
            ratio_percent: None,
            memory: None,
            aim: String::new(),
            met: None,
            missed_by_percent: None,
        };
        match aim {
            Aim::PerSecond(wanted) => {
                figure.judge(format!("at least {wanted} a second"), (wanted, figure.per_second.max(1)));
            }
            Aim::Within(wanted) => {
                let text = format!("at most {} ms", wanted.as_millis());
                figure.judge(text, (whole(elapsed.as_millis()), whole(wanted.as_millis())));
            }
            Aim::Ratio(_) | Aim::None => {}
        }
        figure
    }

    /// Beside a plain download that took `plain`.
    pub(super) fn beside(mut self, elapsed: Duration, plain: Duration, aim: Aim) -> Self {
        let ratio = whole(elapsed.as_micros().saturating_mul(100).div_ceil(plain.as_micros().max(1)));
        self.ratio_percent = Some(ratio);
        if let Aim::Ratio(wanted) = aim {
            self.judge(format!("ratio at most {}", hundredths(wanted)), (ratio, wanted));
        }
        self
    }

    pub(super) fn with_memory(mut self, memory: Option<Memory>) -> Self {
        self.memory = memory;
        self
    }

    /// `(measured, wanted)`, the smaller the better.
    fn judge(&mut self, aim: String, (measured, wanted): (u64, u64)) {
        self.aim = aim;
        self.met = Some(measured <= wanted);
        self.missed_by_percent = Some(measured.saturating_mul(100) / wanted.max(1));
    }

    pub(super) fn row(&self) -> [String; 9] {
        let verdict = match (self.met, self.missed_by_percent) {
            (Some(true), _) => "met".to_owned(),
            (Some(false), Some(by)) => format!("missed by {}", hundredths(by)),
            _ => String::new(),
        };
        [
            self.measure.to_owned(),
            self.database.to_owned(),
            format!("{} {}", self.count, self.unit),
            format!("{}.{:03}", self.milliseconds / 1_000, self.milliseconds % 1_000),
            self.per_second.to_string(),
            self.ratio_percent.map(hundredths).unwrap_or_default(),
            self.memory.map_or_else(|| "not measured".to_owned(), |memory| memory.to_string()),
            self.aim.clone(),
            verdict,
        ]
    }
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn hundredths(number: u64) -> String {
    format!("{}.{:02}", number / 100, number % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_says_whether_its_aim_is_met_and_by_how_much_it_is_missed() {
        let of = |millis, aim| Figure::new("x", "SQLite", (1_000, "records"), Duration::from_millis(millis), aim);
        assert_eq!(of(500, Aim::PerSecond(2_000)).row()[8], "met");
        assert_eq!(of(1_000, Aim::PerSecond(2_500)).row()[8], "missed by 2.50");
        assert_eq!(of(1_500, Aim::Within(Duration::from_secs(1))).row()[8], "missed by 1.50");
        let ratio = of(1_000, Aim::None).beside(Duration::from_millis(1_040), Duration::from_secs(1), Aim::Ratio(105));
        assert_eq!((ratio.row()[5].as_str(), ratio.row()[8].as_str()), ("1.04", "met"));
    }
}
