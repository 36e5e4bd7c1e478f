//! Tells what happens on each day of the demo, in plain sentences.

use std::path::Path;

use anyhow::Context as _;

use super::{
    cloud::{DemoCloud, TENANTS},
    output,
};
use crate::{
    access::{self, Consent, NewRequest},
    approver::Approver,
    cloudstack::{Client, Credentials},
    ids::KeyRequestId,
    jobs::{
        App, keys, mail,
        work::{self, EnforceOptions},
    },
    ledger::{
        post::{self, Cause},
        verify,
    },
    money::Money,
    notify::{self, Looked},
    policy::decide::share_words,
    progress::Quiet,
    store::{cloud, enforcement, notify as mails, people, policy as policy_rows},
};

/// The limits that the demo's administrator sets on the first day.
const LIMITS: [(&str, &str); 6] =
    [("alice", "500"), ("bob", "42"), ("carol", "50"), ("dave", "50"), ("erin", "150"), ("frank", "20")];
/// The day on which alice's API key is asked for, used and ended.
const KEY_DAY: u32 = 3;
/// The day on which frank pays.
const PAYMENT_DAY: u32 = 11;
/// Who the demo's administrator is in the audit trail.
const ADMIN: &str = "demo administrator";
/// Mails of one day that are told of; the demo has fewer.
const MAILS_A_DAY: i64 = 200;

/// How a tenant stands at the end.
#[derive(Debug, serde::Serialize)]
pub struct Tenant {
    name: &'static str,
    part: &'static str,
    total: String,
    used: String,
    available: String,
    share: String,
    state: &'static str,
    decision: String,
    reason: String,
    sentence: String,
}

/// What the demo showed.
#[derive(Debug, serde::Serialize)]
pub struct Summary {
    days: u32,
    usage_records: i64,
    currency: String,
    events: Vec<String>,
    tenants: Vec<Tenant>,
    mail: MailCount,
    /// What `verify` found; empty is well.
    pub findings: Vec<verify::Finding>,
}

/// What went out by mail.
#[derive(Debug, serde::Serialize)]
struct MailCount {
    /// Where the mails are, one file each.
    folder: String,
    /// By state: sent, open, dead.
    states: std::collections::BTreeMap<String, i64>,
}

/// Tells the story.
pub struct Story {
    json: bool,
    events: Vec<String>,
    last_notice: i64,
}

impl Story {
    /// A story for people, or one that is only summed up.
    pub fn new(json: bool) -> Self {
        Self { json, events: Vec::new(), last_notice: 0 }
    }

    fn tell(&self, text: &str) {
        if !self.json {
            output::line(text);
        }
    }

    fn event(&mut self, text: String) {
        self.tell(&format!("  {text}"));
        self.events.push(text);
    }

    /// The opening.
    pub fn begin(&self, done: u32, folder: &Path) {
        self.tell(
            "bursar demo: a stand-in for CloudStack with six tenants runs in this process, and bursar beside it.\n\
             Two weeks pass; each day the cloud reports its usage, bursar prices it and decides.\n",
        );
        for (name, part) in TENANTS {
            self.tell(&format!("  {name:<6} {part}"));
        }
        self.tell(&format!("\nData: {}", folder.display()));
        if done > 0 {
            self.tell(&format!("Going on after day {done}, where the demo stopped before."));
        }
    }

    /// One day: sync, rate, what people do, enforce.
    pub async fn day(&mut self, app: &App, demo: &DemoCloud, day: u32, rows: usize) -> anyhow::Result<()> {
        let date = app.clock.now().display_in(app.config.billing.zone);
        self.tell(&format!("\nDay {day} ({date}; the cloud has reported {rows} usage records so far)"));
        let sync = work::sync(app, false, "demo", &Quiet).await?;
        let rate = work::rate(app, None, "demo", &Quiet).await?;
        if day == 1 {
            self.event(format!(
                "bursar meets {} accounts in {} domains. dave is locked already: that lock is not bursar's, and stays.",
                sync.directory.accounts, sync.directory.domains
            ));
            self.test_mail(app).await?;
            self.set_limits(app).await?;
        }
        self.tell(&format!(
            "  {} new records, {} account days priced, {} charges posted.",
            sync.usage.new_records, rate.rated.days, rate.posted.transfers
        ));
        if day == KEY_DAY {
            self.api_key(app, demo).await?;
        }
        if day == PAYMENT_DAY {
            self.payment(app).await?;
        }
        let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
        let report = work::enforce(app, options, "demo").await?;
        let mut tx = app.store.begin().await?;
        let mut notices = enforcement::list_notices(&mut tx, None, 100).await?;
        notices.reverse();
        let (last, now) = (self.last_notice, app.clock.now().as_ms());
        for notice in
            notices.iter().filter(|notice| notice.id > last && notice.recorded_ms >= now && notice.dry_run == 0)
        {
            let account = cloud::get_account(&mut tx, crate::ids::AccountId::new(notice.account_id)).await?;
            self.event(format!("{} is told: {}", account.name, notice.sentence));
        }
        self.last_notice = notices.last().map_or(self.last_notice, |notice| notice.id);
        tx.commit().await?;
        self.mail(app).await?;
        for line in &report.recovered {
            self.event(format!("left over from before the interruption: {line}"));
        }
        let sentence = |account: &str| {
            report
                .decisions
                .iter()
                .find(|line| line.account == account)
                .map(|line| line.sentence.clone())
                .unwrap_or_default()
        };
        for account in &report.restricted {
            self.event(format!("{account} is RESTRICTED: its resource limits are set to what it uses now."));
        }
        for account in &report.stopped {
            self.event(format!("{account} is STOPPED: it is disabled, with its machines."));
        }
        for account in &report.locked {
            self.event(format!("{account} is LOCKED in CloudStack. It is told: {}", sentence(account)));
        }
        for account in &report.restored {
            self.event(format!("{account} is OPEN again. It is told: {}", sentence(account)));
        }
        for started in &report.started {
            self.event(format!("under way: {started}"));
        }
        for failed in &report.failed {
            self.event(format!("not done: {failed}"));
        }
        if let Some(fuse) = &report.fuse {
            self.event(format!("the fuse held: {fuse}"));
        }
        Ok(())
    }

