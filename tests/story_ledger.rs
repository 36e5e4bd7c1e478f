//! Money by hand: grants, promo codes, adjustments, refunds, payers, and the files that leave bursar.

mod exports;
mod grants;
mod money;
mod parallel;
mod promo;
mod properties;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bursar::{
    ids::PayerId,
    ledger::{
        booking::{Cause, Defaults},
        grants::Terms,
        payments,
        rules::{self, Figures, Source},
        standing,
    },
    money::Money,
    rating::tax::TaxRate,
    secrets::Secret,
    store::{
        Store, StoreSettings, Tx,
        cloud::{self, Account, Domain, SeenAccount},
        ledger::{self as rows, LedgerAccount, NewTransfer},
    },
    time::{Day, Timestamp},
};

use crate::harness::{Database, NOVEMBER};

const DAY: Duration = Duration::from_hours(24);
const DEFAULTS: Defaults = (None, TaxRate::ZERO);

fn eur(text: &str) -> Money {
    Money::parse(text).unwrap()
}

/// So many days after the first of November.
fn day(number: i64) -> Timestamp {
    Timestamp::from_seconds(NOVEMBER + number * 86_400)
}

/// A ledger without a cloud: a store with accounts.
struct Books {
    store: Store,
    kind: &'static str,
    keys: AtomicU64,
    // Holds the files.
    _database: Database,
}

impl Books {
    /// Domains ROOT, ROOT/acme, ROOT/acme/research and ROOT/umbrella, without accounts.
    async fn open(database: Database) -> Self {
        let settings = StoreSettings {
            data_dir: database.folder.path().to_owned(),
            url: Secret::new(database.url.clone().unwrap_or_default()),
            max_connections: 16,
        };
        let store = Store::open(&settings).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        for (path, parent) in [
            ("ROOT", None),
            ("ROOT/acme", Some("ROOT")),
            ("ROOT/acme/research", Some("ROOT/acme")),
            ("ROOT/umbrella", Some("ROOT")),
        ] {
            let domain = Domain {
                cloud_id: path.to_owned(),
                parent_id: parent.map(str::to_owned),
                name: path.rsplit('/').next().unwrap().to_owned(),
                path: path.to_owned(),
            };
            cloud::put_domain(&mut tx, &domain, day(0)).await.unwrap();
        }
        tx.commit().await.unwrap();
        Self { store, kind: database.kind, keys: AtomicU64::new(0), _database: database }
    }

    /// A new account; `name` is its full name.
    async fn account(&self, name: &str) -> Account {
        let (domain, short) = name.rsplit_once('/').unwrap();
        let seen = SeenAccount {
            cloud_id: format!("id-of-{name}"),
            name: short.to_owned(),
            domain_id: domain.to_owned(),
            domain_path: domain.to_owned(),
            account_type: 0,
            role_type: "User".to_owned(),
            state: "enabled".to_owned(),
        };
        let mut tx = self.store.begin().await.unwrap();
        let (id, _) = cloud::put_account(&mut tx, &seen, day(0)).await.unwrap();
        let account = cloud::get_account(&mut tx, id).await.unwrap();
        tx.commit().await.unwrap();
        account
    }

    /// A key that nobody used.
    fn key(&self) -> String {
        format!("k{}", self.keys.fetch_add(1, Ordering::Relaxed))
    }

    async fn pay(&self, account: &Account, amount: &str, now: Timestamp) -> payments::Paid {
        let key = self.key();
        let mut tx = self.store.begin().await.unwrap();
        let paid = payments::receive(&mut tx, account.payer_id, eur(amount), cause(&key), DEFAULTS, now).await.unwrap();
        tx.commit().await.unwrap();
        paid
    }

    async fn give(&self, account: &Account, amount: &str, terms: &Terms, now: Timestamp) -> i64 {
        let key = self.key();
        let mut tx = self.store.begin().await.unwrap();
        let given =
            bursar::ledger::grants::give(&mut tx, account.payer_id, eur(amount), terms, cause(&key), DEFAULTS, now)
                .await
                .unwrap();
        tx.commit().await.unwrap();
        given.grant
    }

    /// Posts what usage of a day costs now, as the stage that posts does.
    async fn charge(&self, account: &Account, on: Day, usage_type: i64, total: &str, now: Timestamp) {
        let mut tx = self.store.begin().await.unwrap();
        charge(&mut tx, account, on, usage_type, eur(total), now).await;
        tx.commit().await.unwrap();
    }

