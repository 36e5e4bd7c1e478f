//! Who is mapped to which account (rule 22 of the design).
//!
//! Promises: a person is a pair of issuer and subject and nothing else; an address lets somebody in only where its issuer is
//! trusted and says that it was verified, where an administrator or a mail that came back confirmed it, and only the first
//! who comes with it; no address makes an administrator of the cloud. A mapping stands on the account and the user that it
//! was made for: another account of the same name is another account.

use crate::{
    email::EmailAddress,
    ids::AccountId,
    people::oidc::Claims,
    store::{
        StoreError, Tx,
        cloud::{self, Account},
        mapping::{self as rows, Binding, NewBinding},
        notify,
        runs::{self, AuditLine},
        sessions,
    },
    time::Timestamp,
};

/// Who vouches for those who sign in to CloudStack.
pub const CLOUDSTACK: &str = "cloudstack";
/// Roles that an e-mail rule can give.
pub const ROLES_BY_EMAIL: &[&str] = &["owner", "finance", "viewer"];
/// Roles that a mapping of a subject can give.
pub const ROLES: &[&str] = &["owner", "finance", "viewer", "cloud-admin"];
/// So many people wait at most: an issuer that everybody can register with must not fill the store.
const LONGEST_QUEUE: i64 = 1_000;
/// A day, for telling administrators of people who wait once a day.
const DAY_MS: i64 = 86_400_000;
/// Accounts of one person that are offered.
const MOST_ACCOUNTS: usize = 100;

/// Why a mapping was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It makes no sense; in words for the caller.
    #[error("{0}")]
    Refused(String),
}

/// An account that a person may look at now.
#[derive(Debug, Clone)]
pub struct Way {
    /// The account.
    pub account: Account,
    /// owner, finance, viewer, cloud-admin.
    pub role: String,
    /// The CloudStack user that the person is, where it is one.
    pub cloud_user_id: Option<String>,
    /// Whether an address brought it about, and no administrator.
    pub by_address: bool,
}

/// Why no rule took a person in, as it stands in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmapped {
    /// Nothing fits.
    NoRule,
    /// The issuer tells no address, or none that it verified.
    NotVerified,
    /// The issuer's word about addresses does not count.
    NotTrusted,
    /// Somebody else came with the address before.
    AddressTaken,
    /// There is a mapping, but its account or user is gone.
    Orphan,
}

impl Unmapped {
    /// As it is stored.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoRule => "no-rule",
            Self::NotVerified => "not-verified",
            Self::NotTrusted => "not-trusted",
            Self::AddressTaken => "address-taken",
            Self::Orphan => "orphan",
        }
    }
}

/// What a sign-in came to.
#[derive(Debug)]
pub enum SignedIn {
    /// The accounts that the person may look at; the first is the one of the first mapping.
    Mapped(Vec<Way>),
    /// Nobody mapped the person yet: an administrator sees who waits.
    Waits,
    /// An administrator said no.
    Refused,
}

/// The ways that are open to a person now: mappings whose account and user are still what they were.
pub async fn ways(tx: &mut Tx, issuer: &str, subject: &str) -> Result<Vec<Way>, StoreError> {
    let mut ways = Vec::new();
    for binding in rows::list_bindings_of(tx, issuer, subject).await?.into_iter().take(MOST_ACCOUNTS) {
        if let Some(account) = standing(tx, &binding).await? {
            let by_address = binding.rule_id.is_some() || binding.address_id.is_some();
            ways.push(Way { account, role: binding.role, cloud_user_id: binding.cloud_user_id, by_address });
        }
    }
    Ok(ways)
}

/// The account of a mapping, if both are still what they were.
async fn standing(tx: &mut Tx, binding: &Binding) -> Result<Option<Account>, StoreError> {
    let account = cloud::get_account(tx, binding.account_id).await?;
    if account.gone_ms.is_some() {
        return Ok(None);
    }
    // Who signs in to CloudStack is proven there; the account that was added is another than the user's own.
    if binding.issuer == CLOUDSTACK {
        return Ok(Some(account));
    }
    let Some(user) = &binding.cloud_user_id else { return Ok(Some(account)) };
    let user = rows::find_cloud_user(tx, user).await?;
    Ok(user.is_some_and(|user| user.account_id == account.id && user.state == "enabled").then_some(account))
}