    /// The mail works: enforcement may be armed.
    async fn test_mail(&mut self, app: &App) -> anyhow::Result<()> {
        let (settings, now) = (mail::settings(app), app.clock.now());
        let answers = notify::send_test(&settings, &settings.admins, app.random.as_ref(), now).await?;
        anyhow::ensure!(answers.iter().all(|answer| answer.accepted), "the test mail was not taken");
        let mut tx = app.store.begin().await?;
        notify::note_tested(&mut tx, &settings, now).await?;
        tx.commit().await?;
        // Mail leaves from now on.
        notify::queue(&app.store, &settings, app.random.as_ref(), Looked::AtAll, now).await?;
        self.event("The administrator sends a test mail, which arrives: warnings will, too.".to_owned());
        Ok(())
    }

    /// What the day's notices and decisions come to as mail.
    async fn mail(&mut self, app: &App) -> anyhow::Result<()> {
        mail::pass(app, Looked::AtAll, "demo").await?;
        let mut tx = app.store.read().await?;
        let sent = mails::list_mails_since(&mut tx, app.clock.now(), MAILS_A_DAY).await?;
        tx.commit().await?;
        for mail in sent {
            self.event(format!("Mail to {}: {}", mail.recipient, mail.subject));
        }
        Ok(())
    }

    async fn set_limits(&mut self, app: &App) -> anyhow::Result<()> {
        let now = app.clock.now();
        let defaults = (app.default_limit(), app.tax()?);
        let mut tx = app.store.begin().await?;
        for (name, amount) in LIMITS {
            let account = cloud::resolve_account(&mut tx, name).await?;
            let key = format!("demo/limit/{name}");
            let cause = Cause { key: &key, author: ADMIN, reason: "the demo's first day" };
            post::set_limit(&mut tx, account.payer_id, Some(Money::parse(amount)?), cause, defaults, now).await?;
        }
        for rung in ["notify", "restrict", "lock", "stop"] {
            policy_rows::arm(&mut tx, rung, "", ADMIN, now).await?;
        }
        tx.commit().await?;
        let list: Vec<String> = LIMITS.iter().map(|(name, amount)| format!("{name} {amount}")).collect();
        self.event(format!("The administrator sets credit limits in EUR ({}) and arms enforcement.", list.join(", ")));
        Ok(())
    }

