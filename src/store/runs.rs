//! Settings, runs of jobs, requests to the running server, the lease and the audit trail.

use std::time::Duration;

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{ids::RunId, time::Timestamp};

/// A run whose process has not shown a sign of life for so long was cut off: it no longer blocks the next. Nor does one whose
/// sign of life lies so far ahead: it died while its clock was wrong.
const RUN_IS_DEAD_AFTER: Duration = Duration::from_mins(3);

/// What a run of a job left behind.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct Run {
    /// Its number.
    pub id: i64,
    /// Which job.
    pub job: String,
    /// What set it off: schedule, command, nudge.
    pub cause: String,
    /// When it began.
    pub started_ms: i64,
    /// When it ended, if it has.
    pub ended_ms: Option<i64>,
    /// done, failed, cut-off, held.
    pub outcome: Option<String>,
    /// Figures and messages, as JSON.
    pub detail: String,
}

/// A line of the audit trail.
#[derive(Debug, Clone, Default, serde::Serialize, sqlx::FromRow)]
pub struct AuditLine {
    /// When.
    pub at_ms: i64,
    /// Who or which rule.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// The state before.
    pub before_state: Option<String>,
    /// The state after.
    pub after_state: Option<String>,
    /// CloudStack's job or bursar's intent.
    pub request_id: Option<String>,
    /// What was answered.
    pub answer: Option<String>,
}

/// Reads a setting.
pub async fn find_setting(tx: &mut Tx, key: &str) -> Result<Option<String>, StoreError> {
    Ok(maybe!(tx, (String,), "select value from setting where key = $1", key)?.map(|(value,)| value))
}

/// Writes a setting.
pub async fn put_setting(tx: &mut Tx, key: &str, value: &str, now: Timestamp) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into setting (key, value, updated_ms) values ($1, $2, $3) \
         on conflict (key) do update set value = excluded.value, updated_ms = excluded.updated_ms",
        key,
        value,
        now
    )?;
    Ok(())
}

/// Writes a setting where it still is what was read. False: it is something else by now.
pub async fn replace_setting(
    tx: &mut Tx,
    key: &str,
    (from, to): (&str, &str),
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(tx, "update setting set value = $1, updated_ms = $2 where key = $3 and value = $4", to, now, key, from)?
        == 1)
}

/// Starts a run, or tells since when another one is under way. A run that died without a word is closed as cut off; where it lives
/// after all (it stood still, or the clocks of two replicas differ), it commits nothing any more: [`commit_for`].
pub async fn start_run(
    tx: &mut Tx,
    job: &str,
    cause: &str,
    holder: &str,
    now: Timestamp,
) -> Result<Result<RunId, Timestamp>, StoreError> {
    exec!(
        tx,
        "update run set ended_ms = $1, outcome = 'cut-off' \
         where job = $2 and ended_ms is null and (alive_ms < $3 or alive_ms > $4)",
        now,
        job,
        now.minus(RUN_IS_DEAD_AFTER),
        now.plus(RUN_IS_DEAD_AFTER)
    )?;
    let open = maybe!(tx, (i64,), "select started_ms from run where job = $1 and ended_ms is null", job)?;
    if let Some((started_ms,)) = open {
        return Ok(Err(Timestamp::from_ms(started_ms)));
    }
    let id = scalar!(
        tx,
        i64,
        "insert into run (job, cause, holder, started_ms, alive_ms) values ($1, $2, $3, $4, $4) returning id",
        job,
        cause,
        holder,
        now
    )?;
    Ok(Ok(RunId::new(id)))
}

/// Closes the runs that a former process of this very holder left open: it holds the data directory's lock now, so they
/// can not be alive.
pub async fn close_runs_of(tx: &mut Tx, holder_prefix: &str, now: Timestamp) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update run set ended_ms = $1, outcome = 'cut-off' where ended_ms is null and holder like $2",
        now,
        format!("{holder_prefix}%")
    )
}

/// Shows a sign of life; until the transaction ends nobody else can cut the run off. False: it has ended, or was cut off.
pub async fn touch_run(tx: &mut Tx, run: RunId, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(tx, "update run set alive_ms = $1 where id = $2 and ended_ms is null", now, run)? == 1)
}

