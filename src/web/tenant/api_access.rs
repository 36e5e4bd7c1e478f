//! Request API Access: asked for, answered, looked at once, rotated and ended.
//!
//! A GET never shows a secret. The look is a POST whose answer is the page itself: it can not be opened anew, and sent
//! again it says that the secret was shown before.

use askama::Template;
use axum::{
    Router,
    extract::{Path, Query, State},
    response::Response,
    routing::{get, post},
};
use serde::Deserialize;

use crate::web::{
    WebState,
    access::{Fields, Mistake, Tenant, TenantForm},
    error::Failure,
    keydesk::{KeyDeskError, KeyWish, Refusal},
    pages::{self, Frame, Page},
    rights::{Keys, Right, See},
    tenant::api_endings,
    words::{self, api_access as text},
};
use crate::{
    access::protected_reason,
    ids::KeyRequestId,
    jobs::{
        key_roles::{self, KeyRules},
        keys::settings,
    },
    policy::protection,
    store::{
        Tx,
        keys::{self, Ending},
        people::{self, KeyRequest},
    },
    time::Timestamp,
};

/// The routes below `base`.
pub(super) fn routes(base: &str) -> Router<WebState> {
    let below = |path: &str| format!("{base}{}{path}", Page::ApiAccess.path());
    Router::new()
        .route(&below(""), get(page).post(file))
        .route(&below("/{id}/secret"), post(secret))
        .route(&below("/{id}/rotate"), post(rotate))
        .route(&below("/{id}/revoke"), post(revoke))
}

/// Requests shown, newest first.
const SHOWN: i64 = 100;
/// Characters of a purpose.
const PURPOSE_CHARS: usize = 500;
/// What a form offers first.
const USUAL_DAYS: u32 = 90;

#[expect(clippy::struct_excessive_bools, reason = "what a page shows of a row, each on its own")]
struct Line {
    id: i64,
    purpose: String,
    state: &'static str,
    tone: &'static str,
    asked: String,
    asked_by: String,
    message: Option<String>,
    ends: Option<String>,
    key: Option<String>,
    looked_at: Option<String>,
    waits_until: Option<String>,
    replaces: Option<i64>,
    /// Whether it works, so that it can be rotated, and whether it can be ended or withdrawn.
    works: bool,
    can_end: bool,
    withdraw_hint: &'static str,
    /// Whether CloudStack does not follow an approval at once.
    delayed: bool,
    /// How and when it ended.
    ended: Option<String>,
    /// Whether this person may look at the secret.
    may_look: bool,
    is_request: bool,
    days: i64,
}

/// What was typed, and what is wrong with it.
struct Form {
    purpose: String,
    days: String,
    replaces: Option<i64>,
    mistake: Option<Mistake>,
}

impl Form {
    fn wrong(&self, field: &str) -> Option<&str> {
        self.mistake.as_ref().filter(|mistake| mistake.field == field).map(|mistake| mistake.text.as_str())
    }
}

#[derive(Template)]
#[template(path = "api_access.html")]
struct ApiAccess {
    frame: Frame,
    said: Option<&'static str>,
    /// What stood in the way of a form.
    refused: Option<String>,
    open: bool,
    may: bool,
    /// Why nobody can ask for a key in this account.
    never: Option<&'static str>,
    rules: &'static str,
    max_days: u32,
    form: Form,
    lines: Vec<Line>,
}

#[derive(Template)]
#[template(path = "api_secret.html")]
struct OneLook {
    frame: Frame,
    request: i64,
    api_key: String,
    secret_key: String,
    endpoint: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    done: String,
    replaces: Option<i64>,
}

fn said(word: &str) -> Option<&'static str> {
    match word {
        "filed" => Some(text::DONE_FILED),
        "rotated" => Some(text::DONE_ROTATED),
        "revoked" => Some(text::DONE_REVOKED),
        "withdrawn" => Some(text::DONE_WITHDRAWN),
        _ => None,
    }
}

