//! Taking back: what one run did, or everything that bursar ever took and has not given back.
//!
//! Promises: nothing of another owner's hold is lifted; what can not be given back is named with the reason; it works while
//! enforcement is paused, because whoever undoes has paused first.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    act::{Actor, Done, Drive, Intent},
    marker,
    plan::{self, Plan},
    plans, recover,
    run::{self, Enforcer, Error},
    switches,
};
use crate::{
    ids::{AccountId, RunId},
    store::{
        StoreError, Tx, acting,
        cloud::{self, Account},
        enforcement as rows, operations, policy as policy_rows,
        runs::{self, AuditLine},
    },
};

/// What an intent of these kinds took.
const DOWNWARDS: [&str; 3] = ["restrict", "lock", "stop"];
/// What was given back on a person's word is left alone for so long at least, whatever the policy's respite.
const LEFT_ALONE_FOR: Duration = Duration::from_hours(24);

/// What was given back.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct UndoReport {
    /// The run that was undone; None: everything.
    pub of_run: Option<i64>,
    /// Accounts given back.
    pub given_back: Vec<String>,
    /// What is under way: a later run ends it where enforcement is not paused; otherwise the same is to be said again.
    pub started: Vec<String>,
    /// What could not be given back, with the reason.
    pub left: Vec<String>,
    /// What a former run had begun, with how it ended.
    pub recovered: Vec<String>,
    /// Accounts of which bursar holds nothing any more: given back before, or gone from CloudStack.
    pub free: Vec<String>,
}

impl UndoReport {
    /// What was given back before it ended in the middle, in words that follow the reason.
    pub(super) fn given_back_before(&self) -> String {
        if self.given_back.is_empty() {
            String::new()
        } else {
            format!("; given back before that: {}", self.given_back.join(", "))
        }
    }
}

/// Gives back what a run took: each account that it took a step down and that bursar still holds.
pub async fn undo(enforcer: &Enforcer<'_>, run: RunId, of: RunId, author: &str) -> Result<UndoReport, Error> {
    let report = UndoReport { of_run: Some(of.get()), ..UndoReport::default() };
    let who = format!("{author} (undo of run {of})");
    let words = (author, "enforce.undo", format!("run {of}"));
    with_lease(enforcer, run, (Order::Undo(of), &who), words, report).await
}

/// The accounts that a run took a step down, what a former run had begun included, and that nothing else was done to since: who was
/// given back meanwhile and is held again is held for what came later.
async fn taken_by(tx: &mut Tx, of: RunId) -> Result<BTreeSet<AccountId>, StoreError> {
    let known = operations::find_run(tx, of).await?;
    let Some(known) = known.filter(|known| known.job == "enforce") else {
        let text = format!("run {of} is no run of enforcement; `bursar runs enforce` shows them");
        return Err(StoreError::Missing(text));
    };
    // Each with when the last of it came about.
    let mut taken: BTreeMap<AccountId, i64> = BTreeMap::new();
    for intent in operations::list_intents_of_run(tx, of).await? {
        if (intent.state == "done" || intent.state == "open") && DOWNWARDS.contains(&intent.action.as_str()) {
            let until = taken.entry(intent.account_id).or_insert(i64::MIN);
            *until = (*until).max(intent.finished_ms.unwrap_or(i64::MAX));
        }
    }
    for account in operations::list_taken_by_run(tx, of).await? {
        let until = taken.entry(account).or_insert(i64::MIN);
        *until = (*until).max(known.ended_ms.unwrap_or(i64::MAX));
    }
    let holds = rows::list_holds(tx, None).await?;
    let came_later = |account: AccountId, until: i64| {
        let held = holds.iter().find(|hold| hold.account_id == account && hold.owner == "billing");
        held.is_some_and(|hold| hold.placed_ms > until)
    };
    Ok(taken.into_iter().filter(|(account, until)| !came_later(*account, *until)).map(|(account, _)| account).collect())
}

/// Every account that bursar holds, or has changed something of though no hold stands for it.
async fn taken_at_all(tx: &mut Tx) -> Result<BTreeSet<AccountId>, StoreError> {
    let holds = rows::list_holds(tx, None).await?;
    let mut held: BTreeSet<AccountId> =
        holds.into_iter().filter(|hold| hold.owner == "billing").map(|hold| hold.account_id).collect();
    let open = rows::list_open_intents(tx).await?;
    // A restore that is under way too: paused, no run goes on with it.
    held.extend(open.iter().map(|open| open.account_id));
    // Also what somebody else holds by now.
    held.extend(acting::list_changed(tx).await?);
    Ok(held)
}

/// Pauses and disarms, then gives back every account that bursar holds, and whatever else it changed and no hold stands for.
pub async fn leave(enforcer: &Enforcer<'_>, run: RunId, author: &str) -> Result<UndoReport, Error> {
    pause_and_disarm(enforcer, run, author).await?;
    let who = format!("{author} (leave)");
    let words = (author, "enforce.leave", "enforcement".to_owned());
    with_lease(enforcer, run, (Order::Leave, &who), words, UndoReport::default()).await
}

