//! One downloaded span becomes stored records, in one transaction.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use chrono_tz::Tz;

use super::{
    emission::{self, Judged},
    normalise,
    record::{Owner, Record, Shared, Standing, Words},
    review_kind::Kind,
    review_rows::{Aside, Verdicts, Why},
    review_watch,
};
use crate::{
    cloudstack::UsageRow,
    ids::{AccountId, RunId},
    store::{
        Store, StoreError, Tx,
        bulk::{self, ChangedRecord, NewAttributes, NewRecord},
        cloud::{self, SeenAccount},
        compaction::Marks,
        runs,
        usage::{self as rows, Known},
    },
    time::{Day, Period, Timestamp},
};

/// The usage job's range where the store does not know it: CloudStack's own default, a day.
const DEFAULT_RANGE_MINUTES: u64 = 1_440;

/// The rows of a range, in the server's order.
#[derive(Debug, Default)]
pub struct Downloaded {
    /// Rows that could be read.
    pub rows: Vec<UsageRow>,
    /// Rows that were not even JSON.
    pub unreadable: u64,
}

/// Which part of what was downloaded is stored, and how days are cut.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    /// Rows whose window starts in it are stored; the others only help to judge.
    pub span: Period,
    /// Zone of billing days.
    pub zone: Tz,
    /// Whether the cursor moves to the span's end.
    pub advance: bool,
}

/// What storing a span did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Records stored for the first time.
    pub new_records: u64,
    /// Records whose standing changed.
    pub changed_records: u64,
    /// Raw rows that repeat another one of the span.
    pub repeats: u64,
    /// Raw rows that newly wait for a person.
    pub quarantined: u64,
    /// Raw rows that waited and no longer do, because their reason no longer holds.
    pub cured: u64,
    /// Raw rows that CloudStack no longer has though they are stored.
    pub removed: u64,
}

/// Judges and stores a span that was downloaded as a whole.
pub async fn store_span(
    store: &Store,
    downloaded: Downloaded,
    spans: Spans,
    run: RunId,
    now: Timestamp,
) -> Result<Stored, StoreError> {
    let mut reader = SpanReader::begin(store, spans).await?;
    reader.push(downloaded);
    reader.store(store, run, now).await
}

/// A span on its way into the store: pages are pushed in the server's order as they come, become records at once, and are not
/// kept. Nothing is written before [`SpanReader::store`]; where the download has to begin anew, so does the reader.
pub struct SpanReader {
    spans: Spans,
    owners: Owners,
    aside: Aside,
    words: Words,
    records: Vec<Record>,
}

impl SpanReader {
    /// A reader that knows who owns what, and what was decided about rows of the span.
    pub async fn begin(store: &Store, spans: Spans) -> Result<Self, StoreError> {
        let mut tx = store.read().await?;
        let owners = Owners::load(&mut tx).await?;
        let aside = Aside::load(&mut tx, spans).await?;
        tx.commit().await?;
        Ok(Self { spans, owners, aside, words: Words::default(), records: Vec::new() })
    }

    /// Takes a page.
    pub fn push(&mut self, page: Downloaded) {
        if page.unreadable > 0 {
            self.aside.add_unreadable(page.unreadable);
        }
        self.records.reserve(page.rows.len());
        for row in page.rows {
            self.read(&row);
        }
    }

    /// Makes a record of a row; where none can be made, it is put aside.
    fn read(&mut self, row: &UsageRow) {
        let Self { owners, aside, words, .. } = self;
        let account = || row.account_id.as_ref().and_then(|id| owners.accounts.get(id)).map(|id| id.get());
        let record = match normalise::normalise(row, words) {
            Err(reason) => {
                let (kind, group) = (reason.kind(), reason.group());
                return aside.add(row, account(), Why { kind, group, reason: reason.to_string(), subject: None });
            }
            Ok(record) => record,
        };
        if aside.is_decided(row) {
            let reason = "a person decided about it".to_owned();
            let why = Why { kind: Kind::Unreadable, group: reason.clone(), reason, subject: None };
            return aside.add(row, account(), why);
        }
        match &record.owner {
            Owner::Project(id) if owners.find_project(id).is_none() => {
                let reason = Kind::UnknownOwner.words().to_owned();
                let subject = Some(id.to_string());
                return aside.add(row, None, Why { kind: Kind::UnknownOwner, group: reason.clone(), reason, subject });
            }
            Owner::Account(id)
                if !owners.accounts.contains_key(id.as_ref()) && !owners.names.contains_key(id.as_ref()) =>
            {
                owners.names.insert(id.to_string(), seen_account(id, row));
            }
            Owner::Project(_) | Owner::Account(_) => {}
        }
        self.records.push(record);
    }

