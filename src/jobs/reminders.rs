//! Reminders that come by the calendar: three days before the end of a month, to whoever asked for it.
//!
//! Promises: once a month and account; never in a dry run of notices; nothing is sent here, only recorded.

use chrono::Datelike as _;

use super::{
    app::{App, AppError},
    work::JobError,
};
use crate::{
    money::{Money, MoneyError},
    policy::{Rung, Topic},
    rating::tax::TaxRate,
    store::{
        Tx,
        cloud::{self, Account},
        enforcement as rows, notice_wishes,
        rating::{self, ChargeDay},
    },
    time::{Day, Timestamp},
};

/// How long before the end of the month.
const BEFORE_THE_END: i64 = 3;

/// The month that is reminded of now, as its first day and the first day after it; None: the time has not come.
fn month_to_tell(today: Day) -> Option<(Day, Day)> {
    let date = today.date()?;
    let first = Day::from_number(today.number() - i64::from(date.day0()));
    let next = date.checked_add_months(chrono::Months::new(1))?.with_day(1)?;
    let days = next.signed_duration_since(date).num_days();
    (days <= BEFORE_THE_END).then(|| (first, Day::from_number(today.number() + days)))
}

/// Records what is due, and gives how many notices that made.
pub async fn record(app: &App) -> Result<u64, JobError> {
    let now = app.clock.now();
    let Some(today) = Day::of(now, app.config.billing.zone) else { return Ok(0) };
    let Some((first, until)) = month_to_tell(today) else { return Ok(0) };
    let mut tx = app.store.read().await?;
    let accounts = notice_wishes::list_accounts_that_want(&mut tx, Topic::Invoice).await?;
    let arming = crate::enforcement::arming(&mut tx).await?;
    tx.commit().await?;
    let mut recorded = 0;
    for id in accounts {
        let mut tx = app.store.begin().await?;
        let account = cloud::get_account(&mut tx, id).await?;
        if arming.is_armed(Rung::Notify, &account.domain_path) {
            recorded += u64::from(remind(&mut tx, app, &account, (first, until), now).await?);
        }
        tx.commit().await?;
    }
    Ok(recorded)
}

async fn remind(
    tx: &mut Tx,
    app: &App,
    account: &Account,
    (first, until): (Day, Day),
    now: Timestamp,
) -> Result<bool, JobError> {
    let Some(date) = first.date() else { return Ok(false) };
    // One for each account: its amount is another than that of the payer's other accounts.
    let event = format!("invoice-{:04}-{:02}-{}", date.year(), date.month(), account.id);
    let payer = cloud::get_payer(tx, account.payer_id).await?;
    let charges = rating::list_charges_between(tx, Some(account.id), first, until).await?;
    let sum = with_tax(&charges, payer.tax_percent.as_deref(), app)?;
    let zone = app.config.billing.zone;
    let known =
        app.fetched_until(tx).await?.map(|at| format!(", as far as usage is known up to {}", at.display_in(zone)));
    let sentence = format!(
        "{}: the month from {first} on comes to {} so far, with tax{}. It ends with {}.",
        account.full_name(),
        app.config.billing.currency.format(sum),
        known.unwrap_or_default(),
        Day::from_number(until.number() - 1),
    );
    // No epoch: a payment in these days must not make it come twice.
    Ok(rows::insert_notice(tx, account.payer_id, account.id, 0, &event, &sentence, None, false, now).await?)
}

/// What charges come to with the tax of each.
fn with_tax(charges: &[ChargeDay], own: Option<&str>, app: &App) -> Result<Money, AppError> {
    let unfit = |error: MoneyError| AppError::Configuration(error.to_string());
    let usual = own.map(TaxRate::parse).transpose()?.map_or_else(|| app.tax(), Ok)?;
    let mut sum = Money::ZERO;
    for charge in charges {
        let net = Money::round_from_nanos(charge.net_nanos);
        let rate = charge.tax_percent.as_deref().map(TaxRate::parse).transpose()?.unwrap_or(usual);
        sum = sum.plus(net).and_then(|sum| sum.plus(rate.of(net)?)).map_err(unfit)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::from_date(text.parse().unwrap())
    }

    #[test]
    fn it_comes_three_days_before_the_end_of_any_month() {
        for (today, due) in [
            ("2026-11-27", false),
            ("2026-11-28", true),
            ("2026-11-30", true),
            ("2026-12-01", false),
            ("2026-02-25", false),
            ("2026-02-26", true),
            ("2028-02-26", false),
            ("2028-02-27", true),
            ("2026-12-29", true),
            ("2026-12-28", false),
        ] {
            assert_eq!(month_to_tell(day(today)).is_some(), due, "{today}");
        }
        assert_eq!(month_to_tell(day("2026-12-31")), Some((day("2026-12-01"), day("2027-01-01"))));
    }
}
