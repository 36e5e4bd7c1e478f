//! Acting under intents (design 7.9 to 7.13): what is about to be done is committed first, and what came of it is read back.

use std::{collections::HashMap, time::Duration};

use super::{
    calls,
    former::{self, FormerUser},
    plan::{PlannedAccount, protection},
    run::{Enforcer, Error},
    tell,
};
use crate::{
    cloudstack::{self, Client, OwnUser},
    ids::{AccountId, CloudId, DecisionId, RunId},
    policy::Rung,
    store::{
        StoreError, Tx, acting,
        cloud::{self, Account},
        enforcement::{self as rows, HoldRow, IntentRow, NewDecision},
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// A decision to go down that is older than this is taken again instead of carried out (design 7.13).
const DECISION_IS_STALE_AFTER: Duration = Duration::from_mins(1);
/// What is said of such a decision.
pub(super) const DECISION_IS_OLD: &str = "the decision is older than a minute; the next run takes it again";
/// Clocks of bursar and CloudStack may differ by so much when events are matched with a hold.
pub(super) const EVENT_TOLERANCE: Duration = Duration::from_mins(1);
/// Intents of an account that are looked through for the one behind a hold.
pub(super) const INTENTS_LOOKED_AT: i64 = 1_000;

/// Whether an action came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It did, as read back.
    Yes,
    /// It is under way: a later run ends it. Says what it waits for.
    Started(String),
    /// It did not, since somebody else wants the account suspended, or has changed it: that is theirs. Says what they did.
    Left(String),
    /// It did not, and why.
    No(String),
}

impl Done {
    /// What it waits for, or why it did not come about; None where it did.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Yes => None,
            Self::Started(why) | Self::Left(why) | Self::No(why) => Some(why),
        }
    }
}

/// Acts in one run, under one fence.
pub struct Actor<'a> {
    pub(super) enforcer: &'a Enforcer<'a>,
    pub(super) client: &'a Client,
    pub(super) run: RunId,
    pub(super) fence: i64,
    planned_at: Timestamp,
    /// Decisions that stand since an earlier run, as they are now.
    anew: HashMap<DecisionId, NewDecision>,
    /// Whether a person ordered what is done, so that a pause does not stop it.
    pub(super) by_order: bool,
    /// The name of the user whose key the enforcer uses: its events are ours.
    pub(super) own_name: Option<String>,
    /// The same with its account and domain: elsewhere somebody else may have the name.
    pub(super) own: Option<OwnUser>,
    /// Users whose key the enforcer had before.
    pub(super) former: Vec<FormerUser>,
}

/// The id of an account in CloudStack.
pub(super) fn cloud_id(account: &Account) -> Result<CloudId, Error> {
    account
        .cloud_id
        .parse()
        .map_err(|_| Error::Store(StoreError::Nonsense(format!("account {} has no UUID", account.full_name()))))
}

/// What an intent is about, as the steps need it.
pub(super) struct Intent {
    pub id: String,
    pub decision: DecisionId,
    pub action: String,
    pub state_before: String,
    pub created: Timestamp,
    pub cause: Option<String>,
}

impl From<&IntentRow> for Intent {
    fn from(row: &IntentRow) -> Self {
        Self {
            id: row.id.clone(),
            decision: DecisionId::new(row.decision_id),
            action: row.action.clone(),
            state_before: row.state_before.clone().unwrap_or_default(),
            created: Timestamp::from_ms(row.created_ms),
            cause: row.cause.clone(),
        }
    }
}

/// How far an intent that a former run began may be driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drive {
    /// Only what was sent is concluded. The decision behind it may be hours old, and the tenant may have paid since.
    Conclude,
    /// To its end: a decision of this run wants it.
    GoOn,
    /// What was sent is concluded, and nothing more is taken down: the intent ends as far as it came.
    End,
}

/// How an intent ended.
pub(super) struct End<'a> {
    /// Whether it did what it was for.
    pub worked: bool,
    /// The account's state as read back.
    pub state_after: Option<&'a str>,
    /// In words.
    pub outcome: &'a str,
}

