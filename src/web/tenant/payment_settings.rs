//! Payment settings: the gateway that a payer chose, and one that is proposed. Payments themselves are taken elsewhere.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use crate::{
    jobs::app::App,
    store::{
        Tx,
        gateways::{self, Gateway, NewGateway},
        notify,
        runs::{self, AuditLine},
    },
    web::{
        WebState,
        access::{Fields, Mistake, Tenant, TenantForm},
        error::Failure,
        pages::{self, After, Frame, Page},
        rights::{Pay, Right, See},
        words::{self, payment_settings as text},
    },
};

/// Gateways and proposals shown.
const SHOWN: i64 = 100;
/// Proposals of one payer that wait at a time.
const MAX_PROPOSED: i64 = 5;
/// Longest name, country and address.
const MAX_LINE: usize = 200;
/// Longest description.
const MAX_DETAILS: usize = 1_000;

struct Choice {
    id: i64,
    name: String,
    country: String,
    chosen: bool,
}

struct Proposal {
    name: String,
    country: String,
    when: String,
    tag: &'static str,
    state: &'static str,
    message: String,
}

#[derive(Template)]
#[template(path = "payment_settings.html")]
struct PaymentSettings {
    frame: Frame,
    said: Option<&'static str>,
    may_change: bool,
    choices: Vec<Choice>,
    by_bank: bool,
    retired: Option<String>,
    bank: Vec<String>,
    proposals: Vec<Proposal>,
    typed: Fields,
    wrong: Option<Mistake>,
}

impl PaymentSettings {
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
        "saved" => Some(text::SAVED),
        "proposed" => Some(text::PROPOSED),
        _ => None,
    };
    pages::show(&view(&state, &tenant, said, Fields::default(), None).await?)
}

async fn view<R: Right>(
    state: &WebState,
    tenant: &Tenant<R>,
    said: Option<&'static str>,
    typed: Fields,
    wrong: Option<Mistake>,
) -> Result<PaymentSettings, Failure> {
    let (app, payer) = (&state.app, tenant.account().payer_id);
    let mut tx = app.store.read().await?;
    let chosen = gateways::find_choice(&mut tx, payer).await?;
    let retired = gateways::find_retired_choice(&mut tx, payer).await?;
    let all = gateways::list_of_payer(&mut tx, payer, SHOWN).await?;
    tx.commit().await?;
    let (approved, proposals): (Vec<Gateway>, Vec<Gateway>) = {
        let approved = all.iter().filter(|gateway| gateway.state == "approved").cloned().collect();
        (approved, all.into_iter().filter(|gateway| gateway.account_id == Some(tenant.account().id)).collect())
    };
    Ok(PaymentSettings {
        frame: Frame::around(state, tenant, Page::PaymentSettings),
        said,
        may_change: Pay::is_with(tenant.role()),
        choices: approved
            .into_iter()
            .map(|gateway| Choice {
                chosen: chosen == Some(gateway.id),
                id: gateway.id,
                name: gateway.name,
                country: gateway.country,
            })
            .collect(),
        by_bank: chosen.is_none(),
        retired: retired.map(|name| text::retired(&name)),
        bank: how_to_pay(app),
        proposals: proposals
            .into_iter()
            .map(|gateway| {
                let (tag, state) = text::state(&gateway.state);
                Proposal {
                    when: gateway.proposed_ms.display_in(app.config.billing.zone),
                    message: gateway.message.unwrap_or_default(),
                    name: gateway.name,
                    country: gateway.country,
                    tag,
                    state,
                }
            })
            .collect(),
        typed,
        wrong,
    })
}

/// How money is paid in, as the operator wrote it.
fn how_to_pay(app: &App) -> Vec<String> {
    app.config.billing.how_to_pay.clone()
}

