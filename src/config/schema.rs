//! The keys there are, read out of `config/bursar.toml`: the one place where a key, its default, its description and its
//! example stand. What the file does not say is which keys are secrets; that list is code, because it guards output.

use std::{fmt::Write as _, sync::LazyLock};

/// The documented default configuration, compiled in.
pub(super) const BUILT_IN: &str = include_str!("../../config/bursar.toml");

/// Keys whose value is never shown, and which can be given as `<key>_file` too.
pub(super) const SECRETS: [&str; 8] = [
    "cloudstack.reader.api_key",
    "cloudstack.reader.secret_key",
    "cloudstack.enforcer.api_key",
    "cloudstack.enforcer.secret_key",
    "cloudstack.keys.api_key",
    "cloudstack.keys.secret_key",
    "store.url",
    "mail.password",
];

/// The section whose name is a pattern: one a sign-in issuer, each named by whoever writes the file.
pub(super) const ISSUER_SECTION: &str = "oidc.NAME";
/// What the sections of issuers begin with.
pub(super) const ISSUERS: &str = "oidc";
/// The one key of them that is a secret.
const ISSUER_SECRET: &str = "client_secret";

/// What every variable of bursar begins with.
pub(super) const PREFIX: &str = "BURSAR_";

/// A value as files and variables give it, before it is checked.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Raw {
    Text(String),
    Number(i64),
    Flag(bool),
    Texts(Vec<String>),
    Numbers(Vec<i64>),
}

impl Raw {
    /// The shape as a person calls it.
    pub(super) const fn shape(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text in quotes",
            Self::Number(_) => "a whole number",
            Self::Flag(_) => "true or false",
            Self::Texts(_) => "a list of texts",
            Self::Numbers(_) => "a list of whole numbers",
        }
    }

    /// The shape in an environment variable, where lists have commas.
    pub(super) const fn shape_in_variable(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "whole numbers with commas between",
            _ => self.shape(),
        }
    }

    /// Whether nothing is given: an empty text or list.
    pub(super) const fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Texts(list) => list.is_empty(),
            Self::Numbers(list) => list.is_empty(),
            Self::Number(_) | Self::Flag(_) => false,
        }
    }

    /// As it stands in a file.
    pub(super) fn to_toml(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Texts(list) => format!("[{}]", list.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")),
            Self::Numbers(list) => format!("[{}]", joined(list, ", ")),
        }
    }

    /// As it stands in an environment variable.
    pub(super) fn to_variable(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Texts(list) => list.join(","),
            Self::Numbers(list) => joined(list, ","),
            Self::Number(_) | Self::Flag(_) => self.to_toml(),
        }
    }

    /// Reads a parsed TOML value in the shape of `self`; None where it has another shape.
    pub(super) fn same_shape(&self, value: &toml::Value) -> Option<Self> {
        match (self, value) {
            (Self::Text(_), toml::Value::String(text)) => Some(Self::Text(text.clone())),
            (Self::Number(_), toml::Value::Integer(number)) => Some(Self::Number(*number)),
            (Self::Flag(_), toml::Value::Boolean(flag)) => Some(Self::Flag(*flag)),
            (Self::Texts(_), toml::Value::Array(list)) => {
                list.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>().map(Self::Texts)
            }
            (Self::Numbers(_), toml::Value::Array(list)) => {
                list.iter().map(toml::Value::as_integer).collect::<Option<_>>().map(Self::Numbers)
            }
            _ => None,
        }
    }

    /// Reads a variable's text in the shape of `self`; None where it does not read.
    pub(super) fn read_variable(&self, text: &str) -> Option<Self> {
        let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
        match self {
            Self::Text(_) => Some(Self::Text(text.to_owned())),
            Self::Number(_) => text.trim().parse().ok().map(Self::Number),
            Self::Flag(_) => text.trim().parse().ok().map(Self::Flag),
            Self::Texts(_) => Some(Self::Texts(items().map(str::to_owned).collect())),
            Self::Numbers(_) => items().map(str::parse).collect::<Result<_, _>>().ok().map(Self::Numbers),
        }
    }
}

fn joined(list: &[i64], separator: &str) -> String {
    list.iter().map(i64::to_string).collect::<Vec<_>>().join(separator)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// One key of the configuration.
pub(super) struct Key {
    /// Section and name, joined by dots.
    pub(super) path: String,
    /// The section.
    pub(super) section: String,
    /// The name within its section.
    pub(super) name: String,
    /// What it does, in sentences.
    pub(super) about: String,
    /// A right value; for most secrets the path of a file.
    pub(super) example: Raw,
    /// The built-in default.
    pub(super) default: Raw,
    /// Whether its value is never shown.
    pub(super) secret: bool,
}

impl Key {
    /// The environment variable that sets it.
    pub(super) fn variable(&self) -> String {
        variable(&self.path)
    }

    /// A line that would be right in a file.
    pub(super) fn example_line(&self) -> String {
        format!("{}{} = {}", self.name, self.example_suffix(), self.example.to_toml())
    }

    /// An assignment that would be right in the environment.
    pub(super) fn example_variable(&self) -> String {
        format!("{}{}={}", self.variable(), self.example_suffix().to_uppercase(), self.example.to_variable())
    }

    /// The example of a secret that is a path shows the better way to give it.
    fn example_suffix(&self) -> &'static str {
        match &self.example {
            Raw::Text(text) if self.secret && text.starts_with('/') => "_file",
            _ => "",
        }
    }
}

