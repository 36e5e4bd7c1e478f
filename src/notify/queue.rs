//! Fills the outbox: from notices, from what administrators are told, and with the digest when it is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    digest,
    letter::Letter,
    links::{self, About, Offer},
    recipients::Recipients,
    settings::MailSettings,
    terms::Terms,
    words,
};
use crate::{
    email::EmailAddress,
    random::RandomSource,
    store::{
        Store, StoreError, Tx, notice_wishes,
        notify::{self as rows, NewMail, NoticeToMail},
        runs,
    },
    time::Timestamp,
};

/// Notices that one transaction turns into mails: small enough that others get their turn at the database.
const NOTICES_AT_ONCE: i64 = 200;
/// Things that administrators are told, in one transaction.
const ADMIN_NOTICES_AT_ONCE: i64 = 100;
/// A notice that found no address is news for so long. Warnings that still stand wait without an end.
const UNADDRESSED_FOR: Duration = Duration::from_hours(7 * 24);
/// Sent mails are kept for so long, for whoever asks what was sent.
const KEPT_FOR: Duration = Duration::from_hours(180 * 24);
/// How often what is kept long enough is looked for.
const PURGED_EVERY: Duration = Duration::from_hours(24);
/// The setting with the instant up to which the last digest told, in ms.
const DIGEST_UNTIL: &str = "mail.digest-until-ms";
/// The setting that says when what was kept long enough was last forgotten, in ms.
const PURGED: &str = "mail.purged-ms";

/// Whether notices that wait for an address, or for a better one, are looked at too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// Only where something new is to be made or sent: cheap enough for every few seconds.
    AtNews,
    /// At everything.
    AtAll,
}

/// What was put into the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Queued {
    /// Mails made.
    pub mails: u64,
    /// Notices that nobody can be written to for, newly found.
    pub without_address: u64,
    /// Mails dropped, because what they tell of is no longer so.
    pub dropped: u64,
}

/// Fills the outbox. Run twice, or by two processes at once, it makes each mail once.
pub async fn queue(
    store: &Store,
    settings: &MailSettings,
    random: &dyn RandomSource,
    looked: Looked,
    now: Timestamp,
) -> Result<Queued, StoreError> {
    let mut done = Queued::default();
    let mut tx = store.read().await?;
    let since = runs::find_setting(&mut tx, rows::SINCE).await?.filter(|text| !text.is_empty());
    let digest_due = digest_due(&mut tx, settings, now).await?;
    let news = rows::is_anything_due(&mut tx, now).await?;
    let purged = runs::find_setting(&mut tx, PURGED).await?.and_then(|text| text.parse().ok()).map(Timestamp::from_ms);
    tx.commit().await?;
    // Also where no mail is sent. An instant to come is of a clock that was ahead.
    if looked == Looked::AtAll && purged.is_none_or(|at| at.plus(PURGED_EVERY) <= now || at > now) {
        purge(store, now).await?;
    }
    if !settings.sends() {
        if since.is_some() {
            let mut tx = store.begin().await?;
            rows::note_off(&mut tx, now).await?;
            tx.commit().await?;
        }
        return Ok(done);
    }
    if since.is_none() {
        done.dropped += begin(store, settings, now).await?;
    }
    if !news && digest_due.is_none() && looked == Looked::AtNews && since.is_some() {
        return Ok(done);
    }
    let mut tx = store.begin().await?;
    done.dropped += rows::drop_settled_warnings(&mut tx, now).await?;
    if looked == Looked::AtAll {
        rows::reopen_undelivered(&mut tx, now).await?;
        rows::take_up_undelivered(&mut tx).await?;
    }
    rows::pass_over_unaddressed(&mut tx, now.minus(UNADDRESSED_FOR), now).await?;
    tx.commit().await?;
    notices(store, settings, random, &mut done, now).await?;
    let mut tx = store.begin().await?;
    done.dropped += rows::drop_overtaken(&mut tx, words::OVERTAKEN, now).await?;
    tx.commit().await?;
    admin_notices(store, settings, random, &mut done, now).await?;
    let mut tx = store.begin().await?;
    done.mails += links::answer_wishes(&mut tx, settings, random, now).await?;
    tx.commit().await?;
    if let Some((from, until)) = digest_due {
        // Read before anything is written: after an outage it is about many days, and nobody is to wait for it.
        let mut tx = store.read().await?;
        let letter = digest::digest(&mut tx, settings, from, until).await?;
        tx.commit().await?;
        let mut tx = store.begin().await?;
        if let Some(letter) = letter {
            let key = format!("digest/{}", until.as_ms());
            to_admins(&mut tx, &letter, &key, settings, random, &mut done, now).await?;
        }
        runs::put_setting(&mut tx, DIGEST_UNTIL, &until.as_ms().to_string(), now).await?;
        tx.commit().await?;
    }
    Ok(done)
}

