//! Credits & Promo codes: what was granted and is left of it, codes, offers, and what was redeemed.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use super::figures::{self, Figures};
use crate::{
    ledger::{
        post::Cause,
        promo::{self, Outcome},
        rules::codes::Worth,
    },
    money::{Currency, Money},
    rating::tax::TaxRate,
    store::{StoreError, cloud, grants, promo::Promo},
    time::Timestamp,
    usage::types::UsageType,
    web::{
        WebState,
        access::{Mistake, Tenant, TenantForm},
        error::Failure,
        limits::Limit,
        pages::{self, After, Frame, Page},
        rights::{Pay, Right, See},
        words::{self, credits as text},
    },
};

/// Grants and redemptions shown.
const SHOWN: i64 = 100;
/// Longest code that is looked at.
const MAX_CODE: usize = 60;

struct GrantView {
    reason: String,
    amount: String,
    left: String,
    from: String,
    ends: Option<String>,
    pays_for: &'static str,
    tag: &'static str,
    state: &'static str,
}

struct OfferView {
    code: String,
    gives: String,
    terms: Vec<String>,
}

struct RedeemedView {
    when: String,
    code: String,
    by: String,
    gave: String,
}

#[derive(Template)]
#[template(path = "credits.html")]
struct Credits {
    frame: Frame,
    figures: Figures,
    said: Option<&'static str>,
    may_redeem: bool,
    wrong: Option<Mistake>,
    typed: String,
    grants: Vec<GrantView>,
    offers: Vec<OfferView>,
    history: Vec<RedeemedView>,
}

/// The page.
pub(super) async fn page(
    State(state): State<WebState>,
    tenant: Tenant<See>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    pages::show(&view(&state, &tenant, &after.done, None, String::new()).await?)
}

async fn view<R: Right>(
    state: &WebState,
    tenant: &Tenant<R>,
    done: &str,
    wrong: Option<Mistake>,
    typed: String,
) -> Result<Credits, Failure> {
    let (app, account) = (&state.app, tenant.account());
    let (currency, zone, now) = (&app.config.billing.currency, app.config.billing.zone, app.clock.now());
    let mut tx = app.store.read().await?;
    let standing = figures::standing_of(&mut tx, app, account).await?;
    let grants = grants::list_grant_rows(&mut tx, Some(account.payer_id), true, SHOWN).await?;
    let offers = promo::list_offers(&mut tx, account, now).await.map_err(|error| Failure::unexpected(&error))?;
    let history =
        promo::list_redeemed(&mut tx, account.id, SHOWN).await.map_err(|error| Failure::unexpected(&error))?;
    tx.commit().await?;
    let at = |ms: i64| Timestamp::from_ms(ms).display_in(zone);
    Ok(Credits {
        frame: Frame::around(state, tenant, Page::Credits),
        figures: Figures::of(&standing, app),
        said: match done {
            "redeemed" => Some(text::DONE),
            "noted" => Some(text::DONE_WAITS),
            _ => None,
        },
        may_redeem: Pay::is_with(tenant.role()),
        wrong,
        typed,
        grants: grants
            .into_iter()
            .map(|grant| {
                let (tag, state) = text::state(grant.state(now));
                GrantView {
                    amount: currency.format(Money::from_micros(grant.amount_micros)),
                    left: currency.format(grant.left()),
                    from: at(grant.starts_ms),
                    ends: grant.ends_ms.map(at),
                    pays_for: grant
                        .scope_usage_type
                        .and_then(|id| i32::try_from(id).ok())
                        .and_then(UsageType::from_id)
                        .map_or(text::ANY_SERVICE, |known| known.words),
                    reason: grant.reason,
                    tag,
                    state,
                }
            })
            .collect(),
        offers: offers.iter().map(|offer| offer_view(offer, currency, zone)).collect(),
        history: history
            .into_iter()
            .map(|row| RedeemedView {
                when: at(row.redeemed_ms),
                code: row.code,
                by: row.author,
                gave: row
                    .amount_micros
                    .map_or_else(|| text::WAITS.to_owned(), |micros| currency.format(Money::from_micros(micros))),
            })
            .collect(),
    })
}

fn offer_view(offer: &Promo, currency: &Currency, zone: chrono_tz::Tz) -> OfferView {
    let least = offer.terms.min_payment;
    let payment = least.is_positive().then(|| currency.format(least));
    let gives = match (offer.terms.worth, &payment) {
        (Worth::Amount(amount), None) => text::gives(&currency.format(amount)),
        (Worth::Amount(amount), Some(payment)) => text::gives_with(&currency.format(amount), payment),
        (Worth::Percent { percent, most }, payment) => text::gives_share(
            &percent.normalize().to_string(),
            most.map(|most| currency.format(most)).as_deref(),
            payment.as_deref(),
        ),
    };
    let mut terms = Vec::new();
    terms.extend(offer.terms.valid_until.map(|until| text::until(&until.display_in(zone))));
    terms.extend(offer.grant_days.map(text::for_days));
    OfferView { code: offer.code.clone(), gives, terms }
}

/// Redeems a code. Sent twice, it is redeemed once.
pub(super) async fn redeem(
    State(state): State<WebState>,
    TenantForm { tenant, fields }: TenantForm<Pay>,
) -> Result<Response, Failure> {
    let app = &state.app;
    let account = tenant.account();
    let key = fields.key(&format!("redeem/{}", account.id))?;
    let typed: String = fields.get("code").chars().take(MAX_CODE).collect();
    let mistake = |what: &str| Mistake::new("code", what);
    let refused = if typed.is_empty() {
        mistake(text::CODE_WANTED)
    } else if !state.desk.limits.take(Limit::Codes, &account.id.to_string(), app.clock.now()) {
        mistake(text::SLOWLY)
    } else {
        let mut tx = app.store.begin().await?;
        let author = tenant.author();
        let cause = Cause { key: &key, author: &author, reason: "redeemed on the page" };
        let payer = cloud::get_payer(&mut tx, account.payer_id).await?;
        let tax = match &payer.tax_percent {
            Some(text) => TaxRate::parse(text).map_err(|error| Failure::unexpected(&error))?,
            None => app.tax()?,
        };
        match promo::redeem(&mut tx, account, &typed, cause, (app.default_limit(), tax), app.clock.now()).await {
            Ok(redeemed) => {
                tx.commit().await?;
                state.wake.notify_one();
                let word = match redeemed.outcome {
                    Outcome::Granted { .. } => "redeemed",
                    Outcome::Waiting { .. } => "noted",
                };
                return Ok(pages::done(&state, Page::Credits, word));
            }
            Err(promo::Error::Refused(refusal)) => mistake(&words::sentence(&refusal.to_string())),
            Err(promo::Error::Store(StoreError::Exists(_))) => mistake(words::FORM_USED),
            Err(promo::Error::Store(error)) => return Err(error.into()),
            Err(promo::Error::Ledger(error)) => return Err(error.into()),
            Err(error) => return Err(Failure::unexpected(&error)),
        }
    };
    pages::show_refused(&view(&state, &tenant, "", Some(refused), typed).await?)
}
