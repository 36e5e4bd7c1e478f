//! The same for the accounts of a domain and of every domain below it, one account after the other.
//!
//! Each account is its own step, stored before anything is sent, so a crash leaves accounts that are done, at most one that
//! the next pass goes on with, and the rest untouched: the same command again does those. Accounts of administrators (CloudStack's and
//! bursar's own among them), protected ones and those outside the scope are left out, on the ROOT domain too; and no setting
//! is touched, since `api.key.access` false on ROOT would shut out every key of the cloud at once (facts 0).

use super::{
    Error,
    protected::protected_reason,
    self_service::{self, Door, Preview, Tended, concerns_all},
};
use crate::{
    scope::Scope,
    store::{Store, cloud, keys},
};

/// An account that is not closed or opened, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LeftOut {
    /// The account's full name.
    pub account: String,
    /// Why.
    pub reason: String,
}

/// The accounts of a domain.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The domain's path.
    pub domain: String,
    /// Those to be closed or opened, by name.
    pub accounts: Vec<cloud::Account>,
    /// The others.
    pub left_out: Vec<LeftOut>,
}

/// What closing would do to each account.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DomainPreview {
    /// The domain's path.
    pub domain: String,
    /// Account by account.
    pub accounts: Vec<Preview>,
    /// Accounts that are left out.
    pub left_out: Vec<LeftOut>,
    /// Accounts that could not be looked at; they are not closed either.
    pub failed: Vec<LeftOut>,
}

/// What became of each account.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct DomainDone {
    /// Accounts that are closed, or open again.
    pub done: Vec<String>,
    /// Users that were set.
    pub set: usize,
    /// Users that somebody else has set meanwhile, so that they were left alone.
    pub left: usize,
    /// Accounts at which something failed.
    pub failed: Vec<LeftOut>,
    /// Whether CloudStack stopped answering, so that the accounts behind were not tried.
    pub stopped: bool,
}

impl DomainDone {
    /// Notes what became of an account; true where the next would fail of the same.
    fn add(&mut self, account: &cloud::Account, result: Result<Tended, Error>) -> bool {
        match result {
            Ok(tended) => {
                self.done.push(account.full_name());
                self.set += tended.set;
                self.left += tended.left;
                false
            }
            Err(error) => {
                self.stopped = concerns_all(&error);
                self.failed.push(LeftOut { account: account.full_name(), reason: error.to_string() });
                self.stopped
            }
        }
    }
}

/// The accounts of a domain, by its path or id, and of those below it. `scope` is where bursar may act at all.
pub async fn choose(
    store: &Store,
    domain: &str,
    scope: &Scope,
    protected: &[(String, String)],
) -> Result<Chosen, Error> {
    let wanted = domain.trim_matches('/');
    let mut tx = store.read().await?;
    let path = cloud::list_domains(&mut tx)
        .await?
        .into_iter()
        .find(|one| one.path == wanted || one.cloud_id == wanted)
        .map(|one| one.path)
        .ok_or_else(|| Error::NotThere(format!("there is no domain \"{domain}\"; paths begin with ROOT")))?;
    let accounts = cloud::list_accounts(&mut tx).await?;
    tx.commit().await?;
    let below = Scope::new([path.clone()]);
    let mut chosen = Chosen { domain: path, accounts: Vec::new(), left_out: Vec::new() };
    for account in accounts {
        if account.gone_ms.is_some() || !below.includes(&account.domain_path, &account.domain_id) {
            continue;
        }
        let reason = protected_reason(&account, protected).or_else(|| {
            (!scope.includes(&account.domain_path, &account.domain_id))
                .then(|| "it is outside [scope] domains".to_owned())
        });
        match reason {
            Some(reason) => chosen.left_out.push(LeftOut { account: account.full_name(), reason }),
            None => chosen.accounts.push(account),
        }
    }
    chosen.accounts.sort_by_key(cloud::Account::full_name);
    chosen.left_out.sort_by(|one, other| one.account.cmp(&other.account));
    Ok(chosen)
}

