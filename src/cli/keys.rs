//! Requests for API access and key pairs.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::bail;
use serde_json::{Value, json};

use super::{Context, approver, args::KeyCommand, author, output, self_service};
use crate::{
    access::{self, Adoption, Approved, Consent, NewRequest, Rotated, state::STATES},
    enforcement::marker,
    ids::KeyRequestId,
    jobs::{App, Role, key_roles, keys},
    store::{
        Tx, cloud, keys as rows,
        people::{self, KeyRequest},
    },
    time::Timestamp,
};

/// Requests listed.
const LISTED: i64 = 500;

/// `bursar key …`
pub async fn key(context: &Context, command: KeyCommand) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    match command {
        KeyCommand::Request { account, purpose, days, replaces } => {
            request(context, &app, &account, (purpose, days, replaces)).await?;
        }
        KeyCommand::List { account, state } => list(context, &app, account.as_deref(), state.as_deref()).await?,
        KeyCommand::Details { id } => details(context, &app, KeyRequestId::new(id)).await?,
        KeyCommand::Approve { id, days, purpose, message } => {
            approve(context, &app, KeyRequestId::new(id), Consent { message, days, purpose }).await?;
        }
        KeyCommand::Deny { id, message } => {
            let id = KeyRequestId::new(id);
            let mut tx = app.store.begin().await?;
            access::deny(&mut tx, id, &author(), Some(&message), &keys::settings(&app), app.clock.now()).await?;
            tx.commit().await?;
            report(context, &app, id, "denied").await?;
        }
        KeyCommand::Show { id } => show(context, &app, KeyRequestId::new(id)).await?,
        KeyCommand::Rotate { id } => rotate(context, &app, KeyRequestId::new(id)).await?,
        KeyCommand::Revoke { id } => {
            let id = KeyRequestId::new(id);
            let mut tx = app.store.begin().await?;
            access::revoke(&mut tx, id, &author(), &keys::settings(&app), app.clock.now()).await?;
            tx.commit().await?;
            keys::carry_out(&app).await?;
            report(context, &app, id, "ended; the key does not work any more").await?;
        }
        KeyCommand::Adopt { account, user, days, purpose } => {
            adopt(context, &app, &account, (user, days, purpose)).await?;
        }
        KeyCommand::SelfService { command } => self_service::run(context, &app, command).await?,
        KeyCommand::Rules => rules(context, &app).await?,
        KeyCommand::Check => check(context, &app).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn request(
    context: &Context,
    app: &App,
    account: &str,
    (purpose, days, replaces): (String, u32, Option<i64>),
) -> anyhow::Result<()> {
    let mut tx = app.store.begin().await?;
    let found = cloud::resolve_account(&mut tx, account).await?;
    let request = NewRequest {
        key: app.random.uuid().to_string(),
        account: found.id,
        requested_by: author(),
        for_user: None,
        replaces: replaces.map(KeyRequestId::new),
        purpose,
        days,
    };
    let id = access::file(&mut tx, &keys::settings(app), request, app.clock.now()).await?;
    tx.commit().await?;
    context.show(&json!({ "id": id }), |_| {
        format!("Request {id} is filed; `bursar key approve {id}` or `bursar key deny {id}` answers it.")
    })
}

async fn told(tx: &mut Tx, row: &KeyRequest) -> anyhow::Result<Value> {
    let account = cloud::get_account(tx, row.account_id).await?;
    let at = |ms: Option<i64>| ms.map(Timestamp::from_ms);
    Ok(json!({
        "id": row.id, "account": account.full_name(), "state": row.state, "purpose": row.purpose, "days": row.days,
        "user": row.username, "expires": at(row.expires_ms), "last_error": row.last_error, "message": row.message,
        "requested_by": row.requested_by, "decided_by": row.decided_by, "kind": row.kind, "replaces": row.replaces,
        "api_key": row.api_key, "secret_waits": row.secret_box.is_some(), "looked_at": at(row.shown_ms),
        "issued": at(row.issued_ms), "revoked": at(row.revoked_ms), "changed_by_hand": row.watched,
    }))
}

async fn list(context: &Context, app: &App, account: Option<&str>, state: Option<&str>) -> anyhow::Result<()> {
    if let Some(word) = state.filter(|word| STATES.iter().all(|state| state.as_str() != *word)) {
        let words: Vec<&str> = STATES.iter().map(|state| state.as_str()).collect();
        bail!("\"{word}\" is no state; there are {}", words.join(", "));
    }
    let mut tx = app.store.begin().await?;
    let account = match account {
        Some(word) => Some(cloud::resolve_account(&mut tx, word).await?.id),
        None => None,
    };
    let requests = people::list_key_requests(&mut tx, account, state, LISTED).await?;
    let mut lines = Vec::new();
    let mut values = Vec::new();
    for row in &requests {
        let value = told(&mut tx, row).await?;
        let until = row.expires_ms.map(Timestamp::from_ms);
        let odd = row.last_error.clone().or_else(|| row.watched.clone()).unwrap_or_default();
        lines.push([
            row.id.to_string(),
            value.get("account").and_then(Value::as_str).unwrap_or_default().to_owned(),
            row.state.clone(),
            row.purpose.clone(),
            row.days.to_string(),
            until.map_or_else(String::new, |until| until.display_in(app.config.billing.zone)),
            odd,
        ]);
        values.push(value);
    }
    context.show(&values, |_| {
        output::table(["id", "account", "state", "purpose", "days", "until", "what went wrong"], lines)
    })
}

async fn details(context: &Context, app: &App, id: KeyRequestId) -> anyhow::Result<()> {
    let mut tx = app.store.begin().await?;
    let row = people::get_key_request(&mut tx, id).await?;
    let approvals = rows::list_approvals(&mut tx, id).await?;
    let mut value = told(&mut tx, &row).await?;
    if let Some(object) = value.as_object_mut() {
        object.insert("approvals".to_owned(), serde_json::to_value(&approvals)?);
    }
    let zone = app.config.billing.zone;
    context.show(&value, |value| {
        let mut text = String::new();
        for (what, name) in [
            ("Request", "id"),
            ("Account", "account"),
            ("State", "state"),
            ("Purpose", "purpose"),
            ("Days", "days"),
            ("Asked by", "requested_by"),
            ("Decided by", "decided_by"),
            ("Message", "message"),
            ("CloudStack user", "user"),
            ("API key", "api_key"),
            ("Takes over from", "replaces"),
            ("Went wrong", "last_error"),
            ("Changed by hand", "changed_by_hand"),
        ] {
            let shown = match value.get(name) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            let _ = writeln!(text, "{what:<16} {shown}");
        }
        for (what, at) in [("Made", row.issued_ms), ("Looked at", row.shown_ms), ("Ends", row.expires_ms)] {
            if let Some(at) = at {
                let _ = writeln!(text, "{what:<16} {}", Timestamp::from_ms(at).display_in(zone));
            }
        }
        for one in &approvals {
            let at = one.at_ms.display_in(zone);
            let _ = writeln!(text, "Approved         by {} at {at}: {} days, \"{}\"", one.admin, one.days, one.purpose);
        }
        text
    })
}

async fn approve(context: &Context, app: &App, id: KeyRequestId, consent: Consent) -> anyhow::Result<()> {
    let mut tx = app.store.begin().await?;
    let settings = keys::settings(app);
    let approved = access::approve(&mut tx, id, &approver(), &consent, &settings, app.clock.now()).await?;
    tx.commit().await?;
    if approved == Approved::AnotherNeeded {
        return context.show(&json!({ "id": id, "state": "requested", "another_needed": true }), |_| {
            format!(
                "Your approval of request {id} is noted; a second administrator has to approve the same, on the page Queue: everybody at the \
                 command line counts as one person."
            )
        });
    }
    keys::carry_out(app).await?;
    report(context, app, id, "made; `bursar key show` shows the pair, once").await
}

async fn show(context: &Context, app: &App, id: KeyRequestId) -> anyhow::Result<()> {
    let pair = keys::show(app, id, &author()).await?;
    let value = json!({ "api_key": pair.api_key, "secret_key": pair.secret_key.expose() });
    context.show(&value, |_| {
        format!(
            "API key     {}\nSecret key  {}\n\nThis is the only time that the secret is shown; bursar has erased it.",
            pair.api_key,
            pair.secret_key.expose()
        )
    })
}

async fn rotate(context: &Context, app: &App, old: KeyRequestId) -> anyhow::Result<()> {
    let key = app.random.uuid().to_string();
    let wish = Rotated { key: &key, old, by: &author(), for_user: None };
    let mut tx = app.store.begin().await?;
    let id = access::rotate(&mut tx, &wish, &keys::settings(app), app.clock.now()).await?;
    tx.commit().await?;
    keys::carry_out(app).await?;
    let done = format!(
        "made, to take over from request {old}; `bursar key show {id}` shows the pair, once, and from then on the old one works for {} \
         hours",
        app.config.access.overlap.as_secs() / 3_600
    );
    report(context, app, id, &done).await
}

async fn adopt(
    context: &Context,
    app: &App,
    account: &str,
    (user, days, purpose): (Option<String>, u32, String),
) -> anyhow::Result<()> {
    let mut tx = app.store.begin().await?;
    let account = cloud::resolve_account(&mut tx, account).await?;
    tx.commit().await?;
    let client = app.client(Role::Keys)?;
    let settings = keys::settings_for(app, &client).await?;
    let Some(which) = user else {
        let found = access::list_candidates(&app.store, &client, &account, &settings).await?;
        return context.show(&found, |found| {
            let rows = found
                .iter()
                .map(|one| {
                    let request = one.request.map_or_else(String::new, |id| format!("request {id}"));
                    let end = one.ends.map_or_else(String::new, |at| at.display_in(app.config.billing.zone));
                    let pair = one.pair_id.clone().unwrap_or_default();
                    [one.username.clone(), one.api_key.clone(), pair, end, one.access.unwrap_or("").to_owned(), request]
                })
                .collect();
            output::table(["user", "API key", "key's id", "ends", "access", "is bursar's"], rows)
        });
    };
    let wish = Adoption { which, days, purpose, by: author() };
    let id = access::adopt(&app.store, &client, &account, &wish, &settings, app.clock.as_ref()).await?;
    report(context, app, id, "adopted; the key ends by itself, and its people are told").await
}

async fn rules(context: &Context, app: &App) -> anyhow::Result<()> {
    let advice = key_roles::advice(app).await?;
    context.show(&advice, |advice| {
        let mut text = String::new();
        for role in &advice.roles {
            let _ = writeln!(
                text,
                "{}{}: allows {}. {} accounts have it: {}",
                role.name,
                if role.is_default { " (CloudStack's own)" } else { "" },
                role.open.join(", "),
                role.account_count,
                role.accounts.join(", ")
            );
            for step in &role.steps {
                let _ = writeln!(text, "    {step}");
            }
        }
        if !advice.not_checked.is_empty() {
            let _ = writeln!(text, "Not checked, since there are too many roles: {}", advice.not_checked.join(", "));
        } else if advice.roles.is_empty() {
            let _ = writeln!(text, "No role of a customer lets keys read or register keys.");
        }
        let _ = write!(
            text,
            "Nothing was changed. What stays open even then: updateUser, which people need for their profile, also sets a pair of one's \
             own choice. A key of bursar that changes that way is seen and switched off; `bursar key self-service close` ends the \
             others."
        );
        text
    })
}

async fn check(context: &Context, app: &App) -> anyhow::Result<()> {
    let round = keys::look_after(app, true).await?;
    if let Some(why) = &round.unconfirmed {
        bail!(
            "keys were not looked at, only ends that are due and revocations were carried out: {why}. See `bursar key list` and `bursar \
             enforce differences`, then say `bursar enforce confirm`"
        );
    }
    context.show(&round, |round| {
        let audited = round.audited.unwrap_or_default();
        let mut text = format!(
            "{} keys are as they were made, {} had changed by themselves and are switched off, {} have a user that was newly changed by \
             hand, {} could not be looked at. {} entries of CloudStack's event log about their users were told to administrators.",
            audited.unchanged, audited.changed, audited.touched, audited.unknown, round.touched
        );
        if round.tended.failed > 0 {
            let _ = write!(
                text,
                " {} accounts with closed self-service could not be looked after; the log says why.",
                round.tended.failed
            );
        }
        text
    })
}

async fn report(context: &Context, app: &App, id: KeyRequestId, done: &str) -> anyhow::Result<()> {
    let mut tx = app.store.read().await?;
    let row = people::get_key_request(&mut tx, id).await?;
    if let Some(error) = &row.last_error {
        bail!(
            "request {id} is {}, but CloudStack did not follow: {error}. It is tried again with every round",
            row.state
        );
    }
    if row.state == "approved"
        && let Some(why) = marker::find_unconfirmed(&mut tx).await?
    {
        bail!(
            "request {id} is approved, and nothing is made before you have looked: {why}. See `bursar key list` and `bursar enforce \
             differences`, then say `bursar enforce confirm`"
        );
    }
    context.show(&json!({ "id": id, "state": row.state }), |_| format!("Request {id}: {done}."))
}
