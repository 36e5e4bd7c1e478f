//! The two actions of this ladder, lock and enable, each under an intent (design 7.9 to 7.13).

use std::time::Duration;

use uuid::Uuid;

use super::{
    others,
    plan::{PlannedAccount, protection},
    run::{Enforcer, Error, LEASE},
    switches,
};
use crate::{
    cloudstack::{self, AccountState, Client, JobState},
    ids::{CloudId, DecisionId, RunId},
    store::{
        StoreError,
        cloud::{self, Account},
        enforcement as rows,
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// A decision older than this is taken again instead of carried out (design 7.13).
const DECISION_IS_STALE_AFTER: Duration = Duration::from_mins(1);
/// Clocks of bursar and CloudStack may differ by so much when events are matched with a hold.
pub(super) const EVENT_TOLERANCE: Duration = Duration::from_mins(1);
/// A request that got lost may still arrive and act for so long: its signature lasts ten minutes, and clocks differ.
const REQUEST_LIVES_FOR: Duration = Duration::from_mins(15);
/// Intents of an account that are looked through for the one behind a hold.
const INTENTS_LOOKED_AT: i64 = 1_000;
/// The namespace of job ids: a UUID of bursar's own.
const JOB_NAMESPACE: Uuid =
    Uuid::from_bytes([0x62, 0x75, 0x72, 0x73, 0x61, 0x72, 0x4a, 0x6f, 0x80, 0x62, 0x73, 0x2d, 0x76, 0x31, 0x00, 0x01]);

/// Whether an action came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It did, as read back.
    Yes,
    /// It did not, and why.
    No(String),
}

/// Acts in one run, under one fence.
pub struct Actor<'a> {
    pub(super) enforcer: &'a Enforcer<'a>,
    pub(super) client: &'a Client,
    run: RunId,
    fence: i64,
    planned_at: Timestamp,
    /// The name of the user whose key the enforcer uses: its events are ours.
    pub(super) own_name: Option<String>,
}

/// The job id of an attempt (design 7.10): the same attempt always asks for the same job.
pub fn job_id(intent: &str, attempt: i64) -> Uuid {
    Uuid::new_v5(&JOB_NAMESPACE, format!("{intent}/{attempt}").as_bytes())
}

fn cloud_id(account: &Account) -> Result<CloudId, Error> {
    account
        .cloud_id
        .parse()
        .map_err(|_| Error::Store(StoreError::Nonsense(format!("account {} has no UUID", account.full_name()))))
}

impl<'a> Actor<'a> {
    /// Gets ready to act: finds out under which name CloudStack knows the enforcer.
    pub async fn new(enforcer: &'a Enforcer<'a>, client: &'a Client, run: RunId, fence: i64) -> Result<Self, Error> {
        let own_name = client.own_user().await?.map(|user| user.username);
        Ok(Self { enforcer, client, run, fence, planned_at: enforcer.clock.now(), own_name })
    }

    /// From now on decisions of this instant are carried out: what a former run left is concluded before they are taken.
    pub(super) const fn carries_out_decisions_of(&mut self, now: Timestamp) {
        self.planned_at = now;
    }

    /// Whether acting may go on: not paused, the lease still ours, the decision still fresh.
    async fn may_act(&self) -> Result<Option<String>, Error> {
        let now = self.enforcer.clock.now();
        if now.since(self.planned_at) > DECISION_IS_STALE_AFTER || now < self.planned_at {
            return Ok(Some("the decision is older than a minute; the next run takes it again".to_owned()));
        }
        let mut tx = self.enforcer.store.read().await?;
        if runs::find_setting(&mut tx, switches::PAUSED).await?.as_deref() == Some("1") {
            return Ok(Some("enforcement was paused meanwhile".to_owned()));
        }
        if !runs::holds_lease(&mut tx, LEASE, self.enforcer.holder, self.fence, now).await? {
            return Ok(Some("another process enforces now".to_owned()));
        }
        tx.commit().await?;
        Ok(None)
    }

