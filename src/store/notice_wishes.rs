//! What single people said about the notices they want.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{StoreError, Tx, all, exec, maybe};
use crate::{
    ids::{AccountId, CloudId},
    policy::{Topic, Wishes},
    time::Timestamp,
};

/// The one channel there is so far.
const MAIL: &str = "mail";

/// What the people of an account said, by CloudStack user. Who said nothing is not among them.
pub async fn list_wishes(tx: &mut Tx, account: AccountId) -> Result<BTreeMap<String, Wishes>, StoreError> {
    let mut wishes: BTreeMap<String, Wishes> = BTreeMap::new();
    let choices = all!(
        tx,
        (String, String, i64),
        "select person, topic, wanted from notice_choice where account_id = $1 and channel = $2 order by person, topic",
        account,
        MAIL
    )?;
    for (person, topic, wanted) in choices {
        let Some(topic) = Topic::ALL.into_iter().find(|known| known.word() == topic) else { continue };
        wishes.entry(person).or_default().topics.insert(topic, wanted == 1);
    }
    let thresholds = all!(
        tx,
        (String, i64),
        "select person, percent from notice_threshold where account_id = $1 order by person, percent",
        account
    )?;
    for (person, percent) in thresholds {
        if let Ok(percent) = u32::try_from(percent) {
            wishes.entry(person).or_default().percent.insert(percent);
        }
    }
    Ok(wishes)
}

/// The own thresholds of people who are still there, by account: one set a person.
pub async fn list_own_thresholds(tx: &mut Tx) -> Result<HashMap<AccountId, Vec<BTreeSet<u32>>>, StoreError> {
    let rows = all!(
        tx,
        (AccountId, String, i64),
        "select t.account_id, t.person, t.percent from notice_threshold t \
         join cloud_user u on u.cloud_id = t.person and u.account_id = t.account_id and u.gone_ms is null \
         order by t.account_id, t.person, t.percent"
    )?;
    let mut people: BTreeMap<(i64, String), (AccountId, BTreeSet<u32>)> = BTreeMap::new();
    for (account, person, percent) in rows {
        let own = people.entry((account.get(), person)).or_insert_with(|| (account, BTreeSet::new()));
        own.1.extend(u32::try_from(percent).ok());
    }
    let mut accounts: HashMap<AccountId, Vec<BTreeSet<u32>>> = HashMap::new();
    for (account, own) in people.into_values() {
        accounts.entry(account).or_default().push(own);
    }
    Ok(accounts)
}

/// The language that a person chose.
pub async fn find_language(tx: &mut Tx, account: AccountId, person: CloudId) -> Result<Option<String>, StoreError> {
    let found = maybe!(
        tx,
        (String,),
        "select language from notice_person where account_id = $1 and person = $2",
        account,
        person.to_string()
    )?;
    Ok(found.map(|(language,)| language))
}

/// Keeps all that a person says, in place of what was said before.
pub async fn put_wishes(
    tx: &mut Tx,
    account: AccountId,
    person: CloudId,
    wishes: &Wishes,
    language: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let person = person.to_string();
    exec!(
        tx,
        "insert into notice_person (account_id, person, language, changed_ms) values ($1, $2, $3, $4) \
         on conflict (account_id, person) do update set language = excluded.language, changed_ms = excluded.changed_ms",
        account,
        &person,
        language,
        now
    )?;
    for (topic, wanted) in &wishes.topics {
        exec!(
            tx,
            "insert into notice_choice (account_id, person, topic, channel, wanted) values ($1, $2, $3, $4, $5) \
             on conflict (account_id, person, topic, channel) do update set wanted = excluded.wanted",
            account,
            &person,
            topic.word(),
            MAIL,
            i64::from(*wanted)
        )?;
    }
    exec!(tx, "delete from notice_threshold where account_id = $1 and person = $2", account, &person)?;
    for percent in &wishes.percent {
        exec!(
            tx,
            "insert into notice_threshold (account_id, person, percent) values ($1, $2, $3)",
            account,
            &person,
            i64::from(*percent)
        )?;
    }
    Ok(())
}

/// Accounts of which somebody wants to hear about a topic that has to be asked for.
pub async fn list_accounts_that_want(tx: &mut Tx, topic: Topic) -> Result<Vec<AccountId>, StoreError> {
    let rows = all!(
        tx,
        (AccountId,),
        "select distinct c.account_id from notice_choice c \
         join cloud_user u on u.cloud_id = c.person and u.account_id = c.account_id and u.gone_ms is null \
         join account a on a.id = c.account_id and a.gone_ms is null \
         where c.topic = $1 and c.channel = $2 and c.wanted = 1 order by c.account_id",
        topic.word(),
        MAIL
    )?;
    Ok(rows.into_iter().map(|(account,)| account).collect())
}

/// The events that an account was given notice of in one epoch.
pub async fn list_events(tx: &mut Tx, account: AccountId, epoch: i64) -> Result<BTreeSet<String>, StoreError> {
    let rows = all!(
        tx,
        (String,),
        "select event from notice where account_id = $1 and epoch_id = $2 and dry_run = 0 order by id",
        account,
        epoch
    )?;
    Ok(rows.into_iter().map(|(event,)| event).collect())
}
