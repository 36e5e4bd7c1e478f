//! The mirror of CloudStack's domains, accounts, users and projects, and the payers.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{
    ids::{AccountId, PayerId},
    time::Timestamp,
};

/// A domain as CloudStack reports it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct Domain {
    /// CloudStack's id.
    pub cloud_id: String,
    /// The parent's id; None for ROOT.
    pub parent_id: Option<String>,
    /// Its name.
    pub name: String,
    /// Its path, such as `ROOT/acme`.
    pub path: String,
}

/// An account as CloudStack reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenAccount {
    /// CloudStack's id.
    pub cloud_id: String,
    /// Its name, unique within its domain only.
    pub name: String,
    /// The domain's id.
    pub domain_id: String,
    /// The domain's path.
    pub domain_path: String,
    /// CloudStack's account type: 0 user, 1 root admin, 2 domain admin, 3 resource admin, 4 read-only admin.
    pub account_type: i64,
    /// User, `DomainAdmin`, `ResourceAdmin`, Admin.
    pub role_type: String,
    /// enabled, locked, disabled.
    pub state: String,
}

/// An account as bursar keeps it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct Account {
    /// Number in the store.
    pub id: AccountId,
    /// CloudStack's id.
    pub cloud_id: String,
    /// Who pays for it.
    pub payer_id: PayerId,
    /// Its name, unique within its domain only.
    pub name: String,
    /// The domain's id.
    pub domain_id: String,
    /// The domain's path.
    pub domain_path: String,
    /// CloudStack's account type.
    pub account_type: i64,
    /// User, `DomainAdmin`, `ResourceAdmin`, Admin.
    pub role_type: String,
    /// enabled, locked, disabled, as last seen.
    pub state: String,
    /// The state in which bursar first met it.
    pub first_state: String,
    /// When it vanished from CloudStack.
    pub gone_ms: Option<Timestamp>,
}

impl Account {
    /// As people name it: `ROOT/acme/carol`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.domain_path, self.name)
    }
}

/// A CloudStack user.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct CloudUser {
    /// CloudStack's id.
    pub cloud_id: String,
    /// The account it belongs to.
    pub account_id: AccountId,
    /// Sign-in name.
    pub username: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// E-mail address, if CloudStack has one.
    pub email: Option<String>,
    /// enabled, disabled, locked.
    pub state: String,
    /// native, ldap, saml2 …
    pub source: Option<String>,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct Project {
    /// Number in the store.
    pub id: i64,
    /// CloudStack's id.
    pub cloud_id: String,
    /// The account that owns it and pays for it.
    pub owner_account_id: Option<AccountId>,
    /// Its name.
    pub name: String,
    /// The domain's id.
    pub domain_id: String,
    /// Active, Suspended …
    pub state: String,
}

/// A payer.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct Payer {
    /// Number in the store.
    pub id: PayerId,
    /// A name for people.
    pub name: String,
    /// account or customer.
    pub kind: String,
    /// First billing day, where it differs from the cloud's.
    pub billing_start_day: Option<i64>,
    /// Tax rate in percent, where it differs from the cloud's.
    pub tax_percent: Option<String>,
}

/// What changed when an account was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Seen for the first time.
    New,
    /// A field differs from what was stored.
    Changed,
    /// As stored.
    Same,
}

/// Stores a domain as seen now.
pub async fn put_domain(tx: &mut Tx, domain: &Domain, now: Timestamp) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into domain (cloud_id, parent_id, name, path, seen_ms) values ($1, $2, $3, $4, $5) \
         on conflict (cloud_id) do update set parent_id = excluded.parent_id, name = excluded.name, \
           path = excluded.path, seen_ms = excluded.seen_ms, gone_ms = null",
        &domain.cloud_id,
        &domain.parent_id,
        &domain.name,
        &domain.path,
        now
    )?;
    Ok(())
}

/// Domains that are in CloudStack.
pub async fn list_domains(tx: &mut Tx) -> Result<Vec<Domain>, StoreError> {
    all!(tx, Domain, "select cloud_id, parent_id, name, path from domain where gone_ms is null order by path, cloud_id")
}

