//! Laying file and environment over the built-in default. Says for every value where it came from, and collects what is
//! wrong with names and shapes; whether a value makes sense is checked afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use url::Url;

use super::{
    policy_section::{CLASS_ONLY, CLASSES, unknown_class_key, wrong_class_name},
    problem::{Origin, Problem, nearest},
    schema::{ISSUERS, Key, PREFIX, Raw, SECRETS, Schema, schema, variable},
};

/// Where a configuration is read when nothing names one.
pub const DEFAULT_FILE: &str = "/etc/bursar/bursar.toml";
/// Names the configuration file where `--config` does not.
const FILE_VARIABLE: &str = "BURSAR_CONFIG";
/// Variables of the test suite are none of the configuration's.
const TEST_PREFIX: &str = "BURSAR_TEST_";
/// So many keys of a section are named where a name is like none of them.
const MOST_KEYS_NAMED: usize = 8;
/// Largest configuration file read; the built-in one has some ten thousand characters.
const FILE_LIMIT: u64 = 1024 * 1024;
/// Largest file read for one secret.
const SECRET_LIMIT: u64 = 16 * 1024;
/// The permission bit that lets everybody read a file.
const READABLE_BY_ALL: u32 = 0o004;

/// What a configuration is made of besides the built-in default. Nothing else is looked at.
#[derive(Clone)]
pub struct Sources {
    file: Option<PathBuf>,
    fallback: Option<PathBuf>,
    environment: BTreeMap<OsString, OsString>,
}

impl Sources {
    /// The file named at the command line, if one was, and the process's environment (`std::env::vars_os()`).
    pub fn new(
        file: Option<PathBuf>,
        environment: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>,
    ) -> Self {
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { file, fallback: Some(PathBuf::from(DEFAULT_FILE)), environment }
    }

    /// The built-in default and nothing else: for the demo and for tests.
    pub const fn none() -> Self {
        Self { file: None, fallback: None, environment: BTreeMap::new() }
    }

    /// Reads `path`, if it exists, where neither the command line nor `BURSAR_CONFIG` names a file. None: no file then.
    #[must_use]
    pub fn with_fallback(self, path: Option<PathBuf>) -> Self {
        Self { fallback: path, ..self }
    }

    /// The file to read and who named it; one that was named must exist.
    fn chosen_file(&self) -> Option<(PathBuf, Origin)> {
        let named = || self.environment.get(&OsString::from(FILE_VARIABLE)).filter(|name| !name.is_empty());
        if let Some(path) = &self.file {
            return Some((path.clone(), Origin::File { path: path.clone(), line: None }));
        }
        if let Some(name) = named() {
            return Some((PathBuf::from(name), Origin::Environment(FILE_VARIABLE.to_owned())));
        }
        let path = self.fallback.as_ref().filter(|path| path.try_exists().unwrap_or(true))?;
        Some((path.clone(), Origin::File { path: path.clone(), line: None }))
    }
}

/// A value with its origin.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
    /// The file that a secret was read from.
    pub(super) secret_file: Option<String>,
}

/// What the classes' sections give: by name of the class and key, in the shape of `[policy]`.
pub(super) type Classes = BTreeMap<String, BTreeMap<String, (Raw, Origin)>>;

/// What the issuers' sections give: by name of the issuer and key.
pub(super) type Issuers = BTreeMap<String, BTreeMap<String, Found>>;

