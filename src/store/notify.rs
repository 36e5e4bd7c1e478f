//! The outbox: notices that are to become mails, mails and what came of them, and what administrators have to be told.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, MailId},
    time::Timestamp,
};

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

/// A mail to be put into the outbox.
#[derive(Debug, Clone)]
pub struct NewMail {
    /// One event goes once to a person.
    pub key: String,
    /// used, warning-lock, digest …
    pub kind: String,
    /// The address.
    pub recipient: String,
    /// The subject.
    pub subject: String,
    /// As plain text.
    pub text_body: String,
    /// As HTML.
    pub html_body: String,
    /// Without angle brackets.
    pub message_id: String,
}

/// A mail of the outbox.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Mail {
    /// Its number.
    pub id: MailId,
    /// used, warning-lock, digest …
    pub kind: String,
    /// The address.
    pub recipient: String,
    /// The subject.
    pub subject: String,
    /// As plain text.
    pub text_body: String,
    /// As HTML.
    pub html_body: String,
    /// Without angle brackets.
    pub message_id: String,
    /// How often it was tried, the present try included.
    pub attempts: i64,
    /// When it was made.
    pub created_ms: Timestamp,
    /// From when on the time is counted after which it is given up.
    pub opened_ms: Timestamp,
}

/// A line of the list of mails.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct MailLine {
    /// Its number.
    pub id: MailId,
    /// used, warning-lock, digest …
    pub kind: String,
    /// The address.
    pub recipient: String,
    /// The subject.
    pub subject: String,
    /// open, sent, dead, dropped.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried next.
    pub next_ms: Timestamp,
    /// What was said the last time.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_ms: Timestamp,
    /// When it was sent or given up.
    pub ended_ms: Option<Timestamp>,
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

/// A decision, as the digest tells of it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DigestDecision {
    /// Path of the account's domain.
    pub domain_path: String,
    /// The account's name.
    pub name: String,
    /// warn, lock, restore, wait …
    pub outcome: String,
    /// The sentence for the tenant.
    pub sentence: String,
    /// Whether nothing was to be done.
    pub dry_run: i64,
}

/// An action that was begun or ended, as the digest tells of it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DigestAction {
    /// Path of the account's domain.
    pub domain_path: String,
    /// The account's name.
    pub name: String,
    /// lock, enable …
    pub action: String,
    /// open, done, failed, abandoned.
    pub state: String,
    /// How it ended, in words.
    pub outcome: Option<String>,
}

/// A notice, as the digest tells of it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DigestNotice {
    /// Path of the account's domain.
    pub domain_path: String,
    /// The account's name.
    pub name: String,
    /// For the tenant.
    pub sentence: String,
    /// Whether it was only a rehearsal.
    pub dry_run: i64,
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
/// now. Whoever was written to is not written to again, since the mail's key stays.
pub async fn take_up_undelivered(tx: &mut Tx) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update notice set queued_ms = null where dry_run = 0 and queued_ms is not null and arrived_ms is null \
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
    all!(
        tx,
        WithoutAddress,
        "select n.account_id, a.domain_path, a.name, n.event, n.no_address_ms from notice n \
         join account a on a.id = n.account_id where n.id in ( \
           select max(id) from notice where no_address_ms is not null and queued_ms is null and dry_run = 0 \
           group by account_id) order by a.domain_path, a.name, n.account_id limit $1",
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

/// Puts a mail into the outbox; None where the same event went to the same person before.
pub async fn insert_mail(tx: &mut Tx, mail: &NewMail, now: Timestamp) -> Result<Option<MailId>, StoreError> {
    let inserted = maybe!(
        tx,
        (MailId,),
        "insert into mail (key, kind, recipient, subject, text_body, html_body, message_id, state, attempts, next_ms, \
           created_ms, opened_ms) values ($1, $2, $3, $4, $5, $6, $7, 'open', 0, $8, $8, $8) \
         on conflict (key) do nothing returning id",
        &mail.key,
        &mail.kind,
        &mail.recipient,
        &mail.subject,
        &mail.text_body,
        &mail.html_body,
        &mail.message_id,
        now
    )?;
    Ok(inserted.map(|(id,)| id))
}

/// Notes that a mail tells of a notice.
pub async fn link_notice(tx: &mut Tx, mail: MailId, notice: i64) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into mail_notice (mail_id, notice_id) values ($1, $2) on conflict (mail_id, notice_id) do nothing",
        mail,
        notice
    )?;
    Ok(())
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

