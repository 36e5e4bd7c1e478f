//! Locks by other people, as CloudStack's events tell of them: bursar never undoes one.

use std::time::Duration;

use super::{
    act::{Actor, EVENT_TOLERANCE},
    former,
    run::Error,
    switches,
};
use crate::{
    cloudstack::{self, AccountState, EventFilter},
    ids::AccountId,
    store::{
        StoreError, Tx,
        cloud::{self, Account},
        enforcement::{self as rows, HoldRow, IntentRow},
        runs,
    },
    time::Timestamp,
};

/// Events of one kind that are read for one question: a hundred pages of 500. It bounds the calls and the memory that a question takes. An
/// act leaves three, so with more than 16,000 suspensions within CloudStack's memory of its events nobody is opened.
pub(super) const MOST_EVENTS: usize = 50_000;

/// How long before a hold was placed its lock may have been: nobody looks while bursar is off.
const LATE_CALLS_LOOKED_FOR: Duration = Duration::from_hours(48);

/// For how many days CloudStack keeps events, where it does not say: its default (`event.purge.delay`).
const EVENTS_KEPT_DAYS: u64 = 15;

/// Who placed a hold that was found in the events.
pub(super) const OUTSIDE: &str = "admin outside bursar";

/// Whether somebody else locked or disabled the account since `begun`, when bursar set out to lock it. Where bursar's own event is
/// older than that, our clock was ahead of CloudStack's, and its event is what counts.
fn by_others(events: &[Event], cloud_id: &str, own: &str, begun: Timestamp) -> bool {
    let about_it = || events.iter().filter(|event| event.cloud_id == cloud_id);
    let first_own = about_it().filter(|event| event.username == own).filter_map(|event| event.at).min();
    let since = first_own.map_or(begun, |first_own| first_own.min(begun));
    about_it().any(|event| event.username != own && event.at.is_none_or(|at| at > since))
}

/// What happened to an account or a project.
struct Event {
    cloud_id: String,
    username: String,
    /// None where the event tells no instant.
    at: Option<Timestamp>,
    /// Whether it tells that something was done: not that it was begun, or failed.
    came_about: bool,
}

/// That something failed is told by the description alone (facts 7).
fn came_about(event: &cloudstack::Event) -> bool {
    let has_ended = event.state.as_deref().is_none_or(|state| state == "Completed");
    let has_failed = event.description.as_deref().is_some_and(|text| text.starts_with("Error while"));
    has_ended && !has_failed && event.level.as_deref() != Some("ERROR")
}

/// Notes that an administrator wants an account locked too, whatever was paid. Not where bursar's own hold was lifted since the look: what
/// was seen then was seen beside it.
async fn place_hold(tx: &mut Tx, beside: &HoldRow, by: String, now: Timestamp) -> Result<(), StoreError> {
    let account = beside.account_id;
    if !rows::list_holds(tx, Some(account)).await?.iter().any(|hold| hold.id == beside.id) {
        return Ok(());
    }
    let reason = "an administrator locked or disabled it in CloudStack";
    if rows::place_hold(tx, account, "admin", "lock", reason, None, OUTSIDE, now).await? {
        audit(tx, account, (by, "hold.place"), reason, now).await?;
    }
    Ok(())
}

