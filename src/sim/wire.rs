//! The wire between one process of bursar and the cloud: it carries calls in the process, with the faults that the seed has in
//! store, notes what each call really did, and is where a process may die or freeze between calls.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::dice::Dice;
use crate::{
    cloudstack::{Carried, Carrier, NotCarried, OnItsWay},
    ids::CloudId,
    standin::{FaultKind, InProcess, Power, State},
    store::crash::CrashPoints,
    time::{Clock as _, ManualClock, Timestamp},
};

/// What a call costs that is answered at all, in seconds.
const CALL_SECONDS: (u64, u64) = (1, 4);
/// What a call costs that runs into the deadline.
const DEADLINE: Duration = Duration::from_mins(1);
/// A request that was held up arrives at the latest so long after.
const LATEST_ARRIVAL_SECONDS: u64 = 1_200;

/// The call of which there are the most by far.
const SETS_LIMIT: &str = "updateResourceLimit";
/// More than so many of a thousand writes of one command never fail.
const MOST_FAULTS: u64 = 600;

/// Everything about the cloud that an action may change, at an instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Accounts that are not removed, projects' own ones too.
    pub accounts: BTreeMap<CloudId, State>,
    /// Own limits of the same.
    pub limits: BTreeMap<CloudId, BTreeMap<u8, i64>>,
    /// Machines that are not destroyed, by what they do, with their owner.
    pub machines: BTreeMap<CloudId, (CloudId, Power)>,
}

impl Seen {
    /// Machines of an owner that run or are about to.
    pub fn running(&self, owner: CloudId) -> BTreeSet<CloudId> {
        let up = |power: Power| matches!(power, Power::Running | Power::Starting | Power::Migrating);
        self.machines.iter().filter(|(_, (own, power))| *own == owner && up(*power)).map(|(id, _)| *id).collect()
    }
}

/// What one call changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Which command.
    pub command: String,
    /// The job id that it asked for.
    pub job: Option<String>,
    /// What it was about: its parameter `id`, where that is an id.
    pub target: Option<CloudId>,
    /// When it was sent, by CloudStack's clock.
    pub sent: Timestamp,
    /// When it arrived.
    pub at: Timestamp,
    /// The cloud before.
    pub before: Seen,
    /// The cloud after.
    pub after: Seen,
    /// Limits as they worked before, inherited ones too, of whoever's changed.
    pub limits: BTreeMap<CloudId, BTreeMap<u8, i64>>,
    /// The same after.
    pub limits_after: BTreeMap<CloudId, BTreeMap<u8, i64>>,
}

/// A request that was sent and has not arrived.
#[derive(Debug)]
struct Late {
    form: String,
    command: String,
    job: Option<String>,
    sent: Timestamp,
    arrives: Timestamp,
}