/// The page.
pub(super) async fn page(
    State(state): State<WebState>,
    tenant: Tenant<See>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let mut tx = state.app.store.read().await?;
    let replaced = match asked.replaces {
        Some(id) => find(&mut tx, &tenant, id).await.ok().filter(works),
        None => None,
    };
    let form = Form {
        purpose: replaced.as_ref().map(|old| old.purpose.clone()).unwrap_or_default(),
        days: USUAL_DAYS.min(state.app.config.access.max_days).to_string(),
        replaces: replaced.map(|old| old.id.get()),
        mistake: None,
    };
    let page = view(&state, &mut tx, &tenant, form, said(&asked.done), None).await?;
    pages::show(&page)
}

async fn view<R: Right>(
    state: &WebState,
    tx: &mut Tx,
    tenant: &Tenant<R>,
    form: Form,
    said: Option<&'static str>,
    refused: Option<String>,
) -> Result<ApiAccess, Failure> {
    let requests = people::list_key_requests(tx, Some(tenant.account().id), None, SHOWN).await?;
    let rules = match key_roles::known(tx).await? {
        KeyRules::Closed => text::RULES_CLOSED,
        KeyRules::Open => text::RULES_OPEN,
        KeyRules::Unknown => text::RULES_UNKNOWN,
    };
    let endings = keys::list_endings(tx, tenant.account().id).await?;
    let ending_of = |request: &KeyRequest| endings.iter().rev().find(|ending| ending.request_id == request.id);
    Ok(ApiAccess {
        frame: Frame::around(state, tenant, Page::ApiAccess),
        said,
        refused,
        open: state.keys.is_open(),
        may: Keys::is_with(tenant.role()),
        never: never(state, tenant),
        rules,
        max_days: state.app.config.access.max_days,
        form,
        lines: requests.iter().map(|request| line(state, tenant, request, ending_of(request))).collect(),
    })
}

/// Why every request of this account would be refused, an administrator's own among them.
fn never<R: Right>(state: &WebState, tenant: &Tenant<R>) -> Option<&'static str> {
    let account = tenant.account();
    protected_reason(account, &settings(&state.app).protected)?;
    Some(match protection::by_type(Some(account.account_type), Some(&account.role_type)) {
        Some(_) => text::NOT_FOR_ADMINISTRATORS,
        None => text::NOT_FOR_THIS_ACCOUNT,
    })
}

fn works(request: &KeyRequest) -> bool {
    matches!(request.state.as_str(), "issued" | "shown")
}

/// A pair of a person's own user is that person's alone; one of a user made for it is any owner's.
fn may_look<R: Right>(tenant: &Tenant<R>, request: &KeyRequest) -> bool {
    let own =
        || tenant.user_of_account().is_some_and(|user| request.user_id.as_deref() == Some(user.to_string().as_str()));
    Keys::is_with(tenant.role()) && (request.kind != "person" || own())
}

fn line<R: Right>(state: &WebState, tenant: &Tenant<R>, request: &KeyRequest, ending: Option<&Ending>) -> Line {
    let config = &state.app.config;
    let at = |ms: i64| Timestamp::from_ms(ms).display_in(config.billing.zone);
    let now = state.app.clock.now();
    let look_until = request.issued_ms.map(|issued| Timestamp::from_ms(issued).plus(config.access.secret_shown));
    let known = api_endings::Known {
        request,
        ending,
        now,
        look_until,
        you: &tenant.author(),
        account: &tenant.account().full_name(),
    };
    // What has come to its time is told as ended, whether or not a pass has come by.
    let over = known.is_over();
    let waits_until = look_until.filter(|_| request.state == "issued" && request.secret_box.is_some() && !over);
    let works = works(request) && !over;
    let word = if over { "revoked" } else { known.word() };
    Line {
        id: request.id.get(),
        purpose: request.purpose.clone(),
        state: if word == api_endings::WITHDRAWN { text::WITHDRAWN } else { text::state(word) },
        tone: match word {
            "issued" | "shown" => "good",
            "requested" | "approved" => "waiting",
            "denied" | "failed" => "bad",
            _ => "",
        },
        asked: at(request.requested_ms),
        asked_by: request.requested_by.clone(),
        message: request.message.clone().filter(|message| !message.trim().is_empty() && word != "requested"),
        ends: request.expires_ms.map(at),
        key: request.api_key.as_deref().map(text::short_key),
        looked_at: request.shown_ms.map(at),
        waits_until: waits_until.map(|until| until.display_in(config.billing.zone)),
        replaces: request.replaces.map(KeyRequestId::get),
        works,
        can_end: works || matches!(request.state.as_str(), "requested" | "approved"),
        withdraw_hint: if request.state == "approved" { text::WITHDRAW_APPROVED_HINT } else { text::WITHDRAW_HINT },
        delayed: request.state == "approved" && request.last_error.is_some(),
        ended: known.sentence(config.billing.zone),
        may_look: may_look(tenant, request),
        is_request: matches!(request.state.as_str(), "requested" | "approved"),
        days: request.days,
    }
}

