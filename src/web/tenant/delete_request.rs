//! Account Delete Request: what would go, what is open, the request, and the way back.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use super::{
    figures,
    own::{failed, own, to_the_end},
    second_factor,
};
use crate::{
    ids::AccountId,
    jobs::mail,
    notify,
    people::{
        leaving::{self, Step},
        own::Source,
        second_factor as factor,
    },
    secrets::Secret,
    store::{
        Tx, cloud,
        leaving::{self as rows, DeleteRequest},
        live, people, usage,
    },
    time::{Day, Timestamp},
    web::{
        WebState,
        access::{Fields, Mistake, Tenant, TenantForm},
        error::Failure,
        pages::{self, After, Frame, Page},
        rights::{Leave, Right, See},
        words::{self, delete_request as text},
    },
};

/// Things of one kind named on the page.
const NAMED: usize = 20;
/// Longest reason.
const MAX_REASON: usize = 500;
/// Requests for keys looked through.
const KEYS_READ: i64 = 200;
/// CloudStack's usage types of snapshots, and of templates and ISO images.
const SNAPSHOTS: [i64; 1] = [9];
const TEMPLATES: [i64; 2] = [7, 8];
const DAY_SECONDS: u64 = 86_400;
/// Usage that is so much older than the newest of the cloud is of things that are gone.
const STALE: Duration = Duration::from_hours(48);

/// Things of one kind.
struct Things {
    title: &'static str,
    count: usize,
    names: Vec<String>,
    more: Option<String>,
}

impl Things {
    fn of(title: &'static str, mut names: Vec<String>) -> Self {
        let count = names.len();
        names.sort();
        names.truncate(NAMED);
        Self { title, count, more: (count > names.len()).then(|| text::more(count - names.len())), names }
    }
}

/// What the form asks for as the second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Factor {
    /// Nothing: the person has none here.
    Nothing,
    /// Password and code.
    Both,
    /// A code alone, in the session that the person is in.
    Code,
    /// It can not be told: password and code, if there is one.
    Unknown,
}

impl Factor {
    const fn is_asked(self) -> bool {
        !matches!(self, Self::Nothing)
    }

    const fn wants_password(self) -> bool {
        matches!(self, Self::Both | Self::Unknown)
    }

    const fn is_known(self) -> bool {
        !matches!(self, Self::Unknown)
    }

    const fn title(self) -> &'static str {
        if self.is_known() { text::FACTOR_ON } else { text::FACTOR }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Code => text::FACTOR_ON_SSO,
            Self::Both => text::FACTOR_ON_WHAT,
            Self::Nothing | Self::Unknown => text::FACTOR_WHAT,
        }
    }
}

/// How many there are that only usage tells of, and when.
struct Counted {
    snapshots: i64,
    templates: i64,
    of: String,
}

struct RequestView {
    by: String,
    on: String,
    due: String,
    is_due: bool,
    state: &'static str,
    ended_by: Option<String>,
    message: Option<String>,
}

#[derive(Template)]
#[template(path = "delete_request.html")]
struct DeletePage {
    frame: Frame,
    account: String,
    name: String,
    said: Option<&'static str>,
    may_ask: bool,
    waiting: Option<RequestView>,
    last: Option<RequestView>,
    inventory: Vec<Things>,
    read_at: Option<String>,
    counted: Option<Counted>,
    balance: String,
    owed: bool,
    left: bool,
    /// How long one waits.
    wait: String,
    factor: Factor,
    reason: String,
    wrong: Option<Mistake>,
}

impl DeletePage {
    fn wrong(&self, field: &str) -> Option<&str> {
        self.wrong.as_ref().filter(|wrong| wrong.field == field).map(|wrong| wrong.text.as_str())
    }
}

/// The page.
pub(super) async fn page(
    State(state): State<WebState>,
    tenant: Tenant<See>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let said = match after.done.as_str() {
        "asked" => Some(text::DONE_ASKED),
        "back" => Some(text::DONE_BACK),
        "nothing" => Some(text::DONE_NOTHING),
        _ => None,
    };
    pages::show(&view(&state, &tenant, said, String::new(), None).await?)
}

