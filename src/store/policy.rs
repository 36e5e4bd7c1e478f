//! What the ladder needs to remember: since when rules are reached, arming, overrides of the policy, exemptions.

use std::collections::{BTreeSet, HashMap};

use super::{StoreError, Tx, all, exec, maybe};
use crate::{
    ids::{AccountId, PayerId},
    time::Timestamp,
};

/// A rung armed somewhere.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct ArmingRow {
    /// notify, restrict, lock, stop.
    pub rung: String,
    /// The domain with everything below it; empty: the whole cloud.
    pub domain_path: String,
    /// Who armed it.
    pub armed_by: String,
    /// When.
    pub armed_ms: Timestamp,
}

/// Every arming.
pub async fn list_arming(tx: &mut Tx) -> Result<Vec<ArmingRow>, StoreError> {
    all!(tx, ArmingRow, "select rung, domain_path, armed_by, armed_ms from arming order by rung, domain_path")
}

/// Arms a rung for a domain with everything below it, or for the whole cloud (the empty path). False: it was armed.
pub async fn arm(tx: &mut Tx, rung: &str, domain_path: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "insert into arming (rung, domain_path, armed_by, armed_ms) values ($1, $2, $3, $4) \
         on conflict (rung, domain_path) do nothing",
        rung,
        domain_path,
        by,
        now
    )? == 1)
}

/// Takes an arming back. False: there was none.
pub async fn disarm(tx: &mut Tx, rung: &str, domain_path: &str) -> Result<bool, StoreError> {
    Ok(exec!(tx, "delete from arming where rung = $1 and domain_path = $2", rung, domain_path)? == 1)
}

/// Since when each payer's rules have been reached: (payer, rung) to the instant.
pub async fn list_reached(tx: &mut Tx) -> Result<HashMap<(PayerId, String), Timestamp>, StoreError> {
    let rows = all!(
        tx,
        (PayerId, String, Timestamp),
        "select payer_id, rung, since_ms from rung_watch order by payer_id, rung"
    )?;
    Ok(rows.into_iter().map(|(payer, rung, since)| ((payer, rung), since)).collect())
}

/// Notes since when a payer's rule has been reached, or that it is reached no longer.
pub async fn put_reached(tx: &mut Tx, payer: PayerId, rung: &str, since: Option<Timestamp>) -> Result<(), StoreError> {
    match since {
        Some(since) => exec!(
            tx,
            "insert into rung_watch (payer_id, rung, since_ms) values ($1, $2, $3) \
             on conflict (payer_id, rung) do update set since_ms = excluded.since_ms",
            payer,
            rung,
            since
        )?,
        None => exec!(tx, "delete from rung_watch where payer_id = $1 and rung = $2", payer, rung)?,
    };
    Ok(())
}

/// Payers that have a class.
pub async fn list_classes(tx: &mut Tx) -> Result<HashMap<PayerId, String>, StoreError> {
    let rows = all!(
        tx,
        (PayerId, String),
        "select id, class from payer where class is not null and joined_into is null order by id"
    )?;
    Ok(rows.into_iter().collect())
}

/// A value of the policy that was set for one payer.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct OverrideRow {
    /// Whose.
    pub payer_id: PayerId,
    /// The key of the policy.
    pub key: String,
    /// The value.
    pub value: String,
    /// Who set it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// Until when it holds. None: until it is taken back.
    pub until_ms: Option<Timestamp>,
    /// When it was set.
    pub set_ms: Timestamp,
}

/// The overrides that hold at an instant, of one payer or of all.
pub async fn list_overrides(
    tx: &mut Tx,
    payer: Option<PayerId>,
    now: Timestamp,
) -> Result<Vec<OverrideRow>, StoreError> {
    all!(
        tx,
        OverrideRow,
        "select payer_id, key, value, author, reason, until_ms, set_ms from policy_override \
         where (until_ms is null or until_ms > $1) and ($2 is null or payer_id = $2) order by payer_id, key",
        now,
        payer
    )
}

/// Sets a value for a payer; it replaces an earlier one.
pub async fn put_override(tx: &mut Tx, row: &OverrideRow) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into policy_override (payer_id, key, value, author, reason, until_ms, set_ms) \
         values ($1, $2, $3, $4, $5, $6, $7) \
         on conflict (payer_id, key) do update set value = excluded.value, author = excluded.author, \
           reason = excluded.reason, until_ms = excluded.until_ms, set_ms = excluded.set_ms",
        row.payer_id,
        &row.key,
        &row.value,
        &row.author,
        &row.reason,
        row.until_ms,
        row.set_ms
    )?;
    Ok(())
}