/// What administrators were told since an instant, or the newest of it.
pub async fn list_admin_notices(tx: &mut Tx, since: Timestamp, limit: i64) -> Result<Vec<AdminNotice>, StoreError> {
    all!(
        tx,
        AdminNotice,
        "select id, kind, subject, body, created_ms from admin_notice where created_ms >= $1 order by id desc limit $2",
        since,
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

/// Claims the next mail that is due, until an instant: nobody else tries it before. None where nothing is due.
pub async fn claim_mail(
    tx: &mut Tx,
    holder: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<Option<Mail>, StoreError> {
    maybe!(
        tx,
        Mail,
        "update mail set claimed_by = $1, claim_ends_ms = $2, attempts = attempts + 1 \
         where id = (select id from mail where state = 'open' and next_ms <= $3 \
             and (claim_ends_ms is null or claim_ends_ms <= $3) order by next_ms, id limit 1) \
           and state = 'open' and (claim_ends_ms is null or claim_ends_ms <= $3) \
         returning id, kind, recipient, subject, text_body, html_body, message_id, attempts, created_ms, opened_ms",
        holder,
        until,
        now
    )
}

/// Ends a mail as sent, and notes of its notices that they arrived. False where somebody else has the mail by now.
pub async fn put_mail_sent(tx: &mut Tx, id: MailId, holder: &str, now: Timestamp) -> Result<bool, StoreError> {
    let ended = exec!(
        tx,
        "update mail set state = 'sent', ended_ms = $1, claimed_by = null, claim_ends_ms = null, last_error = null \
         where id = $2 and state = 'open' and claimed_by = $3",
        now,
        id,
        holder
    )?;
    // The mail is out, whoever has it by now: what it says has arrived.
    exec!(
        tx,
        "update notice set arrived_ms = $1 where arrived_ms is null \
           and id in (select notice_id from mail_notice where mail_id = $2)",
        now,
        id
    )?;
    Ok(ended == 1)
}

/// Puts a mail off until an instant.
pub async fn put_mail_later(
    tx: &mut Tx,
    id: MailId,
    holder: &str,
    next: Timestamp,
    why: &str,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update mail set next_ms = $1, last_error = $2, claimed_by = null, claim_ends_ms = null \
         where id = $3 and state = 'open' and claimed_by = $4",
        next,
        why,
        id,
        holder
    )? == 1)
}

/// Gives a mail up.
pub async fn put_mail_dead(
    tx: &mut Tx,
    id: MailId,
    holder: &str,
    why: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update mail set state = 'dead', ended_ms = $1, last_error = $2, claimed_by = null, claim_ends_ms = null \
         where id = $3 and state = 'open' and claimed_by = $4",
        now,
        why,
        id,
        holder
    )? == 1)
}

/// Drops open mails with warnings that no longer stand: the account came back under its limit before they could be sent.
pub async fn drop_settled_warnings(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update mail set state = 'dropped', ended_ms = $1 where state = 'open' \
           and (claim_ends_ms is null or claim_ends_ms <= $1) and kind like 'warning-%' and id not in ( \
             select m.mail_id from mail_notice m join standing_warning s on s.notice_id = m.notice_id)",
        now
    )
}

/// Opens given-up mails again: one, or all.
pub async fn reopen_mails(tx: &mut Tx, id: Option<MailId>, now: Timestamp) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update mail set state = 'open', attempts = 0, next_ms = $1, opened_ms = $1, ended_ms = null \
         where state = 'dead' and ($2 is null or id = $2)",
        now,
        id
    )
}

