//! The jobs: each is one run with a stored record, and never overlaps itself.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio_util::task::AbortOnDropHandle;

use super::app::{App, AppError, Role};
use crate::{
    cloudstack,
    config::{Database, MailTransport},
    enforcement::{self, EnforceReport, EnforceSettings, fuse::Limits, held::HeldBack, marker, plans, run::Enforcer},
    ids::{PriceBookId, RunId},
    ledger::{
        grants::{self, Lapsed},
        post::{self, PostReport},
        verify::{self, Finding},
    },
    people::directory::{self, DirectoryReport},
    progress::Progress,
    rating::{
        FirstDifference, PriceBook,
        changes::{self, Proposal, Span},
        check,
        desk::{self, RateSettings, Under},
        stage::{self, RateReport},
    },
    store::{StoreError, Tx, notify, rating as rating_rows, runs, usage as usage_rows},
    telemetry::metrics::{self, RunOutcome},
    time::{Day, Timestamp},
    usage::{
        compact::{self, CompactReport},
        sync::{self, SyncReport, SyncSettings},
    },
};

/// How often a run shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How long between two looks at a job of CloudStack.
const JOB_PAUSE: Duration = Duration::from_millis(500);

/// Before any day that a cloud was billed for.
const EVERY_DAY: Day = Day::from_number(0);
/// The setting with the price book of the last run.
pub const LAST_BOOK: &str = "rating.book";

/// Why a job failed. Each stands in the run's record as well.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The pieces could not be opened.
    #[error(transparent)]
    App(#[from] AppError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// CloudStack did not answer as it should.
    #[error(transparent)]
    CloudStack(#[from] cloudstack::Error),
    /// The directory could not be mirrored.
    #[error(transparent)]
    Directory(#[from] directory::Error),
    /// Usage could not be fetched.
    #[error(transparent)]
    Sync(#[from] sync::Error),
    /// Days could not be rated.
    #[error(transparent)]
    Rate(#[from] desk::Error),
    /// Charges could not be posted.
    #[error(transparent)]
    Post(#[from] post::Error),
    /// Enforcement stopped.
    #[error(transparent)]
    Enforce(#[from] enforcement::Error),
    /// The price book is missing or has problems.
    #[error("{0}")]
    PriceBook(String),
    /// The job is under way already.
    #[error("{job} is running since {since}; nothing was done")]
    Running {
        /// Which job.
        job: &'static str,
        /// Since when.
        since: Timestamp,
    },
    /// The request that it was for is another process's by now.
    #[error(
        "another process has taken over request {0}, since this one stood still, or it was taken back; nothing was begun"
    )]
    RequestTaken(i64),
    /// A part of it was done before it stopped, and stays done.
    #[error("{done}; the rest is not done: {}", .why.reason())]
    Unfinished {
        /// What stays done.
        done: &'static str,
        /// What stopped it.
        why: Box<JobError>,
    },
}

impl JobError {
    /// Whether another process is at the same job: it can be done later.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Running { .. } | Self::Enforce(enforcement::Error::AnotherEnforcer) => true,
            Self::Unfinished { why, .. } => why.is_busy(),
            _ => false,
        }
    }

    /// Whether another process goes on with what this one had begun.
    pub fn is_taken_over(&self) -> bool {
        match self {
            Self::RequestTaken(_)
            | Self::Store(StoreError::TakenOver)
            | Self::Directory(directory::Error::Store(StoreError::TakenOver))
            | Self::Sync(sync::Error::Store(StoreError::TakenOver))
            | Self::Rate(desk::Error::Store(StoreError::TakenOver))
            | Self::Post(post::Error::Store(StoreError::TakenOver)) => true,
            Self::Enforce(error) => error.is_taken_over(),
            Self::Unfinished { why, .. } => why.is_taken_over(),
            _ => false,
        }
    }

    /// What stopped it, without a word about what was done.
    fn reason(&self) -> String {
        match self {
            Self::Running { job, since } => format!("{job} is running since {since}"),
            Self::Enforce(enforcement::Error::AnotherEnforcer) => {
                "another process is enforcing at this moment".to_owned()
            }
            Self::Enforce(enforcement::Error::CloudStack(error)) => error.to_string(),
            other => other.to_string(),
        }
    }
}

/// What a sync did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SyncSummary {
    /// Accounts, users, projects.
    pub directory: DirectoryReport,
    /// Usage records.
    pub usage: SyncReport,
    /// What is live, for the estimate.
    pub live: super::estimate::LiveSummary,
}

/// What rating and posting did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RateSummary {
    /// Rating.
    pub rated: RateReport,
    /// Posting.
    pub posted: PostReport,
    /// Grants of which the rest was booked as lapsed.
    pub lapsed: Lapsed,
    /// What would change of closed days, once somebody approves.
    pub proposal: Option<Proposal>,
    /// Usage types without a price.
    pub unpriced: Vec<UnpricedType>,
    /// Old days summed up.
    pub compacted: CompactReport,
}

