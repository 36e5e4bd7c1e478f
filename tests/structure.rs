//! The shape of the source: which way imports go, and that both databases have the same migrations and tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Modules that know no database, no HTTP, no runtime: what is decided and reckoned, given its facts.
const CORE: &[&str] = &[
    "money",
    "time",
    "ids",
    "email",
    "usage::emission",
    "usage::record",
    "usage::review_kind",
    "usage::settle",
    "usage::types",
    "rating",
    "ledger::rules",
    "policy",
    "estimate",
    "quota",
];
/// In `rating` and `estimate`, what reads or writes the store is no core.
const NOT_CORE: &[&str] = &[
    "rating::stage",
    "rating::desk",
    "rating::changes",
    "rating::check",
    "rating::explain",
    "rating::spending",
    "estimate::poll",
    "estimate::windows",
];
/// What the core must not reach.
const BEYOND_CORE: &[&str] = &[
    "store",
    "cloudstack",
    "web",
    "jobs",
    "cli",
    "config",
    "setup",
    "sim",
    "standin",
    "telemetry",
    "lifecycle",
    "tokio",
    "sqlx",
    "reqwest",
    "axum",
];
/// What the core may reach nevertheless, with the reason.
const CORE_EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("ids", "sqlx", "numbers of rows are told apart by type in statements too; it derives a type and asks no database"),
    ("time", "sqlx", "instants are bound as their milliseconds; the same"),
];
/// Stages: each reads tables, does one thing, writes tables.
const STAGES: &[&str] = &["usage", "rating", "ledger", "enforcement", "access", "people", "estimate", "notify"];
/// Wiring: no stage may know it.
const WIRING: &[&str] = &["cli", "web", "jobs", "setup", "sim", "standin"];
/// Imports from one stage into another, each with its reason. The pure core of a stage is open to all.
const BETWEEN_STAGES: &[(&str, &str, &str)] = &[
    ("enforcement", "ledger::standing", "a decision is about the figures that the ledger derives"),
    ("rating::desk", "usage::sync::settings", "how far back a record may reach stands in the settings that sync keeps"),
    (
        "estimate::windows",
        "rating::desk",
        "estimates are compared with records priced by the very function that rates them",
    ),
    ("enforcement", "usage::sync::settings", "up to when usage is known stands in the settings that sync keeps"),
];

/// A source file's module path, and the paths that its code outside of tests names: `store::cloud`, `tokio`, …
fn modules() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    for file in files(&root, "rs") {
        let relative = file.strip_prefix(&root).unwrap().with_extension("");
        let mut path: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if path.iter().any(|part| part == "tests" || part == "testing") {
            continue;
        }
        if path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        let text = std::fs::read_to_string(&file).unwrap();
        modules.insert(path.join("::"), named(&text, &path));
    }
    assert!(modules.len() > 100, "the sources were not found");
    modules
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code without comments and without what is for tests only: `#[cfg(test)]` modules stand last in every file.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect::<Vec<_>>().join("\n")
}

fn named(text: &str, own: &[String]) -> BTreeSet<String> {
    let code = code(text);
    let mut names = BTreeSet::new();
    for krate in ["tokio", "sqlx", "reqwest", "axum"] {
        for (at, _) in code.match_indices(&format!("{krate}::")) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                names.insert(krate.to_owned());
            }
        }
    }
    for (at, _) in code.match_indices("crate::") {
        expand("", &code[at + "crate::".len()..], &mut names);
    }
    // Relative paths: `use super::x` means a sibling.
    for (at, _) in code.match_indices("use super::") {
        let mut rest = &code[at + "use super::".len()..];
        let mut parents = own.len().saturating_sub(1);
        while let Some(further) = rest.strip_prefix("super::") {
            rest = further;
            parents = parents.saturating_sub(1);
        }
        let prefix = own[..parents].join("::");
        expand(&prefix, rest, &mut names);
    }
    names
}

/// Adds every path of a use tree (`a::{b, c::d}`) or of a single path below `prefix`.
fn expand(prefix: &str, text: &str, names: &mut BTreeSet<String>) {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let joined = |word: &str| match (prefix.is_empty(), word.is_empty()) {
        (true, _) => word.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}::{word}"),
    };
    if let Some(tree) = text.strip_prefix('{') {
        let mut depth = 0_usize;
        let mut begin = 0;
        for (at, letter) in tree.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    let item = tree[begin..at].trim();
                    if !item.is_empty() {
                        expand(prefix, item, names);
                    }
                    begin = at + 1;
                    if letter == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let rest = &text[word.len()..];
    match rest.strip_prefix("::") {
        Some(further) if word.chars().next().is_some_and(char::is_lowercase) => expand(&joined(&word), further, names),
        // `self` and the items of a module (types in capitals, functions) count as the module.
        _ if word == "self" || word.is_empty() => drop(names.insert(prefix.to_owned())),
        _ => drop(names.insert(joined(&word))),
    }
}

fn within(path: &str, part: &str) -> bool {
    path == part || path.strip_prefix(part).is_some_and(|rest| rest.starts_with("::"))
}

