//! Promo codes and their redemptions.

use rust_decimal::Decimal;

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, PayerId, TransferId},
    ledger::rules::codes::{Code, Worth},
    money::Money,
    time::Timestamp,
};

/// A code with everything that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promo {
    /// Its number.
    pub id: i64,
    /// The code, as it is compared.
    pub code: String,
    /// The terms that decide.
    pub terms: Code,
    /// Shown as an offer to whom it is for.
    pub public: bool,
    /// Days that its grant counts; None: without end.
    pub grant_days: Option<i64>,
    /// The one usage type that its grant pays for.
    pub grant_scope: Option<i64>,
    /// The priority of its grant.
    pub grant_priority: i64,
    /// What an administrator noted.
    pub note: String,
    /// Who made it.
    pub author: String,
    /// When.
    pub created: Timestamp,
    /// Who ended it.
    pub closed_by: Option<String>,
}

#[derive(sqlx::FromRow)]
struct PromoRow {
    id: i64,
    code: String,
    amount_micros: Option<i64>,
    percent: Option<String>,
    max_amount_micros: Option<i64>,
    valid_from_ms: i64,
    valid_until_ms: Option<i64>,
    total_uses: Option<i64>,
    uses_per_account: i64,
    min_payment_micros: i64,
    public: i64,
    grant_days: Option<i64>,
    grant_scope: Option<i64>,
    grant_priority: i64,
    uses: i64,
    note: String,
    author: String,
    created_ms: i64,
    closed_ms: Option<i64>,
    closed_by: Option<String>,
}

impl PromoRow {
    fn into_promo(self, domains: Vec<String>) -> Result<Promo, StoreError> {
        let nonsense =
            || StoreError::Nonsense(format!("promo code {} has neither an amount nor a percentage", self.code));
        let worth = match (self.amount_micros, &self.percent) {
            (Some(micros), _) => Worth::Amount(Money::from_micros(micros)),
            (None, Some(text)) => Worth::Percent {
                percent: text.parse::<Decimal>().map_err(|_| nonsense())?,
                most: self.max_amount_micros.map(Money::from_micros),
            },
            (None, None) => return Err(nonsense()),
        };
        Ok(Promo {
            id: self.id,
            code: self.code,
            terms: Code {
                worth,
                valid_from: Timestamp::from_ms(self.valid_from_ms),
                valid_until: self.valid_until_ms.map(Timestamp::from_ms),
                total_uses: self.total_uses,
                uses_per_account: self.uses_per_account,
                min_payment: Money::from_micros(self.min_payment_micros),
                domains,
                closed: self.closed_ms.is_some(),
                uses: self.uses,
            },
            public: self.public == 1,
            grant_days: self.grant_days,
            grant_scope: self.grant_scope,
            grant_priority: self.grant_priority,
            note: self.note,
            author: self.author,
            created: Timestamp::from_ms(self.created_ms),
            closed_by: self.closed_by,
        })
    }
}

/// Keeps a new code; its number is given, the one in `promo` is not read. A code that is there is refused.
pub async fn insert_promo(tx: &mut Tx, promo: &Promo) -> Result<i64, StoreError> {
    let (amount, percent, most) = match promo.terms.worth {
        Worth::Amount(amount) => (Some(amount.as_micros()), None, None),
        Worth::Percent { percent, most } => (None, Some(percent.to_string()), most.map(Money::as_micros)),
    };
    let inserted = maybe!(
        tx,
        (i64,),
        "insert into promo_code (code, amount_micros, percent, max_amount_micros, valid_from_ms, valid_until_ms, total_uses, \
           uses_per_account, min_payment_micros, public, grant_days, grant_scope, grant_priority, note, author, created_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) on conflict (code) do nothing returning id",
        &promo.code,
        amount,
        percent,
        most,
        promo.terms.valid_from,
        promo.terms.valid_until,
        promo.terms.total_uses,
        promo.terms.uses_per_account,
        promo.terms.min_payment.as_micros(),
        i64::from(promo.public),
        promo.grant_days,
        promo.grant_scope,
        promo.grant_priority,
        &promo.note,
        &promo.author,
        promo.created
    )?;
    let Some((id,)) = inserted else {
        return Err(StoreError::Exists(format!("the code {} is there already; choose another one", promo.code)));
    };
    for domain in &promo.terms.domains {
        exec!(tx, "insert into promo_domain (promo_id, domain_id) values ($1, $2)", id, domain)?;
    }
    Ok(id)
}

async fn domains_of(tx: &mut Tx, id: i64) -> Result<Vec<String>, StoreError> {
    let rows = all!(tx, (String,), "select domain_id from promo_domain where promo_id = $1 order by domain_id", id)?;
    Ok(rows.into_iter().map(|(domain,)| domain).collect())
}

/// The code that is written like this, as it is now.
pub async fn find_promo(tx: &mut Tx, code: &str) -> Result<Option<Promo>, StoreError> {
    let row = maybe!(
        tx,
        PromoRow,
        "select id, code, amount_micros, percent, max_amount_micros, valid_from_ms, valid_until_ms, total_uses, uses_per_account, \
           min_payment_micros, public, grant_days, grant_scope, grant_priority, uses, note, author, created_ms, closed_ms, closed_by \
         from promo_code where code = $1",
        code
    )?;
    let Some(row) = row else { return Ok(None) };
    let domains = domains_of(tx, row.id).await?;
    row.into_promo(domains).map(Some)
}

