//! Stored plans: what a run would do downwards, shown to a person, and carried out once approved: exactly that.
//!
//! Promises: a plan is carried out as a whole set of lines or less, never more; a line whose decision is no longer the same is
//! left out and says so; nobody approves twice; a plan that is too old is worth nothing.

use std::fmt::Write as _;

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use serde::{Deserialize, Serialize};

use super::{
    Machine,
    act::Actor,
    fuse::{Step, Weighed},
    plan::PlannedAccount,
    record::figures_json,
    run::{EnforceSettings, Enforcer, Error, arming},
    tell,
};
use crate::{
    approver::{self, Approver},
    ids::{AccountId, RunId},
    policy::Rung,
    store::{
        StoreError, Tx, cloud,
        operations::{self as rows, NewPlan, PlanLineRow, PlanRow},
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// Machines are listed for so many accounts of a plan; beyond, a person looks at figures and not at names.
pub const MACHINES_LISTED_FOR: usize = 200;

/// What a plan comes to, as stored with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFigures {
    /// What is due, and what the fuse allows.
    #[serde(flatten)]
    pub weighed: Weighed,
    /// Machines that would stop.
    pub machines_stopped: u64,
    /// Accounts whose machines were not listed, because there are so many.
    pub not_listed: u64,
}

impl PlanFigures {
    /// Why nothing may be done downwards without an approval; None: it may. What nobody has counted is no reason to go on.
    pub fn blown(&self) -> Option<String> {
        let unknown = (self.not_listed > 0).then(|| {
            format!(
                "the machines of {} of the accounts that are due were not listed, so nobody can tell how many run there",
                self.not_listed
            )
        });
        let why: Vec<String> = self.weighed.blown().into_iter().chain(unknown).collect();
        (!why.is_empty()).then(|| why.join("; "))
    }
}

/// A line as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct PlanLine {
    /// The account's full name.
    pub account: String,
    /// Its number.
    pub account_id: i64,
    /// restrict, lock, stop.
    pub rung: String,
    /// Why, as a word.
    pub reason: String,
    /// What the tenant is told.
    pub sentence: String,
    /// The figures.
    pub figures: serde_json::Value,
    /// The machines that run.
    pub machines: Vec<Machine>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// What it would take to avoid it.
    pub to_avoid: String,
    /// waiting, done, started, skipped, failed.
    pub state: String,
    /// How it ended.
    pub answer: Option<String>,
}

/// A plan as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct ShownPlan {
    /// Its number.
    pub id: i64,
    /// command, fuse.
    pub cause: String,
    /// Who made it.
    pub author: String,
    /// Why.
    pub why: String,
    /// waiting, approved, done, dropped, expired, overtaken.
    pub state: String,
    /// What it comes to.
    pub figures: serde_json::Value,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it can be approved and carried out.
    pub expires: Timestamp,
    /// Who approved it so far.
    pub approved_by: Vec<String>,
    /// How many people these are for certain: who may be one person counts once.
    pub approvals: usize,
    /// How many approvals it takes.
    pub approvals_needed: usize,
    /// The run that carried it out.
    pub carried_out_in_run: Option<i64>,
    /// Who ended it.
    pub ended_by: Option<String>,
    /// The lines.
    pub lines: Vec<PlanLine>,
}

/// Why a plan can not be approved or dropped.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not waiting any more.
    #[error("plan {id} is {state}; `bursar enforce --plan` makes a new one")]
    Ended {
        /// The plan.
        id: i64,
        /// What it is now.
        state: String,
    },
    /// Nothing is armed.
    #[error("nothing is armed, so plan {0} could not be carried out; `bursar enforce arm` first")]
    NotArmed(i64),
    /// The same person can not approve it twice.
    #[error("{0} has approved it already; another administrator has to")]
    Twice(String),
    /// Everybody at the command line is one person.
    #[error(
        "it was approved at the command line already, and everybody there counts as one person: the second administrator approves on the \
         page Enforcement"
    )]
    TwiceAtCommandLine,
}

/// How many approvals a plan takes.
pub const fn approvals_needed(second_admin: bool) -> usize {
    if second_admin { 2 } else { 1 }
}

