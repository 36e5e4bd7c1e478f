//! What the configuration looks like to a person: the values in effect, and the reference of all keys.

use std::fmt::Write as _;

use url::Url;

use super::{
    layers::{Found, Values, address_shows_password},
    oidc::is_template,
    policy_section::CLASSES,
    schema::{ISSUER_SECTION, ISSUERS, Key, Raw, schema},
};

/// What stands for a secret that is set.
const SET: &str = "…set…";

/// The values in effect as TOML, each with where it came from.
pub(super) fn print(values: &Values) -> String {
    let mut out = String::new();
    for section in schema().sections.iter().filter(|section| section.name != ISSUER_SECTION) {
        let separator = if out.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{separator}[{}]", section.name);
        for key in schema().keys.iter().filter(|key| key.section == section.name) {
            if let Some(found) = values.get(&key.path) {
                let _ = writeln!(out, "{}", line(key, found));
            }
        }
    }
    for (name, given) in values.issuers.iter().filter(|(name, given)| !is_template(name, given)) {
        let _ = writeln!(out, "\n[{ISSUERS}.{name}]");
        for key in &schema().issuer_keys {
            if let Some(found) = given.get(&key.name) {
                let _ = writeln!(out, "{}", line(key, found));
            }
        }
    }
    for (class, given) in &values.classes {
        let _ = writeln!(out, "\n[{CLASSES}.{class}]");
        for (key, (raw, origin)) in given {
            let _ = writeln!(out, "{key} = {} # {origin}", raw.to_toml());
        }
    }
    out
}

fn line(key: &Key, found: &Found) -> String {
    let Found { raw, origin, secret_file } = found;
    match (raw, secret_file) {
        (_, Some(path)) => format!("{}_file = {} # {origin}", key.name, Raw::Text(path.clone()).to_toml()),
        (Raw::Text(text), None) if key.secret && text.is_empty() => format!("{} = \"\" # unset", key.name),
        (Raw::Text(text), None) if key.secret => {
            format!("{} = {} # {origin}", key.name, Raw::Text(masked(&key.path, text)).to_toml())
        }
        _ => format!("{} = {} # {origin}", key.name, raw.to_toml()),
    }
}

/// An address of a database is shown without its password; every other secret not at all.
fn masked(path: &str, text: &str) -> String {
    if path != "store.url" {
        return SET.to_owned();
    }
    let Ok(mut url) = Url::parse(text) else { return SET.to_owned() };
    if !address_shows_password(&url) {
        return text.to_owned();
    }
    if url.query().is_some_and(|query| query.contains("pass")) {
        url.set_query(None);
    }
    if url.password().is_some() && url.set_password(Some("SET")).is_err() {
        return SET.to_owned();
    }
    url.to_string().replacen(":SET@", &format!(":{SET}@"), 1)
}

/// The reference of every key, as Markdown: `docs/configuration.md`, which `bursar config reference` prints.
pub fn reference() -> String {
    let schema = schema();
    let mut out = String::from("# Configuration\n\n");
    let _ = writeln!(out, "<!-- Made from config/bursar.toml by `bursar config reference`; change it there. -->\n");
    let _ = writeln!(out, "{}\n", schema.introduction);
    for section in &schema.sections {
        let _ = writeln!(out, "## [{}]\n\n{}\n", section.name, section.about);
        for key in schema.keys.iter().chain(&schema.issuer_keys).filter(|key| key.section == section.name) {
            entry(&mut out, key);
        }
    }
    format!("{}\n", out.trim_end())
}

fn entry(out: &mut String, key: &Key) {
    let _ = writeln!(out, "### `{}`\n\n{}\n", key.path, key.about);
    let _ = writeln!(out, "- Default: `{}`", key.default.to_toml());
    if key.example != key.default {
        let _ = writeln!(out, "- Example: `{}`", key.example_line());
    }
    let _ = writeln!(out, "- Environment: `{}`", key.variable());
    if key.secret {
        let _ = writeln!(
            out,
            "- A secret: never shown; also as a file by `{}_file` or `{}_FILE`",
            key.name,
            key.variable()
        );
    }
    out.push('\n');
}