    /// Judges what was pushed, and stores it in one transaction.
    pub async fn store(self, store: &Store, run: RunId, now: Timestamp) -> Result<Stored, StoreError> {
        let Self { spans, mut owners, aside, words, records } = self;
        drop(words);
        let mut judged = emission::judge(records);
        judged.retain(|row| spans.span.contains(row.record.window.start()));

        let mut tx = store.begin().await?;
        let mut intake = Intake::load(&mut tx, &judged, spans, run, now).await?;
        for row in &judged {
            let Some((account, project)) = owners.resolve(&mut tx, &row.record.owner, now).await? else { continue };
            intake.take(&mut tx, row, account, project).await?;
        }
        intake.removed(&mut tx).await?;
        let stored = intake.store(&mut tx, aside).await?;
        for day in days_of(spans.span, Tz::UTC) {
            if let Some(period) = day.period(Tz::UTC) {
                rows::recount_day(&mut tx, day, period.start(), period.end(), now).await?;
            }
        }
        note_longest(&mut tx, &judged, now).await?;
        review_watch::note_gaps(&mut tx, &judged, spans.span, run, now).await?;
        if spans.advance {
            let end = spans.span.end().as_ms().to_string();
            runs::put_setting(&mut tx, super::sync::settings::FETCHED_UNTIL, &end, now).await?;
        }
        runs::commit_for(tx, run).await?;
        Ok(stored)
    }
}

/// The records of a span on their way into the store.
struct Intake {
    known: HashMap<[u8; 16], Known>,
    numbers: HashMap<String, i64>,
    attributes: HashMap<[u8; 16], i64>,
    gone: HashMap<i64, Timestamp>,
    closed: Marks,
    verdicts: Verdicts,
    fresh: Vec<NewRecord>,
    changed: Vec<ChangedRecord>,
    dirty: BTreeSet<(AccountId, Day)>,
    stored: Stored,
    spans: Spans,
    run: RunId,
}