    /// Reads the account's state in CloudStack and notes it.
    pub(super) async fn read_back(&self, account: &Account) -> Result<Option<cloudstack::Account>, Error> {
        let read = self.client.get_account(cloud_id(account)?).await?;
        if let Some(read) = &read {
            let mut tx = self.enforcer.store.begin().await?;
            cloud::put_account_state(&mut tx, account.id, read.state.as_str(), self.enforcer.clock.now()).await?;
            tx.commit().await?;
        }
        Ok(read)
    }

    /// Writes an intent and claims it, in commits of their own. None: somebody else is acting on the account.
    async fn begin(
        &self,
        account: &Account,
        decision: DecisionId,
        action: &str,
        state_before: &str,
    ) -> Result<Option<(String, Uuid)>, Error> {
        let intent = self.enforcer.random.uuid().to_string();
        let mut tx = self.enforcer.store.begin().await?;
        let now = self.enforcer.clock.now();
        match rows::insert_intent(&mut tx, &intent, decision, self.run, account.id, action, state_before, now).await {
            Ok(()) => tx.commit().await?,
            Err(StoreError::Exists(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let job = job_id(&intent, 1);
        let mut tx = self.enforcer.store.begin().await?;
        let claimed = rows::claim_intent(&mut tx, &intent, 1, self.fence, &job.to_string(), now).await?;
        tx.commit().await?;
        Ok(claimed.then_some((intent, job)))
    }

    /// Ends an intent with what was read back; places or lifts the hold in the same commit.
    #[expect(clippy::too_many_arguments, reason = "the columns of an intent's end")]
    pub(super) async fn finish(
        &self,
        intent: &str,
        account: &Account,
        action: &str,
        state_before: &str,
        state_after: Option<&str>,
        worked: bool,
        outcome: &str,
    ) -> Result<(), Error> {
        let now = self.enforcer.clock.now();
        let mut tx = self.enforcer.store.begin().await?;
        let state = if worked { "done" } else { "failed" };
        if !rows::end_intent(&mut tx, intent, state, state_after, outcome, now).await? {
            return Ok(());
        }
        if worked && action == "lock" {
            rows::place_hold(&mut tx, account.id, "billing", "lock", outcome, Some(intent), "bursar", now).await?;
        }
        if worked && action == "enable" {
            rows::lift_hold(&mut tx, account.id, "billing", "bursar", now).await?;
        }
        let line = AuditLine {
            at_ms: now.as_ms(),
            actor: format!("run {}", self.run),
            action: format!("account.{action}"),
            subject: account.full_name(),
            before_state: Some(state_before.to_owned()),
            after_state: state_after.map(str::to_owned),
            request_id: Some(intent.to_owned()),
            answer: Some(outcome.to_owned()),
        };
        runs::write_audit(&mut tx, &line).await?;
        tx.commit().await?;
        crate::telemetry::metrics::intent_ended(state);
        tracing::info!(account = %account.full_name(), action, outcome, "action ended");
        Ok(())
    }

    /// Locks an account.
    pub async fn lock(&self, planned: &PlannedAccount, decision: DecisionId) -> Result<Done, Error> {
        if let Some(why) = self.may_act().await? {
            return Ok(Done::No(why));
        }
        let account = &planned.account;
        let Some(read) = self.read_back(account).await? else {
            return Ok(Done::No("it is no longer in CloudStack".to_owned()));
        };
        // The mirror may be minutes old: what is never touched is checked on what CloudStack says now.
        let as_read = Account {
            name: read.name.clone(),
            account_type: read.account_type.map_or(account.account_type, i64::from),
            role_type: read.role_type.clone().unwrap_or_else(|| account.role_type.clone()),
            ..account.clone()
        };
        if let Some(why) = protection(&as_read, &self.enforcer.settings.protected) {
            return Ok(Done::No(format!("it is protected: {why}")));
        }
        if read.state != AccountState::Enabled {
            return Ok(Done::No(format!("it is {} already, by somebody else", read.state.as_str())));
        }
        let Some((intent, job)) = self.begin(account, decision, "lock", read.state.as_str()).await? else {
            return Ok(Done::No("an earlier action on it is not finished".to_owned()));
        };
        let id = cloud_id(account)?;
        let begun = self.enforcer.clock.now();
        let ended = match self.client.lock_account(id, job).await {
            Ok(accepted) => self.await_job(accepted).await,
            Err(error) if error.is_already_exists() => self.await_job(job).await,
            Err(cloudstack::Error::Uncertain { text }) => {
                tracing::warn!(account = %account.full_name(), why = %text, "the answer to a lock was lost; its job is looked up");
                self.await_job(job).await
            }
            Err(error) => {
                let outcome = error.to_string();
                self.finish(&intent, account, "lock", "enabled", None, false, &outcome).await?;
                return Ok(Done::No(outcome));
            }
        };
        self.conclude_lock(&intent, account, "enabled", begun, ended).await
    }

    /// Waits for a job; what can not be found out now is left to the next run.
    pub(super) async fn await_job(&self, job: Uuid) -> JobEnd {
        let settings = self.enforcer.settings;
        match self.client.wait_for_job(job, settings.intent_deadline, settings.job_pause).await {
            Ok(JobState::Pending) => JobEnd::Unknown("its job has not ended".to_owned()),
            Ok(JobState::Succeeded(_)) => JobEnd::Ended(String::new()),
            Ok(JobState::Failed { code, text }) => JobEnd::Ended(format!("its job failed ({code}): {text}")),
            Ok(JobState::Cancelled) => JobEnd::Ended("its job was cancelled".to_owned()),
            Err(cloudstack::Error::Gone { .. }) => JobEnd::NeverWas,
            Err(error) => JobEnd::Unknown(error.to_string()),
        }
    }

    /// After a lock's job: what counts is the state as read back (facts 4.2: a failed job may have acted).
    pub(super) async fn conclude_lock(
        &self,
        intent: &str,
        account: &Account,
        state_before: &str,
        begun: Timestamp,
        ended: JobEnd,
    ) -> Result<Done, Error> {
        let why = match &ended {
            JobEnd::Unknown(why) => return Ok(Done::No(format!("{why}; the next run looks again"))),
            JobEnd::Ended(why) => why.clone(),
            JobEnd::NeverWas => "CloudStack knows no such job".to_owned(),
        };
        let read = self.read_back(account).await?;
        let state = read.as_ref().map(|read| read.state.as_str().to_owned());
        let locked = matches!(read.as_ref().map(|read| &read.state), Some(AccountState::Locked));
        // Locked without a job of ours: somebody else's lock, unless the events say that it was ours.
        let ours = match ended {
            JobEnd::Ended(_) => true,
            _ => locked && self.locked_by_us(account, begun).await?,
        };
        // A lock that comes about after its intent was given up would be nobody's, and no payment would lift it.
        if ended == JobEnd::NeverWas && !ours && self.enforcer.clock.now() < begun.plus(REQUEST_LIVES_FOR) {
            return Ok(Done::No(format!("{why}, and the request may still be on its way; the next run looks again")));
        }
        if locked && ours && state_before == "enabled" {
            self.finish(intent, account, "lock", state_before, state.as_deref(), true, "locked for billing").await?;
            return Ok(Done::Yes);
        }
        let outcome = if locked { "somebody else locked it".to_owned() } else { format!("it was not locked: {why}") };
        self.finish(intent, account, "lock", state_before, state.as_deref(), false, &outcome).await?;
        Ok(Done::No(outcome))
    }

    /// Whether the newest lock of the account in CloudStack's events since `begun` is ours.
    async fn locked_by_us(&self, account: &Account, begun: Timestamp) -> Result<bool, Error> {
        let names = self.lockers(account, begun.minus(EVENT_TOLERANCE)).await?;
        Ok(match (names, &self.own_name) {
            (Some(names), Some(own)) => names.first() == Some(own),
            _ => false,
        })
    }

    /// Enables an account that bursar locked, if nobody else wants it locked.
    pub async fn restore(&self, planned: &PlannedAccount, decision: DecisionId) -> Result<Done, Error> {
        if let Some(why) = self.may_act().await? {
            return Ok(Done::No(why));
        }
        let account = &planned.account;
        let mut tx = self.enforcer.store.read().await?;
        let holds = rows::list_holds(&mut tx, Some(account.id)).await?;
        let intents = rows::list_intents(&mut tx, Some(account.id), INTENTS_LOOKED_AT).await?;
        tx.commit().await?;
        let Some(hold) = holds.iter().find(|hold| hold.owner == "billing") else {
            return Ok(Done::No("bursar did not lock it".to_owned()));
        };
        if holds.len() > 1 {
            return Ok(Done::No("somebody else wants it locked too".to_owned()));
        }
        let Some(read) = self.read_back(account).await? else {
            return Ok(Done::No("it is no longer in CloudStack".to_owned()));
        };
        // From the call on, not from the hold: a hold comes late where a later run had to find out that the lock was done.
        let begun = intents
            .iter()
            .find(|intent| hold.intent_id.as_ref() == Some(&intent.id))
            .map_or(hold.placed_ms, |intent| intent.created_ms);
        let since = Timestamp::from_ms(begun).minus(EVENT_TOLERANCE);
        let Some(own) = &self.own_name else {
            return Ok(Done::No("bursar can not tell its own name in CloudStack, so it can not tell its lock from another; enable it by hand".to_owned()));
        };
        match self.lockers(account, since).await? {
            None => {
                return Ok(Done::No(
                    "CloudStack's events can not be read, so nobody knows whether an administrator locked it too; enable it by hand, or allow listEvents"
                        .to_owned(),
                ));
            }
            Some(names) if names.iter().any(|name| name != own) => {
                let now = self.enforcer.clock.now();
                let mut tx = self.enforcer.store.begin().await?;
                others::place_hold(&mut tx, account.id, now).await?;
                tx.commit().await?;
                return Ok(Done::No(
                    "an administrator locked it too, in CloudStack; that is not bursar's to undo".to_owned(),
                ));
            }
            Some(_) => {}
        }
        let state_before = read.state.as_str().to_owned();
        if read.state == AccountState::Enabled {
            self.drop_hold(planned).await?;
            return Ok(Done::Yes);
        }
        let Some((intent, _)) = self.begin(account, decision, "enable", &state_before).await? else {
            return Ok(Done::No("an earlier action on it is not finished".to_owned()));
        };
        match self.client.enable_account(cloud_id(account)?).await {
            Ok(_) | Err(cloudstack::Error::Uncertain { .. }) => {}
            Err(error) => {
                let outcome = error.to_string();
                self.finish(&intent, account, "enable", &state_before, None, false, &outcome).await?;
                return Ok(Done::No(outcome));
            }
        }
        self.conclude_enable(&intent, account, &state_before).await
    }

    /// enableAccount is synchronous: the state read back tells whether it happened.
    pub(super) async fn conclude_enable(&self, intent: &str, account: &Account, before: &str) -> Result<Done, Error> {
        let read = self.read_back(account).await?;
        let state = read.as_ref().map(|read| read.state.as_str().to_owned());
        let enabled = matches!(read.as_ref().map(|read| &read.state), Some(AccountState::Enabled));
        let outcome = if enabled { "enabled again" } else { "it was not enabled; the next run tries again" };
        self.finish(intent, account, "enable", before, state.as_deref(), enabled, outcome).await?;
        Ok(if enabled { Done::Yes } else { Done::No(outcome.to_owned()) })
    }

    /// Somebody enabled the account and enough is available: bursar's hold has no object any more.
    pub async fn drop_hold(&self, planned: &PlannedAccount) -> Result<(), Error> {
        let now = self.enforcer.clock.now();
        let mut tx = self.enforcer.store.begin().await?;
        if rows::lift_hold(&mut tx, planned.account.id, "billing", "bursar", now).await? {
            let line = AuditLine {
                at_ms: now.as_ms(),
                actor: format!("run {}", self.run),
                action: "hold.lift".to_owned(),
                subject: planned.account.full_name(),
                answer: Some("somebody had enabled the account, and enough is available".to_owned()),
                ..AuditLine::default()
            };
            runs::write_audit(&mut tx, &line).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// How a job ended, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// It ended; the reason where it ended badly.
    Ended(String),
    /// CloudStack does not know it: it never came, or was purged.
    NeverWas,
    /// It can not be found out now.
    Unknown(String),
}
