//! Plans and their approvals, what the fuse counts, and proposals to delete.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, PayerId, RunId},
    time::Timestamp,
};

/// A stored plan.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct PlanRow {
    /// Its number.
    pub id: i64,
    /// command, fuse.
    pub cause: String,
    /// Who made it.
    pub author: String,
    /// Why it was made.
    pub why: String,
    /// waiting, approved, done, dropped, expired, overtaken.
    pub state: String,
    /// Accounts, percent of all, machines, what the fuse allows; JSON.
    pub figures: String,
    /// The run that made it.
    pub run_id: i64,
    /// The run that carried it out.
    pub carried_run_id: Option<i64>,
    /// When it was made.
    pub created_ms: i64,
    /// Until when it can be approved and carried out.
    pub expires_ms: i64,
    /// Who ended it.
    pub ended_by: Option<String>,
    /// When it ended.
    pub ended_ms: Option<i64>,
}

/// A plan to be stored.
#[derive(Debug, Clone)]
pub struct NewPlan<'a> {
    /// command, fuse.
    pub cause: &'static str,
    /// Who makes it.
    pub author: &'a str,
    /// Why.
    pub why: &'a str,
    /// JSON.
    pub figures: String,
    /// The run that makes it.
    pub run: RunId,
    /// Until when it can be approved and carried out.
    pub expires: Timestamp,
}

/// One account of a plan.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct PlanLineRow {
    /// The account.
    pub account_id: AccountId,
    /// restrict, lock, stop.
    pub rung: String,
    /// Why, as a word.
    pub reason: String,
    /// For the tenant.
    pub sentence: String,
    /// The figures; JSON.
    pub figures: String,
    /// The machines that run; JSON.
    pub machines: String,
    /// What else is to be known; a JSON list of sentences.
    pub notes: String,
    /// What it would take to avoid it.
    pub to_avoid: String,
    /// waiting, done, started, skipped, failed.
    pub state: String,
    /// How it ended, in words.
    pub answer: Option<String>,
}

/// Stores a plan with its lines.
pub async fn insert_plan(
    tx: &mut Tx,
    plan: &NewPlan<'_>,
    lines: &[PlanLineRow],
    now: Timestamp,
) -> Result<i64, StoreError> {
    let id = scalar!(
        tx,
        i64,
        "insert into enforce_plan (cause, author, why, state, figures, run_id, created_ms, expires_ms) \
         values ($1, $2, $3, 'waiting', $4, $5, $6, $7) returning id",
        plan.cause,
        plan.author,
        plan.why,
        &plan.figures,
        plan.run,
        now,
        plan.expires
    )?;
    for line in lines {
        exec!(
            tx,
            "insert into enforce_plan_line (plan_id, account_id, rung, reason, sentence, figures, machines, notes, to_avoid, state) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'waiting')",
            id,
            line.account_id,
            &line.rung,
            &line.reason,
            &line.sentence,
            &line.figures,
            &line.machines,
            &line.notes,
            &line.to_avoid
        )?;
    }
    Ok(id)
}

/// A plan.
pub async fn get_plan(tx: &mut Tx, id: i64) -> Result<PlanRow, StoreError> {
    maybe!(
        tx,
        PlanRow,
        "select id, cause, author, why, state, figures, run_id, carried_run_id, created_ms, expires_ms, ended_by, ended_ms \
         from enforce_plan where id = $1",
        id
    )?
    .ok_or_else(|| StoreError::Missing(format!("there is no plan {id}; `bursar enforce plans` shows them")))
}

/// The newest plans.
pub async fn list_plans(tx: &mut Tx, limit: i64) -> Result<Vec<PlanRow>, StoreError> {
    all!(
        tx,
        PlanRow,
        "select id, cause, author, why, state, figures, run_id, carried_run_id, created_ms, expires_ms, ended_by, ended_ms \
         from enforce_plan order by id desc limit $1",
        limit
    )
}

