//! A tenant asks that the account be deleted: a waiting time in which it can be taken back, then a person carries it out.
//!
//! Promises: nothing is deleted here. One request an account waits at a time; asked twice, it is one. Every step is told to the
//! people of the account and leaves a line in the audit trail.

use std::time::Duration;

use crate::{
    store::{
        StoreError, Tx,
        cloud::{self, Account},
        enforcement as notices,
        leaving::{self as rows, DeleteRequest},
        links::{self as link_rows, SignedLink},
        notify,
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// Requests looked at in a pass.
const LOOKED_AT: i64 = 1_000;

/// How a step is written down.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Who takes it.
    pub author: &'a str,
    /// When.
    pub now: Timestamp,
    /// The zone in which dates are told.
    pub zone: chrono_tz::Tz,
}

/// Asks. Gives the request that waits from now on: the one that was there, if there was one.
pub async fn ask(
    tx: &mut Tx,
    key: &str,
    account: &Account,
    reason: &str,
    wait: Duration,
    step: Step<'_>,
) -> Result<DeleteRequest, StoreError> {
    let due = step.now.plus(wait);
    if let Some(id) = rows::insert(tx, key, account.id, reason, step.author, (step.now, due)).await? {
        let sentence = format!(
            "{} asked that the account {} be deleted with everything in it. Until {} it can be taken back on the page Account Delete \
             Request; after that an administrator deletes it.",
            step.author,
            account.full_name(),
            due.display_in(step.zone)
        );
        tell(tx, account, &format!("deletion-asked-{id}"), &sentence, Some(due), step.now).await?;
        let body = format!("{sentence} The reason given: {reason}");
        notify::insert_admin_notice(
            tx,
            &format!("delete-request-{id}"),
            "delete-request",
            &format!("{} asks to be deleted", account.full_name()),
            &body,
            step.now,
        )
        .await?;
        audit(tx, account, "account.delete-ask", Some(reason), step).await?;
    }
    rows::find_newest(tx, account.id)
        .await?
        .ok_or_else(|| StoreError::Nonsense("a request to delete an account was kept and is not there".to_owned()))
}

/// Takes a request back that waits. False: none waited.
pub async fn take_back(tx: &mut Tx, account: &Account, step: Step<'_>) -> Result<bool, StoreError> {
    let Some(open) = rows::find_newest(tx, account.id).await?.filter(|request| request.state == "waiting") else {
        return Ok(false);
    };
    let sentence = format!("{} took back the request to delete the account {}.", step.author, account.full_name());
    withdraw(tx, account, open.id, (step.author, &sentence), step).await
}

async fn withdraw(
    tx: &mut Tx,
    account: &Account,
    request: i64,
    (by, sentence): (&str, &str),
    step: Step<'_>,
) -> Result<bool, StoreError> {
    if !rows::end(tx, request, "withdrawn", by, None, step.now).await? {
        return Ok(false);
    }
    tell(tx, account, &format!("deletion-taken-back-{request}"), sentence, None, step.now).await?;
    audit(tx, account, "account.delete-take-back", None, step).await?;
    Ok(true)
}

/// What the signed link of a request can still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// It takes the request back.
    Open,
    /// Nothing: the request was taken back.
    TakenBack,
    /// Nothing: an administrator refused the request.
    Refused,
    /// Nothing: the account is deleted.
    Done,
    /// Nothing: the waiting time is over.
    Over,
}

/// The request that a link is about.
#[derive(Debug, Clone)]
pub struct Linked {
    /// The account.
    pub account: Account,
    /// The request.
    pub request: DeleteRequest,
    /// What the link can still do.
    pub undo: Undo,
}

/// What a link is about that takes a request back. It ends with its request, and with the waiting time.
pub async fn of_link(tx: &mut Tx, link: &SignedLink, now: Timestamp) -> Result<Linked, StoreError> {
    let request = match link.delete_request_id {
        Some(id) => rows::find(tx, id).await?.filter(|request| request.account_id == link.account_id),
        None => None,
    };
    let request = request
        .ok_or_else(|| StoreError::Nonsense(format!("link {} takes back a request that is not there", link.id)))?;
    let account = cloud::get_account(tx, request.account_id).await?;
    let undo = match request.state.as_str() {
        "withdrawn" => Undo::TakenBack,
        "refused" => Undo::Refused,
        "done" => Undo::Done,
        _ if account.gone_ms.is_some() => Undo::Done,
        _ if request.due_ms <= now || link.expires_ms <= now => Undo::Over,
        _ => Undo::Open,
    };
    Ok(Linked { account, request, undo })
}