/// Stores an account as seen now; a new one gets a payer of its own.
pub async fn put_account(tx: &mut Tx, seen: &SeenAccount, now: Timestamp) -> Result<(AccountId, Change), StoreError> {
    if let Some(stored) = find_account_by_cloud_id(tx, &seen.cloud_id).await? {
        let same = stored.name == seen.name
            && stored.domain_id == seen.domain_id
            && stored.domain_path == seen.domain_path
            && stored.account_type == seen.account_type
            && stored.role_type == seen.role_type
            && stored.state == seen.state
            && stored.gone_ms.is_none();
        if same {
            return Ok((stored.id, Change::Same));
        }
        exec!(
            tx,
            "update account set name = $1, domain_id = $2, domain_path = $3, account_type = $4, role_type = $5, \
               state = $6, seen_ms = $7, gone_ms = null where id = $8",
            &seen.name,
            &seen.domain_id,
            &seen.domain_path,
            seen.account_type,
            &seen.role_type,
            &seen.state,
            now,
            stored.id
        )?;
        return Ok((stored.id, Change::Changed));
    }
    let payer_id = scalar!(
        tx,
        i64,
        "insert into payer (name, kind, created_ms) values ($1, 'account', $2) returning id",
        format!("{}/{}", seen.domain_path, seen.name),
        now
    )?;
    let id = scalar!(
        tx,
        i64,
        "insert into account (cloud_id, payer_id, name, domain_id, domain_path, account_type, role_type, state, \
           first_state, first_seen_ms, seen_ms) values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $9) returning id",
        &seen.cloud_id,
        payer_id,
        &seen.name,
        &seen.domain_id,
        &seen.domain_path,
        seen.account_type,
        &seen.role_type,
        &seen.state,
        now
    )?;
    Ok((AccountId::new(id), Change::New))
}

/// Notes that an account is no longer in CloudStack.
pub async fn mark_account_gone(tx: &mut Tx, id: AccountId, now: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "update account set gone_ms = $1 where id = $2 and gone_ms is null", now, id)?;
    Ok(())
}

/// Notes the state that an account was just read in.
pub async fn put_account_state(tx: &mut Tx, id: AccountId, state: &str, now: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "update account set state = $1, seen_ms = $2 where id = $3", state, now, id)?;
    Ok(())
}

/// Every account, also those gone.
pub async fn list_accounts(tx: &mut Tx) -> Result<Vec<Account>, StoreError> {
    all!(
        tx,
        Account,
        "select id, cloud_id, payer_id, name, domain_id, domain_path, account_type, role_type, state, first_state, gone_ms \
         from account order by domain_path, name, id"
    )
}

/// An account by its number.
pub async fn get_account(tx: &mut Tx, id: AccountId) -> Result<Account, StoreError> {
    maybe!(
        tx,
        Account,
        "select id, cloud_id, payer_id, name, domain_id, domain_path, account_type, role_type, state, first_state, gone_ms \
         from account where id = $1",
        id
    )?
    .ok_or_else(|| StoreError::Missing(format!("there is no account number {id}")))
}

/// An account by CloudStack's id.
pub async fn find_account_by_cloud_id(tx: &mut Tx, cloud_id: &str) -> Result<Option<Account>, StoreError> {
    maybe!(
        tx,
        Account,
        "select id, cloud_id, payer_id, name, domain_id, domain_path, account_type, role_type, state, first_state, gone_ms \
         from account where cloud_id = $1",
        cloud_id
    )
}

