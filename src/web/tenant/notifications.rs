//! Notification Settings: what one person wants to hear of by mail.

use std::collections::BTreeSet;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use super::figures;
use crate::{
    email::EmailAddress,
    ids::CloudId,
    policy::{Rung, Topic, Wishes},
    store::{
        cloud, notice_wishes, notify,
        runs::{self, AuditLine},
    },
    web::{
        WebState,
        access::{Mistake, Tenant, TenantForm},
        error::Failure,
        pages::{self, After, Frame, Page},
        rights::{Own, Right},
        session::Kind,
        words::{self, notifications as text},
    },
};

/// Own thresholds of one person at most.
const MAX_THRESHOLDS: usize = 10;
/// Longest text of thresholds.
const MAX_TEXT: usize = 60;
/// The languages there are.
const LANGUAGES: [(&str, &str); 1] = [("en", text::ENGLISH)];

struct Choice {
    word: &'static str,
    name: &'static str,
    what: &'static str,
    wanted: bool,
}

#[derive(Template)]
#[template(path = "notifications.html")]
struct Notifications {
    frame: Frame,
    said: Option<&'static str>,
    address: Option<String>,
    armed: bool,
    choices: Vec<Choice>,
    percent: String,
    usual: String,
    languages: Vec<(&'static str, &'static str, bool)>,
    wrong: Option<Mistake>,
}

/// The page.
pub(super) async fn page(
    State(state): State<WebState>,
    tenant: Tenant<Own>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let user = who(&tenant)?;
    let mut tx = state.app.store.read().await?;
    let wishes = notice_wishes::list_wishes(&mut tx, tenant.home().id).await?.remove(&user.to_string());
    tx.commit().await?;
    let wishes = wishes.unwrap_or_default();
    let percent = join(&wishes.percent);
    pages::show(&view(&state, &tenant, user, &wishes, percent, None, after.done == "saved").await?)
}

fn join(percent: &BTreeSet<u32>) -> String {
    percent.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// Notices go to a person, so it must be known which one it is.
fn who<R: Right>(tenant: &Tenant<R>) -> Result<CloudId, Failure> {
    let why = match tenant.proof().kind() {
        Kind::CloudStack => words::WHO_OF_THEM,
        Kind::OpenId | Kind::Link => words::notifications::NO_USER,
    };
    tenant.user().ok_or_else(|| Failure::forbidden(why))
}

async fn view<R: Right>(
    state: &WebState,
    tenant: &Tenant<R>,
    user: CloudId,
    wishes: &Wishes,
    percent: String,
    wrong: Option<Mistake>,
    saved: bool,
) -> Result<Notifications, Failure> {
    let (app, account) = (&state.app, tenant.home());
    let mut tx = app.store.read().await?;
    let payer = cloud::get_payer(&mut tx, account.payer_id).await?;
    let policy = figures::policy_of(&mut tx, app, &payer).await?;
    let arming = crate::enforcement::arming(&mut tx).await?;
    let language = notice_wishes::find_language(&mut tx, account.id, user).await?;
    let address = notify::list_people(&mut tx, account.id)
        .await?
        .into_iter()
        .find(|person| person.cloud_id == user.to_string())
        .and_then(|person| EmailAddress::parse(&person.email).ok())
        .filter(EmailAddress::looks_deliverable)
        .map(|address| address.as_str().to_owned());
    tx.commit().await?;
    Ok(Notifications {
        frame: Frame::around(state, tenant, Page::Notifications),
        said: saved.then_some(text::SAVED),
        address,
        armed: arming.is_armed(Rung::Notify, &account.domain_path),
        choices: Topic::ALL
            .map(|topic| Choice {
                word: topic.word(),
                name: text::topic(topic),
                what: text::topic_what(topic),
                wanted: wishes.wants_topic(topic),
            })
            .into(),
        percent,
        usual: policy.notify_percent.iter().map(|percent| format!("{percent} %")).collect::<Vec<_>>().join(", "),
        languages: LANGUAGES.map(|(tag, name)| (tag, name, language.as_deref().unwrap_or("en") == tag)).into(),
        wrong,
    })
}

/// Keeps what was chosen.
pub(super) async fn save(
    State(state): State<WebState>,
    TenantForm { tenant, fields }: TenantForm<Own>,
) -> Result<Response, Failure> {
    let user = who(&tenant)?;
    let topics = Topic::ALL.map(|topic| (topic, fields.is_on(topic.word()))).into();
    let language = fields.get("language");
    let language = LANGUAGES.iter().map(|(tag, _)| *tag).find(|tag| *tag == language).unwrap_or("en");
    let typed: String = fields.get("percent").chars().take(MAX_TEXT).collect();
    let Some(percent) = thresholds(&typed) else {
        let wishes = Wishes { topics, percent: BTreeSet::new() };
        let wrong = Some(Mistake::new("percent", text::BAD_PERCENT));
        return pages::show_refused(&view(&state, &tenant, user, &wishes, typed, wrong, false).await?);
    };
    let wishes = Wishes { topics, percent };
    let now = state.app.clock.now();
    let mut tx = state.app.store.begin().await?;
    let before = notice_wishes::list_wishes(&mut tx, tenant.home().id).await?.remove(&user.to_string());
    notice_wishes::put_wishes(&mut tx, tenant.home().id, user, &wishes, language, now).await?;
    if before.as_ref() != Some(&wishes) {
        let line = AuditLine {
            at_ms: now.as_ms(),
            actor: tenant.author(),
            action: "notices.choose".to_owned(),
            subject: tenant.home().full_name(),
            before_state: before.as_ref().map(told),
            after_state: Some(told(&wishes)),
            ..AuditLine::default()
        };
        runs::write_audit(&mut tx, &line).await?;
    }
    tx.commit().await?;
    Ok(pages::done(&state, Page::Notifications, "saved"))
}

/// What somebody chose, for the audit trail.
fn told(wishes: &Wishes) -> String {
    let mut parts: Vec<String> = Topic::ALL
        .iter()
        .map(|topic| format!("{} {}", topic.word(), if wishes.wants_topic(*topic) { "on" } else { "off" }))
        .collect();
    if !wishes.percent.is_empty() {
        parts.push(format!("at {} %", join(&wishes.percent)));
    }
    parts.join(", ")
}

/// Percentages with commas or blanks between; None: none that can be.
fn thresholds(text: &str) -> Option<BTreeSet<u32>> {
    let mut percent = BTreeSet::new();
    for part in text.split([',', ';', ' ', '%']).filter(|part| !part.is_empty()) {
        percent.insert(part.parse::<u32>().ok().filter(|percent| (1..=100).contains(percent))?);
    }
    (percent.len() <= MAX_THRESHOLDS).then_some(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_as_people_write_them() {
        assert_eq!(thresholds("60, 75,95"), Some([60, 75, 95].into()));
        assert_eq!(thresholds(" 60 % ; 60 %"), Some([60].into()));
        assert_eq!(thresholds(""), Some(BTreeSet::new()));
        for wrong in ["0", "101", "-5", "7.5", "viel", "1,2,3,4,5,6,7,8,9,10,11"] {
            assert_eq!(thresholds(wrong), None, "{wrong}");
        }
    }
}