/// Takes a payer's value back. None: there was none.
pub async fn delete_override(tx: &mut Tx, payer: PayerId, key: &str) -> Result<Option<String>, StoreError> {
    let found = maybe!(
        tx,
        (String,),
        "delete from policy_override where payer_id = $1 and key = $2 returning value",
        payer,
        key
    )?;
    Ok(found.map(|(value,)| value))
}

/// That an administrator said to leave a payer or an account alone.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct ExemptionRow {
    /// Its number.
    pub id: i64,
    /// The payer.
    pub payer_id: PayerId,
    /// The one account; None: every account of the payer.
    pub account_id: Option<AccountId>,
    /// Until when.
    pub until_ms: Timestamp,
    /// 1: notices are held back too.
    pub no_notices: i64,
    /// Who said so.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When it was said.
    pub made_ms: Timestamp,
}

/// The exemptions that hold at an instant.
pub async fn list_exemptions(tx: &mut Tx, now: Timestamp) -> Result<Vec<ExemptionRow>, StoreError> {
    all!(
        tx,
        ExemptionRow,
        "select id, payer_id, account_id, until_ms, no_notices, author, reason, made_ms from exemption \
         where ended_ms is null and until_ms > $1 order by payer_id, id",
        now
    )
}

/// Says to leave a payer (`account` None) or one account of it alone.
#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
pub async fn insert_exemption(
    tx: &mut Tx,
    payer: PayerId,
    account: Option<AccountId>,
    until: Timestamp,
    no_notices: bool,
    author: &str,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into exemption (payer_id, account_id, until_ms, no_notices, author, reason, made_ms) \
         values ($1, $2, $3, $4, $5, $6, $7)",
        payer,
        account,
        until,
        i64::from(no_notices),
        author,
        reason,
        now
    )?;
    Ok(())
}

/// Ends what holds of a payer as a whole (`account` None) or of one account. Gives how many ended.
pub async fn end_exemptions(
    tx: &mut Tx,
    payer: PayerId,
    account: Option<AccountId>,
    by: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update exemption set ended_by = $1, ended_ms = $2 where ended_ms is null and until_ms > $2 \
           and (account_id = $4 or (account_id is null and $4 is null and payer_id = $3))",
        by,
        now,
        payer,
        account
    )
}

/// A standing hold as the ladder sees it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StandingHold {
    /// The account.
    pub account_id: AccountId,
    /// billing, or somebody else.
    pub owner: String,
    /// The rung it stands on.
    pub rung: String,
    /// Since when it has stood on that rung.
    pub since_ms: Timestamp,
}

/// Every standing hold.
pub async fn list_standing_holds(tx: &mut Tx) -> Result<Vec<StandingHold>, StoreError> {
    all!(
        tx,
        StandingHold,
        "select account_id, owner, rung, coalesce(rung_ms, placed_ms) as since_ms from hold where lifted_ms is null \
         order by account_id, id"
    )
}

/// When the newest billing hold of each account was lifted.
pub async fn list_lifted(tx: &mut Tx) -> Result<HashMap<AccountId, Timestamp>, StoreError> {
    let rows = all!(
        tx,
        (AccountId, Timestamp),
        "select account_id, max(lifted_ms) from hold where owner = 'billing' and lifted_ms is not null \
         group by account_id order by account_id"
    )?;
    Ok(rows.into_iter().collect())
}

/// A dated warning that stands.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WarningRow {
    /// Whose.
    pub account_id: AccountId,
    /// warning-lock-…
    pub event: String,
    /// The date it names.
    pub acts_at_ms: Timestamp,
    /// When it was written.
    pub recorded_ms: Timestamp,
    /// When a mail server took it, or the tenant saw it, whichever was first.
    pub arrived_ms: Option<Timestamp>,
    /// 1: nobody could be written to.
    pub no_address: i64,
    /// 1: it was a rehearsal.
    pub dry_run: i64,
}

