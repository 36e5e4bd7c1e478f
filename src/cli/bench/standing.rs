//! `standing`: what every account's standing is and what is to be done about it, as each run of enforcement works it out. Nothing
//! is stored.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono_tz::Tz;

use super::{
    figure::{Aim, Figure},
    memory::Watch,
    place::{Place, hour},
    rating,
    rows::DAY_HOURS,
};
use crate::{
    enforcement,
    jobs::work::{self, EnforceOptions},
    policy::Arming,
    store::{bulk, cloud, rating::ChargeDay, runs},
    time::{Clock as _, Day},
    usage::sync::settings,
};

/// Accounts of a large cloud.
pub(super) const ACCOUNTS: u64 = 10_000;
/// Days with charges: those that the burn rate is of.
pub(super) const DAYS: u64 = 7;
/// Accounts whose charges are written at once.
const AT_ONCE: u64 = 100;

pub(super) async fn standing(place: &Place, accounts: u64) -> anyhow::Result<Vec<Figure>> {
    make(place, accounts, DAYS).await?;
    let settings = work::enforce_settings(&place.app, EnforceOptions { dry_run: true, ..EnforceOptions::default() })?;
    let now = hour(DAYS * DAY_HOURS);
    let watch = Watch::begin();
    let begun = Instant::now();
    let mut tx = place.store().read().await?;
    let plan = enforcement::plan(&mut tx, &settings, &[], &Arming::default(), now).await?;
    tx.commit().await?;
    let elapsed = begun.elapsed();
    anyhow::ensure!(plan.accounts.len() as u64 == accounts, "{} accounts were decided upon", plan.accounts.len());
    let aim = Aim::Within(Duration::from_secs(1));
    Ok(vec![Figure::new("standing", place.database(), (accounts, "accounts"), elapsed, aim).with_memory(watch.end())])
}

/// Accounts with charges of so many days, the newest of them [`DAYS`] after the first hour: one in ten has used up its limit of 100
/// in a week.
pub(super) async fn make(place: &Place, accounts: u64, days: u64) -> anyhow::Result<()> {
    let now = place.clock.now();
    let (book, _) = rating::book(place).await?;
    let first = Day::of(hour(DAYS * DAY_HOURS), Tz::UTC).context("no day")?.number() - i64::try_from(days)?;
    let mut tx = place.store().begin().await?;
    let mut charges = Vec::new();
    for account in 0..accounts {
        let (id, _) = cloud::put_account(&mut tx, &rating::seen_account(account), now).await?;
        for day in 0..i64::try_from(days)? {
            let net_nanos = if account % 10 == 0 { 16_000_000_000 } else { 1_920_000_000 };
            charges.push(ChargeDay {
                records: 240,
                net_nanos,
                tax_percent: Some("0".to_owned()),
                ..ChargeDay::empty(id.get(), first + day, 1, book.get())
            });
        }
        if (account + 1) % AT_ONCE == 0 {
            bulk::put_charge_days(&mut tx, &std::mem::take(&mut charges)).await?;
        }
    }
    bulk::put_charge_days(&mut tx, &charges).await?;
    let until = hour(DAYS * DAY_HOURS).as_ms().to_string();
    runs::put_setting(&mut tx, settings::FETCHED_UNTIL, &until, now).await?;
    tx.commit().await?;
    Ok(())
}
