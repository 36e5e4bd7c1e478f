//! Transfers, entries, balances, limits, grants and epochs.

use std::collections::HashMap;

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, PayerId, TransferId},
    ledger::rules::Grant,
    money::Money,
    time::{Day, Timestamp},
};

/// Where an entry goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LedgerAccount {
    /// What a payer has; below zero: owes.
    Payer(PayerId),
    /// What is left of a grant.
    Grant(PayerId, i64),
    /// Sales by usage type.
    Revenue(i64),
    /// Tax collected.
    Tax,
    /// Money received.
    Received,
    /// Credit given away.
    Promotion,
    /// Balances brought in from before bursar.
    Opening,
    /// Corrections by hand.
    Adjustment,
    /// Between two payers that are joined: always zero once a join is through.
    Joined,
}

impl LedgerAccount {
    fn name(self) -> String {
        match self {
            Self::Payer(id) => format!("payer:{id}"),
            Self::Grant(_, id) => format!("grant:{id}"),
            Self::Revenue(usage_type) => format!("revenue:{usage_type}"),
            Self::Tax => "tax".to_owned(),
            Self::Received => "received".to_owned(),
            Self::Promotion => "promotion".to_owned(),
            Self::Opening => "opening".to_owned(),
            Self::Adjustment => "adjustment".to_owned(),
            Self::Joined => "joined".to_owned(),
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Payer(_) => "payer",
            Self::Grant(..) => "grant",
            Self::Revenue(_) => "revenue",
            Self::Tax => "tax",
            Self::Received => "received",
            Self::Promotion => "promotion",
            Self::Opening => "opening",
            Self::Adjustment => "adjustment",
            Self::Joined => "joined",
        }
    }

    const fn payer(self) -> Option<PayerId> {
        match self {
            Self::Payer(id) | Self::Grant(id, _) => Some(id),
            _ => None,
        }
    }

    const fn grant(self) -> Option<i64> {
        match self {
            Self::Grant(_, id) => Some(id),
            _ => None,
        }
    }
}

/// A transfer to be posted. It balances or is refused.
#[derive(Debug, Clone)]
pub struct NewTransfer {
    /// Made by the caller before the call; posting the same again changes nothing.
    pub key: String,
    /// charge, correction, payment, refund, grant, grant-revoke, grant-expiry, opening, adjustment, join.
    pub kind: &'static str,
    /// Whose it is.
    pub payer: PayerId,
    /// When it counts.
    pub at: Timestamp,
    /// Who caused it.
    pub author: String,
    /// Why, for people.
    pub reason: String,
    /// The amounts; their sum is zero.
    pub entries: Vec<(LedgerAccount, Money)>,
    /// For charges: account, day, usage type, number of the posting.
    pub charge: Option<(AccountId, Day, i64, i64)>,
}

/// A transfer as pages and `explain` show it.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct TransferRow {
    /// Its number.
    pub id: i64,
    /// The caller's key.
    pub key: String,
    /// charge, correction, payment, refund, grant, grant-revoke, grant-expiry, opening, adjustment, join.
    pub kind: String,
    /// When it counts.
    pub at_ms: i64,
    /// Who caused it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// What it did to the payer's money and grants together.
    pub amount_micros: i64,
}

async fn ledger_account_id(tx: &mut Tx, account: LedgerAccount) -> Result<i64, StoreError> {
    let name = account.name();
    if let Some((id,)) = maybe!(tx, (i64,), "select id from ledger_account where name = $1", &name)? {
        return Ok(id);
    }
    scalar!(
        tx,
        i64,
        "insert into ledger_account (kind, payer_id, grant_id, name) values ($1, $2, $3, $4) \
         on conflict (name) do update set name = excluded.name returning id",
        account.kind(),
        account.payer(),
        account.grant(),
        &name
    )
}

/// Posts a transfer. The same key with the same content is the same transfer; with another content it is refused.
pub async fn post(tx: &mut Tx, transfer: &NewTransfer, now: Timestamp) -> Result<TransferId, StoreError> {
    post_linked(tx, transfer, None, now).await
}

