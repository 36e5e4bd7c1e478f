//! Notices that are to become mails, the mails in the outbox, and what administrators have to be told.

mod digest;
mod outbox;

pub use self::digest::{
    DigestAction, DigestDecision, DigestNotice, list_digest_actions, list_digest_decisions, list_digest_notices,
};
pub use self::outbox::{
    GIVEN_UP, Mail, MailLine, NewMail, claim_mail, count_mails, drop_old_dead, drop_overtaken, drop_settled_warnings,
    drop_stale, hurry_mail, insert_mail, is_mail_due, link_notice, list_mails, list_mails_since, purge_mails,
    put_mail_dead, put_mail_later, put_mail_sent, reopen_mails, reopen_undelivered,
};

use super::{StoreError, Tx, all, exec, maybe, runs, scalar};
use crate::{ids::AccountId, time::Timestamp};

/// The setting that says since when mail leaves, in ms; empty or absent while it does not.
pub const SINCE: &str = "mail.since-ms";
/// The setting that says when mail last ceased to leave, in ms; absent where it never left.
pub const ENDED: &str = "mail.ended-ms";

/// Notes that mail does not leave any more, unless that is known.
pub async fn note_off(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    if runs::find_setting(tx, SINCE).await?.is_some_and(|text| !text.is_empty()) {
        runs::put_setting(tx, SINCE, "", now).await?;
        runs::put_setting(tx, ENDED, &now.as_ms().to_string(), now).await?;
    }
    Ok(())
}

/// Since when people are warned in another way than by mail, where mail is switched off: a warning that no mail server had taken by
/// then has reached nobody before. None: mail never left.
pub async fn off_since(tx: &mut Tx, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    // Nobody may have looked since it was switched off.
    if runs::find_setting(tx, SINCE).await?.is_some_and(|text| !text.is_empty()) {
        return Ok(Some(now));
    }
    Ok(runs::find_setting(tx, ENDED).await?.and_then(|text| text.parse().ok()).map(Timestamp::from_ms))
}

/// A notice that no mail was made of yet.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct NoticeToMail {
    /// Its number.
    pub id: i64,
    /// The payer that it is about.
    pub payer_id: i64,
    /// The account that it was given to.
    pub account_id: AccountId,
    /// The payer's epoch.
    pub epoch_id: i64,
    /// used-80, warning-lock-…
    pub event: String,
    /// For the tenant.
    pub sentence: String,
    /// The date it names.
    pub acts_at_ms: Option<Timestamp>,
    /// Since when nobody can be written to.
    pub no_address_ms: Option<Timestamp>,
}

/// Something that administrators have to be told.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct AdminNotice {
    /// Its number.
    pub id: i64,
    /// What kind of thing it is, as a word.
    pub kind: String,
    /// In a line.
    pub subject: String,
    /// In full.
    pub body: String,
    /// When.
    pub created_ms: Timestamp,
}

/// A notice that waits for an address to be written to.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct WithoutAddress {
    /// The account's number.
    pub account_id: AccountId,
    /// Path of its domain.
    pub domain_path: String,
    /// Its name.
    pub name: String,
    /// The newest notice that nobody got.
    pub event: String,
    /// Since when.
    pub no_address_ms: Timestamp,
}

/// A person of an account as CloudStack has it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Person {
    /// The account.
    pub account_id: AccountId,
    /// Sign-in name.
    pub username: String,
    /// As typed in CloudStack.
    pub email: String,
    /// The user's id in CloudStack.
    pub cloud_id: String,
}

/// A standing warning, as the account's page shows it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StandingWarning {
    /// The notice's number.
    pub id: i64,
    /// warning-lock-…
    pub event: String,
    /// For the tenant.
    pub sentence: String,
    /// The date it names.
    pub acts_at_ms: Option<Timestamp>,
}

/// Tells administrators something, once for each key; false where it was told before.
pub async fn insert_admin_notice(
    tx: &mut Tx,
    key: &str,
    kind: &str,
    subject: &str,
    body: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "insert into admin_notice (key, kind, subject, body, created_ms) values ($1, $2, $3, $4, $5) \
         on conflict (key) do nothing",
        key,
        kind,
        subject,
        body,
        now
    )? == 1)
}

