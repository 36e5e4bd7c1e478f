//! What a former run began and did not end: looked up, read back, gone on with, before anything new is decided.

use std::time::Duration;

use super::{
    act::{Actor, Done, Drive, Intent},
    plan::PlannedAccount,
    run::Error,
};
use crate::{
    ids::DecisionId,
    policy::Outcome,
    store::{acting, cloud, enforcement as rows},
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
        let mut tx = store.begin().await?;
        let account = cloud::get_account(&mut tx, row.account_id).await?;
        let name = account.full_name();
        if row.attempt == 0 && acting::count_notes_of(&mut tx, &row.id).await? == 0 {
            // Written, and nothing was begun: the decision is taken again.
            let now = actor.enforcer.clock.now();
            rows::end_intent(&mut tx, &row.id, "abandoned", None, "it was never begun", now).await?;
            tx.commit().await?;
            sentences.push(format!("{name}: an action that was never begun was dropped"));
            continue;
        }
        tx.commit().await?;
        let patience = PATIENCE.min(actor.enforcer.settings.intent_deadline);
        let done = Box::pin(actor.advance(&Intent::from(&row), &account, (Drive::Conclude, patience))).await?;
        sentences.push(match done {
            Done::Yes => format!("{name}: an interrupted {} turned out to be done", row.action),
            Done::No(why) | Done::Started(why) => format!("{name}: an interrupted {}: {why}", row.action),
        });
    }
    Ok(sentences)
}

/// Drives on what a former run began and this run's decisions still want, and ends what they no longer want. Gives a
/// sentence for each.
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
        let done = match row.action.as_str() {
            // The decision to restrict goes on with it within the fuse of its run; one that waits leaves it open.
            "restrict" if !matches!(outcome, Outcome::Restrict | Outcome::Wait) => {
                let ended = actor.end_restrict(&intent, account).await?;
                // Who has enough is not kept waiting for the next run.
                if ended == Done::Yes && planned.standing.figures.available >= planned.opens_at {
                    Box::pin(actor.restore(planned, decision)).await?
                } else {
                    ended
                }
            }
            "stop" if !matches!(outcome, Outcome::Stop | Outcome::Wait | Outcome::Restore) => {
                match actor.end_stop(&intent, account).await? {
                    Some(done) => done,
                    // Disabled already, and to stay so: its projects and machines follow.
                    None => Box::pin(actor.advance(&intent, account, (Drive::GoOn, patience))).await?,
                }
            }
            _ => continue,
        };
        sentences.push(match done {
            Done::Yes => format!("{}: an interrupted {} is done", account.full_name(), row.action),
            Done::No(why) | Done::Started(why) => {
                format!("{}: an interrupted {}: {why}", account.full_name(), row.action)
            }
        });
    }
    Ok(sentences)
}
