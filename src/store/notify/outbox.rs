//! The outbox: mails, who tries them, and what came of them.

use crate::{
    ids::MailId,
    store::{StoreError, Tx, all, exec, maybe},
    time::Timestamp,
};

/// How the reason begins of a mail that was given up after its last try, and not refused.
pub const GIVEN_UP: &str = "given up after its last try: ";

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

/// Claims the next mail that is due, until an instant: nobody else tries it before. None where nothing is due. A mail that was never
/// tried is due, and so is one that waits, or is claimed, for more than a day: no pause is longer, so the clock has gone back. After a restored
/// backup (the setting `enforce.unconfirmed`) mails that tell tenants of notices wait: the database may lack what was paid, and that
/// they were sent before.
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
         where id = (select id from mail where state = 'open' \
             and (next_ms <= $3 or attempts = 0 or next_ms > $3 + 86400000) \
             and (claim_ends_ms is null or claim_ends_ms <= $3 or claim_ends_ms > $3 + 86400000) \
             and (not exists (select 1 from setting where key = 'enforce.unconfirmed' and value <> '') \
               or id not in (select mail_id from mail_notice)) \
             order by next_ms, id limit 1) \
           and state = 'open' and (claim_ends_ms is null or claim_ends_ms <= $3 or claim_ends_ms > $3 + 86400000) \
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

/// Opens given-up mails again with warnings that still stand and that reached nobody, once another mail was taken since: it was the
/// server that was away, not the person. What was refused stays for somebody to look at.
pub async fn reopen_undelivered(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update mail set state = 'open', attempts = 0, next_ms = $1, opened_ms = $1, ended_ms = null \
         where state = 'dead' and last_error like $2 \
           and ended_ms < (select max(s.ended_ms) from mail s where s.state = 'sent') \
           and id in (select m.mail_id from mail_notice m join notice n on n.id = m.notice_id \
             where m.notice_id in (select notice_id from standing_warning) \
               and n.dry_run = 0 and n.arrived_ms is null and n.seen_ms is null)",
        now,
        format!("{GIVEN_UP}%")
    )
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
             select mail_id from mail_notice where notice_id in (select notice_id from standing_warning))",
        now
    )
}

/// Drops open mails about what was, or was to be, done to an account where the contrary was done later: "locked" after "open again"
/// would be read as what is so. A warning that stands is true until the step, or a higher one, was taken; a mail that tells of another
/// account besides, of which it still is, goes on.
pub async fn drop_overtaken(tx: &mut Tx, why: &str, now: Timestamp) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update mail set state = 'dropped', ended_ms = $1, last_error = $2 where state = 'open' \
           and (claim_ends_ms is null or claim_ends_ms <= $1) \
           and (kind in ('restricted', 'locked', 'stopped', 'restored') or kind like 'warning-%') \
           and exists (select 1 from mail_notice m where m.mail_id = mail.id) \
           and not exists (select 1 from mail_notice m join notice n on n.id = m.notice_id where m.mail_id = mail.id \
             and not exists (select 1 from notice t where t.account_id = n.account_id and t.dry_run = 0 and t.id > n.id \
               and ((n.event like 'warning-%' and t.event like 'stopped-%') \
                 or (n.event not like 'warning-stop-%' and n.event like 'warning-%' and t.event like 'locked-%') \
                 or (n.event like 'warning-restrict-%' and t.event like 'restricted-%'))) \
             and (exists (select 1 from standing_warning s where s.notice_id = n.id) \
               or not exists (select 1 from notice r where r.account_id = n.account_id and r.dry_run = 0 and r.id > n.id \
                 and ((n.event not like 'restored-%' and r.event like 'restored-%') or (n.event like 'restored-%' \
                   and (r.event like 'restricted-%' or r.event like 'locked-%' or r.event like 'stopped-%'))))))",
        now,
        why
    )
}

/// Drops open mails to tenants that have waited since before an instant, but for warnings that still stand.
pub async fn drop_stale(tx: &mut Tx, before: Timestamp, why: &str, now: Timestamp) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update mail set state = 'dropped', ended_ms = $1, last_error = $2 where state = 'open' and opened_ms <= $3 \
           and (claim_ends_ms is null or claim_ends_ms <= $1) and kind not in ('admin', 'digest') and id not in ( \
             select mail_id from mail_notice where notice_id in (select notice_id from standing_warning))",
        now,
        why,
        before
    )
}

/// Drops mails to tenants that were given up before an instant, but for warnings that still stand: what they say is old.
pub async fn drop_old_dead(tx: &mut Tx, before: Timestamp, why: &str, now: Timestamp) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update mail set state = 'dropped', ended_ms = $1, last_error = $2 where state = 'dead' and ended_ms < $3 \
           and kind not in ('admin', 'digest') and id not in ( \
             select mail_id from mail_notice where notice_id in (select notice_id from standing_warning))",
        now,
        why,
        before
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
    // In two statements: for "any state, or this one" SQLite uses no index.
    match state {
        Some(state) => all!(
            tx,
            MailLine,
            "select id, kind, recipient, subject, state, attempts, next_ms, last_error, created_ms, ended_ms from mail \
             where state = $1 order by id desc limit $2",
            state,
            limit
        ),
        None => all!(
            tx,
            MailLine,
            "select id, kind, recipient, subject, state, attempts, next_ms, last_error, created_ms, ended_ms from mail \
             order by id desc limit $1",
            limit
        ),
    }
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

/// Whether a mail can be claimed at an instant ([`claim_mail`]).
pub async fn is_mail_due(tx: &mut Tx, now: Timestamp) -> Result<bool, StoreError> {
    let found = maybe!(
        tx,
        (MailId,),
        "select id from mail where state = 'open' and (next_ms <= $1 or attempts = 0 or next_ms > $1 + 86400000) \
           and (claim_ends_ms is null or claim_ends_ms <= $1 or claim_ends_ms > $1 + 86400000) \
           and (not exists (select 1 from setting where key = 'enforce.unconfirmed' and value <> '') \
             or id not in (select mail_id from mail_notice)) \
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