/// Notices that mails are still to be made of, in the order in which they were recorded, after a number: to go through all
/// of them page by page.
pub async fn list_notices_to_mail(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<NoticeToMail>, StoreError> {
    all!(
        tx,
        NoticeToMail,
        "select id, payer_id, account_id, epoch_id, event, sentence, acts_at_ms, no_address_ms from notice \
         where queued_ms is null and dry_run = 0 and id > $1 order by id limit $2",
        after,
        limit
    )
}

/// The notices of one event of a payer that mails are still to be made of.
pub async fn list_notices_of_event(
    tx: &mut Tx,
    payer: i64,
    epoch: i64,
    event: &str,
) -> Result<Vec<NoticeToMail>, StoreError> {
    all!(
        tx,
        NoticeToMail,
        "select id, payer_id, account_id, epoch_id, event, sentence, acts_at_ms, no_address_ms from notice \
         where queued_ms is null and dry_run = 0 and payer_id = $1 and epoch_id = $2 and event = $3 order by id",
        payer,
        epoch,
        event
    )
}

/// The addresses that a notice was written to, whatever became of the mails.
pub async fn list_written_to(tx: &mut Tx, notice: i64) -> Result<Vec<String>, StoreError> {
    let rows = all!(
        tx,
        (String,),
        "select m.recipient from mail_notice l join mail m on m.id = l.mail_id where l.notice_id = $1 order by m.id",
        notice
    )?;
    Ok(rows.into_iter().map(|(address,)| address).collect())
}

/// Passes over what was recorded before there was mail, but for warnings that still stand.
pub async fn pass_over_notices(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update notice set queued_ms = $1 where queued_ms is null and dry_run = 0 and id not in ( \
           select notice_id from standing_warning)",
        now
    )
}

/// Takes up the warnings that still stand and that nobody was ever mailed, such as those of before there was mail.
pub async fn take_up_standing_warnings(tx: &mut Tx) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update notice set queued_ms = null where dry_run = 0 and queued_ms is not null and arrived_ms is null \
           and id in (select notice_id from standing_warning) and id not in (select notice_id from mail_notice)"
    )
}

/// Passes over notices that waited for an address for too long, but for warnings that still stand.
pub async fn pass_over_unaddressed(tx: &mut Tx, since: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update notice set queued_ms = $1 where queued_ms is null and dry_run = 0 and no_address_ms < $2 and id not in ( \
           select notice_id from standing_warning)",
        now,
        since
    )
}

/// Takes up standing warnings again of which every mail was given up and none arrived: somebody may have another address by
/// now. Whoever was written to is not written to again, since the mails stay.
pub async fn take_up_undelivered(tx: &mut Tx) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update notice set queued_ms = null where dry_run = 0 and queued_ms is not null and arrived_ms is null and seen_ms is null \
           and id in (select m.notice_id from mail_notice m join mail d on d.id = m.mail_id where d.state = 'dead') \
           and id not in (select m.notice_id from mail_notice m join mail o on o.id = m.mail_id where o.state = 'open') \
           and id in (select notice_id from standing_warning)"
    )
}

/// Notes that a notice needs no further mails.
pub async fn put_notice_queued(tx: &mut Tx, notice: i64, now: Timestamp) -> Result<(), StoreError> {
    exec!(
        tx,
        "update notice set queued_ms = $1, no_address_ms = null where id = $2 and queued_ms is null",
        now,
        notice
    )?;
    Ok(())
}

/// Notes that nobody can be written to; false where that was known.
pub async fn put_notice_unaddressed(tx: &mut Tx, notice: i64, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(tx, "update notice set no_address_ms = $1 where id = $2 and no_address_ms is null", now, notice)? == 1)
}

/// Accounts with notices that nobody could be sent, with the newest of them.
pub async fn list_without_address(tx: &mut Tx, limit: i64) -> Result<Vec<WithoutAddress>, StoreError> {
    // The plus keeps SQLite from walking the notices of every account instead of those that wait.
    all!(
        tx,
        WithoutAddress,
        "select n.account_id, a.domain_path, a.name, n.event, n.no_address_ms from notice n \
         join account a on a.id = n.account_id where n.id in ( \
           select max(id) from notice where no_address_ms is not null and queued_ms is null and dry_run = 0 \
           group by +account_id) order by a.domain_path, a.name, n.account_id limit $1",
        limit
    )
}