async fn view<R: Right>(
    state: &WebState,
    tenant: &Tenant<R>,
    said: Option<&'static str>,
    reason: String,
    wrong: Option<Mistake>,
) -> Result<DeletePage, Failure> {
    let (app, account) = (&state.app, tenant.account());
    let (zone, now) = (app.config.billing.zone, app.clock.now());
    let mut tx = app.store.read().await?;
    let standing = figures::standing_of(&mut tx, app, account).await?;
    let (inventory, read_at) = inventory(&mut tx, account.id).await?;
    let counted = usage::count_in_newest_window(&mut tx, account.id, STALE).await?;
    let newest = rows::find_newest(&mut tx, account.id).await?;
    tx.commit().await?;
    let open = standing.figures.money.minus(standing.figures.accrued)?;
    let shown = |request: DeleteRequest| RequestView {
        by: request.requested_by,
        on: request.requested_ms.display_in(zone),
        due: request.due_ms.display_in(zone),
        is_due: request.due_ms <= now,
        state: text::state(&request.state),
        ended_by: request.ended_by,
        message: request.message,
    };
    let (waiting, last) = match newest {
        Some(request) if request.state == "waiting" => (Some(shown(request)), None),
        other => (None, other.map(shown)),
    };
    let may_ask = Leave::is_with(tenant.role());
    let factor = if may_ask && waiting.is_none() { factor_of(state, tenant).await } else { Factor::Nothing };
    let wait = app.config.web.delete_wait;
    Ok(DeletePage {
        frame: Frame::around(state, tenant, Page::DeleteRequest),
        account: account.full_name(),
        name: account.name.clone(),
        said,
        may_ask,
        waiting,
        last,
        inventory,
        read_at: read_at.map(|at| at.display_in(zone)),
        balance: app.config.billing.currency.format(open),
        owed: open.is_negative(),
        left: open.is_positive(),
        counted: counted.map(|(at, counts)| Counted::of(at, &counts, zone)),
        wait: text::waiting_time(
            wait.as_secs() / DAY_SECONDS,
            &now.plus(wait).display_in(zone),
            notify::can_confirm(&mail::settings(app)),
        ),
        factor,
        reason,
        wrong,
    })
}

/// What the form has to ask for. Read in CloudStack's own session, where there is one; what is asked for does not rest on it
/// ([`proven`]).
async fn factor_of<R: Right>(state: &WebState, tenant: &Tenant<R>) -> Factor {
    if tenant.proof().forwarded().is_none() {
        return Factor::Nothing;
    }
    let Ok(own) = own(state, tenant) else { return Factor::Unknown };
    match own.read().await {
        Ok(user) if user.is_2fa_enabled != Some(true) => Factor::Nothing,
        Ok(user) if Source::of(&user) == Source::SingleSignOn => Factor::Code,
        Ok(_) => Factor::Both,
        Err(error) => {
            tracing::debug!(%error, "whether a person has a second factor can not be read");
            Factor::Unknown
        }
    }
}

impl Counted {
    fn of(at: Timestamp, counts: &HashMap<i64, i64>, zone: chrono_tz::Tz) -> Self {
        let sum = |types: &[i64]| types.iter().filter_map(|usage_type| counts.get(usage_type)).sum();
        let day = Day::of(at, zone).and_then(Day::date).map_or_else(|| at.display_in(zone), |date| date.to_string());
        Self { snapshots: sum(&SNAPSHOTS), templates: sum(&TEMPLATES), of: text::counted_on(&day) }
    }
}

/// What is known to be in the account, and when CloudStack's lists were last read to their end.
async fn inventory(tx: &mut Tx, account: AccountId) -> Result<(Vec<Things>, Option<Timestamp>), Failure> {
    let spans = live::list_spans(tx, Some(account), true).await?;
    // A machine that runs is in the list twice: as allocated and as running.
    let of = |usage_types: &[i32]| -> Vec<String> {
        let things: BTreeMap<&str, &str> = spans
            .iter()
            .map(|(_, span)| &span.thing)
            .filter(|thing| usage_types.contains(&thing.usage_type))
            .map(|thing| {
                let id = thing.cloud_id.as_str();
                (id, if thing.name.is_empty() { id } else { thing.name.as_str() })
            })
            .collect();
        things.into_values().map(str::to_owned).collect()
    };
    // One list that was never read to its end makes the whole inventory older.
    let lists = live::list_lists(tx).await?;
    let read_at = lists.iter().map(|list| list.complete_ms).min().flatten();
    let mut things = vec![
        Things::of(text::MACHINES, of(&[1, 2])),
        Things::of(text::VOLUMES, of(&[6])),
        Things::of(text::ADDRESSES, of(&[3])),
    ];
    let projects =
        cloud::list_projects(tx).await?.into_iter().filter(|project| project.owner_account_id == Some(account));
    things.push(Things::of(text::PROJECTS, projects.map(|project| project.name).collect()));
    let users = cloud::list_users(tx, Some(account)).await?;
    things.push(Things::of(text::USERS, users.into_iter().map(|user| user.username).collect()));
    let keys = people::list_key_requests(tx, Some(account), None, KEYS_READ).await?;
    let working = keys.into_iter().filter(|key| matches!(key.state.as_str(), "issued" | "shown"));
    things.push(Things::of(text::KEYS, working.map(|key| key.purpose).collect()));
    Ok((things, read_at))
}

