//! What a former run began and did not end: looked up, read back, gone on with, before anything new is decided.

use std::time::Duration;

use super::{
    act::{Actor, Done, Drive, Intent},
    plan::PlannedAccount,
    run::Error,
};
use crate::{
    ids::DecisionId,
    policy::{Outcome, Rung},
    store::{
        acting,
        cloud::{self, Account},
        enforcement::{self as rows, IntentRow},
        operations,
    },
};

/// How long one open intent may take of a run: another one waits behind it, and whoever has paid wants to be opened.
const PATIENCE: Duration = Duration::from_secs(20);

/// Concludes what was sent under every open intent, and goes on with restores. Gives a sentence for each. What leads down is driven no
/// further here: [`follow_up`] does that, on the decisions of this run.
pub async fn recover(actor: &Actor<'_>) -> Result<Vec<String>, Error> {
    let store = actor.enforcer.store;
    let mut tx = store.read().await?;
    let open = rows::list_open_intents(&mut tx).await?;
    tx.commit().await?;
    let mut sentences = Vec::new();
    for row in open {
        let mut tx = actor.write().await?;
        let account = cloud::get_account(&mut tx, row.account_id).await?;
        let name = account.full_name();
        // A restore whose hold is lifted has begun, though it has sent nothing yet: nobody would decide on the rest again.
        let opened = row.action == "restore"
            && !rows::list_holds(&mut tx, Some(row.account_id)).await?.iter().any(|hold| hold.owner == "billing");
        if row.attempt == 0 && !opened && acting::count_notes_of(&mut tx, &row.id).await? == 0 {
            // Written, and nothing was begun: the decision is taken again.
            let now = actor.enforcer.clock.now();
            rows::end_intent(&mut tx, &row.id, "abandoned", None, "it was never begun", now).await?;
            tx.commit().await?;
            sentences.push(format!("{name}: an action that was never begun was dropped"));
            continue;
        }
        tx.commit().await?;
        let patience = PATIENCE.min(actor.enforcer.settings.intent_deadline);
        let driven = Box::pin(actor.advance(&Intent::from(&row), &account, (Drive::Conclude, patience))).await;
        let done = actor.bear(driven).await?.unwrap_or_else(Done::No);
        let why = done.why().map_or_else(|| " turned out to be done".to_owned(), |why| format!(": {why}"));
        sentences.push(format!("{name}: an interrupted {}{why}", row.action));
    }
    Ok(sentences)
}

/// Ends what a former run began and this run's decisions no longer want; what they still want is gone on with by the steps
/// downwards. Gives a sentence for each.
pub async fn follow_up<'p>(
    actor: &Actor<'_>,
    decisions: impl Iterator<Item = (&'p PlannedAccount, DecisionId)>,
) -> Result<Vec<String>, Error> {
    let mut tx = actor.enforcer.store.read().await?;
    let open = rows::list_open_intents(&mut tx).await?;
    tx.commit().await?;
    let mut sentences = Vec::new();
    if open.is_empty() {
        return Ok(sentences);
    }
    let patience = PATIENCE.min(actor.enforcer.settings.intent_deadline);
    for (planned, decision) in decisions {
        let account = &planned.account;
        let Some(row) = open.iter().find(|row| row.account_id == account.id) else { continue };
        let intent = Intent::from(row);
        let outcome = planned.decision.outcome;
        // The same step, decided again, goes on with it. A decision that waits may do so for long: what is half done is ended, so that
        // it is held, and told.
        let is_wanted = |step: Rung| outcome.step_down() == Some(step) && planned.armed.has(step);
        let done = match row.action.as_str() {
            "restrict" if !is_wanted(Rung::Restrict) => {
                let ended = actor.end_restrict(&intent, account).await?;
                // Who has enough is not kept waiting for the next run.
                if ended == Done::Yes && planned.is_to_open {
                    Box::pin(actor.restore(planned, decision)).await?
                } else {
                    ended
                }
            }
            "stop" if !is_wanted(Rung::Stop) => {
                match actor.end_stop(&intent, account).await? {
                    // Never sent: who has paid is opened by this run, and what was noted for it has no object.
                    Some(done) => done,
                    None if matches!(outcome, Outcome::Wait | Outcome::Restore) => continue,
                    // Somebody else wants it suspended too, so there is enough perhaps, and what that person means to run runs.
                    None if is_held_by_others(actor, account).await? => {
                        Box::pin(actor.advance(&intent, account, (Drive::End, patience))).await?
                    }
                    // Disabled already, and to stay so: its projects and machines follow.
                    None => {
                        count_again(actor, row).await?;
                        Box::pin(actor.advance(&intent, account, (Drive::GoOn, patience))).await?
                    }
                }
            }
            _ => continue,
        };
        let why = done.why().map_or_else(|| " is done".to_owned(), |why| format!(": {why}"));
        sentences.push(format!("{}: an interrupted {}{why}", account.full_name(), row.action));
    }
    Ok(sentences)
}

/// Ends the step downwards that is open on an account, as far as it came: a person wants the account back. Gives a sentence.
pub(super) async fn end_what_leads_down(actor: &Actor<'_>, account: &Account) -> Result<Option<String>, Error> {
    let Some(open) = actor.open_intent(account.id).await? else { return Ok(None) };
    let intent = Intent::from(&open);
    let done = match open.action.as_str() {
        "restrict" => actor.end_restrict(&intent, account).await?,
        "stop" => match actor.end_stop(&intent, account).await? {
            Some(done) => done,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let how = done.why().unwrap_or("is ended");
    Ok(Some(format!("{}: an interrupted {}: {how}", account.full_name(), open.action)))
}

async fn is_held_by_others(actor: &Actor<'_>, account: &Account) -> Result<bool, Error> {
    let mut tx = actor.enforcer.store.read().await?;
    let holds = rows::list_holds(&mut tx, Some(account.id)).await?;
    tx.commit().await?;
    Ok(holds.iter().any(|hold| hold.owner != "billing"))
}

/// What is still to be done to an account that goes down counts for the fuse of the day on which it is done.
async fn count_again(actor: &Actor<'_>, intent: &IntentRow) -> Result<(), Error> {
    let mut tx = actor.write().await?;
    let machines = acting::list_machine_notes(&mut tx, Some(intent.account_id)).await?.len();
    let (machines, now) = (i64::try_from(machines).unwrap_or(i64::MAX), actor.enforcer.clock.now());
    operations::begin_fuse_use(&mut tx, actor.run, intent.account_id, &intent.action, machines, now).await?;
    tx.commit().await?;
    Ok(())
}