/// Commits what a run has written, as long as the run is open. A process may stand still, count as dead, and wake up while another one
/// does the same job: what it writes then would rest on what it saw before. So it writes nothing any more, as if it had died there.
///
/// # Errors
///
/// [`StoreError::TakenOver`] where the run was cut off, for whatever reason; then nothing of the transaction is kept.
pub async fn commit_for(mut tx: Tx, run: RunId) -> Result<(), StoreError> {
    // It changes nothing: on PostgreSQL whoever wants to cut the run off now waits until all of this is there for the next one to see.
    // Asked last, so that this is short, and signs of life are not held up by a long transaction.
    let open = exec!(&mut tx, "update run set alive_ms = alive_ms where id = $1 and ended_ms is null", run)?;
    if open == 1 { tx.commit().await } else { Err(StoreError::TakenOver) }
}

/// Ends a run. False: it has ended, or was cut off.
pub async fn end_run(tx: &mut Tx, run: RunId, outcome: &str, detail: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update run set ended_ms = $1, outcome = $2, detail = $3 where id = $4 and ended_ms is null",
        now,
        outcome,
        detail,
        run
    )? == 1)
}

/// The newest runs of a job, or of all jobs.
pub async fn list_runs(tx: &mut Tx, job: Option<&str>, limit: i64) -> Result<Vec<Run>, StoreError> {
    all!(
        tx,
        Run,
        "select id, job, cause, started_ms, ended_ms, outcome, detail from run \
         where ($1 is null or job = $1) order by id desc limit $2",
        job,
        limit
    )
}

/// Writes a line of the audit trail.
pub async fn write_audit(tx: &mut Tx, line: &AuditLine) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into audit (at_ms, actor, action, subject, before_state, after_state, request_id, answer) \
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        line.at_ms,
        &line.actor,
        &line.action,
        &line.subject,
        &line.before_state,
        &line.after_state,
        &line.request_id,
        &line.answer
    )?;
    Ok(())
}

/// The newest lines of the audit trail, of one subject or of all.
pub async fn list_audit(tx: &mut Tx, subject: Option<&str>, limit: i64) -> Result<Vec<AuditLine>, StoreError> {
    // In two statements: for "any subject, or this one" SQLite uses no index.
    match subject {
        Some(subject) => all!(
            tx,
            AuditLine,
            "select at_ms, actor, action, subject, before_state, after_state, request_id, answer from audit \
             where subject = $1 order by id desc limit $2",
            subject,
            limit
        ),
        None => all!(
            tx,
            AuditLine,
            "select at_ms, actor, action, subject, before_state, after_state, request_id, answer from audit \
             order by id desc limit $1",
            limit
        ),
    }
}

/// Takes a lease; gives the fence, or None while another holder has it. Whoever took it before writes nothing under it any more, be it
/// the same holder. One that lasts longer than any that is taken
/// now could was taken under a clock that was wrong, and stops nobody.
pub async fn take_lease(
    tx: &mut Tx,
    name: &str,
    holder: &str,
    lasts: Duration,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let taken = maybe!(
        tx,
        (i64,),
        "insert into lease (name, holder, fence, expires_ms) values ($1, $2, 1, $3) \
         on conflict (name) do update set \
           fence = lease.fence + 1, holder = excluded.holder, expires_ms = excluded.expires_ms \
         where lease.holder = excluded.holder or lease.expires_ms <= $4 or lease.expires_ms > $5 \
         returning fence",
        name,
        holder,
        now.plus(lasts),
        now,
        now.plus(lasts).plus(lasts)
    )?;
    Ok(taken.map(|(fence,)| fence))
}

/// Prolongs a lease for the holder, where nobody has taken it since `fence`; until the transaction ends nobody else can take it.
/// False: somebody has. That it has run out does not matter as long as nobody else wanted it.
pub async fn keep_lease(
    tx: &mut Tx,
    name: &str,
    (holder, fence): (&str, i64),
    until: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update lease set expires_ms = $1 where name = $2 and holder = $3 and fence = $4",
        until,
        name,
        holder,
        fence
    )? == 1)
}

/// Gives a lease back before it ends: whatever the clocks say, nobody waits for it. The fence stays, so that it never goes down.
pub async fn drop_lease(tx: &mut Tx, name: &str, holder: &str, fence: i64) -> Result<(), StoreError> {
    exec!(tx, "update lease set expires_ms = 0 where name = $1 and holder = $2 and fence = $3", name, holder, fence)?;
    Ok(())
}

