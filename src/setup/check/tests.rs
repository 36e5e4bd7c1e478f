//! Whole checks against a small CloudStack on loopback.

use std::path::Path;

use super::*;
use crate::{
    cloudstack::testing::{NOW, Reaction},
    config::Sources,
    setup::fake::{self, Role, World},
    store::{Store, Tx, cloud, keys, payers},
    time::ManualClock,
};

const BOOK: &str = "currency = \"EUR\"\n\n[[tariff]]\ntype = \"running-vm\"\nunit = \"hour\"\nprice = \"0.02\"\n";

fn config(url: &str, folder: &Path, more: &[(&str, &str)]) -> Config {
    std::fs::write(folder.join("prices.toml"), BOOK).unwrap();
    let folder = folder.display().to_string();
    let mut variables: Vec<(String, String)> = vec![
        ("BURSAR_CLOUDSTACK_URL".to_owned(), url.to_owned()),
        ("BURSAR_STORE_DATA_DIR".to_owned(), folder.clone()),
        ("BURSAR_BILLING_PRICE_BOOK".to_owned(), format!("{folder}/prices.toml")),
    ];
    for section in ["reader", "enforcer", "keys"] {
        let name = section.to_uppercase();
        variables.push((format!("BURSAR_CLOUDSTACK_{name}_API_KEY"), format!("{section}-KEY")));
        variables.push((format!("BURSAR_CLOUDSTACK_{name}_SECRET_KEY"), "EXAMPLE-SECRET-KEY".to_owned()));
    }
    for (name, value) in more {
        variables.retain(|(known, _)| known != name);
        variables.push(((*name).to_owned(), (*value).to_owned()));
    }
    Config::load(&Sources::new(None, variables).with_fallback(None)).unwrap()
}

async fn checked_with(world: World, more: &[(&str, &str)]) -> CheckReport {
    let (server, _world) = fake::start(world).await;
    let folder = tempfile::tempdir().unwrap();
    let url = server.settings.endpoint().unwrap().to_string();
    let mut report = check(&config(&url, folder.path(), more), Arc::new(ManualClock::new(NOW))).await;
    // What differs from run to run and machine to machine.
    let shown = folder.path().display().to_string();
    for line in &mut report.lines {
        line.text = line.text.replace(&url, "https://cloud.example.com/client/api").replace(&shown, "/var/lib/bursar");
        if line.name == "file system" && line.verdict == Verdict::Good {
            line.text = "local (ext4)".to_owned();
        }
    }
    report
}

async fn checked(world: World) -> CheckReport {
    checked_with(world, &[]).await
}

fn line<'a>(report: &'a CheckReport, name: &str) -> &'a Line {
    report.lines.iter().find(|line| line.name == name).unwrap_or_else(|| panic!("{name} is missing in\n{report}"))
}

#[track_caller]
fn expect(report: &CheckReport, name: &str, verdict: Verdict, words: &[&str]) {
    let line = line(report, name);
    assert_eq!(line.verdict, verdict, "{line:?}");
    for word in words {
        let anywhere = line.text.contains(word) || line.way_out.as_ref().is_some_and(|way_out| way_out.contains(word));
        assert!(anywhere, "{word} is missing in {line:?}");
    }
}

#[tokio::test]
async fn a_sound_set_up_fits_a_screen() {
    let report = checked(World::with_services()).await;
    assert_eq!(report.to_string(), include_str!("fine.txt").trim_end(), "{report}");
    assert_eq!(report.exit_code(), 0);
}

#[tokio::test]
async fn a_key_that_is_refused_is_told_with_all_causes() {
    let mut world = World::with_services();
    for name in ["reader", "enforcer", "keys"] {
        world.named(&format!("bursar-{name}")).key = None;
    }
    let report = checked(world).await;
    expect(&report, "reached", Verdict::Good, &[]);
    for name in ["reader key", "enforcer key", "keys key"] {
        expect(
            &report,
            name,
            Verdict::Bad,
            &["secret key is wrong", "locked", "api.key.access", "clock", "cidr", "--renew"],
        );
    }
    expect(&report, "usage job", Verdict::NotChecked, &["no key pair works"]);
    assert_eq!(report.exit_code(), 1);
    assert!(
        !report.to_string().contains("EXAMPLE-SECRET-KEY") && !report.to_string().contains("reader-KEY"),
        "{report}"
    );
}

