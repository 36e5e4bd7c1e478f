//! The records of one resource or of a service, a page at a time, each with the price line that priced it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Ask, desk, keep_books, period::Span, wanted_type};
use crate::{
    rating::{
        Part, PriceBook,
        spending::{Outcome, PricedRecord, records_of_day},
    },
    store::{
        Tx,
        cloud::Account,
        rating::{self, ChargeDay},
        spending::{self as rows, RecordsOf, SumRow, ThingRow},
    },
    time::{Day, Period, Timestamp},
    usage::record::RecordKey,
    web::{WebState, error::Failure, tariffs, words},
};

/// Records of a page.
pub(in crate::web) const PAGE: i64 = 100;
/// Records that a download reads at once; it goes on page by page, so that no transaction lasts as long as the download.
pub(in crate::web) const FILE: i64 = 500;
/// Records priced for one answer, where graduated prices make all records of a day count.
const MAX_PRICED: i64 = 200_000;

/// Of what records are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) enum Which {
    /// Of the one resource that was named.
    Resource,
    /// Of every resource of the account, of the usage type that was named.
    Every,
}

/// A piece of a record, or why it is not charged.
#[derive(Debug, Clone)]
pub(in crate::web) struct Piece {
    /// Its time.
    pub(in crate::web) period: Period,
    /// CloudStack's usage type.
    pub(in crate::web) usage_type: i64,
    /// Number of the resource.
    pub(in crate::web) resource: i64,
    /// What was used, as it is stored.
    pub(in crate::web) quantity: i64,
    /// Bytes held.
    pub(in crate::web) size_bytes: Option<i64>,
    /// Net, billionths; None: not charged.
    pub(in crate::web) net_nanos: Option<i64>,
    /// The price line in words, or why nothing is charged.
    pub(in crate::web) why: String,
}

/// A page of records.
#[derive(Debug, Clone, Default)]
pub(in crate::web) struct Page {
    /// What people call the resource; empty where they are of several.
    pub(in crate::web) name: String,
    /// What identifies it.
    pub(in crate::web) id: String,
    /// Where they are of several resources: CloudStack's id and name by number.
    pub(in crate::web) names: HashMap<i64, (String, String)>,
    /// The pieces in order of time.
    pub(in crate::web) pieces: Vec<Piece>,
    /// Where the next page begins.
    pub(in crate::web) next: Option<String>,
    /// What is kept of days whose records are gone; on the first page only.
    pub(in crate::web) sums: Vec<SumRow>,
    /// Days before it have no single records any more.
    pub(in crate::web) kept_since: Option<Day>,
}

/// Where a page begins, as it stands in an address: the start and the key of the record before.
fn cursor(text: &str) -> Result<(i64, Vec<u8>), Failure> {
    if text.is_empty() {
        return Ok((i64::MIN, Vec::new()));
    }
    let parsed = text.split_once('-').and_then(|(start, key)| {
        let bytes: Option<Vec<u8>> = (key.len() == 32)
            .then(|| (0..16).map(|place| u8::from_str_radix(key.get(place * 2..place * 2 + 2)?, 16).ok()).collect())
            .flatten();
        Some((start.parse().ok()?, bytes?))
    });
    parsed.ok_or_else(|| Failure::bad(words::NOT_LIKE_THIS))
}

fn cursor_of(row: &ThingRow) -> String {
    let key = <[u8; 16]>::try_from(row.key.as_slice()).map(|key| RecordKey::from_bytes(key).to_hex());
    format!("{}-{}", row.start_ms, key.unwrap_or_default())
}

impl Page {
    /// What identifies a resource of the page, and what people call it.
    pub(in crate::web) fn resource(&self, number: i64) -> (&str, &str) {
        match self.names.get(&number) {
            Some((id, name)) if name.is_empty() => (id.as_str(), id.as_str()),
            Some((id, name)) => (id.as_str(), name.as_str()),
            None => (self.id.as_str(), self.name.as_str()),
        }
    }
}

