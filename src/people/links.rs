//! Signed links: for people whom CloudStack does not let in, or of whom it does not tell who they are (rules 20 and 21 of the
//! design).
//!
//! Promises: a link does one thing for one account; only the hash of its token is kept; one that opens the page of a
//! suspended account holds until it expires, is taken back, or the account opens, and not for a later suspension; one that
//! proves something holds once; one that takes a request to delete the account back ends with the request
//! ([`super::leaving`]).

use std::time::Duration;

use crate::{
    email::EmailAddress,
    ids::AccountId,
    people::mapping,
    secrets::token_hash,
    store::{
        StoreError, Tx,
        cloud::{self, Account},
        links::{self as rows, MoreTime, SignedLink},
        mapping as mapped, notify,
        runs::{self, AuditLine},
    },
    time::{Day, Timestamp},
};

/// The purpose of a link that takes a request to delete its account back.
pub const DELETION: &str = "deletion";
/// How long a link that proves something holds.
pub const PROOF_LASTS: Duration = Duration::from_hours(1);
/// The length of a token in letters.
pub const TOKEN_LETTERS: usize = 64;
/// Longest reason of a request for more time.
pub const LONGEST_REASON: usize = 1_000;
/// A request for more time may name a day so far ahead.
pub const FURTHEST_DAYS: i64 = 366;
/// Requests for more time of one account that are taken in a row within [`ASKED_WITHIN`].
const MOST_REQUESTS: usize = 5;
/// See [`MOST_REQUESTS`].
const ASKED_WITHIN: Duration = Duration::from_hours(7 * 24);

/// Why a link is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Dead {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none with this token, its time is over, or it was taken back: nobody is told which.
    #[error("this link does not hold any more")]
    Ended,
    /// The account is open again.
    #[error("the account is open again")]
    Open,
}

/// The link of a token, whatever it is for, if it holds.
pub async fn find(tx: &mut Tx, token: &str, now: Timestamp) -> Result<SignedLink, Dead> {
    if token.len() != TOKEN_LETTERS || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Dead::Ended);
    }
    let link = rows::find_by_token(tx, &token_hash(token)).await?.ok_or(Dead::Ended)?;
    holds(tx, &link, now).await?;
    Ok(link)
}

/// Whether a link holds now. A session that it opened is asked the same with each request.
pub async fn holds(tx: &mut Tx, link: &SignedLink, now: Timestamp) -> Result<(), Dead> {
    if link.revoked_by.is_some() {
        return Err(Dead::Ended);
    }
    // It says itself what became of its request, however late.
    if link.purpose == DELETION {
        return Ok(());
    }
    if link.expires_ms <= now {
        return Err(Dead::Ended);
    }
    if link.purpose != "suspension" {
        return if link.uses == 0 { Ok(()) } else { Err(Dead::Ended) };
    }
    match rows::find_suspended_since(tx, link.account_id).await? {
        // Of an earlier suspension: it ended with that one.
        Some(since) if since > link.made_ms => Err(Dead::Ended),
        Some(_) => Ok(()),
        None => Err(Dead::Open),
    }
}

/// Notes that a link was used by whoever has it. One that opens a page may be used again; a mail that came back shows that the
/// address is read by somebody of the account.
pub async fn redeem(tx: &mut Tx, link: &SignedLink, now: Timestamp) -> Result<Account, Dead> {
    let once = link.purpose != "suspension";
    if !rows::use_link(tx, link.id, once, now).await? {
        return Err(Dead::Ended);
    }
    let account = cloud::get_account(tx, link.account_id).await?;
    if let Ok(address) = EmailAddress::parse(&link.recipient) {
        // Who of the account it is, a link to a page does not tell.
        let whose = if link.purpose == "suspension" { "" } else { link.cloud_user_id.as_str() };
        mapping::confirm(tx, &account, whose, &address, ("mail", "a link that came back"), now).await?;
    }
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: format!("link {}", link.id),
        action: format!("link.{}", link.purpose),
        subject: account.full_name(),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await?;
    Ok(account)
}

/// Takes links back, of an account or one of them. Gives how many.
pub async fn revoke(
    tx: &mut Tx,
    account: &Account,
    link: Option<i64>,
    by: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let count = rows::revoke_links(tx, account.id, link, by, now).await?;
    if count > 0 {
        let line = AuditLine {
            at_ms: now.as_ms(),
            actor: by.to_owned(),
            action: "link.revoke".to_owned(),
            subject: account.full_name(),
            after_state: Some(format!("{count} links")),
            ..AuditLine::default()
        };
        runs::write_audit(tx, &line).await?;
    }
    Ok(count)
}

