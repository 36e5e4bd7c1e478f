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
        self, ArmedRungs, Arming, BillingHold, Block, CreditLimit, Decision, Exemption, Facts, Outcome, Policy,
        PolicyPatch, Reached, Rung, Warning, Warnings, notices,
    },
    store::{
        Tx,
        cloud::{self, Account},
        notice_wishes, notify,
        policy::{self as policy_rows, ExemptionRow, WarningRow},
        runs,
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
    /// Since when that hold has stood on its rung.
    pub held_since: Option<Timestamp>,
    /// What to pay so that the next step does not come, or the present one is lifted.
    pub to_avoid: Money,
    /// What must be available before the account gets back what was taken.
    pub opens_at: Money,
    /// Whether what was taken of it is to be given back.
    pub is_to_open: bool,
    /// The rungs that are armed for it: everything else is a rehearsal.
    pub armed: ArmedRungs,
    /// Whether bursar has the right to act.
    pub can_act: bool,
    /// Whether an administrator said to hold back notices too.
    pub notices_wait: bool,
    /// The policy that applies to it.
    pub policy: Policy,
}

impl PlannedAccount {
    /// Whether the decision is only rehearsed, because the rung it is about is not armed there. What gives back is never
    /// rehearsed for want of arming, but for want of the enforcer's key.
    pub fn is_rehearsal(&self) -> bool {
        match self.decision.acts_for() {
            Some(rung) => !self.armed.has(rung),
            None if self.decision.outcome == Outcome::Restore => !self.can_act,
            None => !self.armed.any(),
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
    let name = (account.domain_path.as_str(), account.name.as_str());
    crate::policy::protection::protection(account.account_type, &account.role_type, name, listed)
}

/// What is known beside the figures, read once for every account.
struct Known {
    reached: HashMap<(PayerId, String), Timestamp>,
    noticed: HashMap<(AccountId, bool), BTreeSet<String>>,
    warnings: HashMap<AccountId, Vec<WarningRow>>,
    blocks: HashMap<PayerId, Vec<Block>>,
    holds: HashMap<AccountId, (Option<BillingHold>, bool)>,
    lifted: HashMap<AccountId, Timestamp>,
    classes: HashMap<PayerId, String>,
    overrides: HashMap<PayerId, PolicyPatch>,
    exemptions: Vec<ExemptionRow>,
    /// Thresholds of single people, by account.
    own_thresholds: HashMap<AccountId, Vec<BTreeSet<u32>>>,
    /// Since when people are warned in another way than by mail.
    mail_off_since: Option<Timestamp>,
}

impl Known {
    async fn read(tx: &mut Tx, accounts: &[Account], now: Timestamp) -> Result<Self, Error> {
        let mut warnings: HashMap<AccountId, Vec<WarningRow>> = HashMap::new();
        for row in policy_rows::list_warnings(tx).await? {
            warnings.entry(row.account_id).or_default().push(row);
        }
        let mut holds: HashMap<AccountId, (Option<BillingHold>, bool)> = HashMap::new();
        for hold in policy_rows::list_standing_holds(tx).await? {
            let (billing, others) = holds.entry(hold.account_id).or_default();
            if hold.owner == "billing" {
                let rung = Rung::parse(&hold.rung).unwrap_or(Rung::Lock);
                *billing = Some(BillingHold { rung, since: hold.since_ms });
            } else {
                *others = true;
            }
        }
        let mut overrides: HashMap<PayerId, PolicyPatch> = HashMap::new();
        for row in policy_rows::list_overrides(tx, None, now).await? {
            // Checked when it was set; what a later version no longer reads is said and left out.
            if let Err(error) = overrides.entry(row.payer_id).or_default().set(&row.key, &row.value) {
                tracing::warn!(payer = %row.payer_id, key = %row.key, %error, "a value set for a payer is not understood");
            }
        }
        Ok(Self {
            reached: policy_rows::list_reached(tx).await?,
            noticed: policy_rows::list_noticed_now(tx).await?,
            warnings,
            blocks: guards::of_payers(tx, accounts).await?,
            holds,
            lifted: policy_rows::list_lifted(tx).await?,
            classes: policy_rows::list_classes(tx).await?,
            overrides,
            exemptions: policy_rows::list_exemptions(tx, now).await?,
            own_thresholds: notice_wishes::list_own_thresholds(tx).await?,
            mail_off_since: notify::off_since(tx, now).await?,
        })
    }

    fn reached(&self, payer: PayerId) -> Reached {
        let mut reached = Reached::default();
        if !self.reached.is_empty() {
            for rung in Rung::ACTING {
                reached.set(rung, self.reached.get(&(payer, rung.word().to_owned())).copied());
            }
        }
        reached
    }

    /// The warnings of an account. Of a rung that is not armed those that were rehearsed, which count from when they were written,
    /// as all do where mail is switched off on purpose: but not from before that, since whoever passes them on did not have to until
    /// then.
    fn warned(&self, account: AccountId, armed: ArmedRungs, mail_is_off: bool) -> Warnings {
        let mut warnings = Warnings::default();
        for row in self.warnings.get(&account).into_iter().flatten() {
            let rung = notices::rung_of_event(&row.event);
            let rehearsed = row.dry_run == 1;
            if rehearsed == armed.has(rung) {
                continue;
            }
            let arrived = if rehearsed {
                Some(row.recorded_ms)
            } else if mail_is_off {
                let passed_on = self.mail_off_since.map_or(row.recorded_ms, |since| since.max(row.recorded_ms));
                Some(row.arrived_ms.map_or(passed_on, |arrived| arrived.min(passed_on)))
            } else {
                row.arrived_ms
            };
            let warning = Warning {
                event: row.event.clone(),
                given: row.recorded_ms,
                arrived,
                named: row.acts_at_ms,
                no_address: row.no_address == 1,
            };
            warnings.set(rung, warning);
        }
        warnings
    }

    /// The exemption of an account: its own or its payer's, whichever lasts longer.
    fn exemption(&self, account: &Account) -> Option<Exemption> {
        let about_it = |row: &&ExemptionRow| match row.account_id {
            Some(of) => of == account.id,
            None => row.payer_id == account.payer_id,
        };
        let rows = || self.exemptions.iter().filter(about_it);
        let longest = rows().max_by_key(|row| row.until_ms)?;
        Some(Exemption {
            until: longest.until_ms,
            no_notices: rows().any(|row| row.no_notices == 1),
            author: longest.author.clone(),
            reason: longest.reason.clone(),
        })
    }
}

/// What would be decided about one account, for whoever looks at it: what it takes to open it again. Nothing is armed and
/// nothing blocks in this look, so the decision itself is none to act on.
pub async fn look_at(
    tx: &mut Tx,
    settings: &EnforceSettings,
    account: Account,
    now: Timestamp,
) -> Result<PlannedAccount, Error> {
    let until = runs::find_setting(tx, usage_settings::FETCHED_UNTIL)
        .await?
        .and_then(|text| text.parse().ok())
        .map(Timestamp::from_ms);
    let closed = (settings.zone, until);
    let standing =
        standing::get_standing(tx, account.payer_id, settings.default_limit, settings.tax, closed, now).await?;
    let known = Known::read(tx, std::slice::from_ref(&account), now).await?;
    Ok(plan_account(&known, settings, &[], &Arming::default(), account, standing, now))
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
    let accounts = cloud::list_accounts(tx).await?;
    let known = Known::read(tx, &accounts, now).await?;
    let mut plan = Plan::default();
    for account in accounts {
        if account.gone_ms.is_some() {
            continue;
        }
        plan.account_count += 1;
        if let Some(standing) = standings.get(&account.payer_id) {
            plan.accounts.push(plan_account(&known, settings, blocks, arming, account, *standing, now));
        }
    }
    Ok(plan)
}

fn plan_account(
    known: &Known,
    settings: &EnforceSettings,
    blocks: &[Block],
    arming: &Arming,
    account: Account,
    standing: Standing,
    now: Timestamp,
) -> PlannedAccount {
    let nothing = BTreeSet::new();
    let class = known.classes.get(&account.payer_id).map(String::as_str);
    let policy = settings.ladders.of(class, known.overrides.get(&account.payer_id));
    let mut own_blocks = blocks.to_vec();
    own_blocks.extend(known.blocks.get(&account.payer_id).into_iter().flatten().cloned());
    if let Some(class) = class.filter(|class| !settings.ladders.has_class(class)) {
        own_blocks.push(Block::ClassUnknown { class: class.to_owned() });
    }
    let (billing_hold, other_hold) = known.holds.get(&account.id).copied().unwrap_or_default();
    let armed = arming.at(&account.domain_path);
    let exemption = known.exemption(&account);
    let facts = Facts {
        now,
        currency: &settings.currency,
        zone: policy.zone.unwrap_or(settings.zone),
        state: &account.state,
        protected: protection(&account, &settings.protected),
        credit_limit: match (standing.managed, standing.limit_removed) {
            (true, _) => CreditLimit::Applies,
            (false, true) => CreditLimit::Removed,
            (false, false) => CreditLimit::Lacking,
        },
        in_scope: settings.scope.includes(&account.domain_path, &account.domain_id),
        figures: standing.figures,
        per_day: standing.per_day,
        days_left: standing.days_left,
        reached: known.reached(account.payer_id),
        billing_hold,
        other_hold,
        lifted: known.lifted.get(&account.id).copied(),
        noticed: known.noticed.get(&(account.id, !armed.has(Rung::Notify))).unwrap_or(&nothing),
        warned: &known.warned(account.id, armed, settings.mail_is_off),
        exemption: exemption.as_ref(),
        armed,
        blocks: &own_blocks,
    };
    let mut decision = policy::decide(&policy, &facts);
    let own = known.own_thresholds.get(&account.id).map_or(&[][..], Vec::as_slice);
    decision.notices.extend(notices::personal(&policy, &facts, own));
    let (to_avoid, opens_at) = (policy::to_avoid(&policy, &facts), policy::opens_at(&policy, &facts));
    let is_to_open = policy::is_to_open(&policy, &facts);
    PlannedAccount {
        epoch: standing.epoch,
        rung: billing_hold.map_or(Rung::None, |hold| hold.rung),
        held_since: billing_hold.map(|hold| hold.since),
        to_avoid,
        opens_at,
        is_to_open,
        armed,
        can_act: settings.has_key,
        notices_wait: exemption.as_ref().is_some_and(|exemption| exemption.no_notices),
        policy: policy.into_owned(),
        standing,
        decision,
        account,
        blocks: own_blocks,
    }
}