/// Records of a resource in a time, `limit` at most. A resource without any in that time is not found, whoever has it.
pub(in crate::web) async fn page(
    state: &WebState,
    tx: &mut Tx,
    account: &Account,
    ask: &Ask,
    span: Span,
    limit: i64,
) -> Result<Page, Failure> {
    let page = part(state, tx, account, ask, span, (Which::Resource, limit)).await?;
    if page.pieces.is_empty() && page.sums.is_empty() {
        return Err(Failure::missing(words::usage::NOTHING_OF_THAT));
    }
    Ok(page)
}

/// Records in a time, `limit` at most, which may be none.
pub(in crate::web) async fn part(
    state: &WebState,
    tx: &mut Tx,
    account: &Account,
    ask: &Ask,
    span: Span,
    (which, limit): (Which, i64),
) -> Result<Page, Failure> {
    let missing = || Failure::missing(words::usage::NOTHING_OF_THAT);
    if which == Which::Every {
        let mut page = collect(state, tx, account, ask, span, (None, limit)).await?;
        let numbers: BTreeSet<i64> = page.pieces.iter().map(|piece| piece.resource).collect();
        page.names = rows::list_names(tx, &numbers.into_iter().collect::<Vec<_>>()).await?;
        return Ok(page);
    }
    // What is wrong with the question is told before what it is about.
    wanted_type(ask)?;
    cursor(&ask.after)?;
    let resource = rows::find_resource(tx, &ask.resource).await?.ok_or_else(missing)?;
    let mut page = collect(state, tx, account, ask, span, (Some(resource), limit)).await?;
    page.name = rows::find_name(tx, &ask.resource).await?.unwrap_or_else(|| ask.resource.clone());
    page.id.clone_from(&ask.resource);
    Ok(page)
}

async fn collect(
    state: &WebState,
    tx: &mut Tx,
    account: &Account,
    ask: &Ask,
    span: Span,
    (resource, limit): (Option<i64>, i64),
) -> Result<Page, Failure> {
    let usage_type = wanted_type(ask)?;
    let after = cursor(&ask.after)?;
    let Some(desk) = desk(state, tx, account).await? else { return Ok(Page::default()) };
    let zone = desk.settings().zone;
    let bounds = span.from.start(zone).zip(span.until.start(zone)).and_then(|(from, until)| Period::new(from, until));
    let Some(period) = bounds else { return Ok(Page::default()) };
    let charges = rating::list_charges_between(tx, Some(account.id), span.from, span.until).await?;
    keep_books(state, tx, &desk, &charges).await?;
    let of = RecordsOf {
        account: account.id,
        resource,
        usage_type,
        period,
        reach_ms: desk.reach_ms(),
        after: (after.0, &after.1),
    };
    let mut records = rows::list_records_of(tx, of, limit + 1).await?;
    let is_more = i64::try_from(records.len()).unwrap_or(i64::MAX) > limit;
    if is_more {
        records.pop();
    }
    let next = if is_more { records.last().map(cursor_of) } else { None };
    let mut page = Page { next, ..Page::default() };
    let mut by_day: BTreeMap<i64, Vec<ChargeDay>> = BTreeMap::new();
    for charge in charges {
        by_day.entry(charge.day).or_default().push(charge);
    }
    let mut names = Names::default();
    let mut budget = MAX_PRICED;
    for number in span.from.number()..span.until.number() {
        let day = Day::from_number(number);
        let stored = by_day.get(&number).map_or(&[][..], Vec::as_slice);
        if desk.is_summed_up(account.id, day)? {
            page.kept_since = Some(day.next());
            continue;
        }
        let whole = desk.period(day)?;
        let touches = |row: &&ThingRow| row.start_ms < whole.end().as_ms() && row.end_ms > whole.start().as_ms();
        if records.iter().all(|row| !touches(&row)) {
            continue;
        }
        if stored.is_empty() {
            let own = records.iter().filter(touches);
            page.pieces.extend(own.filter_map(|row| plain(row, whole, words::usage::NOT_RATED_YET)));
            continue;
        }
        budget = budget.saturating_sub(stored.iter().map(|charge| charge.records).sum());
        let (book, priced) = records_of_day(tx, &desk, (account.id, day), stored, &records).await?;
        if budget < 0 && book.as_ref().is_some_and(|book| book.has_tiers()) {
            return Err(Failure::bad(words::usage::TOO_MUCH_AT_ONCE));
        }
        let Some(book) = book else { continue };
        for record in &priced {
            names.read(tx, &book, record).await?;
            page.pieces.extend(pieces(state, &book, record, whole, &names));
        }
    }
    if let Some(kept_since) = page.kept_since.filter(|_| ask.after.is_empty()) {
        page.sums = rows::list_sums_of(tx, account.id, resource, usage_type, (span.from, kept_since)).await?;
    }
    page.pieces.sort_by_key(|piece| (piece.period.start(), piece.usage_type, piece.period.end()));
    Ok(page)
}

