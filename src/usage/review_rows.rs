//! What people and rules decided, applied to the rows of a span, and the rows that are put aside.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono_tz::Tz;

use super::{
    emission::Judged,
    ingest::Spans,
    record::{Standing, digest_of},
    review_kind::Kind,
};
use crate::{
    cloudstack::UsageRow,
    ids::RunId,
    store::{
        StoreError, Tx,
        review::{self, By, Rule, Verdict},
        runs::{self, AuditLine},
        usage::{self as rows, Known, KnownRaw, NewQuarantined},
    },
    time::{Day, Timestamp},
};

/// How much is kept of what CloudStack said, characters: many times what a row has.
const MAX_RAW_TEXT: usize = 20_000;

/// What a record comes to in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) standing: Standing,
    pub(super) kind: Option<Kind>,
    pub(super) charged_quantity: Option<i64>,
    pub(super) estimate: Option<i64>,
    /// Whether a person, or a rule of one, decided about it.
    pub(super) decided: bool,
}

/// What is charged of a row that a person releases: a part window what it reports beyond what is charged already, never less
/// than nothing; anything else as reported.
pub(super) fn released(kind: Option<Kind>, estimate: Option<i64>) -> Option<i64> {
    (kind == Some(Kind::Part)).then(|| estimate.unwrap_or_default().max(0))
}

/// What was judged, with the verdict that stands about it: a newer emission goes before any verdict, and a verdict goes before
/// everything else.
fn with_verdict(row: &Judged, kind: Option<Kind>, standing: Standing, verdict: Option<&Verdict>) -> Outcome {
    let judged = Outcome { standing, kind, charged_quantity: None, estimate: row.estimate, decided: false };
    let Some(verdict) = verdict.filter(|_| standing != Standing::Superseded) else { return judged };
    let decided = Outcome { decided: true, ..judged };
    match verdict.verdict.as_str() {
        "reject" => Outcome { standing: Standing::Rejected, ..decided },
        "release" if standing == Standing::Current => decided,
        _ => Outcome { standing: Standing::Current, charged_quantity: verdict.charged_quantity, ..decided },
    }
}

/// Everything that decides about the rows of a span, loaded once.
pub(super) struct Verdicts {
    decided: HashMap<[u8; 16], Verdict>,
    rules: Vec<Rule>,
    kinds: HashMap<i64, String>,
    items: HashMap<(Kind, String), i64>,
    touched: BTreeSet<i64>,
    made: Vec<Verdict>,
    /// Rows that each rule decided about.
    used: BTreeMap<i64, u64>,
    run: RunId,
    now: Timestamp,
}

impl Verdicts {
    pub(super) async fn load(tx: &mut Tx, spans: Spans, run: RunId, now: Timestamp) -> Result<Self, StoreError> {
        let (from, until) = (spans.span.start(), spans.span.end());
        Ok(Self {
            decided: review::list_verdicts(tx, from, until).await?,
            rules: review::list_rules(tx).await?,
            kinds: review::list_kinds(tx, from, until).await?,
            items: HashMap::new(),
            touched: BTreeSet::new(),
            made: Vec::new(),
            used: BTreeMap::new(),
            run,
            now,
        })
    }

    /// The kind of the item that a stored record belongs to.
    pub(super) fn kind_of(&self, known: Option<&Known>) -> Option<Kind> {
        known
            .and_then(|known| known.item_id)
            .and_then(|item| self.kinds.get(&item))
            .and_then(|slug| Kind::from_slug(slug))
    }

    /// What becomes of a record that was judged, and perhaps found to be gone or too old.
    pub(super) fn apply(&mut self, row: &Judged, found: Option<Kind>, account: i64, known: Option<&Known>) -> Outcome {
        let (standing, kind) = match found {
            Some(kind) if row.standing == Standing::Current => (Standing::Quarantined, Some(kind)),
            _ => (row.standing, row.kind),
        };
        let key = *row.key.as_bytes();
        if let Some(kind) = kind
            && self.kind_of(known) != Some(kind)
            && !self.decided.contains_key(&key)
            && let Some(rule) = rule_for(&self.rules, kind, Some(i64::from(row.record.usage_type)), Some(account))
        {
            *self.used.entry(rule.id).or_default() += 1;
            let charged_quantity = if rule.verdict == "release" { released(Some(kind), row.estimate) } else { None };
            let verdict = Verdict {
                key,
                start: row.record.window.start(),
                verdict: rule.verdict.clone(),
                charged_quantity,
                author: author_of(rule),
                reason: rule.why.clone(),
            };
            self.made.push(verdict.clone());
            self.decided.insert(key, verdict);
        }
        with_verdict(row, kind, standing, self.decided.get(&key))
    }