/// A request that a command left for the running server.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Request {
    /// Its number.
    pub id: i64,
    /// What to do: sync, rate, enforce.
    pub kind: String,
    /// Arguments, as JSON.
    pub body: String,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub created_ms: i64,
}

/// Leaves a request for the running server.
pub async fn leave_request(
    tx: &mut Tx,
    kind: &str,
    body: &str,
    requested_by: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "insert into request (kind, body, requested_by, created_ms) values ($1, $2, $3, $4) returning id",
        kind,
        body,
        requested_by,
        now
    )
}

/// Requests that nobody has answered, oldest first.
pub async fn list_open_requests(tx: &mut Tx, limit: i64) -> Result<Vec<Request>, StoreError> {
    all!(
        tx,
        Request,
        "select id, kind, body, requested_by, created_ms from request where finished_ms is null order by id limit $1",
        limit
    )
}

/// A claim with a sign of life before the first instant, or behind the second one, is of a process that died. Where this process holds
/// the data directory's lock, every other one is dead.
fn claims_of_the_dead(others_are_dead: bool, now: Timestamp) -> (Timestamp, Timestamp) {
    (if others_are_dead { now } else { now.minus(RUN_IS_DEAD_AFTER) }, now.plus(RUN_IS_DEAD_AFTER))
}

/// Takes an open request, to carry it out. False: it is answered, or another process that lives carries it out.
pub async fn claim_request(
    tx: &mut Tx,
    id: i64,
    holder: &str,
    others_are_dead: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (before, behind) = claims_of_the_dead(others_are_dead, now);
    Ok(exec!(
        tx,
        "update request set claimed_by = $1, claimed_ms = $2 where id = $3 and finished_ms is null \
           and (claimed_ms is null or claimed_ms <= $4 or claimed_ms > $5)",
        holder,
        now,
        id,
        before,
        behind
    )? == 1)
}

/// Shows that a request is still being carried out; until the transaction ends nobody else can take it. False: it is answered, or
/// another process has taken it.
pub async fn touch_request(tx: &mut Tx, id: i64, holder: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update request set claimed_ms = $1 where id = $2 and claimed_by = $3 and finished_ms is null",
        now,
        id,
        holder
    )? == 1)
}

/// Puts a request back: it could not be carried out yet.
pub async fn release_request(tx: &mut Tx, id: i64, holder: &str) -> Result<(), StoreError> {
    exec!(
        tx,
        "update request set claimed_by = null, claimed_ms = null where id = $1 and claimed_by = $2 and finished_ms is null",
        id,
        holder
    )?;
    Ok(())
}

/// Takes a request back in the name of whoever asked: nobody carries it out any more. False: it is answered, or a process that lives
/// carries it out.
pub async fn withdraw_request(tx: &mut Tx, id: i64, others_are_dead: bool, now: Timestamp) -> Result<bool, StoreError> {
    let (before, behind) = claims_of_the_dead(others_are_dead, now);
    Ok(exec!(
        tx,
        "update request set finished_ms = $1, succeeded = 0, result = 'withdrawn by whoever asked' \
         where id = $2 and finished_ms is null and (claimed_ms is null or claimed_ms <= $3 or claimed_ms > $4)",
        now,
        id,
        before,
        behind
    )? == 1)
}

/// Answers a request that this holder carries out. False: it is answered, or another process has taken it and answers it.
pub async fn answer_request(
    tx: &mut Tx,
    id: i64,
    holder: &str,
    (succeeded, result): (bool, &str),
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update request set finished_ms = $1, succeeded = $2, result = $3 \
         where id = $4 and claimed_by = $5 and finished_ms is null",
        now,
        i64::from(succeeded),
        result,
        id,
        holder
    )? == 1)
}

/// The answer to a request: whether it succeeded, and what was said. None while it is open.
pub async fn find_answer(tx: &mut Tx, id: i64) -> Result<Option<(bool, String)>, StoreError> {
    let row = maybe!(
        tx,
        (i64, String),
        "select coalesce(succeeded, 0), coalesce(result, '') from request where id = $1 and finished_ms is not null",
        id
    )?;
    Ok(row.map(|(succeeded, result)| (succeeded == 1, result)))
}

