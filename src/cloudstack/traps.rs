//! The traps of CloudStack's API that the client has to avoid, numbered as in the collected facts. Traps 1 to 4 have
//! further tests in `signing`.

use std::time::Duration;

use super::{
    AccountState, ApiKeyAccess, Error, EventFilter, JobState, LimitOwner, UsageQuery, UsageRow, VmFilter, envelope,
    session::SessionClient,
    signing,
    testing::{API_KEY, ID, JOB, NOW, Reaction, SECRET_KEY, Scripted, id, job, lock, ok, row, rows, session},
};
use crate::{
    secrets::Secret,
    time::{Period, Timestamp},
};

fn hour() -> Period {
    Period::new(NOW, NOW.plus(Duration::from_hours(1))).unwrap()
}

#[tokio::test]
async fn traps_1_to_5_a_request_is_a_post_of_lower_case_names_all_signed_with_a_short_expiry() {
    let server = Scripted::start([ok(r#"{"updateaccountresponse":{"account":{}}}"#)]).await;
    let params = [("accountDetails[0].key", "a b+c*~é"), ("ID", ID)];
    server.client().call_raw("updateAccount", &params).await.unwrap();
    let request = server.received().remove(0);
    assert!(request.head.starts_with("POST /client/api HTTP/1.1"), "{}", request.head);
    assert!(request.form.iter().all(|(name, _)| name.chars().all(|c| !c.is_ascii_uppercase())), "{:?}", request.form);
    assert_eq!(request.param("accountdetails[0].key"), Some("a b+c*~é"));
    assert_eq!((request.param("response"), request.param("apikey")), (Some("json"), Some(API_KEY)));
    assert_eq!(request.param("signatureversion"), Some("3"));
    // The plus survives the form encoding, and the expiry is within the 15 minutes that a strict server allows.
    let expires = Timestamp::parse_cloudstack(request.param("expires").unwrap()).unwrap();
    assert_eq!(expires.since(NOW), Duration::from_mins(10));
    assert_eq!(request.param("signature"), Some(signing::signature(&request.form, SECRET_KEY).as_str()));
}

#[test]
fn trap_6_an_empty_list_and_a_page_past_the_end_are_empty() {
    let read = |body: &str| envelope::page::<UsageRow>(body.as_bytes()).unwrap();
    let empty = read(r#"{"listusagerecordsresponse":{}}"#);
    assert_eq!((empty.count, empty.items.len(), empty.unreadable), (None, 0, 0));
    let past = read(r#"{"listusagerecordsresponse":{"count":5764}}"#);
    assert_eq!((past.count, past.items.len(), past.unreadable), (Some(5764), 0, 0));
}

#[tokio::test]
async fn trap_7_the_page_size_is_learnt_and_every_page_is_read() {
    let zone = |name: &str| format!(r#"{{"id":"{name}","name":"{name}"}}"#);
    let page = |names: &[&str]| {
        let zones: Vec<String> = names.iter().map(|n| zone(n)).collect();
        ok(&format!(r#"{{"listzonesresponse":{{"count":3,"zone":[{}]}}}}"#, zones.join(",")))
    };
    let refusal = r#"{"listzonesresponse":{"uuidList":[],"errorcode":431,"errortext":"Page size can't exceed max allowed page size value: 2"}}"#;
    let server = Scripted::start([Reaction::json(431, refusal), page(&["a", "b"]), page(&["c"])]).await;
    let client = server.client();
    let zones = client.list_zones().await.unwrap();
    assert_eq!(zones.iter().map(|z| z.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let asked: Vec<_> = server
        .received()
        .iter()
        .map(|r| (r.param("page").unwrap().to_owned(), r.param("pagesize").unwrap().to_owned()))
        .collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(asked, [pair("1", "500"), pair("1", "2"), pair("2", "2")]);
    // Known by now: no further call.
    assert_eq!(client.page_size().await.unwrap(), 2);
}

#[tokio::test]
async fn trap_7_events_are_listed_in_pages_that_the_server_allows_and_no_further_than_asked() {
    let refusal = r#"{"listeventsresponse":{"uuidList":[],"errorcode":431,"errortext":"Page size can't exceed max allowed page size value: 2"}}"#;
    let event = format!(r#"{{"id":"{ID}","type":"ACCOUNT.DISABLE"}}"#);
    let page = |events: &[&String]| {
        let events: Vec<&str> = events.iter().map(|event| event.as_str()).collect();
        ok(&format!(r#"{{"listeventsresponse":{{"count":9,"event":[{}]}}}}"#, events.join(",")))
    };
    let full = || page(&[&event, &event]);
    let server = Scripted::start([Reaction::json(431, refusal), full(), page(&[&event]), full(), full()]).await;
    let client = server.client();
    let listed = client.list_events(&EventFilter::default(), 100).await.unwrap();
    assert_eq!((listed.items.len(), listed.is_complete), (3, true));
    let listed = client.list_events(&EventFilter::default(), 4).await.unwrap();
    assert_eq!((listed.items.len(), listed.is_complete), (4, false), "there may be more");
    let received = server.received();
    let asked: Vec<_> = received.iter().map(|r| (r.param("page").unwrap(), r.param("pagesize").unwrap())).collect();
    assert_eq!(asked, [("1", "500"), ("1", "2"), ("2", "2"), ("1", "2"), ("2", "2")]);
}

#[tokio::test]
async fn a_list_whose_count_never_comes_true_ends_with_an_empty_page() {
    let server = Scripted::start([
        ok(r#"{"listzonesresponse":{"count":9,"zone":[{"id":"a","name":"a"}]}}"#),
        ok(r#"{"listzonesresponse":{"count":9}}"#),
    ])
    .await;
    assert_eq!(server.client().list_zones().await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn trap_8_a_failed_job_is_a_failure_though_the_answer_is_200() {
    let pending = format!(r#"{{"queryasyncjobresultresponse":{{"jobid":"{JOB}","jobstatus":0}}}}"#);
    let failed = format!(
        r#"{{"queryasyncjobresultresponse":{{"jobid":"{JOB}","jobstatus":2,"jobresultcode":530,"jobresult":{{"errorcode":530,"errortext":"The owner is disabled"}}}}}}"#
    );
    let server = Scripted::start([ok(&pending), ok(&failed)]).await;
    // The answer about a job carries its id as well; that is no reason to go on asking.
    let state = server.client().wait_for_job(job(), Duration::from_mins(1), Duration::ZERO).await.unwrap();
    assert_eq!(state, JobState::Failed { code: 530, text: "The owner is disabled".to_owned() });
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn a_job_that_does_not_end_in_time_is_still_pending_and_a_purged_one_is_gone() {
    let pending = format!(r#"{{"queryasyncjobresultresponse":{{"jobid":"{JOB}","jobstatus":0}}}}"#);
    let purged = r#"{"queryasyncjobresultresponse":{"errorcode":431,"errortext":"Invalid parameter jobid value=x due to incorrect long value format, or entity does not exist"}}"#;
    let server = Scripted::start([ok(&pending), Reaction::json(431, purged)]).await;
    let client = server.client();
    let state = client.wait_for_job(job(), Duration::ZERO, Duration::from_secs(1)).await.unwrap();
    assert_eq!(state, JobState::Pending);
    assert!(matches!(client.job(job()).await, Err(Error::Gone { .. })));
}

#[tokio::test]
async fn trap_9_an_empty_200_is_a_failure_and_leaves_a_write_open() {
    let server = Scripted::start([ok(""), ok("  "), ok(r#"{"disableaccountresponse":{}}"#)]).await;
    let client = server.client();
    assert!(matches!(client.list_zones().await, Err(Error::Malformed { text }) if text.contains("empty")));
    assert!(matches!(lock(&client).await, Err(Error::Uncertain { .. })));
    assert!(matches!(lock(&client).await, Err(Error::Uncertain { text }) if text.contains("job id")));
}

#[tokio::test]
async fn trap_10_errors_go_by_code_and_text_and_not_by_class() {
    let error = |code: u16, text: &str| {
        Reaction::json(code, &format!(r#"{{"errorresponse":{{"errorcode":{code},"errortext":"{text}"}}}}"#))
    };
    let server = Scripted::start([
        error(432, "The API [disableAccount] does not exist or is not available for the account"),
        error(431, "Unable to find account, entity does not exist"),
        error(431, "Lock is missing"),
        error(531, "Caller does not have permission"),
        error(401, "unable to verify user credentials and/or request signature"),
        error(530, "Entity already exists "),
        error(535, "Maximum amount of resources"),
    ])
    .await;
    let client = server.client();
    assert!(matches!(lock(&client).await, Err(Error::NotAllowed { code: 432, .. })));
    assert!(matches!(lock(&client).await, Err(Error::Gone { .. })));
    assert!(matches!(lock(&client).await, Err(Error::Refused { code: 431, .. })));
    assert!(matches!(lock(&client).await, Err(Error::NotAllowed { code: 531, .. })));
    assert!(matches!(lock(&client).await, Err(Error::Unauthorized { .. })));
    assert!(lock(&client).await.unwrap_err().is_already_exists());
    assert!(matches!(lock(&client).await, Err(Error::LimitReached { code: 535, .. })));
}

#[test]
fn traps_11_and_12_dates_and_quantities_are_read_in_every_spelling() {
    let read = |json: &str| serde_json::from_str::<UsageRow>(json).unwrap();
    let old = read(
        r#"{"startdate":"2023-12-06'T'09:00:00+00:00","enddate":"2023-12-06'T'09:59:59+00:00","rawusage":"0,083333"}"#,
    );
    let new =
        read(r#"{"startdate":"2023-12-06T10:00:00+0100","enddate":"2023-12-06T10:59:59+0100","rawusage":"0.083333"}"#);
    assert_eq!(old.period(), new.period());
    assert_eq!(old.period().unwrap().seconds(), 3_600);
    assert_eq!((old.quantity(), old.quantity().unwrap().to_string().as_str()), (new.quantity(), "0.083333"));
    assert_eq!(read(r#"{"rawusage":24}"#).quantity().unwrap().to_string(), "24");
    for doubtful in [r#"{"rawusage":"1.234,5"}"#, r#"{"rawusage":"much"}"#, "{}"] {
        assert_eq!(read(doubtful).quantity(), None, "{doubtful}");
    }
}

#[tokio::test]
async fn traps_13_and_14_ranges_are_turned_once_and_accounts_go_by_id() {
    let server = Scripted::start([ok(&rows(7, &[row("vm")]))]).await;
    let query = UsageQuery { account: Some(id()), usage_type: Some(1), ..UsageQuery::all(hour()) };
    assert_eq!(server.client().usage_count_for(&query).await.unwrap(), 7);
    let request = server.received().remove(0);
    assert_eq!(request.param("startdate"), Some("2026-11-22T17:00:00+0000"));
    assert_eq!(request.param("enddate"), Some("2026-11-22T17:59:59+0000"));
    assert_eq!(
        (request.param("accountid"), request.param("account"), request.param("domainid")),
        (Some(ID), None, None)
    );
    assert_eq!((request.param("page"), request.param("pagesize")), (Some("1"), Some("1")));
}

#[tokio::test]
async fn trap_15_repeated_records_are_passed_on_as_often_as_they_come() {
    let server = Scripted::start([ok(&rows(2, &[row("vm"), row("vm")]))]).await;
    let page = server.client().usage_page(hour(), 1, 500).await.unwrap();
    assert_eq!((page.items.len(), &page.items[0]), (2, &page.items[1]));
}

#[test]
fn trap_16_a_projects_record_has_no_account() {
    let body = rows(1, &[row("vm").replace("accountid", "projectid")]);
    let page = envelope::page::<UsageRow>(body.as_bytes()).unwrap();
    assert_eq!((page.items[0].account_id.as_deref(), page.items[0].project_id.as_deref()), (None, Some(ID)));
}

#[tokio::test]
async fn trap_22_a_session_is_forwarded_whole_or_not_at_all() {
    let me = format!(
        r#"{{"listusersresponse":{{"count":1,"user":[{{"id":"{ID}","username":"alice","state":"enabled"}}]}}}}"#
    );
    let server = Scripted::start([ok(&me).with_header("Set-Cookie", "JSESSIONID=other; Path=/client"), ok(&me)]).await;
    let people = SessionClient::new(&server.settings).unwrap();
    for (jsessionid, key) in [("", "key"), ("node0abc", ""), ("a; b=c", "key"), ("a", "k\r\nX: y")] {
        let error = people.who_am_i(&session(jsessionid, key)).await.unwrap_err();
        assert!(matches!(&error, Error::Unauthorized { text, .. } if text.contains("nothing was sent")), "{error}");
    }
    assert!(server.received().is_empty());
    for _ in 0..2 {
        let users = people.who_am_i(&session("node0abc", "k3y+/=")).await.unwrap();
        assert_eq!((users[0].username.as_str(), &users[0].state), ("alice", &AccountState::Enabled));
    }
    for request in server.received() {
        // The cookie that the server set is neither kept nor mixed in.
        assert_eq!(request.header("cookie"), Some("JSESSIONID=node0abc; sessionkey=k3y+/=; SRV=ms1"));
        assert_eq!(request.param("sessionkey"), Some("k3y+/="));
        assert_eq!(
            (request.param("command"), request.param("apikey"), request.param("listall")),
            (Some("listUsers"), None, None)
        );
    }
}

#[tokio::test]
async fn trap_22_a_pending_second_factor_is_told_apart_and_probed_once() {
    let pending = r#"{"listusersresponse":{"errorcode":511,"errortext":"Two factor authentication 2FA is enabled but not verified"}}"#;
    let server = Scripted::start([Reaction::json(511, pending), Reaction::Cut]).await;
    let people = SessionClient::new(&server.settings).unwrap();
    assert!(matches!(people.who_am_i(&session("a", "b")).await, Err(Error::SecondFactor { .. })));
    assert!(matches!(people.who_am_i(&session("a", "b")).await, Err(Error::Retry { .. })));
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn trap_23_the_key_client_keeps_no_cookie() {
    let answer = ok(r#"{"listzonesresponse":{}}"#).with_header("Set-Cookie", "JSESSIONID=node0; Path=/client");
    let server = Scripted::start([answer.clone(), answer]).await;
    let client = server.client();
    client.list_zones().await.unwrap();
    client.list_zones().await.unwrap();
    assert!(server.received().iter().all(|request| request.header("cookie").is_none()));
}

#[tokio::test]
async fn trap_24_an_ignored_apikeyaccess_is_noticed() {
    let user = |access: &str| format!(r#"{{"id":"{ID}","username":"alice-api-1","state":"enabled"{access}}}"#);
    let updated = format!(r#"{{"updateuserresponse":{{"user":{}}}}}"#, user(""));
    let listed = |access: &str| ok(&format!(r#"{{"listusersresponse":{{"count":1,"user":[{}]}}}}"#, user(access)));
    let server = Scripted::start([
        ok(&updated),
        listed(r#","apikeyaccess":"INHERIT""#),
        ok(&updated),
        listed(r#","apikeyaccess":"DISABLED""#),
    ])
    .await;
    let client = server.client();
    let ignored = client.set_user_api_key_access(id(), ApiKeyAccess::Disabled).await;
    assert!(matches!(ignored, Err(Error::NotAllowed { text, .. }) if text.contains("Admin")));
    let done = client.set_user_api_key_access(id(), ApiKeyAccess::Disabled).await.unwrap();
    assert_eq!(done.api_key_access, Some(ApiKeyAccess::Disabled));
    assert_eq!(server.received()[0].param("apikeyaccess"), Some("disabled"));
}

#[tokio::test]
async fn keys_made_in_a_job_are_waited_for() {
    let keys = r#"{"userkeys":{"apikey":"EXAMPLE-NEW-KEY","secretkey":"EXAMPLE-NEW-SECRET"}}"#;
    let server = Scripted::start([
        ok(&format!(r#"{{"registeruserkeysresponse":{keys}}}"#)),
        ok(&format!(r#"{{"registeruserkeysresponse":{{"jobid":"{JOB}"}}}}"#)),
        ok(&format!(r#"{{"queryasyncjobresultresponse":{{"jobid":"{JOB}","jobstatus":1,"jobresult":{keys}}}}}"#)),
        ok(r#"{"registeruserkeysresponse":{"userkeys":{}}}"#),
    ])
    .await;
    let client = server.client();
    for _ in 0..2 {
        let pair = client.register_user_keys(id()).await.unwrap();
        assert!(pair.api_key.matches("EXAMPLE-NEW-KEY") && pair.secret_key.matches("EXAMPLE-NEW-SECRET"));
        assert!(!format!("{pair:?}").contains("EXAMPLE"));
    }
    assert!(matches!(client.register_user_keys(id()).await, Err(Error::Uncertain { .. })));
}

#[tokio::test]
async fn what_is_not_there_is_none() {
    let unknown = r#"{"x":{"errorcode":431,"errortext":"… or entity does not exist or …"}}"#;
    let no_api = r#"{"x":{"errorcode":530,"errortext":"Api Discovery plugin was unable to find an api by that name or process any apis"}}"#;
    let denied = r#"{"errorresponse":{"errorcode":432,"errortext":"The API [listManagementServers] does not exist or is not available"}}"#;
    let similar = r#"{"x":{"count":1,"configuration":[{"name":"quota.enable.service.other","value":"true"}]}}"#;
    let server = Scripted::start([
        Reaction::json(431, unknown),
        ok(r#"{"listusersresponse":{}}"#),
        Reaction::json(530, no_api),
        Reaction::json(432, denied),
        ok(similar),
        Reaction::json(432, denied),
    ])
    .await;
    let client = server.client();
    assert!(client.get_account(id()).await.unwrap().is_none());
    assert!(client.get_user(id()).await.unwrap().is_none());
    assert!(client.api("deleteUserKeys").await.unwrap().is_none());
    assert_eq!(client.management_servers().await.unwrap(), None);
    assert!(!client.quota_is_enabled().await.unwrap());
    assert_eq!(client.usage_server_metrics().await.unwrap(), None);
}

#[tokio::test]
async fn filters_and_owners_become_the_parameters_that_cloudstack_takes() {
    let empty = || ok(r#"{"x":{}}"#);
    let limit = r#"{"updateresourcelimitresponse":{"resourcelimit":{"resourcetype":"0","max":3}}}"#;
    let server = Scripted::start([empty(), empty(), ok(limit), empty()]).await;
    let client = server.client();
    let of_account = VmFilter {
        account: Some(("alice".to_owned(), id())),
        state: Some("Running".to_owned()),
        ..VmFilter::default()
    };
    client.list_virtual_machines(&of_account).await.unwrap();
    client.list_virtual_machines(&VmFilter { all_projects: true, ..VmFilter::default() }).await.unwrap();
    let owner = LimitOwner::Account { name: "alice".to_owned(), domain_id: id() };
    assert_eq!(client.update_resource_limit(&owner, 0, 3, None).await.unwrap().max, Some(3));
    let filter =
        EventFilter { event_type: Some("ACCOUNT.DISABLE".to_owned()), start: Some(NOW), ..EventFilter::default() };
    client.list_events(&filter, 10).await.unwrap();
    let received = server.received();
    let param = |request: usize, name: &str| received[request].param(name).map(str::to_owned).unwrap_or_default();
    assert_eq!(
        (param(0, "account"), param(0, "domainid"), param(0, "state")),
        ("alice".into(), ID.into(), "Running".into())
    );
    assert_eq!((param(1, "projectid"), param(1, "account")), ("-1".into(), String::new()));
    assert_eq!(
        (param(2, "account"), param(2, "resourcetype"), param(2, "max")),
        ("alice".into(), "0".into(), "3".into())
    );
    assert_eq!(
        (param(3, "type"), param(3, "startdate"), param(3, "page")),
        ("ACCOUNT.DISABLE".into(), "2026-11-22T17:00:00+0000".into(), "1".into())
    );
}

#[tokio::test]
async fn signing_in_gives_a_session_and_refuses_an_empty_password() {
    let login = |verified: &str| {
        ok(&format!(
            r#"{{"loginresponse":{{"username":"alice","userid":"{ID}","domainid":"{ID}","timeout":1800,"account":"alice","sessionkey":"k3y","is2faenabled":"true","is2faverified":"{verified}"}}}}"#
        ))
        .with_header("Set-Cookie", "JSESSIONID=node0abc; Path=/client")
        .with_header("Set-Cookie", "sessionkey=k3y;HttpOnly;SameSite=Lax")
    };
    let wrong = r#"{"loginresponse":{"errorcode":531,"errortext":"Failed to authenticate user alice in domain 1"}}"#;
    let server = Scripted::start([
        login("true"),
        login("false"),
        Reaction::json(531, wrong),
        ok(r#"{"logoutresponse":{"description":"success"}}"#),
    ])
    .await;
    let people = SessionClient::new(&server.settings).unwrap();
    let password = Secret::new("correct horse");
    assert!(matches!(people.login("alice", &Secret::new(""), "/").await, Err(Error::Configuration { .. })));
    assert!(server.received().is_empty());
    let signed_in = people.login("alice", &password, "/").await.unwrap();
    assert!(!signed_in.second_factor_pending && signed_in.session.jsessionid.matches("node0abc"));
    assert!(signed_in.session.session_key.matches("k3y") && !format!("{signed_in:?}").contains("node0abc"));
    assert!(people.login("alice", &password, "/").await.unwrap().second_factor_pending);
    assert!(matches!(people.login("alice", &password, "/").await, Err(Error::NotAllowed { code: 531, .. })));
    people.logout(&signed_in.session).await.unwrap();
}