/// The values in effect by their paths. A key without one had a problem, which has been told.
#[derive(Default)]
pub(super) struct Values {
    found: BTreeMap<String, Found>,
    pub(super) classes: Classes,
    pub(super) issuers: Issuers,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl Values {
    /// The value in effect; None where there is something wrong with it.
    pub(super) fn get(&self, path: &str) -> Option<&Found> {
        self.found.get(path)
    }

    /// Lays all sources over the default.
    pub(super) fn read(sources: &Sources) -> Self {
        let mut values = Self::default();
        for key in &schema().keys {
            let found = Found { raw: key.default.clone(), origin: Origin::Default, secret_file: None };
            values.found.insert(key.path.clone(), found);
        }
        let mut file = values.read_file(sources);
        values.classes = std::mem::take(&mut file.classes);
        values.lay(file);
        let environment = values.read_environment(sources);
        values.lay(environment);
        values
    }

    /// Takes over one layer's values; the `_file` form of a secret is read here.
    fn lay(&mut self, mut layer: Layer) {
        self.lay_issuers(std::mem::take(&mut layer.issuers));
        for key in &schema().keys {
            let plain = layer.given.remove(&key.path);
            let by_file = if key.secret { layer.given.remove(&format!("{}_file", key.path)) } else { None };
            let found = match (plain, by_file) {
                (Some((raw, origin)), Some((path, _))) if !raw.is_empty() && !path.is_empty() => {
                    let what = format!("{} is given twice, as itself and as {}_file; keep one", key.path, key.name);
                    layer.broken.insert(key.path.clone());
                    self.problems.push(Problem::new(origin.clone(), what, Some(example_at(key, &origin))));
                    continue;
                }
                (_, Some((Raw::Text(path), origin))) if !path.is_empty() => self.read_secret(key, path, origin),
                (Some((raw, origin)), _) => {
                    self.warn_of_open_file(key, &raw, &origin);
                    Some(Found { raw, origin, secret_file: None })
                }
                (None, _) if layer.broken.contains(&key.path) => None,
                (None, _) => continue,
            };
            match found {
                Some(found) => self.found.insert(key.path.clone(), found),
                None => self.found.remove(&key.path),
            };
        }
        // What is broken in a layer must not fall back in silence to the layer below.
        for path in layer.broken {
            self.found.remove(&path);
        }
    }

    /// Takes over what one layer says of issuers, key by key.
    fn lay_issuers(&mut self, layer: BTreeMap<String, BTreeMap<String, (Raw, Origin)>>) {
        for (name, mut given) in layer {
            for key in &schema().issuer_keys {
                let by_file = given.remove(&format!("{}_file", key.name)).filter(|(path, _)| !path.is_empty());
                let found = match (given.remove(&key.name), by_file) {
                    (Some((raw, origin)), Some(_)) if !raw.is_empty() => {
                        let what = format!(
                            "{ISSUERS}.{name}.{0} is given twice, as itself and as {0}_file; keep one",
                            key.name
                        );
                        self.problems.push(Problem::new(origin, what, None));
                        None
                    }
                    (_, Some((Raw::Text(path), origin))) => self.read_secret(key, path, origin),
                    (Some((raw, origin)), _) => {
                        self.warn_of_open_file(key, &raw, &origin);
                        Some(Found { raw, origin, secret_file: None })
                    }
                    (None, _) => None,
                };
                let issuer = self.issuers.entry(name.clone()).or_default();
                if let Some(found) = found {
                    issuer.insert(key.name.clone(), found);
                }
            }
        }
    }

    fn read_secret(&mut self, key: &Key, path: String, origin: Origin) -> Option<Found> {
        match read_limited(Path::new(&path), SECRET_LIMIT) {
            Ok((text, mode)) => {
                let secret = text.trim_end_matches(['\n', '\r']).to_owned();
                if secret.is_empty() {
                    let what = format!("{}_file names {path}, which is empty", key.path);
                    self.problems.push(Problem::new(origin, what, None));
                    return None;
                }
                if mode & READABLE_BY_ALL != 0 {
                    self.warnings.push(format!("{path} holds {} and is readable by everybody; chmod o-r it", key.path));
                }
                Some(Found { raw: Raw::Text(secret), origin, secret_file: Some(path) })
            }
            Err(reason) => {
                let what = format!("{}_file names {path}, which can not be read: {reason}", key.path);
                let example = Some(example_at(key, &origin));
                self.problems.push(Problem::new(origin, what, example));
                None
            }
        }
    }

    fn warn_of_open_file(&mut self, key: &Key, raw: &Raw, origin: &Origin) {
        let Origin::File { path, .. } = origin else { return };
        let open = || std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & READABLE_BY_ALL != 0);
        if holds_secret(key, raw) && open() {
            let path = path.display();
            self.warnings.push(format!("{path} holds {} and is readable by everybody; chmod o-r it", key.path));
        }
    }

