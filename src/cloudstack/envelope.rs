//! From an HTTP answer to a value: one top-level object whose name is never trusted (`activaterojectresponse`, facts 0),
//! inside it one entity or a counted list. Pure.
//!
//! Promises: a list with one broken item gives the other items and says how many are missing; what a broken item would
//! have said is never guessed.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{Error, fields};

/// The way out of an answer by something that is not CloudStack's API.
const URL_HINT: &str = "is the URL right? It usually ends in /client/api";

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// What the caller gets.
    pub(crate) error: Error,
    /// Whether it is certain that nothing was done. Not so where a gateway speaks or the answer is unreadable.
    pub(crate) definite: bool,
}

impl Rejection {
    const fn definite(error: Error) -> Self {
        Self { error, definite: true }
    }

    const fn open(error: Error) -> Self {
        Self { error, definite: false }
    }

    /// With another error of the same certainty.
    pub(crate) fn map(self, change: impl FnOnce(Error) -> Error) -> Self {
        Self { error: change(self.error), definite: self.definite }
    }
}

/// CloudStack's own form of an error.
#[derive(Deserialize)]
struct ErrorShape {
    #[serde(deserialize_with = "fields::whole")]
    errorcode: Option<u16>,
    #[serde(default, deserialize_with = "fields::text")]
    errortext: Option<String>,
}

/// Tells a success from an error. The body of a success still has to be read by [`page`], [`entity`] or [`sole`].
pub(crate) fn decode(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<(), Rejection> {
    if let Some(error) = own_error(status, body) {
        return Err(Rejection::definite(error));
    }
    let html = content_type.is_some_and(|t| t.contains("html")) || body.trim_ascii_start().starts_with(b"<");
    match status {
        200..=299 if body.trim_ascii().is_empty() => Err(Rejection::open(Error::malformed(format!(
            "CloudStack answered HTTP {status} with an empty body, which it does when it failed inside; its log has more"
        )))),
        200..=299 if html => Err(Rejection::open(Error::malformed(format!(
            "the server answered HTML, not the CloudStack API: {URL_HINT}"
        )))),
        200..=299 => Ok(()),
        300..=399 => Err(Rejection::definite(Error::malformed(format!(
            "the server answered with a redirect (HTTP {status}), which is not followed: {URL_HINT}"
        )))),
        408 | 500..=599 => Err(Rejection::open(Error::Retry {
            code: Some(status),
            after: None,
            text: format!("HTTP {status} without an answer of CloudStack; a gateway or the management server fails"),
        })),
        429 => {
            Err(Rejection::definite(Error::from_code(429, "too many requests, says something in front of CloudStack")))
        }
        _ if html || status == 404 => Err(Rejection::definite(Error::malformed(format!(
            "the server answered HTTP {status}{}, not the CloudStack API: {URL_HINT}",
            if html { " with HTML" } else { "" }
        )))),
        _ => Err(Rejection::definite(Error::from_code(status, &String::from_utf8_lossy(body)))),
    }
}

/// The error in an answer, if it is one: only the top-level value's own code counts, since an answer about a failed job
/// holds one further inside and is no error itself (facts 1.9).
fn own_error(status: u16, body: &[u8]) -> Option<Error> {
    /// Errors are small; a long success is not parsed twice.
    const MAX_ERROR_BYTES: usize = 64 * 1024;
    const MARK: &[u8] = b"\"errorcode\"";
    if body.len() > MAX_ERROR_BYTES || !body.windows(MARK.len()).any(|window| window == MARK) {
        return None;
    }
    let shape: ErrorShape = serde_json::from_value(sole(body).ok()?).ok()?;
    let code = shape.errorcode.filter(|code| (400..600).contains(code)).unwrap_or(status);
    Some(Error::from_code(code, shape.errortext.as_deref().unwrap_or("no reason given")))
}

/// The only top-level value, whatever it is called.
pub(crate) fn sole(body: &[u8]) -> Result<Value, Error> {
    let whole: Value = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    match whole {
        Value::Object(map) if map.len() == 1 => map.into_iter().next().map(|(_, value)| value),
        _ => None,
    }
    .ok_or_else(|| Error::malformed("the answer is JSON, but not one object with one value, as the API gives it"))
}

/// One entity: the value's only object (`{"user":{…}}`), or the value itself.
pub(crate) fn entity<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    let inner = match value {
        Value::Object(map) if map.len() == 1 && map.values().all(Value::is_object) => {
            map.into_iter().next().map_or(Value::Null, |(_, inner)| inner)
        }
        other => other,
    };
    serde_json::from_value(inner).map_err(|error| wrong_shape(&error))
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// How many there are on all pages; absent where the list is empty.
    pub count: Option<u64>,
    /// The items of this page. Empty past the end.
    pub items: Vec<T>,
    /// Items of this page that could not be read (at least so many). Never silently dropped.
    pub unreadable: usize,
}