/// Chooses a gateway, or bank transfer.
pub(super) async fn choose(
    State(state): State<WebState>,
    TenantForm { tenant, fields }: TenantForm<Pay>,
) -> Result<Response, Failure> {
    let (app, payer) = (&state.app, tenant.account().payer_id);
    let wanted = match fields.get("gateway") {
        "" | "bank" => None,
        text => Some(text.parse::<i64>().map_err(|_| Failure::bad(text::NOT_THERE))?),
    };
    let mut tx = app.store.begin().await?;
    let before = gateways::find_choice(&mut tx, payer).await?;
    if let Some(id) = wanted {
        let gateway = gateways::find(&mut tx, id).await?;
        let theirs =
            gateway.filter(|gateway| gateway.state == "approved" && gateway.payer_id.is_none_or(|of| of == payer));
        if theirs.is_none() {
            let wrong = Mistake::new("gateway", text::NOT_THERE);
            drop(tx);
            return pages::show_refused(&view(&state, &tenant, None, Fields::default(), Some(wrong)).await?);
        }
    }
    // Whoever had chosen one that was retired answers that by choosing anew, also by bank transfer.
    if wanted != before || gateways::find_retired_choice(&mut tx, payer).await?.is_some() {
        let author = tenant.author();
        gateways::choose(&mut tx, payer, wanted, &author, app.clock.now()).await?;
        let word = |id: Option<i64>| id.map_or_else(|| "bank transfer".to_owned(), |id| format!("gateway {id}"));
        audit(&mut tx, app, &tenant, "gateway.choose", (Some(word(before)), Some(word(wanted)))).await?;
    }
    tx.commit().await?;
    Ok(pages::done(&state, Page::PaymentSettings, "saved"))
}

/// Proposes a gateway. Sent twice, it is one proposal.
pub(super) async fn propose(
    State(state): State<WebState>,
    TenantForm { tenant, fields }: TenantForm<Pay>,
) -> Result<Response, Failure> {
    let (app, account) = (&state.app, tenant.account());
    let key = fields.key(&format!("gateway/{}", account.id))?;
    let mistake = match checked(&fields) {
        Err(mistake) => mistake,
        Ok((name, country, website, details)) => {
            let author = tenant.author();
            let mut tx = app.store.begin().await?;
            if gateways::count_proposed(&mut tx, account.payer_id).await? >= MAX_PROPOSED {
                Mistake::new("name", text::TOO_MANY)
            } else {
                let new = NewGateway {
                    key: &key,
                    name: &name,
                    country: &country,
                    website: &website,
                    details: &details,
                    payer: account.payer_id,
                    account: account.id,
                    author: &author,
                };
                let now = app.clock.now();
                if gateways::propose(&mut tx, &new, now).await? {
                    audit(&mut tx, app, &tenant, "gateway.propose", (None, Some(format!("{name}, {country}")))).await?;
                    let subject = format!("{} proposes the payment gateway {name}", account.full_name());
                    let body = format!("{name} ({country}, {website}): {details}. It waits on the page Queue.");
                    notify::insert_admin_notice(&mut tx, &format!("gateway/{key}"), "gateway", &subject, &body, now)
                        .await?;
                }
                tx.commit().await?;
                return Ok(pages::done(&state, Page::PaymentSettings, "proposed"));
            }
        }
    };
    pages::show_refused(&view(&state, &tenant, None, fields, Some(mistake)).await?)
}

fn checked(fields: &Fields) -> Result<(String, String, String, String), Mistake> {
    let name = fields.needed("name", MAX_LINE, text::NAME_WANTED)?;
    let country = fields.needed("country", MAX_LINE, text::COUNTRY_WANTED)?;
    let website = fields.needed("website", MAX_LINE, text::WEBSITE_WRONG)?;
    let is_web = url::Url::parse(&website)
        .is_ok_and(|url| url.scheme() == "https" && url.host().is_some() && url.username().is_empty());
    if !is_web {
        return Err(Mistake::new("website", text::WEBSITE_WRONG));
    }
    let details = fields.get("details").replace(['\r', '\n', '\t'], " ");
    if details.is_empty() {
        return Err(Mistake::new("details", text::DETAILS_WANTED));
    }
    if details.chars().count() > MAX_DETAILS {
        return Err(Mistake::new("details", words::too_long(MAX_DETAILS)));
    }
    Ok((name, country, website, details))
}

async fn audit<R: Right>(
    tx: &mut Tx,
    app: &App,
    tenant: &Tenant<R>,
    action: &str,
    (before, after): (Option<String>, Option<String>),
) -> Result<(), Failure> {
    let line = AuditLine {
        at_ms: app.clock.now().as_ms(),
        actor: tenant.author(),
        action: action.to_owned(),
        subject: format!("payer {}", tenant.account().payer_id),
        before_state: before,
        after_state: after,
        ..AuditLine::default()
    };
    Ok(runs::write_audit(tx, &line).await?)
}
