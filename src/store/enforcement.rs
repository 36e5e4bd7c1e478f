//! Decisions, notices, holds and intents.

use std::collections::{HashMap, HashSet};

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, DecisionId, PayerId, RunId},
    time::Timestamp,
};

/// A stored decision.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct DecisionRow {
    /// Its number.
    pub id: i64,
    /// The run that took it.
    pub run_id: i64,
    /// The account.
    pub account_id: i64,
    /// keep, warn, lock, restore, wait.
    pub outcome: String,
    /// none, notify, lock.
    pub rung: String,
    /// Why, as a word.
    pub reason: String,
    /// For the tenant.
    pub sentence: String,
    /// The figures, as JSON.
    pub figures: String,
    /// Whether nothing was to be done.
    pub dry_run: i64,
    /// When.
    pub decided_ms: i64,
}

/// A decision to be stored.
#[derive(Debug, Clone)]
pub struct NewDecision {
    /// The run.
    pub run: RunId,
    /// The payer.
    pub payer: PayerId,
    /// The account.
    pub account: AccountId,
    /// keep, warn, lock, restore, wait.
    pub outcome: &'static str,
    /// none, notify, lock.
    pub rung: &'static str,
    /// Why, as a word.
    pub reason: &'static str,
    /// For the tenant.
    pub sentence: String,
    /// The figures, as JSON.
    pub figures: String,
    /// Whether nothing is to be done.
    pub dry_run: bool,
}

/// A notice as given.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct NoticeRow {
    /// Its number.
    pub id: i64,
    /// The account.
    pub account_id: i64,
    /// used-80, days-left-7, warning-lock-….
    pub event: String,
    /// For the tenant.
    pub sentence: String,
    /// The date it names.
    pub acts_at_ms: Option<i64>,
    /// Whether it was only a rehearsal.
    pub dry_run: i64,
    /// When.
    pub recorded_ms: i64,
    /// When a mail server took the first mail about it.
    pub arrived_ms: Option<i64>,
    /// When a person of the account had it on the page.
    pub seen_ms: Option<i64>,
    /// Since when nobody can be written to.
    pub no_address_ms: Option<i64>,
}

/// Why an account is suspended.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct HoldRow {
    /// Its number.
    pub id: i64,
    /// The account.
    pub account_id: AccountId,
    /// billing, abuse, admin, tenant, before.
    pub owner: String,
    /// The step of the ladder.
    pub rung: String,
    /// Why.
    pub reason: String,
    /// The intent that placed it.
    pub intent_id: Option<String>,
    /// Who placed it.
    pub placed_by: String,
    /// When.
    pub placed_ms: i64,
}

/// Something bursar means to do, written before it is done.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct IntentRow {
    /// A UUID.
    pub id: String,
    /// The decision behind it.
    pub decision_id: i64,
    /// The run.
    pub run_id: i64,
    /// The account.
    pub account_id: AccountId,
    /// restrict, lock, stop, restore; enable before 0.2.
    pub action: String,
    /// open, done, failed, abandoned.
    pub state: String,
    /// How often it was tried.
    pub attempt: i64,
    /// The fence under which it was claimed.
    pub fence: i64,
    /// The job id that CloudStack was given for the newest attempt.
    pub job_id: Option<String>,
    /// The account's state before the first call.
    pub state_before: Option<String>,
    /// The account's state read back.
    pub state_after: Option<String>,
    /// How it ended, in words.
    pub outcome: Option<String>,
    /// When it was written.
    pub created_ms: i64,
    /// Why, where it is not the decision: an administrator's undo, leave.
    pub cause: Option<String>,
}

/// Stores a decision.
pub async fn insert_decision(tx: &mut Tx, decision: &NewDecision, now: Timestamp) -> Result<DecisionId, StoreError> {
    let id = scalar!(
        tx,
        i64,
        "insert into decision (run_id, payer_id, account_id, outcome, rung, reason, sentence, figures, dry_run, decided_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning id",
        decision.run,
        decision.payer,
        decision.account,
        decision.outcome,
        decision.rung,
        decision.reason,
        &decision.sentence,
        &decision.figures,
        i64::from(decision.dry_run),
        now
    )?;
    Ok(DecisionId::new(id))
}

