//! Arming: what stands in its way, what the first run would do, and the act itself.

use std::fmt::Write as _;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    app::{App, Role},
    mail,
    work::{self, EnforceOptions, JobError, enforcement_client},
};
use crate::{
    cloudstack::{self, Client},
    config::{Config, MailTransport},
    enforcement::{self, EnforceSettings, held::HeldBack, marker, run::Enforcer, running::Looker, switches},
    notify::{self, NotReady},
    policy::{Arming, Rung},
    setup::rights,
    store::{
        Tx, cloud, operations as rows,
        policy::{self as policy_rows, ArmingRow},
        runs::{self, AuditLine},
    },
    time::Timestamp,
};

/// How far ahead the first-run report looks.
const LOOKS_AHEAD: Duration = Duration::from_hours(14 * 24);
/// Machines are counted for so many accounts.
const MACHINES_COUNTED_FOR: usize = 100;
/// Rights that a rung takes beyond the required ones.
const RIGHTS: [(Rung, &str); 3] = [
    (Rung::Restrict, "restrict accounts by their limits"),
    (Rung::Stop, "stop and start machines"),
    (Rung::Stop, "suspend and activate projects"),
];

/// Which rungs, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The rungs.
    pub rungs: BTreeSet<Rung>,
    /// Domain paths; the empty one is the whole cloud.
    pub domains: BTreeSet<String>,
}

impl Wanted {
    /// From what a person named; nothing named is everything.
    pub fn new(rungs: &[String], domains: &[String]) -> Self {
        let named: BTreeSet<Rung> = rungs.iter().filter_map(|word| Rung::parse(word)).collect();
        let places: BTreeSet<String> = domains.iter().map(|path| path.trim_matches('/').to_owned()).collect();
        Self {
            rungs: if named.is_empty() { Rung::ARMABLE.into_iter().collect() } else { named },
            domains: if places.is_empty() { [String::new()].into() } else { places },
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (Rung, &str)> {
        self.domains.iter().flat_map(|domain| self.rungs.iter().map(move |rung| (*rung, domain.as_str())))
    }

    /// In words: "notify, lock in the whole cloud".
    pub fn words(&self) -> String {
        let rungs: Vec<&str> = self.rungs.iter().map(|rung| rung.word()).collect();
        let places: Vec<&str> =
            self.domains.iter().map(|path| if path.is_empty() { "the whole cloud" } else { path.as_str() }).collect();
        format!("{} in {}", rungs.join(", "), places.join(", "))
    }
}

/// A line of the first-run report.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FirstLine {
    /// The account's full name.
    pub account: String,
    /// What the first run would do: warn, restrict, lock, stop, restore, wait, keep.
    pub now: &'static str,
    /// What the tenant is told.
    pub sentence: String,
    /// The next step if nothing is paid.
    pub next: Option<&'static str>,
    /// When it comes, at the earliest.
    pub next_at: Option<Timestamp>,
    /// Machines that run in it, those of its projects included; None: not counted.
    pub machines: Option<usize>,
}

/// What the first armed run would do now and within the next days.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct FirstRun {
    /// Accounts with something to be done now or soon.
    pub lines: Vec<FirstLine>,
    /// What would hold back every step downwards.
    pub held_back_by: Vec<String>,
    /// Accounts looked at.
    pub accounts: usize,
    /// Accounts that lose their machines or the way to them, and whose machines were not counted since there are so many.
    pub uncounted: usize,
}

