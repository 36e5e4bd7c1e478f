//! What acting leaves in the store: calls to CloudStack, and what a suspension changed and a restore has to bring back.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{ids::AccountId, time::Timestamp};

/// One call that changes something in CloudStack, written before it is made.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct CallRow {
    /// Its row.
    pub id: i64,
    /// The intent that it belongs to.
    pub intent_id: String,
    /// From 1 within the intent.
    pub number: i64,
    /// CloudStack's command.
    pub command: String,
    /// What it acts on: an account, a project, a machine, a limit.
    pub target: String,
    /// The job id that CloudStack is given, where the command takes one.
    pub job_id: String,
    /// open, done, failed, lost.
    pub state: String,
    /// What CloudStack said, or what was read back.
    pub answer: Option<String>,
    /// When it was claimed, by CloudStack's clock.
    pub claimed_ms: i64,
}

/// A call to be claimed.
#[derive(Debug, Clone)]
pub struct NewCall<'a> {
    /// The intent.
    pub intent: &'a str,
    /// From 1 within the intent.
    pub number: i64,
    /// CloudStack's command.
    pub command: &'a str,
    /// What it acts on.
    pub target: &'a str,
    /// The job id that CloudStack is given.
    pub job_id: &'a str,
    /// The fence of the enforcer.
    pub fence: i64,
    /// What was read before it.
    pub before: Option<&'a str>,
}

/// A resource limit that a restriction lowers.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct LimitChange {
    /// Its row.
    pub id: i64,
    /// The account that is restricted.
    pub account_id: AccountId,
    /// The project's id in CloudStack; empty for the account's own limit.
    pub project_id: String,
    /// CloudStack's number of the resource type.
    pub resource_type: i64,
    /// Its name, such as `user_vm`.
    pub type_name: String,
    /// The limit before; -1 is unlimited.
    pub before_max: i64,
    /// The limit that the restriction sets: what is used.
    pub set_max: i64,
    /// The intent that restricts.
    pub intent_id: String,
    /// noted, set, restored, left, gone.
    pub state: String,
    /// How it ended, in words.
    pub outcome: Option<String>,
}

/// A machine that ran when its account was stopped.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct MachineNote {
    /// Its row.
    pub id: i64,
    /// The account that is stopped.
    pub account_id: AccountId,
    /// The project that it belongs to; empty: the account itself.
    pub project_id: String,
    /// The machine's id in CloudStack.
    pub vm_id: String,
    /// Its name.
    pub name: String,
    /// The order in which machines are started again.
    pub position: i64,
    /// The intent that stops.
    pub intent_id: String,
    /// noted, stopped, running, gone, moved, left, failed.
    pub state: String,
    /// How often a restore tried to start it.
    pub starts: i64,
    /// How it ended, in words.
    pub outcome: Option<String>,
}

/// A project that was suspended with its account.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct ProjectNote {
    /// Its row.
    pub id: i64,
    /// The account that is stopped.
    pub account_id: AccountId,
    /// The project's id in CloudStack.
    pub project_id: String,
    /// Its name.
    pub name: String,
    /// The intent that suspends it.
    pub intent_id: String,
    /// noted, suspended, activated, left, gone.
    pub state: String,
    /// How it ended, in words.
    pub outcome: Option<String>,
}

/// Claims a call under an open intent, at an instant by CloudStack's clock, in a transaction that holds the lease, and gives its row. None
/// where the intent has ended: then the call must not be made, and the transaction not be committed.
pub async fn claim_call(tx: &mut Tx, call: &NewCall<'_>, claimed: Timestamp) -> Result<Option<i64>, StoreError> {
    let row = scalar!(
        tx,
        i64,
        "insert into intent_call (intent_id, number, command, target, job_id, fence, state, before_state, claimed_ms) \
         values ($1, $2, $3, $4, $5, $6, 'open', $7, $8) returning id",
        call.intent,
        call.number,
        call.command,
        call.target,
        call.job_id,
        call.fence,
        call.before,
        claimed
    )?;
    let is_claimed = exec!(
        tx,
        "update intent set attempt = $1, fence = $2, job_id = $3, claimed_ms = $4 \
         where id = $5 and state = 'open' and fence <= $2",
        call.number,
        call.fence,
        call.job_id,
        claimed,
        call.intent
    )?;
    Ok((is_claimed == 1).then_some(row))
}

/// The account of an intent, and when the intent was written.
pub async fn find_intent(tx: &mut Tx, intent: &str) -> Result<Option<(AccountId, Timestamp)>, StoreError> {
    let found = maybe!(tx, (AccountId, i64), "select account_id, created_ms from intent where id = $1", intent)?;
    Ok(found.map(|(account, created)| (account, Timestamp::from_ms(created))))
}