/// What is due, for a person to look at and for the fuse to weigh.
pub(super) struct Built {
    pub lines: Vec<PlanLineRow>,
    pub steps: Vec<Step>,
    pub figures: PlanFigures,
    /// Accounts whose machines CloudStack did not list, with the reason.
    pub unread: Vec<(AccountId, String)>,
}

/// The machines of an account that run; None: nobody has to know.
type Listing = Option<Result<Vec<Machine>, Error>>;

async fn list(actor: Option<&Actor<'_>>, planned: &PlannedAccount, rung: Rung) -> Listing {
    match actor {
        Some(actor) if rung != Rung::Restrict => Some(actor.running_machines(&planned.account).await),
        _ => None,
    }
}

/// Builds the lines of a plan, and the steps that the fuse counts. Asks CloudStack for the machines.
pub(super) async fn build(
    enforcer: &Enforcer<'_>,
    actor: Option<&Actor<'_>>,
    due: &[(&PlannedAccount, Rung)],
) -> Result<Built, Error> {
    let mut tx = enforcer.store.read().await?;
    let projects = cloud::list_projects(&mut tx).await?;
    tx.commit().await?;
    let (mut lines, mut steps, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    let (mut machines_stopped, mut not_listed) = (0_u64, 0_u64);
    // Several at once: what is decided here is carried out within a minute or not at all. All of them end before anything else is asked
    // for: who is not polled keeps its turn at CloudStack.
    let mut listings = Vec::new().into_iter();
    for (at, (planned, rung)) in due.iter().enumerate() {
        if listings.len() == 0 && at < MACHINES_LISTED_FOR {
            let next = due.iter().take(MACHINES_LISTED_FOR).skip(at).take(enforcer.settings.reads_at_once.max(1));
            let next: Vec<BoxFuture<'_, Listing>> =
                next.map(|(planned, rung)| list(actor, planned, *rung).boxed()).collect();
            listings = join_all(next).await.into_iter();
        }
        let mut notes = Vec::new();
        // None: they were not listed, so nobody knows which ran.
        let looked = listings.next();
        let is_looked_at = looked.is_some();
        let machines = match (actor, looked.flatten()) {
            _ if *rung == Rung::Restrict => Some(Vec::new()),
            (Some(actor), Some(listed)) => match actor.bear(listed).await? {
                Ok(machines) => Some(machines),
                Err(why) => {
                    notes.push(format!("its machines were not listed: {why}"));
                    unread.push((planned.account.id, why));
                    None
                }
            },
            _ => {
                not_listed += 1;
                notes.push(format!(
                    "its machines were not listed: the plan has more than {MACHINES_LISTED_FOR} accounts"
                ));
                None
            }
        };
        let own: Vec<&str> = projects
            .iter()
            .filter(|project| project.owner_account_id == Some(planned.account.id) && project.state == "Active")
            .map(|project| project.name.as_str())
            .collect();
        notes.extend(notes_of(*rung, &own));
        let shared = match actor {
            Some(actor) if is_looked_at && *rung != Rung::Lock => {
                actor.projects_with_others(&planned.account, &projects).await?
            }
            _ => Vec::new(),
        };
        if !shared.is_empty() {
            notes.push(format!("people of other accounts work in its projects: {}", shared.join(", ")));
        }
        let count = machines.as_ref().map_or(0, Vec::len) as u64;
        if *rung == Rung::Stop {
            machines_stopped += count;
        }
        steps.push(Step { account: planned.account.id, machines: count });
        lines.push(PlanLineRow {
            account_id: planned.account.id,
            rung: rung.word().to_owned(),
            reason: planned.decision.reason.word().to_owned(),
            sentence: planned.decision.sentence.clone(),
            figures: figures_json(planned),
            machines: json(&machines),
            notes: json(&notes),
            to_avoid: to_avoid(enforcer.settings, planned),
            state: "waiting".to_owned(),
            answer: None,
        });
    }
    let weighed = super::fuse::weigh(enforcer.settings.fuse, 0, &steps, &[]);
    Ok(Built { lines, steps, figures: PlanFigures { weighed, machines_stopped, not_listed }, unread })
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned())
}