/// As [`post`], for a transfer that undoes part of another one: the refund of a payment.
pub async fn post_linked(
    tx: &mut Tx,
    transfer: &NewTransfer,
    of: Option<TransferId>,
    now: Timestamp,
) -> Result<TransferId, StoreError> {
    let nonsense = |what: &str| StoreError::Nonsense(format!("transfer {}: {what}", transfer.key));
    let sum =
        Money::sum(transfer.entries.iter().map(|(_, amount)| *amount)).map_err(|error| nonsense(&error.to_string()))?;
    if !sum.is_zero() || transfer.entries.len() < 2 {
        return Err(nonsense("its entries do not balance"));
    }
    let content = content_of(transfer, of);
    if let Some(known) = find_same(tx, &transfer.key, &content).await? {
        return Ok(known);
    }
    let (account, day, usage_type, number) =
        transfer.charge.map_or((None, None, None, None), |(a, d, t, n)| (Some(a), Some(d), Some(t), Some(n)));
    let inserted = maybe!(
        tx,
        (i64,),
        "insert into transfer (key, kind, payer_id, at_ms, posted_ms, author, reason, content, account_id, day, \
           usage_type, number, of_transfer_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         on conflict (key) do nothing returning id",
        &transfer.key,
        transfer.kind,
        transfer.payer,
        transfer.at,
        now,
        &transfer.author,
        &transfer.reason,
        &content,
        account,
        day,
        usage_type,
        number,
        of
    )?;
    let Some((id,)) = inserted else {
        // Somebody else posted it since we looked.
        return find_same(tx, &transfer.key, &content)
            .await?
            .ok_or_else(|| nonsense("it vanished while it was posted"));
    };
    for (line, (account, amount)) in transfer.entries.iter().enumerate() {
        let ledger_account = ledger_account_id(tx, *account).await?;
        exec!(
            tx,
            "insert into entry (transfer_id, line, ledger_account_id, amount_micros) values ($1, $2, $3, $4)",
            id,
            i64::try_from(line).unwrap_or(i64::MAX),
            ledger_account,
            amount.as_micros()
        )?;
        let balance = scalar!(
            tx,
            i64,
            "insert into balance (ledger_account_id, amount_micros) values ($1, $2) \
             on conflict (ledger_account_id) do update set amount_micros = balance.amount_micros + excluded.amount_micros \
             returning amount_micros",
            ledger_account,
            amount.as_micros()
        )?;
        if let LedgerAccount::Grant(_, grant) = account {
            // The last line of defence, whoever reckoned: the balance's row is ours until the commit.
            let granted = scalar!(tx, i64, "select amount_micros from credit_grant where id = $1", grant)?;
            if !(0..=granted).contains(&balance) {
                let (left, granted) = (Money::from_micros(balance), Money::from_micros(granted));
                return Err(nonsense(&format!("{left} would be left of grant {grant}, which is of {granted}")));
            }
        }
    }
    Ok(TransferId::new(id))
}

fn content_of(transfer: &NewTransfer, of: Option<TransferId>) -> String {
    let mut content = blake3::Hasher::new();
    content.update(transfer.kind.as_bytes());
    content.update(&transfer.payer.get().to_be_bytes());
    for (account, amount) in &transfer.entries {
        content.update(account.name().as_bytes());
        content.update(&amount.as_micros().to_be_bytes());
    }
    if let Some(of) = of {
        content.update(b"of");
        content.update(&of.get().to_be_bytes());
    }
    content.finalize().to_hex().to_string()
}

/// The transfer that this key was used for, if it is the same; another one is refused.
async fn find_same(tx: &mut Tx, key: &str, content: &str) -> Result<Option<TransferId>, StoreError> {
    match maybe!(tx, (i64, String), "select id, content from transfer where key = $1", key)? {
        None => Ok(None),
        Some((id, stored)) if stored == content => Ok(Some(TransferId::new(id))),
        Some(_) => Err(used_before(key, "transfer")),
    }
}

/// The refusal of a key that was used for something else.
pub(super) fn used_before(key: &str, what: &str) -> StoreError {
    StoreError::Exists(format!("the key \"{key}\" was used before for something else; a new {what} wants a new key"))
}

/// The balance of a ledger account, zero where nothing was posted.
pub async fn get_balance(tx: &mut Tx, account: LedgerAccount) -> Result<Money, StoreError> {
    let row = maybe!(
        tx,
        (i64,),
        "select b.amount_micros from balance b join ledger_account a on a.id = b.ledger_account_id where a.name = $1",
        account.name()
    )?;
    Ok(row.map_or(Money::ZERO, |(micros,)| Money::from_micros(micros)))
}

#[derive(sqlx::FromRow)]
struct GrantRow {
    id: i64,
    payer_id: i64,
    amount_micros: i64,
    starts_ms: i64,
    ends_ms: Option<i64>,
    closed_ms: Option<i64>,
    priority: i64,
    scope_usage_type: Option<i64>,
    left_micros: i64,
}

