//! The guards: what must be in order before anybody is taken a step down (design 2).
//!
//! A guard holds back steps downwards only. The one exception is a database that may not know what bursar did: then nothing
//! is done either way until an administrator has confirmed.

use std::{collections::HashMap, time::Duration};

use rust_decimal::Decimal;

use super::{
    act::Actor,
    marker,
    run::{Enforcer, Error},
    switches,
};
use crate::{
    cloudstack::{self, Client, EventFilter, OwnUser},
    ids::{AccountId, PayerId},
    policy::Block,
    store::{
        StoreError, Tx,
        cloud::{self, Account},
        operations::{self as rows, IntentSpan},
        runs, usage,
    },
    time::{Day, Timestamp},
    usage::sync::settings as usage_settings,
};

/// The usage job's range where nothing is known of it: a day.
const DEFAULT_RANGE_MINUTES: u64 = 1_440;
/// Days of charges that the share of what waits is reckoned from.
const SHARE_OF_DAYS: i64 = 35;
/// An act in CloudStack is explained by an intent that was open within this time of it: clocks differ, and a request whose
/// answer was lost may arrive until its signature ends.
const EXPLAINED_WITHIN: Duration = Duration::from_mins(30);
/// How far back the log of events is looked through the first time.
const FIRST_LOOK: Duration = Duration::from_hours(14 * 24);
/// Events that are looked through.
const MOST_EVENTS: usize = 2_000;
/// What bursar does to accounts, as CloudStack's log calls it.
const ACTS: [&str; 2] = ["ACCOUNT.DISABLE", "ACCOUNT.ENABLE"];

