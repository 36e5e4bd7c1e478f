//! Gathers the facts of every account and decides, without touching anything.

use std::collections::{BTreeSet, HashMap};

use super::{
    guards,
    run::{EnforceSettings, Error},
};
use crate::{
    ids::{AccountId, PayerId},
    ledger::standing::{self, Standing},
    policy::{self, Block, Decision, Facts},
    store::{
        Tx,
        cloud::{self, Account},
        enforcement as rows, runs,
    },
    time::Timestamp,
    usage::sync::settings as usage_settings,
};

/// What was decided about one account.
#[derive(Debug, Clone)]
pub struct PlannedAccount {
    /// The account.
    pub account: Account,
    /// Its payer's standing.
    pub standing: Standing,
    /// What to do, and why.
    pub decision: Decision,
    /// The newest epoch of the payer.
    pub epoch: i64,
    /// Why a step downwards waits.
    pub blocks: Vec<Block>,
}

/// Everything that was decided in a run.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// One line an account that is still in CloudStack.
    pub accounts: Vec<PlannedAccount>,
    /// Accounts that are still in CloudStack, for the fuse's percentage.
    pub account_count: usize,
}

/// Why an account is never touched: administrators, CloudStack's own accounts, bursar's, and a list.
pub fn protection(account: &Account, listed: &[(String, String)]) -> Option<&'static str> {
    match account.account_type {
        1 => return Some("it is a root administrator's account"),
        3 => return Some("it is a resource administrator's account"),
        4 => return Some("it is a read-only administrator's account"),
        5 => return Some("it belongs to a project"),
        _ => {}
    }
    if account.role_type == "Admin" || account.role_type == "ResourceAdmin" {
        return Some("its role is an administrator's");
    }
    if account.name == "system" || account.name == "baremetal-system-account" {
        return Some("it is CloudStack's own");
    }
    listed
        .iter()
        .any(|(path, name)| *path == account.domain_path && *name == account.name)
        .then_some("it is on the list of protected accounts")
}

/// Decides about every account, on one consistent state of the store. `blocks` hold for everybody; `rehearsed`: the
/// warnings given so far are those of rehearsals.
pub async fn plan(
    tx: &mut Tx,
    settings: &EnforceSettings,
    blocks: &[Block],
    rehearsed: bool,
    now: Timestamp,
) -> Result<Plan, Error> {
    let until = runs::find_setting(tx, usage_settings::FETCHED_UNTIL)
        .await?
        .and_then(|text| text.parse().ok())
        .map(Timestamp::from_ms);
    let standings: HashMap<PayerId, Standing> =
        standing::list_standings(tx, settings.default_limit, settings.tax, settings.zone, until, now)
            .await?
            .into_iter()
            .map(|standing| (standing.payer, standing))
            .collect();
    let over_since = rows::list_over_since(tx).await?;
    let noticed = rows::list_noticed(tx, rehearsed).await?;
    let warned = rows::list_warned(tx, rehearsed).await?;
    let mut holds: HashMap<AccountId, Vec<String>> = HashMap::new();
    for hold in rows::list_holds(tx, None).await? {
        holds.entry(hold.account_id).or_default().push(hold.owner);
    }
    let nothing = BTreeSet::new();
    let mut plan = Plan::default();
    let accounts = cloud::list_accounts(tx).await?;
    let of_payers = guards::of_payers(tx, &accounts).await?;
    for account in accounts {
        if account.gone_ms.is_some() {
            continue;
        }
        plan.account_count += 1;
        let Some(standing) = standings.get(&account.payer_id) else { continue };
        let mut own_blocks = blocks.to_vec();
        own_blocks.extend(of_payers.get(&account.payer_id).into_iter().flatten().cloned());
        let held = holds.get(&account.id).map(Vec::as_slice).unwrap_or_default();
        let protected = protection(&account, &settings.protected);
        let facts = Facts {
            now,
            currency: &settings.currency,
            zone: settings.zone,
            state: &account.state,
            protected,
            managed: standing.managed,
            in_scope: settings.scope.includes(&account.domain_path, &account.domain_id),
            figures: standing.figures,
            per_day: standing.per_day,
            days_left: standing.days_left,
            over_since: over_since.get(&account.payer_id).copied(),
            billing_hold: held.iter().any(|owner| owner == "billing"),
            other_hold: held.iter().any(|owner| owner != "billing"),
            noticed: noticed.get(&(account.id.get(), standing.epoch)).unwrap_or(&nothing),
            warned: warned.get(&account.id.get()).copied(),
            blocks: &own_blocks,
        };
        let decision = policy::decide(&settings.policy, &facts);
        plan.accounts.push(PlannedAccount {
            epoch: standing.epoch,
            standing: *standing,
            decision,
            account,
            blocks: own_blocks,
        });
    }
    Ok(plan)
}
