//! The API and its tokens.

use super::*;
use crate::{secrets::token_hash, store::people};

impl Place {
    async fn token(&self, name: &str, scopes: &str) -> String {
        let token = format!("bursar_{name}");
        let mut tx = self.app.store.begin().await.unwrap();
        people::insert_token(&mut tx, name, &token_hash(&token), scopes, "test", NOW).await.unwrap();
        tx.commit().await.unwrap();
        token
    }

    async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let url = format!("{}/api/v1{path}", self.url);
        let response = self.client.get(url).header("authorization", format!("Bearer {token}")).send().await.unwrap();
        told(response).await
    }

    async fn post(&self, path: &str, token: &str, key: Option<&str>, body: Value) -> (u16, Value) {
        let mut request = self.client.post(format!("{}{BASE}/api/v1{path}", self.url));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.header("authorization", format!("Bearer {token}"));
        told(request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap()).await
    }
}

async fn told(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}")))
}

#[tokio::test]
async fn a_token_is_needed_and_its_scope_counts() {
    let place = Place::open().await;
    let reader = place.token("reader", "read").await;
    let writer = place.token("writer", "write").await;
    for token in ["", "bursar_guess", "secret"] {
        let (status, body) = place.get("/accounts", token).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("token")));
        assert!(body["error"]["operation"].is_string() && body["error"]["message"].is_string());
    }
    assert_eq!(place.get("/accounts", &reader).await.0, 200);
    assert_eq!(place.get("/accounts", &writer).await.1["error"]["code"], "scope");
    let path = format!("/accounts/{}/limit", place.alice);
    let body = json!({ "limit": "5", "reason": "x" });
    assert_eq!(place.post(&path, &reader, Some("k"), body).await.0, 403);
    assert!(place.cloud.calls().is_empty());
}

#[tokio::test]
async fn limits_and_payments_are_set_once_for_each_key() {
    let place = Place::open().await;
    let token = place.token("both", "read,write").await;
    let path = format!("/accounts/{}", place.alice);
    let payment = json!({ "amount": "12.50", "reference": "transfer 3" });
    let (status, body) = place.post(&format!("{path}/payments"), &token, None, payment.clone()).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("idempotency-key")));
    for _ in 0..2 {
        let (status, body) = place.post(&format!("{path}/payments"), &token, Some("p1"), payment.clone()).await;
        assert_eq!((status, &body["figures"]["money"]), (200, &json!("12.50")), "{body}");
    }
    let other = json!({ "amount": "13", "reference": "transfer 3" });
    assert_eq!(place.post(&format!("{path}/payments"), &token, Some("p1"), other).await.0, 409);
    let limit = json!({ "limit": "100", "reason": "contract" });
    assert_eq!(place.post(&format!("{path}/limit"), &token, Some("l1"), limit).await.0, 200);
    let (status, body) = place.get(&path, &token).await;
    assert_eq!(status, 200);
    assert_eq!((&body["figures"]["limit"], &body["figures"]["available"]), (&json!("100.00"), &json!("112.50")));
    assert_eq!((&body["managed"], &body["id"], &body["currency"]), (&json!(true), &json!(place.alice), &json!("EUR")));
    let nothing = json!({ "reason": "forgot the limit" });
    assert_eq!(place.post(&format!("{path}/limit"), &token, Some("l2"), nothing).await.0, 422);
    let number = json!({ "limit": 100, "reason": "a number may have lost cents" });
    assert_eq!(place.post(&format!("{path}/limit"), &token, Some("l2"), number).await.0, 422);
    let gone = json!({ "limit": null, "reason": "contract ended" });
    assert_eq!(place.post(&format!("{path}/limit"), &token, Some("l3"), gone).await.0, 200);
    assert_eq!(place.get(&path, &token).await.1["managed"], json!(false));
}

#[tokio::test]
async fn errors_are_json_and_tell_nothing_of_the_inside() {
    let place = Place::open().await;
    let token = place.token("both", "read write").await;
    assert_eq!(place.get("/accounts/99", &token).await.1["error"]["code"], "not-found");
    assert_eq!(place.get("/nothing", &token).await.1["error"]["code"], "not-found");
    assert_eq!(place.get("/runs", &token).await.1, json!({ "runs": [] }));
    assert_eq!(place.get("/decisions", &token).await.1, json!({ "decisions": [] }));
    assert_eq!(place.get("/key-requests", &token).await.1, json!({ "key_requests": [] }));
    let wish = json!({ "account": place.alice, "purpose": "backup", "days": 30 });
    let (status, body) = place.post("/key-requests", &token, Some("k1"), wish).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("access-off")));
    let path = format!("/accounts/{}/limit", place.alice);
    let huge = json!({ "limit": "1", "reason": "x".repeat(300 * 1024) });
    assert_eq!(place.post(&path, &token, Some("k2"), huge).await.0, 413);
    place.app.store.close().await;
    let (status, body) = place.get("/accounts", &token).await;
    assert_eq!((status, &body["error"]["code"]), (500, &json!("unexpected")));
    assert!(!body.to_string().to_lowercase().contains("pool"), "{body}");
}

#[tokio::test]
async fn a_token_that_asks_too_often_waits() {
    let place = Place::open().await;
    let token = place.token("busy", "read").await;
    for _ in 0..120 {
        assert_eq!(place.get("/runs", &token).await.0, 200);
    }
    assert_eq!(place.get("/runs", &token).await.1["error"]["code"], "too-many-requests");
}