/// One decision by its number.
pub async fn get_decision(tx: &mut Tx, id: DecisionId) -> Result<DecisionRow, StoreError> {
    maybe!(
        tx,
        DecisionRow,
        "select id, run_id, account_id, outcome, rung, reason, sentence, figures, dry_run, decided_ms from decision \
         where id = $1",
        id
    )?
    .ok_or_else(|| StoreError::Nonsense(format!("decision {id} is not there")))
}

/// The newest decision of every account, without a walk over all that were ever taken.
pub async fn list_newest_decisions(tx: &mut Tx) -> Result<HashMap<i64, DecisionRow>, StoreError> {
    let rows = all!(
        tx,
        DecisionRow,
        "select d.id, d.run_id, d.account_id, d.outcome, d.rung, d.reason, d.sentence, d.figures, d.dry_run, d.decided_ms \
         from account a join decision d on d.id = (select max(x.id) from decision x where x.account_id = a.id) order by a.id"
    )?;
    Ok(rows.into_iter().map(|row| (row.account_id, row)).collect())
}

/// The decisions, of the newest of every account, that led to an act which was done.
pub async fn list_carried_out(tx: &mut Tx) -> Result<HashSet<i64>, StoreError> {
    let rows = all!(
        tx,
        (i64,),
        "select distinct i.decision_id from account a \
           join intent i on i.decision_id = (select max(x.id) from decision x where x.account_id = a.id) \
         where i.state = 'done'"
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Whether a decision is a step downwards that was not taken: it waits, or it did not come about.
pub async fn is_untaken(tx: &mut Tx, decision: &DecisionRow) -> Result<bool, StoreError> {
    if !["restrict", "lock", "stop"].contains(&decision.outcome.as_str()) {
        return Ok(false);
    }
    let taken = scalar!(
        tx,
        i64,
        "select count(*) from intent where account_id = $1 and decision_id = $2 and state = 'done'",
        decision.account_id,
        decision.id
    )?;
    Ok(taken == 0)
}

/// The newest decisions of an account.
pub async fn list_decisions(tx: &mut Tx, account: AccountId, limit: i64) -> Result<Vec<DecisionRow>, StoreError> {
    all!(
        tx,
        DecisionRow,
        "select id, run_id, account_id, outcome, rung, reason, sentence, figures, dry_run, decided_ms from decision \
         where account_id = $1 order by id desc limit $2",
        account,
        limit
    )
}

/// Records a notice; false where it was given before in this epoch.
#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
pub async fn insert_notice(
    tx: &mut Tx,
    payer: PayerId,
    account: AccountId,
    epoch: i64,
    event: &str,
    sentence: &str,
    acts_at: Option<Timestamp>,
    dry_run: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let inserted = exec!(
        tx,
        "insert into notice (payer_id, account_id, epoch_id, event, sentence, acts_at_ms, dry_run, recorded_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (account_id, epoch_id, event, dry_run) do nothing",
        payer,
        account,
        epoch,
        event,
        sentence,
        acts_at,
        i64::from(dry_run),
        now
    )?;
    Ok(inserted == 1)
}

/// The newest notices of an account, or of all.
pub async fn list_notices(tx: &mut Tx, account: Option<AccountId>, limit: i64) -> Result<Vec<NoticeRow>, StoreError> {
    // In two statements: for "any account, or this one" SQLite uses no index.
    match account {
        Some(account) => all!(
            tx,
            NoticeRow,
            "select id, account_id, event, sentence, acts_at_ms, dry_run, recorded_ms, arrived_ms, seen_ms, no_address_ms \
             from notice where account_id = $1 order by id desc limit $2",
            account,
            limit
        ),
        None => all!(
            tx,
            NoticeRow,
            "select id, account_id, event, sentence, acts_at_ms, dry_run, recorded_ms, arrived_ms, seen_ms, no_address_ms \
             from notice order by id desc limit $1",
            limit
        ),
    }
}

/// Places a hold; the same owner's standing hold stays as it is.
#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
pub async fn place_hold(
    tx: &mut Tx,
    account: AccountId,
    owner: &str,
    rung: &str,
    reason: &str,
    intent: Option<&str>,
    placed_by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let open = maybe!(
        tx,
        (i64,),
        "select id from hold where account_id = $1 and owner = $2 and lifted_ms is null",
        account,
        owner
    )?;
    if open.is_some() {
        return Ok(false);
    }
    exec!(
        tx,
        "insert into hold (account_id, owner, rung, reason, intent_id, placed_by, placed_ms, rung_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $7)",
        account,
        owner,
        rung,
        reason,
        intent,
        placed_by,
        now
    )?;
    Ok(true)
}

/// Raises the billing hold of an account to a further step of the ladder, or places it. Gives whether one stood before.
pub async fn raise_hold(
    tx: &mut Tx,
    account: AccountId,
    rung: &str,
    reason: &str,
    intent: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let raised = exec!(
        tx,
        "update hold set rung = $1, reason = $2, rung_ms = $3 \
         where account_id = $4 and owner = 'billing' and lifted_ms is null",
        rung,
        reason,
        now,
        account
    )?;
    if raised == 0 {
        place_hold(tx, account, "billing", rung, reason, Some(intent), "bursar", now).await?;
    }
    Ok(raised == 1)
}

/// Lifts an owner's standing hold.
pub async fn lift_hold(
    tx: &mut Tx,
    account: AccountId,
    owner: &str,
    lifted_by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update hold set lifted_by = $1, lifted_ms = $2 where account_id = $3 and owner = $4 and lifted_ms is null",
        lifted_by,
        now,
        account,
        owner
    )? == 1)
}

