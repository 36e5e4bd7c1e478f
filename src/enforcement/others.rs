//! Locks by other people, as CloudStack's events tell of them: bursar never undoes one.

use std::time::Duration;

use super::{
    act::{Actor, EVENT_TOLERANCE},
    run::Error,
    switches,
};
use crate::{
    cloudstack::{self, EventFilter},
    ids::AccountId,
    store::{
        StoreError, Tx,
        cloud::{self, Account},
        enforcement as rows, runs,
    },
    time::Timestamp,
};

/// Events a page, and pages, that are looked through.
const EVENTS_PER_PAGE: u32 = 100;
const EVENT_PAGES: u32 = 20;

/// For how many days CloudStack keeps events, where it does not say: its default (`event.purge.delay`).
const EVENTS_KEPT_DAYS: u64 = 15;

/// Who placed a hold that was found in the events.
const OUTSIDE: &str = "admin outside bursar";

/// That an account was locked or disabled.
struct Suspension {
    cloud_id: String,
    username: String,
    /// None where the event tells no instant.
    at: Option<Timestamp>,
}

/// Notes that an administrator wants an account locked too, whatever was paid.
pub async fn place_hold(tx: &mut Tx, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    let reason = "an administrator locked or disabled it in CloudStack";
    rows::place_hold(tx, account, "admin", "lock", reason, None, OUTSIDE, now).await?;
    Ok(())
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
        let Some(suspensions) = self.suspensions(event_type, since).await? else { return Ok(None) };
        let about_it = suspensions.into_iter().filter(|suspension| suspension.cloud_id == cloud_id);
        Ok(Some(about_it.map(|suspension| suspension.username).collect()))
    }

    /// Notes a hold for each lock by others on top of ours since the last look. Looking in every run means that CloudStack may
    /// forget its events (after two weeks by default) long before a payment comes.
    pub async fn note_locks_by_others(&self) -> Result<(), Error> {
        let Some(own) = &self.own_name else { return Ok(()) };
        let now = self.enforcer.clock.now();
        let mut tx = self.enforcer.store.read().await?;
        let holds = rows::list_holds(&mut tx, None).await?;
        let looked = runs::find_setting(&mut tx, switches::EVENTS_UNTIL).await?.and_then(|text| text.parse().ok());
        let mut ours = Vec::new();
        for hold in holds.into_iter().filter(|hold| hold.owner == "billing") {
            ours.push((cloud::get_account(&mut tx, hold.account_id).await?.cloud_id, hold));
        }
        tx.commit().await?;
        let looked_last = looked.map(Timestamp::from_ms);
        self.note_lost_events(looked_last, now).await?;
        let Some(oldest) = ours.iter().map(|(_, hold)| hold.placed_ms).min() else {
            // Nothing to look for; that it was looked is what counts.
            let mut tx = self.enforcer.store.begin().await?;
            runs::put_setting(&mut tx, switches::EVENTS_UNTIL, &now.as_ms().to_string(), now).await?;
            tx.commit().await?;
            return Ok(());
        };
        let since = Timestamp::from_ms(looked.unwrap_or(oldest).max(oldest)).minus(EVENT_TOLERANCE);
        // Where the events can not be read, nothing is restored anyway.
        let Some(suspensions) = self.suspensions("ACCOUNT.DISABLE", since).await? else { return Ok(()) };
        let mut tx = self.enforcer.store.begin().await?;
        for (cloud_id, hold) in &ours {
            let placed = Timestamp::from_ms(hold.placed_ms);
            let by_others = suspensions.iter().any(|suspension| {
                suspension.cloud_id == *cloud_id
                    && suspension.username != *own
                    && suspension.at.is_none_or(|at| at > placed)
            });
            if by_others {
                place_hold(&mut tx, hold.account_id, now).await?;
            }
        }
        runs::put_setting(&mut tx, switches::EVENTS_UNTIL, &now.as_ms().to_string(), now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// CloudStack forgets its events after a while: where that is shorter than the time since the last look, nobody knows any more
    /// what others did in between.
    async fn note_lost_events(&self, looked: Option<Timestamp>, now: Timestamp) -> Result<(), Error> {
        let Some(looked) = looked else { return Ok(()) };
        // Most runs look minutes after each other: the setting is not worth a call then.
        if now.since(looked) < Duration::from_hours(24) {
            return Ok(());
        }
        let kept_days = match self.client.configuration("event.purge.delay").await {
            Ok(Some(text)) => text.trim().parse::<u64>().unwrap_or(EVENTS_KEPT_DAYS),
            Ok(None) | Err(cloudstack::Error::NotAllowed { .. } | cloudstack::Error::Gone { .. }) => EVENTS_KEPT_DAYS,
            Err(error) => return Err(error.into()),
        };
        // Zero keeps them for ever.
        if kept_days > 0 && now.since(looked) > Duration::from_hours(kept_days.saturating_mul(24)) {
            let mut tx = self.enforcer.store.begin().await?;
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
                "bursar did not look at CloudStack's events for so long before {lost} that CloudStack has forgotten some, so nobody                  knows whether an administrator locked it too; look at it, then `bursar enforce undo` the run that locked it"
            )
        }))
    }

    /// Somebody enabled the account: a lock by hand that was seen before has no object any more.
    pub async fn forget_lock_by_others(&self, account: AccountId) -> Result<(), Error> {
        let mut tx = self.enforcer.store.begin().await?;
        let holds = rows::list_holds(&mut tx, Some(account)).await?;
        if holds.iter().any(|hold| hold.owner == "admin" && hold.placed_by == OUTSIDE) {
            rows::lift_hold(&mut tx, account, "admin", "bursar", self.enforcer.clock.now()).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn suspensions(&self, event_type: &str, since: Timestamp) -> Result<Option<Vec<Suspension>>, Error> {
        let mut suspensions = Vec::new();
        for page in 1..=EVENT_PAGES {
            let filter = EventFilter {
                event_type: Some(event_type.to_owned()),
                start: (since.as_ms() > 0).then_some(since),
                end: None,
                page,
                page_size: EVENTS_PER_PAGE,
            };
            let events = match self.client.list_events(&filter).await {
                Ok(events) => events,
                Err(cloudstack::Error::NotAllowed { .. } | cloudstack::Error::Refused { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            if events.unreadable > 0 {
                return Ok(None);
            }
            let rows = events.rows();
            for event in events.items {
                let Some(id) = event.resource_id else { continue };
                if event.created.is_none_or(|created| created >= since) {
                    let username = event.username.unwrap_or_default();
                    suspensions.push(Suspension { cloud_id: id.to_string(), username, at: event.created });
                }
            }
            if rows < usize::try_from(EVENTS_PER_PAGE).unwrap_or(usize::MAX) {
                return Ok(Some(suspensions));
            }
        }
        // More events than anybody reads: do not guess.
        Ok(None)
    }
}