/// A usage type without a price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnpricedType {
    /// CloudStack's number.
    pub usage_type: i64,
    /// Its name in the price book.
    pub slug: String,
    /// Records without a price, by day.
    pub records: i64,
    /// First day.
    pub first: Day,
    /// Last day.
    pub last: Day,
}

/// Looks whether the request that is being carried out, if any, is still this process's. Whoever stood still may come back days later,
/// when another process has carried it out and somebody has changed his mind.
pub(super) async fn keep_request(app: &App, tx: &mut Tx, now: Timestamp) -> Result<(), JobError> {
    let Some(request) = app.request else { return Ok(()) };
    if !runs::touch_request(tx, request, &app.holder, now).await? {
        return Err(JobError::RequestTaken(request));
    }
    Ok(())
}

/// What a run reports, and what of it stays in the record of the run.
pub(super) trait RunReport: Serialize {
    /// As JSON, kept for good: all of it, where that does not grow with the cloud.
    fn detail(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl RunReport for SyncSummary {}
impl RunReport for RateSummary {}
impl RunReport for EnforceReport {
    fn detail(&self) -> String {
        self.kept().to_string()
    }
}

/// Runs a job under a record of its own.
pub(super) async fn recorded<T: RunReport, F: Future<Output = Result<T, JobError>>>(
    app: &App,
    job: &'static str,
    cause: &str,
    work: impl FnOnce(RunId) -> F,
) -> Result<T, JobError> {
    let started = app.clock.now();
    // Before this run counts: a restored backup knows fewer runs than the file beside it.
    Box::pin(marker::look(&app.store, &app.config.store.data_dir, started)).await?;
    let mut tx = app.store.begin().await?;
    keep_request(app, &mut tx, started).await?;
    let run = match runs::start_run(&mut tx, job, cause, &app.holder, started).await? {
        Ok(run) => run,
        Err(since) => return Err(JobError::Running { job, since }),
    };
    tx.commit().await?;
    // It ends with the run, also where that is dropped in the middle.
    let beating = AbortOnDropHandle::new(tokio::spawn(heartbeat(app.clone(), run)));
    let mut result = work(run).await;
    drop(beating);
    let (outcome, detail) = match &result {
        Ok(report) => ("done", report.detail()),
        Err(error) => ("failed", failed_detail(error)),
    };
    let ended = app.clock.now();
    let mut tx = app.store.begin().await?;
    let was_open = runs::end_run(&mut tx, run, outcome, &detail, ended).await?;
    tx.commit().await?;
    // Whatever a process stumbles over that comes back late, another one is at the job, or has done it.
    if let Err(error) = &result
        && !was_open
        && !error.is_taken_over()
    {
        tracing::warn!(job, %error, "a run ended so that had been cut off");
        result = Err(StoreError::TakenOver.into());
    }
    Box::pin(marker::write(&app.store, &app.config.store.data_dir, app.random.as_ref(), ended)).await?;
    let word = if result.is_ok() { RunOutcome::Done } else { RunOutcome::Failed };
    metrics::run_ended(job, word, ended.since(started), ended);
    result
}

/// What is kept of a run that failed: why, beside what enforcement did before.
fn failed_detail(error: &JobError) -> String {
    let did = match error {
        JobError::Enforce(error) => error.kept(),
        _ => None,
    };
    let mut detail = did.unwrap_or_else(|| serde_json::json!({}));
    if let Some(detail) = detail.as_object_mut() {
        detail.insert("error".to_owned(), error.to_string().into());
    }
    detail.to_string()
}

async fn heartbeat(app: App, run: RunId) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        match show_life(&app, run).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(run = run.get(), "a run was cut off, since it stood still; whoever took over goes on");
                return;
            }
            Err(error) => tracing::warn!(run = run.get(), %error, "a run could not show that it is alive"),
        }
    }
}