/// Whether an open intent takes its account a step down.
pub async fn leads_down(tx: &mut Tx, intent: &str) -> Result<bool, StoreError> {
    Ok(scalar!(
        tx,
        i64,
        "select count(*) from intent where id = $1 and state = 'open' and action in ('restrict', 'lock', 'stop')",
        intent
    )? > 0)
}

/// Dates a call to another instant than that at which it was claimed.
pub async fn date_call(tx: &mut Tx, id: i64, claimed: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "update intent_call set claimed_ms = $1 where id = $2", claimed, id)?;
    Ok(())
}

/// Ends a call, at an instant by CloudStack's clock.
pub async fn end_call(tx: &mut Tx, id: i64, state: &str, answer: &str, ended: Timestamp) -> Result<(), StoreError> {
    exec!(
        tx,
        "update intent_call set state = $1, answer = $2, ended_ms = $3 where id = $4 and state = 'open'",
        state,
        answer,
        ended,
        id
    )?;
    Ok(())
}

/// The calls of an intent, oldest first.
pub async fn list_calls(tx: &mut Tx, intent: &str) -> Result<Vec<CallRow>, StoreError> {
    all!(
        tx,
        CallRow,
        "select id, intent_id, number, command, target, job_id, state, answer, claimed_ms from intent_call \
         where intent_id = $1 order by number",
        intent
    )
}

/// When the last of all calls ended by CloudStack's clock, or `now` where one is under way; None: there was none yet.
pub async fn find_last_end(tx: &mut Tx, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let found = maybe!(
        tx,
        (Timestamp,),
        "select coalesce(ended_ms, cast($1 as bigint)) as at_ms from intent_call order by at_ms desc limit 1",
        now
    )?;
    Ok(found.map(|(at,)| at))
}

/// The decision behind the job id that an intent or one of its calls asked for.
pub async fn find_decision_of_job(tx: &mut Tx, job: &str) -> Result<Option<i64>, StoreError> {
    let found = maybe!(
        tx,
        (i64,),
        "select i.decision_id from intent_call c join intent i on i.id = c.intent_id where c.job_id = $1 \
         union select decision_id from intent where job_id = $1 limit 1",
        job
    )?;
    Ok(found.map(|(decision,)| decision))
}

/// Notes a limit that a restriction is about to lower. What is noted already stays.
pub async fn note_limit(tx: &mut Tx, change: &LimitChange, now: Timestamp) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into limit_change (account_id, project_id, resource_type, type_name, before_max, set_max, intent_id, state, \
           noted_ms) values ($1, $2, $3, $4, $5, $6, $7, 'noted', $8) \
         on conflict (account_id, project_id, resource_type) where settled_ms is null do nothing",
        change.account_id,
        &change.project_id,
        change.resource_type,
        &change.type_name,
        change.before_max,
        change.set_max,
        &change.intent_id,
        now
    )?;
    Ok(())
}

/// Limits that are or may be lowered, of one account or of all.
pub async fn list_limit_changes(tx: &mut Tx, account: Option<AccountId>) -> Result<Vec<LimitChange>, StoreError> {
    all!(
        tx,
        LimitChange,
        "select id, account_id, project_id, resource_type, type_name, before_max, set_max, intent_id, state, outcome \
         from limit_change where settled_ms is null and ($1 is null or account_id = $1) \
         order by account_id, project_id, resource_type",
        account
    )
}

/// What a suspension changes row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// A limit.
    Limit,
    /// A project.
    Project,
    /// A machine.
    Machine,
}

/// Sets the state of what was noted; `settled` where nothing is left to do. What is settled stays so: a process that stood still while
/// another one gave back must not make it due again.
pub async fn put_state(
    tx: &mut Tx,
    (kind, id): (Noted, i64),
    state: &str,
    outcome: Option<&str>,
    settled: Option<Timestamp>,
) -> Result<(), StoreError> {
    let sql = match kind {
        Noted::Limit => {
            "update limit_change set state = $1, outcome = coalesce($2, outcome), settled_ms = $3 \
             where id = $4 and settled_ms is null"
        }
        Noted::Project => {
            "update project_note set state = $1, outcome = coalesce($2, outcome), settled_ms = $3 \
             where id = $4 and settled_ms is null"
        }
        Noted::Machine => {
            "update machine_note set state = $1, outcome = coalesce($2, outcome), settled_ms = $3 \
             where id = $4 and settled_ms is null"
        }
    };
    exec!(tx, sql, state, outcome, settled, id)?;
    Ok(())
}