    fn read_file(&mut self, sources: &Sources) -> Layer {
        let mut layer = Layer::default();
        let Some((path, named_by)) = sources.chosen_file() else { return layer };
        let text = match read_limited(&path, FILE_LIMIT) {
            Ok((text, _)) => text,
            Err(reason) => {
                let (what, example) = match &named_by {
                    Origin::Environment(_) => (
                        format!("names {}, which can not be read: {reason}", path.display()),
                        format!("{FILE_VARIABLE}={DEFAULT_FILE}"),
                    ),
                    _ => (
                        format!("the configuration file can not be read: {reason}"),
                        format!("--config {DEFAULT_FILE}"),
                    ),
                };
                self.problems.push(Problem::new(named_by, what, Some(example)));
                return layer;
            }
        };
        let reader = FileReader { schema: schema(), text: &text, path: &path };
        reader.read(&mut layer, &mut self.problems);
        layer
    }

    fn read_environment(&mut self, sources: &Sources) -> Layer {
        let mut layer = Layer::default();
        let variables: BTreeMap<String, String> =
            settings(schema()).into_iter().map(|(path, _)| (variable(&path), path)).collect();
        for (name, value) in &sources.environment {
            let name = name.to_string_lossy();
            if !name.starts_with(PREFIX) || name == FILE_VARIABLE || name.starts_with(TEST_PREFIX) {
                continue;
            }
            let origin = Origin::Environment(name.clone().into_owned());
            if let Some((issuer, key, shape)) = issuer_variable(&name) {
                if let Some(raw) = value.to_str().and_then(|text| shape.read_variable(text)) {
                    layer.issuers.entry(issuer).or_default().insert(key, (raw, origin));
                } else {
                    let what = format!("{ISSUERS}.{issuer}.{key} must be {}", shape.shape_in_variable());
                    self.problems.push(Problem::new(origin, what, None));
                }
                continue;
            }
            let Some(path) = variables.get(name.as_ref()) else {
                let meant = nearest(&name, variables.keys().map(String::as_str));
                let what = meant.map_or_else(
                    || "there is no such setting".to_owned(),
                    |meant| format!("there is no such setting; did you mean {meant}?"),
                );
                self.problems.push(Problem::new(origin, what, None));
                continue;
            };
            let Some((key, shape)) = shape_of(path) else { continue };
            if let Some(raw) = value.to_str().and_then(|text| shape.read_variable(text)) {
                layer.given.insert(path.clone(), (raw, origin));
            } else {
                let what = match value.to_str() {
                    Some(text) => format!("{} must be {}, not \"{}\"", key.path, shape.shape_in_variable(), cut(text)),
                    None => format!("{} must be UTF-8 text", key.path),
                };
                layer.broken.insert(key.path.clone());
                self.problems.push(Problem::new(origin, what, Some(key.example_variable())));
            }
        }
        layer
    }
}

/// One layer as read: values by path, and the keys that were given but do not read.
#[derive(Default)]
struct Layer {
    given: BTreeMap<String, (Raw, Origin)>,
    broken: BTreeSet<String>,
    classes: Classes,
    issuers: BTreeMap<String, BTreeMap<String, (Raw, Origin)>>,
}

/// Reads the tables of one file.
struct FileReader<'a> {
    schema: &'static Schema,
    text: &'a str,
    path: &'a Path,
}

