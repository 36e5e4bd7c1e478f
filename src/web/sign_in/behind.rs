//! What a suspended account was charged for: the records behind the sums of its page, as a page and as a file. They are of the
//! account of the session and of the days that the sums are of; no address says otherwise.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;

use crate::{
    store::Tx,
    time::Day,
    web::{
        WebState,
        access::Suspended,
        error::Failure,
        pages::{self, Frame},
        session::SUSPENDED,
        spending::{
            self, Ask, Figures, download,
            period::{self, Span},
            records::{self, PAGE, Which},
            shown::{self, RecordLine, SumLine},
        },
        words,
    },
};

/// The page of records, below [`SUSPENDED`].
pub(super) const RECORDS: &str = "/records";
/// The days that the sums are of.
const PERIOD: &str = "last-30-days";

/// What an address may ask for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// Only one usage type, by its name in a price book.
    #[serde(rename = "type")]
    kind: String,
    /// The record behind which a page begins.
    after: String,
}

impl Wanted {
    fn ask(&self) -> Ask {
        let (kind, after) = (self.kind.clone(), self.after.clone());
        Ask { period: PERIOD.to_owned(), kind, after, ..Ask::default() }
    }
}

#[derive(Template)]
#[template(path = "suspended_records.html")]
struct RecordsPage {
    frame: Frame,
    account: String,
    what: String,
    span: String,
    net: String,
    tax: String,
    gross: String,
    currency: String,
    records: Vec<RecordLine>,
    sums: Vec<SumLine>,
    kept_note: Option<String>,
    back: &'static str,
    here: String,
    query: String,
    first: bool,
    next: Option<String>,
}

/// The days that the sums and the records are of.
fn span(state: &WebState) -> Result<Span, Failure> {
    let now = state.app.clock.now();
    let today = Day::of(now, state.app.config.billing.zone);
    let today = today.ok_or_else(|| Failure::unexpected(&format!("the clock says {now}, which is in no calendar")))?;
    let ask = Ask { period: PERIOD.to_owned(), ..Ask::default() };
    period::choose(&ask, today).map_err(|mistake| Failure::unexpected(&mistake.text))
}

/// What the account was charged by service, and by day.
pub(super) async fn figures(state: &WebState, tx: &mut Tx, who: &Suspended) -> Result<Figures, Failure> {
    spending::figures(state, tx, who.account(), &Wanted::default().ask(), span(state)?).await
}

/// Where the records of a service are, below the base path; without a name those of every service.
pub(super) fn path(kind: &str) -> String {
    format!("{SUSPENDED}{RECORDS}{}", query(&[("type", kind)]))
}

fn query(pairs: &[(&str, &str)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    let text = text.finish();
    if text.is_empty() { text } else { format!("?{text}") }
}

/// The records, a page of them.
pub(super) async fn page(
    State(state): State<WebState>,
    who: Suspended,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failure> {
    let billing = &state.app.config.billing;
    let (ask, span) = (wanted.ask(), span(&state)?);
    let mut tx = state.app.store.read().await?;
    let sum = Ask { after: String::new(), ..ask.clone() };
    let figures = spending::figures(&state, &mut tx, who.account(), &sum, span).await?;
    let found = records::part(&state, &mut tx, who.account(), &ask, span, (Which::Every, PAGE)).await?;
    tx.commit().await?;
    let cost = figures.total.cost;
    pages::show(&RecordsPage {
        frame: Frame { csrf: who.csrf().to_owned(), ..Frame::bare(&state) },
        account: who.account().full_name(),
        what: spending::type_of(&wanted.kind)
            .map_or_else(|| words::sign_in::EVERY_SERVICE.to_owned(), spending::service),
        span: format!("{} {} {}", span.from, words::usage::TO_DAY, span.last()),
        net: billing.currency.format(cost.net),
        tax: billing.currency.format(cost.tax),
        gross: billing.currency.format(cost.gross()?),
        currency: billing.currency.code().to_owned(),
        records: shown::records(&found, billing.zone),
        sums: shown::sums(&found),
        kept_note: found.kept_since.map(|day| words::usage::kept_since(&day.to_string())),
        back: SUSPENDED,
        here: format!("{SUSPENDED}{RECORDS}"),
        query: query(&[("type", &wanted.kind)]),
        first: wanted.after.is_empty(),
        next: found.next.as_ref().map(|after| query(&[("type", &wanted.kind), ("after", after)])),
    })
}

/// All of them as a file.
pub(super) async fn file(
    State(state): State<WebState>,
    who: Suspended,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failure> {
    let ask = Wanted { after: String::new(), ..wanted }.ask();
    download::records(&state, who.account(), ask, span(&state)?, Which::Every).await
}
