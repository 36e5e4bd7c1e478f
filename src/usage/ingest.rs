//! One downloaded span becomes stored records, in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono_tz::Tz;

use super::{
    emission::{self, Judged},
    normalise,
    record::{Owner, Shared, Standing, Words},
};
use crate::{
    cloudstack::UsageRow,
    ids::{AccountId, RunId},
    store::{
        Store, StoreError, Tx,
        bulk::{self, NewAttributes, NewRecord},
        cloud::{self, SeenAccount},
        runs,
        usage::{self as rows, NewQuarantined},
    },
    time::{Day, Period, Timestamp},
};

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
    /// Raw rows put aside for a person.
    pub quarantined: u64,
}

/// Judges and stores a span.
pub async fn store_span(
    store: &Store,
    downloaded: Downloaded,
    spans: Spans,
    run: RunId,
    now: Timestamp,
) -> Result<Stored, StoreError> {
    let mut tx = store.begin().await?;
    let mut stored = Stored::default();
    let mut aside = Aside::default();
    let mut names: HashMap<Owner, SeenAccount> = HashMap::new();
    let mut records = Vec::with_capacity(downloaded.rows.len());
    let mut words = Words::default();
    for row in &downloaded.rows {
        match normalise::normalise(row, &mut words) {
            Ok(record) => {
                if let Owner::Account(id) = &record.owner
                    && !names.contains_key(&record.owner)
                {
                    names.insert(record.owner.clone(), seen_account(id, row));
                }
                records.push(record);
            }
            Err(reason) => aside.add(row, reason.to_string(), spans),
        }
    }
    drop(downloaded.rows);
    let mut owners = Owners::load(&mut tx).await?;
    let mut judged: Vec<Judged> = Vec::new();
    for row in emission::judge(records) {
        if spans.span.contains(row.record.window.start()) {
            judged.push(row);
        }
    }

    let known = rows::list_known(&mut tx, spans.span.start(), spans.span.end()).await?;
    let numbers = number_resources(&mut tx, &judged).await?;
    let attributes = number_attributes(&mut tx, &judged).await?;
    let mut fresh: Vec<NewRecord> = Vec::new();
    let mut dirty: BTreeSet<(AccountId, Day)> = BTreeSet::new();
    for row in &judged {
        stored.repeats += u64::from(row.seen.saturating_sub(1));
        let Some((account, project)) = owners.resolve(&mut tx, &row.record.owner, &names, now).await? else {
            aside.add_judged(row);
            continue;
        };
        let standing = row.standing.code();
        let (seen, touched) = match known.get(row.key.as_bytes()) {
            Some(known) if known.seen == i64::from(row.seen) && known.standing == standing => continue,
            Some(known) => {
                rows::change_record(&mut tx, row.key.as_bytes(), i64::from(row.seen), standing, run).await?;
                let turned = known.standing != standing;
                stored.changed_records += u64::from(turned);
                (AccountId::new(known.account_id), turned)
            }
            None => {
                stored.new_records += 1;
                fresh.push(NewRecord {
                    key: *row.key.as_bytes(),
                    account_id: account.get(),
                    project_id: project,
                    usage_type: i64::from(row.record.usage_type),
                    resource_id: numbers.get(row.record.resource.as_ref()).copied().unwrap_or_default(),
                    offering_id: row.record.offering.as_ref().and_then(|id| numbers.get(id.as_ref()).copied()),
                    start_ms: row.record.window.start().as_ms(),
                    end_ms: row.record.window.end().as_ms(),
                    quantity: row.record.quantity,
                    size_bytes: row.record.size_bytes,
                    seen: i64::from(row.seen),
                    standing,
                    attributes_id: row.record.attributes.as_ref().and_then(|set| attributes.get(&set.digest).copied()),
                    charged_quantity: None,
                    estimate: None,
                    item_id: None,
                });
                (account, row.standing == Standing::Current)
            }
        };
        if touched {
            for day in days_of(row.record.window, spans.zone) {
                dirty.insert((seen, day));
            }
        }
    }
    rows::insert_records(&mut tx, &fresh, run).await?;
    stored.quarantined = aside.store(&mut tx, downloaded.unreadable, spans, run, now).await?;
    for (account, day) in dirty {
        rows::mark_to_rate(&mut tx, account, day).await?;
    }
    for day in days_of(spans.span, Tz::UTC) {
        if let Some(period) = day.period(Tz::UTC) {
            rows::recount_day(&mut tx, day, period.start(), period.end(), now).await?;
        }
    }
    note_longest(&mut tx, &judged, now).await?;
    if spans.advance {
        let end = spans.span.end().as_ms().to_string();
        runs::put_setting(&mut tx, super::sync::settings::FETCHED_UNTIL, &end, now).await?;
    }
    tx.commit().await?;
    Ok(stored)
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
}