/// The cloud, and what happened to it by bursar's calls.
pub struct Cloud {
    /// CloudStack.
    pub standin: InProcess,
    /// CloudStack's clock.
    pub time: ManualClock,
    effects: Mutex<Vec<Effect>>,
    late: Mutex<Vec<Late>>,
    story: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<String, (u64, u64)>>,
    accusations: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cloud {
    /// Around a stand-in.
    pub fn new(standin: InProcess, time: ManualClock) -> Self {
        Self {
            standin,
            time,
            effects: Mutex::default(),
            late: Mutex::default(),
            story: Mutex::default(),
            counts: Mutex::default(),
            accusations: Mutex::default(),
        }
    }

    /// Takes the effects noted so far.
    pub fn take_effects(&self) -> Vec<Effect> {
        std::mem::take(&mut lock(&self.effects))
    }

    /// Notes a write that was made by a process that may make none any more.
    fn accuse(&self, what: String) {
        lock(&self.accusations).push(what);
    }

    /// Takes what was noted of such writes.
    pub fn take_accusations(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.accusations))
    }

    /// Counts a write that is about to be made.
    fn count(&self, command: &str, meets_fault: bool) {
        let mut counts = lock(&self.counts);
        let (calls, faults) = counts.entry(command.to_owned()).or_default();
        *calls += 1;
        *faults += u64::from(meets_fault);
    }

    /// Writes by command: how many, and how many of them met a fault.
    pub fn counts(&self) -> BTreeMap<String, (u64, u64)> {
        lock(&self.counts).clone()
    }

    /// Writes a line of the story.
    pub fn tell(&self, line: impl Into<String>) {
        lock(&self.story).push(format!("{} {}", self.time.now(), line.into()));
    }

    /// The story so far.
    pub fn story(&self) -> Vec<String> {
        lock(&self.story).clone()
    }

    /// The cloud as it is.
    pub fn look(&self) -> Seen {
        self.standin.with(|world| {
            let alive = || world.accounts.iter().filter(|account| account.removed.is_none());
            Seen {
                accounts: alive().map(|account| (account.id, account.state)).collect(),
                limits: alive().map(|account| (account.id, account.limits.clone())).collect(),
                machines: world
                    .vms
                    .iter()
                    .filter(|vm| vm.expunged.is_none())
                    .map(|vm| (vm.id, (vm.owner, vm.power)))
                    .collect(),
            }
        })
    }

    /// Every limit as it works, where the command is about limits.
    fn limits(&self, command: &str) -> BTreeMap<CloudId, BTreeMap<u8, i64>> {
        if command != SETS_LIMIT {
            return BTreeMap::new();
        }
        self.standin
            .with(|world| world.accounts.iter().map(|account| account.id).map(|id| (id, world.limits_of(id))).collect())
    }

    /// Lets a write happen and notes what it did.
    async fn act(
        &self,
        form: &str,
        (command, job): (&str, Option<String>),
        sent: Timestamp,
        fault: Option<FaultKind>,
    ) -> Option<Carried> {
        let before = self.look();
        let limits = self.limits(command);
        let answer = self.standin.exchange(form, fault).await;
        let after = self.look();
        if before != after {
            let (command, limits_after) = (command.to_owned(), self.limits(command));
            let (at, target) = (self.time.now(), Asked::read(form).target);
            lock(&self.effects).push(Effect { command, job, target, sent, at, before, after, limits, limits_after });
        }
        answer.map(|answer| Carried {
            status: answer.status,
            content_type: Some(answer.content_type.to_owned()),
            body: answer.body.into_bytes(),
        })
    }

    /// Lets the requests arrive whose time has come.
    pub async fn deliver_late(&self) {
        loop {
            let now = self.time.now();
            let next = {
                let mut late = lock(&self.late);
                let place = late.iter().position(|request| request.arrives <= now);
                place.map(|place| late.remove(place))
            };
            let Some(request) = next else { return };
            let answer = self.act(&request.form, (&request.command, request.job), request.sent, None).await;
            let status = answer.map_or(0, |answer| answer.status);
            self.tell(format!("late arrival of {} sent at {}: {status}", request.command, request.sent));
        }
    }

    /// Whether a request is still on its way.
    pub fn awaits_late(&self) -> bool {
        !lock(&self.late).is_empty()
    }
}

/// How bad the network is, and what else befalls the process.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// Reads that fail, in a thousand.
    pub reads: u64,
    /// Writes that fail, in a thousand.
    pub writes: u64,
    /// The call at which the process dies, and whether after it.
    pub dies_at: Option<(u64, bool)>,
    /// The write at which the process dies, and whether after it.
    pub dies_at_write: Option<(u64, bool)>,
    /// The write at which the process freezes, and whether after it.
    pub freezes_at: Option<(u64, bool)>,
    /// The call, be it a read, at which the process freezes, and whether after it.
    pub freezes_at_call: Option<(u64, bool)>,
    /// Whether time passes by calls and pauses. Not while several are under way: their order is nobody's choice.
    pub takes_time: bool,
}

#[derive(Debug, Default)]
struct Under {
    weather: Weather,
    matter: String,
    asked: HashMap<String, u64>,
    calls: u64,
    writes: u64,
    /// How long calls and pauses took.
    passed: Duration,
    /// Another process took over while this one stood still: no write may begin any more.
    is_fenced: bool,
    points: CrashPoints,
}