/// Takes a request back by its signed link, whatever state the account is in. Gives what the link was about before, and whether
/// it was taken back by this. Used twice, it is taken back once.
pub async fn take_back_by_link(
    tx: &mut Tx,
    link: &SignedLink,
    now: Timestamp,
    zone: chrono_tz::Tz,
) -> Result<(Linked, bool), StoreError> {
    let linked = of_link(tx, link, now).await?;
    if linked.undo != Undo::Open {
        return Ok((linked, false));
    }
    let author = format!("link {}", link.id);
    let by = format!("the link that was sent to {}", link.recipient);
    let sentence = format!("The request to delete the account {} was taken back by {by}.", linked.account.full_name());
    let step = Step { author: &author, now, zone };
    if !withdraw(tx, &linked.account, linked.request.id, (&by, &sentence), step).await? {
        // Somebody was faster.
        return Ok((of_link(tx, link, now).await?, false));
    }
    link_rows::use_link(tx, link.id, false, now).await?;
    Ok((linked, true))
}

/// An administrator refuses a request, with a message for the tenant. False: it waits no longer.
pub async fn refuse(tx: &mut Tx, id: i64, message: &str, step: Step<'_>) -> Result<bool, StoreError> {
    let Some(request) = rows::find(tx, id).await? else {
        return Err(StoreError::Missing(format!("there is no request {id} to delete an account")));
    };
    if !rows::end(tx, id, "refused", step.author, Some(message), step.now).await? {
        return Ok(false);
    }
    let account = cloud::get_account(tx, request.account_id).await?;
    let sentence = format!("The request to delete the account {} was refused: {message}", account.full_name());
    tell(tx, &account, &format!("deletion-refused-{id}"), &sentence, None, step.now).await?;
    audit(tx, &account, "account.delete-refuse", Some(message), step).await?;
    Ok(true)
}

/// Tells administrators which requests are due now, once each, and closes those whose account is gone from CloudStack.
/// Gives how many changed.
pub async fn look_after(tx: &mut Tx, now: Timestamp, zone: chrono_tz::Tz) -> Result<u64, StoreError> {
    let mut changed = 0;
    for request in rows::list(tx, false, LOOKED_AT).await? {
        let account = cloud::get_account(tx, request.account_id).await?;
        let step = Step { author: "bursar", now, zone };
        if account.gone_ms.is_some() {
            if rows::end(tx, request.id, "done", "CloudStack", Some("the account is no longer there"), now).await? {
                audit(tx, &account, "account.delete-done", None, step).await?;
                changed += 1;
            }
        } else if request.due_ms <= now && rows::put_told(tx, request.id, now).await? {
            let name = account.full_name();
            let body = format!(
                "The time in which {name} could take back its request to be deleted is over (asked on {} by {}). Save what has to be \
                 kept, then delete the account in CloudStack: the request closes by itself. Or refuse it on the page Queue.",
                request.requested_ms.display_in(zone),
                request.requested_by
            );
            let subject = format!("{name} is to be deleted");
            let key = format!("delete-request-due-{}", request.id);
            notify::insert_admin_notice(tx, &key, "delete-request", &subject, &body, now).await?;
            let sentence = format!("The waiting time is over: an administrator deletes the account {name} now.");
            tell(tx, &account, &format!("deletion-due-{}", request.id), &sentence, None, now).await?;
            changed += 1;
        }
    }
    Ok(changed)
}

async fn tell(
    tx: &mut Tx,
    account: &Account,
    event: &str,
    sentence: &str,
    date: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    notices::insert_notice(tx, account.payer_id, account.id, 0, event, sentence, date, false, now).await?;
    Ok(())
}

async fn audit(
    tx: &mut Tx,
    account: &Account,
    action: &str,
    answer: Option<&str>,
    step: Step<'_>,
) -> Result<(), StoreError> {
    let line = AuditLine {
        at_ms: step.now.as_ms(),
        actor: step.author.to_owned(),
        action: action.to_owned(),
        subject: account.full_name(),
        answer: answer.map(str::to_owned),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}
