//! Keeps the mirror of CloudStack's directory in step.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::{
    cloudstack::{self, Client},
    ids::{AccountId, RunId},
    store::{
        Store, StoreError,
        cloud::{self, Change, CloudUser, Domain, Project, SeenAccount},
        enforcement, profiles,
        runs::{self, AuditLine},
    },
    time::Clock,
};

/// For so long a profile is kept after its user has gone from CloudStack: a user may be listed again.
const PROFILE_KEPT_FOR: Duration = Duration::from_hours(90 * 24);

/// Why the directory could not be mirrored. Nothing is half done: one transaction holds all of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// CloudStack did not answer as it should.
    #[error(transparent)]
    CloudStack(#[from] cloudstack::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A list came back with rows that can not be read, or empty: taking it at its word would mark accounts as gone.
    #[error(
        "CloudStack's list of {0} is not whole; nothing was changed. Run it again; if it stays so, look at the server's log"
    )]
    NotWhole(&'static str),
}

/// What the mirror saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct DirectoryReport {
    /// Domains listed.
    pub domains: usize,
    /// Accounts listed.
    pub accounts: usize,
    /// Accounts seen for the first time.
    pub new_accounts: usize,
    /// Accounts whose name, domain, role or state changed.
    pub changed_accounts: usize,
    /// Accounts no longer listed.
    pub gone_accounts: usize,
    /// Users listed.
    pub users: usize,
    /// Projects listed.
    pub projects: usize,
}

/// Fetches the directory and stores what changed.
pub async fn sync_directory(
    client: &Client,
    store: &Store,
    clock: &dyn Clock,
    run: RunId,
) -> Result<DirectoryReport, Error> {
    let domains = whole(client.list_domains().await?, "domains")?;
    let accounts = whole(client.list_accounts().await?, "accounts")?;
    let users = whole(client.list_users().await?, "users")?;
    // Projects may be none at all.
    let projects = client.list_projects().await?;
    if projects.unreadable > 0 {
        return Err(Error::NotWhole("projects"));
    }
    if domains.is_empty() || accounts.is_empty() || users.is_empty() {
        return Err(Error::NotWhole("accounts"));
    }

    let now = clock.now();
    let mut tx = store.begin().await?;
    let mut report = DirectoryReport {
        domains: domains.len(),
        accounts: accounts.len(),
        users: users.len(),
        projects: projects.items.len(),
        ..DirectoryReport::default()
    };
    let mut paths: HashMap<String, String> = HashMap::new();
    for domain in &domains {
        let path = domain.path.clone().unwrap_or_else(|| domain.name.clone());
        paths.insert(domain.id.to_string(), path.clone());
        let row = Domain {
            cloud_id: domain.id.to_string(),
            parent_id: domain.parent_id.map(|id| id.to_string()),
            name: domain.name.clone(),
            path,
        };
        cloud::put_domain(&mut tx, &row, now).await?;
    }

    let mut numbers: HashMap<(String, String), AccountId> = HashMap::new();
    let mut seen: HashSet<AccountId> = HashSet::new();
    let before = enforcement::list_held_by(&mut tx, "before").await?;
    for account in &accounts {
        let domain_id = account.domain_id.to_string();
        let row = SeenAccount {
            cloud_id: account.id.to_string(),
            name: account.name.clone(),
            domain_path: paths
                .get(&domain_id)
                .cloned()
                .or_else(|| account.domain_path.clone())
                .unwrap_or_else(|| domain_id.clone()),
            domain_id: domain_id.clone(),
            account_type: account.account_type.map_or(0, i64::from),
            role_type: account.role_type.clone().unwrap_or_default(),
            state: account.state.as_str().to_owned(),
        };
        let (id, change) = cloud::put_account(&mut tx, &row, now).await?;
        match change {
            Change::New => {
                report.new_accounts += 1;
                // Found suspended at the first sight: a hold "from before", which bursar never lifts by itself.
                if row.state == "locked" || row.state == "disabled" {
                    let reason = format!("it was {} when bursar first saw it", row.state);
                    enforcement::place_hold(&mut tx, id, "before", &row.state, &reason, None, "bursar", now).await?;
                }
            }
            Change::Changed => report.changed_accounts += 1,
            Change::Same => {}
        }
        if row.state == "enabled" && before.contains(&id) {
            lift_before(&mut tx, id, &format!("{}/{}", row.domain_path, row.name), run, now).await?;
        }
        numbers.insert((domain_id, row.name), id);
        seen.insert(id);
    }
    for stored in cloud::list_accounts(&mut tx).await? {
        if stored.gone_ms.is_none() && !seen.contains(&stored.id) {
            cloud::mark_account_gone(&mut tx, stored.id, now).await?;
            report.gone_accounts += 1;
            let line = AuditLine {
                at_ms: now.as_ms(),
                actor: format!("run {run}"),
                action: "account.gone".to_owned(),
                subject: stored.full_name(),
                before_state: Some(stored.state.clone()),
                ..AuditLine::default()
            };
            runs::write_audit(&mut tx, &line).await?;
        }
    }

    put_users(&mut tx, &users, &numbers, now).await?;
    profiles::purge_gone(&mut tx, now.minus(PROFILE_KEPT_FOR)).await?;
    let mut seen_projects: HashSet<String> = HashSet::new();
    for project in &projects.items {
        let domain_id = project.domain_id.to_string();
        let owner = project.owners.iter().find_map(|name| numbers.get(&(domain_id.clone(), name.clone())).copied());
        let row = Project {
            id: 0,
            cloud_id: project.id.to_string(),
            owner_account_id: owner,
            name: project.name.clone(),
            domain_id,
            state: project.state.clone().unwrap_or_default(),
        };
        cloud::put_project(&mut tx, &row, now).await?;
        seen_projects.insert(row.cloud_id);
    }
    for stored in cloud::list_projects(&mut tx).await? {
        if !seen_projects.contains(&stored.cloud_id) {
            cloud::mark_project_gone(&mut tx, &stored.cloud_id, now).await?;
        }
    }
    runs::commit_for(tx, run).await?;
    Ok(report)
}