/// The account that a person means by `carol`, `ROOT/acme/carol` or a CloudStack id. A name that two domains have is
/// refused with the full names to choose from.
pub async fn resolve_account(tx: &mut Tx, word: &str) -> Result<Account, StoreError> {
    let matches: Vec<Account> = list_accounts(tx)
        .await?
        .into_iter()
        .filter(|account| account.cloud_id == word || account.name == word || account.full_name() == word)
        .collect();
    let present: Vec<&Account> = matches.iter().filter(|account| account.gone_ms.is_none()).collect();
    let candidates: Vec<&Account> = if present.is_empty() { matches.iter().collect() } else { present };
    match candidates.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(StoreError::Missing(format!(
            "no account is called \"{word}\". `bursar account list` shows them; after a new account, run `bursar sync`"
        ))),
        several => {
            let names: Vec<String> =
                several.iter().map(|account| format!("{} ({})", account.full_name(), account.cloud_id)).collect();
            Err(StoreError::Missing(format!(
                "\"{word}\" is the name of {} accounts; name one in full or by id: {}",
                several.len(),
                names.join(", ")
            )))
        }
    }
}

/// Stores a user as seen now.
pub async fn put_user(tx: &mut Tx, user: &CloudUser, now: Timestamp) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into cloud_user (cloud_id, account_id, username, first_name, last_name, email, state, source, seen_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         on conflict (cloud_id) do update set account_id = excluded.account_id, username = excluded.username, \
           first_name = excluded.first_name, last_name = excluded.last_name, email = excluded.email, \
           state = excluded.state, source = excluded.source, seen_ms = excluded.seen_ms, gone_ms = null",
        &user.cloud_id,
        user.account_id,
        &user.username,
        &user.first_name,
        &user.last_name,
        &user.email,
        &user.state,
        &user.source,
        now
    )?;
    Ok(())
}

/// Notes that a user is no longer in CloudStack.
pub async fn mark_user_gone(tx: &mut Tx, cloud_id: &str, now: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "update cloud_user set gone_ms = $1 where cloud_id = $2 and gone_ms is null", now, cloud_id)?;
    Ok(())
}

/// Users that are in CloudStack, of one account or of all.
pub async fn list_users(tx: &mut Tx, account: Option<AccountId>) -> Result<Vec<CloudUser>, StoreError> {
    all!(
        tx,
        CloudUser,
        "select cloud_id, account_id, username, first_name, last_name, email, state, source from cloud_user \
         where gone_ms is null and ($1 is null or account_id = $1) order by account_id, username, cloud_id",
        account
    )
}

/// Stores a project as seen now and gives its number.
pub async fn put_project(tx: &mut Tx, project: &Project, now: Timestamp) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "insert into project (cloud_id, owner_account_id, name, domain_id, state, seen_ms) values ($1, $2, $3, $4, $5, $6) \
         on conflict (cloud_id) do update set owner_account_id = excluded.owner_account_id, name = excluded.name, \
           domain_id = excluded.domain_id, state = excluded.state, seen_ms = excluded.seen_ms, gone_ms = null \
         returning id",
        &project.cloud_id,
        project.owner_account_id,
        &project.name,
        &project.domain_id,
        &project.state,
        now
    )
}

/// Notes that a project is no longer in CloudStack. Its owner stays known: its last usage comes later.
pub async fn mark_project_gone(tx: &mut Tx, cloud_id: &str, now: Timestamp) -> Result<(), StoreError> {
    exec!(tx, "update project set gone_ms = $1 where cloud_id = $2 and gone_ms is null", now, cloud_id)?;
    Ok(())
}

/// Every project, also those gone.
pub async fn list_projects(tx: &mut Tx) -> Result<Vec<Project>, StoreError> {
    all!(tx, Project, "select id, cloud_id, owner_account_id, name, domain_id, state from project order by name, id")
}

/// A payer by its number.
pub async fn get_payer(tx: &mut Tx, id: PayerId) -> Result<Payer, StoreError> {
    maybe!(tx, Payer, "select id, name, kind, billing_start_day, tax_percent from payer where id = $1", id)?
        .ok_or_else(|| StoreError::Missing(format!("there is no payer number {id}")))
}

/// Every payer.
pub async fn list_payers(tx: &mut Tx) -> Result<Vec<Payer>, StoreError> {
    all!(tx, Payer, "select id, name, kind, billing_start_day, tax_percent from payer order by id")
}
