//! Payment gateways: proposed, approved, refused, retired, and chosen.

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
           decided_ms, message from gateway where payer_id = $1 or (payer_id is null and state = 'approved') \
         order by id desc limit $2",
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