impl GrantRow {
    fn into_grant(self) -> (PayerId, Grant) {
        (
            PayerId::new(self.payer_id),
            Grant {
                id: self.id,
                amount: Money::from_micros(self.amount_micros),
                left: Money::from_micros(self.left_micros),
                starts: Timestamp::from_ms(self.starts_ms),
                // A grant that was revoked or moved has ended there.
                ends: self.ends_ms.into_iter().chain(self.closed_ms).min().map(Timestamp::from_ms),
                priority: self.priority,
                scope_usage_type: self.scope_usage_type,
            },
        )
    }
}

/// Grants of one payer, or of all.
pub async fn list_grants(tx: &mut Tx, payer: Option<PayerId>) -> Result<Vec<(PayerId, Grant)>, StoreError> {
    // In two statements: for "any payer, or this one" SQLite uses no index.
    let rows = match payer {
        Some(payer) => all!(
            tx,
            GrantRow,
            "select g.id, g.payer_id, g.amount_micros, g.starts_ms, g.ends_ms, g.closed_ms, g.priority, g.scope_usage_type, \
               coalesce(b.amount_micros, 0) as left_micros \
             from credit_grant g left join ledger_account a on a.grant_id = g.id and a.kind = 'grant' \
               left join balance b on b.ledger_account_id = a.id \
             where g.payer_id = $1 order by g.id",
            payer
        ),
        None => all!(
            tx,
            GrantRow,
            "select g.id, g.payer_id, g.amount_micros, g.starts_ms, g.ends_ms, g.closed_ms, g.priority, g.scope_usage_type, \
               coalesce(b.amount_micros, 0) as left_micros \
             from credit_grant g left join ledger_account a on a.grant_id = g.id and a.kind = 'grant' \
               left join balance b on b.ledger_account_id = a.id \
             order by g.id"
        ),
    }?;
    Ok(rows.into_iter().map(GrantRow::into_grant).collect())
}

/// How much each grant has paid for a charge so far: (grant, amount).
pub async fn list_paid_by(
    tx: &mut Tx,
    account: AccountId,
    day: Day,
    usage_type: i64,
) -> Result<Vec<(i64, Money)>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64),
        "select a.grant_id, cast(-sum(e.amount_micros) as bigint) from transfer t join entry e on e.transfer_id = t.id \
           join ledger_account a on a.id = e.ledger_account_id \
         where t.account_id = $1 and t.day = $2 and t.usage_type = $3 and a.kind = 'grant' \
         group by a.grant_id order by a.grant_id",
        account,
        day,
        usage_type
    )?;
    Ok(rows.into_iter().map(|(grant, micros)| (grant, Money::from_micros(micros))).collect())
}

/// Sets a payer's credit limit, or takes the payer out of management. The same key again changes nothing (false); for
/// another payer or another amount it is refused.
pub async fn insert_limit(
    tx: &mut Tx,
    key: &str,
    payer: PayerId,
    amount: Option<Money>,
    author: &str,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let micros = amount.map(Money::as_micros);
    let inserted = exec!(
        tx,
        "insert into credit_limit (key, payer_id, amount_micros, author, reason, set_ms) values ($1, $2, $3, $4, $5, $6) \
         on conflict (key) do nothing",
        key,
        payer,
        micros,
        author,
        reason,
        now
    )?;
    if inserted == 1 {
        return Ok(true);
    }
    let known: (i64, Option<i64>) =
        maybe!(tx, (i64, Option<i64>), "select payer_id, amount_micros from credit_limit where key = $1", key)?
            .ok_or_else(|| StoreError::Nonsense(format!("the limit \"{key}\" vanished while it was set")))?;
    if known == (payer.get(), micros) { Ok(false) } else { Err(used_before(key, "limit")) }
}

/// The newest limit of every payer that ever had one: None inside means "not managed, whatever the default".
pub async fn list_limits(tx: &mut Tx) -> Result<HashMap<PayerId, Option<Money>>, StoreError> {
    let rows = all!(
        tx,
        (i64, Option<i64>),
        "select payer_id, amount_micros from credit_limit where id in (select max(id) from credit_limit group by payer_id) \
         order by payer_id"
    )?;
    Ok(rows.into_iter().map(|(payer, micros)| (PayerId::new(payer), micros.map(Money::from_micros))).collect())
}

/// The limit of a payer; None: never set.
pub async fn find_limit(tx: &mut Tx, payer: PayerId) -> Result<Option<Option<Money>>, StoreError> {
    let row = maybe!(
        tx,
        (Option<i64>,),
        "select amount_micros from credit_limit where payer_id = $1 order by id desc limit 1",
        payer
    )?;
    Ok(row.map(|(micros,)| micros.map(Money::from_micros)))
}

