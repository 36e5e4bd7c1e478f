//! The API client with a key pair: signs, sends, retries reads, and says of a write whose answer was lost that its
//! outcome is not known.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::{
    ClientSettings, Credentials, Error,
    envelope::{self, Entry, Page, Rejection},
    error::scrubbed,
    pace::{Pace, ReadPace},
    params::Params,
    signing,
    transport::{Exchange, Http},
};
use crate::telemetry::metrics::{self, CallOutcome};
use crate::time::{Clock, Timestamp};

/// The page size to begin with: CloudStack's default maximum. A smaller one is learnt from its refusal (facts 1.8).
const FIRST_PAGE_SIZE: u32 = 500;
/// The most pages of one list: five million rows. A server whose count never comes true would otherwise be asked for ever.
const MAX_PAGES: u32 = 10_000;
/// No pause between two tries is longer.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// So far apart the two clocks count as together.
const CLOCKS_AGREE_S: i64 = 30;
/// How far apart they are found, about: a step of measuring is no longer.
const MOST_SKEW_S: i64 = 30 << 15;
/// From here on a `Date` header is mentioned when CloudStack does not accept the caller: a proxy before it may send one.
const NOTABLE_SKEW_S: u64 = 60;

/// All items of a list. Reads like a slice; `unreadable` tells how many could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// The items, in the server's order.
    pub items: Vec<T>,
    /// How many further items could not be read. Who takes absence for deletion has to look at this.
    pub unreadable: usize,
}

impl<T> std::ops::Deref for Listing<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> IntoIterator for Listing<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

/// A client of one cloud with one key pair. Cheap to clone; keeps no cookies (one would override the signature).
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: Http,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    settings: ClientSettings,
    page_size: AtomicU32,
    page_size_known: AtomicBool,
    /// How far the server's clock was ahead of ours when that was measured last.
    server_ahead_s: AtomicI64,
    pace: Arc<Pace>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("http", &self.0.http).finish_non_exhaustive()
    }
}

/// Measures in the time that calls take: the machine's, or a carrier's.
#[derive(Debug)]
pub struct Stopwatch {
    client: Client,
    begun: tokio::time::Instant,
    passed: Option<Duration>,
}

impl Stopwatch {
    /// How long it has been.
    pub fn elapsed(&self) -> Duration {
        match (self.client.0.http.passed(), self.passed) {
            (Some(now), Some(before)) => now.saturating_sub(before),
            _ => self.begun.elapsed(),
        }
    }
}