/// Why enforcement can not be armed; empty: it can.
pub async fn obstacles(app: &App, wanted: &Wanted) -> Result<Vec<String>, JobError> {
    let mut found = Vec::new();
    let mut tx = app.store.read().await?;
    if let Some(why) = marker::find_unconfirmed(&mut tx).await? {
        found.push(format!("{why}. Look at `bursar enforce differences`, then say `bursar enforce confirm`"));
    }
    let present = enforcement::run::arming(&mut tx).await?;
    let domains = cloud::list_domains(&mut tx).await?;
    if let Err(why) = notify::mail_ready(&mut tx, &mail::settings(app)).await {
        match why {
            NotReady::Store(error) => return Err(error.into()),
            other => found.push(other.to_string()),
        }
    }
    tx.commit().await?;
    let takes = wanted.rungs.iter().any(|rung| *rung != Rung::Notify);
    if takes && reaches_nobody(&app.config) {
        found.push(
            "mail goes into a folder ([mail] transport = \"folder\"), where no tenant reads it: set it to \"smtp\", or to \"off\" if people \
             are warned in another way"
                .to_owned(),
        );
    }
    for path in wanted.domains.iter().filter(|path| !path.is_empty()) {
        if domains.iter().all(|domain| domain.path != *path) {
            found.push(format!(
                "there is no domain {path}; `bursar sync` reads them, `bursar account list` shows their paths"
            ));
        }
        if wanted.rungs.contains(&Rung::Stop)
            && !wanted.rungs.contains(&Rung::Lock)
            && !present.is_armed(Rung::Lock, path)
        {
            found.push(format!("stop passes lock, and lock is not armed in {path}"));
        }
    }
    if wanted.domains.contains("")
        && wanted.rungs.contains(&Rung::Stop)
        && !wanted.rungs.contains(&Rung::Lock)
        && !present.is_armed(Rung::Lock, "")
    {
        found.push("stop passes lock, and lock is not armed in the whole cloud".to_owned());
    }
    if !takes {
        return Ok(found);
    }
    if app.config.cloudstack.enforcer.is_none() {
        found.push(
            "the enforcer's key pair is not configured: set [cloudstack.enforcer] api_key and secret_key; `bursar init` makes the account"
                .to_owned(),
        );
        return Ok(found);
    }
    let client = app.client(Role::Enforcer)?;
    match client.quota_enforcing().await {
        Ok(true) => found.push(
            "CloudStack's quota plugin enforces too (quota.enable.enforcement); turn it off first, or both would fight over the \
             same accounts"
                .to_owned(),
        ),
        Ok(false) => {}
        Err(cloudstack::Error::NotAllowed { .. }) => found.push(
            "the enforcer's role does not allow listConfigurations, so nobody knows whether the quota plugin enforces too; give it a \
             rule, or run `bursar init` again"
                .to_owned(),
        ),
        Err(error) => return Err(error.into()),
    }
    found.extend(missing_rights(&client, wanted).await?);
    Ok(found)
}

/// Whether mails are written where no tenant looks. A CloudStack on this very machine is the demo's, or a trial.
fn reaches_nobody(config: &Config) -> bool {
    let is_local = config.cloudstack.url.as_ref().is_some_and(|url| match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    });
    matches!(config.mail.transport, MailTransport::Folder(_)) && !is_local
}

async fn missing_rights(client: &Client, wanted: &Wanted) -> Result<Vec<String>, JobError> {
    let mut found = Vec::new();
    for feature in rights::features(Role::Enforcer) {
        let needed =
            feature.required || RIGHTS.iter().any(|(rung, name)| *name == feature.name && wanted.rungs.contains(rung));
        if !needed {
            continue;
        }
        for api in feature.apis {
            if client.api(api).await?.is_none() {
                found.push(format!(
                    "the enforcer's role does not allow {api}, which it takes to {}; give it a rule, or run `bursar init` again",
                    feature.name
                ));
            }
        }
    }
    Ok(found)
}

/// What the first armed run would do. Decides on the present figures as if it were armed; stores nothing.
pub async fn first_run(app: &App, wanted: &Wanted) -> Result<FirstRun, JobError> {
    let settings = work::enforce_settings(app, EnforceOptions { dry_run: true, holds_data_lock: false })?;
    let client = enforcement_client(app)?;
    let now = app.clock.now();
    let mut tx = app.store.read().await?;
    let mut pairs: Vec<(Rung, String)> =
        policy_rows::list_arming(&mut tx).await?.into_iter().filter_map(pair_of).collect();
    let paused = runs::find_setting(&mut tx, switches::PAUSED).await?.as_deref() == Some("1");
    tx.commit().await?;
    pairs.extend(wanted.pairs().map(|(rung, path)| (rung, path.to_owned())));
    let enforcer = enforcer(app, &settings, &client);
    let blocks = enforcement::blocks(&enforcer, paused, now).await?;
    let mut tx = app.store.read().await?;
    let plan = enforcement::plan(&mut tx, &settings, &blocks, &Arming::new(pairs), now).await?;
    tx.commit().await?;
    let mut report = FirstRun {
        held_back_by: blocks.iter().map(crate::policy::Block::explain).collect(),
        accounts: plan.account_count,
        ..FirstRun::default()
    };
    let looker = Looker::new(&enforcer, &client).await?;
    let mut looked_at = 0_usize;
    for planned in &plan.accounts {
        let decision = &planned.decision;
        let soon = decision.next.filter(|next| next.at <= now.plus(LOOKS_AHEAD) && planned.armed.has(next.rung));
        let does = decision.outcome.word();
        if (does == "keep" || planned.is_rehearsal()) && soon.is_none() {
            continue;
        }
        let loses = |rung: Option<Rung>| rung.is_some_and(|rung| rung >= Rung::Lock);
        let counted = loses(decision.outcome.step_down()) || loses(soon.map(|next| next.rung));
        let machines = if counted && looked_at < MACHINES_COUNTED_FOR {
            looked_at = looked_at.saturating_add(1);
            Some(looker.machines(&planned.account).await?.len())
        } else {
            report.uncounted = report.uncounted.saturating_add(usize::from(counted));
            None
        };
        report.lines.push(FirstLine {
            account: planned.account.full_name(),
            now: does,
            sentence: decision.sentence.clone(),
            next: soon.map(|next| next.rung.word()),
            next_at: soon.map(|next| next.at),
            machines,
        });
    }
    Ok(report)
}