impl<'a> Actor<'a> {
    /// Gets ready to act: finds out under which name CloudStack knows the enforcer.
    pub async fn new(enforcer: &'a Enforcer<'a>, client: &'a Client, run: RunId, fence: i64) -> Result<Self, Error> {
        // What was done when goes by it: ours may have leapt.
        client.measure_clock_skew().await?;
        let user = client.own_user_as_known(former::find_own_id(enforcer).await?).await?;
        let id = user.as_ref().map(|user| user.id);
        let own = user.map(OwnUser::of);
        let own_name = own.as_ref().map(|own| own.username.clone());
        let former = match (&own, id) {
            (Some(own), Some(id)) => former::note(enforcer, fence, (own, id)).await?,
            _ => Vec::new(),
        };
        Ok(Self {
            enforcer,
            client,
            run,
            fence,
            planned_at: enforcer.clock.now(),
            anew: HashMap::new(),
            by_order: false,
            own_name,
            own,
            former,
        })
    }

    /// Begins a transaction that writes; see [`Enforcer::write`].
    pub(super) async fn write(&self) -> Result<Tx, Error> {
        self.enforcer.write(self.fence).await
    }

    /// From now on a person's order is carried out, also while enforcement is paused.
    pub(super) const fn acts_by_order(&mut self) {
        self.by_order = true;
    }

    /// From now on decisions of this instant are carried out: what a former run left is concluded before they are taken. `anew` are
    /// those that were stored by an earlier run, as they are now.
    pub fn carries_out_decisions_of(&mut self, now: Timestamp, anew: HashMap<DecisionId, NewDecision>) {
        self.planned_at = now;
        self.anew = anew;
    }

    /// Whether the decisions of this run are too old to begin anything downwards on them (design 7.13).
    pub(super) fn is_out_of_date(&self, now: Timestamp) -> bool {
        now.since(self.planned_at) > DECISION_IS_STALE_AFTER || now < self.planned_at
    }

    /// What came of something about one account. An error of CloudStack's becomes the reason why it did not come about: one account
    /// must not stand in the way of all others. The run ends where CloudStack does not say its own version either.
    pub(super) async fn bear<T>(&self, result: Result<T, Error>) -> Result<Result<T, String>, Error> {
        let error = match result {
            Ok(done) => return Ok(Ok(done)),
            Err(Error::CloudStack(error)) => error,
            Err(error) => return Err(error),
        };
        match self.client.capabilities().await {
            // To be told that one may not ask is an answer.
            Ok(_) | Err(cloudstack::Error::NotAllowed { .. }) => Ok(Err(error.to_string())),
            Err(_) => Err(error.into()),
        }
    }

    /// Takes an account one step down. One step a call, under one intent.
    pub async fn step_down(&self, planned: &PlannedAccount, decision: DecisionId, rung: Rung) -> Result<Done, Error> {
        if self.is_out_of_date(self.enforcer.clock.now()) {
            return Ok(Done::No(DECISION_IS_OLD.to_owned()));
        }
        if let Some(why) = self.may_call().await? {
            return Ok(Done::No(why.to_owned()));
        }
        let account = &planned.account;
        let Some(read) = self.read_back(account).await? else {
            return Ok(Done::No("it is no longer in CloudStack".to_owned()));
        };
        if let Some(why) = self.untouchable(account, &read) {
            return Ok(Done::No(why));
        }
        let hold = self.billing_hold(account.id).await?;
        let state = read.state.as_str();
        // Enabled by somebody else while it was stopped: it is locked first, as always.
        let again = rung == Rung::Stop && state == "enabled" && hold.as_ref().is_some_and(|hold| hold.rung == "stop");
        let rung = if again { Rung::Lock } else { rung };
        if let Some(done) = out_of_step(rung, state, hold.as_ref()) {
            return Ok(done);
        }
        if rung == Rung::Stop
            && let Some(hold) = &hold
            && self.is_no_longer_ours(account, hold).await?
        {
            self.note_hold_of_others(hold).await?;
            return Ok(Done::Left("somebody else locked it, in CloudStack".to_owned()));
        }
        let patience = self.enforcer.settings.intent_deadline;
        let intent = match self.begin(account, decision, rung.word(), state, None).await? {
            Some(intent) => intent,
            // What a former run began and a fresh decision still wants is gone on with.
            None => match self.open_intent(account.id).await? {
                Some(open) if open.action == rung.word() => Intent::from(&open),
                _ => return Ok(Done::No("an earlier action on it is not finished".to_owned())),
            },
        };
        let done = Box::pin(self.advance(&intent, account, (Drive::GoOn, patience))).await?;
        Ok(match done {
            Done::Yes if again => {
                Done::Started("somebody had enabled it; it is locked again, and the next run stops it".to_owned())
            }
            done => done,
        })
    }