/// Forgets what is kept long enough, and notes when.
async fn purge(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    rows::purge_mails(&mut tx, now.minus(KEPT_FOR)).await?;
    crate::store::links::purge_tokens(&mut tx, now.minus(KEPT_FOR)).await?;
    runs::put_setting(&mut tx, PURGED, &now.as_ms().to_string(), now).await?;
    tx.commit().await
}

/// Mail leaves from now on: what was recorded before stays untold, but for warnings that still stand, and so do mails that an
/// earlier time with mail left behind for longer than they would have been tried. Gives how many of these are dropped.
async fn begin(store: &Store, settings: &MailSettings, now: Timestamp) -> Result<u64, StoreError> {
    let mut tx = store.begin().await?;
    if runs::find_setting(&mut tx, rows::SINCE).await?.is_some_and(|text| !text.is_empty()) {
        return Ok(0);
    }
    let dropped = rows::drop_stale(&mut tx, now.minus(settings.give_up), words::LEFT_BEHIND, now).await?;
    rows::pass_over_notices(&mut tx, now).await?;
    rows::take_up_standing_warnings(&mut tx).await?;
    rows::pass_over_admin_notices(&mut tx, now).await?;
    runs::put_setting(&mut tx, rows::SINCE, &now.as_ms().to_string(), now).await?;
    // The first digest tells of the time from now on.
    runs::put_setting(&mut tx, DIGEST_UNTIL, &now.as_ms().to_string(), now).await?;
    tx.commit().await?;
    Ok(dropped)
}

/// The time that a digest is due for. After an outage of days one digest tells of all of them.
async fn digest_due(
    tx: &mut Tx,
    settings: &MailSettings,
    now: Timestamp,
) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
    let Some(schedule) = &settings.digest else { return Ok(None) };
    let told = runs::find_setting(tx, DIGEST_UNTIL).await?.and_then(|text| text.parse().ok()).map(Timestamp::from_ms);
    let Some(told) = told else { return Ok(None) };
    let mut due = None;
    let mut next = schedule.next_after(told, settings.digest_zone);
    // A cron expression for every minute, and a year without a run: enough.
    for _ in 0..1_000 {
        match next.filter(|at| *at <= now) {
            Some(at) => {
                due = Some(at);
                next = schedule.next_after(at, settings.digest_zone);
            }
            None => break,
        }
    }
    Ok(due.map(|until| (told, until)))
}

