//! What an account spent: the figures behind the page "Usage & cost", its downloads and the API. One account is asked about,
//! always; whoever calls has the right to it.

mod cache;
pub(in crate::web) mod download;
pub(in crate::web) mod groups;
pub(in crate::web) mod period;
pub(in crate::web) mod records;
pub(in crate::web) mod sheet;
pub(in crate::web) mod shown;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use serde::Deserialize;

pub(in crate::web) use self::cache::Cache;
use self::{
    groups::{Cost, DayCharge, Groups, Key, Known, Sum},
    period::Span,
};
use super::{WebState, error::Failure, words};
use crate::{
    ids::PriceBookId,
    jobs::work::slug_of,
    money::Money,
    rating::{
        PriceBook,
        desk::{Desk, Error as DeskError},
        spending::{ThingCost, things_of_day},
    },
    store::{
        Tx,
        cloud::Account,
        rating::{self, ChargeDay},
        spending::{self as rows, CorrectionRow, Of},
    },
    time::Day,
    usage::types::UsageType,
};

/// Records that one page works through at most, to tell single things apart. Older days are told as one line then.
pub(in crate::web) const MAX_RECORDS: i64 = 100_000;
/// Corrections listed.
const MAX_CORRECTIONS: i64 = 200;
/// A correction that was booked in a time is looked for among days so long before it, at least.
const CORRECTED_BACK: std::time::Duration = std::time::Duration::from_hours(62 * 24);

/// What a page or a caller asks for, as it stands in the address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Ask {
    /// this-month, last-month, last-30-days, 2026-11, or dates.
    pub(in crate::web) period: String,
    /// First day, with `dates`.
    pub(in crate::web) from: String,
    /// Last day, with `dates`.
    pub(in crate::web) to: String,
    /// service, machine, tag, resource, project.
    pub(in crate::web) by: String,
    /// The key of the tag.
    pub(in crate::web) tag: String,
    /// Only things with that value of the tag; empty: only things without the tag.
    pub(in crate::web) value: Option<String>,
    /// Only one usage type, by its name in a price book.
    #[serde(rename = "type")]
    pub(in crate::web) kind: String,
    /// Only one machine, by CloudStack's id.
    pub(in crate::web) machine: String,
    /// Only one project, by CloudStack's id; "none": what is no project's.
    pub(in crate::web) project: String,
    /// The resource whose records are asked for, by what identifies it.
    pub(in crate::web) resource: String,
    /// Which page of a list.
    pub(in crate::web) page: String,
    /// The record behind which a page of records begins.
    pub(in crate::web) after: String,
    /// Which table of the page a file is of: lines (also where it is empty), days, months.
    pub(in crate::web) table: String,
}

/// How lines are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) enum By {
    /// A line for each usage type.
    Service,
    /// For each machine.
    Machine,
    /// For each value of a tag.
    Tag,
    /// For each resource.
    Resource,
    /// For each project.
    Project,
}

impl By {
    /// All, as they are offered.
    pub(in crate::web) const ALL: [Self; 5] = [Self::Service, Self::Machine, Self::Tag, Self::Resource, Self::Project];

    /// As it stands in an address.
    pub(in crate::web) const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Machine => "machine",
            Self::Tag => "tag",
            Self::Resource => "resource",
            Self::Project => "project",
        }
    }

    /// The one of that name; services for every other.
    pub(in crate::web) fn of(text: &str) -> Self {
        Self::ALL.into_iter().find(|by| by.as_str() == text).unwrap_or(Self::Service)
    }
}

/// A usage type in words that people know.
pub(in crate::web) fn service(usage_type: i64) -> String {
    let known = i32::try_from(usage_type).ok().and_then(UsageType::from_id);
    known.map_or_else(|| words::usage::unknown_service(usage_type), |kind| kind.words.to_owned())
}

/// The usage type of a name; None: there is no such type.
pub(in crate::web) fn type_of(slug: &str) -> Option<i64> {
    UsageType::from_slug(slug).map(|kind| i64::from(kind.id)).or_else(|| slug.parse().ok())
}

