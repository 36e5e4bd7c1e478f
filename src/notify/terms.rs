//! The terms that a letter is written by: those of the payer's own policy, by which is decided when a step may come.

use std::time::Duration;

use chrono_tz::Tz;

use super::settings::MailSettings;
use crate::{
    ids::AccountId,
    policy::{Policy, PolicyPatch},
    store::{StoreError, Tx, cloud, payers, policy as rows},
    time::Timestamp,
};

/// What of a policy stands in letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// How long before a lock or a stop its warning must have arrived.
    pub(super) warning: Duration,
    /// The zone in which dates are told.
    pub(super) zone: Tz,
}

impl Terms {
    /// Those of a policy.
    pub(super) fn of(policy: &Policy, settings: &MailSettings) -> Self {
        Self { warning: policy.warning_before, zone: policy.zone.unwrap_or(settings.zone) }
    }

    /// Those of an account's payer at an instant: the default, over it the class, over it what was set for the payer alone.
    pub(super) async fn of_account(
        tx: &mut Tx,
        account: AccountId,
        settings: &MailSettings,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let payer = cloud::get_account(tx, account).await?.payer_id;
        let class = payers::find_payer_row(tx, payer).await?.and_then(|row| row.class);
        let mut own = PolicyPatch::default();
        for row in rows::list_overrides(tx, Some(payer), now).await? {
            // As where it is decided: what a later version no longer reads is said and left out.
            if let Err(error) = own.set(&row.key, &row.value) {
                tracing::warn!(%payer, key = %row.key, %error, "a value set for a payer is not understood");
            }
        }
        Ok(Self::of(&settings.ladders.of(class.as_deref(), Some(&own)), settings))
    }
}
