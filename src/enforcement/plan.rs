//! Gathers the facts of every account and decides, without touching anything.

use std::collections::{BTreeSet, HashMap};

use super::{
    guards,
    run::{EnforceSettings, Error},
};
use crate::{
    ids::{AccountId, PayerId},
    ledger::standing::{self, Standing},
    money::Money,
    policy::{
        self, ArmedRungs, Arming, BillingHold, Block, Decision, Facts, Outcome, Policy, Reached, Rung, Warning,
        Warnings, notices,
    },
    store::{
        Tx,
        cloud::{self, Account},
        enforcement as rows, policy as policy_rows, runs,
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
    /// The rung that stands now: none, or that of bursar's hold.
    pub rung: Rung,
    /// What to pay so that the next step does not come, or the present one is lifted.
    pub to_avoid: Money,
    /// What must be available before the account gets back what was taken.
    pub opens_at: Money,
    /// The rungs that are armed for it: everything else is a rehearsal.
    pub armed: ArmedRungs,
    /// The policy that applies to it.
    pub policy: Policy,
}

impl PlannedAccount {
    /// Whether the decision is only rehearsed, because the rung it is about is not armed there. What gives back is never
    /// rehearsed for want of arming.
    pub fn is_rehearsal(&self) -> bool {
        match self.decision.acts_for() {
            Some(rung) => !self.armed.has(rung),
            None => !self.armed.any() && self.decision.outcome != Outcome::Restore,
        }
    }
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

/// Decides about every account, on one consistent state of the store. `blocks` hold for everybody.
pub async fn plan(
    tx: &mut Tx,
    settings: &EnforceSettings,
    blocks: &[Block],
    arming: &Arming,
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
    let reached = policy_rows::list_reached(tx).await?;
    let rehearsed = !arming.any();
    let noticed = rows::list_noticed(tx, rehearsed).await?;
    let warned = rows::list_warnings(tx, rehearsed).await?;
    let mut holds: HashMap<AccountId, (Option<BillingHold>, bool)> = HashMap::new();
    for hold in rows::list_holds(tx, None).await? {
        let (billing, others) = holds.entry(hold.account_id).or_default();
        if hold.owner == "billing" {
            let rung = Rung::parse(&hold.rung).unwrap_or(Rung::Lock);
            *billing = Some(BillingHold { rung, since: Timestamp::from_ms(hold.placed_ms) });
        } else {
            *others = true;
        }
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
        let (billing_hold, other_hold) = holds.get(&account.id).copied().unwrap_or_default();
        let since = |rung: Rung| reached.get(&(account.payer_id, rung.word().to_owned())).copied();
        let reached = Reached { restrict: since(Rung::Restrict), lock: since(Rung::Lock), stop: since(Rung::Stop) };
        let mut warnings = Warnings::default();
        for rung in Rung::ACTING {
            let Some(since) = reached.get(rung) else { continue };
            let event = notices::warning_event(rung, since);
            if let Some((given, named)) = warned.get(&(account.id.get(), event.clone())).copied() {
                warnings.set(rung, Warning { event, given, arrived: Some(given), named, no_address: false });
            }
        }
        let armed = arming.at(&account.domain_path);
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
            reached,
            billing_hold,
            other_hold,
            lifted: None,
            noticed: noticed.get(&(account.id.get(), standing.epoch)).unwrap_or(&nothing),
            warned: &warnings,
            exemption: None,
            armed,
            blocks: &own_blocks,
        };
        let decision = policy::decide(&settings.policy, &facts);
        plan.accounts.push(PlannedAccount {
            epoch: standing.epoch,
            rung: billing_hold.map_or(Rung::None, |hold| hold.rung),
            to_avoid: policy::to_avoid(&settings.policy, &facts),
            opens_at: policy::opens_at(&settings.policy, &facts),
            armed,
            policy: settings.policy.clone(),
            standing: *standing,
            decision,
            account,
            blocks: own_blocks,
        });
    }
    Ok(plan)
}