    async fn figures(&self, payer: PayerId, now: Timestamp) -> Figures {
        let mut tx = self.store.read().await.unwrap();
        let position = standing::position_of(&mut tx, payer, DEFAULTS.0, DEFAULTS.1).await.unwrap();
        Figures::of(&position, now).unwrap()
    }

    async fn left(&self, grant: i64) -> Money {
        let mut tx = self.store.read().await.unwrap();
        bursar::store::grants::find_grant(&mut tx, grant).await.unwrap().unwrap().left()
    }

    async fn epochs(&self, payer: PayerId) -> i64 {
        let mut tx = self.store.read().await.unwrap();
        rows::list_epochs(&mut tx).await.unwrap().get(&payer).map_or(0, |(id, _, _)| *id)
    }

    async fn number(&self, sql: &'static str) -> i64 {
        match &self.store {
            Store::Sqlite { writer, .. } => sqlx::query_scalar(sql).fetch_one(writer).await.unwrap(),
            Store::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        }
    }

    /// What must hold after anything.
    async fn holds_together(&self) {
        let mut tx = self.store.read().await.unwrap();
        assert_eq!(rows::list_unbalanced(&mut tx).await.unwrap(), [], "on {}", self.kind);
        assert_eq!(rows::list_wrong_balances(&mut tx).await.unwrap(), [], "on {}", self.kind);
        assert_eq!(rows::get_balance(&mut tx, LedgerAccount::Joined).await.unwrap(), Money::ZERO);
        for (_, grant) in rows::list_grants(&mut tx, None).await.unwrap() {
            assert!(!grant.left.is_negative() && grant.left <= grant.amount, "{grant:?} on {}", self.kind);
        }
        drop(tx);
        let sum = "select cast(coalesce(sum(amount_micros), 0) as bigint) from balance";
        assert_eq!(self.number(sum).await, 0, "money appeared or vanished on {}", self.kind);
    }
}

fn cause(key: &str) -> Cause<'_> {
    Cause { key, author: "test", reason: "story" }
}

const fn from(starts: Timestamp) -> Terms {
    Terms { starts, ends: None, priority: 0, scope: None }
}

const fn between(starts: Timestamp, ends: Timestamp) -> Terms {
    Terms { starts, ends: Some(ends), priority: 0, scope: None }
}

/// Brings what was charged for a day to `total`: a charge first, numbered corrections then.
async fn charge(tx: &mut Tx, account: &Account, on: Day, usage_type: i64, total: Money, now: Timestamp) {
    let payer = cloud::get_account(tx, account.id).await.unwrap().payer_id;
    let posted: Vec<i64> = rows::list_posted(tx)
        .await
        .unwrap()
        .into_iter()
        .filter(|row| (row.0, row.1, row.2) == (account.id.get(), on.number(), usage_type))
        .map(|row| row.3)
        .collect();
    let before = Money::from_micros(posted.iter().sum());
    let more = total.minus(before).unwrap();
    if more.is_zero() {
        return;
    }
    let grants: Vec<_> =
        rows::list_grants(tx, Some(payer)).await.unwrap().into_iter().map(|(_, grant)| grant).collect();
    let at = Timestamp::from_ms(on.next().start(chrono_tz::UTC).unwrap().as_ms() - 1);
    let sources = if more.is_negative() {
        let paid_by = rows::list_paid_by(tx, account.id, on, usage_type).await.unwrap();
        rules::give_back(more.negated().unwrap(), &paid_by, &grants, now).unwrap()
    } else {
        let burned = rules::burn(more, &grants, at, usage_type).unwrap();
        burned.into_iter().map(|(source, part)| (source, part.negated().unwrap())).collect()
    };
    let mut entries: Vec<_> = sources
        .into_iter()
        .map(|(source, part)| match source {
            Source::Grant(id) => (LedgerAccount::Grant(payer, id), part),
            Source::Money => (LedgerAccount::Payer(payer), part),
        })
        .collect();
    entries.push((LedgerAccount::Revenue(usage_type), more));
    let next = rows::list_transfers(tx, payer, 100_000).await.unwrap().len();
    let transfer = NewTransfer {
        key: format!("charge/{}/{on}/{usage_type}/{next}", account.id),
        kind: "charge",
        payer,
        at,
        author: "bursar".to_owned(),
        reason: "usage".to_owned(),
        entries,
        charge: Some((account.id, on, usage_type, i64::try_from(next).unwrap())),
    };
    rows::post(tx, &transfer, now).await.unwrap();
}

/// The day of so many days after the first of November.
fn on(number: i64) -> Day {
    Day::of(day(number), chrono_tz::UTC).unwrap()
}
