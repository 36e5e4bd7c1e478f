//! What is wrong with a configuration, said so that the reader can mend it: where it stands, what is wrong, and a value
//! that would do. No problem ever repeats the value of a secret.

use std::{fmt, path::PathBuf};

/// Where a value came from. Sorted as a reader would look: the file from top to bottom, then the environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A configuration file, with the line where there is one.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment(String),
    /// The built-in default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    origin: Origin,
    what: String,
    example: Option<String>,
}

impl Problem {
    pub(super) fn new(origin: Origin, what: impl Into<String>, example: Option<String>) -> Self {
        Self { origin, what: what.into(), example }
    }

    /// Where the wrong value came from.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What is wrong, in a sentence.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// A line that would be right in the same place, where one can be given.
    pub fn example(&self) -> Option<&str> {
        self.example.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.what)?;
        self.example.as_ref().map_or(Ok(()), |example| write!(f, "\n    for example: {example}"))
    }
}

/// Everything wrong with a configuration, in the order in which a reader meets it. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }

    /// The problems, one by one.
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a problem:")?,
            count => write!(f, "the configuration has {count} problems:")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n- {}", problem.to_string().replace('\n', "\n  ")))
    }
}

impl std::error::Error for Problems {}

/// The known name nearest to a misspelt one, if it is near enough to be meant.
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wrong.chars().count() / 3).clamp(1, 4);
    known
        .map(|name| (edits(wrong, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Letters to insert, remove or replace to get from one word to the other.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = line;
        let mut beside = line + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(to.chars()) {
            let above = *cell;
            *cell = (diagonal + usize::from(left != right)).min(above + 1).min(beside + 1);
            diagonal = above;
            beside = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_the_one_meant() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "abc"), 0);
        let known = ["timeout_seconds", "read_retries", "url"];
        assert_eq!(nearest("timeout_second", known.into_iter()), Some("timeout_seconds"));
        assert_eq!(nearest("ulr", known.into_iter()), None);
        assert_eq!(nearest("urls", known.into_iter()), Some("url"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
