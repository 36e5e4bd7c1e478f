//! What a check found, line by line, for people and for programs.

use std::fmt;

use serde::Serialize;

/// Columns that the report is written for.
const WIDTH: usize = 100;

/// Which part of the set-up a line is about; the report is grouped by it, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// bursar's own configuration.
    Configuration,
    /// Data directory and database.
    Data,
    /// The price book.
    Prices,
    /// Whether CloudStack answers, and how it is set.
    Cloudstack,
    /// The service accounts and what they may do.
    ServiceAccounts,
    /// The usage job.
    Usage,
    /// What stands in the way of locking and restoring, or surprises there.
    Enforcement,
    /// Whether warnings reach anybody.
    Mail,
    /// Whether OpenID issuers can sign people in.
    SignIn,
    /// Accounts, people and roles.
    People,
}

impl Area {
    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration",
            Self::Data => "Data",
            Self::Prices => "Prices",
            Self::Cloudstack => "CloudStack",
            Self::ServiceAccounts => "Service accounts",
            Self::Usage => "Usage",
            Self::Enforcement => "Enforcement",
            Self::Mail => "Mail",
            Self::SignIn => "Sign-in",
            Self::People => "Accounts and people",
        }
    }
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// In order.
    Good,
    /// Works, but somebody should know.
    Warning,
    /// Does not work.
    Bad,
    /// Could not be looked at, or is not set up.
    NotChecked,
}

impl Verdict {
    /// Its sign.
    pub const fn symbol(self) -> char {
        match self {
            Self::Good => '✓',
            Self::Warning => '!',
            Self::Bad => '✗',
            Self::NotChecked => '–',
        }
    }
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Which part of the set-up.
    pub area: Area,
    /// What, in a word or two; the same on every run.
    pub name: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found, a sentence.
    pub text: String,
    /// What to do about it.
    pub way_out: Option<String>,
}

impl Line {
    fn new(area: Area, name: &str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self { area, name: name.to_owned(), verdict, text: text.into(), way_out: None }
    }

    /// In order.
    pub fn good(area: Area, name: &str, text: impl Into<String>) -> Self {
        Self::new(area, name, Verdict::Good, text)
    }

    /// Works, but somebody should know.
    pub fn warning(area: Area, name: &str, text: impl Into<String>) -> Self {
        Self::new(area, name, Verdict::Warning, text)
    }

    /// Does not work.
    pub fn bad(area: Area, name: &str, text: impl Into<String>) -> Self {
        Self::new(area, name, Verdict::Bad, text)
    }

    /// Could not be looked at.
    pub fn not_checked(area: Area, name: &str, text: impl Into<String>) -> Self {
        Self::new(area, name, Verdict::NotChecked, text)
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_way_out(mut self, way_out: impl Into<String>) -> Self {
        self.way_out = Some(way_out.into());
        self
    }
}

/// Everything found. Its Display is the text for a terminal of 100 columns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CheckReport {
    /// The lines, in the order they were looked at.
    pub lines: Vec<Line>,
}

impl CheckReport {
    /// Adds a line.
    pub fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// How many lines stand so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.lines.iter().filter(|line| line.verdict == verdict).count()
    }

    /// 0 where everything works, warnings included; 1 where something does not.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.count(Verdict::Bad) > 0)
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<&Line> = self.lines.iter().collect();
        lines.sort_by_key(|line| line.area);
        let mut area = None;
        for line in lines {
            if area != Some(line.area) {
                if area.is_some() {
                    writeln!(f)?;
                }
                writeln!(f, "{}", line.area.title())?;
                area = Some(line.area);
            }
            let first = format!("  {} ", line.verdict.symbol());
            wrapped(f, &first, "    ", &format!("{}: {}", line.name, line.text))?;
            if let Some(way_out) = &line.way_out {
                wrapped(f, "    → ", "      ", way_out)?;
            }
        }
        let [good, warnings, bad, not_checked] =
            [Verdict::Good, Verdict::Warning, Verdict::Bad, Verdict::NotChecked].map(|verdict| self.count(verdict));
        let s = if warnings == 1 { "" } else { "s" };
        write!(f, "\n{good} in order, {warnings} warning{s}, {bad} wrong, {not_checked} not checked.")
    }
}

/// Writes words in lines of at most [`WIDTH`] columns; a word longer than that (an address) is not broken.
fn wrapped(f: &mut fmt::Formatter<'_>, first: &str, rest: &str, text: &str) -> fmt::Result {
    f.write_str(first)?;
    let mut column = first.chars().count();
    let mut at_start = true;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if !at_start && column + 1 + width > WIDTH {
            write!(f, "\n{rest}{word}")?;
            column = rest.chars().count() + width;
        } else {
            if !at_start {
                f.write_str(" ")?;
                column += 1;
            }
            f.write_str(word)?;
            column += width;
        }
        at_start = false;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> CheckReport {
        let mut report = CheckReport::default();
        report.add(Line::good(Area::Cloudstack, "reached", "https://cloud.example.com/client/api answers"));
        report.add(
            Line::warning(
                Area::Configuration,
                "warnings",
                "a sentence that is long enough to go over the end of the line, because it tells of something that is unwise",
            )
            .with_way_out("do it in another way"),
        );
        report.add(Line::not_checked(Area::Usage, "job", "CloudStack could not be reached"));
        report.add(Line::bad(Area::Cloudstack, "clocks", "3600 s apart").with_way_out("run a time service"));
        report
    }

    #[test]
    fn the_report_is_grouped_and_fits_100_columns() {
        let expected = "\
Configuration
  ! warnings: a sentence that is long enough to go over the end of the line, because it tells of
    something that is unwise
    → do it in another way

CloudStack
  ✓ reached: https://cloud.example.com/client/api answers
  ✗ clocks: 3600 s apart
    → run a time service

Usage
  – job: CloudStack could not be reached

1 in order, 1 warning, 1 wrong, 1 not checked.";
        assert_eq!(report().to_string(), expected);
        assert!(report().to_string().lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn only_what_does_not_work_changes_the_exit_code() {
        let mut report = report();
        assert_eq!(report.exit_code(), 1);
        report.lines.retain(|line| line.verdict != Verdict::Bad);
        assert_eq!(report.exit_code(), 0);
    }

    #[test]
    fn programs_get_every_line_as_json() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(
            json["lines"][3],
            serde_json::json!({"area": "cloudstack", "name": "clocks", "verdict": "bad", "text": "3600 s apart", "way_out": "run a time service"})
        );
    }
}