/// Every warning that stands, oldest first.
pub async fn list_warnings(tx: &mut Tx) -> Result<Vec<WarningRow>, StoreError> {
    all!(
        tx,
        WarningRow,
        "select n.account_id, n.event, n.acts_at_ms, n.recorded_ms, \
           case when n.arrived_ms is null or n.seen_ms < n.arrived_ms then n.seen_ms else n.arrived_ms end as arrived_ms, \
           cast(case when n.no_address_ms is not null and n.queued_ms is null then 1 else 0 end as bigint) as no_address, \
           n.dry_run \
         from notice n where n.id in (select notice_id from standing_warning) and n.acts_at_ms is not null order by n.id"
    )
}

/// Puts warnings of this event aside whose date was before an instant, so that another one of it can be given: they stand no
/// longer, and no mail is made of them any more. Their mails keep what they said, under keys of their own.
pub async fn put_warnings_aside(
    tx: &mut Tx,
    account: AccountId,
    event: &str,
    dry_run: bool,
    before: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "update mail set key = key || '/' || cast(id as text) where id in ( \
           select m.mail_id from mail_notice m join notice n on n.id = m.notice_id \
           where n.account_id = $1 and n.event = $2 and n.dry_run = $3 and n.acts_at_ms < $4)",
        account,
        event,
        i64::from(dry_run),
        before
    )?;
    exec!(
        tx,
        "update notice set event = event || '-' || cast(id as text), queued_ms = coalesce(queued_ms, $5) \
         where account_id = $1 and event = $2 and dry_run = $3 and acts_at_ms < $4",
        account,
        event,
        i64::from(dry_run),
        before,
        now
    )?;
    Ok(())
}

/// Takes back warnings of this event that were given in earnest and have reached nobody: they stand no longer, and their mails are
/// dropped. Where the step comes about again it is warned of anew.
pub async fn withdraw_warnings(
    tx: &mut Tx,
    account: AccountId,
    event: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    exec!(
        tx,
        "update mail set key = key || '/' || cast(id as text) where id in ( \
           select m.mail_id from mail_notice m join notice n on n.id = m.notice_id where n.account_id = $1 and n.event = $2 \
             and n.dry_run = 0 and n.arrived_ms is null and n.seen_ms is null)",
        account,
        event
    )?;
    exec!(
        tx,
        "update notice set event = event || '-' || cast(id as text), queued_ms = coalesce(queued_ms, $3) \
         where account_id = $1 and event = $2 and dry_run = 0 and arrived_ms is null and seen_ms is null",
        account,
        event,
        now
    )
}