impl FileReader<'_> {
    fn read(&self, layer: &mut Layer, problems: &mut Vec<Problem>) {
        let (table, errors) = toml::de::DeTable::parse_recoverable(self.text);
        let mut broken_lines = BTreeSet::new();
        for error in errors {
            let line = self.line(error.span().map_or(0, |span| span.start));
            // Only the first error of a line tells something; the parser's later ones follow from it.
            if broken_lines.insert(line) {
                let what = format!("this is not TOML: {}", error.message());
                problems.push(Problem::new(self.origin(line), what, None));
            }
        }
        self.table(table.get_ref(), "", layer, problems, &broken_lines);
    }

    fn table(
        &self,
        table: &toml::de::DeTable<'_>,
        above: &str,
        layer: &mut Layer,
        problems: &mut Vec<Problem>,
        broken_lines: &BTreeSet<usize>,
    ) {
        for (name, value) in table {
            let path =
                if above.is_empty() { name.get_ref().to_string() } else { format!("{above}.{}", name.get_ref()) };
            let line = self.line(name.span().start);
            if path == CLASSES {
                self.classes(value.get_ref(), line, layer, problems);
            } else if path == ISSUERS {
                self.issuers(value.get_ref(), line, layer, problems);
            } else if self.schema.has_section(&path) {
                if let Some(inner) = value.get_ref().as_table() {
                    self.table(inner, &path, layer, problems, broken_lines);
                } else {
                    let what = format!("{path} is a section, not a value");
                    problems.push(Problem::new(self.origin(line), what, Some(format!("[{path}]"))));
                }
            } else if let Some((key, shape)) = shape_of(&path) {
                if broken_lines.contains(&line) {
                    layer.broken.insert(key.path.clone());
                } else if let Some(raw) = to_value(value.get_ref()).and_then(|value| shape.same_shape(&value)) {
                    layer.given.insert(path, (raw, self.origin(line)));
                } else {
                    let what = format!("{path} must be {}, not {}", shape.shape(), shape_word(value.get_ref(), &shape));
                    layer.broken.insert(key.path.clone());
                    problems.push(Problem::new(self.origin(line), what, Some(key.example_line())));
                }
            } else if !broken_lines.contains(&line) {
                let what = self.unknown(above, name.get_ref(), value.get_ref().is_table());
                problems.push(Problem::new(self.origin(line), what, None));
            }
        }
    }

    /// The sections of issuers, which are named by whoever writes the file.
    fn issuers(&self, value: &toml::de::DeValue<'_>, line: usize, layer: &mut Layer, problems: &mut Vec<Problem>) {
        let example = || Some(format!("[{ISSUERS}.corp]"));
        let Some(named) = value.as_table() else {
            problems.push(Problem::new(self.origin(line), format!("{ISSUERS} is a section, not a value"), example()));
            return;
        };
        for (name, value) in named {
            let (issuer, line) = (name.get_ref().to_string(), self.line(name.span().start));
            let Some(keys) = value.get_ref().as_table() else {
                let what = format!("{ISSUERS}.{issuer} is a section, not a value");
                problems.push(Problem::new(self.origin(line), what, example()));
                continue;
            };
            let given = layer.issuers.entry(issuer.clone()).or_default();
            for (key, value) in keys {
                let (key, origin) = (key.get_ref().to_string(), self.origin(self.line(key.span().start)));
                let Some(shape) = issuer_shape(&key) else {
                    let meant = nearest(&key, schema().issuer_keys.iter().map(|key| key.name.as_str()));
                    let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
                    let what = format!("there is no key {ISSUERS}.{issuer}.{key}{meant}");
                    problems.push(Problem::new(origin, what, None));
                    continue;
                };
                if let Some(raw) = to_value(value.get_ref()).and_then(|value| shape.same_shape(&value)) {
                    given.insert(key, (raw, origin));
                } else {
                    let (wanted, found) = (shape.shape(), shape_word(value.get_ref(), &shape));
                    let what = format!("{ISSUERS}.{issuer}.{key} must be {wanted}, not {found}");
                    problems.push(Problem::new(origin, what, None));
                }
            }
        }
    }

    /// The sections of classes, which are named by whoever writes the file.
    fn classes(&self, value: &toml::de::DeValue<'_>, line: usize, layer: &mut Layer, problems: &mut Vec<Problem>) {
        let example = || Some(format!("[{CLASSES}.gold]"));
        let Some(named) = value.as_table() else {
            problems.push(Problem::new(self.origin(line), format!("{CLASSES} is a section, not a value"), example()));
            return;
        };
        for (name, value) in named {
            let (class, line) = (name.get_ref().to_string(), self.line(name.span().start));
            let Some(keys) = value.get_ref().as_table() else {
                let what = format!("{CLASSES}.{class} is a section, not a value");
                problems.push(Problem::new(self.origin(line), what, example()));
                continue;
            };
            if let Some(what) = wrong_class_name(&class) {
                problems.push(Problem::new(self.origin(line), what, example()));
                continue;
            }
            let given = layer.classes.entry(class.clone()).or_default();
            for (key, value) in keys {
                let (key, origin) = (key.get_ref().to_string(), self.origin(self.line(key.span().start)));
                let shape = if key == CLASS_ONLY {
                    Some(Raw::Text(String::new()))
                } else {
                    crate::policy::patch::key(&key)
                        .and_then(|_| self.schema.key(&format!("policy.{key}")))
                        .map(|key| key.default.clone())
                };
                let Some(shape) = shape else {
                    problems.push(Problem::new(origin, unknown_class_key(&class, &key), None));
                    continue;
                };
                if let Some(raw) = to_value(value.get_ref()).and_then(|value| shape.same_shape(&value)) {
                    given.insert(key, (raw, origin));
                } else {
                    let (wanted, found) = (shape.shape(), shape_word(value.get_ref(), &shape));
                    let what = format!("{CLASSES}.{class}.{key} must be {wanted}, not {found}");
                    problems.push(Problem::new(origin, what, None));
                }
            }
        }
    }

    /// What to say of a name that does not exist: the key of that name elsewhere, or the nearest one.
    fn unknown(&self, above: &str, name: &str, is_section: bool) -> String {
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        if is_section {
            let known = self.schema.sections.iter().map(|section| section.name.as_str());
            return match nearest(&path, known) {
                Some(meant) => format!("there is no section [{path}]; did you mean [{meant}]?"),
                None => format!("there is no section [{path}]"),
            };
        }
        let all = settings(self.schema);
        let here = nearest(name, all.iter().filter(|(_, key)| key.section == above).filter_map(|(path, _)| last(path)));
        let same_name = || all.iter().find(|(path, _)| last(path) == Some(name)).map(|(path, _)| path.as_str());
        let meant = match here {
            Some(meant) => Some(if above.is_empty() { meant.to_owned() } else { format!("{above}.{meant}") }),
            None => {
                same_name().or_else(|| nearest(&path, all.iter().map(|(path, _)| path.as_str()))).map(str::to_owned)
            }
        };
        if let Some(meant) = meant {
            return format!("there is no key {path}; did you mean {meant}?");
        }
        let known: Vec<&str> =
            self.schema.keys.iter().filter(|key| key.section == above).filter_map(|key| last(&key.path)).collect();
        if known.is_empty() || known.len() > MOST_KEYS_NAMED {
            return format!("there is no key {path}");
        }
        format!("there is no key {path}; the keys of [{above}] are {}", known.join(", "))
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::File { path: self.path.to_owned(), line: Some(line) }
    }

    /// The line that an offset lies in, counted from one.
    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// Every path that can be given, `_file` forms included, with its key.
