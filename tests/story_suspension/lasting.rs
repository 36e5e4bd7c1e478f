//! What does not pass by itself: events that are gone, what others did on top, what CloudStack declines again and again, and
//! what a restriction rounds or leaves alone.

use std::{fmt, sync::Arc, time::Duration};

use bursar::{
    cloudstack::{Carried, Carrier, Client, Credentials, LimitOwner, NotCarried, OnItsWay},
    enforcement::EnforceReport,
    ids::RunId,
    jobs::{
        Role, operations,
        work::{self, EnforceOptions},
    },
    secrets::Secret,
    standin::{Fault, FaultKind, Gate, Power, State},
    store::{
        acting::{self, CallRow},
        enforcement as rows, notify, runs,
    },
    time::{Clock as _, ManualClock, Timestamp},
};
use serde_json::{Value, json};

use super::{DAY, HOUR, Story};
use crate::harness::{Database, on_each_database};

/// Changes an answer of CloudStack; it sees the form that was sent.
type Change = Box<dyn Fn(&str, &mut Value) + Send + Sync>;

/// Stands between bursar and the stand-in, for what the stand-in never says by itself: it carries every call, and changes the
/// answers to one command.
struct Between {
    http: reqwest::Client,
    url: url::Url,
    begun: tokio::time::Instant,
    command: &'static str,
    change: Change,
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Between").field("command", &self.command).finish_non_exhaustive()
    }
}

impl Between {
    fn is_concerned(&self, form: &str) -> bool {
        let mut pairs = url::form_urlencoded::parse(form.as_bytes());
        pairs.any(|(name, value)| name == "command" && value == self.command)
    }
}

fn header(answer: &reqwest::Response, name: &str) -> Option<String> {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

impl Carrier for Between {
    fn carry(&self, form: String) -> OnItsWay<'_, Result<Carried, NotCarried>> {
        Box::pin(async move {
            let request = self.http.post(self.url.clone()).header("content-type", "application/x-www-form-urlencoded");
            let answer = request.body(form.clone()).send().await.map_err(|_| NotCarried::Cut)?;
            let (status, content_type) = (answer.status().as_u16(), header(&answer, "content-type"));
            let mut text = answer.text().await.map_err(|_| NotCarried::Cut)?;
            if self.is_concerned(&form) {
                let mut body: Value = serde_json::from_str(&text).unwrap();
                for content in body.as_object_mut().into_iter().flat_map(|outer| outer.values_mut()) {
                    (self.change)(&form, content);
                }
                text = body.to_string();
            }
            Ok(Carried { status, content_type, body: text.into_bytes() })
        })
    }

    fn pause(&self, span: Duration) -> OnItsWay<'_, ()> {
        Box::pin(tokio::time::sleep(span))
    }

    fn passed(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// From now on the answers to this command are changed on their way to bursar, until it is opened anew.
fn change_answers(story: &mut Story, command: &'static str, change: impl Fn(&str, &mut Value) + Send + Sync + 'static) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (url, begun, change) = (story.cloud.standin.url(), tokio::time::Instant::now(), Box::new(change));
    story.cloud.app.carrier = Some(Arc::new(Between { http, url, begun, command, change }));
}

/// CloudStack forgets what happened more than so many days ago.
fn forget_events(story: &mut Story, days: u32) {
    let clock = story.cloud.clock.clone();
    change_answers(story, "listEvents", move |_, content| {
        let oldest = clock.now().minus(DAY * days).to_cloudstack();
        let Some(events) = content.get_mut("event").and_then(Value::as_array_mut) else { return };
        events.retain(|event| event["created"].as_str().unwrap() >= oldest.as_str());
        let count = events.len();
        content["count"] = json!(count);
    });
}

/// bob, whom bursar has locked.
async fn locked(database: Database) -> Story {
    let story = Story::on(database).await;
    story.over().await;
    for _ in 0..30 {
        story.cloud.pass(DAY);
        if story.cloud.round().await.locked == ["ROOT/bob"] {
            assert_eq!((story.state(), story.rung().await.as_deref()), (State::Locked, Some("lock")));
            return story;
        }
    }
    panic!("bob never came to be locked");
}