/// Asks for the deletion. Sent twice, it is asked once.
pub(super) async fn ask(
    State(state): State<WebState>,
    TenantForm { tenant, fields }: TenantForm<Leave>,
) -> Result<Response, Failure> {
    let (app, account) = (&state.app, tenant.account());
    let key = fields.key(&format!("delete/{}", account.id))?;
    let reason = match checked(&fields, &account.name) {
        Ok(reason) => reason,
        Err(mistake) => {
            let typed = fields.get("reason").chars().take(MAX_REASON).collect();
            return pages::show_refused(&view(&state, &tenant, None, typed, Some(mistake)).await?);
        }
    };
    if let Some(mistake) = proven(&state, &tenant, &fields).await? {
        return pages::show_refused(&view(&state, &tenant, None, reason, Some(mistake)).await?);
    }
    let author = tenant.author();
    let mut tx = app.store.begin().await?;
    let step = Step { author: &author, now: app.clock.now(), zone: app.config.billing.zone };
    leaving::ask(&mut tx, &key, account, &reason, app.config.web.delete_wait, step).await?;
    tx.commit().await?;
    Ok(pages::done(&state, Page::DeleteRequest, "asked"))
}

/// Asks for the second factor where the person has one. None: proven, or there is none.
async fn proven(state: &WebState, tenant: &Tenant<Leave>, fields: &Fields) -> Result<Option<Mistake>, Failure> {
    // Who signed in at an issuer gave the second factor there, if there is one.
    if tenant.proof().forwarded().is_none() {
        return Ok(None);
    }
    let own = own(state, tenant)?;
    let user = match own.read().await {
        Ok(user) => user,
        Err(error) => return Err(failed(state, error)),
    };
    if user.is_2fa_enabled != Some(true) {
        return Ok(None);
    }
    let code: String = fields.get("code").split_whitespace().collect();
    if code.is_empty() {
        let alone = Source::of(&user) == Source::SingleSignOn;
        return Ok(Some(Mistake::new("code", if alone { text::CODE_WANTED_ALONE } else { text::CODE_WANTED })));
    }
    let (password, code) = (Secret::new(fields.exact("password")), Secret::new(code));
    match to_the_end(async move { factor::prove(&own, &password, &code).await }).await? {
        Ok(_) => Ok(None),
        Err(error) => Ok(Some(Mistake::new("code", second_factor::problem(state, error)?))),
    }
}

fn checked(fields: &Fields, name: &str) -> Result<String, Mistake> {
    let reason = fields.needed("reason", MAX_REASON, words::REASON_WANTED)?;
    if fields.get("name") != name {
        return Err(Mistake::new("name", text::NAME_WRONG));
    }
    if !fields.is_on("understood") {
        return Err(Mistake::new("understood", text::UNDERSTOOD_WANTED));
    }
    Ok(reason)
}

/// Takes the request back.
pub(super) async fn take_back(
    State(state): State<WebState>,
    TenantForm { tenant, .. }: TenantForm<Leave>,
) -> Result<Response, Failure> {
    let app = &state.app;
    let author = tenant.author();
    let mut tx = app.store.begin().await?;
    let step = Step { author: &author, now: app.clock.now(), zone: app.config.billing.zone };
    let done = leaving::take_back(&mut tx, tenant.account(), step).await?;
    tx.commit().await?;
    Ok(pages::done(&state, Page::DeleteRequest, if done { "back" } else { "nothing" }))
}
