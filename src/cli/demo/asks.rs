//! What is left for whoever opens the demo's pages: an offer to redeem, and requests that wait in the administrator's queue.

use crate::{
    access::{self, NewRequest},
    jobs::{App, keys},
    ledger::{
        promo::{self, NewPromo},
        rules::codes::{Code, Worth},
    },
    money::Money,
    store::{
        StoreError, cloud,
        gateways::{self, NewGateway},
    },
};

/// The demo's offer.
const CODE: &str = "WELCOME-2026";

/// Makes them; made before, they stay as they are.
pub(super) async fn leave(app: &App, admin: &str) -> anyhow::Result<()> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let offer = NewPromo {
        code: CODE.to_owned(),
        terms: Code {
            worth: Worth::Amount(Money::parse("25")?),
            valid_from: now,
            valid_until: None,
            total_uses: Some(100),
            uses_per_account: 1,
            min_payment: Money::ZERO,
            domains: Vec::new(),
            closed: false,
            uses: 0,
        },
        public: true,
        grant_days: Some(90),
        grant_scope: None,
        grant_priority: 0,
        note: "for whoever tries the demo".to_owned(),
    };
    match promo::create(&mut tx, offer, admin, now).await {
        Ok(_) | Err(promo::Error::Store(StoreError::Exists(_))) => {}
        Err(error) => return Err(error.into()),
    }
    let erin = cloud::resolve_account(&mut tx, "erin").await?;
    let gateway = NewGateway {
        key: "demo/gateway/erin",
        name: "Example Pay",
        country: "Norway",
        website: "https://pay.example.com",
        details: "Kroner, no fees for transfers within the country",
        payer: erin.payer_id,
        account: erin.id,
        author: "erin (ROOT/erin)",
    };
    gateways::propose(&mut tx, &gateway, now).await?;
    let wish = NewRequest {
        key: "demo/key/erin".to_owned(),
        account: erin.id,
        requested_by: "erin".to_owned(),
        for_user: None,
        replaces: None,
        purpose: "Terraform".to_owned(),
        days: 90,
    };
    access::file(&mut tx, &keys::settings(app), wish, now).await?;
    Ok(tx.commit().await?)
}