/// The number of the newest run of enforcement.
async fn newest_run(story: &Story) -> RunId {
    let mut tx = story.cloud.app.store.read().await.unwrap();
    RunId::new(runs::list_runs(&mut tx, Some("enforce"), 1).await.unwrap()[0].id)
}

/// What was decided about bob, and why.
fn decided(report: &EnforceReport) -> (&'static str, &'static str) {
    let line = report.decisions.iter().find(|line| line.account == "ROOT/bob").unwrap();
    (line.outcome, line.reason)
}

/// What administrators were told that is left to do by hand.
async fn told_by_hand(story: &Story) -> Vec<String> {
    let (from, until) = (Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX));
    let mut tx = story.cloud.app.store.read().await.unwrap();
    let told = notify::list_admin_notices(&mut tx, from, until, 100).await.unwrap();
    told.into_iter().filter(|notice| notice.kind == "by-hand").map(|notice| notice.body).collect()
}

/// The call of this command that has no known end yet.
async fn open_call(story: &Story, command: &str) -> CallRow {
    let mut tx = story.cloud.app.store.read().await.unwrap();
    for intent in rows::list_open_intents(&mut tx).await.unwrap() {
        let calls = acting::list_calls(&mut tx, &intent.id).await.unwrap();
        if let Some(open) = calls.into_iter().find(|call| call.command == command && call.state == "open") {
            return open;
        }
    }
    panic!("no call of {command} is open");
}