    /// alice asks for API access; the key works, and no longer does once it is ended.
    async fn api_key(&mut self, app: &App, demo: &DemoCloud) -> anyhow::Result<()> {
        let now = app.clock.now();
        let settings = keys::settings(app);
        let mut tx = app.store.begin().await?;
        let alice = cloud::resolve_account(&mut tx, "alice").await?;
        let request = NewRequest {
            key: "demo/key/alice".to_owned(),
            account: alice.id,
            requested_by: "alice".to_owned(),
            for_user: None,
            replaces: None,
            purpose: "nightly backups by script".to_owned(),
            days: 30,
        };
        let id: KeyRequestId = access::file(&mut tx, &settings, request, now).await?;
        let state = people::get_key_request(&mut tx, id).await?.state;
        if state == "requested" {
            let consent = Consent { message: Some("fine, for a month".to_owned()), ..Consent::default() };
            access::approve(&mut tx, id, &Approver::by_name(ADMIN), &consent, &settings, now).await?;
        }
        tx.commit().await?;
        keys::carry_out(app).await?;
        if state == "shown" || state == "revoked" || state == "revoking" {
            // The demo was cut off after the pair was shown; its secret is gone, as it should be.
            return Ok(());
        }
        let pair = keys::show(app, id, "alice").await?;
        let credentials = Credentials {
            api_key: crate::secrets::Secret::new(pair.api_key.clone()),
            secret_key: pair.secret_key.clone(),
        };
        let client = Client::new(app.client_settings()?, credentials, std::sync::Arc::clone(&app.clock))?;
        let machines = client.call_raw("listVirtualMachines", &[]).await?;
        let count =
            machines.get("count").and_then(serde_json::Value::as_u64).context("the new key sees no machines")?;
        self.event(format!(
            "alice asks for API access, the administrator approves; a CloudStack user of its own with a key pair is made. The secret \
             is shown once. The key works: it lists {count} machines of alice's at {}.",
            demo.url()
        ));
        let mut tx = app.store.begin().await?;
        access::revoke(&mut tx, id, ADMIN, &settings, now).await?;
        tx.commit().await?;
        keys::carry_out(app).await?;
        let refused = client.call_raw("listVirtualMachines", &[]).await.is_err();
        anyhow::ensure!(refused, "a revoked key still works");
        self.event("The administrator ends the key; CloudStack refuses it from then on.".to_owned());
        Ok(())
    }

    async fn payment(&mut self, app: &App) -> anyhow::Result<()> {
        let mut tx = app.store.begin().await?;
        let frank = cloud::resolve_account(&mut tx, "frank").await?;
        let cause = Cause { key: "demo/payment/frank", author: ADMIN, reason: "bank transfer" };
        let defaults = (app.default_limit(), app.tax()?);
        post::add_payment(&mut tx, frank.payer_id, Money::parse("80")?, cause, defaults, app.clock.now()).await?;
        tx.commit().await?;
        self.event("frank pays 80.00 EUR; the administrator records it.".to_owned());
        Ok(())
    }

    /// How everybody stands, and whether the books agree.
    pub async fn finish(&mut self, app: &App, demo: &DemoCloud, mail_folder: &Path) -> anyhow::Result<Summary> {
        super::asks::leave(app, ADMIN).await?;
        let currency = &app.config.billing.currency;
        let mut tx = app.store.begin().await?;
        let standings = app.standings(&mut tx).await?;
        let decisions = enforcement::list_newest_decisions(&mut tx).await?;
        let mut tenants = Vec::new();
        for (name, part) in TENANTS {
            let account = cloud::resolve_account(&mut tx, name).await?;
            let standing =
                standings.iter().find(|standing| standing.payer == account.payer_id).context("no standing")?;
            let decision = decisions.get(&account.id.get());
            tenants.push(Tenant {
                name,
                part,
                total: currency.format_plain(standing.figures.total),
                used: currency.format_plain(standing.figures.used),
                available: currency.format_plain(standing.figures.available),
                share: share_words(standing.figures.share()),
                state: demo.state(name),
                decision: decision.map(|row| row.outcome.clone()).unwrap_or_default(),
                reason: decision.map(|row| row.reason.clone()).unwrap_or_default(),
                sentence: decision.map(|row| row.sentence.clone()).unwrap_or_default(),
            });
        }
        let usage_records: i64 =
            crate::store::usage::count_by_standing(&mut tx).await?.iter().map(|(_, count, _)| count).sum();
        let states: std::collections::BTreeMap<String, i64> = mails::count_mails(&mut tx).await?.into_iter().collect();
        tx.commit().await?;
        let findings = work::verify(app).await?.findings;
        let rows = tenants
            .iter()
            .map(|tenant| {
                [
                    tenant.name.to_owned(),
                    tenant.total.clone(),
                    tenant.used.clone(),
                    tenant.available.clone(),
                    tenant.share.clone(),
                    tenant.state.to_owned(),
                    tenant.sentence.clone(),
                ]
            })
            .collect();
        self.tell(&format!(
            "\nAfter two weeks (amounts in {}, tax included)\n{}",
            currency.code(),
            output::table(
                ["tenant", "Total", "Used", "Available", "used", "in CloudStack", "what the tenant is told"],
                rows
            )
        ));
        self.tell(&format!(
            "{} mails were sent; each is a file in {} that any mail program opens.",
            states.get("sent").copied().unwrap_or_default(),
            mail_folder.display()
        ));
        if findings.is_empty() {
            self.tell("verify: every balance agrees with its entries, every charge with its records.");
        } else {
            self.tell(&format!("verify found {} things that do not agree:", findings.len()));
            for finding in &findings {
                self.tell(&format!("  {}: {}", finding.check, finding.detail));
            }
        }
        Ok(Summary {
            days: super::DAYS,
            usage_records,
            currency: currency.code().to_owned(),
            events: self.events.clone(),
            tenants,
            mail: MailCount { folder: mail_folder.display().to_string(), states },
            findings,
        })
    }
}