/// A request of the tenant's own account; another's is as if it were not there.
async fn find<R: Right>(tx: &mut Tx, tenant: &Tenant<R>, id: i64) -> Result<KeyRequest, Failure> {
    let missing = || Failure::missing(text::NO_SUCH_REQUEST);
    let request = people::get_key_request(tx, KeyRequestId::new(id)).await.map_err(|_| missing())?;
    if request.account_id == tenant.account().id { Ok(request) } else { Err(missing()) }
}

async fn find_own<R: Right>(state: &WebState, tenant: &Tenant<R>, id: i64) -> Result<KeyRequest, Failure> {
    let mut tx = state.app.store.read().await?;
    find(&mut tx, tenant, id).await
}

/// What stands in the way, said to whoever looks at the page.
fn refusal(why: Refusal) -> String {
    match why {
        Refusal::Value => text::VALUE_WRONG.to_owned(),
        Refusal::TooMany(most) => text::too_many(most),
        Refusal::Protected => text::NOT_FOR_THIS_ACCOUNT.to_owned(),
        Refusal::State => text::NOT_POSSIBLE_ANY_MORE.to_owned(),
        Refusal::ShownBefore => text::SHOWN_BEFORE.to_owned(),
        Refusal::Replaced => text::TAKEN_OVER_ALREADY.to_owned(),
        Refusal::Other => text::DID_NOT_WORK.to_owned(),
    }
}

/// The page again, with what stood in the way.
async fn again<R: Right>(
    state: &WebState,
    tenant: &Tenant<R>,
    form: Form,
    error: KeyDeskError,
) -> Result<Response, Failure> {
    let refused = match error {
        KeyDeskError::Refused(why, _) => refusal(why),
        KeyDeskError::Off => text::ACCESS_OFF.to_owned(),
        other => return Err(other.into()),
    };
    let mut tx = state.app.store.read().await?;
    let page = view(state, &mut tx, tenant, form, None, Some(refused)).await?;
    pages::show_refused(&page)
}

fn empty_form(state: &WebState) -> Form {
    let days = USUAL_DAYS.min(state.app.config.access.max_days).to_string();
    Form { purpose: String::new(), days, replaces: None, mistake: None }
}

fn read(fields: &Fields, most_days: u32) -> Result<(String, i64), Mistake> {
    let days_wrong = || Mistake::new("days", text::days_wrong(most_days));
    let purpose = purpose(fields)?;
    let days = fields.get("days").parse::<i64>().map_err(|_| days_wrong())?;
    if !(1..=i64::from(most_days)).contains(&days) {
        return Err(days_wrong());
    }
    Ok((purpose, days))
}

/// The purpose as one line: what was typed on several is folded.
fn purpose(fields: &Fields) -> Result<String, Mistake> {
    let purpose = fields.get("purpose").split_whitespace().collect::<Vec<_>>().join(" ");
    let wrong = if purpose.is_empty() {
        text::PURPOSE_MISSING.to_owned()
    } else if purpose.chars().count() > PURPOSE_CHARS {
        words::too_long(PURPOSE_CHARS)
    } else if purpose.chars().any(char::is_control) {
        words::NO_CONTROL_SIGNS.to_owned()
    } else {
        return Ok(purpose);
    };
    Err(Mistake::new("purpose", wrong))
}

