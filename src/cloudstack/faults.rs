//! What the client says when the server, the network, the data or the URL is bad.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::{
    Error, NewUser, UsageRow, envelope,
    session::SessionClient,
    testing::{
        API_KEY, ID, JOB, NOW, Reaction, Received, SECRET_KEY, Scripted, client, id, job, lock, ok, row, rows, session,
    },
};
use crate::{secrets::Secret, time::Timestamp};

const NO_CREDENTIALS: &str = r#"{"listzonesresponse":{"uuidList":[],"errorcode":401,"errortext":"unable to verify user credentials and/or request signature"}}"#;

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_uncertain_and_never_sent_again() {
    for reaction in [
        Reaction::Cut,
        Reaction::CutInside,
        Reaction::Silence,
        Reaction::html(502, "<html>Bad Gateway</html>"),
        Reaction::html(503, "<html>No server is available</html>"),
        Reaction::html(200, "<html>Welcome</html>"),
        ok("{\"disableaccountresponse\":"),
    ] {
        let mut server = Scripted::start([reaction.clone()]).await;
        if matches!(reaction, Reaction::Silence) {
            server.settings.timeout = Duration::from_millis(500);
        }
        let error = lock(&server.client()).await.unwrap_err();
        assert!(matches!(error, Error::Uncertain { .. }), "{reaction:?}: {error}");
        assert!(!error.is_retryable(), "{reaction:?}");
        assert_eq!(server.received().len(), 1, "{reaction:?}");
        assert_eq!(server.received()[0].param("customjobid"), Some(JOB));
    }
}

#[tokio::test]
async fn a_write_that_certainly_was_not_done_says_so() {
    let maintenance = r#"{"disableaccountresponse":{"errorcode":503,"errortext":"Maintenance or shutdown has been initiated on this management server. Can not accept new jobs"}}"#;
    let throttled = r#"{"disableaccountresponse":{"errorcode":429,"errortext":"retry after [850] ms"}}"#;
    let server = Scripted::start([Reaction::json(503, maintenance), Reaction::json(429, throttled)]).await;
    let client = server.client();
    assert!(matches!(lock(&client).await, Err(Error::Retry { code: Some(503), .. })));
    let error = lock(&client).await.unwrap_err();
    assert!(
        matches!(error, Error::Retry { code: Some(429), after: Some(wait), .. } if wait == Duration::from_millis(850))
    );
    assert_eq!(server.received().len(), 2);
    // Nobody listens there any more.
    let settings = server.settings.clone();
    drop(server);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings;
    settings.url = format!("http://{}", closed.local_addr().unwrap()).parse().unwrap();
    drop(closed);
    let error = super::testing::client(settings).lock_account(id(), job()).await.unwrap_err();
    assert!(matches!(&error, Error::Retry { code: None, text, .. } if text.contains("no connection")), "{error}");
}