/// As [`find_promo`], and nobody else redeems it until the transaction ends: on PostgreSQL its row is locked, SQLite has one
/// writer anyway.
pub async fn lock_promo(tx: &mut Tx, code: &str) -> Result<Option<Promo>, StoreError> {
    exec!(tx, "update promo_code set uses = uses where code = $1", code)?;
    find_promo(tx, code).await
}

/// Codes, newest first; with or without those that have ended.
pub async fn list_promos(
    tx: &mut Tx,
    at: Timestamp,
    with_ended: bool,
    public_only: bool,
    limit: i64,
) -> Result<Vec<Promo>, StoreError> {
    let rows = all!(
        tx,
        PromoRow,
        "select id, code, amount_micros, percent, max_amount_micros, valid_from_ms, valid_until_ms, total_uses, uses_per_account, \
           min_payment_micros, public, grant_days, grant_scope, grant_priority, uses, note, author, created_ms, closed_ms, closed_by \
         from promo_code where ($2 = 1 or (closed_ms is null and (valid_until_ms is null or valid_until_ms > $1))) \
           and ($3 = 0 or public = 1) order by id desc limit $4",
        at,
        i64::from(with_ended),
        i64::from(public_only),
        limit
    )?;
    let mut promos = Vec::with_capacity(rows.len());
    for row in rows {
        let domains = domains_of(tx, row.id).await?;
        promos.push(row.into_promo(domains)?);
    }
    Ok(promos)
}

/// Ends a code; false where it was ended before.
pub async fn close_promo(tx: &mut Tx, id: i64, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update promo_code set closed_ms = $1, closed_by = $2 where id = $3 and closed_ms is null",
        now,
        by,
        id
    )? == 1)
}

/// Counts one use; false where the code is used up.
pub async fn count_use(tx: &mut Tx, id: i64) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update promo_code set uses = uses + 1 where id = $1 and closed_ms is null and (total_uses is null or uses < total_uses)",
        id
    )? == 1)
}

/// A redemption.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct Redemption {
    /// Its number.
    pub id: i64,
    /// The caller's key.
    pub key: String,
    /// The code.
    pub code: String,
    /// By which account.
    pub account_id: AccountId,
    /// Who did it.
    pub author: String,
    /// When.
    pub redeemed_ms: i64,
    /// The grant it became; None while it waits for a payment.
    pub grant_id: Option<i64>,
    /// The payment that it waited for.
    pub payment_id: Option<i64>,
    /// What the grant is of.
    pub amount_micros: Option<i64>,
}

/// The redemption of a key.
pub async fn find_redemption(tx: &mut Tx, key: &str) -> Result<Option<Redemption>, StoreError> {
    maybe!(
        tx,
        Redemption,
        "select r.id, r.key, c.code, r.account_id, r.author, r.redeemed_ms, r.grant_id, r.payment_id, g.amount_micros \
         from promo_redemption r join promo_code c on c.id = r.promo_id left join credit_grant g on g.id = r.grant_id \
         where r.key = $1",
        key
    )
}

/// The newest redemptions of a code, of an account, or of all.
pub async fn list_redemptions(
    tx: &mut Tx,
    promo: Option<i64>,
    account: Option<AccountId>,
    limit: i64,
) -> Result<Vec<Redemption>, StoreError> {
    all!(
        tx,
        Redemption,
        "select r.id, r.key, c.code, r.account_id, r.author, r.redeemed_ms, r.grant_id, r.payment_id, g.amount_micros \
         from promo_redemption r join promo_code c on c.id = r.promo_id left join credit_grant g on g.id = r.grant_id \
         where ($1 is null or r.promo_id = $1) and ($2 is null or r.account_id = $2) order by r.id desc limit $3",
        promo,
        account,
        limit
    )
}

/// Redemptions of a payer's accounts that wait for a payment, oldest first.
pub async fn list_waiting(tx: &mut Tx, payer: PayerId) -> Result<Vec<Redemption>, StoreError> {
    all!(
        tx,
        Redemption,
        "select r.id, r.key, c.code, r.account_id, r.author, r.redeemed_ms, r.grant_id, r.payment_id, \
           cast(null as bigint) as amount_micros \
         from promo_redemption r join promo_code c on c.id = r.promo_id join account a on a.id = r.account_id \
         where a.payer_id = $1 and r.grant_id is null order by r.id",
        payer
    )
}

/// How often an account has redeemed a code.
pub async fn count_redemptions(tx: &mut Tx, promo: i64, account: AccountId) -> Result<i64, StoreError> {
    scalar!(tx, i64, "select count(*) from promo_redemption where promo_id = $1 and account_id = $2", promo, account)
}

/// Keeps a redemption that gives nothing yet.
pub async fn insert_redemption(
    tx: &mut Tx,
    key: &str,
    promo: i64,
    account: AccountId,
    author: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "insert into promo_redemption (key, promo_id, account_id, author, redeemed_ms) values ($1, $2, $3, $4, $5) returning id",
        key,
        promo,
        account,
        author,
        now
    )
}

/// Notes the grant that a redemption became, with the payment that it waited for. Once.
pub async fn fulfil_redemption(
    tx: &mut Tx,
    id: i64,
    grant: i64,
    payment: Option<TransferId>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let changed = exec!(
        tx,
        "update promo_redemption set grant_id = $1, payment_id = $2, granted_ms = $3 where id = $4 and grant_id is null",
        grant,
        payment,
        now,
        id
    )?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Nonsense(format!("redemption {id} has its grant already"))) }
}