/// Turns notices into mails, page by page. One run records an event for all accounts of a payer in one commit, so a person in
/// several of them gets one mail, unless their dates differ.
async fn notices(
    store: &Store,
    settings: &MailSettings,
    random: &dyn RandomSource,
    done: &mut Queued,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut recipients = Recipients::default();
    let mut after = 0;
    let mut unaddressed = BTreeSet::new();
    loop {
        let mut tx = store.begin().await?;
        let page = rows::list_notices_to_mail(&mut tx, after, NOTICES_AT_ONCE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        let events: BTreeSet<(i64, i64, String)> =
            page.into_iter().map(|notice| (notice.payer_id, notice.epoch_id, notice.event)).collect();
        for (payer, epoch, name) in events {
            // Those of the payer's other accounts may stand on another page.
            for alike in that_say_the_same(rows::list_notices_of_event(&mut tx, payer, epoch, &name).await?) {
                event(&mut tx, &alike, &mut recipients, settings, random, (done, &mut unaddressed), now).await?;
            }
        }
        tx.commit().await?;
    }
    if !unaddressed.is_empty() {
        let accounts: Vec<String> = unaddressed.iter().map(|(_, name): &(i64, String)| name.clone()).collect();
        let newest = unaddressed.iter().map(|(notice, _)| *notice).max().unwrap_or_default();
        let (subject, body) = words::no_address(&accounts);
        let mut tx = store.begin().await?;
        rows::insert_admin_notice(&mut tx, &format!("no-address/{newest}"), "no-address", &subject, &body, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The notices of one event in groups that name the same date in the same words: an account that was left alone, or that waited
/// for an address, has a date of its own. The order is that of the dates.
fn that_say_the_same(notices: Vec<NoticeToMail>) -> Vec<Vec<NoticeToMail>> {
    let mut groups: BTreeMap<(Option<Timestamp>, String), Vec<NoticeToMail>> = BTreeMap::new();
    for notice in notices {
        groups.entry((notice.acts_at_ms, notice.sentence.clone())).or_default().push(notice);
    }
    groups.into_values().collect()
}

/// Who was written to about a notice, whatever became of the mails. Their keys alone do not tell: they name every account of a
/// mail, and another mail may be about fewer of them.
async fn written_to(tx: &mut Tx, notice: i64) -> Result<BTreeSet<String>, StoreError> {
    let addresses = rows::list_written_to(tx, notice).await?;
    Ok(addresses.iter().filter_map(|text| EmailAddress::parse(text).ok()).map(|address| address.person()).collect())
}

/// What one person is written about.
struct ToPerson<'a> {
    address: EmailAddress,
    /// Each notice, and whether its request is the person's to take back.
    abouts: Vec<(&'a About, bool)>,
    accounts: Vec<String>,
}

/// The mails of one event and date: one for each person, about all accounts of the payer that the person belongs to.
async fn event(
    tx: &mut Tx,
    notices: &[NoticeToMail],
    recipients: &mut Recipients,
    settings: &MailSettings,
    random: &dyn RandomSource,
    (done, unaddressed): (&mut Queued, &mut BTreeSet<(i64, String)>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut looked = Vec::with_capacity(notices.len());
    for notice in notices {
        looked.push(links::look(tx, notice, now).await?);
    }
    let mut people: BTreeMap<String, ToPerson<'_>> = BTreeMap::new();
    for about in &looked {
        let notice = &about.notice;
        let (account, addresses) = recipients.of(tx, notice.account_id, settings).await?;
        if addresses.is_empty() {
            if rows::put_notice_unaddressed(tx, notice.id, now).await? {
                done.without_address += 1;
                unaddressed.insert((notice.id, account.clone()));
                tracing::warn!(%account, event = %notice.event, "a notice found nobody to be written to");
            }
            continue;
        }
        let noticed = notice_wishes::list_events(tx, notice.account_id, notice.epoch_id).await?;
        let written = written_to(tx, notice.id).await?;
        let to_write = addresses
            .iter()
            .filter(|(person, recipient)| !written.contains(*person) && recipient.wants(&notice.event, &noticed));
        for (person, recipient) in to_write {
            let to = people.entry(person.clone()).or_insert_with(|| ToPerson {
                address: recipient.address.clone(),
                abouts: Vec::new(),
                accounts: Vec::new(),
            });
            to.abouts.push((about, about.is_theirs_to_undo(recipient)));
            to.accounts.push(account.clone());
        }
        // Also where nobody wants it: it is settled.
        rows::put_notice_queued(tx, notice.id, now).await?;
    }
    // A payer's accounts have one policy.
    let Some(first) = notices.first().filter(|_| !people.is_empty()) else { return Ok(()) };
    let terms = Terms::of_account(tx, first.account_id, settings, now).await?;
    for (person, ToPerson { address, abouts, accounts }) in people {
        let Some((letter, offers)) = letter(&abouts, &accounts, terms, settings, random) else { continue };
        let about: Vec<&NoticeToMail> = abouts.iter().map(|(about, _)| &about.notice).collect();
        let Some(first) = about.first() else { continue };
        let ids: Vec<String> = about.iter().map(|notice| notice.account_id.to_string()).collect();
        let key = format!("{}/{}/{}/{}/{person}", first.payer_id, first.epoch_id, first.event, ids.join("+"));
        if let Some(id) = rows::insert_mail(tx, &mail(&letter, key, &address, settings, random)?, now).await? {
            done.mails += 1;
            links::keep(tx, id, &offers, &address, settings, now).await?;
            for notice in &about {
                rows::link_notice(tx, id, notice.id).await?;
            }
        }
    }
    Ok(())
}

/// The letter to one person, with the links that it holds besides the pages'. `abouts` says of each notice whether its request is
/// the person's to take back.
fn letter(
    abouts: &[(&About, bool)],
    accounts: &[String],
    terms: Terms,
    settings: &MailSettings,
    random: &dyn RandomSource,
) -> Option<(Letter, Vec<Offer>)> {
    let (first, _) = abouts.first()?;
    let mut letter = Letter::notice(&first.notice, accounts, terms, settings);
    let offers = links::offers(abouts, accounts, settings, random);
    if offers.iter().any(Offer::is_undo) {
        letter.paragraphs.push(words::UNDO_TEXT.to_owned());
    }
    let mut shown: Vec<_> =
        settings.pages.iter().flat_map(|pages| offers.iter().map(|offer| offer.shown(pages))).collect();
    // Where CloudStack lets nobody in, a link to the pages inside of it would lead nowhere.
    if !abouts.iter().all(|(about, _)| about.suspended) {
        shown.append(&mut letter.links);
    }
    letter.links = shown;
    Some((letter, offers))
}

async fn admin_notices(
    store: &Store,
    settings: &MailSettings,
    random: &dyn RandomSource,
    done: &mut Queued,
    now: Timestamp,
) -> Result<(), StoreError> {
    loop {
        let mut tx = store.begin().await?;
        let page = rows::list_admin_notices_to_mail(&mut tx, ADMIN_NOTICES_AT_ONCE).await?;
        if page.is_empty() {
            return Ok(());
        }
        for notice in page {
            let subject = words::admin_subject(&notice.subject);
            let letter = Letter::for_admins("admin", subject, &notice.subject, &notice.body);
            to_admins(&mut tx, &letter, &format!("admin/{}", notice.id), settings, random, done, now).await?;
            rows::put_admin_notice_queued(&mut tx, notice.id, now).await?;
        }
        tx.commit().await?;
    }
}

async fn to_admins(
    tx: &mut Tx,
    letter: &Letter,
    key: &str,
    settings: &MailSettings,
    random: &dyn RandomSource,
    done: &mut Queued,
    now: Timestamp,
) -> Result<(), StoreError> {
    for address in &settings.admins {
        let key = format!("{key}/{}", address.person());
        let made = rows::insert_mail(tx, &mail(letter, key, address, settings, random)?, now).await?;
        done.mails += u64::from(made.is_some());
    }
    Ok(())
}

fn mail(
    letter: &Letter,
    key: String,
    address: &EmailAddress,
    settings: &MailSettings,
    random: &dyn RandomSource,
) -> Result<NewMail, StoreError> {
    letter.to_mail(key, address, settings, random).map_err(|error| StoreError::Nonsense(error.to_string()))
}
