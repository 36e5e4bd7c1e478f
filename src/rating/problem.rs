//! How a problem of a price book is told: the line, what is wrong, and what would be right.

/// Something wrong with a price book.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("line {line}: {message}; for example: {example}")]
pub struct Problem {
    line: u32,
    message: String,
    example: String,
}

impl Problem {
    pub(super) fn new(line: u32, message: impl Into<String>, example: impl Into<String>) -> Self {
        Self { line, message: message.into(), example: example.into() }
    }

    /// The line it is in, from 1.
    pub const fn line(&self) -> u32 {
        self.line
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would be right.
    pub fn example(&self) -> &str {
        &self.example
    }
}

/// A text as TOML writes it, in quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            // Control characters all have fewer than five hexadecimal digits.
            _ if letter.is_control() => quoted.extend(format!("\\u{:04X}", u32::from(letter)).chars()),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// A written text in quotes, cut to what fits a message.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    quoted(&short)
}

/// The known word that a mistyped one comes closest to, if one is near.
pub(super) fn closest<'w>(typed: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let typed: Vec<char> = typed.chars().take(40).collect();
    known
        .map(|word| (distance(&typed, word), word))
        .min()
        .filter(|(distance, word)| *distance <= 2 + word.len() / 5)
        .map(|(_, word)| word)
}

/// How many letters have to be put in, left out or changed to turn one word into the other.
fn distance(typed: &[char], word: &str) -> usize {
    let mut previous: Vec<usize> = (0..=typed.len()).collect();
    for (row, letter) in word.chars().enumerate() {
        let mut diagonal = row;
        let mut left = row + 1;
        for (cell, other) in previous.iter_mut().skip(1).zip(typed) {
            let changed = diagonal + usize::from(*other != letter);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = previous.first_mut() {
            *first = row + 1;
        }
    }
    previous.last().copied().unwrap_or(usize::MAX)
}
