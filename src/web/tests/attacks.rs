//! What is sent by somebody with bad intent: to every route of the table of [`super::matrix`].

use std::fmt::Write as _;

use super::{
    matrix::{Caller, Callers, ROWS, Row, furnished},
    *,
};

/// Values in the place of a number in a path.
const NUMBERS: [&str; 12] = [
    "-1",
    "0",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999999999",
    "abc",
    "1%20or%201=1",
    "1;drop%20table%20account",
    "1'--",
    "%00",
    "..%2f..%2faccounts",
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
];

/// Forms of a session. The link of a mail is none: its own token opens it. An upload is no plain form; its token, origin and size
/// are tested in `tests/story_own/picture.rs`.
/// Forms of people who are signed in. The one for pictures is sent in parts, and who is not suspended is led away before.
fn forms() -> impl Iterator<Item = &'static Row> {
    let is_other = |row: &Row| {
        row.route.starts_with("/api/")
            || row.route.contains("{token}")
            || row.route.starts_with("/suspended")
            || row.route == "/profile/picture"
            || row.expect[Caller::Nobody as usize] != 401
    };
    ROWS.iter().filter(move |row| row.method == "POST" && !is_other(row))
}

/// Forms of strangers: they have no session and no token, and come from a page of this origin all the same.
fn forms_of_strangers() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|row| row.method == "POST" && matches!(row.route, "/link" | "/sign-in/link"))
}

fn calls() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|row| row.method == "POST" && row.route.starts_with("/api/"))
}

/// Somebody who may do what the row is for.
fn who_may(row: &Row) -> Caller {
    let is_let_in = |caller: &Caller| !matches!(row.expect[*caller as usize], 401 | 403);
    Caller::ALL.into_iter().find(is_let_in).unwrap_or(Caller::Owner)
}

impl Place {
    /// A form as a browser sends it, with headers of the test's.
    async fn form(&self, row: &Row, path: &str, cookies: &str, headers: &[(&str, &str)], body: String) -> Response {
        let mut request = self.client.post(format!("{}{BASE}{path}", self.url)).header("cookie", cookies);
        request = request.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_empty() { row.body.to_owned() } else { format!("{body}&{}", row.body) };
        request.body(body).send().await.unwrap()
    }
}

#[tokio::test]
async fn numbers_in_paths_that_are_none_find_nothing_and_break_nothing() {
    let (place, _) = furnished().await;
    for row in ROWS.iter().filter(|row| row.route.contains("{id}")) {
        let caller = who_may(row);
        let callers = Callers::at(&place).await;
        let before = place.traces().await;
        for number in NUMBERS {
            let path = row
                .route
                .replace("{id}", number)
                .replace("{what}", if row.route.contains("gateways") { "approve" } else { "confirm" });
            let prefix = if row.route.starts_with("/api/") { "" } else { BASE };
            let response = place.ask(&callers, caller, row.method, &format!("{prefix}{path}"), row.body).await;
            let status = response.status().as_u16();
            // 409: the desk for keys is closed in these tests.
            assert!(matches!(status, 400 | 404 | 409), "{} {path}: {status}", row.method);
            let text = response.text().await.unwrap();
            assert!(!text.contains("<script>alert") && !text.to_lowercase().contains("sql"), "{path}: {text}");
        }
        assert_eq!(place.traces().await, before, "{}", row.route);
    }
}

#[tokio::test]
async fn a_form_needs_the_token_of_the_very_session() {
    let (place, things) = furnished().await;
    for row in forms() {
        let caller = who_may(row);
        let path = place.fill(row.path, things, caller);
        let (mine, theirs, earlier) = (Callers::at(&place).await, Callers::at(&place).await, Callers::at(&place).await);
        let (cookies, right) = mine.session(caller);
        let other = if caller == Caller::Admin { Caller::Owner } else { Caller::Admin };
        let cut = &right[..right.len() - 1];
        let before = (place.traces().await, place.cloud.calls().len());
        let nonce = "0123456789abcdef0123456789abcdef";
        for token in ["", "guess", cut, &format!("{right}0"), theirs.session(other).1, earlier.session(caller).1] {
            let body = format!("csrf={token}&nonce={nonce}");
            let response = place.form(row, &path, cookies, &[("sec-fetch-site", "same-origin")], body).await;
            assert_eq!(response.status(), 403, "{path} with the token {token:?}");
        }
        // In the address it counts for nothing.
        let in_address = format!("{path}?csrf={right}");
        let response =
            place.form(row, &in_address, cookies, &[("sec-fetch-site", "same-origin")], format!("nonce={nonce}")).await;
        assert_eq!(response.status(), 403, "{in_address}");
        assert_eq!((place.traces().await, place.cloud.calls().len()), before, "{path}");
    }
}

