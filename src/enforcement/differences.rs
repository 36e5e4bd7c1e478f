//! How far database and cloud differ: what an administrator looks at after a restored backup, before anything is enforced.

use std::{collections::HashMap, time::Duration};

use super::{
    adopt,
    guards::{self, UnknownAct},
    marker, plans,
    run::{Enforcer, Error},
    switches,
};
use crate::{
    cloudstack::{Client, OwnUser},
    store::{
        StoreError, Tx,
        cloud::{self, Account},
        enforcement as rows,
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// Why a plan is dropped by a confirmation.
const DROPPED: &str = "made before the differences were confirmed";

/// An account whose state and holds do not fit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The account's full name.
    pub account: String,
    /// Its state in CloudStack now; None: it is not there.
    pub state: Option<String>,
    /// What bursar knows of it, in words.
    pub known: String,
    /// What can be done about it.
    pub way_out: String,
}

/// Everything that differs.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Differences {
    /// Why nothing is enforced until this is confirmed; None: it is enforced.
    pub unconfirmed: Option<String>,
    /// CloudStack's version: the one last looked at, and the present one, where they differ.
    pub version: Option<(String, String)>,
    /// Suspended in CloudStack, and no hold here says why, or one that does not go as far.
    pub without_hold: Vec<Difference>,
    /// Held here, and not suspended in CloudStack.
    pub without_suspension: Vec<Difference>,
    /// Acts of bursar's own user that the database knows nothing of.
    pub unknown_acts: Vec<UnknownAct>,
    /// What could not be looked at.
    pub not_looked_at: Vec<String>,
}

impl Differences {
    /// Whether there is anything to be confirmed or to be looked at.
    pub fn any(&self) -> bool {
        self.unconfirmed.is_some()
            || self.version.is_some()
            || !self.without_hold.is_empty()
            || !self.without_suspension.is_empty()
            || !self.unknown_acts.is_empty()
    }
}

/// Looks at CloudStack as it is now.
pub async fn find(enforcer: &Enforcer<'_>) -> Result<Differences, Error> {
    let mut found = Differences::default();
    let Some(client) = enforcer.client else {
        found.not_looked_at.push("CloudStack: no key pair is configured".to_owned());
        return Ok(found);
    };
    let listed = client.list_accounts().await?;
    let present = guards::present_version(client).await?;
    let own = client.own_user().await?.map(OwnUser::of);
    let mut tx = enforcer.store.read().await?;
    found.unconfirmed = marker::find_unconfirmed(&mut tx).await?;
    found.version =
        runs::find_setting(&mut tx, switches::VERSION).await?.zip(present).filter(|(seen, present)| seen != present);
    let accounts = cloud::list_accounts(&mut tx).await?;
    let holds = rows::list_holds(&mut tx, None).await?;
    tx.commit().await?;
    let states: HashMap<String, String> =
        listed.items.iter().map(|account| (account.id.to_string(), account.state.as_str().to_owned())).collect();
    for account in accounts.iter().filter(|account| account.gone_ms.is_none()) {
        let held: Vec<&rows::HoldRow> = holds.iter().filter(|hold| hold.account_id == account.id).collect();
        found.compare(account, &held, states.get(&account.cloud_id));
    }
    match own {
        None => found.not_looked_at.push("events: bursar can not tell its own name in CloudStack".to_owned()),
        Some(own) => match guards::unknown_acts(enforcer, client, &own, enforcer.clock.now()).await? {
            None => found.not_looked_at.push("events: they can not be read (listEvents)".to_owned()),
            Some(acts) => found.unknown_acts = acts,
        },
    }
    Ok(found)
}