/// Takes a lease whoever has it: only for a process that knows every other holder to be dead. Gives the fence.
pub async fn seize_lease(
    tx: &mut Tx,
    name: &str,
    holder: &str,
    lasts: Duration,
    now: Timestamp,
) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "insert into lease (name, holder, fence, expires_ms) values ($1, $2, 1, $3) \
         on conflict (name) do update set fence = lease.fence + 1, holder = excluded.holder, expires_ms = excluded.expires_ms \
         returning fence",
        name,
        holder,
        now.plus(lasts)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secrets::Secret,
        store::{Store, StoreSettings},
    };

    async fn store() -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings { data_dir: folder.path().to_owned(), url: Secret::new(""), max_connections: 2 };
        (Store::open(&settings).await.unwrap(), folder)
    }

    #[tokio::test]
    async fn what_died_while_its_clock_was_ahead_stops_nobody_once_the_clock_is_right() {
        let (store, _folder) = store().await;
        let now = Timestamp::from_seconds(1_793_491_200);
        let ahead = now.plus(Duration::from_hours(30));
        let lasts = Duration::from_mins(3);
        let mut tx = store.begin().await.unwrap();
        start_run(&mut tx, "sync", "test", "dead", ahead).await.unwrap().unwrap();
        take_lease(&mut tx, "enforcer", "dead", lasts, ahead).await.unwrap().unwrap();
        assert!(start_run(&mut tx, "sync", "test", "alive", now).await.unwrap().is_ok());
        assert_eq!(take_lease(&mut tx, "enforcer", "alive", lasts, now).await.unwrap(), Some(2));
        // What is merely a little ahead is alive.
        let close = now.minus(Duration::from_mins(2));
        assert_eq!(start_run(&mut tx, "sync", "test", "other", close).await.unwrap(), Err(now));
        assert_eq!(take_lease(&mut tx, "enforcer", "other", lasts, close).await.unwrap(), None);
        tx.commit().await.unwrap();
    }

    /// Writes a setting for a run.
    async fn put(store: &Store, key: &str, run: RunId) -> Result<(), StoreError> {
        let mut tx = store.begin().await?;
        put_setting(&mut tx, key, "1", Timestamp::from_ms(0)).await?;
        commit_for(tx, run).await
    }

    #[tokio::test]
    async fn what_was_cut_off_commits_nothing_any_more_and_shows_no_life() {
        let (store, _folder) = store().await;
        let now = Timestamp::from_seconds(1_793_491_200);
        let start = async |at: Timestamp| {
            let mut tx = store.begin().await.unwrap();
            let run = start_run(&mut tx, "rate", "test", "somebody", at).await.unwrap();
            tx.commit().await.unwrap();
            run
        };
        let old = start(now).await.unwrap();
        put(&store, "before", old).await.unwrap();
        let new = start(now.plus(Duration::from_mins(4))).await.unwrap();
        assert!(matches!(put(&store, "old", old).await, Err(StoreError::TakenOver)));
        put(&store, "new", new).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        assert!(!touch_run(&mut tx, old, now).await.unwrap() && touch_run(&mut tx, new, now).await.unwrap());
        // The old one closes its record in vain, and the new one its own.
        for run in [old, new] {
            assert_eq!(end_run(&mut tx, run, "done", "{}", now).await.unwrap(), run == new);
        }
        tx.commit().await.unwrap();
        assert!(matches!(put(&store, "ended", new).await, Err(StoreError::TakenOver)));
        assert!(matches!(put(&store, "unknown", RunId::new(77)).await, Err(StoreError::TakenOver)));
        let mut tx = store.read().await.unwrap();
        let mut kept = Vec::new();
        for key in ["before", "old", "new", "ended", "unknown"] {
            kept.push(find_setting(&mut tx, key).await.unwrap().is_some());
        }
        assert_eq!(kept, [true, false, true, false, false]);
        let outcomes: Vec<_> =
            list_runs(&mut tx, Some("rate"), 9).await.unwrap().into_iter().map(|run| run.outcome.unwrap()).collect();
        assert_eq!(outcomes, ["done", "cut-off"], "newest first");
    }
}