/// Plans that wait for an approval or for a run that carries them out, oldest first.
pub async fn list_open_plans(tx: &mut Tx) -> Result<Vec<PlanRow>, StoreError> {
    all!(
        tx,
        PlanRow,
        "select id, cause, author, why, state, figures, run_id, carried_run_id, created_ms, expires_ms, ended_by, ended_ms \
         from enforce_plan where state in ('waiting', 'approved') order by id"
    )
}

/// The lines of a plan.
pub async fn list_plan_lines(tx: &mut Tx, plan: i64) -> Result<Vec<PlanLineRow>, StoreError> {
    all!(
        tx,
        PlanLineRow,
        "select account_id, rung, reason, sentence, figures, machines, notes, to_avoid, state, answer \
         from enforce_plan_line where plan_id = $1 order by account_id",
        plan
    )
}

/// Notes how a line ended; false where it had ended before.
pub async fn end_plan_line(
    tx: &mut Tx,
    plan: i64,
    account: AccountId,
    state: &str,
    answer: &str,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update enforce_plan_line set state = $1, answer = $2 where plan_id = $3 and account_id = $4 and state = 'waiting'",
        state,
        answer,
        plan,
        account
    )? == 1)
}

/// Changes a plan's state; false where it was not in the former one any more.
pub async fn turn_plan(tx: &mut Tx, id: i64, from: &str, to: &str) -> Result<bool, StoreError> {
    Ok(exec!(tx, "update enforce_plan set state = $1 where id = $2 and state = $3", to, id, from)? == 1)
}

/// Ends a plan that was waiting or approved; false where it had ended before.
pub async fn end_plan(
    tx: &mut Tx,
    id: i64,
    state: &str,
    by: &str,
    carried: Option<RunId>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update enforce_plan set state = $1, ended_by = $2, carried_run_id = $3, ended_ms = $4 \
         where id = $5 and state in ('waiting', 'approved')",
        state,
        by,
        carried,
        now,
        id
    )? == 1)
}

/// Holds a plan for this transaction: what is counted then does not change until its end.
pub async fn lock_plan(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    exec!(tx, "update enforce_plan set state = state where id = $1", id)?;
    Ok(())
}

/// Notes an approval by somebody of this identity and name; false where the same one gave it before.
pub async fn insert_approval(
    tx: &mut Tx,
    plan: i64,
    identity: &str,
    author: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "insert into enforce_plan_approval (plan_id, identity, author, at_ms) values ($1, $2, $3, $4) \
         on conflict (plan_id, identity) do nothing",
        plan,
        identity,
        author,
        now
    )? == 1)
}

/// The identities of those who approved a plan.
pub async fn list_approvers(tx: &mut Tx, plan: i64) -> Result<Vec<String>, StoreError> {
    let rows = all!(
        tx,
        (String,),
        "select identity from enforce_plan_approval where plan_id = $1 order by at_ms, identity",
        plan
    )?;
    Ok(rows.into_iter().map(|(identity,)| identity).collect())
}

/// Who approved a plan, in order.
pub async fn list_approvals(tx: &mut Tx, plan: i64) -> Result<Vec<String>, StoreError> {
    let rows = all!(
        tx,
        (String,),
        "select author from enforce_plan_approval where plan_id = $1 order by at_ms, author",
        plan
    )?;
    Ok(rows.into_iter().map(|(author,)| author).collect())
}

/// Notes what a run is about to do, for the fuse.
pub async fn begin_fuse_use(
    tx: &mut Tx,
    run: RunId,
    account: AccountId,
    rung: &str,
    machines: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into fuse_use (run_id, account_id, rung, machines, state, at_ms) values ($1, $2, $3, $4, 'begun', $5) \
         on conflict (run_id, account_id) do nothing",
        run,
        account,
        rung,
        machines,
        now
    )?;
    Ok(())
}