impl Intake {
    async fn load(
        tx: &mut Tx,
        judged: &[Judged],
        spans: Spans,
        run: RunId,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let range = runs::find_setting(tx, super::sync::settings::RANGE_MINUTES).await?;
        let range_minutes = range.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_RANGE_MINUTES);
        let grace = Duration::from_secs(range_minutes.saturating_mul(2 * 60));
        Ok(Self {
            known: rows::list_known(tx, spans.span.start(), spans.span.end()).await?,
            numbers: number_resources(tx, judged).await?,
            attributes: number_attributes(tx, judged).await?,
            gone: rows::list_gone(tx, spans.span.end().minus(grace))
                .await?
                .into_iter()
                .map(|(id, at)| (id, at.plus(grace)))
                .collect(),
            closed: Marks::load(tx).await?,
            verdicts: Verdicts::load(tx, spans, run, now).await?,
            fresh: Vec::new(),
            changed: Vec::new(),
            dirty: BTreeSet::new(),
            stored: Stored::default(),
            spans,
            run,
        })
    }

    /// What only the store knows: that the resource was gone long before, or that its time is closed. Asked of what comes for
    /// the first time, so that fetching again changes nothing that is charged.
    fn found(&self, row: &Judged, account: AccountId, resource: i64, known: Option<&Known>) -> Option<Kind> {
        let start = row.record.window.start();
        let before = self.verdicts.kind_of(known);
        let asked = |kind| known.is_none() || before == Some(kind);
        // The types of an account are closed together, also those that it has no record of (design 7.5).
        if asked(Kind::BeforeCompaction) && self.closed.cover(account, start) {
            return Some(Kind::BeforeCompaction);
        }
        (asked(Kind::Gone) && self.gone.get(&resource).is_some_and(|gone| start >= *gone)).then_some(Kind::Gone)
    }

    async fn take(
        &mut self,
        tx: &mut Tx,
        row: &Judged,
        account: AccountId,
        project: Option<i64>,
    ) -> Result<(), StoreError> {
        self.stored.repeats += u64::from(row.seen.saturating_sub(1));
        let known = self.known.remove(row.key.as_bytes());
        let payer = known.map_or(account, |known| AccountId::new(known.account_id));
        let resource = self.numbers.get(row.record.resource.as_ref()).copied().unwrap_or_default();
        let found = self.found(row, payer, resource, known.as_ref());
        let outcome = self.verdicts.apply(row, found, payer.get(), known.as_ref());
        let item_id = self.verdicts.item_of(tx, &outcome, known.as_ref()).await?;
        let (seen, standing) = (i64::from(row.seen), outcome.standing.code());
        let waits = outcome.standing == Standing::Quarantined;
        let Some(known) = known else {
            self.stored.new_records += 1;
            self.stored.quarantined += if waits { u64::from(row.seen) } else { 0 };
            if outcome.standing == Standing::Current {
                self.mark(payer, row.record.window);
            }
            let record = &row.record;
            self.fresh.push(NewRecord {
                key: *row.key.as_bytes(),
                account_id: account.get(),
                project_id: project,
                usage_type: i64::from(record.usage_type),
                resource_id: resource,
                offering_id: record.offering.as_ref().and_then(|id| self.numbers.get(id.as_ref()).copied()),
                start_ms: record.window.start().as_ms(),
                end_ms: record.window.end().as_ms(),
                quantity: record.quantity,
                size_bytes: record.size_bytes,
                seen,
                standing,
                attributes_id: record.attributes.as_ref().and_then(|set| self.attributes.get(&set.digest).copied()),
                charged_quantity: outcome.charged_quantity,
                estimate: outcome.estimate,
                item_id,
            });
            if self.fresh.len() >= bulk::ROWS_PER_STATEMENT {
                rows::insert_records(tx, &self.fresh, self.run).await?;
                self.fresh.clear();
            }
            return Ok(());
        };
        let charged_quantity = outcome.charged_quantity;
        let turned = known.standing != standing;
        let changed = turned
            || (known.seen, known.charged_quantity, known.estimate, known.item_id)
                != (seen, charged_quantity, outcome.estimate, item_id);
        if changed {
            let (key, estimate) = (*row.key.as_bytes(), outcome.estimate);
            self.changed.push(ChangedRecord { key, seen, standing, charged_quantity, estimate, item_id });
            self.verdicts.touch(item_id);
        }
        self.stored.changed_records += u64::from(turned);
        self.stored.quarantined += if turned && waits { u64::from(row.seen) } else { 0 };
        if turned || known.charged_quantity != charged_quantity {
            self.mark(payer, row.record.window);
        }
        Ok(())
    }

    fn mark(&mut self, account: AccountId, window: Period) {
        for day in days_of(window, self.spans.zone) {
            self.dirty.insert((account, day));
        }
    }

    /// Records of the span that did not come again: CloudStack no longer has them. They are told and no longer counted; what
    /// they cost stays (design 7.4).
    async fn removed(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let span = self.spans.span;
        let gone: Vec<([u8; 16], Known)> = self
            .known
            .drain()
            // Made by a person, or told before; or of a window that only a wider fetch brings.
            .filter(|(_, known)| known.seen > 0 && known.end_ms <= span.end().as_ms())
            .collect();
        for (key, known) in gone {
            self.stored.removed += u64::try_from(known.seen).unwrap_or(0);
            let item_id = match known.item_id {
                Some(item) => Some(item),
                None => Some(self.verdicts.number(tx, Kind::Removed, Kind::Removed.words()).await?),
            };
            let Known { standing, charged_quantity, estimate, .. } = known;
            self.changed.push(ChangedRecord { key, seen: 0, standing, charged_quantity, estimate, item_id });
        }
        Ok(())
    }

    async fn store(mut self, tx: &mut Tx, aside: Aside) -> Result<Stored, StoreError> {
        rows::insert_records(tx, &self.fresh, self.run).await?;
        bulk::change_records(tx, &self.changed, Some(self.run.get())).await?;
        let (waiting, cured) = aside.store(tx, &mut self.verdicts).await?;
        self.stored.quarantined += waiting;
        self.stored.cured += cured;
        self.verdicts.store(tx).await?;
        for (account, day) in self.dirty {
            rows::mark_to_rate(tx, account, day).await?;
        }
        Ok(self.stored)
    }
}

/// Notes how long records get: rating looks back so far for records that reach into a day.
async fn note_longest(tx: &mut Tx, judged: &[Judged], now: Timestamp) -> Result<(), StoreError> {
    let key = super::sync::settings::LONGEST_RECORD_MS;
    let longest = judged
        .iter()
        .map(|row| row.record.window.end().as_ms() - row.record.window.start().as_ms())
        .max()
        .unwrap_or_default();
    let known = runs::find_setting(tx, key).await?.and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    if longest > known {
        runs::put_setting(tx, key, &longest.to_string(), now).await?;
    }
    Ok(())
}

/// The days of a zone that a period touches.
pub fn days_of(period: Period, zone: Tz) -> Vec<Day> {
    let last = Timestamp::from_ms(period.end().as_ms() - 1);
    let (Some(first), Some(last)) = (Day::of(period.start(), zone), Day::of(last, zone)) else { return Vec::new() };
    (first.number()..=last.number()).map(Day::from_number).collect()
}