/// The people of CloudStack who can sign in, with whatever stands as their address.
pub async fn list_people(tx: &mut Tx, account: AccountId) -> Result<Vec<Person>, StoreError> {
    all!(
        tx,
        Person,
        "select account_id, username, email, cloud_id from cloud_user where account_id = $1 and gone_ms is null \
           and state = 'enabled' and email is not null order by username, cloud_id",
        account
    )
}

/// What administrators are still to be told.
pub async fn list_admin_notices_to_mail(tx: &mut Tx, limit: i64) -> Result<Vec<AdminNotice>, StoreError> {
    all!(
        tx,
        AdminNotice,
        "select id, kind, subject, body, created_ms from admin_notice where queued_ms is null order by id limit $1",
        limit
    )
}

/// What administrators were told from an instant up to another one, or the newest of it.
pub async fn list_admin_notices(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<AdminNotice>, StoreError> {
    all!(
        tx,
        AdminNotice,
        "select id, kind, subject, body, created_ms from admin_notice where created_ms >= $1 and created_ms < $2 \
         order by id desc limit $3",
        from,
        until,
        limit
    )
}

/// Notes that mails were made of what administrators are told.
pub async fn put_admin_notice_queued(tx: &mut Tx, id: i64, now: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "update admin_notice set queued_ms = $1 where id = $2 and queued_ms is null", now, id)?;
    Ok(())
}

/// Passes over what administrators were to be told before there was mail.
pub async fn pass_over_admin_notices(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    exec!(tx, "update admin_notice set queued_ms = $1 where queued_ms is null", now)
}

/// Whether anything is to be made or sent at an instant, so that a look that finds nothing writes nothing. Notices that wait
/// for an address do not count: they are looked at from time to time.
pub async fn is_anything_due(tx: &mut Tx, now: Timestamp) -> Result<bool, StoreError> {
    let found = scalar!(
        tx,
        i64,
        "select cast(case when exists ( \
               select 1 from notice where queued_ms is null and dry_run = 0 and no_address_ms is null) \
             or exists (select 1 from admin_notice where queued_ms is null) \
             or exists (select 1 from link_wish where answered_ms is null) \
             or exists (select 1 from mail where state = 'open' \
               and (next_ms <= $1 or attempts = 0 or next_ms > $1 + 86400000) \
               and (claim_ends_ms is null or claim_ends_ms <= $1 or claim_ends_ms > $1 + 86400000) \
               and (not exists (select 1 from setting where key = 'enforce.unconfirmed' and value <> '') \
                 or id not in (select mail_id from mail_notice))) \
             then 1 else 0 end as bigint)",
        now
    )?;
    Ok(found == 1)
}

/// The warnings that stand for an account: given in earnest, and the time over the limit that they are about goes on.
pub async fn list_standing_warnings(tx: &mut Tx, account: AccountId) -> Result<Vec<StandingWarning>, StoreError> {
    all!(
        tx,
        StandingWarning,
        "select n.id, n.event, n.sentence, n.acts_at_ms from notice n join standing_warning s on s.notice_id = n.id \
         where n.account_id = $1 and n.dry_run = 0 order by n.acts_at_ms, n.id",
        account
    )
}

/// When a mail server first took a mail about a notice.
pub async fn find_arrival(tx: &mut Tx, notice: i64) -> Result<Option<Timestamp>, StoreError> {
    let found = maybe!(tx, (Option<Timestamp>,), "select arrived_ms from notice where id = $1", notice)?;
    Ok(found.and_then(|(at,)| at))
}

/// Whether a notice was given in earnest and never seen on the page.
pub async fn is_unseen(tx: &mut Tx, account: AccountId, notice: i64) -> Result<bool, StoreError> {
    let found = maybe!(
        tx,
        (i64,),
        "select id from notice where id = $1 and account_id = $2 and dry_run = 0 and seen_ms is null",
        notice,
        account
    )?;
    Ok(found.is_some())
}

/// Notes that a person of the account saw a notice on the page; false where it was seen before.
pub async fn put_notice_seen(tx: &mut Tx, account: AccountId, notice: i64, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update notice set seen_ms = $1 where id = $2 and account_id = $3 and dry_run = 0 and seen_ms is null",
        now,
        notice,
        account
    )? == 1)
}
