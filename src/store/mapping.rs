//! Who is mapped to which account: bindings, e-mail rules, confirmed addresses, and people who wait.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{ids::AccountId, time::Timestamp};

/// A person mapped to an account.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct Binding {
    /// Its number.
    pub id: i64,
    /// Who vouches: `cloudstack`, or an OpenID issuer.
    pub issuer: String,
    /// The person at that issuer.
    pub subject: String,
    /// The CloudStack user that the person is, where it is one.
    pub cloud_user_id: Option<String>,
    /// The account.
    pub account_id: AccountId,
    /// owner, finance, viewer, cloud-admin.
    pub role: String,
    /// Who mapped it.
    pub mapped_by: String,
    /// The e-mail rule that it rests on.
    pub rule_id: Option<i64>,
    /// The confirmed address that it rests on.
    pub address_id: Option<i64>,
    /// The person's name, as the issuer last told.
    pub name: Option<String>,
    /// The person's address, as the issuer last told.
    pub email: Option<String>,
    /// When the person last signed in by it.
    pub seen_ms: Option<i64>,
}

/// A binding to be stored.
#[derive(Debug, Clone)]
pub struct NewBinding<'a> {
    /// Who vouches.
    pub issuer: &'a str,
    /// The person there.
    pub subject: &'a str,
    /// The CloudStack user that the person is.
    pub cloud_user_id: Option<&'a str>,
    /// The account.
    pub account: AccountId,
    /// owner, finance, viewer, cloud-admin.
    pub role: &'a str,
    /// Who maps.
    pub by: &'a str,
    /// The e-mail rule behind it.
    pub rule_id: Option<i64>,
    /// The confirmed address behind it.
    pub address_id: Option<i64>,
}

/// "Whoever has this verified address at that issuer is of this account."
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct EmailRule {
    /// Its number.
    pub id: i64,
    /// The issuer.
    pub issuer: String,
    /// The address, in lower case.
    pub email: String,
    /// The account.
    pub account_id: AccountId,
    /// owner, finance, viewer.
    pub role: String,
    /// The first who came with the address.
    pub bound_subject: Option<String>,
    /// Who made it.
    pub made_by: String,
}

/// An address that is known to be somebody's.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct ConfirmedAddress {
    /// Its number.
    pub id: i64,
    /// The account.
    pub account_id: AccountId,
    /// The CloudStack user; empty: nobody in particular.
    pub cloud_user_id: String,
    /// The address, in lower case.
    pub email: String,
    /// admin, mail.
    pub how: String,
    /// Who said so.
    pub confirmed_by: String,
}

/// A person whom an issuer vouches for and nobody has mapped.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct Unmatched {
    /// Its number.
    pub id: i64,
    /// The issuer.
    pub issuer: String,
    /// The person there.
    pub subject: String,
    /// The name that the issuer tells.
    pub name: String,
    /// The address that the issuer tells.
    pub email: String,
    /// Whether the issuer says that it was verified.
    pub email_verified: i64,
    /// Why no rule took the person in.
    pub why: String,
    /// How often the person came.
    pub times: i64,
    /// waiting, mapped, refused.
    pub state: String,
    /// When the person first came.
    pub first_ms: i64,
    /// When the person last came.
    pub last_ms: i64,
}

/// Maps a person to an account, or changes the role. What a person decided replaces what a rule had bound.
pub async fn put_binding(tx: &mut Tx, new: &NewBinding<'_>, now: Timestamp) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "insert into portal_user (issuer, subject, cloud_user_id, account_id, role, mapped_by, mapped_ms, rule_id, address_id) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (issuer, subject, account_id) do update set \
           role = excluded.role, cloud_user_id = excluded.cloud_user_id, mapped_by = excluded.mapped_by, \
           mapped_ms = excluded.mapped_ms, rule_id = excluded.rule_id, address_id = excluded.address_id returning id",
        new.issuer,
        new.subject,
        new.cloud_user_id,
        new.account,
        new.role,
        new.by,
        now,
        new.rule_id,
        new.address_id
    )
}

/// Everybody who is mapped, or everybody of one account.
pub async fn list_bindings(tx: &mut Tx, account: Option<AccountId>) -> Result<Vec<Binding>, StoreError> {
    all!(
        tx,
        Binding,
        "select id, issuer, subject, cloud_user_id, account_id, role, mapped_by, rule_id, address_id, name, email, seen_ms \
         from portal_user where account_id is not null and ($1 is null or account_id = $1) order by issuer, subject, id",
        account
    )
}

/// The bindings of one person.
pub async fn list_bindings_of(tx: &mut Tx, issuer: &str, subject: &str) -> Result<Vec<Binding>, StoreError> {
    all!(
        tx,
        Binding,
        "select id, issuer, subject, cloud_user_id, account_id, role, mapped_by, rule_id, address_id, name, email, seen_ms \
         from portal_user where issuer = $1 and subject = $2 and account_id is not null order by id",
        issuer,
        subject
    )
}

/// Takes a binding away; false where there is none.
pub async fn delete_binding(tx: &mut Tx, issuer: &str, subject: &str, account: AccountId) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "delete from portal_user where issuer = $1 and subject = $2 and account_id = $3",
        issuer,
        subject,
        account
    )? == 1)
}

