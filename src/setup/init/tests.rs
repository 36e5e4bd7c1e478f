//! Init against a small CloudStack on loopback.

use super::*;
use crate::{
    cloudstack::testing::{NOW, Scripted},
    config::{Config, Sources},
    random::SeededRandom,
    setup::fake::{self, ADMIN_KEY, World},
    time::ManualClock,
};

const SECRET: &str = "EXAMPLE-ADMIN-SECRET";

async fn run(server: &Scripted, reader_only: bool, renew: bool) -> Result<InitOutcome, InitError> {
    run_with(server, ADMIN_KEY, reader_only, renew).await
}

async fn run_with(server: &Scripted, key: &str, reader_only: bool, renew: bool) -> Result<InitOutcome, InitError> {
    let request = InitRequest { reader_only, renew, ..InitRequest::new(server.settings.clone()) };
    let admin = Credentials { api_key: Secret::new(key), secret_key: Secret::new(SECRET) };
    init(request, admin, Arc::new(ManualClock::new(NOW)), Arc::new(SeededRandom::new(1))).await
}

fn writes(server: &Scripted) -> Vec<String> {
    let commands = server.received().into_iter().filter_map(|request| request.param("command").map(str::to_owned));
    commands.filter(|command| !command.starts_with("list") && !command.starts_with("get")).collect()
}

