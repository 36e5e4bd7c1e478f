//! The warnings that an account's people find on the pages.

use super::error::Failure;
use crate::{
    enforcement,
    policy::notices,
    store::{
        Tx,
        cloud::Account,
        notify::{self, StandingWarning},
    },
};

/// The warnings that stand for an account, and whose step still comes: one that was disarmed since does not. Only what is shown may count
/// as seen.
pub(super) async fn of_account(tx: &mut Tx, account: &Account) -> Result<Vec<StandingWarning>, Failure> {
    let armed = enforcement::arming(tx).await?.at(&account.domain_path);
    let mut warnings = notify::list_standing_warnings(tx, account.id).await?;
    warnings.retain(|warning| armed.has(notices::rung_of_event(&warning.event)));
    Ok(warnings)
}