/// Lifts one hold, where it stands.
pub async fn lift_hold_of(tx: &mut Tx, id: i64, lifted_by: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update hold set lifted_by = $1, lifted_ms = $2 where id = $3 and lifted_ms is null",
        lifted_by,
        now,
        id
    )? == 1)
}

/// Standing holds, of one account or of all.
pub async fn list_holds(tx: &mut Tx, account: Option<AccountId>) -> Result<Vec<HoldRow>, StoreError> {
    all!(
        tx,
        HoldRow,
        "select id, account_id, owner, rung, reason, intent_id, placed_by, placed_ms from hold \
         where lifted_ms is null and ($1 is null or account_id = $1) order by account_id, id",
        account
    )
}

/// The accounts on which an owner's hold stands.
pub async fn list_held_by(tx: &mut Tx, owner: &str) -> Result<HashSet<AccountId>, StoreError> {
    let rows = all!(
        tx,
        (AccountId,),
        "select account_id from hold where owner = $1 and lifted_ms is null order by account_id",
        owner
    )?;
    Ok(rows.into_iter().map(|(account,)| account).collect())
}

/// Writes an intent, before anything is done.
#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
pub async fn insert_intent(
    tx: &mut Tx,
    id: &str,
    decision: DecisionId,
    run: RunId,
    account: AccountId,
    action: &str,
    state_before: &str,
    cause: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    // The rung that the action leads to, where it leads down.
    let rung = Some(action).filter(|action| ["restrict", "lock", "stop"].contains(action));
    exec!(
        tx,
        "insert into intent (id, decision_id, run_id, account_id, action, rung, state, attempt, fence, state_before, cause, \
           created_ms) values ($1, $2, $3, $4, $5, $6, 'open', 0, 0, $7, $8, $9)",
        id,
        decision,
        run,
        account,
        action,
        rung,
        state_before,
        cause,
        now
    )?;
    Ok(())
}

/// Ends an intent.
pub async fn end_intent(
    tx: &mut Tx,
    id: &str,
    state: &str,
    state_after: Option<&str>,
    outcome: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update intent set state = $1, state_after = $2, outcome = $3, finished_ms = $4 where id = $5 and state = 'open'",
        state,
        state_after,
        outcome,
        now,
        id
    )? == 1)
}

/// Intents that are not finished, oldest first.
pub async fn list_open_intents(tx: &mut Tx) -> Result<Vec<IntentRow>, StoreError> {
    // The plus keeps SQLite from walking all that were ever written in their order.
    all!(
        tx,
        IntentRow,
        "select id, decision_id, run_id, account_id, action, state, attempt, fence, job_id, state_before, state_after, \
           outcome, created_ms, cause from intent where state = 'open' order by +created_ms, id"
    )
}