fn settings(schema: &Schema) -> Vec<(String, &Key)> {
    let files = schema.keys.iter().filter(|key| key.secret).map(|key| (format!("{}_file", key.path), key));
    schema.keys.iter().map(|key| (key.path.clone(), key)).chain(files).collect()
}

/// The key that a path belongs to, and the shape of what is given at that path.
fn shape_of(path: &str) -> Option<(&'static Key, Raw)> {
    let plain = schema().key(path).map(|key| (key, key.default.clone()));
    plain.or_else(|| {
        let secret = path.strip_suffix("_file").filter(|path| SECRETS.contains(path))?;
        schema().key(secret).map(|key| (key, Raw::Text(String::new())))
    })
}

/// The shape of a key of an issuer's section; the `_file` form of its secret is a path.
fn issuer_shape(name: &str) -> Option<Raw> {
    let plain = schema().issuer_keys.iter().find(|key| key.name == name).map(|key| key.default.clone());
    plain.or_else(|| {
        let secret = name.strip_suffix("_file")?;
        schema().issuer_keys.iter().any(|key| key.secret && key.name == secret).then(|| Raw::Text(String::new()))
    })
}

/// The issuer, the key and its shape that a variable names: `BURSAR_OIDC_CORP_CLIENT_ID`.
fn issuer_variable(name: &str) -> Option<(String, String, Raw)> {
    let rest = name.strip_prefix(PREFIX)?.strip_prefix("OIDC_")?;
    let (issuer, key) = rest.split_once('_')?;
    let (issuer, key) = (issuer.to_lowercase(), key.to_lowercase());
    issuer_shape(&key).map(|shape| (issuer, key, shape))
}