#[tokio::test]
async fn a_locked_service_account_is_named_where_another_one_sees_it() {
    let mut world = World::with_services();
    world.named("bursar-enforcer").state = "locked".to_owned();
    let report = checked(world).await;
    expect(&report, "enforcer key", Verdict::Bad, &["ROOT/bursar-enforcer is locked"]);
    expect(&report, "reader key", Verdict::Good, &["ROOT/bursar-reader"]);
    let mut world = World::with_services();
    world.named("bursar-keys").access = "DISABLED".to_owned();
    world.named("bursar-reader").access = "INHERIT".to_owned();
    let report = checked(world).await;
    expect(&report, "keys key", Verdict::Bad, &["API key access is off", "apikeyaccess=enabled"]);
    expect(&report, "reader account", Verdict::Warning, &["inherited", "apikeyaccess=enabled"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_ends_nothing_else() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/client/api", closed.local_addr().unwrap());
    drop(closed);
    let folder = tempfile::tempdir().unwrap();
    let report = check(&config(&url, folder.path(), &[]), Arc::new(ManualClock::new(NOW))).await;
    expect(&report, "reached", Verdict::Bad, &["no connection", "firewall"]);
    expect(&report, "price book", Verdict::Good, &[]);
    expect(&report, "keys and rights", Verdict::NotChecked, &[]);
}

#[tokio::test]
async fn pages_instead_of_the_api_and_no_url_say_what_to_set() {
    let mut world = World::with_services();
    world.instead = Some(Reaction::html(200, "<html>Welcome</html>"));
    expect(&checked(world).await, "reached", Verdict::Bad, &["HTML", "/client/api"]);
    let report = checked_with(World::new(), &[("BURSAR_CLOUDSTACK_URL", "")]).await;
    expect(&report, "reached", Verdict::Bad, &["no CloudStack is configured", "bursar init"]);
}

#[tokio::test]
async fn clocks_an_hour_apart_are_wrong() {
    let mut world = World::with_services();
    world.clock = NOW.plus(std::time::Duration::from_hours(1));
    expect(&checked(world).await, "clocks", Verdict::Bad, &["3600 s", "CloudStack's clock is ahead", "chrony"]);
}

#[tokio::test]
async fn a_missing_right_is_told_with_what_it_takes_away() {
    let mut world = World::with_services();
    world.no_apis.extend(["listEvents".to_owned(), "updateResourceLimit".to_owned()]);
    let report = checked(world).await;
    expect(&report, "reader rights", Verdict::Bad, &["see who locked", "listEvents is missing"]);
    let restrict = report.lines.iter().find(|line| line.text.contains("updateResourceLimit")).unwrap();
    assert_eq!((restrict.verdict, restrict.name.as_str()), (Verdict::Warning, "enforcer rights"));
    expect(&report, "keys rights", Verdict::Good, &["make and end API keys"]);
}

#[tokio::test]
async fn a_quota_plugin_that_locks_stands_in_the_way() {
    let mut world = World::with_services();
    world.settings.insert("quota.enable.service".to_owned(), "true".to_owned());
    world.settings.insert("quota.enable.enforcement".to_owned(), "true".to_owned());
    expect(
        &checked(world.clone()).await,
        "quota plugin",
        Verdict::Bad,
        &["enforce arm", "quota.enable.enforcement = false"],
    );
    world.denied.insert("listConfigurations".to_owned());
    let report = checked(world).await;
    expect(&report, "quota plugin", Verdict::NotChecked, &["before you arm"]);
    expect(&report, "settings", Verdict::NotChecked, &["allow listConfigurations"]);
    expect(&report, "usage job", Verdict::Good, &[]);
}

#[tokio::test]
async fn settings_that_bursar_stumbles_over_are_told() {
    let mut world = World::with_services();
    for (name, value) in [
        ("encode.api.response", "true"),
        ("enable.usage.server", "false"),
        ("api.key.access", "false"),
        ("api.allowed.source.cidr.list", "192.0.2.0/24"),
    ] {
        world.settings.insert(name.to_owned(), value.to_owned());
    }
    world.servers = 2;
    world.version = "4.25.0.0".to_owned();
    world.last_job = "2026-11-22T09:59:59+0000".to_owned();
    let report = checked(world).await;
    expect(&report, "encode.api.response", Verdict::Bad, &["false"]);
    expect(&report, "api.key.access", Verdict::Warning, &["enabled"]);
    expect(&report, "allowed addresses", Verdict::Warning, &["192.0.2.0/24"]);
    expect(&report, "management servers", Verdict::Warning, &["trusted_affinity_cookies"]);
    expect(&report, "version", Verdict::Warning, &["4.25.0.0"]);
    let usage: Vec<&Line> = report.lines.iter().filter(|line| line.name == "usage job").collect();
    assert!(usage.iter().all(|line| line.verdict == Verdict::Bad) && usage.len() == 2, "{usage:?}");
    assert!(usage[1].text.contains("7 h 0 min") || usage[1].text.contains("7 h ago"), "{usage:?}");
}

#[tokio::test]
async fn people_and_roles_are_looked_at_before_anybody_is_locked() {
    let mut world = World::with_services();
    world.named("alice").email = "alice".to_owned();
    let role = world.named("alice").role.clone();
    world.account("mallory", &role, "mallory@example.com", None);
    world.named("mallory").state = "disabled".to_owned();
    world.roles.iter_mut().find(|one| one.id == role).unwrap().rules.clear();
    let report = checked(world).await;
    expect(&report, "accounts", Verdict::Warning, &["1 of 3", "ROOT/mallory (disabled)"]);
    expect(&report, "e-mail addresses", Verdict::Warning, &["1 of 1", "alice"]);
    expect(&report, "roles and keys", Verdict::Warning, &["User", "registerUserKeys"]);
    expect(&report, "keys of one's own", Verdict::Warning, &["updateUser", "allows it: 2", "self-service close"]);
}

#[tokio::test]
async fn roles_that_nobody_has_take_no_place_and_what_was_not_read_is_told() {
    let mut world = World::with_services();
    let users = world.named("alice").role.clone();
    let idle = |n: usize| Role {
        id: format!("00000000-0000-4000-a000-{n:012}"),
        name: format!("idle {n}"),
        kind: "User".to_owned(),
        rules: Vec::new(),
    };
    // Before the one that a customer has: they were all that was read once.
    for n in 0..60 {
        world.roles.insert(0, idle(n));
    }
    world
        .roles
        .iter_mut()
        .find(|role| role.id == users)
        .unwrap()
        .rules
        .push(("updateUser".to_owned(), "deny".to_owned()));
    let report = checked(world.clone()).await;
    expect(&report, "roles and keys", Verdict::Good, &["no role of a customer lets keys read or register"]);
    expect(&report, "keys of one's own", Verdict::Good, &["no role of a customer allows updateUser"]);
    for n in 0..60 {
        world.account(&format!("tenant{n}"), &idle(n).id, "tenant@example.com", None);
        world.roles.iter_mut().find(|role| role.id == idle(n).id).unwrap().rules =
            vec![("*".to_owned(), "deny".to_owned())];
    }
    let report = checked(world).await;
    expect(&report, "roles and keys", Verdict::NotChecked, &["21 more roles"]);
    let told = report.lines.iter().filter(|line| line.name == "roles and keys" || line.name == "keys of one's own");
    assert!(told.clone().all(|line| line.verdict == Verdict::NotChecked) && told.count() == 1, "{report}");
}

/// Does something to the database of this configuration, which is closed again before a check looks at it.
async fn in_store<T>(config: &Config, work: impl AsyncFnOnce(&mut Tx) -> T) -> T {
    let store = Store::open(&crate::jobs::app::store_settings(config)).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let done = work(&mut tx).await;
    tx.commit().await.unwrap();
    store.close().await;
    done
}

#[tokio::test]
async fn closed_self_service_is_counted_and_makes_the_line_good_once_every_account_is_closed() {
    let mut world = World::with_services();
    let (alice, role) = (world.named("alice").id.clone(), world.named("alice").role.clone());
    world.account("bob", &role, "bob@example.com", None);
    let bob = world.named("bob").id.clone();
    let (server, _world) = fake::start(world).await;
    let folder = tempfile::tempdir().unwrap();
    let config = config(server.settings.endpoint().unwrap().as_str(), folder.path(), &[]);
    let clock = Arc::new(ManualClock::new(NOW));
    for (closed, (id, name)) in [(&alice, "alice"), (&bob, "bob")].into_iter().enumerate() {
        let seen = cloud::SeenAccount {
            cloud_id: id.clone(),
            name: name.to_owned(),
            domain_id: "root".to_owned(),
            domain_path: "ROOT".to_owned(),
            account_type: 0,
            role_type: "User".to_owned(),
            state: "enabled".to_owned(),
        };
        let account = in_store(&config, async |tx| cloud::put_account(tx, &seen, NOW).await.unwrap().0).await;
        let report = check(&config, Arc::clone(&clock) as Arc<dyn Clock>).await;
        expect(
            &report,
            "keys of one's own",
            Verdict::Warning,
            &["allows it: 2", &format!("closed in {closed} of them")],
        );
        in_store(&config, async |tx| keys::insert_closing(tx, account, "carol", NOW).await.unwrap()).await;
    }
    let report = check(&config, clock).await;
    expect(&report, "keys of one's own", Verdict::Good, &["every account", "(2)"]);
}

#[tokio::test]
async fn people_of_ldap_who_could_open_their_account_themselves_are_told_of() {
    let mut world = World::with_services();
    world.user_source = "ldap".to_owned();
    let report = checked(world.clone()).await;
    expect(&report, "people of LDAP", Verdict::Warning, &["alice", "can open a suspended account"]);
    let report = checked_with(world, &[("BURSAR_POLICY_ON_DRIFT", "suspend")]).await;
    assert!(report.lines.iter().all(|line| line.name != "people of LDAP"), "{report}");
}

#[tokio::test]
async fn a_missing_or_wrong_price_book_says_how_to_get_one() {
    let report = checked_with(World::with_services(), &[("BURSAR_BILLING_PRICE_BOOK", "/does/not/exist.toml")]).await;
    expect(&report, "price book", Verdict::Bad, &["bursar price init"]);
    let report = checked_with(World::with_services(), &[("BURSAR_BILLING_CURRENCY", "CHF")]).await;
    expect(&report, "price book", Verdict::Bad, &["EUR", "CHF"]);
}

#[tokio::test]
async fn data_of_another_cloud_and_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = config("https://other.example.com/client/api", folder.path(), &[]);
    let clock = Arc::new(ManualClock::new(NOW));
    let random = Arc::new(crate::random::SeededRandom::new(1));
    let app = crate::jobs::app::App::open(other, Arc::clone(&clock) as Arc<dyn Clock>, random).await.unwrap();
    app.bind_to_cloud().await.unwrap();
    app.store.close().await;
    let mine = config("http://127.0.0.1:9/client/api", folder.path(), &[]);
    let report = check(&mine, clock).await;
    expect(&report, "database", Verdict::Good, &["SQLite", "this version"]);
    expect(&report, "cloud of the data", Verdict::Bad, &["other.example.com", "data_dir"]);
}

#[tokio::test]
async fn a_database_that_was_never_filled_or_is_none_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let config = config("http://127.0.0.1:9/client/api", folder.path(), &[]);
    let clock = Arc::new(ManualClock::new(NOW));
    let file = folder.path().join("bursar.db");
    std::fs::write(&file, "").unwrap();
    let report = check(&config, Arc::clone(&clock) as Arc<dyn Clock>).await;
    expect(&report, "database", Verdict::Good, &["empty yet"]);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0, "a check fills nothing");
    std::fs::write(&file, "a shopping list that is long enough to be read as a page".repeat(100)).unwrap();
    let report = check(&config, clock).await;
    expect(&report, "database", Verdict::Bad, &["not a database", "backup"]);
}