/// What a person should know besides the machines.
fn notes_of(rung: Rung, projects: &[&str]) -> Vec<String> {
    let names = projects.join(", ");
    let mut notes = Vec::new();
    if rung == Rung::Restrict {
        notes.push(
            "limits that it inherits from its domain or from CloudStack's defaults come back as limits of its own, of the same number"
                .to_owned(),
        );
        if !projects.is_empty() {
            notes.push(format!("the limits of its projects are set too: {names}"));
        }
    }
    if rung == Rung::Stop && !projects.is_empty() {
        notes.push(format!("its projects are suspended, for members of other accounts too: {names}"));
    }
    notes
}

/// What it would take to avoid a step.
pub(super) fn to_avoid(settings: &EnforceSettings, planned: &PlannedAccount) -> String {
    if planned.to_avoid.is_positive() {
        format!("a payment or a higher limit of {}", settings.currency.format(planned.to_avoid))
    } else {
        "nothing is missing any more".to_owned()
    }
}

/// Stores a plan and tells administrators where the fuse made it. A plan of the fuse with the same steps that still waits
/// stays as it is; one with other steps that nobody has approved yet is overtaken.
pub(super) async fn store(
    tx: &mut Tx,
    settings: &EnforceSettings,
    plan: Wanted<'_>,
    lines: &[PlanLineRow],
    (run, now): (RunId, Timestamp),
) -> Result<i64, Error> {
    if plan.cause == "fuse" {
        for open in rows::list_open_plans(tx).await? {
            if open.cause != "fuse" {
                continue;
            }
            let steps = |lines: &[PlanLineRow]| -> Vec<_> {
                let mut steps: Vec<_> = lines.iter().map(|line| (line.account_id, line.rung.clone())).collect();
                steps.sort();
                steps
            };
            let same = steps(&rows::list_plan_lines(tx, open.id).await?) == steps(lines);
            if same || open.state == "approved" || !rows::list_approvals(tx, open.id).await?.is_empty() {
                return Ok(open.id);
            }
            overtake(tx, open.id, "other steps are due now", now).await?;
        }
    }
    let new = NewPlan {
        cause: plan.cause,
        author: plan.author,
        why: plan.why,
        figures: json(&plan.figures),
        run,
        expires: now.plus(settings.plan_lasts),
    };
    let id = rows::insert_plan(tx, &new, lines, now).await?;
    audit(tx, plan.author, "plan.make", id, plan.why, now).await?;
    if plan.cause == "fuse" {
        let body = format!(
            "{}. No step down was begun. Plan {id} says who and why: `bursar enforce plans {id}`, or the page Enforcement. Approve it with \
             `bursar enforce approve {id}` before {}, or drop it.",
            plan.why,
            now.plus(settings.plan_lasts).display_in(settings.zone)
        );
        tell::administrators(tx, &format!("fuse-plan-{id}"), "fuse", "Enforcement waits for your approval", &body, now)
            .await?;
    }
    Ok(id)
}

/// A plan to be stored.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    /// command, fuse.
    pub(super) cause: &'static str,
    pub(super) author: &'a str,
    pub(super) why: &'a str,
    pub(super) figures: PlanFigures,
}