/// Takes in a person whom an issuer vouches for: by what is mapped, or by what rules and confirmed addresses say.
pub async fn sign_in(
    tx: &mut Tx,
    claims: &Claims,
    trusted: bool,
    key_user_prefix: &str,
    now: Timestamp,
) -> Result<SignedIn, StoreError> {
    let (issuer, subject) = (claims.issuer.as_str(), claims.subject.as_str());
    let known = rows::find_unmatched(tx, issuer, subject).await?;
    if known.is_some_and(|known| known.state == "refused") {
        return Ok(SignedIn::Refused);
    }
    let email = claims.email.as_ref().map(EmailAddress::person).unwrap_or_default();
    let mut why = Unmapped::NoRule;
    match (trusted, claims.email_verified && !email.is_empty()) {
        (true, true) => {
            if by_address(tx, (issuer, subject), &email, key_user_prefix, now).await? {
                why = Unmapped::AddressTaken;
            }
        }
        (true, false) => why = Unmapped::NotVerified,
        (false, _) if !email.is_empty() && !rows::list_email_rules_for(tx, issuer, &email).await?.is_empty() => {
            why = Unmapped::NotTrusted;
        }
        (false, _) => {}
    }
    let found = ways(tx, issuer, subject).await?;
    if !found.is_empty() {
        rows::note_seen(tx, (issuer, subject), (&claims.name, &email), now).await?;
        rows::settle_unmatched(tx, (issuer, subject), "mapped", "a mapping", now).await?;
        return Ok(SignedIn::Mapped(found));
    }
    if !rows::list_bindings_of(tx, issuer, subject).await?.is_empty() {
        why = Unmapped::Orphan;
    }
    wait(tx, claims, &email, why, now).await?;
    Ok(SignedIn::Waits)
}

/// Puts a person into the queue and tells administrators, once a day.
async fn wait(tx: &mut Tx, claims: &Claims, email: &str, why: Unmapped, now: Timestamp) -> Result<(), StoreError> {
    let (issuer, subject) = (claims.issuer.as_str(), claims.subject.as_str());
    let is_new = rows::find_unmatched(tx, issuer, subject).await?.is_none();
    if is_new && rows::count_waiting(tx).await? >= LONGEST_QUEUE {
        tracing::warn!("a person could not be put into the queue: it is full; `bursar user queue` empties it");
        return Ok(());
    }
    let about = (claims.name.as_str(), email, claims.email_verified);
    rows::put_unmatched(tx, (issuer, subject), about, why.word(), now).await?;
    let key = format!("unmatched/{}", now.as_ms().div_euclid(DAY_MS));
    let body = "At least one person signed in with OpenID Connect and is mapped to no account. The page Queue, or `bursar user \
                queue`, shows who waits; `bursar user map` lets somebody in, `bursar user refuse` says no.";
    notify::insert_admin_notice(tx, &key, "unmatched", "somebody waits to be mapped to an account", body, now).await?;
    Ok(())
}

/// Binds whoever comes first with an address that a rule names, or that is a CloudStack user's and confirmed. True: somebody
/// else had come with it before.
async fn by_address(
    tx: &mut Tx,
    (issuer, subject): (&str, &str),
    email: &str,
    key_user_prefix: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut taken = false;
    let mut bound: Vec<AccountId> =
        rows::list_bindings_of(tx, issuer, subject).await?.into_iter().map(|binding| binding.account_id).collect();
    for rule in rows::list_email_rules_for(tx, issuer, email).await? {
        if bound.contains(&rule.account_id) {
            continue;
        }
        if !rows::bind_email_rule(tx, rule.id, subject).await? {
            taken = true;
            continue;
        }
        let by = format!("rule {} of {}", rule.id, rule.made_by);
        let binding = NewBinding {
            issuer,
            subject,
            cloud_user_id: None,
            account: rule.account_id,
            role: &rule.role,
            by: &by,
            rule_id: Some(rule.id),
            address_id: None,
        };
        bind(tx, &binding, now).await?;
        bound.push(rule.account_id);
    }
    let confirmed = rows::list_confirmed_with(tx, email).await?;
    for address in &confirmed {
        // An address of the account in general tells nobody apart, nor does one that several of its users share.
        let is_shared = confirmed.iter().any(|other| {
            other.account_id == address.account_id
                && !other.cloud_user_id.is_empty()
                && other.cloud_user_id != address.cloud_user_id
        });
        if address.cloud_user_id.is_empty() || is_shared || bound.contains(&address.account_id) {
            continue;
        }
        let user = rows::find_cloud_user(tx, &address.cloud_user_id).await?;
        let fits = user.is_some_and(|user| {
            user.account_id == address.account_id
                && user.state == "enabled"
                && !user.username.starts_with(key_user_prefix)
        });
        if !fits {
            continue;
        }
        if rows::is_address_taken(tx, issuer, subject, address.id).await? {
            taken = true;
            continue;
        }
        let by = format!("address confirmed by {}", address.confirmed_by);
        let binding = NewBinding {
            issuer,
            subject,
            cloud_user_id: Some(&address.cloud_user_id),
            account: address.account_id,
            role: "owner",
            by: &by,
            rule_id: None,
            address_id: Some(address.id),
        };
        bind(tx, &binding, now).await?;
        bound.push(address.account_id);
    }
    Ok(taken)
}