/// Takes away what a rule or an address had bound.
pub async fn delete_bindings_by(tx: &mut Tx, rule: Option<i64>, address: Option<i64>) -> Result<u64, StoreError> {
    exec!(
        tx,
        "delete from portal_user where (rule_id is not null and rule_id = $1) or (address_id is not null and address_id = $2)",
        rule,
        address
    )
}

/// Whether somebody else of the issuer came with this confirmed address before.
pub async fn is_address_taken(tx: &mut Tx, issuer: &str, subject: &str, address: i64) -> Result<bool, StoreError> {
    let found = maybe!(
        tx,
        (i64,),
        "select id from portal_user where issuer = $1 and address_id = $2 and subject <> $3",
        issuer,
        address,
        subject
    )?;
    Ok(found.is_some())
}

/// Notes what the issuer told of a person at a sign-in.
pub async fn note_seen(
    tx: &mut Tx,
    (issuer, subject): (&str, &str),
    (name, email): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "update portal_user set name = $1, email = $2, seen_ms = $3 where issuer = $4 and subject = $5",
        name,
        email,
        now,
        issuer,
        subject
    )?;
    Ok(())
}

/// Makes an e-mail rule, or changes the role of one. Gives its number.
pub async fn put_email_rule(
    tx: &mut Tx,
    (issuer, email): (&str, &str),
    account: AccountId,
    role: &str,
    by: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let id = scalar!(
        tx,
        i64,
        "insert into email_rule (issuer, email, account_id, role, made_by, made_ms) values ($1, $2, $3, $4, $5, $6) \
         on conflict (issuer, email, account_id) do update set role = excluded.role, made_by = excluded.made_by, \
           made_ms = excluded.made_ms returning id",
        issuer,
        email,
        account,
        role,
        by,
        now
    )?;
    // Whoever was bound by it has its role.
    exec!(tx, "update portal_user set role = $1 where rule_id = $2", role, id)?;
    Ok(id)
}

/// Every e-mail rule.
pub async fn list_email_rules(tx: &mut Tx) -> Result<Vec<EmailRule>, StoreError> {
    all!(
        tx,
        EmailRule,
        "select id, issuer, email, account_id, role, bound_subject, made_by from email_rule order by issuer, email, id"
    )
}

/// The e-mail rules for an address.
pub async fn list_email_rules_for(tx: &mut Tx, issuer: &str, email: &str) -> Result<Vec<EmailRule>, StoreError> {
    all!(
        tx,
        EmailRule,
        "select id, issuer, email, account_id, role, bound_subject, made_by from email_rule \
         where issuer = $1 and email = $2 order by id",
        issuer,
        email
    )
}

/// Binds a rule to the first who comes with its address; false where it is another one's.
pub async fn bind_email_rule(tx: &mut Tx, rule: i64, subject: &str) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update email_rule set bound_subject = $1 where id = $2 and (bound_subject is null or bound_subject = $1)",
        subject,
        rule
    )? == 1)
}

/// Takes a rule away; None where there is none.
pub async fn delete_email_rule(tx: &mut Tx, id: i64) -> Result<Option<EmailRule>, StoreError> {
    maybe!(
        tx,
        EmailRule,
        "delete from email_rule where id = $1 returning id, issuer, email, account_id, role, bound_subject, made_by",
        id
    )
}

/// Notes that an address is somebody's; false where that is known.
pub async fn confirm_address(
    tx: &mut Tx,
    (account, cloud_user_id): (AccountId, &str),
    email: &str,
    (how, by): (&str, &str),
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "insert into confirmed_address (account_id, cloud_user_id, email, how, confirmed_by, confirmed_ms) \
         select $1, $2, $3, $4, $5, $6 where not exists (select 1 from confirmed_address \
           where account_id = $1 and cloud_user_id = $2 and email = $3 and ended_ms is null)",
        account,
        cloud_user_id,
        email,
        how,
        by,
        now
    )? == 1)
}

/// Confirmed addresses, of one account or of all.
pub async fn list_confirmed(tx: &mut Tx, account: Option<AccountId>) -> Result<Vec<ConfirmedAddress>, StoreError> {
    all!(
        tx,
        ConfirmedAddress,
        "select id, account_id, cloud_user_id, email, how, confirmed_by from confirmed_address \
         where ended_ms is null and ($1 is null or account_id = $1) order by account_id, cloud_user_id, email, id",
        account
    )
}

/// Whose a confirmed address is.
pub async fn list_confirmed_with(tx: &mut Tx, email: &str) -> Result<Vec<ConfirmedAddress>, StoreError> {
    all!(
        tx,
        ConfirmedAddress,
        "select id, account_id, cloud_user_id, email, how, confirmed_by from confirmed_address \
         where ended_ms is null and email = $1 order by id",
        email
    )
}

/// A confirmed address that still counts.
pub async fn find_confirmed(tx: &mut Tx, id: i64) -> Result<Option<ConfirmedAddress>, StoreError> {
    maybe!(
        tx,
        ConfirmedAddress,
        "select id, account_id, cloud_user_id, email, how, confirmed_by from confirmed_address \
         where ended_ms is null and id = $1",
        id
    )
}