    /// Goes on with an intent from whatever there is, as far as it comes.
    pub(super) async fn advance(
        &self,
        intent: &Intent,
        account: &Account,
        (drive, patience): (Drive, Duration),
    ) -> Result<Done, Error> {
        match intent.action.as_str() {
            "restrict" => self.advance_restrict(intent, account, drive).await,
            "lock" => self.advance_lock(intent, account, patience).await,
            "stop" => self.advance_stop(intent, account, (drive, patience)).await,
            // A way up is never on an old decision too much.
            _ => self.advance_restore(intent, account, patience).await,
        }
    }

    /// The open intent of an account: there is one at most.
    pub(super) async fn open_intent(&self, account: AccountId) -> Result<Option<IntentRow>, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let open = rows::list_open_intents(&mut tx).await?;
        tx.commit().await?;
        Ok(open.into_iter().find(|intent| intent.account_id == account))
    }

    /// The mirror may be minutes old: what is never touched is checked on what CloudStack says now.
    fn untouchable(&self, account: &Account, read: &cloudstack::Account) -> Option<String> {
        let as_read = Account {
            name: read.name.clone(),
            account_type: read.account_type.map_or(account.account_type, i64::from),
            role_type: read.role_type.clone().unwrap_or_else(|| account.role_type.clone()),
            ..account.clone()
        };
        protection(&as_read, &self.enforcer.settings.protected).map(|why| format!("it is protected: {why}"))
    }

    /// Whether the lock that stands is not bursar's, or not only. Where the events can not be read, what was seen last holds.
    async fn is_no_longer_ours(&self, account: &Account, hold: &HoldRow) -> Result<bool, Error> {
        let Some(own) = &self.own_name else { return Ok(false) };
        let mut tx = self.enforcer.store.read().await?;
        let intents = rows::list_intents(&mut tx, Some(account.id), INTENTS_LOOKED_AT).await?;
        tx.commit().await?;
        let begun = Self::locked_under(hold, &intents);
        Ok(self.is_suspended_by_others(account, own, begun).await? == Some(true))
    }

    /// The hold that bursar itself has on an account.
    pub(super) async fn billing_hold(&self, account: AccountId) -> Result<Option<HoldRow>, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let holds = rows::list_holds(&mut tx, Some(account)).await?;
        tx.commit().await?;
        Ok(holds.into_iter().find(|hold| hold.owner == "billing"))
    }

    /// Reads the account's state in CloudStack and notes it.
    pub(super) async fn read_back(&self, account: &Account) -> Result<Option<cloudstack::Account>, Error> {
        let read = self.client.get_account(cloud_id(account)?).await?;
        if let Some(read) = &read {
            let mut tx = self.write().await?;
            cloud::put_account_state(&mut tx, account.id, read.state.as_str(), self.enforcer.clock.now()).await?;
            tx.commit().await?;
        }
        Ok(read)
    }

    /// Writes an intent in a commit of its own, with its decision where that stands since an earlier run: what is done is told in the
    /// words of now. None: an earlier action on the account is open.
    pub(super) async fn begin(
        &self,
        account: &Account,
        decision: DecisionId,
        action: &str,
        state_before: &str,
        cause: Option<&str>,
    ) -> Result<Option<Intent>, Error> {
        let id = self.enforcer.random.uuid().to_string();
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        let decision = match self.anew.get(&decision) {
            Some(anew) => rows::insert_decision(&mut tx, anew, now).await?,
            None => decision,
        };
        match rows::insert_intent(&mut tx, &id, decision, self.run, account.id, action, state_before, cause, now).await
        {
            Ok(()) => tx.commit().await?,
            Err(StoreError::Exists(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        Ok(Some(Intent {
            id,
            decision,
            action: action.to_owned(),
            state_before: state_before.to_owned(),
            created: now,
            cause: cause.map(str::to_owned),
        }))
    }

    /// Ends an intent with what was read back. A step down that worked places or raises the hold in the same commit, and the
    /// tenant is told.
    pub(super) async fn finish(&self, intent: &Intent, account: &Account, end: End<'_>) -> Result<(), Error> {
        let now = self.enforcer.clock.now();
        let mut tx = self.write().await?;
        let state = if end.worked { "done" } else { "failed" };
        if !rows::end_intent(&mut tx, &intent.id, state, end.state_after, end.outcome, now).await? {
            return Ok(());
        }
        let event = match intent.action.as_str() {
            "restrict" => "restricted",
            "lock" => "locked",
            "stop" => "stopped",
            _ => "restored",
        };
        if end.worked && event != "restored" {
            rows::raise_hold(&mut tx, account.id, &intent.action, end.outcome, &intent.id, now).await?;
            self.tell_tenant(&mut tx, intent, account, event).await?;
        }
        self.audit(&mut tx, intent, account, (Some(&intent.state_before), end.state_after), end.outcome).await?;
        // What stays for a person to do stands behind a semicolon, item by item.
        if end.worked && end.outcome.contains("; ") {
            let (key, name) = (format!("by-hand-{}", intent.id), account.full_name());
            let subject = format!("{name}: something is left to do by hand");
            let body = format!("{name} was {event}: {}.", end.outcome);
            tell::administrators(&mut tx, &key, "by-hand", &subject, &body, now).await?;
        }
        tx.commit().await?;
        crate::telemetry::metrics::intent_ended(state);
        tracing::info!(account = %account.full_name(), action = %intent.action, outcome = end.outcome, "action ended");
        Ok(())
    }

    /// Gives the tenant notice of what was done, in the words of the decision.
    pub(super) async fn tell_tenant(
        &self,
        tx: &mut Tx,
        intent: &Intent,
        account: &Account,
        event: &str,
    ) -> Result<(), Error> {
        let sentence = rows::get_decision(tx, intent.decision).await?.sentence;
        // The kind of a notice is what stands before its last dash.
        let event = format!("{event}-{}", intent.id.replace('-', ""));
        let now = self.enforcer.clock.now();
        rows::insert_notice(tx, account.payer_id, account.id, 0, &event, &sentence, None, false, now).await?;
        Ok(())
    }

    /// Writes what was done into the audit trail: who ordered it or which rule of the ladder, what was read before and after, and the
    /// calls with their jobs in CloudStack and their answers.
    pub(super) async fn audit(
        &self,
        tx: &mut Tx,
        intent: &Intent,
        account: &Account,
        (before, after): (Option<&str>, Option<&str>),
        answer: &str,
    ) -> Result<(), Error> {
        let actor = match &intent.cause {
            Some(cause) => cause.clone(),
            None => format!("run {}: {}", self.run, rows::get_decision(tx, intent.decision).await?.reason),
        };
        let calls = calls::in_words(&acting::list_calls(tx, &intent.id).await?);
        let answer = if calls.is_empty() { answer.to_owned() } else { format!("{answer}. CloudStack: {calls}") };
        let line = AuditLine {
            at_ms: self.enforcer.clock.now().as_ms(),
            actor,
            action: format!("account.{}", intent.action),
            subject: account.full_name(),
            before_state: before.map(str::to_owned),
            after_state: after.map(str::to_owned),
            request_id: Some(intent.id.clone()),
            answer: Some(answer),
        };
        runs::write_audit(tx, &line).await?;
        Ok(())
    }

    /// Stores a decision that a person took, so that every act has one.
    pub(super) async fn decide_by_hand(
        &self,
        account: &Account,
        reason: &'static str,
        sentence: String,
    ) -> Result<DecisionId, Error> {
        let new = NewDecision {
            run: self.run,
            payer: account.payer_id,
            account: account.id,
            outcome: "restore",
            rung: "none",
            reason,
            sentence,
            figures: "{}".to_owned(),
            dry_run: false,
        };
        let mut tx = self.write().await?;
        let id = rows::insert_decision(&mut tx, &new, self.enforcer.clock.now()).await?;
        tx.commit().await?;
        Ok(id)
    }
}

/// Why a step down does not fit to how the account stands now.
fn out_of_step(rung: Rung, state: &str, hold: Option<&HoldRow>) -> Option<Done> {
    let held = hold.map(|hold| hold.rung.as_str());
    let fits = match rung {
        Rung::Restrict => state == "enabled" && held.is_none(),
        Rung::Lock => state == "enabled",
        // Disabled by others meanwhile: not ours to claim.
        Rung::Stop => state == "locked" && matches!(held, Some("lock" | "stop")),
        Rung::None | Rung::Notify => false,
    };
    if fits {
        None
    } else if state == "enabled" {
        let step = rung.word();
        Some(Done::No(format!("it is enabled, which does not fit a step to {step}; the next run decides anew")))
    } else {
        Some(Done::Left(format!("it is {state} already, by somebody else")))
    }
}