fn pair_of(row: ArmingRow) -> Option<(Rung, String)> {
    Rung::parse(&row.rung).map(|rung| (rung, row.domain_path))
}

fn enforcer<'a>(app: &'a App, settings: &'a EnforceSettings, client: &'a Client) -> Enforcer<'a> {
    Enforcer {
        store: &app.store,
        client: Some(client),
        clock: Arc::clone(&app.clock),
        random: Arc::clone(&app.random),
        holder: &app.holder,
        settings,
    }
}

impl FirstRun {
    /// As a page of text.
    pub fn text(&self, zone: chrono_tz::Tz) -> String {
        let count = |word: &str| self.lines.iter().filter(|line| line.now == word).count();
        let machines: usize = self.lines.iter().filter_map(|line| line.machines).sum();
        let uncounted = match self.uncounted {
            0 => String::new(),
            accounts => format!(", those of {accounts} more accounts not counted"),
        };
        let mut text = format!(
            "Of {} accounts the first run would warn {}, restrict {}, lock {}, stop {} and open {}. {machines} machines run in those \
             that are locked or stopped now or within two weeks{uncounted}.",
            self.accounts,
            count("warn"),
            count("restrict"),
            count("lock"),
            count("stop"),
            count("restore")
        );
        for line in &self.lines {
            let _ = write!(text, "\n  {}: {} now", line.account, line.now);
            if let (Some(next), Some(at)) = (line.next, line.next_at) {
                let _ = write!(text, ", {next} from {}", at.display_in(zone));
            }
            if let Some(machines) = line.machines {
                let _ = write!(text, ", {machines} machines");
            }
        }
        for why in &self.held_back_by {
            let _ = write!(text, "\nHeld back: {why}.");
        }
        text
    }
}

/// Arms. Gives what was not armed before.
pub async fn arm(app: &App, wanted: &Wanted, author: &str) -> Result<Vec<String>, JobError> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let before = words(&policy_rows::list_arming(&mut tx).await?);
    let mut armed = Vec::new();
    for (rung, path) in wanted.pairs() {
        if policy_rows::arm(&mut tx, rung.word(), path, author, now).await? {
            armed.push(place(rung.word(), path));
        }
    }
    let after = words(&policy_rows::list_arming(&mut tx).await?);
    audit(&mut tx, author, "enforce.arm", (before, after), now).await?;
    tx.commit().await?;
    Ok(armed)
}

/// Disarms. Gives what is not armed any more. A part of what is armed as a whole can not be taken out of it. Stop passes lock:
/// where lock is disarmed, stop goes with it, or tenants would be warned of a step that never comes.
pub async fn disarm(app: &App, wanted: &Wanted, everywhere: bool, author: &str) -> Result<Vec<String>, JobError> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let rows = policy_rows::list_arming(&mut tx).await?;
    let before = words(&rows);
    let mut disarmed = Vec::new();
    let mut unlocked = Vec::new();
    for row in rows {
        let named = Rung::parse(&row.rung).is_some_and(|rung| wanted.rungs.contains(&rung))
            && (everywhere || wanted.domains.contains(&row.domain_path));
        if named && policy_rows::disarm(&mut tx, &row.rung, &row.domain_path).await? {
            disarmed.push(place(&row.rung, &row.domain_path));
            if row.rung == Rung::Lock.word() {
                unlocked.push((Rung::Lock, row.domain_path));
            }
        }
    }
    let unlocked = Arming::new(unlocked);
    let left = policy_rows::list_arming(&mut tx).await?;
    let still = Arming::new(left.iter().cloned().filter_map(pair_of));
    for row in left.iter().filter(|row| row.rung == Rung::Stop.word()) {
        let lost = unlocked.is_armed(Rung::Lock, &row.domain_path) && !still.is_armed(Rung::Lock, &row.domain_path);
        if lost && policy_rows::disarm(&mut tx, &row.rung, &row.domain_path).await? {
            disarmed.push(format!("{} (it passes lock)", place(&row.rung, &row.domain_path)));
        }
    }
    let after = words(&policy_rows::list_arming(&mut tx).await?);
    audit(&mut tx, author, "enforce.disarm", (before, after), now).await?;
    tx.commit().await?;
    Ok(disarmed)
}