/// Stands whatever becomes of the rest, also where another process is enforcing.
async fn pause_and_disarm(enforcer: &Enforcer<'_>, run: RunId, author: &str) -> Result<(), Error> {
    let now = enforcer.clock.now();
    let mut tx = enforcer.store.begin().await?;
    if !runs::touch_run(&mut tx, run, now).await? {
        // Another process may have left meanwhile, and somebody have armed again.
        return Err(Error::TakenOver);
    }
    runs::put_setting(&mut tx, switches::PAUSED, "1", now).await?;
    let mut armed = Vec::new();
    for row in policy_rows::list_arming(&mut tx).await? {
        policy_rows::disarm(&mut tx, &row.rung, &row.domain_path).await?;
        armed.push(format!("{} {}", row.rung, row.domain_path).trim_end().to_owned());
    }
    // Whoever arms again some day has not approved these.
    plans::drop_all(&mut tx, author, "leaving", now).await?;
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: author.to_owned(),
        action: "enforce.disarm".to_owned(),
        subject: "enforcement".to_owned(),
        before_state: Some(armed.join(", ")),
        after_state: Some("nothing is armed, and enforcement is paused".to_owned()),
        answer: Some("leaving".to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(&mut tx, &line).await?;
    Ok(tx.commit().await?)
}

/// What is to be given back.
#[derive(Clone, Copy)]
enum Order {
    /// What a run took.
    Undo(RunId),
    /// Everything.
    Leave,
}

/// `words` are the author, the action and the subject in the audit trail, where it also stands what was done before an end in the
/// middle.
async fn with_lease(
    enforcer: &Enforcer<'_>,
    run: RunId,
    (order, who): (Order, &str),
    (author, action, subject): (&str, &str, String),
    mut report: UndoReport,
) -> Result<UndoReport, Error> {
    let fence = run::take_lease(enforcer, run).await?;
    let result = give_back_all(enforcer, (run, fence), (order, who), &mut report).await;
    run::drop_lease(enforcer, fence).await?;
    match result {
        Ok(()) => {
            audit(enforcer, (author, action, &subject), &report, None).await?;
            Ok(report)
        }
        // Whoever took over goes on, and this process writes nothing any more.
        Err(error) if error.is_taken_over() => Err(error),
        Err(error) if report.given_back.is_empty() && report.started.is_empty() && report.recovered.is_empty() => {
            Err(error)
        }
        Err(error) => {
            audit(enforcer, (author, action, &subject), &report, Some(&error)).await?;
            Err(Error::UndoCutShort { error: Box::new(error), report: Box::new(report) })
        }
    }
}

async fn give_back_all(
    enforcer: &Enforcer<'_>,
    (run, fence): (RunId, i64),
    (order, who): (Order, &str),
    report: &mut UndoReport,
) -> Result<(), Error> {
    // Looked at under the lease: what was seen before another process may have given back, and taken again, meanwhile.
    let mut tx = enforcer.write(fence).await?;
    if let Some(why) = marker::find_unconfirmed(&mut tx).await? {
        return Err(Error::Unconfirmed(why));
    }
    let accounts = match order {
        Order::Undo(of) => taken_by(&mut tx, of).await?,
        Order::Leave => taken_at_all(&mut tx).await?,
    };
    tx.commit().await?;
    // The reader's client would take bursar's own locks for somebody else's.
    let Some(client) = enforcer.client.filter(|_| enforcer.settings.has_key) else {
        report.left.push("everything: the enforcer's key pair is not configured".to_owned());
        return Ok(());
    };
    let mut actor = Actor::new(enforcer, client, run, fence).await?;
    actor.note_locks_by_others().await?;
    // What a former run began is ended first: nothing else can be done to its account before.
    report.recovered = recover::recover(&actor).await?;
    // An account that somebody enabled meanwhile is not theirs any more.
    let forgotten = actor.forget_locks_that_ended().await;
    if let Err(why) = actor.bear(forgotten).await? {
        tracing::warn!(why, "not every account that somebody locked by hand could be looked at");
    }
    // From here on also while enforcement is paused.
    actor.acts_by_order();
    let now = enforcer.clock.now();
    let mut tx = enforcer.store.read().await?;
    let arming = run::arming(&mut tx).await?;
    let plan = plan::plan(&mut tx, enforcer.settings, &[], &arming, now).await?;
    tx.commit().await?;
    report.recovered.extend(go_on_with_restores(&actor, &accounts).await?);
    for account in accounts {
        let mut tx = enforcer.store.read().await?;
        let account = cloud::get_account(&mut tx, account).await?;
        tx.commit().await?;
        let name = account.full_name();
        let gone = actor.is_gone(&account).await;
        if actor.bear(gone).await? == Ok(true) {
            report.free.push(format!("{name}: it is no longer in CloudStack"));
            continue;
        }
        if !actor.holds_anything(&account).await? {
            report.free.push(name);
            continue;
        }
        // Said before anything is given back, and it stands where that does not come about: whoever dies, or is taken over, in between
        // must not leave an account open that the next run takes again.
        let is_held = holds_billing(&actor, account.id).await?;
        if is_held {
            leave_alone(&actor, &plan, &account, who).await?;
        }
        // One account that CloudStack can not tell about keeps none of the others.
        let given = Box::pin(give_back(&actor, &account, who, &mut report.recovered)).await;
        let done = actor.bear(given).await?.unwrap_or_else(Done::No);
        if !is_held && matches!(done, Done::Yes | Done::Started(_)) {
            leave_alone(&actor, &plan, &account, who).await?;
        }
        match done {
            Done::Yes => {
                if let Some(waits) = actor.limits_that_wait(&account).await? {
                    report.left.push(format!("{name}: {waits}; while enforcement is paused, say the same again then"));
                }
                report.given_back.push(name);
            }
            Done::Started(why) => report.started.push(format!("{name}: {why}")),
            Done::Left(why) | Done::No(why) => report.left.push(format!("{name}: {why}")),
        }
    }
    Ok(())
}

/// Gives one account back: what leads it down is ended first.
async fn give_back(
    actor: &Actor<'_>,
    account: &Account,
    who: &str,
    recovered: &mut Vec<String>,
) -> Result<Done, Error> {
    recovered.extend(recover::end_what_leads_down(actor, account).await?);
    let sentence = "Your account was opened again by an administrator.".to_owned();
    let done = Box::pin(actor.give_back(account, "ordered", sentence, who)).await?;
    Ok(match (done, actor.open_intent(account.id).await?) {
        (Done::Left(_) | Done::No(_), Some(open)) if DOWNWARDS.contains(&&*open.action) => Done::Started(format!(
            "a {} is on its way and may still arrive; say it again once it has, a quarter of an hour later at most",
            open.action
        )),
        (done, _) => done,
    })
}

/// Whether bursar's own hold stands.
async fn holds_billing(actor: &Actor<'_>, account: AccountId) -> Result<bool, Error> {
    let mut tx = actor.enforcer.store.read().await?;
    let holds = rows::list_holds(&mut tx, Some(account)).await?;
    tx.commit().await?;
    Ok(holds.iter().any(|hold| hold.owner == "billing"))
}

/// The next runs do not take again at once what a person has just given back.
async fn leave_alone(actor: &Actor<'_>, plan: &Plan, account: &Account, who: &str) -> Result<(), Error> {
    let now = actor.enforcer.clock.now();
    let planned = plan.accounts.iter().find(|planned| planned.account.id == account.id);
    let respite = planned.map_or(LEFT_ALONE_FOR, |planned| planned.policy.respite.max(LEFT_ALONE_FOR));
    let mut tx = actor.write().await?;
    let (payer, until) = (account.payer_id, now.plus(respite));
    policy_rows::insert_exemption(&mut tx, payer, Some(account.id), until, false, who, "given back", now).await?;
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: who.to_owned(),
        action: "account.leave-alone".to_owned(),
        subject: account.full_name(),
        after_state: Some(format!("left alone until {until}")),
        answer: Some("given back".to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(&mut tx, &line).await?;
    tx.commit().await?;
    Ok(())
}

/// Ways up of these accounts that a former order or run began: they are driven on, whoever paused.
async fn go_on_with_restores(actor: &Actor<'_>, accounts: &BTreeSet<AccountId>) -> Result<Vec<String>, Error> {
    let mut tx = actor.enforcer.store.read().await?;
    let open = rows::list_open_intents(&mut tx).await?;
    tx.commit().await?;
    let mut sentences = Vec::new();
    for row in open.iter().filter(|row| row.action == "restore" && accounts.contains(&row.account_id)) {
        let mut tx = actor.enforcer.store.read().await?;
        let account = cloud::get_account(&mut tx, row.account_id).await?;
        tx.commit().await?;
        let patience = actor.enforcer.settings.intent_deadline;
        let advanced = Box::pin(actor.advance(&Intent::from(row), &account, (Drive::GoOn, patience))).await;
        let done = actor.bear(advanced).await?.unwrap_or_else(Done::No);
        sentences.push(format!("{}: {}", account.full_name(), done.why().unwrap_or("given back")));
    }
    Ok(sentences)
}

async fn audit(
    enforcer: &Enforcer<'_>,
    (author, action, subject): (&str, &str, &str),
    report: &UndoReport,
    ended_by: Option<&Error>,
) -> Result<(), Error> {
    let ended = ended_by.map_or_else(String::new, |error| format!("; not ended: {error}"));
    let mut tx = enforcer.store.begin().await?;
    let line = AuditLine {
        at_ms: enforcer.clock.now().as_ms(),
        actor: author.to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        answer: Some(format!("{} given back, {} left{ended}", report.given_back.len(), report.left.len())),
        ..AuditLine::default()
    };
    runs::write_audit(&mut tx, &line).await?;
    tx.commit().await?;
    Ok(())
}