    /// The item that a record belongs to.
    pub(super) async fn item_of(
        &mut self,
        tx: &mut Tx,
        outcome: &Outcome,
        known: Option<&Known>,
    ) -> Result<Option<i64>, StoreError> {
        let before = known.and_then(|known| known.item_id);
        let item = match outcome.kind {
            Some(kind) if self.kind_of(known) == Some(kind) => return Ok(before),
            Some(kind) => Some(self.number(tx, kind, kind.words()).await?),
            // What was decided stays where it was decided.
            None if outcome.decided => return Ok(before),
            None => None,
        };
        self.touched.extend(before);
        Ok(item)
    }

    /// The item of this run for a kind and a reason.
    pub(super) async fn number(&mut self, tx: &mut Tx, kind: Kind, reason: &str) -> Result<i64, StoreError> {
        let group = (kind, reason.to_owned());
        if let Some(item) = self.items.get(&group) {
            self.touched.insert(*item);
            return Ok(*item);
        }
        let key = format!("run/{}/{}/{reason}", self.run, kind.slug());
        let item = review::number_item(tx, &key, kind, reason, self.run, self.now).await?;
        self.items.insert(group, item);
        self.touched.insert(item);
        Ok(item)
    }

    /// The items' figures follow what became of their rows.
    pub(super) fn touch(&mut self, item: Option<i64>) {
        self.touched.extend(item);
    }

    /// Keeps what rules decided, and works out again the items that it concerns.
    pub(super) async fn store(self, tx: &mut Tx) -> Result<(), StoreError> {
        review::put_verdicts(tx, &self.made, self.now).await?;
        for (rule, rows) in &self.used {
            let line = AuditLine {
                at_ms: self.now.as_ms(),
                actor: format!("rule {rule}"),
                action: "usage.review.rule".to_owned(),
                subject: format!("sync run {}", self.run),
                after_state: Some(format!("{rows} rows decided")),
                ..AuditLine::default()
            };
            runs::write_audit(tx, &line).await?;
        }
        let by = if self.used.is_empty() {
            By { verdict: "cured", author: "bursar", words: "its rows no longer wait" }
        } else {
            By { verdict: "rule", author: "bursar", words: "decided by rule" }
        };
        for item in self.touched {
            review::refresh_item(tx, item, by, self.now).await?;
        }
        Ok(())
    }
}

fn author_of(rule: &Rule) -> String {
    format!("rule {} of {}", rule.id, rule.author)
}

/// The narrowest rule that decides about a row.
fn rule_for(rules: &[Rule], kind: Kind, usage_type: Option<i64>, account: Option<i64>) -> Option<&Rule> {
    rules.iter().find(|rule| {
        rule.kind == kind.slug()
            && (rule.usage_type.is_none() || rule.usage_type == usage_type)
            && (rule.account_id.is_none() || rule.account_id == account)
    })
}

/// A row to be put aside, and why.
pub(super) struct Why {
    pub(super) kind: Kind,
    /// What its item is made by.
    pub(super) group: String,
    /// With the figures of this row.
    pub(super) reason: String,
    /// What it waits for.
    pub(super) subject: Option<String>,
}

struct Put {
    why: Why,
    account: Option<i64>,
    usage_type: Option<i64>,
    start: Timestamp,
    raw: String,
    seen: i64,
}

/// The rows of a span of which no record can be made.
pub(super) struct Aside {
    known: HashMap<[u8; 16], KnownRaw>,
    decided: bool,
    rows: BTreeMap<[u8; 16], Put>,
    spans: Spans,
}

impl Aside {
    pub(super) async fn load(tx: &mut Tx, spans: Spans) -> Result<Self, StoreError> {
        let known = rows::list_known_raw(tx, spans.span.start(), spans.span.end()).await?;
        let decided = known.values().any(|raw| matches!(raw.state, 1 | 2));
        Ok(Self { known, decided, rows: BTreeMap::new(), spans })
    }

    /// Whether a person decided about this very row: then it stays aside, also where it could be read now.
    pub(super) fn is_decided(&self, row: &UsageRow) -> bool {
        self.decided && self.known.get(&raw_key(row)).is_some_and(|raw| matches!(raw.state, 1 | 2))
    }