#[tokio::test]
async fn protected_accounts_that_are_not_there_are_named() {
    let listed = [("BURSAR_POLICY_PROTECTED_ACCOUNTS", "ROOT/bursar-reader, ROOT/nobody")];
    let report = checked_with(World::with_services(), &listed).await;
    expect(&report, "protected accounts", Verdict::Warning, &["names ROOT/nobody,", "renamed"]);
    let listed = [("BURSAR_POLICY_PROTECTED_ACCOUNTS", "ROOT/bursar-reader")];
    let report = checked_with(World::with_services(), &listed).await;
    assert!(report.lines.iter().all(|line| line.name != "protected accounts"), "{report}");
}

#[tokio::test]
async fn a_class_that_the_configuration_does_not_know_is_told_of() {
    let (server, _world) = fake::start(World::with_services()).await;
    let folder = tempfile::tempdir().unwrap();
    let config = config(server.settings.endpoint().unwrap().as_str(), folder.path(), &[]);
    let seen = cloud::SeenAccount {
        cloud_id: "a".to_owned(),
        name: "alice".to_owned(),
        domain_id: "root".to_owned(),
        domain_path: "ROOT".to_owned(),
        account_type: 0,
        role_type: "User".to_owned(),
        state: "enabled".to_owned(),
    };
    let payer = in_store(&config, async |tx| {
        let (account, _) = cloud::put_account(tx, &seen, NOW).await.unwrap();
        cloud::get_account(tx, account).await.unwrap().payer_id
    })
    .await;
    let looked = async || check(&config, Arc::new(ManualClock::new(NOW))).await;
    assert!(looked().await.lines.iter().all(|line| line.name != "classes"), "everybody is of the default");
    in_store(&config, async |tx| payers::put_class(tx, payer, Some("gold")).await.unwrap()).await;
    expect(&looked().await, "classes", Verdict::Bad, &["gold", "no section"]);
}