/// Accounts of which something is not brought back though nobody holds them and nothing is under way.
pub async fn list_left_over(tx: &mut Tx) -> Result<Vec<AccountId>, StoreError> {
    let rows = all!(
        tx,
        (AccountId,),
        "select account_id from (select account_id from limit_change where settled_ms is null \
         union select account_id from project_note where settled_ms is null \
         union select account_id from machine_note where settled_ms is null) as noted \
         where not exists (select 1 from hold where hold.account_id = noted.account_id and hold.lifted_ms is null) \
         and not exists (select 1 from intent where intent.account_id = noted.account_id and intent.state = 'open') \
         order by account_id"
    )?;
    Ok(rows.into_iter().map(|(account,)| account).collect())
}

/// Accounts of which something is not brought back, whoever holds them.
pub async fn list_changed(tx: &mut Tx) -> Result<Vec<AccountId>, StoreError> {
    let rows = all!(
        tx,
        (AccountId,),
        "select account_id from limit_change where settled_ms is null \
         union select account_id from project_note where settled_ms is null \
         union select account_id from machine_note where settled_ms is null"
    )?;
    Ok(rows.into_iter().map(|(account,)| account).collect())
}

/// Notes a machine that runs, behind those that are noted. True where it was not noted yet.
pub async fn note_machine(tx: &mut Tx, note: &MachineNote, now: Timestamp) -> Result<bool, StoreError> {
    // Who stood still while another process gave everything back notes nothing any more.
    let is_open = scalar!(tx, i64, "select count(*) from intent where id = $1 and state = 'open'", &note.intent_id)?;
    if is_open == 0 {
        return Ok(false);
    }
    let inserted = exec!(
        tx,
        "insert into machine_note (account_id, project_id, vm_id, name, position, intent_id, state, starts, noted_ms) \
         values ($1, $2, $3, $4, $5, $6, 'noted', 0, $7) \
         on conflict (account_id, vm_id) where settled_ms is null do nothing",
        note.account_id,
        &note.project_id,
        &note.vm_id,
        &note.name,
        note.position,
        &note.intent_id,
        now
    )?;
    Ok(inserted == 1)
}

/// Machines that wait to be started again, in that order; of one account or of all.
pub async fn list_machine_notes(tx: &mut Tx, account: Option<AccountId>) -> Result<Vec<MachineNote>, StoreError> {
    all!(
        tx,
        MachineNote,
        "select id, account_id, project_id, vm_id, name, position, intent_id, state, starts, outcome from machine_note \
         where settled_ms is null and ($1 is null or account_id = $1) order by account_id, position, id",
        account
    )
}

/// Counts a try to start a noted machine that CloudStack has answered.
pub async fn count_start(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    exec!(tx, "update machine_note set starts = starts + 1 where id = $1", id)?;
    Ok(())
}

/// Notes a project that is about to be suspended. What is noted already stays.
pub async fn note_project(tx: &mut Tx, note: &ProjectNote, now: Timestamp) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into project_note (account_id, project_id, name, intent_id, state, noted_ms) \
         values ($1, $2, $3, $4, 'noted', $5) on conflict (account_id, project_id) where settled_ms is null do nothing",
        note.account_id,
        &note.project_id,
        &note.name,
        &note.intent_id,
        now
    )?;
    Ok(())
}

/// Projects that are or may be suspended, of one account or of all.
pub async fn list_project_notes(tx: &mut Tx, account: Option<AccountId>) -> Result<Vec<ProjectNote>, StoreError> {
    all!(
        tx,
        ProjectNote,
        "select id, account_id, project_id, name, intent_id, state, outcome from project_note \
         where settled_ms is null and ($1 is null or account_id = $1) order by account_id, id",
        account
    )
}

/// How many machines are noted so far, for the next position.
pub async fn count_machine_notes(tx: &mut Tx, account: AccountId) -> Result<i64, StoreError> {
    scalar!(tx, i64, "select count(*) from machine_note where account_id = $1 and settled_ms is null", account)
}

/// Something that a suspension had changed, as it was settled.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Settled {
    /// limit, project, machine.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// restored, activated, running, left, gone, moved, failed.
    pub state: String,
    /// How it ended, in words.
    pub outcome: Option<String>,
}

/// What of an account was settled since an instant.
pub async fn list_settled(tx: &mut Tx, account: AccountId, since: Timestamp) -> Result<Vec<Settled>, StoreError> {
    all!(
        tx,
        Settled,
        "select 'limit' as kind, type_name as name, state, outcome from limit_change \
           where account_id = $1 and settled_ms >= $2 \
         union all select 'project', name, state, outcome from project_note where account_id = $1 and settled_ms >= $2 \
         union all select 'machine', name, state, outcome from machine_note where account_id = $1 and settled_ms >= $2 \
         order by kind, name, state",
        account,
        since
    )
}

/// How many limits, projects and machines an intent has noted.
pub async fn count_notes_of(tx: &mut Tx, intent: &str) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "select (select count(*) from limit_change where intent_id = $1) \
           + (select count(*) from project_note where intent_id = $1) \
           + (select count(*) from machine_note where intent_id = $1)",
        intent
    )
}