/// An account that was suspended before bursar came was enabled by somebody: that suspension is over, and it is a customer like any
/// other from now on.
async fn lift_before(
    tx: &mut crate::store::Tx,
    id: AccountId,
    name: &str,
    run: RunId,
    now: crate::time::Timestamp,
) -> Result<(), StoreError> {
    let actor = format!("run {run}");
    if !enforcement::lift_hold(tx, id, "before", &actor, now).await? {
        return Ok(());
    }
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor,
        action: "hold.lift".to_owned(),
        subject: name.to_owned(),
        before_state: Some("before".to_owned()),
        answer: Some("it was suspended before bursar came, and somebody enabled it in CloudStack".to_owned()),
        ..AuditLine::default()
    };
    runs::write_audit(tx, &line).await
}

async fn put_users(
    tx: &mut crate::store::Tx,
    users: &[cloudstack::User],
    numbers: &HashMap<(String, String), AccountId>,
    now: crate::time::Timestamp,
) -> Result<(), StoreError> {
    let known: HashMap<String, CloudUser> =
        cloud::list_users(tx, None).await?.into_iter().map(|user| (user.cloud_id.clone(), user)).collect();
    let mut seen: HashSet<String> = HashSet::new();
    for user in users {
        let domain_id = user.domain_id.map(|id| id.to_string()).unwrap_or_default();
        let account = user.account.clone().unwrap_or_default();
        // A user whose account is not listed belongs to an account that vanished between the two calls.
        let Some(account_id) = numbers.get(&(domain_id, account)).copied() else { continue };
        let row = CloudUser {
            cloud_id: user.id.to_string(),
            account_id,
            username: user.username.clone(),
            first_name: user.first_name.clone().unwrap_or_default(),
            last_name: user.last_name.clone().unwrap_or_default(),
            email: user.email.clone().filter(|email| !email.is_empty()),
            state: user.state.as_str().to_owned(),
            source: user.user_source.clone(),
        };
        seen.insert(row.cloud_id.clone());
        if known.get(&row.cloud_id) != Some(&row) {
            cloud::put_user(tx, &row, now).await?;
        }
    }
    for cloud_id in known.keys().filter(|id| !seen.contains(*id)) {
        cloud::mark_user_gone(tx, cloud_id, now).await?;
    }
    Ok(())
}

fn whole<T>(listing: cloudstack::Listing<T>, what: &'static str) -> Result<Vec<T>, Error> {
    if listing.unreadable > 0 { Err(Error::NotWhole(what)) } else { Ok(listing.items) }
}