/// The wire of one process.
pub struct Wire {
    cloud: Arc<Cloud>,
    seed: u64,
    name: &'static str,
    under: Mutex<Under>,
    frozen: Notify,
    thawed: Notify,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Wire {
    /// A wire to the cloud.
    pub fn new(cloud: Arc<Cloud>, seed: u64, name: &'static str) -> Self {
        Self { cloud, seed, name, under: Mutex::default(), frozen: Notify::new(), thawed: Notify::new() }
    }

    /// Begins a job: its weather, its matter (for the dice) and the points at which its process dies.
    pub fn begin(&self, matter: String, weather: Weather, points: &CrashPoints) {
        let points = points.clone();
        *lock(&self.under) = Under { weather, matter, points, ..Under::default() };
    }

    /// Whether the job got as far as a write.
    pub fn has_written(&self) -> bool {
        lock(&self.under).writes > 0
    }

    /// Comes back once the process is frozen.
    pub async fn frozen(&self) {
        self.frozen.notified().await;
    }

    /// Another process has done the job meanwhile.
    pub fn fence(&self) {
        lock(&self.under).is_fenced = true;
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.thawed.notify_one();
    }

    /// Counts a call; what befalls the process at it.
    fn count(&self, is_write: bool) -> (Weather, u64, u64, CrashPoints) {
        let mut under = lock(&self.under);
        under.calls += 1;
        under.writes += u64::from(is_write);
        (under.weather.clone(), under.calls, under.writes, under.points.clone())
    }

    /// The dice of one question: the same again is another throw, whatever else was asked in between.
    fn dice(&self, question: &str) -> Dice {
        let mut under = lock(&self.under);
        let asked = under.asked.entry(question.to_owned()).or_default();
        *asked += 1;
        let asked = *asked;
        let matter = format!("{}/{}/{question}/{asked}", self.name, under.matter);
        drop(under);
        Dice::of(self.seed, &matter)
    }

    async fn befall(&self, is_write: bool, after: bool, counted: &(Weather, u64, u64, CrashPoints)) {
        let (weather, calls, writes, points) = counted;
        if weather.dies_at == Some((*calls, after)) {
            self.cloud.tell(format!("{} dies {} call {calls}", self.name, if after { "after" } else { "before" }));
            points.die().await;
        }
        if is_write && weather.dies_at_write == Some((*writes, after)) {
            self.cloud.tell(format!("{} dies {} write {writes}", self.name, if after { "after" } else { "before" }));
            points.die().await;
        }
        let freezes_at = if is_write && weather.freezes_at == Some((*writes, after)) {
            Some(format!("write {writes}"))
        } else if weather.freezes_at_call == Some((*calls, after)) {
            Some(format!("call {calls}"))
        } else {
            None
        };
        if let Some(place) = freezes_at {
            self.cloud.tell(format!("{} freezes {} {place}", self.name, if after { "after" } else { "before" }));
            self.frozen.notify_one();
            self.thawed.notified().await;
            self.cloud.tell(format!("{} goes on", self.name));
        }
    }

    fn pass(&self, span: Duration, weather: &Weather) {
        {
            let mut under = lock(&self.under);
            under.passed = under.passed.saturating_add(span);
        }
        if weather.takes_time {
            self.cloud.time.advance(span);
        }
    }

    async fn read(&self, form: &str, question: &str, weather: &Weather) -> Result<Carried, NotCarried> {
        let dice = self.dice(question);
        let fault = if dice.chance(weather.reads) { Some(dice.below(9)) } else { None };
        let fault = match fault {
            None => None,
            Some(0) => return Err(NotCarried::NotSent),
            Some(1) => return Err(NotCarried::Cut),
            Some(2) => return Err(NotCarried::TooLate),
            Some(3) => Some(FaultKind::Status(503)),
            Some(4) => Some(FaultKind::Status(429)),
            Some(5) => Some(FaultKind::EmptyOk { acted: false }),
            Some(6) => Some(FaultKind::InvalidJson),
            Some(7) => Some(FaultKind::Html),
            Some(_) => Some(FaultKind::WrongDuplicates),
        };
        let answer = self.cloud.standin.exchange(form, fault).await;
        answer.map_or(Err(NotCarried::Cut), |answer| {
            Ok(Carried {
                status: answer.status,
                content_type: Some(answer.content_type.to_owned()),
                body: answer.body.into_bytes(),
            })
        })
    }

    async fn write(
        &self,
        form: String,
        asked: &Asked,
        weather: &Weather,
        sent: Timestamp,
    ) -> Result<Carried, NotCarried> {
        let dice = self.dice(&asked.question);
        // Most writes set limits; the few that matter most meet their faults too.
        let often = if asked.command == SETS_LIMIT { weather.writes } else { (weather.writes * 3).min(MOST_FAULTS) };
        let fault = if dice.chance(often) { Some(dice.below(10)) } else { None };
        let named = (asked.command.as_str(), asked.job.clone());
        self.cloud.count(&asked.command, fault.is_some());
        if let Some(kind) = fault {
            self.cloud.tell(format!("{}: {} meets fault {kind}", self.name, asked.command));
        }
        self.pass(Duration::from_secs(dice.between(CALL_SECONDS.0, CALL_SECONDS.1)), weather);
        let fault = match fault {
            None => None,
            Some(0) => return Err(NotCarried::NotSent),
            Some(1) => Some(FaultKind::CutBeforeAction),
            Some(2) => Some(FaultKind::CutAfterAction),
            Some(3) => Some(FaultKind::EmptyOk { acted: true }),
            Some(4) => Some(FaultKind::EmptyOk { acted: false }),
            Some(5) => Some(FaultKind::InvalidJson),
            Some(6) => Some(FaultKind::Html),
            Some(7) => Some(FaultKind::Status(503)),
            Some(8) => {
                // Done, and the answer comes too late.
                self.cloud.act(&form, named, sent, None).await;
                self.pass(DEADLINE, weather);
                return Err(NotCarried::TooLate);
            }
            Some(_) => {
                let arrives = sent.plus(Duration::from_secs(dice.below(LATEST_ARRIVAL_SECONDS)));
                let (command, job) = (asked.command.clone(), asked.job.clone());
                lock(&self.cloud.late).push(Late { form, command, job, sent, arrives });
                self.pass(DEADLINE, weather);
                return Err(NotCarried::TooLate);
            }
        };
        self.cloud.act(&form, named, sent, fault).await.ok_or(NotCarried::Cut)
    }
}

/// What a form asks for.
struct Asked {
    command: String,
    job: Option<String>,
    /// The parameter `id`.
    target: Option<CloudId>,
    /// The same for the same question: without what differs from one signing to the next.
    question: String,
    is_write: bool,
}

impl Asked {
    fn read(form: &str) -> Self {
        let mut command = String::new();
        let mut job = None;
        let mut target = None;
        let mut question = String::new();
        for (name, value) in url::form_urlencoded::parse(form.as_bytes()) {
            match &*name {
                "signature" | "expires" | "apikey" | "signatureversion" | "response" => continue,
                "command" => command.push_str(&value),
                "id" => target = value.parse().ok(),
                "customjobid" => job = Some(value.to_string()),
                _ => {}
            }
            question.push_str(&name);
            question.push('=');
            question.push_str(&value);
            question.push('&');
        }
        let is_write = !["list", "get", "query", "quota"].iter().any(|verb| command.starts_with(verb));
        Self { command, job, target, question, is_write }
    }
}

impl Carrier for Wire {
    fn carry(&self, form: String) -> OnItsWay<'_, Result<Carried, NotCarried>> {
        Box::pin(async move {
            let asked = Asked::read(&form);
            let counted = self.count(asked.is_write);
            // What it was signed for was true now, whatever holds it up.
            let sent = self.cloud.time.now();
            if asked.is_write && lock(&self.under).is_fenced {
                self.cloud.accuse(format!("{}: {} though another one took over", self.name, asked.command));
            }
            self.befall(asked.is_write, false, &counted).await;
            let weather = &counted.0;
            let answer = if asked.is_write {
                self.write(form, &asked, weather, sent).await
            } else {
                self.read(&form, &asked.question, weather).await
            };
            if asked.is_write {
                let shown = match &answer {
                    Ok(answer) => answer.status.to_string(),
                    Err(why) => format!("{why:?}"),
                };
                self.cloud.tell(format!("{}: {} -> {shown}", self.name, asked.question.trim_end_matches('&')));
            }
            self.befall(asked.is_write, true, &counted).await;
            answer
        })
    }

    fn pause(&self, span: Duration) -> OnItsWay<'_, ()> {
        Box::pin(async move {
            let weather = lock(&self.under).weather.clone();
            self.pass(span, &weather);
        })
    }

    fn passed(&self) -> Duration {
        lock(&self.under).passed
    }
}