/// A line.
#[derive(Debug, Clone)]
pub(in crate::web) struct Line {
    /// What it stands for.
    pub(in crate::web) key: Key,
    /// What people call it.
    pub(in crate::web) name: String,
    /// CloudStack's id, or the slug of a service; empty for what is no single thing.
    pub(in crate::web) id: String,
    /// The usage type, where it is of one.
    pub(in crate::web) usage_type: Option<i64>,
    /// What it comes to.
    pub(in crate::web) sum: Sum,
}

/// The figures of a time.
#[derive(Debug, Clone)]
pub(in crate::web) struct Figures {
    /// How lines were made.
    pub(in crate::web) by: By,
    /// The lines, the dearest first.
    pub(in crate::web) lines: Vec<Line>,
    /// Their sum.
    pub(in crate::web) total: Sum,
    /// With tax, by day; of what was asked for.
    pub(in crate::web) days: Vec<(Day, Money)>,
    /// Days before it are not told by single things, since there are too many records.
    pub(in crate::web) told_since: Option<Day>,
    /// Days before it have no single records any more.
    pub(in crate::web) kept_since: Option<Day>,
    /// Keys of tags that things of the time have; told where tags were asked for.
    pub(in crate::web) tags: Vec<String>,
    /// Records without a price.
    pub(in crate::web) unpriced: i64,
}

/// What of each day is known, by day.
type Detail = HashMap<i64, Option<Arc<Vec<ThingCost>>>>;

/// Makes the books of charges known to a desk: parsed once, and kept.
pub(in crate::web) async fn keep_books(
    state: &WebState,
    tx: &mut Tx,
    desk: &Desk,
    charges: &[ChargeDay],
) -> Result<(), Failure> {
    let ids: BTreeSet<i64> = charges.iter().map(|charge| charge.book_id).collect();
    for id in ids.into_iter().map(PriceBookId::new) {
        book(state, tx, desk, id).await?;
    }
    Ok(())
}

async fn book(state: &WebState, tx: &mut Tx, desk: &Desk, id: PriceBookId) -> Result<Arc<PriceBook>, Failure> {
    if let Some(known) = state.desk.spending.book(id) {
        desk.keep_book(id, &known);
        return Ok(known);
    }
    let book = desk.book(tx, id).await?;
    state.desk.spending.keep_book(id, &book);
    Ok(book)
}

impl From<DeskError> for Failure {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Store(error) => error.into(),
            other => Self::unexpected(&other),
        }
    }
}

/// A desk for one account; None before anything was rated.
pub(in crate::web) async fn desk(state: &WebState, tx: &mut Tx, account: &Account) -> Result<Option<Desk>, Failure> {
    let Some(settings) = state.app.noted_rate_settings(tx).await? else { return Ok(None) };
    Ok(Some(Desk::open_for(tx, settings, account).await?))
}

/// The figures that were asked for.
pub(in crate::web) async fn figures(
    state: &WebState,
    tx: &mut Tx,
    account: &Account,
    ask: &Ask,
    span: Span,
) -> Result<Figures, Failure> {
    let tax = state.app.tax()?;
    let by = By::of(&ask.by);
    let kind = wanted_type(ask)?;
    let spent = rows::list_spent(tx, Of::Account(account.id), span.from, span.until).await?;
    let wanted: Vec<_> = spent.iter().filter(|row| kind.is_none_or(|kind| kind == row.usage_type)).collect();
    let charges = wanted.iter().map(|row| DayCharge::of(row, tax)).collect::<Result<Vec<_>, _>>()?;
    let filtered = !(ask.machine.is_empty() && ask.project.is_empty() && ask.value.is_none());
    let mut told = Told::default();
    if by == By::Service && !filtered {
        told.groups = groups::by_service(&charges)?;
    } else if let Some(desk) = desk(state, tx, account).await? {
        let mut teller = Teller { state, account, desk, names: HashMap::new(), tags: HashMap::new() };
        told = teller.tell(tx, ask, (by, filtered), span, &charges).await?;
    }
    let total = groups::total(&told.groups)?;
    let days = match &told.days {
        Some(sums) => days(span, sums),
        None => days(span, &by_day(&charges)?),
    };
    let lines = lines(tx, &told).await?;
    Ok(Figures {
        by,
        lines,
        total,
        days,
        told_since: told.apart_since,
        kept_since: told.kept_since,
        tags: told.tags,
        unpriced: wanted.iter().map(|row| row.unpriced.saturating_add(row.failed)).sum(),
    })
}