async fn bind(tx: &mut Tx, binding: &NewBinding<'_>, now: Timestamp) -> Result<(), StoreError> {
    rows::put_binding(tx, binding, now).await?;
    let account = cloud::get_account(tx, binding.account).await?;
    let what = format!("{} at {} is {}", binding.subject, binding.issuer, binding.role);
    audit(tx, binding.by, "user.bind", &account, (None, Some(what)), now).await
}

/// Maps a person to an account, in an administrator's name.
pub async fn map(tx: &mut Tx, new: &NewBinding<'_>, now: Timestamp) -> Result<(), Error> {
    if !ROLES.contains(&new.role) {
        return Err(Error::Refused(format!("\"{}\" is no role; there are {}", new.role, ROLES.join(", "))));
    }
    if new.issuer == CLOUDSTACK && new.role == "cloud-admin" {
        return Err(Error::Refused(
            "who administers the cloud by a CloudStack user stands in [web] admins, and nowhere else".to_owned(),
        ));
    }
    if new.subject.is_empty() || new.subject.len() > 1_000 || new.subject.chars().any(char::is_control) {
        return Err(Error::Refused("a subject has 1 to 255 letters".to_owned()));
    }
    let account = cloud::get_account(tx, new.account).await?;
    if account.gone_ms.is_some() {
        return Err(Error::Refused(format!("{} is no longer in CloudStack", account.full_name())));
    }
    if let Some(id) = new.cloud_user_id {
        let user = rows::find_cloud_user(tx, id).await?;
        let user = user.ok_or_else(|| {
            Error::Refused(format!("CloudStack has no user with the id {id}; `bursar user list` shows them"))
        })?;
        if new.issuer != CLOUDSTACK && user.account_id != account.id {
            return Err(Error::Refused(format!(
                "the CloudStack user {} is not of {}",
                user.username,
                account.full_name()
            )));
        }
    }
    let before = rows::list_bindings_of(tx, new.issuer, new.subject).await?;
    let before = before.into_iter().find(|binding| binding.account_id == new.account).map(|binding| binding.role);
    rows::put_binding(tx, new, now).await?;
    rows::settle_unmatched(tx, (new.issuer, new.subject), "mapped", new.by, now).await?;
    let what = format!("{} at {} is {}", new.subject, new.issuer, new.role);
    audit(tx, new.by, "user.map", &account, (before, Some(what)), now).await?;
    // What it may look at is read anew with the next page.
    sessions::end_sessions_of(tx, new.issuer, new.subject).await?;
    Ok(())
}

/// Takes a mapping away; its sessions end. False: there is none. Refused where the person would be back with the next sign-in:
/// what an address brought about goes with its rule or its confirmation.
pub async fn unmap(
    tx: &mut Tx,
    (issuer, subject): (&str, &str),
    account: &Account,
    by: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    let bindings = rows::list_bindings_of(tx, issuer, subject).await?;
    let binding = bindings.into_iter().find(|binding| binding.account_id == account.id);
    // Nobody comes back to an account that is gone.
    if let Some(binding) = binding.filter(|_| account.gone_ms.is_none()) {
        let why = match (binding.rule_id, binding.address_id) {
            (Some(rule), _) => Some(format!("e-mail rule {rule}: `bursar user rules drop {rule}` takes both away")),
            (None, Some(address)) => {
                Some(format!("confirmed address {address}: `bursar user unconfirm {address}` takes both away"))
            }
            (None, None) => None,
        };
        if let Some(why) = why {
            return Err(Error::Refused(format!("the person would be back with the next sign-in, by {why}")));
        }
    }
    if !rows::delete_binding(tx, issuer, subject, account.id).await? {
        return Ok(false);
    }
    sessions::end_sessions_of(tx, issuer, subject).await?;
    audit(tx, by, "user.unmap", account, (Some(format!("{subject} at {issuer}")), None), now).await?;
    Ok(true)
}