/// A request is sent.
pub(super) async fn file(
    State(state): State<WebState>,
    TenantForm { tenant, fields }: TenantForm<Keys>,
) -> Result<Response, Failure> {
    let key = fields.key("key-request")?;
    let replaces = fields.get("replaces").parse::<i64>().ok();
    let form = |mistake| Form {
        purpose: fields.get("purpose").to_owned(),
        days: fields.get("days").to_owned(),
        replaces,
        mistake,
    };
    if let Some(old) = replaces {
        find_own(&state, &tenant, old).await?;
    }
    let (purpose, days) = match read(&fields, state.app.config.access.max_days) {
        Ok(read) => read,
        Err(mistake) => {
            let mut tx = state.app.store.read().await?;
            let page = view(&state, &mut tx, &tenant, form(Some(mistake)), None, None).await?;
            return pages::show_refused(&page);
        }
    };
    let wish = KeyWish {
        key,
        account: tenant.account().id,
        requested_by: tenant.author(),
        for_user: tenant.user_of_account().map(|user| user.to_string()),
        replaces: replaces.map(KeyRequestId::new),
        purpose,
        days,
    };
    match state.keys.file(wish).await {
        Ok(_) => {
            state.wake.notify_one();
            Ok(pages::done(&state, Page::ApiAccess, "filed"))
        }
        Err(error) => again(&state, &tenant, form(None), error).await,
    }
}

/// The one look.
pub(super) async fn secret(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    TenantForm { tenant, .. }: TenantForm<Keys>,
) -> Result<Response, Failure> {
    let request = find_own(&state, &tenant, id).await?;
    if !may_look(&tenant, &request) {
        return Err(Failure::forbidden(text::NOT_YOURS_TO_SEE));
    }
    if request.state == "shown" {
        let error = KeyDeskError::Refused(Refusal::ShownBefore, text::SHOWN_BEFORE.to_owned());
        return again(&state, &tenant, empty_form(&state), error).await;
    }
    match state.keys.show_secret(request.id, tenant.author()).await {
        Ok(pair) => pages::show(&OneLook {
            frame: Frame::around(&state, &tenant, Page::ApiAccess),
            request: id,
            api_key: pair.api_key,
            secret_key: pair.secret_key.expose().to_owned(),
            endpoint: endpoint(&state),
        }),
        Err(error) => again(&state, &tenant, empty_form(&state), error).await,
    }
}

/// Where programs reach CloudStack's API: at the host that people know, else where bursar itself does.
fn endpoint(state: &WebState) -> String {
    let config = &state.app.config;
    match (&config.web.public_url, &config.cloudstack.url) {
        (Some(url), _) => format!("{}/client/api", url.origin().ascii_serialization()),
        (None, Some(url)) => url.to_string(),
        (None, None) => String::new(),
    }
}

/// A second key that takes over.
pub(super) async fn rotate(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    TenantForm { tenant, fields }: TenantForm<Keys>,
) -> Result<Response, Failure> {
    let request = find_own(&state, &tenant, id).await?;
    let key = fields.key(&format!("key-rotate/{id}"))?;
    let user = tenant.user_of_account().map(|user| user.to_string());
    match state.keys.rotate(request.id, tenant.author(), key, user).await {
        Ok(_) => Ok(pages::done(&state, Page::ApiAccess, "rotated")),
        Err(error) => again(&state, &tenant, empty_form(&state), error).await,
    }
}

/// The end of a key, or of a request before there is one.
pub(super) async fn revoke(
    State(state): State<WebState>,
    Path(id): Path<i64>,
    TenantForm { tenant, .. }: TenantForm<Keys>,
) -> Result<Response, Failure> {
    let request = find_own(&state, &tenant, id).await?;
    let done = if request.issued_ms.is_some() { "revoked" } else { "withdrawn" };
    // Sent twice, it is ended once.
    if matches!(request.state.as_str(), "revoking" | "revoked") {
        return Ok(pages::done(&state, Page::ApiAccess, done));
    }
    let ended = if request.state == "requested" {
        state.keys.withdraw(request.id, tenant.author()).await
    } else {
        state.keys.revoke(request.id, tenant.author()).await
    };
    match ended {
        Ok(()) => Ok(pages::done(&state, Page::ApiAccess, done)),
        Err(error) => again(&state, &tenant, empty_form(&state), error).await,
    }
}