#[tokio::test]
async fn a_form_from_another_origin_is_refused_even_with_the_right_token() {
    let (place, things) = furnished().await;
    for row in forms().chain(forms_of_strangers()) {
        let path = place.fill(row.path, things, who_may(row));
        let callers = Callers::at(&place).await;
        let (cookies, csrf) = callers.session(who_may(row));
        let before = (place.traces().await, place.cloud.calls().len());
        for headers in [
            vec![("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-site")],
            vec![("sec-fetch-site", "none")],
            vec![("origin", "https://evil.example.com")],
            vec![("origin", "https://cloud.example.com.evil.example.com")],
            vec![("origin", "not an origin")],
            vec![("origin", "https://cloud.example.com"), ("sec-fetch-site", "cross-site")],
        ] {
            let body = format!("csrf={csrf}&nonce=0123456789abcdef0123456789abcdef");
            let response = place.form(row, &path, cookies, &headers, body).await;
            assert_eq!(response.status(), 403, "{path} from {headers:?}");
        }
        assert_eq!((place.traces().await, place.cloud.calls().len()), before, "{path}");
    }
}

#[tokio::test]
async fn cookies_that_were_tampered_with_let_nobody_in_as_somebody_else() {
    let (place, _) = furnished().await;
    let callers = Callers::at(&place).await;
    let (admins, _) = callers.session(Caller::Admin);
    let own = admins.rsplit("; ").next().unwrap();
    let token = own.split_once('=').unwrap().1;
    let flipped = format!("{}{}", &token[..token.len() - 1], if token.ends_with('0') { '1' } else { '0' });
    // alice's CloudStack session, with something in the place of her cookie of bursar's.
    place.cloud.answer(200, users(&[alice()]));
    for (number, stolen) in [
        own.to_owned(),
        format!("bursar_session={flipped}"),
        format!("bursar_session={}", token.to_uppercase()),
        format!("bursar_session={}", &token[1..]),
        format!("bursar_session={}", token_hash_of(token)),
        "bursar_session=".to_owned(),
        "bursar_session=' or 1=1 --".to_owned(),
        format!("bursar_session={}", "a".repeat(6_000)),
        format!("bursar_session={token}; bursar_session=x"),
        "bursar_session=\"; role=cloud-admin; account=admin".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let cookies =
            format!("JSESSIONID=alice{number}; sessionkey=alice{number}; {stolen}; role=Admin; account=admin");
        let response = place.open_page("/admin/accounts", &cookies).await;
        assert_eq!(response.status(), 403, "{stolen}");
        let response = place.open_page("/", &cookies).await;
        let text = response.text().await.unwrap();
        assert!(!text.contains("ROOT/admin"), "{stolen}");
    }
    // The administrator's cookie of bursar's was shown with another session: it is worth nothing any more.
    place.cloud.answer(401, refused(401));
    assert_eq!(place.open_page("/admin/accounts", admins).await.status(), 401);
}

fn token_hash_of(token: &str) -> String {
    crate::secrets::token_hash(token)
}

#[tokio::test]
async fn cookies_that_can_not_be_read_are_none() {
    let place = Place::open().await;
    for line in ["\u{ff}\u{fe}", "JSESSIONID", "=;=;;;", "JSESSIONID==; sessionkey==", &"a=b; ".repeat(800)] {
        let bytes: Vec<u8> = line.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect();
        let request = place.client.get(format!("{}{BASE}/", place.url)).header("sec-fetch-mode", "navigate");
        let value = reqwest::header::HeaderValue::from_bytes(&bytes).unwrap();
        let response = request.header("cookie", value).send().await.unwrap();
        assert!(matches!(response.status().as_u16(), 401 | 200), "{line:?}: {}", response.status());
        if line.starts_with("JSESSIONID==") {
            continue;
        }
        assert_eq!(response.status(), 401, "{line:?}");
    }
}

