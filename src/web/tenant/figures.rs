//! A payer's figures as the tenant's pages show them.

use crate::{
    jobs::app::App,
    ledger::standing::Standing,
    policy::Policy,
    store::{
        Tx,
        cloud::{Account, Payer},
        payers,
    },
    web::error::Failure,
};

/// The figures, written out.
pub(super) struct Figures {
    pub(super) total: String,
    pub(super) used: String,
    pub(super) available: String,
    pub(super) limit: String,
    pub(super) grants: String,
    pub(super) grants_left: String,
    pub(super) money: String,
    pub(super) in_debt: bool,
    pub(super) accrued: String,
    pub(super) managed: bool,
}

impl Figures {
    pub(super) fn of(standing: &Standing, app: &App) -> Self {
        let (currency, figures) = (&app.config.billing.currency, standing.figures);
        Self {
            total: currency.format(figures.total),
            used: currency.format(figures.used),
            available: currency.format(figures.available),
            limit: currency.format(figures.limit),
            grants: currency.format(figures.grants_amount),
            grants_left: currency.format(figures.grants_left),
            money: currency.format(figures.money),
            in_debt: figures.money.is_negative(),
            accrued: currency.format(figures.accrued),
            managed: standing.managed,
        }
    }
}

/// The standing of an account's payer.
pub(super) async fn standing_of(tx: &mut Tx, app: &App, account: &Account) -> Result<Standing, Failure> {
    Ok(app.standing_of(tx, account.payer_id).await?)
}

/// The policy that applies to a payer now.
pub(super) async fn policy_of(tx: &mut Tx, app: &App, payer: &Payer) -> Result<Policy, Failure> {
    let row =
        payers::find_payer_row(tx, payer.id).await?.ok_or_else(|| Failure::unexpected(&"an account has no payer"))?;
    let (own, _) = crate::enforcement::terms::own_patch(tx, &row, app.clock.now())
        .await
        .map_err(|error| Failure::unexpected(&error))?;
    Ok(app.ladders().of(row.class.as_deref(), Some(&own)).into_owned())
}