/// Names of what price lines are narrowed to.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    async fn read(&mut self, tx: &mut Tx, book: &PriceBook, record: &PricedRecord) -> Result<(), Failure> {
        let Outcome::Charged(charge) = &record.outcome else { return Ok(()) };
        for part in charge.parts() {
            let Some(tariff) = book.tariff(part.tariff) else { continue };
            tariffs::read_names(tx, tariff.narrowing(), &mut self.0).await?;
        }
        Ok(())
    }
}

/// A record of which nothing is charged, as far as it falls on a day.
fn plain(row: &ThingRow, day: Period, why: &str) -> Option<Piece> {
    let whole = Period::new(Timestamp::from_ms(row.start_ms), Timestamp::from_ms(row.end_ms))?;
    // Told once, on the day on which it begins.
    day.contains(whole.start()).then(|| Piece {
        period: whole,
        usage_type: row.usage_type,
        resource: row.resource_id,
        quantity: row.quantity,
        size_bytes: row.size_bytes,
        net_nanos: None,
        why: why.to_owned(),
    })
}

fn pieces(state: &WebState, book: &PriceBook, record: &PricedRecord, day: Period, names: &Names) -> Vec<Piece> {
    let row = &record.row;
    let why = match &record.outcome {
        Outcome::Charged(charge) => {
            let of = |period, quantity, net_nanos, why| Piece {
                period,
                usage_type: row.usage_type,
                resource: row.resource_id,
                quantity,
                size_bytes: row.size_bytes,
                net_nanos,
                why,
            };
            let price = |part: &Part| tariffs::line_of(&state.app.config.billing.currency, book, part, &names.0);
            let parts = charge.parts().iter().filter(|part| part.day == record.day);
            let unpriced = charge.unpriced().iter().filter(|piece| piece.day == record.day);
            return parts
                .map(|part| of(part.period, part.quantity, Some(part.amount_nanos), price(part)))
                .chain(
                    unpriced
                        .map(|piece| of(piece.period, piece.quantity, None, words::usage::WITHOUT_PRICE.to_owned())),
                )
                .collect();
        }
        Outcome::Free => words::usage::FREE,
        Outcome::Unpriced => words::usage::WITHOUT_PRICE,
        Outcome::Failed => words::usage::NOT_PRICED,
        Outcome::NotBilled => words::usage::NOT_BILLED,
    };
    plain(row, day, why).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_behind_the_record_that_its_address_names() {
        let row = ThingRow {
            key: (0..16).collect(),
            usage_type: 1,
            resource_id: 1,
            project_id: None,
            offering_id: None,
            attributes_id: None,
            start_ms: 1_793_491_200_000,
            end_ms: 1_793_494_800_000,
            quantity: 1,
            size_bytes: None,
        };
        let text = cursor_of(&row);
        assert_eq!(text, "1793491200000-000102030405060708090a0b0c0d0e0f");
        assert_eq!(cursor(&text).unwrap(), (row.start_ms, row.key));
        assert_eq!(cursor("").unwrap(), (i64::MIN, Vec::new()));
        for bad in ["1", "x-00", "1-zz0102030405060708090a0b0c0d0e0f", "1-é0102030405060708090a0b0c0d0e0"] {
            assert!(cursor(bad).is_err(), "{bad}");
        }
    }
}