#[tokio::test]
async fn a_read_is_tried_again_after_a_cut_a_busy_and_a_failing_gateway() {
    let throttled = r#"{"errorresponse":{"errorcode":429,"errortext":"retry after [850] ms"}}"#;
    for reaction in [
        Reaction::Cut,
        Reaction::CutInside,
        Reaction::html(502, "<html>Bad Gateway</html>"),
        Reaction::html(503, "<html>none</html>"),
        Reaction::json(429, throttled),
    ] {
        let server = Scripted::start([reaction.clone(), reaction.clone(), ok(r#"{"listzonesresponse":{}}"#)]).await;
        assert!(server.client().list_zones().await.unwrap().is_empty(), "{reaction:?}");
        let server = Scripted::start([reaction.clone(), reaction.clone(), reaction.clone(), reaction.clone()]).await;
        assert!(server.client().list_zones().await.unwrap_err().is_retryable(), "{reaction:?}");
        assert_eq!(server.received().len(), 3, "{reaction:?}: one try and two more");
    }
}

#[tokio::test]
async fn a_slow_answer_ends_at_the_deadline() {
    let mut server = Scripted::start([Reaction::Silence]).await;
    server.settings.timeout = Duration::from_millis(500);
    server.settings.read_retries = 0;
    let error = server.client().list_zones().await.unwrap_err();
    assert!(matches!(&error, Error::Retry { text, .. } if text.contains("deadline")), "{error}");
}

#[tokio::test]
async fn an_answer_over_the_limit_is_not_read() {
    let long = format!(r#"{{"listzonesresponse":{{"x":"{}"}}}}"#, "a".repeat(5_000));
    let mut server = Scripted::start([ok(&long), ok(&long)]).await;
    server.settings.max_body_bytes = 1_000;
    let client = server.client();
    let error = client.list_zones().await.unwrap_err();
    assert!(matches!(&error, Error::Malformed { text } if text.contains("1000 bytes")), "{error}");
    assert!(matches!(lock(&client).await, Err(Error::Uncertain { .. })));
}

#[tokio::test]
async fn a_wrong_url_is_recognised_by_what_answers() {
    for reaction in [
        Reaction::html(200, "<!doctype html><title>CloudStack</title>"),
        Reaction::html(404, "<html>Not Found</html>"),
        Reaction::json(404, r#"{"message":"no such route"}"#),
        Reaction::html(302, "").with_header("Location", "https://sso.example.com/login"),
        ok("OK"),
    ] {
        let server = Scripted::start([reaction.clone()]).await;
        let error = server.client().capabilities().await.unwrap_err();
        assert!(matches!(&error, Error::Malformed { text } if text.contains("/client/api")), "{reaction:?}: {error}");
        assert_eq!(server.received().len(), 1, "a redirect is not followed: {reaction:?}");
    }
    // What certainly is not CloudStack has not done the write either.
    let server = Scripted::start([Reaction::html(302, "").with_header("Location", "https://sso.example.com/")]).await;
    assert!(matches!(lock(&server.client()).await, Err(Error::Malformed { .. })));
}

#[test]
fn one_broken_item_does_not_lose_the_page() {
    let read = |body: String| envelope::page::<UsageRow>(body.as_bytes());
    let names = |body: String| {
        let page = read(body).unwrap();
        let names: Vec<String> = page.items.iter().filter_map(|r| r.name.clone()).collect();
        (names.join(" "), page.unreadable, page.count)
    };
    // Control characters and lone backslashes are mended.
    let mended = names(rows(3, &[row("a"), row("b\u{1}\nb"), row("c\\\u{b}")]));
    assert_eq!(mended, ("a b  b c\\ ".to_owned(), 0, Some(3)));
    // A stray quote is not guessed at: a tenant's machine name could otherwise speak for another account.
    let quoted = names(rows(3, &[row("a"), row(r#"b" quoted"#), row("c")]));
    assert_eq!(quoted, ("a c".to_owned(), 1, Some(3)));
    let forged = names(rows(3, &[row("a"), row(r#"b","accountid":"00000000-0000-0000-0000-000000000000"#), row("c")]));
    assert_eq!(forged, ("a c".to_owned(), 1, Some(3)));
    // A field of an impossible type loses its own item only.
    let typed = names(rows(3, &[row("a"), row("b").replace(r#""usagetype":1"#, r#""usagetype":{}"#), row("c")]));
    assert_eq!(typed, ("a c".to_owned(), 1, Some(3)));
    // The first and the last may be the broken one.
    assert_eq!(names(rows(2, &[row(r#"a"a"#), row("b")])), ("b".to_owned(), 1, Some(2)));
    assert_eq!(names(rows(2, &[row("a"), row(r#"b"b"#)])), ("a".to_owned(), 1, Some(2)));
    // A page that was cut off is no page with a broken end.
    let whole = rows(2, &[row("a"), row("b")]);
    assert!(matches!(read(whole[..whole.len() - 60].to_owned()), Err(Error::Malformed { .. })));
    assert!(matches!(
        read(r#"{"listusagerecordsresponse":{"count":1,"zone":[{"id":"x"}]}}"#.to_owned()),
        Err(Error::Malformed { .. })
    ));
}

#[test]
fn the_outer_key_is_never_trusted_and_only_one_value_is_an_answer() {
    let sole = |body: &str| envelope::sole(body.as_bytes());
    assert!(sole(r#"{"activaterojectresponse":{"jobid":"x"}}"#).is_ok());
    for odd in ["[]", "{}", "1", r#"{"a":{},"b":{}}"#, r#"{"a":{}}{"b":{}}"#] {
        assert!(matches!(sole(odd), Err(Error::Malformed { .. })), "{odd}");
        assert!(matches!(envelope::page::<UsageRow>(odd.as_bytes()), Err(Error::Malformed { .. })), "{odd}");
    }
}

#[tokio::test]
async fn secrets_that_a_server_echoes_are_taken_out() {
    let echo = format!(
        r#"{{"x":{{"errorcode":431,"errortext":"key {API_KEY} with {SECRET_KEY} and password hunter2-secret"}}}}"#
    );
    let server = Scripted::start([Reaction::json(431, &echo)]).await;
    let new = NewUser {
        user_id: id(),
        username: "alice-api-1".to_owned(),
        password: Secret::new("hunter2-secret"),
        first_name: "alice".to_owned(),
        last_name: "api key".to_owned(),
        email: "alice@example.com".to_owned(),
        account: "alice".to_owned(),
        domain_id: id(),
    };
    let client = server.client();
    let error = format!("{:?}", client.create_user(&new).await.unwrap_err());
    for secret in [API_KEY, SECRET_KEY, "hunter2-secret"] {
        assert!(!error.contains(secret), "{error}");
        assert!(!format!("{client:?} {new:?} {:?}", server.settings).contains(secret));
    }
    assert_eq!(server.received()[0].param("userid"), Some(ID));
}

/// A server with a clock of its own: so many seconds ahead of ours, or behind it. It tells by nothing else than what has expired.
async fn server_ahead(seconds: &Arc<AtomicI64>) -> Scripted {
    let seconds = Arc::clone(seconds);
    Scripted::answering(move |request| {
        let end = Timestamp::parse_cloudstack(request.param("expires").unwrap()).unwrap();
        let has_expired = end.as_seconds() < NOW.as_seconds() + seconds.load(Ordering::SeqCst);
        if has_expired { Reaction::json(401, NO_CREDENTIALS) } else { ok(r#"{"answer":{}}"#) }
    })
    .await
}

#[tokio::test]
async fn the_servers_clock_is_measured_by_what_it_takes_for_expired() {
    const WEEK: i64 = 604_800;
    let ahead = Arc::new(AtomicI64::new(0));
    let server = server_ahead(&ahead).await;
    let client = server.client();
    // What it is, what is measured, and how many calls that takes at most.
    for (really, measured, calls) in [
        (0, 0, 2),
        (29, 0, 2),
        (-29, 0, 2),
        (31, 31, 8),
        (0, 0, 8),
        (3_600, 3_600, 24),
        (3_610, 3_600, 2),
        (-241_200, -241_200, 40),
        (-241_200, -241_200, 2),
        (2 * WEEK, 2 * WEEK, 48),
        (0, 0, 48),
    ] {
        ahead.store(really, Ordering::SeqCst);
        let before = server.received().len();
        assert_eq!(client.measure_clock_skew().await.unwrap(), Some(measured), "{really}");
        let made = server.received().len() - before;
        assert!(made <= calls, "{really}: {made} calls");
        assert_eq!(client.server_now().as_seconds(), NOW.as_seconds() + measured);
    }
}

#[tokio::test]
async fn a_request_ends_by_the_servers_clock_until_ours_is_set_right() {
    let ahead = Arc::new(AtomicI64::new(-241_200));
    let server = server_ahead(&ahead).await;
    let client = server.client();
    let list = async || {
        let before = server.received().len();
        client.list_zones().await.unwrap();
        let ends = |request: &Received| Timestamp::parse_cloudstack(request.param("expires").unwrap()).unwrap();
        server.received()[before..]
            .iter()
            .map(|request| ends(request).as_seconds() - NOW.as_seconds())
            .collect::<Vec<_>>()
    };
    assert_eq!(list().await, [600], "nothing is known yet");
    client.measure_clock_skew().await.unwrap();
    assert_eq!(list().await, [600 - 241_200]);
    ahead.store(0, Ordering::SeqCst);
    // Who stood still behind an earlier look finds that a write has expired, and does not send it again.
    let before = server.received().len();
    assert!(matches!(lock(&client).await.unwrap_err(), Error::Unauthorized { .. }));
    assert_eq!(server.received().len(), before + 1);
    let ends = list().await;
    assert_eq!((ends.first(), ends.last()), (Some(&(600 - 241_200)), Some(&600)), "refused, measured, and asked again");
    assert_eq!((list().await, client.server_now()), (vec![600], NOW));
    // By a clock that is behind nothing is done.
    ahead.store(3_600, Ordering::SeqCst);
    client.measure_clock_skew().await.unwrap();
    assert!(matches!(client.list_zones().await.unwrap_err(), Error::Unauthorized { .. }));
}

#[tokio::test]
async fn a_caller_that_is_not_accepted_is_so_by_no_clock() {
    let server = Scripted::answering(|_| Reaction::json(401, NO_CREDENTIALS)).await;
    assert_eq!(server.client().measure_clock_skew().await.unwrap(), None);
    assert!(server.received().len() < 20, "{}", server.received().len());
    // Nor is a clock told by something that takes everything.
    let server = Scripted::answering(|_| ok(r#"{"answer":{}}"#)).await;
    let client = server.client();
    assert_eq!((client.measure_clock_skew().await.unwrap(), client.server_now()), (None, NOW));
    assert!(server.received().len() < 20, "{}", server.received().len());
    let server = Scripted::answering(|_| Reaction::html(503, "<html>away</html>")).await;
    assert!(matches!(server.client().measure_clock_skew().await, Err(Error::Retry { .. })));
    // Who may not ask is known, and so is that the request had not expired.
    let server = Scripted::answering(|request| {
        let is_over = Timestamp::parse_cloudstack(request.param("expires").unwrap()).unwrap() < NOW;
        let denied = r#"{"errorresponse":{"errorcode":432,"errortext":"does not exist or is not available"}}"#;
        if is_over { Reaction::json(401, NO_CREDENTIALS) } else { Reaction::json(432, denied) }
    })
    .await;
    assert_eq!(server.client().measure_clock_skew().await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_refusal_names_how_far_the_clock_of_what_answers_is_off() {
    let answer = Reaction::json(401, NO_CREDENTIALS).with_header("Date", "Sun, 22 Nov 2026 18:00:00 GMT");
    let text = Scripted::start([answer]).await.client().list_zones().await.unwrap_err().to_string();
    assert!(text.contains("3600 s apart") && text.contains("secret key is wrong"), "{text}");
}

#[tokio::test]
async fn a_lost_answer_in_a_session_is_uncertain_for_a_write_only() {
    let server = Scripted::start([Reaction::Cut, Reaction::Cut]).await;
    let people = SessionClient::new(&server.settings).unwrap();
    let session = session("a", "b");
    let call = |is_write| people.call_raw(&session, "updateUser", &[], is_write);
    assert!(matches!(call(true).await, Err(Error::Uncertain { .. })));
    assert!(matches!(call(false).await, Err(Error::Retry { .. })));
}

#[tokio::test]
async fn the_clients_own_parameters_can_not_be_overridden() {
    let server = Scripted::start([]).await;
    for name in ["apiKey", "signature", "Command", "expires"] {
        let error = client(server.settings.clone()).call_raw("listZones", &[(name, "x")]).await.unwrap_err();
        assert!(matches!(error, Error::Configuration { .. }), "{name}");
    }
    assert!(server.received().is_empty());
}