impl<T> Page<T> {
    /// Rows of this page, readable or not.
    pub fn rows(&self) -> usize {
        self.items.len().saturating_add(self.unreadable)
    }
}

/// What can stand in a list.
pub(crate) trait Entry: DeserializeOwned {
    /// Whether the value is an item of the list and not something nested in one. Types with a required id need no more.
    fn is_whole(&self) -> bool {
        true
    }
}

/// Reads a list: `{}` and a count without the array are empty (facts 1.5).
pub(crate) fn page<T: Entry>(body: &[u8]) -> Result<Page<T>, Error> {
    match serde_json::from_slice::<Listed<T>>(body) {
        Ok(Listed { count, items }) if items.iter().all(Entry::is_whole) => Ok(Page { count, items, unreadable: 0 }),
        Ok(_) => salvage(body, None),
        Err(error) => salvage(body, Some(&error)),
    }
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::malformed(format!("the answer is not JSON ({} at byte {}): {URL_HINT}", kind(error), error.column()))
}

fn wrong_shape(error: &serde_json::Error) -> Error {
    // serde's own text may quote a value; the kind is enough, field names are not secret.
    Error::malformed(format!("the answer has another shape than this command's ({})", kind(error)))
}

fn kind(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Io => "unreadable",
        serde_json::error::Category::Syntax => "a syntax error",
        serde_json::error::Category::Data => "a missing or unexpected field",
        serde_json::error::Category::Eof => "it ends too early",
    }
}

/// A list as it comes, read in one go without an intermediate tree.
struct Listed<T> {
    count: Option<u64>,
    items: Vec<T>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Outer(PhantomData))
    }
}

struct Outer<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Outer<T> {
    type Value = Listed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one object with one value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listed<T>, A::Error> {
        if map.next_key::<IgnoredAny>()?.is_none() {
            return Err(de::Error::custom("no value"));
        }
        let listed = map.next_value_seed(Inner(PhantomData))?;
        if map.next_key::<IgnoredAny>()?.is_some() {
            return Err(de::Error::custom("more than one value"));
        }
        Ok(listed)
    }
}

struct Inner<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Inner<T> {
    type Value = Listed<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Listed<T>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Inner<T> {
    type Value = Listed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count and an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listed<T>, A::Error> {
        let mut listed = Listed { count: None, items: Vec::new() };
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == "count" {
                listed.count = map.next_value::<Count>()?.0;
            } else {
                let Rows(rows) = map.next_value::<Rows<T>>()?;
                listed.items.extend(rows);
            }
        }
        Ok(listed)
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Count(#[serde(deserialize_with = "fields::whole")] Option<u64>);

struct Rows<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Rows<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RowsVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for RowsVisitor<T> {
            type Value = Rows<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Rows<T>, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = seq.next_element()? {
                    rows.push(row);
                }
                Ok(Rows(rows))
            }
        }
        deserializer.deserialize_seq(RowsVisitor(PhantomData))
    }
}

