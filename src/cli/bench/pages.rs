//! `pages`: tenants open their overview over HTTP, fifty a second, in a cloud with 13 months of charges.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{Router, http::HeaderMap};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    figure::{Aim, Figure},
    place::{Place, hour},
    rating,
    rows::{self, DAY_HOURS},
    standing,
};
use crate::{
    cloudstack::{ClientSettings, session::SessionClient},
    lifecycle::Readiness,
    web::{self, WebState, keydesk::ClosedDesk},
};

/// Pages opened.
pub(super) const PAGES: u64 = 500;
/// 13 months.
pub(super) const DAYS: u64 = 395;
/// Between two pages: fifty a second.
const EVERY: Duration = Duration::from_millis(20);
/// People who open them in turn: one alone would be told to slow down.
const PEOPLE: u64 = 50;
/// Of a hundred pages all but one are as fast as this.
const AIM: Duration = Duration::from_millis(50);

pub(super) async fn pages(place: &Place, pages: u64, accounts: u64, days: u64) -> anyhow::Result<Vec<Figure>> {
    standing::make(place, accounts, days).await?;
    place.clock.set(hour(standing::DAYS * DAY_HOURS));
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    let cloud = serve(Router::new().fallback(who_am_i), &stop).await?;
    let sessions = SessionClient::new(&ClientSettings::new(format!("{cloud}/client/api").parse()?))?;
    let state = WebState::new(
        place.app.clone(),
        Readiness::new(&[], &[]),
        sessions,
        Arc::new(Notify::new()),
        Arc::new(ClosedDesk),
    );
    let url = format!("{}{}/", serve(web::router(state), &stop).await?, place.app.config.web.base_path);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let people = PEOPLE.min(accounts);
    let mut cookies = Vec::new();
    for person in 0..people {
        cookies.push(sign_in(&client, &url, person).await?);
    }

    let mut opened = JoinSet::new();
    let mut ticks = tokio::time::interval(EVERY);
    for page in 0..pages {
        ticks.tick().await;
        let cookie = cookies.get(usize::try_from(page % people)?).context("no person")?.clone();
        let (client, url, begun) = (client.clone(), url.clone(), Instant::now());
        opened.spawn(async move {
            let answer = client.get(url).header("cookie", cookie).header("sec-fetch-mode", "navigate").send().await?;
            let text = answer.error_for_status()?.text().await?;
            anyhow::ensure!(text.contains("Total Credit Limit"), "this is not the overview");
            anyhow::Ok(begun.elapsed())
        });
    }
    let mut took = Vec::new();
    while let Some(done) = opened.join_next().await {
        took.push(done??);
    }
    took.sort_unstable();
    let at = took.len().saturating_mul(99).div_ceil(100).saturating_sub(1);
    let slowest = took.get(at).copied().context("no page was opened")?;
    Ok(vec![Figure::new(
        "pages",
        place.database(),
        (1, "page of a hundred, the slowest but one"),
        slowest,
        Aim::Within(AIM),
    )])
}

async fn serve(router: Router, stop: &CancellationToken) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let stop = stop.clone().cancelled_owned();
    tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stop).await });
    Ok(format!("http://{address}"))
}

/// CloudStack as far as bursar asks it: whose session that is. The session's name is the account's number.
async fn who_am_i(headers: HeaderMap) -> axum::Json<Value> {
    let line = headers.get("cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let session = line.split("; ").find_map(|pair| pair.strip_prefix("JSESSIONID=")).unwrap_or_default();
    let seen = rating::seen_account(session.parse().unwrap_or_default());
    axum::Json(json!({ "listusersresponse": { "count": 1, "user": [{
        "id": rows::person_id(session.parse().unwrap_or_default()), "username": seen.name, "state": "enabled",
        "account": seen.name, "accounttype": 0, "roletype": "User", "accountid": seen.cloud_id,
        "domainid": seen.domain_id, "domain": "ROOT", "usersource": "native",
    }] } }))
}

/// A person's cookies from then on.
async fn sign_in(client: &reqwest::Client, url: &str, person: u64) -> anyhow::Result<String> {
    let session = format!("JSESSIONID={person}; sessionkey=key");
    let request = client.get(url).header("cookie", &session).header("sec-fetch-mode", "navigate");
    let answer = request.send().await?.error_for_status()?;
    let own = answer.headers().get("set-cookie").and_then(|value| value.to_str().ok()).context("no cookie was set")?;
    Ok(format!("{session}; {}", own.split(';').next().unwrap_or_default()))
}