/// A right value, written as the origin would have it.
pub(super) fn example_at(key: &Key, origin: &Origin) -> String {
    match origin {
        Origin::Environment(_) => key.example_variable(),
        Origin::File { .. } | Origin::Default => key.example_line(),
    }
}

/// Whether a secret key's value really holds a secret: an address of a database without a password does not.
fn holds_secret(key: &Key, raw: &Raw) -> bool {
    match raw {
        Raw::Text(text) if key.path == "store.url" => Url::parse(text).is_ok_and(|url| address_shows_password(&url)),
        Raw::Text(text) => key.secret && !text.is_empty(),
        _ => false,
    }
}

/// Whether an address holds a password, before the host or among the options.
pub(super) fn address_shows_password(url: &Url) -> bool {
    url.password().is_some() || url.query().is_some_and(|query| query.contains("pass"))
}

fn last(path: &str) -> Option<&str> {
    path.rsplit('.').next()
}

/// Enough of a value to recognise it by.
pub(super) fn cut(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.chars().count() <= SHOWN { text.to_owned() } else { text.chars().take(SHOWN).chain(['…']).collect() }
}

/// The parsed value without its position; None for what the configuration has no use for.
fn to_value(value: &toml::de::DeValue<'_>) -> Option<toml::Value> {
    if let Some(text) = value.as_str() {
        return Some(toml::Value::String(text.to_owned()));
    }
    if let Some(flag) = value.as_bool() {
        return Some(toml::Value::Boolean(flag));
    }
    if let Some(number) = value.as_integer() {
        return i64::from_str_radix(number.as_str(), number.radix()).ok().map(toml::Value::Integer);
    }
    let list = value.as_array()?.iter().map(|item| to_value(item.get_ref())).collect::<Option<_>>()?;
    Some(toml::Value::Array(list))
}

/// What a value is, as a person calls it.
fn shape_word(value: &toml::de::DeValue<'_>, wanted: &Raw) -> &'static str {
    if value.is_str() {
        "a text"
    } else if value.is_bool() {
        "true or false"
    } else if value.is_integer() {
        "a whole number"
    } else if value.is_float() {
        "a number with a fraction"
    } else if value.is_table() {
        "a section"
    } else if value.is_array() && matches!(wanted, Raw::Texts(_) | Raw::Numbers(_)) {
        "a list of something else"
    } else if value.is_array() {
        "a list"
    } else {
        "a date"
    }
}

/// Reads a text file up to a limit, with its permissions.
fn read_limited(path: &Path, limit: u64) -> Result<(String, u32), String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let data = file.metadata().map_err(|error| error.to_string())?;
    if data.is_dir() {
        return Err("it is a folder".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(format!("it is larger than {limit} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Ok((text, data.permissions().mode()))
}