/// Notes whether it came about. What stays begun (a crash, an answer that is still awaited) counts.
pub async fn end_fuse_use(tx: &mut Tx, run: RunId, account: AccountId, state: &str) -> Result<(), StoreError> {
    exec!(tx, "update fuse_use set state = $1 where run_id = $2 and account_id = $3", state, run, account)?;
    Ok(())
}

/// Accounts taken a step down since `since`, each with the most machines that ran in one of its steps; and, however long ago it
/// was begun, every account whose step down is not ended yet: what is still to happen to it keeps its room.
pub async fn list_fuse_uses(tx: &mut Tx, since: Timestamp) -> Result<Vec<(AccountId, i64)>, StoreError> {
    all!(
        tx,
        (AccountId, i64),
        "select account_id, max(machines) from fuse_use where state <> 'not' and (at_ms >= $1 or exists \
         (select 1 from intent where intent.account_id = fuse_use.account_id and intent.state = 'open' \
         and intent.action in ('restrict', 'lock', 'stop') and intent.run_id <= fuse_use.run_id)) \
         group by account_id order by account_id",
        since
    )
}

/// A proposal to delete an account.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct DeletionRow {
    /// Its number.
    pub id: i64,
    /// The account.
    pub account_id: AccountId,
    /// Why.
    pub sentence: String,
    /// The figures; JSON.
    pub figures: String,
    /// open, confirmed, refused, lapsed.
    pub state: String,
    /// When it was proposed.
    pub proposed_ms: i64,
    /// Who decided.
    pub decided_by: Option<String>,
    /// Why so.
    pub words: Option<String>,
    /// When.
    pub decided_ms: Option<i64>,
}

/// Whether the deletion of an account has been proposed since an instant, unless that lapsed.
pub async fn is_deletion_proposed_since(tx: &mut Tx, account: AccountId, since: Timestamp) -> Result<bool, StoreError> {
    let found = maybe!(
        tx,
        (i64,),
        "select id from deletion_proposal where account_id = $1 and proposed_ms >= $2 and state <> 'lapsed' \
         order by id limit 1",
        account,
        since
    )?;
    Ok(found.is_some())
}

/// Proposes a deletion, or takes up the lapsed proposal for the same time stopped again; None where one stands or was decided.
pub async fn propose_deletion(
    tx: &mut Tx,
    (account, payer): (AccountId, PayerId),
    sentence: &str,
    figures: &str,
    stopped_since: Timestamp,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let made = maybe!(
        tx,
        (i64,),
        "insert into deletion_proposal (account_id, payer_id, sentence, figures, over_since_ms, state, proposed_ms) \
         values ($1, $2, $3, $4, $5, 'open', $6) \
         on conflict (account_id, over_since_ms) do update set state = 'open', sentence = excluded.sentence, \
           figures = excluded.figures, proposed_ms = excluded.proposed_ms, decided_by = null, words = null, decided_ms = null \
         where deletion_proposal.state = 'lapsed' returning id",
        account,
        payer,
        sentence,
        figures,
        stopped_since,
        now
    )?;
    Ok(made.map(|(id,)| id))
}

/// Proposals, newest first: the open ones or all.
pub async fn list_deletions(tx: &mut Tx, all: bool, limit: i64) -> Result<Vec<DeletionRow>, StoreError> {
    all!(
        tx,
        DeletionRow,
        "select id, account_id, sentence, figures, state, proposed_ms, decided_by, words, decided_ms from deletion_proposal \
         where ($1 = 1 or state = 'open') order by id desc limit $2",
        i64::from(all),
        limit
    )
}

/// A proposal.
pub async fn get_deletion(tx: &mut Tx, id: i64) -> Result<DeletionRow, StoreError> {
    maybe!(
        tx,
        DeletionRow,
        "select id, account_id, sentence, figures, state, proposed_ms, decided_by, words, decided_ms from deletion_proposal \
         where id = $1",
        id
    )?
    .ok_or_else(|| StoreError::Missing(format!("there is no proposal {id}; `bursar deletion list` shows them")))
}