/// The one usage type that was asked for.
pub(in crate::web) fn wanted_type(ask: &Ask) -> Result<Option<i64>, Failure> {
    match ask.kind.as_str() {
        "" => Ok(None),
        slug => type_of(slug).map(Some).ok_or_else(|| Failure::missing(words::usage::NO_SUCH_SERVICE)),
    }
}

fn by_day(charges: &[DayCharge]) -> Result<HashMap<i64, Money>, Failure> {
    let mut sums: HashMap<i64, Money> = HashMap::new();
    for charge in charges {
        let sum = sums.entry(charge.day).or_default();
        *sum = sum.plus(charge.cost.gross()?)?;
    }
    Ok(sums)
}

/// Every day of a time with its sum.
fn days(span: Span, sums: &HashMap<i64, Money>) -> Vec<(Day, Money)> {
    let all = span.from.number()..span.until.number();
    all.map(|day| (Day::from_number(day), sums.get(&day).copied().unwrap_or_default())).collect()
}

#[derive(Default)]
struct Told {
    groups: Groups,
    names: HashMap<i64, (String, String)>,
    tags: Vec<String>,
    apart_since: Option<Day>,
    kept_since: Option<Day>,
    /// With tax, by day; None: as charged, since nothing is left out.
    days: Option<HashMap<i64, Money>>,
}

/// Tells single things apart.
struct Teller<'t> {
    state: &'t WebState,
    account: &'t Account,
    desk: Desk,
    /// Resources by number: CloudStack's id and name.
    names: HashMap<i64, (String, String)>,
    /// Tags by the number of the attributes.
    tags: HashMap<i64, Vec<(String, String)>>,
}