/// The newest intents of an account, or of all.
pub async fn list_intents(tx: &mut Tx, account: Option<AccountId>, limit: i64) -> Result<Vec<IntentRow>, StoreError> {
    // In two statements, as the notices are.
    match account {
        Some(account) => all!(
            tx,
            IntentRow,
            "select id, decision_id, run_id, account_id, action, state, attempt, fence, job_id, state_before, state_after, \
               outcome, created_ms, cause from intent where account_id = $1 order by created_ms desc, id limit $2",
            account,
            limit
        ),
        None => all!(
            tx,
            IntentRow,
            "select id, decision_id, run_id, account_id, action, state, attempt, fence, job_id, state_before, state_after, \
               outcome, created_ms, cause from intent order by created_ms desc, id limit $1",
            limit
        ),
    }
}

/// Accounts that were or may have been suspended since `since`: what the fuse counts beside this run.
pub async fn count_locks_since(tx: &mut Tx, since: Timestamp) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "select count(distinct account_id) from intent where rung is not null and created_ms >= $1 \
           and state in ('open', 'done')",
        since
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secrets::Secret,
        store::{
            Store, StoreSettings,
            cloud::{self, Account, SeenAccount},
        },
    };

    const NOW: Timestamp = Timestamp::from_ms(1_793_491_200_000);

    async fn store() -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings { data_dir: folder.path().to_owned(), url: Secret::new(""), max_connections: 2 };
        (Store::open(&settings).await.unwrap(), folder)
    }

    async fn account(tx: &mut Tx, name: &str) -> Account {
        let seen = SeenAccount {
            cloud_id: format!("id-of-{name}"),
            name: name.to_owned(),
            domain_id: "root".to_owned(),
            domain_path: "ROOT".to_owned(),
            account_type: 0,
            role_type: "User".to_owned(),
            state: "enabled".to_owned(),
        };
        let (id, _) = cloud::put_account(tx, &seen, NOW).await.unwrap();
        cloud::get_account(tx, id).await.unwrap()
    }

    /// Decides about an account, and what came of it, where anything was meant to.
    async fn decide(tx: &mut Tx, account: &Account, outcome: &'static str, ends: &[&str]) -> i64 {
        let decision = NewDecision {
            run: RunId::new(1),
            payer: account.payer_id,
            account: account.id,
            outcome,
            rung: "none",
            reason: "test",
            sentence: String::new(),
            figures: "{}".to_owned(),
            dry_run: false,
        };
        let id = insert_decision(tx, &decision, NOW).await.unwrap();
        for (number, end) in ends.iter().enumerate() {
            let intent = format!("{id}-{number}");
            insert_intent(tx, &intent, id, RunId::new(1), account.id, outcome, "enabled", None, NOW).await.unwrap();
            assert!(end_intent(tx, &intent, end, None, "", NOW).await.unwrap());
        }
        id.get()
    }

    #[tokio::test]
    async fn of_each_account_the_newest_decision_is_read_and_whether_it_was_carried_out() {
        let (store, _folder) = store().await;
        let mut tx = store.begin().await.unwrap();
        let mut accounts = Vec::new();
        for name in ["ann", "bob", "cat", "dan", "eve"] {
            accounts.push(account(&mut tx, name).await);
        }
        let [ann, bob, cat, dan, _] = accounts.as_slice() else { panic!("five accounts") };
        // Whose newest decision comes last is not whose first one does.
        decide(&mut tx, ann, "lock", &["done"]).await;
        let bobs = decide(&mut tx, bob, "restore", &["failed", "done", "done"]).await;
        decide(&mut tx, cat, "lock", &["done"]).await;
        let dans = decide(&mut tx, dan, "keep", &[]).await;
        let cats = decide(&mut tx, cat, "lock", &["failed"]).await;
        let anns = decide(&mut tx, ann, "keep", &[]).await;
        let newest = list_newest_decisions(&mut tx).await.unwrap();
        let mut found: Vec<_> = newest.iter().map(|(account, row)| (*account, row.account_id, row.id)).collect();
        found.sort_unstable();
        let expected = [(ann, anns), (bob, bobs), (cat, cats), (dan, dans)];
        assert_eq!(found, expected.map(|(account, id)| (account.id.get(), account.id.get(), id)), "eve has none");
        assert_eq!(list_carried_out(&mut tx).await.unwrap(), HashSet::from([bobs]));
        let (bobs, cats) = (&newest[&bob.id.get()], &newest[&cat.id.get()]);
        assert_eq!((bobs.outcome.as_str(), cats.outcome.as_str()), ("restore", "lock"));
        assert!(is_untaken(&mut tx, cats).await.unwrap());
        tx.commit().await.unwrap();
    }
}