impl Owners {
    async fn load(tx: &mut Tx) -> Result<Self, StoreError> {
        let accounts = cloud::list_accounts(tx).await?.into_iter().map(|row| (row.cloud_id, row.id)).collect();
        let projects = cloud::list_projects(tx)
            .await?
            .into_iter()
            .map(|row| (row.cloud_id, (row.id, row.owner_account_id)))
            .collect();
        Ok(Self { accounts, projects })
    }

    /// The account that pays, and the project. An account that was deleted before bursar came is made known from its
    /// records (facts 3.1: usage of deleted accounts stays readable). None: a project whose owner nobody knows.
    async fn resolve(
        &mut self,
        tx: &mut Tx,
        owner: &Owner,
        names: &HashMap<Owner, SeenAccount>,
        now: Timestamp,
    ) -> Result<Option<(AccountId, Option<i64>)>, StoreError> {
        match owner {
            Owner::Project(id) => Ok(self
                .projects
                .get(id.as_ref())
                .and_then(|(number, account)| account.map(|account| (account, Some(*number))))),
            Owner::Account(id) => {
                if let Some(number) = self.accounts.get(id.as_ref()) {
                    return Ok(Some((*number, None)));
                }
                let Some(seen) = names.get(owner) else { return Ok(None) };
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

/// Numbers the distinct attributes of a span: few, whatever its length.
async fn number_attributes(tx: &mut Tx, judged: &[Judged]) -> Result<HashMap<[u8; 16], i64>, StoreError> {
    let mut wanted: BTreeMap<[u8; 16], &Shared> = BTreeMap::new();
    for shared in judged.iter().filter_map(|row| row.record.attributes.as_deref()) {
        wanted.entry(shared.digest).or_insert(shared);
    }
    let list: Vec<NewAttributes> = wanted
        .into_values()
        .map(|Shared { digest, attributes }| NewAttributes {
            digest: *digest,
            zone_id: attributes.zone_id.clone(),
            template_id: attributes.template_id.clone(),
            os_type_id: attributes.os_type_id.clone(),
            cpu_number: attributes.cpu_number,
            cpu_speed: attributes.cpu_speed,
            memory_mib: attributes.memory_mib,
            tags: (!attributes.tags.is_empty()).then(|| serde_json::json!(attributes.tags).to_string()),
        })
        .collect();
    Ok(bulk::number_attributes(tx, &list).await?.into_iter().collect())
}

/// Rows that wait for a person.
#[derive(Default)]
struct Aside {
    rows: HashMap<[u8; 16], NewQuarantined>,
}

impl Aside {
    fn add(&mut self, row: &UsageRow, reason: String, spans: Spans) {
        let start = row.start_date.as_deref().and_then(Timestamp::parse_cloudstack);
        if start.is_some_and(|start| !spans.span.contains(start)) {
            return;
        }
        let raw = serde_json::to_string(row).unwrap_or_default();
        let day = Day::of(start.unwrap_or(spans.span.start()), Tz::UTC).unwrap_or(Day::from_number(0));
        self.put(raw, reason, day, row.usage_type.map(i64::from), 1);
    }

    fn add_judged(&mut self, row: &Judged) {
        let record = &row.record;
        let raw = format!("{record:?}");
        let day = Day::of(record.window.start(), Tz::UTC).unwrap_or(Day::from_number(0));
        let reason = "it belongs to a project whose owner is not known: the project was deleted before bursar saw it";
        self.put(raw, reason.to_owned(), day, Some(i64::from(record.usage_type)), i64::from(row.seen));
    }

    fn put(&mut self, raw: String, reason: String, day: Day, usage_type: Option<i64>, seen: i64) {
        let hash = blake3::hash(raw.as_bytes());
        let mut key = [0_u8; 16];
        for (target, source) in key.iter_mut().zip(hash.as_bytes()) {
            *target = *source;
        }
        self.rows.entry(key).and_modify(|row| row.seen += seen).or_insert(NewQuarantined {
            key,
            account_id: None,
            usage_type,
            day,
            reason,
            raw,
            seen,
        });
    }

    async fn store(
        mut self,
        tx: &mut Tx,
        unreadable: u64,
        spans: Spans,
        run: RunId,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        if unreadable > 0 {
            let day = Day::of(spans.span.start(), Tz::UTC).unwrap_or(Day::from_number(0));
            let raw = format!("span {} to {}", spans.span.start(), spans.span.end());
            let reason = "CloudStack's answer held rows that are not JSON (facts 1.5: names with escaped characters)";
            self.put(raw, reason.to_owned(), day, None, i64::try_from(unreadable).unwrap_or(i64::MAX));
        }
        let mut count = 0;
        for row in self.rows.values() {
            count += u64::try_from(row.seen).unwrap_or(0);
            rows::quarantine(tx, row, run, now).await?;
        }
        Ok(count)
    }
}