/// The thresholds that each account was given notice of in its payer's present epoch, and the weeks of which it was told ever that a
/// payment is overdue, since a part of it opens an epoch and changes nothing about that: (account, rehearsed) to events.
/// By the payers, whose epochs SQLite looks notices up by: the notices of all times are many more.
pub async fn list_noticed_now(tx: &mut Tx) -> Result<HashMap<(AccountId, bool), BTreeSet<String>>, StoreError> {
    let rows = all!(
        tx,
        (AccountId, String, i64),
        "with present as materialized ( \
           select p.id as payer_id, coalesce((select max(e.id) from epoch e where e.payer_id = p.id), 0) as epoch_id from payer p) \
         select n.account_id, n.event, n.dry_run from present p cross join notice n \
         where n.payer_id = p.payer_id and n.epoch_id = p.epoch_id and n.event not like 'warning-%' \
         union all select account_id, event, dry_run from notice where event like 'overdue-%'"
    )?;
    let mut noticed: HashMap<_, BTreeSet<String>> = HashMap::new();
    for (account, event, dry_run) in rows {
        noticed.entry((account, dry_run == 1)).or_default().insert(event);
    }
    Ok(noticed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        money::Money,
        secrets::Secret,
        store::{
            Store, StoreSettings,
            cloud::{self, Account, SeenAccount},
            enforcement, ledger,
        },
    };

    const NOW: Timestamp = Timestamp::from_ms(1_793_491_200_000);

    async fn store() -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings { data_dir: folder.path().to_owned(), url: Secret::new(""), max_connections: 2 };
        (Store::open(&settings).await.unwrap(), folder)
    }

    async fn account(tx: &mut Tx, name: &str) -> Account {
        let seen = SeenAccount {
            cloud_id: format!("id-of-{name}"),
            name: name.to_owned(),
            domain_id: "root".to_owned(),
            domain_path: "ROOT".to_owned(),
            account_type: 0,
            role_type: "User".to_owned(),
            state: "enabled".to_owned(),
        };
        let (id, _) = cloud::put_account(tx, &seen, NOW).await.unwrap();
        cloud::get_account(tx, id).await.unwrap()
    }

    async fn epoch(tx: &mut Tx, account: &Account) -> i64 {
        ledger::open_epoch(tx, account.payer_id, "payment", Money::ZERO, NOW).await.unwrap();
        ledger::find_epoch(tx, account.payer_id).await.unwrap().unwrap().0
    }

    async fn notice(tx: &mut Tx, account: &Account, epoch: i64, event: &str, rehearsed: bool) {
        let acts_at = event.starts_with("warning-").then_some(NOW);
        let (payer, id) = (account.payer_id, account.id);
        assert!(enforcement::insert_notice(tx, payer, id, epoch, event, "", acts_at, rehearsed, NOW).await.unwrap());
    }

    #[tokio::test]
    async fn noticed_now_are_thresholds_of_the_present_epoch_and_overdue_weeks_of_any() {
        let (store, _folder) = store().await;
        let mut tx = store.begin().await.unwrap();
        let (ann, bob, eve) =
            (account(&mut tx, "ann").await, account(&mut tx, "bob").await, account(&mut tx, "eve").await);
        // Epochs of several payers, one between those of another; eve has none.
        let old = epoch(&mut tx, &ann).await;
        let bobs = epoch(&mut tx, &bob).await;
        let new = epoch(&mut tx, &ann).await;
        for (account, epoch, event, rehearsed) in [
            (&ann, old, "used-80", false),
            (&ann, old, "overdue-1", false),
            (&ann, old, "overdue-2", true),
            (&ann, 0, "days-left-7", false),
            (&ann, new, "used-90", false),
            (&ann, new, "overdue-1", false),
            (&ann, new, "warning-lock-1793491200", false),
            (&bob, bobs, "used-80", true),
            (&bob, new, "used-90", true),
            (&eve, 0, "used-80", false),
            (&eve, old, "used-90", false),
        ] {
            notice(&mut tx, account, epoch, event, rehearsed).await;
        }
        let noticed = list_noticed_now(&mut tx).await.unwrap();
        let mut told: Vec<_> = noticed.into_iter().collect();
        told.sort();
        let of = |account: &Account, rehearsed: bool, events: &[&str]| {
            ((account.id, rehearsed), events.iter().map(|event| (*event).to_owned()).collect::<BTreeSet<_>>())
        };
        assert_eq!(
            told,
            [
                of(&ann, false, &["overdue-1", "used-90"]),
                of(&ann, true, &["overdue-2"]),
                of(&bob, true, &["used-80"]),
                of(&eve, false, &["used-80"]),
            ]
        );
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_warning_stands_for_the_time_that_goes_on_and_not_beyond_a_lift() {
        let (store, _folder) = store().await;
        let mut tx = store.begin().await.unwrap();
        let (ann, bob) = (account(&mut tx, "ann").await, account(&mut tx, "bob").await);
        let (since, lifted) = (NOW.minus(Duration::from_hours(48)), NOW.minus(Duration::from_hours(1)));
        for (account, rung) in [(&ann, "lock"), (&ann, "stop"), (&bob, "lock")] {
            put_reached(&mut tx, account.payer_id, rung, Some(since)).await.unwrap();
        }
        assert!(
            enforcement::place_hold(&mut tx, bob.id, "billing", "lock", "", None, "bursar", since).await.unwrap()
                && enforcement::lift_hold(&mut tx, bob.id, "billing", "bursar", lifted).await.unwrap()
        );
        let of = |rung: &str, at: Timestamp| format!("warning-{rung}-{}", at.as_ms() / 1_000);
        let stand = [(&ann, of("lock", since)), (&ann, of("stop", since)), (&bob, of("lock", lifted))];
        let past = [(&ann, of("restrict", since)), (&ann, of("lock", lifted)), (&bob, of("lock", since))];
        for (account, event) in past.iter().chain(&stand) {
            notice(&mut tx, account, 0, event, false).await;
        }
        let listed = list_warnings(&mut tx).await.unwrap();
        let listed: Vec<_> = listed.into_iter().map(|row| (row.account_id, row.event)).collect();
        assert_eq!(listed, stand.map(|(account, event)| (account.id, event)), "oldest first");
        tx.commit().await.unwrap();
    }
}