/// One section, with its description.
pub(super) struct Section {
    pub(super) name: String,
    pub(super) about: String,
}

/// Everything `config/bursar.toml` says.
#[derive(Default)]
pub(super) struct Schema {
    pub(super) introduction: String,
    pub(super) sections: Vec<Section>,
    pub(super) keys: Vec<Key>,
    /// The keys of each issuer's section.
    pub(super) issuer_keys: Vec<Key>,
}

impl Schema {
    /// The key with this path.
    pub(super) fn key(&self, path: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.path == path)
    }

    /// Whether there is such a section, or one below it.
    pub(super) fn has_section(&self, path: &str) -> bool {
        self.sections.iter().any(|section| section.name == path || section.name.starts_with(&format!("{path}.")))
    }
}

/// The name of the environment variable for a key's path.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

/// The schema of the built-in configuration.
pub(super) fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| read(BUILT_IN));
    &SCHEMA
}

/// Reads keys with their comments. A line that is no comment, section or one-line assignment is left out; a test makes
/// sure that the built-in file has none.
fn read(text: &str) -> Schema {
    let mut schema = Schema::default();
    let mut comment = String::new();
    let mut example = None;
    let mut section = String::new();
    for line in text.lines() {
        if let Some(literal) = line.strip_prefix("# Example: ") {
            example = parse_literal(literal);
        } else if let Some(words) = line.strip_prefix('#') {
            let _ = writeln!(comment, "{}", words.trim());
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            schema.sections.push(Section { name: name.to_owned(), about: taken(&mut comment) });
        } else if let Some((name, default)) =
            line.split_once(" = ").and_then(|(name, literal)| Some((name, parse_literal(literal)?)))
        {
            let path = format!("{section}.{name}");
            let of_issuers = section == ISSUER_SECTION;
            let keys = if of_issuers { &mut schema.issuer_keys } else { &mut schema.keys };
            keys.push(Key {
                secret: SECRETS.contains(&path.as_str()) || (of_issuers && name == ISSUER_SECRET),
                section: section.clone(),
                name: name.to_owned(),
                about: taken(&mut comment),
                example: example.take().unwrap_or_else(|| default.clone()),
                default,
                path,
            });
        } else if line.is_empty() && schema.sections.is_empty() && schema.introduction.is_empty() {
            schema.introduction = taken(&mut comment);
        }
    }
    schema
}

fn taken(comment: &mut String) -> String {
    std::mem::take(comment).trim_end().to_owned()
}

/// Reads one TOML literal. An empty list counts as a list of texts.
pub(super) fn parse_literal(literal: &str) -> Option<Raw> {
    let table: toml::Table = format!("value = {literal}").parse().ok()?;
    let value = table.get("value")?;
    [Raw::Text(String::new()), Raw::Number(0), Raw::Flag(false), Raw::Texts(Vec::new()), Raw::Numbers(Vec::new())]
        .iter()
        .find_map(|shape| shape.same_shape(value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_line_of_the_built_in_file_is_understood() {
        let assignments = BUILT_IN.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty()).count();
        assert_eq!(schema().keys.len() + schema().issuer_keys.len(), assignments);
        let parsed: toml::Table = BUILT_IN.parse().unwrap();
        for key in schema().keys.iter().chain(&schema().issuer_keys) {
            let value = key.path.split('.').fold(None, |table: Option<&toml::Value>, part| match table {
                None => parsed.get(part),
                Some(value) => value.get(part),
            });
            assert!(key.default.same_shape(value.unwrap()).unwrap() == key.default, "{}", key.path);
        }
    }

    #[test]
    fn every_key_is_described_and_has_an_example() {
        for key in schema().keys.iter().chain(&schema().issuer_keys) {
            assert!(key.about.ends_with('.'), "{} has no description in sentences", key.path);
            assert!(!key.example.is_empty(), "{} needs an example", key.path);
            assert_eq!(key.example.shape(), key.default.shape(), "{}", key.path);
        }
        assert!(schema().sections.iter().all(|section| section.about.ends_with('.')));
        assert!(!schema().introduction.is_empty());
    }

    #[test]
    fn names_are_unique_and_secrets_are_known() {
        let keys = &schema().keys;
        let mut variables: BTreeSet<String> = keys.iter().map(Key::variable).collect();
        variables.extend(SECRETS.iter().map(|path| variable(&format!("{path}_file"))));
        assert_eq!(variables.len(), keys.len() + SECRETS.len());
        assert_eq!(keys.iter().filter(|key| key.secret).count(), SECRETS.len());
        // A key whose name sounds like a secret must be listed as one.
        for key in keys {
            let sounds = ["secret_key", "api_key", "password", "token"].iter().any(|word| key.name.ends_with(word));
            assert!(!sounds || key.secret, "{}", key.path);
        }
    }
}