#[tokio::test]
async fn tokens_of_machines_that_are_not_quite_right_open_nothing() {
    let (place, _) = furnished().await;
    let stored = token_hash_of("bursar_reader");
    for value in [
        "Bearer bursar_reade",
        "Bearer bursar_readerr",
        "Bearer BURSAR_READER",
        "Bearer  bursar_reader",
        "bearer bursar_reader",
        "Basic bursar_reader",
        "bursar_reader",
        "Bearer ",
        "Bearer bursar_",
        "Bearer bursar_' or 1=1 --",
        &format!("Bearer bursar_{}", "a".repeat(6_000)),
        &format!("Bearer {stored}"),
        &format!("Bearer bursar_{stored}"),
    ] {
        let url = format!("{}/api/v1/accounts", place.url);
        let response = place.client.get(url).header("authorization", value).send().await.unwrap();
        assert_eq!(response.status(), 401, "{value}");
    }
    let url = format!("{}/api/v1/accounts?token=bursar_reader&access_token=bursar_reader", place.url);
    assert_eq!(place.client.get(url).send().await.unwrap().status(), 401, "an address holds no token");
    let mut tx = place.app.store.begin().await.unwrap();
    assert!(crate::store::people::revoke_token(&mut tx, "reader", NOW).await.unwrap());
    tx.commit().await.unwrap();
    let url = format!("{}/api/v1/accounts", place.url);
    let response = place.client.get(url).header("authorization", "Bearer bursar_reader").send().await.unwrap();
    assert_eq!(response.status(), 401, "a revoked token");
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_whoever_sends_them() {
    let (place, things) = furnished().await;
    let large = place.app.config.web.request_body_limit_bytes + 1;
    for row in forms().chain(calls()) {
        let callers = Callers::at(&place).await;
        let before = place.traces().await;
        let mut body = String::with_capacity(large + 100);
        write!(body, "{}&more=", row.body).unwrap();
        body.extend(std::iter::repeat_n('a', large));
        let prefix = if row.route.starts_with("/api/") { "" } else { BASE };
        let caller = who_may(row);
        let path = format!("{prefix}{}", place.fill(row.path, things, caller));
        let response = place.ask(&callers, caller, "POST", &path, &body).await;
        assert_eq!(response.status(), 413, "{path}");
        assert_eq!(place.traces().await, before, "{path}");
    }
}

#[tokio::test]
async fn what_was_typed_never_becomes_a_header() {
    let (place, _) = furnished().await;
    let callers = Callers::at(&place).await;
    let (cookies, csrf) = callers.session(Caller::Admin);
    place.cloud.answer(200, users(&[admin()]));
    for hostile in [
        "x\r\nSet-Cookie: broken=1",
        "x\nLocation: https://evil.example.com",
        "\r\n\r\n<script>",
        "//evil.example.com",
        "/\\evil.example.com",
        "https://evil.example.com/",
        "\u{0}",
        "#fragment?x&y",
    ] {
        let fields = [
            ("csrf", csrf),
            ("nonce", "0123456789abcdef0123456789abcdef"),
            ("limit", "5"),
            ("reason", "x"),
            ("search", hostile),
            ("sort", hostile),
            ("page", hostile),
            ("next", hostile),
            ("back", hostile),
        ];
        let path = format!("/admin/accounts/{}/limit", place.alice);
        let response = place.send_form(&path, cookies, "same-origin", &fields).await;
        assert_eq!(response.status(), 303, "{hostile:?}");
        assert!(response.headers().get("set-cookie").is_none(), "{hostile:?}");
        let target = response.headers()["location"].to_str().unwrap();
        let target = url::Url::parse("https://cloud.example.com").unwrap().join(target).unwrap();
        assert_eq!(target.host_str(), Some("cloud.example.com"), "{hostile:?} leads to {target}");
        assert_eq!(target.path(), format!("{BASE}/admin/accounts"), "{hostile:?}");
        assert_eq!(target.fragment(), Some(format!("account-{}", place.alice).as_str()), "{hostile:?}");
    }
}

#[tokio::test]
async fn no_address_leads_to_another_host() {
    let (place, _) = furnished().await;
    let callers = Callers::at(&place).await;
    for caller in [Caller::Nobody, Caller::Owner, Caller::Admin] {
        for path in [
            format!("{BASE}//evil.example.com"),
            format!("{BASE}/\\evil.example.com"),
            format!("{BASE}/%2f%2fevil.example.com"),
            format!("//evil.example.com{BASE}/"),
            "//evil.example.com/".to_owned(),
            format!("{BASE}?next=//evil.example.com"),
            format!("{BASE}/?next=https://evil.example.com&done=//evil.example.com&back=/\\evil.example.com"),
            format!("{BASE}/@evil.example.com"),
            format!("{BASE}/..//evil.example.com"),
        ] {
            let response = place.ask(&callers, caller, "GET", &path, "").await;
            if let Some(target) = response.headers().get("location") {
                let target =
                    url::Url::parse("https://cloud.example.com").unwrap().join(target.to_str().unwrap()).unwrap();
                assert_eq!(target.host_str(), Some("cloud.example.com"), "{path} leads to {target}");
            }
            let text = response.text().await.unwrap();
            assert!(!text.contains("evil.example.com"), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn a_host_name_or_forwarded_header_of_the_callers_own_stands_nowhere() {
    let (place, _) = furnished().await;
    let callers = Callers::at(&place).await;
    let (cookies, _) = callers.session(Caller::Owner);
    for path in ["/", "/credits", ""] {
        let response = place
            .client
            .get(format!("{}{BASE}{path}", place.url))
            .header("cookie", cookies)
            .header("sec-fetch-mode", "navigate")
            .header("host", "evil.example.com")
            .header("x-forwarded-host", "evil.example.com")
            .header("x-forwarded-for", "<script>")
            .header("referer", "https://evil.example.com/")
            .header("user-agent", "<script>evil.example.com</script>")
            .send()
            .await
            .unwrap();
        let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        assert!(!location.unwrap_or_default().contains("evil"), "{path}");
        assert!(!response.text().await.unwrap().contains("evil.example.com"), "{path}");
    }
}