/// Makes an e-mail rule, or changes the role of one.
pub async fn put_rule(
    tx: &mut Tx,
    issuer: &str,
    email: &EmailAddress,
    account: &Account,
    role: &str,
    by: &str,
    now: Timestamp,
) -> Result<i64, Error> {
    if !ROLES_BY_EMAIL.contains(&role) {
        return Err(Error::Refused(format!(
            "an address can make somebody {}; \"{role}\" is none of them",
            ROLES_BY_EMAIL.join(", ")
        )));
    }
    if issuer == CLOUDSTACK {
        return Err(Error::Refused(
            "e-mail rules are for OpenID issuers: CloudStack's own field is the tenant's to edit".to_owned(),
        ));
    }
    if account.gone_ms.is_some() {
        return Err(Error::Refused(format!("{} is no longer in CloudStack", account.full_name())));
    }
    let email = email.person();
    let id = rows::put_email_rule(tx, (issuer, &email), account.id, role, by, now).await?;
    audit(tx, by, "user.rule", account, (None, Some(format!("{email} at {issuer} is {role}"))), now).await?;
    Ok(id)
}

/// Takes an e-mail rule away, with what it had bound. None: there is none.
pub async fn drop_rule(tx: &mut Tx, id: i64, by: &str, now: Timestamp) -> Result<Option<Account>, StoreError> {
    let Some(rule) = rows::delete_email_rule(tx, id).await? else { return Ok(None) };
    rows::delete_bindings_by(tx, Some(id), None).await?;
    if let Some(subject) = &rule.bound_subject {
        sessions::end_sessions_of(tx, &rule.issuer, subject).await?;
    }
    let account = cloud::get_account(tx, rule.account_id).await?;
    let what = format!("{} at {} was {}", rule.email, rule.issuer, rule.role);
    audit(tx, by, "user.rule.drop", &account, (Some(what), None), now).await?;
    Ok(Some(account))
}

/// Notes that an address is a user's (or, without one, the account's). `how`: `admin` or `mail`.
pub async fn confirm(
    tx: &mut Tx,
    account: &Account,
    cloud_user_id: &str,
    email: &EmailAddress,
    (how, by): (&str, &str),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let email = email.person();
    if !rows::confirm_address(tx, (account.id, cloud_user_id), &email, (how, by), now).await? {
        return Ok(false);
    }
    let whose = if cloud_user_id.is_empty() { String::new() } else { format!(" of user {cloud_user_id}") };
    audit(tx, by, "address.confirm", account, (None, Some(format!("{email}{whose}, by {how}"))), now).await?;
    Ok(true)
}

/// Ends that an address counts, with what it had bound. False: it did not.
pub async fn unconfirm(tx: &mut Tx, id: i64, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let Some(address) = rows::find_confirmed(tx, id).await? else { return Ok(false) };
    rows::end_confirmed(tx, id, by, now).await?;
    for binding in rows::list_bindings(tx, Some(address.account_id)).await? {
        if binding.address_id == Some(id) {
            sessions::end_sessions_of(tx, &binding.issuer, &binding.subject).await?;
        }
    }
    rows::delete_bindings_by(tx, None, Some(id)).await?;
    let account = cloud::get_account(tx, address.account_id).await?;
    audit(tx, by, "address.unconfirm", &account, (Some(address.email), None), now).await?;
    Ok(true)
}

/// Says no to a person who waits; the person stays out until somebody maps them.
pub async fn refuse(tx: &mut Tx, id: i64, by: &str, now: Timestamp) -> Result<(), StoreError> {
    let person = rows::get_unmatched(tx, id).await?;
    rows::settle_unmatched(tx, (&person.issuer, &person.subject), "refused", by, now).await?;
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: by.to_owned(),
        action: "user.refuse".to_owned(),
        subject: format!("{} at {}", person.subject, person.issuer),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}

async fn audit(
    tx: &mut Tx,
    by: &str,
    action: &str,
    account: &Account,
    (before, after): (Option<String>, Option<String>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: by.to_owned(),
        action: action.to_owned(),
        subject: account.full_name(),
        before_state: before,
        after_state: after,
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}
