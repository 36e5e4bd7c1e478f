//! What a person of an issuer may do in each role, and a link in none: page by page and form by form. The roles of CloudStack's
//! own sessions stand in the matrix of `src/web/tests/matrix.rs`.

use super::*;
use crate::harness::on_each_database;

/// Pages: whether owner, finance and viewer may open them.
const PAGES: &[(&str, [bool; 3])] = &[
    ("/", [true; 3]),
    ("/usage", [true; 3]),
    ("/usage/download", [true; 3]),
    ("/prices", [true; 3]),
    ("/credits", [true; 3]),
    ("/payment-settings", [true; 3]),
    ("/delete-request", [true; 3]),
    ("/api-access", [true; 3]),
    ("/you", [true; 3]),
    // About the own CloudStack user: in CloudStack's own session only.
    ("/profile", [false; 3]),
    ("/profile/edit", [false; 3]),
    ("/password", [false; 3]),
    ("/second-factor", [false; 3]),
    ("/admin/accounts", [false; 3]),
    ("/admin/queue", [false; 3]),
    ("/admin/people", [false; 3]),
    ("/admin/enforcement", [false; 3]),
];

/// Forms, likewise. What is sent is wrong in some field, so that whoever may is told so and nothing is changed.
const FORMS: &[(&str, [bool; 3])] = &[
    ("/credits", [true, true, false]),
    ("/payment-settings/propose", [true, true, false]),
    ("/delete-request", [true, false, false]),
    ("/api-access", [true, false, false]),
    ("/profile/edit", [false; 3]),
    ("/password", [false; 3]),
    ("/second-factor/begin", [false; 3]),
    ("/admin/accounts/1/limit", [false; 3]),
    ("/admin/enforcement/pause", [false; 3]),
];

const NONCE: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn each_role_of_an_issuers_person_opens_and_sends_what_the_table_says() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        place.cloud.limit("alice", "100").await;
        for (column, role) in ["owner", "finance", "viewer"].into_iter().enumerate() {
            place.map(&place.corp, role, "alice", role).await;
            let person = Person::new(role, &format!("{role}@corp.example.com"));
            let (mut browser, page) = place.signs_in("corp", person).await;
            assert!(page.status == 200 && page.says("ROOT/alice"), "{role}: {}", page.text);
            let csrf = page.hidden("csrf");
            for (path, may) in PAGES {
                let page = browser.open(&place.at(path)).await;
                assert_eq!(page.status == 200, may[column], "{role} {path}: {} {}", page.status, page.text);
                assert!(may[column] || page.status == 403, "{role} {path}: {}", page.status);
            }
            for (path, may) in FORMS {
                let fields = [("csrf", csrf.as_str()), ("nonce", NONCE), ("code", "NO-SUCH-CODE"), ("limit", "1")];
                let page = browser.send(&place.at(path), &fields).await;
                let let_in = matches!(page.status, 409 | 422);
                assert_eq!(let_in, may[column], "{role} {path}: {} {}", page.status, page.text);
                assert!(let_in || page.status == 403, "{role} {path}: {}", page.status);
            }
            let back = browser.send(&place.at("/delete-request/take-back"), &[("csrf", &csrf)]).await;
            assert_eq!(back.status == 403, column > 0, "{role}: {}", back.status);
        }
    })
    .await;
}

#[tokio::test]
async fn a_link_opens_no_page_and_sends_no_form_of_the_table() {
    on_each_database(|database| async {
        let place = Place::open_with(database, &[], people_of_the_cloud).await;
        place.lock_bob().await;
        let mut browser = Browser::default();
        let page = place.redeem(&mut browser, &place.link_to("bob@example.com")).await;
        assert_eq!(page.url.path(), "/client/api/bursar/suspended");
        let csrf = page.hidden("csrf");
        for (path, _) in PAGES {
            assert_eq!(browser.open(&place.at(path)).await.status, 403, "{path}");
        }
        for (path, _) in FORMS {
            let page = browser.send(&place.at(path), &[("csrf", &csrf), ("nonce", NONCE)]).await;
            assert_eq!(page.status, 403, "{path}");
        }
    })
    .await;
}