/// Whether a user is to be kept: named alone in whichever account, or with the account's full name before it.
fn is_kept(keep: &[String], account: &str, username: &str) -> bool {
    keep.iter().any(|name| match name.rsplit_once('/') {
        Some((of, name)) => of == account && name == username,
        None => name == username,
    })
}

/// What closing would do, in one list; nothing is changed. A name in `keep` that no account has is refused: a slip of the pen
/// would end a key.
pub async fn preview(door: &Door<'_>, chosen: &Chosen, keep: &[String]) -> Result<DomainPreview, Error> {
    let mut seen = DomainPreview {
        domain: chosen.domain.clone(),
        accounts: Vec::with_capacity(chosen.accounts.len()),
        left_out: chosen.left_out.clone(),
        failed: Vec::new(),
    };
    for account in &chosen.accounts {
        match preview_one(door, account, keep).await {
            Ok(preview) => seen.accounts.push(preview),
            Err(error) if concerns_all(&error) => return Err(error),
            Err(error) => seen.failed.push(LeftOut { account: account.full_name(), reason: error.to_string() }),
        }
    }
    let is_there = |name: &String| {
        seen.accounts.iter().any(|preview| {
            preview.users.iter().any(|line| is_kept(std::slice::from_ref(name), &preview.account, &line.username))
        })
    };
    if let Some(unknown) = keep.iter().find(|name| !is_there(name)) {
        return Err(Error::NotThere(format!("no user \"{unknown}\" is in {}; nothing was changed", chosen.domain)));
    }
    Ok(seen)
}

async fn preview_one(door: &Door<'_>, account: &cloud::Account, keep: &[String]) -> Result<Preview, Error> {
    let name = account.full_name();
    self_service::preview_keeping(door, account, &|username: &str| is_kept(keep, &name, username)).await
}

/// Closes each account. The error of one does not stop the others, unless CloudStack does not answer at all.
pub async fn close(door: &Door<'_>, chosen: &Chosen, keep: &[String], by: &str) -> DomainDone {
    let mut done = DomainDone::default();
    for account in &chosen.accounts {
        // Looked at anew: between the list that a person has read and this account there may lie minutes.
        let closed = match preview_one(door, account, keep).await {
            Ok(preview) => self_service::close_as(door, account, &preview, by).await,
            Err(error) => Err(error),
        };
        if done.add(account, closed) {
            break;
        }
    }
    done
}

/// Those of the accounts in which self-service is closed, with what opening would set.
pub async fn closed_of(store: &Store, chosen: &Chosen) -> Result<Vec<(cloud::Account, Vec<keys::ClosingUser>)>, Error> {
    let mut tx = store.read().await?;
    let mut closed = Vec::new();
    for account in &chosen.accounts {
        if let Some(closing) = keys::find_closing(&mut tx, account.id).await? {
            closed.push((account.clone(), keys::list_closing_users(&mut tx, closing.id).await?));
        }
    }
    tx.commit().await?;
    Ok(closed)
}

/// Opens each account that is closed.
pub async fn open(door: &Door<'_>, chosen: &Chosen, by: &str) -> Result<DomainDone, Error> {
    let mut done = DomainDone::default();
    for (account, _) in closed_of(door.store, chosen).await? {
        let opened = self_service::open(door, &account, by).await;
        if done.add(&account, opened) {
            break;
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_in_every_account_and_a_full_one_in_its_own() {
        let keep = ["terraform".to_owned(), "ROOT/acme/alice/builder".to_owned()];
        assert!(is_kept(&keep, "ROOT/acme/alice", "terraform") && is_kept(&keep, "ROOT/bob", "terraform"));
        assert!(is_kept(&keep, "ROOT/acme/alice", "builder"));
        assert!(!is_kept(&keep, "ROOT/bob", "builder") && !is_kept(&keep, "ROOT/acme/alice", "alice"));
    }
}