fn seen_account(id: &str, row: &UsageRow) -> SeenAccount {
    SeenAccount {
        cloud_id: id.to_owned(),
        name: row.account.clone().unwrap_or_else(|| id.to_owned()),
        domain_id: row.domain_id.clone().unwrap_or_default(),
        domain_path: row.domain_path.clone().or_else(|| row.domain.clone()).unwrap_or_default(),
        account_type: 0,
        role_type: "User".to_owned(),
        state: "removed".to_owned(),
    }
}

/// Who pays for an owner's usage.
struct Owners {
    accounts: HashMap<String, AccountId>,
    projects: HashMap<String, (i64, Option<AccountId>)>,
    /// What records say of accounts that nobody knows.
    names: HashMap<String, SeenAccount>,
}

impl Owners {
    async fn load(tx: &mut Tx) -> Result<Self, StoreError> {
        let accounts = cloud::list_accounts(tx).await?.into_iter().map(|row| (row.cloud_id, row.id)).collect();
        let projects = cloud::list_projects(tx)
            .await?
            .into_iter()
            .map(|row| (row.cloud_id, (row.id, row.owner_account_id)))
            .collect();
        Ok(Self { accounts, projects, names: HashMap::new() })
    }

    /// The account that pays for a project, and the project. None: nobody knows the owner.
    fn find_project(&self, id: &str) -> Option<(AccountId, Option<i64>)> {
        self.projects.get(id).and_then(|(number, account)| account.map(|account| (account, Some(*number))))
    }

    /// The account that pays, and the project. An account that was deleted before bursar came is made known from its
    /// records (facts 3.1: usage of deleted accounts stays readable). None: a project whose owner nobody knows.
    async fn resolve(
        &mut self,
        tx: &mut Tx,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<Option<(AccountId, Option<i64>)>, StoreError> {
        match owner {
            Owner::Project(id) => Ok(self.find_project(id)),
            Owner::Account(id) => {
                if let Some(number) = self.accounts.get(id.as_ref()) {
                    return Ok(Some((*number, None)));
                }
                let Some(seen) = self.names.get(id.as_ref()) else { return Ok(None) };
                let (number, _) = cloud::put_account(tx, seen, now).await?;
                cloud::mark_account_gone(tx, number, now).await?;
                self.accounts.insert(id.to_string(), number);
                Ok(Some((number, None)))
            }
        }
    }
}

async fn number_resources(tx: &mut Tx, judged: &[Judged]) -> Result<HashMap<String, i64>, StoreError> {
    let mut wanted: HashMap<&str, &str> = HashMap::new();
    for row in judged {
        wanted.insert(&row.record.resource, &row.record.resource_name);
    }
    let mut list: Vec<(String, String)> =
        wanted.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect();
    let offerings: HashSet<&str> = judged.iter().filter_map(|row| row.record.offering.as_deref()).collect();
    for id in offerings {
        if !wanted.contains_key(id) {
            // Its name is learnt from CloudStack's list of offerings.
            list.push((id.to_owned(), String::new()));
        }
    }
    list.sort_unstable();
    Ok(bulk::number_resources(tx, &list).await?.into_iter().collect())
}

impl Shared {
    /// Ready to be numbered.
    pub(super) fn to_new(&self) -> NewAttributes {
        let Self { digest, attributes } = self;
        NewAttributes {
            digest: *digest,
            zone_id: attributes.zone_id.clone(),
            template_id: attributes.template_id.clone(),
            os_type_id: attributes.os_type_id.clone(),
            cpu_number: attributes.cpu_number,
            cpu_speed: attributes.cpu_speed,
            memory_mib: attributes.memory_mib,
            tags: (!attributes.tags.is_empty()).then(|| serde_json::json!(attributes.tags).to_string()),
        }
    }
}

/// Numbers the distinct attributes of a span: few, whatever its length.
async fn number_attributes(tx: &mut Tx, judged: &[Judged]) -> Result<HashMap<[u8; 16], i64>, StoreError> {
    let mut wanted: BTreeMap<[u8; 16], &Shared> = BTreeMap::new();
    for shared in judged.iter().filter_map(|row| row.record.attributes.as_deref()) {
        wanted.entry(shared.digest).or_insert(shared);
    }
    let list: Vec<NewAttributes> = wanted.into_values().map(Shared::to_new).collect();
    Ok(bulk::number_attributes(tx, &list).await?.into_iter().collect())
}