/// Decides an open proposal; false where it is not open any more.
pub async fn decide_deletion(
    tx: &mut Tx,
    id: i64,
    state: &str,
    by: &str,
    words: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update deletion_proposal set state = $1, decided_by = $2, words = $3, decided_ms = $4 where id = $5 and state = 'open'",
        state,
        by,
        words,
        now,
        id
    )? == 1)
}

/// The highest run that the database knows; 0 where there was none.
pub async fn newest_run(tx: &mut Tx) -> Result<i64, StoreError> {
    scalar!(tx, i64, "select coalesce(max(id), 0) from run")
}

/// A run, its number, job, cause, beginning and outcome.
pub async fn find_run(tx: &mut Tx, id: RunId) -> Result<Option<super::runs::Run>, StoreError> {
    maybe!(
        tx,
        super::runs::Run,
        "select id, job, cause, started_ms, ended_ms, outcome, detail from run where id = $1",
        id
    )
}

/// An intent as far as it is needed to explain what happened in CloudStack, or to undo it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct IntentSpan {
    /// The account.
    pub account_id: AccountId,
    /// What was meant: lock, enable, …
    pub action: String,
    /// open, done, failed, abandoned.
    pub state: String,
    /// When it was written.
    pub created_ms: i64,
    /// When it ended.
    pub finished_ms: Option<i64>,
}

/// Intents that were open at some time since `since`.
pub async fn list_intent_spans(tx: &mut Tx, since: Timestamp) -> Result<Vec<IntentSpan>, StoreError> {
    all!(
        tx,
        IntentSpan,
        "select account_id, action, state, created_ms, finished_ms from intent \
         where finished_ms is null or finished_ms >= $1 or created_ms >= $1 order by created_ms, id",
        since
    )
}

/// The intents of a run, oldest first.
pub async fn list_intents_of_run(tx: &mut Tx, run: RunId) -> Result<Vec<IntentSpan>, StoreError> {
    all!(
        tx,
        IntentSpan,
        "select account_id, action, state, created_ms, finished_ms from intent where run_id = $1 order by created_ms, id",
        run
    )
}

/// Accounts that a run took a step down, or set out to with no known end.
pub async fn list_taken_by_run(tx: &mut Tx, run: RunId) -> Result<Vec<AccountId>, StoreError> {
    let rows = all!(
        tx,
        (AccountId,),
        "select account_id from fuse_use where run_id = $1 and state <> 'not' order by account_id",
        run
    )?;
    Ok(rows.into_iter().map(|(account,)| account).collect())
}

/// Accounts of which more is charged than would be right, by charges that wait for a person: corrections beyond the limit,
/// and changes of past prices. Each with how many charges.
pub async fn list_over_charged(tx: &mut Tx) -> Result<Vec<(AccountId, i64)>, StoreError> {
    all!(
        tx,
        (AccountId, i64),
        "select c.account_id, count(*) from review_charge c join review_item i on i.id = c.item_id \
         where c.state = 'open' and i.state = 'open' group by c.account_id \
         having sum(c.new_net_nanos) < sum(c.old_net_nanos) order by c.account_id"
    )
}

/// Records that wait for a person, by usage type, since `since`.
pub async fn count_waiting_by_type(tx: &mut Tx, since: Timestamp) -> Result<Vec<(i64, i64)>, StoreError> {
    // The plus keeps SQLite from walking every record of the time instead of those that wait.
    all!(
        tx,
        (i64, i64),
        "select usage_type, count(*) from usage_record where standing = 3 and +start_ms >= $1 group by usage_type order by usage_type",
        since
    )
}

/// What was charged by usage type since a billing day: records and net billionths.
pub async fn list_charged_by_type(tx: &mut Tx, since: crate::time::Day) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64, i64),
        "select usage_type, cast(sum(records) as bigint), cast(sum(net_nanos) as bigint) from charge_day where day >= $1 \
         group by usage_type order by usage_type",
        since
    )
}