async fn audit(
    tx: &mut Tx,
    account: AccountId,
    (actor, action): (String, &str),
    answer: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let line = runs::AuditLine {
        at_ms: now.as_ms(),
        actor,
        action: action.to_owned(),
        subject: cloud::get_account(tx, account).await?.full_name(),
        answer: Some(answer.to_owned()),
        ..runs::AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}

impl Actor<'_> {
    /// Who locked or disabled the account since `since`, newest first. None: the events can not be read.
    pub(super) async fn lockers(&self, account: &Account, since: Timestamp) -> Result<Option<Vec<String>>, Error> {
        self.suspenders("ACCOUNT.DISABLE", &account.cloud_id, since).await
    }

    /// Who did this to the resource since `since`, newest first. None: the events can not be read.
    pub(super) async fn suspenders(
        &self,
        event_type: &str,
        cloud_id: &str,
        since: Timestamp,
    ) -> Result<Option<Vec<String>>, Error> {
        let Some(events) = self.events(event_type, None, since).await? else { return Ok(None) };
        let about_it = events.into_iter().filter(|event| event.cloud_id == cloud_id);
        Ok(Some(about_it.map(|event| event.username).collect()))
    }

    /// Whether CloudStack's events tell that the suspension of an account is not, or not only, bursar's, which locked it under an
    /// intent of `begun`. None: the events can not be read.
    pub(super) async fn is_suspended_by_others(
        &self,
        account: &Account,
        own: &str,
        begun: Timestamp,
    ) -> Result<Option<bool>, Error> {
        // As far as our clock may differ from CloudStack's in a run that locks.
        let since = begun.minus(self.enforcer.settings.clock_jump.max(EVENT_TOLERANCE));
        let mut about = Some(account.cloud_id.as_str());
        let mut suspended = self.events("ACCOUNT.DISABLE", about, since).await?;
        // bursar's own lock is among them. Where nothing is, nothing is concluded from the narrow question.
        if suspended.as_ref().is_none_or(Vec::is_empty) {
            about = None;
            suspended = self.events("ACCOUNT.DISABLE", about, since).await?;
        }
        let Some(suspended) = suspended else { return Ok(None) };
        if by_others(&suspended, &account.cloud_id, own, begun.minus(EVENT_TOLERANCE)) {
            return Ok(Some(true));
        }
        let Some(enabled) = self.events("ACCOUNT.ENABLE", about, since).await? else { return Ok(None) };
        // Enabled after our last suspension, by somebody or by a call of ours whose answer was lost, and suspended now: by somebody who
        // leaves no event, as the quota plugin does it.
        let about_it = |event: &&Event| event.cloud_id == account.cloud_id;
        let ours = suspended.iter().filter(about_it).filter(|event| event.username == own).filter_map(|event| event.at);
        let opened = enabled.iter().filter(about_it).filter(|event| event.came_about).filter_map(|event| event.at);
        Ok(Some(ours.max().zip(opened.max()).is_some_and(|(ours, opened)| ours < opened)))
    }

    /// The instant of the intent under which bursar locked the account: the newest that was done. Where a person handed the lock
    /// to bursar, what was before counts no more, and neither does a lock of bursar's of an earlier time.
    pub(super) fn locked_under(hold: &HoldRow, intents: &[IntentRow]) -> Timestamp {
        let is_handed_over = hold.intent_id.is_none();
        let of_it = |intent: &&IntentRow| !is_handed_over || intent.created_ms >= hold.placed_ms;
        let mut locks = intents.iter().filter(|intent| intent.action == "lock" && intent.state == "done");
        // From the call on, not from the hold: a hold comes late where a later run had to find out that the lock was done.
        match locks.find(of_it) {
            Some(intent) => Timestamp::from_ms(intent.created_ms),
            // The lock by hand came before the hold, be it by seconds.
            None if is_handed_over => Timestamp::from_ms(hold.placed_ms).plus(EVENT_TOLERANCE),
            None => Timestamp::from_ms(hold.placed_ms),
        }
    }

    /// Notes that somebody else wants an account suspended beside bursar.
    pub(super) async fn note_hold_of_others(&self, beside: &HoldRow) -> Result<(), Error> {
        let now = self.both_now();
        let mut tx = self.write().await?;
        place_hold(&mut tx, beside, format!("run {}", self.run), now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes a hold for each lock by others on top of ours since the last look. Looking in every run means that CloudStack may
    /// forget its events (after two weeks by default) long before a payment comes.
    pub async fn note_locks_by_others(&self) -> Result<(), Error> {
        let Some(own) = &self.own_name else { return Ok(()) };
        let now = self.both_now();
        let mut tx = self.enforcer.store.read().await?;
        let holds = rows::list_holds(&mut tx, None).await?;
        let looked = runs::find_setting(&mut tx, switches::EVENTS_UNTIL).await?.and_then(|text| text.parse().ok());
        let mut ours = Vec::new();
        for hold in holds.into_iter().filter(|hold| hold.owner == "billing") {
            ours.push((cloud::get_account(&mut tx, hold.account_id).await?.cloud_id, hold));
        }
        tx.commit().await?;
        let looked_last = looked.map(Timestamp::from_ms);
        self.note_lost_events(looked_last).await?;
        let Some(oldest) = ours.iter().map(|(_, hold)| hold.placed_ms).min() else {
            // Nothing to look for; that it was looked is what counts.
            let looked = self.client.server_now();
            let mut tx = self.write().await?;
            runs::put_setting(&mut tx, switches::EVENTS_UNTIL, &looked.as_ms().to_string(), now).await?;
            tx.commit().await?;
            return Ok(());
        };
        let oldest = Timestamp::from_ms(oldest).minus(self.enforcer.settings.clock_jump);
        let since = looked_last.map_or(oldest, |looked| looked.max(oldest)).minus(EVENT_TOLERANCE);
        // Where the events can not be read, nothing is restored anyway.
        // Events go by CloudStack's clock: where ours is ahead of it, the next look would begin behind what comes until then.
        let looked = self.client.server_now();
        let Some(suspensions) = self.events("ACCOUNT.DISABLE", None, since).await? else { return Ok(()) };
        let mut tx = self.write().await?;
        for (cloud_id, hold) in &ours {
            if by_others(&suspensions, cloud_id, own, Timestamp::from_ms(hold.placed_ms)) {
                place_hold(&mut tx, hold, format!("run {}", self.run), now).await?;
            }
        }
        runs::put_setting(&mut tx, switches::EVENTS_UNTIL, &looked.as_ms().to_string(), now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The instant that has come by our clock and by CloudStack's: what others do is looked for from there on, in its events.
    fn both_now(&self) -> Timestamp {
        self.enforcer.clock.now().min(self.client.server_now())
    }

    /// CloudStack forgets its events after a while: where that is shorter than the time since the last look, nobody knows any more
    /// what others did in between.
    async fn note_lost_events(&self, looked: Option<Timestamp>) -> Result<(), Error> {
        let Some(looked) = looked else { return Ok(()) };
        // Most runs look minutes after each other: that is not worth a call.
        if self.enforcer.clock.now().since(looked) < Duration::from_hours(24) {
            return Ok(());
        }
        let now = self.client.server_now();
        let kept_days = match self.client.configuration("event.purge.delay").await {
            Ok(Some(text)) => text.trim().parse::<u64>().unwrap_or(EVENTS_KEPT_DAYS),
            Ok(None) | Err(cloudstack::Error::NotAllowed { .. } | cloudstack::Error::Gone { .. }) => EVENTS_KEPT_DAYS,
            Err(error) => return Err(error.into()),
        };
        // Zero keeps them for ever.
        if kept_days > 0 && now.since(looked) > Duration::from_hours(kept_days.saturating_mul(24)) {
            let mut tx = self.write().await?;
            runs::put_setting(&mut tx, switches::EVENTS_LOST, &now.as_ms().to_string(), now).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Why it is not known what others did since `begun`: events of that time were gone before bursar looked.
    pub(super) async fn events_are_missing(&self, begun: Timestamp) -> Result<Option<String>, Error> {
        let mut tx = self.enforcer.store.read().await?;
        let lost = runs::find_setting(&mut tx, switches::EVENTS_LOST).await?.and_then(|text| text.parse().ok());
        tx.commit().await?;
        let lost = lost.map(Timestamp::from_ms).filter(|lost| begun < *lost);
        Ok(lost.map(|lost| {
            format!(
                "bursar did not look at CloudStack's events for so long before {lost} that CloudStack has forgotten some, so nobody knows whether an administrator locked it too; look at it, and enable it in CloudStack if nobody did: the next run brings back the rest"
            )
        }))
    }

    /// Somebody enabled an account again: a lock by hand that was seen before has no object any more. CloudStack is asked, since
    /// what the last sync saw may be older than the lock.
    pub async fn forget_locks_that_ended(&self) -> Result<(), Error> {
        let mut tx = self.enforcer.store.read().await?;
        let holds = rows::list_holds(&mut tx, None).await?;
        let mut held = Vec::new();
        for hold in holds.into_iter().filter(|hold| hold.owner == "admin" && hold.placed_by == OUTSIDE) {
            held.push((cloud::get_account(&mut tx, hold.account_id).await?, hold));
        }
        tx.commit().await?;
        for (account, hold) in held {
            let read = self.read_back(&account).await?;
            if read.is_some_and(|read| read.state == AccountState::Enabled)
                && !self.own_call_came_late(&account, &hold).await?
            {
                let now = self.enforcer.clock.now();
                let mut tx = self.write().await?;
                // A person may have replaced it by an own one meanwhile.
                if rows::lift_hold_of(&mut tx, hold.id, "bursar", now).await? {
                    let by = format!("run {}", self.run);
                    audit(&mut tx, account.id, (by, "hold.lift"), "somebody enabled it in CloudStack", now).await?;
                }
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// Whether an account that somebody else suspended is open since a call of bursar's that was sent before that and arrived afterwards:
    /// nobody has taken their word back.
    async fn own_call_came_late(&self, account: &Account, hold: &HoldRow) -> Result<bool, Error> {
        let Some(own) = &self.own_name else { return Ok(false) };
        let about = Some(account.cloud_id.as_str());
        let since = Timestamp::from_ms(hold.placed_ms).minus(LATE_CALLS_LOOKED_FOR);
        let Some(enabled) = self.events("ACCOUNT.ENABLE", about, since).await? else { return Ok(false) };
        let Some(suspended) = self.events("ACCOUNT.DISABLE", about, since).await? else { return Ok(false) };
        let opened = enabled.iter().filter(|event| event.came_about && event.cloud_id == account.cloud_id);
        let Some(newest) = opened.max_by_key(|event| event.at) else { return Ok(false) };
        let theirs = suspended.iter().filter(|event| event.username != *own && event.cloud_id == account.cloud_id);
        let theirs = theirs.filter_map(|event| event.at).max();
        Ok(newest.username == *own && newest.at.zip(theirs).is_some_and(|(opened, theirs)| theirs <= opened))
    }

    /// Whether a call of bursar's, sent under an intent of `begun`, was what last enabled an account that bursar had locked under `hold`. By
    /// CloudStack's clock alone where that tells of the lock: ours may have been ahead by days when the call went out.
    pub(super) async fn was_enabled_by_us(
        &self,
        account: &Account,
        hold: &HoldRow,
        begun: Timestamp,
    ) -> Result<bool, Error> {
        let Some(own) = &self.own_name else { return Ok(false) };
        let since = Timestamp::from_ms(hold.placed_ms).min(begun).minus(LATE_CALLS_LOOKED_FOR);
        let Some(enabled) = self.events("ACCOUNT.ENABLE", None, since).await? else { return Ok(false) };
        let Some(suspended) = self.events("ACCOUNT.DISABLE", None, since).await? else { return Ok(false) };
        let about_it = |event: &&Event| event.cloud_id == account.cloud_id;
        let locked = suspended.iter().filter(about_it).filter(|event| event.username == *own);
        let since = locked.filter_map(|event| event.at).max().unwrap_or_else(|| begun.minus(EVENT_TOLERANCE));
        let opened = enabled.iter().filter(about_it).filter(|event| event.came_about);
        let newest = opened.max_by_key(|event| event.at);
        Ok(newest.is_some_and(|event| event.username == *own && event.at.is_none_or(|at| at >= since)))
    }

    /// Events of a type since an instant, about one account or all, newest first. None: they can not be read.
    async fn events(
        &self,
        event_type: &str,
        account: Option<&str>,
        since: Timestamp,
    ) -> Result<Option<Vec<Event>>, Error> {
        let filter = EventFilter {
            event_type: Some(event_type.to_owned()),
            start: (since.as_ms() > 0).then_some(since),
            end: None,
            about: account.map(|id| ("Account", id.to_owned())),
        };
        let events = match self.client.list_events(&filter, MOST_EVENTS).await {
            Ok(events) => events,
            Err(cloudstack::Error::NotAllowed { .. } | cloudstack::Error::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // More than anybody reads, or what can not be read: do not guess.
        if events.unreadable > 0 || !events.is_complete {
            let (read, unreadable) = (events.items.len(), events.unreadable);
            tracing::warn!(event_type, read, unreadable, "CloudStack's events could not be read to their end");
            return Ok(None);
        }
        let mut found = Vec::new();
        for event in events.items {
            let Some(id) = event.resource_id else { continue };
            let came_about = came_about(&event);
            let acted = self.own.as_ref().map_or(Some(false), |own| own.acted(&event));
            if event.created.is_none_or(|created| created >= since) {
                let Some(ours) = acted else { continue };
                let mut username = event.username.clone().unwrap_or_default();
                if !ours && self.own_name.as_ref() == Some(&username) {
                    username.push_str(" of another account");
                }
                if !ours && let Some(own) = &self.own_name {
                    match former::acted(&self.former, &event) {
                        Some(true) => username.clone_from(own),
                        Some(false) => {}
                        None => continue,
                    }
                }
                found.push(Event { cloud_id: id.to_string(), username, at: event.created, came_about });
            }
        }
        Ok(Some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(username: &str, at: i64) -> Event {
        Event {
            cloud_id: "bob".to_owned(),
            username: username.to_owned(),
            at: Some(Timestamp::from_seconds(at)),
            came_about: true,
        }
    }

    #[test]
    fn a_lock_by_others_counts_from_when_bursar_set_out_to_lock() {
        let begun = Timestamp::from_seconds(100);
        assert!(!by_others(&[event("bursar", 101), event("admin", 90)], "bob", "bursar", begun));
        // While our lock travels, and after it.
        assert!(by_others(&[event("bursar", 160), event("admin", 120)], "bob", "bursar", begun));
        assert!(by_others(&[event("admin", 200), event("bursar", 101)], "bob", "bursar", begun));
        assert!(!by_others(&[event("admin", 200)], "eve", "bursar", begun));
    }

    #[test]
    fn where_our_clock_was_ahead_our_own_event_tells_from_when_on() {
        // It said 100 when CloudStack's said 40; the administrator came at 70.
        let begun = Timestamp::from_seconds(100);
        assert!(by_others(&[event("admin", 70), event("bursar", 41)], "bob", "bursar", begun));
        assert!(!by_others(&[event("bursar", 41), event("admin", 30)], "bob", "bursar", begun));
    }

    #[test]
    fn what_was_begun_or_failed_has_not_come_about() {
        let told = |state: &str, level: &str, description: &str| {
            let event = serde_json::json!({
                "id": "d522b0de-3fe4-4094-9d94-fb27222e11d8", "type": "ACCOUNT.ENABLE",
                "state": state, "level": level, "description": description,
            });
            came_about(&serde_json::from_value(event).unwrap())
        };
        assert!(told("Completed", "INFO", "Successfully completed enabling account."));
        assert!(!told("Started", "INFO", "enabling account"));
        assert!(!told("Completed", "ERROR", "Error while enabling account"));
        assert!(!told("Completed", "INFO", "Error while enabling account"));
    }

    #[test]
    fn an_event_without_an_instant_counts() {
        let undated = Event { at: None, ..event("admin", 0) };
        assert!(by_others(&[undated], "bob", "bursar", Timestamp::from_seconds(100)));
    }
}