async fn show_life(app: &App, run: RunId) -> Result<bool, StoreError> {
    let mut tx = app.store.begin().await?;
    let is_open = runs::touch_run(&mut tx, run, app.clock.now()).await?;
    tx.commit().await?;
    Ok(is_open)
}

/// Mirrors the directory and fetches usage.
pub async fn sync(app: &App, full: bool, cause: &str, progress: &dyn Progress) -> Result<SyncSummary, JobError> {
    let client = app.client(Role::Reader)?;
    recorded(app, "sync", cause, async |run| {
        let directory = directory::sync_directory(&client, &app.store, app.clock.as_ref(), run).await?;
        // Tags are asked for only where a price depends on them; a book with problems is told about by the rate job.
        let tags = load_price_book_text(app).is_ok_and(|(_, book)| book.uses_tags());
        let settings = SyncSettings { tags, ..app.sync_settings(full) };
        let usage = sync::sync_usage(&client, &app.store, app.clock.as_ref(), &settings, run, progress).await?;
        // After the usage, which tells what offerings there are: the first price book comes right behind the first sync.
        name_offerings(app, &client, run).await?;
        let mut tx = app.store.begin().await?;
        // The first sync fixes the first billing day, where the configuration names none.
        app.rate_settings(&mut tx).await?;
        runs::commit_for(tx, run).await?;
        let live = super::estimate::after_usage(app, &client, run).await;
        metrics::usage_ingested(usage.new_records);
        metrics::usage_duplicates(usage.repeats);
        metrics::usage_quarantined(usage.quarantined);
        if let Some(until) = usage.closed_until {
            metrics::usage_age(app.clock.now().since(until));
        }
        Ok(SyncSummary { directory, usage, live })
    })
    .await
}