/// Reads what can be read of a list that does not read as a whole. CloudStack unescapes `\uXXXX` in its own JSON, so a
/// name with a control character breaks the page it is on (facts 1.5).
fn salvage<T: Entry>(body: &[u8], cause: Option<&serde_json::Error>) -> Result<Page<T>, Error> {
    let refuse = || match cause {
        Some(error) if error.is_data() => wrong_shape(error),
        Some(error) => not_json(error),
        None => Error::malformed("the answer is a list of something else than this command gives"),
    };
    let text = mend_escapes(&String::from_utf8_lossy(body));
    // A list that was cut off would otherwise pass for one whose last item is broken.
    let (Some(start), true) = (array_start(&text), text.trim_end().ends_with('}')) else { return Err(refuse()) };
    let head = text.get(..start).unwrap_or_default();
    let mut page = Page { count: head_count(head), items: Vec::new(), unreadable: 0 };
    let mut at = start;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let trimmed = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        at = text.len().saturating_sub(trimmed.len());
        if trimmed.is_empty() || trimmed.starts_with(']') {
            break;
        }
        if let Some((item, length)) = read_one::<T>(trimmed).filter(|(item, _)| item.is_whole()) {
            page.items.push(item);
            at = at.saturating_add(length);
            continue;
        }
        page.unreadable = page.unreadable.saturating_add(1);
        match read_one::<IgnoredAny>(trimmed).map(|(_, length)| length).or_else(|| next_item::<T>(trimmed)) {
            Some(length) => at = at.saturating_add(length),
            None => break,
        }
    }
    // Nothing readable in well-formed JSON is another kind of list; in broken JSON it is a page of broken items.
    let other_list = page.unreadable == 0 || cause.is_none_or(serde_json::Error::is_data);
    if page.items.is_empty() && other_list { Err(refuse()) } else { Ok(page) }
}

/// The first JSON value of a text and its length.
fn read_one<'de, T: Deserialize<'de>>(text: &'de str) -> Option<(T, usize)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<T>();
    let item = stream.next()?.ok()?;
    let length = stream.byte_offset();
    // What follows an item is a comma or the end of the array; anything else means that a quote in a name has shifted
    // the borders.
    text.get(length..)?.trim_start().starts_with([',', ']']).then_some((item, length))
}

/// How far the next readable item is from the start of a broken one.
fn next_item<T: Entry>(text: &str) -> Option<usize> {
    text.match_indices("},{").find_map(|(index, _)| {
        let start = index.saturating_add(2);
        read_one::<T>(text.get(start..)?).filter(|(item, _)| item.is_whole()).map(|_| start)
    })
}

/// Where the items of the array begin.
fn array_start(text: &str) -> Option<usize> {
    text.match_indices('[')
        .find(|(index, _)| text.get(..*index).is_some_and(|before| before.trim_end().ends_with(':')))
        .map(|(index, _)| index.saturating_add(1))
}

/// The count in front of the array.
fn head_count(head: &str) -> Option<u64> {
    let (_, rest) = head.split_once("\"count\"")?;
    let digits: String = rest.trim_start_matches([':', ' ', '"']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Control characters become spaces and lone backslashes are doubled. Nothing else is mended: whether a stray quote ends
/// a name is a guess, and names are chosen by tenants.
fn mend_escapes(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let rest = chars.as_str();
                let is_escape = rest.starts_with(['"', '\\', '/', 'b', 'f', 'n', 'r', 't'])
                    || rest
                        .strip_prefix('u')
                        .and_then(|hex| hex.get(..4))
                        .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
                mended.push('\\');
                if is_escape {
                    mended.extend(chars.next());
                } else {
                    mended.push('\\');
                }
            }
            c if c.is_control() => mended.push(' '),
            c => mended.push(c),
        }
    }
    mended
}

impl Entry for Value {
    fn is_whole(&self) -> bool {
        self.is_object()
    }
}