/// The newest epoch of a payer: its number, and what was available when it began.
pub async fn find_epoch(tx: &mut Tx, payer: PayerId) -> Result<Option<(i64, Money)>, StoreError> {
    let row = maybe!(
        tx,
        (i64, i64),
        "select id, available_micros from epoch where payer_id = $1 order by id desc limit 1",
        payer
    )?;
    Ok(row.map(|(id, micros)| (id, Money::from_micros(micros))))
}

/// Charges and corrections of one payer posted for days in `[first, until)`, gross, and the first of these days with a charge.
pub async fn get_charged(
    tx: &mut Tx,
    payer: PayerId,
    first: Day,
    until: Day,
) -> Result<(Money, Option<Day>), StoreError> {
    let row = maybe!(
        tx,
        (i64, Option<i64>),
        "select cast(coalesce(sum(posted_net_micros + posted_tax_micros), 0) as bigint), \
           min(case when net_nanos <> 0 then day end) from charge_day \
         where account_id in (select id from account where payer_id = $1) and day >= $2 and day < $3",
        payer,
        first,
        until
    )?;
    let (micros, day) = row.unwrap_or_default();
    Ok((Money::from_micros(micros), day.map(Day::from_number)))
}

/// Opens an epoch of a payer.
pub async fn open_epoch(
    tx: &mut Tx,
    payer: PayerId,
    cause: &str,
    available: Money,
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into epoch (payer_id, opened_ms, cause, available_micros) values ($1, $2, $3, $4)",
        payer,
        now,
        cause,
        available.as_micros()
    )?;
    Ok(())
}

/// The newest epoch of every payer: (number, available right after it opened, opened).
pub async fn list_epochs(tx: &mut Tx) -> Result<HashMap<PayerId, (i64, Money, Timestamp)>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64, i64, i64),
        "select payer_id, id, available_micros, opened_ms from epoch where id in (select max(id) from epoch group by payer_id) \
         order by payer_id"
    )?;
    Ok(rows
        .into_iter()
        .map(|(payer, id, micros, opened)| {
            (PayerId::new(payer), (id, Money::from_micros(micros), Timestamp::from_ms(opened)))
        })
        .collect())
}

/// What every payer has in money.
pub async fn list_money(tx: &mut Tx) -> Result<HashMap<PayerId, Money>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64),
        "select a.payer_id, b.amount_micros from ledger_account a join balance b on b.ledger_account_id = a.id \
         where a.kind = 'payer' order by a.payer_id"
    )?;
    Ok(rows.into_iter().map(|(payer, micros)| (PayerId::new(payer), Money::from_micros(micros))).collect())
}

/// Charges and corrections of each payer posted for days in `[first, until)`, gross.
pub async fn list_charged(tx: &mut Tx, first: Day, until: Day) -> Result<HashMap<PayerId, Money>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64),
        "select a.payer_id, cast(coalesce(sum(d.posted_net_micros + d.posted_tax_micros), 0) as bigint) \
         from charge_day d join account a on a.id = d.account_id where d.day >= $1 and d.day < $2 \
         group by a.payer_id order by a.payer_id",
        first,
        until
    )?;
    Ok(rows.into_iter().map(|(payer, micros)| (PayerId::new(payer), Money::from_micros(micros))).collect())
}

/// The newest transfers of a payer, with what they did to money and grants together.
pub async fn list_transfers(tx: &mut Tx, payer: PayerId, limit: i64) -> Result<Vec<TransferRow>, StoreError> {
    all!(
        tx,
        TransferRow,
        "select t.id, t.key, t.kind, t.at_ms, t.author, t.reason, \
           cast(coalesce(sum(case when a.kind in ('payer', 'grant') then e.amount_micros else 0 end), 0) as bigint) as amount_micros \
         from transfer t join entry e on e.transfer_id = t.id join ledger_account a on a.id = e.ledger_account_id \
         where t.payer_id = $1 group by t.id, t.key, t.kind, t.at_ms, t.author, t.reason order by t.id desc limit $2",
        payer,
        limit
    )
}

/// Transfers whose entries do not sum to zero: there must be none.
pub async fn list_unbalanced(tx: &mut Tx) -> Result<Vec<(i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64),
        "select t.id, cast(coalesce(sum(e.amount_micros), 0) as bigint) from transfer t left join entry e on e.transfer_id = t.id \
         group by t.id having coalesce(sum(e.amount_micros), 0) <> 0 or count(e.line) < 2 order by t.id"
    )
}

