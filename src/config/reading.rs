//! Turning raw values into typed ones, one key at a time. Each reader gives None where it told a problem, so that a
//! section is read to its end and everything wrong with it is known.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{
    layers::{Classes, Found, Issuers, Values, cut, example_at},
    problem::Problem,
    schema::{Key, Raw, schema},
};
use crate::secrets::Secret;

/// Reads values and collects problems.
pub(super) struct Reading {
    values: Values,
    problems: Vec<Problem>,
}

impl Reading {
    pub(super) fn new(mut values: Values) -> Self {
        let problems = std::mem::take(&mut values.problems);
        Self { values, problems }
    }

    /// What was collected, and the values for printing.
    pub(super) fn finish(self) -> (Values, Vec<Problem>) {
        (self.values, self.problems)
    }

    fn find(&self, path: &str) -> Option<(&'static Key, &Found)> {
        schema().key(path).zip(self.values.get(path))
    }

    /// Tells a problem of the value at `path`; `what` continues the key's name.
    pub(super) fn complain(&mut self, path: &str, what: &str) {
        let Some((key, found)) = self.find(path) else { return };
        let origin = found.origin.clone();
        let example = example_at(key, &origin);
        self.problems.push(Problem::new(origin, format!("{path} {what}"), Some(example)));
    }

    /// Tells a problem that is of no single key.
    pub(super) fn tell(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// What the classes' sections give, by name of the class and key.
    pub(super) fn classes(&self) -> Classes {
        self.values.classes.clone()
    }

    /// What the issuers' sections give, by name of the issuer and key.
    pub(super) fn issuers(&self) -> Issuers {
        self.values.issuers.clone()
    }

    /// The value at `path` as a variable would have it, whatever its shape.
    pub(super) fn as_text(&self, path: &str) -> Option<String> {
        self.find(path).map(|(_, found)| found.raw.to_variable())
    }

    /// The text at `path`, which may be empty.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        match self.find(path) {
            Some((_, Found { raw: Raw::Text(text), .. })) => Some(text.clone()),
            _ => None,
        }
    }

    /// A text that has to be given, read by `parse`, whose error continues the key's name.
    pub(super) fn parsed<T>(&mut self, path: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(path)?;
        if text.is_empty() {
            self.complain(path, "must not be empty");
            return None;
        }
        self.accept(path, parse(&text))
    }

    /// A text that may be empty; the outer None is a problem, the inner one an empty text.
    #[expect(clippy::option_option, reason = "a problem and an empty text are told apart here and nowhere else")]
    pub(super) fn optional<T>(
        &mut self,
        path: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let text = self.text(path)?;
        if text.is_empty() { Some(None) } else { self.accept(path, parse(&text)).map(Some) }
    }

    /// A list of texts, each read by `parse`; no item twice.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        path: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let texts = match self.find(path) {
            Some((_, Found { raw: Raw::Texts(texts), .. })) => texts.clone(),
            _ => return None,
        };
        let mut items = Vec::with_capacity(texts.len());
        for text in texts {
            match parse(&text) {
                Ok(item) if items.contains(&item) => self.complain(path, &format!("holds \"{}\" twice", cut(&text))),
                Ok(item) => items.push(item),
                Err(what) => self.complain(path, &what),
            }
        }
        Some(items)
    }

    /// A whole number within a range.
    pub(super) fn number(&mut self, path: &str, range: &RangeInclusive<u32>) -> Option<u32> {
        let raw = match self.find(path) {
            Some((_, Found { raw: Raw::Number(raw), .. })) => *raw,
            _ => return None,
        };
        let number = within(raw, range);
        if number.is_none() {
            self.complain(path, &format!("is {raw} and must be from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// Whole numbers within a range, in falling order.
    pub(super) fn falling(&mut self, path: &str, range: &RangeInclusive<u32>) -> Option<Vec<u32>> {
        let raw = match self.find(path) {
            Some((_, Found { raw: Raw::Numbers(raw), .. })) => raw.clone(),
            _ => return None,
        };
        let mut numbers = Vec::with_capacity(raw.len());
        for number in raw {
            let Some(number) = within(number, range) else {
                self.complain(
                    path,
                    &format!("holds {number}, and must hold numbers from {} to {}", range.start(), range.end()),
                );
                return None;
            };
            numbers.push(number);
        }
        if !numbers.is_sorted_by(|before, after| before > after) {
            self.complain(path, "must be in falling order, no number twice");
            return None;
        }
        Some(numbers)
    }

    /// A span of time given as a number of `unit_seconds`.
    pub(super) fn span(&mut self, path: &str, range: &RangeInclusive<u32>, unit_seconds: u64) -> Option<Duration> {
        self.number(path, range).map(|count| Duration::from_secs(u64::from(count).saturating_mul(unit_seconds)))
    }

    /// True or false.
    pub(super) fn flag(&self, path: &str) -> Option<bool> {
        match self.find(path) {
            Some((_, Found { raw: Raw::Flag(flag), .. })) => Some(*flag),
            _ => None,
        }
    }

    /// A path that has to be given.
    pub(super) fn path(&mut self, path: &str) -> Option<PathBuf> {
        self.parsed(path, |text| Ok(PathBuf::from(text)))
    }

    /// A secret that may be unset; the outer None is a problem.
    #[expect(clippy::option_option, reason = "a problem and an unset secret are told apart here and nowhere else")]
    pub(super) fn secret(&mut self, path: &str) -> Option<Option<Secret>> {
        self.optional(path, |text| {
            let plain = text.chars().all(|c| c.is_ascii_graphic());
            if plain { Ok(Secret::new(text)) } else { Err("holds blanks, line breaks or odd characters".to_owned()) }
        })
    }

    fn accept<T>(&mut self, path: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|what| self.complain(path, &what)).ok()
    }
}

fn within(number: i64, range: &RangeInclusive<u32>) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| range.contains(number))
}