impl Teller<'_> {
    async fn tell(
        &mut self,
        tx: &mut Tx,
        ask: &Ask,
        (by, filtered): (By, bool),
        span: Span,
        charges: &[DayCharge],
    ) -> Result<Told, Failure> {
        let mut told = Told::default();
        let detail = self.detail(tx, span, &mut told).await?;
        let things: Vec<&ThingCost> = detail.values().flatten().flat_map(|things| things.iter()).collect();
        if matches!(by, By::Machine | By::Resource) || !ask.machine.is_empty() {
            self.read_names(tx, &things).await?;
        }
        if by == By::Tag || ask.value.is_some() {
            self.read_tags(tx, &things).await?;
        }
        let project = match ask.project.as_str() {
            "" => None,
            "none" => Some(None),
            cloud_id => Some(Some(self.find_project(tx, cloud_id, &things).await?)),
        };
        let keys: BTreeSet<&String> = self.tags.values().flatten().map(|(key, _)| key).collect();
        told.tags = keys.into_iter().cloned().collect();
        let tag = if ask.tag.is_empty() { told.tags.first().cloned() } else { Some(ask.tag.clone()) };
        let value_of = |thing: &ThingCost| -> Option<&String> {
            let tags = self.tags.get(&thing.attributes_id?)?;
            tags.iter().find(|(key, value)| Some(key) == tag.as_ref() && !value.is_empty()).map(|(_, value)| value)
        };
        let machine = |thing: &ThingCost| {
            self.names.get(&thing.resource_id).and_then(|(id, _)| groups::machine_of(thing.usage_type, id))
        };
        let fits = |thing: &ThingCost| {
            (ask.machine.is_empty() || machine(thing) == Some(ask.machine.as_str()))
                && project.is_none_or(|project| thing.project_id == project)
                && ask.value.as_ref().is_none_or(|value| {
                    let its = value_of(thing);
                    if value.is_empty() { its.is_none() } else { its == Some(value) }
                })
        };
        let key = |thing: &ThingCost| {
            fits(thing).then(|| match by {
                By::Service => Key::Service(thing.usage_type),
                By::Machine => machine(thing).map_or(Key::NoMachine, |id| Key::Machine(id.to_owned())),
                By::Tag => value_of(thing).map_or(Key::NoTag, |value| Key::Tag(value.clone())),
                By::Resource => Key::Resource(thing.resource_id, thing.usage_type),
                By::Project => thing.project_id.map_or(Key::NoProject, Key::Project),
            })
        };
        let known = |day: i64| match detail.get(&day) {
            Some(Some(things)) => Known::Things(things),
            Some(None) => Known::SummedUp,
            None => Known::TooMany,
        };
        told.groups = groups::by_things(charges, known, key, !filtered)?;
        if filtered {
            let mut days = HashMap::new();
            for of_day in charges.chunk_by(|a, b| a.day == b.day) {
                let Some(first) = of_day.first() else { continue };
                let sum = groups::total(&groups::by_things(of_day, known, key, false)?)?;
                days.insert(first.day, sum.cost.gross()?);
            }
            told.days = Some(days);
        }
        told.names = std::mem::take(&mut self.names);
        Ok(told)
    }

    /// What the things of each day cost; None for a day whose records are gone, nothing for a day that is left out.
    async fn detail(&self, tx: &mut Tx, span: Span, told: &mut Told) -> Result<Detail, Failure> {
        let account = self.account.id;
        let charges = rating::list_charges_between(tx, Some(account), span.from, span.until).await?;
        keep_books(self.state, tx, &self.desk, &charges).await?;
        let (mut detail, mut records) = (Detail::new(), 0_i64);
        // The newest days first: what is left out is what is oldest.
        for stored in charges.chunk_by(|a, b| a.day == b.day).rev() {
            let Some(first) = stored.first() else { continue };
            let day = Day::from_number(first.day);
            if self.desk.is_summed_up(account, day)? {
                told.kept_since.get_or_insert(day.next());
                detail.insert(first.day, None);
                continue;
            }
            records = records.saturating_add(stored.iter().map(|charge| charge.records).sum());
            if records > MAX_RECORDS {
                told.apart_since.get_or_insert(day.next());
                continue;
            }
            let things = if let Some(known) = self.state.desk.spending.day(account, first.day, stored) {
                known
            } else {
                let things = things_of_day(tx, &self.desk, (account, day), stored).await?;
                self.state.desk.spending.keep_day(account, first.day, stored, things)
            };
            detail.insert(first.day, Some(things));
        }
        Ok(detail)
    }

    async fn read_names(&mut self, tx: &mut Tx, things: &[&ThingCost]) -> Result<(), Failure> {
        let ids: BTreeSet<i64> = things.iter().map(|thing| thing.resource_id).collect();
        self.names = rows::list_names(tx, &ids.into_iter().collect::<Vec<_>>()).await?;
        Ok(())
    }

    async fn read_tags(&mut self, tx: &mut Tx, things: &[&ThingCost]) -> Result<(), Failure> {
        let attributes: BTreeSet<i64> = things.iter().filter_map(|thing| thing.attributes_id).collect();
        for id in attributes {
            let tags = rows::find_tags(tx, id).await?.and_then(|text| serde_json::from_str(&text).ok());
            self.tags.insert(id, tags.unwrap_or_default());
        }
        Ok(())
    }

    /// The number of a project among the things. Another one is none of this account's business.
    async fn find_project(&self, tx: &mut Tx, cloud_id: &str, things: &[&ThingCost]) -> Result<i64, Failure> {
        let ids: BTreeSet<i64> = things.iter().filter_map(|thing| thing.project_id).collect();
        for id in ids {
            if rows::find_project(tx, id).await?.is_some_and(|(its, _)| its == cloud_id) {
                return Ok(id);
            }
        }
        Err(Failure::missing(words::usage::NOTHING_OF_THAT))
    }
}