    pub(super) fn add(&mut self, row: &UsageRow, account: Option<i64>, why: Why) {
        let start = row.start_date.as_deref().and_then(Timestamp::parse_cloudstack);
        if start.is_some_and(|start| !self.spans.span.contains(start)) {
            return;
        }
        let start = start.or_else(|| self.first_day().start(Tz::UTC)).unwrap_or(self.spans.span.start());
        let raw = serde_json::to_string(row).unwrap_or_default();
        self.put(raw_key(row), Put { why, account, usage_type: row.usage_type.map(i64::from), start, raw, seen: 1 });
    }

    /// Rows that were not even JSON: all that is known of them is how many they are.
    pub(super) fn add_unreadable(&mut self, rows: u64) {
        let span = self.spans.span;
        let reason = "CloudStack's answer held rows that are not JSON (facts 1.5: names with escaped characters)";
        let why = Why { kind: Kind::Unreadable, group: reason.to_owned(), reason: reason.to_owned(), subject: None };
        let raw = format!("span {} to {}", span.start(), span.end());
        let mut hasher = blake3::Hasher::new();
        hasher.update(raw.as_bytes());
        let seen = i64::try_from(rows).unwrap_or(i64::MAX);
        let put = Put { why, account: None, usage_type: None, start: span.start(), raw, seen };
        // One row for all of them.
        self.put(digest_of(&hasher), put);
    }

    fn first_day(&self) -> Day {
        Day::of(self.spans.span.start(), Tz::UTC).unwrap_or(Day::from_number(0))
    }

    fn put(&mut self, key: [u8; 16], mut put: Put) {
        let end = put.raw.char_indices().nth(MAX_RAW_TEXT).map(|(at, _)| at);
        if let Some(end) = end {
            put.raw.truncate(end);
        }
        let seen = put.seen;
        self.rows.entry(key).and_modify(|row| row.seen += seen).or_insert(put);
    }

    /// Stores what is new. Gives how many rows newly wait, and how many no longer do.
    pub(super) async fn store(self, tx: &mut Tx, verdicts: &mut Verdicts) -> Result<(u64, u64), StoreError> {
        let (mut waiting, mut cured) = (0, 0);
        let mut known = self.known;
        for (key, put) in self.rows {
            let known = known.remove(&key);
            if known.is_some_and(|known| known.seen == put.seen && known.state != 3 && known.item_id.is_some()) {
                continue;
            }
            let is_new = known.is_none_or(|known| known.state == 3);
            let item_id = match known {
                Some(KnownRaw { item_id: Some(item), .. }) if !is_new => item,
                _ => verdicts.number(tx, put.why.kind, &put.why.group).await?,
            };
            verdicts.touch(Some(item_id));
            let rule = rule_for(&verdicts.rules, put.why.kind, put.usage_type, put.account)
                .filter(|rule| is_new && rule.verdict == "reject")
                .map(|rule| rule.id);
            if let Some(rule) = rule {
                *verdicts.used.entry(rule).or_default() += 1;
            } else if is_new {
                waiting += u64::try_from(put.seen).unwrap_or(0);
            }
            let row = NewQuarantined {
                key,
                account_id: put.account,
                usage_type: put.usage_type,
                day: Day::of(put.start, Tz::UTC).unwrap_or(Day::from_number(0)),
                start: put.start,
                kind: put.why.kind.slug(),
                item_id,
                subject: put.why.subject,
                reason: put.why.reason,
                raw: put.raw,
                seen: put.seen,
                state: i64::from(rule.is_some()),
            };
            rows::quarantine(tx, &row, verdicts.run, verdicts.now).await?;
        }
        // What was there before and did not come again: its reason no longer holds, or CloudStack no longer has it.
        for raw in known.into_values().filter(|raw| raw.seen > 0 || raw.state == 0) {
            cured += u64::from(raw.state == 0);
            rows::resolve_raw(tx, raw.id).await?;
            verdicts.touch(raw.item_id);
        }
        Ok((waiting, cured))
    }
}

/// What identifies a raw row: nothing that CloudStack gives as it is now (names, tags) or that may be read otherwise later.
fn raw_key(row: &UsageRow) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for text in [
        &row.account_id,
        &row.project_id,
        &row.raw_usage,
        &row.virtual_machine_id,
        &row.offering_id,
        &row.usage_id,
        &row.resource_type,
        &row.network_id,
        &row.start_date,
        &row.end_date,
        &row.zone_id,
    ] {
        let text = text.as_deref().unwrap_or_default();
        hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    let description = if row.usage_id.is_none() { row.description.as_deref().unwrap_or_default() } else { "" };
    hasher.update(description.as_bytes());
    for number in [row.usage_type.map(i64::from), row.size, row.virtual_size, row.cpu_number, row.memory] {
        hasher.update(&number.unwrap_or(-1).to_be_bytes());
    }
    digest_of(&hasher)
}
