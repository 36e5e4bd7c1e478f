//! Lost answers at each call, and crashes between the steps: one pair, one user, and nothing left behind.

use bursar::standin::{Fault, FaultKind, Gate};

use super::*;
use crate::harness::on_each_database;

const KINDS: [FaultKind; 6] = [
    FaultKind::CutBeforeAction,
    FaultKind::CutAfterAction,
    FaultKind::Status(503),
    FaultKind::EmptyOk { acted: true },
    FaultKind::EmptyOk { acted: false },
    FaultKind::InvalidJson,
];
/// Rounds within which everything has to come right once CloudStack answers.
const ROUNDS: usize = 3;

async fn rounds_until(cloud: &Cloud, id: KeyRequestId, wanted: &str) {
    for _ in 0..ROUNDS {
        if state(cloud, id).await == wanted {
            return;
        }
        // A round that met the fault may end with an error; the next one is the retry.
        let _ = keys::look_after(&cloud.app, false).await;
    }
    let row = row(cloud, id).await;
    assert_eq!(row.state, wanted, "{:?}", row.last_error);
}

#[tokio::test]
async fn whatever_answer_is_lost_one_pair_is_made_and_one_user_goes() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        for kind in KINDS {
            for command in ["listApis", "createUser", "updateUser", "listUsers", "registerUserKeys"] {
                let id = approved(&cloud, "alice", 30).await;
                cloud.standin.with(|world| world.faults().push(Fault::once(command, kind.clone())));
                let _ = keys::look_after(&cloud.app, false).await;
                cloud.standin.with(|world| world.faults().clear());
                rounds_until(&cloud, id, "issued").await;
                assert_eq!(key_users(&cloud, "alice").await, 1, "{command} {kind:?}");
                let client = look_at(&cloud, id).await;
                assert!(works(&client).await, "the pair that is shown is the one that works: {command} {kind:?}");
                revoke(&cloud, id).await;
                rounds_until(&cloud, id, "revoked").await;
                assert!(!works(&client).await);
            }
            for command in ["updateUser", "listUsers", "deleteUser"] {
                let (id, client) = shown(&cloud, "alice", 30).await;
                revoke(&cloud, id).await;
                cloud.standin.with(|world| world.faults().push(Fault::once(command, kind.clone())));
                let _ = keys::look_after(&cloud.app, false).await;
                cloud.standin.with(|world| world.faults().clear());
                rounds_until(&cloud, id, "revoked").await;
                assert!(!works(&client).await, "{command} {kind:?}");
                assert_eq!(key_users(&cloud, "alice").await, 0, "{command} {kind:?}");
            }
        }
    })
    .await;
}

/// Polls until something is so, with a limit.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1_000_000 {
        if is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{what} never came about");
}

fn calls_of(cloud: &Cloud, command: &str) -> usize {
    cloud.standin.calls().iter().filter(|call| call.command == command).count()
}

#[tokio::test]
async fn a_process_that_dies_in_the_middle_of_a_call_is_followed_by_one_that_ends_it() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        for command in ["createUser", "updateUser", "registerUserKeys"] {
            let id = approved(&cloud, "alice", 30).await;
            let before = calls_of(&cloud, command);
            let gate = Gate::default();
            let fault = Fault::once(command, FaultKind::DelayUntil(gate.clone()));
            cloud.standin.with(|world| world.faults().push(fault));
            let app = cloud.app.clone();
            let dying = tokio::spawn(async move { keys::look_after(&app, false).await });
            until("the call", || cloud.standin.with(|world| world.faults().waiting()) == 0).await;
            dying.abort();
            assert!(dying.await.unwrap_err().is_cancelled());
            // CloudStack does what it was asked, and nobody hears of it.
            gate.open();
            until("its end", || calls_of(&cloud, command) > before).await;
            round(&cloud).await;
            assert_eq!(state(&cloud, id).await, "approved", "another process may be at it: {command}");
            cloud.clock.advance(Duration::from_mins(5));
            rounds_until(&cloud, id, "issued").await;
            assert_eq!(key_users(&cloud, "alice").await, 1, "{command}");
            let client = look_at(&cloud, id).await;
            assert!(works(&client).await, "{command}");
            revoke(&cloud, id).await;
            rounds_until(&cloud, id, "revoked").await;
            assert_eq!(key_users(&cloud, "alice").await, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn two_servers_at_once_make_one_pair() {
    on_each_database(|database| async {
        let cloud = cloud(database, |_| {}).await;
        let id = approved(&cloud, "alice", 30).await;
        let rounds: Vec<_> = (0..3)
            .map(|_| {
                let app = cloud.app.clone();
                tokio::spawn(async move { keys::carry_out(&app).await })
            })
            .collect();
        let mut issued = 0;
        for round in rounds {
            issued += round.await.unwrap().unwrap().issued;
        }
        assert_eq!((issued, state(&cloud, id).await.as_str()), (1, "issued"));
        assert_eq!(calls_of(&cloud, "registerUserKeys"), 1);
        assert!(works(&look_at(&cloud, id).await).await);
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_nowhere_in_the_store_neither_before_nor_after_its_look() {
    on_each_database(|database| async {
        let mut cloud = cloud(database, |_| {}).await;
        let id = approved(&cloud, "alice", 30).await;
        round(&cloud).await;
        let api_key = row(&cloud, id).await.api_key.unwrap();
        let secret = cloud.standin.with(|world| world.secret_for_tests(&api_key)).unwrap();
        assert!(stored(&mut cloud, &api_key).await, "the look into the store finds what is there");
        assert!(!stored(&mut cloud, secret.expose()).await, "before the look");
        let pair = keys::show(&cloud.app, id, "alice").await.unwrap();
        assert_eq!(pair.secret_key.expose(), secret.expose());
        assert!(!format!("{pair:?}").contains(secret.expose()));
        let again = keys::show(&cloud.app, id, "alice").await.unwrap_err().to_string();
        assert!(again.contains("shown before") && !again.contains(secret.expose()), "{again}");
        assert!(row(&cloud, id).await.secret_box.is_none());
        assert!(!stored(&mut cloud, secret.expose()).await, "after the look");
    })
    .await;
}

/// Whether a text stands anywhere in the database.
async fn stored(cloud: &mut Cloud, text: &str) -> bool {
    use sqlx::{Connection as _, Row as _};

    let Some(url) = cloud.database.url.clone() else {
        let file = |name: &str| std::fs::read(cloud.database.folder.path().join(name)).unwrap_or_default();
        return ["bursar.db", "bursar.db-wal"]
            .iter()
            .any(|name| file(name).windows(text.len()).any(|part| part == text.as_bytes()));
    };
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    for table in ["key_request", "audit", "notice", "admin_notice", "mail", "setting", "run"] {
        let sql = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t");
        let found = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        if found.get::<String, _>(0).contains(text) {
            return true;
        }
    }
    false
}
