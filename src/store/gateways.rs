//! Payment gateways: proposed, approved, refused, retired, and chosen.

use std::collections::HashMap;

use super::{StoreError, Tx, all, exec, maybe};
use crate::{
    ids::{AccountId, PayerId},
    time::Timestamp,
};

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct Gateway {
    /// Its number.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// The country that it is for.
    pub country: String,
    /// Its address in the web.
    pub website: String,
    /// What the tenant wrote about it.
    pub details: String,
    /// For this payer alone; None: for everybody.
    pub payer_id: Option<PayerId>,
    /// The account from which it was proposed.
    pub account_id: Option<AccountId>,
    /// proposed, approved, refused, retired.
    pub state: String,
    /// Who proposed it.
    pub proposed_by: String,
    /// When.
    pub proposed_ms: Timestamp,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_ms: Option<Timestamp>,
    /// What the administrator said.
    pub message: Option<String>,
}

/// A proposal to be kept.
#[derive(Debug, Clone)]
pub struct NewGateway<'a> {
    /// Made by the caller; the same twice is one proposal.
    pub key: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// The country that it is for.
    pub country: &'a str,
    /// Its address in the web.
    pub website: &'a str,
    /// What is to be known about it.
    pub details: &'a str,
    /// Whose.
    pub payer: PayerId,
    /// The account from which it is proposed.
    pub account: AccountId,
    /// Who proposes it.
    pub author: &'a str,
}

/// Keeps a proposal; false where the same key was kept before.
pub async fn propose(tx: &mut Tx, new: &NewGateway<'_>, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "insert into gateway (key, name, country, website, details, payer_id, account_id, state, proposed_by, proposed_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, 'proposed', $8, $9) on conflict (key) do nothing",
        new.key,
        new.name,
        new.country,
        new.website,
        new.details,
        new.payer,
        new.account,
        new.author,
        now
    )? == 1)
}

/// A gateway by its number.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<Gateway>, StoreError> {
    maybe!(
        tx,
        Gateway,
        "select id, name, country, website, details, payer_id, account_id, state, proposed_by, proposed_ms, decided_by, \
           decided_ms, message from gateway where id = $1",
        id
    )
}

/// What a payer proposed or may choose from, newest first.
pub async fn list_of_payer(tx: &mut Tx, payer: PayerId, limit: i64) -> Result<Vec<Gateway>, StoreError> {
    all!(
        tx,
        Gateway,
        "select id, name, country, website, details, payer_id, account_id, state, proposed_by, proposed_ms, decided_by, \
           decided_ms, message from gateway where payer_id = $1 or (payer_id is null and (state = 'approved' \
             or account_id in (select id from account where payer_id = $1))) order by id desc limit $2",
        payer,
        limit
    )
}

/// Proposals that wait for an administrator, oldest first.
pub async fn list_proposed(tx: &mut Tx, limit: i64) -> Result<Vec<Gateway>, StoreError> {
    all!(
        tx,
        Gateway,
        "select id, name, country, website, details, payer_id, account_id, state, proposed_by, proposed_ms, decided_by, \
           decided_ms, message from gateway where state = 'proposed' order by id limit $1",
        limit
    )
}

/// Gateways that can be chosen, by name.
pub async fn list_approved(tx: &mut Tx, limit: i64) -> Result<Vec<Gateway>, StoreError> {
    all!(
        tx,
        Gateway,
        "select id, name, country, website, details, payer_id, account_id, state, proposed_by, proposed_ms, decided_by, \
           decided_ms, message from gateway where state = 'approved' order by name, id limit $1",
        limit
    )
}

/// Open proposals of a payer.
pub async fn count_proposed(tx: &mut Tx, payer: PayerId) -> Result<i64, StoreError> {
    super::scalar!(tx, i64, "select count(*) from gateway where payer_id = $1 and state = 'proposed'", payer)
}

/// Approves or refuses a proposal; false where somebody decided before. Approved `for_all`, everybody may choose it.
pub async fn decide(
    tx: &mut Tx,
    id: i64,
    (approved, for_all): (bool, bool),
    by: &str,
    message: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update gateway set state = $2, decided_by = $3, decided_ms = $4, message = $5, \
           payer_id = case when $6 = 1 then null else payer_id end where id = $1 and state = 'proposed'",
        id,
        if approved { "approved" } else { "refused" },
        by,
        now,
        message,
        i64::from(approved && for_all)
    )? == 1)
}

/// Retires an approved gateway; false where it is not approved (any more). Without a message the one of the approval stays.
pub async fn retire(tx: &mut Tx, id: i64, by: &str, message: Option<&str>, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update gateway set state = 'retired', decided_by = $2, decided_ms = $3, message = coalesce($4, message) \
         where id = $1 and state = 'approved'",
        id,
        by,
        now,
        message
    )? == 1)
}

/// How many payers chose which gateway.
pub async fn count_choosers(tx: &mut Tx) -> Result<HashMap<i64, i64>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64),
        "select gateway_id, count(*) from gateway_choice group by gateway_id order by gateway_id"
    )?;
    Ok(rows.into_iter().collect())
}

/// The accounts, as far as they are there, of the payers who chose a gateway.
pub async fn list_choosers(tx: &mut Tx, gateway: i64) -> Result<Vec<AccountId>, StoreError> {
    let rows = all!(
        tx,
        (AccountId,),
        "select a.id from gateway_choice c join account a on a.payer_id = c.payer_id \
         where c.gateway_id = $1 and a.gone_ms is null order by a.id",
        gateway
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// The names of the gateways that payers chose; of whoever is missing it is bank transfer.
pub async fn list_choices(tx: &mut Tx) -> Result<HashMap<PayerId, String>, StoreError> {
    let rows = all!(
        tx,
        (PayerId, String),
        "select c.payer_id, g.name from gateway_choice c join gateway g on g.id = c.gateway_id \
         where g.state = 'approved' order by c.payer_id"
    )?;
    Ok(rows.into_iter().collect())
}

/// The name of the gateway that a payer chose and that is retired since.
pub async fn find_retired_choice(tx: &mut Tx, payer: PayerId) -> Result<Option<String>, StoreError> {
    let found = maybe!(
        tx,
        (String,),
        "select g.name from gateway_choice c join gateway g on g.id = c.gateway_id \
         where c.payer_id = $1 and g.state = 'retired'",
        payer
    )?;
    Ok(found.map(|(name,)| name))
}

/// The gateway that a payer chose; None: bank transfer.
pub async fn find_choice(tx: &mut Tx, payer: PayerId) -> Result<Option<i64>, StoreError> {
    let found = maybe!(
        tx,
        (i64,),
        "select c.gateway_id from gateway_choice c join gateway g on g.id = c.gateway_id \
         where c.payer_id = $1 and g.state = 'approved'",
        payer
    )?;
    Ok(found.map(|(id,)| id))
}

/// Chooses a gateway, or bank transfer.
pub async fn choose(
    tx: &mut Tx,
    payer: PayerId,
    gateway: Option<i64>,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    match gateway {
        Some(gateway) => exec!(
            tx,
            "insert into gateway_choice (payer_id, gateway_id, chosen_by, chosen_ms) values ($1, $2, $3, $4) \
             on conflict (payer_id) do update set gateway_id = excluded.gateway_id, chosen_by = excluded.chosen_by, \
               chosen_ms = excluded.chosen_ms",
            payer,
            gateway,
            by,
            now
        )?,
        None => exec!(tx, "delete from gateway_choice where payer_id = $1", payer)?,
    };
    Ok(())
}