/// Learns what the offerings are called. A role that does not allow the lists leaves the ids.
async fn name_offerings(app: &App, client: &cloudstack::Client, run: RunId) -> Result<(), JobError> {
    let mut names = Vec::new();
    for list in [
        client.list_service_offerings().await,
        client.list_disk_offerings().await,
        client.list_network_offerings().await,
    ] {
        match list {
            Ok(offerings) => {
                names.extend(offerings.items.into_iter().map(|offering| (offering.id, offering.name)));
            }
            Err(cloudstack::Error::NotAllowed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut tx = app.store.begin().await?;
    usage_rows::name_resources(&mut tx, &names).await?;
    runs::commit_for(tx, run).await?;
    Ok(())
}

/// Reads the configured price book: its text, and what it says. Every problem is told at once.
pub fn load_price_book_text(app: &App) -> Result<(String, PriceBook), JobError> {
    let path = &app.config.billing.price_book;
    let text = std::fs::read_to_string(path).map_err(|error| {
        JobError::PriceBook(format!(
            "the price book {} can not be read: {error}. `bursar price init {}` writes one with everything seen so far",
            path.display(),
            path.display()
        ))
    })?;
    let book = parse_price_book(app, &text).map_err(|problems| {
        JobError::PriceBook(format!("the price book {} has problems; nothing was rated:\n{problems}", path.display()))
    })?;
    Ok((text, book))
}

/// Reads the configured price book and keeps it.
pub async fn load_price_book(app: &App) -> Result<(PriceBookId, PriceBook), JobError> {
    let (_, book) = load_price_book_text(app)?;
    let mut tx = app.store.begin().await?;
    if let Some(stored) = rating_rows::find_currency(&mut tx).await?
        && stored != book.currency().code()
    {
        return Err(JobError::PriceBook(format!(
            "the charges in the store are in {stored} and the price book is in {}; a cloud has one currency",
            book.currency().code()
        )));
    }
    let id =
        rating_rows::put_book(&mut tx, book.digest(), book.currency().code(), book.canonical_text(), app.clock.now())
            .await?;
    tx.commit().await?;
    Ok((id, book))
}

/// Parses a price book and checks its currency; problems come as lines.
pub fn parse_price_book(app: &App, text: &str) -> Result<PriceBook, String> {
    let lines = |problems: &[crate::rating::Problem]| {
        problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
    };
    let book = PriceBook::parse(text, app.config.billing.zone).map_err(|problems| lines(&problems))?;
    match book.currency_problem(&app.config.billing.currency) {
        Some(problem) => Err(lines(&[problem])),
        None => Ok(book),
    }
}

/// Rates what changed and posts closed days. What a new book would change of closed days, or on an order (`from`) the present
/// one, becomes a proposal that waits for a person.
pub async fn rate(app: &App, from: Option<Day>, cause: &str, progress: &dyn Progress) -> Result<RateSummary, JobError> {
    recorded(app, "rate", cause, async |run| {
        let (book_id, book) = load_price_book(app).await?;
        let book = Arc::new(book);
        let mut tx = app.store.begin().await?;
        let settings = app.rate_settings(&mut tx).await?;
        let last_book =
            runs::find_setting(&mut tx, LAST_BOOK).await?.and_then(|text| text.parse().ok()).map(PriceBookId::new);
        if last_book.is_some_and(|last| last != book_id) {
            rating_rows::mark_open_days(&mut tx, book_id).await?;
        }
        runs::commit_for(tx, run).await?;
        let clock = app.clock.as_ref();
        let rated = stage::rate_days(&app.store, (book_id, &book), &settings, run, progress).await?;
        let mut tx = app.store.read().await?;
        let post_settings = app.post_settings(&mut tx, run).await?;
        tx.commit().await?;
        let (posted, proposal) = match post_settings {
            Some(post_settings) => {
                let posted = post::post_charges(&app.store, &post_settings, clock, progress).await?;
                let looked =
                    Looked { book: (book_id, &book), settings: &settings, closed_until: post_settings.closed_until };
                (posted, propose(app, looked, (from, last_book), run, progress).await?)
            }
            None => (PostReport::default(), None),
        };
        for failure in &posted.failed {
            tracing::error!(%failure, "a charge could not be posted");
        }
        let now = clock.now();
        // Whatever else has happened meanwhile: each asks again under the lock of its payer, and books once.
        grants::open_turned_epochs(&app.store, (app.default_limit(), app.tax()?), now).await?;
        let lapsed = grants::book_expired_grants(&app.store, app.lookback(), now).await?;
        let mut tx = app.store.read().await?;
        let unpriced: Vec<UnpricedType> = rating_rows::list_unpriced(&mut tx)
            .await?
            .into_iter()
            .map(|(usage_type, records, first, last)| UnpricedType {
                usage_type,
                slug: slug_of(usage_type),
                records,
                first: Day::from_number(first),
                last: Day::from_number(last),
            })
            .collect();
        tx.commit().await?;
        metrics::unpriced_records(unpriced.iter().map(|row| u64::try_from(row.records).unwrap_or(0)).sum());
        let compacted = compact::compact_days(&app.store, app.compact_settings(), (run, now)).await?;
        Ok(RateSummary { rated, posted, lapsed, proposal, unpriced, compacted })
    })
    .await
}

/// What closed days are compared with.
struct Looked<'a> {
    book: (PriceBookId, &'a Arc<PriceBook>),
    settings: &'a RateSettings,
    closed_until: Timestamp,
}

/// Proposes what changes of closed days: from an ordered day on, or from where the book of the last run prices otherwise.
async fn propose(
    app: &App,
    looked: Looked<'_>,
    (ordered, last): (Option<Day>, Option<PriceBookId>),
    run: RunId,
    progress: &dyn Progress,
) -> Result<Option<Proposal>, JobError> {
    let (book_id, book) = looked.book;
    let zone = looked.settings.zone;
    let mut tx = app.store.read().await?;
    let from = match (ordered, last) {
        (Some(day), _) => Some(day),
        (None, Some(last)) if last != book_id => {
            let text = rating_rows::get_book(&mut tx, last).await?;
            // A book that can not be read any more is compared from the beginning.
            match PriceBook::parse(&text, zone) {
                Ok(before) => PriceBook::first_difference(&before, book).map(|since| match since {
                    FirstDifference::From(at) => Day::of(at, zone).unwrap_or(EVERY_DAY),
                    FirstDifference::Always => EVERY_DAY,
                }),
                Err(_) => Some(EVERY_DAY),
            }
        }
        _ => None,
    };
    tx.commit().await?;
    let proposal = match (from, post::first_open_day(looked.closed_until, zone)) {
        (Some(from), Some(until)) if from < until => {
            // A new book speaks of prices only; who orders a look means everything as it is set now.
            let under = if ordered.is_some() { Under::Revised } else { Under::Kept };
            let span = Span { from, until, under };
            changes::propose(&app.store, looked.book, looked.settings, span, (run, app.clock.now()), progress).await?
        }
        _ => None,
    };
    if last != Some(book_id) {
        let mut tx = app.store.begin().await?;
        runs::put_setting(&mut tx, LAST_BOOK, &book_id.to_string(), app.clock.now()).await?;
        runs::commit_for(tx, run).await?;
    }
    Ok(proposal)
}

/// What a check of all charges found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VerifySummary {
    /// Charges that the ledger and the rating both know.
    pub charges: u64,
    /// Account days priced again.
    pub days: u64,
    /// Records on them.
    pub records: u64,
    /// Account days whose records are summed up: compared with their sums, not priced again.
    pub summed_up: u64,
    /// Everything that does not agree; empty is well.
    pub findings: Vec<Finding>,
}

/// Rebuilds every balance from its entries, prices every day again, and compares. Changes nothing.
pub async fn verify(app: &App) -> Result<VerifySummary, JobError> {
    let mut tx = app.store.read().await?;
    let ledger = verify::verify(&mut tx).await?;
    let settings = app.noted_rate_settings(&mut tx).await?;
    tx.commit().await?;
    let mut summary = VerifySummary { charges: ledger.charges, findings: ledger.findings, ..VerifySummary::default() };
    let Some(settings) = settings else { return Ok(summary) };
    let checked = check::check_charges(&app.store, &settings).await?;
    summary.days = checked.days;
    summary.records = checked.records;
    summary.summed_up = checked.summed_up;
    summary.findings.extend(checked.wrong_digests.iter().map(|(account, usage_type, gone, summed)| Finding {
        check: "compaction",
        detail: format!(
            "account {account}, usage type {usage_type}: {gone} usage records are gone, {summed} are summed up"
        ),
    }));
    summary.findings.extend(checked.mismatches.into_iter().map(|found| {
        let place = format!("account {}, {}", found.account, found.day);
        match found.usage_type {
            Some(usage_type) if found.summed_up => Finding {
                check: "charge-sums",
                detail: format!(
                    "{place}, usage type {usage_type}: the day's charge is for {} records, its daily sums are of {}",
                    found.stored.1, found.priced.1
                ),
            },
            Some(usage_type) => Finding {
                check: "charge-records",
                detail: format!(
                    "{place}, usage type {usage_type}: the day's charge is {} billionths for {} records; priced again it is \
                     {} for {}",
                    found.stored.0, found.stored.1, found.priced.0, found.priced.1
                ),
            },
            None => Finding {
                check: "unrated",
                detail: format!("{place}: there are usage records, no charge, and the day is not on the list"),
            },
        }
    }));
    Ok(summary)
}

/// The price book's name of a usage type, or its number.
pub fn slug_of(usage_type: i64) -> String {
    i32::try_from(usage_type)
        .ok()
        .and_then(crate::usage::types::UsageType::from_id)
        .map_or_else(|| usage_type.to_string(), |kind| kind.slug.to_owned())
}

/// What an administrator says about one run of enforcement.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnforceOptions {
    /// Only decide and store.
    pub dry_run: bool,
    /// Whether this process holds the data directory's lock.
    pub holds_data_lock: bool,
}

/// How enforcement goes about it, from the configuration.
pub fn enforce_settings(app: &App, options: EnforceOptions) -> Result<EnforceSettings, JobError> {
    let config = &app.config;
    Ok(EnforceSettings {
        ladders: app.ladders(),
        mail_is_off: matches!(config.mail.transport, MailTransport::Off),
        currency: config.billing.currency.clone(),
        zone: config.billing.zone,
        default_limit: app.default_limit(),
        tax: app.tax()?,
        scope: app.scope(),
        protected: config
            .policy
            .protected_accounts
            .iter()
            .map(|account| (account.domain_path.clone(), account.name.clone()))
            .collect(),
        fuse: Limits {
            accounts: config.fuse.accounts,
            percent: config.fuse.percent,
            machines: config.fuse.running_vms,
        },
        plan_lasts: config.fuse.plan_lasts,
        approvals: plans::approvals_needed(config.fuse.second_admin),
        quarantine_percent: config.enforcement.quarantine_percent,
        usage_grace: config.enforcement.usage_grace,
        clock_jump: config.enforcement.clock_jump,
        lease: config.enforcement.lease,
        intent_deadline: config.enforcement.intent_deadline,
        job_pause: JOB_PAUSE,
        planned_by: None,
        reads_at_once: usize::try_from(config.cloudstack.concurrency).unwrap_or(1),
        starts_at_once: usize::try_from(config.enforcement.starts_at_once).unwrap_or(1),
        restrict_backups: config.enforcement.restrict_backups,
        dry_run: options.dry_run,
        has_key: config.cloudstack.enforcer.is_some(),
        seize_lease: options.holds_data_lock && matches!(config.store.database, Database::Sqlite(_)),
    })
}

/// Decides, and acts where that is armed.
pub async fn enforce(app: &App, options: EnforceOptions, cause: &str) -> Result<EnforceReport, JobError> {
    // Without the enforcer's key pair the reader tells clocks and the quota plugin.
    let settings = enforce_settings(app, options)?;
    let report =
        as_enforcer(app, settings, cause, async |enforcer, run| enforcement::enforce(enforcer, run).await).await?;
    if !options.dry_run {
        tell_what_holds_back(app, &report).await?;
    }
    Ok(report)
}

/// Tells administrators, once a day and guard, what holds back everybody: nothing else would show that enforcement stands still.
async fn tell_what_holds_back(app: &App, report: &EnforceReport) -> Result<(), JobError> {
    if report.dry_run && !report.lacks_key || report.paused || report.unconfirmed.is_some() {
        return Ok(());
    }
    let now = app.clock.now();
    let Some(day) = Day::of(now, app.config.billing.zone) else { return Ok(()) };
    let mut tx = app.store.begin().await?;
    // Without the key the guards do not matter.
    let guards = if report.lacks_key { vec![HeldBack::lacking_key()] } else { report.held_back_by.clone() };
    for guard in guards.iter().filter(|guard| !guard.is_told_elsewhere()) {
        let key = format!("held-back-{}-{day}", guard.kind);
        let body = format!("{}. {} `bursar enforce status` shows what holds.", capitalised(&guard.why), guard.means());
        if notify::insert_admin_notice(&mut tx, &key, "held-back", "Enforcement takes no steps down", &body, now)
            .await?
        {
            tracing::warn!(kind = %guard.kind, why = %guard.why, "every step downwards is held back");
        }
    }
    tx.commit().await?;
    Ok(())
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// The client that enforcement talks to CloudStack with: the enforcer's, or the reader's where there is none.
pub(super) fn enforcement_client(app: &App) -> Result<cloudstack::Client, JobError> {
    let has_enforcer = app.config.cloudstack.enforcer.is_some();
    Ok(if has_enforcer { app.client(Role::Enforcer)? } else { app.client(Role::Reader)? })
}

/// Runs something as the enforcer, under a record of the job: no two of them run side by side.
pub(super) async fn as_enforcer<T: RunReport>(
    app: &App,
    settings: EnforceSettings,
    cause: &str,
    work: impl AsyncFnOnce(&Enforcer<'_>, RunId) -> Result<T, enforcement::Error>,
) -> Result<T, JobError> {
    let client = enforcement_client(app)?;
    // On the heap: it is large, and everybody waits for it.
    Box::pin(recorded(app, "enforce", cause, async |run| {
        let enforcer = Enforcer {
            store: &app.store,
            client: Some(&client),
            clock: Arc::clone(&app.clock),
            random: Arc::clone(&app.random),
            holder: &app.holder,
            settings: &settings,
        };
        Ok(work(&enforcer, run).await?)
    }))
    .await
}