#[tokio::test]
async fn nobody_is_opened_by_a_payment_where_cloudstack_forgot_its_events_before_bursar_looked() {
    on_each_database(|database| async {
        let mut story = locked(database).await;
        let run = newest_run(&story).await;
        forget_events(&mut story, 15);
        // bursar stands still. Meanwhile an administrator locks bob as well, of which CloudStack knows nothing any more afterwards.
        story.cloud.pass(DAY * 2);
        story.cloud.standin.with(|world| world.lock_by_admin(story.bob.account));
        story.cloud.pass(DAY * 18);
        story.cloud.pay("bob", "500").await;
        for _ in 0..2 {
            let report = story.cloud.round().await;
            assert_eq!(decided(&report), ("restore", "enough-again"), "{report:?}");
            let told = |words: &str| report.failed.iter().any(|line| line.contains(words));
            assert!(told("ROOT/bob: bursar did not look at CloudStack's events for so long"), "{report:?}");
            assert!(told("enable it in CloudStack if nobody did"), "{report:?}");
            assert_eq!((report.restored.len(), story.state()), (0, State::Locked), "{report:?}");
            assert_eq!((story.count("enableAccount"), story.rung().await.as_deref()), (0, Some("lock")));
            story.cloud.pass(HOUR);
        }
        // An administrator has looked.
        let report = operations::undo(&story.cloud.app, run, "alice", true, "test").await.unwrap();
        assert_eq!(report.given_back, ["ROOT/bob"], "{report:?}");
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn how_long_cloudstack_keeps_its_events_is_what_its_setting_says() {
    // The value of event.purge.delay, the days without a run, and whether a payment opens the account after them.
    let cases = [(None, 14, true), (Some("30"), 20, true), (Some("0"), 20, true), (Some("3"), 5, false)];
    for (setting, days, opens) in cases {
        on_each_database(|database| async {
            let mut story = locked(database).await;
            if let Some(value) = setting {
                change_answers(&mut story, "listConfigurations", move |form, content| {
                    if form.contains("name=event.purge.delay") {
                        let known = json!({ "name": "event.purge.delay", "value": value });
                        *content = json!({ "count": 1, "configuration": [known] });
                    }
                });
            }
            story.cloud.pass(DAY * days);
            let report = story.pay().await;
            assert_eq!(report.restored.len(), usize::from(opens), "{setting:?} {days}: {report:?}");
            assert_eq!(story.state() == State::Enabled, opens, "{setting:?} {days}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_lock_without_an_event_behind_an_enabling_of_bursars_own_is_somebody_elses() {
    on_each_database(|database| async {
        let story = locked(database).await;
        // An enabling of bursar's that the process did not live to note.
        let own = story.cloud.app.client(Role::Enforcer).unwrap();
        story.cloud.clock.advance(Duration::from_mins(10));
        own.enable_account(story.bob.account).await.unwrap();
        story.cloud.standin.with(|world| world.set_account_state(story.bob.account, State::Locked));
        story.cloud.clock.advance(Duration::from_mins(10));
        let report = story.pay().await;
        assert_eq!((story.state(), story.count("enableAccount")), (State::Locked, 1), "{report:?}");
        assert_eq!(story.holds().await, ["billing", "admin"]);
        story.cloud.standin.with(|world| world.enable_by_admin(story.bob.account));
        for _ in 0..2 {
            story.cloud.pass(HOUR);
            story.cloud.round().await;
        }
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_project_that_an_administrator_suspends_on_top_of_bursar_stays_suspended() {
    on_each_database(|database| async {
        let story = Story::stopped(database, true).await;
        let (project, web) = (story.bob.project, story.bob.in_project);
        let is_active = || story.cloud.standin.with(|world| world.project_is_active(project));
        assert_eq!((story.count("suspendProject"), is_active()), (1, Some(false)), "bursar's own");
        story.cloud.pass(HOUR);
        story.cloud.standin.with(|world| world.suspend_project_by_admin(project));
        story.pay().await;
        for _ in 0..6 {
            story.cloud.pass(HOUR);
            story.cloud.round().await;
        }
        let outcome = story.outcome().await;
        assert!(outcome.contains("project shop: somebody else suspended it too; it stays"), "{outcome}");
        assert_eq!((story.count("activateProject"), is_active()), (0, Some(false)));
        assert_eq!((story.state(), story.power(web), story.limits(project)[&0]), (State::Enabled, Power::Stopped, 1));
        // Whoever suspended it activates it: its limits are bursar's to give back.
        story.cloud.standin.with(|world| world.activate_project_by_admin(project));
        for _ in 0..2 {
            story.cloud.pass(HOUR);
            story.cloud.round().await;
        }
        assert_eq!((story.count("activateProject"), story.limits(project)[&0]), (0, 20));
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_lock_that_the_quota_plugin_undoes_is_shown_and_comes_back_with_the_payment() {
    on_each_database(|database| async {
        let story = locked(database).await;
        let ((api_key, secret_key), root) = story.cloud.standin.with(|world| {
            world.set_configuration("quota.enable.service", "true");
            world.set_configuration("quota.enable.enforcement", "true");
            let admin = world.admin_user();
            (world.register_keys(admin), world.root_domain().to_string())
        });
        let credentials = Credentials { api_key: Secret::new(api_key), secret_key };
        let settings = story.cloud.app.client_settings().unwrap();
        let admin = Client::new(settings, credentials, Arc::new(story.cloud.clock.clone())).unwrap();
        let credit = [("account", "bob"), ("domainid", root.as_str()), ("value", "10"), ("quota_enforce", "true")];
        admin.call_raw("quotaCredits", &credit).await.unwrap();
        assert_eq!(story.state(), State::Enabled, "whoever had locked it, and without an event");
        story.cloud.pass(HOUR);
        let report = story.cloud.round().await;
        assert_eq!(decided(&report), ("keep", "enabled-by-others"), "{report:?}");
        assert!(report.held_back_by.iter().any(|guard| guard.kind == "quota-plugin"), "{report:?}");
        assert_eq!((report.restored.len(), story.rung().await.as_deref()), (0, Some("lock")), "{report:?}");
        let found = operations::find_differences(&story.cloud.app).await.unwrap();
        assert_eq!((found.without_suspension.len(), found.without_hold.len()), (1, 0), "{found:?}");
        let drift = &found.without_suspension[0];
        assert_eq!((drift.account.as_str(), drift.state.as_deref()), ("ROOT/bob", Some("enabled")));
        assert_eq!(drift.known, "held by billing (lock), placed by bursar");
        assert!(drift.way_out.contains("bursar lifts it once enough is available"), "{drift:?}");
        let locks = story.count("disableAccount");
        assert_eq!(story.pay().await.restored, ["ROOT/bob"]);
        assert_eq!((story.count("disableAccount"), story.count("enableAccount")), (locks, 0));
        assert!(operations::find_differences(&story.cloud.app).await.unwrap().without_suspension.is_empty());
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_stopped_account_that_an_administrator_enables_is_locked_and_stopped_again_where_that_is_set() {
    on_each_database(|database| async {
        let mut story = Story::stopped(database, true).await;
        story.cloud.reconfigure("POLICY_ON_DRIFT", "suspend").await;
        let machines = [story.bob.first, story.bob.second, story.bob.in_project];
        let is_active = || story.cloud.standin.with(|world| world.project_is_active(story.bob.project));
        story.cloud.pass(HOUR);
        story.cloud.standin.with(|world| world.enable_by_admin(story.bob.account));
        let before = story.count("disableAccount");
        // Locked first, as always, by one round, and disabled by the next one.
        let ways = [("suspended-again", State::Locked, "lock"), ("stop-date-reached", State::Disabled, "stop")];
        for (reason, state, rung) in ways {
            story.cloud.pass(HOUR);
            let report = story.cloud.round().await;
            assert_eq!(decided(&report), ("stop", reason), "{report:?}");
            assert_eq!((story.state(), story.rung().await.as_deref()), (state, Some(rung)), "{report:?}");
        }
        assert_eq!((story.count("disableAccount"), story.count("enableAccount")), (before + 2, 0));
        assert_eq!((story.holds().await, is_active()), (vec!["billing".to_owned()], Some(false)));
        for vm in machines {
            assert_eq!(story.power(vm), Power::Stopped);
        }
        let report = story.pay().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        assert_eq!((story.count("enableAccount"), is_active()), (1, Some(true)));
        assert_eq!([story.bob.account, story.bob.project].map(|owner| story.limits(owner)[&0]), [20, 20]);
        story.is_all_back(&machines).await;
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_cloudstack_declines_to_start_five_times_is_told_and_holds_up_nothing() {
    on_each_database(|database| async {
        let story = Story::stopped(database, false).await;
        let first = story.bob.first;
        let declined = Fault::once("startVirtualMachine", FaultKind::Status(431)).about("id", &first.to_string());
        story.cloud.standin.with(|world| world.faults().push(declined.times(5)));
        let report = story.pay().await;
        assert!(report.started.iter().any(|line| line.contains("first was not started")), "{report:?}");
        assert_eq!((story.state(), story.power(story.bob.second)), (State::Enabled, Power::Running));
        assert_eq!(story.outcome().await, "", "it is tried again");
        for _ in 0..6 {
            story.cloud.pass(HOUR);
            story.cloud.round().await;
        }
        let outcome = story.outcome().await;
        assert!(outcome.contains("1 machines running again"), "{outcome}");
        assert!(outcome.contains("machine first: it can not be started; start it by hand"), "{outcome}");
        // A sixth try would have started it, and after a fourth one a fault were left.
        assert_eq!(story.power(first), Power::Stopped);
        assert_eq!(story.cloud.standin.with(|world| world.faults().waiting()), 0);
        assert_eq!(told_by_hand(&story).await, [format!("ROOT/bob was restored: {outcome}.")]);
        story.is_all_back(&[story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_limit_that_cloudstack_declines_to_set_back_five_times_is_left_and_told() {
    on_each_database(|database| async {
        let story = Story::restricted(database).await;
        let declined = Fault::once("updateResourceLimit", FaultKind::Status(431)).about("resourcetype", "0");
        story.cloud.standin.with(|world| world.faults().push(declined.times(5)));
        let report = story.pay().await;
        assert!(report.started.iter().any(|line| line.contains("the limit user_vm is not back yet")), "{report:?}");
        for _ in 0..5 {
            story.cloud.pass(HOUR);
            story.cloud.round().await;
        }
        let outcome = story.outcome().await;
        assert!(outcome.contains("limit user_vm: CloudStack refuses to set it back to 20: "), "{outcome}");
        // A sixth try would have set it back, and after a fourth one a fault were left.
        let limits = story.limits(story.bob.account);
        assert_eq!([0, 2].map(|kind| limits[&kind]), [3, 20]);
        assert_eq!(story.cloud.standin.with(|world| world.faults().waiting()), 0);
        assert_eq!(told_by_hand(&story).await, [format!("ROOT/bob was restored: {outcome}.")]);
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_migrates_when_its_account_is_stopped_counts_as_running_and_comes_back() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        let (first, second) = (story.bob.first, story.bob.second);
        story.cloud.standin.with(|world| world.set_passing_power(first, Power::Migrating));
        assert_eq!(story.power(first), Power::Migrating);
        let report = story.cloud.enforce().await;
        assert_eq!(report.stopped, ["ROOT/bob"], "{report:?}");
        let mut tx = story.cloud.app.store.read().await.unwrap();
        let noted = acting::list_machine_notes(&mut tx, None).await.unwrap();
        drop(tx);
        assert_eq!(noted.iter().map(|note| note.name.as_str()).collect::<Vec<_>>(), ["first", "second"]);
        assert_eq!((story.power(first), story.power(second)), (Power::Stopped, Power::Stopped));
        story.pay().await;
        assert_eq!(story.started(), [first, second].map(|id| id.to_string()));
        story.is_all_back(&[first, second]).await;
    })
    .await;
}

#[tokio::test]
async fn a_request_that_arrives_twice_is_one_job_which_is_waited_for() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        let before = story.count("disableAccount");
        story.cloud.standin.with(|world| world.set_job_delay(2));
        let gate = Gate::default();
        story.fault("disableAccount", FaultKind::DelayUntil(gate.clone()));
        let twice = async {
            while story.cloud.standin.with(|world| world.faults().waiting()) > 0 {
                tokio::task::yield_now().await;
            }
            // Something on the way sends the request once more, and that copy overtakes the first.
            let open = open_call(&story, "disableAccount").await;
            let enforcer = story.cloud.app.client(Role::Enforcer).unwrap();
            let job = enforcer.disable_account(story.bob.account, open.job_id.parse().unwrap()).await.unwrap();
            assert_eq!(job.to_string(), open.job_id);
            gate.open();
            open
        };
        let (report, open) = tokio::join!(story.cloud.enforce(), twice);
        assert_eq!(report.stopped, ["ROOT/bob"], "{report:?}");
        let calls = story.cloud.standin.calls();
        let answers = calls.iter().filter(|call| call.command == "disableAccount").skip(before);
        assert_eq!(answers.map(|call| call.status).collect::<Vec<_>>(), [200, 530], "the second one: it exists");
        let looks = calls.iter().filter(|call| call.command == "queryAsyncJobResult");
        let looks = looks.filter(|call| call.parameters.get("jobid") == Some(&open.job_id)).count();
        assert!(looks > 2, "{looks}: until it had ended");
        for vm in [story.bob.first, story.bob.second] {
            assert_eq!(story.power(vm), Power::Stopped);
        }
        let mut tx = story.cloud.app.store.read().await.unwrap();
        let made = acting::list_calls(&mut tx, &open.intent_id).await.unwrap();
        drop(tx);
        let made = made.iter().filter(|call| call.command == "disableAccount");
        assert_eq!(made.map(|call| call.state.as_str()).collect::<Vec<_>>(), ["done"]);
        story.cloud.standin.with(|world| world.set_job_delay(0));
        story.cloud.enforce().await;
        assert_eq!(story.count("disableAccount"), before + 2, "not sent again");
        story.pay().await;
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn another_service_account_opens_what_the_former_one_locked() {
    on_each_database(|database| async {
        let mut story = Story::stopped(database, false).await;
        let (api_key, secret_key) = story.cloud.standin.with(|world| {
            let role = world.find_role("bursar-enforcer").unwrap();
            world.add_service_account("bursar-second", role)
        });
        story.cloud.pass(HOUR);
        story.cloud.reconfigure("CLOUDSTACK_ENFORCER_API_KEY", &api_key).await;
        story.cloud.reconfigure("CLOUDSTACK_ENFORCER_SECRET_KEY", secret_key.expose()).await;
        story.cloud.round().await;
        assert_eq!(story.rung().await.as_deref(), Some("stop"), "the lock is bursar's own still");
        let report = story.pay().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn an_account_that_is_open_and_whose_people_are_not_let_in_is_told_to_administrators() {
    on_each_database(|database| async {
        let story = Story::stopped(database, false).await;
        // After some wrong passwords CloudStack disables the user, whatever becomes of the account.
        story.cloud.standin.with(|world| {
            for user in world.users_of(story.bob.account) {
                world.set_user_state(user, State::Disabled);
            }
        });
        assert_eq!(story.pay().await.restored, ["ROOT/bob"]);
        let outcome = story.outcome().await;
        assert!(outcome.contains("; none of its users can sign in: bob (disabled)"), "{outcome}");
        let mut tx = story.cloud.app.store.read().await.unwrap();
        let told =
            notify::list_admin_notices(&mut tx, Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX), 50).await.unwrap();
        assert_eq!(told.iter().filter(|notice| notice.body.contains("none of its users")).count(), 1, "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn a_limit_that_one_with_a_tag_hides_is_lowered_and_put_back_too() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        let bob = story.bob.account;
        let root = story.cloud.standin.with(|world| {
            world.set_limit_tags(&["gold"]);
            world.root_domain()
        });
        let client = story.cloud.app.client(Role::Enforcer).unwrap();
        let owner = LimitOwner::Account { name: "bob".to_owned(), domain_id: root };
        client.update_resource_limit(&owner, 0, 10, Some("gold")).await.unwrap();
        // The tag is none any more: CloudStack lists neither the limit with it nor the one without.
        story.cloud.standin.with(|world| world.set_limit_tags(&[]));
        let before = story.limits(bob);
        assert_eq!(story.over().await.restricted, ["ROOT/bob"]);
        assert_eq!(story.limits(bob)[&0], 3, "he could go on making machines");
        story.pay().await;
        assert_eq!(story.limits(bob), before);
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn limits_with_a_tag_are_neither_lowered_nor_taken_for_those_without_one() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        let bob = story.bob.account;
        let root = story.cloud.standin.with(|world| {
            world.set_limit_tags(&["gold"]);
            // Of processors he may have what he uses: there is nothing to lower, though the tag's own limit is none.
            world.set_limit(bob, 8, 3);
            world.root_domain()
        });
        let client = story.cloud.app.client(Role::Enforcer).unwrap();
        let owner = LimitOwner::Account { name: "bob".to_owned(), domain_id: root };
        client.update_resource_limit(&owner, 0, 10, Some("gold")).await.unwrap();
        let tagged = async || {
            let limits = client.list_limits_of(&owner).await.unwrap().into_iter();
            let tagged = limits.filter(|limit| limit.tag.as_deref() == Some("gold"));
            tagged.map(|limit| (limit.resource_type.unwrap(), limit.max.unwrap())).collect::<Vec<_>>()
        };
        let before = (story.limits(bob), tagged().await);
        assert!(before.1.contains(&(0, 10)) && before.1.contains(&(8, -1)), "{before:?}");
        assert_eq!(story.over().await.restricted, ["ROOT/bob"]);
        let restricted = story.limits(bob);
        assert_eq!([0, 8].map(|kind| restricted[&kind]), [3, 3]);
        assert_eq!(tagged().await, before.1);
        story.pay().await;
        assert_eq!((story.limits(bob), tagged().await), before);
        let calls = story.cloud.standin.calls();
        let set = calls.iter().filter(|call| call.command == "updateResourceLimit");
        assert_eq!(set.filter(|call| call.parameters.contains_key("tag")).count(), 1, "none of bursar's");
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn primary_storage_is_limited_to_all_volumes_together_rounded_up_to_whole_gib() {
    on_each_database(|database| async {
        let mut story = Story::on(database).await;
        // A byte more than the 2 GiB of each; the account's own figure, which CloudStack cuts down to whole GiB, stays at 6.
        change_answers(&mut story, "listVolumes", |_, content| {
            for volume in content.get_mut("volume").and_then(Value::as_array_mut).into_iter().flatten() {
                volume["size"] = json!((2_u64 << 30) + 1);
            }
        });
        assert_eq!(story.over().await.restricted, ["ROOT/bob"]);
        assert_eq!(story.limits(story.bob.account)[&10], 7);
        story.pay().await;
        assert_eq!(story.limits(story.bob.account)[&10], 200);
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

/// bob is locked and may be opened; the call that enables him was lost, and given up.
async fn enabling_lost(database: Database) -> Story {
    let story = locked(database).await;
    story.cloud.pass(HOUR);
    story.cloud.catch_up().await;
    story.cloud.limit("bob", "500").await;
    story.fault("enableAccount", FaultKind::CutBeforeAction);
    let report = story.cloud.enforce().await;
    assert_eq!((report.restored.len(), story.state()), (0, State::Locked), "{report:?}");
    story
}

#[tokio::test]
async fn what_bursars_own_late_call_opened_gets_everything_back_whatever_is_left_by_then() {
    on_each_database(|database| async {
        let story = enabling_lost(database).await;
        // Given up, it arrives after all; and the limit is the old one again.
        let enforcer = story.cloud.app.client(Role::Enforcer).unwrap();
        enforcer.enable_account(story.bob.account).await.unwrap();
        story.cloud.limit("bob", "0.05").await;
        story.cloud.catch_up().await;
        let report = story.cloud.enforce().await;
        assert_eq!(report.restored, ["ROOT/bob"], "{report:?}");
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

/// A run of a bursar with a clock of its own.
async fn enforce_by(story: &Story, clock: Timestamp) -> EnforceReport {
    let app = crate::harness::open(&story.cloud.env, &ManualClock::new(clock)).await;
    let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
    let report = work::enforce(&app, options, "test").await.unwrap();
    app.store.close().await;
    report
}

#[tokio::test]
async fn nobody_is_taken_down_by_a_clock_that_differs_from_cloudstacks() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        let now = story.cloud.clock.now();
        for ahead in [Duration::from_mins(11), DAY, DAY * 60] {
            let report = enforce_by(&story, now.plus(ahead)).await;
            let kinds: Vec<&str> = report.held_back_by.iter().map(|guard| guard.kind.as_str()).collect();
            assert!(kinds.contains(&"clock") && report.stopped.is_empty(), "{ahead:?}: {report:?}");
        }
        // CloudStack takes what a clock signs that is behind for expired.
        let app = crate::harness::open(&story.cloud.env, &ManualClock::new(now.minus(Duration::from_mins(11)))).await;
        let options = EnforceOptions { holds_data_lock: true, ..EnforceOptions::default() };
        assert!(
            work::enforce(&app, options, "test").await.unwrap_err().to_string().contains("does not accept the caller")
        );
        app.store.close().await;
        assert_ne!(story.rung().await.as_deref(), Some("stop"));
        // Set right, it has gone back; from then on it is trusted again.
        assert!(enforce_by(&story, now).await.stopped.is_empty());
        assert_eq!(enforce_by(&story, now.plus(Duration::from_mins(9))).await.stopped, ["ROOT/bob"]);
    })
    .await;
}

#[tokio::test]
async fn a_call_that_never_arrived_is_made_again_by_cloudstacks_clock_whatever_ours_said_meanwhile() {
    // How far our clock is ahead when the call goes out, and at the next look.
    for (ahead, then) in [(DAY * 3, Duration::ZERO), (Duration::ZERO, DAY * 3), (DAY * 3, DAY * 3)] {
        on_each_database(|database| async {
            let story = Story::stopped(database, true).await;
            let (project, web) = (story.bob.project, story.bob.in_project);
            story.cloud.pay("bob", "500").await;
            story.fault("activateProject", FaultKind::CutBeforeAction);
            let now = || story.cloud.clock.now();
            enforce_by(&story, now().plus(ahead)).await;
            let lost = story.cloud.standin.with(|world| world.faults().waiting()) == 0;
            assert_eq!((lost, story.state()), (true, State::Enabled), "{ahead:?}, {then:?}");
            let arrived = || story.count("activateProject");
            // It may still be on its way, and ends by then.
            story.cloud.clock.advance(Duration::from_mins(5));
            enforce_by(&story, now().plus(then)).await;
            assert_eq!((arrived(), story.power(web)), (0, Power::Stopped), "{ahead:?}, {then:?}");
            story.cloud.clock.advance(Duration::from_mins(11));
            enforce_by(&story, now().plus(then)).await;
            let is_active = story.cloud.standin.with(|world| world.project_is_active(project));
            assert_eq!((arrived(), is_active), (1, Some(true)), "{ahead:?}, {then:?}");
            story.cloud.pass(HOUR);
            story.cloud.round().await;
            story.is_all_back(&[story.bob.first, story.bob.second, web]).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_call_that_is_dated_to_come_counts_from_the_first_look() {
    on_each_database(|database| async {
        let story = Story::stopped(database, true).await;
        story.cloud.pay("bob", "500").await;
        story.fault("activateProject", FaultKind::CutBeforeAction);
        story.cloud.enforce().await;
        // As it stands where the clock leapt between the last answer and the call.
        let mut tx = story.cloud.app.store.begin().await.unwrap();
        let intents = rows::list_open_intents(&mut tx).await.unwrap();
        let mut calls = Vec::new();
        for intent in intents {
            calls.extend(acting::list_calls(&mut tx, &intent.id).await.unwrap());
        }
        let call = calls.iter().find(|call| call.command == "activateProject").unwrap();
        acting::date_call(&mut tx, call.id, story.cloud.clock.now().plus(DAY * 3)).await.unwrap();
        tx.commit().await.unwrap();
        for (minutes, arrived) in [(10, 0), (10, 0), (6, 1)] {
            story.cloud.clock.advance(Duration::from_mins(minutes));
            story.cloud.enforce().await;
            assert_eq!(story.count("activateProject"), arrived);
        }
        story.cloud.pass(HOUR);
        story.cloud.round().await;
        story.is_all_back(&[story.bob.first, story.bob.second, story.bob.in_project]).await;
    })
    .await;
}

#[tokio::test]
async fn what_a_stop_took_comes_back_though_cloudstack_has_forgotten_its_job_and_somebody_enabled_the_account() {
    on_each_database(|database| async {
        let story = Story::on(database).await;
        story.due_to_stop().await;
        story.fault("disableAccount", FaultKind::CutAfterAction);
        let (first, second) = (story.bob.first, story.bob.second);
        story.fault("queryAsyncJobResult", FaultKind::Status(503));
        story.cloud.enforce().await;
        story.cloud.standin.with(|world| {
            world.finish_jobs();
            world.enable_by_admin(story.bob.account);
        });
        assert_eq!((story.state(), story.power(first)), (State::Enabled, Power::Stopped));
        story.cloud.pay("bob", "500").await;
        for _ in 0..2 {
            story.cloud.pass(2 * DAY);
            story.cloud.round().await;
        }
        story.is_all_back(&[first, second]).await;
    })
    .await;
}

#[tokio::test]
async fn what_bursars_late_call_opened_past_an_administrator_goes_no_further() {
    on_each_database(|database| async {
        let story = enabling_lost(database).await;
        // An administrator locks bob too, then the call arrives.
        story.cloud.standin.with(|world| world.lock_by_admin(story.bob.account));
        let enforcer = story.cloud.app.client(Role::Enforcer).unwrap();
        enforcer.enable_account(story.bob.account).await.unwrap();
        for _ in 0..2 {
            story.cloud.pass(HOUR);
            let report = story.cloud.round().await;
            assert!(report.restored.is_empty(), "{report:?}");
        }
        let account = story.cloud.account("bob").await;
        let mut tx = story.cloud.app.store.read().await.unwrap();
        let owners: Vec<String> =
            rows::list_holds(&mut tx, Some(account.id)).await.unwrap().into_iter().map(|hold| hold.owner).collect();
        assert_eq!(owners, ["billing", "admin"], "nobody has taken the lock back");
        drop(tx);
        // Somebody does.
        story.cloud.standin.with(|world| world.enable_by_admin(story.bob.account));
        for _ in 0..2 {
            story.cloud.pass(HOUR);
            story.cloud.round().await;
        }
        story.is_all_back(&[story.bob.first, story.bob.second]).await;
    })
    .await;
}

#[tokio::test]
async fn what_an_administrator_opened_behind_a_lost_call_of_bursars_is_not_taken_for_its_own() {
    on_each_database(|database| async {
        let story = enabling_lost(database).await;
        story.cloud.standin.with(|world| world.enable_by_admin(story.bob.account));
        story.cloud.limit("bob", "0.05").await;
        story.cloud.catch_up().await;
        let report = story.cloud.enforce().await;
        assert!(report.restored.is_empty(), "{report:?}");
        assert_eq!((story.state(), story.rung().await.as_deref()), (State::Enabled, Some("lock")));
    })
    .await;
}
