//! `enforce`: what the schedule does every few minutes, in a cloud with a month behind it: a run of enforcement in which nothing
//! changes, a look of the mail task that finds nothing to send, and payments. CloudStack is not asked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    figure::{Aim, Figure},
    memory::Watch,
    place::{Place, hour},
    rows::DAY_HOURS,
    standing,
};
use crate::{
    enforcement::{self, run::Enforcer},
    ids::{AccountId, PayerId},
    jobs::{
        mail,
        work::{self, EnforceOptions},
    },
    ledger::{booking::Cause, payments},
    money::Money,
    notify::{self, Looked, MailSettings, Transport},
    random::{RandomSource as _, SystemRandom},
    store::{
        Tx, cloud,
        enforcement::{self as rows, NewDecision},
        ledger, notify as mails, policy,
    },
    time::{Clock as _, Timestamp},
};

/// Days behind each account.
pub(super) const DAYS: u64 = 30;
/// Between two runs.
const EVERY: Duration = Duration::from_mins(15);
/// An account is told something every so many days, and pays.
const TOLD_EVERY: u64 = 3;
/// An account is locked or opened every so many days.
const ACTED_EVERY: u64 = 6;
/// Payments that are timed.
const PAYMENTS: u64 = 100;

pub(super) async fn enforce(place: &Place, accounts: u64, days: u64) -> anyhow::Result<Vec<Figure>> {
    standing::make(place, accounts, standing::DAYS).await?;
    live(place, days).await?;
    let mut tx = place.store().begin().await?;
    policy::arm(&mut tx, "notify", "", "bench", place.clock.now()).await?;
    tx.commit().await?;
    let mut mail = mail::settings(&place.app);
    mail.transport = Transport::Folder(std::env::temp_dir());

    // What is new since the month is not timed.
    place.clock.set(hour(standing::DAYS * DAY_HOURS));
    run(place, accounts).await?;
    look(place, &mail).await?;
    place.clock.advance(EVERY);
    let watch = Watch::begin();
    let enforced = run(place, accounts).await?;
    let memory = watch.end();
    let looked = look(place, &mail).await?;
    let paid = pay(place, PAYMENTS.min(accounts)).await?;
    let figure = |name, count, elapsed| Figure::new(name, place.database(), count, elapsed, Aim::None);
    Ok(vec![
        figure("enforce", (accounts, "accounts"), enforced).with_memory(memory),
        figure("look for mail", (1, "look"), looked),
        figure("pay", (PAYMENTS.min(accounts), "payments"), paid),
    ])
}

/// One run, as the schedule has it where no CloudStack is configured.
async fn run(place: &Place, accounts: u64) -> anyhow::Result<Duration> {
    let settings =
        work::enforce_settings(&place.app, EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() })?;
    let clock = Arc::clone(&place.app.clock);
    let random = Arc::clone(&place.app.random);
    let holder = place.app.holder.as_str();
    let enforcer = Enforcer { store: place.store(), client: None, clock, random, holder, settings: &settings };
    let begun = Instant::now();
    let report = enforcement::enforce(&enforcer, place.run).await?;
    let elapsed = begun.elapsed();
    anyhow::ensure!(report.decisions.len() as u64 == accounts, "{} accounts were decided upon", report.decisions.len());
    Ok(elapsed)
}

async fn look(place: &Place, settings: &MailSettings) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    notify::queue(place.store(), settings, &SystemRandom, Looked::AtAll, place.clock.now()).await?;
    Ok(begun.elapsed())
}

/// A payment each for so many payers, each in a transaction of its own.
async fn pay(place: &Place, payments: u64) -> anyhow::Result<Duration> {
    let defaults = (place.app.default_limit(), place.app.tax()?);
    let amount = Money::from_micros(1_000_000);
    let begun = Instant::now();
    for payer in 1..=i64::try_from(payments)? {
        let mut tx = place.store().begin().await?;
        let key = format!("bench-{payer}");
        let cause = Cause { author: "bench", reason: "paid", key: &key };
        payments::receive(&mut tx, PayerId::new(payer), amount, cause, defaults, place.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(begun.elapsed())
}

/// So many days of every account before the first hour: a decision a day, and now and then an epoch with a notice and its mail, and
/// an act that was done.
async fn live(place: &Place, days: u64) -> anyhow::Result<()> {
    let mut tx = place.store().read().await?;
    let accounts = cloud::list_accounts(&mut tx).await?;
    tx.commit().await?;
    for some in accounts.chunks(100) {
        let mut tx = place.store().begin().await?;
        for account in some {
            for ago in (1..=days).rev() {
                let now = hour(0).minus(Duration::from_hours(ago * DAY_HOURS));
                live_a_day(&mut tx, place, (account.id, account.payer_id), ago, now).await?;
            }
        }
        tx.commit().await?;
    }
    Ok(())
}

async fn live_a_day(
    tx: &mut Tx,
    place: &Place,
    (account, payer): (AccountId, PayerId),
    ago: u64,
    now: Timestamp,
) -> anyhow::Result<()> {
    let holder = place.app.holder.as_str();
    let decision = NewDecision {
        run: place.run,
        payer,
        account,
        outcome: "keep",
        rung: "none",
        reason: "enough",
        sentence: "There is enough credit: 13.44 of 100.00 EUR are used.".to_owned(),
        figures: r#"{"total":"100.000000","used":"13.440000","available":"86.560000","percent":"13.44"}"#.to_owned(),
        dry_run: false,
    };
    let decision = rows::insert_decision(tx, &decision, now).await?;
    if ago.is_multiple_of(ACTED_EVERY) {
        let intent = SystemRandom.uuid().to_string();
        rows::insert_intent(tx, &intent, decision, place.run, account, "lock", "enabled", None, now).await?;
        rows::end_intent(tx, &intent, "done", Some("locked"), "done", now).await?;
    }
    if !ago.is_multiple_of(TOLD_EVERY) {
        return Ok(());
    }
    ledger::open_epoch(tx, payer, "payment", Money::from_micros(100_000_000), now).await?;
    let (epoch, _) = ledger::find_epoch(tx, payer).await?.context("no epoch was opened")?;
    let sentence = "80 % of your credit are used: 80.00 of 100.00 EUR.";
    rows::insert_notice(tx, payer, account, epoch, "used-80", sentence, None, false, now).await?;
    let notices = rows::list_notices(tx, Some(account), 1).await?;
    let notice = notices.first().context("no notice was recorded")?.id;
    mails::put_notice_queued(tx, notice, now).await?;
    let mail = mails::NewMail {
        key: format!("{notice}/alice@example.com"),
        kind: "used".to_owned(),
        recipient: "alice@example.com".to_owned(),
        subject: "80 % of your credit are used".to_owned(),
        text_body: sentence.repeat(20),
        html_body: sentence.repeat(40),
        message_id: format!("{notice}@example.com"),
    };
    let mail = mails::insert_mail(tx, &mail, now).await?.context("no mail was made")?;
    mails::link_notice(tx, mail, notice).await?;
    mails::claim_mail(tx, holder, now.plus(EVERY), now).await?;
    anyhow::ensure!(mails::put_mail_sent(tx, mail, holder, now).await?, "the mail was not sent");
    Ok(())
}