fn place(rung: &str, path: &str) -> String {
    if path.is_empty() { format!("{rung} in the whole cloud") } else { format!("{rung} in {path}") }
}

fn words(rows: &[ArmingRow]) -> String {
    if rows.is_empty() {
        return "nothing".to_owned();
    }
    rows.iter().map(|row| place(&row.rung, &row.domain_path)).collect::<Vec<_>>().join(", ")
}

fn with_authors(rows: &[ArmingRow]) -> String {
    let each = rows.iter().map(|row| format!("{} (by {})", place(&row.rung, &row.domain_path), row.armed_by));
    each.collect::<Vec<_>>().join(", ")
}

async fn audit(
    tx: &mut Tx,
    author: &str,
    action: &str,
    (before, after): (String, String),
    now: Timestamp,
) -> Result<(), JobError> {
    let line = AuditLine {
        at_ms: now.as_ms(),
        actor: author.to_owned(),
        action: action.to_owned(),
        subject: "enforcement".to_owned(),
        before_state: Some(before),
        after_state: Some(after),
        ..AuditLine::default()
    };
    Ok(runs::write_audit(tx, &line).await?)
}

/// How enforcement stands.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Status {
    /// What is armed, and by whom.
    pub armed: Vec<ArmingRow>,
    /// Whether steps are armed, or accounts held, and nobody can do anything about it: the enforcer's key pair is not configured.
    pub lacks_key: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Why nothing is done until an administrator has confirmed.
    pub unconfirmed: Option<String>,
    /// Names in the configuration and in what is armed that match nothing in CloudStack: each as a sentence.
    pub unmatched: Vec<String>,
    /// The version of CloudStack that an administrator last looked at.
    pub version: Option<String>,
    /// Plans that wait for an approval or a run.
    pub plans: Vec<rows::PlanRow>,
    /// Proposals to delete that wait.
    pub deletions: usize,
    /// Accounts that bursar holds.
    pub held: usize,
    /// The newest run of enforcement.
    pub last_run: Option<runs::Run>,
}

/// Reads how enforcement stands; asks CloudStack nothing.
pub async fn status(app: &App) -> Result<Status, JobError> {
    let mut tx = app.store.read().await?;
    let now = app.clock.now();
    let plans = rows::list_open_plans(&mut tx).await?;
    let armed = policy_rows::list_arming(&mut tx).await?;
    let held = crate::store::enforcement::list_held_by(&mut tx, "billing").await?.len();
    let status = Status {
        unmatched: find_unmatched(app, &mut tx, &armed).await?,
        lacks_key: app.config.cloudstack.enforcer.is_none()
            && (held > 0 || armed.iter().any(|row| row.rung != Rung::Notify.word())),
        armed,
        paused: runs::find_setting(&mut tx, switches::PAUSED).await?.as_deref() == Some("1"),
        unconfirmed: marker::find_unconfirmed(&mut tx).await?,
        version: runs::find_setting(&mut tx, switches::VERSION).await?,
        plans: plans.into_iter().filter(|plan| Timestamp::from_ms(plan.expires_ms) > now).collect(),
        deletions: rows::list_deletions(&mut tx, false, 1_000).await?.len(),
        held,
        last_run: runs::list_runs(&mut tx, Some("enforce"), 1).await?.into_iter().next(),
    };
    tx.commit().await?;
    Ok(status)
}