fn is_core(module: &str) -> bool {
    CORE.iter().any(|core| within(module, core)) && !NOT_CORE.iter().any(|not| within(module, not))
}

fn offences(rule: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (module, names) in modules() {
        for name in names.iter().filter(|name| rule(&module, name)) {
            found.push(format!("{module} imports {name}"));
        }
    }
    found
}

#[test]
fn the_pure_core_reaches_no_database_no_network_and_no_runtime() {
    let found = offences(|module, name| {
        let said = CORE_EXCEPTIONS.iter().any(|(who, what, _)| within(module, who) && within(name, what));
        is_core(module) && !said && BEYOND_CORE.iter().any(|far| within(name, far))
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn stages_know_the_core_and_the_store_and_never_the_wiring() {
    let stage = |module: &str| STAGES.iter().any(|stage| within(module, stage)) && !is_core(module);
    let found = offences(|module, name| stage(module) && WIRING.iter().any(|wiring| within(name, wiring)));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn stages_know_each_other_only_where_it_is_said_why() {
    let stage_of = |path: &str| STAGES.iter().find(|stage| within(path, stage)).copied();
    let found = offences(|module, name| {
        let (Some(from), Some(to)) = (stage_of(module), stage_of(name)) else { return false };
        let said = BETWEEN_STAGES.iter().any(|(who, what, _)| within(module, who) && within(name, what));
        !is_core(module) && !is_core(name) && from != to && !said
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_exception_is_still_needed() {
    let modules = modules();
    for (who, what, why) in BETWEEN_STAGES.iter().chain(CORE_EXCEPTIONS) {
        let used =
            modules.iter().any(|(module, names)| within(module, who) && names.iter().any(|name| within(name, what)));
        assert!(used, "{who} no longer imports {what} ({why}); delete the exception");
    }
}

#[test]
fn the_stand_in_shares_nothing_with_what_it_is_to_test() {
    // What both misunderstood alike would not be noticed.
    let found = offences(|module, name| {
        within(module, "standin")
            && [
                "cloudstack",
                "store",
                "usage",
                "rating",
                "ledger",
                "enforcement",
                "access",
                "people",
                "notify",
                "jobs",
                "web",
            ]
            .iter()
            .any(|other| within(name, other))
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_client_of_cloudstack_knows_no_table() {
    let found = offences(|module, name| {
        within(module, "cloudstack")
            && [
                "store",
                "usage",
                "rating",
                "ledger",
                "enforcement",
                "access",
                "people",
                "notify",
                "jobs",
                "web",
                "cli",
                "sqlx",
            ]
            .iter()
            .any(|other| within(name, other))
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_store_knows_no_stage_and_no_network() {
    let found = offences(|module, name| {
        within(module, "store")
            && (["cloudstack", "web", "jobs", "cli", "config", "reqwest", "axum"].iter().any(|far| within(name, far))
                || STAGES.iter().any(|stage| within(name, stage)) && !is_core(name))
    });
    assert_eq!(found, Vec::<String>::new());
}

/// Tables and their columns' names, by the statements that make them.
fn tables(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut tables = BTreeMap::new();
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder), "sql") {
        let text = std::fs::read_to_string(&file).unwrap().to_lowercase();
        for statement in text.split(';') {
            let statement: String =
                statement.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n");
            let Some((_, made)) = statement.split_once("create table ") else { continue };
            let (name, body) = made.split_once('(').unwrap();
            let columns = body
                .lines()
                .map(str::trim)
                .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
                .filter_map(|line| line.split_whitespace().next())
                .filter(|word| {
                    !["primary", "unique", "check", "foreign", "constraint", "references"]
                        .iter()
                        .any(|key| word.starts_with(key))
                })
                .map(str::to_owned)
                .collect();
            tables.insert(name.trim().to_owned(), columns);
        }
    }
    tables
}

#[test]
fn both_databases_have_the_same_migrations_tables_and_columns() {
    let names = |folder: &str| -> Vec<String> {
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder), "sql")
            .iter()
            .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    let (sqlite, postgres) = (tables("sqlite"), tables("postgres"));
    assert!(sqlite.len() > 30 && sqlite["transfer"].contains("key"), "{sqlite:?}");
    assert_eq!(sqlite, postgres);
}

#[test]
fn no_test_is_left_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mark = ["#[ig", "nore"].concat();
    for file in files(&root.join("src"), "rs").into_iter().chain(files(&root.join("tests"), "rs")) {
        assert!(!std::fs::read_to_string(&file).unwrap().contains(&mark), "{} leaves a test out", file.display());
    }
}

/// The table of traps names tests that exist.
#[test]
fn every_trap_names_a_test_that_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("docs/traps.md")).unwrap();
    let mut code = String::new();
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                code.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let names: Vec<&str> =
        table.split('`').filter(|word| word.len() > 20 && word.contains('_') && !word.contains(' ')).collect();
    assert!(names.len() >= 24, "{names:?}");
    for name in names {
        assert!(code.contains(&format!("fn {name}(")), "docs/traps.md names {name}, which is no test");
    }
}