/// A success as it came, not yet read.
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// A client with this key pair. Sends nothing yet.
    pub fn new(settings: ClientSettings, credentials: Credentials, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        if credentials.api_key.is_empty() || credentials.secret_key.is_empty() {
            return Err(Error::configuration(
                "the CloudStack API key or its secret key is empty; both are shown in CloudStack under the user's keys",
            ));
        }
        Ok(Self(Arc::new(Inner {
            http: Http::new(&settings)?,
            credentials,
            clock,
            pace: Arc::new(Pace::new(settings.reads_at_once)),
            settings,
            page_size: AtomicU32::new(FIRST_PAGE_SIZE),
            page_size_known: AtomicBool::new(false),
            server_ahead_s: AtomicI64::new(0),
        })))
    }

    /// Sends any command and gives its top-level value. Commands that begin with `list`, `get` or `query` are retried
    /// as reads, everything else counts as a write.
    pub async fn call_raw(&self, command: &str, params: &[(&str, &str)]) -> Result<Value, Error> {
        let params = Params::from_pairs(params)?;
        if ["list", "get", "query"].iter().any(|verb| command.starts_with(verb)) {
            envelope::sole(&self.read(command, &params).await?.body)
        } else {
            self.write(command, &params, Ok).await
        }
    }

    /// Whether this is the key that the client signs with.
    pub fn signs_with(&self, api_key: &crate::secrets::Secret) -> bool {
        self.0.credentials.api_key.matches(api_key.expose())
    }

    /// How far the server's clock is ahead of ours, in seconds; what was measured before where that is still right within
    /// [`CLOCKS_AGREE_S`]. CloudStack sends no `Date` header, and tells its clock by what it takes for expired alone (facts 1.2): two
    /// calls find the clocks together, some thirty more how far they are apart. None: it accepts the caller by no clock
    /// of three weeks, or by each of them, as what answers for it may.
    pub async fn measure_clock_skew(&self) -> Result<Option<i64>, Error> {
        let skew = self.find_skew(self.0.server_ahead_s.load(Ordering::Relaxed)).await?;
        if let Some(skew) = skew {
            self.0.server_ahead_s.store(skew, Ordering::Relaxed);
        }
        Ok(skew)
    }

    async fn find_skew(&self, known: i64) -> Result<Option<i64>, Error> {
        // It is more than `low`, and at most `high`.
        let (mut low, mut high) = (known.saturating_sub(CLOCKS_AGREE_S), known.saturating_add(CLOCKS_AGREE_S));
        let mut step = CLOCKS_AGREE_S;
        if self.accepts_at(low).await? {
            loop {
                if step > MOST_SKEW_S {
                    return Ok(None);
                }
                (low, high) = (low.saturating_sub(step), low);
                if !self.accepts_at(low).await? {
                    break;
                }
                step = step.saturating_mul(2);
            }
        } else if self.accepts_at(high).await? {
            return Ok(Some(known));
        } else {
            loop {
                if step > MOST_SKEW_S {
                    return Ok(None);
                }
                (low, high) = (high, high.saturating_add(step));
                if self.accepts_at(high).await? {
                    break;
                }
                step = step.saturating_mul(2);
            }
        }
        while high.saturating_sub(low) > 1 {
            let middle = i64::midpoint(low, high);
            if self.accepts_at(middle).await? { high = middle } else { low = middle }
        }
        Ok(Some(high))
    }

    /// Whether the server accepts a request that ends so many seconds from now by our clock.
    async fn accepts_at(&self, seconds: i64) -> Result<bool, Error> {
        let mut attempt = 0;
        loop {
            let end = Timestamp::from_ms(self.0.clock.now().as_ms().saturating_add(seconds.saturating_mul(1_000)));
            let (form, signature) = self.form("listCapabilities", &Params::new(), end);
            let rejection = match self.0.http.post(form, None).await {
                Ok(exchange) => match self.judge(&exchange) {
                    Ok(()) => return Ok(true),
                    Err(rejection) => rejection,
                },
                Err(no_answer) => no_answer.into_rejection(),
            };
            match rejection.error {
                Error::Unauthorized { .. } => return Ok(false),
                // Who they are is known by then.
                Error::Refused { .. } | Error::Gone { .. } | Error::NotAllowed { .. } | Error::LimitReached { .. } => {
                    return Ok(true);
                }
                Error::Retry { after, .. } if attempt < self.0.settings.read_retries => {
                    let pause = self.pause(attempt, after);
                    attempt = attempt.saturating_add(1);
                    if !pause.is_zero() {
                        self.wait(pause).await;
                    }
                }
                error => return Err(named("listCapabilities", self.without_secrets(error, &[&signature]))),
            }
        }
    }

    /// The instant by the server's clock, as far as it was measured ([`Self::measure_clock_skew`]); by ours before.
    pub fn server_now(&self) -> Timestamp {
        let ahead = self.0.server_ahead_s.load(Ordering::Relaxed).saturating_mul(1_000);
        Timestamp::from_ms(self.0.clock.now().as_ms().saturating_add(ahead))
    }

    /// The page size that the server accepts, asked for once.
    pub async fn page_size(&self) -> Result<u32, Error> {
        if !self.0.page_size_known.load(Ordering::Relaxed) {
            let listed = self.list_page::<Value>("listZones", &Params::new(), 1).await;
            match listed {
                // Without the right to list zones, the first list that is allowed finds the size.
                Ok(_) | Err(Error::NotAllowed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.0.page_size.load(Ordering::Relaxed))
    }

    /// How many reads may be under way at once, and whether that had to be lowered.
    pub fn read_pace(&self) -> ReadPace {
        self.0.pace.now()
    }

    /// A read: retried with growing pauses, a bounded number of times, and no more at once than the server bears.
    pub(crate) async fn read(&self, command: &str, params: &Params) -> Result<Answer, Error> {
        let mut attempt = 0;
        loop {
            // Only while it is under way: who pauses leaves room for others.
            let passage = self.0.pace.pass().await;
            let (error, after) = match self.counted(command, params).await {
                Ok(answer) => {
                    passage.went_well();
                    return Ok(answer);
                }
                Err(Rejection { error: Error::Retry { code, after, text }, .. }) => {
                    passage.went_badly();
                    (Error::Retry { code, after, text }, after)
                }
                // Our clock may have been set right since it was measured. A write is not sent again: this process may have stood still.
                Err(Rejection { error: error @ Error::Unauthorized { .. }, .. }) => {
                    drop(passage);
                    let known = self.0.server_ahead_s.load(Ordering::Relaxed);
                    if known == 0
                        || attempt >= self.0.settings.read_retries
                        || self.measure_clock_skew().await?.is_none_or(|skew| skew == known)
                    {
                        return Err(error);
                    }
                    attempt = attempt.saturating_add(1);
                    continue;
                }
                Err(Rejection { error, .. }) => return Err(error),
            };
            if attempt >= self.0.settings.read_retries {
                return Err(error);
            }
            let pause = self.pause(attempt, after);
            attempt = attempt.saturating_add(1);
            tracing::info!(command, attempt, pause_ms = pause.as_millis(), %error, "CloudStack read is tried again");
            if !pause.is_zero() {
                self.wait(pause).await;
            }
        }
    }

    /// A write: sent once. Whatever leaves open whether it was done ends as [`Error::Uncertain`].
    pub(crate) async fn write<T>(
        &self,
        command: &str,
        params: &Params,
        read: impl FnOnce(Value) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self.counted(command, params).await {
            Ok(answer) => {
                envelope::sole(&answer.body).and_then(read).map_err(|error| named(command, error).after_write())
            }
            Err(rejection) if rejection.definite => Err(rejection.error),
            Err(rejection) => Err(rejection.error.after_write()),
        }
    }

    /// A write that answers with an entity.
    pub(crate) async fn write_entity<T: DeserializeOwned>(&self, command: &str, params: &Params) -> Result<T, Error> {
        self.write(command, params, envelope::entity).await
    }

    /// A write that answers with the id of a job.
    pub(crate) async fn write_job(&self, command: &str, params: &Params) -> Result<Uuid, Error> {
        self.write(command, params, |value| {
            job_id(&value).ok_or_else(|| Error::malformed("the answer to an asynchronous command holds no job id"))
        })
        .await
    }

    /// A read that answers with an entity.
    pub(crate) async fn read_entity<T: DeserializeOwned>(&self, command: &str, params: &Params) -> Result<T, Error> {
        let answer = self.read(command, params).await?;
        envelope::sole(&answer.body).and_then(envelope::entity).map_err(|error| named(command, error))
    }

    /// A read that answers with one list, without pages.
    pub(crate) async fn read_list<T: Entry>(&self, command: &str, params: &Params) -> Result<Page<T>, Error> {
        let answer = self.read(command, params).await?;
        let page = envelope::page(&answer.body).map_err(|error| named(command, error))?;
        if page.unreadable > 0 {
            tracing::warn!(command, unreadable = page.unreadable, "items of a CloudStack list can not be read");
        }
        Ok(page)
    }

    /// All pages of a list, with the greatest page size that the server accepts.
    pub(crate) async fn list_all<T: Entry>(&self, command: &str, params: &Params) -> Result<Listing<T>, Error> {
        let mut listing = Listing { items: Vec::new(), unreadable: 0 };
        let mut seen: u64 = 0;
        for number in 1..=MAX_PAGES {
            let (page, size) = self.list_page::<T>(command, params, number).await?;
            let rows = page.rows() as u64;
            seen = seen.saturating_add(rows);
            listing.items.extend(page.items);
            listing.unreadable = listing.unreadable.saturating_add(page.unreadable);
            // The count ends the list; where a release counts wrongly, an empty page does (facts 5: listUserKeys).
            let is_last = page.count.map_or(rows < u64::from(size), |count| seen >= count);
            if rows == 0 || is_last {
                return Ok(listing);
            }
        }
        Err(Error::malformed(format!("{command} has not ended after {MAX_PAGES} pages")))
    }

    /// One page of a list with the page size in use, which is lowered where the server asks for it.
    pub(super) async fn list_page<T: Entry>(
        &self,
        command: &str,
        params: &Params,
        number: u32,
    ) -> Result<(Page<T>, u32), Error> {
        loop {
            let size = self.0.page_size.load(Ordering::Relaxed);
            let paged = params.clone().with("page", number).with("pagesize", size);
            match self.read_list(command, &paged).await {
                Ok(page) => {
                    self.0.page_size_known.store(true, Ordering::Relaxed);
                    return Ok((page, size));
                }
                // Only before the first page is read: another size later would cut the list elsewhere.
                Err(Error::Refused { code: 431, text }) if number == 1 => match allowed_page_size(&text) {
                    Some(allowed) if allowed < size => self.0.page_size.store(allowed, Ordering::Relaxed),
                    _ => return Err(Error::Refused { code: 431, text }),
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits, in the time that calls take.
    pub(super) async fn wait(&self, span: Duration) {
        self.0.http.pause(span).await;
    }

    /// Begins to measure, in the time that calls take.
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch { client: self.clone(), begun: tokio::time::Instant::now(), passed: self.0.http.passed() }
    }

    fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        if self.0.settings.retry_pause.is_zero() {
            return Duration::ZERO;
        }
        let doubled = self.0.settings.retry_pause.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
        doubled.max(asked.unwrap_or_default()).min(MAX_PAUSE)
    }

    /// One try, counted for the metrics by how it ended.
    async fn counted(&self, command: &str, params: &Params) -> Result<Answer, Rejection> {
        let begun = std::time::Instant::now();
        let result = self.attempt(command, params).await;
        let outcome = match &result {
            Ok(_) => CallOutcome::Ok,
            Err(rejection) => match rejection.error {
                Error::Retry { .. } => CallOutcome::Retry,
                Error::Gone { .. } => CallOutcome::Gone,
                Error::NotAllowed { .. } | Error::Unauthorized { .. } | Error::SecondFactor { .. } => {
                    CallOutcome::NotAllowed
                }
                Error::Malformed { .. } => CallOutcome::Malformed,
                Error::Uncertain { .. } => CallOutcome::Uncertain,
                _ => CallOutcome::Refused,
            },
        };
        metrics::cloudstack_call(command, outcome, begun.elapsed());
        result
    }

    /// One try, signed anew, with everything secret kept out of what comes back. It ends by the server's clock where ours is ahead: a request
    /// that got lost could be accepted for as long. Where ours is behind, it has expired, and nothing is done by a clock that is wrong.
    async fn attempt(&self, command: &str, params: &Params) -> Result<Answer, Rejection> {
        let signed_at = self.server_now().min(self.0.clock.now());
        let (form, signature) = self.form(command, params, signed_at.plus(self.0.settings.expires_after));
        let rejection = match self.0.http.post(form, None).await {
            Ok(exchange) => match self.judge(&exchange) {
                Ok(()) => {
                    tracing::debug!(command, bytes = exchange.body.len(), "CloudStack answered");
                    return Ok(Answer { body: exchange.body });
                }
                Err(rejection) => rejection,
            },
            Err(no_answer) => no_answer.into_rejection(),
        };
        let mut secrets = params.secrets();
        secrets.push(&signature);
        Err(rejection.map(|error| named(command, self.without_secrets(error, &secrets))))
    }

    fn without_secrets(&self, error: Error, more: &[&str]) -> Error {
        let credentials = &self.0.credentials;
        let mut secrets = vec![credentials.api_key.expose(), credentials.secret_key.expose()];
        secrets.extend(more);
        error.map_text(|text| scrubbed(text, &secrets))
    }

    fn judge(&self, exchange: &Exchange) -> Result<(), Rejection> {
        envelope::decode(exchange.status, exchange.content_type.as_deref(), &exchange.body).map_err(|rejection| {
            rejection.map(|error| match (error, exchange.server_date) {
                (Error::Unauthorized { text, causes }, Some(date)) => {
                    let skew = date.as_seconds().saturating_sub(self.0.clock.now().as_seconds()).unsigned_abs();
                    let measured = if skew >= NOTABLE_SKEW_S {
                        format!("; the server's clock and this machine's are {skew} s apart")
                    } else {
                        String::new()
                    };
                    Error::Unauthorized { text: text + &measured, causes }
                }
                (error, _) => error,
            })
        })
    }

    /// The signed form and its signature. Names are lower case, so that every way of sorting them agrees; everything is
    /// in place before it is signed.
    fn form(&self, command: &str, params: &Params, end: Timestamp) -> (String, String) {
        let all = params
            .clone()
            .with("command", command)
            .with("response", "json")
            .with("apikey", self.0.credentials.api_key.expose())
            .with("signatureversion", "3")
            .with("expires", end.to_cloudstack());
        let signature = signing::signature(all.pairs(), self.0.credentials.secret_key.expose());
        (signing::form_body(all.with("signature", &signature).pairs()), signature)
    }
}

/// The error with the command that it belongs to.
fn named(command: &str, error: Error) -> Error {
    error.map_text(|text| format!("{command}: {text}"))
}

/// The job id in an answer that accepts an asynchronous command. An answer about a job holds one too: it is never asked
/// for here.
pub(crate) fn job_id(value: &Value) -> Option<Uuid> {
    value.get("jobid")?.as_str()?.parse().ok()
}

/// The maximum in "Page size can't exceed max allowed page size value: 500".
fn allowed_page_size(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let (_, rest) = lower.split_once("page size can't exceed")?;
    rest.rsplit(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok().filter(|size| *size > 0)
}