/// Protection and arming hang on names: after a rename in CloudStack they are about nobody, and nothing else would tell.
async fn find_unmatched(app: &App, tx: &mut Tx, armed: &[ArmingRow]) -> Result<Vec<String>, JobError> {
    let accounts = cloud::list_accounts(tx).await?;
    let domains = cloud::list_domains(tx).await?;
    // Nothing was read from CloudStack yet.
    if accounts.is_empty() || domains.is_empty() {
        return Ok(Vec::new());
    }
    let is_there = |path: &str, name: &str| {
        accounts.iter().any(|one| one.gone_ms.is_none() && one.domain_path == path && one.name == name)
    };
    let listed = app.config.policy.protected_accounts.iter().filter(|one| !is_there(&one.domain_path, &one.name));
    let mut found: Vec<String> = listed
        .map(|one| {
            format!(
                "[policy] protected_accounts names {}/{}, and CloudStack has no such account: if it was renamed it is not protected",
                one.domain_path, one.name
            )
        })
        .collect();
    let paths: BTreeSet<&str> = armed.iter().map(|row| row.domain_path.as_str()).collect();
    let unknown =
        paths.into_iter().filter(|path| !path.is_empty() && domains.iter().all(|domain| domain.path != *path));
    found.extend(unknown.map(|path| {
        format!(
            "Steps are armed in {path}, and CloudStack has no such domain: if it was renamed nothing is armed there"
        )
    }));
    Ok(found)
}

impl Status {
    /// As a page of text.
    pub fn text(&self, zone: chrono_tz::Tz) -> String {
        let mut text = match self.armed.len() {
            0 => "Nothing is armed: bursar decides and stores, and does nothing. `bursar enforce arm` shows what it would do.".to_owned(),
            _ => format!("Armed: {}.", with_authors(&self.armed)),
        };
        if self.lacks_key {
            let _ = write!(text, "\n{}.", HeldBack::lacking_key().why);
        }
        if self.paused {
            text.push_str("\nPaused: nothing is done until `bursar enforce resume`.");
        }
        if let Some(why) = &self.unconfirmed {
            let _ = write!(text, "\nHeld up: {why}. `bursar enforce differences`, then `bursar enforce confirm`.");
        }
        for what in &self.unmatched {
            let _ = write!(text, "\nMatches nothing: {what}.");
        }
        for plan in &self.plans {
            let _ =
                write!(text, "\nPlan {} is {}: {}. `bursar enforce plans {}`.", plan.id, plan.state, plan.why, plan.id);
        }
        if self.deletions > 0 {
            let _ = write!(text, "\n{} proposals to delete wait: `bursar deletion list`.", self.deletions);
        }
        let _ = write!(text, "\nbursar holds {} accounts.", self.held);
        if let Some(run) = &self.last_run {
            let outcome = run.outcome.as_deref().unwrap_or("running");
            let _ = write!(
                text,
                "\nLast run: {} at {}, {outcome}.",
                run.id,
                Timestamp::from_ms(run.started_ms).display_in(zone)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn nothing_named_is_every_step_in_the_whole_cloud() {
        let all = Wanted::new(&[], &[]);
        assert_eq!((all.rungs.len(), all.domains.len()), (4, 1));
        assert_eq!(all.words(), "notify, restrict, lock, stop in the whole cloud");
        let some = Wanted::new(&["lock".to_owned(), "notify".to_owned()], &["/ROOT/acme/".to_owned()]);
        assert_eq!(some.words(), "notify, lock in ROOT/acme");
    }

    #[test]
    fn mail_in_a_folder_warns_nobody_of_a_real_cloud() {
        let config = |url: &str, transport: &str| {
            let variables = [
                ("BURSAR_CLOUDSTACK_URL", url),
                ("BURSAR_BILLING_CURRENCY", "EUR"),
                ("BURSAR_MAIL_TRANSPORT", transport),
                ("BURSAR_MAIL_FOLDER", "/var/lib/bursar/mail"),
                ("BURSAR_MAIL_HOST", "mail.example.com"),
                ("BURSAR_MAIL_FROM", "billing@example.com"),
                ("BURSAR_MAIL_ADMINS", "admin@example.com"),
            ];
            Config::load(&Sources::new(None, variables).with_fallback(None)).unwrap()
        };
        let cloud = "https://cloud.example.com/client/api";
        assert!(reaches_nobody(&config(cloud, "folder")));
        assert!(!reaches_nobody(&config(cloud, "smtp")));
        assert!(!reaches_nobody(&config(cloud, "off")), "on purpose");
        assert!(!reaches_nobody(&config("http://127.0.0.1:8080/client/api", "folder")), "the demo");
    }
}
