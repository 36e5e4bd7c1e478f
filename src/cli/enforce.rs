//! `bursar enforce` with everything that steers it, and `bursar leave`.

use std::{
    io::{BufRead as _, IsTerminal as _},
    process::ExitCode,
};

use anyhow::bail;

use super::{
    Context, approver,
    args::{EnforceArgs, EnforceCommand, LeaveArgs},
    author,
    jobs::{Turn, ask_server, take_turn},
    output, way_out,
};
use crate::{
    enforcement::{differences::Differences, held::HeldBack, marker, plans, switches},
    ids::RunId,
    jobs::{
        App,
        arming::{self, Status, Wanted},
        operations,
        work::{self, EnforceOptions, JobError},
    },
    store::{
        operations as rows,
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// Plans shown in a list.
const PLANS_SHOWN: i64 = 50;

/// `bursar enforce`
pub async fn enforce(context: &Context, args: EnforceArgs) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    if let Some(command) = args.command {
        return steer(context, &app, command).await;
    }
    if args.plan {
        return make_plan(context, &app).await;
    }
    let report = run(&app, args.dry_run).await?;
    context.show(&report, enforce_text)?;
    // A rehearsal came about whatever it found.
    Ok(if args.dry_run || came_about(&report) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a run did what it was there for. It did where a rule or a pause held something back, or where an account was left to others.
fn came_about(report: &serde_json::Value) -> bool {
    let says = |key: &str| report.get(key).is_some_and(|why| !why.is_null());
    !says("fuse") && !says("unconfirmed") && words(report, "failed").is_empty()
}

/// One run, by the running server or by this process.
async fn run(app: &App, dry_run: bool) -> anyhow::Result<serde_json::Value> {
    Ok(match take_turn(app).await? {
        Turn::Ours(lock) => {
            let options = EnforceOptions { dry_run, holds_data_lock: lock.is_some() };
            serde_json::to_value(work::enforce(app, options, "command").await?)?
        }
        Turn::Server => {
            let body = serde_json::json!({ "dry_run": dry_run });
            serde_json::from_str(&ask_server(app, "enforce", &body).await?)?
        }
    })
}

fn words(report: &serde_json::Value, key: &str) -> Vec<String> {
    report
        .get(key)
        .and_then(serde_json::Value::as_array)
        .map(|list| list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
        .unwrap_or_default()
}

fn enforce_text(report: &serde_json::Value) -> String {
    let line_of = |line: &serde_json::Value| {
        let word = |key: &str| line.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let waits = words(line, "waits_for").join("; ");
        let why = if waits.is_empty() { word("sentence") } else { format!("{} Waits: {waits}", word("sentence")) };
        [word("account"), word("outcome"), word("reason"), why]
    };
    let rows = report
        .get("decisions")
        .and_then(serde_json::Value::as_array)
        .map(|list| list.iter().map(line_of).collect())
        .unwrap_or_default();
    let mut text = output::table(["account", "decision", "reason", "what the tenant is told"], rows);
    let flag = |key: &str| report.get(key).and_then(serde_json::Value::as_bool).unwrap_or_default();
    for (head, key) in [
        ("Restricted", "restricted"),
        ("Locked", "locked"),
        ("Stopped", "stopped"),
        ("Opened again", "restored"),
        ("Under way", "started"),
        ("Left to others", "left"),
        ("Not done", "failed"),
        ("Left out of the plan", "skipped"),
        ("From a former run", "recovered"),
    ] {
        for item in words(report, key) {
            text.push_str(&format!("\n{head}: {item}"));
        }
    }
    if let Some(fuse) = report.get("fuse").and_then(serde_json::Value::as_str) {
        text.push_str(&format!("\nFuse: {fuse}"));
    }
    for why in held_back(report) {
        text.push_str(&format!("\nNobody is taken a step down: {why}."));
    }
    if let Some(why) = report.get("unconfirmed").and_then(serde_json::Value::as_str) {
        text.push_str(&format!(
            "\nNothing was taken and nothing given back: {why}.\n`bursar enforce differences` shows what to look at, `bursar enforce confirm` goes on."
        ));
    }
    if flag("paused") {
        text.push_str("\nEnforcement is paused: nothing was done. `bursar enforce resume` goes on.");
    } else if flag("dry_run")
        && ["restored", "started", "failed", "left", "recovered"].iter().all(|key| words(report, key).is_empty())
    {
        text.push_str("\nDry run: nothing was done.");
        if !flag("armed") {
            text.push_str(" `bursar enforce arm` lets bursar act on its decisions.");
        }
    }
    if flag("lacks_key") {
        text.push_str(&format!("\n{}.", HeldBack::lacking_key().why));
    }
    text
}

/// What held back every step downwards, without what the report tells in words of its own.
fn held_back(report: &serde_json::Value) -> Vec<String> {
    let guards = report.get("held_back_by").cloned().unwrap_or_default();
    let guards: Vec<HeldBack> = serde_json::from_value(guards).unwrap_or_default();
    guards.into_iter().filter(|guard| !guard.is_told_elsewhere()).map(|guard| guard.why).collect()
}

/// How enforcement stands, with what holds it back at this moment.
#[derive(serde::Serialize)]
struct StatusNow {
    #[serde(flatten)]
    status: Status,
    held_back_by: Vec<HeldBack>,
    /// Why nobody knows what holds it back.
    not_looked_at: Option<String>,
}

async fn show_status(context: &Context, app: &App) -> anyhow::Result<ExitCode> {
    let status = arming::status(app).await?;
    let (held_back_by, not_looked_at) = match operations::find_guards(app).await {
        Ok(guards) => (guards, None),
        Err(error) => {
            let why = way_out::cause_of_job(&error).map_or_else(|| error.to_string(), ToString::to_string);
            (Vec::new(), Some(why))
        }
    };
    context.show(&StatusNow { status, held_back_by, not_looked_at }, |now| {
        let mut text = now.status.text(app.config.billing.zone);
        for guard in now.held_back_by.iter().filter(|guard| !guard.is_told_elsewhere()) {
            text.push_str(&format!("\nNobody is taken a step down: {}.", guard.why));
        }
        if let Some(why) = &now.not_looked_at {
            text.push_str(&format!("\nWhat holds steps down back can not be told now: {why}."));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn steer(context: &Context, app: &App, command: EnforceCommand) -> anyhow::Result<ExitCode> {
    match command {
        EnforceCommand::Arm { rungs, domains, yes } => arm(context, app, &Wanted::new(&rungs, &domains), yes).await,
        EnforceCommand::Disarm { rungs, domains } => {
            let wanted = Wanted::new(&rungs, &domains);
            let disarmed = arming::disarm(app, &wanted, domains.is_empty(), &author()).await?;
            if disarmed.is_empty() && !(rungs.is_empty() && domains.is_empty()) {
                bail!("{} is not armed like this; `bursar enforce status` shows what is", wanted.words());
            }
            context.show(&serde_json::json!({ "disarmed": disarmed }), |_| {
                format!("Disarmed: {}. What was taken is still given back.", listed(&disarmed))
            })?;
            Ok(ExitCode::SUCCESS)
        }
        EnforceCommand::Status => show_status(context, app).await,
        EnforceCommand::Pause => {
            switch(
                context,
                app,
                "1",
                "Enforcement is paused: nothing is taken or given back until `bursar enforce resume`.",
            )
            .await
        }
        EnforceCommand::Resume => switch(context, app, "0", "Enforcement goes on.").await,
        EnforceCommand::Plans { plan } => show_plans(context, app, plan).await,
        EnforceCommand::Approve { plan } => approve(context, app, plan).await,
        EnforceCommand::Drop { plan } => {
            let mut tx = app.store.begin().await?;
            plans::drop_plan(&mut tx, plan, &author(), app.clock.now()).await?;
            tx.commit().await?;
            context.show(&serde_json::json!({ "dropped": plan }), |_| {
                format!("Plan {plan} is dropped. What is still due comes with the next run, or as a new plan.")
            })?;
            Ok(ExitCode::SUCCESS)
        }
        EnforceCommand::Undo { run } => undo(context, app, run).await,
        EnforceCommand::Differences => {
            let found = operations::find_differences(app).await?;
            context.show(&found, differences_text)?;
            Ok(if found.any() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        EnforceCommand::Confirm => {
            let confirmed = operations::confirm(app, &author()).await?;
            wake(app).await?;
            let mut tx = app.store.read().await?;
            let open = marker::find_unconfirmed(&mut tx).await?;
            tx.commit().await?;
            context.show(&serde_json::json!({ "confirmed": confirmed, "unconfirmed": open }), |_| {
                let said = match confirmed.as_slice() {
                    [] => "There was nothing to confirm.".to_owned(),
                    list => format!("Confirmed: {}.", list.join("; ")),
                };
                match &open {
                    Some(why) => format!(
                        "{said} Nothing is enforced all the same: {why}. Look at `bursar enforce differences`, then say `bursar enforce \
                         confirm` again."
                    ),
                    None if confirmed.is_empty() => said,
                    None => format!("{said} Enforcement goes on."),
                }
            })?;
            Ok(if open.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn listed(items: &[String]) -> String {
    if items.is_empty() { "nothing".to_owned() } else { items.join("; ") }
}

async fn wake(app: &App) -> anyhow::Result<()> {
    let mut tx = app.store.begin().await?;
    super::payments::wake(app, &mut tx).await?;
    Ok(tx.commit().await?)
}

async fn arm(context: &Context, app: &App, wanted: &Wanted, yes: bool) -> anyhow::Result<ExitCode> {
    let obstacles = arming::obstacles(app, wanted).await?;
    if !obstacles.is_empty() {
        let list: Vec<String> = obstacles.iter().map(|why| format!("  {why}")).collect();
        bail!("{} can not be armed:\n{}", wanted.words(), list.join("\n"));
    }
    let first = arming::first_run(app, wanted).await?;
    if !yes && !agreed(&first.text(app.config.billing.zone), &format!("Arm {}?", wanted.words()))? {
        bail!("nothing was armed; `bursar enforce arm --yes` does it without asking");
    }
    let armed = arming::arm(app, wanted, &author()).await?;
    wake(app).await?;
    context.show(&serde_json::json!({ "armed": armed, "first_run": first }), |_| {
        let report = if yes { format!("{}\n", first.text(app.config.billing.zone)) } else { String::new() };
        match armed.as_slice() {
            [] => format!("{report}All of that was armed already."),
            _ => format!("{report}Armed: {}. `bursar enforce pause` stops it at once.", listed(&armed)),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Asks on a terminal; elsewhere nobody can answer.
fn agreed(what: &str, question: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("{what}\nNobody can be asked here: say --yes once you have read this");
    }
    output::error(&format!("{what}\n{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

async fn switch(context: &Context, app: &App, value: &str, sentence: &str) -> anyhow::Result<ExitCode> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let before = runs::find_setting(&mut tx, switches::PAUSED).await?;
    runs::put_setting(&mut tx, switches::PAUSED, value, now).await?;
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: author(),
        action: if value == "1" { "enforce.pause" } else { "enforce.resume" }.to_owned(),
        subject: "enforcement".to_owned(),
        before_state: before,
        after_state: Some(value.to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(&mut tx, &line).await?;
    if value == "0" {
        super::payments::wake(app, &mut tx).await?;
    }
    tx.commit().await?;
    context.show(&serde_json::json!({ "setting": switches::PAUSED, "value": value }), |_| sentence.to_owned())?;
    Ok(ExitCode::SUCCESS)
}

async fn make_plan(context: &Context, app: &App) -> anyhow::Result<ExitCode> {
    let who = author();
    let report = match take_turn(app).await? {
        Turn::Ours(lock) => serde_json::to_value(operations::make_plan(app, &who, lock.is_some(), "command").await?)?,
        Turn::Server => serde_json::from_str(&ask_server(app, "enforce-plan", &serde_json::json!({})).await?)?,
    };
    if let Some(id) = report.get("plan").and_then(serde_json::Value::as_i64) {
        return show_plans(context, app, Some(id)).await;
    }
    let decisions = report.get("decisions").and_then(serde_json::Value::as_array);
    let waits = |line: &&serde_json::Value| line.get("outcome").and_then(serde_json::Value::as_str) == Some("wait");
    let waiting = decisions.map_or(0, |lines| lines.iter().filter(waits).count());
    context.show(&serde_json::json!({ "plan": null, "waiting": waiting }), |_| {
        let head = if waiting == 0 {
            "Nothing is due downwards: there is nothing to plan.".to_owned()
        } else {
            format!("No step can be taken now, so there is nothing to plan; {waiting} accounts are due and wait.")
        };
        format!("{head} `bursar enforce --dry-run` shows every decision and what it waits for.")
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn show_plans(context: &Context, app: &App, id: Option<i64>) -> anyhow::Result<ExitCode> {
    let zone = app.config.billing.zone;
    let mut tx = app.store.begin().await?;
    plans::expire(&mut tx, app.clock.now()).await?;
    let Some(id) = id else {
        let list = rows::list_plans(&mut tx, PLANS_SHOWN).await?;
        tx.commit().await?;
        context.show(&list, |list| {
            let lines = list
                .iter()
                .map(|plan| {
                    let at = |ms: i64| Timestamp::from_ms(ms).display_in(zone);
                    let (id, made, until) = (plan.id.to_string(), at(plan.created_ms), at(plan.expires_ms));
                    [id, plan.state.clone(), made, until, plan.author.clone(), plan.why.clone()]
                })
                .collect();
            output::table(["plan", "state", "made", "good until", "by", "why"], lines)
        })?;
        return Ok(ExitCode::SUCCESS);
    };
    let plan = rows::get_plan(&mut tx, id).await?;
    let shown = plans::show(&mut tx, plan, app.config.fuse.second_admin).await?;
    tx.commit().await?;
    context.show(&shown, |shown| plans::text(shown, zone))?;
    Ok(ExitCode::SUCCESS)
}

async fn approve(context: &Context, app: &App, id: i64) -> anyhow::Result<ExitCode> {
    let mut tx = app.store.begin().await?;
    let complete = plans::approve(&mut tx, id, &approver(), app.config.fuse.second_admin, app.clock.now()).await?;
    tx.commit().await?;
    if !complete {
        context.show(&serde_json::json!({ "plan": id, "approved": false }), |_| {
            format!(
                "Your approval of plan {id} is noted; a second administrator has to approve it, on the page Enforcement: everybody at the \
                 command line counts as one person."
            )
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = match run(app, false).await {
        Ok(report) => report,
        Err(error) => {
            // A server that runs carries it out; so does the next run of anybody.
            wake(app).await?;
            if error.downcast_ref::<JobError>().is_none_or(|error| !error.is_busy()) {
                let is = format!("plan {id} is approved, and the next run carries it out; this one did not come about");
                return Err(error.context(is));
            }
            context.show(&serde_json::json!({ "plan": id, "approved": true, "carried_plan": null }), |_| {
                format!(
                    "Plan {id} is approved. Another run is under way; the next one carries it out before it expires."
                )
            })?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let mut tx = app.store.read().await?;
    let lines = rows::list_plan_lines(&mut tx, id).await?;
    tx.commit().await?;
    let done = lines.iter().filter(|line| matches!(line.state.as_str(), "done" | "started")).count();
    context.show(&report, |report| {
        if report.get("carried_plan").and_then(serde_json::Value::as_i64) == Some(id) {
            format!("Plan {id}: {done} of {} lines were carried out.\n{}", lines.len(), enforce_text(report))
        } else {
            format!(
                "Plan {id} is approved and was not carried out yet; a run does it before it expires.\n{}",
                enforce_text(report)
            )
        }
    })?;
    Ok(if came_about(&report) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn undo(context: &Context, app: &App, run: i64) -> anyhow::Result<ExitCode> {
    let report = match take_turn(app).await? {
        Turn::Ours(lock) => {
            let done = operations::undo(app, RunId::new(run), &author(), lock.is_some(), "command").await?;
            serde_json::to_value(done)?
        }
        Turn::Server => {
            serde_json::from_str(&ask_server(app, "enforce-undo", &serde_json::json!({ "run": run })).await?)?
        }
    };
    given_back(context, &report)
}

/// `bursar leave`
pub async fn leave(context: &Context, args: &LeaveArgs) -> anyhow::Result<ExitCode> {
    let app = context.app().await?;
    if !args.yes {
        let held = arming::status(&app).await?.held;
        let what = format!(
            "bursar pauses, disarms, and gives back everything that it took: {held} accounts. CloudStack's own self-service of keys is \
             opened where bursar closed it. What is owed stays in the ledger."
        );
        if !agreed(&what, "Leave?")? {
            bail!("nothing was changed; `bursar leave --yes` does it without asking");
        }
    }
    let report = match take_turn(&app).await? {
        Turn::Ours(lock) => serde_json::to_value(operations::leave(&app, &author(), lock.is_some(), "command").await?)?,
        Turn::Server => serde_json::from_str(&ask_server(&app, "leave", &serde_json::json!({})).await?)?,
    };
    given_back(context, &report)
}

fn given_back(context: &Context, report: &serde_json::Value) -> anyhow::Result<ExitCode> {
    let left = words(report, "left");
    context.show(report, |report| {
        let back = words(report, "given_back");
        let mut text = if back.is_empty() { "Nothing was given back.".to_owned() } else { String::new() };
        for (head, key) in [
            ("Given back", "given_back"),
            ("Under way", "started"),
            ("Left", "left"),
            ("Not held any more", "free"),
            ("From a former run", "recovered"),
        ] {
            for item in words(report, key) {
                let line = if text.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{line}{head}: {item}"));
            }
        }
        if !words(report, "started").is_empty() {
            text.push_str("\nWhat is under way is not done yet: the next run goes on with it. While enforcement is paused, say the same again.");
        }
        text
    })?;
    let under_way = words(report, "started");
    Ok(if left.is_empty() && under_way.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn differences_text(found: &Differences) -> String {
    let mut text = match &found.unconfirmed {
        Some(why) => format!("Nothing is enforced: {why}."),
        None => "Enforcement is not held up.".to_owned(),
    };
    if let Some((from, to)) = &found.version {
        text.push_str(&format!("\nCloudStack was {from} when somebody last looked, and is {to} now."));
    }
    for (head, list) in [
        ("Suspended in CloudStack, and no hold here says why, or none that goes as far", &found.without_hold),
        ("Held here, and not suspended in CloudStack", &found.without_suspension),
    ] {
        if list.is_empty() {
            continue;
        }
        text.push_str(&format!("\n\n{head}:"));
        for line in list {
            let state = line.state.as_deref().unwrap_or("not in CloudStack");
            text.push_str(&format!("\n  {} is {state}; {}. {}", line.account, line.known, line.way_out));
        }
    }
    if !found.unknown_acts.is_empty() {
        text.push_str("\n\nActs of bursar's own user that this database knows nothing of:");
        for act in &found.unknown_acts {
            text.push_str(&format!("\n  {} {} of {}", act.at, act.act, act.account));
        }
    }
    for what in &found.not_looked_at {
        text.push_str(&format!("\nNot looked at: {what}."));
    }
    if found.unconfirmed.is_some() || found.version.is_some() || !found.unknown_acts.is_empty() {
        text.push_str("\n\nOnce you have looked and put right what is wrong: `bursar enforce confirm`.");
    } else if !found.any() && found.not_looked_at.is_empty() {
        text.push_str("\nCloudStack and this database agree.");
    } else if !found.any() {
        text.push_str("\nAs far as it was looked at, CloudStack and this database agree.");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_line_of_a_report_is_said_once() {
        let report = json!({
            "started": ["ROOT/bob: the job runs"], "failed": ["ROOT/eve: no answer"],
            "held_back_by": [{ "kind": "version", "why": "CloudStack is new" }, { "kind": "paused", "why": "x" }],
        });
        let text = enforce_text(&report);
        for line in ["Under way: ROOT/bob", "Not done: ROOT/eve", "Nobody is taken a step down: "] {
            assert_eq!(text.matches(line).count(), 1, "{line} in {text}");
        }
        assert!(text.contains("Nobody is taken a step down: CloudStack is new."), "{text}");
    }

    #[test]
    fn a_failure_is_told_from_what_is_merely_held_back() {
        for (report, well) in [
            (json!({ "fuse": null, "unconfirmed": null, "failed": [], "locked": ["ROOT/bob"] }), true),
            (json!({ "paused": true }), true),
            (json!({ "held_back_by": [{ "kind": "version", "why": "x" }], "skipped": ["ROOT/bob: paid"] }), true),
            (json!({ "failed": [], "left": ["ROOT/bob: somebody else wants it suspended too"] }), true),
            (json!({ "failed": ["ROOT/bob: it was not locked: no answer"] }), false),
            (json!({ "unconfirmed": "a backup was restored" }), false),
            (json!({ "fuse": "3 accounts are due" }), false),
        ] {
            assert_eq!(came_about(&report), well, "{report}");
        }
    }
}