impl Differences {
    fn compare(&mut self, account: &Account, held: &[&rows::HoldRow], state: Option<&String>) {
        let name = account.full_name();
        let suspended = state.is_some_and(|state| state == "locked" || state == "disabled");
        // Where somebody else locks an account that bursar restricted, their hold stands beside it.
        if suspended && !adopt::is_explained(held.iter().copied()) {
            self.without_hold.push(Difference {
                way_out: format!(
                    "`bursar hold adopt {name} --as billing` if bursar suspended it, else --as admin or --as abuse"
                ),
                account: name,
                state: state.cloned(),
                known: if held.is_empty() {
                    "nothing: no hold"
                } else {
                    "a restriction alone, which leaves it enabled"
                }
                .to_owned(),
            });
            return;
        }
        if state.is_some_and(|state| state == "disabled")
            && held.iter().all(|hold| hold.owner == "billing" && hold.rung == "lock")
        {
            self.without_hold.push(Difference {
                way_out: "bursar opens it once enough is available; machines that bursar stopped in what is not in this database \
                          are then to be started by hand"
                    .to_owned(),
                account: name,
                state: state.cloned(),
                known: "a lock, which stops no machine".to_owned(),
            });
            return;
        }
        // A restriction leaves the account enabled.
        for hold in held.iter().filter(|hold| !suspended && hold.owner != "tenant" && hold.rung != "restrict") {
            let way_out = if hold.owner == "billing" {
                "bursar lifts it once enough is available. `bursar enforce undo` gives back before that what a run took (`bursar runs \
                 enforce` lists them), once you have said `bursar enforce confirm` where that is asked for"
                    .to_owned()
            } else {
                let owner = &hold.owner;
                format!("`bursar hold lift {name} --owner {owner} --reason \"opened on purpose\"` if it was")
            };
            self.without_suspension.push(Difference {
                account: name.clone(),
                state: state.cloned(),
                known: format!("held by {} ({}), placed by {}", hold.owner, hold.rung, hold.placed_by),
                way_out,
            });
        }
    }
}

/// An administrator has looked: what was found so far is known, and enforcement goes on. Gives what was confirmed. What is found while
/// CloudStack is asked stands: nobody has looked at it. Acts that no run has found yet are meant where there is nothing else to confirm;
/// who confirms a version has not said to have looked at them, so they hold up enforcement from now on.
pub async fn confirm(enforcer: &Enforcer<'_>, author: &str) -> Result<Vec<String>, Error> {
    let now = enforcer.clock.now();
    let mut tx = enforcer.store.read().await?;
    let looked_at = marker::find_unconfirmed(&mut tx).await?;
    tx.commit().await?;
    let version = match enforcer.client {
        Some(client) => guards::present_version(client).await?,
        None => None,
    };
    let acts = match enforcer.client {
        Some(client) if looked_at.is_none() => unknown_acts(enforcer, client, now).await?,
        _ => None,
    };
    let mut confirmed = Vec::new();
    let mut tx = enforcer.store.begin().await?;
    if let Some(why) = looked_at
        && runs::replace_setting(&mut tx, switches::UNCONFIRMED, (&why, ""), now).await?
    {
        // They may have been approved, and be dropped since, in what is not in this database.
        plans::drop_all(&mut tx, author, DROPPED, now).await?;
        confirmed.push(why);
    }
    if let Some(version) = version
        && let Some(text) = acknowledge_version(&mut tx, &version, now).await?
    {
        confirmed.push(text);
    }
    match acts {
        Some(why) if confirmed.is_empty() && marker::find_unconfirmed(&mut tx).await?.is_none() => {
            plans::drop_all(&mut tx, author, DROPPED, now).await?;
            confirmed.push(why);
        }
        Some(why) => marker::note_unconfirmed(&mut tx, &why, now).await?,
        None => {}
    }
    if !confirmed.is_empty() && marker::find_unconfirmed(&mut tx).await?.is_none() {
        // CloudStack dates its events by the second.
        let looked = now.plus(Duration::from_secs(1)).as_ms().to_string();
        runs::put_setting(&mut tx, switches::OWN_ACTS_UNTIL, &looked, now).await?;
    }
    if !confirmed.is_empty() {
        let line = AuditLine {
            at_ms: now.as_ms(),
            actor: author.to_owned(),
            action: "enforce.confirm".to_owned(),
            subject: "enforcement".to_owned(),
            before_state: Some(confirmed.join("; ")),
            after_state: Some("confirmed".to_owned()),
            ..AuditLine::default()
        };
        runs::write_audit(&mut tx, &line).await?;
    }
    tx.commit().await?;
    Ok(confirmed)
}

/// Acts of bursar's own user that no run has found yet, in words.
async fn unknown_acts(enforcer: &Enforcer<'_>, client: &Client, now: Timestamp) -> Result<Option<String>, Error> {
    let Some(own) = client.own_user().await?.map(OwnUser::of) else { return Ok(None) };
    let unknown = guards::unknown_acts(enforcer, client, &own, now).await?.unwrap_or_default();
    Ok(UnknownAct::explain(&unknown, &own))
}

/// CloudStack's present version has been looked at. None: it had been before.
pub async fn acknowledge_version(tx: &mut Tx, version: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
    let before = runs::find_setting(tx, switches::VERSION).await?;
    if before.as_deref() == Some(version) {
        return Ok(None);
    }
    runs::put_setting(tx, switches::VERSION, version, now).await?;
    Ok(before.map(|before| format!("CloudStack was {before} and is {version} now")))
}