/// Ledger accounts whose derived balance differs from their entries: (name, derived, from entries).
pub async fn list_wrong_balances(tx: &mut Tx) -> Result<Vec<(String, i64, i64)>, StoreError> {
    all!(
        tx,
        (String, i64, i64),
        "select a.name, coalesce(b.amount_micros, 0), cast(coalesce(sum(e.amount_micros), 0) as bigint) \
         from ledger_account a left join balance b on b.ledger_account_id = a.id \
           left join entry e on e.ledger_account_id = a.id \
         group by a.name, b.amount_micros \
         having coalesce(b.amount_micros, 0) <> coalesce(sum(e.amount_micros), 0) order by a.name"
    )
}

/// What each payer was charged by the ledger for each account, day and type: (account, day, type, net, tax).
pub async fn list_posted(tx: &mut Tx) -> Result<Vec<(i64, i64, i64, i64, i64)>, StoreError> {
    all!(
        tx,
        (i64, i64, i64, i64, i64),
        "select t.account_id, t.day, t.usage_type, \
           cast(coalesce(sum(case when a.kind = 'revenue' then e.amount_micros else 0 end), 0) as bigint), \
           cast(coalesce(sum(case when a.kind = 'tax' then e.amount_micros else 0 end), 0) as bigint) \
         from transfer t join entry e on e.transfer_id = t.id join ledger_account a on a.id = e.ledger_account_id \
         where t.account_id is not null group by t.account_id, t.day, t.usage_type \
         order by t.account_id, t.day, t.usage_type"
    )
}

/// The transfer of a key, if it was posted.
pub async fn find_transfer(tx: &mut Tx, key: &str) -> Result<Option<TransferId>, StoreError> {
    Ok(maybe!(tx, (i64,), "select id from transfer where key = $1", key)?.map(|(id,)| TransferId::new(id)))
}

/// The grant that a transfer gave.
pub async fn find_grant_of(tx: &mut Tx, transfer: TransferId) -> Result<Option<i64>, StoreError> {
    Ok(maybe!(
        tx,
        (i64,),
        "select a.grant_id from entry e join ledger_account a on a.id = e.ledger_account_id \
         where e.transfer_id = $1 and a.grant_id is not null order by e.line limit 1",
        transfer
    )?
    .map(|(id,)| id))
}

/// A transfer as a refund needs it: what it brought in, and what was paid back of it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Refundable {
    /// Its number.
    pub id: TransferId,
    /// payment, or what it is instead.
    pub kind: String,
    /// Whose it is.
    pub payer_id: PayerId,
    /// What it brought the payer.
    pub amount_micros: i64,
    /// What was paid back of it.
    pub refunded_micros: i64,
}

/// The transfer of a number or of a key (with or without `payment/`), with what was paid back of it.
pub async fn find_refundable(tx: &mut Tx, word: &str) -> Result<Option<Refundable>, StoreError> {
    maybe!(
        tx,
        Refundable,
        "select t.id, t.kind, t.payer_id, \
           cast(coalesce((select sum(e.amount_micros) from entry e join ledger_account a on a.id = e.ledger_account_id \
             where e.transfer_id = t.id and a.kind = 'payer'), 0) as bigint) as amount_micros, \
           cast(coalesce((select -sum(e.amount_micros) from transfer r join entry e on e.transfer_id = r.id \
             join ledger_account a on a.id = e.ledger_account_id \
             where r.of_transfer_id = t.id and a.kind = 'payer'), 0) as bigint) as refunded_micros \
         from transfer t where cast(t.id as text) = $1 or t.key = $1 or t.key = 'payment/' || $1 \
         order by case when t.key = $1 or t.key = 'payment/' || $1 then 0 else 1 end, t.id limit 1",
        word
    )
}

/// The first day in `[first, until)` on which each payer was charged.
pub async fn list_first_charged(tx: &mut Tx, first: Day, until: Day) -> Result<HashMap<PayerId, Day>, StoreError> {
    let rows = all!(
        tx,
        (i64, i64),
        "select a.payer_id, min(d.day) from charge_day d join account a on a.id = d.account_id \
         where d.day >= $1 and d.day < $2 and d.net_nanos <> 0 group by a.payer_id order by a.payer_id",
        first,
        until
    )?;
    Ok(rows.into_iter().map(|(payer, day)| (PayerId::new(payer), Day::from_number(day))).collect())
}