/// Why nobody may be taken a step down in this run.
pub async fn gather(enforcer: &Enforcer<'_>, paused: bool, now: Timestamp) -> Result<Vec<Block>, Error> {
    let settings = enforcer.settings;
    let mut blocks = Vec::new();
    if paused {
        blocks.push(Block::Paused);
    }
    let mut tx = enforcer.store.read().await?;
    let number = async |tx: &mut Tx, key: &str| -> Result<Option<i64>, crate::store::StoreError> {
        Ok(runs::find_setting(tx, key).await?.and_then(|text| text.parse().ok()))
    };
    if marker::find_unconfirmed(&mut tx).await?.is_some() {
        blocks.push(Block::RestoredBackup);
    }
    if let Some(why) = runs::find_setting(&mut tx, switches::EVENTS_UNREADABLE).await?.filter(|why| !why.is_empty()) {
        blocks.push(Block::EventsUnreadable { why });
    }
    let until = number(&mut tx, usage_settings::FETCHED_UNTIL).await?.map(Timestamp::from_ms);
    let range = number(&mut tx, usage_settings::RANGE_MINUTES).await?;
    let last = number(&mut tx, switches::LAST_NOW).await?.map(Timestamp::from_ms);
    if let Some(share) = waiting_share(&mut tx, settings.zone, now).await?
        && share > settings.quarantine_percent
    {
        blocks.push(Block::QuarantineShare {
            percent: share.round_dp(1).normalize().to_string(),
            limit: settings.quarantine_percent.normalize().to_string(),
        });
    }
    tx.commit().await?;
    let range_minutes = range.and_then(|minutes| u64::try_from(minutes).ok()).unwrap_or(DEFAULT_RANGE_MINUTES);
    let patience = Duration::from_secs(range_minutes.saturating_mul(120)).saturating_add(settings.usage_grace);
    if until.is_none_or(|until| until.plus(patience) < now) {
        blocks.push(Block::StaleUsage { until });
    }
    let mut jumped = last.is_some_and(|last| now < last);
    if let Some(client) = enforcer.client {
        // The server's clock is the witness that ours has not leapt; where it tells nothing, ours may be months ahead.
        let skew = client.measure_clock_skew().await?;
        jumped |= skew.is_none_or(|skew| skew.unsigned_abs() > settings.clock_jump.as_secs());
        match client.quota_enforcing().await {
            Ok(true) => blocks.push(Block::QuotaPluginEnforces),
            Ok(false) | Err(cloudstack::Error::NotAllowed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        blocks.extend(version(enforcer, client, now).await?);
    }
    if jumped {
        blocks.push(Block::ClockJumped);
    }
    Ok(blocks)
}

/// CloudStack's version. None: the role has no right to ask.
pub(super) async fn present_version(client: &Client) -> Result<Option<String>, Error> {
    match client.capabilities().await {
        Ok(capabilities) => Ok(Some(capabilities.version)),
        Err(cloudstack::Error::NotAllowed { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether CloudStack is of another version than an administrator last looked at. The first one met needs no look.
async fn version(enforcer: &Enforcer<'_>, client: &Client, now: Timestamp) -> Result<Option<Block>, Error> {
    let Some(to) = present_version(client).await? else { return Ok(None) };
    let mut tx = enforcer.store.begin().await?;
    let from = runs::find_setting(&mut tx, switches::VERSION).await?;
    match from {
        Some(from) if from != to => return Ok(Some(Block::VersionChanged { from, to })),
        Some(_) => {}
        None => {
            runs::put_setting(&mut tx, switches::VERSION, &to, now).await?;
            tx.commit().await?;
        }
    }
    Ok(None)
}

/// What the records that wait for a person would cost, by what records of their type cost, in percent of all charges. None:
/// none wait, or nothing was charged yet.
async fn waiting_share(tx: &mut Tx, zone: chrono_tz::Tz, now: Timestamp) -> Result<Option<Decimal>, Error> {
    let Some(today) = Day::of(now, zone) else { return Ok(None) };
    let since = Day::from_number(today.number().saturating_sub(SHARE_OF_DAYS));
    let waiting = match since.start(zone) {
        Some(start) => rows::count_waiting_by_type(tx, start).await?,
        None => Vec::new(),
    };
    if waiting.is_empty() {
        return Ok(None);
    }
    Ok(share(&waiting, &rows::list_charged_by_type(tx, since).await?))
}

/// Waiting records by type, and charged records and billionths by type.
fn share(waiting: &[(i64, i64)], charged: &[(i64, i64, i64)]) -> Option<Decimal> {
    let all: Decimal = charged.iter().map(|(_, _, nanos)| Decimal::from(*nanos)).sum();
    let worth: Decimal = waiting
        .iter()
        .filter_map(|(usage_type, records)| {
            let (_, of, nanos) = charged.iter().find(|(charged_type, of, _)| charged_type == usage_type && *of > 0)?;
            Decimal::from(*nanos).checked_mul(Decimal::from(*records))?.checked_div(Decimal::from(*of))
        })
        .sum();
    let whole = all.checked_add(worth)?;
    if whole <= Decimal::ZERO { None } else { worth.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(whole) }
}

/// Why single payers may not be taken a step down: what may charge them too much waits for a person.
pub(super) async fn of_payers(tx: &mut Tx, accounts: &[Account]) -> Result<HashMap<PayerId, Vec<Block>>, Error> {
    let payers: HashMap<AccountId, PayerId> = accounts.iter().map(|account| (account.id, account.payer_id)).collect();
    let mut waiting: HashMap<PayerId, (i64, i64)> = HashMap::new();
    for (account, records) in usage::count_quarantined_by_account(tx).await? {
        if let Some(payer) = payers.get(&AccountId::new(account)) {
            waiting.entry(*payer).or_default().0 += records;
        }
    }
    for (account, charges) in rows::list_over_charged(tx).await? {
        if let Some(payer) = payers.get(&account) {
            waiting.entry(*payer).or_default().1 += charges;
        }
    }
    Ok(waiting
        .into_iter()
        .map(|(payer, (records, proposals))| {
            let records = (records > 0).then_some(Block::Quarantine { records });
            let proposals = (proposals > 0).then_some(Block::OpenProposal { proposals });
            (payer, records.into_iter().chain(proposals).collect())
        })
        .collect())
}

/// An act of bursar's own user that the database knows nothing of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UnknownAct {
    /// The account's full name, or its id in CloudStack.
    pub account: String,
    /// ACCOUNT.DISABLE, ACCOUNT.ENABLE.
    pub act: String,
    /// When.
    pub at: Timestamp,
}

impl UnknownAct {
    /// What such acts mean, as a sentence without its full stop; None where there are none.
    pub(super) fn explain(unknown: &[Self], own: &OwnUser) -> Option<String> {
        let first = unknown.last()?;
        Some(format!(
            "CloudStack's log tells of {} acts by bursar's own user {} that this database knows nothing of (the first: {} \
             of {} at {}): it is older than the cloud, or somebody else uses bursar's keys",
            unknown.len(),
            own.username,
            first.act,
            first.account,
            first.at
        ))
    }
}

/// Acts of the own user since the last look that no intent explains: the sign that the database is older than the cloud, or
/// that somebody else uses bursar's keys. None: the events can not be read.
pub(super) async fn unknown_acts(
    enforcer: &Enforcer<'_>,
    client: &Client,
    own: &OwnUser,
    now: Timestamp,
) -> Result<Option<Vec<UnknownAct>>, Error> {
    let mut tx = enforcer.store.read().await?;
    let looked = runs::find_setting(&mut tx, switches::OWN_ACTS_UNTIL).await?.and_then(|text| text.parse().ok());
    tx.commit().await?;
    let since = looked.map_or_else(|| now.minus(FIRST_LOOK), Timestamp::from_ms);
    let mut events = Vec::new();
    for act in ACTS {
        let Some(found) = own_events(client, act, own, since).await? else { return Ok(None) };
        events.extend(found.into_iter().map(|(cloud_id, at)| (act, cloud_id, at)));
    }
    // Behind the events: what another process did between the two looks has its intent by now.
    let mut tx = enforcer.store.read().await?;
    let intents = rows::list_intent_spans(&mut tx, since.minus(EXPLAINED_WITHIN)).await?;
    let accounts: HashMap<String, Account> =
        cloud::list_accounts(&mut tx).await?.into_iter().map(|account| (account.cloud_id.clone(), account)).collect();
    tx.commit().await?;
    let mut unknown = Vec::new();
    for (act, cloud_id, at) in events {
        let account = accounts.get(&cloud_id);
        if account.is_some_and(|account| explained(&intents, account.id, at)) {
            continue;
        }
        let name = account.map_or(cloud_id, Account::full_name);
        // One act writes several events.
        if !unknown.iter().any(|known: &UnknownAct| {
            known.account == name && known.act == act && known.at.since(at) < EXPLAINED_WITHIN
        }) {
            unknown.push(UnknownAct { account: name, act: act.to_owned(), at });
        }
    }
    Ok(Some(unknown))
}

fn explained(intents: &[IntentSpan], account: AccountId, at: Timestamp) -> bool {
    intents.iter().filter(|intent| intent.account_id == account).any(|intent| {
        let begun = Timestamp::from_ms(intent.created_ms).minus(EXPLAINED_WITHIN);
        let ended = intent.finished_ms.map(|ms| Timestamp::from_ms(ms).plus(EXPLAINED_WITHIN));
        begun <= at && ended.is_none_or(|ended| at <= ended)
    })
}

/// Events of a type by the own user since an instant, newest first: whom they were about, and when.
async fn own_events(
    client: &Client,
    act: &str,
    own: &OwnUser,
    since: Timestamp,
) -> Result<Option<Vec<(String, Timestamp)>>, Error> {
    let filter = EventFilter {
        event_type: Some(act.to_owned()),
        start: (since.as_ms() > 0).then_some(since),
        ..EventFilter::default()
    };
    // Where there are more than anybody reads, what was read is judged.
    let events = match client.list_events(&filter, MOST_EVENTS).await {
        Ok(events) => events.items,
        Err(cloudstack::Error::NotAllowed { .. } | cloudstack::Error::Refused { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for event in events {
        let ours = own.acted(&event) == Some(true);
        if let (Some(id), Some(at)) = (event.resource_id, event.created)
            && ours
            && at >= since
        {
            found.push((id.to_string(), at));
        }
    }
    Ok(Some(found))
}

/// Notes whether CloudStack's events can be read: who can not be opened again by bursar is not taken down either.
async fn note_unreadable(tx: &mut Tx, why: &str, now: Timestamp) -> Result<(), StoreError> {
    let before = runs::find_setting(tx, switches::EVENTS_UNREADABLE).await?.unwrap_or_default();
    if before != why {
        runs::put_setting(tx, switches::EVENTS_UNREADABLE, why, now).await?;
    }
    Ok(())
}

/// Looks for acts that the database does not know, and holds up enforcement where there are any. True: go on.
pub(super) async fn own_acts_are_known(actor: &Actor<'_>) -> Result<bool, Error> {
    let (enforcer, own) = (actor.enforcer, actor.own.as_ref());
    let now = enforcer.clock.now();
    let unknown = match own {
        Some(own) => unknown_acts(enforcer, actor.client, own, now).await?,
        None => None,
    };
    let mut tx = actor.write().await?;
    let (Some(own), Some(unknown)) = (own, unknown) else {
        let why = if own.is_some() { "the role does not allow listEvents" } else { "bursar's own user is not shown" };
        note_unreadable(&mut tx, why, now).await?;
        tx.commit().await?;
        return Ok(true);
    };
    note_unreadable(&mut tx, "", now).await?;
    let Some(why) = UnknownAct::explain(&unknown, own) else {
        // Events that are written late are looked at once more; what was confirmed is not.
        let looked: Option<i64> =
            runs::find_setting(&mut tx, switches::OWN_ACTS_UNTIL).await?.and_then(|text| text.parse().ok());
        let until = now.minus(EXPLAINED_WITHIN).as_ms().max(looked.unwrap_or(i64::MIN));
        runs::put_setting(&mut tx, switches::OWN_ACTS_UNTIL, &until.to_string(), now).await?;
        tx.commit().await?;
        return Ok(true);
    };
    marker::note_unconfirmed(&mut tx, &why, now).await?;
    tx.commit().await?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_reckoned_by_what_its_type_costs() {
        let charged = [(1, 100, 9_000), (6, 50, 1_000)];
        // Ten waiting machine records are worth 900 of 10,900.
        assert_eq!(share(&[(1, 10)], &charged).unwrap().round_dp(2), Decimal::new(826, 2));
        assert_eq!(share(&[(6, 50)], &charged).unwrap().round_dp(2), Decimal::new(909, 2));
        assert_eq!(share(&[(99, 10)], &charged), Some(Decimal::ZERO), "a type without a price costs nothing");
        assert_eq!(share(&[(1, 10)], &[]), None);
    }

    #[test]
    fn an_act_is_explained_by_an_intent_of_its_time_and_account_only() {
        let intent = |created, finished| IntentSpan {
            account_id: AccountId::new(1),
            action: "lock".to_owned(),
            state: "done".to_owned(),
            created_ms: created,
            finished_ms: finished,
        };
        let hour = 3_600_000;
        let spans = [intent(hour * 10, Some(hour * 10 + 1_000))];
        let at = |ms| Timestamp::from_ms(ms);
        assert!(explained(&spans, AccountId::new(1), at(hour * 10 + 500)));
        assert!(explained(&spans, AccountId::new(1), at(hour * 10 + hour / 4)), "a late request");
        assert!(!explained(&spans, AccountId::new(1), at(hour * 12)));
        assert!(!explained(&spans, AccountId::new(2), at(hour * 10 + 500)));
        assert!(explained(&[intent(hour * 10, None)], AccountId::new(1), at(hour * 50)), "still open");
    }
}