/// A user of an account whom the person behind a session may claim to be, and the address that a link would go to: one that
/// somebody confirmed. CloudStack's own field proves nothing here: whoever administers the account can edit it.
#[derive(Debug, Clone)]
pub struct Claimable {
    /// CloudStack's id.
    pub cloud_user_id: String,
    /// The sign-in name.
    pub username: String,
    /// Where the link goes; None: no address of the user is confirmed.
    pub address: Option<EmailAddress>,
}

/// The users of an account that somebody of it may claim to be.
pub async fn claimable(tx: &mut Tx, account: AccountId, key_user_prefix: &str) -> Result<Vec<Claimable>, StoreError> {
    let confirmed = mapped::list_confirmed(tx, Some(account)).await?;
    let users = cloud::list_users(tx, Some(account)).await?;
    Ok(users
        .into_iter()
        .filter(|user| user.state == "enabled" && !user.username.starts_with(key_user_prefix))
        .map(|user| Claimable {
            address: confirmed
                .iter()
                .find(|address| address.cloud_user_id == user.cloud_id)
                .and_then(|address| EmailAddress::parse(&address.email).ok()),
            cloud_user_id: user.cloud_id,
            username: user.username,
        })
        .collect())
}

/// Why a request for more time was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotAsked {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One waits for an answer.
    #[error("your request is waiting for an answer already")]
    Open,
    /// Too many in a short time.
    #[error("you asked several times this week; please write to the administrator of your cloud")]
    TooOften,
    /// The day makes no sense.
    #[error("the day must lie ahead, within a year")]
    Day,
}

/// Asks for more time. Administrators are told.
pub async fn ask_more_time(
    tx: &mut Tx,
    account: &Account,
    by: &str,
    (reason, wished): (&str, Option<Day>),
    address: Option<&EmailAddress>,
    today: Day,
    now: Timestamp,
) -> Result<i64, NotAsked> {
    let ahead = |day: Day| day > today && day.number() - today.number() <= FURTHEST_DAYS;
    if wished.is_some_and(|day| !ahead(day)) {
        return Err(NotAsked::Day);
    }
    let earlier = rows::list_more_time(tx, Some(account.id), None, 100).await?;
    if earlier.iter().filter(|request| request.asked_ms >= now.minus(ASKED_WITHIN)).count() >= MOST_REQUESTS {
        return Err(NotAsked::TooOften);
    }
    let address = address.map(EmailAddress::as_str).unwrap_or_default();
    let id = rows::insert_more_time(tx, account.id, by, reason, wished.map(Day::number), address, now)
        .await?
        .ok_or(NotAsked::Open)?;
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: by.to_owned(),
        action: "more-time.ask".to_owned(),
        subject: account.full_name(),
        answer: Some(reason.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await?;
    let subject = format!("{} asks for more time", account.full_name());
    // What the tenant wrote must not be taken for words of bursar's.
    let quoted: Vec<String> = reason.lines().map(|line| format!("> {line}")).collect();
    let body = format!(
        "The account is suspended and asks for more time. The page Queue, or `bursar user more-time`, shows the request and \
         takes the answer. It writes:\n{}",
        quoted.join("\n")
    );
    notify::insert_admin_notice(tx, &format!("more-time/{id}"), "more-time", &subject, &body, now).await?;
    Ok(id)
}

/// Notes the answer to a request for more time; None where it was answered before. What is granted is for the caller to carry out
/// in the same transaction.
pub async fn answer_more_time(
    tx: &mut Tx,
    id: i64,
    until: Option<Timestamp>,
    message: &str,
    by: &str,
    now: Timestamp,
) -> Result<Option<MoreTime>, StoreError> {
    let state = if until.is_some() { "granted" } else { "refused" };
    let said = (!message.is_empty()).then_some(message);
    if !rows::answer_more_time(tx, id, state, until, said, by, now).await? {
        return Ok(None);
    }
    let request = rows::get_more_time(tx, id).await?;
    let account = cloud::get_account(tx, request.account_id).await?;
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: by.to_owned(),
        action: format!("more-time.{state}"),
        subject: account.full_name(),
        answer: said.map(str::to_owned),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await?;
    Ok(Some(request))
}
