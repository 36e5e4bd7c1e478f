//! Credit limits: what an administrator allocates to a payer.

use super::{
    booking::{Cause, Defaults, audit, figures, open_epoch},
    post::Error,
    rules::Figures,
};
use crate::{
    ids::PayerId,
    money::Money,
    store::{Tx, ledger as rows, payers},
    time::Timestamp,
};

/// The credit limit of a payer; None takes it out of management. The same key with another limit or payer is refused.
pub async fn set_limit(
    tx: &mut Tx,
    payer: PayerId,
    amount: Option<Money>,
    cause: Cause<'_>,
    defaults: Defaults,
    now: Timestamp,
) -> Result<Figures, Error> {
    if amount.is_some_and(Money::is_negative) {
        return Err(Error::BadAmount("a credit limit can not be negative; 0 is prepaid".to_owned()));
    }
    payers::lock_payer(tx, payer).await?;
    let before = rows::find_limit(tx, payer).await?;
    if rows::insert_limit(tx, cause.key, payer, amount, cause.author, cause.reason, now).await?
        && before != Some(amount)
    {
        let shown = amount.map_or_else(|| "none".to_owned(), |amount| amount.to_string());
        audit(tx, payer, "limit.set", cause, &shown, now).await?;
        return open_epoch(tx, payer, "limit", defaults, now).await;
    }
    figures(tx, payer, defaults, now).await
}