#[tokio::test]
async fn three_narrow_accounts_are_made_and_the_configuration_is_read() {
    let (server, world) = fake::start(World::new()).await;
    let outcome = run(&server, false, false).await.unwrap();
    let world = world.lock().unwrap();
    for role in [Role::Reader, Role::Enforcer, Role::Keys] {
        let name = format!("bursar-{}", role.section());
        let account = world.accounts.iter().find(|account| account.name == name).unwrap();
        assert_eq!(account.email, format!("{name}@invalid.example"));
        assert_eq!(account.access, "ENABLED");
        let made = world.roles.iter().find(|role| role.id == account.role).unwrap();
        assert_eq!((made.name.as_str(), made.kind.as_str()), (name.as_str(), "Admin"));
        assert_eq!(made.rules.last(), Some(&("*".to_owned(), "deny".to_owned())));
        assert_eq!(made.rules.len(), rights::rules(role).len());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bursar.toml");
    write_config(&path, &outcome.configuration).unwrap();
    let config = Config::load(&Sources::new(Some(path), Vec::<(String, String)>::new())).unwrap();
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    let keys = config.cloudstack.keys.unwrap();
    assert!(keys.secret_key.matches("SECRET-OF-bursar-keys"));
    assert_eq!(config.cloudstack.url.unwrap(), server.settings.endpoint().unwrap());
    assert_eq!(outcome.made.len(), 12, "{:#?}", outcome.made);
    let told = format!("{outcome:?}");
    assert!(!told.contains("SECRET-OF") && !told.contains("KEY-OF") && !told.contains(SECRET), "{told}");
    let text = outcome.configuration.expose();
    assert!(!text.contains(SECRET) && !text.contains(ADMIN_KEY));
}

#[tokio::test]
async fn key_pairs_come_last_and_passwords_differ() {
    let (server, _world) = fake::start(World::new()).await;
    run(&server, false, false).await.unwrap();
    let writes = writes(&server);
    let first_key = writes.iter().position(|command| command == "registerUserKeys").unwrap();
    let last_account = writes.iter().rposition(|command| command == "createAccount").unwrap();
    assert!(last_account < first_key, "{writes:?}");
    let passwords: std::collections::BTreeSet<String> =
        server.received().iter().filter_map(|request| request.param("password").map(str::to_owned)).collect();
    assert_eq!(passwords.len(), 3);
}

#[tokio::test]
async fn the_reader_can_come_first_and_the_others_later() {
    let (server, world) = fake::start(World::new()).await;
    let outcome = run(&server, true, false).await.unwrap();
    assert_eq!(world.lock().unwrap().accounts.len(), 3);
    assert!(!outcome.configuration.expose().contains("enforcer"));
    let key = world.lock().unwrap().named("bursar-reader").key.clone();
    let outcome = run(&server, false, false).await.unwrap();
    assert_eq!(world.lock().unwrap().named("bursar-reader").key, key, "the others are added beside it");
    assert!(outcome.made.iter().any(|line| line.contains("bursar-reader: left as it is")), "{:#?}", outcome.made);
    let text = outcome.configuration.expose();
    assert!(
        text.contains("[cloudstack.enforcer]")
            && text.contains("[cloudstack.keys]")
            && !text.contains("[cloudstack.reader]")
    );
}

#[tokio::test]
async fn a_second_run_replaces_no_pair_unless_told_to() {
    let (server, world) = fake::start(World::new()).await;
    run(&server, false, false).await.unwrap();
    let before = writes(&server).len();
    let first = world.lock().unwrap().named("bursar-reader").key.clone();
    let error = run(&server, false, false).await.unwrap_err();
    assert!(matches!(&error, InitError::HasKeys(names) if names.len() == 3), "{error}");
    assert!(error.to_string().contains("--renew"), "{error}");
    assert_eq!(writes(&server).len(), before, "nothing was changed");
    let outcome = run(&server, false, true).await.unwrap();
    assert!(outcome.made.iter().any(|line| line.contains("used again")), "{:#?}", outcome.made);
    let mut world = world.lock().unwrap();
    assert_ne!(world.named("bursar-reader").key, first);
    assert_eq!(world.accounts.len(), 5, "no second account");
}

#[tokio::test]
async fn a_run_that_ended_in_the_middle_is_completed() {
    let (server, world) = fake::start(World::new()).await;
    world.lock().unwrap().denied.insert("createAccount".to_owned());
    let error = run(&server, false, false).await.unwrap_err();
    assert!(matches!(error, InitError::CloudStack { .. }), "{error}");
    {
        let mut world = world.lock().unwrap();
        world.denied.clear();
        let half = world.roles.iter_mut().find(|role| role.name == "bursar-reader").unwrap();
        half.rules.truncate(5);
    }
    run(&server, false, false).await.unwrap();
    let world = world.lock().unwrap();
    let reader = world.roles.iter().find(|role| role.name == "bursar-reader").unwrap();
    assert_eq!(reader.rules.len(), rights::rules(Role::Reader).len());
    assert_eq!(world.roles.iter().filter(|role| role.name == "bursar-reader").count(), 1);
}

#[tokio::test]
async fn a_role_of_that_name_with_other_rules_is_refused_untouched() {
    let (server, world) = fake::start(World::with_services()).await;
    for role in world.lock().unwrap().roles.iter_mut().filter(|role| role.name.starts_with("bursar")) {
        role.rules = vec![("*".to_owned(), "allow".to_owned())];
    }
    let error = run(&server, false, true).await.unwrap_err();
    assert!(matches!(&error, InitError::InTheWay { what, .. } if what == "the role bursar-reader"), "{error}");
    assert!(writes(&server).is_empty());
}

#[tokio::test]
async fn a_key_that_is_not_a_root_administrators_is_refused() {
    let mut world = World::new();
    world.named("alice").key = Some("EXAMPLE-USER-KEY".to_owned());
    let (server, _world) = fake::start(world).await;
    let error = run_with(&server, "EXAMPLE-USER-KEY", false, false).await.unwrap_err();
    assert!(matches!(&error, InitError::NotRootAdmin(who) if who == "alice (User)"), "{error}");
    let error = run_with(&server, "EXAMPLE-WRONG-KEY", false, false).await.unwrap_err();
    assert!(matches!(&error, InitError::CloudStack { error: Error::Unauthorized { .. }, .. }), "{error}");
    assert!(!error.to_string().contains("EXAMPLE-WRONG-KEY") && !error.to_string().contains(SECRET), "{error}");
    assert!(writes(&server).is_empty());
}

#[test]
fn names_begin_with_plain_letters() {
    assert!(is_prefix("bursar") && is_prefix("bursar-test2"));
    for bad in ["", "Bursar", "2b", "a b", "a,b", &"a".repeat(41)] {
        assert!(!is_prefix(bad), "{bad}");
    }
}