async fn audit(
    tx: &mut Tx,
    author: &str,
    action: &str,
    plan: i64,
    answer: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: author.to_owned(),
        action: action.to_owned(),
        subject: format!("plan {plan}"),
        answer: Some(answer.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}

/// Ends the plans whose time is over.
pub async fn expire(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    for plan in rows::list_open_plans(tx).await? {
        if Timestamp::from_ms(plan.expires_ms) <= now {
            rows::end_plan(tx, plan.id, "expired", "bursar", None, now).await?;
            audit(tx, "bursar", "plan.expire", plan.id, "nobody carried it out in time", now).await?;
        }
    }
    Ok(())
}

/// Drops every plan that is not carried out, in somebody's name.
pub(super) async fn drop_all(tx: &mut Tx, author: &str, why: &str, now: Timestamp) -> Result<(), StoreError> {
    for plan in rows::list_open_plans(tx).await? {
        if rows::end_plan(tx, plan.id, "dropped", author, None, now).await? {
            audit(tx, author, "plan.drop", plan.id, why, now).await?;
        }
    }
    Ok(())
}

/// Ends a plan that has no object any more.
pub(super) async fn overtake(tx: &mut Tx, id: i64, why: &str, now: Timestamp) -> Result<(), StoreError> {
    if rows::end_plan(tx, id, "overtaken", "bursar", None, now).await? {
        audit(tx, "bursar", "plan.overtake", id, why, now).await?;
    }
    Ok(())
}

/// The plan that is approved and not carried out, if there is one. The approvals are counted again: whoever noted the last one may have
/// had another configuration than the process that carries the plan out. One that lacks some waits again.
pub(super) async fn find_approved(
    tx: &mut Tx,
    settings: &EnforceSettings,
    now: Timestamp,
) -> Result<Option<PlanRow>, StoreError> {
    for plan in rows::list_open_plans(tx).await?.into_iter().filter(|plan| plan.state == "approved") {
        let approvals = approver::count_people(&rows::list_approvers(tx, plan.id).await?);
        if approvals >= settings.approvals {
            return Ok(Some(plan));
        }
        if rows::turn_plan(tx, plan.id, "approved", "waiting").await? {
            let words = format!("approval {approvals} of {}: it waits for more", settings.approvals);
            audit(tx, "bursar", "plan.recount", plan.id, &words, now).await?;
            tracing::warn!(
                plan = plan.id,
                approvals,
                needed = settings.approvals,
                "the plan lacks approvals, so it waits again"
            );
        }
    }
    Ok(None)
}

/// Approves a plan; two approvals are of two people for certain, whatever they are called. True: it has every approval it takes, and the next run carries it out.
pub async fn approve(
    tx: &mut Tx,
    id: i64,
    by: &Approver,
    second_admin: bool,
    now: Timestamp,
) -> Result<bool, PlanError> {
    expire(tx, now).await?;
    // Of two at once the later one counts the earlier one.
    rows::lock_plan(tx, id).await?;
    let plan = rows::get_plan(tx, id).await?;
    if plan.state != "waiting" {
        return Err(PlanError::Ended { id, state: plan.state });
    }
    if !arming(tx).await?.any() {
        return Err(PlanError::NotArmed(id));
    }
    let approvers = rows::list_approvers(tx, id).await?;
    if approvers.iter().any(|known| approver::is_same(known, by.identity()))
        || !rows::insert_approval(tx, id, by.identity(), by.name(), now).await?
    {
        if by.is_at_command_line() {
            return Err(PlanError::TwiceAtCommandLine);
        }
        return Err(PlanError::Twice(by.name().to_owned()));
    }
    let approvals = approver::count_people(&rows::list_approvers(tx, id).await?);
    let complete = approvals >= approvals_needed(second_admin);
    if complete {
        rows::turn_plan(tx, id, "waiting", "approved").await?;
    }
    let words = format!("approval {approvals} of {}", approvals_needed(second_admin));
    audit(tx, by.name(), "plan.approve", id, &words, now).await?;
    Ok(complete)
}

/// Drops a plan that was not carried out.
pub async fn drop_plan(tx: &mut Tx, id: i64, author: &str, now: Timestamp) -> Result<(), PlanError> {
    expire(tx, now).await?;
    let plan = rows::get_plan(tx, id).await?;
    if !rows::end_plan(tx, id, "dropped", author, None, now).await? {
        return Err(PlanError::Ended { id, state: plan.state });
    }
    audit(tx, author, "plan.drop", id, "dropped", now).await?;
    Ok(())
}

/// A plan with its lines, for people and programs.
pub async fn show(tx: &mut Tx, plan: PlanRow, second_admin: bool) -> Result<ShownPlan, StoreError> {
    let mut lines = Vec::new();
    for row in rows::list_plan_lines(tx, plan.id).await? {
        let account = cloud::get_account(tx, row.account_id).await?;
        lines.push(PlanLine {
            account: account.full_name(),
            account_id: row.account_id.get(),
            rung: row.rung,
            reason: row.reason,
            sentence: row.sentence,
            figures: serde_json::from_str(&row.figures).unwrap_or_default(),
            machines: serde_json::from_str(&row.machines).unwrap_or_default(),
            notes: serde_json::from_str(&row.notes).unwrap_or_default(),
            to_avoid: row.to_avoid,
            state: row.state,
            answer: row.answer,
        });
    }
    lines.sort_by(|a, b| a.account.cmp(&b.account));
    Ok(ShownPlan {
        id: plan.id,
        cause: plan.cause,
        author: plan.author,
        why: plan.why,
        state: plan.state,
        figures: serde_json::from_str(&plan.figures).unwrap_or_default(),
        created: Timestamp::from_ms(plan.created_ms),
        expires: Timestamp::from_ms(plan.expires_ms),
        approved_by: rows::list_approvals(tx, plan.id).await?,
        approvals: approver::count_people(&rows::list_approvers(tx, plan.id).await?),
        approvals_needed: approvals_needed(second_admin),
        carried_out_in_run: plan.carried_run_id,
        ended_by: plan.ended_by,
        lines,
    })
}

/// A plan as a page of text.
pub fn text(plan: &ShownPlan, zone: chrono_tz::Tz) -> String {
    let mut text = format!(
        "Plan {} ({}), made {} by {}: {}.\n{} accounts. Good until {}.",
        plan.id,
        plan.state,
        plan.created.display_in(zone),
        plan.author,
        plan.why.trim_end_matches('.'),
        plan.lines.len(),
        plan.expires.display_in(zone)
    );
    for line in &plan.lines {
        let _ = write!(text, "\n\n{}: {} ({})\n  {}", line.account, line.rung, line.reason, line.sentence);
        if !line.machines.is_empty() {
            let verb = if line.rung == "stop" { "would stop" } else { "run on" };
            let names: Vec<String> = line
                .machines
                .iter()
                .map(|machine| match &machine.project {
                    Some(project) => format!("{} (project {project})", machine.name),
                    None => machine.name.clone(),
                })
                .collect();
            let _ = write!(text, "\n  {} machines {verb}: {}", names.len(), names.join(", "));
        }
        for note in &line.notes {
            let _ = write!(text, "\n  Note: {note}.");
        }
        let _ = write!(text, "\n  To avoid it: {}.", line.to_avoid);
        if line.state != "waiting" {
            let _ = write!(text, "\n  {}: {}", line.state, line.answer.as_deref().unwrap_or_default());
        }
    }
    if plan.state == "waiting" {
        let _ = write!(
            text,
            "\n\nApprovals: {} of {}. `bursar enforce approve {}` approves it: then exactly this is carried out.",
            plan.approvals, plan.approvals_needed, plan.id
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforcement::fuse::{Limits, weigh};

    #[test]
    fn machines_that_nobody_listed_blow_the_fuse() {
        let limits = Limits { accounts: 1_000, percent: 100.into(), machines: 50 };
        let steps: Vec<Step> =
            (1..=300).map(|account| Step { account: AccountId::new(account), machines: 0 }).collect();
        let figures =
            |not_listed| PlanFigures { weighed: weigh(limits, 1_000, &steps, &[]), machines_stopped: 0, not_listed };
        assert_eq!(figures(0).blown(), None);
        let why = figures(100).blown().unwrap();
        assert!(why.contains("the machines of 100 of the accounts that are due were not listed"), "{why}");
    }

    #[test]
    fn the_plan_of_a_restriction_says_that_inherited_limits_come_back_as_the_accounts_own() {
        let inherited = |notes: &[String]| {
            let words = ["limits that it inherits", "come back as limits of its own"];
            notes.iter().filter(|note| words.iter().all(|word| note.contains(word))).count()
        };
        let of_none_and_some: [&[&str]; 2] = [&[], &["shop", "lab"]];
        for projects in of_none_and_some {
            let notes = notes_of(Rung::Restrict, projects);
            assert_eq!(inherited(&notes), 1, "{notes:?}");
            let of_projects = notes.iter().any(|note| note.contains("limits of its projects are set too: shop, lab"));
            assert_eq!(of_projects, !projects.is_empty(), "{notes:?}");
            // Neither of them changes a limit.
            for rung in [Rung::Lock, Rung::Stop] {
                assert_eq!(inherited(&notes_of(rung, projects)), 0, "{rung:?}");
            }
        }
    }
}
