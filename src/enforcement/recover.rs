//! What a former run began and did not end: looked up, read back, concluded, before anything new is done.

use uuid::Uuid;

use super::{
    act::{Actor, Done},
    run::Error,
};
use crate::{
    store::{cloud, enforcement as rows},
    time::Timestamp,
};

/// Concludes every open intent. Gives a sentence for each.
pub async fn recover(actor: &Actor<'_>) -> Result<Vec<String>, Error> {
    let store = actor.enforcer.store;
    let mut tx = store.read().await?;
    let open = rows::list_open_intents(&mut tx).await?;
    tx.commit().await?;
    let mut sentences = Vec::new();
    for intent in open {
        let mut tx = store.begin().await?;
        let account = cloud::get_account(&mut tx, intent.account_id).await?;
        let before = intent.state_before.clone().unwrap_or_default();
        if intent.attempt == 0 {
            // Written, never claimed: nothing was sent. The decision is taken again.
            rows::end_intent(&mut tx, &intent.id, "abandoned", None, "it was never begun", actor.enforcer.clock.now())
                .await?;
            tx.commit().await?;
            sentences.push(format!("{}: an action that was never begun was dropped", account.full_name()));
            continue;
        }
        tx.commit().await?;
        let done = if intent.action == "lock" {
            let job = intent.job_id.as_deref().and_then(|text| Uuid::parse_str(text).ok()).unwrap_or_default();
            let ended = actor.await_job(job).await;
            let begun = Timestamp::from_ms(intent.created_ms);
            actor.conclude_lock(&intent.id, &account, &before, begun, ended).await?
        } else {
            actor.conclude_enable(&intent.id, &account, &before).await?
        };
        sentences.push(match done {
            Done::Yes => format!("{}: an interrupted {} turned out to be done", account.full_name(), intent.action),
            Done::No(why) => format!("{}: an interrupted {}: {why}", account.full_name(), intent.action),
        });
    }
    Ok(sentences)
}