/// Tries an open mail at once, whatever pause it has.
pub async fn hurry_mail(tx: &mut Tx, id: MailId, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(tx, "update mail set next_ms = $1 where id = $2 and state = 'open'", now, id)? == 1)
}

/// Mails in one state, or in any, newest first.
pub async fn list_mails(tx: &mut Tx, state: Option<&str>, limit: i64) -> Result<Vec<MailLine>, StoreError> {
    all!(
        tx,
        MailLine,
        "select id, kind, recipient, subject, state, attempts, next_ms, last_error, created_ms, ended_ms from mail \
         where ($1 is null or state = $1) order by id desc limit $2",
        state,
        limit
    )
}

/// Mails that were made at or after an instant, oldest first.
pub async fn list_mails_since(tx: &mut Tx, since: Timestamp, limit: i64) -> Result<Vec<MailLine>, StoreError> {
    all!(
        tx,
        MailLine,
        "select id, kind, recipient, subject, state, attempts, next_ms, last_error, created_ms, ended_ms from mail \
         where created_ms >= $1 order by id limit $2",
        since,
        limit
    )
}

/// How many mails stand in each state.
pub async fn count_mails(tx: &mut Tx) -> Result<Vec<(String, i64)>, StoreError> {
    all!(tx, (String, i64), "select state, count(*) from mail group by state order by state")
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
             or exists (select 1 from mail where state = 'open' and next_ms <= $1 \
               and (claim_ends_ms is null or claim_ends_ms <= $1)) then 1 else 0 end as bigint)",
        now
    )?;
    Ok(found == 1)
}

/// Whether a mail can be claimed at an instant.
pub async fn is_mail_due(tx: &mut Tx, now: Timestamp) -> Result<bool, StoreError> {
    let found = maybe!(
        tx,
        (MailId,),
        "select id from mail where state = 'open' and next_ms <= $1 and (claim_ends_ms is null or claim_ends_ms <= $1) \
         order by next_ms, id limit 1",
        now
    )?;
    Ok(found.is_some())
}

/// Forgets mails that went out or were dropped before an instant. Given-up ones stay until a person looks.
pub async fn purge_mails(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    exec!(
        tx,
        "delete from mail_notice where mail_id in \
           (select id from mail where state in ('sent', 'dropped') and ended_ms < $1)",
        before
    )?;
    exec!(
        tx,
        "delete from mail_link where mail_id in (select id from mail where state in ('sent', 'dropped') and ended_ms < $1)",
        before
    )?;
    exec!(tx, "delete from mail where state in ('sent', 'dropped') and ended_ms < $1", before)
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

/// Decisions of a time that were more than keeping things as they are.
pub async fn list_digest_decisions(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<DigestDecision>, StoreError> {
    all!(
        tx,
        DigestDecision,
        "select a.domain_path, a.name, d.outcome, d.sentence, d.dry_run from decision d \
         join account a on a.id = d.account_id \
         where d.decided_ms >= $1 and d.decided_ms < $2 and d.outcome <> 'keep' and d.outcome <> 'warn' \
         order by d.id limit $3",
        from,
        until,
        limit
    )
}

/// Actions that were begun or ended in a time.
pub async fn list_digest_actions(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<DigestAction>, StoreError> {
    all!(
        tx,
        DigestAction,
        "select a.domain_path, a.name, i.action, i.state, i.outcome from intent i join account a on a.id = i.account_id \
         where (i.created_ms >= $1 and i.created_ms < $2) or (i.finished_ms >= $1 and i.finished_ms < $2) \
         order by i.created_ms, i.id limit $3",
        from,
        until,
        limit
    )
}

/// Notices of a time.
pub async fn list_digest_notices(
    tx: &mut Tx,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<DigestNotice>, StoreError> {
    all!(
        tx,
        DigestNotice,
        "select a.domain_path, a.name, n.sentence, n.dry_run from notice n join account a on a.id = n.account_id \
         where n.recorded_ms >= $1 and n.recorded_ms < $2 order by n.id limit $3",
        from,
        until,
        limit
    )
}