/// Ends that an address counts; false where it did not.
pub async fn end_confirmed(tx: &mut Tx, id: i64, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update confirmed_address set ended_by = $1, ended_ms = $2 where id = $3 and ended_ms is null",
        by,
        now,
        id
    )? == 1)
}

/// Puts a person into the queue, or notes that the person came again. One who was refused stays so.
pub async fn put_unmatched(
    tx: &mut Tx,
    (issuer, subject): (&str, &str),
    (name, email, verified): (&str, &str, bool),
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into unmatched_person (issuer, subject, name, email, email_verified, why, times, state, first_ms, last_ms) \
         values ($1, $2, $3, $4, $5, $6, 1, 'waiting', $7, $7) on conflict (issuer, subject) do update set \
           name = excluded.name, email = excluded.email, email_verified = excluded.email_verified, why = excluded.why, \
           times = unmatched_person.times + 1, last_ms = excluded.last_ms, \
           state = case when unmatched_person.state = 'mapped' then 'waiting' else unmatched_person.state end",
        issuer,
        subject,
        name,
        email,
        i64::from(verified),
        why,
        now
    )?;
    Ok(())
}

/// How many people wait.
pub async fn count_waiting(tx: &mut Tx) -> Result<i64, StoreError> {
    scalar!(tx, i64, "select count(*) from unmatched_person where state = 'waiting'")
}

/// Whether a person stands in the queue, in whatever state.
pub async fn find_unmatched(tx: &mut Tx, issuer: &str, subject: &str) -> Result<Option<Unmatched>, StoreError> {
    maybe!(
        tx,
        Unmatched,
        "select id, issuer, subject, name, email, email_verified, why, times, state, first_ms, last_ms \
         from unmatched_person where issuer = $1 and subject = $2",
        issuer,
        subject
    )
}

/// A line of the queue.
pub async fn get_unmatched(tx: &mut Tx, id: i64) -> Result<Unmatched, StoreError> {
    maybe!(
        tx,
        Unmatched,
        "select id, issuer, subject, name, email, email_verified, why, times, state, first_ms, last_ms \
         from unmatched_person where id = $1",
        id
    )?
    .ok_or_else(|| StoreError::Missing(format!("nobody waits under number {id}; `bursar user queue` shows who does")))
}

/// People in a state, oldest first.
pub async fn list_unmatched(tx: &mut Tx, state: &str, limit: i64) -> Result<Vec<Unmatched>, StoreError> {
    all!(
        tx,
        Unmatched,
        "select id, issuer, subject, name, email, email_verified, why, times, state, first_ms, last_ms \
         from unmatched_person where state = $1 order by id limit $2",
        state,
        limit
    )
}

/// Notes what became of a person in the queue.
pub async fn settle_unmatched(
    tx: &mut Tx,
    (issuer, subject): (&str, &str),
    state: &str,
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update unmatched_person set state = $1, decided_by = $2, decided_ms = $3 where issuer = $4 and subject = $5",
        state,
        by,
        now,
        issuer,
        subject
    )? == 1)
}

/// A binding that has lost what it stood on: the account, or the CloudStack user.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct Orphan {
    /// The binding's number.
    pub id: i64,
    /// Who vouches.
    pub issuer: String,
    /// The person there.
    pub subject: String,
    /// The account.
    pub account_id: AccountId,
    /// owner, finance, viewer, cloud-admin.
    pub role: String,
    /// account-gone, user-gone, user-moved, user-disabled.
    pub why: String,
}

/// Bindings that let nobody in any more.
pub async fn list_orphans(tx: &mut Tx) -> Result<Vec<Orphan>, StoreError> {
    all!(
        tx,
        Orphan,
        "select p.id, p.issuer, p.subject, p.account_id, p.role, \
           case when a.gone_ms is not null then 'account-gone' \
             when u.cloud_id is null or u.gone_ms is not null then 'user-gone' \
             when u.account_id <> p.account_id then 'user-moved' else 'user-disabled' end as why \
         from portal_user p join account a on a.id = p.account_id \
         left join cloud_user u on u.cloud_id = p.cloud_user_id \
         where a.gone_ms is not null or (p.issuer <> 'cloudstack' and p.cloud_user_id is not null and ( \
             u.cloud_id is null or u.gone_ms is not null or u.account_id <> p.account_id or u.state <> 'enabled')) \
           or (p.issuer = 'cloudstack' and (u.cloud_id is null or u.gone_ms is not null)) \
         order by p.issuer, p.subject, p.id"
    )
}

/// The CloudStack user of this id, if CloudStack still has it.
pub async fn find_cloud_user(tx: &mut Tx, id: &str) -> Result<Option<super::cloud::CloudUser>, StoreError> {
    maybe!(
        tx,
        super::cloud::CloudUser,
        "select cloud_id, account_id, username, first_name, last_name, email, state, source from cloud_user \
         where cloud_id = $1 and gone_ms is null",
        id
    )
}