/// Lines with names, the dearest first.
async fn lines(tx: &mut Tx, told: &Told) -> Result<Vec<Line>, Failure> {
    let by_cloud_id: HashMap<&str, &str> = told.names.values().map(|(id, name)| (id.as_str(), name.as_str())).collect();
    let named = |name: &str, id: &str| if name.is_empty() { id.to_owned() } else { name.to_owned() };
    let mut lines = Vec::with_capacity(told.groups.len());
    for (key, sum) in &told.groups {
        let (name, id, usage_type) = match key {
            Key::Service(kind) => (service(*kind), slug_of(*kind), Some(*kind)),
            Key::Machine(id) => {
                let known = by_cloud_id.get(id.as_str()).map(|name| (*name).to_owned());
                let name = match known {
                    Some(name) => name,
                    None => rows::find_name(tx, id).await?.unwrap_or_default(),
                };
                (named(&name, id), id.clone(), None)
            }
            Key::NoMachine => (words::usage::NO_MACHINE.to_owned(), String::new(), None),
            Key::Tag(value) => (value.clone(), value.clone(), None),
            Key::NoTag => (words::usage::NO_TAG.to_owned(), String::new(), None),
            Key::Resource(number, kind) => {
                let (id, name) = told.names.get(number).cloned().unwrap_or_default();
                (named(&name, &id), id, Some(*kind))
            }
            Key::Project(number) => {
                let (id, name) = rows::find_project(tx, *number).await?.unwrap_or_default();
                (named(&name, &id), id, None)
            }
            Key::NoProject => (words::usage::NO_PROJECT.to_owned(), "none".to_owned(), None),
            Key::SummedUp(kind) => {
                let before = told.kept_since.map_or_else(String::new, |day| day.to_string());
                (words::usage::summed_up(&service(*kind), &before), String::new(), Some(*kind))
            }
            Key::TooMany => {
                let before = told.apart_since.map_or_else(String::new, |day| day.to_string());
                (words::usage::days_before(&before), String::new(), None)
            }
            Key::Other => (words::usage::OTHER.to_owned(), String::new(), None),
        };
        lines.push(Line { key: key.clone(), name, id, usage_type, sum: *sum });
    }
    let gross = |line: &Line| line.sum.cost.gross().unwrap_or_default();
    lines.sort_by(|a, b| gross(b).cmp(&gross(a)).then_with(|| a.key.cmp(&b.key)));
    Ok(lines)
}

/// With tax, what a payer or an account spent by day in a time, from sums that the store makes.
pub(in crate::web) async fn gross_by_day(
    state: &WebState,
    tx: &mut Tx,
    of: Of,
    span: Span,
) -> Result<HashMap<i64, Money>, Failure> {
    let tax = state.app.tax()?;
    let posted = rows::list_posted_by_day(tx, of, span.from, span.until).await?;
    let mut days: HashMap<i64, Money> =
        posted.into_iter().map(|(day, micros)| (day, Money::from_micros(micros))).collect();
    for row in rows::list_open(tx, of, span.from, span.until).await? {
        let charge = DayCharge::of(&row, tax)?;
        let sum = days.entry(charge.day).or_default();
        *sum = sum.plus(charge.cost.gross()?)?;
    }
    Ok(days)
}

/// A correction among the bookings.
#[derive(Debug, Clone)]
pub(in crate::web) struct Correction {
    /// The booking.
    pub(in crate::web) row: CorrectionRow,
    /// What it came to.
    pub(in crate::web) cost: Cost,
    /// Whether the day that it concerns is in the time that is shown, so that it is in its figures.
    pub(in crate::web) is_within: bool,
}

/// Corrections about days of a time, or booked in it.
pub(in crate::web) async fn corrections(
    state: &WebState,
    tx: &mut Tx,
    account: &Account,
    span: Span,
) -> Result<Vec<Correction>, Failure> {
    let zone = state.app.config.billing.zone;
    let (Some(since), Some(before)) = (span.from.start(zone), span.until.start(zone)) else { return Ok(Vec::new()) };
    let oldest = since.minus(state.app.lookback().max(CORRECTED_BACK));
    let of = rows::CorrectionsOf {
        account: account.id,
        payer: account.payer_id,
        days: (span.from, span.until),
        booked: (since, before),
        oldest,
    };
    let found = rows::list_corrections(tx, of, MAX_CORRECTIONS).await?;
    Ok(found
        .into_iter()
        .map(|row| {
            let cost = Cost { net: Money::from_micros(row.net_micros), tax: Money::from_micros(row.tax_micros) };
            let is_within = row.day >= span.from.number() && row.day < span.until.number();
            Correction { row, cost, is_within }
        })
        .collect())
}
